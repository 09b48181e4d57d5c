"""How `tests/golden/runs` was made: the parts of a recorded corpus of Terraform runs that the golden tests need.

    python tests/golden/collect.py CORPUS

CORPUS holds one directory per scenario: scenario.json, events.jsonl (what inotify told, with sizes), marks.jsonl
(process starts and ends) and files/ (snapshots, final files). Kept of each: a trimmed scenario.json, both
timelines, every log at its end, every snapshot of a state, backup or lock info file. What is over GZIP_OVER bytes
is compressed; zero mtimes and sorted keys make a second collection give the same bytes.

`overwritten/`: a log that a later step of the same scenario truncated is gone from the recording. Its stand-in is
the log of a scenario that ran the same configuration the same way and has the recorded size to the byte, with its
times moved to the recorded ones.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

GZIP_OVER = 50_000
RUNS = Path(__file__).parent / "runs"
LOG = re.compile(r"\.(log|json|jsonl)$")
SNAPSHOT = re.compile(r"tfstate(\.\d+)?(\.backup)?$|\.lock\.info$|\.json$")
STAND_INS = {("stale_lock_then_apply", "apply.log", 0): ("sigkill_mid_apply", "apply.log", 0.26)}
# What the shell of a step writes its output to: the last of `> X`, `tee X`, `mv TMP X`.
WRITTEN = re.compile(r"(?:(?<!2)> *|\btee |\bmv \S+ )([\w./-]+\.log)")
COMMAND = re.compile(r"\bterraform (?:-chdir=\S+ )?(\w+)")


def main(corpus: Path) -> None:
    """Collect every scenario anew."""
    shutil.rmtree(RUNS, ignore_errors=True)
    for described in sorted(corpus.glob("*/scenario.json")):
        collect(described.parent, RUNS / described.parent.name)


def collect(source: Path, target: Path) -> None:
    """Copy what is needed of one scenario."""
    recorded = json.loads((source / "scenario.json").read_text())
    events = [json.loads(line) for line in (source / "events.jsonl").read_text().splitlines()]
    for event in events:
        event.pop("parse", None)
        if "snap" in event:
            event["snap"] = event["snap"].removesuffix(".gz")
        if not SNAPSHOT.search(event.get("snap", "")):
            event.pop("snap", None)
    kept = {event["snap"] for event in events if "snap" in event}
    kept |= {f"files/final/{event['path']}" for event in events if LOG.search(event["path"])}
    for name in sorted(kept):
        content = contents(source / name)
        if content is not None:
            write(target / name, content)
    for (name, log, generation), (other, other_log, at) in STAND_INS.items():
        if name == source.name:
            content = contents(source.parent / other / "files" / "final" / other_log) or b""
            moved = moved_to(content, recorded["t0_epoch"] + at)
            write(target / "overwritten" / f"{generation}_{log}", moved)
    write(target / "events.jsonl", "".join(json.dumps(event) + "\n" for event in events).encode())
    write(target / "marks.jsonl", (source / "marks.jsonl").read_bytes())
    scenario = {
        "name": recorded["name"],
        "description": recorded["description"],
        "t0_epoch": recorded["t0_epoch"],
        "steps": [step(source, recorded, number) for number in range(len(recorded["steps"]))],
        "final_outputs": final_outputs(source, recorded),
    }
    write(target / "scenario.json", (json.dumps(scenario, indent=1, sort_keys=True) + "\n").encode())


def step(source: Path, recorded: dict[str, Any], number: int) -> dict[str, Any]:
    """One step: what was run, where its log went, whether that log speaks the JSON UI, and what became of it."""
    found = recorded["steps"][number]
    command = found["cmd"]
    log = WRITTEN.findall(command)[-1]
    if command.startswith("cd "):
        log = command.split()[1] + "/" + log
    first = contents(source / "files" / "final" / log) or b""
    named = COMMAND.search(command)
    return {
        "i": number,
        "cmd": command,
        "command": named[1] if named else "",
        "log": log,
        "is_json": b'"@module":"terraform.ui"' in first,
        "rc": found["rc"],
        "t_start": found["t_start"],
        "t_end": found["t_end"],
        "truth": [truth["transition"] for truth in recorded["truth"] if truth["step"] == number],
    }


def final_outputs(source: Path, recorded: dict[str, Any]) -> str | dict[str, Any] | None:
    """`terraform output -json` at the end; in a file of its own where it is large."""
    large = source / "final_outputs.json.gz"
    if large.exists():
        write(RUNS / source.name / "final_outputs.json", gzip.decompress(large.read_bytes()))
        return None
    found: dict[str, Any] | None = recorded["final_outputs"]
    return found


def moved_to(log: bytes, began_at: float) -> bytes:
    """A JSON log with every @timestamp moved so that the first is began_at; the length of every line stays."""
    lines = [json.loads(line) for line in log.splitlines()]
    first = datetime.fromisoformat(lines[0]["@timestamp"])
    by = datetime.fromtimestamp(began_at, UTC) - first
    return re.sub(rb'"@timestamp":"([^"]+)"', lambda match: moved(match, by), log)


def moved(match: re.Match[bytes], by: timedelta) -> bytes:
    """One @timestamp, moved."""
    at = datetime.fromisoformat(match[1].decode()) + by
    return b'"@timestamp":"' + at.strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode() + b'"'


def contents(path: Path) -> bytes | None:
    """The bytes of a recorded file, compressed or not; None when it was gone at the end."""
    packed = path.with_name(path.name + ".gz")
    if packed.exists():
        return gzip.decompress(packed.read_bytes())
    return path.read_bytes() if path.exists() else None


def write(path: Path, content: bytes) -> None:
    """Write a file of the copy, compressed when it is large."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if len(content) > GZIP_OVER:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(content, 9, mtime=0))
    else:
        path.write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
