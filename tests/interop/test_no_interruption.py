"""The proof that a server can be changed without its clients noticing, and that it can be killed without a
lease being lost."""

from __future__ import annotations

import ipaddress
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dhcp import configuration4, manage, our_server, perfdhcp, read_report
from tests.support.netns import CLIENT4, SERVER4, Link, link
from tests.support.programs import require
from tests.support.relay import Relay

pytestmark = [pytest.mark.namespaces, pytest.mark.peers("perfdhcp", "ip"), pytest.mark.timeout(120)]

# Exchanges a second, and for how many seconds.
RATE, DURATION = 200, 16
PLUGIN = """
seen = 0

def load(context, parameters):
    context.callout("pkt4_receive", count)
    context.register_command("packets-seen", packets_seen, access="read")

def count(query):
    global seen
    seen += 1

def packets_seen():
    return {"seen": seen}
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Link]:
    with link() as made:
        yield made


def test_management_costs_not_one_exchange(site: Link, short_path: Path) -> None:
    plugin = short_path / "plugin.py"
    plugin.write_text(PLUGIN)
    settings = configuration4(short_path, site.server_interface)
    settings["hooks-libraries"] = [{"library": str(plugin)}]
    with our_server(site, short_path, 4, settings) as server:
        words = ("-4", "-l", site.client_interface, "-r", str(RATE), "-R", "100000", "-p", str(DURATION))
        with subprocess.Popen(
            site.inside(site.client, require("perfdhcp"), *words, "-W", "500000"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as load:
            try:
                manage(server, short_path, DURATION - 3)
                assert server.ask("packets-seen")["arguments"]["seen"] > 0
                report, _ = load.communicate(timeout=60)
            finally:
                load.kill()
        found = read_report(report)
        for kind in ("DISCOVER-OFFER", "REQUEST-ACK"):
            assert found[kind].sent > RATE * DURATION * 0.8
            assert found[kind].drops == found[kind].rejected == found[kind].repeated == 0, found


def test_dhcp_disable_drops_all_and_dhcp_enable_restores(site: Link, short_path: Path) -> None:
    words = ("-4", "-l", site.client_interface, "-r", "100", "-R", "1000", "-n", "50", "-W", "300000")
    with our_server(site, short_path, 4, configuration4(short_path, site.server_interface)) as server:
        assert server.ask("dhcp-disable")["text"] == "DHCPv4 service disabled"
        state = server.ask("status-get")["arguments"]["dhcp-state"]
        assert state["globally-disabled"] is state["disabled-by-user"] is True
        assert perfdhcp(site, *words)["DISCOVER-OFFER"].received == 0
        assert server.statistic("pkt4-receive-drop") == server.statistic("pkt4-received") == 50
        assert server.ask("dhcp-enable")["text"] == "DHCP service successfully enabled"
        assert perfdhcp(site, *words)["REQUEST-ACK"].received == 50


@pytest.mark.parametrize("threads", [False, True], ids=["one thread", "threads"])
def test_what_was_acknowledged_survives_a_kill(site: Link, short_path: Path, threads: bool) -> None:
    settings = configuration4(short_path, site.server_interface)
    settings["multi-threading"] = {"enable-multi-threading": threads, "thread-pool-size": 2}
    server = our_server(site, short_path, 4, settings)
    acknowledged: dict[bytes, int] = {}
    lucky = random.Random(5)
    with Relay(site, CLIENT4, SERVER4) as relay:
        for _ in range(10):
            server.start()
            try:
                asked = relay.load(seconds=0.1 + lucky.random() / 3, until_killed=server)
                for client, address in asked.items():
                    assert acknowledged.setdefault(client, address) == address
            finally:
                if server.process is not None and server.process.poll() is None:
                    server.process.send_signal(signal.SIGKILL)
                    server.process.wait(10)
        server.start()
        try:
            leases = server.ask("lease4-get-all")["arguments"]["leases"]
        finally:
            server.stop()
    stored = {bytes.fromhex(one["hw-address"].replace(":", "")): one["ip-address"] for one in leases}
    assert len(acknowledged) > 100
    assert len(set(acknowledged.values())) == len(acknowledged)
    lost = {
        client.hex(): address
        for client, address in acknowledged.items()
        if stored.get(client) != str(ipaddress.IPv4Address(address))
    }
    assert not lost
