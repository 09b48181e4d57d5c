"""Outputs: in which form a run's outputs are told, and which cannot be.

Every output that is not told is named with its reason; nothing is cut silently. Which are asked for, under which key
and within which limits, is `output_mapping`'s.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .output_mapping import MAX_KEY, MAX_OUTPUTS, MAX_VALUE, OutputMapping, told_as
from .redaction import Taint, is_credential
from .terms import Output
from .values import replace

_MAX_TEXT = (
    256 * 1024
)  # of a value as JSON: what is longer is beyond MAX_VALUE in whatever way Terraform has indented it
_UNREPRESENTABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Mapped:
    """What is told (key and value string, in order) and what is not (name and reason)."""

    told: tuple[tuple[str, str], ...] = ()
    omitted: tuple[tuple[str, str], ...] = ()


def map_outputs(outputs: Iterable[Output], mapping: OutputMapping, taint: Taint) -> Mapped:
    """Choose, rename and render. Order: renamed outputs first, then by name; the 51st and later are omitted."""
    chosen = sorted(
        (o for o in outputs if told_as(o.name, mapping) is not None),
        key=lambda o: (o.name not in mapping.rename, o.name),
    )
    told: dict[str, str] = {}
    omitted: list[tuple[str, str]] = []
    for output in chosen:
        key = mapping.rename.get(output.name, output.name)
        value = _rendered(output)
        reason = _objection(output, key, value, told, taint)
        if reason or value is None:
            omitted.append((output.name, reason))
        else:
            told[key] = value
    return Mapped(tuple(told.items()), tuple(omitted))


def only_told(outputs: Iterable[Output], mapping: OutputMapping, taint: Taint) -> tuple[Output, ...]:
    """Outputs with the values that are to be told; of any other its name and the reason are kept."""
    kept = []
    for output in outputs:
        mapped = map_outputs((output,), mapping, taint)
        reason = next((reason for _, reason in mapped.omitted), "not asked for")
        kept.append(output if mapped.told else replace(output, value=None, withheld=output.withheld or reason))
    return tuple(kept)


def _rendered(output: Output) -> str | None:
    if output.value is not None and len(output.value) > _MAX_TEXT:
        return output.value  # too long whatever it comes to, and not worth the memory to find out
    try:
        return None if output.value is None else render(output.value)
    except RecursionError:
        return "\0"  # nested so deeply that nothing could use it: not representable


def _objection(output: Output, key: str, value: str | None, told: Mapping[str, str], taint: Taint) -> str:
    """Why an output is not told; empty when it is."""
    if output.sensitive:
        return "sensitive"
    if value is None:
        return output.withheld or "null"
    checks = (
        (not value, "empty"),
        (len(value) > MAX_VALUE, f"longer than {MAX_VALUE:,} characters"),
        (not 0 < len(key) <= MAX_KEY, f"key longer than {MAX_KEY} characters"),
        (_UNREPRESENTABLE.search(key + value) is not None, "not representable as text"),
        (key in told, f"a second output is named {key}"),
        (len(told) >= MAX_OUTPUTS, f"more than {MAX_OUTPUTS}"),
    )
    reason = next((reason for applies, reason in checks if applies), "")
    if not reason and (is_credential(value) or taint.touches(value) or _is_tainted(output.value or "null", taint)):
        return "holds a sensitive value"
    return reason


def _is_tainted(value: str, taint: Taint) -> bool:
    """Whether an output's JSON text holds a copy of a sensitive value.

    Also string by string: a document inside a document escapes twice what is recognised escaped once.
    """
    if not taint:
        return False
    try:
        return taint.touches(value) or any(map(taint.touches, _strings(_decode(value))))
    except RecursionError:
        return True  # nested so deeply that nobody can look


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


class _Lexeme(str):
    """A JSON number exactly as it was written: no float round trip, no limit on digits."""

    __slots__ = ()


def render(value: str) -> str | None:
    """The value string of an output's JSON text: strings as they are, anything else as compact JSON.

    None for null. Numbers keep their spelling.
    """
    decoded = _decode(value)
    if decoded is None:
        return None
    if isinstance(decoded, str) and not isinstance(decoded, _Lexeme):
        return decoded
    return _compact(decoded)


def _decode(value: str) -> Any:
    return json.loads(value, parse_int=_Lexeme, parse_float=_Lexeme)


def _compact(value: Any) -> str:
    if isinstance(value, _Lexeme):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_compact(str(k))}:{_compact(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_compact, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
