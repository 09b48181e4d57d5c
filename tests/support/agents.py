"""A running agent: in this process as a thread, or as a process of its own that can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from proton_tf_agent.agent import Agent
from proton_tf_agent.domain.run import Run
from proton_tf_agent.domain.values import replace
from proton_tf_agent.journal import Journal
from proton_tf_agent.settings import (
    AllowSettings,
    JournalSettings,
    RunSettings,
    Settings,
    SinkSettings,
    SpoolSettings,
    WatchSettings,
)
from proton_tf_agent.telemetry import Log

from .io_faults import IOFault

_LAUNCHER = str(Path(__file__).with_name("launch_agent.py"))
DEADLINE_S = 20.0

T = TypeVar("T")
Line = tuple[str, Mapping[str, Any]]


def settings_for(root: str, journal_path: str, endpoint_url: str, run: RunSettings | None = None) -> Settings:
    """An agent that watches one root and tells one Proton."""
    return Settings(
        journal=JournalSettings(journal_path, reserve=256 << 10),
        watch=(WatchSettings(root),),
        allow=AllowSettings(("arn:aws:proton:*",)),
        spool=SpoolSettings(f"{journal_path}.spool"),
        sink=(SinkSettings("proton", region="us-east-1", endpoint_url=endpoint_url),),
        run=run or RunSettings(settle=1.0, grace=0.2),
    )


class Heard(Log):
    """The agent's log, kept in memory; tests wait on it for what no receiver hears."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lines: list[Line] = []

    def tell(self, name: str, keys: Any = None) -> None:
        """Keep one line."""
        with self._changed:
            self._lines.append((name, dict(keys or {})))
            self._changed.notify_all()

    def lines(self) -> list[Line]:
        """Every line so far."""
        with self._changed:
            return list(self._lines)

    def wait_for(self, name: str, times: int = 1, **keys: object) -> list[Line]:
        """Wait until so many lines of that name and with these keys have been written; returns them."""
        wanted = keys.items()

        def found() -> list[Line]:
            lines = [line for line in self._lines if line[0] == name and wanted <= line[1].items()]
            return lines if len(lines) >= times else []

        with self._changed:
            lines = self._changed.wait_for(found, DEADLINE_S)
            assert lines, f"{name} {keys} was not logged {times} times; there is {self._lines}"
            return lines


class AgentThread:
    """An agent in a thread, from `with` until `stop`. It is ready when `with` begins."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log = Heard()
        self._agent = Agent(settings, self.log)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self.exit_code: int | None = None
        self._thread = threading.Thread(target=self._run, name="agent under test")

    def __enter__(self) -> AgentThread:
        self._thread.start()
        assert self._ready.wait(DEADLINE_S), "the agent did not become ready"
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it in order and see that it has gone well."""
        self._agent.stop()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), "the agent does not end"
        if self._failure is not None:
            raise self._failure
        failures = [line for line in self.log.lines() if line[0] == "agent.failed"]
        assert not failures, failures

    def _run(self) -> None:
        try:
            self.exit_code = self._agent.run(self._ready.set)
        except BaseException as error:  # shown by the thread that waits
            self._failure = error
        finally:
            self._ready.set()


class AgentProcess:
    """An agent as a process of its own, which may be killed at any instant."""

    def __init__(
        self,
        settings: Settings,
        directory: str,
        uid: int | None = None,
        fault: IOFault | None = None,
        tracer: Sequence[str] = (),
    ) -> None:
        document = msgspec.to_builtins(replace(settings, origins={}))
        self._stderr = open(f"{directory}/agent.log", "ab")  # noqa: SIM115 - open as long as the process
        self.process = subprocess.Popen(
            [*tracer, sys.executable, _LAUNCHER, json.dumps(document), *([] if uid is None else [str(uid)])],
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | (fault.environment() if fault else {}),
        )

    def wait_until_ready(self) -> bool:
        """Wait until its first look at everything is over; False when it ended before."""
        assert self.process.stdout is not None
        return self.process.stdout.readline() == b"ready\n"

    def fail(self) -> None:
        """Let its I/O fault begin; returns when it has, or when the agent has ended of it."""
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGUSR1)
        assert self.process.stdout.readline() in (b"failing\n", b"")

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.process.kill()
        self.gone()

    def stop(self) -> int:
        """SIGTERM; returns its exit code."""
        self.process.terminate()
        return self.gone()

    def gone(self, deadline_s: float = DEADLINE_S) -> int:
        """Its exit code, once it has ended by itself."""
        status = self.process.wait(deadline_s)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._stderr.close()
        return status


def runs_in(journal_path: str) -> list[Run]:
    """Every run in a journal, oldest first."""
    return with_journal(journal_path, lambda journal: [r.run for r in reversed(journal.runs(limit=1000))])


def with_journal(path: str, ask: Callable[[Journal], T]) -> T:
    """Ask a journal something, beside an agent that may hold it."""
    with Journal.open_existing(path) as journal:
        return ask(journal)
