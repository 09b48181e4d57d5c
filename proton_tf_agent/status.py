"""The read model behind runs, journal and explain: it reads the journal and nothing else. `overview` builds on it.

Every function returns plain rows (dicts of JSON types) whose keys are a written contract (docs/commands.md): keys may
be added, none changes its meaning. Times are ISO 8601 in UTC.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import structs

from .domain.binding import Binding, is_resource_arn
from .domain.errors import Problem, UsageInvalid
from .domain.explanations import explain as explain_failure
from .domain.refusals import refusal_row
from .domain.run import Basis, Run, remedies
from .domain.terms import ACTIVE, EntryState, OutcomeKind
from .domain.values import Struct
from .journal_reading import JournalReader, JournalRow, Recorded, is_damaged, notification_of
from .moments import iso
from .selection import Scope, find_entries, select

Row = dict[str, Any]
_KINDS = frozenset(OutcomeKind)


def run_rows(journal: JournalReader, limit: int, directory: str | None = None) -> list[Row]:
    """The newest runs, newest first."""
    return [run_row(journal, recorded) for recorded in journal.runs(limit, directory)]


def run_row(journal: JournalReader, recorded: Recorded) -> Row:
    """One run as a row of `runs list --json`."""
    run, binding = recorded.run, recorded.binding
    bound = binding if isinstance(binding, Binding) else None
    return {
        "run_id": run.run_id,
        "directory": run.directory,
        "workspace": run.workspace,
        "operation": run.operation.value if run.operation else None,
        "status": run.status.value,
        "reason": run.reason,
        "basis": run.basis.name.lower() if run.basis else None,
        "settled_by": run.decision.who if run.decision and run.basis is Basis.DECISION else None,
        "resource_arn": bound.resource_arn if bound else None,
        "deployment_id": bound.deployment_id if bound else None,
        "name": bound.name if bound else None,
        "unbound_reason": None if isinstance(binding, Binding) else binding.reason,
        "refusal": None if isinstance(binding, Binding) else refusal_row(binding.reason),
        "historic": run.historic,
        "silence": recorded.silence or None,
        "would_settle": list(remedies(run)),
        "awaits_approval_since": _awaits_approval_since(journal, run),
        "planned": run.plan.total if run.plan else run.planned,
        "applied": run.applied,
        "errors": run.errors,
        "log": run.log_path or None,
        **_wrapped(run),
        "told": _told(journal, run),
        "left_out": [{"sink": sink, "reason": reason} for sink, reason in run.left_out],
        "last_evidence_at": iso(journal.query("last_evidence", run_id=run.run_id)[0]["at"]),
        "started_at": iso(run.started_at),
        "ended_at": iso(run.ended_at),
    }


def _wrapped(run: Run) -> Row:
    """What a wrapper has recorded; all null where there was none."""
    wrapped = run.wrapped
    job = wrapped.job if wrapped else None
    return {
        "command": list(wrapped.command) if wrapped else None,
        "exit_status": wrapped.exit_status if wrapped and not wrapped.exit_signal else None,
        "exit_signal": wrapped.exit_signal or None if wrapped else None,
        "job": {name: value or None for name, value in structs.asdict(job).items()} if job else None,
    }


def _told(journal: JournalReader, run: Run) -> list[Row]:
    """What each sink was told of it last, and what became of that."""
    keys = ("sink", "status", "state", "attempts", "seq")
    return [{key: row[key] for key in keys} for row in journal.query("last_told", run_id=run.run_id)]


def _awaits_approval_since(journal: JournalReader, run: Run) -> str | None:
    if not (run.is_open and run.awaits_approval):
        return None
    from .domain.evidence import ApprovalAwaited

    return iso(journal.query("last_of_kind", run_id=run.run_id, kind=ApprovalAwaited.__name__)[0]["at"])


def entry_rows(journal: JournalReader, rows: Iterable[JournalRow]) -> list[Row]:
    """Outbox rows as rows of `journal list --json`."""
    return [_entry_row(journal, row) for row in rows]


def _entry_row(journal: JournalReader, row: JournalRow) -> Row:
    notification = None if is_damaged(row) else notification_of(row["body"])
    return {
        "id": row["notification_id"],
        "seq": row["seq"],
        "run_id": row["run_id"],
        "sink": row["sink"],
        "subject": row["resource_arn"],
        "resource_arn": row["resource_arn"] if is_resource_arn(row["resource_arn"]) else None,
        "deployment_id": row["deployment_id"],
        "status": row["status"],
        "status_message": notification.status_message if notification else "(damaged on disk)",
        "outputs": dict(notification.outputs) if notification else {},
        "omitted": dict(notification.omitted) if notification else {},
        "state": row["state"],
        "attempts": row["attempts"],
        "reason": row["reason"],
        "due_at": iso(row["due_at"]) if row["state"] in ACTIVE else None,
        "created_at": iso(row["created_at"]),
        "settled_at": iso(row["settled_at"]),
        "superseded_by": row["superseded_by"],
        "replay_of": row["replay_of"],
        **_trouble(journal, row),
    }


def _trouble(journal: JournalReader, row: JournalRow) -> Row:
    """What keeps an entry from being told, or has; what that means, what to do, and what has resolved it since."""
    failing = OutcomeKind(row["failing"]) if row["failing"] in _KINDS else None
    stuck = row["state"] in (EntryState.PARKED, EntryState.RETRYABLE) and (failing or row["state"] == EntryState.PARKED)
    why = explain_failure(failing, row["reason"], row["attempts"]) if stuck else None
    resolved = journal.query("resolved_by", seq=row["seq"]) if row["state"] == EntryState.PARKED else []
    return {
        "failing": failing.value if failing else None,
        "times": row["times"],
        "waited_s": round(row["waited"], 1),
        "reduced": bool(row["reduced"]),
        "suspect": bool(row["suspect"]),
        "reassertion": bool(row["reassertion"]),
        "means": why.means if why else None,
        "remedy": why.remedy if why else None,
        "resolved_by": dict(resolved[0]) if resolved else None,
    }


def entries(journal: JournalReader, limit: int) -> list[Row]:
    """The last entries of the outbox in the order of their seq."""
    return entry_rows(journal, journal.query("last_entries", limit=limit))


def last_seq(journal: JournalReader) -> int:
    """The seq of the newest entry; 0 without any."""
    newest = journal.query("last_entries", limit=1)
    return int(newest[0]["seq"]) if newest else 0


def entries_matching(
    journal: JournalReader, scope: Scope, pattern: re.Pattern[str] | None = None, limit: int | None = None
) -> list[Row]:
    """The last entries, at most `limit`, that a scope names and in whose words a pattern is found (`words_of`)."""
    if pattern is None and scope == Scope() and limit is not None:
        return entries(journal, limit)
    if pattern is None:
        return entry_rows(journal, deque(select(journal, scope), limit))
    rows = (row for entry in select(journal, scope) for row in entry_rows(journal, [entry]))
    return list(deque((row for row in rows if pattern.search(words_of(row))), limit))


def words_of(row: Row) -> str:
    """What there is to read in an entry: whom it is about, what it says, why it is as it is."""
    keys = ("subject", "deployment_id", "run_id", "sink", "status", "status_message", "state", "reason", "means")
    return "\n".join(str(row[key]) for key in keys if row[key])


def entries_since(journal: JournalReader, run_id: str, at: float) -> list[Row]:
    """What was enqueued about a run from a moment on, oldest first."""
    rows = (row for row in journal.query("entries_of_run", run_id=run_id) if row["created_at"] >= at)
    return entry_rows(journal, rows)


def attempts(journal: JournalReader, seq: int) -> list[Row]:
    """Every request made for an entry, oldest first."""
    return [
        {
            **dict(row),
            "started_at": iso(row["started_at"]),
            "finished_at": iso(row["finished_at"]),
            "ambiguous": bool(row["ambiguous"]),
        }
        for row in journal.query("attempts_of_entry", seq=seq)
    ]


class Story(Struct, frozen=True):
    """A run from evidence to delivery."""

    run: Row
    evidence: list[Row]
    entries: list[Row]

    def row(self) -> Row:
        """As one JSON object."""
        return {"run": self.run, "evidence": self.evidence, "notifications": self.entries}


def story(journal: JournalReader, run_id: str) -> Story | None:
    """Why a run has its status, and what became of what was told about it."""
    from .domain.transitions import rows_behind

    recorded = journal.run(run_id)
    if recorded is None:
        return None
    evidence = [
        {
            "at": iso(row["at"]), "source": row["source"], "path": row["path"] or None, "position": row["position"],
            "evidence": row["kind"], "fields": msgspec.json.decode(row["fields"]), "status": row["status"],
            "reason": row["reason"], "rows": list(rows_behind(row["status"], row["reason"], row["kind"])),
        }
        for row in journal.evidence_of(run_id)
    ]  # fmt: skip
    told = entry_rows(journal, journal.query("entries_of_run", run_id=run_id))
    for entry in told:
        entry["attempted"] = attempts(journal, entry["seq"])
    return Story(run_row(journal, recorded), evidence, told)


def explain(journal: JournalReader, wanted: str) -> list[Story]:
    """The stories behind a run id, a notification (id or seq) or a directory (its five newest runs, maybe none)."""
    if wanted.startswith("/"):
        found = [story(journal, r.run.run_id) for r in journal.runs(5, wanted.rstrip("/") or "/")]
    elif wanted.startswith("run-"):
        found = [story(journal, wanted)]
    else:
        found = [story(journal, run_id) for run_id in {row["run_id"] for row in find_entries(journal, wanted)}]
    stories = [s for s in found if s is not None]
    if not stories and not wanted.startswith("/"):
        hint = "see `runs list` and `journal list`; a directory is named by its absolute path"
        raise UsageInvalid(Problem(f"nothing is known of {wanted!r}", journal.path, hint))
    return stories
