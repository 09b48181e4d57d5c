"""Real processes that hold a state lock or have a log open for writing, until they are told otherwise."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

# As terraform does it: F_SETLK, F_WRLCK, the whole file (filesystem_lock_unix.go).
LOCKER = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("ready", flush=True)
for line in sys.stdin:
    if line == "unlock\\n":
        fcntl.lockf(fd, fcntl.LOCK_UN)
    print("done", flush=True)
"""
OPENER = """
import os, sys
fd = os.open(sys.argv[1], getattr(os, sys.argv[2]))
print("ready", flush=True)
for line in sys.stdin:
    os.close(fd)
    print("done", flush=True)
"""


class Child:
    """A real process that has said that it is ready."""

    def __init__(self, program: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", program, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._hear("ready\n")

    def tell(self, what: str) -> None:
        """Let it do something; returns when it is done."""
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        self._hear("done\n")

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.process.kill()
        self.process.wait(10)

    def _hear(self, expected: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == expected

    def close(self) -> None:
        """Leave no process and no pipe behind."""
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


Start = Callable[..., Child]
