"""Channels that speak as Kamailio's ctl does: what they answer, whom they let in, and how they end."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import bridle
from bridle import CommandManager, EndpointError, Server
from bridle.core.messages import Command
from bridle.server import Channel
from bridle.testing import elapsed
from bridle.wire.binrpc_client import BinrpcClient
from bridle.wire.binrpc_packets import PacketReader, encode_packet
from bridle.wire.binrpc_records import decode_records, encode_records
from tests.support.loops import on_every_loop, on_virtual_clock

BINRPC = [
    "binrpc+unix:{folder}/s",
    "binrpc+unixd:{folder}/d",
    "binrpc+tcp:127.0.0.1:0",
    "binrpc+udp:127.0.0.1:0",
]
TEXT = ["fifo:{folder}/f", "fifo+unix:{folder}/s", "fifo+unixd:{folder}/d", "fifo+tcp:127.0.0.1:0"]
TEXT.append("fifo+udp:127.0.0.1:0")


class Commands(CommandManager):
    """What is asked for here."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []
        self.register_command("say", self.say)
        self.register_command("add", self.add)
        self.register_command("wait", self.wait)
        self.register_command("write", self.write)
        self.register_command("fail", self.fail)
        self.register_command("peer", self.peer)

    def say(self, word: str, times: int = 1) -> str:
        """Say a word."""
        return word * times

    def add(self, first: float, second: float = 0.5) -> float:
        """Add two numbers."""
        return first + second

    async def wait(self, seconds: float, word: str = "waited") -> str:
        """Answer after a while."""
        await asyncio.sleep(seconds)
        self.done.append(word)
        return word

    def write(self, size: int) -> str:
        """Answer so many bytes."""
        return "x" * size

    def fail(self) -> None:
        """Go wrong."""
        raise bridle.CommandError("it is busy", bridle.Result.CONFLICT)

    def peer(self, peer: bridle.Peer) -> dict[str, object]:
        """Tell who asks."""
        return {"transport": peer.transport, "uid": peer.uid, "pid": peer.pid}


@asynccontextmanager
async def serving(*endpoints: str, manager: CommandManager | None = None) -> AsyncIterator[list[Channel]]:
    """A server on these endpoints."""
    server = Server(manager or Commands(), name="tested", version="1.2")
    try:
        yield [await server.listen(endpoint) for endpoint in endpoints]
    finally:
        await server.close(0)


def where(channel: Channel) -> str:
    """Where a client connects to."""
    return str(channel.endpoint)


@pytest.mark.parametrize("endpoint", [*BINRPC, "binrpc+tcp:[::1]:0", "binrpc+udp:[::1]:0"])
@on_every_loop
async def test_methods_answer_on_every_transport(short_path: Path, endpoint: str) -> None:
    async with (
        serving(endpoint.format(folder=short_path)) as (channel,),
        bridle.connect_async(where(channel)) as client,
    ):
        assert str(await client.call("core.version")).startswith("tested 1.2 (")
        assert await client.call("say", ["hello", 2]) == "hellohello"
        assert await client.call("say", {"word": "a", "times": 3}) == "aaa"
        assert await client.call("say", "b") == "b"
        assert await client.call("add", [1, 2]) == 3
        assert await client.call("wait", [0.0, "done"]) == "done"
        assert "say" in str(await client.call("system.listMethods"))
        assert await client.call("system.methodHelp", "say") == "Say a word."
        assert await client.call("system.methodSignature", "say") == ["string", "string", "[int]"]
        unknown = await client.execute("no.such")
        assert (unknown.result, unknown.text, unknown.code) == (2, "command no.such not found", 500)
        busy = await client.execute("fail")
        assert (busy.result, busy.text, busy.code) == (4, "it is busy", 409)
        told = await client.call("peer")
        assert isinstance(told, dict)
        assert told["transport"] == channel.endpoint.transport
        if channel.endpoint.path:
            assert (told["uid"], told["pid"]) == (os.getuid(), os.getpid())


@pytest.mark.parametrize("endpoint", TEXT)
@on_every_loop
async def test_the_text_protocol_answers_on_every_transport(short_path: Path, endpoint: str) -> None:
    async with (
        serving(endpoint.format(folder=short_path)) as (channel,),
        bridle.connect_async(where(channel)) as client,
    ):
        assert await client.call("say", ["a:b,c\n\\", 2]) == "a:b,c\n\\" * 2
        assert await client.call("say", {"word": "x", "times": 3}) == "xxx"
        assert await client.call("add", [1.5]) == "2.000000"
        assert await client.call("wait", [0.0]) == "waited"
        unknown = await client.execute("no.such")
        assert (unknown.result, unknown.text, unknown.code) == (2, "Command 'no.such' not found", 500)
        wrong = await client.execute("say", ["a", "b"])
        assert (wrong.result, wrong.text) == (1, "Invalid parameter value on line 3")
        many = [("say", [str(number)]) for number in range(20)]
        assert [answer.value for answer in await client.execute_many(many)] == list(map(str, range(20)))


@pytest.mark.parametrize("late", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("endpoint", [*BINRPC, *TEXT])
@on_every_loop
async def test_a_handler_whose_work_was_cancelled_is_answered(
    short_path: Path, endpoint: str, late: bool
) -> None:
    def cancelled() -> None:
        raise asyncio.CancelledError

    async def cancelled_later() -> None:
        work = asyncio.ensure_future(asyncio.sleep(60))
        asyncio.get_running_loop().call_soon(work.cancel)
        await work

    commands = Commands()
    commands.register_command("cancelled", cancelled_later if late else cancelled)
    async with (
        serving(endpoint.format(folder=short_path), manager=commands) as (channel,),
        bridle.connect_async(where(channel)) as client,
    ):
        with pytest.raises(bridle.CommandError, match="the command was cancelled"):
            await client.call("cancelled")
        assert await client.call("say", ["on"]) == "on"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([5], "error at parameter 0: expected string type but record doesn't match type"),
        ([], "error at parameter 0: expected string type but end of packet encountered"),
        (["a", "b"], "error at parameter 1: expected integer type but record doesn't match type"),
        (["a", 1.5], "error at parameter 1: expected integer type but record doesn't match type"),
        ([["a"]], "error at parameter 0: expected string type but record doesn't match type"),
        ({"wrod": "a"}, "unknown argument 'wrod'"),
    ],
)
@on_every_loop
async def test_a_wrong_parameter_is_named(short_path: Path, arguments: bridle.JSON, text: str) -> None:
    async with (
        serving(f"binrpc+unix:{short_path}/s") as (channel,),
        bridle.connect_async(where(channel)) as client,
    ):
        answer = await client.execute("say", arguments)
        assert (answer.code, answer.result) == (400, 1)
        assert answer.text == text
        assert await client.call("say", ["a", 1, "extra", 7]) == "a"


@on_every_loop
async def test_autoconversion_is_a_setting(short_path: Path) -> None:
    async with (
        serving(f"binrpc+unix:{short_path}/s?autoconversion=1") as (channel,),
        bridle.connect_async(where(channel)) as client,
    ):
        assert await client.call("say", [-5, "2"]) == "-5-5"
        assert await client.call("say", [1.5, 2.9]) == "1.51.5"
        assert await client.call("add", ["2.25", "1"]) == 3.25
        wrong = await client.execute("say", ["a", "5x"])
        assert wrong.text == "error at parameter 1: expected string type but record doesn't match type"


@on_every_loop
async def test_integers_beyond_32_bits_come_through(short_path: Path) -> None:
    manager = Commands()
    manager.register_command("twice", lambda number: number * 2)
    manager.register_command("exactly", _exactly)
    async with (
        serving(f"binrpc+unix:{short_path}/s", manager=manager) as (channel,),
        bridle.connect_async(where(channel)) as client,
    ):
        assert await client.call("twice", 5_000_000_000) == 10_000_000_000
        assert await client.call("exactly", -5_000_000_000) == -5_000_000_000


def _exactly(number: int) -> int:
    """Take an integer."""
    assert type(number) is int
    return number


@on_every_loop
async def test_limits_of_answers_are_kept_and_can_be_set(short_path: Path) -> None:
    places = (f"binrpc+unix:{short_path}/a", f"binrpc+unix:{short_path}/b?max-body-size=128")
    async with serving(*places) as (usual, large):
        async with bridle.connect_async(where(usual)) as client:
            assert len(str(await client.call("write", 32764))) == 32764
            over = await client.execute("write", 32765)
            words = "Internal server error processing 's': buffer too small (overflow) (-2)"
            assert (over.code, over.text) == (500, words)
            assert await client.call("say", "on") == "on"
        async with bridle.connect_async(where(large)) as client:
            assert len(str(await client.call("write", 100_000))) == 100_000


@pytest.mark.parametrize(
    "endpoint", ["binrpc+unixd:{folder}/d", "binrpc+udp:127.0.0.1:0", "fifo+udp:127.0.0.1:0"]
)
@on_every_loop
async def test_what_does_not_fit_a_datagram_is_told(short_path: Path, endpoint: str) -> None:
    more = "?max-body-size=200" if endpoint.startswith("binrpc") else ""
    async with (
        serving(endpoint.format(folder=short_path) + more) as (channel,),
        bridle.connect_async(where(channel)) as client,
    ):
        assert len(str(await client.call("write", 60_000))) == 60_000
        over = await client.execute("write", 66_000)
        assert over.code == 500
        assert "bytes, and a datagram holds" in str(over.text)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ("autoconversion=maybe", "autoconversion is 0 or 1"),
        ("max-body-size=0", "max-body-size is a number of KiB"),
        ("idle-timeout=-1", "idle-timeout is a number of seconds"),
        ("connections=none", "connections is a number"),
        ("mode=99", "mode '99' is not octal"),
        ("user=nobody-knows", "unknown user"),
        ("wrong=1", "unknown option 'wrong'; known are allow-readable-secrets, allow-world-writable, auto"),
    ],
)
@on_every_loop
async def test_an_option_that_cannot_be_used_is_refused(short_path: Path, options: str, part: str) -> None:
    server = Server(Commands())
    with pytest.raises(EndpointError, match=part):
        await server.listen(f"binrpc+unix:{short_path}/s?{options}")
    assert os.listdir(short_path) == []  # noqa: PTH208


@pytest.mark.parametrize("endpoint", ["binrpc+unix:{folder}/s", "binrpc+unixd:{folder}/s", "fifo:{folder}/s"])
@on_every_loop
async def test_files_are_the_owners_alone_and_go_with_the_server(short_path: Path, endpoint: str) -> None:
    file = short_path / "s"
    async with serving(endpoint.format(folder=short_path)):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(short_path.iterdir()) == []
    async with serving(endpoint.format(folder=short_path) + "?mode=0622&allow-world-writable=yes"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o622
    assert list(short_path.iterdir()) == []


def packet(cookie: int, *values: object) -> bytes:
    """A request."""
    return encode_packet(0, cookie, encode_records(values))


async def read_packets(reader: asyncio.StreamReader, count: int) -> list[tuple[int, int, list[object]]]:
    """So many answers: kind, cookie, records."""
    cutter = PacketReader()
    found: list[tuple[int, int, list[object]]] = []
    while len(found) < count:
        data = await reader.read(1 << 16)
        assert data, "the end came first"
        found += [(p.kind, p.cookie, list(decode_records(p.body))) for p in cutter.receive(data)]
    return found


@on_every_loop
async def test_many_requests_on_one_connection_are_answered_in_order(short_path: Path) -> None:
    async with serving(f"binrpc+unix:{short_path}/s"):
        reader, writer = await asyncio.open_unix_connection(str(short_path / "s"))
        writer.write(packet(0xFFFFFFFF, "wait", 0.01, "first") + packet(5, "say", "second"))
        writer.write(b"".join(packet(index, "say", str(index)) for index in range(300)))
        answers = await read_packets(reader, 302)
        assert answers[:2] == [(1, 0xFFFFFFFF, ["first"]), (1, 5, ["second"])]
        assert answers[2:] == [(1, index, [str(index)]) for index in range(300)]
        writer.close()
        await writer.wait_closed()


@on_every_loop
async def test_what_is_no_request_ends_the_conversation_after_what_was(short_path: Path) -> None:
    async with serving(f"binrpc+unix:{short_path}/s"):
        reader, writer = await asyncio.open_unix_connection(str(short_path / "s"))
        writer.write(packet(1, "say", "one") + packet(2, "wait", 0.01) + b"zzzzzzzz" + packet(3, "say", "x"))
        answers = await read_packets(reader, 3)
        assert answers[:2] == [(1, 1, ["one"]), (1, 2, ["waited"])]
        assert answers[2] == (3, 0, [400, "bad request: corrupted packet"])
        assert await reader.read() == b""
        writer.close()


@on_every_loop
async def test_a_connection_too_many_is_told(short_path: Path) -> None:
    async with serving(f"binrpc+unix:{short_path}/s?connections=2") as (channel,):
        async with bridle.connect_async(where(channel)) as one, bridle.connect_async(where(channel)) as two:
            assert await one.call("core.prints", "x") == await two.call("core.prints", "x") == "x"
            assert await two.call("ctl.connections") == 2
            async with bridle.connect_async(where(channel)) as three:
                refused = await three.execute("core.pwd")
                assert (refused.code, refused.text) == (500, "too many connections: at most 2 are served")
        async with bridle.connect_async(where(channel)) as again:
            assert await again.call("ctl.connections") == 1


@on_every_loop
async def test_who_is_connected_is_told_in_the_order_of_coming(short_path: Path) -> None:
    async with serving(
        f"binrpc+unix:{short_path}/s", "binrpc+tcp:127.0.0.1:0", "fifo+tcp:127.0.0.1:0"
    ) as found:
        unix, tcp, text = found
        async with (
            bridle.connect_async(where(unix)) as first,
            bridle.connect_async(where(tcp)) as second,
            bridle.connect_async(where(unix)) as third,
        ):
            for client in (first, second, third):
                await client.call("core.pwd")
            who = await third.call("ctl.who")
            assert isinstance(who, list)
            assert who[:6] == ["binrpc", "unix_stream", "<anonymous unix socket>", "", f"{short_path}/s", ""]
            assert who[6:9] + who[10:12] == [
                "binrpc",
                "tcp",
                "127.0.0.1",
                "127.0.0.1",
                str(tcp.endpoint.port),
            ]
            assert who[12:] == who[:6]
            assert await first.call("ctl.connections") == 3
            assert await first.call("ctl.listen") == [
                *["binrpc", "unix_stream", f"{short_path}/s", ""],
                *["binrpc", "tcp", "127.0.0.1", str(tcp.endpoint.port)],
                *["fifo", "tcp", "127.0.0.1", str(text.endpoint.port)],
            ]


@on_every_loop
async def test_these_methods_are_on_these_channels_alone(short_path: Path) -> None:
    manager = Commands()
    manager.register_command("core.pwd", lambda: "the daemon's own")
    async with (
        serving(f"binrpc+unix:{short_path}/b", f"unix:{short_path}/k", manager=manager) as (rpc, kea),
        bridle.connect_async(where(rpc)) as by_rpc,
        bridle.connect_async(where(kea)) as by_kea,
    ):
        assert (await by_kea.execute("core.echo", ["x"])).result == 2
        assert "core.echo" not in str(await by_kea.call("list-commands"))
        assert await by_rpc.call("core.pwd") == "the daemon's own"


@on_every_loop
async def test_hooks_see_them_too(short_path: Path) -> None:
    manager = Commands()
    seen: list[str] = []
    manager.before_command(lambda command: seen.append(command.name))
    async with (
        serving(f"binrpc+unix:{short_path}/b", manager=manager) as (rpc,),
        bridle.connect_async(where(rpc)) as client,
    ):
        await client.call("core.pwd")
        assert seen == ["core.pwd"]


@on_virtual_clock
async def test_an_idle_connection_stays_and_a_request_that_was_begun_does_not(short_path: Path) -> None:
    async with serving(f"binrpc+unix:{short_path}/s"):
        reader, writer = await asyncio.open_unix_connection(str(short_path / "s"))
        await asyncio.sleep(3_000)
        writer.write(packet(1, "say", "there"))
        assert await read_packets(reader, 1) == [(1, 1, ["there"])]
        writer.write(packet(2, "say", "half")[:-3])
        before = elapsed()
        assert await read_packets(reader, 1) == [(3, 0, [400, "bad request: 12 bytes, and no more in time"])]
        assert elapsed() - before == pytest.approx(120, abs=1)
        assert await reader.read() == b""
        writer.close()


@on_virtual_clock
async def test_the_time_of_an_idle_connection_can_be_set(short_path: Path) -> None:
    async with serving(f"binrpc+unix:{short_path}/s?idle-timeout=30"):
        reader, writer = await asyncio.open_unix_connection(str(short_path / "s"))
        assert await reader.read() == b""
        assert elapsed() == pytest.approx(30, abs=1)
        writer.close()


@on_every_loop
async def test_a_fast_client_notices_nothing_of_128_that_read_nothing(short_path: Path) -> None:
    answered = 400
    async with serving(f"binrpc+unix:{short_path}/s?max-body-size=64") as (channel,):
        slow = []
        for _ in range(128):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, str(short_path / "s"))
            sock.send(packet(1, "write", 60_000) * 20)
            slow.append(sock)
        try:
            async with bridle.connect_async(where(channel)) as client:
                calls = [("say", [str(number)]) for number in range(answered)]
                for name, arguments in calls:
                    assert await client.call(name, arguments, timeout=5) == arguments[0]
                assert len(await client.execute_many(calls, timeout=5)) == answered
                assert await client.call("ctl.connections") == 129
        finally:
            for sock in slow:
                sock.close()


@on_virtual_clock
async def test_who_takes_nothing_in_is_cut_and_nothing_is_lost_to_who_does(short_path: Path) -> None:
    async with serving(f"binrpc+unix:{short_path}/s?max-body-size=512") as (channel,):
        reader, writer = await asyncio.open_unix_connection(str(short_path / "s"), limit=1024)
        writer.write(b"".join(packet(index, "write", 250_000) for index in range(1, 9)))
        await asyncio.sleep(5)
        answers = await read_packets(reader, 8)
        assert [cookie for _, cookie, _ in answers] == list(range(1, 9))
        assert all(len(str(values[0])) == 250_000 for _, _, values in answers)
        writer.write(b"".join(packet(index, "write", 250_000) for index in range(1, 9)))
        await asyncio.sleep(30)
        async with bridle.connect_async(where(channel)) as client:
            assert await client.call("ctl.connections") == 1
        writer.close()


@pytest.mark.parametrize("endpoint", [*BINRPC[:2], *TEXT[:3]])
@on_every_loop
async def test_answers_in_flight_arrive_before_the_end(short_path: Path, endpoint: str) -> None:
    manager = Commands()
    server = Server(manager)
    channel = await server.listen(endpoint.format(folder=short_path))
    async with bridle.connect_async(where(channel)) as client:
        asked = asyncio.create_task(client.call("wait", [0.2, "late"]))
        while not asked.done() and not _is_waiting():
            await asyncio.sleep(0.01)
        await server.close(5)
        assert await asked == "late"
    assert list(short_path.iterdir()) == []


def _is_waiting() -> bool:
    return any("Commands.wait" in repr(task) or "_finish_later" in repr(task) for task in asyncio.all_tasks())


@on_every_loop
async def test_one_datagram_waits_for_no_other(short_path: Path) -> None:
    async with (
        serving(f"binrpc+unixd:{short_path}/d") as (channel,),
        bridle.connect_async(where(channel)) as slow,
        bridle.connect_async(where(channel)) as fast,
    ):
        waiting = asyncio.create_task(slow.call("wait", [0.3, "late"]))
        await asyncio.sleep(0)
        for _ in range(50):
            assert await fast.call("say", "at once") == "at once"
        assert await waiting == "late"


@on_every_loop
async def test_datagrams_of_other_kinds_harm_nobody(short_path: Path) -> None:
    request = packet(9, "say", "on")
    async with serving(f"binrpc+unixd:{short_path}/d") as (channel,):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unbound:
            unbound.connect(str(short_path / "d"))
            for data in (b"", b"\xa1", b"\xa1\x00\x10", request[:-2], b"zzzz", request, request + b"more"):
                unbound.send(data)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as full:
            full.bind("")
            full.connect(str(short_path / "d"))
            for _ in range(200):
                full.send(request)
                await asyncio.sleep(0)
            async with bridle.connect_async(where(channel)) as client:
                assert await client.call("say", "on", timeout=5) == "on"


def test_a_client_s_cookies_fit_one_byte_at_first() -> None:
    client = BinrpcClient()
    assert client.request(Command("core.pwd"))[:4] == bytes([0xA1, 0, 11, 1])


@on_every_loop
async def test_noise_on_every_socket_leaves_nothing_behind(short_path: Path) -> None:
    noise = random.Random(4)
    places = [f"binrpc+unix:{short_path}/s", f"binrpc+unixd:{short_path}/d", "binrpc+udp:127.0.0.1:0"]
    places += [f"fifo+unix:{short_path}/t", "binrpc+tcp:127.0.0.1:0"]
    valid = packet(1, "say", "x") + packet(2, "core.echo", {"a": [1, "b"]}, 2.5)

    def bytes_of() -> bytes:
        data = bytearray(valid * noise.randint(1, 3))
        for _ in range(noise.randint(0, 6)):
            data[noise.randrange(len(data))] = noise.randrange(256)
        return bytes(data[: noise.randrange(len(data) + 1)])

    async with serving(*places) as channels:
        tasks = len(asyncio.all_tasks())
        for _ in range(60):
            for channel in channels:
                data = bytes_of()
                endpoint = channel.endpoint
                if endpoint.transport in ("unixd", "udp"):
                    family = socket.AF_UNIX if endpoint.path else socket.AF_INET
                    with socket.socket(family, socket.SOCK_DGRAM) as sock:
                        sock.connect(endpoint.path or (endpoint.host, endpoint.port))
                        sock.send(data)
                    continue
                if endpoint.path:
                    _, writer = await asyncio.open_unix_connection(endpoint.path)
                else:
                    _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
                writer.write(data)
                if noise.random() < 0.5:
                    writer.write_eof()
                writer.close()
                await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        async with bridle.connect_async(where(channels[0])) as client:
            while await client.call("ctl.connections") != 1:
                await asyncio.sleep(0.01)
            assert await client.call("say", "well") == "well"
        assert len(asyncio.all_tasks()) <= tasks + 1
