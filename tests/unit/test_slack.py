"""A channel is told in two or three lines what became of whose run, and no foreign text acts in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_lines import Output, run
from support.http_servers import saying
from support.outboxes import notification
from support.rigs.slack import PATH, WORDS, Slack

from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.domain.run import RunStatus
from proton_tf_agent.domain.values import replace
from proton_tf_agent.http_request import HttpPlace, is_trustworthy
from proton_tf_agent.secret_source import read_secret
from proton_tf_agent.sinks.slack import SlackSink, text_of

PAGE = Path(__file__).parents[2] / "docs" / "sinks" / "slack.md"
TOLD = notification(
    1, Status.FAILED, text="Apply failed: it is on fire at aws_vpc.main. 1 of 2 applied.\nGitHub Actions: by me"
)


@pytest.fixture
def slack() -> Iterator[Slack]:
    server = Slack()
    yield server
    server.close()
    assert server.errors == []


def sink_for(server: Slack, now: float = 0.0) -> SlackSink:
    return SlackSink("slack", lambda: server.url + PATH, HttpPlace, lambda: now)


def test_a_channel_reads_status_resource_first_line_and_run(slack: Slack) -> None:
    assert sink_for(slack).send(TOLD) == Outcome(OutcomeKind.ACCEPTED, http_status=200)
    assert slack.texts == [
        "FAILED: environment/network\nApply failed: it is on fire at aws_vpc.main. 1 of 2 applied.\nrun run-1"
    ]


def test_a_run_of_no_resource_is_named_by_its_directory_and_a_destroyed_one_is_called_so(slack: Slack) -> None:
    told = replace(TOLD, resource_arn=None, run_status=RunStatus.DESTROYED, status_message="")
    sink_for(slack).send(told)
    assert slack.texts == ["DESTROYED: /w/network\nrun run-1"]


HOSTILE = [
    "<!channel> <!here|x> <!everyone> <@U012AB3CD> <#C024BE7LR> <!subteam^S1>",
    "see <https://evil.example/login|the log> & https://evil.example",
    "a < b && c > d &lt;!channel&gt;",
    "x" * 5000,
    "first\nSUCCEEDED: environment/other",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_text_mentions_nobody_links_nowhere_and_forges_no_line(slack: Slack, text: str) -> None:
    """The server refuses an angle bracket, a bare ampersand and a URL."""
    told = replace(TOLD, status_message=text, resource_arn=None, directory="/w/" + text)
    assert sink_for(slack).send(told).kind is OutcomeKind.ACCEPTED
    (shown,) = slack.texts
    assert len(shown.split("\n")) == 3
    assert len(shown) < 1000


@given(st.text(), st.text())
def test_no_text_acts(message: str, directory: str) -> None:
    text = text_of(replace(TOLD, status_message=message, resource_arn=None, directory=directory))
    assert not re.search(r"[<>]|://|&(?!(amp|lt|gt);)", text)
    assert text.count("\n") <= 2


def test_what_slack_answers_means_what_the_page_says(slack: Slack) -> None:
    kinds = {
        "invalid_payload": OutcomeKind.INVALID,
        "user_not_found": OutcomeKind.INVALID,
        "action_prohibited": OutcomeKind.DENIED,
        "invalid_token": OutcomeKind.UNAUTHENTICATED,
        "channel_not_found": OutcomeKind.GONE,
        "no_service": OutcomeKind.UNAUTHENTICATED,
        "channel_is_archived": OutcomeKind.GONE,
    }
    page = PAGE.read_text("utf-8")
    for word, kind in kinds.items():
        slack.fail(saying(WORDS[word], word.encode()))
        assert sink_for(slack).send(TOLD) == Outcome(kind, word, WORDS[word])
        assert f"`{word}`" in page
    slack.fail(saying(500, b"rollup_error"))
    assert sink_for(slack).send(TOLD) == Outcome(OutcomeKind.UNAVAILABLE, "Http500", 500, ambiguous=True)
    slack.fail(saying(429, b"rate_limited", {"Retry-After": "30"}))
    assert sink_for(slack).send(TOLD) == Outcome(OutcomeKind.THROTTLED, "Http429", 429, retry_after=30.0)


def test_a_page_that_is_not_slacks_is_not_taken_for_an_acceptance(slack: Slack) -> None:
    slack.fail(saying(200, b"<html>log in</html>"))
    assert sink_for(slack).send(TOLD) == Outcome(OutcomeKind.UNAVAILABLE, "AnswerNotSlacks", 200, ambiguous=True)


def test_the_url_is_read_each_time_and_an_exchanged_one_is_used_at_once(slack: Slack, tmp_path: Path) -> None:
    secret = tmp_path / "slack"
    secret.write_text(slack.url + "/services/old")
    secret.chmod(0o600)
    sink = SlackSink("slack", lambda: read_secret(f"file:{secret}"), HttpPlace)
    assert sink.send(TOLD).code == "no_service"
    secret.write_text(slack.url + PATH + "\n")
    assert sink.send(TOLD).kind is OutcomeKind.ACCEPTED
    secret.unlink()
    assert sink.send(TOLD) == Outcome(OutcomeKind.UNAUTHENTICATED, "SecretUnreadable")


@pytest.mark.parametrize(
    ("url", "is_taken"),
    [
        ("https://hooks.slack.com/services/T/B/x", True),
        ("http://127.0.0.1:8080/x", True),
        ("http://[::1]:8080/x", True),
        ("http://hooks.slack.com/services/T/B/x", False),
        ("http://localhost/x", False),
        ("https://", False),
        ("https://host:99999/", False),
        ("https://host/a b", False),
        ("https://host/a\r\nX: y", False),
        ("file:///etc/passwd", False),
        ("xoxb-123", False),
        ("https://[::1", False),
    ],
)
def test_a_secret_that_is_no_safe_url_is_sent_nowhere_and_not_shown(url: str, is_taken: bool) -> None:
    assert is_trustworthy(url) is is_taken
    if not is_taken:
        outcome = SlackSink("slack", lambda: url, HttpPlace).send(TOLD)
        assert outcome == Outcome(OutcomeKind.UNAUTHENTICATED, "SecretNotUrl")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("", "[[sink]] secret: is missing"),
        ('secret = "https://hooks.slack.com/services/T/B/x"', "must say where the secret is"),
        ('secret = "env:A"\nurl = "https://x.example/h"', "means nothing to a slack sink"),
    ],
)
def test_the_settings_hold_no_url(settings_file: str, capsys: Output, keys: str, said: str) -> None:
    with open(settings_file, "a") as file:
        file.write(f'[[sink]]\ntype = "slack"\n{keys}\n')
    code, _, err = run(capsys, "config", "validate", "--config", settings_file)
    assert (code, said in err) == (78, True), err
