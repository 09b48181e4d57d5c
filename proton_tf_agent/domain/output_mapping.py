"""Which outputs are told, under which key, and how many of which length at most.

Limits are those of Proton's `Output` shape (key and valueString 1..1024, 50 of them; botocore
`proton/2020-07-20/service-2.json`), and 100 for keys, because Proton refuses to provision with longer parameter names
(User Guide, "Parameters"). What becomes of an output that is chosen is `outputs`'.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence

from .values import Struct, field

MAX_OUTPUTS = 50
MAX_VALUE = 1024
MAX_KEY = 100


class OutputMapping(Struct, frozen=True):
    """Which outputs are told: names or globs to include and exclude, and names to rename."""

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)


def told_as(name: str, mapping: OutputMapping) -> str | None:
    """The key an output of this name is told under; None when it is not asked for."""
    asked_for = _matches(name, mapping.include) and not _matches(name, mapping.exclude)
    return mapping.rename.get(name, name) if asked_for else None


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
