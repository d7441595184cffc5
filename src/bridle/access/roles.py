"""Roles: what a role may do, and why.

A role decides as Kea's does (``facts/kea.md`` §3): the list that ``list-match-first`` names is asked first,
then the other; who matches neither gets what ``other-commands`` says. What an accept list cannot tell it does
not accept; what a reject list cannot tell it rejects.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Literal

import msgspec

from bridle.access.commands import CommandTable
from bridle.access.questions import Question
from bridle.access.rules import Rule
from bridle.core.manager import CommandDefinition
from bridle.core.messages import Command

__all__ = ["DECISIONS_LIMIT", "NAME_LIMIT", "Decision", "Role", "RoleRules"]

# Decisions that a role remembers, and the length of the names among them: names come from peers. It is enough
# for all commands of several services, and costs less than a megabyte.
DECISIONS_LIMIT = 2048
NAME_LIMIT = 128
# Characters of a rule that a sentence tells.
_SHOWN = 160


class Decision(msgspec.Struct, frozen=True):
    """Whether a command may be run. ``rule`` is a sentence for the log: it names the role and the rule.
    Nothing of it is for the peer. ``looked`` says that it goes for these arguments alone."""

    allowed: bool
    role: str
    rule: str
    looked: bool = False


class RoleRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a configuration says of a role. ``services`` are those that it is for, None: all; the empty name
    is the receiver itself."""

    accept: Rule | None = None
    reject: Rule | None = None
    others: Literal["accept", "reject"] = "reject"
    first: Literal["accept", "reject"] = "accept"
    filters: tuple[str, ...] = ()
    services: frozenset[str] | None = None
    reads_secrets: bool = False


class Role:
    """A role of a policy."""

    def __init__(self, name: str, rules: RoleRules, commands: CommandTable) -> None:
        self.name = name
        self.rules = rules
        self._commands = commands
        self._known: dict[tuple[str, str | None, CommandDefinition | None], Decision] = {}
        accept, reject = ("accept-commands", True, rules.accept), ("reject-commands", False, rules.reject)
        ordered = (accept, reject) if rules.first == "accept" else (reject, accept)
        self._lists = tuple((key, accepts, rule) for key, accepts, rule in ordered if rule is not None)

    @property
    def reads_secrets(self) -> bool:
        """Whether the role is shown secrets as they are."""
        return self.rules.reads_secrets

    def decide(
        self, command: Command, service: str | None = None, definition: CommandDefinition | None = None
    ) -> Decision:
        """Whether the role may run a command. ``service`` is whom it is for, None: the receiver itself, which
        knows the command by its ``definition``."""
        key = (command.name, service, definition)
        known = self._known.get(key)
        return known if known is not None else self._decide(key, command)

    def may_run(
        self, name: str, service: str | None = None, definition: CommandDefinition | None = None
    ) -> bool:
        """Whether there are arguments with which the role might run a command of that name."""
        question = self._question(Command(name), service, definition)
        return self._refusal(question) is None and self._judge(question, hopeful=True)[0]

    def explain(
        self, command: Command, service: str | None = None, definition: CommandDefinition | None = None
    ) -> Iterator[str]:
        """The rules that were looked at and what each made of the command, a line each, indented as they
        stand within each other; the last line is the decision."""
        question = self._question(command, service, definition)
        yield f"command '{command.name}': access {question.access}, {_hook(question)}"
        if self._refusal(question) is None:
            for key, accepts, rule in self._lists:
                yield f"{key}:"
                yield from _trace(rule, question, 1)
                verdict = rule.test(question)
                if verdict is True or (verdict is None and not accepts):
                    break
        decision = self.decide(command, service, definition)
        yield f"{'accepted' if decision.allowed else 'rejected'}: {decision.rule}"

    def _decide(self, key: tuple[str, str | None, CommandDefinition | None], command: Command) -> Decision:
        name, service, definition = key
        question = self._question(command, service, definition)
        refusal = self._refusal(question)
        if refusal is not None:
            return Decision(False, self.name, f"role '{self.name}' rejects {_quoted(name)}: {refusal}")
        allowed, reason = self._judge(question)
        verb = "accepts" if allowed else "rejects"
        rule = f"role '{self.name}' {verb} {_quoted(name)}: {reason}"
        decision = Decision(allowed, self.name, rule, question.looked)
        if not question.looked and len(name) <= NAME_LIMIT and len(service or "") <= NAME_LIMIT:
            if len(self._known) >= DECISIONS_LIMIT:
                self._known.clear()
            self._known[key] = decision
        return decision

    def _question(
        self, command: Command, service: str | None, definition: CommandDefinition | None
    ) -> Question:
        known = self._commands.find(command.name, definition)
        return Question(
            command,
            access=known.access if known is not None else "write",
            hook=known.hook if known is not None else "" if definition is not None else None,
            service=service,
            definition=definition,
        )

    def _refusal(self, question: Question) -> str | None:
        """Why no list is asked at all."""
        services = self.rules.services
        if services is not None and question.service not in services:
            where = f"service {_quoted(question.service)}" if question.service else "the receiver itself"
            return f"the role is not for {where}"
        name = question.name
        if name.isascii() and name.isprintable() and name == name.strip():
            return None
        # A daemon behind us may cut such a name, and run what is left of it.
        odd = name != name.strip() or any(unicodedata.category(character) == "Cc" for character in name)
        return "a name with control characters or blanks around it is no command's" if odd else None

    def _judge(self, question: Question, *, hopeful: bool = False) -> tuple[bool, str]:
        untold = ""
        for key, accepts, rule in self._lists:
            verdict = rule.test(question)
            if verdict is None and accepts is not hopeful:
                untold = f"{key} cannot tell that it matches ({describe(rule)}), "
            if verdict is None and accepts is hopeful:
                told = "might match" if hopeful else "cannot tell that it does not match"
                return accepts, f"{key} {told}: {describe(rule)}"
            if verdict is True:
                return accepts, f"{key} matches: {describe(rule)}"
        others = self.rules.others
        return others == "accept", f"{untold}no list matches, and other-commands is {others}"


def describe(rule: Rule) -> str:
    """A rule in a few words."""
    text = _text(rule)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _text(rule: Rule) -> str:
    if rule.text == "not":
        return f"not ({_text(rule.parts[0])})"
    if rule.text in ("and", "or"):
        parts = []
        for part in rule.parts:
            parts.append(f"({_text(part)})" if part.text in ("and", "or") else _text(part))
            if sum(map(len, parts)) > _SHOWN:
                break
        return f" {rule.text} ".join(parts)
    return rule.text


def _trace(rule: Rule, question: Question, depth: int) -> Iterator[str]:
    verdict = {True: "matches", False: "does not match", None: "cannot tell"}[rule.test(question)]
    yield f"{'  ' * depth}{rule.text}: {verdict}"
    for part in rule.parts:
        yield from _trace(part, question, depth + 1)


def _hook(question: Question) -> str:
    if question.hook is None:
        return "of a library that is not known"
    return f"of the library '{question.hook}'" if question.hook else "of no library"


def _quoted(name: str) -> str:
    """A name that a peer has sent, harmless in a log."""
    return ascii(name if len(name) <= NAME_LIMIT else f"{name[:NAME_LIMIT]}…")
