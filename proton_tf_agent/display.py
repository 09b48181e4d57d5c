"""Rows of the read model for a person: tables and colour on a terminal, plain aligned text when piped.

Foreign text (paths, messages) is shown through `safe`, which leaves no control or bidirectional character raw.
rich is imported here and only when something is drawn.
"""

from __future__ import annotations

import shlex
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
_WIDEST_PLACE = 36
_WITH_REASON = ("parked", "retryable", "discarded")


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
    approval = row["awaits_approval_since"]
    notes = [
        row["reason"],
        f"settled by {row['settled_by']}" if row["settled_by"] else "",
        f"waits for approval since {_clock(approval)}" if approval else "",
        _untold(row),
        f"would settle it: {', or '.join(row['would_settle'])}" if row["would_settle"] else "",
    ]
    return "; ".join(filter(None, notes))


def _untold(row: Row) -> str:
    """Why somebody who waits for word of this run waits in vain; empty where they do not."""
    if row["historic"] and not row["silence"]:
        return "not told: it was over before this root was watched"
    reason = row["silence"] or row["unbound_reason"]
    return f"not told: {reason}" if reason else ""


def entries(rows: Sequence[Row]) -> None:
    """`journal list` for a person."""
    _table(
        ("seq", "status", "state", "sink", "resource", "attempts", "message"),
        [
            (
                row["seq"],
                row["status"],
                row["state"] + (f" ({row['reason']})" if row["state"] in _WITH_REASON else ""),
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
        if key not in ("outputs", "omitted"):
            console.print(_line(f"{key:>16} ", (safe(value), _COLOURS.get(str(value), ""))))
    for key, value in row["outputs"].items():
        console.print(f"{'output':>16}  {safe(key)} = {safe(value)}")
    for name, reason in row["omitted"].items():
        console.print(f"{'output':>16}  {safe(name)} withheld: {safe(reason)}")
    for attempt in attempted:
        console.print(_line(f"{'attempt':>16} ", attempt["started_at"] or "", _outcome(attempt)))


def _outcome(attempt: Row) -> str:
    if attempt["finished_at"] is None:
        return "on the wire"
    code = f" ({attempt['code']})" if attempt["code"] else ""
    return f"{attempt['outcome']}{code}" + (", may have arrived" if attempt["ambiguous"] else "")


def stories(stories: Sequence[Story]) -> None:
    """`explain` and `runs show` for a person, one run after the other, the newest first."""
    for number, one in enumerate(stories):
        if number:
            print()
        story(one)


def story(story: Story) -> None:
    """One run: what became of it and why, whom it was told; then the evidence, and every attempt to tell."""
    console = _console()
    run = story.run
    console.print(_line((run["run_id"], "bold"), run["status"], run["reason"] or ""))
    if run["resource_arn"]:
        _say("resource", run["resource_arn"])
        _say("deployment", run["deployment_id"] or "none is known")
    else:
        _say("not bound", f"{run['unbound_reason']}: nothing is told")
    _say("directory", f"{run['directory']}, workspace {run['workspace'] or 'unknown'}")
    ended = f", ended {_clock(run['ended_at'])}" if run["ended_at"] else ", still under way"
    basis = f", by {run['basis']}" if run["basis"] else ""
    _say("began", f"{_clock(run['started_at'])} UTC{ended}{basis}")
    if run["command"]:
        _say("command", f"{shlex.join(run['command'])}{_exit(run)}")
    if run["job"]:
        _say("job", ", ".join(f"{key} {value}" for key, value in run["job"].items() if value))
    if run["awaits_approval_since"]:
        _say("waits", f"for approval since {_clock(run['awaits_approval_since'])}")
    if run["historic"]:
        _say("historic", "over before the agent first watched this root: recorded, not told")
    elif run["silence"]:
        _say("not told", run["silence"])
    for number, remedy in enumerate(run["would_settle"]):
        _say("" if number else "settle by", remedy)
    _evidence(story.evidence, run["directory"])
    console.print("  told" if story.entries else "  told         nothing")
    for told in story.entries:
        _told(told)


def _exit(run: Row) -> str:
    """How a wrapped command ended; nothing while it goes on."""
    if run["exit_signal"]:
        return f", ended by signal {run['exit_signal']}"
    return f", exit status {run['exit_status']}" if run["exit_status"] is not None else ""


def _say(name: str, text: object) -> None:
    _columns((f"  {name:<12}", "bright_black"), (str(text), ""))


def _columns(*cells: tuple[str, str]) -> None:
    """One line of cells (text, style). On a terminal the last one wraps below itself: the margin stays clear."""
    if not sys.stdout.isatty():
        _console().print(_line(*cells))
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1, 0, 0))
    for text, _ in cells[:-1]:
        grid.add_column(width=len(safe(text)), no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(*(Text(safe(text), style) for text, style in cells))
    _console().print(grid)


def _evidence(facts: Sequence[Row], directory: str) -> None:
    """Facts in three columns, when, where and what; below each what the run became by it, and by which rule."""
    console = _console()
    console.print("  evidence")
    places = [_read_in(fact, directory) for fact in facts]
    width = min(max(map(len, places), default=0), _WIDEST_PLACE)
    day = ""
    for fact, place in zip(facts, places, strict=True):
        if fact["at"][:10] != day:
            day = fact["at"][:10]
            console.print(_line((f"    {day} UTC", "bright_black")))
        what = (fact["evidence"] + _fields(fact["fields"], directory), "")
        _columns((f"    {fact['at'][11:23]}", "bright_black"), (place.ljust(width), "bright_black"), what)
        if fact["status"]:
            rule = f"by rule {' or '.join(map(str, fact['rows']))}: " if fact["rows"] else ""
            became = f"{rule}{fact['reason']}"
            _columns((" " * (17 + width), ""), ("→", ""), (fact["status"], _colour(fact["status"])), (became, ""))


def _read_in(fact: Row, directory: str) -> str:
    """Where a fact was read: file and offset of a line, the file, or who told it."""
    if fact["position"] is not None:
        return f"{_below(fact['path'], directory)}+{fact['position']}"
    place = _below(fact["path"], directory)
    if place == ".terraform.tfstate.lock.info":
        return "lock info"
    return place if fact["source"].endswith("_file") else f"{fact['source']} {place}".rstrip()


def _told(told: Row) -> None:
    console = _console()
    instead = f"by #{told['superseded_by']}" if told["superseded_by"] else ""
    again = f"(a replay of #{told['replay_of']})" if told["replay_of"] else ""
    refused = f"({told['reason']})" if told["state"] in _WITH_REASON else ""
    number = f"    #{told['seq']}"
    console.print(_line(number, told["status"], f"to {told['sink']}:", told["state"], instead, refused, again))
    _columns((" " * 7, ""), (told["status_message"], ""))
    for name, value in told["outputs"].items():
        _columns((f"        output {name} =", ""), (value, ""))
    for name, reason in told["omitted"].items():
        console.print(f"        output {safe(name)} withheld: {safe(reason)}")
    for attempt in told["attempted"]:
        console.print(_line(f"        {_clock(attempt['started_at'])}", _outcome(attempt)))


def replayed(row: Row, *, in_full: bool) -> None:
    """`replay` for a person: what became of one entry; in_full: with everything that is, or would be, sent."""
    to = f"to {row['sink']}" if row["sink"] == row["replay_sink"] else f"from {row['sink']} to {row['replay_sink']}"
    behind = f" as #{row['replay_seq']}" if row["replay_seq"] else f": {row['refusal']}" if row["refusal"] else ""
    print(safe(f"#{row['seq']} {row['status']} of {row['resource_arn']} {to}: {row['outcome']}{behind}"))
    if in_full and not row["refusal"]:
        _columns((" " * 3, ""), (row["status_message"], ""))
        for name, value in row["outputs"].items():
            _columns((f"    output {name} =", ""), (value, ""))


def discarded(row: Row) -> None:
    """`journal discard` for a person: what became of one entry."""
    told = f"#{row['seq']} {row['status']} of {row['resource_arn']} to {row['sink']}: {row['outcome']}"
    print(safe(told + (f": {row['refusal']}" if row["refusal"] else "")))


def finding(row: Row) -> None:
    """One line of `journal verify` for a person."""
    print(safe(f"{row['table']}: {row['key']}: {row['what']}"))


def settled(row: Row) -> None:
    """`runs settle` for a person: what was decided, and whom it will be told."""
    console = _console()
    outcome = "succeeded" if row["status"] == "applied" else "failed"
    console.print(_line((row["run_id"], "bold"), f"settled as {outcome} by {row['settled_by']}"))
    if row["silence"] or not row["notifications"]:
        _say("not told", row["silence"] or "no sink is to be told")
    for told in row["notifications"]:
        _told({**told, "attempted": []})


def survey(row: Row) -> None:
    """`explain` of a directory in which no run was seen."""
    console = _console()
    console.print(_line((row["directory"], "bold"), "no run was seen here"))
    if not row["exists"]:
        _say("exists", "no")
    if row["watched_below"] is None:
        _say("watched", "no: it lies below no [[watch]] of the settings, so nothing in it is looked at")
        return
    _say("watched", f"below {row['watched_below']}; a log is a file named {', '.join(row['logs'])}")
    if row["resource_arn"]:
        _say("resource", f"{row['resource_arn']}, because {row['bound_by']} says so")
        _say("deployment", row["deployment_id"] or "none is known")
    else:
        _say("not bound", f"{row['unbound_reason']}: nothing would be told")
    _say("state", f"{row['backend']}, {row['state'] or 'its place is not known'}")
    for number, output in enumerate(row["outputs"]):
        told = f"withheld: {output['withheld']}" if output["withheld"] else f"told as {output['key']}"
        _say("" if number else "outputs", f"{output['name']}, {told}")
    for unread in row["not_read"]:
        _say("not read", f"{unread['file']}: {unread['reason']}")
    if row["exists"]:
        _say(
            "to be seen",
            "the pipeline must write Terraform's output to a log here: `terraform apply -json > apply.log`",
        )


def _fields(fields: Any, directory: str) -> str:
    """What a fact says, in brackets; its time stands before it, and what is empty says nothing."""
    if not isinstance(fields, dict):
        return ""
    said = {
        k: v for k, v in fields.items()
        if k == "succeeded" or (v not in ("", None, False, []) and k not in ("at", "created_at"))
    }  # fmt: skip
    return "(" + ", ".join(f"{safe(k)}={_below(v, directory)[:120]}" for k, v in said.items()) + ")" if said else ""


def _below(path: object, directory: str) -> str:
    """A path as seen from the run directory; anything else as it is."""
    return "" if path is None else safe(str(path).removeprefix(directory + "/"))


def _resource(arn: str | None) -> str:
    """The part of an ARN a person looks for."""
    return arn.split(":", 5)[5] if arn else ""


def _clock(at: str | None) -> str:
    return (at or "")[:19].replace("T", " ")


def _colour(word: str) -> str:
    return _COLOURS.get(word, "")


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
