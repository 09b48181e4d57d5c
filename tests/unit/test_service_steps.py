"""`service install` and `uninstall`: which steps there are, that they are taken once, and what is never touched.

Files are real, below a directory of the test; users and systemctl are those of `tests/machine/test_service.py`.
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest

from proton_tf_agent import cli, settings
from proton_tf_agent.domain.errors import AgentError, UsageInvalid
from proton_tf_agent.service import steps, unit
from proton_tf_agent.service.host import Account, Host
from proton_tf_agent.service.steps import Step, Wanted

ROOT = Path(__file__).parents[2]
PYTHON = "/opt/proton-tf-agent/bin/python"
WANTED = Wanted(PYTHON, ("/opt/proton-tf-agent", "/usr"), ("runners",), ("/home/runner/_work",))


class HostBelow(Host):
    """A host below a directory. Its one user is whoever runs the test, once he was made."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.commands: list[tuple[str, ...]] = []
        self.has_user = False

    def account(self, user: str, groups: object = ()) -> Account | None:
        here = Account(os.getuid(), os.getgid(), (os.getgid(),))
        return here if user == "root" or self.has_user else None

    def is_known_to_systemd(self, unit: str) -> bool:
        return False

    def run(self, *command: str) -> None:
        self.commands.append(command)
        self.has_user |= command[0] == "useradd"

    def stop(self, unit: str) -> None:
        self.commands.append(("stop", unit))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in ("etc/systemd/system", "var/lib", "var/spool"):
        (tmp_path / path).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def host(root: Path) -> HostBelow:
    return HostBelow(root)


def take(listed: list[Step]) -> list[str]:
    """Take every step that is not done; returns what was done."""
    taken = [step for step in listed if not step.is_done]
    for step in taken:
        step.take()
    return [step.what for step in taken]


def tree(root: Path) -> dict[str, tuple[int, bytes | None]]:
    """Every path with its mode and content."""
    return {
        str(path.relative_to(root)): (path.stat().st_mode, path.read_bytes() if path.is_file() else None)
        for path in root.rglob("*")
    }


def test_an_installation_is_a_user_directories_settings_unit_and_drop_in(host: HostBelow, root: Path) -> None:
    assert len(take(steps.install(host, WANTED))) == 9
    made_user, reloaded = host.commands
    assert made_user[:2] == ("useradd", "--system")
    assert made_user[-1] == unit.USER
    assert reloaded == ("systemctl", "daemon-reload")
    modes = {
        steps.SETTINGS: 0o755,
        steps.PARTS: 0o755,
        steps.JOURNAL: 0o700,
        steps.SPOOL: 0o3733,
        steps.SETTINGS_FILE: 0o644,
    }
    modes |= {steps.UNIT_FILE: 0o644, steps.DROP_IN_FILE: 0o644}
    for path, mode in modes.items():
        assert stat.S_IMODE(os.stat(f"{root}{path}").st_mode) == mode, path
    assert "SupplementaryGroups=runners" in (root / steps.DROP_IN_FILE[1:]).read_text("utf-8").splitlines()


def test_to_list_the_steps_changes_nothing(host: HostBelow, root: Path) -> None:
    before = tree(root)
    assert not any(step.is_done for step in steps.install(host, WANTED))
    assert all(step.is_done for step in steps.uninstall(host, purge=True))
    assert tree(root) == before
    assert host.commands == []


def test_a_second_installation_finds_everything_as_it_is(host: HostBelow, root: Path) -> None:
    take(steps.install(host, WANTED))
    before, host.commands = tree(root), []
    assert take(steps.install(host, WANTED)) == []
    assert take(steps.install(host, Wanted(PYTHON, WANTED.prefixes))) == [], "what was wanted once stays"
    assert tree(root) == before
    assert host.commands == []


def test_a_newer_unit_takes_the_place_of_an_older_one_and_systemd_is_told(host: HostBelow, root: Path) -> None:
    take(steps.install(host, WANTED))
    (root / steps.UNIT_FILE[1:]).write_text("[Service]\n")
    host.commands = []
    assert take(steps.install(host, WANTED)) == [f"replace {steps.UNIT_FILE}", "let systemd read its units again"]


def test_settings_that_are_there_are_never_written_over(host: HostBelow, root: Path) -> None:
    mine = root / steps.SETTINGS_FILE[1:]
    mine.parent.mkdir()
    mine.write_text("# mine\n")
    take(steps.install(host, WANTED))
    take(steps.uninstall(host, purge=False))
    assert mine.read_text() == "# mine\n"


def test_the_settings_it_writes_can_be_used_and_watch_what_was_named(root: Path, host: HostBelow) -> None:
    watches = ("/home/runner/_work", "/srv/a \"b'")
    take(steps.install(host, Wanted(PYTHON, ("/usr",), (), watches)))
    loaded = settings.load(f"{root}{steps.SETTINGS_FILE}")
    assert tuple(watch.path for watch in loaded.watch) == watches
    assert (root / steps.SETTINGS_FILE[1:]).read_text("utf-8").count("# A directory that is watched") == 1


def test_taken_away_journal_settings_and_user_stay(host: HostBelow, root: Path) -> None:
    before = tree(root)
    take(steps.install(host, WANTED))
    (root / steps.JOURNAL[1:] / "journal.db").write_bytes(b"kept")
    host.commands = []
    take(steps.uninstall(host, purge=False))
    assert host.commands == [("stop", unit.NAME), ("systemctl", "daemon-reload")]
    left = tree(root).keys() - before.keys()
    assert left == {
        path[1:]
        for path in (steps.JOURNAL, f"{steps.JOURNAL}/journal.db", steps.SETTINGS, steps.PARTS, steps.SETTINGS_FILE)
    }
    said = "\n".join(steps.left_behind(host))
    assert all(word in said for word in (steps.JOURNAL, steps.SETTINGS, unit.USER))


def test_records_nobody_has_read_and_drop_ins_of_others_are_left_and_said(host: HostBelow, root: Path) -> None:
    take(steps.install(host, WANTED))
    record, mine = root / steps.SPOOL[1:] / "0f.json", root / steps.DROP_INS[1:] / "override.conf"
    record.write_text("{}")
    mine.write_text("[Service]\n")
    take(steps.uninstall(host, purge=False))
    assert record.exists()
    assert mine.exists()
    assert not (root / steps.DROP_IN_FILE[1:]).exists()
    said = "\n".join(steps.left_behind(host))
    assert steps.SPOOL in said
    assert steps.DROP_INS in said


def test_purged_nothing_is_left(host: HostBelow, root: Path) -> None:
    before = tree(root)
    take(steps.install(host, WANTED))
    (root / steps.JOURNAL[1:] / "journal.db").write_bytes(b"gone")
    (root / steps.SPOOL[1:] / "0f.json").write_text("{}")
    host.commands = []
    take(steps.uninstall(host, purge=True))
    assert tree(root) == before
    assert host.commands[-1] == ("userdel", unit.USER)


def test_what_lies_in_the_place_of_a_directory_is_not_given_away(host: HostBelow, root: Path) -> None:
    """A link there could lead to anything."""
    (root / "secret").mkdir()
    (root / steps.SPOOL[1:]).symlink_to(root / "secret")
    mode = (root / "secret").stat().st_mode
    with pytest.raises(AgentError, match="cannot be made"):
        take(steps.install(host, WANTED))
    assert (root / "secret").stat().st_mode == mode


# --- the unit and its drop-in ----------------------------------------------------------------------------------------


def test_the_unit_that_is_installed_is_the_one_of_the_house() -> None:
    text = (ROOT / "systemd" / unit.NAME).read_text("utf-8")
    assert unit.unit(PYTHON, ("/opt/proton-tf-agent", "/usr", "/usr/local")) == text
    moved = unit.unit("/opt/pipx/venvs/proton-tf-agent/bin/python", ("/opt/pipx/venvs/proton-tf-agent", "/usr"))
    assert "/opt/proton-tf-agent/bin" not in moved
    changed = set(moved.splitlines()) - set(text.splitlines())
    assert {line.partition("=")[0] for line in changed} == {"ExecStart", "ExecReload"}


def test_a_python_where_nothing_else_may_be_executed_is_let_be_executed() -> None:
    moved = unit.unit("/srv/tools/agent/bin/python", ("/srv/tools/agent", "/usr", "/srvs"))
    lines = moved.splitlines()
    assert lines[lines.index("ExecPaths=/srv/tools/agent") - 1].startswith("NoExecPaths=")


@pytest.mark.parametrize(
    ("groups", "watches", "lines"),
    [
        ((), (), []),
        ((), ("/srv/infra",), []),
        (("runners", "docker"), (), ["SupplementaryGroups=runners docker"]),
        ((), ("/tmp/runs",), ["PrivateTmp=no"]),
        ((), ("/var/tmp/runs\nUser=root",), ["PrivateTmp=no"]),
        ((), ("/tmpfs",), []),
    ],
)
def test_a_drop_in_says_what_the_host_needs_and_nothing_else(
    groups: tuple[str, ...], watches: tuple[str, ...], lines: list[str]
) -> None:
    text = unit.drop_in(groups, watches)
    assert [line for line in text.splitlines() if line and line[0] not in "#["] == lines
    assert bool(text) == bool(lines)


# --- the host ---------------------------------------------------------------------------------------------------------


def test_a_runner_is_known_by_his_own_group_and_one_that_does_not_exist_is_refused() -> None:
    me = pwd.getpwuid(os.getuid()).pw_name
    assert Host().group_of(me)
    with pytest.raises(UsageInvalid, match="no user 'nobody-of-that-name'"):
        Host().group_of("nobody-of-that-name")


def test_what_keeps_the_agent_from_a_directory_is_named_place_by_place(tmp_path: Path) -> None:
    """Asked of the kernel, so that groups and ACLs count."""
    stranger = Account(65534, 65534, ())
    watched = tmp_path / "home" / "runner" / "_work"
    watched.mkdir(parents=True)
    for parent in tmp_path.parents:
        if str(parent).startswith("/tmp/"):
            os.chmod(parent, 0o755)
    os.chmod(tmp_path, 0o755)
    assert list(Host().obstacles(str(watched), stranger)) == []
    os.chmod(watched, 0o750)
    os.chmod(tmp_path / "home", 0o700)
    assert list(Host().obstacles(str(watched), stranger)) == [(str(tmp_path / "home"), "x"), (str(watched), "rx")]
    assert list(Host().obstacles(str(watched), Account(65534, os.getgid(), ()))) == [(str(tmp_path / "home"), "x")]


def test_a_python_that_others_cannot_reach_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o700)
    python = tmp_path / "python"
    python.symlink_to("/usr/bin/env")
    with pytest.raises(AgentError, match=r"no other user can start it: Permission denied .*docs/install.md"):
        Host().demand_that_others_can_start(str(python))


def test_a_command_that_fails_is_said_with_its_own_words() -> None:
    with pytest.raises(AgentError, match=r"ls /no/such/place: .*No such file"):
        Host().run("ls", "/no/such/place")
    with pytest.raises(AgentError, match="cannot be started"):
        Host().run("/no/such/program")


def test_dry_run_says_what_would_be_done_and_needs_neither_root_nor_systemd(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cli.main(["service", "install", "--dry-run", "--watch", "/srv/infra"]) == 0
    assert f"would     write {steps.SETTINGS_FILE}" in capsys.readouterr().out
    assert cli.main(["service", "install", "--watch", "/srv/infra"]) == 1
    assert capsys.readouterr().err == "proton-tf-agent: this needs root (run it with sudo; --dry-run needs no root)\n"
    assert cli.main(["service", "install", "--dry-run", "--group", "nobody-of-that-name"]) == 2
