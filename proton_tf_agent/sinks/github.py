"""The github sink: every run as one deployment of a repository, every notification as a status of it.

The deployment's task holds the run's id. So a run has one deployment however often it is told and whatever was lost on
the way: its number comes back from the journal (`sinks.Continues`), and where the journal has none, because a crash or
the network has swallowed the answer, GitHub is asked for it before another is made.

Sources: GitHub's REST API, version 2022-11-28, "Deployments", "Deployment statuses" and "Rate limits for the REST API".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from ..domain.notification import Notification, Status
from ..domain.outbox import Outcome, OutcomeKind
from ..domain.run import RunStatus
from ..domain.values import replace
from ..http_request import Answer, HttpPlace, outcome_of, retry_after
from ..json_api import JsonApi, Reply

_STATES = {Status.IN_PROGRESS: "in_progress", Status.SUCCEEDED: "success", Status.FAILED: "failure"}
_MAX_DESCRIPTION = 140
_MAX_ENVIRONMENT = 255
_SECONDARY_S = 60.0  # what GitHub asks for at least when it names no time


class GitHubSink:
    """Tells `repository` ("OWNER/NAME") at an API's place.

    ref: what is deployed where a run names no commit that the repository has. environment: None for one named after
    each resource. token: SecretMissing when there is none.
    """

    def __init__(
        self,
        name: str,
        place: HttpPlace,
        token: Callable[[], str],
        repository: str,
        ref: str,
        environment: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._api = JsonApi(place, token, _headers)
        self._deployments = f"/repos/{repository}/deployments"
        self._ref = ref
        self._named = environment
        self._clock = clock
        self._closed = False

    def wants(self, notification: Notification) -> bool:
        """True: the end of a deleted resource, too."""
        return True

    def send(self, notification: Notification) -> Outcome:
        """`send_on`, with no number known."""
        return self.send_on(notification, "")

    def send_on(self, notification: Notification, reference: str) -> Outcome:
        """Add a status to the run's deployment, which is found or made where its number is not known.

        What may have arrived and was not answered is ambiguous: a status may stand there twice, a deployment never.
        """
        if self._closed:
            return Outcome(OutcomeKind.UNAVAILABLE, "SinkClosed")
        number = reference if _is_number(reference) else self._found(notification) or self._made(notification)
        if isinstance(number, Outcome):
            return number
        outcome = self._add_status(number, notification)
        if outcome.kind is OutcomeKind.NOT_FOUND and reference:
            return self.send_on(notification, "")  # somebody has deleted it
        return replace(outcome, request_id=number)

    def try_out(self) -> Outcome:
        """Ask for a deployment, any: what that takes, telling takes, too, and the right to write."""
        reply = self._api.ask("GET", f"{self._deployments}?per_page=1")
        if isinstance(reply, Outcome):
            return reply
        if reply.status == 200 and isinstance(reply.content, list):
            return Outcome(OutcomeKind.ACCEPTED, "", 200)
        return self._refused(reply)

    def close(self) -> None:
        """Take no more notifications; a request under way ends by itself."""
        self._closed = True

    def _found(self, told: Notification) -> str | Outcome:
        """The number of the run's deployment; empty when it has none."""
        wanted = {"task": _task(told), "environment": self._environment(told), "per_page": "5"}
        reply = self._api.ask("GET", f"{self._deployments}?{urlencode(wanted)}")
        if isinstance(reply, Outcome):
            return reply
        if reply.status != 200 or not isinstance(reply.content, list):
            return replace(self._refused(reply), ambiguous=False)  # nothing was told yet
        numbers = [
            Reply(reply.answer, each).number("id")
            for each in reply.content
            if isinstance(each, dict) and each.get("task") == _task(told)
        ]
        return min(filter(None, numbers), key=int, default="")

    def _made(self, told: Notification) -> str | Outcome:
        """The number of a new deployment."""
        refused: Outcome | None = None
        for ref in filter(None, (told.commit, self._ref)):
            reply = self._api.ask("POST", self._deployments, self._deployment(told, ref))
            if isinstance(reply, Outcome):
                return reply
            if reply.status == 201:
                return reply.number("id") or _not_githubs(reply)
            refused = self._refused(reply)
            if reply.status != 422:  # 422: among others, the repository has no such ref
                break
        return refused or Outcome(OutcomeKind.INVALID, "RefMissing")

    def _add_status(self, number: str, told: Notification) -> Outcome:
        reply = self._api.ask("POST", f"{self._deployments}/{number}/statuses", _status(told))
        if isinstance(reply, Outcome):
            return reply
        if reply.status == 201:
            return Outcome(OutcomeKind.ACCEPTED, "", 201) if reply.number("id") else _not_githubs(reply)
        if reply.status == 404:
            return Outcome(OutcomeKind.NOT_FOUND, "Http404", 404)
        return self._refused(reply)

    def _deployment(self, told: Notification, ref: str) -> dict[str, object]:
        """payload: readable to whoever may read the repository, so it holds no outputs."""
        return {
            "ref": ref,
            "task": _task(told),
            "auto_merge": False,
            "required_contexts": [],
            "environment": self._environment(told),
            "description": _cut(told.whose),
            "payload": {
                "run_id": told.run_id,
                "resource_arn": told.resource_arn,
                "deployment_id": told.deployment_id,
            },
        }

    def _environment(self, told: Notification) -> str:
        named = None if told.is_test else self._named  # of a test none: whatever waits for that one would begin
        return (named or told.environment)[-_MAX_ENVIRONMENT:].strip("/")

    def _refused(self, reply: Reply) -> Outcome:
        return _refusal(reply.answer, self._clock())


def _headers(token: str) -> Mapping[str, str]:
    return {
        "Accept": "application/vnd.github+json",
        "Authorization": f"Bearer {token}",
        "X-GitHub-Api-Version": "2022-11-28",
    }


def _is_number(reference: str) -> bool:
    return reference.isascii() and reference.isdecimal()


def _task(told: Notification) -> str:
    return f"terraform:{told.run_id}"


def _status(told: Notification) -> dict[str, object]:
    is_none = told.run_status is RunStatus.DESTROYED or told.is_test  # a test deploys nothing
    return {
        "state": "inactive" if is_none else _STATES[told.status],
        "description": _cut(told.status_message.split("\n", 1)[0]),
    }


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_DESCRIPTION else text[: _MAX_DESCRIPTION - 2] + " …"


def _refusal(answer: Answer, now: float) -> Outcome:
    """Whose failure it is. Of a repository that a token may not see GitHub says that it is not there."""
    outcome = outcome_of(answer, now)
    if answer.status in (403, 429):
        wait = _asked_wait(answer, now)
        if wait is not None:
            return Outcome(OutcomeKind.THROTTLED, "RateLimited", answer.status, retry_after=wait)
    if answer.status == 404:
        return replace(outcome, kind=OutcomeKind.DENIED)
    if outcome.kind is OutcomeKind.ACCEPTED:
        return replace(outcome, kind=OutcomeKind.UNAVAILABLE, code="AnswerNotGitHubs", ambiguous=True)
    return outcome


def _asked_wait(answer: Answer, now: float) -> float | None:
    """Seconds to wait; None where a limit is not what it refuses for."""
    asked = retry_after(answer, now)
    if asked is not None:
        return asked
    reset = answer.headers.get("x-ratelimit-reset", "")
    if answer.headers.get("x-ratelimit-remaining") == "0" and reset.isascii() and reset.isdecimal():
        return max(1.0, float(reset[:12]) - now)
    is_limit = answer.status == 429 or b"rate limit" in answer.body.lower()
    return _SECONDARY_S if is_limit else None


def _not_githubs(reply: Reply) -> Outcome:
    return Outcome(OutcomeKind.UNAVAILABLE, "AnswerNotGitHubs", reply.status, ambiguous=True)
