"""Errors with Pacemaker's return codes, in Bridle's tree of errors.

::

    IPCError                  errno and symbol say which one it is
    ├── IPCUsageError         EINVAL, EOPNOTSUPP, EMSGSIZE          (a LocalProtocolError)
    ├── IPCNotReady           EAGAIN, EALREADY                      (a BlockingIOError)
    ├── IPCProtocolError      EBADMSG                               (a RemoteProtocolError)
    └── IPCConnectionError    ENOTCONN, ECONNREFUSED, ECONNABORTED… (a TransportError)
        └── IPCTimeout        ETIMEDOUT                             (a DeadlineExceeded)

What a daemon answers a request with is a :class:`bridle.CommandError`, whose ``code`` is the return code.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from bridle.core.errors import (
    BridleError,
    DeadlineExceeded,
    LocalProtocolError,
    RemoteProtocolError,
    TransportError,
)
from bridle.net.libqb.errors import LibqbError
from bridle.wire.pacemaker_errors import name_of

__all__ = [
    "IPCConnectionError",
    "IPCError",
    "IPCNotReady",
    "IPCProtocolError",
    "IPCTimeout",
    "IPCUsageError",
    "ipc_error",
    "translated",
]


class IPCError(BridleError):
    """A call failed. ``errno`` is the return code that Pacemaker's function has for it, positive."""

    errno: int = errno.EIO

    @property
    def symbol(self) -> str:
        """The return code's name, such as ``ENOTCONN``."""
        return name_of(self.errno)


class IPCUsageError(IPCError, LocalProtocolError):
    """The call makes no sense here: EINVAL, EOPNOTSUPP; or what is sent is too large: EMSGSIZE."""


class IPCNotReady(IPCError, BlockingIOError):
    """Not now: EAGAIN, or EALREADY while an earlier request is not answered."""

    errno: int = errno.EAGAIN


class IPCProtocolError(IPCError, RemoteProtocolError):
    """The daemon sent what makes no sense: EBADMSG."""


class IPCConnectionError(IPCError, TransportError):
    """There is no connection: ENOTCONN, ECONNREFUSED, ECONNABORTED, or what the daemon refuses it with."""

    errno: int = errno.ENOTCONN


class IPCTimeout(IPCConnectionError, DeadlineExceeded):
    """The daemon took too long: ETIMEDOUT."""

    errno: int = errno.ETIMEDOUT


_USAGE = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.EMSGSIZE})
_NOT_READY = frozenset({errno.EAGAIN, errno.EALREADY})


def ipc_error(code: int, text: str = "", endpoint: str = "") -> IPCError:
    """The error for a return code."""
    text = text or os.strerror(code)
    error: IPCError
    if code in _USAGE:
        error = IPCUsageError(f"{text} [{endpoint}]" if endpoint else text)
    elif code in _NOT_READY:
        error = IPCNotReady(f"{text} [{endpoint}]" if endpoint else text)
    elif code == errno.EBADMSG:
        error = IPCProtocolError(text, endpoint=endpoint)
    elif code == errno.ETIMEDOUT:
        error = IPCTimeout(text, endpoint=endpoint)
    else:
        error = IPCConnectionError(text, endpoint=endpoint)
    error.errno = code
    return error


@contextmanager
def translated(endpoint: str) -> Iterator[None]:
    """Raise what the floors below raise as errors of this package."""
    try:
        yield
    except IPCError:
        raise
    except LibqbError as error:
        raise ipc_error(error.errno, error.text, endpoint) from error
    except RemoteProtocolError as error:
        raise ipc_error(errno.EBADMSG, error.text, endpoint) from error
    except LocalProtocolError as error:
        raise ipc_error(errno.EMSGSIZE, str(error), endpoint) from error
