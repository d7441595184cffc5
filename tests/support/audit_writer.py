"""A process that writes an audit until it is killed, and tells which of its lines are on the disk."""

from __future__ import annotations

import asyncio
import os
import sys

from bridle.access.audit import Audit
from bridle.access.audit_settings import AuditSettings
from bridle.core.messages import Command


async def client(audit: Audit, name: str) -> None:
    """Send commands one after the other, and print those that are answered."""
    for number in range(1_000_000):
        mark = f"{name}-{number}"
        audit.record(Command("look", {"mark": mark}), "read", 0, 0.0)
        if await audit.commit(Command("change", {"mark": mark}), "write", 0, 0.0):
            os.write(1, f"{mark}\n".encode())


async def main(path: str, run: str) -> None:
    """Be as many clients as a batch gets long by."""
    audit = await Audit.open(
        AuditSettings(file=path, max_size=40_000, keep=0), lambda command: command.arguments
    )
    os.write(1, b"ready\n")
    await asyncio.gather(*(client(audit, f"{run}-{number}") for number in range(8)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
