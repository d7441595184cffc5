"""Values with samples, in Kea's shape and words."""

from __future__ import annotations

import re

import pytest

import bridle
from bridle.daemon.statistics import Statistics


class Clock:
    now = 1_700_000_000.25

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def statistics(clock: Clock) -> Statistics:
    return Statistics(clock)


def asked(statistics: Statistics, name: str, arguments: bridle.JSON = None) -> bridle.Response:
    manager = bridle.CommandManager()
    statistics.register(manager)
    command = bridle.Command(name) if arguments is None else bridle.Command(name, arguments)
    answer = manager.process_command(command)
    assert isinstance(answer, bridle.Response)
    return answer


def samples(statistics: Statistics, name: str) -> list[object]:
    value = asked(statistics, "statistic-get", {"name": name}).value
    assert isinstance(value, dict)
    found = value[name]
    assert isinstance(found, list)
    return [one[0] for one in found if isinstance(one, list)]


def test_each_change_is_a_sample_the_newest_first(statistics: Statistics, clock: Clock) -> None:
    statistics.add("received")
    clock.now += 1
    statistics.add_many({"received": 4, "sent": 2})
    told = asked(statistics, "statistic-get-all").value
    assert isinstance(told, dict)
    assert samples(statistics, "received") == [5, 1]
    [[value, stamp]] = told["sent"]  # type: ignore[misc, union-attr]
    assert value == 2
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.250000", str(stamp))
    statistics.add("sent", 0)
    assert samples(statistics, "sent") == [2], "no change, no sample"


def test_twenty_samples_are_kept_unless_another_number_is_asked_for(statistics: Statistics) -> None:
    for _ in range(30):
        statistics.add("a")
    assert samples(statistics, "a") == list(range(30, 10, -1))
    assert asked(statistics, "statistic-sample-count-set", {"name": "a", "max-samples": 2}).result == 0
    assert samples(statistics, "a") == [30, 29]
    asked(statistics, "statistic-sample-count-set-all", {"max-samples": 3})
    for _ in range(9):
        statistics.add("b")
    assert samples(statistics, "b") == [9, 8, 7]


def test_samples_may_be_kept_for_a_time(statistics: Statistics, clock: Clock) -> None:
    statistics.add("a")
    asked(statistics, "statistic-sample-age-set", {"name": "a", "duration": 10})
    for _ in range(30):
        clock.now += 1
        statistics.add("a")
    assert samples(statistics, "a") == list(range(31, 20, -1))


def test_reset_and_removal(statistics: Statistics) -> None:
    statistics.set("name", "text")
    statistics.add("a", 5)
    assert asked(statistics, "statistic-reset", {"name": "a"}).text == "Statistic 'a' reset."
    assert samples(statistics, "a") == [0]
    asked(statistics, "statistic-reset-all")
    assert samples(statistics, "name") == [""]
    assert asked(statistics, "statistic-remove", {"name": "a"}).text == "Statistic 'a' removed."
    assert asked(statistics, "statistic-get", {"name": "a"}).value == {}
    statistics.add("subnet[1].x")
    statistics.add("subnet[11].x")
    statistics.remove_prefix("subnet[1].")
    assert "subnet[1].x" not in statistics
    assert "subnet[11].x" in statistics
    assert asked(statistics, "statistic-remove-all").result == 0
    assert asked(statistics, "statistic-get-all").value == {}


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("statistic-get", None, "Missing mandatory 'name' parameter."),
        ("statistic-get", {"name": 5}, "'name' parameter expected to be a string."),
        ("statistic-reset", {"name": "nope"}, "No 'nope' statistic found"),
        ("statistic-remove", {"name": "nope"}, "No 'nope' statistic found"),
        ("statistic-sample-age-set", {"name": "a"}, "Missing mandatory 'duration' parameter."),
        ("statistic-sample-age-set", {"name": "nope", "duration": 5}, "No 'nope' statistic found"),
        ("statistic-sample-count-set", {"name": "a"}, "Missing mandatory 'max-samples' parameter."),
        ("statistic-sample-count-set-all", {"max-samples": 0}, "'max-samples' parameter must not be zero"),
        (
            "statistic-sample-count-set-all",
            {"max-samples": "5"},
            "'max-samples' parameter expected to be an integer.",
        ),
    ],
)
def test_wrong_arguments(statistics: Statistics, name: str, arguments: bridle.JSON, text: str) -> None:
    statistics.add("a")
    answer = asked(statistics, name, arguments)
    assert (answer.result, answer.text) == (1, text)
