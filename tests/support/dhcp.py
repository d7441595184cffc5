"""DHCP servers in a namespace, ours and Kea's, and the programs that ask them."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tests.support.bridle import bridle_environment
from tests.support.kea import JSON, answers
from tests.support.netns import Link
from tests.support.programs import Program, require

__all__ = [
    "DhcpServer",
    "Exchange",
    "configuration4",
    "configuration6",
    "kea_server",
    "manage",
    "our_server",
    "perfdhcp",
    "read_report",
]

KEA = {4: "kea-dhcp4", 6: "kea-dhcp6"}


def configuration4(directory: Path, interface: str, **more: JSON) -> dict[str, JSON]:
    """A DHCPv4 configuration with two hundred thousand addresses."""
    return {
        "control-socket": {"socket-type": "unix", "socket-name": str(directory / "control.sock")},
        "interfaces-config": {"interfaces": [interface]},
        "lease-database": {"type": "memfile", "name": str(directory / "leases4.csv"), "lfc-interval": 0},
        "valid-lifetime": 4000,
        "option-data": [{"name": "domain-name-servers", "data": "10.0.0.1"}],
        "subnet4": [
            {
                "id": 1,
                "subnet": "10.0.0.0/8",
                "pools": [{"pool": "10.1.0.0-10.3.255.255"}],
                "option-data": [{"name": "routers", "data": "10.0.0.1"}],
            }
        ],
        **more,
    }


def configuration6(directory: Path, interface: str, **more: JSON) -> dict[str, JSON]:
    """A DHCPv6 configuration with addresses and prefixes."""
    return {
        "control-socket": {"socket-type": "unix", "socket-name": str(directory / "control.sock")},
        "interfaces-config": {"interfaces": [interface]},
        "lease-database": {"type": "memfile", "name": str(directory / "leases6.csv"), "lfc-interval": 0},
        "data-directory": str(directory),
        "valid-lifetime": 4000,
        "preferred-lifetime": 3000,
        "subnet6": [
            {
                "id": 1,
                "subnet": "2001:db8::/32",
                "interface": interface,
                "pools": [{"pool": "2001:db8:1::/64"}],
                "pd-pools": [{"prefix": "2001:db8:8000::", "prefix-len": 34, "delegated-len": 64}],
            }
        ],
        **more,
    }


class DhcpServer(Program):
    """A DHCP server with a control socket, ours or Kea's."""

    def __init__(
        self,
        argv: list[str],
        directory: Path,
        protocol: int,
        configuration: Mapping[str, JSON],
        *,
        name: str,
        settings: Mapping[str, str],
    ) -> None:
        super().__init__(argv, directory, name=name, environment=settings)
        self.root = f"Dhcp{protocol}"
        self.configuration = dict(configuration)
        self.file = directory / "dhcp.json"
        self.socket = directory / "control.sock"

    def prepare(self) -> None:
        """Write the configuration."""
        self.write(self.configuration)

    def write(self, configuration: Mapping[str, JSON]) -> None:
        """Write another configuration into the file."""
        self.file.write_text(json.dumps({self.root: configuration}))

    def ready(self) -> bool:
        """Whether it answers commands."""
        return answers(self.socket)

    def ask(self, command: str, arguments: JSON = None, *, socket: Path | None = None) -> dict[str, Any]:
        """Have a command answered."""
        import bridle

        with bridle.connect(f"unix:{socket or self.socket}") as connection:
            answer = connection.execute(command, arguments)
            return {"result": answer.result, "text": answer.text, "arguments": answer.value}

    def statistic(self, name: str) -> int:
        """The present value of a statistic."""
        found = self.ask("statistic-get", {"name": name})["arguments"]
        value = found[name][0][0] if found else 0
        assert isinstance(value, int)
        return value


def our_server(link: Link, directory: Path, protocol: int, configuration: Mapping[str, JSON]) -> DhcpServer:
    """``bridle run dhcp4`` or ``dhcp6`` in the server's namespace."""
    words = [sys.executable, "-m", "bridle", "run", f"dhcp{protocol}", "-c", str(directory / "dhcp.json")]
    return DhcpServer(
        link.inside(link.server, *words),
        directory,
        protocol,
        configuration,
        name=f"bridle-dhcp{protocol}",
        settings=bridle_environment(),
    )


def kea_server(link: Link, directory: Path, protocol: int, configuration: Mapping[str, JSON]) -> DhcpServer:
    """The real one, which logs errors alone."""
    logger = {"name": "kea-dhcp4", "severity": "ERROR", "output_options": [{"output": "stderr"}]}
    return DhcpServer(
        link.inside(link.server, require(KEA[protocol]), "-c", directory / "dhcp.json"),
        directory,
        protocol,
        {**configuration, "loggers": [{**logger, "name": KEA[protocol]}]},
        name=KEA[protocol],
        settings={"KEA_PIDFILE_DIR": str(directory), "KEA_LOCKFILE_DIR": "none"},
    )


def manage(server: DhcpServer, folder: Path, seconds: float) -> None:
    """100 config-set, 20 config-reload, 20 libreload and 5 moves of the control socket, in a mixed order,
    spread over so many seconds."""
    todo = ["config-set"] * 100 + ["config-reload"] * 20 + ["libreload"] * 20 + ["move"] * 5
    random.Random(3).shuffle(todo)
    settings = dict(server.configuration)
    began = time.monotonic()
    for number, what in enumerate(todo):
        # Spread over the load, whatever each of them takes.
        time.sleep(max(0.0, began + seconds * number / len(todo) - time.monotonic()))
        if what == "move":
            place = folder / f"moved{number}.sock"
            settings["control-socket"] = {"socket-type": "unix", "socket-name": str(place)}
            answer = server.ask("config-set", {"Dhcp4": settings})
            server.socket = place
            server.write(settings)
        elif what == "config-set":
            settings["valid-lifetime"] = 4000 + number
            answer = server.ask("config-set", {"Dhcp4": settings})
        else:
            answer = server.ask(what)
        assert answer["result"] == 0, (what, answer)


class Exchange(msgspec.Struct, frozen=True):
    """What perfdhcp counted of one kind of exchange. Delays are in milliseconds."""

    sent: int
    received: int
    drops: int
    rejected: int
    repeated: int
    longest: float


_EXCHANGE = re.compile(
    r"\*\*\*Statistics for: (?P<kind>[^*]+)\*\*\*\n"
    r"sent packets: (?P<sent>\d+)\n"
    r"received packets: (?P<received>\d+)\n"
    r"drops: (?P<drops>-?\d+)\n"
    r"(?:.*\n)*?"
    r"rejected leases: (?P<rejected>\d+)\n"
    r"non unique addresses: (?P<repeated>\d+)\n"
    r"(?:.*\n)*?"
    r"max delay: (?P<longest>\S+)"
)


def perfdhcp(link: Link, *words: str, seconds: float = 60) -> dict[str, Exchange]:
    """Run perfdhcp in the client's namespace; the exchanges by kind, such as ``DISCOVER-OFFER``."""
    argv = link.inside(link.client, require("perfdhcp"), *words)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds, check=False)
    return read_report(done.stdout + done.stderr)


def read_report(text: str) -> dict[str, Exchange]:
    """The exchanges in perfdhcp's report."""
    found = {}
    for match in _EXCHANGE.finditer(text):
        longest = match["longest"]
        found[match["kind"]] = Exchange(
            *(int(match[name]) for name in ("sent", "received", "drops", "rejected", "repeated")),
            float(longest) if longest != "n/a" else 0.0,
        )
    assert found, text
    return found
