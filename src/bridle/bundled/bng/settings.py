"""BNG Blaster's configuration, as far as sessions go, and the ``simulation`` section that is ours.

Options of BNG Blaster that say how packets are put on a wire mean nothing here and are let pass; what neither
knows is an error.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from bridle.core.errors import ConfigurationError
from bridle.core.messages import JSON, Path

__all__ = [
    "AccessSettings",
    "BngSettings",
    "IgmpSettings",
    "InterceptSettings",
    "LacSettings",
    "LinkSettings",
    "LnsSettings",
    "MulticastSettings",
    "NetworkSettings",
    "RefusalSettings",
    "Release",
    "SimulationSettings",
    "StreamSettings",
    "check_names",
]

Release: TypeAlias = Literal["0.5", "0.9"]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
"""A probability."""
Seconds: TypeAlias = Annotated[float, Meta(ge=0)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
Vlan: TypeAlias = Annotated[int, Meta(ge=0, le=4095)]
Rate: TypeAlias = Annotated[float, Meta(ge=0, le=1_000_000_000)]
Group: TypeAlias = Annotated[int, Meta(ge=0, le=65535)]
T = TypeVar("T")

SESSION_LIMIT = 1_000_000
"""Sessions of one daemon."""


class _Section(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """A part of the configuration; keys are written with hyphens."""


class AccessSettings(_Section, frozen=True):
    """An entry of ``interfaces.access``: where sessions live, and of which kind they are."""

    interface: str
    type: Literal["pppoe", "ipoe"] = "pppoe"
    vlan_mode: Literal["1:1", "N:1"] = "1:1"
    outer_vlan: Vlan | None = None
    outer_vlan_min: Vlan = 0
    outer_vlan_max: Vlan = 0
    inner_vlan: Vlan | None = None
    inner_vlan_min: Vlan = 0
    inner_vlan_max: Vlan = 0
    network_interface: str | None = None
    a10nsp_interface: str | None = None
    session_group_id: Group = 0
    address: str | None = None
    address_iter: str = "0.0.0.0"
    gateway: str | None = None
    gateway_iter: str = "0.0.0.0"
    username: str | None = None
    password: str | None = None
    agent_circuit_id: str | None = None
    agent_remote_id: str | None = None
    ipcp: bool | None = None
    ip6cp: bool | None = None
    ipv4: bool | None = None
    ipv6: bool | None = None
    dhcp: bool | None = None
    dhcpv6: bool | None = None
    igmp_autostart: bool | None = None
    session_traffic_autostart: bool | None = None
    monkey: bool = False
    i1_start: int = 1
    i1_step: int = 1
    i2_start: int = 1
    i2_step: int = 1

    def i1(self, number: int) -> int:
        """The first iterator, for the section's session with this number."""
        return self.i1_start + (number - 1) * self.i1_step

    def i2(self, number: int) -> int:
        """The second iterator."""
        return self.i2_start + (number - 1) * self.i2_step

    @property
    def outer(self) -> range:
        """The outer VLANs."""
        return _vlans(self.outer_vlan, self.outer_vlan_min, self.outer_vlan_max)

    @property
    def inner(self) -> range:
        """The inner VLANs."""
        return _vlans(self.inner_vlan, self.inner_vlan_min, self.inner_vlan_max)


class LinkSettings(_Section, frozen=True):
    """An entry of ``interfaces.links`` or ``interfaces.a10nsp``."""

    interface: str
    mac: str | None = None
    qinq: bool = False


class NetworkSettings(_Section, frozen=True):
    """An entry of ``interfaces.network``."""

    interface: str
    address: str = "0.0.0.0"
    gateway: str | None = None
    address_ipv6: str = "::"
    vlan: Vlan = 0


class InterfacesSettings(_Section, frozen=True):
    """``interfaces``. One entry may stand without its list."""

    access: list[AccessSettings] | AccessSettings = []
    network: list[NetworkSettings] | NetworkSettings = []
    a10nsp: list[LinkSettings] | LinkSettings = []
    links: list[LinkSettings] | LinkSettings = []
    mac_modifier: Annotated[int, Meta(ge=0, le=255)] = 0


class SessionsSettings(_Section, frozen=True):
    """``sessions``: how many, and how fast they come and go."""

    count: Annotated[int, Meta(ge=0, le=SESSION_LIMIT)] = 1
    max_outstanding: Annotated[int, Meta(ge=1)] = 800
    start_rate: Annotated[int, Meta(ge=1)] = 400
    stop_rate: Annotated[int, Meta(ge=1)] = 400
    start_delay: Seconds = 0.0
    reconnect: bool = False
    reconnect_delay: Seconds = 1.0
    autostart: bool = True
    monkey_autostart: bool = True
    iterate_vlan_outer: bool = False


class PppoeSettings(_Section, frozen=True):
    """``pppoe``."""

    reconnect: bool = False
    discovery_timeout: Seconds = 5.0
    discovery_retry: Count = 10


class AuthenticationSettings(_Section, frozen=True):
    """``ppp.authentication``."""

    username: str = "user{session-global}@rtbrick.com"
    password: str = "test"
    timeout: Seconds = 5.0
    retry: Count = 30
    protocol: Literal["PAP", "CHAP"] | None = None


class LcpSettings(_Section, frozen=True):
    """``ppp.lcp``."""

    conf_request_timeout: Seconds = 5.0
    conf_request_retry: Count = 10
    keepalive_interval: Seconds = 30.0
    keepalive_retry: Count = 3
    connection_status_message: bool = False


class NcpSettings(_Section, frozen=True):
    """``ppp.ipcp`` and ``ppp.ip6cp``."""

    enable: bool = True
    request_dns1: bool = True
    request_dns2: bool = True
    conf_request_timeout: Seconds = 5.0
    conf_request_retry: Count = 10


class PppSettings(_Section, frozen=True):
    """``ppp``."""

    authentication: AuthenticationSettings = AuthenticationSettings()
    lcp: LcpSettings = LcpSettings()
    ipcp: NcpSettings = NcpSettings()
    ip6cp: NcpSettings = NcpSettings()


class DhcpSettings(_Section, frozen=True):
    """``dhcp``."""

    enable: bool = True
    timeout: Seconds = 5.0
    retry: Count = 10
    release_interval: Seconds = 1.0
    release_retry: Count = 3
    vendor_class_id: str | None = None


class Dhcpv6Settings(_Section, frozen=True):
    """``dhcpv6``."""

    enable: bool = True
    rapid_commit: bool = True
    ia_na: bool = True
    ia_pd: bool = True
    timeout: Seconds = 5.0
    retry: Count = 10


class IpoeSettings(_Section, frozen=True):
    """``ipoe``."""

    ipv4: bool = True
    ipv6: bool = True
    arp_timeout: Seconds = 1.0


class AccessLineSettings(_Section, frozen=True):
    """``access-line``."""

    agent_circuit_id: str | None = None
    agent_remote_id: str | None = None


class SessionTrafficSettings(_Section, frozen=True):
    """``session-traffic``: packets a second of each direction; 0 is no traffic."""

    autostart: bool = True
    ipv4_pps: Rate = 0.0
    ipv6_pps: Rate = 0.0
    ipv6pd_pps: Rate = 0.0


class TrafficSettings(_Section, frozen=True):
    """``traffic``."""

    autostart: bool = True
    stop_verified: bool = False
    stream_autostart: bool = True


class StreamSettings(_Section, frozen=True):
    """An entry of ``streams``: raw traffic from a network interface."""

    name: str
    type: Literal["ipv4", "ipv6", "ipv6pd"] = "ipv4"
    direction: Literal["upstream", "downstream", "both"] = "both"
    pps: Rate = 1.0
    length: Annotated[int, Meta(ge=76, le=9000)] = 128
    network_interface: str | None = None
    network_ipv4_address: str | None = None
    destination_ipv4_address: str | None = None
    destination_ipv6_address: str | None = None
    stream_group_id: Group = 0
    autostart: bool = True


class IgmpSettings(_Section, frozen=True):
    """``igmp``. Without ``group`` nobody joins by itself."""

    version: Annotated[int, Meta(ge=1, le=3)] = 3
    autostart: bool = True
    start_delay: Seconds = 1.0
    group: str | None = None
    group_iter: str = "0.0.0.1"
    group_count: Count = 1
    source: str | None = None
    robustness_interval: Annotated[int, Meta(ge=0)] = 1000
    zapping_interval: Seconds = 0.0
    zapping_count: Count = 0
    zapping_wait: bool = True
    view_duration: Seconds = 0.0
    max_join_delay: Count = 0
    send_multicast_traffic: bool = False
    multicast_traffic_autostart: bool = True
    multicast_traffic_pps: Rate = 1000.0
    network_interface: str | None = None


class LnsSettings(_Section, frozen=True):
    """An entry of ``l2tp-server``."""

    name: str
    address: str
    secret: str | None = None


class RefusalSettings(_Section, frozen=True):
    """What share of requests the simulated BNG refuses, by what is asked for."""

    pppoe: Share = 0.0
    lcp: Share = 0.0
    authentication: Share = 0.0
    ipcp: Share = 0.0
    ip6cp: Share = 0.0
    dhcp: Share = 0.0
    dhcpv6: Share = 0.0


class MulticastSettings(_Section, frozen=True):
    """Multicast that the simulated BNG delivers. ``groups`` are those that somebody else sends to, besides
    what ``igmp.send-multicast-traffic`` sends; the delays lie between a report and the first or last
    packet, in seconds."""

    groups: list[str] = []
    pps: Rate = 10.0
    join_delay: Seconds = 0.02
    leave_delay: Seconds = 1.0


class LacSettings(_Section, frozen=True):
    """A LAC that opens a tunnel to one of our LNS, with sessions. ``established`` of them come up; the
    others wait for their control connection for ever."""

    server: str
    name: str = "LAC1"
    address: str = "10.0.0.2"
    vendor: str = "bridle"
    delay: Seconds = 0.0
    sessions: Annotated[int, Meta(ge=0, le=65535)] = 1
    established: Annotated[int, Meta(ge=0, le=65535)] | None = None
    tunnel_id: Annotated[int, Meta(ge=1, le=65535)] = 4242
    first_session_id: Annotated[int, Meta(ge=1, le=65535)] = 101
    proxy_authentication: Literal["none", "PAP", "CHAP"] = "none"
    tx_bps: Count = 1_000_000
    rx_bps: Count = 500_000
    pps: Rate = 0.0


class InterceptSettings(_Section, frozen=True):
    """A flow of lawful interception that arrives."""

    source_address: str
    destination_address: str
    source_port: Annotated[int, Meta(ge=0, le=65535)] = 40000
    destination_port: Annotated[int, Meta(ge=0, le=65535)] = 49152
    direction: Literal["upstream", "downstream", "invalid"] = "downstream"
    packet_type: Literal["ipv4", "ipv6", "ethernet", "unkown"] = "ethernet"
    sub_packet_type: Literal["single-tagged", "double-tagged", "untagged", "unkown"] = "single-tagged"
    liid: Annotated[int, Meta(ge=0, le=0x3FFFFF)] = 1
    protocol: Literal["tcp", "udp", "other"] = "udp"
    pps: Rate = 1.0
    length: Annotated[int, Meta(ge=1, le=9000)] = 128


class SimulationSettings(_Section, frozen=True):
    """The BNG that is not there: how it answers. ``delay`` and ``jitter`` are seconds of each answer,
    ``loss`` is the share of exchanges that get none, ``lifetime`` the mean time in seconds after which it
    drops a session (0: never). The same ``seed`` makes the same run."""

    seed: int = 1
    delay: Seconds = 0.0
    jitter: Seconds = 0.0
    loss: Share = 0.0
    refuse: RefusalSettings = RefusalSettings()
    silent_interfaces: list[str] = []
    lifetime: Seconds = 0.0
    traffic_loss: Share = 0.0
    traffic_delay: Seconds = 0.0
    ipv4_first: str = "10.0.0.11"
    ipv4_count: Annotated[int, Meta(ge=0, le=1 << 31)] = 16_777_000
    gateway: str = "10.0.0.10"
    dns1: str = "8.8.8.8"
    dns2: str = "1.1.1.1"
    ipv6_prefix: str = "fc01:201:102:304::/64"
    delegated_prefix: str = "fc01:200::/56"
    ipv6_dns1: str | None = None
    ipv6_dns2: str | None = None
    lease_time: Annotated[int, Meta(ge=1)] = 120
    dhcpv6_lease_time: Annotated[int, Meta(ge=1)] = 14400
    server_mac: str = "02:00:00:ff:ff:01"
    reply_message: str = "BNG-Blaster-A10NSP"
    multicast: MulticastSettings = MulticastSettings()
    l2tp: list[LacSettings] = []
    li_flows: list[InterceptSettings] = []


class BngSettings(_Section, frozen=True):
    """The whole configuration. ``release`` chooses whose answers are given: those of BNG Blaster 0.9, or of
    0.5."""

    release: Release = "0.9"
    interfaces: InterfacesSettings = InterfacesSettings()
    sessions: SessionsSettings = SessionsSettings()
    pppoe: PppoeSettings = PppoeSettings()
    ppp: PppSettings = PppSettings()
    ipoe: IpoeSettings = IpoeSettings()
    dhcp: DhcpSettings = DhcpSettings()
    dhcpv6: Dhcpv6Settings = Dhcpv6Settings()
    access_line: AccessLineSettings = AccessLineSettings()
    session_traffic: SessionTrafficSettings = SessionTrafficSettings()
    traffic: TrafficSettings = TrafficSettings()
    streams: list[StreamSettings] = []
    igmp: IgmpSettings = IgmpSettings()
    l2tp_server: list[LnsSettings] | LnsSettings = []
    simulation: SimulationSettings = SimulationSettings()

    @property
    def access(self) -> list[AccessSettings]:
        """The access interfaces."""
        return _list(self.interfaces.access)

    @property
    def network(self) -> list[NetworkSettings]:
        """The network interfaces."""
        return _list(self.interfaces.network)

    @property
    def a10nsp(self) -> list[LinkSettings]:
        """The A10NSP interfaces."""
        return _list(self.interfaces.a10nsp)

    @property
    def lns(self) -> list[LnsSettings]:
        """The L2TP servers."""
        return _list(self.l2tp_server)

    def check(self) -> None:
        """See that names lead somewhere and addresses are some.

        Raises:
            ConfigurationError: with the path to what is wrong.
        """
        networks = {one.interface for one in self.network}
        a10nsp = {one.interface for one in self.a10nsp}
        for index, access in enumerate(self.access):
            path: list[str | int] = ["interfaces", "access", index]
            if access.network_interface is not None and access.network_interface not in networks:
                raise _unknown("network", access.network_interface, [*path, "network-interface"])
            if access.a10nsp_interface is not None and access.a10nsp_interface not in a10nsp:
                raise _unknown("a10nsp", access.a10nsp_interface, [*path, "a10nsp-interface"])
            _check_addresses(access, ("address", "address-iter", "gateway", "gateway-iter"), path)
        _check_addresses(self.igmp, ("group", "group-iter", "source"), ["igmp"])
        simulation = self.simulation
        _check_addresses(simulation, ("ipv4-first", "gateway", "dns1", "dns2"), ["simulation"])
        for name in ("ipv6-prefix", "delegated-prefix"):
            _check_network(simulation, name, ["simulation"])
        servers = {one.name for one in self.lns}
        for index, lac in enumerate(simulation.l2tp):
            if lac.server not in servers:
                raise _unknown("l2tp-server", lac.server, ["simulation", "l2tp", index, "server"])
        for index, group in enumerate(simulation.multicast.groups):
            _check_address(group, ["simulation", "multicast", "groups", index])


def _vlans(only: int | None, first: int, last: int) -> range:
    if only is not None:
        return range(only, only + 1)
    return range(first, max(first, last) + 1)


def _list(value: list[T] | T) -> list[T]:
    return value if isinstance(value, list) else [value]


def _unknown(kind: str, name: str, path: Path) -> ConfigurationError:
    return ConfigurationError(f"there is no {kind} interface '{name}'", path=path)


def _check_addresses(section: msgspec.Struct, names: Iterable[str], path: Path) -> None:
    for name in names:
        value = getattr(section, name.replace("-", "_"))
        if value is not None:
            _check_address(value, [*path, name])


def _check_address(value: str, path: Path) -> None:
    try:
        ipaddress.IPv4Address(value)
    except ValueError as error:
        raise ConfigurationError(f"'{value}' is no IPv4 address", path=path) from error


def _check_network(section: msgspec.Struct, name: str, path: Path) -> None:
    value = getattr(section, name.replace("-", "_"))
    try:
        ipaddress.IPv6Network(value)
    except ValueError as error:
        raise ConfigurationError(f"'{value}' is no IPv6 prefix", path=[*path, name]) from error


# What BNG Blaster knows and sessions that are simulated have no use for.
_WIRE = (
    "io-mode io-burst io-slots io-slots-tx io-slots-rx io-stream-max-ppi qdisc-bypass tx-interval "
    "rx-interval tx-threads rx-threads tx-cpuset rx-cpuset tx-auto-cpuset rx-auto-cpuset "
    "capture-include-streams description mtu"
)
_LET_PASS: Mapping[tuple[str, ...], str] = {
    (): "isis ospf bgp ldp http-client http-server icmp-client arp-client access-line-profiles l2bsa "
    "traffic-classes interactive",
    ("interfaces",): f"{_WIRE} lag",
    ("interfaces", "access"): f"{_WIRE} qinq third-vlan ppp-mru authentication-protocol rate-up rate-down "
    "dsl-type igmp-version stream-group-id access-line-profile-id cfm-cc cfm-level cfm-ma-id cfm-ma-name "
    "cfm-interval cfm-seq cfm-vlan-priority http-client-group-id icmp-client-group-id arp-client-group-id "
    "lease-time address-ipv6 address-ipv6-iter gateway-ipv6 dhcpv6-ldra outer-vlan-step "
    "inner-vlan-step",
    ("interfaces", "network"): f"{_WIRE} gateway-ipv6 ipv6-router-advertisement gateway-mac "
    "gateway-resolve-wait isis-instance-id isis-level isis-p2p isis-l1-metric isis-l2-metric "
    "isis-l1-priority isis-l2-priority ospfv2-instance-id ospfv2-type ospfv2-metric ospfv3-instance-id "
    "ospfv3-type ospfv3-metric ldp-instance-id",
    ("interfaces", "a10nsp"): _WIRE,
    ("interfaces", "links"): f"{_WIRE} lag-interface lacp-priority loopback-peer",
    ("sessions",): "iterate-outer-vlan",
    ("pppoe",): "service-name host-uniq vlan-priority session-time sessions max-outstanding start-rate "
    "stop-rate",
    ("ppp",): "mru",
    ("ppp", "lcp"): "start-delay ignore-vendor-specific echo-request-padding",
    ("ppp", "ipcp"): "request-ip",
    ("dhcp",): "broadcast tos vlan-priority access-line keep-address client-id",
    ("dhcpv6",): "ia-separate vlan-priority access-line ldra",
    ("ipoe",): "arp-interval vlan-priority",
    ("access-line",): "rate-up rate-down dsl-type access-line-profile-id rate-up-down",
    ("session-traffic",): "ipv4-label ipv4-address ipv6-label ipv6-address",
    ("traffic",): "max-burst stream-rate-calculation stream-delay-calculation stream-burst-ms "
    "stream-rx-max-packets udp-checksum reassemble-fragments",
    ("streams",): "source-port destination-port ipv4-df priority vlan-priority a10nsp-interface bps "
    "network-ipv6-address access-ipv4-source-address access-ipv6-source-address threaded thread-group "
    "max-packets start-delay tx-label1 tx-label1-exp tx-label1-ttl tx-label2 tx-label2-exp tx-label2-ttl "
    "rx-label1 rx-label2 nat ldp-lookup raw-tcp rx-interface setup-interval",
    ("igmp",): "combined-leave-join multicast-traffic-length multicast-traffic-tos source-iter "
    "network-interface-vlan",
    ("l2tp-server",): "receive-window-size max-retry congestion-mode hello-interval data-control-priority "
    "data-length data-offset control-tos data-control-tos lcp-padding lcp-keepalive-interval "
    "lcp-keepalive-retry client-auth-id",
}
_NOT_SIMULATED = frozenset(_LET_PASS[()].split())


def check_names(value: Mapping[str, JSON], ignored: Iterable[str]) -> list[str]:
    """See that every member of a configuration has a name that somebody knows; the sections that nothing is
    made of here. ``ignored`` are names that belong to others.

    Raises:
        ConfigurationError: there is another, with its path.
    """
    for path in _unknown_names(value, BngSettings, (), frozenset(ignored)):
        raise ConfigurationError(f"unknown parameter '{path[-1]}'", path=path)
    return sorted(_NOT_SIMULATED.intersection(value))


def _unknown_names(
    value: Mapping[str, JSON], kind: type[msgspec.Struct], place: tuple[str, ...], ignored: frozenset[str]
) -> Iterator[list[str | int]]:
    known = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    passed = ignored.union(_LET_PASS.get(place, "").split())
    for name, item in value.items():
        if name not in known:
            if name not in passed:
                yield [name]
            continue
        inner = _struct_in(known[name])
        if inner is None:
            continue
        below = (*place, name)
        if isinstance(item, dict):
            yield from ([name, *path] for path in _unknown_names(item, inner, below, frozenset()))
        elif isinstance(item, list):
            for index, one in enumerate(item):
                if isinstance(one, dict):
                    found = _unknown_names(one, inner, below, frozenset())
                    yield from ([name, index, *path] for path in found)


def _struct_in(kind: object) -> type[msgspec.Struct] | None:
    """The section that a member is made of, or a list of it."""
    if isinstance(kind, type):
        return kind if issubclass(kind, msgspec.Struct) else None
    return next(filter(None, map(_struct_in, getattr(kind, "__args__", ()))), None)
