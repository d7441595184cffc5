"""A configuration that somebody asks for, from a file or from a command."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import bridle
from bridle.daemon.document import Document, from_command, read_file
from bridle.wire.kea_messages import read_command


def file_of(folder: Path, text: str) -> Document:
    """The document in a file ``f.conf``."""
    (folder / "f.conf").write_text(text)
    return read_file(str(folder / "f.conf"), "Kettle")


def command_of(arguments: str) -> bridle.Command:
    """A ``config-set`` as it comes over a wire."""
    text = f'{{ "command": "config-set", "arguments": {arguments} }}'
    return read_command(text.encode(), bridle.Peer())


def test_a_value_in_a_file_is_found_by_its_path(tmp_path: Path) -> None:
    document = file_of(tmp_path, '{ "Kettle":\n  { "stages": [ 1,\n 22 ] } }')
    name = f"{tmp_path}/f.conf"
    assert document.value == {"Kettle": {"stages": [1, 22]}}
    assert document.locate(["Kettle"]) == f"{name}:2.3"
    assert document.locate(["Kettle", "stages", 1]) == f"{name}:3.2-3"
    assert document.locate_key(["Kettle", "stages"]) == f"{name}:2.5-12"


def test_what_is_not_there_is_looked_for_in_the_value_around_it(tmp_path: Path) -> None:
    document = file_of(tmp_path, '{ "Kettle": { "stages": [ 1 ] } }')
    name = f"{tmp_path}/f.conf"
    assert document.locate(["Kettle", "none", "at", "all"]) == f"{name}:1.13"
    assert document.locate(["Kettle", "stages", 7]) == f"{name}:1.25"


def test_a_value_in_a_command_is_found_by_its_path_in_the_configuration() -> None:
    document = from_command(command_of('{ "Kettle": { "degrees": 5 } }'))
    assert document.value == {"Kettle": {"degrees": 5}}
    place = document.locate(["Kettle", "degrees"])
    assert place.startswith("<wire>:0:")
    assert document.locate_key(["Kettle", "degrees"]) == place, "a command knows no places of keys"


def test_a_document_without_a_text_knows_no_places() -> None:
    document = Document({"Kettle": {}})
    assert document.locate(["Kettle"]) == ""
    assert document.locate_key(["Kettle"]) == ""
    assert str(document.error("wrong", ["Kettle"])) == "wrong"


def test_an_error_is_given_its_place_once(tmp_path: Path) -> None:
    document = file_of(tmp_path, '{ "Kettle": { "degrees": 5 } }')
    error = bridle.ConfigurationError("too cold", path=["degrees"])
    placed = document.placed(error, ["Kettle"])
    assert str(placed) == f"too cold ({tmp_path}/f.conf:1.26)"
    assert document.placed(placed, ["Kettle"]) is placed
    unplaced = bridle.ConfigurationError("no idea where")
    assert document.placed(unplaced, ["Kettle"]) is unplaced


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("5", "Error during command processing: get(string) called on a non-map Element in (<wire>:0:"),
        ("[]", "Error during command processing: get(string) called on a non-map Element in (<wire>:0:"),
        ('{ "Kettle": 1e999 }', "Number overflow: 1e999 in <wire>:0:"),
    ],
)
def test_arguments_that_are_no_configuration_are_refused(arguments: str, says: str) -> None:
    with pytest.raises(bridle.ArgumentError) as caught:
        from_command(command_of(arguments))
    assert str(caught.value).startswith(says)


def test_a_command_without_arguments_is_refused() -> None:
    with pytest.raises(bridle.ArgumentError, match=r"Missing mandatory 'arguments' parameter\."):
        from_command(bridle.Command("config-set"))


def test_comments_may_be_in_any_encoding_and_the_rest_may_not(tmp_path: Path) -> None:
    file = tmp_path / "f.conf"
    file.write_bytes(b'# caf\xe9\n{ "Kettle": {} } // \xff')
    assert read_file(str(file), "Kettle").value == {"Kettle": {}}
    file.write_bytes(b'{ "Kettle": { "label": "caf\xe9" } }')
    with pytest.raises(bridle.ConfigurationError) as caught:
        read_file(str(file), "Kettle")
    assert str(caught.value).startswith(f"{file}:1.")


def test_a_file_that_includes_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(bridle.ConfigurationError, match=r"f\.conf:1\."):
        file_of(tmp_path, '{ "Kettle": <?include "f.conf"?> }')


def test_what_has_no_end_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(bridle.ConfigurationError, match=f"{name} is not a file"):
            read_file(str(name), "Kettle")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(bridle.ConfigurationError) as caught:
        read_file(str(tmp_path), "Kettle")
    assert str(caught.value) == f"Unable to open file {tmp_path}: Is a directory"
