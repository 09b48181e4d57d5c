"""What the sections of bad content share: a run that is open, something bad in one of its files, and what mends it.

No section itself. What is planted is as old as if it had stood still for an hour: what is torn for a moment only is
nobody's concern.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proton_tf_agent.sources.states import PASSING

from .enactors import moved
from .facts import LOGS
from .hostile import DEPLOYMENT_ID, Case, Ground

METADATA = ".proton/deployment-metadata.json"
STATE = "terraform.tfstate"
LOCK = ".terraform.tfstate.lock.info"
LOG = "apply.log"
_OPEN = 8  # lines: planned, nothing applied yet
AN_HOUR_S = 3600.0


def whole_log(name: str = "apply_ok.log") -> list[str]:
    """The lines of a recorded JSON log, as if its run had begun a moment ago."""
    return moved((LOGS / name).read_text("utf-8"), time.time()).splitlines(keepends=True)


def good_state() -> bytes:
    return (LOGS / "apply_ok.tfstate").read_bytes()


def metadata(arn: object, deployment_id: object = DEPLOYMENT_ID, **other: object) -> dict[str, object]:
    """Deployment metadata as Proton writes them; `...` leaves a member out."""
    document = {"deploymentId": deployment_id, "isResourceDeleted": False, "resourceMetadata": {"arn": arn}} | other
    return {name: value for name, value in document.items() if value is not ...}


def put(ground: Ground, name: str, content: bytes) -> Path:
    """A file that was written an hour ago."""
    path = ground.directory / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    long_ago = time.time() - AN_HOUR_S
    os.utime(path, (long_ago, long_ago))
    return path


def begin(ground: Ground, log: list[str]) -> None:
    """A run that is under way."""
    (ground.directory / LOG).write_text("".join(log[:_OPEN]), "utf-8")


def go_on(ground: Ground, log: list[str]) -> None:
    """The rest of it."""
    with open(ground.directory / LOG, "a", encoding="utf-8") as file:
        file.write("".join(log[_OPEN:]))


@dataclass(frozen=True, slots=True)
class Content(Case):
    """A bad content. refuses: the code with which the run's binding is refused (`binding.refused`). mend: puts a good
    version in its place while the run is open; with it, and the rest of its log, it must succeed in the end. late: the
    code with which it is reported once it has stood still for a minute. outputs: those that Proton must hear of in the
    end, None for those of the recorded log; omitted: names that its message must say are missing."""

    refuses: str = ""
    mend: Callable[[Ground], object] | None = None
    late: str = ""
    outputs: tuple[tuple[str, str], ...] | None = None
    omitted: tuple[str, ...] = ()


def in_metadata(number: str, title: str, content: Callable[[str], bytes], refuses: str = "") -> Content:
    """Metadata of a run that is under way. content: makes them for the right ARN."""

    def plant(ground: Ground) -> None:
        put(ground, METADATA, content(ground.resource_arn))
        begin(ground, whole_log())

    return Content(number, title, plant, refuses=refuses, mend=Ground.bind)


def in_document(number: str, title: str, document: Callable[[str], object], refuses: str = "") -> Content:
    """The same, and what is wrong is no matter of JSON."""
    return in_metadata(number, title, lambda arn: json.dumps(document(arn)).encode(), refuses)


def in_state(number: str, title: str, content: bytes | Callable[[], bytes], expects: str = "") -> Content:
    """The state of a run that is under way."""

    def plant(ground: Ground) -> None:
        ground.bind()
        put(ground, STATE, content() if callable(content) else content)
        begin(ground, whole_log())

    def mend(ground: Ground) -> None:
        put(ground, STATE, good_state())

    return _reported(number, title, plant, expects, mend, (STATE,))


def in_lock(number: str, title: str, content: bytes, expects: str = "") -> Content:
    """The lock info of a run that is under way."""

    def plant(ground: Ground) -> None:
        ground.bind()
        put(ground, LOCK, content)
        begin(ground, whole_log())

    return _reported(number, title, plant, expects, lambda ground: os.unlink(ground.directory / LOCK))


def _reported(
    number: str,
    title: str,
    plant: Callable[[Ground], None],
    code: str,
    mend: Callable[[Ground], object],
    hinted: tuple[str, ...] = (),
) -> Content:
    late = code if code in PASSING else ""
    return Content(number, title, plant, "" if late else code, mend=mend, late=late, hinted=hinted)


def in_log(
    number: str,
    title: str,
    spoil: Callable[[list[str]], list[bytes]],
    expects: str = "",
    outputs: tuple[tuple[str, str], ...] | None = None,
    omitted: tuple[str, ...] = (),
) -> Content:
    """The log of a run that has gone well. spoil: makes its lines what they are."""

    def plant(ground: Ground) -> None:
        ground.bind()
        (ground.directory / LOG).write_bytes(b"".join(spoil(whole_log())))

    return Content(number, title, plant, expects, succeeds=True, outputs=outputs, omitted=omitted)


def encoded(lines: list[str]) -> list[bytes]:
    return [line.encode() for line in lines]


def between(*bad: bytes) -> Callable[[list[str]], list[bytes]]:
    """Bad lines in the midst of good ones."""
    return lambda lines: [*encoded(lines[:_OPEN]), *bad, *encoded(lines[_OPEN:])]


def with_outputs(**values: str) -> Callable[[list[str]], list[bytes]]:
    """A log whose final outputs have these JSON texts for their values."""

    def spoil(lines: list[str]) -> list[bytes]:
        return [with_values(line, values) if _tells_outputs(line) else line.encode() for line in lines]

    return spoil


def _tells_outputs(line: str) -> bool:
    found = json.loads(line)
    return found.get("type") == "outputs" and any("value" in output for output in found["outputs"].values())


def with_values(line: str, values: dict[str, str]) -> bytes:
    """The line with other outputs, their values to the letter."""
    found = json.loads(line)
    outputs = ",".join(
        f'{json.dumps(name)}:{{"sensitive":false,"type":"dynamic","value":{text}}}' for name, text in values.items()
    )
    rest = {name: value for name, value in found.items() if name not in ("outputs", "type")}
    return (json.dumps(rest)[:-1] + ',"outputs":{' + outputs + '},"type":"outputs"}\n').encode()
