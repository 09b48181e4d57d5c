"""A program is told on its standard input; it is the operator's and nobody else's, and nothing of it stays behind."""

from __future__ import annotations

import json
import os
import select
import signal
from pathlib import Path

import jsonschema
import pytest
from support.command_lines import Output, run
from support.hooks import SCHEMA
from support.outboxes import notification
from support.rigs.exec import write_program

from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.domain.values import replace
from proton_tf_agent.settings import load
from proton_tf_agent.sink_assembly import make_sink
from proton_tf_agent.sinks.exec import ExecSink

TOLD = replace(notification(1, Status.SUCCEEDED), deployment_id=None)
ACCEPTED = Outcome(OutcomeKind.ACCEPTED)


def sink_for(program: Path | str, *arguments: str, timeout: float = 20.0, roots: tuple[str, ...] = ()) -> ExecSink:
    return ExecSink("exec", str(program), arguments, timeout, roots, "proton-tf-agent://here")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return tmp_path / "tell"


def test_it_gets_the_event_its_arguments_and_nothing_of_the_agents_environment(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("LD_PRELOAD", "")
    write_program(
        str(program), f'cat >{tmp_path}/in; env >{tmp_path}/env; printf "%s|" "$0" "$@" "$PWD" >{tmp_path}/args; umask'
    )
    assert sink_for(program, "--a b", "$(id)").send(TOLD) == ACCEPTED
    event = json.loads((tmp_path / "in").read_bytes())
    jsonschema.validate(event, SCHEMA, format_checker=jsonschema.FormatChecker())
    assert event["data"]["outputs"] == {"vpc_id": "vpc-1"}
    assert (tmp_path / "args").read_text() == f"{program}|--a b|$(id)|/|"
    found = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    found = {name: value for name, value in found.items() if name not in ("PWD", "OLDPWD", "SHLVL", "_")}  # the shell's
    assert found == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PROTON_TF_AGENT_SINK": "exec",
        "PROTON_TF_AGENT_NOTIFICATION_ID": "ntf-1",
        "PROTON_TF_AGENT_RUN_ID": "run-1",
        "PROTON_TF_AGENT_RUN_STATUS": "applied",
        "PROTON_TF_AGENT_STATUS": "SUCCEEDED",
    }


def test_no_descriptor_of_the_agent_is_open_in_it(program: Path, tmp_path: Path) -> None:
    precious = os.open(tmp_path / "precious", os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(precious, True)
    try:
        write_program(str(program), f"ls -l /proc/$$/fd >{tmp_path}/fds")
        assert sink_for(program).send(TOLD) == ACCEPTED
    finally:
        os.close(precious)
    assert "precious" not in (tmp_path / "fds").read_text()


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("exit 0", ACCEPTED),
        ("exit 75", Outcome(OutcomeKind.UNAVAILABLE, "ExitStatus75")),
        ("exit 1", Outcome(OutcomeKind.INVALID, "ExitStatus1")),
        ("exit 64", Outcome(OutcomeKind.INVALID, "ExitStatus64")),
        ("kill -SEGV $$", Outcome(OutcomeKind.UNAVAILABLE, "Signal11", ambiguous=True)),
        ("yes secret | head -c 5000000; yes secret | head -c 5000000 >&2", ACCEPTED),
    ],
)
def test_its_exit_status_is_its_answer_and_what_it_prints_is_not_kept(
    program: Path, body: str, outcome: Outcome, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whether it reads its input or not."""
    write_program(str(program), body)
    assert sink_for(program).send(TOLD) == outcome
    assert capfd.readouterr() == ("", "")


def ends(pid_file: Path) -> bool:
    """Whether a process ends within ten seconds, or has."""
    try:
        fd = os.pidfd_open(int(pid_file.read_text()))
    except ProcessLookupError:
        return True
    try:
        waiting = select.poll()
        waiting.register(fd, select.POLLIN)
        return bool(waiting.poll(10_000))
    finally:
        os.close(fd)


@pytest.mark.parametrize("end", ["exit 0", "sleep 600", "trap '' TERM; while :; do sleep 600; done"])
def test_nothing_of_its_group_outlives_it(program: Path, tmp_path: Path, end: str) -> None:
    """Neither after it has ended by itself nor when its time is over, whether it heeds SIGTERM or not."""
    write_program(
        str(program),
        f"(trap '' TERM; sleep 600) & echo $! >{tmp_path}/child.new; echo $$ >{tmp_path}/own\n"
        f"mv {tmp_path}/child.new {tmp_path}/child; {end}",
    )
    outcome = sink_for(program, timeout=1.0).send(TOLD)
    expected = ACCEPTED if end == "exit 0" else Outcome(OutcomeKind.UNAVAILABLE, "ProgramTimedOut", ambiguous=True)
    assert outcome == expected
    assert ends(tmp_path / "child")
    assert not Path(f"/proc/{(tmp_path / 'own').read_text().strip()}").exists(), "reaped, too"


def test_it_is_asked_to_end_before_it_is_made_to(program: Path, tmp_path: Path) -> None:
    write_program(str(program), f"trap 'echo asked >{tmp_path}/asked; exit 0' TERM; sleep 600 & wait")
    assert sink_for(program, timeout=0.5).send(TOLD).code == "ProgramTimedOut"
    assert (tmp_path / "asked").read_text() == "asked\n"


def test_its_end_does_not_touch_the_group_of_the_agent(program: Path) -> None:
    got: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: got.append(number))
    try:
        write_program(str(program), "kill -TERM 0; sleep 600")
        assert sink_for(program, timeout=5).send(TOLD).code == "Signal15"
    finally:
        signal.signal(signal.SIGTERM, before)
    assert got == []


# --- whose it is --------------------------------------------------------------------------------------------------


def refused(program: Path, root: Path | None = None) -> str:
    outcome = sink_for(program, roots=(str(root),) if root else ()).send(TOLD)
    assert outcome.kind is OutcomeKind.UNAVAILABLE
    assert not outcome.ambiguous
    return outcome.code


def test_a_program_that_others_may_write_replace_or_lead_elsewhere_is_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    body = f"touch {ran}"
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    program = inner / "tell"
    write_program(str(program), body)
    assert sink_for(program).send(TOLD) == ACCEPTED
    ran.unlink()

    for place, mode in ((program, 0o757), (program, 0o775), (inner, 0o777), (inner.parent, 0o775)):
        before = place.stat().st_mode & 0o7777
        place.chmod(mode)
        assert refused(program) == "ProgramOpenToOthers", place
        place.chmod(before)
    link = tmp_path / "link"
    link.symlink_to("a/../a/b/tell")
    assert sink_for(link).send(TOLD) == ACCEPTED
    ran.unlink()
    open_place = tmp_path / "open"
    open_place.mkdir()
    (open_place / "via").symlink_to(program)
    open_place.chmod(0o777)
    far = tmp_path / "far"
    far.symlink_to("open/via")
    assert refused(open_place / "via") == "ProgramOpenToOthers", "a link in a place that others may write"
    assert refused(far) == "ProgramOpenToOthers", "and one that leads there"
    assert not ran.exists()


def test_a_program_of_another_user_is_not_run(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(str(program), f"touch {tmp_path}/ran")
    if os.geteuid() == 0:
        os.chown(program, 12345, 12345)
    else:  # only root gives files away
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert refused(program) == "ProgramIsNotOurs"
    assert not (tmp_path / "ran").exists()


def test_a_program_below_a_watch_root_is_not_run_by_any_way(tmp_path: Path) -> None:
    root, aside = tmp_path / "watched", tmp_path / "aside"
    (root / "deep").mkdir(parents=True)
    write_program(str(root / "deep" / "tell"), f"touch {tmp_path}/ran")
    aside.symlink_to(root)
    (tmp_path / "link").symlink_to("watched/deep/tell")
    (root / "out").symlink_to("/bin/true")
    for path in (root / "deep" / "tell", aside / "deep" / "tell", tmp_path / "link", root / "out"):
        assert refused(path, root) == "ProgramBelowWatchRoot"
        assert refused(path, aside) == "ProgramBelowWatchRoot"
    assert not (tmp_path / "ran").exists()
    beside = tmp_path / "watched-too"
    write_program(str(beside), "exit 0")
    assert sink_for(beside, roots=(str(root),)).send(TOLD) == ACCEPTED


def test_what_is_no_program_waits_for_one(tmp_path: Path) -> None:
    program = tmp_path / "tell"
    assert refused(program) == "ENOENT"
    program.mkdir()
    assert refused(program) == "ProgramIsNoFile"
    program.rmdir()
    program.symlink_to("tell")
    assert refused(program) == "ELOOP"
    program.unlink()
    program.write_bytes(b"\x00\x01")
    program.chmod(0o644)
    assert refused(program) == "EACCES"
    program.chmod(0o755)
    assert refused(program) == "ENOEXEC"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("", "[[sink]] program: is missing"),
        ('program = "tell"', "must be an absolute path"),
        ('program = "{root}/tell"', "lies inside the watch root"),
        ('program = "{open}"', "can be written by others than its owner (mode 0777)"),
        ('program = "/bin/true"\narguments = "x"', "must be an array"),
        ('program = "/bin/true"\ntimeout = "1h"', "must be from 100ms to 5m"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    settings_file: str, tmp_path: Path, capsys: Output, keys: str, said: str
) -> None:
    root = load(settings_file).watch[0].path
    (tmp_path / "open").touch()
    (tmp_path / "open").chmod(0o777)
    with open(settings_file, "a") as file:
        file.write('[[sink]]\ntype = "exec"\n' + keys.format(root=root, open=tmp_path / "open") + "\n")
    code, _, err = run(capsys, "config", "validate", "--config", settings_file)
    assert (code, said in err) == (78, True), err


def test_the_sink_knows_the_watch_roots_of_the_settings(settings_file: str, tmp_path: Path) -> None:
    """The link is made after the settings were read."""
    root = Path(load(settings_file).watch[0].path)
    root.mkdir(exist_ok=True)
    with open(settings_file, "a") as file:
        file.write(f'[[sink]]\ntype = "exec"\nprogram = "{tmp_path}/link"\n')
    settings = load(settings_file)
    write_program(str(root / "tell"), "exit 0")
    (tmp_path / "link").symlink_to(root / "tell")
    outcome = make_sink(settings.sink[-1], settings).send(TOLD)
    assert outcome == Outcome(OutcomeKind.UNAVAILABLE, "ProgramBelowWatchRoot")
