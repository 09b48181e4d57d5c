"""Writes what shells and man(1) know of the command line, from the parser that `--help` is printed by.

usage: generate_shell.py DIRECTORY
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

import shtab
from argparse_manpage.manpage import Manpage

from proton_tf_agent import __version__, cli
from proton_tf_agent.command_line import SHELLS

_ABOUT = {
    "prog": "proton-tf-agent", "project_name": "proton-tf-agent", "version": __version__, "manual_section": 1,
    "manual_title": "proton-tf-agent", "description": "tells AWS Proton what became of Terraform runs",
}  # fmt: skip


_WRITTEN = datetime(2026, 11, 30, tzinfo=UTC)  # that the page does not change with the day


def written(form: str) -> str:
    """The file for a shell, or the manual page."""
    parser = cli.parser()
    if form == "man":
        return str(Manpage(parser, _data=_ABOUT, format="single-commands-section")).rstrip() + "\n"
    return str(shtab.complete(parser, form)).rstrip() + "\n"


def main() -> None:
    os.environ |= {"COLUMNS": "100", "SOURCE_DATE_EPOCH": f"{_WRITTEN.timestamp():.0f}"}
    for form in SHELLS:
        with open(f"{sys.argv[1]}/{form}", "w", encoding="utf-8") as file:
            file.write(written(form))


if __name__ == "__main__":
    main()
