"""The console sink: one JSON object per line for every notification, on standard output.

Standard output, because standard error is the log. The lines are ASCII: whatever a notification holds, it
cannot steer the terminal that shows it. Keys are those of `journal list --json` where both have them.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import TextIO

from msgspec import structs

from ..domain.notification import Notification
from ..domain.outbox import Outcome, OutcomeKind


class ConsoleSink:
    """Writes notifications to a text stream; the stream is not closed with the sink."""

    def __init__(self, name: str, stream: TextIO | None = None) -> None:
        self.name = name
        self._stream = stream or sys.stdout
        self._lock = threading.Lock()  # a line is written whole, whoever else writes
        self._closed = False

    def wants(self, notification: Notification) -> bool:
        """True: a console can be told everything."""
        return True

    def send(self, notification: Notification) -> Outcome:
        """Write one line and flush it; a stream that takes nothing any more makes the console unavailable.

        Such an outcome is ambiguous: a part may have been written, and the rest may still be buffered.
        """
        told = structs.asdict(notification)
        del told["workflow"]  # its token is nobody's but Service Catalog's
        told |= {"outputs": dict(notification.outputs), "omitted": dict(notification.omitted)}
        line = json.dumps(told) + "\n"
        with self._lock:
            if self._closed:
                return Outcome(OutcomeKind.UNAVAILABLE, "SinkClosed")
            try:
                self._stream.write(line)
                self._stream.flush()
            except (OSError, ValueError) as error:  # ValueError: somebody closed the stream
                return Outcome(OutcomeKind.UNAVAILABLE, type(error).__name__, ambiguous=True)
        return Outcome(OutcomeKind.ACCEPTED)

    def close(self) -> None:
        """Take no more notifications."""
        with self._lock:
            self._closed = True
