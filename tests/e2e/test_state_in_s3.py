"""A real Terraform with the S3 backend before the daemon, both processes of their own, the store on loopback."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemons import DEADLINE_S, AgentCommand, all_have_ended, write_settings
from support.stores import REGION, TABLE, Store
from support.terraform import Gate, Terraform
from support.watching import bind_directory

from proton_tf_agent.receiver import Receiver, Record

ARN = "arn:aws:proton:us-east-1:111122223333:environment/net"
DEPLOYMENT_ID = "fcda9f18-f569-4079-8474-0832f45b97ea"
APPLY = "terraform apply -auto-approve -no-color"
LOCKFILE, DYNAMODB = "use_lockfile = true", f'dynamodb_table = "{TABLE}"'
SECRET = "s3cr3t-v4lue-of-the-test"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_EC2_METADATA_DISABLED": "true",
}

MODULE = """
terraform {
  backend "s3" {
    bucket = "%(bucket)s"
    key    = "network/terraform.tfstate"
    region = "%(region)s"
    endpoints = { s3 = "%(url)s", dynamodb = "%(url)s" }
    use_path_style              = true
    skip_credentials_validation = true
    skip_requesting_account_id  = true
    skip_metadata_api_check     = true
    skip_region_validation      = true
    %(lock)s
  }
}
variable "gate" { default = "" }
variable "name" { default = "one" }
resource "terraform_data" "first" { input = var.name }
resource "terraform_data" "gated" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" { command = var.gate == "" ? "true" : "cat '${var.gate}'" }
}
output "first" { value = terraform_data.first.output }
output "both" { value = [terraform_data.first.output, 7] }
output "pw" {
  value     = "%(secret)s"
  sensitive = true
}
"""
OUTPUTS = {"first": "one", "both": '["one",7]'}


class Scene:
    """A run directory whose state is in a store, watched by a daemon that may read it."""

    def __init__(self, base: Path, store: Store, receiver: Receiver, terraform: Terraform) -> None:
        self.store, self.receiver, self.terraform = store, receiver, terraform
        self.root = base / "watched"
        self.directory = str(self.root / "net")
        self.memory = base / "memory"
        self.gate = Gate(base / "gate")
        bind_directory(self.directory, ARN, DEPLOYMENT_ID)
        self.settings_file = base / "agent.toml"
        write_settings(self.settings_file, self.memory / "journal.db", [self.root], receiver.url)
        allowed = (
            f'[[s3_state]]\nbucket = "{store.bucket}"\nregion = "{REGION}"\nkeys = ["network/*", "env:/blue/*"]\n'
            f'endpoint_url = "{store.url}"\ndynamodb_table = "{TABLE}"\ntimeout = 5\n'
        )
        self.settings_file.write_text(self.settings_file.read_text() + allowed)
        self.agent = AgentCommand(self.settings_file)
        self.agent.wait_until_ready()

    def init(self, lock: str = LOCKFILE) -> None:
        """Write the configuration and let Terraform record its backend."""
        store = {"bucket": self.store.bucket, "region": REGION, "url": self.store.url}
        Path(self.directory, "main.tf").write_text(MODULE % {**store, "lock": lock, "secret": SECRET})
        assert self.run("terraform init") == 0

    def run(self, line: str) -> int:
        return self.terraform.run(line, self.directory, **CREDENTIALS)

    def start(self, line: str) -> subprocess.Popen[bytes]:
        return self.terraform.start(line, self.directory, **CREDENTIALS)

    def hears_end(self, count: int = 1) -> Record:
        """Wait for that many terminal statuses; returns the last."""
        found = self.receiver.wait_for(lambda records: len(ends(records)) >= count, DEADLINE_S)
        self.agent.wait_for(all_have_ended, "left a run open")
        assert len(ends(found)) == count
        return ends(found)[-1]

    def close(self) -> None:
        self.gate.close()
        self.agent.close()


def ends(records: object) -> list[Record]:
    return [record for record in records if record.status != "IN_PROGRESS"]  # type: ignore[attr-defined]


@pytest.fixture
def scene(tmp_path: Path, receiver: Receiver, terraform: Terraform) -> Iterator[Scene]:
    with Store() as store:
        scene = Scene(tmp_path, store, receiver, terraform)
        yield scene
        scene.close()


@pytest.mark.parametrize("lock", [LOCKFILE, DYNAMODB, ""], ids=["lock file", "DynamoDB", "no lock"])
def test_outputs_of_a_human_log_are_read_from_the_state_in_s3(scene: Scene, lock: str) -> None:
    scene.init(lock)
    assert scene.run(f"{APPLY} > apply.log") == 0
    end = scene.hears_end()
    assert (end.status, dict(end.outputs)) == ("SUCCEEDED", OUTPUTS)
    assert "pw (sensitive)" in str(end.status_message)
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in scene.memory.iterdir())


def test_the_state_is_the_one_of_the_selected_workspace(scene: Scene) -> None:
    scene.init()
    assert scene.run("terraform workspace new blue > /dev/null") == 0
    assert scene.run(f"{APPLY} -var name=blue > apply.log") == 0
    assert dict(scene.hears_end().outputs) == {"first": "blue", "both": '["blue",7]'}
    assert "env:/blue/network/terraform.tfstate" in scene.store.object_keys()


def test_an_apply_without_changes_writes_no_state_and_says_that_it_has_none_of_its_own(scene: Scene) -> None:
    """What lies there could be another workspace's: TF_WORKSPACE is not to be seen."""
    scene.init()
    assert scene.run(f"{APPLY} > first.log") == 0
    scene.hears_end()
    written = scene.store.s3.head_object(Bucket=scene.store.bucket, Key="network/terraform.tfstate")["LastModified"]
    scene.receiver.wait_for(lambda _records: False, 0.0) if False else None
    assert scene.run(f"{APPLY} > again.log") == 0
    end = scene.hears_end(2)
    assert end.status == "SUCCEEDED"
    assert (
        written
        == scene.store.s3.head_object(Bucket=scene.store.bucket, Key="network/terraform.tfstate")["LastModified"]
    )
    assert dict(end.outputs) in ({}, OUTPUTS)


def test_a_killed_run_is_lost_although_its_lock_stays(scene: Scene) -> None:
    scene.init()
    process = scene.start(f"exec {APPLY} -var gate={scene.gate.path} > apply.log 2>&1")
    scene.gate.reached()
    process.send_signal(signal.SIGKILL)
    process.wait(DEADLINE_S)
    end = scene.hears_end()
    assert (end.status, dict(end.outputs)) == ("FAILED", {})
    assert "inferred" in str(end.status_message)
    assert "network/terraform.tfstate.tflock" in scene.store.object_keys()


def test_a_run_that_the_stale_lock_stops_fails_and_says_why(scene: Scene) -> None:
    scene.init()
    scene.store.put("network/terraform.tfstate.tflock", '{"ID":"1","Operation":"OperationTypeApply","Who":"a@b"}')
    assert scene.run(f"{APPLY} > apply.log 2>&1") == 1
    end = scene.hears_end()
    assert end.status == "FAILED"
    assert "lock" in str(end.status_message)


def test_a_json_log_needs_no_state(scene: Scene) -> None:
    scene.init()
    assert scene.run("terraform apply -auto-approve -json > apply.log") == 0
    end = scene.hears_end()
    assert (end.status, dict(end.outputs)) == ("SUCCEEDED", OUTPUTS)


def test_a_state_that_no_setting_allows_is_not_read_and_the_message_says_so(scene: Scene) -> None:
    scene.init()
    assert scene.run("terraform workspace new red > /dev/null") == 0
    assert scene.run(f"{APPLY} > apply.log") == 0
    end = scene.hears_end()
    assert (end.status, dict(end.outputs)) == ("SUCCEEDED", {})
    assert "no [[s3_state]] allows it to be read" in str(end.status_message)
    (row,) = [row for row in scene.agent.rows() if row["event"] == "source.unreadable"]
    assert row["path"] == f"s3://{scene.store.bucket}/env:/red/network/terraform.tfstate"
