"""A program that swaps things below a directory for each other as fast as the kernel does it, until it is killed.

DIRECTORY/here        a directory with an apply.log   <->  a link to OUTSIDE (which has an apply.log, too)
DIRECTORY/apply.log   a file                          <->  a link to OUTSIDE/secret
DIRECTORY/linked.log  a file                          <->  a hard link to OUTSIDE/secret
"""

from __future__ import annotations

import ctypes
import os
import sys

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_libc = ctypes.CDLL(None, use_errno=True)


def _make(directory: str, outside: str) -> list[tuple[bytes, bytes]]:
    os.mkdir(f"{directory}/here")
    for path in (f"{directory}/here/apply.log", f"{directory}/apply.log", f"{directory}/linked.log"):
        with open(path, "w", encoding="ascii") as file:
            file.write("mine\n")
    with open(f"{outside}/secret", "rb") as secret, open(f"{outside}/apply.log", "wb") as copy:
        copy.write(secret.read())
    os.symlink(outside, f"{directory}/.here")
    os.symlink(f"{outside}/secret", f"{directory}/.apply")
    os.link(f"{outside}/secret", f"{directory}/.linked")
    pairs = (("here", ".here"), ("apply.log", ".apply"), ("linked.log", ".linked"))
    return [(f"{directory}/{one}".encode(), f"{directory}/{other}".encode()) for one, other in pairs]


def main(directory: str, outside: str) -> None:
    os.nice(10)  # whoever is raced against may need the processor
    pairs = _make(directory, outside)
    swap = _libc.renameat2
    for one, other in pairs:
        if swap(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE):
            raise OSError(ctypes.get_errno(), "renameat2")
    print("swapping", flush=True)
    while True:
        for one, other in pairs:
            swap(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE)


if __name__ == "__main__":
    main(*sys.argv[1:])
