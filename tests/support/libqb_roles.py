"""A process that is somebody else, at one end of libqb.

``python -m tests.support.libqb_roles UID GID GROUPS connect NAME shm|socket DIRECTORY`` connects, and prints
``ok`` or the error's name; ``… serve NAME shm|socket DIRECTORY`` is an echo service until SIGTERM, and prints
``ready``. ``GROUPS`` are supplementary ones, with commas between; an empty word is none; ``-`` as UID changes
nothing.

Rights are given up once everything is loaded: others may not be able to read this interpreter's files.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from bridle.net.libqb.client import connect
from bridle.net.libqb.errors import LibqbError
from bridle.net.libqb.places import Places
from bridle.net.libqb.server import LibqbServer
from bridle.wire.libqb import Transport
from tests.support.libqb import ANYBODY, Echo, plain


async def _serve(name: str, transport: Transport, places: Places) -> None:
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    server = LibqbServer(name, Echo, transport=transport, places=places, admit=_admit)
    server.start()
    _say("ready")
    await end.wait()
    await server.close()


def _admit(client: object) -> int:
    """Anybody: who may connect is not what these services are for."""
    return 0


def _connect(name: str, places: Places) -> None:
    try:
        with connect(name, places=places, trusted=ANYBODY) as connection:
            connection.send(plain(0))
            connection.receive_response(5)
    except LibqbError as error:
        _say(error.symbol)
    else:
        _say("ok")


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(uid: str, gid: str, groups: str, role: str, name: str, transport: str, directory: str) -> None:
    """Play a role."""
    places = Places(memory=directory, sockets=directory, force_filesystem=f"{directory}/force")
    if uid != "-":
        os.setgroups([int(group) for group in groups.split(",") if group])
        os.setresgid(int(gid), int(gid), int(gid))
        os.setresuid(int(uid), int(uid), int(uid))
    if role == "serve":
        asyncio.run(_serve(name, Transport[transport.upper()], places))
    else:
        _connect(name, places)


if __name__ == "__main__":
    main(*sys.argv[1:])
