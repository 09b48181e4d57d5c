"""Redaction: what must be gone from foreign text before anything keeps it.

Order: value taint (`taint`), patterns of credentials (`credentials`), control characters (`printable`). Before it goes
structural redaction, dropping what Terraform marks sensitive, where the marks are read (`sources.state_file`,
`sources.json_log`); behind it the last scan, `exposes`, over what was made of the text. The tainted values come in as
`Taint` and are never stored.

Promise: linear in the length of the text, whatever the number of tainted values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .credentials import is_credential, mask_credentials
from .printable import without_acting
from .taint import MASK, NOTHING_TAINTED, Taint

__all__ = ["MASK", "NOTHING_TAINTED", "Taint", "exposes", "is_credential", "scrub", "scrub_error", "without_keys"]

# terraform internal/addrs: module.NAME[KEY].TYPE.NAME[KEY]; a key is a number or a quoted string
_INSTANCE_KEY = re.compile(r'\[(?:\d{1,20}|"(?:[^"\\]|\\.)*+")\]')
_NAMES = re.compile(r"(?:[\w.-]|\[…\])*")
_LONGEST_ADDRESS = 4096
# Where a line was broken, by Terraform's own wrapping too: in a box each line has a bar before it.
_LINE_BREAK = re.compile(r"[ \t]{0,8}\n[ \t]{0,8}(?:[│|][ \t]{0,8})?")


def scrub(text: str, taint: Taint, most: int | None = None) -> str:
    """Foreign text as it may be kept and shown; the empty string when nobody can tell what is sensitive.

    most: of a longer text no more than so many characters are looked at, and the last of those are dropped as far as a
    copy could reach that was cut in two.
    """
    if not taint.known:
        return ""
    cut = most is not None and len(text) > most
    # Masked before and after: control characters may be part of a value, or hide a copy of it.
    text = taint.mask(without_acting(taint.mask(text[:most])))
    if cut:
        text = text[: max(0, len(text) - taint.longest)]
    if "\n" in text:
        text = taint.mask_across(text, _LINE_BREAK)
    return mask_credentials(text).strip()


def scrub_error(summary: str, address: str, taint: Taint, most: int) -> tuple[str, str]:
    """The summary of an error and the address it is about, as `scrub` leaves them; the summary empty where the resource
    has a secret that no state holds: a service may have quoted it."""
    scrubbed = scrub(address, taint, most)
    if taint.unseen and address and _type_in(address) in (None, *taint.unseen):
        return "", scrubbed
    return scrub(summary, taint, most), scrubbed


def _type_in(address: str) -> str | None:
    """The type of the resource at an address; None where it is no address of one."""
    parts = without_keys(address).split(".")
    return parts[-2].removesuffix("[…]") if len(parts) > 1 else None


def without_keys(address: str) -> str:
    """The address of a resource without the keys of its instances: those are values, all else are names. What is no
    address is nothing."""
    named = _INSTANCE_KEY.sub("[…]", address[:_LONGEST_ADDRESS])
    return named if _NAMES.fullmatch(named) else ""


def exposes(texts: Iterable[str], taint: Taint) -> bool:
    """The last scan: whether any of these texts still holds what `scrub` should have taken out of it."""
    return any(taint.touches(text) or is_credential(text) for text in texts)
