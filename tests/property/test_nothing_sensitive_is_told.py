"""Any secret, in any text, in any encoding: it is gone, and what is told obeys the contract."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Callable

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.facts import BINDING
from support.outboxes import notification

from proton_tf_agent.domain.composition import violations
from proton_tf_agent.domain.evidence import Output
from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.outbox import Entry, EntryState, Outcome, OutcomeKind, Trouble
from proton_tf_agent.domain.output_mapping import MAX_OUTPUTS, OutputMapping
from proton_tf_agent.domain.outputs import map_outputs
from proton_tf_agent.domain.redaction import MASK, NOTHING_TAINTED, Taint, scrub
from proton_tf_agent.domain.retry import RULES, settle
from proton_tf_agent.domain.run import RunStatus

printable = st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"))
secrets = st.text(printable, min_size=8, max_size=60).filter(
    lambda text: text.strip() == text and len(set(text)) > 4 and bool(Taint([text]))  # no word that says nothing
)
around = st.text(st.characters(codec="utf-8"), max_size=40)


def go_json(text: str) -> str:
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]
    return escaped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


ENCODINGS: tuple[Callable[[str], str], ...] = (
    lambda text: text,
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    go_json,
    lambda text: urllib.parse.quote(text, safe=""),
    urllib.parse.quote_plus,
    lambda text: text.encode().hex(),
    lambda text: text.encode().hex().upper(),
    lambda text: base64.b64encode(text.encode()).decode().rstrip("=")[: len(text.encode()) * 4 // 3],
)


@settings(max_examples=250)
@given(st.lists(secrets, min_size=1, max_size=4), st.sampled_from(ENCODINGS), around, around, st.data())
def test_no_copy_survives_in_any_encoding(
    values: list[str], encode: Callable[[str], str], before: str, after: str, draw: st.DataObject
) -> None:
    copy = encode(draw.draw(st.sampled_from(values)))
    assume(MASK not in copy)
    taint = Taint(values)
    assert copy not in taint.mask(before + copy + after)
    assert taint.touches(before + copy + after)


@settings(max_examples=200)
@given(st.lists(st.text("abc", min_size=6, max_size=14), min_size=1, max_size=5), st.text("abc", max_size=60))
def test_copies_that_overlap_in_every_way_leave_nothing_behind(values: list[str], text: str) -> None:
    """Character by character: what lies inside any copy is masked, everything else stays."""
    taint = Taint(values)
    inside = [False] * len(text)
    for value in values:
        for start in range(len(text)):
            if taint.touches(value) and text.startswith(value, start):
                inside[start : start + len(value)] = [True] * len(value)
    kept = "".join(character for character, masked in zip(text, inside, strict=True) if not masked)
    assert taint.mask(text).replace(MASK, "") == kept
    assert taint.touches(text) == any(inside)


@settings(max_examples=200)
@given(st.binary(max_size=40), secrets, st.binary(max_size=40))
def test_a_copy_inside_any_base64_leaves_at_most_its_edges(before: bytes, secret: str, after: bytes) -> None:
    raw = secret.encode()
    encoded = base64.b64encode(before + raw + after).decode()
    masked = Taint([secret]).mask(encoded)
    assert MASK in masked
    assert len(encoded) - len(masked.replace(MASK, "")) >= len(raw) * 4 // 3 - 4


@settings(max_examples=200)
@given(st.text(max_size=300), st.lists(secrets, max_size=3))
def test_scrubbed_text_is_stable_and_holds_no_character_that_acts(text: str, values: list[str]) -> None:
    taint = Taint(values)
    once = scrub(text, taint)
    assert scrub(once, taint) == once
    acting = (*range(9), *range(11, 32), *range(127, 160), 0x61C, 0x200B, 0x202E, 0x2066)
    assert not set(once) & set(map(chr, acting))
    once.encode("utf-8")


json_texts = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=1100),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=30), inner, max_size=4),
    max_leaves=6,
).map(json.dumps)
outputs_told = st.lists(
    st.builds(
        Output,
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=110),
        st.none() | json_texts,
        st.booleans(),
    ),
    max_size=70,
    unique_by=lambda output: output.name,
)
renames = st.dictionaries(st.text(max_size=5), st.text(max_size=120), max_size=5)


@settings(max_examples=200)
@given(outputs_told, renames)
def test_every_output_told_obeys_the_contract_and_every_other_is_named(
    outputs: list[Output], rename: dict[str, str]
) -> None:
    mapped = map_outputs(outputs, OutputMapping(rename=rename), NOTHING_TAINTED)
    notification = Notification(
        "n", "r", BINDING.resource_arn, BINDING.deployment_id, Status.SUCCEEDED, "", mapped.told,
        RunStatus.APPLIED, False, "/w", None, 0.0,
    )  # fmt: skip
    assert violations(notification) == []
    assert len(mapped.told) + len(mapped.omitted) == len(outputs)
    assert len(mapped.told) <= MAX_OUTPUTS
    assert len(dict(mapped.told)) == len(mapped.told)
    assert all(reason for _, reason in mapped.omitted)
    assert not {o.name for o in outputs if o.sensitive} - {name for name, _ in mapped.omitted}


@settings(max_examples=200)
@given(secrets, around, around, st.integers(0, 3))
def test_no_output_with_a_copy_of_a_secret_is_told_however_deep_it_lies(
    secret: str, before: str, after: str, depth: int
) -> None:
    value: object = before + secret + after
    for level in range(depth):
        value = {"key": [value, level]} if level % 2 else [{"inner": value}]
    mapped = map_outputs([Output("x", json.dumps(value))], OutputMapping(), Taint([secret]))
    assert mapped.told == ()


@settings(max_examples=200)
@given(
    st.sampled_from(list(RULES)),
    st.integers(0, 10**6),
    st.floats(0, 10**7),
    st.floats(0, 1, exclude_max=True),
    st.none() | st.floats(allow_nan=True, allow_infinity=True),
)
def test_a_retry_is_never_due_in_the_past_nor_later_than_a_quarter_of_an_hour(
    kind: OutcomeKind, times: int, waited: float, jitter: float, retry_after: float | None
) -> None:
    entry = Entry(1, "proton", notification(1), EntryState.SENDING, times, Trouble(kind, times, waited))
    settled = settle(entry, Outcome(kind, retry_after=retry_after), jitter)
    assert settled.state in (EntryState.RETRYABLE, EntryState.PARKED)
    assert 0.0 <= settled.wait <= 900.0
