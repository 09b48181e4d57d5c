"""What the figures were taken on."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sqlite3
import subprocess
import tempfile

from .measure import environment


def describe() -> list[str]:
    """One sentence per fact about this machine."""
    return [
        f"CPU: {_cpu_model()}, {os.cpu_count()} cores; load average at the start "
        + " / ".join(f"{load:.2f}" for load in os.getloadavg()),
        f"Kernel: {platform.system()} {platform.release()}; temporary files on {_filesystem_of(tempfile.gettempdir())}",
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        f"Terraform: {terraform_version() or 'none on PATH'}",
    ]


def terraform_version() -> str:
    """The version of the terraform on PATH; empty when there is none."""
    if not shutil.which("terraform"):
        return ""
    told = subprocess.run(
        ["terraform", "version", "-json"], capture_output=True, check=False, env=environment(), text=True
    )
    return str(json.loads(told.stdout)["terraform_version"]) if told.returncode == 0 else "present, but it does not run"


def _cpu_model() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as cpus:
        models = [line.partition(":")[2].strip() for line in cpus if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _filesystem_of(path: str) -> str:
    with open("/proc/mounts", encoding="utf-8") as mounts:
        points = [(line.split()[1], line.split()[2]) for line in mounts]
    real = os.path.realpath(path)
    below = [(point, kind) for point, kind in points if point == "/" or (real + "/").startswith(point + "/")]
    return max(below, key=lambda found: len(found[0]), default=("", "an unknown file system"))[1]
