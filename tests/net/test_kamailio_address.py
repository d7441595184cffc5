"""Kamailio's grammar of addresses: what each means to whom (``facts/kamailio.md`` §4)."""

from __future__ import annotations

from typing import Literal

import pytest

from bridle.core.errors import EndpointError
from bridle.net.kamailio_address import DEFAULT_ADDRESS, read_address

User = Literal["binrpc", "fifo", "kamcmd"]

BINRPC = {
    "/tmp/x": "binrpc+unix:/tmp/x",
    "unix:/tmp/x": "binrpc+unix:/tmp/x",
    "unixs:/tmp/x": "binrpc+unix:/tmp/x",
    "UNIXD:/tmp/x": "binrpc+unixd:/tmp/x",
    "unixs:rel.sock": "binrpc+unix:rel.sock",
    "host:3000": "binrpc+udp:host:3000",
    "tcp:3012": "binrpc+tcp:*:3012",
    "3012": "binrpc+udp:*:3012",
    "udp:*:3012": "binrpc+udp:*:3012",
    "udp:127.0.0.1:0": "binrpc+udp:127.0.0.1:2049",
    "tcp:127.0.0.1:": "binrpc+tcp:127.0.0.1:2049",
    "tcp:127.0.0.1": "binrpc+tcp:127.0.0.1:2049",
    "tcp:": "binrpc+tcp:*:2049",
    "tcp:*": "binrpc+tcp:*:2049",
    "": "binrpc+udp:*:2049",
    "localhost": "binrpc+udp:localhost:2049",
    "udp:localhost:domain": "binrpc+udp:localhost:53",
    "tcp:[::1]:1": "binrpc+tcp:[::1]:1",
    "[::1]:1": "binrpc+udp:[::1]:1",
    "tcp:[::1]": "binrpc+tcp:[::1]:2049",
    "fifo:/p": "fifo:/p",
    DEFAULT_ADDRESS: "binrpc+unix:/var/run/kamailio/kamailio_ctl",
}
FIFO = {
    "/p": "fifo:/p",
    "name": "fifo:name",
    "2052": "fifo:2052",
    "fifo:/p": "fifo:/p",
    "host:2050": "fifo+udp:host:2050",
    "unixs:/p": "fifo+unix:/p",
    "unixd:/p": "fifo+unixd:/p",
    "tcp:localhost:2050": "fifo+tcp:localhost:2050",
    "udp:*:2050": "fifo+udp:*:2050",
}
KAMCMD = {
    "localhost": "binrpc+unix:localhost",
    "/tmp/x": "binrpc+unix:/tmp/x",
    "127.0.0.1:22046": "binrpc+udp:127.0.0.1:22046",
    "tcp:localhost": "binrpc+tcp:localhost:2049",
}
CASES: list[tuple[User, str, str]] = [
    *(("binrpc", *case) for case in BINRPC.items()),
    *(("fifo", *case) for case in FIFO.items()),
    *(("kamcmd", *case) for case in KAMCMD.items()),
]


@pytest.mark.parametrize(("user", "text", "endpoint"), CASES)
def test_an_address_is_read_as_its_reader_does(user: User, text: str, endpoint: str) -> None:
    assert str(read_address(text, user)) == endpoint


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("udp:127.0.0.1:70000", "from 0 to 65535"),
        ("unixs:/a:b", "without ':'"),
        ("unixs:", "a path is expected"),
        ("foo:bar:1", "is not [PROTOCOL:][HOST:]PORT"),
        ("sctp:127.0.0.1:1", "is not [PROTOCOL:][HOST:]PORT"),
        ("tcp:::1:80", "an IPv6 address is in []"),
        ("udp:localhost:no-such-service", "there is no service 'no-such-service'"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(text: str, part: str) -> None:
    with pytest.raises(EndpointError) as caught:
        read_address(text)
    assert part in str(caught.value)
    assert text in str(caught.value)
