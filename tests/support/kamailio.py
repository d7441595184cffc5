"""Real Kamailio on loopback, with a ctl socket of every kind, its own kamcmd, and daemons of ours that it can
talk to."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.bridle import BridleProgram
from tests.support.programs import PORT_ATTEMPTS, Program, free_port, require

KAMCMD_SECONDS = 10.0
"""How long kamcmd may take."""

MODULES = [
    "kex",
    "corex",
    "tm",
    "sl",
    "rr",
    "pv",
    "htable",
    "usrloc",
    "dispatcher",
    "dialog",
    "pike",
    "xlog",
    "counters",
    "cfg_rpc",
    "ctl",
]

CONFIGURATION = """\
#!KAMAILIO
debug=0
log_stderror=yes
fork=yes
children=1
tcp_children=1
auto_aliases=no
disable_core_dump=yes
{listen}
{modules}
modparam("dispatcher", "list_file", "{directory}/dispatcher.list")
modparam("htable", "htable", "t=>size=8;")
modparam("ctl", "binrpc", "unixs:{directory}/ctl")
modparam("ctl", "binrpc", "unixd:{directory}/ctld")
modparam("ctl", "binrpc", "udp:127.0.0.1:{udp}")
modparam("ctl", "binrpc", "tcp:127.0.0.1:{tcp}")
request_route {{ exit; }}
"""


class Kamailio(Program):
    """Debian's ``kamailio``, its SIP side on loopback too, where nobody calls.

    ``addresses`` says where its ctl listens, in Kamailio's grammar, by transport.
    """

    attempts = PORT_ATTEMPTS

    def __init__(self, directory: Path) -> None:
        self.configuration = directory / "kamailio.cfg"
        self.sip = self.tcp = self.udp = 0
        argv = [require("kamailio"), "-f", self.configuration, "-P", directory / "pid", "-Y", directory]
        super().__init__([*argv, "-m", "64", "-M", "8", "-DD", "-E"], directory, name="kamailio")

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where to reach it."""
        return {
            "unixs": f"unixs:{self.directory}/ctl",
            "unixd": f"unixd:{self.directory}/ctld",
            "tcp": f"tcp:127.0.0.1:{self.tcp}",
            "udp": f"udp:127.0.0.1:{self.udp}",
        }

    @property
    def endpoints(self) -> Mapping[str, str]:
        """The same as Bridle's clients write it."""
        return {
            "unixs": f"binrpc+unix:{self.directory}/ctl",
            "unixd": f"binrpc+unixd:{self.directory}/ctld",
            "tcp": f"binrpc+tcp:127.0.0.1:{self.tcp}",
            "udp": f"binrpc+udp:127.0.0.1:{self.udp}",
        }

    def prepare(self) -> None:
        """Write its configuration, with ports that are free now."""
        self.sip, self.tcp = free_port(), free_port()
        self.udp = free_port(socket.SOCK_DGRAM)
        (self.directory / "dispatcher.list").touch()
        modules = "\n".join(f'loadmodule "{name}.so"' for name in MODULES)
        listen = f"listen=udp:127.0.0.1:{self.sip}\nlisten=tcp:127.0.0.1:{self.sip}"
        self.configuration.write_text(
            CONFIGURATION.format(
                directory=self.directory, listen=listen, modules=modules, udp=self.udp, tcp=self.tcp
            )
        )

    def ready(self) -> bool:
        # A whole answer: its ctl handler is the last of its processes.
        return (self.directory / "ctl").exists() and kamcmd(
            self.addresses["unixs"], "core.pwd"
        ).stdout == b"/\n"


class CtlDaemon(BridleProgram):
    """A daemon of ours that listens as Kamailio's ctl does, on every transport.

    ``words`` say which: ``examples.thermostat:Thermostat``, or ``dhcp4 -c FILE``.
    """

    _LISTENING = re.compile(r"listening on (\S+)")

    def __init__(self, words: Sequence[str | Path], directory: Path) -> None:
        self.wanted = [
            f"binrpc+unix:{directory}/ctl",
            f"binrpc+unixd:{directory}/ctld",
            "binrpc+tcp:127.0.0.1:0",
            "binrpc+udp:127.0.0.1:0",
        ]
        super().__init__(["run", *words, *self.wanted], directory, name="daemon")

    @property
    def listening(self) -> list[str]:
        """The endpoints that it says it listens on."""
        return self._LISTENING.findall(self.stderr)

    def ready(self) -> bool:
        return len(self.listening) >= len(self.wanted)

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where to reach it, in Kamailio's grammar."""
        found = {
            transport: endpoint.partition("+")[2]
            for endpoint in self.listening
            for transport in ("unix", "unixd", "tcp", "udp")
            if endpoint.startswith(f"binrpc+{transport}:")
        }
        return {"unixs" if name == "unix" else name: address for name, address in found.items()}


def kamcmd(
    address: str, *words: str, stdin: bytes = b"", options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[bytes]:
    """Run the real kamcmd to its end.

    Raises:
        subprocess.TimeoutExpired: it did not end.
    """
    argv = [require("kamcmd"), "-s", address, *options, *words]
    environment = {**os.environ, "TERM": "dumb"}
    return subprocess.run(
        argv, input=stdin, capture_output=True, timeout=KAMCMD_SECONDS, env=environment, check=False
    )
