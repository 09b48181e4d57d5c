"""The one place where the house is assembled, and the loop that runs it.

Two threads: this one reads evidence and absorbs it, the relay's delivers. Between them stand the journal and a
nudge; nothing flows back. The agent reads below the watched roots and writes nothing there, takes no lock of
Terraform's and starts no program.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import islice

from . import __version__
from .domain.evidence import Observation
from .domain.notification import Notification
from .domain.run import Patience
from .journal import Journal
from .pipeline import Addressee, Pipeline, Rules, Told, proton_objection
from .relay import Relay
from .run_directories import RunDirectories
from .settings import Settings, SinkSettings
from .sinks import Sink, sink_type
from .sources.observe import complete_logs, is_alive, observe, probe
from .sources.place import Kind
from .sources.safe_open import SafeOpener, Unreadable
from .sources.watch import Touched, Watch, WatchedRoot
from .telemetry import Log, notify_systemd

_PROBE_S = 1.0
_HEAL_S = 5.0
_BATCH_FILES = 256  # looks at the backlog between two looks at live runs: about a quarter of a second
_BATCH_FACTS = 20_000
_STOP_S = 15.0
RESCAN_REST = 300  # seconds of rest for each second of CPU a rescan takes: a third of a percent of a core


class Agent:
    """The daemon. `run` works until `stop` is called or a signal comes."""

    def __init__(
        self,
        settings: Settings,
        log: Log,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._log = log
        self._clock = clock
        self._draw = draw
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._rescan_asked = threading.Event()
        self._exit_code = 0
        self._unreadable: dict[str, str] = {}
        self._closed_logs: set[str] = set()
        self._problems: list[str] = []
        self._backlog: dict[str, Touched] = {}
        self._rescan_cost = 0.0

    def stop(self) -> None:
        """Ask the agent to end: nothing new is begun, requests under way are finished."""
        self._stopping.set()
        self._wake.set()

    def rescan(self) -> None:
        """Ask for a look at everything below the roots now."""
        self._rescan_asked.set()
        self._wake.set()

    def run(self, on_ready: Callable[[], None] = lambda: None) -> int:
        """Watch, absorb and deliver until stopped; returns the exit code. JournalHeld when another agent works."""
        settings = self._settings
        with Journal.open_as_daemon(settings.journal.path) as journal:
            told = {"version": __version__, "journal": journal.path, "settings": settings.path}
            self._log.tell("agent.started", told)
            sinks = {sink.name: _make_sink(sink) for sink in settings.sink}
            relay = Relay(journal, sinks, self._log.tell, self._clock, self._draw)
            self._assemble(journal, relay, sinks)
            delivery = threading.Thread(target=self._deliver, args=(relay,), name="relay")
            delivery.start()
            try:
                self._problems = self._report_problems(self._watch.start())
                self._turn(rescan=True)
                self._log.tell("agent.ready", {"runs_open": len(self._pipeline.open_runs)})
                notify_systemd("READY=1", f"STATUS=watching {len(settings.watch)} roots")
                on_ready()
                self._loop()
            except Exception as error:  # noqa: BLE001, RUF100 - said in one line; systemd starts us again
                self._fail("pipeline", error)
            finally:
                relay.stop()  # first: nothing new may leave after a person has asked for the end
                notify_systemd("STOPPING=1")
                self._log.tell("agent.stopping")
                self._watch.stop()
                delivery.join(_STOP_S)
                for sink in sinks.values():
                    sink.close()
        return self._exit_code

    def _assemble(self, journal: Journal, relay: Relay, sinks: Mapping[str, Sink]) -> None:
        settings = self._settings
        roots = [WatchedRoot(watch.path, watch.logs) for watch in settings.watch]
        self._opener = SafeOpener([root.path for root in roots])
        now = self._clock()
        self._born = {
            watch.path: 0.0 if watch.backfill else journal.first_seen(watch.path, now) for watch in settings.watch
        }
        self._watch = Watch(roots, self._wake)
        types = {sink.name: sink.type for sink in settings.sink}
        addressees = [
            Addressee(name, sink.wants, proton_objection if types[name] == "proton" else _no_objection)
            for name, sink in sinks.items()
        ]
        rules = Rules(
            Patience(settings.run.settle, settings.run.grace),
            settings.outputs,
            settings.run.no_changes == "succeed",
        )
        surroundings = RunDirectories(self._opener, settings)
        self._pipeline = Pipeline(journal, surroundings, addressees, rules, self._tell, relay.nudge)

    def _tell(self, told: Told) -> None:
        self._log.tell(told.name, told.keys)

    def _deliver(self, relay: Relay) -> None:
        try:
            relay.run()
        except Exception as error:  # noqa: BLE001, RUF100 - without a relay the agent must not seem to work
            self._fail("relay", error)

    def _fail(self, part: str, error: Exception) -> None:
        self._log.tell("agent.failed", {"part": part, "reason": f"{type(error).__name__}: {error}"})
        self._exit_code = 1
        self.stop()

    # --- the loop ------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        rescan_at = time.monotonic() + self._until_rescan()
        heal_at = probe_at = time.monotonic()
        while not self._stopping.is_set():
            now = time.monotonic()
            due = [rescan_at if not self._pipeline.open_runs else min(rescan_at, probe_at), heal_at]
            verdict_due = self._pipeline.next_due_at()
            wait = 0.0 if self._backlog else min(due) - now
            if verdict_due is not None:
                wait = min(wait, verdict_due - self._clock())
            self._wake.wait(max(0.0, wait))
            self._wake.clear()
            now = time.monotonic()
            rescan, tick = now >= rescan_at or self._rescan_asked.is_set(), now >= probe_at
            self._rescan_asked.clear()
            if now >= heal_at:
                self._problems = self._report_problems(self._watch.heal())
                heal_at = now + _HEAL_S
            self._turn(rescan=rescan, tick=tick)
            now = time.monotonic()
            if rescan:
                rescan_at = now + self._until_rescan()
            if tick:
                probe_at = now + _PROBE_S

    def _until_rescan(self) -> float:
        """Seconds until everything is looked at again: less often where walking the tree is work, and with jitter, so
        that many agents on one host do not walk theirs in the same second."""
        return max(self._settings.scan.rescan, RESCAN_REST * self._rescan_cost) * (0.9 + 0.2 * self._draw())

    def _turn(self, *, rescan: bool = False, tick: bool = True) -> None:
        """One look at everything that was touched, then at a slice of what rescans have found, and at the processes
        behind the runs that concerns. Live runs go first: a tree full of old logs must not make them wait."""
        touched, asked = self._watch.take()
        if rescan or asked:
            self._rescan(asked)
        looks = {look.path: look for look in touched}
        for look in touched:
            self._backlog.pop(look.path, None)
            (self._closed_logs.add if look.closed else self._closed_logs.discard)(look.path)
        self._read(looks.values())
        found = dict(islice(self._backlog.items(), _BATCH_FILES))
        for path in found:
            del self._backlog[path]
        self._read(found.values(), found=True)
        self._probe(None if tick or rescan else looks | found)
        self._closed_logs &= {run.log_path for run in self._pipeline.open_runs}
        self._pipeline.elapse(self._clock())

    def _rescan(self, asked: bool) -> None:
        began = time.thread_time()
        found, vanished = self._watch.rescan(self._pipeline.cursors)
        self._rescan_cost = time.thread_time() - began
        if found or asked:
            self._log.tell("watch.rescanned", {"changed": len(found), "asked": asked or None})
        self._pipeline.forget(vanished)
        self._backlog |= {look.path: look for look in found}

    def _read(self, touched: Iterable[Touched], *, found: bool = False) -> None:
        """Look at files batch by batch; what a look has left for the next one comes after all others.

        found: a rescan found them, so nobody has told whether they are still being written.
        """
        looks = list(touched)
        ended = looks if found else [look for look in looks if look.closed]
        complete = complete_logs(self._opener, ended) if ended else set()
        pending = deque(replace(look, complete=True) if look.path in complete else look for look in looks)
        while pending and not self._stopping.is_set():
            batch: list[Observation] = []
            again: list[Touched] = []
            facts = 0
            while pending and facts < _BATCH_FACTS:
                look = pending.popleft()
                observation = self._observe(look)
                if observation is not None:
                    batch.append(observation)
                    facts += len(observation.facts)
                    if observation.more:
                        again.append(look)
            if batch:
                self._pipeline.absorb(batch, self._clock(), self._born_of)
            pending.extend(again)

    def _observe(self, look: Touched) -> Observation | None:
        if look.place.kind is Kind.BINDING:
            self._pipeline.bind(look.place.directory, self._clock())
            return None
        if look.place.kind is Kind.STATE and not self._is_open(look.place.directory):
            return None  # a state that no open run has written is nobody's evidence
        try:
            observation = observe(self._opener, look, self._pipeline.cursors.get(look.path))
        except Unreadable as error:
            if self._unreadable.get(look.path) != error.code:
                self._unreadable[look.path] = error.code
                self._log.tell("source.unreadable", {"path": look.path, "reason": error.code})
            return None
        self._unreadable.pop(look.path, None)
        return observation

    def _is_open(self, directory: str) -> bool:
        return any(directory in run.directories for run in self._pipeline.open_runs)

    def _probe(self, looks: Mapping[str, Touched] | None) -> None:
        """Probe the runs behind what was touched, or all of them; None means all."""
        runs = self._pipeline.open_runs
        if looks is not None:
            directories = {look.place.directory for look in looks.values() if look.place.kind is not Kind.STATE}
            runs = [run for run in runs if run.log_path in looks or not directories.isdisjoint(run.directories)]
        if not runs:
            return
        now = self._clock()
        for run in runs:
            if run.historic and is_alive(self._opener, run):
                self._pipeline.adopt(run.run_id, now)
        observations = probe(self._opener, runs, self._closed_logs)
        if observations:
            self._pipeline.absorb(observations, now, self._born_of)

    def _born_of(self, path: str) -> float:
        root = self._opener.root_of(path)
        return self._born.get(root, 0.0) if root else 0.0

    def _report_problems(self, problems: list[str]) -> list[str]:
        for problem in problems:
            if problem not in self._problems:
                self._log.tell("watch.degraded", {"reason": problem})
        return problems


def run_until_signalled(agent: Agent) -> int:
    """Run the agent: SIGTERM and SIGINT end it in order, SIGHUP asks for a rescan.

    A thread waits for the signals instead of handlers: a handler runs in the middle of whatever the main thread does,
    and would wait for ever for a lock that the main thread holds itself. Call before any other thread is started.
    """
    heeded = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, heeded)

    def heed() -> None:
        while True:
            (agent.rescan if signal.sigwait(heeded) is signal.SIGHUP else agent.stop)()

    threading.Thread(target=heed, name="signals", daemon=True).start()
    try:
        return agent.run()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _make_sink(sink: SinkSettings) -> Sink:
    make = sink_type(sink.type)
    if sink.type == "proton":
        return make(
            sink.name,
            sink.region,
            sink.endpoint_url,
            connect_timeout=sink.connect_timeout,
            read_timeout=sink.read_timeout,
        )
    return make(sink.name)


def _no_objection(_notification: Notification) -> str:
    return ""
