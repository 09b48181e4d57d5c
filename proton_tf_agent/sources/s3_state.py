"""State kept in S3: one look at an object that the settings allow, and at the lock beside it.

The record of the backend lies in a directory that jobs write, so it may only name an object that an `Allowed` covers;
region, endpoint and lock table come from the settings alone. Reads only (GetObject, HeadObject, GetItem); everything
that goes wrong is an `OutOfReach` with a reason for people, never an answer.

Sources: terraform internal/backend/remote-state/s3/backend_state.go (path: the key of a workspace), .../client.go
(lock file `KEY.tflock`; DynamoDB item with LockID = BUCKET/KEY, taken before the state is read and deleted behind its
last write). A stale lock stays for ever, and nothing tells whether its holder lives.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from ..aws_client import DIRECT, Access, build_client, cap_answer
from ..domain.redaction import Taint
from ..domain.values import replace
from .backend import DEFAULT_WORKSPACE, Backend
from .states import StateReading, reading_of

MAX_STATE = 64 << 20
MAX_ANSWER = 1 << 20  # bytes of every answer that is no state: errors, heads, a lock
_KEPT_OBJECTS = 8
_KEPT_SIZE = 4 << 20
_REST = 60.0  # seconds without another request after one that was not answered
_Answer = TypeVar("_Answer")
_UNANSWERED = ("ConnectTimeoutError", "EndpointConnectionError", "ReadTimeoutError", "ConnectionClosedError")


class OutOfReach(Exception):
    """The state cannot be read; the text says why, in words for people and without a name from the record."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Objects that may be read, and how: `[[s3_state]]`. keys are globs over whole keys; timeout is in seconds."""

    bucket: str
    keys: tuple[str, ...]
    region: str
    endpoint_url: str | None = None
    dynamodb_table: str | None = None
    timeout: float = 3.0
    access: Access = DIRECT


@dataclass(frozen=True, slots=True)
class StateObject:
    """A state as it was read: its bytes, and when it was written (seconds since the epoch, whole ones)."""

    content: bytes = field(repr=False)
    modified_at: float
    etag: str = ""


def object_key(backend: Backend, workspace: str | None) -> str:
    """The key of a workspace's state (None: the default one)."""
    if workspace in (None, "", DEFAULT_WORKSPACE):
        return backend.key
    return f"{(backend.workspace_key_prefix or 'env:').rstrip('/')}/{workspace}/{backend.key}"


class S3States:
    """Reads states that the settings allow. Not thread-safe: one thread owns it.

    tell(bucket and key, reason) hears once of each reason why an object could not be read. After a request without an
    answer none is made to that endpoint for a minute, so that a store that is gone holds up nobody.
    """

    def __init__(
        self,
        allowed: Sequence[Allowed],
        tell: Callable[[str, str], None] = lambda _place, _reason: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed = tuple(allowed)
        self._tell = tell
        self._clock = clock
        self._clients: dict[tuple[str, Allowed], Any] = {}
        self._resting: dict[Allowed, float] = {}
        self._told: dict[str, str] = {}
        self._kept: OrderedDict[tuple[Allowed, str], StateObject] = OrderedDict()

    @property
    def reads_anything(self) -> bool:
        """Whether the settings allow any object."""
        return bool(self._allowed)

    def read(self, backend: Backend, workspace: str | None) -> StateObject:
        """The state of a workspace; OutOfReach when it cannot be read, or while somebody holds its lock."""
        key = object_key(backend, workspace)
        place = f"s3://{backend.bucket}/{key}"
        try:
            allowed = self._allowed_for(backend, key)
            found = self._asked(allowed, lambda: self._state(allowed, key))
            if self._asked(allowed, lambda: self._is_locked(allowed, backend, key)):
                raise OutOfReach("the state in S3 is locked")  # asked after reading: no writer came in between
        except OutOfReach as error:
            if self._told.get(place) != str(error):
                self._told[place] = str(error)
                self._tell(place, str(error))
            raise
        self._told.pop(place, None)
        return found

    def _allowed_for(self, backend: Backend, key: str) -> Allowed:
        if {"bucket", "key", "workspace_key_prefix"} & set(backend.unknown) or not backend.key:
            raise OutOfReach("the place of the state in S3 is not known")
        for allowed in self._allowed:
            if allowed.bucket == backend.bucket and any(fnmatchcase(key, glob) for glob in allowed.keys):
                break
        else:
            raise OutOfReach("the state is kept in S3, where no [[s3_state]] allows it to be read")
        named = backend.endpoint("s3").rstrip("/")
        if named and named != (allowed.endpoint_url or "").rstrip("/"):
            raise OutOfReach("the state is kept at another endpoint than [[s3_state]] names")
        if backend.dynamodb_table and backend.dynamodb_table != allowed.dynamodb_table:
            raise OutOfReach("the state is locked in another table than [[s3_state]] names")
        return allowed

    def _asked(self, allowed: Allowed, ask: Callable[[], _Answer]) -> _Answer:
        if self._clock() < self._resting.get(allowed, 0.0):
            raise OutOfReach("S3 did not answer lately")
        try:
            return ask()
        except OutOfReach:
            raise
        except Exception as error:  # botocore lets more through than its own errors
            # A session looks for credentials once: the next request is made with what there is then.
            self._clients = {asked: client for asked, client in self._clients.items() if asked[1] != allowed}
            names = [base.__name__ for base in type(error).__mro__]
            if any(name in _UNANSWERED for name in names):
                self._resting[allowed] = self._clock() + _REST
            raise OutOfReach(f"the state in S3 cannot be read: {_code_of(error)}") from None

    def _state(self, allowed: Allowed, key: str) -> StateObject:
        kept = self._kept.get((allowed, key))
        condition = {"IfNoneMatch": kept.etag} if kept and kept.etag else {}
        try:
            answer = self._client("s3", allowed).get_object(Bucket=allowed.bucket, Key=key, **condition)
        except Exception as error:
            code = _code_of(error)
            if kept and code in ("304", "NotModified"):
                return kept
            if code in ("404", "NoSuchKey"):
                raise OutOfReach("there is no state in S3") from None
            raise
        with answer["Body"] as body:
            if answer["ContentLength"] > MAX_STATE:
                raise OutOfReach("the state in S3 is larger than 64 MiB")
            content = body.read()
        found = StateObject(content, answer["LastModified"].timestamp(), answer.get("ETag", ""))
        self._kept.pop((allowed, key), None)
        if len(content) <= _KEPT_SIZE:
            self._kept[(allowed, key)] = found
            while len(self._kept) > _KEPT_OBJECTS:
                self._kept.popitem(last=False)
        return found

    def _is_locked(self, allowed: Allowed, backend: Backend, key: str) -> bool:
        if backend.use_lockfile:
            try:
                self._client("s3", allowed).head_object(Bucket=allowed.bucket, Key=f"{key}.tflock")
                return True
            except Exception as error:
                if _code_of(error) not in ("404", "NoSuchKey"):
                    raise
        if not backend.dynamodb_table:
            return False
        found = self._client("dynamodb", allowed).get_item(
            TableName=allowed.dynamodb_table,
            Key={"LockID": {"S": f"{allowed.bucket}/{key}"}},
            ProjectionExpression="LockID",
            ConsistentRead=True,
        )
        return "Item" in found

    def _client(self, service: str, allowed: Allowed) -> Any:
        client = self._clients.get((service, allowed))
        if client is None:
            # A store that is not AWS's is asked by path: its name has no subdomain for each bucket.
            style = {"addressing_style": "path" if allowed.endpoint_url else "auto"}
            timeouts = (allowed.timeout, allowed.timeout)
            client = build_client(
                service, allowed.region, allowed.endpoint_url, timeouts, access=allowed.access, s3=style
            )
            _cap(client, service)
            self._clients[(service, allowed)] = client
        return client


def _cap(client: Any, service: str) -> None:
    transport = client._endpoint.http_session  # noqa: SLF001 - no public way to cap

    def fetch(request: Any, **_: Any) -> Any:
        """Send, and read what is no state within bounds."""
        streams, request.stream_output = request.stream_output, True
        response = transport.send(request)
        if not (streams and response.status_code < 300):
            cap_answer(response, MAX_ANSWER)
        return response

    client.meta.events.register(f"before-send.{service}", fetch)


def _code_of(error: Exception) -> str:
    """The name of an error: AWS's own where it has given one."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""
    return str(code)[:80] or type(error).__name__


def read_state_in_s3(states: S3States, found: Backend, workspace: str | None) -> StateReading:
    """The state of a workspace in S3, and every value of it that nobody may see.

    What cannot be read has no state and a reason; nothing can then be known to be sensitive, and patterns have to do.
    """
    try:
        stored = states.read(found, workspace)
    except OutOfReach as error:
        return StateReading(None, Taint(), str(error))
    content = stored.content
    reading, secrets = reading_of(
        lambda offset, length: content[offset : offset + length], len(content), lambda: True, stored.modified_at
    )
    return replace(reading, taint=Taint(secrets, reading.taint.known, reading.taint.unseen))
