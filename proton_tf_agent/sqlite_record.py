"""A record of SQLite: the values of one row as bytes, and how large a record is by its header alone.

Numbers and records by the SQLite file format (https://www.sqlite.org/fileformat2.html, its sections in brackets); the
pages they lie in are `sqlite_pages`'. Pure. Bytes that are no record give None or 0, never an exception.
"""

from __future__ import annotations

import re
import struct
from itertools import accumulate
from typing import NamedTuple

Value = None | int | float | str | bytes

_VALUE_SIZES = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)  # by serial type [2.1]
_IMPOSSIBLE = 1 << 40  # beyond every serial type; a value of its size is in no file
_MOST_BITS = 28  # before the last byte of a number that says how large something in a file is


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number of one to nine bytes that begins at `at` [1.6], and where it ends; IndexError if `data` ends first."""
    value = 0
    for end in range(at + 1, at + 9):
        byte = data[end - 1]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, end
    return value << 8 | data[at + 8], at + 9


def values_of(record: bytes) -> tuple[Value, ...] | None:
    """The values of a record [2.1]; None unless every byte of it is accounted for and every text is UTF-8."""
    header, at = varint(record[:9] + bytes(9), 0)
    if not at < header <= len(record) or record[header - 1] >= 0x80:
        return None
    values: list[Value] = []
    begin = header
    while at < header:
        serial, at = varint(record, at)
        end = begin + _value_size(serial)
        if end > len(record):
            return None
        try:
            values.append(_value(serial, record[begin:end]))
        except UnicodeDecodeError:
            return None
        begin = end
    return tuple(values) if begin == len(record) else None


def _value(serial: int, content: bytes) -> Value:
    if serial >= 12:
        return content.decode("utf-8") if serial % 2 else content
    if serial == 7:
        return float(struct.unpack(">d", content)[0])
    if serial in (0, 8, 9):
        return (None, 0, 1)[max(serial - 7, 0)]
    return int.from_bytes(content, "big", signed=True)


def _value_size(serial: int) -> int:
    if serial < len(_VALUE_SIZES):
        return _VALUE_SIZES[serial]
    return (serial - 12) // 2 if serial >= 12 else _IMPOSSIBLE


_BYTE_SIZES = tuple(_value_size(byte) if byte < 0x80 else 0 for byte in range(256))
_BEGUN_NUMBER = re.compile(rb"[\x80-\xff]+")


class Survey(NamedTuple):
    """What would be read at each byte of a page, in time linear in the page, whatever its bytes are."""

    numbers: list[int]  # the number that begins here; those of more than five bytes are only known to be large
    ends: list[int]  # where that number ends
    record_sizes: list[int]  # the size of the record whose header begins here and ends in the page; 0 if none does


def survey(page: bytes) -> Survey:
    """Look at every byte of a page. Its last byte must be zero."""
    numbers, ends, value_sizes = list(page), list(range(1, len(page) + 1)), [_BYTE_SIZES[byte] for byte in page]
    for begun in _BEGUN_NUMBER.finditer(page):
        begin, last = begun.span()
        for at in range(last - 1, begin - 1, -1):
            bits = 7 * (last - at)
            numbers[at] = (page[at] & 0x7F) << bits | numbers[at + 1] if bits <= _MOST_BITS else _IMPOSSIBLE
            ends[at] = min(last + 1, at + 9)
        value_sizes[last] = _value_size(numbers[begin])
    # Numbers end in the same places wherever one begins to read: sums over the page serve every header in it.
    sums = [0, *accumulate(value_sizes)]
    record_sizes = [
        header + sums[at + header] - sums[begin]
        if begin < at + header <= len(page) and page[at + header - 1] < 0x80
        else 0
        for at, (header, begin) in enumerate(zip(numbers, ends, strict=True))
    ]
    return Survey(numbers, ends, record_sizes)
