"""What a channel is: a dialect on an endpoint, listening."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

from bridle.core.messages import Command
from bridle.net.endpoint import Endpoint
from bridle.net.timed import GRACE

if TYPE_CHECKING:
    import ssl

    from bridle.access.basic import BasicAuthentication
    from bridle.core.messages import Peer
    from bridle.net.stream import Door
    from bridle.wire.http import HttpRequest, HttpResponse, HttpStream

__all__ = ["GRACE", "Answer", "Channel", "HttpSettings", "Pages", "shut"]

Answer: TypeAlias = "Callable[[Command], HttpResponse | Awaitable[HttpResponse]]"


def shut(peer: Peer) -> str:
    """The door of a channel that lets nobody in yet."""
    return "nobody is let in yet: the configuration is being changed"


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a channel needs besides its address: on streams ``tls``, the rest is HTTP's. ``headers`` go into
    every answer. ``allowed_hosts`` are names of the listener besides its own, ``allowed_origins`` the sites
    whose pages may send commands. What other machines can reach lets nobody in without authentication, and
    takes no passwords in clear text, unless that is said to be allowed."""

    tls: ssl.SSLContext | None = None
    authentication: BasicAuthentication | None = None
    headers: tuple[tuple[str, str], ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    allow_unauthenticated: bool = False
    allow_clear_text: bool = False


class Pages(Protocol):
    """What an HTTP channel serves besides commands."""

    def serves(self, target: str) -> bool:
        """Whether a request for this target is no command."""
        ...

    def answer(self, request: HttpRequest, peer: Peer) -> Awaitable[HttpResponse | HttpStream]:
        """Answer a request from somebody who may command."""
        ...


class Channel(Protocol):
    """A dialect on an endpoint, listening."""

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens; the port is the real one."""
        ...

    @property
    def exposed(self) -> bool:
        """Whether other machines can reach it."""
        ...

    @property
    def busy(self) -> bool:
        """Whether somebody is connected, or an answer is on its way."""
        ...

    def update(self, settings: HttpSettings) -> None:
        """Use other settings for the requests and the TLS handshakes to come."""
        ...

    def learn_groups(self) -> None:
        """Let those who are connected have their unix groups, which nobody had asked for."""
        ...

    def hold(self) -> None:
        """Let nobody in before :meth:`use_door` is called."""
        ...

    def use_door(self, door: Door | None) -> None:
        """Ask this, where there is one, whether a peer may connect, from the next connection on."""
        ...

    def retire(self) -> None:
        """Take no new connections; those that are open go on until they end by themselves."""
        ...

    async def close(self, grace: float = GRACE) -> None:
        """Take no new connections, deliver the answers in flight within ``grace`` seconds, end."""
        ...
