"""The pipeline: observations in, runs and notifications out, one transaction for each batch.

    for every fact:  correlate -> redact -> advance -> on a transition: bind, compose, enqueue for every sink
    then:            runs, evidence, outbox and cursors COMMIT together

A crash anywhere re-reads and arrives at the same rows: run and notification ids are digests of content, and a fact
that was noted before is not noted again. What the pipeline needs from the run directory (binding, state) it asks of
`Surroundings`; it opens no file and knows no sink beyond its name and what it wants.

Over 400 lines because `_Batch` is one transaction: whatever it does before COMMIT must stand in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from .domain import evidence as ev
from .domain.binding import METADATA_PATH, Binding, Unbound
from .domain.composition import compose, silence, violations, without_exposed
from .domain.correlation import (
    FILE_TIME_SLACK,
    LINK_WINDOW,
    begin,
    contains,
    correlate,
    follows,
    opens_run,
    spoke_before,
    tie,
)
from .domain.cursors import Cursors
from .domain.errors import AgentError, JournalFull, Problem, UsageInvalid
from .domain.evidence import Cursor, Fact, Form, Observation, Output
from .domain.last_words import last_words, over_before, spoke_at
from .domain.notification import Notification, keys_of, under
from .domain.output_mapping import OutputMapping
from .domain.outputs import map_outputs
from .domain.passed_locks import PassedLock, claimed, given_back, may_be_of, may_have_had, remembered
from .domain.redacted_facts import redacted, without_values
from .domain.redaction import NOTHING_TAINTED, Taint
from .domain.routing import EVERYTHING, Route, left_out
from .domain.run import FINAL, Basis, Lock, Log, Patience, Run, RunStatus, Transition, objection_to_deciding
from .domain.transitions import advance, is_due
from .domain.values import replace
from .journal import Journal, Part, Recorded

# Facts that come once per resource: counted in the run, not kept one by one.
_COUNTED = (ev.ResourceRefreshed, ev.ChangePlanned, ev.ResourceApplied, ev.ApplyStarted)
# Facts that tell of an end and are no sign of life, however late they are found out.
_DEPARTURES = (ev.LogClosed, ev.LogOverwritten, ev.HolderGone, ev.TracesGone)
# What a log may say of the outcome.
_PROOFS = (ev.ApplySummarised, ev.OutputsReported, ev.ErrorReported, ev.CrashReported, ev.ApprovalDeclined)


_NOBODYS = Binding(None)  # of a run that is known by its directory alone
_JUST_ENDED = 16  # newest runs of a directory that may still have to be given their lock or their log
_MOST_NOBODYS = 256  # runs that ended a moment ago and that word of their lock may be late for
_MAY_HAVE_HELD = 10  # newest runs of a directory among which the holder of a refused lock is looked for


class Surroundings(Protocol):
    """What the pipeline asks of the world around a run."""

    def binding(self, run: Run, until: float | None = None) -> Binding | Unbound:
        """Whose run it is, as its directory and the settings tell now; until: when it was over, for what was written
        later is about another."""

    def is_held(self, run: Run) -> bool:
        """Whether a process certainly holds the run's lock now."""

    def state_written_at(self, directory: str) -> float:
        """When the local state of a directory was last written; 0 where there is none within reach."""

    def recorded_state(self, directory: str) -> str:
        """The local state that `init` has written down for a directory; empty where it has not."""

    def taint(self, run: Run, until: float | None = None) -> Taint:
        """Every value nobody may see, from the run's state now; until: when its log was last written, for a state that
        was written later may be another's."""

    def outputs(self, run: Run) -> tuple[Output, ...] | None:
        """The outputs in the run's local state; None when it cannot be read or its lock is held again."""

    def why_no_outputs(self, run: Run) -> str:
        """Why `outputs` has none to give, in words for people; empty when it has."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings the pipeline obeys."""

    patience: Patience = field(default_factory=Patience)
    outputs: OutputMapping = field(default_factory=OutputMapping)
    no_changes_succeed: bool = False


@dataclass(frozen=True, slots=True)
class Addressee:
    """A sink as the pipeline sees it. objection: why it could never accept this notification; empty if it could. route:
    what of all that it could accept it is told. shadow: that is kept and never sent."""

    name: str
    wants: Callable[[Notification], bool]
    objection: Callable[[Notification], str]
    route: Route = EVERYTHING
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """Something the pipeline did, for the log: an event name of docs/logging.md and its keys."""

    name: str
    keys: dict[str, object]


class Pipeline:
    """Absorbs observations. Not thread-safe: one thread owns it."""

    def __init__(
        self,
        journal: Journal,
        surroundings: Surroundings,
        addressees: Sequence[Addressee],
        rules: Rules,
        tell: Callable[[Told], None],
        nudge: Callable[[], None] = lambda: None,
    ) -> None:
        self.journal = journal
        self.surroundings = surroundings
        self.addressees = tuple(addressees)
        self.rules = rules
        self.tell = tell
        self.nudge = nudge
        self.open = {recorded.run.run_id: recorded for recorded in journal.open_runs()}
        self.nobodys: dict[str, Recorded] = {}  # ended a moment ago; word of their lock may tell whose they were
        self.passed: tuple[PassedLock, ...] = ()
        self.cursors = Cursors(journal.cursors().values())

    @property
    def takes_unbound(self) -> bool:
        """Whether some sink is told of runs that are known by their directory alone."""
        return any(addressee.route.unbound for addressee in self.addressees)

    @property
    def open_runs(self) -> list[Run]:
        """Runs without a final status."""
        return [recorded.run for recorded in self.open.values() if recorded.run.is_open]

    def next_due_at(self) -> float | None:
        """When the first waiting verdict may become final, in wall-clock seconds."""
        return min((r.run.verdict.due_at for r in self.open.values() if r.run.verdict), default=None)

    def absorb(self, observations: Sequence[Observation], now: float, born: Callable[[str], float]) -> None:
        """Take in a batch of observations, all or nothing; one by one where the disk is full, for little needs less
        room than much. JournalFull when there is none for the next; those before it have been taken in then.

        born(path) is when the agent first watched the root that path lies in: runs that were over before are
        recorded and not told.
        """
        foreseen = _Foreseen.of(observations)
        if len(observations) > 1:
            with suppress(JournalFull):
                with self.journal.transaction():
                    batch = self._filled(now, lambda batch: batch.take_in(observations, born), foreseen)
                batch.finish()
                return
        for observation in observations:
            batch = self._commit(now, partial(_Batch.take_in, observations=[observation], born=born), foreseen)
            foreseen = replace(foreseen, last_words=batch.last_words)

    def elapse(self, now: float) -> None:
        """Make verdicts final that have waited long enough."""
        runs = [recorded.run for recorded in self.open.values()]  # those that have ended and wait for late proof, too
        due = [run for run in runs if run.verdict and is_due(run.verdict, now, self.rules.patience)]
        self._apply_to_all(due, Fact(ev.Elapsed()), "clock", now)

    def host_restarted(
        self, now: float, booted_at: float, is_unread: Callable[[str], bool] = lambda _directory: False
    ) -> None:
        """Let every open run that began before the machine was restarted know of it; but where a log is still to be
        read, in a directory that is_unread, its end will tell."""
        gone = [run for run in self.open_runs if run.started_at < booted_at and not is_unread(run.directory)]
        self._apply_to_all(gone, Fact(ev.HostRestarted()), "host", now)

    def was_for(self, anchor: str, directory: str) -> bool:
        """Whether the run with this anchor was for the very deployment that a run in a directory would be for now."""
        for recorded in self.journal.runs_known_as(anchor=anchor):
            then = recorded.binding
            if not (isinstance(then, Binding) and then.deployment_id):
                continue
            if self.surroundings.binding(replace(recorded.run, directory=directory)) == then:
                return True
        return False

    def succeeded(self, anchor: str) -> bool:
        """Whether the run with this anchor is known to have applied or destroyed."""
        known = self.journal.runs_known_as(anchor, "")
        return any(recorded.run.status in (RunStatus.APPLIED, RunStatus.DESTROYED) for recorded in known)

    def awaits_log(self, directory: str, since: float, now: float) -> bool:
        """Whether a run in a directory has given its lock back, and the log that tells how it went may yet come; or
        somebody has written the state since, and no run is known that did."""
        recorded = [*self.open.values(), *self.journal.runs(_JUST_ENDED, directory)]
        known = [r.run for r in recorded if directory in r.run.directories]
        if any(
            run.log is Log.ABSENT and run.lock_id and now - (run.ended_at or now) < LINK_WINDOW
            and not self.surroundings.is_held(run)
            for run in known
        ):  # fmt: skip
            return True
        unknown = not any(run.started_at > since for run in known)
        return unknown and self.surroundings.state_written_at(directory) > since + FILE_TIME_SLACK

    def forget(self, paths: Sequence[str]) -> None:
        """Drop the cursors of files that are gone; a file that comes back is read again and adds nothing twice."""
        if not paths:
            return

        def work() -> None:
            for path in paths:
                self.journal.forget_cursor(path)

        self.journal.commit(work, Part.EVIDENCE)
        for path in paths:
            self.cursors.pop(path, None)

    def bind(self, directories: Set[str], now: float) -> None:
        """A binding may have appeared in directories whose runs are open and unbound."""
        unbound = [
            r.run for r in self.open.values()
            if isinstance(r.binding, Unbound) and not directories.isdisjoint(r.run.directories)
        ]  # fmt: skip
        self._catch_up(unbound, now)

    def bind_open(self, now: float) -> None:
        """The settings may have changed: look once more whose the open runs are that are nobody's."""
        told = [recorded for recorded in self.open.values() if not recorded.run.historic]
        self._catch_up([r.run for r in told if isinstance(r.binding, Unbound)], now)

    def adopt(self, run_id: str, now: float) -> None:
        """A run that seemed to be over before the agent came is still alive: tell it from here on."""
        recorded = self.open.get(run_id)
        if recorded is not None and recorded.run.historic:
            self._catch_up([recorded.run], now)

    def decide(self, run_id: str, decision: ev.DecisionTaken, now: float) -> Recorded:
        """Let a person settle what became of a run; returns the run as it stands then.

        AgentError when there is nothing to decide: it is under way, proven, or settled already.
        """
        return self._commit(now, lambda batch: batch.decide(run_id, decision)).recorded(run_id)

    def _catch_up(self, runs: Sequence[Run], now: float) -> None:
        def fill(batch: _Batch) -> None:
            for run in runs:
                batch.catch_up(run.run_id)

        if runs:
            self._commit(now, fill)

    def _apply_to_all(self, runs: Sequence[Run], fact: Fact, source: str, now: float) -> None:
        def fill(batch: _Batch) -> None:
            for run in runs:
                batch.apply(run.run_id, fact, source, "")

        if runs:
            self._commit(now, fill)

    def _commit(self, now: float, fill: Callable[[_Batch], None], foreseen: _Foreseen | None = None) -> _Batch:
        """Commit a batch, which is filled anew for each try; memory and log follow."""
        batch = self.journal.commit(lambda: self._filled(now, fill, foreseen), Part.EVIDENCE)
        batch.finish()
        return batch

    def _filled(self, now: float, fill: Callable[[_Batch], None], foreseen: _Foreseen | None = None) -> _Batch:
        batch = _Batch(self, now, foreseen or _Foreseen())
        fill(batch)
        batch.write()
        return batch


@dataclass(frozen=True, slots=True)
class _Foreseen:
    """What must be known of a log when it opens a run, and is said further down in it: by anchor, whether it is over,
    tells a success, was refused whose lock; of a JSON log that says more than that it begins, when it did so last. Of
    those that went before, when it had got its last line of the run."""

    over: frozenset[str] = frozenset()
    succeeds: frozenset[str] = frozenset()
    refused_by: Mapping[str, str] = field(default_factory=dict)
    spoke_at: Mapping[str, float] = field(default_factory=dict)
    last_words: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, observations: Sequence[Observation]) -> _Foreseen:
        facts = [(f.anchor, f.evidence) for observation in observations for f in observation.facts]
        return cls(
            frozenset(anchor for anchor, said in facts if isinstance(said, ev.LogClosed | ev.ApplySummarised)),
            frozenset(anchor for anchor, said in facts if isinstance(said, ev.ApplySummarised)),
            {anchor: said.holder for anchor, said in facts if isinstance(said, ev.LockRefused)},
            dict(spoken for observation in observations for spoken in spoke_at(observation)),
        )


class _Batch:
    """The work of one transaction: what would change in memory is kept aside until COMMIT has returned."""

    def __init__(self, pipeline: Pipeline, now: float, foreseen: _Foreseen) -> None:
        self._p = pipeline
        self._journal = pipeline.journal
        self._around = pipeline.surroundings
        self._now = now
        self._runs: dict[str, Recorded] = dict(pipeline.open)
        self._changed: set[str] = set()
        self._dropped: set[str] = set()
        self._cursors: list[Cursor] = []
        self._told: list[Told] = []
        self._by_anchor = {r.run.anchor: run_id for run_id, r in self._runs.items() if r.run.anchor}
        self._taints: dict[str, Taint] = {}
        self._written_at: dict[str, float] = {}  # by anchor: when the file of its log was last written
        self._foreseen = foreseen
        self.last_words = dict(foreseen.last_words)
        self._not_its_own = ("", 0)
        self._placed: set[str] = set()  # runs of which one more directory has become known
        self._passed = pipeline.passed

    # --- facts ---------------------------------------------------------------------------------------------

    def take_in(self, observations: Sequence[Observation], born: Callable[[str], float]) -> None:
        for observation in observations:
            since = born(observation.path)
            old = observation.modified_at != 0 and observation.modified_at < since
            over = over_before(since, observation.facts)
            self.last_words |= last_words(observation)
            for anchor, at in spoke_at(observation):
                self._heard_until(anchor, at)
            if observation.cursor is not None and observation.modified_at:
                anchors = {fact.anchor for fact in observation.facts if fact.position is not None}
                self._written_at |= dict.fromkeys(anchors, observation.modified_at)
            for fact in observation.facts:
                self.take(fact, observation, old or fact.anchor in over)
            if observation.cursor is not None:
                self._cursors.append(observation.cursor)

    def take(self, fact: Fact, observation: Observation, old: bool) -> None:
        run = self._run_of(fact, observation, old)
        if isinstance(fact.evidence, ev.LockPassed):
            self._remember(fact.evidence, observation, run)
        if run is None or (fact.anchor and fact.anchor == run.echo):
            return
        if isinstance(fact.evidence, ev.LogOverwritten) and run.log_path != observation.path:
            return  # it was renamed before, and goes on there
        if not fact.record_id and self._is_anothers_refusal(run, fact):
            return  # a wrapper hears one command alone
        if (holder := self._handed_back(run, fact, observation.path)) is not None:
            run, fact = holder, replace(fact, position=None)  # its positions are those of the other's lines
            self._put(run)
        alive = run.is_open and not isinstance(fact.evidence, _DEPARTURES)
        if run.historic and alive and not old:
            self.catch_up(run.run_id)
        if isinstance(fact.evidence, ev.LockTaken | ev.OperationStarted | ev.CommandStarted):
            self._conclude_before(run, observation)
        if not run.misled and not fact.record_id and self._is_misled(run, fact, observation.path):
            run = replace(run, misled=True)
            self._put(run)
        misleads = run.misled and not fact.record_id and isinstance(fact.evidence, _PROOFS)
        if misleads and not (run.refused and not run.errors):
            return  # but for the error that says that it was refused
        whose = self._runs[run.run_id].binding
        self.apply(run.run_id, self._redacted(fact, run), observation.source, observation.path)
        if run.run_id in self._runs and self._runs[run.run_id].binding is whose:  # no transition has made it look
            self._look_for_owner(run.run_id)
        if isinstance(fact.evidence, ev.ApplySummarised):
            self._take_outputs_of_state(run.run_id)

    def _remember(self, lock: ev.LockPassed, seen: Observation, run: Run | None) -> None:
        """Remember a lock that came and went unread, and let it tell whose a run was that has just ended."""
        if lock.gone_by is None:
            return
        whose = run.run_id if run else ""
        passed = PassedLock(seen.directory, seen.workspace, lock.state_path, lock.gone_by, whose)
        self._passed = remembered(self._passed, passed)
        for run_id, recorded in self._p.nobodys.items():
            if contains(recorded.run.directory, seen.directory):
                self._look_for_owner(run_id)

    def _is_misled(self, run: Run, fact: Fact, path: str) -> bool:
        """Whether a fact shows that two processes write a run's log, so that nobody can tell whose its lines are."""
        if isinstance(fact.evidence, ev.ApplySummarised):  # Terraform gives its lock back before it prints its summary
            return run.lock is Lock.HELD and self._around.is_held(run)
        if not isinstance(fact.evidence, ev.OperationStarted) or run.position >= 0:
            return False
        before = [r.run for r in self._runs.values() if r.run.log_path == path and r.run.run_id != run.run_id]
        return any(other.lock is Lock.HELD and self._around.is_held(other) for other in before)

    def _handed_back(self, run: Run, fact: Fact, path: str) -> Run | None:
        """The run whose log another wrote into that was refused its lock and has said so: the log is its own again."""
        ours = isinstance(fact.evidence, ev.OperationStarted | ev.LogClosed) or fact.position is None
        if ours or not run.misled or not run.refused or not run.errors:
            return None
        for recorded in self._journal.runs_known_as("", run.refused_by):
            self._runs.setdefault(recorded.run.run_id, recorded)
        holders = (r.run for r in self._runs.values() if run.refused_by and r.run.lock_id == run.refused_by)
        unproven = (other for other in holders if other.log_path == path and other.basis is not Basis.PROOF)
        return next((replace(other, log=Log.OPEN) for other in unproven), None)

    def _is_anothers_refusal(self, run: Run, fact: Fact) -> bool:
        """Whether a second command in a run's log was refused the run's own lock; the error that says so comes next."""
        if isinstance(fact.evidence, ev.LockRefused) and run.lock_id and fact.evidence.holder == run.lock_id:
            self._not_its_own = (fact.anchor, (fact.position or 0) + 1)
            return True
        return isinstance(fact.evidence, ev.ErrorReported) and (fact.anchor, fact.position) == self._not_its_own

    def _take_outputs_of_state(self, run_id: str) -> None:
        """What a human log prints of the outputs is lossy: the state was written before it said that all is well."""
        run = self._runs[run_id].run
        if run.form is not Form.HUMAN or run.outputs is not None or run.basis is Basis.PROOF or run.is_wrapped:
            return  # a wrapper reads them itself
        outputs = self._around.outputs(run)
        if outputs is not None:
            told = self._redacted(Fact(ev.OutputsReported(outputs), run.anchor), run)
            self.apply(run_id, told, "state_file", run.state_path)

    def _conclude_before(self, run: Run, observation: Observation) -> None:
        """What an earlier run of this directory waits for will not come: it is told before the next one is."""
        for other in [recorded.run for recorded in self._runs.values()]:
            here = run.directory in other.directories and other.workspace in (None, run.workspace or other.workspace)
            over = other.is_open and other.verdict is not None and other.lock is not Lock.HELD
            if here and over and other.run_id != run.run_id and other.started_at <= run.started_at:
                self.apply(other.run_id, Fact(ev.NextRunBegan()), observation.source, observation.path)

    def _run_of(self, fact: Fact, observation: Observation, old: bool) -> Run | None:
        directory = f"{observation.directory}/{fact.unit}" if fact.unit else observation.directory
        workspace = observation.workspace
        in_log = fact.anchor and fact.position is not None and not fact.record_id
        log_path = observation.path if in_log else ""
        known = self._by_anchor.get(fact.anchor)
        if known is not None and self._runs[known].run.log_path in (log_path, observation.path):
            return self._runs[known].run
        self._load_ended(fact, directory, observation.modified_at or None)
        if isinstance(fact.evidence, ev.LockTaken | ev.LockPassed):
            self._runs = self._p.nobodys | self._runs
        runs = [recorded.run for recorded in self._runs.values()]
        if isinstance(fact.evidence, ev.LockPassed):
            runs = [run for run in runs if self._now - run.started_at < LINK_WINDOW]
        at_work = self._at_work(fact) if isinstance(fact.evidence, ev.OperationStarted) else []
        runs = [run for run in runs if run not in at_work and not self._had_ended(run, fact)]
        recorded = self._around.recorded_state(directory) if isinstance(fact.evidence, ev.OperationStarted) else ""
        run = correlate(runs, fact, directory, workspace, recorded, observation.modified_at or None, observation.file)
        if run is None:
            if not opens_run(fact):
                return None
            human = getattr(fact.evidence, "form", None) is Form.HUMAN
            if human and fact.anchor in self._foreseen.succeeds & self._foreseen.over and self._is_locked(directory):
                return None  # it had the lock of nobody here and tells of a success: a log of old was copied in
            at = min(self._now, observation.modified_at or self._now)
            run = replace(begin(fact, directory, workspace, log_path, at, recorded), historic=old)
            if run.run_id in self._dropped:
                return None
        tied = tie(run, fact, directory, workspace, log_path)
        if tied.directories != run.directories:
            self._placed.add(run.run_id)
        self._put(tied)
        self._heard_until(fact.anchor, self._foreseen.spoke_at.get(fact.anchor))
        return self._runs[tied.run_id].run

    def _at_work(self, started: Fact) -> list[Run]:
        """The runs without a log whose log this is certainly not, although it has no clock to tell so: those that are
        still at work when it is over, and the one whose lock it was refused."""
        if getattr(started.evidence, "form", None) is not Form.HUMAN:
            return []
        logless = [r.run for r in self._runs.values() if r.run.log is Log.ABSENT and r.run.lock_id]
        refused_by, over = self._foreseen.refused_by.get(started.anchor), started.anchor in self._foreseen.over
        return [
            run for run in logless
            if run.lock_id == refused_by or (over and run.lock is Lock.HELD and self._around.is_held(run))
        ]  # fmt: skip

    def _had_ended(self, run: Run, fact: Fact) -> bool:
        """Whether a log that is over, as is said further down, had got its last line before another lock was taken than
        its run's: a plan's, whose apply prints elsewhere."""
        lock = fact.evidence
        if not isinstance(lock, ev.LockTaken) or run.lock_id == lock.lock_id:
            return False
        return run.anchor in self._foreseen.over and spoke_before(run, lock)

    def _is_locked(self, directory: str) -> bool:
        """Whether a run of a directory is at work and holds its lock."""
        here = (r.run for r in self._runs.values() if directory in r.run.directories)
        return any(run.lock is Lock.HELD and self._around.is_held(run) for run in here)

    def _load_ended(self, fact: Fact, directory: str, written_at: float | None) -> None:
        """Facts about an ended run find it too: a verdict may be amended, and nothing is begun twice."""
        evidence = fact.evidence
        lock_id, record_id = getattr(evidence, "lock_id", ""), fact.record_id
        known = any(
            (fact.anchor and r.run.anchor == fact.anchor)
            or (lock_id and r.run.lock_id == lock_id)
            or (record_id and r.run.wrapped and r.run.wrapped.record_id == record_id)
            for r in self._runs.values()
        )
        if not known:
            found = self._journal.runs_known_as(fact.anchor, lock_id, record_id)
            if not found and opens_run(fact):
                began = getattr(evidence, "at", None) or getattr(evidence, "created_at", None) or written_at
                found = self._journal.runs_around(directory, (began or self._now) + LINK_WINDOW, _JUST_ENDED)
            for recorded in found:
                self._runs.setdefault(recorded.run.run_id, recorded)

    def apply(self, run_id: str, fact: Fact, source: str, path: str) -> None:
        """Let a run have a fact, and tell what comes of it."""
        before = self._runs[run_id].run
        run, transition = advance(before, fact, self._now, self._p.rules.patience)
        if run == before:
            return
        self._put(run)
        if transition is not None or not isinstance(fact.evidence, _COUNTED):
            self._journal.put_evidence(run_id, source, path, without_values(fact), transition, self._now)
        if transition is not None:
            self._transitioned(run, transition)

    def decide(self, run_id: str, decision: ev.DecisionTaken) -> None:
        """Let a run that ended without proof have a person's decision. It is told even of a run from before the root
        was watched: somebody has asked for it by name."""
        known = self._journal.run(run_id)
        if known is None:
            raise UsageInvalid(Problem(f"nothing is known of {run_id!r}", self._journal.path, "see `runs list`"))
        objection = objection_to_deciding(known.run)
        if objection:
            raise AgentError(Problem(f"{run_id} cannot be settled: {objection}", hint=f"see `explain {run_id}`"))
        run = replace(known.run, historic=False)
        self._runs[run_id] = replace(known, run=run)
        self.apply(run_id, self._redacted(Fact(decision), run), "person", "")

    def recorded(self, run_id: str) -> Recorded:
        """A run as this batch has left it."""
        return self._runs[run_id]

    def _redacted(self, fact: Fact, run: Run) -> Fact:
        return redacted(fact, lambda: self._taint(run), self._p.rules.outputs)

    def _taint(self, run: Run) -> Taint:
        if run.run_id not in self._taints:
            self._taints[run.run_id] = self._around.taint(run, self._written_at.get(run.anchor))
        return self._taints[run.run_id]

    # --- transitions ---------------------------------------------------------------------------------------

    def _transitioned(self, run: Run, transition: Transition) -> None:
        if transition.status is RunStatus.NO_RUN:
            self._drop(run.run_id)
            return
        # Of a run that is over the binding is no longer looked for: by now the directory may be another deployment's.
        over = transition.previous in FINAL
        binding = self._runs[run.run_id].binding if over else self._binding(run)
        self._told.append(Told("run.transitioned", {
            "run_id": run.run_id, "directory": run.directory, "workspace": run.workspace,
            "resource_arn": getattr(binding, "resource_arn", None),
            "deployment_id": getattr(binding, "deployment_id", None),
            "previous": transition.previous.value, "status": transition.status.value, "reason": transition.reason,
        }))  # fmt: skip
        run = self._runs[run.run_id].run  # its lock may tell whose it is
        silent = self._tell_of(run, transition, binding)
        ended = silent if transition.status in FINAL else ""
        self._runs[run.run_id] = replace(self._runs[run.run_id], silence=ended)
        if transition.status in FINAL:
            self._release(binding)

    def _tell_of(self, run: Run, transition: Transition, binding: Binding | Unbound) -> str:
        """Tell a transition to whom it concerns; returns why no outcome is told, or not to everyone."""
        if run.historic:
            return "it was over before the agent first watched its root"
        if isinstance(binding, Binding):
            return self._notify(run, transition, binding)
        if self._p.takes_unbound:
            return self._notify(run, transition, _NOBODYS, binding.reason)
        if transition.previous is RunStatus.PENDING and not binding.code:
            self._told.append(
                Told("run.unbound", {"run_id": run.run_id, "directory": run.directory, "reason": binding.reason})
            )
        return binding.reason

    def _notify(self, run: Run, transition: Transition, binding: Binding, why_unbound: str = "") -> str:
        ends = transition.status in FINAL
        taint = self._taint(run) if ends else NOTHING_TAINTED
        outputs = self._outputs(run, transition)
        missing = outputs is None and transition.status is RunStatus.APPLIED
        succeeds, another = self._p.rules.no_changes_succeed, self._another_decides(run)
        notification = compose(
            run, transition, binding, map_outputs(outputs or (), self._p.rules.outputs, taint), taint,
            no_changes_succeed=succeeds, another_run_open=another,
            unreadable=self._around.why_no_outputs(run) if missing else "",
        )  # fmt: skip
        silent = silence(run, transition.status, no_changes_succeed=succeeds, another_run_open=another)
        if notification is None:
            return silent
        if (clean := without_exposed(notification, taint)) is not notification:
            named = {"run_id": run.run_id, "directory": run.directory, "resource_arn": notification.resource_arn}
            self._told.append(Told("notification.withheld", {**named, "status": notification.status.value}))
            notification = clean
        if not self._p.addressees:
            return "no [[sink]] is there to be told"
        told, out = self._addressed(notification)
        self._put(replace(self._runs[run.run_id].run, left_out=out))
        objections = [self._enqueue(one, addressee) for addressee, one in told]
        if not told:
            return silent or why_unbound or "the routes of all sinks leave it out"
        return silent or "; ".join(filter(None, objections))

    def _addressed(
        self, notification: Notification
    ) -> tuple[list[tuple[Addressee, Notification]], tuple[tuple[str, str], ...]]:
        """The sinks that a notification is for, each with what it is told; and the names of those that are left out,
        with why.

        A sink goes on hearing of a run by the subject by which it has heard of it first, should the run be found to be
        somebody's only then: nothing that has begun for one ends for another.
        """
        told, out = list[tuple[Addressee, Notification]](), list[tuple[str, str]]()
        for addressee in self._p.addressees:
            known = self._journal.known_as(notification.run_id, addressee.name)
            one = notification if known is None else under(notification, known)
            if one is None:
                out.append((addressee.name, f"it was told of this run as {known}"))
            elif why := left_out(addressee.route, one, partial(self._journal.told_before, one)):
                out.append((addressee.name, why))
            else:
                told.append((addressee, one))
        return told, tuple(out)

    def _outputs(self, run: Run, transition: Transition) -> tuple[Output, ...] | None:
        """The log's outputs; the state's where the log ended before it told them. None: they could not be had."""
        if transition.status not in (RunStatus.APPLIED, RunStatus.PLANNED_AND_FINISHED):
            return ()
        if transition.status is RunStatus.APPLIED and run.outputs is not None:
            return run.outputs
        return self._around.outputs(run)

    def _another_decides(self, run: Run) -> bool:
        """Whether the run that holds, or held, the lock `run` was refused is known: its outcome is the directory's.

        Where its lock was never seen, it is taken to be the run that began earlier and was on, as far as was seen.
        """
        if not run.refused:
            return False
        if run.refused_by and self._journal.runs_known_as(lock_id=run.refused_by):
            return True
        ended = [recorded.run for recorded in self._journal.runs(_MAY_HAVE_HELD, run.directory)]
        return any(
            other.run_id != run.run_id and not other.refused and run.directory in other.directories
            and other.started_at <= run.started_at and (other.is_open or (other.ended_at or 0.0) >= run.started_at)
            for other in (*(recorded.run for recorded in self._runs.values()), *ended)
        )  # fmt: skip

    def _enqueue(self, notification: Notification, addressee: Addressee) -> str:
        """Enqueue a notification for one sink; returns why it is not told there."""
        if not addressee.wants(notification):
            why = "the resource is deleted there" if notification.resource_deleted else "it is in another region"
            return f"{addressee.name} takes no such notification; {why}"
        objection = addressee.objection(notification)
        run = self._runs[notification.run_id].run
        seq, superseded = self._journal.enqueue(
            notification, addressee.name, self._now, objection, lambda later: self._was_over(run, later),
            addressee.shadow,
        )  # fmt: skip
        keys: dict[str, object] = {
            "seq": seq or None, "run_id": notification.run_id, "sink": addressee.name, **keys_of(notification),
            "status": notification.status.value,
        }  # fmt: skip
        if seq and addressee.shadow:
            self._told.append(Told("notification.shadowed", keys))
        elif seq:
            self._told.append(Told("notification.enqueued", keys))
        if seq and objection and not addressee.shadow:
            self._told.append(Told("notification.parked", {**keys, "reason": objection}))
        for notification_id in superseded:
            self._told.append(
                Told(
                    "notification.superseded",
                    {"notification_id": notification_id, "by": seq or None, "sink": addressee.name},
                )
            )
        if notification.notification_id in superseded:
            return f"not told to {addressee.name}: a later run of this resource had told its outcome already"
        return ""

    def _was_over(self, run: Run, later_id: str) -> bool:
        """Whether a run was over when another began that began later, as far as is known."""
        later = self._runs.get(later_id) or self._journal.run(later_id)
        if later is None:
            return True
        if run.wrapped is not None and run.wrapped.exited_at is not None:
            return follows(later.run, run, run.wrapped.exited_at)
        over_at = run.log_written_at if run.log is Log.CLOSED else self.last_words.get(run.anchor)
        if over_at is None or run.lock is Lock.ABANDONED:  # it may have been silent before it was killed
            over_at = self._journal.last_seen(run.run_id, ev.LockReleased, ev.HolderGone)
        return follows(later.run, run, over_at)

    def catch_up(self, run_id: str) -> None:
        """Tell the present status of a run that has only now become one to be told."""
        run = replace(self._runs[run_id].run, historic=False)
        self._put(run)
        self._tell_present(run, self._binding(run))

    def _look_for_owner(self, run_id: str) -> None:
        """Tell the present status of a run that was nobody's to whom one more of its directories belongs, even if it
        has ended: it was at work there before that was known."""
        recorded = self._runs[run_id]
        is_placed = run_id in self._placed or (recorded.run.status in FINAL and bool(self._passed))
        self._placed.discard(run_id)
        if isinstance(recorded.binding, Binding) or recorded.run.historic or not is_placed:
            return
        binding = self._binding(recorded.run)
        if isinstance(binding, Binding):
            self._tell_present(recorded.run, binding)

    def _tell_present(self, run: Run, binding: Binding | Unbound) -> None:
        if run.status is RunStatus.PENDING:
            return
        now = Transition(run.run_id, RunStatus.PENDING, run.status, run.basis, run.reason, "", self._now)
        silent = ""
        if isinstance(binding, Binding):
            silent = self._notify(run, now, binding)
        elif self._p.takes_unbound:
            silent = self._notify(run, now, _NOBODYS, binding.reason)
        if run.status in FINAL:
            self._runs[run.run_id] = replace(self._runs[run.run_id], silence=silent)

    def _binding(self, run: Run) -> Binding | Unbound:
        """Frozen once found: a job that rewrites its metadata in mid-run speaks for nobody else."""
        before = self._runs[run.run_id].binding
        if isinstance(before, Binding):
            return before
        run = self._with_lock(run)
        over_at = run.log_spoke_at if run.status in FINAL and run.over_at is None else run.over_at
        found = self._around.binding(run, self.last_words.get(run.anchor, over_at))
        if isinstance(found, Binding):
            found = self._contested(run, found)
        if isinstance(found, Unbound) and found.code and found.reason != before.reason:
            keys = {"run_id": run.run_id, "directory": run.directory, "resource_arn": found.refused_arn or None}
            self._told.append(Told("binding.refused", {**keys, "reason": found.reason}))
        self._runs[run.run_id] = replace(self._runs[run.run_id], run=run, binding=found)
        return found

    def _with_lock(self, run: Run) -> Run:
        """The run with the lock that it has given back unread, below its directory, if it has had its last word."""
        is_over = run.status in FINAL or run.anchor in self._foreseen.over
        if run.lock_directory or not is_over or not self._passed:
            return run
        lock = given_back(run, self._passed)
        if lock is None:
            return run
        known = (*(self._p.nobodys | self._runs).values(), *self._journal.runs(_JUST_ENDED, lock.directory))
        others = [r.run for r in known if r.run.run_id != run.run_id]
        if any(may_have_had(other, lock) or may_be_of(run, other) for other in others):
            return run
        self._passed = claimed(self._passed, lock, run)
        passed = Fact(ev.LockPassed(lock.state_path, lock.gone_by))
        self._put(tie(run, passed, lock.directory, lock.workspace, ""))
        self.apply(run.run_id, passed, "lock_file", lock.state_path)
        return self._runs[run.run_id].run

    def _contested(self, run: Run, found: Binding) -> Binding | Unbound:
        """A binding, unless a job has copied it or rolled it back: a run elsewhere is at work on that deployment, or it
        had ended before a newer one was told. What the settings bind is nobody's to copy."""
        arn, deployment = found.resource_arn, found.deployment_id
        if arn is None or deployment is None or found.source != METADATA_PATH:
            return found
        for other in self._runs.values():
            bound = other.binding if isinstance(other.binding, Binding) and other.run.is_open else None
            same = bound and (bound.resource_arn, bound.deployment_id) == (arn, deployment)
            if same and _are_apart(run, other.run):
                return Unbound(f"E_META_DUP: {other.run.directory} is at work on deployment {deployment}", arn)
        if self._journal.is_old_deployment(arn, deployment):
            return Unbound(f"E_META_OLD: deployment {deployment} had ended before a newer one was told", arn)
        return found

    def _release(self, ended: Binding | Unbound) -> None:
        """Let those have a binding that were refused it while the run that has ended was at work on it."""
        waiting = [
            r.run.run_id for r in self._runs.values()
            if isinstance(r.binding, Unbound) and r.binding.code == "E_META_DUP" and r.run.is_open
            and not r.run.historic and r.binding.refused_arn == getattr(ended, "resource_arn", None)
        ]  # fmt: skip
        for run_id in waiting:
            self.catch_up(run_id)

    # --- bookkeeping ---------------------------------------------------------------------------------------

    def _put(self, run: Run) -> None:
        known = self._runs.get(run.run_id)
        self._runs[run.run_id] = replace(known, run=run) if known else Recorded(run, Unbound("not looked for yet"))
        self._changed.add(run.run_id)
        if run.anchor:
            self._by_anchor[run.anchor] = run.run_id

    def _heard_until(self, anchor: str, at: float | None) -> None:
        known = self._by_anchor.get(anchor)
        if known is not None and at is not None and at > (self._runs[known].run.log_spoke_at or 0.0):
            self._put(replace(self._runs[known].run, log_spoke_at=at))

    def _drop(self, run_id: str) -> None:
        self._by_anchor.pop(self._runs[run_id].run.anchor, None)
        del self._runs[run_id]
        self._changed.discard(run_id)
        self._dropped.add(run_id)
        self._journal.delete_run(run_id)

    def write(self) -> None:
        for run_id in self._changed:
            self._journal.put_run(self._runs[run_id])
        for cursor in self._cursors:
            if cursor.inode or cursor.lock_id:
                self._journal.put_cursor(cursor)
            else:
                self._journal.forget_cursor(cursor.path)

    def finish(self) -> None:
        """After COMMIT: whoever delivers is nudged first, memory follows the journal, and the log follows both."""
        if any(told.name == "notification.enqueued" for told in self._told):
            self._p.nudge()
        self._p.open = {run_id: r for run_id, r in self._runs.items() if r.run.is_open or r.run.verdict}
        nobodys = {run_id: r for run_id, r in (self._p.nobodys | self._runs).items() if _is_nobodys(r, self._now)}
        self._p.passed = self._passed
        self._p.nobodys = dict([*nobodys.items()][-_MOST_NOBODYS:])
        for cursor in self._cursors:
            if cursor.inode or cursor.lock_id:
                self._p.cursors[cursor.path] = cursor
            else:
                self._p.cursors.pop(cursor.path, None)
        for told in self._told:
            self._p.tell(told)


def proton_objection(notification: Notification) -> str:
    """Why Proton's contract would refuse a notification; empty when it can be sent."""
    return "; ".join(violations(notification))


def _is_nobodys(recorded: Recorded, now: float) -> bool:
    """Whether a run has ended a moment ago and told nobody, and may have been at work in a directory below its own."""
    run = recorded.run
    if run.is_open or run.historic or run.lock_directory or isinstance(recorded.binding, Binding):
        return False
    over_at = run.log_spoke_at or run.ended_at
    return over_at is not None and now - over_at < LINK_WINDOW


def _are_apart(one: Run, other: Run) -> bool:
    """Whether neither of two runs is in a directory of the other's, or below one."""
    places = [(f"{a}/", f"{b}/") for a in one.directories for b in other.directories]
    return not any(a.startswith(b) or b.startswith(a) for a, b in places)
