"""The commands about how the agent does: `status`, `metrics` and `doctor`. They parse, call and print as `cli` does."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from .command_line import FAILED, add, complain, duration, emit, reader_of, settings_of

if TYPE_CHECKING:
    from .journal_reading import JournalReader
    from .status import Row

_WATCH_EVERY_S = 1.0


def _status(parsed: argparse.Namespace) -> int:
    from . import display_overview
    from .journal_file import is_held
    from .overview import overview

    if parsed.watch and not parsed.json and not sys.stdout.isatty():
        parsed.complain("--watch needs a terminal, or --json")
    with reader_of(parsed) as journal:
        if parsed.watch:
            _watch(journal, parsed.json)
        now = time.time()
        row = overview(journal, is_held(journal.path), now)
    emit([row], parsed.json, lambda rows: display_overview.overview(rows[0], now))
    return FAILED if _is_beyond(row, parsed) else 0


def _watch(journal: JournalReader, as_json: bool) -> None:
    """Show it again and again, until interrupted or nobody reads it any more."""
    from . import display_overview
    from .journal_file import is_held
    from .overview import overview

    if as_json:
        while True:
            emit([overview(journal, is_held(journal.path), time.time())], True)
            sys.stdout.flush()
            time.sleep(_WATCH_EVERY_S)
    with display_overview.full_screen() as show:
        while True:
            now = time.time()
            row = overview(journal, is_held(journal.path), now)
            show(lambda row=row, now=now: display_overview.overview(row, now))  # type: ignore[misc]
            time.sleep(_WATCH_EVERY_S)


def _is_beyond(row: Row, parsed: argparse.Namespace) -> bool:
    """Whether a limit is exceeded that a monitoring script has set; says so on stderr."""
    beyond = []
    if parsed.fail_on_lag is not None:
        if row["lag_s"] is None:
            beyond.append("no agent was ever heard of: how far it lags behind is unknown")
        elif row["lag_s"] > parsed.fail_on_lag:
            beyond.append(f"it lags {row['lag_s']:.0f} s behind, more than {parsed.fail_on_lag:.0f} s")
    if parsed.fail_on_parked and row["parked"]:
        beyond.append(f"{row['parked']} parked: see `proton-tf-agent journal list --parked`")
    for what in beyond:
        complain(f"proton-tf-agent: {what}")
    return bool(beyond)


def _metrics(parsed: argparse.Namespace) -> int:
    from .exposition import text
    from .journal_file import is_held
    from .overview import overview

    settings = settings_of(parsed)
    with reader_of(parsed) as journal:
        row = overview(journal, is_held(journal.path), time.time())
    sys.stdout.write(text(row, [sink.name for sink in settings.sink]).decode())
    return 0


def _doctor(parsed: argparse.Namespace) -> int:
    from dataclasses import asdict

    from . import display_overview
    from .doctor import Severity, examine, worst

    settings, found = settings_of(parsed), []
    for finding in examine(settings):
        found.append(finding)
        emit([asdict(finding)], parsed.json, lambda rows: display_overview.finding(rows[0]))
        sys.stdout.flush()
    if parsed.bundle is not None:
        from .bundle import write_bundle

        write_bundle(os.path.abspath(parsed.bundle), settings, found)
        complain(f"{parsed.bundle}: look into it before you pass it on")
    return FAILED if worst(found) is Severity.PROBLEM else 0


# --- the parser ---------------------------------------------------------------------------------------------------


def add_commands(commands: Any, reading: list[argparse.ArgumentParser]) -> None:
    """Add the commands of this room. reading: the options of every command that reads the journal."""
    purpose = "does it observe, does it deliver, what is open, what waits; works with the daemon down"
    status = add(commands, "status", _status, purpose, reading)
    status.add_argument("--watch", action="store_true", help="again and again, until interrupted")
    lag = "exit code 1 when something has waited for longer, or nothing was heard of the agent"
    status.add_argument("--fail-on-lag", type=duration, metavar="TIME", help=lag)
    status.add_argument("--fail-on-parked", action="store_true", help="exit code 1 when something is parked")
    status.set_defaults(complain=status.error)
    add(commands, "metrics", _metrics, "the numbers of `status` for Prometheus", reading[:1])
    purpose = "what is wrong around the agent, and what mends it; exit code 1 for a problem"
    doctor = add(commands, "doctor", _doctor, purpose, reading)
    doctor.add_argument("--bundle", metavar="FILE", help="write what is found and known to a new .tar.gz")
