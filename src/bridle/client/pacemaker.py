"""Calls to Pacemaker's daemons, and to Bridle's own on libqb: ``qb:crmd``, ``qb:NAME``, and ``qb:pacemaker``
for all daemons of Pacemaker's, each of which gets the commands that it has.

A connection is kept for the next call, where its daemon is still the one that it was.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from bridle.core.errors import (
    ArgumentError,
    CommandError,
    DeadlineExceeded,
    UnknownCommandError,
)
from bridle.core.messages import JSON, Command, Response
from bridle.core.results import Result
from bridle.net.endpoint import Endpoint
from bridle.pacemaker.errors import IPCNotReady, IPCUsageError
from bridle.pacemaker.session import Session
from bridle.wire.pacemaker_catalogue import (
    ALL,
    GenericRequest,
    daemon_of_service,
    definitions,
    request_of,
    response_of,
    route,
)
from bridle.wire.pacemaker_messages import DAEMONS
from bridle.wire.pacemaker_requests import Request

__all__ = ["PacemakerChannel"]

IDLE_TIME = 20.0
"""Seconds after which a kept connection is not trusted any more."""

# The executor tells every client of everything that it does, and drops one that does not listen.
_NEVER_KEPT = frozenset({"lrmd"})


class PacemakerChannel:
    """One caller's connections to the daemons behind an endpoint. Not for several threads."""

    secured = False

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._daemon = ALL if endpoint.path == ALL else daemon_of_service(endpoint.path)
        self._kept: dict[str, tuple[Session, float]] = {}

    def exchange(self, commands: Sequence[Command], deadline: float) -> Sequence[Sequence[Response]]:
        """Call commands one after the other; each gets one answer.

        Raises:
            TransportError, DeadlineExceeded, RemoteProtocolError: there is none; nothing is sent twice.
        """
        return [(self.answer(command, deadline),) for command in commands]

    def answer(self, command: Command, deadline: float) -> Response:
        """Call a command, until ``deadline`` of :func:`time.monotonic`.

        Raises:
            TransportError, DeadlineExceeded, RemoteProtocolError: there is no answer.
        """
        try:
            told = self._about_commands(command)
            if told is not None:
                return told
            service, request = self._request(command)
            return response_of(self._execute(service, request, deadline))
        except CommandError as error:
            return error.response
        except ArgumentError as error:
            return Response(Result.ERROR, error.text, error=error)
        except UnknownCommandError as error:
            return Response(Result.UNSUPPORTED, error.text, error=error)
        except IPCUsageError as error:
            return Response(Result.ERROR, str(error), code=error.errno)
        except IPCNotReady as error:
            raise DeadlineExceeded(str(error), endpoint=str(self._endpoint)) from error

    def _about_commands(self, command: Command) -> Response | None:
        """What Pacemaker's daemons cannot say of themselves."""
        if self._daemon is None or command.name not in ("list-commands", "command-help"):
            return None
        known = definitions(self._daemon)
        if command.name == "list-commands":
            return Response(arguments=[*sorted(known)])
        described: dict[str, JSON] = {name: dict(known[name].describe()) for name in sorted(known)}
        arguments = command.arguments
        wanted = arguments.get("name") if isinstance(arguments, dict) else arguments
        wanted = wanted[0] if isinstance(wanted, list) and wanted else wanted
        if not isinstance(wanted, str):
            return Response(arguments=described)
        if wanted not in described:
            return Response(Result.EMPTY, f"'{wanted}' command not supported.")
        return Response(arguments={wanted: described[wanted]})

    def _request(self, command: Command) -> tuple[str, Request[object]]:
        if self._daemon is None:
            return self._endpoint.path, GenericRequest(command.name, command.arguments)
        if self._daemon == ALL:
            daemon = route(command)
            return DAEMONS[daemon][0], request_of(daemon, command)
        return self._endpoint.path, request_of(self._daemon, command)

    def _execute(self, service: str, request: Request[object], deadline: float) -> object:
        session = self._session(service, deadline)
        try:
            result = session.execute(request, max(deadline - time.monotonic(), 0.0))
        except CommandError:
            self._keep(service, session)
            raise
        except BaseException:
            session.close()
            raise
        self._keep(service, session)
        return result

    def _session(self, service: str, deadline: float) -> Session:
        session, rested = self._kept.pop(service, (None, 0.0))
        if session is not None:
            if time.monotonic() - rested < IDLE_TIME and session.drain():
                return session
            session.close()
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("no connection in time", endpoint=str(self._endpoint))
        return Session.open(service, timeout=left)

    def _keep(self, service: str, session: Session) -> None:
        if service in _NEVER_KEPT:
            session.close()
        else:
            self._kept[service] = session, time.monotonic()

    def close(self) -> None:
        """Close the connections that are kept."""
        while self._kept:
            _, (session, _) = self._kept.popitem()
            session.close()
