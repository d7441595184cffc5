"""TLS as Kea configures it: ``trust-anchor``, ``cert-file``, ``key-file``, ``cert-required``
(``facts/kea.md`` §2.4)."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path as FilePath

from bridle.access.private_files import ALLOWED, check_secret_file
from bridle.core.errors import ConfigurationError
from bridle.core.messages import JSON, Path

__all__ = ["client_context", "read_tls", "server_context"]

# Of TLS 1.2 what keeps the past secret when a key is lost, and is known to be sound (RFC 9325 §4.2); of TLS
# 1.3 all.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

_FILES = ("trust-anchor", "cert-file", "key-file")


def read_tls(value: Mapping[str, JSON]) -> tuple[str, str, str] | None:
    """The three files of a listener that speaks TLS, None of one that does not.

    Raises:
        ConfigurationError: some are given, others are missing.
    """
    given = [value.get(name) for name in _FILES]
    if all(file is None or file == "" for file in given):
        return None
    for name, file in zip(_FILES, given, strict=True):
        if not isinstance(file, str) or not file:
            raise ConfigurationError(
                f"{name} parameter is missing or empty: all or none of TLS parameters must be set"
            )
    anchor, certificate, key = (str(file) for file in given)
    return anchor, certificate, key


def server_context(value: Mapping[str, JSON], path: Path = ()) -> ssl.SSLContext | None:
    """The context of a listener, None where it does not speak TLS. TLS 1.2 is the least.

    ``cert-required`` (default true) demands a certificate of every client. Each call reads the files anew:
    what changed in them holds for the listener that is given the context.

    Raises:
        ConfigurationError: a file is missing or cannot be used, or the key can be read by others; the text
            names it.
    """
    files = read_tls(value)
    if files is None:
        return None
    anchor, certificate, key = files
    allowed = value.get(ALLOWED, False) is True
    check_secret_file(key, "private key file", [*path, "key-file"], allowed=allowed)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    _load_anchor(context, anchor, [*path, "trust-anchor"])
    _load_certificate(context, certificate, key, path)
    required = value.get("cert-required", True)
    if not isinstance(required, bool):
        raise ConfigurationError(
            "invalid type specified for parameter 'cert-required'", path=[*path, "cert-required"]
        )
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


def client_context(anchor: str = "", certificate: str = "", key: str = "") -> ssl.SSLContext:
    """The context of a client: trusts ``anchor`` (a file or folder; the system's where empty), and shows
    ``certificate``.

    Raises:
        ConfigurationError: a file is missing or cannot be used.
    """
    context = ssl.create_default_context()
    if anchor:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _load_anchor(context, anchor, ["trust-anchor"])
    # Not everywhere the default: Debian's Python leaves it to OpenSSL's configuration.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate:
        _load_certificate(context, certificate, key or certificate, [])
    return context


def _load_anchor(context: ssl.SSLContext, anchor: str, path: Path) -> None:
    folder = FilePath(anchor).is_dir()
    try:
        context.load_verify_locations(None if folder else anchor, anchor if folder else None)
    except (OSError, ssl.SSLError) as error:
        kind = "directory" if folder else "file"
        raise ConfigurationError(
            f"load of CA {kind} '{anchor}' failed: {_reason(error)}", path=path
        ) from error


def _load_certificate(context: ssl.SSLContext, certificate: str, key: str, path: Path) -> None:
    for name, file in (("cert-file", certificate), ("key-file", key)):
        try:
            with FilePath(file).open("rb"):
                pass
        except OSError as error:
            kind = "cert" if name == "cert-file" else "private key"
            raise ConfigurationError(
                f"load of {kind} file '{file}' failed: {_reason(error)}", path=[*path, name]
            ) from error
    try:
        context.load_cert_chain(certificate, key, _no_password)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"load of cert file '{certificate}' with private key file '{key}' failed: {_reason(error)}",
            path=[*path, "cert-file"],
        ) from error


def _no_password() -> str:
    # OpenSSL would ask for it on the terminal, and everybody would wait.
    raise ssl.SSLError(0, "the key is protected by a password, which nobody can be asked for")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
