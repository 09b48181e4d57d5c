"""What the settings ask for, put together: sinks, roots, the pipeline. The daemon and single commands build from these.

Nothing is started here and nothing is decided; the daemon's own parts and its loop are `agent`'s.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager

from .domain.errors import Problem, UsageInvalid
from .domain.evidence import DecisionTaken
from .domain.notification import Notification
from .domain.routing import Route
from .domain.run import Patience
from .journal import Journal, Recorded
from .pipeline import Addressee, Pipeline, Rules, Told, proton_objection
from .run_directories import RunDirectories, opener_of
from .settings import Settings, SinkSettings, WatchSettings
from .sink_assembly import access_of, make_sink
from .sinks import Sink
from .sources.s3_state import Allowed, S3States
from .sources.safe_open import SafeOpener
from .sources.spool import Spool
from .sources.watch import WatchedRoot


def watched_root(watch: WatchSettings, journal: Journal) -> WatchedRoot:
    """A root as it is to be watched. The logs of open runs are read to their end, whatever the settings now say: an
    end that is not read would pass for none."""
    below = watch.path.rstrip("/") + "/"
    paths = [recorded.run.log_path for recorded in journal.open_runs()]
    names = {glob.escape(os.path.basename(path)) for path in paths if path.startswith(below)}
    return WatchedRoot(watch.path, (*watch.logs, *sorted(names)))


def assemble_pipeline(
    settings: Settings,
    journal: Journal,
    opener: SafeOpener,
    sinks: Mapping[str, Sink],
    tell: Callable[[Told], None],
    nudge: Callable[[], None] = lambda: None,
    records: Spool | None = None,
) -> Pipeline:
    """The pipeline these settings ask for."""
    asked = {sink.name: sink for sink in settings.sink}
    addressees = [_as_addressee(sink, asked[name]) for name, sink in sinks.items()]
    rules = Rules(
        Patience(settings.run.settle, settings.run.grace),
        settings.outputs,
        settings.run.no_changes == "succeed",
    )
    states = S3States(
        [
            Allowed(
                s.bucket,
                s.keys,
                s.region,
                s.endpoint_url,
                s.dynamodb_table,
                s.timeout,
                access_of(settings.aws, s.profile),
            )
            for s in settings.s3_state
        ],
        lambda place, reason: tell(Told("source.unreadable", {"path": place, "reason": reason})),
    )
    return Pipeline(journal, RunDirectories(opener, settings, states, records), addressees, rules, tell, nudge)


def decide(settings: Settings, journal: Journal, run_id: str, decision: DecisionTaken, now: float) -> Recorded:
    """Let a person settle a run, beside the daemon or without one; what is told of it waits in the outbox for the
    daemon's next tick. AgentError when there is nothing to decide."""
    opener = opener_of(settings)
    sinks = {sink.name: make_sink(sink, settings) for sink in settings.sink}
    try:
        pipeline = assemble_pipeline(settings, journal, opener, sinks, lambda _told: None)
        return pipeline.decide(run_id, decision, now)
    finally:
        for sink in sinks.values():
            sink.close()


@contextmanager
def addressee(settings: Settings, name: str) -> Iterator[Addressee]:
    """A sink of the settings as the pipeline sees it; UsageInvalid when they name none like that."""
    named = next((sink for sink in settings.sink if sink.name == name), None)
    if named is None:
        hint = f"there is {', '.join(sink.name for sink in settings.sink) or 'none'}"
        raise UsageInvalid(Problem(f"no [[sink]] is named {name!r}", settings.path, hint))
    with closing(make_sink(named, settings)) as sink:
        yield _as_addressee(sink, named)


def _as_addressee(sink: Sink, asked: SinkSettings) -> Addressee:
    objection = proton_objection if asked.type == "proton" else _no_objection
    return Addressee(sink.name, sink.wants, objection, route_of(asked), asked.shadow)


def route_of(asked: SinkSettings) -> Route:
    """What a sink of the settings is told."""
    return Route(
        asked.only, asked.resources, asked.directories, asked.unbound, workflows=asked.type == "service_catalog"
    )


def _no_objection(_notification: Notification) -> str:
    return ""
