"""What a verification of an audit finds: any line changed, removed, doubled or moved."""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridle.access.audit_file import AuditFile
from bridle.access.audit_files import OPEN, Source, files_of, is_written
from bridle.access.audit_lines import SEALED, Series, sealed
from bridle.access.audit_verify import FINDINGS_LIMIT, PAUSES, Anchor, verify
from tests.support.audits import lines, say, texts, written

LINES = 12


@pytest.fixture(scope="module", params=[1, 2, 5])
def audit(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an audit, rotated twice; its lines were written one by one, or some together."""
    folder = tmp_path_factory.mktemp("audit")
    together: int = request.param
    written(folder / "audit.jsonl", LINES * together, together=together, max_size=700)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def check(files: dict[str, bytes]) -> list[str]:
    with TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return texts(Path(folder) / "audit.jsonl")


def all_lines(files: dict[str, bytes]) -> list[tuple[str, bytes]]:
    names = [*sorted(name for name in files if name[-1].isdecimal()), "audit.jsonl"]
    return [(name, line) for name in names for line in files[name].splitlines(keepends=True)]


def joined(all_of_them: list[tuple[str, bytes]], files: dict[str, bytes]) -> dict[str, bytes]:
    """The files again, of lines that may have been moved."""
    found = dict.fromkeys(files, b"")
    found["audit.jsonl.head"] = files["audit.jsonl.head"]
    for name, line in all_of_them:
        found[name] += line
    return found


def test_what_was_not_touched_is_whole(audit: dict[str, bytes]) -> None:
    assert len(audit) >= 4
    assert check(audit) == []


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_any_byte_that_is_changed_is_found(audit: dict[str, bytes], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(name for name in audit if not name.endswith(".head"))))
    content = bytearray(audit[name])
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    assert check({**audit, name: bytes(content)})


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_bytes_that_are_put_in_or_taken_out_are_found(
    audit: dict[str, bytes], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(name for name in audit if not name.endswith(".head"))))
    content = audit[name]
    at = data.draw(st.integers(0, len(content) - 1))
    extra = data.draw(st.binary(max_size=40))
    until = data.draw(st.integers(at, len(content)))
    changed = content[:at] + extra + content[until:]
    if changed != content:
        changed_files = {**audit, name: changed}
        # What was only put behind the last line was never part of the chain; it is told as a note.
        behind = (
            name == "audit.jsonl" and changed.startswith(content) and b"\n" not in changed[len(content) :]
        )
        assert check(changed_files) or behind


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_lines_that_are_missing_are_found(audit: dict[str, bytes], data: st.DataObject) -> None:
    present = all_lines(audit)
    gone = data.draw(st.sets(st.integers(0, len(present) - 1), min_size=1))
    assert check(joined([line for at, line in enumerate(present) if at not in gone], audit))


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_lines_in_another_order_or_twice_are_found(audit: dict[str, bytes], data: st.DataObject) -> None:
    present = all_lines(audit)
    order = data.draw(st.permutations(range(len(present))) | st.lists(st.integers(0, len(present) - 1)))
    moved = [
        (present[place][0], present[at][1]) for place, at in zip(range(len(present)), order, strict=False)
    ]
    if [line for _, line in moved] != [line for _, line in present]:
        assert check(joined(moved, audit))


def test_a_finding_names_the_file_the_line_and_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 4)
    whole = path.read_bytes().splitlines(keepends=True)

    def having(*found: bytes) -> list[str]:
        path.write_bytes(b"".join(found))
        return texts(path)

    changed = whole[2].replace(b"say", b"see")
    assert having(*whole[:2], changed, *whole[3:]) == ["audit.jsonl:3: line 3 was changed"]
    assert having(*whole[:2], *whole[3:]) == ["audit.jsonl:3: line 3 is missing before this one"]
    assert having(*whole[:2], b"{}\n", *whole[3:]) == ["audit.jsonl:3: is no line of an audit"]
    assert having(*whole[:4]) == ["audit.jsonl: line 5 is missing at the end"]
    assert having(*whole[:3], *whole[2:]) == [
        "audit.jsonl:4: line 3 stands where line 4 should: moved, or there twice"
    ]
    assert having(*whole[1:])[0] == (
        "audit.jsonl:1: the file does not begin as an audit does: lines before this one are missing"
    )
    assert having()[0] == "audit.jsonl: is empty"


def test_lines_that_share_a_digest_are_told_together_but_for_those_that_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 4, together=4)
    whole = path.read_bytes().splitlines(keepends=True)
    assert [b"digest" in line for line in whole] == [True, False, False, False, True]

    def having(*found: bytes) -> list[str]:
        path.write_bytes(b"".join(found))
        return texts(path)

    changed = whole[2].replace(b"say", b"see")
    assert having(*whole[:2], changed, *whole[3:]) == ["audit.jsonl:5: one of the lines 2 to 5 was changed"]
    assert having(*whole[:2], *whole[3:]) == ["audit.jsonl:3: line 3 is missing before this one"]
    assert having(*whole[:2], b"{}\n", *whole[3:]) == ["audit.jsonl:3: is no line of an audit"]
    bare = re.sub(rb',"digest":"[0-9a-f]{64}"', b"", whole[4])
    assert having(*whole[:4], bare) == [
        "audit.jsonl:5: line 5 has another digest than its head or anchor",
        "audit.jsonl:5: lines 2 to 5 are without a digest",
    ]
    assert having(*whole[:4]) == [
        "audit.jsonl:4: lines 2 to 4 are without a digest",
        "audit.jsonl: line 5 is missing at the end",
    ]


def test_many_lines_that_are_written_together_have_digests_among_them(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 3 * SEALED + 1, together=3 * SEALED + 1)
    sealing = [number for number, line in enumerate(lines(path)) if "digest" in line]
    assert sealing == [0, SEALED, 2 * SEALED, 3 * SEALED, 3 * SEALED + 1]
    assert texts(path) == []


def torn(path: Path) -> bytes:
    """An audit whose last lines have no digest yet, and that its head does not know; what is missing."""
    written(path, 2)
    head = Path(f"{path}.head").read_bytes()
    written(path, 4, together=4)
    *most, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(most))
    Path(f"{path}.head").write_bytes(head)
    return last


def test_lines_without_a_digest_at_the_end_are_found_where_nobody_writes(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    torn(path)
    pauses: list[float] = []
    report = verify([path], pause=pauses.append)
    assert [finding.text for finding in report.findings] == [
        "lines 5 to 7 are without a digest: put in by somebody, or torn by a crash"
    ]
    assert (report.last, report.notes, pauses) == (4, [], [])
    written(path, 0)
    assert texts(path) == [], "opened again it is as it was"


@pytest.mark.parametrize("piece", [7, 30, 10_000])
def test_lines_that_are_being_written_are_waited_for(tmp_path: Path, piece: int) -> None:
    path = tmp_path / "audit.jsonl"
    rest = torn(path)
    pieces = [rest[at : at + piece] for at in range(0, len(rest), piece)]
    assert len(pieces) <= PAUSES

    def write(seconds: float) -> None:
        with path.open("ab") as file:
            file.write(pieces.pop(0))

    with Path(f"{path}.head").open("rb") as head:
        fcntl.flock(head, fcntl.LOCK_EX)
        report = verify([path], pause=write)
    assert (report.findings, report.notes, report.last, pieces) == ([], [], 8, [])


def test_lines_that_get_no_digest_are_waited_for_no_longer_than_is_stated(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    file = written(path, 2)
    file = AuditFile.open(path)
    with path.open("ab") as other:
        other.write(b'{"n":5,"command":"put in"}\n')
    pauses: list[float] = []
    report = verify([path], pause=pauses.append)
    assert [finding.text for finding in report.findings] == [
        "line 5 is without a digest: put in by somebody, or torn by a crash"
    ]
    assert len(pauses) == PAUSES
    say(file, 1)
    file.close()
    assert texts(path), "what was put in stays a finding"


def test_who_verifies_keeps_nobody_from_opening_an_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 2)
    with Path(f"{path}.head").open("rb") as head:
        fcntl.flock(head, fcntl.LOCK_SH)  # what a verification has for a moment
        monkeypatch.setattr("bridle.access.audit_file.time.sleep", lambda _: fcntl.flock(head, fcntl.LOCK_UN))
        file = AuditFile.open(path)
    assert is_written(path)
    file.close()
    assert not is_written(path)


def test_a_chain_written_anew_is_found_by_an_anchor_and_not_at_all_without(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    file = written(path, 4)
    anchor = Anchor(file.head.number, file.head.digest)
    assert texts(path, anchors=[anchor]) == []
    other = tmp_path / "other" / "audit.jsonl"
    other.parent.mkdir()
    written(other, 4)
    assert texts(other) == []
    assert texts(other, anchors=[anchor]) == [
        "audit.jsonl:5: line 5 has another digest than its head or anchor"
    ]
    assert texts(other, anchors=[Anchor(9, anchor.digest)]) == [
        "audit.jsonl: lines 6 to 9 are missing at the end"
    ]


def test_without_the_key_nobody_makes_a_line_that_is_right(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    key = b"k" * 32
    file = written(path, 2, key=key)
    made = [Series(3).fact(b'{"time":"x","command":"y"}')]
    forged, _ = sealed(made, bytes.fromhex(file.head.digest), b"")
    path.write_bytes(path.read_bytes() + forged)
    assert texts(path, keys=[key]) == ["audit.jsonl:4: line 4 was changed"]
    plain = tmp_path / "plain" / "audit.jsonl"
    plain.parent.mkdir()
    file = written(plain, 2)
    forged, digest = sealed(made, bytes.fromhex(file.head.digest), b"")
    plain.write_bytes(plain.read_bytes() + forged)
    assert texts(plain) == []
    assert verify([plain]).digest == digest.hex()


def test_copies_without_their_head_are_verified_as_far_as_they_go(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, LINES, max_size=700)
    copies = []
    for number, file in enumerate(files_of(path)):
        copies.append(tmp_path / f"copy-{9 - number}")
        copies[-1].write_bytes(file.read_bytes())
    report = verify(copies, copies=True)
    assert (report.findings, report.files, report.first) == ([], len(copies), 1)
    assert "there is no head" in report.notes[0].text
    report = verify(copies[1:2], copies=True)
    assert (report.findings, report.first) == ([], lines(copies[1])[0]["n"])
    assert verify([copies[0], copies[2]], copies=True).findings[0].file == str(copies[2])
    found = verify(copies).findings
    assert [Path(finding.file).name for finding in found] == [f"{copy.name}.head" for copy in copies]


def test_a_head_that_is_missing_is_found_and_with_it_what_was_rotated_is_looked_at(
    audit: dict[str, bytes],
) -> None:
    rotated = sorted(name for name in audit if name[-1].isdecimal())
    text = "lines may have been cut off at the end (copies may be without it: --copies)"
    missing = f"audit.jsonl.head: is missing: {text}"
    del (without := dict(audit))["audit.jsonl.head"]
    assert check(without) == [missing]
    changed = {**without, rotated[1]: without[rotated[1]].replace(b"say", b"see", 1)}
    assert len(check(changed)) == 2
    del (removed := dict(without))[rotated[1]]
    assert any("missing before this one" in text for text in check(removed))
    cut = {**without, "audit.jsonl": without["audit.jsonl"].splitlines(keepends=True)[0]}
    assert check(cut) == [missing]


def test_half_a_line_behind_the_head_is_being_written_and_no_finding(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 2)
    path.write_bytes(path.read_bytes() + b'{"n":4,"ti')
    report = verify([path])
    assert report.findings == []
    assert "half a line, of 10 bytes: being written, or torn by a crash" in str(report.notes[0])


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("step", range(1, 12))
def test_an_audit_that_is_rotated_while_it_is_opened_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int, step: int
) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 6, max_size=700)
    opens = 0
    real = Path.open

    def rotated_meanwhile(self: Path, *arguments: Any, **more: Any) -> Any:
        nonlocal opens
        opens += 1
        if opens == step:
            monkeypatch.setattr(Path, "open", real)
            written(path, 10, max_size=700, keep=keep)
        return real(self, *arguments, **more)

    monkeypatch.setattr(Path, "open", rotated_meanwhile)
    assert texts(path) == []


@pytest.mark.parametrize("rotated", [1, OPEN - 1, OPEN + 2])
def test_files_that_are_removed_while_they_are_read_are_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rotated: int
) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, rotated, max_size=1)
    real = Source.opened
    files = len(files_of(path))
    looks = 0

    def removed_meanwhile(self: Source) -> Any:
        nonlocal looks
        looks += 1
        if looks == files + 1:  # they are in order, and the first is about to be read
            written(path, 3, max_size=1, keep=2)
        return real(self)

    monkeypatch.setattr(Source, "opened", removed_meanwhile)
    assert texts(path) == []


def without_own(path: Path) -> None:
    path.unlink()


def with_an_empty_one(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("left", [without_own, with_an_empty_one])
def test_a_file_that_is_not_begun_yet_is_no_finding_and_one_that_was_emptied_is(
    tmp_path: Path, left: Callable[[Path], None]
) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 3)
    path.rename(f"{path}.000000000001")  # what a rotation begins with
    if left is with_an_empty_one:
        left(path)
    assert texts(path) == []
    assert verify([path]).last == 4
    written(path, 1)
    assert texts(path) == []
    left(path)
    name = "audit.jsonl.000000000001" if left is without_own else "audit.jsonl"
    assert texts(path) == [f"{name}: lines 5 to 6 are missing at the end"]


def test_no_more_is_told_than_anybody_reads(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"nonsense\n" * 1000)
    assert len(verify([path]).findings) == FINDINGS_LIMIT


@settings(max_examples=80, deadline=None)
@given(content=st.binary(max_size=400), head=st.binary(max_size=100))
def test_whatever_stands_in_the_files_it_ends_with_a_finding(content: bytes, head: bytes) -> None:
    assert check({"audit.jsonl": content, "audit.jsonl.head": head})


@settings(max_examples=80, deadline=None)
@given(
    facts=st.dictionaries(
        st.sampled_from(["event", "previous", "oldest", "key", "n", "digest", "number", "time"]),
        st.none() | st.integers(-5, 5) | st.just("start") | st.just("0" * 64) | st.just(""),
    )
)
def test_whatever_a_first_line_says_it_ends_with_a_finding(facts: dict[str, object]) -> None:
    line = json.dumps({"n": 1, **facts, "digest": "0" * 64}, separators=(",", ":")).encode() + b"\n"
    assert check({"audit.jsonl": line, "audit.jsonl.head": b"{}"})
