"""Requests to Pacemaker's CIB manager, ``cib_rw`` and ``cib_ro`` (``facts/pacemaker.md`` §3).

They are sent without its ``sync_call``, so that the answers come as events: that option aborts a daemon where
the header does not ask for a response as well, and this way it cannot be given.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import Struct

from bridle.core.errors import ArgumentError, RemoteProtocolError
from bridle.wire.pacemaker_messages import integer
from bridle.wire.pacemaker_requests import Caller, Request, check_return_code
from bridle.wire.pacemaker_schedulerd import xml_argument
from bridle.wire.pacemaker_xml import Xml, element, write_xml

__all__ = [
    "NOTIFICATIONS",
    "Cib",
    "CibApplyDiff",
    "CibBump",
    "CibCreate",
    "CibDelete",
    "CibErase",
    "CibModify",
    "CibQuery",
    "CibReplace",
    "CibUpgrade",
    "read_notification",
    "registration",
    "subscription",
]

NOTIFICATIONS = ("cib_diff_notify", "cib_refresh_notify")
"""What the CIB manager tells whoever asks for it."""

# cib_call_options, as far as they are used.
_XPATH = 0x2
_CAN_CREATE = 0x8
_NO_CHILDREN = 0x20
_SCOPE_LOCAL = 0x100
_DRY_RUN = 0x200


class Cib(Struct, frozen=True):
    """A CIB, or the part of it that was asked for, as XML; empty where an operation gives none."""

    cib: str = ""


class _CibRequest(Request[Cib], frozen=True):
    """An operation on the CIB. ``section`` is a part of it by name, ``xpath`` one by its place."""

    operation: ClassVar[str] = ""

    def document(self, caller: Caller) -> Xml:
        """The operation."""
        section, options = self._place()
        root = element(
            "cib_command",
            {
                "t": "cib",
                "cib_async_id": caller.client_id,
                "cib_op": self.operation,
                "cib_section": section,
                "cib_callid": caller.call,
                "cib_callopt": options | self._options(),
            },
        )
        data = self._data()
        if data is not None:
            root.append(element("cib_calldata", None, data))
        return root

    def _place(self) -> tuple[str | None, int]:
        section: str | None = getattr(self, "section", None)
        xpath: str | None = getattr(self, "xpath", None)
        if section is not None and xpath is not None:
            raise ArgumentError("'section' and 'xpath' exclude each other", argument="xpath")
        return (section, 0) if xpath is None else (xpath, _XPATH)

    def _options(self) -> int:
        chosen = 0
        for name, option in (
            ("can_create", _CAN_CREATE),
            ("no_children", _NO_CHILDREN),
            ("local", _SCOPE_LOCAL),
            ("dry_run", _DRY_RUN),
        ):
            chosen |= option if getattr(self, name, False) else 0
        return chosen

    def _data(self) -> Xml | None:
        text: str | None = getattr(self, "xml", None)
        return None if text is None else xml_argument("xml", text)

    def is_answer(self, asked: Xml, found: Xml) -> bool:
        """The reply repeats the number of the call."""
        return found.tag == "cib-reply" and found.get("cib_callid") == asked.get("cib_callid")

    def result(self, found: Xml) -> Cib:
        """Read the return code, and what is told of the CIB."""
        if found.tag != "cib-reply":
            raise RemoteProtocolError(f"<cib-reply> was expected, <{found.tag}> came")
        check_return_code(found, "cib_rc")
        data = found.find("cib_calldata")
        return Cib(write_xml(data[0]).decode() if data is not None and len(data) else "")


class CibQuery(_CibRequest, frozen=True):
    """Read the CIB, or a part of it.

    ``no_children`` leaves out what is inside. ``local`` asks this node for its own copy: otherwise the node
    that leads the cluster is asked where it is another.
    """

    command: ClassVar[str] = "cib-query"
    access: ClassVar[Literal["read", "write"]] = "read"
    operation: ClassVar[str] = "cib_query"

    section: str | None = None
    xpath: str | None = None
    no_children: bool = False
    local: bool = False


class CibCreate(_CibRequest, frozen=True):
    """Add an element, which must not be there yet. ``dry_run`` changes nothing."""

    command: ClassVar[str] = "cib-create"
    operation: ClassVar[str] = "cib_create"

    xml: str
    section: str | None = None
    xpath: str | None = None
    local: bool = False
    dry_run: bool = False


class CibModify(_CibRequest, frozen=True):
    """Change an element, found by its id; with ``can_create`` one that is not there is added."""

    command: ClassVar[str] = "cib-modify"
    operation: ClassVar[str] = "cib_modify"

    xml: str
    section: str | None = None
    xpath: str | None = None
    can_create: bool = False
    local: bool = False
    dry_run: bool = False


class CibReplace(_CibRequest, frozen=True):
    """Put an element in the place of the one with its id, or a whole CIB in the place of the one that is."""

    command: ClassVar[str] = "cib-replace"
    operation: ClassVar[str] = "cib_replace"

    xml: str
    section: str | None = None
    xpath: str | None = None
    can_create: bool = False
    local: bool = False
    dry_run: bool = False


class CibDelete(_CibRequest, frozen=True):
    """Take an element away: the one like ``xml``, or the one at ``xpath``. One that is not there is no
    error."""

    command: ClassVar[str] = "cib-delete"
    operation: ClassVar[str] = "cib_delete"

    xml: str | None = None
    section: str | None = None
    xpath: str | None = None
    local: bool = False
    dry_run: bool = False

    def document(self, caller: Caller) -> Xml:
        """The operation; without a place it would take everything away.

        Raises:
            ArgumentError: there is no place.
        """
        if self.xml is None and self.xpath is None:
            raise ArgumentError("either 'xml' or 'xpath' is needed", argument="xml")
        return _CibRequest.document(self, caller)


class CibBump(_CibRequest, frozen=True):
    """Count the CIB's epoch up, as if it had been changed."""

    command: ClassVar[str] = "cib-bump"
    operation: ClassVar[str] = "cib_bump"


class CibErase(_CibRequest, frozen=True):
    """Take away all that the CIB holds, its status included."""

    command: ClassVar[str] = "cib-erase"
    operation: ClassVar[str] = "cib_erase"

    dry_run: bool = False


class CibApplyDiff(_CibRequest, frozen=True):
    """Change the CIB by a difference, as XML: one that a notification told, or ``crm_diff``."""

    command: ClassVar[str] = "cib-apply-diff"
    operation: ClassVar[str] = "cib_apply_diff"

    xml: str
    local: bool = False
    dry_run: bool = False


class CibUpgrade(_CibRequest, frozen=True):
    """Bring the CIB to the latest schema that Pacemaker has.

    The CIB manager of the node that leads the cluster decides and answers. While none leads (after a start,
    in an election) nobody answers, and the request takes the time that it is given.
    """

    command: ClassVar[str] = "cib-upgrade"
    operation: ClassVar[str] = "cib_upgrade"

    dry_run: bool = False


def registration(caller: Caller) -> Xml:
    """What a client says first. The number is sync_call: it goes with a header that asks for a response."""
    return element(
        "cib_command",
        {"t": "cib", "cib_op": "register", "cib_clientname": caller.name, "cib_callopt": 0x1000},
    )


def subscription(kind: str) -> Xml:
    """Ask for notifications of a kind, ``cib_diff_notify`` or ``cib_refresh_notify``."""
    return element(
        "cib-callback", {"cib_op": "cib_notify", "cib_notify_type": kind, "cib_notify_activate": "1"}
    )


def read_notification(found: Xml) -> dict[str, str | int]:
    """A notification that the CIB has changed: the operation, its return code, the difference as XML."""
    update = found.find("cib_update_result")
    return {
        "operation": found.get("cib_op", ""),
        "return-code": integer(found, "cib_rc", 0),
        "diff": write_xml(update[0]).decode() if update is not None and len(update) else "",
    }
