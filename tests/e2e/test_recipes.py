"""The recipes of docs/recipes.md work: their pipelines parse, and what they let a shell do ends as SUCCEEDED at the
endpoint, with a real Terraform, under the settings the page gives, in the shell that this CI starts."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.daemons import AgentCommand, write_settings
from support.pages import ROOT, Block, blocks_of
from support.terraform import Terraform

from proton_tf_agent.receiver import Receiver

CONFIGURATION = 'resource "terraform_data" "net" {}\noutput "vpc_id" { value = "vpc-1" }\n'
_STEP = re.compile(r"^ *sh '([^']+)'", re.MULTILINE)
# How each CI starts what a step says. GitHub: with and without `shell: bash`; each step is a script of its own.
BASH, PLAIN = ("bash", "--noprofile", "--norc", "-eo", "pipefail"), ("bash", "-e")
GITLAB, JENKINS = ("bash", "-eo", "pipefail"), ("sh", "-xe")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a section of the page gives: settings, and scripts with the shell each is given to."""

    settings: dict[str, Any]
    steps: tuple[tuple[tuple[str, ...], str], ...]
    wrapped: tuple[tuple[str, ...], str]

    def scripts(self, wrapped: bool) -> list[tuple[tuple[str, ...], str]]:
        """The last step is the one the page gives another form of."""
        return [*self.steps[:-1], self.wrapped if wrapped else self.steps[-1]]


def github(settings: Block, pipeline: Block, last: Block) -> Recipe:
    (job,) = yaml.safe_load(pipeline.text)["jobs"].values()
    default = job["defaults"]["run"]
    shell = {"bash": BASH, None: PLAIN}[default.get("shell")]
    assert default["working-directory"] == "network"
    actions = {step["uses"].partition("@")[0]: step.get("with") for step in job["steps"] if "uses" in step}
    assert actions == {"actions/checkout": None, "hashicorp/setup-terraform": {"terraform_wrapper": False}}
    (step,) = yaml.safe_load(last.text)
    steps = tuple((shell, step["run"]) for step in job["steps"] if "run" in step)
    return Recipe(tomllib.loads(settings.text), steps, (shell, step["run"]))


def gitlab(settings: Block, pipeline: Block, last: Block) -> Recipe:
    """Lines of a job are one script. `cd` is a line like any other."""
    (job,) = yaml.safe_load(pipeline.text).values()
    into, *lines = job["script"]
    assert into == "cd network"
    assert job["variables"] == {"GIT_CLONE_PATH": "$CI_BUILDS_DIR/infra"}
    (line,) = yaml.safe_load(last.text)
    return Recipe(tomllib.loads(settings.text), tuple((GITLAB, line) for line in lines), (GITLAB, line))


def jenkins(settings: Block, pipeline: Block, last: Block) -> Recipe:
    steps = _STEP.findall(pipeline.text)
    assert pipeline.text.count("{") == pipeline.text.count("}")
    assert len(steps) == pipeline.text.count("sh '")
    (step,) = _STEP.findall(last.text)
    return Recipe(tomllib.loads(settings.text), tuple((JENKINS, step) for step in steps), (JENKINS, step))


SECTIONS = {"GitHub Actions": github, "GitLab CI": gitlab, "Jenkins": jenkins}


@pytest.mark.parametrize("wrapped", [False, True], ids=["log", "wrapper"])
@pytest.mark.parametrize("section", SECTIONS)
def test_a_recipe_ends_in_the_verdict_with_the_outputs(
    tmp_path: Path, terraform: Terraform, receiver: Receiver, section: str, wrapped: bool
) -> None:
    recipe = SECTIONS[section](*blocks_of("docs/recipes.md", section))
    (watch,), (bind,) = recipe.settings["watch"], recipe.settings["bind"]
    assert bind["directory"].startswith(f"{watch['path']}/")
    root = tmp_path / "work"
    directory = root / os.path.relpath(bind["directory"], watch["path"])
    directory.mkdir(parents=True)
    (directory / "main.tf").write_text(CONFIGURATION)
    file = tmp_path / "agent.toml"
    write_settings(file, tmp_path / "state" / "journal.db", [root], receiver.url)
    region = bind["resource_arn"].split(":")[3]
    bound = f'\n[[bind]]\ndirectory = "{directory}"\nresource_arn = "{bind["resource_arn"]}"\n'
    file.write_text(file.read_text().replace("us-east-1", region) + bound)
    spool = tmp_path / "state-spool"
    spool.mkdir(mode=0o1733)
    spool.chmod(0o3733)
    agent = AgentCommand(file)
    try:
        agent.wait_until_ready()
        for number, (shell, script) in enumerate(recipe.scripts(wrapped)):
            (tmp_path / f"step-{number}").write_text(f"{script}\n")
            path = f"{os.path.dirname(sys.executable)}:{terraform.environment()['PATH']}"
            line = f"{' '.join(shell)} {tmp_path}/step-{number}"
            assert terraform.run(line, str(directory), PATH=path, PROTON_TF_AGENT_SPOOL=str(spool)) == 0, script
        records = receiver.wait_for(lambda heard: any(r.status == "SUCCEEDED" for r in heard), 30)
        last = records[-1]
        assert (last.status, last.resource_arn, last.outputs) == (
            "SUCCEEDED",
            bind["resource_arn"],
            {"vpc_id": "vpc-1"},
        )
        assert {record.status for record in records[:-1]} <= {"IN_PROGRESS"}
        assert agent.stop() == 0
    finally:
        agent.close()
    if wrapped:
        assert not (directory / "apply.log").exists()


@pytest.mark.parametrize("section", SECTIONS)
def test_a_step_of_a_recipe_fails_when_terraform_does(tmp_path: Path, terraform: Terraform, section: str) -> None:
    """`| tee` hides nothing."""
    (tmp_path / "main.tf").write_text('resource "terraform_data" "net" { input = nothing.at.all }\n')
    recipe = SECTIONS[section](*blocks_of("docs/recipes.md", section))
    path = f"{os.path.dirname(sys.executable)}:{terraform.environment()['PATH']}"
    for shell, script in (recipe.steps[-1], recipe.wrapped):
        (tmp_path / "step").write_text(f"{script}\n")
        line = f"{' '.join(shell)} {tmp_path}/step"
        assert terraform.run(line, str(tmp_path), PATH=path, PROTON_TF_AGENT_SPOOL=str(tmp_path)) != 0, script


def test_a_pipeline_that_the_page_gives_is_valid_yaml() -> None:
    page = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    found = re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert len(found) >= 4
    assert all(yaml.safe_load(text) for text in found)
