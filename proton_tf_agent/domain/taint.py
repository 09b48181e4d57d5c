"""Taint: the sensitive values of a run, and where copies of them stand in a text, in whatever encoding.

Values come in as Terraform holds them (`sources.state_file`), and are never stored. A copy is found when it is whole:
raw, escaped as JSON (twice, too), as a URL, XML, base64 at any alignment or hex, or line by line where a value has
several. A value that is split up, hashed or encrypted is not found; nobody can promise that.

Promise: the work is linear in the length of the text and grows with the logarithm of the number of values. Every
position is looked up by its next four characters; where a form begins with those, a binary search among such forms
finds the longest that stands there. No form is longer than _LONGEST: longer ones are looked for in blocks. An automaton
of all forms (Aho-Corasick) would save the search, and hold a node for every character of every form.
"""

from __future__ import annotations

import base64
import copy
import json
import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator

MASK = "[REDACTED]"

_KEY_LENGTH = 4
_LONG_ENOUGH = 6
_MIN_BITS_PER_CHARACTER = 1.5  # a short value is a secret only if it looks like one
_LONGEST = 512
_BLOCK = 256
_MOST_CHARACTERS = 1 << 20  # of all values: more cannot be looked for within the memory an agent has

# Values that say nothing by themselves: shredding every "true" of a text would protect nobody.
_COMMON = frozenset({
    "true", "false", "null", "none", "default", "string", "number", "terraform", "enabled", "disabled", "production",
    "staging", "development", "localhost", "password", "username",
})  # fmt: skip
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]{2,4})?-(?:north|south|east|west|central){1,2}-\d", re.ASCII)


class Taint:
    """The sensitive values of one run, in every form in which a copy may show up.

    values: strings as Terraform holds them. Values too short or too common to recognise are left out.
    known: False when nobody can say which values are sensitive (a state exists and could not be read, or holds more
    than can be looked for); free text must then be withheld altogether.
    unseen: types of resources with a secret that no state holds: what is said of those must be withheld.
    """

    def __init__(self, values: Iterable[str] = (), known: bool = True, unseen: Iterable[str] = ()) -> None:
        forms: set[str] = set()
        room = _MOST_CHARACTERS
        for value in dict.fromkeys(filter(_is_secret, values)):
            room -= len(value)
            if room < 0:
                known = False
                break
            forms.update(_forms(value))
        for form in [form for form in forms if len(form) > _LONGEST]:
            forms.remove(form)
            forms.update(_blocks(form))
        self.known = known
        self.unseen = frozenset(unseen)
        self._buckets, self._reach, self._shorter = _sorted_by_head(forms)

    def __bool__(self) -> bool:
        return bool(self._buckets)

    def not_all(self) -> Taint:
        """The same values, of which it is not known that they are all."""
        copied = copy.copy(self)
        copied.known = False
        return copied

    def touches(self, text: str) -> bool:
        """Whether text holds a copy of a tainted value."""
        return next(self._spans(text), None) is not None

    def mask(self, text: str) -> str:
        """text with every copy of a tainted value replaced by MASK."""
        return _masked(text, self._spans(text))

    def mask_across(self, text: str, breaks: re.Pattern[str]) -> str:
        """The same for copies that something has broken in two: matches of `breaks` count as not being there."""
        if not self._buckets:
            return text
        pieces: list[str] = []
        begins: list[int] = []  # where each piece stands in text
        joined_at: list[int] = []  # and where in all pieces together
        length = end = 0
        for match in (*breaks.finditer(text), None):
            stop = match.start() if match else len(text)
            if stop > end:
                pieces.append(text[end:stop])
                begins.append(end)
                joined_at.append(length)
                length += stop - end
            end = match.end() if match else end

        def place(at: int) -> int:
            piece = bisect_right(joined_at, at) - 1
            return begins[piece] + at - joined_at[piece]

        spans = [(place(start), place(stop - 1) + 1) for start, stop in self._spans("".join(pieces))]
        return _masked(text, iter(spans))

    @property
    def longest(self) -> int:
        """No copy that is found is longer than so many characters."""
        return _LONGEST if self._buckets else 0

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where copies begin and end; copies that overlap or touch are one span."""
        buckets, start, stop = self._buckets, 0, 0
        if not buckets:
            return
        for position in range(len(text) - _KEY_LENGTH + 1):
            if text[position : position + _KEY_LENGTH] not in buckets:
                continue
            end = self._longest_at(text, position)
            if not end:
                continue
            if position > stop and stop:
                yield start, stop
            if position > stop or not stop:
                start = position
            stop = max(stop, end)
        if stop:
            yield start, stop

    def _longest_at(self, text: str, position: int) -> int:
        """The end of the longest tainted form that begins at position; 0 for none.

        All forms that begin what stands here are in order before it, and the last one before it begins with each of
        them: it is the form itself, or one that begins with the form.
        """
        key = text[position : position + _KEY_LENGTH]
        bucket = self._buckets[key]
        ahead = text[position : position + self._reach[key]]
        place = bisect_right(bucket, ahead)
        if not place:
            return 0
        nearest = bucket[place - 1]
        if ahead.startswith(nearest):
            return position + len(nearest)
        shorter = self._shorter.get(nearest)
        if shorter is None:
            return 0
        count = bisect_left(shorter, True, key=lambda form: not ahead.startswith(form))
        return position + len(shorter[count - 1]) if count else 0


def _sorted_by_head(
    forms: Iterable[str],
) -> tuple[dict[str, list[str]], dict[str, int], dict[str, tuple[str, ...]]]:
    """Forms in order, by their first characters; how long the longest of each is; and of each form the shorter
    ones that it begins with, if there are any."""
    buckets: dict[str, list[str]] = {}
    shorter: dict[str, tuple[str, ...]] = {}
    within: list[str] = []
    for form in sorted(forms):
        while within and not form.startswith(within[-1]):
            within.pop()
        if within:
            shorter[form] = tuple(within)
        within.append(form)
        key = form[:_KEY_LENGTH]
        if key in buckets:
            buckets[key].append(form)
        else:
            buckets[key] = [form]
    return buckets, {key: len(max(bucket, key=len)) for key, bucket in buckets.items()}, shorter


def _masked(text: str, spans: Iterator[tuple[int, int]]) -> str:
    pieces: list[str] = []
    end = 0
    for start, stop in spans:
        pieces += (text[end:start], MASK)
        end = stop
    return "".join((*pieces, text[end:])) if end else text


def _is_secret(value: str) -> bool:
    if len(value) < _KEY_LENGTH or value.lower() in _COMMON or (len(value) < 20 and _REGION.fullmatch(value)):
        return False
    return len(value) >= _LONG_ENOUGH or _bits_per_character(value) >= _MIN_BITS_PER_CHARACTER


def _bits_per_character(value: str) -> float:
    total = len(value)
    return -sum(n / total * math.log2(n / total) for n in Counter(value).values())


def _blocks(form: str) -> Iterator[str]:
    """A form that is too long to be looked for, in pieces that a copy of it holds one behind the other."""
    for start in range(0, len(form) - _BLOCK, _BLOCK):
        yield form[start : start + _BLOCK]
    yield form[-_BLOCK:]


# --- the forms of a value ------------------------------------------------------------------------------------------

# What Go's encoding/json escapes beside what JSON asks for; jsonencode() of Terraform does too.
_ESCAPED_BY_GO = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})
_XML = ({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"}, {'"': "&quot;", "'": "&apos;"})
_XML_ESCAPES = (str.maketrans(_XML[0]), str.maketrans(_XML[0] | _XML[1]))
_EVERY_ESCAPE = tuple(str.maketrans({c: "\\u" + form % c for c in range(128)}) for form in ("%04x", "%04X"))
_NEVER_QUOTED = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~")
# What is left as it is: nothing; by JavaScript's encodeURIComponent; by Go's url.PathEscape and url.UserPassword. The
# last is a form: a blank is a plus.
_LEFT_IN_URLS = (b"", b"!*'()", b"$&+=:@", b"$&+,;=")
_URL_ESCAPES = tuple(
    str.maketrans({c: form % c for c in range(256) if c not in _NEVER_QUOTED and c not in left} | blank)
    for left, blank in (*((left, {}) for left in _LEFT_IN_URLS), (b"", {32: "+"}))
    for form in ("%%%02X", "%%%02x")
)
_URL_SAFE = str.maketrans("+/", "-_")
_ESCAPED_IN_JSON = re.compile(r'[^ !#-\[\]-~]|[<>&"]')
_UNICODE_ESCAPE = re.compile(r"\\u[0-9a-f]{4}")

_IN_URL = re.compile(r"://[^/\s:@]{0,128}+:([^@\s/]{1,256}+)@")
# What a secret in a store says beside the password, and a policy beside its conditions: outputs tell it all the time.
_HARMLESS = frozenset({
    "action", "apiversion", "arn", "database", "dbclusteridentifier", "dbinstanceidentifier", "dbname", "effect",
    "endpoint", "engine", "host", "hostname", "id", "kind", "name", "port", "principal", "region", "resource", "server",
    "sid", "type", "url", "user", "username", "version",
})  # fmt: skip


def _forms(value: str) -> Iterator[str]:
    yield from _encoded(value)
    trimmed = value.strip()
    if trimmed != value and len(trimmed) >= _KEY_LENGTH:  # a file's value without its final newline
        yield from _encoded(trimmed)
    for part in _parts(value):
        yield from _encoded(part)


def _parts(value: str) -> Iterator[str]:
    """What of a value is secret by itself: each line of a PEM or a script, a password in a URL, and what stands in a
    document under a name that is not that of something harmless."""
    lines = value.splitlines()
    if len(lines) > 1:
        for line in map(str.strip, lines):
            if len(line) >= _LONG_ENOUGH and line != value and not line.startswith("-----"):
                yield line
    if "://" in value:
        yield from filter(_is_secret, (match[1] for match in _IN_URL.finditer(value)))
    if value[:1] in ("{", "["):
        try:
            yield from filter(_is_secret, _leaves(json.loads(value, parse_int=str, parse_float=str)))
        except (ValueError, RecursionError):
            return


def _leaves(value: object, name: str = "") -> Iterator[str]:
    if isinstance(value, str):
        if name.lower() not in _HARMLESS:
            yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, name)


def _encoded(value: str) -> Iterator[str]:
    raw = value.encode("utf-8", "surrogatepass")
    yield value
    if not (value.isascii() and value.isalnum()):  # else these are all the value itself
        if _ESCAPED_IN_JSON.search(value):
            yield from _escaped(value)
            yield from map(value.translate, _XML_ESCAPES)
        octets = raw.decode("latin-1")
        yield from map(octets.translate, _URL_ESCAPES)
    if value.isascii():  # every character escaped, not only those that must be
        yield from map(value.translate, _EVERY_ESCAPE)
    else:
        escaped = "".join([f"\\u{unit:04x}" for unit in _utf16(value)])
        yield escaped
        yield _raised(escaped)
    digits = raw.hex()
    yield digits
    yield digits.upper()
    yield from _base64(raw)


def _escaped(value: str) -> Iterator[str]:
    """As strings of JSON; and as strings of a document that is itself a string of one."""
    text = json.dumps(value, ensure_ascii=False)[1:-1]
    texts = (text,) if value.isascii() else (text, json.dumps(value)[1:-1])
    for form in {form for text in texts for form in (text, text.translate(_ESCAPED_BY_GO))}:
        yield form
        if "\\" in form:
            yield form.replace("\\", "\\\\").replace('"', '\\"')
            if "\\u" in form:
                yield _raised(form)


def _raised(text: str) -> str:
    """With the hex digits of its escapes in upper case."""
    return _UNICODE_ESCAPE.sub(lambda match: "\\u" + match[0][2:].upper(), text)


def _base64(raw: bytes) -> Iterator[str]:
    """Without its edges: a copy inside a longer text starts at any of three alignments."""
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + raw).decode().rstrip("=")
        inner = encoded[-(-shift * 8 // 6) : len(encoded) - (1 if (shift + len(raw)) % 3 else 0)]
        if len(inner) >= _LONG_ENOUGH:
            yield inner
            if "+" in inner or "/" in inner:
                yield inner.translate(_URL_SAFE)


def _utf16(value: str) -> Iterable[int]:
    raw = value.encode("utf-16-be", "surrogatepass")
    return [raw[at] << 8 | raw[at + 1] for at in range(0, len(raw), 2)]


NOTHING_TAINTED = Taint()
