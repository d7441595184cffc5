"""Streams: traffic that belongs to no session. What they are called and filtered by is the same for all."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from bridle.bundled.bng.flow import Flow
from bridle.bundled.bng.session import Interface
from bridle.bundled.bng.settings import BngSettings, StreamSettings

__all__ = ["Stream", "make_streams"]

# Bytes of headers around what ``length`` counts: Ethernet.
_HEADER = 14
_MULTICAST_LENGTH = 90


class Stream:
    """Raw traffic from a network interface, or multicast. Nobody receives it here."""

    def __init__(
        self,
        number: int,
        name: str,
        family: str,
        interface: Interface | None,
        flow: Flow,
        *,
        source: str,
        destination: str,
        length: int,
        multicast: bool = False,
    ) -> None:
        self.number = number
        self.name = name
        self.family = family
        self.interface = interface
        self.flow = flow
        self.source = source
        self.destination = destination
        self.length = length
        self.multicast = multicast
        self.began: float | None = None

    @property
    def active(self) -> bool:
        """True while there is an interface to send from."""
        return self.interface is not None

    def refresh(self, now: float, passes: bool) -> None:
        """Send if that is wanted and possible."""
        if passes and self.flow.enabled and self.interface is not None and self.interface.up:
            if self.began is None:
                self.began = now
            self.flow.run(now)
        elif self.flow.since is not None:
            self.flow.halt(now)


def make_streams(settings: BngSettings, interfaces: Sequence[Interface], first: int) -> list[Stream]:
    """The streams of a configuration, numbered from ``first`` on: raw ones, then multicast."""
    networks = {one.interface: one for one in settings.network}
    by_name = {one.name: one for one in interfaces if one.function == "network"}
    made: list[Stream] = []

    def network(name: str | None) -> tuple[Interface | None, str]:
        chosen = name or next(iter(networks), None)
        if chosen is None or chosen not in networks:
            return None, "0.0.0.0"
        return by_name[chosen], networks[chosen].address.partition("/")[0]

    def add(
        name: str, family: str, where: str | None, flow: Flow, given: StreamSettings | None, to: str
    ) -> None:
        interface, address = network(where)
        source = (given.network_ipv4_address if given else None) or address
        length = given.length + _HEADER if given else _MULTICAST_LENGTH
        made.append(
            Stream(
                first + len(made),
                name,
                family,
                interface,
                flow,
                source=source,
                destination=to,
                length=length,
                multicast=given is None,
            )
        )

    for stream in settings.streams:
        enabled = stream.autostart and settings.traffic.stream_autostart
        to = stream.destination_ipv4_address or stream.destination_ipv6_address or "0.0.0.0"
        add(stream.name, stream.type, stream.network_interface, Flow(stream.pps, enabled), stream, to)
    igmp = settings.igmp
    if igmp.send_multicast_traffic and igmp.group:
        base, step = int(ipaddress.IPv4Address(igmp.group)), int(ipaddress.IPv4Address(igmp.group_iter))
        for index in range(igmp.group_count):
            group = str(ipaddress.IPv4Address(base + index * step & 0xFFFFFFFF))
            flow = Flow(igmp.multicast_traffic_pps, igmp.multicast_traffic_autostart)
            add("multicast", "ipv4", igmp.network_interface, flow, None, group)
    return made
