"""What a path says: which reader it is for, which run directory and which workspace it speaks of.

Pure; no file is opened. Sources: terraform internal/backend/local/backend.go (DefaultWorkspaceDir
`terraform.tfstate.d`, DefaultStateFilename), and .../statemgr/filesystem.go for the lock info's name.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import lru_cache

from ..domain.binding import METADATA_PATH, OPERATION_PATH, TFVARS_PATH
from ..domain.values import Struct

_WORKSPACES = "terraform.tfstate.d"
_BELOW_DATA_DIRECTORY = "/.terraform/"
_TERRAGRUNT_CACHE = "/.terragrunt-cache/"  # terragrunt util/file.go, TerragruntCacheDir


class Kind(StrEnum):
    """What a file is by its name; what a log is, is decided by its content."""

    LOG = "log"
    LOCK = "lock"
    STATE = "state"
    BINDING = "binding"


class Place(Struct, frozen=True):
    """kind, run directory and workspace (None: the path does not tell) of one path.

    Terragrunt runs a unit in a copy below `UNIT/.terragrunt-cache`: the run directory is the unit's.
    """

    kind: Kind
    directory: str
    workspace: str | None


@lru_cache(maxsize=64)
def names(log_patterns: tuple[str, ...]) -> Callable[[str], object]:
    """Tells of a file's name whether `place_of` may want a path that ends with it. A directory may have 50,000 of
    others, and one pattern for all is asked ten times as fast."""
    bindings = (os.path.basename(path) for path in (METADATA_PATH, OPERATION_PATH, TFVARS_PATH))
    known = (re.escape(name) for name in ("terraform.tfstate", *bindings))
    logs = (fnmatch.translate(pattern) for pattern in log_patterns)
    return re.compile("|".join((r"\..*\.lock\.info\Z", *(rf"{name}\Z" for name in known), *logs)), re.DOTALL).match


def place_of(path: str, log_patterns: Sequence[str]) -> Place | None:
    """The place of a path, or None when no reader wants it."""
    if _BELOW_DATA_DIRECTORY in path:
        return None  # backend settings and init's own lock: never a run's, and full of credentials
    directory, _, name = path.rpartition("/")
    if name.startswith(".") and name.endswith(".lock.info"):
        return Place(Kind.LOCK, *_run_directory(directory))
    if name == "terraform.tfstate":
        return Place(Kind.STATE, *_run_directory(directory))
    for binding in (METADATA_PATH, OPERATION_PATH):
        if path.endswith("/" + binding):
            return Place(Kind.BINDING, unit_directory(path.removesuffix("/" + binding)), None)
    if name == TFVARS_PATH:
        return Place(Kind.BINDING, unit_directory(directory), None)
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in log_patterns):
        return Place(Kind.LOG, unit_directory(directory), None)
    return None


def _run_directory(directory: str) -> tuple[str, str]:
    parent, _, name = directory.rpartition("/")
    above, _, container = parent.rpartition("/")
    return (unit_directory(above), name) if container == _WORKSPACES else (unit_directory(directory), "default")


def unit_directory(directory: str) -> str:
    """The run directory of a copy that Terragrunt works in; any other is its own."""
    return f"{directory}/".partition(_TERRAGRUNT_CACHE)[0] if _TERRAGRUNT_CACHE in f"{directory}/" else directory
