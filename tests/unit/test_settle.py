"""Settle: a person's word about what no evidence can decide, on record with their name and told like any outcome."""

from __future__ import annotations

import io
import os
import pwd
import re
import socket
import threading
from pathlib import Path

import pytest
from support.agents import Heard
from support.facts import ARN, DEPLOYMENT_ID, LOCKED_TO_APPLY, RELEASED
from support.outboxes import attempted, heads
from support.watching import bind_directory

from proton_tf_agent import assembly, settle
from proton_tf_agent.domain import evidence as ev
from proton_tf_agent.domain.binding import Unbound
from proton_tf_agent.domain.errors import AgentError, UsageInvalid
from proton_tf_agent.domain.evidence import DecisionTaken, Fact, Observation
from proton_tf_agent.domain.notification import Notification
from proton_tf_agent.domain.run import Basis, RunStatus
from proton_tf_agent.journal import Journal, Recorded, notification_of
from proton_tf_agent.pipeline import Pipeline
from proton_tf_agent.receiver import Receiver
from proton_tf_agent.relay import Relay
from proton_tf_agent.settings import AllowSettings, RunSettings, Settings, SinkSettings, WatchSettings
from proton_tf_agent.sink_assembly import make_sink
from proton_tf_agent.sinks import Sink
from proton_tf_agent.sinks.console import ConsoleSink
from proton_tf_agent.sinks.proton import ProtonSink
from proton_tf_agent.sources.safe_open import SafeOpener

NOW = 1_900_000_000.0
SUCCEEDED = DecisionTaken(True, "alice@ci-7", "looked at it in the console")
FAILED = DecisionTaken(False, "alice@ci-7", "looked at it in the console")
STATE = """{"version":4,"terraform_version":"1.11.4","serial":2,"lineage":"l","outputs":{
"vpc_id":{"value":"vpc-1","type":"string"},"pw":{"value":"hunter2-SECRET","type":"string","sensitive":true}},
"resources":[],"check_results":null}"""


class Scene:
    """A run directory below a watched root, and the pipeline of the daemon that watches it."""

    def __init__(self, base: Path, journal: Journal) -> None:
        self.journal = journal
        self.directory = f"{base}/watched/network"
        os.makedirs(self.directory)
        self.settings = Settings(
            watch=(WatchSettings(f"{base}/watched"),),
            allow=AllowSettings(("*",)),
            sink=(SinkSettings("proton", region="eu-west-1"), SinkSettings("console")),
            run=RunSettings(settle=10, grace=3),
        )
        self.opener = SafeOpener([f"{base}/watched"])

    def daemon(self) -> Pipeline:
        sinks = {sink.name: make_sink(sink, self.settings) for sink in self.settings.sink}
        return assembly.assemble_pipeline(self.settings, self.journal, self.opener, sinks, lambda _told: None)

    def bind(self) -> None:
        bind_directory(self.directory, ARN, DEPLOYMENT_ID)

    def write_state(self) -> None:
        Path(self.directory, "terraform.tfstate").write_text(STATE)

    def tell(self, *evidence: ev.Evidence, anchor: str = "", position: int | None = None) -> None:
        """Let the daemon absorb facts about this directory."""
        facts = tuple(Fact(e, anchor, position) for e in evidence)
        observation = Observation("test", f"{self.directory}/apply.log", self.directory, "default", facts, None)
        daemon = self.daemon()
        daemon.absorb([observation], NOW, lambda _path: 0.0)
        daemon.elapse(NOW + 5.0)

    def undetermined(self) -> str:
        """A run without a log that has released its lock: nobody can tell what became of it."""
        self.tell(replace_state_path(f"{self.directory}/terraform.tfstate"), RELEASED)
        (recorded,) = self.journal.runs(10)
        assert recorded.run.status is RunStatus.UNDETERMINED
        return recorded.run.run_id

    def decide(self, run_id: str, decision: DecisionTaken = SUCCEEDED, now: float = NOW + 60) -> Recorded:
        with Journal.open_existing(self.journal.path) as beside:
            return assembly.decide(self.settings, beside, run_id, decision, now)

    def run(self, run_id: str) -> Recorded:
        recorded = self.journal.run(run_id)
        assert recorded is not None
        return recorded

    def sent(self, sink: str) -> list[Notification]:
        rows = self.journal.query("entries", after=0, limit=100)
        return [notification_of(row["body"]) for row in rows if row["sink"] == sink]


def replace_state_path(path: str) -> ev.LockTaken:
    return ev.LockTaken(LOCKED_TO_APPLY.lock_id, "OperationTypeApply", "ci@runner", "1.11.4", None, path)


@pytest.fixture
def scene(tmp_path: Path, journal: Journal) -> Scene:
    return Scene(tmp_path, journal)


# --- who and why --------------------------------------------------------------------------------------------------


def test_who_decides_is_found_out_and_not_asked() -> None:
    login = pwd.getpwuid(os.getuid()).pw_name
    assert settle.who_decides({}) == f"{login}@{socket.gethostname()}"
    assert settle.who_decides({"USER": "mallory", "LOGNAME": "mallory"}) == f"{login}@{socket.gethostname()}"
    assert settle.who_decides({"SUDO_USER": "alice"}) == f"alice as {login}@{socket.gethostname()}"


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a\u202eb", "a\nb c", "x" * 5000, "\udcff"])
def test_a_name_is_short_and_cannot_act(name: str) -> None:
    who = settle.who_decides({"SUDO_USER": name})
    assert who.isprintable()
    assert len(who) < 400
    assert who.count(" ") <= 2


@pytest.mark.parametrize("reason", ["", "   ", "\n\t", "\x1b[2J"])
def test_a_decision_needs_a_reason(reason: str) -> None:
    with pytest.raises(UsageInvalid, match="--reason"):
        settle.decision(True, reason, "alice@ci-7")


def test_a_reason_is_bounded_in_one_line_and_without_well_known_credentials() -> None:
    with pytest.raises(UsageInvalid, match="501 characters"):
        settle.decision(True, "x" * 501, "alice@ci-7")
    assert settle.decision(True, "x" * 500, "alice@ci-7").reason == "x" * 500
    kept = settle.decision(False, " seen\n in \x1b[31mthe console, token=AKIAIOSFODNN7EXAMPLE ", "alice@ci-7")
    assert kept == DecisionTaken(False, "alice@ci-7", "seen in the console, token=[REDACTED]")


# --- what a decision does -----------------------------------------------------------------------------------------


def test_a_run_settled_as_succeeded_is_told_with_the_outputs_of_its_state(scene: Scene) -> None:
    scene.bind()
    run_id = scene.undetermined()
    assert scene.run(run_id).silence == "it ended, and success cannot be told from failure"
    scene.write_state()
    decided = scene.decide(run_id)
    assert decided == scene.run(run_id)
    assert (decided.run.status, decided.run.basis, decided.silence) == (RunStatus.APPLIED, Basis.DECISION, "")
    for sink in ("proton", "console"):
        last = scene.sent(sink)[-1]
        assert (last.status, last.outputs) == ("SUCCEEDED", (("vpc_id", "vpc-1"),))
        assert last.status_message == (
            "Settled as succeeded by alice@ci-7: looked at it in the console. Terraform itself had ended, and its "
            "outcome could not be told. 1 not sent: pw (sensitive)."
        )
        assert last.omitted == (("pw", "sensitive"),)


def test_where_the_state_cannot_be_read_the_message_says_so(scene: Scene) -> None:
    scene.bind()
    scene.decide(scene.undetermined())
    last = scene.sent("proton")[-1]
    assert (last.status, last.outputs) == ("SUCCEEDED", ())
    assert re.search(r" No outputs were sent \(outputs unreadable: .+\)\.$", last.status_message)


def test_a_run_settled_as_failed_is_told_as_failed(scene: Scene) -> None:
    scene.bind()
    scene.write_state()
    decided = scene.decide(scene.undetermined(), FAILED)
    assert decided.run.status is RunStatus.ERRORED
    last = scene.sent("proton")[-1]
    assert (last.status, last.outputs) == ("FAILED", ())
    assert last.status_message.startswith("Settled as failed by alice@ci-7: looked at it in the console.")


def test_a_decision_is_on_record_with_who_and_why(scene: Scene) -> None:
    run_id = scene.undetermined()
    scene.decide(run_id)
    last = scene.journal.evidence_of(run_id)[-1]
    assert (last["source"], last["kind"], last["status"]) == ("person", "DecisionTaken", "applied")
    assert b"alice@ci-7" in last["fields"]
    assert b"looked at it in the console" in last["fields"]


def test_what_a_person_pastes_of_the_states_secrets_is_not_kept(scene: Scene) -> None:
    scene.bind()
    run_id = scene.undetermined()
    scene.write_state()
    scene.decide(run_id, DecisionTaken(False, "alice@ci-7", "login with hunter2-SECRET works"))
    assert "login with [REDACTED] works" in scene.sent("proton")[-1].status_message
    assert b"hunter2" not in Path(scene.journal.path).read_bytes()


def test_beside_the_daemon_an_entry_waits_for_its_tick_and_is_not_said_to_be_on_the_wire(scene: Scene) -> None:
    """Who does not send must not write that a request is under way: after a crash it would be called ambiguous."""
    scene.bind()
    run_id = scene.undetermined()
    for entry in heads(scene.journal):
        attempted(scene.journal, entry.seq)
    scene.decide(run_id)
    waiting = heads(scene.journal)
    assert [(e.sink, e.notification.status, e.state, e.attempts) for e in waiting] == [
        ("proton", "SUCCEEDED", "pending", 0),
        ("console", "SUCCEEDED", "pending", 0),
    ]
    assert scene.journal.query("attempts_of_entry", seq=waiting[0].seq) == []


def test_a_running_relay_tells_it_at_its_next_tick(scene: Scene, receiver: Receiver) -> None:
    scene.bind()
    run_id = scene.undetermined()
    sinks: dict[str, Sink] = {
        "proton": ProtonSink("proton", "eu-west-1", receiver.url),
        "console": ConsoleSink("console", io.StringIO()),
    }
    log = Heard()
    relay = Relay(scene.journal, sinks, log.tell, lambda: NOW + 61, lambda: 0.0)
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        scene.decide(run_id)  # no nudge: another process has none
        log.wait_for("notification.delivered", sink="proton", status="SUCCEEDED")
    finally:
        relay.stop()
        thread.join()
        sinks["proton"].close()
    assert [record.status for record in receiver.records()][-1] == "SUCCEEDED"


def test_proof_that_comes_later_outranks_a_person(scene: Scene) -> None:
    scene.bind()
    scene.tell(ev.OperationStarted("terraform", "1.11.4", NOW), anchor="a1", position=0)
    run = scene.journal.runs(1)[0].run
    scene.tell(replace_state_path(f"{scene.directory}/terraform.tfstate"), RELEASED)
    scene.tell(ev.LogClosed(), anchor="a1")
    assert scene.run(run.run_id).run.status is RunStatus.UNDETERMINED
    scene.decide(run.run_id, FAILED)
    scene.tell(ev.ApplySummarised(1, 0, 0), anchor="a1", position=100)
    scene.tell(ev.OutputsReported(()), anchor="a1", position=200)
    proven = scene.run(run.run_id).run
    assert (proven.status, proven.basis) == (RunStatus.APPLIED, Basis.PROOF)
    assert [n.status for n in scene.sent("proton")][-2:] == ["FAILED", "SUCCEEDED"]
    with pytest.raises(AgentError, match="was proven"):
        scene.decide(run.run_id, FAILED)


@pytest.mark.parametrize("decided", [True, False])
def test_late_proof_counts_after_its_wait_although_the_run_had_ended_and_the_agent_was_restarted(
    scene: Scene, decided: bool
) -> None:
    scene.bind()
    scene.tell(ev.OperationStarted("terraform", "1.11.4", NOW), anchor="a1", position=0)
    scene.tell(replace_state_path(f"{scene.directory}/terraform.tfstate"), RELEASED)
    scene.tell(ev.LogClosed(), anchor="a1")
    run_id = scene.journal.runs(1)[0].run.run_id
    if decided:
        scene.decide(run_id, FAILED)
    scene.tell(ev.ApplySummarised(1, 0, 0), anchor="a1", position=100)
    with pytest.raises(AgentError, match="cannot be settled"):
        scene.decide(run_id)
    restarted = scene.daemon()
    assert restarted.open_runs == []
    assert restarted.next_due_at() == NOW + 10
    restarted.elapse(NOW + 10)
    assert (scene.run(run_id).run.status, scene.run(run_id).run.basis) == (RunStatus.APPLIED, Basis.PROOF)
    assert scene.sent("proton")[-1].status == "SUCCEEDED"
    assert scene.daemon().next_due_at() is None


def test_a_run_from_before_the_root_was_watched_is_told_once_a_person_asks_for_it(scene: Scene) -> None:
    scene.bind()
    taken = replace_state_path(f"{scene.directory}/terraform.tfstate")
    observation = Observation(
        "lock_file", f"{scene.directory}/x", scene.directory, "default", (Fact(taken), Fact(RELEASED)), None, NOW - 9999
    )
    daemon = scene.daemon()
    daemon.absorb([observation], NOW, lambda _path: NOW - 60)
    daemon.elapse(NOW + 5.0)
    (recorded,) = scene.journal.runs(1)
    assert recorded.run.historic
    assert recorded.silence == "it was over before the agent first watched its root"
    assert scene.sent("proton") == []
    assert not scene.decide(recorded.run.run_id).run.historic
    assert [n.status for n in scene.sent("proton")] == ["SUCCEEDED"]


# --- what is refused ----------------------------------------------------------------------------------------------


def test_an_unknown_run_is_a_mistake_of_who_asked(scene: Scene) -> None:
    with pytest.raises(UsageInvalid, match="nothing is known of 'run-9'"):
        scene.decide("run-9")


def test_a_run_that_is_under_way_is_left_alone(scene: Scene) -> None:
    scene.tell(replace_state_path(f"{scene.directory}/terraform.tfstate"))
    (recorded,) = scene.journal.runs(1)
    with pytest.raises(AgentError, match=r"cannot be settled: it is still under way \(planning\)") as refused:
        scene.decide(recorded.run.run_id)
    assert refused.value.exit_code == 1
    assert scene.run(recorded.run.run_id) == recorded


@pytest.mark.parametrize("second", [SUCCEEDED, FAILED, DecisionTaken(False, "bob@ci-7", "no, I have looked")])
def test_a_second_decision_is_refused_and_says_whose_the_first_was(scene: Scene, second: DecisionTaken) -> None:
    scene.bind()
    run_id = scene.undetermined()
    first = scene.decide(run_id)
    told = scene.sent("proton")
    with pytest.raises(AgentError, match="alice@ci-7 has settled it as succeeded already"):
        scene.decide(run_id, second)
    assert (scene.run(run_id), scene.sent("proton")) == (first, told)


def test_an_unbound_run_is_settled_and_not_told_for_whoever_has_its_directory_now(scene: Scene) -> None:
    """The next deployment's metadata may lie there by now; the old run is not its."""
    run_id = scene.undetermined()
    assert isinstance(scene.run(run_id).binding, Unbound)
    scene.bind()
    decided = scene.decide(run_id)
    assert decided.run.status is RunStatus.APPLIED
    assert decided.silence == "no deployment metadata and no [[bind]] for this directory"
    assert scene.sent("proton") == scene.sent("console") == []
