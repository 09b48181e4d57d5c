"""The commands about the journal: `journal ...` and `replay`. They parse, call and print as `cli` does."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from .command_line import (
    FAILED,
    PARTLY_DONE,
    add,
    complain,
    duration,
    emit,
    group,
    journal_of,
    moment,
    pattern,
    positive,
    reader_of,
    settings_of,
)
from .domain.errors import AgentError, Problem, UsageInvalid
from .domain.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .journal import Journal
    from .replay import Addressee, Choice
    from .selection import Scope

_LISTED, _TAILED = 20, 10
_FOLLOW_EVERY_S = 0.5


def _list(parsed: argparse.Namespace) -> int:
    from . import display_journal, status
    from .domain.values import replace

    with reader_of(parsed) as journal:
        only_parked = parsed.parked or parsed.resolved
        scope = replace(_named(parsed), parked=only_parked, resolved=parsed.resolved)
        limit = parsed.limit or (None if only_parked else _LISTED)
        rows = status.entries_matching(journal, scope, parsed.grep, limit)
    draw = display_journal.parked if only_parked else display_journal.entries
    emit(rows[::-1] if parsed.reverse else rows, parsed.json, draw)
    return 0


def _named(parsed: argparse.Namespace) -> Scope:
    """Which entries are to be shown."""
    from .selection import Scope

    return Scope(
        resource_arn=parsed.resource, since=parsed.since, until=parsed.until, sink=parsed.sink, status=parsed.status
    )


def _show(parsed: argparse.Namespace) -> int:
    from . import display_journal, status
    from .selection import find_entries

    with reader_of(parsed) as journal:
        rows = status.entry_rows(journal, find_entries(journal, parsed.entry))
        if not rows:
            raise UsageInvalid(Problem(f"no entry {parsed.entry!r}", journal.path, "name it by seq or by id"))
        for row in rows:
            attempted = status.attempts(journal, row["seq"])
            if parsed.json:
                emit([{**row, "attempted": attempted}], True)
            else:
                display_journal.entry(row, attempted)
    return 0


def _tail(parsed: argparse.Namespace) -> int:
    from . import display_journal, status
    from .domain.values import replace

    with reader_of(parsed) as journal:
        scope, seen = _named(parsed), status.last_seq(journal)
        rows = status.entries_matching(journal, scope, parsed.grep, parsed.limit or _TAILED)
        emit(rows, parsed.json, display_journal.entries)
        sys.stdout.flush()
        seen = max([seen, *(row["seq"] for row in rows)])  # some may have come meanwhile
        while parsed.follow:
            time.sleep(_FOLLOW_EVERY_S)
            scope = replace(scope, after=seen)
            seen = status.last_seq(journal)
            rows = [row for row in status.entries_matching(journal, scope, parsed.grep) if row["seq"] <= seen]
            if rows:
                emit(rows, parsed.json, display_journal.entries)
                sys.stdout.flush()
    return 0


def _verify(parsed: argparse.Namespace) -> int:
    from dataclasses import asdict

    from . import display_journal
    from .journal_store import Store
    from .journal_verify import check

    found = 0
    with Store.open_to_verify(settings_of(parsed).journal.path) as journal:
        for finding in check(journal):
            found += 1
            emit([asdict(finding)], parsed.json, lambda rows: display_journal.finding(rows[0]))
        if not found and not parsed.json:
            print(printable(f"{journal.path}: sound"))
    return FAILED if found else 0


def _discard(parsed: argparse.Namespace) -> int:
    from . import discard, display_journal, settle, status

    who = settle.who_decides()
    reason = settle.reason_given(parsed.reason, "say why nobody needs to be told any more")
    with journal_of(parsed) as journal:
        done = discard.discard(journal, parsed.entry, f"{who}: {reason}", time.time())
        for one in done:
            (row,) = status.entry_rows(journal, [one.row])
            told = row | {"outcome": "refused" if one.refusal else "discarded", "refusal": one.refusal or None}
            emit([told], parsed.json, lambda rows: display_journal.discarded(rows[0]))
    refused = sum(bool(one.refusal) for one in done)
    return 0 if not refused else PARTLY_DONE if refused < len(done) else FAILED


def _backup(parsed: argparse.Namespace) -> int:
    from dataclasses import asdict

    from . import display_journal
    from .journal_store import Store
    from .journal_verify import check

    path = _new_file(parsed)
    with reader_of(parsed) as journal:
        journal.back_up(path)
    with Store.open_to_verify(path) as copy:
        findings = [asdict(finding) for finding in check(copy)]
    row = {"file": path, "bytes": os.stat(path).st_size, "findings": findings}
    emit([row], parsed.json, lambda rows: display_journal.backed_up(rows[0]))
    return FAILED if findings else 0


def _export(parsed: argparse.Namespace) -> int:
    from .export import Export
    from .journal_file import write_private_file
    from .selection import Scope, select

    path = _new_file(parsed) if parsed.file is not None else None
    scope = Scope(since=parsed.since, until=parsed.until, sink=parsed.sink, undelivered=parsed.undelivered)
    with reader_of(parsed) as journal:
        export = Export(journal, parsed.format)
        lines = export.lines(select(journal, scope))
        if path is not None:
            write_private_file(path, (f"{line}\n".encode("ascii") for line in lines))
        else:
            for line in lines:
                print(line)
    if export.damaged:
        complain(f"{export.damaged} entries are damaged on disk and were left out; see `journal verify`")
    return PARTLY_DONE if export.damaged else 0


def _new_file(parsed: argparse.Namespace) -> str:
    """Where a command writes to: no file that is there, unless that was asked for, and never the journal."""
    path: str = os.path.abspath(parsed.file)
    if os.path.realpath(path) == os.path.realpath(settings_of(parsed).journal.path):
        raise UsageInvalid(Problem("that is the journal itself", path))
    if os.path.lexists(path) and not parsed.force:
        raise AgentError(Problem("the file is there already", path, "--force replaces it"))
    return path


def _prune(parsed: argparse.Namespace) -> int:
    from dataclasses import asdict

    from . import display_journal
    from .journal import Journal
    from .journal_upkeep import Pruned
    from .moments import iso

    if parsed.older_than is None and not parsed.vacuum:
        parsed.complain("say what: --older-than, --vacuum or both")
    before = None if parsed.older_than is None else time.time() - parsed.older_than
    with journal_of(parsed) as journal:
        # Nobody can work on a journal that is written anew, so that is for who holds it alone.
        anew = parsed.vacuum and not parsed.dry_run
        with Journal.open_as_daemon(journal.path) if anew else nullcontext(journal) as kept:
            prune = kept.prunable if parsed.dry_run else kept.prune_all
            gone = Pruned() if before is None else prune(before)
            if anew:
                kept.vacuum()
            size = kept.size()
    outcome = "would be pruned" if parsed.dry_run else "pruned"
    row = {"outcome": outcome, "before": iso(before), **asdict(gone), "bytes": size, "vacuumed": anew}
    emit([row], parsed.json, lambda rows: display_journal.pruned(rows[0]))
    return 0


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
            _tell_choice(journal, choice, parsed.dry_run, parsed.json)
            refused += bool(choice.refusal)
            done += not choice.refusal
        if not done and not refused:
            carry = (
                f"; --from SINK --sink {parsed.sink} carries over what another sink never took" if parsed.sink else ""
            )
            complain(f"there is nothing like that to replay{'' if parsed.carried_from else carry}")
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
    from .assembly import addressee

    with addressee(settings_of(parsed), parsed.sink) as found:
        yield found


def _tell_choice(journal: Journal, choice: Choice, dry_run: bool, as_json: bool) -> None:
    from . import display_journal, status

    (row,) = status.entry_rows(journal, [choice.row])
    outcome = "refused" if choice.refusal else "would be replayed" if dry_run else "replayed"
    told = {
        "outcome": outcome, "refusal": choice.refusal or None, "replay_seq": choice.seq or None,
        "replay_sink": choice.sink,
    }  # fmt: skip
    if as_json:
        emit([row | told], True)
    else:
        display_journal.replayed(row | told, in_full=dry_run)


# --- the parser ---------------------------------------------------------------------------------------------------


def add_commands(commands: Any, reading: list[argparse.ArgumentParser]) -> None:
    """Add the commands of this room. reading: the options of every command that reads the journal."""
    journal = group(commands, "journal", "what was decided, sent and answered")
    listed = add(journal, "list", _list, "the last entries of the outbox", reading)
    _add_filters(listed, _LISTED)
    listed.add_argument("-r", "--reverse", action="store_true", help="the newest first")
    listed.add_argument("--parked", action="store_true", help="only what is refused for good, why, and what to do")
    listed.add_argument(
        "--resolved", action="store_true", help="the same, with those that a replay has delivered since"
    )
    shown = add(journal, "show", _show, "one entry and every attempt", reading)
    shown.add_argument("entry", metavar="ID|SEQ")
    tail = add(journal, "tail", _tail, "the last entries, and new ones as they come", reading)
    _add_filters(tail, _TAILED)
    tail.add_argument("-f", "--follow", action="store_true")

    add(journal, "verify", _verify, "look for rot and contradictions in every row", reading)
    copied = add(journal, "backup", _backup, "a copy of the whole journal, made beside an agent and verified", reading)
    copied.add_argument("file", metavar="FILE")
    copied.add_argument("--force", action="store_true", help="replace FILE")
    exported = add(journal, "export", _export, "the outbox as lines of text, whole and in order", reading[:1])
    exported.add_argument("--format", choices=("jsonl", "cloudevents"), default="jsonl")
    exported.add_argument("--sink", metavar="NAME", help="only what this sink is told")
    exported.add_argument("--undelivered", action="store_true", help="only what is parked or still waits")
    _add_window(exported)
    exported.add_argument("--force", action="store_true", help="replace FILE")
    exported.add_argument("file", nargs="?", metavar="FILE", help="instead of stdout")
    pruned = add(journal, "prune", _prune, "let go of runs that are over and of which all was told", reading)
    pruned.add_argument("--older-than", type=duration, metavar="TIME", help="that were over so long ago: 30d")
    pruned.add_argument("--dry-run", action="store_true", help="count what would go")
    pruned.add_argument("--vacuum", action="store_true", help="make the file smaller, too; no agent may be running")
    pruned.set_defaults(complain=pruned.error)
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


def _add_filters(parser: argparse.ArgumentParser, limit: int) -> None:
    """What journalctl(1) has for its lines, by the same letters."""
    parser.add_argument("-n", "--limit", type=positive, metavar="N", help=f"the last N; else {limit}")
    parser.add_argument("-g", "--grep", type=pattern, metavar="PATTERN", help="only in whose words it is found")
    parser.add_argument("--resource", metavar="ARN", help="only about this resource: its ARN, or name or run directory")
    parser.add_argument("--sink", metavar="NAME", help="only to this sink")
    parser.add_argument("--status", choices=("IN_PROGRESS", "SUCCEEDED", "FAILED"), help="only what tells this")
    _add_window(parser)


def _add_scope(parser: argparse.ArgumentParser) -> None:
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--id", metavar="ID|SEQ", help="one notification")
    scope.add_argument("--run", metavar="RUN", help="everything told about a run")
    scope.add_argument("--parked", action="store_true", help="what was refused for good, and is not resolved")
    scope.add_argument("--undelivered", action="store_true", help="what is parked or still waits")
    scope.add_argument("--all", action="store_true", help="everything in the journal")
    parser.add_argument("--resource", metavar="ARN", help="only about this resource: its ARN, or name or run directory")
    _add_window(parser)


def _add_window(parser: argparse.ArgumentParser) -> None:
    form = "an ISO 8601 date or time, or so long before now: 2h, 3d"
    parser.add_argument("--since", type=moment, metavar="TIME", help=f"only what was written from then on; {form}")
    parser.add_argument("--until", type=moment, metavar="TIME", help="only what was written before")
