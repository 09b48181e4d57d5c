"""Senders: threads that make requests beside the relay, as many at once as there are threads.

Daemon threads, unlike those of an executor: a request that a server never answers must not hold up the end of the
process. What it was about is in the journal.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

Job = Callable[[], None]


class Senders:
    """Runs jobs, the first that was submitted first. A job must not raise. Threads start when they are first needed."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)

    def submit(self, job: Job) -> None:
        """Run a job as soon as a thread is free. Call from one thread."""
        self._jobs.put(job)
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._most:
            thread = threading.Thread(target=self._work, name=f"sender-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while True:
            self._jobs.get()()
            self._idle.release()
