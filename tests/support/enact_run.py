"""Be Terraform: write a recorded JSON log line by line and hold a real lock on a real state file meanwhile.

The one argument is a JSON object: log, state (paths), lines, lock_info, final_state, unlock_before (how many lines
are written when the lock is given back; more than there are: never), written_at (the time the log then has). On stdin
come numbers of lines to write; each is answered with the number of lines left. With none left the process ends, or
waits to be killed if its lock was never given back.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys


def main(document: str) -> None:
    """Write when told to."""
    run = json.loads(document)
    directory, _, name = run["state"].rpartition("/")
    lock_info = f"{directory}/.{name}.lock.info"
    log = os.open(run["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    state = -1
    written = 0
    for asked in sys.stdin:
        for line in run["lines"][written : written + int(asked)]:
            if written == run["unlock_before"]:
                os.ftruncate(state, 0)
                os.pwrite(state, run["final_state"].encode(), 0)
                os.unlink(lock_info)
                fcntl.lockf(state, fcntl.LOCK_UN)
                os.close(state)
            os.write(log, line.encode())
            written += 1
            if written == 1:  # the version line comes before the lock
                state = os.open(run["state"], os.O_RDWR | os.O_CREAT, 0o644)
                fcntl.lockf(state, fcntl.LOCK_EX | fcntl.LOCK_NB)
                info = os.open(lock_info, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                os.write(info, run["lock_info"].encode())
                os.close(info)
        os.utime(log, (run["written_at"], run["written_at"]))
        left = len(run["lines"]) - written
        print(left, flush=True)
        if not left and run["unlock_before"] < len(run["lines"]):
            return


if __name__ == "__main__":
    main(sys.argv[1])
