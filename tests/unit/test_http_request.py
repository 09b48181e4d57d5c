"""A request ends, whatever its server does: it takes nothing, or answers one byte after the other for ever."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.certificates import NOW, YEAR, authority, issue, write

from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.http_request import Answer, HttpPlace

READ_TIMEOUT_S = 0.4
BETWEEN_BYTES_S = 0.05  # far below the timeout: each byte alone comes early enough
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


class DrippingServer:
    """Answers at once with `at_once`, and then a byte now and then until the client has had enough (`left`)."""

    def __init__(self, at_once: bytes, drop: bytes, certificate: str | None = None) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.left = threading.Event()
        self._stop = threading.Event()
        self._answer = (at_once, drop)
        self._context = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        connection, _ = self._listening.accept()
        with connection:
            stream = self._context.wrap_socket(connection, server_side=True) if self._context else connection
            at_once, drop = self._answer
            with contextlib.suppress(OSError):
                stream.recv(65536)
                stream.sendall(at_once)
                while not self._stop.wait(BETWEEN_BYTES_S):
                    stream.sendall(drop)
            self.left.set()
            if stream is not connection:
                stream.close()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._listening.close()


@contextlib.contextmanager
def dripping(at_once: bytes, drop: bytes, certificate: str | None = None) -> Iterator[DrippingServer]:
    server = DrippingServer(at_once, drop, certificate)
    try:
        yield server
    finally:
        server.close()


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize(
    ("at_once", "drop"),
    [(b"", b"H"), (b"HTTP/1.1 200 OK\r\nX: ", b"y"), (b"", b"HTTP/1.1 100 Continue\r\n\r\n"), (HEAD, b"x")],
    ids=["status", "header", "continue", "body"],
)
def test_an_answer_that_drips_is_waited_for_no_longer_than_the_timeout(
    at_once: bytes, drop: bytes, method: str
) -> None:
    """Without a bound on the whole this would never return. What only asks is never ambiguous."""
    with dripping(at_once, drop) as server:
        place = HttpPlace(f"http://127.0.0.1:{server.port}/", read_timeout=READ_TIMEOUT_S)
        outcome = place.request(method, "/", {}, b"{}")
        assert outcome == Outcome(OutcomeKind.UNAVAILABLE, "TimeoutError", ambiguous=method == "POST")
        assert server.left.wait(10), "the connection is closed, too"


def test_an_answer_that_drips_behind_tls_is_waited_for_no_longer(tmp_path: Path) -> None:
    trusted = authority()
    leaf = issue("hook", trusted, NOW - YEAR, NOW + YEAR, "127.0.0.1")
    ca_bundle = write(trusted, tmp_path / "ca.pem")
    with dripping(HEAD, b"x", write(leaf, tmp_path / "leaf.pem")) as server:
        place = HttpPlace(f"https://127.0.0.1:{server.port}/", read_timeout=READ_TIMEOUT_S, ca_bundle=ca_bundle)
        outcome = place.request("POST", "/", {}, b"{}")
        assert outcome == Outcome(OutcomeKind.UNAVAILABLE, "TimeoutError", ambiguous=True)
        assert server.left.wait(10)


def test_a_server_that_takes_the_request_but_slowly_holds_nobody() -> None:
    """It reads a little now and then: each piece is sent early enough, the whole never."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stop = threading.Event()

    def sip() -> None:
        connection, _ = listening.accept()
        with connection:
            while not stop.wait(BETWEEN_BYTES_S) and connection.recv(512):
                pass

    thread = threading.Thread(target=sip)
    thread.start()
    try:
        place = HttpPlace(f"http://127.0.0.1:{listening.getsockname()[1]}/", read_timeout=READ_TIMEOUT_S)
        outcome = place.request("POST", "/", {}, b"x" * (64 << 20))
        assert outcome == Outcome(OutcomeKind.UNAVAILABLE, "TimeoutError", ambiguous=True)
    finally:
        stop.set()
        thread.join()
        listening.close()


def test_a_chunked_answer_is_read_whole() -> None:
    chunked = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{"\r\n4\r\na":1\r\n1\r\n}\r\n0\r\n\r\n'
    with dripping(chunked, b"x") as server:
        answer = HttpPlace(f"http://127.0.0.1:{server.port}/").request("GET", "/", {})
        assert isinstance(answer, Answer)
        assert (answer.status, answer.body) == (200, b'{"a":1}')
