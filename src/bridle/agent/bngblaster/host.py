"""What the controller tells of its host: the network interfaces, and what bngblaster says of itself."""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import Sequence

from bridle.agent.bngblaster.process import spawn
from bridle.core.messages import JSON
from bridle.core.version import VERSION

__all__ = ["VERSION_TIMEOUT", "interfaces", "versions"]

# Seconds for ``bngblaster -v``, which prints some lines and ends.
VERSION_TIMEOUT = 5.0
# Bytes of its output that are looked at.
_OUTPUT_LIMIT = 64 * 1024

# linux/sockios.h and linux/if.h
_SIOCGIFFLAGS, _SIOCGIFMTU, _SIOCGIFHWADDR = 0x8913, 0x8921, 0x8927
_FLAGS = {0x1: "up", 0x2: "broadcast", 0x8: "loopback", 0x10: "point-to-point", 0x1000: "multicast"}
_NO_ADDRESS = bytes(6)


def interfaces() -> list[dict[str, JSON]]:
    """The network interfaces of this process's namespace, in the kernel's order."""
    found: list[dict[str, JSON]] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # it has gone meanwhile
                found.append(_interface(sock, name))
    return found


def _interface(sock: socket.socket, name: str) -> dict[str, JSON]:
    (flags,) = struct.unpack("H", _ask(sock, _SIOCGIFFLAGS, name)[:2])
    (mtu,) = struct.unpack("i", _ask(sock, _SIOCGIFMTU, name)[:4])
    address = _ask(sock, _SIOCGIFHWADDR, name)[2:8]
    return {
        "name": name,
        "mtu": mtu,
        "flags": [word for bit, word in _FLAGS.items() if flags & bit],
        "mac": "" if address == _NO_ADDRESS else address.hex(":"),
    }


def _ask(sock: socket.socket, request: int, name: str) -> bytes:
    answer = array.array("B", struct.pack("16s24x", name.encode()))
    fcntl.ioctl(sock.fileno(), request, answer)
    return answer.tobytes()[16:]


async def versions(executable: Sequence[str]) -> dict[str, JSON]:
    """Our version, and what ``-v`` of the executable tells; ``NA`` where it tells nothing."""
    told: dict[str, JSON] = {
        "bngblasterctrl-version": VERSION,
        "bngblaster-version": "NA",
        "bngblaster-compiler": "NA",
        "bngblaster-io-modes": [],
    }
    for line in (await _output([*executable, "-v"])).splitlines():
        name, _, value = line.partition(":")
        if name == "Version":
            told["bngblaster-version"] = value.strip()
        elif name == "Compiler":
            told["bngblaster-compiler"] = value.strip()
        elif name == "IO Modes":
            modes = value.replace(" (default)", "").split(",")
            told["bngblaster-io-modes"] = [mode.strip() for mode in modes]
    return told


async def _output(command: Sequence[str]) -> str:
    """What a program prints; nothing where it cannot be started, fails, or takes or prints too much."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        child = spawn(command, writing, nowhere)
    except OSError:
        os.close(reading)
        return ""
    finally:
        os.close(writing)
        os.close(nowhere)
    output, status = b"", 1
    try:
        async with asyncio.timeout(VERSION_TIMEOUT):
            while len(output) <= _OUTPUT_LIMIT and (data := await _read(reading)):
                output += data
            if len(output) <= _OUTPUT_LIMIT:
                status = await asyncio.shield(child.ended)
    except TimeoutError:
        pass
    finally:
        os.close(reading)
        if not child.ended.done():
            child.kill()
            await child.ended
    return output.decode("utf-8", "replace") if status == 0 else ""


async def _read(descriptor: int) -> bytes:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def come() -> None:
        loop.remove_reader(descriptor)
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, come)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, _OUTPUT_LIMIT)
