"""The steps of installing and of taking away again: what each does, and whether that is so already.

Decides; does nothing itself. Paths are those of the unit and of the settings' defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from ..settings import JournalSettings, SpoolSettings, generate
from ..spool_directory import MODE as SPOOL_MODE
from . import unit
from .host import Account, Host

UNIT_FILE = f"/etc/systemd/system/{unit.NAME}"
DROP_INS = f"{UNIT_FILE}.d"
DROP_IN_FILE = f"{DROP_INS}/10-runner.conf"
SETTINGS_FILE = "/etc/proton-tf-agent/agent.toml"
SETTINGS = SETTINGS_FILE.rpartition("/")[0]
PARTS = f"{SETTINGS}/conf.d"
JOURNAL = JournalSettings().path.rpartition("/")[0]
SPOOL = SpoolSettings().path


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done: in words, whether it is so already, and how."""

    what: str
    is_done: bool
    take: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is installed: the Python that runs this agent, where it and its libraries lie, the groups that may read run
    directories, and the directories to watch."""

    python: str
    prefixes: tuple[str, ...]
    groups: tuple[str, ...] = ()
    watches: tuple[str, ...] = ()


def install(host: Host, wanted: Wanted) -> list[Step]:
    """The steps that make the agent a service, in their order."""
    account = host.account(unit.USER)
    steps = [
        Step(f"make the system user {unit.USER}", account is not None, partial(host.make_user, unit.USER, JOURNAL))
    ]
    for path, mode, owner in (
        (SETTINGS, 0o755, "root"),
        (PARTS, 0o755, "root"),
        (JOURNAL, 0o700, unit.USER),
        (SPOOL, SPOOL_MODE, unit.USER),
    ):
        what = f"make the directory {path}, mode {mode:04o}, of {owner}"
        is_done = host.is_directory(path, mode, owner)
        steps.append(Step(what, is_done, partial(host.make_directory, path, mode, owner)))
    written = partial(host.write, SETTINGS_FILE, generate(wanted.watches))
    steps.append(Step(f"write {SETTINGS_FILE}, every key explained", host.exists(SETTINGS_FILE), written))
    units = [_written(host, UNIT_FILE, unit.unit(wanted.python, wanted.prefixes))]
    if text := unit.drop_in(wanted.groups, wanted.watches):
        units.append(_written(host, DROP_IN_FILE, text))
    return [*steps, *units, _reload(host, all(step.is_done for step in units))]


def uninstall(host: Host, purge: bool) -> list[Step]:
    """The steps that take the service away again, in their order; with purge, all that it has kept."""
    is_gone = not host.exists(UNIT_FILE) and not host.is_known_to_systemd(unit.NAME)
    steps = [Step(f"stop and disable {unit.NAME}", is_gone, partial(host.stop, unit.NAME))]
    units = [DROP_IN_FILE, UNIT_FILE]
    if purge or not _others(host):
        units.append(DROP_INS)
    removed = [_removed(host, path) for path in units]
    steps += [*removed, _reload(host, is_gone and all(step.is_done for step in removed))]
    if purge or not host.names(SPOOL):
        steps.append(_removed(host, SPOOL))
    if purge:
        steps += [_removed(host, path) for path in (JOURNAL, SETTINGS)]
        is_gone = host.account(unit.USER) is None
        steps.append(Step(f"remove the user {unit.USER}", is_gone, partial(host.run, "userdel", unit.USER)))
    return steps


def left_behind(host: Host) -> Iterator[str]:
    """What there is of the service that an uninstall has left, and why."""
    for path, why in (
        (JOURNAL, "the journal"),
        (SETTINGS, "the settings"),
        (SPOOL, "records that no agent has read yet"),
        (DROP_INS, "drop-ins that are yours"),
    ):
        if host.exists(path):
            yield f"{path}: {why}"
    if host.account(unit.USER) is not None:
        yield f"the user {unit.USER}, who owns the journal"


def to_do(host: Host, wanted: Wanted, account: Account | None, had_settings: bool) -> Iterator[str]:
    """What is left for a person after an installation, each with the command."""
    for watch in wanted.watches:
        if had_settings and f'"{watch}"' not in (host.read(SETTINGS_FILE) or ""):
            yield f'let the agent watch it: [[watch]] path = "{watch}" in {SETTINGS_FILE}, which was left as it was'
        for place, rights in host.obstacles(watch, account) if account else ():
            yield f"let the agent read below {watch}: setfacl -m u:{unit.USER}:{rights} {place}"
    if not had_settings:
        yield f"say whom to tell and who may be spoken for ([[sink]], [allow]): edit {SETTINGS_FILE}"
    if host.is_active(unit.NAME):
        yield f"let it take up what is new: systemctl restart {unit.USER}"
    else:
        yield f"start it: systemctl enable --now {unit.USER}"


def _written(host: Host, path: str, text: str) -> Step:
    present = host.read(path)
    verb = "write" if present in (None, text) else "replace"
    return Step(f"{verb} {path}", present == text, partial(host.write, path, text))


def _removed(host: Host, path: str) -> Step:
    return Step(f"remove {path}", not host.exists(path), partial(host.remove, path))


def _reload(host: Host, is_done: bool) -> Step:
    return Step("let systemd read its units again", is_done, partial(host.run, "systemctl", "daemon-reload"))


def _others(host: Host) -> list[str]:
    """Drop-ins that are not ours."""
    return [name for name in host.names(DROP_INS) if f"{DROP_INS}/{name}" != DROP_IN_FILE]
