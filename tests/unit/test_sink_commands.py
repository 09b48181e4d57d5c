"""`sinks list|test|pause|resume`: what they say, to a person and to a script, with an agent at work and without."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.agents import DEADLINE_S, Heard
from support.command_lines import Output, documented, rows, run
from support.hooks import SECRET, HookReceiver, answered
from support.outboxes import ARN, attempted, enqueued, notification, states

from proton_tf_agent.domain.notification import Notification, Status, trial_of
from proton_tf_agent.journal import Journal, Pause
from proton_tf_agent.journal_verify import check
from proton_tf_agent.receiver import Receiver
from proton_tf_agent.relay import Relay
from proton_tf_agent.settings import load
from proton_tf_agent.settings.sink_keys import SINK_KEYS
from proton_tf_agent.sink_assembly import make_sink
from proton_tf_agent.sinks import SINKS

pytestmark = pytest.mark.usefixtures("aws_environment")


@pytest.fixture
def hook() -> Iterator[HookReceiver]:
    receiver = HookReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def file(tmp_path: Path, journal_path: str, hook: HookReceiver, receiver: Receiver) -> str:
    """Settings with a webhook and a Proton sink, each with a real receiver behind it."""
    root, secret, path = tmp_path / "watched", tmp_path / "hook.key", tmp_path / "agent.toml"
    root.mkdir()
    secret.write_text(SECRET)
    secret.chmod(0o600)
    path.write_text(
        f'[journal]\npath = "{journal_path}"\n[[watch]]\npath = "{root}"\n'
        f'[[sink]]\ntype = "webhook"\nname = "hook"\nurl = "{hook.url}"\nsecrets = ["file:{secret}"]\n'
        f'only = ["failed", "recovered"]\nunbound = true\n'
        f'[[sink]]\ntype = "proton"\nregion = "us-east-1"\nendpoint_url = "{receiver.url}"\n'
    )
    path.chmod(0o644)
    return str(path)


@pytest.fixture
def idle(journal_path: str) -> None:
    """A journal that no agent holds."""
    Journal.open_as_daemon(journal_path).close()


@contextmanager
def at_work(journal: Journal, file: str) -> Iterator[tuple[Relay, Heard]]:
    """A relay with the sinks of these settings, as the daemon has it, and its log."""
    settings, log = load(file), Heard()
    sinks = {sink.name: make_sink(sink, settings) for sink in settings.sink}
    relay = Relay(journal, sinks, log.tell, lambda: 1000.0, lambda: 0.0)
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        yield relay, log
    finally:
        relay.stop()
        thread.join()
        for sink in sinks.values():
            sink.close()


def waiting_for(sink: str, journal: Journal) -> list[str]:
    return [row["state"] for row in journal.query("entries", after=0, limit=100) if row["sink"] == sink]


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


# --- list -----------------------------------------------------------------------------------------------------------


def test_each_sink_is_listed_with_what_it_is_told_and_how_it_does(journal: Journal, file: str, capsys: Output) -> None:
    (first, _) = enqueued(journal, notification(1, Status.FAILED), notification(2, Status.FAILED), sink="hook")
    attempted(journal, first)
    hook, proton = rows(capsys, "sinks", "list", "--config", file)
    assert hook.keys() == proton.keys() == documented("sinks list")
    assert (hook["type"], hook["only"], hook["unbound"]) == ("webhook", ["failed", "recovered"], True)
    assert (hook["waiting"], hook["last_accepted_at"]) == (1, "1970-01-01T00:16:41.000Z")
    assert (proton["waiting"], proton["last_accepted_at"], proton["verdict"]) == (0, None, "current")
    text = run(capsys, "sinks", "list", "--config", file)[1]
    assert "failed, recovered; unbound runs, too" in text
    assert "last at 1970-01-01 00:16:41 UTC" in text


def test_no_secret_is_listed(journal: Journal, file: str, capsys: Output) -> None:
    assert SECRET.removeprefix("whsec_") not in run(capsys, "sinks", "list", "--config", file)[1]


@pytest.mark.parametrize("type_name", sorted(SINKS))
def test_every_type_of_sink_says_where_it_goes(type_name: str) -> None:
    says = [key.name for key in SINK_KEYS if key.says_where and key.applies(type_name)]
    assert bool(says) == (type_name != "console")


# --- pause and resume -----------------------------------------------------------------------------------------------


def test_a_pause_is_a_row_of_the_journal_with_who_and_why(
    idle: None, file: str, journal_path: str, capsys: Output
) -> None:
    (row,) = rows(capsys, "sinks", "pause", "hook", "--reason", "their maintenance", "--config", file)
    assert row.keys() == documented("sinks pause", "sinks resume")
    assert (row["outcome"], row["paused_because"]) == ("paused", "their maintenance")
    with Journal.open_as_daemon(journal_path) as journal:
        (pause,) = journal.pauses().values()
        assert "@" in pause.who
        assert list(check(journal)) == []
    (again,) = rows(capsys, "sinks", "pause", "hook", "--config", file)
    assert (again["outcome"], again["paused_because"]) == ("was paused already", "their maintenance")


def test_status_and_list_say_that_a_sink_is_paused(journal: Journal, file: str, capsys: Output) -> None:
    run(capsys, "sinks", "pause", "hook", "--reason", "their maintenance", "--config", file)
    (status,) = rows(capsys, "status", "--config", file)
    assert status["verdict"] == "degraded"
    assert "hook is paused by" in status["because"]["delivering"]
    for command in ("status", "sinks"):
        text = " ".join(
            run(capsys, *(["sinks", "list"] if command == "sinks" else ["status"]), "--config", file)[1].split()
        )
        assert "hook is paused since" in text
        assert "their maintenance; everything waits, `sinks resume hook` lets it go on" in text
    run(capsys, "sinks", "resume", "hook", "--config", file)
    (status,) = rows(capsys, "status", "--config", file)
    assert "paused" not in str(status["because"]["delivering"])


def test_what_is_not_paused_goes_on_and_a_sink_that_is_not_there_is_none(idle: None, file: str, capsys: Output) -> None:
    (row,) = rows(capsys, "sinks", "resume", "hook", "--config", file)
    assert row["outcome"] == "was not paused"
    for command in ("pause", "resume", "test"):
        code, _, err = run(capsys, "sinks", command, "nowhere", "--config", file)
        assert code == 2
        assert "no [[sink]] is named 'nowhere' (there is hook, proton)" in err


def test_a_pause_of_a_sink_that_the_settings_name_no_more_can_be_ended(
    journal: Journal, file: str, capsys: Output
) -> None:
    journal.pause("old", Pause(1000.0, "alice@ci", ""))
    assert "resumed" in run(capsys, "sinks", "resume", "old", "--config", file)[1]
    assert journal.pauses() == {}


def test_nothing_leaves_for_a_paused_sink_all_waits_and_then_goes_in_order(
    journal: Journal, file: str, hook: HookReceiver, receiver: Receiver, capsys: Output
) -> None:
    """The relay sees it at its next turn, whatever was enqueued; the other sink is told all the while."""
    with at_work(journal, file) as (relay, log):
        run(capsys, "sinks", "pause", "hook", "--config", file)
        log.wait_for("sink.paused", sink="hook")
        for number in range(1, 4):
            for sink in ("hook", "proton"):
                enqueued(journal, notification(number, Status.FAILED, ARN.replace("eu-west", "us-east")), sink=sink)
        log.wait_for("notification.delivered", 3, sink="proton")
        assert hook.requests == 0
        relay.nudge()
        wait_until(lambda: waiting_for("hook", journal) == ["pending"] * 3, "nothing of it is on its way")
        assert list(check(journal)) == []
        run(capsys, "sinks", "resume", "hook", "--config", file)
        log.wait_for("notification.delivered", 3, sink="hook")
    assert [event["id"] for event in hook.events] == ["ntf-1", "ntf-2", "ntf-3"]


def test_a_pause_outlives_the_agent(journal_path: str, file: str, hook: HookReceiver, capsys: Output) -> None:
    with Journal.open_as_daemon(journal_path) as journal:
        enqueued(journal, notification(1, Status.FAILED), sink="hook")
    run(capsys, "sinks", "pause", "hook", "--config", file)
    with Journal.open_as_daemon(journal_path) as journal, at_work(journal, file) as (_, log):
        log.wait_for("sink.paused", sink="hook")
        enqueued(journal, notification(2, Status.FAILED, ARN.replace("eu-west", "us-east")), sink="proton")
        log.wait_for("notification.delivered", sink="proton")
        assert hook.requests == 0


# --- test -----------------------------------------------------------------------------------------------------------


def test_a_test_is_none_of_a_runs_notifications(hook: HookReceiver, idle: None, file: str, capsys: Output) -> None:
    """The receiver verifies signature and schema; id, type and text say what it is."""
    (row,) = rows(capsys, "sinks", "test", "hook", "--config", file)
    assert row.keys() == documented("sinks test")
    assert (row["ok"], row["by_agent"], row["outcome"]) == (True, False, "accepted")
    (event,) = hook.events
    assert event["type"] == "dev.proton-tf-agent.test"
    assert event["id"] == row["id"]
    assert event["id"].startswith("test-")
    assert event["data"]["status_message"].startswith("This is a test of the sink hook, asked for by ")
    assert (event["data"]["resource_arn"], event["data"]["status"]) == (None, "IN_PROGRESS")


def test_no_other_notification_is_taken_for_a_test() -> None:
    assert trial_of("hook", "alice@ci", 1.0).is_test
    assert not notification(1).is_test
    assert trial_of("hook", "alice@ci", 1.0).notification_id != trial_of("hook", "alice@ci", 2.0).notification_id


def test_while_an_agent_runs_it_is_the_agent_that_sends_the_test(
    journal: Journal, file: str, hook: HookReceiver, capsys: Output
) -> None:
    with at_work(journal, file):
        (row,) = rows(capsys, "sinks", "test", "hook", "--config", file)
    assert (row["ok"], row["by_agent"]) == (True, True)
    assert [event["id"] for event in hook.events] == [row["id"]]
    assert states(journal) == ["delivered"]
    assert list(check(journal)) == []


@pytest.mark.parametrize(("status", "outcome"), [(503, "unavailable"), (401, "unauthenticated"), (422, "invalid")])
def test_a_test_that_is_not_accepted_says_why_and_is_not_sent_again(
    journal: Journal, file: str, hook: HookReceiver, capsys: Output, status: int, outcome: str
) -> None:
    hook.fail(answered(status))
    with at_work(journal, file):
        code, out, _ = run(capsys, "sinks", "test", "hook", "--json", "--config", file)
    row = json.loads(out)
    assert (code, row["ok"], row["outcome"], row["http_status"]) == (1, False, outcome, status)
    assert row["means"]
    assert row["remedy"]
    assert states(journal) == ["discarded"]


def test_a_test_that_the_agent_does_not_send_in_time_is_given_up(
    journal: Journal, file: str, hook: HookReceiver, capsys: Output
) -> None:
    """The journal is held, and nobody delivers."""
    code, out, _ = run(capsys, "sinks", "test", "hook", "--wait", "0.2s", "--config", file)
    assert code == 1
    assert "the agent has not sent it in time" in " ".join(out.split())
    assert states(journal) == ["discarded"]
    assert hook.requests == 0


def test_a_paused_sink_is_told_no_test(journal: Journal, file: str, hook: HookReceiver, capsys: Output) -> None:
    run(capsys, "sinks", "pause", "hook", "--config", file)
    code, _, err = run(capsys, "sinks", "test", "hook", "--config", file)
    assert (code, hook.requests, states(journal)) == (1, 0, [])
    assert "hook is paused" in err


def test_proton_is_asked_whether_it_is_there_and_told_nothing(
    idle: None, file: str, receiver: Receiver, capsys: Output
) -> None:
    code, out, _ = run(capsys, "sinks", "test", "proton", "--config", file)
    assert code == 0
    assert "proton: it is there" in out
    assert "takes whatever it is told for the status of a deployment" in out
    assert receiver.records() == ()


def test_old_tests_are_let_go_of(journal: Journal) -> None:
    def told(number: float) -> Notification:
        return trial_of("hook", "alice@ci", number)

    for number in (1.0, 2.0):
        (seq,) = enqueued(journal, told(number), sink="hook", now=1000.0)
        attempted(journal, seq, now=1001.0)
    assert journal.prune_all(2000.0).entries == 2
    assert states(journal) == []


def test_a_shadow_is_told_a_test_from_here_for_the_agent_sends_it_nothing(
    journal: Journal, file: str, hook: HookReceiver, capsys: Output
) -> None:
    Path(file).write_text(Path(file).read_text("utf-8").replace("unbound = true\n", "unbound = true\nshadow = true\n"))
    (row,) = rows(capsys, "sinks", "test", "hook", "--config", file)
    assert (row["ok"], row["by_agent"], states(journal)) == (True, False, [])
    assert [event["id"] for event in hook.events] == [row["id"]]
    assert "nothing is sent to it" in run(capsys, "sinks", "list", "--config", file)[1]


@pytest.mark.parametrize(("shadow", "mended_by"), [("", "start the agent"), ("shadow = true\n", "take `shadow` out")])
def test_where_only_the_service_has_the_secret_it_is_said_how_a_test_can_be_sent(
    shadow: str, mended_by: str, idle: None, file: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    settings = re.sub(r"secrets = \[.*\]\n", 'secrets = ["credential:hook"]\n' + shadow, Path(file).read_text())
    Path(file).write_text(settings)
    code, out, _ = run(capsys, "sinks", "test", "hook", "--json", "--config", file)
    row = json.loads(out)
    assert (code, row["ok"], row["code"]) == (1, False, "CredentialMissing")
    assert mended_by in row["remedy"]
