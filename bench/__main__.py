"""Run the benchmarks: `python -m bench [--only NAME] [--write FILE]`."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from datetime import UTC, datetime

from . import machine
from .result import Line, markdown_table, plain_table

ROWS = (
    "disk_to_wire", "state_outputs", "log_reading", "deployment_cost", "many_directories", "long_journal", "delivery",
    "redaction", "exec_cost",
)  # fmt: skip

_HOW_TO_READ = """\
Written by `make bench`; do not edit by hand.

Absolute figures belong to this machine and this hour; what carries over are the **ratios**. Both sides of a ratio were
measured in the same run, in turns wherever one sample is short. "p50" and "p99" are medians and 99th percentiles by
nearest rank; where three figures stand as `a (b-c)`, they are median, best and worst. Processes are timed by the
kernel's own accounts (`wait4`, `clock_getcpuclockid`), from `fork` to exit. Targets were set before anything was
measured; a missed one is printed as missed and explained below the table.
"""


def main() -> int:
    """Measure, print, and write if asked to; the exit code does not depend on targets."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=ROWS, metavar="NAME", help=", ".join(ROWS))
    parser.add_argument("--write", metavar="FILE", help="also write the report as Markdown")
    parsed = parser.parse_args()
    described = machine.describe()
    lines: list[Line] = []
    began = time.perf_counter()
    for name in parsed.only or ROWS:
        row_began = time.perf_counter()
        print(f"{name} …", end=" ", file=sys.stderr, flush=True)
        lines += importlib.import_module(f"{__package__}.{name}").measure()
        print(f"{time.perf_counter() - row_began:.0f} s", file=sys.stderr, flush=True)
    print(plain_table(lines))
    for line in lines:
        if line.met is False:
            print(f"\nmissed: {line.name}\n  {line.missed}")
    if parsed.write:
        with open(parsed.write, "w", encoding="utf-8") as file:
            file.write(_report(lines, described, time.perf_counter() - began))
    return 0


def _report(lines: list[Line], described: list[str], took_s: float) -> str:
    facts = "\n".join(f"- {fact}" for fact in [f"Date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC", *described])
    missed = [line for line in lines if line.met is False]
    told = "\n\n".join(f"**{line.name}.** {line.missed}" for line in missed) if missed else "None."
    return (
        f"# Benchmarks\n\n{_HOW_TO_READ}\n## Machine\n\n{facts}\n- Duration of the whole run: {took_s:.0f} s\n\n"
        f"## Figures\n\n{markdown_table(lines)}\n\n## Missed targets\n\n{told}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
