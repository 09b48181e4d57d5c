"""The only door to watched directories: bad inputs 1 to 9, 23 and 24 with real files, by openat2 and by walking."""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proton_tf_agent.domain.refusals import REFUSALS
from proton_tf_agent.sources import safe_open
from proton_tf_agent.sources.safe_open import Bounds, SafeOpener, Unreadable

SECRET = b"root:x:0:0"
DEADLINE = 10


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    (directory / "run").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "shadow").write_bytes(SECRET)
    return directory


@pytest.fixture(params=["openat2", "walk"])
def opener(request: pytest.FixtureRequest, root: Path) -> SafeOpener:
    opener = SafeOpener([str(root)])
    opener._has_openat2 = request.param == "openat2"
    return opener


def code(opener: SafeOpener, path: Path | str) -> str:
    """The code a file is refused with, or `read` when it can be read, or `missing`."""
    try:
        with opener.open(str(path)):
            return "read"
    except Unreadable as refused:
        return refused.code if refused.path == str(path) else f"{refused.code} of another path"
    except FileNotFoundError:
        return "missing"


def test_a_regular_file_is_opened_and_read(opener: SafeOpener, root: Path) -> None:
    path = root / "run" / "terraform.tfstate"
    path.write_bytes(b"0123456789")
    with opener.open(str(path)) as file:
        assert file.read(0, 100) == b"0123456789"
        assert file.read(4, 3) == b"456"
        assert file.read(10, 1) == b""
        assert file.stat.st_ino == path.stat().st_ino


def test_a_file_is_opened_for_reading_only_without_blocking_and_not_for_children(
    opener: SafeOpener, root: Path
) -> None:
    path = root / "run" / "apply.log"
    path.write_bytes(b"x")
    with opener.open(str(path)) as file:
        fcntl_flags = int(Path(f"/proc/self/fdinfo/{file.fd}").read_text().split("flags:")[1].split()[0], 8)
        assert fcntl_flags & os.O_ACCMODE == os.O_RDONLY
        assert fcntl_flags & os.O_NONBLOCK
        assert not os.get_inheritable(file.fd)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(file.fd, b"y")


def test_a_missing_file_is_missing_and_not_unreadable(opener: SafeOpener, root: Path) -> None:
    assert code(opener, root / "run" / "nothing") == "missing"
    assert code(opener, root / "no" / "such" / "directory") == "missing"
    assert opener.read_small(str(root / "run" / "nothing"), 10) is None


def test_a_missing_root_is_missing_and_not_an_error(opener: SafeOpener, root: Path) -> None:
    root.rename(root.with_name("moved"))
    assert code(opener, root / "run" / "terraform.tfstate") == "missing"


def test_1_a_symlink_to_a_file_outside_is_not_followed(opener: SafeOpener, root: Path) -> None:
    link = root / "run" / "terraform.tfstate"
    link.symlink_to(root.parent / "outside" / "shadow")
    assert code(opener, link) == "E_SYMLINK"


def test_2_a_directory_that_is_a_symlink_out_of_the_root_is_not_followed(opener: SafeOpener, root: Path) -> None:
    (root / "away").symlink_to(root.parent / "outside")
    assert code(opener, root / "away" / "shadow") == "E_SYMLINK"


def test_3_a_symlink_to_another_runs_file_inside_the_root_is_not_followed(opener: SafeOpener, root: Path) -> None:
    (root / "other").mkdir()
    (root / "other" / "terraform.tfstate").write_bytes(b"x")
    (root / "run" / "terraform.tfstate").symlink_to("../other/terraform.tfstate")
    (root / "alias").symlink_to("other")
    assert code(opener, root / "run" / "terraform.tfstate") == "E_SYMLINK"
    assert code(opener, root / "alias" / "terraform.tfstate") == "E_SYMLINK"


def test_4_a_directory_swapped_for_a_symlink_again_and_again_never_leads_outside(
    opener: SafeOpener, root: Path
) -> None:
    """The swapper works while we read; what we read is ours or refused."""
    (root / "run" / "shadow").write_bytes(b"mine")
    (root / "link").symlink_to(root.parent / "outside")
    stop, swapped = threading.Event(), threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(root / "run", root / "kept")
            os.rename(root / "link", root / "run")
            os.rename(root / "run", root / "link")
            os.rename(root / "kept", root / "run")
            swapped.set()

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        assert swapped.wait(DEADLINE)
        seen = []
        for _ in range(3000):
            try:
                with opener.open(str(root / "run" / "shadow")) as file:
                    seen.append(file.read(0, 100))
            except (Unreadable, FileNotFoundError) as refused:
                seen.append(getattr(refused, "code", "missing").encode())
    finally:
        stop.set()
        swapper.join(DEADLINE)
    assert set(seen) <= {b"mine", b"E_SYMLINK", b"missing"}
    assert b"mine" in seen


def test_5_a_loop_of_symlinks_is_refused(opener: SafeOpener, root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    assert code(opener, root / "a") == "E_SYMLINK"
    assert code(opener, root / "a" / "x") == "E_SYMLINK"


def test_6_a_hard_link_is_refused_for_it_may_be_somebody_elses_file(opener: SafeOpener, root: Path) -> None:
    os.link(root.parent / "outside" / "shadow", root / "run" / "terraform.tfstate")
    assert code(opener, root / "run" / "terraform.tfstate") == "E_OWNER"


def test_7_a_fifo_is_refused_at_once(opener: SafeOpener, root: Path) -> None:
    os.mkfifo(root / "run" / "terraform.tfstate")
    assert code(opener, root / "run" / "terraform.tfstate") == "E_NOT_REGULAR"


def test_7_a_job_that_writes_into_a_fifo_does_not_notice_that_we_looked(opener: SafeOpener, root: Path) -> None:
    """Opening it for a moment would let the writer in, and then break its pipe (SIGPIPE kills Terraform)."""
    fifo = root / "run" / "apply.log"
    os.mkfifo(fifo)
    program = "import os, sys; print('ready', flush=True); os.open(sys.argv[1], os.O_WRONLY); print('in', flush=True)"
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", program, str(fifo)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        try:
            assert writer.stdout.readline() == b"ready\n"
            deadline = time.monotonic() + DEADLINE
            while not _is_asleep(writer.pid):  # in open(), until somebody reads
                assert time.monotonic() < deadline
            for _ in range(50):
                assert code(opener, fifo) == "E_NOT_REGULAR"
            assert _is_asleep(writer.pid)
            reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
            assert writer.stdout.readline() == b"in\n"
            os.close(reader)
        finally:
            writer.kill()


def _is_asleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_8_sockets_and_devices_are_refused(opener: SafeOpener, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "run")  # the names of sockets are short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.log")
        assert code(opener, root / "run" / "s.log") == "E_NOT_REGULAR"
    (root / "run" / "zero").symlink_to("/dev/zero")
    assert code(opener, root / "run" / "zero") == "E_SYMLINK"
    assert code(SafeOpener(["/dev"]), "/dev/zero") == "E_NOT_REGULAR"


def test_9_a_directory_with_the_name_of_a_file_is_refused(opener: SafeOpener, root: Path) -> None:
    (root / "run" / "terraform.tfstate").mkdir()
    assert code(opener, root / "run" / "terraform.tfstate") == "E_NOT_REGULAR"


def test_a_file_used_as_a_directory_is_refused(opener: SafeOpener, root: Path) -> None:
    (root / "run" / "file").write_bytes(b"x")
    assert code(opener, root / "run" / "file" / "below") == "E_SYMLINK"


@pytest.mark.parametrize(
    "name", ["x" * 255, "line\nbreak", "\x1b[2J", "-rf", "...", "..log", " ", "ü\u202e", "\udcff\udcfe", "*", "'\"$(x)"]
)
def test_23_every_name_a_file_can_have_is_opened(opener: SafeOpener, root: Path, name: str) -> None:
    path = str(root / "run" / name)
    with open(path, "wb") as file:
        file.write(b"content")
    with opener.open(path) as file:
        assert file.read(0, 100) == b"content"
    assert "\n" not in str(Unreadable("E_IO", path))


def test_23_a_name_longer_than_any_file_can_have_is_refused(opener: SafeOpener, root: Path) -> None:
    assert code(opener, root / "run" / ("x" * 256)) == "E_PATH"


@pytest.fixture
def deep(root: Path) -> Iterator[str]:
    """A path longer than the kernel takes in one call, which exists all the same."""
    component, parts = "d" * 250, []
    here = os.open(root, os.O_DIRECTORY)
    for _ in range(20):
        os.mkdir(component, dir_fd=here)
        below = os.open(component, os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
        parts.append(component)
    os.close(os.open("apply.log", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    yield "/".join((str(root), *parts, "apply.log"))
    here = os.open(root, os.O_DIRECTORY)
    held = [here]
    for part in parts:
        held.append(os.open(part, os.O_DIRECTORY, dir_fd=held[-1]))
    os.unlink("apply.log", dir_fd=held[-1])
    for above, part in zip(reversed(held[:-1]), reversed(parts), strict=True):
        os.rmdir(part, dir_fd=above)
    for fd in held:
        os.close(fd)


def test_24_a_path_longer_than_the_kernel_takes_is_refused_or_read_but_breaks_nothing(
    opener: SafeOpener, deep: str
) -> None:
    assert len(deep) > 4096
    assert code(opener, deep) == ("E_PATH" if opener._has_openat2 else "read")


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "{root}/../outside/shadow", "{root}/run/../../outside/shadow", "{root}/./run/x", "{root}//run/x",
     "{root}", "{root}/", "{root}-beside/x", "run/x", "", "/", "{root}/run/x/", "{root}/run/x\0y"],
)  # fmt: skip
def test_a_path_that_is_not_plainly_below_a_root_is_refused(opener: SafeOpener, root: Path, path: str) -> None:
    (root / "run" / "x").write_bytes(b"x")
    assert code(opener, path.format(root=root)) == "E_PATH"


NOBODY = 65534


@contextmanager
def without_roots_rights(directory: Path) -> Iterator[None]:
    """Root may read everything: as root, be nobody for a while, with a way open to the directory."""
    if os.geteuid() != 0:
        yield
        return
    for place in (directory, *directory.parents):
        if place.stat().st_uid == 0 and place.stat().st_mode & 0o005 != 0o005:
            place.chmod(0o755)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_without_permission_is_refused(opener: SafeOpener, root: Path) -> None:
    path = root / "run" / "terraform.tfstate"
    path.write_bytes(b"x")
    path.chmod(0o644)
    with without_roots_rights(root / "run"):
        assert code(opener, path) == "read"
    path.chmod(0)
    with without_roots_rights(root / "run"):
        assert code(opener, path) == "E_PERM"


def test_a_root_may_itself_be_reached_by_a_symlink(root: Path) -> None:
    """The settings are the operator's, and so are the links in them."""
    (root / "run" / "x").write_bytes(b"x")
    (root.parent / "alias").symlink_to(root)
    assert code(SafeOpener([str(root.parent / "alias")]), root.parent / "alias" / "run" / "x") == "read"


def test_of_nested_roots_the_inner_one_counts() -> None:
    opener = SafeOpener(["/srv", "/srv/inner/", "/"])
    assert opener.root_of("/srv/inner/x") == "/srv/inner"
    assert opener.root_of("/srv/other") == "/srv"
    assert opener.root_of("/elsewhere") == "/"
    assert SafeOpener(["/srv"]).root_of("/srv") is None


def test_a_small_file_is_read_whole_and_a_large_one_not_at_all(opener: SafeOpener, root: Path) -> None:
    path = root / "run" / "metadata.json"
    path.write_bytes(b"x" * 100)
    assert opener.read_small(str(path), 100) == b"x" * 100
    with pytest.raises(Unreadable, match="E_TOO_LARGE"):
        opener.read_small(str(path), 99)
    os.truncate(path, 1 << 40)  # 10: a terabyte of nothing
    with pytest.raises(Unreadable, match="E_TOO_LARGE"):
        opener.read_small(str(path), 100)


def test_a_change_while_a_file_is_open_is_seen(opener: SafeOpener, root: Path) -> None:
    path = root / "run" / "terraform.tfstate"
    path.write_bytes(b"one")
    with opener.open(str(path)) as file:
        assert file.is_unchanged()
        path.write_bytes(b"other")
        assert not file.is_unchanged()
    os.utime(path, ns=(0, 0))
    with opener.open(str(path)) as file:
        os.utime(path, ns=(0, 10**18))
        assert not file.is_unchanged()


def test_a_file_replaced_while_it_is_open_is_read_as_it_was_found(opener: SafeOpener, root: Path) -> None:
    path = root / "run" / "terraform.tfstate"
    path.write_bytes(b"found")
    with opener.open(str(path)) as file:
        path.unlink()
        path.symlink_to(root.parent / "outside" / "shadow")
        assert file.read(0, 100) == b"found"


def test_no_descriptor_is_left_open_whatever_was_found(opener: SafeOpener, root: Path) -> None:
    (root / "run" / "file").write_bytes(b"x")
    (root / "run" / "link").symlink_to("file")
    os.mkfifo(root / "run" / "fifo")
    (root / "run" / "linked").write_bytes(b"x")
    os.link(root / "run" / "linked", root / "linked")
    before = os.listdir("/proc/self/fd")
    for name in ("run/file", "run/link", "run/fifo", "run", "linked", "run/none", "none/none", "run/file/x"):
        code(opener, root / name)
    with pytest.raises(RuntimeError), opener.open(str(root / "run" / "file")):
        raise RuntimeError
    assert os.listdir("/proc/self/fd") == before


def test_where_fdinfo_is_closed_to_us_the_kernel_tells_the_same_mount_another_way(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before Linux 5.14, for a process that nobody may look into: /proc/self/fdinfo is root's."""
    (root / "run" / "apply.log").write_bytes(b"mine")
    opener = SafeOpener([str(root)])
    opener._has_openat2 = False
    with opener.open(f"{root}/run/apply.log") as file:
        mount = file.mount

    def closed(path: str, *arguments: object, **options: object) -> object:
        if path.startswith("/proc/self/fdinfo/"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return open(path, *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(safe_open, "open", closed, raising=False)
    with opener.open(f"{root}/run/apply.log") as file:
        assert (file.read(0, 10), file.mount) == (b"mine", mount)


def test_where_the_kernel_refuses_openat2_every_step_is_walked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "run" / "x").write_bytes(b"x")
    monkeypatch.setattr(safe_open, "_SYS_OPENAT2", 100_000)  # a number no kernel knows: ENOSYS
    opener = SafeOpener([str(root)])
    assert code(opener, root / "run" / "x") == "read"
    assert not opener._has_openat2


def test_18_a_disk_that_fails_is_told_from_a_file_that_ends(opener: SafeOpener, root: Path) -> None:
    """The memory of a process is a regular file, and gives EIO where nothing is mapped (proc_pid_mem(5))."""
    memory = f"/proc/{os.getpid()}/mem"
    with SafeOpener(["/proc"]).open(memory) as file, pytest.raises(Unreadable, match="E_IO"):
        file.read(0, 10)


def test_25_where_owners_are_named_nobody_elses_files_are_read_and_none_that_all_may_write(root: Path) -> None:
    path = root / "run" / "apply.log"
    path.write_bytes(b"x")
    opener = SafeOpener([Bounds(str(root), frozenset({os.geteuid()}))])
    assert code(opener, path) == "read"
    path.chmod(0o666)
    assert code(opener, path) == "E_OWNER"
    path.chmod(0o644)
    if os.geteuid() != 0:  # root's files are always read: tests/machine has the other users
        assert code(SafeOpener([Bounds(str(root), frozenset({NOBODY}))]), path) == "E_OWNER"


def test_a_directory_is_listed_only_where_it_lies(opener: SafeOpener, root: Path) -> None:
    (root / "alias").symlink_to(root.parent / "outside")
    (root / "file").write_bytes(b"x")
    with opener.directory(str(root / "run")) as fd:
        assert os.listdir(fd) == []
    with opener.directory(str(root)) as fd:
        assert sorted(os.listdir(fd)) == ["alias", "file", "run"]
    for path, expected in (("alias", "E_SYMLINK"), ("file", "E_SYMLINK"), ("run/../run", "E_PATH")):
        with pytest.raises(Unreadable, match=expected), opener.directory(f"{root}/{path}"):
            pass
    with pytest.raises(FileNotFoundError), opener.directory(str(root / "none")):
        pass


def test_what_lies_at_a_path_is_looked_at_without_being_opened_or_followed(opener: SafeOpener, root: Path) -> None:
    (root / "alias").symlink_to(root.parent / "outside")
    os.mkfifo(root / "run" / "fifo")
    for path, is_there in (("alias", True), ("run/fifo", True), ("run/none", False), ("none/none", False)):
        assert (opener.look(str(root / path)) is not None) is is_there
    with pytest.raises(Unreadable, match="E_SYMLINK"):
        opener.look(str(root / "alias" / "shadow"))
    with pytest.raises(Unreadable, match="E_PATH"):
        opener.look("/etc/passwd")


def test_every_code_is_explained(root: Path) -> None:
    source = Path(safe_open.__file__).parent
    used = {found for file in source.glob("*.py") for found in re.findall(r'"(E_[A-Z_]+)"', file.read_text("utf-8"))}
    assert used <= REFUSALS.keys()
    assert all(row.means and row.remedy for row in REFUSALS.values())
