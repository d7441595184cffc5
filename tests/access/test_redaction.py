"""Secrets are masked where they are shown, and come back where they are meant."""

from __future__ import annotations

import collections
import copy
import dataclasses
import enum

import msgspec
import pytest
from msgspec import UNSET, Raw

from bridle.access.redaction import MASK, UNREADABLE, Redaction
from bridle.access.restoring import holds_masks, restored, restored_command
from bridle.core.errors import ArgumentError, ConfigurationError
from bridle.core.manager import CommandManager
from bridle.core.messages import JSON, Command, Response
from bridle.wire.binrpc import BinrpcServer
from bridle.wire.binrpc_client import encode_request
from bridle.wire.kea import KeaServer

R = Redaction()


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "Password",
        "PASSWORD",
        "bind-password",
        "bind_password",
        "dbPassword",
        "secret",
        "client-secret",
        "client_secret",
        "token",
        "authToken",
        "passphrase",
        "api-key",
        "api_key",
        "apikey",
        "private-key",
        "pre-shared-key",
        "password-hash",
        "pwd",
        "pass-word",
        "Pass_Word",
        "pass word",
        "password ",
        "password1",
        "db_password_2",
        "db.password",
        "passwords",
        "secrets",
        "secret-key",
        "secretKey",
        "auth-key",
        "auth_keys",
        "credentials",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert R.is_secret(name)
    assert R.masked({name: "hunter2"}) == {name: MASK}


@pytest.mark.parametrize(
    "name",
    [
        "password-file",
        "passwords-file",
        "key-file",
        "key-file2",
        "secret-file",
        "credentials-cache",
        "client-keytab",
        "user",
        "name",
        "key",
        "key-id",
        "key-name",
        "tsig-keys",
        "secretary",
        "token-count",
        "tokens-used",
        "2",
        "",
    ],
)
def test_names_of_no_secrets(name: str) -> None:
    assert not R.is_secret(name)
    assert R.masked({name: "hunter2"}) == {name: "hunter2"}


def test_tokens_are_secrets_unless_they_are_counted_or_in_a_file() -> None:
    shown: JSON = {"tokens": "tokens.json", "a": {"tokens": 17}}
    assert R.masked(shown) is shown
    assert R.masked({"tokens": ["a"], "b": {"Tokens": {"x": "y"}}}) == {"tokens": MASK, "b": {"Tokens": MASK}}
    assert R.masked({"tokens": "a://b:hunter2@c"}) == {"tokens": f"a://b:{MASK}@c"}


def test_a_daemon_declares_more() -> None:
    more = Redaction(["community", "Shared_Word"])
    value: JSON = {"community": "public", "shared-word": "x", "shared_word": "y", "password": "z"}
    assert more.masked(value) == dict.fromkeys(value, MASK)  # type: ignore[arg-type]
    assert R.masked(value) == {**value, "password": MASK}  # type: ignore[dict-item]


@pytest.mark.parametrize("secret", ["x", 5, 0, 1.5, ["a"], {"a": "b"}])
def test_whatever_a_secret_is_it_is_masked_whole(secret: JSON) -> None:
    assert R.masked({"a": [{"secret": secret}]}) == {"a": [{"secret": MASK}]}


@pytest.mark.parametrize("nothing", ["", None, True, False, [], {}])
def test_what_has_no_value_is_left(nothing: JSON) -> None:
    value: JSON = {"secret": nothing}
    assert R.masked(value) is value


def test_a_value_without_secrets_is_the_same_object() -> None:
    value: JSON = {"a": [1, {"b": "c d", "user": "x"}], "e": "http://127.0.0.1:8000/"}
    assert R.masked(value) is value
    text = Raw(b'{"a": 1}')
    assert R.masked_raw(text) is text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://kea:s3cret@db/kea", f"postgresql://kea:{MASK}@db/kea"),
        ("redis://:s3cret@db", f"redis://:{MASK}@db"),
        ("http://u:s3@cr/et@h:80/x", f"http://u:{MASK}@h:80/x"),
        ("see http://h/,http://u:s3cret@h now", f"see http://h/,http:{MASK}@h now"),
        ("host=db user=kea password=s3cret dbname=kea", f"host=db user=kea password={MASK} dbname=kea"),
        ("password='s3 c\\'ret' host=db", f"password='{MASK}' host=db"),
        ('{"password": "s3 c\\"ret", "a": 1}', f'{{"password": "{MASK}", "a": 1}}'),
        ("{'client-secret': 's3cret'}", f"{{'client-secret': '{MASK}'}}"),
        ('cut off: "password": "s3cret and', f'cut off: "password": "{MASK}"'),
        ("http://h/?a=1&token=s3cret&b=2", f"http://h/?a=1&token={MASK}&b=2"),
        ("Authorization: Bearer s3cret.s3cret", f"Authorization: Bearer {MASK}"),
        (
            "x -----BEGIN EC PRIVATE KEY-----\ns3cret\n-----END EC PRIVATE KEY----- y",
            f"x {MASK} y",
        ),
        ("-----BEGIN PRIVATE KEY-----\ns3cret", MASK),
        ("password = my s3cret word", f"password = {MASK}"),
        ("password = my s3cret dbname = kea", f"password = {MASK} dbname = kea"),
        ("password: my s3cret\nuser: kea", f"password: {MASK}\nuser: kea"),
        ("password => s3cret", f"password => {MASK}"),
        ("password2=s3cret pwd=s3cret", f"password2={MASK} pwd={MASK}"),
        ("secret key: s3cret, secrets=s3cret", f"secret key: {MASK}, secrets={MASK}"),
        (
            '{\\"password\\": \\"s3 c\\\\\\"ret\\", \\"a\\": 1}',
            f'{{\\"password\\": \\"{MASK}\\", \\"a\\": 1}}',
        ),
        ('cut off: \\"password\\": \\"s3cret and', f'cut off: \\"password\\": \\"{MASK}\\"'),
    ],
)
def test_secrets_in_a_text(text: str, masked: str) -> None:
    assert "s3" not in R.masked_text(text)
    if "http:" not in text or "," not in text:
        assert R.masked_text(text) == masked
    assert R.masked_text(R.masked_text(text)) == R.masked_text(text)
    assert R.may_hold_secrets(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "an ordinary sentence: nothing to see",
        "http://127.0.0.1:8000/path",
        "mail to a@b.c",
        "2001:db8::1",
        "password is required",
        "password=",
        '"secret": null',
        '\\"secret\\": \\"\\"',
        "bearers of news",
    ],
)
def test_texts_without_secrets_are_left(text: str) -> None:
    assert R.masked_text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "a-" * 500_000,
        "password " * 100_000,
        'password="' * 100_000,
        "password='\\" * 100_000,
        "://a:" * 200_000,
        "://" * 300_000 + "@",
        "-----BEGIN " * 50_000 + "PRIVATE KEY",
        "-----BEGIN PRIVATE KEY-----" * 20_000,
        "bearer " * 100_000,
        "a" * 1_000_000 + " ://",
        "a" * 500_000 + "\t" + "b" * 500_000 + "\n://",
        "a://" * 250_000,
        "a://" + ":" * 1_000_000,
        "a://" + "b@" * 500_000,
        "bearer" + " " * 1_000_000,
        "=password" + " " * 1_000_000,
        "password=" + " " * 1_000_000 + "{",
        "password" * 125_000 + "=",
        ("-----BEGIN PRIVATE KEY-----" + ("-----END " + " " * 40) * 20_000),
        "password: " + "a " * 500_000 + "=",
        "password: a = " * 70_000,
        'password: \\"' + "\\" * 1_000_000,
        'password: \\\\"' + '\\"' * 500_000,
        "password:" + "\\" * 1_000_000,
        "password" + "\\" * 1_000_000 + "=",
        "password" + "1" * 1_000_000 + "=",
    ],
    ids=range(26),
)
def test_no_text_takes_long(text: str) -> None:
    R.masked_text(text)  # the test's timeout would tell


# Values that are no JSON yet.


class Database(msgspec.Struct):
    user: str
    password: str


@dataclasses.dataclass
class Account:
    password: str


class Kind(enum.Enum):
    PLAIN = "plain"


ODD = [
    ({"password": "hunter2"},),
    [({"password": "hunter2"},)],
    {"db": Database("u", "hunter2")},
    Database("u", "hunter2"),
    [Account("hunter2")],
    {"db": Raw(b'{"password":"hunter2"}')},
    [{"db": Raw(b'{"password":"hunter2","password":null}')}],
    {1: "x", "password": "hunter2"},
    {1: {"password": "hunter2"}},
    collections.OrderedDict(password="hunter2"),
    {"password": b"hunter2"},
    {"a": b"password=hunter2"},
    {"a": msgspec.Raw(msgspec.json.encode({"b": "a:\\/\\/u:hunter2@h"}).replace(b"\\\\", b"\\"))},
]


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_values_are_masked_whatever_they_are_made_of(value: JSON) -> None:
    told = R.masked_response(Response(arguments=value))
    written = msgspec.json.encode(told.arguments)
    assert b"hunter2" not in written
    assert MASK.encode() in written or b"null" in written
    assert told.result == 0


@pytest.mark.parametrize(
    "value",
    [(1, "a"), {"a": Database("u", "")}, {1: "x"}, {"k": Kind.PLAIN}, {"a": b"b"}, [Raw(b"[1]")]],
    ids=range(6),
)
def test_odd_values_without_secrets_are_left(value: JSON) -> None:
    response = Response(arguments=value)
    assert R.masked_response(response) is response


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("password=hunter2")


@pytest.mark.parametrize(
    "value",
    [{"a": object()}, [Broken()], {Broken(): 1}, {"a": Raw(b'{"password":')}],
    ids=["a", "b", "c", "d"],
)
def test_what_cannot_be_looked_into_is_not_shown(value: JSON) -> None:
    told = R.masked_response(Response(0, "fine", value))
    assert told.result == 1
    assert told.arguments is UNSET
    assert (told.text or "").startswith("the answer cannot be shown: ")
    assert "hunter2" not in str(told.text)


# JSON texts.


@pytest.mark.parametrize(
    "text",
    [
        b'{"password": "hunter2", "password": null}',
        b'{"a": {"password": "hunter2"}, "a": 1}',
        b'{"note": "a://b:hunter2@c", "note": ""}',
        b'{"\\u0070assword": "hunter2", "password": null}',
        b'{"password": null, "a": {"\\u0070assword": "hunter2"}, "a": "password"}',
    ],
)
def test_members_that_are_doubled_are_not_shown(text: bytes) -> None:
    shown = R.masked_raw(Raw(text))
    assert b"hunter2" not in bytes(shown)
    assert msgspec.json.decode(shown) == msgspec.json.decode(text)


@pytest.mark.parametrize(
    "text", [b'{ "password-file":  "/run/p" }', b'{"password":null}', b'[ "pass", 1e3, "\xc3\xa9" ]']
)
def test_a_text_without_secrets_is_the_same(text: bytes) -> None:
    raw = Raw(text)
    assert R.masked_raw(raw) is raw


def test_names_that_are_not_ascii_are_found_in_capitals() -> None:
    more = Redaction(["\u043f\u0430\u0440\u043e\u043b\u044c"])
    text = Raw('{"\u041f\u0410\u0420\u041e\u041b\u042c": "hunter2"}'.encode())
    assert b"hunter2" not in bytes(more.masked_raw(text))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (b'{"password": "x"}', b'{"password":"********"}'),
        (b'{"pass\\u0077ord": "x"}', b'{"password":"********"}'),
        (b'{"PassWord": "x"}', b'{"PassWord":"********"}'),
        (b'[{"url": "a://b:c@d"}]', b'[{"url":"a://b:********@d"}]'),
        (b'{"n": 123456789012345678901234567890, "token": 5}', None),
    ],
)
def test_a_json_text(text: bytes, masked: bytes | None) -> None:
    found = bytes(R.masked_raw(Raw(text)))
    if masked is None:
        assert msgspec.json.decode(found) == {"n": 123456789012345678901234567890, "token": MASK}
    else:
        assert found == masked


@pytest.mark.parametrize(
    "inner",
    [b"1" * 10_000, b"[" * 700 + b"1" + b"]" * 700, b'{"a":' * 700 + b"1" + b"}" * 700],
    ids=["a number", "lists", "maps"],
)
def test_what_cannot_be_read_is_not_shown(inner: bytes) -> None:
    text = Raw(b'{"password": "pw", "x": ' + inner + b"}")
    answer = R.masked_response(Response(arguments=text))
    assert '"pw"' not in str(answer)
    assert b'"pw"' not in bytes(answer.arguments if isinstance(answer.arguments, Raw) else b"")
    arguments = R.masked_arguments(Command("c", text))
    assert arguments == UNREADABLE or arguments["password"] == MASK  # type: ignore[index,call-overload]


def test_an_answer() -> None:
    clear = Response(arguments=Raw(b'{"a": 1}'), text="fine")
    assert R.masked_response(clear) is clear
    assert R.masked_response(Response()) == Response()
    told = R.masked_response(Response(1, "no host at db://u:pw@h", arguments={"secret": "pw"}))
    assert told == Response(1, f"no host at db://u:{MASK}@h", arguments={"secret": MASK})
    broken = R.masked_response(Response(arguments=Raw(b'{"password": "pw"')))
    assert broken.result == 1
    assert broken.arguments is UNSET
    assert "pw" not in str(broken.text)


# A command's arguments, for a log.


def handler(user: str, password: str, note: str = "") -> None:
    """Log in."""


def unchecked(command: Command) -> None:
    """Take anything."""


@pytest.mark.parametrize(
    ("body", "masked"),
    [
        (UNSET, UNSET),
        (Raw(b"null"), None),
        (Raw(b'{"user": "u", "password": "pw"}'), {"user": "u", "password": MASK}),
        (Raw(b'["u", "pw"]'), ["u", MASK]),
        (["u", "pw", "a://b:pw@c", "more"], ["u", MASK, f"a://b:{MASK}@c", "more"]),
        ({"remote": {"password": "pw"}}, {"remote": {"password": MASK}}),
        (Raw(b'{"password": "pw"'), UNREADABLE),
        (Raw(b'{"password": "\xff"}'), UNREADABLE),
    ],
)
def test_arguments_are_masked_by_the_names_of_what_they_fill(body: JSON, masked: JSON) -> None:
    manager = CommandManager()
    definition = manager.register_command("log-in", handler)
    assert R.masked_arguments(Command("log-in", body), definition) == masked


def test_arguments_of_kamailio_s_dialect_are_masked() -> None:
    definition = CommandManager().register_command("log-in", handler)
    (command,) = BinrpcServer().receive(encode_request(1, "log-in", ["u", "pw"]))
    assert isinstance(command, Command)
    assert R.masked_arguments(command, definition) == ["u", MASK]
    other = CommandManager().register_command("log-in", unchecked)
    (command,) = BinrpcServer().receive(encode_request(1, "log-in", [{"password": "pw"}]))
    assert isinstance(command, Command)
    assert "pw" not in str(R.masked_arguments(command, other))


# Back again.

KEA: JSON = {
    "Dhcp4": {
        "lease-database": {"type": "postgresql", "name": "kea", "user": "kea", "password": "db-pw"},
        "hosts-databases": [
            {"type": "mysql", "name": "one", "password": "one-pw"},
            {"type": "mysql", "name": "two", "password": "two-pw"},
        ],
        "control-sockets": [
            {"socket-type": "unix", "socket-name": "/run/kea4"},
            {
                "socket-type": "http",
                "socket-port": 8000,
                "authentication": {
                    "type": "basic",
                    "clients": [
                        {"user": "admin", "password": "1234"},
                        {"user": "guest", "password": ""},
                        {"user": "admin", "password": "5678"},
                    ],
                },
            },
        ],
        "tsig-keys": [
            {"name": "a", "algorithm": "HMAC-MD5", "secret": "aaaa"},
            {"name": "b", "algorithm": "HMAC-MD5", "secret": "bbbb"},
        ],
        "user-context": {"dsn": "postgresql://kea:dsn-pw@db/kea", "urls": ["a://b:pw1@c", "a://b:pw2@d"]},
    }
}
SECRETS = ("db-pw", "one-pw", "two-pw", "1234", "5678", "aaaa", "bbbb", "dsn-pw", "pw1", "pw2")


def masked_kea() -> dict[str, dict[str, object]]:
    return copy.deepcopy(R.masked(KEA))  # type: ignore[return-value]


def test_a_masked_configuration_comes_back_whole() -> None:
    masked = R.masked(KEA)
    text = msgspec.json.encode(masked).decode()
    assert not [secret for secret in SECRETS if secret in text]
    assert holds_masks(masked)
    assert restored(masked, KEA, R) == KEA
    assert restored(KEA, KEA, R) is KEA
    assert not holds_masks(KEA)


def test_other_changes_are_kept_and_secrets_follow_what_they_belong_to() -> None:
    new = masked_kea()["Dhcp4"]
    keys = new["tsig-keys"]
    assert isinstance(keys, list)
    new["tsig-keys"] = [
        {"name": "c", "algorithm": "HMAC-SHA256", "secret": "cccc"},
        {**keys[1], "algorithm": "HMAC-SHA512"},
        keys[0],
    ]
    new["hosts-databases"] = [{"type": "mysql", "name": "two", "host": "db2", "password": MASK}]
    new["valid-lifetime"] = 60
    told = restored({"Dhcp4": new}, KEA, R)  # type: ignore[dict-item]
    assert isinstance(told, dict)
    dhcp4 = told["Dhcp4"]
    assert isinstance(dhcp4, dict)
    assert dhcp4["tsig-keys"] == [
        {"name": "c", "algorithm": "HMAC-SHA256", "secret": "cccc"},
        {"name": "b", "algorithm": "HMAC-SHA512", "secret": "bbbb"},
        {"name": "a", "algorithm": "HMAC-MD5", "secret": "aaaa"},
    ]
    assert dhcp4["hosts-databases"] == [{"type": "mysql", "name": "two", "host": "db2", "password": "two-pw"}]
    assert dhcp4["valid-lifetime"] == 60
    assert dhcp4["control-sockets"] == KEA["Dhcp4"]["control-sockets"]  # type: ignore[index,call-overload]


@pytest.mark.parametrize(
    ("new", "held", "place"),
    [
        ({"password": MASK}, {}, "password"),
        ({"password": MASK}, {"password": ""}, "password"),
        ({"a": {"password": MASK}}, {"a": []}, "a.password"),
        ({"a": {"password": MASK}}, {"b": {"password": "x"}}, "a.password"),
        ({"note": MASK}, {"note": "else"}, "note"),
        ({"url": f"a://b:{MASK}@other"}, {"url": "a://b:x@host"}, "url"),
        ({"secret": [MASK]}, {"secret": ["x"]}, "secret"),
        ([{"name": "c", "secret": MASK}], [{"name": "a", "secret": "x"}], "0"),
        ([{"name": "c", "type": "t", "secret": MASK}], [{"name": "a", "type": "t", "secret": "x"}], "0"),
        (
            [{"name": "a", "secret": MASK}, {"name": "a", "secret": MASK, "x": 1}],
            [{"name": "a", "secret": "x"}, {"name": "a", "secret": "y"}],
            "0",
        ),
        (
            [{"user": "a", "password": MASK}],
            [{"user": "a", "password": "x"}, {"user": "a", "password": "y"}],
            "0",
        ),
        (
            [{"secret": MASK, "x": 1}, {"secret": MASK, "x": 2}],
            [{"secret": "s", "x": 3}, {"secret": "t"}],
            "0",
        ),
        ([MASK], ["x"], "0"),
    ],
)
def test_where_it_is_not_clear_the_configuration_is_refused(new: JSON, held: JSON, place: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        restored(new, held, R)
    assert str(caught.value) == (
        f"the secret of '{place}' is masked, and it is not clear which one it stands for: give it anew"
    )
    assert caught.value.path == tuple(int(step) if step.isdigit() else step for step in place.split("."))


@pytest.mark.parametrize(
    ("new", "held", "whole"),
    [
        ([{"secret": MASK, "x": 1}], [{"secret": "s", "x": 3}], [{"secret": "s", "x": 1}]),
        (
            [{"user": "a", "password": MASK}] * 3,
            [{"user": "a", "password": "x"}] * 2,
            [{"user": "a", "password": "x"}] * 3,
        ),
        ({"note": MASK}, {"note": MASK}, {"note": MASK}),
        ({"password": MASK}, {"password": MASK}, {"password": MASK}),
        ({"password": MASK}, {"password": 5}, {"password": 5}),
        ({"password": "new"}, {"password": "old"}, {"password": "new"}),
        (
            [{"socket-address": "::1", "socket-port": 2, "token": MASK, "x": 1}],
            [
                {"socket-address": "::1", "socket-port": 1, "token": "s"},
                {"socket-address": "::1", "socket-port": 2, "token": "t"},
            ],
            [{"socket-address": "::1", "socket-port": 2, "token": "t", "x": 1}],
        ),
    ],
)
def test_where_it_is_clear_the_secret_is_kept(new: JSON, held: JSON, whole: JSON) -> None:
    assert restored(new, held, R) == whole


# A command that sends a configuration.


def sent(text: bytes) -> Command:
    (command,) = KeaServer().receive(b'{"command": "config-set", "arguments":\n' + text + b"}")
    assert isinstance(command, Command)
    return command


HELD: JSON = {"Dhcp4": {"lease-database": {"type": "mysql", "password": "db-pw"}}}


@pytest.mark.parametrize("mask", [b"********", b"\\u002a*******"])
def test_a_command_s_masks_are_replaced(mask: bytes) -> None:
    command = sent(b'{"Dhcp4": {"lease-database": {"type": "pgsql", "password": "' + mask + b'"}}}')
    whole = restored_command(command, HELD, R)
    assert whole.arguments == {"Dhcp4": {"lease-database": {"type": "pgsql", "password": "db-pw"}}}
    assert whole.locate(["arguments", "Dhcp4"]) == "<wire>:1:12"


@pytest.mark.parametrize("text", [b'{"Dhcp4": {"a": "\\u0041"}}', b"{}", b"null", b"5"])
def test_a_command_without_masks_is_the_same(text: bytes) -> None:
    command = sent(text)
    assert restored_command(command, HELD, R) is command
    assert restored_command(Command("config-set"), HELD, R).body is UNSET


def test_a_mask_that_stands_for_nothing_is_told_with_its_position() -> None:
    command = sent(b'{"Dhcp4": {"hosts-database":\n{"password": "********"}}}')
    with pytest.raises(ArgumentError) as caught:
        restored_command(command, HELD, R)
    assert str(caught.value) == (
        "the secret of 'Dhcp4.hosts-database.password' is masked, and it is not clear which one it stands "
        "for: give it anew (<wire>:2:14)"
    )


def test_what_is_nested_too_deeply_is_refused() -> None:
    value: JSON = MASK
    for _ in range(2000):
        value = {"a": value}
    with pytest.raises(ArgumentError, match="the arguments are nested too deeply"):
        restored_command(Command("config-set", value), HELD, R)
