"""What ``/metrics`` tells: the counters of the running instances, by the names that BNG Blaster's controller
gives them (``facts/bngblaster.md`` §5).

An instance's metrics are those that its start asked for by ``metric_flags``. Instances are asked at the same
time, each for so long; one that does not answer is told as ``instance_up`` 0, and costs the others nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import cast

import msgspec

from bridle.agent.bngblaster.controller import Controller
from bridle.agent.bngblaster.instance import Instance
from bridle.agent.bngblaster.refusal import Refusal
from bridle.core.messages import JSON
from bridle.wire.prometheus_text import Family, Kind, encode

__all__ = ["METRIC_FLAGS", "SCRAPE_TIMEOUT", "STREAM_LIMIT", "collect"]

# Seconds for all that is asked of one instance: Prometheus gives up after 10, unless it is told otherwise.
SCRAPE_TIMEOUT = 8.0
# Commands under way at the same time: with all instances, and with one. The real program serves one at a
# time, and queues five.
_CONCURRENCY = 16
_STREAM_CONCURRENCY = 4
# Flows whose packets are counted, each of which costs a command; some 600 are answered in a second by the
# real program. Of those beyond, the loss alone is told.
STREAM_LIMIT = 1000

_Answer = Mapping[str, JSON]

# What goes up and down is a gauge; what is there altogether counts as a counter, as in the original.
_SESSION_COUNTERS: Mapping[str, tuple[Kind, str]] = {
    "sessions": ("counter", "Sessions that are configured"),
    "sessions-pppoe": ("counter", "PPPoE sessions that are configured"),
    "sessions-ipoe": ("counter", "IPoE sessions that are configured"),
    "sessions-established": ("gauge", "Sessions that are established"),
    "sessions-established-max": ("counter", "The most sessions that were established at a time"),
    "sessions-terminated": ("gauge", "Sessions that are terminated"),
    "sessions-flapped": ("counter", "Sessions that were lost"),
    "dhcp-sessions": ("counter", "Sessions with DHCP"),
    "dhcp-sessions-established": ("gauge", "Sessions with DHCP that have a lease"),
    "dhcp-sessions-established-max": ("counter", "The most sessions that had a lease of DHCP at a time"),
    "dhcpv6-sessions": ("counter", "Sessions with DHCPv6"),
    "dhcpv6-sessions-established": ("gauge", "Sessions with DHCPv6 that have a lease"),
    "dhcpv6-sessions-established-max": ("counter", "The most sessions that had a lease of DHCPv6 at a time"),
    "setup-time": ("gauge", "Milliseconds until the last session was established"),
    "setup-rate": ("gauge", "Sessions established a second"),
    "setup-rate-min": ("gauge", "The lowest rate of sessions established a second"),
    "setup-rate-avg": ("gauge", "The mean rate of sessions established a second"),
    "setup-rate-max": ("gauge", "The highest rate of sessions established a second"),
    "session-traffic-flows": ("gauge", "Flows of session traffic"),
    "session-traffic-flows-verified": ("gauge", "Flows of session traffic that are verified"),
    "stream-traffic-flows": ("gauge", "Flows of streams"),
    "stream-traffic-flows-verified": ("gauge", "Flows of streams that are verified"),
}
_INTERFACE_COMMANDS = {
    "interfaces": "interfaces",
    "access_interfaces": "access-interfaces",
    "network_interfaces": "network-interfaces",
    "a10nsp_interfaces": "a10nsp-interfaces",
}
_STREAM_COUNTERS = ("tx-packets", "tx-bytes", "rx-packets", "rx-bytes")

METRIC_FLAGS = ("session_counters", *_INTERFACE_COMMANDS, "streams")

_log = logging.getLogger("bridle.agent")


async def collect(controller: Controller) -> bytes:
    """The metrics of all instances, as text."""
    scrape = _Scrape(socket.gethostname())
    names = controller.names()
    running = [one for one in map(controller.instance, names) if one.runs]
    scrape.add("instances_total", "gauge", "The total number of instances", len(names))
    scrape.add("instances_running", "gauge", "The number of running instances", len(running))
    turns = asyncio.Semaphore(_CONCURRENCY)

    async def ask(instance: Instance) -> None:
        async with turns:
            await scrape.instance(instance)

    await asyncio.gather(*map(ask, running))
    return encode(scrape.families.values())


class _Scrape:
    """The metrics of one request."""

    def __init__(self, host: str) -> None:
        self.families: dict[str, Family] = {}
        self._host = host

    def add(self, name: str, kind: Kind, text: str, value: float, **labels: str) -> None:
        """Add a value."""
        family = self.families.get(name)
        if family is None:
            family = self.families[name] = Family(name, kind, text)
        family.add(value, {"hostname": self._host, **labels})

    async def instance(self, instance: Instance) -> None:
        """Add those of an instance."""
        flags = [flag for flag in instance.request.metric_flags or () if flag in METRIC_FLAGS]
        if not flags:
            return
        up = False
        with contextlib.suppress(TimeoutError, Refusal):
            async with asyncio.timeout(SCRAPE_TIMEOUT):
                for flag in dict.fromkeys(flags):
                    await self._ask(instance, flag)
                up = True
        if not up:
            _log.warning("instance %s did not give its metrics", instance.name)
        text = "Whether a running instance gave all of its metrics"
        self.add("instance_up", "gauge", text, int(up), instance_name=instance.name)

    async def _ask(self, instance: Instance, flag: str) -> None:
        if flag == "session_counters":
            answer = await _answer(instance, "session-counters")
            self._session_counters(instance.name, cast(_Answer, answer.get("session-counters", {})))
        elif flag == "streams":
            await self._streams(instance)
        else:
            command = _INTERFACE_COMMANDS[flag]
            for one in _list(await _answer(instance, command), command):
                self._interface(instance.name, one)

    def _session_counters(self, name: str, counters: _Answer) -> None:
        for key, (kind, text) in _SESSION_COUNTERS.items():
            value = counters.get(key)
            if isinstance(value, int | float):
                self.add(key.replace("-", "_"), kind, text, value, instance_name=name)

    def _interface(self, name: str, told: _Answer) -> None:
        labels = {
            "instance_name": name,
            "interface_name": str(told.get("name", "")),
            "interface_type": str(told.get("type", "")),
        }
        for key, value in told.items():
            if not key.startswith(("tx-", "rx-")) or not isinstance(value, int | float):
                continue
            kind: Kind = "counter" if "packets" in key or "bytes" in key else "gauge"
            text = f"Interface: {key.replace('-', ' ')}"
            self.add(f"interfaces_{key.replace('-', '_')}", kind, text, value, **labels)

    async def _streams(self, instance: Instance) -> None:
        flows = _list(await _answer(instance, "stream-summary"), "stream-summary")
        for flow in flows:
            self._stream(instance.name, flow, flow, ("rx-loss",))
        async for flow, told in _stream_infos(instance, flows[:STREAM_LIMIT]):
            self._stream(instance.name, flow, told, _STREAM_COUNTERS)

    def _stream(self, name: str, flow: _Answer, told: _Answer, keys: Iterable[str]) -> None:
        labels = {
            "instance_name": name,
            "flow_id": str(flow.get("flow-id", 0)),
            "session_id": str(flow.get("session-id", 0)),
            "stream_name": str(flow.get("name", "")),
            "stream_direction": str(flow.get("direction", "")),
            "stream_type": str(flow.get("type", "")),
            "stream_sub_type": str(flow.get("sub-type", "")),
        }
        for key in keys:
            value = told.get(key)
            if isinstance(value, int | float):
                text = f"Stream: {key.replace('-', ' ')}"
                self.add(f"stream_{key.replace('-', '_')}", "counter", text, value, **labels)


async def _stream_infos(
    instance: Instance, flows: Iterable[_Answer]
) -> AsyncIterator[tuple[_Answer, _Answer]]:
    """The flows with what ``stream-info`` tells of each: the summary has no packets (``facts`` §5)."""
    turns = asyncio.Semaphore(_STREAM_CONCURRENCY)

    async def ask(flow: _Answer) -> tuple[_Answer, _Answer]:
        async with turns:
            answer = await _answer(instance, "stream-info", {"flow-id": flow.get("flow-id", 0)})
            return flow, cast(_Answer, answer.get("stream-info", {}))

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(flow)) for flow in flows]
    except ExceptionGroup as failed:
        raise Refusal(502, "not all streams were told of") from failed
    for task in tasks:
        yield task.result()


async def _answer(instance: Instance, command: str, arguments: JSON = None) -> _Answer:
    """An answer; empty where the command is refused, as by a program that does not know it."""
    text = await instance.command(command, arguments, SCRAPE_TIMEOUT)
    try:
        answer = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(502, f"{command}: the answer is no JSON: {error}") from error
    return cast(_Answer, answer) if isinstance(answer, dict) else {}


def _list(answer: _Answer, key: str) -> list[_Answer]:
    found = answer.get(key, [])
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
