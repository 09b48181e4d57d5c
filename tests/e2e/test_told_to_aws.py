"""Runs are told to EventBridge, SNS and SQS of moto's server by a real daemon with the real boto3, and arrive where
AWS would deliver them: in queues, behind rules and filters, in order and once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from support.daemons import AgentCommand, ask, write_settings
from support.many_runs import ARN, ManyRuns
from support.outboxes import notification

from proton_tf_agent.aws_service import Place
from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outbox import OutcomeKind
from proton_tf_agent.receiver import Receiver
from proton_tf_agent.sinks.eventbridge import EventBridgeSink
from proton_tf_agent.sinks.sqs import SqsSink

REGION = "eu-west-1"
RUNS = 3
HERE = "proton-tf-agent://here"
pytestmark = pytest.mark.usefixtures("aws_environment")
_numbers = itertools.count(1)  # moto keeps one world for the whole process


class Aws:
    """A bus, topics and queues in an AWS of our own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.number = next(_numbers)
        self._sqs, self._sns, self._events = (
            boto3.client(service, region_name=REGION, endpoint_url=url) for service in ("sqs", "sns", "events")
        )

    def close(self) -> None:
        for client in (self._sqs, self._sns, self._events):
            client.close()

    def place(self) -> Place:
        return Place(REGION, self.url)

    def queue(self, name: str, **attributes: str) -> tuple[str, str]:
        """A new queue: its URL and its ARN."""
        url = self._sqs.create_queue(QueueName=f"q{self.number}-{name}", Attributes=attributes)["QueueUrl"]
        found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, found["Attributes"]["QueueArn"]

    def bodies(self, queue_url: str) -> list[dict[str, Any]]:
        """What is in a queue, as it would be delivered."""
        found: list[dict[str, Any]] = []
        while messages := self._sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def topic(self, queue_arn: str, wanted: dict[str, Any]) -> str:
        """A new topic that tells a queue what a filter policy lets through: its ARN."""
        topic = self._sns.create_topic(Name=f"t{self.number}")["TopicArn"]
        attributes = {"RawMessageDelivery": "true", "FilterPolicy": json.dumps(wanted)}
        self._sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn, Attributes=attributes)
        return str(topic)

    def bus(self, queue_arn: str, pattern: dict[str, Any]) -> str:
        """A new bus with a rule that tells a queue: its ARN."""
        name = f"b{self.number}"
        bus = self._events.create_event_bus(Name=name)["EventBusArn"]
        self._events.put_rule(Name="ends", EventBusName=name, EventPattern=json.dumps(pattern))
        self._events.put_targets(Rule="ends", EventBusName=name, Targets=[{"Id": "1", "Arn": queue_arn}])
        return str(bus)


@pytest.fixture
def aws(aws_environment: None) -> Iterator[Aws]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    aws = Aws(f"http://{host}:{port}")
    yield aws
    aws.close()
    server.stop()


def test_a_daemon_tells_queue_topic_and_bus_what_it_tells_proton(tmp_path: Path, receiver: Receiver, aws: Aws) -> None:
    queue, _ = aws.queue("deployments.fifo", FifoQueue="true")
    filtered, filtered_arn = aws.queue("filtered")
    ruled, ruled_arn = aws.queue("ruled")
    topic = aws.topic(filtered_arn, {"status": ["SUCCEEDED"], "resource_type": ["environment"]})
    bus = aws.bus(ruled_arn, {"source": ["proton-tf-agent"], "detail": {"status": ["SUCCEEDED"]}})
    root, settings = tmp_path / "watched", tmp_path / "agent.toml"
    root.mkdir()
    write_settings(settings, tmp_path / "journal" / "journal.db", [root], receiver.url)
    with settings.open("a") as file:
        for type_, place in (("sqs", f'queue_url = "{queue}"'), ("sns", f'topic_arn = "{topic}"'),
                             ("eventbridge", f'event_bus = "{bus}"')):  # fmt: skip
            region = f'region = "{REGION}"\n' if type_ == "sqs" else ""
            file.write(f'\n[[sink]]\ntype = "{type_}"\n{place}\n{region}endpoint_url = "{aws.url}"\n')
    agent = AgentCommand(settings)
    try:
        agent.wait_until_ready()
        ManyRuns(root).add(RUNS)
        agent.wait_for(
            lambda rows: sum(
                row["event"] == "notification.delivered" and row["status"] == "SUCCEEDED" for row in rows
            ) == 4 * RUNS,
            "every end is told to all four",
        )  # fmt: skip
        assert agent.stop() == 0
    finally:
        agent.close()
    everybody = {f"{ARN}unit-{number}" for number in range(RUNS)}
    told = aws.bodies(queue)
    for resource in everybody:
        heard = [body["data"]["status"] for body in told if body["subject"] == resource]
        assert heard in (["SUCCEEDED"], ["IN_PROGRESS", "SUCCEEDED"]), "in order, and each once"
    assert sorted(body["subject"] for body in aws.bodies(filtered)) == sorted(everybody)
    events = aws.bodies(ruled)
    assert sorted(event["resources"][0] for event in events) == sorted(everybody)
    assert {event["detail-type"] for event in events} == {"dev.proton-tf-agent.deployment.succeeded"}
    delivered = [row for row in ask(settings, "journal", "list", "--limit", "1000") if row["status"] == "SUCCEEDED"]
    assert {body["id"] for body in told} >= {event["detail"]["notification_id"] for event in events}
    assert {event["detail"]["notification_id"] for event in events} == {row["id"] for row in delivered}


def test_a_fifo_queue_hears_a_notification_once_however_often_it_is_sent(aws: Aws) -> None:
    queue, _ = aws.queue("once.fifo", FifoQueue="true")
    sink = SqsSink("sqs", aws.place(), queue, HERE)
    for told in (notification(1), notification(1), notification(2, Status.SUCCEEDED), notification(1)):
        assert sink.send(told).kind is OutcomeKind.ACCEPTED
    sink.close()
    assert [body["id"] for body in aws.bodies(queue)] == ["ntf-1", "ntf-2"]


def test_a_queue_that_was_deleted_is_found_to_be_gone(aws: Aws) -> None:
    queue, _ = aws.queue("gone")
    aws._sqs.delete_queue(QueueUrl=queue)
    sink = SqsSink("sqs", aws.place(), queue, HERE)
    for outcome in (sink.send(notification(1)), sink.try_out()):
        assert outcome.kind is OutcomeKind.UNRESOLVABLE
    sink.close()


def test_nothing_is_sent_to_a_bus_that_does_not_exist(aws: Aws) -> None:
    sink = EventBridgeSink("bus", aws.place(), "nowhere", HERE)
    for outcome in (sink.send(notification(1)), sink.try_out()):
        assert (outcome.kind, outcome.code) == (OutcomeKind.UNRESOLVABLE, "ResourceNotFoundException")
    sink.close()
