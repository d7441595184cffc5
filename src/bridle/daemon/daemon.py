"""The daemon: what a program derives from to be managed.

::

    class Thermostat(bridle.Daemon):
        \"\"\"Keeps a room at its target temperature.\"\"\"

        class Configuration(msgspec.Struct, forbid_unknown_fields=True):
            target: float = 20.0

        def configure(self, configuration: Configuration) -> None:
            self.target = configuration.target

        @bridle.command
        def set_target(self, celsius: float) -> dict[str, float]:
            \"\"\"Set the target temperature, in degrees Celsius.\"\"\"
            self.target = celsius
            return {"target": celsius}
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import msgspec

from bridle.core.errors import ConfigurationError
from bridle.core.events import EventLog
from bridle.core.manager import Access, CommandManager
from bridle.core.messages import JSON
from bridle.daemon.access import ACCESS_KEY
from bridle.daemon.channel_settings import ChannelSettings
from bridle.daemon.control_sockets import read_control_sockets
from bridle.daemon.document import Completion, Document
from bridle.server import Answer, Pages

if TYPE_CHECKING:
    from bridle.access.guard import Guard

__all__ = ["Daemon", "Phrases"]

# Keys of every daemon's configuration that are the kit's business.
_KIT_KEYS = (ACCESS_KEY, "control-socket", "control-sockets", "user-context", "comment")


class Phrases(msgspec.Struct, frozen=True, kw_only=True):
    """The sentences in which a daemon answers the common commands: Kea's daemons differ in them
    (``facts/kea.md`` §4)."""

    applied: str = "Configuration successful."
    checked: str = (
        "Configuration seems sane. Control-socket, hook-libraries, and D2 configuration were sanity checked, "
        "but not applied."
    )
    reload_failed: str = "Config reload failed: configuration error using file '{file}': {error}"
    unsupported_root: str = "Unsupported {names} parameter{more}."
    shutting_down: str = "Shutting down."
    unsupported: str = "'{name}' command not supported."
    hash_in_set: bool = True


class Daemon:
    """A program with a control channel.

    Methods marked with :func:`bridle.command` are its commands; the common commands come with the kit.
    ``Configuration``, a :class:`msgspec.Struct`, is the schema of its configuration; without one it takes
    any. ``root`` is the configuration's outermost name, by default the class's; a ``rootless``
    daemon's configuration file is without it. ``version`` is what ``version-get`` tells. ``secrets`` are
    names of members of its configuration, and of its commands' arguments, that are masked besides
    ``password`` and the like.
    """

    root: ClassVar[str] = ""
    rootless: ClassVar[bool] = False
    version: ClassVar[str] = "0"
    Configuration: ClassVar[type[msgspec.Struct] | None] = None
    phrases: ClassVar[Phrases] = Phrases()
    secrets: ClassVar[Sequence[str]] = ()

    manager: CommandManager
    events: EventLog
    end: Callable[[int], None]
    """Ask for the daemon's end with this exit status, as ``shutdown`` does; there while it is served."""
    refresh: Callable[[], Awaitable[object]]
    """Apply the configuration once more, completed anew; there while the daemon is served. Raises
    BridleError."""
    guard: Guard | None
    """Who may do what, where the configuration's ``access`` says so."""
    configuration: object
    """The settings that hold: an instance of ``Configuration``, or a dict where there is none; None before
    the first."""

    def __new__(cls, *args: object, **kwargs: object) -> Daemon:
        """Give the daemon its command manager, so that subclasses need not call ``super().__init__``."""
        daemon = super().__new__(cls)
        daemon.manager = CommandManager(unsupported=cls.phrases.unsupported)
        daemon.events = EventLog()
        daemon.end = _not_served
        daemon.refresh = _not_held
        daemon.guard = None
        daemon.configuration = {} if cls.Configuration is None else None
        for name, access, attribute in _commands_of(cls):
            daemon.manager.register_command(name, getattr(daemon, attribute), access=access)
        return daemon

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "root" not in cls.__dict__:
            cls.root = cls.__name__

    # Any, so that a daemon may name the type of its own Configuration.
    def configure(self, configuration: Any) -> Awaitable[None] | None:
        """Make a configuration hold; plain or coroutine function. Whatever it raises refuses the
        configuration, and the one before is applied again. Called once before the first command."""
        return None

    async def start(self) -> None:
        """Called once, configured and before the first channel listens."""

    async def stop(self) -> None:
        """Called once, after the last answer was delivered."""

    @property
    def banner(self) -> str:
        """What a browser reads that looks at an HTTP channel."""
        return f"{self.root}, managed by Bridle. Commands are POSTed here as application/json.\n"

    @property
    def http_answer(self) -> Answer | None:
        """What answers commands that come over HTTP, where that is not simply the manager."""
        return None

    @property
    def http_pages(self) -> Pages | None:
        """What has paths of its own on HTTP channels, beside the commands."""
        return None

    def status(self) -> dict[str, JSON]:
        """What ``status-get`` tells besides pid, uptime and reload."""
        return {}

    def complete_configuration(self, document: Document) -> Awaitable[Document | Completion] | None:
        """What is asked for before a document is checked to be applied: the same with what belongs to it and
        stands elsewhere, such as in a configuration backend. None: it is complete. What is to be remembered
        only if it comes to hold is told by a :class:`~bridle.daemon.document.Completion`."""
        return None

    def check_configuration(self, document: Document) -> object:
        """Turn a document into settings, without side effects.

        Raises:
            ConfigurationError: it cannot be used.
        """
        value = {key: item for key, item in _root_of(self.root, document).items() if key not in _KIT_KEYS}
        if self.Configuration is None:
            return value
        try:
            return msgspec.convert(value, self.Configuration, str_keys=True)
        except msgspec.ValidationError as error:
            raise _explain(error, self.root, document) from error

    def describe_configuration(self, settings: object, document: Document) -> dict[str, JSON]:
        """The settings as ``config-get`` tells them."""
        whole = _root_of(self.root, document)
        described = cast("dict[str, JSON]", msgspec.to_builtins(settings, str_keys=True))
        return {**described, **{key: whole[key] for key in _KIT_KEYS if key in whole}}

    def control_channels(self, document: Document) -> Sequence[ChannelSettings]:
        """The channels that a document asks for."""
        return read_control_sockets(_root_of(self.root, document), document, self.root)

    def apply_configuration(self, settings: object) -> Awaitable[None] | None:
        """Let settings hold: hand them to :meth:`configure`, then keep them as :attr:`configuration`."""
        outcome = self.configure(settings)
        if outcome is None:
            self.configuration = settings
            return None
        return self._configured(outcome, settings)

    async def _configured(self, outcome: Awaitable[None], settings: object) -> None:
        await outcome
        self.configuration = settings


async def _not_held() -> object:
    raise RuntimeError("the daemon is not served")


def _not_served(exit_value: int) -> None:
    raise RuntimeError("the daemon is not served")


def _commands_of(cls: type[Daemon]) -> list[tuple[str, Access, str]]:
    """Name, access class and attribute of each command, in the order of declaration; the last class wins."""
    found: dict[str, tuple[str, Access, str]] = {}
    for base in reversed(cls.__mro__):
        for attribute, member in vars(base).items():
            marked = getattr(member, "__bridle_command__", None)
            if marked is not None:  # what overrides a command needs no mark to be the same command
                name, access = marked
                found[attribute] = (name, access, attribute)
    return list(found.values())


def _root_of(root: str, document: Document) -> dict[str, JSON]:
    value = document.value.get(root)
    if value is None and root not in document.value:
        raise ConfigurationError(f"Missing mandatory '{root}' parameter.")
    if not isinstance(value, dict):
        raise ConfigurationError(f"'{root}' parameter expected to be a map.")
    return value


_PLACE = re.compile(r" - at `\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|\[\.\.\.\]")
_NAMED = re.compile(r"`([^`]*)`$")


def _explain(error: msgspec.ValidationError, root: str, document: Document) -> ConfigurationError:
    """Say which parameter is wrong, in Kea's words and with its position."""
    message = str(error)
    place = _PLACE.search(message)
    path: list[str | int] = [root]
    if place:
        # msgspec does not say which key of a map it is.
        path += [key or int(index) for key, index in _STEP.findall(place.group(1)) if key or index]
        message = message[: place.start()]
    subject = _NAMED.search(message)
    if subject and "unknown field" in message:
        scope = "unsupported global configuration parameter" if len(path) == 1 else "unsupported parameter"
        path.append(subject.group(1))
        position = document.locate_key(path)
        return ConfigurationError(f"{scope}: {subject.group(1)}", path=path, position=position)
    if subject and "missing required field" in message:
        return document.error(f"Missing mandatory '{subject.group(1)}' parameter.", path)
    detail = message[:1].lower() + message[1:].replace("`", "")
    return document.error(f"invalid value for parameter '{'.'.join(map(str, path[1:]))}': {detail}", path)
