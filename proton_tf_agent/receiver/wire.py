"""The receiver's connections: requests in, answers out, and what only a connection can spoil."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
import socketserver
import struct
import sys
import time
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

from ..domain.errors import described
from ..wire_contract import CONTENT_TYPE, Refused, check_envelope, read_request
from .faults import REFUSALS, Fault, FaultKind, Hold
from .ledger import Ledger

MAX_BODY = 2 * 1024 * 1024  # bytes; the largest valid request with every character escaped is below 1.4 MB
IDLE = 60.0  # seconds a silent connection is kept
_log = logging.getLogger(__name__)


class _Exchange(BaseHTTPRequestHandler):
    """One connection: requests in, answers out."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "proton-tf-agent"
    sys_version = ""
    wbufsize = -1  # an answer leaves in one piece; unbuffered, each call stalls 44 ms (Nagle and delayed ACK)
    disable_nagle_algorithm = True
    timeout = IDLE
    _ahead = 0.0  # seconds its clock is ahead of the true time, in the answer that leaves next

    def do_POST(self) -> None:
        ledger = self.server.ledger
        try:
            body = self._body()
            ledger.count()
            operation = check_envelope(self.command, self.path, self.headers)
            request = read_request(operation, body)
            fault = ledger.draw(operation, request)
            if fault is not None:
                self._fail(operation, request, fault)
            else:
                self._answer(200, ledger.apply(operation, request, "accepted"))
        except Refused as refused:
            document = {"__type": f"com.amazonaws.proton#{refused.code}", "message": str(refused)}
            extra = {} if refused.retry_after is None else {"Retry-After": f"{refused.retry_after:g}"}
            self._answer(refused.http_status, json.dumps(document).encode(), extra=extra)

    do_GET = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_POST  # noqa: N815 - refused as unknown operations

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        """Say nothing: what is worth saying is a record."""

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0" if self.command != "POST" else "")
        if not re.fullmatch(r"\d{1,18}", length, re.ASCII):
            self.close_connection = True  # where this request ends is unknown
            raise Refused("MissingContentLength", "The request needs a Content-Length", 411)
        if int(length) > MAX_BODY:
            self.close_connection = True  # the rest is not read
            raise Refused("RequestEntityTooLargeException", f"The body is larger than {MAX_BODY} bytes", 413)
        return self.rfile.read(int(length))

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The time for the Date header."""
        return super().date_time_string((time.time() if timestamp is None else timestamp) + self._ahead)

    def _fail(self, operation: str, request: Mapping[str, Any], fault: Fault) -> None:
        ledger, kind = self.server.ledger, fault.kind
        if kind in REFUSALS:
            self._refuse(fault)
        elif kind is FaultKind.HTML:
            self._answer(200, b"<html><body>Please log in</body></html>", "text/html")
        elif kind is FaultKind.REDIRECT:
            self._answer(302, b"", "text/html", {"Location": fault.location})
        elif kind is FaultKind.LATENCY:
            if ledger.closing.wait(fault.delay):
                self.close_connection = True
            else:
                self._answer(200, ledger.apply(operation, request, "accepted"))
        elif kind is FaultKind.HOLD:
            if (fault.hold or Hold(ledger.changed)).is_applied(ledger.closing):
                self._answer(200, ledger.apply(operation, request, kind.value))
            else:
                self.close_connection = True
        else:
            answer = ledger.apply(operation, request, kind.value)
            self.close_connection = True
            if kind is FaultKind.HALF_RESPONSE:
                self._answer(200, answer, announced=len(answer) + 64)
            elif kind is FaultKind.OVERLONG_RESPONSE:
                self._answer(200, b'{"padding": "' + b"x" * 1024 * 1024 + b'"}')
            else:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _refuse(self, fault: Fault) -> None:
        refusal = REFUSALS[fault.kind]
        self._ahead = refusal.ahead
        if refusal.code:
            raise Refused(refusal.code, refusal.text, refusal.http_status, fault.retry_after)
        extra = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
        self._answer(refusal.http_status, b"", "text/html", extra)

    def _answer(
        self,
        http_status: int,
        body: bytes,
        content_type: str = CONTENT_TYPE,
        extra: Mapping[str, str] | None = None,
        announced: int | None = None,
    ) -> None:
        self.send_response(http_status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(announced or len(body)))
        if content_type == CONTENT_TYPE:
            self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
        for name, value in (extra or {}).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self._ahead = 0.0


class Server(socketserver.ThreadingTCPServer):
    """Accepts connections; its close waits for their threads."""

    allow_reuse_address = True
    request_queue_size = 128
    daemon_threads = False

    def __init__(self, address: tuple[str, int], ledger: Ledger) -> None:
        self.ledger = ledger
        self.open: set[socket.socket] = set()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Exchange)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        self.close_request(request)  # no orderly shutdown before it: that would soften a reset into an end

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):  # senders may leave when they like
            _log.error("the receiver failed over a request: %s", described(sys.exception() or Exception()))

    def stop(self) -> None:
        """End the accept loop at once, let answers under way leave, end idle connections, wait for all threads."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the accept loop, which otherwise waits for its tick
        self.shutdown()
        for connection in tuple(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        self.server_close()
