"""The floors of docs/architecture.md hold, and the contracts that hold them can fail."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "proton_tf_agent"


def lint_imports(project: Path) -> subprocess.CompletedProcess[str]:
    """import-linter over the package in project, with the contracts of its pyproject.toml."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-logo", "--no-cache"],
        cwd=project, env={**os.environ, "PYTHONPATH": str(project)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_every_room_imports_only_what_it_may() -> None:
    outcome = lint_imports(ROOT)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(PACKAGE, tmp_path / "proton_tf_agent", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize(
    ("room", "reaches_for"),
    [
        ("domain/run.py", "import time"),
        ("domain/outputs.py", "import msgspec"),
        ("domain/evidence.py", "from . import run"),
        ("domain/binding.py", "from ..sources import place"),
        ("sources/tail.py", "from . import lock_file"),
        ("sources/place.py", "from . import watch"),
        ("sources/observe.py", "import watchdog.observers"),
        ("sources/lock_file.py", "from .. import journal"),
        ("sinks/console.py", "from . import proton"),
        ("relay.py", "from . import pipeline"),
        ("status.py", "import boto3"),
        ("pipeline.py", "import sqlite3"),
        ("sqlite_pages.py", "import sqlite3"),
        ("sqlite_record.py", "import os"),
        ("pipeline.py", "from . import agent"),
        ("status.py", "import hcl2"),
        ("run_directories.py", "from .sources import configuration"),
        ("sources/state_place.py", "from . import hcl_config"),
    ],
)
def test_a_room_that_reaches_where_it_may_not_is_found(copy: Path, room: str, reaches_for: str) -> None:
    """A contract that nothing can break promises nothing."""
    path = copy / "proton_tf_agent" / room
    path.write_text(path.read_text() + f"\n{reaches_for}\n")
    outcome = lint_imports(copy)
    assert outcome.returncode == 1, outcome.stdout + outcome.stderr
    assert "BROKEN" in outcome.stdout


def imports_of(path: Path) -> list[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Import statements, and whether each stands at the top of the module."""
    tree = ast.parse(path.read_text())
    top = set(map(id, tree.body))
    return [(node, id(node) in top) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


DOMAIN = sorted(path for path in (PACKAGE / "domain").glob("*.py") if path.name != "values.py")  # has its own contract


@pytest.mark.parametrize("path", DOMAIN, ids=lambda path: path.name)
def test_the_domain_imports_at_the_top_and_only_what_is_pure(path: Path) -> None:
    pure = {
        "__future__", "base64", "bisect", "collections", "copy", "dataclasses", "enum", "fnmatch", "hashlib",
        "itertools", "json", "math", "operator", "re", "typing", "urllib",
    }  # fmt: skip
    for node, at_top in imports_of(path):
        assert at_top, ast.unparse(node)
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1, ast.unparse(node)
        else:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert {name.split(".")[0] for name in names} <= pure, ast.unparse(node)


def test_a_file_below_a_watched_directory_is_opened_in_one_place_only() -> None:
    """`open` and `os.open` in the sources: safe_open for watched files, liveness for /proc."""
    found = set()
    for path in (PACKAGE / "sources").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("open", "os.open", "io.open"):
                found.add(path.name)
    assert found == {"safe_open.py", "liveness.py"}


def test_nothing_in_the_sources_can_write() -> None:
    """The agent reads; it makes, changes, locks and starts nothing below a watched directory."""
    acts = {
        "os.remove", "os.unlink", "os.rename", "os.replace", "os.mkdir", "os.makedirs", "os.write", "os.truncate",
        "os.chmod", "os.chown", "os.utime", "os.link", "os.symlink", "os.system", "os.kill", "fcntl.lockf",
        "fcntl.flock", "subprocess.run", "subprocess.Popen", "shutil.copy", "shutil.move", "shutil.rmtree",
    }  # fmt: skip
    for path in (PACKAGE / "sources").glob("*.py"):
        source = path.read_text()
        calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)}
        assert not calls & acts, path
        assert not any(flag in source for flag in ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "F_SETLK")) or (
            path.name == "liveness.py"  # names Terraform's F_SETLK, asks with F_GETLK
        )


REFUSED_WORDS = ("handler", "manager", "helper", "util", "common")


def test_no_room_is_named_for_nothing() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert not any(word in path.stem for word in REFUSED_WORDS), path
