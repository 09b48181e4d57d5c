"""Every sink with a real thing behind it: one module for each type, and its name in TYPES.

A module holds `rig`, a context in which there is a Rig, and FAULTS, the names of everything that can go wrong with it.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager

from .rig import Rig

TYPES = (
    "console", "eventbridge", "exec", "file", "github", "gitlab", "proton", "service_catalog", "slack", "sns", "sqs",
    "webhook",
)  # fmt: skip


def rig_of(type_name: str) -> AbstractContextManager[Rig]:
    """A sink of this type, and what stands behind it."""
    made: AbstractContextManager[Rig] = importlib.import_module(f"{__name__}.{type_name}").rig()
    return made


def faults_of(type_name: str) -> tuple[str, ...]:
    """What can go wrong with a sink of this type."""
    faults: tuple[str, ...] = importlib.import_module(f"{__name__}.{type_name}").FAULTS
    return faults
