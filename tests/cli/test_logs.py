"""The log on standard error: secrets do not reach it."""

from __future__ import annotations

import subprocess
import sys

from tests.support.bridle import COMMAND_SECONDS, bridle_environment

PROGRAM = """
import logging
from bridle.cli.logs import log_to_stderr
log_to_stderr("INFO")
log = logging.getLogger("bridle.test")
log.info("connecting to postgresql://kea:%s@db/kea", "s3cret")
log.warning('refused: {"password": "s3cret", "user": "kea"}')
try:
    raise ValueError("bad token=s3cret")
except ValueError:
    log.exception("failed")
log.info("nothing to hide: user=kea")
"""


def test_secrets_are_masked_in_the_log() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        env=bridle_environment(),
        check=True,
    )
    # The traceback shows the line of the program, which is code and no value.
    shown = [line for line in ended.stderr.splitlines() if 'raise ValueError("bad' not in line]
    assert "s3cret" not in "\n".join(shown)
    assert "postgresql://kea:********@db/kea" in ended.stderr
    assert "nothing to hide: user=kea" in ended.stderr
    assert "token=********" in ended.stderr
