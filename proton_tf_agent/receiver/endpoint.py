"""The receiver as its owner sees it: made, told to fail, asked what it has accepted, and closed."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable
from types import TracebackType

from ..domain.errors import AgentError, Problem, UsageInvalid
from ..wire_contract import NOTIFY
from .faults import Fault, FaultKind, Hold
from .ledger import Ledger, Planned, Record
from .wire import IDLE, Server


class Receiver:
    """A running endpoint. Listens when made, ends with `close` or as a context manager.

    journal_path: a file that every record is appended to as one line of JSON (created with mode 0600).
    on_accepted:  called with every record in the order of numbers, before its sender is answered.
    port:         0 for any free one; see `url`.
    allow_remote: listen on other addresses than loopback; anybody who reaches them can then write records.
    Raises UsageInvalid for an address that is not loopback, AgentError when it is taken.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        journal_path: str | None = None,
        on_accepted: Callable[[Record], None] | None = None,
        *,
        allow_remote: bool = False,
    ) -> None:
        if not allow_remote and not is_loopback(host):
            what = "the receiver checks no signatures and listens on a literal loopback address only"
            raise UsageInvalid(Problem(what, host, "use 127.0.0.1 or ::1"))
        self._ledger = Ledger(journal_path, on_accepted)
        try:
            self._server = Server((host, port), self._ledger)
        except (OSError, OverflowError) as error:
            self._ledger.close()
            why = getattr(error, "strerror", None) or str(error)
            raise AgentError(Problem(f"cannot listen: {why}", f"{host}:{port}", "choose another port")) from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(IDLE,), name="receiver", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens, for `endpoint_url`."""
        host, port = self._server.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    @property
    def requests(self) -> int:
        """How many requests have come in whole, accepted or not."""
        return self._ledger.requests

    def records(self) -> tuple[Record, ...]:
        """What has been accepted so far, in order."""
        with self._ledger.changed:
            return tuple(self._ledger.records)

    def wait_for(self, predicate: Callable[[tuple[Record, ...]], bool], deadline_s: float) -> tuple[Record, ...]:
        """Wait until the records satisfy the predicate, and return them. Raises TimeoutError after deadline_s."""
        with self._ledger.changed:
            if not self._ledger.changed.wait_for(lambda: predicate(tuple(self._ledger.records)), deadline_s):
                raise TimeoutError(f"not within {deadline_s:g} s; {len(self._ledger.records)} records came")
            return tuple(self._ledger.records)

    def fail(
        self,
        fault: Fault | FaultKind,
        times: int | None = None,
        resource_arn: str | None = None,
        operation: str = NOTIFY,
    ) -> None:
        """Fail the next `times` valid requests (None: until `clear`), of that resource ARN only if one is given."""
        planned = Planned(fault if isinstance(fault, Fault) else Fault(fault), operation, resource_arn, times)
        with self._ledger.changed:
            self._ledger.planned.append(planned)

    def hold(self, times: int | None = None, resource_arn: str | None = None) -> Hold:
        """Hold back the next `times` notifications, as `fail` does, until what is returned says what becomes of them.

        A request is accepted, if at all, when it is released, however long after its sender has gone.
        """
        hold = Hold(self._ledger.changed)
        self.fail(Fault(FaultKind.HOLD, hold=hold), times, resource_arn)
        return hold

    def set_deployment(self, resource_arn: str, deployment_id: str, status: str) -> None:
        """Stand in for Proton: from now on the deployment has this status, such as CANCELLED. A new one is the last."""
        with self._ledger.changed:
            self._ledger.deployments.note(resource_arn, deployment_id, status, time.time())

    def clear(self) -> None:
        """Forget all failures still to come."""
        with self._ledger.changed:
            self._ledger.planned.clear()

    def close(self) -> None:
        """Stop listening, end all connections and wait for their threads. May be called twice."""
        if not self._ledger.closing.is_set():
            self._ledger.begin_closing()
            self._server.stop()
            self._thread.join()
            self._ledger.close()

    def __enter__(self) -> Receiver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def is_loopback(host: str) -> bool:
    """Whether host is written as a loopback address; names do not count, they can be made to mean anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
