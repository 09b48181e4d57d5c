"""The world around runs as the pipeline asks for it: whose run it is, what its state holds, what nobody may see.

Answers `pipeline.Surroundings` from the files of run directories and from the settings. Reads only, through
`SafeOpener`; what cannot be read is said to be unknown, never taken for absent.
"""

from __future__ import annotations

import time

from .domain.binding import Binding, Unbound, from_metadata, from_tfvars
from .domain.evidence import Output
from .domain.redaction import Taint
from .domain.run import Run
from .settings import Settings
from .sources.observe import read_binding_files, read_state
from .sources.safe_open import SafeOpener, Unreadable

# A state that cannot be read is usually being rewritten, which takes Terraform 1 to 100 ms.
_STATE_LOOKS = 3
_STATE_REWRITTEN_S = 0.05


class RunDirectories:
    """Bindings and states of runs below the watched roots."""

    def __init__(self, opener: SafeOpener, settings: Settings) -> None:
        self._opener = opener
        self._allowed = settings.allow.resource_arns
        self._bound = {bind.directory: bind for bind in settings.bind}

    def binding(self, run: Run) -> Binding | Unbound:
        """The first that binds: deployment metadata, `[[bind]]`, the ARN in Proton's tfvars."""
        reason: Unbound | None = None
        for directory in run.directories:
            found = self._binding_of(directory)
            if isinstance(found, Binding):
                return found
            reason = reason or found
        return reason or Unbound("no deployment metadata and no [[bind]] for this directory")

    def _binding_of(self, directory: str) -> Binding | Unbound | None:
        reason: Unbound | None = None
        try:
            metadata, tfvars = read_binding_files(self._opener, directory)
        except Unreadable as error:
            metadata, tfvars, reason = None, None, Unbound(f"deployment metadata cannot be read: {error.code}")
        if metadata is not None:
            found = from_metadata(metadata, self._allowed)
            if isinstance(found, Binding):
                return found
            reason = found
        bind = self._bound.get(directory)
        if bind is not None:
            return Binding(bind.resource_arn, bind.deployment_id, False, "[[bind]]")
        if tfvars is not None and reason is None:
            return from_tfvars(tfvars, self._allowed)
        return reason

    def taint(self, run: Run) -> Taint:
        """Every value nobody may see, from the run's state and its backup."""
        taint = read_state(self._opener, run).taint
        for _ in range(_STATE_LOOKS - 1):
            if taint.known:
                break
            time.sleep(_STATE_REWRITTEN_S)
            taint = read_state(self._opener, run).taint
        return taint

    def outputs(self, run: Run) -> tuple[Output, ...] | None:
        """The outputs in the run's state, when it can be read."""
        state = read_state(self._opener, run).state
        return None if state is None else state.outputs
