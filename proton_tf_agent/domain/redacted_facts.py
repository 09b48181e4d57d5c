"""What of a fact may be kept: everything in the journal has passed here.

Free text loses what is sensitive in the run's state, outputs what may not be told, and names and single words all that
Terraform would not have written there, whoever has.
"""

from __future__ import annotations

from collections.abc import Callable

from . import evidence as ev
from .evidence import Evidence, Fact
from .output_mapping import OutputMapping
from .outputs import only_told
from .redaction import NOTHING_TAINTED, Taint, scrub, scrub_error, without_keys
from .values import replace

_WORD = 256
_SCRUBBED = 16_000  # characters of a diagnostic that are looked at; far more than are kept, so that no cut shows


def redacted(fact: Fact, taint: Callable[[], Taint], mapping: OutputMapping) -> Fact:
    """The fact without what nobody may see. taint: what that is in the run's state; it is asked for only where a fact
    has free text or values. mapping: which outputs may be told."""
    evidence = fact.evidence
    if isinstance(evidence, ev.ErrorReported):
        summary, address = scrub_error(evidence.summary, evidence.address, taint(), _SCRUBBED)
        return replace(fact, evidence=ev.ErrorReported(summary[:1000], address[:512]))
    if isinstance(evidence, ev.OutputsReported):
        return replace(fact, evidence=ev.OutputsReported(only_told(evidence.outputs, mapping, taint())))
    if isinstance(evidence, ev.DecisionTaken):  # a person's words are kept; what they may have pasted is masked
        known = taint()
        reason = scrub(evidence.reason, known if known.known else NOTHING_TAINTED)
        return replace(fact, evidence=replace(evidence, reason=reason))
    if isinstance(evidence, ev.CommandStarted):
        return replace(fact, evidence=_harmless(evidence))
    if isinstance(evidence, ev.StateWritten):
        lineage = _word(evidence.lineage)  # a UUID where Terraform has written it
        return replace(fact, evidence=replace(evidence, lineage=lineage, outputs=()))  # those are read when told
    return replace(fact, evidence=_bare(evidence))


def without_values(fact: Fact) -> Fact:
    """A fact as the story keeps it: which outputs there were, not their values."""
    if isinstance(fact.evidence, ev.OutputsReported):
        outputs = tuple(replace(output, value=None) for output in fact.evidence.outputs)
        return replace(fact, evidence=ev.OutputsReported(outputs))
    return fact


def _harmless(started: ev.CommandStarted) -> ev.CommandStarted:
    """A wrapper's words without credentials and without anything that acts on a terminal."""
    command = tuple(scrub(word, NOTHING_TAINTED) for word in started.command)
    job = started.job
    if job is not None:
        said = (job.system, job.commit, job.actor, job.url, job.attempt)
        job = ev.Job(*(" ".join(scrub(text, NOTHING_TAINTED).split()) for text in said))
    return replace(started, command=command, job=job)


def _bare(evidence: Evidence) -> Evidence:
    """Evidence whose texts are names and single words where Terraform has written them, with nothing else in them,
    whoever has: no key of an instance, no credential, nothing that acts."""
    if isinstance(evidence, ev.ChangePlanned):
        action, reason = _word(evidence.action), _word(evidence.reason)
        return ev.ChangePlanned(without_keys(evidence.address), action, reason)
    if isinstance(evidence, ev.ResourceRefreshed | ev.ResourceApplied | ev.ResourceErrored | ev.ApplyStarted):
        return replace(evidence, address=without_keys(evidence.address))
    if isinstance(evidence, ev.OperationStarted):
        return replace(evidence, tool=_word(evidence.tool), version=_word(evidence.version))
    if isinstance(evidence, ev.LockTaken):
        operation, who, version = map(_word, (evidence.operation, evidence.who, evidence.version))
        return replace(evidence, operation=operation, who=who, version=version)
    return evidence


def _word(text: str) -> str:
    return scrub(text[:_WORD], NOTHING_TAINTED)
