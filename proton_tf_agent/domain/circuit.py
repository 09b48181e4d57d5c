"""The circuit breaker of a sink: when failures are the sink's and not one resource's, everything waits behind a probe.

    closed --(so many failures in a row, see retry.RULES)--> open --(a probe finds the sink at work)--> closed

While it is open one entry at a time is tried, with the probe's waits between; so a day without the sink costs about two
thousand requests, however many lines wait. Pure: `ticks` are seconds of a clock that only goes forward.
"""

from __future__ import annotations

from .outbox import Outcome, OutcomeKind
from .retry import MAX_WAIT_S, RULES
from .values import Struct, replace

GONE_AFTER_S = 86_400.0  # of probing a host name that nobody knows, until the service is taken to have ended
_ENOUGH = 2  # lines; that more of them fail makes no difference


class Circuit(Struct, frozen=True):
    """What is known of one sink as a whole.

    failures: in a row, over all lines; lines: whose they were, as far as it matters
    held_for: why the circuit is open; None while it is closed. code: the last failure's own name
    probes:   failed ones since it opened for this reason; waited: seconds of waiting between them
    probe_at: ticks at which the next probe is due
    """

    failures: int = 0
    lines: frozenset[str] = frozenset()
    held_for: OutcomeKind | None = None
    code: str = ""
    probes: int = 0
    waited: float = 0.0
    probe_at: float = 0.0

    @property
    def is_open(self) -> bool:
        return self.held_for is not None


def after(circuit: Circuit, line: str, outcome: Outcome, ticks: float, jitter: float, *, suspect: bool) -> Circuit:
    """The circuit after an attempt for a line. suspect: the entry is known to fail by itself; it says nothing then."""
    rule = RULES.get(outcome.kind)
    if rule is None or rule.trips is None:
        return Circuit()  # whatever it said about the entry, the sink is at work and knows us
    if suspect and not circuit.is_open:
        return circuit
    failures = circuit.failures + 1
    lines = circuit.lines if len(circuit.lines) >= _ENOUGH else circuit.lines | {line}
    counted = replace(circuit, failures=failures, lines=lines, code=outcome.code or outcome.kind.value)
    if circuit.is_open or rule.trips == 1 or (failures >= rule.trips and len(lines) >= _ENOUGH):
        return _opened(counted, outcome, ticks, jitter)
    return counted


def _opened(circuit: Circuit, outcome: Outcome, ticks: float, jitter: float) -> Circuit:
    kind = outcome.kind
    if circuit.held_for is OutcomeKind.GONE and kind is OutcomeKind.UNRESOLVABLE:
        kind = OutcomeKind.GONE  # that is how it was found to be gone
    same = circuit.held_for is kind
    probes, waited = (circuit.probes + 1, circuit.waited) if same else (1, 0.0)
    if kind is OutcomeKind.UNRESOLVABLE and waited >= GONE_AFTER_S:
        kind, probes, waited = OutcomeKind.GONE, 1, 0.0
    wait = max(RULES[kind].probe.wait(probes, jitter), min(outcome.retry_after or 0.0, MAX_WAIT_S))
    return replace(circuit, held_for=kind, probes=probes, waited=waited + wait, probe_at=ticks + wait)
