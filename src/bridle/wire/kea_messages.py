"""The messages of Kea's control channel as texts: commands, answers, and what an agent passes on.

How texts are cut out of a stream is the business of :mod:`bridle.wire.kea` and :mod:`bridle.wire.kea_client`;
inside HTTP they are the whole body (:mod:`bridle.wire.kea_http`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import msgspec
from msgspec import UNSET, Raw, UnsetType

from bridle.core.errors import ProtocolError, RemoteProtocolError
from bridle.core.messages import JSON, Command, Path, Peer, Response
from bridle.wire import kea_json, kea_reader
from bridle.wire.kea_feed import Feed, FeedError

__all__ = [
    "WRONG",
    "EnvelopeError",
    "Text",
    "addressed_services",
    "check_answer",
    "decode_answer",
    "encode_answer",
    "encode_command",
    "encode_forwarded",
    "other_members",
    "read_command",
    "read_plain_command",
]

WRONG = "Error during command processing: "
"""How Kea begins the text of an answer to what is no command (``facts/kea.md`` §1.5)."""
_ENVELOPE_KEYS = ("arguments", "command", "remote-address", "service")


class EnvelopeError(ProtocolError):
    """A message is JSON, but no command. Its text is Kea's (``facts/kea.md`` §1.5)."""


class _Envelope(msgspec.Struct, forbid_unknown_fields=True, rename={"remote_address": "remote-address"}):
    command: str
    arguments: Raw | UnsetType = UNSET
    service: Raw | UnsetType = UNSET
    remote_address: Raw | UnsetType = UNSET


class _Answer(msgspec.Struct):
    result: int
    text: str | None = None
    arguments: Raw | UnsetType = UNSET


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_raw = msgspec.json.Decoder(Raw).decode


class Text:
    """A command's text: says where its values stand, once somebody asks."""

    __slots__ = ("_first_line", "_name", "_text")

    def __init__(self, text: bytes, name: str, first_line: int) -> None:
        self._text = text
        self._name = name
        self._first_line = first_line

    def locate(self, path: Path) -> str:
        """Where the value at ``path`` stands, in Kea's form: ``<wire>:0:44``."""
        return kea_reader.read(self._text, name=self._name, first_line=self._first_line).locate(path)


def read_command(
    text: bytes, peer: Peer, *, name: str = "<wire>", first_line: int = 0, size: int | None = None
) -> Command:
    """Read a whole command. ``name`` and ``first_line`` are what its error positions are told in; ``size`` is
    how many bytes it had, where the text is less than that.

    Raises:
        KeaSyntaxError: it is not JSON.
        EnvelopeError: it is JSON, but not a command.
    """
    size = len(text) if size is None else size
    command = read_plain_command(text, peer, name, first_line, size)
    if command is not None:
        return command
    reading = kea_reader.read(text, name=name, first_line=first_line)
    envelope = reading.value
    _check_envelope(envelope)
    fields = cast("dict[str, JSON]", envelope)
    body = fields.get("arguments", UNSET)
    service = fields.get("service", UNSET)
    command_name = cast(str, fields["command"])
    return Command(command_name, body, peer, _names(service), reading, service, size=size)


def read_plain_command(text: bytes, peer: Peer, name: str, first_line: int, size: int) -> Command | None:
    """Read a command that is strict JSON and a proper envelope: nearly all are. None: look closer."""
    if text.count(b"[") + text.count(b"{") > kea_reader.NESTING_LIMIT and _is_too_deep(text):
        return None
    try:
        if not text.isascii():
            text.decode()  # what stands inside arguments is not looked at otherwise
        envelope = _decode_envelope(kea_json.mend_escapes(text))
        service: JSON | UnsetType = UNSET
        if envelope.service is not UNSET:
            service = msgspec.json.decode(envelope.service)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    body = envelope.arguments
    source = Text(text, name, first_line)
    return Command(envelope.command, body, peer, _names(service), source, service, size=size)


def _is_too_deep(text: bytes) -> bool:
    """Whether a text is nested beyond the limit, or is none that the framer understands."""
    try:
        return Feed(max(len(text), 1)).push(text) is None
    except FeedError:
        return True


def _names(service: JSON | UnsetType) -> tuple[str, ...]:
    """The services a command is meant for. Daemons ignore what they do not understand there (§1.5)."""
    if not isinstance(service, list):
        return ()
    return tuple(name for name in service if isinstance(name, str))


def _check_envelope(value: JSON) -> None:
    if not isinstance(value, dict):
        kind = kea_reader.type_name(value)
        raise EnvelopeError(f"invalid command: expected toplevel entry to be a map, got {kind} instead")
    if "command" not in value:
        raise EnvelopeError("invalid command: does not contain mandatory 'command'")
    for key in sorted(value):
        if key not in _ENVELOPE_KEYS:
            raise EnvelopeError(f"invalid command: unsupported parameter '{key}'")
    if not isinstance(value["command"], str):
        kind = kea_reader.type_name(value["command"])
        raise EnvelopeError(f"invalid command: expected 'command' to be a string, got {kind} instead")


def encode_command(command: Command) -> bytes:
    """Write a command as Kea writes one: its keys sorted, services only where there are some."""
    parts = [b"{ "]
    if command.body is not UNSET:
        parts += [b'"arguments": ', kea_json.encode(cast(JSON, command.body)), b", "]
    parts += [b'"command": ', kea_json.encode(command.name)]
    if command.services:
        parts += [b', "service": ', kea_json.encode(list(command.services))]
    parts.append(b" }")
    return b"".join(parts)


def encode_answer(response: Response, others: Mapping[str, JSON | Raw] | None = None) -> bytes:
    """Write a response as Kea writes one: ``{ "arguments": …, "result": 0, "text": … }``. ``others`` are
    members besides these, as :func:`other_members` finds them."""
    if others:
        members: dict[str, JSON | Raw] = {**others, "result": response.result}
        if response.text is not None:
            members["text"] = response.text
        if response.arguments is not UNSET:
            members["arguments"] = response.arguments
        return kea_json.encode(cast(JSON, members))
    text = b"" if response.text is None else b', "text": ' + kea_json.encode(response.text)
    if response.arguments is UNSET:
        return b'{ "result": %d%s }' % (response.result, text)
    arguments = kea_json.encode(cast(JSON, response.arguments))
    return b'{ "arguments": %s, "result": %d%s }' % (arguments, response.result, text)


def decode_answer(data: bytes) -> Response:
    """Read a response, of real Kea or of ours.

    Raises:
        RemoteProtocolError: it is not one.
    """
    data = kea_json.mend_escapes(data)
    try:
        answer = _decode_answer(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_odd_answer(data)
    return Response(answer.result, answer.text, answer.arguments)


def _decode_odd_answer(data: bytes) -> Response:
    value = kea_json.decode(data)
    result = value.get("result") if isinstance(value, dict) else None
    if not isinstance(value, dict) or type(result) is not int:
        raise RemoteProtocolError("the answer is not a map with an integer 'result'", data)
    text = value.get("text")
    return Response(result, text if isinstance(text, str) else None, value.get("arguments", UNSET))


def other_members(data: bytes) -> dict[str, JSON | Raw]:
    """What stands in an answer that :func:`decode_answer` reads, and is not in the response that it makes.

    Raises:
        RemoteProtocolError: it is no answer.
    """
    data = kea_json.mend_escapes(data)
    members: Mapping[str, JSON | Raw]
    try:
        members = _decode_members(data)
        text = members.get("text")
        told = isinstance(text, Raw) and bytes(text).startswith(b'"')
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = kea_json.decode(data)
        members = value if isinstance(value, dict) else {}
        told = isinstance(members.get("text"), str)
    return {
        name: value
        for name, value in members.items()
        if name not in ("result", "arguments") and not (told and name == "text")
    }


def addressed_services(command: Command) -> tuple[str, ...]:
    """The services that a command of this dialect is meant for; none means the receiver itself.

    Raises:
        EnvelopeError: ``service`` is not a list of strings; in Kea's words (``facts/kea.md`` §2.2).
    """
    if command.tag is UNSET or command.tag == []:
        return ()
    if not isinstance(command.tag, list):
        raise EnvelopeError("service value must be a list")
    for index, name in enumerate(command.tag):
        if not isinstance(name, str):
            where = command.locate(["service", index])
            raise EnvelopeError(f"{WRONG}stringValue() called on non-string Element in ({where})")
    return command.services


def encode_forwarded(command: Command) -> bytes:
    """Write a command as an agent passes it on: as it came, with the address of who sent it."""
    arguments = b""
    body = command.body
    if isinstance(body, Raw) and b"\\u" in bytes(body):
        # Kea knows no escapes but those of single bytes; as UTF-8 it understands the same text.
        body = command.arguments
    if body is not UNSET:
        arguments = b'"arguments": %s, ' % kea_json.encode(cast(JSON, body))
    return b'{ %s"command": %s, "remote-address": %s, "service": %s }' % (
        arguments,
        kea_json.encode(command.name),
        kea_json.encode(command.peer.address),
        kea_json.encode(list(command.services)),
    )


def check_answer(data: bytes) -> bytes:
    """An answer that can be passed on inside JSON: the same bytes nearly always.

    Raises:
        RemoteProtocolError: not even Kea would understand it.
    """
    try:
        _decode_raw(data)
        if not data.isascii():
            data.decode()  # what stands inside strings was not looked at yet
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return kea_json.encode(kea_json.decode(data))
    return data
