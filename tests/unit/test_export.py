"""Exports: whole, in order, and valid for whoever reads them next; a backup is the journal, made beside a daemon."""

from __future__ import annotations

import json
import stat
import threading
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.outboxes import ARN, attempted, enqueued, filled, notification, parked

from proton_tf_agent import cli, status
from proton_tf_agent.cloud_event import event
from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.run import RunStatus
from proton_tf_agent.domain.values import replace
from proton_tf_agent.export import Export
from proton_tf_agent.journal import Journal
from proton_tf_agent.journal_store import Store
from proton_tf_agent.journal_verify import check
from proton_tf_agent.selection import Scope, select

HOST = "ci 7/é"


@pytest.fixture
def journal(journal: Journal) -> Journal:
    filled(journal)
    return journal


def exported(journal: Journal, form: str, **scope: Any) -> list[dict[str, Any]]:
    lines = Export(journal, form, HOST).lines(select(journal, Scope(**scope)))
    return [json.loads(line) for line in lines]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["journal", *arguments])
    return code, *capsys.readouterr()


def test_json_lines_are_every_entry_as_it_is_shown(journal: Journal) -> None:
    rows = exported(journal, "jsonl")
    assert [row["seq"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert [{k: v for k, v in row.items() if k != "attempted"} for row in rows] == status.entries(journal, 100)
    assert [len(row["attempted"]) for row in rows] == [1, 0, 2, 2, 1, 0, 1]


def test_events_are_every_notification_once_in_order(journal: Journal) -> None:
    journal.replay(journal.query("entry", seq=3)[0], 2000.0)
    assert [event["id"] for event in exported(journal, "cloudevents")] == ["ntf-1", "ntf-3", "ntf-4", "ntf-5", "ntf-6"]


def assert_is_cloudevent(event: dict[str, Any]) -> None:
    """What CloudEvents 1.0.2 requires of its context attributes, and of their types in JSON."""
    assert event["specversion"] == "1.0"
    for name in ("id", "source", "specversion", "type", "subject"):
        assert isinstance(event[name], str)
        assert event[name]
    source = urlsplit(event["source"])  # a URI-reference, here an absolute URI
    assert source.scheme
    assert event["source"].isascii()
    assert not set(event["source"]) & set(' "<>\\^`{|}')
    assert datetime.fromisoformat(event["time"]).tzinfo is not None  # RFC 3339
    assert "T" in event["time"]
    assert event["datacontenttype"] == "application/json"
    for name in event:  # lower-case letters and digits
        assert name.isascii()
        assert name.isalnum()
        assert name == name.lower()
    assert not {"data", "data_base64"} <= event.keys()


def test_an_event_is_a_cloudevent(journal: Journal) -> None:
    for one in exported(journal, "cloudevents"):
        assert_is_cloudevent(one)
    (told,) = exported(journal, "cloudevents", sink="console")
    assert told == {
        "specversion": "1.0",
        "id": "ntf-3",
        "source": "proton-tf-agent://ci%207%2F%C3%A9",
        "type": "dev.proton-tf-agent.deployment.succeeded",
        "subject": ARN,
        "time": "1970-01-01T00:16:40.000Z",
        "datacontenttype": "application/json",
        "data": {
            "run_id": "run-1", "directory": "/w/network", "workspace": "default", "run_status": "applied",
            "resource_arn": ARN, "name": None, "deployment_id": "0a1b2c3d-0000-4000-8000-000000000001",
            "status": "SUCCEEDED", "status_message": "number 3",
            "outputs": {"vpc_id": "vpc-3"}, "omitted": {"pw": "sensitive"},
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("told", "run_status", "name"),
    [
        (Status.IN_PROGRESS, RunStatus.PLANNING, "in_progress"),
        (Status.FAILED, RunStatus.LOST, "failed"),
        (Status.SUCCEEDED, RunStatus.APPLIED, "succeeded"),
        (Status.SUCCEEDED, RunStatus.DESTROYED, "destroyed"),
    ],
)
def test_an_events_type_says_what_became_of_the_deployment(told: Status, run_status: RunStatus, name: str) -> None:
    one = replace(notification(1, told), run_status=run_status)
    assert event(one, "x:")["type"] == f"dev.proton-tf-agent.deployment.{name}"


def test_what_a_sink_never_took_is_drained_whole_and_in_order(journal: Journal) -> None:
    """More than a page of it, and some of it resolved."""
    for number in range(100, 1300):
        enqueued(journal, notification(number, Status.FAILED, f"{ARN}{number}", run_id=f"run-{number}"))
    parked(journal, 9)
    journal.replay(journal.query("entry", seq=9)[0], 2000.0)
    attempted(journal, 1208)
    left = exported(journal, "cloudevents", undelivered=True, sink="proton")
    expected = ["ntf-4", "ntf-5", "ntf-6", "ntf-100", *(f"ntf-{n}" for n in range(102, 1300))]
    assert [one["id"] for one in left] == expected


def test_what_is_damaged_becomes_no_event_and_is_counted(
    journal: Journal, settings_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    journal._connection.execute("DROP TRIGGER outbox_body_is_immutable")
    journal._connection.execute("UPDATE outbox SET body = CAST('{' AS BLOB) WHERE seq = 4")
    code, out, err = run(capsys, "export", "--format", "cloudevents", "--config", settings_file)
    assert (code, out.count("\n")) == (3, 4)
    assert err == "1 entries are damaged on disk and were left out; see `journal verify`\n"
    code, out, _ = run(capsys, "export", "--config", settings_file)
    assert (code, out.count("\n")) == (0, 7)


def test_a_file_is_private_whole_and_not_replaced_unasked(
    journal: Journal, settings_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.jsonl"
    command = ("export", "--since", "1970-01-01T00:18:20", "--config", settings_file, str(path))
    assert run(capsys, *command) == (0, "", "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [json.loads(line)["seq"] for line in path.read_text("ascii").splitlines()] == [4, 5, 6]
    code, out, err = run(capsys, *command)
    assert (code, out) == (1, "")
    assert err == f"proton-tf-agent: {path}: the file is there already (--force replaces it)\n"
    assert run(capsys, *command, "--until", "1970-01-01T00:18:21", "--force")[0] == 0
    assert path.read_text("ascii").count("\n") == 1
    assert not (tmp_path / "out.jsonl.new").exists()


@pytest.mark.parametrize("command", ["backup", "export"])
def test_what_cannot_be_written_is_said_and_leaves_nothing(
    journal: Journal, settings_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    code, out, err = run(capsys, command, "--config", settings_file, str(tmp_path / "nowhere" / "x"))
    assert (code, out) == (1, "")
    assert "No such file or directory" in err
    code, _, err = run(capsys, command, "--config", settings_file, "--force", journal.path)
    assert (code, "that is the journal itself" in err) == (2, True)


def test_a_backup_is_the_journal_private_and_verified(
    journal: Journal, settings_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "copy.db"
    code, out, err = run(capsys, "backup", "--config", settings_file, str(path))
    assert (code, out, err) == (0, f"{path}: {path.stat().st_size:,} bytes, verified\n", "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Journal.open_existing(str(path)) as copy:
        assert list(copy._connection.iterdump()) == list(journal._connection.iterdump())
    assert run(capsys, "backup", "--config", settings_file, str(path))[0] == 1
    code, out, _ = run(capsys, "backup", "--json", "--force", "--config", settings_file, str(path))
    page = (Path(cli.__file__).parents[1] / "docs" / "commands.md").read_text("utf-8")
    assert "- `journal backup`: `file bytes findings`" in page
    assert json.loads(out) == {"file": str(path), "bytes": path.stat().st_size, "findings": []}


def test_a_backup_of_what_has_rotted_says_so(
    journal: Journal, settings_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal._connection.execute("UPDATE outbox SET reason = 'rot' WHERE seq = 4")
    code, out, _ = run(capsys, "backup", "--config", settings_file, str(tmp_path / "copy.db"))
    assert code == 1
    assert out.splitlines()[0].startswith("outbox: seq 4 (ntf-4, run-2): ")
    assert out.endswith("not sound\n")


def test_a_backup_is_made_while_a_daemon_is_at_work(journal: Journal, tmp_path: Path) -> None:
    over = threading.Event()

    def work() -> None:
        number = 100
        while not over.is_set():
            number += 1
            (seq,) = enqueued(journal, notification(number, Status.FAILED, ARN + "8", run_id=f"run-{number}"))
            attempted(journal, seq)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        sizes = []
        for number in range(5):
            path = str(tmp_path / f"copy-{number}.db")
            with Journal.open_existing(journal.path) as beside:
                beside.back_up(path)
            with Store.open_to_verify(path) as copy:
                assert list(check(copy)) == []
                sizes.append(copy.query("count_entries")[0][0])
    finally:
        over.set()
        thread.join()
    assert sizes == sorted(sizes)
