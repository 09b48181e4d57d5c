"""Plays `proton-tf-agent demo` in a terminal and writes what it showed as a picture.

usage: record_demo.py FILE.svg
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios

from rich.console import Console
from rich.text import Text

COLUMNS = 130  # no line of it is longer
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def play() -> str:
    """What the demo shows on a terminal, with its colours as escape sequences."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")}
    environment["TERM"] = "xterm-256color"
    command = [sys.executable, "-m", "proton_tf_agent", "demo"]
    demo = subprocess.Popen(  # noqa: S603 - ourselves
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=environment
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # nobody has the terminal open any more
        pass
    os.close(ours)
    if demo.wait():
        raise SystemExit(shown.decode())
    return shown.decode().replace("\r\n", "\n")


def picture(shown: str) -> str:
    """What a terminal showed, as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    text = re.sub(r"\n *\n(?= *\n)", "\n", shown.strip("\n"))  # of blank lines one will do
    console.print(Text.from_ansi(f"$ make demo\n\n{text}"))
    svg = console.export_svg(title="proton-tf-agent", unique_id="demo")
    # It asks nobody for a font: whoever looks at it has one of fixed width.
    return _FONT.sub("", svg).replace("Fira Code", "ui-monospace").replace("<svg ", '<svg xml:space="preserve" ', 1)


def main() -> None:
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write(picture(play()) + "\n")


if __name__ == "__main__":
    main()
