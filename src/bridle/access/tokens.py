"""Bearer tokens: made once, shown once, kept as hashes.

A token is ``brd_``, 43 characters of chance (256 bits) and 6 of a checksum, all of letters and digits: it can
be marked with a double click, found by programs that look for secrets, and a typing error is told from a
token that was revoked. The file keeps the SHA-256 of each; that is enough for 256 bits of chance, and costs a
look-up a microsecond. It is JSON, with mode 0600, replaced as a whole, and read again when it has changed.

When a token was last used is not kept here, where it would cost a write for each command: the audit knows.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import time
import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import msgspec

from bridle.access.private_files import locked_folder, read_private, replace_private
from bridle.core.errors import ConfigurationError

__all__ = ["CHECK_INTERVAL", "TOKENS_LIMIT", "Token", "TokenFile", "Tokens", "digest_of", "well_formed"]

PREFIX = "brd_"
# Tokens of one file: they are read at once, in a few milliseconds.
TOKENS_LIMIT = 10_000
FILE_LIMIT = 4 * 1024 * 1024
# Seconds until a change of the file is noticed: how long a revoked token goes on at most.
CHECK_INTERVAL = 1.0

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET = 43
_CHECKSUM = 6
_LENGTH = len(PREFIX) + _SECRET + _CHECKSUM
_LONGEST_NAME = 64

_log = logging.getLogger("bridle.access")


class Token(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is kept of a token: its name, the hash of it, whom it speaks for, and how long.

    Times are ISO 8601, in UTC; an empty ``expires`` is never. ``user`` is the name's where it is empty.
    """

    name: str
    digest: str
    user: str = ""
    role: str = ""
    created: str = ""
    expires: str = ""

    @property
    def ends(self) -> float:
        """When it expires, in seconds since 1970."""
        return _seconds(self.expires) if self.expires else float("inf")


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    tokens: list[Token] = []


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def _checksum(secret: str) -> str:
    return _base62(zlib.crc32(secret.encode()), _CHECKSUM)


def make_token() -> str:
    """A new token."""
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET))
    return f"{PREFIX}{secret}{_checksum(secret)}"


def well_formed(token: str) -> bool:
    """Whether it could be a token: one with a typing error is none."""
    if len(token) != _LENGTH or not token.isascii() or not token.startswith(PREFIX):
        return False
    return token[-_CHECKSUM:] == _checksum(token[len(PREFIX) : -_CHECKSUM])


def digest_of(token: str) -> str:
    """What is kept of a token."""
    return sha256(token.encode()).hexdigest()


def _seconds(written: str) -> float:
    return datetime.fromisoformat(written).timestamp()


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(path: Path) -> tuple[list[Token], tuple[int, int, int]]:
    content, status = read_private(path, FILE_LIMIT)
    try:
        tokens = msgspec.json.decode(content, type=_Content).tokens
        for token in tokens:
            if token.ends != token.ends or len(bytes.fromhex(token.digest)) != sha256().digest_size:
                raise ValueError("a digest has 64 hexadecimal digits")
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise ConfigurationError(f"'{path}' is no file of tokens: {error}") from error
    if len(tokens) > TOKENS_LIMIT:
        raise ConfigurationError(f"'{path}' has more than {TOKENS_LIMIT} tokens")
    return tokens, (status.st_ino, status.st_size, status.st_mtime_ns)


class TokenFile:
    """A file of tokens, for those who manage it."""

    def __init__(self, path: str | Path, now: Callable[[], float] = time.time) -> None:
        self.path: Path = Path(path)
        self._now = now

    def list(self) -> Sequence[Token]:
        """The tokens, expired ones too; none where there is no file yet.

        Raises:
            ConfigurationError: the file is not private, or no file of tokens.
        """
        return _read(self.path)[0] if self.path.exists() else []

    def create(self, name: str, *, user: str = "", role: str = "", lifetime: float | None = None) -> str:
        """Make a token, which is shown this once; ``lifetime`` is in seconds.

        Raises:
            ConfigurationError: there is one of that name, or the file cannot be used.
        """
        if not name or len(name) > _LONGEST_NAME or not name.isprintable():
            raise ConfigurationError(f"a token's name has 1 to {_LONGEST_NAME} printable characters")
        token = make_token()
        now = self._now()
        with locked_folder(self.path.parent):
            tokens = [*self.list()]
            if any(known.name == name for known in tokens):
                raise ConfigurationError(f"there is a token '{name}' already: revoke it first")
            if len(tokens) >= TOKENS_LIMIT:
                raise ConfigurationError(f"'{self.path}' holds {TOKENS_LIMIT} tokens, the most that are read")
            try:
                expires = "" if lifetime is None else _written(now + lifetime)
            except (OverflowError, ValueError, OSError) as error:
                raise ConfigurationError(f"a lifetime of {lifetime:g} seconds is too long") from error
            made = Token(
                name=name,
                digest=digest_of(token),
                user=user,
                role=role,
                created=_written(now),
                expires=expires,
            )
            self._replace([*tokens, made])
        return token

    def revoke(self, name: str) -> None:
        """Forget a token.

        Raises:
            ConfigurationError: there is none of that name, or the file cannot be used.
        """
        with locked_folder(self.path.parent):
            tokens = self.list()
            left = [token for token in tokens if token.name != name]
            if len(left) == len(tokens):
                raise ConfigurationError(f"there is no token '{name}' in '{self.path}'")
            self._replace(left)

    def _replace(self, tokens: Sequence[Token]) -> None:
        content = msgspec.json.encode(_Content([*tokens]))
        replace_private(self.path, msgspec.json.format(content, indent=2) + b"\n")


class Tokens:
    """The tokens of a file, for those who are asked to accept one.

    ``now`` is the time in seconds since 1970, ``clock`` a monotonic one in seconds.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path: Path = Path(path)
        self._now = now
        self._clock = clock
        self._tokens, self._seen = self._load()
        self._next = clock() + CHECK_INTERVAL
        self._failing = False

    def _load(self) -> tuple[dict[str, tuple[Token, float]], tuple[int, int, int]]:
        tokens, seen = _read(self.path)
        return {token.digest: (token, token.ends) for token in tokens}, seen

    def find(self, token: str) -> Token | None:
        """What is known of a token that is good now; None where it is not."""
        if self._clock() >= self._next:
            self._look()
        if len(token) != _LENGTH or not token.isascii():
            return None
        digest = digest_of(token)
        known = self._tokens.get(digest)
        if known is None or not hmac.compare_digest(known[0].digest, digest):
            if _log.isEnabledFor(logging.DEBUG):
                _log.debug("a token is %s", "unknown" if well_formed(token) else "misspelt")
            return None
        return known[0] if self._now() < known[1] else None

    def _look(self) -> None:
        """Read the file again if it has changed. From one that cannot be used nobody is let in."""
        self._next = self._clock() + CHECK_INTERVAL
        try:
            status = self.path.stat()
            seen = (status.st_ino, status.st_size, status.st_mtime_ns)
            # The mode can change without the rest.
            if seen == self._seen and not self._failing and not status.st_mode & 0o077:
                return
            self._tokens, self._seen = self._load()
        except (ConfigurationError, OSError) as error:
            if not self._failing:
                _log.error("no token is accepted: %s", error)
            self._tokens, self._failing = {}, True
        else:
            self._failing = False
