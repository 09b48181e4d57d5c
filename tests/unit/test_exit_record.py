"""The wrapper's record: what the one side writes is what the other reads, and nothing else is believed."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proton_tf_agent.domain import evidence as ev
from proton_tf_agent.domain.evidence import Fact, Job, Operation
from proton_tf_agent.settings import SpoolSettings
from proton_tf_agent.sources import exit_record
from proton_tf_agent.sources.exit_record import Malformed
from proton_tf_agent.wrapper import command, record
from proton_tf_agent.wrapper.record import RecordKeeper

ID = "00" * 16
JOB = {"system": "GitLab CI", "commit": "f00d", "actor": "bob", "url": "https://gl/9", "attempt": ""}
PRINTS = {"listens": True, "files": [[5, 7]], "on_terminal": True}
METADATA = '{"deploymentId": "fcda9f18-f569-4079-8474-0832f45b97ea"}'
HEARD: list[object] = [
    ["OperationStarted", {"tool": "terraform", "version": "1.11.4", "at": 1000.0, "form": "json"}, 0],
    ["PlanSummarised", {"add": 1, "change": 0, "remove": 0}, 90],
    ["ErrorReported", {"summary": "it failed", "address": "a.b"}, 120],
]


@pytest.fixture
def keeper(tmp_path: Path) -> RecordKeeper:
    directory = tmp_path / "run"
    (directory / ".proton").mkdir(parents=True)
    (directory / ".proton" / "deployment-metadata.json").write_text(METADATA)
    (directory / "proton.auto.tfvars.json").write_text('{"//": "arn:aws:proton:x", "secret": "s3cret"}')
    (tmp_path / "spool").mkdir()
    typed = command.read(["terraform", "plan", "-detailed-exitcode"], str(directory), {})
    assert typed is not None
    return RecordKeeper(str(tmp_path / "spool"), typed, PRINTS, JOB, 1000.0, draw=bytes)


def content(tmp_path: Path) -> bytes:
    return (tmp_path / "spool" / f"{ID}.json").read_bytes()


def test_a_record_that_has_begun_says_what_was_started_where_and_for_whom(keeper: RecordKeeper, tmp_path: Path) -> None:
    keeper.begin(os.getpid())
    read = exit_record.read(content(tmp_path), ID)
    assert (read.record_id, read.directory, read.workspace) == (ID, str(tmp_path / "run"), "default")
    assert (read.metadata, read.tfvars_arn) == (METADATA, "arn:aws:proton:x")
    assert read.process is not None
    assert read.process.pid == os.getpid()
    assert read.process.started > 0
    words = ("terraform", "plan", "-detailed-exitcode")
    job = Job("GitLab CI", "f00d", "bob", "https://gl/9")
    started = ev.CommandStarted(ID, Operation.PLAN, 1000.0, words, True, True, job, None, ((5, 7),), True)
    assert exit_record.beginning(read) == Fact(started, record_id=ID)
    assert (exit_record.heard(read), exit_record.ending(read)) == ((), None)
    assert b"s3cret" not in content(tmp_path)


def test_a_record_that_has_ended_repeats_what_was_heard_and_says_how(keeper: RecordKeeper, tmp_path: Path) -> None:
    keeper.begin(os.getpid())
    keeper.go_on(HEARD[:2])
    assert len(exit_record.heard(exit_record.read(content(tmp_path), ID))) == 2
    keeper.end(HEARD, 0, 9, 1010.0)
    read = exit_record.read(content(tmp_path), ID)
    assert exit_record.heard(read) == (
        Fact(ev.OperationStarted("terraform", "1.11.4", 1000.0), f"record:{ID}", 0, "", ID),
        Fact(ev.PlanSummarised(1, 0, 0), f"record:{ID}", 90, "", ID),
        Fact(ev.ErrorReported("it failed", "a.b"), f"record:{ID}", 120, "", ID),
    )
    assert exit_record.ending(read) == Fact(ev.ProcessExited(0, 9, 1010.0), record_id=ID)


def test_others_can_neither_read_nor_guess_a_record(keeper: RecordKeeper, tmp_path: Path) -> None:
    keeper.begin(os.getpid())
    keeper.end([], 0, 0, 1.0)
    names = sorted(os.listdir(tmp_path / "spool"))
    assert names == [f"{ID}.json", f"{ID}.lock"]
    assert {stat.S_IMODE(os.stat(tmp_path / "spool" / name).st_mode) for name in names} == {0o640}


def test_a_record_that_is_discarded_leaves_nothing(keeper: RecordKeeper, tmp_path: Path) -> None:
    keeper.begin(os.getpid())
    keeper.discard()
    assert os.listdir(tmp_path / "spool") == []


def test_both_sides_agree_on_where_the_spool_is_unless_told_otherwise(tmp_path: Path) -> None:
    assert SpoolSettings().path == record.DEFAULT_SPOOL
    settings = tmp_path / "agent.toml"
    assert record.spool_path(str(settings), {}) == record.DEFAULT_SPOOL
    for text in ("# spool\n", "[spool\n", "spool = 3\n", "[spool]\npath = 3\n", "[journal]\npath = '/j'\n"):
        settings.write_text(text)
        assert record.spool_path(str(settings), {}) == record.DEFAULT_SPOOL
    settings.write_text("[spool]\npath = '/srv/spool'\n")
    assert record.spool_path(str(settings), {}) == "/srv/spool"
    assert record.spool_path(str(settings), {"PROTON_TF_AGENT_SPOOL": "/tmp/mine"}) == "/tmp/mine"


def document(**changed: Any) -> bytes:
    plain = {"version": 1, "record_id": ID, "began_at": 1.0, "directory": "/w", "operation": "apply"}
    return json.dumps(plain | changed).encode()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a record"),
        (b"[]", "not a record"),
        (document(operation="import"), "not a record"),
        (document(began_at="now"), "not a record"),
        (document(version=2), "version 2"),
        (document(record_id="11" * 16), "its name is not its id"),
        (document(directory="w"), "no absolute path"),
        (document(directory="/w/../etc"), "no absolute path"),
        (document(directory="/w\0"), "no absolute path"),
        (document(directory="/" + "w" * 5000), "no absolute path"),
        (document(command=["x"] * 1000), "says too much"),
        (document(command=["x" * 5000]), "says too much"),
        (b"[" * 100_000, "not a record"),
    ],
)
def test_what_is_no_record_is_refused_with_its_reason(content: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        exit_record.read(content, ID)


@pytest.mark.parametrize(
    "kind",
    ["DecisionTaken", "StateWritten", "LockTaken", "ProcessExited", "HostRestarted", "Elapsed", "LogClosed", "x"],
)
def test_a_record_tells_only_what_terraform_prints(kind: str) -> None:
    with pytest.raises(Malformed, match="Terraform does not say"):
        exit_record.heard(exit_record.read(document(facts=[[kind, {}, None]]), ID))


@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_malformed(content: bytes) -> None:
    with pytest.raises(Malformed):
        exit_record.heard(exit_record.read(content, ID))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["facts", "job", "ended", "process", "command", "metadata", "workspace"]), json_values
    )
)
def test_no_document_is_more_than_malformed(changed: dict[str, Any]) -> None:
    try:
        read = exit_record.read(document(**changed), ID)
        exit_record.beginning(read)
        exit_record.heard(read)
        exit_record.ending(read)
    except Malformed:
        return
    assert read.directory == "/w"
