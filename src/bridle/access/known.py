"""What the guard knows of peers that came before, and of their commands: a shorter way for both."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import UNSET

from bridle.access.limits import Turnstile
from bridle.access.roles import Role
from bridle.core.manager import CommandDefinition
from bridle.core.messages import Peer, Response

__all__ = ["Known", "Way"]

# Answers of a command that are remembered, one after the other, before it is known that it gives others.
_MISSES = 16
# Members of the largest answer that is remembered, and characters of its longest text.
_KEPT_MEMBERS = 32
_KEPT_TEXT = 1024
_LASTING = frozenset({str, int, float, bool, type(None)})


class Way(msgspec.Struct, gc=False):
    """What is known of a command that reads, and that a peer may run whatever its arguments. ``origin`` is
    the audit's, for one that has no arguments and addresses no service of its own making; it is empty where
    there is none. ``filters`` says whether answers are filtered, ``mask`` what is done to them where secrets
    are kept from the role and nothing else is. ``clean`` is an answer that holds none: many commands give the
    same one again and again."""

    definition: CommandDefinition | None
    origin: bytes
    filters: bool
    mask: Callable[[Response], Response] | None
    clean: Response | None = None
    misses: int = 0

    def shown(self, response: Response) -> Response:
        """An answer without what is to be masked."""
        if self.mask is None or response == self.clean:
            return response
        masked = self.mask(response)
        if masked is response and self.misses < _MISSES:
            self.misses += 1
            self.clean = _kept(response)
        return masked


class Known:
    """What is known of a peer, or of it and a service: ``peer`` with its role, and its commands."""

    __slots__ = ("peer", "role", "turnstile", "ways")

    def __init__(self, peer: Peer, role: Role | None, turnstile: Turnstile | None) -> None:
        self.peer: Peer = peer
        self.role: Role | None = role
        self.turnstile: Turnstile | None = turnstile
        self.ways: dict[str, Way] = {}


def _kept(response: Response) -> Response | None:
    """An answer as it is now, whatever becomes of it; None for one that is large or has parts of parts."""
    told = response.arguments
    if told is UNSET or (isinstance(told, msgspec.Raw) and len(bytes(told)) <= _KEPT_TEXT):
        return response
    if type(told) is not dict or len(told) > _KEPT_MEMBERS:
        return None
    for value in told.values():
        # What has parts may have others later, and be equal to itself all the same.
        if type(value) not in _LASTING or (isinstance(value, str) and len(value) > _KEPT_TEXT):
            return None
    return msgspec.structs.replace(response, arguments=dict(told))
