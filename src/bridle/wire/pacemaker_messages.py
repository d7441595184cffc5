"""The envelopes of Pacemaker's messages: requests, replies, the hello, acknowledgements
(``facts/pacemaker.md`` §2, §3).

::

    <create_request_adv origin="…" t="crmd" version="3.16.1" subt="request" reference="ping-me-1795170654-0"
                        crm_task="ping" crm_sys_to="pacemakerd" crm_sys_from="528_me"/>
    <ack function="…" line="52" status="112"/>
    <create_reply_adv … subt="response" reference="ping-me-1795170654-0" crm_task="ping" …>
      <crm_xml><ping_response crm_subsystem="pacemakerd" …/></crm_xml>
    </create_reply_adv>

Neither side looks at the name of the root element; Pacemaker 3 calls it ``message``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from bridle.core.errors import RemoteProtocolError
from bridle.wire.pacemaker_xml import Xml, element

__all__ = [
    "DAEMONS",
    "FEATURE_SET",
    "CrmExit",
    "acknowledgement",
    "create_hello",
    "create_reply",
    "create_request",
    "data_of",
    "integer",
    "status_of",
]

FEATURE_SET = "3.16.1"
"""The version of Pacemaker's features that we say we have: Pacemaker 2.1.5's."""

DAEMONS: Mapping[str, tuple[str, str]] = {
    "attrd": ("attrd", "attribute manager"),
    "based": ("cib_rw", "CIB manager"),
    "controld": ("crmd", "controller"),
    "execd": ("lrmd", "executor"),
    "fenced": ("stonith-ng", "fencer"),
    "pacemakerd": ("pacemakerd", "launcher"),
    "schedulerd": ("pengine", "scheduler"),
}
"""Pacemaker's daemons: the name that each listens under, and what people call it."""


class CrmExit(enum.IntEnum):
    """Pacemaker's exit statuses, as far as they appear in messages and events."""

    OK = 0
    ERROR = 1
    INVALID_PARAM = 2
    INSUFFICIENT_PRIV = 4
    PROTOCOL = 76
    DISCONNECT = 102
    NOSUCH = 105
    INDETERMINATE = 112
    TIMEOUT = 124


def create_request(
    task: str,
    data: Xml | None = None,
    *,
    reference: str,
    sys_from: str,
    sys_to: str | None = None,
    host_to: str | None = None,
    origin: str = "bridle",
    attributes: Mapping[str, object | None] | None = None,
) -> Xml:
    """A request. ``reference`` is how its reply is known, ``attributes`` come last on the root element."""
    root = element(
        "create_request_adv",
        {
            "origin": origin,
            "t": "crmd",
            "version": FEATURE_SET,
            "subt": "request",
            "reference": reference,
            "crm_task": task,
            "crm_sys_to": sys_to,
            "crm_sys_from": sys_from,
            "crm_host_to": host_to,
            **(attributes or {}),
        },
    )
    if data is not None:
        root.append(element("crm_xml", None, data))
    return root


def create_reply(
    request: Xml,
    data: Xml | None = None,
    *,
    origin: str = "bridle",
    src: str | None = None,
    attributes: Mapping[str, object | None] | None = None,
) -> Xml:
    """The reply to a request: who asked and who answers change places. ``src`` is the answering node, as the
    controller says it.

    A root that is called ``message``, as Pacemaker 3 does it, is answered likewise.
    """
    root = element(
        "message" if request.tag == "message" else "create_reply_adv",
        {
            "origin": origin,
            "t": request.get("t", "crmd"),
            "version": request.get("version", FEATURE_SET),
            "subt": "response",
            "reference": request.get("reference"),
            "crm_task": request.get("crm_task"),
            "crm_sys_to": request.get("crm_sys_from"),
            "crm_sys_from": request.get("crm_sys_to"),
            "src": src,
            **(attributes or {}),
        },
    )
    if data is not None:
        root.append(element("crm_xml", None, data))
    return root


def create_hello(
    uuid: str, client_name: str, major_version: str, minor_version: str, *, reference: str
) -> Xml | None:
    """The controller's hello. None where one of the four is empty, as Pacemaker's own function has it."""
    if not (uuid and client_name and major_version and minor_version):
        return None
    options = element(
        "options",
        {
            "major_version": major_version,
            "minor_version": minor_version,
            "client_name": client_name,
            "client_uuid": uuid,
        },
    )
    return create_request(
        "hello",
        options,
        reference=reference,
        sys_from=f"{uuid}_{client_name}",
        origin="create_hello_message",
    )


def acknowledgement(
    status: int, *, function: str = "bridle", line: int = 0, protocol: str | None = None, tag: str = "ack"
) -> Xml:
    """The word that a request has come. :attr:`CrmExit.INDETERMINATE` says that the answer follows as an
    event. ``tag`` is ``nack`` where Pacemaker 2's ``based`` and ``fenced`` refuse."""
    return element(
        tag, {"function": function, "line": line, "status": status, "ipc-protocol-version": protocol}
    )


def data_of(message: Xml) -> Xml | None:
    """What a request or reply carries; None where it carries nothing."""
    carried = message.find("crm_xml")
    return carried[0] if carried is not None and len(carried) else None


def status_of(message: Xml) -> int | None:
    """The status of an acknowledgement; None where the message is none.

    Raises:
        RemoteProtocolError: it is one without a status.
    """
    if message.tag not in ("ack", "nack"):
        return None
    return integer(message, "status")


def integer(part: Xml, name: str, default: int | None = None) -> int:
    """A number in an attribute.

    Raises:
        RemoteProtocolError: it is none, or is missing and there is no default.
    """
    text = part.get(name)
    if text is None and default is not None:
        return default
    try:
        # Longer ones take long to convert, and nothing that is counted here has as many digits.
        if text is None or len(text) > 20:
            raise ValueError
        return int(text)
    except ValueError:
        raise RemoteProtocolError(f"'{name}' of <{part.tag}> is no number: {text!r}") from None
