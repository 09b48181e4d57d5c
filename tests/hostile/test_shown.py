"""A refusal is shown where a person looks: `status`, `runs list` and `explain`, with what it means and what to do."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.facts import LOGS
from support.observing import ObservedRoot
from support.watching import bind_directory

from proton_tf_agent import cli
from proton_tf_agent.domain.refusals import REFUSALS
from proton_tf_agent.journal import Journal

FOREIGN = "arn:aws:iam::111122223333:role/Admin"


@pytest.fixture
def settings_file(tmp_path: Path) -> str:
    """Settings under which a run was refused its resource."""
    path = str(tmp_path / "memory" / "journal.db")
    with Journal.open_as_daemon(path) as journal:
        observed = ObservedRoot(tmp_path, journal)
        bind_directory(observed.directory, FOREIGN, "0" * 8 + "-0000-4000-8000-" + "0" * 12)
        observed.write("apply.log", (LOGS / "apply_ok.log").read_bytes())
        observed.look("apply.log")
        observed.wait(60.0)
    os.makedirs(f"{observed.root}/unseen/.proton")
    Path(observed.root, "unseen", ".proton", "deployment-metadata.json").write_text("{}{}")
    file = tmp_path / "agent.toml"
    file.write_text(f'[journal]\npath = "{path}"\n[[watch]]\npath = "{observed.root}"\n[[sink]]\ntype = "console"\n')
    file.chmod(0o600)
    return str(file)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(list(arguments)) == 0
    return " ".join(capsys.readouterr().out.split())


def test_status_names_the_code(settings_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "not told: E_ARN_TYPE: " in said(capsys, "status", "--config", settings_file)


@pytest.mark.parametrize(("place", "code"), [("net", "E_ARN_TYPE"), ("unseen", "E_JSON")])
def test_explain_says_what_it_means_and_what_to_do(
    settings_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str, code: str
) -> None:
    directory = f"{tmp_path}/watched/{place}"
    told = said(capsys, "explain", directory, "--config", settings_file)
    assert f"{code}: " in told
    assert REFUSALS[code].means in told
    assert REFUSALS[code].remedy in told
    assert FOREIGN not in told, "what was claimed may be anything"
    (row,) = (
        json.loads(line)
        for line in said(capsys, "explain", directory, "--json", "--config", settings_file).splitlines()
    )
    refusal = row.get("run", row)["refusal"]
    assert refusal == {"code": code, "means": REFUSALS[code].means, "remedy": REFUSALS[code].remedy}


def test_a_refusal_is_loud(tmp_path: Path) -> None:
    with Journal.open_as_daemon(str(tmp_path / "memory" / "journal.db")) as journal:
        observed = ObservedRoot(tmp_path, journal)
        bind_directory(observed.directory, FOREIGN, "0" * 8 + "-0000-4000-8000-" + "0" * 12)
        observed.write("apply.log", (LOGS / "apply_ok.log").read_bytes())
        observed.look("apply.log")
        observed.wait(60.0)
        loud = [told for told in observed.told if told.name == "binding.refused"]
    assert [str(told.keys["reason"]).partition(":")[0] for told in loud] == ["E_ARN_TYPE"], "once"
