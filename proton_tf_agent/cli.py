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
from collections.abc import Sequence
from typing import Any

from . import __version__, cli_config, cli_health, cli_journal, cli_service, cli_sinks
from .command_line import (
    CONFIG_VARIABLE,
    FAILED,
    INTERRUPTED,
    SHELLS,
    Command,
    add,
    complain,
    emit,
    group,
    journal_of,
    positive,
    reader_of,
    settings_of,
    with_config,
    with_json,
)
from .domain.errors import AgentError, Problem, UsageInvalid, described

__all__ = ["CONFIG_VARIABLE", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (docs/commands.md)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that lacks a character gets its number
    words = sys.argv[1:] if arguments is None else arguments
    parsed = parser(words[0] if words else "").parse_args(words)
    command: Command = parsed.command
    try:
        code = command(parsed)
        sys.stdout.flush()
    except AgentError as error:
        for problem in error.problems:
            complain(f"proton-tf-agent: {problem}")
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
        return 0
    except Exception as error:  # noqa: BLE001, RUF100 - a traceback would end with whatever was read
        complain(f"proton-tf-agent: this is a defect, please report it: {described(error)}")
        return FAILED
    return code


# --- commands ---------------------------------------------------------------------------------------------------


def _run(parsed: argparse.Namespace) -> int:
    from . import settings as settings_module
    from .environment import already_in_force, drop_what_is_not_taken

    dropped = drop_what_is_not_taken(os.environ)
    from .agent import Agent, run_until_signalled
    from .process_memory import keep_private
    from .telemetry import configure, speak_for_all

    keep_private()
    settings = settings_of(parsed)
    log = configure(settings.log.level, settings.log.format)
    speak_for_all(log)
    in_force = already_in_force(os.environ)
    if dropped or in_force:
        log.tell("environment.dropped", {"names": list(dropped), "in_force": list(in_force) or None})
    for problem in settings_module.advice(settings):
        log.tell("settings.questionable", {"reason": str(problem)})
    return run_until_signalled(Agent(settings, log))


def _runs_list(parsed: argparse.Namespace) -> int:
    from . import display, status

    directory = os.path.abspath(parsed.directory) if parsed.directory else None
    with reader_of(parsed) as journal:
        emit(status.run_rows(journal, parsed.limit, directory), parsed.json, display.runs)
    return 0


def _explain(parsed: argparse.Namespace) -> int:
    from . import display, status

    wanted = parsed.wanted
    if os.path.isdir(wanted):
        wanted = os.path.abspath(wanted)
    with reader_of(parsed) as journal:
        stories = status.explain(journal, wanted)
    if not stories:
        return _explain_directory(parsed, wanted)
    if parsed.json:
        emit([story.row() for story in stories], True, None)
    else:
        display.stories(stories)
        if wanted.startswith("/"):
            _show_unread(parsed, os.path.normpath(wanted))
    return 0


def _show_unread(parsed: argparse.Namespace, directory: str) -> None:
    from . import display
    from .survey import unread

    display.unread(unread(settings_of(parsed), directory), directory)


def _explain_directory(parsed: argparse.Namespace, directory: str) -> int:
    from . import display
    from .survey import survey

    settings = settings_of(parsed)
    found = survey(settings, os.path.normpath(directory))
    if not found["exists"] and not found["watched_below"]:
        hint = "there is no such directory, and no run was seen in it; see `runs list`"
        raise UsageInvalid(Problem(f"nothing is known of {directory!r}", settings.journal.path, hint))
    emit([found], parsed.json, lambda rows: display.survey(rows[0]))
    return 0


def _runs_settle(parsed: argparse.Namespace) -> int:
    from . import assembly, display, settle, status
    from .journal_file import is_held

    decision = settle.decision(parsed.outcome == "succeeded", parsed.reason, settle.who_decides())
    settings, now = settings_of(parsed), time.time()
    with journal_of(parsed) as journal:
        recorded = assembly.decide(settings, journal, parsed.wanted, decision, now)
        told = status.entries_since(journal, recorded.run.run_id, now)
        row = {**status.run_row(journal, recorded), "notifications": told}
        held = is_held(journal.path)
    emit([row], parsed.json, lambda rows: display.settled(rows[0]))
    if told and not held:
        complain("no agent is running: it is told when one starts")
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
    return INTERRUPTED if ended_by is signal.SIGINT else 0


def _demo(parsed: argparse.Namespace) -> int:
    from .demo import show

    return show(keep=parsed.keep)


def _exec(parsed: argparse.Namespace) -> int:
    from . import wrapper

    shim = ["--install-shim", parsed.install_shim] if parsed.install_shim else []
    return wrapper.run([*shim, "--", *parsed.words])


def _shell(parsed: argparse.Namespace) -> int:
    from importlib.resources import files

    print(files("proton_tf_agent").joinpath("shell", parsed.form).read_text("utf-8"), end="")
    return 0


def _version(parsed: argparse.Namespace) -> int:
    print(json.dumps({"version": __version__}) if parsed.json else f"proton-tf-agent {__version__}")
    return 0


# --- the parser ---------------------------------------------------------------------------------------------------


def parser(only: str = "") -> argparse.ArgumentParser:
    """The command line: the whole, of which completions and the manual page are made, too (`docs/generate_shell.py`);
    or, which is made sooner, no more of it than one word needs to begin a command."""
    reading = [with_config(), with_json()]
    whole = argparse.ArgumentParser(
        prog="proton-tf-agent",
        description="Sees Terraform runs from outside and tells AWS Proton, or any other sink, what became of them.",
    )
    commands = whole.add_subparsers(prog=whole.prog, metavar="COMMAND", required=True)
    rooms = (
        (("run",), lambda: add(commands, "run", _run, "the daemon", [with_config()])),
        (("status", "metrics", "doctor"), lambda: cli_health.add_commands(commands, reading)),
        (("runs", "explain"), lambda: _add_runs(commands, reading)),
        (("journal", "replay"), lambda: cli_journal.add_commands(commands, reading)),
        (("sinks",), lambda: cli_sinks.add_commands(commands, reading)),
        (("config",), lambda: cli_config.add_commands(commands, with_json())),
        (("service",), lambda: cli_service.add_commands(commands)),
        (("receiver", "exec", "demo", "shell", "version"), lambda: _add_others(commands)),
    )
    wanted = [add_commands for words, add_commands in rooms if only in words] or [room for _, room in rooms]
    for add_commands in wanted:
        add_commands()
    return whole


def _add_runs(commands: Any, reading: Sequence[argparse.ArgumentParser]) -> None:
    runs = group(commands, "runs", "the runs that were seen")
    listed = add(runs, "list", _runs_list, "the newest runs", reading)
    listed.add_argument("--limit", type=positive, default=20, metavar="N")
    listed.add_argument("--directory", metavar="DIR", help="only runs of this run directory")
    shown = add(runs, "show", _explain, "one run: evidence, transitions, notifications", reading)
    shown.add_argument("wanted", metavar="RUN")

    settled = add(runs, "settle", _runs_settle, "say what became of a run that nothing else can tell", reading)
    settled.add_argument("wanted", metavar="RUN")
    settled.add_argument("--as", dest="outcome", required=True, choices=("succeeded", "failed"))
    settled.add_argument("--reason", required=True, metavar="TEXT", help="how you know; kept, and told with your name")

    explained = add(commands, "explain", _explain, "why something was told, or why not", reading)
    explained.add_argument("wanted", metavar="RUN|NOTIFICATION|DIRECTORY")


def _add_others(commands: Any) -> None:
    received = add(commands, "receiver", _receiver, "an endpoint that speaks Proton's contract", [with_json()])
    received.add_argument("--host", default="127.0.0.1", help="a loopback address")
    received.add_argument("--port", type=int, default=8790, help="0 for any free one")
    received.add_argument("--keep", metavar="FILE", help="append what is accepted as JSON lines")
    received.add_argument("--fail", metavar="FAULT", help="fail every request this way")

    executed = add(commands, "exec", _exec, "run a command and record how it ended, unnoticed", [with_config()])
    executed.add_argument("--install-shim", metavar="DIR", help="write shims to put first on PATH instead")
    executed.add_argument("words", nargs="*", metavar="COMMAND", help="behind --, with its arguments")

    shown = add(commands, "demo", _demo, "the main job with a real Terraform, in a minute", [])
    shown.add_argument("--keep", action="store_true", help="leave the demo's directory behind")
    shell = add(commands, "shell", _shell, "what bash, zsh, fish or man(1) need to know of the commands", [])
    shell.add_argument("form", choices=SHELLS, metavar="FORM", help=", ".join(SHELLS))
    add(commands, "version", _version, "the version", [with_json()])


if __name__ == "__main__":
    sys.exit(main())
