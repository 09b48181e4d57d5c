"""The daemon's voice: lines no foreign text can break, and systemd's protocol."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import steering
from support.outboxes import STEERING

from proton_tf_agent.domain.binding import Unbound, from_metadata
from proton_tf_agent.domain.errors import described
from proton_tf_agent.telemetry import configure, notify_systemd, speak_for_all

LIBRARIES = ("botocore", "boto3", "urllib3", "watchdog")


@pytest.fixture(autouse=True)
def loggers_as_they_were(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    levels = {name: logging.getLogger(name).level for name in LIBRARIES}
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def line_of(name: str, keys: dict[str, Any], level: str = "info") -> dict[str, Any]:
    stream = io.StringIO()
    configure(level, "json", stream).tell(name, keys)
    text = stream.getvalue()
    assert text.isascii()
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    line: dict[str, Any] = json.loads(text)
    return line


@given(st.text(), st.text(alphabet=st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_a_line_is_one_ascii_json_object_whatever_foreign_text_is_in_it(text: str, steering: str) -> None:
    for foreign in (text, steering, STEERING, "\udcff\x00"):
        line = line_of("source.unreadable", {"path": foreign, "reason": "E_IO"})
        assert line["path"] == json.loads(json.dumps(foreign))  # two surrogates may have met
        assert (line["event"], line["reason"]) == ("source.unreadable", "E_IO")


def test_a_line_is_dated_in_utc_and_has_a_level() -> None:
    line = line_of("agent.started", {"version": "1", "journal": None})
    assert line.keys() == {"event", "level", "timestamp", "version"}
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)


def test_journald_dates_lines_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    assert "timestamp" not in line_of("agent.started", {})


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("agent.ready", "info"),
        ("notification.delivered", "info"),
        ("notification.parked", "warning"),
        ("watch.degraded", "warning"),
        ("agent.failed", "error"),
        ("notification.withheld", "critical"),
    ],
)
def test_what_needs_a_person_stands_out(name: str, level: str) -> None:
    assert line_of(name, {})["level"] == level


def test_a_job_that_speaks_for_the_resource_of_another_stands_out_from_one_that_cannot_spell() -> None:
    """49 of docs/bad-input.md."""
    arn = "arn:aws:proton:us-east-1:999999999999:environment/theirs"
    metadata = {"resourceMetadata": {"arn": arn}, "deploymentId": "00000000-0000-4000-8000-000000000000"}
    denied = from_metadata(json.dumps(metadata).encode(), ["arn:aws:proton:us-east-1:111122223333:*"])
    broken = from_metadata(b"{", [])
    assert isinstance(denied, Unbound)
    assert isinstance(broken, Unbound)
    levels = [line_of("binding.refused", {"reason": refused.reason})["level"] for refused in (denied, broken)]
    assert levels == ["critical", "error"]


def test_a_level_leaves_out_what_is_below_it_and_the_end_of_the_agent_is_never_left_out() -> None:
    stream = io.StringIO()
    log = configure("error", "json", stream)
    for name in ("agent.ready", "notification.parked", "agent.failed"):
        log.tell(name)
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["agent.failed"]


def test_the_console_format_does_not_let_foreign_text_steer_the_terminal() -> None:
    stream = io.StringIO()
    configure("info", "console", stream).tell("source.unreadable", {"path": STEERING, "reason": "E_IO"})
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue()[:-1].isprintable()


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("text", [*steering.STEERING, steering.NOT_UNICODE])
def test_whatever_would_steer_a_terminal_is_one_printable_line_in_either_format(text: str, form: str) -> None:
    """In a value with blanks and without, in a list, and in what a library says."""
    stream = io.StringIO()
    log = configure("info", form, stream)
    log.tell("source.unreadable", {"path": text, "reason": text.replace(" ", ""), "names": [text], "word": text[3:-3]})
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue()[:-1].isprintable()
    if form == "json":
        assert json.loads(stream.getvalue())["path"] == text


@pytest.fixture
def process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module, hook in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(module, hook, getattr(module, hook))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:], root.level = handlers, level


def speaking() -> io.StringIO:
    """What a log says that speaks for the whole process."""
    stream = io.StringIO()
    speak_for_all(configure("debug", "json", stream))
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.usefixtures("process_as_it_was")
def test_what_a_library_warns_of_is_a_line_like_any_other_and_holds_no_credential() -> None:
    stream = speaking()
    logging.getLogger("urllib3.connectionpool").warning("broken by %s\n\x1b[31m", "https://u:hunter2@host")
    logging.getLogger("botocore.endpoint").debug("a whole body")
    logging.getLogger("boto3").error("%d", "no number")
    logging.getLogger("asyncio").warning("x" * 5000)
    warned, mistaken, long = lines(stream)
    assert (warned["event"], warned["level"], warned["library"]) == (
        "library.warned", "warning", "urllib3.connectionpool",
    )  # fmt: skip
    assert warned["reason"] == "broken by https://u:[REDACTED]@host"
    assert mistaken["reason"].startswith("TypeError at ")
    assert len(long["reason"]) == 300


@pytest.mark.usefixtures("process_as_it_was")
def test_an_exception_that_nobody_has_caught_is_named_and_what_it_quotes_is_not() -> None:
    stream = speaking()

    def fail() -> None:
        int("hunter2")

    thread = threading.Thread(target=fail, name="relay")
    thread.start()
    thread.join()
    empty: dict[str, str] = {}
    try:
        empty["hunter2"]
    except KeyError:
        sys.excepthook(*sys.exc_info())
    of_thread, of_program = lines(stream)
    assert (of_thread["event"], of_thread["part"]) == ("thread.failed", "relay")
    assert of_thread["reason"].startswith("ValueError at threading.py:")
    assert (of_program["event"], of_program["level"]) == ("agent.failed", "error")
    assert of_program["reason"].startswith("KeyError at test_telemetry.py:")
    assert "hunter2" not in stream.getvalue()


def test_the_systems_own_words_are_told() -> None:
    with pytest.raises(FileNotFoundError) as raised:
        open("/nowhere/hunter2", encoding="utf-8")  # noqa: SIM115
    assert described(raised.value).startswith("FileNotFoundError: No such file or directory at test_telemetry.py:")


def test_a_log_that_nobody_reads_any_more_stops_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = open(writing, "w", encoding="utf-8", buffering=1)  # noqa: SIM115 - its close fails, too
    log = configure("info", "json", stream)
    log.tell("agent.ready", {"runs_open": 1})
    with pytest.raises(BrokenPipeError):
        stream.close()
    log.tell("agent.stopping")


def test_libraries_are_pinned_to_warnings() -> None:
    """botocore's debug log carries whole request bodies, whatever level the agent's own log has."""
    configure("debug", "json", io.StringIO())
    for name in LIBRARIES:
        assert logging.getLogger(name).getEffectiveLevel() == logging.WARNING


# --- sd_notify ----------------------------------------------------------------------------------------------------


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(10)
        yield listening


def test_systemd_is_told_in_one_datagram(
    supervisor: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "notify")
    supervisor.bind(address)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify_systemd("READY=1", "STATUS=watching 2 roots")
    assert supervisor.recv(4096) == b"READY=1\nSTATUS=watching 2 roots"


def test_systemd_may_listen_on_an_abstract_socket(supervisor: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"proton-tf-agent-test-{os.getpid()}"
    supervisor.bind("\0" + name)
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
    notify_systemd("STOPPING=1")
    assert supervisor.recv(4096) == b"STOPPING=1"


@pytest.mark.parametrize("address", [None, "", "/nowhere/notify", "x" * 500])
def test_nobody_listening_stops_nothing(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if address is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify_systemd("READY=1")
