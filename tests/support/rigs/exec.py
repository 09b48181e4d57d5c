"""A program of the operator's: a shell script that appends its standard input to a file, or does what a fault says."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator

from proton_tf_agent.sinks import sink_type

from .rig import Rig

TAKES = 'said=$(cat); printf "%s\\n" "$said" >>{log}'
BODIES = {
    "EXIT_1": "exit 1",
    "EXIT_75": "exit 75",
    "EXIT_75_AFTER_READING": "cat >/dev/null; exit 75",
    "SIGNAL": "kill -9 $$",
    "HANGS": "trap '' TERM; while :; do sleep 1; done",
    "TAKES_AND_HANGS": TAKES + "; sleep 600",
}
FAULTS = (
    *BODIES,
    "PROGRAM_GONE",
    "NOT_EXECUTABLE",
    "NO_INTERPRETER",
    "OPEN_TO_OTHERS",
    "BELOW_WATCH_ROOT",
    "A_DIRECTORY",
)


def write_program(path: str, body: str, interpreter: str = "/bin/sh") -> None:
    """A program that only its owner may write."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(f"#!{interpreter}\n{body}\n")
    os.chmod(path + ".new", 0o755)
    os.replace(path + ".new", path)


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    with tempfile.TemporaryDirectory() as directory:
        path, log = os.path.join(directory, "tell"), os.path.join(directory, "log")
        roots = [os.path.join(directory, "watched")]
        os.mkdir(roots[0])
        write_program(path, TAKES.format(log=log))

        def told() -> list[str]:
            if not os.path.exists(log):
                return []
            with open(log, encoding="ascii") as file:
                return [json.loads(line)["data"]["status_message"] for line in file]

        def move_below_root() -> None:
            os.rename(path, os.path.join(roots[0], "tell"))
            os.symlink(os.path.join(roots[0], "tell"), path)

        def become_a_directory() -> None:
            os.unlink(path)
            os.mkdir(path)

        faults: dict[str, Callable[[], object]] = {
            name: lambda body=body: write_program(path, body.format(log=log))  # type: ignore[misc]
            for name, body in BODIES.items()
        }
        faults |= {
            "PROGRAM_GONE": lambda: os.unlink(path),
            "NOT_EXECUTABLE": lambda: os.chmod(path, 0o644),
            "NO_INTERPRETER": lambda: write_program(path, "", "/nowhere/sh"),
            "OPEN_TO_OTHERS": lambda: os.chmod(path, 0o775),
            "BELOW_WATCH_ROOT": move_below_root,
            "A_DIRECTORY": become_a_directory,
        }
        sink = sink_type("exec")("exec", path, ["--a", "b"], 0.5, roots, "proton-tf-agent://here")
        yield Rig(sink, told, faults)
        sink.close()
