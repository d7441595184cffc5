"""What goes wrong on a libqb connection, by the error numbers that the field knows."""

from __future__ import annotations

import errno
import os

from bridle.core.errors import DeadlineExceeded, TransportError

__all__ = ["LibqbError", "LibqbTimeout", "disconnected"]


class LibqbError(TransportError):
    """A call failed. ``errno`` is the number that libqb's functions would return:

    =============  ==========================================================================
    ECONNREFUSED   nobody listens under this name
    ECONNABORTED   the server is none that the client trusts
    EACCES, …      the server refused the client; whatever it said is passed on
    EAGAIN         there is no room now, or the server has asked for a pause
    ENOTCONN       the connection has ended
    EMSGSIZE       the message is larger than was agreed on
    EBADMSG        the other side broke the protocol
    =============  ==========================================================================
    """

    def __init__(self, code: int, text: str = "", *, endpoint: str = "") -> None:
        super().__init__(text or os.strerror(code), endpoint=endpoint)
        self.errno: int = code

    @property
    def symbol(self) -> str:
        """The name of the number, such as ``ENOTCONN``."""
        return errno.errorcode.get(self.errno, str(self.errno))


class LibqbTimeout(LibqbError, DeadlineExceeded):
    """Something took longer than the caller was willing to wait; ``errno`` is ETIMEDOUT."""

    def __init__(self, text: str, *, endpoint: str = "") -> None:
        super().__init__(errno.ETIMEDOUT, text, endpoint=endpoint)


def disconnected(endpoint: str) -> LibqbError:
    """The connection has ended."""
    return LibqbError(errno.ENOTCONN, "the connection has ended", endpoint=endpoint)
