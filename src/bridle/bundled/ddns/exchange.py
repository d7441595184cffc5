"""One question to a DNS server and its answer, over UDP.

dnspython makes and reads the messages. Its own asyncio transport is not used: it makes a transport for each
question, and cancelling one on uvloop can leave the loop unable to close.
"""

from __future__ import annotations

import asyncio
import socket

import dns.exception
import dns.message

__all__ = ["exchange"]

_LARGEST = 65535


async def exchange(message: dns.message.Message, host: str, port: int, timeout: float) -> dns.message.Message:
    """Ask, and wait for the answer, at most ``timeout`` seconds.

    Raises:
        TimeoutError: there was none.
        OSError: the server cannot be reached.
        dns.exception.DNSException: the answer cannot be read, or its signature is wrong.
    """
    wire = message.to_wire()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        # Connected, the kernel drops what comes from anywhere else.
        sock.connect((host, port))
        sock.send(wire)
        async with asyncio.timeout(timeout):
            while True:
                data = await _receive(sock)
                if data[:2] == wire[:2]:
                    return _read(data, message)


def _read(data: bytes, question: dns.message.Message) -> dns.message.Message:
    answer = dns.message.from_wire(data, keyring=question.keyring, request_mac=question.mac)
    if not question.is_response(answer):
        raise OSError("the answer is to another question")
    return answer


async def _receive(sock: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    came: asyncio.Future[bytes] = loop.create_future()

    def on_readable() -> None:
        if came.done():
            return
        try:
            came.set_result(sock.recv(_LARGEST))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            came.set_exception(error)

    loop.add_reader(sock, on_readable)
    try:
        return await came
    finally:
        loop.remove_reader(sock)
