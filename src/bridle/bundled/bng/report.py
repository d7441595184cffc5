"""The report of a run (``-J``), in the shape of BNG Blaster's: what a session daemon can tell of it.

What is only there with packets on a wire (protocol statistics, errors of interfaces) is left out.
"""

from __future__ import annotations

from bridle.bundled.bng.answers import Answers
from bridle.bundled.bng.flow import FAMILIES
from bridle.bundled.bng.session_answers import Answer
from bridle.bundled.bng.simulation import Simulation
from bridle.core.version import VERSION

__all__ = ["CONTENTS", "report"]

CONTENTS = ("sessions", "streams")
"""What may be listed on demand (``-j``)."""


def report(simulation: Simulation, contents: frozenset[str]) -> Answer:
    """The report as of now. ``contents`` are those of :data:`CONTENTS` that are to be listed one by one."""
    answers = Answers(simulation)
    told: Answer = {"version": VERSION, "test-duration": int(simulation.now)}
    if simulation.sessions:
        told.update(_sessions(simulation))
    interfaces = answers.interfaces()
    told["interfaces"] = [_interface(one) for one in interfaces]
    for function in ("network", "access", "a10nsp"):
        found = answers.function_interfaces(function)
        if found:
            flows = simulation.tally.flows > 0
            told[f"{function}-interfaces"] = [_function_interface(one, flows) for one in found]
    if "sessions" in contents:
        # In the place of their number, as BNG Blaster has it.
        told["sessions"] = [_session(answers.session_info(session)) for session in simulation.sessions]
    if "streams" in contents:
        flows_told = [
            answers.flow_info(session, one)
            for session in simulation.sessions
            for one in simulation.traffic.flows(session)
        ]
        told["streams"] = flows_told + [answers.stream_info(stream) for stream in simulation.streams]
    return {"report": told}


def _sessions(simulation: Simulation) -> Answer:
    tally = simulation.tally
    least, mean, greatest = tally.rates
    return {
        "sessions": tally.sessions,
        "sessions-pppoe": tally.pppoe,
        "sessions-ipoe": tally.ipoe,
        "sessions-established": tally.established_max,
        "sessions-flapped": tally.flapped,
        "setup-time-ms": tally.setup_time,
        "setup-rate-cps": _short(tally.rate),
        "setup-rate-cps-min": _short(least),
        "setup-rate-cps-avg": _short(mean),
        "setup-rate-cps-max": _short(greatest),
        "dhcp-sessions-established": tally.dhcp_established_max,
        "dhcpv6-sessions-established": tally.dhcpv6_established_max,
    }


def _session(told: Answer) -> Answer:
    """As ``session-info`` has it, without what that asks the A10NSP side for."""
    told.pop("a10nsp", None)
    return told


def _short(value: float) -> float:
    """Four digits, as BNG Blaster writes reals into its reports."""
    return float(f"{value:.4g}")


def _interface(one: Answer) -> Answer:
    return {key: one[key] for key in ("name", "type", "tx-packets", "tx-bytes", "rx-packets", "rx-bytes")}


def _function_interface(one: Answer, flows: bool) -> Answer:
    told: Answer = {"name": one["name"], "tx-packets": one["tx-packets"]}
    if "tx-packets-multicast" in one:
        told["tx-multicast-packets"] = one["tx-packets-multicast"]
    told["rx-packets"] = one["rx-packets"]
    if "rx-packets-multicast" in one:
        told["rx-multicast-packets"] = one["rx-packets-multicast"]
        told["rx-multicast-packets-loss"] = one["rx-loss-packets-multicast"]
    if flows:
        told["tx-stream-packets"] = one["tx-packets-streams"]
        told["rx-stream-packets"] = one["rx-packets-streams"]
        told["rx-stream-packets-loss"] = one["rx-loss-packets-streams"]
        for family in FAMILIES:
            told[f"tx-session-packets-{family}"] = one[f"tx-packets-session-{family}"]
            told[f"rx-session-packets-{family}"] = one[f"rx-packets-session-{family}"]
            told[f"rx-session-packets-{family}-loss"] = one[f"rx-loss-packets-session-{family}"]
    return told
