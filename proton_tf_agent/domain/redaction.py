"""Redaction: what must be gone from foreign text before anything keeps it.

Order: value taint (every copy of a sensitive value, also in the encodings text travels in), patterns of
well-known credentials, control characters. Structural redaction, dropping what Terraform marks sensitive, is
done where the marks are read (`sources.state_file`, `sources.json_log`); the tainted values come in as `Taint`
and are never stored.

Promise: linear in the length of the text, whatever the number of tainted values (they are looked up in a table by
their first characters, no alternation of thousands of branches; every pattern is free of nested repetition).
"""

from __future__ import annotations

import base64
import json
import math
import re
import urllib.parse
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

MASK = "[REDACTED]"

# Values that say nothing by themselves: shredding every "true" of a message would protect nobody.
_COMMON = frozenset({"true", "false", "null", "none", "default", "string", "number", "terraform"})
_KEY_LENGTH = 4
_HEAD_LENGTH = 64
_LONG_ENOUGH = 6
_MIN_BITS_PER_CHARACTER = 1.5  # a short value is a secret only if it looks like one

_PATTERNS = re.compile(
    "|".join(
        (
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]{0,20000}(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?",
            r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",  # AWS access key id
            r"\bgh[pousr]_[A-Za-z0-9]{20,255}\b",  # GitHub tokens
            r"\bgithub_pat_[A-Za-z0-9_]{22,255}\b",
            r"\bglpat-[A-Za-z0-9_-]{20,64}\b",  # GitLab
            r"\bhv[sb]\.[A-Za-z0-9_-]{20,300}\b",  # Vault
            r"\bxox[abprs]-[A-Za-z0-9-]{10,250}\b",  # Slack
            r"\b[sr]k_live_[A-Za-z0-9]{16,250}\b",  # Stripe
            r"\bAIza[A-Za-z0-9_-]{35}\b",  # Google
            r"\b[Bb]earer [A-Za-z0-9._~+/=-]{8,4000}",  # an Authorization header
            r"\beyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,4000}",  # JWT
        )
    )
)
_URL_PASSWORD = re.compile(r"(://[^/\s:@]{1,256}:)[^@\s/]{1,256}(@)")
_ASSIGNED = re.compile(
    r"(?i)\b((?:[a-z0-9_-]{0,40}(?:password|passwd|secret|token|api[_-]?key|access[_-]?key))\s?[=:]\s?[\"']?)[^\s\"',;]{4,512}"
)
# C0 and C1 controls, bidirectional marks, overrides and isolates, zero-width characters, lone surrogates, tags.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)
_ANSI = re.compile(r"\x1b(?:\[[0-?]{0,32}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[@-Z\\-_])")


# What Go's encoding/json escapes beside what JSON asks for; jsonencode() of Terraform does too.
_ESCAPED_BY_GO = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


class Taint:
    """The sensitive values of one run, in every form in which a copy may show up.

    values: strings as Terraform holds them. Values too short or too common to recognise are left out.
    known: False when a state exists but could not be read, so that nobody can say which values are sensitive;
    free text must then be withheld altogether.
    """

    def __init__(self, values: Iterable[str] = (), known: bool = True) -> None:
        self.known = known
        forms = {form for value in values if _is_secret(value) for form in _forms(value)}
        lengths: defaultdict[str, set[int]] = defaultdict(set)
        rests: defaultdict[str, list[str]] = defaultdict(list)
        for form in sorted(forms, key=len, reverse=True):
            head, rest = form[:_HEAD_LENGTH], form[_HEAD_LENGTH:]
            lengths[form[:_KEY_LENGTH]].add(len(head))
            rests[head].append(rest)
        self._lengths = {key: sorted(found, reverse=True) for key, found in lengths.items()}
        self._rests = dict(rests)

    def __bool__(self) -> bool:
        return bool(self._rests)

    def touches(self, text: str) -> bool:
        """Whether text holds a copy of a tainted value."""
        return next(self._spans(text), None) is not None

    def mask(self, text: str) -> str:
        """text with every copy of a tainted value replaced by MASK."""
        pieces: list[str] = []
        end = 0
        for start, stop in self._spans(text):
            pieces += (text[end:start], MASK)
            end = stop
        return "".join((*pieces, text[end:])) if end else text

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where copies begin and end; copies that overlap or touch are one span."""
        lengths, start, stop = self._lengths, 0, 0
        if not lengths:
            return
        for position in range(len(text) - _KEY_LENGTH + 1):
            found = lengths.get(text[position : position + _KEY_LENGTH])
            end = self._longest(text, position, found) if found else 0
            if not end:
                continue
            if position > stop and stop:
                yield start, stop
            if position > stop or not stop:
                start = position
            stop = max(stop, end)
        if stop:
            yield start, stop

    def _longest(self, text: str, position: int, lengths: Iterable[int]) -> int:
        """The end of the longest tainted form that begins at position; 0 for none."""
        for length in lengths:
            for rest in self._rests.get(text[position : position + length], ()):
                if text.startswith(rest, position + length):
                    return position + length + len(rest)
        return 0


NOTHING_TAINTED = Taint()


def scrub(text: str, taint: Taint) -> str:
    """Foreign text as it may be kept and shown; the empty string when nobody can tell what is sensitive."""
    if not taint.known:
        return ""
    # Masked before and after: control characters may be part of a value, or hide a copy of it.
    text = taint.mask(_CONTROL.sub("", _ANSI.sub("", taint.mask(text))))
    text = _PATTERNS.sub(MASK, text)
    text = _URL_PASSWORD.sub(rf"\1{MASK}\2", text)
    return _ASSIGNED.sub(rf"\1{MASK}", text).strip()


def is_credential(text: str) -> bool:
    """Whether text holds a well-known kind of credential."""
    return bool(_PATTERNS.search(text) or _URL_PASSWORD.search(text))


def _is_secret(value: str) -> bool:
    if len(value) < _KEY_LENGTH or value.lower() in _COMMON:
        return False
    return len(value) >= _LONG_ENOUGH or _bits_per_character(value) >= _MIN_BITS_PER_CHARACTER


def _bits_per_character(value: str) -> float:
    total = len(value)
    return -sum(n / total * math.log2(n / total) for n in Counter(value).values())


def _forms(value: str) -> Iterable[str]:
    yield from _encoded(value)
    if value.strip() != value and len(value.strip()) >= _KEY_LENGTH:  # a file's value without its final newline
        yield from _encoded(value.strip())
    for line in value.splitlines():  # each line of a PEM or a script gives the rest away
        if len(line.strip()) >= _LONG_ENOUGH and line.strip() != value and not line.startswith("-----"):
            yield line.strip()


def _encoded(value: str) -> Iterable[str]:
    raw = value.encode("utf-8", "surrogatepass")
    escaped = json.dumps(value, ensure_ascii=False)[1:-1]
    yield value
    yield escaped
    yield escaped.translate(_ESCAPED_BY_GO)
    yield json.dumps(value)[1:-1]
    yield urllib.parse.quote(raw, safe="")
    yield urllib.parse.quote_plus(raw)
    yield raw.hex()
    yield raw.hex().upper()
    for shift in range(3):  # a copy inside a longer base64 text starts at any of three alignments
        encoded = base64.b64encode(bytes(shift) + raw).decode().rstrip("=")
        inner = encoded[-(-shift * 8 // 6) : len(encoded) - (1 if (shift + len(raw)) % 3 else 0)]
        if len(inner) >= _LONG_ENOUGH:
            yield inner
            yield inner.translate(str.maketrans("+/", "-_"))
