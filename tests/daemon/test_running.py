"""A daemon's life, as a process and inside a program: start, signals, reload, shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import bridle
from bridle.daemon.document import Document
from bridle.testing import elapsed, run
from tests.support.bridle import COMMAND_SECONDS, EmbeddedDaemon, command_line
from tests.support.kea import JSON, ask
from tests.support.kettle import Kettle, SlowKettle, say, served
from tests.support.programs import poll

KETTLE = "tests.support.kettle:Kettle"


def degrees(daemon: EmbeddedDaemon) -> JSON:
    """What the daemon's configuration says now."""
    told = ask(daemon.socket, "config-get")["arguments"]
    assert isinstance(told, dict)
    kettle = told["Kettle"]
    assert isinstance(kettle, dict)
    return kettle["degrees"]


def written(folder: Path, text: str = '{ "Kettle": { "degrees": 80 } }') -> Path:
    """A configuration file."""
    file = folder / "kettle.conf"
    file.write_text(text)
    return file


def process(folder: Path, text: str | None = '{ "Kettle": { "degrees": 80 } }') -> EmbeddedDaemon:
    """A kettle in a process of its own, with a configuration file that holds a text, or without one."""
    return EmbeddedDaemon(KETTLE, folder, configuration=None if text is None else written(folder, text))


def unix(path: Path) -> dict[str, JSON]:
    """A configuration with a control socket."""
    return {"control-socket": {"socket-type": "unix", "socket-name": str(path)}}


# As a process.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(short_path: Path, number: signal.Signals) -> None:
    with process(short_path) as daemon:
        os.kill(daemon.pid, number)
        assert daemon.wait() == 0
        assert sorted(path.suffix for path in short_path.iterdir()) == [".conf", ".err", ".out"]


@pytest.mark.parametrize(("value", "status"), [(None, 0), (3, 3), (-1, 255), (300, 44)])
def test_shutdown_is_answered_before_the_process_exits_with_its_value(
    short_path: Path, value: int | None, status: int
) -> None:
    daemon = process(short_path)
    with contextlib.ExitStack() as stack:
        daemon.start()
        stack.callback(daemon.stop)
        answer = ask(daemon.socket, "shutdown", {} if value is None else {"exit-value": value})
        assert answer == {"result": 0, "text": "Shutting down."}
        assert daemon.wait() == status
    assert not daemon.socket.exists()
    assert not Path(f"{daemon.socket}.lock").exists()
    daemon.check(0)


def test_sighup_reads_the_file_again(short_path: Path) -> None:
    with process(short_path) as daemon:
        written(short_path, '{ "Kettle": { "degrees": 55 } }')
        os.kill(daemon.pid, signal.SIGHUP)
        assert poll(lambda: degrees(daemon) == 55)
        assert poll(lambda: "configuration reloaded" in daemon.stderr)


def test_sighup_with_a_broken_file_is_logged_and_the_old_configuration_goes_on(short_path: Path) -> None:
    with process(short_path) as daemon:
        file = written(short_path, '{ "Kettle": {\n "degrees": "hot" } }')
        os.kill(daemon.pid, signal.SIGHUP)
        assert poll(lambda: "reload failed" in daemon.stderr)
        assert f"{file}:2.13-17" in daemon.stderr
        assert degrees(daemon) == 80


def test_sighup_opens_a_control_socket_again_that_a_command_took_away(short_path: Path) -> None:
    extra = short_path / "extra.sock"
    control = {"control-socket": {"socket-type": "unix", "socket-name": str(extra)}}
    with process(short_path, json.dumps({"Kettle": control})) as daemon:
        assert ask(extra, "config-set", {"Kettle": {}})["result"] == 0
        assert poll(lambda: not extra.exists())
        os.kill(daemon.pid, signal.SIGHUP)
        assert poll(extra.exists)
        assert ask(extra, "repeat", [1]) == {"arguments": 1, "result": 0}


def test_sighup_without_a_file_is_logged(short_path: Path) -> None:
    with process(short_path, None) as daemon:
        os.kill(daemon.pid, signal.SIGHUP)
        assert poll(lambda: "the daemon was started without one" in daemon.stderr)
        assert ask(daemon.socket, "repeat", [1])["result"] == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{ "Kettle": { "bogus": 1 } }', "unsupported global configuration parameter: bogus"),
        ('{ "Kettle": ', "syntax error, unexpected end of file"),
        ('{ "Kettle": { "control-socket": {} } }', "Mandatory 'socket-type' parameter missing"),
        (
            '{ "Kettle": { "control-socket": { "socket-type": "unxi" } } }',
            (
                "Invalid 'socket-type' parameter value unxi; "
                "known are unix, http, https, binrpc, fifo, bngblaster, pacemaker ("
            ),
        ),
        (
            '{ "Kettle": { "control-socket": { "socket-type": "unix", "socket-name": "/no/such/s" } } }',
            "cannot create socket lockfile, /no/such/s.lock, : No such file or directory",
        ),
    ],
)
def test_what_keeps_it_from_starting_is_said_in_one_line(short_path: Path, text: str, says: str) -> None:
    ended = command_line("run", KETTLE, "-c", written(short_path, text), f"unix:{short_path}/s")
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith("Kettle: ")
    assert says in line
    assert not (short_path / "s").exists()


def test_an_exception_nobody_meant_keeps_it_from_starting_too(short_path: Path) -> None:
    program = f"""
import bridle
class Broken(bridle.Daemon):
    def configure(self, configuration):
        raise ValueError("not today")
bridle.run(Broken(), "unix:{short_path}/s")
"""
    ended = python(program)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "Broken: not today"


def python(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    argv = [sys.executable, "-c", program]
    return subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)


def test_a_socket_that_is_in_use_keeps_it_from_starting(short_path: Path) -> None:
    with process(short_path) as daemon:
        ended = command_line("run", KETTLE, daemon.endpoint)
        assert ended.returncode == 1
        assert f"cannot lock socket lockfile, {daemon.socket}.lock" in ended.stderr
        assert ask(daemon.socket, "repeat", [1])["result"] == 0


def test_run_calls_back_once_it_listens_and_runs_on_uvloop_where_that_is_installed(short_path: Path) -> None:
    program = f"""
import asyncio, pathlib, sys, bridle
def ready(running):
    socket = pathlib.Path("{short_path}/s")
    print(socket.exists(), type(asyncio.get_running_loop()).__module__, flush=True)
    running.shut_down(7)
bridle.run(bridle.Daemon(), "unix:{short_path}/s", on_ready=ready)
"""
    ended = python(program)
    assert (ended.returncode, ended.stderr) == (7, "")
    exists, loop = ended.stdout.split()
    assert exists == "True"
    assert loop.split(".")[0] in ("uvloop", "asyncio")


def test_a_second_signal_does_not_wait_for_answers_any_more(short_path: Path) -> None:
    with process(short_path) as daemon, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.socket))
        client.sendall(b'{"command": "brew", "arguments": [20]}')
        # The command before this one has been taken up once this one is answered.
        assert ask(daemon.socket, "repeat", [1])["result"] == 0
        os.kill(daemon.pid, signal.SIGTERM)
        assert poll(lambda: not daemon.socket.exists())
        os.kill(daemon.pid, signal.SIGTERM)
        assert daemon.wait() == 0
        assert "cutting" not in daemon.stderr, "it says so when the seconds of grace are over"


def test_a_signal_while_it_starts_ends_it_in_order(short_path: Path) -> None:
    program = f"""
import asyncio, pathlib, bridle
class Slow(bridle.Daemon):
    async def start(self):
        pathlib.Path("{short_path}/starting").touch()
        await asyncio.sleep(20)
bridle.run(Slow(), "unix:{short_path}/s")
"""
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as starting:
        assert poll((short_path / "starting").exists)
        starting.send_signal(signal.SIGTERM)
        _, errors = starting.communicate(timeout=COMMAND_SECONDS)
    assert (starting.returncode, errors) == (0, "")
    assert [path.name for path in short_path.iterdir()] == ["starting"]


# Inside a program.


def test_start_comes_configured_and_before_the_first_channel_and_stop_after_the_last_answer(
    short_path: Path,
) -> None:
    class Careful(Kettle):
        async def start(self) -> None:
            await super().start()
            assert self.applied == [80]
            assert not (short_path / "kettle.sock").exists()
            assert not (short_path / "s").exists()

        async def stop(self) -> None:
            await super().stop()
            assert not (short_path / "kettle.sock").exists()
            assert not (short_path / "s").exists()

    async def main() -> None:
        daemon = Careful()
        control: JSON = {"socket-type": "unix", "socket-name": f"{short_path}/s"}
        async with served(
            short_path, daemon, configuration={"degrees": 80, "control-socket": control}
        ) as site:
            slow = asyncio.create_task(site.ask("brew", [3]))
            await asyncio.sleep(0.1)
            began = elapsed()
        assert elapsed() - began == pytest.approx(2.9)
        assert (await slow).value == "tea"
        assert daemon.story == ["start", "brewed", "stop"]

    run(main())


def test_what_is_not_answered_in_time_is_cut_at_the_end(short_path: Path) -> None:
    async def main() -> None:
        daemon = Kettle()
        async with served(short_path, daemon) as site:
            slow = asyncio.create_task(say(site.socket, '{"command": "brew", "arguments": [60]}'))
            await asyncio.sleep(0.1)
            began = elapsed()
        assert elapsed() - began == pytest.approx(5), "seconds of grace"
        assert await slow == ""
        assert daemon.story == ["start", "stop"]

    run(main())


def test_a_daemon_that_does_not_stop_is_left_behind(
    short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Restless(Kettle):
        async def stop(self) -> None:
            await asyncio.Event().wait()

    async def main() -> None:
        async with served(short_path, Restless()):
            pass
        assert elapsed() == pytest.approx(30, abs=0.1)

    run(main())
    assert "Restless did not stop in 30.0 s" in caplog.text


@pytest.mark.parametrize("fails", ["the file", "configure"])
def test_a_daemon_that_was_not_started_is_not_stopped(short_path: Path, fails: str) -> None:
    async def main() -> None:
        daemon = Kettle()
        daemon.refuses = lambda degrees: ValueError("no") if fails == "configure" else None
        text = '{ "Kettle": ' if fails == "the file" else None
        with pytest.raises(bridle.ConfigurationError):
            async with served(short_path, daemon, text=text):
                pass
        assert daemon.story == []

    run(main())


def test_a_start_that_fails_is_told_as_it_is(short_path: Path) -> None:
    class Weak(Kettle):
        async def start(self) -> None:
            raise OSError("no power")

    async def main() -> None:
        daemon = Weak()
        with pytest.raises(OSError, match="no power"):
            async with served(short_path, daemon):
                pass
        assert daemon.story == []
        assert not (short_path / "kettle.sock").exists()

    run(main())


def test_an_endpoint_that_cannot_be_opened_stops_what_was_started(short_path: Path) -> None:
    async def main() -> None:
        daemon = Kettle()
        with pytest.raises(bridle.EndpointError, match="none"):
            async with bridle.serve(daemon, f"unix:{short_path}/s", f"unix:{short_path}/none/s"):
                pass
        assert daemon.story == ["start", "stop"]
        assert list(short_path.iterdir()) == []

    run(main())


def test_an_endpoint_that_is_none_is_refused(short_path: Path) -> None:
    async def main(endpoint: str) -> None:
        async with bridle.serve(Kettle(), endpoint):
            pass

    for endpoint in ("nonsense", "unix:", "udp:127.0.0.1:1", f"unix:{short_path}/s?mode=9"):
        with pytest.raises(bridle.EndpointError):
            run(main(endpoint))


def test_an_error_of_the_program_around_it_ends_it_in_order(short_path: Path) -> None:
    async def main() -> None:
        daemon = Kettle()
        with pytest.raises(RuntimeError, match="mine"):
            async with served(short_path, daemon):
                raise RuntimeError("mine")
        assert daemon.story == ["start", "stop"]
        assert not (short_path / "kettle.sock").exists()

    run(main())


def test_a_reload_is_asked_for_and_what_goes_wrong_is_logged(
    short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            site.file.write_text('{ "Kettle": { "degrees": 3 } }')
            site.running.reload()
            await settled(lambda: site.settings.degrees == 3)
            site.file.unlink()
            site.running.reload()
            await settled(lambda: "reload failed" in caplog.text)
            assert site.settings.degrees == 3

    with caplog.at_level(logging.INFO):
        run(main())
    assert "configuration reloaded" in caplog.text


@pytest.mark.parametrize("method", ["check_configuration", "control_channels"])
def test_a_reload_that_meets_a_fault_is_logged_and_the_next_one_is_done(
    short_path: Path, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    class Careless(Kettle):
        tested = False

    def fail(daemon: Careless, document: Document) -> object:
        # Channels are asked for when a configuration is tested, and once more when they are opened.
        if daemon.tested or method == "check_configuration":
            raise KeyError("bug")
        daemon.tested = True
        return ()

    async def main() -> None:
        async with served(short_path, Careless()) as site:
            site.file.write_text('{ "Careless": { "degrees": 3 } }')
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Careless, method, fail)
                site.running.reload()
                await settled(lambda: "reload failed, the previous configuration goes on" in caplog.text)
            assert site.settings.degrees == 90
            site.running.reload()
            await settled(lambda: site.settings.degrees == 3)

    run(main())
    assert any(record.exc_info is not None for record in caplog.records)


async def settled(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds, some virtual seconds at most."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.1)


def test_a_reload_that_is_asked_for_during_another_is_not_lost(short_path: Path) -> None:
    async def main() -> None:
        daemon = SlowKettle()
        async with served(short_path, daemon) as site:
            site.file.write_text('{ "SlowKettle": { "degrees": 1 } }')
            site.running.reload()
            await settled(lambda: daemon.busy == 1)
            site.file.write_text('{ "SlowKettle": { "degrees": 2 } }')
            site.running.reload()
            site.running.reload()
            await settled(lambda: daemon.applied[-1] == 2)
            await asyncio.sleep(10)
            assert daemon.applied == [90, 1, 2], "two that ask while one works are one"

    run(main())


def test_a_daemon_may_end_during_a_reload(short_path: Path) -> None:
    async def main() -> None:
        daemon = SlowKettle()
        async with served(short_path, daemon) as site:
            site.file.write_text('{ "SlowKettle": { "degrees": 1 } }')
            site.running.reload()
            await settled(lambda: daemon.busy == 1)
        assert daemon.busy == 0
        assert daemon.story == ["start", "stop"]

    run(main())


class Completed(SlowKettle):
    """A kettle whose configurations are completed, which takes some seconds."""

    seconds = 0.0

    def complete_configuration(self, document: Document) -> Awaitable[Document]:
        """Take the time."""
        return asyncio.sleep(self.seconds, document)


@pytest.mark.parametrize("seconds", [0, 2])
def test_a_change_that_is_under_way_when_the_daemon_ends_is_done_and_answered(
    short_path: Path, seconds: float
) -> None:
    async def main() -> None:
        daemon = Completed()
        async with served(short_path, daemon, configuration=unix(short_path / "old")) as site:
            daemon.seconds = seconds
            change = asyncio.create_task(site.ask("config-set", {"Completed": unix(short_path / "new")}))
            await asyncio.sleep(0.1)
            late = asyncio.create_task(site.ask("config-set", {"Completed": {"degrees": 1}}))
            await asyncio.sleep(0.1)
        assert elapsed() < 5
        assert ((await change).result, (await change).text) == (0, "Configuration successful.")
        assert (await late).text == "the daemon ends: its configuration is not changed any more"
        assert daemon.applied == [90, 90]
        assert [path.name for path in short_path.iterdir()] == ["kettle.conf"]

    run(main())


@pytest.mark.parametrize("seconds", [0, 60])
def test_a_change_that_takes_too_long_when_the_daemon_ends_is_refused(
    short_path: Path, seconds: float
) -> None:
    async def main() -> None:
        daemon = Completed()
        async with served(short_path, daemon, configuration=unix(short_path / "old")) as site:
            daemon.seconds, daemon.takes = seconds, 60
            change = asyncio.create_task(site.ask("config-set", {"Completed": unix(short_path / "new")}))
            await asyncio.sleep(0.1)
            began = elapsed()
        assert elapsed() - began == pytest.approx(5, abs=0.1), "seconds of grace"
        assert (await change).text == "the daemon ends: its configuration is not changed any more"
        assert daemon.story == ["start", "stop"]
        assert daemon.busy == 0
        assert [path.name for path in short_path.iterdir()] == ["kettle.conf"]

    run(main())


def test_nothing_is_applied_any_more_when_the_daemon_stops(short_path: Path) -> None:
    """A daemon's own tasks, such as one that polls for changes, end with ``stop``."""
    refused: list[str] = []

    class Polling(Completed):
        async def stop(self) -> None:
            await super().stop()
            try:
                await self.refresh()
            except bridle.ConfigurationError as error:
                refused.append(str(error))

    async def main() -> None:
        daemon = Polling()
        async with served(short_path, daemon, configuration=unix(short_path / "old")):
            daemon.seconds = 60
            poll = asyncio.create_task(_refusal(daemon))
            await asyncio.sleep(0.1)
        refused.append(await poll)
        assert daemon.applied == [90]

    async def _refusal(daemon: Polling) -> str:
        try:
            await daemon.refresh()
        except bridle.ConfigurationError as error:
            return str(error)
        return ""

    run(main())
    assert refused == ["the daemon ends: its configuration is not changed any more"] * 2


def test_what_is_there_while_a_daemon_is_served_is_gone_with_it(short_path: Path) -> None:
    class Ending(Kettle):
        async def stop(self) -> None:
            await super().stop()
            self.end(3)

    async def main() -> None:
        daemon = Ending()
        async with served(short_path, daemon):
            await daemon.refresh()
        with pytest.raises(RuntimeError, match="not served"):
            daemon.end(0)
        with pytest.raises(RuntimeError, match="not served"):
            await daemon.refresh()

    run(main())


def test_a_change_that_does_not_listen_is_left_behind(
    short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Deaf(Kettle):
        async def configure(self, configuration: object) -> None:  # type: ignore[override]
            super().configure(configuration)
            until = elapsed() + (20 if len(self.applied) > 1 else 0)
            while elapsed() < until:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(until - elapsed())

    async def main() -> None:
        daemon = Deaf()
        async with served(short_path, daemon, configuration=unix(short_path / "old")) as site:
            change = asyncio.create_task(site.running.owner.change(Document({"Deaf": {"degrees": 1}})))
            await asyncio.sleep(0.1)
        assert elapsed() == pytest.approx(6.1, abs=0.2)
        assert "a change of the configuration does not end" in caplog.text
        with pytest.raises(bridle.ConfigurationError, match="the daemon ends"):
            await change
        assert [path.name for path in short_path.iterdir()] == ["kettle.conf"]

    run(main())


def test_two_daemons_run_in_one_program(short_path: Path) -> None:
    async def main() -> None:
        (short_path / "a").mkdir()
        (short_path / "b").mkdir()
        async with served(short_path / "a") as one, served(short_path / "b") as other:
            await one.ask("config-set", {"Kettle": {"degrees": 1}})
            assert await one.hash() != await other.hash()
            await one.ask("shutdown")
            assert await one.running.wait() == 0
            assert (await other.ask("repeat", [1])).value == 1

    run(main())


def test_who_holds_the_running_daemon_may_change_its_configuration(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            await site.running.owner.change(Document({"Kettle": {"degrees": 8}}))
            assert site.settings.degrees == 8
            assert await site.hash() == site.running.owner.held.hash

    run(main())
