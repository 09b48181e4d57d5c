"""A run is one deployment on GitHub, however often it is told and whatever is lost on the way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agents import Heard
from support.command_lines import Output, run
from support.http_servers import saying
from support.outboxes import OTHER_ARN, enqueued, notification
from support.rigs.github import COMMIT, PRIMARY_LIMIT, REPOSITORY, SECONDARY_LIMIT, TOKEN, GitHub, adding, creating

from proton_tf_agent.domain.notification import Notification, Status, trial_of
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.domain.run import RunStatus
from proton_tf_agent.domain.values import replace
from proton_tf_agent.http_request import HttpPlace
from proton_tf_agent.journal import Journal
from proton_tf_agent.relay import Relay
from proton_tf_agent.secret_source import SecretMissing
from proton_tf_agent.sinks.github import GitHubSink

PAGE = Path(__file__).parents[2] / "docs" / "sinks" / "github.md"
BEGUN = notification(1, Status.IN_PROGRESS, text="Terraform apply started.\nGitHub Actions: by me")
ENDED = notification(2, Status.SUCCEEDED, text="Apply complete: 1 added, 0 changed, 0 destroyed.")


@pytest.fixture
def github() -> Iterator[GitHub]:
    server = GitHub()
    yield server
    server.close()
    assert server.errors == []


def sink_for(server: GitHub, environment: str | None = None, now: float = 0.0, token: str = TOKEN) -> GitHubSink:
    return GitHubSink(
        "github", HttpPlace(server.api), lambda: token, REPOSITORY, "main", environment, clock=lambda: now
    )


def states(server: GitHub) -> list[tuple[int, str]]:
    return [(number, state) for number, state, _ in server.statuses]


def posts(server: GitHub) -> int:
    return sum(creating(method, path) for method, path in server.requests)


def test_a_run_becomes_a_deployment_and_what_is_told_of_it_its_statuses(github: GitHub) -> None:
    sink = sink_for(github)
    begun = sink.send(BEGUN)
    assert begun == Outcome(OutcomeKind.ACCEPTED, http_status=201, request_id="1000")
    assert sink.send_on(ENDED, begun.request_id) == begun
    assert github.deployments == {
        1000: {
            "ref": "main",
            "task": "terraform:run-1",
            "auto_merge": False,
            "required_contexts": [],
            "environment": "network",
            "description": "environment/network",
            "payload": {
                "run_id": "run-1",
                "resource_arn": BEGUN.resource_arn,
                "deployment_id": BEGUN.deployment_id,
            },
        }
    }
    assert github.statuses == [
        (1000, "in_progress", "Terraform apply started."),
        (1000, "success", "Apply complete: 1 added, 0 changed, 0 destroyed."),
    ]
    assert [method for method, _ in github.requests] == ["GET", "POST", "POST", "POST"]


@pytest.mark.parametrize(
    ("status", "run_status", "state"),
    [
        (Status.IN_PROGRESS, RunStatus.APPLYING, "in_progress"),
        (Status.SUCCEEDED, RunStatus.APPLIED, "success"),
        (Status.SUCCEEDED, RunStatus.DESTROYED, "inactive"),
        (Status.FAILED, RunStatus.ERRORED, "failure"),
    ],
)
def test_every_status_has_a_state(github: GitHub, status: Status, run_status: RunStatus, state: str) -> None:
    told = replace(ENDED, status=status, run_status=run_status, resource_deleted=True)
    assert sink_for(github).wants(told)
    sink_for(github).send(told)
    assert states(github) == [(1000, state)]


def test_a_run_of_no_resource_is_named_by_its_directory_and_settings_name_one_for_all(github: GitHub) -> None:
    unbound = replace(BEGUN, resource_arn=None, deployment_id=None, directory="/srv/infra/network/", run_id="b")
    sink_for(github).send(unbound)
    sink_for(github, environment="production").send(BEGUN)
    assert [made["environment"] for made in github.deployments.values()] == ["srv/infra/network", "production"]


def test_the_commit_of_the_ci_job_is_deployed_if_the_repository_has_it(github: GitHub) -> None:
    for number, commit in enumerate((COMMIT, "f" * 40, "")):
        told = replace(BEGUN, run_id=f"run-{number}", commit=commit)
        assert sink_for(github).send(told).kind is OutcomeKind.ACCEPTED
    assert [made["ref"] for made in github.deployments.values()] == [COMMIT, "main", "main"]
    github.refs.clear()
    told = replace(BEGUN, run_id="run-x", commit=COMMIT)
    assert sink_for(github).send(told) == Outcome(OutcomeKind.INVALID, "Http422", 422)


def test_a_test_leaves_nothing_that_looks_deployed(github: GitHub) -> None:
    assert (
        sink_for(github, environment="production").send(trial_of("github", "alice", 0.0)).kind is OutcomeKind.ACCEPTED
    )
    assert states(github) == [(1000, "inactive")]
    assert github.deployments[1000]["environment"] == "proton-tf-agent-test"


def test_a_long_message_is_cut_to_what_github_takes(github: GitHub) -> None:
    long = replace(ENDED, status_message="x" * 500, resource_arn=None, directory="/w/" + "d" * 600)
    assert sink_for(github).send(long).kind is OutcomeKind.ACCEPTED
    assert github.statuses[0][2] == "x" * 138 + " …"


# --- one deployment, whatever is lost ------------------------------------------------------------------------------


def test_a_deployment_whose_answer_was_lost_is_found_and_no_second_one_made(github: GitHub) -> None:
    github.lose(creating)
    assert sink_for(github).send(BEGUN) == Outcome(OutcomeKind.UNAVAILABLE, "RemoteDisconnected", ambiguous=True)
    github.lose()
    assert sink_for(github).send(BEGUN).request_id == "1000"
    assert list(github.deployments) == [1000]
    assert posts(github) == 1


def test_a_status_whose_answer_was_lost_stands_there_twice_under_one_deployment(github: GitHub) -> None:
    github.lose(adding)
    lost = sink_for(github).send(BEGUN)
    assert lost == Outcome(OutcomeKind.UNAVAILABLE, "RemoteDisconnected", request_id="1000", ambiguous=True)
    github.lose()
    sink_for(github).send_on(BEGUN, lost.request_id)
    assert states(github) == [(1000, "in_progress")] * 2


def test_a_deployment_that_somebody_has_deleted_is_made_again(github: GitHub) -> None:
    reference = sink_for(github).send(BEGUN).request_id
    github.deployments.clear()
    github.deployments[1] = {"task": "deploy", "environment": "network"}
    assert sink_for(github).send_on(ENDED, reference).kind is OutcomeKind.ACCEPTED
    assert [made["task"] for made in github.deployments.values()] == ["deploy", "terraform:run-1"]


@pytest.mark.parametrize("reference", ["4f1a-not-a-number", "../../../user", "٣"])
def test_a_name_that_is_no_number_of_a_deployment_leads_nowhere(github: GitHub, reference: str) -> None:
    assert sink_for(github).send_on(BEGUN, reference).request_id == "1000"


class _Relayed:
    """A relay with a GitHub sink on a journal, until it is left; it may be left as a crash would leave it."""

    def __init__(self, journal: Journal, server: GitHub) -> None:
        self.journal = journal
        self.log = Heard()
        self._jobs: list[object] = []
        self._relay = Relay(
            journal, {"github": sink_for(server)}, self.log.tell, lambda: 2000.0, lambda: 0.0,
            ticks=lambda: 0.0, submit=self._jobs.append,
        )  # fmt: skip

    def begin(self) -> None:
        """Commit that a request leaves, and let it leave."""
        self._relay.turn()
        while self._jobs:
            self._jobs.pop(0)()  # type: ignore[operator]

    def settle(self) -> None:
        """Until nothing is left to be told."""
        for _ in range(20):
            self.begin()
        self._relay.turn()

    def told(self, one: Notification) -> None:
        enqueued(self.journal, one, sink="github", now=2000.0)
        self._relay.nudge()
        self.settle()


def rows(journal: Journal) -> list[str]:
    return [row["state"] for row in journal.query("entries", after=0, limit=100)]


def test_the_number_comes_back_from_the_journal_to_the_next_status_and_to_a_replay(
    github: GitHub, journal: Journal
) -> None:
    relayed = _Relayed(journal, github)
    relayed.told(BEGUN)
    relayed.told(ENDED)
    relayed.told(replace(BEGUN, notification_id="ntf-9", run_id="run-2", resource_arn=OTHER_ARN))
    (row,) = journal.query("entry", seq=2)
    journal.replay(row, 2000.0)
    relayed = _Relayed(journal, github)  # after a restart, too
    relayed.settle()
    assert rows(journal) == ["delivered"] * 4
    assert states(github) == [(1000, "in_progress"), (1000, "success"), (1001, "in_progress"), (1000, "success")]
    assert posts(github) == 2
    assert sum(method == "GET" for method, _ in github.requests) == 2, "GitHub is asked once for each run"


def test_a_crash_between_the_deployment_and_its_record_makes_no_second_one(github: GitHub, journal: Journal) -> None:
    crashed = _Relayed(journal, github)
    enqueued(journal, BEGUN, sink="github", now=2000.0)
    crashed.begin()  # told, and gone before it is settled
    assert (posts(github), len(github.statuses)) == (1, 1)
    assert journal.reference("run-1", "github") == ""
    relayed = _Relayed(journal, github)
    relayed.settle()
    relayed.told(ENDED)
    assert rows(journal) == ["delivered", "delivered", "pending"], "the last is to be said once more, in six minutes"
    assert list(github.deployments) == [1000]
    assert states(github) == [(1000, "in_progress"), (1000, "in_progress"), (1000, "success")]


def test_the_number_is_kept_of_an_attempt_that_failed_after_it_was_given(github: GitHub, journal: Journal) -> None:
    github.fail(saying(503, b""), adding)
    relayed = _Relayed(journal, github)
    enqueued(journal, BEGUN, sink="github", now=2000.0)
    relayed.begin()
    relayed.begin()
    assert journal.reference("run-1", "github") == "1000"
    assert journal.reference("run-1", "other") == ""
    assert journal.reference("run-2", "github") == ""


# --- refusals -------------------------------------------------------------------------------------------------------


def test_every_answer_means_what_the_page_says(github: GitHub) -> None:
    kinds = {
        "5xx": {500: OutcomeKind.UNAVAILABLE, 502: OutcomeKind.UNAVAILABLE},
        "401": {401: OutcomeKind.UNAUTHENTICATED},
        "403": {403: OutcomeKind.DENIED, 404: OutcomeKind.DENIED},
        "409": {409: OutcomeKind.CONFLICT},
        "422": {422: OutcomeKind.INVALID},
    }
    rows = re.findall(r"^\| (\dxx|[3-5]\d\d)", PAGE.read_text("utf-8"), re.MULTILINE)
    assert rows == ["403", *kinds]
    for answers in kinds.values():
        for status, kind in answers.items():
            github.fail(saying(status, {"message": "no"}), creating)
            outcome = sink_for(github).send(BEGUN)
            assert (outcome.kind, outcome.code, outcome.http_status) == (kind, f"Http{status}", status)
    assert github.deployments == {}


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (saying(403, b"", {"Retry-After": "17"}), 17.0),
        (saying(429, b"", {"Retry-After": "17"}), 17.0),
        (PRIMARY_LIMIT, 90.0),
        (SECONDARY_LIMIT, 60.0),
        (saying(429, b""), 60.0),
        (saying(403, b"", {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}), 1.0),
    ],
)
def test_limits_are_waited_for_as_long_as_github_asks(github: GitHub, answer: object, seconds: float) -> None:
    for where in (lambda method, _path: method == "GET", creating, adding):
        github.fail(answer, where)  # type: ignore[arg-type]
        outcome = sink_for(github, now=1_700_000_000.0).send(BEGUN)
        assert (outcome.kind, outcome.code, outcome.retry_after) == (OutcomeKind.THROTTLED, "RateLimited", seconds)
        assert not outcome.ambiguous


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"{}", b'{"id": "1"}', b'{"id": true}', b"[" * 60_000, b'[{"id": 1}, 2]']
)
@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_what_is_not_githubs_answer_is_taken_for_none(github: GitHub, status: int, body: bytes) -> None:
    for where in (lambda method, _path: method == "GET", creating, adding):
        github.fail(saying(status, body), where)
        outcome = sink_for(github).send(BEGUN)
        if outcome.kind is not OutcomeKind.ACCEPTED:
            assert (outcome.kind, outcome.code) == (OutcomeKind.UNAVAILABLE, "AnswerNotGitHubs")
        else:
            assert status == 200
            assert body in (b"[]", b'[{"id": 1}, 2]'), "a list in which the run is not"
        github.deployments.clear()


@pytest.mark.parametrize("token", ["two words", "tok\ten", "tökèn"])
def test_a_token_that_no_header_takes_is_sent_nowhere(github: GitHub, token: str) -> None:
    assert sink_for(github, token=token).send(BEGUN) == Outcome(OutcomeKind.UNAUTHENTICATED, "SecretNotToken")
    assert github.requests == []


def test_a_token_is_read_each_time_and_one_that_is_missing_holds_the_sink_up(github: GitHub) -> None:
    tokens = ["ghp_old", TOKEN]

    def token() -> str:
        if not tokens:
            raise SecretMissing("SecretUnreadable")
        return tokens[0]

    sink = GitHubSink("github", HttpPlace(github.api), token, REPOSITORY, "main")
    assert sink.send(BEGUN) == Outcome(OutcomeKind.UNAUTHENTICATED, "Http401", 401)
    tokens.pop(0)
    assert sink.send(BEGUN).kind is OutcomeKind.ACCEPTED
    tokens.clear()
    assert sink.send(BEGUN) == Outcome(OutcomeKind.UNAUTHENTICATED, "SecretUnreadable")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('repository = "a/b"\nref = "main"', "[[sink]] secret: is missing"),
        ('repository = "a/b"\nsecret = "env:T"', "[[sink]] ref: is missing"),
        ('ref = "main"\nsecret = "env:T"', "[[sink]] repository: is missing"),
        ('repository = "https://github.com/a/b"\nref = "main"\nsecret = "env:T"', "is not the name of a repository"),
        ('repository = "a/.."\nref = "main"\nsecret = "env:T"', "is not the name of a repository"),
        ('repository = "a/b"\nref = "main"\nsecret = "ghp_123"', "must say where the secret is"),
        (
            'repository = "a/b"\nref = "main"\nsecret = "env:T"\nurl = "http://ghe.example/api/v3"',
            "must be an https URL",
        ),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings_file: str, capsys: Output, keys: str, said: str) -> None:
    with open(settings_file, "a") as file:
        file.write(f'[[sink]]\ntype = "github"\n{keys}\n')
    code, _, err = run(capsys, "config", "validate", "--config", settings_file)
    assert (code, said in err) == (78, True), err
