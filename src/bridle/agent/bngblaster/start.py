"""What a start is asked with, and the command line that it becomes (``facts/bngblaster.md`` §5)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from bridle.agent.bngblaster.folder import Folder
from bridle.agent.bngblaster.names import CONFIGURATION
from bridle.agent.bngblaster.refusal import Refusal

__all__ = ["StartRequest", "command_line"]

_Flags = list[str] | None
_Count = Annotated[int, msgspec.Meta(ge=0)]


class StartRequest(msgspec.Struct, frozen=True):
    """How an instance is to run. ``run.json`` is this; its members that nobody knows are left alone."""

    report: bool = False
    report_flags: _Flags = None
    logging: bool = False
    logging_flags: _Flags = None
    pcap_capture: bool = False
    pppoe_session_count: _Count = 0
    session_count: _Count = 0
    stream_config: str = ""
    metric_flags: _Flags = None


def command_line(executable: Sequence[str], folder: Folder, request: StartRequest) -> list[str]:
    """The words that start an instance.

    Raises:
        Refusal: the file with the streams is none of the instance's.
    """
    words = [*executable, "-C", folder.at(CONFIGURATION), "-S", folder.at("run.sock")]
    if request.report:
        words += ["-J", folder.at("run_report.json")]
    for flag in request.report_flags or ():
        words += ["-j", flag]
    if request.logging:
        words += ["-L", folder.at("run.log")]
    for flag in request.logging_flags or ():
        words += ["-l", flag]
    if request.pcap_capture:
        words += ["-P", folder.at("run.pcap")]
    count = request.session_count or request.pppoe_session_count
    if count:
        words += ["-c", str(count)]
    if request.stream_config:
        words += ["-T", _within(folder, request.stream_config)]
    if any("\0" in word for word in words):
        raise Refusal(400, "no flag can have a NUL in it")
    return words


def _within(folder: Folder, name: str) -> str:
    """The path of a file of the instance, whose name is taken relative to its folder."""
    if "\0" in name:
        raise Refusal(400, "stream_config: no file can have a NUL in its name")
    path = os.path.realpath(Path(folder.path, name))
    if not path.startswith(os.path.realpath(folder.path) + os.sep):
        raise Refusal(400, f"stream_config: {name!a} is no file in the instance's folder")
    return path
