"""One name change, carried out in DNS (RFC 2136, 4703).

With conflict resolution a name belongs to whoever's DHCID stands beside it: nobody else's is touched.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.tsig
import dns.update

from bridle.bundled.ddns.exchange import exchange
from bridle.bundled.ddns.settings import D2Settings, DnsServer, Domain
from bridle.bundled.name_change import NameChange
from bridle.core.errors import BridleError

__all__ = ["TRIES", "UpdateError", "Updater", "domain_of"]

# How often one server is asked before the next one is (Kea's D2: three).
TRIES = 3
# What a server says when a prerequisite does not hold.
_CONFLICTS = frozenset({dns.rcode.YXDOMAIN, dns.rcode.NXDOMAIN, dns.rcode.NXRRSET, dns.rcode.YXRRSET})

_log = logging.getLogger("bridle.ddns")


class UpdateError(BridleError):
    """A name change could not be carried out."""


def domain_of(domains: tuple[Domain, ...], name: dns.name.Name) -> Domain | None:
    """The domain with the longest suffix of a name."""
    found = [domain for domain in domains if name.is_subdomain(domain.zone)]
    return max(found, key=lambda domain: len(domain.zone.labels), default=None)


class Updater:
    """Carries out name changes. ``count`` is told of each update by its statistic's name."""

    def __init__(self, settings: D2Settings, count: Callable[[str], None]) -> None:
        self._settings = settings
        self._count = count

    async def carry_out(self, change: NameChange) -> None:
        """Carry out a name change.

        Raises:
            UpdateError: no domain is configured for it, no server answered, or all refused.
        """
        name = dns.name.from_text(change.fqdn)
        reverse = dns.reversename.from_address(change.address)
        wanted = []
        if change.forward:
            wanted.append(("forward", domain_of(self._settings.forward, name), self._forward))
        if change.reverse:
            wanted.append(("reverse", domain_of(self._settings.reverse, reverse), self._reverse))
        for direction, domain, _ in wanted:
            if domain is None:
                raise UpdateError(f"no {direction} domain is configured for {change.fqdn} {change.address}")
        for _, domain, update in wanted:
            assert domain is not None
            await update(change, domain)

    async def _forward(self, change: NameChange, domain: Domain) -> None:
        name = dns.name.from_text(change.fqdn)
        if not change.add:
            await self._remove_forward(change, domain, name)
        elif not change.conflict_resolution:
            update = _Update(change)
            update.replace(name, address=True)
            await self._send(domain, update, change)
        else:
            await self._add_forward(change, domain, name)

    async def _add_forward(self, change: NameChange, domain: Domain, name: dns.name.Name) -> None:
        """RFC 4703 §5.3.1 and 5.3.2: take a name that nobody has, or that is this client's."""
        for _ in range(TRIES):
            new = _Update(change)
            new.absent(name)
            new.add(name, address=True)
            if await self._send(domain, new, change) == dns.rcode.NOERROR:
                return
            own = _Update(change)
            own.present(name, dhcid=True)
            own.replace(name, address=True)
            outcome = await self._send(domain, own, change)
            if outcome == dns.rcode.NOERROR:
                return
            if outcome != dns.rcode.NXDOMAIN:
                raise UpdateError(f"{change.fqdn} belongs to another client")
        raise UpdateError(f"{change.fqdn} comes and goes")

    async def _remove_forward(self, change: NameChange, domain: Domain, name: dns.name.Name) -> None:
        """RFC 4703 §5.5: take the address away, and the rest of the name when it has no address any more."""
        first = _Update(change)
        if change.conflict_resolution:
            first.present(name, dhcid=True)
        first.delete_address(name)
        if await self._send(domain, first, change) != dns.rcode.NOERROR:
            # It is gone, or another client's by now: either way there is nothing left to do.
            return
        rest = _Update(change)
        if change.conflict_resolution:
            rest.present(name, dhcid=True)
        rest.without_addresses(name)
        rest.delete(name)
        await self._send(domain, rest, change)

    async def _reverse(self, change: NameChange, domain: Domain) -> None:
        reverse = dns.reversename.from_address(change.address)
        update = _Update(change)
        if change.add:
            update.replace(reverse, address=False)
        else:
            update.present(reverse, pointer=True)
            update.delete(reverse)
        await self._send(domain, update, change)

    async def _send(self, domain: Domain, update: _Update, change: NameChange) -> dns.rcode.Rcode:
        """Have a server do it; NOERROR, or which prerequisite did not hold."""
        problem = "no server"
        for server in domain.servers:
            for _ in range(TRIES):
                try:
                    outcome = await self._ask(server, update.message(domain, server))
                except TimeoutError:
                    self._tell(server, "update-timeout")
                    problem = f"{server.address} port {server.port} does not answer"
                    continue
                except (dns.exception.DNSException, OSError, EOFError) as error:
                    self._tell(server, "update-error")
                    problem = f"{server.address} port {server.port}: {error}"
                    break
                if outcome == dns.rcode.NOERROR or outcome in _CONFLICTS:
                    self._tell(server, "update-success")
                    return outcome
                self._tell(server, "update-error")
                problem = f"{server.address} port {server.port} says {dns.rcode.to_text(outcome)}"
                break
        raise UpdateError(f"{change.fqdn} {change.address}: {problem}")

    async def _ask(self, server: DnsServer, message: dns.update.UpdateMessage) -> dns.rcode.Rcode:
        self._tell(server, "update-sent")
        self._count("update-signed" if server.key is not None else "update-unsigned")
        answer = await exchange(message, server.address, server.port, self._settings.timeout)
        return answer.rcode()

    def _tell(self, server: DnsServer, name: str) -> None:
        self._count(name)
        if server.key is not None:
            self._count(f"key[{server.key.name.rstrip('.')}.].{name}")


class _Update:
    """An update in the making: what must hold, and what is to be done."""

    def __init__(self, change: NameChange) -> None:
        self._change = change
        self._steps: list[Callable[[dns.update.UpdateMessage], None]] = []
        version = ipaddress.ip_address(change.address).version
        self._type = dns.rdatatype.A if version == 4 else dns.rdatatype.AAAA

    def message(self, domain: Domain, server: DnsServer) -> dns.update.UpdateMessage:
        """The message for a server, signed with its key."""
        key = server.key
        message = dns.update.UpdateMessage(domain.zone)
        for step in self._steps:
            step(message)
        if key is not None:
            name = dns.name.from_text(key.name)
            message.use_tsig({name: key.secret}, name, algorithm=key.algorithm)
        return message

    def absent(self, name: dns.name.Name) -> None:
        """The name must not exist."""
        self._steps.append(lambda message: message.absent(name))

    def present(self, name: dns.name.Name, *, dhcid: bool = False, pointer: bool = False) -> None:
        """The name must exist, with this client's DHCID, or as a pointer to this name."""
        if dhcid:
            self._steps.append(lambda message: message.present(name, self._as_dhcid()))
        if pointer:
            self._steps.append(lambda message: message.present(name, dns.rdatatype.PTR, self._change.fqdn))

    def without_addresses(self, name: dns.name.Name) -> None:
        """The name must have no address."""
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            self._steps.append(lambda message, kind=kind: message.absent(name, kind))  # type: ignore[misc]

    def add(self, name: dns.name.Name, *, address: bool) -> None:
        """Add the address, or the pointer, and the DHCID."""
        length = self._change.length
        kind, text = (self._type, self._change.address) if address else (dns.rdatatype.PTR, self._change.fqdn)
        self._steps.append(lambda message: message.add(name, length, kind, text))
        self._steps.append(lambda message: message.add(name, length, self._as_dhcid()))

    def replace(self, name: dns.name.Name, *, address: bool) -> None:
        """Let the name have this address, or pointer, and DHCID, and no other."""
        kind = self._type if address else dns.rdatatype.PTR
        self._steps.append(lambda message: message.delete(name, kind))
        self._steps.append(lambda message: message.delete(name, dns.rdatatype.DHCID))
        self.add(name, address=address)

    def delete_address(self, name: dns.name.Name) -> None:
        """Take the address away."""
        self._steps.append(lambda message: message.delete(name, self._type, self._change.address))

    def delete(self, name: dns.name.Name) -> None:
        """Take everything away."""
        self._steps.append(lambda message: message.delete(name))

    def _as_dhcid(self) -> dns.rdata.Rdata:
        return dns.rdata.from_wire(
            dns.rdataclass.IN, dns.rdatatype.DHCID, self._change.dhcid, 0, len(self._change.dhcid)
        )
