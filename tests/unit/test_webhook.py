"""A webhook is told every notification in a form that the published libraries verify, and what it answers means what
the table of docs/sinks/webhook.md says."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from support.command_lines import Output, run
from support.hooks import SECRET, HookReceiver, answered
from support.outboxes import notification

from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outbox import OutcomeKind
from proton_tf_agent.domain.run import RunStatus
from proton_tf_agent.domain.values import replace
from proton_tf_agent.http_request import HttpPlace
from proton_tf_agent.secret_source import SecretMissing, read_secret
from proton_tf_agent.sinks.webhook import WebhookSink

NEXT_SECRET = "whsec_" + base64.b64encode(b"another secret, 24 bytes").decode()
PAGE = Path(__file__).parents[2] / "docs" / "sinks" / "webhook.md"
TOLD = replace(notification(1, Status.SUCCEEDED), resource_deleted=False)


@pytest.fixture
def receiver() -> Iterator[HookReceiver]:
    receiver = HookReceiver()
    yield receiver
    receiver.close()


def sink_for(receiver: HookReceiver, *secrets: str, now: float | None = None) -> WebhookSink:
    clock = {} if now is None else {"clock": lambda: now}
    return WebhookSink("hook", HttpPlace(receiver.url), lambda: secrets or [SECRET], "proton-tf-agent://here", **clock)


def test_a_notification_arrives_whole_signed_and_in_its_documented_shape(receiver: HookReceiver) -> None:
    """The receiver verifies signature and schema before it takes anything."""
    assert sink_for(receiver).send(TOLD).kind is OutcomeKind.ACCEPTED
    ((event,), (headers,)) = receiver.events, receiver.headers
    assert event["type"] == "dev.proton-tf-agent.deployment.succeeded"
    assert (event["id"], headers["webhook-id"]) == (TOLD.notification_id,) * 2
    assert event["data"]["outputs"] == {"vpc_id": "vpc-1"}


@pytest.mark.parametrize(
    ("status", "run_status", "name"),
    [
        (Status.IN_PROGRESS, RunStatus.APPLYING, "in_progress"),
        (Status.FAILED, RunStatus.ERRORED, "failed"),
        (Status.SUCCEEDED, RunStatus.DESTROYED, "destroyed"),
    ],
)
def test_the_type_says_what_happened(receiver: HookReceiver, status: Status, run_status: RunStatus, name: str) -> None:
    told = replace(TOLD, status=status, run_status=run_status, outputs=(), resource_deleted=True)
    sink = sink_for(receiver)
    assert sink.wants(told)
    assert sink.send(told).kind is OutcomeKind.ACCEPTED
    assert receiver.events[0]["type"].endswith(f".{name}")


def test_a_repeat_says_the_same_under_the_same_id(receiver: HookReceiver) -> None:
    sink = sink_for(receiver)
    sink.send(TOLD)
    sink.send(TOLD)
    assert receiver.events[0] == receiver.events[1]
    assert len({headers["webhook-id"] for headers in receiver.headers}) == 1


@pytest.mark.parametrize("known", [SECRET, NEXT_SECRET])
def test_while_a_secret_is_exchanged_either_one_verifies(receiver: HookReceiver, known: str) -> None:
    receiver.secret = known
    assert sink_for(receiver, NEXT_SECRET, SECRET).send(TOLD).kind is OutcomeKind.ACCEPTED


def test_nobody_without_the_secret_and_nobody_with_an_old_request_is_believed(receiver: HookReceiver) -> None:
    sink_for(receiver).send(TOLD)
    (headers,) = receiver.headers
    body = json.dumps(receiver.events[0], separators=(",", ":"))
    Webhook(SECRET).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(NEXT_SECRET).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace("vpc-1", "vpc-2"), headers)
    receiver.fail(lambda request: (kept.update(request.headers.items()), answered(204)(request))[1])
    kept: dict[str, str] = {}
    sink_for(receiver, now=1_000_000.0).send(TOLD)
    assert kept["webhook-timestamp"] == "1000000"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, kept)


def test_a_redirect_is_not_followed(receiver: HookReceiver) -> None:
    other = HookReceiver()
    try:
        receiver.fail(answered(302, {"Location": other.url}))
        outcome = sink_for(receiver).send(TOLD)
        assert (outcome.kind, outcome.code) == (OutcomeKind.UNAVAILABLE, "ResponseRedirected")
        assert other.requests == 0
    finally:
        other.close()


def test_every_answer_means_what_the_page_says(receiver: HookReceiver) -> None:
    kinds = {
        "2xx": {204: OutcomeKind.ACCEPTED},
        "429": {429: OutcomeKind.THROTTLED, 503: OutcomeKind.UNAVAILABLE},
        "5xx": {500: OutcomeKind.UNAVAILABLE, 408: OutcomeKind.UNAVAILABLE, 425: OutcomeKind.UNAVAILABLE},
        "401": {401: OutcomeKind.UNAUTHENTICATED},
        "403": {403: OutcomeKind.DENIED},
        "400": dict.fromkeys((400, 413, 415, 422), OutcomeKind.INVALID),
        "404": {404: OutcomeKind.NOT_FOUND, 409: OutcomeKind.CONFLICT},
        "410": {410: OutcomeKind.GONE},
    }
    rows = re.findall(r"^\| (\dxx|\d{3})", PAGE.read_text("utf-8"), re.MULTILINE)
    assert rows == list(kinds)
    sink = sink_for(receiver)
    for answers in kinds.values():
        for status, kind in answers.items():
            receiver.fail(answered(status))
            outcome = sink.send(TOLD)
            assert (outcome.kind, outcome.http_status) == (kind, status)
            assert outcome.ambiguous == (status >= 500)


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("17", 17.0), (formatdate(1_700_000_090, usegmt=True), 90.0), (formatdate(0), 0.0), ("soon", None), ("-1", None)],
)
def test_retry_after_is_heeded_as_seconds_and_as_a_date(
    receiver: HookReceiver, asked: str, seconds: float | None
) -> None:
    receiver.fail(answered(429, {"Retry-After": asked}))
    assert sink_for(receiver, now=1_700_000_000.0).send(TOLD).retry_after == seconds


def test_a_host_that_means_nothing_and_a_port_that_nobody_has_are_told_apart(receiver: HookReceiver) -> None:
    receiver.close()
    outcome = sink_for(receiver).send(TOLD)
    assert (outcome.kind, outcome.ambiguous) == (OutcomeKind.UNAVAILABLE, False)
    nowhere = WebhookSink("hook", HttpPlace("https://hooks.invalid/x"), lambda: [SECRET], "proton-tf-agent://here")
    assert nowhere.send(TOLD).kind is OutcomeKind.UNRESOLVABLE
    receiver.__init__()  # type: ignore[misc]  # for its fixture to close


# --- secrets ------------------------------------------------------------------------------------------------------


def test_a_secret_is_read_from_where_the_settings_say(tmp_path: Path) -> None:
    file = tmp_path / "hook"
    file.write_text(f"{SECRET}\n")
    file.chmod(0o600)
    environ = {"HOOK": SECRET, "CREDENTIALS_DIRECTORY": str(tmp_path)}
    for reference in (f"file:{file}", "env:HOOK", "credential:hook"):
        assert read_secret(reference, environ) == SECRET


def test_a_secret_that_cannot_be_had_holds_the_sink_up_and_says_why(receiver: HookReceiver, tmp_path: Path) -> None:
    wide, empty, odd = tmp_path / "wide", tmp_path / "empty", tmp_path / "odd"
    wide.write_text(SECRET)
    wide.chmod(0o644)
    empty.touch(0o600)
    odd.write_text("not base64!")
    odd.chmod(0o600)
    os.mkfifo(tmp_path / "fifo", 0o600)
    cases = {
        f"file:{wide}": "SecretOpenToOthers",
        f"file:{empty}": "SecretEmpty",
        f"file:{tmp_path}/none": "SecretUnreadable",
        f"file:{tmp_path}/fifo": "SecretUnreadable",
        "env:NOBODY": "SecretEmpty",
        "credential:hook": "CredentialMissing",
        f"file:{odd}": "SecretNotBase64",
    }
    for reference, code in cases.items():
        sink = WebhookSink("hook", HttpPlace(receiver.url), lambda r=reference: [read_secret(r, {})], "x://here")  # type: ignore[misc]
        outcome = sink.send(TOLD)
        assert (outcome.kind, outcome.code) == (OutcomeKind.UNAUTHENTICATED, code)
    assert receiver.requests == 0


def test_no_error_holds_a_secret(tmp_path: Path) -> None:
    with pytest.raises(SecretMissing) as raised:
        read_secret("env:ODD", {"ODD": " "})
    assert str(raised.value) == "SecretEmpty"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('secrets = ["env:A"]', "[[sink]] url: is missing"),
        ('url = "https://x.example/h"', "[[sink]] secrets: is missing"),
        ('url = "http://x.example/h"\nsecrets = ["env:A"]', "must be an https URL"),
        ('url = "https://u:p@x.example/h"\nsecrets = ["env:A"]', "must not hold credentials"),
        (f'url = "https://x.example/h"\nsecrets = ["{SECRET}"]', "must say where the secret is"),
    ],
)
def test_settings_name_where_and_never_what(settings_file: str, capsys: Output, keys: str, said: str) -> None:
    with open(settings_file, "a") as file:
        file.write(f'[[sink]]\ntype = "webhook"\n{keys}\n')
    code, _, err = run(capsys, "config", "validate", "--config", settings_file)
    assert (code, said in err) == (78, True), err


def test_the_settings_show_no_secret(settings_file: str, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", SECRET)
    with open(settings_file, "a") as file:
        file.write('[[sink]]\ntype = "webhook"\nurl = "https://x.example/h"\nsecrets = ["env:HOOK"]\n')
    code, out, _ = run(capsys, "config", "show", "--config", settings_file)
    assert (code, 'secrets = ["env:HOOK"]' in out, SECRET in out) == (0, True, False)
