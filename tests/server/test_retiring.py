"""A channel that goes away leaves nobody in the kernel's queue."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import bridle
from tests.support.loops import on_every_loop


async def receive_all(client: socket.socket) -> bytes:
    """What a client reads until the end."""
    loop, received = asyncio.get_running_loop(), b""
    async with asyncio.timeout(10):
        while data := await loop.sock_recv(client, 65536):
            received += data
    return received


@on_every_loop
async def test_who_has_connected_before_a_channel_goes_is_still_answered(short_path: Path) -> None:
    server = bridle.Server(bridle.CommandManager())
    channel = await server.listen(f"unix:{short_path}/s")
    clients = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    try:
        for client in clients:
            client.connect(f"{short_path}/s")
            client.sendall(b'{ "command": "list-commands" }')
            client.setblocking(False)
        server.retire(channel)
        assert not (short_path / "s").exists()
        for client in clients:
            answer = await receive_all(client)
            assert answer == b'{ "arguments": [ "list-commands" ], "result": 0 }'
    finally:
        for client in clients:
            client.close()
        await server.close()


@on_every_loop
async def test_who_has_connected_before_an_http_channel_goes_is_still_answered() -> None:
    server = bridle.Server(bridle.CommandManager())
    channel = await server.listen("http://127.0.0.1:0")
    port = channel.endpoint.port
    body = b'{ "command": "list-commands" }'
    request = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    clients = [socket.socket() for _ in range(50)]
    try:
        for client in clients:
            client.connect(("127.0.0.1", port))
            client.sendall(request + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            client.setblocking(False)
        server.retire(channel)
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", port))
            other.listen()
        for client in clients:
            answer = await receive_all(client)
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert b'"list-commands"' in answer
    finally:
        for client in clients:
            client.close()
        await server.close()


@on_every_loop
async def test_who_has_connected_before_http_on_a_unix_socket_goes_is_answered(
    short_path: Path,
) -> None:
    server = bridle.Server(bridle.CommandManager())
    channel = await server.listen(f"http+unix:{short_path}/s")
    body = b'{ "command": "list-commands" }'
    request = b"POST / HTTP/1.1\r\nHost: any\r\nContent-Type: application/json\r\nConnection: close\r\n"
    clients = [socket.socket(socket.AF_UNIX) for _ in range(50)]
    try:
        for client in clients:
            client.connect(f"{short_path}/s")
            client.sendall(request + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            client.setblocking(False)
        server.retire(channel)
        assert list(short_path.iterdir()) == [], "neither the socket nor its lock is left"
        for client in clients:
            answer = await receive_all(client)
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert b'"list-commands"' in answer
    finally:
        for client in clients:
            client.close()
        await server.close()
