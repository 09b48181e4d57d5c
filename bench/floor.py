"""The floor of disk to wire, as a process of its own: what any agent must do, and nothing else.

    python floor.py DIRECTORY NOTES PORT

A raw inotify wake on DIRECTORY (ctypes), one append to NOTES with fsync, one POST on a connection kept alive.
Stands alone: it imports nothing of ours, so that no import of ours is in its memory or its time.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import socket
import sys

_IN_MODIFY = 0x2
_REQUEST = {
    "resourceArn": "arn:aws:proton:eu-west-1:123456789012:environment/floor",
    "deploymentId": "fcda9f18-f569-4079-8474-0832f45b97ea",
    "status": "SUCCEEDED",
    "statusMessage": "Apply complete: 3 added, 0 changed, 0 destroyed. 1 not sent: pw (sensitive).",
    "outputs": [{"key": key, "valueString": "x" * 40} for key in ("const", "ids", "last")],
}


def main(directory: str, notes: str, port: int) -> None:
    """Watch until killed; says `ready` once it does."""
    libc = ctypes.CDLL(None, use_errno=True)
    watching = libc.inotify_init1(os.O_CLOEXEC)
    if watching < 0 or libc.inotify_add_watch(watching, os.fsencode(directory), _IN_MODIFY) < 0:
        raise OSError(ctypes.get_errno(), "inotify")
    noting = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    body = json.dumps(_REQUEST).encode()
    print("ready", flush=True)
    while True:
        os.read(watching, 4096)
        os.write(noting, body + b"\n")
        os.fsync(noting)
        connection.request("POST", "/", body, {"Content-Type": "application/x-amz-json-1.0"})
        connection.getresponse().read()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
