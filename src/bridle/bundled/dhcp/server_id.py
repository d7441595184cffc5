"""A DHCPv6 server's DUID: made once, and kept in a file as Kea keeps it."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

from bridle.bundled.dhcp.scope_settings import identifier_bytes
from bridle.bundled.dhcp.settings import Settings6
from bridle.core.errors import ConfigurationError

__all__ = ["FILE_NAME", "server_id"]

FILE_NAME = "kea-dhcp6-serverid"
_ETHERNET = 1
# DUID times count from 2000 (RFC 8415 §11.2).
_EPOCH = 946684800
# Kea's number, which it uses where an enterprise has none.
_ENTERPRISE = 2495
_INTERFACES = Path("/sys/class/net")


def server_id(settings: Settings6) -> bytes:
    """The DUID that the settings ask for: that of the file where it is of their type, or else a new one.

    Raises:
        ConfigurationError: it cannot be kept.
    """
    if not settings.server_id_persist:
        return _make(settings)
    path = Path(settings.data_directory) / FILE_NAME
    known = _read(path)
    if known is not None and _fits(known, settings):
        return known
    made = _make(settings)
    try:
        path.write_text(made.hex(":") + "\n")
    except OSError as error:
        raise ConfigurationError(
            f"the server identifier cannot be kept in {path}: {error.strerror}; see 'data-directory', or "
            "'persist' of 'server-id'"
        ) from error
    return made


def _read(path: Path) -> bytes | None:
    try:
        found = identifier_bytes(path.read_text().strip())
    except (OSError, ValueError):
        return None
    return found if len(found) > 2 else None


def _fits(known: bytes, settings: Settings6) -> bool:
    """Whether a DUID is what the settings ask for, as far as they ask for something."""
    kind = {"LLT": 1, "EN": 2, "LL": 3}[settings.server_id_type]
    if int.from_bytes(known[:2], "big") != kind:
        return False
    wanted = settings.server_id_identifier
    return not wanted or known.endswith(wanted)


def _make(settings: Settings6) -> bytes:
    identifier = settings.server_id_identifier
    if settings.server_id_type == "EN":
        enterprise = settings.server_id_enterprise or _ENTERPRISE
        return b"\0\2" + enterprise.to_bytes(4, "big") + (identifier or secrets.token_bytes(8))
    kind = (settings.server_id_htype or _ETHERNET).to_bytes(2, "big")
    address = identifier or _hardware_address()
    if settings.server_id_type == "LL":
        return b"\0\3" + kind + address
    when = settings.server_id_time or max(0, int(time.time()) - _EPOCH)
    return b"\0\1" + kind + (when & 0xFFFFFFFF).to_bytes(4, "big") + address


def _hardware_address() -> bytes:
    """The address of an interface of this machine; a random one where none has any."""
    for interface in sorted(_INTERFACES.iterdir()) if _INTERFACES.is_dir() else ():
        try:
            found = bytes.fromhex((interface / "address").read_text().strip().replace(":", ""))
        except (OSError, ValueError):
            continue
        if len(found) == 6 and any(found):
            return found
    # Locally administered, as nobody gave it out.
    return bytes([0x02]) + secrets.token_bytes(5)
