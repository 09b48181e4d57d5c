"""What every command shares: where settings and journal are found, how rows are printed, how arguments are read.

Commands themselves are in `cli` and `cli_journal`. Here nothing is decided, and nothing heavy imported.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .domain.printable import printable

if TYPE_CHECKING:
    from .journal import Journal
    from .journal_reading import JournalReader
    from .settings import Settings

DEFAULT_CONFIG = "/etc/proton-tf-agent/agent.toml"
CONFIG_VARIABLE = "PROTON_TF_AGENT_CONFIG"
FAILED = 1
PARTLY_DONE = 3
INTERRUPTED = 130
SHELLS = ("bash", "zsh", "fish", "man")  # for which `make docs` writes a file into shell/

Command = Callable[[argparse.Namespace], int]
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([smhd])")


def settings_of(parsed: argparse.Namespace) -> Settings:
    """The settings a command line names, or the environment, or the default."""
    from .settings import load

    return load(settings_path(parsed))


def settings_path(parsed: argparse.Namespace) -> str:
    """Where they are."""
    return os.path.abspath(parsed.config or os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)


def reader_of(parsed: argparse.Namespace) -> JournalReader:
    """The journal of these settings, to be read beside the daemon that may hold it."""
    from .journal_reading import JournalReader

    return JournalReader.open_existing(settings_of(parsed).journal.path)


def journal_of(parsed: argparse.Namespace) -> Journal:
    """The same, to be written, too."""
    from .journal import Journal

    return Journal.open_existing(settings_of(parsed).journal.path)


def emit(rows: Sequence[dict[str, Any]], as_json: bool, draw: Callable[[Any], None] | None = None) -> None:
    """Print rows: one JSON object a line, or as `draw` shows them to a person."""
    if as_json or draw is None:
        for row in rows:
            print(json.dumps(row, separators=(",", ":")))
    else:
        draw(rows)


def complain(text: str) -> None:
    """One line on stderr that is no result."""
    print(printable(text), file=sys.stderr)


# --- the parser ---------------------------------------------------------------------------------------------------


def with_config() -> argparse.ArgumentParser:
    """The option every command takes that needs settings."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--config", metavar="FILE", help=f"settings; else ${CONFIG_VARIABLE}, else {DEFAULT_CONFIG}")
    return parent


def with_json() -> argparse.ArgumentParser:
    """The option of every command whose result a program may want."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--json", action="store_true", help="one JSON object a line on stdout")
    return parent


def add(commands: Any, name: str, command: Command, purpose: str, parents: Iterable[Any]) -> argparse.ArgumentParser:
    """One command; its arguments are added to what is returned."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=purpose, description=purpose, parents=list(parents)
    )
    parser.set_defaults(command=command)
    return parser


def group(commands: Any, name: str, purpose: str) -> Any:
    """A noun with commands of its own."""
    parser = commands.add_parser(name, help=purpose, description=purpose)
    return parser.add_subparsers(prog=parser.prog, metavar="COMMAND", required=True)


# --- arguments ----------------------------------------------------------------------------------------------------


def positive(text: str) -> int:
    """A number of things, at least one."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return min(number, sys.maxsize)


def duration(text: str) -> float:
    """Seconds, written as 90s, 15m, 2h or 30d."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write 90s, 15m, 2h or 30d")
    return float(match[1]) * _UNITS[match[2]]


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression; in lower case alone it disregards case, as that of journalctl does."""
    try:
        return re.compile(text, re.MULTILINE | (0 if any(c.isupper() for c in text) else re.IGNORECASE))
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None


def moment(text: str) -> float:
    """A wall-clock second: an ISO 8601 date (its midnight) or time, in UTC unless it says otherwise; or a duration
    before now."""
    if _DURATION.fullmatch(text):
        return time.time() - duration(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        hint = "write 2026-11-23, 2026-11-23T14:30 or, for so long ago, 2h"
        raise argparse.ArgumentTypeError(f"{text!r} is no moment: {hint}") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
