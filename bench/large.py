"""A megabyte of configuration through the agent: what it costs the agent."""

from __future__ import annotations

import json

from bench.figures import Figure, of_cpu
from bench.load import Load, Target
from bench.programs import OURS, REAL
from bench.stage import Session, Stage
from tests.support.kea import post

ANSWER_BYTES = 1_000_000
"""The size of ``config-get`` at a site with 2,000 subnets or so."""

CLIENTS = 2
"""Enough to keep the agent busy while an answer is on its way."""

DRAIN_SECONDS = 5.0
"""How long the last answers may take, so that whole answers are set against the processor time."""

TEXT = "the whole answer"
REQUEST = '{"command": "config-get", "service": ["dhcp4"]}'

SUBNET: dict[str, object] = {
    "4o6-interface": "",
    "4o6-subnet": "",
    "allocator": "iterative",
    "calculate-tee-times": False,
    "id": 1,
    "max-valid-lifetime": 7200,
    "min-valid-lifetime": 7200,
    "option-data": [
        {"always-send": False, "code": 3, "csv-format": True, "data": "192.0.2.1", "name": "routers"}
    ],
    "pools": [{"option-data": [], "pool": "192.0.2.1-192.0.2.200"}],
    "relay": {"ip-addresses": []},
    "reservations": [],
    "store-extended-info": False,
    "subnet": "192.0.2.0/24",
    "t1-percent": 0.5,
    "t2-percent": 0.875,
    "valid-lifetime": 7200,
}


def large(session: Session) -> None:
    """Measure the agents' processor time for each answer, the answer itself being the stand-in's work."""
    document = configuration()
    answer = json.dumps(document).encode()
    load = Load("http", [REQUEST], CLIENTS, drain=DRAIN_SECONDS, expect=f'"result": 0, "text": "{TEXT}"')
    with Stage(session) as stage:
        stand_in = stage.stand_in({"dhcp4": (0.0, answer)})
        if stand_in is None:
            return
        targets = stage.agents(stand_in.services)
        for name, target in targets.items():
            check(session, name, target, document)
        runs = stage.alternate(load, targets)
    ours, real = of_cpu(runs.get(OURS, [])), of_cpu(runs.get(REAL, []))
    what = f"{len(answer) / 1e6:.1f} MB config-get through the agent: its CPU"
    session.add(Figure("large", what, "ms CPU/answer", "less", ours, real, "<= 2 ms"))


def check(session: Session, name: str, target: Target, document: dict[str, object]) -> None:
    """Compare the whole answer once; under load only its end is looked at."""
    answer = post(int(target.address.rpartition(":")[2]), REQUEST.encode())
    if answer.status != 200 or answer.document != [document]:
        session.problem(f"{name} changed the large answer, which ends with {answer.body[-100:]!r}")


def configuration() -> dict[str, object]:
    """What a daemon with many subnets answers to ``config-get``, keys in Kea's order."""
    count = ANSWER_BYTES // len(json.dumps(SUBNET)) + 1
    subnets = [{**SUBNET, "id": number} for number in range(1, count + 1)]
    return {"arguments": {"Dhcp4": {"subnet4": subnets}}, "result": 0, "text": TEXT}
