"""A run is one deployment on GitLab, whose status follows what is told and never goes back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_lines import Output, run
from support.http_servers import saying
from support.outboxes import notification
from support.rigs.gitlab import BASE, COMMIT, HEAD, PROJECT, TOKEN, GitLab, creating

from proton_tf_agent.domain.notification import Status, trial_of
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.domain.values import replace
from proton_tf_agent.http_request import HttpPlace
from proton_tf_agent.sinks.gitlab import GitLabSink

PAGE = Path(__file__).parents[2] / "docs" / "sinks" / "gitlab.md"
NOW = 1_800_000_000.0
BEGUN = replace(notification(1, Status.IN_PROGRESS), created_at=NOW - 2)
ENDED = replace(notification(2, Status.SUCCEEDED), created_at=NOW - 1)
LOST = Outcome(OutcomeKind.UNAVAILABLE, "RemoteDisconnected", ambiguous=True)


@pytest.fixture
def gitlab() -> Iterator[GitLab]:
    server = GitLab()
    server.now = lambda: NOW
    yield server
    server.close()
    assert server.errors == []


def sink_for(server: GitLab, environment: str | None = None, token: str = TOKEN, project: str = PROJECT) -> GitLabSink:
    return GitLabSink("gitlab", HttpPlace(server.api), lambda: token, project, "main", environment, lambda: NOW)


def test_a_run_becomes_a_deployment_whose_status_follows(gitlab: GitLab) -> None:
    sink = sink_for(gitlab)
    begun = sink.send(BEGUN)
    assert begun == Outcome(OutcomeKind.ACCEPTED, http_status=201, request_id="40")
    made = gitlab.deployments[40]
    assert (made["environment"], made["sha"], made["ref"], made["status"]) == (
        {"name": "network"},
        HEAD,
        "main",
        "running",
    )
    planned = replace(BEGUN, notification_id="ntf-3")
    for told in (planned, ENDED, ENDED):
        assert sink.send_on(told, "40") == Outcome(OutcomeKind.ACCEPTED, http_status=200, request_id="40")
    assert gitlab.told == [(40, "running"), (40, "success")], "a status that it has is not set again"


@pytest.mark.parametrize(
    ("status", "name"), [(Status.IN_PROGRESS, "running"), (Status.SUCCEEDED, "success"), (Status.FAILED, "failed")]
)
def test_a_run_that_is_told_late_begins_with_the_status_it_has(gitlab: GitLab, status: Status, name: str) -> None:
    sink_for(gitlab).send(replace(BEGUN, status=status))
    assert gitlab.told == [(40, name)]


def test_a_verdict_is_amended_and_nothing_goes_back_to_running(gitlab: GitLab) -> None:
    sink = sink_for(gitlab)
    sink.send(replace(ENDED, status=Status.FAILED))
    assert sink.send_on(ENDED, "40").kind is OutcomeKind.ACCEPTED
    assert sink.send_on(BEGUN, "40") == Outcome(OutcomeKind.OVERTAKEN, "DeploymentHasEnded", 200, "40")
    assert gitlab.told == [(40, "failed"), (40, "success")]


def test_the_commit_of_the_ci_job_is_deployed_if_the_project_has_it(gitlab: GitLab) -> None:
    for number, commit in enumerate((COMMIT, "f" * 40)):
        told = replace(BEGUN, resource_arn=None, directory=f"/w/{number}", commit=commit)
        assert sink_for(gitlab).send(told).kind is OutcomeKind.ACCEPTED
    assert [made["sha"] for made in gitlab.deployments.values()] == [COMMIT, HEAD]
    gitlab.branches.clear()
    outcome = sink_for(gitlab).send(replace(BEGUN, resource_arn=None, directory="/w/x"))
    assert (outcome.kind, outcome.code) == (OutcomeKind.DENIED, "Http404")


def test_an_environment_is_named_after_the_resource_the_directory_or_by_the_settings(gitlab: GitLab) -> None:
    odd = replace(BEGUN, resource_arn=None, directory="/srv/infra/nét~work/")
    sink_for(gitlab).send(odd)
    sink_for(gitlab, environment="production").send(BEGUN)
    names = [made["environment"]["name"] for made in gitlab.deployments.values()]
    assert names == ["srv/infra/n-t-work", "production"]


def test_a_project_may_be_named_by_its_number(gitlab: GitLab) -> None:
    sink_for(gitlab, project="17").send(BEGUN)
    assert gitlab.requests[0][1].startswith("/api/v4/projects/17/deployments?")


def test_a_test_leaves_nothing_that_looks_deployed(gitlab: GitLab) -> None:
    sink = sink_for(gitlab, environment="production")
    assert sink.send(trial_of("gitlab", "alice", 0.0)).kind is OutcomeKind.ACCEPTED
    assert gitlab.told == [(40, "canceled")]
    assert gitlab.deployments[40]["environment"] == {"name": "proton-tf-agent-test"}


# --- what was lost ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("commit", ["", COMMIT])
def test_a_deployment_whose_answer_was_lost_is_found(gitlab: GitLab, commit: str) -> None:
    told = replace(BEGUN, commit=commit)
    gitlab.lose(creating)
    assert sink_for(gitlab).send(told) == LOST
    gitlab.lose()
    assert sink_for(gitlab).send(told) == Outcome(OutcomeKind.ACCEPTED, http_status=200, request_id="40")
    assert list(gitlab.deployments) == [40]


@pytest.mark.parametrize(
    "other",
    [
        {"status": "success"},
        {"ref": "next"},
        {"sha": HEAD},
        {"environment": {"name": "dns"}},
        {"deployable": {"id": 7}},
        {"created_at": "2027-01-15T07:59:57.000Z"},  # before what is told came about
        {"created_at": "soon"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_no_deployment_that_may_be_another_runs_is_taken(gitlab: GitLab, other: dict[str, object]) -> None:
    gitlab.add(**{"sha": COMMIT} | other)
    assert sink_for(gitlab).send(replace(BEGUN, commit=COMMIT)).request_id == "41"


def test_of_two_that_look_the_same_neither_is_taken_nor_one_in_an_environment_that_all_share(gitlab: GitLab) -> None:
    gitlab.add()
    gitlab.add()
    assert sink_for(gitlab).send(BEGUN).request_id == "42"
    gitlab.deployments.clear()
    gitlab.add(environment={"name": "production"})
    assert sink_for(gitlab, environment="production").send(BEGUN).request_id == "41"


def test_a_deployment_that_somebody_has_deleted_is_made_again(gitlab: GitLab) -> None:
    sink_for(gitlab).send(BEGUN)
    del gitlab.deployments[40]
    gitlab.add(id=41, environment={"name": "dns"})
    gitlab.deployments = {41: gitlab.deployments.pop(40)}
    outcome = sink_for(gitlab).send_on(ENDED, "40")
    assert (outcome.kind, outcome.http_status) == (OutcomeKind.ACCEPTED, 201)
    assert gitlab.told[-1][1] == "success"


# --- refusals -----------------------------------------------------------------------------------------------------


def test_every_answer_means_what_the_page_says(gitlab: GitLab) -> None:
    kinds = {
        "429": {429: OutcomeKind.THROTTLED},
        "5xx": {500: OutcomeKind.UNAVAILABLE, 502: OutcomeKind.UNAVAILABLE},
        "401": {401: OutcomeKind.UNAUTHENTICATED},
        "403": {403: OutcomeKind.DENIED, 404: OutcomeKind.DENIED},
        "400": {400: OutcomeKind.INVALID, 422: OutcomeKind.INVALID},
    }
    assert re.findall(r"^\| (\dxx|[3-5]\d\d)", PAGE.read_text("utf-8"), re.MULTILINE) == list(kinds)
    for answers in kinds.values():
        for status, kind in answers.items():
            gitlab.fail(saying(status, {"message": "no"}, {"Retry-After": "7"}), creating)
            outcome = sink_for(gitlab).send(BEGUN)
            assert (outcome.kind, outcome.code, outcome.http_status) == (kind, f"Http{status}", status)
            assert outcome.retry_after == 7.0
    assert gitlab.deployments == {}


def test_a_deployment_of_a_ci_job_is_nobodys_to_change(gitlab: GitLab) -> None:
    number = gitlab.add(deployable={"id": 7})
    outcome = sink_for(gitlab).send_on(ENDED, str(number))
    assert outcome == Outcome(OutcomeKind.DENIED, "Http403", 403, str(number))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"id": "1"}', b"[" * 60_000, b"[1, 2]", b'{"status": 7}'])
@pytest.mark.parametrize("status", [200, 201, 204])
def test_what_is_not_gitlabs_answer_is_taken_for_none(gitlab: GitLab, status: int, body: bytes) -> None:
    number = str(gitlab.add(environment={"name": "dns"}))
    wheres = {
        "listing": lambda method, path: method == "GET" and "?" in path,
        "the commit": lambda _method, path: "/repository/" in path,
        "creating": creating,
        "reading": lambda method, path: method == "GET" and path == f"{BASE}/deployments/{number}",
        "changing": lambda method, _path: method == "PUT",
    }
    for name, where in wheres.items():
        gitlab.fail(saying(status, body), where)
        outcome = sink_for(gitlab).send_on(ENDED, number if name in ("reading", "changing") else "")
        if name == "listing" and status == 200 and body in (b"[]", b"[1, 2]"):
            assert outcome.kind is OutcomeKind.ACCEPTED, "a list in which there is none"
            gitlab.deployments = {int(number): gitlab.deployments[int(number)]}
        else:
            assert (outcome.kind, outcome.code) == (OutcomeKind.UNAVAILABLE, "AnswerNotGitLabs"), name


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('project = "a/b"\nref = "main"', "[[sink]] secret: is missing"),
        ('project = "a/b"\nsecret = "env:T"', "[[sink]] ref: is missing"),
        ('ref = "main"\nsecret = "env:T"', "[[sink]] project: is missing"),
        ('project = "infra"\nref = "main"\nsecret = "env:T"', "is not the name of a project"),
        ('project = "a/../b"\nref = "main"\nsecret = "env:T"', "is not the name of a project"),
        ('project = "a/b"\nrepository = "a/b"\nref = "main"\nsecret = "env:T"', "means nothing to a gitlab sink"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings_file: str, capsys: Output, keys: str, said: str) -> None:
    with open(settings_file, "a") as file:
        file.write(f'[[sink]]\ntype = "gitlab"\n{keys}\n')
    code, _, err = run(capsys, "config", "validate", "--config", settings_file)
    assert (code, said in err) == (78, True), err


def test_settings_for_it_are_taken(settings_file: str, capsys: Output) -> None:
    with open(settings_file, "a") as file:
        file.write('[[sink]]\ntype = "gitlab"\nproject = "a/b-c/d.e"\nref = "main"\nsecret = "env:T"\n')
    code, _, err = run(capsys, "config", "validate", "--config", settings_file)
    assert (code, err) == (0, "")
