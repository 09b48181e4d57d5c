"""A real HTTP server on loopback that stands behind a sink: what it answers, a test says, and how it fails, too."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .hooks import STATUSES, answered, garbled, hung_up

FAULTS = (*(f"HTTP_{status}" for status in STATUSES), "HUNG_UP", "GARBLED", "LOGIN_PAGE", "NOBODY_LISTENS")
Failing = Callable[[BaseHTTPRequestHandler], None]
Answered = tuple[int, Mapping[str, str], bytes]


class Server:
    """Listens at `url`. hear(method, path, headers, body) gives the answer; what it finds wrong it raises, and that is
    answered with 599 and kept in `errors`. `fail` makes every later request fail; when(method, path) picks which."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self._failing: Failing | None = None
        self._when: Callable[[str, str], bool] = lambda _method, _path: True
        self._lost: Callable[[str, str], bool] = lambda _method, _path: False
        self._lock = threading.Lock()
        server = self

        class Answer(BaseHTTPRequestHandler):
            def _hear(self) -> None:
                server._answer(self)

            do_GET = do_POST = do_PUT = _hear  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self._is_open = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def hear(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answered:
        raise NotImplementedError

    def fail(self, failing: Failing | None, when: Callable[[str, str], bool] = lambda _method, _path: True) -> None:
        self._failing, self._when = failing, when

    def lose(self, when: Callable[[str, str], bool] = lambda _method, _path: False) -> None:
        """Hear such requests, and hang up instead of answering."""
        self._lost = when

    def faults(self) -> dict[str, Callable[[], object]]:
        """All of FAULTS."""
        found: dict[str, Callable[[], object]] = {
            f"HTTP_{status}": functools.partial(self.fail, answered(status, {"Location": "http://127.0.0.1:1/"}))
            for status in STATUSES
        }
        named = {"HUNG_UP": hung_up, "GARBLED": garbled, "LOGIN_PAGE": saying(200, b"<html>log in</html>")}
        found |= {name: functools.partial(self.fail, failing) for name, failing in named.items()}
        return found | {"NOBODY_LISTENS": self.close}

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        method, path = request.command, request.path
        with self._lock:
            self.requests.append((method, path))
            if self._failing is not None and self._when(method, path):
                self._failing(request)
                return
            try:
                status, headers, content = self.hear(method, path, dict(request.headers.items()), body)
            except Exception as error:
                self.errors.append(f"{method} {path}: {error!r}")
                status, headers, content = 599, {}, b""
            if self._lost(method, path):
                hung_up(request)
                return
        saying(status, content, headers)(request)


def saying(status: int, content: bytes | object, headers: Mapping[str, str] = {}) -> Failing:
    """Answers with a status and a body: bytes, or what is written as JSON."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    return answer
