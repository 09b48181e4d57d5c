"""What is done on the host: files, directories, the user, systemctl. Everything here needs root but the questions."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ..domain.errors import AgentError, Problem, UsageInvalid

_NOBODY = 65534
_PATIENCE_S = 10.0
_READABLE = "install it where every user can read, see docs/install.md"


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the host: his uid, his own group and every group he is in."""

    uid: int
    gid: int
    gids: tuple[int, ...]


class Host:
    """This machine; with a root, a tree below which all paths lie (tests)."""

    def __init__(self, root: str = "") -> None:
        self._root = root

    # --- questions -------------------------------------------------------------------------------------------

    def demand_root_and_systemd(self) -> None:
        """AgentError unless steps can be taken here."""
        if os.geteuid() != 0:
            raise AgentError(Problem("this needs root", hint="run it with sudo; --dry-run needs no root"))
        if not os.path.isdir("/run/systemd/system") or shutil.which("systemctl") is None:  # sd_booted(3)
            hint = "`proton-tf-agent run` works below any supervisor; it stays in the foreground and ends on SIGTERM"
            raise AgentError(Problem("this machine is not run by systemd", hint=hint))

    def demand_that_others_can_start(self, python: str) -> None:
        """AgentError when a user without rights cannot start the agent of this Python: that of the service has none."""
        command = [python, "-I", "-B", "-m", "proton_tf_agent", "version"]
        try:
            said = subprocess.run(
                command,
                user=_NOBODY,
                group=_NOBODY,
                extra_groups=(),
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
            )
            reason = said.stderr.strip().rpartition("\n")[2] if said.returncode else ""
        except OSError as error:
            reason = error.strerror or str(error)
        if reason:
            raise AgentError(Problem(f"no other user can start it: {reason}", python, _READABLE))

    def account(self, user: str, groups: Sequence[str] = ()) -> Account | None:
        """A user, as if he were in these groups, too; None when there is none."""
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            return None
        gids = [gid for group in groups if (gid := self.gid(group)) is not None]
        return Account(entry.pw_uid, entry.pw_gid, tuple({*os.getgrouplist(user, entry.pw_gid), *gids}))

    def gid(self, group: str) -> int | None:
        """The number of a group; None when there is none."""
        try:
            return grp.getgrnam(group).gr_gid
        except KeyError:
            return None

    def group_of(self, user: str) -> str:
        """The name of a user's own group; UsageInvalid when there is no such user."""
        account = self.account(user)
        if account is None:
            raise UsageInvalid(
                Problem(f"there is no user {user!r}", hint="name the user that the runner's jobs run as")
            )
        return grp.getgrgid(account.gid).gr_name

    def obstacles(self, directory: str, account: Account) -> Iterator[tuple[str, str]]:
        """What keeps a user from reading a directory that is there: each place, and what he lacks: `x` or `rx`."""
        here = "/"
        for name in ("", *directory.strip("/").split("/")):
            here = os.path.join(here, name)
            lacks = "rx" if here == directory else "x"
            if not os.path.isdir(here):
                return
            if not all(self._may(account, here, right) for right in lacks):
                yield here, lacks

    def _may(self, account: Account, directory: str, right: str) -> bool:
        # Asked in the directory itself: what keeps him from getting there is another answer.
        command = ["test", f"-{right}", "."]
        said = subprocess.run(
            command, user=account.uid, group=account.gid, extra_groups=account.gids, cwd=directory, check=False
        )
        return said.returncode == 0

    def properties(self, unit: str, names: Sequence[str]) -> dict[str, str] | None:
        """Properties of a unit that systemd knows, as systemctl shows them; None when it knows none of that name."""
        command = ["systemctl", "show", f"--property={','.join(('LoadState', *names))}", "--", unit]
        try:
            said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE_S)
        except (OSError, subprocess.TimeoutExpired):
            return None
        shown = dict(line.split("=", 1) for line in said.stdout.splitlines() if "=" in line)
        return shown if said.returncode == 0 and shown.pop("LoadState", "") == "loaded" else None

    def read(self, path: str) -> str | None:
        """What a file holds; None when there is none."""
        try:
            with open(self._root + path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def exists(self, path: str) -> bool:
        """Whether there is anything at a path."""
        return os.path.lexists(self._root + path)

    def names(self, path: str) -> list[str]:
        """What a directory holds; nothing when there is none."""
        try:
            return sorted(os.listdir(self._root + path))
        except FileNotFoundError:
            return []

    def is_directory(self, path: str, mode: int, owner: str) -> bool:
        """Whether there is a directory of that mode and owner."""
        account = self.account(owner)
        try:
            status = os.lstat(self._root + path)
        except OSError:
            return False
        fits = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == mode
        return fits and account is not None and (status.st_uid, status.st_gid) == (account.uid, account.gid)

    def is_known_to_systemd(self, unit: str) -> bool:
        """Whether systemd has a unit of that name, whether its file is there or not."""
        command = ["systemctl", "show", "--property=LoadState", "--value", unit]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        return said.stdout.strip() not in ("", "not-found")

    def is_active(self, unit: str) -> bool:
        """Whether a unit is at work."""
        return subprocess.run(["systemctl", "is-active", "--quiet", unit], check=False).returncode == 0

    # --- deeds -----------------------------------------------------------------------------------------------

    def run(self, *command: str) -> None:
        """Run a command of the host to its end; AgentError when it fails."""
        try:
            said = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise AgentError(Problem(f"it cannot be started: {error.strerror}", command[0])) from None
        if said.returncode:
            what = said.stderr.strip() or f"it ended with exit status {said.returncode}"
            raise AgentError(Problem(what, shlex.join(command)))

    def stop(self, unit: str) -> None:
        """Stop a unit for good, and let systemd forget how it ended."""
        self.run("systemctl", "disable", "--now", unit)
        subprocess.run(["systemctl", "reset-failed", unit], capture_output=True, check=False)  # there may be nothing

    def make_user(self, user: str, home: str) -> None:
        """Make a system user who can log in nowhere, with a group of his own."""
        own = ["--gid", user] if self.gid(user) is not None else ["--user-group"]
        self.run(
            "useradd", "--system", *own, "--no-create-home", "--home-dir", home, "--shell", "/usr/sbin/nologin", user
        )  # fmt: skip

    def make_directory(self, path: str, mode: int, owner: str) -> None:
        """Make a directory, or give one its mode and owner."""
        account = self.account(owner)
        if account is None:
            raise AgentError(Problem(f"there is no user {owner!r}", path))
        try:
            with suppress(FileExistsError):
                os.mkdir(self._root + path, 0o700)
            fd = os.open(self._root + path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                os.fchown(fd, account.uid, account.gid)
                os.fchmod(fd, mode)
            finally:
                os.close(fd)
        except OSError as error:
            raise AgentError(Problem(f"it cannot be made: {error.strerror}", path)) from None

    def write(self, path: str, text: str) -> None:
        """Write a file that all may read, whole or not at all, and the directory it lies in."""
        target = self._root + path
        aside = f"{target}.new"
        try:
            os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
            with open(aside, "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.rename(aside, target)
        except OSError as error:
            raise AgentError(Problem(f"it cannot be written: {error.strerror}", path)) from None

    def remove(self, path: str) -> None:
        """Remove a file, or a directory with everything in it."""
        target = self._root + path
        try:
            if os.path.isdir(target) and not os.path.islink(target):
                shutil.rmtree(target)
            else:
                os.unlink(target)
        except FileNotFoundError:
            return
        except OSError as error:
            raise AgentError(Problem(f"it cannot be removed: {error.strerror}", path)) from None
