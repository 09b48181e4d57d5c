"""How much memory a JSON document may take as objects, told from its bytes before it is decoded.

A document of 16 MiB that holds nothing but `[],` becomes 400 MB of objects. Counting three kinds of bytes costs
milliseconds and bounds that: every container has a bracket, every further value a comma. Both may also stand in
strings, so the limits leave room: a state of 16 MiB as Terraform writes it has some 400,000 commas.
"""

from __future__ import annotations

LIGHT = 1 << 20  # bytes; what is smaller cannot become more than about 30 MB
MAX_CONTAINERS = 500_000
MAX_COMMAS = 1_000_000


def is_heavy(document: bytes) -> bool:
    """Whether a document could take more memory as objects than it is worth."""
    if len(document) <= LIGHT:
        return False
    return document.count(b"{") + document.count(b"[") > MAX_CONTAINERS or document.count(b",") > MAX_COMMAS
