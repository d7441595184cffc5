"""The session daemon in the place of the program ``bngblaster``: what its command line says, a report, a log.

It is started by whoever starts bngblaster, such as its controller, and ends as bngblaster does: when all
sessions have been ended, with the report written.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bridle.bundled.bng.bng import Bng
from bridle.bundled.bng.report import report
from bridle.bundled.bng.settings import BngSettings, StreamSettings, check_names
from bridle.core.errors import ConfigurationError
from bridle.daemon.document import Document, read_file
from bridle.wire.bngblaster_json import encode

__all__ = ["Overrides", "Program"]

_log = logging.getLogger("bridle.bng")


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """What a command line says in the place of the configuration; None where it says nothing.

    ``streams`` is a file with more of them; ``group_count`` groups begin at ``group``; ``zapping_interval``
    is in seconds.
    """

    count: int | None = None
    streams: str | None = None
    username: str | None = None
    password: str | None = None
    group: str | None = None
    source: str | None = None
    group_count: int | None = None
    zapping_interval: int | None = None


class Program(Bng):
    """A session daemon that is run as a program.

    ``report_file`` is where the report goes when it ends, with ``contents`` listed one by one.
    """

    root = "bngblaster"

    def __init__(
        self,
        overrides: Overrides = Overrides(),  # noqa: B008 - it is frozen
        *,
        report_file: str | None = None,
        contents: frozenset[str] = frozenset(),
        clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(clock=clock)
        self._overrides = overrides
        self._report_file = report_file
        self._contents = contents
        self._told: set[str] = set()

    def check_configuration(self, document: Document) -> BngSettings:
        """Read the configuration, with what the command line says in its place."""
        settings = super().check_configuration(document)
        replaced = _override(settings, self._overrides)
        replaced.check()
        return replaced

    async def start(self) -> None:
        """Let time pass."""
        await super().start()
        _log.info("Total PPS of all streams: %.2f", self._packets_a_second())
        _log.info("All network interfaces resolved")

    def _packets_a_second(self) -> float:
        simulation = self.simulation
        flows = [flow for session in simulation.sessions for flow in session.flows if flow is not None]
        return sum(flow.pps for flow in flows) + sum(stream.flow.pps for stream in simulation.streams)

    def tear_down(self) -> None:
        """End all sessions, and then the program; SIGINT asks for it."""
        _log.info("Teardown request")
        self.catch_up()
        self.simulation.tear_down()
        self.catch_up()

    def catch_up(self) -> None:
        """Let everything happen that is due, and log what all sessions have come to."""
        super().catch_up()
        tally = self.simulation.tally
        if tally.sessions and tally.established == tally.sessions:
            self._tell_once("ALL SESSIONS ESTABLISHED")
        if tally.flows and tally.verified == tally.flows:
            self._tell_once("ALL SESSION TRAFFIC FLOWS VERIFIED")

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            _log.info(text)

    async def stop(self) -> None:
        """Let no more time pass, and write the report."""
        self.catch_up()
        await super().stop()
        if self._report_file is not None:
            self._write_report(self._report_file)

    def _write_report(self, name: str) -> None:
        path, beside = Path(name), Path(f"{name}.{os.getpid()}")
        try:
            beside.write_bytes(encode(report(self.simulation, self._contents)))
            beside.replace(path)
        except OSError as error:
            _log.error("Failed to create JSON report file %s: %s", name, error.strerror)
            beside.unlink(missing_ok=True)


def _override(settings: BngSettings, given: Overrides) -> BngSettings:
    replace: Any = msgspec.structs.replace
    changed: dict[str, Any] = {}
    if given.count is not None:
        changed["sessions"] = replace(settings.sessions, count=given.count)
    authentication = _given(username=given.username, password=given.password)
    if authentication:
        ppp = settings.ppp
        changed["ppp"] = replace(ppp, authentication=replace(ppp.authentication, **authentication))
    igmp = _given(
        group=given.group,
        source=given.source,
        group_count=given.group_count,
        zapping_interval=given.zapping_interval,
    )
    if igmp:
        changed["igmp"] = replace(settings.igmp, **igmp)
    if given.streams is not None:
        changed["streams"] = [*settings.streams, *_read_streams(given.streams)]
    replaced: BngSettings = replace(settings, **changed)
    return replaced


def _given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _read_streams(name: str) -> list[StreamSettings]:
    """The streams of a file of their own.

    Raises:
        ConfigurationError: it cannot be read, or is none of that kind.
    """
    document = read_file(name, "", rootless=True)
    value = document.value[""]
    assert isinstance(value, dict)
    others = [key for key in value if key != "streams"]
    if others:
        raise document.error(f"{name}: unknown parameter '{others[0]}' beside the streams", ["", others[0]])
    try:
        check_names(value, ())
        return msgspec.convert(value.get("streams", []), list[StreamSettings], str_keys=True)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{name}: {error}") from error
    except ConfigurationError as error:
        raise document.placed(error, [""]) from error
