"""What a benchmark hands back, and how it is printed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

HEADINGS = ("what", "ours", "floor or peer", "ratio", "target", "met")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table. met is None where the design sets no target; missed says why, when it is not met."""

    name: str
    ours: str
    against: str = "-"
    ratio: str = "-"
    target: str = "-"
    met: bool | None = None
    missed: str = ""

    def cells(self) -> tuple[str, ...]:
        verdict = "-" if self.met is None else "yes" if self.met else "**no**"
        return self.name, self.ours, self.against, self.ratio, self.target, verdict


def median(samples: Sequence[float]) -> float:
    """The middle sample."""
    return quantile(samples, 0.5)


def quantile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that `share` of all samples do not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def ms(seconds: float) -> str:
    """Seconds as milliseconds, with as many digits as carry meaning."""
    value = seconds * 1000
    if value < 0.1:
        return f"{value * 1000:.0f} µs"
    return f"{value:.2f} ms" if value < 10 else f"{value:,.0f} ms"


def times(ratio: float) -> str:
    """A ratio as text."""
    return f"{ratio:,.0f}×" if ratio >= 20 else f"{ratio:.1f}×"


def spread(samples: Sequence[float]) -> str:
    """Median, with the best and the worst sample behind it."""
    return f"{ms(median(samples))} ({ms(min(samples))}-{ms(max(samples))})"


def plain_table(lines: Sequence[Line]) -> str:
    """The table for a terminal."""
    rows = [HEADINGS, *(line.cells() for line in lines)]
    rows = [tuple(cell.replace("**", "") for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def markdown_table(lines: Sequence[Line]) -> str:
    """The table for docs/benchmarks.md."""
    rows = [HEADINGS, tuple("---" for _ in HEADINGS), *(line.cells() for line in lines)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
