"""The unit and its drop-in as text. Touches no file but the package's own copy of the unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files

NAME = "proton-tf-agent.service"
USER = "proton-tf-agent"
_PYTHON = "/opt/proton-tf-agent/bin/python"
_PRIVATE = ("/tmp", "/var/tmp")  # noqa: S108 - what PrivateTmp= hides; nothing is written there


def unit(python: str, prefixes: Iterable[str]) -> str:
    """The unit for an agent that this Python runs. prefixes: the directories where it and its libraries lie."""
    text = (files(__package__) / NAME).read_text("utf-8").replace(_PYTHON, python)
    lines = text.splitlines(keepends=True)
    places = [at for at, line in enumerate(lines) if line.startswith("NoExecPaths=")]
    closed = [word.removeprefix("-") for at in places for word in lines[at].strip().partition("=")[2].split()]
    opened = sorted({prefix for prefix in prefixes if _is_below(prefix, closed)})
    if opened:
        lines.insert(places[-1] + 1, f"ExecPaths={' '.join(opened)}\n")
    return "".join(lines)


def drop_in(groups: Sequence[str], watches: Sequence[str]) -> str:
    """What a host needs beyond the unit: the groups that may read run directories, and a view of those below /tmp.
    Empty when it needs nothing."""
    lines = []
    if groups:
        lines += [
            "# Whose files the agent may read, as far as these groups may.",
            f"SupplementaryGroups={' '.join(groups)}",
        ]
    hidden = [watch for watch in watches if _is_below(watch, _PRIVATE)]
    if hidden:
        lines += [f"# Watched: {', '.join(map(ascii, hidden))}. It is read, never written.", "PrivateTmp=no"]
    if not lines:
        return ""
    head = f"# Written by `proton-tf-agent service install`. What is yours belongs beside it: systemctl edit {USER}"
    return "\n".join((head, "[Service]", *lines)) + "\n"


SANDBOX = ("PrivateTmp", "ProtectHome", "InaccessiblePaths", "TemporaryFileSystem")  # what may hide a directory


def hides(properties: Mapping[str, str], path: str) -> str:
    """What of a unit's properties, as systemctl shows them, keeps its processes from seeing what lies at a real path:
    `NAME=value`; empty when nothing does. See systemd.exec(5)."""
    for name in SANDBOX:
        value = properties.get(name, "")
        if name == "PrivateTmp":
            hidden = [] if value in ("", "no") else list(_PRIVATE)
        elif name == "ProtectHome":
            hidden = ["/home", "/root", "/run/user"] if value in ("yes", "tmpfs") else []
        else:
            hidden = [word.lstrip("-+").partition(":")[0] for word in value.split()]
        if _is_below(path, hidden):
            return f"{name}={value}"
    return ""


def _is_below(path: str, directories: Iterable[str]) -> bool:
    return any(f"{path}/".startswith(f"{directory}/") for directory in directories)
