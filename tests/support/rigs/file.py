"""A file, in a directory of its own; what fails it is the kernel, at its real limits."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import tempfile
from collections.abc import Callable, Iterator

from proton_tf_agent.sinks import sink_type

from .rig import Rig

FAULTS = ("FILE_TOO_LARGE", "DIRECTORY_GONE", "LINK", "DIRECTORY", "FIFO", "OPEN_TO_OTHERS", "NO_LINES", "READ_ONLY")


@contextlib.contextmanager
def size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: a write is cut there, and the next one fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as faulty:
        path = os.path.join(directory, "told", "told.jsonl")
        os.mkdir(os.path.dirname(path))

        def told() -> list[str]:
            if not os.path.isfile(path):
                return []
            with open(path, "rb") as file:
                return [
                    json.loads(line)["data"]["status_message"]
                    for line in file.read().splitlines()
                    if line.startswith(b"{")
                ]

        def put(content: bytes, mode: int) -> None:
            with open(path, "wb") as file:
                file.write(content)
            os.chmod(path, mode)

        faults: dict[str, Callable[[], object]] = {
            "FILE_TOO_LARGE": lambda: faulty.enter_context(size_limit(100)),
            "DIRECTORY_GONE": lambda: os.rmdir(os.path.dirname(path)),
            "LINK": lambda: os.symlink(os.path.join(directory, "elsewhere"), path),
            "DIRECTORY": lambda: os.mkdir(path),
            "FIFO": lambda: os.mkfifo(path, 0o600),
            "OPEN_TO_OTHERS": lambda: put(b"", 0o644),
            "NO_LINES": lambda: put(b"ELF, say", 0o600),
            "READ_ONLY": lambda: _be_proc(os.path.dirname(path)),
        }
        sink = sink_type("file")("file", path, 16 << 20, 3, "proton-tf-agent://here")
        yield Rig(sink, told, faults)
        sink.close()


def _be_proc(directory: str) -> None:
    """Let an empty directory become a place where nobody can make a file, root neither."""
    os.rmdir(directory)
    os.symlink("/proc/self", directory)
