"""Numbered events with a bounded memory."""

from __future__ import annotations

import pytest

from bridle.core.errors import BridleError
from bridle.core.events import HISTORY, EventLog, Gap
from bridle.core.messages import Event


def filled(count: int, history: int = HISTORY) -> EventLog:
    """A log in which ``count`` events were published."""
    log = EventLog(history)
    for number in range(1, count + 1):
        log.publish("state", {"number": number})
    return log


def sequences(log: EventLog, after: int) -> list[int]:
    return [event.sequence for event in log.since(after)]


def test_events_are_numbered_from_one_without_gaps() -> None:
    log = EventLog()
    assert log.last == 0
    published = [log.publish(name) for name in ("up", "down", "up")]
    assert [event.sequence for event in published] == [1, 2, 3]
    assert log.last == 3


def test_an_event_has_a_name_and_data() -> None:
    event = EventLog().publish("lease", {"address": "192.0.2.1"})
    assert event == Event(1, "lease", {"address": "192.0.2.1"})
    assert EventLog().publish("tick").data is None


def test_listeners_are_given_every_event_in_order() -> None:
    log = EventLog()
    first: list[Event] = []
    second: list[Event] = []
    log.publish("before anybody listens")
    log.subscribe(first.append)
    one = log.publish("one")
    log.subscribe(second.append)
    two = log.publish("two")

    assert first == [one, two]
    assert second == [two]


def test_a_listener_is_given_the_event_in_the_publishers_turn_when_it_is_remembered_already() -> None:
    log = EventLog()
    seen: list[list[int]] = []
    log.subscribe(lambda event: seen.append(sequences(log, 0)))
    log.publish("one")
    log.publish("two")
    assert seen == [[1], [1, 2]]


def test_a_reader_resumes_behind_what_it_has_seen() -> None:
    log = filled(5)
    assert sequences(log, 0) == [1, 2, 3, 4, 5]
    assert sequences(log, 3) == [4, 5]
    assert sequences(log, 4) == [5]
    assert sequences(log, 5) == []
    assert [event.data for event in log.since(4)] == [{"number": 5}]


def test_nothing_was_missed_of_a_log_without_events() -> None:
    assert sequences(EventLog(), 0) == []


def test_what_was_returned_does_not_grow() -> None:
    log = filled(1)
    events = log.since(0)
    log.publish("two")
    assert len(events) == 1


def test_the_memory_is_bounded_and_keeps_the_newest() -> None:
    log = filled(10, history=3)
    assert log.last == 10
    assert sequences(log, 7) == [8, 9, 10]


def test_a_reader_who_was_away_for_too_long_learns_so() -> None:
    log = filled(10, history=3)
    for after in (0, 5, 6):
        with pytest.raises(Gap) as caught:
            log.since(after)
        assert (caught.value.wanted, caught.value.oldest) == (after + 1, 8)
    assert str(caught.value) == "event 7 is no longer remembered; the oldest is 8"
    assert sequences(log, caught.value.oldest - 1) == [8, 9, 10]


def test_a_log_without_memory_still_numbers_and_publishes() -> None:
    log = EventLog(history=0)
    seen: list[Event] = []
    log.subscribe(seen.append)
    log.publish("one")

    assert [event.sequence for event in seen] == [1]
    assert sequences(log, 1) == []
    with pytest.raises(Gap) as caught:
        log.since(0)
    assert caught.value.oldest == 2


def test_the_memory_is_a_thousand_events_unless_asked_otherwise() -> None:
    assert HISTORY == 1000
    log = EventLog()
    for _ in range(HISTORY + 1):
        log.publish("tick")
    assert len(log.since(1)) == HISTORY
    with pytest.raises(Gap):
        log.since(0)


def test_a_gap_is_one_of_bridles_errors_and_a_lookup_error() -> None:
    assert issubclass(Gap, BridleError)
    assert issubclass(Gap, LookupError)


def test_a_listener_that_unsubscribed_is_given_nothing_more() -> None:
    log = EventLog()
    seen: list[int] = []
    unsubscribe = log.subscribe(lambda event: seen.append(event.sequence))
    log.publish("one")
    unsubscribe()
    log.publish("two")
    assert seen == [1]


def test_to_unsubscribe_twice_ends_no_other_subscription() -> None:
    log = EventLog()
    seen: list[Event] = []
    first = log.subscribe(seen.append)
    second = log.subscribe(seen.append)
    log.publish("one")
    first()
    first()
    log.publish("two")
    assert [event.sequence for event in seen] == [1, 1, 2]
    second()
    log.publish("three")
    assert len(seen) == 3


def test_listeners_may_come_and_go_while_an_event_is_published() -> None:
    log = EventLog()
    seen: list[str] = []

    def once(event: Event) -> None:
        seen.append(f"once {event.sequence}")
        unsubscribe()
        log.subscribe(lambda event: seen.append(f"new {event.sequence}"))

    unsubscribe = log.subscribe(once)
    log.subscribe(lambda event: seen.append(f"other {event.sequence}"))
    log.publish("one")
    log.publish("two")
    assert seen == ["once 1", "other 1", "other 2", "new 2"]
