"""The daemon: its parts, put together (`assembly`), and the loop that runs them.

Two threads: this one reads evidence and absorbs it, the relay's delivers. Between them stand the journal and a
nudge; nothing flows back. The agent reads below the watched roots and writes nothing there, takes no lock of
Terraform's and starts no program.

Over 400 lines because starting, reloading and ending are one order, in which each step undoes another.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice

from . import __version__, health, spool_directory
from .assembly import assemble_pipeline, watched_root
from .domain.errors import JournalFull, Problem, SettingsInvalid, described
from .exposition import exposed
from .health import Health
from .journal import Journal, Part
from .journal_care import DailyCheck, take_up
from .journal_file import JOURNAL_FULL
from .journal_room import JournalRoom
from .observer import Observer
from .pipeline import Told
from .pulse import Pulse, patience
from .relay import Relay
from .retention import Limits, Retention
from .run_directories import opener_of
from .settings import Settings, SpoolSettings, advice, load
from .settings.changes import keep_what_cannot_change
from .sink_assembly import make_sink
from .sinks import Sink
from .sources import spool
from .sources.liveness import Boot, read_boot
from .sources.safe_open import SafeOpener
from .sources.spool import Spool
from .sources.watch import Watch
from .telemetry import Log, notify_systemd, status_line

_PROBE_S = 1.0
_STOP_S = 15.0
_REST_S = 5.0  # before the daily check, should it be due at the start
_ROOM_S = 2.0  # between two looks for room on a full disk
BLIND_RESCAN = 5.0  # seconds between rescans where the kernel gives no hints
BLIND_RESCAN_REST = 60
RESCAN_REST = 300  # seconds of rest for each second of CPU a rescan takes: a third of a percent of a core


class Agent:
    """The daemon. `run` works until `stop` is called or a signal comes."""

    def __init__(
        self,
        settings: Settings,
        log: Log,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
        boot: Callable[[], Boot | None] = read_boot,
    ) -> None:
        self._settings = settings
        self._log = log
        self._clock = clock
        self._draw = draw
        self._boot = boot
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._reload_asked = threading.Event()
        self._delivered = threading.Event()
        self._successor: Settings | None = None
        self._exit_code = 0
        self._problems: list[str] = []
        self._status = ""
        self._started_at = clock()
        self._refused = False
        self._last_words = threading.Lock()
        self._pulse = Pulse(patience(os.environ, os.getpid()), notify_systemd, log.tell, time.monotonic)
        self._observing = partial(self._pulse.beat, "observer")
        self._delivering = partial(self._pulse.beat, "relay")

    def stop(self) -> None:
        """Ask the agent to end: nothing new is begun, requests under way are finished."""
        self._stopping.set()
        self._wake.set()

    def reload(self) -> None:
        """Ask for the settings file to be read again, and for a look at everything below the roots."""
        self._reload_asked.set()
        self._wake.set()

    def run(self, on_ready: Callable[[], None] = lambda: None) -> int:
        """Watch, absorb and deliver until stopped; returns the exit code. JournalHeld when another agent works.

        Other settings begin another life on the same journal: what the pipeline and the relay must know stands there.
        """
        spool_directory.refuse_if_unsafe(self._settings.spool.path)
        kept = self._settings.journal
        notify_systemd("STATUS=taking up the journal")
        with take_up(kept.path, self._log.tell, self._clock(), self._end_at_once, kept.reserve) as journal:
            self._journal = journal
            self._room = JournalRoom(journal, Part.EVIDENCE, self._log.tell)
            told = {"version": __version__, "journal": journal.path, "settings": self._settings.path}
            self._log.tell("agent.started", told)
            check = DailyCheck(journal, self._log.tell, self._clock, self._end_over_damage, _REST_S)
            check.start()
            self._pulse.start()
            notify_systemd("STATUS=looking at what is there")
            try:
                self._live(journal, lambda: self._tell_ready(on_ready))
                while self._successor is not None and not self._stopping.is_set():
                    changed = self._settings.differing(self._successor)
                    self._settings, self._successor = self._successor, None
                    self._live(journal, partial(self._tell_reloaded, changed))
            finally:
                self._pulse.stop()
                check.stop()
            journal.remember(ended_well=self._exit_code == 0, suspect=self._exit_code != 0)
        return self._exit_code

    def _live(self, journal: Journal, on_ready: Callable[[], None]) -> None:
        """Work under one set of settings until the agent is stopped or is to go on under others.

        Once the journal has no room, nothing is looked at until it has. Then everything is looked at anew, as at a
        start: what was seen and not committed is on disk, and the cursors stand before it.
        """
        sinks = {sink.name: make_sink(sink, self._settings) for sink in self._settings.sink}
        shadows = {sink.name for sink in self._settings.sink if sink.shadow}
        told = {name: sink for name, sink in sinks.items() if name not in shadows}
        relay = Relay(journal, told, self._log.tell, self._clock, self._draw)
        self._delivered.clear()
        delivery = threading.Thread(target=self._deliver, args=(relay,), name="relay")
        delivery.start()
        self._on_ready = on_ready
        try:
            with exposed(self._settings, self._log.tell, self._clock):
                while not self._is_over():
                    try:
                        self._observe(journal, relay, sinks)
                    except JournalFull:
                        self._wait_for_room(relay)
        except Exception as error:  # noqa: BLE001, RUF100 - said in one line; systemd starts us again
            self._fail("pipeline", error)
        finally:
            relay.stop()
            if self._stopping.is_set():
                notify_systemd("STOPPING=1", "STATUS=waiting for requests under way")
                self._log.tell("agent.stopping")
            delivery.join(_STOP_S)
            for sink in sinks.values():
                sink.close()

    def _is_over(self) -> bool:
        """Whether this life is: the agent is stopped, or goes on under other settings and has nothing on the wire."""
        return self._stopping.is_set() or (self._successor is not None and self._delivered.is_set())

    def _observe(self, journal: Journal, relay: Relay, sinks: Mapping[str, Sink]) -> None:
        """Look at everything, then at whatever changes."""
        self._observing()
        self._assemble(journal, relay, sinks)
        try:
            self._report_problems(self._watch.start())
            unread = self._observer.look_at_open_runs()
            self._mourn(journal, unread.hold_up)
            self._pipeline.bind_open(self._clock())
            self._observer.turn(rescan=True)
            self._put_health()
            self._on_ready()
            self._on_ready = self._report_status
            self._loop(relay)
            relay.stop()  # first: nothing new may leave after a person has asked for the end
        finally:
            self._watch.stop()

    def _wait_for_room(self, relay: Relay) -> None:
        """Wait until there is room for evidence. To systemd the agent is ready: it does what it can."""
        self._room.used_up()
        self._report_ready()
        while not self._is_over():
            self._observing()
            self._wake.wait(min(_ROOM_S, self._pulse.every))
            self._wake.clear()
            self._heed_reload(relay)
            if self._room.has_returned():
                return

    def _assemble(self, journal: Journal, relay: Relay, sinks: Mapping[str, Sink]) -> None:
        settings = self._settings
        roots = [watched_root(watch, journal) for watch in settings.watch]
        opener = opener_of(settings)
        now = self._clock()
        born = {watch.path: 0.0 if watch.backfill else journal.first_seen(watch.path, now) for watch in settings.watch}

        def born_of(path: str) -> float:
            return born.get(opener.root_of(path) or "", 0.0)

        self._watch = Watch(roots, self._wake, [settings.spool.path], opener, self._observing)
        records = self._make_spool(opener)
        kept = settings.journal
        limits = Limits(kept.keep_days, kept.keep_rows, kept.keep_bytes)
        self._retention = Retention(journal, limits, self._log.tell, self._clock, time.monotonic)
        self._pipeline = assemble_pipeline(settings, journal, opener, sinks, self._tell, relay.nudge, records)
        self._observer = Observer(
            opener, self._watch, self._pipeline, born_of, self._tell, self._clock, self._stopping.is_set, spool=records,
            beat=self._observing,
        )  # fmt: skip

    def _make_spool(self, opener: SafeOpener) -> Spool:
        """The spool; where the settings name one it is made. That of the default path comes with the service."""
        path, users = self._settings.spool.path, self._settings.spool.users
        if path != SpoolSettings().path:
            try:
                spool_directory.make(path)
            except OSError as error:
                self._log.tell("source.unreadable", {"path": path, "reason": error.strerror})
        return Spool(path, spool.believes(opener, users), [watch.path for watch in self._settings.watch])

    def _mourn(self, journal: Journal, is_unread: Callable[[str], bool]) -> None:
        """A run that was on when the machine was restarted is over, whatever it has left behind."""
        boot = self._boot()
        if boot is None:
            return
        if journal.boot_id() not in ("", boot.boot_id):
            self._pipeline.host_restarted(self._clock(), boot.at, is_unread)
        journal.put_boot_id(boot.boot_id)

    def _tell(self, told: Told) -> None:
        self._log.tell(told.name, told.keys)

    def _deliver(self, relay: Relay) -> None:
        try:
            relay.run(self._delivering)
        except Exception as error:  # noqa: BLE001, RUF100 - without a relay the agent must not seem to work
            self._fail("relay", error)
        finally:
            self._pulse.leave("relay")
            self._delivered.set()
            self._wake.set()

    def _fail(self, part: str, error: Exception) -> None:
        self._log.tell("agent.failed", {"part": part, "reason": described(error)})
        self._exit_code = 1
        self.stop()

    def _end_over_damage(self) -> None:
        """End with an error: the next agent salvages the journal before it uses it."""
        self._exit_code = 1
        self.stop()

    def _end_at_once(self, failure: str) -> None:
        """End the process here and now, in whichever thread: the disk has failed the journal.

        An end in order would commit what comes of the requests under way, and wait for them: what an fsync returns for
        after one has failed may be lost all the same. There is nothing to save; the next agent derives it all again.
        """
        hint = "look at the disk and at the kernel's log; started again, the agent goes on from what is there"
        problem = Problem(f"the disk has failed the journal: {failure}", self._settings.journal.path, hint)
        with self._last_words:  # for good: another thread may have met the same
            self._log.tell("agent.failed", {"part": "journal", "reason": str(problem)})
            os._exit(1)

    # --- other settings ------------------------------------------------------------------------------------

    def _heed_reload(self, relay: Relay) -> bool:
        """Reload if that was asked for; whether it was."""
        if not self._reload_asked.is_set():
            return False
        self._reload_asked.clear()
        self._reload(relay)
        return True

    def _reload(self, relay: Relay) -> None:
        """Read the settings again. Those that differ take over when the requests under way are finished."""
        notify_systemd("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        settings = self._reread()
        if settings is not None and (self._successor is not None or settings != self._settings):
            self._successor = settings
            relay.stop()
            return
        if settings is not None:
            self._log.tell("agent.reloaded", {"changed": []})
        if self._successor is None:
            self._report_status("READY=1")

    def _reread(self) -> Settings | None:
        """The settings in the file, with what cannot change while the agent runs left as it is; None when the file
        cannot be used."""
        try:
            settings = load(self._settings.path) if self._settings.path else self._settings
            for problem in advice(settings):
                self._log.tell("settings.questionable", {"reason": str(problem)})
            spool_directory.refuse_if_unsafe(settings.spool.path)
            self._refused = False
            return keep_what_cannot_change(self._settings, settings, self._log.tell)
        except SettingsInvalid as invalid:
            for problem in invalid.problems:
                self._log.tell("settings.refused", {"reason": str(problem)})
            self._refused = True
            return None

    def _tell_ready(self, on_ready: Callable[[], None]) -> None:
        self._log.tell("agent.ready", {"runs_open": len(self._pipeline.open_runs)})
        self._report_ready()
        on_ready()

    def _tell_reloaded(self, changed: list[str]) -> None:
        self._log.tell("agent.reloaded", {"changed": changed})
        self._report_status("READY=1")

    def _report_ready(self) -> None:
        self._pulse.ready()
        self._report_status("READY=1")

    def _report_status(self, *assignments: str) -> None:
        """What `systemctl status` shows, when it has changed or there is something else to be told."""
        waiting, parked = self._journal.untold()
        status = status_line(
            len(self._settings.watch), len(self._pipeline.open_runs), waiting, parked,
            degraded=JOURNAL_FULL if self._room.is_missing else "", refused=self._refused,
        )  # fmt: skip
        if assignments or status != self._status:
            self._status = status
            notify_systemd(*assignments, f"STATUS={status}")

    def _put_health(self) -> None:
        """Let `status` know how it looks from here."""
        unreadable = self._observer.unreadable
        health.put(self._settings.journal.path, Health(
            os.getpid(), __version__, self._started_at, self._clock(),
            roots=tuple(watch.path for watch in self._settings.watch),
            rescanned_at=self._observer.rescanned_at, rescan_s=self._observer.rescan_cost,
            overflows=self._watch.overflows, has_backlog=self._observer.has_backlog, problems=tuple(self._problems),
            unreadable=dict(islice(unreadable.items(), health.NAMED)), unreadable_files=len(unreadable),
        ))  # fmt: skip

    # --- the loop ------------------------------------------------------------------------------------------

    def _loop(self, relay: Relay) -> None:
        rescan_at = time.monotonic() + self._until_rescan()
        heal_at = probe_at = time.monotonic()
        while not self._is_over():
            self._observing()
            now = time.monotonic()
            look_at = rescan_at if not self._pipeline.open_runs else min(rescan_at, probe_at)
            due = (look_at, heal_at, now + self._pulse.every)
            verdict_due = self._pipeline.next_due_at()
            rest = self._observer.rest
            wait = min(due) - now if rest is None else rest
            if verdict_due is not None:
                wait = min(wait, verdict_due - self._clock())
            self._wake.wait(max(0.0, wait))
            self._wake.clear()
            reload = self._heed_reload(relay)
            now = time.monotonic()
            rescan, tick = reload or now >= rescan_at, now >= probe_at
            if now >= heal_at:
                self._report_problems(self._watch.heal())
                self._room.keep()
                self._report_status()
                self._put_health()
                heal_at = now + health.EVERY_S
                rescan_at = min(rescan_at, now + self._until_rescan()) if self._watch.is_blind else rescan_at
            self._observer.turn(rescan=rescan, tick=tick)
            self._retention.turn()
            now = time.monotonic()
            if rescan:
                rescan_at = now + self._until_rescan()
            if tick:
                probe_at = now + _PROBE_S

    def _until_rescan(self) -> float:
        """Seconds until everything is looked at again: less often where walking the tree is work, and with jitter, so
        that many agents on one host do not walk theirs in the same second. Where the kernel gives no hints, rescans
        are all there is, and come more often."""
        every, rest = self._settings.scan.rescan, float(RESCAN_REST)
        if self._watch.is_blind:
            every, rest = min(every, BLIND_RESCAN), float(BLIND_RESCAN_REST)
        return max(every, rest * self._observer.rescan_cost) * (0.9 + 0.2 * self._draw())

    def _report_problems(self, problems: list[str]) -> None:
        for problem in problems:
            if problem not in self._problems:
                self._log.tell("watch.degraded", {"reason": problem})
        for problem in self._problems:
            if problem not in problems:
                self._log.tell("watch.restored", {"reason": problem})
        self._problems = problems


def run_until_signalled(agent: Agent) -> int:
    """Run the agent: SIGTERM and SIGINT end it in order, SIGHUP lets it read its settings again.

    A thread waits for the signals instead of handlers: a handler runs in the middle of whatever the main thread does,
    and would wait for ever for a lock that the main thread holds itself. Call before any other thread is started.
    """
    heeded = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, heeded)

    def heed() -> None:
        while True:
            (agent.reload if signal.sigwait(heeded) is signal.SIGHUP else agent.stop)()

    threading.Thread(target=heed, name="signals", daemon=True).start()
    try:
        return agent.run()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
