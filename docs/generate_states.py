"""Prints docs/states.md from `domain/transitions.py`: `make docs` writes it, tests/unit/test_states_page.py compares.

Deterministic: rows in the order of the table, statuses in the order of `RunStatus`.
"""

from __future__ import annotations

from proton_tf_agent.domain.run import AMENDABLE, DECIDABLE, FINAL, OPEN, RunStatus
from proton_tf_agent.domain.transitions import TRANSITIONS, Row

_INTRODUCTION = """\
# How a run goes

Generated from `proton_tf_agent/domain/transitions.py` by `make docs`; do not edit. The theory, and what the table
promises, stands above the table there. In short: every fact adds to what has been found about a run; then the first
row applies whose *from* holds the run's status, whose *on* is the fact, and whose *when* holds for the findings. A row
moves the run at once (`now`) or proposes a verdict that waits: `settle` for a stronger source to speak, `grace` to be
sure that a process is really gone. A waiting verdict is final when its time has come (`Elapsed`), and at once when the
next run of the same directory begins (`NextRunBegan`); only a success then still waits for its outputs, and an
inference for the end of an open log. A verdict
of basis `proof` is never changed; one of basis `inference` gives way to a person's `decision` (`runs settle`), and both
give way to proof that arrives late. *Over* means: the log is closed and the lock is not held.
"""

_GROUPS = ((OPEN, "any open status"), (AMENDABLE, "any inferred end"), (DECIDABLE, "any decided end"))
_NAMES = tuple(name for _, name in _GROUPS)


def page() -> str:
    """The whole of docs/states.md."""
    return "\n".join((_INTRODUCTION, _groups(), "", _table(), "", "## As a picture", "", _diagram(), ""))


def _groups() -> str:
    return "\n".join(f"- {name}: {_listed(group)}" for group, name in _GROUPS)


def _listed(statuses: frozenset[RunStatus]) -> str:
    return ", ".join(f"`{status}`" for status in RunStatus if status in statuses)


def _table() -> str:
    head = ("#", "from", "on", "when", "to", "basis", "wait", "reason")
    lines = [head, ("---",) * len(head), *(_cells(number, row) for number, row in enumerate(TRANSITIONS, 1))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(number: int, row: Row) -> tuple[str, ...]:
    return (
        str(number),
        _sources(row),
        ", ".join(f"`{evidence.__name__}`" for evidence in row.evidence),
        (row.guard.__doc__ or "").strip(),
        f"`{row.target}`",
        row.basis.name.lower() if row.basis else "",
        row.wait.value,
        row.reason,
    )


def _sources(row: Row) -> str:
    return ", ".join(source if source in _NAMES else f"`{source}`" for source in _parts(row.sources))


def _parts(statuses: frozenset[RunStatus]) -> list[str]:
    """The groups that lie wholly within statuses, and what is left of them."""
    parts: list[str] = []
    for group, name in _GROUPS:
        if group <= statuses:
            statuses, parts = statuses - group, [*parts, name]
    return [*parts, *(status.value for status in RunStatus if status in statuses)]


def _diagram() -> str:
    """Which status follows which; what leads there is numbered as in the table."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for number, row in enumerate(TRANSITIONS, 1):
        for source in _parts(row.sources):
            arrows.setdefault((source.replace(" ", "_"), row.target.value), []).append(str(number))
    lines = [
        "```mermaid",
        "stateDiagram-v2",
        *(f'    state "{name}" as {name.replace(" ", "_")}' for name in _NAMES),
        f"    [*] --> {RunStatus.PENDING}",
        *(f"    {source} --> {target}: {', '.join(numbers)}" for (source, target), numbers in arrows.items()),
        *(f"    {status} --> [*]" for status in RunStatus if status in FINAL - AMENDABLE),
        "```",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201
