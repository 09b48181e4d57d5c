"""One AWS service as a sink talks to it: a client from the first call on, answers that are looked at before botocore
believes them, and failures as outcomes.

Promises: one call, one request; never an exception, always an outcome; no more is read of an answer than it may have;
no redirect is followed, no proxy and no endpoint is taken from the environment. botocore says nothing when an answer is
cut short or is a login page, and lets AttributeError through for odd error documents (tried with 1.44.5), so every
answer is looked at first. What a failure means stands in `aws_outcomes`; what an acceptance holds, the sink says.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from xml.etree import ElementTree as ET

from .aws_client import DIRECT, Access, build_client, cap_answer
from .aws_outcomes import HostUnresolvable, NoAnswer, is_unresolvable, request_id_of
from .domain.outbox import Outcome, OutcomeKind

RECONNECT_AFTER = 5.0  # seconds a client without valid credentials is kept; building one costs up to 0.3 s
_EMPTY_MAP = b"\xa0"  # CBOR
_NAMELESS = b"<ErrorResponse><Error><Code>0</Code></Error></ErrorResponse>"


class Meaning(Protocol):
    """What an exception means to a service; the keywords are those of `aws_outcomes.outcome_of`."""

    def __call__(self, error: Exception, now: float, *, built: bool) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service is and as whom it is asked. Timeouts are in seconds, of connecting and of an answer."""

    region: str
    endpoint_url: str | None = None
    timeouts: tuple[float, float] = (5.0, 20.0)
    access: Access = DIRECT


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of the answers to an operation that is called. most: bytes that are read of one; tells: a member
    that each has, empty where they have none."""

    most: int = 64 * 1024
    tells: str = ""


class AwsService:
    """Calls the operations of one service.

    operations: those that it calls, by name. meaning: what an exception comes to.
    Credentials come from the AWS chain; after a refusal for their sake the chain is walked again, so that credentials
    put right on disk are picked up without a restart. clock: wall-clock seconds, to tell a refused signature from one
    that our clock has spoilt. models: as for `build_client`. Every method may be called from several threads at once.
    """

    def __init__(
        self,
        service: str,
        place: Place,
        operations: Mapping[str, Call],
        meaning: Meaning,
        clock: Callable[[], float] = time.time,
        models: Sequence[str] = (),
    ) -> None:
        self._service = service
        self._place = place
        self._operations = operations
        self._meaning = meaning
        self._clock = clock
        self._models = models
        self._lock = threading.Lock()  # clients are thread-safe, building one is not
        self._client: Any = None
        self._built_at = 0.0
        self._closed = False

    def attempt(self, call: Callable[[Any], Outcome]) -> Outcome:
        """What comes of a call, which is given the client; whatever it raises is an outcome."""
        client = None
        try:
            client = self.connected()
            outcome = Outcome(OutcomeKind.UNAVAILABLE, "SinkClosed") if client is None else call(client)
        except Exception as error:
            # Exception, not BotoCoreError: botocore lets others through, and the relay must hear of each.
            outcome = self._meaning(error, self._clock(), built=client is not None)
        if outcome.kind is OutcomeKind.UNAUTHENTICATED:
            self._forget(client)
        return outcome

    def connected(self) -> Any:
        """The client, built now if there is none; None when closed. Raises what botocore raises."""
        with self._lock:
            if self._client is None and not self._closed:
                place = self._place
                client = build_client(
                    self._service, place.region or None, place.endpoint_url, place.timeouts, self._models, place.access
                )
                _guard(client, self._service, self._operations)
                self._client, self._built_at = client, time.monotonic()
            return self._client

    def close(self) -> None:
        """Close idle connections and take no more calls; one under way ends by itself. May be called twice."""
        with self._lock:
            client, self._client, self._closed = self._client, None, True
        if client is not None:
            client.close()

    def _forget(self, client: Any) -> None:
        """Drop a client whose credentials did not do: a session looks for them only once."""
        with self._lock:
            if client is self._client and time.monotonic() - self._built_at >= RECONNECT_AFTER:
                self._client = None  # not closed: others may be sending with it; its sockets go with it


def accepted(meta: Mapping[str, Any]) -> Outcome:
    """The outcome of an acceptance, from botocore's ResponseMetadata."""
    return Outcome(OutcomeKind.ACCEPTED, "", meta["HTTPStatusCode"], request_id_of(meta))


def _guard(client: Any, service: str, operations: Mapping[str, Call]) -> None:
    """Let a client read no more of an answer than it may have, and believe none that is not the service's."""
    transport = client._endpoint.http_session  # noqa: SLF001 - no public way to cap
    examine = _EXAMINERS[_protocol_of(client.meta.service_model)]

    def fetch(request: Any, event_name: str, **_: Any) -> Any:
        """Send, but read no more than is allowed and one byte."""
        request.stream_output = True
        try:
            response = transport.send(request)
        except Exception as error:
            if is_unresolvable(error):
                raise HostUnresolvable from error
            raise
        cap_answer(response, operations[event_name.rpartition(".")[2]].most)
        return response

    def look(response_dict: dict[str, Any], event_name: str, **_: Any) -> None:
        operation = operations[event_name.rpartition(".")[2]]
        if response_dict["status_code"] < 400:
            _expect_whole(response_dict, operation.most)
        examine(response_dict, operation.tells)

    name = client.meta.service_model.service_id.hyphenize()
    for operation in operations:
        client.meta.events.register(f"before-send.{name}.{operation}", fetch)
        client.meta.events.register(f"before-parse.{name}.{operation}", look)


def _protocol_of(model: Any) -> str:
    """The protocol that botocore speaks; earlier ones knew of one only."""
    return str(getattr(model, "resolved_protocol", "") or model.metadata["protocol"])


def _expect_whole(response_dict: dict[str, Any], limit: int) -> None:
    """Raise NoAnswer for an acceptance that is a redirect, endless or cut short."""
    http_status, headers, body = (response_dict[key] for key in ("status_code", "headers", "body"))
    if http_status >= 300:
        raise NoAnswer("ResponseRedirected", http_status)
    if len(body) > limit:
        raise NoAnswer("ResponseTooLarge", http_status)
    if headers.get("content-length") not in (None, str(len(body))):
        raise NoAnswer("ResponseTruncated", http_status)


def _examine_json(response_dict: dict[str, Any], tells: str) -> None:
    """Let botocore parse only what it can be trusted with; raise NoAnswer for an acceptance that is none."""
    http_status, headers, body = (response_dict[key] for key in ("status_code", "headers", "body"))
    document = _json_object(body)
    if http_status >= 400:
        if document is None or not isinstance(document.get("__type", ""), str):
            response_dict["body"] = b""  # the status alone speaks
        return
    if not body and "x-amzn-requestid" in headers and not tells:
        return  # API references promise an empty body, a login page has no request ID
    is_own = tells in (document or ()) if tells else "json" in headers.get("content-type", "json")
    if document is None or "__type" in document or not is_own:
        raise NoAnswer("ResponseUnexpected", http_status)


def _examine_xml(response_dict: dict[str, Any], tells: str) -> None:
    """The same for the query protocol."""
    http_status = response_dict["status_code"]
    root = _xml_root(response_dict["body"])
    if http_status >= 400:
        if root is None or not root.findtext("{*}Error/{*}Code"):
            response_dict["body"] = _NAMELESS  # the status alone speaks
        return
    if root is None or root.find(f"{{*}}*/{{*}}{tells}") is None:  # below the operation's result
        raise NoAnswer("ResponseUnexpected", http_status)


def _examine_cbor(response_dict: dict[str, Any], tells: str) -> None:
    """The same for CBOR, for a botocore that prefers it where a service speaks both (1.44 prefers JSON). It reads that
    by itself once it is certain to be the service's: an answer names the protocol, is a map and no error."""
    http_status, headers, body = (response_dict[key] for key in ("status_code", "headers", "body"))
    is_own = headers.get("smithy-protocol") == _CBOR
    is_map = 0xA0 <= body[0] <= 0xBF if body else False
    if http_status >= 400:
        if not is_own or not is_map:
            response_dict["body"] = _EMPTY_MAP  # the status alone speaks
        return
    if not is_own or b"__type" in body or (not is_map and (body or tells)):
        raise NoAnswer("ResponseUnexpected", http_status)


_CBOR = "rpc-v2-cbor"
_EXAMINERS = {"json": _examine_json, "query": _examine_xml, f"smithy-{_CBOR}": _examine_cbor}


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _xml_root(body: bytes) -> ET.Element | None:
    try:
        return ET.fromstring(body)  # noqa: S314 - not larger than an answer may be, and expat bounds entities
    except (ET.ParseError, ValueError, LookupError):
        return None
