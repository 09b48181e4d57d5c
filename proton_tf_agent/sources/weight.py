"""How much memory a JSON document may take as objects, told from its bytes before it is decoded.

A document of 16 MiB that holds nothing but `[],` becomes 400 MB of objects. Counting three kinds of bytes costs
milliseconds and bounds that: every container has a bracket, every further value a comma. Both may also stand in
strings, so the limits leave room: a state of 16 MiB as Terraform writes it has some 400,000 commas. What is too much
shows early: dense documents are those that take long to count.
"""

from __future__ import annotations

LIGHT = 1 << 20  # bytes; what is smaller cannot become more than about 30 MB
MAX_CONTAINERS = 500_000
MAX_COMMAS = 1_000_000


def is_heavy(document: bytes) -> bool:
    """Whether a document could take more memory as objects than it is worth."""
    if len(document) <= LIGHT:
        return False
    containers = commas = 0
    for start in range(0, len(document), LIGHT):
        piece = start, start + LIGHT
        containers += document.count(b"{", *piece) + document.count(b"[", *piece)
        commas += document.count(b",", *piece)
        if containers > MAX_CONTAINERS or commas > MAX_COMMAS:
            return True
    return False
