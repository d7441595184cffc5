"""What stands in a DHCPv6 server's answer, and in the options of a question that it is made from."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from bridle.bundled.dhcp.allocation6 import Association
from bridle.bundled.dhcp.leases import Lease6, LeaseKind
from bridle.bundled.dhcp.names import ClientName, FqdnFlags, decode_labels, encode_labels
from bridle.bundled.dhcp.packet6 import options_in
from bridle.bundled.dhcp.settings import (
    ClientClass,
    Lifetime,
    OptionMap,
    Reservation6,
    Settings6,
    Subnet6,
)

__all__ = [
    "association_in",
    "association_option",
    "fqdn_in",
    "fqdn_option",
    "layers_of",
    "lifetimes_of",
    "requested_options",
    "status_option",
    "timers_of",
]

_IA_NA, _IA_PD, _IAADDR, _IAPREFIX, _STATUS = 3, 25, 5, 26, 13
_HEAD = struct.Struct("!III")
_OPTION = struct.Struct("!HH")
_ADDRESS = struct.Struct("!16sII")
_PREFIX = struct.Struct("!IIB16s")
# What the server itself writes.
_OWN = frozenset({1, 2, 3, 4, 5, 6, 8, 9, 13, 14, 25, 26, 39})


def association_in(kind: int, data: bytes) -> Association:
    """The association in the data of an IA option, which has its twelve bytes at least."""
    hints = []
    for code, inner in options_in(data[12:]):
        if kind == LeaseKind.ADDRESS and code == _IAADDR and len(inner) >= _ADDRESS.size:
            hints.append((inner[:16], 128))
        elif kind == LeaseKind.PREFIX and code == _IAPREFIX and len(inner) >= _PREFIX.size:
            hints.append((inner[9:25], inner[8]))
    return Association(kind, int.from_bytes(data[:4], "big"), tuple(hints))


def status_option(code: int, text: str) -> tuple[int, bytes]:
    """A status code option."""
    return _STATUS, code.to_bytes(2, "big") + text.encode()


def association_option(
    association: Association, renew: int, rebind: int, parts: Sequence[Lease6 | tuple[int, bytes]]
) -> tuple[int, bytes]:
    """The IA option of an answer, with leases and other options in it."""
    body = [_HEAD.pack(association.iaid, renew, rebind)]
    for part in parts:
        code, data = part if isinstance(part, tuple) else _lease_option(part)
        body += (_OPTION.pack(code, len(data)), data)
    return (_IA_NA if association.kind == LeaseKind.ADDRESS else _IA_PD), b"".join(body)


def _lease_option(lease: Lease6) -> tuple[int, bytes]:
    if lease.kind == LeaseKind.ADDRESS:
        return _IAADDR, _ADDRESS.pack(lease.address, lease.preferred_lifetime, lease.valid_lifetime)
    return _IAPREFIX, _PREFIX.pack(
        lease.preferred_lifetime, lease.valid_lifetime, lease.prefix_length, lease.address
    )


def layers_of(
    settings: Settings6,
    subnet: Subnet6 | None,
    reservation: Reservation6 | None,
    classes: Sequence[ClientClass],
) -> list[OptionMap]:
    """Where options are looked up, the most particular first."""
    found = (
        reservation.options if reservation is not None else {},
        subnet.options if subnet is not None else {},
        *(one.options for one in classes),
        settings.options,
    )
    return [layer for layer in found if layer]


def requested_options(layers: Sequence[OptionMap], asked: bytes) -> list[tuple[int, bytes]]:
    """The options to send to a client with this option request option."""
    found: dict[int, bytes] = {}
    for (code,) in struct.iter_unpack("!H", asked[: len(asked) & ~1]):
        for layer in layers:
            if code in layer and code not in _OWN:
                found.setdefault(code, layer[code].data)
    for layer in layers:
        for option in layer.values():
            if option.always_send and option.code not in _OWN:
                found.setdefault(option.code, option.data)
    return list(found.items())


def lifetimes_of(subnet: Subnet6, classes: Sequence[ClientClass]) -> tuple[int, int]:
    """Preferred and valid lifetime in seconds."""
    preferred: Lifetime = next((one.preferred for one in classes if one.preferred), subnet.preferred)
    valid: Lifetime = next((one.valid for one in classes if one.valid), subnet.valid)
    return min(preferred.default, valid.default), valid.default


def timers_of(subnet: Subnet6, preferred: int) -> tuple[int, int]:
    """T1 and T2 in seconds; 0 leaves it to the client."""
    renew, rebind = subnet.renew_timer, subnet.rebind_timer
    if subnet.calculate_tee_times:
        renew = int(preferred * subnet.t1_percent) if renew is None else renew
        rebind = int(preferred * subnet.t2_percent) if rebind is None else rebind
    renew, rebind = renew or 0, rebind or 0
    if rebind and renew > rebind:
        renew = 0
    return renew, rebind


def fqdn_in(data: bytes | None) -> tuple[FqdnFlags, str] | None:
    """A client's option 39; None where there is none, or it holds no name that can be read."""
    if not data:
        return None
    flags = FqdnFlags(s=bool(data[0] & 1), o=bool(data[0] & 2), n=bool(data[0] & 4))
    if flags.n and flags.s:
        return None
    try:
        return flags, decode_labels(data[1:])
    except ValueError:
        return None


def fqdn_option(name: ClientName) -> bytes:
    """Option 39 of an answer."""
    flags = name.flags
    assert flags is not None
    return bytes([flags.s | flags.o << 1 | flags.n << 2]) + encode_labels(name.name)
