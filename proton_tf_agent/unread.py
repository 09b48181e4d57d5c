"""What is not read below the watched roots, and why: kept for `status`, said once an hour.

Of a branch, usually one job's directory, a few are said and a bounded number is kept: a job can make unreadable files
by the thousand, and they hide nobody else's. The codes are explained in `domain.refusals`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

_SAID_AGAIN_S = 3600.0
_MOST_SAID = 20  # of a branch in that time
_MOST_KEPT = 1000  # of a branch

Say = Callable[[str, str], None]


class Unread(Mapping[str, str]):
    """By path the code of what is not read. say(path, code): somebody should know. branch_of(path): which branch of
    which root a path belongs to. clock: wall-clock seconds."""

    def __init__(self, say: Say, branch_of: Callable[[str], str], clock: Callable[[], float]) -> None:
        self._say = say
        self._branch_of = branch_of
        self._clock = clock
        self._codes: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._said: defaultdict[str, dict[tuple[str, str], float]] = defaultdict(dict)
        self._walked: frozenset[str] = frozenset()

    def refuse(self, path: str, code: str) -> None:
        """Something is not read."""
        branch, name = self._branch_of(path), _as_text(path)
        codes = self._codes[branch]
        if codes.get(name) == code:
            return
        if name in codes or len(codes) < _MOST_KEPT:
            codes[name] = code
        now = self._clock()
        said = self._said[branch] = {
            what: at for what, at in self._said[branch].items() if 0 <= now - at < _SAID_AGAIN_S
        }  # fmt: skip
        if (name, code) not in said and len(said) < _MOST_SAID:
            said[name, code] = now
            self._say(name, code)

    def is_read(self, path: str) -> None:
        """It can be read now."""
        self._forget(_as_text(path), self._branch_of(path))

    def rescanned(self, refused: Mapping[str, str], is_there: Callable[[str], bool]) -> None:
        """Everything was walked through: refused is what was not looked into, by path; what is not there any more is
        forgotten."""
        kept = {_as_text(path) for path in refused}
        for name in list(self):
            if name not in kept and (name in self._walked or not is_there(name)):
                self._forget(name, self._branch_of(name))
        self._walked = frozenset(kept)
        for path, code in refused.items():
            self.refuse(path, code)

    def _forget(self, name: str, branch: str) -> None:
        codes = self._codes.get(branch)
        if codes is not None and codes.pop(name, None) is not None and not codes:
            del self._codes[branch]

    def __getitem__(self, path: str) -> str:
        return self._codes[self._branch_of(path)][path]

    def __iter__(self) -> Iterator[str]:
        for codes in self._codes.values():
            yield from codes

    def __len__(self) -> int:
        return sum(map(len, self._codes.values()))


def _as_text(path: str) -> str:
    """A path as it can be kept and shown, whatever bytes its name is made of."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")
