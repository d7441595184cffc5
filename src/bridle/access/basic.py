"""Authentication over HTTP as Kea configures it (``facts/kea.md`` §2.3), and what goes beyond.

``authentication`` is a map: ``type`` ("basic"), ``realm``, ``directory``, and ``clients``, each with ``user``
or ``user-file`` and ``password``, ``password-file`` or ``password-hash`` (argon2). ``tokens`` names a file of
bearer tokens. No clients and no tokens, no authentication.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path as FilePath

from bridle.access.failed_logins import FailedLogins
from bridle.access.limits import LimitSettings
from bridle.access.passwords import NOBODY, Candidate, Passwords, Verdict, check_hash
from bridle.access.private_files import check_secret_file
from bridle.access.tokens import Tokens
from bridle.core.errors import ConfigurationError
from bridle.core.messages import JSON, Path

__all__ = ["BasicAuthentication", "read_authentication"]

_SCHEME = "basic"
_BEARER = "bearer "


class BasicAuthentication:
    """Knows the credentials of a listener: users and their passwords. A user may have several, as in Kea.

    ``hashes`` are users and argon2 hashes of their passwords, ``tokens`` the bearer tokens that are
    accepted, ``failed`` counts what did not go well.
    """

    def __init__(
        self,
        realm: str,
        credentials: Mapping[str, str] | Iterable[tuple[str, str]],
        *,
        hashes: Iterable[tuple[str, str]] = (),
        tokens: Tokens | None = None,
        failed: FailedLogins | None = None,
    ) -> None:
        pairs = credentials.items() if isinstance(credentials, Mapping) else credentials
        self._passwords: dict[bytes, list[bytes]] = {}
        for user, password in pairs:
            self._passwords.setdefault(user.encode(), []).append(password.encode())
        self._hashes: dict[bytes, list[str]] = {}
        for user, written in hashes:
            self._hashes.setdefault(user.encode(), []).append(written)
        self._tokens = tokens
        failed = FailedLogins() if failed is None else failed
        self._checked = Passwords(_candidate, self._is_right, self._hashes_of, failed)
        quoted = realm.replace("\\", "\\\\").replace('"', '\\"')
        schemes = ["Basic"] if self._passwords or self._hashes or tokens is None else []
        schemes += ["Bearer"] if tokens is not None else []
        self.challenge: str = ", ".join(f'{scheme} realm="{quoted}"' for scheme in schemes)

    def limit(self, settings: LimitSettings | None) -> None:
        """Count failed log-ins by these settings, from none on; None: by the common ones."""
        self._checked.failed = FailedLogins(settings)

    def go_on_from(self, before: BasicAuthentication) -> None:
        """Take the place of another that had the same listener: failed log-ins that it counted by the same
        settings count on."""
        if before._checked.failed.same_as(self._checked.failed):
            self._checked.failed = before._checked.failed

    @property
    def required(self) -> bool:
        """False when there are neither clients nor tokens: everybody is let in, as Kea does."""
        return bool(self._passwords or self._hashes or self._tokens is not None)

    @property
    def without_password(self) -> str | None:
        """A user whose password is empty, so that anybody can be that one; None where there is none."""
        open_to_all = (user for user, given in self._passwords.items() if b"" in given)
        user = next(open_to_all, None)
        return None if user is None else user.decode("utf-8", "replace")

    def vouch(self, authorization: str | None, address: str) -> Verdict | Awaitable[Verdict]:
        """Whom an ``Authorization`` header of somebody at an address vouches for.

        Answered at once for a token, a clear-text password, and whatever was asked before; awaited where a
        hash has to be checked first.
        """
        if authorization is None:
            return NOBODY
        if self._tokens is not None and authorization[: len(_BEARER)].lower() == _BEARER:
            token = self._tokens.find(authorization[len(_BEARER) :].strip())
            if token is None:
                return NOBODY
            return Verdict(token.user or token.name, token.role or None, token.name)
        return self._checked.check(authorization, address)

    def user(self, authorization: str | None) -> str | None:
        """The user whom an ``Authorization`` header vouches for by a clear-text password; None when it
        vouches for nobody. Nothing is counted or remembered."""
        candidate = _candidate(authorization or "")
        if candidate is None or not self._is_right(candidate):
            return None
        return candidate[0].decode("utf-8", "replace")

    def _is_right(self, candidate: Candidate) -> bool:
        name, password = candidate
        # Compared even where the user is unknown, so that time does not tell who exists.
        expected = self._passwords.get(name, [password + b"."])
        matches = [hmac.compare_digest(password, one) for one in expected]
        return any(matches)

    def _hashes_of(self, candidate: Candidate) -> tuple[Sequence[str], bool]:
        hashes = self._hashes.get(candidate[0])
        if hashes is not None:
            return hashes, True
        if candidate[0] in self._passwords:
            return (), False
        return next(iter(self._hashes.values()), ()), False


def _candidate(authorization: str) -> Candidate | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != _SCHEME:
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon else None


Locate = Callable[[Path], str]


class _Reader:
    """Reads one ``authentication`` map; ``locate`` says where its values stand."""

    def __init__(
        self,
        value: Mapping[str, JSON],
        path: Path,
        locate: Locate,
        failed: FailedLogins | None,
        *,
        allow_readable: bool = False,
    ) -> None:
        self._failed = failed
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
        credentials: list[tuple[str, str]] = []
        hashes: list[tuple[str, str]] = []
        for index, client in enumerate(clients):
            path = [*self._path, "clients", index]
            if not isinstance(client, dict):
                raise _wrong_type("clients", path)
            kept = hashes if "password-hash" in client else credentials
            kept.append(self._client(client, path))
        return BasicAuthentication(
            default_realm if realm is None else realm,
            credentials,
            hashes=hashes,
            tokens=self._tokens(),
            failed=self._failed,
        )

    def _tokens(self) -> Tokens | None:
        name = _string(self._value, "tokens", self._path)
        if name is None:
            return None
        try:
            return Tokens(f"{self._directory}/{name}" if self._directory else name)
        except ConfigurationError as error:
            raise ConfigurationError(error.text, path=[*self._path, "tokens"]) from error

    def _client(self, client: Mapping[str, JSON], path: list[str | int]) -> tuple[str, str]:
        """The user, and the password or its hash."""
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
        return user, self._hash(client, path) or password or ""

    def _hash(self, client: Mapping[str, JSON], path: list[str | int]) -> str | None:
        written = _string(client, "password-hash", path)
        if written is None:
            return None
        for other in ("password", "password-file"):
            if other in client:
                here, there = self._locate([*path, other]), self._locate([*path, "password-hash"])
                raise ConfigurationError(
                    f"{other} ({here}) and password-hash ({there}) are mutually exclusive", position=""
                )
        try:
            check_hash(written)
        except ConfigurationError as error:
            raise ConfigurationError(error.text, path=[*path, "password-hash"]) from error
        return written

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
    value: Mapping[str, JSON],
    path: Path,
    locate: Locate,
    *,
    realm: str,
    failed: FailedLogins | None = None,
    allow_readable: bool = False,
) -> BasicAuthentication:
    """Read an ``authentication`` map that stands at ``path`` of a configuration.

    ``realm`` is the default; ``failed`` counts failed log-ins, for those who share the count. Files that
    others can read are refused unless they may be (``allow_readable``). Files hold one line (Kea 3.x; 2.2
    took the whole file, newline included).

    Raises:
        ConfigurationError: with Kea's texts (``facts/kea.md`` §2.3).
    """
    return _Reader(value, path, locate, failed, allow_readable=allow_readable).read(realm)
