"""Every bad input at once before a real daemon, while fifty normal runs go on: nobody waits for the bad ones.

Latency is from a log that is there to a verdict that Proton has, and is compared within this one run: fifty runs while
all bad inputs are made and go on where nobody watches, for they take most of a machine's CPU by themselves; then fifty
beside them. What is asked of the bad inputs stands in their table (`support.hostile`).
"""

from __future__ import annotations

import os
import re
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from support.daemons import AgentCommand, Row, write_settings
from support.hostile import CANARY, Planted, all_cases, planted
from support.hostile_files import CASES as FILES
from support.many_runs import ManyRuns, told

from proton_tf_agent.receiver import Receiver, Record

RUNS = 50
DEADLINE_S = 60.0
_UNIT = Path(__file__).parents[2] / "systemd" / "proton-tf-agent.service"
# A machine that does other things, too, makes single waits long; below these a doubled wait says nothing.
_MEDIAN_FLOOR_S = 0.5
_P99_FLOOR_S = 4.0  # everything bad is looked at for the first time while the first run waits


class Scene:
    """A daemon that watches one root, and what Proton hears."""

    def __init__(self, base: Path, receiver: Receiver) -> None:
        self.base = base
        self.receiver = receiver
        self.root = base / "watched"
        self.root.mkdir()
        self.runs = ManyRuns(self.root)
        write_settings(base / "agent.toml", base / "journal" / "journal.db", [self.root], receiver.url)
        self.agent = AgentCommand(base / "agent.toml")
        self.agent.wait_until_ready()

    def latencies(self, count: int) -> list[float]:
        """Let so many normal runs happen, one after the other; how long each verdict took, in seconds."""
        found = []
        for _ in range(count):
            began = time.monotonic()
            self.runs.add(1)
            self.receiver.wait_for(lambda records: len(self._normal(records)) == self.runs.count, DEADLINE_S)
            found.append(time.monotonic() - began)
        return found

    def judge_normal_runs(self) -> None:
        self.runs.judge([record for record in self.receiver.records() if "/unit-" in record.resource_arn])

    def most_memory(self) -> int:
        """The most memory the daemon has ever used, in bytes."""
        status = Path(f"/proc/{self.agent.process.pid}/status").read_text("ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) << 10

    @staticmethod
    def _normal(records: Sequence[Record]) -> set[str]:
        return {arn for arn in told(records) if "/unit-" in arn}


@pytest.fixture
def scene(tmp_path: Path, receiver: Receiver) -> Iterator[Scene]:
    scene = Scene(tmp_path, receiver)
    yield scene
    scene.agent.close()


def unreported(rows: Sequence[Row], cases: Sequence[Planted]) -> list[Planted]:
    """The cases whose code the daemon's log does not have yet. A state without an open run is nobody's evidence and not
    looked at: of those nothing is asked here."""
    seen = [(row["path"], row["reason"]) for row in rows if row["event"] == "source.unreadable"]
    return [
        one for one in cases
        if one.case.expects
        and not one.case.only_asked
        and (one.case in FILES or not (one.ground.directory / "terraform.tfstate").exists())
        and not any(reason == one.case.expects and path.startswith(str(one.ground.directory)) for path, reason in seen)
    ]  # fmt: skip


def _touch(cases: Sequence[Planted]) -> None:
    """Let the kernel hint at what a case wants to be hinted at; a swapped path may be away just now."""
    for one in cases:
        for path in one.case.hinted:
            with suppress(OSError):
                os.utime(one.ground.directory / path, follow_symlinks=False)


def p99(latencies: Sequence[float]) -> float:
    return statistics.quantiles(latencies, n=100, method="inclusive")[98]


@pytest.mark.timeout(300)
def test_fifty_normal_runs_do_not_notice_what_lies_beside_them(scene: Scene) -> None:
    with planted(all_cases(), scene.base / "unwatched", scene.base / "beyond"):
        alone = scene.latencies(RUNS)
    with planted(all_cases(), scene.root, scene.base / "outside") as cases:
        beside = scene.latencies(RUNS)
        scene.agent.process.send_signal(signal.SIGHUP)  # a rescan: limits are met where everything is walked
        until = time.monotonic() + DEADLINE_S
        while unreported(scene.agent.rows(), cases) and time.monotonic() < until:
            _touch(cases)
            seen = len(scene.agent.rows())
            with suppress(AssertionError):
                scene.agent.wait_for(lambda rows, seen=seen: len(rows) > seen, "says nothing new", 1.0)  # type: ignore[misc]
        assert [str(one.case) for one in unreported(scene.agent.rows(), cases)] == []
        succeeding = {one.ground.resource_arn for one in cases if one.case.succeeds}
        records = scene.receiver.wait_for(lambda records: succeeding <= told(records), DEADLINE_S)
        memory = scene.most_memory()
    assert scene.agent.stop() == 0
    assert {arn for arn in told(records) if "/case-" in arn} == succeeding
    scene.judge_normal_runs()
    limit = re.search(r"^MemoryHigh=(\d+)M$", _UNIT.read_text("utf-8"), re.MULTILINE)
    assert limit is not None
    assert memory < int(limit[1]) << 20
    everything = repr(scene.agent.rows()) + repr(scene.receiver.records())
    assert CANARY not in everything
    assert CANARY.encode() not in b"".join(file.read_bytes() for file in (scene.base / "journal").iterdir())
    measures: dict[str, Callable[[list[float]], float]] = {
        "median": statistics.median,
        "mean": statistics.fmean,
        "p99": p99,
    }
    compared = (f"{name} {of(alone):.3f} -> {of(beside):.3f} s" for name, of in measures.items())
    figures = ", ".join((*compared, f"{memory >> 20} MiB"))
    assert statistics.median(beside) <= 2 * max(statistics.median(alone), _MEDIAN_FLOOR_S), figures
    assert p99(beside) <= 2 * max(p99(alone), _P99_FLOOR_S), figures
    print(figures)
