"""``python -m bench.gaps SECONDS``: the longest time between two answers of a DHCPv4 server, in
milliseconds, as this network namespace sees them. The time until the first one does not count."""

from __future__ import annotations

import socket
import sys
import time

_ALL = 3
_ETHERNET, _UDP, _SERVER_PORT = 14, 17, 67


def main(seconds: float) -> float:
    """Watch for so many seconds from the first answer on."""
    longest, last, ends = 0.0, 0.0, time.monotonic() + 3 * seconds
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)) as sock:
        sock.settimeout(0.5)
        while time.monotonic() < ends:
            try:
                frame, (_, _, direction, *_) = sock.recvfrom(2048)
            except TimeoutError:
                continue
            if direction == socket.PACKET_OUTGOING or not _is_answer(frame):
                continue
            now = time.monotonic()
            if last:
                longest = max(longest, now - last)
            else:
                ends = now + seconds
            last = now
    return longest * 1000


def _is_answer(frame: bytes) -> bool:
    head = frame[_ETHERNET:]
    if frame[12:14] != b"\x08\x00" or len(head) < 28 or head[9] != _UDP:
        return False
    start = (head[0] & 15) * 4
    return int.from_bytes(head[start : start + 2], "big") == _SERVER_PORT


if __name__ == "__main__":
    print(main(float(sys.argv[1])))
