"""The Proton sink: one notification becomes one call of `NotifyResourceDeploymentStatusChange`.

Promises: one attempt, one request (botocore's own retries are off); never an exception, always an outcome;
ACCEPTED only for an answer that is whole and Proton's own; no redirect is followed, no proxy and no endpoint
is taken from the environment. botocore says nothing when an answer is cut short or is a login page, and lets
AttributeError through for odd error documents (tried with 1.44.5), so every answer passes `_examine` first.
What a failure means stands in `proton_outcomes`.

boto3 is imported with the first attempt, never with this module. When botocore has dropped Proton, as it does
with ended services, the model of the two operations in `models/` stands in.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..aws_client import DIRECT, Access, build_client, cap_answer
from ..domain.binding import is_deployment_id, region_of
from ..domain.notification import Notification
from ..domain.outbox import Outcome, OutcomeKind
from .proton_outcomes import (
    GET_DEPLOYMENT,
    NOTIFY,
    HostUnresolvable,
    NoAnswer,
    is_unresolvable,
    outcome_of,
    request_id_of,
)

if TYPE_CHECKING:
    from mypy_boto3_proton.client import ProtonClient
    from mypy_boto3_proton.type_defs import NotifyResourceDeploymentStatusChangeInputTypeDef as Request

MODELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models")
# Bytes read of an answer. Proton's to a notification are below 1 KiB; a deployment's come with templates and specs.
MAX_ANSWER = {NOTIFY: 64 * 1024, GET_DEPLOYMENT: 1024 * 1024}
_RECONNECT_AFTER = 5.0  # seconds a client without valid credentials is kept; building one costs up to 0.3 s

# Deployment statuses after which no notification counts any more, whatever it says.
_GONE_ON = ("CANCELLING", "CANCELLED", "DELETE_IN_PROGRESS", "DELETE_FAILED", "DELETE_COMPLETE")
_STILL_IN_CONFLICT = Outcome(OutcomeKind.CONFLICT, "ConflictException")
# What a question may come to. Anything else, such as being denied, leaves the conflict what it was.
_READ_BACK = (
    OutcomeKind.CONFIRMED,
    OutcomeKind.OVERTAKEN,
    OutcomeKind.THROTTLED,
    OutcomeKind.UNAVAILABLE,
    OutcomeKind.UNRESOLVABLE,
    OutcomeKind.GONE,
    OutcomeKind.UNAUTHENTICATED,
)
_RESOURCE = re.compile(
    r"environment/(?P<environmentName>[^/]+)|component/(?P<componentName>[^/]+)"
    r"|service/(?P<serviceName>[^/]+)/(?:service-instance/(?P<serviceInstanceName>[^/]+)|pipeline)"
)


_NO_DEPLOYMENT = "00000000-0000-0000-0000-000000000000"
_REACHED = (OutcomeKind.ACCEPTED, OutcomeKind.NOT_FOUND, OutcomeKind.INVALID, OutcomeKind.THROTTLED)


class ProtonSink:
    """Tells AWS Proton, or whatever speaks its wire contract at `endpoint_url`.

    Timeouts are in seconds. Credentials come from the AWS chain; after a refusal for their sake the chain is
    walked again, so that credentials put right on disk are picked up without a restart. read_back: whether the
    sink may ask what became of a deployment, for which it needs the IAM action proton:GetDeployment. clock:
    wall-clock seconds, to tell a refused signature from one that our clock has spoilt.
    """

    def __init__(
        self,
        name: str,
        region: str,
        endpoint_url: str | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 20.0,
        *,
        read_back: bool = False,
        access: Access = DIRECT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._region = region
        self._endpoint_url = endpoint_url
        self._timeouts = (connect_timeout, read_timeout)
        self._may_ask = read_back
        self._access = access
        self._clock = clock
        self._lock = threading.Lock()  # clients are thread-safe, building one is not
        self._client: ProtonClient | None = None
        self._built_at = 0.0
        self._closed = False

    def wants(self, notification: Notification) -> bool:
        """False without a resource; once it is deleted, for Proton has no record of it any more; and for one of another
        region: the request goes to our own, whatever an ARN names."""
        arn = notification.resource_arn
        return arn is not None and not notification.resource_deleted and region_of(arn) == self._region

    def send(self, notification: Notification) -> Outcome:
        """Make one request and say what came of it. See `proton_outcomes` for what means what."""
        return self._attempt(lambda client: _tell(client, notification))

    def read_back(self, notification: Notification) -> Outcome:
        """Ask what became of the notification's deployment, in at most two requests.

        CONFIRMED when it has the notification's status. OVERTAKEN when it was canceled or deleted, or when its
        resource has a newer deployment. CONFLICT when the answer is neither, or the question may not be asked; without
        `read_back` or a deployment ID no request is made. Otherwise what the asking failed of.
        """
        if not self._may_ask or notification.deployment_id is None:
            return _STILL_IN_CONFLICT
        outcome = self._attempt(lambda client: _ask_back(client, notification))
        return dataclasses.replace(outcome, ambiguous=False) if outcome.kind in _READ_BACK else _STILL_IN_CONFLICT

    def try_out(self) -> Outcome:
        """Ask for a deployment that cannot be: only who takes our signature finds that there is none."""
        outcome = self._attempt(_ask_for_nothing)
        return dataclasses.replace(outcome, kind=OutcomeKind.ACCEPTED) if outcome.kind in _REACHED else outcome

    def close(self) -> None:
        """Close idle connections and take no more notifications; an attempt under way ends by itself."""
        with self._lock:
            client, self._client, self._closed = self._client, None, True
        if client is not None:
            client.close()

    def _attempt(self, call: Callable[[ProtonClient], Outcome]) -> Outcome:
        client = None
        try:
            client = self._connected()
            outcome = Outcome(OutcomeKind.UNAVAILABLE, "SinkClosed") if client is None else call(client)
        except Exception as error:
            # Exception, not BotoCoreError: botocore lets others through, and the relay must hear of each.
            outcome = outcome_of(error, self._clock(), built=client is not None)
        if outcome.kind is OutcomeKind.UNAUTHENTICATED:
            self._forget(client)
        return outcome

    def _connected(self) -> ProtonClient | None:
        with self._lock:
            if self._client is None and not self._closed:
                self._client = _build_client(self._region or None, self._endpoint_url, self._timeouts, self._access)
                self._built_at = time.monotonic()
            return self._client

    def _forget(self, client: ProtonClient | None) -> None:
        """Drop a client whose credentials did not do: a session looks for them only once."""
        with self._lock:
            if client is self._client and time.monotonic() - self._built_at >= _RECONNECT_AFTER:
                self._client = None  # not closed: others may be sending with it; its sockets go with it


def request_of(notification: Notification) -> Request:
    """The parameters of the call. What is empty is left out: the model wants it so for outputs' members."""
    request: Request = {"resourceArn": notification.resource_arn or "", "status": notification.status.value}
    if notification.deployment_id is not None:
        request["deploymentId"] = notification.deployment_id
    if notification.status_message:
        request["statusMessage"] = notification.status_message
    if notification.outputs:
        request["outputs"] = [{"key": key, "valueString": value} for key, value in notification.outputs]
    return request


def question_of(resource_arn: str, deployment_id: str) -> dict[str, str]:
    """The parameters of `GetDeployment`: the ID, and the names in the ARN."""
    named = _RESOURCE.fullmatch(resource_arn.rpartition(":")[2])
    return {"id": deployment_id} | {
        member: name for member, name in (named.groupdict() if named else {}).items() if name
    }


def _tell(client: ProtonClient, notification: Notification) -> Outcome:
    meta = client.notify_resource_deployment_status_change(**request_of(notification))["ResponseMetadata"]
    return Outcome(OutcomeKind.ACCEPTED, "", meta["HTTPStatusCode"], request_id_of(meta))


def _ask_back(client: ProtonClient, notification: Notification) -> Outcome:
    deployment, meta = _deployment(client, notification, notification.deployment_id or "")
    status, latest = deployment["deploymentStatus"], deployment.get("lastAttemptedDeploymentId")
    if status == notification.status.value:
        kind, found = OutcomeKind.CONFIRMED, status
    elif status in _GONE_ON:
        kind, found = OutcomeKind.OVERTAKEN, status
    elif is_deployment_id(latest) and latest != notification.deployment_id:
        # Whether the last attempt is the resource's, or the one before this, is not documented: time decides.
        other, meta = _deployment(client, notification, latest)
        if other["createdAt"] <= deployment["createdAt"]:
            return _STILL_IN_CONFLICT
        kind, found = OutcomeKind.OVERTAKEN, f"{latest} is newer"
    else:
        return _STILL_IN_CONFLICT
    return Outcome(kind, f"{GET_DEPLOYMENT}: {found}", meta["HTTPStatusCode"], request_id_of(meta))


def _ask_for_nothing(client: ProtonClient) -> Outcome:
    meta = client.get_deployment(id=_NO_DEPLOYMENT)["ResponseMetadata"]
    return Outcome(OutcomeKind.ACCEPTED, "", meta["HTTPStatusCode"], request_id_of(meta))


def _deployment(client: ProtonClient, notification: Notification, deployment_id: str) -> tuple[Any, Any]:
    """What Proton says of a deployment, and botocore of the answer. Raises NoAnswer when it is not about that one."""
    ask: Any = client.get_deployment
    answer = ask(**question_of(notification.resource_arn or "", deployment_id))
    deployment, meta = answer.get("deployment", {}), answer["ResponseMetadata"]
    if deployment.get("id") != deployment_id or not {"deploymentStatus", "createdAt"} <= deployment.keys():
        raise NoAnswer("ResponseUnexpected", meta["HTTPStatusCode"])
    return deployment, meta


def _build_client(
    region: str | None, endpoint_url: str | None, timeouts: tuple[float, float], access: Access
) -> ProtonClient:
    # botocore's own model of Proton goes before ours while it exists. The outbox retries, nobody else.
    client: ProtonClient = build_client("proton", region, endpoint_url, timeouts, [MODELS], access)
    transport = client._endpoint.http_session  # type: ignore[attr-defined]  # noqa: SLF001 - no public way to cap

    def fetch(request: Any, event_name: str, **_: Any) -> Any:
        """Send, but read no more than MAX_ANSWER and one byte."""
        limit = MAX_ANSWER[event_name.rpartition(".")[2]]
        request.stream_output = True
        try:
            response = transport.send(request)
        except Exception as error:
            if is_unresolvable(error):
                raise HostUnresolvable from error
            raise
        cap_answer(response, limit)
        return response

    for operation in MAX_ANSWER:
        client.meta.events.register(f"before-send.proton.{operation}", fetch)
        client.meta.events.register(f"before-parse.proton.{operation}", _examine)
    return client


def _examine(response_dict: dict[str, Any], event_name: str, **_: Any) -> None:
    """Let botocore parse only what it can be trusted with; raise NoAnswer for an acceptance that is none."""
    limit = MAX_ANSWER[event_name.rpartition(".")[2]]
    http_status, headers, body = (response_dict[key] for key in ("status_code", "headers", "body"))
    document = _json_object(body)
    if http_status >= 400:
        if document is None or not isinstance(document.get("__type", ""), str):
            response_dict["body"] = b""  # the status alone speaks
        return
    if http_status >= 300:
        raise NoAnswer("ResponseRedirected", http_status)
    if len(body) > limit:
        raise NoAnswer("ResponseTooLarge", http_status)
    if headers.get("content-length") not in (None, str(len(body))):
        raise NoAnswer("ResponseTruncated", http_status)
    if not body and "x-amzn-requestid" in headers:
        return  # the API reference promises an empty body, a login page has no request ID
    if document is None or "__type" in document or "json" not in headers.get("content-type", "json"):
        raise NoAnswer("ResponseUnexpected", http_status)


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
