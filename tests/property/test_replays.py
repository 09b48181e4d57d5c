"""Whatever is told, answered and replayed, in whatever order: no replay makes a receiver believe something older."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.outboxes import ARN, DEPLOYMENT, NEXT_DEPLOYMENT, OTHER_ARN, attempted, enqueued, heads, notification

from proton_tf_agent.domain.errors import UsageInvalid
from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outbox import EntryState, OutcomeKind
from proton_tf_agent.journal import Journal
from proton_tf_agent.pipeline import Addressee
from proton_tf_agent.replay import append, choose
from proton_tf_agent.selection import Scope

SCOPES = [
    Scope(everything=True), Scope(everything=True, sink="proton"), Scope(undelivered=True), Scope(parked=True),
    Scope(resource_arn=ARN), Scope(run_id=f"run-1 of {ARN}"), Scope(notification="1"), Scope(notification="ntf-3"),
]  # fmt: skip
CONSOLE = Addressee("console", lambda _one: True, lambda _one: "")

telling = st.tuples(
    st.sampled_from(["tell", "tell and accept"]),
    st.sampled_from(Status),
    st.sampled_from([ARN, ARN, OTHER_ARN]),
    st.sampled_from([DEPLOYMENT, NEXT_DEPLOYMENT]),
    st.sampled_from(["run-1", "run-2", "run-3"]),
)
answering = st.tuples(
    st.just("answer"),
    st.sampled_from([OutcomeKind.ACCEPTED, OutcomeKind.ACCEPTED, OutcomeKind.INVALID, OutcomeKind.UNAVAILABLE]),
    st.integers(0, 3),
)
replaying = st.tuples(st.just("replay"), st.sampled_from(SCOPES), st.booleans())


def rows_of(journal: Journal) -> list[dict[str, Any]]:
    return [dict(row) for row in journal.query("entries", after=0, limit=1000)]


def stands_at(row: dict[str, Any]) -> int:
    """Where a row stands in the history of its resource."""
    return int(row["replay_of"] or row["seq"])


def is_end(row: dict[str, Any]) -> bool:
    return bool(row["status"] != "IN_PROGRESS" and row["state"] != EntryState.SUPERSEDED)


def check_replay(new: dict[str, Any], line: Sequence[dict[str, Any]]) -> None:
    """Nothing newer was told, and no end of its deployment accepted, when it was written."""
    assert not [row for row in line if is_end(row) and stands_at(row) > stands_at(new)]
    if new["status"] == "IN_PROGRESS":
        accepted = [row for row in line if is_end(row) and row["state"] == EntryState.DELIVERED]
        assert new["deployment_id"] not in [row["deployment_id"] for row in accepted]


def step(journal: Journal, number: int, action: tuple[Any, ...], accepted: list[dict[str, Any]]) -> None:
    if action[0].startswith("tell"):
        how, status, arn, deployment, run_id = action
        enqueued(
            journal, notification(number, status, arn, deployment, run_id=f"{run_id} of {arn}", began=float(number))
        )
        for _ in heads(journal) if how == "tell and accept" else ():
            step(journal, number, ("answer", OutcomeKind.ACCEPTED, 0), accepted)
    elif action[0] == "answer":
        _, kind, which = action
        waiting = heads(journal)
        if waiting:
            entry = waiting[which % len(waiting)]
            if attempted(journal, entry.seq, kind).state is EntryState.DELIVERED:
                accepted.append(rows_of(journal)[entry.seq - 1])
    else:
        _, scope, carried = action
        before = rows_of(journal)
        known = {row["seq"] for row in before}
        to = CONSOLE if carried and scope.sink == "proton" else None
        try:
            chosen = choose(journal, scope, addressee=to)
        except UsageInvalid:
            return  # nothing by that name has been told yet
        made = [choice.seq for choice in append(journal, chosen, 2000.0, addressee=to) if choice.seq]
        after = rows_of(journal)
        assert [row for row in after if row["seq"] in known and row["state"] != "superseded"] == [
            row for row in before if after[row["seq"] - 1]["state"] != "superseded"
        ], "originals are left alone, but for reassertions that are withdrawn"
        assert made == sorted(made)
        for seq in made:
            new = after[seq - 1]
            original = after[new["replay_of"] - 1]
            assert (new["body"], new["notification_id"]) == (original["body"], original["notification_id"])
            check_replay(new, [row for row in before if (row["sink"], row["resource_arn"]) == line_of(new)])


def line_of(row: dict[str, Any]) -> tuple[str, str]:
    return row["sink"], row["resource_arn"]


def lived(status: Status, deployment: str = DEPLOYMENT) -> tuple[Any, ...]:
    return "tell and accept", status, ARN, deployment, "run-1"


@settings(max_examples=100)
@given(st.lists(telling | answering | replaying, min_size=4, max_size=25))
@example([lived(Status.SUCCEEDED), lived(Status.IN_PROGRESS), ("replay", SCOPES[0], False)])
@example([lived(Status.SUCCEEDED), lived(Status.FAILED, NEXT_DEPLOYMENT), ("replay", SCOPES[1], True)])
def test_replays_never_reorder_history(actions: list[tuple[Any, ...]]) -> None:
    accepted: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as directory, Journal.open_as_daemon(f"{directory}/journal.db") as journal:
        for number, action in enumerate(actions, 1):
            step(journal, number, action, accepted)
    for place, row in enumerate(accepted):
        if row["replay_of"] is not None and not row["reassertion"]:
            earlier = [before for before in accepted[:place] if line_of(before) == line_of(row) and is_end(before)]
            assert all(stands_at(before) <= stands_at(row) for before in earlier)
