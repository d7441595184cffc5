"""Kea's byte form of JSON, written and read."""

from __future__ import annotations

import enum
import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import JSON
from bridle.wire.kea_json import decode, encode, encode_pretty

VECTORS = Path(__file__).parent.parent / "vectors" / "kea.jsonl"


def deep(levels: int) -> JSON:
    value: JSON = 1
    for _ in range(levels):
        value = [value]
    return value


class TestOneLine:
    @pytest.mark.parametrize(
        ("value", "written"),
        [
            ({"result": 0, "text": "done"}, b'{ "result": 0, "text": "done" }'),
            ({}, b"{  }"),
            ([], b"[  ]"),
            ([1, [], {}], b"[ 1, [  ], {  } ]"),
            ({"a": [True, False, None]}, b'{ "a": [ true, false, null ] }'),
            ("text", b'"text"'),
            (5, b"5"),
            (None, b"null"),
        ],
    )
    def test_brackets_colons_and_commas_have_their_spaces(self, value: JSON, written: bytes) -> None:
        assert encode(value) == written

    def test_keys_are_sorted_by_their_bytes(self) -> None:
        value: JSON = dict.fromkeys(["a_b", "aB", "b", "a-b", "9", "B", "10", "é", "\uffff", "😀", ""], 0)
        assert list(json.loads(encode(value))) == [
            *["", "10", "9", "B", "a-b", "aB", "a_b", "b", "é", "\uffff", "😀"]
        ]

    @pytest.mark.parametrize(
        ("text", "written"),
        [
            ('"\\/', rb'"\"\\/"'),
            ("\b\f\n\r\t", rb'"\b\f\n\r\t"'),
            ("\x00\x1f\x7f", rb'"\u0000\u001f\u007f"'),
            ("é€😀\u2028", '"é€😀\u2028"'.encode()),
        ],
    )
    def test_strings_and_keys_are_escaped_alike(self, text: str, written: bytes) -> None:
        assert encode(text) == written
        assert encode({text: text}) == b"{ " + written + b": " + written + b" }"

    @pytest.mark.parametrize(
        "number",
        [0, -1, 2**63, -(2**63), 10**30, 0.0, -0.0, 1.0, 0.1, 1e10, 1e16, 1e22, 1e-7, 5e-324, 1.7e308],
    )
    def test_a_number_comes_back_as_the_same_number_of_the_same_type(self, number: float) -> None:
        for written in (encode(number), encode_pretty(number)):
            again = decode(written)
            assert (repr(again), type(again)) == (repr(number), type(number))

    @pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
    def test_a_number_that_is_not_finite_is_an_error(self, number: float) -> None:
        for value in (number, [number], {"a": {"b": number}}):
            with pytest.raises(ValueError, match=f"{number} cannot be written as JSON"):
                encode(value)
            with pytest.raises(ValueError, match=f"{number} cannot be written as JSON"):
                encode_pretty(value)

    def test_raw_json_is_inserted_as_it_is(self) -> None:
        raw = msgspec.Raw(b'{"b":1,  "a":"\x7f"}')
        assert encode(raw) == bytes(raw)
        assert encode({"z": "\x7f", "arguments": [raw]}) == (  # type: ignore[dict-item]
            b'{ "arguments": [ {"b":1,  "a":"\x7f"} ], "z": "\\u007f" }'
        )

    def test_tuples_enumerations_and_structs_are_written_as_what_they_stand_for(self) -> None:
        class Code(enum.IntEnum):
            ERROR = 1

        class Lease(msgspec.Struct):
            name: str
            addresses: tuple[str, ...] = ()

        value = {"result": Code.ERROR, "lease": Lease("x", ("a", "b"))}
        assert encode(value) == (  # type: ignore[arg-type]
            b'{ "lease": { "addresses": [ "a", "b" ], "name": "x" }, "result": 1 }'
        )

    @pytest.mark.parametrize("value", [object(), {"a": object()}, {1: 2}, {None: 2}, {"a": 1, 2: 3}])
    def test_what_has_no_place_in_json_is_an_error(self, value: JSON) -> None:
        with pytest.raises(TypeError):
            encode(value)
        with pytest.raises(TypeError):
            encode_pretty(value)

    def test_a_key_that_is_no_string_is_named(self) -> None:
        with pytest.raises(TypeError, match=r"the keys of a map are strings, not int \(1\)"):
            encode({1: 2})  # type: ignore[dict-item]

    @pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}])
    def test_a_string_that_cannot_be_utf_8_is_an_error(self, value: JSON) -> None:
        with pytest.raises(ValueError, match="surrogates not allowed"):
            encode(value)

    def test_a_value_inside_itself_is_an_error(self) -> None:
        value: list[JSON] = []
        value.append(value)
        with pytest.raises(ValueError, match="nested too deeply"):
            encode(value)
        with pytest.raises(ValueError, match="nested too deeply"):
            encode_pretty(value)

    def test_what_the_real_program_sent_is_written_again_to_the_byte(self) -> None:
        responses = [json.loads(line)["response"] for line in VECTORS.read_text().splitlines()]
        written = [text.encode(errors="surrogateescape") for text in responses if text.startswith("{ ")]
        same = [
            text
            for text in written
            if b"\\u00" not in text and b"<...>" not in text and b"'a\"b'" not in text
        ]
        assert len(same) > 150
        differing = [text for text in same if encode(decode(text)) != text]
        assert differing == []


class TestPretty:
    # Written by config-write of Kea 2.2.
    REAL = b"""{
  "Dhcp4": {
    "hooks-libraries": [ ],
    "lease-database": {
      "persist": false,
      "type": "memfile"
    },
    "loggers": [
      {
        "name": "kea-dhcp4",
        "output_options": [
          {
            "flush": true,
            "pattern": ""
          }
        ]
      }
    ],
    "t1-percent": 0.5,
    "user-context": {
      "e": [ ],
      "ll": [
        [ ]
      ],
      "m": { },
      "maps": [
        {
          "a": [ 1 ],
          "b": { }
        },
        {
          "c": [
            {
              "d": 1
            }
          ]
        }
      ],
      "mix": [ 1, [ 2 ], {
          "x": [ ]
        } ],
      "mix2": [ 1, {
          "a": 1
        }, 2 ],
      "mm": [
        { }
      ],
      "nest": [
        [ 1, 2 ],
        [
          [ 3 ],
          [ ]
        ],
        { },
        {
          "a": 1
        }
      ],
      "sl": [ 1, "a", true, null, 1.5 ]
    },
    "valid-lifetime": 7200
  }
}"""

    def test_a_configuration_is_written_as_the_real_program_writes_it(self) -> None:
        assert encode_pretty(json.loads(self.REAL)) == self.REAL

    def test_the_order_in_memory_does_not_matter(self) -> None:
        assert encode_pretty({"b": 1, "a": {"d": 1, "c": 2}}) == encode_pretty(
            {"a": {"c": 2, "d": 1}, "b": 1}
        )

    @pytest.mark.parametrize(
        ("value", "written"),
        [
            ({}, b"{ }"),
            ([], b"[ ]"),
            ("a\x7f", b'"a\\u007f"'),
            ([1, 2], b"[ 1, 2 ]"),
            ([[1]], b"[\n  [ 1 ]\n]"),
        ],
    )
    def test_nothing_stands_around_the_outermost_value(self, value: JSON, written: bytes) -> None:
        assert encode_pretty(value) == written

    def test_raw_json_is_inserted_as_it_is(self) -> None:
        value = {"a": msgspec.Raw(b'{"b":1}')}
        assert encode_pretty(value) == b'{\n  "a": {"b":1}\n}'  # type: ignore[arg-type]

    def test_structs_are_written_over_lines_too(self) -> None:
        class Pair(msgspec.Struct):
            b: int
            a: tuple[int, ...]

        assert encode_pretty({"p": Pair(1, (2,))}) == (  # type: ignore[dict-item]
            b'{\n  "p": {\n    "a": [ 2 ],\n    "b": 1\n  }\n}'
        )


class TestReading:
    @pytest.mark.parametrize(
        ("data", "value"),
        [
            (rb'{ "text": "\u00c3\u00a9\u00e2\u0082\u00ac" }', {"text": "é€"}),
            ('{ "text": "é€" }'.encode(), {"text": "é€"}),
            (rb'{ "text": "\u00e9 \u00c3\u00a9\u00ff" }', {"text": "é Ã©ÿ"}),
            (rb'{ "text": "\\u00c3\\u00a9" }', {"text": r"\u00c3\u00a9"}),
            (rb'{ "text": "\\\u00c3\u00a9" }', {"text": "\\é"}),
            (rb'{ "text": "a\u007fb\u0001" }', {"text": "a\x7fb\x01"}),
            ('{ "é": 1 }'.encode(), {"é": 1}),
            (b"[  ]\n", []),
            (b"99999999999999999999", 99999999999999999999),
        ],
    )
    def test_text_is_read_however_it_was_escaped(self, data: bytes, value: JSON) -> None:
        assert decode(data) == value

    @pytest.mark.parametrize(
        ("data", "value"),
        [
            (b'{ "a": 1e+10.0, "b": 1e-07.0, "c": -2.5e-05 }', {"a": 1e10, "b": 1e-7, "c": -2.5e-5}),
            (b'{ "a\nb\x01": 1e+10.0 }', {"a\nb\x01": 1e10}),
            (b'{ "a\nb": "\\u00c3\\u00a9" }', {"a\nb": "é"}),
        ],
    )
    def test_what_kea_2_2_writes_wrongly_is_read_where_it_is_clear(self, data: bytes, value: JSON) -> None:
        assert decode(data) == value

    @pytest.mark.parametrize(
        ("data", "complaint"),
        [
            (b"", "nothing read"),
            (b'{ "result": 0', r'EOF read, one of ",}" expected in <wire>:0:14'),
            (b'{ "a"b": 1 }', r"'b' read, one of \":\" expected in <wire>:0:6"),
            (b'{ "a": "\xff" }', "Invalid UTF-8 in <wire>:0:9"),
            (b"[" * 5000, "nested too deeply"),
            (b'{ "result": 0 } x', "Extra data in <wire>:0:16"),
        ],
    )
    def test_what_cannot_be_read_is_the_other_sides_error(self, data: bytes, complaint: str) -> None:
        with pytest.raises(RemoteProtocolError, match=complaint) as caught:
            decode(data)
        assert caught.value.data == data

    def test_a_configuration_has_the_hash_that_kea_takes_of_it(self) -> None:
        configuration: JSON = {"Dhcp4": {"subnet4": [], "valid-lifetime": 4000, "t1-percent": 0.5}}
        written = b'{ "Dhcp4": { "subnet4": [  ], "t1-percent": 0.5, "valid-lifetime": 4000 } }'
        assert hashlib.sha256(encode(configuration)).digest() == hashlib.sha256(written).digest()
        assert decode(written) == configuration

    def test_a_deep_value_is_written_and_read(self) -> None:
        assert decode(encode(deep(100))) == deep(100)
