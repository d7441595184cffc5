"""DHCP under real perfdhcp, ours and Kea's in turn, each in namespaces of its own: exchanges a second, what
management costs the clients, and memory with many leases."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.figures import Figure, Measured, of_values
from bench.programs import OURS, REAL
from bench.stage import Session
from bridle.bundled.dhcp.leases import Lease4
from bridle.bundled.dhcp.store_sqlite import SqliteStore4
from tests.support.dhcp import (
    DhcpServer,
    Exchange,
    configuration4,
    configuration6,
    kea_server,
    manage,
    our_server,
    perfdhcp,
    read_report,
)
from tests.support.kea import JSON
from tests.support.netns import Link, link, possible
from tests.support.programs import ROOT, missing, require, short_directory

__all__ = ["dhcp"]

# Exchanges a second that are tried, one after another, until more than one in a thousand is lost.
RATES = (1000, 2000, 4000, 6000, 8000, 10000, 12000, 16000)
LOST = 0.001
# The steady load while the server is managed, and for how many seconds.
STEADY_RATE, STEADY_SECONDS = 300, 16
LEASES = 100_000
FIRST = 0x0A010000

Make = Callable[[Link, Path, int, Mapping[str, JSON]], DhcpServer]
_SERVERS: dict[str, Make] = {OURS: our_server, REAL: kea_server}
_CSV = (
    "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n"
)


def dhcp(session: Session) -> None:
    """All that is measured of DHCP; a note where it cannot be."""
    absent = missing(["ip", "perfdhcp", "kea-dhcp4", "kea-dhcp6"])
    if absent or not possible():
        session.note(f"dhcp is not measured: {', '.join(absent) or 'no network namespaces here'}")
        return
    with link() as joined:
        for protocol in (4, 6):
            found = {
                name: of_values([_fastest(session, joined, make, protocol) for _ in range(session.rounds)])
                for name, make in _SERVERS.items()
            }
            session.add(
                _figure(f"DHCPv{protocol} exchanges a second, at most {LOST:.1%} lost", "1/s", "more", found)
            )
        _managed(session, joined)
        session.add(
            _figure(
                f"DHCPv4 with {LEASES} leases, resident memory",
                "MB",
                "less",
                {name: of_values([_memory(joined, name)]) for name in _SERVERS},
            )
        )


def _figure(what: str, unit: str, better: str, found: Mapping[str, Measured | None], aim: str = "") -> Figure:
    return Figure("dhcp", what, unit, better, found[OURS], found[REAL], aim)  # type: ignore[arg-type]


def _configuration(joined: Link, folder: Path, protocol: int) -> dict[str, JSON]:
    make = configuration4 if protocol == 4 else configuration6
    return make(folder, joined.server_interface)


def _fastest(session: Session, joined: Link, make: Make, protocol: int) -> float:
    """The most exchanges a second that were completed without loss."""
    best = 0.0
    seconds = max(2, int(session.seconds))
    for rate in RATES:
        with (
            short_directory() as folder,
            make(joined, folder, protocol, _configuration(joined, folder, protocol)),
        ):
            words = ("-r", str(rate), "-R", "1000000", "-p", str(seconds), "-W", "500000")
            exchanges = perfdhcp(joined, f"-{protocol}", "-l", joined.client_interface, *words)
        last = exchanges["REQUEST-ACK" if protocol == 4 else "REQUEST-REPLY"]
        lost = sum(one.drops for one in exchanges.values()) / max(
            1, sum(one.sent for one in exchanges.values())
        )
        wrong = sum(one.rejected + one.repeated for one in exchanges.values())
        if wrong:
            session.problem(f"DHCPv{protocol}: {wrong} wrong answers at {rate}/s")
        if lost > LOST:
            break
        best = max(best, last.received / seconds)
    return best


def _managed(session: Session, joined: Link) -> None:
    """100 config-set, 20 config-reload, 20 libreload and 5 moves of the control socket under a steady
    load."""
    measured = {name: _under_management(joined, make) for name, make in _SERVERS.items()}
    what = f"{STEADY_RATE}/s while managed"
    gaps = {name: of_values([gap]) for name, (_, gap) in measured.items()}
    session.add(_figure(f"{what}: longest gap between answers", "ms", "less", gaps))
    lost = {
        name: of_values([float(sum(one.drops for one in exchanges.values()))])
        for name, (exchanges, _) in measured.items()
    }
    session.add(_figure(f"{what}: exchanges lost", "", "less", lost, "0"))


def _under_management(joined: Link, make: Make) -> tuple[dict[str, Exchange], float]:
    """What perfdhcp counted, and the longest time without an answer in milliseconds."""
    with short_directory() as folder, make(joined, folder, 4, _configuration(joined, folder, 4)) as server:
        words = ("-r", str(STEADY_RATE), "-R", "1000000", "-p", str(STEADY_SECONDS), "-W", "500000")
        argv = joined.inside(joined.client, require("perfdhcp"), "-4", "-l", joined.client_interface, *words)
        watch = joined.inside(joined.client, sys.executable, "-m", "bench.gaps", str(STEADY_SECONDS - 1))
        with (
            subprocess.Popen(watch, stdout=subprocess.PIPE, text=True, cwd=ROOT) as watching,
            subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as load,
        ):
            try:
                manage(server, folder, STEADY_SECONDS - 3)
                report, _ = load.communicate(timeout=STEADY_SECONDS + 30)
                gap, _ = watching.communicate(timeout=30)
            finally:
                load.kill()
                watching.kill()
    return read_report(report), float(gap)


def _memory(joined: Link, name: str) -> float:
    """Megabytes, with leases that were there at the start and have been looked at once."""
    with short_directory() as folder:
        _fill(folder, name)
        with _SERVERS[name](joined, folder, 4, _configuration(joined, folder, 4)) as server:
            perfdhcp(joined, "-4", "-l", joined.client_interface, "-r", "200", "-n", "200", "-W", "300000")
            status = Path(f"/proc/{server.pid}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(resident.split()[1]) / 1000


def _fill(folder: Path, name: str) -> None:
    if name == OURS:
        store = SqliteStore4(str(folder / "leases4.sqlite"))
        with store.transaction():
            for number in range(LEASES):
                store.insert(
                    Lease4(
                        address=FIRST + number,
                        hw_address=number.to_bytes(6, "big"),
                        valid_lifetime=4000,
                        cltt=4_000_000_000,
                        subnet_id=1,
                    )
                )
        store.close()
        return
    lines = [_CSV]
    for number in range(LEASES):
        octets = ".".join(str(octet) for octet in (FIRST + number).to_bytes(4, "big"))
        lines.append(f"{octets},{number.to_bytes(6, 'big').hex(':')},,4000,4000004000,1,0,0,,0,\n")
    (folder / "leases4.csv").write_text("".join(lines))
