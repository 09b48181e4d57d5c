"""Whose outputs a state holds: the run's, certainly, or nobody's; and what is said where there are none to be had."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from support.recordings import recordings
from support.terraform import Terraform
from support.watching import Watching, bind_directory

from proton_tf_agent.domain.evidence import Form, Output
from proton_tf_agent.domain.run import Run
from proton_tf_agent.run_directories import RunDirectories
from proton_tf_agent.settings import Settings
from proton_tf_agent.sources.backend import RECORD_PATH
from proton_tf_agent.sources.lock_file import lock_info_path_of
from proton_tf_agent.sources.safe_open import SafeOpener

NOW = time.time()
HOUR = 3600.0
DEPLOYMENT_ID = "fcda9f18-f569-4079-8474-0832f45b97ea"
SECRET = "s3cr3t-v4lue-of-the-test"
S3 = json.dumps({"version": 3, "backend": {"type": "s3", "config": {"bucket": "b", "key": "k", "token": SECRET}}})
MODULE = 'output "o" { value = "%s" }\n'
ENCRYPTED = json.dumps({"serial": 1, "lineage": "l", "meta": {}, "encrypted_data": "AAAA", "encryption_version": "v0"})
APPLY = "terraform apply -auto-approve"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    directory = tmp_path / "watched" / "net"
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def around(here: Path) -> RunDirectories:
    return RunDirectories(SafeOpener([str(here.parent)]), Settings())


def a_run(here: Path, *, started_at: float = NOW - HOUR, state_path: str = "", **other: object) -> Run:
    return Run("run-1", str(here), started_at, state_path=state_path, **other)  # type: ignore[arg-type]


def state_with(value: str, *, secret: str = "") -> str:
    outputs: dict[str, object] = {"o": {"value": value, "type": "string"}}
    if secret:
        outputs["pw"] = {"value": secret, "type": "string", "sensitive": True}
    document = {"version": 4, "serial": 1, "lineage": "l", "outputs": outputs, "resources": [], "check_results": None}
    return json.dumps(document, indent=2) + "\n"


def write(path: Path, content: str, age: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (NOW - age, NOW - age))
    return path


def told(value: str) -> tuple[Output, ...]:
    return (Output("o", json.dumps(value)),)


# --- real Terraform ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workspace", [None, "blue"])
@pytest.mark.parametrize("block", ["", 'backend "local" {\n path = "../st/net.tfstate"\n workspace_dir = "../ws"\n}'])
def test_the_outputs_of_a_real_run_whose_lock_was_never_seen_are_found(
    terraform: Terraform, around: RunDirectories, here: Path, block: str, workspace: str | None
) -> None:
    (here / "main.tf").write_text(f"terraform {{\n{block}\n}}\n" + MODULE % "one")
    select = f"terraform workspace new {workspace} && " if workspace else ""
    assert terraform.run(f"terraform init && {select}{APPLY} -lock=false", str(here)) == 0
    run = a_run(here, started_at=NOW)
    assert around.outputs(run) == told("one")
    assert around.why_no_outputs(run) == ""
    path = around.state_path(run)
    assert path is not None
    assert os.path.exists(path)


def test_a_real_apply_that_changes_nothing_still_has_its_outputs(
    terraform: Terraform, around: RunDirectories, here: Path
) -> None:
    """It writes its state again: so that an old state can be told from one that is as it should be."""
    (here / "main.tf").write_text(MODULE % "one")
    assert terraform.run(APPLY, str(here)) == 0
    os.utime(here / "terraform.tfstate", (NOW - HOUR, NOW - HOUR))
    assert around.outputs(a_run(here, started_at=NOW)) is None
    assert terraform.run(APPLY, str(here)) == 0
    assert around.outputs(a_run(here, started_at=NOW)) == told("one")


def test_a_state_that_a_run_in_another_data_directory_has_not_written_is_not_taken_for_its_own(
    terraform: Terraform, around: RunDirectories, here: Path
) -> None:
    (here / "main.tf").write_text('terraform {\n  backend "local" { path = "new.tfstate" }\n}\n' + MODULE % "new")
    assert terraform.run("terraform init", str(here), TF_DATA_DIR=".elsewhere") == 0
    write(here / "terraform.tfstate", state_with("old"), age=HOUR)
    assert terraform.run(APPLY, str(here), TF_DATA_DIR=".elsewhere") == 0
    assert (here / "new.tfstate").exists()
    run = a_run(here, started_at=NOW)
    assert around.outputs(run) is None
    assert around.why_no_outputs(run) == "outputs unreadable: the local state is older than the run"


def test_a_state_whose_lock_was_seen_is_the_runs_whatever_the_record_says(around: RunDirectories, here: Path) -> None:
    """-state-out, TF_WORKSPACE, TF_DATA_DIR: the lock lies beside the state that is written."""
    write(here / RECORD_PATH, S3)
    out = write(here / "out.tfstate", state_with("one"), age=2 * HOUR)
    run = a_run(here, state_path=str(out))
    assert around.outputs(run) == told("one")
    assert around.state_path(run) == str(out)


# --- states that are not the run's -------------------------------------------------------------------------------


def test_a_local_state_that_a_migration_to_s3_has_left_is_nobodys(around: RunDirectories, here: Path) -> None:
    write(here / RECORD_PATH, S3)
    write(here / "terraform.tfstate", state_with("old", secret=SECRET))
    run = a_run(here)
    assert around.outputs(run) is None
    assert around.why_no_outputs(run) == "outputs unreadable: the state is kept in S3, and there is no [[s3_state]]"
    assert around.state_path(run) is None
    assert around.taint(run).known
    assert not around.taint(run)


@pytest.mark.parametrize(
    ("record", "reason", "known"),
    [
        ('{"version": 3, "backend": {"type": "cloud"}}', "the state is kept in a backend of type cloud", True),
        ('{"version": 3, "backend": {"ty', "the record of the backend cannot be read", False),
    ],
)
def test_a_state_kept_where_nobody_can_look_is_said_to_be_there(
    around: RunDirectories, here: Path, record: str, reason: str, known: bool
) -> None:
    """Where nobody can tell whether there is a local state, nobody can tell what is sensitive in it."""
    write(here / RECORD_PATH, record)
    write(here / "terraform.tfstate", state_with("old"))
    run = a_run(here)
    assert (around.outputs(run), around.state_path(run)) == (None, None)
    assert around.why_no_outputs(run) == f"outputs unreadable: {reason}"
    assert around.taint(run).known is known


def test_the_state_of_another_workspace_than_the_selected_one_is_not_read(around: RunDirectories, here: Path) -> None:
    write(here / "terraform.tfstate", state_with("default"))
    write(here / "terraform.tfstate.d" / "blue" / "terraform.tfstate", state_with("blue"))
    assert around.outputs(a_run(here)) == told("default")
    write(here / ".terraform" / "environment", "blue")
    assert around.outputs(a_run(here)) == told("blue")
    assert around.outputs(a_run(here, workspace="default")) == told("default")


def test_an_errored_tfstate_is_not_read(around: RunDirectories, here: Path) -> None:
    write(here / "errored.tfstate", state_with("errored"))
    assert around.outputs(a_run(here)) is None
    assert around.why_no_outputs(a_run(here)) == "outputs unreadable: there is no local state"


def test_a_state_that_is_locked_again_is_not_the_runs_any_more(around: RunDirectories, here: Path) -> None:
    state = write(here / "terraform.tfstate", state_with("one"))
    lock = write(Path(lock_info_path_of(str(state))), "{}")
    for run in (a_run(here), a_run(here, state_path=str(state))):
        assert around.outputs(run) is None
        assert around.why_no_outputs(run) == "outputs unreadable: the state is locked again"
    lock.unlink()
    assert around.outputs(a_run(here)) == told("one")


def test_a_human_log_that_is_read_late_dates_the_run_by_its_last_line(around: RunDirectories, here: Path) -> None:
    """It has no clock: the run seems to begin when the agent comes to read it."""
    log = write(here / "apply.log", "Apply complete!", age=HOUR)
    late = a_run(here, started_at=NOW, form=Form.HUMAN, log_path=str(log))
    write(here / "terraform.tfstate", state_with("one"), age=HOUR)
    assert around.outputs(late) == told("one")
    assert around.outputs(a_run(here, started_at=NOW, form=Form.JSON, log_path=str(log))) is None
    write(here / "terraform.tfstate", state_with("old"), age=2 * HOUR)
    assert around.outputs(late) is None
    log.unlink()
    assert around.outputs(late) is None


# --- states that cannot be read ----------------------------------------------------------------------------------


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("lock_seen", [True, False])
def test_of_an_encrypted_state_nothing_is_told_and_nothing_is_known_to_be_harmless(
    around: RunDirectories, here: Path, indent: int | None, lock_seen: bool
) -> None:
    state = write(here / "terraform.tfstate", json.dumps(json.loads(ENCRYPTED), indent=indent))
    run = a_run(here, state_path=str(state) if lock_seen else "")
    assert around.outputs(run) is None
    assert around.why_no_outputs(run) == "outputs unreadable: the state is encrypted"
    assert not around.taint(run).known


@pytest.mark.parametrize(
    ("content", "reason", "known"),
    [
        ("", "the state is empty", True),
        ('{\n  "version": 4,\n  "outputs": {', "the state is torn or being written", False),
        ('{"version": 3}\n', "the state cannot be read: E_STATE_VERSION", False),
    ],
)
def test_a_state_that_is_not_whole_is_never_one_without_outputs(
    around: RunDirectories, here: Path, content: str, reason: str, known: bool
) -> None:
    write(here / "terraform.tfstate", content)
    assert around.outputs(a_run(here)) is None
    assert around.why_no_outputs(a_run(here)) == f"outputs unreadable: {reason}"
    assert around.taint(a_run(here)).known is known


def test_a_state_outside_of_every_watched_root_is_not_read_and_may_hold_secrets(
    around: RunDirectories, here: Path
) -> None:
    outside = write(here.parent.parent / "srv" / "net.tfstate", state_with("one", secret=SECRET))
    write(
        here / RECORD_PATH, json.dumps({"version": 3, "backend": {"type": "local", "config": {"path": str(outside)}}})
    )
    run = a_run(here)
    assert around.state_path(run) == str(outside)
    assert around.outputs(run) is None
    assert around.why_no_outputs(run) == "outputs unreadable: the state cannot be read: E_PATH"
    assert not around.taint(run).known


def test_what_is_sensitive_in_a_state_of_doubtful_origin_is_kept_back_all_the_same(
    around: RunDirectories, here: Path
) -> None:
    write(here / "terraform.tfstate", state_with("old", secret=SECRET), age=2 * HOUR)
    write(here / "terraform.tfstate.backup", state_with("older", secret=SECRET + "-before"), age=3 * HOUR)
    taint = around.taint(a_run(here))
    assert taint.known
    assert taint.touches(f"x {SECRET} y")
    assert taint.touches(f"x {SECRET}-before y")


@pytest.mark.parametrize(
    ("backup", "known"),
    [(None, True), ("", True), ('{\n  "version": 4,\n  "outputs": {', False), (ENCRYPTED, False)],
)
def test_where_the_serial_before_cannot_be_read_nobody_can_tell_what_is_sensitive(
    around: RunDirectories, here: Path, backup: str | None, known: bool
) -> None:
    write(here / "terraform.tfstate", state_with("one", secret=SECRET))
    if backup is not None:
        write(here / "terraform.tfstate.backup", backup)
    taint = around.taint(a_run(here))
    assert taint.known is known
    assert taint.touches(SECRET)


def test_of_a_state_that_was_written_since_the_run_not_all_is_known_that_was_sensitive(
    around: RunDirectories, here: Path
) -> None:
    write(here / "terraform.tfstate", state_with("new", secret=SECRET), age=100)
    write(here / "terraform.tfstate.backup", state_with("old", secret=SECRET + "-before"), age=100)
    for until, known in ((None, True), (NOW, True), (NOW - 99, True), (NOW - HOUR, False)):
        taint = around.taint(a_run(here), until)
        assert taint.known is known
        assert taint.touches(SECRET)
    write(here / "terraform.tfstate", state_with("new"), age=100)
    write(here / "terraform.tfstate.backup", state_with("old"), age=100)
    assert around.taint(a_run(here), NOW - HOUR).known


@pytest.mark.parametrize("name", ["s3_lockfile", "apply_partial_failure"])
def test_no_secret_of_a_backend_comes_near_the_journal_or_the_log(tmp_path: Path, name: str) -> None:
    recording = next(recording for recording in recordings() if recording.name == name)
    journal = tmp_path / "memory" / "journal.db"
    with Watching(recording, str(tmp_path / "watched"), str(journal)) as watching:
        bind_directory(watching.directory, "arn:aws:proton:us-east-1:111122223333:environment/net", DEPLOYMENT_ID)
        record = Path(watching.directory) / RECORD_PATH
        for instant, changes in recording.instants():
            watching.happen(changes)
            write(record, S3)
            watching.look(instant)
        watching.look_everywhere(instant)
        watching.wait(instant + HOUR)
        assert watching.runs()
        assert SECRET in record.read_text()
        told = [str(told) for told in watching.told] + [repr(run) for run in watching.runs()]
        told += [watching.pipeline.surroundings.why_no_outputs(run) for run in watching.runs()]
    kept = b"".join(path.read_bytes() for path in journal.parent.iterdir())
    assert b"environment/net" in kept
    assert SECRET.encode() not in kept
    assert SECRET not in str(told)
