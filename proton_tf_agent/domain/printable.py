"""Characters that are read, and characters that act: control, bidirectional, invisible ones and broken surrogates.

`printable` is for whatever is shown (a terminal, a log line for people): nothing is lost, what acts is escaped.
`without_acting` is for text that is kept and told: what acts is gone. Source: Unicode Standard Annex 9 (bidirectional
characters), ECMA-48 (escape sequences), and the category of each character, as `str.isprintable` knows it.
"""

from __future__ import annotations

import re

# C0 and C1 controls, bidirectional marks, overrides and isolates, zero-width characters, lone surrogates, tags.
_ACTING = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)
_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]{0,32}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[@-Z\\-_])")


def printable(text: object) -> str:
    """Text with everything that is not printable escaped, line ends too: one line, whatever is in it."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)


def without_acting(text: str) -> str:
    """Text without escape sequences and without any other character that acts; newlines and tabs stay."""
    return _ACTING.sub("", _ESCAPE_SEQUENCE.sub("", text))
