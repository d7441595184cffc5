"""Commands over libqb: a service whose requests a dialect reads, and whose commands somebody executes.

What :mod:`bridle.net.stream` is for streams. A command that has to be awaited holds up those of its own
client alone; one that sends more and more behind it is asked to pause.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from bridle.core.messages import Command, Event, Peer, Response
from bridle.core.results import Result
from bridle.net.answers import CANCELLED, Execute, response_of
from bridle.net.libqb.connection import LINGER, ServerConnection
from bridle.net.libqb.errors import LibqbError
from bridle.net.libqb.outbox import BACKLOG
from bridle.net.libqb.places import PLACES, Places
from bridle.net.libqb.server import CONNECTION_LIMIT, LibqbServer
from bridle.net.libqb.trust import Admission, Choice, Rights, cluster_client, cluster_rights
from bridle.net.stream import QUEUE_LIMIT, Door
from bridle.net.timed import GRACE
from bridle.wire.libqb import DEFAULT_MESSAGE, Channel, Transport
from bridle.wire.libqb_dialect import LibqbDialect, LibqbMessage, Outgoing, Subscription

__all__ = ["EventGate", "LibqbConversation", "LibqbListener"]

_log = logging.getLogger("bridle.net.libqb")


class EventGate(Protocol):
    """Who may be told of events, and of what in them."""

    def subscribe(self, command: Command, /) -> Response:
        """Decide about the command that stands for a subscription: success, or the refusal."""
        ...

    def shown(self, event: Event, peer: Peer, /) -> Event | None:
        """What a peer that has subscribed is told of an event; None: nothing."""
        ...


class _OpenGate:
    """Everybody may be told of everything."""

    def subscribe(self, command: Command, /) -> Response:
        return Response()

    def shown(self, event: Event, peer: Peer, /) -> Event | None:
        return event


class LibqbListener:
    """A service that answers commands, and its clients."""

    def __init__(
        self,
        name: str,
        converse: Callable[[Peer], LibqbDialect],
        execute: Execute,
        *,
        gate: EventGate | None = None,
        transport: Transport | Choice = Transport.SHM,
        admit: Admission = cluster_client,
        rights: Rights = cluster_rights,
        max_message: int = DEFAULT_MESSAGE,
        connection_limit: int = CONNECTION_LIMIT,
        backlog: int = BACKLOG,
        places: Places = PLACES,
    ) -> None:
        """``converse`` begins a conversation with a client; ``gate`` decides who is told of events,
        without it whoever asks is; the others are those of :class:`LibqbServer`.

        Raises:
            EndpointError: the name cannot be one.
        """
        self.converse = converse
        self.execute = execute
        self.gate: EventGate = gate or _OpenGate()
        # In the order in which they came.
        self.connections: dict[LibqbConversation, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = LibqbServer(
            name,
            self._serve,
            transport=transport,
            admit=admit,
            rights=rights,
            max_message=max_message,
            connection_limit=connection_limit,
            backlog=backlog,
            places=places,
        )

    def _serve(self, connection: ServerConnection) -> LibqbConversation:
        conversation = LibqbConversation(self, connection)
        self.connections[conversation] = None
        return conversation

    def use_door(self, door: Door | None) -> None:
        """Ask this about each client that would be served, from the next one on."""
        self._server.door = door

    def forget(self, conversation: LibqbConversation) -> None:
        """A client has gone."""
        self.connections.pop(conversation, None)

    def watch(self, task: asyncio.Task[None]) -> None:
        """Remember a task that works on an answer until it is done."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def busy(self) -> bool:
        """Whether somebody is connected, or an answer is on its way."""
        return bool(self.connections or self._server.connections or self._tasks)

    def start(self) -> None:
        """Listen.

        Raises:
            EndpointError: the name is taken, or cannot be had.
        """
        self._server.start()

    def notify(self, event: Event) -> None:
        """Tell the clients that asked for it and may know of an event."""
        for conversation in tuple(self.connections):
            conversation.notify(event)

    def stop_accepting(self) -> None:
        """Take no new clients; those that are there go on."""
        self._server.stop_accepting()

    async def close(self, grace: float = GRACE) -> None:
        """Take no new clients, deliver the answers in flight, end.

        What is not done after ``grace`` seconds is cut.
        """
        self.stop_accepting()
        for conversation in tuple(self.connections):
            conversation.retire()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in tuple(self._tasks):
            task.cancel()
        await self._server.close(min(grace, LINGER))


class LibqbConversation:
    """One client: its requests become commands, their answers messages."""

    def __init__(self, listener: LibqbListener, connection: ServerConnection) -> None:
        self.connection = connection
        self._listener = listener
        self._dialect = listener.converse(connection.peer)
        self._queue: deque[LibqbMessage] = deque()
        self._task: asyncio.Task[None] | None = None
        self._retiring = False
        self._subscribed = False

    def request_received(self, message: bytes) -> None:
        """Execute what a request comes to, now or behind what is being worked on."""
        self._queue.extend(self._dialect.receive(message))
        if self._task is None:
            self._work()
        elif len(self._queue) > QUEUE_LIMIT:
            self.connection.pause()

    def connection_lost(self, error: LibqbError | None) -> None:
        """What is being worked on is finished all the same, and its answer dropped."""
        self._queue.clear()
        self._listener.forget(self)

    def _work(self) -> None:
        queue, execute = self._queue, self._listener.execute
        while queue:
            message = queue.popleft()
            if isinstance(message, Outgoing):
                self._send((message,))
                continue
            if isinstance(message, Subscription):
                self._subscribe(message.command)
                continue
            try:
                outcome = execute(message)
            except asyncio.CancelledError:  # of what the handler wanted the result of
                outcome = CANCELLED
            if not isinstance(outcome, Response):
                self._task = asyncio.get_running_loop().create_task(self._wait(message, outcome))
                self._listener.watch(self._task)
                return
            self._answer(message, outcome)
        if self._dialect.closing or self._retiring:
            self.connection.close()
        else:
            self.connection.resume()

    async def _wait(self, command: Command, outcome: Awaitable[Response]) -> None:
        try:
            response = await response_of(outcome)
        except asyncio.CancelledError:
            self.connection.abort()
            raise
        self._task = None
        if not self.connection.closed:
            self._answer(command, response)
            self._work()

    def _answer(self, command: Command, response: Response) -> None:
        """Send an answer; where it cannot be written or is too large, an error that says so."""
        try:
            self._send(self._dialect.respond(command, response))
        except Exception as error:
            if not isinstance(error, LibqbError):
                _log.error("the answer to %r cannot be written", command.name, exc_info=error)
            self._apologize(command, Response(Result.ERROR, f"the answer cannot be written: {error}"))

    def _apologize(self, command: Command, response: Response) -> None:
        try:
            self._send(self._dialect.respond(command, response))
        except Exception as error:
            _log.error("nor can the error in its place", exc_info=error)
            self.connection.abort(LibqbError(errno.EIO, "an answer cannot be written"))

    def _subscribe(self, command: Command) -> None:
        response = self._listener.gate.subscribe(command)
        self._subscribed = self._subscribed or not response.result
        self._answer(command, response)

    def notify(self, event: Event) -> None:
        """Tell the client of an event, where it may know of it. That is decided for each event: roles
        change."""
        shown = self._listener.gate.shown(event, self.connection.peer) if self._subscribed else None
        if shown is None:
            return
        try:
            self._send(self._dialect.notify(shown))
        except LibqbError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            _log.error("the event %r is too large for pid %s", event.name, self.connection.peer.pid)

    def _send(self, messages: Sequence[Outgoing]) -> None:
        for message in messages:
            if message.channel is Channel.EVENT:
                self.connection.event(message.data)
            else:
                self.connection.respond(message.data)

    def retire(self) -> None:
        """End as soon as nothing is left to answer."""
        self._retiring = True
        if self._task is None:
            self.connection.close()
