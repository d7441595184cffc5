"""Which layout of headers a daemon speaks (``facts/pacemaker.md`` §2).

The launcher is asked, by a message that both layouts take for one of theirs. Daemons that run without it are
asked themselves, in the same way. Answers are remembered by the daemon's process, so that a daemon is asked
once, and one that was upgraded and started again is asked again.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable

from bridle.net.libqb.client import LibqbClient, connect
from bridle.net.libqb.places import PLACES, Places
from bridle.net.libqb.trust import Trust
from bridle.pacemaker.errors import IPCConnectionError, IPCError, IPCProtocolError, IPCTimeout, translated
from bridle.pacemaker.link import Link
from bridle.wire import pacemaker_execd
from bridle.wire.pacemaker_header import Layout
from bridle.wire.pacemaker_messages import create_hello, create_request
from bridle.wire.pacemaker_requests import Caller
from bridle.wire.pacemaker_xml import Xml, element

__all__ = ["PROBE_TIMEOUT", "forget", "open_link"]

PROBE_TIMEOUT = 2.0
"""Seconds that a launcher may take to say what it is: it answers within a millisecond, unless it is starting
or frozen, and then its daemons are asked themselves."""

_EXECUTOR_TIMEOUT = 1.0
_REMEMBERED = 64
_lock = threading.Lock()
_known: dict[tuple[str, int | None], Layout] = {}

_LAUNCHER = "pacemakerd"


def forget() -> None:
    """Ask every daemon again."""
    with _lock:
        _known.clear()


def open_link(
    service: str, timeout: float, *, buffer_size: int, trusted: Trust, places: Places = PLACES
) -> Link:
    """Connect to a daemon, and find out what it speaks.

    Raises:
        IPCError: ECONNREFUSED: nobody listens; ECONNABORTED: it is not genuine; ETIMEDOUT; what it refuses
            the client with.
    """
    deadline = time.monotonic() + timeout

    def dial(name: str, seconds: float) -> LibqbClient:
        with translated(f"qb:{name}"):
            left = min(deadline - time.monotonic(), seconds)
            return connect(
                name, timeout=max(left, 0.0), max_message=buffer_size, trusted=trusted, places=places
            )

    client = dial(service, timeout)
    try:
        link = Link(client, Layout.NEUTRAL)
        link.layout = _layout_of(link, service, dial, deadline)
        return link
    except BaseException:
        client.close()
        raise


def _layout_of(
    link: Link, service: str, dial: Callable[[str, float], LibqbClient], deadline: float
) -> Layout:
    key = (service, link.peer.pid)
    with _lock:
        found = _known.get(key)
    if found is None:
        found = _ask_around(service, dial, deadline)
        if found is Layout.NEUTRAL or link.peer.pid is None:
            return found  # unknown; or of a process in another pid namespace, which cannot be known again
        with _lock:
            while len(_known) >= _REMEMBERED:
                del _known[next(iter(_known))]
            _known[key] = found
    return found


def _ask_around(service: str, dial: Callable[[str, float], LibqbClient], deadline: float) -> Layout:
    """Ask the launcher, then the daemon itself."""
    failed: IPCError | None = None
    for name in _whom_to_ask(service):
        left = max(min(PROBE_TIMEOUT, deadline - time.monotonic()), 0.0)
        try:
            with contextlib.closing(Link(dial(name, left), Layout.NEUTRAL)) as link:
                return _PROBES.get(name, _ask_generic)(link, name, left)
        except (IPCConnectionError, IPCProtocolError) as error:
            failed = error
            if time.monotonic() >= deadline:
                break
    if failed is None or service in _UNASKED:
        return Layout.NEUTRAL
    raise failed


def _whom_to_ask(service: str) -> tuple[str, ...]:
    if service in _UNASKED:
        return (_LAUNCHER,)
    return tuple(dict.fromkeys((_LAUNCHER, service))) if service in _PROBES else (service,)


def _reference(task: str) -> str:
    return f"{task}-bridle-{int(time.time())}-{time.monotonic_ns()}"


def _caller(service: str) -> Caller:
    return Caller("bridle", os.getpid(), 1, _reference, service=service)


def _event_layout(link: Link, timeout: float) -> Layout:
    return link.event_where(lambda message: message.layout is not Layout.NEUTRAL, timeout).layout


def _ping(name: str) -> Xml:
    caller = _caller(name)
    reference = _reference("ping")
    return create_request("ping", reference=reference, sys_to=name, sys_from=caller.system)


def _ask_generic(link: Link, name: str, timeout: float) -> Layout:
    link.send(_ping(name))
    return _event_layout(link, timeout)


def _ask_controller(link: Link, name: str, timeout: float) -> Layout:
    hello = create_hello(str(os.getpid()), "bridle", "1", "0", reference=_reference("hello"))
    assert hello is not None
    link.send(hello)
    return _ask_generic(link, name, timeout)


def _ask_attributes(link: Link, name: str, timeout: float) -> Layout:
    """It answers queries on the response channel, asked for or not."""
    query = element(
        "create_attrd_op", {"t": "attrd", "src": "bridle", "attr_name": "bridle-probe", "task": "query"}
    )
    return link.ask(query, timeout, flags=0).layout


def _ask_cib(link: Link, name: str, timeout: float) -> Layout:
    link.send(
        element(
            "cib_command",
            {
                "t": "cib",
                "cib_op": "cib_query",
                "cib_section": "crm_config",
                "cib_callid": 1,
                "cib_callopt": 0x100,
            },
        )
    )
    return _event_layout(link, timeout)


def _ask_fencer(link: Link, name: str, timeout: float) -> Layout:
    query = element(
        "stonith_command",
        {"t": "stonith-ng", "st_op": "st_query", "st_callid": 1, "st_callopt": 0, "st_timeout": 2},
        element(
            "st_calldata",
            None,
            element("st_device_id", {"st_origin": "bridle", "st_device_action": "off"}),
        ),
    )
    link.send(query)
    return _event_layout(link, timeout)


def _ask_executor(link: Link, name: str, timeout: float) -> Layout:
    """It takes no message that does not ask for a response, and ignores those in the wrong layout."""
    link.layout = Layout.V2
    try:
        return link.ask(pacemaker_execd.registration(_caller(name)), min(timeout, _EXECUTOR_TIMEOUT)).layout
    except IPCTimeout:
        link.layout = Layout.V3
        return link.ask(pacemaker_execd.registration(_caller(name)), min(timeout, _EXECUTOR_TIMEOUT)).layout


_PROBES: dict[str, Callable[[Link, str, float], Layout]] = {
    _LAUNCHER: _ask_generic,
    "crmd": _ask_controller,
    "attrd": _ask_attributes,
    "cib_ro": _ask_cib,
    "cib_rw": _ask_cib,
    "cib_shm": _ask_cib,
    "stonith-ng": _ask_fencer,
    "lrmd": _ask_executor,
}
# The scheduler answers nothing but calculations, each of which it writes to a file. What it is asked may be
# sent as the question itself is, until it has answered.
_UNASKED = frozenset({"pengine"})
