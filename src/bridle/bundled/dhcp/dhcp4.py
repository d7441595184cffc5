"""The DHCPv4 daemon: ``bridle run dhcp4``."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import ClassVar

from bridle.bundled.dhcp.daemon import DhcpDaemon
from bridle.bundled.dhcp.lease_commands import LeaseCommands4
from bridle.bundled.dhcp.lease_databases import open_store4
from bridle.bundled.dhcp.leases import Lease4, LeaseState
from bridle.bundled.dhcp.query4 import SERVER_PORT
from bridle.bundled.dhcp.server4 import HOOK_POINTS, Server4
from bridle.bundled.dhcp.settings import DhcpSettings, LeaseDatabase, Settings4
from bridle.bundled.dhcp.settings4 import read_settings4
from bridle.bundled.dhcp.sockets4 import Place4, Socket4, places_of
from bridle.bundled.dhcp.store import LeaseStore4
from bridle.bundled.name_change import NameChange, dhcid
from bridle.daemon.document import Document

__all__ = ["Dhcp4"]


class Dhcp4(DhcpDaemon):
    """A DHCPv4 server, with Kea's configuration and commands."""

    root: ClassVar[str] = "Dhcp4"
    protocol: ClassVar[int] = 4
    hook_points: ClassVar[tuple[str, ...]] = HOOK_POINTS
    statistic_names: ClassVar[tuple[str, ...]] = (
        "cumulative-assigned-addresses",
        "declined-addresses",
        *(
            f"pkt4-{kind}-received"
            for kind in (
                "ack",
                "decline",
                "discover",
                "inform",
                "nak",
                "offer",
                "release",
                "request",
                "unknown",
            )
        ),
        *(f"pkt4-{kind}-sent" for kind in ("ack", "nak", "offer")),
        "pkt4-parse-failed",
        "pkt4-receive-drop",
        "pkt4-received",
        "pkt4-sent",
        "reclaimed-declined-addresses",
        "reclaimed-leases",
        "v4-allocation-fail",
        *(f"v4-allocation-fail-{reason}" for reason in ("classes", "no-pools", "shared-network", "subnet")),
        "v4-reservation-conflicts",
    )

    def _read(self, document: Document) -> DhcpSettings:
        return read_settings4(document)

    def _open_store(self, database: LeaseDatabase) -> LeaseStore4:
        return open_store4(database)

    def _open_socket(self, place: Place4) -> Socket4:
        return Socket4(place)

    def _places(self, settings: Settings4) -> list[Place4]:
        port = SERVER_PORT if self._port is None else self._port
        return places_of(settings.interfaces, port, raw=settings.socket_type == "raw")

    def _make_server(self, settings: Settings4, store: LeaseStore4) -> Server4:
        return Server4(
            settings,
            store,
            self.statistics,
            callouts=self.callouts,
            name_changed=self._tell,
            clock=self._clock,
            server_port=SERVER_PORT if self._port is None else self._port,
        )

    def _subnet_statistics(
        self, settings: Settings4, counts: Mapping[tuple[int, int], int]
    ) -> dict[str, int]:
        found: dict[str, int] = {}
        for number, subnet in settings.subnets.items():
            declined = counts.get((number, LeaseState.DECLINED), 0)
            assigned = counts.get((number, LeaseState.ASSIGNED), 0) + declined
            known = f"subnet[{number}]."
            found[f"{known}assigned-addresses"] = assigned
            found[f"{known}declined-addresses"] = declined
            found[f"{known}total-addresses"] = sum(pool.last - pool.first + 1 for pool in subnet.pools)
            for name in (
                "cumulative-assigned-addresses",
                "reclaimed-declined-addresses",
                "reclaimed-leases",
                "v4-reservation-conflicts",
            ):
                value = self.statistics.get(f"{known}{name}")
                found[f"{known}{name}"] = value if isinstance(value, int) else 0
        return found

    def _name_change(self, lease: Lease4, add: bool) -> NameChange:
        # RFC 4701 §3.5.3: a client identifier that holds a DUID counts as the DUID.
        if lease.client_id[:1] == b"\xff" and len(lease.client_id) > 5:
            kind, identifier = 2, lease.client_id[5:]
        elif lease.client_id:
            kind, identifier = 1, lease.client_id
        else:
            kind, identifier = 0, b"\1" + lease.hw_address
        subnet = self._settings_of_subnet(lease.subnet_id)
        return NameChange(
            add=add,
            forward=lease.fqdn_forward,
            reverse=lease.fqdn_reverse,
            fqdn=lease.hostname,
            address=str(ipaddress.IPv4Address(lease.address)),
            dhcid=dhcid(kind, identifier, lease.hostname),
            expires=lease.expires,
            length=lease.valid_lifetime,
            conflict_resolution=subnet is None or subnet.ddns.use_conflict_resolution,
        )

    def _lease_commands(self) -> LeaseCommands4:
        return LeaseCommands4(
            lambda: self._store,
            lambda: self._subnets,
            statistics=self.statistics,
            named=lambda: None if self._sender is None else self._name_changed,
            freed=lambda: self._server.freed(),
            clock=self._clock,
        )
