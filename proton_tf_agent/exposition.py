"""Metrics for Prometheus: as text, into a file for the node exporter, or to whoever asks at a loopback or unix socket.

Uses prometheus-client, an optional extra (`pip install 'proton-tf-agent[metrics]'`). What is measured is `metrics`'s.
Nothing foreign is a label: names of sinks, verdicts and reasons are the operator's or our own. `/healthz` answers 200
while every verdict of `status` is `current`, else 503, with the verdict as JSON.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from .domain.errors import AgentError, Problem, SettingsInvalid
from .journal_file import is_held
from .journal_reading import JournalReader
from .metrics import Family, families
from .overview import Verdict, overview
from .settings import MetricsSettings, Settings
from .status import Row

EVERY_S = 15.0  # between two writings of the file
_UNIX = "unix:"
_TIMEOUT_S = 5.0
_HEALTH = ("verdict", "reason", "observing", "delivering", "keeping", "parked", "lag_s")

Tell = Callable[[str, Mapping[str, object]], None]


def text(row: Row, sinks: Sequence[str]) -> bytes:
    """Prometheus' text format. SettingsInvalid when prometheus-client is not there."""
    library = _library()
    return bytes(library.generate_latest(_registry(library, list(families(row, sinks)))))


def _library() -> Any:
    try:
        import prometheus_client
    except ImportError:
        hint = "pip install 'proton-tf-agent[metrics]'"
        raise SettingsInvalid(Problem("metrics need the package prometheus-client", "[metrics]", hint)) from None
    return prometheus_client


def _registry(library: Any, found: Sequence[Family]) -> Any:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    class Collector:
        def collect(self) -> Iterator[Any]:
            for family in found:
                labels = list(family.samples[0][0]) if family.samples else ["sink", "reason"]
                make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
                metric = make(family.name, family.help, labels=labels)
                for values, number in family.samples:
                    metric.add_metric([values[label] for label in labels], number)
                yield metric

    registry = library.CollectorRegistry()
    registry.register(Collector())
    return registry


@contextmanager
def exposed(settings: Settings, tell: Tell, clock: Callable[[], float] = time.time) -> Iterator[str]:
    """While this lasts the metrics are where the settings want them; yields where it listens, empty for nowhere.

    What cannot be is told, and harms nothing: nobody's runs go unseen because a port is taken.
    """
    wanted = settings.metrics
    stopping = threading.Event()
    threads: list[threading.Thread] = []
    server: _Server | None = None
    try:
        if wanted.textfile is not None or wanted.listen is not None:
            _library()
        if wanted.listen is not None:
            server = _listening(wanted.listen, _Source(settings, clock))
    except AgentError as error:
        tell("metrics.failed", {"path": wanted.listen or wanted.textfile, "reason": str(error)})
        wanted = MetricsSettings()
    if server is not None:
        threads.append(threading.Thread(target=server.serve_forever, args=(0.2,), name="metrics"))
    if wanted.textfile is not None:
        writing = _Textfile(wanted.textfile, _Source(settings, clock), tell)
        threads.append(threading.Thread(target=writing.run, args=(stopping,), name="metrics file"))
    for thread in threads:
        thread.start()
    try:
        yield server.place if server is not None else ""
    finally:
        stopping.set()
        if server is not None:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


class _Source:
    """The rows behind the metrics; opens the journal anew each time, as every command does."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._path = settings.journal.path
        self._sinks = [sink.name for sink in settings.sink]
        self._clock = clock

    def row(self) -> Row:
        with JournalReader.open_existing(self._path) as journal:
            return overview(journal, is_held(self._path), self._clock())

    def text(self) -> bytes:
        return text(self.row(), self._sinks)


class _Textfile:
    """A file that is written anew every EVERY_S, whole or not at all, for who watches its directory."""

    def __init__(self, path: str, source: _Source, tell: Tell) -> None:
        self._path = path
        self._source = source
        self._tell = tell
        self._failed = False

    def run(self, stopping: threading.Event) -> None:
        while True:
            try:
                self._write(self._source.text())
                self._failed = False
            except (OSError, AgentError) as error:
                if not self._failed:
                    self._tell("metrics.failed", {"path": self._path, "reason": str(error)})
                self._failed = True
            if stopping.wait(EVERY_S):
                return

    def _write(self, content: bytes) -> None:
        unfinished = f"{self._path}.{os.getpid()}.new"
        try:
            # 0644: whoever collects it is another user, and there is nothing in it that others may not know.
            with open(os.open(unfinished, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o644), "wb") as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(content)
            os.rename(unfinished, self._path)
        except OSError:
            with suppress(OSError):
                os.unlink(unfinished)
            raise


# --- to whoever asks ----------------------------------------------------------------------------------------------


class _Server(HTTPServer):
    """One request after the other: who asks slowly is hung up on."""

    place = ""
    source: _Source

    def server_bind(self) -> None:
        if self.address_family == socket.AF_UNIX:
            socket.socket.bind(self.socket, self.server_address)
            self.server_name, self.server_port = "localhost", 0
        else:
            super().server_bind()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.settimeout(_TIMEOUT_S)
        return connection, address or ("unix", 0)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who hangs up is not worth a word."""


class _UnixServer(_Server):
    address_family = socket.AF_UNIX


class _SixServer(_Server):
    address_family = socket.AF_INET6


def _listening(listen: str, source: _Source) -> _Server:
    try:
        if listen.startswith(_UNIX):
            path = listen.removeprefix(_UNIX)
            _clear(path)
            server: _Server = _UnixServer(path, _Answer)  # type: ignore[arg-type]
            os.chmod(path, 0o660)
            server.place = listen
        else:
            host, _, port = listen.rpartition(":")
            make = _SixServer if host.startswith("[") else _Server
            server = make((host.strip("[]"), int(port)), _Answer)
            server.place = f"{host}:{server.server_address[1]!s}"
    except OSError as error:
        raise AgentError(Problem(f"cannot listen: {error.strerror}", listen, "see [metrics] listen")) from None
    server.source = source
    return server


def _clear(path: str) -> None:
    """Take away the socket that an agent which was killed has left; nothing else."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)


class _Answer(BaseHTTPRequestHandler):
    """GET /metrics and GET /healthz; nothing else."""

    server: _Server
    protocol_version = "HTTP/1.0"
    server_version = "proton-tf-agent"
    sys_version = ""

    def do_GET(self) -> None:
        try:
            if self.path == "/metrics":
                self._say(200, "text/plain; version=0.0.4; charset=utf-8", self.server.source.text())
            elif self.path == "/healthz":
                row = self.server.source.row()
                well = row["verdict"] == Verdict.CURRENT
                said = json.dumps({key: row[key] for key in _HEALTH}) + "\n"
                self._say(200 if well else 503, "application/json", said.encode())
            else:
                self._say(404, "text/plain", b"there are /metrics and /healthz\n")
        except AgentError as error:
            self._say(503, "text/plain; charset=utf-8", f"{error}\n".encode())

    def _say(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nobody's requests are worth a line."""
