"""Files that the wrong people can get at: those that Bridle keeps, and the secrets that it is given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bridle import ConfigurationError
from bridle.access.basic import BasicAuthentication, read_authentication
from bridle.access.private_files import check_private, check_secret_file


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


# What Bridle keeps


def is_refused(file: Path, *, secret: bool) -> bool:
    try:
        check_private(file.stat(), file, secret=secret)
    except ConfigurationError:
        return True
    return False


@pytest.mark.parametrize(
    ("mode", "refused", "refused_if_secret", "refused_as_given"),
    [
        (0o600, False, False, False),
        (0o640, False, True, False),
        (0o644, False, True, True),
        (0o620, True, True, True),
        (0o602, True, True, True),
    ],
)
def test_what_is_kept_has_one_owner_and_what_is_given_may_be_a_group_s(
    file: Path, mode: int, refused: bool, refused_if_secret: bool, refused_as_given: bool
) -> None:
    file.chmod(mode)
    assert is_refused(file, secret=False) == refused
    assert is_refused(file, secret=True) == refused_if_secret
    if refused_as_given:
        with pytest.raises(ConfigurationError):
            check_secret_file(str(file), "private key file")
    else:
        check_secret_file(str(file), "private key file")


def test_what_is_kept_belongs_to_root_or_to_who_runs_this(file: Path) -> None:
    file.chmod(0o600)
    facts = list(file.stat())
    facts[4] = 4_000_000  # st_uid
    with pytest.raises(ConfigurationError, match=f"'{file}' belongs to user 4000000, who could change it"):
        check_private(os.stat_result(facts), file, secret=False)
    facts[4] = 0
    check_private(os.stat_result(facts), file, secret=True)
