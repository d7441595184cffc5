"""The command manager: commands by name, hooks around them, and an answer whatever happens."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import cast

import msgspec
import pytest
from msgspec import UNSET, Raw

import bridle
from bridle.core.errors import ArgumentError, CommandError, DeclarationError, EndpointError
from bridle.core.manager import Access, CommandDefinition, CommandManager, Outcome, command
from bridle.core.messages import JSON, Command, Peer, Response
from bridle.core.results import Result


class Colour(enum.Enum):
    """What a lamp shows."""

    RED = "red"
    GREEN = "green"


class Lamp(msgspec.Struct):
    """A lamp, as an answer."""

    name: str
    colour: Colour = Colour.RED
    seen: dt.datetime | None = None


@pytest.fixture
def manager() -> CommandManager:
    return CommandManager()


def awaited(outcome: Outcome) -> Response:
    """The response, whatever kind of handler gave it."""

    async def wait() -> Response:
        return outcome if isinstance(outcome, Response) else await outcome

    return asyncio.run(wait())


def ask(manager: CommandManager, name: str, body: JSON | Raw = None, peer: Peer | None = None) -> Response:
    """Have a command answered."""
    return awaited(manager.process_command(Command(name, body, peer or Peer())))


def fails() -> None:
    """Fail as a handler with a defect does."""
    raise RuntimeError("the sensor is on fire")


async def fails_later() -> None:
    """Fail after having waited."""
    await asyncio.sleep(0)
    fails()


def test_a_registered_command_is_answered_by_its_handler(manager: CommandManager) -> None:
    definition = manager.register_command("version-get", lambda: "1.0", access="read")

    assert ask(manager, "version-get") == Response(0, None, "1.0")
    assert manager.definition("version-get") is definition
    assert (definition.name, definition.access) == ("version-get", "read")


def test_a_command_may_change_something_unless_it_says_that_it_only_looks(manager: CommandManager) -> None:
    assert manager.register_command("reset", lambda: None).access == "write"


def test_a_name_is_given_once(manager: CommandManager) -> None:
    manager.register_command("twice", lambda: "first")

    with pytest.raises(DeclarationError, match="a handler for 'twice' is already registered"):
        manager.register_command("twice", lambda: "second")
    with pytest.raises(DeclarationError, match="'list-commands' is already registered"):
        manager.register_command("list-commands", lambda: "mine")
    assert ask(manager, "twice").value == "first"


def test_a_command_that_was_forgotten_is_unsupported_and_its_name_is_free(manager: CommandManager) -> None:
    manager.register_command("temporary", lambda: 1)
    manager.deregister_command("temporary")

    assert ask(manager, "temporary").result == Result.UNSUPPORTED
    assert manager.definition("temporary") is None
    manager.register_command("temporary", lambda: 2)
    assert ask(manager, "temporary").value == 2


def test_only_a_command_that_is_there_can_be_forgotten(manager: CommandManager) -> None:
    with pytest.raises(DeclarationError, match="there is no handler for 'nothing'"):
        manager.deregister_command("nothing")


def test_list_commands_stays(manager: CommandManager) -> None:
    with pytest.raises(DeclarationError, match="'list-commands' is built in"):
        manager.deregister_command("list-commands")
    assert ask(manager, "list-commands").value == ["list-commands"]


def test_list_commands_names_all_commands_sorted(manager: CommandManager) -> None:
    for name in ("zebra", "apple", "Mango"):
        manager.register_command(name, lambda: None)

    assert ask(manager, "list-commands") == Response(0, None, ["Mango", "apple", "list-commands", "zebra"])
    assert [definition.name for definition in manager] == ["Mango", "apple", "list-commands", "zebra"]


@pytest.mark.parametrize("body", [{"bogus": 1}, [1, 2], "x", None])
def test_list_commands_ignores_arguments_as_kea_does(manager: CommandManager, body: JSON) -> None:
    assert ask(manager, "list-commands", body).value == ["list-commands"]


def test_list_commands_only_looks(manager: CommandManager) -> None:
    definition = manager.definition("list-commands")
    assert definition is not None
    assert definition.access == "read"


@pytest.mark.parametrize("name", ["", " ", " version", "version ", "version\n"])
def test_a_command_needs_a_name_without_blanks_around_it(manager: CommandManager, name: str) -> None:
    with pytest.raises(DeclarationError, match="a command needs a name"):
        manager.register_command(name, lambda: None)


def test_there_are_two_access_classes(manager: CommandManager) -> None:
    with pytest.raises(DeclarationError, match="x: the access class is 'read' or 'write', not 'admin'"):
        manager.register_command("x", lambda: None, access=cast(Access, "admin"))


def test_a_handler_can_be_called(manager: CommandManager) -> None:
    with pytest.raises(DeclarationError, match="x: the handler cannot be called"):
        manager.register_command("x", cast("Callable[..., object]", "not a function"))


def test_a_registration_that_fails_leaves_nothing(manager: CommandManager) -> None:
    def handler(**options: int) -> None:
        """Take what no command can have."""

    with pytest.raises(DeclarationError):
        manager.register_command("x", handler)
    assert manager.definition("x") is None
    assert ask(manager, "list-commands").value == ["list-commands"]


@pytest.mark.parametrize("name", ["foo", "", "{name}", "'"])
def test_an_unknown_command_is_unsupported(manager: CommandManager, name: str) -> None:
    answer = ask(manager, name)
    assert (answer.result, answer.text) == (Result.UNSUPPORTED, f"'{name}' command not supported.")


def test_the_words_for_an_unknown_command_can_be_chosen() -> None:
    manager = CommandManager(unsupported="what is {name}?")
    answer = ask(manager, "foo")
    assert (answer.result, answer.text) == (Result.UNSUPPORTED, "what is foo?")


def test_a_plain_function_is_answered_in_the_callers_turn(manager: CommandManager) -> None:
    manager.register_command("plain", lambda: 5)
    assert isinstance(manager.process_command(Command("plain")), Response)


def test_a_coroutine_function_is_awaited(manager: CommandManager) -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return number * 2

    manager.register_command("double", double)
    outcome = manager.process_command(Command("double", {"number": 4}))

    assert not isinstance(outcome, Response)
    assert awaited(outcome) == Response(0, None, 8)


def test_a_plain_function_may_return_something_to_wait_for(manager: CommandManager) -> None:
    async def later() -> str:
        return "done"

    manager.register_command("start", lambda: later())
    assert ask(manager, "start").value == "done"


def test_execute_awaits_both_kinds_of_handlers(manager: CommandManager) -> None:
    async def later() -> str:
        return "later"

    manager.register_command("now", lambda: "now")
    manager.register_command("later", later)

    async def both() -> list[JSON]:
        return [(await manager.execute(Command(name))).value for name in ("now", "later")]

    assert asyncio.run(both()) == ["now", "later"]


def test_a_method_and_a_callable_object_are_handlers_as_well(manager: CommandManager) -> None:
    class Counter:
        """Counts."""

        def __init__(self) -> None:
            self.count = 0

        def add(self, step: int = 1) -> int:
            self.count += step
            return self.count

        def __call__(self, step: int) -> int:
            return self.add(step)

    counter = Counter()
    manager.register_command("add", counter.add)
    manager.register_command("call", counter)

    assert ask(manager, "add").value == 1
    assert ask(manager, "call", [10]).value == 11
    assert ask(manager, "call", ["x"]).text == "argument 'step': expected int, got str"


def test_arguments_are_checked_before_the_handler_is_called(
    manager: CommandManager, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[int] = []
    manager.register_command("set", lambda number: called.append(number))

    response = ask(manager, "set", {"nmuber": 1})
    assert (response.result, response.text) == (Result.ERROR, "unknown argument 'nmuber'")
    assert isinstance(response.error, ArgumentError)
    assert called == []
    assert not caplog.records


@pytest.mark.parametrize(
    ("returned", "arguments"),
    [
        ("text", "text"),
        (5, 5),
        (2.5, 2.5),
        (False, False),
        (0, 0),
        ("", ""),
        ([], []),
        ({}, {}),
        ({"a": [1, None]}, {"a": [1, None]}),
        ({1: "one"}, {"1": "one"}),
        (Colour.GREEN, "green"),
        (dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC), "2026-11-20T12:00:00Z"),
        (dt.timedelta(minutes=1), "PT60S"),
        (Lamp("door"), {"name": "door", "colour": "red", "seen": None}),
        (
            [Lamp("door", Colour.GREEN, dt.datetime(2026, 1, 2, tzinfo=dt.UTC))],
            [{"name": "door", "colour": "green", "seen": "2026-01-02T00:00:00Z"}],
        ),
        (b"bytes", "Ynl0ZXM="),
    ],
)
@pytest.mark.parametrize("late", [False, True], ids=["plain", "coroutine"])
def test_what_a_handler_returns_becomes_the_arguments(
    manager: CommandManager, late: bool, returned: object, arguments: JSON
) -> None:
    async def later() -> object:
        return returned

    manager.register_command("get", later if late else lambda: returned)

    response = ask(manager, "get")
    assert response == Response(0, None, arguments)
    assert type(response.arguments) is type(arguments)


def test_a_tuple_is_answered_as_a_list_is(manager: CommandManager) -> None:
    manager.register_command("get", lambda: (1, "two"))
    assert list(cast("list[JSON]", ask(manager, "get").value)) == [1, "two"]


@pytest.mark.parametrize("late", [False, True], ids=["plain", "coroutine"])
def test_a_handler_that_returns_nothing_is_answered_without_arguments(
    manager: CommandManager, late: bool
) -> None:
    async def later() -> None:
        pass

    manager.register_command("do", later if late else lambda: None)
    assert ask(manager, "do") == Response(0, None, UNSET)


@pytest.mark.parametrize("late", [False, True], ids=["plain", "coroutine"])
def test_a_response_is_answered_as_it_is(manager: CommandManager, late: bool) -> None:
    given = Response(Result.EMPTY, "0 IPv4 lease(s) found.", Raw(b'{ "leases": [] }'))

    async def later() -> Response:
        return given

    manager.register_command("get", later if late else lambda: given)
    assert ask(manager, "get") is given


@pytest.mark.parametrize("handler", [fails, fails_later], ids=["plain", "coroutine"])
def test_a_handler_that_raises_is_answered_with_its_message_and_logged_with_its_traceback(
    manager: CommandManager, caplog: pytest.LogCaptureFixture, handler: Callable[[], object]
) -> None:
    manager.register_command("measure", handler)
    manager.register_command("next", lambda: "served")

    assert ask(manager, "measure") == Response(Result.ERROR, "the sensor is on fire")
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("bridle.core", logging.ERROR)
    assert record.getMessage() == "command 'measure' failed: the sensor is on fire"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], RuntimeError)
    assert "in fails" in caplog.text
    assert ask(manager, "next").value == "served"


def test_an_exception_without_a_message_is_answered_with_its_name(
    manager: CommandManager, caplog: pytest.LogCaptureFixture
) -> None:
    def handler() -> None:
        raise KeyError

    manager.register_command("x", handler)
    assert ask(manager, "x") == Response(Result.ERROR, "KeyError")
    assert len(caplog.records) == 1


def test_an_exception_that_cannot_be_written_is_answered_with_its_name(
    manager: CommandManager, caplog: pytest.LogCaptureFixture
) -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    def handler() -> None:
        raise Unspeakable

    manager.register_command("x", handler)
    assert ask(manager, "x") == Response(Result.ERROR, "Unspeakable")
    assert caplog.records[0].getMessage() == "command 'x' failed: Unspeakable"


@pytest.mark.parametrize("returned", [object(), {"a": object()}, {("a", "b"): 1}])
@pytest.mark.parametrize("late", [False, True], ids=["plain", "coroutine"])
def test_a_handler_that_returns_what_has_no_form_on_a_wire_is_answered_with_an_error(
    manager: CommandManager, caplog: pytest.LogCaptureFixture, late: bool, returned: object
) -> None:
    async def later() -> object:
        return returned

    manager.register_command("get", later if late else lambda: returned)

    response = ask(manager, "get")
    assert response.result == Result.ERROR
    assert response.text
    assert len(caplog.records) == 1


@pytest.mark.parametrize("late", [False, True], ids=["plain", "coroutine"])
def test_a_handler_answers_a_result_of_its_choice_with_a_command_error(
    manager: CommandManager, caplog: pytest.LogCaptureFixture, late: bool
) -> None:
    error = CommandError("the subnet is in use", Result.CONFLICT)

    def now() -> None:
        raise error

    async def later() -> None:
        raise error

    manager.register_command("delete", later if late else now)

    response = ask(manager, "delete")
    assert response == Response(Result.CONFLICT, "the subnet is in use", UNSET, error)
    assert not caplog.records


def test_a_command_error_may_bring_a_whole_response(manager: CommandManager) -> None:
    given = Response(Result.EMPTY, "none", {"count": 0})

    def handler() -> None:
        raise CommandError("none", response=given)

    manager.register_command("get", handler)
    assert ask(manager, "get") is given


@pytest.mark.parametrize("late", [False, True], ids=["plain", "coroutine"])
def test_a_handler_may_find_an_argument_wrong(
    manager: CommandManager, caplog: pytest.LogCaptureFixture, late: bool
) -> None:
    error = ArgumentError("argument 'celsius': colder than that it cannot get", argument="celsius")

    def now() -> None:
        raise error

    async def later() -> None:
        raise error

    manager.register_command("set", later if late else now)
    assert ask(manager, "set") == Response(Result.ERROR, error.text, UNSET, error)
    assert not caplog.records


def test_other_errors_of_bridle_are_faults_of_the_handler(
    manager: CommandManager, caplog: pytest.LogCaptureFixture
) -> None:
    def handler() -> None:
        raise EndpointError("no such dialect")

    manager.register_command("x", handler)
    assert ask(manager, "x") == Response(Result.ERROR, "no such dialect")
    assert len(caplog.records) == 1


def test_what_ends_a_task_or_the_process_is_not_held_up(manager: CommandManager) -> None:
    def stop() -> None:
        raise SystemExit(3)

    async def cancelled() -> None:
        raise asyncio.CancelledError

    manager.register_command("stop", stop)
    manager.register_command("cancelled", cancelled)

    with pytest.raises(SystemExit):
        manager.process_command(Command("stop"))
    with pytest.raises(asyncio.CancelledError):
        ask(manager, "cancelled")


def test_a_hook_sees_each_command_before_it_is_done(manager: CommandManager) -> None:
    seen: list[str] = []

    @manager.before_command
    def note(command: Command) -> None:
        seen.append(command.name)

    manager.register_command("known", lambda: len(seen))

    assert ask(manager, "known").value == 1
    assert ask(manager, "unknown").result == Result.UNSUPPORTED
    assert seen == ["known", "unknown"]


def test_a_response_of_a_hook_before_is_the_answer(manager: CommandManager) -> None:
    called: list[str] = []
    manager.register_command("reboot", lambda: called.append("handler"))
    manager.before_command(lambda command: Response(Result.CONFLICT, "not now"))
    manager.before_command(lambda command: called.append("later hook"))

    assert ask(manager, "reboot") == Response(Result.CONFLICT, "not now")
    assert called == []


def test_hooks_before_run_in_the_order_they_were_added(manager: CommandManager) -> None:
    order: list[str] = []
    for name in ("first", "second", "third"):
        manager.before_command(lambda command, name=name: order.append(name))  # type: ignore[misc]
    ask(manager, "list-commands")
    assert order == ["first", "second", "third"]


def test_a_hook_before_that_raises_is_answered_with_an_error_and_the_command_is_not_done(
    manager: CommandManager, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[int] = []

    def broken(command: Command) -> None:
        raise RuntimeError("the hook is broken")

    manager.register_command("x", lambda: called.append(1))
    manager.before_command(broken)

    assert ask(manager, "x") == Response(Result.ERROR, "the hook is broken")
    assert called == []
    assert caplog.records[0].exc_info is not None
    manager.remove_hook(broken)
    assert ask(manager, "x").result == 0


def test_a_hook_before_may_refuse_with_a_command_error(
    manager: CommandManager, caplog: pytest.LogCaptureFixture
) -> None:
    def guard(command: Command) -> None:
        raise CommandError("you may not", Result.ERROR)

    manager.before_command(guard)
    assert ask(manager, "list-commands").text == "you may not"
    assert not caplog.records


@pytest.mark.parametrize("late", [False, True], ids=["plain", "coroutine"])
def test_what_a_hook_after_returns_replaces_the_answer(manager: CommandManager, late: bool) -> None:
    async def later() -> int:
        return 5

    manager.register_command("get", later if late else lambda: 5)

    @manager.command_processed
    def double(command: Command, response: Response) -> Response:
        assert command.name == "get"
        return Response(arguments=cast(int, response.value) * 2)

    assert ask(manager, "get").value == 10


def test_hooks_after_run_in_order_each_on_what_the_one_before_made(manager: CommandManager) -> None:
    manager.register_command("get", lambda: "a")
    manager.command_processed(lambda command, response: Response(arguments=f"{response.value}b"))
    manager.command_processed(lambda command, response: None)
    manager.command_processed(lambda command, response: Response(arguments=f"{response.value}c"))
    assert ask(manager, "get").value == "abc"


def test_hooks_after_see_the_answers_to_unknown_and_failed_commands_and_those_of_hooks(
    manager: CommandManager,
) -> None:
    seen: list[tuple[str, int]] = []
    manager.register_command("fails", fails)
    manager.command_processed(lambda command, response: seen.append((command.name, response.result)))
    manager.before_command(lambda command: Response(9) if command.name == "held" else None)

    for name in ("unknown", "fails", "held"):
        ask(manager, name)
    assert seen == [("unknown", 2), ("fails", 1), ("held", 9)]


@pytest.mark.parametrize("late", [False, True], ids=["plain", "coroutine"])
def test_a_hook_after_that_raises_is_answered_with_an_error_and_hurts_nobody_else(
    manager: CommandManager, caplog: pytest.LogCaptureFixture, late: bool
) -> None:
    async def later() -> int:
        return 1

    def broken(command: Command, response: Response) -> None:
        if command.name == "x":
            raise RuntimeError("the hook is broken")

    manager.register_command("x", later if late else lambda: 1)
    manager.command_processed(broken)

    assert ask(manager, "x") == Response(Result.ERROR, "the hook is broken")
    assert ask(manager, "list-commands").result == 0
    assert len(caplog.records) == 1


def test_a_hook_is_called_no_more_once_it_was_removed(manager: CommandManager) -> None:
    seen: list[str] = []

    def before(command: Command) -> None:
        seen.append("before")

    def after(command: Command, response: Response) -> None:
        seen.append("after")

    manager.before_command(before)
    manager.command_processed(after)
    assert manager.hooked
    ask(manager, "list-commands")
    manager.remove_hook(before)
    ask(manager, "list-commands")
    manager.remove_hook(after)
    ask(manager, "list-commands")

    assert seen == ["before", "after", "after"]
    assert not manager.hooked


def test_to_remove_a_hook_that_is_not_there_changes_nothing(manager: CommandManager) -> None:
    manager.before_command(kept := lambda command: Response(7))
    manager.remove_hook(lambda command: None)
    assert ask(manager, "x").result == 7
    manager.remove_hook(kept)


def test_a_hook_that_removes_itself_does_not_disturb_the_others(manager: CommandManager) -> None:
    seen: list[str] = []

    def once(command: Command) -> None:
        seen.append("once")
        manager.remove_hook(once)

    manager.before_command(once)
    manager.before_command(lambda command: seen.append("always"))
    ask(manager, "list-commands")
    ask(manager, "list-commands")
    assert seen == ["once", "always", "always"]


def test_an_agent_can_ask_the_hooks_about_what_it_does_elsewhere(
    manager: CommandManager, caplog: pytest.LogCaptureFixture
) -> None:
    def guard(command: Command) -> Response | None:
        if command.name == "broken":
            raise RuntimeError("the hook is broken")
        return Response(Result.ERROR, "forbidden") if command.name == "reboot" else None

    manager.before_command(guard)
    manager.command_processed(lambda command, response: Response(response.result, "seen"))

    assert manager.intercept(Command("config-get")) is None
    assert manager.intercept(Command("reboot")) == Response(Result.ERROR, "forbidden")
    assert manager.intercept(Command("broken")) == Response(Result.ERROR, "the hook is broken")
    assert manager.review(Command("config-get"), Response(3)) == Response(3, "seen")
    assert len(caplog.records) == 1


def test_a_definition_tells_name_access_help_arguments_and_result(manager: CommandManager) -> None:
    def set_target(celsius: float, room: str = "hall") -> dict[str, float]:
        """Set the target temperature.

        In degrees Celsius.
        """
        return {room: celsius}

    definition = manager.register_command("set-target", set_target)

    assert definition.summary == "Set the target temperature."
    assert definition.describe() == {
        "name": "set-target",
        "access": "write",
        "summary": "Set the target temperature.",
        "help": "Set the target temperature.\n\nIn degrees Celsius.",
        "arguments": {
            "type": "object",
            "properties": {"celsius": {"type": "number"}, "room": {"type": "string", "default": "hall"}},
            "required": ["celsius"],
            "additionalProperties": False,
        },
        "result": {"type": "object", "additionalProperties": {"type": "number"}},
    }


def test_help_is_told_without_the_markup_of_docstrings(manager: CommandManager) -> None:
    def mend(name: str) -> None:
        """Mend what is ``Stopped``, as :func:`bridle.mend` and :class:`~bridle.Daemon` do."""

    manager.register_command("mend", mend)
    definition = manager.definition("mend")
    assert definition is not None
    assert definition.help == "Mend what is 'Stopped', as 'bridle.mend' and 'bridle.Daemon' do."


def test_a_definition_without_help_and_without_checks_says_so() -> None:
    def handler(command: Command) -> None:
        raise AssertionError

    assert CommandDefinition("x", handler).describe() == {
        "name": "x",
        "access": "write",
        "summary": "",
        "help": "",
        "arguments": None,
    }


def test_each_definition_can_be_written_as_json(manager: CommandManager) -> None:
    def handler(lamp: Lamp, colours: list[Colour] | None = None, *more: bridle.JSON) -> list[Lamp]:
        return [lamp]

    manager.register_command("x", handler)
    assert msgspec.json.encode([definition.describe() for definition in manager])


class Thermostat:
    """A class with commands."""

    @command
    def status_get(self) -> str:
        return "ok"

    @command(access="read")
    def version_get_(self) -> str:
        return "1.0"

    @command("system.reset", access="write")
    def reset(self) -> None: ...

    @command()
    async def _shut_down(self) -> None: ...

    def other(self) -> None: ...


def marks() -> Iterator[tuple[str, object]]:
    for name, attribute in vars(Thermostat).items():
        if callable(attribute) and not name.startswith("__"):
            yield name, getattr(attribute, "__bridle_command__", None)


def test_the_decorator_marks_a_method_with_its_name_on_the_wire_and_its_access_class() -> None:
    assert dict(marks()) == {
        "status_get": ("status-get", "write"),
        "version_get_": ("version-get", "read"),
        "reset": ("system.reset", "write"),
        "_shut_down": ("shut-down", "write"),
        "other": None,
    }


def test_the_decorator_leaves_the_method_as_it_is() -> None:
    assert Thermostat().status_get() == "ok"


def test_commands_do_not_wait_for_one_another(manager: CommandManager) -> None:
    order: list[str] = []

    async def slow(name: str) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        order.append(name)

    manager.register_command("slow", slow)
    manager.register_command("fast", lambda: order.append("fast"))

    async def both() -> None:
        waiting = cast("Awaitable[Response]", manager.process_command(Command("slow", ["slow"])))
        assert isinstance(manager.process_command(Command("fast")), Response)
        await waiting

    asyncio.run(both())
    assert order == ["fast", "slow"]
