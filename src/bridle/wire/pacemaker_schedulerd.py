"""Requests to Pacemaker's scheduler, ``pengine`` (``facts/pacemaker.md`` §3)."""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import Struct

from bridle.core.errors import ArgumentError, RemoteProtocolError
from bridle.wire.pacemaker_messages import integer
from bridle.wire.pacemaker_requests import Caller, ControllerRequest
from bridle.wire.pacemaker_xml import Xml, read_xml, write_xml

__all__ = ["Graph", "Transition"]


class Transition(Struct, frozen=True, rename="kebab"):
    """What is to be done for a CIB to become true: the graph, as XML; the file on the scheduler's host that
    holds what it was made from; how many errors and warnings there were."""

    graph: str
    input: str
    graph_errors: int
    graph_warnings: int
    config_errors: int
    config_warnings: int


class Graph(ControllerRequest[Transition], frozen=True):
    """Have the scheduler work out what it would do about a CIB, which is given as XML."""

    command: ClassVar[str] = "graph"
    access: ClassVar[Literal["read", "write"]] = "read"
    task: ClassVar[str] = "pe_calc"
    system: ClassVar[str] = "pengine"

    cib: str

    def data(self, caller: Caller) -> Xml:
        """The CIB."""
        return xml_argument("cib", self.cib)

    def read(self, reply: Xml, carried: Xml) -> Transition:
        """Read the graph; Pacemaker 3 says nothing of errors."""
        return Transition(
            write_xml(carried).decode(),
            reply.get("crm-tgraph-in", ""),
            integer(reply, "graph-errors", 0),
            integer(reply, "graph-warnings", 0),
            integer(reply, "config-errors", 0),
            integer(reply, "config-warnings", 0),
        )


def xml_argument(name: str, text: str) -> Xml:
    """An argument that is XML.

    Raises:
        ArgumentError: it is none.
    """
    try:
        return read_xml(text)
    except RemoteProtocolError as error:
        raise ArgumentError(f"argument '{name}': {error.text}", argument=name) from error
