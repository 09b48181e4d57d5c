"""What a command line asks for: is it a run, of which operation, in which directory. Touches no file but links.

Source: terraform main.go (`-chdir`, `-help` and `-version` before the subcommand; TF_CLI_ARGS and TF_CLI_ARGS_name
behind it) and internal/command/arguments: flags may have one dash or two, and their value behind a `=`.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_OPERATIONS = {"plan": "plan", "apply": "apply", "destroy": "destroy", "refresh": "refresh"}
_HELP = ("-h", "-help", "--help")
_WITH_SECRETS = ("-var", "-backend-config")
_MASK = "…"


class Command:
    """A Terraform command that is a run.

    words: as typed; shown: as it may be kept, without the values of variables; operation: `plan`, `apply`, `destroy` or
    `refresh`; directory: the run directory, absolute; base: the directory it was started in; detailed:
    `-detailed-exitcode`; variables: (name, value) of every `-var`; state: the file of the state it leaves, if a flag
    names it.
    """

    __slots__ = ("base", "detailed", "directory", "operation", "shown", "state", "variables", "words")

    def __init__(self, words: list[str], base: str, directory: str, operation: str) -> None:
        self.words = words
        self.shown: list[str] = []
        self.operation = operation
        self.base = base
        self.directory = directory
        self.detailed = False
        self.variables: list[tuple[str, str]] = []
        self.state = ""

    @property
    def applies(self) -> bool:
        """Whether it leaves outputs behind that may be told."""
        return self.operation in ("apply", "refresh")


def is_terraform(name: str) -> bool:
    """Whether a command is Terraform or OpenTofu itself."""
    return os.path.basename(name) in ("terraform", "tofu")


def read(words: list[str], base: str, environment: Mapping[str, str]) -> Command | None:
    """The run that `words`, started in `base`, are; None where they are none: another program, another subcommand, or
    a question for help."""
    if not is_terraform(words[0]):
        return None
    directory, rest = base, words[1:]
    while rest and rest[0].startswith("-"):
        name, _, value = rest.pop(0).partition("=")
        if name != "-chdir" or not value:  # -version, -help, or a mistake: Terraform's own affair
            return None
        directory = os.path.realpath(os.path.join(base, value))  # where Terraform will find itself
    if not rest or rest[0] not in _OPERATIONS:
        return None
    subcommand = rest[0]
    flags = [*_from_environment(environment, subcommand), *rest[1:]]
    if any(flag in _HELP for flag in flags):
        return None
    found = Command(words, base, directory, _OPERATIONS[subcommand])
    if subcommand == "apply" and any(_is_set(flag, "destroy") for flag in flags):
        found.operation = "destroy"
    found.detailed = subcommand == "plan" and any(_is_set(flag, "detailed-exitcode") for flag in flags)
    _values(flags, found)
    found.shown = _without_values(words)
    return found


def _from_environment(environment: Mapping[str, str], subcommand: str) -> list[str]:
    given = " ".join(filter(None, (environment.get("TF_CLI_ARGS"), environment.get(f"TF_CLI_ARGS_{subcommand}"))))
    if not given:
        return []
    import shlex

    try:
        return shlex.split(given)
    except ValueError:
        return []  # Terraform will refuse it


def _is_set(flag: str, name: str) -> bool:
    key, _, value = flag.lstrip("-").partition("=")
    return flag.startswith("-") and key == name and value.lower() not in ("false", "f", "0")


def _values(flags: list[str], found: Command) -> None:
    """The values of flags that matter; a value stands behind `=` or is the next word. The state is the one that is left
    behind: -state-out, else -state."""
    written = False
    for place, flag in enumerate(flags):
        key, given, value = flag.lstrip("-").partition("=")
        if not flag.startswith("-") or key not in ("var", "state", "state-out"):
            continue
        if not given:
            value = flags[place + 1] if place + 1 < len(flags) else ""
        if key == "var":
            name, _, assigned = value.partition("=")
            found.variables.append((name.strip(), assigned.strip()))
        elif key == "state-out" or not written:
            found.state = value
            written = key == "state-out"


def _without_values(words: list[str]) -> list[str]:
    shown: list[str] = []
    hides_next = False
    for word in words:
        flag, given, value = word.partition("=")
        if hides_next:
            shown.append(_masked(word))
        elif flag.startswith("-") and f"-{flag.lstrip('-')}" in _WITH_SECRETS and given:
            shown.append(f"{flag}={_masked(value)}")
        else:
            shown.append(word)
        hides_next = not hides_next and word.startswith("-") and f"-{word.lstrip('-')}" in _WITH_SECRETS
    return shown


def _masked(assignment: str) -> str:
    name, given, _ = assignment.partition("=")
    return f"{name}={_MASK}" if given else _MASK
