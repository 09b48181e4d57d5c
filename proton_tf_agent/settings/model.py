"""The settings as the rest of the house sees them: types and defaults, nothing else.

What a key means, its unit and its limits are in `tables`. All durations are seconds, sizes bytes. An instance made by
`load` has been checked; one made by hand has not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import structs

from ..domain.output_mapping import OutputMapping
from ..domain.terms import Occasion
from ..domain.values import Struct, field

SinkType = Literal[
    "proton",
    "webhook",
    "file",
    "slack",
    "exec",
    "github",
    "gitlab",
    "eventbridge",
    "sqs",
    "sns",
    "service_catalog",
    "console",
]
NoChanges = Literal["in_progress", "succeed"]
Level = Literal["debug", "info", "warning", "error"]
Format = Literal["json", "console"]

At = tuple[str | int, ...]
"""Where in the file: table, position among tables of that name (if repeated), key, position in its array."""


class Origin(Struct, frozen=True):
    """Where something stands: a file, and its line from 1; 0 where that is not known."""

    path: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.path and self.line else self.path or str(self.line or "")


class JournalSettings(Struct, frozen=True):
    """The agent's memory. What it keeps of what is over and done: days, entries, bytes; 0 is no limit.

    reserve: bytes that are kept for when the disk is full.
    """

    path: str = "/var/lib/proton-tf-agent/journal.db"
    reserve: int = 24 << 20
    keep_days: int = 90
    keep_rows: int = 100_000
    keep_bytes: int = 512 << 20


class WatchSettings(Struct, frozen=True):
    """A watch root: an absolute, normalised path, watched with everything below it. owners are names or numbers."""

    path: str
    logs: tuple[str, ...] = ("*.log", "*.jsonl", "*.json")
    backfill: bool = False
    owners: tuple[str, ...] = ()
    mounts: bool = False


class BindSettings(Struct, frozen=True):
    """A run directory, and what its runs report for: a resource, or nothing but a name. One of both is there."""

    directory: str
    resource_arn: str | None = None
    deployment_id: str | None = None
    name: str | None = None


class AllowSettings(Struct, frozen=True):
    """Globs over the ARNs that files below a watched directory may speak for."""

    resource_arns: tuple[str, ...] = ()


class AwsSettings(Struct, frozen=True):
    """As whom AWS is asked, and by which way; None where AWS's own ways hold."""

    profile: str | None = None
    config_file: str | None = None
    credentials_file: str | None = None
    ca_bundle: str | None = None
    proxy_url: str | None = None


class S3StateSettings(Struct, frozen=True):
    """States in S3 that may be read. keys are globs over whole keys."""

    bucket: str
    region: str
    keys: tuple[str, ...] = ("*",)
    endpoint_url: str | None = None
    dynamodb_table: str | None = None
    timeout: float = 3.0
    profile: str | None = None


class SinkSettings(Struct, frozen=True):
    """One place to tell. name is the type unless given; region is never None for a loaded sink of AWS's. only,
    resources, directories and unbound are its route. shadow: it is told nothing, and what it would be told is kept."""

    type: SinkType
    name: str = ""
    region: str | None = None
    endpoint_url: str | None = None
    connect_timeout: float = 5.0
    read_timeout: float = 20.0
    read_back: bool = False
    profile: str | None = None
    url: str | None = None
    secrets: tuple[str, ...] = ()
    ca_bundle: str | None = None
    path: str | None = None
    rotate_at: int = 16 << 20
    keep: int = 10
    secret: str | None = None
    program: str | None = None
    arguments: tuple[str, ...] = ()
    timeout: float = 20.0
    repository: str | None = None
    project: str | None = None
    ref: str | None = None
    environment: str | None = None
    event_bus: str | None = None
    queue_url: str | None = None
    topic_arn: str | None = None
    tag_key: str | None = None
    only: tuple[Occasion, ...] = ()
    resources: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    unbound: bool = False
    shadow: bool = False

    def __post_init__(self) -> None:
        if not self.name:
            structs.force_setattr(self, "name", self.type)


class RunSettings(Struct, frozen=True):
    """How runs are judged."""

    settle: float = 10.0
    grace: float = 3.0
    no_changes: NoChanges = "in_progress"


class ScanSettings(Struct, frozen=True):
    """How directories are looked through."""

    rescan: float = 30.0


class SpoolSettings(Struct, frozen=True):
    """Where wrappers leave their records. users may speak for every directory, others for their own."""

    path: str = "/var/spool/proton-tf-agent"
    users: tuple[str, ...] = ()


class MetricsSettings(Struct, frozen=True):
    """Where metrics are for Prometheus; None: nowhere."""

    textfile: str | None = None
    listen: str | None = None


class LogSettings(Struct, frozen=True):
    """The agent's own log."""

    level: Level = "info"
    format: Format = "json"


class Settings(Struct, frozen=True):
    """Everything the agent was told.

    path is the absolute path of the file; origins gives the place of each key that stands in it or in its conf.d.
    Neither takes part in comparisons.
    """

    journal: JournalSettings = field(default_factory=JournalSettings)
    watch: tuple[WatchSettings, ...] = ()
    bind: tuple[BindSettings, ...] = ()
    outputs: OutputMapping = field(default_factory=OutputMapping)
    allow: AllowSettings = field(default_factory=AllowSettings)
    aws: AwsSettings = field(default_factory=AwsSettings)
    s3_state: tuple[S3StateSettings, ...] = ()
    sink: tuple[SinkSettings, ...] = ()
    run: RunSettings = field(default_factory=RunSettings)
    scan: ScanSettings = field(default_factory=ScanSettings)
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    log: LogSettings = field(default_factory=LogSettings)
    path: str = ""
    origins: Mapping[At, Origin] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and not self.differing(other)

    def differing(self, other: Settings) -> list[str]:
        """The tables in which two settings differ."""
        tables = [name for name in self.__struct_fields__ if name not in ("path", "origins")]
        return [name for name in tables if getattr(self, name) != getattr(other, name)]
