"""The walk through a watched root: what it finds, what it leaves out, and what each limit cuts off."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proton_tf_agent.sources.safe_open import SafeOpener
from proton_tf_agent.sources.tree import Limits, walk


class Walked:
    """What a walk has found and refused, as paths below the root."""

    def __init__(self, root: Path, limits: Limits | None = None, start: str = "") -> None:
        self.refused: dict[str, str] = {}
        opener, above = SafeOpener([str(root)]), str(root)
        found = walk(opener, above, f"{above}/{start}".rstrip("/"), self._refuse, limits)
        self._root = above
        self.directories = [os.path.relpath(directory.path, above) for directory in found]

    def _refuse(self, path: str, code: str) -> None:
        self.refused[os.path.relpath(path, self._root)] = code


def make(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).mkdir(parents=True)
    return root


def test_shallow_directories_come_first_and_unwanted_ones_not_at_all(tmp_path: Path) -> None:
    make(tmp_path, "a/b/c", "d", "a/.git/objects", "a/.terraform/providers", "d/node_modules/x")
    walked = Walked(tmp_path)
    assert walked.directories[0] == "."
    assert sorted(walked.directories[1:3]) == ["a", "d"]
    assert walked.directories[3:] == ["a/b", "a/b/c"]
    assert walked.refused == {}
    assert Walked(tmp_path, start="a/.git/objects").directories == []


def test_links_are_not_followed(tmp_path: Path) -> None:
    root = make(tmp_path / "root", "run")
    make(tmp_path / "outside", "secret")
    (root / "run" / "away").symlink_to(tmp_path / "outside")
    assert Walked(root).directories == [".", "run"]


def test_a_directory_that_is_swapped_for_a_link_is_not_entered(tmp_path: Path) -> None:
    root = make(tmp_path / "root", "run")
    make(tmp_path / "outside", "secret")
    found = []
    for directory in walk(SafeOpener([str(root)]), str(root), str(root), lambda _path, _code: None):
        found.append(directory.path)
        if len(found) == 1:
            (root / "run").rmdir()
            (root / "run").symlink_to(tmp_path / "outside")
    assert found == [str(root)]


def test_of_a_directory_with_too_many_entries_the_first_are_listed(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / str(number)).touch()
    (directory,) = walk(SafeOpener([str(tmp_path)]), str(tmp_path), str(tmp_path), print, Limits(entries=3))
    assert (len(directory.entries), directory.is_cut) == (3, True)
    assert Walked(tmp_path, Limits(entries=3)).refused == {".": "E_TOO_MANY"}
    assert Walked(tmp_path, Limits(entries=5)).refused == {}


def test_what_lies_too_deep_is_cut_off_and_said_once(tmp_path: Path) -> None:
    make(tmp_path, "a/b/c/d", "a/b/c/e")
    walked = Walked(tmp_path, Limits(depth=3))
    assert walked.directories == [".", "a", "a/b", "a/b/c"]
    assert walked.refused == {"a/b/c": "E_DEPTH"}
    assert Walked(tmp_path, Limits(depth=3), start="a/b/c").refused == {"a/b/c": "E_DEPTH"}, "counted from the root"


@pytest.mark.parametrize("limits", [Limits(branch_directories=4), Limits(branch_entries=4)])
def test_one_branch_that_is_too_large_hides_nothing_of_the_others(tmp_path: Path, limits: Limits) -> None:
    make(tmp_path, *(f"huge/{number}/deeper" for number in range(10)), "small/run/logs", "tiny")
    walked = Walked(tmp_path, limits)
    assert walked.refused == {"huge": "E_TOO_MANY"}
    assert {"small", "small/run", "small/run/logs", "tiny", "huge"} <= set(walked.directories)
    assert not any("deeper" in path for path in walked.directories)


def test_a_root_with_too_many_directories_is_cut_where_it_is_deepest(tmp_path: Path) -> None:
    make(tmp_path, "a/b/c", "d/e/f")
    walked = Walked(tmp_path, Limits(directories=5))
    assert walked.refused == {".": "E_TOO_MANY"}
    assert sorted(walked.directories) == [".", "a", "a/b", "d", "d/e"]
