"""What is fed any bytes: each target takes them to one reader of foreign input, and raises for whatever must not be.

A reader may refuse as its docstring says; any other exception, or a broken invariant, is found.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from email.message import Message

from proton_tf_agent.domain.binding import (
    Binding,
    Unbound,
    from_metadata,
    from_operation,
    from_tfvars,
    is_deployment_id,
    is_resource_arn,
)
from proton_tf_agent.domain.errors import Problem, SettingsInvalid
from proton_tf_agent.domain.evidence import Cursor, Fact, LockTaken, Mark
from proton_tf_agent.domain.printable import printable, without_acting
from proton_tf_agent.domain.redaction import MASK, Taint, scrub, without_keys
from proton_tf_agent.settings import Settings, load
from proton_tf_agent.sources import backend, exit_record, json_log, lock_file, log, output_json, state_file, tail
from proton_tf_agent.sources.exit_record import Malformed
from proton_tf_agent.wire_contract import NOTIFY, TARGETS, Refused, check_envelope, read_request

RECORD_ID = "0" * 32


def of_json_log(content: bytes) -> None:
    """Facts lie where their lines lie, and pieces say what the whole says."""
    lines = _lines(content)
    facts, mark = json_log.read(lines, Mark(), "/w")
    assert all(fact.position is not None or fact.anchor for fact in facts)
    assert all(0 <= (fact.position or 0) <= len(content) + 16 for fact in facts)
    half = len(lines) // 2
    first, between = json_log.read(lines[:half], Mark(), "/w")
    second, after = json_log.read(lines[half:], between, "/w")
    assert (first + second, after) == (facts, mark)


def of_log(content: bytes) -> None:
    """Whoever the log is for, people or programs, Terragrunt or not: looks at any moment say what one look says."""
    whole, pieces = _Looks(), _Looks()
    whole.look(content)
    cut = (content[0] * len(content)) // 256 if content else 0
    pieces.look(content[:cut])
    pieces.look(content)
    assert pieces.offset == whole.offset
    assert _told(pieces.facts) == _told(whole.facts)
    whole.look(content, complete=True)


def of_tail(content: bytes) -> None:
    """Whole lines, none twice, none left out, whatever was there before."""
    cut = (content[0] * len(content)) // 256 if content else 0
    first = tail.read_new(_reader(content[:cut]), cut, 1, 1, None)
    cursor = Cursor("p", 1, 1, first.offset, first.head, first.head_length, (), end=first.end)
    second = tail.read_new(_reader(content), len(content), 1, 1, cursor)
    assert not second.restarted
    assert second.offset >= first.offset
    lines = [*first.lines, *second.lines]
    assert b"".join(line for _, line in lines) == content[: second.offset].removeprefix(b"\xef\xbb\xbf")
    assert all(line.endswith(b"\n") for _, line in lines)
    rewritten = tail.read_new(_reader(content[::-1]), len(content), 1, 1, cursor)
    assert rewritten.restarted or rewritten.offset >= cursor.offset


def of_state(content: bytes) -> None:
    """A state or none; of a sensitive output no value; nothing that is sensitive is read as nothing."""
    size = len(content)
    state = state_file.read(_reader(content), size, lambda: True)
    if state is not None:
        assert all(output.value is None for output in state.outputs if output.sensitive)
    marked = state_file.marked_in_resources(_reader(content), size)
    assert marked is None or all(isinstance(secret, str) for secret in marked.secrets)
    Taint(marked.secrets if marked else ()).mask("some text")


def of_metadata(content: bytes) -> None:
    """A binding is one to a resource that may be spoken for; everything else says why not, in words for a terminal."""
    for read in (from_metadata, from_tfvars):
        found = read(content, ["arn:aws:proton:*:111122223333:*"])
        if isinstance(found, Binding):
            assert found.resource_arn is not None
            assert is_resource_arn(found.resource_arn)
            assert ":111122223333:" in found.resource_arn
            assert found.deployment_id is None or is_deployment_id(found.deployment_id)
        else:
            assert isinstance(found, Unbound)
            assert found.reason.isprintable()


def of_operation(content: bytes) -> None:
    """A workflow within the limits of Service Catalog's model; everything else says why not, and quotes nothing."""
    found = from_operation(content)
    if isinstance(found, Binding):
        assert found.workflow is not None
        assert re.fullmatch(r"[0-9A-Za-z+/=]{1,20000}", found.workflow.token)
        assert re.fullmatch(r"[0-9A-Za-z_-]{1,100}", found.workflow.record_id)
        assert found.name == found.workflow.product_id
        assert found.workflow.token not in repr(found) or len(found.workflow.token) < 20
    else:
        assert found.reason.isprintable()


def of_lock(content: bytes) -> None:
    """Bounded texts, or nothing."""
    facts, lock_id = lock_file.read(content, "before", "/w/terraform.tfstate")
    assert 0 < len(lock_id) <= 64
    taken = [fact.evidence for fact in facts if isinstance(fact.evidence, LockTaken)]
    assert all(len(text) <= 256 for lock in taken for text in (lock.lock_id, lock.operation, lock.who, lock.version))


def of_exit_record(content: bytes) -> None:
    """A record or Malformed."""
    with suppress(Malformed):
        record = exit_record.read(content, RECORD_ID)
        assert exit_record.beginning(record).record_id == RECORD_ID
        exit_record.ending(record)
        assert all(fact.record_id == RECORD_ID for fact in exit_record.heard(record))


def of_output_json(content: bytes) -> None:
    """What `terraform output -json` says, or nothing."""
    found = output_json.read(content)
    if found is not None:
        assert all(output.value is None for output in found[0] if output.sensitive)


def of_backend(content: bytes) -> None:
    """A backend, always; never one of its secrets."""
    found = backend.read(content)
    backend.state_path("/w", found, None)
    backend.read_workspace(content)


def of_settings(content: bytes) -> None:
    """Settings, or every mistake in one line each."""
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        problems: tuple[Problem, ...] = ()
        try:
            found: Settings | None = load(file.name)
        except SettingsInvalid as invalid:
            found, problems = None, invalid.problems
    assert found is not None or problems
    assert all(str(problem).isprintable() for problem in problems)


def of_request(content: bytes) -> None:
    """What the receiver is sent: an operation with valid members, or a refusal."""
    head, _, body = content.partition(b"\n\n")
    headers = Message()
    for line in head.decode("latin-1").splitlines():
        name, _, value = line.partition(":")
        with suppress(ValueError):
            headers[name.strip() or "X"] = value.strip()
    with suppress(Refused):
        check_envelope("POST", "/", headers)
    for operation in TARGETS.values():
        with suppress(Refused):
            members = read_request(operation, body or content)
            assert operation != NOTIFY or isinstance(members["resourceArn"], str)


def of_redaction(content: bytes) -> None:
    """A value and a text around it: no copy is left, nothing acts, and redacting once is enough."""
    secret, _, text = content.decode("utf-8", "replace").partition("\n")
    taint = Taint([secret])
    masked = taint.mask(f"{text}{secret}{text}")
    assert not taint or len(secret) > 512 or secret in MASK or secret not in masked.replace(MASK, "\U0010ffff")
    once = scrub(text, taint)
    assert scrub(once, taint) == once
    assert without_acting(once) == once
    assert printable(text).isprintable()
    without_keys(text)


TARGETS_BY_NAME: dict[str, Callable[[bytes], None]] = {
    "json_log": of_json_log,
    "log": of_log,
    "tail": of_tail,
    "state": of_state,
    "metadata": of_metadata,
    "operation": of_operation,
    "lock": of_lock,
    "exit_record": of_exit_record,
    "output_json": of_output_json,
    "backend": of_backend,
    "settings": of_settings,
    "request": of_request,
    "redaction": of_redaction,
}


class _Looks:
    """Looks at a growing log, with the cursor that each leaves."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.offset = 0
        self._cursor: Cursor | None = None

    def look(self, content: bytes, complete: bool = False) -> None:
        new = tail.read_new(_reader(content), len(content), 1, 1, self._cursor)
        assert self._cursor is None or not new.restarted
        file = log.LogFile("/w", "apply.log", "identity", 0.0)
        facts, marks = log.read(file, new, self._cursor, complete)
        self.facts += facts
        self.offset = new.offset
        self._cursor = Cursor("p", 1, 1, new.offset, new.head, new.head_length, marks, end=new.end)


def _told(facts: list[Fact]) -> list[Fact]:
    """What was told by whole lines: a prompt has none yet, so it is told again or not at all."""
    return [fact for fact in facts if type(fact.evidence).__name__ != "ApprovalAwaited"]


def _reader(content: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, length: content[offset : offset + length]


def _lines(content: bytes) -> list[tuple[int, bytes]]:
    found, offset = [], 0
    for line in content.split(b"\n")[:-1]:
        found.append((offset, line + b"\n"))
        offset += len(line) + 1
    return found
