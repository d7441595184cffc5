"""The lease commands of Kea 2.2's hook libraries lease_cmds and stat_cmds, in two sequences that were
captured with Debian's: one with kea-dhcp4, one with kea-dhcp6. Each answer is ours, too."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from msgspec import UNSET

import bridle
from bridle.bundled.dhcp.dhcp4 import Dhcp4
from bridle.bundled.dhcp.dhcp6 import Dhcp6
from bridle.bundled.dhcp.leases import Lease4
from bridle.core.messages import JSON
from bridle.testing import run

VECTORS = Path(__file__).parents[1] / "vectors" / "kea-lease-commands.jsonl"
ROWS = [json.loads(line) for line in VECTORS.read_text().splitlines()]
CONFIGURATION: dict[int, dict[str, JSON]] = {
    4: {
        "valid-lifetime": 3600,
        "lease-database": {"type": "memfile", "persist": False},
        "subnet4": [
            {"id": 1, "subnet": "192.0.2.0/24", "pools": [{"pool": "192.0.2.10-192.0.2.200"}]},
            {"id": 2, "subnet": "198.51.100.0/24"},
        ],
    },
    6: {
        "valid-lifetime": 3600,
        "lease-database": {"type": "memfile", "persist": False},
        "server-id": {"type": "EN", "persist": False},
        "subnet6": [
            {
                "id": 1,
                "subnet": "2001:db8:1::/64",
                "pools": [{"pool": "2001:db8:1::10-2001:db8:1::ff"}],
                "pd-pools": [{"prefix": "2001:db8:8::", "prefix-len": 48, "delegated-len": 64}],
            }
        ],
    },
}


def normal(answer: JSON) -> str:
    """An answer without what depends on the time; leases are in any order."""
    if isinstance(answer, dict) and isinstance(answer.get("arguments"), dict):
        leases = answer["arguments"].get("leases")  # type: ignore[union-attr]
        if isinstance(leases, list):
            leases.sort(key=lambda lease: str(lease["ip-address"]))  # type: ignore[index, call-overload]
    text = json.dumps(answer, sort_keys=True)
    return re.sub(r'"cltt": 1795\d+|"timestamp": "[^"]*"', "-", text)


@pytest.mark.parametrize("protocol", [4, 6])
def test_lease_commands_are_answered_as_kea_does(protocol: int, short_path: Path) -> None:
    async def replay() -> None:
        daemon = Dhcp4 if protocol == 4 else Dhcp6
        file = short_path / "conf"
        file.write_text(json.dumps({f"Dhcp{protocol}": CONFIGURATION[protocol]}))
        async with (
            bridle.serve(
                daemon(clock=lambda: 1795509648.0), f"unix:{short_path}/s", configuration_file=str(file)
            ),
            bridle.connect_async(f"unix:{short_path}/s") as client,
        ):
            for row in ROWS:
                of_other = row["command"].removeprefix("stat-")[5] != str(protocol)
                if row["protocol"] != protocol or of_other:
                    continue
                answer = await client.execute(row["command"], row["arguments"])
                told = {"result": answer.result, "text": answer.text}
                if answer.arguments is not UNSET:
                    told["arguments"] = answer.value  # type: ignore[assignment]
                # Positions are those of the capture's own spelling.
                ours, theirs = (
                    re.sub(r"<wire>:0:\d+", "<wire>", normal(one))  # type: ignore[arg-type]
                    for one in (told, row["answer"])
                )
                assert ours == theirs, row

    run(replay())


@pytest.mark.parametrize("count", [100_000])
def test_many_leases_are_told_while_packets_have_their_turn(count: int, short_path: Path) -> None:
    """A hundred thousand leases are read in a thread; the loop goes on."""

    async def ask() -> None:
        file = short_path / "conf"
        file.write_text(json.dumps({"Dhcp4": CONFIGURATION[4]}))
        daemon = Dhcp4()
        async with bridle.serve(daemon, f"unix:{short_path}/s", configuration_file=str(file)):
            store = daemon._store
            with store.transaction():
                for number in range(count):
                    lease = Lease4(
                        address=number, hw_address=b"x", valid_lifetime=1, cltt=1, subnet_id=1 + number % 2
                    )
                    store.insert(lease)
            async with bridle.connect_async(f"unix:{short_path}/s", timeout=60) as client:
                answer = await client.execute("lease4-get-all", {"subnets": [2]})
                assert answer.text == f"{count // 2} IPv4 lease(s) found."

    run(ask())
