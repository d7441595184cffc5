"""The tolerant reader: what it takes, how it complains, and where it says that things stand."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import JSON, Command
from bridle.core.messages import Path as JSONPath
from bridle.wire.kea_reader import INTEGER_MAX, INTEGER_MIN, NESTING_LIMIT, KeaSyntaxError, read, type_name

VECTORS = Path(__file__).parent.parent / "vectors" / "kea.jsonl"


def complaint(text: bytes, *, body: bool = False) -> str:
    """What is wrong with a command, on a socket or as the body of a request."""
    with pytest.raises(KeaSyntaxError) as caught:
        read(text, name="<string>", first_line=1) if body else read(text)
    assert caught.value.data == text
    return caught.value.text


def captured(number: int) -> tuple[bytes, str]:
    """The command of a captured exchange, and the text of its answer."""
    row = json.loads(VECTORS.read_text().splitlines()[number])
    request = row["request"].rpartition("\r\n\r\n")[2].encode(errors="surrogateescape")
    [text] = re.findall(r'"text": ("(?:[^"\\]|\\.)*")', row["response"])
    return request, json.loads(text)


class TestWhatIsTaken:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            (b'{ "command": "foo", "arguments": { "a": [ 1, -2.5, true, false, null ] } }', None),
            (b"[1,2,]", [1, 2]),
            (b'{"a":[1,2, ],"b":[[3,],]}', {"a": [1, 2], "b": [[3]]}),
            (b'{"a":1,"a":{"a":2},"a":3}', {"a": 3}),
            (b' \b\f\n\r\t{\b"a"\f:\r1\t}\n ', {"a": 1}),
            (b'"line\nbreak\x01\x00\x7f"', "line\nbreak\x01\x00\x7f"),
            (b'{"a\nb": 1}', {"a\nb": 1}),
            (rb'"\"\\\/\b\f\n\r\t"', '"\\/\b\f\n\r\t'),
            ('"é€😀"'.encode(), "é€😀"),
            (rb'"\u00e9\u20ac\ud83d\ude00"', "é€😀"),
            (rb'"\u00c3\u00a9"', "é"),
            (b'"\\u00c3\\u00a9\n"', "é\n"),
        ],
    )
    def test_it_takes_what_kea_takes(self, text: bytes, value: JSON) -> None:
        assert read(text).value == (json.loads(text) if value is None else value)

    @pytest.mark.parametrize(
        ("text", "number"),
        [
            (b"+5", 5),
            (b"-0", 0),
            (b"007", 7),
            (b"+0007", 7),
            (b"9223372036854775807", INTEGER_MAX),
            (b"-9223372036854775808", INTEGER_MIN),
            (b".5", 0.5),
            (b"+.5", 0.5),
            (b"-.5e3", -500.0),
            (b"5.", 5.0),
            (b"5.e3", 5000.0),
            (b"00.5", 0.5),
            (b"1E5", 1e5),
            (b"1e-400", 0.0),
            (b"99999999999999999999.0", 1e20),
            (b"1e+10.0", 1e10),
            (b"1e-07.0", 1e-7),
        ],
    )
    def test_a_number_is_an_integer_or_a_float_by_how_it_is_written(self, text: bytes, number: float) -> None:
        for value in (read(text).value, read(b"[" + text + b",]").value[0]):  # type: ignore[index]
            assert (value, type(value)) == (number, type(number))

    @pytest.mark.parametrize("row", [16, 18, 24, 37, 38, 39, 40])
    def test_it_takes_what_the_real_program_took(self, row: int) -> None:
        request, _ = captured(row)
        value = read(request).value
        assert isinstance(value, dict)
        assert value["command"] in ("bar", "foo", "é€", "a\nb\tc", "a\x7fb\x01", "version-get")

    def test_it_takes_what_is_nested_up_to_the_limit(self) -> None:
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            text = opening * NESTING_LIMIT + b"1" + closing * NESTING_LIMIT
            assert read(text).value == json.loads(text)
            assert read(text.replace(b"1", b"+1")).value == json.loads(text)

    def test_it_stops_behind_the_value_when_it_is_told_so(self) -> None:
        reading = read(b'{"a": 1} {"b": 2}', trailing=True)
        assert reading.value == {"a": 1}
        assert reading.locate(["a"]) == "<wire>:0:6"

    def test_many_short_lists_are_not_deep(self) -> None:
        assert read(b"[" + b"[]," * 1000 + b"[]]").value == [[]] * 1001


class TestWhatIsRefused:
    # Found with the real program's own parser, as were those of the captured rows.
    @pytest.mark.parametrize(
        ("text", "wire"),
        [
            (b'{"a":bar}', "error: unexpected character b in <wire>:0:6"),
            (b'{"a":1', 'EOF read, one of ",}" expected in <wire>:0:7'),
            (b"[1", 'EOF read, one of ",]" expected in <wire>:0:3'),
            (b"[", "nothing read"),
            (b"[1,", "nothing read"),
            (b'{"a":', "nothing read"),
            (b"", "nothing read"),
            (b" \n", "nothing read"),
            (b'"abc', "Unterminated string in <wire>:0:5"),
            (b"{", "Unterminated map, <string> or } expected in <wire>:0:1"),
            (b"{,}", "String expected in <wire>:0:2"),
            (b'{"a":1,', "String expected in <wire>:0:8"),
            (b'{"a":1, }', "String expected in <wire>:0:9"),
            (b'{"a":1,,"b":2}', "String expected in <wire>:0:8"),
            (b'{"a"', 'EOF read, one of ":" expected in <wire>:0:5'),
            (b'{"a" 1', "'1' read, one of \":\" expected in <wire>:0:6"),
            (b"[1 2]", "'2' read, one of \",]\" expected in <wire>:0:4"),
            (b"[}", "error: unexpected character } in <wire>:0:2"),
            (b"[,]", "error: unexpected character , in <wire>:0:2"),
            (b"[1,,2]", "error: unexpected character , in <wire>:0:4"),
            (b"[1,\n bar]", "error: unexpected character b in <wire>:1:3"),
            (b'{"a"\n\n :bar}', "error: unexpected character b in <wire>:2:4"),
            (b'{\n"a":1,\n}', "String expected in <wire>:2:2"),
            (b"[1\n,\n\n x]", "error: unexpected character x in <wire>:3:3"),
            (b"[1,\x0b2]", "error: unexpected character \x0b in <wire>:0:4"),
            (b"truex", "Bad boolean value: truex in <wire>:0:0"),
            (b"nullx", "Bad null value: nullx in <wire>:0:0"),
            (b"+", "Number overflow: + in <wire>:0:0"),
            (b".", "Number overflow: . in <wire>:0:0"),
            (b"1e", "Number overflow: 1e in <wire>:0:0"),
            (b"--5", "Number overflow: --5 in <wire>:0:0"),
            (b"1-2", "Number overflow: 1-2 in <wire>:0:0"),
            (b"[1.5.]", "Number overflow: 1.5. in <wire>:0:1"),
            (b"1e309", "Number overflow: 1e309 in <wire>:0:0"),
            (b"9223372036854775808", "Number overflow: 9223372036854775808 in <wire>:0:0"),
            (b"[-9223372036854775809]", "Number overflow: -9223372036854775809 in <wire>:0:1"),
            (b'"\\', "Bad escape in <wire>:0:2"),
            (rb'"\u', "Unsupported unicode escape in <wire>:0:3"),
            (rb'"\u0', "Unsupported unicode escape in <wire>:0:2"),
            (rb'"\u00"', "Not hexadecimal in unicode escape in <wire>:0:2"),
            (rb'"\u000z"', "Not hexadecimal in unicode escape in <wire>:0:2"),
            (rb'{"a":"\u12"}', "Unsupported unicode escape in <wire>:0:8"),
            (rb'{"\x":1}', "Bad escape in <wire>:0:3"),
        ],
    )
    def test_it_complains_as_kea_does(self, text: bytes, wire: str) -> None:
        assert complaint(text) == wire

    # Comments and single characters are the feed's to complain about, before anything is read.
    @pytest.mark.parametrize("row", [17, 19, 20, 21, 22, 23, 25, 33, 36])
    def test_it_complains_as_the_real_program_did(self, row: int) -> None:
        request, text = captured(row)
        assert complaint(request) == text

    @pytest.mark.parametrize(
        ("text", "wire"),
        [
            (b'{"command" "foo"}', '\'"\' read, one of ":" expected in <wire>:0:12'),
            (b'{"command":"foo" "x":1}', '\'"\' read, one of ",}" expected in <wire>:0:18'),
            (b'{"command": foo}', "Bad boolean value: foo in <wire>:0:12"),
            (b'{"command": nul}', "Bad null value: nul in <wire>:0:12"),
            (b'{"command":"foo","arguments":[,1]}', "error: unexpected character , in <wire>:0:31"),
            (b'{"command":"foo","arguments":{"x":1.2.3}}', "Number overflow: 1.2.3 in <wire>:0:34"),
            (rb'{"command":"\u00zz"}', "Not hexadecimal in unicode escape in <wire>:0:13"),
        ],
    )
    def test_it_complains_as_the_facts_say(self, text: bytes, wire: str) -> None:
        assert complaint(text) == wire

    @pytest.mark.parametrize(
        ("text", "string"),
        [
            (b'{"a":bar}', "error: unexpected character b in <string>:1:7"),
            (b"truex", "Bad boolean value: truex in <string>:1:1"),
            (b"[1,\n bar]", "error: unexpected character b in <string>:2:3"),
            (b"[\n\n[1,]]x", "Extra data in <string>:3:6"),
            (b'{"a":1} x', "Extra data in <string>:1:9"),
        ],
    )
    def test_the_lines_of_a_body_count_from_one(self, text: bytes, string: str) -> None:
        assert complaint(text, body=True) == string

    @pytest.mark.parametrize(
        ("text", "wire"),
        [
            (rb'"\ud800"', "Unsupported unicode escape in <wire>:0:3"),
            (rb'"\ude00"', "Unsupported unicode escape in <wire>:0:3"),
            (rb'["a","\ud83d\u0041"]', "Unsupported unicode escape in <wire>:0:8"),
        ],
    )
    def test_half_of_a_surrogate_pair_is_refused(self, text: bytes, wire: str) -> None:
        assert complaint(text) == wire

    @pytest.mark.parametrize(
        ("text", "wire"),
        [
            (b'{"a":"b\xff"}', "Invalid UTF-8 in <wire>:0:8"),
            (b'{"a\xc3":1}', "Invalid UTF-8 in <wire>:0:4"),
            (b'["\xed\xa0\x80",]', "Invalid UTF-8 in <wire>:0:3"),
            (b"[\xff]", "error: unexpected character \ufffd in <wire>:0:2"),
            ("[é]".encode(), "error: unexpected character é in <wire>:0:2"),
        ],
    )
    def test_what_is_not_utf_8_is_refused(self, text: bytes, wire: str) -> None:
        assert complaint(text) == wire

    @pytest.mark.parametrize("levels", [NESTING_LIMIT + 1, 1500, 200_000])
    def test_what_is_nested_too_deeply_is_refused(self, levels: int) -> None:
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            text = opening * levels + b"1" + closing * levels
            assert complaint(text) == "fromJSON elements nested too deeply"
            assert complaint(text[: levels * len(opening)]) == "fromJSON elements nested too deeply"

    def test_a_repeated_key_does_not_hide_what_is_nested_too_deeply(self) -> None:
        inner = b"[" * NESTING_LIMIT + b"]" * NESTING_LIMIT
        assert complaint(b'{"b":1,"a":' + inner + b"}") == "fromJSON elements nested too deeply"

    def test_the_columns_behind_an_empty_map_are_right(self) -> None:
        assert complaint(b'{"a":{},"b":bar}') == "error: unexpected character b in <wire>:0:13"

    def test_lines_are_counted_through_strings(self) -> None:
        assert complaint(b'["a\nb", bar]') == "error: unexpected character b in <wire>:1:6"

    def test_a_complaint_is_a_protocol_error_with_the_text(self) -> None:
        with pytest.raises(RemoteProtocolError, match=r"^nothing read$") as caught:
            read(b"[")
        assert caught.value.data == b"["


class TestWhereThingsStand:
    TEXT = b'{"command": "foo",\n "arguments": {"a": [1, {"b": null}, []],\n"c": {}, "d": "e"}, "f": -1}'

    @pytest.mark.parametrize(
        ("path", "wire", "string"),
        [
            ([], "<wire>:0:1", "<string>:1:2"),
            (["command"], "<wire>:0:12", "<string>:1:13"),
            (["arguments"], "<wire>:1:16", "<string>:2:16"),
            (["arguments", "a"], "<wire>:1:22", "<string>:2:22"),
            (["arguments", "a", 0], "<wire>:1:22", "<string>:2:22"),
            (["arguments", "a", 1], "<wire>:1:26", "<string>:2:26"),
            (["arguments", "a", 1, "b"], "<wire>:1:31", "<string>:2:31"),
            (["arguments", "a", 2], "<wire>:1:39", "<string>:2:39"),
            (["arguments", "c"], "<wire>:2:7", "<string>:3:7"),
            (["arguments", "d"], "<wire>:2:15", "<string>:3:15"),
            (["f"], "<wire>:2:26", "<string>:3:26"),
        ],
    )
    def test_every_value_has_its_place(self, path: JSONPath, wire: str, string: str) -> None:
        assert read(self.TEXT).locate(path) == wire
        assert read(self.TEXT, name="<string>", first_line=1).locate(path) == string

    @pytest.mark.parametrize(
        "path",
        [
            ["x"],
            ["command", "x"],
            [0],
            ["arguments", "a", 3],
            ["arguments", "a", -1],
            ["arguments", "a", "b"],
        ],
    )
    def test_what_is_not_there_has_no_place(self, path: JSONPath) -> None:
        assert read(self.TEXT).locate(path) == ""

    def test_a_text_that_is_not_plain_json_has_places_too(self) -> None:
        reading = read(b'{"a": +1, "b": [1, 2, ], "a": "\\u00c3\\u00a9\n", "c": {}}')
        assert [reading.locate([key]) for key in "abc"] == ["<wire>:0:30", "<wire>:0:16", "<wire>:1:10"]

    def test_columns_are_bytes(self) -> None:
        assert read('{"é€": "é", "b": 1}'.encode()).locate(["b"]) == "<wire>:0:21"

    def test_the_last_of_a_repeated_key_is_the_one(self) -> None:
        assert read(b'{"a": 1, "a": 2}').locate(["a"]) == "<wire>:0:14"

    @pytest.mark.parametrize(
        ("row", "path"),
        [
            (60, ["arguments"]),
            (154, ["arguments"]),
            (155, ["arguments", "Dhcp4", "BOGUS"]),
            (156, ["arguments", "Dhcp4", "valid-lifetime"]),
            (162, ["arguments"]),
            (163, ["arguments", "Dhcp4", "BOGUS"]),
            (172, ["arguments"]),
            (173, ["arguments"]),
            (174, ["arguments", "Dhcp6", "BOGUS"]),
            (175, ["arguments", "Dhcp6", "valid-lifetime"]),
            (190, ["arguments"]),
            (193, ["arguments", "DhcpDdns", "port"]),
            (199, ["arguments"]),
            (232, ["service", 0]),
            (233, ["service", 0]),
            (313, ["arguments"]),
            (314, ["arguments"]),
            (315, ["arguments", "Control-agent", "http-port"]),
            (320, ["arguments", "Control-agent", "authentication", "clients", 0]),
            (322, ["arguments", "Control-agent", "authentication", "clients", 0, "user"]),
        ],
    )
    def test_places_are_those_that_the_real_program_named(self, row: int, path: JSONPath) -> None:
        request, text = captured(row)
        name, line, column = re.findall(r"(<\w+>):(\d):(\d+)", text)[0]
        assert read(request, name=name, first_line=int(line)).locate(path) == f"{name}:{line}:{column}"

    def test_a_reading_is_the_source_of_a_command(self) -> None:
        text = b'{"command": "foo", "arguments": []}'
        command = Command("foo", [], source=read(text))
        assert command.locate(["arguments"]) == "<wire>:0:33"


@pytest.mark.parametrize(
    "text",
    [
        b'"' + b"\\" * 1_000_000,
        b'{"a":"' + rb"\u00c3" * 100_000 + b'"}',
        b'{"a":"' + rb"\u00c3\u00a9x" * 60_000 + rb"\x",
        b'{"a":"' + b"\x01\\n" * 100_000 + b'"}',
        b"1" * 1_000_000,
        b"+" * 1_000_000,
        b"[" + b"+1," * 50_000 + b"]",
        b"[" + b"{}," * 50_000 + b"]",
        b"[" + b'"",' * 50_000 + b"]",
        b"[" + b"1" * 4000 + b",]",
        b" " * 1_000_000,
        b"\n" * 1_000_000 + b"x",
        b'{"a":1,' * 50 + b"\n" * 1_000_000,
    ],
    ids=range(13),
)
def test_no_text_takes_long(text: bytes) -> None:
    begun = time.process_time()
    try:
        read(text)
    except KeaSyntaxError:
        pass
    # The worst of these takes some tenths of a second; work that grew with the square would take minutes.
    assert time.process_time() - begun < 5


def test_types_have_keas_names() -> None:
    values: list[JSON] = [1, 1.5, True, None, "a", [], {}]
    assert [type_name(value) for value in values] == [
        *["integer", "real", "boolean", "null", "string", "list", "map"]
    ]
