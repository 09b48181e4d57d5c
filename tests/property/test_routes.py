"""Whatever happens, and whenever the agent is started again: each sink is told what its route takes, and once."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.enactors import moved
from support.observing import ObservedRoot
from support.routed import FAILED_AND_RECOVERED, LOG_OF, happen, proton, sink, takes_all, told
from support.watching import bind_directory

from proton_tf_agent.journal import Journal, notification_of
from proton_tf_agent.journal_verify import check
from proton_tf_agent.settings import AllowSettings, Settings

ACCOUNT = "arn:aws:proton:us-east-1:111122223333"
ARN = f"{ACCOUNT}:environment/net"
DEPLOYMENT = "11111111-1111-4111-8111-111111111111"


def expected(outcomes: Sequence[str]) -> list[str]:
    """Failures, and what is no failure behind one."""
    pairs = zip(["ok", *outcomes], outcomes, strict=False)
    return ["FAILED" if now == "failed" else "SUCCEEDED" for before, now in pairs if "failed" in (before, now)]


def read_anew(root: ObservedRoot) -> None:
    """Let everything be read from its beginning once more."""
    for path in list(root.pipeline.cursors):
        root.pipeline.forget([path])
        root.observer.read(root.watch.touched([path]))
    root.wait(60.0)


@settings(max_examples=15)
@given(st.lists(st.sampled_from(sorted(LOG_OF)), min_size=1, max_size=6), st.sets(st.integers(1, 5)))
def test_a_restart_and_reading_anew_change_nothing_of_what_is_routed(outcomes: list[str], restarts: set[int]) -> None:
    """What a restarted agent routes is what one that was never stopped would have, and reading all of it anew adds
    nothing."""
    with tempfile.TemporaryDirectory() as base:
        now, path = 0.0, f"{base}/memory/journal.db"
        chunks: list[list[str]] = [[]]
        for place, outcome in enumerate(outcomes):
            if place in restarts:
                chunks.append([])
            chunks[-1].append(outcome)
        for place, chunk in enumerate(chunks):
            with Journal.open_as_daemon(path) as journal:
                root = ObservedRoot(Path(base, f"life-{place}"), journal)
                bind_directory(root.directory, ARN, DEPLOYMENT)
                root.pipeline.addressees = (sink("proton"), sink("chat", FAILED_AND_RECOVERED))
                root.now = max(root.now, now)
                happen(root, *chunk)
                now = root.now
                read_anew(root)
                assert told(root, "chat") == expected([one for chunk in chunks[: place + 1] for one in chunk])


class Life:
    """A run directory whose runs find their bindings at any time, or never, and whose settings change meanwhile."""

    def __init__(self, base: str, journal: Journal) -> None:
        self.root = ObservedRoot(Path(base), journal, Settings(allow=AllowSettings((f"{ACCOUNT}:environment/*",))))
        self.rest: dict[str, str] = {}
        self.takes(True)

    def takes(self, unbound: bool) -> None:
        hook = takes_all("hook") if unbound else sink("hook")
        self.root.pipeline.addressees = (proton(), hook, takes_all("log"))
        self.root.pipeline.bind_open(self.root.now)

    def begin(self, outcome: str) -> None:
        name = f"{len(self.root.runs())}.log"
        lines = moved(LOG_OF[outcome], self.root.now).splitlines(keepends=True)
        self.root.write(name, "".join(lines[:2]).encode())
        self.root.look(name)
        self.rest[name] = "".join(lines[2:])
        self.root.wait(20.0)

    def end(self, _: object) -> None:
        for name, rest in self.rest.items():
            self.root.write(name, rest.encode(), "ab")
            self.root.look(name)
        self.rest.clear()
        self.root.wait(3600.0)

    def bind(self, resource: str) -> None:
        """Metadata are written anew; another resource's, or one that may not be spoken for."""
        bind_directory(self.root.directory, f"{ACCOUNT}:{resource}", DEPLOYMENT, written_at=self.root.now - 1.0)
        self.root.pipeline.bind({self.root.directory}, self.root.now)

    def unbind(self, _: object) -> None:
        Path(self.root.directory, ".proton/deployment-metadata.json").unlink(missing_ok=True)


steps = st.one_of(
    st.tuples(st.just("begin"), st.sampled_from(sorted(LOG_OF))),
    st.tuples(st.just("end"), st.none()),
    st.tuples(st.just("bind"), st.sampled_from(["environment/net", "environment/dns", "service/web/pipeline"])),
    st.tuples(st.just("unbind"), st.none()),
    st.tuples(st.just("takes"), st.booleans()),
)


@settings(max_examples=60)
@given(st.lists(steps, min_size=2, max_size=12))
@example([("begin", "ok"), ("bind", "environment/net"), ("end", None)])
@example([("begin", "ok"), ("takes", False), ("bind", "environment/net"), ("takes", True), ("end", None)])
def test_no_sink_hears_of_one_run_by_two_subjects_and_proton_of_none_without_an_arn(
    actions: list[tuple[str, Any]],
) -> None:
    with tempfile.TemporaryDirectory() as base, Journal.open_as_daemon(f"{base}/memory/journal.db") as journal:
        life = Life(base, journal)
        for name, argument in actions:
            getattr(life, name)(argument)
        rows = journal.query("entries", after=0, limit=10_000)
        heard: dict[tuple[str, str], set[str]] = {}
        for row in rows:
            heard.setdefault((row["sink"], row["run_id"]), set()).add(row["resource_arn"])
            told_of = notification_of(row["body"])
            assert told_of.subject == row["resource_arn"]
            assert row["sink"] != "proton" or str(told_of.resource_arn).startswith(f"{ACCOUNT}:environment/")
            assert told_of.resource_arn is None or "/web/" not in told_of.resource_arn, "[allow] says no"
        assert all(len(subjects) == 1 for subjects in heard.values())
        assert list(check(journal)) == []
