"""Files that the wrong people can get at: those that Bridle keeps, and the secrets that it is given."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bridle import JSON, ConfigurationError
from bridle.access.audit_file import read_key
from bridle.access.basic import BasicAuthentication, read_authentication
from bridle.access.private_files import check_private, check_secret_file
from bridle.access.tokens import TokenFile, Tokens


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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    (folder / "secret").chmod(0o600)
    return folder


@pytest.mark.parametrize("mode", [0o777, 0o702, 0o1777])
def test_a_secret_that_everybody_can_replace_is_refused_with_the_setting_that_allows_it(
    folder: Path, mode: int
) -> None:
    file = folder / "secret"
    folder.chmod(mode)
    if mode & stat.S_ISVTX:
        check_secret_file(str(file), "private key file")  # it is ours
        os.chown(file, 4_000_000, 4_000_000) if os.geteuid() == 0 else pytest.skip("needs another's file")
    with pytest.raises(ConfigurationError) as caught:
        check_secret_file(str(file), "private key file")
    assert caught.value.text == (
        f"private key file '{file}' is not used: everybody can replace it in '{folder}'; take that right "
        f"away (chmod o-w '{folder}'), or allow it with allow-readable-secrets"
    )
    check_secret_file(str(file), "private key file", allowed=True)


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o770, 0o1777])
def test_a_group_s_folder_and_one_like_tmp_are_good_for_secrets(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    check_secret_file(str(folder / "secret"), "private key file")


def test_neither_a_link_nor_what_it_leads_to_may_be_replaced(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("folder/secret")
    check_secret_file(str(link), "password file")
    folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match=f"can replace it in '{folder}'"):
        check_secret_file(str(link), "password file")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text("secret")
    (tmp_path / "elsewhere").chmod(0o600)
    with pytest.raises(ConfigurationError, match=f"can replace it in '{folder}'"):
        check_secret_file(str(folder / "link"), "password file")


def test_what_is_kept_is_not_taken_of_a_folder_that_everybody_can_write(folder: Path) -> None:
    (folder / "secret").write_bytes(b"k" * 32)
    assert read_key(folder / "secret") == b"k" * 32
    TokenFile(folder / "tokens").create("ci")
    Tokens(folder / "tokens")
    folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match=f"secret' can be replaced by everybody in '{folder}'"):
        read_key(folder / "secret")
    with pytest.raises(ConfigurationError, match=f"tokens' can be replaced by everybody in '{folder}'"):
        Tokens(folder / "tokens")
    folder.chmod(0o1777)
    assert read_key(folder / "secret") == b"k" * 32
    Tokens(folder / "tokens")


def read(file: Path, **options: bool) -> BasicAuthentication:
    value = {"directory": str(file.parent), "clients": [{"user": "amy", "password-file": file.name}]}
    return read_authentication(value, ["authentication"], lambda _: "", realm="r", **options)  # type: ignore[arg-type]


def test_password_files_are_held_to_it(file: Path) -> None:
    assert read(file).required
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match=f"password file '{file}' is not used"):
        read(file)
    assert read(file, allow_readable=True).required


@pytest.mark.parametrize("key", ["password-file", "user-file"])
def test_password_and_user_files_are_held_to_their_folder(folder: Path, key: str) -> None:
    client: dict[str, JSON] = {key: "secret"} if key == "user-file" else {"user": "amy", key: "secret"}
    value: dict[str, JSON] = {"directory": str(folder), "clients": [client]}
    assert read_authentication(value, [], lambda _: "", realm="r").required
    folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match="everybody can replace it"):
        read_authentication(value, [], lambda _: "", realm="r")
    assert read_authentication(value, [], lambda _: "", realm="r", allow_readable=True).required


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
