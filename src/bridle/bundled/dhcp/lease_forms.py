"""Leases as Kea's commands tell and take them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from bridle.bundled.dhcp.leases import Lease4, Lease6, LeaseKind
from bridle.bundled.dhcp.settings import Subnet4, Subnet6
from bridle.core.errors import ArgumentError, CommandError
from bridle.core.messages import JSON, Command
from bridle.core.results import Result

__all__ = [
    "KINDS",
    "address4",
    "address6",
    "describe4",
    "describe6",
    "hexadecimal",
    "kind_of",
    "lease4",
    "lease6",
    "not_found",
    "parameter",
]

KINDS = {LeaseKind.ADDRESS: "IA_NA", LeaseKind.PREFIX: "IA_PD"}
_OTHER_STATES = (0, 1, 2)


def describe4(lease: Lease4) -> dict[str, JSON]:
    """An IPv4 lease."""
    told: dict[str, JSON] = {
        "cltt": lease.cltt,
        "fqdn-fwd": lease.fqdn_forward,
        "fqdn-rev": lease.fqdn_reverse,
        "hostname": lease.hostname,
        "hw-address": lease.hw_address.hex(":"),
        "ip-address": str(ipaddress.IPv4Address(lease.address)),
        "state": int(lease.state),
        "subnet-id": lease.subnet_id,
        "valid-lft": lease.valid_lifetime,
    }
    if lease.client_id:
        told["client-id"] = lease.client_id.hex(":")
    if lease.user_context is not None:
        told["user-context"] = lease.user_context
    return told


def describe6(lease: Lease6) -> dict[str, JSON]:
    """An IPv6 lease."""
    told: dict[str, JSON] = {
        "cltt": lease.cltt,
        "duid": lease.duid.hex(":"),
        "fqdn-fwd": lease.fqdn_forward,
        "fqdn-rev": lease.fqdn_reverse,
        "hostname": lease.hostname,
        "iaid": lease.iaid,
        "ip-address": str(ipaddress.IPv6Address(lease.address)),
        "preferred-lft": lease.preferred_lifetime,
        "state": int(lease.state),
        "subnet-id": lease.subnet_id,
        "type": KINDS[LeaseKind(lease.kind)],
        "valid-lft": lease.valid_lifetime,
    }
    if lease.kind == LeaseKind.PREFIX:
        told["prefix-len"] = lease.prefix_length
    if lease.hw_address:
        told["hw-address"] = lease.hw_address.hex(":")
    if lease.user_context is not None:
        told["user-context"] = lease.user_context
    return told


def hexadecimal(text: str) -> bytes:
    """Bytes written in hexadecimal digits, with or without colons.

    Raises:
        ArgumentError: with Kea's text.
    """
    wrong = re.search(r"[^0-9A-Fa-f: ]", text)
    if wrong is not None:
        raise ArgumentError(f"'{wrong[0]}' is not a valid hexadecimal digit in decoded string '{text}'")
    if ":" in text:
        parts = text.split(":")
        if any(len(part) > 2 for part in parts):
            raise ArgumentError(f"invalid format of the decoded string '{text}'")
        return bytes(int(part or "0", 16) for part in parts)
    digits = text.replace(" ", "")
    return bytes.fromhex(digits if len(digits) % 2 == 0 else f"0{digits}")


def parameter(
    command: Command,
    item: Mapping[str, JSON],
    name: str,
    kind: type,
    where: list[str | int],
    default: Any = ...,
) -> Any:
    """A parameter of a lease; ``default`` where it may be missing.

    Raises:
        ArgumentError: it is missing, or of another type; with the position.
    """
    if name not in item:
        if default is not ...:
            return default
        raise ArgumentError(f"missing parameter '{name}' ({command.locate(where)})", argument=name)
    value = item[name]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        place = command.locate([*where, name])
        raise ArgumentError(f"invalid type specified for parameter '{name}' ({place})", argument=name)
    return value


def _address(command: Command, item: Mapping[str, JSON], where: list[str | int], version: int) -> Any:
    text = parameter(command, item, "ip-address", str, where)
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        place = command.locate([*where, "ip-address"])
        raise ArgumentError(
            f"Failed to convert '{text}' to address: Failed to convert string to address '{text}': "
            f"Invalid argument({place})"
        ) from error
    if address.version != version:
        raise ArgumentError(f"Non-IPv{version} address specified: {text}")
    return address


def lease4(
    command: Command,
    item: Mapping[str, JSON],
    where: list[str | int],
    subnets: Mapping[int, Subnet4],
    now: int,
) -> Lease4:
    """The lease that a command asks for.

    Raises:
        ArgumentError: with Kea's text.
    """
    address = _address(command, item, where, 4)
    number = int(address)
    subnet = _subnet(
        command, item, where, subnets, address, lambda one: one.first <= number <= one.last, needed=True
    )
    assert isinstance(subnet, Subnet4)
    common = _common(command, item, where, subnet, now)
    client_id = parameter(command, item, "client-id", str, where, "")
    return Lease4(
        address=number,
        hw_address=hexadecimal(parameter(command, item, "hw-address", str, where)),
        client_id=hexadecimal(client_id) if client_id else b"",
        **common,
    )


def lease6(
    command: Command,
    item: Mapping[str, JSON],
    where: list[str | int],
    subnets: Mapping[int, Subnet6],
    now: int,
) -> Lease6:
    """The same for IPv6."""
    address = _address(command, item, where, 6)
    kind = _written_kind(parameter(command, item, "type", str, where, "IA_NA"))
    length = parameter(command, item, "prefix-len", int, where) if kind == LeaseKind.PREFIX else 128
    duid = hexadecimal(parameter(command, item, "duid", str, where))
    number = int(address)

    def contains(one: Subnet6) -> bool:
        return number >> (128 - one.length) == int.from_bytes(one.network, "big") >> (128 - one.length)

    needed = kind == LeaseKind.ADDRESS
    subnet = _subnet(command, item, where, subnets, address, contains, needed=needed)
    assert isinstance(subnet, Subnet6)
    iaid = parameter(command, item, "iaid", int, where)
    common = _common(command, item, where, subnet, now)
    hw_address = parameter(command, item, "hw-address", str, where, "")
    return Lease6(
        address=address.packed,
        kind=kind,
        prefix_length=length,
        duid=duid,
        iaid=iaid,
        hw_address=hexadecimal(hw_address) if hw_address else b"",
        preferred_lifetime=parameter(command, item, "preferred-lft", int, where, common["valid_lifetime"]),
        **common,
    )


def _subnet(
    command: Command,
    item: Mapping[str, JSON],
    where: list[str | int],
    subnets: Mapping[int, Any],
    address: Any,
    contains: Any,
    *,
    needed: bool,
) -> Any:
    """The subnet of a lease: the one that is named, or that the address lies in."""
    version = address.version
    number = parameter(command, item, "subnet-id", int, where, 0)
    if not number:
        for one in subnets.values():
            if contains(one):
                return one
        raise ArgumentError(f"subnet-id not specified and failed to find a subnet for address {address}")
    subnet = subnets.get(number)
    if subnet is None:
        raise ArgumentError(
            f"Invalid subnet-id: No IPv{version} subnet with subnet-id={number} currently configured."
        )
    if needed and not contains(subnet):
        raise ArgumentError(
            f"The address {address} does not belong to subnet {subnet.text}, subnet-id={number}"
        )
    return subnet


def _common(
    command: Command, item: Mapping[str, JSON], where: list[str | int], subnet: Any, now: int
) -> dict[str, Any]:
    valid = parameter(command, item, "valid-lft", int, where, subnet.valid.default)
    expire = parameter(command, item, "expire", int, where, 0)
    forward = parameter(command, item, "fqdn-fwd", bool, where, False)
    reverse = parameter(command, item, "fqdn-rev", bool, where, False)
    hostname = parameter(command, item, "hostname", str, where, "")
    if (forward or reverse) and not hostname:
        raise ArgumentError("No hostname specified and either forward or reverse fqdn was set to true.")
    state = parameter(command, item, "state", int, where, 0)
    if state not in _OTHER_STATES:
        raise ArgumentError(
            f"Invalid state value: {state}, supported values are: 0 (default), 1 (declined) and "
            "2 (expired-reclaimed)"
        )
    context = dict(parameter(command, item, "user-context", dict, where, {}))
    comment = parameter(command, item, "comment", str, where, "")
    if comment:
        context["comment"] = comment
    if expire and expire < valid:
        raise ArgumentError("expiration time is before the lease began")
    if not 0 <= valid <= 0xFFFFFFFF:
        raise ArgumentError(f"valid-lft {valid} is out of range")
    return {
        "valid_lifetime": valid,
        "cltt": expire - valid if expire else now,
        "subnet_id": subnet.id,
        "hostname": hostname.lower(),
        "fqdn_forward": forward,
        "fqdn_reverse": reverse,
        "state": state,
        "user_context": context or None,
    }


def _written_kind(text: str) -> LeaseKind:
    for kind, name in KINDS.items():
        if text in (name, str(int(kind))):
            return kind
    raise ArgumentError(f"Incorrect lease type: {text}, the only supported values are: na, ta and pd")


def kind_of(item: Mapping[str, JSON]) -> LeaseKind:
    """The kind of lease that is asked for.

    Raises:
        ArgumentError: there is no such kind.
    """
    text = item.get("type", "IA_NA")
    for kind, name in KINDS.items():
        if text == name:
            return kind
    raise ArgumentError(
        f"Invalid lease type specified: {text}, only supported values are: IA_NA, IA_TA, IA_PD and V4"
    )


def address4(text: JSON) -> int:
    """An IPv4 address.

    Raises:
        ArgumentError: it is none.
    """
    if not isinstance(text, str):
        raise ArgumentError("'ip-address' is not a string.")
    try:
        return int(ipaddress.IPv4Address(text))
    except ValueError as error:
        raise ArgumentError(f"Invalid IPv4 address specified: {text}") from error


def address6(text: JSON) -> bytes:
    """An IPv6 address.

    Raises:
        ArgumentError: it is none.
    """
    if not isinstance(text, str):
        raise ArgumentError("'ip-address' is not a string.")
    try:
        return ipaddress.IPv6Address(text).packed
    except ValueError as error:
        raise ArgumentError(f"Invalid IPv6 address specified: {text}") from error


def not_found(text: str) -> CommandError:
    """What is asked for does not exist: result 3."""
    return CommandError(text, Result.EMPTY)
