"""Real DHCP clients against our servers, in network namespaces."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dhcp import DhcpServer, configuration4, configuration6, our_server, perfdhcp
from tests.support.netns import Link, link
from tests.support.programs import require, short_directory

pytestmark = [pytest.mark.namespaces, pytest.mark.peers("perfdhcp", "ip", "udhcpc"), pytest.mark.timeout(90)]

SCRIPT = """#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
echo "$1 $ip $router $dns $lease" >> "$REPORT"
[ "$1" = bound ] && ip addr add "$ip/8" dev "$interface"
exit 0
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Link]:
    with link() as made:
        yield made


@pytest.fixture(params=[False, True], ids=["one thread", "threads"])
def threads(request: pytest.FixtureRequest) -> dict[str, object]:
    """Whether several threads serve."""
    return {"enable-multi-threading": request.param, "thread-pool-size": 2, "packet-queue-size": 64}


@pytest.fixture
def server4(site: Link, threads: dict[str, object]) -> Iterator[DhcpServer]:
    with short_directory() as directory:
        settings = configuration4(directory, site.server_interface, **{"multi-threading": threads})  # type: ignore[arg-type]
        with our_server(site, directory, 4, settings) as running:
            yield running


@pytest.fixture
def server6(site: Link, threads: dict[str, object]) -> Iterator[DhcpServer]:
    with short_directory() as directory:
        settings = configuration6(directory, site.server_interface, **{"multi-threading": threads})  # type: ignore[arg-type]
        with our_server(site, directory, 6, settings) as running:
            yield running


def test_perfdhcp_gets_renews_and_releases_ipv4_addresses(site: Link, server4: DhcpServer) -> None:
    found = perfdhcp(
        site, "-4", "-l", site.client_interface, "-r", "200", "-R", "100000", "-f", "50", "-F", "50", "-p",
        "3",
        "-W", "500000",
    )  # fmt: skip
    for kind in ("DISCOVER-OFFER", "REQUEST-ACK"):
        assert found[kind].sent > 300
    assert found["REQUEST-ACK (renewal)"].sent > 50
    for one in found.values():
        assert one.rejected == one.repeated == 0
    lost = {kind: one.drops for kind, one in found.items() if kind != "RELEASE"}
    assert not any(lost.values()), lost
    assert server4.statistic("pkt4-release-received") > 50
    assert server4.statistic("pkt4-parse-failed") == 0


def test_perfdhcp_gets_renews_and_releases_ipv6_leases(site: Link, server6: DhcpServer) -> None:
    for kind in ("address-only", "prefix-only", "address-and-prefix"):
        found = perfdhcp(
            site, "-6", "-l", site.client_interface, "-e", kind, "-r", "200", "-R", "100000", "-f", "50",
            "-F", "50", "-p", "2", "-W", "500000",
        )  # fmt: skip
        assert {"SOLICIT-ADVERTISE", "REQUEST-REPLY", "RENEW-REPLY", "RELEASE-REPLY"} <= set(found)
        for one in found.values():
            assert one.sent > 10
            assert one.drops == one.rejected == one.repeated == 0


def test_udhcpc_gets_and_renews_an_address(site: Link, server4: DhcpServer, short_path: Path) -> None:
    # A lease so short that it is renewed within the test.
    server4.configuration["valid-lifetime"] = 4
    assert server4.ask("config-set", {"Dhcp4": server4.configuration})["result"] == 0
    script, report = short_path / "script", short_path / "report"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    report.touch()
    argv = site.inside(
        site.client, require("udhcpc"), "-i", site.client_interface, "-s", script, "-f", "-q", "-n", "-t", "3"
    )
    environment = {"REPORT": str(report), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    first = report.read_text().split()
    assert first[0] == "bound"
    address = first[1]
    assert first[2:] == ["10.0.0.1", "10.0.0.1", "4"]
    running = subprocess.Popen(
        [word for word in argv if word not in ("-q", "-n")], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(300):
            lines = report.read_text().splitlines()
            if any(line.startswith("renew") for line in lines):
                break
            try:
                running.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        assert [line.split()[1] for line in lines] == [address] * len(lines), lines
        assert any(line.startswith("renew") for line in lines)
    finally:
        running.kill()
        running.wait(10)
        subprocess.run(
            site.inside(site.client, "ip", "addr", "del", f"{address}/8", "dev", site.client_interface),
            check=False,
            capture_output=True,
            timeout=10,
        )
