"""The systemd unit starts what exists and believes what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from proton_tf_agent import agent, cli, command_line, health, relay, spool_directory
from proton_tf_agent.domain.errors import JournalHeld, JournalUnusable, SettingsInvalid
from proton_tf_agent.settings import JournalSettings, SpoolSettings

UNIT = Path(cli.__file__).parents[1] / "systemd" / "proton-tf-agent.service"
Sections = dict[str, dict[str, list[str]]]


@pytest.fixture(scope="module")
def unit() -> Sections:
    """Section -> key -> values, in their order; a key may be given more than once."""
    sections: Sections = defaultdict(lambda: defaultdict(list))
    section = ""
    for line in UNIT.read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = header[1]
            continue
        key, equals, value = line.partition("=")
        assert equals, line
        assert re.fullmatch(r"[A-Z]\w+", key), line
        sections[section][key].append(value)
    return sections


def test_it_is_a_unit_of_three_sections(unit: Sections) -> None:
    assert list(unit) == ["Unit", "Service", "Install"]
    repeated = {key for section in unit.values() for key, values in section.items() if len(values) > 1}
    assert repeated <= {"SystemCallFilter", "ExecReload", "NoExecPaths"}


@pytest.mark.parametrize(("key", "command"), [("ExecStart", "_run"), ("ExecReload", "_validate")])
def test_what_it_starts_exists_with_all_its_options_and_python_heeds_no_environment(
    unit: Sections, key: str, command: str
) -> None:
    program, *arguments = unit["Service"][key][0].split()
    assert program == "/opt/proton-tf-agent/bin/python"
    assert arguments[:4] == ["-I", "-B", "-m", "proton_tf_agent"]
    parsed = cli.parser().parse_args(arguments[4:])
    assert parsed.command.__name__ == command
    assert parsed.config == command_line.DEFAULT_CONFIG


def test_it_makes_the_spool_for_jobs_of_every_user_and_may_clear_it(unit: Sections) -> None:
    (made,) = [line for line in unit["Service"]["ExecStartPre"] if line.startswith("+")]
    path, user, group = SpoolSettings().path, unit["Service"]["User"][0], unit["Service"]["Group"][0]
    assert len(unit["Service"]["ExecStartPre"]) == 1, (
        "RestartPreventExitStatus= does not heed what fails before the start"
    )
    assert made == f"+/usr/bin/install -d -m {spool_directory.MODE:o} -o {user} -g {group} {path}"
    assert unit["Service"]["ReadWritePaths"] == [f"-{path}"]


def test_it_waits_for_readiness(unit: Sections) -> None:
    service = unit["Service"]
    assert service["Type"] == ["notify"]
    assert service["NotifyAccess"] == ["main"]


def test_a_reload_is_a_check_first_and_then_the_signal(unit: Sections) -> None:
    assert unit["Service"]["ExecReload"][1:] == ["/bin/kill -HUP $MAINPID"]


def test_its_watchdog_leaves_time_for_every_wait_of_the_loops(unit: Sections) -> None:
    """A loop hangs when it has not beaten for half of WatchdogSec=; until its first turns it may ask for more time."""
    longest = max(health.EVERY_S, agent._ROOM_S, relay.TICK_S, relay.STOP_S, agent._STOP_S)
    assert int(unit["Service"]["WatchdogSec"][0]) / 2 > longest
    assert unit["Service"]["TimeoutStartSec"] == ["10min"]


def test_it_starts_again_for_ever_unless_a_person_is_needed(unit: Sections) -> None:
    assert unit["Unit"]["StartLimitIntervalSec"] == ["0"]
    assert unit["Service"]["Restart"] == ["always"]
    prevented = {int(code) for code in unit["Service"]["RestartPreventExitStatus"][0].split()}
    assert prevented == {SettingsInvalid.exit_code, JournalUnusable.exit_code}
    assert JournalHeld.exit_code not in prevented


def test_it_leaves_time_for_requests_under_way(unit: Sections) -> None:
    assert int(unit["Service"]["TimeoutStopSec"][0]) > agent._STOP_S


def test_its_directories_are_those_of_the_defaults(unit: Sections) -> None:
    service = unit["Service"]
    assert f"/var/lib/{service['StateDirectory'][0]}" == os.path.dirname(JournalSettings().path)
    assert (service["StateDirectoryMode"], service["UMask"]) == (["0700"], ["0077"])


def test_it_may_do_nothing_it_need_not(unit: Sections) -> None:
    service = unit["Service"]
    assert service["User"] == ["proton-tf-agent"]
    for key in ("CapabilityBoundingSet", "AmbientCapabilities"):
        assert service[key] == [""]
    for key in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "LockPersonality", "MemoryDenyWriteExecute"):
        assert service[key] == ["yes"]
    assert (service["ProtectSystem"], service["ProtectHome"], service["ProtectProc"]) == (
        ["strict"], ["read-only"], ["invisible"],
    )  # fmt: skip
    unexecutable = " ".join(service["NoExecPaths"]).split()
    assert {f"-{path}" for path in ("/home", "/tmp", "/var/tmp", os.path.dirname(JournalSettings().path))} < set(
        unexecutable
    )
    assert "ExecPaths" not in service, "it would undo ProtectSystem= there"
    assert "BindPaths" not in service


def test_it_keeps_what_the_agent_reads(unit: Sections) -> None:
    """Owners of files in the spool are compared by uid; the boot id is read from /proc/sys."""
    assert not {"PrivateUsers", "ProcSubset"} & unit["Service"].keys()


def test_systemd_has_nothing_to_say_against_it(tmp_path: Path) -> None:
    """Where there is no systemd, the tests above have to do (and `tests/machine/test_service.py`, which brings one)."""
    analyse = shutil.which("systemd-analyze")
    text = UNIT.read_text("utf-8")
    assert text.count("=/opt/proton-tf-agent/bin/python ") == 2
    if analyse:
        copy = tmp_path / UNIT.name
        copy.write_text(text.replace("/opt/proton-tf-agent/bin/python", "/bin/true"))  # it must exist
        said = subprocess.run([analyse, "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False)
        assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
