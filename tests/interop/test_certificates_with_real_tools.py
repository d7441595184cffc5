"""Real clients with certificates, and without: ``curl`` and Kea's ``kea-shell`` are let in and kept out."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.bridle import Agent, EmbeddedDaemon
from tests.support.programs import poll, require

SECONDS = 20.0
COMMAND = '{ "command": "list-commands" }'


class Site:
    """An agent that asks for certificates, and the certificates of its clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        self.issue("server", "127.0.0.1", "localhost")
        self.issue("client", "client.example", name="operator")
        stranger = trustme.CA().issue_cert("client.example", common_name="stranger")
        stranger.private_key_and_cert_chain_pem.write_to_path(str(folder / "stranger.pem"))
        self.daemon = EmbeddedDaemon("tests.support.kettle:Kettle", folder)
        files = {"trust-anchor": "ca.pem", "cert-file": "server.pem", "key-file": "server.pem"}
        named = {key: str(folder / file) for key, file in files.items()}
        self.agent = Agent(folder, {"kettle": self.daemon.socket}, {"cert-required": True, **named})

    def issue(self, file: str, *names: str, name: str | None = None) -> None:
        issued = self.authority.issue_cert(*names, common_name=name)
        issued.private_key_and_cert_chain_pem.write_to_path(str(self.folder / f"{file}.pem"))

    def curl(self, client: str = "", *words: str) -> subprocess.CompletedProcess[str]:
        own = ["--cert", str(self.folder / f"{client}.pem")] if client else []
        argv = [str(require("curl")), "-sS", "--cacert", str(self.folder / "ca.pem"), *own, *words]
        argv += [
            "-H",
            "Content-Type: application/json",
            "-d",
            COMMAND,
            f"https://127.0.0.1:{self.agent.port}/",
        ]
        return subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)

    def kea_shell(self, client: str = "") -> subprocess.CompletedProcess[str]:
        own = str(self.folder / f"{client}.pem")
        words = ["--ca", str(self.folder / "ca.pem"), *(["--cert", own, "--key", own] if client else [])]
        argv = [str(require("kea-shell")), "--port", str(self.agent.port), *words]
        return subprocess.run(
            [*argv, "--service", "kettle", "list-commands"],
            input="",
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )


@pytest.fixture
def site(short_path: Path) -> Iterator[Site]:
    site = Site(short_path)
    with site.daemon, site.agent:
        yield site


@pytest.mark.peers("curl")
def test_curl_is_let_in_with_a_certificate_of_the_authority_alone(site: Site) -> None:
    known = site.curl("client")
    assert known.returncode == 0, known.stderr
    assert '"result": 0' in known.stdout
    for kept_out in (site.curl(), site.curl("stranger"), site.curl("client", "--tls-max", "1.1")):
        assert kept_out.returncode != 0
        assert kept_out.stdout == ""


@pytest.mark.peers("kea-shell")
def test_kea_shell_is_let_in_with_a_certificate_of_the_authority_alone(site: Site) -> None:
    known = site.kea_shell("client")
    assert known.returncode == 0, known.stdout + known.stderr
    assert '"repeat"' in known.stdout
    for kept_out in (site.kea_shell(), site.kea_shell("stranger")):
        assert kept_out.returncode != 0 or '"result"' not in kept_out.stdout
        assert '"repeat"' not in kept_out.stdout


@pytest.mark.peers("curl")
def test_curl_sees_a_renewed_certificate_after_sighup(site: Site) -> None:
    def pinned() -> bool:
        return site.curl("client").returncode == 0

    assert pinned()
    other = trustme.CA()
    other.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(site.folder / "server.pem")
    )
    os.kill(site.agent.pid, signal.SIGHUP)
    assert poll(lambda: site.curl("client").returncode == 60)  # an authority that curl does not know
    (site.folder / "server.pem").write_text("nonsense")
    os.kill(site.agent.pid, signal.SIGHUP)
    assert poll(lambda: "the previous configuration goes on" in site.agent.stderr)
    assert site.curl("client").returncode == 60
    site.issue("server", "127.0.0.1")
    os.kill(site.agent.pid, signal.SIGHUP)
    assert poll(pinned)


@pytest.mark.peers("curl")
def test_curl_is_refused_what_browsers_of_strangers_would_send(site: Site) -> None:
    for header in ("Origin: https://evil.example", "Sec-Fetch-Site: cross-site"):
        refused = site.curl("client", "-i", "-H", header)
        assert refused.returncode == 0
        assert " 403 Forbidden" in refused.stdout
    named = site.curl("client", "-i", "-H", "X-Request-ID: the-name-7")
    assert "X-Request-ID: the-name-7\n" in named.stdout.replace("\r", "")
    assert "X-Content-Type-Options: nosniff" in named.stdout
