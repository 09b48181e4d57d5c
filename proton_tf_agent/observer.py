"""What is looked at, and in which order: hints and rescans in, observations out to the pipeline.

An `Observer` takes what the watch has collected, looks at it, probes the processes behind open runs and lets verdicts
come due. It knows nothing of sinks and deliveries.

Order within a batch, so that what ended a run is known before the next run is told: the logs up to the line that
opens a run, then the locks, then what logs say behind that line. A log of which nobody knew and which is complete is
told whole before the locks, where no lock is known to be held: the lock that is there now may be the next run's. What
is left of a log for the next batch holds up everything else in its directory. A lock that changed hands is a reason to
look once more at the logs around it, a log that tells of an end one to look at those of other open runs there, and a
log that opens a run is one to look at the lock of the run before, and into the spool for its record.

Over 400 lines because that order is one thing: each look is placed by all the others.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice

from . import spool_directory
from .batch import Batch
from .domain.evidence import (
    ApplySummarised,
    ApprovalDeclined,
    Cursor,
    ErrorReported,
    Fact,
    Form,
    HolderGone,
    LockPassed,
    LockRefused,
    LockReplaced,
    LockTaken,
    LogClosed,
    LogOverwritten,
    Observation,
    Operation,
    OperationStarted,
    TracesGone,
    WrapperGone,
)
from .domain.order import in_order
from .domain.run import Lock, Log, Run
from .domain.values import replace
from .hold_ups import Directories, HoldUps
from .log_names import LogNames, NotYet
from .pipeline import Pipeline, Told
from .sources.known_logs import KnownLogs
from .sources.lock_file import lock_info_path_of
from .sources.log import still_written
from .sources.observe import observe
from .sources.place import Kind
from .sources.processes import Processes
from .sources.safe_open import SafeOpener, Unreadable
from .sources.spool import Spool
from .sources.states import PASSING
from .sources.watch import Touched, Watch, logs_first
from .unread import Unread

_BATCH_FILES = 256  # looks that are taken from the backlog at once
_BATCH_FACTS = 20_000  # of what belongs together; a batch takes up nothing else from _ENOUGH_FACTS on
_ENOUGH_FACTS = 200
_MOST_PUT_OFF = 1_000  # looks that are passed over in search of those that belong to a batch
_MOST_BESIDE = 16  # logs of other open runs in a directory that are looked at before an end is told
_BATCH_S = 0.02  # seconds of CPU for the looks of a batch; to take in what they have seen costs about as much again
_REST_S = 0.01  # between two looks at logs that are read on and on
_LAST_WORDS_S = 0.2  # for what is to be known before an end is told; what takes longer is told later
_FIRST_WORDS_S = 30.0  # for what open runs have said while no agent was there
_STANDS_STILL = 60.0  # seconds after which a torn file is one that nobody goes on writing
ASKED_RESCAN_REST = 20  # seconds of rest for each second of CPU a rescan takes, however often one is asked for


_ENDS = (ApplySummarised, ErrorReported, ApprovalDeclined, LogClosed, LogOverwritten)


class Observer:
    """Looks at files and processes and hands what it sees to the pipeline. Not thread-safe: one thread owns it.

    born(path): when the agent first watched the root that path lies in. stopping(): whether to begin nothing new.
    beat(): called before every look, for who wants to know that it gets on. ticks() and cpu() are seconds that only go
    forward, of the clock on the wall and of this thread's work.
    """

    def __init__(
        self,
        opener: SafeOpener,
        watch: Watch,
        pipeline: Pipeline,
        born: Callable[[str], float],
        tell: Callable[[Told], None],
        clock: Callable[[], float],
        stopping: Callable[[], bool] = lambda: False,
        processes: Processes | None = None,
        spool: Spool | None = None,
        beat: Callable[[], None] = lambda: None,
        ticks: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._opener = opener
        self._watch = watch
        self._pipeline = pipeline
        self._born = born
        self._tell = tell
        self._clock = clock
        self._stopping = stopping
        self._processes = processes or Processes(opener)
        self._spool = spool
        self._beat = beat
        self._ticks = ticks
        self._cpu = cpu
        self._hold_ups = HoldUps(ticks)
        self._names = LogNames(opener, watch, pipeline, clock)
        self._unread = Unread(self._say_unread, opener.branch_of, clock)
        self._left: list[Touched] = []
        self._closed_logs: set[str] = set()
        self._ends: list[Observation] = []
        self._vanished: set[str] = set()
        self._held_back: set[str] = set()
        self._backlog: dict[str, Touched] = {}
        self._overflows = 0
        self._has_let_pass = False
        self._rescan_asked = False
        self._rescan_from = 0.0
        self._rescanned_at = 0.0
        self.rescan_cost = 0.0

    @property
    def has_backlog(self) -> bool:
        """Whether a rescan has found more than was looked at since, or a log holds more."""
        return bool(self._backlog or self._left)

    @property
    def rest(self) -> float | None:
        """Seconds after which the next turn is due whatever happens; None where nothing is left to look at. Whoever
        delivers shares an interpreter with whoever reads a log on and on, and is to get a word in."""
        if self._backlog:
            return 0.0
        return _REST_S if self._left else None

    @property
    def unreadable(self) -> Mapping[str, str]:
        """By path why a file that a reader wants is not read, or a directory is not looked through."""
        return self._unread

    @property
    def rescanned_at(self) -> float:
        """The wall-clock second of the last rescan; 0 before the first."""
        return self._rescanned_at

    def turn(self, *, rescan: bool = False, tick: bool = True) -> None:
        """One look at everything that was touched, then at a slice of what rescans have found, and at the processes
        behind the runs that concerns. Live runs go first: a tree full of old logs must not make them wait.

        Records of wrappers that have begun are told before everything else, for they know whose run it is; how they
        ended is told last, for the log may have more to say of it.
        """
        touched, asked = self._watch.take()
        self._look_into_spool()
        if self._watch.overflows != self._overflows:
            self._overflows = self._watch.overflows
            self._tell(Told("watch.overflowed", {"count": self._overflows}))
        self._rescan_asked |= asked
        new: dict[str, Touched] = {}
        if rescan or (self._rescan_asked and self._ticks() >= self._rescan_from):
            self._rescan(self._rescan_asked)
        else:
            new = {look.path: look for look in self._watch.scan_new()}
        if len(new) > _BATCH_FILES:  # no run directory, but a tree of many
            self._backlog |= new
            new = {}
        held_back = self._watch.touched(sorted(self._held_back))
        looks = {look.path: look for look in logs_first([*held_back, *new.values(), *touched])}
        self._held_back.clear()
        for look in touched:
            self._backlog.pop(look.path, None)
            new.pop(look.path, None)
            if not look.closed:
                self._closed_logs.discard(look.path)
        behind = self._begin(looks.values(), [look for path, look in looks.items() if look.closed or path in new])
        found: dict[str, Touched] = {}
        if self._lets_pass():
            self._left += behind
        else:
            found = dict(islice(self._backlog.items(), max(0, _BATCH_FILES - len(self._left))))
            for path in found:
                del self._backlog[path]
            behind += self._begin(found.values(), found.values())
            self._left = [*self._read(self._left, once=True), *behind]
        self._hold_ups.keep(self._left)
        self._probe(None if tick or rescan else looks | found)
        self._absorb_ends()
        # From now on: word of what was written since a closing comes with the next turn.
        self._closed_logs |= {look.path for look in touched if look.closed}
        self._closed_logs &= {run.log_path for run in self._pipeline.open_runs}
        self._pipeline.elapse(self._clock())

    def _lets_pass(self) -> bool:
        """Whether what was left lets word of other files pass that has come meanwhile: every other turn at most."""
        self._has_let_pass = not self._has_let_pass and self._watch.has_news({look.path for look in self._left})
        return self._has_let_pass

    def _look_into_spool(self) -> None:
        """Let the pipeline know of wrappers' records; how those ended that have is kept for `_absorb_ends`."""
        if self._spool is None or self._stopping():
            return
        wrapped = ((run.wrapped, run.directory) for run in self._pipeline.open_runs if run.is_wrapped)
        news = self._spool.look({by.record_id: directory for by, directory in wrapped if by})
        for path, reason in news.refused:
            self._unread.refuse(path, reason)
        if news.begun:
            self._pipeline.absorb(news.begun, self._clock(), _always)
        self._ends += news.ended

    def _absorb_ends(self) -> None:
        """Let the pipeline know how wrapped runs ended, behind the last words of their logs."""
        ended, self._ends = self._ends, []
        if self._spool is None or not ended:
            return
        directories = {observation.directory for observation in ended}
        runs = [run for run in self._pipeline.open_runs if not directories.isdisjoint(run.directories)]
        known = self._watch.touched(path for run in runs for path in _files_of(run))
        around = [look for each in directories for look in self._watch.logs_around(each, self._pipeline.cursors)]
        unread = self._read_last_words(list({look.path: look for look in (*around, *known)}.values()))
        if self._stopping():
            return  # the records stay, and are read again at the next start
        # Behind them are those that were found while the logs were read.
        self._ends = [*(end for end in ended if unread.hold_up(end.directory)), *self._ends]
        ended = [end for end in ended if not unread.hold_up(end.directory)]
        self._pipeline.absorb(ended, self._clock(), _always)
        spool_directory.remove(self._spool.files_behind(ended))
        if any(observation.tells(WrapperGone) for observation in ended):
            self._hear_again({run.echo for run in runs if run.echo})

    def _hear_again(self, anchors: Collection[str]) -> None:
        """Read logs that said nothing while a wrapper said it all, now that it has died."""
        cursors = self._pipeline.cursors.values()
        paths = [cursor.path for cursor in cursors if any(mark.anchor in anchors for mark in cursor.marks)]
        self._pipeline.forget(paths)
        self.read(self._watch.touched(paths), found=True)

    def look_at_open_runs(self) -> Directories:
        """Read what open runs have left since they were last looked at, before anything is concluded about them: that a
        wrapper is gone, too, is concluded later. Returns where there is more than could be read by now."""
        self._look_into_spool()
        self._ends = [end for end in self._ends if not end.tells(WrapperGone)]
        self._absorb_ends()
        paths = {path for run in self._pipeline.open_runs for path in _files_of(run)}
        return self._read_last_words(self._watch.touched(sorted(paths)), _FIRST_WORDS_S)

    def _rescan(self, asked: bool) -> None:
        began = self._cpu()
        refused: dict[str, str] = {}
        found, vanished = self._watch.rescan(self._pipeline.cursors, refused.__setitem__)
        self._unread.rescanned(refused, self._watch.is_there)
        self.rescan_cost = self._cpu() - began
        self._rescan_asked = False
        self._rescan_from = self._ticks() + ASKED_RESCAN_REST * self.rescan_cost
        if found or asked:
            self._tell(Told("watch.rescanned", {"changed": len(found), "asked": asked or None}))
        # Which file the log of an open run was is still asked for: somebody may write it. And what has vanished may
        # have been renamed, and be among what was found: only what two rescans have missed is given up.
        followed = {path for run in self._pipeline.open_runs for path in _files_of(run)}
        gone = [path for path in vanished if path in self._vanished and path not in followed]
        self._pipeline.forget(gone)
        for path in gone:
            self._names.forget(path)
        self._vanished = set(vanished)
        self._backlog |= {look.path: look for look in found}
        self._rescanned_at = self._clock()

    def _say_unread(self, path: str, code: str) -> None:
        self._tell(Told("source.unreadable", {"path": path, "reason": code}))

    # --- looks -----------------------------------------------------------------------------------------------

    def read(self, touched: Iterable[Touched], *, found: bool = False) -> None:
        """Look at files batch by batch; what a look has left for the next one comes after all others.

        found: a rescan found them, so nobody has told whether they are still being written.
        """
        looks = list(touched)
        self._read(self._with_completeness(looks, looks if found else [look for look in looks if look.closed]))

    def _read_last_words(self, looks: Sequence[Touched], spend: float = _LAST_WORDS_S) -> Directories:
        """Look at what is to be known before an end is told, for so many seconds of CPU. Returns where that was not
        enough and the end must wait: a log may grow faster than it is read."""
        until = self._cpu() + spend
        pending = self._with_completeness(looks, looks)
        while pending and self._cpu() < until and not self._stopping():
            pending = self._read(pending, once=True)
        known = {look.path for look in self._left}
        self._left += [look for look in pending if look.path not in known]
        return self._hold_ups.of(pending)

    def _begin(self, touched: Iterable[Touched], ended: Iterable[Touched]) -> list[Touched]:
        """Read what is new, for a while: a very large log is read on from turn to turn and holds up its own directory
        alone. ended: those of which it is to be asked whether they are complete. Returns what must wait for such a
        log."""
        looks = list(touched)
        fresh = {look.path: look for look in self._with_completeness(looks, list(ended))}
        self._left = [fresh.pop(look.path, look) for look in self._left]
        first, behind = _parted(fresh.values(), self._hold_ups.of(self._left))
        self._left += self._read(first, once=True)
        return behind

    def _read(self, looks: Sequence[Touched], *, once: bool = False) -> list[Touched]:
        """Read to the end, or one batch. Returns what is left."""
        pending = deque(looks)
        while pending and not self._stopping():
            batch = Batch(self._pipeline.cursors)
            left: list[Touched] = []
            held_up = self._hold_ups.of()
            until = self._cpu() + _BATCH_S
            put_off: list[Touched] = []
            while pending and batch.facts < _BATCH_FACTS and len(put_off) < _MOST_PUT_OFF:
                look = pending.popleft()
                enough = batch.is_awaited or batch.facts >= _ENOUGH_FACTS or self._cpu() >= until
                if enough and not batch.is_about(look):
                    put_off.append(look)
                elif held_up.hold_up(look.place.directory) or self._look(look, batch):
                    left.append(look)
                    held_up.add(look)
            pending.extendleft(reversed(put_off))
            held = [run for run in self._pipeline.open_runs if run.lock is Lock.HELD]
            left = [*self._look_behind(batch, held), *left]
            if any(o.tells(OperationStarted) for o in batch.observations):
                self._look_into_spool()  # the record of what has begun to print is there by now
            if batch.bound:
                self._pipeline.bind(batch.bound, self._clock())
            if batch.observations:
                locked = {directory for run in held for directory in run.directories}
                planned = {run.log_path for run in self._pipeline.open_runs if _may_go_on(run)}
                ordered = in_order(batch.observations, locked, planned)
                ordered.sort(key=self._is_awaited, reverse=True)  # stable
                self._pipeline.absorb(ordered, self._clock(), self._born)
            free, behind = _parted(pending, self._hold_ups.of(left))
            pending = deque([*free, *left, *behind])
            if once:
                break
        return list(pending)

    def _look(self, look: Touched, batch: Batch) -> bool:
        """Look once; returns whether the file holds more than this look has read."""
        self._beat()
        if look.place.kind is Kind.BINDING:
            batch.bound.add(look.place.directory)
            return False
        if look.place.kind is Kind.STATE and not self._is_open(look.place.directory):
            return False  # a state that no open run has written is nobody's evidence
        batch.note(look)
        cursor = batch.cursors.get(look.path)
        try:
            if look.place.kind is Kind.LOG:
                look = replace(look, place=replace(look.place, directory=self._names.run_directory(look.path)))
                batch.note(look)
                cursor = self._cursor_of_log(look, cursor, batch)
            observation = observe(self._opener, look, cursor)
            if observation is not None and self._may_be_a_refusal(observation):
                self._held_back.add(look.path)
                return False
        except NotYet as reason:
            self._watch.look_again(look.path)
            return batch.put_off(look, reason)
        except Unreadable as error:
            if error.code == "E_IO":
                self._watch.look_again(look.path)  # it may pass, and leaves no mark on the file when it does
            self._unread.refuse(look.path, error.code)
            return False
        if observation is None or not observation.objection:
            self._unread.is_read(look.path)
        elif observation.objection in PASSING and self._clock() - observation.modified_at < _STANDS_STILL:
            self._watch.look_again(look.path)  # it is being written, as far as one can tell
        else:
            self._unread.refuse(look.path, observation.objection)
        if observation is None or not (observation.facts or observation.cursor):
            return False
        if look.place.kind is Kind.LOG:
            self._names.was_read(look, cursor, observation)
        batch.add(observation)
        return observation.more

    def _cursor_of_log(self, look: Touched, cursor: Cursor | None, batch: Batch) -> Cursor | None:
        """From where on a log is news. A run that holds its lock goes on in its log, whatever that looked like."""
        if cursor is None or not cursor.offset:
            being_written = {run.log_path for run in self._pipeline.open_runs if run.log is Log.OPEN}
            journaled, news = self._pipeline.cursors, batch.news
            known = KnownLogs(self._opener, journaled, news, being_written, self._names.written_over)
            cursor = self._names.cursor_elsewhere(look, known) or cursor
        if cursor is None:
            return None
        held = {run.anchor for run in self._pipeline.open_runs if run.anchor and run.lock is Lock.HELD}
        return still_written(cursor, held) if held else cursor

    def _may_be_a_refusal(self, observation: Observation) -> bool:
        """Whether a human log begins with an error, or with nothing to go by yet, while a run whose log is not known is
        at work: is it that run's, or was it refused the lock? Where it ends will tell."""
        first, *rest = observation.facts or (None,)
        opens = first is not None and isinstance(first.evidence, OperationStarted) and first.evidence.form is Form.HUMAN
        if not opens or not all(isinstance(fact.evidence, ErrorReported | LockRefused) for fact in rest):
            return False
        surroundings = self._pipeline.surroundings
        logless = [run for run in self._pipeline.open_runs if run.lock is Lock.HELD and run.log is Log.ABSENT]
        return any(surroundings.is_held(run) for run in logless if _is_around(observation.directory, run))

    def _look_behind(self, batch: Batch, held: Sequence[Run]) -> list[Touched]:
        """Look at what must be known of the run before when the next one begins: its lock, its log, and the logs around
        a lock that has changed hands. Returns the logs with more in them.

        held: the runs whose lock is held.
        """
        begun = set(batch.where(OperationStarted))
        before = (run for run in held if not begun.isdisjoint(run.directories))
        locks = dict.fromkeys(lock_info_path_of(run.state_path) for run in before)
        for look in self._watch.touched(path for path in locks if path not in batch.looked_at):
            self._look(look, batch)
        logs = self._logs_behind(batch)
        known = {look.path for look in logs} | batch.surrounded.keys()
        changed = (*batch.where(LockTaken, LockReplaced), *batch.surrounded.values())
        around = [look for directory in changed for look in self._watch.logs_around(directory, batch.cursors)]
        logs += [look for look in around if look.path not in known]
        return [look for look in logs if self._look(look, batch)]

    def _logs_behind(self, batch: Batch) -> list[Touched]:
        """The logs of open runs whose lock is another's by now, or beside which another log tells of an end."""
        facts = (fact.evidence for observation in batch.observations for fact in observation.facts)
        replaced = {evidence.lock_id for evidence in facts if isinstance(evidence, LockReplaced)}
        ended = set(batch.where(*_ENDS))
        unread = (run for run in self._pipeline.open_runs if run.log_path not in batch.looked_at)
        behind = (run for run in unread if run.lock_id in replaced or not ended.isdisjoint(run.directories))
        paths = islice((run.log_path for run in behind if run.log is Log.OPEN), _MOST_BESIDE)
        logs = self._watch.touched(paths)
        return self._with_completeness(logs, logs)

    def _is_awaited(self, observation: Observation) -> bool:
        """Whether it tells of a lock that was too short to be read and may have been an open run's: until then nobody
        may know whose run that is, and it may be over by the end of this batch."""
        place = observation.directory
        return observation.tells(LockPassed) and any(
            run.lock is Lock.UNSEEN and not run.state_path and f"{place}/".startswith(f"{run.directory}/")
            for run in self._pipeline.open_runs
        )

    def _with_completeness(self, looks: Sequence[Touched], ended: Sequence[Touched]) -> list[Touched]:
        complete = self._processes.complete_logs(ended) if ended else {}
        return [complete.get(look.path, look) for look in looks]

    def _is_open(self, directory: str) -> bool:
        return any(directory in run.directories for run in self._pipeline.open_runs)

    # --- processes -------------------------------------------------------------------------------------------

    def _probe(self, looks: Mapping[str, Touched] | None) -> None:
        """Probe the runs behind what was touched, or all of them; None means all."""
        runs = self._pipeline.open_runs
        if looks is not None:
            directories = {look.place.directory for look in looks.values() if look.place.kind is not Kind.STATE}
            runs = [run for run in runs if run.log_path in looks or not directories.isdisjoint(run.directories)]
        half_read = {look.path for look in self._left}
        runs = [run for run in runs if run.log_path not in half_read]  # its last words are still to be heard
        if not runs:
            return
        now = self._clock()
        for run in runs:
            if run.historic and self._processes.is_alive(run):
                self._pipeline.adopt(run.run_id, now)
        observations = self._processes.probe(runs, self._closed_logs, self._pipeline.cursors)
        silent = self._watch.touched(o.path for o in observations if o.tells(LogClosed))
        closed = [replace(look, closed=look.path in self._closed_logs) for look in silent]
        gone = [o.directory for o in observations if o.tells(TracesGone)]
        renamed = [look for directory in gone for look in self._watch.logs_around(directory, self._pipeline.cursors)]
        # Their last words come before their end.
        unread = self._read_last_words([*closed, *renamed])
        heard = (o for o in observations if not unread.hold_up(o.directory))
        told = [self._as_read(o) for o in heard if not self._was_taken_away(o)]
        if told:
            self._pipeline.absorb(told, now, self._born)

    def _was_taken_away(self, observation: Observation) -> bool:
        """Whether a log that nobody writes any more has gone before its last words could be read; what that means the
        next probe will tell. A holder who is gone is gone without them."""
        silent = observation.tells(LogClosed) and not observation.tells(HolderGone)
        return silent and not self._watch.is_there(observation.path)

    def _as_read(self, observation: Observation) -> Observation:
        """What the processes tell, after their logs were read: who writes a log no more may have had another write over
        it by then."""
        cursor = self._pipeline.cursors.get(observation.path)
        cut = {mark.anchor for mark in cursor.marks if mark.cut} if cursor else set()
        cut |= {run.anchor for run in self._pipeline.open_runs if run.log is Log.OVERWRITTEN}
        facts = (
            Fact(LogOverwritten(), fact.anchor) if isinstance(fact.evidence, LogClosed) and fact.anchor in cut else fact
            for fact in observation.facts
        )
        return replace(observation, facts=tuple(facts))


def _always(_path: str) -> float:
    """A record is addressed to the agent, whether that was there already or not."""
    return 0.0


def _parted(looks: Iterable[Touched], held_up: Directories) -> tuple[list[Touched], list[Touched]]:
    """The looks that may go ahead, and those that must wait."""
    free: list[Touched] = []
    behind: list[Touched] = []
    for look in looks:
        (behind if held_up.hold_up(look.place.directory) else free).append(look)
    return free, behind


def _is_around(directory: str, run: Run) -> bool:
    return any(f"{place}/".startswith(f"{directory}/") for place in run.directories)


def _may_go_on(run: Run) -> bool:
    """Whether a log for people has shown a plan, and may go on to what applies it."""
    return run.form is Form.HUMAN and run.log is Log.OPEN and run.operation is Operation.PLAN


def _files_of(run: Run) -> list[str]:
    return [path for path in (run.log_path, run.state_path and lock_info_path_of(run.state_path)) if path]
