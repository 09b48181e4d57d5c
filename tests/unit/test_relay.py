"""The relay: every line in its order, no line in the way of another, whatever the sinks do."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.agents import DEADLINE_S, Heard
from support.outboxes import ARN, DEPLOYMENT, OTHER_ARN, attempted, enqueued, notification, row_of, states

from proton_tf_agent.aws_client import Access
from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.domain.retry import settle
from proton_tf_agent.journal import Head, Journal
from proton_tf_agent.receiver import Fault, FaultKind, Receiver
from proton_tf_agent.relay import MAX_IN_FLIGHT, Relay
from proton_tf_agent.sinks import Sink
from proton_tf_agent.sinks.proton import ProtonSink

IN_PROGRESS, SUCCEEDED, FAILED = Status.IN_PROGRESS, Status.SUCCEEDED, Status.FAILED
ACCEPTED = Outcome(OutcomeKind.ACCEPTED, http_status=200)
DOWN = Outcome(OutcomeKind.UNAVAILABLE, "ConnectTimeoutError")
TEN_YEARS_S = 3650 * 86_400.0
Answer = Callable[[Notification], Outcome]


def yes(_notification: Notification) -> Outcome:
    return ACCEPTED


class Recorder:
    """A sink that keeps the whole protocol, answers as told and remembers who was on the wire together."""

    def __init__(self, name: str = "proton", answer: Answer = yes) -> None:
        self.name = name
        self.answer = answer
        self.sent: list[str] = []
        self.together: Counter[str] = Counter()
        self.most_together: Counter[str] = Counter()
        self._changed = threading.Condition()

    def wants(self, notification: Notification) -> bool:
        return True

    def send(self, notification: Notification) -> Outcome:
        with self._changed:
            self.sent.append(notification.notification_id)
            for key in (notification.subject, "all"):
                self.together[key] += 1
                self.most_together[key] = max(self.most_together[key], self.together[key])
            self._changed.notify_all()
        try:
            return self.answer(notification)
        finally:
            with self._changed:
                self.together[notification.subject] -= 1
                self.together["all"] -= 1

    def close(self) -> None:
        """Nothing to let go of."""

    def wait_for(self, met: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(met, DEADLINE_S), f"sent so far: {self.sent}"


class Clock:
    """Wall-clock time as the test has it."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@contextmanager
def relaying(
    journal: Journal,
    *sinks: Sink,
    told: Sequence[Notification] = (),
    clock: Callable[[], float] | None = None,
    ticks: Callable[[], float] | None = None,
    draw: float = 0.0,
    scale: float = 1.0,
) -> Iterator[tuple[Relay, Heard]]:
    """A relay at work on what is told to every sink. With draw 0 every retry is due at once."""
    log = Heard()
    clock = clock or Clock()
    by_name = {sink.name: sink for sink in sinks}
    relay = Relay(journal, by_name, log.tell, clock, lambda: draw, ticks=ticks or clock, scale=scale)
    for sink in sinks:
        enqueued(journal, *told, sink=sink.name, now=relay._clock())
    thread = threading.Thread(target=relay.run, name="relay under test")
    thread.start()
    try:
        yield relay, log
    finally:
        relay.stop()
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "the relay does not end"


def names(log: Heard) -> list[str]:
    return [name for name, _ in log.lines()]


# --- order and independence ---------------------------------------------------------------------------------------


def test_a_line_is_sent_in_its_order_and_an_entry_that_fails_holds_its_successors_back(journal: Journal) -> None:
    failures = {"ntf-1": 2, "ntf-2": 0, "ntf-3": 1}

    def answer(told: Notification) -> Outcome:
        failures[told.notification_id] -= 1
        return DOWN if failures[told.notification_id] >= 0 else ACCEPTED

    sink = Recorder(answer=answer)
    with relaying(journal, sink, told=[notification(number, FAILED) for number in (1, 2, 3)]) as (_, log):
        log.wait_for("notification.delivered", seq=3)
    assert sink.sent == ["ntf-1", "ntf-1", "ntf-1", "ntf-2", "ntf-3", "ntf-3"]
    assert states(journal) == ["delivered"] * 3


def test_a_line_that_fails_delays_no_other(journal: Journal) -> None:
    sink = Recorder(answer=lambda told: DOWN if told.resource_arn == ARN else ACCEPTED)
    told = [notification(1, FAILED), *(notification(number, FAILED, arn=OTHER_ARN) for number in range(2, 8))]
    with relaying(journal, sink, told=told, draw=0.5) as (_, log):
        log.wait_for("notification.delivered", seq=7)
    assert sink.sent[-5:] == ["ntf-3", "ntf-4", "ntf-5", "ntf-6", "ntf-7"]
    assert states(journal) == ["retryable"] + ["delivered"] * 6


def test_a_sink_that_does_not_answer_delays_no_other_sink(journal: Journal) -> None:
    answered = threading.Event()

    def late(_told: Notification) -> Outcome:
        assert answered.wait(DEADLINE_S)
        return ACCEPTED

    slow, quick = Recorder("slow", late), Recorder("quick")
    with relaying(journal, slow, quick, told=[notification(1, FAILED), notification(2, FAILED)]) as (_, log):
        log.wait_for("notification.delivered", seq=4)
        assert slow.sent == ["ntf-1"]
        answered.set()
        log.wait_for("notification.delivered", seq=2)


def test_one_request_a_line_and_four_for_a_sink_are_on_the_wire(journal: Journal) -> None:
    full = threading.Event()

    def answer(_told: Notification) -> Outcome:
        assert full.wait(DEADLINE_S)
        return ACCEPTED

    sink = Recorder(answer=answer)
    arns = [f"{ARN}-{number}" for number in range(7)]
    told = [notification(10 * p + number, FAILED, arn=arn) for p, arn in enumerate(arns) for number in range(3)]
    with relaying(journal, sink, told=told) as (_, log):
        sink.wait_for(lambda: sink.together["all"] == MAX_IN_FLIGHT)
        full.set()
        for seq in range(1, 22):
            log.wait_for("notification.delivered", seq=seq)
    assert sink.most_together["all"] == MAX_IN_FLIGHT
    assert {sink.most_together[arn] for arn in arns} == {1}
    for place in range(7):
        line = [f"ntf-{10 * place + number}" for number in range(3)]
        assert [sent for sent in sink.sent if sent in line] == line


def test_what_is_superseded_while_the_relay_looks_is_not_sent(journal_path: str) -> None:
    class Overtaken(Journal):
        """A journal into which the pipeline commits just after the relay has looked."""

        later: Notification | None = None

        def heads(self, sinks: Collection[str]) -> list[Head]:
            heads = super().heads(sinks)
            if self.later and [head.seq for head in heads] == [2]:
                enqueued(self, self.later)
                self.later = None
            return heads

    with Overtaken.open_as_daemon(journal_path) as journal:
        assert isinstance(journal, Overtaken)
        journal.later = notification(3, FAILED)
        sink = Recorder()
        with relaying(journal, sink, told=[notification(1), notification(2)]) as (_, log):
            log.wait_for("notification.delivered", seq=3)
        assert sink.sent == ["ntf-1", "ntf-3"]
        assert states(journal) == ["delivered", "superseded", "delivered"]


def test_entries_for_a_sink_that_the_settings_no_longer_name_are_kept_and_delay_nobody(journal: Journal) -> None:
    enqueued(journal, notification(1, FAILED), sink="gone")
    with relaying(journal, Recorder(), told=[notification(1, FAILED)]) as (_, log):
        log.wait_for("notification.delivered", seq=2)
    assert states(journal) == ["retryable", "delivered"]


# --- failures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "times"), [(OutcomeKind.INVALID, 2), (OutcomeKind.OVERTAKEN, 1)])
def test_what_a_sink_refuses_for_good_is_parked_and_its_line_goes_on(
    journal: Journal, kind: OutcomeKind, times: int
) -> None:
    refused = Outcome(kind, "SomeException", 400, "req-1")
    sink = Recorder(answer=lambda told: refused if told.notification_id == "ntf-1" else ACCEPTED)
    with relaying(journal, sink, told=[notification(1, SUCCEEDED), notification(2, FAILED)]) as (_, log):
        ((_, keys),) = log.wait_for("notification.parked", seq=1)
        log.wait_for("notification.delivered", seq=2)
    assert keys == {
        "seq": 1,
        "run_id": "run-1",
        "sink": "proton",
        "resource_arn": ARN,
        "deployment_id": DEPLOYMENT,
        "status": SUCCEEDED,
        "attempt": times,
        "reason": "SomeException",
    }
    assert sink.sent == ["ntf-1"] * times + ["ntf-2"]
    assert states(journal) == ["parked", "delivered"]


def test_a_retry_is_due_when_settle_says_and_not_before(journal: Journal) -> None:
    clock = Clock(1000.0)
    outcomes = [Outcome(OutcomeKind.CONFLICT, "ConflictException", 400, retry_after=45.0), DOWN, ACCEPTED]
    answers = iter(outcomes)
    sink = Recorder(answer=lambda told: next(answers) if told.resource_arn == ARN else ACCEPTED)
    with relaying(journal, sink, told=[notification(1)], clock=clock, draw=0.5, scale=0.1) as (relay, log):
        entry = journal.entry(1, clock.now)
        assert entry is not None
        for attempt, outcome in enumerate(outcomes[:-1], 1):
            ((_, keys),) = log.wait_for("notification.deferred", attempt=attempt)
            wait = 0.1 * settle(entry, outcome, 0.5).wait
            due_at = clock.now + wait
            assert keys["retry_in_s"] == pytest.approx(wait, abs=0.001)
            assert keys["reason"] == outcome.code
            row = row_of(journal, 1)
            assert (row["state"], row["due_at"], row["attempts"]) == ("retryable", due_at, attempt)
            clock.now = due_at - 0.001
            # An entry of another line comes and goes: the relay has looked, and left the first alone.
            (other,) = enqueued(journal, notification(10 + attempt, arn=OTHER_ARN))
            relay.nudge()
            log.wait_for("notification.delivered", seq=other)
            assert sink.sent.count("ntf-1") == attempt
            clock.now = due_at
            relay.nudge()
        log.wait_for("notification.delivered", seq=1, attempt=3)
    assert [row["outcome"] for row in journal.query("attempts_of_entry", seq=1)] == [
        "conflict",
        "unavailable",
        "accepted",
    ]


def test_a_sink_that_raises_is_tried_again_and_stops_nobody(journal: Journal) -> None:
    def answer(told: Notification) -> Outcome:
        if told.resource_arn == ARN and broken.sent.count("ntf-1") < 3:
            raise ZeroDivisionError
        return ACCEPTED

    broken = Recorder(answer=answer)
    with relaying(journal, broken, told=[notification(1), notification(2, arn=OTHER_ARN)]) as (_, log):
        log.wait_for("notification.delivered", seq=2)
        log.wait_for("notification.delivered", seq=1)
    first, *_ = journal.query("attempts_of_entry", seq=1)
    assert (first["outcome"], first["code"], first["ambiguous"]) == ("unavailable", "ZeroDivisionError", 1)


@pytest.mark.parametrize("years", [-10, 10])
def test_a_clock_that_jumps_ten_years_stalls_nothing(journal: Journal, years: int) -> None:
    clock, ticks = Clock(2_000_000_000.0), Clock(50.0)
    answers = iter([DOWN, ACCEPTED])
    sink = Recorder(answer=lambda told: next(answers) if told.notification_id == "ntf-1" else ACCEPTED)
    told = [notification(1), notification(2, FAILED)]
    with relaying(journal, sink, told=told, clock=clock, ticks=ticks, draw=0.99) as (relay, log):
        log.wait_for("notification.deferred", seq=1)
        clock.now += years / 10 * TEN_YEARS_S
        ticks.now += 2.0
        relay.nudge()
        log.wait_for("notification.delivered", seq=2)
    assert sink.sent == ["ntf-1", "ntf-1", "ntf-2"]


# --- beginning and ending -----------------------------------------------------------------------------------------


def test_what_was_on_the_wire_at_a_crash_is_sent_again(journal_path: str) -> None:
    with Journal.open_as_daemon(journal_path) as journal:
        enqueued(journal, notification(1), notification(2, FAILED), notification(3, arn=OTHER_ARN))
    with Journal.open_as_daemon(journal_path) as journal:
        sink = Recorder()
        with relaying(journal, sink) as (_, log):
            for seq in (1, 2, 3):
                log.wait_for("notification.delivered", seq=seq)
        assert log.lines()[0] == ("relay.resumed", {"entries": 2})
        assert Counter(sink.sent) == Counter(["ntf-1", "ntf-2", "ntf-3"])
        outcomes = [row["outcome"] for row in journal.query("attempts_of_entry", seq=1)]
        assert outcomes == ["interrupted", "accepted"]


def test_what_comes_before_the_relay_is_at_work_was_not_interrupted(journal: Journal) -> None:
    log = Heard()
    relay = Relay(journal, {"proton": Recorder()}, log.tell, Clock(), lambda: 0.0)
    enqueued(journal, notification(1))
    thread = threading.Thread(target=relay.run)
    thread.start()
    log.wait_for("notification.delivered", seq=1, attempt=1)
    relay.stop()
    thread.join()
    assert names(log) == ["notification.delivered"]
    assert [row["outcome"] for row in journal.query("attempts_of_entry", seq=1)] == ["accepted"]


def test_stop_begins_nothing_and_waits_for_what_is_on_the_wire(journal: Journal) -> None:
    answered, stopped = threading.Event(), threading.Event()

    def answer(_told: Notification) -> Outcome:
        assert answered.wait(DEADLINE_S)
        return ACCEPTED

    sink, log = Recorder(answer=answer), Heard()
    relay = Relay(journal, {"proton": sink}, log.tell, Clock(), lambda: 0.0)
    enqueued(journal, notification(1), notification(2, FAILED))

    def run() -> None:
        relay.run()
        stopped.set()

    thread = threading.Thread(target=run)
    thread.start()
    sink.wait_for(lambda: sink.sent == ["ntf-1"])
    relay.stop()
    assert not stopped.is_set()
    answered.set()
    thread.join(DEADLINE_S)
    assert stopped.is_set()
    assert sink.sent == ["ntf-1"]
    assert states(journal) == ["delivered", "pending"]
    assert names(log) == ["notification.delivered"]


def test_a_replay_from_the_command_line_is_sent_without_a_nudge(journal: Journal) -> None:
    (seq,) = enqueued(journal, notification(1, SUCCEEDED))
    attempted(journal, seq)
    sink = Recorder()
    with relaying(journal, sink) as (_, log), Journal.open_existing(journal.path) as beside:
        (row,) = beside.query("entry", seq=seq)
        again = beside.replay(row, 1002.0)
        log.wait_for("notification.delivered", seq=again)
    assert sink.sent == ["ntf-1"]


def test_a_nudge_sends_what_was_enqueued_meanwhile(journal: Journal) -> None:
    sink = Recorder()
    with relaying(journal, sink) as (relay, log):
        for number in range(1, 6):
            enqueued(journal, notification(number, FAILED))
            relay.nudge()
        log.wait_for("notification.delivered", seq=5)
    assert sink.sent == [f"ntf-{number}" for number in range(1, 6)]


# --- with the real sink, over the wire ----------------------------------------------------------------------------


def test_proton_hears_every_line_in_its_order_though_one_resource_is_refused_and_one_answer_is_lost(
    journal: Journal, receiver: Receiver
) -> None:
    receiver.fail(Fault(FaultKind.VALIDATION), resource_arn=OTHER_ARN)
    receiver.fail(Fault(FaultKind.RESET_AFTER_APPLY), times=1, resource_arn=ARN)
    receiver.fail(Fault(FaultKind.THROTTLING), times=1, resource_arn=ARN)
    told = [notification(1), notification(2, FAILED), notification(3, SUCCEEDED), notification(4, FAILED, OTHER_ARN)]
    sink = ProtonSink("proton", "eu-west-1", receiver.url)
    try:
        with relaying(journal, sink, told=told, clock=time.time, ticks=time.monotonic) as (_, log):
            log.wait_for("notification.delivered", seq=3)
            log.wait_for("notification.parked", seq=4, reason="ValidationException")
    finally:
        sink.close()
    assert states(journal) == ["delivered", "delivered", "delivered", "parked", "superseded", "pending"]
    assert row_of(journal, 6)["replay_of"] == 3, "the first answer was lost, so that the last word is said again later"
    heard = receiver.records()
    assert [record.status_message for record in heard] == ["number 1", "number 1", "number 2", "number 3"]
    assert heard[-1].outputs == {"vpc_id": "vpc-3"}
    first, second, *_ = journal.query("attempts_of_entry", seq=1)
    assert first["ambiguous"] == 1
    assert (second["code"], second["ambiguous"]) == ("ThrottlingException", 0)


def test_credentials_that_appear_on_disk_are_used_without_a_restart_and_cost_the_notification_nothing(
    journal: Journal, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """P20, with the real chain of credentials."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    file = tmp_path / "credentials"
    sink = ProtonSink("proton", "eu-west-1", receiver.url, access=Access(credentials_file=str(file)))
    told = [notification(1, FAILED), notification(2, FAILED, OTHER_ARN)]
    try:
        with relaying(journal, sink, told=told, clock=time.time, ticks=time.monotonic, scale=0.2) as (_, log):
            log.wait_for("sink.held", held_for="unauthenticated", reason="NoCredentialsError")
            file.write_text("[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = none\n")
            log.wait_for("notification.delivered", seq=1)
            log.wait_for("notification.delivered", seq=2)
            log.wait_for("sink.resumed")
    finally:
        sink.close()
    assert journal.query("circuits") == []
