"""An echo service on libqb's IPC: ``python -m bench.libqb_echo NAME SHM|SOCKET``, until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import sys

import uvloop

from bridle.net.libqb.server import LibqbServer
from bridle.net.libqb.trust import own_client, own_rights
from bridle.wire.libqb import Transport
from tests.support.libqb import Echo


async def serve(name: str, transport: Transport) -> None:
    """Answer every message with itself."""
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    server = LibqbServer(name, Echo, transport=transport, admit=own_client, rights=own_rights)
    server.start()
    print("ready", flush=True)
    await end.wait()
    await server.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sys.argv[1], Transport[sys.argv[2]]))
