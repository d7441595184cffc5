"""Network namespaces of a test's own: a server's and a client's, joined by a veth pair."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.support.programs import find, poll

__all__ = ["CLIENT4", "SERVER4", "Link", "link", "possible"]

SERVER4, CLIENT4, PREFIX4 = "10.0.0.1", "10.0.0.2", 8
SERVER6, PREFIX6 = "2001:db8::1", 32


class Link(msgspec.Struct, frozen=True):
    """Two namespaces; ``server`` and ``client`` name them, and each has one interface besides loopback."""

    server: str
    client: str
    server_interface: str
    client_interface: str

    def inside(self, namespace: str, *words: str | Path) -> list[str]:
        """The command line that runs another one in a namespace."""
        return ["ip", "netns", "exec", namespace, *map(str, words)]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=10)


def _has_link_local(name: str) -> bool:
    shown = subprocess.run(
        ["ip", "-n", name, "-6", "addr", "show", "scope", "link"],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    ).stdout
    return "inet6" in shown and "tentative" not in shown


def possible() -> bool:
    """Whether namespaces can be made here."""
    if find("ip") is None:
        return False
    name = f"try{secrets.token_hex(4)}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, timeout=10, check=False)
    if made.returncode:
        return False
    _ip("netns", "del", name)
    return True


@contextlib.contextmanager
def link() -> Iterator[Link]:
    """Make the two namespaces, and delete them with all that runs inside."""
    mark = secrets.token_hex(4)
    found = Link(f"s{mark}", f"c{mark}", f"sv{mark}", f"cv{mark}")
    try:
        for name in (found.server, found.client):
            _ip("netns", "add", name)
            # Addresses are to be usable at once.
            subprocess.run(
                found.inside(name, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"),
                check=True,
                timeout=10,
            )
        _ip(
            *("link", "add", found.server_interface, "netns", found.server, "type", "veth"),
            *("peer", "name", found.client_interface, "netns", found.client),
        )
        _ip("-n", found.server, "addr", "add", f"{SERVER4}/{PREFIX4}", "dev", found.server_interface)
        _ip("-n", found.client, "addr", "add", f"{CLIENT4}/{PREFIX4}", "dev", found.client_interface)
        _ip("-n", found.server, "addr", "add", f"{SERVER6}/{PREFIX6}", "dev", found.server_interface)
        for name, interface in (
            (found.server, found.server_interface),
            (found.client, found.client_interface),
        ):
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "set", interface, "up")
        if not poll(lambda: _has_link_local(found.server) and _has_link_local(found.client)):
            raise TimeoutError("the interfaces got no link-local addresses")
        yield found
    finally:
        for name in (found.server, found.client):
            inside = subprocess.run(
                ["ip", "netns", "pids", name], capture_output=True, text=True, timeout=10, check=False
            )
            for pid in inside.stdout.split():
                subprocess.run(["kill", "-9", pid], check=False, timeout=10)
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False, timeout=10)
