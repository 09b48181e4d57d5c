"""Runs before sinks with routes: what each is told, and that `explain` knows why one was not."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.observing import ObservedRoot
from support.routed import FAILED_AND_RECOVERED, ends, happen, sink, told
from support.watching import bind_directory

from proton_tf_agent import status
from proton_tf_agent.domain.routing import Occasion, Route
from proton_tf_agent.journal import Journal
from proton_tf_agent.journal_verify import check

ARN = "arn:aws:proton:us-east-1:111122223333:environment/net"


@pytest.fixture
def root(tmp_path: Path, journal: Journal) -> ObservedRoot:
    root = ObservedRoot(tmp_path, journal)
    bind_directory(root.directory, ARN, "11111111-1111-4111-8111-111111111111")
    return root


def left_out(root: ObservedRoot) -> list[dict[str, str]]:
    """What `explain` says of the newest run."""
    (story,) = status.explain(root.journal, root.runs()[0].run_id)
    found: list[dict[str, str]] = story.run["left_out"]
    return found


def test_each_sink_is_told_what_its_route_takes(root: ObservedRoot) -> None:
    root.pipeline.addressees = (
        sink("proton"),
        sink("chat", FAILED_AND_RECOVERED),
        sink("log", Route((Occasion.TERMINAL,))),
    )
    happen(root, "ok", "failed", "failed", "ok", "ok", "failed", "destroyed")
    assert ends(root, "proton") == ends(root, "log") == told(root, "log")
    assert "IN_PROGRESS" in told(root, "proton")
    assert told(root, "chat") == ["FAILED", "FAILED", "SUCCEEDED", "FAILED", "SUCCEEDED"]
    assert list(check(root.journal)) == []


def test_failures_to_one_sink_and_recoveries_to_another(root: ObservedRoot) -> None:
    root.pipeline.addressees = (sink("pager", Route((Occasion.FAILED,))), sink("chat", Route((Occasion.RECOVERED,))))
    happen(root, "ok", "failed", "ok", "ok")
    assert (told(root, "pager"), told(root, "chat")) == (["FAILED"], ["SUCCEEDED"])


def test_why_a_sink_did_not_hear_of_it_is_on_record(root: ObservedRoot) -> None:
    root.pipeline.addressees = (sink("proton"), sink("chat", FAILED_AND_RECOVERED))
    happen(root, "ok")
    assert left_out(root) == [{"sink": "chat", "reason": "it is told only what is failed or recovered"}]
    assert [recorded.silence for recorded in root.journal.runs(1)] == [""], "its outcome was told"
    happen(root, "failed")
    assert left_out(root) == []


def test_a_run_that_every_route_leaves_out_says_so(root: ObservedRoot) -> None:
    root.pipeline.addressees = (sink("chat", FAILED_AND_RECOVERED),)
    happen(root, "ok")
    assert [recorded.silence for recorded in root.journal.runs(1)] == ["the routes of all sinks leave it out"]
    assert list(check(root.journal)) == []


def test_directories_and_resources_are_those_of_the_run(root: ObservedRoot) -> None:
    root.pipeline.addressees = (
        sink("here", Route(directories=(f"{root.root}/*",))), sink("there", Route(directories=("/elsewhere/*",))),
        sink("its", Route(resources=("*:environment/net",))), sink("others", Route(resources=("*:environment/dns",))),
    )  # fmt: skip
    happen(root, "ok")
    assert ends(root, "here") == ends(root, "its") == ["SUCCEEDED"]
    assert told(root, "there") == told(root, "others") == []
    assert [one["sink"] for one in left_out(root)] == ["there", "others"]
