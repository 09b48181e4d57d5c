"""Rows of the read model for a person: tables and colour on a terminal, plain aligned text when piped.

Foreign text (paths, messages) is shown through `safe`, which leaves no control or bidirectional character raw.
rich is imported here and only when something is drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from .status import Row, Story

_COLOURS = {
    "applied": "green", "destroyed": "green", "SUCCEEDED": "green", "delivered": "green", "current": "green",
    "running": "green", "accepted": "green",
    "errored": "red", "canceled": "red", "lost": "red", "FAILED": "red", "parked": "red", "stopped": "red",
    "retryable": "yellow", "degraded": "yellow", "undetermined": "yellow",
    "pending": "cyan", "sending": "cyan", "planning": "cyan", "planned": "cyan", "applying": "cyan",
    "IN_PROGRESS": "cyan", "planned_and_finished": "blue", "superseded": "bright_black", "discarded": "bright_black",
}  # fmt: skip


def safe(text: object) -> str:
    """Text with everything that is not printable escaped; None becomes a dash."""
    if text is None:
        return "–"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))


def overview(status: Row) -> None:
    """`status` for a person: two verdicts that are never merged, then the numbers behind them."""
    console = _console()
    console.print(_line("●", ("proton-tf-agent", "bold"), status["agent"]))
    open_runs = status["runs_open"]
    console.print(f"  observing   {open_runs} open, {status['runs_recorded']} recorded")
    console.print(_line("  delivering ", status["delivering"], _waiting(status)))
    for sink in status["sinks"]:
        late = f", {sink['failing']} failing, next attempt {sink['next_attempt_at']}" if sink["failing"] else ""
        console.print(f"              {safe(sink['sink'])}: {sink['waiting']} waiting for {sink['waiting_s']} s{late}")
    if status["parked"]:
        console.print(f"  parked      {status['parked']}: see `proton-tf-agent journal list --parked`")
    console.print(f"  journal     {safe(status['journal'])}")
    rows = status["open"] + [row for row in status["recent"] if row["ended_at"]]
    if rows:
        console.print()
        runs(rows)


def _waiting(status: Row) -> str:
    return "" if status["sinks"] or status["parked"] else "nothing waits"


def runs(rows: Sequence[Row]) -> None:
    """`runs list` for a person."""
    _table(
        ("run", "status", "resource or directory", "started", "note"),
        [
            (
                row["run_id"],
                row["status"],
                _resource(row["resource_arn"]) or row["directory"],
                _clock(row["started_at"]),
                _note(row),
            )
            for row in rows
        ],
    )


def _note(row: Row) -> str:
    if row["historic"]:
        return f"{row['reason']}; not told: it was over before this root was watched"
    untold = f"not told: {row['unbound_reason']}" if row["unbound_reason"] else ""
    return "; ".join(filter(None, (row["reason"], untold)))


def entries(rows: Sequence[Row]) -> None:
    """`journal list` for a person."""
    _table(
        ("seq", "status", "state", "sink", "resource", "attempts", "message"),
        [
            (
                row["seq"],
                row["status"],
                row["state"] + (f" ({row['reason']})" if row["state"] in ("parked", "retryable") else ""),
                row["sink"],
                _resource(row["resource_arn"]),
                row["attempts"],
                (f"replay of #{row['replay_of']}: " if row["replay_of"] else "") + row["status_message"],
            )
            for row in rows
        ],
    )


def entry(row: Row, attempted: Sequence[Row]) -> None:
    """`journal show` for a person: one entry, its outputs and every attempt."""
    console = _console()
    for key, value in row.items():
        if key != "outputs":
            console.print(_line(f"{key:>16} ", (safe(value), _COLOURS.get(str(value), ""))))
    for key, value in row["outputs"].items():
        console.print(f"{'output':>16}  {safe(key)} = {safe(value)}")
    for attempt in attempted:
        console.print(_line(f"{'attempt':>16} ", attempt["started_at"] or "", _outcome(attempt)))


def _outcome(attempt: Row) -> str:
    if attempt["finished_at"] is None:
        return "on the wire"
    code = f" ({attempt['code']})" if attempt["code"] else ""
    return f"{attempt['outcome']}{code}" + (", may have arrived" if attempt["ambiguous"] else "")


def story(story: Story) -> None:
    """`explain` and `runs show` for a person: evidence, the transitions it made, notifications, attempts."""
    console = _console()
    run = story.run
    console.print(_line(("run", "bold"), run["run_id"], run["status"], f"({run['reason']})" if run["reason"] else ""))
    console.print(f"  directory   {safe(run['directory'])}  workspace {safe(run['workspace'])}")
    if run["resource_arn"]:
        deployment = f"  deployment {safe(run['deployment_id'])}" if run["deployment_id"] else ""
        console.print(f"  resource    {safe(run['resource_arn'])}{deployment}")
    else:
        console.print(f"  not bound   {safe(run['unbound_reason'])}: nothing is told")
    if run["historic"]:
        console.print("  historic    over before the agent first watched this root: recorded, not told")
    console.print("  evidence")
    for fact in story.evidence:
        became = f"  → {fact['status']}" if fact["status"] else ""
        read_in = f"{fact['source']} {_below(fact['path'], run['directory'])}".rstrip()
        shown = _fields(fact["fields"], run["directory"])
        console.print(f"    {fact['at']}  {fact['evidence']}{shown}{became}   [{read_in}]")
    console.print("  told" if story.entries else "  told        nothing")
    for told in story.entries:
        console.print(_line(f"    #{told['seq']}", told["status"], f"to {safe(told['sink'])}:", told["state"]))
        console.print(f"        {safe(told['status_message'])}")
        for attempt in told["attempted"]:
            console.print(f"        {attempt['started_at']}  {_outcome(attempt)}")


def _fields(fields: Any, directory: str) -> str:
    shown = {k: v for k, v in fields.items() if v not in ("", None, False, [])} if isinstance(fields, dict) else {}
    return "(" + ", ".join(f"{safe(k)}={_below(v, directory)[:120]}" for k, v in shown.items()) + ")" if shown else ""


def _below(path: object, directory: str) -> str:
    """A path as seen from the run directory; anything else as it is."""
    return "" if path is None else safe(str(path).removeprefix(directory + "/"))


def _resource(arn: str | None) -> str:
    """The part of an ARN a person looks for."""
    return arn.split(":", 5)[5] if arn else ""


def _clock(at: str | None) -> str:
    return (at or "")[:19].replace("T", " ")


def _line(*parts: str | tuple[str, str]) -> Text:
    from rich.text import Text

    line = Text()
    for part in parts:
        text, style = part if isinstance(part, tuple) else (part, _COLOURS.get(part, ""))
        if text:
            line.append(" " if line else "")
            line.append(safe(text), style)
    return line


def _console() -> Console:
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would exit with 1; what it means is for the front door to say

    # soft_wrap: when piped a row stays one line, whatever its length. No markup, no emoji: brackets and colons in
    # foreign text are nothing but that.
    return Plain(highlight=False, markup=False, emoji=False, soft_wrap=not sys.stdout.isatty())


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    if not rows:
        print("nothing yet")
        return
    if not sys.stdout.isatty():
        lines = [list(columns), *([safe(cell) for cell in row] for row in rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        overflow: Literal["fold", "ellipsis"] = "fold" if column in ("message", "note") else "ellipsis"
        table.add_column(column, overflow=overflow, no_wrap=column in ("seq", "run", "status", "started"))
    for row in rows:
        table.add_row(*(Text(safe(cell), _COLOURS.get(str(cell).split(" ")[0], "")) for cell in row))
    _console().print(table)
