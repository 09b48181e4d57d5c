"""A real HTTP server that speaks the protocol of one AWS service as botocore's own model describes it: what the model
or a rule of the service refuses is refused, and it can fail in every way."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import botocore.parsers
import botocore.session
from botocore.validate import ParamValidator

from .hooks import STATUSES, answered, garbled, hung_up

REQUEST_ID = "01234567-0000-4000-8000-0123456789ab"
Fault = Callable[[BaseHTTPRequestHandler], object]


class Refused(Exception):
    """What AWS refuses although the model does not: the error's name."""


class AwsEndpoint:
    """Listens at `url`. rules: by operation, what it answers to parameters; raises Refused.

    requests is every operation that was asked for, with its parameters, whatever came of it.
    """

    def __init__(self, service: str, rules: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]) -> None:
        self._model = botocore.session.Session().get_service_model(service)
        self._rules = rules
        self._fault: Fault | None = None
        self._takes_first = False
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self.requests: list[tuple[str, dict[str, Any]]] = []
        endpoint = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                with contextlib.suppress(ConnectionError):  # who asked has gone
                    endpoint._hear(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = False  # closing waits for them
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def fail(self, fault: Fault, *, takes_first: bool = False) -> None:
        """Let every later request fail; takes_first: it is taken all the same."""
        self._fault, self._takes_first = fault, takes_first

    def refuse(self, code: str, status: int = 400, text: str = "no", **headers: str) -> None:
        """Let every later request be refused with an error of this name."""
        self.fail(lambda request: self._say_error(request, code, status, text, headers))

    def recover(self) -> None:
        """Fail no more."""
        self._fault = None

    def close(self) -> None:
        if not self.closing.is_set():
            self.closing.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    # --- hearing --------------------------------------------------------------------------------------------------

    def _hear(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        assert request.headers["Authorization"].startswith("AWS4-HMAC-SHA256 ")
        operation, parameters = self._decoded(request, body)
        if self._fault is not None and not self._takes_first:
            with self._lock:
                self.requests.append((operation, parameters))
            self._fault(request)
            return
        try:
            with self._lock:
                self.requests.append((operation, parameters))
                answer = self._answer(operation, parameters)
        except Refused as refused:
            self._say_error(request, str(refused), 400, "as the service would", {})
            return
        if self._fault is not None:
            self._fault(request)
        else:
            _say(request, 200, self._encoded(operation, answer), self._headers)

    def _answer(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        shape = self._model.operation_model(operation).input_shape
        assert shape is not None
        report = ParamValidator().validate(parameters, shape)
        if report.has_errors():
            raise Refused("ValidationException")
        found = list(objections(shape, parameters))
        assert found == [], found  # a test's failure, not a refusal: nothing of ours may come to this
        return self._rules[operation](parameters)

    @property
    def _protocol(self) -> str:
        return str(self._model.resolved_protocol)

    @property
    def _headers(self) -> dict[str, str]:
        """What the answers of the protocol begin with."""
        if self._protocol == "query":
            return {"Content-Type": "text/xml"}
        if self._protocol == "json":
            return {"Content-Type": f"application/x-amz-json-{self._model.metadata['jsonVersion']}"}
        return {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}

    def _decoded(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[str, dict[str, Any]]:
        if self._protocol == "query":
            form = {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
            operation = form["Action"]
            return operation, _from_form(self._model.operation_model(operation).input_shape, "", form)
        if self._protocol == "json":
            return request.headers["X-Amz-Target"].rpartition(".")[2], json.loads(body)
        assert request.headers["smithy-protocol"] == "rpc-v2-cbor"
        parser: Any = botocore.parsers.create_parser(self._protocol)
        return request.path.rpartition("/")[2], parser.parse_data_item(io.BufferedReader(io.BytesIO(body)))

    def _encoded(self, operation: str, answer: dict[str, Any]) -> bytes:
        if self._protocol != "query":
            return json.dumps(answer).encode() if self._protocol == "json" else _cbor(answer)
        inner = _xml(self._model.operation_model(operation).output_shape, answer)
        return (
            f'<{operation}Response xmlns="{self._model.metadata["xmlNamespace"]}"><{operation}Result>{inner}'
            f"</{operation}Result><ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata>"
            f"</{operation}Response>"
        ).encode()

    def _say_error(
        self, request: BaseHTTPRequestHandler, code: str, status: int, text: str, headers: Mapping[str, str]
    ) -> None:
        if self._protocol == "query":
            body = (
                f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(text)}</Message></Error>"
                f"<RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
            ).encode()
        else:
            error = {"__type": f"com.amazonaws#{code}", "message": text}
            body = json.dumps(error).encode() if self._protocol == "json" else _cbor(error)
        _say(request, status, body, {**self._headers, **headers})


def _cbor(value: str | dict[str, Any]) -> bytes:
    """A text, or a map of texts, as CBOR (RFC 8949)."""
    major, length = (3, len(value.encode())) if isinstance(value, str) else (5, len(value))
    head = bytes([major << 5 | 25]) + length.to_bytes(2, "big") if length else bytes([major << 5])
    if isinstance(value, str):
        return head + value.encode()
    return head + b"".join(_cbor(part) for pair in value.items() for part in pair)


def _say(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    request.send_response(status)
    said = {"Content-Length": str(len(body)), "x-amzn-RequestId": REQUEST_ID, **headers}
    for name, value in said.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)


def _xml(shape: Any, value: Any) -> str:
    """A value as the query protocol answers it."""
    if shape.type_name == "structure":
        return "".join(f"<{name}>{_xml(shape.members[name], inner)}</{name}>" for name, inner in value.items())
    if shape.type_name == "list":
        return "".join(f"<member>{_xml(shape.member, inner)}</member>" for inner in value)
    return escape(str(value).lower() if shape.type_name == "boolean" else str(value))


def _from_form(shape: Any, prefix: str, form: Mapping[str, str]) -> Any:
    """A value of the query protocol, as far as our operations need it."""
    if shape.type_name == "structure":
        dot = "." if prefix else ""
        members = {name: _from_form(inner, f"{prefix}{dot}{name}", form) for name, inner in shape.members.items()}
        return {name: value for name, value in members.items() if value not in (None, {}, [])}
    if shape.type_name == "map":
        key, value = (part.serialization["name"] for part in (shape.key, shape.value))
        numbers = [n for n in range(1, 20) if f"{prefix}.entry.{n}.{key}" in form]
        return {
            form[f"{prefix}.entry.{n}.{key}"]: _from_form(shape.value, f"{prefix}.entry.{n}.{value}", form)
            for n in numbers
        }
    if shape.type_name == "list":
        names = (f"{prefix}.member.{n}" for n in itertools.count(1))
        found = (_from_form(shape.member, name, form) for name in names)
        return list(itertools.takewhile(lambda value: value not in (None, {}), found))
    return form.get(prefix)


def objections(shape: Any, value: Any, where: str = "") -> Iterator[str]:
    """What botocore's model says and botocore does not check: maxima, patterns, enumerations."""
    if shape.type_name == "structure":
        for name, inner in value.items():
            yield from objections(shape.members[name], inner, f"{where}.{name}")
        return
    if shape.type_name == "list":
        for inner in value:
            yield from objections(shape.member, inner, f"{where}[]")
    if shape.type_name == "map":
        for inner in value.values():
            yield from objections(shape.value, inner, f"{where}{{}}")
    if isinstance(value, str | list) and len(value) > shape.metadata.get("max", len(value)):
        yield f"{where} is longer than {shape.metadata['max']}"
    if isinstance(value, str) and shape.enum and value not in shape.enum:
        yield f"{where} is none of {shape.enum}"
    pattern = shape.metadata.get("pattern", "") if isinstance(value, str) else ""
    # The model's are ECMAScript's; Python has no \p{..}.
    pattern = re.sub(r"\\p\{L\}|\\p\{N\}", r"\\w", pattern).replace(r"\p{Z}", r"\s")
    if pattern and not re.fullmatch(pattern, value):
        yield f"{where} does not match {pattern}"


# --- everything that can go wrong with a service --------------------------------------------------------------------

_REFUSALS = {
    "ACCESS_DENIED": ("AccessDeniedException", 400),
    "EXPIRED_TOKEN": ("ExpiredTokenException", 403),
    "INTERNAL": ("InternalFailure", 500),
    "INVALID": ("ValidationException", 400),
    "THROTTLING": ("ThrottlingException", 400),
    "UNHEARD_OF": ("UnheardOfException", 400),
}
_BROKEN = (
    "DRAINED",
    "GARBLED",
    "HALF",
    "HUNG_UP",
    "HUNG_UP_ONCE_TAKEN",
    "LATENCY",
    "NOBODY_LISTENS",
    "OVERLONG",
    "PAGE",
)
FAULTS = (*_REFUSALS, *(f"HTTP_{status}" for status in STATUSES), *_BROKEN)


def faults_of(endpoint: AwsEndpoint) -> dict[str, Callable[[], object]]:
    """Each of FAULTS, ready to be called."""

    def refusing(code: str, status: int) -> Callable[[], None]:
        return lambda: endpoint.refuse(code, status)

    def failing(fault: Fault, *, takes_first: bool = False) -> Callable[[], None]:
        return lambda: endpoint.fail(fault, takes_first=takes_first)

    found: dict[str, Callable[[], object]] = {name: refusing(*refusal) for name, refusal in _REFUSALS.items()}
    for status in STATUSES:
        found[f"HTTP_{status}"] = failing(answered(status, {"Location": "http://127.0.0.1:1/"}))
    return found | {
        "DRAINED": failing(answered(200)),
        "GARBLED": failing(garbled),
        "HALF": failing(lambda request: _say_half(request), takes_first=True),
        "HUNG_UP": failing(hung_up),
        "HUNG_UP_ONCE_TAKEN": failing(hung_up, takes_first=True),
        "LATENCY": failing(lambda _request: endpoint.closing.wait(60), takes_first=True),
        "NOBODY_LISTENS": endpoint.close,
        "OVERLONG": failing(lambda request: _say(request, 200, b"{" + b" " * (2 << 20), {})),
        "PAGE": failing(lambda request: _say(request, 200, _PAGE, {"Content-Type": "text/html"})),
    }


_PAGE = b"<html><body>log in</body></html>"


def _say_half(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b'{"Mess')
