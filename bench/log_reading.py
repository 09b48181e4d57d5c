"""Reading a 30 MB log of the JSON UI with one 2 MB outputs line, against `json.loads` of every line of it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tempfile
import time

from proton_tf_agent.domain.evidence import Cursor
from proton_tf_agent.sources.observe import observe
from proton_tf_agent.sources.place import Kind, Place
from proton_tf_agent.sources.safe_open import SafeOpener
from proton_tf_agent.sources.watch import Touched

from .measure import Failed
from .result import Line, median, ms, times
from .scene import SAMPLES, sample

SIZE = 30_000_000
REPEATS = 3
TARGET = 3.0


def measure() -> list[Line]:
    """Both readers in turns over the same file, in the page cache."""
    base = tempfile.mkdtemp(prefix="proton-tf-agent-bench-")
    try:
        path = os.path.join(base, "apply.log")
        lines = _write_log(path)
        size = os.path.getsize(path)
        ours, theirs, facts = [], [], 0
        for _ in range(REPEATS):
            seconds, facts = _read(base, path)
            ours.append(seconds)
            theirs.append(_decode(path))
    finally:
        shutil.rmtree(base, ignore_errors=True)
    ratio = median(theirs) / median(ours)
    missed = (
        f"Ours reads {size / median(ours) / 1e6:.0f} MB/s, `json.loads` {size / median(theirs) / 1e6:.0f} MB/s. Of "
        f"{lines:,} lines {facts:,} become facts: beyond the decoding, ours makes an object of each that says what "
        "was seen and where; the peer makes a dict and drops it."
    )
    return [
        Line(
            f"a log of {size / 1e6:.0f} MB, {lines:,} lines, one of 2 MB",
            f"{ms(median(ours))} ({size / median(ours) / 1e6:.0f} MB/s), {facts:,} facts",
            f"json.loads: {ms(median(theirs))} ({size / median(theirs) / 1e6:.0f} MB/s)",
            times(ratio), "≥ 3×", ratio >= TARGET, missed,
        )
    ]  # fmt: skip


def _read(base: str, path: str) -> tuple[float, int]:
    opener = SafeOpener([base])
    touched = Touched(path, Place(Kind.LOG, base, None), closed=False)
    cursor: Cursor | None = None
    facts, more = 0, True
    began = time.perf_counter()
    while more:
        observation = observe(opener, touched, cursor)
        if observation is None:
            raise Failed(f"nothing was seen in {path}")
        facts += len(observation.facts)
        cursor, more = observation.cursor, observation.more
    return time.perf_counter() - began, facts


def _decode(path: str) -> float:
    began = time.perf_counter()
    with open(path, "rb") as file:
        for line in file:
            json.loads(line)
    return time.perf_counter() - began


def _write_log(path: str) -> int:
    """Recorded lines, repeated: refreshing, planning, creating with provisioners, and a failed apply's diagnostics."""
    version, *succeeding = sample("apply.jsonl").splitlines(keepends=True)
    failing = sample("failed.jsonl").splitlines(keepends=True)[1:]
    block = [*sample("refresh.jsonl").splitlines(keepends=True), *succeeding, *failing]
    with gzip.open(os.path.join(SAMPLES, "huge_outputs.jsonl.gz")) as recorded:
        *_, summary, outputs = recorded.read().splitlines(keepends=True)
    repeats = (SIZE - len(outputs)) // sum(map(len, block))
    with open(path, "wb") as file:
        file.write(version)
        for _ in range(repeats):
            file.writelines(block)
        file.write(summary + outputs)
    return repeats * len(block) + 3
