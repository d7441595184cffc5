"""The ``bngblaster`` dialect: BNG Blaster's control socket (``facts/bngblaster.md`` §1).

A connection carries one request and its answer, which comes as soon as the request's last bracket has::

    {"command": "session-info", "arguments": {"session-id": 1}}
    {"status": "ok", "code": 200, "session-info": {"type": "pppoe", …}}

An answer's value stands under the command's name, or one that the answer brings along; a text is its
``message``.

A client may ask to keep the connection, by a member of the request that BNG Blaster itself ignores:
``"keep-alive": true``. A server that keeps it ends its answer with a newline, which BNG Blaster never does,
and takes another request then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from msgspec import UNSET, Raw

from bridle.core.errors import RemoteProtocolError, UnknownCommandError
from bridle.core.messages import JSON, LOCAL, Command, Event, Peer, Response
from bridle.core.results import Result, from_status, row
from bridle.wire.bngblaster_json import Framer, decode, decode_whole, encode
from bridle.wire.dialect import Dialect, Message, Refusal

__all__ = [
    "ANSWER_LIMIT",
    "DIALECT",
    "IDLE_TIMEOUT",
    "REQUEST_LIMIT",
    "BngBlasterClient",
    "BngBlasterForwarder",
    "BngBlasterServer",
    "encode_request",
]

# Bytes of one request: the same as of the kea dialect. BNG Blaster itself has no limit since 0.7.
REQUEST_LIMIT = 32 * 1024 * 1024
# Bytes of one answer that a client takes: a million sessions are about 500 MB.
ANSWER_LIMIT = 512 * 1024 * 1024
# Seconds of silence. A silent client holds up the real program for ever, and all other clients with it.
IDLE_TIMEOUT = 10.0
# Seconds between two requests of a client that asked to keep its connection.
KEPT_IDLE_TIMEOUT = 60.0

_ENVELOPE = frozenset({"status", "code", "message"})
_BLANKS = b" \t\r\n"


class BngBlasterServer:
    """The server's side of one stream."""

    def __init__(self, peer: Peer = LOCAL) -> None:
        self._peer = peer
        self._framer = Framer()
        self._held = bytearray()
        self._keep = False
        self._answered = False
        self._deaf = False
        self.closing: bool = False
        self.trailing: bool = False

    @property
    def idle_timeout(self) -> float:
        """Seconds of silence to bear."""
        return KEPT_IDLE_TIMEOUT if self._keep and not self._held else IDLE_TIMEOUT

    def receive(self, data: bytes) -> Sequence[Message]:
        """Take bytes; give the requests they complete."""
        messages: list[Message] = []
        position = 0
        if not (self._held or self._framer.begun or self._deaf):
            # Mostly a request comes as a whole, alone.
            whole = decode_whole(data)
            if whole is not None:
                messages.append(self._read(whole, len(data)))
                position = len(data.rstrip())
        while position < len(data) and not self._deaf:
            try:
                end = self._framer.push(data, position)
            except RemoteProtocolError as wrong:
                return [*messages, self._refusal(wrong.text)]
            if end is None:
                self._held += memoryview(data)[position:]
                if len(self._held) > REQUEST_LIMIT:
                    error = f"request too large: at most {REQUEST_LIMIT} bytes are taken"
                    messages.append(self._refusal(error))
                return messages
            text = bytes(self._held) + data[position:end]
            self._held.clear()
            self._framer = Framer()
            messages.append(self._request(text))
            position = end
        # Whatever follows is left unread by nobody: that would turn the end into a reset.
        self.trailing = self.trailing or position < len(data)
        return messages

    def _request(self, text: bytes) -> Message:
        try:
            value = decode(text)
        except RemoteProtocolError as error:
            return self._refusal(error.text)
        return self._read(value, len(text))

    def _read(self, value: JSON, size: int) -> Message:
        name = value.get("command") if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(name, str):
            return self._refusal("invalid request")
        arguments = value.get("arguments")
        if arguments is not None and not isinstance(arguments, dict):
            return self._refusal("invalid arguments: an object is expected")
        self._keep = value.get("keep-alive") is True
        self._deaf = not self._keep
        return Command(name, UNSET if arguments is None else arguments, self._peer, size=size)

    def _refusal(self, text: str) -> Refusal:
        self._deaf = self.closing = self.trailing = True
        return Refusal(_answer(Response(Result.ERROR, text), ""))

    def receive_eof(self) -> Sequence[Message]:
        """The client sends no more: a request that is not whole, or none at all, is no JSON."""
        if self._deaf or (self._keep and not self._held):
            return ()
        self._held.clear()
        return (self._refusal("invalid json"),)

    def expire(self) -> bytes:
        """End a silent conversation; with a word where a request is missing."""
        self._deaf = self.closing = True
        if self._keep and not self._held:
            return b""
        return _answer(Response(Result.ERROR, "request timeout", code=408), "")

    def respond(self, command: Command, response: Response) -> bytes:
        """Write an answer; the conversation ends with it unless the client asked to keep it."""
        answer = _answer(response, command.name)
        if self._keep:
            return answer + b"\n"
        self.closing = True
        return answer

    def refuse(self, text: str) -> bytes:
        """An answer without a request, and the end."""
        self._deaf = self.closing = True
        return _answer(Response(Result.FATAL, text), "")

    def notify(self, event: Event) -> bytes:
        """BNG Blaster's control socket has no form for events."""
        return b""


def _answer(response: Response, name: str) -> bytes:
    line = row(response.result)
    answer: dict[str, object] = {
        "status": line.status,
        "code": line.code if response.code is None else response.code,
    }
    text = "unknown command" if isinstance(response.error, UnknownCommandError) else response.text
    if text is not None:
        answer["message"] = text
    value: object = response.arguments
    if type(value) is Raw:
        value = response.value
    if value is not UNSET and value is not None:
        answer[response.key or name] = value
    return encode(answer)


class _Answers:
    """Cuts answers out of a stream, and sees whether the server keeps the connection."""

    def __init__(self) -> None:
        self._framer = Framer()
        self._held = bytearray()
        self.kept: bool = False

    @property
    def empty(self) -> bool:
        """True while nothing of an answer has come."""
        return not (self._held or self._framer.begun)

    def receive(self, data: bytes) -> list[bytes]:
        """Take bytes; give the answers they complete."""
        answers: list[bytes] = []
        position = 0
        while position < len(data):
            if self.empty and data[position] in _BLANKS:
                # What follows an answer is the sign that the connection is kept.
                self.kept = self.kept or data[position : position + 1] == b"\n"
                position += 1
                continue
            end = self._framer.push(data, position)
            if end is None:
                self._held += memoryview(data)[position:]
                if len(self._held) > ANSWER_LIMIT:
                    raise RemoteProtocolError(f"the answer is too large: more than {ANSWER_LIMIT} bytes")
                break
            answers.append(bytes(self._held) + data[position:end])
            self._held.clear()
            self._framer = Framer()
            position = end
        return answers

    def receive_eof(self) -> None:
        """The server has closed.

        Raises:
            RemoteProtocolError: in the middle of an answer.
        """
        self.kept = False
        if not self.empty:
            raise RemoteProtocolError("End of file", bytes(self._held[:64]))


class BngBlasterClient:
    """The client's side of one stream. With ``keep`` it asks the server to keep the connection."""

    def __init__(self, keep: bool = False) -> None:
        self._keep = keep
        self._asked = ""
        self._answers = _Answers()

    @property
    def reusable(self) -> bool:
        """True once the server has shown that it keeps the connection, while nothing came unasked."""
        return self._answers.kept and self._answers.empty

    def request(self, command: Command) -> bytes:
        """Write a request."""
        self._asked = command.name
        arguments = command.arguments
        self._answers.kept = False
        return encode_request(command.name, None if arguments is UNSET else arguments, keep=self._keep)

    def receive(self, data: bytes) -> Sequence[Response]:
        """Take bytes; give the answers they complete."""
        return [self._read(text) for text in self._answers.receive(data)]

    def _read(self, text: bytes) -> Response:
        value = decode(text)
        if not isinstance(value, dict):
            raise RemoteProtocolError("the answer is no object", text[:64])
        status, code = value.get("status"), value.get("code")
        if not isinstance(status, str) or type(code) is not int:
            raise RemoteProtocolError("the answer has no status and code", text[:64])
        message = value.get("message")
        message = message if isinstance(message, str) else None
        result = from_status(status, code, unknown_command=message == "unknown command")
        members = {name: item for name, item in value.items() if name not in _ENVELOPE}
        # The value stands under the command's name, or the one that it had in BNG Blaster 0.5.
        key, arguments = next(iter(members.items())) if len(members) == 1 else (None, members or UNSET)
        key = None if key == self._asked else key
        return Response(result, message, cast(JSON, arguments), code=code if result else None, key=key)

    def receive_eof(self) -> Sequence[Response]:
        """The server has closed.

        Raises:
            RemoteProtocolError: in the middle of an answer.
        """
        self._answers.receive_eof()
        return ()


class BngBlasterForwarder:
    """The client's side for texts that are only passed on: a request that is encoded, the answer as it came.

    What comes back is known to end where it does, not to be JSON.
    """

    def __init__(self) -> None:
        self._answers = _Answers()

    @property
    def reusable(self) -> bool:
        """True once the server has shown that it keeps the connection, while nothing came unasked."""
        return self._answers.kept and self._answers.empty

    def request(self, text: bytes) -> bytes:
        """Write a request, which :func:`encode_request` has encoded."""
        self._answers.kept = False
        return text

    def receive(self, data: bytes) -> Sequence[bytes]:
        """Take bytes; give the answers they complete."""
        return self._answers.receive(data)

    def receive_eof(self) -> Sequence[bytes]:
        """The server has closed.

        Raises:
            RemoteProtocolError: in the middle of an answer.
        """
        self._answers.receive_eof()
        return ()


def encode_request(name: str, arguments: object, *, keep: bool) -> bytes:
    """Write a request; arguments that are None are left out. ``keep`` asks to keep the connection."""
    request: dict[str, object] = {"command": name}
    if arguments is not None:
        request["arguments"] = arguments
    if keep:
        request["keep-alive"] = True
    return encode(request)


DIALECT = Dialect("bngblaster", ("unix", "tcp"), BngBlasterServer, BngBlasterClient)
