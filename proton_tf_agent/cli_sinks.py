"""The commands about sinks: `sinks list|test|pause|resume`. They parse, call and print as `cli` does."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from .command_line import FAILED, add, complain, duration, emit, group, journal_of, reader_of, settings_of
from .domain.errors import Problem, UsageInvalid

if TYPE_CHECKING:
    from .settings import Settings, SinkSettings

_WAIT_S = 30.0


def _list(parsed: argparse.Namespace) -> int:
    from . import display_sinks
    from .sink_overview import rows

    settings = settings_of(parsed)
    with reader_of(parsed) as journal:
        listed = rows(settings, journal, time.time())
    emit(listed, parsed.json, display_sinks.sinks)
    return 0


def _test(parsed: argparse.Namespace) -> int:
    from . import display_sinks, settle
    from .sink_overview import trial_row
    from .sink_trial import try_sink

    settings = settings_of(parsed)
    named = _named(settings, parsed.sink)
    with journal_of(parsed) as journal:
        trial = try_sink(settings, journal, named, settle.who_decides(), time.time(), parsed.wait)
    row = trial_row(named, trial)
    emit([row], parsed.json, lambda rows: display_sinks.trial(rows[0]))
    return 0 if row["ok"] else FAILED


def _pause(parsed: argparse.Namespace) -> int:
    from . import display_sinks, settle
    from .journal import Pause

    named = _named(settings_of(parsed), parsed.sink)
    reason = settle.reason_given(parsed.reason, "say why, or leave it out") if parsed.reason is not None else ""
    with journal_of(parsed) as journal:
        with journal.transaction():
            before = journal.pauses().get(named.name)
            pause = before or Pause(time.time(), settle.who_decides(), reason)
            if before is None:
                journal.pause(named.name, pause)
        _tell_change(parsed, named.name, "was paused already" if before else "paused", pause, display_sinks.changed)
    return 0


def _resume(parsed: argparse.Namespace) -> int:
    from . import display_sinks
    from .journal_file import is_held

    with journal_of(parsed) as journal:
        with journal.transaction():
            before = journal.pauses().get(parsed.sink)
            if before is None:
                _named(settings_of(parsed), parsed.sink)
            journal.unpause(parsed.sink)
        _tell_change(parsed, parsed.sink, "resumed" if before else "was not paused", before, display_sinks.changed)
        if before and not is_held(journal.path):
            complain("no agent is running: what waits is sent when one starts")
    return 0


def _tell_change(parsed: argparse.Namespace, sink: str, outcome: str, pause: Any, draw: Any) -> None:
    from .moments import iso

    row = {
        "sink": sink, "outcome": outcome, "paused_since": iso(pause.since) if pause else None,
        "paused_by": pause.who if pause else None, "paused_because": (pause.reason or None) if pause else None,
    }  # fmt: skip
    emit([row], parsed.json, lambda rows: draw(rows[0]))


def _named(settings: Settings, name: str) -> SinkSettings:
    """The sink of that name; UsageInvalid when the settings name none like that."""
    found = next((sink for sink in settings.sink if sink.name == name), None)
    if found is None:
        hint = f"there is {', '.join(sink.name for sink in settings.sink) or 'none'}"
        raise UsageInvalid(Problem(f"no [[sink]] is named {name!r}", settings.path, hint))
    return found


# --- the parser ---------------------------------------------------------------------------------------------------


def add_commands(commands: Any, reading: list[argparse.ArgumentParser]) -> None:
    """Add the commands of this room. reading: the options of every command that reads the journal."""
    sinks = group(commands, "sinks", "who is told, and how that goes")
    add(sinks, "list", _list, "each sink: where to, what it is told, how it does", reading)
    tested = add(sinks, "test", _test, "tell one sink a marked test; exit code 1 when it does not arrive", reading)
    tested.add_argument("sink", metavar="NAME")
    wait = f"for how long a running agent is waited for; else {_WAIT_S:.0f}s"
    tested.add_argument("--wait", type=duration, default=_WAIT_S, metavar="TIME", help=wait)
    paused = add(sinks, "pause", _pause, "let nothing more leave for a sink; everything waits", reading)
    paused.add_argument("sink", metavar="NAME")
    paused.add_argument("--reason", metavar="TEXT", help="why; shown with your name")
    resumed = add(sinks, "resume", _resume, "let what waits for a paused sink go on", reading)
    resumed.add_argument("sink", metavar="NAME")
