"""Which outputs are told, in which form, and why the others are not."""

from __future__ import annotations

import json

import pytest

from proton_tf_agent.domain.evidence import Output
from proton_tf_agent.domain.output_mapping import MAX_KEY, MAX_OUTPUTS, MAX_VALUE, OutputMapping
from proton_tf_agent.domain.outputs import Mapped, map_outputs, render
from proton_tf_agent.domain.redaction import NOTHING_TAINTED, Taint

SECRET = 'hunter2 "quoted" <&> geheim'


def mapped(*outputs: Output, mapping: OutputMapping | None = None, taint: Taint = NOTHING_TAINTED) -> Mapped:
    return map_outputs(outputs, mapping or OutputMapping(), taint)


def one(value: str, taint: Taint = NOTHING_TAINTED) -> str | None:
    """The value string of one output, or its reason in brackets."""
    found = mapped(Output("x", value), taint=taint)
    return found.told[0][1] if found.told else f"[{found.omitted[0][1]}]"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ('"vpc-1"', "vpc-1"),
        ('"  spaces  kept  "', "  spaces  kept  "),
        ('"*"', "*"),
        ('"line\\r\\nline\\ttab"', "line\r\nline\ttab"),
        ('"\\u003ca\\u003e\\u0026"', "<a>&"),
        ('"Grüße 🌍"', "Grüße 🌍"),
        ('"\\ud83c\\udf0d"', "🌍"),
        ('"1"', "1"),
        ('"true"', "true"),
        ('"[1]"', "[1]"),
    ],
)
def test_a_string_is_told_as_it_is(value: str, told: str) -> None:
    assert one(value) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("true", "true"),
        ("false", "false"),
        ('[ "a", 1,\n null ]', '["a",1,null]'),
        ('{ "b" : 1, "a" : [ true ] }', '{"b":1,"a":[true]}'),
        ('{"k\\"q": "v\\"q"}', '{"k\\"q":"v\\"q"}'),
        ('{"ü": "ß"}', '{"ü":"ß"}'),
        ("[]", "[]"),
        ("{}", "{}"),
        ('{"a": "1"}', '{"a":"1"}'),
    ],
)
def test_anything_else_is_told_as_compact_json_in_its_own_order(value: str, told: str) -> None:
    assert one(value) == told
    assert json.loads(told) == json.loads(value)


@pytest.mark.parametrize("number", ["1e400", "12345678901234567890", "0.1", "1E-7", "-0", "1.10", "9" * 1024])
def test_a_number_is_told_in_the_very_digits_it_was_written_in(number: str) -> None:
    assert one(number) == number
    if len(number) < 1000:
        assert one(f'{{"n": [{number}]}}') == f'{{"n":[{number}]}}'


def test_a_number_of_5000_digits_is_too_long_and_nothing_worse() -> None:
    assert one("7" * 5000) == "[longer than 1,024 characters]"
    assert render("7" * 5000) == "7" * 5000


def test_values_are_told_up_to_1024_characters_and_never_cut() -> None:
    assert one(json.dumps("x" * MAX_VALUE)) == "x" * MAX_VALUE
    assert one(json.dumps("x" * (MAX_VALUE + 1))) == "[longer than 1,024 characters]"
    assert one(json.dumps("🌍" * MAX_VALUE)) == "🌍" * MAX_VALUE


def test_keys_are_told_up_to_100_characters_and_never_empty() -> None:
    assert mapped(Output("k" * MAX_KEY, '"v"')).told == (("k" * MAX_KEY, "v"),)
    assert mapped(Output("a", '"v"'), mapping=OutputMapping(rename={"a": ""})).told == ()


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (Output("x", '""'), "empty"),
        (Output("x", "null"), "null"),
        (Output("x", None), "null"),
        (Output("x", None, sensitive=True), "sensitive"),
        (Output("x", '"shown by mistake"', sensitive=True), "sensitive"),
        (Output("x", None, withheld="holds a sensitive value"), "holds a sensitive value"),
        (Output("x", '"a\\u0000b"'), "not representable as text"),
        (Output("x", '"\\ud800"'), "not representable as text"),
        (Output("x", '{"a": "\\udfff"}'), "not representable as text"),
        (Output("x\0", '"a"'), "not representable as text"),
        (Output("x" * (MAX_KEY + 1), '"a"'), "key longer than 100 characters"),
        (Output("x", '"AKIAIOSFODNN7EXAMPLE"'), "holds a sensitive value"),
        (Output("x", '"postgres://user:pass@db/x"'), "holds a sensitive value"),
    ],
)
def test_what_is_not_told_is_named_with_its_reason(output: Output, reason: str) -> None:
    assert mapped(output) == Mapped((), ((output.name, reason),))


def test_the_51st_output_and_later_are_named_and_not_told() -> None:
    outputs = [Output(f"o{n:02}", '"v"') for n in range(MAX_OUTPUTS + 2)]
    found = mapped(*reversed(outputs))
    assert [key for key, _ in found.told] == [f"o{n:02}" for n in range(MAX_OUTPUTS)]
    assert found.omitted == (("o50", "more than 50"), ("o51", "more than 50"))


def test_what_is_not_told_takes_nobodys_place_among_the_50() -> None:
    outputs = [Output("a", None, sensitive=True), *(Output(f"o{n:02}", '"v"') for n in range(MAX_OUTPUTS))]
    assert len(mapped(*outputs).told) == MAX_OUTPUTS


def test_renamed_outputs_come_first_and_the_rest_by_name() -> None:
    mapping = OutputMapping(rename={"z": "Zed", "m": "Em"})
    found = mapped(*(Output(name, '"v"') for name in "bzam"), mapping=mapping)
    assert [key for key, _ in found.told] == ["Em", "Zed", "a", "b"]


def test_the_order_in_which_outputs_were_read_does_not_matter() -> None:
    outputs = [Output(name, '"v"') for name in ("b", "a", "Z", "ä", "1")]
    assert mapped(*outputs) == mapped(*reversed(outputs))


def test_a_renamed_output_is_told_before_one_that_has_the_name_by_birth() -> None:
    mapping = OutputMapping(rename={"vpc": "VpcId"})
    found = mapped(Output("VpcId", '"born"'), Output("vpc", '"renamed"'), mapping=mapping)
    assert found == Mapped((("VpcId", "renamed"),), (("VpcId", "a second output is named VpcId"),))


def test_two_outputs_renamed_alike_are_not_told_over_each_other() -> None:
    found = mapped(Output("b", '"2"'), Output("a", '"1"'), mapping=OutputMapping(rename={"a": "X", "b": "X"}))
    assert found == Mapped((("X", "1"),), (("b", "a second output is named X"),))


def test_an_output_that_is_not_told_leaves_its_name_to_another() -> None:
    mapping = OutputMapping(rename={"a": "X"})
    found = mapped(Output("a", '""'), Output("X", '"v"'), mapping=mapping)
    assert found.told == (("X", "v"),)


def test_names_are_included_and_excluded_by_name_or_glob() -> None:
    names = ("vpc_id", "vpc_arn", "db_url", "Vpc_x")
    mapping = OutputMapping(include=("vpc_*", "db_url"), exclude=("*_arn",))
    found = mapped(*(Output(name, '"v"') for name in names), mapping=mapping)
    assert [key for key, _ in found.told] == ["db_url", "vpc_id"]
    assert found.omitted == ()  # what the settings leave out is no omission


@pytest.mark.parametrize(
    "value",
    [
        json.dumps(SECRET),
        json.dumps("prefix " + SECRET + " suffix"),
        json.dumps([SECRET]),
        json.dumps({"a": {"b": [1, SECRET]}}),
        json.dumps({SECRET: 1}),
        json.dumps({"document": json.dumps({"password": SECRET})}),
        json.dumps("hunter2%20%22quoted%22%20%3C%26%3E%20geheim"),
        json.dumps("aHVudGVyMiAicXVvdGVkIiA8Jj4gZ2VoZWlt"),
        json.dumps("Header " + "dXNlcjpodW50ZXIyICJxdW90ZWQiIDwmPiBnZWhlaW0="),
        json.dumps(SECRET.encode().hex()),
        json.dumps('{"p":"hunter2 \\"quoted\\" \\u003c\\u0026\\u003e geheim"}'),
    ],
)
def test_a_copy_of_a_sensitive_value_is_not_told_in_any_encoding(value: str) -> None:
    assert one(value, Taint([SECRET])) == "[holds a sensitive value]"
    assert one(value) != "[holds a sensitive value]"


@pytest.mark.parametrize("depth", [500, 100_000])
def test_a_deeply_nested_output_costs_itself_and_no_other(depth: int) -> None:
    nested = Output("deep", "[" * depth + "]" * depth)
    found = mapped(nested, Output("x", '"v"'), taint=Taint([SECRET]))
    assert ("x", "v") in found.told
    assert {name for name, _ in (*found.told, *found.omitted)} == {"deep", "x"}
