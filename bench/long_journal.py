"""A journal of 100,000 rows: how soon a restart delivers again, and what the commands cost as whole processes."""

from __future__ import annotations

import os
import shutil
import sys
import time

from .endpoint import Endpoint
from .journal_writing import write_journal
from .measure import Ended, median_of, run_on_terminal, run_whole
from .result import Line, median, ms, spread, times
from .scene import Scene

ROWS, OPEN_LINES = 100_000, 1_000
RESTARTS, COMMANDS = 3, 9
DELIVERING_S, STATUS_S = 1.0, 0.150


def measure() -> list[Line]:
    """Restarts from the same journal; then commands against `python -c pass`."""
    with Endpoint() as endpoint, Scene(endpoint.url) as scene:
        kept = os.path.join(scene.base, "kept.db")
        os.makedirs(os.path.dirname(scene.journal_path), mode=0o700)
        write_journal(scene.journal_path, ROWS, OPEN_LINES)
        shutil.copy(scene.journal_path, kept)
        commands = _commands(scene)
        firsts, alls = [], []
        for _ in range(RESTARTS):
            shutil.copy(kept, scene.journal_path)
            first, all_of_them = _restart(scene, endpoint)
            firsts.append(first)
            alls.append(all_of_them)
    return [
        Line(
            "restart with 100,000 rows and 1,000 open lines: first request", spread(firsts), target="< 1 s",
            met=median(firsts) < DELIVERING_S,
            missed=f"{ms(median(firsts))} from the start of the process to the first byte of a request. Interpreter, "
            "imports and boto3's first client are in it; so is finding the head of every line.",
        ),
        Line("the same: all 1,000 lines delivered", spread(alls), ratio=f"{OPEN_LINES / median(alls):,.0f} requests/s"),
        *commands,
    ]  # fmt: skip


def _restart(scene: Scene, endpoint: Endpoint) -> tuple[float, float]:
    """Seconds from the start of the process to the first request, and to that for the last open line."""
    since = len(endpoint.arrivals())
    with scene.daemon() as daemon:
        first = endpoint.wait_for(lambda _: True, since)
        while len(endpoint.arrivals()) < since + OPEN_LINES:
            if time.perf_counter() - daemon.started_at > 60:
                raise TimeoutError(f"{len(endpoint.arrivals()) - since} of {OPEN_LINES} open lines were delivered")
            time.sleep(0.02)
        last = endpoint.arrivals()[since + OPEN_LINES - 1]
    return first.at - daemon.started_at, last.at - daemon.started_at


def _commands(scene: Scene) -> list[Line]:
    nothing = [sys.executable, "-c", "pass"]
    ours = [sys.executable, "-m", "proton_tf_agent"]
    measured = {
        "`status`, 100,000 rows": scene.command("status"),
        "`status --json`, 100,000 rows": scene.command("status", "--json"),
        "`journal list`, 100,000 rows": scene.command("journal", "list"),
        "`--help`": [*ours, "--help"],
        "`version`": [*ours, "version"],
    }
    taken: dict[str, list[Ended]] = {name: [] for name in measured}
    floor: list[Ended] = []
    shown: list[Ended] = []
    for _ in range(COMMANDS):
        floor.append(run_whole(nothing))
        shown.append(run_on_terminal(scene.command("status")))
        for name, command in measured.items():
            taken[name].append(run_whole(command))
    pass_s = median_of(floor).wall_s
    everything = {"`status` on a terminal, 100,000 rows": shown, **taken}
    return [_command_line(name, [e.wall_s for e in ends], pass_s) for name, ends in everything.items()]


def _command_line(name: str, walls: list[float], pass_s: float) -> Line:
    judged = name.startswith("`status")
    return Line(
        f"whole process: {name}", spread(walls), f"python -c pass: {ms(pass_s)}", times(median(walls) / pass_s),
        "< 150 ms" if judged else "-", median(walls) < STATUS_S if judged else None,
        f"{ms(median(walls))}, of which {ms(pass_s)} is Python itself. The rest is imports, settings and queries.",
    )  # fmt: skip
