"""No answer is taken for more than it is, in none of the protocols that AWS's services speak: JSON stands with Proton
(`test_proton_outcomes`), here are SNS's XML, and CBOR as Service Catalog speaks it to a botocore that prefers it.

Everything runs through the real botocore clients against a server that plays back bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

import botocore.model
import pytest
from support.aws_endpoint import REQUEST_ID
from support.proton import WHOLE, Playback, clean_environment, http
from support.rigs.service_catalog import WORKFLOW, Catalog
from support.rigs.sns import TOPIC

from proton_tf_agent.aws_service import Place
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.domain.values import replace
from proton_tf_agent.sinks.service_catalog import TAG_KEY, ServiceCatalogSink, request_of
from proton_tf_agent.sinks.sns import SnsSink

K = OutcomeKind
UNEXPECTED = Outcome(K.UNAVAILABLE, "ResponseUnexpected", 200, ambiguous=True)
CARRIED_OUT = replace(WHOLE, resource_arn=None, workflow=WORKFLOW)
CBOR = ("smithy-protocol: rpc-v2-cbor", "Content-Type: application/cbor")
LAUGHS = b"<!DOCTYPE x [<!ENTITY a 'ha'>" + b"".join(
    b"<!ENTITY %c '%s'>" % (n, b"&%c;" % (n - 1) * 50) for n in range(ord("b"), ord("j"))
)


@pytest.fixture(scope="module", autouse=True)
def no_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with clean_environment(tmp_path_factory.mktemp("home")):
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[Playback]:
    server = Playback()
    yield server
    server.close()


@pytest.fixture(scope="module")
def topic(server: Playback) -> Iterator[SnsSink]:
    sink = SnsSink("topic", Place("eu-west-1", server.url), TOPIC, "proton-tf-agent://here")
    yield sink
    sink.close()


@pytest.fixture(scope="module")
def prefers_cbor() -> Iterator[None]:
    """botocore as it may be: it speaks both, and has the order of its preference as a constant."""
    with pytest.MonkeyPatch.context() as patch:
        order = ("smithy-rpc-v2-cbor", *botocore.model.PRIORITY_ORDERED_SUPPORTED_PROTOCOLS)  # type: ignore[attr-defined]  # not in the stubs
        patch.setattr(botocore.model, "PRIORITY_ORDERED_SUPPORTED_PROTOCOLS", order)
        yield


@pytest.fixture(scope="module")
def catalog(prefers_cbor: None, server: Playback) -> Iterator[ServiceCatalogSink]:
    sink = ServiceCatalogSink("catalog", Place("eu-west-1", server.url))
    yield sink
    sink.close()


def error(code: str) -> bytes:
    return (
        f'<ErrorResponse xmlns="http://sns.amazonaws.com/"><Error><Code>{code}</Code></Error></ErrorResponse>'.encode()
    )


def published(inner: str) -> bytes:
    return f"<PublishResponse><PublishResult>{inner}</PublishResult></PublishResponse>".encode()


IN_XML: dict[str, tuple[bytes, Outcome]] = {
    "accepted": (http("200 OK", published("<MessageId>1-2</MessageId>")), Outcome(K.ACCEPTED, "", 200)),
    "an error's name": (http("403 No", error("ExpiredToken")), Outcome(K.UNAUTHENTICATED, "ExpiredToken", 403)),
    "text in place of a name": (http("400 Bad", error("hunter2 is it")), Outcome(K.UNKNOWN, "HTTP 400", 400)),
    "an error without a name": (
        http("400 Bad", b"<ErrorResponse><Error/></ErrorResponse>"),
        Outcome(K.UNKNOWN, "HTTP 400", 400),
    ),
    "an error that is text": (
        http("400 Bad", b"<ErrorResponse><Error>no</Error></ErrorResponse>"),
        Outcome(K.UNKNOWN, "HTTP 400", 400),
    ),
    "400 in JSON": (http("400 Bad", b'{"__type": "Throttling"}'), Outcome(K.UNKNOWN, "HTTP 400", 400)),
    "400 with nothing": (http("400 Bad"), Outcome(K.UNKNOWN, "HTTP 400", 400)),
    "429 page": (http("429 Many", b"<html>no"), Outcome(K.THROTTLED, "HTTP 429", 429)),
    "503 page": (http("503 Later", b"<html>no"), Outcome(K.UNAVAILABLE, "HTTP 503", 503, ambiguous=True)),
    "200 with nothing": (http("200 OK"), UNEXPECTED),
    "200 page": (http("200 OK", b"<html><body>log in</body></html>"), UNEXPECTED),
    "200 without an id": (http("200 OK", published("")), UNEXPECTED),
    "200 with the id elsewhere": (http("200 OK", b"<a><MessageId>1</MessageId></a>"), UNEXPECTED),
    "200 with an error inside": (http("200 OK", error("Throttling")), UNEXPECTED),
    "200 that grows": (http("200 OK", LAUGHS + b"]><PublishResponse>&i;</PublishResponse>"), UNEXPECTED),
    "200 in no encoding": (http("200 OK", b'<?xml version="1.0" encoding="no"?><a/>'), UNEXPECTED),
    "200 nested too deeply": (http("200 OK", b"<a>" * 20_000), UNEXPECTED),
}


@pytest.mark.parametrize("case", IN_XML)
def test_an_answer_in_xml_is_what_it_is(server: Playback, topic: SnsSink, case: str) -> None:
    server.answer, expected = IN_XML[case]
    assert topic.send(WHOLE) == expected


@pytest.mark.usefixtures("prefers_cbor")
def test_in_cbor_a_result_arrives_as_whole_as_in_json() -> None:
    """The endpoint speaks what it is spoken to in."""
    service = Catalog()
    sink = ServiceCatalogSink("catalog", Place("eu-west-1", service.url))
    try:
        assert sink.send(CARRIED_OUT) == Outcome(K.ACCEPTED, "", 200, REQUEST_ID)
        service.refuse("InvalidParametersException")
        assert sink.send(CARRIED_OUT) == Outcome(K.INVALID, "InvalidParametersException", 400, REQUEST_ID)
    finally:
        sink.close()
        service.close()
    assert service.results == [request_of(CARRIED_OUT, WORKFLOW, TAG_KEY)]


# {"__type": "ns#ThrottlingException"}, and what is like it.
THROTTLED = b"\xa1\x66__type\x78\x16ns#ThrottlingException"
IN_CBOR: dict[str, tuple[bytes, Outcome]] = {
    "accepted": (http("200 OK", b"\xa0", *CBOR), Outcome(K.ACCEPTED, "", 200)),
    "accepted, of no certain length": (http("200 OK", b"\xbf\xff", *CBOR), Outcome(K.ACCEPTED, "", 200)),
    "accepted without a body": (http("200 OK", b"", *CBOR), Outcome(K.ACCEPTED, "", 200)),
    "an error's name": (http("400 Bad", THROTTLED, *CBOR), Outcome(K.THROTTLED, "ThrottlingException", 400)),
    "an error of nobody": (http("400 Bad", THROTTLED), Outcome(K.UNKNOWN, "HTTP 400", 400)),
    "400 page": (http("400 Bad", b"<html>no", *CBOR), Outcome(K.UNKNOWN, "HTTP 400", 400)),
    "400 with nothing": (http("400 Bad"), Outcome(K.UNKNOWN, "HTTP 400", 400)),
    "410": (http("410 Gone"), Outcome(K.GONE, "HTTP 410", 410)),
    "503 page": (http("503 Later", b"<html>no"), Outcome(K.UNAVAILABLE, "HTTP 503", 503, ambiguous=True)),
    "200 of nobody": (http("200 OK", b"\xa0"), UNEXPECTED),
    "200 with nothing of nobody": (http("200 OK", b"", "x-amzn-RequestId: r-1"), UNEXPECTED),
    "200 page": (http("200 OK", b"<html>log in</html>", *CBOR), UNEXPECTED),
    "200 list": (http("200 OK", b"\x81\xa0", *CBOR), UNEXPECTED),
    "200 cut": (
        http("200 OK", b"\xa1", *CBOR, length=20),
        Outcome(K.UNAVAILABLE, "ResponseTruncated", 200, ambiguous=True),
    ),
}


@pytest.mark.parametrize("case", IN_CBOR)
def test_an_answer_in_cbor_is_what_it_is(server: Playback, catalog: ServiceCatalogSink, case: str) -> None:
    server.answer, expected = IN_CBOR[case]
    assert catalog.send(CARRIED_OUT) == expected


@pytest.mark.parametrize("body", [b"\xa1", b"\xa1\x66__type\x05", b"\xa1\x61a" + b"\x81" * 60_000])
@pytest.mark.parametrize("status", ["200 OK", "400 Bad"])
def test_what_cannot_be_read_in_cbor_is_no_acceptance(
    server: Playback, catalog: ServiceCatalogSink, status: str, body: bytes
) -> None:
    server.answer = http(status, body, *CBOR)
    outcome = catalog.send(CARRIED_OUT)
    assert outcome.kind is not K.ACCEPTED
    assert outcome.code
