"""A host of its own: a Debian with a real systemd as PID 1, in a container with a root and a loopback of its own.

Never boot systemd on the machine's own root, not even in namespaces: its rules for temporary files empty /tmp. Cgroups
are the machine's; where those are of version 1, MemoryHigh= and its like do nothing.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar

DEADLINE_S = 60.0
_INCLUDED = "systemd,systemd-sysv,dbus,python3,python3-venv,acl,jq,procps,sudo,util-linux"
_ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8")

T = TypeVar("T")
Row = dict[str, Any]


def build_root(directory: Path) -> Path:
    """A minimal system of the machine's own distribution, from where apt gets its packages. Takes a minute.

    It lies in memory, for dpkg syncs every file; `remove_root` lets it go.
    """
    wanted = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"]
    listed = subprocess.run(wanted, capture_output=True, text=True, check=True).stdout.splitlines()
    mirror, suite, _ = next(line.split() for line in listed if line.endswith(" main") and "-" not in line.split()[1])
    root = directory / "root"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2G,mode=0755", "none", str(root)], check=True)
    command = ["debootstrap", "--variant=minbase", f"--include={_INCLUDED}", suite, str(root), mirror]
    with open(directory / "debootstrap.log", "wb") as log:
        built = subprocess.run(command, stdout=log, stderr=log, check=False)
    assert built.returncode == 0, (directory / "debootstrap.log").read_text()[-2000:]
    return root


def remove_root(root: Path) -> None:
    """Let go of a root, and of nothing else."""
    subprocess.run(["umount", "--lazy", str(root)], check=True)
    root.rmdir()


class Lines:
    """What a process prints, line by line. Tests wait on it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._changed = threading.Condition()
        self._rows: list[Row] = []
        self._ended = False
        self._thread = threading.Thread(target=self._read, args=(stream,), name="reader of a container")
        self._thread.start()

    def __len__(self) -> int:
        with self._changed:
            return len(self._rows)

    def since(self, mark: int = 0) -> list[Row]:
        """The rows behind so many."""
        with self._changed:
            return self._rows[mark:]

    def wait_for(self, met: Callable[[list[Row]], T], otherwise: str, mark: int = 0) -> T:
        """Wait until something holds for the rows behind a mark; returns what was found."""
        with self._changed:
            self._changed.wait_for(lambda: met(self._rows[mark:]) or self._ended, DEADLINE_S)
            found = met(self._rows[mark:])
            assert found, f"{otherwise}; there is {[row.get('MESSAGE', row) for row in self._rows[mark:]]}"
            return found

    def close(self) -> None:
        """Wait for its end."""
        self._thread.join(DEADLINE_S)

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    self._rows.append(json.loads(line) if line.startswith(b"{") else {"MESSAGE": line.decode()})
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Container:
    """A booted system. Paths below `root` are the same files inside."""

    def __init__(self, root: Path, read_only: Mapping[Path, str]) -> None:
        self.root = root
        self._followers: list[tuple[subprocess.Popen[bytes], Lines]] = []
        binds = [f"--bind-ro={outside}:{inside}" for outside, inside in read_only.items()]
        address = str(root.parent / "ready")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified, open(root.parent / "boot.log", "wb") as log:
            notified.bind(address)
            notified.settimeout(DEADLINE_S)
            self._nspawn = subprocess.Popen(
                ["systemd-nspawn", f"--directory={root}", f"--machine=ptfa-{os.getpid()}", "--boot",
                 "--notify-ready=yes", "--console=pipe", "--register=no", "--keep-unit", "--private-network",
                 "--link-journal=no", *binds],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | {"NOTIFY_SOCKET": address},
            )  # fmt: skip
            self._leader = self._wait_for_boot(notified)

    def _wait_for_boot(self, notified: socket.socket) -> str:
        leader = ""
        while True:
            try:
                words = notified.recv(4096).decode().splitlines()
            except TimeoutError:
                self._nspawn.kill()
                self._nspawn.wait()
                raise AssertionError((self.root.parent / "boot.log").read_text()) from None
            leader = next((word.partition("=")[2] for word in words if word.startswith("X_NSPAWN_LEADER")), leader)
            if "READY=1" in words:
                return leader

    def command(self, *command: str, user: str = "", environment: Iterable[str] = ()) -> list[str]:
        """What runs a command inside, as root or a user, in a clean environment."""
        inside = [
            "nsenter",
            f"--target={self._leader}",
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--root",
            "--wd",
        ]
        become = ["runuser", "-u", user, "--"] if user else []
        return [*inside, "--", "env", "-i", *_ENVIRONMENT, *environment, *become, *command]

    def run(self, *command: str, user: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end; what it has said."""
        said = subprocess.run(
            self.command(*command, user=user), capture_output=True, text=True, check=False, timeout=DEADLINE_S,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert not check or said.returncode == 0, f"{command}: {said.returncode} {said.stdout} {said.stderr}"
        return said

    def out(self, *command: str, user: str = "") -> str:
        """What a command prints."""
        return self.run(*command, user=user).stdout.strip()

    def follow(self, *command: str) -> Lines:
        """Start a command inside that goes on printing lines, until the container ends."""
        process = subprocess.Popen(
            self.command(*command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdout is not None
        lines = Lines(process.stdout)
        self._followers.append((process, lines))
        return lines

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file inside, and the directory it lies in."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def files(self, *directories: str) -> set[str]:
        """Every path below these directories."""
        return set(self.out("find", *directories, "-xdev").splitlines())

    def close(self) -> None:
        """Pull the plug."""
        with suppress(ProcessLookupError):
            os.kill(int(self._leader), signal.SIGKILL)  # PID 1 of its namespace: everything in there ends with it
        self._nspawn.wait(DEADLINE_S)
        for process, lines in self._followers:
            process.kill()
            process.wait()
            lines.close()


def messages(rows: Sequence[Row]) -> list[Row]:
    """The agent's own log lines out of journald's entries."""
    texts = [row["MESSAGE"] for row in rows if isinstance(row.get("MESSAGE"), str)]
    return [json.loads(text) for text in texts if text.startswith("{")]
