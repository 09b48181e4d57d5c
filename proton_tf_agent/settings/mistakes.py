"""Collecting mistakes: each with its place in the file, all of them reported together, in the order of lines.

Promises that a line, where one is given, is the right one: it comes from `lines` or from `tomllib`.
"""

from __future__ import annotations

import json

from ..domain.errors import Problem
from .keys import Key
from .kinds import Complain, toml_key
from .model import At
from .tables import table_of


class Mistakes:
    """The mistakes found so far in the file at `path`. lines: where everything stands, as far as known."""

    def __init__(self, path: str) -> None:
        self.lines: dict[At, int] = {}
        self._path = path
        self._found: list[tuple[int, Problem]] = []
        self._places: set[At] = set()

    def __len__(self) -> int:
        return len(self._found)

    def add(self, at: At, what: str, hint: str = "") -> None:
        """A mistake at a place of the document. What is missing is placed where its table begins."""
        line = self.lines.get(at) or self.lines.get(at[:-1], 0)
        place = ":".join(part for part in (self._path, str(line or "")) if part)
        self._found.append((line, Problem(what, f"{place}: {label(at)}" if place else label(at), hint)))
        self._places.add(at)

    def add_file(self, what: str, hint: str = "", line: int = 0, column: int = 0) -> None:
        """A mistake of the file as a whole, or one that keeps it from being a document."""
        place = ":".join((self._path, *(str(number) for number in (line, column) if number)))
        self._found.append((line, Problem(what, place, hint)))

    def of(self, at: At, key: Key) -> Complain:
        """Takes the complaints about the value of one key of the table at `at`."""

        def complain(what: str, hint: str = "", *within: str | int) -> None:
            self.add((*at, key.name, *within), what, hint or f"for example: {key.name} = {key.example}")

        return complain

    def concern(self, *places: At) -> bool:
        """Whether something was wrong at one of these very places."""
        return not self._places.isdisjoint(places)

    def touch(self, *tables: str) -> bool:
        """Whether something was wrong anywhere in one of these tables."""
        return any(place[0] in tables for place in self._places)

    def beside(self, at: At) -> str:
        """Where the other one of two is, to be put behind a complaint."""
        line = self.lines.get(at, 0)
        return f", first on line {line}" if line else ""

    def problems(self) -> tuple[Problem, ...]:
        """All of them, by line; those of the whole file first."""
        return tuple(problem for _, problem in sorted(self._found, key=lambda found: found[0]))


def label(at: At) -> str:
    """A place as a person would name it: `[table] key`."""
    first, *rest = [step for step in at if isinstance(step, str)]
    table = table_of(first)
    name = table.header if table else _printable(first)
    return f"{name} {'.'.join(map(_printable, rest))}" if rest else name


def _printable(name: str) -> str:
    """A key of the file, fit for a terminal."""
    shown = name if len(name) <= 60 else name[:59] + "…"
    return toml_key(shown) if shown.isprintable() else json.dumps(shown)
