"""A program is started, told and ended with system calls that the unit's own filter allows."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

from support.rigs.exec import write_program

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "proton-tf-agent.service"
SENDS = """
import sys
from support.outboxes import notification
from proton_tf_agent.sinks.exec import ExecSink
for program, timeout in ((sys.argv[1], 20.0), (sys.argv[2], 0.2)):
    print(ExecSink("exec", program, [], timeout, [], "proton-tf-agent://here").send(notification(1)).code or "told")
"""


@cache
def calls_of(group: str) -> frozenset[str]:
    """The system calls of a group, as this systemd knows them."""
    said = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
    names = [line.strip() for line in said.stdout.splitlines()[1:] if not line.lstrip().startswith("#")]
    return frozenset[str]().union(*(calls_of(name) if name.startswith("@") else {name} for name in names))


def allowed() -> frozenset[str]:
    found: frozenset[str] = frozenset()
    for groups in re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE):
        calls = frozenset[str]().union(*map(calls_of, groups.removeprefix("~").split()))
        found = found - calls if groups.startswith("~") else found | calls
    return found


def test_the_units_filter_has_room_for_a_program_and_for_its_end(tmp_path: Path) -> None:
    program, hangs = tmp_path / "tell", tmp_path / "hangs"
    write_program(str(program), "cat >/dev/null; exit 0")
    write_program(str(hangs), "sleep 600")
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-qq", "-o", str(trace), sys.executable, "-c", SENDS, str(program), str(hangs)]
    said = subprocess.run(
        strace,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "tests"), "PATH": "/usr/bin:/bin"},
    )
    assert said.stdout.split() == ["told", "ProgramTimedOut"]
    used = set(re.findall(r"^\d+ +(\w+)\(", trace.read_text("utf-8", "replace"), re.MULTILINE))
    assert used >= {"execve", "setsid", "memfd_create", "waitid", "kill"}
    assert used - allowed() == set()
