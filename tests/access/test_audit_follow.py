"""Following an audit: what is there, what comes, and from which file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from bridle.access.audit_file import AuditFile
from bridle.access.audit_follow import follow
from bridle.access.audit_search import Wanted
from tests.support.audits import say

COMMANDS = Wanted(command="say")
DIGEST = b',"digest":"%b"' % (b"0" * 64)


class Enough(Exception):
    """The end of what a test lets happen."""


def followed(
    paths: list[Path], *steps: Callable[[], object], wanted: Wanted = COMMANDS
) -> list[int | str | None]:
    """The marks of the lines that are given while ``steps`` happen, with ``|`` wherever it pauses, and None
    for a line that cannot be read."""
    found: list[int | str | None] = []
    left = iter(steps)

    def pause() -> None:
        found.append("|")
        step = next(left, None)
        if step is None:
            raise Enough
        step()

    with contextlib.suppress(Enough):
        for line, entry in follow(paths, wanted, pause):
            found.append(int(line.split(b'"mark":')[1].split(b",")[0]) if entry is not None else None)
    assert next(left, None) is None
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def says(file: AuditFile, *numbers: int) -> Callable[[], None]:
    """A step: lines are written, each by itself."""

    def step() -> None:
        for number in numbers:
            say(file, number)

    return step


def nothing() -> None:
    """A step in which nothing happens."""


def test_what_is_there_comes_first_and_then_what_is_written(path: Path) -> None:
    file = AuditFile.open(path)
    says(file, 1, 2)()
    marks = followed([path], nothing, says(file, 3), nothing, says(file, 4, 5))
    assert marks == [1, 2, "|", "|", 3, "|", "|", 4, 5, "|"]
    file.close()


def test_it_goes_on_in_the_next_file_however_often_it_is_rotated(path: Path) -> None:
    file = AuditFile.open(path, max_size=300)  # a start and a line or two
    says(file, 1, 2, 3)()
    marks = followed([path], says(file, 4), says(file, 5, 6, 7, 8, 9, 10, 11), says(file, 12))
    assert marks == [1, 2, 3, "|", 4, "|", 5, 6, 7, 8, 9, 10, 11, "|", 12, "|"]
    assert len(list(path.parent.iterdir())) > 6
    file.close()


def test_files_that_are_not_kept_are_read_as_long_as_they_are_open(path: Path) -> None:
    file = AuditFile.open(path, max_size=1, keep=1)  # each line has a file
    marks = followed([path], says(file, 1), says(file, 2), says(file, 3, 4), says(file, 5))
    assert marks == ["|", 1, "|", 2, "|", 3, 4, "|", 5, "|"]
    # Between two looks all but the last two went by; what goes on is followed.
    marks = followed([path], says(file, 6, 7, 8, 9))
    assert marks == [4, 5, "|", 8, 9, "|"]
    file.close()


def test_a_file_that_others_rotate_is_followed_too(path: Path) -> None:
    file = AuditFile.open(path)
    says(file, 1)()
    moved = path.with_name("elsewhere")
    marks = followed([path], lambda: path.rename(moved), nothing, says(file, 2), says(file, 3))
    assert marks == [1, "|", "|", "|", 2, "|", 3, "|"]
    file.close()


def test_an_audit_that_is_begun_anew_is_followed(path: Path) -> None:
    first = AuditFile.open(path, max_size=1)
    says(first, 1, 2, 3)()

    def begin_anew() -> None:
        first.close()
        for file in path.parent.iterdir():
            file.unlink()
        second = AuditFile.open(path)
        says(second, 11, 12, 13)()
        second.close()

    assert followed([path], begin_anew, nothing) == [1, 2, 3, "|", 11, 12, 13, "|", "|"]


def test_half_a_line_waits_for_its_end(path: Path) -> None:
    path.write_bytes(b"")
    line = b'{"n":1,"time":"","command":"say","mark":%%d,"x":""%b}\n' % DIGEST

    def add(data: bytes) -> Callable[[], None]:
        def step() -> None:
            with path.open("ab") as file:
                file.write(data)

        return step

    whole = line % 1
    assert followed([path], add(whole[:20]), add(whole[20:]), add(line % 2 + whole[:9])) == [
        *("|", "|", 1, "|", 2, "|"),
    ]


def test_a_torn_line_and_lines_that_were_taken_back_are_written_anew(path: Path) -> None:
    file = AuditFile.open(path)
    says(file, 1)()

    def fail() -> None:
        with path.open("ab") as other:
            other.write(b'{"n":3,"time":"","command":"say","mark":2,"x":""%b}\n{"n":4,"half' % DIGEST)

    def recover() -> None:
        file.recover()

    assert followed([path], fail, recover, says(file, 3)) == [1, "|", 2, "|", "|", 3, "|"]
    file.close()


def test_lines_are_shown_when_a_digest_follows_and_not_if_they_are_taken_back(path: Path) -> None:
    file = AuditFile.open(path)
    says(file, 1)()

    def put_in() -> None:
        with path.open("ab") as other:
            other.write(b'{"n":3,"time":"","command":"say","mark":2,"x":""}\n')

    def begin() -> None:
        with path.open("ab") as other:
            other.write(b'{"n":3,"time":"","command":"say","mark":3,"x":""}\n')

    def end() -> None:
        with path.open("ab") as other:
            other.write(b'{"n":4,"time":"","command":"say","mark":4%b}\n' % DIGEST)

    assert followed([path], put_in, file.recover, nothing, begin, end) == [
        *(1, "|", "|", "|", "|", "|", 3, 4, "|"),
    ]
    file.close()


def test_lines_longer_than_what_is_read_at_once_are_whole(path: Path) -> None:
    long = b'{"n":1,"time":"","command":"say","mark":1,"reason":"%b"%b}\n' % (b"x" * 1_000_000, DIGEST)
    path.write_bytes(long + long)
    assert followed([path]) == [1, 1, "|"]


def test_what_cannot_be_read_is_told_and_the_filter_holds(path: Path) -> None:
    file = AuditFile.open(path)

    def spoil() -> None:
        says(file, 1)()
        with path.open("ab") as other:
            other.write(b"nonsense\n")

    assert followed([path], spoil, says(file, 2)) == ["|", 1, None, "|", None, 2, "|"]
    wanted = Wanted(command="other")
    assert followed([path], says(file, 3), wanted=wanted) == [None, None, "|", "|"]
    file.close()


def test_several_audits_are_followed_and_no_file_is_shown_twice(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    files = [AuditFile.open(path, max_size=1) for path in paths]
    for number, file in enumerate(files):
        says(file, 10 * number + 1, 10 * number + 2)()
    rotated = [file for file in tmp_path.iterdir() if file.suffix[1:].isdecimal()]
    assert len(rotated) == 4
    marks = followed([*paths, *rotated, paths[0]], says(files[1], 13), says(files[0], 3))
    assert marks == [1, 2, 11, 12, "|", 13, "|", 3, "|"]
    for file in files:
        file.close()


def test_a_copy_without_a_head_may_be_followed(path: Path) -> None:
    file = AuditFile.open(path)
    says(file, 1)()
    file.close()
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    assert followed([copy], nothing) == [1, "|", "|"]


def test_a_file_that_is_not_there_is_an_error_and_leaves_nothing_open(path: Path) -> None:
    AuditFile.open(path).close()
    with pytest.raises(FileNotFoundError):
        list(follow([path, path.with_name("none")], COMMANDS, nothing))
