"""Real Kea, its control agent and Bridle's, side by side: the same three daemons stand behind both agents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import kea
from tests.support.bridle import Agent, EmbeddedDaemon
from tests.support.programs import short_directory


@pytest.fixture(scope="session")
def real_kea() -> Iterator[kea.RealKea]:
    """Kea's three daemons. Tests leave them as they found them; those that shut one down start their own."""
    with kea.running_kea() as running:
        yield running


@pytest.fixture(scope="session")
def real_agent(real_kea: kea.RealKea) -> Iterator[kea.ControlAgent]:
    """Kea's control agent in front of :func:`real_kea`."""
    with short_directory() as directory, kea.ControlAgent(directory, real_kea.services) as agent:
        yield agent


@pytest.fixture(scope="session")
def agent(real_kea: kea.RealKea) -> Iterator[Agent]:
    """Bridle's agent in front of :func:`real_kea`."""
    with short_directory() as directory, Agent(directory, real_kea.services) as running:
        yield running


@pytest.fixture
def offline(short_path: Path) -> Iterator[dict[str, Path]]:
    """Three services that are not there: no socket, a socket nobody listens on, and one that hangs up."""
    with kea.absent_daemons(short_path) as services:
        yield services


@pytest.fixture(scope="session")
def thermostat() -> Iterator[EmbeddedDaemon]:
    """The example daemon that embeds Bridle, on a unix socket."""
    with (
        short_directory() as directory,
        EmbeddedDaemon("examples.thermostat:Thermostat", directory) as running,
    ):
        yield running


@pytest.fixture(scope="session")
def thermostat_agent(thermostat: EmbeddedDaemon) -> Iterator[Agent]:
    """Bridle's agent in front of the example daemon, which has every name that Kea's clients ask for."""
    names = ("dhcp4", "dhcp6", "d2", "Ddns")
    with short_directory() as directory, Agent(directory, dict.fromkeys(names, thermostat.socket)) as running:
        yield running
