"""Files of secrets: who may be able to read them (as OpenSSH has it, with room for groups)."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridle import ConfigurationError
from bridle.access.basic import BasicAuthentication, read_authentication
from bridle.access.secrets import check_secret_file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text("secret")
    return file


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o440, 0o700, 0o750])
def test_the_owner_may_do_anything_and_a_group_may_read(file: Path, mode: int) -> None:
    file.chmod(mode)
    check_secret_file(str(file), "private key file")


@pytest.mark.parametrize(
    ("mode", "does"),
    [
        (0o644, "read"),
        (0o604, "read"),
        (0o666, "read"),
        (0o602, "change"),
        (0o660, "change"),
        (0o620, "change"),
    ],
)
def test_what_others_can_read_or_change_is_refused_with_the_setting_that_allows_it(
    file: Path, mode: int, does: str
) -> None:
    file.chmod(mode)
    with pytest.raises(ConfigurationError) as caught:
        check_secret_file(str(file), "private key file")
    assert caught.value.text == (
        f"private key file '{file}' is not used: others can {does} it (mode 0{mode:o}); take that right away "
        "(chmod 0640), or allow it with allow-readable-secrets"
    )
    check_secret_file(str(file), "private key file", allowed=True)


def test_the_file_counts_not_the_link_to_it(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    check_secret_file(str(link), "password file")
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="others can read it"):
        check_secret_file(str(link), "password file")


def test_a_file_that_is_not_there_is_for_whoever_opens_it(tmp_path: Path) -> None:
    check_secret_file(str(tmp_path / "none"), "password file")


def read(file: Path, **options: bool) -> BasicAuthentication:
    value = {"directory": str(file.parent), "clients": [{"user": "amy", "password-file": file.name}]}
    return read_authentication(value, ["authentication"], lambda _: "", realm="r", **options)  # type: ignore[arg-type]


def test_password_files_are_held_to_it(file: Path) -> None:
    assert read(file).required
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match=f"password file '{file}' is not used"):
        read(file)
    assert read(file, allow_readable=True).required
