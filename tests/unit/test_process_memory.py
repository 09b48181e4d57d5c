"""Nobody looks into the daemon's memory, and it still sees all that it must."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# As a user without rights: for root nothing is closed. A change of user closes the memory, too; so it is opened first.
_PRIVATE = """
import ctypes, encodings.ascii, os, resource, sys
from proton_tf_agent.process_memory import keep_private
from proton_tf_agent.sources.liveness import read_boot
from proton_tf_agent.sources.safe_open import SafeOpener
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
assert ctypes.CDLL(None).prctl(4, 1, 0, 0, 0) == 0
print("open", flush=True)
sys.stdin.readline()
keep_private()
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
with SafeOpener([sys.argv[1]]).open(sys.argv[1] + "/file") as file:
    assert file.read(0, 100) == b"content"
fd = os.open(sys.argv[1] + "/file", os.O_RDONLY)
assert os.read(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY), 100) == b"content"  # what it does without openat2
os.readlink("/proc/self/ns/pid")
assert read_boot() is not None
print("private", flush=True)
sys.stdin.readline()
"""


def may_look_into(pid: int) -> str:
    """What another process of the same user says when it asks for the environment of one."""
    look = (
        "import os\nif os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"print(open('/proc/{pid}/environ', 'rb').read())"
    )
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, check=False, timeout=60)
    return (said.stdout + said.stderr).decode()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for path in (tmp_path, *tmp_path.parents[:3]):
        if path.owner() == Path.home().owner() and path != Path("/tmp"):
            path.chmod(0o755)
    (tmp_path / "file").write_text("content")
    (tmp_path / "file").chmod(0o644)
    return tmp_path


def test_no_other_process_of_its_user_looks_in_and_it_still_reads_what_it_must(directory: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _PRIVATE, str(directory)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"CANARY": "c4n4ry"},
    )  # fmt: skip
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        assert "c4n4ry" in may_look_into(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "private\n"
        assert os.stat(f"/proc/{process.pid}/environ").st_uid == 0
        assert "PermissionError" in may_look_into(process.pid)
        process.communicate("\n", timeout=60)
    assert process.returncode == 0
