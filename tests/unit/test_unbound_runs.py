"""Runs that report for no Proton resource: known by a name of the settings or by their directory, never to Proton."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from support.enactors import moved
from support.hooks import SCHEMA
from support.observing import ObservedRoot
from support.outboxes import ARN as ANY_ARN
from support.outboxes import enqueued, notification, states
from support.routed import LOG_OF, ends, happen, left_out_of, proton, sink, subjects, takes_all, told
from support.watching import bind_directory

from proton_tf_agent.cloud_event import event
from proton_tf_agent.domain.notification import Notification, Status, under
from proton_tf_agent.domain.routing import Occasion, Route
from proton_tf_agent.domain.run import Run
from proton_tf_agent.domain.values import replace
from proton_tf_agent.journal import Journal
from proton_tf_agent.journal_verify import check
from proton_tf_agent.replay import append, choose
from proton_tf_agent.run_directories import RunDirectories
from proton_tf_agent.selection import Scope
from proton_tf_agent.settings import AllowSettings, BindSettings, Settings
from proton_tf_agent.sources.safe_open import SafeOpener

ARN = "arn:aws:proton:us-east-1:111122223333:environment/net"
DEPLOYMENT, NEXT = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"

Make = Callable[..., ObservedRoot]


@pytest.fixture
def make(tmp_path: Path, journal: Journal) -> Make:
    """A watched root under settings, before Proton and a sink that takes unbound runs."""

    def made(*bind: BindSettings, allow: str = "arn:aws:proton:*") -> ObservedRoot:
        root = ObservedRoot(tmp_path, journal, Settings(allow=AllowSettings((allow,)), bind=bind))
        root.pipeline.addressees = (proton(), takes_all("hook"))
        return root

    return made


def called(tmp_path: Path, name: str) -> BindSettings:
    return BindSettings(f"{tmp_path}/watched/net", name=name)


def begin(root: ObservedRoot, outcome: str = "ok") -> str:
    """Let a run begin and be under way; returns the rest of its log."""
    lines = moved(LOG_OF[outcome], root.now).splitlines(keepends=True)
    root.write("0.log", "".join(lines[:2]).encode())
    root.look("0.log")
    return "".join(lines[2:])


def end(root: ObservedRoot, rest: str) -> None:
    root.write("0.log", rest.encode(), "ab")
    root.look("0.log")
    root.wait(60.0)


# --- whom they are known by -----------------------------------------------------------------------------------------


def test_without_a_name_it_is_the_run_directory(make: Make) -> None:
    root = make()
    happen(root, "ok", "failed")
    assert {subject for subject, _ in subjects(root, "hook")} == {root.directory}
    assert ends(root, "hook") == ["SUCCEEDED", "FAILED"]
    assert subjects(root, "proton") == []
    assert list(check(root.journal)) == []


def test_with_a_name_it_is_the_name(make: Make, tmp_path: Path) -> None:
    root = make(called(tmp_path, "network"))
    happen(root, "ok")
    assert {subject for subject, _ in subjects(root, "hook")} == {"network"}
    assert subjects(root, "proton") == []
    assert left_out_of(root) == {"proton": "it is told only about Proton resources"}
    assert list(check(root.journal)) == []


def test_deployment_metadata_come_before_a_name(make: Make, tmp_path: Path) -> None:
    root = make(called(tmp_path, "network"))
    bind_directory(root.directory, ARN, DEPLOYMENT)
    happen(root, "ok")
    assert {subject for subject, _ in subjects(root, "hook") + subjects(root, "proton")} == {ARN}


def test_a_name_beside_an_arn_is_a_word_for_routes(make: Make, tmp_path: Path) -> None:
    root = make(BindSettings(f"{tmp_path}/watched/net", ARN, name="network"))
    root.pipeline.addressees = (sink("by-name", Route(resources=("net*",))), sink("other", Route(resources=("dns",))))
    happen(root, "ok")
    assert {subject for subject, _ in subjects(root, "by-name")} == {ARN}
    assert subjects(root, "other") == []


def test_a_route_over_resources_takes_no_run_that_is_known_by_its_directory(make: Make) -> None:
    root = make()
    root.pipeline.addressees = (sink("hook", Route(resources=("*",), unbound=True)), takes_all("all"))
    happen(root, "ok")
    assert subjects(root, "hook") == []
    assert ends(root, "all") == ["SUCCEEDED"]


def test_where_no_sink_takes_them_nothing_is_told_and_the_run_says_why(make: Make) -> None:
    root = make()
    root.pipeline.addressees = (proton(), sink("hook"))
    happen(root, "ok")
    assert root.journal.query("entries", after=0, limit=10) == []
    (recorded,) = root.journal.runs(10)
    assert recorded.silence == "no deployment metadata and no [[bind]] for this directory"


def test_what_arrives_names_no_resource(tmp_path: Path) -> None:
    for bind, subject in (((), f"{tmp_path}/watched/net"), ((called(tmp_path, "network"),), "network")):
        one = replace(notification(1), resource_arn=None, deployment_id=None, directory=f"{tmp_path}/watched/net")
        one = replace(one, name=bind[0].name if bind else None)
        sent = event(one, "proton-tf-agent://here")
        jsonschema.validate(sent, SCHEMA)
        assert sent["subject"] == subject
        assert sent["data"]["resource_arn"] is None


# --- one run, one subject at a sink ---------------------------------------------------------------------------------


def test_a_run_that_finds_its_binding_later_goes_on_by_the_subject_it_was_first_told_by(make: Make) -> None:
    """Proton hears the whole of it from then on, under the ARN; whoever has heard it begin hears it end."""
    root = make()
    rest = begin(root)
    assert subjects(root, "hook") == [(root.directory, "IN_PROGRESS")]
    bind_directory(root.directory, ARN, DEPLOYMENT)
    root.pipeline.bind({root.directory}, root.now)
    end(root, rest)
    assert {subject for subject, _ in subjects(root, "hook")} == {root.directory}
    assert {subject for subject, _ in subjects(root, "proton")} == {ARN}
    assert ends(root, "hook") == ends(root, "proton") == ["SUCCEEDED"]
    assert list(check(root.journal)) == []
    happen(root, "ok")
    assert subjects(root, "hook")[-1] == (ARN, "SUCCEEDED"), "the next run is the resource's from its beginning"


def test_a_look_at_what_is_unbound_tells_nothing_twice(make: Make) -> None:
    root = make()
    rest = begin(root)
    for _ in range(3):
        root.pipeline.bind({root.directory}, root.now)
        root.pipeline.bind_open(root.now)
    end(root, rest)
    told_ids = [row["notification_id"] for row in root.journal.query("entries", after=0, limit=100)]
    assert len(told_ids) == len(set(told_ids))
    assert list(check(root.journal)) == []


def test_a_sink_that_takes_unbound_runs_from_now_on_hears_of_those_that_are_open(make: Make) -> None:
    root = make()
    root.pipeline.addressees = (proton(), sink("hook"))
    rest = begin(root)
    root.pipeline.addressees = (proton(), takes_all("hook"))
    root.pipeline.bind_open(root.now)
    assert subjects(root, "hook") == [(root.directory, "IN_PROGRESS")]
    end(root, rest)
    assert ends(root, "hook") == ["SUCCEEDED"]


def test_a_run_that_is_carried_over_is_told_by_no_second_subject_even_if_forced(make: Make) -> None:
    root = make()
    rest = begin(root)
    bind_directory(root.directory, ARN, DEPLOYMENT)
    root.pipeline.bind({root.directory}, root.now)
    end(root, rest)
    scope, hook = Scope(everything=True, sink="proton"), takes_all("hook")
    chosen = choose(root.journal, scope, addressee=hook, force=True)
    refusals = {choice.refusal for choice in append(root.journal, chosen, 1.0, addressee=hook, force=True)}
    assert refusals == {f"hook has heard of this run as {root.directory}"}


@pytest.mark.parametrize("force", [False, True])
def test_nothing_is_carried_over_to_proton_without_an_arn(make: Make, force: bool) -> None:
    root = make()
    happen(root, "ok")
    chosen = choose(root.journal, Scope(everything=True), addressee=proton(), force=force)
    assert {choice.refusal for choice in append(root.journal, chosen, 1.0, addressee=proton(), force=force)} == {
        "proton takes no such notification"
    }


def test_to_a_sink_that_takes_no_unbound_runs_they_are_carried_over_if_forced(make: Make) -> None:
    root = make()
    happen(root, "ok")
    for force, wanted in (
        (False, "the route of chat leaves it out: it is told only about Proton resources"),
        (True, ""),
    ):
        chosen = choose(root.journal, Scope(everything=True, sink="hook"), addressee=sink("chat"), force=force)
        assert {choice.refusal for choice in chosen} == {wanted}


@pytest.mark.parametrize(
    ("known", "subject"), [("/elsewhere/net", "/elsewhere/net"), ("network", "network"), (ANY_ARN + "2", None)]
)
def test_what_a_sink_has_heard_of_a_run_decides_by_which_subject_it_hears_more(known: str, subject: str | None) -> None:
    for one in (notification(1), replace(notification(1), resource_arn=None, deployment_id=None, name="n")):
        again = under(one, known)
        assert (again.subject if again else None) == subject
        if again:
            assert (again.resource_arn, again.deployment_id) == (None, None)
            assert again.notification_id == one.notification_id
    assert under(notification(1), ANY_ARN) == notification(1)


# --- order and last words, by subject -------------------------------------------------------------------------------


def of_directory(number: int, status: Status, directory: str, run_id: str, began: float = 0.0) -> Notification:
    one = notification(number, status, deployment=None, run_id=run_id, began=began)
    return replace(one, resource_arn=None, directory=directory)


def test_each_directory_is_a_line_of_its_own(journal: Journal) -> None:
    """Of one only the first entry is under way, whatever the run, and what is behind it waits; another does not."""
    enqueued(
        journal,
        of_directory(1, Status.IN_PROGRESS, "/w/net", "run-1"),
        of_directory(2, Status.FAILED, "/w/net", "run-1"),
        of_directory(3, Status.IN_PROGRESS, "/w/net", "run-2"),
        of_directory(4, Status.FAILED, "/w/dns", "run-3"),
    )
    assert states(journal) == ["sending", "pending", "pending", "sending"]
    assert [(head.line, head.seq) for head in journal.heads(["proton"])] == [("/w/net", 1), ("/w/dns", 4)]


def test_what_an_earlier_run_of_a_directory_says_behind_the_end_of_a_later_one_comes_too_late(journal: Journal) -> None:
    enqueued(journal, of_directory(1, Status.SUCCEEDED, "/w/net", "later", began=20.0))
    enqueued(journal, of_directory(2, Status.FAILED, "/w/net", "earlier", began=10.0))
    enqueued(journal, of_directory(3, Status.FAILED, "/w/dns", "elsewhere", began=10.0))
    assert states(journal) == ["sending", "superseded", "sending"]


def test_what_recovers_may_be_a_directory(make: Make) -> None:
    root = make()
    root.pipeline.addressees = (sink("chat", Route((Occasion.FAILED, Occasion.RECOVERED), unbound=True)),)
    happen(root, "ok", "failed", "ok", "ok")
    assert told(root, "chat") == ["FAILED", "SUCCEEDED"]


# --- what was refused -----------------------------------------------------------------------------------------------


def test_a_run_that_claims_what_it_may_not_is_known_by_its_directory_alone(make: Make) -> None:
    root = make(allow="arn:aws:proton:*:999999999999:*")
    bind_directory(root.directory, ARN, DEPLOYMENT)
    happen(root, "ok")
    assert {subject for subject, _ in subjects(root, "hook")} == {root.directory}
    assert subjects(root, "proton") == []
    for row in root.journal.query("entries", after=0, limit=100):
        assert ARN not in json.dumps(row["body"].decode()), "not even in what it says"
    (recorded,) = root.journal.runs(10)
    assert recorded.run.left_out == (("proton", "it is told only about Proton resources"),)


def test_metadata_that_another_run_is_at_work_on_bind_nobody_else(make: Make, journal: Journal) -> None:
    """Who copies another's metadata speaks for the copy's directory, at no sink for the resource."""
    root = make()
    bind_directory(root.directory, ARN, DEPLOYMENT)
    begin(root)
    copy = f"{root.root}/copy"
    bind_directory(copy, ARN, DEPLOYMENT)
    Path(copy, "0.log").write_text(moved(LOG_OF["failed"], root.now))
    root.observer.read(root.watch.touched([f"{copy}/0.log"]))
    root.wait(60.0)
    of_copy = [row for row in journal.query("entries", after=0, limit=100) if row["status"] == "FAILED"]
    assert [(row["sink"], row["resource_arn"]) for row in of_copy] == [("hook", copy)]


def test_names_and_directories_and_arns_are_never_the_same() -> None:
    """What a job writes, a directory, is neither a name, which the settings alone give, nor an ARN."""
    one: Notification = replace(notification(1, Status.FAILED), resource_arn=None, deployment_id=None)
    assert one.subject.startswith("/")
    assert replace(one, name="network").subject == "network"


def test_a_directory_of_the_settings_may_share_its_name_with_others(tmp_path: Path) -> None:
    bind = tuple(BindSettings(f"{tmp_path}/{place}", name="network") for place in "ab")
    found = RunDirectories(SafeOpener([str(tmp_path)]), Settings(bind=bind))
    names = [getattr(found.binding(Run("", f"{tmp_path}/{place}", 0.0)), "name", None) for place in "abc"]
    assert names == ["network", "network", None]
