"""A command line of ours on a pseudo-terminal: type, and wait for what it shows."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.bridle import bridle_environment
from tests.support.programs import STOP_SECONDS, poll

SHOW_SECONDS = 10.0
"""How long a program may take to show what is waited for."""

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")


class Terminal:
    """``bridle WORDS``, or another program's, on a terminal of so many columns and rows."""

    def __init__(
        self,
        *words: str | Path,
        columns: int = 80,
        rows: int = 24,
        environment: Mapping[str, str] | None = None,
        program: Path | None = None,
    ) -> None:
        head = [sys.executable, "-m", "bridle"] if program is None else [str(program)]
        self._argv = [*head, *map(str, words)]
        # Nobody answers here when a program asks where the cursor stands.
        self._environment = {**bridle_environment(), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self._environment.update(environment or {})
        self._environment.pop("COLUMNS", None)
        self._size = struct.pack("HHHH", rows, columns, 0, 0)
        self._shown = ""
        self._seen = 0

    def __enter__(self) -> Self:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, self._size)
        self.process = subprocess.Popen(
            self._argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=self._environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(STOP_SECONDS)
        os.close(self._master)

    @property
    def text(self) -> str:
        """All that was shown so far, without what steers the terminal."""
        return _CONTROL.sub("", self._shown)

    def _news(self) -> str:
        return _CONTROL.sub("", self._shown[self._seen :])

    def type(self, text: str) -> None:
        """Press keys, as soon as the program reads keys and not lines.

        Raises:
            AssertionError: it does not within :data:`SHOW_SECONDS`.
        """
        assert poll(self._reads_keys, SHOW_SECONDS), f"no keys are read:\n{self.text}"
        self._seen = len(self._shown)
        os.write(self._master, text.encode())

    def enter(self, text: str) -> None:
        """Type into a program that reads lines."""
        self._seen = len(self._shown)
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C while the program reads no keys.

        Raises:
            AssertionError: it reads some for :data:`SHOW_SECONDS`.
        """
        assert poll(lambda: not self._reads_keys(), SHOW_SECONDS), f"keys are read:\n{self.text}"
        os.write(self._master, b"\x03")

    def _reads_keys(self) -> bool:
        return not termios.tcgetattr(self._master)[3] & termios.ICANON

    def expect(self, text: str) -> str:
        """Wait until the text is shown, after the last keys. Gives what was shown since then.

        Raises:
            AssertionError: it was not shown within :data:`SHOW_SECONDS`.
        """
        deadline = time.monotonic() + SHOW_SECONDS
        while text not in self._news():
            assert self._read(deadline), f"'{text}' was not shown:\n{self.text}"
        return self._news()

    def wait(self) -> int:
        """Wait for the end, and give the exit status."""
        deadline = time.monotonic() + SHOW_SECONDS
        while self._read(deadline):
            pass
        return self.process.wait(STOP_SECONDS)

    def _read(self, deadline: float) -> bool:
        """Take what is shown next; False when nothing comes any more."""
        ready, _, _ = select.select([self._master], [], [], max(deadline - time.monotonic(), 0))
        with contextlib.suppress(OSError):  # the other side is closed
            data = os.read(self._master, 65536) if ready else b""
            self._shown += data.decode(errors="replace")
            return bool(data)
        return False
