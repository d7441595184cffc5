"""What a client is called in DNS, and who writes it there (RFC 4702, RFC 4704; Kea's ``ddns-*``).

The flags of the FQDN options are negotiated alike in DHCPv4 and DHCPv6; only where the bits stand differs.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from bridle.bundled.dhcp.settings import DdnsBehaviour

__all__ = ["ClientName", "FqdnFlags", "decode_labels", "encode_labels", "generated_name", "name_client"]

_LABEL_LIMIT = 63
_NAME_LIMIT = 255


class FqdnFlags(msgspec.Struct, frozen=True):
    """S: the server updates the forward name. O: the server decided so against the client. N: nobody updates
    anything. E (DHCPv4 only): names are in DNS wire form."""

    s: bool = False
    o: bool = False
    n: bool = False
    e: bool = False


class ClientName(msgspec.Struct, frozen=True):
    """A client's full name with the final dot, in lower case, and which updates the server makes. ``flags``
    answers the client's FQDN option, where it sent one."""

    name: str = ""
    forward: bool = False
    reverse: bool = False
    flags: FqdnFlags | None = None


def name_client(
    behaviour: DdnsBehaviour,
    *,
    enabled: bool,
    fqdn: tuple[FqdnFlags, str] | None,
    hostname: str,
    reserved: str,
    address: str,
) -> ClientName:
    """Decide a client's name.

    ``fqdn`` is its FQDN option, ``hostname`` its host name option, ``reserved`` the name of its reservation.
    ``enabled`` tells whether updates are made at all. ``address`` is what a generated name is made of.
    """
    updates = enabled and behaviour.send_updates
    if fqdn is not None:
        flags = negotiate(fqdn[0], behaviour, updates=updates)
        name = _full_name(behaviour, reserved or fqdn[1], address, present=bool(fqdn[1]), asked=True)
        return ClientName(name, flags.s, not flags.n, flags)
    name = _full_name(behaviour, reserved or hostname, address, present=bool(hostname), asked=False)
    return ClientName(name, updates and bool(name), updates and bool(name))


def negotiate(asked: FqdnFlags, behaviour: DdnsBehaviour, *, updates: bool) -> FqdnFlags:
    """What a server answers to a client's flags."""
    if not updates:
        return FqdnFlags(s=False, o=asked.s, n=True, e=asked.e)
    if asked.n:
        if behaviour.override_no_update:
            return FqdnFlags(s=True, o=True, n=False, e=asked.e)
        return FqdnFlags(s=False, o=False, n=True, e=asked.e)
    if not asked.s and behaviour.override_client_update:
        return FqdnFlags(s=True, o=True, n=False, e=asked.e)
    return FqdnFlags(s=asked.s, o=False, n=False, e=asked.e)


def generated_name(behaviour: DdnsBehaviour, address: str) -> str:
    """A name made of an address: ``myhost-192-0-2-1.example.org.``"""
    return _qualified(f"{behaviour.generated_prefix}-{re.sub('[.:]', '-', address)}", behaviour)


def _full_name(behaviour: DdnsBehaviour, name: str, address: str, *, present: bool, asked: bool) -> str:
    mode = behaviour.replace_client_name
    name = _cleaned(name, behaviour)
    if mode == "always" or mode == ("when-present" if present else "when-not-present"):
        return generated_name(behaviour, address)
    if not name:
        return generated_name(behaviour, address) if asked else ""
    return _qualified(name, behaviour, partial=asked)


def _qualified(name: str, behaviour: DdnsBehaviour, *, partial: bool = True) -> str:
    name = name.lower()
    if name.endswith("."):
        return name
    suffix = behaviour.qualifying_suffix.lower().strip(".")
    known = not suffix or name == suffix or name.endswith(f".{suffix}")
    # A host name option with dots is a full name, as for Kea; in an FQDN option only a final dot says so.
    return f"{name}." if known or ("." in name and not partial) else f"{name}.{suffix}."


@lru_cache(maxsize=64)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def _cleaned(name: str, behaviour: DdnsBehaviour) -> str:
    if not name or not behaviour.hostname_char_set:
        return name
    pattern = _pattern(behaviour.hostname_char_set)
    return ".".join(pattern.sub(behaviour.hostname_char_replacement, label) for label in name.split("."))


def encode_labels(name: str) -> bytes:
    """A name as DNS has it on the wire; without the final zero where it is not full. Too long: empty."""
    full = name.endswith(".")
    labels = [label.encode("ascii", "ignore") for label in name.rstrip(".").split(".") if label]
    if any(len(label) > _LABEL_LIMIT for label in labels):
        return b""
    data = b"".join(bytes([len(label)]) + label for label in labels) + (b"\0" if full else b"")
    return data if len(data) <= _NAME_LIMIT else b""


def decode_labels(data: bytes) -> str:
    """The name in DNS wire form; one without the final zero has no final dot.

    Raises:
        ValueError: it is no name.
    """
    labels: list[str] = []
    position = 0
    while position < len(data):
        length = data[position]
        if length == 0:
            return ".".join(labels) + "." if labels else ""
        if length > _LABEL_LIMIT or position + 1 + length > len(data):
            raise ValueError("not a domain name")
        labels.append(data[position + 1 : position + 1 + length].decode("ascii"))
        position += 1 + length
    return ".".join(labels)
