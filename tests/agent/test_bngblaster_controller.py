"""BNG Blaster's controller: instances over HTTP, and what happens to their processes.

What the original answers, byte for byte, stands in ``tests/replay/test_bngblaster_controller.py``.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bridle.agent.bngblaster import instance, metrics
from tests.support.controller import PROGRAM, Controlled, controller
from tests.support.loops import on_every_loop
from tests.support.programs import poll

MESSAGE = "application/json; charset=utf-8"


def message(reply: Any) -> str:
    """The text of a refusal in JSON."""
    assert reply.headers["content-type"] == MESSAGE
    assert reply.headers["x-content-type-options"] == "nosniff"
    return str(json.loads(reply.body)["message"])


# A life.


@on_every_loop
async def test_an_instance_is_created_started_asked_stopped_and_deleted(short_path: Path) -> None:
    async with controller(short_path) as front:
        assert (await front.ask("/api/v1/instances")).body == b"[]\n"
        assert (await front.of("t1", method="PUT", body={"some": 1})).status == 201
        assert (await front.of("t1", method="PUT", body={"some": 2})).status == 204
        assert json.loads((await front.of("t1", "config.json")).body) == {"some": 2}
        assert await front.status("t1") == "stopped"
        assert (await front.start("t1")).status == 204
        assert await front.status("t1") == "started"
        told = await front.command("t1", "say", {"what": "hello"})
        assert told.status == 200
        assert json.loads(told.body)["asked"]["arguments"] == {"what": "hello"}
        assert (await front.of("t1", "_stop", method="POST")).status == 202
        await front.stopped("t1")
        assert (await front.of("t1", method="DELETE")).status == 204
        assert (await front.ask("/api/v1/instances")).body == b"[]\n"
        assert list(front.directory.iterdir()) == []


@on_every_loop
async def test_a_start_has_the_words_of_the_original(short_path: Path) -> None:
    async with controller(short_path) as front:
        await front.run(
            "t1",
            logging=True,
            logging_flags=["info", "error"],
            report=True,
            report_flags=["sessions", "streams"],
            pcap_capture=True,
            session_count=7,
            pppoe_session_count=3,
            stream_config="streams.json",
        )
        folder = str(front.directory / "t1")
        words = json.loads((await front.of("t1", "run.stdout")).body)
        assert words == [
            *("-C", f"{folder}/config.json", "-S", f"{folder}/run.sock", "-J", f"{folder}/run_report.json"),
            *("-j", "sessions", "-j", "streams", "-L", f"{folder}/run.log", "-l", "info", "-l", "error"),
            *("-P", f"{folder}/run.pcap", "-c", "7", "-T", f"{folder}/streams.json"),
        ]
        assert (await front.of("t1", "run_report.json")).body == b"{}"


@on_every_loop
async def test_the_older_count_is_used_where_there_is_no_other(short_path: Path) -> None:
    async with controller(short_path) as front:
        await front.run("t1", pppoe_session_count=3)
        assert json.loads((await front.of("t1", "run.stdout")).body)[-2:] == ["-c", "3"]


@on_every_loop
async def test_what_a_run_has_left_is_gone_with_the_next_configuration(short_path: Path) -> None:
    async with controller(short_path) as front:
        await front.run("t1", report=True)
        await front.of("t1", "_stop", method="POST")
        await front.stopped("t1")
        assert (await front.of("t1", "run_report.json")).status == 200
        await front.create("t1")
        for name in ("run_report.json", "run.stdout", "run.stderr", "run.json"):
            assert (await front.of("t1", name)).status == 404
        assert sorted(one.name for one in (front.directory / "t1").iterdir()) == ["config.json"]


# Starts that fail.


@on_every_loop
async def test_a_start_that_dies_says_what_it_wrote(short_path: Path) -> None:
    async with controller(short_path) as front:
        await front.create("t1", die="no such interface: eth7")
        reply = await front.start("t1")
        assert reply.status == 500
        assert message(reply) == "not able to start: exit status 1: no such interface: eth7"
        assert await front.status("t1") == "stopped"
        assert (await front.of("t1", "run.stderr")).body == b"no such interface: eth7\n"
        await front.create("t1", kill=True)
        reply = await front.start("t1")
        assert message(reply) == "not able to start: ended by signal 9, and run.stderr is empty"


@on_every_loop
async def test_only_the_end_of_what_it_wrote_is_told(short_path: Path) -> None:
    async with controller(short_path) as front:
        await front.create("t1", die="x" * 100_000 + " at last")
        text = message(await front.start("t1"))
        assert text.endswith("x at last")
        assert len(text) < 4096


@pytest.mark.parametrize(
    ("executable", "says"),
    [
        (["/nowhere/bngblaster"], "not able to start: /nowhere/bngblaster: No such file or directory"),
        (["/etc/passwd"], "not able to start: /etc/passwd: Permission denied"),
    ],
)
def test_an_executable_that_is_none_is_told(short_path: Path, executable: list[str], says: str) -> None:
    async def run() -> None:
        async with controller(short_path, executable) as front:
            await front.create("t1")
            reply = await front.start("t1")
            assert (reply.status, message(reply)) == (500, says)
            assert await front.status("t1") == "stopped"

    asyncio.run(run())


@on_every_loop
async def test_a_start_waits_for_the_socket(short_path: Path) -> None:
    async with controller(short_path) as front:
        await front.run("t1", {"late": 0.3})
        assert (await front.command("t1", "say")).status == 200


@on_every_loop
async def test_a_start_that_takes_long_is_left_to_itself(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance, "START_TIMEOUT", 0.1)
    async with controller(short_path) as front:
        await front.run("t1", {"late": 60})
        assert await front.status("t1") == "started"
        reply = await front.command("t1", "say")
        assert (reply.status, message(reply)) == (500, "not able to send command: No such file or directory")


@on_every_loop
async def test_two_starts_at_once_are_one(short_path: Path) -> None:
    async with controller(short_path) as front:
        await front.create("t1", late=0.1)
        replies = await asyncio.gather(*(front.start("t1") for _ in range(5)))
        assert sorted(reply.status for reply in replies) == [204, 412, 412, 412, 412]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "EOF"),
        (b"  ", "EOF"),
        (b"{", "unexpected EOF"),
        (b'{"report": 1}', "Expected `bool`, got `int` - at `$.report`"),
        (b'{"session_count": -1}', "Expected `int` >= 0 - at `$.session_count`"),
        (b"[]", "Expected `object`, got `array`"),
        (b"x", "the body is no JSON: JSON is malformed: invalid character (byte 0)"),
        (b'{"logging_flags": ["a\\u0000b"]}', "no flag can have a NUL in it"),
        (b'{"stream_config": "../../etc/passwd"}', "is no file in the instance's folder"),
        (b'{"stream_config": "/etc/passwd"}', "is no file in the instance's folder"),
        (b'{"stream_config": "."}', "is no file in the instance's folder"),
    ],
)
def test_a_start_that_is_asked_wrongly_is_refused(short_path: Path, body: bytes, says: str) -> None:
    async def run() -> None:
        async with controller(short_path) as front:
            await front.create("t1")
            reply = await front.of("t1", "_start", method="POST", body=body)
            assert reply.status == 400
            assert says in message(reply)
            assert await front.status("t1") == "stopped"

    asyncio.run(run())


@on_every_loop
async def test_null_and_what_nobody_knows_ask_for_nothing(short_path: Path) -> None:
    async with controller(short_path) as front:
        await front.create("t1")
        assert (await front.of("t1", "_start", method="POST", body=b"null")).status == 204
        await front.of("t1", "_kill", method="POST")
        await front.stopped("t1")
        assert (await front.start("t1", colour="blue")).status == 204


# Commands.


@on_every_loop
async def test_an_answer_s_code_is_the_status_and_its_bytes_are_the_body(short_path: Path) -> None:
    answers = {
        "gone": '{"status": "warning", "code": 404, "message": "session not found"}',
        "odd": '{"status":"ok",  "code":200,"real":0.0027680000000000001}',
        "bare": '{"status": "ok"}',
    }
    async with controller(short_path) as front:
        await front.run("t1", {"answers": {**answers}})
        reply = await front.command("t1", "gone")
        assert (reply.status, reply.body.decode()) == (404, answers["gone"])
        assert reply.headers["content-type"] == "application/json"
        reply = await front.command("t1", "odd")
        assert (reply.status, reply.body.decode()) == (200, answers["odd"])
        assert (await front.command("t1", "bare")).status == 200


@on_every_loop
async def test_an_answer_that_is_none_is_a_bad_gateway(short_path: Path) -> None:
    answers = {"list": "[1]", "code": '{"code": 99}', "broken": '{"code": 2e}', "cut": '{"code": '}
    async with controller(short_path) as front:
        await front.run("t1", {"answers": {**answers}})
        for command in ("list", "code", "broken"):
            reply = await front.command("t1", command)
            assert reply.status == 502, command
        reply = await front.command("t1", "cut")
        assert (reply.status, message(reply)) == (500, "not able to send command: End of file")


@on_every_loop
async def test_a_command_has_a_deadline(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance.Instance.command, "__defaults__", (0.2,))
    async with controller(short_path) as front:
        await front.run("t1", {"silent": True})
        reply = await front.command("t1", "say")
        assert (reply.status, message(reply)) == (504, "no answer to the command: no answer in time (0.2 s)")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "EOF"),
        (b'{"command":', "unexpected EOF"),
        (b'{"command": 7}', "Expected `str`, got `int` - at `$.command`"),
        (b'{"command": "terminate", "arguments": ["x"]}', "Expected `object | null`, got `array`"),
        (b'{"command": "terminate", "arguments": "session-id 1"}', "Expected `object | null`, got `str`"),
        (b'{"command": "\xff"}', "the body is no JSON"),
    ],
)
def test_a_command_that_is_none_is_not_passed_on(short_path: Path, body: bytes, says: str) -> None:
    async def run() -> None:
        async with controller(short_path) as front:
            await front.run("t1")
            reply = await front.of("t1", "_command", method="POST", body=body)
            assert reply.status == 400
            assert says in message(reply)

    asyncio.run(run())


@on_every_loop
async def test_one_silent_instance_delays_no_other(short_path: Path) -> None:
    async with controller(short_path) as front:
        await front.run("slow", {"silent": True})
        await front.run("quick")
        waiting = [asyncio.ensure_future(front.command("slow", "say")) for _ in range(20)]
        async with asyncio.timeout(5):
            for _ in range(20):
                assert (await front.command("quick", "say")).status == 200
        await front.of("slow", "_kill", method="POST")
        assert {reply.status for reply in await asyncio.gather(*waiting)} == {500}


# What there is not.


@pytest.mark.parametrize(
    ("method", "what", "body"),
    [
        ("GET", "", b""),
        ("DELETE", "", b""),
        ("POST", "_start", b"{}"),
        ("POST", "_stop", b""),
        ("POST", "_kill", b""),
        ("POST", "_command", b'{"command": "x"}'),
    ],
)
def test_an_unknown_instance_is_not_found(short_path: Path, method: str, what: str, body: bytes) -> None:
    async def run() -> None:
        async with controller(short_path) as front:
            reply = await front.of("nope", what, method=method, body=body)
            assert (reply.status, message(reply)) == (404, "404 page not found")
            assert not (front.directory / "nope").exists()

    asyncio.run(run())


@on_every_loop
async def test_what_needs_a_stopped_instance_says_so(short_path: Path) -> None:
    async with controller(short_path) as front:
        await front.run("t1")
        assert message(await front.start("t1")) == "instance is running"
        assert message(await front.of("t1", method="DELETE")) == "instance is running"
        reply = await front.of("t1", method="PUT", body=b"{}")
        assert (reply.status, reply.body) == (412, b"instance is running\n")
        await front.of("t1", "_kill", method="POST")
        await front.stopped("t1")
        reply = await front.command("t1", "say")
        assert (reply.status, message(reply)) == (412, "instance is not running")
        assert (await front.of("t1", "_stop", method="POST")).status == 202


@on_every_loop
async def test_paths_and_methods_that_are_none(short_path: Path) -> None:
    async with controller(short_path) as front:
        await front.create("t1")
        for target in ("/api/v1", "/api/v1/nothing", "/api/v1/instances/", "/api/v1/instances/t1/a/b"):
            assert (await front.ask(target)).status == 404, target
        reply = await front.ask("/api/v1/version", method="POST")
        assert (reply.status, reply.body, reply.headers["allow"]) == (405, b"", "GET, HEAD")
        reply = await front.ask("/", method="POST", body=b"{}")
        assert reply.status == 400, "what is not the controller's is a command, or none"


# Processes.


@on_every_loop
async def test_a_number_in_a_file_is_believed_only_where_the_process_is_the_instance_s(
    short_path: Path,
) -> None:
    async with controller(short_path) as front:
        await front.create("t1")
        other = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
        try:
            for text in (str(other.pid), "1", str(2**22 + 1), "0", "-1", "x", "", "9" * 40, f"{other.pid}\n"):
                (front.directory / "t1" / "run.pid").write_text(text)
                assert await front.status("t1") == "stopped", text
                assert (await front.of("t1", "_kill", method="POST")).status == 202
            assert other.returncode is None
        finally:
            other.kill()
            await other.wait()


@on_every_loop
async def test_an_instance_that_ends_by_itself_is_stopped_and_waited_for(short_path: Path) -> None:
    async with controller(short_path) as front:
        await front.run("t1")
        pid = front.pid("t1")
        os.kill(pid, signal.SIGKILL)
        await front.stopped("t1")
        async with asyncio.timeout(5):
            while Path(f"/proc/{pid}").exists():  # as long as nobody waits for it
                await asyncio.sleep(0.01)
        assert (await front.start("t1")).status == 204


@on_every_loop
async def test_kill_ends_what_does_not_stop(short_path: Path) -> None:
    async with controller(short_path) as front:
        await front.run("t1", {"deaf": True})
        assert (await front.of("t1", "_stop", method="POST")).status == 202
        await asyncio.sleep(0.1)
        assert await front.status("t1") == "started"
        assert (await front.of("t1", "_kill", method="POST")).status == 202
        await front.stopped("t1")


def test_instances_go_on_without_the_controller_and_are_found_again(short_path: Path) -> None:
    pid: list[int] = []

    async def first() -> None:
        async with controller(short_path) as front:
            await front.run("t1")
            pid.append(front.pid("t1"))
            front.end_all = _leave  # type: ignore[method-assign]

    async def _leave() -> None:
        pass

    async def second() -> None:
        async with controller(short_path) as front:
            assert await front.status("t1") == "started"
            assert (await front.command("t1", "say")).status == 200
            assert message(await front.start("t1")) == "instance is running"
            assert (await front.of("t1", "_stop", method="POST")).status == 202
            # It is this process's child still, whoever is the controller; elsewhere init waits for it.
            os.waitpid(pid[0], 0)
            await front.stopped("t1")

    asyncio.run(first())
    asyncio.run(second())


@on_every_loop
async def test_a_controller_that_is_configured_anew_knows_its_instances(short_path: Path) -> None:
    async with controller(short_path) as front:
        await front.run("t1")
        conf = json.loads((short_path / "agent.conf").read_text())
        change = {"command": "config-set", "arguments": conf}
        conf["Control-agent"]["bngblaster-controller"]["upload"] = True
        as_json = "Content-Type: application/json"
        assert b'"result": 0' in (await front.ask("/", as_json, method="POST", body=change)).body
        assert await front.status("t1") == "started"
        controlled = conf["Control-agent"].pop("bngblaster-controller")
        assert b'"result": 0' in (await front.ask("/", as_json, method="POST", body=change)).body
        assert (await front.ask("/api/v1/instances")).status == 405, "there is none now"
        conf["Control-agent"]["bngblaster-controller"] = controlled
        assert b'"result": 0' in (await front.ask("/", as_json, method="POST", body=change)).body
        assert await front.status("t1") == "started"


@on_every_loop
async def test_an_instance_does_not_hold_the_agent_s_descriptors_and_is_no_part_of_its_session(
    short_path: Path,
) -> None:
    async with controller(short_path) as front:
        await front.run("t1")
        pid = front.pid("t1")
        held = {str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir()}
        folder = front.directory / "t1"
        files = {one for one in held if not one.startswith("socket:")}
        assert files == {"/dev/null", str(folder / "run.stdout"), str(folder / "run.stderr")}
        assert len(held - files) == 1, "its own control socket"
        assert os.getsid(pid) == pid


# Files.


@on_every_loop
async def test_files_are_sent_whole_in_ranges_or_not_at_all(short_path: Path) -> None:
    async with controller(short_path) as front:
        await front.create("t1")
        (front.directory / "t1" / "run.log").write_bytes(b"0123456789")
        whole = await front.of("t1", "run.log")
        assert (whole.status, whole.body) == (200, b"0123456789")
        assert whole.headers["content-type"] == "text/x-log; charset=utf-8"
        assert whole.headers["accept-ranges"] == "bytes"
        part = await front.of("t1", "run.log", "Range: bytes=2-4")
        assert (part.status, part.body) == (206, b"234")
        assert part.headers["content-range"] == "bytes 2-4/10"
        assert (await front.of("t1", "run.log", "Range: bytes=-3")).body == b"789"
        assert (await front.of("t1", "run.log", "Range: bytes=50-")).status == 416
        several = await front.of("t1", "run.log", "Range: bytes=0-1,8-9")
        assert several.status == 206
        assert several.headers["content-type"].startswith("multipart/byteranges")
        since = f"If-Modified-Since: {whole.headers['last-modified']}"
        same = await front.of("t1", "run.log", since)
        assert (same.status, same.body) == (304, b"")
        assert (await front.of("t1", "run.log", f"If-None-Match: {whole.headers['etag']}")).status == 304
        head = await front.of("t1", "run.log", method="HEAD")
        assert (head.status, head.headers["content-length"], head.body) == (200, "10", b"")


@on_every_loop
async def test_a_file_that_grows_while_it_is_sent_is_as_long_as_it_was(short_path: Path) -> None:
    async with controller(short_path) as front:
        await front.create("t1")
        path = front.directory / "t1" / "run.log"
        path.write_bytes(b"x" * 1_000_000)
        asked = asyncio.ensure_future(front.of("t1", "run.log"))
        with path.open("ab", buffering=0) as file:
            while not asked.done():
                file.write(b"y" * 10_000)
                await asyncio.sleep(0.001)
        reply = asked.result()
        assert reply.complete
        assert len(reply.body) == int(reply.headers["content-length"])
        assert reply.body.startswith(b"x" * 1_000_000)


@on_every_loop
async def test_only_some_files_are_sent_and_no_links_followed(short_path: Path) -> None:
    secret = short_path / "secret"
    secret.write_text("secret")
    async with controller(short_path) as front:
        await front.run("t1")
        folder = front.directory / "t1"
        for name in ("run.sock", "run.pid", "nothing", "..%2f..%2fsecret", "%2e%2e", "config.json%00"):
            assert (await front.of("t1", name)).status == 404, name
        (folder / "run.log").symlink_to(secret)
        assert (await front.of("t1", "run.log")).status == 404
        (folder / "run_report.json").mkdir()
        assert (await front.of("t1", "run_report.json")).status == 404
        os.mkfifo(folder / "run.pcap")
        assert (await front.of("t1", "run.pcap")).status == 404
        (front.directory / "t2").symlink_to(folder)
        assert (await front.of("t2", "config.json")).status == 404
        assert (await front.of("t2")).status == 404
        assert (await front.ask("/api/v1/instances")).body == b'["t1"]\n'


@on_every_loop
async def test_what_is_written_replaces_a_link_and_does_not_follow_it(short_path: Path) -> None:
    outside = short_path / "outside"
    outside.write_text("as it was")
    async with controller(short_path, upload=True) as front:
        await front.create("t1")
        folder = front.directory / "t1"
        for name in ("config.json", "run.stdout", "run.pid", "up.txt"):
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(outside)
        await front.create("t1", some=1)
        assert (await upload(front, "t1", "up.txt")).status == 200
        assert (await front.start("t1")).status == 204
        assert outside.read_text() == "as it was"
        assert not any(one.is_symlink() for one in folder.iterdir())


# Uploads.


def form(name: str, content: bytes = b"hello", field: str = "file") -> bytes:
    """A form with a file in it."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    head = f'--B\r\nContent-Disposition: form-data; name="{field}"; filename="{quoted}"\r\n\r\n'
    return head.encode() + content + b"\r\n--B--\r\n"


async def upload(front: Controlled, instance: str, name: str, content: bytes = b"hello") -> Any:
    """Upload a file."""
    kind = "Content-Type: multipart/form-data; boundary=B"
    return await front.of(instance, "_upload", kind, method="POST", body=form(name, content))


@on_every_loop
async def test_an_upload_is_put_into_the_folder(short_path: Path) -> None:
    async with controller(short_path, upload=True) as front:
        await front.create("t1")
        content = bytes(range(256)) * 5000
        reply = await upload(front, "t1", "streams.json", content)
        assert (reply.status, reply.body) == (200, b"")
        assert (front.directory / "t1" / "streams.json").read_bytes() == content
        assert (await upload(front, "t1", "streams.json", b"other")).status == 200
        assert (front.directory / "t1" / "streams.json").read_bytes() == b"other"
        assert (await front.start("t1", stream_config="streams.json")).status == 204


@on_every_loop
async def test_uploads_are_off_unless_they_are_asked_for(short_path: Path) -> None:
    async with controller(short_path) as front:
        await front.create("t1")
        reply = await upload(front, "t1", "up.txt")
        assert (reply.status, reply.body) == (403, b"forbidden\n")
        assert not (front.directory / "t1" / "up.txt").exists()


@pytest.mark.parametrize(
    "name", ["../up", "/etc/up", "a/b", ".hidden", "..", "run.sock", "config.json", "a\\b"]
)
def test_an_upload_cannot_have_every_name(short_path: Path, name: str) -> None:
    async def run() -> None:
        async with controller(short_path, upload=True) as front:
            await front.create("t1")
            before = {path: path.stat().st_mtime_ns for path in short_path.rglob("*") if path.is_file()}
            assert (await upload(front, "t1", name)).status == 400
            after = {path: path.stat().st_mtime_ns for path in short_path.rglob("*") if path.is_file()}
            assert after == before

    asyncio.run(run())


@on_every_loop
async def test_a_form_that_is_none(short_path: Path) -> None:
    async with controller(short_path, upload=True) as front:
        await front.create("t1")
        kind = "Content-Type: multipart/form-data"
        for fields, body in ((kind, b"x"), (f"{kind}; boundary=B", b"nonsense"), (f"{kind}; boundary=", b"")):
            reply = await front.of("t1", "_upload", fields, method="POST", body=body)
            assert reply.status in (400, 413), body


# Metrics.


@on_every_loop
async def test_metrics_are_read_by_prometheus_own_parser(short_path: Path) -> None:
    counters = {"sessions": 5, "sessions-established": 3, "setup-rate": 12.5, "setup-time": 7}
    access = {
        "name": 'a"0\\',
        "type": "Access",
        "ifindex": 1,
        "tx-packets": 2**40,
        "tx-pps": 9,
        "rx-loss-packets-streams": 1,
    }
    network = {"name": "n0", "type": "Network", "tx-packets": 1, "tx-packets-multicast": 430}
    flow = {"flow-id": 1, "name": "s", "direction": "upstream", "type": "unicast", "sub-type": "ipv4"}
    answers = {
        "session-counters": {"session-counters": counters},
        "access-interfaces": {"access-interfaces": [access]},
        "network-interfaces": {"network-interfaces": [network]},
        "stream-summary": {"stream-summary": [{**flow, "session-id": 4, "rx-loss": 2}]},
        "stream-info": {
            "stream-info": {**flow, "tx-packets": 100, "rx-packets": 98, "tx-bytes": 9, "rx-bytes": 8}
        },
    }
    texts = {name: json.dumps({"status": "ok", "code": 200, **answer}) for name, answer in answers.items()}
    async with controller(short_path) as front:
        flags = [*metrics.METRIC_FLAGS, "x"]
        await front.run("t1", {"answers": {**texts}}, metric_flags=flags)
        await front.run("quiet", {"answers": {**texts}})
        await front.create("stopped")
        reply = await front.ask("/metrics")
        assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        host = os.uname().nodename
        values = {}
        for family in text_string_to_metric_families(reply.body.decode()):
            for sample in family.samples:
                assert sample.labels.pop("hostname") == host
                # The parser reads counters as OpenMetrics has them.
                name = sample.name.removesuffix("_total") if family.type == "counter" else sample.name
                values[name, tuple(sorted(sample.labels.items()))] = (sample.value, family.type)
    one = (("instance_name", "t1"),)
    assert values["instances_total", ()] == (3, "gauge")
    assert values["instances_running", ()] == (2, "gauge")
    assert values["sessions", one] == (5, "counter")
    assert values["sessions_established", one] == (3, "gauge")
    assert values["setup_rate", one] == (12.5, "gauge")
    assert values["instance_up", one] == (1, "gauge")
    interface = (*one, ("interface_name", 'a"0\\'), ("interface_type", "Access"))
    assert values["interfaces_tx_packets", interface] == (2**40, "counter")
    assert values["interfaces_tx_pps", interface] == (9, "gauge")
    assert values["interfaces_rx_loss_packets_streams", interface] == (1, "counter")
    assert ("interfaces_ifindex", interface) not in values
    other = (*one, ("interface_name", "n0"), ("interface_type", "Network"))
    assert values["interfaces_tx_packets_multicast", other] == (430, "counter"), "the original has 0"
    stream = (
        ("flow_id", "1"),
        *one,
        ("session_id", "4"),
        ("stream_direction", "upstream"),
        ("stream_name", "s"),
        ("stream_sub_type", "ipv4"),
        ("stream_type", "unicast"),
    )
    assert values["stream_tx_packets", stream] == (100, "counter"), "the original has 0"
    assert values["stream_rx_packets", stream] == (98, "counter")
    assert values["stream_rx_loss", stream] == (2, "counter")
    assert not any(("instance_name", "quiet") in labels for _, labels in values)


@on_every_loop
async def test_an_instance_that_is_silent_costs_the_others_no_metrics(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "SCRAPE_TIMEOUT", 0.3)
    answer = json.dumps({"status": "ok", "code": 200, "session-counters": {"sessions": 5}})
    async with controller(short_path) as front:
        await front.run("a", {"silent": True}, metric_flags=["session_counters"])
        await front.run("b", {"answers": {"session-counters": answer}}, metric_flags=["session_counters"])
        text = (await front.ask("/metrics")).body.decode()
    assert 'instance_name="b"} 5' in text
    host = os.uname().nodename
    assert f'instance_up{{hostname="{host}",instance_name="a"}} 0\n' in text
    assert f'instance_up{{hostname="{host}",instance_name="b"}} 1\n' in text


@on_every_loop
async def test_of_many_streams_only_so_many_are_asked_for(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "STREAM_LIMIT", 2)
    flows = [{"flow-id": number, "name": "s", "rx-loss": number} for number in (1, 2, 3)]
    answers = {
        "stream-summary": json.dumps({"status": "ok", "code": 200, "stream-summary": flows}),
        "stream-info": '{"status": "ok", "code": 200, "stream-info": {"tx-packets": 1}}',
    }
    async with controller(short_path) as front:
        await front.run("t1", {"answers": {**answers}}, metric_flags=["streams"])
        text = (await front.ask("/metrics")).body.decode()
    assert text.count("\nstream_rx_loss{") == 3
    assert text.count("\nstream_tx_packets{") == 2


# The host.


@on_every_loop
async def test_the_version_is_that_of_the_executable(short_path: Path) -> None:
    async with controller(short_path) as front:
        told = json.loads((await front.ask("/api/v1/version")).body)
        assert told.pop("bngblasterctrl-version")
        assert told == {
            "bngblaster-version": "9.9.9",
            "bngblaster-compiler": "test (1)",
            "bngblaster-io-modes": ["one", "two"],
        }


@pytest.mark.parametrize(
    "executable",
    [["/nowhere"], ["/bin/false"], ["/bin/sh", "-c", "yes"], ["/bin/sh", "-c", "sleep 60"]],
    ids=["missing", "fails", "endless", "silent"],
)
def test_a_version_that_is_not_told_is_not_available(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, executable: list[str]
) -> None:
    from bridle.agent.bngblaster import host

    monkeypatch.setattr(host, "VERSION_TIMEOUT", 0.3)

    async def run() -> None:
        async with controller(short_path, executable) as front:
            told = json.loads((await front.ask("/api/v1/version")).body)
            assert told["bngblaster-version"] == "NA"

    asyncio.run(run())


@on_every_loop
async def test_interfaces_are_the_kernel_s(short_path: Path) -> None:
    async with controller(short_path) as front:
        told = json.loads((await front.ask("/api/v1/interfaces")).body)
    [loopback] = [one for one in told if one["name"] == "lo"]
    assert list(loopback) == ["name", "mtu", "flags", "mac"]
    assert "loopback" in loopback["flags"]
    assert loopback["mac"] == ""
    for one in told:
        assert one["mtu"] == int(Path(f"/sys/class/net/{one['name']}/mtu").read_text())


# Who may.


@on_every_loop
async def test_a_password_is_asked_for_here_as_well(short_path: Path) -> None:
    authentication = {"type": "basic", "clients": [{"user": "ann", "password": "secret"}]}
    async with controller(short_path, authentication=authentication) as front:
        known = "Authorization: Basic YW5uOnNlY3JldA=="
        for target in ("/metrics", "/openapi.json", "/api/v1/instances"):
            assert (await front.ask(target)).status == 401
            assert (await front.ask(target, known)).status == 200
        assert (await front.of("t1", method="PUT", body=b"{}")).status == 401
        assert not (front.directory / "t1").exists()


# As a program.


def test_the_command_line_of_the_original_starts_it(short_path: Path) -> None:
    from tests.support.bridle import BridleProgram
    from tests.support.kea import listens
    from tests.support.programs import free_port

    class Program(BridleProgram):
        def ready(self) -> bool:
            return listens(port)

    port = free_port()
    words = ["bngblasterctrl", "-a", f"127.0.0.1:{port}", "-d", f"{short_path}/i", "-e", " ".join(PROGRAM)]
    with Program([*words, "-upload"], short_path, name="bngblasterctrl") as program:
        front = Controlled(port, short_path / "i")
        asyncio.run(front.run("t1"))
        assert f"bngblasterctrl: listening on http://127.0.0.1:{port}" in program.stderr
        pid = front.pid("t1")
    # It goes on without its controller, and is nobody's child here.
    assert Path(f"/proc/{pid}").exists()
    with Program(words, short_path, name="again"):
        assert asyncio.run(front.status("t1")) == "started"
        asyncio.run(front.end_all())
    assert poll(lambda: not Path(f"/proc/{pid}").exists())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-a", "8001"], "-a takes [HOST]:PORT, not '8001'"),
        (["-a", ":x"], "-a takes [HOST]:PORT"),
        (["-e", "'"], "No closing quotation"),
        (["-e", ""], "'executable' is a path, or a list of the words of a command"),
        (["-d", "/proc/none"], "cannot make the directory /proc/none"),
        (["x"], "Got unexpected extra argument (x)"),
    ],
)
def test_what_cannot_be_meant_is_told(short_path: Path, words: list[str], says: str) -> None:
    from tests.support.bridle import bridle_environment

    argv = [
        sys.executable,
        "-m",
        "bridle",
        "bngblasterctrl",
        "-a",
        "127.0.0.1:0",
        "-d",
        f"{short_path}/i",
        *words,
    ]
    ended = subprocess.run(
        argv, capture_output=True, text=True, timeout=15, env=bridle_environment(), check=False
    )
    assert ended.returncode in (1, 64)
    assert says in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr
