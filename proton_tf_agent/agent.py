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
from collections.abc import Callable, Mapping

from . import __version__
from .domain.notification import Notification
from .domain.run import Patience
from .journal import Journal
from .observer import Observer
from .pipeline import Addressee, Pipeline, Rules, Told, proton_objection
from .relay import Relay
from .run_directories import RunDirectories
from .settings import Settings, SinkSettings
from .sinks import Sink, sink_type
from .sources.liveness import Boot, read_boot
from .sources.safe_open import SafeOpener
from .sources.watch import Watch, WatchedRoot
from .telemetry import Log, notify_systemd

_PROBE_S = 1.0
_HEAL_S = 5.0
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
        boot: Callable[[], Boot | None] = read_boot,
    ) -> None:
        self._settings = settings
        self._log = log
        self._clock = clock
        self._draw = draw
        self._boot = boot
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._rescan_asked = threading.Event()
        self._exit_code = 0
        self._problems: list[str] = []

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
                self._observer.look_at_open_runs()
                self._mourn(journal)
                self._observer.turn(rescan=True)
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
        opener = SafeOpener([root.path for root in roots])
        now = self._clock()
        born = {watch.path: 0.0 if watch.backfill else journal.first_seen(watch.path, now) for watch in settings.watch}

        def born_of(path: str) -> float:
            return born.get(opener.root_of(path) or "", 0.0)

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
        surroundings = RunDirectories(opener, settings)
        self._pipeline = Pipeline(journal, surroundings, addressees, rules, self._tell, relay.nudge)
        self._observer = Observer(
            opener, self._watch, self._pipeline, born_of, self._tell, self._clock, self._stopping.is_set
        )

    def _mourn(self, journal: Journal) -> None:
        """A run that was on when the machine was restarted is over, whatever it has left behind."""
        boot = self._boot()
        if boot is None:
            return
        if journal.boot_id() not in ("", boot.boot_id):
            self._pipeline.host_restarted(self._clock(), boot.at)
        journal.put_boot_id(boot.boot_id)

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
            wait = 0.0 if self._observer.has_backlog else min(due) - now
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
            self._observer.turn(rescan=rescan, tick=tick)
            now = time.monotonic()
            if rescan:
                rescan_at = now + self._until_rescan()
            if tick:
                probe_at = now + _PROBE_S

    def _until_rescan(self) -> float:
        """Seconds until everything is looked at again: less often where walking the tree is work, and with jitter, so
        that many agents on one host do not walk theirs in the same second."""
        rest = RESCAN_REST * self._observer.rescan_cost
        return max(self._settings.scan.rescan, rest) * (0.9 + 0.2 * self._draw())

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
