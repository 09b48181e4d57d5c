"""Values: what facts, runs and notifications are made of. They are frozen, compare by content, and are copied with
changes.

A value is a `Struct`: like a frozen dataclass, made and copied in C. What must not show in its repr, and what is read
by its fields' defaults, stays a dataclass. Why: docs/decisions/0013-values.md.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct, structs

__all__ = ["Struct", "replace"]

_Value = TypeVar("_Value")

if TYPE_CHECKING:
    from dataclasses import replace as replace  # mypy knows it, and checks the changes of a Struct, too
else:

    def replace(value: _Value, /, **changes: Any) -> _Value:
        """A copy of a value with changes."""
        return structs.replace(value, **changes) if isinstance(value, Struct) else dataclasses.replace(value, **changes)
