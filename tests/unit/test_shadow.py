"""Shadows: what a sink would be told is kept, by the same rules, and never sent; nor when it is no shadow any more."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command_lines import Output, rows, run
from support.observing import ObservedRoot
from support.outboxes import notification, row_of, states
from support.routed import FAILED_AND_RECOVERED, happen, sink, takes_all, told
from support.watching import bind_directory

from proton_tf_agent import status
from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.values import replace
from proton_tf_agent.journal import Journal
from proton_tf_agent.journal_verify import check
from proton_tf_agent.pipeline import Addressee
from proton_tf_agent.replay import append, choose
from proton_tf_agent.selection import Scope

ARN = "arn:aws:proton:us-east-1:111122223333:environment/net"


@pytest.fixture
def root(tmp_path: Path, journal: Journal) -> ObservedRoot:
    root = ObservedRoot(tmp_path, journal)
    bind_directory(root.directory, ARN, "11111111-1111-4111-8111-111111111111")
    return root


def shadow(of: Addressee) -> Addressee:
    return replace(of, shadow=True)


def of(root: ObservedRoot, name: str) -> list[tuple[str, str, int]]:
    """What was kept for a sink: status, state, attempts."""
    rows = root.journal.query("entries", after=0, limit=1000)
    return [(row["status"], row["state"], row["attempts"]) for row in rows if row["sink"] == name]


def test_a_shadow_has_what_a_sink_of_its_route_would_be_told_and_nothing_of_it_waits(root: ObservedRoot) -> None:
    real, tried = sink("real", FAILED_AND_RECOVERED), shadow(sink("tried", FAILED_AND_RECOVERED))
    root.pipeline.addressees = (real, tried)
    happen(root, "ok", "failed", "ok", "ok")
    assert told(root, "tried") == told(root, "real") == ["FAILED", "SUCCEEDED"]
    assert {(state, attempts) for _, state, attempts in of(root, "tried")} == {("shadowed", 0)}
    assert [head.sink for head in root.journal.heads(["real", "tried"])] == ["real"]
    assert list(check(root.journal)) == []


def test_what_a_shadow_would_be_told_is_listed_and_told_apart(
    root: ObservedRoot, tmp_path: Path, capsys: Output
) -> None:
    settings_file = str(tmp_path / "agent.toml")
    Path(settings_file).write_text(f'[journal]\npath = "{root.journal.path}"\n[[watch]]\npath = "{root.root}"\n')
    root.pipeline.addressees = (shadow(takes_all("tried")),)
    happen(root, "ok")
    listed = rows(capsys, "journal", "list", "--sink", "tried", "--config", settings_file)
    assert {(row["state"], row["reason"]) for row in listed} == {("shadowed", "shadow")}
    assert "shadowed" in run(capsys, "journal", "list", "--config", settings_file)[1]
    (story,) = status.explain(root.journal, root.runs()[0].run_id)
    assert [(one["sink"], one["state"]) for one in story.run["told"]] == [("tried", "shadowed")]
    (state,) = rows(capsys, "status", "--config", settings_file)
    assert state["sinks"] == [], "nothing waits"


def test_what_the_contract_would_refuse_says_so_and_is_not_parked(root: ObservedRoot) -> None:
    root.pipeline.addressees = (replace(shadow(sink("tried")), objection=lambda _one: "too long"),)
    happen(root, "ok")
    assert {(row["state"], row["reason"]) for row in root.journal.query("entries", after=0, limit=9)} == {
        ("shadowed", "too long")
    }


def test_what_comes_too_late_for_a_sink_comes_too_late_for_its_shadow(journal: Journal) -> None:
    with journal.transaction():
        journal.enqueue(notification(1, Status.SUCCEEDED, run_id="later", began=20.0), "tried", 1000.0, shadow=True)
        journal.enqueue(notification(2, Status.FAILED, run_id="earlier", began=10.0), "tried", 1000.0, shadow=True)
    assert states(journal) == ["shadowed", "superseded"]


def test_a_shadow_that_becomes_a_sink_is_told_what_comes_and_not_what_was(root: ObservedRoot) -> None:
    """Not even when everything is read anew."""
    root.pipeline.addressees = (shadow(sink("hook")),)
    happen(root, "ok")
    root.pipeline.addressees = (sink("hook"),)
    for path in list(root.pipeline.cursors):
        root.pipeline.forget([path])
        root.observer.read(root.watch.touched([path]))
    root.wait(60.0)
    assert {state for _, state, _ in of(root, "hook")} == {"shadowed"}
    happen(root, "failed")
    assert [entry for entry in of(root, "hook") if entry[1] != "shadowed"][-1][0] == "FAILED"
    assert list(check(root.journal)) == []


def test_what_was_shadowed_is_told_when_it_is_replayed(root: ObservedRoot) -> None:
    root.pipeline.addressees = (shadow(sink("hook")),)
    happen(root, "ok")
    chosen = choose(root.journal, Scope(everything=True, sink="hook"))
    seqs = [choice.seq for choice in append(root.journal, chosen, 2000.0)]
    assert all(seqs), "nobody has been told anything newer"
    assert {row_of(root.journal, seq)["state"] for seq in seqs} == {"pending"}


def test_to_carry_something_over_its_having_been_shadowed_is_no_obstacle(root: ObservedRoot) -> None:
    root.pipeline.addressees = (sink("old"), shadow(sink("hook")))
    happen(root, "ok")
    hook = sink("hook")
    chosen = list(choose(root.journal, Scope(everything=True, sink="old"), addressee=hook))
    assert chosen[-1].refusal == ""


def test_what_was_shadowed_is_let_go_of_like_what_was_told(root: ObservedRoot) -> None:
    root.pipeline.addressees = (shadow(sink("hook")),)
    happen(root, "ok", "ok")
    before = len(of(root, "hook"))
    root.journal.prune_all(root.now + 1e9)
    assert 0 < len(of(root, "hook")) < before, "but for the last word"
