"""A DHCPv4 client behind a relay, to see a lease come: python -m examples.dhcp_client PORT [HARDWARE-ADDRESS]

It asks a server on loopback as a relay agent does, which needs no rights.
"""

from __future__ import annotations

import ipaddress
import socket
import sys

from bridle.bundled.dhcp.packet4 import MessageType4, Packet4, decode4, encode4

RELAY = int(ipaddress.IPv4Address("127.0.0.1"))
# Seconds; a server on the same machine takes a millisecond.
PATIENCE = 3.0


def message(mac: bytes, options: dict[int, bytes]) -> bytes:
    """A message of the client, as its relay passes it on."""
    return encode4(Packet4(1, 1, 6, 1, 1, 0, 0, 0, 0, 0, RELAY, mac, b"", b"", options))


def main(words: list[str]) -> int:
    """Ask for a lease and print it."""
    if not words or not words[0].isdecimal():
        print(__doc__, file=sys.stderr)
        return 2
    server = ("127.0.0.1", int(words[0]))
    mac = bytes.fromhex(words[1].replace(":", "")) if len(words) > 1 else b"\x02\0\0\0\0\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        try:
            sock.sendto(message(mac, {53: bytes([MessageType4.DISCOVER])}), server)
            offer = decode4(sock.recv(4096))
            wanted = {50: offer.yiaddr.to_bytes(4, "big"), 54: offer.options[54]}
            sock.sendto(message(mac, {53: bytes([MessageType4.REQUEST]), **wanted}), server)
            answer = decode4(sock.recv(4096))
        except TimeoutError:
            print("no answer: is the server there, and enabled?", file=sys.stderr)
            return 1
    kind = MessageType4(answer.options[53][0]).name
    address = ipaddress.IPv4Address(answer.yiaddr)
    seconds = int.from_bytes(answer.options.get(51, b""), "big")
    print(f"{kind}: {address} for {seconds} seconds, to {mac.hex(':')}")
    return 0 if kind == "ACK" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
