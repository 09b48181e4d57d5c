"""`doctor` finds what is wrong around an agent, says what mends it, and calls nothing well that it could not see."""

from __future__ import annotations

import json
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_lines import Output, run
from support.hooks import answered
from support.outboxes import STEERING, filled
from support.proton import clean_environment
from support.rigs.exec import write_program
from support.rigs.github import REPOSITORY, TOKEN, GitHub

from proton_tf_agent import health
from proton_tf_agent.doctor import Finding, Severity, examine, worst
from proton_tf_agent.health import Health
from proton_tf_agent.journal import Journal
from proton_tf_agent.receiver import FaultKind, Receiver
from proton_tf_agent.service import unit
from proton_tf_agent.settings import load

V = Severity


@pytest.fixture
def proton(tmp_path: Path) -> Iterator[Receiver]:
    with clean_environment(tmp_path), Receiver() as receiver:
        yield receiver


def found(settings_file: str, check: str) -> list[Finding]:
    """What one check finds. Everything is looked at; nothing may raise."""
    return [finding for finding in examine(load(settings_file)) if finding.check == check]


def tell(settings_file: str, text: str) -> None:
    with open(settings_file, "a") as file:
        file.write(text)


def sink_at(url: str, more: str = "") -> str:
    return f'[[sink]]\ntype = "proton"\nregion = "eu-west-1"\nendpoint_url = "{url}"\n{more}'


def test_a_journal_that_is_sound_and_an_agent_that_is_well_are_ok(journal: Journal, settings_file: str) -> None:
    now = time.time()
    health.put(journal.path, Health(4711, "1.2.3", now, now))
    assert found(settings_file, "journal") == [Finding("journal", V.OK, f"{journal.path}: sound")]
    assert found(settings_file, "agent") == [Finding("agent", V.OK, "process 4711, version 1.2.3")]
    assert [one.severity for one in found(settings_file, "disk")] == [V.OK]
    assert [one.severity for one in found(settings_file, "sink console")] == [V.OK]


def test_an_agent_that_is_silent_or_sees_not_everything_is_a_problem(journal: Journal, settings_file: str) -> None:
    (silent,) = found(settings_file, "agent")
    assert (silent.severity, "says nothing of itself" in silent.what) == (V.PROBLEM, True)
    now = time.time()
    health.put(journal.path, Health(1, "1", now, now, problems=("/w cannot be watched", "/v neither")))
    assert [one.what for one in found(settings_file, "agent")] == ["/w cannot be watched", "/v neither"]


def test_with_no_agent_it_says_how_to_start_one(settings_file: str) -> None:
    (finding,) = found(settings_file, "agent")
    assert (finding.severity, finding.remedy) == (V.WARNING, "systemctl start proton-tf-agent")
    (finding,) = found(settings_file, "journal")
    assert finding.severity is V.UNKNOWN


@pytest.mark.parametrize("which", ["directory", "file"])
def test_a_journal_that_others_may_read_comes_with_the_command_that_mends_it(
    journal_path: str, settings_file: str, which: str
) -> None:
    with Journal.open_as_daemon(journal_path) as journal:
        filled(journal)
    path, mode = (os.path.dirname(journal_path), "0700") if which == "directory" else (journal_path, "0600")
    os.chmod(path, 0o755)
    remedies = [one.remedy for one in found(settings_file, "journal") if one.severity is V.PROBLEM]
    assert f"chmod {mode} {path}" in remedies


def test_a_journal_that_is_damaged_is_a_problem(journal_path: str, settings_file: str) -> None:
    with Journal.open_as_daemon(journal_path) as journal:
        filled(journal)
    with open(journal_path, "r+b") as file:
        file.seek(4096)
        file.write(bytes(8192))
    (finding, *_) = found(settings_file, "journal")
    assert (finding.severity, "salvages" in finding.remedy) == (V.PROBLEM, True)


def test_roots_that_are_not_there_or_that_the_service_would_not_see_are_warnings(
    settings_file: str, tmp_path: Path
) -> None:
    tell(settings_file, f'[[watch]]\npath = "{tmp_path}/nowhere"\n[[watch]]\npath = "/tmp/of-all"\n')
    said = [f"{one.what} {one.remedy}" for one in found(settings_file, "settings") if one.severity is V.WARNING]
    assert any("nowhere does not exist yet" in one for one in said)
    assert any("/tmp/of-all: a service with PrivateTmp=yes does not see it" in one for one in said)


@pytest.mark.parametrize(
    ("properties", "path", "by"),
    [
        ({"PrivateTmp": "yes"}, "/tmp/work", "PrivateTmp=yes"),
        ({"PrivateTmp": "yes"}, "/var/tmp", "PrivateTmp=yes"),
        ({"PrivateTmp": "yes"}, "/var/tmpfiles", ""),
        ({"PrivateTmp": "no"}, "/tmp/work", ""),
        ({"ProtectHome": "read-only"}, "/home/runner/_work", ""),
        ({"ProtectHome": "yes"}, "/home/runner/_work", "ProtectHome=yes"),
        ({"ProtectHome": "tmpfs"}, "/root/work", "ProtectHome=tmpfs"),
        ({"InaccessiblePaths": "-/mnt /srv/ci"}, "/srv/ci/work", "InaccessiblePaths=-/mnt /srv/ci"),
        ({"InaccessiblePaths": "-/mnt /srv/ci"}, "/srv/cider", ""),
        ({"TemporaryFileSystem": "/srv:ro"}, "/srv/ci/work", "TemporaryFileSystem=/srv:ro"),
        ({}, "/tmp/work", ""),
    ],
)
def test_what_a_units_sandbox_hides(properties: dict[str, str], path: str, by: str) -> None:
    assert unit.hides(properties, path) == by


def test_a_root_that_the_agent_sees_as_we_do_is_no_finding_whatever_its_unit_may_say(
    journal: Journal, settings_file: str
) -> None:
    """Its own view is what counts: here it is this very process."""
    tell(settings_file, '[[watch]]\npath = "/var/tmp"\n')
    health.put(journal.path, Health(os.getpid(), "1", time.time(), time.time()))
    assert hidden(settings_file) == []
    health.put(journal.path, Health(2**22, "1", time.time(), time.time()))  # no such process: nothing is known
    assert set(hidden(settings_file)) == {V.WARNING}


def hidden(settings_file: str) -> list[V]:
    return [one.severity for one in found(settings_file, "settings") if "does not see it" in one.what]


def test_a_spool_in_which_jobs_could_read_each_others_records_is_a_problem(settings_file: str, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    tell(settings_file, f'[spool]\npath = "{spool}"\n')
    (absent,) = found(settings_file, "spool")
    assert absent.severity is V.WARNING
    spool.mkdir()
    spool.chmod(0o777)
    (wide,) = found(settings_file, "spool")
    assert (wide.severity, wide.remedy) == (V.PROBLEM, f"chmod 3733 {spool}")
    spool.chmod(0o3733)
    assert found(settings_file, "spool") == [Finding("spool", V.OK, str(spool))]


def test_directories_are_counted_against_the_kernels_limit(settings_file: str, tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / "watched" / str(number) / "below").mkdir(parents=True)
    (finding,) = found(settings_file, "inotify")
    assert finding.what.startswith("41 directories to watch")


@pytest.mark.parametrize(
    ("fault", "read_back", "severity", "said"),
    [
        (None, False, V.OK, "takes our signature (ResourceNotFoundException)"),
        (FaultKind.ACCESS_DENIED, False, V.OK, "nor needed"),
        (FaultKind.ACCESS_DENIED, True, V.PROBLEM, "proton:GetDeployment is not allowed"),
        (FaultKind.EXPIRED_TOKEN, False, V.PROBLEM, "no valid credentials"),
        (FaultKind.HTTP_503, False, V.PROBLEM, "cannot be reached"),
    ],
)
def test_a_sink_is_asked_something_that_changes_nothing(
    settings_file: str, proton: Receiver, fault: FaultKind | None, read_back: bool, severity: Severity, said: str
) -> None:
    tell(settings_file, sink_at(proton.url, f"read_back = {str(read_back).lower()}\n"))
    if fault is not None:
        proton.fail(fault, operation="GetDeployment")
    finding, of_iam = found(settings_file, "sink proton")
    assert (finding.severity, said in f"{finding.what}") == (severity, True), finding
    assert (of_iam.severity, of_iam.what.startswith("IAM is not asked")) == (V.UNKNOWN, True)
    assert bool(finding.remedy) == (severity is V.PROBLEM)
    assert proton.records() == ()
    assert proton.requests == 1


def test_a_file_a_program_and_a_forge_are_looked_at_and_told_nothing(settings_file: str, tmp_path: Path) -> None:
    server, program, file, token = GitHub(), tmp_path / "tell", tmp_path / "told.jsonl", tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    tell(
        settings_file,
        f'[[sink]]\ntype = "file"\npath = "{file}"\n[[sink]]\ntype = "exec"\nprogram = "{program}"\n'
        f'[[sink]]\ntype = "github"\nrepository = "{REPOSITORY}"\nref = "main"\nurl = "{server.api}"\n'
        f'secret = "file:{token}"\n',
    )
    said = {name: found(settings_file, f"sink {name}")[0] for name in ("file", "exec", "github")}
    assert {name: one.severity for name, one in said.items()} == {"file": V.OK, "exec": V.PROBLEM, "github": V.OK}
    assert "(ENOENT)" in said["exec"].what
    write_program(str(program), f"touch {tmp_path}/ran")
    assert found(settings_file, "sink exec")[0].severity is V.OK
    server.fail(answered(404))
    (finding,) = found(settings_file, "sink github")
    assert (finding.severity, "(Http404)" in finding.what) == (V.PROBLEM, True)
    server.close()
    assert (server.errors, server.statuses) == ([], [])
    assert not file.exists()
    assert not (tmp_path / "ran").exists()


def test_the_worst_finding_decides() -> None:
    assert worst([]) is V.OK
    assert worst([Finding("a", V.UNKNOWN, ""), Finding("b", V.OK, "")]) is V.UNKNOWN
    assert worst([Finding("a", V.PROBLEM, ""), Finding("b", V.WARNING, "")]) is V.PROBLEM


# --- as a command -------------------------------------------------------------------------------------------------


def test_the_command_shows_each_finding_with_its_remedy_and_fails_for_a_problem(
    journal: Journal, settings_file: str, capsys: Output
) -> None:
    code, out, _ = run(capsys, "doctor", "--config", settings_file)
    assert code == 1
    assert "problem  agent        an agent is running and says nothing of itself" in out
    assert "→ systemctl status proton-tf-agent" in out
    now = time.time()
    health.put(journal.path, Health(1, "1", now, now))
    code, out, _ = run(capsys, "doctor", "--json", "--config", settings_file)
    assert code == 0
    assert {json.loads(line)["check"] for line in out.splitlines()} >= {"settings", "journal", "disk", "sink console"}


def test_a_bundle_tells_what_is_known_and_nothing_of_what_was_told(
    journal: Journal, settings_file: str, tmp_path: Path, capsys: Output
) -> None:
    filled(journal)
    path = tmp_path / "bundle.tar.gz"
    _, _, err = run(capsys, "doctor", "--bundle", str(path), "--config", settings_file)
    assert f"{path}: look into it before you pass it on" in err
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        files = {member.name: archive.extractfile(member) for member in archive}
        texts = {name: file.read().decode("ascii") for name, file in files.items() if file is not None}
    assert {name.partition("/")[2] for name in texts} == {
        "about.json", "agent.toml.txt", "doctor.jsonl", "entries.jsonl", "runs.jsonl", "status.json",
    }  # fmt: skip
    together = "".join(texts.values())
    assert "vpc_id" in together
    assert "vpc-3" not in together, "the value of an output"
    assert "number 3" not in together, "a message"
    assert STEERING not in together
    code, _, err = run(capsys, "doctor", "--bundle", str(path), "--config", settings_file)
    assert (code, "is there already" in err) == (1, True)


def test_without_a_journal_a_bundle_says_why_it_has_none(settings_file: str, tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "bundle.tar.gz"
    run(capsys, "doctor", "--bundle", str(path), "--config", settings_file)
    with tarfile.open(path) as archive:
        why = archive.extractfile("proton-tf-agent/journal.txt")
        assert why is not None
        assert b"journal" in why.read()
