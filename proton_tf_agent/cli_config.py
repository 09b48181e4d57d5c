"""The commands about the settings: `config ...`. They parse, call and print as `cli` does, and need no agent."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from .command_line import FAILED, add, complain, emit, group, settings_of, settings_path, with_config
from .domain.errors import AgentError
from .domain.printable import printable


def _validate(parsed: argparse.Namespace) -> int:
    from . import settings as settings_module

    code = 0
    for path in parsed.file or [settings_path(parsed)]:
        try:
            if parsed.file and settings_module.is_part(path):
                settings_module.check_part(os.path.abspath(path))
                print(printable(f"{os.path.abspath(path)}: valid by itself"))
                continue
            settings = settings_module.load(os.path.abspath(path))
        except AgentError as error:
            for problem in error.problems:
                complain(f"proton-tf-agent: {problem}")
            code = error.exit_code
            continue
        warnings = settings_module.advice(settings)
        for problem in warnings:
            complain(f"warning: {problem}")
        print(printable(f"{settings.path}: valid") + (f", with {len(warnings)} warnings" if warnings else ""))
        code = code or (FAILED if warnings and parsed.deny_warnings else 0)
    return code


def _show(parsed: argparse.Namespace) -> int:
    from . import settings as settings_module

    print(settings_module.show(settings_of(parsed)), end="")
    return 0


def _generate(_parsed: argparse.Namespace) -> int:
    from . import settings as settings_module

    print(settings_module.generate(), end="")
    return 0


def _schema(_parsed: argparse.Namespace) -> int:
    from . import settings as settings_module

    print(json.dumps(settings_module.schema(), indent=2))
    return 0


def _test_bind(parsed: argparse.Namespace) -> int:
    from . import display
    from .survey import survey

    settings, code = settings_of(parsed), 0
    for directory in parsed.directory:
        row = survey(settings, os.path.abspath(directory))
        emit([{key: row[key] for key in _BOUND}], parsed.json, lambda rows: display.bound(rows[0]))
        code = code if row["resource_arn"] or (row["watched_below"] and row["told_to"]) else FAILED
    return code


_BOUND = (
    "directory", "exists", "watched_below", "resource_arn", "deployment_id", "name", "told_to", "bound_by",
    "unbound_reason",
)  # fmt: skip


# --- the parser ---------------------------------------------------------------------------------------------------


def add_commands(commands: Any, with_json: argparse.ArgumentParser) -> None:
    """Add the commands of this room."""
    config = group(commands, "config", "the settings file")
    validated = add(config, "validate", _validate, "every mistake in it, at once", [with_config()])
    validated.add_argument("--deny-warnings", action="store_true", help="exit code 1 for what is probably not meant")
    validated.add_argument("file", nargs="*", metavar="FILE", help="these instead")
    add(config, "show", _show, "the settings in effect, and where each comes from", [with_config()])
    add(config, "generate", _generate, "a settings file with every key explained", [])
    add(config, "schema", _schema, "JSON Schema of the settings file", [])
    purpose = "which resource a directory would be told for, and why; exit code 1 where nobody would be told"
    bound = add(config, "test-bind", _test_bind, purpose, [with_config(), with_json])
    bound.add_argument("directory", nargs="+", metavar="DIRECTORY")
