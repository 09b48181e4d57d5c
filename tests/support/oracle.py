"""What must be true of a simulated world when it has come to rest, whatever happened in it: the promises, in code."""

from __future__ import annotations

from collections import Counter, defaultdict

from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outbox import EntryState, reduced
from proton_tf_agent.domain.run import FINAL
from proton_tf_agent.journal import Journal, JournalRow, notification_of
from proton_tf_agent.journal_verify import check

from .simulator import World

ALL = 1_000_000
IN_PROGRESS = Status.IN_PROGRESS.value


def judge(world: World) -> None:
    """Everything below, of a world that has come to rest. AssertionError, with the seed, when a promise is broken."""
    journal = world.journal
    rows = journal.query("entries", after=0, limit=ALL)
    try:
        every_run_has_its_verdict(world, journal)
        nothing_is_lost(world, journal, rows)
        nothing_is_hidden(world, journal, rows)
        every_line_is_told_in_its_order(world, journal, rows)
        repeats_are_accounted_for(world, journal, rows)
        the_last_word_stands(world, rows)
        a_run_never_goes_back(rows)
        findings = list(check(journal))
        assert not findings, findings
    except AssertionError as broken:
        raise AssertionError(f"seed {world.seed}: {broken}") from broken


def every_run_has_its_verdict(world: World, journal: Journal) -> None:
    """P2, P9: every run that happened was read to its end, exactly once."""
    runs = {recorded.run.anchor: recorded.run for recorded in journal.runs(ALL)}
    assert runs.keys() == {script.anchor for script in world.scripts}, "a run is missing, or there is one too many"
    assert all(run.status in FINAL for run in runs.values()), "a run has not ended"
    for script in world.scripts:
        assert journal.cursors()[script.path].offset == len(script.facts)


def nothing_is_lost(world: World, journal: Journal, rows: list[JournalRow]) -> None:
    """P1: every transition that is to be told has its entry, and every entry was accepted, overtaken or is parked."""
    assert {row["state"] for row in rows} <= {"delivered", "superseded", "parked"}, "something still waits"
    told = {(row["run_id"], notification_of(row["body"]).run_status) for row in rows if row["replay_of"] is None}
    for recorded in journal.runs(ALL):
        run = recorded.run
        for fact in journal.evidence_of(run.run_id):
            tells = fact["status"] not in (None, "pending", "undetermined")
            once_told = run.run_id in {one for one, _ in told}
            assert not tells or (run.run_id, fact["status"]) in told or once_told, f"{fact['status']} was not told"
        assert (run.run_id, run.status) in told, f"nothing tells that {run.run_id} is {run.status}"
    accepted = {row["notification_id"] for row in rows if row["state"] == EntryState.DELIVERED}
    for told_id in accepted:
        assert world.endpoint.believed[told_id], f"{told_id} is said to be delivered and was never heard"


def nothing_is_hidden(world: World, journal: Journal, rows: list[JournalRow]) -> None:
    """P6: only what was never attempted is superseded, and an outcome only by that of a run that truly came later.

    But for runs that nobody saw begin, or with two jumps of the clock: which came first is past finding out then.
    """
    by_seq = {row["seq"]: row for row in rows}
    numbers = {script.anchor: script.number for script in world.scripts}
    unseen = {script.anchor for script in world.scripts if not world.watched(script.facts[0][0])}
    nobody_saw = {r.run.run_id for r in journal.runs(ALL) if r.run.anchor in unseen}
    number = {recorded.run.run_id: numbers[recorded.run.anchor] for recorded in journal.runs(ALL)}
    for row in rows:
        if row["state"] != EntryState.SUPERSEDED or row["reassertion"]:
            continue
        successor = by_seq[row["superseded_by"]]
        assert row["attempts"] == 0
        assert successor["resource_arn"] == row["resource_arn"]
        if row["status"] != IN_PROGRESS:
            later = number[successor["run_id"]] > number[row["run_id"]]
            plan = notification_of(row["body"]).run_status == "planned_and_finished"
            unknowable = row["run_id"] in nobody_saw or len(world.jumps) > 1
            hidden = f"#{row['seq']} {row['status']} is hidden by #{successor['seq']}"
            assert later or plan or unknowable, hidden


def every_line_is_told_in_its_order(world: World, journal: Journal, rows: list[JournalRow]) -> None:
    """P4: no entry of a line is attempted while an earlier one is active; at most one is on the wire."""
    order: dict[str, list[int]] = defaultdict(list)
    lines = {row["seq"]: row["resource_arn"] for row in rows}
    for attempt in journal.query("attempts"):
        order[lines[attempt["seq"]]].append(attempt["seq"])
    for line, seqs in order.items():
        assert seqs == sorted(seqs), f"{line} was told in the order {seqs}"
    arrived = {told for told, _, _ in world.endpoint.requests.values()}
    expected: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        heard, told = expected[row["resource_arn"]], row["notification_id"]
        if told in arrived and told not in heard:
            heard.append(told)
    for line, heard in expected.items():
        assert world.endpoint.first_heard[line] == heard, f"{line} heard its notifications in another order"


def repeats_are_accounted_for(world: World, journal: Journal, rows: list[JournalRow]) -> None:
    """P5: every request that arrived is an attempt on record, and every attempt arrived unless the agent died before it
    left. What was believed is what was accepted, and what arrived without its answer being heard. Repeats say the same.
    """
    endpoint, requests = world.endpoint, dict(world.endpoint.requests)
    deliveries, made = Counter[str](), defaultdict(list)
    for attempt in journal.query("attempts"):
        made[attempt["seq"]].append(attempt)
    for row in rows:
        told, whole, attempts = row["notification_id"], notification_of(row["body"]), made[row["seq"]]
        outcomes = [attempt["outcome"] for attempt in attempts]
        assert row["attempts"] == len(attempts)
        assert outcomes.count("accepted") == (row["state"] == "delivered"), (
            f"#{row['seq']} was accepted twice, or never"
        )
        assert "accepted" not in outcomes[:-1], f"#{row['seq']} was sent again after it had been accepted"
        assert endpoint.said[told] <= {whole, reduced(whole)}, f"{told} changed what it says"
        for attempt in attempts:
            arrived = requests.pop(attempt["id"], None)
            interrupted = attempt["outcome"] == "interrupted"
            if arrived is None:
                assert interrupted, f"an attempt for #{row['seq']} never left"
                continue
            assert arrived[0] == told
            assert interrupted or arrived[1] == attempt["outcome"], f"#{row['seq']} was answered something else"
            assert not arrived[2] or attempt["ambiguous"] or attempt["outcome"] == "accepted"
            deliveries[told] += arrived[2]
    assert not requests, f"requests of which nothing is on record: {requests}"
    assert deliveries == endpoint.believed
    heard = Counter(told.notification_id for line in endpoint.applied.values() for told in line)
    assert heard == +deliveries


def the_last_word_stands(world: World, rows: list[JournalRow]) -> None:
    """P8: whatever was late, what the sink believes last of a resource is the last that was delivered about it, if
    that is terminal."""
    for line, believed in world.endpoint.applied.items():
        delivered = [row for row in rows if row["resource_arn"] == line and row["state"] == EntryState.DELIVERED]
        last = delivered[-1] if delivered else None
        if last is not None and last["status"] != IN_PROGRESS:
            assert believed[-1].notification_id == last["notification_id"], f"{line} was contradicted by a late request"


def a_run_never_goes_back(rows: list[JournalRow]) -> None:
    """The ratchet: of one run, IN_PROGRESS is never told after a terminal status."""
    ended = set()
    for row in rows:
        if row["replay_of"] is None and row["status"] != IN_PROGRESS:
            ended.add(row["run_id"])
        assert row["replay_of"] is not None or row["status"] != IN_PROGRESS or row["run_id"] not in ended, (
            f"#{row['seq']} takes the end of {row['run_id']} back"
        )
