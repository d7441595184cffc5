"""``bridle run cluster`` in a sandbox of its own, and Pacemaker's tools, which talk to whatever is there."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree as ET

import msgspec

from tests.support.pacemaker import Sandbox, sandbox
from tests.support.programs import ROOT, Program, poll, require, short_directory

__all__ = ["AS_NOBODY", "ClusterProgram", "Said", "cluster_program", "plain", "shape", "tool"]

TOOL_SECONDS = 30.0
"""How long a tool may take; the slowest waits two seconds for a probe."""

AS_NOBODY = ("--reuid=nobody", "--regid=nogroup", "--clear-groups")
"""The arguments with which setpriv runs a program as nobody."""

_WORDS = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ?"), "TIME"),
    (re.compile(r"[A-Z][a-z]{2} [A-Z][a-z]{2} +\d+ \d\d:\d\d:\d\d \d{4}"), "TIME"),
    (re.compile(r"2\.1\.\d+-[0-9a-z]+"), "VERSION"),
    (re.compile(r'exec-time="\d+ms"'), 'exec-time="N"'),
    # A real controller counts a failure twice now and then.
    (re.compile(r"(fail-count-\S+ value=)[1-9]\d*"), r"\1N"),
    # crm_resource says these or not, by when the reply comes.
    (re.compile(r"(?m)^(Waiting for \d+ repl.*|\.\.\. got reply.*)\n"), ""),
    (re.compile(r"(stonith_admin|crm_resource)\.\d+"), r"\1.PID"),
)
# What a clock, a chance or a count made.
_VOLATILE = frozenset(
    {
        "call-id",
        "cib-last-written",
        "crm-debug-origin",
        "epoch",
        "exec-time",
        "last-granted",
        "last-rc-change",
        "num_updates",
        "queue-time",
        "transition-key",
        "transition-magic",
        "update-client",
        "update-user",
    }
)
# Options whose values are times, and those that belong to one of the two clusters alone.
_TIMES = frozenset({"last-lrm-refresh"})
_LEFT_OUT = frozenset({"dc-deadtime"})
_PROGRAM = (
    "import os, sys; import lxml.etree, bridle.server.qb, bridle.net.libqb.server_memory; "
    "import bridle.net.libqb.server_sockets, bridle.wire.configuration_text; "
    "from bridle.bundled.cluster.cluster import Cluster; from bridle.daemon.running import run; "
    "os.setgroups([]); os.setgid(65534); os.setuid(65534); "
    "run(Cluster(node='node1', transport=sys.argv[1]), on_ready=lambda running: print('ready', flush=True))"
)


class Said(msgspec.Struct, frozen=True):
    """What a tool said, and its exit status."""

    status: int
    text: str


def tool(
    where: Sandbox, *words: str, user: Sequence[str] = (), environment: dict[str, str] | None = None
) -> Said:
    """Run a tool in a sandbox, as root or with setpriv's arguments for somebody else."""
    argv = [str(require(words[0])), *words[1:]]
    if user:
        argv = [str(require("setpriv")), *user, *argv]

    def run() -> Said:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=TOOL_SECONDS,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **(environment or {})},
        )
        return Said(done.returncode, done.stdout + done.stderr)

    return where.inside(run)


def plain(text: str) -> str:
    """The text without what differs from one run to the next."""
    for pattern, word in _WORDS:
        text = pattern.sub(word, text)
    return text


def shape(text: str) -> Any:
    """A CIB as comparable data: without counts, times and chance, elements of a node's state in no order."""

    def of(node: ET.Element) -> Any:
        attributes = {key: plain(value) for key, value in node.attrib.items() if key not in _VOLATILE}
        if node.tag == "nvpair":
            del attributes["id"]
            if attributes.get("name") in _TIMES:
                attributes["value"] = "TIME"
        children = [of(child) for child in node if child.get("name") not in _LEFT_OUT]
        if node.tag in ("node_state", "lrm_resource", "cluster_property_set", "instance_attributes"):
            children.sort(key=repr)
        return node.tag, sorted(attributes.items()), children

    return of(ET.fromstring(text))


class ClusterProgram(Program):
    """``bridle run cluster`` in an empty sandbox."""

    def __init__(
        self,
        where: Sandbox,
        directory: Path,
        *,
        configuration: dict[str, Any] | None = None,
        nobody: bool = False,
    ) -> None:
        self.where = where
        argv: list[str | Path] = [sys.executable, "-m", "bridle", "run", "cluster", "--node", "node1"]
        argv += ["--transport", where.transport]
        if configuration is not None:
            file = directory / "cluster.json"
            file.write_text(json.dumps({"Cluster": configuration}))
            argv += ["-c", file]
        if nobody:
            argv = [sys.executable, "-c", _PROGRAM, where.transport]
        super().__init__(argv, directory, name="cluster", environment={"PYTHONPATH": str(ROOT / "src")})
        self._nobody = nobody

    def start(self) -> None:
        """Start it inside."""
        self.where.inside(super().start)

    def ready(self) -> bool:
        """It says where it listens, in the order of the names."""
        return "ready" in self.stdout if self._nobody else "qb:stonith-ng" in self.stderr


@contextlib.contextmanager
def cluster_program(
    transport: Literal["shm", "socket"], configuration: dict[str, Any] | None = None, *, nobody: bool = False
) -> Iterator[ClusterProgram]:
    """The daemon in a sandbox, both ended at the end."""
    with sandbox("empty", transport) as where, short_directory() as directory:
        program = ClusterProgram(where, directory, configuration=configuration, nobody=nobody)
        with program:
            yield program


def wait_for_idle(where: Sandbox) -> None:
    """Wait until the controller has nothing to do."""
    assert poll(lambda: "S_IDLE" in tool(where, "crmadmin", "-S", "node1").text, 20.0)
