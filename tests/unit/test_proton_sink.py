"""The Proton sink says what really happened, whatever comes back, and lets nothing in its environment lead it astray.

Everything runs through the real botocore client against a real socket: the receiver, or for answers that no
receiver would give, a server that plays back bytes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.domain.run import RunStatus
from proton_tf_agent.receiver import ERRORS, Fault, FaultKind, Receiver
from proton_tf_agent.sinks import proton
from proton_tf_agent.sinks.proton import MODELS, OPERATION, ProtonSink

REGION = "eu-west-1"
PROTON = f"https://proton.{REGION}.amazonaws.com"
WHOLE = Notification(
    notification_id="ntf-0123456789abcdef0123",
    run_id="run-1",
    resource_arn=f"arn:aws:proton:{REGION}:123456789012:environment/network",
    deployment_id="0a1b2c3d-0000-4000-8000-0123456789ab",
    status=Status.SUCCEEDED,
    status_message="Apply complete: 3 added, 0 changed, 0 destroyed.",
    outputs=(("VpcId", "vpc-1"), ("naïve", '["a"]')),
    run_status=RunStatus.APPLIED,
    resource_deleted=False,
    directory="/srv/infra/network",
    workspace="default",
    created_at=1_700_000_000.0,
)
BARE = dataclasses.replace(WHOLE, deployment_id=None, status_message="", outputs=())
K = OutcomeKind


@pytest.fixture(scope="module", autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Example credentials, and nothing else of AWS, of proxies or of certificates."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("AWS_") or name.lower().endswith("_proxy") or name == "REQUESTS_CA_BUNDLE":
                patch.delenv(name)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Receiver, ProtonSink]]:
    """One receiver and one sink for all tests that leave both as they were; building a client takes a while."""
    with Receiver() as receiver:
        sink = ProtonSink("proton", REGION, receiver.url, read_timeout=0.3)
        yield receiver, sink
        sink.close()


@pytest.fixture
def receiver(shared: tuple[Receiver, ProtonSink]) -> Iterator[Receiver]:
    yield shared[0]
    shared[0].clear()


@pytest.fixture
def sink(shared: tuple[Receiver, ProtonSink]) -> ProtonSink:
    return shared[1]


@pytest.fixture
def fresh(receiver: Receiver) -> Iterator[ProtonSink]:
    """A sink whose client is built within the test, in the environment the test has made."""
    made = ProtonSink("proton", REGION, receiver.url)
    yield made
    made.close()


class Playback:
    """A server that answers every request with the same bytes, `times` over, and then closes the connection."""

    def __init__(self, answer: bytes = b"", times: int = 1) -> None:
        self.answer = answer
        self.played = 0
        self._times = times
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream, contextlib.suppress(ConnectionError):
                length = 0
                while (line := stream.readline()) not in (b"\r\n", b""):
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                stream.read(length)
                for _ in range(self._times):
                    connection.sendall(self.answer)
                    self.played += 1

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()


@pytest.fixture(scope="module")
def playback() -> Iterator[tuple[Playback, ProtonSink]]:
    server = Playback()
    sink = ProtonSink("proton", REGION, server.url)
    yield server, sink
    sink.close()
    server.close()


def http(status: str, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    announced = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", "Connection: close", f"Content-Length: {announced}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def refusal(code: str, text: str = "no", status: str = "400 Bad Request", *headers: str) -> bytes:
    return http(status, json.dumps({"__type": code, "message": text}).encode(), *headers)


# --- what is sent -----------------------------------------------------------------------------------------------


def test_a_notification_arrives_whole(receiver: Receiver, sink: ProtonSink) -> None:
    outcome = sink.send(WHOLE)
    record = receiver.records()[-1]
    assert (record.resource_arn, record.deployment_id) == (WHOLE.resource_arn, WHOLE.deployment_id)
    assert (record.status, record.status_message) == ("SUCCEEDED", WHOLE.status_message)
    assert record.outputs == dict(WHOLE.outputs)
    assert outcome == Outcome(K.ACCEPTED, "", 200, outcome.request_id)
    assert len(outcome.request_id) == 36


def test_what_is_empty_is_left_out(receiver: Receiver, sink: ProtonSink) -> None:
    assert sink.send(BARE).kind is K.ACCEPTED
    record = receiver.records()[-1]
    assert (record.deployment_id, record.status_message, record.outputs) == (None, None, {})


def test_a_deleted_resource_is_not_told_about(sink: ProtonSink) -> None:
    assert not sink.wants(dataclasses.replace(WHOLE, resource_deleted=True))
    assert sink.wants(WHOLE)


def test_what_botocore_itself_refuses_is_invalid_and_never_leaves(receiver: Receiver, sink: ProtonSink) -> None:
    before = receiver.requests
    outcome = sink.send(dataclasses.replace(WHOLE, outputs=(("", "value"),)))
    assert outcome == Outcome(K.INVALID, "ParamValidationError")
    assert receiver.requests == before


# --- what comes back --------------------------------------------------------------------------------------------

OUTCOMES: dict[FaultKind, Outcome] = {
    FaultKind.ACCESS_DENIED: Outcome(K.DENIED, "AccessDeniedException", 400),
    FaultKind.CONFLICT: Outcome(K.CONFLICT, "ConflictException", 400),
    FaultKind.INTERNAL_SERVER: Outcome(K.UNAVAILABLE, "InternalServerException", 500, ambiguous=True),
    FaultKind.RESOURCE_NOT_FOUND: Outcome(K.NOT_FOUND, "ResourceNotFoundException", 400),
    FaultKind.SERVICE_QUOTA_EXCEEDED: Outcome(K.QUOTA_EXCEEDED, "ServiceQuotaExceededException", 400),
    FaultKind.THROTTLING: Outcome(K.THROTTLED, "ThrottlingException", 400),
    FaultKind.VALIDATION: Outcome(K.INVALID, "ValidationException", 400),
    FaultKind.LATENCY: Outcome(K.UNAVAILABLE, "ReadTimeoutError", ambiguous=True),
    FaultKind.RESET_AFTER_APPLY: Outcome(K.UNAVAILABLE, "ConnectionClosedError", ambiguous=True),
    FaultKind.HALF_RESPONSE: Outcome(K.UNAVAILABLE, "ResponseTruncated", 200, ambiguous=True),
    FaultKind.OVERLONG_RESPONSE: Outcome(K.UNAVAILABLE, "ResponseTooLarge", 200, ambiguous=True),
    FaultKind.HTML: Outcome(K.UNAVAILABLE, "ResponseUnexpected", 200, ambiguous=True),
    FaultKind.REDIRECT: Outcome(K.UNAVAILABLE, "ResponseRedirected", 302, ambiguous=True),
}


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_fault_of_the_receiver_has_its_outcome_and_costs_one_request(
    receiver: Receiver, sink: ProtonSink, kind: FaultKind
) -> None:
    before = receiver.requests
    receiver.fail(Fault(kind, delay=60), times=1)
    outcome = sink.send(WHOLE)
    assert dataclasses.replace(outcome, request_id="") == OUTCOMES[kind]
    assert bool(outcome.request_id) is (kind in ERRORS)
    assert receiver.requests == before + 1
    assert sink.send(WHOLE).kind is K.ACCEPTED, "the next attempt must not suffer from the last one"


def test_a_redirect_is_not_followed(receiver: Receiver, sink: ProtonSink) -> None:
    with Receiver() as elsewhere:
        receiver.fail(Fault(FaultKind.REDIRECT, location=elsewhere.url), times=1)
        sink.send(WHOLE)
        assert elsewhere.requests == 0


def test_a_receiver_that_asks_for_patience_is_heard(receiver: Receiver, sink: ProtonSink) -> None:
    receiver.fail(Fault(FaultKind.THROTTLING, retry_after=7), times=1)
    assert sink.send(WHOLE).retry_after == 7.0


NAMED = {
    "ThrottledException": K.THROTTLED,
    "TooManyRequestsException": K.THROTTLED,
    "RequestLimitExceeded": K.THROTTLED,
    "SlowDown": K.THROTTLED,
    "ExpiredTokenException": K.UNAUTHENTICATED,
    "ExpiredToken": K.UNAUTHENTICATED,
    "UnrecognizedClientException": K.UNAUTHENTICATED,
    "InvalidSignatureException": K.UNAUTHENTICATED,
    "SignatureDoesNotMatch": K.UNAUTHENTICATED,
    "InvalidClientTokenId": K.UNAUTHENTICATED,
    "RequestExpired": K.UNAUTHENTICATED,
    "MissingAuthenticationTokenException": K.UNAUTHENTICATED,
    "IncompleteSignatureException": K.UNAUTHENTICATED,
    "ForbiddenException": K.DENIED,
    "SerializationException": K.INVALID,
    "UnknownOperationException": K.UNKNOWN,
    "SomethingNobodyHasDescribedException": K.UNKNOWN,
}


@pytest.mark.parametrize("code", sorted(NAMED))
def test_common_errors_are_known_by_name(playback: tuple[Playback, ProtonSink], code: str) -> None:
    server, sink = playback
    server.answer = refusal(f"com.amazon.coral.service#{code}")
    assert sink.send(WHOLE) == Outcome(NAMED[code], code, 400)


GZIPPED = bytes.fromhex("1f8b0800000000000003abae0500")
ODD: dict[str, tuple[bytes, Outcome]] = {
    "429 without a word": (http("429 Too Many"), Outcome(K.THROTTLED, "HTTP 429", 429)),
    "429 with a name nobody knows": (refusal("Odd", "no", "429 Too Many"), Outcome(K.THROTTLED, "Odd", 429)),
    "throttled under 503": (refusal("SlowDown", "no", "503 Slow"), Outcome(K.THROTTLED, "SlowDown", 503)),
    "503 page": (
        http("503 Unavailable", b"<html>later</html>", "Retry-After: 30"),
        Outcome(K.UNAVAILABLE, "HTTP 503", 503, ambiguous=True, retry_after=30.0),
    ),
    "502 list": (http("502 Bad", b'["no"]'), Outcome(K.UNAVAILABLE, "HTTP 502", 502, ambiguous=True)),
    "408": (http("408 Timeout"), Outcome(K.UNAVAILABLE, "HTTP 408", 408, ambiguous=True)),
    "400 page": (http("400 Bad", b"<html>no</html>"), Outcome(K.UNKNOWN, "HTTP 400", 400)),
    "403 page": (http("403 Forbidden", b"<html>AccessDenied</html>"), Outcome(K.UNKNOWN, "HTTP 403", 403)),
    "404 page": (http("404 Not Found", b"no"), Outcome(K.UNKNOWN, "HTTP 404", 404)),
    "400 list": (http("400 Bad", b"[1]"), Outcome(K.UNKNOWN, "HTTP 400", 400)),
    "400 in no encoding": (http("400 Bad", b"\xff\xfe\xfa"), Outcome(K.UNKNOWN, "HTTP 400", 400)),
    "400 with a number for a name": (http("400 Bad", b'{"__type": 5}'), Outcome(K.UNKNOWN, "HTTP 400", 400)),
    "400 cut": (
        http("400 Bad", b'{"__type": "Valid', length=99),
        Outcome(K.UNKNOWN, "HTTP 400", 400),
    ),
    "text in place of a name": (refusal("password is hunter2!"), Outcome(K.UNKNOWN, "HTTP 400", 400)),
    "name in a header": (
        http("400 Bad", b"{}", "x-amzn-ErrorType: ConflictException:http://internal.amazon.com/"),
        Outcome(K.CONFLICT, "ConflictException", 400),
    ),
    "patience in milliseconds": (
        refusal("ThrottlingException", "no", "400 Bad", "x-amz-retry-after: 1500", "Retry-After: 9"),
        Outcome(K.THROTTLED, "ThrottlingException", 400, retry_after=1.5),
    ),
    "patience as nonsense": (
        refusal("ThrottlingException", "no", "400 Bad", "x-amz-retry-after: -1", "Retry-After: inf"),
        Outcome(K.THROTTLED, "ThrottlingException", 400),
    ),
    "request ID": (
        refusal("ConflictException", "no", "400 Bad", "x-amzn-RequestId: 1-2-3"),
        Outcome(K.CONFLICT, "ConflictException", 400, "1-2-3"),
    ),
    "request ID as text": (
        refusal("ConflictException", "no", "400 Bad", "x-amzn-RequestId: your secret, sir"),
        Outcome(K.CONFLICT, "ConflictException", 400),
    ),
    "accepted with more members": (http("200 OK", b'{"later": 1}'), Outcome(K.ACCEPTED, "", 200)),
    "accepted without a body": (http("200 OK", b"", "x-amzn-RequestId: r-1"), Outcome(K.ACCEPTED, "", 200, "r-1")),
    "200 with nothing": (http("200 OK"), Outcome(K.UNAVAILABLE, "ResponseUnexpected", 200, ambiguous=True)),
    "200 list": (http("200 OK", b"[]"), Outcome(K.UNAVAILABLE, "ResponseUnexpected", 200, ambiguous=True)),
    "200 JSON of a page": (
        http("200 OK", b"{}", "Content-Type: text/html"),
        Outcome(K.UNAVAILABLE, "ResponseUnexpected", 200, ambiguous=True),
    ),
    "200 with an error inside": (
        http("200 OK", b'{"__type": "ThrottlingException"}'),
        Outcome(K.UNAVAILABLE, "ResponseUnexpected", 200, ambiguous=True),
    ),
    "200 gzipped": (
        http("200 OK", GZIPPED, "Content-Encoding: gzip"),
        Outcome(K.UNAVAILABLE, "ResponseUnexpected", 200, ambiguous=True),
    ),
    "200 nested too deeply": (
        http("200 OK", b"[" * 60_000),
        Outcome(K.UNAVAILABLE, "ResponseUnexpected", 200, ambiguous=True),
    ),
    "200 whose body never came": (
        http("200 OK", b"", "x-amzn-RequestId: r-1", length=2),
        Outcome(K.UNAVAILABLE, "ResponseTruncated", 200, ambiguous=True),
    ),
    "300": (http("300 Choices", b"{}"), Outcome(K.UNAVAILABLE, "ResponseRedirected", 300, ambiguous=True)),
    "no answer": (b"", Outcome(K.UNAVAILABLE, "ConnectionClosedError", ambiguous=True)),
    "half a status line": (b"HTTP/1.", Outcome(K.UNAVAILABLE, "ConnectionClosedError", ambiguous=True)),
    "not HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", Outcome(K.UNAVAILABLE, "ConnectionClosedError", ambiguous=True)),
    "ended, as AccessDenied": (
        refusal("AccessDeniedException", "AWS OpsWorks Stacks is no longer accepting new customers"),
        Outcome(K.DENIED, "ServiceRetired", 400),
    ),
    "ended, as Validation": (
        refusal("ValidationException", "AWS is discontinuing support for this service"),
        Outcome(K.DENIED, "ServiceRetired", 400),
    ),
    "ended, as Forbidden": (
        refusal("ForbiddenException", "only available for existing customers"),
        Outcome(K.DENIED, "ServiceRetired", 400),
    ),
}


@pytest.mark.parametrize("case", sorted(ODD))
def test_odd_answers_are_never_taken_for_more_than_they_are(playback: tuple[Playback, ProtonSink], case: str) -> None:
    server, sink = playback
    server.answer, expected = ODD[case]
    assert sink.send(WHOLE) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("200 OK", Outcome(K.UNAVAILABLE, "ResponseTooLarge", 200, ambiguous=True)),
        ("400 Bad", Outcome(K.UNKNOWN, "HTTP 400", 400)),
    ],
)
def test_an_answer_without_end_is_not_read_to_its_end(status: str, expected: Outcome) -> None:
    server = Playback(http(status, b" " * 64 * 1024, length=10**12), times=4096)
    sink = ProtonSink("proton", REGION, server.url)
    try:
        assert sink.send(WHOLE) == expected
    finally:
        sink.close()
        server.close()
    assert server.played < 1024, "more than the buffers of two sockets hold"


@pytest.mark.parametrize(
    ("endpoint_url", "code"),
    [
        ("http://127.0.0.1:1", "EndpointConnectionError"),
        ("127.0.0.1:80", "ValueError"),
    ],
)
def test_what_never_left_is_not_ambiguous(endpoint_url: str, code: str) -> None:
    sink = ProtonSink("proton", REGION, endpoint_url)
    assert sink.send(WHOLE) == Outcome(K.UNAVAILABLE, code)
    sink.close()


def test_a_failed_tls_handshake_is_not_ambiguous(receiver: Receiver) -> None:
    sink = ProtonSink("proton", REGION, receiver.url.replace("http:", "https:"))
    assert sink.send(WHOLE) == Outcome(K.UNAVAILABLE, "SSLError")
    sink.close()


# --- credentials and region -------------------------------------------------------------------------------------


def without_credentials(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "credentials"))


def test_missing_credentials_are_an_outcome_and_are_found_when_they_come(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, receiver: Receiver, fresh: ProtonSink
) -> None:
    without_credentials(monkeypatch, tmp_path)
    before = receiver.requests
    assert fresh.send(WHOLE) == Outcome(K.UNAUTHENTICATED, "NoCredentialsError")
    assert receiver.requests == before
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id=AKIDEXAMPLE\naws_secret_access_key=secret\n")
    assert fresh.send(WHOLE).kind is K.UNAUTHENTICATED, "the chain is not walked at every attempt"
    monkeypatch.setattr(proton, "_RECONNECT_AFTER", 0.0)
    fresh.send(WHOLE)
    assert fresh.send(WHOLE).kind is K.ACCEPTED


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ("[default]\naws_access_key_id=AKIDEXAMPLE\n", "PartialCredentialsError"),
        ("[default]\ncredential_process=/bin/false\n", "CredentialRetrievalError"),
        ("[default]\nrole_arn=arn:aws:iam::123456789012:role/r\nsource_profile=gone\n", "InvalidConfigError"),
        ("[default\n", "ConfigParseError"),
    ],
    ids=lambda value: value if value.isalnum() else "config",
)
def test_credentials_that_cannot_be_had_are_an_outcome(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh: ProtonSink, config: str, code: str
) -> None:
    without_credentials(monkeypatch, tmp_path)
    (tmp_path / "config").write_text(config)
    for _ in range(2):
        assert fresh.send(WHOLE) == Outcome(K.UNAUTHENTICATED, code)


def test_a_profile_that_does_not_exist_is_an_outcome(monkeypatch: pytest.MonkeyPatch, fresh: ProtonSink) -> None:
    monkeypatch.setenv("AWS_PROFILE", "ghost")
    assert fresh.send(WHOLE) == Outcome(K.UNAUTHENTICATED, "ProfileNotFound")


@pytest.mark.parametrize(("region", "code"), [("", "NoRegionError"), ("no such region", "InvalidRegionError")])
def test_a_region_that_is_none_is_an_outcome(receiver: Receiver, region: str, code: str) -> None:
    sink = ProtonSink("proton", region, receiver.url)
    assert sink.send(WHOLE) == Outcome(K.UNAUTHENTICATED, code)
    sink.close()


def test_a_refusal_within_the_credentials_chain_is_about_credentials() -> None:
    from botocore.exceptions import ClientError

    refused = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "AssumeRole")
    assert proton._outcome_of(refused, built=True).kind is K.UNAUTHENTICATED


# --- traps in the environment -----------------------------------------------------------------------------------

TRAPS: dict[str, dict[str, str]] = {
    "endpoint": {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_PROTON": "http://127.0.0.1:1"},
    "proxy": dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:1"),
    "retries": {"AWS_MAX_ATTEMPTS": "5", "AWS_RETRY_MODE": "legacy"},
    "variants": {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
    "region": {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"},
    "timeouts": {"AWS_DEFAULTS_MODE": "mobile"},
}


@pytest.mark.parametrize("trap", sorted(TRAPS))
def test_the_environment_changes_neither_the_way_nor_the_number_of_requests(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, fresh: ProtonSink, trap: str
) -> None:
    for name, value in TRAPS[trap].items():
        monkeypatch.setenv(name, value)
    before = receiver.requests
    assert fresh.send(WHOLE).kind is K.ACCEPTED
    receiver.fail(FaultKind.INTERNAL_SERVER)
    assert fresh.send(WHOLE).kind is K.UNAVAILABLE
    assert receiver.requests == before + 2


@pytest.mark.parametrize("trap", ["endpoint", "region"])
def test_without_an_endpoint_of_ours_it_is_awss_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trap: str) -> None:
    for name, value in TRAPS[trap].items():
        monkeypatch.setenv(name, value)
    (tmp_path / "config").write_text("[default]\nendpoint_url=http://127.0.0.1:1\nregion=us-west-2\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert endpoint_of(ProtonSink("proton", REGION)) == PROTON


def test_a_planted_service_model_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh: ProtonSink
) -> None:
    planted = tmp_path / "proton" / "2099-01-01"
    planted.mkdir(parents=True)
    model = Path(MODELS, "proton/2020-07-20/service-2.json").read_text()
    (planted / "service-2.json").write_text(model.replace("AwsProton20200720", "Planted"))
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    assert fresh.send(WHOLE).kind is K.ACCEPTED


# --- life after botocore's Proton -------------------------------------------------------------------------------


def endpoint_of(sink: ProtonSink) -> str:
    client = sink._connected()
    assert client is not None
    url = client.meta.endpoint_url
    sink.close()
    return url


@pytest.fixture
def botocore_without_proton(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """botocore as it will be: the same files, but for the one directory."""
    from botocore.loaders import Loader

    for entry in os.scandir(Loader.BUILTIN_DATA_PATH):
        if entry.name != "proton":
            (tmp_path / entry.name).symlink_to(entry.path)
    monkeypatch.setattr(Loader, "BUILTIN_DATA_PATH", str(tmp_path))


@pytest.mark.usefixtures("botocore_without_proton")
def test_when_botocore_has_dropped_proton_our_model_stands_in(receiver: Receiver, fresh: ProtonSink) -> None:
    from botocore.exceptions import UnknownServiceError
    from botocore.session import get_session

    with pytest.raises(UnknownServiceError):
        get_session().create_client("proton", region_name=REGION)
    assert fresh.send(WHOLE).kind is K.ACCEPTED
    assert receiver.records()[-1].outputs == dict(WHOLE.outputs)
    for kind in (FaultKind.THROTTLING, FaultKind.CONFLICT, FaultKind.HALF_RESPONSE):
        receiver.fail(Fault(kind), times=1)
        assert dataclasses.replace(fresh.send(WHOLE), request_id="") == OUTCOMES[kind]
    assert fresh.send(dataclasses.replace(WHOLE, outputs=(("", "v"),))).code == "ParamValidationError"


@pytest.mark.parametrize(
    ("region", "environment", "url"),
    [
        (REGION, {}, PROTON),
        ("us-gov-west-1", {}, "https://proton.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", {}, "https://proton.cn-north-1.amazonaws.com.cn"),
        ("us-east-1", {"AWS_USE_FIPS_ENDPOINT": "true"}, "https://proton-fips.us-east-1.amazonaws.com"),
        ("us-east-1", {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "https://proton.us-east-1.api.aws"),
        ("us-east-1", TRAPS["variants"], "https://proton-fips.us-east-1.api.aws"),
    ],
)
def test_our_rules_lead_to_the_same_endpoints_as_botocores(
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    region: str,
    environment: dict[str, str],
    url: str,
) -> None:
    """FIPS and dual stack choose among AWS's own endpoints, so there the environment may speak."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert endpoint_of_first_request(region) == url
    request.getfixturevalue("botocore_without_proton")
    assert endpoint_of_first_request(region) == url


def endpoint_of_first_request(region: str) -> str:
    """Where a request would go; it is stopped before it leaves."""
    sink = ProtonSink("proton", region)
    client: Any = sink._connected()
    went: list[str] = []

    def stop(request: Any, **_: Any) -> None:
        went.append(request.url)
        raise ConnectionAbortedError

    client.meta.events.register_first(f"before-send.proton.{OPERATION}", stop)
    sink.send(WHOLE)
    sink.close()
    return went[0].rstrip("/")


def test_our_model_says_what_botocores_says_while_both_are_there() -> None:
    from botocore.loaders import Loader

    own = Loader(extra_search_paths=[MODELS], include_default_search_paths=False)
    theirs = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
    # Once botocore has dropped Proton this fails: then ours is the only one, and this test has done its work.
    ours, reference = (loader.load_service_model("proton", "service-2") for loader in (own, theirs))
    for key in ("apiVersion", "endpointPrefix", "jsonVersion", "protocol", "signingName", "targetPrefix", "serviceId"):
        assert ours["metadata"][key] == reference["metadata"][key]
    assert shape_of(ours, "input") == shape_of(reference, "input")
    named = [{error["shape"] for error in model["operations"][OPERATION]["errors"]} for model in (ours, reference)]
    assert named[0] == named[1] == {kind.value for kind in ERRORS}


def shape_of(model: dict[str, Any], side: str) -> Any:
    """A shape with everything in it and without its names; patterns aside, which nobody checks on our side."""

    def unfold(name: str) -> Any:
        shape = {k: v for k, v in model["shapes"][name].items() if k not in ("documentation", "pattern")}
        if "members" in shape:
            shape["members"] = {member: unfold(ref["shape"]) for member, ref in shape["members"].items()}
        if "member" in shape:
            shape["member"] = unfold(shape["member"]["shape"])
        return shape

    return unfold(model["operations"][OPERATION][side]["shape"])
