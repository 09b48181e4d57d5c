"""Fixtures for tests of every room."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support.terraform import Terraform, find_terraform

from proton_tf_agent.receiver import Receiver


@pytest.fixture(scope="session")
def terraform_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A `terraform` command; there always is one."""
    return find_terraform(tmp_path_factory.mktemp("terraform"))


@pytest.fixture
def terraform(terraform_path: str) -> Iterator[Terraform]:
    """Runs shell lines with `terraform` in them; whatever is left of them ends with the test."""
    command = Terraform(terraform_path)
    yield command
    command.close()


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials for a receiver that knows no secrets, and nothing of the machine's own AWS settings."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def receiver(aws_environment: None) -> Iterator[Receiver]:
    """An endpoint that speaks Proton's wire contract, and credentials it accepts."""
    with Receiver() as receiver:
        yield receiver
