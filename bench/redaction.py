"""Looking for 10,000 sensitive values, in every encoding, in 1 MB of text, against `str.replace` of each of them as it
is; and the worst text there is, in which something begins at every character."""

from __future__ import annotations

import random
import string
import time
from collections.abc import Callable

from proton_tf_agent.domain.redaction import Taint, scrub
from proton_tf_agent.domain.taint import MASK

from .result import Line, median, ms, times

VALUES = 10_000
SIZE = 1_000_000
REPEATS = 3
TARGET_S = 1.0
_WORDS = (
    "the", "resource", "aws_instance.web[0]", "could", "not", "be", "created:", "operation", "error", "0a1b2c3d4e5f",
)  # fmt: skip


def measure() -> list[Line]:
    """Three texts, and what it takes to make the forms ready."""
    draw = random.Random(1)
    alphabet = string.ascii_letters + string.digits + "!@#$%^&*()-_+/"
    values = ["".join(draw.choices(alphabet, k=24)) for _ in range(VALUES)]
    prose = " ".join(draw.choices(_WORDS, k=SIZE // 4))[:SIZE]
    taint = Taint(values)
    made, masked, scrubbed, replaced = [], [], [], []
    for _ in range(REPEATS):
        made.append(_seconds(lambda: Taint(values)))
        masked.append(_seconds(lambda: taint.mask(prose)))
        scrubbed.append(_seconds(lambda: scrub(prose, taint)))
        replaced.append(_seconds(lambda: _replace_each(prose, values)))
    alike = Taint(f"{'a' * 64}{number:08}" for number in range(VALUES))
    worst = median([_seconds(lambda: alike.mask("a" * SIZE)) for _ in range(REPEATS)])
    whole = median(made) + median(masked)
    missed = (
        f"Making the forms takes {ms(median(made))}, looking for them {ms(median(masked))}. Both grow with what there "
        "is, not with its square; a run's own text is cut at 16,000 characters before it is looked at."
    )
    return [
        Line(
            f"{VALUES:,} sensitive values in 1 MB of text: forms made, copies masked / `str.replace`, values alone",
            f"{ms(median(made))} + {ms(median(masked))}", ms(median(replaced)), times(median(replaced) / whole),
            "< 1 s", whole < TARGET_S, missed,
        ),
        Line("the same text redacted whole: copies, credentials, characters", ms(median(scrubbed))),
        Line("1 MB in which one of 10,000 values begins at every character", ms(worst)),
    ]  # fmt: skip


def _replace_each(text: str, values: list[str]) -> str:
    for value in values:
        text = text.replace(value, MASK)
    return text


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
