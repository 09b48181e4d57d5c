"""Bad inputs 88 to 90: what answers in Proton's place, over real sockets and real TLS, and what is logged of it."""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import gzip
import json
import logging
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path

import pytest
from support.certificates import NOW, YEAR, authority, issue, write
from support.proton import REGION, WHOLE, Playback, clean_environment, http

from proton_tf_agent.aws_client import Access
from proton_tf_agent.domain.explanations import EXPLANATIONS
from proton_tf_agent.domain.outbox import OutcomeKind
from proton_tf_agent.domain.values import replace
from proton_tf_agent.receiver import Receiver
from proton_tf_agent.sinks.proton import ProtonSink
from proton_tf_agent.telemetry import configure

K = OutcomeKind
_JSON = "Content-Type: application/x-amz-json-1.0"


@pytest.fixture(scope="module", autouse=True)
def no_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with clean_environment(tmp_path_factory.mktemp("home")):
        yield


# --- 88 and 89: answers ---------------------------------------------------------------------------------------------


def _bomb() -> bytes:
    return gzip.compress(b'{"x":"' + b"0" * (64 << 20) + b'"}')


ANSWERS: dict[str, Callable[[], bytes]] = {
    "88 a login page": lambda: http("200 OK", b"<html>log in</html>", "Content-Type: text/html"),
    "88 a login page that says it is JSON": lambda: http("200 OK", b"<html></html>", _JSON),
    "88 a redirect": lambda: http("301 Moved", b"", "Location: http://169.254.169.254/latest/meta-data/"),
    "88 a temporary redirect": lambda: http("307 Temporary Redirect", b"", "Location: http://169.254.169.254/"),
    "88 a gzip bomb": lambda: http("200 OK", _bomb(), _JSON, "Content-Encoding: gzip"),
    "88 JSON that is none": lambda: http("200 OK", b'{"x":', _JSON),
    "88 JSON 100,000 deep": lambda: http("200 OK", b"[" * 50_000, _JSON),
    "88 an array": lambda: http("200 OK", b"[]", _JSON),
    "88 another protocol": lambda: b"SSH-2.0-OpenSSH_9.6\r\n",
    "88 headers without end": lambda: b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500,
    "89 cut behind the headers": lambda: http("200 OK", b"", _JSON, length=2),
    "89 cut in the body": lambda: http("200 OK", b'{"x', _JSON, length=50),
    "89 nothing at all": lambda: b"",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_is_no_answer_of_protons_is_tried_again_and_may_have_arrived(answer: str) -> None:
    server = Playback(ANSWERS[answer]())
    sink = ProtonSink("proton", REGION, server.url, read_timeout=2.0)
    try:
        outcome = sink.send(WHOLE)
    finally:
        sink.close()
        server.close()
    assert (outcome.kind, outcome.ambiguous) == (K.UNAVAILABLE, True), outcome
    assert server.played == 1, "and nobody is asked a second time"


@pytest.mark.parametrize("status", ["200 OK", "500 Oops", "302 Found"])
def test_of_a_gigabyte_64_kilobytes_are_read(status: str) -> None:
    """88."""
    head = f"HTTP/1.1 {status}\r\n{_JSON}\r\nContent-Length: {1 << 30}\r\n\r\n".encode()
    server = Playback(head + b" " * (1 << 20), times=1024)
    sink = ProtonSink("proton", REGION, server.url)
    try:
        assert sink.send(WHOLE).kind is K.UNAVAILABLE
    finally:
        sink.close()
        server.close()
    assert server.played < 64, "MiB"


# --- 89: certificates -----------------------------------------------------------------------------------------------


class _Accepts(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        for name, value in (("Content-Type", "application/x-amz-json-1.0"), ("Content-Length", "2")):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextlib.contextmanager
def tls_server(certificate: str) -> Iterator[str]:
    """An endpoint that accepts everything, behind this certificate."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Accepts)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a handshake that the client breaks off
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sent(url: str, ca_bundle: str | None) -> tuple[OutcomeKind, str, bool]:
    sink = ProtonSink("proton", REGION, url, connect_timeout=5.0, access=Access(ca_bundle=ca_bundle))
    try:
        outcome = sink.send(WHOLE)
    finally:
        sink.close()
    return outcome.kind, outcome.code, outcome.ambiguous


def test_a_certificate_that_the_settings_trust_is_taken(tmp_path: Path) -> None:
    trusted = authority()
    leaf = issue("proton", trusted, NOW - YEAR, NOW + YEAR, "127.0.0.1")
    with tls_server(write(leaf, tmp_path / "leaf.pem")) as url:
        assert sent(url, write(trusted, tmp_path / "ca.pem"))[0] is K.ACCEPTED


@pytest.mark.parametrize(
    "spoilt", ["another name", "expired", "not valid yet", "another authority", "expired authority"]
)
def test_any_other_certificate_ends_the_attempt_before_a_byte_has_left(tmp_path: Path, spoilt: str) -> None:
    """89: never passed over, and nothing can have arrived."""
    trusted = authority(NOW - YEAR / 2) if spoilt == "expired authority" else authority()
    issuer = authority() if spoilt == "another authority" else trusted
    begins, ends = NOW - YEAR, NOW + YEAR
    if spoilt == "expired":
        ends = NOW - YEAR / 365
    if spoilt == "not valid yet":
        begins = NOW + YEAR / 365
    leaf = issue("proton", issuer, begins, ends, "192.0.2.1" if spoilt == "another name" else "127.0.0.1")
    with tls_server(write(leaf, tmp_path / "leaf.pem")) as url:
        assert sent(url, write(trusted, tmp_path / "ca.pem")) == (K.UNAVAILABLE, "SSLError", False)


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"])
def test_the_environment_makes_no_certificate_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """91: nor does the configuration file of a profile."""
    planted = authority()
    leaf = issue("proton", planted, NOW - YEAR, NOW + YEAR, "127.0.0.1")
    bundle = write(planted, tmp_path / "ca.pem")
    monkeypatch.setenv(name, bundle)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(f"[default]\nca_bundle = {bundle}\n")
    with tls_server(write(leaf, tmp_path / "leaf.pem")) as url:
        assert sent(url, None) == (K.UNAVAILABLE, "SSLError", False)


# --- 90: clocks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("years", [-56, 10, -10])
def test_a_signature_of_another_time_is_put_down_to_the_clock(years: int) -> None:
    """The server's clock differs from ours by years; it refuses the signature, and says what time it has."""
    theirs = NOW + years * YEAR
    body = json.dumps({"__type": "InvalidSignatureException", "message": "Signature expired"}).encode()
    date = "Date: " + email.utils.format_datetime(theirs.astimezone(dt.UTC), usegmt=True)
    server = Playback(http("400 Bad Request", body, _JSON, date))
    sink = ProtonSink("proton", REGION, server.url)
    try:
        outcome = sink.send(WHOLE)
    finally:
        sink.close()
        server.close()
    assert (outcome.kind, outcome.code) == (K.UNAUTHENTICATED, "ClockSkewed"), (
        "the whole sink is held up, nothing parked"
    )
    assert "clock" in EXPLANATIONS[outcome.kind].means


# --- what is logged -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_no_level_lets_a_library_log_what_is_sent_or_answered(level: str, receiver: Receiver) -> None:
    """botocore logs whole requests at debug, urllib3 the lines of answers it cannot read."""
    told = replace(WHOLE, status_message="canary-in-a-message", outputs=(("key", "canary-in-an-output"),))
    stream, root = StringIO(), logging.getLogger()
    before, listening = root.level, logging.StreamHandler(stream)
    configure(level, "json", stream)
    root.addHandler(listening)
    root.setLevel(logging.DEBUG)
    garbage = Playback(b"HTTP/1.1 200 OK\r\ncanary in a header\r\n\r\ncanary in a body")
    try:
        for url in (receiver.url, garbage.url, "http://127.0.0.1:9"):
            sink = ProtonSink("proton", REGION, url, read_timeout=2.0)
            sink.send(told)
            sink.close()
    finally:
        garbage.close()
        root.removeHandler(listening)
        root.setLevel(before)
    said = stream.getvalue()
    assert receiver.records()[-1].status_message == "canary-in-a-message"
    assert "canary-in-" not in said
    assert "AKIDEXAMPLE" not in said
    assert "Signature=" not in said
