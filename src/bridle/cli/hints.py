"""What to do about an answer, or about none, where options of the command line are the remedy."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from bridle.client.calls import is_secured
from bridle.core.errors import BridleError, TransportError
from bridle.core.messages import Response
from bridle.net.endpoint import Endpoint

__all__ = ["Given"]

_UNAUTHORIZED = "(HTTP 401)"
# What a client sees of a server that waits for TLS, or for a certificate: it hangs up.
_CUT_OFF = ("End of file", "Connection reset by peer", "Broken pipe")
_CERTIFICATES = "--cert FILE --key FILE"


class Given(Struct, frozen=True):
    """Which of the options that reach an endpoint were given: of Basic authentication (``user``), a bearer
    ``token``, whom to trust or what to show (``tls``), and what to show (``certificate``)."""

    user: bool = False
    token: bool = False
    tls: bool = False
    certificate: bool = False

    def hint_of_answers(self, responses: Sequence[Response], endpoint: Endpoint) -> str:
        """What to do where a server asks over HTTP who it is that asks; empty where it does not."""
        asks = any((response.text or "").endswith(_UNAUTHORIZED) for response in responses)
        if not asks or not endpoint.in_http:
            return ""
        if self.token:
            return "the server does not know this token: revoked, or past its time?"
        if self.user or endpoint.user:
            return "the server does not know this user, or the password is another"
        return "the server asks who you are: --user NAME, with --password-file FILE, or --token-file FILE"

    def hint_of_error(self, error: BridleError, endpoint: Endpoint) -> str:
        """What may be behind a connection that failed, where that is about TLS; empty where it is not."""
        if not isinstance(error, TransportError):
            return ""
        text = str(error)
        cut_off = text.startswith(_CUT_OFF)
        if self.tls or is_secured(endpoint, None):
            return self._hint_of_handshake(text, endpoint, cut_off=cut_off)
        if cut_off and endpoint.transport == "http":
            return f"if it speaks TLS: https://…, with --ca FILE, and {_CERTIFICATES} where it asks for them"
        if cut_off and endpoint.transport == "tcp":
            return f"if it speaks TLS: --ca FILE, and {_CERTIFICATES} where it asks for them"
        return ""

    def _hint_of_handshake(self, text: str, endpoint: Endpoint, *, cut_off: bool) -> str:
        shown = self.certificate or endpoint.option("cert") is not None
        if not shown and (cut_off or "CERTIFICATE_REQUIRED" in text):
            return f"if it asks for a certificate: {_CERTIFICATES}"
        if "WRONG_VERSION_NUMBER" in text:
            return "it seems to speak no TLS"
        if "certificate verify failed" in text and "mismatch" not in text:
            return "whom to trust is said with --ca FILE"
        return ""
