"""Rows of the read model for a person: tables and colour on a terminal, plain aligned text when piped.

Here are runs and what is around them; `status` is `display_overview`'s, entries of the outbox are `display_journal`'s,
tables and colours `drawing`'s.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .display_journal import entry_told
from .drawing import clock, colour_of, draw_line, draw_table, resource_of, safe

if TYPE_CHECKING:
    from .status import Row, Story

_WIDEST_PLACE = 36


def runs(rows: Sequence[Row]) -> None:
    """`runs list` for a person."""
    draw_table(
        ("run", "status", "resource or directory", "started", "note"),
        [
            (
                row["run_id"],
                row["status"],
                resource_of(row["resource_arn"] or row["name"]) or row["directory"],
                clock(row["started_at"]),
                note(row),
            )
            for row in rows
        ],
    )


def note(row: Row) -> str:
    """What else there is to be said of a run: why it ended, and why nothing was told, if nothing was."""
    approval = row["awaits_approval_since"]
    notes = [
        row["reason"],
        f"settled by {row['settled_by']}" if row["settled_by"] else "",
        f"waits for approval since {clock(approval)}" if approval else "",
        _untold(row),
        f"would settle it: {', or '.join(row['would_settle'])}" if row["would_settle"] else "",
    ]
    return "; ".join(filter(None, notes))


def _untold(row: Row) -> str:
    """Why somebody who waits for word of this run waits in vain; empty where they do not."""
    if row["historic"] and not row["silence"]:
        return "not told: it was over before this root was watched"
    reason = row["silence"] or ("" if row["told"] else row["unbound_reason"])
    return f"not told: {reason}" if reason else ""


def stories(stories: Sequence[Story]) -> None:
    """`explain` and `runs show` for a person, one run after the other, the newest first."""
    for number, one in enumerate(stories):
        if number:
            print()
        story(one)


def story(story: Story) -> None:
    """One run: what became of it and why, whom it was told; then the evidence, and every attempt to tell."""
    run = story.run
    draw_line((run["run_id"], "bold"), run["status"], run["reason"] or "")
    if run["resource_arn"]:
        _say("resource", run["resource_arn"])
        _say("deployment", run["deployment_id"] or "none is known")
    elif run["name"]:
        _say("name", f"{run['name']}, which [[bind]] gives; no Proton resource")
    else:
        _say("not bound", run["unbound_reason"] if run["told"] else f"{run['unbound_reason']}: nothing is told")
        _refusal(run["refusal"])
    _say("directory", f"{run['directory']}, workspace {run['workspace'] or 'unknown'}")
    ended = f", ended {clock(run['ended_at'])}" if run["ended_at"] else ", still under way"
    basis = f", by {run['basis']}" if run["basis"] else ""
    _say("began", f"{clock(run['started_at'])} UTC{ended}{basis}")
    if run["command"]:
        _say("command", f"{shlex.join(run['command'])}{_exit(run)}")
    if run["job"]:
        _say("job", ", ".join(f"{key} {value}" for key, value in run["job"].items() if value))
    if run["awaits_approval_since"]:
        _say("waits", f"for approval since {clock(run['awaits_approval_since'])}")
    if run["historic"]:
        _say("historic", "over before the agent first watched this root: recorded, not told")
    elif run["silence"]:
        _say("not told", run["silence"])
    for number, one in enumerate(run["left_out"]):
        _say("" if number else "left out", f"{one['sink']}: {one['reason']}")
    for number, remedy in enumerate(run["would_settle"]):
        _say("" if number else "settle by", remedy)
    _evidence(story.evidence, run["directory"])
    draw_line(("  told" if story.entries else "  told         nothing", ""))
    for told in story.entries:
        entry_told(told)


def _refusal(refusal: Row | None) -> None:
    """What a code means, and what to do."""
    if refusal:
        _say("", f"{refusal['means']}; {refusal['remedy']}")


def _exit(run: Row) -> str:
    """How a wrapped command ended; nothing while it goes on."""
    if run["exit_signal"]:
        return f", ended by signal {run['exit_signal']}"
    return f", exit status {run['exit_status']}" if run["exit_status"] is not None else ""


def _say(name: str, text: object) -> None:
    draw_line((f"  {name:<12}", "bright_black"), (str(text), ""))


def _evidence(facts: Sequence[Row], directory: str) -> None:
    """Facts in three columns, when, where and what; below each what the run became by it, and by which rule."""
    draw_line(("  evidence", ""))
    places = [_read_in(fact, directory) for fact in facts]
    width = min(max(map(len, places), default=0), _WIDEST_PLACE)
    day = ""
    for fact, place in zip(facts, places, strict=True):
        if fact["at"][:10] != day:
            day = fact["at"][:10]
            draw_line((f"    {day} UTC", "bright_black"))
        what = (fact["evidence"] + _fields(fact["fields"], directory), "")
        draw_line((f"    {fact['at'][11:23]}", "bright_black"), (place.ljust(width), "bright_black"), what)
        if fact["status"]:
            rule = f"by rule {' or '.join(map(str, fact['rows']))}: " if fact["rows"] else ""
            became = f"{rule}{fact['reason']}"
            draw_line((" " * (17 + width), ""), ("→", ""), (fact["status"], colour_of(fact["status"])), (became, ""))


def _read_in(fact: Row, directory: str) -> str:
    """Where a fact was read: file and offset of a line, the file, or who told it."""
    if fact["position"] is not None:
        return f"{_below(fact['path'], directory)}+{fact['position']}"
    place = _below(fact["path"], directory)
    if place == ".terraform.tfstate.lock.info":
        return "lock info"
    return place if fact["source"].endswith("_file") else f"{fact['source']} {place}".rstrip()


def settled(row: Row) -> None:
    """`runs settle` for a person: what was decided, and whom it will be told."""
    outcome = "succeeded" if row["status"] == "applied" else "failed"
    draw_line((row["run_id"], "bold"), f"settled as {outcome} by {row['settled_by']}")
    if row["silence"] or not row["notifications"]:
        _say("not told", row["silence"] or "no sink is to be told")
    for told in row["notifications"]:
        entry_told({**told, "attempted": []})


def survey(row: Row) -> None:
    """`explain` of a directory in which no run was seen."""
    draw_line((row["directory"], "bold"), "no run was seen here")
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
        _nobodys(row)
        _refusal(row["refusal"])
    _say("state", f"{row['backend']}, {row['state'] or 'its place is not known'}")
    for number, output in enumerate(row["outputs"]):
        told = f"withheld: {output['withheld']}" if output["withheld"] else f"told as {output['key']}"
        _say("" if number else "outputs", f"{output['name']}, {told}")
    for undeclared in row["not_read"]:
        _say("not read", f"{undeclared['file']}: {undeclared['reason']}")
    unread(row["unread"], row["directory"])
    if row["exists"]:
        _say(
            "to be seen",
            "the pipeline must write Terraform's output to a log here: `terraform apply -json > apply.log`",
        )


def bound(row: Row) -> None:
    """`config test-bind` of one directory."""
    draw_line((row["directory"], "bold"), "" if row["exists"] else "(it does not exist)")
    if row["watched_below"] is None:
        _say("not watched", "it lies below no [[watch]] of the settings")
    elif row["resource_arn"]:
        _say("resource", f"{row['resource_arn']}, because {row['bound_by']} says so")
        _say("deployment", row["deployment_id"] or "none is known")
    else:
        _nobodys(row)


def _nobodys(row: Row) -> None:
    """A directory whose runs report for no Proton resource: whom they are told, and as what."""
    told_to = ", ".join(row["told_to"])
    if row["name"]:
        _say("name", f"{row['name']}, because {row['bound_by']} says so; no Proton resource")
        _say("told to", told_to or "nobody: no [[sink]] takes unbound runs")
    else:
        what = f"told to {told_to} by its directory" if told_to else "nothing would be told"
        _say("not bound", f"{row['unbound_reason']}: {what}")


def unread(rows: Sequence[Row], directory: str) -> None:
    """What is not read in a directory, what that means and what to do."""
    for row in rows:
        what = _below(row["path"], directory) or "."
        _say("unread", f"{what}: {row['code']}, {row['means']}; {row['remedy']}")


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
