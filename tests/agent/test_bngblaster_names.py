"""Names from outside: whatever they are, nothing outside of an instance's folder is touched."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridle.agent.bngblaster.controller import Controller
from bridle.agent.bngblaster.folder import Folder
from bridle.agent.bngblaster.names import NAME_LIMIT, RUN_FILES, SERVED_FILES, check_instance, check_upload
from bridle.agent.bngblaster.refusal import Refusal
from bridle.agent.bngblaster.settings import ControllerSettings
from bridle.agent.bngblaster.start import StartRequest, command_line
from tests.support.controller import controller
from tests.support.loops import on_every_loop

NAMES = st.one_of(
    st.text(max_size=80),
    st.text(alphabet="./\\ab\0\n ~-", max_size=12),
    st.sampled_from(["", ".", "..", "../x", "/", "a/b", "a\\b", "run.sock", "config.json", "x" * 300]),
)


def accepted(check: Callable[..., None], *arguments: str) -> bool:
    """Whether a name is taken."""
    try:
        check(*arguments)
    except Refusal as refusal:
        return not (refusal.status == 400 and refusal.text.isprintable())
    return True


@given(NAMES)
def test_a_name_that_is_taken_is_a_folder_right_in_the_directory(name: str) -> None:
    if accepted(check_instance, name, "/var/bngblaster"):
        assert Path("/var/bngblaster", name).parent == Path("/var/bngblaster")
        assert os.path.normpath(f"/var/bngblaster/{name}") == f"/var/bngblaster/{name}"
        assert len(os.fsencode(name)) <= 255
        assert len(os.fsencode(f"/var/bngblaster/{name}/run.sock")) < 108


@given(st.text(alphabet="abcXYZ019_- é", min_size=1, max_size=20))
def test_names_without_dots_and_slashes_are_taken_as_they_are(name: str) -> None:
    assert accepted(check_instance, name, "/var/bngblaster")


def test_a_name_may_be_so_long_and_no_longer() -> None:
    assert accepted(check_instance, "x" * NAME_LIMIT, "/v")
    assert not accepted(check_instance, "x" * (NAME_LIMIT + 1), "/v")
    assert not accepted(check_instance, "x" * 50, f"/{'v' * 50}")


@given(NAMES)
@example("up.txt")
def test_an_upload_s_name_is_that_of_a_file_within(name: str) -> None:
    if accepted(check_upload, name):
        assert Path("/i", name).parent == Path("/i")
        assert name not in RUN_FILES
        assert name not in SERVED_FILES


@settings(max_examples=200)
@given(NAMES)
def test_streams_are_read_from_the_instance_s_folder_alone(name: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        folder = Folder(f"{directory}/t1")
        folder.create()
        Path(directory, "t1", "way out").symlink_to("/etc")
        try:
            words = command_line(["b"], folder, StartRequest(stream_config=name))
        except Refusal:
            return
        if name:
            assert words[-2] == "-T"
            inside = os.path.realpath(folder.path) + os.sep
            assert os.path.realpath(words[-1]).startswith(inside)
        with pytest.raises(Refusal):
            command_line(["b"], folder, StartRequest(stream_config="way out/passwd"))


@on_every_loop
async def test_no_target_leads_out_of_the_directory(short_path: Path) -> None:
    """Names as they come in a request: encoded once, twice, or not at all."""
    odd = ["..", ".", "%2e%2e", "..%2f..", "a%00b", "%ff", "a%2fb", "%5c", "%0a", "a.b", "x" * 64]
    async with controller(short_path, upload=True) as front:
        before = {path for path in short_path.rglob("*") if path != front.directory}
        for name in odd:
            for method, what in (("PUT", ""), ("DELETE", ""), ("GET", "config.json"), ("POST", "_start")):
                reply = await front.of(name, what, method=method, body=b"{}")
                assert reply.status in (400, 404, 405), (name, method, reply.status)
        assert {path for path in short_path.rglob("*") if path != front.directory} == before
        assert list(front.directory.iterdir()) == []


@on_every_loop
async def test_names_of_many_alphabets_are_instances(short_path: Path) -> None:
    async with controller(short_path) as front:
        names = sorted(["two words", "größe", "東京", "-x", "~", "a_b-C9", "%41", "é" * 20])
        for name in names:
            assert (await front.of(quote(name), method="PUT", body=b"{}")).status == 201
        assert Controller(ControllerSettings(str(front.directory))).names() == names
        for name in names:
            assert (await front.of(quote(name), method="DELETE")).status == 204


def test_folders_that_can_be_no_instance_are_not_told_of(tmp_path: Path) -> None:
    for name in ("t1", ".hidden", "a.b", "x" * 64):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    assert Controller(ControllerSettings(str(tmp_path))).names() == ["t1"]
    assert Controller(ControllerSettings(str(tmp_path / "none"))).names() == []
