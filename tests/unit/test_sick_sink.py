"""A sick sink never delays another: one relay, two real receivers, one of which does not answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from support.agents import Heard
from support.hooks import SECRET, HookReceiver, answered, hung_up
from support.outboxes import enqueued, notification

from proton_tf_agent.domain.notification import Status
from proton_tf_agent.http_request import HttpPlace
from proton_tf_agent.journal import Journal
from proton_tf_agent.relay import MAX_IN_FLIGHT, Relay
from proton_tf_agent.sinks.webhook import WebhookSink

ARN = "arn:aws:proton:us-east-1:111122223333:environment/"
LINES = 40


class Hanging(HookReceiver):
    """Takes every request and answers none until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()
        self.fail(self._hang)

    def _hang(self, request: BaseHTTPRequestHandler) -> None:
        self.released.wait(60.0)
        answered(204)(request)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    receiver = Hanging()
    yield receiver
    receiver.released.set()
    receiver.close()


@pytest.fixture
def well() -> Iterator[HookReceiver]:
    receiver = HookReceiver()
    yield receiver
    receiver.close()


def told(journal: Journal, sinks: tuple[str, ...]) -> None:
    """Every line has something to say to each sink, and the sick one's turn comes first."""
    for number in range(LINES):
        for sink in sinks:
            enqueued(journal, notification(number, Status.FAILED, f"{ARN}unit-{number}"), sink=sink)


def sink(name: str, receiver: HookReceiver) -> WebhookSink:
    return WebhookSink(name, HttpPlace(receiver.url, 5.0, 60.0, None), lambda: [SECRET], "proton-tf-agent://here")


def test_while_one_sink_hangs_all_is_told_to_the_other(journal: Journal, hanging: Hanging, well: HookReceiver) -> None:
    """All of it, before the first request of the one that hangs has come back."""
    sinks, log = {"sick": sink("sick", hanging), "well": sink("well", well)}, Heard()
    relay = Relay(journal, sinks, log.tell, lambda: 1000.0, lambda: 0.0)
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        told(journal, ("sick", "well"))
        relay.nudge()
        log.wait_for("notification.delivered", LINES, sink="well")
        assert not hanging.released.is_set()
        assert hanging.requests <= MAX_IN_FLIGHT
        assert not [keys for name, keys in log.lines() if keys.get("sink") == "sick"], "none has come back"
        hanging.released.set()
        log.wait_for("notification.delivered", LINES, sink="sick")
    finally:
        hanging.released.set()
        relay.stop()
        thread.join()


def test_while_one_sink_hangs_up_all_is_told_to_the_other(journal: Journal, well: HookReceiver) -> None:
    sick, log = HookReceiver(), Heard()
    sick.fail(hung_up)
    sinks = {"sick": sink("sick", sick), "well": sink("well", well)}
    relay = Relay(journal, sinks, log.tell, lambda: 1000.0, lambda: 0.0)
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        told(journal, ("sick", "well"))
        relay.nudge()
        log.wait_for("notification.delivered", LINES, sink="well")
        log.wait_for("sink.held", sink="sick")
    finally:
        relay.stop()
        thread.join()
        sick.close()
    assert len(well.events) == LINES
