"""Which CI job a command runs in, and nothing else of its environment."""

from __future__ import annotations

import pytest

from proton_tf_agent.wrapper import job

SHA = "f00dfeed" * 5
JOBS = {
    "GitHub Actions": (
        {"GITHUB_ACTIONS": "true", "GITHUB_SHA": SHA, "GITHUB_ACTOR": "alice", "GITHUB_RUN_ATTEMPT": "2",
         "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "acme/net", "GITHUB_RUN_ID": "7"},
        (SHA, "alice", "https://github.com/acme/net/actions/runs/7", "2"),
    ),
    "GitLab CI": (
        {"GITLAB_CI": "true", "CI_COMMIT_SHA": SHA, "GITLAB_USER_LOGIN": "bob", "CI_JOB_URL": "https://gl/acme/-/jobs/9"},
        (SHA, "bob", "https://gl/acme/-/jobs/9", ""),
    ),
    "Jenkins": (
        {"JENKINS_URL": "https://ci/", "GIT_COMMIT": SHA, "BUILD_URL": "https://ci/job/net/3/"},
        (SHA, "", "https://ci/job/net/3/", ""),
    ),
    "Buildkite": (
        {"BUILDKITE": "true", "BUILDKITE_COMMIT": SHA, "BUILDKITE_BUILD_CREATOR": "Eve", "BUILDKITE_RETRY_COUNT": "1",
         "BUILDKITE_BUILD_URL": "https://buildkite.com/acme/net/builds/5", "BUILDKITE_JOB_ID": "abc"},
        (SHA, "Eve", "https://buildkite.com/acme/net/builds/5#abc", "2"),
    ),
    "CircleCI": (
        {"CIRCLECI": "true", "CIRCLE_SHA1": SHA, "CIRCLE_USERNAME": "dan", "CIRCLE_BUILD_URL": "https://circleci.com/gh/a/4"},
        (SHA, "dan", "https://circleci.com/gh/a/4", ""),
    ),
    "Azure Pipelines": (
        {"TF_BUILD": "True", "BUILD_SOURCEVERSION": SHA, "BUILD_REQUESTEDFOR": "Zoe", "SYSTEM_JOBATTEMPT": "1",
         "SYSTEM_COLLECTIONURI": "https://dev.azure.com/acme/", "SYSTEM_TEAMPROJECT": "net", "BUILD_BUILDID": "8"},
        (SHA, "Zoe", "https://dev.azure.com/acme/net/_build/results?buildId=8", "1"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("system", JOBS)
def test_a_job_is_known_by_what_its_system_says(system: str) -> None:
    environment, (commit, actor, url, attempt) = JOBS[system]
    secret = {"AWS_SECRET_ACCESS_KEY": "s3cret", "GITHUB_TOKEN": "ghs_0123456789"}
    found = job.find({**environment, **secret})
    assert found == {"system": system, "commit": commit, "actor": actor, "url": url, "attempt": attempt}


@pytest.mark.parametrize("system", JOBS)
def test_what_a_system_does_not_say_is_left_out(system: str) -> None:
    environment, _ = JOBS[system]
    sign = next(iter(environment.items()))
    assert job.find(dict([sign])) == {"system": system, "commit": "", "actor": "", "url": "", "attempt": ""}


def test_outside_of_every_system_there_is_no_job() -> None:
    assert job.find({"PATH": "/bin", "GITHUB_SHA": SHA}) is None


def test_nothing_that_a_job_says_is_long() -> None:
    found = job.find({"GITLAB_CI": "1", "CI_JOB_URL": "x" * 10_000})
    assert found is not None
    assert len(found["url"]) == 300
