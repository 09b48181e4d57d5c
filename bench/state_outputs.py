"""Outputs from a state of 10 KB, 1 MB and 100 MB, against `terraform output -json` and `json.load` on the same file.

Ours is measured twice: the head alone (`observe`: what outputs there are) and head and secrets (`read_state`: what a
verdict needs, the search for sensitive values through the whole file included).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable

from proton_tf_agent.sources.observe import observe
from proton_tf_agent.sources.place import Kind, Place
from proton_tf_agent.sources.safe_open import SafeOpener
from proton_tf_agent.sources.states import read_state
from proton_tf_agent.sources.watch import Touched

from .measure import Ended, Failed, environment, median_of, run_whole
from .result import Line, median, ms, times
from .scene import sample

SIZES = {"10 KB": 10_000, "1 MB": 1_000_000, "10 MB": 10_000_000, "100 MB": 100_000_000}
TO_COMPARE = ("10 KB", "1 MB", "100 MB")
TARGET = 100
MEMORY_SLACK_MB = 1.0
_INSTANCES = b'\n      "instances": [\n'
_END_OF_INSTANCES = b"\n      ]\n    }\n  ],\n"
_INDEX = b'"index_key": '


def measure() -> list[Line]:
    """Three sizes against the peers; memory at a fourth too, to see whether it grows."""
    lines: list[Line] = []
    peaks: dict[str, tuple[float, float]] = {}
    base = tempfile.mkdtemp(prefix="proton-tf-agent-bench-")
    try:
        for name, size in SIZES.items():
            directory = os.path.join(base, name.replace(" ", "_"))
            os.makedirs(directory)
            path = os.path.join(directory, "terraform.tfstate")
            _write_state(path, size)
            head, scan = _looks(base, directory, path)
            repeats = 3 if size > 10_000_000 else 15
            peaks[name] = _peak_mb(head), _peak_mb(scan)
            if name in TO_COMPARE:
                lines += _against_peers(name, directory, path, _seconds(head, 50), _seconds(scan, repeats), repeats)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return [*lines, _memory(peaks)]


def _against_peers(name: str, directory: str, path: str, head_s: float, scan_s: float, repeats: int) -> list[Line]:
    decoded = median_of([run_whole([sys.executable, "-c", _JSON_LOAD, path]) for _ in range(2)])
    nothing = run_whole([sys.executable, "-c", "import json"])
    decode_s = max(decoded.wall_s - nothing.wall_s, 1e-6) if decoded.wall_s > 0.5 else _in_process(path)
    told = [
        Line(f"outputs of a {name} state: head / json.load", ms(head_s), ms(decode_s), times(decode_s / head_s)),
    ]
    terraform = _terraform(directory, repeats)
    if terraform is None:
        return [Line(f"outputs of a {name} state: `terraform output -json`", ms(head_s), "no terraform on PATH"), *told]
    ratio, scanned = terraform.wall_s / head_s, terraform.wall_s / scan_s
    judged = name == "100 MB"
    missed = (
        f"`terraform output -json` takes {ms(terraform.wall_s)} on it; the head alone takes {ms(head_s)} "
        f"({times(ratio)}), with the search for secrets {ms(scan_s)} ({times(scanned)}). That search reads every byte "
        "once, in blocks, because a sensitive value may stand anywhere; it cannot be flat in the size of the state."
    )
    of_terraform = f"{ms(terraform.wall_s)}, {terraform.max_rss_mb:,.0f} MB" if judged else ms(terraform.wall_s)
    goal, head_met, scan_met = ("≥ 100×", ratio >= TARGET, scanned >= TARGET) if judged else ("-", None, None)
    what = f"outputs of a {name} state"
    return [
        Line(
            f"{what}: head / `terraform output -json`", ms(head_s), of_terraform, times(ratio), goal, head_met, missed,
        ),
        Line(f"{what}: head and secrets / the same", ms(scan_s), of_terraform, times(scanned), goal, scan_met, missed),
        *told,
    ]  # fmt: skip


def _memory(peaks: dict[str, tuple[float, float]]) -> Line:
    grown = max(large - middle for large, middle in zip(peaks["100 MB"], peaks["10 MB"], strict=True))
    shown = ", ".join(f"{name}: {head:.1f} / {scan:.1f} MB" for name, (head, scan) in peaks.items())
    return Line(
        "memory at its peak (tracemalloc), head / head and secrets", shown, target="flat in size",
        met=grown < MEMORY_SLACK_MB,
        missed=f"From 10 MB to 100 MB of state the peak grows by {grown:.1f} MB.",
    )  # fmt: skip


_JSON_LOAD = "import json, sys; json.load(open(sys.argv[1], encoding='utf-8'))['outputs']"


def _in_process(path: str) -> float:
    def load() -> None:
        with open(path, encoding="utf-8") as file:
            json.load(file)

    return _seconds(load, 15)


def _terraform(directory: str, repeats: int) -> Ended | None:
    if not shutil.which("terraform"):
        return None
    command = ["terraform", "output", "-json", "-no-color"]
    return median_of([run_whole(command, cwd=directory, env=environment()) for _ in range(min(repeats, 5))])


def _looks(base: str, directory: str, path: str) -> tuple[Callable[[], None], Callable[[], None]]:
    opener = SafeOpener([base])
    touched = Touched(path, Place(Kind.STATE, directory, "default"), closed=True)

    def head() -> None:
        if observe(opener, touched, None) is None:
            raise Failed(f"no outputs were seen in {path}")

    def head_and_secrets() -> None:
        reading = read_state(opener, path)
        if reading.state is None or not reading.taint.known:
            raise Failed(f"the secrets of {path} were not found out")

    return head, head_and_secrets


def _seconds(look: Callable[[], None], repeats: int) -> float:
    look()
    samples = []
    for _ in range(repeats):
        began = time.perf_counter()
        look()
        samples.append(time.perf_counter() - began)
    return median(samples)


def _peak_mb(look: Callable[[], None]) -> float:
    look()
    tracemalloc.start()
    try:
        look()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def _write_state(path: str, size: int) -> None:
    """The recorded state with as many instances as make up the size; Terraform refuses an index that comes twice."""
    recorded = sample("apply.tfstate")
    before, rest = recorded.split(_INSTANCES)
    instances, after = rest.split(_END_OF_INSTANCES)
    first, after_index = instances.split(_INDEX)[:2]
    last = after_index.rpartition(b",\n")[0]  # up to the comma before the next instance
    count = max(1, (size - len(before) - len(after)) // len(first + _INDEX + last + b"100000,\n"))
    with open(path, "wb", buffering=1 << 20) as file:
        file.write(before + _INSTANCES)
        for index in range(count):
            file.write((b",\n" if index else b"") + first + _INDEX + str(index).encode() + last[1:])
        file.write(_END_OF_INSTANCES + after)
