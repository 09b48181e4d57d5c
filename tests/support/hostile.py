"""Bad inputs as a table: what each is, how to plant it in a run directory, what is to be seen of it.

The numbers are those of docs/bad-input.md. A section of the table is one module `support/hostile_*.py` with a tuple
`CASES`; `all_cases` finds them. Each case is tried alone by a table test of its section in tests/hostile, and all of
them again beside normal runs before a real daemon, by tests/hostile/test_beside_normal_runs.py.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import support

from .watching import bind_directory

CANARY = "canary-7f3a91c2-not-to-be-read"  # what a file outside the watched roots holds
DEPLOYMENT_ID = "00000000-0000-4000-8000-00000000bad0"
_ARN = "arn:aws:proton:us-east-1:111122223333:environment/case-"


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a case is planted: a run directory of its own, still empty, below a watched root; a directory beside the
    root with the file `secret` that holds CANARY; and the resource that the run directory is to speak for."""

    directory: Path
    outside: Path
    resource_arn: str

    @property
    def secret(self) -> Path:
        """The file that nobody may be led to."""
        return self.outside / "secret"

    def bind(self) -> None:
        """Put good deployment metadata there."""
        bind_directory(str(self.directory), self.resource_arn, DEPLOYMENT_ID)


Undo = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Case:
    """One bad input.

    number: as in the catalogue ("7", "38b"). plant: puts it there and returns what ends it (a process or thread that
    goes on with it, modes that would keep a directory from being removed), or None. expects: the code with which the
    agent must report it (`source.unreadable`), empty where there is nothing to report; may: further codes that may be
    seen, where that depends on who is faster. hinted: paths below the run directory that the kernel hints at;
    only_asked: it does not, the code is for whoever asks for the path.
    succeeds: whether a run that has truly succeeded lies in it: Proton must hear of it all the same, and of no other
    case may it hear SUCCEEDED.
    """

    number: str
    title: str
    plant: Callable[[Ground], Undo | None]
    expects: str = ""
    may: tuple[str, ...] = ()
    hinted: tuple[str, ...] = ()
    only_asked: bool = False
    succeeds: bool = False

    def __str__(self) -> str:
        """The id of its row in a parametrised test."""
        return f"{self.number}-{self.title.replace(' ', '-')}"


@dataclass(frozen=True, slots=True)
class Planted:
    """A case and where it was planted."""

    case: Case
    ground: Ground


def all_cases() -> tuple[Case, ...]:
    """The cases of every section, in the order of their modules' names."""
    names = sorted(module.name for module in pkgutil.iter_modules(support.__path__, "support."))
    sections = [importlib.import_module(name) for name in names if name.startswith("support.hostile_")]
    return tuple(case for section in sections for case in getattr(section, "CASES", ()))


@contextmanager
def planted(cases: Iterable[Case], root: Path, outside: Path) -> Iterator[tuple[Planted, ...]]:
    """Plant cases below a watched root, each in a directory of its own; undoes what is to be undone at the end."""
    outside.mkdir(parents=True, exist_ok=True)
    (outside / "secret").write_text(CANARY, "utf-8")
    with ExitStack() as undoing:
        found = []
        for index, case in enumerate(cases):
            ground = Ground(root / f"case-{index:03d}-{case.number}", outside, f"{_ARN}{index:03d}-{case.number}")
            ground.directory.mkdir(parents=True)
            undo = case.plant(ground)
            if undo is not None:
                undoing.callback(undo)
            found.append(Planted(case, ground))
        yield tuple(found)
