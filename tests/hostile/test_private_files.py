"""What the agent keeps is open to nobody else: wider modes are refused at start, with the command that mends each."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from proton_tf_agent import spool_directory
from proton_tf_agent.cli import main
from proton_tf_agent.domain.errors import JournalUnusable, SettingsInvalid
from proton_tf_agent.journal import Journal

# Under the journal's name: what the agent, SQLite and salvage put beside it, and the mode it has.
BESIDE = {
    "": 0o600, "-journal": 0o600, ".lock": 0o600, ".v3": 0o600, ".new": 0o600,
    ".damaged-20261130T103000Z": 0o400, ".damaged-20261130T103000Z-journal": 0o400,
}  # fmt: skip


@pytest.fixture
def journal_path(tmp_path: Path) -> str:
    path = str(tmp_path / "memory" / "journal.db")
    Journal.open_as_daemon(path).close()
    for ending, mode in BESIDE.items():
        if not os.path.exists(path + ending):
            Path(path + ending).touch()
        os.chmod(path + ending, mode)
    return path


def test_what_the_agent_makes_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """Journal, rollback journal, lock and a copy: 0600, in a directory of 0700."""
    path = tmp_path / "memory" / "journal.db"
    before = os.umask(0)
    try:
        with Journal.open_as_daemon(str(path), reserve=256 << 10) as journal:
            journal.first_seen("/w", 1.0)
            journal.back_up(str(tmp_path / "memory" / "copy.db"))
            made = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert made == dict.fromkeys(("journal.db", "journal.db-journal", "journal.db.lock", "copy.db"), 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("wider", [0o040, 0o004, 0o020, 0o002, 0o044])
@pytest.mark.parametrize("ending", BESIDE)
def test_a_file_that_others_may_open_is_refused_until_the_command_has_mended_it(
    journal_path: str, ending: str, wider: int
) -> None:
    os.chmod(journal_path + ending, BESIDE[ending] | wider)
    with pytest.raises(JournalUnusable) as refused:
        Journal.open_as_daemon(journal_path)
    (problem,) = refused.value.problems
    assert problem.where == journal_path + ending
    subprocess.run(shlex.split(problem.hint), check=True)
    assert stat.S_IMODE(os.stat(journal_path + ending).st_mode) == BESIDE[ending]
    Journal.open_as_daemon(journal_path).close()


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o711, 0o701, 0o777])
def test_a_directory_that_others_may_enter_is_refused_until_the_command_has_mended_it(
    journal_path: str, mode: int
) -> None:
    directory = os.path.dirname(journal_path)
    os.chmod(directory, mode)
    with pytest.raises(JournalUnusable) as refused:
        Journal.open_as_daemon(journal_path)
    (problem,) = refused.value.problems
    subprocess.run(shlex.split(problem.hint), check=True)
    Journal.open_as_daemon(journal_path).close()
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700


def test_everything_that_is_open_is_named_at_once(journal_path: str) -> None:
    os.chmod(os.path.dirname(journal_path), 0o755)
    os.chmod(journal_path + ".v3", 0o644)
    with pytest.raises(JournalUnusable) as refused:
        Journal.open_as_daemon(journal_path)
    assert [problem.where for problem in refused.value.problems] == [
        os.path.dirname(journal_path),
        journal_path + ".v3",
    ]


@pytest.mark.parametrize("ending", ["", ".lock", "-journal", ".new"])
def test_a_link_in_the_place_of_a_file_is_refused_and_not_followed(
    journal_path: str, tmp_path: Path, ending: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"somebody else's")
    elsewhere.chmod(0o600)
    os.unlink(journal_path + ending)
    os.symlink(elsewhere, journal_path + ending)
    with pytest.raises(JournalUnusable, match="symbolic link"):
        Journal.open_as_daemon(journal_path)
    assert elsewhere.read_bytes() == b"somebody else's"


def test_the_files_of_others_in_the_directory_are_nobodys_business(journal_path: str) -> None:
    Path(os.path.dirname(journal_path), "notes.txt").write_text("")
    os.mkdir(journal_path + ".spool")
    Journal.open_as_daemon(journal_path).close()


# --- the spool ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o3733, 0o1733, 0o700, 0o2770 | stat.S_ISVTX, 0o711])
def test_a_spool_in_which_nobody_can_list_or_replace_is_taken(tmp_path: Path, mode: int) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool").chmod(mode)
    spool_directory.refuse_if_unsafe(str(tmp_path / "spool"))


@pytest.mark.parametrize("mode", [0o777, 0o733, 0o1777, 0o755, 0o770, 0o1734])
def test_any_other_is_refused_until_the_command_has_mended_it(tmp_path: Path, mode: int) -> None:
    spool = tmp_path / "a spool"
    spool.mkdir()
    spool.chmod(mode)
    with pytest.raises(SettingsInvalid) as refused:
        spool_directory.refuse_if_unsafe(str(spool))
    (problem,) = refused.value.problems
    subprocess.run(shlex.split(problem.hint), check=True)
    spool_directory.refuse_if_unsafe(str(spool))
    assert stat.S_IMODE(spool.stat().st_mode) == spool_directory.MODE


def test_a_file_or_a_link_is_no_spool(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(SettingsInvalid, match="no directory"):
            spool_directory.refuse_if_unsafe(str(tmp_path / name))
    spool_directory.refuse_if_unsafe(str(tmp_path / "not there yet"))


@pytest.mark.parametrize(("place", "mode"), [("memory", 0o755), ("spool", 0o777)])
def test_the_daemon_ends_with_78_and_says_what_to_do(
    tmp_path: Path, journal_path: str, capsys: pytest.CaptureFixture[str], place: str, mode: int
) -> None:
    (tmp_path / "watched").mkdir()
    spool_directory.make(str(tmp_path / "spool"))
    (tmp_path / place).chmod(mode)
    settings = tmp_path / "agent.toml"
    settings.write_text(
        f'[journal]\npath = "{journal_path}"\n[[watch]]\npath = "{tmp_path}/watched"\n'
        f'[spool]\npath = "{tmp_path}/spool"\n[[sink]]\ntype = "console"\n'
    )
    settings.chmod(0o644)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.environ", dict(os.environ))
        assert main(["run", "--config", str(settings)]) == 78
    assert f"{tmp_path}/{place}: " in (said := capsys.readouterr().err)
    assert "(chmod " in said
