"""Where the state of a run directory is, as what Terraform itself has left there tells.

Cheap, and all that the watch path needs: two small files, no HCL. What the configuration *declares* is
`sources.configuration`'s, and nothing that runs while the agent watches may import it.
"""

from __future__ import annotations

from . import backend, lock_file
from .backend import Backend
from .safe_open import SafeOpener, Unreadable


def backend_of(opener: SafeOpener, directory: str) -> Backend:
    """The backend that `init` has recorded for a directory; the local one, not recorded, when there is no record.

    Without a record Terraform works with the local backend, or refuses to work at all ("Backend initialization
    required", terraform internal/command/meta_backend.go) - unless TF_DATA_DIR has moved the record elsewhere.
    A record that cannot be read is of type "unknown".
    """
    try:
        return backend.read(opener.read_small(f"{directory}/{backend.RECORD_PATH}", backend.MAX_SIZE))
    except Unreadable:
        return Backend(backend.UNKNOWN, recorded=True)


def workspace_of(opener: SafeOpener, directory: str) -> str | None:
    """The workspace selected in a directory, as far as its files tell: TF_WORKSPACE overrides it unseen."""
    try:
        return backend.read_workspace(opener.read_small(f"{directory}/{backend.WORKSPACE_PATH}", 1024))
    except Unreadable:
        return None


def lock_info_path(directory: str, found: Backend, workspace: str | None) -> str | None:
    """The lock info file of a directory's local state, wherever it lies; None where there is none to be seen.

    With `backend "local" { path = "/srv/state/net.tfstate" }` it is /srv/state/.net.tfstate.lock.info, whatever the
    run directory.
    """
    path = backend.state_path(directory, found, workspace)
    return path and lock_file.lock_info_path_of(path)
