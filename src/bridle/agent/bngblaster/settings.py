"""What a controller is configured with."""

from __future__ import annotations

import msgspec

__all__ = ["DIRECTORY", "EXECUTABLE", "ControllerSettings"]

# Those of BNG Blaster's controller.
DIRECTORY = "/var/bngblaster"
EXECUTABLE = "/usr/sbin/bngblaster"


class ControllerSettings(msgspec.Struct, frozen=True):
    """Where instances are kept, the words that start one, and whether files may be uploaded."""

    directory: str = DIRECTORY
    executable: tuple[str, ...] = (EXECUTABLE,)
    upload: bool = False
