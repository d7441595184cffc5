"""The examples: the two daemons, and the small site that ``python -m examples`` runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import bridle
from bridle.testing import elapsed
from examples.job_queue import JobQueue
from examples.thermostat import Thermostat
from tests.support.bridle import COMMAND_SECONDS, bridle_environment, command_line
from tests.support.kea import listens
from tests.support.loops import on_virtual_clock
from tests.support.programs import ROOT, STOP_SECONDS, free_port, poll

JSON = bridle.JSON


@contextlib.asynccontextmanager
async def served(
    daemon: bridle.Daemon, folder: Path, **configuration: JSON
) -> AsyncIterator[bridle.AsyncClient]:
    """A client of an example daemon that is served from a configuration file."""
    file = folder / "example.conf"
    keys = {key.replace("_", "-"): value for key, value in configuration.items()}
    file.write_text(json.dumps({daemon.root: keys}))
    endpoint = f"unix:{folder}/s"
    async with bridle.serve(daemon, endpoint, configuration_file=str(file)):
        client = bridle.connect_async(endpoint, timeout=600)
        try:
            yield client
        finally:
            await client.close()


# The thermostat.


@on_virtual_clock
async def test_the_thermostat_heats_until_the_room_is_warm(short_path: Path) -> None:
    async with served(Thermostat(), short_path, room=15, rate=0.5) as client:
        assert await client.call("temperature-get") == {"room": 15, "target": 20}
        assert await client.call("set-target", {"celsius": 17.25}) == {"target": 17.25}
        assert await client.call("wait-for-target") == {"room": 17.25}
        assert elapsed() == pytest.approx(5, abs=0.5)
        assert await client.call("set-target", [16]) == {"target": 16}
        assert await client.call("wait-for-target", {"max-period": 10}) == {"room": 16}
        assert await client.call("wait-for-target") == {"room": 16}, "it is so already"


@on_virtual_clock
async def test_the_thermostat_waits_no_longer_than_it_is_told(short_path: Path) -> None:
    async with served(Thermostat(), short_path) as client:
        answer = await client.execute("wait-for-target", {"max-period": 2})
        assert (answer.result, answer.text) == (bridle.Result.CONFLICT, "the room is not there yet")
        assert elapsed() == pytest.approx(2, abs=0.1)


@on_virtual_clock
async def test_the_thermostat_refuses_what_is_no_temperature_for_a_room(short_path: Path) -> None:
    async with served(Thermostat(), short_path) as client:
        answer = await client.execute("set-target", [60.5])
        assert (answer.result, answer.text) == (1, "60.5 is out of range: -30 to 60")
        answer = await client.execute("set-target", ["warm"])
        assert str(answer.text).startswith("argument 'celsius': expected float, got str (<wire>:0:")
        answer = await client.execute("config-set", {"Thermostat": {"target": 99}})
        assert answer.result == 1
        assert re.fullmatch(r"target must lie between -30 and 60 \(<wire>:0:\d+\)", str(answer.text))
        assert await client.call("temperature-get") == {"room": 15, "target": 20}


@on_virtual_clock
async def test_the_thermostat_takes_a_new_configuration_and_the_room_stays_as_it_is(short_path: Path) -> None:
    async with served(Thermostat(), short_path) as client:
        await client.call("config-set", {"Thermostat": {"target": 5, "room": 30}})
        assert await client.call("temperature-get") == {"room": 15, "target": 5}


# The job queue.


@on_virtual_clock
async def test_the_queue_works_off_jobs_one_after_another(short_path: Path) -> None:
    async with served(JobQueue(), short_path) as client:
        first = await client.call("job-add", {"name": "dig", "seconds": 10})
        assert first == {"id": 1, "name": "dig", "seconds": 10, "state": "waiting"}
        second = await client.call("job-add", ["fill"])
        assert second == {"id": 2, "name": "fill", "seconds": 1, "state": "waiting"}
        for state, after in (("running", 0.5), ("done", 10)):
            await asyncio.sleep(after)
            jobs = await client.call("job-list")
            assert isinstance(jobs, list)
            assert isinstance(jobs[0], dict)
            assert jobs[0]["state"] == state
        await asyncio.sleep(1)
        status = await client.call("status-get")
        assert isinstance(status, dict)
        assert status["jobs"] == {"waiting": 0, "running": 0, "done": 2, "cancelled": 0}


@on_virtual_clock
async def test_the_queue_lists_jobs_by_their_state(short_path: Path) -> None:
    async with served(JobQueue(), short_path, working=False) as client:
        for name in ("a", "b"):
            await client.call("job-add", [name])
        await client.call("job-cancel", {"id": 1})
        waiting = await client.call("job-list", {"state": "waiting"})
        assert waiting == [{"id": 2, "name": "b", "seconds": 1, "state": "waiting"}]
        answer = await client.execute("job-list", {"state": "lost"})
        assert answer.result == 1
        assert "argument 'state': invalid enum value 'lost'" in str(answer.text)


@on_virtual_clock
async def test_a_job_that_is_cancelled_is_not_done(short_path: Path) -> None:
    async with served(JobQueue(), short_path) as client:
        await client.call("job-add", ["a", 5])
        await client.call("job-add", ["b", 5])
        await asyncio.sleep(1)
        for number in (1, 2):
            cancelled = await client.call("job-cancel", [number])
            assert isinstance(cancelled, dict)
            assert cancelled["state"] == "cancelled"
        await asyncio.sleep(20)
        jobs = await client.call("job-list")
        assert isinstance(jobs, list)
        assert {job["state"] for job in jobs if isinstance(job, dict)} == {"cancelled"}


@on_virtual_clock
async def test_the_queue_s_results_say_what_is_wrong(short_path: Path) -> None:
    async with served(JobQueue(), short_path, max_waiting=1) as client:
        await client.call("job-add", ["a", 100])
        await asyncio.sleep(1)
        await client.call("job-add", ["b"])
        answer = await client.execute("job-add", ["c"])
        assert (answer.result, answer.text) == (4, "the queue is full: 1 jobs wait")
        answer = await client.execute("job-cancel", [7])
        assert (answer.result, answer.text) == (3, "there is no job 7")
        await asyncio.sleep(200)
        answer = await client.execute("job-cancel", [1])
        assert (answer.result, answer.text) == (4, "job 1 is done")


@on_virtual_clock
async def test_the_queue_can_be_stopped_and_started_by_its_configuration(short_path: Path) -> None:
    async with served(JobQueue(), short_path, working=False) as client:
        await client.call("job-add", ["a"])
        await asyncio.sleep(100)
        jobs = await client.call("job-list", {"state": "waiting"})
        assert isinstance(jobs, list)
        assert len(jobs) == 1
        await client.call("config-set", {"JobQueue": {"working": True}})
        await asyncio.sleep(2)
        jobs = await client.call("job-list", {"state": "done"})
        assert isinstance(jobs, list)
        assert len(jobs) == 1, "and the job is still there"


@pytest.mark.parametrize("name", ["thermostat:Thermostat", "job_queue:JobQueue"])
def test_an_example_says_what_is_wrong_with_its_configuration(tmp_path: Path, name: str) -> None:
    root = name.partition(":")[2]
    file = tmp_path / "wrong.conf"
    file.write_text(f'{{ "{root}": {{ "bogus": 1 }} }}')
    ended = command_line("run", f"examples.{name}", "-c", file, f"unix:{tmp_path}/s")
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"{root}: unsupported global configuration parameter: bogus ({file}:1.")


# The site.


class Site:
    """``python -m examples --port PORT``, in a session of its own as a terminal's foreground job."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self.folder = folder
        self.said = ""
        variables = {**bridle_environment(), "TMPDIR": str(folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "examples", "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=variables,
            start_new_session=True,
        )

    def read(self) -> None:
        """Read what it prints, until it has printed all or ends."""
        assert self.process.stdout is not None
        watch = threading.Timer(COMMAND_SECONDS, self.process.kill)
        watch.start()
        try:
            for line in self.process.stdout:
                self.said += line
                if "Ctrl-C" in line:
                    break
        finally:
            watch.cancel()

    @property
    def commands(self) -> list[str]:
        """The command lines that it prints to try."""
        joined = self.said.replace("\\\n", " ")
        return [" ".join(line.split()) for line in joined.splitlines() if line.startswith("  ")]

    def run(self, command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run one of its command lines, as one would from the same folder."""
        return subprocess.run(
            shlex.split(command),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            cwd=ROOT,
            env=bridle_environment(),
            check=False,
        )

    def press_ctrl_c(self) -> None:
        """Interrupt it as a terminal does: the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Wait for its end; the exit status, and what it said on standard error."""
        _, errors = self.process.communicate(timeout=COMMAND_SECONDS)
        return self.process.returncode, errors

    @property
    def children(self) -> list[int]:
        """The processes that work for it."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if str(self.folder) in (entry / "cmdline").read_text(errors="replace"):
                    found.append(int(entry.name))
        return found

    def has_taken_the_signal(self) -> bool:
        """Whether it waits again, with no signal pending."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return "State:\tS" in status and "ShdPnd:\t0000000000000000" in status

    def has_left_nothing(self) -> bool:
        """Whether no process, no file and no listener is left of it."""
        return not self.children and not list(self.folder.iterdir()) and not listens(self.port)


@pytest.fixture
def site(short_path: Path) -> Iterator[Site]:
    """A site that is starting, on a free port."""
    started = Site(free_port(), short_path)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.terminate()
        try:
            started.process.communicate(timeout=COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            started.process.kill()
            started.process.communicate(timeout=STOP_SECONDS)


@pytest.mark.timeout(60)
def test_the_site_prints_commands_that_work_and_ends_with_ctrl_c(site: Site) -> None:
    site.read()
    assert f"The agent listens on http://127.0.0.1:{site.port}, in front of three daemons:" in site.said
    client, call, curl, shell = site.commands
    ended = site.run(client)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "ACK: 192.0.2.100 for 3600 seconds, to 02:00:00:00:00:01\n"
    ended = site.run(call)
    assert (ended.returncode, ended.stderr) == (0, "")
    [leases] = json.loads(ended.stdout)
    assert leases["arguments"]["leases"][0]["ip-address"] == "192.0.2.100"
    assert curl.startswith("curl ")
    if shutil.which("curl"):
        ended = site.run(curl)
        assert ended.returncode == 0
        assert [one["result"] for one in json.loads(ended.stdout)] == [0, 0, 0]
    ended = site.run(shell, "dhcp-disable max-period=20\nlease4-get ip-address=192.0.2.100\n")
    assert ended.returncode == 0, ended.stderr
    assert "DHCPv4 service disabled for 20 seconds" in ended.stdout + ended.stderr
    assert '"192.0.2.100"' in ended.stdout
    assert len(site.children) == 4

    site.press_ctrl_c()
    assert site.end() == (0, "")
    assert site.has_left_nothing()


@pytest.mark.timeout(60)
def test_the_site_ends_in_order_when_it_is_interrupted_while_it_starts(site: Site) -> None:
    assert poll(lambda: bool(list(site.folder.glob("*/agent.conf"))))
    site.press_ctrl_c()
    status, errors = site.end()
    assert (status, errors) == (0, "")
    assert site.has_left_nothing()


@pytest.mark.timeout(60)
def test_a_process_that_the_interrupt_hit_early_is_no_failure(site: Site) -> None:
    assert poll(lambda: len(site.children) >= 3)
    site.press_ctrl_c()
    assert poll(site.has_taken_the_signal)
    for child in site.children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    status, errors = site.end()
    assert status == 0
    assert "did not start" not in errors
    assert "Traceback" not in errors
    assert site.has_left_nothing()


@pytest.mark.timeout(60)
def test_the_site_ends_when_one_of_its_processes_does_and_says_so(site: Site) -> None:
    site.read()
    agent = next(pid for pid in site.children if b"agent.conf" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(agent, signal.SIGKILL)
    status, _ = site.end()
    assert status == 1
    assert site.has_left_nothing()


def test_a_port_in_use_is_said_plainly_with_how_to_choose_another(short_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        started = Site(port, short_path)
        status, errors = started.end()
    assert status == 1
    assert errors == (
        f"Port {port} of 127.0.0.1 cannot be used: Address already in use.\n"
        f"Choose another one:  make run PORT={port + 1 if port < 65535 else 8001}\n"
    )
    assert list(short_path.iterdir()) == []


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_what_is_no_port_is_said(port: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "examples", "--port", port],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        cwd=ROOT,
        env=bridle_environment(),
        check=False,
    )
    assert ended.returncode == 2
    assert "argument --port: " in ended.stderr
    assert "Traceback" not in ended.stderr
