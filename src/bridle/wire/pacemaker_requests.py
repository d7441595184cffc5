"""What all requests to Pacemaker's daemons have in common: how they are written, and where the answer comes.

A request is a struct: its fields are the command's arguments, its class says what its answer is made of. The
modules ``pacemaker_attrd``, ``…_based``, and so on hold those of each daemon.
"""

from __future__ import annotations

import enum
import errno
from collections.abc import Callable
from typing import ClassVar, Generic, Literal, TypeVar

from msgspec import Struct

from bridle.core.errors import ArgumentError, CommandError, RemoteProtocolError
from bridle.core.messages import Response
from bridle.core.results import from_errno
from bridle.wire.pacemaker_errors import describe
from bridle.wire.pacemaker_messages import CrmExit, create_request, data_of, integer, status_of
from bridle.wire.pacemaker_xml import Xml

__all__ = [
    "Answer",
    "Caller",
    "ControllerRequest",
    "Done",
    "FencerNodePurge",
    "NodePurge",
    "Request",
    "check_return_code",
    "check_status",
    "failure",
    "flag",
]

R_co = TypeVar("R_co", covariant=True)


class Answer(enum.Enum):
    """Where the answer to a request comes (``facts/pacemaker.md`` §2.1).

    ``EVENT``: on the event channel, which a descriptor announces. ``RESPONSE``: on the response channel, to
    requests that ask for one. ``FINISHED``: the response says that it was begun, an event how it ended.
    ``NOTHING``: there is none.
    """

    EVENT = "event"
    RESPONSE = "response"
    FINISHED = "finished"
    NOTHING = "nothing"


class Caller(Struct, frozen=True):
    """Who asks: a program's name and pid, the id that the daemon gave it, the number of the call.

    ``reference`` makes a name for a request, which is repeated in its reply. ``service`` is the name that the
    daemon is called by.
    """

    name: str
    pid: int
    call: int
    reference: Callable[[str], str]
    client_id: str = ""
    service: str = ""

    @property
    def system(self) -> str:
        """The caller as the controller, the scheduler and the launcher know it."""
        return f"{self.pid}_{self.name}"


class Done(Struct, frozen=True):
    """The answer to a request that only has to succeed."""


class Request(Struct, Generic[R_co], frozen=True):
    """A request to one of Pacemaker's daemons, with the type of its answer.

    ``command`` is its name on every wire of Bridle's, ``access`` whether it only looks, ``answer`` where
    Pacemaker answers it.
    """

    command: ClassVar[str] = ""
    access: ClassVar[Literal["read", "write"]] = "write"
    answer: ClassVar[Answer] = Answer.EVENT

    def document(self, caller: Caller) -> Xml:
        """The request as it is sent."""
        raise NotImplementedError

    def is_answer(self, asked: Xml, found: Xml) -> bool:
        """True where an event is the answer to what was asked."""
        raise NotImplementedError

    def is_finish(self, response: Xml, found: Xml) -> bool:
        """True where an event says how that ended which a response had begun."""
        raise NotImplementedError

    def result(self, found: Xml) -> R_co:
        """Read the answer.

        Raises:
            CommandError: the daemon refused, or failed; ``code`` is Pacemaker's return code as an errno.
            RemoteProtocolError: it makes no sense.
        """
        raise NotImplementedError


class ControllerRequest(Request[R_co], frozen=True):
    """A request in the controller's envelope, which the launcher and the scheduler use as well."""

    task: ClassVar[str] = ""
    system: ClassVar[str] = ""

    def document(self, caller: Caller) -> Xml:
        """The envelope around what :meth:`data` says."""
        return create_request(
            self.task,
            self.data(caller),
            reference=caller.reference(self.task),
            sys_from=caller.system,
            sys_to=self.addressee(),
            host_to=self.host(),
        )

    def data(self, caller: Caller) -> Xml | None:
        """What the envelope holds."""
        return None

    def addressee(self) -> str:
        """The system that the request is for."""
        return self.system

    def host(self) -> str | None:
        """The node that it is for, where that matters."""
        return None

    def is_answer(self, asked: Xml, found: Xml) -> bool:
        """The reply repeats the reference."""
        return found.get("subt") == "response" and found.get("reference") == asked.get("reference")

    def result(self, found: Xml) -> R_co:
        """Read what the reply's envelope holds."""
        carried = data_of(found)
        if carried is None:
            raise RemoteProtocolError(f"the reply to {self.task} holds nothing")
        return self.read(found, carried)

    def read(self, reply: Xml, carried: Xml) -> R_co:
        """Read the answer out of its envelope."""
        raise NotImplementedError


class NodePurge(Request[Done], frozen=True):
    """Make a daemon forget a node that is no member of the cluster any more.

    ``node`` is its name, ``node_id`` its number; at least one of them is needed. ``subsystem`` names the
    daemon, where several are addressed.
    """

    command: ClassVar[str] = "node-purge"
    answer: ClassVar[Answer] = Answer.RESPONSE

    node: str | None = None
    node_id: int | None = None
    subsystem: str | None = None

    def document(self, caller: Caller) -> Xml:
        """The launcher's, the controller's and the fencer's form; the attribute manager has its own.

        Raises:
            ArgumentError: neither name nor number is given.
        """
        self.check()
        return create_request(
            "rm_node_cache",
            reference=caller.reference("rm_node_cache"),
            sys_from=caller.name,
            sys_to=caller.service,
            attributes={"id": self.node_id or None, "uname": self.node},
        )

    def check(self) -> None:
        """See that there is a node to forget.

        Raises:
            ArgumentError: there is none.
        """
        if not self.node and not self.node_id:
            raise ArgumentError("either 'node' or 'node-id' is needed", argument="node")
        if self.node_id is not None and not 0 <= self.node_id < 1 << 32:
            raise ArgumentError("argument 'node-id': a number of 32 bits is expected", argument="node-id")

    def result(self, found: Xml) -> Done:
        """An acknowledgement is all that comes."""
        return check_status(found)


class FencerNodePurge(NodePurge, frozen=True):
    __doc__ = NodePurge.__doc__

    answer: ClassVar[Answer] = Answer.NOTHING

    def result(self, found: Xml) -> Done:
        """The fencer says nothing."""
        return Done()


def check_status(found: Xml) -> Done:
    """See that an acknowledgement is none of a failure.

    Raises:
        CommandError: it is.
        RemoteProtocolError: it is no acknowledgement.
    """
    status = status_of(found)
    if status is None:
        raise RemoteProtocolError(f"an acknowledgement was expected, <{found.tag}> came")
    if status in (CrmExit.OK, CrmExit.INDETERMINATE):
        return Done()
    known = {
        CrmExit.INVALID_PARAM: (errno.EINVAL, "the daemon takes the request for an invalid one"),
        CrmExit.INSUFFICIENT_PRIV: (errno.EACCES, "permission denied"),
        CrmExit.PROTOCOL: (errno.EPROTO, "the daemon makes no sense of the request"),
    }
    code, text = known.get(CrmExit(status), (0, "")) if status in set(CrmExit) else (0, "")
    raise failure(code or errno.EIO, text or f"the daemon answered with exit status {status}")


def failure(code: int, text: str = "") -> CommandError:
    """The error for Pacemaker's return code ``code``, positive or negative as it came."""
    number = abs(code)
    result = from_errno(number)
    text = text or describe(number)
    return CommandError(text, result, response=Response(result, text, code=number))


def check_return_code(found: Xml, name: str) -> None:
    """Raise what a return code of 0 or less says.

    Raises:
        CommandError: it is less than 0.
        RemoteProtocolError: it is none.
    """
    code = integer(found, name)
    if code < 0:
        raise failure(code, found.get("exit-reason", ""))


def flag(value: bool) -> str:
    """A boolean in the attribute manager's words."""
    return "1" if value else "0"
