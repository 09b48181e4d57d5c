"""A file holds every notification it was told as one whole line, whatever fails, crashes or rotates it."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from support.command_lines import Output, run
from support.hooks import SCHEMA
from support.outboxes import notification
from support.rigs.file import size_limit

from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.domain.values import replace
from proton_tf_agent.settings import load
from proton_tf_agent.sinks.file import FileSink

TOLD = replace(notification(1, Status.SUCCEEDED), deployment_id=None)
ACCEPTED = Outcome(OutcomeKind.ACCEPTED)


def sink_for(path: Path, rotate_at: int = 1 << 20, keep: int = 3) -> FileSink:
    return FileSink("file", str(path), rotate_at, keep, "proton-tf-agent://here")


def texts(*paths: Path) -> list[str]:
    """The messages in these files; every line of them is whole."""
    lines = [line for path in paths for line in path.read_bytes().splitlines(keepends=True)]
    assert all(line.endswith(b"\n") for line in lines)
    return [json.loads(line)["data"]["status_message"] for line in lines]


def test_a_line_is_the_event_of_its_published_schema_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "told.jsonl"
    assert sink_for(path).send(TOLD) == ACCEPTED
    (line,) = path.read_text("ascii").splitlines()
    jsonschema.validate(json.loads(line), SCHEMA, format_checker=jsonschema.FormatChecker())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_the_disk_has_not_confirmed_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "told.jsonl"
    sink = sink_for(path)
    sink.send(TOLD)
    calls: list[int] = []

    def fails_once(fd: int) -> None:
        calls.append(fd)
        if len(calls) == 1:
            raise OSError(errno.EIO, "no")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails_once)
        assert sink.send(TOLD) == Outcome(OutcomeKind.UNAVAILABLE, "EIO")
    assert texts(path) == ["number 1"], "taken back"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _fd: (_ for _ in ()).throw(OSError(errno.EIO, "no")))
        assert sink_for(tmp_path / "new").send(TOLD) == Outcome(OutcomeKind.UNAVAILABLE, "EIO"), "nor its name"


def test_a_write_that_the_disk_cuts_leaves_no_part_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "told.jsonl"
    sink = sink_for(path)
    assert sink.send(TOLD) == ACCEPTED
    whole = path.stat().st_size
    for room in (0, 1, 200):
        with size_limit(whole + room):
            assert sink.send(TOLD) == Outcome(OutcomeKind.UNAVAILABLE, "EFBIG")
        assert path.stat().st_size == whole
    assert sink.send(replace(TOLD, status_message="after")) == ACCEPTED
    assert texts(path) == ["number 1", "after"]


def test_what_a_crash_has_left_of_a_line_is_cut_off_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "told.jsonl"
    sink_for(path).send(TOLD)
    line = path.read_bytes()
    long = line.replace(b"number 1", b"x" * 200_000)
    for torn in (line[:1], line[:40], line[:-1], long[:-1], b"\0" * 5000, line[:30] + b"\0" * 100):
        path.write_bytes(line + torn)
        assert sink_for(path).send(TOLD) == ACCEPTED
        assert texts(path) == ["number 1", "number 1"]
    path.write_bytes(line[:50])
    assert sink_for(path).send(TOLD) == ACCEPTED
    assert texts(path) == ["number 1"]


@pytest.mark.parametrize("content", [b"ELF", b'{"other": 1', b"a line\nand half a line", b"x" * (5 << 20)])
def test_a_file_that_is_not_ours_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "precious"
    path.write_bytes(content)
    path.chmod(0o600)
    assert sink_for(path).send(TOLD) == Outcome(OutcomeKind.UNAVAILABLE, "FileEndsWithoutLine")
    assert path.read_bytes() == content


def test_what_the_path_leads_to_is_looked_at_before_a_byte_is_written(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"")
    precious.chmod(0o600)
    os.symlink(precious, tmp_path / "link")
    os.link(precious, tmp_path / "hard")
    (tmp_path / "wide").touch(0o600)
    (tmp_path / "wide").chmod(0o620)
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name, code in {
        "link": "FileIsLink",
        "hard": "FileIsNotOurs",
        "wide": "FileOpenToOthers",
        "fifo": "FileIsNoFile",
    }.items():
        assert sink_for(tmp_path / name).send(TOLD) == Outcome(OutcomeKind.UNAVAILABLE, code), name
    assert precious.read_bytes() == b""


def test_rotated_files_hold_everything_in_order_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "told.jsonl"
    sink = sink_for(path, rotate_at=4096, keep=3)
    said = [f"text {number}" for number in range(100)]
    for text in said:
        assert sink.send(replace(TOLD, status_message=text)) == ACCEPTED
    files = [tmp_path / f"told.jsonl.{number}" for number in (3, 2, 1)] + [path]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(file.stat().st_size <= 4096 for file in files)
    kept = texts(*files)
    assert kept == said[-len(kept) :]
    assert len(kept) > 20


def test_a_line_longer_than_a_file_may_be_is_told_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "told.jsonl"
    sink = sink_for(path, rotate_at=4096)
    for _ in range(2):
        assert sink.send(replace(TOLD, status_message="x" * 5000)) == ACCEPTED
    assert texts(tmp_path / "told.jsonl.1", path) == ["x" * 5000] * 2


def test_a_rotation_that_was_stopped_halfway_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "told.jsonl"
    sink_for(path).send(TOLD)
    os.rename(path, tmp_path / "told.jsonl.2")  # .1 moved on, the file itself has, too: nothing has its name
    sink = sink_for(path, rotate_at=100, keep=2)
    for text in ("b", "c"):
        assert sink.send(replace(TOLD, status_message=text)) == ACCEPTED
    assert texts(tmp_path / "told.jsonl.2", tmp_path / "told.jsonl.1", path) == ["number 1", "b", "c"]


def test_who_was_allowed_to_read_may_read_the_next_file(tmp_path: Path) -> None:
    path = tmp_path / "told.jsonl"
    sink = sink_for(path, rotate_at=100)
    sink.send(TOLD)
    path.chmod(0o640)
    sink.send(TOLD)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert (tmp_path / "told.jsonl.1").exists()


def test_a_file_that_others_rename_truncate_or_remove_is_begun_anew(tmp_path: Path) -> None:
    """logrotate with `create`, with `copytruncate`, and a person."""
    path, aside = tmp_path / "told.jsonl", tmp_path / "told.jsonl-20261130"
    sink = sink_for(path)
    sink.send(TOLD)
    os.rename(path, aside)
    path.touch(0o600)
    assert sink.send(replace(TOLD, status_message="created")) == ACCEPTED
    assert (texts(aside), texts(path)) == (["number 1"], ["created"])
    os.truncate(path, 0)
    assert sink.send(replace(TOLD, status_message="truncated")) == ACCEPTED
    assert texts(path) == ["truncated"]
    path.unlink()
    assert sink.send(replace(TOLD, status_message="removed")) == ACCEPTED
    assert texts(path) == ["removed"]


WRITER = """
import sys
from proton_tf_agent.domain.values import replace
from support.outboxes import notification
from proton_tf_agent.settings import load
from proton_tf_agent.sinks.file import FileSink
sink = FileSink("file", sys.argv[1], 1 << 20, 3, "proton-tf-agent://here")
for number in range(1_000_000):
    told = replace(notification(number), status_message=f"{number} " + "x" * 20_000)
    if sink.send(told).kind.value == "accepted":
        print(number, flush=True)
"""


def test_whatever_was_accepted_before_a_kill_is_there_whole(tmp_path: Path) -> None:
    path = tmp_path / "told.jsonl"
    tests = str(Path(__file__).parents[1])
    for _ in range(3):
        path.unlink(missing_ok=True)
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": tests}
        )
        assert writer.stdout is not None
        for _ in range(7):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        accepted = 7 + len(writer.stdout.read().splitlines())
        writer.wait()
        writer.stdout.close()
        assert sink_for(path).send(TOLD) == ACCEPTED
        told = [text.split()[0] for text in texts(path)]
        assert told[:accepted] == [str(number) for number in range(accepted)]
        assert told[-1] == "number"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("", "[[sink]] path: is missing"),
        ('path = "{root}/told.jsonl"', "lies inside the watch root"),
        ('path = "{link}/told.jsonl"', "lies inside the watch root"),
        (
            'path = "/told.jsonl"\n[[sink]]\ntype = "file"\nname = "b"\npath = "/told.jsonl"',
            "is written by another sink",
        ),
        ('path = "/told.jsonl"\nrotate_at = 1', "must be from 4KiB"),
        ('path = "/told.jsonl"\nkeep = 0', "must be from 1 to 1000"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    settings_file: str, tmp_path: Path, capsys: Output, keys: str, said: str
) -> None:
    root = load(settings_file).watch[0].path
    os.symlink(root, tmp_path / "a-link")
    with open(settings_file, "a") as file:
        file.write('[[sink]]\ntype = "file"\n' + keys.format(root=root, link=tmp_path / "a-link") + "\n")
    code, _, err = run(capsys, "config", "validate", "--config", settings_file)
    assert (code, said in err) == (78, True), err
