"""An instance: a folder with a configuration, and the process that runs with it, if one does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Sequence

import msgspec

from bridle.agent.bngblaster.folder import Folder
from bridle.agent.bngblaster.names import CONFIGURATION, RUN_FILES
from bridle.agent.bngblaster.process import Child, Process, spawn
from bridle.agent.bngblaster.refusal import Refusal, not_found, running
from bridle.agent.bngblaster.start import StartRequest, command_line
from bridle.client.pool import Pool
from bridle.core.errors import DeadlineExceeded, RemoteProtocolError, TransportError
from bridle.core.messages import JSON
from bridle.net.endpoint import Endpoint
from bridle.wire.bngblaster import BngBlasterForwarder, encode_request

__all__ = ["COMMAND_TIMEOUT", "START_TIMEOUT", "Instance"]

# Seconds that a start waits for the control socket. One that is still alive then is left to itself: it may
# have a large configuration to read.
START_TIMEOUT = 10.0
# Seconds between two looks for it; a start takes some ten milliseconds at least.
_START_POLL = 0.02
# Seconds for a command's answer. The real program sends about a megabyte a second: 60 MB, or 120,000
# sessions.
COMMAND_TIMEOUT = 60.0
# Bytes of run.stderr that an error tells; what went wrong stands at its end.
_TOLD = 2048
# Bytes of run.pid and of run.json.
_PID_LIMIT = 32
_REQUEST_LIMIT = 1024 * 1024

_log = logging.getLogger("bridle.agent")


class Instance:
    """One instance. What changes it happens one after the other; ``children`` holds what was started here
    until it has ended."""

    def __init__(self, name: str, folder: Folder, children: set[Child]) -> None:
        self.name: str = name
        self.folder: Folder = folder
        self._children = children
        self._child: Child | None = None
        self._turn = asyncio.Lock()
        endpoint = Endpoint("unix", "bngblaster", path=folder.at("run.sock"))
        self._pool: Pool[bytes, bytes] = Pool(endpoint, BngBlasterForwarder)

    # What it is.

    def check(self) -> None:
        """See that there is such an instance.

        Raises:
            Refusal: there is none.
        """
        if not self.folder.exists:
            raise not_found()

    @property
    def runs(self) -> bool:
        """Whether it has a process."""
        process = self._process()
        if process is None:
            return False
        process.close()
        return True

    @property
    def request(self) -> StartRequest:
        """What it was started with last."""
        try:
            return msgspec.json.decode(self.folder.read("run.json", _REQUEST_LIMIT), type=StartRequest)
        except msgspec.DecodeError:
            return StartRequest()

    def _process(self) -> Process | None:
        text = self.folder.read("run.pid", _PID_LIMIT).strip()
        if not text.isdigit():
            return None
        pid = int(text)
        child = self._child is not None and self._child.pid == pid and not self._child.ended.done()
        return Process.find(pid, self.folder.at("run.sock"), child=child)

    # What is done with it.

    async def create(self, configuration: bytes, complete: Callable[[bytes], bytes] | None = None) -> bool:
        """Give it a configuration; whether it is a new one. ``complete`` makes what is kept of what was sent,
        while nobody else changes what is there.

        Raises:
            Refusal: it runs, the configuration cannot be written, or ``complete`` refuses it.
        """
        async with self._turn:
            if self.runs:
                # As text, alone of its kind: so it is in the original.
                raise Refusal(412, "instance is running", plain=True)
            new = not self.folder.exists
            if complete is not None:
                configuration = complete(configuration)
            try:
                self.folder.create()
                self.folder.write(CONFIGURATION, configuration)
                self.folder.unlink(*RUN_FILES)
            except OSError as error:
                text = f"not able to create instance: {error.strerror or error}"
                raise Refusal(500, text, plain=True) from error
            return new

    async def delete(self) -> None:
        """Remove it with all its files.

        Raises:
            Refusal: there is none, it runs, or its files cannot be removed.
        """
        async with self._turn:
            self.check()
            if self.runs:
                raise running()
            self.close()
            try:
                await asyncio.to_thread(self.folder.remove)
            except OSError as error:
                raise Refusal(500, f"not able to delete instance: {error.strerror or error}") from error

    async def upload(self, name: str, content: bytes) -> None:
        """Put a file into its folder, in place of the one that is there.

        Raises:
            Refusal: it cannot be written.
        """
        async with self._turn:
            self.check()
            try:
                self.folder.write(name, content)
            except OSError as error:
                raise Refusal(500, f"failed to save file: {error.strerror or error}", plain=True) from error

    async def start(self, executable: Sequence[str], request: StartRequest) -> None:
        """Run it, and wait until it can be asked.

        Raises:
            Refusal: there is none, it runs already, it cannot be started, or has ended again at once.
        """
        async with self._turn:
            self.check()
            if self.runs:
                raise running()
            command = command_line(executable, self.folder, request)
            self.close()
            child = self._spawn(command, request)
            await self._opens(child)
            if child.ended.done():
                raise Refusal(500, f"not able to start: {self._what_happened(child.ended.result())}")
            _log.info("instance %s runs as process %d", self.name, child.pid)

    def _spawn(self, command: Sequence[str], request: StartRequest) -> Child:
        folder = self.folder
        try:
            with contextlib.ExitStack() as files:
                folder.unlink(*RUN_FILES)
                folder.write("run.json", msgspec.json.encode(request))
                output, errors = folder.create_file("run.stdout"), folder.create_file("run.stderr")
                files.callback(os.close, output)
                files.callback(os.close, errors)
                child = spawn(command, output, errors)
        except OSError as error:
            # The program's name where it is the program that is missing.
            what = f"{command[0]}: " if error.filename in (command[0], None) else ""
            raise Refusal(500, f"not able to start: {what}{error.strerror or error}") from error
        self._child = child
        self._children.add(child)
        child.ended.add_done_callback(lambda _: self._children.discard(child))
        try:
            folder.write("run.pid", str(child.pid).encode())
        except OSError as error:
            # Without the number nobody would find it again.
            child.kill()
            raise Refusal(500, f"not able to start: run.pid: {error.strerror or error}") from error
        return child

    async def _opens(self, child: Child) -> None:
        """Wait for its control socket, or its end."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_TIMEOUT
        while not self.folder.has_socket("run.sock") and loop.time() < deadline:
            done, _ = await asyncio.wait([child.ended], timeout=_START_POLL)
            if done:
                return

    def _what_happened(self, status: int) -> str:
        number = os.waitstatus_to_exitcode(status)
        told = self.folder.read("run.stderr", _TOLD, end=True).decode("utf-8", "replace").strip()
        how = f"exit status {number}" if number >= 0 else f"ended by signal {-number}"
        return f"{how}: {told}" if told else f"{how}, and run.stderr is empty"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process, where it has one.

        Raises:
            Refusal: there is no such instance, or its process is another user's.
        """
        self.check()
        process = self._process()
        if process is None:
            return
        with process:
            try:
                process.signal(number)
            except PermissionError as error:
                raise Refusal(500, f"not able to send {number.name}: {error.strerror}") from error

    async def command(self, name: str, arguments: JSON, timeout: float = COMMAND_TIMEOUT) -> bytes:
        """Ask it something, and give the answer as it came.

        Raises:
            Refusal: there is none, it does not run, or does not answer.
        """
        self.check()
        if not self.runs:
            raise Refusal(412, "instance is not running")
        try:
            return await self._pool.exchange(encode_request(name, arguments, keep=True), timeout)
        except DeadlineExceeded as error:
            raise Refusal(504, f"no answer to the command: {error.text} ({timeout:g} s)") from error
        except (TransportError, RemoteProtocolError) as error:
            raise Refusal(500, f"not able to send command: {error.text}") from error

    def close(self) -> None:
        """Close the connections to it that are kept; it goes on."""
        self._pool.close()
