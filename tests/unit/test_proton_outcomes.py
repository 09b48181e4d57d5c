"""What comes back from Proton is never taken for more than it is, and every failure has its own outcome.

Everything runs through the real botocore client against a real socket: the receiver, or for answers that no
receiver would give, a server that plays back bytes.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from support.proton import REGION, WHOLE, Playback, clean_environment, http, refusal

from proton_tf_agent.aws_outcomes import is_unresolvable
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.domain.values import replace
from proton_tf_agent.receiver import REFUSALS, Fault, FaultKind, Receiver
from proton_tf_agent.sinks.proton import ProtonSink
from proton_tf_agent.sinks.proton_outcomes import outcome_of

K = OutcomeKind


@pytest.fixture(scope="module", autouse=True)
def no_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with clean_environment(tmp_path_factory.mktemp("home")):
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


@pytest.fixture(scope="module")
def playback() -> Iterator[tuple[Playback, ProtonSink]]:
    server = Playback()
    sink = ProtonSink("proton", REGION, server.url)
    yield server, sink
    sink.close()
    server.close()


OUTCOMES: dict[FaultKind, Outcome] = {
    FaultKind.ACCESS_DENIED: Outcome(K.DENIED, "AccessDeniedException", 400),
    FaultKind.CONFLICT: Outcome(K.CONFLICT, "ConflictException", 400),
    FaultKind.INTERNAL_SERVER: Outcome(K.UNAVAILABLE, "InternalServerException", 500, ambiguous=True),
    FaultKind.RESOURCE_NOT_FOUND: Outcome(K.NOT_FOUND, "ResourceNotFoundException", 400),
    FaultKind.SERVICE_QUOTA_EXCEEDED: Outcome(K.QUOTA_EXCEEDED, "ServiceQuotaExceededException", 400),
    FaultKind.THROTTLING: Outcome(K.THROTTLED, "ThrottlingException", 400),
    FaultKind.VALIDATION: Outcome(K.INVALID, "ValidationException", 400),
    FaultKind.EXPIRED_TOKEN: Outcome(K.UNAUTHENTICATED, "ExpiredTokenException", 403),
    FaultKind.UNRECOGNIZED_CLIENT: Outcome(K.UNAUTHENTICATED, "UnrecognizedClientException", 403),
    FaultKind.UNHEARD_OF: Outcome(K.UNKNOWN, "UnheardOfException", 400),
    FaultKind.CLOCK_SKEW: Outcome(K.UNAUTHENTICATED, "ClockSkewed", 403),
    FaultKind.RETIRED_DENIED: Outcome(K.GONE, "ServiceRetired", 400),
    FaultKind.RETIRED_INVALID: Outcome(K.GONE, "ServiceRetired", 400),
    FaultKind.HTTP_410: Outcome(K.GONE, "HTTP 410", 410),
    FaultKind.HTTP_429: Outcome(K.THROTTLED, "HTTP 429", 429),
    FaultKind.HTTP_503: Outcome(K.UNAVAILABLE, "HTTP 503", 503, ambiguous=True),
    FaultKind.LATENCY: Outcome(K.UNAVAILABLE, "ReadTimeoutError", ambiguous=True),
    FaultKind.HOLD: Outcome(K.UNAVAILABLE, "ReadTimeoutError", ambiguous=True),
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
    assert replace(outcome, request_id="") == OUTCOMES[kind]
    assert bool(outcome.request_id) is (kind in REFUSALS and REFUSALS[kind].code != "")
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
    "ended, as Forbidden": (
        refusal("ForbiddenException", "only available for existing customers", "403 Forbidden"),
        Outcome(K.GONE, "ServiceRetired", 403),
    ),
    "ended, as a name nobody knows": (
        refusal("Odd", "AWS Proton is not accepting new customers.", "404 Not Found"),
        Outcome(K.GONE, "ServiceRetired", 404),
    ),
    "ended, as ResourceNotFound": (
        refusal("ResourceNotFoundException", "AWS Proton is no longer available"),
        Outcome(K.GONE, "ServiceRetired", 400),
    ),
    "ended, under 410": (
        refusal("AccessDeniedException", "no", "410 Gone"),
        Outcome(K.GONE, "AccessDeniedException", 410),
    ),
    "a resource's end is not the service's": (
        refusal("ResourceNotFoundException", "The service instance is no longer available"),
        Outcome(K.NOT_FOUND, "ResourceNotFoundException", 400),
    ),
    "a template's end is not the service's": (
        refusal("ValidationException", "Template version 1.0 is no longer supported"),
        Outcome(K.INVALID, "ValidationException", 400),
    ),
    "a busy service has not ended": (
        refusal("ThrottlingException", "This service is no longer available to you for now"),
        Outcome(K.THROTTLED, "ThrottlingException", 400),
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


NAMELESS = "https://proton.eu-west-1.invalid"  # no name below .invalid exists, and none ever will (RFC 6761)


def test_a_host_that_does_not_exist_is_unresolvable_if_the_dns_says_so() -> None:
    sink = ProtonSink("proton", REGION, NAMELESS, connect_timeout=2.0, read_timeout=2.0)
    outcome = sink.send(WHOLE)
    sink.close()
    try:
        socket.getaddrinfo("proton.eu-west-1.invalid", 443)
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
            assert outcome == Outcome(K.UNRESOLVABLE, "HostUnresolvable")
        else:  # no DNS answers on this machine, so nobody has said that the name does not exist
            assert outcome == Outcome(K.UNAVAILABLE, "EndpointConnectionError")
    else:  # a DNS that answers for every name; whatever listens there is not Proton
        assert outcome.kind is K.UNAVAILABLE


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (socket.EAI_NONAME, Outcome(K.UNRESOLVABLE, "HostUnresolvable")),
        (socket.EAI_NODATA, Outcome(K.UNRESOLVABLE, "HostUnresolvable")),
        (socket.EAI_AGAIN, Outcome(K.UNAVAILABLE, "EndpointConnectionError")),
        (socket.EAI_FAIL, Outcome(K.UNAVAILABLE, "EndpointConnectionError")),
    ],
)
def test_a_dns_that_does_not_answer_has_not_said_that_there_is_no_such_host(
    monkeypatch: pytest.MonkeyPatch, number: int, expected: Outcome
) -> None:
    """Which of these a DNS says cannot be arranged here, so getaddrinfo is told; the rest is as it is."""

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(number, "as told")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    sink = ProtonSink("proton", REGION, NAMELESS)
    assert sink.send(WHOLE) == expected
    sink.close()


def test_a_connection_that_is_refused_is_no_word_of_the_dns() -> None:
    assert not is_unresolvable(ConnectionRefusedError())


# --- clocks -----------------------------------------------------------------------------------------------------

SERVER_TIME = 1_767_323_045.0
DATED = "Date: Fri, 02 Jan 2026 03:04:05 GMT"


@pytest.mark.parametrize(
    ("code", "ahead", "date", "expected"),
    [
        ("InvalidSignatureException", 241, DATED, "ClockSkewed"),
        ("InvalidSignatureException", -241, DATED, "ClockSkewed"),
        ("SignatureDoesNotMatch", 300, DATED, "ClockSkewed"),
        ("RequestTimeTooSkewed", 300, DATED, "ClockSkewed"),
        ("RequestExpired", 10 * 365 * 86_400, DATED, "ClockSkewed"),
        ("InvalidSignatureException", 239, DATED, "InvalidSignatureException"),
        ("SignatureDoesNotMatch", -239, DATED, "SignatureDoesNotMatch"),
        ("InvalidSignatureException", 300, "Date: yesterday", "InvalidSignatureException"),
        ("InvalidSignatureException", 300, "Date: Fri, 02 Foo 0000 99:99:99 GMT", "InvalidSignatureException"),
        ("InvalidSignatureException", 300, "X-Other: 1", "InvalidSignatureException"),
        ("ExpiredTokenException", 300, DATED, "ExpiredTokenException"),
        ("UnrecognizedClientException", 300, DATED, "UnrecognizedClientException"),
    ],
)
def test_a_signature_that_our_clock_has_spoilt_is_called_so(
    playback: tuple[Playback, ProtonSink], monkeypatch: pytest.MonkeyPatch, code: str, ahead: float, date: str,
    expected: str,
) -> None:  # fmt: skip
    server, sink = playback
    monkeypatch.setattr(sink._service, "_clock", lambda: SERVER_TIME + ahead)
    server.answer = refusal(code, "no", "403 Forbidden", date)
    assert sink.send(WHOLE) == Outcome(K.UNAUTHENTICATED, expected, 403)


def test_what_is_refused_for_another_reason_is_not_put_down_to_the_clock(receiver: Receiver) -> None:
    sink = ProtonSink("proton", REGION, receiver.url, clock=lambda: 0.0)
    receiver.fail(FaultKind.ACCESS_DENIED, times=1)
    assert sink.send(WHOLE).code == "AccessDeniedException"
    assert sink.send(WHOLE).kind is K.ACCEPTED
    sink.close()


def test_a_refusal_within_the_credentials_chain_is_about_credentials() -> None:
    from botocore.exceptions import ClientError

    refused = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "AssumeRole")
    assert outcome_of(refused, 0.0, built=True).kind is K.UNAUTHENTICATED
