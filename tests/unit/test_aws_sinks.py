"""EventBridge, SQS and SNS are told a notification whole, within their limits, and what they answer means what it says.

Everything runs through the real botocore clients against real servers that keep each service's model and limits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from msgspec import structs
from support.aws_endpoint import REQUEST_ID, AwsEndpoint
from support.command_lines import Output, run
from support.hooks import SCHEMA
from support.proton import ARN, WHOLE, clean_environment
from support.rigs.eventbridge import BUS, Bus
from support.rigs.sns import TOPIC, Topic
from support.rigs.sqs import PATH, Queue

from proton_tf_agent.aws_service import Place
from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.outbox import MAX_LISTED, Outcome, OutcomeKind, fitted
from proton_tf_agent.domain.output_mapping import MAX_KEY, MAX_OUTPUTS, MAX_VALUE
from proton_tf_agent.domain.run import RunStatus
from proton_tf_agent.domain.status_message import MAX_MESSAGE
from proton_tf_agent.domain.values import replace
from proton_tf_agent.settings import load
from proton_tf_agent.sinks import sns, sqs
from proton_tf_agent.sinks.eventbridge import BUS_KNOWN_S, MAX_ENTRY, EventBridgeSink, entry_of, size_of
from proton_tf_agent.sinks.sns import MAX_MESSAGE as MAX_MESSAGE_OF_SNS
from proton_tf_agent.sinks.sns import SnsSink, subject_of
from proton_tf_agent.sinks.sqs import MAX_BODY, SqsSink

K = OutcomeKind
HERE = "proton-tf-agent://here"
OTHER = replace(WHOLE, resource_arn=f"{ARN}-2", notification_id="ntf-2")
# As large as a notification can be: every limit reached, and nothing that JSON writes as it is.
LARGEST = replace(
    WHOLE,
    status_message="\N{GRINNING FACE}" * MAX_MESSAGE,
    outputs=tuple(
        (f"{number:02}".ljust(MAX_KEY, "é"), "\x01\N{GRINNING FACE}" * (MAX_VALUE // 2))
        for number in range(MAX_OUTPUTS)
    ),
    omitted=tuple((f"output_{number}", "sensitive") for number in range(10_000)),
    directory="/" + "é" * 4095,
)


@pytest.fixture(scope="module", autouse=True)
def no_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with clean_environment(tmp_path_factory.mktemp("home")):
        yield


def _running(endpoint: AwsEndpoint) -> Iterator[Any]:
    yield endpoint
    endpoint.close()


@pytest.fixture
def bus() -> Iterator[Bus]:
    yield from _running(Bus())


@pytest.fixture
def queue() -> Iterator[Queue]:
    yield from _running(Queue())


@pytest.fixture
def topic() -> Iterator[Topic]:
    yield from _running(Topic())


def at(endpoint: AwsEndpoint) -> Place:
    return Place("eu-west-1", endpoint.url, (5.0, 5.0))


# --- what arrives -------------------------------------------------------------------------------------------------


def test_an_event_has_the_data_of_the_published_schema_and_says_whose_it_is(bus: Bus) -> None:
    outcome = EventBridgeSink("bus", at(bus), BUS, HERE).send(WHOLE)
    assert outcome == Outcome(K.ACCEPTED, "", 200, REQUEST_ID)
    (entry,) = bus.requests[-1][1]["Entries"]
    assert (entry["Source"], entry["DetailType"]) == ("proton-tf-agent", "dev.proton-tf-agent.deployment.succeeded")
    assert (entry["Resources"], entry["EventBusName"]) == ([WHOLE.resource_arn], BUS)
    assert entry["Time"] == WHOLE.created_at
    (detail,) = bus.details
    assert (detail.pop("notification_id"), detail.pop("source")) == (WHOLE.notification_id, HERE)
    jsonschema.validate(detail, SCHEMA["properties"]["data"])
    assert detail["outputs"] == dict(WHOLE.outputs)


def test_a_queue_is_told_an_event_of_the_published_schema(queue: Queue) -> None:
    outcome = SqsSink("queue", at(queue), queue.url + PATH, HERE).send(WHOLE)
    assert outcome == Outcome(K.ACCEPTED, "", 200, REQUEST_ID)
    (body,) = queue.bodies
    jsonschema.validate(body, SCHEMA, format_checker=jsonschema.FormatChecker())
    assert (body["id"], body["data"]["outputs"]) == (WHOLE.notification_id, dict(WHOLE.outputs))


def test_a_topic_is_told_an_event_with_a_subject_and_attributes_to_filter_by(topic: Topic) -> None:
    outcome = SnsSink("topic", at(topic), TOPIC, HERE).send(WHOLE)
    assert outcome == Outcome(K.ACCEPTED, "", 200, REQUEST_ID)
    (event,) = topic.events
    jsonschema.validate(event, SCHEMA, format_checker=jsonschema.FormatChecker())
    (published,) = topic.published
    assert published["Subject"] == "SUCCEEDED environment/network"
    assert {name: value["StringValue"] for name, value in published["MessageAttributes"].items()} == {
        "type": "dev.proton-tf-agent.deployment.succeeded",
        "status": "SUCCEEDED",
        "run_status": "applied",
        "resource_type": "environment",
    }


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_fifo_keeps_the_order_of_each_resource_and_takes_a_notification_once(
    kind: str, request: pytest.FixtureRequest
) -> None:
    endpoint: Queue | Topic = request.getfixturevalue(kind)
    sink = (
        SqsSink(kind, at(endpoint), endpoint.url + PATH, HERE)
        if isinstance(endpoint, Queue)
        else SnsSink(kind, at(endpoint), TOPIC + ".fifo", HERE)
    )
    ended = replace(WHOLE, notification_id="ntf-3", status=Status.FAILED)
    for told in (WHOLE, WHOLE, OTHER, ended):
        assert sink.send(told).kind is K.ACCEPTED
    taken = [parameters for _, parameters in endpoint.requests]
    first, again, other, last = ((one["MessageGroupId"], one["MessageDeduplicationId"]) for one in taken)
    assert first == again
    assert first[0] == last[0] != other[0]
    assert len({first[1], other[1], last[1]}) == 3


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_a_standard_queue_or_topic_is_given_no_group(kind: str, request: pytest.FixtureRequest) -> None:
    """Its endpoint refuses one."""
    endpoint: Queue | Topic = request.getfixturevalue(kind)
    sink = (
        SqsSink(kind, at(endpoint), endpoint.url + PATH.removesuffix(".fifo"), HERE)
        if isinstance(endpoint, Queue)
        else SnsSink(kind, at(endpoint), TOPIC, HERE)
    )
    assert sink.send(WHOLE).kind is K.ACCEPTED


def test_the_end_of_a_deleted_resource_is_told_too(bus: Bus, queue: Queue, topic: Topic) -> None:
    gone = replace(WHOLE, run_status=RunStatus.DESTROYED, resource_deleted=True, outputs=())
    for sink in (
        EventBridgeSink("bus", at(bus), BUS, HERE),
        SqsSink("queue", at(queue), queue.url + PATH, HERE),
        SnsSink("topic", at(topic), TOPIC, HERE),
    ):
        assert sink.wants(gone)
        assert sink.send(gone).kind is K.ACCEPTED
    assert bus.requests[-1][1]["Entries"][0]["DetailType"].endswith(".destroyed")
    assert {event["type"].rpartition(".")[2] for event in (*queue.bodies, *topic.events)} == {"destroyed"}


# --- limits -------------------------------------------------------------------------------------------------------


def test_the_largest_notification_fits_everywhere_and_names_what_was_left_out(
    bus: Bus, queue: Queue, topic: Topic
) -> None:
    """The endpoints keep the services' limits."""
    assert EventBridgeSink("bus", at(bus), BUS, HERE).send(LARGEST).kind is K.ACCEPTED
    assert SqsSink("queue", at(queue), queue.url + PATH, HERE).send(LARGEST).kind is K.ACCEPTED
    assert SnsSink("topic", at(topic), TOPIC, HERE).send(LARGEST).kind is K.ACCEPTED
    for detail in (bus.details[0], queue.bodies[0]["data"], topic.events[0]["data"]):
        assert detail["status_message"] == LARGEST.status_message
        assert 0 < len(detail["outputs"]) < MAX_OUTPUTS
        left = {key for key, why in detail["omitted"].items() if why.startswith("no room: ")}
        assert left | set(detail["outputs"]) == {key for key, _ in LARGEST.outputs}
        assert detail["omitted"]["(and 9,900 more)"] == "no room to name them"


def test_as_little_is_left_out_as_can_be_and_always_the_same() -> None:
    entry = entry_of(LARGEST, BUS, HERE)
    assert entry == entry_of(LARGEST, BUS, HERE)
    assert MAX_ENTRY - 12 * (MAX_KEY + MAX_VALUE) < size_of(entry) <= MAX_ENTRY, "one more would not fit"


def size(notification: Notification) -> int:
    return len(json.dumps(structs.astuple(notification)))


@pytest.mark.parametrize("room", [100_000, 4000, 2000])
def test_the_largest_outputs_go_first_the_rest_keeps_its_order(room: int) -> None:
    outputs = tuple((f"output_{number}", "x" * (number * 37 % 1000 + 1)) for number in range(20))
    notification = replace(WHOLE, outputs=outputs)
    kept = fitted(notification, room, size)
    assert size(kept) <= room
    left = [pair for pair in outputs if pair not in kept.outputs]
    assert [pair for pair in outputs if pair in kept.outputs] == list(kept.outputs)
    assert all(len(value) <= len(gone) for _, value in kept.outputs for _, gone in left)
    assert [name for name, _ in kept.omitted] == sorted((n for n, _ in left), key=lambda n: -len(dict(outputs)[n]))
    assert (kept is notification) == (room == 100_000)


def test_names_of_the_omitted_go_before_outputs() -> None:
    notification = replace(LARGEST, outputs=WHOLE.outputs, status_message="")
    kept = fitted(notification, 40_000, size)
    assert kept.outputs == WHOLE.outputs
    assert len(kept.omitted) == MAX_LISTED + 1


@pytest.mark.parametrize(
    ("resource", "subject"),
    [
        ("service/shop/service-instance/dev", "FAILED service/shop/service-instance/dev"),
        ("x" * 200, "FAILED " + "x" * 93),
        ("née\nDear user,\x00", "FAILED n?e?Dear user,?"),
    ],
)
def test_a_subject_is_printable_and_at_most_a_hundred_characters(resource: str, subject: str) -> None:
    told = replace(WHOLE, resource_arn=f"arn:aws:proton:x:1:{resource}", status=Status.FAILED)
    assert subject_of(told) == subject


def test_whatever_stands_in_a_text_a_queue_takes_it(queue: Queue) -> None:
    """SQS refuses what XML cannot hold: the endpoint does, too."""
    text = "".join(map(chr, range(0x20))) + "\x7f\x85\u2028\ufffe\uffff\ud800\N{GRINNING FACE}"
    sink = SqsSink("queue", at(queue), queue.url + PATH, HERE)
    assert sink.send(replace(WHOLE, status_message=text)).kind is K.ACCEPTED
    assert queue.bodies[0]["data"]["status_message"] == text


# --- what answers mean --------------------------------------------------------------------------------------------

MEANINGS: dict[str, dict[str, OutcomeKind]] = {
    "bus": {
        "AccessDeniedException": K.DENIED,
        "InternalException": K.UNAVAILABLE,
        "ResourceNotFoundException": K.UNRESOLVABLE,
        "ThrottlingException": K.THROTTLED,
    },
    "queue": {
        "QueueDoesNotExist": K.UNRESOLVABLE,
        "AWS.SimpleQueueService.NonExistentQueue": K.UNRESOLVABLE,
        "InvalidAddress": K.UNRESOLVABLE,
        "InvalidMessageContents": K.INVALID,
        "InvalidSecurity": K.DENIED,
        "KmsAccessDenied": K.DENIED,
        "KmsDisabled": K.DENIED,
        "KmsThrottled": K.THROTTLED,
        "RequestThrottled": K.THROTTLED,
        "UnsupportedOperation": K.INVALID,
        "ExpiredToken": K.UNAUTHENTICATED,
    },
    "topic": {
        "AuthorizationError": K.DENIED,
        "InternalError": K.UNAVAILABLE,
        "InvalidParameter": K.INVALID,
        "KMSAccessDenied": K.DENIED,
        "KMSThrottling": K.THROTTLED,
        "NotFound": K.UNRESOLVABLE,
        "Throttling": K.THROTTLED,
        "SignatureDoesNotMatch": K.UNAUTHENTICATED,
    },
}


@pytest.mark.parametrize("service", MEANINGS)
def test_every_error_means_one_thing(service: str, request: pytest.FixtureRequest) -> None:
    endpoint: AwsEndpoint = request.getfixturevalue(service)
    sinks: dict[str, Callable[[], Any]] = {
        "bus": lambda: EventBridgeSink("bus", at(endpoint), BUS, HERE),
        "queue": lambda: SqsSink("queue", at(endpoint), endpoint.url + PATH, HERE),
        "topic": lambda: SnsSink("topic", at(endpoint), TOPIC, HERE),
    }
    sink = sinks[service]()
    for code, kind in MEANINGS[service].items():
        endpoint.refuse(code)
        for outcome in (sink.send(WHOLE), sink.try_out()):
            assert (outcome.kind, outcome.code, outcome.request_id) == (kind, code.rpartition(".")[2], REQUEST_ID)


def test_a_failure_costs_one_request(queue: Queue, topic: Topic) -> None:
    """botocore would try again; the outbox does that."""
    for endpoint, sink in (
        (queue, SqsSink("queue", at(queue), queue.url + PATH, HERE)),
        (topic, SnsSink("topic", at(topic), TOPIC, HERE)),
    ):
        for code, status in (("ThrottlingException", 400), ("InternalError", 500)):
            endpoint.requests.clear()
            endpoint.refuse(code, status)
            assert sink.send(WHOLE).kind in (K.THROTTLED, K.UNAVAILABLE)
            assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ThrottlingException", Outcome(K.THROTTLED, "ThrottlingException", 200, REQUEST_ID)),
        ("InternalFailure", Outcome(K.UNAVAILABLE, "InternalFailure", 200, REQUEST_ID, ambiguous=True)),
        ("MalformedDetail", Outcome(K.INVALID, "MalformedDetail", 200, REQUEST_ID)),
        ("NotAuthorizedForSource", Outcome(K.DENIED, "NotAuthorizedForSource", 200, REQUEST_ID)),
        ("AccessDeniedException", Outcome(K.DENIED, "AccessDeniedException", 200, REQUEST_ID)),
        ("Odd", Outcome(K.UNKNOWN, "Odd", 200, REQUEST_ID)),
        ("your secret, sir", Outcome(K.UNKNOWN, "ErrorUnnamed", 200, REQUEST_ID)),
    ],
)
def test_an_entry_that_failed_inside_of_a_success_has_failed(bus: Bus, code: str, expected: Outcome) -> None:
    bus.result = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": code, "ErrorMessage": "no"}]}
    assert EventBridgeSink("bus", at(bus), BUS, HERE).send(WHOLE) == expected
    assert bus.details == []


# --- a bus that is not there --------------------------------------------------------------------------------------


def test_what_a_bus_that_does_not_exist_would_drop_is_not_sent_to_it(bus: Bus) -> None:
    bus.exists = False
    outcome = EventBridgeSink("bus", at(bus), BUS, HERE).send(WHOLE)
    assert (outcome.kind, outcome.code) == (K.UNRESOLVABLE, "ResourceNotFoundException")
    assert [operation for operation, _ in bus.requests] == ["DescribeEventBus"]
    bus.exists = True
    assert EventBridgeSink("bus", at(bus), BUS, HERE).send(WHOLE).kind is K.ACCEPTED


def test_a_bus_is_asked_for_every_ten_minutes_and_a_lost_one_found_to_be_lost(bus: Bus) -> None:
    now = [1000.0]
    sink = EventBridgeSink("bus", at(bus), BUS, HERE, ticks=lambda: now[0])
    for _ in range(3):
        sink.send(WHOLE)
    now[0] += BUS_KNOWN_S
    bus.exists = False
    assert sink.send(WHOLE).kind is K.UNRESOLVABLE
    asked = [operation for operation, _ in bus.requests]
    assert asked == ["DescribeEventBus", *["PutEvents"] * 3, "DescribeEventBus"]


def test_who_may_not_ask_for_the_bus_tells_it_all_the_same(bus: Bus) -> None:
    bus._rules = {**bus._rules, "DescribeEventBus": lambda _: refuse("AccessDeniedException")}
    sink = EventBridgeSink("bus", at(bus), BUS, HERE)
    assert sink.try_out().kind is K.DENIED
    assert sink.send(WHOLE).kind is K.ACCEPTED


def refuse(code: str) -> dict[str, Any]:
    from support.aws_endpoint import Refused

    raise Refused(code)


# --- settings and doctor ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "region"),
    [
        ('type = "sns"\ntopic_arn = "arn:aws-cn:sns:cn-north-1:123456789012:a"', "cn-north-1"),
        ('type = "sqs"\nqueue_url = "https://sqs.eu-west-1.amazonaws.com/123456789012/a.fifo"', "eu-west-1"),
        ('type = "sqs"\nqueue_url = "https://vpce-1.sqs.us-east-2.vpce.amazonaws.com/123456789012/a"', "us-east-2"),
        ('type = "sqs"\nqueue_url = "http://127.0.0.1:1/123456789012/a"\nregion = "eu-west-3"', "eu-west-3"),
        ('type = "eventbridge"\nevent_bus = "arn:aws:events:eu-west-2:123456789012:event-bus/a"', "eu-west-2"),
        ('type = "eventbridge"\nevent_bus = "default"\nregion = "eu-west-3"', "eu-west-3"),
    ],
)
def test_the_region_is_the_one_that_the_place_is_named_with(settings_file: str, keys: str, region: str) -> None:
    with open(settings_file, "a") as file:
        file.write(f"[[sink]]\n{keys}\n")
    assert load(settings_file).sink[-1].region == region


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('type = "sns"', "topic_arn: is missing"),
        ('type = "sns"\ntopic_arn = "deployments"', "is not the ARN of a topic"),
        ('type = "sns"\ntopic_arn = "arn:aws:sns:eu-west-1:123456789012:a"\nregion = "eu-west-2"', "is not that of"),
        ('type = "sqs"\nqueue_url = "https://sqs.eu-west-1.amazonaws.com/a"', "is not the URL of a queue"),
        ('type = "sqs"\nqueue_url = "http://sqs.eu-west-1.amazonaws.com/123456789012/a"', "must be an https URL"),
        ('type = "sqs"\nqueue_url = "https://queues.example/123456789012/a"', "queue_url names none"),
        ('type = "eventbridge"\nevent_bus = "default"', "event_bus names none"),
        ('type = "eventbridge"\nevent_bus = "a bus"\nregion = "eu-west-1"', "is not an event bus"),
        ('type = "sns"\nqueue_url = "https://x/123456789012/a"', "means nothing to a sns sink"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings_file: str, capsys: Output, keys: str, said: str) -> None:
    with open(settings_file, "a") as file:
        file.write(f"[[sink]]\n{keys}\n")
    code, _, err = run(capsys, "config", "validate", "--config", settings_file)
    assert (code, said in err) == (78, True), err


def test_doctor_finds_a_bus_that_is_not_there_and_bears_not_being_let_ask(
    settings_file: str, bus: Bus, capsys: Output
) -> None:
    with open(settings_file, "a") as file:
        file.write(f'[[sink]]\ntype = "eventbridge"\nregion = "eu-west-1"\nevent_bus = "{BUS}"\n')
        file.write(f'endpoint_url = "{bus.url}"\n')
    said = {}
    for name, refused in {
        "there": "",
        "missing": "ResourceNotFoundException",
        "denied": "AccessDeniedException",
    }.items():
        if refused:
            bus.refuse(refused)
        _, out, _ = run(capsys, "doctor", "--json", "--config", settings_file)
        rows = (json.loads(line) for line in out.splitlines())
        said[name], permitted = [(r["severity"], r["what"]) for r in rows if r["check"] == "sink eventbridge"]
        assert permitted[1].startswith("IAM is not asked")
    assert said["there"] == ("ok", "it is reached and takes our signature")
    assert said["missing"][0] == "problem"
    assert "no such queue, topic or bus (ResourceNotFoundException)" in said["missing"][1]
    assert said["denied"][0] == "ok"
    assert "events:DescribeEventBus is not allowed" in said["denied"][1]
    assert bus.details == []


PAGES = Path(__file__).parents[2] / "docs" / "sinks"
EXAMPLE = replace(WHOLE, outputs=(("VpcId", "vpc-1"),))
THERE = "proton-tf-agent://runner-07"


@pytest.mark.parametrize(
    ("page", "sent", "limit"),
    [
        ("eventbridge", entry_of(EXAMPLE, BUS, THERE)["Detail"], MAX_ENTRY),
        ("sqs", sqs.request_of(EXAMPLE, "https://x/a", THERE)["MessageBody"], MAX_BODY),
        ("sns", sns.request_of(EXAMPLE, TOPIC, THERE)["Message"], MAX_MESSAGE_OF_SNS),
    ],
    ids=["eventbridge", "sqs", "sns"],
)
def test_the_page_of_a_sink_shows_what_is_really_sent_and_names_its_limit(page: str, sent: str, limit: int) -> None:
    text = (PAGES / f"{page}.md").read_text("utf-8")
    example = re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[0]
    assert json.loads(example) == json.loads(sent)
    assert f"{(limit + 1) // 1024} KiB" in text
