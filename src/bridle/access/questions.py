"""What rules are asked about: one command, of one peer, to one service.

A question answers from the command that is executed, never from its text, and from its arguments as a handler
sees them: decoded, the last of two equal keys, positions by the names of the parameters that they fill.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET, Raw

from bridle.core.errors import BridleError
from bridle.core.manager import Access, CommandDefinition
from bridle.core.messages import JSON, Command, ScannedArguments

__all__ = ["Question"]

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode


class Question:
    """A command, with what is known about it."""

    __slots__ = ("_command", "_definition", "_members", "access", "hook", "looked", "name", "service")

    def __init__(
        self,
        command: Command,
        *,
        access: Access,
        hook: str | None = "",
        service: str | None = None,
        definition: CommandDefinition | None = None,
    ) -> None:
        self.name: str = command.name
        self.access: Access = access
        self.hook: str | None = hook
        self.service: str = service or ""
        self.looked: bool = False
        """Whether a rule has looked at the arguments: then the answer goes for these alone."""
        self._command = command
        self._definition = definition
        self._members: Mapping[str, object] | None = None

    def values(self, path: Sequence[str]) -> list[JSON]:
        """The values that stand at a path of keys: several where it leads through lists, none where a part of
        it is missing or of another type anywhere."""
        self.looked = True
        try:
            if self._members is None:
                self._members = self._named()
            value = self._members.get(path[0], UNSET)
            if isinstance(value, Raw):
                value = msgspec.json.decode(value)
            found: list[JSON] = []
            return found if value is not UNSET and _follow(value, path[1:], found) else []
        except (BridleError, msgspec.MsgspecError, ValueError, RecursionError):
            return []

    def _named(self) -> Mapping[str, object]:
        """The arguments by name, as far as they have names."""
        body: object = self._command.body
        if isinstance(body, ScannedArguments):
            definition = self._definition
            checked = definition is not None and not definition.signature.unchecked
            body = body.scan(definition.signature.expected) if definition and checked else body.unscanned()
        if isinstance(body, Raw):
            try:
                return _decode_members(body)
            except msgspec.ValidationError:
                body = msgspec.json.decode(body)
        if isinstance(body, dict):
            return body
        if body is UNSET or body is None or self._definition is None:
            return {}
        given = body if isinstance(body, list) else [body]
        return dict(zip(self._definition.signature.positional, given, strict=False))


def _follow(value: object, path: Sequence[str], found: list[JSON]) -> bool:
    """Collect what stands at the path in a value; whether all of the way was there everywhere."""
    if isinstance(value, list):
        return bool(value) and all(_follow(item, path, found) for item in value)
    if not path:
        found.append(value)  # type: ignore[arg-type]
        return True
    return isinstance(value, dict) and path[0] in value and _follow(value[path[0]], path[1:], found)
