"""Certificates for listeners and clients, as files."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

from bridle import JSON
from bridle.access.tls import client_context


class Certificates:
    """Certificates in a folder: a server's, of a client that it trusts, and of a stranger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority, self.other = trustme.CA(), trustme.CA()
        self.authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        self.other.cert_pem.write_to_path(str(folder / "other.pem"))
        self.issue("server", "localhost", "127.0.0.1", "::1")
        self.issue("client", "client.example", name="operator")
        self.issue("stranger", "client.example", authority=self.other)

    def issue(
        self, file: str, *names: str, name: str | None = None, authority: trustme.CA | None = None
    ) -> None:
        """Write a certificate and its key into one file."""
        issued = (authority or self.authority).issue_cert(*names, common_name=name)
        issued.private_key_and_cert_chain_pem.write_to_path(str(self.folder / f"{file}.pem"))

    def options(self, *more: str) -> str:
        """The options of an endpoint that listens."""
        files = f"cert={self.folder}/server.pem&key={self.folder}/server.pem&ca={self.folder}/ca.pem"
        return "&".join([f"?{files}", *more])

    def keys(self, name: str = "server") -> dict[str, JSON]:
        """The keys of a configuration that shows one of them."""
        own = str(self.folder / f"{name}.pem")
        return {"trust-anchor": str(self.folder / "ca.pem"), "cert-file": own, "key-file": own}

    def client(self, name: str = "client", anchor: str = "ca") -> ssl.SSLContext:
        """The context of a client that shows one of them, or none."""
        own = str(self.folder / f"{name}.pem") if name else ""
        return client_context(str(self.folder / f"{anchor}.pem"), own)
