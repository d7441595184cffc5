"""The grammar of endpoints: what is read, what is written, and what is refused in which words."""

from __future__ import annotations

import pytest

from bridle import Endpoint, EndpointError
from bridle.client.calls import as_endpoint

# What a client or a daemon is told, and what that means.
GRAMMAR = [
    ("unix:/run/kea/kea4-ctrl-socket", Endpoint("unix", path="/run/kea/kea4-ctrl-socket")),
    ("unix:relative.sock", Endpoint("unix", path="relative.sock")),
    ("unix:/with spaces/and:colons/+", Endpoint("unix", path="/with spaces/and:colons/+")),
    ("kea+unix:/run/x", Endpoint("unix", path="/run/x")),
    ("binrpc+unix:/run/x", Endpoint("unix", "binrpc", path="/run/x")),
    ("binrpc+unixd:/run/x", Endpoint("unixd", "binrpc", path="/run/x")),
    ("unixd:/run/x", Endpoint("unixd", path="/run/x")),
    ("fifo+fifo:/run/kamailio_fifo", Endpoint("fifo", "fifo", path="/run/kamailio_fifo")),
    ("fifo:/run/x", Endpoint("fifo", "fifo", path="/run/x")),
    ("binrpc+tcp:127.0.0.1:2046", Endpoint("tcp", "binrpc", host="127.0.0.1", port=2046)),
    ("tcp:localhost:0", Endpoint("tcp", host="localhost", port=0)),
    ("tcp:[::1]:2046", Endpoint("tcp", host="::1", port=2046)),
    ("udp:[fe80::1%eth0]:65535", Endpoint("udp", host="fe80::1%eth0", port=65535)),
    ("binrpc+udp:10.0.0.1:2046", Endpoint("udp", "binrpc", host="10.0.0.1", port=2046)),
    ("qb:crmd", Endpoint("qb", "pacemaker", path="crmd")),
    ("pacemaker+qb:cib_rw", Endpoint("qb", "pacemaker", path="cib_rw")),
    ("kea+qb:crmd", Endpoint("qb", "kea", path="crmd")),
    ("http://127.0.0.1:8000", Endpoint("http", path="/", host="127.0.0.1", port=8000)),
    ("http://127.0.0.1", Endpoint("http", path="/", host="127.0.0.1", port=80)),
    ("https://kea.example/", Endpoint("https", path="/", host="kea.example", port=443)),
    ("https://kea.example:8443/api/v1", Endpoint("https", path="/api/v1", host="kea.example", port=8443)),
    ("http://[::1]:8000/", Endpoint("http", path="/", host="::1", port=8000)),
    ("http://[2001:db8::1]", Endpoint("http", path="/", host="2001:db8::1", port=80)),
    ("binrpc+http://h:1/RPC", Endpoint("http", "binrpc", path="/RPC", host="h", port=1)),
    ("kea+http://h:1/a+b", Endpoint("http", path="/a+b", host="h", port=1)),
    ("http://admin@h:1", Endpoint("http", path="/", host="h", port=1, user="admin")),
    ("http://a%40b%3Ac%2Fd@h:1", Endpoint("http", path="/", host="h", port=1, user="a@b:c/d")),
]


@pytest.mark.parametrize(("text", "endpoint"), GRAMMAR)
def test_an_endpoint_is_read_as_its_grammar_says(text: str, endpoint: Endpoint) -> None:
    assert Endpoint.parse(text) == endpoint


@pytest.mark.parametrize("endpoint", [endpoint for _, endpoint in GRAMMAR], ids=[text for text, _ in GRAMMAR])
def test_what_is_written_is_read_as_the_same(endpoint: Endpoint) -> None:
    assert Endpoint.parse(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("kea+unix:/run/x", "unix:/run/x"),
        ("binrpc+tcp:[::1]:2046", "binrpc+tcp:[::1]:2046"),
        ("pacemaker+qb:crmd", "qb:crmd"),
        ("http://h", "http://h:80"),
        ("https://h/", "https://h:443"),
        ("http://[::1]:8000/x", "http://[::1]:8000/x"),
        ("HTTP+http://H:1", "HTTP+http://h:1"),
    ],
)
def test_an_endpoint_is_written_with_what_it_needs_and_no_more(text: str, written: str) -> None:
    assert str(Endpoint.parse(text)) == written


def test_options_follow_a_question_mark() -> None:
    endpoint = Endpoint.parse("unix:/run/t.sock?mode=0600&group=kea&empty=&note=a%20b")
    assert endpoint.path == "/run/t.sock"
    assert endpoint.option("mode") == "0600"
    assert endpoint.option("group") == "kea"
    assert endpoint.option("empty") == ""
    assert endpoint.option("note") == "a b"
    assert endpoint.option("owner") is None
    assert Endpoint.parse("tcp:h:1?a=b").option("a") == "b"
    assert Endpoint.parse("qb:crmd?a=b").option("a") == "b"
    assert Endpoint.parse("http://h:1/?a=b").option("a") == "b"


def test_options_are_no_part_of_a_place_s_name() -> None:
    assert str(Endpoint.parse("unix:/run/t.sock?mode=0600")) == "unix:/run/t.sock"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "is not TRANSPORT:ADDRESS"),
        ("unix", "is not TRANSPORT:ADDRESS"),
        ("/run/x", "is not TRANSPORT:ADDRESS"),
        ("unix:", "is not TRANSPORT:ADDRESS"),
        (":/run/x", "unknown transport ''"),
        ("+unix:/run/x", "a dialect must stand before '+'"),
        ("unix:?mode=0600", "names no path"),
        ("fifo:?", "names no path"),
        ("qb:?x=1", "names no service"),
        ("ftp:x", "unknown transport 'ftp'"),
        ("HTTP://h", "unknown transport 'HTTP'"),
        ("binrpc+:x", "unknown transport ''"),
        ("tcp:2046", "HOST:PORT"),
        ("tcp:h:", "HOST:PORT"),
        ("tcp:h:x", "a port from 0 to 65535"),
        ("tcp:h:-1", "a port from 0 to 65535"),
        ("tcp:h:65536", "a port from 0 to 65535"),
        ("tcp:h:" + "1" * 5000, "a port from 0 to 65535"),
        ("udp:h:\u0661", "a port from 0 to 65535"),
        ("udp::2046", "names no host"),
        ("tcp:[]:2046", "names no host"),
        ("tcp:[::1:2046", "a '[' without ']'"),
        ("tcp:::1]:2046", "a '[' without ']'"),
        ("http:/x", "names no host"),
        ("http://", "names no host"),
        ("http://:8000", "names no host"),
        ("http://h:65536", "a port is a number from 0 to 65535"),
        ("http://h:x", "a port is a number from 0 to 65535"),
        ("http://h:-1", "a port is a number from 0 to 65535"),
        ("http://[::1:80", "its host is malformed"),
        ("http://[v1]:80", "its host is malformed"),
    ],
)
def test_what_is_malformed_is_refused_with_its_part_named(text: str, part: str) -> None:
    with pytest.raises(EndpointError) as caught:
        Endpoint.parse(text)
    assert part in str(caught.value)
    assert f"'{text}'" in str(caught.value)


def test_an_unknown_transport_is_answered_with_those_there_are() -> None:
    with pytest.raises(EndpointError, match=r"known are fifo, http, https, qb, tcp, udp, unix, unixd$"):
        Endpoint.parse("sctp:h:1")


@pytest.mark.parametrize(
    "text",
    [
        "http://admin:s3cr3t@h:8000",
        "kea+https://admin:s3cr3t@h",
        "http://:s3cr3t@h",
        "http://admin:a%2Bs3cr3t%40@h:8000/path",
        "kea+http://admin:a+s3cr3t@h:8000",
    ],
)
def test_a_password_is_read_and_never_shown(text: str) -> None:
    endpoint = Endpoint.parse(text)
    assert "s3cr3t" in endpoint.password
    assert "s3cr3t" not in str(endpoint)
    assert "s3cr3t" not in repr(endpoint)
    assert "s3cr3t" not in f"{endpoint}"


@pytest.mark.parametrize(
    "text",
    [
        "http://admin:s3cr3t@h:65536",
        "http://admin:s3cr3t@h:port",
        "http://admin:s3cr3t@",
        "http://admin:s3cr3t@:8000",
        "http://admin:s3cr3t@[::1",
        "http://admin:x/s3cr3t@h:8000",
        "http://admin:x@s3cr3t@[h",
        "ftp://admin:s3cr3t@h:8000",
        "+http://admin:s3cr3t@h:8000",
    ],
)
def test_a_password_is_not_shown_in_what_is_said_of_a_malformed_url(text: str) -> None:
    with pytest.raises(EndpointError) as caught:
        Endpoint.parse(text)
    assert "s3cr3t" not in str(caught.value)
    assert "admin" in str(caught.value)
    assert "s3cr3t" not in str(caught.value.__cause__ or "")


def test_credentials_of_a_url_are_decoded() -> None:
    endpoint = Endpoint.parse("http://a%40b:p%3A%2Fw%C3%A9@h:8000")
    assert (endpoint.user, endpoint.password) == ("a@b", "p:/wé")


@pytest.mark.parametrize("path", ["/run/x.sock", "./x.sock", "../x.sock"])
def test_a_client_takes_a_path_alone_for_a_unix_socket(path: str) -> None:
    assert as_endpoint(path) == Endpoint("unix", path=path)


@pytest.mark.parametrize("text", ["udp:h:1", "unixd:/x", "binrpc+fifo:/x", "fifo+http://h:1"])
def test_a_client_says_which_transports_a_dialect_travels_on(text: str) -> None:
    with pytest.raises(EndpointError, match=r"travels on (unix|fifo)") as caught:
        as_endpoint(text)
    assert f"'{text}'" in str(caught.value)


def test_a_client_says_which_dialects_it_knows() -> None:
    with pytest.raises(
        EndpointError, match="unknown dialect 'pacemaker'; known are: binrpc, bngblaster, fifo, kea"
    ):
        as_endpoint("qb:crmd")
