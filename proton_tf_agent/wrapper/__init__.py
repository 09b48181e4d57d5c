"""`proton-tf-agent exec -- terraform apply ...`: a wrapper nobody notices.

Two processes stand where one stood. The *front* is what the caller started: it passes signals on and ends as Terraform
ends. The *keeper*, its child, is Terraform's parent: it copies what Terraform prints, waits for its end, and keeps the
record that the agent reads (`sources.exit_record`). The keeper outlives a killed front, and Terraform outlives both.

    caller -> front -> keeper -> terraform          one process group, one terminal, one standard input
                         |-> listener               what was printed, as evidence (imported once Terraform runs)
                         `-> record in the spool    began before Terraform starts, ended before the front does

What is promised: bytes, exit status, signals and terminal are those of the bare command; if anything of ours fails,
the command runs as if we were not there, with one line on stderr at most. Commands that are no runs (`output`,
`init`, `state` ...) are not wrapped at all: we become them.

Nothing here imports dataclasses, argparse or anything of the house before Terraform has started: whoever waits for
Terraform waits for our imports, too. Only `listener` may, and `keeper` imports it late.
"""

from __future__ import annotations

import os
import sys

from . import command, program, shim
from .complaint import complain

USAGE = "usage: proton-tf-agent exec [--config FILE] -- COMMAND [ARGUMENT ...]  |  exec --install-shim DIR"
_USAGE_ERROR = 2


def run(arguments: list[str]) -> int:
    """Run a command as if it had been called by itself; returns its exit status, or never, when we became it.

    arguments are those behind `exec`.
    """
    options, words = _parted(arguments)
    if "--install-shim" in options:
        return shim.install(options["--install-shim"])
    if not words:
        print(USAGE, file=sys.stderr)
        return _USAGE_ERROR
    path = program.find(words[0])
    if isinstance(path, int):
        complain(f"{words[0]}: {os.strerror(path)}")
        return program.exit_status_of(path)
    program.hold_closed_descriptors()
    try:
        typed = command.read(words, os.getcwd(), os.environ)
    except Exception as error:  # noqa: BLE001, RUF100 - whatever it is, the command runs
        complain(f"this run is not recorded: {program.said_of(error)}")
        program.become(path, words)
    if typed is None:
        program.become(path, words, _environment_of(words))
    from . import front

    return front.attend(path, typed, options.get("--config"))


def _parted(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Our own options and the command behind them."""
    options: dict[str, str] = {}
    words = list(arguments)
    while words and words[0].startswith("--"):
        name, _, value = words.pop(0).partition("=")
        if name == "--":
            return options, words
        if name not in ("--config", "--install-shim") or not (value or words):
            return {}, []
        options[name] = value or words.pop(0)
    return options, words


def _environment_of(words: list[str]) -> dict[str, str]:
    """What a command that is not Terraform gets to see: shims first on PATH, so that each Terraform it starts is
    wrapped. `make`, `terragrunt` and scripts of one's own are such commands."""
    environment = program.environment()
    if command.is_terraform(words[0]):
        return environment
    try:
        directory = shim.of_this_user()
    except OSError as error:
        complain(f"what {words[0]} starts is not recorded: {program.said_of(error)}")
        return environment
    environment["PATH"] = f"{directory}:{environment.get('PATH', os.defpath)}"
    return environment
