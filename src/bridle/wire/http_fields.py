"""HTTP header fields: read by httptools, and written with a check that they are one line each."""

from __future__ import annotations

import re
from collections.abc import Iterable

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from bridle.core.errors import LocalProtocolError

__all__ = ["HEADER_COUNT", "TOKEN", "VISIBLE", "Fields", "Wrong", "write_fields"]

# Header fields of a message; browsers behind a few proxies send about 30.
HEADER_COUNT = 100

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
VISIBLE = rb"[^\x00-\x08\x0a-\x1f\x7f]"
_NAME = re.compile(TOKEN + rb"+")
_VALUE = re.compile(VISIBLE + rb"*")
_FOLD = re.compile(rb"\r\n[ \t]+")

# What httptools sees in place of the start line, by the version whose rules hold.
_START_LINES = {"1.1": b"POST / HTTP/1.1\r\n", "1.0": b"POST / HTTP/1.0\r\n"}

_COMMON = (
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
)
# The spellings that are met all the time need no decoding.
_NAMES = {form.encode(): name for name in (*_COMMON, "user-agent") for form in (name, name.title())}


# What a request says once or not at all (RFC 9110 §5.3): of two, a program in front of us may go by the one
# and we by the other. Two lengths are no header section to httptools, and encodings are counted.
_SINGLE = frozenset({"authorization", "content-type", "host", "origin"})


class Wrong(Exception):
    """The peer broke a rule: the status that a server answers, and a text for everyone else."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Fields:
    """The header fields of one message after another.

    ``headers`` has names in lower case, the last one of each; ``repeated`` is one that came again and that a
    request may have once, or empty; ``keep_alive`` is what Connection and the version say; ``complete`` is
    True once the empty line at the end has come.
    """

    def begin(self, version: str) -> None:
        """Forget what was; the fields of a message of this version follow."""
        self.headers: dict[str, str] = {}
        self.repeated: str = ""
        self.count: int = 0
        self._encodings = 0
        self.complete: bool = False
        self.keep_alive: bool = False
        self._parser = HttpRequestParser(self)
        self._parser.feed_data(_START_LINES[version])

    def feed(self, data: bytes) -> None:
        """Take a piece that ends where no continuation line (RFC 9112 §5.2) can follow.

        Raises:
            Wrong: this is no header section.
        """
        if b"\r\n " in data or b"\r\n\t" in data:
            data = _FOLD.sub(b" ", data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            pass  # offered, not demanded (RFC 9110 §7.8): the request is answered as it is
        except HttpParserError as error:
            raise Wrong(400, f"header section: {error}") from error

    def on_header(self, name: bytes, value: bytes) -> None:
        """For httptools."""
        self.count += 1
        known = _NAMES.get(name)
        if known is None:
            known = name.decode("latin-1").lower()
            self._encodings += known == "transfer-encoding"
        if known in self.headers and known in _SINGLE:
            self.repeated = known
        self.headers[known] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """For httptools."""
        self.complete = True
        self.keep_alive = self._parser.should_keep_alive()

    def length(self, limit: int, version: str) -> int | None:
        """The body's length in bytes: 0 if none is declared, None if it is chunked.

        Raises:
            Wrong: the length cannot be told, or is above ``limit``.
        """
        encoding = self.headers.get("transfer-encoding")
        if encoding is not None:
            self._check_encoding(encoding, version)
            return None
        try:
            length = int(self.headers.get("content-length", "0"))
        except ValueError as error:
            raise Wrong(400, "Content-Length is not a number") from error
        if length > limit:
            raise Wrong(413, f"body of {length} bytes, where {limit} are taken")
        return length

    def _check_encoding(self, encoding: str, version: str) -> None:
        if version == "1.0":
            raise Wrong(400, "Transfer-Encoding in HTTP/1.0")
        if encoding.strip().lower() != "chunked" or self._encodings > 1:
            raise Wrong(501, f"Transfer-Encoding '{encoding}', where only 'chunked', once, is known")


def write_fields(fields: Iterable[tuple[str, str]]) -> bytes:
    """Write header fields in the order given.

    Raises:
        LocalProtocolError: one of them is no header field, as it has a line break in it, for example.
    """
    return b"".join([_write_field(name, value) for name, value in fields])


def _write_field(name: str, value: str) -> bytes:
    try:
        name_bytes, value_bytes = name.encode("latin-1"), value.encode("latin-1")
    except UnicodeEncodeError:
        name_bytes = value_bytes = b""
    if not _NAME.fullmatch(name_bytes) or not _VALUE.fullmatch(value_bytes):
        raise LocalProtocolError(f"no header can have the name {name!r} and the value {value!r}")
    return b"%b: %b\r\n" % (name_bytes, value_bytes)
