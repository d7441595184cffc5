"""Bridle's own programs as subprocesses: the agent, an embedded daemon, and any command line.

They are started as users start them, by ``python -m bridle``, with the interpreter and the source that the
tests themselves run with.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.kea import JSON, agent_settings, answers, listens
from tests.support.programs import PORT_ATTEMPTS, ROOT, Program, free_port

COMMAND_SECONDS = 20.0
"""How long a command line may take; well over what one costs, under the limit on a test."""


def bridle_environment() -> dict[str, str]:
    """The environment in which ``python -m bridle`` is the code under test, and finds the examples."""
    specification = importlib.util.find_spec("bridle")
    assert specification is not None
    assert specification.origin is not None
    source = Path(specification.origin).parents[1]
    places = [str(source), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places)), "PYTHONWARNINGS": "error"}


def command_line(
    *words: str | Path, stdin: str = "", seconds: float = COMMAND_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run ``bridle WORDS`` to its end.

    Raises:
        subprocess.TimeoutExpired: it did not end within the given seconds.
    """
    argv = [sys.executable, "-m", "bridle", *map(str, words)]
    return subprocess.run(
        argv,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=seconds,
        env=bridle_environment(),
        check=False,
    )


class BridleProgram(Program):
    """A long-running ``bridle WORDS``. Leaving its context checks that it ended as it should."""

    def __init__(self, words: Sequence[str | Path], directory: Path, *, name: str) -> None:
        argv = [sys.executable, "-m", "bridle", *words]
        super().__init__(argv, directory, name=name, environment=bridle_environment())

    def __exit__(self, *exception: object) -> None:
        status = self.stop()
        if exception[0] is None:
            self.check(status)

    def check(self, status: int) -> None:
        """Fail unless it ended with success and without an unexpected exception on the way."""
        assert status == 0, f"{self.name} ended with {status}:\n{self.stderr}"
        assert "Traceback" not in self.stderr, self.stderr


class Agent(BridleProgram):
    """``bridle agent -c FILE`` on a free port, in front of ``services``: names and the sockets behind them.

    ``settings`` replace or add entries below ``Control-agent``. ``configuration`` is the file.
    """

    attempts = PORT_ATTEMPTS

    def __init__(
        self,
        directory: Path,
        services: Mapping[str, Path],
        settings: Mapping[str, JSON] | None = None,
        *,
        name: str = "bridle-agent",
    ) -> None:
        self.configuration = directory / f"{name}.conf"
        self.services = dict(services)
        self.settings = dict(settings or {})
        self.port = 0
        super().__init__(["agent", "-c", self.configuration], directory, name=name)

    @property
    def endpoint(self) -> str:
        """Where clients connect to."""
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> bool:
        return listens(self.port)

    def prepare(self) -> None:
        self.port = free_port()
        settings = {**agent_settings(self.port, self.services), **self.settings}
        self.configuration.write_text(json.dumps({"Control-agent": settings}, indent=2))


class EmbeddedDaemon(BridleProgram):
    """``bridle run MODULE:CLASS`` with a Kea socket of the given path, ready once that answers."""

    def __init__(
        self,
        target: str,
        directory: Path,
        *,
        configuration: Path | None = None,
        endpoints: Sequence[str] = (),
        name: str = "daemon",
    ) -> None:
        self.socket = directory / f"{name}.sock"
        chosen: list[str | Path] = ["-c", configuration] if configuration is not None else []
        super().__init__(["run", target, *chosen, f"unix:{self.socket}", *endpoints], directory, name=name)

    @property
    def endpoint(self) -> str:
        """Where clients connect to."""
        return f"unix:{self.socket}"

    def ready(self) -> bool:
        return self.socket.exists() and answers(self.socket)
