"""Records in the spool: found whether the agent was there or not, believed by whom they are, told once."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.facts import LOGS
from support.observing import ObservedRoot
from support.watching import bind_directory

from proton_tf_agent import spool_directory
from proton_tf_agent.domain.run import Basis, RunStatus, Wrapper
from proton_tf_agent.journal import Journal
from proton_tf_agent.sources import liveness, spool
from proton_tf_agent.sources.exit_record import Process, Record
from proton_tf_agent.sources.safe_open import SafeOpener
from proton_tf_agent.sources.spool import Spool, is_alive
from proton_tf_agent.wrapper import command
from proton_tf_agent.wrapper.record import RecordKeeper

ARN = "arn:aws:proton:us-east-1:111122223333:environment/net"
DEPLOYMENT = "fcda9f18-f569-4079-8474-0832f45b97ea"
NOBODY = 2**31 - 7  # no process has such a pid


@dataclass
class Scene:
    """A watched run directory, and wrappers that keep records about it."""

    root: ObservedRoot

    def keeper(self, line: str = "terraform apply", directory: str = "", **prints: object) -> RecordKeeper:
        typed = command.read(line.split(), directory or self.root.directory, {})
        assert typed is not None
        return RecordKeeper(self.root.spool.path, typed, prints, None, self.root.now)

    def turn(self, *, rescan: bool = False) -> None:
        self.root.observer.turn(rescan=rescan)

    def only(self) -> tuple[str, RunStatus]:
        (run,) = self.root.runs()
        return run.reason, run.status


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Journal.open_as_daemon(str(tmp_path / "journal" / "journal.db")) as journal:
        root = ObservedRoot(tmp_path, journal)
        bind_directory(root.directory, ARN, DEPLOYMENT)
        yield Scene(root)


def test_a_record_is_a_run_from_its_beginning_to_its_end(scene: Scene) -> None:
    keeper = scene.keeper()
    keeper.begin(os.getpid())
    scene.turn()
    assert scene.only() == ("the wrapper has started Terraform", RunStatus.PLANNING)
    keeper.end([], 0, 0, scene.root.now + 5)
    scene.turn()
    assert scene.only() == ("Terraform exited with status 0", RunStatus.APPLIED)
    assert scene.root.statuses() == ["IN_PROGRESS", "SUCCEEDED"]
    assert os.listdir(scene.root.spool.path) == []


def test_a_record_that_was_kept_while_nobody_looked_is_told_whole(scene: Scene) -> None:
    keeper = scene.keeper()
    keeper.begin(os.getpid())
    keeper.end([], 1, 0, scene.root.now)
    scene.turn()
    assert scene.root.statuses()[-1] == "FAILED"
    assert scene.root.notifications()[-1].status_message == "Terraform apply exited with status 1."


def test_of_two_units_that_were_deployed_one_after_the_other_while_nobody_looked_both_are_told(scene: Scene) -> None:
    """They are for one deployment, and the names of their records tell nothing of which came first."""
    units = [scene.root.write(f"{unit}/main.tf", b"").removesuffix("/main.tf") for unit in "abcdef"]
    for unit in units:
        bind_directory(unit, ARN, DEPLOYMENT)
        scene.root.now += 2.0
        keeper = scene.keeper(directory=unit)
        keeper.begin(os.getpid())
        keeper.end([], 0, 0, scene.root.now + 1.0)
    scene.root.now += 2.0
    scene.turn()
    assert [run.directory for run in scene.root.runs()] == units[::-1]
    assert [n.status for n in scene.root.notifications() if n.status.is_terminal] == ["SUCCEEDED"] * len(units)


def test_the_end_of_a_command_that_is_found_while_the_log_of_another_is_read_is_told(scene: Scene) -> None:
    """A log that opens a run makes the agent look into the spool, in the middle of telling how another run ended."""
    other = scene.root.write("two/main.tf", b"").removesuffix("/main.tf")
    bind_directory(other, ARN.replace("net", "two"), DEPLOYMENT)
    first, second = scene.keeper(), scene.keeper(directory=other)
    first.begin(os.getpid())
    second.begin(os.getpid())
    scene.turn()
    first.end([], 0, 0, scene.root.now + 1.0)

    def ends_meanwhile() -> None:
        scene.root.at_each_step = lambda: None
        second.end([], 0, 0, scene.root.now + 2.0)

    scene.root.write("apply.log", (LOGS / "apply_ok.log").read_bytes())
    scene.root.at_each_step = ends_meanwhile
    scene.turn()
    scene.turn()
    assert [run.status for run in scene.root.runs() if run.wrapped] == [RunStatus.APPLIED] * 2
    assert os.listdir(scene.root.spool.path) == []


def test_a_record_that_is_read_again_adds_nothing(scene: Scene) -> None:
    """The agent may die between its commit and the record's removal."""
    keeper = scene.keeper()
    keeper.begin(os.getpid())
    keeper.end([], 0, 0, scene.root.now)
    kept = {path: path.read_bytes() for path in Path(scene.root.spool.path).iterdir()}
    scene.turn()
    before = (scene.root.runs(), scene.root.notifications())
    for path, content in kept.items():
        path.write_bytes(content)
    scene.root.pipeline.open.clear()
    scene.turn()
    assert (scene.root.runs(), scene.root.notifications()) == before


def test_the_deployment_is_the_one_the_command_was_started_for(scene: Scene) -> None:
    """The directory may be another deployment's, or gone, by the time the agent looks."""
    keeper = scene.keeper()
    keeper.begin(os.getpid())
    bind_directory(scene.root.directory, ARN, DEPLOYMENT.replace("fcda", "0000"))
    keeper.end([], 0, 0, scene.root.now)
    scene.turn()
    assert {n.deployment_id for n in scene.root.notifications()} == {DEPLOYMENT}


def test_while_the_wrapper_lives_silence_is_no_end(scene: Scene) -> None:
    keeper = scene.keeper()
    keeper.begin(os.getpid())
    scene.root.lock("L")
    scene.turn(rescan=True)
    os.unlink(f"{scene.root.directory}/.terraform.tfstate.lock.info")
    scene.turn(rescan=True)
    scene.root.wait(1000)
    scene.turn()
    assert scene.only()[1] is RunStatus.PLANNING
    (run,) = scene.root.runs()
    assert (run.lock_id, run.verdict) == ("L", None)
    keeper.end([], 0, 0, scene.root.now)
    scene.turn()
    assert scene.only()[1] is RunStatus.APPLIED


def test_a_wrapper_that_died_with_its_terraform_leaves_a_run_that_is_undetermined(scene: Scene) -> None:
    keeper = scene.keeper()
    keeper.begin(NOBODY)
    scene.turn()
    keeper.let_go()
    scene.turn()
    scene.root.wait(10)
    (run,) = scene.root.runs()
    assert (run.status, run.wrapped and run.wrapped.wrapper) == (RunStatus.UNDETERMINED, Wrapper.GONE)
    assert os.listdir(scene.root.spool.path) == []


@pytest.mark.parametrize("agent_was_there", [True, False])
def test_a_record_that_somebody_has_removed_is_waited_for_no_longer(scene: Scene, agent_was_there: bool) -> None:
    keeper = scene.keeper()
    keeper.begin(NOBODY)
    scene.turn()
    if not agent_was_there:
        scene.root.observer._spool = Spool(scene.root.spool.path, lambda _uid, _directory: True)
    hidden = f"{scene.root.spool.path}-elsewhere"
    os.rename(scene.root.spool.path, hidden)
    scene.turn()
    scene.root.wait(10)
    assert scene.only()[1] is RunStatus.PLANNING, "a spool that is out of reach says nothing"
    os.rename(hidden, scene.root.spool.path)
    keeper.discard()
    scene.turn()
    scene.root.wait(10)
    (run,) = scene.root.runs()
    assert (run.status, run.wrapped and run.wrapped.wrapper) == (RunStatus.UNDETERMINED, Wrapper.GONE)


def test_a_wrapper_that_died_while_its_terraform_goes_on_ends_nothing(scene: Scene) -> None:
    keeper = scene.keeper()
    keeper.begin(os.getpid())
    scene.turn()
    keeper.let_go()
    scene.turn()
    scene.root.wait(10)
    assert scene.only()[1] is RunStatus.PLANNING


def test_a_run_that_had_ended_before_the_machine_was_restarted_did_not_die_with_it(scene: Scene) -> None:
    """Neither did one whose end is recorded while the agent was down; the others did."""
    ended, lost = scene.keeper(), scene.keeper(directory=f"{scene.root.root}/other")
    ended.begin(NOBODY)
    lost.begin(NOBODY)
    scene.root.observer.turn()
    ended.end([], 0, 0, scene.root.now + 1)
    lost.let_go()
    scene.root.observer.look_at_open_runs()
    scene.root.pipeline.host_restarted(scene.root.now + 100, scene.root.now + 50)
    scene.turn()
    statuses = {run.directory.rpartition("/")[2]: run.status for run in scene.root.runs()}
    assert statuses == {"net": RunStatus.APPLIED, "other": RunStatus.LOST}


@pytest.mark.parametrize("agent_was_there", [True, False])
@pytest.mark.parametrize("prints", ["into the log", "into the log, which is heard", "into a pipe", "JSON aside"])
def test_a_log_of_what_a_wrapped_command_prints_is_the_same_run(
    scene: Scene, agent_was_there: bool, prints: str
) -> None:
    log = scene.root.write("apply.log", b"")
    status = os.stat(log)
    scene.root.now -= 1.001  # the log's `version` line comes a millisecond behind the command
    keeper = scene.keeper(
        "tofu apply -json-into=apply.log" if prints == "JSON aside" else "terraform apply",
        listens="pipe" in prints or "heard" in prints,
        files=[[status.st_dev, status.st_ino]] if "log" in prints else [],
    )
    keeper.begin(os.getpid())
    scene.root.now += 1.001
    if agent_was_there:
        scene.turn()
    with open(log, "ab") as file:
        file.write((LOGS / "apply_ok.log").read_bytes())
    if agent_was_there:
        scene.turn(rescan=True)
    keeper.end([], 0, 0, scene.root.now + 60)
    scene.turn(rescan=True)
    scene.root.wait(60)
    (run,) = scene.root.runs()
    assert (run.status, run.basis) == (RunStatus.APPLIED, Basis.PROOF)
    assert scene.root.statuses() == ["IN_PROGRESS", "SUCCEEDED"]


def test_a_log_is_told_behind_its_record_though_both_come_while_the_agent_looks(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spool was looked at when nothing was there yet, the log when all was over."""
    log = os.stat(scene.root.write("apply.log", b""))
    scene.turn(rescan=True)
    keeper = scene.keeper(files=[[log.st_dev, log.st_ino]])
    scene.root.now += 1.001
    rescan = scene.root.watch.rescan

    def run_then_rescan(*args: object) -> object:
        keeper.begin(os.getpid())
        scene.root.write("apply.log", (LOGS / "apply_ok.log").read_bytes())
        keeper.end([], 1, 0, scene.root.now)
        return rescan(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(scene.root.watch, "rescan", run_then_rescan)
    scene.turn(rescan=True)
    monkeypatch.undo()
    scene.turn()
    scene.root.wait(60)
    (run,) = scene.root.runs()
    assert (run.status, scene.root.statuses()) == (RunStatus.ERRORED, ["IN_PROGRESS", "FAILED"])


@pytest.mark.parametrize("prints", ["to nowhere", "to a terminal", "into another file"])
def test_a_log_that_a_wrapped_command_cannot_have_printed_is_another_run(scene: Scene, prints: str) -> None:
    """`terraform apply > /dev/null` behind the wrapper, beside another apply of the directory that has a log: what the
    one has achieved must not be told of the other."""
    other = os.stat(scene.root.write("other", b""))
    scene.root.now -= 1.001
    keeper = scene.keeper(
        files=[[other.st_dev, other.st_ino]] if "file" in prints else [], on_terminal=prints == "to a terminal"
    )
    keeper.begin(os.getpid())
    scene.root.now += 1.001
    scene.turn()
    scene.root.write("apply.log", (LOGS / "apply_ok.log").read_bytes())
    scene.turn(rescan=True)
    keeper.end([], 1, 0, scene.root.now + 60)
    scene.turn(rescan=True)
    scene.root.wait(60)
    assert {bool(run.wrapped): run.status for run in scene.root.runs()} == {
        True: RunStatus.ERRORED, False: RunStatus.APPLIED,
    }  # fmt: skip


def test_an_apply_that_says_complete_and_exits_with_an_error_has_failed(scene: Scene) -> None:
    """The outputs could not be written, say, or the state could not be unlocked: the exit status outranks the log."""
    log = os.stat(scene.root.write("apply.log", b""))
    scene.root.now -= 1.001
    keeper = scene.keeper(files=[[log.st_dev, log.st_ino]])
    keeper.begin(os.getpid())
    scene.root.now += 1.001
    scene.turn()
    with open(f"{scene.root.directory}/apply.log", "ab") as file:
        file.write((LOGS / "apply_ok.log").read_bytes())
    scene.turn(rescan=True)
    scene.root.wait(1000)
    scene.turn(rescan=True)
    assert scene.root.statuses() == ["IN_PROGRESS"]
    keeper.end([], 1, 0, scene.root.now)
    scene.turn()
    assert scene.root.statuses() == ["IN_PROGRESS", "FAILED"]


def test_a_log_of_later_is_another_run(scene: Scene) -> None:
    scene.root.now -= 100
    keeper = scene.keeper()
    keeper.begin(os.getpid())
    keeper.end([], 1, 0, scene.root.now + 50)
    scene.root.now += 100
    scene.root.write("apply.log", (LOGS / "apply_ok.log").read_bytes())
    scene.turn(rescan=True)
    scene.root.wait(60)
    assert [run.status for run in scene.root.runs()][::-1] == [RunStatus.ERRORED, RunStatus.APPLIED]


def test_a_job_says_only_what_it_may(scene: Scene) -> None:
    """A record is believed of a directory that its owner owns, or whose root he owns; of root and the agent always."""
    opener = SafeOpener([scene.root.root])
    believe = spool.believes(opener, ["daemon", "no-such-user"])
    other = f"{scene.root.root}/other"
    os.mkdir(other)
    os.chown(other, 4321, 4321)
    assert believe(0, "/anywhere")
    assert believe(os.getuid(), "/anywhere")
    assert believe(1, "/anywhere")  # daemon, on every Debian
    assert believe(4321, other)
    assert not believe(4321, scene.root.directory)
    assert not believe(4321, "/anywhere")
    os.symlink(other, f"{scene.root.root}/link")
    assert not believe(4321, f"{scene.root.root}/link")


def test_where_all_users_look_alike_none_of_them_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a user namespace (PrivateUsers= of systemd) whoever has no uid there owns what everybody else owns."""
    mine, others = tmp_path / "mine", tmp_path / "others"
    for directory in (mine, others):
        directory.mkdir()
    os.chown(others, 65534, 65534)
    opener = SafeOpener([str(tmp_path)])
    assert spool.believes(opener, [])(65534, str(others)), "here he is the user nobody"
    monkeypatch.setattr(liveness, "unmapped_uid", lambda: 65534)
    assert not spool.believes(opener, ["nobody"])(65534, str(others))
    assert spool.believes(opener, [])(os.getuid(), str(mine))


@pytest.mark.parametrize(
    ("uid_map", "unmapped"),
    [
        ("         0          0 4294967295\n", None),
        ("         0          0          1\n       998        998          1\n", 4242),  # as PrivateUsers= does
        ("0 100000 65536\n", 4242),
        (None, 65534),
    ],
)
def test_the_kernel_tells_whether_all_users_look_alike(
    tmp_path: Path, uid_map: str | None, unmapped: int | None
) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "sys" / "kernel").mkdir(parents=True)
    (tmp_path / "sys" / "kernel" / "overflowuid").write_text("4242\n")
    if uid_map is not None:
        (tmp_path / "self" / "uid_map").write_text(uid_map)
    assert liveness.unmapped_uid(str(tmp_path)) == unmapped


def test_a_directory_goes_by_the_name_that_the_settings_use(tmp_path: Path) -> None:
    """Terragrunt works in a copy, and a root may be a link: the wrapper sees the one, and where the other leads."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "spool").mkdir()
    records = Spool(str(tmp_path / "spool"), lambda _uid, _directory: True, [str(tmp_path / "link")])
    for place, name in (("real/net", "link/net"), ("real/net/.terragrunt-cache/a/b", "link/net"), ("other", "other")):
        typed = command.read(["terraform", "apply"], str(tmp_path / place), {})
        assert typed is not None
        keeper = RecordKeeper(records.path, typed, {}, None, 1.0)
        keeper.begin(os.getpid())
        (begun,) = records.look().begun
        assert begun.directory == str(tmp_path / name)
        keeper.discard()


def test_a_record_that_is_not_believed_is_named_and_left_alone(scene: Scene) -> None:
    keeper = scene.keeper()
    keeper.begin(os.getpid())
    keeper.end([], 0, 0, scene.root.now)
    (path,) = (path for path in Path(scene.root.spool.path).glob("*.json"))
    os.chown(path, 4321, 4321)
    scene.turn()
    scene.turn()
    (told,) = (told for told in scene.root.told if told.name == "source.unreadable")
    assert told.keys["path"] == str(path)
    assert "uid 4321 may not speak for" in str(told.keys["reason"])
    assert scene.root.runs() == []
    assert path.exists()


@pytest.mark.parametrize("kind", ["fifo", "link", "directory", "hard link", "large", "garbage", "name"])
def test_whatever_lies_in_the_spool_harms_nobody(scene: Scene, kind: str, tmp_path: Path) -> None:
    place = Path(scene.root.spool.path) / ("0" * 32 + ".json")
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "link":
        place.symlink_to("/etc/passwd")
    elif kind == "directory":
        place.mkdir()
    elif kind == "hard link":
        (tmp_path / "file").write_text("{}")
        os.link(tmp_path / "file", place)
    elif kind == "large":
        with place.open("wb") as file:
            file.truncate(1 << 40)
    elif kind == "garbage":
        place.write_bytes(os.urandom(1000))
    else:
        (place.parent / "..evil\n.json").write_text("{}")
    keeper = scene.keeper()
    keeper.begin(os.getpid())
    keeper.end([], 0, 0, scene.root.now)
    scene.turn()
    assert scene.root.statuses()[-1] == "SUCCEEDED"
    refused = [told for told in scene.root.told if told.name == "source.unreadable"]
    assert len(refused) == (kind != "name")


def test_a_terraform_is_alive_where_nobody_can_tell_that_it_is_not() -> None:
    boot = liveness.read_boot()
    assert boot is not None
    here, started = liveness.pid_namespace(), liveness.started(os.getpid())
    assert isinstance(started, int)

    def alive(**changed: object) -> bool:
        known = {"pid": os.getpid(), "started": started, "pid_namespace": here, "boot_id": boot.boot_id} | changed
        return is_alive(Record(1, "0", 1.0, "/w", "apply", process=Process(**known)))  # type: ignore[arg-type]

    assert alive()
    assert not alive(started=started + 1), "the pid is another process's by now"
    assert not alive(pid=NOBODY)
    assert not alive(boot_id="another")
    assert not alive(pid_namespace="pid:[1]")
    assert not is_alive(Record(1, "0", 1.0, "/w", "apply"))  # type: ignore[arg-type]


def test_a_spool_is_made_so_that_all_may_put_and_none_may_list(tmp_path: Path) -> None:
    path = tmp_path / "var" / "spool"
    spool_directory.make(str(path))
    assert path.stat().st_mode & 0o7777 == spool_directory.MODE
    spool_directory.make(str(path))


AGENT, ALICE, BOB = 4321, 4322, 4323


def as_user(uid: int, act: Callable[[], object]) -> int:
    """Let another user act; 0 when it went well, else the errno, or 255. Who is not root acts himself."""
    pid = os.fork()
    if pid == 0:
        status = 255
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            act()
            status = 0
        except OSError as error:
            status = error.errno or 255
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_every_user_may_put_a_record_and_only_the_agent_may_read_it() -> None:
    """Also under a mask that hides everything; the agent may remove what is another's."""
    with tempfile.TemporaryDirectory() as base:
        os.chmod(base, 0o755)
        path = f"{base}/spool"
        spool_directory.make(path)
        if os.getuid() == 0:
            os.chown(path, AGENT, AGENT)
            os.chmod(path, spool_directory.MODE)
        typed = command.read(["terraform", "apply"], "/w", {})
        assert typed is not None

        def put() -> None:
            os.umask(0o077)
            keeper = RecordKeeper(path, typed, {}, None, 1.0, draw=bytes)
            keeper.begin(os.getpid())
            keeper.end([], 0, 0, 2.0)

        assert as_user(ALICE, put) == 0
        record = f"{path}/{'00' * 16}.json"
        status = os.stat(record)
        assert status.st_mode & 0o777 == 0o640
        if os.getuid() == 0:
            assert (status.st_uid, status.st_gid) == (ALICE, AGENT)
            assert as_user(BOB, lambda: os.open(record, os.O_RDONLY)) == errno.EACCES
            assert as_user(BOB, lambda: os.listdir(path)) == errno.EACCES
            assert as_user(ALICE, lambda: os.listdir(path)) == errno.EACCES
            assert as_user(BOB, lambda: os.unlink(record)) == errno.EPERM
        assert as_user(AGENT, lambda: os.open(record, os.O_RDONLY)) == 0
        assert as_user(AGENT, lambda: os.unlink(record)) == 0


def test_a_spool_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    nowhere = Spool(str(tmp_path / "nowhere"), lambda _uid, _directory: True)
    news = nowhere.look()
    assert (news.begun, news.ended, news.refused) == ([], [], [])
    assert nowhere.record("0" * 32) is None


def test_sensitive_words_of_a_record_are_masked_before_they_are_kept(scene: Scene) -> None:
    keeper = scene.keeper()
    keeper._document["command"] = ["terraform", "apply", "-token=abcdef123456", "\x1b[31mred"]
    keeper._document["job"] = {"system": "ci", "url": "https://bob:hunter2pass@ci/1\u202e"}
    keeper.begin(os.getpid())
    keeper.end([], 0, 0, scene.root.now)
    scene.turn()
    kept = json.dumps(
        [dict(row) for row in map(dict, scene.root.journal.query("last_entries", limit=10))], default=repr
    )
    assert "hunter2pass" not in kept
    (run,) = scene.root.runs()
    assert run.wrapped is not None
    assert run.wrapped.command == ("terraform", "apply", "-token=[REDACTED]", "red")
    assert "\u202e" not in str(run.wrapped.job)
