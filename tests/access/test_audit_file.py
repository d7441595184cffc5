"""The file of an audit: chained, synced, rotated, locked, and taken up again after a crash."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridle import ConfigurationError
from bridle.access import audit_file
from bridle.access.audit_file import AuditFile, read_key
from bridle.access.audit_files import files_of
from bridle.access.audit_verify import verify
from tests.support.audits import events, lines, say, texts, written

SECOND = 1_000_000_000


def test_lines_are_numbered_without_a_gap_and_begin_with_a_start(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 3)
    found = lines(path)
    assert [line["n"] for line in found] == [1, 2, 3, 4]
    assert found[0]["event"] == "start"
    assert found[0]["previous"] == "0" * 64
    assert [line["mark"] for line in found[1:]] == [0, 1, 2]
    assert texts(path) == []


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 3, max_size=1)
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    assert len(list(tmp_path.iterdir())) > 2


def test_an_audit_that_is_opened_again_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 2)
    written(path, 2)
    assert events(path) == ["start", "command", "command", "opened", "command", "command"]
    assert lines(path)[3]["pid"] == os.getpid()
    assert texts(path) == []


# Rotation


def test_it_is_rotated_by_size_and_the_chain_goes_on_in_the_next_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 20, max_size=1000)
    files = files_of(path)
    assert len(files) > 3
    assert all(file.stat().st_size < 1300 for file in files)
    assert [line["n"] for file in files for line in lines(file)] == list(range(1, 20 + len(files) + 1))
    assert texts(path) == []
    assert verify([path]).files == len(files)


def test_it_is_rotated_by_age_whoever_had_it_open(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    now = [1_700_000_000 * SECOND]
    file = AuditFile.open(path, max_age=3600, now=lambda: now[0])
    say(file, 0)
    now[0] += 1800 * SECOND
    say(file, 1)
    file.close()
    assert len(files_of(path)) == 1
    file = AuditFile.open(path, max_age=3600, now=lambda: now[0])
    now[0] += 1801 * SECOND
    say(file, 2)
    file.close()
    assert len(files_of(path)) == 2
    assert texts(path) == []


def test_only_so_many_rotated_files_are_kept_and_the_chain_says_which_went(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 30, max_size=600, keep=2)
    files = files_of(path)
    assert len(files) == 3
    start = lines(path)[0]
    assert start["oldest"] == lines(files[0])[0]["n"]
    assert start["removed"]
    assert texts(path) == []


def test_a_rotated_file_that_somebody_removed_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 30, max_size=600, keep=4)
    oldest, second, *_ = files_of(path)
    first = lines(oldest)[0]["n"]
    until = lines(second)[0]["n"] - 1
    kept = second.read_bytes()
    second.unlink()
    assert any("missing before this one" in text for text in texts(path))
    second.write_bytes(kept)
    assert texts(path) == []
    oldest.unlink()
    assert texts(path) == [f"audit.jsonl: lines {first} to {until} are in none of the files"]


def test_a_crash_between_the_steps_of_a_rotation_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 3)
    path.rename(f"{path}.000000000001")
    written(path, 2)
    assert texts(path) == []
    assert verify([path]).last == 7
    # The new file was begun, and the head not written any more.
    head = Path(f"{path}.head")
    before = head.read_bytes()
    written(path, 10, max_size=1)
    head.write_bytes(before)
    for file in files_of(path)[3:]:
        file.unlink()
    files_of(path)[-2].rename(path)
    written(path, 1)
    assert texts(path) == []


# Crashes


@pytest.mark.parametrize("cut", [1, 2, 40, 100, 190])
def test_half_a_line_at_the_end_is_taken_away_and_repeated_in_the_line_that_says_so(
    tmp_path: Path, cut: int
) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 2)
    with path.open("ab") as file:
        file.write(b'{"n":4,"time":"2026-11-25T10:00:00.000000Z","command":"sa'.ljust(200, b"y")[:cut])
    written(path, 1)
    opened = lines(path)[3]
    assert (opened["event"], opened["torn"], len(opened["tail"])) == ("opened", cut, cut)
    assert texts(path) == []


def test_whole_lines_that_the_head_does_not_know_yet_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 2)
    head = Path(f"{path}.head")
    before = head.read_bytes()
    written(path, 3)
    head.write_bytes(before)
    written(path, 1)
    assert events(path) == ["start", *["command"] * 2, "opened", *["command"] * 3, "opened", "command"]
    assert texts(path) == []


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe", b'{"number":-1}', b'{"digest":"xyz"}'])
def test_without_its_head_it_goes_on_where_the_file_ends(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 8, max_size=700)
    last = verify([path]).last
    head = Path(f"{path}.head")
    head.unlink()
    if content is not None:
        head.write_bytes(content)
        head.chmod(0o600)
    written(path, 1)
    assert lines(path)[-2]["head"] in ("lost", "unreadable")
    assert lines(path)[-2]["n"] == last + 1
    assert texts(path) == []


def test_without_head_and_file_it_goes_on_after_the_newest_rotated_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 8, max_size=700)
    last = lines(files_of(path)[-2])[-1]["n"]
    Path(f"{path}.head").unlink()
    path.unlink()
    written(path, 1)
    assert lines(path)[0]["n"] == last + 1
    assert texts(path) == []


def test_lines_cut_off_while_nobody_had_it_open_stay_missing_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 6)
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:4]))
    assert texts(path) == ["audit.jsonl: lines 5 to 7 are missing at the end"]
    written(path, 2)
    assert lines(path)[4]["missing"] == 3
    assert texts(path) == ["audit.jsonl:5: lines 5 to 7 are missing before this one"]


def test_a_file_that_was_emptied_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 6)
    path.write_bytes(b"")
    written(path, 1)
    assert texts(path) == ["audit.jsonl: lines 1 to 7 are in none of the files"]


# Somebody else's hands, while it is open


def test_a_file_that_is_moved_away_is_begun_anew_and_the_chain_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    file = AuditFile.open(path)
    say(file, 0)
    path.rename(f"{path}.000000000001")
    say(file, 1)
    file.close()
    assert lines(path)[0]["reason"] == "the file was moved or removed"
    assert texts(path) == []


def test_a_file_that_is_cut_or_written_by_others_while_it_is_open_tells_so(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    file = AuditFile.open(path)
    for number in range(3):
        say(file, number)
    os.truncate(path, path.stat().st_size - 10)
    say(file, 3)
    file.close()
    assert texts(path) == ["audit.jsonl:4: is no line of an audit"]


def test_a_file_in_its_place_that_others_can_write_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    file = AuditFile.open(path)
    say(file, 0)
    path.rename(f"{path}.000000000001")
    path.write_bytes(b"somebody else's\n" * 1000)
    path.chmod(0o666)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for attempt in (lambda: say(file, 1), file.recover, file.recover, lambda: say(file, 1)):
        with pytest.raises(ConfigurationError, match="can be written by others"):
            attempt()
        assert path.stat().st_size == 16_000
        assert len(list(Path("/proc/self/fd").iterdir())) < descriptors
    path.unlink()
    file.recover()
    say(file, 1)
    file.close()
    assert lines(path)[-1]["mark"] == 1
    assert texts(path) == []


def test_a_rotation_that_fails_halfway_is_finished_with_the_next_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    file = AuditFile.open(path, max_size=1, keep=5)

    def broken(_: Path) -> list[Path]:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(audit_file, "rotated_files", broken)
    with pytest.raises(OSError, match="Input/output"):
        say(file, 0)
    monkeypatch.undo()
    file.recover()
    say(file, 1)
    file.close()
    assert events(path) == ["start", "command"]
    assert texts(path) == []


# Who may


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    file = AuditFile.open(path)
    with pytest.raises(ConfigurationError, match="is open in another process: one file, one process"):
        AuditFile.open(path)
    say(file, 0)
    file.close()
    written(path, 1)
    assert texts(path) == []


def test_a_head_that_is_removed_while_it_is_open_is_put_right(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    file = AuditFile.open(path)
    say(file, 0)
    Path(f"{path}.head").unlink()
    say(file, 1)
    with pytest.raises(ConfigurationError, match="is open in another process"):
        AuditFile.open(path)
    file.close()
    assert events(path) == ["start", "command", "opened", "command"]
    assert lines(path)[2]["reason"] == "the head was moved or removed"
    assert texts(path) == []


def test_an_older_head_that_is_put_in_its_place_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    file = AuditFile.open(path)
    head = Path(f"{path}.head")
    older = head.read_bytes()
    for number in range(5):
        say(file, number)
    head.unlink()
    head.write_bytes(older)
    head.chmod(0o600)
    os.truncate(path, path.stat().st_size - len(path.read_bytes().splitlines(keepends=True)[-1]))
    say(file, 5)
    file.close()
    assert lines(path)[-2]["missing"] == 1
    assert texts(path) == ["audit.jsonl:6: line 6 is missing before this one"]


def test_a_process_that_loses_its_audit_to_another_writes_nothing_until_that_has_ended(
    tmp_path: Path,
) -> None:
    path = tmp_path / "audit.jsonl"
    first = AuditFile.open(path)
    say(first, 0)
    Path(f"{path}.head").unlink()
    second = AuditFile.open(path)
    say(second, 1)
    whole = path.read_bytes()
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="is open in another process: one file, one process"):
            say(first, 2)
        with pytest.raises(ConfigurationError, match="is open in another process"):
            first.recover()
        assert path.read_bytes() == whole
    say(second, 3)
    second.close()
    first.recover()
    say(first, 4)
    first.close()
    assert [line["mark"] for line in lines(path) if "mark" in line] == [0, 1, 3, 4]
    assert texts(path) == []


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
@pytest.mark.parametrize("name", ["audit.jsonl", "audit.jsonl.head"])
def test_a_file_that_others_can_write_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    written(tmp_path / "audit.jsonl", 1)
    (tmp_path / name).chmod(mode)
    with pytest.raises(ConfigurationError, match=f"{name}' can be written by others: chmod go-w"):
        AuditFile.open(tmp_path / "audit.jsonl")


def test_a_folder_that_everybody_can_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match="can be written by everybody"):
        AuditFile.open(folder / "audit.jsonl")
    with pytest.raises(ConfigurationError, match="No such file"):
        AuditFile.open(tmp_path / "none" / "audit.jsonl")


def test_a_link_or_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        AuditFile.open(tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="not a regular file"):
        AuditFile.open(tmp_path / "pipe")


# Keys


def key_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_key_is_what_a_file_holds_without_its_line_break(tmp_path: Path) -> None:
    assert read_key(key_file(tmp_path, b"0123456789abcdef\n")) == b"0123456789abcdef"


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (b"short", 0o600, "5 bytes: it needs 16 to 64"),
        (b"x" * 65, 0o600, "65 bytes: it needs 16 to 64"),
        (b"x" * 5000, 0o600, "larger than 4096 bytes"),
        (b"x" * 32, 0o640, "can be read by others: chmod go="),
        (b"x" * 32, 0o622, "can be written by others"),
    ],
)
def test_a_key_that_is_none_or_that_others_know_is_refused(
    tmp_path: Path, content: bytes, mode: int, says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read_key(key_file(tmp_path, content, mode))
    with pytest.raises(ConfigurationError, match="can't open file"):
        read_key(tmp_path / "none")


def test_a_chain_with_a_key_needs_that_key(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    key = b"k" * 32
    written(path, 3, key=key)
    assert texts(path, keys=[key]) == []
    assert "which was not given" in texts(path)[0]
    assert "which was not given" in texts(path, keys=[b"other" * 8])[0]
    assert key.decode() not in path.read_text()


def test_another_key_begins_another_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    first, second = b"1" * 32, b"2" * 32
    written(path, 2)
    written(path, 2, key=first)
    written(path, 2, key=second)
    written(path, 2, key=second)
    assert len(files_of(path)) == 3
    report = verify([path], keys=[first, second])
    assert report.findings == []
    assert [note.text for note in report.notes] == ["has no key; a later file vouches for where it ends"]
    assert "which was not given" in texts(path, keys=[second])[0]


def test_a_file_without_a_key_behind_those_with_one_is_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    key = b"k" * 32
    written(path, 2, key=key)
    written(path, 2)
    assert texts(path, keys=[key]) == ["audit.jsonl: was written without a key, and one was given"]
    alone = tmp_path / "alone" / "audit.jsonl"
    alone.parent.mkdir()
    written(alone, 2)
    assert texts(alone, keys=[key]) == ["audit.jsonl: was written without a key, and one was given"]


# Whatever stands there


@settings(max_examples=50, deadline=None)
@given(known=st.integers(0, 4), data=st.data())
def test_wherever_a_write_was_torn_the_chain_is_whole_afterwards(known: int, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "audit.jsonl"
        written(path, known)
        head = Path(f"{path}.head")
        before, size = head.read_bytes(), path.stat().st_size
        file = AuditFile.open(path)
        say(file, *range(5))
        file.close()
        head.write_bytes(before)
        os.truncate(path, data.draw(st.integers(size, path.stat().st_size)))
        written(path, 1)
        assert texts(path) == []
        assert lines(path)[-1]["mark"] == 0


@settings(max_examples=80, deadline=None)
@given(
    content=st.binary(max_size=300) | st.binary(max_size=100).map(b'{"n":1,"event":"start"}\n'.__add__),
    head=st.binary(max_size=100)
    | st.builds(
        lambda *numbers: b'{"number":%d,"first":%d,"size":%d,"oldest":%d}' % numbers,
        *[st.integers(-(1 << 70), 1 << 70) | st.integers(-2, 300)] * 4,
    ),
)
def test_whatever_stands_there_it_is_opened_and_written(content: bytes, head: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "audit.jsonl"
        for name, data in ((path, content), (Path(f"{path}.head"), head)):
            name.write_bytes(data)
            name.chmod(0o600)
        file = AuditFile.open(path)
        say(file, 77)
        file.close()
        assert path.read_bytes().splitlines()[-1].startswith(b'{"n":%d,' % file.number)
        assert b'"mark":77' in path.read_bytes()
