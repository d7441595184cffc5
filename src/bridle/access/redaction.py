"""Secrets are masked: in answers to roles that may not read them, and in logs and the audit always.

What is a secret is known by its name: a member of a map whose name is, or ends in, ``password``, ``secret``,
``token`` and the like (:mod:`.secret_names`), and whatever a daemon (:attr:`bridle.Daemon.secrets`) or a
configuration (``secrets``) names besides. Names of files (``password-file``) are none. In any text, passwords
of URLs and of connection strings are masked where they stand, and private keys (:mod:`.secret_texts`). What
has no value, and booleans, are left.

Values are looked into whatever they are made of: what is no JSON yet is made JSON first.

A masked configuration can be sent back: :mod:`.restoring` puts the secrets in their places.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import cast

import msgspec
from msgspec import UNSET, Raw, UnsetType

from bridle.access.secret_names import COUNTED, ENDINGS, normal_name
from bridle.access.secret_texts import MASK, SHORTEST, TRACES, TextMask
from bridle.core.errors import BridleError
from bridle.core.manager import CommandDefinition
from bridle.core.messages import JSON, Command, Response, ScannedArguments
from bridle.core.results import Result

__all__ = ["MASK", "UNREADABLE", "Redaction"]

UNREADABLE = "(unreadable)"
"""What is told of arguments that cannot be read, and so not be masked."""

# Names that are remembered as secrets or not, and their length: they come from peers.
_NAMES_LIMIT = 4096
_NAME_LIMIT = 128
# Texts that were looked at and hold no secret, and their length: answers say the same again and again.
_TEXTS_LIMIT = 1024
_TEXT_LIMIT = 512
# What has no parts, and is no text.
_PLAIN = frozenset({int, float, bool, type(None)})
# What JSON is made of.
_BUILTINS = (str, int, float, dict, list, tuple, Raw, type(None))
# Escapes that may hide a name or a URL from a look at the bytes.
_ESCAPES = (b"\\u", b"\\/")

_log = logging.getLogger("bridle.access")


class Redaction:
    """Knows secrets by their names. ``names`` are those besides the ones that everybody has."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names: frozenset[str] = frozenset(map(normal_name, names))
        self._known: dict[str, bool] = {}
        self._clean: set[str] = set()
        self._texts = TextMask(self.names)
        traces = {*TRACES, *(stem.encode() for stem in self._texts.stems)}
        # What holds another trace adds nothing.
        least = [one for one in sorted(traces) if not any(other != one and other in one for other in traces)]
        # One search: to look for each takes three times as long in short texts, and as long in long ones.
        self._trace = re.compile(b"|".join(map(re.escape, least)))
        self._ascii = all(map(str.isascii, self.names))

    def is_secret(self, name: str) -> bool:
        """Whether the value of that name is a secret."""
        known = self._known.get(name)
        if known is None:
            normal = normal_name(name)
            bare = normal.rstrip("0123456789").rstrip("-")
            known = bare.endswith(ENDINGS) or bare in self.names or normal in self.names
            if len(self._known) < _NAMES_LIMIT and len(name) <= _NAME_LIMIT:
                self._known[name] = known
        return known

    def may_hold_secrets(self, text: bytes) -> bool:
        """A fast look at a JSON text: False where there is certainly nothing to mask in it."""
        if _escapes(text) or not (self._ascii or text.isascii()):
            return True  # a name may be written with escapes, or with capitals that bytes do not know
        return self._trace.search(text.lower()) is not None

    def masked(self, value: JSON) -> JSON:
        """The value with its secrets masked; the same object where there are none.

        Raises:
            msgspec.DecodeError: a JSON text in it cannot be read.
            TypeError: something in it has no place in JSON.
        """
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
        if isinstance(value, list | tuple):
            items = [self.masked(item) for item in value]
            return items if any(map(_differ, items, value)) else value
        return value if type(value) in _PLAIN else self._masked_other(value)

    def _masked_other(self, value: object) -> JSON:
        """What JSON is to be made of, masked: a JSON text, a structure, bytes and the like."""
        if isinstance(value, Raw):
            return cast(JSON, self.masked_raw(value))
        if isinstance(value, bytes | bytearray | memoryview):
            text = bytes(value).decode("utf-8", "replace")
            masked = self.masked_text(text)
            return cast(JSON, value) if masked is text else masked
        if isinstance(value, int | float):
            return cast(JSON, value)
        plain = msgspec.to_builtins(value, str_keys=True)
        if not isinstance(plain, _BUILTINS):
            raise TypeError(f"{type(value).__name__} has no place in JSON")
        whole = self.masked(cast(JSON, plain))
        return cast(JSON, value) if whole is plain else whole

    def masked_member(self, name: str, value: JSON) -> JSON:
        """The value of that name, masked."""
        if not isinstance(name, str):
            name = str(name)  # a number, of a map that JSON will not have, but other dialects may
        if not self.is_secret(name) or self._counted(name, value):
            return self.masked(value)
        return value if value is None or isinstance(value, bool) or value in ("", [], (), {}) else MASK

    @staticmethod
    def _counted(name: str, value: JSON) -> bool:
        return isinstance(value, str | int | float) and normal_name(name) == COUNTED

    def masked_text(self, text: str) -> str:
        """A text with the secrets in it masked that can be told by how they are written: passwords of URLs,
        ``password=…``, bearer tokens, private keys."""
        short = len(text) < SHORTEST and ":" not in text and "=" not in text
        masked = text if short else self._texts.masked(text)
        if masked is text and len(text) <= _TEXT_LIMIT:
            if len(self._clean) < _TEXTS_LIMIT:
                self._clean.add(text)
            elif not short:
                self._clean.clear()
        return masked

    def masked_raw(self, text: Raw) -> Raw:
        """A JSON text with its secrets masked; the same where there are none.

        Raises:
            msgspec.DecodeError: it cannot be read.
        """
        data = bytes(text)
        if not self.may_hold_secrets(data):
            return text
        value: JSON = msgspec.json.decode(text)
        masked = self.masked(value)
        written = msgspec.json.encode(masked)
        if masked is not value or not self._holds_the_same(data, written):
            return Raw(written)
        return text

    def _holds_the_same(self, text: bytes, written: bytes) -> bool:
        """Whether nothing that may be a secret is in a text that was not in what it was decoded to: of two
        members of a name only the last is looked at, and the other is not to be shown either."""
        if text == written:
            return True
        if _escapes(text) or not (self._ascii or text.isascii()):
            return False
        find = self._trace.findall
        return find(text.lower()) == find(written.lower())

    def masked_response(self, response: Response) -> Response:
        """An answer with the secrets in its arguments masked. One that cannot be read is not shown."""
        try:
            # What most answers are: a text, and a map, that were looked at before.
            arguments, text, clean, known = response.arguments, response.text, self._clean, self._known
            if text is None or text in clean:
                if arguments is UNSET:
                    return response
                if isinstance(arguments, dict):
                    for name, item in arguments.items():
                        kind = type(item)
                        if known.get(name) is not False or not (
                            item in clean if kind is str else kind in _PLAIN
                        ):
                            break
                    else:
                        return response
            return self._masked_response(response)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            return self._unshown(error)
        except Exception as error:  # whatever values a handler returns: what is not looked into is not shown
            _log.exception("an answer cannot be shown")
            return self._unshown(error)

    def _unshown(self, error: Exception) -> Response:
        text = f"the answer cannot be shown: {self.masked_text(str(error))}"
        return Response(Result.ERROR, text, error=error)

    def _masked_response(self, response: Response) -> Response:
        arguments, text = response.arguments, response.text
        masked_text = None if text is None else self.masked_text(text)
        if masked_text is not text:
            response = msgspec.structs.replace(response, text=masked_text)
        if arguments is UNSET or arguments is None:
            return response
        masked = self.masked_raw(arguments) if isinstance(arguments, Raw) else self.masked(arguments)
        if masked is arguments:
            return response
        return msgspec.structs.replace(response, arguments=masked)

    def masked_arguments(
        self,
        command: Command,
        definition: CommandDefinition | None = None,
        *,
        shows_unnamed: bool = True,
    ) -> JSON | UnsetType:
        """A command's arguments for a log: decoded and masked. Positional ones are known to be secrets by the
        ``definition``'s parameters; without one any may be, and unless ``shows_unnamed`` texts and numbers
        among them are masked. :data:`UNREADABLE` where they cannot be read."""
        try:
            body: object = command.body
            if isinstance(body, ScannedArguments) and definition and not definition.signature.unchecked:
                value = cast("JSON | UnsetType", body.scan(definition.signature.expected))
            else:
                value = command.arguments
            if value is UNSET:
                return UNSET
            if definition is None and not shows_unnamed:
                return self._without_unnamed(value)
            return self._masked_positions(value, definition)
        except (BridleError, msgspec.MsgspecError, TypeError, ValueError, RecursionError):
            return UNREADABLE

    def _without_unnamed(self, value: JSON) -> JSON:
        if isinstance(value, list | tuple):
            return [self._without_unnamed(item) for item in value]
        if value is None or isinstance(value, bool | dict) or value == "":
            return self.masked(value)
        return MASK

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


def _escapes(text: bytes) -> bool:
    return any(escape in text for escape in _ESCAPES)


def _differ(one: object, other: object) -> bool:
    return one is not other
