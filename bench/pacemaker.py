"""Pacemaker: its own daemons and ``bridle run cluster`` under the same client, on both transports.

Each cluster is in namespaces of its own, which the client enters: both listen under the names that
Pacemaker's tools know.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import bridle
from bench.figures import Figure, of_rates
from bench.libqb import LibqbLoad, build_client
from bench.load import LoadError, Run, Target
from bench.machine import on_core
from bench.programs import OURS
from bench.stage import Session, Stage
from bridle.core.errors import BridleError
from bridle.net.libqb.trust import cluster_server
from bridle.pacemaker.layouts import open_link
from bridle.wire.pacemaker_attrd import AttributeQuery
from bridle.wire.pacemaker_based import CibQuery
from bridle.wire.pacemaker_controld import NodeList
from bridle.wire.pacemaker_header import BUFFER_SIZE, Flags, Layout, Message, encode_message
from bridle.wire.pacemaker_messages import create_hello
from bridle.wire.pacemaker_pacemakerd import LauncherPing
from bridle.wire.pacemaker_requests import Caller, Request
from bridle.wire.pacemaker_xml import Xml, write_xml
from tests.support.cluster_daemon import ClusterProgram
from tests.support.netns import possible
from tests.support.pacemaker import CLUSTER, Sandbox, sandbox
from tests.support.programs import StartError, missing, poll, short_directory

__all__ = ["pacemaker"]

PACEMAKER = "Pacemaker"

CLIENT = "bench"
ATTRIBUTE, VALUE = "shape", "round"

CONNECT_SECONDS = 10.0
"""How long a daemon that runs may take to be connected to: it takes a millisecond."""

# The CIB manager's cib_sync_call: the answer is the response, not an event.
_SYNCHRONOUS = 0x1000

Transport = Literal["shm", "socket"]
PLACES: dict[Transport, str] = {"shm": "memory", "socket": "sockets"}


@dataclass(frozen=True)
class PacemakerLoad(LibqbLoad):
    """What one client asks of a daemon: the message of a file, again and again, after that of another."""

    entering: Sequence[str] = ()
    request: Path = Path()
    first: Path | None = None

    def argv(self, address: str) -> list[str]:
        """The generator's command line, in the cluster's namespaces."""
        return [*self.entering, *super().argv(address)]

    def asked(self) -> list[str]:
        """The files, and what every answer holds."""
        first = [] if self.first is None else [f"--first={self.first}"]
        return [f"--request={self.request}", f"--expect={self.expect}", *first]


@dataclass(frozen=True)
class Question:
    """A line of the table.

    ``program`` is the real daemon behind the ``service``, ``expect`` what stands in every right answer,
    ``flags`` are the header's. Where ``hello`` is set, the service wants to be greeted first.
    """

    what: str
    service: str
    program: str
    document: Xml
    expect: str
    channel: Literal["response", "event"] = "event"
    flags: Flags = Flags.NONE
    depth: int = 1
    hello: bool = False


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs; ``program`` is ours, which is all of it, and None where it is a real one."""

    where: Sandbox
    program: ClusterProgram | None = None

    def pid(self, program: str) -> int:
        """The process that does the work of a real program.

        Raises:
            LoadError: it does not run.
        """
        found = self.program.pid if self.program is not None else self.where.pid_of(program)
        if found is None:
            raise LoadError(f"{program} does not run in its cluster")
        return found


def pacemaker(session: Session) -> None:
    """The launcher, the controller, the attribute manager and the CIB manager; a note where they cannot
    be."""
    absent = missing([*CLUSTER, "nsenter", "cc", "qb/qbipcs.h"])
    if absent or not possible():
        session.note(f"pacemaker is not measured: {', '.join(absent) or 'no network namespaces here'}")
        return
    build_client()
    for transport in PLACES:
        try:
            _on(transport, session)
        except (StartError, BridleError) as failure:
            session.problem(f"pacemaker, {PLACES[transport]}: {failure}")


def _on(transport: Transport, session: Session) -> None:
    with ExitStack() as sandboxes, Stage(session) as stage, short_directory() as directory:
        with on_core(session.cores.servers):
            full = sandboxes.enter_context(sandbox("cluster", transport))
            empty = sandboxes.enter_context(sandbox("empty", transport))
        program = stage.start(lambda folder: ClusterProgram(empty, folder))
        if program is None:
            return
        clusters = {OURS: Cluster(empty, program), PACEMAKER: Cluster(full)}
        empty.inside(_prepare)
        layout = full.inside(_prepare)  # ours answers in that of the question
        for question in QUESTIONS:
            load = _load(question, directory, layout)
            runs = _alternate(stage, clusters, question, load)
            figures = of_rates(runs[OURS]), of_rates(runs[PACEMAKER])
            what = f"{PLACES[transport]}: {question.what}"
            session.add(Figure("pacemaker", what, "answers/s", "more", *figures, "", PACEMAKER))


def _prepare() -> Layout:
    """Set the attribute that is asked for, wait until it can be, and tell which layout of headers is
    spoken."""
    with bridle.connect("qb:attrd") as attrd:
        attrd.call("attribute-update", {"name": ATTRIBUTE, "value": VALUE})
        if not poll(lambda: attrd.execute("attribute-query", {"name": ATTRIBUTE}).result == 0):
            raise StartError("the attribute that was set is not known")
    with contextlib.closing(
        open_link("pacemakerd", CONNECT_SECONDS, buffer_size=BUFFER_SIZE, trusted=cluster_server)
    ) as link:
        return link.layout


def _load(question: Question, directory: Path, layout: Layout) -> PacemakerLoad:
    """The messages in files, and how they are sent."""
    return PacemakerLoad(
        "libqb",
        [],
        1,
        depth=question.depth,
        channel=question.channel,
        expect=question.expect,
        request=_written(directory / "request", question.document, question.flags, layout),
        first=_written(directory / "hello", HELLO, Flags.NONE, layout) if question.hello else None,
    )


def _written(path: Path, document: Xml, flags: Flags, layout: Layout) -> Path:
    (piece,) = encode_message(Message(0, int(flags), write_xml(document), layout))
    path.write_bytes(piece)
    return path


def _alternate(
    stage: Stage, clusters: dict[str, Cluster], question: Question, load: PacemakerLoad
) -> dict[str, list[Run]]:
    """Ask both in turn, as :meth:`Stage.alternate`: here each is asked in namespaces of its own."""
    runs: dict[str, list[Run]] = {name: [] for name in clusters}
    for _ in range(stage.session.rounds):
        for name, cluster in clusters.items():
            inside = replace(load, entering=cluster.where.entering)
            target = Target(question.service, cluster.pid(question.program))
            runs[name].append(stage.ask(name, inside, target))
    return runs


def _reference(task: str) -> str:
    return f"{task}-{CLIENT}-1"


def _document(request: Request[object], options: int = 0) -> Xml:
    """A request as it is sent; ``options`` are those of a call on the CIB."""
    document = request.document(Caller(CLIENT, os.getpid(), 1, _reference))
    if options:
        document.set("cib_callopt", str(options))
    return document


def _hello() -> Xml:
    hello = create_hello(str(os.getpid()), CLIENT, "1", "0", reference=_reference("hello"))
    assert hello is not None
    return hello


HELLO = _hello()

QUESTIONS = (
    Question(
        "ping, answered by an event",
        "pacemakerd",
        "pacemakerd",
        _document(LauncherPing()),
        'pacemakerd_state="running"',
    ),
    Question(
        "list-nodes, answered by an event",
        "crmd",
        "pacemaker-controld",
        _document(NodeList()),
        'uname="node1"',
        hello=True,
    ),
    Question(
        "list-nodes, 16 under way",
        "crmd",
        "pacemaker-controld",
        _document(NodeList()),
        'uname="node1"',
        depth=16,
        hello=True,
    ),
    Question(
        "attribute query, answered by a response",
        "attrd",
        "pacemaker-attrd",
        _document(AttributeQuery(ATTRIBUTE)),
        f'attr_value="{VALUE}"',
        channel="response",
        flags=Flags.CLIENT_RESPONSE,
    ),
    Question(
        "cib_query of the nodes, answered by a response",
        "cib_ro",
        "pacemaker-based",
        _document(CibQuery(section="nodes"), options=_SYNCHRONOUS),
        'uname="node1"',
        channel="response",
        flags=Flags.CLIENT_RESPONSE,
    ),
)
"""What is asked, of real daemons and of ours in the same words."""
