"""The demo does the main job on any machine, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.text import Text

TIMEOUT_S = 80


def show(tmp_path: Path, path: str, *options: str) -> str:
    """Play the demo in a session and a temporary directory of its own; returns what it printed."""
    (tmp_path / "tmp").mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    environment |= {"PATH": path, "TMPDIR": str(tmp_path / "tmp"), "HOME": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-m", "proton_tf_agent", "demo", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=tmp_path,
        start_new_session=True,
    ) as demo:
        told, complaints = demo.communicate(timeout=TIMEOUT_S)
    assert (demo.returncode, complaints) == (0, ""), told
    with pytest.raises(ProcessLookupError):
        os.killpg(demo.pid, 0)  # nobody of its session is left
    return told


def judge(told: str) -> None:
    """A success with its outputs, a failure with its reason, and the failure once more."""
    heard = re.findall(r"receiver heard  (\w+) +(.*)", told)
    statuses = [status for status, _ in heard]
    ends = [place for place, status in enumerate(statuses) if status != "IN_PROGRESS"]
    assert [statuses[place] for place in ends] == ["SUCCEEDED", "FAILED", "FAILED"]
    assert statuses[0] == statuses[ends[0] + 1] == "IN_PROGRESS"
    succeeded, failed, again = (heard[place][1] for place in ends)
    assert succeeded.startswith("Apply complete: 3 added")
    assert "1 not sent: " in succeeded
    assert "(sensitive)" in succeeded
    assert re.search(r"receiver heard  SUCCEEDED .*\n +\w+ = ", told)
    assert failed.startswith("Apply failed: ")
    assert again == failed
    assert re.search(r"#\d+ FAILED of \S+ to proton: replayed as #\d+", told)
    assert "proton-tf-agent running" in told
    assert "delivering  current" in told
    assert "correct-horse-battery" not in told


def test_with_a_terraform_on_path_the_runs_are_real(tmp_path: Path, terraform_path: str) -> None:
    told = show(tmp_path, f"{os.path.dirname(terraform_path)}:/usr/bin:/bin")
    assert "the runs below are real" in told
    assert "$ terraform apply -json -auto-approve > apply.log" in told
    judge(told)
    assert "vpc_id = vpc-0a1b2c3d" in told
    assert list((tmp_path / "tmp").iterdir()) == []


def test_without_one_recorded_runs_are_re_enacted_and_said_to_be(tmp_path: Path) -> None:
    told = show(tmp_path, "")
    assert "No terraform and no tofu on PATH: recorded real runs" in told
    assert "the runs below are real" not in told
    assert "re-enacting the recorded run 'succeeded'" in told
    judge(told)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_its_directory_is_kept_when_asked(tmp_path: Path) -> None:
    told = show(tmp_path, "", "--keep")
    (kept,) = (tmp_path / "tmp").iterdir()
    assert told.endswith(f"left behind: {kept}\n")
    assert (kept / "work" / "network" / "apply.log").exists()
    assert (kept / "agent.log").exists()


# --- the picture of it ------------------------------------------------------------------------------------------------

DOCS = Path(__file__).parents[2] / "docs"
_TEXT = "{http://www.w3.org/2000/svg}text"
_LASTING = re.compile(
    r"^\d\. |^ +\$ |receiver heard +(SUCCEEDED|FAILED)|^ +\w+ = |all that was seen|resource or|attempts| ✓|Done"
)


def drawn() -> list[str]:
    """The lines of docs/demo.svg, put together from its pieces of text."""
    lines: dict[float, str] = {}
    for piece in ET.parse(DOCS / "demo.svg").iter(_TEXT):
        if "clip-path" in piece.attrib:
            y = float(piece.attrib["y"])
            lines[y] = lines.get(y, "") + "".join(piece.itertext())
    return [lines[y].replace("\xa0", " ").rstrip() for y in sorted(lines)]


def lasting(lines: list[str]) -> list[str]:
    """What is the same in every showing: steps, commands, verdicts, outputs, headings; no spaces, ids, ages, seqs."""
    kept = ["".join(line.split()) for line in lines if _LASTING.search(line)]
    return [re.sub(r"run-[0-9a-f]{16}|--id\d+|(?<=network)\d+s", "-", line) for line in kept]


def test_the_picture_in_the_readme_shows_what_the_demo_shows() -> None:
    """`make picture` draws it again. How long things took and what was coalesced is not compared."""
    record = runpy.run_path(str(DOCS / "record_demo.py"))
    shown = record["play"]()
    plain = Text.from_ansi(shown).plain.splitlines()
    assert len(lasting(drawn())) >= 15
    assert lasting(drawn()) == lasting(plain)
    assert "<svg" in record["picture"](shown)
