"""Settings: TOML files in, frozen settings out; every mistake is reported at once, with file, line and hint.

`model` holds what a setting is, `tables` the one description of every key, `kinds` how a value is read and
written. `documents` puts the files together, `reading` (load, advice) and `text` (schema, generate, show) work
from that description alone: a new key is one dataclass field and one row of `tables`.

May read the settings file and look at the directories it names. May not read the environment, and imports
nothing outside the standard library and `domain`.
"""

from __future__ import annotations

from .documents import is_part
from .model import (
    AllowSettings,
    AwsSettings,
    BindSettings,
    JournalSettings,
    LogSettings,
    MetricsSettings,
    RunSettings,
    S3StateSettings,
    ScanSettings,
    Settings,
    SinkSettings,
    SinkType,
    SpoolSettings,
    WatchSettings,
)
from .reading import advice, check_part, load
from .text import generate, schema, show

__all__ = [
    "AllowSettings",
    "AwsSettings",
    "BindSettings",
    "JournalSettings",
    "LogSettings",
    "MetricsSettings",
    "RunSettings",
    "S3StateSettings",
    "ScanSettings",
    "Settings",
    "SinkSettings",
    "SinkType",
    "SpoolSettings",
    "WatchSettings",
    "advice",
    "check_part",
    "generate",
    "is_part",
    "load",
    "schema",
    "show",
]
