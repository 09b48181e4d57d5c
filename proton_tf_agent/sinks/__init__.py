"""Sinks: where facts go. This file holds the protocol every sink keeps and the table of their types.

A sink translates one notification into one request and the answer into an outcome. It keeps nothing, retries
nothing and knows neither journal nor pipeline nor settings: the agent hands it plain arguments. Sinks are
strangers to each other, and nothing heavy is imported before a sink is asked for.

A new sink is one file here and one row in SINKS; it then joins `tests/conformance/test_sinks.py`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Protocol, cast, runtime_checkable

from ..domain.notification import Notification
from ..domain.outbox import Outcome


class Sink(Protocol):
    """What the relay needs of a sink. Every method may be called from several threads at once."""

    @property
    def name(self) -> str:
        """The name of this sink in settings, journal and logs."""

    def wants(self, notification: Notification) -> bool:
        """Whether this sink is to be told; False is for good, not for now. Asks nobody and never raises."""

    def send(self, notification: Notification) -> Outcome:
        """Make one attempt and say what came of it. Never raises: a failure is an outcome."""

    def close(self) -> None:
        """Let go of connections. Never raises; may be called twice; a later `send` is refused."""


@runtime_checkable
class ReadsBack(Protocol):
    """A sink that can be asked what it has. A sink without it is believed when it refuses."""

    def read_back(self, notification: Notification) -> Outcome:
        """Asked when a conflict has lasted: CONFIRMED, OVERTAKEN, CONFLICT still, or what the asking failed of.

        Changes nothing, so it is never ambiguous. Never raises; may be called from several threads at once.
        """


@runtime_checkable
class Continues(Protocol):
    """A sink whose receiver keeps one thing for a whole run, under a name of its own: a deployment, say.

    The sink gives that name as the request id of its outcomes, whatever else came of them; with the run's next
    notification, a replay too, it gets it back.
    """

    def send_on(self, notification: Notification, reference: str) -> Outcome:
        """`send`, when an earlier outcome for this run had a name; empty: none is known, though there may be one."""


@runtime_checkable
class Reachable(Protocol):
    """A sink that can be tried without telling it anything. One without it is believed to be there."""

    def try_out(self) -> Outcome:
        """Make one request that changes nothing: ACCEPTED when the sink is there and knows us, DENIED when it knows us
        and may not answer this, else what failed. Never raises.
        """


SINKS: dict[str, str] = {
    "console": "proton_tf_agent.sinks.console:ConsoleSink",
    "eventbridge": "proton_tf_agent.sinks.eventbridge:EventBridgeSink",
    "exec": "proton_tf_agent.sinks.exec:ExecSink",
    "file": "proton_tf_agent.sinks.file:FileSink",
    "github": "proton_tf_agent.sinks.github:GitHubSink",
    "gitlab": "proton_tf_agent.sinks.gitlab:GitLabSink",
    "proton": "proton_tf_agent.sinks.proton:ProtonSink",
    "service_catalog": "proton_tf_agent.sinks.service_catalog:ServiceCatalogSink",
    "slack": "proton_tf_agent.sinks.slack:SlackSink",
    "sns": "proton_tf_agent.sinks.sns:SnsSink",
    "sqs": "proton_tf_agent.sinks.sqs:SqsSink",
    "webhook": "proton_tf_agent.sinks.webhook:WebhookSink",
}


def sink_type(type_name: str) -> Callable[..., Sink]:
    """The class behind a row of SINKS, imported now; call it with the sink's name and its own arguments.

    Raises KeyError for a type that has no row: the settings check types against SINKS before.
    """
    module, _, attribute = SINKS[type_name].partition(":")
    return cast("Callable[..., Sink]", getattr(importlib.import_module(module), attribute))
