"""The DHCPv6 daemon: ``bridle run dhcp6``."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import ClassVar

from bridle.bundled.dhcp.daemon import DhcpDaemon
from bridle.bundled.dhcp.lease_commands import LeaseCommands6
from bridle.bundled.dhcp.lease_databases import open_store6
from bridle.bundled.dhcp.leases import Lease6, LeaseKind, LeaseState
from bridle.bundled.dhcp.query6 import SERVER_PORT
from bridle.bundled.dhcp.server6 import HOOK_POINTS, Server6
from bridle.bundled.dhcp.server_id import server_id
from bridle.bundled.dhcp.settings import DhcpSettings, LeaseDatabase, Settings6
from bridle.bundled.dhcp.settings6 import read_settings6
from bridle.bundled.dhcp.sockets6 import Place6, Socket6, places_of
from bridle.bundled.dhcp.store import LeaseStore6
from bridle.bundled.name_change import NameChange, dhcid
from bridle.daemon.document import Document

__all__ = ["Dhcp6"]

_RECEIVED = (
    "advertise",
    "confirm",
    "decline",
    "infrequest",
    "rebind",
    "release",
    "renew",
    "reply",
    "request",
    "solicit",
    "unknown",
)


class Dhcp6(DhcpDaemon):
    """A DHCPv6 server, with Kea's configuration and commands."""

    root: ClassVar[str] = "Dhcp6"
    protocol: ClassVar[int] = 6
    hook_points: ClassVar[tuple[str, ...]] = HOOK_POINTS
    statistic_names: ClassVar[tuple[str, ...]] = (
        "cumulative-assigned-nas",
        "cumulative-assigned-pds",
        "declined-addresses",
        *(f"pkt6-{kind}-received" for kind in _RECEIVED),
        "pkt6-advertise-sent",
        # DHCPv4 over DHCPv6 is not done here, but exporters look for what Kea counts of it.
        "pkt6-dhcpv4-query-received",
        "pkt6-dhcpv4-response-received",
        "pkt6-dhcpv4-response-sent",
        "pkt6-parse-failed",
        "pkt6-receive-drop",
        "pkt6-received",
        "pkt6-reply-sent",
        "pkt6-sent",
        "reclaimed-declined-addresses",
        "reclaimed-leases",
        "v6-allocation-fail",
        *(f"v6-allocation-fail-{reason}" for reason in ("classes", "no-pools", "shared-network", "subnet")),
    )

    def _read(self, document: Document) -> DhcpSettings:
        return read_settings6(document)

    def _open_store(self, database: LeaseDatabase) -> LeaseStore6:
        return open_store6(database)

    def _open_socket(self, place: Place6) -> Socket6:
        return Socket6(place)

    def _places(self, settings: Settings6) -> list[Place6]:
        # With the places, as what fails here fails before anything is opened.
        self._server_id = server_id(settings)
        return places_of(settings.interfaces, SERVER_PORT if self._port is None else self._port)

    def _make_server(self, settings: Settings6, store: LeaseStore6) -> Server6:
        return Server6(
            settings,
            store,
            self.statistics,
            server_id=self._server_id,
            callouts=self.callouts,
            name_changed=self._tell,
            clock=self._clock,
            server_port=SERVER_PORT if self._port is None else self._port,
        )

    def _use(self, settings: Settings6, store: LeaseStore6) -> None:
        self._server.use(settings, store, self._server_id)

    def _subnet_statistics(
        self, settings: Settings6, counts: Mapping[tuple[int, int, int], int]
    ) -> dict[str, int]:
        found: dict[str, int] = {}
        for number, subnet in settings.subnets.items():
            declined = counts.get((number, LeaseKind.ADDRESS, LeaseState.DECLINED), 0)
            known = f"subnet[{number}]."
            found[f"{known}assigned-nas"] = declined + counts.get(
                (number, LeaseKind.ADDRESS, LeaseState.ASSIGNED), 0
            )
            found[f"{known}assigned-pds"] = counts.get((number, LeaseKind.PREFIX, LeaseState.ASSIGNED), 0)
            found[f"{known}declined-addresses"] = declined
            found[f"{known}total-nas"] = sum(
                int.from_bytes(pool.last, "big") - int.from_bytes(pool.first, "big") + 1
                for pool in subnet.pools
            )
            found[f"{known}total-pds"] = sum(
                1 << (pool.delegated_length - pool.prefix_length) for pool in subnet.pd_pools
            )
            for name in (
                "cumulative-assigned-nas",
                "cumulative-assigned-pds",
                "reclaimed-declined-addresses",
                "reclaimed-leases",
            ):
                value = self.statistics.get(f"{known}{name}")
                found[f"{known}{name}"] = value if isinstance(value, int) else 0
        return found

    def _name_change(self, lease: Lease6, add: bool) -> NameChange:
        subnet = self._settings_of_subnet(lease.subnet_id)
        return NameChange(
            add=add,
            forward=lease.fqdn_forward,
            reverse=lease.fqdn_reverse,
            fqdn=lease.hostname,
            address=str(ipaddress.IPv6Address(lease.address)),
            dhcid=dhcid(2, lease.duid, lease.hostname),
            expires=lease.expires,
            length=lease.valid_lifetime,
            conflict_resolution=subnet is None or subnet.ddns.use_conflict_resolution,
        )

    def _lease_commands(self) -> LeaseCommands6:
        return LeaseCommands6(
            lambda: self._store,
            lambda: self._subnets,
            statistics=self.statistics,
            named=lambda: None if self._sender is None else self._name_changed,
            freed=lambda: self._server.freed(),
            clock=self._clock,
        )
