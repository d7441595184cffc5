"""Secrets are masked: in answers to roles that may not read them, and in logs and the audit always.

What is a secret is known by its name: a member of a map whose name is, or ends in, ``password``, ``secret``,
``token`` and the like, and whatever a daemon (:attr:`bridle.Daemon.secrets`) or a configuration (``secrets``)
names besides. Names of files (``password-file``) are none. In any text, passwords of URLs and of connection
strings are masked where they stand, and private keys. What has no value, and booleans, are left.

A masked configuration can be sent back: :mod:`.restoring` puts the secrets in their places.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import cast

import msgspec
from msgspec import UNSET, Raw, UnsetType

from bridle.core.errors import BridleError
from bridle.core.manager import CommandDefinition
from bridle.core.messages import JSON, Command, Response, ScannedArguments
from bridle.core.results import Result

__all__ = ["MASK", "UNREADABLE", "Redaction"]

MASK = "********"
"""What stands in the place of a secret."""

UNREADABLE = "(unreadable)"
"""What is told of arguments that cannot be read, and so not be masked."""

_WORDS = (
    "password",
    "passwords",
    "password-hash",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "token-hash",
    "psk",
    "pre-shared-key",
    "private-key",
    "api-key",
    "md5-key",
)
# Besides names: words that a text holds wherever one of the patterns below can match.
_TRACES = (b"pass", b"://", b"private", b"bearer", b"pwd")
# Names that are remembered as secrets or not, and their length: they come from peers.
_NAMES_LIMIT = 4096
_NAME_LIMIT = 128
# Texts that were looked at and hold no secret, and their length: answers say the same again and again.
_TEXTS_LIMIT = 1024
_TEXT_LIMIT = 512
# What has no parts, and is no text.
_PLAIN = frozenset({int, float, bool, type(None)})

# Characters of the shortest text that holds a secret without a colon or an equals sign: a bearer token.
_SHORTEST = len("bearer x")

# None of these looks at a character more than a few times, whatever the text: arguments come from peers.
_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL
)
# A word with a URL in it; that one begins where a word does keeps the search from beginning at each letter.
_URL = re.compile(r"(?<!\S)\S*://\S*")
_BEARER = re.compile(r"(?i)(\bbearer\s+)([A-Za-z0-9._~+/=-]+)")
_VALUE = r""""(?:[^"\\]|\\.)*(?:"|\\?\Z)|'(?:[^'\\]|\\.)*(?:'|\\?\Z)|[^\s"'&;,{}\[\]]+"""
_EMPTY = ("", '""', "''", "null", "None", "true", "false", "True", "False")


class Redaction:
    """Knows secrets by their names. ``names`` are those besides the ones that everybody has."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names: frozenset[str] = frozenset(map(_normal, names))
        self._endings = (*_WORDS, *(word.replace("-", "") for word in _WORDS))
        words = sorted({*_WORDS, *self.names}, key=len, reverse=True)
        patterns = "|".join(re.escape(word).replace(r"\-", "[-_]?") for word in words)
        self._assigned = re.compile(rf"(?is)((?:{patterns}|pwd)[\"']?\s*[=:]\s*)({_VALUE})")
        self._known: dict[str, bool] = {}
        self._clean: set[str] = set()
        stems = {max(word.split("-"), key=len).encode() for word in words}
        traces = {*stems, *_TRACES}
        self._stems: tuple[str, ...] = ("pass", "pwd", *(stem.decode() for stem in sorted(stems)))
        # What holds another trace adds nothing.
        least = [one for one in sorted(traces) if not any(other != one and other in one for other in traces)]
        # One search: to look for each takes three times as long in short texts, and as long in long ones.
        self._trace = re.compile(b"|".join(map(re.escape, least)))

    def is_secret(self, name: str) -> bool:
        """Whether the value of that name is a secret."""
        known = self._known.get(name)
        if known is None:
            normal = _normal(name)
            known = normal.endswith(self._endings) or normal in self.names
            if len(self._known) < _NAMES_LIMIT and len(name) <= _NAME_LIMIT:
                self._known[name] = known
        return known

    def may_hold_secrets(self, text: bytes) -> bool:
        """A fast look at a JSON text: False where there is certainly nothing to mask in it."""
        if b"\\u" in text:
            return True  # a name may be written with escapes
        return self._trace.search(text.lower()) is not None

    def masked(self, value: JSON) -> JSON:
        """The value with its secrets masked; the same object where there are none."""
        if isinstance(value, str):
            return value if value in self._clean else self.masked_text(value)
        if isinstance(value, dict):
            # Most members of most answers are known to be none: no calls for those.
            known, clean, members = self._known, self._clean, None
            for name, item in value.items():
                kind = type(item)
                if known.get(name) is False and (item in clean if kind is str else kind in _PLAIN):
                    continue
                masked = self.masked_member(name, item)
                if masked is not item:
                    members = members or dict(value)
                    members[name] = masked
            return members or value
        if isinstance(value, list):
            items = [self.masked(item) for item in value]
            return items if any(map(_differ, items, value)) else value
        return value

    def masked_member(self, name: str, value: JSON) -> JSON:
        """The value of that name, masked."""
        if not self.is_secret(name):
            return self.masked(value)
        return value if value is None or isinstance(value, bool) or value in ("", [], {}) else MASK

    def masked_text(self, text: str) -> str:
        """A text with the secrets in it masked that can be told by how they are written: passwords of URLs,
        ``password=…``, bearer tokens, private keys."""
        short = len(text) < _SHORTEST and ":" not in text and "=" not in text
        masked = text if short else self._masked_text(text)
        if masked is text and len(text) <= _TEXT_LIMIT:
            if len(self._clean) < _TEXTS_LIMIT:
                self._clean.add(text)
            elif not short:
                self._clean.clear()
        return masked

    def _masked_text(self, text: str) -> str:
        small, given = text.lower(), text
        if "://" in small:
            text = _URL.sub(_mask_url, text)
        if "bearer" in small:
            text = _BEARER.sub(rf"\1{MASK}", text)
        if "private key" in small:
            text = _KEY.sub(MASK, text)
        if "=" in small or ":" in small:
            for stem in self._stems:
                if stem in small:
                    text = self._assigned.sub(_mask_assigned, text)
                    break
        return given if text == given else text

    def masked_raw(self, text: Raw) -> Raw:
        """A JSON text with its secrets masked; the same where there are none.

        Raises:
            msgspec.DecodeError: it cannot be read.
        """
        if not self.may_hold_secrets(bytes(text)):
            return text
        value: JSON = msgspec.json.decode(text)
        masked = self.masked(value)
        return text if masked is value else Raw(msgspec.json.encode(masked))

    def masked_response(self, response: Response) -> Response:
        """An answer with the secrets in its arguments masked. One that cannot be read is not shown."""
        # What most answers are: a text, and a map, that were looked at before.
        arguments, text, clean, known = response.arguments, response.text, self._clean, self._known
        if text is None or text in clean:
            if arguments is UNSET:
                return response
            if isinstance(arguments, dict):
                for name, item in arguments.items():
                    kind = type(item)
                    if known.get(name) is not False or not (item in clean if kind is str else kind in _PLAIN):
                        break
                else:
                    return response
        return self._masked_response(response)

    def _masked_response(self, response: Response) -> Response:
        arguments, text = response.arguments, response.text
        masked_text = None if text is None else self.masked_text(text)
        if masked_text is not text:
            response = msgspec.structs.replace(response, text=masked_text)
        if arguments is UNSET or arguments is None:
            return response
        try:
            masked = self.masked_raw(arguments) if isinstance(arguments, Raw) else self.masked(arguments)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            return Response(Result.ERROR, f"the answer cannot be shown: {error}", error=error)
        if masked is arguments:
            return response
        return msgspec.structs.replace(response, arguments=masked)

    def masked_arguments(
        self, command: Command, definition: CommandDefinition | None = None
    ) -> JSON | UnsetType:
        """A command's arguments for a log: decoded and masked. Positional ones are known to be secrets by the
        ``definition``'s parameters; :data:`UNREADABLE` where they cannot be read."""
        try:
            body: object = command.body
            if isinstance(body, ScannedArguments) and definition and not definition.signature.unchecked:
                value = cast("JSON | UnsetType", body.scan(definition.signature.expected))
            else:
                value = command.arguments
            if value is UNSET:
                return UNSET
            return self._masked_positions(value, definition)
        except (BridleError, msgspec.MsgspecError, ValueError, RecursionError):
            return UNREADABLE

    def _masked_positions(self, value: JSON, definition: CommandDefinition | None) -> JSON:
        if definition is None or isinstance(value, dict) or value is None:
            return self.masked(value)
        items = value if isinstance(value, list) else [value]
        names = definition.signature.positional
        masked = [
            self.masked_member(names[index], item) if index < len(names) else self.masked(item)
            for index, item in enumerate(items)
        ]
        return masked if isinstance(value, list) else masked[0]


def _normal(name: str) -> str:
    return name.lower().replace("_", "-")


def _differ(one: object, other: object) -> bool:
    return one is not other


def _mask_url(found: re.Match[str]) -> str:
    """All between the first colon behind the scheme and the last @: more than the password at times, never
    less, for it may hold what should have been escaped."""
    scheme, _, rest = found[0].partition("://")
    place, at, host = rest.rpartition("@")
    user, colon, password = place.partition(":")
    return f"{scheme}://{user}:{MASK}@{host}" if at and colon and password else found[0]


def _mask_assigned(found: re.Match[str]) -> str:
    value = found[2]
    if value in _EMPTY:
        return found[0]
    quote = value[0] if value[0] in "\"'" else ""
    return f"{found[1]}{quote}{MASK}{quote}"
