"""How far the reader of human logs has come, as the text that `Mark.phase` keeps between two looks."""

from __future__ import annotations

import msgspec


class Pending(msgspec.Struct, array_like=True, omit_defaults=True, frozen=True):
    """A line whose meaning the lines behind it complete: a diagnostic, a deletion with its reason, or an outcome that
    another may contradict."""

    kind: str
    position: int
    text: str
    detail: str = ""
    boxed: bool = False


class Phase(msgspec.Struct, array_like=True, omit_defaults=True, frozen=True):
    """How far the reader has come, kept as text in `Mark.phase`.

    stage: one of the words of `human_log`; delimiter: of the heredoc it stands in; tainted: see there; begins: the file
    began anew and its first line will tell whether a new run does, too. closed: nobody wrote the log any more, so that
    its run has said all it had to say. before: what the last line was (the top of a box, a question). due: the plan
    creates, destroys or imports something; changes: what was created, modified and destroyed. warned: a warning without
    a box was printed, and held is what followed it and may be a part of it.
    """

    stage: str = ""
    delimiter: str = ""
    tainted: bool = False
    begins: bool = False
    pending: Pending | None = None
    closed: bool = False
    before: str = ""
    due: bool = False
    changes: tuple[int, int, int] = (0, 0, 0)
    warned: bool = False
    held: tuple[Pending, ...] = ()


def phase_of(text: str) -> Phase:
    """The phase a mark keeps; the very first one when the text is none of ours."""
    if not text:
        return Phase()
    try:
        return msgspec.json.decode(text, type=Phase)
    except (msgspec.MsgspecError, ValueError):
        return Phase()  # a word of an older version


def text_of(phase: Phase) -> str:
    """What a mark keeps of a phase."""
    return "" if phase == Phase() else msgspec.json.encode(phase).decode()
