"""What has changed in settings that were read again, and what of it cannot change while the agent runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from ..domain.errors import Problem, SettingsInvalid
from ..domain.values import replace
from .model import Settings


def keep_what_cannot_change(
    before: Settings, after: Settings, tell: Callable[[str, Mapping[str, object]], None]
) -> Settings:
    """The settings after a reload, with the journal and the log as they were; `tell` hears of it where they differ.

    SettingsInvalid when the journal that is kept would lie below one of the new roots.
    """
    for table in ("journal", "log"):
        if getattr(before, table) != getattr(after, table):
            tell("settings.kept", {"reason": f"[{table}] changes when the agent is started again, not before"})
    journal = os.path.realpath(before.journal.path)
    for watch in after.watch:
        if journal.startswith(os.path.realpath(watch.path).rstrip("/") + "/"):
            what = f"{before.journal.path}, the journal in use, lies inside the watch root {watch.path}"
            raise SettingsInvalid(Problem(what, after.path, "start the agent again to change [journal] path"))
    return replace(after, journal=before.journal, log=before.log)
