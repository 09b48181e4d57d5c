"""The commands that make the agent a service: `service ...`. They parse, call and print as `cli` does."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .command_line import add, group
from .domain.errors import AgentError, Problem, UsageInvalid

if TYPE_CHECKING:
    from .service.steps import Step


def _install(parsed: argparse.Namespace) -> int:
    from .service import steps, unit
    from .service.host import Host

    host = Host()
    groups = [host.group_of(user) for user in parsed.runner]
    for name in parsed.group:
        if host.gid(name) is None:
            raise UsageInvalid(
                Problem(f"there is no group {name!r}", hint="name one whose members may read run directories")
            )
    wanted = steps.Wanted(
        python=os.path.abspath(sys.executable),
        prefixes=(os.path.abspath(sys.prefix), os.path.realpath(sys.base_prefix)),
        groups=tuple(dict.fromkeys((*groups, *parsed.group))),
        watches=tuple(dict.fromkeys(map(os.path.abspath, parsed.watch))),
    )
    if not parsed.dry_run:
        host.demand_root_and_systemd()
        host.demand_that_others_can_start(wanted.python)
    had_settings = host.exists(steps.SETTINGS_FILE)
    _take(steps.install(host, wanted), parsed.dry_run)
    if not parsed.dry_run:
        _list("left to do", steps.to_do(host, wanted, host.account(unit.USER, wanted.groups), had_settings))
    return 0


def _uninstall(parsed: argparse.Namespace) -> int:
    from .service import steps
    from .service.host import Host

    host = Host()
    if not parsed.dry_run:
        host.demand_root_and_systemd()
    _take(steps.uninstall(host, parsed.purge), parsed.dry_run)
    if not parsed.dry_run and not parsed.purge:
        _list("left as it is, until `service uninstall --purge`", steps.left_behind(host))
    return 0


def _take(steps: Iterable[Step], dry_run: bool) -> None:
    for step in steps:
        if step.is_done:
            print(f"as it is  {step.what}")
        elif dry_run:
            print(f"would     {step.what}")
        else:
            try:
                step.take()
            except AgentError:
                print(f"failed    {step.what}", flush=True)
                raise
            print(f"done      {step.what}", flush=True)


def _list(heading: str, lines: Iterable[str]) -> None:
    found = list(lines)
    if found:
        print("\n".join((f"{heading}:", *(f"  {line}" for line in found))))


def add_commands(commands: Any) -> None:
    """Add `service install` and `service uninstall`."""
    service = group(commands, "service", "the agent as a service of systemd")
    installed = add(service, "install", _install, "write unit, user, directories and settings; say each step", [])
    installed.add_argument("--runner", metavar="USER", action="append", default=[], help="whose jobs run Terraform")
    installed.add_argument("--group", metavar="GROUP", action="append", default=[], help="who may read run directories")
    installed.add_argument("--watch", metavar="DIR", action="append", default=[], help="a directory to watch")
    installed.add_argument("--dry-run", action="store_true", help="say the steps, take none")
    taken = add(service, "uninstall", _uninstall, "take the service away; journal and settings stay", [])
    taken.add_argument("--purge", action="store_true", help="journal, settings and user, too")
    taken.add_argument("--dry-run", action="store_true", help="say the steps, take none")
