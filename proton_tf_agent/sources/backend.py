"""Where Terraform keeps the state: the backend, as its own record or a backend block tells.

The record is `.terraform/terraform.tfstate`: version 3 JSON that `init` writes, with the settings of every source
merged (block, `-backend-config`, answers). Sources: terraform internal/command/workdir/backend_state.go
(BackendStateFile), .../backend_config_state.go; opentofu internal/command/clistate/cli_state.go writes the same.

Promise: credentials are dropped while parsing (only the settings named here are taken, and an endpoint loses what
stands before its `@`), and `repr` shows the type and nothing else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

RECORD_PATH = ".terraform/terraform.tfstate"
WORKSPACE_PATH = ".terraform/environment"
MAX_SIZE = 256 * 1024
DEFAULT_WORKSPACE = "default"
LOCAL, S3, UNKNOWN = "local", "s3", "unknown"

_STATE_NAME = "terraform.tfstate"
_WORKSPACES = "terraform.tfstate.d"
_MAX_TEXT = 4096  # of one setting; PATH_MAX, and more than a bucket, key or URL may have
# Before 1.6 every endpoint was a setting of its own (internal/backend/remote-state/s3/backend.go).
_OLD_ENDPOINTS = {"s3": "endpoint", "dynamodb": "dynamodb_endpoint", "sts": "sts_endpoint", "iam": "iam_endpoint"}
# What url.PathEscape leaves as it is: terraform internal/command/arguments (ValidWorkspaceName).
_WORKSPACE = re.compile(r"[A-Za-z0-9._~$&+:=@-]{1,255}")
_TYPE = re.compile(r"[a-z0-9_-]{1,64}")
_TAKEN = {
    LOCAL: ("path", "workspace_dir"),
    S3: ("bucket", "key", "region", "workspace_key_prefix", "dynamodb_table", "use_lockfile", "endpoints"),
}


@dataclass(frozen=True, slots=True)
class Backend:
    """Where the state of a directory is kept.

    type is Terraform's word ("local", "s3", "cloud" ...), "unknown" when a record is there and makes no sense.
    recorded: `init` has written it down. Without a record the backend is the local one, or `.terraform` lies
    elsewhere (TF_DATA_DIR), so a local state that is found may be an old one. unknown names settings that are
    expressions; empty texts are settings left to their default.
    """

    type: str = LOCAL
    recorded: bool = False
    path: str = field(default="", repr=False)
    workspace_dir: str = field(default="", repr=False)
    bucket: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    region: str = field(default="", repr=False)
    workspace_key_prefix: str = field(default="", repr=False)
    dynamodb_table: str = field(default="", repr=False)
    use_lockfile: bool = field(default=False, repr=False)
    use_path_style: bool = field(default=False, repr=False)
    endpoints: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    unknown: tuple[str, ...] = field(default=(), repr=False)

    @property
    def is_local(self) -> bool:
        """Whether the state is a file on this machine."""
        return self.type == LOCAL

    def endpoint(self, service: str) -> str:
        """The URL that stands in for an AWS service ("s3", "dynamodb", "sts"); empty for AWS's own."""
        return dict(self.endpoints).get(service, "")


class _Settings(msgspec.Struct):
    type: str = ""
    config: dict[str, Any] | None = None


class _Record(msgspec.Struct):
    version: int = 0
    backend: _Settings | None = None
    state_store: dict[str, Any] | None = None
    remote: dict[str, Any] | None = None


def read(content: bytes | None) -> Backend:
    """The backend that a record tells of; None and nothing but space: there is no record.

    Never raises: a record that is torn or of another version has type "unknown".
    """
    if content is None or not content.strip():
        return Backend()
    try:
        record = msgspec.json.decode(content, type=_Record)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Backend(UNKNOWN, recorded=True)
    if record.version != 3 or (record.remote is not None and record.backend is None):
        return Backend(UNKNOWN, recorded=True)  # an unknown format, or remote state of Terraform 0.8
    if record.state_store is not None:
        return Backend("state_store", recorded=True)
    if record.backend is None or not record.backend.type:
        return Backend(LOCAL, recorded=True)  # what `init` leaves when a backend block was removed
    return of_settings(record.backend.type, record.backend.config or {}, recorded=True)


def of_settings(type_: str, settings: Mapping[str, Any], *, recorded: bool, unknown: Iterable[str] = ()) -> Backend:
    """A backend of this type with the settings that say where the state is; every other setting is dropped."""
    unknown = tuple(sorted(set(unknown).intersection(_TAKEN.get(type_, ()))))
    if type_ == LOCAL:
        paths = (_text(settings, "path"), _text(settings, "workspace_dir"))
        return Backend(LOCAL, recorded, *paths, unknown=unknown)
    if type_ == S3:
        return Backend(
            S3,
            recorded,
            bucket=_text(settings, "bucket"),
            key=_text(settings, "key"),
            region=_text(settings, "region"),
            workspace_key_prefix=_text(settings, "workspace_key_prefix"),
            dynamodb_table=_text(settings, "dynamodb_table"),
            use_lockfile=settings.get("use_lockfile") is True,
            use_path_style=settings.get("use_path_style", settings.get("force_path_style")) is True,
            endpoints=_endpoints(settings),
            unknown=unknown,
        )
    return Backend(type_ if _TYPE.fullmatch(type_) else UNKNOWN, recorded)


def state_path(directory: str, backend: Backend, workspace: str | None) -> str | None:
    """The local state of a workspace (None: the default one); None where the state is no local file we could name.

    Source: terraform internal/backend/local/backend.go (StatePaths, stateWorkspaceDir). Relative settings count from
    the directory Terraform works in, which `-chdir` names; `path` is for the default workspace alone. The flags
    -state and -state-out are known to the lock alone.
    """
    if not backend.is_local:
        return None
    default = workspace in (None, "", DEFAULT_WORKSPACE)
    if ("path" if default else "workspace_dir") in backend.unknown:
        return None
    place = backend.path or _STATE_NAME
    if not default:
        place = os.path.join(backend.workspace_dir or _WORKSPACES, str(workspace), _STATE_NAME)
    return os.path.normpath(os.path.join(directory, place))


def read_workspace(content: bytes | None) -> str | None:
    """The workspace that `.terraform/environment` names; None when it names none.

    A hint only: TF_WORKSPACE overrides it (terraform internal/command/meta.go, WorkspaceOverridden).
    """
    name = (content or b"").strip().decode("ascii", "replace")
    return name if _WORKSPACE.fullmatch(name) else None


def _text(settings: Mapping[str, Any], name: str) -> str:
    value = settings.get(name)
    return value if isinstance(value, str) and len(value) <= _MAX_TEXT else ""


def _endpoints(settings: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    told = settings.get("endpoints")
    named = told if isinstance(told, Mapping) else {}
    found = ((service, _text(named, service) or _text(settings, old)) for service, old in _OLD_ENDPOINTS.items())
    return tuple((service, _without_credentials(url)) for service, url in found if url)


def _without_credentials(url: str) -> str:
    """The URL without user, password and query."""
    scheme, separator, rest = re.split(r"[?#]", url, maxsplit=1)[0].rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
