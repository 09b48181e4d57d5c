"""The commands about the journal: scopes, refusals, what is kept and what is let go, for scripts and for people."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from support.command_lines import COMMANDS_PAGE, ENTRY_KEYS, Output, documented, dump, rows, run
from support.outboxes import ARN, DEPLOYMENT, OTHER_ARN, attempted, enqueued, filled, notification, states

from proton_tf_agent.domain.binding import Binding
from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.run import Run, RunStatus
from proton_tf_agent.journal import Journal, Recorded


@pytest.fixture
def journal(journal: Journal) -> Journal:
    filled(journal)
    return journal


def test_entries_are_found_by_journalctls_letters(journal: Journal, settings_file: str, capsys: Output) -> None:
    def seqs(*options: str) -> list[int]:
        return [row["seq"] for row in rows(capsys, "journal", "list", *options, "--config", settings_file)]

    assert seqs("-n", "2") == [6, 7]
    assert seqs("-n", "2", "-r") == [7, 6]
    assert seqs("-g", "number 3") == [3, 7]
    assert seqs("-g", "NUMBER 3") == [], "an upper-case letter asks for itself"
    assert seqs("-g", "^(delivered|pending)$", "-n", "2") == [3, 6]
    assert seqs("-g", "delivered", "-n", "1") == [3]
    assert seqs("--sink", "console") == [7]
    assert seqs("--status", "FAILED", "--resource", OTHER_ARN, "--since", "1970-01-01T00:18:21") == [5, 6]
    assert seqs("--status", "FAILED", "--until", "1970-01-01T00:18:21") == [4]
    assert seqs("--parked", "--resource", ARN) == []
    assert seqs("--parked", "-g", "environment/dns") == [4]
    code, _, err = run(capsys, "journal", "list", "-g", "(", "--config", settings_file)
    assert (code, "'(' is no regular expression" in err) == (2, True)


def test_what_is_parked_is_listed_until_a_replay_has_delivered_it(
    journal: Journal, settings_file: str, capsys: Output
) -> None:
    listing = ("journal", "list", "--parked", "--config", settings_file)
    (row,) = rows(capsys, *listing)
    assert row.keys() == ENTRY_KEYS
    assert (row["seq"], row["failing"], row["resolved_by"]) == (4, "invalid", None)
    assert "to do" in run(capsys, *listing)[1]
    (replayed,) = rows(capsys, "replay", "--parked", "--force", "--config", settings_file)
    for seq in (5, 6, replayed["replay_seq"]):  # its line is kept in order
        attempted(journal, seq)
    assert rows(capsys, *listing) == []
    assert run(capsys, *listing)[1] == "nothing is parked\n"
    (row,) = rows(capsys, "journal", "list", "--resolved", "--config", settings_file)
    assert (row["seq"], row["resolved_by"]) == (4, {"seq": 8, "sink": "proton"})
    (status,) = rows(capsys, "status", "--config", settings_file)
    assert status["parked"] == 0


# --- replay -----------------------------------------------------------------------------------------------------


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


def test_a_replay_has_the_documented_keys(journal: Journal, settings_file: str, capsys: Output) -> None:
    (row,) = rows(capsys, "replay", "--id", "3", "--config", settings_file)
    assert row.keys() == ENTRY_KEYS | documented_of_replay()
    assert (row["seq"], row["outcome"], row["refusal"], row["replay_seq"]) == (3, "replayed", None, 8)


def documented_of_replay() -> set[str]:
    page = COMMANDS_PAGE.read_text("utf-8")
    found = re.search(r"`replay`: a journal row and `([^`]+)`", page)
    assert found
    return set(found[1].split())
