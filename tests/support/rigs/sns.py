"""SNS, with an endpoint behind it that keeps the model and the limits of a topic."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

from proton_tf_agent.aws_service import Place
from proton_tf_agent.sinks import sink_type

from .. import aws_endpoint
from ..aws_endpoint import AwsEndpoint, Refused
from .rig import Rig

FAULTS = (*aws_endpoint.FAULTS, "NO_SUCH_TOPIC", "KEY_THROTTLED")
TOPIC = "arn:aws:sns:eu-west-1:123456789012:deployments"


class Topic(AwsEndpoint):
    """Topics by any ARN, and what was published to them."""

    def __init__(self) -> None:
        self.published: list[dict[str, Any]] = []
        super().__init__("sns", {"Publish": self._publish, "GetTopicAttributes": lambda _: {"Attributes": ""}})

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(message["Message"]) for message in self.published]

    def _publish(self, parameters: dict[str, Any]) -> dict[str, Any]:
        attributes = parameters["MessageAttributes"]
        names = [text for name, value in attributes.items() for text in (name, *value.values())]
        if len(parameters["Message"].encode()) + sum(len(text.encode()) for text in names) > 256 * 1024:
            raise Refused("InvalidParameter")
        if not re.fullmatch(r"[!-~][ -~]{0,99}", parameters["Subject"]):
            raise Refused("InvalidParameter")
        is_fifo = parameters["TopicArn"].endswith(".fifo")
        for name in ("MessageGroupId", "MessageDeduplicationId"):
            if bool(re.fullmatch(r"[!-~]{1,128}", parameters.get(name, ""))) is not is_fifo:
                raise Refused("InvalidParameter")
        self.published.append(parameters)
        return {"MessageId": f"message-{len(self.published)}"}


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    topic = Topic()
    place = Place("eu-west-1", topic.url, (5.0, 1.0))
    sink = sink_type("sns")("sns", place, TOPIC, "proton-tf-agent://here")
    faults = aws_endpoint.faults_of(topic) | {
        "NO_SUCH_TOPIC": lambda: topic.refuse("NotFound", 404),
        "KEY_THROTTLED": lambda: topic.refuse("KMSThrottling"),
    }
    try:
        yield Rig(sink, lambda: [event["data"]["status_message"] for event in topic.events], faults)
    finally:
        sink.close()
        topic.close()
