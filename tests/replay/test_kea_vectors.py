"""Every captured exchange with Kea 2.2's daemons and its agent.

An exchange is answered as Kea answered it, or the difference has a name, which is a row of
``docs/compatibility.md``.
"""

from __future__ import annotations

import fcntl
import json
import re
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from bridle.bundled.dhcp.leases import Lease4
from bridle.server.browsers import FIXED_HEADERS
from bridle.testing import run
from tests.replay.kea import Row, Stage, agent_at, backend, exchange_http, replay_on_socket, rows

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"

Check = Callable[[str], bool]


def says(*parts: str) -> Check:
    """A check that an answer holds these parts."""
    return lambda answer: all(part in answer for part in parts)


def is_text(result: int, text: str) -> Check:
    """A check for a whole answer without arguments."""
    return says(f'{{ "result": {result}, "text": {json.dumps(text, ensure_ascii=False)} }}')


ENVELOPE = "Error during command processing: invalid command: "
OWN_COMMANDS = says('"arguments": [ "build-report", "command-help", ', '"config-get", "config-hash-get"')
OUTSIDE = says("not allowed to write config into ", "must be in the same directory as the config file")

# Row numbers → the name of the difference in docs/compatibility.md, and what ours answers.
DIFFERENCES: dict[int, tuple[str, Check]] = {
    **dict.fromkeys(
        (7, 8, 234, 235),
        ("kea-envelope", is_text(1, f"{ENVELOPE}expected toplevel entry to be a map, got list instead")),
    ),
    236: ("kea-envelope", says("got string instead")),
    237: ("kea-envelope", says("got null instead")),
    238: ("kea-envelope", says("got boolean instead")),
    9: ("kea-envelope", is_text(1, f"{ENVELOPE}does not contain mandatory 'command'")),
    10: ("kea-envelope", is_text(1, f"{ENVELOPE}expected 'command' to be a string, got integer instead")),
    11: ("kea-envelope", is_text(1, f"{ENVELOPE}expected 'command' to be a string, got list instead")),
    13: ("kea-envelope", is_text(1, f"{ENVELOPE}unsupported parameter 'bogus'")),
    14: ("kea-envelope", is_text(1, f"{ENVELOPE}unsupported parameter 'a'")),
    22: ("kea-numbers", is_text(2, "'foo' command not supported.")),
    23: ("kea-numbers", is_text(2, "'foo' command not supported.")),
    34: ("kea-unicode-escapes", is_text(2, "'€' command not supported.")),
    35: ("kea-unicode-escapes", is_text(2, "'ǿ' command not supported.")),
    37: ("kea-utf8", is_text(2, "'é€' command not supported.")),
    244: ("kea-utf8", says("'é' command not supported.")),
    **dict.fromkeys((40, 117), ("kea-own-content", says('"extended": "2.2.0\\nBridle ', '"text": "2.2.0"'))),
    **dict.fromkeys((298, 303), ("kea-own-content", says('"extended": "', "Bridle ", '"result": 0'))),
    49: ("kea-own-content", says('"pid": ', '"reload": ', '"uptime": ', '"result": 0')),
    **dict.fromkeys((81, 116), ("kea-own-content", says('{ "result": 0, "text": "', "Bridle "))),
    **dict.fromkeys((50, 82), ("kea-own-commands", OWN_COMMANDS)),
    **dict.fromkeys((51, 119), ("kea-hash", says('"control-socket": {', '"hash": "'))),
    52: ("kea-hash", says('{ "arguments": { "hash": "')),
    305: ("kea-hash", says('"Control-agent": { "control-sockets": { "d2": {', '"hash": "')),
    306: ("kea-hash", says('{ "arguments": { "hash": "')),
    192: ("kea-unknown-keys", says("unsupported global configuration parameter: BOGUS (<wire>:0:")),
    **dict.fromkeys((164, 183, 201, 211, 212, 218), ("kea-hash", says('"hash": "', '"result": 0'))),
    200: ("kea-unknown-keys", says("unsupported global configuration parameter: BOGUS (<wire>:0:")),
    198: ("kea-roots", says("'arguments' parameter contains unsupported 'A' parameter (and 'B')")),
    330: ("kea-roots", says("'arguments' parameter contains unsupported 'Logging' parameter")),
    331: ("kea-unknown-keys", says('got unexpected keyword \\"BOGUS\\" in Control-agent map.')),
    **dict.fromkeys(
        (75, 109), ("kea-config-write", says('"filename": "/srv/t/kea/conf/rel-dhcp', "successful"))
    ),
    **dict.fromkeys((79, 108, 114, 147, 342), ("kea-config-write", OUTSIDE)),
    213: ("kea-http-unix", says("Configuration successful.")),
    220: ("kea-plain-file", says('"result": 1', "plainfile", "there is a file, which is not replaced")),
    412: ("kea-nesting", is_text(1, "fromJSON elements nested too deeply")),
    413: ("kea-nesting", is_text(1, "fromJSON elements nested too deeply")),
    414: ("kea-nesting", is_text(1, "fromJSON elements nested too deeply")),
    415: ("kea-nesting", is_text(1, "fromJSON elements nested too deeply")),
    333: ("kea-unauthenticated", says("cannot listen on http://192.0.2.77:", "other machines can reach it")),
    **dict.fromkeys(
        (223, 224, 240, 245, 246, 251, 261, 267, 268, 269, 270, 271, 275, 280),
        ("kea-own-commands", OWN_COMMANDS),
    ),
    274: ("kea-own-commands", OWN_COMMANDS),
    **dict.fromkeys((242, 243), ("kea-http-comments", OWN_COMMANDS)),
    **dict.fromkeys((255, 258), ("kea-content-type", OWN_COMMANDS)),
    266: ("kea-chunked", OWN_COMMANDS),
    **dict.fromkeys(
        (247, 253, 254, 276), ("kea-get", says("HTTP/1.1 200 OK", "Content-Type: text/plain", "Bridle"))
    ),
    **dict.fromkeys(
        (248, 249, 250, 252),
        ("kea-method", says("HTTP/1.1 405 Method Not Allowed", "Allow: GET, HEAD, POST")),
    ),
    **dict.fromkeys((262, 263), ("kea-content-length", says("HTTP/1.1 400 Bad Request"))),
    297: ("kea-answers-as-sent", says('[ { "zz": 1, "result": 7, "aa": [  ] } ]')),
    **dict.fromkeys((351, 352), ("kea-password-file", says("HTTP/1.1 200 OK"))),
    363: ("kea-password-file", says("HTTP/1.1 401 Unauthorized")),
    354: ("kea-credentials", says("HTTP/1.1 200 OK")),
    356: ("kea-credentials", says("HTTP/1.1 401 Unauthorized")),
    69: ("kea-service-origins", is_text(0, "DHCPv4 service disabled")),
    106: ("kea-service-origins", is_text(0, "DHCP service successfully enabled")),
    411: ("kea-own-content", says('"packet-queue-size": 20', '"thread-pool-size": 3', '"dhcp-state": {')),
    417: ("kea-own-content", says('"subnet[1].total-addresses": [ [ 191, "', '"pkt4-received": [ [ 0, "')),
    421: ("kea-lease-commands", is_text(3, "Lease not found.")),
    426: ("kea-own-commands", OWN_COMMANDS),
    424: (
        "kea-tls-switch",
        says("Can not switch from HTTP to HTTPS sockets using the same address and port."),
    ),
}

# What the configuration file held when config-reload was asked for (the notes say it in words).
FILES = {
    205: '{ "Dhcp4": { "bogus": 1 } }',
    206: '{ "Dhcp4": { ',
    207: "",
    208: '{ "Other": {} }',
    209: '// one\n{ "Dhcp4": { # two\n /* three */ "control-socket": CONTROL } }',
    210: '{ "Dhcp4": { "control-socket": <?include "socket.json"?> } }',
}
# What the captured daemon's configuration said besides, where it was another one.
SETTINGS: dict[int, dict[str, object]] = {
    411: {
        "multi-threading": {
            "enable-multi-threading": True,
            "thread-pool-size": 3,
            "packet-queue-size": 20,
        }
    },
}
CONTROL = '{ "socket-type": "unix", "socket-name": "/srv/t/kea/run/kea4.sock" }'

# What the daemon behind the agent answers; None: nothing, for ever.
BACKENDS: dict[int, bytes | None] = {
    **dict.fromkeys((284, 285, 294, 296, 300, 301, 302), b'{ "result": 0 }'),
    229: b'{ "result": 2, "text": "\'foo\' command not supported." }',
    286: b'{ "result": 0 }{ "result": 1 }',
    287: b'[ { "result": 0 } ]',
    288: b"[  ]",
    289: b"{  }",
    290: b'"ok"',
    291: b'{ "result": 0',
    292: b'{ "result": bar }',
    293: b"",
    295: b'/* a */ { "result": 0 } // b\n',
    297: b'{ "zz": 1, "result": 7, "aa": [  ] }',
    299: None,
}
AUTHENTICATION = {
    "authentication": {
        "type": "basic",
        "realm": "my realm",
        "directory": "/srv/t/kea/conf",
        "clients": [
            {"user": "admin", "password": "1234"},
            {"user": "emptypass"},
            {"user-file": "user.txt", "password-file": "password.txt"},
            {"password-file": "both.txt"},
            {"user": "colonpass", "password": "a:b"},
            {"user": "josé", "password": "pâss"},
        ],
    }
}
SECRETS = {"user.txt": "fileuser", "password.txt": "filepass\n", "both.txt": "both:bothpass\n"}

ON_SOCKETS = [row for row in rows() if row.server != "ca-http"]
# Not requests but remarks of the capture: 279 of a kept connection, 407 and 409 of an exit status, 416 of a
# crash, 422 and 425 of what came before and after a move of the listener.
REMARKS = {279, 407, 409, 416, 422, 425}
OVER_HTTP = [row for row in rows() if row.server == "ca-http" and row.number not in REMARKS]


def request_of(row: Row) -> str:
    """The request; long ones are abbreviated in the capture."""
    text = re.sub(r"<(\d+) ([xz])>", lambda match: match[2] * int(match[1]), row.request)
    return re.sub(r"<(\d+) nested lists>", lambda match: "[" * int(match[1]) + "]" * int(match[1]), text)


def normal(answer: str) -> str:
    """The answer without what differs from one second to the next."""
    answer = re.sub(r"Date: [^\r]*", "Date: D", answer)
    answer = re.sub(r'"(pid|uptime|reload)": \d+', r'"\1": 0', answer)
    answer = re.sub(r"z{200000}", "z" * 35 + "<...>" + "z" * 13, answer)
    return re.sub(r"Content-Length: \d+", "Content-Length: N", answer)


def without_our_headers(answer: str) -> str:
    """The answer less what stands behind Kea's own headers in each of ours (``kea-http-headers``)."""
    fixed = FIXED_HEADERS.decode()
    if not answer.startswith("HTTP/"):
        return answer
    head, end, body = answer.partition("\r\n\r\n")
    ours, named, name = f"{head}\r\n".partition("X-Request-ID: ")
    assert ours.endswith(fixed), answer
    assert not named or re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]+\r\n", name), answer
    return ours.removesuffix(fixed).removesuffix("\r\n") + end + body


def judge(row: Row, answer: str) -> None:
    """The answer is Kea's, or differs as documented."""
    answer = without_our_headers(answer)
    if row.number in DIFFERENCES:
        name, check = DIFFERENCES[row.number]
        assert check(answer), f"{name}: {answer}"
        assert normal(answer) != normal(row.response), f"there is no difference any more: {name}"
    else:
        assert normal(answer) == normal(row.response)


def issue_certificates(folder: Path) -> None:
    """Write what the captured configuration names."""
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    folder.mkdir()
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    server.cert_chain_pems[0].write_to_path(str(folder / "server.crt"))
    server.private_key_pem.write_to_path(str(folder / "server.key"))


def row_id(row: Row) -> str:
    """A name for a test."""
    return f"{row.number}-{row.server}"


@pytest.mark.parametrize("row", ON_SOCKETS, ids=row_id)
def test_a_daemon_answers_on_its_socket_as_kea_does(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        stage = stack.enter_context(Stage())
        monkeypatch.setenv("BRIDLE_DATA_DIR", str(stage.folder / "run"))
        if row.number == 219:
            lock = stack.enter_context((stage.folder / "run" / "kea6.sock.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        if row.number == 220:
            (stage.folder / "run" / "plainfile").write_text("precious")
        file = FILES.get(row.number)
        if file is not None:
            file = stage.ours(file.replace("CONTROL", CONTROL))
            (stage.folder / "conf" / "socket.json").write_text(stage.ours(CONTROL))
        expired = Lease4(
            address=0xC000020B,
            hw_address=bytes.fromhex("1a1b1c1d1e1f"),
            valid_lifetime=1,
            cltt=1795171171,
            subnet_id=1,
            state=2 if row.number > 430 else 0,
        )
        whole = Row(row.number, row.server, request_of(row), row.response, row.note)
        judge(
            row,
            run(
                replay_on_socket(
                    whole,
                    stage,
                    file=file,
                    more=SETTINGS.get(row.number),
                    leases=[expired] if row.number in (429, 430, 431, 432, 433) else [],
                )
            ),
        )


@pytest.mark.parametrize("row", OVER_HTTP, ids=row_id)
def test_the_agent_answers_as_kea_s_does(row: Row) -> None:
    async def replay(stage: Stage) -> str:
        extra: dict[str, object] = {}
        if 344 <= row.number <= 363:
            for name, text in SECRETS.items():
                (stage.folder / "conf" / name).write_text(text)
            extra = json.loads(stage.ours(json.dumps(AUTHENTICATION)))
        if row.number == 424:
            issue_certificates(stage.folder / "tls")
        if row.number == 283:
            with socket.socket(socket.AF_UNIX) as stale:
                stale.bind(str(stage.folder / "run" / "d2.sock"))
        if row.number == 225:
            return await asked_twice(stage)
        async with agent_at(stage, extra):
            if row.number not in BACKENDS:
                return await exchange_http(stage, row.request)
            answer = BACKENDS[row.number]
            async with backend(stage.folder / "run" / "kea4.sock", lambda request: answer) as seen:
                reply = await exchange_http(stage, row.request)
            assert b'"remote-address": "127.0.0.1"' in seen[0]
            return reply

    async def asked_twice(stage: Stage) -> str:
        async with agent_at(stage):
            body = re.search(r"\[ (.*), \1 \]|\[ (\{.*\}), (\{.*\}) \]", normal(row.response))
            assert body is not None
            one = (body[2] or body[1]).encode()
            async with backend(stage.folder / "run" / "kea4.sock", lambda request: one):
                return await exchange_http(stage, row.request)

    with Stage() as stage:
        judge(row, run(replay(stage)))


def test_each_difference_is_a_row_of_the_document() -> None:
    named = set(re.findall(r"^\| `([a-z0-9-]+)` \|", DOCUMENT.read_text("utf-8"), re.MULTILINE))
    assert {name for name, _ in DIFFERENCES.values()} <= named
