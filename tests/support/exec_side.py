"""A command bare, and the same behind the wrapper: whatever differs between the two is noticed by somebody."""

from __future__ import annotations

import os
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

DEADLINE_S = 30.0
WRAPPED = (sys.executable, "-m", "proton_tf_agent", "exec", "--")
_TALKER = """#!{python}
import os, signal, sys
def say(text):
    os.write(1, text.encode() + b"\\n")
for number in (1, 2, 3, 10, 12, 15, 18, 28):
    signal.signal(number, lambda number, frame: say(signal.Signals(number).name))
say("ready")
for line in sys.stdin:
    say(line.strip())
sys.exit(5)
"""


@dataclass
class Ended:
    """How a command ended and what it wrote."""

    status: int
    out: bytes = b""
    err: bytes = b""


@dataclass
class Side:
    """One of the two ways: `prefix` stands before the command. directory holds its `terraform` and is its own."""

    name: str
    prefix: tuple[str, ...]
    directory: Path
    spool: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def program(self, script: str) -> str:
        """A `terraform` that is this script; a shell's unless it says otherwise."""
        path = self.directory / "bin" / "terraform"
        path.parent.mkdir(exist_ok=True)
        # The wrapper asks for the outputs behind an apply that went well: that is no part of what is compared.
        shell = f'#!/bin/sh\n[ "$2" = -json ] && [ "$1" = output ] && exit 1\n{script}\n'
        path.write_text(script if script.startswith("#!") else shell)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    def talker(self) -> str:
        """A `terraform` that says which signals it gets and what it reads, and ends with 5 when it reads no more."""
        return self.program(_TALKER.format(python=sys.executable))

    def env(self) -> dict[str, str]:
        """The environment of a command: nothing of the caller's Terraform or of ours."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "PROTON_"))}
        ours = {"CHECKPOINT_DISABLE": "1", "PROTON_TF_AGENT_SPOOL": str(self.spool), "PYTHONDONTWRITEBYTECODE": "1"}
        return kept | ours | {"PROTON_TF_AGENT_CONFIG": os.devnull} | dict(self.environment)

    def line(self, words: Sequence[str | bytes]) -> list[str | bytes]:
        """The words that are really executed."""
        return [*self.prefix, *words]

    def run(self, words: Sequence[str | bytes], given: bytes | None = None, **options: object) -> Ended:
        """Run a command to its end. options are those of Popen."""
        known: dict[str, object] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.PIPE}
        process = subprocess.Popen(self.line(words), cwd=self.directory, env=self.env(), **(known | options))  # type: ignore[call-overload]
        try:
            out, err = process.communicate(given, timeout=DEADLINE_S)
        finally:
            process.kill()
            process.wait()
        return Ended(process.returncode, out or b"", err or b"")

    def shell(self, line: str, given: bytes = b"") -> Ended:
        """Run a line of bash in which `$RUN` is the wrapper, or nothing, and `terraform` the program of this side."""
        run = " ".join(self.prefix)
        path = f"{self.directory}/bin:{os.environ['PATH']}"
        said = subprocess.run(
            ["/bin/bash", "-c", line],
            cwd=self.directory, env=self.env() | {"RUN": run, "PATH": path}, input=given, capture_output=True,
            timeout=DEADLINE_S, check=False,
        )  # fmt: skip
        return Ended(said.returncode, said.stdout, said.stderr)

    @contextmanager
    def talk(self) -> Iterator[Talk]:
        """A talker that is ready, in a process group of its own."""
        process = subprocess.Popen(
            self.line([self.talker(), "apply"]),
            cwd=self.directory, env=self.env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            process_group=0,
        )  # fmt: skip
        talk = Talk(process)
        try:
            assert talk.hear() == "ready"
            yield talk
        finally:
            end_all(process)


def end_all(process: subprocess.Popen[bytes]) -> None:
    """Leave nobody of a process group behind."""
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Talk:
    """A talker that is on."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._rest = b""

    def hear(self) -> str:
        """The next line it says."""
        deadline = time.monotonic() + DEADLINE_S
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        while b"\n" not in self._rest:
            ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"the talker says no more than {self._rest!r}"
            piece = os.read(fd, 4096)
            assert piece, f"the talker has hung up after {self._rest!r}"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def tell(self, text: str) -> None:
        """Give it a line to read."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def end(self) -> tuple[list[str], int]:
        """Let it read no more; what else it says, and its exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.stdout is not None
        said = self._rest + self.process.stdout.read()
        return said.decode().splitlines(), self.process.wait(DEADLINE_S)
