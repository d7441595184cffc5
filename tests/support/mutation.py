"""Packets that went wrong on their way: real ones, changed at random, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

__all__ = ["captured", "mutations"]

_VECTORS = Path(__file__).parent.parent / "vectors"


def captured(protocol: int) -> list[bytes]:
    """The captured messages of DHCPv4 or DHCPv6."""
    lines = (_VECTORS / f"dhcp{protocol}-packets.txt").read_text().splitlines()
    return [bytes.fromhex(line) for line in lines if not line.startswith("#")]


def mutations(packets: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """So many changed packets."""
    chance = random.Random(seed)
    for _ in range(count):
        packet = bytearray(chance.choice(packets))
        for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
            if packet:
                chance.choice(_CHANGES)(packet, chance)
        yield bytes(packet)


def _flip(packet: bytearray, chance: random.Random) -> None:
    packet[chance.randrange(len(packet))] ^= 1 << chance.randrange(8)


def _set(packet: bytearray, chance: random.Random) -> None:
    packet[chance.randrange(len(packet))] = chance.choice((0, 1, 2, 4, 127, 128, 254, 255))


def _cut(packet: bytearray, chance: random.Random) -> None:
    del packet[chance.randrange(len(packet)) :]


def _insert(packet: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(packet) + 1)
    packet[at:at] = chance.randbytes(chance.choice((1, 2, 4, 64, 300)))


def _remove(packet: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(packet))
    del packet[at : at + chance.choice((1, 2, 4, 20))]


def _double(packet: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(packet))
    part = packet[at : at + chance.randrange(1, 40)]
    packet[at:at] = part


_CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip,
    _flip,
    _set,
    _set,
    _cut,
    _insert,
    _remove,
    _double,
)
