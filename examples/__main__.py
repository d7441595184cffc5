"""A small site to try things on: the agent in front of a DHCPv4, a DHCPv6 and a DDNS daemon, each a process
of its own, on loopback and ports that need no rights.

python -m examples [--port PORT]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

HOST = "127.0.0.1"
SERVICES = ("dhcp4", "dhcp6", "d2")
# Seconds for all of them to listen; a cold start takes about one.
START_TIMEOUT = 20.0
STOP_TIMEOUT = 10.0


def port_number(text: str) -> int:
    """A port that can be named in a URL."""
    port = int(text)
    if not 0 < port < 65536:
        raise argparse.ArgumentTypeError(f"{port} is not a port: 1 to 65535")
    return port


def check_port(port: int) -> None:
    """Say plainly that a port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            sys.exit(
                f"Port {port} of {HOST} cannot be used: {error.strerror}.\n"
                f"Choose another one:  make run PORT={port + 1 if port < 65535 else 8001}"
            )


def free_udp_port(family: socket.AddressFamily = socket.AF_INET) -> int:
    """A port that nobody uses."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


def configurations(folder: Path, port: int) -> dict[str, dict[str, object]]:
    """The configurations of the agent and the daemons, in Kea's form, by name."""
    control: dict[str, dict[str, object]] = {
        name: {"socket-type": "unix", "socket-name": str(folder / f"{name}.sock")} for name in SERVICES
    }
    plugin = {
        "library": "bridle.bundled.dhcp.lease_plugin",
        "parameters": {"services": {name: str(folder / f"{name}.conf") for name in ("dhcp4", "dhcp6")}},
    }
    return {
        "agent": {
            "Control-agent": {
                "http-host": HOST,
                "http-port": port,
                "control-sockets": control,
                "hooks-libraries": [plugin],
            }
        },
        "dhcp4": {
            "Dhcp4": {
                "control-socket": control["dhcp4"],
                "interfaces-config": {"interfaces": ["lo"]},
                "lease-database": {"type": "memfile", "name": str(folder / "leases4.sqlite")},
                "valid-lifetime": 3600,
                "option-data": [{"name": "domain-name-servers", "data": "192.0.2.53"}],
                "subnet4": [
                    {
                        "id": 1,
                        "subnet": "192.0.2.0/24",
                        "relay": {"ip-addresses": [HOST]},
                        "pools": [{"pool": "192.0.2.100 - 192.0.2.199"}],
                        "option-data": [{"name": "routers", "data": "192.0.2.1"}],
                    }
                ],
            }
        },
        "dhcp6": {
            "Dhcp6": {
                "control-socket": control["dhcp6"],
                "interfaces-config": {"interfaces": ["lo"]},
                "lease-database": {"type": "memfile", "name": str(folder / "leases6.sqlite")},
                "data-directory": str(folder),
                "subnet6": [
                    {
                        "id": 1,
                        "subnet": "2001:db8:1::/64",
                        "interface": "lo",
                        "pools": [{"pool": "2001:db8:1::100 - 2001:db8:1::1ff"}],
                        "pd-pools": [{"prefix": "2001:db8:8::", "prefix-len": 48, "delegated-len": 64}],
                    }
                ],
            }
        },
        "d2": {
            "DhcpDdns": {
                "control-socket": control["d2"],
                "ip-address": HOST,
                "port": free_udp_port(),
            }
        },
    }


async def start(*words: str) -> asyncio.subprocess.Process:
    """Start a ``bridle`` command."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridle", *words, stderr=asyncio.subprocess.PIPE, start_new_session=True
    )


async def wait_until_listening(process: asyncio.subprocess.Process) -> None:
    """Wait for the line that says so; if the process ends before, say what it said."""
    assert process.stderr is not None
    said = b""
    while b"listening on" not in said:
        line = await process.stderr.readline()
        if not line:
            raise RuntimeError(said.decode(errors="replace").strip())
        said += line


async def drain(process: asyncio.subprocess.Process) -> None:
    """Pass on what a process still has to say."""
    assert process.stderr is not None
    async for line in process.stderr:
        sys.stderr.write(line.decode(errors="replace"))


def tell(folder: Path, port: int, dhcp4: int) -> None:
    """Print what to try."""
    url = f"http://{HOST}:{port}"
    bridle = Path(sys.executable).with_name("bridle")
    shown = os.path.relpath(bridle) if bridle.exists() else f"{sys.executable} -m bridle"
    python = os.path.relpath(sys.executable) if bridle.exists() else sys.executable
    print(
        f"""
The agent listens on {url}, in front of three daemons: {", ".join(SERVICES)}.
DHCPv4 is served on port {dhcp4} of loopback. Try, in another terminal:

  {python} -m examples.dhcp_client {dhcp4}

  {shown} call {url} --service dhcp4 lease4-get-all

  curl -s {url} -H 'Content-Type: application/json' \\
       -d '{{ "command": "status-get", "service": [ "dhcp4", "dhcp6", "d2" ] }}'

  {shown} shell unix:{folder}/dhcp4.sock

Ctrl-C stops everything.
""",
        flush=True,
    )


async def site(port: int, folder: Path) -> int:
    """Run the site until it is interrupted, or one of its processes ends."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    ports = {"dhcp4": free_udp_port(), "dhcp6": free_udp_port(socket.AF_INET6)}
    for name, configuration in configurations(folder, port).items():
        (folder / f"{name}.conf").write_text(json.dumps(configuration, indent=2))
    processes = []
    for name in SERVICES:
        on = ("-p", str(ports[name])) if name in ports else ()
        processes.append(await start("run", name, "-c", str(folder / f"{name}.conf"), *on))
    talking: list[asyncio.Task[None]] = []
    try:
        async with asyncio.timeout(START_TIMEOUT):
            for process in processes:
                await wait_until_listening(process)
            # The agent reads the lease stores, which are there only now.
            processes.append(await start("agent", "-c", str(folder / "agent.conf")))
            await wait_until_listening(processes[-1])
        talking = [asyncio.create_task(drain(process)) for process in processes]
        tell(folder, port, ports["dhcp4"])
        ended = [asyncio.create_task(process.wait()) for process in processes]
        interrupted = asyncio.create_task(stopped.wait())
        await asyncio.wait([*ended, interrupted], return_when=asyncio.FIRST_COMPLETED)
        failed = not stopped.is_set()
        interrupted.cancel()
    except (RuntimeError, TimeoutError) as error:
        # Who presses Ctrl-C early may hit a process that is not yet in a session of its own.
        failed = not stopped.is_set()
        if failed:
            print(str(error) or "the site did not start in time", file=sys.stderr)
    await stop(processes)
    await asyncio.gather(*talking)
    return 1 if failed else 0


async def stop(processes: list[asyncio.subprocess.Process]) -> None:
    """End the processes in order: the agent first."""
    for process in reversed(processes):
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT)
        except TimeoutError:
            process.kill()
            await process.wait()


def main() -> int:
    """Read the command line and run the site."""
    parser = argparse.ArgumentParser(prog="python -m examples", description=__doc__)
    parser.add_argument("--port", type=port_number, default=8000, help="the agent's port (default: 8000)")
    port = parser.parse_args().port
    check_port(port)
    folder = Path(tempfile.mkdtemp(prefix="bridle-"))
    try:
        return asyncio.run(site(port, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
