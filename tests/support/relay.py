"""A relay agent with many clients behind it, for loads whose every answer a test wants to know.

It needs no raw socket: what a relay sends and gets are plain datagrams between two addresses. As those of a
namespace are used, it is a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from typing import Any, Self

from tests.support.bridle import bridle_environment
from tests.support.netns import Link
from tests.support.programs import Program

__all__ = ["Relay"]


class Relay:
    """Clients behind a relay at ``address``, who ask the server at ``server``."""

    def __init__(self, link: Link, address: str, server: str) -> None:
        self._argv = link.inside(link.client, sys.executable, "-m", "tests.support.relay", address, server)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=bridle_environment()
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate(timeout=10)

    def load(self, *, seconds: float, until_killed: Program) -> dict[bytes, int]:
        """Let new clients ask for addresses for so long, then kill the server in the middle of it. What was
        acknowledged: hardware address → address."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(seconds)
        assert until_killed.process is not None
        # The program runs below "ip netns exec", which replaces itself by it.
        until_killed.process.kill()
        until_killed.process.wait(10)
        process.stdin.write("stop\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        return {bytes.fromhex(client): address for client, address in answer.items()}


def _main(address: str, server: str) -> None:
    """Ask as fast as answers come, with some clients at a time; commands come on standard input."""
    import select
    import socket

    from bridle.bundled.dhcp.packet4 import Packet4, decode4, encode4

    relay = int.from_bytes(socket.inet_aton(address), "big")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 67))
    sock.setblocking(False)
    number = 0

    def send(client: bytes, options: dict[int, bytes]) -> None:
        packet = Packet4(
            1, 1, 6, 1, int.from_bytes(client[2:], "big"), 0, 0, 0, 0, 0, relay, client, b"", b"", options
        )
        # Nobody is there for a moment after each kill.
        with contextlib.suppress(OSError):
            sock.sendto(encode4(packet), (server, 67))

    def begin() -> None:
        nonlocal number
        number += 1
        send(b"\x02\x00" + number.to_bytes(4, "big"), {53: b"\1"})

    def answer(data: bytes, acknowledged: dict[str, int]) -> None:
        packet: Any = decode4(data)
        if packet.options[53] == b"\2":
            wanted = packet.yiaddr.to_bytes(4, "big")
            send(packet.chaddr, {53: b"\3", 50: wanted, 54: packet.options[54]})
        elif packet.options[53] == b"\5":
            acknowledged[packet.chaddr.hex()] = packet.yiaddr
            begin()

    while sys.stdin.readline().strip() == "go":
        acknowledged: dict[str, int] = {}
        for _ in range(20):
            begin()
        asked_to_stop = False
        while True:
            ready, _, _ = select.select([sock, *([] if asked_to_stop else [sys.stdin])], [], [], 0.05)
            if sock in ready:
                with contextlib.suppress(OSError):
                    answer(sock.recv(4096), acknowledged)
            elif asked_to_stop:
                break
            if sys.stdin in ready:
                sys.stdin.readline()
                asked_to_stop = True
        sys.stdout.write(f"{json.dumps(acknowledged)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2])
