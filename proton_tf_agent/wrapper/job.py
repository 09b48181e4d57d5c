"""Which CI job this is, by the variables that CI systems set. Pure; the environment as a whole is never kept.

Sources, each system's own page on predefined variables: docs.github.com "Variables reference", docs.gitlab.com
"Predefined CI/CD variables", www.jenkins.io "Using environment variables", buildkite.com "Environment variables",
circleci.com "Project values and variables", learn.microsoft.com "Use predefined variables" (Azure Pipelines).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# system, the variable that gives it away, then the first that is set of each: commit, actor, URL (a pattern), attempt
_SYSTEMS = (
    ("GitHub Actions", "GITHUB_ACTIONS", ("GITHUB_SHA",), ("GITHUB_TRIGGERING_ACTOR", "GITHUB_ACTOR"),
     ("{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}",), ("GITHUB_RUN_ATTEMPT",)),
    ("GitLab CI", "GITLAB_CI", ("CI_COMMIT_SHA",), ("GITLAB_USER_LOGIN",),
     ("{CI_JOB_URL}", "{CI_PIPELINE_URL}"), ()),
    ("Buildkite", "BUILDKITE", ("BUILDKITE_COMMIT",), ("BUILDKITE_BUILD_CREATOR", "BUILDKITE_BUILD_AUTHOR"),
     ("{BUILDKITE_BUILD_URL}#{BUILDKITE_JOB_ID}", "{BUILDKITE_BUILD_URL}"), ("BUILDKITE_RETRY_COUNT",)),
    ("CircleCI", "CIRCLECI", ("CIRCLE_SHA1",), ("CIRCLE_USERNAME",), ("{CIRCLE_BUILD_URL}",), ()),
    ("Azure Pipelines", "TF_BUILD", ("BUILD_SOURCEVERSION",), ("BUILD_REQUESTEDFOR",),
     ("{SYSTEM_COLLECTIONURI}{SYSTEM_TEAMPROJECT}/_build/results?buildId={BUILD_BUILDID}",), ("SYSTEM_JOBATTEMPT",)),
    ("Jenkins", "JENKINS_URL", ("GIT_COMMIT",), ("BUILD_USER_ID", "CHANGE_AUTHOR"), ("{BUILD_URL}",), ()),
)  # fmt: skip
_COUNTS_RETRIES = "Buildkite"  # 0 for the first attempt; the others count attempts from 1
_LONGEST = 300


def find(environment: Mapping[str, str]) -> dict[str, str] | None:
    """The job, as the fields of `domain.evidence.Job`; None outside of every CI system we know."""
    for system, sign, commits, actors, urls, attempts in _SYSTEMS:
        if not environment.get(sign):
            continue
        attempt = _first(environment, attempts)
        if system == _COUNTS_RETRIES and attempt.isdecimal():
            attempt = str(int(attempt) + 1)
        url = next((filled for pattern in urls if (filled := _filled(pattern, environment))), "")
        job = {
            "system": system, "commit": _first(environment, commits), "actor": _first(environment, actors),
            "url": url, "attempt": attempt,
        }  # fmt: skip
        return {key: value[:_LONGEST] for key, value in job.items()}
    return None


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")


def _filled(pattern: str, environment: Mapping[str, str]) -> str:
    """The pattern with its variables; empty when one of them is not set."""
    try:
        return pattern.format_map({name: value for name, value in environment.items() if value})
    except (KeyError, ValueError):
        return ""
