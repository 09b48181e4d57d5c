"""Keeping a record in the spool: begun before Terraform starts, ended after it (shape: `sources.exit_record`).

Written aside and renamed, so that whoever reads it sees it whole, and synced where it matters. As long as this process
or a child of it that keeps the record lives, `ID.lock` is locked: a record that is not ended and not locked will never
be. Others may neither list the spool nor read the record (0640, the group is the spool's).
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .command import Command

DEFAULT_SPOOL = "/var/spool/proton-tf-agent"
DEFAULT_SETTINGS = "/etc/proton-tf-agent/agent.toml"
VERSION = 1
_MODE = 0o640
_METADATA = ".proton/deployment-metadata.json"
_TFVARS = "proton.auto.tfvars.json"
_MAX_METADATA = 64 * 1024
_MAX_WORDS, _MAX_WORD = 200, 1000  # of what was typed


def settings_path(given: str | None, environment: Mapping[str, str]) -> str:
    """The settings file, as every command of ours finds it."""
    return os.path.abspath(given or environment.get("PROTON_TF_AGENT_CONFIG") or DEFAULT_SETTINGS)


def spool_path(settings: str, environment: Mapping[str, str]) -> str:
    """The spool: PROTON_TF_AGENT_SPOOL, else the settings, else the default.

    Settings that cannot be read, as those of a service usually cannot by a job, leave the default.
    """
    named = environment.get("PROTON_TF_AGENT_SPOOL")
    if named:
        return os.path.abspath(named)
    try:
        with open(settings, "rb") as file:
            content = file.read(1 << 20)
    except OSError:
        return DEFAULT_SPOOL
    if b"spool" not in content:
        return DEFAULT_SPOOL
    import tomllib

    try:
        path = tomllib.loads(content.decode()).get("spool", {}).get("path", DEFAULT_SPOOL)
    except (ValueError, AttributeError):
        return DEFAULT_SPOOL
    return path if isinstance(path, str) else DEFAULT_SPOOL


class RecordKeeper:
    """One record. Every method may raise OSError: the caller goes on without a record then.

    prints: whether and where what is printed can be heard (`streams.Streams.described`).
    """

    def __init__(
        self, spool: str, command: Command, prints: Mapping[str, object], job: dict[str, str] | None, now: float,
        draw: Callable[[int], bytes] = os.urandom,
    ) -> None:  # fmt: skip
        self.record_id = draw(16).hex()
        self._spool = spool
        self._path = f"{spool}/{self.record_id}.json"
        self._lock: int | None = None
        self._document: dict[str, object] = {
            "version": VERSION, "record_id": self.record_id, "began_at": now, "directory": _text(command.directory),
            "operation": command.operation, "workspace": _workspace(command.directory),
            "command": [_text(word)[:_MAX_WORD] for word in command.shown[:_MAX_WORDS]], "detailed": command.detailed,
            "job": job and {key: _text(value) for key, value in job.items()}, "facts": [], **prints,
            "metadata": _metadata(command), "tfvars_arn": _tfvars_arn(command.directory),
        }  # fmt: skip

    def begin(self, pid: int) -> None:
        """Write down that Terraform is about to run as this process."""
        self._lock = os.open(f"{self._spool}/{self.record_id}.lock", os.O_RDWR | os.O_CREAT | os.O_EXCL, _MODE)
        os.fchmod(self._lock, _MODE)
        # Of the open file, not of the process: it outlives us where a child of ours goes on (fcntl(2), F_OFD_SETLK).
        fcntl.fcntl(self._lock, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        self._document["process"] = _process(pid)
        self._write(durably=True)

    def go_on(self, facts: list[object]) -> None:
        """Write down what was heard so far; that may be lost."""
        self._document["facts"] = facts
        self._write(durably=False)

    def end(self, facts: list[object], status: int, signal: int, now: float) -> None:
        """Write down how Terraform ended, and let the record go."""
        self._document["facts"] = facts
        self._document["ended"] = {"at": now, "status": status, "signal": signal}
        self._write(durably=True)
        self.let_go()

    def let_go(self) -> None:
        """Nothing more will be written; what is not ended now is an end nobody has seen."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def discard(self) -> None:
        """There was no run after all."""
        for path in (self._path, f"{self._spool}/{self.record_id}.lock"):
            with suppress(OSError):
                os.unlink(path)
        self.let_go()

    def _write(self, durably: bool) -> None:
        content = json.dumps(self._document, separators=(",", ":")).encode()
        aside = f"{self._spool}/.{self.record_id}.new"
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _MODE)
        try:
            os.fchmod(fd, _MODE)
            written = 0
            while written < len(content):
                written += os.write(fd, content[written:])
            if durably:
                os.fsync(fd)
            os.rename(aside, self._path)
            if durably:
                os.fsync(fd)  # the new name, too: the spool itself cannot be opened by whoever may not list it
        except OSError:
            with suppress(OSError):
                os.unlink(aside)
            raise
        finally:
            os.close(fd)


def _process(pid: int) -> dict[str, object]:
    """What tells a process from every other; proc_pid_stat(5), field 22."""
    fields = _read(f"/proc/{pid}/stat", 4096).rpartition(")")[2].split()
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    started = int(fields[19]) if len(fields) > 19 else 0
    boot_id = _read("/proc/sys/kernel/random/boot_id", 64).strip()
    return {"pid": pid, "started": started, "pid_namespace": namespace, "boot_id": boot_id}


def _workspace(directory: str) -> str:
    """The workspace Terraform works in: terraform internal/command/meta.go, WorkspaceOverridden, and DataDir."""
    named = os.environ.get("TF_WORKSPACE")
    data = os.path.join(directory, os.environ.get("TF_DATA_DIR") or ".terraform")
    return _text(named or _read(f"{data}/environment", 256).strip() or "default")


def _metadata(command: Command) -> str | None:
    """The deployment metadata as they are now: of the run directory, of the unit that Terragrunt has copied there, or
    of the directory the command was started in."""
    unit = f"{command.directory}/".partition("/.terragrunt-cache/")[0]
    for directory in (command.directory, unit, command.base):
        text = _read(f"{directory}/{_METADATA}", _MAX_METADATA + 1)
        if text:
            return text
    return None


def _tfvars_arn(directory: str) -> str | None:
    """The ARN in Proton's tfvars; nothing else of them is kept."""
    text = _read(f"{directory}/{_TFVARS}", _MAX_METADATA)
    if '"//"' not in text:
        return None
    try:
        arn = json.loads(text).get("//")
    except (ValueError, AttributeError, RecursionError):
        return None
    return arn if isinstance(arn, str) else None


def _read(path: str, limit: int) -> str:
    """The beginning of a regular file as text; empty where there is none. A FIFO in its place blocks nobody."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return _text(os.read(fd, limit).decode("utf-8", "replace"))
    except OSError:
        return ""
    finally:
        os.close(fd)


def _text(text: str) -> str:
    """Text that is UTF-8: names that are not cannot be kept."""
    return text.encode("utf-8", "replace").decode()
