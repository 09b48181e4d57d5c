"""Completions in the shells that are not on every machine: real fish and zsh offer what there is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from proton_tf_agent import cli

DIRECTORY = Path(cli.__file__).parent / "shell"


def shown(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("journal ", "verify"), ("status --fail", "--fail-on-lag"), ("replay --un", "--undelivered"), ("shell ", "fish")],
)
def test_fish_offers_commands_options_and_choices(typed: str, offered: str) -> None:
    script = f"source {DIRECTORY}/fish; complete -C 'proton-tf-agent {typed}'"
    lines = shown("fish", "--no-config", "-c", script).splitlines()
    assert offered in {line.split("\t")[0] for line in lines}


def test_zsh_takes_its_file_for_the_completion_of_the_program(tmp_path: Path) -> None:
    shutil.copy(DIRECTORY / "zsh", tmp_path / "_proton-tf-agent")
    script = (
        f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -d {tmp_path}/dump; "
        "print $_comps[proton-tf-agent]; autoload +X _proton-tf-agent; print $functions[_proton-tf-agent]"
    )
    name, *body = shown("zsh", "--no-rcs", "-c", script).splitlines()
    assert name == "_proton-tf-agent"
    assert any("--fail-on-lag" in line for line in body)
