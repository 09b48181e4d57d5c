"""What `terraform output -json` prints: every output with its value, the sensitive ones, too.

Source: terraform internal/command/views/output.go, OutputJSON.Output: name -> {sensitive, type, value}.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..domain.evidence import Output


class _Value(msgspec.Struct):
    value: msgspec.Raw
    sensitive: bool = False


_decode = msgspec.json.Decoder(dict[str, _Value]).decode


def read(document: bytes) -> tuple[tuple[Output, ...], tuple[str, ...]] | None:
    """The outputs, sensitive ones without their value, and every string that is sensitive; None for anything else."""
    try:
        found = _decode(document)
        secrets = [text for value in found.values() if value.sensitive for text in _texts(value.value)]
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    outputs = (
        Output(name, None if value.sensitive else bytes(value.value).decode(), value.sensitive)
        for name, value in found.items()
    )
    return tuple(outputs), tuple(secrets)


def _texts(value: msgspec.Raw) -> Iterator[str]:
    pending: list[Any] = [msgspec.json.decode(value)]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += item.values()
        elif isinstance(item, list):
            pending += item
        elif item is not None and not isinstance(item, bool):
            yield str(item)
