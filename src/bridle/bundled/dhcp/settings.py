"""What a configuration means to a DHCP server: immutable, so that it can be exchanged between two packets.

Reading it from a document is ``settings4.py`` and ``settings6.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from bridle.core.messages import JSON
from bridle.daemon.plugins import PluginSettings

__all__ = [
    "ClientClass",
    "DdnsBehaviour",
    "DdnsConnection",
    "DhcpSettings",
    "ExpiredLeases",
    "Interface",
    "LeaseDatabase",
    "Lifetime",
    "MultiThreading",
    "Option",
    "OptionMap",
    "PdPool",
    "Pool4",
    "Pool6",
    "Reservation4",
    "Reservation6",
    "Settings4",
    "Settings6",
    "SharedNetwork",
    "Subnet4",
    "Subnet6",
]


class Option(msgspec.Struct, frozen=True):
    """An option's value as it goes out. ``always_send``: asked for or not."""

    code: int
    data: bytes
    always_send: bool = False


OptionMap = Mapping[int, Option]


class Lifetime(msgspec.Struct, frozen=True):
    """Seconds: what a client gets, and the bounds within which it may ask for another."""

    default: int
    minimum: int
    maximum: int

    def choose(self, hint: int | None) -> int:
        """What a client gets that asked for ``hint``."""
        return self.default if hint is None else min(max(hint, self.minimum), self.maximum)


class ClientClass(msgspec.Struct, frozen=True):
    """A client class. ``test`` is the compiled expression; None where membership comes from elsewhere
    (reservations, vendor classes). Given the packet, the classes so far and the parsed relay data: see
    ``expressions.py``."""

    name: str
    test: Callable[..., bool] | None = None
    only_if_required: bool = False
    depends_on_known: bool = False
    """The test asks for ``member('KNOWN')`` or ``UNKNOWN``, or for a class that does: it waits for the
    reservations."""
    options: OptionMap = {}
    next_server: int = 0
    server_hostname: str = ""
    boot_file_name: str = ""
    valid: Lifetime | None = None
    preferred: Lifetime | None = None


class DdnsBehaviour(msgspec.Struct, frozen=True):
    """How names are made and updated (Kea's ``ddns-*``), after inheritance."""

    send_updates: bool = True
    override_no_update: bool = False
    override_client_update: bool = False
    replace_client_name: str = "never"
    generated_prefix: str = "myhost"
    qualifying_suffix: str = ""
    update_on_renew: bool = False
    use_conflict_resolution: bool = True
    hostname_char_set: str = "[^A-Za-z0-9.-]"
    hostname_char_replacement: str = ""


class Pool4(msgspec.Struct, frozen=True):
    """A range of IPv4 addresses, both ends included."""

    first: int
    last: int
    options: OptionMap = {}
    client_class: str = ""
    require_client_classes: tuple[str, ...] = ()


class Pool6(msgspec.Struct, frozen=True):
    """A range of IPv6 addresses, both ends included."""

    first: bytes
    last: bytes
    options: OptionMap = {}
    client_class: str = ""
    require_client_classes: tuple[str, ...] = ()


class PdPool(msgspec.Struct, frozen=True):
    """A prefix out of which prefixes of ``delegated_length`` are delegated."""

    prefix: bytes
    prefix_length: int
    delegated_length: int
    excluded_prefix: bytes = b""
    excluded_length: int = 0
    options: OptionMap = {}
    client_class: str = ""
    require_client_classes: tuple[str, ...] = ()


class Reservation4(msgspec.Struct, frozen=True):
    """What is kept for one client. ``identifier`` is (``hw-address`` | ``client-id`` | ``duid`` |
    ``circuit-id`` | ``flex-id``, bytes)."""

    identifier: tuple[str, bytes]
    address: int = 0
    hostname: str = ""
    next_server: int = 0
    server_hostname: str = ""
    boot_file_name: str = ""
    options: OptionMap = {}
    client_classes: tuple[str, ...] = ()


class Reservation6(msgspec.Struct, frozen=True):
    """What is kept for one client. ``prefixes`` are (prefix, length)."""

    identifier: tuple[str, bytes]
    addresses: tuple[bytes, ...] = ()
    prefixes: tuple[tuple[bytes, int], ...] = ()
    hostname: str = ""
    options: OptionMap = {}
    client_classes: tuple[str, ...] = ()


class Subnet4(msgspec.Struct, frozen=True, eq=False):
    """An IPv4 subnet, with everything that it inherits resolved.

    ``options`` are those of the subnet over those of its network; the global ones are in the settings.
    ``reservations`` are by identifier; ``reserved`` by address.
    """

    id: int
    network: int
    length: int
    text: str
    """As written: ``192.0.2.0/24``."""
    pools: tuple[Pool4, ...] = ()
    valid: Lifetime = Lifetime(7200, 7200, 7200)
    renew_timer: int | None = None
    rebind_timer: int | None = None
    calculate_tee_times: bool = False
    t1_percent: float = 0.5
    t2_percent: float = 0.875
    options: OptionMap = {}
    interface: str = ""
    relays: frozenset[int] = frozenset()
    client_class: str = ""
    require_client_classes: tuple[str, ...] = ()
    next_server: int = 0
    server_hostname: str = ""
    boot_file_name: str = ""
    authoritative: bool = False
    match_client_id: bool = True
    reservations: Mapping[tuple[str, bytes], Reservation4] = {}
    reserved: Mapping[int, Reservation4] = {}
    reservations_global: bool = False
    reservations_in_subnet: bool = True
    reservations_out_of_pool: bool = False
    shared_network: str = ""
    ddns: DdnsBehaviour = DdnsBehaviour()

    @property
    def first(self) -> int:
        """The lowest address."""
        return self.network

    @property
    def last(self) -> int:
        """The highest address."""
        return self.network | (0xFFFFFFFF >> self.length)


class Subnet6(msgspec.Struct, frozen=True, eq=False):
    """An IPv6 subnet, with everything that it inherits resolved."""

    id: int
    network: bytes
    length: int
    text: str
    pools: tuple[Pool6, ...] = ()
    pd_pools: tuple[PdPool, ...] = ()
    preferred: Lifetime = Lifetime(3600, 3600, 3600)
    valid: Lifetime = Lifetime(7200, 7200, 7200)
    renew_timer: int | None = None
    rebind_timer: int | None = None
    calculate_tee_times: bool = True
    t1_percent: float = 0.5
    t2_percent: float = 0.8
    options: OptionMap = {}
    interface: str = ""
    interface_id: bytes = b""
    relays: frozenset[bytes] = frozenset()
    client_class: str = ""
    require_client_classes: tuple[str, ...] = ()
    rapid_commit: bool = False
    reservations: Mapping[tuple[str, bytes], Reservation6] = {}
    reserved_addresses: Mapping[bytes, Reservation6] = {}
    reserved_prefixes: Mapping[bytes, Reservation6] = {}
    reservations_global: bool = False
    reservations_in_subnet: bool = True
    reservations_out_of_pool: bool = False
    shared_network: str = ""
    ddns: DdnsBehaviour = DdnsBehaviour()


class SharedNetwork(msgspec.Struct, frozen=True):
    """Subnets on one link, by id, in the order in which they are tried."""

    name: str
    subnets: tuple[int, ...] = ()
    interface: str = ""
    client_class: str = ""


class Interface(msgspec.Struct, frozen=True):
    """Where to listen: a name or ``*``, and an address where only one is meant."""

    name: str
    address: str = ""


class LeaseDatabase(msgspec.Struct, frozen=True):
    """Where the leases are. ``kind`` is ``memfile`` (SQLite; in memory where not ``persist``) or
    ``postgresql``. ``name`` is the file's or the database's."""

    kind: str = "memfile"
    persist: bool = True
    name: str = ""
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = ""
    connect_timeout: float = 5.0


class ExpiredLeases(msgspec.Struct, frozen=True):
    """``expired-leases-processing``. Seconds, save ``max_reclaim_time`` in milliseconds."""

    reclaim_timer_wait_time: int = 10
    flush_reclaimed_timer_wait_time: int = 25
    hold_reclaimed_time: int = 3600
    max_reclaim_leases: int = 100
    max_reclaim_time: int = 250
    unwarned_reclaim_cycles: int = 5


class MultiThreading(msgspec.Struct, frozen=True):
    """``multi-threading``. A pool size of 0 means one thread for each processor."""

    enabled: bool = False
    thread_pool_size: int = 0
    packet_queue_size: int = 64


class DdnsConnection(msgspec.Struct, frozen=True):
    """``dhcp-ddns``: where name-change requests go."""

    enabled: bool = False
    server_ip: str = "127.0.0.1"
    server_port: int = 53001
    sender_ip: str = ""
    sender_port: int = 0
    max_queue_size: int = 1024


class DhcpSettings(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What both protocols have. ``value`` is what ``config-get`` tells: everything, with the defaults."""

    value: dict[str, JSON]
    interfaces: tuple[Interface, ...] = ()
    re_detect: bool = True
    shared_networks: Mapping[str, SharedNetwork] = {}
    classes: tuple[ClientClass, ...] = ()
    """In the order in which they are evaluated."""
    options: OptionMap = {}
    lease_database: LeaseDatabase = LeaseDatabase()
    expired_leases: ExpiredLeases = ExpiredLeases()
    multi_threading: MultiThreading = MultiThreading()
    ddns: DdnsConnection = DdnsConnection()
    decline_probation_period: int = 86400
    hooks: tuple[PluginSettings, ...] = ()
    host_identifiers: tuple[str, ...] = ("hw-address",)
    flexible_identifier: Callable[..., bytes] | None = None
    server_tag: str = ""
    loggers: tuple[Mapping[str, JSON], ...] = ()
    statistic_sample_count: int = 20
    statistic_sample_age: int = 0
    early_global_reservations_lookup: bool = False
    ip_reservations_unique: bool = True


class Settings4(DhcpSettings, frozen=True, kw_only=True, eq=False):
    """A DHCPv4 server's settings."""

    subnets: Mapping[int, Subnet4] = {}
    """By id, in the order of the file."""
    reservations: Mapping[tuple[str, bytes], Reservation4] = {}
    """Global ones."""
    echo_client_id: bool = True
    socket_type: str = "raw"
    """``raw``: answers reach clients without an address; ``udp``: relayed and already addressed ones only."""
    outbound_interface: str = "same-as-inbound"


class Settings6(DhcpSettings, frozen=True, kw_only=True, eq=False):
    """A DHCPv6 server's settings."""

    subnets: Mapping[int, Subnet6] = {}
    reservations: Mapping[tuple[str, bytes], Reservation6] = {}
    server_id_type: str = "LLT"
    server_id_identifier: bytes = b""
    server_id_time: int = 0
    server_id_enterprise: int = 0
    server_id_htype: int = 0
    server_id_persist: bool = True
    data_directory: str = ""
    relay_supplied_options: frozenset[int] = frozenset({65})
