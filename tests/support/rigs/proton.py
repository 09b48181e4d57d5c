"""Proton, with the receiver behind it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

from proton_tf_agent.receiver import Fault, FaultKind, Receiver
from proton_tf_agent.sinks import sink_type

from .rig import Rig

FAULTS = (*(kind.name for kind in FaultKind), "NOBODY_LISTENS")


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    with Receiver() as receiver:
        sink = sink_type("proton")("proton", "eu-west-1", receiver.url, read_timeout=2.0, read_back=True)
        faults: dict[str, Callable[[], object]] = {
            kind.name: functools.partial(receiver.fail, Fault(kind, delay=60)) for kind in FaultKind
        }
        faults["NOBODY_LISTENS"] = receiver.close
        yield Rig(sink, lambda: [record.status_message or "" for record in receiver.records()], faults)
        sink.close()
