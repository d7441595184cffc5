"""TLS: what a configuration says, whom a listener lets in, whom a client trusts (``facts/kea.md`` §2.4)."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from bridle import JSON, ConfigurationError
from bridle.access.tls import client_context, read_tls, server_context

NAMES = ("trust-anchor", "cert-file", "key-file")


class Site:
    """A directory with an authority, a server's and a client's certificate, and another authority."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.anchor = directory / "ca.pem"
        self.stranger = directory / "stranger-ca.pem"
        authority, other = trustme.CA(), trustme.CA()
        authority.cert_pem.write_to_path(self.anchor)
        other.cert_pem.write_to_path(self.stranger)
        for name, certificate in (
            ("server", authority.issue_cert("kea.example", "127.0.0.1")),
            ("client", authority.issue_cert("client.example", common_name="operator")),
            ("strange-client", other.issue_cert("client.example")),
        ):
            certificate.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")
            certificate.private_key_pem.write_to_path(directory / f"{name}.key")
            certificate.private_key_and_cert_chain_pem.write_to_path(directory / f"{name}-both.pem")

    def settings(self, **others: JSON) -> dict[str, JSON]:
        settings: dict[str, JSON] = {
            "trust-anchor": str(self.anchor),
            "cert-file": str(self.directory / "server.pem"),
            "key-file": str(self.directory / "server.key"),
        }
        return {**settings, **{key.replace("_", "-"): value for key, value in others.items()}}

    def server(self, **others: JSON) -> ssl.SSLContext:
        context = server_context(self.settings(**others))
        assert context is not None
        return context

    def client(self, name: str = "", anchor: Path | None = None) -> ssl.SSLContext:
        anchor = anchor or self.anchor
        if not name:
            return client_context(str(anchor))
        return client_context(
            str(anchor), str(self.directory / f"{name}.pem"), str(self.directory / f"{name}.key")
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "127.0.0.1") -> ssl.SSLObject:
    """Let both talk until they are done; the server's end.

    Raises:
        ssl.SSLError: one of them will not.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = server.wrap_bio(to_server, to_client, server_side=True)
    there = client.wrap_bio(to_client, to_server, server_hostname=name)
    waiting = [there, here]
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
    assert not waiting
    return here


def refused(value: dict[str, JSON]) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        server_context(value, ["Control-agent"])
    return caught.value


# All or none


@pytest.mark.parametrize("value", [{}, {"cert-required": True}, dict.fromkeys(NAMES, ""), {"cert-file": ""}])
def test_a_configuration_without_files_asks_for_no_tls(value: dict[str, JSON]) -> None:
    assert read_tls(value) is None
    assert server_context(value) is None


def test_all_three_files_are_read_in_their_order() -> None:
    assert read_tls({"trust-anchor": "a", "cert-file": "c", "key-file": "k"}) == ("a", "c", "k")


@pytest.mark.parametrize("missing", NAMES)
@pytest.mark.parametrize("empty", [None, "", 0, ["x"]], ids=["absent", "empty", "number", "list"])
def test_one_file_that_is_missing_is_named(site: Site, missing: str, empty: JSON) -> None:
    settings = site.settings()
    if empty is None:
        del settings[missing]
    else:
        settings[missing] = empty
    text = f"{missing} parameter is missing or empty: all or none of TLS parameters must be set"
    assert refused(settings).text == text


@pytest.mark.parametrize("name", NAMES)
def test_one_file_alone_is_not_enough(name: str) -> None:
    missing = next(other for other in NAMES if other != name)
    text = f"{missing} parameter is missing or empty: all or none of TLS parameters must be set"
    assert refused({name: "x"}).text == text


def test_what_is_no_file_name_does_not_turn_tls_off() -> None:
    assert "all or none" in refused({"cert-file": 0}).text
    assert "all or none" in refused({"cert-file": False}).text
    assert "all or none" in refused({"trust-anchor": [], "cert-file": [], "key-file": []}).text


# Files that cannot be used


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("trust-anchor", "load of CA file '/none' failed: No such file or directory"),
        ("cert-file", "load of cert file '/none' failed: No such file or directory"),
        ("key-file", "load of private key file '/none' failed: No such file or directory"),
    ],
)
def test_a_file_that_is_not_there_is_named(site: Site, name: str, text: str) -> None:
    error = refused({**site.settings(), name: "/none"})
    assert error.text == text
    assert error.path == ["Control-agent", name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", ["", "nonsense"])
def test_a_file_without_what_it_should_hold_is_named(
    site: Site, tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / "file").write_text(content)
    error = refused({**site.settings(), name: str(tmp_path / "file")})
    assert f"'{tmp_path}/file'" in error.text
    assert error.text.startswith("load of ")
    assert error.path is not None


def test_a_key_of_another_certificate_is_refused(site: Site) -> None:
    error = refused(site.settings(key_file=str(site.directory / "client.key")))
    assert "server.pem" in error.text
    assert "client.key" in error.text
    assert error.path == ["Control-agent", "cert-file"]


def test_a_key_behind_a_password_is_refused_without_asking_for_it(site: Site, tmp_path: Path) -> None:
    key = load_pem_private_key((site.directory / "server.key").read_bytes(), None)
    protected = key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret")
    )
    (tmp_path / "key").write_bytes(protected)
    error = refused(site.settings(key_file=str(tmp_path / "key")))
    assert f"'{tmp_path}/key'" in error.text
    assert error.text.endswith("failed: the key is protected by a password, which nobody can be asked for")


# Whom a listener lets in


def test_a_client_with_a_certificate_of_the_authority_is_let_in_and_known(site: Site) -> None:
    end = handshake(site.server(), site.client("client"))
    certificate = end.getpeercert()
    assert certificate is not None
    assert (("commonName", "operator"),) in certificate["subject"]


@pytest.mark.parametrize("others", [{}, {"cert_required": True}])
def test_a_client_without_a_certificate_is_refused_by_default(site: Site, others: dict[str, JSON]) -> None:
    with pytest.raises(ssl.SSLError, match="did not return a certificate"):
        handshake(site.server(**others), site.client())


def test_a_client_without_a_certificate_is_let_in_where_none_is_required(site: Site) -> None:
    assert handshake(site.server(cert_required=False), site.client()).getpeercert() is None


@pytest.mark.parametrize("required", [True, False])
def test_a_client_with_a_strangers_certificate_is_refused(site: Site, required: bool) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate.verify.failed"):
        handshake(site.server(cert_required=required), site.client("strange-client"))


@pytest.mark.parametrize("value", [0, "", None, "false", 1, []])
def test_whether_a_certificate_is_required_is_a_matter_of_true_or_false(site: Site, value: JSON) -> None:
    error = refused(site.settings(cert_required=value))
    assert error.text == "invalid type specified for parameter 'cert-required'"
    assert error.path == ["Control-agent", "cert-required"]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
def test_nothing_older_than_tls_1_2_is_spoken(site: Site) -> None:
    old = site.client("client")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    server = site.server()
    server.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match=r"(?i)unsupported.protocol"):
        handshake(server, old)
    server.minimum_version = ssl.TLSVersion.TLSv1
    assert handshake(server, old).version() == "TLSv1.1"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(site: Site, version: ssl.TLSVersion) -> None:
    client = site.client("client")
    client.minimum_version = client.maximum_version = version
    assert handshake(site.server(), client).version() == version.name.replace("_", ".")


# Whom a client trusts


def test_a_client_trusts_the_authority_it_was_given_and_no_other(site: Site) -> None:
    server = site.server(cert_required=False)
    handshake(server, site.client())
    for context in (site.client(anchor=site.stranger), client_context()):
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(server, context)


def test_a_client_holds_the_server_to_its_name(site: Site) -> None:
    server = site.server(cert_required=False)
    handshake(server, site.client(), "kea.example")
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(server, site.client(), "other.example")


def test_a_client_speaks_nothing_older_than_tls_1_2() -> None:
    assert client_context().minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_client_of_its_own_authority_speaks_nothing_older_than_tls_1_2(site: Site) -> None:
    assert site.client().minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_clients_certificate_and_key_may_be_in_one_file(site: Site) -> None:
    context = client_context(str(site.anchor), str(site.directory / "client-both.pem"))
    assert handshake(site.server(), context).getpeercert() is not None


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command, which makes the hashes")
def test_an_anchor_may_be_a_directory_of_hashed_certificates(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "authorities"
    folder.mkdir()
    context = client_context(str(folder))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(site.server(cert_required=False), context)
    hashed = subprocess.run(
        ["openssl", "x509", "-noout", "-subject_hash", "-in", str(site.anchor)],
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    (folder / f"{hashed.stdout.strip()}.0").write_bytes(site.anchor.read_bytes())
    handshake(site.server(cert_required=False), client_context(str(folder)))
    assert server_context(site.settings(trust_anchor=str(folder))) is not None


@pytest.mark.parametrize(
    ("files", "text"),
    [
        (("/none",), "load of CA file '/none' failed: No such file or directory"),
        (("", "/none"), "load of cert file '/none' failed: No such file or directory"),
    ],
)
def test_a_clients_file_that_is_not_there_is_named(files: tuple[str, ...], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        client_context(*files)
    assert caught.value.text == text
