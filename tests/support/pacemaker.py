"""Real Pacemaker in namespaces of a test's own, and test code that runs inside them; and daemons made up."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

from bridle.net.libqb.places import PLACES, Places
from bridle.net.libqb.server import LibqbServer
from bridle.net.libqb.trust import Credentials, FileRights, own_rights
from bridle.wire.libqb import Transport
from bridle.wire.pacemaker_header import Flags, Layout, Message, MessageReader, encode_message
from bridle.wire.pacemaker_messages import acknowledgement, create_reply
from bridle.wire.pacemaker_xml import Xml, element, read_xml, write_xml
from tests.support.programs import StartError, poll

__all__ = [
    "CLUSTER",
    "Answering",
    "FakeDaemon",
    "Sandbox",
    "Sent",
    "fake_places",
    "launcher",
    "reply_to",
    "sandbox",
    "trust_anybody",
]

CLUSTER = ("pacemakerd", "corosync", "crmadmin", "unshare")
"""The programs that a cluster is made of."""

START_SECONDS = 60.0
"""How long a cluster may take until it can be used: five seconds on an idle machine."""

_SCRIPT = Path(__file__).with_name("pacemaker-sandbox")
_TYPES = {"shm": "shared-mem", "socket": "socket"}
_CLONE_FS = 0x200
_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


class Sandbox:
    """Namespaces, with a cluster of one node inside, or nothing."""

    def __init__(self, mode: Literal["cluster", "empty"], transport: Literal["shm", "socket"]) -> None:
        self.transport = transport
        self._process = subprocess.Popen(
            [_SCRIPT, mode],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PCMK_ipc_type": _TYPES[transport]},
            start_new_session=True,
        )

    def wait_until_ready(self) -> None:
        """Wait for the word that it can be used.

        Raises:
            StartError: it does not come.
        """
        assert self._process.stdout is not None
        killer = threading.Timer(START_SECONDS, self._process.kill)
        killer.start()
        try:
            if not any(line == b"ready\n" for line in self._process.stdout):
                raise StartError("the sandbox did not become ready")
        finally:
            killer.cancel()
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._first = int(children[0])

    def inside(self, function: Callable[[], T]) -> T:
        """Run a function in the sandbox's network, with its ``/dev/shm``, and so all programs that it starts.

        It runs in a thread of its own: these namespaces belong to threads.
        """
        first = self._first
        result: list[T] = []
        failure: list[BaseException] = []

        def run() -> None:
            try:
                _enter(first)
                result.append(function())
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=run, name="sandbox")
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return result[0]

    @property
    def entering(self) -> list[str]:
        """The words before a command that have it run where :meth:`inside` runs functions."""
        return ["nsenter", f"--target={self._first}", "--net", "--mount", "--"]

    def pid_of(self, program: str) -> int | None:
        """The process of a program inside; None where none runs. It is looked for from outside."""
        namespace = Path(f"/proc/{self._first}/ns/pid").readlink()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                state = (process / "stat").read_text().rpartition(")")[2].split()[0]
                named = (process / "comm").read_text().strip() == program[:15] and state != "Z"
                if named and (process / "ns/pid").readlink() == namespace:
                    return int(process.name)
        return None

    def close(self) -> None:
        """End all that runs inside."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def _enter(pid: int) -> None:
    descriptors = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in ("net", "mnt")]
    try:
        if _libc.unshare(_CLONE_FS) or any(_libc.setns(descriptor, 0) for descriptor in descriptors):
            raise OSError(ctypes.get_errno(), "cannot enter the namespaces")
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@contextlib.contextmanager
def sandbox(mode: Literal["cluster", "empty"], transport: Literal["shm", "socket"]) -> Iterator[Sandbox]:
    """A sandbox that is ready, and ended at the end."""
    made = Sandbox(mode, transport)
    try:
        made.wait_until_ready()
        yield made
    finally:
        made.close()


def fake_places(directory: Path) -> Places:
    """Where libqb's sockets are in a directory of a test's own."""
    force = directory / "force"
    force.touch()
    return Places(sockets=str(directory), force_filesystem=str(force))


Sent = tuple[Literal["response", "event"], "Xml | bytes"]
Answering = Callable[[Message, Xml], "list[Sent]"]


class FakeDaemon:
    """A daemon that a test makes up, in a thread with an event loop of its own.

    ``answer`` is called with each request, and gives what is sent for it: pairs of a channel and a document,
    or bytes that are sent as they are.
    """

    def __init__(
        self,
        name: str,
        answer: Answering,
        places: Places,
        *,
        layout: Layout = Layout.V2,
        transport: Transport = Transport.SHM,
        admit: Callable[[Credentials], int] = lambda credentials: 0,
        rights: Callable[[Credentials], FileRights] = own_rights,
    ) -> None:
        self.requests: list[tuple[Message, str]] = []
        self._name = name
        self._answer = answer
        self._places = places
        self._layout = layout
        self._transport = transport
        self._admit = admit
        self._rights = rights
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name=f"fake {name}")

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = LibqbServer(
            self._name,
            lambda connection: _Conversation(self, connection),
            transport=self._transport,
            admit=self._admit,
            rights=self._rights,
            places=self._places,
        )
        try:
            server.start()
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._started.set()
        self._server = server
        await self._stop.wait()
        await server.close(0.0)

    def __enter__(self) -> FakeDaemon:
        self._thread.start()
        self._started.wait(10)
        assert self._failure is None, self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, and all its connections."""
        with contextlib.suppress(RuntimeError):  # it has ended already
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def tell(self, document: Xml) -> None:
        """Send an event to all clients."""

        def send() -> None:
            for connection in list(self._server.connections):
                for piece in self.encoded(
                    Message(0, int(Flags.SERVER_EVENT), write_xml(document), self._layout)
                ):
                    connection.event(piece)

        self._loop.call_soon_threadsafe(send)

    def encoded(self, message: Message) -> list[bytes]:
        """A message in pieces."""
        return encode_message(message)

    def wait_for_requests(self, count: int) -> None:
        """Wait until so many requests have come."""
        assert poll(lambda: len(self.requests) >= count)


class _Conversation:
    def __init__(self, daemon: FakeDaemon, connection: object) -> None:
        self._daemon = daemon
        self._connection = connection
        self._reader = MessageReader()

    def request_received(self, data: bytes) -> None:
        message = self._reader.receive(data)
        if message is None:
            return
        document = read_xml(message.text)
        self._daemon.requests.append((message, message.text.decode()))
        for channel, sent in self._daemon._answer(message, document):
            send = getattr(self._connection, "respond" if channel == "response" else "event")
            if isinstance(sent, bytes):
                send(sent)
                continue
            flags = Flags.SERVER_FREE if channel == "response" else Flags.SERVER_EVENT | Flags.SERVER_FREE
            reply = Message(message.id, int(flags), write_xml(sent), self._daemon._layout)
            for piece in self._daemon.encoded(reply):
                send(piece)

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody has to be told."""


def reply_to(document: Xml, data: Xml | None = None) -> Xml:
    """The reply to a request in the controller's envelope."""
    return create_reply(document, data)


def trust_anybody(server: Credentials) -> bool:
    """Tests may run as anybody."""
    return True


def launcher(message: Message, document: Xml) -> list[Sent]:
    """What a launcher answers that runs."""
    state = {
        "crm_subsystem": "pacemakerd",
        "pacemakerd_state": "running",
        "crm-timestamp": 1_700_000_000,
        "result": "ok",
    }
    replies: list[Sent] = [("event", reply_to(document, element("ping_response", state)))]
    return [("response", acknowledgement(112)), *replies] if message.flags & 0x200 else replies


def _open_to_all(client: Credentials) -> FileRights:
    return FileRights(-1, -1, 0o666)


def main() -> None:
    """Be a launcher until standard input ends, with the rights that this process has."""
    transport = Transport.SHM if sys.argv[1] == "shm" else Transport.SOCKET
    with FakeDaemon("pacemakerd", launcher, PLACES, transport=transport, rights=_open_to_all):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
