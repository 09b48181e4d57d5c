"""Bad inputs 56 to 58, 61 and 62: whose run it is where that takes more than one directory or one run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.enactors import moved
from support.facts import LOGS
from support.observing import ObservedRoot
from support.watching import bind_directory

from proton_tf_agent.domain.run import RunStatus
from proton_tf_agent.journal import Journal
from proton_tf_agent.settings import AllowSettings, BindSettings, Settings

ARN = "arn:aws:proton:us-east-1:111122223333:environment/net"
OTHER = "arn:aws:proton:us-east-1:111122223333:environment/other"
FIRST, SECOND = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
_OPEN = 8


@pytest.fixture
def observed(tmp_path: Path) -> Iterator[ObservedRoot]:
    with Journal.open_as_daemon(str(tmp_path / "journal" / "journal.db")) as journal:
        yield ObservedRoot(tmp_path, journal)


class Job:
    """A run in a directory of its own, from its beginning to its end; somebody has its log open meanwhile."""

    def __init__(self, observed: ObservedRoot, name: str, arn: str = ARN, deployment: str = FIRST) -> None:
        self._observed = observed
        self.directory = f"{observed.root}/{name}"
        os.makedirs(self.directory, exist_ok=True)
        bind_directory(self.directory, arn, deployment)
        observed.now += 60.0
        self._lines = moved((LOGS / "apply_ok.log").read_text("utf-8"), observed.now).splitlines(keepends=True)
        self._log = open(f"{self.directory}/{time.monotonic_ns()}.log", "w", encoding="utf-8")  # noqa: SIM115
        self._write(self._lines[:_OPEN])

    def end(self) -> None:
        self._write(self._lines[_OPEN:])
        self._log.close()
        self._look()
        self._observed.wait(30.0)

    def close(self) -> None:
        self._log.close()

    def _write(self, lines: list[str]) -> None:
        self._log.write("".join(lines))
        self._log.flush()
        self._look()

    def _look(self) -> None:
        self._observed.observer.read(self._observed.watch.touched([self._log.name]))


def told(observed: ObservedRoot) -> list[tuple[str, str, str | None, str]]:
    """Directory, resource, deployment and status of everything that was told, in order; the same only once."""
    rows = [
        (os.path.basename(n.directory), str(n.resource_arn).rpartition("/")[2], n.deployment_id, str(n.status))
        for n in observed.notifications()
    ]
    return list(dict.fromkeys(rows))


def refusals(observed: ObservedRoot) -> list[str]:
    return [str(t.keys["reason"]).partition(":")[0] for t in observed.told if t.name == "binding.refused"]


def test_a_copy_of_the_metadata_speaks_for_nobody_while_the_first_run_is_under_way(observed: ObservedRoot) -> None:
    """61. The copy's run ends, even, and says nothing; it is shown why."""
    first, copy = Job(observed, "a"), Job(observed, "b")
    copy.end()
    assert {row[0] for row in told(observed)} == {"a"}
    assert refusals(observed) == ["E_META_DUP"]
    (shown,) = [r for r in observed.journal.runs(10) if r.run.directory == copy.directory]
    assert shown.run.status is RunStatus.APPLIED
    assert shown.silence.startswith("E_META_DUP: ")
    first.end()
    assert [row for row in told(observed) if row[3] != "IN_PROGRESS"] == [("a", "net", FIRST, "SUCCEEDED")]


def test_the_second_is_told_when_the_first_has_ended(observed: ObservedRoot) -> None:
    """61: a job that is run again in another work directory, before the agent knows that its first try is dead."""
    first, again = Job(observed, "a"), Job(observed, "b")
    first.end()
    assert ("b", "net", FIRST, "IN_PROGRESS") in told(observed)
    again.end()
    assert told(observed)[-1] == ("b", "net", FIRST, "SUCCEEDED")


def test_what_lies_below_a_directory_is_no_copy_nor_is_a_later_run_elsewhere(observed: ObservedRoot) -> None:
    """61."""
    outer, inner = Job(observed, "a"), Job(observed, "a/unit")
    inner.end()
    outer.end()
    Job(observed, "c").end()
    assert refusals(observed) == []
    assert told(observed)[-1] == ("c", "net", FIRST, "SUCCEEDED")


def test_metadata_that_are_rolled_back_speak_for_no_deployment_that_is_over(observed: ObservedRoot) -> None:
    """62. What the newest deployment has told stays the last word; a deployment that is run again is no older one."""
    Job(observed, "a", deployment=FIRST).end()
    Job(observed, "a", deployment=FIRST).end()
    assert refusals(observed) == []
    Job(observed, "a", deployment=SECOND).end()
    before = told(observed)
    Job(observed, "a", deployment=FIRST).end()
    assert refusals(observed) == ["E_META_OLD"]
    assert told(observed) == before
    assert before[-1] == ("a", "net", SECOND, "SUCCEEDED")
    Job(observed, "a", deployment=SECOND).end()
    assert refusals(observed) == ["E_META_OLD"]


def test_a_run_keeps_the_deployment_it_began_with(observed: ObservedRoot) -> None:
    """56."""
    job = Job(observed, "a", deployment=FIRST)
    bind_directory(job.directory, ARN, SECOND)
    job.end()
    assert {row[2] for row in told(observed)} == {FIRST}
    Job(observed, "a", deployment=SECOND).end()
    assert told(observed)[-1] == ("a", "net", SECOND, "SUCCEEDED")


def test_a_directory_is_another_resources_with_its_next_run(observed: ObservedRoot) -> None:
    """57."""
    Job(observed, "a", ARN, FIRST).end()
    Job(observed, "a", OTHER, SECOND).end()
    assert [row[1] for row in told(observed) if row[3] == "SUCCEEDED"] == ["net", "other"]


def test_a_deleted_resource_is_told_as_destroyed_with_no_outputs(observed: ObservedRoot) -> None:
    """58."""
    bind_directory(observed.directory, ARN, FIRST, deleted=True)
    observed.write("destroy.log", (LOGS / "destroy.log").read_bytes())
    observed.look("destroy.log")
    observed.wait(60.0)
    last = observed.notifications()[-1]
    assert (last.run_status, last.resource_deleted, last.outputs) == (RunStatus.DESTROYED, True, ())


def test_what_the_settings_bind_is_nobodys_to_copy(tmp_path: Path) -> None:
    """61: a [[bind]] is the operator's word, in whichever order the runs come."""
    settings = Settings(
        allow=AllowSettings(("arn:aws:proton:*",)), bind=(BindSettings(f"{tmp_path}/watched/b", ARN, FIRST),)
    )
    with Journal.open_as_daemon(str(tmp_path / "journal" / "journal.db")) as journal:
        observed = ObservedRoot(tmp_path, journal, settings)
        copy = Job(observed, "a")
        bound = Job(observed, "b")
        os.unlink(f"{bound.directory}/.proton/deployment-metadata.json")
        bound.close()
        copy.close()
        again = Job(observed, "b")
        Path(again.directory, ".proton", "deployment-metadata.json").write_text(json.dumps({}), "utf-8")
        again.end()
        assert ("b", "net", FIRST, "SUCCEEDED") in told(observed)
