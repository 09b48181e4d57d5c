"""A walk through the directories below a watched root, within limits, through `SafeOpener`.

Shallow directories come first, so that what a limit cuts off is the depth of whoever has reached it: one job that makes
directories by the million hides nothing of the others. What is cut off is said, by path and code.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from .safe_open import SafeOpener, Unreadable

UNWATCHED_DIRECTORIES = frozenset({".git", ".terraform", "node_modules"})

# A directory that cannot be entered, or was swapped for a link meanwhile, is no part of the tree: nobody is told.
_NOT_OURS = frozenset({"E_PERM", "E_SYMLINK"})


@dataclass(frozen=True, slots=True)
class Limits:
    """entries: of one directory. depth: of directories below the root; real trees have 14 (a unit in Terragrunt's
    cache). A branch is a directory right below the root with everything in it, usually one job's: branch_directories
    and branch_entries are its limits, directories is the root's."""

    entries: int = 50_000
    depth: int = 32
    branch_directories: int = 20_000
    branch_entries: int = 250_000
    directories: int = 200_000


Refuse = Callable[[str, str], None]
"""(path, code): what is not looked through."""


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory, open as long as it is the walk's latest. entries are its first ones, complete unless is_cut."""

    path: str
    fd: int
    entries: Sequence[os.DirEntry[str]]
    is_cut: bool


@dataclass(slots=True)
class _Branch:
    directories: int = 0
    entries: int = 0


@dataclass(slots=True)
class _Spent:
    """What a walk has used up of its limits."""

    limits: Limits
    directories: int = 0
    branches: dict[str, _Branch] = field(default_factory=dict)

    def cut(self, root: str, branch: str) -> str | None:
        """The directory whose limit is reached, if one is; else one more directory of the branch counts."""
        if self.directories >= self.limits.directories:
            return root
        spent = self.branches.setdefault(branch, _Branch())
        if branch != root and (
            spent.directories >= self.limits.branch_directories or spent.entries >= self.limits.branch_entries
        ):
            return branch
        self.directories += 1
        spent.directories += 1
        return None


def walk(
    opener: SafeOpener,
    root: str,
    start: str,
    refuse: Refuse,
    limits: Limits | None = None,
    enter: Callable[[str, int], None] = lambda _path, _fd: None,
) -> Iterator[Directory]:
    """start and the directories below it, without following links or entering `UNWATCHED_DIRECTORIES`.

    root: the watched root that start is, or lies below. enter(path, descriptor) is called before a directory is listed.
    """
    root, start = (path.rstrip("/") or "/" for path in (root, start))
    above = root.rstrip("/") + "/"
    steps = f"{start}/"[len(above) :].split("/")[:-1]
    if not UNWATCHED_DIRECTORIES.isdisjoint(steps):
        return
    try:
        with opener.lister(root) as lists:
            mounts = opener.mounts_below(root)
            yield from _walk(lists, root, above, "/".join(steps), refuse, _Spent(limits or Limits()), enter, mounts)
    except FileNotFoundError:
        return
    except Unreadable as refused:
        if refused.code not in _NOT_OURS:
            refuse(root, refused.code)


def _walk(
    lists: Callable[[str], int], root: str, above: str, start: str, refuse: Refuse, spent: _Spent,
    enter: Callable[[str, int], None], mounts: Collection[str],
) -> Iterator[Directory]:  # fmt: skip
    """The same from a path relative to the root, empty for the root itself. mounts: paths that are left out."""
    limits = spent.limits
    pending = deque([(start, start.count("/") + 1 if start else 0, above + start.partition("/")[0] if start else root)])
    cut: set[str] = set()
    while pending:
        relative, depth, branch = pending.popleft()
        path = above + relative if relative else root
        full = spent.cut(root, branch)
        if full is not None:
            if full not in cut:
                cut.add(full)
                refuse(full, "E_TOO_MANY")
            continue
        try:
            fd = lists(relative or ".")
        except FileNotFoundError:
            continue
        except Unreadable as refused:
            if refused.code not in _NOT_OURS:
                refuse(path, refused.code)
            continue
        try:
            enter(path, fd)
            found, is_cut = _entries(fd, limits.entries)
            spent.branches[branch].entries += len(found)
            if is_cut:
                refuse(path, "E_TOO_MANY")
            if mounts:
                found = _without(mounts, path, found, refuse)
            names = [entry.name for entry in found if _is_directory(entry) and entry.name not in UNWATCHED_DIRECTORIES]
            yield Directory(path, fd, found, is_cut)
        except OSError:
            refuse(path, "E_IO")
            continue
        finally:
            os.close(fd)
        below = f"{relative}/" if relative else ""
        if depth >= limits.depth and names:
            refuse(path, "E_DEPTH")
        elif depth < limits.depth:
            pending.extend((below + name, depth + 1, branch if depth else above + name) for name in names)


def _without(
    mounts: Collection[str], path: str, found: list[os.DirEntry[str]], refuse: Refuse
) -> list[os.DirEntry[str]]:
    """The entries of a directory that nothing is mounted on."""
    below = path.rstrip("/") + "/"
    for entry in found:
        if below + entry.name in mounts:
            refuse(below + entry.name, "E_MOUNT")
    return [entry for entry in found if below + entry.name not in mounts]


def _entries(fd: int, limit: int) -> tuple[list[os.DirEntry[str]], bool]:
    with os.scandir(fd) as entries:
        return list(islice(entries, limit)), next(entries, None) is not None


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False
