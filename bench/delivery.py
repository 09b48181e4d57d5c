"""How fast the journal commits beside the bare fsync, and how fast the relay delivers beside the bare POST."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import threading
import time

from proton_tf_agent.domain.notification import Notification
from proton_tf_agent.domain.values import replace
from proton_tf_agent.journal import Journal
from proton_tf_agent.relay import Relay
from proton_tf_agent.sinks.proton import ProtonSink

from .endpoint import Endpoint
from .floor import _REQUEST
from .journal_writing import notification_numbered
from .result import Line, times
from .scene import Scene, arn_of

COMMITS, DELIVERIES = 400, 400
_PAGE = b"x" * 4096


def measure() -> list[Line]:
    """Both in one run: commits against fsyncs, deliveries against POSTs on one connection."""
    with Endpoint() as endpoint, Scene(endpoint.url) as scene:
        os.makedirs(os.path.dirname(scene.journal_path), mode=0o700)
        fsyncs = _fsyncs(os.path.join(scene.base, "floor"))
        with Journal.open_as_daemon(scene.journal_path) as journal:
            commits = _commits(journal)
            posts = _posts(endpoint)
            deliveries = _deliveries(journal, endpoint)
    return [
        Line(
            "journal: one notification committed", f"{commits:,.0f} commits/s", f"{fsyncs:,.0f} write + fsync/s",
            times(commits / fsyncs),
        ),
        Line(
            "relay: notifications delivered, 400 lines waiting", f"{deliveries:,.0f}/s", f"{posts:,.0f} POST/s",
            times(deliveries / posts),
        ),
    ]  # fmt: skip


def _fsyncs(path: str) -> float:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    began = time.perf_counter()
    for _ in range(COMMITS):
        os.pwrite(descriptor, _PAGE, 0)
        os.fsync(descriptor)
    taken = time.perf_counter() - began
    os.close(descriptor)
    return COMMITS / taken


def _of_line(number: int, line: int) -> Notification:
    """One of every resource, none of which makes another pointless."""
    told = notification_numbered(number, line=line)
    return replace(told, resource_arn=arn_of(f"d{line:05d}"), run_id=f"run-{number}")


def _commits(journal: Journal) -> float:
    began = time.perf_counter()
    for number in range(COMMITS):
        with journal.transaction():
            journal.enqueue(_of_line(number, number), "nobody", 1000.0)
    return COMMITS / (time.perf_counter() - began)


def _posts(endpoint: Endpoint) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", int(endpoint.url.rsplit(":", 1)[1]))
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    body = json.dumps(_REQUEST).encode()
    began = time.perf_counter()
    for _ in range(DELIVERIES):
        connection.request("POST", "/", body, {"Content-Type": "application/x-amz-json-1.0"})
        connection.getresponse().read()
    taken = time.perf_counter() - began
    connection.close()
    return DELIVERIES / taken


def _deliveries(journal: Journal, endpoint: Endpoint) -> float:
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "none")
    sink = ProtonSink("proton", "eu-west-1", endpoint.url)
    with journal.transaction():
        for number in range(DELIVERIES + 1):
            journal.enqueue(_of_line(10_000 + number, number), "proton", 1000.0)
    relay = Relay(journal, {"proton": sink}, lambda _name, _keys: None, time.time, random.random)
    since = len(endpoint.arrivals())
    thread = threading.Thread(target=relay.run)
    thread.start()
    first = endpoint.wait_for(lambda _: True, since)  # the client is built; from here on it is the rate that counts
    while len(endpoint.arrivals()) < since + DELIVERIES + 1:
        time.sleep(0.01)
    last = endpoint.arrivals()[since + DELIVERIES]
    relay.stop()
    thread.join()
    sink.close()
    return DELIVERIES / (last.at - first.at)
