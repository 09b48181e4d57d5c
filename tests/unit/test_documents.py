"""Code and documents say the same: event names, commands, paths, words."""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pages import HERE, HOST, PAGES, Block, blocks, shell_blocks, spans

from proton_tf_agent import cli, command_line, settings, telemetry

HOUSE = Path(cli.__file__).parent
ROOT = HOUSE.parent
SOURCES = sorted(HOUSE.rglob("*.py"))
FORBIDDEN = {"helper", "util", "manager", "handler", "common"}
_NAME = re.compile(r"[a-z]+\.[a-z]+")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


# --- docs/logging.md --------------------------------------------------------------------------------------------


def names_told() -> set[str]:
    """The event names in the code: first arguments of `tell` and `Told`, and those the relay chooses from."""
    told: set[str] = set()
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and node.args:
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                first = node.args[0]
                if called in ("tell", "_tell", "Told") and isinstance(first, ast.Constant):
                    told.add(str(first.value))
    chosen = {node.value for node in ast.walk(tree(HOUSE / "relay.py")) if isinstance(node, ast.Constant)}
    return told | {value for value in chosen if isinstance(value, str) and value.startswith(("notification.", "sink."))}


def names_listed() -> set[str]:
    page = (ROOT / "docs" / "logging.md").read_text("utf-8")
    return set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE))


def test_every_event_name_in_the_code_is_listed_and_every_listed_one_is_told() -> None:
    assert names_told() == names_listed()
    assert len(names_listed()) >= 15


def test_event_names_are_a_noun_and_what_happened_to_it() -> None:
    for name in names_listed():
        assert _NAME.fullmatch(name), name
    assert names_listed() >= set().union(*telemetry._DISPLAYED_AS.values())


# --- docs/commands.md -------------------------------------------------------------------------------------------


def commands(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not groups:
        yield words, parser
    for group in groups:
        for name, below in group.choices.items():
            yield from commands(below, (*words, name))


def documented_commands() -> dict[tuple[str, ...], str]:
    """The first cell of the table for every command in it; `config validate|show` stands for two."""
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    cells: dict[tuple[str, ...], str] = {}
    for cell in re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE):
        cell = cell.replace("\\|", "¦")
        words = []
        for word in cell.split():
            if not re.fullmatch(r"[a-z][a-z¦-]*", word):
                break
            words.append(word.split("¦"))
        for last in words[-1]:
            cells[(*(word[0] for word in words[:-1]), last)] = cell
    return cells


def test_every_command_is_documented_and_every_documented_one_exists() -> None:
    assert {words for words, _ in commands(cli.parser())} == documented_commands().keys()


@pytest.mark.parametrize(
    ("words", "parser"), [pytest.param(*found, id=" ".join(found[0])) for found in commands(cli.parser())]
)
def test_every_option_is_documented_and_every_documented_one_exists(
    words: tuple[str, ...], parser: argparse.ArgumentParser
) -> None:
    cell = documented_commands()[words]
    known = {option for action in parser._actions for option in action.option_strings}
    assert set(re.findall(r"(?<![\w-])--?[a-z-]+", cell)) <= known
    for action in parser._actions:
        if action.option_strings and not {"--help", "--config"} & set(action.option_strings):
            assert any(re.search(rf"{option}\b", cell) for option in action.option_strings), action.option_strings
        if action.metavar and not action.option_strings:
            metavar = str(action.metavar)
            assert metavar.replace("|", "¦") in cell or metavar in cell.replace("¦", "|")


def test_exit_codes_are_those_of_the_errors() -> None:
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    listed = {int(code) for code in re.findall(r"(?:^|· |: |\n)(\d+) [a-z]", page[page.index("Exit codes") :])}
    raised = {
        int(node.value.value)
        for node in ast.walk(tree(HOUSE / "domain" / "errors.py"))
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, int)
    }
    assert listed == raised | {0, command_line.PARTLY_DONE, command_line.INTERRUPTED}


# --- commands and settings that pages show ------------------------------------------------------------------------


def test_every_command_of_a_page_is_run_by_a_test_and_no_other() -> None:
    """In one of two places: support.pages says which."""
    shown = {command for block in shell_blocks() for command in block.commands()}
    assert shown - HERE.keys() - HOST == set(), "in neither table"
    assert (HERE.keys() | HOST) - shown == set(), "on no page"
    assert HERE.keys() & HOST == set()
    assert len(shown) > 40


def test_a_command_in_running_text_is_one_that_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    """With its options; what it still needs may be left out. Synopses (`[...]`, `a|b`) are judged elsewhere."""
    names = {words[0] for words, _ in commands(cli.parser())}
    judged, wrong = 0, []
    for page, span in spans():
        ours, *words = re.split(r" && | > ", span)[0].removeprefix("proton-tf-agent ").split()
        is_one = span.startswith("proton-tf-agent ") or (ours in names and any(word.startswith("-") for word in words))
        if not is_one or re.search(r"[\[\]|…]|\.\.\.", span):
            continue
        judged += 1
        try:
            cli.parser().parse_args([ours, *words])
        except SystemExit as left:
            said = capsys.readouterr().err
            wrong += [(page, span, said)] if left.code and "the following arguments are required" not in said else []
    assert wrong == []
    assert judged >= 15


def test_no_command_hides_in_a_block_that_is_none_of_a_shell() -> None:
    programs = re.compile(
        r"^\s*(\$ |sudo |pip |pipx |systemctl |journalctl |proton-tf-agent (?!running))", re.MULTILINE
    )
    for block in blocks():
        assert block.language in ("sh", "toml", "ini", "json", "python", "mermaid", "yaml", "groovy", ""), block
        assert block.language == "sh" or not programs.search(block.text), block


def test_a_script_that_a_page_shows_is_one_to_the_shell() -> None:
    scripts = [block for block in blocks() if block.text.startswith("#!/bin/sh\n")]
    assert len(scripts) == sum(block.text.startswith("#!") for block in blocks())
    for block in scripts:
        said = subprocess.run(["sh", "-n"], input=block.text, capture_output=True, text=True, check=False)
        assert (said.returncode, said.stderr) == (0, ""), block


@pytest.mark.parametrize(
    "block", [block for block in blocks() if block.language == "toml"], ids=lambda block: f"{block.page}"
)
def test_settings_that_a_page_shows_are_valid(block: Block, tmp_path: Path) -> None:
    """Completed by a watch root, where the page is about something else."""
    file = tmp_path / "agent.toml"
    root = "" if "[[watch]]" in block.text else '[[watch]]\npath = "/srv/terraform"\n'
    file.write_text(block.text + root)
    file.chmod(0o644)
    settings.load(str(file))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_target_of_make_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9]+):.*##", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z0-9]+)[` ]", page.read_text("utf-8"))) <= targets


# --- paths and links --------------------------------------------------------------------------------------------


def test_every_path_in_the_table_of_promises_exists() -> None:
    page = (ROOT / "README.md").read_text("utf-8")
    table = page[page.index("## Promises") : page.index("What cannot be promised")]
    paths = re.findall(r"\| `([^`]+)` \|$", table, re.MULTILINE)
    assert len(paths) == sum(line.startswith("| ") for line in table.splitlines()) - 1
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_inside_the_house_leads_somewhere(page: Path) -> None:
    links = [link.partition("#")[0] for link in _LINK.findall(page.read_text("utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_heading_leads_to_one(page: Path) -> None:
    """By the rule of those who show Markdown: lower case, spaces become dashes, other signs go."""
    for link in _LINK.findall(page.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        if anchor and "://" not in link:
            text = (page.parent / path if path else page).read_text("utf-8")
            headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
            assert anchor in slugs, link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_a_page_names_exists(page: Path) -> None:
    named = re.findall(
        r"`((?:docs|tests|systemd|config|sources|domain|sinks|bench)/[\w./-]+|\w+\.(?:py|sql))`",
        page.read_text("utf-8"),
    )
    missing = [name for name in named if not (ROOT / name).exists() and not (HOUSE / name).exists()]
    assert missing == []


# --- words ------------------------------------------------------------------------------------------------------


def test_nothing_of_ours_is_named_by_a_word_that_says_nothing() -> None:
    names = {path.stem for path in SOURCES}
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(node.name)
    words = {word.lower().removesuffix("s") for name in names for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}
    assert words & FORBIDDEN == set()


def test_every_room_says_what_it_is_for() -> None:
    assert [path.name for path in SOURCES if path.name != "__main__.py" and not ast.get_docstring(tree(path))] == []
