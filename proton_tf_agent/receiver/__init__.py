"""The receiver: an embedded endpoint that speaks the wire contract of AWS Proton's status notification.

For demos, tests and life without AWS. It judges a request as Proton's own model does, keeps what it accepts
under ascending numbers, says when asked what became of a deployment, and can be told to fail in every way the sink
must survive. It does not check signatures (it has no secrets), only that a request is signed for Proton; so it listens
on loopback only.

What a valid request is stands in `wire_contract`. Here: `faults`, the ways to fail; `deployments`, what is known of
each; `ledger`, what was accepted and which failures are still to come; `wire`, the connections; `endpoint`, the
receiver as its owner sees it; `foreground`, the receiver as a command.
"""

from .endpoint import Receiver
from .faults import REFUSALS, Fault, FaultKind, Hold
from .foreground import human_line, serve
from .ledger import Record, json_line
from .wire import MAX_BODY

__all__ = [
    "MAX_BODY",
    "REFUSALS",
    "Fault",
    "FaultKind",
    "Hold",
    "Receiver",
    "Record",
    "human_line",
    "json_line",
    "serve",
]
