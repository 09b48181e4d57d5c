"""Metrics: every number of `status`, in a form that Prometheus reads, derived from the journal; each documented."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.command_lines import Output, run
from support.outboxes import filled

from proton_tf_agent import exposition, health, metrics
from proton_tf_agent.exposition import exposed, text
from proton_tf_agent.health import Health
from proton_tf_agent.journal import Journal
from proton_tf_agent.overview import overview
from proton_tf_agent.settings import load

NOW = 1200.0
DOCS = Path(metrics.__file__).parents[1] / "docs"
DEADLINE_S = 20.0
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(content: bytes) -> Samples:
    """As Prometheus reads it: by name and labels."""
    families = text_string_to_metric_families(content.decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(found: Samples, name: str, **labels: str) -> float:
    return found[f"proton_tf_agent_{name}", frozenset(labels.items())]


@pytest.fixture
def journal(journal: Journal) -> Journal:
    filled(journal)
    journal.remember(checked_at=NOW - 600)
    said = Health(4711, "1.2.3", 900.0, NOW - 2, roots=("/w",), rescanned_at=NOW - 10, unreadable_files=3, overflows=2)
    health.put(journal.path, said)
    return journal


def read(journal: Journal, *sinks: str) -> Samples:
    return samples(text(overview(journal, True, NOW), sinks))


def test_every_number_of_status_is_there(journal: Journal) -> None:
    found = read(journal, "proton", "console", "idle")
    assert value(found, "up") == 1
    assert value(found, "info", version="1.2.3") == 1
    assert (value(found, "runs_open"), value(found, "runs_recorded")) == (1, 3)
    assert (value(found, "waiting", sink="proton"), value(found, "parked", sink="proton")) == (2, 1)
    assert value(found, "oldest_waiting_seconds", sink="console") == 140
    assert value(found, "lag_seconds") == 140
    assert (value(found, "rescanned_timestamp_seconds"), value(found, "heard_timestamp_seconds")) == (1190, 1198)
    assert (value(found, "hints_lost_total"), value(found, "unreadable_files")) == (2, 3)
    assert value(found, "journal_checked_timestamp_seconds") == 600
    assert value(found, "entries_total") == 7


def test_a_sink_for_which_nothing_waits_has_samples_too(journal: Journal) -> None:
    found = read(journal, "idle")
    assert {value(found, name, sink="idle") for name in ("waiting", "failing", "parked", "suspect")} == {0}


def test_each_part_has_one_verdict(journal: Journal) -> None:
    found = read(journal)
    for part, verdict in (("observing", "current"), ("delivering", "degraded"), ("journal", "current")):
        ones = {dict(labels)["verdict"] for (name, labels), number in found.items()
                if name == "proton_tf_agent_verdict" and dict(labels)["part"] == part and number == 1}  # fmt: skip
        assert ones == {verdict}


def test_numbers_are_those_of_the_journal_whoever_asks_and_survive_a_restart(journal_path: str) -> None:
    with Journal.open_as_daemon(journal_path) as first:
        filled(first)
        before = read(first, "proton")
    with Journal.open_existing(journal_path) as again:
        assert read(again, "proton") == before


def test_what_was_never_known_is_left_out(journal_path: str) -> None:
    with Journal.open_as_daemon(journal_path) as empty:
        found = read(empty)
    names = {name for name, _ in found}
    assert not names & {"proton_tf_agent_lag_seconds", "proton_tf_agent_heard_timestamp_seconds"}


def rows_of(page: str) -> dict[str, set[str]]:
    found = re.findall(r"^\| `(proton_tf_agent_\w+)` \|([^|]*)\|", page, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in found}


def test_every_metric_is_documented_with_its_labels_and_every_documented_one_exists(journal: Journal) -> None:
    from proton_tf_agent.domain.circuit import Circuit
    from proton_tf_agent.domain.outbox import OutcomeKind

    with journal.transaction():
        journal.put_circuit("proton", Circuit(held_for=OutcomeKind.GONE, code="410", probes=7), 1100.0)
    families = metrics.families(overview(journal, True, NOW), ["proton"])
    measured = {family.name: set(family.samples[0][0]) for family in families}
    assert measured == rows_of((DOCS / "metrics.md").read_text("utf-8"))


@pytest.mark.parametrize("file", ["alerts.yml", "dashboard.json"])
def test_rules_and_dashboard_ask_for_metrics_that_exist(file: str) -> None:
    known = rows_of((DOCS / "metrics.md").read_text("utf-8"))
    asked = set(re.findall(r"proton_tf_agent_\w+", (DOCS / file).read_text("utf-8")))
    assert asked
    assert asked <= known.keys()


def test_every_alert_says_what_to_do() -> None:
    named = re.findall(r"alert: (\w+)", (DOCS / "alerts.yml").read_text("utf-8"))
    assert named == re.findall(r"^\| `(ProtonTfAgent\w+)` \|", (DOCS / "metrics.md").read_text("utf-8"), re.MULTILINE)


def test_the_command_prints_them(journal: Journal, settings_file: str, capsys: Output) -> None:
    code, out, _ = run(capsys, "metrics", "--config", settings_file)
    assert code == 0
    assert value(samples(out.encode()), "waiting", sink="console") == 1


# --- by file and socket -------------------------------------------------------------------------------------------


class Told:
    """What is said meanwhile."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.lines: list[tuple[str, Mapping[str, object]]] = []

    def __call__(self, name: str, keys: Mapping[str, object]) -> None:
        with self._changed:
            self.lines.append((name, keys))
            self._changed.notify_all()

    def wait(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.lines, DEADLINE_S)


@pytest.fixture
def told() -> Told:
    return Told()


def with_metrics(settings_file: str, text: str) -> Any:
    with open(settings_file, "a") as file:
        file.write(f"[metrics]\n{text}\n")
    return load(settings_file)


def wait_for_file(path: Path) -> bytes:
    deadline = time.monotonic() + DEADLINE_S
    while not path.exists():
        assert time.monotonic() < deadline
        os.sched_yield()
    return path.read_bytes()


def ask(place: str, path: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("localhost", timeout=DEADLINE_S)
    if place.startswith("unix:"):
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(place.removeprefix("unix:"))
    else:
        host, _, port = place.rpartition(":")
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=DEADLINE_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()


def test_a_file_is_written_for_the_node_exporter_whole_and_readable_by_it(
    journal: Journal, settings_file: str, tmp_path: Path, told: Told
) -> None:
    path = tmp_path / "agent.prom"
    with exposed(with_metrics(settings_file, f'textfile = "{path}"'), told):
        content = wait_for_file(path)
    assert value(samples(content), "runs_recorded") == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [entry.name for entry in tmp_path.glob("agent.prom*")] == ["agent.prom"]
    assert told.lines == []


def test_a_file_that_cannot_be_written_is_said_once_and_harms_nothing(
    journal: Journal, settings_file: str, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposition, "EVERY_S", 0.01)
    path = tmp_path / "nowhere" / "agent.prom"
    with exposed(with_metrics(settings_file, f'textfile = "{path}"'), told):
        told.wait()
        path.parent.mkdir()
        wait_for_file(path)
    ((name, keys),) = told.lines
    assert (name, keys["path"]) == ("metrics.failed", str(path))


@pytest.fixture(params=["127.0.0.1:0", "[::1]:0", "unix"])
def listen(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"unix:{tmp_path}/metrics.sock" if request.param == "unix" else str(request.param)


def test_whoever_asks_is_answered_at_a_loopback_address_or_a_socket(
    journal: Journal, settings_file: str, listen: str, told: Told
) -> None:
    with exposed(with_metrics(settings_file, f'listen = "{listen}"'), told, lambda: NOW) as place:
        status, kind, content = ask(place, "/metrics")
        assert (status, kind.partition(";")[0]) == (200, "text/plain")
        assert value(samples(content), "parked", sink="proton") == 1
        status, _, content = ask(place, "/healthz")
        row = json.loads(content)
        assert (status, row["verdict"], row["parked"]) == (503, "degraded", 1)
        assert ask(place, "/etc/passwd")[0] == 404


def test_health_is_200_while_all_is_well(journal_path: str, settings_file: str, told: Told) -> None:
    with Journal.open_as_daemon(journal_path) as journal:
        journal.remember(checked_at=NOW)
        health.put(journal_path, Health(1, "1", NOW, NOW, rescanned_at=NOW))
        with exposed(with_metrics(settings_file, 'listen = "127.0.0.1:0"'), told, lambda: NOW) as place:
            assert ask(place, "/healthz")[0] == 200


def test_a_socket_that_a_killed_agent_has_left_is_taken_over_and_nothing_else_is_removed(
    journal: Journal, settings_file: str, tmp_path: Path, told: Told
) -> None:
    path = tmp_path / "metrics.sock"
    socket.socket(socket.AF_UNIX).bind(str(path))
    settings = with_metrics(settings_file, f'listen = "unix:{path}"')
    with exposed(settings, told) as place:
        assert ask(place, "/metrics")[0] == 200
    path.unlink()
    path.write_text("somebody's")
    with exposed(settings, told) as place:
        assert place == ""
    assert path.read_text() == "somebody's"
    ((name, keys),) = told.lines
    assert (name, "cannot listen" in str(keys["reason"])) == ("metrics.failed", True)


def test_a_port_that_is_taken_keeps_nothing_else_from_working(
    journal: Journal, settings_file: str, tmp_path: Path, told: Told
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with exposed(with_metrics(settings_file, f'listen = "127.0.0.1:{port}"'), told) as place:
            assert place == ""
    assert [name for name, _ in told.lines] == ["metrics.failed"]


@pytest.mark.parametrize("listen", ["0.0.0.0:9187", "localhost:9187", "127.0.0.1", "127.0.0.1:99999", "unix:relative"])
def test_nobody_beyond_this_machine_is_listened_to(settings_file: str, listen: str, capsys: Output) -> None:
    with open(settings_file, "a") as file:
        file.write(f'[metrics]\nlisten = "{listen}"\n')
    code, _, err = run(capsys, "config", "validate", "--config", settings_file)
    assert code == 78
    assert "[metrics] listen" in err


@pytest.mark.parametrize("text", ['textfile = "{}/a.prom"', 'listen = "unix:{}/a.sock"'])
def test_nothing_is_written_below_a_watch_root(settings_file: str, tmp_path: Path, text: str, capsys: Output) -> None:
    with open(settings_file, "a") as file:
        file.write("[metrics]\n" + text.format(tmp_path / "watched"))
    code, _, err = run(capsys, "config", "validate", "--config", settings_file)
    assert (code, "lies inside the watch root" in err) == (78, True)


def test_health_holds_no_more_than_verdicts(journal: Journal, settings_file: str, told: Told) -> None:
    """Whoever may ask learns of no run."""
    with exposed(with_metrics(settings_file, 'listen = "127.0.0.1:0"'), told) as place:
        row = msgspec.json.decode(ask(place, "/healthz")[2])
    assert set(row) == {"verdict", "reason", "observing", "delivering", "keeping", "parked", "lag_s"}
