"""Names that come from outside and become names of files: what is refused, and why.

BNG Blaster's own controller takes dots and slashes out of an instance's name, so that ``a.b`` is ``ab``, and
joins an upload's name to the folder as it is (``facts/bngblaster.md`` §5).
"""

from __future__ import annotations

import os

from bridle.agent.bngblaster.refusal import Refusal

__all__ = ["CONFIGURATION", "RUN_FILES", "SERVED_FILES", "check_instance", "check_upload"]

CONFIGURATION = "config.json"
SERVED_FILES = {
    CONFIGURATION: "application/json",
    "run.json": "application/json",
    "run.log": "text/x-log; charset=utf-8",
    "run_report.json": "application/json",
    "run.pcap": "application/vnd.tcpdump.pcap",
    "run.stdout": "text/plain; charset=utf-8",
    "run.stderr": "text/plain; charset=utf-8",
}
"""What can be read of an instance's folder, and its content types."""

RUN_FILES = (*(name for name in SERVED_FILES if name != CONFIGURATION), "run.pid", "run.sock")
"""What a run leaves behind, and what is removed before the next."""

# Characters of a name: four bytes each at most, and a file's name has 255 bytes.
NAME_LIMIT = 63
# Bytes of a unix socket's path, its NUL included: sun_path of the kernel.
_SOCKET_PATH_LIMIT = 108


def check_instance(name: str, directory: str) -> None:
    """See that a name can be an instance's: that of a folder in ``directory``, where a control socket fits.

    Raises:
        Refusal: it cannot; nothing is taken out of it to make it fit.
    """
    if not 0 < len(name) <= NAME_LIMIT:
        raise Refusal(400, f"an instance's name has 1 to {NAME_LIMIT} characters")
    wrong = next((one for one in name if one in "./\\" or not one.isprintable()), None)
    if wrong is not None:
        raise Refusal(400, f"an instance's name cannot have {wrong!a} in it")
    path = f"{directory}/{name}/run.sock"
    if len(os.fsencode(path)) >= _SOCKET_PATH_LIMIT:
        raise Refusal(400, f"the name is too long for a control socket in {directory}")


def check_upload(name: str) -> None:
    """See that an uploaded file can have a name: that of a file within the folder, and none of a run.

    Raises:
        Refusal: it cannot.
    """
    if not 0 < len(os.fsencode(name)) <= 255 or "/" in name or "\\" in name or not name.isprintable():
        raise Refusal(400, f"a file cannot have the name {name!a}", plain=True)
    if name.startswith("."):
        raise Refusal(400, "the name of an uploaded file cannot begin with a dot", plain=True)
    if name == CONFIGURATION or name in RUN_FILES:
        raise Refusal(400, f"{name} is not for uploads", plain=True)
