"""What can be said of a directory in which no run was seen: is it watched, whose is it, where is its state.

For `explain DIRECTORY`, when a person asks why nothing happens. Reads the directory as the agent would, through
`SafeOpener`, and nothing outside the watched roots; HCL is parsed here and nowhere in the daemon.
"""

from __future__ import annotations

import os
from typing import Any

from .domain.binding import Binding, Unbound
from .domain.output_mapping import OutputMapping, told_as
from .domain.refusals import REFUSALS, refusal_row
from .domain.run import Run
from .run_directories import RunDirectories, opener_of
from .settings import Settings
from .sources import backend
from .sources.backend import Backend
from .sources.configuration import configuration_of
from .sources.hcl_config import DeclaredOutput
from .sources.place import place_of
from .sources.safe_open import SafeOpener, Unreadable
from .sources.states import MAX_STATE
from .sources.tree import walk

_MOST_UNREAD = 50

Row = dict[str, Any]


def survey(settings: Settings, directory: str) -> Row:
    """One object of `explain DIRECTORY --json` (docs/commands.md)."""
    row: Row = {
        "directory": directory, "exists": os.path.isdir(directory), "watched_below": None, "logs": [],
        "resource_arn": None, "deployment_id": None, "name": None, "told_to": [], "bound_by": None,
        "unbound_reason": None, "refusal": None,
        "backend": None, "state": None, "outputs": [], "not_read": [], "unread": [],
    }  # fmt: skip
    watched = [root for root in settings.watch if f"{directory}/".startswith(root.path.rstrip("/") + "/")]
    if not watched:
        return row
    root = max(watched, key=lambda root: len(root.path))
    opener = opener_of(settings)
    found = RunDirectories(opener, settings).binding(Run("", directory, 0.0))
    row |= {"watched_below": root.path, "logs": list(root.logs)}
    if isinstance(found, Unbound):
        row |= {"unbound_reason": found.reason, "refusal": refusal_row(found.reason)}
    else:
        row |= {"resource_arn": found.resource_arn, "deployment_id": found.deployment_id, "bound_by": found.source}
        row["name"] = found.name
    if row["resource_arn"] is None:
        workflow = found.workflow if isinstance(found, Binding) else None
        told = [sink for sink in settings.sink if sink.unbound or (workflow and sink.type == "service_catalog")]
        row["told_to"] = [sink.name for sink in told]
    configuration = configuration_of(opener, directory)
    row |= {
        "backend": configuration.effective.type,
        "state": _place(directory, configuration.effective),
        "outputs": [_output(declared, settings.outputs) for declared in configuration.declared.outputs],
        "not_read": [{"file": name, "reason": reason} for name, reason in configuration.declared.not_read],
        "unread": unread(settings, directory),
    }
    return row


def unread(settings: Settings, directory: str) -> list[Row]:
    """What is not read in a watched directory and below it, and what to do about it: `path code means remedy` each, by
    path. As far as whoever asks may look himself; a directory that is watched nowhere has none."""
    opener = opener_of(settings)
    root = next((root for root in settings.watch if root.path == opener.root_of(f"{directory}/")), None)
    if root is None:
        return []
    codes: dict[str, str] = {}
    for found in walk(opener, root.path, directory, codes.__setitem__):
        for entry in found.entries:
            path = f"{found.path.rstrip('/')}/{entry.name}"
            if place_of(path, root.logs) is not None and len(codes) < _MOST_UNREAD:
                code = _refused(opener, path)
                if code is not None:
                    codes[path] = code
    return [
        {"path": path, "code": code, "means": REFUSALS[code].means, "remedy": REFUSALS[code].remedy}
        for path, code in sorted(codes.items())
    ]


def _refused(opener: SafeOpener, path: str) -> str | None:
    try:
        with opener.open(path, MAX_STATE):
            return None
    except FileNotFoundError:
        return None
    except Unreadable as refused:
        return refused.code


def _place(directory: str, found: Backend) -> str | None:
    if found.type == backend.S3 and found.bucket:
        return f"s3://{found.bucket}/{found.key}"
    return backend.state_path(directory, found, None)


def _output(declared: DeclaredOutput, mapping: OutputMapping) -> Row:
    key = told_as(declared.name, mapping)
    withheld = "not asked for by [outputs]" if key is None else "sensitive" if declared.sensitive else None
    return {"name": declared.name, "key": None if withheld else key, "withheld": withheld}
