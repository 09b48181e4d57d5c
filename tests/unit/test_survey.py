"""What is said of a directory in which no run was seen: why nothing happens there, or what would."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.facts import ARN, DEPLOYMENT_ID
from support.watching import bind_directory

from proton_tf_agent import display
from proton_tf_agent.domain.output_mapping import OutputMapping
from proton_tf_agent.settings import AllowSettings, BindSettings, Settings, WatchSettings
from proton_tf_agent.survey import Row, survey

CONFIGURATION = """
output "vpc_id" { value = "vpc-1" }
output "pw" {
  value     = "hunter2-SECRET"
  sensitive = true
}
output "internal" { value = 1 }
"""


@pytest.fixture
def directory(tmp_path: Path) -> str:
    """A run directory below a watched root, with a configuration and nothing else."""
    path = tmp_path / "watched" / "network"
    path.mkdir(parents=True)
    (path / "main.tf").write_text(CONFIGURATION)
    return str(path)


def settings_for(directory: str, *binds: BindSettings) -> Settings:
    return Settings(
        watch=(WatchSettings(os.path.dirname(directory)), WatchSettings("/elsewhere")),
        bind=binds,
        allow=AllowSettings(("arn:aws:proton:*",)),
        outputs=OutputMapping(exclude=("internal",), rename={"vpc_id": "VpcId"}),
    )


def shown(row: Row, capsys: pytest.CaptureFixture[str]) -> str:
    display.survey(row)
    return capsys.readouterr().out


def test_a_directory_below_no_root_is_not_looked_into(directory: str, capsys: pytest.CaptureFixture[str]) -> None:
    bind_directory(directory, ARN, DEPLOYMENT_ID)
    row = survey(Settings(watch=(WatchSettings("/elsewhere"),)), directory)
    assert (row["exists"], row["watched_below"], row["resource_arn"], row["outputs"]) == (True, None, None, [])
    assert "watched      no: it lies below no [[watch]] of the settings" in shown(row, capsys)


def test_a_directory_says_whose_it_is_and_who_says_so(directory: str, capsys: pytest.CaptureFixture[str]) -> None:
    bind_directory(directory, ARN, DEPLOYMENT_ID)
    row = survey(settings_for(directory), directory)
    assert row["watched_below"] == os.path.dirname(directory)
    assert (row["resource_arn"], row["deployment_id"]) == (ARN, DEPLOYMENT_ID)
    assert row["bound_by"] == ".proton/deployment-metadata.json"
    assert ", because .proton/deployment-metadata.json says so" in shown(row, capsys)
    by_settings = survey(settings_for(directory, BindSettings(directory, ARN)), directory)
    assert by_settings["bound_by"] == ".proton/deployment-metadata.json", "metadata comes first"


def test_a_directory_that_is_bound_to_nothing_says_why(directory: str, capsys: pytest.CaptureFixture[str]) -> None:
    row = survey(settings_for(directory), directory)
    assert row["unbound_reason"] == "no deployment metadata and no [[bind]] for this directory"
    assert f"not bound    {row['unbound_reason']}: nothing would be told" in shown(row, capsys)
    bound = survey(settings_for(directory, BindSettings(directory, ARN)), directory)
    assert (bound["unbound_reason"], bound["bound_by"]) == (None, "[[bind]]")


def test_the_outputs_it_declares_are_shown_as_they_would_be_told_and_never_a_value(
    directory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = survey(settings_for(directory), directory)
    assert {output["name"]: (output["key"], output["withheld"]) for output in row["outputs"]} == {
        "vpc_id": ("VpcId", None),
        "pw": (None, "sensitive"),
        "internal": (None, "not asked for by [outputs]"),
    }
    assert (row["backend"], row["state"]) == ("local", f"{directory}/terraform.tfstate")
    told = shown(row, capsys)
    assert "vpc_id, told as VpcId" in told
    assert "pw, withheld: sensitive" in told
    assert "hunter2" not in told + repr(row)


def test_a_configuration_that_cannot_be_read_is_said_to_be(directory: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(directory, "broken.tf").write_text('output "x" {')
    row = survey(settings_for(directory), directory)
    assert [unread["file"] for unread in row["not_read"]] == ["broken.tf"]
    assert "not read     broken.tf: " in shown(row, capsys)


def test_a_directory_that_is_gone_is_still_known_by_its_place(
    directory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = survey(settings_for(directory), f"{directory}/gone")
    assert (row["exists"], row["watched_below"]) == (False, os.path.dirname(directory))
    assert "exists       no" in shown(row, capsys)


def test_what_would_not_be_read_there_is_named_with_what_to_do(
    directory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkdir(f"{directory}/logs")
    Path(directory, "logs", "apply.log").symlink_to("/var/log/apply.log")
    os.mkfifo(f"{directory}/plan.log")
    row = survey(settings_for(directory), directory)
    assert [(unread["path"], unread["code"]) for unread in row["unread"]] == [
        (f"{directory}/logs/apply.log", "E_SYMLINK"), (f"{directory}/plan.log", "E_NOT_REGULAR"),
    ]  # fmt: skip
    told = " ".join(shown(row, capsys).split())
    assert "logs/apply.log: E_SYMLINK, a symbolic link lies on the way" in told
    assert "write the log where it is to be read" in told
    assert survey(settings_for(directory), "/elsewhere")["unread"] == []
