"""A Terraform state file: its outputs, read in constant time, and the values nobody may see.

Terraform writes the state in place (truncate, then write), so a reader may find it empty or torn: that means
"being written" and never "outputs deleted" (terraform internal/states/statemgr/filesystem.go, writeState). Only a
file that ends as it should and stood still while it was read is believed.

Layout relied on: terraform internal/states/statefile/version4.go, `stateV4` printed by json.MarshalIndent with two
spaces, `outputs` before `resources`; a raw newline cannot occur inside a JSON string, so a key at that indent is
unambiguous. Any other layout is read whole, up to WHOLE_LIMIT. What would take too much memory as objects is not
decoded. Of a key that occurs twice the last one counts, as for Terraform itself (Go's encoding/json).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ..domain.evidence import Output
from .weight import LIGHT, is_heavy

WHOLE_LIMIT = 16 << 20
_FIRST_READ = 16 << 10
_NEXT_KEY = b'\n  "resources": '
_BEGINNING = b"{\n  "
_END = b"\n}\n"
_MARK = b'"sensitive_attributes"'
_NOTHING_MARKED = re.compile(rb"\s*:\s*\[\s*\]")
_AHEAD = 64  # bytes behind a mark in which an empty list ends, as Terraform writes it
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_TRUNCATED = "Input data was truncated"  # msgspec's words

ReadAt = Callable[[int, int], bytes]


class _OutputValue(msgspec.Struct):
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    sensitive: bool = False


class _Head(msgspec.Struct):
    version: int | msgspec.UnsetType = msgspec.UNSET
    serial: int | msgspec.UnsetType = msgspec.UNSET
    lineage: str = ""
    outputs: dict[str, _OutputValue] | msgspec.UnsetType | None = msgspec.UNSET
    encrypted_data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Instance(msgspec.Struct):
    attributes: msgspec.Raw = msgspec.Raw(b"null")
    sensitive_attributes: msgspec.Raw = msgspec.Raw(b"null")


class _Resource(msgspec.Struct):
    type: str = ""
    instances: list[_Instance] = []


class _Resources(msgspec.Struct):
    resources: list[_Resource] = []


@dataclass(frozen=True, slots=True)
class State:
    """A whole, quiet state. Sensitive outputs carry no value; their values are in secrets, for redaction only.

    encrypted: OpenTofu's state encryption; serial and lineage are readable, outputs are not.
    """

    serial: int
    lineage: str
    outputs: tuple[Output, ...]
    secrets: tuple[str, ...]
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class Marked:
    """What `sensitive_attributes` of a state name: the values, and the types of resources of which a secret was given
    by a write-only attribute (Terraform 1.11), which stands in no state."""

    secrets: tuple[str, ...] = field(default=(), repr=False)
    write_only: frozenset[str] = frozenset()


def read(read_at: ReadAt, size: int, is_unchanged: Callable[[], bool]) -> State | None:
    """The head of a state file, or None while it is empty, torn or being written."""
    if size < 2:
        return None
    try:
        head = _head(read_at, size)
        state = None if head is None else _state(head)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return state if is_unchanged() else None


def objection(read_at: ReadAt, size: int) -> str:
    """Why `read` finds no state: a code of `domain.refusals`. Also of one that is being written this very moment."""
    try:
        document = _head_bytes(read_at, size) if size else b""
        if document is None:
            is_ours = read_at(0, len(_BEGINNING)) == _BEGINNING
            large = size > WHOLE_LIMIT and not (is_ours and _NEXT_KEY in read_at(0, WHOLE_LIMIT))
            return "E_TOO_LARGE" if large else "E_PARTIAL"
        if not document.strip():
            return "E_EMPTY"
        if is_heavy(document):
            return "E_TOO_LARGE"
        document.decode("utf-8")
        head = msgspec.json.decode(document, type=_Head)
    except UnicodeDecodeError:
        return "E_UTF8"
    except RecursionError:
        return "E_JSON_DEPTH"
    except msgspec.ValidationError as error:
        return "E_STATE_VERSION" if str(error).endswith("`$.version`") else "E_SCHEMA"
    except msgspec.DecodeError as error:
        return _end_or_character(document or b"") if str(error) == _TRUNCATED else "E_JSON"
    return "E_PARTIAL" if head.version == 4 else "E_STATE_VERSION"


def _end_or_character(document: bytes) -> str:
    """msgspec takes half of a surrogate pair for the end of the input."""
    try:
        json.loads(document if len(document) <= LIGHT else b"")
        return "E_UTF8"
    except (ValueError, RecursionError):
        return "E_PARTIAL"


def _head(read_at: ReadAt, size: int) -> _Head | None:
    document = _head_bytes(read_at, size)
    if document is None or is_heavy(document):
        return None
    head = msgspec.json.decode(document, type=_Head)
    if len(document) < size and msgspec.UNSET in (head.version, head.serial, head.outputs):
        # Somebody has reordered the keys: what Terraform writes before the resources may stand behind them.
        whole = read_at(0, size) if size <= WHOLE_LIMIT else None
        return msgspec.json.decode(whole, type=_Head) if whole is not None and not is_heavy(whole) else None
    return head


def _state(head: _Head) -> State | None:
    serial = head.serial if isinstance(head.serial, int) else 0
    if not isinstance(head.encrypted_data, msgspec.UnsetType):
        return State(serial, head.lineage, (), (), encrypted=True)
    if head.version != 4:
        return None
    outputs, secrets = [], []
    for name, output in (head.outputs or {}).items():
        raw = None if isinstance(output.value, msgspec.UnsetType) else bytes(output.value).decode()
        if output.sensitive:
            outputs.append(Output(name, None, sensitive=True))
            secrets += list(_leaves(_decode(raw))) if raw else []
        else:
            outputs.append(Output(name, raw))
    return State(serial, head.lineage, tuple(outputs), tuple(secrets))


def _head_bytes(read_at: ReadAt, size: int) -> bytes | None:
    """A JSON document with everything before `resources`; the whole file when the layout is another."""
    length = min(size, _FIRST_READ)
    while True:
        block = read_at(0, length)
        whole_file = len(block) == size
        block = block.removeprefix(_BYTE_ORDER_MARK)
        at = block.find(_NEXT_KEY)
        if at > 0:
            whole = read_at(size - len(_END), len(_END)) == _END
            return block[:at].rstrip().rstrip(b",") + b"}" if whole else None
        if length >= min(size, WHOLE_LIMIT):
            return block if whole_file else None
        if not block.startswith(_BEGINNING):  # not Terraform's layout: whole or not at all
            if size > WHOLE_LIMIT:
                return None
            length = WHOLE_LIMIT
        length = min(length * 4, size, WHOLE_LIMIT)


def marked_in_resources(read_at: ReadAt, size: int) -> Marked | None:
    """What stands below the paths that `sensitive_attributes` names; None when that cannot be found out.

    A state that lists none (looked for in blocks, memory flat) is never parsed.
    """
    if not _lists_secrets(read_at, size):
        return Marked()
    content = read_at(0, size) if size <= WHOLE_LIMIT else None
    if content is None or is_heavy(content):
        return None
    try:
        document = msgspec.json.decode(content.removeprefix(_BYTE_ORDER_MARK), type=_Resources)
        secrets: list[str] = []
        write_only: set[str] = set()
        for resource in document.resources:
            for instance in resource.instances:
                for above, name, value in _tainted(instance):
                    secrets += _leaves(value)
                    if value is None and _was_given(above, name):
                        write_only.add(resource.type)
        return Marked(tuple(secrets), frozenset(write_only))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _was_given(attributes: Any, name: Any) -> bool:
    """Whether an attribute without a value is a write-only one that may have been used.

    Providers name those NAME_wo, beside a NAME of which one is given and a NAME_wo_version (Terraform plugin framework,
    "Write-only Arguments"). Terraform keeps null for them, whatever was given.
    """
    if not isinstance(attributes, dict) or not isinstance(name, str) or not name.endswith("_wo"):
        return False
    return attributes.get(f"{name}_version") is not None or not attributes.get(name.removesuffix("_wo"))


def _lists_secrets(read_at: ReadAt, size: int) -> bool:
    step, overlap = 1 << 20, len(_MARK) + _AHEAD
    for offset in range(0, size, step):
        block = read_at(offset, step + overlap)
        if offset == 0 and not block.startswith(_BEGINNING):  # not Terraform's layout: parse and see
            return True
        at = block.find(_MARK)
        while 0 <= at < step:  # what begins behind that begins in the next block
            if not _NOTHING_MARKED.match(block, at + len(_MARK)):
                return True
            at = block.find(_MARK, at + 1)
    return False


def _tainted(instance: _Instance) -> Iterator[tuple[Any, Any, Any]]:
    """For each sensitive path what holds the last of its attributes, the name of that one and its value; the whole of
    the attributes as the value where a path makes no sense."""
    paths = _decode(bytes(instance.sensitive_attributes).decode())
    if paths is None or paths == []:
        return
    attributes = _decode(bytes(instance.attributes).decode())
    if not isinstance(paths, list):
        yield None, None, attributes
        return
    for path in paths:
        above, name, value = None, None, attributes
        try:
            for step in path:
                above, name = value, _key(step)
                value = _below(above, name)
        except (KeyError, IndexError, TypeError):
            above, name, value = None, None, attributes
        yield above, name, value


def _below(value: Any, key: Any) -> Any:
    if isinstance(value, list) and isinstance(key, str) and key.isdecimal():
        return value[int(key)]
    if isinstance(value, dict):
        return value[key]
    raise TypeError("no attribute of this kind has parts")


def _key(step: Any) -> Any:
    value = step["value"]
    if step["type"] == "get_attr":
        return value
    if step["type"] == "index":  # wrapped as {"value": ..., "type": ...}
        return value["value"] if isinstance(value, dict) else value
    raise KeyError(step["type"])


def _decode(text: str) -> Any:
    """A JSON document with its numbers as the strings they were written as: copies of them are looked for."""
    return json.loads(text, parse_int=str, parse_float=str)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
