"""The wrapper's record of one command: bytes -> `Record`, and what it says as evidence.

`wrapper` writes records, this reads them; tests/unit/test_exit_record.py holds both to one shape. A record names the
command, the directory and the deployment it was started for, repeats what the wrapper heard of Terraform's output, and
says at last how Terraform ended. Whose record it is, and whether to believe it, `spool` decides.

A record says nothing but this: evidence that only a lock, a state or a person can give is refused.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from ..domain import evidence as ev
from ..domain.evidence import Evidence, Fact, Job, Operation
from .weight import is_heavy

MAX_SIZE = 8 << 20
VERSION = 1
_MAX_WORDS = 500
_MAX_WORD = 4096
_MAX_SAID = 300
_MAX_FACTS = 200_000
_HEARD: dict[str, type[Evidence]] = {
    kind.__name__: kind
    for kind in (
        ev.OperationStarted, ev.ResourceRefreshed, ev.ChangePlanned, ev.PlanSummarised, ev.OutputsPlanned,
        ev.ApplyStarted, ev.ResourceApplied, ev.ResourceErrored, ev.ApplySummarised, ev.OutputsReported,
        ev.ErrorReported, ev.InterruptRequested, ev.LockRefused, ev.StateSaveFailed, ev.ApprovalAwaited,
        ev.ApprovalDeclined, ev.CrashReported, ev.OutcomeContradicted,
    )
}  # fmt: skip


class Process(msgspec.Struct, frozen=True):
    """Terraform's process: started in clock ticks since boot (proc_pid_stat(5), field 22), and where its pid counts."""

    pid: int = 0
    started: int = 0
    pid_namespace: str = ""
    boot_id: str = ""


class Ended(msgspec.Struct, frozen=True):
    """How Terraform ended, and when (seconds since the epoch)."""

    at: float
    status: int = 0
    signal: int = 0


class Record(msgspec.Struct, frozen=True):
    """One command, as its wrapper has written it down.

    metadata is the text of the deployment metadata, and tfvars_arn the ARN in Proton's tfvars, as they were when the
    command began. files are those it prints to (device, inode). facts are kind, fields and position of what was heard.
    process is None until there is one.
    """

    version: int
    record_id: str
    began_at: float
    directory: str
    operation: Operation
    workspace: str | None = None
    command: tuple[str, ...] = ()
    detailed: bool = False
    listens: bool = False
    files: tuple[tuple[int, int], ...] = ()
    on_terminal: bool = False
    process: Process | None = None
    metadata: str | None = None
    tfvars_arn: str | None = None
    job: Job | None = None
    facts: tuple[tuple[str, dict[str, Any], int | None], ...] = ()
    ended: Ended | None = None

    @property
    def anchor(self) -> str:
        """What ties what was heard to the run."""
        return f"record:{self.record_id}"


class Malformed(Exception):
    """A file in the spool is no record; the text says why."""


_decode = msgspec.json.Decoder(Record).decode


def read(content: bytes, record_id: str) -> Record:
    """The record in a file that is named after its id. Malformed when it is none."""
    if is_heavy(content):
        raise Malformed("it says too much")
    try:
        record = _decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Malformed(f"not a record: {_without_value(error)}") from None
    if record.version != VERSION:
        raise Malformed(f"a record of version {record.version}, this agent reads version {VERSION}")
    if record.record_id != record_id:
        raise Malformed("its name is not its id")
    if not _is_plain_path(record.directory):
        raise Malformed("its directory is no absolute path")
    words = [*record.command, record.workspace or ""]
    if len(words) > _MAX_WORDS or any(len(word) > _MAX_WORD for word in words) or len(record.facts) > _MAX_FACTS:
        raise Malformed("it says too much")
    return record


def beginning(record: Record) -> Fact:
    """That the command was started."""
    started = ev.CommandStarted(
        record.record_id, record.operation, record.began_at, record.command, record.detailed, record.listens,
        _bounded(record.job), record.ended.at if record.ended else None, record.files[:2], record.on_terminal,
    )  # fmt: skip
    return Fact(started, record_id=record.record_id)


def heard(record: Record) -> tuple[Fact, ...]:
    """What the wrapper has heard so far. Malformed when it is nothing Terraform says."""
    facts = []
    for kind, fields, position in record.facts:
        made = _HEARD.get(kind)
        if made is None:
            raise Malformed("it says something that Terraform does not say")
        try:
            evidence = msgspec.convert(fields, type=made)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Malformed(f"{kind}: {_without_value(error)}") from None
        facts.append(Fact(evidence, record.anchor, position, record_id=record.record_id))
    return tuple(facts)


def ending(record: Record) -> Fact | None:
    """How Terraform ended; None while it goes on, as far as the record tells."""
    if record.ended is None:
        return None
    exited = ev.ProcessExited(record.ended.status, record.ended.signal, record.ended.at)
    return Fact(exited, record_id=record.record_id)


def _without_value(error: Exception) -> str:
    """What msgspec complains of, without the value it quotes."""
    return str(error).partition("'")[0].strip()


def _is_plain_path(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return os.path.isabs(path) and os.path.normpath(path) == path and "\0" not in path and len(path) <= _MAX_WORD


def _bounded(job: Job | None) -> Job | None:
    if job is None:
        return None
    return Job(*(text[:_MAX_SAID] for text in (job.system, job.commit, job.actor, job.url, job.attempt)))
