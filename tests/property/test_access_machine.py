"""Whatever is sent over whichever channel: no command runs without the leave of the role of who sent it.

A daemon on channels of all kinds, and an agent in front of others, take commands in odd spellings from
several users while their roles change. What ran is held against a second evaluator of the roles, for that
very user, service, name and arguments; and what is well-formed and allowed has to run.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import bridle
from bridle.agent.agent import Agent
from bridle.core.messages import Command, Peer
from bridle.daemon.document import Document
from bridle.daemon.running import Running
from bridle.wire.binrpc_client import encode_request
from bridle.wire.binrpc_records import Struct
from tests.support.programs import free_port, short_directory
from tests.support.role_rules import COMMANDS, LISTS, NAMES, argued, naive_decision, named, roles

ABSENT = -100
ATTEMPTS = 5
SECONDS = 60.0
"""How long an answer may take on a machine that others use as well."""
ME = os.getuid()
MINE = os.getgid()
STRANGE = next(group for group in range(4242, 5000) if group not in {MINE, *os.getgroups()})
"""A group that nobody here is in."""
PASSWORDS = {"ann": "a", "bob": "b"}
SERVICES = {"dhcp4": "unix", "d2": "http", "kam": "binrpc+unix", "bng": "bngblaster+unix", "txt": "fifo+unix"}
KEA_SERVICES = ("dhcp4", "d2")
FIELD = {"ann": "", "bob": ""} | {
    user: f"Authorization: Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}\r\n"
    for user, password in PASSWORDS.items()
}


class Ran(NamedTuple):
    """A command that came as far as a handler or a hook."""

    peer: Peer
    service: str
    name: str
    body: dict[str, Any]


class Recorder(bridle.Daemon):
    """Writes down what it is made to do, and by whom. Where it is a service, its socket says which."""

    def __init__(self, service_of: Callable[[Peer], str] = lambda peer: "") -> None:
        self.ran: list[Ran] = []
        self._service_of = service_of
        self._now = Command("")
        self.manager.before_command(self._notice)

    def _notice(self, command: Command) -> None:
        self._now = command

    def _note(self, command: Command, **body: Any) -> None:
        seen = {key: item for key, item in body.items() if item is not None and item != ABSENT}
        self.ran.append(Ran(command.peer, self._service_of(command.peer), command.name, seen))

    @bridle.command(access="read")
    def look(self, n: int = ABSENT, file: str = "", deep: dict[str, Any] | None = None) -> str:
        """Take what its types say."""
        self._note(self._now, n=n, file=file, deep=deep)
        return "seen"

    @bridle.command(access="write")
    def change(self, n: Any = None, file: Any = None, deep: Any = None) -> str:
        """Take anything."""
        self._note(self._now, n=n, file=file, deep=deep)
        return "changed"

    @bridle.command(access="read")
    async def hook_look(
        self, command: bridle.Command, n: Any = None, file: Any = None, deep: Any = None
    ) -> str:
        """Take anything, later."""
        await asyncio.sleep(0)
        self._note(command, n=n, file=file, deep=deep)
        return "seen"

    @bridle.command(access="write")
    def hook_change(self, command: bridle.Command) -> str:
        """Check the arguments itself."""
        body = command.arguments
        self._note(command, **(body if isinstance(body, dict) else {}))
        return "changed"


class Sender(NamedTuple):
    """Who sends: by which transport, and as whom."""

    transport: str
    user: str | None = None

    @property
    def local(self) -> bool:
        return self.transport in ("unix", "unixd")


def role_name(assign: Sequence[Any], sender: Sender, service: str) -> str | None:
    """The role that is assigned, looked up as plainly as can be; None where that cannot be told."""
    for one in assign:
        if one == "basic-authentication":
            if sender.user:
                return sender.user
            continue
        if "services" in one and service not in one["services"]:
            continue
        if one.get("unix-group") == STRANGE and sender.transport == "unixd":
            return None  # with a datagram the kernel tells the first group alone
        if (("unix-user" in one or one.get("unix-group") == MINE) and sender.local) or (
            "remote-address" in one and sender.transport in ("http", "tcp", "udp")
        ):
            return str(one["role"])
    return ""


def allowed(access: dict[str, Any], sender: Sender, service: str, name: str, body: Mapping[str, Any]) -> bool:
    """Whether a configuration lets somebody run a command."""
    assigned = role_name(access["assign"], sender, service)
    if assigned is None:
        return False
    known = {one["name"]: one for one in access["roles"]}
    role = known.get(assigned, access.get("unknown-role")) if assigned else access.get("default-role")
    if role is None:
        return False
    lists = {key: item for one in access["access-control-lists"] for key, item in one.items()}
    return naive_decision(role, lists, name, service, body)


# What is configured.

some_services = st.lists(st.sampled_from(["", *SERVICES]), max_size=3, unique=True)
local_roles = st.sampled_from(["local", "ann", "nobody"])
assignments = st.permutations(
    [
        st.fixed_dictionaries(
            {"unix-user": st.just(ME), "role": local_roles}, optional={"services": some_services}
        ),
        st.fixed_dictionaries(
            {"unix-group": st.sampled_from([MINE, STRANGE]), "role": local_roles},
            optional={"services": some_services},
        ),
        st.just("basic-authentication"),
        st.fixed_dictionaries(
            {"remote-address": st.just("127.0.0.0/8"), "role": st.sampled_from(["net", "local"])},
            optional={"services": some_services},
        ),
        st.fixed_dictionaries({"remote-address": st.just("127.0.0.1"), "role": st.just("bob")}),
    ]
).flatmap(lambda some: st.tuples(*some))


# Most roles that chance makes let nobody do anything; these let some do something.
telling = st.one_of(
    st.builds(lambda one: {"accept-commands": one}, argued),
    st.builds(lambda one: {"accept-commands": {"not": one}}, argued),
    st.builds(lambda one: {"reject-commands": one, "other-commands": "accept"}, argued),
    st.builds(
        lambda one: {"accept-commands": "ALL", "reject-commands": one, "list-match-first": "reject"}, argued
    ),
    st.builds(
        lambda one, other: {"accept-commands": {"and": [{"service": one}, other]}},
        st.lists(st.sampled_from(["", *SERVICES]), min_size=1, max_size=3),
        st.sampled_from(["ALL", "READ", "WRITE"]),
    ),
    st.builds(
        lambda some: {"accept-commands": {"commands": some}},
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=3),
    ),
    st.builds(lambda one: {"accept-commands": one}, st.sampled_from(["ALL", "READ", "WRITE"])),
)
likely = st.one_of(telling, telling, telling, roles)


def named_role(name: str) -> st.SearchStrategy[dict[str, Any]]:
    return likely.map(lambda role: {"name": name, **role})


accesses = st.builds(
    lambda assign, known, lists, default, unknown: {
        "assign": list(assign),
        "commands": [{"name": name, "access": a, "hook": h} for name, (a, h) in COMMANDS.items()],
        "access-control-lists": [{name: one} for name, one in zip(LISTS, lists, strict=True)],
        "roles": list(known),
        "default-role": default,
        "unknown-role": unknown,
    },
    assignments,
    st.tuples(*map(named_role, ("local", "ann", "net"))),
    named,
    likely,
    likely,
)

# What is sent. A message is a text, and what it is where it is well-formed.


class Message(NamedTuple):
    """A text; ``name``, ``body`` and ``services`` of a well-formed one, None for name otherwise."""

    text: str
    name: str | None = None
    body: Mapping[str, Any] = MappingProxyType({})
    services: tuple[str, ...] = ()


SPELLED = ['"look"', '"change"', '"hook-look"', '"hook-change"', '"nobody-knows"', '"lo\\u006fk"']
SPELLED += [
    '"Look"',
    '"CHANGE"',
    '"look "',
    '" change"',
    '"look\\u0000"',
    '"change\\n"',
    '"list-commands"',
    '"ch\\u00c4nge"',
]
gaps = st.sampled_from(["", " ", '/* "n": 5 */', "# n\n", "// {\n", "\n", "\t"])
keys = st.sampled_from(['"n"', '"file"', '"deep"', '"\\u006e"', '"fil\\u0065"', '"N"', '"n "', '"n\\u0000"'])
items = st.sampled_from(
    [
        *(
            "0",
            "5",
            "9",
            "-1",
            "4294967301",
            "5.0",
            "5e0",
            "null",
            "true",
            "[5]",
            "[]",
            '"5"',
            '"/a/x"',
            '"/b"',
        ),
        *('"/a/../b"', '"/a/\\u0062/c"', '"/a/b\\u0000"', '{"n":1}', '{"n":2,"n":0}', '{"\\u006e":3}'),
        *('"/b"', '{"n":true}', '{"n":"1"}', '{"n":4294967297}'),
    ]
)
members = st.lists(st.builds("{2}{0}{2}:{2}{1}".format, keys, items, gaps), max_size=4)
bodies = st.one_of(
    members.map(lambda some: "{" + ",".join(some) + "}"),
    st.lists(items, max_size=3).map(lambda some: "[" + ",".join(some) + "]"),
    items,
)
service_names = st.sampled_from([*SERVICES, "dhcp4", "nobody", "", "DHCP4", "dhcp4 "])
service_lists = st.one_of(
    st.lists(service_names, max_size=4), st.sampled_from(["dhcp4", None, 5, [5], [["d2"]]])
)
tags = st.sampled_from(['"command"', '"comm\\u0061nd"', '"Command"'])
envelope_members = st.one_of(
    st.builds("{1}{0}{1}:{1}{2}".format, tags, gaps, st.sampled_from(SPELLED)),
    st.builds('{1}"arguments":{1}{0}'.format, bodies, gaps),
    st.builds('{1}"service":{1}{0}'.format, service_lists.map(json.dumps), gaps),
    st.just('"remote-address": "192.0.2.1"'),
    st.just('"keep-alive": true'),
)


def odd_text(some: list[str], gap: str) -> Message:
    return Message("{" + ",".join(some) + gap + "}")


odd_messages = st.builds(
    odd_text,
    st.builds(
        lambda first, more: [f'"command":{first}', *more],
        st.sampled_from(SPELLED),
        st.lists(envelope_members, max_size=4),
    ),
    gaps,
)
small = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(0, 9),
        "file": st.sampled_from(["/a/x", "/a/b/c", "/b", "a", "/a/../b"]),
        "deep": st.fixed_dictionaries({}, optional={"n": st.integers(0, 3)}),
    },
)


def plain_message(name: str, body: dict[str, Any], services: list[str]) -> Message:
    text: dict[str, Any] = {"command": name, "arguments": body}
    if services:
        text["service"] = services
    return Message(json.dumps(text), name, body, tuple(services))


names = st.sampled_from(NAMES)
plain_messages = st.builds(plain_message, names, small, st.just([]))
addressed_messages = st.builds(plain_message, names, small, st.lists(service_names, max_size=4))
torn_messages = st.builds(
    lambda message, place, junk: Message(message.text[: place % (len(message.text) + 1)] + junk),
    plain_messages,
    st.integers(0, 200),
    st.sampled_from(["", "}", "{", '"', "\\", "\x00", "/*", "]}"]),
)
messages = st.lists(
    st.one_of(plain_messages, odd_messages, plain_messages, torn_messages), min_size=1, max_size=5
)
requests = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "ann", "nobody"]),
        st.one_of(addressed_messages, odd_messages, plain_messages, torn_messages),
    ),
    min_size=1,
    max_size=4,
)
pieces = st.sampled_from([1 << 20, 1 << 20, 1 << 20, 7, 40])

# Kamailio's two dialects have no envelopes.
methods = st.sampled_from(
    [
        *NAMES,
        "Look",
        "LOOK",
        "look ",
        " look",
        "look\0",
        "look\0x",
        "change\n",
        "lo\u006fk",
        "",
        "system.listMethods",
    ]
)
values: st.SearchStrategy[Any] = st.one_of(
    st.integers(-1, 9),
    st.sampled_from([5.0, "5", "/a/x", "/b", "/a/../b", "", "x\0y", b"/a/x", 4294967301]),
    st.lists(st.tuples(st.sampled_from(["n", "N", None]), st.integers(0, 3)), max_size=2).map(
        lambda some: Struct(tuple(some))
    ),
)
records = st.one_of(
    st.lists(values, max_size=4),
    st.lists(st.tuples(st.sampled_from(["n", "file", "deep", "N", "n\0", None]), values), max_size=4).map(
        lambda some: [Struct(tuple(some))]
    ),
)


class Call(NamedTuple):
    """A request of Kamailio's; ``body`` where it is well-formed."""

    data: bytes
    name: str = ""
    body: dict[str, Any] | None = None


def odd_call(cookie: int, method: str, some: list[Any]) -> Call:
    return Call(encode_request(cookie, method, some))


def plain_call(cookie: int, method: str, body: dict[str, Any]) -> Call:
    return Call(encode_request(cookie, method, [body] if body else []), method, body)


cookies = st.integers(0, 300)
flat = small.map(lambda body: {key: item for key, item in body.items() if key != "deep"})
calls = st.lists(
    st.one_of(
        st.builds(plain_call, cookies, names, flat),
        st.builds(odd_call, cookies, methods, records),
        st.builds(plain_call, cookies, names, flat),
        st.builds(
            lambda call, place, byte: Call(call.data[:place] + bytes([byte]) + call.data[place + 1 :]),
            st.builds(odd_call, cookies, methods, records),
            st.integers(0, 40),
            st.integers(0, 255),
        ),
    ),
    min_size=1,
    max_size=5,
)
lines = st.sampled_from(
    [
        "n:5",
        "n:2,file:/a/x",
        "file:/b,n:1,n:9",
        "N:5",
        "5",
        "/a/x",
        "",
        "n:",
        "file:/a/\\u",
        "x:y",
        "n:5.0",
        "\\n",
        "n :5",
    ]
)
texts = st.lists(
    st.builds(
        lambda method, some: f":{method}:\n" + "".join(f"{line}\n" for line in some) + "\n",
        methods,
        st.lists(lines, max_size=3),
    ),
    min_size=1,
    max_size=4,
).map("".join)


class AccessMachine(RuleBasedStateMachine):
    """A daemon and an agent, under whatever roles."""

    @initialize(access=accesses, hooked=st.booleans())
    def start(self, access: dict[str, Any], hooked: bool) -> None:
        self.runner = asyncio.Runner()
        self.exits = contextlib.ExitStack()
        self.folder = self.exits.enter_context(short_directory())
        self.access = access
        self.senders: list[Sender] = []
        self.expected: Counter[tuple[str, str, str, str]] = Counter()
        self.hooked: list[Ran] = []
        for attempt in range(ATTEMPTS):
            self.open = contextlib.AsyncExitStack()
            try:
                self.runner.run(self._serve(hooked))
                break
            except bridle.EndpointError:  # a port that was free a moment ago
                self.runner.run(self.open.aclose())
                if attempt == ATTEMPTS - 1:
                    raise

    async def _serve(self, hooked: bool) -> None:
        folder = self.folder
        self.web, self.bare, self.front, self.plain_front, behind = (free_port() for _ in range(5))
        self.tcp, self.udp = free_port(), free_port(socket.SOCK_DGRAM)
        self.daemon, self.own = Recorder(), Agent()
        self.behind = Recorder(lambda peer: "d2" if peer.transport == "http" else Path(peer.address).name)
        own = Recorder()
        self.own_ran = own.ran
        for command in ("look", "change", "hook-look", "hook-change"):
            definition = own.manager.definition(command)
            assert definition is not None
            self.own.manager.register_command(command, definition.handler, access=definition.access)
        self.own.manager.before_command(own._notice)
        if hooked:
            self.own.manager.before_command(self._hook)
        places = [f"{wire}:{folder}/{name}" for name, wire in SERVICES.items() if wire != "http"]
        enter = self.open.enter_async_context
        await enter(bridle.serve(self.behind, *places, f"http://127.0.0.1:{behind}"))
        self.sockets: dict[str, Any] = {
            name: {"socket-name": f"{folder}/{name}"}
            if wire == "unix"
            else {"endpoint": f"{wire}:{folder}/{name}"}
            for name, wire in SERVICES.items()
        }
        self.sockets["d2"] = {"socket-type": "http", "socket-address": "127.0.0.1", "socket-port": behind}
        self.daemon_runs: Running = await enter(
            bridle.serve(
                self.daemon,
                f"unix:{folder}/s",
                f"bngblaster+unix:{folder}/g",
                f"binrpc+unix:{folder}/b",
                f"binrpc+unixd:{folder}/d",
                f"binrpc+tcp:127.0.0.1:{self.tcp}",
                f"binrpc+udp:127.0.0.1:{self.udp}",
                f"fifo+unix:{folder}/t",
                f"fifo:{folder}/f",
                f"http://127.0.0.1:{self.bare}",
                configuration=self._daemon_document(),
            )
        )
        self.agent_runs: Running = await enter(
            bridle.serve(
                self.own, f"http://127.0.0.1:{self.plain_front}", configuration=self._agent_document()
            )
        )

    def _hook(self, command: Command) -> None:
        [service] = command.services or ("",)
        body = command.arguments
        self.hooked.append(Ran(command.peer, service, command.name, body if isinstance(body, dict) else {}))

    def _authentication(self) -> dict[str, Any]:
        return {"type": "basic", "clients": [{"user": u, "password": p} for u, p in PASSWORDS.items()]}

    def _daemon_document(self) -> Document:
        control = {
            "socket-type": "http",
            "socket-address": "127.0.0.1",
            "socket-port": self.web,
            "authentication": self._authentication(),
        }
        return Document({"Recorder": {"control-sockets": [control], "access": self.access}})  # type: ignore[dict-item]

    def _agent_document(self) -> Document:
        return Document(
            {
                "Control-agent": {
                    "http-port": self.front,
                    "control-sockets": self.sockets,
                    "authentication": self._authentication(),
                    "access": self.access,
                }
            }
        )

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.open.aclose())
            self.runner.close()
            self.exits.close()

    @rule(access=accesses)
    def configure(self, access: dict[str, Any]) -> None:
        """Other roles hold from now on."""
        self.access = access

        async def change() -> None:
            await self.daemon_runs.owner.change(self._daemon_document())
            await self.agent_runs.owner.change(self._agent_document())

        self.runner.run(change())

    # What is sent.

    def _expect(self, sender: Sender, message: Message, service: str = "") -> None:
        """Count on a well-formed command to run, if it may."""
        assert message.name is not None
        if message.name in COMMANDS and allowed(self.access, sender, service, message.name, message.body):
            body = json.dumps(_seen(message.body), sort_keys=True)
            self.expected[sender.user or "", service, message.name, body] += 1

    def _leading(self, sender: Sender, some: Sequence[Message], most: int) -> None:
        for message in some[:most]:
            if message.name is None:
                break
            self._expect(sender, message)

    @rule(some=messages, keep=st.booleans(), size=pieces)
    def say_on_unix(self, some: list[Message], keep: bool, size: int) -> None:
        """Kea's dialect on a stream."""
        sender = Sender("unix")
        self.senders = [sender]
        self._leading(sender, some, len(some) if keep else 1)
        text = "//keep-alive\n" * keep + "".join(message.text for message in some)
        self.runner.run(self._stream("s", text.encode(), size))

    @rule(some=messages, size=pieces)
    def say_as_to_bng_blaster(self, some: list[Message], size: int) -> None:
        """BNG Blaster's dialect: another JSON."""
        self.senders = [Sender("unix")]
        self._leading(self.senders[0], some, 1)
        self.runner.run(self._stream("g", "".join(message.text for message in some).encode(), size))

    @rule(some=calls, where=st.sampled_from(["b", "tcp"]), size=pieces)
    def call_by_binrpc(self, some: list[Call], where: str, size: int) -> None:
        """Kamailio's dialect on streams."""
        sender = Sender("unix" if where == "b" else "tcp")
        self.senders = [sender]
        for call in some:
            if call.body is None:
                break
            self._expect(sender, Message("", call.name, call.body))
        self.runner.run(self._stream(where, b"".join(call.data for call in some), size))

    @rule(some=calls, where=st.sampled_from(["unixd", "udp"]))
    def call_by_datagrams(self, some: list[Call], where: str) -> None:
        """Kamailio's dialect in datagrams: each is for itself."""
        sender = Sender(where)
        self.senders = [sender]
        for call in some:
            if call.body is not None:
                self._expect(sender, Message("", call.name, call.body))
        self.runner.run(self._datagrams(where, [call.data for call in some]))

    @rule(text=texts, by_file=st.booleans())
    def write_as_text(self, text: str, by_file: bool) -> None:
        """Kamailio's text, on a stream and on a FIFO."""
        self.senders = [Sender("fifo" if by_file else "unix")]
        if by_file:
            self.runner.run(self._fifo(text.encode()))
        else:
            self.runner.run(self._stream("t", text.encode(), 1 << 20))

    @rule(some=requests, bare=st.booleans(), size=pieces)
    def post(self, some: list[tuple[str, Message]], bare: bool, size: int) -> None:
        """HTTP to the daemon, several users on one connection."""
        some = [(user, message._replace(services=())) for user, message in some if not message.services]
        self._posted(some, self.bare if bare else self.web, bare, size, through=False)

    @rule(some=requests, bare=st.booleans(), size=pieces)
    def post_to_the_agent(self, some: list[tuple[str, Message]], bare: bool, size: int) -> None:
        """HTTP to the agent: its own commands, and those for services."""
        self._posted(some, self.plain_front if bare else self.front, bare, size, through=True)

    def _posted(
        self, some: list[tuple[str, Message]], port: int, bare: bool, size: int, *, through: bool
    ) -> None:
        self.senders = []
        data = b""
        for user, message in some:
            sender = Sender("http", None if bare else user)
            body = message.text.encode()
            head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            head += FIELD.get(user, "")
            data += f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
            if bare or user in PASSWORDS:
                self.senders.append(sender)
                if message.name is not None:
                    for service in message.services if through and message.services else ("",):
                        if service in ("", *KEA_SERVICES) and (service or not message.services):
                            self._expect(sender, message, service)
        self.runner.run(self._stream(str(port), data, size))

    # How it is sent.

    async def _stream(self, where: str, data: bytes, size: int) -> None:
        """Send in pieces, say that this is all, and read until the other side has ended too."""
        if where == "tcp" or where.isdigit():
            port = self.tcp if where == "tcp" else int(where)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        else:
            reader, writer = await asyncio.open_unix_connection(self.folder / where)
        with contextlib.suppress(OSError):
            for start in range(0, len(data), size):
                writer.write(data[start : start + size])
                await asyncio.sleep(0)
            writer.write_eof()
            async with asyncio.timeout(SECONDS):
                await reader.read()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _datagrams(self, where: str, some: Sequence[bytes]) -> None:
        """Send all, and something that is answered behind them."""
        loop = asyncio.get_running_loop()
        family = socket.AF_UNIX if where == "unixd" else socket.AF_INET
        place: Any = str(self.folder / "d") if where == "unixd" else ("127.0.0.1", self.udp)
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind(b"" if where == "unixd" else ("127.0.0.1", 0))  # an abstract name of its own
            for data in some:
                with contextlib.suppress(OSError):
                    await loop.sock_sendto(sock, data or b"\0", place)
            await loop.sock_sendto(sock, encode_request(0x777777, "core.version", []), place)
            async with asyncio.timeout(SECONDS):
                while b"\x77\x77\x77" not in await loop.sock_recv(sock, 65536):
                    pass
        await _turns()

    async def _fifo(self, data: bytes) -> None:
        descriptor = os.open(self.folder / "f", os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
        await _turns()

    # What must hold.

    @invariant()
    def nothing_ran_without_leave(self) -> None:
        """All that ran was allowed, and all that had to has run."""
        seen: Counter[tuple[str, str, str, str]] = Counter()
        for ran in self.daemon.ran:
            assert _sender(ran.peer) in self.senders, ran
            assert allowed(self.access, _sender(ran.peer), "", ran.name, ran.body), ran
            seen[_key(ran.peer.user, ran)] += 1
        for ran in [*self.own_ran, *self.hooked]:
            assert _sender(ran.peer) in self.senders, ran
            assert allowed(self.access, _sender(ran.peer), ran.service, ran.name, ran.body), ran
        for ran in self.own_ran:
            seen[_key(ran.peer.user, ran)] += 1
        for ran in self.behind.ran:
            if ran.service == "txt" and "deep" in ran.body:
                continue  # a map is a line of text there: what was decided about cannot be told any more
            could = [
                one
                for one in self.senders
                if any(allowed(self.access, one, ran.service, ran.name, body) for body in _sent(ran))
            ]
            assert could, ran
            for sender in could:
                seen[_key(sender.user, ran)] += 1
        assert not self.expected - seen, f"did not run: {self.expected - seen}"
        self.daemon.ran.clear()
        self.own_ran.clear()
        self.behind.ran.clear()
        self.hooked.clear()
        self.expected.clear()


def _sender(peer: Peer) -> Sender:
    return Sender(peer.transport, peer.user)


def _seen(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in body.items() if item not in (None, "", {}, ABSENT)}


def _key(user: str | None, ran: Ran) -> tuple[str, str, str, str]:
    return user or "", ran.service, ran.name, json.dumps(_seen(ran.body), sort_keys=True, default=str)


def _sent(ran: Ran) -> list[Mapping[str, Any]]:
    """What may have been sent: rules see it as it was, and a service of text gets text."""
    if ran.service != "txt":
        return [ran.body]
    numbers = {
        key: int(item) if isinstance(item, str) and item.lstrip("-").isdecimal() else item
        for key, item in ran.body.items()
    }
    return [ran.body, numbers]


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


TestAccess = pytest.mark.timeout(240)(
    pytest.mark.filterwarnings("ignore:Generating overly large repr")(AccessMachine.TestCase)
)
TestAccess.settings = settings(
    max_examples=25,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
