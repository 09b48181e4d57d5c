"""The console, with a pipe behind it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator

from proton_tf_agent.sinks import sink_type

from .rig import Rig

FAULTS = ("READER_GONE", "STREAM_CLOSED", "DISK_FULL")


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1024 * 1024)
    os.set_blocking(reading, False)
    stream = open(writing, "w", encoding="ascii")  # noqa: SIM115 - some faults close it
    readers = [reading]

    def told() -> list[str]:
        return [json.loads(line)["status_message"] for line in os.read(reading, 1024 * 1024).splitlines()]

    def fill_disk() -> None:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, writing)
        os.close(full)

    faults: dict[str, Callable[[], object]] = {
        "READER_GONE": lambda: os.close(readers.pop()),
        "STREAM_CLOSED": stream.close,
        "DISK_FULL": fill_disk,
    }
    sink = sink_type("console")("console", stream)
    yield Rig(sink, told, faults)
    sink.close()
    with contextlib.suppress(OSError):
        stream.close()
    for descriptor in readers:
        os.close(descriptor)
