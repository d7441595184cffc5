"""A real Knot DNS server with two zones that take signed updates."""

from __future__ import annotations

from pathlib import Path

import dns.message
import dns.query
import dns.rdatatype

from tests.support.programs import PORT_ATTEMPTS, Program, free_port, require

KEY_NAME = "bridle-key"
SECRET = "LSWXnfkKZjdPJI5QxlpnfQ=="
FORWARD, REVERSE, REVERSE6 = "example.org.", "2.0.192.in-addr.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa."
_ZONE = """\
@ 60 SOA ns.{zone} admin.{zone} 1 3600 600 86400 60
@ 60 NS ns.{zone}
"""


class Knot(Program):
    """``knotd`` on a free port of loopback."""

    attempts = PORT_ATTEMPTS

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = 0
        super().__init__([require("knotd"), "-c", directory / "knot.conf"], directory, name="knotd")

    def prepare(self) -> None:
        """Write its configuration and zones."""
        self.port = free_port()
        zones = "".join(
            f'  - domain: {zone}\n    file: "{zone}zone"\n    acl: signed\n'
            for zone in (FORWARD, REVERSE, REVERSE6)
        )
        for zone in (FORWARD, REVERSE, REVERSE6):
            (self._directory / f"{zone}zone").write_text(_ZONE.format(zone=zone))
        (self._directory / "knot.conf").write_text(
            f"""\
server:
    rundir: "{self._directory}"
    listen: 127.0.0.1@{self.port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: "{self._directory}"
key:
  - id: {KEY_NAME}
    algorithm: hmac-sha256
    secret: {SECRET}
acl:
  - id: signed
    key: {KEY_NAME}
    action: update
template:
  - id: default
    storage: "{self._directory}"
zone:
{zones}"""
        )

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self.ask(FORWARD, "SOA"))
        except (OSError, dns.exception.DNSException):
            return False

    def ask(self, name: str, kind: str) -> list[str]:
        """The records of a name, in order."""
        query = dns.message.make_query(name, kind)
        answer = dns.query.udp(query, "127.0.0.1", port=self.port, timeout=1)
        return sorted(
            str(record)
            for rrset in answer.answer
            if rrset.rdtype == dns.rdatatype.from_text(kind)
            for record in rrset
        )
