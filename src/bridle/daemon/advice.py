"""What to do about that which most often keeps a daemon from starting.

The errors themselves stay in the words of the programs whose place Bridle takes; this is said behind them,
to whoever starts a daemon.
"""

from __future__ import annotations

import re
from pathlib import Path

from bridle.core.errors import BridleError

__all__ = ["advice_on"]

_LOCKED = re.compile(r"cannot lock socket lockfile, .*\.lock, : Resource temporarily unavailable")
_NO_FOLDER = re.compile(r"cannot create socket lockfile, (.*)\.lock, : No such file or directory")
_DHCP_PORT = re.compile(r"cannot open a DHCP socket on .*: (?:Permission denied|Operation not permitted)")
_LOW_PORT = re.compile(r"cannot listen on .*:[0-9]+: [Pp]ermission denied")


def advice_on(error: BridleError) -> str:
    """What is behind an error and what helps, to be said after its text; empty where the text says it."""
    text = str(error)
    if _LOCKED.search(text):
        return "another process serves this socket"
    found = _NO_FOLDER.search(text)
    if found is not None:
        return f"the folder {_missing(Path(found[1]).absolute().parent)} does not exist"
    if _DHCP_PORT.search(text):
        return "that needs CAP_NET_BIND_SERVICE and CAP_NET_RAW, as root has them; -p names another port"
    if _LOW_PORT.search(text):
        return "a port below 1024 needs CAP_NET_BIND_SERVICE, as root has it"
    return ""


def _missing(folder: Path) -> Path:
    """The outermost folder that does not exist of one that does not."""
    while not folder.parent.exists():
        folder = folder.parent
    return folder
