"""The receiver: an embedded endpoint that speaks the wire contract of AWS Proton's status notification.

For demos, tests and life without AWS. It judges a request as Proton's own model does, keeps what it accepts
under ascending numbers, and can be told to fail in every way the sink must survive. It does not check
signatures (it has no secrets), only that a request is signed for Proton; so it listens on loopback only.

What a valid request is stands in `wire_contract`; here are connections, faults and what was accepted, together over
400 lines because every fault is an answer that only the connection can spoil.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import os
import re
import signal
import socket
import socketserver
import struct
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any

from .domain.errors import AgentError, Problem, UsageInvalid
from .wire_contract import CONTENT_TYPE, Refused, check_envelope, read_request

MAX_BODY = 2 * 1024 * 1024  # bytes; the largest valid request with every character escaped is below 1.4 MB
_IDLE = 60.0  # seconds a silent connection is kept
_TICK = 0.5  # seconds between two looks at whether anybody still reads what is told
_log = logging.getLogger(__name__)


class FaultKind(StrEnum):
    """The ways in which the receiver can fail. Those with an error's name answer with that error."""

    ACCESS_DENIED = "AccessDeniedException"
    CONFLICT = "ConflictException"
    INTERNAL_SERVER = "InternalServerException"
    RESOURCE_NOT_FOUND = "ResourceNotFoundException"
    SERVICE_QUOTA_EXCEEDED = "ServiceQuotaExceededException"
    THROTTLING = "ThrottlingException"
    VALIDATION = "ValidationException"
    LATENCY = "latency"  # accepts, but late
    RESET_AFTER_APPLY = "reset_after_apply"  # accepts, then resets the connection instead of answering
    HALF_RESPONSE = "half_response"  # accepts, then answers with less than it announced
    OVERLONG_RESPONSE = "overlong_response"  # accepts, then answers with a megabyte
    HTML = "html"  # a login page under status 200; nothing is accepted
    REDIRECT = "redirect"  # 302 to somewhere else; nothing is accepted


ERRORS = frozenset(kind for kind in FaultKind if kind.value.endswith("Exception"))


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail. delay (LATENCY) and retry_after (errors) are in seconds; location is for REDIRECT."""

    kind: FaultKind
    delay: float = 1.0
    retry_after: float | None = None
    location: str = "http://169.254.169.254/"

    @classmethod
    def named(cls, name: str) -> Fault:
        """The fault of that name, in any case. Raises UsageInvalid for a name nobody knows."""
        for kind in FaultKind:
            if name.lower() in (kind.value.lower(), kind.name.lower()):
                return cls(kind)
        known = ", ".join(kind.value for kind in FaultKind)
        raise UsageInvalid(Problem("there is no such fault", name, f"known are {known}"))


@dataclass(frozen=True, slots=True)
class Record:
    """One accepted notification. received_at: wall-clock seconds. outcome: `accepted`, or the fault that hid it."""

    number: int
    received_at: float
    resource_arn: str
    deployment_id: str | None
    status: str | None
    status_message: str | None
    outputs: dict[str, str]
    outcome: str


# --- what has been accepted, and which failures are still to come -----------------------------------------------


@dataclass(slots=True)
class _Planned:
    fault: Fault
    resource_arn: str | None
    remaining: int | None


class _Ledger:
    """Everything the connections' threads share; every method may be called from any of them."""

    def __init__(self, journal_path: str | None, on_accepted: Callable[[Record], None] | None) -> None:
        self.changed = threading.Condition()
        self.closing = threading.Event()
        self.requests = 0
        self.records: list[Record] = []
        self.planned: list[_Planned] = []
        self._on_accepted = on_accepted
        self._journal = None
        if journal_path is not None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            try:
                self._journal = os.open(journal_path, flags, 0o600)
            except OSError as error:
                raise AgentError(Problem(f"the file cannot be written: {error.strerror}", journal_path)) from error

    def count(self) -> None:
        with self.changed:
            self.requests += 1
            self.changed.notify_all()

    def draw(self, resource_arn: str) -> Fault | None:
        """The failure this request is to meet: of those told, the oldest that still applies."""
        with self.changed:
            for planned in self.planned:
                if planned.resource_arn in (None, resource_arn) and planned.remaining != 0:
                    if planned.remaining is not None:
                        planned.remaining -= 1
                    return planned.fault
        return None

    def keep(self, request: Mapping[str, Any], outcome: str) -> None:
        """Number a request and remember it; on disk first. Raises Refused when it cannot be written."""
        outputs = {output["key"]: output["valueString"] for output in request.get("outputs", [])}
        deployment_id, status, text = (request.get(name) for name in ("deploymentId", "status", "statusMessage"))
        with self.changed:
            number, now, arn = len(self.records) + 1, time.time(), request["resourceArn"]
            record = Record(number, now, arn, deployment_id, status, text, outputs, outcome)
            self._write(json_line(record) + "\n")
            self.records.append(record)
            self.changed.notify_all()
            if self._on_accepted is not None:
                self._on_accepted(record)

    def _write(self, line: str) -> None:
        if self._journal is None:
            return
        try:
            written = os.write(self._journal, line.encode())
        except OSError:
            written = 0
        if written != len(line):
            raise Refused("InternalServerException", "The receiver cannot write its journal", 500)

    def close(self) -> None:
        journal, self._journal = self._journal, None
        if journal is not None:
            os.close(journal)


# --- the wire -------------------------------------------------------------------------------------------------


class _Exchange(BaseHTTPRequestHandler):
    """One connection: requests in, answers out."""

    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "proton-tf-agent"
    sys_version = ""
    wbufsize = -1  # an answer leaves in one piece; unbuffered, each call stalls 44 ms (Nagle and delayed ACK)
    disable_nagle_algorithm = True
    timeout = _IDLE

    def do_POST(self) -> None:
        ledger = self.server.ledger
        try:
            body = self._body()
            ledger.count()
            check_envelope(self.command, self.path, self.headers)
            request = read_request(body)
            fault = ledger.draw(request["resourceArn"])
            if fault is not None:
                self._fail(request, fault)
            else:
                self._accept(request)
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

    def _accept(self, request: Mapping[str, Any]) -> None:
        self.server.ledger.keep(request, "accepted")
        self._answer(200, b"{}")

    def _fail(self, request: Mapping[str, Any], fault: Fault) -> None:
        ledger, kind = self.server.ledger, fault.kind
        if kind in ERRORS:
            http_status = 500 if kind is FaultKind.INTERNAL_SERVER else 400
            raise Refused(kind.value, "The receiver was told to fail", http_status, fault.retry_after)
        if kind is FaultKind.HTML:
            self._answer(200, b"<html><body>Please log in</body></html>", "text/html")
        elif kind is FaultKind.REDIRECT:
            self._answer(302, b"", "text/html", {"Location": fault.location})
        elif kind is FaultKind.LATENCY:
            if ledger.closing.wait(fault.delay):
                self.close_connection = True
            else:
                self._accept(request)
        else:
            ledger.keep(request, kind.value)
            self.close_connection = True
            if kind is FaultKind.HALF_RESPONSE:
                self._answer(200, b"{}", announced=64)
            elif kind is FaultKind.OVERLONG_RESPONSE:
                self._answer(200, b'{"padding": "' + b"x" * 1024 * 1024 + b'"}')
            else:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

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


class _Server(socketserver.ThreadingTCPServer):
    """Accepts connections; its close waits for their threads."""

    allow_reuse_address = True
    request_queue_size = 128
    daemon_threads = False

    def __init__(self, address: tuple[str, int], ledger: _Ledger) -> None:
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
            _log.exception("the receiver failed over a request")

    def stop(self) -> None:
        """End the accept loop at once, let answers under way leave, end idle connections, wait for all threads."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the accept loop, which otherwise waits for its tick
        self.shutdown()
        for connection in tuple(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        self.server_close()


class Receiver:
    """A running endpoint. Listens when made, ends with `close` or as a context manager.

    journal_path: a file that every record is appended to as one line of JSON (created with mode 0600).
    on_accepted:  called with every record in the order of numbers, before its sender is answered.
    port:         0 for any free one; see `url`.
    allow_remote: listen on other addresses than loopback; anybody who reaches them can then write records.
    Raises UsageInvalid for an address that is not loopback, AgentError when it is taken.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        journal_path: str | None = None,
        on_accepted: Callable[[Record], None] | None = None,
        *,
        allow_remote: bool = False,
    ) -> None:
        if not allow_remote and not is_loopback(host):
            what = "the receiver checks no signatures and listens on a literal loopback address only"
            raise UsageInvalid(Problem(what, host, "use 127.0.0.1 or ::1"))
        self._ledger = _Ledger(journal_path, on_accepted)
        try:
            self._server = _Server((host, port), self._ledger)
        except (OSError, OverflowError) as error:
            self._ledger.close()
            why = getattr(error, "strerror", None) or str(error)
            raise AgentError(Problem(f"cannot listen: {why}", f"{host}:{port}", "choose another port")) from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_IDLE,), name="receiver", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens, for `endpoint_url`."""
        host, port = self._server.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    @property
    def requests(self) -> int:
        """How many requests have come in whole, accepted or not."""
        return self._ledger.requests

    def records(self) -> tuple[Record, ...]:
        """What has been accepted so far, in order."""
        with self._ledger.changed:
            return tuple(self._ledger.records)

    def wait_for(self, predicate: Callable[[tuple[Record, ...]], bool], deadline_s: float) -> tuple[Record, ...]:
        """Wait until the records satisfy the predicate, and return them. Raises TimeoutError after deadline_s."""
        with self._ledger.changed:
            if not self._ledger.changed.wait_for(lambda: predicate(tuple(self._ledger.records)), deadline_s):
                raise TimeoutError(f"not within {deadline_s:g} s; {len(self._ledger.records)} records came")
            return tuple(self._ledger.records)

    def fail(self, fault: Fault | FaultKind, times: int | None = None, resource_arn: str | None = None) -> None:
        """Fail the next `times` valid requests (None: until `clear`), of that resource ARN only if one is given."""
        planned = _Planned(fault if isinstance(fault, Fault) else Fault(fault), resource_arn, times)
        with self._ledger.changed:
            self._ledger.planned.append(planned)

    def clear(self) -> None:
        """Forget all failures still to come."""
        with self._ledger.changed:
            self._ledger.planned.clear()

    def close(self) -> None:
        """Stop listening, end all connections and wait for their threads. May be called twice."""
        if not self._ledger.closing.is_set():
            self._ledger.closing.set()
            self._server.stop()
            self._thread.join()
            self._ledger.close()

    def __enter__(self) -> Receiver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def is_loopback(host: str) -> bool:
    """Whether host is written as a loopback address; names do not count, they can be made to mean anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# --- in the foreground, for the command line --------------------------------------------------------------------


def json_line(record: Record) -> str:
    """A record as one line of JSON, in ASCII."""
    return json.dumps(asdict(record))


def human_line(record: Record) -> str:
    """A record as one line for a person. What came over the wire is quoted, so it cannot steer the terminal."""
    at = time.strftime("%H:%M:%S", time.localtime(record.received_at))
    told = f"{record.status or 'no status'}, {len(record.outputs)} outputs, {json.dumps(record.status_message or '')}"
    hidden = "" if record.outcome == "accepted" else f" [{record.outcome}]"
    return f"{at} #{record.number} {record.resource_arn} {record.deployment_id or '-'}: {told}{hidden}"


def serve(
    host: str,
    port: int,
    fault_name: str | None = None,
    *,
    emit: Callable[[str], None],
    on_listening: Callable[[str], None] | None = None,
    as_json: bool = False,
    journal_path: str | None = None,
    times: int | None = None,
    allow_remote: bool = False,
) -> signal.Signals | None:
    """Run a receiver until SIGINT or SIGTERM, which is returned; None when `emit` raised OSError (nobody reads).

    emit is called with one line per accepted notification, on_listening once with the URL. Main thread only.
    Raises what `Fault.named` and `Receiver` raise.
    """
    unheard = threading.Event()

    def tell(record: Record) -> None:
        try:
            emit(json_line(record) if as_json else human_line(record))
        except OSError:
            unheard.set()

    fault = Fault.named(fault_name) if fault_name else None
    numbers = (signal.SIGINT, signal.SIGTERM)
    # Blocked and waited for: a handler could interrupt this thread inside a lock that it would then wait for itself.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        with Receiver(host, port, journal_path, tell, allow_remote=allow_remote) as receiver:
            if fault is not None:
                receiver.fail(fault, times)
            if on_listening is not None:
                on_listening(receiver.url)
            while not unheard.is_set():
                caught = signal.sigtimedwait(numbers, _TICK)
                if caught is not None:
                    return signal.Signals(caught.si_signo)
            return None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
