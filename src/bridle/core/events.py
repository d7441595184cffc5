"""Numbered events with a bounded memory, so that a reader who was away can resume or learn that it cannot."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from bridle.core.errors import BridleError
from bridle.core.messages import JSON, Event

__all__ = ["HISTORY", "EventLog", "Gap"]

# About a day of a chatty daemon's state changes; at some hundred bytes each it stays well under a megabyte.
HISTORY = 1000

Listener = Callable[[Event], None]


class Gap(BridleError, LookupError):
    """The events that a reader asks for are gone. ``oldest`` is the first one still remembered."""

    def __init__(self, wanted: int, oldest: int) -> None:
        super().__init__(f"event {wanted} is no longer remembered; the oldest is {oldest}")
        self.wanted = wanted
        self.oldest = oldest


class EventLog:
    """Publishes events to listeners, in order, and remembers the last ``history`` of them."""

    def __init__(self, history: int = HISTORY) -> None:
        self._events: deque[Event] = deque(maxlen=history)
        self._listeners: dict[object, Listener] = {}
        self._sequence = 0

    @property
    def last(self) -> int:
        """The sequence number of the newest event; 0 before the first."""
        return self._sequence

    def publish(self, name: str, data: JSON = None) -> Event:
        """Number an event, remember it, and hand it to every listener.

        A listener must not raise; it is called in the publisher's turn and must not wait.
        """
        self._sequence += 1
        event = Event(self._sequence, name, data)
        self._events.append(event)
        for listener in tuple(self._listeners.values()):
            listener(event)
        return event

    def since(self, sequence: int) -> Sequence[Event]:
        """The events after ``sequence``, oldest first.

        Raises:
            Gap: some of them are no longer remembered.
        """
        missing = self._sequence - sequence
        if missing > len(self._events):
            oldest = self._events[0].sequence if self._events else self._sequence + 1
            raise Gap(sequence + 1, oldest)
        return list(self._events)[len(self._events) - missing :] if missing > 0 else []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` for every event from now on. Returns a function that ends it."""
        subscription = object()
        self._listeners[subscription] = listener

        def unsubscribe() -> None:
            self._listeners.pop(subscription, None)

        return unsubscribe
