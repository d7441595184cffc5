"""Basic HTTP authentication as Kea configures it (``facts/kea.md`` §2.3).

``authentication`` is a map: ``type`` ("basic"), ``realm``, ``directory``, and ``clients``, each with ``user``
or ``user-file`` and ``password`` or ``password-file``. No clients, no authentication.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path as FilePath

from bridle.access.secrets import check_secret_file
from bridle.core.errors import ConfigurationError
from bridle.core.messages import JSON, Path

__all__ = ["BasicAuthentication", "read_authentication"]

_SCHEME = "basic"


class BasicAuthentication:
    """Knows the credentials of a listener: users and their passwords. A user may have several, as in Kea."""

    def __init__(self, realm: str, credentials: Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
        pairs = credentials.items() if isinstance(credentials, Mapping) else credentials
        self._passwords: dict[bytes, list[bytes]] = {}
        for user, password in pairs:
            self._passwords.setdefault(user.encode(), []).append(password.encode())
        quoted = realm.replace("\\", "\\\\").replace('"', '\\"')
        self.challenge: str = f'Basic realm="{quoted}"'

    @property
    def required(self) -> bool:
        """False when there are no clients: everybody is let in, as Kea does."""
        return bool(self._passwords)

    def user(self, authorization: str | None) -> str | None:
        """The user whom an ``Authorization`` header vouches for; None when it vouches for nobody."""
        scheme, _, encoded = (authorization or "").partition(" ")
        if scheme.lower() != _SCHEME:
            return None
        try:
            name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return None
        # Compared even where the user is unknown, so that time does not tell who exists.
        expected = self._passwords.get(name, [password + b"."])
        matches = [hmac.compare_digest(password, one) for one in expected]
        return name.decode("utf-8", "replace") if colon and any(matches) else None


Locate = Callable[[Path], str]


class _Reader:
    """Reads one ``authentication`` map; ``locate`` says where its values stand."""

    def __init__(
        self, value: Mapping[str, JSON], path: Path, locate: Locate, *, allow_readable: bool = False
    ) -> None:
        self._allow_readable = allow_readable
        self._value = value
        self._path = path
        self._locate = locate
        self._directory = _string(value, "directory", path) or ""

    def read(self, default_realm: str) -> BasicAuthentication:
        kind = self._value.get("type", _SCHEME)
        if kind != _SCHEME:
            raise ConfigurationError(
                f"only basic HTTP authentication is supported: type is '{kind}' not '{_SCHEME}'",
                path=[*self._path, "type"],
            )
        realm = _string(self._value, "realm", self._path)
        clients = self._value.get("clients", [])
        if not isinstance(clients, list):
            # Not passed over: without clients everybody is let in.
            raise _wrong_type("clients", [*self._path, "clients"])
        credentials = [
            self._client(client, [*self._path, "clients", index]) for index, client in enumerate(clients)
        ]
        return BasicAuthentication(default_realm if realm is None else realm, credentials)

    def _client(self, client: JSON, path: list[str | int]) -> tuple[str, str]:
        if not isinstance(client, dict):
            raise _wrong_type("clients", path)
        user, password = self._part(client, "user", path), self._part(client, "password", path)
        if user is None and password is not None and "password-file" in client:
            user, colon, password = password.partition(":")
            if not colon:
                name = client["password-file"]
                raise ConfigurationError(
                    f"can't find the user id part in password-file '{name}'", path=[*path, "password-file"]
                )
        if user is None:
            raise ConfigurationError("user is required in clients items", path=path)
        where: list[str | int] = [*path, "user" if "user" in client else "user-file"]
        if not user:
            raise ConfigurationError("user must not be empty", path=where)
        if ":" in user:
            raise ConfigurationError(f"user must not contain a ':': '{user}'", path=where)
        return user, password or ""

    def _part(self, client: Mapping[str, JSON], name: str, path: list[str | int]) -> str | None:
        inline, file = _string(client, name, path), _string(client, f"{name}-file", path)
        if inline is not None and file is not None:
            here, there = self._locate([*path, name]), self._locate([*path, f"{name}-file"])
            raise ConfigurationError(
                f"{name} ({here}) and {name}-file ({there}) are mutually exclusive", position=""
            )
        return inline if file is None else self._first_line(file)

    def _first_line(self, name: str) -> str:
        full = FilePath(f"{self._directory}/{name}")
        check_secret_file(str(full), "password file", self._path, allowed=self._allow_readable)
        try:
            content = full.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ConfigurationError(f"can't open file '{full}': {reason}") from error
        return content.partition("\n")[0].rstrip("\r")


def _string(value: Mapping[str, JSON], name: str, path: Path) -> str | None:
    found = value.get(name)
    if isinstance(found, str):
        return found
    if name in value:
        raise _wrong_type(name, [*path, name])
    return None


def _wrong_type(name: str, path: Path) -> ConfigurationError:
    return ConfigurationError(f"invalid type specified for parameter '{name}'", path=path)


def read_authentication(
    value: Mapping[str, JSON], path: Path, locate: Locate, *, realm: str, allow_readable: bool = False
) -> BasicAuthentication:
    """Read an ``authentication`` map that stands at ``path`` of a configuration.

    ``realm`` is the default. Files that others can read are refused unless they may be
    (``allow_readable``). Files hold one line (Kea 3.x; 2.2 took the whole file, newline included).

    Raises:
        ConfigurationError: with Kea's texts (``facts/kea.md`` §2.3).
    """
    return _Reader(value, path, locate, allow_readable=allow_readable).read(realm)
