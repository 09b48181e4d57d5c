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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.outboxes import ARN, DEPLOYMENT, STEERING, attempted, enqueued, filled, notification, states

from proton_tf_agent import __version__, cli
from proton_tf_agent.domain.binding import Binding
from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.run import Basis, Run, RunStatus
from proton_tf_agent.journal import Journal, Recorded

COMMANDS_PAGE = Path(cli.__file__).parents[1] / "docs" / "commands.md"
DEADLINE_S = 20.0
HEAVY = ("boto3", "botocore", "hcl2", "watchdog", "structlog")
Output = pytest.CaptureFixture[str]


def every_command(parser: argparse.ArgumentParser | None = None, words: tuple[str, ...] = ()) -> Iterator[Any]:
    """(words, parser) of every command, groups left out."""
    parser = parser or cli._parser()
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


def run(capsys: Output, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command in this process."""
    try:
        code = cli.main(arguments)
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    out, err = capsys.readouterr()
    return code, out, err


def rows(capsys: Output, *arguments: str) -> list[dict[str, Any]]:
    """What a command says with --json."""
    code, out, _ = run(capsys, *arguments, "--json")
    assert code == 0
    assert out.isascii()
    return [json.loads(line) for line in out.splitlines()]


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


def documented(*commands: str) -> set[str]:
    """The keys docs/commands.md gives for commands."""
    page = " ".join(COMMANDS_PAGE.read_text("utf-8").split())
    found = re.search(", ".join(f"`{re.escape(c)}`" for c in commands) + r"(?: holds| adds)?:? `([^`]+)`", page)
    assert found, commands
    return set(re.sub(r"\[\{[^}]*\}\]|\[\.\.\.\]|[{},:]", " ", found[1]).split())


def documented_below(key: str) -> set[str]:
    page = " ".join(COMMANDS_PAGE.read_text("utf-8").split())
    found = re.search(rf"{key}: \[\{{([^}}]+)\}}\]", page)
    assert found, key
    return set(found[1].split())


ENTRY_KEYS = documented("journal list|show|tail")
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


def test_a_replay_has_the_documented_keys(journal: Journal, settings_file: str, capsys: Output) -> None:
    (row,) = rows(capsys, "replay", "--id", "3", "--config", settings_file)
    assert row.keys() == ENTRY_KEYS | documented_of_replay()
    assert (row["seq"], row["outcome"], row["refusal"], row["replay_seq"]) == (3, "replayed", None, 8)


def documented_of_replay() -> set[str]:
    page = COMMANDS_PAGE.read_text("utf-8")
    found = re.search(r"`replay`: a journal row and `([^`]+)`", page)
    assert found
    return set(found[1].split())


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


# --- replay -----------------------------------------------------------------------------------------------------


def dump(journal: Journal) -> list[str]:
    return list(journal._connection.iterdump())


def test_a_dry_run_changes_nothing_and_says_what_would_be_done(
    journal: Journal, settings_file: str, capsys: Output
) -> None:
    before = dump(journal)
    code, out, err = run(capsys, "replay", "--all", "--force", "--dry-run", "--config", settings_file)
    assert (code, err) == (0, "")
    assert out.count("would be replayed") == 6
    assert run(capsys, "replay", "--all", "--dry-run", "--config", settings_file)[0] == 3
    assert dump(journal) == before


def test_a_replay_says_what_it_did(journal: Journal, settings_file: str, capsys: Output) -> None:
    code, out, err = run(capsys, "replay", "--id", "ntf-3", "--sink", "proton", "--config", settings_file)
    assert (code, out, err) == (0, f"#3 SUCCEEDED of {ARN} to proton: replayed as #8\n", "")
    assert states(journal)[-1] == "pending"


def test_a_replay_that_is_refused_altogether_fails(journal: Journal, settings_file: str, capsys: Output) -> None:
    before = dump(journal)
    code, out, err = run(capsys, "replay", "--id", "1", "--config", settings_file)
    assert code == 1
    assert "refused: SUCCEEDED of #3 was told about this resource later" in out
    assert err == "refused entries can be replayed with --force\n"
    assert dump(journal) == before
    assert run(capsys, "replay", "--id", "1", "--force", "--config", settings_file)[0] == 0
    assert len(states(journal)) == 8


def test_a_replay_that_is_refused_in_part_says_so(journal: Journal, settings_file: str, capsys: Output) -> None:
    code, out, _ = run(capsys, "replay", "--run", "run-1", "--json", "--config", settings_file)
    assert code == 3
    told = [json.loads(line) for line in out.splitlines()]
    assert [(row["seq"], row["outcome"], row["replay_seq"]) for row in told] == [
        (1, "refused", None),
        (3, "replayed", 8),
        (7, "refused", None),
    ]
    assert told[0]["refusal"]


def test_what_is_damaged_is_refused_even_with_force(journal: Journal, settings_file: str, capsys: Output) -> None:
    journal._connection.execute("DROP TRIGGER outbox_body_is_immutable")
    journal._connection.execute("UPDATE outbox SET body = CAST('{' AS BLOB) WHERE seq = 3")
    code, out, err = run(capsys, "replay", "--id", "3", "--force", "--config", settings_file)
    assert (code, err) == (1, "")
    assert "damaged on disk" in out
    assert len(states(journal)) == 7


def test_a_replay_without_an_agent_says_when_it_is_sent(journal_path: str, settings_file: str, capsys: Output) -> None:
    with Journal.open_as_daemon(journal_path) as journal:
        (seq,) = enqueued(journal, notification(1, Status.SUCCEEDED))
        attempted(journal, seq)
    code, out, err = run(capsys, "replay", "--id", "1", "--config", settings_file)
    assert (code, out) == (0, f"#1 SUCCEEDED of {ARN} to proton: replayed as #2\n")
    assert err == "no agent is running: what was replayed is sent when one starts\n"


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (("--parked",), [4]),
        (("--undelivered", "--sink", "console"), [7]),
        (("--resource", ARN), [1, 3, 7]),
        (("--all", "--since", "1970-01-01T00:18:20", "--until", "1970-01-01T00:18:22.5Z"), [4, 5]),
        (("--until", "1970-01-01T01:17:00+01:00"), [1]),
        (("--since", "2h", "--parked"), []),
        (("--parked", "--since", "30000d"), [4]),
    ],
)
def test_a_replay_is_scoped(
    journal: Journal, settings_file: str, capsys: Output, scope: tuple[str, ...], expected: list[int]
) -> None:
    command = ("replay", *scope, "--dry-run", "--force", "--config", settings_file)
    assert [row["seq"] for row in rows(capsys, *command)] == expected
    code, out, err = run(capsys, *command)
    assert (code, err) == (0, "" if expected else "there is nothing like that to replay\n")
    assert [int(seq) for seq in re.findall(r"^#(\d+) ", out, re.MULTILINE)] == expected


@pytest.mark.parametrize(
    "scope",
    [
        (),
        ("--sink", "proton"),
        ("--id", "1", "--since", "2h"),
        ("--run", "run-1", "--resource", ARN),
        ("--parked", "--undelivered"),
        ("--all", "--since", "yesterday"),
        ("--all", "--since", "2x"),
        ("--all", "--until", "2026-13-01"),
        ("--all", "--from", "proton"),
        ("--all", "--from", "proton", "--sink", "proton"),
    ],
    ids=" ".join,
)
def test_a_replay_without_a_scope_that_makes_sense_is_a_usage_error(
    journal: Journal, settings_file: str, capsys: Output, scope: tuple[str, ...]
) -> None:
    code, out, err = run(capsys, "replay", *scope, "--config", settings_file)
    assert (code, out) == (2, "")
    assert err.startswith("usage: ")


def test_a_dry_run_shows_message_and_outputs_to_the_letter(
    journal: Journal, settings_file: str, capsys: Output
) -> None:
    command = ("replay", "--id", "3", "--dry-run", "--config", settings_file)
    (row,) = rows(capsys, *command)
    assert (row["status_message"], row["outputs"], row["outcome"]) == (
        "number 3", {"vpc_id": "vpc-3"}, "would be replayed",
    )  # fmt: skip
    lines = run(capsys, *command)[1].splitlines()
    assert [line.strip() for line in lines[1:]] == ["number 3", "output vpc_id = vpc-3"]


def test_what_a_sink_never_took_is_carried_over_to_one_of_the_settings(
    journal: Journal, settings_file: str, capsys: Output
) -> None:
    command = ("replay", "--undelivered", "--from", "proton", "--sink", "console", "--config", settings_file)
    done = rows(capsys, *command)
    assert [(row["seq"], row["sink"], row["replay_sink"], row["replay_seq"]) for row in done] == [
        (4, "proton", "console", 8), (5, "proton", "console", 9), (6, "proton", "console", 10),
    ]  # fmt: skip
    code, out, err = run(capsys, *command)
    assert (code, err) == (1, "refused entries can be replayed with --force\n")
    assert "from proton to console: refused: console has it already as #8 (pending)" in out
    code, out, err = run(capsys, *command[:-3], "nobody", "--config", settings_file)
    assert (code, out) == (2, "")
    assert "no [[sink]] is named 'nobody' (there is console)" in err


# --- discard ----------------------------------------------------------------------------------------------------


def test_giving_up_says_who_did_it_and_why_and_what_could_not_be_given_up(
    journal: Journal, settings_file: str, capsys: Output
) -> None:
    command = ("journal", "discard", "4", "ntf-5", "3", "--reason", "told\x1b by\nhand", "--config", settings_file)
    code, out, err = run(capsys, *command)
    assert (code, err) == (3, "")
    assert [line.rpartition(" to proton: ")[2] for line in out.splitlines()] == [
        "discarded", "discarded", "refused: it is delivered already",
    ]  # fmt: skip
    (listed,) = (row for row in rows(capsys, "journal", "list", "--config", settings_file) if row["seq"] == 4)
    assert listed["state"] == "discarded"
    assert re.fullmatch(r"\S+@\S+: told by hand \(it was parked: invalid\)", listed["reason"])
    assert "by hand (it was parked" in run(capsys, "explain", "run-2", "--config", settings_file)[1]
    assert run(capsys, *command)[0] == 1


def test_giving_up_has_the_documented_keys(journal: Journal, settings_file: str, capsys: Output) -> None:
    page = COMMANDS_PAGE.read_text("utf-8")
    found = re.search(r"`journal discard`: a journal row and `([^`]+)`", page)
    assert found
    (row,) = rows(capsys, "journal", "discard", "4", "--reason", "why", "--config", settings_file)
    assert row.keys() == ENTRY_KEYS | set(found[1].split())
    assert (row["state"], row["outcome"], row["refusal"]) == ("discarded", "discarded", None)


@pytest.mark.parametrize(
    "arguments",
    [("4",), ("4", "--reason", ""), ("4", "--reason", "x" * 501), ("99", "--reason", "x"), ("--reason", "x")],
)
def test_giving_up_needs_a_name_and_a_reason(
    journal: Journal, settings_file: str, capsys: Output, arguments: tuple[str, ...]
) -> None:
    before = dump(journal)
    assert run(capsys, "journal", "discard", *arguments, "--config", settings_file)[:2] == (2, "")
    assert dump(journal) == before


# --- prune ------------------------------------------------------------------------------------------------------


def over_and_done(journal: Journal) -> None:
    """Two runs of a resource of their own, one after the other, told to the end."""
    for number, began in ((101, 10.0), (102, 30.0)):
        run = Run(f"run-{number}", "/w/n", began, status=RunStatus.ERRORED, ended_at=began + 5)
        with journal.transaction():
            journal.put_run(Recorded(run, Binding(ARN + "9", DEPLOYMENT)))
        told = notification(number, Status.FAILED, ARN + "9", run_id=run.run_id, began=began)
        (seq,) = enqueued(journal, told, now=began)
        attempted(journal, seq, now=began)


def test_letting_go_has_the_documented_keys(journal: Journal, settings_file: str, capsys: Output) -> None:
    over_and_done(journal)
    command = ("journal", "prune", "--older-than", "30d", "--config", settings_file)
    counts = {"runs": 2, "entries": 1, "attempts": 1, "evidence": 0}  # with the historic one, of which nothing was told
    for extra, outcome in ((("--dry-run",), "would be pruned"), ((), "pruned")):
        (row,) = rows(capsys, *command, *extra)
        assert row.keys() == documented("journal prune")
        assert {key: row[key] for key in counts} == counts
        assert (row["outcome"], row["vacuumed"], row["bytes"]) == (outcome, False, os.stat(journal.path).st_size)
    assert run(capsys, *command)[1].startswith("0 runs, 0 entries, 0 attempts, 0 evidence pruned; ")


def test_the_file_is_written_anew_when_no_agent_holds_it(journal: Journal, settings_file: str, capsys: Output) -> None:
    command = ("journal", "prune", "--vacuum", "--config", settings_file)
    code, out, err = run(capsys, *command)
    assert (code, out) == (75, "")
    assert "another agent holds this journal" in err
    for number in range(100, 400):
        enqueued(journal, notification(number))
    for table in ("outbox", "attempt"):
        journal._connection.execute(f"DELETE FROM {table} WHERE seq > 7")
    journal.close()
    before = os.stat(journal.path).st_size
    (row,) = rows(capsys, *command)
    assert (row["vacuumed"], row["before"]) == (True, None)
    assert row["bytes"] < before
    assert run(capsys, "journal", "verify", "--config", settings_file)[0] == 0


@pytest.mark.parametrize("arguments", [(), ("--dry-run",), ("--older-than", "30"), ("--older-than", "2026-11-23")])
def test_letting_go_needs_an_age(
    journal: Journal, settings_file: str, capsys: Output, arguments: tuple[str, ...]
) -> None:
    assert run(capsys, "journal", "prune", *arguments, "--config", settings_file)[:2] == (2, "")


# --- verify -----------------------------------------------------------------------------------------------------


def test_a_sound_journal_is_said_to_be(journal: Journal, settings_file: str, capsys: Output) -> None:
    assert run(capsys, "journal", "verify", "--config", settings_file) == (0, f"{journal.path}: sound\n", "")
    assert run(capsys, "journal", "verify", "--json", "--config", settings_file) == (0, "", "")


def test_what_has_rotted_is_named_in_one_line_each(journal: Journal, settings_file: str, capsys: Output) -> None:
    journal._connection.execute("UPDATE outbox SET reason = char(27) WHERE seq = 4")
    what = "it is not what was written: its seal does not hold"
    code, out, err = run(capsys, "journal", "verify", "--config", settings_file)
    assert (code, out, err) == (1, f"outbox: seq 4 (ntf-4, run-2): {what}\n", "")
    code, out, _ = run(capsys, "journal", "verify", "--json", "--config", settings_file)
    assert (code, json.loads(out)) == (1, {"table": "outbox", "key": "seq 4 (ntf-4, run-2)", "what": what})
    assert json.loads(out).keys() == documented("journal verify")


def test_a_file_that_nothing_else_can_open_is_verified(journal: Journal, settings_file: str, capsys: Output) -> None:
    whole = Path(journal.path).read_bytes()
    Path(journal.path).write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    code, out, err = run(capsys, "journal", "verify", "--config", settings_file)
    assert (code, err) == (1, "")
    assert out.count("\n") > 3


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
