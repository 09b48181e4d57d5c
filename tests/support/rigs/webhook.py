"""A webhook, with a server behind it that verifies what it gets."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

from proton_tf_agent.http_request import HttpPlace
from proton_tf_agent.sinks import sink_type

from ..hooks import SECRET, STATUSES, HookReceiver, answered, garbled, hung_up
from .rig import Rig

FAULTS = (*(f"HTTP_{status}" for status in STATUSES), "HUNG_UP", "GARBLED", "NOBODY_LISTENS")


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    receiver = HookReceiver()
    sink = sink_type("webhook")(
        "webhook", HttpPlace(receiver.url, read_timeout=2.0), lambda: [SECRET], "proton-tf-agent://here"
    )
    faults: dict[str, Callable[[], object]] = {
        f"HTTP_{status}": functools.partial(receiver.fail, answered(status, {"Location": "http://127.0.0.1:1/"}))
        for status in STATUSES
    }
    faults |= {"HUNG_UP": lambda: receiver.fail(hung_up), "GARBLED": lambda: receiver.fail(garbled)}
    faults["NOBODY_LISTENS"] = receiver.close
    yield Rig(sink, lambda: [event["data"]["status_message"] for event in receiver.events], faults)
    sink.close()
    receiver.close()
