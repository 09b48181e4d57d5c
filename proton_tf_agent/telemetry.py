"""How the daemon speaks: structured log lines on stderr, and to systemd by sd_notify.

One JSON object per line, ASCII only, whatever foreign text is in it. Names are `noun.past` and listed with their
keys in docs/logging.md; a test holds that list and the code together. Loggers of libraries are pinned to warnings:
botocore's debug log carries whole request bodies. What they still say, and what nobody has caught, becomes a line like
any other, without the text of an exception: that may hold whatever was read.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TextIO

import structlog

from .domain.binding import code_in
from .domain.errors import described
from .domain.printable import printable
from .domain.redaction import NOTHING_TAINTED, scrub

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_DISPLAYED_AS_WARNING = frozenset({
    "journal.renewed", "journal.short", "library.warned", "metrics.failed", "notification.parked",
    "notification.reduced", "notification.suspected", "settings.kept", "settings.questionable", "settings.refused",
    "sink.held", "sink.paused", "source.unreadable", "watch.degraded", "watch.overflowed",
})  # fmt: skip
_DISPLAYED_AS_ERROR = frozenset({
    "agent.failed", "agent.stalled", "binding.refused", "journal.damaged", "journal.full", "journal.salvaged",
    "sink.gone", "thread.failed",
})  # fmt: skip
_DISPLAYED_AS_CRITICAL = frozenset({"notification.withheld"})
# Somebody tries to speak for what is not his, where other refusals are mistakes: docs/bad-input.md, 49.
_CRITICAL_REFUSALS = frozenset({"E_ARN_DENIED"})
_LONGEST_WARNING = 300
_DISPLAYED_AS = {
    "warning": _DISPLAYED_AS_WARNING, "error": _DISPLAYED_AS_ERROR, "critical": _DISPLAYED_AS_CRITICAL,
}  # fmt: skip
_LIBRARIES = ("botocore", "boto3", "urllib3", "watchdog")


class Log:
    """The daemon's log. tell(name, keys) writes one line."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def tell(self, name: str, keys: Any = None) -> None:
        """Write one line: an event name of docs/logging.md and its keys; keys without a value are left out."""
        named = {key: value for key, value in (keys or {}).items() if value is not None}
        with contextlib.suppress(OSError, ValueError):  # a log that nobody reads any more must not stop the agent
            getattr(self._logger, _level_of(name, named))(name, **named)


def _level_of(name: str, keys: Mapping[str, object]) -> str:
    if name == "binding.refused" and code_in(str(keys.get("reason", ""))) in _CRITICAL_REFUSALS:
        return "critical"
    return next((level for level, names in _DISPLAYED_AS.items() if name in names), "info")


def configure(level: str, form: str, stream: TextIO | None = None) -> Log:
    """Set up logging for the process. form is `json` (for machines) or `console` (for a person's terminal)."""
    stream = stream or sys.stderr
    processors: list[Any] = [structlog.processors.add_log_level]
    if "JOURNAL_STREAM" not in os.environ:  # journald dates lines itself
        processors.append(structlog.processors.TimeStamper(fmt="iso", utc=True))
    processors.append(structlog.processors.format_exc_info)
    if form == "console":
        processors.append(_printable)
        processors.append(structlog.dev.ConsoleRenderer(colors=stream.isatty()))
    else:
        processors.append(structlog.processors.JSONRenderer(serializer=_serialise))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    for library in _LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)
    return Log(structlog.get_logger())


def speak_for_all(log: Log) -> None:
    """Let this process say nothing but lines of its log: what libraries warn of, and what nobody has caught."""
    logging.captureWarnings(True)
    logging.basicConfig(handlers=[_Warnings(log)], level=logging.WARNING, force=True)

    def of_thread(failed: threading.ExceptHookArgs) -> None:
        part = failed.thread.name if failed.thread else "thread"
        log.tell("thread.failed", {"part": part, "reason": _uncaught(failed.exc_value, failed.exc_type)})

    def of_program(kind: type[BaseException], error: BaseException, _at: TracebackType | None) -> None:
        log.tell("agent.failed", {"part": "main", "reason": _uncaught(error, kind)})

    def of_finaliser(failed: sys.UnraisableHookArgs) -> None:
        log.tell("thread.failed", {"part": "finaliser", "reason": _uncaught(failed.exc_value, failed.exc_type)})

    threading.excepthook, sys.excepthook, sys.unraisablehook = of_thread, of_program, of_finaliser


class _Warnings(logging.Handler):
    """What a library has to say: one bounded line without credentials."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            said = scrub(record.getMessage(), NOTHING_TAINTED, _LONGEST_WARNING)
        except Exception as error:  # noqa: BLE001, RUF100 - a library's own mistake
            said = described(error)
        self._log.tell("library.warned", {"library": record.name, "reason": said})


def _uncaught(error: BaseException | None, kind: type[BaseException]) -> str:
    return described(error) if error is not None else kind.__name__


def _printable(_logger: Any, _level: str, line: dict[str, Any]) -> dict[str, Any]:
    """Foreign text in a line for a terminal: structlog shows a string without blanks as it is."""
    return {key: printable(value) if isinstance(value, str) else value for key, value in line.items()}


def _serialise(value: Any, **_options: Any) -> str:
    """JSON with every non-ASCII and control character escaped: no foreign text can forge or break a line."""
    return json.dumps(value, default=repr, separators=(",", ":"))


def status_line(roots: int, runs_open: int, waiting: int, parked: int, *, degraded: str, refused: bool) -> str:
    """How the daemon does, in one line for `systemctl status`: numbers, and no foreign text."""
    parts = [f"watching {_counted(roots, 'root')}, {_counted(runs_open, 'run')} open"]
    parts.append(f"{_counted(waiting, 'notification')} to be told" if waiting else "nothing left to be told")
    if parked:
        parts[-1] += f", {parked} parked"
    if degraded:
        parts.insert(0, f"degraded: {degraded}")
    if refused:
        parts.append("the settings file was refused at the last reload, the settings before it are in force")
    return "; ".join(parts)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def notify_systemd(*assignments: str) -> None:
    """sd_notify(3): tell systemd `READY=1`, `STOPPING=1`, `STATUS=...`; nothing when not run by it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto("\n".join(assignments).encode(), address)
        except OSError:
            return  # a supervisor that does not listen must not stop the agent
