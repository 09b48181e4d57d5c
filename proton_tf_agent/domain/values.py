"""Values: what facts, runs and notifications are made of. They are frozen, compare by content, and are copied with
changes.

A value is a `Struct`: like a frozen dataclass, made and copied in C. Why: docs/decisions/0013-values.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct, field, structs

__all__ = ["Struct", "field", "replace"]

_Value = TypeVar("_Value")

if TYPE_CHECKING:
    from dataclasses import replace as replace  # mypy knows it, and checks the changes of a Struct, too
else:

    def replace(value: _Value, /, **changes: Any) -> _Value:
        """A copy of a value with changes."""
        if isinstance(value, Struct):
            return structs.replace(value, **changes)
        import dataclasses  # takes longer to import than most commands to answer

        return dataclasses.replace(value, **changes)
