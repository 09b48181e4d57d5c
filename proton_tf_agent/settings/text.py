"""The settings as text: a JSON Schema, the sample file, and what is in effect. All follow `tables`.

Touches no file. Promises: what `generate` and `show` return is read by `load` without a mistake (if the
journal and the watch roots of this machine allow it), and `show` reads back as equal settings.
"""

from __future__ import annotations

import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .keys import Key, Table
from .kinds import toml
from .model import At, Settings
from .tables import TABLES

_WIDTH = 100
_Sample = tuple[bool, Mapping[str, str]]
"""Whether a table of the sample file is active, and the values (TOML) it needs beside the examples."""

_SAMPLES: Mapping[str, tuple[_Sample, ...]] = {
    "bind": ((False, {}),),
    "s3_state": ((False, {}),),
    # The file must be safe to start with as it is: this prints what Proton would be told.
    "sink": (
        (True, {"type": '"console"'}),
        (False, {"type": '"proton"'}),
        (False, {"type": '"webhook"'}),
        (False, {"type": '"file"'}),
        (False, {"type": '"slack"'}),
        (False, {"type": '"exec"'}),
        (False, {"type": '"github"'}),
        (False, {"type": '"gitlab"'}),
        (False, {"type": '"eventbridge"'}),
        (False, {"type": '"sqs"'}),
        (False, {"type": '"sns"'}),
        (False, {"type": '"service_catalog"', "region": '"eu-west-1"'}),
    ),
}
_OPENING = """\
#:schema agent.schema.json

# The settings of proton-tf-agent: every key with its meaning and its default.
#
# A line that begins with # and a key shows the default, or an example where there is none; take the #
# away to change it. Unknown keys are errors. After a change:
#
#   proton-tf-agent config validate --config FILE
#
# Nobody but its owner may be able to write this file. What stands in conf.d/*.toml beside it is read as if it stood
# here: [[tables]] come behind those of this file, in the order of names, and a key stands in one of the files only.
"""


def generate(roots: Sequence[str] = ()) -> str:
    """The sample file: every key, its meaning, unit and default; little of it is active. It watches these roots."""
    samples = {**_SAMPLES, "watch": tuple((True, {"path": toml(root)}) for root in roots)} if roots else _SAMPLES
    blocks = (_comment(table.meaning) + "\n".join(_samples(table, samples)) for table in TABLES)
    return _OPENING + "".join(f"\n\n{block}" for block in blocks)


def _samples(table: Table, samples: Mapping[str, tuple[_Sample, ...]]) -> Iterator[str]:
    """The tables of one name. A key is explained once, and stands in a later table only if it must."""
    explained: set[str] = set()
    for active, values in samples.get(table.name, ((True, {}),)):
        mark = "" if active else "#"
        parts = [f"{mark}{table.header}\n"]
        type_ = _plain(values.get("type", '""'))
        for key in table.keys:
            again = key.name in explained
            is_needed = table.requires(key) or key.name in values or type_ in key.needed
            if not key.applies(type_) or (again and not is_needed):
                continue
            if not again:
                parts.append("\n" + _comment(key.meaning) + _comment(_limits(table, key)))
            explained.add(key.name)
            if is_needed:
                parts.append(f"{mark}{key.name} = {values.get(key.name, key.example)}\n")
            else:
                parts.append(f"#{key.name} = {_sample(key, table.default(key))}\n")
        yield "".join(parts)


def _sample(key: Key, default: object) -> str:
    """The default, or an example where the default would show nothing."""
    return key.example if default in (None, "", (), {}) else key.kind.write(default)


def _limits(table: Table, key: Key) -> str:
    words = [f"Unit: {key.unit}."] if key.unit else []
    if options := key.kind.schema.get("enum"):
        words.append(f"One of {', '.join(map(toml, options))}.")
    words.append("Required." if table.requires(key) else f"Default: {_default(table, key)}.")
    return " ".join(words)


def _default(table: Table, key: Key) -> str:
    return key.unset or key.kind.write(table.default(key))


def _comment(text: str) -> str:
    lines = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)


# --- what is in effect ------------------------------------------------------------------------------------


def show(settings: Settings) -> str:
    """The settings in effect as TOML: every key, and behind it where its value comes from."""
    blocks: list[str] = []
    for table in TABLES:
        value = getattr(settings, table.name)
        if not table.repeated:
            blocks.append(_shown(settings, table, value, (table.name,)))
        for place, element in enumerate(value if table.repeated else ()):
            blocks.append(_shown(settings, table, element, (table.name, place)))
        if table.repeated and not value:
            blocks.append(f"# no {table.header}\n")
    return "\n".join(blocks)


def _shown(settings: Settings, table: Table, built: object, at: At) -> str:
    parts = [f"{table.header}\n"]
    for key in table.keys:
        if not key.applies(getattr(built, "type", None)):
            continue
        value = getattr(built, key.name)
        line = f"{key.name} = {key.kind.write(value)}" if value is not None else f"# {key.name} is not set"
        parts.append(f"{line}  # {_origin(settings, key, (*at, key.name))}\n")
    return "".join(parts)


def _origin(settings: Settings, key: Key, at: At) -> str:
    origin = settings.origins.get(at)
    if origin is None:
        return f"default: {key.unset}" if key.unset else "default"
    # A path may hold anything but NUL; in a comment of one line it may not.
    return re.sub(r"[^ -~]", "?", str(origin))


# --- JSON Schema ------------------------------------------------------------------------------------------


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the settings file and of each file in its conf.d: what must be there at all
    may stand in another one. `load` knows that, and what must hold between keys."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of proton-tf-agent",
        "type": "object",
        "properties": {table.name: _table_schema(table) for table in TABLES},
        "additionalProperties": False,
    }


def _table_schema(table: Table) -> dict[str, Any]:
    one: dict[str, Any] = {
        "type": "object",
        "properties": {key.name: _key_schema(table, key) for key in table.keys},
        "required": [key.name for key in table.keys if table.requires(key)],
        "additionalProperties": False,
    }
    limits: list[tuple[str, dict[str, Any]]]
    limits = [(key.name, {"enum": list(key.only)}) for key in table.keys if key.only]
    limits += [(key.name, {"not": {"enum": list(key.never)}}) for key in table.keys if key.never]
    if limits:
        one["allOf"] = [{"if": {"required": [name]}, "then": {"properties": {"type": types}}} for name, types in limits]
    if not table.repeated:
        return {"description": table.meaning, **one}
    return {"description": table.meaning, "type": "array", "items": one, "minItems": int(table.required)}


def _key_schema(table: Table, key: Key) -> dict[str, Any]:
    default = table.default(key)
    said: dict[str, Any] = {"description": f"{key.meaning} {_limits(table, key)}", **key.kind.schema}
    if not key.unset and not table.requires(key):
        said["default"] = _plain(key.kind.write(default))
    return {**said, "examples": [_plain(key.example)]}


def _plain(text: str) -> Any:
    """A TOML value as JSON has it."""
    return tomllib.loads(f"value = {text}")["value"]
