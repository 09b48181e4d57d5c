"""What the configuration of a run directory is: its recorded backend, and what its files declare.

Reads HCL, which may cost seconds: for a person who asks about one directory, never while the agent watches.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import islice

from . import hcl_config
from .backend import Backend
from .hcl_config import Declared, DeclaredOutput
from .safe_open import SafeOpener, Unreadable
from .state_place import backend_of

_MAX_ENTRIES = 10_000


@dataclass(frozen=True, slots=True)
class Configuration:
    """effective is where the state is; declared is what the files say, which `init` may not have followed yet.

    The record is believed first: it has what `-backend-config` added. Without one a declared backend counts, for
    then `.terraform` lies elsewhere (TF_DATA_DIR) or nothing was initialised.
    """

    effective: Backend
    declared: Declared = field(default_factory=Declared)


def configuration_of(opener: SafeOpener, directory: str) -> Configuration:
    """The configuration of a run directory, as far as it can be read. Never raises."""
    recorded, declared = backend_of(opener, directory), declared_in(opener, directory)
    effective = recorded if recorded.recorded or declared.backend is None else declared.backend
    return Configuration(effective, declared)


def declared_outputs(opener: SafeOpener, directory: str) -> tuple[DeclaredOutput, ...]:
    """The outputs that the root module in a directory declares, by name. Never raises."""
    return declared_in(opener, directory).outputs


def declared_in(opener: SafeOpener, directory: str) -> Declared:
    """Everything that the root module in a directory declares, and which of its files could not be read."""
    contents: dict[str, bytes] = {}
    not_read: list[tuple[str, str]] = []
    names, reason = _names_in(opener, directory)
    if reason:
        not_read.append((".", reason))
    for name in hcl_config.files_of(names):
        if len(contents) + len(not_read) >= hcl_config.MAX_FILES:
            not_read.append((name, f"more than {hcl_config.MAX_FILES} files"))
            break
        try:
            content = opener.read_small(f"{directory}/{name}", hcl_config.MAX_FILE)
        except Unreadable as error:
            not_read.append((name, error.code))
            continue
        if content is not None:
            contents[name] = content
    declared = hcl_config.read(contents)
    return Declared(declared.outputs, declared.backend, (*not_read, *declared.not_read))


def _names_in(opener: SafeOpener, directory: str) -> tuple[list[str], str]:
    """Names only (each is opened by itself), and why some may be missing."""
    try:
        with opener.directory(directory) as fd, os.scandir(fd) as entries:
            names = [entry.name for entry in islice(entries, _MAX_ENTRIES + 1)]
    except Unreadable as refused:
        return [], refused.code
    except (OSError, ValueError) as error:
        return [], f"cannot be listed: {getattr(error, 'strerror', None) or 'no such path'}"
    return names[:_MAX_ENTRIES], f"more than {_MAX_ENTRIES:,} files" if len(names) > _MAX_ENTRIES else ""
