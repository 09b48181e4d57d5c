"""The command line: contracts for scripts, sentences for people, and nothing loaded that is not needed."""

from __future__ import annotations

import argparse
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.command_lines import COMMANDS_PAGE, ENTRY_KEYS, Output, documented, dump, rows, run
from support.outboxes import ARN, DEPLOYMENT, STEERING, enqueued, filled, notification

from proton_tf_agent import __version__, cli, health
from proton_tf_agent.domain.binding import Binding
from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.run import Basis, Run, RunStatus
from proton_tf_agent.health import Health
from proton_tf_agent.journal import Journal, Recorded

DEADLINE_S = 20.0
HEAVY = ("boto3", "botocore", "hcl2", "watchdog", "structlog")


def every_command(parser: argparse.ArgumentParser | None = None, words: tuple[str, ...] = ()) -> Iterator[Any]:
    """(words, parser) of every command, groups left out."""
    parser = parser or cli.parser()
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not groups:
        yield words, parser
    for group in groups:
        for name, below in group.choices.items():
            yield from every_command(below, (*words, name))


EVERY_COMMAND = [words for words, _ in every_command()]
READING = [
    ("status",),
    ("runs", "list"),
    ("runs", "show", "run-1"),
    ("explain", "run-1"),
    ("journal", "list"),
    ("journal", "show", "3"),
    ("journal", "tail"),
    ("journal", "verify"),
    ("replay", "--id", "3", "--dry-run"),
]


@pytest.fixture
def journal(journal: Journal) -> Journal:
    filled(journal)
    return journal


def ours(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "proton_tf_agent", *arguments]


class Started:
    """A command as a process of its own; its lines are read one by one, each in time or never."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(ours(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def next_row(self) -> dict[str, Any]:
        stdout = self.process.stdout
        assert stdout is not None
        line = b""
        with selectors.DefaultSelector() as waiting:
            waiting.register(stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                assert waiting.select(DEADLINE_S), "nothing comes"
                line += stdout.read(1)
        row: dict[str, Any] = json.loads(line)
        return row

    def end(self) -> tuple[int, bytes]:
        """Its exit code and what it said on stderr."""
        code = self.process.wait(DEADLINE_S)
        assert self.process.stderr is not None
        return code, self.process.stderr.read()


# --- the contract of --json -------------------------------------------------------------------------------------


def documented_below(key: str) -> set[str]:
    page = " ".join(COMMANDS_PAGE.read_text("utf-8").split())
    found = re.search(rf"{key}: \[\{{([^}}]+)\}}\]", page)
    assert found, key
    return set(found[1].split())


RUN_KEYS = documented("runs list")


def test_entries_have_the_documented_keys(journal: Journal, settings_file: str, capsys: Output) -> None:
    for command in ("list", "tail"):
        listed = rows(capsys, "journal", command, "--config", settings_file)
        assert [row["seq"] for row in listed] == [1, 2, 3, 4, 5, 6, 7]
        assert all(row.keys() == ENTRY_KEYS for row in listed)
    (shown,) = rows(capsys, "journal", "show", "3", "--config", settings_file)
    assert shown.keys() == ENTRY_KEYS | {"attempted"}
    assert [attempt.keys() for attempt in shown["attempted"]] == [documented_below("attempted")] * 2


def test_runs_have_the_documented_keys(journal: Journal, settings_file: str, capsys: Output) -> None:
    listed = rows(capsys, "runs", "list", "--config", settings_file)
    assert [row["run_id"] for row in listed] == ["run-2", "run-1", "run-3"]
    assert all(row.keys() == RUN_KEYS for row in listed)


@pytest.mark.parametrize("command", [("runs", "show"), ("explain",)])
def test_stories_have_the_documented_keys(
    journal: Journal, settings_file: str, capsys: Output, command: tuple[str, ...]
) -> None:
    (story,) = rows(capsys, *command, "run-1", "--config", settings_file)
    assert story.keys() == documented("runs show", "explain")
    assert story["run"].keys() == RUN_KEYS
    assert all(fact.keys() == documented_below("evidence") for fact in story["evidence"])
    assert all(told.keys() == ENTRY_KEYS | {"attempted"} for told in story["notifications"])


def test_the_status_has_the_documented_keys(journal: Journal, settings_file: str, capsys: Output) -> None:
    (row,) = rows(capsys, "status", "--config", settings_file)
    assert row.keys() == documented("status")
    assert row["agent"] == "running"
    assert all(sink.keys() == documented("sinks") for sink in row["sinks"])
    assert all(run_row.keys() == RUN_KEYS for run_row in row["open"] + row["recent"])


@pytest.mark.parametrize(
    ("age", "options", "code", "said"),
    [
        (10, ("--fail-on-lag", "1m"), 0, ""),
        (10, ("--fail-on-lag", "5s"), 1, "it lags 1"),
        (7200, ("--fail-on-lag", "1h"), 1, "it lags 7200 s behind, more than 3600 s"),
        (None, ("--fail-on-lag", "1h"), 1, "no agent was ever heard of"),
        (None, ("--fail-on-parked",), 0, ""),
    ],
)
def test_a_monitoring_script_is_told_by_the_exit_code_what_is_beyond_its_limits(
    journal_path: str, settings_file: str, capsys: Output, age: float | None, options: tuple[str, ...], code: int,
    said: str,
) -> None:  # fmt: skip
    now = time.time()
    with Journal.open_as_daemon(journal_path) as journal:
        enqueued(journal, notification(1), now=now - min(age or 0.0, 10))
    if age is not None:
        health.put(journal_path, Health(1, "1", now - age, now - age))
    got, out, err = run(capsys, "status", *options, "--config", settings_file)
    assert (got, bool(out)) == (code, True)
    assert said in err
    assert bool(err) == bool(code)


def test_a_monitoring_script_is_told_of_what_is_parked(journal: Journal, settings_file: str, capsys: Output) -> None:
    code, _, err = run(capsys, "status", "--fail-on-parked", "--config", settings_file)
    assert (code, err) == (1, "proton-tf-agent: 1 parked: see `proton-tf-agent journal list --parked`\n")


def test_watching_needs_a_terminal_or_json(journal: Journal, settings_file: str, capsys: Output) -> None:
    code, _, err = run(capsys, "status", "--watch", "--config", settings_file)
    assert code == 2
    assert "--watch needs a terminal, or --json" in err
    with Started("status", "--watch", "--json", "--config", settings_file) as watching:
        assert watching.next_row()["runs_open"] == watching.next_row()["runs_open"] == 1
        watching.process.send_signal(signal.SIGINT)
        assert watching.end() == (130, b"")


def test_a_directory_without_runs_has_the_documented_keys(
    journal: Journal, settings_file: str, tmp_path: Path, capsys: Output
) -> None:
    page = " ".join(COMMANDS_PAGE.read_text("utf-8").split())
    found = re.search(r"in which no run was seen, one object: `([^`]+)`; each of `outputs` has `([^`]+)`", page)
    assert found
    (tmp_path / "watched" / "main.tf").write_text('output "x" { value = 1 }')
    (row,) = rows(capsys, "explain", str(tmp_path / "watched"), "--config", settings_file)
    assert row.keys() == set(found[1].split())
    assert [output.keys() for output in row["outputs"]] == [set(found[2].split())]


def settle_something(journal: Journal) -> None:
    """Leave a run in the journal that nobody can tell the outcome of."""
    undetermined = Run("run-4", "/w/network", 990.0, status=RunStatus.UNDETERMINED, basis=Basis.INFERENCE, ended_at=999)
    with journal.transaction():
        journal.put_run(Recorded(undetermined, Binding(ARN, DEPLOYMENT)))


def test_settling_a_run_has_the_documented_keys(journal: Journal, settings_file: str, capsys: Output) -> None:
    settle_something(journal)
    command = ("runs", "settle", "run-4", "--as", "failed", "--reason", "seen", "--config", settings_file)
    (row,) = rows(capsys, *command)
    assert row.keys() == RUN_KEYS | {"notifications"}
    assert (row["status"], row["basis"]) == ("errored", "decision")
    (told,) = row["notifications"]
    assert told.keys() == ENTRY_KEYS
    assert (told["status"], told["state"], told["sink"]) == ("FAILED", "pending", "console")
    code, out, err = run(capsys, *command)
    assert (code, out) == (1, "")
    assert re.match(r"proton-tf-agent: run-4 cannot be settled: \S+@.* has settled it as failed already", err)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run-9", "--as", "failed", "--reason", "seen"), 2),
        (("run-1", "--as", "failed", "--reason", "seen"), 1),
        (("run-2", "--as", "failed", "--reason", "seen"), 1),
        (("run-4", "--as", "failed", "--reason", ""), 2),
        (("run-4", "--as", "failed", "--reason", "x" * 501), 2),
        (("run-4", "--as", "failed"), 2),
        (("run-4", "--as", "undetermined", "--reason", "seen"), 2),
        (("run-4", "--reason", "seen"), 2),
    ],
)
def test_what_cannot_be_settled_is_refused_and_nothing_changed(
    journal: Journal, settings_file: str, capsys: Output, arguments: tuple[str, ...], code: int
) -> None:
    settle_something(journal)
    before = dump(journal)
    assert run(capsys, "runs", "settle", *arguments, "--config", settings_file)[:2] == (code, "")
    assert dump(journal) == before


def test_settling_without_an_agent_says_when_it_is_told(journal_path: str, settings_file: str, capsys: Output) -> None:
    with Journal.open_as_daemon(journal_path) as journal:
        settle_something(journal)
    command = ("runs", "settle", "run-4", "--as", "succeeded", "--reason", "seen", "--config", settings_file)
    code, out, err = run(capsys, *command)
    assert code == 0
    assert re.match(r"run-4 settled as succeeded by \S+@", out)
    assert "#1 SUCCEEDED to console: pending" in out
    assert err == "no agent is running: it is told when one starts\n"


def test_the_version(capsys: Output) -> None:
    assert run(capsys, "version") == (0, f"proton-tf-agent {__version__}\n", "")
    assert rows(capsys, "version") == [{"version": __version__}]


# --- for people -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", EVERY_COMMAND, ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...], capsys: Output) -> None:
    code, out, err = run(capsys, *words, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: proton-tf-agent {' '.join(words)}")


@pytest.mark.parametrize("words", [(), ("runs",), ("journal",), ("config",)])
def test_so_does_every_group(words: tuple[str, ...], capsys: Output) -> None:
    assert run(capsys, *words, "--help")[0] == 0
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert "COMMAND" in err


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_no_foreign_text_steers_whoever_reads(
    journal: Journal, settings_file: str, capsys: Output, command: tuple[str, ...]
) -> None:
    wanted = ("explain", "run-2") if command[0] == "explain" else command
    for form in ((), ("--json",)):
        code, out, err = run(capsys, *wanted, *form, "--config", settings_file)
        assert code == 0, err
        assert all(line.isprintable() for line in out.split("\n"))


def test_what_is_piped_has_no_colour(journal: Journal, settings_file: str) -> None:
    environment = os.environ | {"TERM": "xterm-256color"}
    for command in (("status",), ("explain", "run-1"), ("journal", "list")):
        told = subprocess.run(
            ours(*command, "--config", settings_file), env=environment, capture_output=True, check=True
        )
        assert b"\x1b" not in told.stdout
        assert told.stderr == b""


def test_status_works_with_the_agent_down(journal_path: str, settings_file: str, capsys: Output) -> None:
    with Journal.open_as_daemon(journal_path) as journal:
        filled(journal)
    code, out, _ = run(capsys, "status", "--config", settings_file)
    assert code == 0
    assert "proton-tf-agent stopped" in out


def test_a_directory_may_be_named_as_one_types_it(
    journal: Journal, settings_file: str, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal._connection.execute("UPDATE run SET directory = ? WHERE run_id = 'run-1'", (str(tmp_path),))
    monkeypatch.chdir(tmp_path)
    for name in (".", str(tmp_path), f"{tmp_path}/"):
        listed = rows(capsys, "runs", "list", "--directory", name, "--config", settings_file)
        assert len(listed) == 1, name
        assert len(rows(capsys, "explain", name, "--config", settings_file)) == 1, name


def test_a_limit_limits(journal: Journal, settings_file: str, capsys: Output) -> None:
    assert len(rows(capsys, "runs", "list", "--limit", "1", "--config", settings_file)) == 1
    assert len(rows(capsys, "journal", "list", "--limit", "2", "--config", settings_file)) == 2
    assert len(rows(capsys, "journal", "list", "--limit", "9" * 30, "--config", settings_file)) == 7
    assert [row["seq"] for row in rows(capsys, "journal", "list", "--parked", "--config", settings_file)] == [4]
    for wrong in ("0", "-1", "x", "9" * 5000):
        assert run(capsys, "journal", "list", "--limit", wrong, "--config", settings_file)[0] == 2


# --- what goes wrong --------------------------------------------------------------------------------------------


def test_settings_that_are_missing_are_named_with_what_to_do(tmp_path: Path, capsys: Output) -> None:
    code, out, err = run(capsys, "status", "--config", str(tmp_path / "none.toml"))
    assert (code, out) == (78, "")
    assert err.startswith(f"proton-tf-agent: {tmp_path}/none.toml: does not exist")
    assert "config generate" in err


def test_every_mistake_in_the_settings_is_told_at_once(tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "agent.toml"
    path.write_text('[[watch]]\npath = "relative"\n\n[[sink]]\ntype = "protno"\n\n[run]\nsettel = 3\n')
    path.chmod(0o644)
    for command in (("config", "validate"), ("run",), ("status",)):
        code, out, err = run(capsys, *command, "--config", str(path))
        assert (code, out) == (78, "")
        assert [line.partition(" ")[0] for line in err.splitlines()] == ["proton-tf-agent:"] * 3
        for line, word in ((2, "absolute"), (5, "proton"), (8, "settle")):
            assert re.search(rf"agent\.toml:{line}: .*{word}", err), err


def test_many_files_are_validated_and_each_says_what_is_wrong(
    settings_file: str, tmp_path: Path, capsys: Output
) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[[watch]]\npath = 1\n")
    code, out, err = run(capsys, "config", "validate", str(broken), settings_file)
    assert code == 78
    assert out == f"{settings_file}: valid\n"
    assert f"{broken}:2" in err


def test_what_is_probably_not_meant_is_a_warning_and_an_error_if_asked_for(
    settings_file: str, tmp_path: Path, capsys: Output
) -> None:
    Path(settings_file).write_text(f'[[watch]]\npath = "{tmp_path}/nowhere"\n[[sink]]\ntype = "console"\n')
    for options, expected in (((), 0), (("--deny-warnings",), 1)):
        code, out, err = run(capsys, "config", "validate", *options, "--config", settings_file)
        assert (code, out) == (expected, f"{settings_file}: valid, with 1 warnings\n")
        assert err.startswith("warning: ")
        assert "nowhere does not exist yet" in err


def test_a_directory_says_which_resource_it_would_be_told_for_and_why(
    settings_file: str, tmp_path: Path, capsys: Output
) -> None:
    with open(settings_file, "a") as file:
        file.write(f'[[bind]]\ndirectory = "{tmp_path}/watched/net"\nresource_arn = "{ARN}"\n')
    net, other = str(tmp_path / "watched" / "net"), str(tmp_path / "watched" / "dns")
    os.mkdir(net)
    asked = ("config", "test-bind", net, "--config", settings_file)
    code, out, _ = run(capsys, *asked)
    assert code == 0
    assert f"{ARN}, because " in out
    assert "[[bind]]" in out
    code, out, _ = run(capsys, "config", "test-bind", net, other, "/elsewhere", "--json", "--config", settings_file)
    assert code == 1
    bound, unbound, unwatched = map(json.loads, out.splitlines())
    assert bound.keys() == documented("config test-bind")
    assert (bound["resource_arn"], unbound["resource_arn"], unwatched["watched_below"]) == (ARN, None, None)
    assert "no deployment metadata" in unbound["unbound_reason"]


def test_a_directory_of_no_resource_says_whom_it_would_be_told_to_and_as_what(
    settings_file: str, tmp_path: Path, capsys: Output
) -> None:
    net, other = str(tmp_path / "watched" / "net"), str(tmp_path / "watched" / "dns")
    with open(settings_file, "a") as file:
        file.write(f'unbound = true\n[[bind]]\ndirectory = "{net}"\nname = "network"\n')
    code, out, _ = run(capsys, "config", "test-bind", net, other, "--config", settings_file)
    assert code == 0
    assert "network, because [[bind]] says so; no Proton resource" in out
    assert "no deployment metadata and no [[bind]] for this directory: told to console by its directory" in out


def test_the_settings_are_those_of_the_option_else_of_the_environment(
    journal: Journal, settings_file: str, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cli.CONFIG_VARIABLE, settings_file)
    assert run(capsys, "status")[0] == 0
    assert run(capsys, "status", "--config", str(tmp_path / "none.toml"))[0] == 78
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(cli.CONFIG_VARIABLE, "none.toml")
    assert str(tmp_path / "none.toml") in run(capsys, "status")[2]
    monkeypatch.setenv(cli.CONFIG_VARIABLE, "agent.toml")
    assert run(capsys, "config", "validate")[:2] == (0, f"{settings_file}: valid\n")


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_journal_that_does_not_exist_yet_is_said_to_be(
    settings_file: str, journal_path: str, capsys: Output, command: tuple[str, ...]
) -> None:
    code, out, err = run(capsys, *command, "--config", settings_file)
    assert (code, out) == (78, "")
    assert err == f"proton-tf-agent: {journal_path}: there is no journal yet (has the agent been started once?)\n"
    assert not os.path.exists(os.path.dirname(journal_path))


def test_a_journal_that_others_may_read_is_refused(settings_file: str, journal: Journal, capsys: Output) -> None:
    os.chmod(journal.path, 0o644)
    code, _, err = run(capsys, "status", "--config", settings_file)
    assert code == 78
    assert f"chmod 0600 {journal.path}" in err


def test_a_journal_that_is_damaged_is_said_to_be(settings_file: str, journal: Journal, capsys: Output) -> None:
    journal.close()
    whole = Path(journal.path).read_bytes()
    Path(journal.path).write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    for command in (command for command in READING if command != ("journal", "verify")):
        code, _, err = run(capsys, *command, "--config", settings_file)
        assert code == 78, command
        assert re.fullmatch(rf"proton-tf-agent: {journal.path}: the journal cannot be read: .*\n", err)


@pytest.mark.parametrize(
    "command",
    [
        ("explain", "run-9"),
        ("runs", "show", "run-9"),
        ("explain", "/nowhere"),
        ("journal", "show", "99"),
        ("journal", "show", "9" * 30),
        ("journal", "show", STEERING),
        ("explain", STEERING),
        ("replay", "--id", "99"),
        ("replay", "--id", "9" * 30),
        ("replay", "--run", "run-9"),
        ("replay", "--all", "--sink", "nobody"),
    ],
)
def test_what_is_not_there_is_a_mistake_of_who_asked(
    journal: Journal, settings_file: str, capsys: Output, command: tuple[str, ...]
) -> None:
    code, out, err = run(capsys, *command, "--config", settings_file)
    assert (code, out) == (2, "")
    assert re.match(rf"proton-tf-agent: {journal.path}: ", err)
    assert err[:-1].isprintable()


@pytest.mark.parametrize(
    "command", [("replay",), ("replay", "--id", "1", "--all"), ("nonsense",), ("status", "--nonsense"), ("explain",)]
)
def test_a_command_line_that_makes_no_sense_is_a_usage_error(capsys: Output, command: tuple[str, ...]) -> None:
    code, out, err = run(capsys, *command)
    assert (code, out) == (2, "")
    assert err.startswith("usage: ")


# --- as a process -----------------------------------------------------------------------------------------------


def test_the_program_and_the_module_are_the_same() -> None:
    program = os.path.join(os.path.dirname(sys.executable), "proton-tf-agent")
    for command in ([program, "version"], ours("version")):
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        assert told.stdout == f"proton-tf-agent {__version__}\n"


def test_reading_and_asking_loads_nothing_heavy(journal: Journal, settings_file: str) -> None:
    program = (
        "import json, sys\nfrom proton_tf_agent import cli\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    try: cli.main(command)\n    except SystemExit: pass\n"
        "    print(*command[:2], '->', *sys.modules, file=sys.stderr)"
    )
    asking = [["--help"], ["version"], ["run", "--help"], ["config", "generate"], ["config", "schema"]]
    reading = [[*command, "--config", settings_file] for command in (("config", "validate"), *READING)]
    told = subprocess.run(
        [sys.executable, "-c", program, json.dumps(asking + reading)], capture_output=True, text=True, check=True
    )
    lines = told.stderr.splitlines()
    assert len(lines) == len(asking + reading)
    for line in lines:
        command, _, loaded = line.partition(" -> ")
        assert not {name.partition(".")[0] for name in loaded.split()} & set(HEAVY), command


NOT_TO_READ_A_JOURNAL = {
    "dataclasses",  # imports `inspect`, and makes a class in ten times the time that a Struct takes
    "importlib.resources", "zipfile", "asyncio", "email",
    "proton_tf_agent.journal", "proton_tf_agent.journal_upkeep",
    *(f"proton_tf_agent.domain.{name}" for name in (
        "circuit", "composition", "correlation", "credentials", "cursors", "evidence", "outbox", "outputs", "redaction",
        "retry", "routing", "status_message", "taint", "transitions",
    )),
}  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [("status",), ("status", "--json"), ("journal", "list"), ("journal", "show", "1"), ("runs", "list")],
    ids=" ".join,
)
def test_who_reads_the_journal_loads_nothing_of_what_is_decided_and_delivered(
    journal: Journal, settings_file: str, command: tuple[str, ...]
) -> None:
    """Nor what else takes longer to import than the command to answer."""
    program = (
        "import sys; from proton_tf_agent import cli; cli.main(sys.argv[1:]); "
        "print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    arguments = [sys.executable, "-c", program, *command, "--config", settings_file]
    said = subprocess.run(arguments, capture_output=True, text=True, check=True)
    loaded = set(said.stderr.split())
    assert "proton_tf_agent.journal_reading" in loaded
    assert not loaded & NOT_TO_READ_A_JOURNAL


@pytest.mark.parametrize("word", sorted({words[0] for words in EVERY_COMMAND}))
def test_the_parser_that_is_made_for_one_word_knows_its_commands_as_the_whole_one_does(word: str) -> None:
    def helps(parser: argparse.ArgumentParser) -> dict[tuple[str, ...], str]:
        return {words: below.format_help() for words, below in every_command(parser) if words[0] == word}

    assert helps(cli.parser(word)) == helps(cli.parser())
    assert helps(cli.parser())


@pytest.mark.parametrize("word", ["", "-h", "--version", "statu", "no-such"])
def test_for_a_word_that_begins_no_command_the_parser_is_the_whole(word: str) -> None:
    assert cli.parser(word).format_help() == cli.parser().format_help()


def test_tail_shows_the_last_entries_at_once_and_new_ones_as_they_come_until_interrupted(
    journal: Journal, settings_file: str
) -> None:
    with Started("journal", "tail", "-f", "--limit", "2", "--json", "--config", settings_file) as tail:
        assert [tail.next_row()["seq"] for _ in range(2)] == [6, 7]
        enqueued(journal, notification(50), notification(51, Status.FAILED))
        assert [tail.next_row()["seq"] for _ in range(2)] == [8, 9]
        tail.process.send_signal(signal.SIGINT)
        assert tail.end() == (130, b"")


def test_tail_ends_quietly_when_nobody_reads_any_more(journal: Journal, settings_file: str) -> None:
    with Started("journal", "tail", "-f", "--json", "--config", settings_file) as tail:
        assert tail.next_row()["seq"] == 1
        assert tail.process.stdout is not None
        tail.process.stdout.close()
        enqueued(journal, notification(50))
        assert tail.end() == (0, b"")


@pytest.mark.parametrize(
    "command", [("status",), ("explain", "run-1"), ("journal", "list"), ("version",)], ids=" ".join
)
def test_a_pipe_that_nobody_reads_is_no_error(journal: Journal, settings_file: str, command: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with_config = ("--config", settings_file) if command in READING else ()
    try:
        told = subprocess.run(ours(*command, *with_config), stdout=writing, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writing)
    assert (told.returncode, told.stderr) == (0, b"")


def test_a_terminal_that_knows_no_unicode_is_no_error(journal: Journal, settings_file: str) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    for command in (("status",), ("explain", "run-1"), ("journal", "show", "3")):
        told = subprocess.run(ours(*command, "--config", settings_file), env=environment, capture_output=True)
        assert (told.returncode, told.stderr) == (0, b"")
