"""Where the program begins: `proton-tf-agent ...` and `python -m proton_tf_agent ...`.

`exec` goes its own way before anything else is imported: it stands in front of somebody's command.
"""

from __future__ import annotations

import sys

_ASKS_FOR_HELP = (["-h"], ["--help"])


def main() -> int:
    """Run one command; returns its exit code."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["exec"] and arguments[1:2] not in _ASKS_FOR_HELP:
        from . import wrapper

        return wrapper.run(arguments[1:])
    from . import cli

    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
