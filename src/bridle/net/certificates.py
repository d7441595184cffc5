"""Who a TLS client is: the names in its certificate, which the handshake has found to be genuine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from bridle.core.messages import Peer

__all__ = ["with_certificate"]


def with_certificate(peer: Peer, transport: asyncio.BaseTransport) -> Peer:
    """The peer with the common names of its certificate's subject and issuer, as Kea takes them
    (``facts/kea.md`` §3); as it was where it showed none."""
    certificate: Mapping[str, object] = transport.get_extra_info("peercert") or {}
    if not certificate:
        return peer
    return msgspec.structs.replace(
        peer,
        tls_subject=_common_name(certificate.get("subject")),
        tls_issuer=_common_name(certificate.get("issuer")),
    )


def _common_name(name: object) -> str | None:
    """The CN of a distinguished name as :meth:`ssl.SSLSocket.getpeercert` has it."""
    parts: Sequence[Sequence[tuple[str, str]]] = name if isinstance(name, tuple) else ()
    return next((value for part in parts for key, value in part if key == "commonName"), None)
