"""The front door: parses, calls, prints; decides nothing.

Results go to stdout, errors and logs to stderr. `--json` is a written contract (docs/commands.md), one object a
line. What a command does not need is not imported: `status`, `--help` and their like never load boto3, hcl2,
watchdog or structlog.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from . import __version__
from .domain.errors import AgentError, Problem, UsageInvalid

if TYPE_CHECKING:
    from .journal import Journal
    from .settings import Settings

DEFAULT_CONFIG = "/etc/proton-tf-agent/agent.toml"
CONFIG_VARIABLE = "PROTON_TF_AGENT_CONFIG"
_PARTLY_DONE = 3
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (docs/commands.md)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that lacks a character gets its number
    parsed = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = parsed.command
    try:
        code = command(parsed)
        sys.stdout.flush()
    except AgentError as error:
        for problem in error.problems:
            print(f"proton-tf-agent: {problem}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
        return 0
    return code


# --- commands ---------------------------------------------------------------------------------------------------


def _run(parsed: argparse.Namespace) -> int:
    from . import settings as settings_module
    from .agent import Agent, run_until_signalled
    from .telemetry import configure

    settings = _settings(parsed)
    log = configure(settings.log.level, settings.log.format)
    for problem in settings_module.advice(settings):
        log.tell("settings.questionable", {"reason": str(problem)})
    return run_until_signalled(Agent(settings, log))


def _status(parsed: argparse.Namespace) -> int:
    from . import display, status
    from .journal_file import is_held

    with _journal(parsed) as journal:
        row = status.overview(journal, is_held(journal.path), time.time())
    _emit([row], parsed.json, lambda rows: display.overview(rows[0]))
    return 0


def _runs_list(parsed: argparse.Namespace) -> int:
    from . import display, status

    directory = os.path.abspath(parsed.directory) if parsed.directory else None
    with _journal(parsed) as journal:
        _emit(status.run_rows(journal, parsed.limit, directory), parsed.json, display.runs)
    return 0


def _explain(parsed: argparse.Namespace) -> int:
    from . import display, status

    wanted = parsed.wanted
    if os.path.isdir(wanted):
        wanted = os.path.abspath(wanted)
    with _journal(parsed) as journal:
        stories = status.explain(journal, wanted)
    if not stories:
        return _explain_directory(parsed, wanted)
    if parsed.json:
        _emit([story.row() for story in stories], True, None)
    else:
        display.stories(stories)
    return 0


def _explain_directory(parsed: argparse.Namespace, directory: str) -> int:
    from . import display
    from .survey import survey

    settings = _settings(parsed)
    found = survey(settings, os.path.normpath(directory))
    if not found["exists"] and not found["watched_below"]:
        hint = "there is no such directory, and no run was seen in it; see `runs list`"
        raise UsageInvalid(Problem(f"nothing is known of {directory!r}", settings.journal.path, hint))
    _emit([found], parsed.json, lambda rows: display.survey(rows[0]))
    return 0


def _runs_settle(parsed: argparse.Namespace) -> int:
    from . import agent, display, settle, status
    from .journal_file import is_held

    decision = settle.decision(parsed.outcome == "succeeded", parsed.reason, settle.who_decides())
    settings, now = _settings(parsed), time.time()
    with _journal(parsed) as journal:
        recorded = agent.decide(settings, journal, parsed.wanted, decision, now)
        told = status.entries_since(journal, recorded.run.run_id, now)
        row = {**status.run_row(journal, recorded), "notifications": told}
        held = is_held(journal.path)
    _emit([row], parsed.json, lambda rows: display.settled(rows[0]))
    if told and not held:
        print("no agent is running: it is told when one starts", file=sys.stderr)
    return 0


def _journal_list(parsed: argparse.Namespace) -> int:
    from . import display, status

    with _journal(parsed) as journal:
        _emit(status.entries(journal, parsed.limit, parsed.parked), parsed.json, display.entries)
    return 0


def _journal_show(parsed: argparse.Namespace) -> int:
    from . import display, status

    with _journal(parsed) as journal:
        rows = status.entry_rows(status.find_entries(journal, parsed.entry))
        if not rows:
            raise UsageInvalid(Problem(f"no entry {parsed.entry!r}", journal.path, "name it by seq or by id"))
        for row in rows:
            attempted = status.attempts(journal, row["seq"])
            if parsed.json:
                _emit([{**row, "attempted": attempted}], True, None)
            else:
                display.entry(row, attempted)
    return 0


def _journal_tail(parsed: argparse.Namespace) -> int:
    from . import display, status

    with _journal(parsed) as journal:
        rows = status.entries(journal, parsed.limit)
        seen = rows[-1]["seq"] if rows else 0
        _emit(rows, parsed.json, display.entries)
        sys.stdout.flush()
        while parsed.follow:
            time.sleep(0.5)
            rows = status.entries_after(journal, seen)
            if rows:
                seen = rows[-1]["seq"]
                _emit(rows, parsed.json, display.entries)
                sys.stdout.flush()
    return 0


def _replay(parsed: argparse.Namespace) -> int:
    from . import replay, status
    from .journal_file import is_held

    with _journal(parsed) as journal:
        choices = replay.choose(
            journal, notification=parsed.id, run_id=parsed.run, everything=parsed.all, sink=parsed.sink,
            force=parsed.force,
        )  # fmt: skip
        refused = 0
        for choice in choices:
            (row,) = status.entry_rows([choice.row])
            refusal = choice.refusal
            refused += bool(refusal)
            seq = None if refusal or parsed.dry_run else replay.append(journal, choice, time.time())
            outcome = "refused" if refusal else "would be replayed" if parsed.dry_run else "replayed"
            if parsed.json:
                _emit([{**row, "outcome": outcome, "refusal": refusal or None, "replay_seq": seq}], True, None)
            else:
                behind = f" as #{seq}" if seq else f": {refusal}" if refusal else ""
                told = f"#{row['seq']} {row['status']} of {row['resource_arn']} to {row['sink']}"
                print(f"{told}: {outcome}{behind}")
        if not parsed.dry_run and not is_held(journal.path) and refused < len(choices):
            print("no agent is running: what was replayed is sent when one starts", file=sys.stderr)
    if refused and not parsed.force:
        print("refused entries can be replayed with --force", file=sys.stderr)
    return 0 if not refused else 1 if refused == len(choices) else _PARTLY_DONE


def _config_validate(parsed: argparse.Namespace) -> int:
    from . import settings as settings_module

    settings = _settings(parsed)
    for problem in settings_module.advice(settings):
        print(f"warning: {problem}", file=sys.stderr)
    print(f"{settings.path}: valid")
    return 0


def _config_show(parsed: argparse.Namespace) -> int:
    from . import settings as settings_module

    print(settings_module.show(_settings(parsed)), end="")
    return 0


def _config_generate(_parsed: argparse.Namespace) -> int:
    from . import settings as settings_module

    print(settings_module.generate(), end="")
    return 0


def _config_schema(_parsed: argparse.Namespace) -> int:
    from . import settings as settings_module

    print(json.dumps(settings_module.schema(), indent=2))
    return 0


def _receiver(parsed: argparse.Namespace) -> int:
    from .receiver import serve

    def announce(url: str) -> None:
        print(f"receiver: listening on {url}; set it as endpoint_url of a [[sink]]", file=sys.stderr, flush=True)

    def emit(line: str) -> None:
        print(line, flush=True)

    ended_by = serve(
        parsed.host, parsed.port, parsed.fail, emit=emit, journal_path=parsed.keep, as_json=parsed.json,
        on_listening=announce,
    )  # fmt: skip
    return _INTERRUPTED if ended_by is signal.SIGINT else 0


def _demo(parsed: argparse.Namespace) -> int:
    from .demo import show

    return show(keep=parsed.keep)


def _exec(parsed: argparse.Namespace) -> int:
    from . import wrapper

    shim = ["--install-shim", parsed.install_shim] if parsed.install_shim else []
    return wrapper.run([*shim, "--", *parsed.words])


def _version(parsed: argparse.Namespace) -> int:
    print(json.dumps({"version": __version__}) if parsed.json else f"proton-tf-agent {__version__}")
    return 0


# --- what commands share ------------------------------------------------------------------------------------------


def _settings(parsed: argparse.Namespace) -> Settings:
    from .settings import load

    return load(os.path.abspath(parsed.config or os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG))


def _journal(parsed: argparse.Namespace) -> Journal:
    from .journal import Journal

    return Journal.open_existing(_settings(parsed).journal.path)


def _emit(rows: Sequence[dict[str, Any]], as_json: bool, draw: Callable[[Any], None] | None) -> None:
    if as_json or draw is None:
        for row in rows:
            print(json.dumps(row, separators=(",", ":")))
    else:
        draw(rows)


def _parser() -> argparse.ArgumentParser:
    with_config = argparse.ArgumentParser(add_help=False)
    with_config.add_argument(
        "--config", metavar="FILE", help=f"settings; else ${CONFIG_VARIABLE}, else {DEFAULT_CONFIG}"
    )
    with_json = argparse.ArgumentParser(add_help=False)
    with_json.add_argument("--json", action="store_true", help="one JSON object a line on stdout")
    reading = [with_config, with_json]

    parser = argparse.ArgumentParser(
        prog="proton-tf-agent",
        description="Sees Terraform runs from outside and tells AWS Proton, or any other sink, what became of them.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    _add(commands, "run", _run, "the daemon", [with_config])
    _add(commands, "status", _status, "what is open, what waits, what is parked; works with the daemon down", reading)

    runs = _group(commands, "runs", "the runs that were seen")
    listed = _add(runs, "list", _runs_list, "the newest runs", reading)
    listed.add_argument("--limit", type=_positive, default=20, metavar="N")
    listed.add_argument("--directory", metavar="DIR", help="only runs of this run directory")
    shown = _add(runs, "show", _explain, "one run: evidence, transitions, notifications", reading)
    shown.add_argument("wanted", metavar="RUN")

    settled = _add(runs, "settle", _runs_settle, "say what became of a run that nothing else can tell", reading)
    settled.add_argument("wanted", metavar="RUN")
    settled.add_argument("--as", dest="outcome", required=True, choices=("succeeded", "failed"))
    settled.add_argument("--reason", required=True, metavar="TEXT", help="how you know; kept, and told with your name")

    explained = _add(commands, "explain", _explain, "why something was told, or why not", reading)
    explained.add_argument("wanted", metavar="RUN|NOTIFICATION|DIRECTORY")

    journal = _group(commands, "journal", "what was decided, sent and answered")
    listed = _add(journal, "list", _journal_list, "the last entries of the outbox", reading)
    listed.add_argument("--limit", type=_positive, default=20, metavar="N")
    listed.add_argument("--parked", action="store_true", help="only entries a sink refuses for good")
    shown = _add(journal, "show", _journal_show, "one entry and every attempt", reading)
    shown.add_argument("entry", metavar="ID|SEQ")
    tail = _add(journal, "tail", _journal_tail, "the last entries, and new ones as they come", reading)
    tail.add_argument("--limit", type=_positive, default=10, metavar="N")
    tail.add_argument("-f", "--follow", action="store_true")

    replayed = _add(commands, "replay", _replay, "send again what the journal holds", reading)
    scope = replayed.add_mutually_exclusive_group(required=True)
    scope.add_argument("--id", metavar="ID|SEQ", help="one notification")
    scope.add_argument("--run", metavar="RUN", help="everything told about a run")
    scope.add_argument("--all", action="store_true", help="everything in the journal")
    replayed.add_argument("--sink", metavar="NAME", help="only to this sink")
    replayed.add_argument("--dry-run", action="store_true", help="show what would be sent")
    replayed.add_argument("--force", action="store_true", help="also what a later status has overtaken")

    config = _group(commands, "config", "the settings file")
    _add(config, "validate", _config_validate, "every mistake in it, at once", [with_config])
    _add(config, "show", _config_show, "the settings in effect, and where each comes from", [with_config])
    _add(config, "generate", _config_generate, "a settings file with every key explained", [])
    _add(config, "schema", _config_schema, "JSON Schema of the settings file", [])

    received = _add(commands, "receiver", _receiver, "an endpoint that speaks Proton's contract", [with_json])
    received.add_argument("--host", default="127.0.0.1", help="a loopback address")
    received.add_argument("--port", type=int, default=8790, help="0 for any free one")
    received.add_argument("--keep", metavar="FILE", help="append what is accepted as JSON lines")
    received.add_argument("--fail", metavar="FAULT", help="fail every request this way")

    executed = _add(commands, "exec", _exec, "run a command and record how it ended, unnoticed", [with_config])
    executed.add_argument("--install-shim", metavar="DIR", help="write shims to put first on PATH instead")
    executed.add_argument("words", nargs="*", metavar="COMMAND", help="behind --, with its arguments")

    shown = _add(commands, "demo", _demo, "the main job with a real Terraform, in a minute", [])
    shown.add_argument("--keep", action="store_true", help="leave the demo's directory behind")
    _add(commands, "version", _version, "the version", [with_json])
    return parser


def _add(
    commands: Any, name: str, command: Callable[[argparse.Namespace], int], purpose: str, parents: list[Any]
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=purpose, description=purpose, parents=parents)
    parser.set_defaults(command=command)
    return parser


def _group(commands: Any, name: str, purpose: str) -> Any:
    return commands.add_parser(name, help=purpose, description=purpose).add_subparsers(metavar="COMMAND", required=True)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return min(number, sys.maxsize)


if __name__ == "__main__":
    sys.exit(main())
