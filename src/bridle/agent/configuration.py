"""The agent's configuration: Kea's ``kea-ctrl-agent.conf`` (``facts/kea.md`` §2.5), and what it may hold
more.

A ``control-sockets`` entry may have any name. Beyond Kea's ``unix`` it may be ``http`` or ``https`` (with
``socket-address`` and ``socket-port``, for Kea ≥ 2.7.2; ``http`` also with ``socket-name``, on a unix
socket), ``binrpc`` or ``fifo`` (with Kamailio's address as ``socket-name``), ``bngblaster``, ``pacemaker``
(with the name that one daemon listens under, or all of them without a ``socket-name``), or name any
``endpoint`` of the client; ``timeout`` (seconds) and ``connections`` bound what the agent does with it.

``http-socket`` has the agent listen on a unix socket: a path, or a map of ``socket-name``, ``mode``,
``owner``, ``group``, ``allow-world-writable`` and an ``authentication`` of its own. The port is listened on
beside it where ``http-host`` or ``http-port`` is given.

``bngblaster-controller`` asks for BNG Blaster's controller: the ``directory`` of its instances, the
``executable`` that runs one (a path, or the words of a command), and whether an ``upload`` is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Literal

import msgspec

from bridle.access.configuration import is_access_library
from bridle.access.private_files import check_secret_file
from bridle.access.tls import read_tls
from bridle.agent.bngblaster.settings import DIRECTORY, EXECUTABLE, ControllerSettings
from bridle.agent.forwarding import CONNECTIONS, TIMEOUT, ServiceSettings
from bridle.client.calls import as_endpoint
from bridle.core.errors import ConfigurationError, EndpointError
from bridle.core.grammar import EXTRA, NUMBER, Grammar
from bridle.core.messages import JSON, Path
from bridle.daemon.channel_settings import ChannelSettings
from bridle.daemon.document import Document
from bridle.daemon.http_sockets import check_authentication, read_http, read_http_file
from bridle.daemon.plugins import PluginSettings, check_library
from bridle.net.endpoint import Endpoint
from bridle.net.kamailio_address import DEFAULT_ADDRESS, read_address
from bridle.server import HttpSettings

__all__ = ["AgentSettings", "agent_channels", "describe", "read_settings"]

ROOT = "Control-agent"
REALM = "kea-control-agent"

# The service that stands for all of Pacemaker's daemons.
_ALL_DAEMONS = "pacemaker"

_TYPES = ("unix", "http", "https", "binrpc", "fifo", "bngblaster", "pacemaker")
_TLS: Grammar = {"trust-anchor": str, "cert-file": str, "key-file": str}
_AGENT: Grammar = {
    "http-host": str,
    "http-port": int,
    "http-socket": (str, dict),
    **_TLS,
    "cert-required": bool,
    "authentication": dict,
    "control-sockets": dict,
    "hooks-libraries": list,
    "http-headers": list,
    "http-allowed-hosts": list,
    "http-allowed-origins": list,
    "allow-unauthenticated": bool,
    "allow-clear-text-passwords": bool,
    "allow-readable-secrets": bool,
    "loggers": list,
    "access": dict,
    "bngblaster-controller": dict,
    **EXTRA,
}
_SERVICE: Grammar = {
    "socket-type": str,
    "socket-name": str,
    "socket-address": str,
    "socket-port": int,
    **_TLS,
    "allow-readable-secrets": bool,
    "user": str,
    "password": str,
    "endpoint": str,
    "timeout": NUMBER,
    "connections": int,
    **EXTRA,
}
_HTTP_SOCKET: Grammar = {
    "socket-name": str,
    "mode": str,
    "owner": str,
    "group": str,
    "allow-world-writable": bool,
    "authentication": dict,
    **EXTRA,
}
_CONTROLLER: Grammar = {"directory": str, "executable": (str, list), "upload": bool, **EXTRA}
_HOOK: Grammar = {"library": str, "parameters": dict, **EXTRA}
_LOGGER: Grammar = {
    "name": str,
    "severity": str,
    "debuglevel": int,
    "output_options": list,
    "output-options": list,
    **EXTRA,
}
# Kea's names of how grave a message is.
_SEVERITIES = ("FATAL", "ERROR", "WARN", "INFO", "DEBUG", "NONE")
_OUTPUT: Grammar = {"output": str, "flush": bool, "maxsize": int, "maxver": int, "pattern": str}
_DEFAULTS: dict[str, JSON] = {"http-host": "127.0.0.1", "http-port": 8000}


class AgentSettings(msgspec.Struct, frozen=True):
    """What the agent makes of its configuration, besides its listener."""

    services: tuple[ServiceSettings, ...] = ()
    plugins: tuple[PluginSettings, ...] = ()
    loggers: tuple[dict[str, JSON], ...] = ()
    controller: ControllerSettings | None = None


class _Reader:
    """Reads the ``Control-agent`` map of one document."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def settings(self) -> AgentSettings:
        agent = self.root()
        self._members(agent, _AGENT, ROOT, [ROOT])
        check_authentication(agent, [ROOT], self._members)
        socket = agent.get("http-socket")
        if isinstance(socket, dict):
            self._members(socket, _HTTP_SOCKET, "http-socket", [ROOT, "http-socket"])
            check_authentication(socket, [ROOT, "http-socket"], self._members)
        read_tls(agent)
        services = self._map(agent, "control-sockets")
        return AgentSettings(
            tuple(self._service(name, item) for name, item in services.items()),
            tuple(self._plugins(agent)),
            tuple(self._loggers(agent)),
            self._controller(agent),
        )

    def root(self) -> dict[str, JSON]:
        value = self._document.value
        agent = value.get(ROOT)
        if ROOT not in value:
            raise ConfigurationError(f"Missing mandatory '{ROOT}' parameter.")
        if not isinstance(agent, dict):
            raise ConfigurationError(f"'{ROOT}' parameter expected to be a map.")
        return agent

    def _members(self, item: JSON, grammar: Grammar, scope: str, path: Path) -> dict[str, JSON]:
        """The map at ``path``; what is not known is refused as Kea's parser of files does."""
        for key in item if isinstance(item, dict) else ():
            if key not in grammar:
                place = self._document.locate_key([*path, key])
                where = f"{place}: " if place else ""
                raise ConfigurationError(f'{where}got unexpected keyword "{key}" in {scope} map.')
        return self._document.members(item, grammar, scope, path)

    def _map(self, agent: Mapping[str, JSON], key: str) -> dict[str, JSON]:
        value = agent.get(key, {})
        return value if isinstance(value, dict) else {}

    def _list(self, item: Mapping[str, JSON], key: str) -> list[JSON]:
        value = item.get(key, [])
        return value if isinstance(value, list) else []

    def _service(self, name: str, item: JSON) -> ServiceSettings:
        path: list[str | int] = [ROOT, "control-sockets", name]
        service = self._members(item, _SERVICE, name, path)
        given = service.get("endpoint")
        try:
            endpoint = as_endpoint(given if isinstance(given, str) else self._endpoint(service, path))
            tls = read_tls(service)
            if tls is not None:
                self._check_secured(endpoint, path)
                allowed = service.get("allow-readable-secrets") is True
                check_secret_file(tls[2], "private key file", [*path, "key-file"], allowed=allowed)
        except EndpointError as error:
            raise self._document.error(str(error), path) from error
        except ConfigurationError as error:
            if error.position:
                raise
            raise self._document.error(f"{name}: {error.text}", path) from error
        timeout, connections = service.get("timeout", TIMEOUT), service.get("connections", CONNECTIONS)
        for key in ("timeout", "connections"):
            number = service.get(key, 1)
            if isinstance(number, int | float) and number <= 0:
                raise self._document.error(f"'{key}' must be greater than 0", [*path, key])
        assert isinstance(timeout, int | float)
        assert isinstance(connections, int)
        return ServiceSettings(name, endpoint, float(timeout), connections, tls)

    def _check_secured(self, endpoint: Endpoint, path: list[str | int]) -> None:
        """Refuse certificates where a service would be asked in clear text all the same."""
        if endpoint.transport not in ("unix", "tcp", "https") or endpoint.dialect == "fifo":
            text = f"TLS is not spoken with {endpoint}, for all its certificates"
            raise self._document.error(text, [*path, "trust-anchor"])

    def _endpoint(self, service: Mapping[str, JSON], path: list[str | int]) -> Endpoint:
        kind = service.get("socket-type", "unix")
        if kind in ("unix", "bngblaster"):
            name = service.get("socket-name")
            if not isinstance(name, str) or not name:
                raise self._document.error("Mandatory 'socket-name' parameter missing", path)
            return Endpoint("unix", "kea" if kind == "unix" else "bngblaster", path=name)
        if kind in ("binrpc", "fifo"):
            return self._kamailio("fifo" if kind == "fifo" else "binrpc", service, path)
        if kind == "pacemaker":
            # Without a name all daemons are meant, each by the commands that it has.
            return Endpoint("qb", "pacemaker", path=str(service.get("socket-name") or _ALL_DAEMONS))
        if kind == "http" and "socket-name" in service:
            return self._http_unix(service, path)
        if kind in ("http", "https"):
            # Whoever names certificates wants TLS, as a listener that names them speaks it.
            kind = "https" if service.get("trust-anchor") else kind
            port = service.get("socket-port", 8000)
            assert isinstance(port, int)
            if not 0 < port <= 65535:
                text = f"out of range value ({port}) specified for parameter 'socket-port'"
                raise self._document.error(text, [*path, "socket-port"])
            return Endpoint(
                str(kind),
                path="/",
                host=str(service.get("socket-address", "127.0.0.1")),
                port=port,
                user=str(service.get("user", "")),
                password=str(service.get("password", "")),
            )
        text = f"Invalid 'socket-type' parameter value {kind}; known are {', '.join(_TYPES)}"
        raise self._document.error(text, [*path, "socket-type"])

    def _http_unix(self, service: Mapping[str, JSON], path: list[str | int]) -> Endpoint:
        for key in ("socket-address", "socket-port", *_TLS):
            if key in service:
                raise self._document.error(f"'{key}' and 'socket-name' exclude each other", [*path, key])
        name = str(service["socket-name"])
        if not name:
            raise self._document.error("'socket-name' must not be empty", [*path, "socket-name"])
        user, password = str(service.get("user", "")), str(service.get("password", ""))
        return Endpoint("unix", "http", path=name, user=user, password=password)

    def _kamailio(
        self, kind: Literal["binrpc", "fifo"], service: Mapping[str, JSON], path: list[str | int]
    ) -> Endpoint:
        """A place in Kamailio's grammar; its own default for ``binrpc``."""
        name = service.get("socket-name", DEFAULT_ADDRESS if kind == "binrpc" else "")
        if not isinstance(name, str) or not name:
            raise self._document.error("Mandatory 'socket-name' parameter missing", path)
        try:
            return read_address(name, kind)
        except EndpointError as error:
            raise self._document.error(str(error), [*path, "socket-name"]) from error

    def _controller(self, agent: Mapping[str, JSON]) -> ControllerSettings | None:
        if "bngblaster-controller" not in agent:
            return None
        path: list[str | int] = [ROOT, "bngblaster-controller"]
        given = self._members(agent["bngblaster-controller"], _CONTROLLER, "bngblaster-controller", path)
        directory, executable = str(given.get("directory", DIRECTORY)), given.get("executable", EXECUTABLE)
        if not FilePath(directory).is_absolute():
            raise self._document.error("'directory' must be an absolute path", [*path, "directory"])
        words = executable if isinstance(executable, list) else [executable]
        if not words or not all(isinstance(word, str) and word for word in words):
            text = "'executable' is a path, or a list of the words of a command"
            raise self._document.error(text, [*path, "executable"])
        if any("\0" in str(word) for word in (directory, *words)):
            raise self._document.error("no path can have a NUL in it", path)
        return ControllerSettings(directory.rstrip("/"), tuple(map(str, words)), given.get("upload") is True)

    def _plugins(self, agent: Mapping[str, JSON]) -> list[PluginSettings]:
        found = []
        for index, item in enumerate(self._list(agent, "hooks-libraries")):
            path: list[str | int] = [ROOT, "hooks-libraries", index]
            hook = self._members(item, _HOOK, "hooks-libraries", path)
            library = hook.get("library")
            if not isinstance(library, str) or not library:
                raise self._document.error("missing parameter 'library'", path)
            if is_access_library(library):
                continue
            try:
                check_library(library)
            except ConfigurationError as error:
                raise self._document.error(error.text, [*path, "library"]) from error
            found.append(PluginSettings(library, self._map(hook, "parameters")))
        return found

    def _loggers(self, agent: Mapping[str, JSON]) -> list[dict[str, JSON]]:
        found = []
        for index, item in enumerate(self._list(agent, "loggers")):
            path: list[str | int] = [ROOT, "loggers", index]
            logger = self._members(item, _LOGGER, "loggers", path)
            severity = str(logger.get("severity", "INFO"))
            if severity.upper() not in _SEVERITIES:
                text = f"unknown severity '{severity}': there are {', '.join(_SEVERITIES)}"
                raise self._document.error(text, [*path, "severity"])
            for key in ("output_options", "output-options"):
                for number, output in enumerate(self._list(logger, key)):
                    self._members(output, _OUTPUT, key, [*path, key, number])
            found.append(logger)
        return found


def read_settings(document: Document) -> AgentSettings:
    """Check a document and read what it says about services, plugins and logging.

    Raises:
        ConfigurationError: with Kea's texts and the position.
    """
    return _Reader(document).settings()


def agent_channels(document: Document, listen: tuple[str, int] | Endpoint | None) -> list[ChannelSettings]:
    """The listeners that a document asks for: a port, a unix socket, or both. ``listen`` is an address to use
    in place of the port's, or the endpoint of a unix socket to listen on alone.

    Raises:
        ConfigurationError: an address, TLS or authentication cannot be used.
    """
    given = _Reader(document).root()
    agent = {**_DEFAULTS, **given}
    if isinstance(listen, tuple):
        agent.update({"http-host": listen[0], "http-port": listen[1]})
    port = read_http(agent, [ROOT], document, realm=REALM, prefix="http-")
    local = msgspec.structs.replace(port.http, tls=None)
    if isinstance(listen, Endpoint):
        return [ChannelSettings(listen, local)]
    if "http-socket" not in given:
        return [port]
    file = _read_socket(agent, document, local)
    return [port, file] if isinstance(listen, tuple) or _names_port(given) else [file]


def _names_port(agent: Mapping[str, JSON]) -> bool:
    return "http-host" in agent or "http-port" in agent


def _read_socket(agent: Mapping[str, JSON], document: Document, http: HttpSettings) -> ChannelSettings:
    """The listener on a unix socket: with the port's settings, but for an authentication of its own."""
    value = agent["http-socket"]
    item: dict[str, JSON] = {"socket-name": value} if isinstance(value, str) else {}
    item = {**value} if isinstance(value, dict) else item
    own = "authentication" in item
    if "allow-readable-secrets" in agent:
        item["allow-readable-secrets"] = agent["allow-readable-secrets"]
    found = read_http_file(item, [ROOT, "http-socket"], document, realm=REALM)
    if own:
        http = msgspec.structs.replace(http, authentication=found.http.authentication)
    return ChannelSettings(found.endpoint, http)


def describe(document: Document) -> dict[str, JSON]:
    """The configuration as ``config-get`` tells it: what was given, with the defaults."""
    agent = _Reader(document).root()
    alone = "http-socket" in agent and not _names_port(agent)
    defaults: dict[str, JSON] = {} if alone else _DEFAULTS
    described: dict[str, JSON] = {**defaults, **agent}
    services = described.get("control-sockets")
    if isinstance(services, dict):
        described["control-sockets"] = {name: _with_type(service) for name, service in services.items()}
    described.setdefault("hooks-libraries", [])
    return described


def _with_type(service: JSON) -> JSON:
    if isinstance(service, dict) and "socket-name" in service and "endpoint" not in service:
        return {"socket-type": "unix", **service}
    return service
