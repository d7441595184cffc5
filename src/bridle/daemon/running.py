"""A daemon's life: configured, started, listening, and ended in order.

``run`` is for a process that is the daemon; ``serve`` for a program that runs asyncio already.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable

from bridle.core.errors import BridleError
from bridle.core.log_mask import LOG_MASK, Masks
from bridle.daemon.advice import advice_on
from bridle.daemon.channels import ControlChannels
from bridle.daemon.common import CommonCommands
from bridle.daemon.configuration import ConfigurationOwner
from bridle.daemon.daemon import Daemon
from bridle.daemon.document import Document
from bridle.daemon.guarding import Guards
from bridle.net.endpoint import Endpoint
from bridle.server import GRACE, Server

__all__ = ["Running", "loop_factory", "run", "serve"]

_log = logging.getLogger("bridle.daemon")

# Seconds for a daemon's own stop(): longer than the grace of its channels, shorter than a service manager
# waits, which mostly is 90.
STOP_TIMEOUT = 30.0
# File descriptors that are asked for: some listeners with all the connections that they serve.
DESCRIPTORS = 16 * 1024


class Running:
    """A daemon that listens."""

    def __init__(self, daemon: Daemon, server: Server, owner: ConfigurationOwner) -> None:
        self.daemon = daemon
        self.server = server
        self.owner = owner
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reloading: asyncio.Task[None] | None = None
        self._changed_since = False

    def shut_down(self, exit_value: int = 0) -> None:
        """Ask the daemon to end with this exit status. The first one asked for counts."""
        if not self._exit.done():
            self._exit.set_result(exit_value)

    def interrupt(self, task: asyncio.Task[int]) -> None:
        """End for a signal; a second one does not wait for anything any more."""
        if self._exit.done():
            task.cancel()
        self.shut_down(0)

    def reload(self) -> None:
        """Ask for the configuration file to be read again; what goes wrong is logged."""
        # Asked while it is being read: what was read may be what was there before.
        self._changed_since = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._reload())

    async def _reload(self) -> None:
        while self._changed_since:
            self._changed_since = False
            await self._reload_once()

    async def _reload_once(self) -> None:
        if self.owner.shown_file is None:
            self.server.renew_certificates()
        try:
            await self.owner.load()
        except BridleError as error:
            _log.error("reload failed, the previous configuration goes on: %s", error)
        except Exception:
            _log.exception("reload failed, the previous configuration goes on")
        else:
            _log.info("configuration reloaded")

    async def close(self) -> None:
        """Change the configuration no more, then close all channels. A change and the answers in flight have
        their grace, unless somebody does not wait for it.

        Raises:
            EndpointError: a channel's files could not be removed; everything else is done nevertheless.
        """
        grace = 0.0
        try:
            # The channels after it: none may open when all the others are closed.
            await self.owner.close(GRACE)
            grace = GRACE
        finally:
            if self._reloading is not None:
                self._reloading.cancel()
                await asyncio.wait([self._reloading])
            await self.server.close(grace)

    async def wait(self) -> int:
        """Wait until somebody asks the daemon to end; the exit status that was asked for."""
        return await asyncio.shield(self._exit)


@contextlib.asynccontextmanager
async def serve(
    daemon: Daemon,
    *endpoints: str | Endpoint,
    configuration_file: str | None = None,
    configuration: Document | None = None,
    allow_unauthenticated: bool = False,
) -> AsyncIterator[Running]:
    """Let a daemon be managed while the context is entered.

    ``endpoints`` come on top of those that the configuration names. One that other machines can reach and
    that has no authentication is refused unless ``allow_unauthenticated`` says that it is meant. Without a
    file, ``configuration`` is the one to begin with; an empty one without either.

    Raises:
        ConfigurationError: the configuration file cannot be used.
        EndpointError: an endpoint is malformed, cannot be listened on, or would let everybody in.
    """
    began = time.monotonic()
    started = False
    server = Server(
        daemon.manager,
        answer=daemon.http_answer,
        banner=lambda: daemon.banner,
        pages=lambda: daemon.http_pages,
        name=daemon.root,
        version=daemon.version,
        allow_unauthenticated=allow_unauthenticated,
        events=daemon.events,
    )
    guards = Guards(daemon, server)
    owner = ConfigurationOwner(daemon, configuration_file, guards=guards)
    owner.allow_unauthenticated = allow_unauthenticated
    running = Running(daemon, server, owner)
    LOG_MASK.install(_masks)
    LOG_MASK.declare(running, daemon.secrets)
    unserved = daemon.end, daemon.refresh
    daemon.end, daemon.refresh = running.shut_down, owner.refresh
    common = CommonCommands(
        daemon, owner, uptime=lambda: int(time.monotonic() - began), shut_down=running.shut_down
    )
    try:
        if configuration_file is None:
            await owner.change(configuration or Document({daemon.root: {}}))
        else:
            await owner.load()
        await daemon.start()
        started = True
        # Only now: nobody gets an answer before the daemon is ready.
        await owner.open_channels(ControlChannels(server), endpoints)
        yield running
    finally:
        try:
            await running.close()
        finally:
            common.deregister()
            try:
                if started:
                    await _stop(daemon)
            finally:
                daemon.end, daemon.refresh = unserved
                await guards.close()
                LOG_MASK.declare(running, ())


def _masks(names: frozenset[str]) -> Masks:
    # Loaded only here: a daemon without roles that tells its log nothing does without.
    from bridle.access.redaction import Redaction

    return Redaction(names)


async def _stop(daemon: Daemon) -> None:
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await daemon.stop()
    except TimeoutError:
        _log.error("%s did not stop in %s s and is left behind", daemon.root, STOP_TIMEOUT)


async def _main(
    daemon: Daemon,
    endpoints: tuple[str | Endpoint, ...],
    configuration_file: str | None,
    configuration: Document | None,
    on_ready: Callable[[Running], None] | None,
    allow_unauthenticated: bool,
) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    # From the first moment on: a signal that comes early must not end the process by default.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    async with serve(
        daemon,
        *endpoints,
        configuration_file=configuration_file,
        configuration=configuration,
        allow_unauthenticated=allow_unauthenticated,
    ) as running:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, running.interrupt, task)
        loop.add_signal_handler(signal.SIGHUP, running.reload)
        if on_ready is not None:
            on_ready(running)
        # What was loaded for the start stays: the collector need not look through it again and again.
        gc.freeze()
        return await running.wait()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's event loop where it is installed; None means asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _allow_descriptors() -> None:
    """As many file descriptors as the system lets the process have: service managers begin with the few that
    programs with ``select()`` bear."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run(
    daemon: Daemon,
    *endpoints: str | Endpoint,
    configuration_file: str | None = None,
    configuration: Document | None = None,
    on_ready: Callable[[Running], None] | None = None,
    allow_unauthenticated: bool = False,
) -> None:
    """Run a daemon until ``shutdown``, SIGTERM or SIGINT; SIGHUP reads the configuration file and the
    certificates again.

    Without a file, ``configuration`` is the one to begin with. ``on_ready`` is called once it listens;
    ``allow_unauthenticated`` is as for :func:`bridle.serve`. What keeps the daemon from starting is printed.

    Raises:
        SystemExit: with the daemon's exit value where that is not 0, with 1 where it could not start.
    """
    status: int | None = None
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            _allow_descriptors()
            main = _main(
                daemon, endpoints, configuration_file, configuration, on_ready, allow_unauthenticated
            )
            status = runner.run(main)
    except asyncio.CancelledError:
        status = 0 if status is None else status
    except BridleError as error:
        advice = advice_on(error)
        text = f"{daemon.root}: {error}{f'; {advice}' if advice else ''}"
        print(text, file=sys.stderr)  # noqa: T201 - a daemon that cannot start says why
        status = 1
    if status:
        raise SystemExit(status)
