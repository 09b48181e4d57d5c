"""What is said of things that are not read: enough, once, and never so much that one job hides the others."""

from __future__ import annotations

from proton_tf_agent.unread import Unread


class Heard:
    def __init__(self) -> None:
        self.now = 1000.0
        self.said: list[tuple[str, str]] = []
        self.unread = Unread(
            lambda path, code: self.said.append((path, code)), lambda path: path.split("/")[1], lambda: self.now
        )


def test_it_is_said_once_however_often_it_is_met() -> None:
    heard = Heard()
    for _ in range(3):
        heard.unread.refuse("/job/a.log", "E_PERM")
    heard.unread.refuse("/job/a.log", "E_SYMLINK")
    assert heard.said == [("/job/a.log", "E_PERM"), ("/job/a.log", "E_SYMLINK")]
    assert dict(heard.unread) == {"/job/a.log": "E_SYMLINK"}


def test_what_can_be_read_again_is_forgotten_and_what_flaps_is_said_once_an_hour() -> None:
    heard = Heard()
    for _ in range(100):
        heard.unread.refuse("/job/a.log", "E_PERM")
        heard.unread.is_read("/job/a.log")
    assert len(heard.said) == 1
    assert len(heard.unread) == 0
    heard.now += 3601.0
    heard.unread.refuse("/job/a.log", "E_PERM")
    assert len(heard.said) == 2


def test_one_job_with_thousands_of_them_hides_nobody_elses() -> None:
    heard = Heard()
    for number in range(5000):
        heard.unread.refuse(f"/hostile/{number}.log", "E_SYMLINK")
    heard.unread.refuse("/other/a.log", "E_PERM")
    assert len(heard.said) == 21
    assert heard.said[-1] == ("/other/a.log", "E_PERM")
    assert len(heard.unread) == 1001


def test_a_rescan_forgets_what_is_gone_and_what_was_not_cut_off_this_time() -> None:
    heard = Heard()
    heard.unread.refuse("/job/gone.log", "E_PERM")
    heard.unread.refuse("/job/there.log", "E_PERM")
    heard.unread.rescanned({"/job/deep": "E_DEPTH"}, lambda path: path == "/job/there.log")
    assert dict(heard.unread) == {"/job/there.log": "E_PERM", "/job/deep": "E_DEPTH"}
    heard.unread.rescanned({}, lambda path: True)
    assert dict(heard.unread) == {"/job/there.log": "E_PERM"}


def test_a_name_of_any_bytes_is_kept_as_text() -> None:
    heard = Heard()
    heard.unread.refuse("/job/\udcff.log", "E_NAME")
    assert heard.said == [("/job/\\udcff.log", "E_NAME")]
    heard.unread.is_read("/job/\udcff.log")
    assert len(heard.unread) == 0
