"""The journal: cursors, runs, evidence, the outbox and every attempt, in one SQLite file (`journal_store`).

Everything that belongs together commits together (`transaction`), so a crash between any two steps leaves either
all of it or nothing. What is decided about an entry is the domain's; here it is kept.

Over 400 lines because every write of cursors, runs and outbox belongs together here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from .domain.binding import Binding, Unbound
from .domain.circuit import Circuit
from .domain.cursors import Cursor
from .domain.notification import Notification, Status
from .domain.outbox import Entry, EntryState, Outcome, OutcomeKind, Trouble
from .domain.retry import REASSERT_AFTER_S, Settled
from .domain.run import RunStatus, Transition
from .domain.values import Struct
from .journal_reading import JournalReader, Pause, Recorded, is_damaged, notification_of
from .journal_reserve import Part
from .journal_store import SCHEMA_VERSION, JournalRow, checksum_of
from .journal_upkeep import Upkeep

if TYPE_CHECKING:
    from .domain.evidence import Fact

__all__ = [
    "SCHEMA_VERSION", "Head", "Journal", "JournalRow", "Part", "Pause", "Recorded", "is_damaged", "notification_of",
]  # fmt: skip

_PLANS = (RunStatus.PLANNING, RunStatus.PLANNED, RunStatus.PLANNED_AND_FINISHED)
_SETTLED = (EntryState.PARKED, EntryState.SUPERSEDED, EntryState.SHADOWED)
_LAST_WORDS = (EntryState.DELIVERED, EntryState.PARKED)  # states in which a line's last word may need to be said again

_decode_cursor = msgspec.json.Decoder(Cursor).decode
_encode = msgspec.json.encode


class Head(Struct, frozen=True):
    """The first active entry of a line. sending: its attempt has begun. due_at is a wall-clock second until which it
    waits; failing: what it failed with last."""

    seq: int
    sink: str
    line: str
    sending: bool
    due_at: float | None
    failing: OutcomeKind | None


class Journal(JournalReader, Upkeep):
    """An open journal, to be read and written; see `Store` for how it is opened."""

    # --- meta and cursors --------------------------------------------------------------------------------

    def first_seen(self, root: str, now: float) -> float:
        """When this journal first heard of a watch root; now, if it is new."""
        key = f"first_seen:{root}"
        value = repr(now)
        if self.commit(lambda: self._do("put_meta_once", key=key, value=value).rowcount, Part.EVIDENCE):
            self.remember(first_seen=self.memory().first_seen | {root: now})
        row = self._one("meta", key=key)
        return float(row["value"]) if row else now

    def boot_id(self) -> str:
        """The machine's boot in which this journal was last worked on; empty when none was kept."""
        row = self._one("meta", key="boot_id")
        return str(row["value"]) if row else ""

    def put_boot_id(self, boot_id: str) -> None:
        """Keep the machine's present boot."""
        self.commit(lambda: self._do("put_meta", key="boot_id", value=boot_id), Part.EVIDENCE)

    def cursors(self) -> dict[str, Cursor]:
        """Every cursor by path."""
        return {cursor.path: cursor for (body,) in self._all("cursors") for cursor in (_decode_cursor(body),)}

    def put_cursor(self, cursor: Cursor) -> None:
        """Advance a cursor."""
        self._do("put_cursor", path=cursor.path, body=_encode(cursor))

    def forget_cursor(self, path: str) -> None:
        """Drop the cursor of a file that is gone."""
        self._do("forget_cursor", path=path)

    # --- runs and evidence -------------------------------------------------------------------------------

    def put_run(self, recorded: Recorded) -> None:
        """Write a run as it stands now. To the index of what is not over, a run whose verdict waits is open."""
        run, binding = recorded.run, recorded.binding
        bound = binding if isinstance(binding, Binding) else None
        self._do(
            "put_run",
            run_id=run.run_id, directory=run.directory, workspace=run.workspace, status=run.status.value,
            started_at=run.started_at, ended_at=None if run.verdict else run.ended_at,
            anchor=run.anchor, lock_id=run.lock_id, record_id=run.wrapped.record_id if run.wrapped else "",
            resource_arn=bound.resource_arn if bound else None,
            deployment_id=bound.deployment_id if bound else None,
            binding=_encode(bound) if bound else None,
            unbound_reason=binding.reason if isinstance(binding, Unbound) else "",
            silence=recorded.silence, body=_encode(run),
        )  # fmt: skip

    def delete_run(self, run_id: str) -> None:
        """Forget what turned out to be no run."""
        self._do("delete_evidence_of_run", run_id=run_id)
        self._do("delete_run", run_id=run_id)

    def is_old_deployment(self, resource_arn: str, deployment_id: str) -> bool:
        """Whether a deployment had ended before a newer one of its resource was told for the first time."""
        return self._one("newer_deployment", resource_arn=resource_arn, deployment_id=deployment_id) is not None

    def put_evidence(
        self, run_id: str, source: str, path: str, fact: Fact, made: Transition | None, now: float
    ) -> None:
        """Keep a fact for `explain`, with where it stands in its log and the transition it made."""
        evidence = fact.evidence
        row = self._do(
            "put_evidence",
            run_id=run_id, at=now, source=source, path=path, position=fact.position,
            kind=type(evidence).__name__, fields=_encode(evidence),
            status=made.status.value if made else None, reason=made.reason if made else None,
        ).lastrowid  # fmt: skip
        self._do("seal_evidence", id=row)

    def last_seen(self, run_id: str, *kinds: type) -> float | None:
        """When facts of these kinds were last noted of a run; None when none was."""
        found = (self._one("last_of_kind", run_id=run_id, kind=kind.__name__) for kind in kinds)
        return max((row["at"] for row in found if row and row["at"] is not None), default=None)

    # --- the outbox --------------------------------------------------------------------------------------

    def enqueue(
        self,
        notification: Notification,
        sink: str,
        now: float,
        objection: str = "",
        was_over: Callable[[str], bool] = lambda _later: True,
        shadow: bool = False,
    ) -> tuple[int, list[str]]:
        """Add a notification for a sink, unless it is there already; call inside a transaction.

        On an idle line the daemon's entry is written as `sending` at once: one commit between disk and wire. objection
        parks it; what is not sent supersedes nothing. was_over: whether the run was over when another began, by its id.
        Once a run that began then has told its end, what the earlier run has to say is kept as superseded; so is what
        a plan has to say of a deployment whose end was told since the plan began. shadow: it is kept as what the sink
        would have been told, and never sent. Returns the seq of a new entry that was not superseded (0 when there is
        none) and the notifications that were superseded.
        """
        if self._one("notification_exists", notification_id=notification.notification_id, sink=sink):
            return 0, []
        line = {"sink": sink, "resource_arn": notification.subject}
        ends = self._all(
            "overtaken_by", **line, run_id=notification.run_id, deployment_id=notification.deployment_id,
            run_started_at=notification.run_started_at, plans=notification.run_status in _PLANS, now=now,
        )  # fmt: skip
        later = next((row for row in ends if row["done"] or was_over(row["run_id"])), None)
        if later:
            superseded = EntryState.SUPERSEDED
            self._insert_entry(notification, sink, superseded, now, "superseded", superseded_by=later["seq"])
            return 0, [notification.notification_id]
        if shadow:
            return self._insert_entry(notification, sink, EntryState.SHADOWED, now, objection or "shadow"), []
        # Who does not hold the journal sends nothing: the daemon does, at its next tick or when it starts.
        idle = self._hold is not None and not objection and not self._one("line_is_busy", **line)
        state = EntryState.PARKED if objection else EntryState.SENDING if idle else EntryState.PENDING
        seq = self._insert_entry(notification, sink, state, now, objection)
        if idle:
            self._put_attempt(seq, now)
        if objection:
            return seq, []
        self._withdraw_reassertions(sink, notification.subject, seq, now)
        earlier = self._all(
            "supersede", **line, seq=seq, now=now, deployment_id=notification.deployment_id,
            run_started_at=notification.run_started_at,
        )  # fmt: skip
        self._seal_entries(earlier)
        return seq, [row["notification_id"] for row in earlier]

    def known_as(self, run_id: str, sink: str) -> str | None:
        """The subject by which a sink has heard of a run; None when it has not."""
        row = self._one("known_as", run_id=run_id, sink=sink)
        return str(row["resource_arn"]) if row else None

    def told_before(self, notification: Notification) -> Status | None:
        """The terminal status that was last told of a subject before a notification, to whichever sink."""
        row = self._one("told_before", resource_arn=notification.subject, notification_id=notification.notification_id)
        return Status(row["status"]) if row else None

    def replay(self, original: JournalRow, now: float, sink: str = "") -> int:
        """Append a new entry with the same content behind everything its line holds; returns its seq.

        sink: who is told it; empty: who was told the original.
        """
        with self.transaction():
            notification = notification_of(original["body"])
            seq = self._insert_entry(
                notification, sink or original["sink"], EntryState.PENDING, now, "replayed",
                replay_of=original["replay_of"] or original["seq"], body=original["body"],
            )  # fmt: skip
            self._withdraw_reassertions(sink or original["sink"], notification.subject, seq, now)
            return seq

    def _insert_entry(
        self,
        notification: Notification,
        sink: str,
        state: EntryState,
        now: float,
        reason: str,
        *,
        due_at: float | None = None,
        superseded_by: int | None = None,
        replay_of: int | None = None,
        reassertion: bool = False,
        body: bytes | None = None,  # as an older agent has written it
    ) -> int:
        body = _encode(notification) if body is None else body
        seq = self._do(
            "enqueue",
            notification_id=notification.notification_id, run_id=notification.run_id, sink=sink,
            resource_arn=notification.subject, deployment_id=notification.deployment_id,
            status=notification.status.value, body=body, checksum=checksum_of(body), state=state.value,
            attempts=int(state is EntryState.SENDING), due_at=now if due_at is None else due_at, reason=reason,
            created_at=now, run_started_at=notification.run_started_at,
            settled_at=now if state in _SETTLED else None, superseded_by=superseded_by, replay_of=replay_of,
            reassertion=reassertion,
        ).lastrowid  # fmt: skip
        assert seq is not None  # noqa: S101 - an INSERT that returned has one
        self._do("seal_entry", seq=seq)
        return seq

    def _put_attempt(self, seq: int, now: float) -> None:
        self._do("seal_attempt", id=self._do("put_attempt", seq=seq, started_at=now).lastrowid)

    def _seal_entries(self, rows: Collection[JournalRow]) -> None:
        for row in rows:
            self._do("seal_entry", seq=row["seq"])

    def _seal_attempts(self, rows: Collection[JournalRow]) -> None:
        for row in rows:
            self._do("seal_attempt", id=row["id"])

    def _withdraw_reassertions(self, sink: str, line: str, seq: int, now: float) -> None:
        self._seal_entries(self._all("withdraw_reassertions", sink=sink, resource_arn=line, seq=seq, now=now))

    # --- delivery ----------------------------------------------------------------------------------------

    def heads(self, sinks: Collection[str]) -> list[Head]:
        """The first active entry of every line to one of the sinks, oldest first, whether due or not.

        Entries for a sink that the settings no longer name stay as they are.
        """
        return [
            Head(
                row["seq"],
                row["sink"],
                row["resource_arn"],
                bool(row["sending"]),
                row["waits_until"],
                OutcomeKind(row["failing"]) if row["failing"] else None,
            )
            for row in self._all("heads", sinks=_encode(list(sinks)).decode())
        ]

    def entry(self, seq: int, now: float) -> Entry | None:
        """An entry to be sent. One whose body is not what was written is parked, and None returned."""
        row = self._one("entry", seq=seq)
        if row is None:
            return None
        if is_damaged(row):
            self.commit(partial(self._park_damaged, seq, now), Part.DELIVERIES)
            return None
        trouble = Trouble(OutcomeKind(row["failing"]), row["times"], row["waited"]) if row["failing"] else None
        return Entry(
            seq, row["sink"], notification_of(row["body"]), EntryState(row["state"]), row["attempts"], trouble,
            bool(row["reduced"]), bool(row["suspect"]), row["replay_of"], bool(row["reassertion"]),
        )  # fmt: skip

    def _park_damaged(self, seq: int, now: float) -> None:
        self._do("park_damaged", seq=seq, now=now)
        self._do("seal_entry", seq=seq)

    def begin_attempt(self, seq: int, now: float) -> bool:
        """Commit that a request is about to leave; False when its entry has been superseded meanwhile."""
        with self.transaction():
            if not self._do("begin_attempt", seq=seq).rowcount:
                return False
            self._do("seal_entry", seq=seq)
            self._put_attempt(seq, now)
            return True

    def withdraw_attempt(self, seq: int) -> None:
        """Commit that a request that was about to leave will wait: its sink is held up, or has enough to do."""
        with self.transaction():
            if self._do("withdraw", seq=seq).rowcount:
                self._do("seal_entry", seq=seq)
                self._do("withdraw_attempt", seq=seq)

    def finish_attempt(
        self, seq: int, outcome: Outcome, settled: Settled, now: float, reassert_after: float = REASSERT_AFTER_S
    ) -> int:
        """Commit what came of an attempt and what becomes of its entry.

        Returns the seq of an entry that says the same once more after `reassert_after` seconds: a terminal status is
        reasserted when an earlier request of its line may still arrive. 0 where there is no need.
        """
        trouble = settled.trouble
        with self.transaction():
            finished = self._all(
                "finish_attempt",
                seq=seq, now=now, outcome=outcome.kind.value, code=outcome.code, http_status=outcome.http_status,
                request_id=outcome.request_id, ambiguous=int(outcome.ambiguous),
            )  # fmt: skip
            self._seal_attempts(finished)
            self._do(
                "settle",
                seq=seq, state=settled.state.value, due_at=now + settled.wait, reason=settled.reason,
                settled_at=None if settled.state is EntryState.RETRYABLE else now,
                failing=trouble.kind.value if trouble else None, times=trouble.times if trouble else 0,
                waited=trouble.waited if trouble else 0.0, reduced=settled.reduced, suspect=settled.suspect,
            )  # fmt: skip
            self._do("seal_entry", seq=seq)
            return self._reassert(seq, now, reassert_after) if settled.state in _LAST_WORDS else 0

    def _reassert(self, seq: int, now: float, after: float) -> int:
        """Say the last word of an entry's line once more, if need be. Where the entry was parked, that is still the one
        that was delivered before it."""
        (row,) = self._all("entry", seq=seq)
        if row["state"] == EntryState.PARKED:
            last = self._one("last_delivered", sink=row["sink"], resource_arn=row["resource_arn"], seq=seq)
            if last is None:
                return 0
            (row,) = self._all("entry", seq=last["seq"])
        line = {name: row[name] for name in ("sink", "resource_arn", "notification_id")}
        if row["reassertion"] or row["status"] == "IN_PROGRESS":
            return 0
        if not self._one("may_be_contradicted", **line, seq=row["seq"], until=seq):
            return 0
        # Where more is to be told already, saying it again is left to the line's next terminal status.
        behind = self._one("next_in_line", sink=row["sink"], resource_arn=row["resource_arn"])
        again = self._insert_entry(
            notification_of(row["body"]), row["sink"], EntryState.SUPERSEDED if behind else EntryState.PENDING,
            now, "superseded" if behind else "reasserted", due_at=now + after,
            replay_of=row["replay_of"] or row["seq"],
            superseded_by=behind["seq"] if behind else None, reassertion=True, body=row["body"],
        )  # fmt: skip
        return 0 if behind else again

    def reference(self, run_id: str, sink: str) -> str:
        """What a sink's receiver has called a run, or a request for it, last; empty when it has named none."""
        row = self._one("reference", run_id=run_id, sink=sink)
        return str(row["request_id"]) if row else ""

    def resume_after_crash(self, now: float) -> int:
        """Make entries that were on the wire when the agent died due again; returns how many."""
        with self.transaction():
            self._seal_attempts(self._all("interrupt_attempts", now=now))
            resumed = self._all("resume_sending", now=now)
            self._seal_entries(resumed)
            return len(resumed)

    def circuits(self) -> dict[str, tuple[Circuit, float]]:
        """The circuits that were open when the journal was last written, by sink, and since which wall-clock second.

        Their next probe is due.
        """
        return {
            row["sink"]: (
                Circuit(
                    held_for=OutcomeKind(row["held_for"]), code=row["code"], probes=row["probes"], waited=row["waited"]
                ),
                row["since"],
            )
            for row in self._all("circuits")
        }

    def put_circuit(self, sink: str, circuit: Circuit, since: float) -> None:
        """Keep a circuit as it is: open since a wall-clock second, or closed."""
        if circuit.held_for is None:
            self._do("close_circuit", sink=sink)
        else:
            self._do(
                "put_circuit",
                sink=sink, held_for=circuit.held_for.value, code=circuit.code, since=since, probes=circuit.probes,
                waited=circuit.waited,
            )  # fmt: skip

    # --- pauses ------------------------------------------------------------------------------------------

    def pause(self, sink: str, pause: Pause) -> None:
        """Let nothing more leave for a sink; what is on its way is finished."""
        self._do("put_meta", key=f"paused:{sink}", value=_encode(pause).decode())

    def unpause(self, sink: str) -> None:
        """Let everything go on that waits for a sink."""
        self._do("unpause", sink=sink)
