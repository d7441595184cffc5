"""The client classes of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any

from bridle.bundled.dhcp import grammars
from bridle.bundled.dhcp.expressions import ExpressionError, compile_test, members_of
from bridle.bundled.dhcp.grammar import Path
from bridle.bundled.dhcp.option_settings import context_of, read_definitions
from bridle.bundled.dhcp.scope_settings import ScopeReader
from bridle.bundled.dhcp.settings import ClientClass, Lifetime
from bridle.core.errors import ConfigurationError
from bridle.core.messages import JSON

__all__ = ["ClassReader"]

_KNOWN_CLASSES = frozenset({"ALL", "KNOWN", "UNKNOWN", "BOOTP"})
_CLASS_PREFIXES = ("VENDOR_CLASS_", "HA_", "AFTER_", "EXTERNAL_", "SKIP_")
_BOUNDS = {
    kind: frozenset({f"min-{kind}-lifetime", f"max-{kind}-lifetime"}) for kind in ("valid", "preferred")
}


class ClassReader(ScopeReader):
    """Reads the client classes."""

    def classes(self) -> tuple[ClientClass, ...]:
        """The client classes, in order."""
        if "client-classes" not in self.given:
            return ()
        found: dict[str, ClientClass] = {}
        described = []
        for index, item in enumerate(
            self.maps(self.given, "client-classes", grammars.CLASS[self.protocol], self.path)
        ):
            path: Path = [*self.path, "client-classes", index]
            name = item.get("name", "")
            if not name:
                text = (
                    "not empty parameter 'name' is required" if "name" in item else "missing parameter 'name'"
                )
                raise self.error(text, path)
            if name in found:
                raise self.error(f"Can't add class: Client Class: {name} has already been defined", path)
            one, told = self._class(item, path, found)
            found[name] = one
            described.append(told)
        self.value["client-classes"] = described
        return tuple(found.values())

    def _class(
        self, item: dict[str, Any], path: Path, before: Mapping[str, ClientClass]
    ) -> tuple[ClientClass, dict[str, JSON]]:
        own, told_definitions = read_definitions(self, item, path, self.protocol)
        for index, definition in enumerate(own):
            # Only private options and the content of option 43 can mean another thing for each class.
            if definition.space != "dhcp4" or not (definition.code == 43 or 224 <= definition.code <= 254):
                text = f"Not allowed option definition for code '{definition.code}' in space"
                raise self.error(f"{text} '{definition.space}'", [*path, "option-def", index])
        options, told_options = self.options(item, path, self.definitions.extended(own))
        test, asked = self._test(item, path, before)
        one = ClientClass(
            item["name"],
            test,
            item.get("only-if-required", False),
            any(
                name in ("KNOWN", "UNKNOWN") or (name in before and before[name].depends_on_known)
                for name in asked
            ),
            options,
            self.address4(item, "next-server", path),
            item.get("server-hostname", ""),
            item.get("boot-file-name", ""),
            self._class_lifetime(item, "valid", path),
            self._class_lifetime(item, "preferred", path),
        )
        hidden = {"comment", "user-context", *_BOUNDS["valid"], *_BOUNDS["preferred"]}
        told = {key: value for key, value in item.items() if key not in hidden}
        if not told.get("only-if-required", True):
            del told["only-if-required"]
        for kind, lifetime in (("valid", one.valid), ("preferred", one.preferred)):
            told.update(_tell_lifetime(kind, lifetime))
        told["option-data"] = told_options
        if self.protocol == 4:
            defaults: dict[str, JSON] = {
                "boot-file-name": "",
                "next-server": "0.0.0.0",
                "server-hostname": "",
            }
            told = {**defaults, **told, "option-def": told_definitions}
        return one, {**told, **context_of(item)}

    def _test(
        self, item: Mapping[str, Any], path: Path, before: Mapping[str, ClientClass]
    ) -> tuple[Callable[..., bool] | None, list[str]]:
        """The test of a class, and the classes that it asks for."""
        if "test" not in item:
            return None, []
        expression, where = item["test"], [*path, "test"]
        if item["name"] in _KNOWN_CLASSES:
            raise self.error(f"built-in class '{item['name']}' test expression must be empty", where)
        try:
            test = compile_test(expression, self.protocol, self.definitions, classes=_Askable(before))
        except ExpressionError as error:
            position = self.document.locate(where)
            text = f"expression: [{expression}] error: {error}{' at' if position else ''}"
            raise ConfigurationError(text, path=where, position=position) from error
        return test, members_of(expression)

    def _class_lifetime(self, item: Mapping[str, Any], kind: str, path: Path) -> Lifetime | None:
        keys = (f"{kind}-lifetime", f"min-{kind}-lifetime", f"max-{kind}-lifetime")
        return self.lifetime(item, kind, path) if any(key in item for key in keys) else None


class _Askable:
    """The classes that a test may ask for: those before it, and those that come from elsewhere."""

    def __init__(self, before: Container[str]) -> None:
        self._before = before

    def __contains__(self, name: object) -> bool:
        if name in self._before or name in _KNOWN_CLASSES:
            return True
        return isinstance(name, str) and name.startswith(_CLASS_PREFIXES)


def _tell_lifetime(kind: str, lifetime: Lifetime | None) -> dict[str, JSON]:
    """A class's lifetime: bounds only where they leave a choice."""
    if lifetime is None:
        return {}
    told: dict[str, JSON] = {f"{kind}-lifetime": lifetime.default}
    if lifetime.minimum < lifetime.default:
        told[f"min-{kind}-lifetime"] = lifetime.minimum
    if lifetime.maximum > lifetime.default:
        told[f"max-{kind}-lifetime"] = lifetime.maximum
    return told
