"""Texts that would steer a terminal or a log, were they shown as they are."""

from __future__ import annotations

_ESCAPES = (
    "\x1b[31m",
    "\x1b[38;5;123m",
    "\x1b[2J\x1b[H",
    "\x1b[1A\x1b[2K",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1bP$qm\x1b\\",
    "\x1bc",
    "\x1b(0",
    "\x1b[?1049h",
    "\x1b[6n",
    "\x1b_payload\x1b\\",
)
_CONTROLS = (
    "\x9b31m",
    "\x9d0;t\x9c",
    "\x90q\x9c",
    "\x85",
    "\u2028",
    "\u2029",
    '\n{"event":"forged"}',
    "\r\n",
    "\rover",
    "\x00",
    "\x07",
    "\x08\x08\x08",
    "\x0b",
    "\x0c",
    "\x7f",
    "\t",
)
_INVISIBLE = (
    "\u202egnp.exe",
    "\u202aabc\u202c",
    "\u2066abc\u2069",
    "\u200e\u200f\u061c",
    "\u200b\u2060\ufeff",
    "\u00ad",
    "\ufff9x\ufffb",
    "\U000e0041\U000e007f",
)
_MARKUP = ("[red]markup[/red]", "[link=http://evil]x[/link]", ":smile: [/] [bold", "%s%n{0}{x}")
# Each has its own word in it, so that what became of it can be told.
STEERING = tuple(f"s{n}-{text}-e{n}" for n, text in enumerate((*_ESCAPES, *_CONTROLS, *_INVISIBLE, *_MARKUP)))
NOT_UNICODE = "s-\udcff\udc80\ud800-e"  # as a name of a file that is no UTF-8 comes to us
