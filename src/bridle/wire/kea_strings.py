"""The inside of a JSON string as Kea writes and reads it: escapes, and UTF-8 escaped byte by byte.

Kea's strings are bytes, and it writes every byte from 0x80 on as ``\\u00XX`` (``facts/kea.md`` §1.3): what
left as ``é`` arrives as ``\\u00c3\\u00a9``. Both sides of the wire read such text through here.
"""

from __future__ import annotations

import re

import msgspec

__all__ = ["mend_escapes", "sound_length", "unescape"]

_SOUND = re.compile(
    rb"""(?: [^\\]++
           | \\ ["\\/bfnrt]
           | \\u (?![dD][89a-fA-F]) [0-9a-fA-F]{4}
           | \\u [dD][89abAB][0-9a-fA-F]{2} \\u [dD][c-fC-F][0-9a-fA-F]{2}
         ){1,1000}""",
    re.VERBOSE,
)
_BYTEWISE = re.compile(rb"\\\\|(?:\\u00[89a-fA-F][0-9a-fA-F])++")
_CONTROL = re.compile(rb"[\x00-\x1f]")


def mend_escapes(text: bytes) -> bytes:
    """Turn what was escaped byte by byte, anywhere in a JSON text, into the UTF-8 that it stands for.

    That is done to the longest runs of ``\\u0080`` to ``\\u00ff`` that are UTF-8 as a whole. Other runs stay:
    they are the characters that JSON takes them for.
    """
    return _BYTEWISE.sub(_join, text) if b"\\u00" in text else text


def sound_length(inside: bytes) -> int:
    """How far the inside of a string goes without a bad escape; half of a surrogate pair is one."""
    # In bounded steps: a group of alternatives that is possessive itself is wrong in Python before 3.11.5.
    length = 0
    while match := _SOUND.match(inside, length):
        length = match.end()
    return length


def unescape(inside: bytes) -> str:
    """The text of a string, given what stands between its quotes. Its escapes have to be sound.

    Raises:
        UnicodeDecodeError: the bytes are not UTF-8.
    """
    text = inside.decode()
    if "\\" not in text:
        return text
    strict = _CONTROL.sub(_escape, mend_escapes(inside))
    return msgspec.json.decode(b'"%b"' % strict, type=str)


def _join(match: re.Match[bytes]) -> bytes:
    run = match[0]
    if run == rb"\\":
        return run
    joined = bytes.fromhex(run.replace(rb"\u00", b"").decode())
    try:
        joined.decode()
    except UnicodeDecodeError:
        return run
    return joined


def _escape(control: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(control[0])
