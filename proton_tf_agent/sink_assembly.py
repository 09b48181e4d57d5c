"""How a [[sink]] of the settings becomes a sink: one function for each type, and the row that names it.

Sinks know no settings: here they get what they need of them, as plain arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from .aws_client import DIRECT, Access
from .aws_service import Place
from .cloud_event import source_of
from .http_request import HttpPlace
from .secret_source import read_secret
from .settings import AwsSettings, Settings, SinkSettings, SinkType
from .sinks import Sink, sink_type


def make_sink(sink: SinkSettings, settings: Settings) -> Sink:
    """The sink a table of the settings asks for."""
    return _MAKERS[sink.type](sink, settings)


def access_of(aws: AwsSettings, profile: str | None) -> Access:
    """As whom AWS is asked: what [aws] says, with another profile if one is named."""
    return Access(
        profile or aws.profile,
        aws.config_file or DIRECT.config_file,
        aws.credentials_file or DIRECT.credentials_file,
        aws.ca_bundle,
        aws.proxy_url,
    )


def _console(sink: SinkSettings, _settings: Settings) -> Sink:
    return sink_type("console")(sink.name)


def _proton(sink: SinkSettings, settings: Settings) -> Sink:
    return sink_type("proton")(
        sink.name,
        sink.region,
        sink.endpoint_url,
        connect_timeout=sink.connect_timeout,
        read_timeout=sink.read_timeout,
        read_back=sink.read_back,
        access=access_of(settings.aws, sink.profile),
    )


def _webhook(sink: SinkSettings, _settings: Settings) -> Sink:
    def secrets() -> list[str]:
        return [read_secret(reference) for reference in sink.secrets]

    return sink_type("webhook")(sink.name, _place(sink), secrets, source_of())


def _exec(sink: SinkSettings, settings: Settings) -> Sink:
    roots = [watch.path for watch in settings.watch]  # it starts nothing from there
    return sink_type("exec")(sink.name, sink.program or "", sink.arguments, sink.timeout, roots, source_of())


def _eventbridge(sink: SinkSettings, settings: Settings) -> Sink:
    return sink_type("eventbridge")(sink.name, _place_at_aws(sink, settings.aws), sink.event_bus or "", source_of())


def _sqs(sink: SinkSettings, settings: Settings) -> Sink:
    queue = urlsplit(sink.queue_url or "")
    place = _place_at_aws(sink, settings.aws, f"{queue.scheme}://{queue.netloc}")
    return sink_type("sqs")(sink.name, place, sink.queue_url or "", source_of())


def _sns(sink: SinkSettings, settings: Settings) -> Sink:
    return sink_type("sns")(sink.name, _place_at_aws(sink, settings.aws), sink.topic_arn or "", source_of())


def _service_catalog(sink: SinkSettings, settings: Settings) -> Sink:
    tag = [sink.tag_key] if sink.tag_key else []
    return sink_type("service_catalog")(sink.name, _place_at_aws(sink, settings.aws), *tag)


def _place_at_aws(sink: SinkSettings, aws: AwsSettings, otherwise: str | None = None) -> Place:
    """otherwise: where it is asked when the settings name no endpoint; None: where AWS is in the region."""
    timeouts = (sink.connect_timeout, sink.read_timeout)
    return Place(sink.region or "", sink.endpoint_url or otherwise, timeouts, access_of(aws, sink.profile))


def _file(sink: SinkSettings, _settings: Settings) -> Sink:
    return sink_type("file")(sink.name, sink.path or "", sink.rotate_at, sink.keep, source_of())


def _github(sink: SinkSettings, _settings: Settings) -> Sink:
    place = _place(sink, sink.url or "https://api.github.com")
    return sink_type("github")(sink.name, place, _secret(sink), sink.repository, sink.ref, sink.environment)


def _gitlab(sink: SinkSettings, _settings: Settings) -> Sink:
    place = _place(sink, sink.url or "https://gitlab.com/api/v4")
    return sink_type("gitlab")(sink.name, place, _secret(sink), sink.project, sink.ref, sink.environment)


def _slack(sink: SinkSettings, _settings: Settings) -> Sink:
    return sink_type("slack")(sink.name, _secret(sink), lambda url: _place(sink, url))


def _secret(sink: SinkSettings) -> Callable[[], str]:
    return lambda: read_secret(sink.secret or "")


def _place(sink: SinkSettings, url: str | None = None) -> HttpPlace:
    return HttpPlace(url or sink.url or "", sink.connect_timeout, sink.read_timeout, sink.ca_bundle)


_MAKERS: dict[SinkType, Callable[[SinkSettings, Settings], Sink]] = {
    "console": _console,
    "eventbridge": _eventbridge,
    "exec": _exec,
    "file": _file,
    "github": _github,
    "gitlab": _gitlab,
    "proton": _proton,
    "service_catalog": _service_catalog,
    "slack": _slack,
    "sns": _sns,
    "sqs": _sqs,
    "webhook": _webhook,
}
