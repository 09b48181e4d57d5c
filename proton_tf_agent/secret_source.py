"""Where secrets of sinks are: in a file, a variable or a credential of systemd, never in the settings.

A reference names the place (`file:/etc/hook.key`, `env:HOOK_KEY`, `credential:hook`); it is read each time the secret
is needed, so that one that is replaced is used at once. Nothing here keeps or logs what it has read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

_MOST = 64 * 1024
_CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd.exec(5), LoadCredential=


class SecretMissing(Exception):
    """A secret cannot be read. code says why, in a word, and holds nothing of it."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


def read_secret(reference: str, environ: Mapping[str, str] = os.environ) -> str:
    """The secret at a place, without blanks around it. SecretMissing when there is none, or others may read it."""
    kind, _, place = reference.partition(":")
    if kind == "env":
        found = environ.get(place, "")
    elif kind == "credential":
        if _CREDENTIALS not in environ:
            raise SecretMissing("CredentialMissing")
        found = _content(os.path.join(environ[_CREDENTIALS], os.path.basename(place)))
    else:
        found = _content(place)
    if not found.strip():
        raise SecretMissing("SecretEmpty")
    return found.strip()


def _content(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        raise SecretMissing("SecretUnreadable") from None
    with open(fd, "rb") as file:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise SecretMissing("SecretUnreadable")
        if mode & stat.S_IRWXO:
            raise SecretMissing("SecretOpenToOthers")
        try:
            return file.read(_MOST).decode("utf-8")
        except (OSError, UnicodeDecodeError):
            raise SecretMissing("SecretUnreadable") from None
