"""Recorded Terraform runs: in whatever pieces and order their files are read, the verdicts are the true ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from support.recordings import Change, Recording, recordings
from support.truth import (
    ARN,
    DEPLOYMENT_ID,
    LONG,
    grows_only,
    judge,
    judge_runs_known_by_their_lock_alone,
    with_ends,
)
from support.watching import Watching, bind_directory

from proton_tf_agent.domain.correlation import begin
from proton_tf_agent.domain.evidence import Cursor, Elapsed, Fact, LogClosed, Mark, OperationStarted
from proton_tf_agent.domain.run import Patience, Run, RunStatus
from proton_tf_agent.domain.transitions import advance
from proton_tf_agent.journal_verify import check
from proton_tf_agent.sources import json_log, tail

RECORDINGS = recordings()
LOGS = [(recording, log) for recording in RECORDINGS for log in recording.json_logs]
SMALL = 20_000

each_recording = pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
each_log = pytest.mark.parametrize(("recording", "log"), LOGS, ids=[f"{r.name}/{log}" for r, log in LOGS])


def test_the_copy_of_the_corpus_is_whole() -> None:
    assert len(RECORDINGS) == 56
    assert len(LOGS) >= 70
    assert sum(step.is_json and step.is_run for recording in RECORDINGS for step in recording.steps) >= 75


# --- one log by itself ----------------------------------------------------------------------------------------


def facts_in(content: bytes, ends: Sequence[int]) -> list[Fact]:
    """The facts of a log that is looked at whenever it has grown to one of these lengths."""
    cursor: Cursor | None = None
    mark = Mark()
    facts: list[Fact] = []
    for end in ends:
        more = True
        while more:
            read = _reads_up_to(content, end)
            new = tail.read_new(read, end, 1, 2, cursor)
            found, mark = json_log.read(new.lines, mark, "/run")
            cursor = Cursor("/run/a.log", 1, 2, new.offset, new.head, new.head_length, (mark,))
            facts += found
            more = new.more
    return facts


def _reads_up_to(content: bytes, end: int) -> Callable[[int, int], bytes]:
    return lambda offset, length: content[offset : min(end, offset + length)]


@each_log
def test_a_log_gives_the_same_facts_in_whatever_pieces_it_is_read(recording: Recording, log: str) -> None:
    content = recording.final(log)
    whole = facts_in(content, [len(content)])
    assert sum(isinstance(fact.evidence, OperationStarted) for fact in whole) == 1
    if len(content) < SMALL:
        assert facts_in(content, range(1, len(content) + 1)) == whole
    for seed in range(3):
        rng = random.Random(f"{recording.name}/{log}/{seed}")
        cuts = sorted(rng.randrange(1, len(content)) for _ in range(60))
        assert facts_in(content, [*cuts, len(content)]) == whole, f"cut at {cuts}"


@each_log
def test_a_log_alone_tells_the_true_verdict(recording: Recording, log: str) -> None:
    """With no lock to look at (S3 state, -lock=false), what the log says until it is closed is enough."""
    step = next(step for step in reversed(recording.steps) if step.log == log)
    content = recording.final(log)
    assert judged(facts_in(content, [len(content)])).status is step.verdict


@each_log
def test_a_log_that_is_cut_short_never_says_success(recording: Recording, log: str) -> None:
    """Wherever a log ends before its last summary, success is not told."""
    content = recording.final(log)
    facts = facts_in(content, [len(content)])
    for length in range(1, len(facts), 1 + len(facts) // 200):
        if not any(type(fact.evidence).__name__ == "ApplySummarised" for fact in facts[:length]):
            assert judged(facts[:length]).status not in (RunStatus.APPLIED, RunStatus.DESTROYED)


def judged(facts: Sequence[Fact]) -> Run:
    """The run these facts and the end of its log make, long afterwards."""
    run = begin(facts[0], "/run", None, "/run/a.log", 0.0)
    for fact in (*facts, Fact(LogClosed(), facts[0].anchor)):
        run, _ = advance(run, fact, 0.0, Patience())
    return advance(run, Fact(Elapsed()), LONG, Patience())[0]


def test_terraforms_own_trace_is_no_run() -> None:
    """TF_LOG=json writes JSON lines too, beside the log; none of them is a fact."""
    content = next(r for r in RECORDINGS if r.name == "tf_log_path").final("tf-trace.log")
    assert facts_in(content, [len(content)]) == []


# --- whole scenarios, in the recorded order ---------------------------------------------------------------------


@pytest.fixture
def watching(recording: Recording, tmp_path: Path) -> Iterator[Watching]:
    root = tmp_path / "watched"
    root.mkdir()
    with Watching(recording, str(root), str(tmp_path / "journal" / "journal.db")) as watching:
        bind_directory(watching.directory, ARN, DEPLOYMENT_ID)
        yield watching
        assert list(check(watching.journal)) == []


@each_recording
def test_looking_after_every_recorded_instant_finds_every_run_and_its_true_verdict(
    recording: Recording, watching: Watching
) -> None:
    now, waiting = 0.0, 0
    for at, changes in with_ends(recording):
        now = at
        watching.wait(now)
        watching.happen(changes)
        # While a chatty log does nothing but grow, the hints of many writes collapse into one.
        waiting = waiting + 1 if recording.is_chatty and grows_only(changes) else 0
        if waiting % 40 == 0:
            watching.look(now)
    watching.look(now)
    watching.wait(now + LONG)
    judge(recording, watching)
    judge_runs_known_by_their_lock_alone(recording, watching)


@each_recording
@pytest.mark.parametrize("seed", range(2))
def test_hints_that_come_late_and_out_of_order_lead_to_the_true_verdicts_of_logged_runs(
    recording: Recording, watching: Watching, seed: int
) -> None:
    """Every file is looked at when its own hint comes, which may be long after another's; all have come by the
    time a process has ended."""
    rng = random.Random(f"{recording.name}/{seed}")
    now = 0.0
    for at, changes in with_ends(recording):
        now = at
        watching.wait(now)
        watching.happen(changes)
        if not changes:
            watching.look(now)
        elif rng.random() < (0.02 if recording.is_chatty else 0.5):
            watching.look(now, lambda _path: rng.random() < 0.4)
    watching.look(now)
    watching.wait(now + LONG)
    judge(recording, watching)


@each_recording
def test_looking_now_and_then_finds_every_logged_run_and_its_true_verdict(
    recording: Recording, watching: Watching
) -> None:
    """Hints that were lost: only rescans, now and then and when a process has ended."""
    rng = random.Random(recording.name)
    often = 0.01 if recording.is_chatty else 0.2
    now = 0.0
    for at, changes in with_ends(recording):
        now = at
        watching.wait(now)
        watching.happen(changes)
        if not changes or rng.random() < often:
            watching.look_everywhere(now)
    watching.look_everywhere(now + 1)
    watching.wait(now + LONG)
    judge(recording, watching)


@each_recording
@pytest.mark.parametrize("seed", range(3))
def test_an_agent_that_comes_at_any_instant_finds_the_same_runs_and_verdicts(
    recording: Recording, watching: Watching, seed: int
) -> None:
    """Its first look may fall between any two things a run does; with seed 0 just before a lock is given back,
    when a failed run has already said why it failed."""
    instants = list(with_ends(recording))
    releases = [n for n, (_, changes) in enumerate(instants) if any(is_release(change) for change in changes)]
    rng = random.Random(f"{recording.name}/{seed}")
    comes = rng.choice(releases if seed == 0 and releases else range(len(instants)))
    if recording.name == "stale_lock_then_apply":
        comes = min(comes, 12)  # before its first log is overwritten
    for _, changes in instants[:comes]:
        watching.happen(changes)
    now = instants[comes][0]
    watching.look_everywhere(now)
    waiting = 0
    for at, changes in instants[comes:]:
        now = at
        watching.wait(now)
        watching.happen(changes)
        waiting = waiting + 1 if recording.is_chatty and grows_only(changes) else 0
        if waiting % 40 == 0:
            watching.look(now)
    watching.look(now)
    watching.wait(now + LONG)
    judge(recording, watching, came_late=True)
    judge_runs_known_by_their_lock_alone(recording, watching)


def is_release(change: Change) -> bool:
    return change.is_removal and change.path.endswith(".lock.info")
