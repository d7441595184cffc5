"""The syntax of configuration files. Complaints without a remark are those of the real programs' ``-t``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bridle.core.errors import ConfigurationError
from bridle.core.messages import JSON, Command
from bridle.core.messages import Path as JSONPath
from bridle.wire.configuration_text import ConfigurationText, parse
from bridle.wire.configuration_tokens import INCLUDE_LIMIT
from bridle.wire.kea_reader import NESTING_LIMIT

VECTORS = Path(__file__).parent.parent / "vectors" / "kea.jsonl"


def files(**texts: str) -> Callable[[str, str], tuple[str, str]]:
    """Includes from memory: ``files(a="…")`` holds ``a.json``."""

    def include(name: str, including: str) -> tuple[str, str]:
        text = texts.get(name.removesuffix(".json"))
        if text is None:
            raise FileNotFoundError(2, "No such file or directory", name)
        return name, text

    return include


def read(text: str, **included: str) -> ConfigurationText:
    return parse(text, name="t.json", include=files(**included))


def error(text: str, **included: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        read(text, **included)
    assert caught.value.text.startswith(caught.value.position.partition(":")[0])
    return caught.value


def complaint(text: str, **included: str) -> str:
    found = error(text, **included)
    assert str(found) == found.text
    return found.text


class TestWhatIsRead:
    def test_plain_json_is_read_as_it_is(self) -> None:
        text = '{"a": [1, -2, 3.5, 1e3, true, false, null, "x", [], {}], "b": {"c": "\\u20ac\\n"}}'
        assert read(text).value == json.loads(text)
        assert read(text).warnings == []

    @pytest.mark.parametrize(
        ("text", "number"),
        [("007", 7), ("-0", 0), ("+5", 5.0), (".5", 0.5), ("5.", 5.0), ("-.5e1", -5.0), ("1E5", 1e5)],
    )
    def test_a_number_is_an_integer_or_a_float_by_how_it_is_written(self, text: str, number: float) -> None:
        value = read('{"a":' + text + "}").value["a"]
        assert (value, type(value)) == (number, type(number))

    @pytest.mark.parametrize(
        "text",
        [
            '# one {\n{ # two "\n"a": # three\n1 } # four',
            '// one {\n{ // two "\n"a": // three\n1 } // four',
            '/* one { \n */{/* " */"a"/**/:/* * / // */1/***/}/* four */',
            '\t\r\n {\r\n"a"\t:\r1\n}\n\n',
        ],
    )
    def test_comments_and_blanks_are_passed_over(self, text: str) -> None:
        assert read(text).value == {"a": 1}

    def test_comments_inside_strings_are_text(self) -> None:
        text = '{"a": "# // /* */ <?include \\"x\\"?>"}'
        assert read(text).value == json.loads(text)

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ('{"a": "é€😀"}', "é€😀"),
            (r'{"a": "\u00e9\u20ac\ud83d\ude00"}', "é€😀"),
            (r'{"a": "\u00c3\u00a9"}', "é"),
            (r'{"a": "\"\\\/\b\f\n\r\t"}', '"\\/\b\f\n\r\t'),
        ],
    )
    def test_strings_are_text(self, text: str, value: str) -> None:
        assert read(text).value["a"] == value

    def test_comments_need_not_be_utf_8(self) -> None:
        text = b'# \xe9t\xe9\n{ /* \xff */ "a": 1 }'.decode(errors="surrogateescape")
        assert read(text).value == {"a": 1}

    def test_it_is_read_as_deep_as_the_limit_goes(self) -> None:
        text = '{"a":' * NESTING_LIMIT + "1" + "}" * NESTING_LIMIT
        assert read(text).value == json.loads(text)


class TestCommasTooMany:
    @pytest.mark.parametrize(
        ("text", "value", "places"),
        [
            ('{"a":1,}', {"a": 1}, ["1.7"]),
            ('{"a":1,,"b":2}', {"a": 1, "b": 2}, ["1.7"]),
            ('{"a":1,,}', {"a": 1}, ["1.7", "1.8"]),
            ('{"a":[1,]}', {"a": [1]}, ["1.8"]),
            ('{"a":[1,,2]}', {"a": [1, 2]}, ["1.8"]),
            ('{"a":[{},\n , ]\n, }', {"a": [{}]}, ["1.9", "2.2", "3.1"]),
        ],
    )
    def test_they_are_warned_of(self, text: str, value: JSON, places: list[str]) -> None:
        configuration = read(text)
        assert configuration.value == value
        assert configuration.warnings == [
            f"t.json:{place}: Extraneous comma. A piece of configuration may have been omitted."
            for place in places
        ]

    @pytest.mark.parametrize("text", ['{,"a":1}', '{"a":[,1]}', '{"a":,1}', ',{"a":1}', '{"a":1},'])
    def test_where_nothing_stands_in_front_of_it_a_comma_is_wrong(self, text: str) -> None:
        assert 'syntax error, unexpected ","' in complaint(text)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", "1.1: syntax error, unexpected end of file, expecting {"),
            (" \n ", "2.2: syntax error, unexpected end of file, expecting {"),
            ("[]", "1.1: syntax error, unexpected [, expecting {"),
            ('"abc"', "1.1-5: syntax error, unexpected constant string, expecting {"),
            ("5", "1.1: syntax error, unexpected integer, expecting {"),
            ('{"a" 1}', "1.6: syntax error, unexpected integer, expecting :"),
            ('{"a"}', "1.5: syntax error, unexpected }, expecting :"),
            ('{"a",', '1.5: syntax error, unexpected ",", expecting :'),
            ('{"a":}', "1.6: syntax error, unexpected }"),
            ('{"a":,', '1.6: syntax error, unexpected ","'),
            ('{"a"::1}', "1.6: syntax error, unexpected :"),
            ('{"a":', "1.6: syntax error, unexpected end of file"),
            ('{"a":1', '1.7: syntax error, unexpected end of file, expecting "," or }'),
            ('{"a":1 ', '1.8: syntax error, unexpected end of file, expecting "," or }'),
            ('{"a":1\n\n\n', '4.1: syntax error, unexpected end of file, expecting "," or }'),
            ('{"a":1,', '1.8: syntax error, unexpected end of file, expecting "," or }'),
            ('{"a":1 "b":2}', '1.8-10: syntax error, unexpected constant string, expecting "," or }'),
            ('{"a":1]', '1.7: syntax error, unexpected ], expecting "," or }'),
            ('{"a":1, 5}', '1.9: syntax error, unexpected integer, expecting "," or }'),
            ('{"a":true1}', '1.10: syntax error, unexpected integer, expecting "," or }'),
            ('{"a":1.2.3}', '1.9-10: syntax error, unexpected floating point, expecting "," or }'),
            ('{"a":""null}', '1.8-11: syntax error, unexpected null, expecting "," or }'),
            ('{"a":truefalse}', '1.10-14: syntax error, unexpected boolean, expecting "," or }'),
            ('{"a":[1 2]}', "1.9: syntax error, unexpected integer, expecting ]"),
            ('{"a":[1}}', "1.8: syntax error, unexpected }, expecting ]"),
            ('{"a":[,]}', '1.7: syntax error, unexpected ",", expecting ]'),
            ('{"a":[:]}', "1.7: syntax error, unexpected :, expecting ]"),
            ('{"a":[', "1.7: syntax error, unexpected end of file, expecting ]"),
            ('{"a":[1, }', "1.10: syntax error, unexpected }, expecting ]"),
            ('{"a":{"b":[[1] 5', "1.16: syntax error, unexpected integer, expecting ]"),
            ("{,}", '1.2: syntax error, unexpected ","'),
            ("{5}", "1.2: syntax error, unexpected integer"),
            ('{"a":1} {}', "1.9: syntax error, unexpected {, expecting end of file"),
            ('{"a":1} ,', '1.9: syntax error, unexpected ",", expecting end of file'),
            ('{"a":1}}', "1.8: syntax error, unexpected }, expecting end of file"),
            ('{"a": /* x \n y */ "z" 1}', '2.11: syntax error, unexpected integer, expecting "," or }'),
            ('{"a":\n"b"\n"c"}', '3.1-3: syntax error, unexpected constant string, expecting "," or }'),
        ],
    )
    def test_a_word_in_the_wrong_place_is_named(self, text: str, expected: str) -> None:
        assert complaint(text) == f"t.json:{expected}"

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("x", "1.1: Invalid character: x"),
            ('{"a":foo}', "1.6: Invalid character: f"),
            ('{"a":tru}', "1.6: Invalid character: t"),
            ('{"a":1x}', "1.7: Invalid character: x"),
            ("{'a':1}", "1.2: Invalid character: '"),
            ('{"a":1;}', "1.7: Invalid character: ;"),
            ('{"a":/1}', "1.6: Invalid character: /"),
            ('{"a":\r\n\t  x}', "2.4: Invalid character: x"),
            ('{"a":\x0c1}', "1.6: Invalid character: \x0c"),
            ('{"a":\x001}', "1.6: Invalid character: \x00"),
            ('{"é":é}', "1.7: Invalid character: é"),
            ("\ufeff{}", "1.1: Invalid character: \ufeff"),
            ('{"a":TRUE}', "1.6-9: JSON true reserved keyword is lower case only"),
            ('{"a":False}', "1.6-10: JSON false reserved keyword is lower case only"),
            ('{"a":nULL}', "1.6-9: JSON null reserved keyword is lower case only"),
            (
                '{"a":99999999999999999999}',
                "1.6-25: Failed to convert 99999999999999999999 to an integer.",
            ),
            ('{"a":1e999}', "1.6-10: Failed to convert 1e999 to a floating point."),
            ('{"a":-}', "1.6: Failed to convert - to a floating point."),
            ('{"a":.}', "1.6: Failed to convert . to a floating point."),
            ('{"a":e5}', "1.6-7: Failed to convert e5 to a floating point."),
        ],
    )
    def test_what_is_no_word_is_named(self, text: str, expected: str) -> None:
        assert complaint(text) == f"t.json:{expected}"

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (r'{"a":"\u00zz"}', r'1.6-13 (near 2): Bad escape in "\u00zz"'),
            (r'{"a":"\x"}', r'1.6-9 (near 2): Bad escape in "\x"'),
            (r'{"a":"C:\dir"}', r'1.6-13 (near 4): Bad escape in "C:\dir"'),
            ('{"a":"\x01"}', '1.6-8 (near 1): Invalid control in "\x01"'),
            ('{"a":"\t"}', '1.6-8 (near 1): Invalid control in "\t"'),
            ('{"a: 1,\n "b": 2}', '1.2-10 (near 6): Invalid control in "a: 1,\n "'),
            (r'{"a":"\u20"}', r'1.6-11 (near 2): Overflow unicode escape in "\u20"'),
            (r'{"a":"\"}', r'1.6-8 (near 3): Overflow escape in "\"'),
            ('{"a":"x\\"\n', r'1.6-9 (near 4): Overflow escape in "x\"'),
            ('{"a":"abc}', '1.6: Invalid character: "'),
            ('{"a":"b\n', '1.6: Invalid character: "'),
            ('{"a":"b\\x', '1.6: Invalid character: "'),
        ],
    )
    def test_what_is_wrong_with_a_string_is_named(self, text: str, expected: str) -> None:
        assert complaint(text) == f"t.json:{expected}"

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (r'{"a":"b\ud800"}', r'1.6-14 (near 4): Unsupported unicode escape in "b\ud800"'),
            ('{"a":"b\udcff"}', '1.6-9 (near 2): Invalid UTF-8 in "b\ufffd"'),
            ('{"a":\udcff}', "1.6: Invalid character: \ufffd"),
            ('{"a":"\ud800"}', '1.6-10 (near 1): Invalid UTF-8 in "\ufffd\ufffd\ufffd"'),
            ('{"a":1 /* b\n', "1.8-9: Comment not closed. (/* in line 1)"),
            ('{"a":\n1 /*/', "2.3-4: Comment not closed. (/* in line 2)"),
        ],
    )
    def test_what_kea_takes_or_does_not_place_is_named_with_its_place(self, text: str, expected: str) -> None:
        assert complaint(text) == f"t.json:{expected}"

    @pytest.mark.parametrize(
        ("text", "key", "expected"),
        [
            (
                '{"Control-agent":{"http-port":8000,"http-port":9}}',
                "1.36-46",
                "1:36: duplicate http-port entries in Control-agent map (previous at t.json:1:31)",
            ),
            (
                '{"Dhcp4":{"subnet4":[],"subnet4":\n[]}}',
                "1.24-32",
                "1:24: duplicate subnet4 entries in Dhcp4 map (previous at t.json:1:11)",
            ),
            (
                '{"Dhcp4": {"subnet4":[{"subnet":"192.0.2.0/24","subnet":"10.0.0.0/8"}]}}',
                "1.48-55",
                "1:48: duplicate subnet entries in subnet4 map (previous at t.json:1:33)",
            ),
            (
                '{"a":1,\n\n"\\u0061":2}',
                "3.1-8",
                "3:1: duplicate a entries in toplevel map (previous at t.json:1:6)",
            ),
        ],
    )
    def test_a_repeated_key_is_named_with_both_places(self, text: str, key: str, expected: str) -> None:
        assert complaint(text) == f"t.json:{expected}"
        assert error(text).position == f"t.json:{key}"

    @pytest.mark.parametrize("levels", [NESTING_LIMIT + 1, 100_000])
    def test_what_is_nested_too_deeply_is_refused(self, levels: int) -> None:
        assert complaint('{"a":' * levels) == "t.json:1.501: maps and lists are nested more than 100 deep"
        assert "nested more than 100 deep" in complaint('{"a":' + "[" * levels)

    def test_an_error_has_its_position(self) -> None:
        assert error('{"a":\n 1 "b"}').position == "t.json:2.4-6"
        assert error('{"a":"\\x"}').position == "t.json:1.6-9"

    @pytest.mark.parametrize(
        ("row", "text"),
        [(206, '{ "Dhcp4": { '), (207, "")],
    )
    def test_the_texts_are_those_of_config_reload(self, row: int, text: str) -> None:
        answer = json.loads(json.loads(VECTORS.read_text().splitlines()[row])["response"])["text"]
        name = "/srv/t/kea/conf/kea4.json"
        with pytest.raises(ConfigurationError) as caught:
            parse(text, name=name)
        assert answer == f"Config reload failed: configuration error using file '{name}': {caught.value}"

    def test_keys_stand_where_the_real_program_complains_of_them(self) -> None:
        # Rows 205 and 208: 'kea4.json:1.14-20: got unexpected keyword "bogus"', and 1.3-9 for another root.
        assert read('{ "Dhcp4": { "bogus": 1 } }').key_position(["Dhcp4", "bogus"]) == "t.json:1.14-20"
        assert read('{ "Dhcp6": { } }').key_position(["Dhcp6"]) == "t.json:1.3-9"


class TestIncludes:
    def test_a_file_stands_for_whatever_it_holds(self) -> None:
        configuration = read(
            '{ <?include "head.json"?> "b": <?include "value.json" ?>, <? include\n"tail.json"\n?> }',
            head='"a": 1, # all of it\n',
            value='{ "c": [ <?include "list.json"?> ] }',
            list="1, 2",
            tail='"d": null',
        )
        assert configuration.value == {"a": 1, "b": {"c": [1, 2]}, "d": None}

    def test_a_file_can_hold_everything(self) -> None:
        assert read('<?include"all.json"?>\n# end', all='{"a": 1}').value == {"a": 1}

    def test_it_is_asked_for_with_the_file_around_it(self) -> None:
        asked = []

        def include(name: str, including: str) -> tuple[str, str]:
            asked.append((name, including))
            return f"/etc/{name}", '<?include "b"?>' if name == "a" else "1"

        configuration = parse('{"x": <?include "a"?>}', name="/etc/t", include=include)
        assert asked == [("a", "/etc/t"), ("b", "/etc/a")]
        assert configuration.value == {"x": 1}
        assert configuration.position(["x"]) == "/etc/b:1.1"

    @pytest.mark.parametrize(
        ("text", "included", "expected"),
        [
            (
                '{"a" <?include "i.json"?> }',
                '\n :\n "v" "w"',
                'i.json:3.6-8: syntax error, unexpected constant string, expecting "," or }',
            ),
            (
                '{"a": "v" <?include "i.json"?>  "w"}',
                "\n   ",
                't.json:1.33-35: syntax error, unexpected constant string, expecting "," or }',
            ),
            (
                '{<?include "i.json"?>, "a":6}',
                '\n "a": 5',
                "t.json:1:24: duplicate a entries in toplevel map (previous at i.json:2:7)",
            ),
            (
                '{"a": <?include "i.json"?>   ',
                '{"b":1',
                't.json:1.30: syntax error, unexpected end of file, expecting "," or }',
            ),
            (
                '<?include "i.json"?>',
                "",
                "t.json:1.21: syntax error, unexpected end of file, expecting {",
            ),
            ('{<?include "i.json"?>}', '"abc', 'i.json:1.1: Invalid character: "'),
            ('<?include "i.json"?>', "/* abc", "i.json:1.1-2: Comment not closed. (/* in line 1)"),
        ],
    )
    def test_complaints_name_the_right_file(self, text: str, included: str, expected: str) -> None:
        assert complaint(text, i=included) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('{"a":1 <?include "i.json" junk?>', "1.27: Invalid character: j"),
            ('{"a": 1 <?include}', "1.18: Invalid character: }"),
            ('{"a": 1 <?include nope ?>', "1.19: Invalid character: n"),
            ('{"a": 1 <?include ""?>', '1.19: Invalid character: "'),
            ('{"a": 1 <? "i.json"?>', '1.12: Invalid character: "'),
            ('{"a": 1 <?Include "i.json"?>', "1.11: Invalid character: I"),
            ('<?include # abc\n "i.json" ?>x', "1.11: Invalid character: #"),
            ('{ <?include "i.json" ', "1.3-21: Directive not closed."),
            ("{ <?include ", "1.3-12: Directive not closed."),
            (
                '{ <?include "no.json"?> }',
                "1.3-21: Can't open include file no.json: No such file or directory",
            ),
        ],
    )
    def test_what_is_wrong_with_a_directive_is_named(self, text: str, expected: str) -> None:
        assert complaint(text, i="") == f"t.json:{expected}"

    def test_files_include_one_another_up_to_the_limit(self) -> None:
        chain = {f"f{i}": f'<?include "f{i + 1}.json"?>' for i in range(INCLUDE_LIMIT + 1)}
        last = {f"f{INCLUDE_LIMIT - 1}": '{"a": 1}'}
        assert read('<?include "f0.json"?>', **{**chain, **last}).value == {"a": 1}
        assert complaint('<?include "f0.json"?>', **chain) == (
            f"f{INCLUDE_LIMIT - 1}.json:1.1-20: Too many nested include."
        )

    def test_a_file_that_includes_itself_is_refused(self) -> None:
        assert complaint('<?include "a.json"?>', a='<?include "a.json"?>').endswith(
            "Too many nested include."
        )

    def test_many_files_can_be_included_one_after_the_other(self) -> None:
        text = '{"a": [' + '<?include "one.json"?>,' * 100 + "1]}"
        assert read(text, one="1").value == {"a": [1] * 101}

    def test_without_a_way_to_open_files_none_are_included(self) -> None:
        with pytest.raises(
            ConfigurationError, match=r"^t:1\.1-13: Can't open include file a: there is nothing"
        ):
            parse('<?include "a"?>', name="t")

    def test_warnings_name_the_right_file(self) -> None:
        configuration = read('{"a": <?include "i.json"?>,}', i="[1,\n2,]")
        assert [warning.partition(": ")[0] for warning in configuration.warnings] == [
            "i.json:2.2",
            "t.json:1.27",
        ]


class TestWhereThingsStand:
    CONFIGURATION = read(
        '// a comment\n{ "Dhcp4": {\n  "subnet4": [ { "id": 1, "é": "é", "x": 10 },\n'
        '    <?include "two.json"?>, true ], "t": 1.5 } }',
        two=' {\n "id": 22 }',
    )

    @pytest.mark.parametrize(
        ("path", "position", "key"),
        [
            ([], "t.json:2.1", ""),
            (["Dhcp4"], "t.json:2.12", "t.json:2.3-9"),
            (["Dhcp4", "subnet4"], "t.json:3.14", "t.json:3.3-11"),
            (["Dhcp4", "subnet4", 0], "t.json:3.16", ""),
            (["Dhcp4", "subnet4", 0, "id"], "t.json:3.24", "t.json:3.18-21"),
            (["Dhcp4", "subnet4", 0, "é"], "t.json:3.33-36", "t.json:3.27-30"),
            (["Dhcp4", "subnet4", 0, "x"], "t.json:3.44-45", "t.json:3.39-41"),
            (["Dhcp4", "subnet4", 1], "two.json:1.2", ""),
            (["Dhcp4", "subnet4", 1, "id"], "two.json:2.8-9", "two.json:2.2-5"),
            (["Dhcp4", "subnet4", 2], "t.json:4.29-32", ""),
            (["Dhcp4", "t"], "t.json:4.42-44", "t.json:4.37-39"),
        ],
    )
    def test_every_value_and_every_key_has_its_place(self, path: JSONPath, position: str, key: str) -> None:
        assert self.CONFIGURATION.position(path) == position
        assert self.CONFIGURATION.locate(path) == position
        assert self.CONFIGURATION.key_position(path) == key

    @pytest.mark.parametrize(
        "path", [["x"], [0], ["Dhcp4", "subnet4", 3], ["Dhcp4", "subnet4", -1], ["Dhcp4", "t", 0]]
    )
    def test_what_is_not_there_has_no_place(self, path: JSONPath) -> None:
        assert self.CONFIGURATION.position(path) == self.CONFIGURATION.key_position(path) == ""

    def test_a_configuration_is_the_source_of_a_command(self) -> None:
        command = Command("config-set", {}, source=read('{"a": 1}'))
        assert command.locate(["a"]) == "t.json:1.7"


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1' + "," * 100_000 + "}",
        '{"é":[1' + "\n," * 100_000 + "]}",
        '{"a":[' + '"",' * 50_000 + "1]}",
        '{"' + '\\"' * 300_000,
        '"' + "\\" * 999_999,
        '{"a":' + "1." * 300_000,
        "#\n" * 300_000,
        "/**/" * 200_000,
        "\n" * 1_000_000 + "x",
        '{"a\n' + "b" * 1_000_000,
        '{"' + "\\u0041" * 100_000 + "\\x",
        "1" * 1_000_000,
        "<? " * 300_000,
    ],
    ids=range(13),
)
def test_no_text_takes_long(text: str) -> None:
    begun = time.process_time()
    try:
        read(text)
    except ConfigurationError:
        pass
    # The worst of these takes some tenths of a second; work that grew with the square would take minutes.
    assert time.process_time() - begun < 5
