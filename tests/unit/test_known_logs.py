"""A log that was renamed or copied is known again, and one that was given its inode number is not."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from proton_tf_agent.domain.cursors import Cursors
from proton_tf_agent.domain.evidence import Cursor
from proton_tf_agent.domain.values import replace
from proton_tf_agent.sources import tail
from proton_tf_agent.sources.known_logs import KnownLogs, Original, cursor_behind
from proton_tf_agent.sources.safe_open import SafeOpener

LINES = "".join(f"terraform_data.x[{n}]: Creation complete after 0s\n" for n in range(50))


@dataclass
class Scene:
    """A human log that has been read to its end, under its first name."""

    root: Path
    log: Path
    cursor: Cursor

    def known(self, being_written: bool) -> KnownLogs:
        return KnownLogs(
            SafeOpener([str(self.root)]), Cursors([self.cursor]), being_written=[str(self.log)] if being_written else []
        )

    def former(self, path: Path, *, being_written: bool = False) -> Cursor | None:
        with SafeOpener([str(self.root)]).open(str(path)) as file:
            return self.known(being_written).former(file)

    def originals(self, path: Path, *, being_written: bool = False) -> list[Original]:
        with SafeOpener([str(self.root)]).open(str(path)) as file:
            return list(self.known(being_written).originals(file))

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.write_text(text)
        return path


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    log = tmp_path / "apply.log"
    log.write_text(LINES)
    with SafeOpener([str(tmp_path)]).open(str(log)) as file:
        cursor = replace(cursor_behind(file, Cursor(str(log))), generation=1, modified_ns=file.stat.st_mtime_ns)
    return Scene(tmp_path, log, cursor)


# --- renamed ------------------------------------------------------------------------------------------------------


def test_a_log_that_was_renamed_is_known(scene: Scene) -> None:
    assert scene.former(scene.log.rename(scene.root / "apply-1.log")) == scene.cursor


def test_a_log_whose_directory_was_renamed_is_known(scene: Scene) -> None:
    (scene.root / "run").mkdir()
    assert scene.former(scene.log.rename(scene.root / "run" / "apply.log")) == scene.cursor


def test_a_log_that_has_grown_since_is_known_only_while_its_run_is_open(scene: Scene) -> None:
    renamed = scene.log.rename(scene.root / "apply-1.log")
    with renamed.open("a") as log:
        log.write("Apply complete!\n")
    _write_again_later(renamed, scene.cursor)
    assert scene.former(renamed) is None
    assert scene.former(renamed, being_written=True) == scene.cursor


def test_a_name_that_still_leads_to_the_log_was_not_given_up(scene: Scene) -> None:
    assert scene.former(scene.log, being_written=True) is None


def test_a_new_log_with_the_number_of_a_deleted_one_is_another_run(scene: Scene) -> None:
    later = scene.log.rename(scene.root / "apply-2.log")  # the number is given away: the same file stands for it
    _write_again_later(later, scene.cursor)
    assert scene.former(later) is None


def test_a_json_log_is_known_by_its_first_line_and_not_by_its_file(scene: Scene) -> None:
    scene.cursor = replace(scene.cursor, generation=0)
    assert scene.originals(scene.write("copy.log", LINES)) == []
    assert scene.former(scene.log.rename(scene.root / "apply-1.log"), being_written=True) is None


# --- copied -------------------------------------------------------------------------------------------------------


def test_a_copy_of_a_whole_log_is_known(scene: Scene) -> None:
    assert scene.originals(scene.write("copy.log", LINES)) == [Original(scene.cursor, grows=False)]


@pytest.mark.parametrize(
    "text",
    [LINES + "Apply complete!\n", LINES[:-1] + "!", LINES.replace("[49]", "[48]"), LINES[: len(LINES) // 2], ""],
    ids=["longer", "another last byte", "another line at its end", "the half of it", "empty"],
)
def test_what_differs_from_an_ended_log_is_no_copy(scene: Scene, text: str) -> None:
    assert scene.originals(scene.write("copy.log", text)) == []


def test_a_log_that_was_copied_while_it_is_written_is_known(scene: Scene) -> None:
    copy = scene.write("copy.log", LINES[: len(LINES) // 2])
    assert scene.originals(copy, being_written=True) == [Original(scene.cursor, grows=True)]


def test_so_is_one_whose_original_has_been_written_on_since(scene: Scene) -> None:
    copy = scene.write("copy.log", LINES[: len(LINES) // 2])
    assert scene.originals(copy) == []
    _write_again_later(copy, replace(scene.cursor, modified_ns=scene.cursor.modified_ns - 2))
    assert scene.originals(copy) == [Original(scene.cursor, grows=True)]


def test_a_copy_whose_original_is_gone_cannot_be_known(scene: Scene) -> None:
    copy = scene.write("copy.log", LINES)
    scene.log.unlink()
    assert scene.originals(copy, being_written=True) == []


def test_of_many_logs_that_say_the_same_the_nearest_few_are_looked_at(scene: Scene) -> None:
    """Every directory of a module may print the same plan: to open each log for each other takes hours."""
    copy, cursors = scene.write("copy.log", LINES), Cursors()
    for other in range(40):
        (scene.root / f"{other}").mkdir()
        path = str(scene.write(f"{other}/apply.log", LINES))
        cursors[path] = replace(scene.cursor, path=path, inode=other, modified_ns=scene.cursor.modified_ns - 41 + other)
    cursors[scene.cursor.path] = replace(scene.cursor, modified_ns=scene.cursor.modified_ns - 99)
    opener = SafeOpener([str(scene.root)])
    with opener.open(str(copy)) as file:
        found = [original.cursor.path for original in KnownLogs(opener, cursors).originals(file)]
    assert found == [str(scene.log), *(f"{scene.root}/{number}/apply.log" for number in range(39, 32, -1))]


def test_a_log_that_only_begins_alike_hides_no_original(scene: Scene) -> None:
    """A module prints the same kilobyte wherever it is planned, and then what differs."""
    copy, cursors = scene.write("copy.log", LINES), Cursors()
    for other in range(50, 90):
        path = str(scene.write(f"other-{other}.log", LINES.replace("[49]", f"[{other}]")))
        with SafeOpener([str(scene.root)]).open(path) as file:
            cursors[path] = replace(cursor_behind(file, Cursor(path)), generation=1, modified_ns=file.stat.st_mtime_ns)
    assert len({(cursor.head, cursor.offset) for cursor in (scene.cursor, *cursors.values())}) == 1
    cursors[scene.cursor.path] = scene.cursor
    opener = SafeOpener([str(scene.root)])
    with opener.open(str(copy)) as file:
        assert list(KnownLogs(opener, cursors).originals(file)) == [Original(scene.cursor, grows=False)]


def test_a_log_is_no_copy_of_itself(scene: Scene) -> None:
    assert scene.originals(scene.log) == []


def test_nothing_of_a_copy_is_read_that_its_original_has_told(scene: Scene) -> None:
    copy = scene.write("copy.log", LINES)
    with SafeOpener([str(scene.root)]).open(str(copy)) as file:
        cursor = cursor_behind(file, scene.cursor)
        new = tail.read_new(file.read, file.stat.st_size, file.stat.st_dev, file.stat.st_ino, cursor)
    assert (new.lines, new.restarted) == ((), False)


def test_a_link_in_place_of_the_original_is_not_followed(scene: Scene) -> None:
    copy = scene.write("copy.log", LINES)
    scene.log.rename(scene.root / "elsewhere.txt")
    scene.log.symlink_to(scene.root / "elsewhere.txt")
    assert scene.originals(copy) == []


def _write_again_later(path: Path, cursor: Cursor) -> None:
    os.utime(path, ns=(cursor.modified_ns + 1, cursor.modified_ns + 1))
