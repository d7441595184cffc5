"""Files that several processes have in memory.

``mmap`` of the standard library keeps a descriptor for each; six of them for each client are too many. And a
ring is mapped twice, one behind the other, so that what runs over its end goes on at its beginning.

Who has such a file open can end the process that has it mapped, and nothing helps: cut short, the file kills
whoever touches the part that is gone (SIGBUS; the kernel has no seal for files in ``/dev/shm``), and a
semaphore that is scribbled over at the right moment makes glibc abort. C's libqb has the same weakness. So
memory is shared with those who are trusted with the process's life: root, the server's own user, and the
administrators of a cluster, who may do with it what they want anyway. For others there is the transport on
sockets, which shares no memory that the server reads; :func:`bridle.net.libqb.trust.cautious` gives it to
them.
"""

from __future__ import annotations

import ctypes
import mmap
import os

__all__ = ["Mapping"]

# MAP_FIXED and PROT_NONE, which the mmap module has no names for.
_FIXED = 0x10
_NO_ACCESS = 0
_WRITABLE = 0x200  # PyBUF_WRITE
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_map = _libc.mmap
_map.restype = ctypes.c_void_p
_map.argtypes = (
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int),
    ctypes.c_long,
)
_unmap = _libc.munmap
_unmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_view_of = ctypes.pythonapi.PyMemoryView_FromMemory
_view_of.restype = ctypes.py_object
_view_of.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)


def _mapped(address: int | None, size: int, protection: int, flags: int, descriptor: int) -> int:
    found = _map(address, size, protection, flags, descriptor, 0)
    if found is None or found == _FAILED:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(found)


class Mapping:
    """A file in memory, shared. ``view`` are its bytes, at ``address``; none are left after :meth:`close`."""

    def __init__(self, descriptor: int, size: int, *, twice: bool = False) -> None:
        """Map the first ``size`` bytes of an open file, ``twice`` with a second time behind them: whole
        pages.

        Raises:
            OSError: the kernel refuses.
        """
        self.address: int
        self._size = size * 2 if twice else size
        access = mmap.PROT_READ | mmap.PROT_WRITE
        if twice:
            self.address = _mapped(None, self._size, _NO_ACCESS, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1)
            try:
                for place in (self.address, self.address + size):
                    _mapped(place, size, access, mmap.MAP_SHARED | _FIXED, descriptor)
            except BaseException:
                _unmap(self.address, self._size)
                raise
        else:
            self.address = _mapped(None, size, access, mmap.MAP_SHARED, descriptor)
        self.view: memoryview = _view_of(self.address, self._size, _WRITABLE)
        self.words: memoryview = self.view[: self._size // 4 * 4].cast("I")
        """The bytes as 32-bit numbers."""

    def close(self) -> None:
        """Forget it; whoever has a view of it gets a ValueError from then on."""
        if self._size:
            size, self._size = self._size, 0
            self.words.release()
            self.view.release()
            _unmap(self.address, size)
