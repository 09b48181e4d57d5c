"""What shells and man(1) know of the command line is what there is: made of the parser, and not forgotten since."""

from __future__ import annotations

import argparse
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_lines import Output, run

from proton_tf_agent import cli
from proton_tf_agent.command_line import SHELLS

DIRECTORY = Path(cli.__file__).parent / "shell"
_OPTION = re.compile(r"(?<![\\w-])--[a-z][a-z-]+")


def every_command(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    """Each command with its options, groups left out."""
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not groups:
        yield " ".join(words), {o for a in parser._actions for o in a.option_strings if o.startswith("--")}
    for group in groups:
        for name, below in group.choices.items():
            yield from every_command(below, (*words, name))


COMMANDS = dict(every_command(cli.parser()))


def completed(*words: str) -> set[str]:
    """What bash offers for the last word."""
    line = " ".join(f"'{word}'" for word in ("proton-tf-agent", *words))
    script = (
        f"source {DIRECTORY}/bash; COMP_WORDS=({line}); COMP_CWORD={len(words)}; "
        "complete -p proton-tf-agent | grep -q -- '-F _shtab_proton_tf_agent ' && _shtab_proton_tf_agent; "
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    shown = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True)
    return set(shown.stdout.split())


def test_bash_offers_the_commands() -> None:
    assert completed("") >= {words.split()[0] for words in COMMANDS}
    assert completed("journal", "") >= {words.split()[1] for words in COMMANDS if words.startswith("journal ")}
    assert completed("st") == {"status"}


@pytest.mark.parametrize("words", COMMANDS)
def test_bash_offers_every_option_of_every_command(words: str) -> None:
    assert completed(*words.split(), "--") >= COMMANDS[words]


@pytest.mark.parametrize("form", SHELLS)
def test_no_file_has_fallen_behind_the_parser(form: str) -> None:
    """`make docs` writes them again."""
    text = (DIRECTORY / form).read_text("utf-8").replace("\\-", "-")
    named = set(_OPTION.findall(text)) | set(re.findall(r"-l ([a-z][a-z-]+)", text) if form == "fish" else ())
    known = set().union(*COMMANDS.values())
    names = {option if option.startswith("--") else f"--{option}" for option in named}
    missing = known - names - {"--help"}
    assert not missing, missing
    for words in COMMANDS:
        assert all(word in text for word in words.split())


@pytest.mark.parametrize("form", SHELLS)
def test_the_command_prints_them(form: str, capsys: Output) -> None:
    code, out, _ = run(capsys, "shell", form)
    assert (code, out) == (0, (DIRECTORY / form).read_text("utf-8"))
