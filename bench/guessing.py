"""Somebody who guesses passwords, and somebody who knows one.

``python -m bench.guessing PORT RATE SECONDS`` sends so many wrong passwords a second, each another one, from
several addresses, and reports in JSON how many were answered, and how many let in: none, one hopes. Whoever
else runs on its core goes first, so that what is measured there is the server.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import os
import selectors
import socket
import sys
import time

import msgspec

from bench.load import LoadError

__all__ = ["Report", "latencies"]

BODY = b'{"command": "version-get"}'
CONNECTIONS = 16
ADDRESSES = 2
"""Each has its free log-ins, which cost a check of some 30 ms."""
BATCH = 32
"""Guesses that are sent at once over one connection."""


class Report(msgspec.Struct):
    """What came of the guesses."""

    answered: int
    let_in: int
    rate: float


def latencies(port: int, password: str, seconds: float, *, delay: float = 0.0) -> list[float]:
    """Ask again and again for so many seconds, as one who knows the password; milliseconds of each answer.

    Raises:
        LoadError: an answer was wrong.
    """
    time.sleep(delay)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Content-Type": "application/json", "Authorization": _basic(password)}
    found: list[float] = []
    end = time.perf_counter() + seconds - delay
    try:
        while time.perf_counter() < end:
            began = time.perf_counter()
            connection.request("POST", "/", BODY, headers)
            answer = connection.getresponse()
            text = answer.read()
            found.append((time.perf_counter() - began) * 1e3)
            if answer.status != 200 or b'"result": 0' not in text:
                raise LoadError(f"who knows the password was answered {answer.status}: {text[:100]!r}")
            time.sleep(0.002)
    finally:
        connection.close()
    return found


def _basic(password: str) -> str:
    return f"Basic {base64.b64encode(f'admin:{password}'.encode()).decode()}"


def _guess(number: int) -> bytes:
    head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    fields = f"Authorization: {_basic(f'{number:08}')}\r\nContent-Length: {len(BODY)}\r\n"
    return f"{head}{fields}\r\n".encode() + BODY


def main(port: int, rate: float, seconds: float) -> Report:
    """Guess."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    numbers = itertools.count()
    waiting = selectors.DefaultSelector()
    sockets = []
    for index in range(CONNECTIONS):
        address = (f"127.0.0.{2 + index % ADDRESSES}", 0)
        sock = socket.create_connection(("127.0.0.1", port), source_address=address)
        sock.setblocking(False)
        waiting.register(sock, selectors.EVENT_READ)
        sockets.append(sock)
    began, sent, answered, let_in = time.monotonic(), 0, 0, 0
    turn = itertools.cycle(sockets)
    while (passed := time.monotonic() - began) < seconds:
        while sent < passed * rate and sent - answered < CONNECTIONS * BATCH * 2:
            data = b"".join(_guess(next(numbers)) for _ in range(BATCH))
            sock = next(turn)
            sock.setblocking(True)
            sock.sendall(data)
            sock.setblocking(False)
            sent += BATCH
        for key, _ in waiting.select(0.002):
            assert isinstance(key.fileobj, socket.socket)
            data = key.fileobj.recv(1 << 20)
            if not data:
                raise LoadError("the server closed a connection")
            answered += data.count(b"HTTP/1.1 ")
            let_in += data.count(b"HTTP/1.1 200 ")
    for sock in sockets:
        sock.close()
    return Report(answered, let_in, answered / seconds)


if __name__ == "__main__":
    report = main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
    sys.stdout.write(msgspec.json.encode(report).decode())
