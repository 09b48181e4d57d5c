"""The errors a person reads: what went wrong, where, why, and what to do about it.

One class for each exit code the command line promises; the docstring of a class is the sentence behind it.
Nothing here prints or logs.
"""

from __future__ import annotations

from typing import NamedTuple

from .printable import printable


class Problem(NamedTuple):
    """One thing that is wrong.

    what:  the complaint, one sentence without a full stop
    where: file, line and key, or a path; empty when there is no place to point at
    hint:  what to do about it; empty when nothing helpful is known
    """

    what: str
    where: str = ""
    hint: str = ""

    def __str__(self) -> str:
        """One line, fit for a terminal: what is foreign in it (a path, a key, a value) cannot steer that."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        return printable(f"{text} ({self.hint})" if self.hint else text)


class AgentError(Exception):
    """Something the agent was asked to do cannot be done."""

    exit_code = 1

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class UsageInvalid(AgentError):
    """The command line asks for something that does not exist or contradicts itself."""

    exit_code = 2


class JournalHeld(AgentError):
    """Another agent works on the same journal."""

    exit_code = 75


class JournalFull(AgentError):
    """There is no room for what is to be written into the journal."""


class SettingsInvalid(AgentError):
    """The settings file cannot be used; every mistake found is listed."""

    exit_code = 78


class JournalUnusable(AgentError):
    """The journal cannot be used: written by a newer agent, damaged, or readable by others."""

    exit_code = 78


class JournalDamaged(JournalUnusable):
    """What is on disk is not what was written; the daemon salvages it when it starts."""


def described(error: BaseException) -> str:
    """An exception that nobody expected: its class and where it was raised, outermost first.

    Not its text, which may hold whatever was read: only the system's own words, and ours.
    """
    if isinstance(error, AgentError):
        return str(error)
    said = error.strerror if isinstance(error, OSError) else None
    places = []
    frame = error.__traceback__
    while frame is not None:
        places.append(f"{frame.tb_frame.f_code.co_filename.rpartition('/')[2]}:{frame.tb_lineno}")
        frame = frame.tb_next
    name = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return f"{name} at {' > '.join(places[-8:])}" if places else name
