"""Real bytes, read whole, byte by byte, torn anywhere: readers find the same, or nothing, and never something else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.facts import LOGS, facts_of

from proton_tf_agent.domain.binding import Binding, Unbound, from_metadata, from_tfvars, is_resource_arn
from proton_tf_agent.domain.evidence import ApprovalAwaited, Cursor, Fact, LockReleased, Mark
from proton_tf_agent.sources import json_log, lock_file, log, state_file, tail

REAL_LOGS = sorted(path.name for path in LOGS.glob("*.log"))
NOISE = (
    b"\n", b"\r\n", b"\0\n", b"\xff\xfe\n", b"{\n", b"[WARN] terraform: x\n", b'{"@level":"trace","@message":"x"}\n',
    b"Apply complete! Resources: 1 added, 0 changed, 0 destroyed.\n",
)  # fmt: skip


class Growing:
    """A log that grows, and the agent's looks at it with the cursor it kept."""

    def __init__(self) -> None:
        self.content = b""
        self.cursor: Cursor | None = None
        self.facts: list[Fact] = []

    def look(self) -> None:
        content, cursor = self.content, self.cursor
        new = tail.read_new(lambda offset, length: content[offset : offset + length], len(content), 1, 1, cursor)
        mark = cursor.marks[0] if cursor else Mark()
        facts, mark = json_log.read(new.lines, mark, "/w")
        self.facts += facts
        self.cursor = Cursor("p", 1, 1, new.offset, new.head, new.head_length, (mark,))


def in_pieces(content: bytes, cuts: list[int]) -> tuple[Fact, ...]:
    growing = Growing()
    for cut in [*sorted(cuts), len(content)]:
        growing.content = content[:cut]
        growing.look()
    return tuple(growing.facts)


@pytest.mark.parametrize("name", REAL_LOGS)
def test_a_log_read_byte_by_byte_says_what_it_says_in_one_piece(name: str) -> None:
    content = (LOGS / name).read_bytes()
    assert in_pieces(content, list(range(len(content)))) == facts_of(content)


@st.composite
def logs_with_noise(draw: st.DrawFn) -> bytes:
    lines = []
    for name in draw(st.lists(st.sampled_from(REAL_LOGS), min_size=1, max_size=3)):
        for line in (LOGS / name).read_bytes().splitlines(keepends=True):
            lines.append(line)
            if draw(st.integers(0, 9)) == 0:
                lines.append(draw(st.sampled_from(NOISE)))
    return b"".join(lines)


@settings(max_examples=60)
@given(logs_with_noise(), st.lists(st.floats(0, 1), max_size=30))
def test_several_logs_in_one_file_with_noise_between_say_the_same_in_any_pieces(
    content: bytes, cuts: list[float]
) -> None:
    assert in_pieces(content, [int(cut * len(content)) for cut in cuts]) == facts_of(content)


@settings(max_examples=60)
@given(st.sampled_from(REAL_LOGS), st.lists(st.floats(0, 1), max_size=10), st.floats(0, 1))
def test_a_torn_log_says_the_beginning_of_what_it_says_whole(name: str, cuts: list[float], torn: float) -> None:
    content = (LOGS / name).read_bytes()
    part = content[: int(torn * len(content))]
    facts = in_pieces(part, [int(cut * len(part)) for cut in cuts])
    assert facts == facts_of(content)[: len(facts)]


@settings(max_examples=120)
@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_no_bytes_break_a_reader_of_logs(content: bytes, cuts: list[int]) -> None:
    assert in_pieces(content, [min(cut, len(content)) for cut in cuts]) == facts_of(content)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
MESSAGES = ("version", "outputs", "change_summary", "diagnostic", "apply_start", "planned_change", "log", "hook")


@settings(max_examples=200)
@given(st.sampled_from(MESSAGES), st.dictionaries(st.sampled_from(
    ("outputs", "changes", "diagnostic", "hook", "change", "@message", "ui", "@timestamp", "terraform")
), anything, max_size=5))  # fmt: skip
def test_no_document_breaks_a_reader_of_logs(kind: str, members: dict[str, Any]) -> None:
    line = json.dumps({"@module": "terraform.ui", "type": kind} | members).encode() + b"\n"
    head = b'{"@module":"terraform.ui","type":"version","ui":"1.2"}\n'
    after = b'{"@module":"terraform.ui","type":"apply_errored","hook":{"resource":{"addr":"z"}}}\n'
    facts = facts_of(head + line + after)
    assert repr(facts[-1].evidence) == "ResourceErrored(address='z')" or kind == "version"


# --- states ------------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(alphabet=st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=20), inner, max_size=5),
    max_leaves=20,
)
names = st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=20)


def state_of(outputs: dict[str, Any], indent: int | None) -> bytes:
    document = {
        "version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "l", "outputs": outputs,
        "resources": [{"mode": "managed", "instances": []}], "check_results": None,
    }  # fmt: skip
    return json.dumps(document, indent=indent, ensure_ascii=False).encode() + b"\n"


def read_state(content: bytes, asked: int | None = None) -> state_file.State | None:
    size = len(content) if asked is None else asked
    return state_file.read(lambda offset, length: content[offset : offset + length], size, lambda: True)


@settings(max_examples=120)
@given(st.dictionaries(names, json_values, max_size=8), st.sampled_from([None, 2, 3]))
def test_the_head_of_a_state_gives_what_a_whole_parse_gives(outputs: dict[str, Any], indent: int | None) -> None:
    state = read_state(state_of({name: {"value": value} for name, value in outputs.items()}, indent))
    assert state is not None
    assert {output.name: json.loads(output.value or "") for output in state.outputs} == outputs


@settings(max_examples=120)
@given(st.dictionaries(names, json_values, min_size=1, max_size=5), st.floats(0, 1, exclude_max=True))
def test_a_state_torn_anywhere_is_no_state(outputs: dict[str, Any], torn: float) -> None:
    content = state_of({name: {"value": value} for name, value in outputs.items()}, 2)
    part = content[: int(torn * len(content))]
    assert read_state(part) is None
    assert read_state(part, asked=len(content)) is None


@settings(max_examples=100)
@given(st.binary(max_size=300))
@example(b'{\n  "resources": \n}\n')
@example(b'{"version":4,"resources":\n}\n')
def test_no_bytes_break_a_reader_of_states(content: bytes) -> None:
    for found in (read_state(content), read_state(b'{\n  "version": 4,' + content + b"\n}\n")):
        assert found is None or isinstance(found, state_file.State)
    for part in (content, b'{\n  "sensitive_attributes": [\n' + content):
        assert state_file.marked_in_resources(
            lambda offset, length, part=part: part[offset : offset + length], len(part)  # type: ignore[misc]
        ) in (None, state_file.Marked())  # fmt: skip


@settings(max_examples=120)
@given(anything, anything)
def test_no_marks_break_a_reader_of_secrets(attributes: Any, marks: Any) -> None:
    document = {"version": 4, "resources": [{"instances": [{"attributes": attributes, "sensitive_attributes": marks}]}]}
    content = json.dumps(document).encode()
    found = state_file.marked_in_resources(lambda offset, length: content[offset : offset + length], len(content))
    if marks not in (None, []) and "NaN" not in content.decode() and "Infinity" not in content.decode():
        assert found is None or set(_texts(attributes)) <= {*found.secrets, "\ud800"}


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []


# --- lock info and binding ----------------------------------------------------------------------------------------


@settings(max_examples=120)
@given(st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode()), st.text(max_size=5))
def test_no_content_of_a_lock_file_breaks_its_reader_or_releases_a_lock(content: bytes, before: str) -> None:
    facts, lock_id = lock_file.read(content, before, "/w/terraform.tfstate")
    assert bool(facts) == (lock_id != before)
    assert not any(isinstance(fact.evidence, LockReleased) for fact in facts)


@settings(max_examples=120)
@given(
    st.binary(max_size=200)
    | anything.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(
        st.sampled_from(("resourceMetadata", "componentMetadata", "deploymentId", "isResourceDeleted", "//")),
        anything | st.fixed_dictionaries({"arn": anything}),
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([(), ("*",), ("arn:aws:proton:*",)]),
)
def test_no_content_of_a_binding_file_breaks_its_reader_or_speaks_for_what_is_not_allowed(
    content: bytes, allowed: tuple[str, ...]
) -> None:
    for found in (from_metadata(content, allowed), from_tfvars(content, allowed)):
        if isinstance(found, Binding):
            assert is_resource_arn(found.resource_arn)
            assert allowed
        else:
            assert isinstance(found, Unbound)
            assert found.reason


@settings(max_examples=120)
@given(st.text(max_size=250))
def test_only_what_matches_from_end_to_end_in_ascii_is_an_arn(text: str) -> None:
    arn = f"arn:aws:proton:eu-west-1:123456789012:environment/{text}"
    plain = text.isascii() and text[:1].isalnum() and text.replace("-", "").replace("_", "").isalnum()
    assert is_resource_arn(arn) == (plain and len(text) <= 100)


# --- both forms in one log ----------------------------------------------------------------------------------------

HUMAN_LINES = (
    b"Terraform will perform the following actions:\n",
    b"Terraform planned the following actions, but then encountered a problem:\n",
    b"  # a.b will be destroyed\n", b"  # (because a.b is not in configuration)\n",
    b"Plan: 1 to add, 0 to change, 0 to destroy.\n", b"No changes. Your infrastructure matches the configuration.\n",
    b"  Enter a value: no\n", b"Apply cancelled.\n", b"a.b: Creating...\n", b"a.b: Creation complete after 0s [id=1]\n",
    b"a.b: Refreshing state... [id=1]\n", b"Apply complete! Resources: 1 added, 0 changed, 0 destroyed.\n",
    b"Apply complete! Resources: 0 added, 0 changed, 0 destroyed.\n", b"Outputs:\n", b"x = <<EOT\n", b"EOT\n",
    b"Warning: Check block assertion failed\n", b"Error: no\n", b"panic: no\n",
    b"Interrupt received.\n", b"Initializing the backend...\n",
    *(line.encode() for line in ("╷\n", "│ Error: no\n", "│ \n", "│   with a.b,\n", "╵\n")),
    b"\x1b[0m\n", b"\0\n",
)  # fmt: skip
UI_LINES = tuple(line for name in REAL_LOGS[:3] for line in (LOGS / name).read_bytes().splitlines(keepends=True))


def in_both_forms(content: bytes, cuts: list[int]) -> list[Fact]:
    cursor: Cursor | None = None
    facts: list[Fact] = []
    for cut in [*sorted(cuts), len(content)]:
        part = content[:cut]
        new = tail.read_new(lambda offset, length, part=part: part[offset : offset + length], cut, 1, 1, cursor)  # type: ignore[misc]
        found, marks = log.read(log.LogFile("/w", "apply.log", "it", 1.0), new, cursor, False)
        facts += found
        cursor = Cursor("p", 1, 1, new.offset, new.head, new.head_length, marks, end=new.end)
    return facts


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from((*HUMAN_LINES, *UI_LINES, *NOISE)) | st.binary(max_size=20), max_size=40),
    st.lists(st.floats(0, 1), max_size=10),
)
def test_a_log_in_both_forms_says_the_same_in_any_pieces_and_breaks_no_reader(
    lines: list[bytes], cuts: list[float]
) -> None:
    content = b"".join(lines)
    in_pieces = in_both_forms(content, [int(cut * len(content)) for cut in cuts])
    told = [fact for fact in in_pieces if not isinstance(fact.evidence, ApprovalAwaited)]
    assert told == in_both_forms(content, [])
