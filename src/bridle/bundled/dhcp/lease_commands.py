"""Kea's lease commands (its lease_cmds and stat_cmds hooks), on a lease store.

The commands work on the store alone: a daemon has them, and so may an agent that reaches the daemon's store,
without disturbing the daemon.
"""

from __future__ import annotations

import abc
import asyncio
import ipaddress
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from msgspec import UNSET

from bridle.bundled.dhcp.accounts import assigned_name
from bridle.bundled.dhcp.lease_forms import (
    address4,
    address6,
    describe4,
    describe6,
    hexadecimal,
    kind_of,
    lease4,
    lease6,
    not_found,
)
from bridle.bundled.dhcp.leases import LeaseKind, LeaseState
from bridle.core.errors import ArgumentError, BridleError
from bridle.core.manager import CommandManager
from bridle.core.messages import JSON, Command, Response
from bridle.core.results import Result
from bridle.daemon.statistics import Statistics

__all__ = ["LeaseCommands4", "LeaseCommands6"]

_UPDATE_FAILED = (
    "failed to update the lease with address {} either because the lease has been deleted or it has changed "
    "in the database, in both cases a retry might succeed"
)


class _LeaseCommands(abc.ABC):
    """The commands of one protocol.

    ``store`` and ``subnets`` give what holds now. ``named`` gives what sends a name change for a lease (True:
    its name begins), or None where that is not done; ``freed`` is called when addresses may be free again.
    """

    protocol: ClassVar[int]
    describe: ClassVar[Callable[[Any], dict[str, JSON]]]

    def __init__(
        self,
        store: Callable[[], Any],
        subnets: Callable[[], Mapping[int, Any]],
        *,
        statistics: Statistics | None = None,
        named: Callable[[], Callable[[Any, bool], None] | None] = lambda: None,
        freed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._subnets = subnets
        self._statistics = statistics
        self._named = named
        self._freed = freed
        self._clock = clock

    def register(self, manager: CommandManager) -> None:
        """Answer the commands."""
        for name, (handler, access) in self.commands().items():
            manager.register_command(name, handler, access=access)  # type: ignore[arg-type]

    def commands(self) -> dict[str, tuple[Callable[..., Any], str]]:
        """The commands by name, with their access classes."""
        prefix = f"lease{self.protocol}"
        return {
            f"{prefix}-add": (self.add, "write"),
            f"{prefix}-del": (self.delete, "write"),
            f"{prefix}-get": (self.get, "read"),
            f"{prefix}-get-all": (self.get_all, "read"),
            f"{prefix}-get-by-hostname": (self.get_by_hostname, "read"),
            f"{prefix}-get-page": (self.get_page, "read"),
            f"{prefix}-resend-ddns": (self.resend_ddns, "write"),
            f"{prefix}-update": (self.update, "write"),
            f"{prefix}-wipe": (self.wipe, "write"),
            f"stat-{prefix}-get": (self.stat_get, "read"),
        }

    # What the protocols differ in.

    @abc.abstractmethod
    def _lease(self, command: Command, item: Mapping[str, JSON], where: list[str | int]) -> Any:
        """The lease that a command asks for."""

    @abc.abstractmethod
    def _find(self, item: Mapping[str, JSON]) -> Any:
        """The lease that a command means; None where there is none."""

    @abc.abstractmethod
    def _same(self, lease: Any) -> Any:
        """The lease that the store has of the same address."""

    @abc.abstractmethod
    def _delete(self, lease: Any) -> bool:
        """Remove a lease."""

    @abc.abstractmethod
    def _page_from(self, text: str) -> Any:
        """Where a page begins."""

    @property
    def _kind(self) -> str:
        return f"IPv{self.protocol}"

    # Looking.

    def get(self, command: Command) -> Response:
        """Tell one lease, found by ``ip-address``, or by ``identifier-type``, ``identifier`` and
        ``subnet-id``."""
        lease = self._find(self._map(command, "Parameters missing or are not a map."))
        if lease is None:
            raise not_found("Lease not found.")
        return Response(text=f"{self._kind} lease found.", arguments=type(self).describe(lease))

    async def get_all(self, command: Command) -> Response:
        """Tell all leases, or those of ``subnets``, a list of numbers."""
        # In a thread: a hundred thousand leases take a second, in which the packets have their turn.
        if command.arguments is UNSET:
            return await asyncio.to_thread(self._found, {})
        arguments = self._map(command, "Command arguments missing or a not a map.")
        if "subnets" not in arguments:
            raise ArgumentError("'subnets' parameter not specified", argument="subnets")
        subnets = arguments["subnets"]
        if not isinstance(subnets, list):
            raise ArgumentError("'subnets' parameter must be a list", argument="subnets")
        if not all(type(number) is int for number in subnets):
            raise ArgumentError("listed subnet identifiers must be numbers", argument="subnets")
        return await asyncio.to_thread(self._found, {"subnet_ids": subnets})

    async def get_by_hostname(self, command: Command) -> Response:
        """Tell the leases of a ``hostname``."""
        hostname = self._string(command, "hostname")
        if not hostname:
            raise ArgumentError("'hostname' parameter is empty", argument="hostname")
        return await asyncio.to_thread(self._found, {"hostname": hostname.lower()})

    def _found(self, conditions: Mapping[str, Any]) -> Response:
        return self._leases(self._store().select(**conditions))

    def _leases(self, leases: Iterable[Any], *, count: bool = False) -> Response:
        describe = type(self).describe
        told: list[JSON] = [describe(lease) for lease in leases]
        arguments: dict[str, JSON] = {"leases": told}
        if count:
            arguments["count"] = len(told)
        result = Result.SUCCESS if told else Result.EMPTY
        return Response(result, f"{len(told)} {self._kind} lease(s) found.", arguments)

    def get_page(self, command: Command) -> Response:
        """Tell at most ``limit`` leases, those after the address ``from``; ``start`` begins."""
        name = command.name
        arguments = self._map(command, f"no parameters specified for the {name} command")
        for key in ("from", "limit"):
            if key not in arguments:
                raise ArgumentError(f"'{key}' parameter not specified", argument=key)
        after, limit = arguments["from"], arguments["limit"]
        if not isinstance(after, str):
            raise ArgumentError("'from' parameter must be a string", argument="from")
        if type(limit) is not int:
            raise ArgumentError("'limit' parameter must be a number", argument="limit")
        if limit <= 0:
            raise ArgumentError("page size of retrieved leases must not be 0", argument="limit")
        return self._leases(self._store().page(self._page_from(after), limit), count=True)

    # Changing.

    def add(self, command: Command) -> Response:
        """Add a lease; it is described as ``lease4-get`` or ``lease6-get`` tells one."""
        item = self._map(command, "no parameters specified for the command")
        lease = self._lease(command, item, ["arguments"])
        if not self._store().insert(lease):
            return Response(Result.ERROR, f"{self._kind} lease already exists.")
        self._count({f"subnet[{lease.subnet_id}].{assigned_name(lease)}": 1})
        described = type(self).describe(lease)
        what = f"address {described['ip-address']}"
        if "prefix-len" in described:
            what = f"prefix {described['ip-address']}/{described['prefix-len']}"
        return Response(text=f"Lease for {what}, subnet-id {lease.subnet_id} added.")

    def update(self, command: Command) -> Response:
        """Change a lease; ``force-create`` adds it where there is none."""
        item = self._map(command, f"no parameters specified for {command.name} command")
        lease = self._lease(command, item, ["arguments"])
        before = self._same(lease)
        if before is not None:
            if self._store().update(lease, before):
                self._count_change(before, lease)
                return Response(text=f"{self._kind} lease updated.")
        elif item.get("force-create") is True and self._store().insert(lease):
            self._count({f"subnet[{lease.subnet_id}].{assigned_name(lease)}": 1})
            return Response(text=f"{self._kind} lease added.")
        address = type(self).describe(lease)["ip-address"]
        return Response(Result.ERROR, _UPDATE_FAILED.format(address))

    def delete(self, command: Command) -> Response:
        """Remove a lease, found as ``lease4-get`` and ``lease6-get`` find one; ``update-ddns`` takes its name
        out of DNS too."""
        item = self._map(command, "Parameters missing or are not a map.")
        lease = self._find(item)
        if lease is None or not self._delete(lease):
            raise not_found(f"{self._kind} lease not found.")
        self._gone([lease])
        send = self._named() if item.get("update-ddns") is True else None
        if send is not None and (lease.fqdn_forward or lease.fqdn_reverse):
            send(lease, False)
        return Response(text=f"{self._kind} lease deleted.")

    def wipe(self, command: Command) -> Response:
        """Remove all leases of a subnet (``subnet-id``), or of all."""
        arguments = {} if command.arguments is UNSET else self._map(command, "")
        number = arguments.get("subnet-id", 0)
        if type(number) is not int:
            where = command.locate(["arguments", "subnet-id"])
            raise ArgumentError(f"invalid type specified for parameter 'subnet-id' ({where})")
        numbers = [number] if number else list(self._subnets())
        removed = 0
        for one in numbers:
            removed += self._store().wipe(one)
            if self._statistics is not None:
                names = ("assigned-addresses",) if self.protocol == 4 else ("assigned-nas", "assigned-pds")
                for name in (*names, "declined-addresses"):
                    if f"subnet[{one}].{name}" in self._statistics:
                        self._statistics.set(f"subnet[{one}].{name}", 0)
        self._freed()
        text = f"Deleted {removed} {self._kind} lease(s) from subnet(s) {' '.join(map(str, numbers))}"
        return Response(Result.SUCCESS if removed else Result.EMPTY, text)

    def resend_ddns(self, command: Command) -> Response:
        """Send the name-change request of a lease again."""
        item = self._map(command, "no parameters specified for the command")
        if "ip-address" not in item:
            raise ArgumentError("'ip-address' parameter is missing.", argument="ip-address")
        send = self._named()
        if send is None:
            raise ArgumentError("DDNS updating is not enabled")
        lease = self._find(item)
        told = item["ip-address"]
        if lease is None:
            raise not_found(f"No lease found for: {told}")
        if not lease.hostname or not (lease.fqdn_forward or lease.fqdn_reverse):
            raise ArgumentError(f"Neither forward nor reverse updates enabled for lease for: {told}")
        send(lease, True)
        return Response(text=f"NCR generated for: {told}, hostname: {lease.hostname}")

    # Statistics.

    def stat_get(self, command: Command) -> Response:
        """Tell how many leases each subnet has; of all, of ``subnet-id``, or of a ``subnet-range``."""
        arguments = {} if command.arguments is UNSET else self._map(command, "invalid parameters")
        numbers = sorted(self._subnets())
        what = "all subnets"
        missing = "no matching data"
        if "subnet-id" in arguments:
            wanted = arguments["subnet-id"]
            numbers = [number for number in numbers if number == wanted]
            what, missing = f"subnet-id={wanted}", f"no matching data, subnet-id: {wanted} does not exist"
        elif "subnet-range" in arguments:
            between = arguments["subnet-range"]
            if not isinstance(between, dict):
                raise ArgumentError("'subnet-range' parameter is not a map.", argument="subnet-range")
            first, last = between.get("first-subnet-id"), between.get("last-subnet-id")
            if type(first) is not int or type(last) is not int:
                raise ArgumentError("'subnet-range' takes 'first-subnet-id' and 'last-subnet-id'")
            if last < first:
                raise ArgumentError("'last-subnet-id' must be greater than 'first-subnet-id'")
            numbers = [number for number in numbers if first <= number <= last]
            what = f"subnets {first} through {last}"
        if not numbers:
            return Response(Result.EMPTY, f"{command.name}[{what}]: {missing}", {})
        counts = self._store().counts()
        rows: list[JSON] = [[number, *self._row(number, counts)] for number in numbers]
        columns: list[JSON] = ["subnet-id", *self.columns]
        stamp = datetime.fromtimestamp(self._clock()).strftime("%Y-%m-%d %H:%M:%S.%f")
        table: dict[str, JSON] = {"columns": columns, "rows": rows, "timestamp": stamp}
        text = f"{command.name}[{what}]: {len(rows)} rows found"
        return Response(text=text, arguments={"result-set": table})

    columns: ClassVar[tuple[str, ...]]

    @abc.abstractmethod
    def _row(self, number: int, counts: Mapping[Any, int]) -> list[JSON]:
        """The columns of one subnet."""

    def _statistic(self, number: int, name: str) -> int:
        value = 0 if self._statistics is None else self._statistics.get(f"subnet[{number}].{name}")
        return value if isinstance(value, int) else 0

    def _count(self, changes: Mapping[str, int]) -> None:
        if self._statistics is not None:
            self._statistics.add_many(changes)

    def _gone(self, leases: Iterable[Any]) -> None:
        changes: dict[str, int] = {}
        for lease in leases:
            if lease.state == LeaseState.RECLAIMED:
                continue
            names = [f"subnet[{lease.subnet_id}].{assigned_name(lease)}"]
            if lease.state == LeaseState.DECLINED:
                names += ["declined-addresses", f"subnet[{lease.subnet_id}].declined-addresses"]
            for name in names:
                changes[name] = changes.get(name, 0) - 1
        self._count(changes)
        self._freed()

    def _count_change(self, before: Any, after: Any) -> None:
        self._gone([before])
        changes: dict[str, int] = {}
        if after.state != LeaseState.RECLAIMED:
            changes[f"subnet[{after.subnet_id}].{assigned_name(after)}"] = 1
        if after.state == LeaseState.DECLINED:
            changes["declined-addresses"] = 1
            changes[f"subnet[{after.subnet_id}].declined-addresses"] = 1
        self._count(changes)

    # Arguments.

    def _map(self, command: Command, missing: str) -> dict[str, JSON]:
        arguments = command.arguments
        if not isinstance(arguments, dict):
            raise ArgumentError(missing or "Parameters missing or are not a map.")
        return arguments

    def _string(self, command: Command, name: str) -> str:
        arguments = self._map(command, "Command arguments missing or a not a map.")
        if name not in arguments:
            raise ArgumentError(f"'{name}' parameter not specified", argument=name)
        value = arguments[name]
        if not isinstance(value, str):
            raise ArgumentError(f"'{name}' parameter must be a string", argument=name)
        return value

    def _identified(self, item: Mapping[str, JSON], wrong: str) -> tuple[str, bytes, int]:
        """Identifier type, identifier and subnet of a lease that is not asked for by its address."""
        number = item.get("subnet-id")
        if number is None:
            raise ArgumentError("Mandatory 'subnet-id' parameter missing.", argument="subnet-id")
        if type(number) is not int:
            raise ArgumentError("'subnet-id' parameter is not integer.", argument="subnet-id")
        identifier = item.get("identifier")
        if not isinstance(identifier, str):
            raise ArgumentError(
                "No 'ip-address' provided and 'identifier' is either missing or not a string."
            )
        kind = item.get("identifier-type")
        if not isinstance(kind, str):
            raise ArgumentError(
                "No 'ip-address' provided and 'identifier-type' is either missing or not a string."
            )
        if kind not in ("hw-address", "duid", "client-id"):
            raise ArgumentError(
                f"Incorrect identifier type: {kind}, the only supported values are: address, hw-address, duid"
            )
        if kind == wrong or (kind != "duid" and wrong == "hw-address"):
            raise ArgumentError(f"Query by {kind} is not allowed in v{self.protocol}.")
        return kind, hexadecimal(identifier), number


class LeaseCommands4(_LeaseCommands):
    """The commands on IPv4 leases."""

    protocol: ClassVar[int] = 4
    describe: ClassVar[Callable[[Any], dict[str, JSON]]] = staticmethod(describe4)
    columns: ClassVar[tuple[str, ...]] = (
        "total-addresses",
        "cumulative-assigned-addresses",
        "assigned-addresses",
        "declined-addresses",
    )

    def commands(self) -> dict[str, tuple[Callable[..., Any], str]]:
        """The commands by name."""
        return {
            **super().commands(),
            "lease4-get-by-client-id": (self.get_by_client_id, "read"),
            "lease4-get-by-hw-address": (self.get_by_hw_address, "read"),
        }

    def get_by_hw_address(self, command: Command) -> Response:
        """Tell the leases of a ``hw-address``."""
        return self._found({"hw_address": hexadecimal(self._string(command, "hw-address"))})

    def get_by_client_id(self, command: Command) -> Response:
        """Tell the leases of a ``client-id``."""
        client_id = hexadecimal(self._string(command, "client-id"))
        if len(client_id) < 2:
            raise ArgumentError(f"client-id is too short ({len(client_id)}), at least 2 is required")
        return self._found({"client_id": client_id})

    def _lease(self, command: Command, item: Mapping[str, JSON], where: list[str | int]) -> Any:
        return lease4(command, item, where, self._subnets(), int(self._clock()))

    def _find(self, item: Mapping[str, JSON]) -> Any:
        if "ip-address" in item:
            return self._store().get(address4(item["ip-address"]))
        kind, identifier, number = self._identified(item, "duid")
        column = "hw_address" if kind == "hw-address" else "client_id"
        return next(self._store().select(subnet_ids=[number], **{column: identifier}), None)

    def _same(self, lease: Any) -> Any:
        return self._store().get(lease.address)

    def _delete(self, lease: Any) -> bool:
        return bool(self._store().delete(lease.address))

    def _page_from(self, text: str) -> Any:
        if text == "start":
            return -1
        try:
            return int(ipaddress.IPv4Address(text))
        except ValueError as error:
            raise ArgumentError(
                "'from' parameter value is neither 'start' keyword nor a valid IPv4 address"
            ) from error

    def _row(self, number: int, counts: Mapping[Any, int]) -> list[JSON]:
        declined = counts.get((number, LeaseState.DECLINED), 0)
        assigned = counts.get((number, LeaseState.ASSIGNED), 0) + declined
        total = sum(pool.last - pool.first + 1 for pool in self._subnets()[number].pools)
        return [total, self._statistic(number, "cumulative-assigned-addresses"), assigned, declined]


class LeaseCommands6(_LeaseCommands):
    """The commands on IPv6 leases."""

    protocol: ClassVar[int] = 6
    describe: ClassVar[Callable[[Any], dict[str, JSON]]] = staticmethod(describe6)
    columns: ClassVar[tuple[str, ...]] = (
        "total-nas",
        "cumulative-assigned-nas",
        "assigned-nas",
        "declined-nas",
        "total-pds",
        "cumulative-assigned-pds",
        "assigned-pds",
    )

    def commands(self) -> dict[str, tuple[Callable[..., Any], str]]:
        """The commands by name."""
        return {
            **super().commands(),
            "lease6-bulk-apply": (self.bulk_apply, "write"),
            "lease6-get-by-duid": (self.get_by_duid, "read"),
        }

    def get_by_duid(self, command: Command) -> Response:
        """Tell the leases of a ``duid``."""
        return self._found({"duid": hexadecimal(self._string(command, "duid"))})

    def bulk_apply(self, command: Command) -> Response:
        """Remove ``deleted-leases`` and add or update ``leases``, many at once."""
        arguments = self._map(command, "Command arguments missing or a not a map.")
        if "deleted-leases" not in arguments and "leases" not in arguments:
            raise ArgumentError("neither 'deleted-leases' nor 'leases' parameter specified")
        given: dict[str, list[Mapping[str, JSON]]] = {}
        for key in ("deleted-leases", "leases"):
            items = arguments.get(key, [])
            if not isinstance(items, list):
                raise ArgumentError(f"the '{key}' parameter must be a list", argument=key)
            given[key] = [item if isinstance(item, dict) else {} for item in items]
        # Everything is read before anything is done.
        gone = [(kind_of(item), address6(item.get("ip-address"))) for item in given["deleted-leases"]]
        new = [
            self._lease(command, item, ["arguments", "leases", index])
            for index, item in enumerate(given["leases"])
        ]
        done = 0
        failed_gone: list[JSON] = []
        failed_new: list[JSON] = []
        for kind, address in gone:
            lease = self._store().get(kind, address)
            if lease is None or not self._delete(lease):
                failed_gone.append(_failed(kind, address, "lease not found", Result.EMPTY))
                continue
            self._gone([lease])
            done += 1
        for lease in new:
            try:
                self._put(lease)
                done += 1
            except BridleError as error:
                failed_new.append(_failed(lease.kind, lease.address, str(error), Result.ERROR))
        told: dict[str, JSON] = {}
        if failed_gone:
            told["failed-deleted-leases"] = failed_gone
        if failed_new:
            told["failed-leases"] = failed_new
        result = Result.SUCCESS if done else Result.EMPTY
        return Response(result, f"Bulk apply of {done} IPv6 leases completed.", told or UNSET)

    def _put(self, lease: Any) -> None:
        before = self._same(lease)
        if before is None:
            if not self._store().insert(lease):
                raise ArgumentError("lease already exists")
            self._count({f"subnet[{lease.subnet_id}].{assigned_name(lease)}": 1})
        elif self._store().update(lease, before):
            self._count_change(before, lease)
        else:
            raise ArgumentError("lease has changed")

    def _lease(self, command: Command, item: Mapping[str, JSON], where: list[str | int]) -> Any:
        return lease6(command, item, where, self._subnets(), int(self._clock()))

    def _find(self, item: Mapping[str, JSON]) -> Any:
        kind = kind_of(item)
        if "ip-address" in item:
            return self._store().get(kind, address6(item["ip-address"]))
        _, identifier, number = self._identified(item, "hw-address")
        iaid = item.get("iaid", 0)
        found = self._store().select(subnet_ids=[number], duid=identifier, kind=kind)
        return next((lease for lease in found if lease.iaid == iaid), None)

    def _same(self, lease: Any) -> Any:
        return self._store().get(lease.kind, lease.address)

    def _delete(self, lease: Any) -> bool:
        return bool(self._store().delete(lease.kind, lease.address))

    def _page_from(self, text: str) -> Any:
        if text == "start":
            return b""
        try:
            address = ipaddress.ip_address(text)
        except ValueError as error:
            raise ArgumentError(
                "'from' parameter value is neither 'start' keyword nor a valid IPv6 address"
            ) from error
        if address.version != 6:
            raise ArgumentError(f"'from' parameter value {text} is not an IPv6 address")
        return address.packed

    def _row(self, number: int, counts: Mapping[Any, int]) -> list[JSON]:
        subnet = self._subnets()[number]
        declined = counts.get((number, LeaseKind.ADDRESS, LeaseState.DECLINED), 0)
        return [
            sum(
                int.from_bytes(one.last, "big") - int.from_bytes(one.first, "big") + 1 for one in subnet.pools
            ),
            self._statistic(number, "cumulative-assigned-nas"),
            counts.get((number, LeaseKind.ADDRESS, LeaseState.ASSIGNED), 0) + declined,
            declined,
            sum(1 << (one.delegated_length - one.prefix_length) for one in subnet.pd_pools),
            self._statistic(number, "cumulative-assigned-pds"),
            counts.get((number, LeaseKind.PREFIX, LeaseState.ASSIGNED), 0),
        ]


def _failed(kind: int, address: bytes, why: str, result: Result) -> dict[str, JSON]:
    told = "IA_PD" if kind == LeaseKind.PREFIX else "IA_NA"
    return {
        "error-message": why,
        "ip-address": str(ipaddress.IPv6Address(address)),
        "result": int(result),
        "type": told,
    }
