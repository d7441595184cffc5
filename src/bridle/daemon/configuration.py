"""The configuration of a daemon: one owner, one function that changes it.

``change`` tests a document, opens what it needs, applies it, and only then lets it hold; whatever fails
leaves the configuration that was there. Commands, signals and the start all come through it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Protocol

import msgspec

from bridle.core.errors import BridleError, ConfigurationError
from bridle.core.messages import JSON
from bridle.daemon.access import read_guard_settings
from bridle.daemon.channel_settings import ChannelSettings, check_safety, limit_log_ins
from bridle.daemon.channels import ControlChannels
from bridle.daemon.document import Completion, Document, read_file
from bridle.daemon.files import replace_file
from bridle.daemon.guarding import Guards
from bridle.daemon.turns import Turns, undisturbed
from bridle.net.endpoint import Endpoint
from bridle.server.exposure import Governs, governs_nothing
from bridle.wire import kea_json

if TYPE_CHECKING:
    from bridle.access.guard_settings import GuardSettings

__all__ = ["Configurable", "ConfigurationOwner", "Held", "RestoreError"]

_log = logging.getLogger("bridle.daemon")

# Seconds that a daemon may take to make a configuration hold, while every other change waits: as long as an
# agent waits for the answer.
APPLY_TIMEOUT = 60.0


class RestoreError(ConfigurationError):
    """A configuration failed, and the one before could not be restored: the daemon may be in between."""


class Held(msgspec.Struct, frozen=True):
    """A configuration that holds. ``value`` is what ``config-get`` tells, without its root's name; ``access``
    says who may do what, None: everybody everything."""

    settings: object
    value: dict[str, JSON]
    hash: str
    access: GuardSettings | None = None

    @property
    def governs(self) -> Governs:
        """Whether roles decide about all commands that come by a transport."""
        return self.access.governs if self.access is not None else governs_nothing


class Configurable(Protocol):
    """What a daemon knows about its configuration."""

    @property
    def root(self) -> str:
        """The configuration's outermost name."""
        ...

    @property
    def rootless(self) -> bool:
        """Whether the configuration file is without that name."""
        ...

    @property
    def secrets(self) -> Sequence[str]:
        """The names of secrets in its configuration and its commands' arguments, besides the common ones."""
        ...

    def complete_configuration(self, document: Document) -> Awaitable[Document | Completion] | None:
        """The document with what belongs to it and stands elsewhere; None: it is complete."""
        ...

    def check_configuration(self, document: Document) -> object:
        """Turn a document into settings, without side effects. Raises ConfigurationError."""
        ...

    def describe_configuration(self, settings: object, document: Document) -> dict[str, JSON]:
        """The settings as ``config-get`` tells them: all there is, defaults included."""
        ...

    def control_channels(self, document: Document) -> Sequence[ChannelSettings]:
        """The channels that the document asks for."""
        ...

    def apply_configuration(self, settings: object) -> Awaitable[None] | None:
        """Make the settings hold. Whatever it raises refuses them."""
        ...


class Transition(Protocol):
    """The way from what there is to what is wanted: ready, and not gone yet."""

    async def commit(self) -> None:
        """Go it. Nothing may fail any more."""
        ...

    async def rollback(self) -> None:
        """Stay."""
        ...


class ConfigurationOwner:
    """Owns a daemon's configuration and the file it comes from."""

    def __init__(
        self,
        daemon: Configurable,
        file: str | None,
        clock: Callable[[], float] = time.monotonic,
        *,
        guards: Guards | None = None,
    ) -> None:
        self._daemon = daemon
        self._guards = guards
        self.file: str | None = os.path.abspath(file) if file else None  # noqa: PTH100 - must not resolve links
        self.shown_file = file
        self._clock = clock
        self._turns = Turns()
        self._channels: ControlChannels | None = None
        self._held: Held | None = None
        self._document: Document | None = None
        self._asked: Document | None = None
        self._changed = clock()
        self.allow_unauthenticated: bool = False
        """Whether channels that other machines can reach may be without authentication of their own."""

    @property
    def held(self) -> Held:
        """The configuration that holds."""
        if self._held is None:
            raise ConfigurationError("the daemon has no configuration yet")
        return self._held

    @property
    def age(self) -> int:
        """Whole seconds since a configuration was last loaded."""
        return int(self._clock() - self._changed)

    async def open_channels(
        self, channels: ControlChannels, endpoints: Sequence[str | Endpoint] = ()
    ) -> None:
        """Open the control channels that the configuration asks for, and those of every later one; besides
        ``endpoints``, which stay whatever a configuration says.

        Raises:
            BridleError: one of them cannot be opened.
        """
        # In turn: no change may take away the roles without which a channel does not open.
        async with self._turns.take():
            self._channels = channels
            if self._document is not None:
                held = self.held
                transition = await channels.prepare(self._wanted(self._document, held.access), held.governs)
                await transition.commit()
            for endpoint in endpoints:
                await channels.listen(endpoint)

    def _wanted(self, document: Document, access: GuardSettings | None) -> Sequence[ChannelSettings]:
        channels = self._daemon.control_channels(document)
        limit_log_ins(channels, access)
        return channels

    def test(self, document: Document) -> Held:
        """What would hold after :meth:`change`, as far as that can be told without doing it.

        Raises:
            ConfigurationError: the document cannot be used.
        """
        root = self._daemon.root
        try:
            settings = self._daemon.check_configuration(document)
            access = read_guard_settings(document, root, secrets=self._daemon.secrets)
            value = self._daemon.describe_configuration(settings, document)
            held = Held(settings, value, configuration_hash(root, value), access)
            for channel in self._wanted(document, access):
                check_safety(channel, held.governs, allowed=self.allow_unauthenticated)
        except Exception as error:
            refusal = self._refusal(error, document)
            if refusal is error:
                raise
            raise refusal from error
        return held

    async def change(self, document: Document, *, force: bool = False) -> Held:
        """Let a document hold, or leave everything as it is. The same document again changes nothing,
        unless ``force`` asks to apply it anew.

        Raises:
            RestoreError: it failed, and so did going back.
            BridleError: it failed; what held before still does.
        """
        async with self._turns.take():
            return await self._change(document, force=force)

    async def close(self, grace: float) -> None:
        """Refuse every later change. One that is under way has ``grace`` seconds left; then what held before
        it still does, but is not applied again."""
        await self._turns.end(grace)

    async def _change(self, asked: Document, *, force: bool) -> Held:
        completion = await self._complete(asked)
        wanted = self.test(completion.document)
        if self._held is not None and self._held.hash == wanted.hash and not force:
            self._take_on(asked, completion)
            return self._held
        await self._apply(wanted, asked, completion)
        return wanted

    async def _complete(self, document: Document) -> Completion:
        completed = self._daemon.complete_configuration(document)
        found = document if completed is None else await completed
        return found if isinstance(found, Completion) else Completion(found)

    def _take_on(self, asked: Document, completion: Completion) -> None:
        """Go by what was asked for from now on: what is refused must not come back with the next look."""
        self._asked = asked
        self._changed = self._clock()
        completion.adopt()

    async def refresh(self) -> Held:
        """Apply once more what was asked for last, completed by what stands elsewhere now; where that makes
        no difference, nothing is done.

        Raises:
            BridleError: it failed; what held before still does.
        """
        async with self._turns.take():
            if self._asked is None:
                raise ConfigurationError("the daemon has no configuration yet")
            return await self._change(self._asked, force=False)

    async def _apply(self, wanted: Held, asked: Document, completion: Completion) -> None:
        document = completion.document
        transitions: list[Transition] = []
        try:
            if self._guards is not None:
                transitions.append(await self._guards.prepare(wanted.access))
            if self._channels is not None:
                channels = self._wanted(document, wanted.access)
                transitions.append(await self._channels.prepare(channels, wanted.governs))
        except BaseException:
            await undisturbed(_roll_back(transitions))
            raise
        try:
            await self._let_hold(wanted)
            self._turns.settle()
        except BaseException as error:
            await undisturbed(_roll_back(transitions))
            await self._refuse(error, document)
            raise
        await undisturbed(self._commit(transitions, wanted, asked, completion))

    async def _commit(
        self, transitions: Sequence[Transition], wanted: Held, asked: Document, completion: Completion
    ) -> None:
        self._held, self._document = wanted, completion.document
        self._take_on(asked, completion)
        # The channels first, and nothing is waited for before the guard has changed: a channel whose
        # authentication comes when roles go is never without both.
        for transition in reversed(transitions):
            await transition.commit()

    async def _refuse(self, error: BaseException, document: Document) -> None:
        """Apply what was there before; raise what the daemon raised as an error of the configuration."""
        if not isinstance(error, Exception):
            # Somebody has lost patience, and hears nothing any more: what goes wrong is in the log.
            with contextlib.suppress(RestoreError):
                await self._restore(error)
            return
        refusal = self._refusal(error, document)
        await self._restore(refusal)
        if refusal is not error:
            raise refusal from error

    def _refusal(self, error: Exception, document: Document) -> BridleError:
        """What a daemon raised, as an error of the configuration, with its position."""
        if isinstance(error, ConfigurationError):
            return document.placed(error, [self._daemon.root])
        if isinstance(error, BridleError):
            return error
        _log.error("the configuration could not be used: %s", error, exc_info=error)
        return ConfigurationError(str(error) or type(error).__name__)

    async def _let_hold(self, held: Held) -> None:
        outcome = self._daemon.apply_configuration(held.settings)
        if inspect.isawaitable(outcome):
            try:
                async with asyncio.timeout(APPLY_TIMEOUT):
                    await outcome
            except TimeoutError as error:
                raise ConfigurationError(
                    f"the configuration was not applied in {APPLY_TIMEOUT:g} seconds"
                ) from error

    async def _restore(self, first: BaseException) -> None:
        if self._held is None or self._turns.ended:
            return
        try:
            await self._let_hold(self._held)
        except Exception as second:
            _log.exception("the previous configuration could not be restored")
            raise RestoreError(
                f"{first}; going back to the previous configuration failed too: {second}"
            ) from first

    async def load(self) -> Held:
        """Read the configuration file and let it hold.

        Raises:
            BridleError: there is none, or it cannot be used; what held before still does.
        """
        if self.shown_file is None:
            raise ConfigurationError("there is no configuration file: the daemon was started without one")
        # Read in turn: two who reload at once must not leave the older text.
        async with self._turns.take():
            daemon = self._daemon
            document = await asyncio.to_thread(
                read_file, self.shown_file, daemon.root, rootless=daemon.rootless
            )
            held = await self._change(document, force=True)
            if self._channels is not None:
                self._channels.renew_certificates()
            for warning in document.warnings:
                _log.warning("%s", warning)
            return held

    async def write(self, filename: str) -> tuple[str, int]:
        """Write the configuration to a file beside the configuration file; its name and size in bytes.

        ``filename`` may be empty for the configuration file itself, or a bare name. The file is written
        beside the old one, synced and renamed, so that no reader ever sees half of it.

        Raises:
            ConfigurationError: the file lies elsewhere, or cannot be written.
        """
        target, shown = self._target(filename)
        value = self.held.value
        data = kea_json.encode_pretty(value if self._daemon.rootless else {self._daemon.root: value})
        try:
            await asyncio.to_thread(replace_file, target, data)
        except OSError as error:
            raise ConfigurationError(
                f"Error during config-write: Unable to open file {shown} for writing: {error.strerror}"
            ) from error
        return shown, len(data)

    def _target(self, filename: str) -> tuple[FilePath, str]:
        if self.file is None or self.shown_file is None:
            raise ConfigurationError("there is no configuration file: the daemon was started without one")
        if not filename:
            return FilePath(self.file), self.shown_file
        folder = FilePath(self.file).parent
        target = folder / filename
        if os.path.normpath(target.parent) != str(folder) or target.name in ("", "..") or "\0" in filename:
            raise ConfigurationError(
                f"not allowed to write config into {filename}: file {filename} must be in the same directory "
                f"as the config file ({self.shown_file})"
            )
        return target, filename if "/" in filename else str(FilePath(self.shown_file).parent / filename)


async def _roll_back(transitions: Sequence[Transition]) -> None:
    for transition in reversed(transitions):
        await transition.rollback()


def configuration_hash(root: str, value: dict[str, JSON]) -> str:
    """SHA-256 of the configuration's one-line text, in capital hex digits, as Kea ≥ 2.4 makes it
    (``facts/kea.md`` §4)."""
    return hashlib.sha256(kea_json.encode({root: value})).hexdigest().upper()
