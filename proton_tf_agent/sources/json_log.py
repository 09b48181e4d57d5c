"""Terraform's machine-readable UI (`-json`), line by line, as evidence.

What a log is, is decided by its lines: a JSON object whose `@module` is `terraform.ui` or `tofu.ui`. Anything
else between them (TF_LOG, warnings) is skipped, but for a crash report, which comes in no other form. A `version` line
begins a new run; its digest is the anchor of every fact until the next one. Where the file began anew, and the next run
in it, the end of the one before was written over unread, unless lines of its own came in between (copytruncate).

Speed: the type of a line is read off its end, where Terraform's encoder puts it, and only wanted types are decoded.
Source: terraform internal/command/views/json/message_types.go, and .../views/json_view.go; unknown types and
properties are ignored and an unknown major `ui` version is refused, as
developer.hashicorp.com/terraform/internals/machine-readable-ui asks of every reader.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec

from ..domain import evidence as ev
from ..domain.evidence import Evidence, Fact, Form, Mark, Operation, Output
from ..domain.values import replace
from .weight import LIGHT, is_heavy

_MODULES = ("terraform.ui", "tofu.ui")
_UNCHANGED = ("noop", "read")
_LOCK_REFUSED = "Error acquiring the state lock"
_SAVE_FAILED = ("Failed to save state", "Failed to persist state to backend")
# terraform internal/logging/panic.go: panicOutput, panicHandler, and pluginPanicOutput, behind which a provider's crash
# follows (Terraform goes on); golang/go src/runtime: panic.go, signal_unix.go, traceback.go
_CRASH = re.compile(
    rb"panic: |fatal error: |SIGQUIT: quit|goroutine \d+ [a-z\[]|!{8,} (?:TERRAFORM|OPENTOFU) CRASH !{8,}"
    rb"|(?P<plugin>Stack trace from the )"
)
_CRASHED = "crashed"
_OVER = "over"  # what the command was asked to do is done, as far as its log tells: what else comes may be another's
_PHASE_AFTER: dict[type, str] = {
    ev.PlanSummarised: _OVER,
    ev.ApplyStarted: "",
    ev.ApplySummarised: _OVER,
    ev.ErrorReported: _OVER,
    ev.OtherCommandStarted: _OVER,
}


class _Head(msgspec.Struct, gc=False):
    type: str = ""
    module: str = msgspec.field(default="", name="@module")


class _Stamp(msgspec.Struct, gc=False):
    timestamp: str = msgspec.field(default="", name="@timestamp")


class _Version(_Head, gc=False):
    ui: str = ""
    terraform: str = ""
    tofu: str = ""
    timestamp: str = msgspec.field(default="", name="@timestamp")


class _Resource(msgspec.Struct, gc=False):
    addr: str = ""


class _Hook(msgspec.Struct, gc=False):
    resource: _Resource = msgspec.field(default_factory=_Resource)
    action: str = ""
    reason: str = ""


class _HookLine(_Head, gc=False):
    hook: _Hook = msgspec.field(default_factory=_Hook)


class _ChangeLine(_Head, gc=False):
    change: _Hook = msgspec.field(default_factory=_Hook)


class _Changes(msgspec.Struct, gc=False):
    add: int = 0
    change: int = 0
    remove: int = 0
    imported: int = msgspec.field(default=0, name="import")
    forget: int = 0
    operation: str = ""


class _SummaryLine(_Head, gc=False):
    changes: _Changes = msgspec.field(default_factory=_Changes)


class _OutputValue(msgspec.Struct):
    sensitive: bool = False
    action: str = ""
    type: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _OutputsLine(_Head, gc=False):
    outputs: dict[str, _OutputValue] = {}


class _Diagnostic(msgspec.Struct, gc=False):
    severity: str = ""
    summary: str = ""
    detail: str = ""
    address: str = ""


class _DiagnosticLine(_Head, gc=False):
    diagnostic: _Diagnostic = msgspec.field(default_factory=_Diagnostic)


class _TextLine(_Head, gc=False):
    text: str = msgspec.field(default="", name="@message")


def read(lines: Iterable[tuple[int, bytes]], mark: Mark, directory: str) -> tuple[tuple[Fact, ...], Mark]:
    """The facts in whole lines (offset, bytes), and the mark after them.

    mark comes from the last look at the same log. directory keeps the anchors of equal logs in different run
    directories apart.
    """
    facts: list[Fact] = []
    anchor, start, phase, cut = mark.anchor, mark.offset, mark.phase, mark.cut
    for offset, line in lines:
        kind = _kind(line)
        if kind == b"version":
            phase = ""
            began = _operation_started(line)
            before = anchor
            anchor, start = ("", 0) if began is None else (_anchor(directory, line), offset)
            if before and before != anchor:  # the same line read again is the same run
                facts.append(Fact(ev.LogOverwritten() if cut else ev.LogClosed(), before, unit=mark.unit))
            cut = False
            if began is not None:
                facts.append(Fact(began, anchor, 0, mark.unit))
        elif anchor and kind in _READERS:
            position = offset - start
            for index, evidence in enumerate(_evidence(kind, line)):
                facts.append(Fact(evidence, anchor, position + index, mark.unit))
                phase = _PHASE_AFTER.get(type(evidence), phase)
        elif anchor and not (kind or cut) and line[0] in b"pfSg!" and not phase and (crash := _CRASH.match(line)):
            phase = _CRASHED
            if not crash["plugin"]:
                facts.append(Fact(ev.CrashReported(), anchor, offset - start, mark.unit))
        cut = cut and not (kind and _is_ours(line))
    return tuple(facts), Mark(anchor, start, Form.JSON, phase, mark.unit, cut)


def is_over(mark: Mark) -> bool:
    """Whether the command that a log speaks of may have come to its end: another may begin without a `version` line."""
    return mark.phase == _OVER


def finish(mark: Mark) -> Mark:
    """The mark of a log that nobody writes any more."""
    return replace(mark, phase=_OVER)


def is_message(line: bytes) -> bool:
    """Whether a line is one of the JSON UI."""
    return line.startswith(b"{") and bool(_kind(line))


def begins_run(line: bytes) -> bool:
    """Whether a line is the `version` line a log of the JSON UI begins with."""
    return line.startswith(b"{") and _VERSION in line and _kind(line) == b"version"


def spoke_at(lines: Sequence[bytes]) -> float | None:
    """When the last of these lines was written, as they tell themselves; None where none of them does."""
    for line in reversed(lines):
        if is_message(line):
            with suppress(msgspec.MsgspecError, ValueError):
                return _seconds(msgspec.json.decode(line, type=_Stamp).timestamp)
    return None


_decode_head = msgspec.json.Decoder(_Head).decode
# hclog's encoder sorts keys, so `type` comes last but in the version line. A quote inside a string is escaped, and the
# brace that ends a line ends its object: where this matches a valid document, it is the `type` at its top level.
_LAST_KEY = re.compile(rb',"type":"([a-z_]{1,48})"\}\s*\Z')
_LAST_KEY_LENGTH = 80
_VERSION = b'"version"'  # Go's encoder escapes no letter


def _kind(line: bytes) -> bytes:
    """The message type of a line that may be one of the JSON UI; empty for every other line.

    Only a hint where the type stands last: whether the line is a document of ours is seen when it is decoded.
    """
    if not line.startswith(b"{"):
        return b""
    last = _LAST_KEY.search(line, max(0, len(line) - _LAST_KEY_LENGTH))
    if last is not None and last[1] != b"version":
        return last[1]
    try:
        head = _decode_head(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return b""
    return head.type.encode() if head.module in _MODULES else b""


def _is_ours(line: bytes) -> bool:
    try:
        return _decode_head(line).module in _MODULES
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False


def _evidence(kind: bytes, line: bytes) -> Iterable[Evidence]:
    if len(line) > LIGHT and is_heavy(line):
        return ()
    decode, make = _READERS[kind]
    try:
        return _made(decode(line), make)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        if kind != _FOR_PEOPLE or len(line) > _REPAIRED_UP_TO:
            return ()  # a line of a known type in an unknown shape says nothing we could rely on
    try:
        return _made(decode(_repaired(line)), make)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ()


def _made(document: Any, make: Callable[[Any], Iterable[Evidence]]) -> Iterable[Evidence]:
    return tuple(make(document)) if document.module in _MODULES else ()  # a tuple: making may fail too


_FOR_PEOPLE = b"diagnostic"  # an error's text may be mended; a name, an id or an output value is what it is, or nothing
_REPAIRED_UP_TO = 64 * 1024  # bytes
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|(?P<lone>u[dD][89a-fA-F]\w\w)|.)", re.DOTALL)


def _repaired(line: bytes) -> bytes:
    """A line with U+FFFD for what is no character, as Go's encoder writes it: somebody has copied it since."""
    text = line.decode("utf-8", "replace").encode()
    return _ESCAPE.sub(lambda escape: rb"\ufffd" if escape["lone"] else escape[0], text)


def _anchor(directory: str, line: bytes) -> str:
    digest = hashlib.blake2b(directory.encode("utf-8", "surrogateescape") + b"\0" + line.strip(), digest_size=12)
    return digest.hexdigest()


def _operation_started(line: bytes) -> ev.OperationStarted | None:
    try:
        version = msgspec.json.decode(line, type=_Version)
        if version.ui.split(".")[0] != "1":
            return None
    except (msgspec.MsgspecError, ValueError):
        return None
    tool = "tofu" if version.tofu else "terraform"
    return ev.OperationStarted(tool, version.tofu or version.terraform, _seconds(version.timestamp))


def _seconds(timestamp: str) -> float | None:
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except (ValueError, OverflowError):
        return None  # a run that cannot be dated is a run all the same


def _refreshed(line: _HookLine) -> Iterable[Evidence]:
    yield ev.ResourceRefreshed(line.hook.resource.addr)


def _apply_start(line: _HookLine) -> Iterable[Evidence]:
    # Data sources are read with apply_start too, already in the plan.
    made = ev.ResourceRefreshed if line.hook.action == "read" else ev.ApplyStarted
    yield made(line.hook.resource.addr)


def _apply_complete(line: _HookLine) -> Iterable[Evidence]:
    if line.hook.action != "read":
        yield ev.ResourceApplied(line.hook.resource.addr)


def _apply_errored(line: _HookLine) -> Iterable[Evidence]:
    yield ev.ResourceErrored(line.hook.resource.addr)


def _planned_change(line: _ChangeLine) -> Iterable[Evidence]:
    change = line.change
    if change.action in _UNCHANGED:
        yield ev.ResourceRefreshed(change.resource.addr)
    else:
        yield ev.ChangePlanned(change.resource.addr, change.action, change.reason)


def _change_summary(line: _SummaryLine) -> Iterable[Evidence]:
    n = line.changes
    if n.operation == "plan":
        yield ev.PlanSummarised(n.add, n.change, n.remove, n.imported, n.forget)
    elif n.operation in ("apply", "destroy"):
        yield ev.ApplySummarised(n.add, n.change, n.remove, n.imported, Operation(n.operation))


def _outputs(line: _OutputsLine) -> Iterable[Evidence]:
    outputs = line.outputs
    if any(output.action for output in outputs.values()):
        yield ev.OutputsPlanned(any(output.action not in ("", "noop") for output in outputs.values()))
    else:
        yield ev.OutputsReported(tuple(_output(name, output) for name, output in outputs.items()))


def _output(name: str, output: _OutputValue) -> Output:
    if output.sensitive or isinstance(output.value, msgspec.UnsetType):
        return Output(name, None, output.sensitive)
    return Output(name, bytes(output.value).decode())


def _diagnostic(line: _DiagnosticLine) -> Iterable[Evidence]:
    diagnostic = line.diagnostic
    if diagnostic.severity != "error":
        return
    # "permission denied" in the detail means that the lock file could not be made, not that another has it.
    if diagnostic.summary == _LOCK_REFUSED and "permission denied" not in diagnostic.detail:
        yield ev.LockRefused(_lock_id(diagnostic.detail))
    if diagnostic.summary in _SAVE_FAILED:
        yield ev.StateSaveFailed()
    yield ev.ErrorReported(diagnostic.summary, diagnostic.address)


def _lock_id(detail: str) -> str:
    """The holder's id out of "Lock Info:\\n  ID:  <id>" (terraform internal/states/statemgr/locker.go)."""
    for row in detail.splitlines():
        key, _, value = row.partition(":")
        if key.strip() == "ID":
            return value.strip()[:64]
    return ""


def _log(line: _TextLine) -> Iterable[Evidence]:
    # terraform internal/command/views/operation.go: Interrupted, FatalInterrupt
    text = line.text.lstrip()
    if text.startswith("Interrupt received"):
        yield ev.InterruptRequested()
    elif text.startswith("Two interrupts received"):
        yield ev.InterruptRequested(forced=True)


def _other(command: str) -> Callable[[Any], Iterable[Evidence]]:
    return lambda _line: (ev.OtherCommandStarted(command),)


def _reads(shape: type, make: Callable[[Any], Iterable[Evidence]]) -> tuple[Callable[[bytes], Any], Any]:
    return msgspec.json.Decoder(shape).decode, make


_READERS: dict[bytes, tuple[Callable[[bytes], Any], Callable[[Any], Iterable[Evidence]]]] = {
    b"refresh_start": _reads(_HookLine, _refreshed),
    b"apply_start": _reads(_HookLine, _apply_start),
    b"apply_complete": _reads(_HookLine, _apply_complete),
    b"apply_errored": _reads(_HookLine, _apply_errored),
    b"planned_change": _reads(_ChangeLine, _planned_change),
    b"change_summary": _reads(_SummaryLine, _change_summary),
    b"outputs": _reads(_OutputsLine, _outputs),
    b"diagnostic": _reads(_DiagnosticLine, _diagnostic),
    b"log": _reads(_TextLine, _log),
    b"init_output": _reads(_Head, _other("init")),
    b"test_abstract": _reads(_Head, _other("test")),
    b"list_start": _reads(_Head, _other("query")),
}
