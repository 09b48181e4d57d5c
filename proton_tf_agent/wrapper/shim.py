"""Shims: small scripts named `terraform` and `tofu` that stand first on PATH and call `exec`.

A shim finds the next command of its name on PATH by itself should the agent be gone, and is known by its second line:
`exec` never takes one for the command, however many stand on PATH.
"""

from __future__ import annotations

import os
import stat
import sys

from .complaint import complain

NAMES = ("terraform", "tofu")
_MARK = b"# A shim of proton-tf-agent"
_SCRIPT = """#!/bin/sh
# A shim of proton-tf-agent: the next NAME on PATH, seen by the agent. Made by `proton-tf-agent exec --install-shim`.
if [ -x 'PYTHON' ] && [ -f 'PACKAGE/__main__.py' ]; then
  exec 'PYTHON' -I -m proton_tf_agent exec -- NAME "$@"
fi
IFS=:
for directory in $PATH; do
  command="${directory:-.}/NAME"
  if [ -f "$command" ] && [ -x "$command" ] && ! head -n 2 "$command" | grep -q '^MARK'; then
    unset IFS
    exec "$command" "$@"
  fi
done
echo "NAME: command not found" >&2
exit 127
"""


def is_one(path: str) -> bool:
    """Whether a program is a shim of ours."""
    try:
        with open(path, "rb") as file:
            return _MARK in file.read(200)
    except OSError:
        return False


def install(directory: str) -> int:
    """Write the shims into a directory and say how to use them; returns the exit status."""
    directory = os.path.abspath(directory)
    try:
        os.makedirs(directory, exist_ok=True)
        for name in NAMES:
            path = f"{directory}/{name}"
            if os.path.lexists(path) and not is_one(path):
                complain(f"{path} is there already and is no shim; nothing was changed there (name another directory)")
                return 1
            _write(path, name)
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}")
        return 1
    print(f"{directory}: {', '.join(NAMES)}; put it first on the job's PATH:\n  export PATH={directory}:$PATH")
    return 0


def of_this_user() -> str:
    """A directory of this user's with the shims in it, made if need be. OSError where none can be had."""
    parent = os.environ.get("XDG_RUNTIME_DIR") or "/tmp"  # noqa: S108 - a directory of our own in it, and looked at
    directory = f"{parent}/proton-tf-agent-shims-{os.getuid()}"
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        status = os.lstat(directory)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise PermissionError(1, "it is not this user's own directory", directory) from None
    for name in NAMES:
        path = f"{directory}/{name}"
        if _content(path) != _script(name):
            _write(path, name)
    return directory


def _script(name: str) -> bytes:
    python = sys.executable.replace("'", "'\\''")
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__))).replace("'", "'\\''")
    text = (
        _SCRIPT.replace("PYTHON", python)
        .replace("PACKAGE", package)
        .replace("MARK", _MARK.decode())
        .replace("NAME", name)
    )
    return os.fsencode(text)


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _write(path: str, name: str) -> None:
    """Aside and renamed: another job may be about to run it."""
    aside = f"{path}.{os.getpid()}"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o755)
    try:
        os.write(fd, _script(name))
        os.fchmod(fd, 0o755)
    finally:
        os.close(fd)
    os.rename(aside, path)
