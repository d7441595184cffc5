"""Access control lists: Kea's language (``facts/kea.md`` §3), and more that a rule may look at.

A rule is a name (``ALL``, ``NONE``, ``READ``, ``WRITE``, or one of ``access-control-lists``) or a map of one
entry: ``not`` with a rule, ``and`` and ``or`` with lists of rules, ``command`` or ``commands`` with names,
``access`` with ``read`` or ``write``, ``hook`` with a library's name (empty: none). Beyond Kea there are
``service`` with names of services (empty: the receiver itself), and ``argument`` (:mod:`.arguments`).

A rule matches, does not match, or cannot tell (None): an argument is missing or of another type than the rule
is about. ``not`` of what cannot be told cannot be told either. Whoever asks reads that as it is safe: an
accept list has to match, and a reject list has to be known not to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from bridle.access.arguments import read_argument
from bridle.access.questions import Question
from bridle.access.reading import Given

__all__ = [
    "DEPTH_LIMIT",
    "LISTS_LIMIT",
    "NAMES_LIMIT",
    "SIZE_LIMIT",
    "NamedCommand",
    "Rule",
    "RuleReader",
    "Test",
]

# Rules within each other, named lists included: more than anybody can follow, and well within the stack.
DEPTH_LIMIT = 32
# Rules that one list comes down to, those of the lists that it names included as often as it names them: what
# one decision may cost, in the worst case some milliseconds.
SIZE_LIMIT = 10_000
# Named lists of one configuration, and names in one list: Kea has some 220 commands.
LISTS_LIMIT = 1000
NAMES_LIMIT = 1000

# Names that a sentence about a rule tells before it says how many more there are.
_SHOWN = 5

Test: TypeAlias = Callable[[Question], bool | None]


class NamedCommand(msgspec.Struct, frozen=True):
    """A command that a configuration names, and where."""

    name: str
    position: str


class Rule(msgspec.Struct, frozen=True, eq=False):
    """A rule: what it says, and what it makes of a question. ``parts`` are the rules that it is made of."""

    text: str
    test: Test
    parts: tuple[Rule, ...] = ()
    depth: int = 1
    size: int = 1
    looks: bool = False


class RuleReader:
    """Reads rules. ``lists`` are the named lists of the configuration, read when they are first named."""

    def __init__(self, lists: Mapping[str, Given]) -> None:
        self.commands: list[NamedCommand] = []
        self._lists = lists
        self._read: dict[str, Rule] = dict(_PREDEFINED)
        self._open: list[str] = []

    def all(self) -> None:
        """Read the named lists that no role names, so that what is wrong in them is told as well.

        Raises:
            ConfigurationError: with the position.
        """
        for name, given in self._lists.items():
            self._named(name, given)

    def read(self, given: Given, depth: int = 1) -> Rule:
        """Read one rule.

        Raises:
            ConfigurationError: it cannot be used; the position is that of the offending part.
        """
        if depth > DEPTH_LIMIT:
            raise given.error(f"access lists are nested more than {DEPTH_LIMIT} deep")
        if isinstance(given.value, str):
            return self._bounded(given, self._named(given.value, given, depth))
        if isinstance(given.value, dict) and "argument" in given.value:
            text, test = read_argument(given)
            return Rule(text, test, looks=True)
        kind, parameter = given.single("an access list")
        if kind == "not":
            return self._bounded(given, _negation(self.read(parameter, depth + 1)))
        if kind in ("and", "or"):
            parts = [self.read(item, depth + 1) for item in parameter.items(SIZE_LIMIT)]
            if not parts:
                raise parameter.error(f"'{kind}' needs at least one access list")
            return self._bounded(given, _conjunction(parts) if kind == "and" else _disjunction(parts))
        if kind in ("command", "commands"):
            return self._commands(parameter)
        if kind == "access":
            return _READ if parameter.choice("read", "write") == "read" else _WRITE
        if kind == "hook":
            return _hook(parameter)
        if kind == "service":
            return _service(parameter)
        raise parameter.error(f'got unexpected keyword "{kind}" in an access list')

    def _bounded(self, given: Given, rule: Rule) -> Rule:
        if rule.depth > DEPTH_LIMIT:
            raise given.error(f"access lists are nested more than {DEPTH_LIMIT} deep")
        if rule.size > SIZE_LIMIT:
            raise given.error(f"an access list comes down to more than {SIZE_LIMIT} rules")
        return rule

    def _named(self, name: str, given: Given, depth: int = 1) -> Rule:
        known = self._read.get(name)
        if known is not None:
            return known
        if name not in self._lists:
            raise given.error(f"unknown access control list '{name}'")
        if name in self._open:
            cycle = " -> ".join([*self._open[self._open.index(name) :], name])
            raise given.error(f"access control lists refer to each other in a circle: {cycle}")
        self._open.append(name)
        target = self.read(self._lists[name], depth + 1)
        self._open.pop()
        rule = Rule(name, target.test, (target,), target.depth + 1, target.size + 1, target.looks)
        self._read[name] = self._bounded(self._lists[name], rule)
        return rule

    def _commands(self, given: Given) -> Rule:
        items = list(given.items(NAMES_LIMIT))
        names = [item.string() for item in items]
        self.commands += map(NamedCommand, names, (item.position for item in items))
        wanted = frozenset(names)
        return Rule(f"commands {shown(names)}", lambda question: question.name in wanted)


def shown(names: Sequence[str]) -> str:
    """Some names, for a sentence."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more if names else "(none)"


def _service(given: Given) -> Rule:
    items = list(given.one_or_more(NAMES_LIMIT))
    for item in items:
        if not isinstance(item.value, str):
            raise item.wrong_type()
    names = [str(item.value) for item in items]
    wanted = frozenset(names)
    return Rule(
        f"service {shown([name or '(itself)' for name in names])}", lambda asked: asked.service in wanted
    )


def _hook(given: Given) -> Rule:
    if not isinstance(given.value, str):
        raise given.wrong_type()
    wanted = given.value

    def test(question: Question) -> bool | None:
        return None if question.hook is None else question.hook == wanted

    return Rule(f"hook '{wanted}'", test)


def _negation(part: Rule) -> Rule:
    inner = part.test

    def test(question: Question) -> bool | None:
        found = inner(question)
        return None if found is None else not found

    return Rule("not", test, (part,), part.depth + 1, part.size + 1, part.looks)


def _conjunction(parts: Sequence[Rule]) -> Rule:
    tests = _cheapest_first(parts)

    def test(question: Question) -> bool | None:
        outcome: bool | None = True
        for inner in tests:
            found = inner(question)
            if found is False:
                return False
            if found is None:
                outcome = None
        return outcome

    return _joined("and", test, parts)


def _disjunction(parts: Sequence[Rule]) -> Rule:
    tests = _cheapest_first(parts)

    def test(question: Question) -> bool | None:
        outcome: bool | None = False
        for inner in tests:
            found = inner(question)
            if found is True:
                return True
            if found is None:
                outcome = None
        return outcome

    return _joined("or", test, parts)


def _joined(word: str, test: Test, parts: Sequence[Rule]) -> Rule:
    return Rule(
        word,
        test,
        tuple(parts),
        1 + max(part.depth for part in parts),
        1 + sum(part.size for part in parts),
        any(part.looks for part in parts),
    )


def _cheapest_first(parts: Sequence[Rule]) -> tuple[Test, ...]:
    """The order makes no difference to what comes out; what can be told without the arguments goes first."""
    return tuple(part.test for part in sorted(parts, key=lambda part: part.looks))


_READ = Rule("READ", lambda question: question.access == "read")
_WRITE = Rule("WRITE", lambda question: question.access == "write")
_PREDEFINED: Mapping[str, Rule] = {
    "ALL": Rule("ALL", lambda question: True),
    "NONE": Rule("NONE", lambda question: False),
    "READ": _READ,
    "WRITE": _WRITE,
}
PREDEFINED = frozenset(_PREDEFINED)
"""The names that Kea has defined."""
