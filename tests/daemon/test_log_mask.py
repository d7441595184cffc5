"""Secrets do not reach the log of a program that serves a daemon, whatever log it has."""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path

import pytest

import bridle
from bridle.core.log_mask import LOGGERS
from tests.support.loops import on_every_loop, on_virtual_clock
from tests.support.programs import ROOT

JSON = bridle.JSON
SENTENCE = "told: pairing-code=%s community=%s"
TOLD = ("c-12-7-33", "o-12-7-33")

_log = logging.getLogger("bridle.daemon")


class Pairing(bridle.Daemon):
    """Declares a secret."""

    secrets = ("pairing-code",)

    @bridle.command(access="write")
    def pair(self, code: str) -> None:
        """Fail, and tell all about it."""
        raise RuntimeError(f"refused: pairing-code={code} community={code} password={code}")


def test_every_logger_of_bridle_is_known() -> None:
    found: set[str] = set()
    for source in (ROOT / "src").rglob("*.py"):
        found.update(re.findall(r'getLogger\("([^"]+)"\)', source.read_text()))
    assert found
    assert found <= set(LOGGERS)


@on_every_loop
async def test_what_is_declared_is_masked_while_it_is_served(
    short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy: JSON = {
        "secrets": ["community"],
        "assign": [{"unix-user": os.getuid(), "role": "operator"}],
        "roles": [{"name": "operator", "accept-commands": "ALL"}],
    }
    file = short_path / "pairing.conf"
    file.write_text(json.dumps({"Pairing": {"access": policy}}))
    endpoint = f"unix:{short_path}/socket"
    async with (
        bridle.serve(Pairing(), endpoint, configuration_file=str(file)),
        bridle.connect_async(endpoint) as client,
    ):
        assert (await client.execute("pair", {"code": "12-7-33"})).result == 1
        _log.warning(SENTENCE, *TOLD)
    assert "12-7-33" not in caplog.text
    assert "RuntimeError: refused: pairing-code=******** community=******** password=********" in caplog.text
    assert "told: pairing-code=******** community=********" in caplog.messages
    _log.warning(SENTENCE, *TOLD)
    assert caplog.messages[-1] == SENTENCE % TOLD  # nobody is served any more who declares these


@on_virtual_clock
async def test_no_access_is_needed_for_it(short_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mine = logging.getLogger("bridle.of_a_program")
    async with bridle.serve(Pairing(), f"unix:{short_path}/socket"):
        _log.warning("community=%s pairing-code=%s", "public", "12-7-33")
        mine.error("password=12-7-33", stack_info=True)
        logging.getLogger("another").warning("password=mine")
    assert "12-7-33" not in caplog.text
    assert "community=public pairing-code=********" in caplog.messages
    assert "password=mine" in caplog.messages  # who else logs does as they like


@on_virtual_clock
async def test_a_sentence_that_cannot_be_made_is_left_to_logging(short_path: Path) -> None:
    async with bridle.serve(Pairing(), f"unix:{short_path}/socket"):
        record = logging.LogRecord("bridle.daemon", logging.ERROR, "", 1, "%d", ("x",), None)
        assert _log.filter(record)
        assert record.args == ("x",)
