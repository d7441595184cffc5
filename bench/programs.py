"""The programs that are measured: ours, the real ones, and the stand-in, each started on the servers' core.

All take their Kea-style configuration from the same place and log errors only, the real agent and ours alike.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.kamailio import CtlDaemon, Kamailio, kamcmd
from tests.support.kea import JSON, ControlAgent, Dhcp4, agent_settings, answers, listens
from tests.support.programs import ROOT, Program, StartError, free_port

OURS = "Bridle"
REAL = "Kea"
KAMAILIO = "Kamailio"

THERMOSTAT = "examples.thermostat:Thermostat"

PORT_ATTEMPTS = 3
"""How many ports are tried: another process can take a free one between the look and the start."""

NOBODY = {"dhcp4": Path("/nonexistent/dhcp4.sock")}
"""The services of an agent that is only asked itself: Kea's grammar wants one at least."""

BRIDLE_COMMAND = [sys.executable, "-m", "bridle"]


def python_path() -> dict[str, str]:
    """The environment in which programs find ``bench``, ``examples`` and whatever this process finds."""
    known = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(ROOT), *([known] if known else [])])}


def errors_only(program: str, directory: Path) -> dict[str, JSON]:
    """The ``loggers`` setting that writes errors to a file and nothing for each command."""
    output: JSON = [{"output": str(directory / f"{program}.log")}]
    return {"loggers": [{"name": program, "severity": "ERROR", "output_options": output}]}


class RealDhcp4(Dhcp4):
    """``kea-dhcp4``, logging errors only."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, errors_only(self.program, directory))


class RealAgent(ControlAgent):
    """``kea-ctrl-agent``, logging errors only."""

    def __init__(self, directory: Path, services: Mapping[str, Path]) -> None:
        super().__init__(directory, services, errors_only(self.program, directory))


class OurDaemon(Program):
    """The thermostat of the examples: a daemon that embeds Bridle, on a unix socket. ``access`` says who may
    do what, None: everybody everything."""

    def __init__(self, directory: Path, access: JSON = None) -> None:
        self.socket = directory / "thermostat.sock"
        argv = [*BRIDLE_COMMAND, "run", THERMOSTAT, f"unix:{self.socket}"]
        if access is not None:
            file = directory / "thermostat.conf"
            file.write_text(json.dumps({"Thermostat": {"access": access}}))
            argv += ["-c", str(file)]
        super().__init__(argv, directory, name="thermostat", environment=python_path())

    def ready(self) -> bool:
        return self.socket.exists() and answers(self.socket)


class OurBng(Program):
    """The session daemon with so many sessions, which start at once, and this much traffic."""

    def __init__(self, directory: Path, sessions: int, traffic: Mapping[str, JSON]) -> None:
        self.socket = directory / "bng.sock"
        file = directory / "bng.json"
        access: JSON = {
            "interface": "a0",
            "outer-vlan-min": 1,
            "outer-vlan-max": 4000,
            "inner-vlan-min": 1,
            "inner-vlan-max": 4000,
        }
        configuration: JSON = {
            "interfaces": {"network": {"interface": "n0"}, "access": [access]},
            "sessions": {"count": sessions, "start-rate": 10_000_000, "max-outstanding": 1_000_000},
            "session-traffic": dict(traffic),
        }
        file.write_text(json.dumps(configuration))
        argv = [*BRIDLE_COMMAND, "run", "bng", "-c", str(file), "-S", str(self.socket)]
        super().__init__(argv, directory, name="bng", environment=python_path())

    def ready(self) -> bool:
        return self.socket.exists()


class OurCtl(CtlDaemon):
    """The same with Kamailio's ctl sockets."""

    def __init__(self, directory: Path) -> None:
        super().__init__([THERMOSTAT], directory)

    @property
    def worker(self) -> int:
        """The process that answers."""
        return self.pid


class RealKamailio(Kamailio):
    """``kamailio``, whose ctl has one process of its own."""

    @property
    def worker(self) -> int:
        """The process that answers."""
        told = kamcmd(self.addresses["unixs"], "core.ps").stdout.decode().split("\n")
        return int(told[told.index("ctl handler") - 1])


class OurAgent(Program):
    """Bridle's agent, with the configuration file that the real one gets, and ``more`` in it."""

    def __init__(
        self, directory: Path, services: Mapping[str, Path], more: Mapping[str, JSON] | None = None
    ) -> None:
        self.services = dict(services)
        self.more = dict(more or {})
        self.configuration = directory / "bridle-agent.conf"
        self.port = 0
        argv = [*BRIDLE_COMMAND, "agent", "-c", str(self.configuration)]
        super().__init__(argv, directory, name="bridle-agent", environment=python_path())

    def ready(self) -> bool:
        return listens(self.port)

    def start(self) -> None:
        """Start on a free port, on another one where it was taken meanwhile."""
        for attempt in range(1, PORT_ATTEMPTS + 1):
            self.port = free_port()
            settings = agent_settings(self.port, self.services)
            settings |= errors_only("kea-ctrl-agent", self.directory)
            settings |= self.more
            self.configuration.write_text(json.dumps({"Control-agent": settings}))
            try:
                super().start()
                return
            except StartError as failure:
                if attempt == PORT_ATTEMPTS or "in use" not in str(failure):
                    raise


class StandIn(Program):
    """The stand-in of :mod:`bench.standin`: for each service, what it answers and after how many seconds."""

    def __init__(self, directory: Path, services: Mapping[str, tuple[float, bytes]]) -> None:
        self.services = {name: directory / f"{name}.standin" for name in services}
        words: Sequence[str] = [
            f"{self.services[name]},{delay},{self._kept(directory, name, data)}"
            for name, (delay, data) in services.items()
        ]
        argv = [sys.executable, "-m", "bench.standin", *words]
        super().__init__(argv, directory, name="standin", environment=python_path())

    def ready(self) -> bool:
        return all(path.exists() for path in self.services.values())

    @staticmethod
    def _kept(directory: Path, name: str, data: bytes) -> Path:
        path = directory / f"{name}.answer"
        path.write_bytes(data)
        return path
