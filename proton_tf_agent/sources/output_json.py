"""What `terraform output -json` prints: every output with its value, the sensitive ones, too.

Source: terraform internal/command/views/output.go, OutputJSON.Output: name -> {sensitive, type, value}.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from ..domain.evidence import Output
from .weight import is_heavy


class _Value(msgspec.Struct):
    value: msgspec.Raw
    sensitive: bool = False


_decode = msgspec.json.Decoder(dict[str, _Value]).decode


def read(document: bytes) -> tuple[tuple[Output, ...], tuple[str, ...]] | None:
    """The outputs, sensitive ones without their value, and every string that is sensitive; None for anything else."""
    if is_heavy(document):
        return None
    try:
        found = _decode(document)
        secrets = [text for value in found.values() if value.sensitive for text in _texts(value.value)]
        outputs = [
            Output(name, None if value.sensitive else bytes(value.value).decode(), value.sensitive)
            for name, value in found.items()
        ]
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return tuple(outputs), tuple(secrets)


def _texts(value: msgspec.Raw) -> Iterator[str]:
    # Numbers as they were written: copies of them are looked for, and some fit no machine's.
    pending: list[Any] = [json.loads(bytes(value), parse_int=str, parse_float=str)]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += item.values()
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, str):
            yield item
