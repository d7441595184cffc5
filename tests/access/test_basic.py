"""Basic HTTP authentication: who is let in, and how a configuration says so (``facts/kea.md`` §2.3)."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from bridle import JSON, ConfigurationError
from bridle.access.basic import BasicAuthentication, read_authentication
from bridle.access.passwords import NOBODY, Verdict
from bridle.access.tokens import TokenFile
from bridle.core.messages import Path as Place

KNOWN = BasicAuthentication("realm", {"admin": "1234", "guest": "", "colon": "a:b:c", "Zoë": "clé"})


def header(credentials: str, scheme: str = "Basic") -> str:
    return f"{scheme} {base64.b64encode(credentials.encode()).decode()}"


# Who is let in


@pytest.mark.parametrize(
    ("authorization", "user"),
    [
        (header("admin:1234"), "admin"),
        (header("admin:1234", "basic"), "admin"),
        (header("admin:1234", "BASIC"), "admin"),
        (header("admin:1234", "Basic   "), "admin"),
        (header("admin:1234") + "  ", "admin"),
        (header("guest:"), "guest"),
        (header("colon:a:b:c"), "colon"),
        (header("Zoë:clé"), "Zoë"),
    ],
)
def test_right_credentials_vouch_for_a_user(authorization: str, user: str) -> None:
    assert KNOWN.user(authorization) == user


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic    ",
        header("admin:wrong"),
        header("admin:"),
        header("admin:12345"),
        header("admin:123"),
        header("admin:1234\n"),
        header("admin"),
        header("guest"),
        header("Admin:1234"),
        header("nobody:1234"),
        header("nobody:"),
        header(":1234"),
        header(":"),
        header(""),
        header("colon:a"),
        header("admin:1234", "Digest"),
        header("admin:1234", "Bearer"),
        header("admin:1234", "Basic:"),
        header("admin:1234", "xBasic"),
        header("admin:1234").replace(" ", ""),
        header("admin:1234").replace(" ", "\t"),
        "Basic not base64!",
        "Basic YWRtaW46\u00e4MTIzNA==",
        header("admin:1234") + " " + header("admin:1234"),
    ],
)
def test_everything_else_vouches_for_nobody(authorization: str | None) -> None:
    assert KNOWN.user(authorization) is None


@pytest.mark.parametrize("credentials", ["admin:1234", "colon:a:b:c"])
def test_base64_without_its_padding_is_refused_as_kea_does(credentials: str) -> None:
    padded = header(credentials)
    assert padded.endswith("=")
    assert KNOWN.user(padded) is not None
    assert KNOWN.user(padded.rstrip("=")) is None


def test_without_clients_nothing_is_asked_for() -> None:
    assert not BasicAuthentication("realm", {}).required
    assert BasicAuthentication("realm", {"admin": ""}).required


def test_a_realm_is_quoted_in_the_challenge() -> None:
    assert KNOWN.challenge == 'Basic realm="realm"'
    assert BasicAuthentication('a "b" \\c', {}).challenge == r'Basic realm="a \"b\" \\c"'


# How a configuration says it


def locate(place: Place) -> str:
    return "conf:" + "/".join(map(str, place))


def read(value: dict[str, JSON]) -> BasicAuthentication:
    return read_authentication(value, ["authentication"], locate, realm="kea-control-agent")


def refused(value: dict[str, JSON]) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        read(value)
    return caught.value


def clients(*entries: JSON, **others: JSON) -> dict[str, JSON]:
    return {"type": "basic", "clients": list(entries), **others}


@pytest.mark.parametrize("value", [{}, {"type": "basic"}, {"clients": []}, {"type": "basic", "realm": "x"}])
def test_a_configuration_without_clients_asks_for_nothing(value: dict[str, JSON]) -> None:
    assert not read(value).required


def test_the_realm_is_the_default_or_the_one_given() -> None:
    assert read({}).challenge == 'Basic realm="kea-control-agent"'
    assert read({"realm": "here"}).challenge == 'Basic realm="here"'


def test_clients_are_let_in_by_their_user_and_password() -> None:
    known = read(clients({"user": "a", "password": "1"}, {"user": "b"}, {"user": "c", "password": ""}))
    assert known.user(header("a:1")) == "a"
    assert known.user(header("b:")) == "b"
    assert known.user(header("c:")) == "c"
    assert known.user(header("b:1")) is None


def test_comments_and_contexts_of_clients_are_nothing_to_it() -> None:
    entry: JSON = {"user": "a", "password": "1", "comment": "x", "user-context": {"y": 1}}
    assert read(clients(entry)).user(header("a:1")) == "a"


@pytest.mark.parametrize(
    ("content", "password"),
    [
        ("secret", "secret"),
        ("secret\n", "secret"),
        ("secret\r\n", "secret"),
        ("secret\nsecond line\n", "secret"),
        (" with blanks \n", " with blanks "),
        ("", ""),
        ("\n", ""),
        ("a:b", "a:b"),
        ("clé\n", "clé"),
    ],
)
def test_a_password_file_holds_the_password_in_its_first_line(
    tmp_path: Path, content: str, password: str
) -> None:
    (tmp_path / "p").write_bytes(content.encode())
    known = read(clients({"user": "a", "password-file": "p"}, directory=str(tmp_path)))
    assert known.user(header(f"a:{password}")) == "a"
    assert known.user(header("a:other")) is None


def test_a_user_file_holds_the_user(tmp_path: Path) -> None:
    (tmp_path / "u").write_text("admin\n")
    (tmp_path / "p").write_text("1234\n")
    known = read(clients({"user-file": "u", "password-file": "p"}, directory=str(tmp_path)))
    assert known.user(header("admin:1234")) == "admin"
    mixed = read(clients({"user-file": "u", "password": "5"}, directory=str(tmp_path)))
    assert mixed.user(header("admin:5")) == "admin"


def test_a_password_file_alone_holds_both(tmp_path: Path) -> None:
    (tmp_path / "both").write_text("admin:a:b\n")
    known = read(clients({"password-file": "both"}, directory=str(tmp_path)))
    assert known.user(header("admin:a:b")) == "admin"


def test_a_password_file_beside_a_user_holds_the_password_alone(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("other:1234\n")
    known = read(clients({"user": "admin", "password-file": "p"}, directory=str(tmp_path)))
    assert known.user(header("admin:other:1234")) == "admin"
    assert known.user(header("other:1234")) is None


def test_files_are_looked_up_in_the_directory(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("1234")
    for directory, name in ((str(tmp_path), "p"), ("", str(tmp_path / "p"))):
        known = read(clients({"user": "a", "password-file": name}, directory=directory))
        assert known.user(header("a:1234")) == "a"


@pytest.mark.parametrize("where", ["directory", "path"])
def test_a_file_of_tokens_is_read(tmp_path: Path, where: str) -> None:
    token = TokenFile(tmp_path / "tokens").create("ci", role="reader")
    given: dict[str, JSON] = (
        {"directory": str(tmp_path), "tokens": "tokens"}
        if where == "directory"
        else {"tokens": str(tmp_path / "tokens")}
    )
    known = read(given)
    assert known.required
    assert known.challenge == 'Bearer realm="kea-control-agent"'
    assert known.vouch(f"Bearer {token}", "192.0.2.1") == Verdict("ci", "reader", "ci")
    assert known.vouch(header("ci:"), "192.0.2.1") == NOBODY


def test_a_token_of_ones_own_forgives_no_passwords_that_were_guessed(tmp_path: Path) -> None:
    token = TokenFile(tmp_path / "tokens.json").create("ci")
    value: dict[str, JSON] = {
        "directory": str(tmp_path),
        "tokens": "tokens.json",
        "clients": [{"user": "admin", "password": "1234"}],
    }
    known = read(value)
    answers = []
    for number in range(20):
        assert known.vouch(f"bEARER {' ' * number}{token}", "192.0.2.1") == Verdict("ci", None, "ci")
        answers.append(known.vouch(header(f"admin:{number}"), "192.0.2.1"))
    assert [isinstance(answer, Verdict) and answer.wait > 0 for answer in answers] == [False] * 6 + [
        True
    ] * 14


def test_a_file_of_tokens_that_others_can_read_is_refused(tmp_path: Path) -> None:
    TokenFile(tmp_path / "tokens").create("ci")
    (tmp_path / "tokens").chmod(0o644)
    error = refused({"tokens": str(tmp_path / "tokens")})
    assert "can be read by others: chmod go=" in error.text
    assert error.path == ["authentication", "tokens"]
    assert refused({"tokens": 5}).text == "invalid type specified for parameter 'tokens'"


# What a configuration may not say


@pytest.mark.parametrize("kind", ["digest", "", "Basic", 5, None])
def test_another_type_is_refused(kind: JSON) -> None:
    error = refused({"type": kind})
    assert error.text == f"only basic HTTP authentication is supported: type is '{kind}' not 'basic'"
    assert error.path == ["authentication", "type"]


@pytest.mark.parametrize(
    ("client", "text", "key"),
    [
        ({}, "user is required in clients items", None),
        ({"password": "x"}, "user is required in clients items", None),
        ({"user": ""}, "user must not be empty", "user"),
        ({"user": "a:b"}, "user must not contain a ':': 'a:b'", "user"),
    ],
)
def test_a_client_needs_a_user(client: dict[str, JSON], text: str, key: str | None) -> None:
    error = refused(clients({"user": "fine"}, client))
    assert error.text == text
    assert error.path == ["authentication", "clients", 1, *([key] if key else [])]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "user must not be empty"),
        ("\nadmin", "user must not be empty"),
        ("a:b\n", "user must not contain a ':': 'a:b'"),
    ],
)
def test_a_user_out_of_a_file_is_held_to_the_same(tmp_path: Path, content: str, text: str) -> None:
    (tmp_path / "u").write_text(content)
    error = refused(clients({"user-file": "u", "password": "x"}, directory=str(tmp_path)))
    assert error.text == text
    assert error.path == ["authentication", "clients", 0, "user-file"]


@pytest.mark.parametrize("name", ["user", "password"])
def test_a_value_and_a_file_for_it_exclude_each_other(tmp_path: Path, name: str) -> None:
    client: dict[str, JSON] = {"user": "a", name: "x", f"{name}-file": "f"}
    error = refused(clients(client, directory=str(tmp_path)))
    here = "conf:authentication/clients/0/"
    assert error.text == (f"{name} ({here}{name}) and {name}-file ({here}{name}-file) are mutually exclusive")
    assert str(error) == error.text


@pytest.mark.parametrize("content", ["", "no colon", "no colon\nuser:password"])
def test_a_password_file_alone_that_names_no_user_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "f").write_text(content)
    error = refused(clients({"password-file": "f"}, directory=str(tmp_path)))
    assert error.text == "can't find the user id part in password-file 'f'"
    assert error.path == ["authentication", "clients", 0, "password-file"]


@pytest.mark.parametrize("key", ["user-file", "password-file"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, key: str) -> None:
    error = refused(clients({"user-file": "u", "password": "x", key: "none"}, directory=str(tmp_path)))
    if key == "user-file":
        assert error.text == f"can't open file '{tmp_path}/none': No such file or directory"
    error = refused(clients({key: "x"}))
    assert error.text == "can't open file '/x': No such file or directory"
    (tmp_path / "d").mkdir()
    error = refused(clients({key: "d"}, directory=str(tmp_path)))
    assert error.text == f"can't open file '{tmp_path}/d': Is a directory"
    (tmp_path / "b").write_bytes(b"\xff\xfe")
    error = refused(clients({key: "b"}, directory=str(tmp_path)))
    assert error.text.startswith(f"can't open file '{tmp_path}/b': ")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"clients": {"user": "a", "password": "b"}}, ["clients"]),
        ({"clients": "admin"}, ["clients"]),
        ({"clients": None}, ["clients"]),
        ({"clients": ["admin"]}, ["clients", 0]),
        ({"clients": [{"user": "a"}, None]}, ["clients", 1]),
        ({"clients": [{"user": 5}]}, ["clients", 0, "user"]),
        ({"clients": [{"user": "a", "password": 5}]}, ["clients", 0, "password"]),
        ({"clients": [{"user": "a", "password": None}]}, ["clients", 0, "password"]),
        ({"clients": [{"user": "a", "password-file": ["x"]}]}, ["clients", 0, "password-file"]),
        ({"clients": [{"user-file": 5}]}, ["clients", 0, "user-file"]),
        ({"directory": 5}, ["directory"]),
        ({"realm": ["x"]}, ["realm"]),
    ],
)
def test_what_is_of_the_wrong_type_is_refused_rather_than_leaving_the_door_open(
    value: dict[str, JSON], path: list[str | int]
) -> None:
    error = refused(value)
    name = next(step for step in reversed(path) if isinstance(step, str))
    assert error.text == f"invalid type specified for parameter '{name}'"
    assert error.path == ["authentication", *path]


def test_no_text_of_a_refusal_has_a_password_in_it(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("s3cr3t")
    for client in (
        {"user": "", "password": "s3cr3t"},
        {"user": "a:b", "password": "s3cr3t"},
        {"user": "a", "password": "s3cr3t", "password-file": "p"},
        {"password-file": "p"},
        {"password": "s3cr3t"},
    ):
        assert "s3cr3t" not in str(refused(clients(dict[str, JSON](client), directory=str(tmp_path))))
