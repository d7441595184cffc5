"""What a secret is called: everybody's names for secrets, and how names are compared.

Names are the same whatever their case, whether their words are parted by ``-``, ``_``, ``.``, a blank or not
at all, and whether a number follows: ``pass-word``, ``db_password`` and ``Password2`` are all passwords.
"""

from __future__ import annotations

__all__ = ["COUNTED", "ENDINGS", "WORDS", "normal_name"]

WORDS: tuple[str, ...] = (
    "password",
    "pass-word",
    "password-hash",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "secret-key",
    "token",
    "token-hash",
    "credential",
    "psk",
    "pre-shared-key",
    "private-key",
    "api-key",
    "auth-key",
    "md5-key",
)
"""The names of one. Those of many have an s more."""

ENDINGS: tuple[str, ...] = tuple(
    f"{part}{many}" for word in WORDS for part in {word, word.replace("-", "")} for many in ("", "s")
)
"""What the normal name of a secret ends in."""

COUNTED = "tokens"
"""What is a secret only where it is a list or a map: a text of that name is the name of the file which holds
them, as in Bridle's own configuration, and a number says how many there are."""

_SEPARATORS = str.maketrans("_. ", "---")


def normal_name(name: str) -> str:
    """A name as it is compared with others."""
    return name.strip().lower().translate(_SEPARATORS)
