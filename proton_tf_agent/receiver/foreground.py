"""The receiver in the foreground, for the command line: one line for each accepted notification, until a signal."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable

from ..domain.printable import printable
from .endpoint import Receiver
from .faults import Fault
from .ledger import Record, json_line

_TICK = 0.5  # seconds between two looks at whether anybody still reads what is told


def human_line(record: Record) -> str:
    """A record as one line for a person. What came over the wire is quoted, so it cannot steer the terminal."""
    at = time.strftime("%H:%M:%S", time.localtime(record.received_at))
    told = f"{record.status or 'no status'}, {len(record.outputs)} outputs, {json.dumps(record.status_message or '')}"
    hidden = "" if record.outcome == "accepted" else f" [{record.outcome}]"
    return printable(f"{at} #{record.number} {record.resource_arn} {record.deployment_id or '-'}: {told}{hidden}")


def serve(
    host: str,
    port: int,
    fault_name: str | None = None,
    *,
    emit: Callable[[str], None],
    on_listening: Callable[[str], None] | None = None,
    as_json: bool = False,
    journal_path: str | None = None,
    times: int | None = None,
    allow_remote: bool = False,
) -> signal.Signals | None:
    """Run a receiver until SIGINT or SIGTERM, which is returned; None when `emit` raised OSError (nobody reads).

    emit is called with one line per accepted notification, on_listening once with the URL. Main thread only.
    Raises what `Fault.named` and `Receiver` raise.
    """
    unheard = threading.Event()

    def tell(record: Record) -> None:
        try:
            emit(json_line(record) if as_json else human_line(record))
        except OSError:
            unheard.set()

    fault = Fault.named(fault_name) if fault_name else None
    numbers = (signal.SIGINT, signal.SIGTERM)
    # Blocked and waited for: a handler could interrupt this thread inside a lock that it would then wait for itself.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        with Receiver(host, port, journal_path, tell, allow_remote=allow_remote) as receiver:
            if fault is not None:
                receiver.fail(fault, times)
            if on_listening is not None:
                on_listening(receiver.url)
            while not unheard.is_set():
                caught = signal.sigtimedwait(numbers, _TICK)
                if caught is not None:
                    return signal.Signals(caught.si_signo)
            return None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
