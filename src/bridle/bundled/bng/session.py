"""A session, and where it lives. What happens to it is told in ``lifecycle.py``."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from bridle.bundled.bng.settings import AccessSettings, BngSettings

if TYPE_CHECKING:
    from bridle.bundled.bng.flow import Flow
    from bridle.bundled.bng.igmp import Groups

__all__ = ["ENDED", "Access", "Interface", "Session"]

ENDED = frozenset({"Idle", "Terminated"})
"""The states of a session that nothing is under way for."""


class Interface:
    """A link of the machine that would send the packets."""

    def __init__(self, name: str, index: int, function: str) -> None:
        self.name = name
        self.index = index
        self.function = function
        self.state = "Up"
        self.transitions = 0
        self.sessions: list[Session] = []

    @property
    def up(self) -> bool:
        """True while packets pass."""
        return self.state == "Up"

    def change(self, state: str) -> bool:
        """Go to a state; False where it is in it."""
        if state == self.state:
            return False
        self.state = state
        self.transitions += 1
        return True


class Access:
    """An access interface's section, resolved: what all sessions in it have in common."""

    def __init__(
        self, settings: AccessSettings, whole: BngSettings, interface: Interface, peer: Interface | None
    ) -> None:
        self.settings = settings
        self.interface = interface
        self.peer = peer
        self.pppoe: bool = settings.type == "pppoe"
        self.static: bool = settings.address is not None and not self.pppoe
        ppp, ipoe = whole.ppp, whole.ipoe
        self.ipv4: bool = (
            _chosen(settings.ipcp, ppp.ipcp.enable) if self.pppoe else _chosen(settings.ipv4, ipoe.ipv4)
        )
        self.ipv6: bool = (
            _chosen(settings.ip6cp, ppp.ip6cp.enable) if self.pppoe else _chosen(settings.ipv6, ipoe.ipv6)
        )
        self.dhcp: bool = (
            not self.pppoe and self.ipv4 and not self.static and _chosen(settings.dhcp, whole.dhcp.enable)
        )
        self.dhcpv6: bool = self.ipv6 and _chosen(settings.dhcpv6, whole.dhcpv6.enable)
        self.n_to_1: bool = settings.vlan_mode == "N:1"
        self.group = settings.session_group_id
        self.reconnect: bool = whole.pppoe.reconnect if self.pppoe else whole.sessions.reconnect
        self.username = settings.username or whole.ppp.authentication.username
        line = whole.access_line
        self.circuit = settings.agent_circuit_id or line.agent_circuit_id
        self.remote = settings.agent_remote_id or line.agent_remote_id
        if whole.release == "0.5":
            self.circuit = self.circuit or "0.0.0.0/0.0.0.0 eth 0:{session-global}"
            self.remote = self.remote or "DEU.RTBRICK.{session-global}"
        # Somebody else's BNG joins for nobody that comes through it (facts §4.4).
        self.igmp_autostart: bool = _chosen(settings.igmp_autostart, whole.igmp.autostart) and not (
            self.pppoe and peer is not None and peer.function == "a10nsp"
        )
        self.traffic_autostart: bool = _chosen(
            settings.session_traffic_autostart, whole.session_traffic.autostart
        )
        self._address = int(ipaddress.IPv4Address(settings.address or 0))
        self._address_step = int(ipaddress.IPv4Address(settings.address_iter))
        self._gateway = int(ipaddress.IPv4Address(settings.gateway or 0))
        self._gateway_step = int(ipaddress.IPv4Address(settings.gateway_iter))

    def static_address(self, number: int) -> int:
        """The address of the section's session with this number, from 1 on."""
        return self._address + (number - 1) * self._address_step & 0xFFFFFFFF

    def static_gateway(self, number: int) -> int:
        """The gateway of the section's session with this number."""
        return self._gateway + (number - 1) * self._gateway_step & 0xFFFFFFFF


def _chosen(own: bool | None, general: bool) -> bool:
    return general if own is None else own


class Session:
    """A subscriber's session. Addresses are numbers, 0 is none; states are BNG Blaster's own words."""

    __slots__ = (
        "access",
        "changed",
        "dhcp",
        "dhcp_asks",
        "dhcp_since",
        "dhcpv6",
        "dhcpv6_asks",
        "dhcpv6_since",
        "epoch",
        "established_at",
        "first_flow",
        "flapped",
        "flows",
        "groups",
        "icmpv6_rx",
        "icmpv6_tx",
        "id",
        "igmp_tx",
        "inner",
        "ip6cp",
        "ipcp",
        "ipv4",
        "lcp",
        "number",
        "outer",
        "pppoe_id",
        "prefix",
        "resolved",
        "rolls",
        "rx",
        "rx_bytes",
        "server",
        "state",
        "stays_down",
        "traffic_rx",
        "traffic_rx_bytes",
        "traffic_tx",
        "traffic_tx_bytes",
        "tx",
        "tx_bytes",
        "verified",
        "version",
    )

    def __init__(self, id_: int, access: Access, number: int, outer: int, inner: int) -> None:
        self.id = id_
        self.access = access
        self.number = number
        self.outer = outer
        self.inner = inner
        self.state = "Idle"
        self.version = 0
        self.flapped = 0
        # Raised whenever what is under way is of no interest any more.
        self.epoch = 0
        self.rolls = 0
        self.stays_down = False
        self.server = False
        self.pppoe_id = 0
        self.lcp = self.ipcp = self.ip6cp = "Closed"
        self.ipv4 = 0
        self.prefix = False
        self.resolved = False
        self.dhcp = "Init" if access.dhcp else "Disabled"
        self.dhcpv6 = "Init" if access.dhcpv6 else "Disabled"
        self.dhcp_since: float | None = None
        self.dhcpv6_since: float | None = None
        self.dhcp_asks: list[int] | None = None
        self.dhcpv6_asks: list[int] | None = None
        self.established_at: float | None = None
        self.tx = self.rx = self.tx_bytes = self.rx_bytes = 0
        # What its flows carried before their counters were set to nothing.
        self.traffic_tx = self.traffic_rx = 0
        self.traffic_tx_bytes = self.traffic_rx_bytes = 0
        self.icmpv6_tx = self.icmpv6_rx = self.igmp_tx = 0
        self.first_flow = 0
        self.flows: tuple[Flow | None, ...] = ()
        self.verified = 0
        self.groups: Groups | None = None
        self.changed: dict[str, Any] | None = None
        if access.static:
            self.ipv4 = access.static_address(number)

    @property
    def established(self) -> bool:
        """True while the session is up."""
        return self.state == "Established"

    def flow_active(self, family: int) -> bool:
        """True while an address of the family is there."""
        if family == 0:
            return self.ipv4 != 0
        if family == 1:
            return self.prefix
        return self.dhcpv6_since is not None

    def text(self, template: str) -> str:
        """A template of the configuration, filled in for this session."""
        if "{" not in template:
            return template
        settings = self.access.settings
        step = self.number - 1
        for name, value in (
            ("{session-global}", self.id),
            ("{session}", self.number),
            ("{outer-vlan}", self.outer),
            ("{inner-vlan}", self.inner),
            ("{i1}", settings.i1_start + step * settings.i1_step),
            ("{i2}", settings.i2_start + step * settings.i2_step),
        ):
            template = template.replace(name, str(value))
        return template

    @property
    def username(self) -> str | None:
        """The name it authenticates with."""
        changed = self.changed and self.changed.get("username")
        return changed or (self.text(self.access.username) if self.access.pppoe else None)

    @property
    def circuit(self) -> str | None:
        """Its Agent-Circuit-Id."""
        changed = self.changed and self.changed.get("agent-circuit-id")
        return changed or (self.text(self.access.circuit) if self.access.circuit else None)

    @property
    def remote(self) -> str | None:
        """Its Agent-Remote-Id."""
        changed = self.changed and self.changed.get("agent-remote-id")
        return changed or (self.text(self.access.remote) if self.access.remote else None)
