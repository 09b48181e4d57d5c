"""Every way in which Proton can fail, over the wire with the real client, and what becomes of a notification by it.

The relay's time is virtual, so that a day of refusals passes at once; requests, answers and the journal are real.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.outboxes import ARN, DEPLOYMENT, OTHER_ARN, notification, row_of, states
from support.virtual_relay import VirtualRelay

from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.outbox import Outcome
from proton_tf_agent.journal import Journal
from proton_tf_agent.receiver import Fault, FaultKind, Receiver
from proton_tf_agent.sinks.proton import ProtonSink

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
F = FaultKind


@dataclass(frozen=True)
class Case:
    """What is to become of an entry that only ever meets this fault.

    after: seconds within which it is parked; None: it is tried for ever. held_for: why its sink is held up meanwhile.
    """

    reason: str
    after: float | None = None
    held_for: str | None = None
    ambiguous: bool = False


CASES = {
    F.ACCESS_DENIED: Case("AccessDeniedException", DAY + HOUR),
    F.CONFLICT: Case("ConflictException", 18 * MINUTE),
    F.INTERNAL_SERVER: Case("InternalServerException", ambiguous=True),
    F.RESOURCE_NOT_FOUND: Case("ResourceNotFoundException", 12 * MINUTE),
    F.SERVICE_QUOTA_EXCEEDED: Case("ServiceQuotaExceededException", DAY + HOUR),
    F.THROTTLING: Case("ThrottlingException"),
    F.VALIDATION: Case("ValidationException", 1.0),
    F.EXPIRED_TOKEN: Case("ExpiredTokenException", held_for="unauthenticated"),
    F.UNRECOGNIZED_CLIENT: Case("UnrecognizedClientException", held_for="unauthenticated"),
    F.UNHEARD_OF: Case("UnheardOfException", DAY + HOUR),
    F.CLOCK_SKEW: Case("ClockSkewed", held_for="unauthenticated"),
    F.RETIRED_DENIED: Case("ServiceRetired", held_for="gone"),
    F.RETIRED_INVALID: Case("ServiceRetired", held_for="gone"),
    F.HTTP_410: Case("HTTP 410", held_for="gone"),
    F.HTTP_429: Case("HTTP 429"),
    F.HTTP_503: Case("HTTP 503", ambiguous=True),
    F.RESET_AFTER_APPLY: Case("ConnectionClosedError", ambiguous=True),
    F.HALF_RESPONSE: Case("ResponseTruncated", ambiguous=True),
    F.OVERLONG_RESPONSE: Case("ResponseTooLarge", ambiguous=True),
    F.HTML: Case("ResponseUnexpected", ambiguous=True),
    F.REDIRECT: Case("ResponseRedirected", ambiguous=True),
}
ACCEPTING = (F.LATENCY, F.HOLD)  # no failures by themselves; see the sink's own tests


class Wire(VirtualRelay):
    """The relay in virtual time, before the real sink; it hands on read-back, too."""

    def __init__(self, journal: Journal, sink: ProtonSink) -> None:
        self._sink = sink
        super().__init__(journal, lambda told, _now: sink.send(told), random.Random(1).random)

    def read_back(self, notification: Notification) -> Outcome:
        return self._sink.read_back(notification)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open_as_daemon(str(tmp_path / "memory" / "journal.db")) as journal:
        yield journal


@pytest.fixture
def wire(journal: Journal, receiver: Receiver) -> Iterator[Wire]:
    sink = ProtonSink("proton", "eu-west-1", receiver.url, read_back=True)
    yield Wire(journal, sink)
    sink.close()


def test_every_fault_has_a_case() -> None:
    assert CASES.keys() | set(ACCEPTING) == set(FaultKind)


@pytest.mark.parametrize("fault", CASES)
def test_what_fails_for_good_is_kept_or_parked_in_its_time_and_nobody_else_waits(
    journal: Journal, receiver: Receiver, wire: Wire, fault: FaultKind
) -> None:
    case = CASES[fault]
    receiver.fail(fault, resource_arn=ARN)
    wire.enqueue(notification(1, Status.FAILED))
    wire.run(HOUR if case.after is None else case.after)
    row = row_of(journal, 1)
    assert (row["state"], row["reason"]) == ("retryable" if case.after is None else "parked", case.reason)
    if case.after is not None and case.after > HOUR:
        assert row["waited"] >= DAY
    held = {row["sink"]: row["held_for"] for row in journal.query("circuits")}
    assert held.get("proton") == case.held_for
    attempts = journal.query("attempts_of_entry", seq=1)
    assert {bool(attempt["ambiguous"]) for attempt in attempts} == {case.ambiguous}
    if case.held_for is None:
        began = wire.now
        wire.enqueue(notification(2, Status.SUCCEEDED, OTHER_ARN))
        wire.run(began + 10)
        assert row_of(journal, 2)["state"] == "delivered"


@pytest.mark.parametrize("fault", CASES)
def test_what_fails_twice_is_told_in_its_order_and_the_sink_resumes(
    journal: Journal, receiver: Receiver, wire: Wire, fault: FaultKind
) -> None:
    receiver.fail(fault, times=1 if fault is F.VALIDATION else 2, resource_arn=ARN)
    wire.enqueue(notification(1, Status.FAILED), notification(2, Status.SUCCEEDED))
    wire.run(2 * HOUR)
    assert states(journal)[:2] == ["delivered", "delivered"]
    assert journal.query("circuits") == []
    heard = list(dict.fromkeys(record.status for record in receiver.records()))
    assert heard == ["FAILED", "SUCCEEDED"]
    if fault is F.VALIDATION:
        whole, less = receiver.records()[-1], receiver.records()[0]
        assert (less.status_message, less.outputs) == (None, {})
        assert whole.outputs == {"vpc_id": "vpc-2"}
        assert row_of(journal, 1)["reason"] == "accepted without message and outputs"


@pytest.mark.parametrize(
    ("status", "state", "reason"),
    [
        ("SUCCEEDED", "delivered", "confirmed: GetDeployment: SUCCEEDED"),
        ("CANCELLED", "parked", "GetDeployment: CANCELLED"),
        ("IN_PROGRESS", "parked", "ConflictException"),
    ],
)
def test_a_conflict_that_lasts_is_asked_back_about(
    journal: Journal, receiver: Receiver, wire: Wire, status: str, state: str, reason: str
) -> None:
    receiver.set_deployment(ARN, DEPLOYMENT, status)
    receiver.fail(F.CONFLICT, resource_arn=ARN)
    wire.enqueue(notification(1, Status.SUCCEEDED))
    wire.run(14 * MINUTE)
    assert row_of(journal, 1)["state"] == "retryable"
    wire.run(20 * MINUTE)
    assert (row_of(journal, 1)["state"], row_of(journal, 1)["reason"]) == (state, reason)


def test_a_server_that_asks_for_time_gets_it(journal: Journal, receiver: Receiver, wire: Wire) -> None:
    receiver.fail(Fault(F.THROTTLING, retry_after=120.0), times=1)
    wire.enqueue(notification(1, Status.FAILED), notification(2, Status.FAILED, OTHER_ARN))
    wire.run(119)
    assert len(receiver.records()) <= 1, "only what was on its way already"
    wire.run(10 * MINUTE)
    assert set(states(journal)) == {"delivered"}
