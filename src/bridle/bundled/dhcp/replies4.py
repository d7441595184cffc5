"""What stands in a DHCPv4 server's answer, besides the address."""

from __future__ import annotations

from collections.abc import Sequence

from bridle.bundled.dhcp.names import ClientName, FqdnFlags, decode_labels, encode_labels
from bridle.bundled.dhcp.settings import (
    ClientClass,
    Lifetime,
    OptionMap,
    Pool4,
    Reservation4,
    Settings4,
    Subnet4,
)

__all__ = [
    "fqdn_in",
    "fqdn_option",
    "hostname_in",
    "layers_of",
    "lifetime_of",
    "requested_options",
    "timers_of",
]

# Routers, domain name servers, domain name: sent where they are configured, asked for or not, as Kea does.
_BASIC = (3, 6, 15)
# What the server itself writes: a configured value, or a client's wish, changes nothing.
_OWN = frozenset({50, 51, 53, 54, 55, 58, 59, 61, 81, 82})


def layers_of(
    settings: Settings4,
    subnet: Subnet4 | None,
    pool: Pool4 | None,
    reservation: Reservation4 | None,
    classes: Sequence[ClientClass],
) -> list[OptionMap]:
    """Where options are looked up, the most particular first."""
    layers: list[OptionMap] = []
    if reservation is not None and reservation.options:
        layers.append(reservation.options)
    if pool is not None and pool.options:
        layers.append(pool.options)
    if subnet is not None and subnet.options:
        layers.append(subnet.options)
    layers.extend(one.options for one in classes if one.options)
    if settings.options:
        layers.append(settings.options)
    return layers


def requested_options(layers: Sequence[OptionMap], asked: bytes) -> dict[int, bytes]:
    """The options to send to a client that asked for these codes."""
    found: dict[int, bytes] = {}
    if not layers:
        return found
    for code in (*asked, *_BASIC):
        if code in found or code in _OWN:
            continue
        for layer in layers:
            option = layer.get(code)
            if option is not None:
                found[code] = option.data
                break
    for layer in layers:
        for option in layer.values():
            if option.always_send and option.code not in found and option.code not in _OWN:
                found[option.code] = option.data
    return found


def lifetime_of(subnet: Subnet4, classes: Sequence[ClientClass], wish: bytes | None) -> int:
    """Seconds that a lease lasts; ``wish`` is the client's option 51."""
    valid: Lifetime = subnet.valid
    for one in classes:
        if one.valid is not None:
            valid = one.valid
            break
    return valid.choose(int.from_bytes(wish, "big") if wish is not None and len(wish) == 4 else None)


def timers_of(subnet: Subnet4, lifetime: int) -> tuple[int | None, int | None]:
    """T1 and T2 in seconds, where they are sent: T1 < T2 < lifetime, or not at all."""
    renew, rebind = subnet.renew_timer, subnet.rebind_timer
    if subnet.calculate_tee_times:
        renew = int(lifetime * subnet.t1_percent) if renew is None else renew
        rebind = int(lifetime * subnet.t2_percent) if rebind is None else rebind
    if rebind is not None and rebind >= lifetime:
        rebind = None
    if renew is not None and renew >= (lifetime if rebind is None else rebind):
        renew = None
    return renew, rebind


def fqdn_in(data: bytes | None) -> tuple[FqdnFlags, str] | None:
    """A client's option 81; None where there is none, or it holds no name that can be read."""
    if data is None or len(data) < 3:
        return None
    flags = FqdnFlags(s=bool(data[0] & 1), o=bool(data[0] & 2), e=bool(data[0] & 4), n=bool(data[0] & 8))
    if flags.n and flags.s:
        return None
    try:
        name = decode_labels(data[3:]) if flags.e else data[3:].rstrip(b"\0").decode("ascii")
    except ValueError:
        return None
    return flags, name


def hostname_in(data: bytes | None) -> str:
    """A client's option 12, where it can be read."""
    if not data:
        return ""
    try:
        return data.rstrip(b"\0").decode("ascii").strip(".")
    except ValueError:
        return ""


def fqdn_option(name: ClientName) -> bytes:
    """Option 81 of an answer."""
    flags = name.flags
    assert flags is not None
    bits = flags.s | flags.o << 1 | flags.e << 2 | flags.n << 3
    text = encode_labels(name.name) if flags.e else name.name.encode("ascii", "ignore")
    return bytes([bits, 255, 255]) + text[:252]
