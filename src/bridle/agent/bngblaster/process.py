"""Processes: the ones that were started here, and the ones that were found by the number in a file.

A process is held by a descriptor of its own (``pidfd_open``), so that nobody else gets its signals when it
has ended and its number is another's. A number from a file is believed only where the process that has it
was started with the control socket of that instance: its command line says so, whichever controller started
it, and a process that got the number later has another.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import select
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Self

__all__ = ["Child", "Process", "spawn"]

# Signals that Python itself ignores, and a program that it starts should not.
_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)


class Process:
    """A process that runs, held by its descriptor. A context that lets go of it."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid: int = pid
        self._descriptor = descriptor

    @classmethod
    def find(cls, pid: int, control_socket: str, *, child: bool = False) -> Self | None:
        """The process of this number, if it runs and was started with this control socket (``-S PATH``). A
        ``child`` that nobody has waited for is known to be it: it has no command line while it ends."""
        try:
            process = cls(pid, os.pidfd_open(pid))
        except (OSError, OverflowError):
            return None
        # Read once it is held: a number that is given anew from here on is not that of what is held.
        if process.ended or not (child or _serves(pid, control_socket)):
            process.close()
            return None
        return process

    @property
    def ended(self) -> bool:
        """True once it has ended, whether or not somebody has taken note of it."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(0))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; one that has just ended does not mind.

        Raises:
            PermissionError: it is another user's.
        """
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    def close(self) -> None:
        """Let go of it; it goes on."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _serves(pid: int, control_socket: str) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    path = os.fsencode(control_socket)
    return any(option == b"-S" and value == path for option, value in itertools.pairwise(words))


class Child:
    """A process that was started here, until it has ended. ``ended`` is its wait status then."""

    def __init__(self, pid: int) -> None:
        self.pid: int = pid
        self._descriptor = os.pidfd_open(pid)
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self._loop.add_reader(self._descriptor, self._reap)

    def _reap(self) -> None:
        self._loop.remove_reader(self._descriptor)
        status = 0
        with contextlib.suppress(ChildProcessError):
            _, status = os.waitpid(self.pid, 0)
        os.close(self._descriptor)
        if not self.ended.done():
            self.ended.set_result(status)

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def let_go(self) -> None:
        """Take no more note of it. It goes on without us, unless it has just ended."""
        if not self.ended.done():
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
            self.ended.cancel()


def spawn(command: Sequence[str], output: int, errors: int) -> Child:
    """Start a program in a session of its own, so that what ends us does not end it. Its standard output and
    error go to these descriptors; it has no input.

    Raises:
        OSError: it cannot be started.
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_DUP2, errors, 2),
    ]
    pid = os.posix_spawnp(
        command[0],
        list(command),
        os.environ,
        file_actions=actions,
        setsid=True,
        setsigmask=(),
        setsigdef=_RESTORED,
    )
    try:
        return Child(pid)
    except OSError:
        # Nobody could tell when it has ended. It is our child, so that its number is still its own.
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
