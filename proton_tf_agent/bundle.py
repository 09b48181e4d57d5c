"""A support bundle: what a person who helps needs to know, in one file, and nothing of what was told.

Values of outputs are left out, and so are status messages: they are redacted, and still nobody else's business. Names
of directories, resources and runs are in it, and whoever passes it on should look into it.
"""

from __future__ import annotations

import io
import json
import os
import platform
import tarfile
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from . import __version__, status
from . import settings as settings_module
from .domain.errors import AgentError, Problem
from .journal_file import is_held, write_private_file
from .journal_reading import JournalReader
from .moments import iso
from .overview import overview
from .settings import Settings

if TYPE_CHECKING:
    from .doctor import Finding

_RUNS, _ENTRIES = 50, 200
_LEFT_OUT = ("status_message", "outputs")


def write_bundle(path: str, settings: Settings, findings: Iterable[Finding]) -> None:
    """Write a new file, 0600; AgentError when it is there already or cannot be written."""
    if os.path.lexists(path):
        raise AgentError(Problem("the file is there already", path, "name another"))
    now = time.time()
    files: dict[str, Any] = {
        "about.json": {
            "version": __version__, "python": platform.python_version(), "system": platform.platform(),
            "written_at": iso(now),
        },
        "doctor.jsonl": [asdict(finding) for finding in findings],
    }  # fmt: skip
    try:
        with JournalReader.open_existing(settings.journal.path) as journal:
            files["status.json"] = overview(journal, is_held(journal.path), now)
            files["runs.jsonl"] = status.run_rows(journal, _RUNS)
            files["entries.jsonl"] = [_without_what_was_told(row) for row in status.entries(journal, _ENTRIES)]
    except AgentError as error:
        files["journal.txt"] = str(error)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        _add(archive, "agent.toml.txt", settings_module.show(settings), now)
        for name, said in files.items():
            lines = said if isinstance(said, list) else [said]
            _add(archive, name, "".join(json.dumps(line) + "\n" for line in lines), now)
    write_private_file(path, [content.getvalue()])


def _without_what_was_told(row: status.Row) -> status.Row:
    return {key: value for key, value in row.items() if key not in _LEFT_OUT} | {"output_names": sorted(row["outputs"])}


def _add(archive: tarfile.TarFile, name: str, text: str, now: float) -> None:
    content = text.encode("ascii", "backslashreplace")
    entry = tarfile.TarInfo(f"proton-tf-agent/{name}")
    entry.size, entry.mtime, entry.mode = len(content), int(now), 0o600
    archive.addfile(entry, io.BytesIO(content))
