"""The class that a program derives from to be managed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

import bridle
from bridle.daemon.document import Document
from bridle.testing import run


class Plain(bridle.Daemon):
    """Has no configuration of its own."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def configure(self, configuration: object) -> None:
        self.seen.append(configuration)

    @bridle.command
    def say_hello(self, name: str = "you") -> str:
        """Say hello."""
        return f"hello, {name}"

    @bridle.command("odd.name", access="read")
    def something(self) -> None:
        """Do nothing."""

    def not_a_command(self) -> None:
        """Cannot be called from outside."""


class Derived(Plain):
    """Changes what it inherits."""

    def say_hello(self, name: str = "there") -> str:
        """Say hi."""
        return f"hi, {name}"

    @bridle.command(access="read")
    def more(self) -> int:
        """Say more."""
        return 5


@dataclass
class Point:
    """What a command answers."""

    x: int
    y: int


def execute(daemon: bridle.Daemon, name: str, arguments: bridle.JSON = None) -> bridle.Response:
    """Have a command answered without any channel."""
    body: bridle.JSON | msgspec.UnsetType = msgspec.UNSET if arguments is None else arguments
    return run(daemon.manager.execute(bridle.Command(name, body)))


def own_commands(daemon: bridle.Daemon) -> dict[str, str]:
    """Names and access classes of a daemon that is not served yet."""
    return {one.name: one.access for one in daemon.manager if one.name != "list-commands"}


def test_marked_methods_are_its_commands() -> None:
    assert own_commands(Plain()) == {"say-hello": "write", "odd.name": "read"}


def test_a_subclass_need_not_call_its_base_s_constructor() -> None:
    assert execute(Plain(), "say-hello", ["Amy"]).value == "hello, Amy"


def test_a_constructor_may_take_what_it_likes() -> None:
    class Named(Plain):
        def __init__(self, name: str, *, loud: bool) -> None:
            super().__init__()
            self.name = name.upper() if loud else name

        @bridle.command(access="read")
        def name_get(self) -> str:
            """Tell the name."""
            return self.name

    assert execute(Named("amy", loud=True), "name-get").value == "AMY"


def test_a_method_that_is_overridden_stays_a_command() -> None:
    assert own_commands(Derived()) == {"say-hello": "write", "odd.name": "read", "more": "read"}
    assert execute(Derived(), "say-hello").value == "hi, there"
    assert execute(Plain(), "say-hello").value == "hello, you"


def test_a_method_that_is_marked_anew_gets_its_new_name() -> None:
    class Renamed(Plain):
        @bridle.command("greet", access="read")
        def say_hello(self, name: str = "x") -> str:
            """Greet."""
            return name

    assert own_commands(Renamed()) == {"greet": "read", "odd.name": "read"}


def test_two_daemons_of_a_class_share_nothing() -> None:
    one, other = Plain(), Plain()
    one.manager.register_command("extra", lambda: 1)
    one.events.publish("begun")
    assert "extra" not in own_commands(other)
    assert other.events.last == 0


def test_two_commands_of_one_name_are_refused_when_it_is_made() -> None:
    class Twice(bridle.Daemon):
        @bridle.command("same")
        def one(self) -> None:
            """One."""

        @bridle.command("same")
        def other(self) -> None:
            """Other."""

    with pytest.raises(bridle.DeclarationError, match="'same' is already registered"):
        Twice()


def test_a_daemon_s_own_command_stands_in_a_common_command_s_place(short_path: Path) -> None:
    class Own(bridle.Daemon):
        @bridle.command("config-get")
        def mine(self) -> str:
            """Mine."""
            return "mine"

    async def main() -> None:
        daemon = Own()
        for _ in range(2):  # and a daemon may be served again
            where = f"unix:{short_path}/s"
            async with bridle.serve(daemon, where), bridle.connect_async(where) as client:
                assert await client.call("config-get") == "mine"
                assert await client.call("config-hash-get") is not None

    run(main())


def test_the_root_is_the_class_s_name_unless_it_says_otherwise() -> None:
    class Other(bridle.Daemon):
        root = "Kitchen"

    class Below(Other):
        pass

    assert (Plain.root, Derived.root, Other.root, Below.root) == ("Plain", "Derived", "Kitchen", "Below")


def test_without_a_schema_any_configuration_is_taken(short_path: Path) -> None:
    async def main() -> None:
        daemon = Plain()
        assert daemon.configuration == {}
        async with bridle.serve(daemon, f"unix:{short_path}/s") as running:
            wanted: dict[str, bridle.JSON] = {"a": [1, {"b": None}], "comment": "the kit's own"}
            await running.owner.change(Document({"Plain": wanted}))
            assert daemon.seen == [{}, {"a": [1, {"b": None}]}]
            assert daemon.configuration == daemon.seen[-1]
            assert running.owner.held.value == wanted

    run(main())


def test_with_a_schema_there_is_no_configuration_before_the_first() -> None:
    class Typed(bridle.Daemon):
        class Configuration(msgspec.Struct):
            depth: int = 1

    daemon = Typed()
    assert daemon.configuration is None
    settings = daemon.check_configuration(Document({"Typed": {"depth": 3}}))
    assert settings == Typed.Configuration(3)
    assert daemon.configuration is None, "a check has no effect"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({}, "Missing mandatory 'Plain' parameter."),
        ({"Plain": None}, "'Plain' parameter expected to be a map."),
        ({"Plain": []}, "'Plain' parameter expected to be a map."),
    ],
)
def test_a_document_without_its_map_is_refused(value: dict[str, bridle.JSON], says: str) -> None:
    with pytest.raises(bridle.ConfigurationError) as caught:
        Plain().check_configuration(Document(value))
    assert str(caught.value) == says


def test_configure_may_be_a_coroutine_function(short_path: Path) -> None:
    class Slow(bridle.Daemon):
        class Configuration(msgspec.Struct):
            depth: int = 1

        async def configure(self, configuration: object) -> None:
            assert self.configuration is None, "it holds only when it is done"
            await asyncio.sleep(5)

    async def main() -> None:
        daemon = Slow()
        async with bridle.serve(daemon, f"unix:{short_path}/s"):
            assert daemon.configuration == Slow.Configuration(1)

    run(main())


def test_answers_are_made_of_whatever_msgspec_knows() -> None:
    class Shapes(bridle.Daemon):
        @bridle.command(access="read")
        def points(self) -> dict[int, list[Point]]:
            """List points."""
            return {1: [Point(1, 2)]}

    assert execute(Shapes(), "points").value == {"1": [{"x": 1, "y": 2}]}


def test_an_error_in_a_handler_is_answered_and_disturbs_nobody(short_path: Path) -> None:
    class Clumsy(bridle.Daemon):
        @bridle.command
        def fall(self) -> None:
            """Fall."""
            raise RuntimeError("ouch")

        @bridle.command
        async def stumble(self) -> None:
            """Stumble."""
            raise bridle.CommandError("oops", bridle.Result.CONFLICT)

    async def main() -> None:
        where = f"unix:{short_path}/s"
        async with bridle.serve(Clumsy(), where), bridle.connect_async(where) as client:
            for name, result, text in (("fall", 1, "ouch"), ("stumble", 4, "oops"), ("fall", 1, "ouch")):
                answer = await client.execute(name)
                assert (answer.result, answer.text) == (result, text)

    run(main())


def test_a_handler_is_told_who_asks(short_path: Path) -> None:
    class Curious(bridle.Daemon):
        @bridle.command(access="read")
        def who(self, peer: bridle.Peer) -> dict[str, bridle.JSON]:
            """Tell who asks."""
            return {"transport": peer.transport, "uid": peer.uid, "address": peer.address}

    async def main() -> None:
        where = f"unix:{short_path}/s"
        async with bridle.serve(Curious(), where), bridle.connect_async(where) as client:
            told = await client.call("who")
            uid = (short_path / "s").stat().st_uid
            assert told == {"transport": "unix", "uid": uid, "address": f"{short_path}/s"}

    run(main())


def test_it_may_have_a_banner_and_a_status_of_its_own() -> None:
    assert Plain().status() == {}
    assert Plain().banner == "Plain, managed by Bridle. Commands are POSTed here as application/json.\n"
    assert Plain().http_answer is None
