"""A loopback HTTP server that accepts whatever is posted and notes when the first byte of each request came in.

Barer than the product's receiver on purpose: what it costs is subtracted from nobody, so it has to cost nothing.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: 2\r\n"
    b"x-amzn-RequestId: bench\r\n\r\n{}"
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: when its first byte came (perf_counter seconds), whom it is about, what it says."""

    at: float
    resource_arn: str
    status: str
    status_message: str


class Endpoint:
    """Listens on a free loopback port until closed. Use as a context manager."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._arrivals: list[Arrival] = []
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._connections: list[socket.socket] = []
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True, name="endpoint").start()

    @property
    def url(self) -> str:
        """What to set as endpoint_url."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for connection in (self._listening, *self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def arrivals(self) -> list[Arrival]:
        """Everything that came in so far."""
        with self._changed:
            return list(self._arrivals)

    def wait_for(self, wanted: Callable[[Arrival], bool], since: int = 0, deadline_s: float = 30.0) -> Arrival:
        """The first wanted arrival from number `since` on. TimeoutError when none comes."""
        until = time.monotonic() + deadline_s
        with self._changed:
            seen = since
            while True:
                while seen < len(self._arrivals):
                    if wanted(self._arrivals[seen]):
                        return self._arrivals[seen]
                    seen += 1
                if not self._changed.wait(max(0.0, until - time.monotonic())):
                    raise TimeoutError(f"not within {deadline_s:g} s; {len(self._arrivals)} requests came")

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self._listening.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True, name="connection").start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                piece = connection.recv(1 << 16)
                at = time.perf_counter()
                request = piece
                while piece and not _is_whole(request):
                    piece = connection.recv(1 << 16)
                    request += piece
                if not piece:
                    return
                connection.sendall(_ANSWER)
                self._keep(at, json.loads(request.partition(b"\r\n\r\n")[2]))

    def _keep(self, at: float, body: dict[str, Any]) -> None:
        arrival = Arrival(at, body["resourceArn"], body["status"], body.get("statusMessage", ""))
        with self._changed:
            self._arrivals.append(arrival)
            self._changed.notify_all()


def _is_whole(request: bytes) -> bool:
    head, parted, body = request.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return bool(parted) and length is not None and len(body) >= int(length[1])
