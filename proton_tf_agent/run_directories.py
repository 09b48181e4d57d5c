"""The world around runs as the pipeline asks for it: whose run it is, what its state holds, what nobody may see.

Answers `pipeline.Surroundings` from the files of run directories and from the settings. Reads only, through
`SafeOpener`; what cannot be read is said to be unknown, never taken for absent.
"""

from __future__ import annotations

import os
import time

from .domain.binding import (
    OPERATION_PATH,
    Binding,
    Unbound,
    from_metadata,
    from_operation,
    from_tfvars,
    from_tfvars_arn,
)
from .domain.evidence import Form, Output
from .domain.redaction import Taint
from .domain.run import Run
from .settings import Settings, WatchSettings
from .sources import backend
from .sources.backend import Backend
from .sources.processes import Processes
from .sources.s3_state import S3States, read_state_in_s3
from .sources.safe_open import Bounds, SafeOpener, Unreadable, uids_of
from .sources.spool import Spool
from .sources.state_place import backend_of, workspace_of
from .sources.states import TORN, StateReading, is_locked, read_binding_files, read_operation_file, read_state

# A state that cannot be read is usually being rewritten, which takes Terraform 1 to 100 ms.
_STATE_LOOKS = 3
_STATE_REWRITTEN_S = 0.05

_S3_TICK_S = 1.0  # S3 tells when an object was written in whole seconds
_CLOCK_TICK_S = 0.1  # file times come from a coarser clock than a log's
_LAST_WORDS_S = 2.0  # from the last write of a state to the last line of the log, taken generously
_KEPT_ELSEWHERE = {
    backend.S3: "the state is kept in S3, and there is no [[s3_state]]",
    backend.LOCAL: "the place of the state is not known",
    backend.UNKNOWN: "the record of the backend cannot be read",
}


def opener_of(settings: Settings) -> SafeOpener:
    """The opener of everything below the watched roots."""
    return SafeOpener([_bounds(watch) for watch in settings.watch])


def _bounds(watch: WatchSettings) -> Bounds:
    owners = {0, *uids_of(watch.owners)} if watch.owners else ()  # none of whom may exist yet
    return Bounds(watch.path, frozenset(owners), watch.mounts)


class RunDirectories:
    """Bindings and states of runs below the watched roots."""

    def __init__(
        self, opener: SafeOpener, settings: Settings, states: S3States | None = None, spool: Spool | None = None
    ) -> None:
        self._opener = opener
        self._spool = spool
        self._processes = Processes(opener)
        self._states = states or S3States(())
        self._allowed = settings.allow.resource_arns
        self._regions = _regions(settings)
        self._takes_workflows = any(sink.type == "service_catalog" for sink in settings.sink)
        self._bound = {bind.directory: bind for bind in settings.bind}

    def binding(self, run: Run, until: float | None = None) -> Binding | Unbound:
        """The first that binds: deployment metadata, Service Catalog's operation, `[[bind]]`, the ARN in the tfvars.

        A wrapper has written down the metadata as it was when the command began; that may be gone from disk by now.
        until: when a run was over; files that were written later are about another deployment.
        """
        recorded = self._spool.record(run.wrapped.record_id) if self._spool and run.wrapped else None
        if until is None and run.wrapped is not None:
            until = run.wrapped.exited_at
        reason: Unbound | None = None
        if recorded is not None and recorded.metadata is not None:
            frozen = from_metadata(recorded.metadata.encode("utf-8", "replace"), self._allowed, self._regions)
            if isinstance(frozen, Binding):
                return frozen
            reason = frozen
        for directory in run.directories:
            found = self._binding_of(directory, until)
            if isinstance(found, Binding):
                return found
            reason = reason or found
        if recorded is not None and recorded.tfvars_arn is not None and reason is None:
            return from_tfvars_arn(recorded.tfvars_arn, self._allowed, self._regions)
        return reason or Unbound("no deployment metadata and no [[bind]] for this directory")

    def _binding_of(self, directory: str, until: float | None) -> Binding | Unbound | None:
        reason: Unbound | None = None
        try:
            metadata, tfvars = read_binding_files(self._opener, directory)
        except Unreadable as error:
            metadata, tfvars, reason = (
                None,
                None,
                Unbound(f"{error.code}: {os.path.relpath(error.path, directory)} cannot be read"),
            )
        if until is not None and any(file and file.modified_at > until for file in (metadata, tfvars)):
            metadata, tfvars, reason = None, None, Unbound("the deployment metadata is newer than the run")
        if metadata is not None:
            found = from_metadata(metadata.content, self._allowed, self._regions)
            if isinstance(found, Binding):
                return found
            reason = found
        operation = self._operation_of(directory, until)
        if isinstance(operation, Binding):
            return operation
        reason = reason or operation
        bind = self._bound.get(directory)
        if bind is not None:
            return Binding(bind.resource_arn, bind.deployment_id, False, "[[bind]]", bind.name)
        if tfvars is not None and reason is None:
            return from_tfvars(tfvars.content, self._allowed, self._regions)
        return reason

    def _operation_of(self, directory: str, until: float | None) -> Binding | Unbound | None:
        """The workflow of Service Catalog in a directory; looked for only where a sink tells its result."""
        if not self._takes_workflows:
            return None
        try:
            file = read_operation_file(self._opener, directory)
        except Unreadable as error:
            return Unbound(f"{error.code}: {OPERATION_PATH} cannot be read")
        if file is not None and until is not None and file.modified_at > until:
            return Unbound(f"{OPERATION_PATH} is newer than the run")
        return None if file is None else from_operation(file.content)

    def state_path(self, run: Run) -> str | None:
        """The local state a run works on: beside its lock, else where `init` has recorded it; None: none we know."""
        return self._place_of_state(run)[2]

    def is_held(self, run: Run) -> bool:
        """Whether a process certainly holds the very lock that was seen to be the run's."""
        return self._processes.is_alive(run)

    def state_written_at(self, directory: str) -> float:
        """When the local state of a directory was last written; 0 where there is none within reach. Whoever applies
        writes it, changes or none."""
        try:
            with self._opener.open(self.state_path(Run("", directory, 0.0)) or "") as state:
                return state.stat.st_mtime
        except (FileNotFoundError, Unreadable):
            return 0.0

    def recorded_state(self, directory: str) -> str:
        """The local state that `init` has written down for a directory; empty where it has not."""
        found = backend_of(self._opener, directory)
        path = backend.state_path(directory, found, workspace_of(self._opener, directory)) if found.recorded else None
        return path or ""

    def taint(self, run: Run, until: float | None = None) -> Taint:
        """Every value nobody may see, from the run's state and its backup.

        until: when the run's log was last written. A state that was written since has the next run's secrets, and its
        backup those that this one left behind; what it found when it began is gone: where there are secrets, not all
        are known.
        """
        found, workspace, path = self._place_of_state(run)
        if path is None and found.type == backend.S3 and self._states.reads_anything:
            return _as_of(read_state_in_s3(self._states, found, workspace), until)
        if path is None:
            return Taint(known=found.type != backend.UNKNOWN)  # nothing to learn from: patterns have to do
        if run.wrapped is not None and self._opener.root_of(path) is None:
            return Taint()  # out of our reach, and the wrapper has looked into it before it wrote anything down
        reading = read_state(self._opener, path)
        for _ in range(_STATE_LOOKS - 1):
            if reading.taint.known or reading.reason not in ("", TORN):
                break  # waiting makes no state readable that is encrypted, or out of reach
            time.sleep(_STATE_REWRITTEN_S)
            reading = read_state(self._opener, path)
        return _as_of(reading, until)

    def outputs(self, run: Run) -> tuple[Output, ...] | None:
        """The outputs in the run's state, when it is within reach, whole and certainly the run's."""
        found = self._outputs(run)
        return None if isinstance(found, str) else found

    def why_no_outputs(self, run: Run) -> str:
        """Why `outputs` has none to give, in words for people; empty when it has."""
        found = self._outputs(run)
        return f"outputs unreadable: {found}" if isinstance(found, str) else ""

    def _outputs(self, run: Run) -> tuple[Output, ...] | str:
        found, workspace, path = self._place_of_state(run)
        if path is None and found.type == backend.S3 and self._states.reads_anything:
            return self._outputs_in_s3(run, found, workspace)
        if path is None:
            return _KEPT_ELSEWHERE.get(found.type, f"the state is kept in a backend of type {found.type}")
        reading = read_state(self._opener, path)
        if reading.state is None:
            return reading.reason
        if is_locked(self._opener, path):  # asked after reading, so that no writer who came in between is missed
            return "the state is locked again"
        if not run.state_path and reading.modified_at < self._began(run):
            return "the local state is older than the run"
        return reading.state.outputs

    def _outputs_in_s3(self, run: Run, found: Backend, workspace: str | None) -> tuple[Output, ...] | str:
        """Terraform writes nothing when nothing has changed, and TF_WORKSPACE may have meant another object: only what
        was written since the run began is certainly its own."""
        reading = read_state_in_s3(self._states, found, workspace)
        if reading.state is None:
            return reading.reason
        if reading.modified_at + _S3_TICK_S < self._began(run):
            return "the state in S3 is older than the run"
        return reading.state.outputs

    def _place_of_state(self, run: Run) -> tuple[Backend, str | None, str | None]:
        """The backend of a run, its workspace as far as that is known, and its local state: beside its lock, else where
        `init` has recorded it."""
        if run.state_path:
            return Backend(), run.workspace, run.state_path
        directory = run.lock_directory or run.directory
        found = backend_of(self._opener, directory)
        workspace = run.workspace or workspace_of(self._opener, directory)
        return found, workspace, backend.state_path(directory, found, workspace)

    def _began(self, run: Run) -> float:
        """From when on a state file may have been written by a run whose lock nobody has seen.

        Without the lock the path is a guess (TF_DATA_DIR, TF_WORKSPACE and flags are not in the directory), and the
        state found there may be one that a migration or another workspace has left. What ended well has written its
        state, changes or none (statemgr.Filesystem.PersistState). A human log has no clock, and whoever reads one late
        only knows that its last line came right after the state.
        """
        began = run.started_at - _CLOCK_TICK_S
        if run.form is not Form.HUMAN:
            return began
        try:
            with self._opener.open(run.log_path) as log:
                return min(began, log.stat.st_mtime - _LAST_WORDS_S)
        except (FileNotFoundError, Unreadable):
            return began


def _regions(settings: Settings) -> frozenset[str]:
    """The regions of the resources that can be told at all; empty where a sink takes those of every region."""
    if any(sink.type != "proton" or sink.region is None for sink in settings.sink):
        return frozenset()
    return frozenset(sink.region for sink in settings.sink if sink.region is not None)


def _as_of(reading: StateReading, until: float | None) -> Taint:
    """What was sensitive in a state as long as a run was on that was over `until`, as far as that is known."""
    rewritten = until is not None and reading.modified_at > until + _LAST_WORDS_S
    return reading.taint.not_all() if rewritten and reading.taint else reading.taint
