"""On which line of a TOML text each table, key and array element stands.

`tomllib` tells lines only for syntax errors. This scanner walks a text that tomllib has already accepted, so
it can take the grammar for granted. What it finds is held against the parsed document: if the two differ in a
single place, no line is given at all. A wrong line would be worse than none.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from .model import At

_TOKEN = re.compile(
    r'''
    (?P<space>[ \t\r]+|\#[^\n]*)
    |(?P<newline>\n)
    |(?P<string>"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\])*"|'[^']*')
    |(?P<mark>[\[\]{}=,.])
    |(?P<bare>[^\s\[\]{}=,."'\#]+)
    ''',
    re.DOTALL | re.VERBOSE,
)
_DEEPEST = 32


class _Unsure(Exception):
    """The text is not what this scanner takes it for."""


def index(text: str, document: Mapping[str, Any]) -> dict[At, int]:
    """The line (from 1) of everything in `document`, which is `text` parsed; empty when in doubt."""
    try:
        found = _Scanner(text).scan()
        return found if found.keys() == _places(document) else {}
    except (_Unsure, IndexError):
        return {}


def _places(document: Mapping[str, Any]) -> set[At]:
    places: set[At] = set()
    left: list[tuple[At, Any]] = [((), document)]
    while left:
        at, value = left.pop()
        if len(at) > _DEEPEST:
            raise _Unsure
        places.add(at)
        if isinstance(value, dict):
            left += [((*at, key), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            left += [((*at, place), inner) for place, inner in enumerate(value)]
    return places - {()}


class _Scanner:
    """One walk over the tokens of a text."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str, int]] = []
        self._position = 0
        self._lines: dict[At, int] = {}
        self._lengths: dict[At, int] = {}  # arrays of tables and how many they hold so far
        line, start = 1, 0
        for token in _TOKEN.finditer(text):
            if token.start() != start:
                raise _Unsure
            if token.lastgroup != "space":
                self._tokens.append((token.lastgroup or "", token[0], line))
            line += token[0].count("\n")
            start = token.end()
        if start != len(text):
            raise _Unsure
        self._tokens += [("newline", "\n", line), ("end", "", line)]

    def scan(self) -> dict[At, int]:
        table: At = ()
        while True:
            group, spelled, line = self._tokens[self._position]
            if group == "end":
                return self._lines
            if group == "newline":
                self._position += 1
            elif spelled == "[":
                table = self._header(line)
            else:
                self._pair(table)

    def _header(self, line: int) -> At:
        """`[a.b]` or `[[a.b]]`: the place of the table it opens."""
        repeated = self._tokens[self._position + 1][1] == "["
        self._position += 2 if repeated else 1
        at: At = ()
        key = self._key()
        for part in key:
            at = self._last((*at, part))
            self._lines.setdefault(at, line)
        if repeated:
            at = at[:-1] if isinstance(at[-1], int) else at
            self._lengths[at] = self._lengths.get(at, 0) + 1
            at = self._last(at)
        self._position += 2 if repeated else 1
        self._lines[at] = line
        return at

    def _last(self, at: At) -> At:
        """A name that stands for an array of tables means the last of them."""
        return (*at, self._lengths[at] - 1) if at in self._lengths else at

    def _key(self) -> list[str]:
        parts: list[str] = []
        while True:
            group, spelled, _ = self._tokens[self._position]
            if group not in ("bare", "string"):
                raise _Unsure
            parts.append(spelled if group == "bare" else tomllib.loads(f"key = {spelled}")["key"])
            self._position += 1
            if self._tokens[self._position][1] != ".":
                return parts
            self._position += 1

    def _pair(self, table: At) -> None:
        line = self._tokens[self._position][2]
        at = table
        for part in self._key():
            at = (*at, part)
            self._lines.setdefault(at, line)
        if len(at) > _DEEPEST or self._tokens[self._position][1] != "=":
            raise _Unsure
        self._position += 1
        self._value(at)

    def _value(self, at: At) -> None:
        opening = self._tokens[self._position][1]
        if opening == "[":
            self._elements(at)
        elif opening == "{":
            self._position += 1
            while self._skip_to_item() != "}":
                self._pair(at)
            self._position += 1
        else:
            while self._tokens[self._position][1] not in (",", "]", "}", "\n"):
                self._position += 1

    def _elements(self, at: At) -> None:
        self._position += 1
        place = 0
        while self._skip_to_item() != "]":
            self._lines[*at, place] = self._tokens[self._position][2]
            self._value((*at, place))
            place += 1
        self._position += 1

    def _skip_to_item(self) -> str:
        while self._tokens[self._position][1] in (",", "\n"):
            self._position += 1
        return self._tokens[self._position][1]
