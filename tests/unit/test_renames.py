"""A log that was renamed is known again, and one that was given its inode number is not."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from proton_tf_agent.domain.evidence import Cursor
from proton_tf_agent.sources.renames import former_cursor, human_logs
from proton_tf_agent.sources.safe_open import SafeOpener


@dataclass
class Scene:
    """A log that has been read to its end, under its first name."""

    root: Path
    log: Path
    cursor: Cursor

    def former(self, path: Path, *, being_written: bool = False) -> Cursor | None:
        known = human_logs({self.cursor.path: self.cursor})
        return former_cursor(SafeOpener([str(self.root)]), str(path), known, [str(self.log)] if being_written else [])


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    log = tmp_path / "apply.log"
    log.write_text("No changes.\n")
    status = log.stat()
    cursor = Cursor(
        str(log), status.st_dev, status.st_ino, status.st_size, generation=1, modified_ns=status.st_mtime_ns
    )
    return Scene(tmp_path, log, cursor)


def test_a_log_that_was_renamed_is_known(scene: Scene) -> None:
    assert scene.former(scene.log.rename(scene.root / "apply-1.log")) == scene.cursor


def test_a_log_whose_directory_was_renamed_is_known(scene: Scene) -> None:
    (scene.root / "run").mkdir()
    moved = scene.log.rename(scene.root / "run" / "apply.log")
    assert scene.former(moved) == scene.cursor


def test_a_log_that_has_grown_since_is_known_only_while_its_run_is_open(scene: Scene) -> None:
    renamed = scene.log.rename(scene.root / "apply-1.log")
    with renamed.open("a") as log:
        log.write("Apply complete!\n")
    _write_again_later(renamed, scene.cursor)
    assert scene.former(renamed) is None
    assert scene.former(renamed, being_written=True) == scene.cursor


def test_a_name_that_still_leads_to_the_log_was_not_given_up(scene: Scene) -> None:
    assert scene.former(scene.log, being_written=True) is None


def test_a_copy_is_another_file(scene: Scene) -> None:
    copy = scene.root / "copy.log"
    copy.write_bytes(scene.log.read_bytes())
    os.utime(copy, ns=(scene.cursor.modified_ns, scene.cursor.modified_ns))
    scene.log.unlink()
    assert scene.former(copy, being_written=True) is None


def test_a_new_log_with_the_number_of_a_deleted_one_is_another_run(scene: Scene) -> None:
    later = scene.log.rename(scene.root / "apply-2.log")  # the number is given away: the same file stands for it
    _write_again_later(later, scene.cursor)
    assert scene.former(later) is None


def test_a_json_log_is_known_by_its_first_line_and_has_no_former_name(scene: Scene) -> None:
    scene.cursor = Cursor(scene.cursor.path, scene.cursor.device, scene.cursor.inode, modified_ns=1)
    assert scene.former(scene.log.rename(scene.root / "apply-1.log"), being_written=True) is None


def test_what_must_not_be_read_has_no_former_name(scene: Scene) -> None:
    target = scene.log.rename(scene.root / "target.txt")
    link = scene.root / "apply-1.log"
    link.symlink_to(target)
    assert scene.former(link, being_written=True) is None
    assert scene.former(scene.root / "nowhere.log", being_written=True) is None


def _write_again_later(path: Path, cursor: Cursor) -> None:
    os.utime(path, ns=(cursor.modified_ns + 1, cursor.modified_ns + 1))
