"""A session, and where it lives. What happens to it is told in ``lifecycle.py``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

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
        self.state: str = "Up"
        self.transitions: int = 0
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
        self.group: int = settings.session_group_id
        self.reconnect: bool = whole.pppoe.reconnect if self.pppoe else whole.sessions.reconnect
        line = whole.access_line
        circuit = settings.agent_circuit_id or line.agent_circuit_id
        remote = settings.agent_remote_id or line.agent_remote_id
        if whole.release == "0.5":
            circuit = circuit or "0.0.0.0/0.0.0.0 eth 0:{session-global}"
            remote = remote or "DEU.RTBRICK.{session-global}"
        name = settings.username or whole.ppp.authentication.username
        self.username: Template | None = Template(name) if self.pppoe else None
        self.circuit: Template | None = Template(circuit) if circuit else None
        self.remote: Template | None = Template(remote) if remote else None
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
        self.id: int = id_
        self.access: Access = access
        self.number: int = number
        self.outer: int = outer
        self.inner: int = inner
        self.state: str = "Idle"
        self.version: int = 0
        self.flapped: int = 0
        # Raised whenever what is under way is of no interest any more.
        self.epoch: int = 0
        self.rolls: int = 0
        self.stays_down: bool = False
        self.server: bool = False
        self.pppoe_id: int = 0
        self.lcp: str = "Closed"
        self.ipcp: str = "Closed"
        self.ip6cp: str = "Closed"
        self.ipv4: int = 0
        self.prefix: bool = False
        self.resolved: bool = False
        self.dhcp: str = "Init" if access.dhcp else "Disabled"
        self.dhcpv6: str = "Init" if access.dhcpv6 else "Disabled"
        self.dhcp_since: float | None = None
        self.dhcpv6_since: float | None = None
        self.dhcp_asks: list[int] | None = None
        self.dhcpv6_asks: list[int] | None = None
        self.established_at: float | None = None
        self.tx: int = 0
        self.rx: int = 0
        self.tx_bytes: int = 0
        self.rx_bytes: int = 0
        # What its flows carried before their counters were set to nothing.
        self.traffic_tx: int = 0
        self.traffic_rx: int = 0
        self.traffic_tx_bytes: int = 0
        self.traffic_rx_bytes: int = 0
        self.icmpv6_tx: int = 0
        self.icmpv6_rx: int = 0
        self.igmp_tx: int = 0
        self.first_flow: int = 0
        self.flows: tuple[Flow | None, ...] = ()
        self.verified: int = 0
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

    @property
    def username(self) -> str | None:
        """The name it authenticates with."""
        return self._text("username", self.access.username)

    @property
    def circuit(self) -> str | None:
        """Its Agent-Circuit-Id."""
        return self._text("agent-circuit-id", self.access.circuit)

    @property
    def remote(self) -> str | None:
        """Its Agent-Remote-Id."""
        return self._text("agent-remote-id", self.access.remote)

    def _text(self, name: str, template: Template | None) -> str | None:
        if self.changed:
            changed = self.changed.get(name)
            if changed is not None:
                return str(changed)
        return None if template is None else template.fill(self)


class Template:
    """A text of the configuration with the numbers of sessions in it: ``user{session-global}@isp``."""

    _VARIABLES: ClassVar[dict[str, Callable[[Session], int]]] = {
        "{session-global}": lambda session: session.id,
        "{session}": lambda session: session.number,
        "{outer-vlan}": lambda session: session.outer,
        "{inner-vlan}": lambda session: session.inner,
        "{i1}": lambda session: session.access.settings.i1(session.number),
        "{i2}": lambda session: session.access.settings.i2(session.number),
    }
    _NAMES: ClassVar[re.Pattern[str]] = re.compile("|".join(map(re.escape, _VARIABLES)))

    def __init__(self, text: str) -> None:
        self._values = tuple(self._VARIABLES[name] for name in self._NAMES.findall(text))
        self._form = "%d".join(part.replace("%", "%%") for part in self._NAMES.split(text))
        self._head, _, self._tail = text.partition("{session-global}")
        self._plain = self._values == (self._VARIABLES["{session-global}"],)

    def fill(self, session: Session) -> str:
        """The text for a session."""
        if self._plain:
            return f"{self._head}{session.id}{self._tail}"
        return self._form % tuple(value(session) for value in self._values)
