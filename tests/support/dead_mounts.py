"""FUSE file systems whose server never answers, or no longer does: what a dead file server looks like to who asks it.

As root; mounts are made in this very mount namespace. Source: linux include/uapi/linux/fuse.h and
Documentation/filesystems/fuse.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import stat
import struct
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_FORGETTING = (2, 42)  # FUSE_FORGET, FUSE_BATCH_FORGET: they wait for no answer
_IN_HEADER = struct.Struct("=IIQQIIIHH")  # len opcode unique nodeid uid gid pid total_extlen padding
_ROOT_NODE, _FILE_NODE = 1, 2
_DIRECTORY_MODE, _FILE_MODE = 0o40755, 0o100666
MOST_BYTES = 1 << 17


def _mount(place: Path, undo: ExitStack) -> int:
    """A connection (a descriptor of /dev/fuse) whose file system is mounted on a directory or a file until `undo`."""
    if not place.exists():
        place.mkdir()
    connection = os.open("/dev/fuse", os.O_RDWR)
    mode = stat.S_IFMT(place.stat().st_mode)
    options = f"fd={connection},rootmode={mode:o},user_id=0,group_id=0,allow_other".encode()
    if _libc.mount(b"dead", str(place).encode(), b"fuse", 0, options):
        raise OSError(ctypes.get_errno(), "mount")
    undo.callback(subprocess.run, ["umount", "--lazy", str(place)], check=False)
    undo.callback(os.close, connection)  # first: whoever waits for an answer gets an error then
    return connection


def mount_what_never_answers(place: Path, undo: ExitStack) -> None:
    """A file system whose server has its connection and reads nothing from it."""
    _mount(place, undo)


class DyingMount:
    """A file system with one file, `held.log` of a given inode number, that can be opened until its server falls
    silent."""

    def __init__(self, place: Path, inode: int, undo: ExitStack) -> None:
        self.file = place / "held.log"
        self._inode = inode
        self._connection = _mount(place, undo)
        self._hush, self._hushed = os.pipe()
        self._server = threading.Thread(target=self._serve, daemon=True)
        undo.callback(os.close, self._hush)
        undo.callback(self.fall_silent)
        self._server.start()

    def fall_silent(self) -> None:
        """Answer nothing from now on; the connection stays."""
        if self._hushed >= 0:
            os.close(self._hushed)
            self._hushed = -1
            self._server.join()

    def _serve(self) -> None:
        while self._hush not in select.select([self._connection, self._hush], [], [])[0]:
            asked = os.read(self._connection, MOST_BYTES)
            _, opcode, unique, node, *_ = _IN_HEADER.unpack_from(asked)
            if opcode not in _FORGETTING:
                answer = self._answer(opcode, node)
                number = 0 if answer else -errno.ENOSYS
                os.write(self._connection, struct.pack("=IiQ", 16 + len(answer), number, unique) + answer)

    def _answer(self, opcode: int, node: int) -> bytes:
        """Nothing is to be remembered of it: it will be asked again."""
        match opcode:
            case 26:  # FUSE_INIT
                return struct.pack("=IIIIHHIIHHI28x", 7, 31, 0, 0, 0, 0, MOST_BYTES // 2, 1, 0, 0, 0)
            case 1:  # FUSE_LOOKUP
                return struct.pack("=QQQQII", _FILE_NODE, 0, 0, 0, 0, 0) + self._attributes(_FILE_NODE)
            case 3:  # FUSE_GETATTR
                return struct.pack("=QII", 0, 0, 0) + self._attributes(node)
            case 14:  # FUSE_OPEN
                return struct.pack("=QII", 0, 0, 0)
        return b""

    def _attributes(self, node: int) -> bytes:
        inode, mode = (1, _DIRECTORY_MODE) if node == _ROOT_NODE else (self._inode, _FILE_MODE)
        return struct.pack("=6Q10I", inode, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)
