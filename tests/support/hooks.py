"""A real HTTP server that receives webhooks: verifies signature and shape, and can fail in every way it may."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
from standardwebhooks import Webhook

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "deployment-event.schema.json").read_text("utf-8"))
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STATUSES = (302, 400, 401, 403, 404, 408, 409, 410, 413, 418, 422, 429, 500, 503)


class HookReceiver:
    """Listens at `url`. fail(answer) makes every later request fail; events are what was accepted, in order."""

    def __init__(self, secret: str = SECRET) -> None:
        self.secret = secret
        self.events: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.requests = 0
        self._answer: Callable[[BaseHTTPRequestHandler], None] | None = None
        receiver = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._hear(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def fail(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self._answer = answer

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _hear(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        self.requests += 1
        if self._answer is not None:
            self._answer(request)
            return
        event = Webhook(self.secret).verify(body, dict(request.headers.items()))
        jsonschema.validate(event, SCHEMA, format_checker=jsonschema.FormatChecker())
        assert request.headers["Content-Type"] == "application/cloudevents+json"
        self.events.append(event)
        self.headers.append(dict(request.headers.items()))
        answered(204)(request)


def answered(status: int, headers: Mapping[str, str] = {}) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answers with a status and nothing else."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            request.send_header(name, value)
        request.end_headers()

    return answer


def hung_up(request: BaseHTTPRequestHandler) -> None:
    """Reads all of it and says nothing."""
    request.connection.close()


def garbled(request: BaseHTTPRequestHandler) -> None:
    """Answers with what is no HTTP."""
    request.wfile.write(b"\x00\x01 hello\r\n\r\n")
