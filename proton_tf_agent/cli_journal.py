"""The commands about the journal: `journal ...` and `replay`. They parse, call and print as `cli` does."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .command_line import FAILED, PARTLY_DONE, add, complain, emit, group, journal_of, moment, positive, settings_of
from .domain.errors import Problem, UsageInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .replay import Addressee, Choice


def _list(parsed: argparse.Namespace) -> int:
    from . import display, status

    with journal_of(parsed) as journal:
        emit(status.entries(journal, parsed.limit, parsed.parked), parsed.json, display.entries)
    return 0


def _show(parsed: argparse.Namespace) -> int:
    from . import display, status
    from .selection import find_entries

    with journal_of(parsed) as journal:
        rows = status.entry_rows(find_entries(journal, parsed.entry))
        if not rows:
            raise UsageInvalid(Problem(f"no entry {parsed.entry!r}", journal.path, "name it by seq or by id"))
        for row in rows:
            attempted = status.attempts(journal, row["seq"])
            if parsed.json:
                emit([{**row, "attempted": attempted}], True)
            else:
                display.entry(row, attempted)
    return 0


def _tail(parsed: argparse.Namespace) -> int:
    from . import display, status

    with journal_of(parsed) as journal:
        rows = status.entries(journal, parsed.limit)
        seen = rows[-1]["seq"] if rows else 0
        emit(rows, parsed.json, display.entries)
        sys.stdout.flush()
        while parsed.follow:
            time.sleep(0.5)
            rows = status.entries_after(journal, seen)
            if rows:
                seen = rows[-1]["seq"]
                emit(rows, parsed.json, display.entries)
                sys.stdout.flush()
    return 0


def _verify(parsed: argparse.Namespace) -> int:
    from . import display
    from .journal_store import Store
    from .journal_verify import check

    found = 0
    with Store.open_to_verify(settings_of(parsed).journal.path) as journal:
        for finding in check(journal):
            found += 1
            emit([asdict(finding)], parsed.json, lambda rows: display.finding(rows[0]))
        if not found and not parsed.json:
            print(f"{journal.path}: sound")
    return FAILED if found else 0


def _discard(parsed: argparse.Namespace) -> int:
    from . import discard, display, settle, status

    who = settle.who_decides()
    reason = settle.reason_given(parsed.reason, "say why nobody needs to be told any more")
    with journal_of(parsed) as journal:
        done = discard.discard(journal, parsed.entry, f"{who}: {reason}", time.time())
        for one in done:
            (row,) = status.entry_rows([one.row])
            told = row | {"outcome": "refused" if one.refusal else "discarded", "refusal": one.refusal or None}
            emit([told], parsed.json, lambda rows: display.discarded(rows[0]))
    refused = sum(bool(one.refusal) for one in done)
    return 0 if not refused else PARTLY_DONE if refused < len(done) else FAILED


# --- replay -------------------------------------------------------------------------------------------------------


def _replay(parsed: argparse.Namespace) -> int:
    from . import replay
    from .journal_file import is_held
    from .selection import Scope

    _check_scope(parsed)
    scope = Scope(
        notification=parsed.id, run_id=parsed.run, resource_arn=parsed.resource, since=parsed.since,
        until=parsed.until, parked=parsed.parked, undelivered=parsed.undelivered, everything=parsed.all,
        sink=parsed.carried_from or parsed.sink,
    )  # fmt: skip
    with journal_of(parsed) as journal, _addressee(parsed) as addressee:
        terms: dict[str, Any] = {"addressee": addressee, "force": parsed.force}
        choices: Iterable[Choice] = replay.choose(journal, scope, **terms)
        if not parsed.dry_run:
            choices = replay.append(journal, choices, time.time(), **terms)
        done = refused = 0
        for choice in choices:
            _tell_choice(choice, parsed.dry_run, parsed.json)
            refused += bool(choice.refusal)
            done += not choice.refusal
        if not done and not refused:
            complain("there is nothing like that to replay")
        if done and not parsed.dry_run and not is_held(journal.path):
            complain("no agent is running: what was replayed is sent when one starts")
    if refused and not parsed.force:
        complain("refused entries can be replayed with --force")
    return 0 if not refused else PARTLY_DONE if done else FAILED


def _check_scope(parsed: argparse.Namespace) -> None:
    """What argparse cannot say: filters do not narrow what is named, and what is carried over goes somewhere else."""
    filters = any(given is not None for given in (parsed.resource, parsed.since, parsed.until))
    if filters and (parsed.id is not None or parsed.run is not None):
        parsed.complain("--resource, --since and --until narrow neither --id nor --run")
    if not filters and not (parsed.id is not None or parsed.run is not None or _by_state(parsed)):
        parsed.complain("say what: --id, --run, --resource, --since, --until, --parked, --undelivered or --all")
    if parsed.carried_from is not None and parsed.sink in (None, parsed.carried_from):
        parsed.complain("--from SINK needs --sink OTHER: who is told instead")


def _by_state(parsed: argparse.Namespace) -> bool:
    return bool(parsed.parked or parsed.undelivered or parsed.all)


@contextmanager
def _addressee(parsed: argparse.Namespace) -> Iterator[Addressee | None]:
    if parsed.carried_from is None:
        yield None
        return
    from .agent import addressee

    with addressee(settings_of(parsed), parsed.sink) as found:
        yield found


def _tell_choice(choice: Choice, dry_run: bool, as_json: bool) -> None:
    from . import display, status

    (row,) = status.entry_rows([choice.row])
    outcome = "refused" if choice.refusal else "would be replayed" if dry_run else "replayed"
    told = {
        "outcome": outcome, "refusal": choice.refusal or None, "replay_seq": choice.seq or None,
        "replay_sink": choice.sink,
    }  # fmt: skip
    if as_json:
        emit([row | told], True)
    else:
        display.replayed(row | told, in_full=dry_run)


# --- the parser ---------------------------------------------------------------------------------------------------


def add_commands(commands: Any, reading: list[argparse.ArgumentParser]) -> None:
    """Add the commands of this room. reading: the options of every command that reads the journal."""
    journal = group(commands, "journal", "what was decided, sent and answered")
    listed = add(journal, "list", _list, "the last entries of the outbox", reading)
    listed.add_argument("--limit", type=positive, default=20, metavar="N")
    listed.add_argument("--parked", action="store_true", help="only entries a sink refuses for good")
    shown = add(journal, "show", _show, "one entry and every attempt", reading)
    shown.add_argument("entry", metavar="ID|SEQ")
    tail = add(journal, "tail", _tail, "the last entries, and new ones as they come", reading)
    tail.add_argument("--limit", type=positive, default=10, metavar="N")
    tail.add_argument("-f", "--follow", action="store_true")

    add(journal, "verify", _verify, "look for rot and contradictions in every row", reading)
    discarded = add(journal, "discard", _discard, "give up entries: they are kept, and never sent", reading)
    discarded.add_argument("entry", nargs="+", metavar="ID|SEQ")
    discarded.add_argument("--reason", required=True, metavar="TEXT", help="why; kept with your name")

    replayed = add(commands, "replay", _replay, "send again what the journal holds", reading)
    _add_scope(replayed)
    replayed.add_argument("--sink", metavar="NAME", help="only to this sink; with --from: who is told instead")
    replayed.add_argument(
        "--from", dest="carried_from", metavar="SINK", help="carry the entries of SINK over to the sink of --sink"
    )
    replayed.add_argument("--dry-run", action="store_true", help="show what would be sent, to the letter")
    replayed.add_argument("--force", action="store_true", help="also what a later status has overtaken")
    replayed.set_defaults(complain=replayed.error)


def _add_scope(parser: argparse.ArgumentParser) -> None:
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--id", metavar="ID|SEQ", help="one notification")
    scope.add_argument("--run", metavar="RUN", help="everything told about a run")
    scope.add_argument("--parked", action="store_true", help="what was refused for good, and is not resolved")
    scope.add_argument("--undelivered", action="store_true", help="what is parked or still waits")
    scope.add_argument("--all", action="store_true", help="everything in the journal")
    parser.add_argument("--resource", metavar="ARN", help="only about this resource")
    _add_window(parser)


def _add_window(parser: argparse.ArgumentParser) -> None:
    form = "an ISO 8601 date or time, or so long before now: 2h, 3d"
    parser.add_argument("--since", type=moment, metavar="TIME", help=f"only what was written from then on; {form}")
    parser.add_argument("--until", type=moment, metavar="TIME", help="only what was written before")
