"""The daemon as systemd starts it: readiness, signals, exit codes, what it writes where."""

from __future__ import annotations

import json
import os
import pkgutil
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pytest
from support.agents import AgentThread, settings_for
from support.facts import LOGS
from support.watching import bind_directory

from proton_tf_agent.environment import drop_what_is_not_taken
from proton_tf_agent.journal import Journal
from proton_tf_agent.receiver import Receiver, Record

ARN = "arn:aws:proton:us-east-1:111122223333:environment/net"
DEPLOYMENT_ID = "fcda9f18-f569-4079-8474-0832f45b97ea"
DEADLINE_S = 20.0
ROOT = Path(__file__).parents[2]


class Lines:
    """What a process writes to one stream, as it comes."""

    def __init__(self, stream: IO[str] | None) -> None:
        assert stream is not None
        self._stream = stream
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._ended = False
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for line in self._stream:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        self._stream.close()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for(self, met: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first line, a JSON object, of which something holds."""

        def found() -> dict[str, Any] | None:
            return next((row for row in map(json.loads, self._lines) if met(row)), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended, DEADLINE_S)
            row = found()
            assert row is not None, "".join(self._lines)
            return row

    def whole(self) -> list[str]:
        """Every line, once the process has ended."""
        self._thread.join(DEADLINE_S)
        return self._lines


def _plain_environment() -> dict[str, str]:
    environ = {k: v for k, v in os.environ.items() if k != "JOURNAL_STREAM"}
    drop_what_is_not_taken(environ)
    return environ


class Daemon:
    """`proton-tf-agent run` as a process of its own."""

    def __init__(self, settings_file: Path) -> None:
        name = f"proton-tf-agent-test-{os.getpid()}-{id(self):x}"
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.systemd.bind("\0" + name)
        self.systemd.settimeout(DEADLINE_S)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "proton_tf_agent", "run", "--config", str(settings_file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=_plain_environment() | {"NOTIFY_SOCKET": "@" + name, "PYTHONFAULTHANDLER": "1"},
        )
        self.told = Lines(self.process.stdout)
        self.log = Lines(self.process.stderr)

    def wait_until_ready(self) -> bytes:
        """What systemd is told when it is."""
        said = self.next_word()
        while not said.startswith(b"READY=1\n"):
            said = self.next_word()
        return said

    def next_word(self) -> bytes:
        """What systemd is told next."""
        return self.systemd.recv(4096)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; returns the exit code."""
        self.process.send_signal(number)
        return self.gone()

    def gone(self) -> int:
        """Its exit code. One that does not end says where it hangs."""
        try:
            return self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            pytest.fail("".join(self.log.whole()))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.whole()
        self.told.whole()
        self.systemd.close()


class Site:
    """A watched root, settings for it, and the daemons that were started."""

    def __init__(self, base: Path) -> None:
        self.root = base / "watched"
        self.directory = self.root / "net"
        self.directory.mkdir(parents=True)
        bind_directory(str(self.directory), ARN, DEPLOYMENT_ID)
        self.settings_file = base / "agent.toml"
        self.journal_path = str(base / "memory" / "journal.db")
        self._daemons: list[Daemon] = []

    def settle(self, sinks: str) -> None:
        self.settings_file.write_text(
            f'[journal]\npath = "{self.journal_path}"\n\n[[watch]]\npath = "{self.root}"\n\n'
            f'[allow]\nresource_arns = ["{ARN}"]\n\n[run]\nsettle = 1\n\n{sinks}'
        )
        self.settings_file.chmod(0o644)

    def start(self) -> Daemon:
        daemon = Daemon(self.settings_file)
        self._daemons.append(daemon)
        return daemon

    def run_terraform(self) -> None:
        """A recorded apply appears at once."""
        arriving = self.root / "arriving"
        arriving.write_bytes((LOGS / "apply_ok.log").read_bytes())
        arriving.rename(self.directory / "apply.log")

    def close(self) -> None:
        for daemon in self._daemons:
            daemon.close()


CONSOLE = '[[sink]]\ntype = "console"\n'


@pytest.fixture
def site(tmp_path: Path, aws_environment: None) -> Iterator[Site]:
    site = Site(tmp_path)
    site.settle(CONSOLE)
    yield site
    site.close()


def test_it_tells_systemd_when_it_is_ready_and_when_it_stops(site: Site) -> None:
    daemon = site.start()
    assert daemon.next_word() == b"STATUS=taking up the journal"
    assert daemon.next_word() == b"STATUS=looking at what is there"
    assert daemon.next_word() == b"READY=1\nSTATUS=watching 1 root, 0 runs open; nothing left to be told"
    assert daemon.end() == 0
    assert daemon.next_word() == b"STOPPING=1\nSTATUS=waiting for requests under way"


def status_of(site: Site) -> dict[str, Any]:
    asked = [sys.executable, "-m", "proton_tf_agent", "status", "--json", "--config", str(site.settings_file)]
    row: dict[str, Any] = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)
    return row


def test_status_tells_how_the_daemon_that_is_at_work_sees_itself_and_how_it_was_when_it_is_gone(site: Site) -> None:
    gone = site.root.with_name("not-there-yet")
    site.settle(CONSOLE + f'\n[[watch]]\npath = "{gone}"\n')
    daemon = site.start()
    daemon.wait_until_ready()
    row = status_of(site)
    assert (row["agent"], row["verdict"], row["pid"]) == ("running", "degraded", daemon.process.pid)
    assert (row["observing"], row["delivering"], row["keeping"]) == ("degraded", "current", "current")
    assert str(gone) in row["reason"]
    gone.mkdir()
    daemon.log.wait_for(lambda line: line["event"] == "watch.restored")
    assert daemon.end() == 0
    row = status_of(site)
    assert (row["verdict"], row["observing"], row["problems"]) == ("stopped", "stopped", [])


def test_what_it_logs_is_one_listed_json_line_each_and_nothing_else(site: Site) -> None:
    daemon = site.start()
    daemon.wait_until_ready()
    site.run_terraform()
    daemon.log.wait_for(lambda row: row["event"] == "notification.delivered" and row["status"] == "SUCCEEDED")
    assert daemon.end() == 0
    listed = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "logging.md").read_text("utf-8"), re.MULTILINE)
    rows = [json.loads(line) for line in daemon.log.whole()]
    assert {row["event"] for row in rows} <= set(listed)
    names = [row["event"] for row in rows]
    assert names[0] == "agent.started"
    assert names[-1] == "agent.stopping"
    assert all(line.isascii() for line in daemon.log.whole())
    assert "c-1" not in "".join(daemon.log.whole()), "a log line carries an output"


def test_the_console_sink_prints_json_lines_on_stdout(site: Site) -> None:
    daemon = site.start()
    daemon.wait_until_ready()
    site.run_terraform()
    last = daemon.told.wait_for(lambda row: row["status"] == "SUCCEEDED")
    assert daemon.end() == 0
    assert (last["resource_arn"], last["deployment_id"], last["run_status"]) == (ARN, DEPLOYMENT_ID, "applied")
    assert last["outputs"]["const"] == "c-1"
    assert [json.loads(line)["status"] for line in daemon.told.whole()] == ["IN_PROGRESS", "SUCCEEDED"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(site: Site, number: signal.Signals) -> None:
    daemon = site.start()
    daemon.wait_until_ready()
    assert daemon.end(number) == 0


def test_sighup_asks_for_a_look_at_everything(site: Site) -> None:
    daemon = site.start()
    daemon.wait_until_ready()
    daemon.process.send_signal(signal.SIGHUP)
    site.run_terraform()
    daemon.told.wait_for(lambda row: row["status"] == "SUCCEEDED")
    assert daemon.end() == 0


def test_systemd_is_told_of_a_reload_and_of_settings_that_were_refused_then(site: Site) -> None:
    daemon = site.start()
    daemon.wait_until_ready()
    good = site.settings_file.read_text("utf-8")

    def reload(text: str) -> bytes:
        site.settings_file.write_text(text)
        before = time.monotonic_ns() // 1000
        daemon.process.send_signal(signal.SIGHUP)
        word = daemon.next_word()
        assert word.startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert before <= int(word.rpartition(b"=")[2]) <= time.monotonic_ns() // 1000
        return daemon.next_word()

    assert reload("[[watch]]\n") == (
        b"READY=1\nSTATUS=watching 1 root, 0 runs open; nothing left to be told; "
        b"the settings file was refused at the last reload, the settings before it are in force"
    )
    mistakes = daemon.log.wait_for(lambda row: row["event"] == "settings.refused")
    assert f"{site.settings_file}:1" in mistakes["reason"]
    site.run_terraform()
    daemon.told.wait_for(lambda row: row["status"] == "SUCCEEDED")
    assert reload(good) == b"READY=1\nSTATUS=watching 1 root, 0 runs open; nothing left to be told"
    assert reload(good.replace("settle = 1", "settle = 2")).startswith(b"READY=1\nSTATUS=watching 1 root, ")
    assert daemon.end() == 0


def test_a_reload_reads_conf_d_and_refuses_all_of_it_when_one_file_is_broken(site: Site) -> None:
    daemon = site.start()
    daemon.wait_until_ready()
    part = site.settings_file.parent / "conf.d" / "more.toml"
    other = site.settings_file.parent / "other"
    other.mkdir()
    part.parent.mkdir()

    def reload(text: str) -> bytes:
        part.write_text(text)
        daemon.process.send_signal(signal.SIGHUP)
        assert daemon.next_word().startswith(b"RELOADING=1\n")
        return daemon.next_word()

    root = f'[[watch]]\npath = "{other}"\n'
    assert b"watching 2 roots" in reload(root)
    assert b"watching 2 roots" in reload(f"{root}logs = 3\n")
    mistakes = daemon.log.wait_for(lambda row: row["event"] == "settings.refused")
    assert f"{part}:3: [[watch]] logs" in mistakes["reason"]
    part.unlink()
    assert b"watching 1 root," in reload("")
    assert daemon.end() == 0


@pytest.mark.parametrize(
    ("part", "where"),
    [("observer", "proton_tf_agent.observer.Observer.turn"), ("relay", "proton_tf_agent.relay.Relay.turn")],
)
def test_systemd_is_pinged_until_one_of_the_loops_hangs(
    part: str, where: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever it is, and although the other one goes on."""
    name = f"proton-tf-agent-test-{os.getpid()}-{part}"
    hangs, released = threading.Event(), threading.Event()
    released.set()

    def turn(loop: Any, **how: bool) -> Any:
        if not released.is_set():
            hangs.set()
        assert released.wait(DEADLINE_S)
        return as_it_was(loop, **how)

    owner, attribute = where.rsplit(".", 1)
    as_it_was = getattr(pkgutil.resolve_name(owner), attribute)
    monkeypatch.setattr(where, turn)
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
    monkeypatch.setenv("WATCHDOG_USEC", "4000000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name)
        systemd.settimeout(DEADLINE_S)

        def wait_for_ping() -> None:
            while systemd.recv(4096) != b"WATCHDOG=1":
                pass

        with AgentThread(settings_for(str(site.root), site.journal_path, "http://127.0.0.1:1")) as agent:
            wait_for_ping()
            released.clear()
            assert hangs.wait(DEADLINE_S)
            ((_, keys),) = agent.log.wait_for("agent.stalled", part=part)
            assert "test_daemon.py" in keys["at"]
            systemd.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    systemd.recv(4096)
            systemd.settimeout(2.5)  # two and a half times the rhythm of the pings
            with pytest.raises(TimeoutError):
                wait_for_ping()
            released.set()
            systemd.settimeout(DEADLINE_S)
            wait_for_ping()


def test_sigterm_finishes_the_request_under_way_and_the_next_daemon_goes_on_from_there(site: Site) -> None:
    held, released = threading.Event(), threading.Event()

    def hold(_record: Record) -> None:
        held.set()
        assert released.wait(DEADLINE_S)

    with Receiver(on_accepted=hold) as receiver:
        site.settle(f'[[sink]]\ntype = "proton"\nregion = "us-east-1"\nendpoint_url = "{receiver.url}"\n')
        daemon = site.start()
        daemon.wait_until_ready()
        site.run_terraform()
        assert held.wait(DEADLINE_S)
        daemon.log.wait_for(lambda row: row["event"] == "notification.enqueued" and row["status"] == "SUCCEEDED")
        daemon.process.send_signal(signal.SIGTERM)
        daemon.log.wait_for(lambda row: row["event"] == "agent.stopping")
        released.set()
        assert daemon.gone() == 0
        with Journal.open_existing(site.journal_path) as journal:
            first, *_, last = journal.query("entries", after=0, limit=100)
            assert (first["status"], first["state"]) == ("IN_PROGRESS", "delivered")
            assert (last["status"], last["state"]) == ("SUCCEEDED", "pending")
        successor = site.start()
        successor.wait_until_ready()
        receiver.wait_for(lambda records: len(records) == 2, DEADLINE_S)
        assert successor.end() == 0
        assert [record.status for record in receiver.records()] == ["IN_PROGRESS", "SUCCEEDED"]


def test_a_second_daemon_is_turned_away_and_takes_over_when_the_first_is_killed(site: Site) -> None:
    first = site.start()
    first.wait_until_ready()
    second = site.start()
    assert second.gone() == 75
    (complaint,) = second.log.whole()
    assert complaint.startswith(f"proton-tf-agent: {site.journal_path}: another agent holds this journal")
    assert f"(process {first.process.pid})" in complaint
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    third = site.start()
    third.wait_until_ready()
    assert third.end() == 0


def test_settings_that_cannot_be_used_are_refused_with_every_mistake(site: Site) -> None:
    site.settings_file.write_text('[[watch]]\npath = "relative"\n\n[[sink]]\ntype = "protno"\n')
    daemon = site.start()
    assert daemon.gone() == 78
    complaints = daemon.log.whole()
    assert len(complaints) == 2
    assert all(line.startswith(f"proton-tf-agent: {site.settings_file}:") for line in complaints)
    assert daemon.told.whole() == []


def test_a_journal_that_others_may_read_is_refused(site: Site) -> None:
    Journal.open_as_daemon(site.journal_path).close()
    os.chmod(site.journal_path, 0o644)
    daemon = site.start()
    assert daemon.gone() == 78
    assert f"chmod 0600 {site.journal_path}" in "".join(daemon.log.whole())


def test_settings_that_are_probably_not_meant_are_said_and_used(site: Site) -> None:
    site.settle("")
    daemon = site.start()
    daemon.wait_until_ready()
    said = daemon.log.wait_for(lambda row: row["event"] == "settings.questionable")
    assert (said["level"], "[[sink]]" in said["reason"]) == ("warning", True)
    assert daemon.end() == 0
