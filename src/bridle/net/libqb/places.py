"""Where libqb's sockets and files are: its abstract names, and its directories."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from bridle.core.errors import EndpointError

__all__ = ["PLACES", "Places", "abstract"]

# The room for a name in a unix socket's address; an abstract one has a NUL before it.
_NAME_BYTES = 107


class Places(Struct, frozen=True):
    """The places that libqb was built with; Debian's are the defaults.

    ``memory`` is where the files of connections are. Where ``force_filesystem`` exists, services listen in
    ``sockets`` rather than under abstract names, which containers on one network share.
    """

    memory: str = "/dev/shm"
    sockets: str = "/tmp"
    force_filesystem: str = "/etc/libqb/force-filesystem-sockets"

    def service(self, name: str) -> str | bytes:
        """The address of a service's socket: a path, or bytes that begin with a NUL.

        Raises:
            EndpointError: the name is none.
        """
        if not name or "\0" in name:
            raise EndpointError(f"{name!r} is no name of a libqb service")
        if not Path(self.force_filesystem).exists():
            return abstract(name)
        path = str(Path(self.sockets, name))
        if len(path.encode()) > _NAME_BYTES:
            raise EndpointError(f"the path '{path}' is longer than {_NAME_BYTES} bytes")
        return path


PLACES = Places()


def abstract(name: str) -> bytes:
    """The abstract address of a name. libqb's addresses are always full length: shorter ones are others.

    Raises:
        EndpointError: it is too long.
    """
    data = name.encode("utf-8", "surrogateescape")
    if len(data) > _NAME_BYTES:
        raise EndpointError(f"the name '{name}' is longer than {_NAME_BYTES} bytes")
    return b"\0" + data.ljust(_NAME_BYTES, b"\0")
