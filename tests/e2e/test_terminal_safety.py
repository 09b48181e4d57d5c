"""Whatever stands in a foreign field, no command lets it steer the terminal, forge a line or draw anything."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.facts import EVERY_EVIDENCE
from support.outboxes import ARN, attempted, enqueued, notification
from support.steering import NOT_UNICODE, STEERING
from support.terminal import Terminal

from proton_tf_agent.domain import evidence as ev
from proton_tf_agent.domain.binding import Binding, Unbound
from proton_tf_agent.domain.evidence import Fact, Output
from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.domain.run import Basis, Run, RunStatus, Wrapped, Wrapper
from proton_tf_agent.domain.values import replace
from proton_tf_agent.journal import Journal, Recorded
from proton_tf_agent.receiver import Record, human_line, json_line

READING = (
    ["status"], ["runs", "list", "--limit", "500"], ["journal", "list", "--limit", "500"], ["journal", "tail"],
    ["journal", "list", "--parked"], ["journal", "verify"], ["replay", "--all", "--dry-run", "--force"],
    *(["runs", "show", f"run-{number}"] for number in range(0, len(STEERING), 5)),
    *(["journal", "show", str(seq)] for seq in (1, 2, 40, 41)),
)  # fmt: skip
# Every command in one process; each says where its output ends.
_SHELL = """
import json, sys
from proton_tf_agent import cli
for words in json.loads(sys.argv[1]):
    code = cli.main(words)
    print("END", code, flush=True)
"""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def filled_with(evidence: Any, text: str) -> Any:
    """Evidence with that text in every field that may hold one."""
    texts = {name: text for name in evidence.__struct_fields__ if isinstance(getattr(evidence, name), str)}
    for name in ("operation", "form"):
        if not isinstance(evidence, ev.LockTaken):
            texts.pop(name, None)
    return replace(evidence, **texts)


def fill(journal: Journal) -> None:
    """A run, its evidence, notifications and attempts for each text, which stands in every foreign field of them."""
    kinds = list({type(one): one for one in EVERY_EVIDENCE}.values())
    for number, text in enumerate(STEERING):
        run_id, path = f"run-{number}", f"/w/{text}"
        job = ev.Job(text, text, text, text, text)
        wrapped = Wrapped("0" * 32, wrapper=Wrapper.DONE, command=("terraform", text), job=job, exit_status=1)
        run = Run(
            run_id, path, 1000.0 + number, workspace=text, status=RunStatus.ERRORED, reason=text, basis=Basis.PROOF,
            ended_at=2000.0, tool=text, version=text, log_path=f"{path}/apply.log", lock_id=text, state_path=path,
            who=text, error_summary=text, error_address=text, errors=1, refused_by=text, wrapped=wrapped,
            outputs=(Output(text, json.dumps(text)),),
        )  # fmt: skip
        binding = Binding(ARN, None, False, text) if number % 2 else Unbound(text)
        told = replace(
            notification(number, Status.SUCCEEDED if number % 3 else Status.FAILED, run_id=run_id, text=text),
            outputs=((text, text),), omitted=((text, text),), directory=path, workspace=text,
        )  # fmt: skip
        with journal.transaction():
            journal.put_run(Recorded(run, binding, text))
            for at, evidence in enumerate(kinds):
                journal.put_evidence(run_id, text, path, Fact(filled_with(evidence, text), "a", at), None, 1000.0)
        (seq,) = enqueued(journal, told, sink=text if number % 4 == 3 else "proton")
        if number % 4 < 2:
            kind = OutcomeKind.INVALID if number % 4 else OutcomeKind.UNAVAILABLE
            for _ in range(2):
                attempted(journal, seq, outcome=Outcome(kind, text, 400, text))


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    with Journal.open_as_daemon(str(tmp_path / "kept" / "journal.db")) as journal:
        fill(journal)
    (tmp_path / "watched").mkdir()
    settings = tmp_path / "agent.toml"
    settings.write_text(
        f'[journal]\npath = "{tmp_path}/kept/journal.db"\n[[watch]]\npath = "{tmp_path}/watched"\n'
        f'[allow]\nresource_arns = ["arn:aws:proton:*"]\n[spool]\npath = "{tmp_path}/spool"\n'
        '[[sink]]\ntype = "console"\n'
    )
    return settings


def screen_of(directory: Path, words: Sequence[Sequence[str | bytes]], terminal: str) -> str:
    """What some commands show on a terminal."""
    listed = json.dumps([[os.fsdecode(word) for word in command] for command in words])
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLORTERM")}
    environment |= {"TERM": terminal, "PYTHONUTF8": "1", "PYTHONPATH": os.getcwd()}
    with Terminal([sys.executable, "-c", _SHELL, listed], directory, environment, (50, 160)) as opened:
        assert opened.end() == 0
        assert opened.screen.count(b"END") == len(words)
        return opened.screen.decode("utf-8")


def acts(screen: str) -> list[str]:
    """Every line of a screen in which something is not printable."""
    return [line for line in screen.split("\r\n") if not line.isprintable()]


@pytest.mark.timeout(180)
def test_no_command_lets_foreign_text_act_on_a_terminal(settings_file: Path) -> None:
    config = ["--config", str(settings_file)]
    words = [[*command, *config] for command in READING]
    plain = screen_of(settings_file.parent, words, "dumb")  # which can do nothing: whatever acts here is foreign
    assert acts(plain) == []
    coloured = screen_of(settings_file.parent, words, "xterm-256color")
    assert "\x1b[" in coloured
    assert acts(_COLOUR.sub("", coloured)) == []
    assert "\x1b[38;5;123m" not in coloured
    for screen in (plain, coloured):
        assert "forged" in screen
        assert "[red]markup[/red]" in screen
        assert "[link=http" in screen
        assert "\N{SMILING FACE WITH OPEN MOUTH AND SMILING EYES}" not in screen
        assert [number for number in range(len(STEERING)) if f"s{number}-" not in screen] == []


@pytest.mark.timeout(180)
def test_json_of_every_command_is_ascii_and_one_object_a_line(settings_file: Path) -> None:
    words = [[*command, "--json", "--config", str(settings_file)] for command in READING]
    screen = screen_of(settings_file.parent, words, "xterm-256color")
    rows = [json.loads(line) for line in screen.split("\r\n") if line and not line.startswith("END ")]
    assert screen.isascii()
    assert acts(screen) == []
    assert len(rows) > 3 * len(STEERING)
    assert any(row.get("status_message") == STEERING[0] for row in rows)


def test_mistakes_in_settings_do_not_act_on_a_terminal(tmp_path: Path) -> None:
    """They are the administrator's own; yet the file may have come from anywhere."""
    files = []
    for number, text in enumerate(STEERING):
        quoted = '"' + "".join(c if c.isalnum() else f"\\U{ord(c):08x}" for c in text) + '"'
        file = tmp_path / f"{number}.toml"
        keys = "".join(f"{key} = {quoted}\n" for key in ("type", "region", "endpoint_url"))
        file.write_text(
            f"[journal]\n{quoted} = 1\npath = {quoted}\n[[watch]]\npath = {quoted}\n[[sink]]\n{keys}"
            f"[{quoted}]\n[[bind]]\ndirectory = {quoted}\nresource_arn = {quoted}\n"
        )
        files.append(str(file))
    files.append(str(tmp_path / "torn.toml"))
    (tmp_path / "torn.toml").write_bytes(b"[journal]\npath = \x1b[31m\xff\n")
    screen = screen_of(tmp_path, [["config", "validate", file] for file in files], "dumb")
    assert acts(screen) == []
    assert "s0-" in screen


def test_names_that_a_person_gives_do_not_act_on_a_terminal_either(settings_file: Path) -> None:
    config = ["--config", str(settings_file)]
    given = [text.replace("\0", "") for text in (*STEERING, NOT_UNICODE.replace("\ud800", ""))]
    words = [[*command, text, *config] for text in given for command in (["runs", "show"], ["journal", "show"])]
    screen = screen_of(settings_file.parent, words, "dumb")
    assert acts(screen) == []


def test_what_the_receiver_prints_does_not_act_on_a_terminal() -> None:
    for text in (*STEERING, NOT_UNICODE):
        record = Record(1, 0.0, text, text, text, text, {text: text}, text)
        assert human_line(record).isprintable()
        assert json_line(record).isascii()
        assert json_line(record).isprintable()


def test_the_complaint_of_exec_does_not_act_on_a_terminal(tmp_path: Path) -> None:
    """The command that cannot be run is named."""
    for text in STEERING[::7]:
        command: list[str | bytes] = [
            sys.executable, "-m", "proton_tf_agent", "exec", "--", os.fsencode(text.replace("\0", "")),
        ]  # fmt: skip
        with Terminal(command, tmp_path, dict(os.environ) | {"PYTHONPATH": os.getcwd()}, (50, 160)) as opened:
            assert opened.end() == 127
            assert acts(opened.screen.decode("utf-8", "replace")) == []
            assert opened.screen.count(b"\r\n") == 1
