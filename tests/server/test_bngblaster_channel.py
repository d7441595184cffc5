"""A channel that speaks as BNG Blaster's control socket does, its client, and a service behind the agent."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from pathlib import Path

import pytest

import bridle
from bridle.agent.agent import Agent
from bridle.testing import elapsed
from tests.support.loops import on_every_loop, on_virtual_clock
from tests.support.programs import free_port


class Bng(bridle.Daemon):
    """What stands in for a session daemon here."""

    @bridle.command
    def session_info(self, session_id: int) -> dict[str, object]:
        """Tell about a session."""
        if session_id != 1:
            raise bridle.CommandError("session not found", bridle.Result.EMPTY)
        return {"session-id": session_id, "mac": "02:00:00:00:00:01"}

    @bridle.command
    async def terminate(self) -> bridle.Response:
        """End all."""
        await asyncio.sleep(0.01)
        return bridle.Response(text="teardown requested")


@on_every_loop
async def test_commands_and_answers_cross(short_path: Path) -> None:
    endpoint = f"bngblaster+unix:{short_path}/s"
    async with bridle.serve(Bng(), endpoint), bridle.connect_async(endpoint) as client:
        for _ in range(3):
            assert await client.call("session-info", {"session-id": 1}) == {
                "session-id": 1,
                "mac": "02:00:00:00:00:01",
            }
            missing = await client.execute("session-info", {"session-id": 2})
            assert (missing.result, missing.text, missing.code) == (3, "session not found", 404)
            done = await client.execute("terminate")
            assert (done.result, done.text) == (0, "teardown requested")
            unknown = await client.execute("foo")
            assert (unknown.result, unknown.text) == (2, "unknown command")
            wrong = await client.execute("session-info", {"session-id": "x"})
            assert wrong.result == 1
            assert "session-id" in str(wrong.text)


def test_the_blocking_client_keeps_its_connection(short_path: Path) -> None:
    endpoint = f"bngblaster+unix:{short_path}/s"
    ready, done = threading.Event(), threading.Event()

    async def serve() -> None:
        async with bridle.serve(Bng(), endpoint):
            ready.set()
            while not done.is_set():
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        with bridle.connect(endpoint) as client:
            for _ in range(5):
                assert client.call("session-info", {"session-id": 1}) is not None
            answers = client.execute_many([("session-info", {"session-id": n}) for n in (1, 2)])
            assert [answer.result for answer in answers] == [0, 3]
    finally:
        done.set()
        thread.join()


def test_a_reset_behind_the_answer_is_its_end(short_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(short_path / "s"))
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            connection.recv(5)
            connection.sendall(b'{"status": "ok", "code": 200}')
            connection.close()  # with the rest of the request unread

        thread = threading.Thread(target=serve)
        thread.start()
        with bridle.connect(f"bngblaster+unix:{short_path}/s") as client:
            assert client.execute("interfaces").result == 0
        thread.join()


@on_virtual_clock
async def test_a_silent_client_is_ended(short_path: Path) -> None:
    async with bridle.serve(Bng(), f"bngblaster+unix:{short_path}/s"):
        reader, writer = await asyncio.open_unix_connection(str(short_path / "s"))
        writer.write(b'{"command"')
        assert json.loads(await reader.read()) == {
            "status": "error",
            "code": 408,
            "message": "request timeout",
        }
        assert elapsed() == pytest.approx(10, abs=0.5)
        writer.close()


@on_every_loop
async def test_a_service_behind_the_agent(short_path: Path) -> None:
    port = free_port()
    file = short_path / "agent.conf"
    service = {"socket-type": "bngblaster", "socket-name": f"{short_path}/s"}
    file.write_text(json.dumps({"Control-agent": {"http-port": port, "control-sockets": {"bng": service}}}))
    async with (
        bridle.serve(Bng(), f"bngblaster+unix:{short_path}/s"),
        bridle.serve(Agent(), configuration_file=str(file)),
        bridle.connect_async(f"http://127.0.0.1:{port}") as client,
    ):
        info = await client.call("session-info", {"session-id": 1}, service="bng")
        assert info == {"session-id": 1, "mac": "02:00:00:00:00:01"}
        missing = await client.execute("session-info", {"session-id": 9}, service="bng")
        assert (missing.result, missing.text) == (3, "session not found")
        unknown = await client.execute("foo", service="bng")
        assert (unknown.result, unknown.text) == (2, "unknown command")


@on_every_loop
async def test_a_control_socket_of_a_configuration(short_path: Path) -> None:
    file = short_path / "bng.conf"
    place = {"socket-type": "bngblaster", "socket-name": f"{short_path}/s"}
    file.write_text(json.dumps({"Bng": {"control-sockets": [place]}}))
    async with (
        bridle.serve(Bng(), configuration_file=str(file)),
        bridle.connect_async(f"bngblaster+unix:{short_path}/s") as client,
    ):
        assert await client.call("session-info", {"session-id": 1}) is not None
