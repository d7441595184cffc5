"""Kamailio's ctl: the same method of ours and of the real one, in every manner in which clients ask."""

from __future__ import annotations

from bench.figures import Figure, of_rates
from bench.load import Load, Mode
from bench.programs import KAMAILIO, OURS, OurCtl, RealKamailio
from bench.stage import Session, Stage, ctl_targets
from bridle.wire.binrpc_client import encode_request

COOKIE = 0x11
REQUEST = encode_request(COOKIE, "core.echo", ["hello"]).hex()

MANNERS: tuple[tuple[str, str, Mode, int, int, str], ...] = (
    ("unix socket, connect per command, 1 client", "unixs", "binrpc-connect", 1, 1, ""),
    ("unix socket, connect per command, 16 clients", "unixs", "binrpc-connect", 16, 1, "> 1x"),
    ("unix socket kept open, 1 client in lock step", "unixs", "binrpc", 1, 1, ""),
    ("unix socket kept open, 16 clients in lock step", "unixs", "binrpc", 16, 1, ""),
    ("unix socket kept open, 1 client, 50 under way", "unixs", "binrpc", 1, 50, ">= 1/3x"),
    ("unix socket kept open, 4 clients, 50 under way", "unixs", "binrpc", 4, 50, ">= 1/3x"),
    ("TCP, connect per command, 16 clients", "tcp", "binrpc-connect", 16, 1, ""),
    ("TCP kept open, 1 client, 50 under way", "tcp", "binrpc", 1, 50, ""),
    ("UDP, 1 client", "udp", "binrpc-udp", 1, 1, ""),
    ("UDP, 16 clients", "udp", "binrpc-udp", 16, 1, ""),
)


def ctl(session: Session) -> None:
    """``core.echo hello``: connect per command, serial, pipelined, UDP."""
    with Stage(session) as stage:
        ours, real = stage.start(OurCtl), stage.start(RealKamailio)
        programs = {OURS: ours, KAMAILIO: real}
        targets = {name: ctl_targets(program) for name, program in programs.items() if program is not None}
        for what, transport, mode, clients, depth, aim in MANNERS:
            load = Load(mode, [REQUEST], clients, depth=depth, expect="hello")
            places = {name: found[transport] for name, found in targets.items()}
            runs = stage.alternate(load, places)
            figures = of_rates(runs.get(OURS, [])), of_rates(runs.get(KAMAILIO, []))
            session.add(Figure("ctl", what, "answers/s", "more", *figures, aim, KAMAILIO))
