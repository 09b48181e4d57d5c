"""Asked back, the sink says what Proton says of a deployment; whatever else comes of it, a conflict stays a conflict.

Everything runs through the real botocore client against a real socket, as in `test_proton_outcomes`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.proton import ARN, BARE, DEPLOYMENT, NEWER, REGION, WHOLE, Playback, clean_environment, http, refusal

from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.domain.values import replace
from proton_tf_agent.receiver import Fault, FaultKind, Receiver
from proton_tf_agent.sinks import ReadsBack, sink_type
from proton_tf_agent.sinks.proton import OPERATIONS, ProtonSink
from proton_tf_agent.sinks.proton_outcomes import GET_DEPLOYMENT

K = OutcomeKind
CONFLICT = Outcome(K.CONFLICT, "ConflictException")


@pytest.fixture(scope="module", autouse=True)
def no_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with clean_environment(tmp_path_factory.mktemp("home")):
        yield


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def sink(receiver: Receiver) -> Iterator[ProtonSink]:
    made = ProtonSink("proton", REGION, receiver.url, read_timeout=0.5, read_back=True)
    yield made
    made.close()


@pytest.fixture(scope="module")
def playback() -> Iterator[tuple[Playback, ProtonSink]]:
    server = Playback()
    sink = ProtonSink("proton", REGION, server.url, read_back=True)
    yield server, sink
    sink.close()
    server.close()


def asked(sink: ProtonSink, notification: Any = WHOLE) -> Outcome:
    """What comes of asking, without the request ID."""
    return replace(sink.read_back(notification), request_id="")


@pytest.mark.parametrize("status", list(Status))
def test_a_deployment_that_has_the_status_confirms_it(receiver: Receiver, sink: ProtonSink, status: Status) -> None:
    told = replace(WHOLE, status=status)
    receiver.fail(FaultKind.RESET_AFTER_APPLY, times=1)
    receiver.fail(FaultKind.CONFLICT)
    assert sink.send(told).ambiguous
    assert sink.send(told).kind is K.CONFLICT
    outcome = sink.read_back(told)
    assert outcome == Outcome(K.CONFIRMED, f"GetDeployment: {status}", 200, outcome.request_id)
    assert len(outcome.request_id) == 36
    assert len(receiver.records()) == 1, "a question tells nothing"


@pytest.mark.parametrize(
    "status", ["CANCELLING", "CANCELLED", "DELETE_IN_PROGRESS", "DELETE_FAILED", "DELETE_COMPLETE"]
)
def test_a_deployment_that_was_canceled_or_deleted_has_gone_on(
    receiver: Receiver, sink: ProtonSink, status: str
) -> None:
    receiver.set_deployment(ARN, DEPLOYMENT, status)
    assert asked(sink) == Outcome(K.OVERTAKEN, f"GetDeployment: {status}", 200)


def test_a_newer_deployment_of_the_resource_has_overtaken_it(receiver: Receiver, sink: ProtonSink) -> None:
    receiver.set_deployment(ARN, DEPLOYMENT, "IN_PROGRESS")
    assert asked(sink) == CONFLICT
    receiver.set_deployment(ARN, NEWER, "IN_PROGRESS")
    before = receiver.requests
    assert asked(sink) == Outcome(K.OVERTAKEN, f"GetDeployment: {NEWER} is newer", 200)
    assert receiver.requests == before + 2
    receiver.set_deployment(ARN, DEPLOYMENT, "SUCCEEDED")
    assert asked(sink).kind is K.CONFIRMED, "what has arrived has arrived, whatever came later"


def test_a_deployment_before_it_has_not_overtaken_it(playback: tuple[Playback, ProtonSink]) -> None:
    server, sink = playback
    seen: list[str] = []

    def last_attempt_is_the_one_before(body: bytes) -> bytes:
        seen.append(json.loads(body)["id"])
        return told(id=seen[-1], createdAt=2 if seen[-1] == DEPLOYMENT else 1, lastAttemptedDeploymentId=NEWER)

    server.reply = last_attempt_is_the_one_before
    assert asked(sink) == CONFLICT
    assert seen == [DEPLOYMENT, NEWER]
    server.reply = None


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.IN_PROGRESS])
def test_a_deployment_that_says_neither_leaves_the_conflict(
    receiver: Receiver, sink: ProtonSink, status: Status
) -> None:
    receiver.set_deployment(ARN, DEPLOYMENT, "FAILED")
    assert asked(sink, replace(WHOLE, status=status)) == CONFLICT


@pytest.mark.parametrize(
    ("resource", "other"),
    [
        ("environment/network", "environment/network2"),
        ("component/bucket", "component/bucket2"),
        ("service/shop/service-instance/prod", "service/shop/service-instance/prod2"),
        ("service/shop/pipeline", "service/shop2/pipeline"),
    ],
)
def test_it_asks_by_the_names_in_the_arn(receiver: Receiver, sink: ProtonSink, resource: str, other: str) -> None:
    """The receiver finds nothing under other names; see `test_receiver`."""
    mine, others = (ARN.replace("environment/network", place) for place in (resource, other))
    receiver.set_deployment(mine, DEPLOYMENT, "SUCCEEDED")
    assert asked(sink, replace(WHOLE, resource_arn=mine)).kind is K.CONFIRMED
    assert asked(sink, replace(WHOLE, resource_arn=others)) == CONFLICT


def test_without_leave_or_an_id_nothing_is_asked(receiver: Receiver, sink: ProtonSink) -> None:
    receiver.set_deployment(ARN, DEPLOYMENT, "SUCCEEDED")
    unasking = ProtonSink("proton", REGION, receiver.url)
    assert unasking.read_back(WHOLE) == CONFLICT
    assert sink.read_back(BARE) == CONFLICT
    assert receiver.requests == 0
    unasking.close()


def test_which_sinks_can_be_asked() -> None:
    assert isinstance(sink_type("proton")("p", REGION), ReadsBack)
    assert not isinstance(sink_type("console")("c"), ReadsBack)


FAILURES: dict[FaultKind, Outcome] = {
    FaultKind.ACCESS_DENIED: CONFLICT,
    FaultKind.CONFLICT: CONFLICT,
    FaultKind.RESOURCE_NOT_FOUND: CONFLICT,
    FaultKind.SERVICE_QUOTA_EXCEEDED: CONFLICT,
    FaultKind.VALIDATION: CONFLICT,
    FaultKind.UNHEARD_OF: CONFLICT,
    FaultKind.INTERNAL_SERVER: Outcome(K.UNAVAILABLE, "InternalServerException", 500),
    FaultKind.THROTTLING: Outcome(K.THROTTLED, "ThrottlingException", 400),
    FaultKind.EXPIRED_TOKEN: Outcome(K.UNAUTHENTICATED, "ExpiredTokenException", 403),
    FaultKind.UNRECOGNIZED_CLIENT: Outcome(K.UNAUTHENTICATED, "UnrecognizedClientException", 403),
    FaultKind.CLOCK_SKEW: Outcome(K.UNAUTHENTICATED, "ClockSkewed", 403),
    FaultKind.RETIRED_DENIED: Outcome(K.GONE, "ServiceRetired", 400),
    FaultKind.RETIRED_INVALID: Outcome(K.GONE, "ServiceRetired", 400),
    FaultKind.HTTP_410: Outcome(K.GONE, "HTTP 410", 410),
    FaultKind.HTTP_429: Outcome(K.THROTTLED, "HTTP 429", 429),
    FaultKind.HTTP_503: Outcome(K.UNAVAILABLE, "HTTP 503", 503),
    FaultKind.LATENCY: Outcome(K.UNAVAILABLE, "ReadTimeoutError"),
    FaultKind.HOLD: Outcome(K.UNAVAILABLE, "ReadTimeoutError"),
    FaultKind.RESET_AFTER_APPLY: Outcome(K.UNAVAILABLE, "ConnectionClosedError"),
    FaultKind.HALF_RESPONSE: Outcome(K.UNAVAILABLE, "ResponseTruncated", 200),
    FaultKind.OVERLONG_RESPONSE: Outcome(K.UNAVAILABLE, "ResponseTooLarge", 200),
    FaultKind.HTML: Outcome(K.UNAVAILABLE, "ResponseUnexpected", 200),
    FaultKind.REDIRECT: Outcome(K.UNAVAILABLE, "ResponseRedirected", 302),
}


@pytest.mark.parametrize("kind", list(FaultKind))
def test_what_the_asking_fails_of_is_an_outcome_and_never_ambiguous(
    receiver: Receiver, sink: ProtonSink, kind: FaultKind
) -> None:
    receiver.set_deployment(ARN, DEPLOYMENT, "SUCCEEDED")
    receiver.fail(Fault(kind, delay=60), times=1, operation=GET_DEPLOYMENT)
    assert asked(sink) == FAILURES[kind]
    assert receiver.requests == 1
    assert asked(sink).kind is K.CONFIRMED


def test_a_newer_deployment_that_may_not_be_looked_at_proves_nothing(receiver: Receiver, sink: ProtonSink) -> None:
    receiver.set_deployment(ARN, DEPLOYMENT, "IN_PROGRESS")
    receiver.set_deployment(ARN, NEWER, "IN_PROGRESS")
    held_back = Fault(FaultKind.RESOURCE_NOT_FOUND)
    receiver.fail(FaultKind.THROTTLING, times=1, operation=GET_DEPLOYMENT)
    receiver.fail(held_back, times=1, operation=GET_DEPLOYMENT)
    assert [asked(sink).kind for _ in range(3)] == [K.THROTTLED, K.CONFLICT, K.OVERTAKEN]


def told(**members: Any) -> bytes:
    """An answer about a deployment."""
    deployment = {"id": DEPLOYMENT, "deploymentStatus": "IN_PROGRESS", "createdAt": 1.5} | members
    return http("200 OK", json.dumps({"deployment": deployment}).encode())


UNEXPECTED = Outcome(K.UNAVAILABLE, "ResponseUnexpected", 200)
ODD: dict[str, tuple[bytes, Outcome]] = {
    "no deployment": (http("200 OK", b"{}"), UNEXPECTED),
    "null": (http("200 OK", b'{"deployment": null}'), UNEXPECTED),
    "nothing at all": (http("200 OK", b"", "x-amzn-RequestId: r-1"), UNEXPECTED),
    "another deployment": (told(id=NEWER, deploymentStatus="SUCCEEDED"), UNEXPECTED),
    "no status": (told(deploymentStatus=None), UNEXPECTED),
    "a number": (http("200 OK", b'{"deployment": 5}'), Outcome(K.UNAVAILABLE, "AttributeError")),
    "no time": (told(createdAt="\u2063"), Outcome(K.UNAVAILABLE, "ValueError")),
    "a status of tomorrow": (told(deploymentStatus="PAUSED"), CONFLICT),
    "an ID that is none": (told(lastAttemptedDeploymentId="../x"), CONFLICT),
    "the same ID": (told(lastAttemptedDeploymentId=DEPLOYMENT), CONFLICT),
    "long specs": (
        told(deploymentStatus="SUCCEEDED", targetState={"environment": {"spec": "x" * 200_000}}),
        Outcome(K.CONFIRMED, "GetDeployment: SUCCEEDED", 200),
    ),
    "too long": (
        http("200 OK", b" " * (OPERATIONS[GET_DEPLOYMENT].most + 1)),
        Outcome(K.UNAVAILABLE, "ResponseTooLarge", 200),
    ),
    "not allowed": (refusal("AccessDeniedException"), CONFLICT),
}


@pytest.mark.parametrize("case", sorted(ODD))
def test_odd_answers_confirm_nothing(playback: tuple[Playback, ProtonSink], case: str) -> None:
    server, sink = playback
    server.answer, expected = ODD[case]
    assert asked(sink) == expected


def test_a_closed_sink_asks_nobody(receiver: Receiver, sink: ProtonSink) -> None:
    sink.close()
    assert sink.read_back(WHOLE) == Outcome(K.UNAVAILABLE, "SinkClosed")
    assert receiver.requests == 0
