"""A run directory's backend and declarations, read through the only door: real directories that real Terraform made."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.terraform import Terraform

from proton_tf_agent.sources import backend, hcl_config
from proton_tf_agent.sources.backend import Backend
from proton_tf_agent.sources.configuration import configuration_of, declared_in, declared_outputs
from proton_tf_agent.sources.hcl_config import Declared, DeclaredOutput
from proton_tf_agent.sources.safe_open import SafeOpener
from proton_tf_agent.sources.state_place import backend_of, lock_info_path, workspace_of

LOCAL = 'terraform {\n  backend "local" {\n    path = "st/net.tfstate"\n  }\n}\noutput "o" { value = 1 }\n'
SECRET = "s3cr3t-v4lue-of-the-test"
S3_RECORD = f"""{{"version": 3, "backend": {{"type": "s3", "config":
  {{"bucket": "b", "key": "k", "secret_key": "{SECRET}"}}}}}}"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    directory = tmp_path / "watched" / "net"
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def opener(run: Path) -> SafeOpener:
    return SafeOpener([str(run.parent)])


def record(run: Path, content: str = S3_RECORD) -> Path:
    path = run / backend.RECORD_PATH
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return path


# --- where the state is: no HCL ----------------------------------------------------------------------------------


def test_a_directory_that_was_never_initialised_has_the_local_backend_unrecorded(opener: SafeOpener, run: Path) -> None:
    assert backend_of(opener, str(run)) == Backend("local", recorded=False)
    assert backend_of(opener, str(run / "no such directory")) == Backend("local", recorded=False)


def test_the_backend_of_an_initialised_directory_is_the_recorded_one(
    terraform: Terraform, opener: SafeOpener, run: Path
) -> None:
    (run / "main.tf").write_text(LOCAL)
    assert terraform.run("terraform init && terraform workspace new blue", str(run)) == 0
    assert backend_of(opener, str(run)) == Backend("local", recorded=True, path="st/net.tfstate")
    assert workspace_of(opener, str(run)) == "blue"


def test_with_the_data_directory_moved_there_is_no_record_to_be_seen_and_the_type_says_so(
    terraform: Terraform, opener: SafeOpener, run: Path
) -> None:
    (run / "main.tf").write_text(LOCAL)
    line = "terraform init && terraform apply -auto-approve"
    assert terraform.run(line, str(run), TF_DATA_DIR=".elsewhere") == 0
    assert (run / "st" / "net.tfstate").exists()
    assert backend_of(opener, str(run)) == Backend("local", recorded=False)
    assert configuration_of(opener, str(run)).effective == Backend("local", recorded=False, path="st/net.tfstate")


def to_a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def to_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def to_something_huge(path: Path) -> None:
    path.write_text(S3_RECORD + " " * backend.MAX_SIZE)


def to_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("turn", [to_a_link, to_a_fifo, to_something_huge, to_a_directory])
def test_a_record_that_must_not_be_read_is_of_an_unknown_backend(
    opener: SafeOpener, run: Path, turn: Callable[[Path], None]
) -> None:
    turn(record(run))
    assert backend_of(opener, str(run)) == Backend("unknown", recorded=True)
    assert lock_info_path(str(run), backend_of(opener, str(run)), None) is None
    (run / backend.WORKSPACE_PATH).write_text("blue")
    turn(run / backend.WORKSPACE_PATH)
    assert workspace_of(opener, str(run)) is None


def test_real_terraform_locks_beside_the_state_the_record_names_outside_of_the_run_directory(
    terraform: Terraform, opener: SafeOpener, run: Path
) -> None:
    """The provisioner sees the lock info file while the lock is held."""
    state = run.parent.parent / "srv" / "state" / "net.tfstate"
    seen = run / "seen"
    (run / "main.tf").write_text(
        f'terraform {{\n  backend "local" {{\n    path = "{state}"\n  }}\n}}\n'
        'resource "terraform_data" "x" {\n'
        f'  provisioner "local-exec" {{ command = "ls -A {state.parent} > {seen}" }}\n}}\n'
    )
    assert terraform.run("terraform init && terraform apply -auto-approve", str(run)) == 0
    path = lock_info_path(str(run), backend_of(opener, str(run)), None)
    assert path is not None
    assert os.path.dirname(path) == str(state.parent)
    assert os.path.basename(path) in seen.read_text().split()


def test_there_is_no_lock_info_file_of_a_state_kept_elsewhere(opener: SafeOpener, run: Path) -> None:
    record(run)
    assert lock_info_path(str(run), backend_of(opener, str(run)), None) is None


# --- what is declared --------------------------------------------------------------------------------------------


def test_the_record_counts_before_what_is_declared(terraform: Terraform, opener: SafeOpener, run: Path) -> None:
    """The block was changed, and `init` has not been run since: Terraform would refuse to work."""
    (run / "main.tf").write_text(LOCAL)
    assert terraform.run("terraform init", str(run)) == 0
    (run / "main.tf").write_text('terraform {\n  backend "s3" {}\n}\n')
    found = configuration_of(opener, str(run))
    assert found.effective == Backend("local", recorded=True, path="st/net.tfstate")
    assert found.declared.backend == Backend("s3", unknown=("bucket", "key"))


def test_without_record_and_without_block_the_backend_is_the_local_one(opener: SafeOpener, run: Path) -> None:
    (run / "outputs.tf").write_text('output "b" {}\noutput "a" {\n  sensitive = true\n}\n')
    found = configuration_of(opener, str(run))
    assert found.effective == Backend("local", recorded=False)
    assert found.declared.outputs == (DeclaredOutput("a", True), DeclaredOutput("b"))


def test_the_outputs_that_are_declared_are_those_that_real_terraform_knows(
    terraform: Terraform, opener: SafeOpener, run: Path
) -> None:
    (run / "main.tf").write_text('output "a" {\n  value = <<-E\n    output "no" {}\n  E\n}\noutput b { value = 1 }\n')
    (run / "more.tf.json").write_text('{"output": {"c": {"value": 1, "sensitive": true}}}')
    (run / "override.tf").write_text('output "b" {\n  sensitive = true\n}\n')
    (run / ".hidden.tf").write_text('output "hidden" {}')
    (run / "below").mkdir()
    (run / "below" / "main.tf").write_text('output "below" {}')
    assert terraform.run("terraform init && terraform apply -auto-approve", str(run)) == 0
    known = {name: told["sensitive"] for name, told in terraform.outputs(str(run)).items()}
    assert {output.name: output.sensitive for output in declared_outputs(opener, str(run))} == known


def test_a_file_that_must_not_be_read_is_named_and_the_others_count(opener: SafeOpener, run: Path) -> None:
    (run / "good.tf").write_text('output "a" {}')
    (run.parent.parent / "secret.tf").write_text(f'output "{SECRET}" {{}}')
    (run / "link.tf").symlink_to("../../secret.tf")
    os.mkfifo(run / "pipe.tf")
    (run / "huge.tf").write_text(" " * hcl_config.MAX_FILE + " ")
    (run / "directory.tf").mkdir()
    (run / "broken.tf").write_text(f'output "{SECRET}\n')
    found = declared_in(opener, str(run))
    assert found.outputs == (DeclaredOutput("a"),)
    assert dict(found.not_read) == {
        "link.tf": "E_SYMLINK", "pipe.tf": "E_NOT_REGULAR", "huge.tf": "E_TOO_LARGE",
        "directory.tf": "E_NOT_REGULAR", "broken.tf": "not understood at line 1",
    }  # fmt: skip
    assert SECRET not in repr(configuration_of(opener, str(run)))


def test_more_files_than_anybody_needs_are_not_read(opener: SafeOpener, run: Path) -> None:
    for number in range(hcl_config.MAX_FILES + 2):
        (run / f"{number:03}.tf").write_text(f'# output "o{number}"\n')
    assert declared_in(opener, str(run)).not_read == (("200.tf", "more than 200 files"),)


@pytest.mark.parametrize("where", ["no such directory", "../outside", "main.tf", "nul\0l", ""])
def test_what_is_no_directory_below_a_root_declares_nothing(opener: SafeOpener, run: Path, where: str) -> None:
    (run / "main.tf").write_text("")
    (run.parent / "outside").mkdir()
    (run.parent / "outside" / "main.tf").write_text('output "a" {}')
    directory = f"{run}/{where}" if where else "/etc"
    found = configuration_of(opener, directory)
    assert found.declared.outputs == ()
    assert found.declared.not_read
    assert found.effective.is_local or found.effective == Backend("unknown", recorded=True)


def test_no_secret_of_a_record_shows_in_a_configuration(opener: SafeOpener, run: Path) -> None:
    record(run)
    found = configuration_of(opener, str(run))
    assert (found.effective.type, found.effective.bucket) == ("s3", "b")
    assert SECRET not in repr(found) + str([getattr(found.effective, name) for name in Backend.__dataclass_fields__])
    assert found.declared == Declared()
