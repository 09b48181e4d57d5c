"""What is in the daemon's memory stays there: credentials, and the sensitive values of the runs it looks at.

No core is written when it crashes, and no other process of its user reads its memory, its environment or its
descriptors (prctl(2), PR_SET_DUMPABLE: /proc/PID is root's then). The daemon itself needs none of that of its own; of
others it reads what their own attribute allows. A core that the kernel pipes into a program is no file, and RLIMIT_CORE
does not hold it back (core(5)): hence both.
"""

from __future__ import annotations

import ctypes
import resource
from contextlib import suppress

_PR_SET_DUMPABLE = 4


def keep_private() -> None:
    """Write no core, and let nobody look in but root."""
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
