"""Why something below a watched root is not read: one row for each stable code, what it means and what a person can do.

The codes are a contract: `source.unreadable` carries them, `status` and `explain` show them with their row, and
docs/bad-input.md tells which input leads to which. Which code it is decides whoever looks (`sources`); a reason that is
no code, of a record in the spool or a state in S3, is its own explanation.
"""

from __future__ import annotations

from collections.abc import Mapping

from .explanations import Explanation

REFUSALS: Mapping[str, Explanation] = {
    "E_DEPTH": Explanation(
        "the directory lies too deep below its watched root", "name it, or one above it, as a [[watch]] of its own"
    ),
    "E_IO": Explanation("the disk or the file server fails", "look at the kernel's log; it is tried again"),
    "E_MOUNT": Explanation(
        "a file system is mounted there, and what is mounted may never answer",
        "set `mounts = true` for the [[watch]] if it belongs to the runs",
    ),
    "E_NAME": Explanation(
        "its name is not UTF-8: it could be neither kept nor shown", "rename it, or the directory it lies in"
    ),
    "E_NOT_REGULAR": Explanation(
        "it is a FIFO, a socket, a device or a directory, where a file is expected",
        "nothing, unless a run was to be told: let its log be a regular file",
    ),
    "E_OWNER": Explanation(
        "it is, or may be, the file of a user who has no business there: a hard link, or private to somebody else",
        "find out how it came there; a user who may write there belongs into `owners` of the [[watch]]",
    ),
    "E_PATH": Explanation("its path is longer than the kernel takes, or leads elsewhere", "shorten the path"),
    "E_PERM": Explanation(
        "the agent may not read it", "let the agent's user read it, through a group or an ACL; it is then read at once"
    ),
    "E_SYMLINK": Explanation(
        "a symbolic link lies on the way to it, and links are not followed below a watched root",
        "watch the directory that the link leads to, or write the log where it is to be read",
    ),
    "E_TOO_LARGE": Explanation(
        "it is larger than any file of its kind", "nothing, unless a run was to be told: begin a new log for each run"
    ),
    "E_TOO_MANY": Explanation(
        "so much lies in or below the directory that the rest of it is not looked through",
        "clear it, or name the run directories below it as [[watch]]es of their own",
    ),
}
