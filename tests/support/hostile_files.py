"""Section A of docs/bad-input.md: file objects. What needs root or a mount is tried in tests/machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from proton_tf_agent.sources.tree import Limits

from .enactors import moved
from .facts import LOGS
from .hostile import CANARY, Case, Ground, Undo

_STATE = ("terraform.tfstate",)
_SWAPPER = str(Path(__file__).with_name("swapper.py"))


def good_log() -> str:
    """The log of an apply that has gone well, a moment ago."""
    return moved((LOGS / "apply_ok.log").read_text("utf-8"), time.time())


def open_log() -> str:
    """The beginning of one: its run is open."""
    return "".join(good_log().splitlines(keepends=True)[:4])


def _state_of(ground: Ground, put: Callable[[Path], Undo | None]) -> Undo:
    """A run is open, for somebody writes its log, and something has taken the place of its state."""
    ground.bind()
    log = (ground.directory / "apply.log").open("w", encoding="utf-8")
    log.write(open_log())
    log.flush()
    undo = put(ground.directory / "terraform.tfstate")

    def end() -> None:
        log.close()
        if undo is not None:
            undo()

    return end


def _log_of(ground: Ground, put: Callable[[Path], Undo | None]) -> Undo | None:
    """Something has taken the place of a log."""
    ground.bind()
    return put(ground.directory / "apply.log")


def _run(ground: Ground, name: str = "apply.log") -> Path:
    """A run that has gone well."""
    ground.bind()
    path = ground.directory / name
    path.write_text(good_log(), "utf-8")
    return path


def _link_to_secret(ground: Ground) -> Undo:
    return _state_of(ground, lambda path: path.symlink_to(ground.secret))


def _linked_directory(ground: Ground) -> None:
    ground.bind()
    (ground.outside / "apply.log").write_text(good_log(), "utf-8")
    (ground.directory / "away").symlink_to(ground.outside)


def _link_inside(ground: Ground) -> Undo:
    (ground.directory / "theirs").mkdir()
    (ground.directory / "theirs" / "terraform.tfstate").write_text("{}", "utf-8")
    return _state_of(ground, lambda path: path.symlink_to("theirs/terraform.tfstate"))


def _swapped(ground: Ground) -> Undo:
    """A program of its own swaps a directory, a file and a link to the secret for each other, as fast as it can."""
    ground.bind()
    return swap(ground.directory, ground.outside)


def swap(directory: Path, outside: Path) -> Undo:
    """Begin to swap below a directory; returns what ends it. See `swapper` for what takes whose place."""
    swapper = subprocess.Popen(
        [sys.executable, "-I", "-S", _SWAPPER, str(directory), str(outside)], stdout=subprocess.PIPE
    )
    assert swapper.stdout is not None
    assert swapper.stdout.readline() == b"swapping\n"

    def end() -> None:
        swapper.kill()
        swapper.wait(10)
        assert swapper.stdout is not None
        swapper.stdout.close()

    return end


def _loop(path: Path) -> None:
    path.symlink_to("b.log")
    path.with_name("b.log").symlink_to(path.name)


def _hard_link(ground: Ground) -> None:
    def put(path: Path) -> None:
        theirs = ground.outside / f"theirs-{ground.directory.name}"
        theirs.write_text(CANARY, "utf-8")
        theirs.chmod(0o600)
        os.link(theirs, path)

    _log_of(ground, put)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(path.parent, os.O_PATH)
        listener.bind(f"/proc/self/fd/{here}/{path.name}")  # the names of sockets are short
        os.close(here)


def _device_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def _on_and_on(step: Callable[[], None]) -> Undo:
    """Do something again and again in a thread; returns what ends it."""
    stop, begun = threading.Event(), threading.Event()

    def work() -> None:
        while not stop.is_set():
            step()
            begun.set()
            time.sleep(0.001)  # a pace, no wait: whoever looks is to see many versions

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    assert begun.wait(10)

    def end() -> None:
        stop.set()
        worker.join(10)

    return end


def _growing(path: Path) -> Undo:
    line = b'{"@level":"info","@message":"more","type":"log"}\n' * 500

    def step() -> None:
        if not path.exists() or path.stat().st_size < 64 << 20:
            with path.open("ab") as file:
                file.write(line)

    return _on_and_on(step)


def _truncated(path: Path) -> Undo:
    whole = (LOGS / "apply_ok.tfstate").read_bytes()

    def step() -> None:
        path.write_bytes(whole)
        os.truncate(path, len(whole) // 2)

    return _on_and_on(step)


def _replaced(path: Path) -> Undo:
    versions = [(LOGS / name).read_bytes() for name in ("apply_ok.tfstate", "outputs_types.tfstate")]
    aside = path.with_name("aside")

    def step() -> None:
        versions.reverse()
        aside.write_bytes(versions[0])
        aside.replace(path)

    return _on_and_on(step)


def _reused(ground: Ground) -> None:
    """The file of a run is deleted and another run gets its inode."""
    path = _run(ground)
    path.unlink()
    _run(ground)


def _strange_times(seconds: int) -> Callable[[Ground], None]:
    def plant(ground: Ground) -> None:
        path = _run(ground)
        os.utime(path, ns=(seconds * 10**9 - 1, seconds * 10**9 - 1))

    return plant


def _unreadable(path: Path) -> Undo:
    path.write_text(good_log(), "utf-8")
    path.chmod(0)
    return partial(path.chmod, 0o600)


def _many_entries(ground: Ground) -> None:
    _run(ground)
    here = os.open(ground.directory, os.O_RDONLY)
    os.close(os.open("0.txt", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    for number in range(1, Limits().entries + 1):
        os.link("0.txt", f"{number}.txt", src_dir_fd=here, dst_dir_fd=here)  # quicker than to make them
    os.close(here)


def _deep(ground: Ground, name: str, levels: int) -> Undo:
    ground.bind()
    here = os.open(ground.directory, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    # Nothing in Python takes it apart again: its own ways are recursive, or go by path.
    return partial(subprocess.run, ["rm", "-rf", f"{ground.directory}/{name}"], check=True)


def _named(name: str) -> Callable[[Ground], None]:
    def plant(ground: Ground) -> None:
        _run(ground, f"{name}.log")

    return plant


def _not_utf8(ground: Ground) -> None:
    ground.bind()
    os.mkdir(os.fsencode(ground.directory) + b"/\xff\xfe")
    Path(os.fsdecode(os.fsencode(ground.directory) + b"/\xff\xfe/apply.log")).write_text(good_log(), "utf-8")


def _writable_by_all(ground: Ground) -> None:
    """Containers with umask 0 make such files; whoever does not want that sets `owners`."""
    _run(ground).chmod(0o666)


CASES = (
    Case("1", "state is a link to a file outside", _link_to_secret, "E_SYMLINK", hinted=_STATE),
    Case("1", "log is a link to a file outside", lambda g: _log_of(g, lambda p: p.symlink_to(g.secret)), "E_SYMLINK"),
    Case(
        "2", "directory is a link to one outside", _linked_directory, "E_SYMLINK",
        hinted=("away/apply.log",), only_asked=True,
    ),
    Case("3", "state is a link to another one inside", _link_inside, "E_SYMLINK", hinted=_STATE),
    Case(
        "4", "directories and files are swapped for links", _swapped,
        may=("E_SYMLINK", "E_OWNER", "E_PATH", "E_NOT_REGULAR"), hinted=("here/apply.log", "apply.log", "linked.log"),
    ),
    Case("5", "links in a loop", lambda g: _log_of(g, _loop), "E_SYMLINK"),
    Case("6", "hard link to a private file", _hard_link, "E_OWNER"),
    Case("7", "log is a FIFO", lambda g: _log_of(g, os.mkfifo), "E_NOT_REGULAR"),
    Case("7", "state is a FIFO", lambda g: _state_of(g, os.mkfifo), "E_NOT_REGULAR", hinted=_STATE),
    Case("8", "log is a socket", lambda g: _log_of(g, _socket), "E_NOT_REGULAR"),
    Case("8", "log is a link to a device", lambda g: _log_of(g, _device_link), "E_SYMLINK"),
    Case(
        "9", "state is a directory", lambda g: _state_of(g, Path.mkdir), "E_NOT_REGULAR", hinted=_STATE, only_asked=True
    ),
    Case("10", "log of a terabyte", lambda g: _log_of(g, _sparse), "E_TOO_LARGE"),
    Case("10", "state of a terabyte", lambda g: _state_of(g, _sparse), "E_TOO_LARGE", hinted=_STATE),
    Case("11", "log that grows for ever", lambda g: _log_of(g, _growing)),
    Case("12", "state that is truncated again and again", lambda g: _state_of(g, _truncated), hinted=_STATE),
    Case("13", "empty state", lambda g: _state_of(g, Path.touch), hinted=_STATE),
    Case("13", "empty log", lambda g: _log_of(g, Path.touch)),
    Case("14", "state that is replaced again and again", lambda g: _state_of(g, _replaced), hinted=_STATE),
    Case("15", "inode of a deleted log used again", _reused, succeeds=True),
    Case("16", "log of 1970", _strange_times(0), succeeds=True),
    Case("16", "log from before 1970", _strange_times(-1000), succeeds=True),
    Case("16", "log of 2106", _strange_times(1 << 32), succeeds=True),
    Case("16", "log of next year", _strange_times(int(time.time()) + 31_000_000), succeeds=True),
    Case(
        "17", "log without permission", lambda g: _log_of(g, _unreadable),
        "E_PERM" if os.geteuid() else "", succeeds=os.geteuid() == 0,  # root may read everything
    ),
    Case("21", "more entries than are listed", _many_entries, "E_TOO_MANY", hinted=("apply.log",), succeeds=True),
    Case("22", "deeper than Python recurses", lambda g: _deep(g, "d", 1500), "E_DEPTH"),
    Case("22", "deeper than is watched", lambda g: _deep(g, "d", 40), "E_DEPTH"),
    Case("23", "newline in a name", _named("a\nb"), succeeds=True),
    Case("23", "escape sequence in a name", _named("\x1b[2J\x1b]0;x\x07"), succeeds=True),
    Case("23", "dash before a name", _named("--rf"), succeeds=True),
    Case("23", "dots before a name", _named("..x"), succeeds=True),
    Case("23", "name of 255 bytes", _named("n" * 251), succeeds=True),
    Case("23", "name that is not UTF-8", _not_utf8, "E_NAME"),
    Case("24", "path longer than PATH_MAX", lambda g: _deep(g, "d" * 250, 20), "E_PATH"),
    Case("25", "log that everybody may write", _writable_by_all, succeeds=True),
)  # fmt: skip
