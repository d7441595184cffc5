"""Lawful interception: mirrored flows that arrive and are counted (``facts/bngblaster.md`` §2, li-flows)."""

from __future__ import annotations

from bridle.bundled.bng.settings import InterceptSettings

__all__ = ["describe_flow"]


def describe_flow(flow: InterceptSettings, seconds: float, *, old: bool) -> dict[str, object]:
    """A flow as ``li-flows`` tells, so many seconds after its first packet."""
    packets = int(seconds * flow.pps)
    described: dict[str, object] = {
        "source-address": flow.source_address,
        "source-port": flow.source_port,
        "destination-address": flow.destination_address,
        "destination-port": flow.destination_port,
        "direction": flow.direction,
        "packet-type": flow.packet_type,
        "sub-packet-type": flow.sub_packet_type,
        "liid": flow.liid,
        "bytes-rx": packets * flow.length,
        "packets-rx": packets,
    }
    if not old:
        described["packets-rx-bbl"] = 0
    for family in ("ipv4", "ipv6"):
        mine = (
            packets if flow.packet_type == family or (family, flow.packet_type) == ("ipv4", "ethernet") else 0
        )
        described[f"packets-rx-{family}"] = mine
        for protocol in ("tcp", "udp"):
            described[f"packets-rx-{family}-{protocol}"] = mine if flow.protocol == protocol else 0
        described[f"packets-rx-{family}-host-internal"] = 0
    described["packets-rx-ipv6-no-next-header"] = 0
    return described
