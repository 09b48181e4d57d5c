"""SQS, with an endpoint behind it that is a FIFO queue with its model, its limits and its five minutes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from proton_tf_agent.aws_service import Place
from proton_tf_agent.sinks import sink_type

from .. import aws_endpoint
from ..aws_endpoint import AwsEndpoint, Refused
from .rig import Rig

FAULTS = (*aws_endpoint.FAULTS, "NO_SUCH_QUEUE", "KEY_DENIED", "ANOTHER_DIGEST")
PATH = "/123456789012/deployments.fifo"
_XML = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")


class Queue(AwsEndpoint):
    """One queue, and the bodies in it. is_whole: whether its answers have the right digest."""

    def __init__(self) -> None:
        self.is_whole = True
        self.messages: list[dict[str, Any]] = []
        super().__init__("sqs", {"SendMessage": self._take, "GetQueueAttributes": lambda _: {"Attributes": {}}})

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What was taken, once for each deduplication id."""
        kept: dict[str, str] = {}
        for number, message in enumerate(self.messages):
            kept.setdefault(message.get("MessageDeduplicationId", str(number)), message["MessageBody"])
        return [json.loads(body) for body in kept.values()]

    def _take(self, parameters: dict[str, Any]) -> dict[str, Any]:
        body = parameters["MessageBody"]
        if not _XML.fullmatch(body):
            raise Refused("InvalidMessageContents")
        is_fifo = parameters["QueueUrl"].endswith(".fifo")
        for name in ("MessageGroupId", "MessageDeduplicationId"):
            fits = re.fullmatch(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}", parameters.get(name, ""))
            if bool(fits) is not is_fifo:
                raise Refused("InvalidParameterValue")
        if len(body.encode()) > 256 * 1024:
            raise Refused("InvalidParameterValue")
        self.messages.append(parameters)
        digest = hashlib.md5(body.encode() if self.is_whole else b"").hexdigest()
        return {"MessageId": f"message-{len(self.messages)}", "MD5OfMessageBody": digest}


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    queue = Queue()
    place = Place("eu-west-1", queue.url, (5.0, 1.0))
    sink = sink_type("sqs")("sqs", place, queue.url + PATH.removesuffix(".fifo"), "proton-tf-agent://here")
    faults = aws_endpoint.faults_of(queue) | {
        "NO_SUCH_QUEUE": lambda: queue.refuse("QueueDoesNotExist"),
        "KEY_DENIED": lambda: queue.refuse("KmsAccessDenied"),
        "ANOTHER_DIGEST": lambda: setattr(queue, "is_whole", False),
    }
    try:
        yield Rig(sink, lambda: [body["data"]["status_message"] for body in queue.bodies], faults)
    finally:
        sink.close()
        queue.close()
