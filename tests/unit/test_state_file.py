"""A state file: outputs in constant time, never from a torn file, and every value nobody may see."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.facts import LOGS

from proton_tf_agent.domain.evidence import Output
from proton_tf_agent.sources.state_file import WHOLE_LIMIT, State, marked_in_resources, read

RECORDED = {name: (LOGS / name).read_bytes() for name in ("apply_ok.tfstate", "outputs_types.tfstate")}
BASE: dict[str, Any] = {
    "version": 4, "terraform_version": "1.11.4", "serial": 3, "lineage": "lin",
    "outputs": {"a": {"value": "one", "type": "string"}, "pw": {"value": "s3cret-pw", "sensitive": True}},
    "resources": [], "check_results": None,
}  # fmt: skip


class Disk:
    """A file that counts what is asked of it."""

    def __init__(self, content: bytes, size: int | None = None) -> None:
        self.content, self.size = content, len(content) if size is None else size
        self.asked = 0
        self.largest = 0

    def read_at(self, offset: int, length: int) -> bytes:
        self.asked += length
        self.largest = max(self.largest, length)
        return self.content[offset : offset + length]

    def read(self, unchanged: bool = True) -> State | None:
        return read(self.read_at, self.size, lambda: unchanged)

    def secrets(self) -> tuple[str, ...] | None:
        marked = marked_in_resources(self.read_at, self.size)
        return None if marked is None else marked.secrets


def written(document: dict[str, Any], indent: int | None = 2) -> bytes:
    """As Terraform writes a state."""
    return json.dumps(document, indent=indent, ensure_ascii=False).encode() + b"\n"


def state(**changes: Any) -> bytes:
    document = BASE | changes
    return written({key: value for key, value in document.items() if value is not ...})


def outputs_of(content: bytes) -> dict[str, str | None] | None:
    found = Disk(content).read()
    return None if found is None else {output.name: output.value for output in found.outputs}


# --- what is told -----------------------------------------------------------------------------------------------


def test_a_recorded_state_gives_serial_lineage_and_outputs_as_they_are_written() -> None:
    found = Disk(RECORDED["apply_ok.tfstate"]).read()
    assert found is not None
    assert (found.serial, found.lineage) == (2, "76b1e655-d3a7-a57e-49b0-4910a37003f7")
    assert {output.name for output in found.outputs} == {"const", "ids", "last", "pw"}
    assert Output("const", '"c-1"') in found.outputs


def test_every_type_of_output_equals_what_a_whole_parse_gives() -> None:
    content = RECORDED["outputs_types.tfstate"]
    whole = json.loads(content)["outputs"]
    values = outputs_of(content)
    assert values is not None
    plain = {name: output["value"] for name, output in whole.items() if not output.get("sensitive")}
    assert {name: json.loads(value) for name, value in values.items() if value is not None} == plain
    assert len(plain) > 10


def test_a_sensitive_output_carries_no_value_and_its_value_is_known_as_a_secret() -> None:
    found = Disk(state()).read()
    assert found is not None
    assert found.outputs == (Output("a", '"one"'), Output("pw", None, sensitive=True))
    assert found.secrets == ("s3cret-pw",)


def test_every_leaf_of_a_sensitive_output_is_a_secret_in_the_digits_it_was_written_in() -> None:
    content = state(outputs={"x": {"value": "@", "sensitive": True}}).replace(
        b'"@"', b'{"a": ["leaf-one", {"b": "leaf-two"}], "n": 12345678901234567890.10, "f": true, "z": null}'
    )
    found = Disk(content).read()
    assert found is not None
    assert found.secrets == ("leaf-one", "leaf-two", "12345678901234567890.10")


@pytest.mark.parametrize("number", ["1e400", "7" * 5000, "-0.1E-7"])
def test_a_number_no_machine_can_hold_is_text_like_any_other(number: str) -> None:
    plain = state(outputs={"n": {"value": 0}}).replace(b'"value": 0', f'"value": {number}'.encode())
    assert outputs_of(plain) == {"n": number}
    hidden = state(outputs={"n": {"value": 0, "sensitive": True}}).replace(b'"value": 0', f'"value": {number}'.encode())
    found = Disk(hidden).read()
    assert found is not None
    assert found.secrets == (number,)


@pytest.mark.parametrize(
    ("outputs", "values"),
    [({}, {}), (None, {}), (..., {}), ({"a": {}}, {"a": None}), ({"a": {"value": None}}, {"a": "null"})],
)
def test_a_state_with_no_outputs_has_none(outputs: object, values: dict[str, str | None]) -> None:
    assert outputs_of(state(outputs=outputs)) == values


@pytest.mark.parametrize("indent", [None, 4, 2])
@pytest.mark.parametrize("order", [sorted, lambda keys: sorted(keys, reverse=True)], ids=["sorted", "reversed"])
def test_a_state_somebody_wrote_in_another_layout_or_order_is_read_whole(order: Any, indent: int | None) -> None:
    document = {key: BASE[key] for key in order(BASE)}
    assert outputs_of(written(document, indent)) == {"a": '"one"', "pw": None}


@pytest.mark.parametrize(
    "order",
    [
        ("version", "serial", "lineage", "resources", "outputs"),
        ("resources", "version", "serial", "outputs", "lineage"),
        ("outputs", "resources", "version", "serial", "lineage"),
    ],
)
def test_outputs_that_stand_behind_the_resources_are_not_missing(order: tuple[str, ...]) -> None:
    assert outputs_of(written({key: BASE[key] for key in order})) == {"a": '"one"', "pw": None}


def test_an_output_that_looks_like_the_next_key_does_not_end_the_outputs() -> None:
    value = '\n  "resources": [],\n  "version": 3\n}\n'
    assert outputs_of(state(outputs={"a": {"value": value}, "b": {"value": 1}})) == {"a": json.dumps(value), "b": "1"}


def test_an_encrypted_state_has_a_serial_and_no_outputs() -> None:
    for indent in (None, 2):
        content = written({"serial": 9, "lineage": "l", "encrypted_data": "AAAA", "encryption_version": "v0"}, indent)
        found = Disk(content).read()
        assert found == State(9, "l", (), (), encrypted=True)


# --- what is not believed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECORDED)
def test_a_state_torn_at_any_byte_is_no_state_and_never_one_without_outputs(name: str) -> None:
    content = RECORDED[name]
    assert Disk(content).read() is not None
    assert [length for length in range(len(content)) if Disk(content[:length]).read() is not None] == []


@pytest.mark.parametrize("name", RECORDED)
def test_a_state_torn_at_any_byte_does_not_hide_its_secrets(name: str) -> None:
    """None means `nobody can tell`; an empty answer would clear text for sending."""
    content = (LOGS / "sensitive_diag.tfstate").read_bytes()
    assert Disk(content).secrets()
    marked = content.find(b'"sensitive_attributes": [\n')
    for length in range(marked + 26, len(content) - 2):
        assert Disk(content[:length]).secrets() is None


def test_a_state_that_changed_while_it_was_read_is_no_state() -> None:
    assert Disk(RECORDED["apply_ok.tfstate"]).read(unchanged=False) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"   \n",
        b"{}",
        b"{}\n",
        b"null\n",
        b"[]\n",
        b"not json\n",
        b"\0" * 4096,
        b'{"version": 4' * 3,
        state(version=3),
        state(version=5),
        state(version="4"),
        state(version=...),
        state(serial="x"),
        state(outputs=[]),
        state(outputs="x"),
        state(outputs={"a": 1}),
        state() + b"{}\n",
        state().replace(b'"one"', b'"\xff\xfe"'),
        state().replace(b'"s3cret-pw"', b'"\xff\xfe"'),
        state().replace(b'"s3cret-pw"', b"[" * 50_000 + b"]" * 50_000),
        state().replace(b'"one"', b"[" * 50_000),
        state().replace(b'"serial": 3', b'"serial": ' + b"9" * 5000),
    ],
    ids=lambda content: repr(content[:30]),
)
def test_what_is_no_whole_state_of_version_4_is_no_state(content: bytes) -> None:
    assert Disk(content).read() is None


def test_a_file_that_got_shorter_while_it_was_read_is_no_state() -> None:
    content = RECORDED["outputs_types.tfstate"]
    for length in range(0, len(content), 97):
        assert Disk(content[:length], size=len(content)).read() is None


# --- what it costs ----------------------------------------------------------------------------------------------


def of_size(size: int, attributes: dict[str, Any] | None = None) -> bytes:
    """A state of about that many bytes, nearly all of it resources."""
    instance = {
        "schema_version": 0,
        "attributes": attributes or {"id": "x" * 1000},
        "sensitive_attributes": [],
    }
    one = json.dumps({"mode": "managed", "instances": [instance]}, indent=2).replace("\n", "\n    ").encode()
    head, tail = state(resources=["@"]).split(b'"@"')
    return head + b",\n    ".join([one] * (size // len(one))) + tail


def test_the_outputs_of_a_state_of_20_megabytes_cost_no_more_than_those_of_a_small_one() -> None:
    small, large = Disk(of_size(1 << 20)), Disk(of_size(20 << 20))
    assert small.read() == large.read() != None  # noqa: E711
    assert large.asked == small.asked < 64 << 10


def test_looking_for_secrets_in_20_megabytes_never_holds_more_than_a_block() -> None:
    disk = Disk(of_size(20 << 20))
    assert disk.size > WHOLE_LIMIT
    assert disk.secrets() == ()
    assert disk.largest < 2 << 20
    assert disk.asked < 1.1 * disk.size


def test_secrets_in_a_state_too_large_to_parse_cannot_be_known() -> None:
    content = of_size(20 << 20)
    mark = b'"sensitive_attributes": []'
    at = content.rfind(mark)
    marked = content[:at] + b'"sensitive_attributes": [\n[]]' + content[at + len(mark) :]
    assert Disk(marked).secrets() is None


def test_large_outputs_are_read_as_far_as_they_go() -> None:
    big = {f"o{n}": {"value": "v" * 1000} for n in range(500)}
    found = outputs_of(state(outputs=big))
    assert found is not None
    assert len(found) == 500


# --- what nobody may see ----------------------------------------------------------------------------------------

ATTRIBUTES = {
    "id": "not-a-secret",
    "password": "s3cret-one",
    "list": ["plain-item", "s3cret-two"],
    "map": {"key": {"deep": "s3cret-three"}, "5": "s3cret-five"},
    "number": 918273645,
    "flag": True,
}


def secrets_of(*paths: Any, attributes: Any = ATTRIBUTES) -> set[str] | None:
    instance = {"attributes": attributes, "sensitive_attributes": paths[0] if paths[:1] == ("raw",) else list(paths)}
    if paths[:1] == ("raw",):
        instance["sensitive_attributes"] = paths[1]
    found = Disk(written(BASE | {"resources": [{"instances": [instance]}]}, None)).secrets()
    return None if found is None else set(found)


def attribute(name: object) -> dict[str, object]:
    return {"type": "get_attr", "value": name}


def index(key: object, kind: str = "number") -> dict[str, object]:
    return {"type": "index", "value": {"value": key, "type": kind}}


@pytest.mark.parametrize(
    ("attributes", "was_given"),
    [
        ({"password": None, "password_wo": None, "password_wo_version": 1}, True),
        ({"password": None, "password_wo": None, "password_wo_version": None}, True),  # nobody can tell
        ({"password": "", "password_wo": None}, True),
        ({"password": "old way", "password_wo": None, "password_wo_version": None}, False),
    ],
)
def test_a_write_only_attribute_that_may_have_been_used_is_found_out(
    attributes: dict[str, Any], was_given: bool
) -> None:
    """At the top and in a block; Terraform keeps null for it."""
    for held, path in (
        (attributes, [attribute("password_wo")]),
        ({"block": [attributes]}, [attribute("block"), index(0), attribute("password_wo")]),
    ):
        instance = {"attributes": held, "sensitive_attributes": [path]}
        content = written(BASE | {"resources": [{"type": "aws_x", "instances": [instance]}]}, None)
        marked = marked_in_resources(Disk(content).read_at, len(content))
        assert marked is not None
        assert marked.write_only == ({"aws_x"} if was_given else set())


EVERYTHING = {
    "not-a-secret", "s3cret-one", "plain-item", "s3cret-two", "s3cret-three", "s3cret-five", "918273645",
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "secrets"),
    [
        ([attribute("password")], {"s3cret-one"}),
        ([attribute("list"), index(1)], {"s3cret-two"}),
        ([attribute("list")], {"plain-item", "s3cret-two"}),
        ([attribute("map"), index("key", "string"), attribute("deep")], {"s3cret-three"}),
        ([attribute("map"), index("5", "string")], {"s3cret-five"}),
        ([attribute("map"), {"type": "index", "value": "key"}], {"s3cret-three"}),
        ([attribute("number")], {"918273645"}),
        ([attribute("flag")], set()),
        ([], EVERYTHING),
    ],
)
def test_what_a_sensitive_path_leads_to_is_secret(path: list[Any], secrets: set[str]) -> None:
    assert secrets_of(path) == secrets


@pytest.mark.parametrize(
    "path",
    [
        [attribute("no such attribute")],
        [attribute("password"), index(0)],  # a letter of a string is no part of it
        [attribute("list"), index(7)],
        [attribute("list"), index(-1)],
        [attribute("list"), index("one", "string")],
        [attribute("list"), index({"an": "object"}, "object")],
        [attribute("number"), attribute("x")],
        [{"type": "someday", "value": "password"}],
        [{"type": "get_attr"}],
        [{"value": "password"}],
        [attribute(None)],
        [attribute(["password"])],
        ["password"],
        [7],
        "password",
        7,
        None,
        {"type": "get_attr", "value": "password"},
    ],
)
def test_where_a_sensitive_path_makes_no_sense_all_attributes_are_secret(path: Any) -> None:
    """Bad input 77."""
    assert secrets_of(path) == EVERYTHING


@pytest.mark.parametrize("marks", [5, True, "password", {"a": "b"}, {}, ""])
def test_where_the_marks_themselves_make_no_sense_all_attributes_are_secret(marks: Any) -> None:
    assert secrets_of("raw", marks) == EVERYTHING


@pytest.mark.parametrize("marks", ['[[{"type":"get_attr","value":"password"}]]', "[[]]", "7", '"password"', '{"a": 1}'])
def test_marks_that_somebody_has_written_by_hand_are_seen(marks: str) -> None:
    """In Terraform's layout but for the list, which stands in one line."""
    instance = {"attributes": ATTRIBUTES, "sensitive_attributes": []}
    content = written(BASE | {"resources": [{"instances": [instance]}]}, 2).decode()
    assert content.count('"sensitive_attributes": []') == 1
    disk = Disk(content.replace('"sensitive_attributes": []', f'"sensitive_attributes": {marks}').encode())
    assert "s3cret-one" in (disk.secrets() or ())


@pytest.mark.parametrize("marks", [None, []])
def test_where_nothing_is_marked_nothing_is_secret(marks: Any) -> None:
    assert secrets_of("raw", marks) == set()


def test_the_recorded_sensitive_attribute_is_found() -> None:
    content = (LOGS / "sensitive_diag.tfstate").read_bytes()
    assert "hunter2-SECRET" in (Disk(content).secrets() or ())


def test_a_mark_across_the_border_of_two_blocks_is_found() -> None:
    """The marks are looked for in blocks of one megabyte."""
    mark = written(BASE | {"resources": [{"instances": [{
        "attributes": {"a": "s3cret-one", "pad": "@"}, "sensitive_attributes": [[attribute("a")]],
    }]}]})  # fmt: skip
    at = mark.find(b'"sensitive_attributes": [\n')
    for shift in range(27):
        content = mark.replace(b"@", b"p" * ((1 << 20) - at - shift))
        assert Disk(content).secrets() == ("s3cret-one",)


@pytest.mark.parametrize("number", ["7" * 5000, "1e400"])
def test_a_number_no_machine_can_hold_does_not_make_secrets_unknown(number: str) -> None:
    content = written(BASE | {"resources": [{"instances": [{
        "attributes": {"a": "s3cret-one", "n": "@"}, "sensitive_attributes": [[attribute("a")]],
    }]}]}).replace(b'"@"', number.encode())  # fmt: skip
    assert Disk(content).secrets() == ("s3cret-one",)


@pytest.mark.parametrize("resources", [None, {}, [7], [{"instances": 7}], [{"instances": [{"attributes": ...}]}]])
def test_resources_in_an_unknown_shape_hold_no_mark_or_cannot_be_known(resources: Any) -> None:
    content = json.dumps(BASE | {"resources": resources}, default=lambda _: None).encode()
    assert Disk(content).secrets() in (None, ())
