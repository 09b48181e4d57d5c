"""The wheel: the same sources give the same bytes, and it carries what a service needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("proton_tf_agent", "systemd", "pyproject.toml", "README.md", "LICENSE")


def build(sources: Path, modified_at: float, umask: int) -> Path:
    """A wheel of a copy of the sources, as `make wheel` builds it."""
    sources.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, sources / part, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / part, sources / part)
    for path in sources.rglob("*"):
        os.utime(path, (modified_at, modified_at), follow_symlinks=False)
        if path.is_file() and not path.is_symlink():
            path.chmod(0o666 & ~umask)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    environment = {key: value for key, value in os.environ.items() if key != "SOURCE_DATE_EPOCH"}
    subprocess.run(
        [*command, "--wheel-dir", str(sources / "dist"), str(sources)], check=True, umask=umask, env=environment
    )
    (wheel,) = (sources / "dist").iterdir()
    return wheel


def test_two_builds_of_the_same_sources_are_the_same_to_the_byte(tmp_path: Path) -> None:
    """Wherever they lie, whenever they were checked out, whatever the umask."""
    one = build(tmp_path / "here", 1_000_000_000, 0o022)
    other = build(tmp_path / "somewhere-else", 1_700_000_000, 0o077)
    assert one.name == other.name
    assert one.read_bytes() == other.read_bytes()
    with zipfile.ZipFile(one) as wheel:
        carried = wheel.read("proton_tf_agent/service/proton-tf-agent.service")
        names = wheel.namelist()
    assert carried == (ROOT / "systemd" / "proton-tf-agent.service").read_bytes()
    assert [name for name in names if not name.startswith("proton_tf_agent")] == []
