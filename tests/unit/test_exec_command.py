"""What a command line asks for: a run, of which operation, in which directory, and what of it may be kept."""

from __future__ import annotations

import pytest

from proton_tf_agent.wrapper import command
from proton_tf_agent.wrapper.command import Command

RUNS = [
    ("terraform plan", "plan", "/w"),
    ("terraform apply -auto-approve", "apply", "/w"),
    ("terraform apply tfplan", "apply", "/w"),
    ("terraform destroy", "destroy", "/w"),
    ("terraform refresh", "refresh", "/w"),
    ("terraform apply -destroy", "destroy", "/w"),
    ("terraform apply --destroy=true", "destroy", "/w"),
    ("terraform apply -destroy=false", "apply", "/w"),
    ("terraform plan -destroy", "plan", "/w"),
    ("tofu apply", "apply", "/w"),
    ("/opt/tf/1.11/terraform apply", "apply", "/w"),
    ("terraform -chdir=envs/prod apply", "apply", "/w/envs/prod"),
    ("terraform -chdir=/srv/net/../db plan", "plan", "/srv/db"),
]
NO_RUNS = [
    "terraform", "terraform -version", "terraform version", "terraform init", "terraform output -json",
    "terraform state list", "terraform validate", "terraform test", "terraform import a b", "terraform -help apply",
    "terraform apply -help", "terraform plan -h", "terraform apply --help", "terraform -chdir",
    "terraform -nonsense apply", "make apply", "terragrunt apply", "./apply.sh", "terraform.sh apply",
]  # fmt: skip


def read(line: str, **environment: str) -> Command:
    found = command.read(line.split(), "/w", environment)
    assert found is not None
    return found


@pytest.mark.parametrize(("line", "operation", "directory"), RUNS)
def test_a_run_is_known_with_its_operation_and_directory(line: str, operation: str, directory: str) -> None:
    found = read(line)
    assert (found.operation, found.directory, found.base) == (operation, directory, "/w")
    assert found.applies == (operation in ("apply", "refresh"))


@pytest.mark.parametrize("line", NO_RUNS)
def test_whatever_is_no_run_is_left_alone(line: str) -> None:
    assert command.read(line.split(), "/w", {}) is None


def test_flags_in_the_environment_count() -> None:
    """terraform main.go: TF_CLI_ARGS, TF_CLI_ARGS_name."""
    assert read("terraform plan", TF_CLI_ARGS_plan="-detailed-exitcode").detailed
    assert read("terraform apply", TF_CLI_ARGS="-destroy").operation == "destroy"
    assert read("terraform apply", TF_CLI_ARGS_plan="-destroy").operation == "apply"
    assert command.read(["terraform", "apply"], "/w", {"TF_CLI_ARGS_apply": "-help"}) is None
    assert read("terraform apply", TF_CLI_ARGS="'unfinished").operation == "apply"


@pytest.mark.parametrize(
    ("line", "detailed"),
    [("plan", False), ("plan -detailed-exitcode", True), ("plan -detailed-exitcode=false", False),
     ("apply -detailed-exitcode", False)],
)  # fmt: skip
def test_only_a_plan_has_a_detailed_exit_status(line: str, detailed: bool) -> None:
    assert read(f"terraform {line}").detailed is detailed


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("terraform apply -var pw=s3cret", "terraform apply -var pw=…"),
        ("terraform apply -var=pw=s3cret", "terraform apply -var=pw=…"),
        ("terraform apply --var pw=s3cret -no-color", "terraform apply --var pw=… -no-color"),
        ("terraform apply -var s3cret", "terraform apply -var …"),
        ("terraform apply -var-file=prod.tfvars", "terraform apply -var-file=prod.tfvars"),
        ("terraform apply -backend-config=secret_key=s3cret", "terraform apply -backend-config=secret_key=…"),
        ("terraform apply -var -var pw=s3cret", "terraform apply -var … pw=s3cret"),
    ],
)
def test_values_of_variables_are_not_kept(line: str, shown: str) -> None:
    assert read(line).shown == shown.split()


def test_variables_and_the_state_are_known_for_what_they_are() -> None:
    found = read(
        "terraform apply -var pw=one=two -var=user=me -state old.tfstate -state=new.tfstate", TF_CLI_ARGS="-var a=b"
    )
    assert found.variables == [("a", "b"), ("pw", "one=two"), ("user", "me")]
    assert found.state == "new.tfstate"


@pytest.mark.parametrize("flags", ["-state=old -state-out=new", "-state-out new -state old"])
def test_the_state_of_a_run_is_the_one_it_leaves(flags: str) -> None:
    found = read(f"terraform apply {flags} -var a=b")
    assert (found.state, found.variables) == ("new", [("a", "b")])
