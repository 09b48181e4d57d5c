"""The gitlab sink: every run as one deployment of a project, whose status follows what is told.

A deployment has a commit, a branch or tag, an environment and a status, and no place for a text or an id of ours. Its
number comes back from the journal (`sinks.Continues`). Where the journal has none, because a crash or the network has
swallowed the answer, the one that was just made is known by all that it has: see `_found`.

A status that a deployment has already may not be set again, and none leads back to `running`: so it is read first.

Sources: GitLab's "Deployments API" and "Commits API"; for what a status may follow, its `app/models/deployment.rb`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from ..domain.notification import Notification, Status
from ..domain.outbox import Outcome, OutcomeKind
from ..domain.values import replace
from ..http_request import HttpPlace, outcome_of
from ..json_api import JsonApi, Reply

_STATUSES = {Status.IN_PROGRESS: "running", Status.SUCCEEDED: "success", Status.FAILED: "failed"}
_BEGINNING = ("created", "running")
_NOT_IN_ENVIRONMENTS = re.compile(r"[^A-Za-z0-9 _./${}-]")
_MAX_ENVIRONMENT = 255
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class GitLabSink:
    """Tells `project` (its number, or "GROUP/NAME") at an API's place.

    ref: the branch or tag; its head is deployed where a run names no commit that the project has. environment: None for
    one named after each resource. token: SecretMissing when there is none.
    """

    def __init__(
        self,
        name: str,
        place: HttpPlace,
        token: Callable[[], str],
        project: str,
        ref: str,
        environment: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._api = JsonApi(place, token, lambda secret: {"PRIVATE-TOKEN": secret})
        self._project = f"/projects/{quote(project, safe='')}"
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
        """Give the run's deployment its status; where its number is not known, it is found, or made with it."""
        if self._closed:
            return Outcome(OutcomeKind.UNAVAILABLE, "SinkClosed")
        status = "canceled" if notification.is_test else _STATUSES[notification.status]
        if reference.isascii() and reference.isdecimal():
            outcome = self._changed(reference, status)
            if outcome.kind is not OutcomeKind.NOT_FOUND:
                return replace(outcome, request_id=reference)
        found = self._found(notification, status)
        if isinstance(found, Outcome):
            return found
        return Outcome(OutcomeKind.ACCEPTED, "", 200, found) if found else self._made(notification, status)

    def try_out(self) -> Outcome:
        """Ask for a deployment, any: what that takes, telling takes, too, and the right to write."""
        reply = self._api.ask("GET", f"{self._project}/deployments?per_page=1")
        if isinstance(reply, Outcome):
            return reply
        if reply.status == 200 and isinstance(reply.content, list):
            return Outcome(OutcomeKind.ACCEPTED, "", 200)
        return self._refused(reply)

    def close(self) -> None:
        """Take no more notifications; a request under way ends by itself."""
        self._closed = True

    # --- one deployment ----------------------------------------------------------------------------------------

    def _changed(self, number: str, status: str) -> Outcome:
        """Give a deployment this status, unless it has it. NOT_FOUND when somebody has deleted it."""
        path = f"{self._project}/deployments/{number}"
        reply = self._api.ask("GET", path)
        if isinstance(reply, Outcome):
            return reply
        now = reply.content.get("status") if reply.status == 200 and isinstance(reply.content, dict) else None
        if not isinstance(now, str):
            return replace(self._refused(reply, missing=OutcomeKind.NOT_FOUND), ambiguous=False)
        if now == status:
            return Outcome(OutcomeKind.ACCEPTED, "", 200)
        if status in _BEGINNING and now not in _BEGINNING:
            return Outcome(OutcomeKind.OVERTAKEN, "DeploymentHasEnded", 200)
        reply = self._api.ask("PUT", path, {"status": status})
        if isinstance(reply, Outcome):
            return reply
        return (
            Outcome(OutcomeKind.ACCEPTED, "", 200)
            if reply.status == 200 and reply.number("id")
            else self._refused(reply)
        )

    def _made(self, told: Notification, status: str) -> Outcome:
        """Make a deployment that has this status from its first moment."""
        sha: str | Outcome = told.commit or self._head()
        while isinstance(sha, str):
            asked = {
                "environment": self._environment(told), "sha": sha, "ref": self._ref, "tag": False, "status": status,
            }  # fmt: skip
            reply = self._api.ask("POST", f"{self._project}/deployments", asked)
            if isinstance(reply, Outcome):
                return reply
            if reply.status == 201 and (number := reply.number("id")):
                return Outcome(OutcomeKind.ACCEPTED, "", 201, number)
            if reply.status != 400 or sha != told.commit:
                return self._refused(reply)
            sha = self._head()  # 400: among others, the project has no such commit
        return sha

    def _head(self) -> str | Outcome:
        """The commit that the settings' ref leads to."""
        reply = self._api.ask("GET", f"{self._project}/repository/commits/{quote(self._ref, safe='')}")
        if isinstance(reply, Outcome):
            return reply
        found = reply.content.get("id") if reply.status == 200 and isinstance(reply.content, dict) else None
        if isinstance(found, str) and _SHA.fullmatch(found):
            return found
        return replace(self._refused(reply), ambiguous=False)

    def _found(self, told: Notification, status: str) -> str | Outcome:
        """The number of the deployment that an unanswered request has made; empty when there is none for certain.

        It was made by the API since what is told came about, in the resource's own environment, for this ref and
        commit, and has this status. An environment that all resources share is not looked through: another run's
        deployment may look the same.
        """
        if self._named:
            return ""
        wanted = {"environment": self._environment(told), "status": status, "per_page": "10"}
        wanted |= {"order_by": "id", "sort": "desc"}
        reply = self._api.ask("GET", f"{self._project}/deployments?{urlencode(wanted)}")
        if isinstance(reply, Outcome):
            return reply
        if reply.status != 200 or not isinstance(reply.content, list):
            return replace(self._refused(reply), ambiguous=False)
        numbers = [
            Reply(reply.answer, each).number("id")
            for each in reply.content
            if isinstance(each, dict) and self._is_of(each, told, status)
        ]
        return numbers[0] if len(numbers) == 1 else ""

    def _is_of(self, found: Mapping[str, Any], told: Notification, status: str) -> bool:
        return (
            (found.get("status"), found.get("ref"), found.get("deployable")) == (status, self._ref, None)
            and (not told.commit or found.get("sha") == told.commit)
            and _moment(found.get("created_at")) >= int(told.created_at)
        )

    def _environment(self, told: Notification) -> str:
        named = None if told.is_test else self._named  # of a test none: whatever waits for that one would begin
        name = (named or told.environment)[-_MAX_ENVIRONMENT:].strip("/")
        return _NOT_IN_ENVIRONMENTS.sub("-", name)

    def _refused(self, reply: Reply, missing: OutcomeKind = OutcomeKind.DENIED) -> Outcome:
        """Whose failure it is. Of a project that a token may not see GitLab says that it is not there."""
        outcome = outcome_of(reply.answer, self._clock())
        if reply.status == 404:
            return replace(outcome, kind=missing)
        if outcome.kind is OutcomeKind.ACCEPTED:
            return replace(outcome, kind=OutcomeKind.UNAVAILABLE, code="AnswerNotGitLabs", ambiguous=True)
        return outcome


def _moment(text: object) -> float:
    """Seconds since 1970; 0 for what is no moment."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return 0.0
