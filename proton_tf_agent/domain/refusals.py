"""Why an input is not taken: one row for each stable code, what it means and what a person can do.

The codes are a contract: `source.unreadable` and `binding.refused` carry them, a run's reason for being unbound begins
with one, `status` and `explain` show them with their row, and docs/bad-input.md tells which input leads to which. Which
code it is decides whoever looks (`sources`, `domain.binding`); a reason that is no code, of a record in the spool or a
state in S3, is its own explanation. One rule is common to all: the run stays what it was known to be, others go on, and
a later good version is read.
"""

from __future__ import annotations

from collections.abc import Mapping

from .binding import code_in
from .explanations import Explanation

_REWRITE = "let whoever writes the file write it again; it is read when it changes"
_PROTONS_FILE = "restore .proton/deployment-metadata.json as Proton committed it; the next run is bound by it"

REFUSALS: Mapping[str, Explanation] = {
    # the file itself
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
        "it, or a line of it, is larger than any of its kind, or would take too much memory to read",
        "nothing, unless a run was to be told: begin a new log for each run",
    ),
    "E_TOO_MANY": Explanation(
        "so much lies in or below the directory that the rest of it is not looked through",
        "clear it, or name the run directories below it as [[watch]]es of their own",
    ),
    # what is in it
    "E_EMPTY": Explanation("it has been empty for a minute", _REWRITE),
    "E_PARTIAL": Explanation("it ends in mid-document, and nobody has gone on writing it for a minute", _REWRITE),
    "E_UTF8": Explanation("it is not UTF-8", "write it as UTF-8"),
    "E_JSON": Explanation("it is not JSON", _REWRITE),
    "E_JSON_NUM": Explanation("it holds NaN or an infinity, which JSON has not", _REWRITE),
    "E_JSON_DUPKEY": Explanation(
        "a key occurs twice in it, so nobody can tell which value is meant",
        "write each key once; deployment metadata are right as Proton committed them. The next run is bound by it",
    ),
    "E_JSON_DEPTH": Explanation("it is nested more deeply than any tool writes it", _REWRITE),
    "E_SCHEMA": Explanation("it is JSON, but not of the shape that such a file has", _REWRITE),
    "E_STATE_VERSION": Explanation(
        "the state is of a version that this agent does not read (it reads version 4)",
        "nothing for runs with a JSON log; otherwise look for a newer agent",
    ),
    # whose run it is (domain.binding)
    "E_ARN": Explanation("what it names as a resource is no ARN of a Proton resource", _PROTONS_FILE),
    "E_ARN_TYPE": Explanation(
        "the ARN is that of something else than an environment, component, service instance or pipeline",
        _PROTONS_FILE,
    ),
    "E_ARN_DENIED": Explanation(
        "a file that a job can write claims a resource for which it may not speak",
        "look who wrote it; if it is right, add the ARN to [allow] resource_arns, or a [[sink]] for its region",
    ),
    "E_DEPLOYMENT_ID": Explanation("its deploymentId is missing or no UUID in lower case", _PROTONS_FILE),
    "E_META_DUP": Explanation(
        "a run in another directory is under way for the very same deployment",
        "nothing if that one is right: this one is told when that has ended; else find out who copied the metadata",
    ),
    "E_META_OLD": Explanation(
        "the deployment had ended before a newer one of the resource was told: its metadata was rolled back",
        "commit the metadata of the newest deployment, or let Proton deploy again",
    ),
}


def refusal_row(reason: str | None) -> dict[str, str] | None:
    """What a reason that begins with a code comes to, as part of a row of the read model; None where it has no code."""
    code = code_in(reason or "")
    row = REFUSALS.get(code)
    return {"code": code, "means": row.means, "remedy": row.remedy} if row else None
