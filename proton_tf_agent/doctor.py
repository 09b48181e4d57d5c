"""`doctor`: everything that must be right around the agent, looked at in one go; each finding with what mends it.

Each check looks at one thing, changes nothing and never raises; what cannot be found out is `unknown`, never well, and
so is what does not answer in time: each has a thread of its own, which is left behind then. It sees what its user sees:
run it as the agent's user (`sudo -u proton-tf-agent proton-tf-agent doctor`).
"""

from __future__ import annotations

import os
import pwd
import queue
import shlex
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from . import health
from .domain.errors import AgentError
from .domain.explanations import EXPLANATIONS
from .domain.outbox import OutcomeKind
from .journal_check import Depth, damage
from .journal_file import is_held, is_marked_full
from .service import unit
from .service.host import Host
from .settings import Settings, SinkSettings, SinkType, SpoolSettings, advice
from .sink_assembly import make_sink
from .sink_permissions import Ask, Sureness, ask_aws, is_for_iam, words
from .sinks import Reachable
from .spool_directory import MODE, refuse_if_unsafe

_INOTIFY = "/proc/sys/fs/inotify"
_MOST_DIRECTORIES = 1_000_000
_OF_THE_UNIT = {"PrivateTmp": "yes"}  # what the unit of the house hides of a directory that could be watched
_SPARE_BYTES = 64 << 20  # beside the reserve, for a journal to grow
_PATIENCE_S = 60.0  # for each check: a sink's timeouts are shorter, a dead file server has none


class Severity(StrEnum):
    """What a check comes to, from best to worst."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found. remedy: a command or what else to do; empty when nothing is to be done."""

    check: str
    severity: Severity
    what: str
    remedy: str = ""


def examine(
    settings: Settings, now: Callable[[], float] = time.time, ask: Ask = ask_aws, patience: float = _PATIENCE_S
) -> Iterator[Finding]:
    """Every check, one after the other: settings, user, roots, inotify, spool, journal, agent, sinks.

    ask: where IAM is asked. patience: seconds that each check may take.
    """
    checks: list[tuple[str, Callable[[], Iterator[Finding]], str]] = [
        ("settings", partial(_settings, settings), _WHICH_ROOT),
        ("user", partial(_user, settings), _WHICH_DISK),
        ("inotify", partial(_inotify, settings), _WHICH_ROOT),
        ("spool", partial(_spool, settings), _WHICH_DISK),
        ("journal", partial(_journal, settings), _WHICH_DISK),
        ("agent", lambda: _agent(settings, now()), _WHICH_DISK),
    ]
    for sink in settings.sink:
        checks.append((f"sink {sink.name}", partial(_sink, sink, settings), _WHICH_SINK))
        if is_for_iam(sink):
            checks.append((f"sink {sink.name}", partial(_permissions, sink, settings, ask), _WHICH_SINK))
    for check, look, remedy in checks:
        yield from _within(patience, check, look, remedy)


_WHICH_ROOT = "a file server may be dead: `timeout 5 ls` of each watch root shows whose"
_WHICH_DISK = "a file server may be dead: `timeout 5 ls` of journal and spool shows whose"
_WHICH_SINK = "look at the way to it: name server, proxy, firewall, credential_process"


def _within(seconds: float, check: str, look: Callable[[], Iterator[Finding]], remedy: str) -> Iterator[Finding]:
    """What a check finds in its time; what it waits for may never answer, and nobody can interrupt that."""
    found: queue.SimpleQueue[Finding | Exception | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            for finding in look():
                found.put(finding)
        except Exception as error:  # noqa: BLE001, RUF100 - raised again by who waits
            found.put(error)
        found.put(None)

    threading.Thread(target=work, name=f"doctor: {check}", daemon=True).start()
    deadline = time.monotonic() + seconds
    while True:
        try:
            one = found.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            yield Finding(check, Severity.UNKNOWN, f"nothing has answered within {seconds:g} s", remedy)
            return
        if one is None:
            return
        if isinstance(one, Exception):
            raise one
        yield one


# --- settings, users, roots ---------------------------------------------------------------------------------------


def _settings(settings: Settings) -> Iterator[Finding]:
    """The settings have been read, so they are valid. Here are the roots, too."""
    warnings = advice(settings)
    for problem in warnings:
        yield Finding("settings", Severity.WARNING, f"{problem.where}: {problem.what}", problem.hint)
    if not warnings:
        roots = len(settings.watch)
        can_be_read = f"{roots} root{'s' if roots != 1 else ''} that can be read"
        yield Finding("settings", Severity.OK, f"{settings.path}, {can_be_read}")
    yield from _hidden(settings)


def _hidden(settings: Settings) -> Iterator[Finding]:
    """Roots that are there for us and not for the agent. Its own view is asked, where we may look into it (root); else
    what systemd says of its sandbox; else what the unit would do."""
    pid = _pid_of_agent(settings)
    shown = Host().properties(unit.NAME, unit.SANDBOX)
    for watch in settings.watch:
        real = os.path.realpath(watch.path)
        is_seen = _is_seen_by(pid, real) if pid and os.path.isdir(real) else None
        by = unit.hides(_OF_THE_UNIT if shown is None else shown, real)
        change = f"`systemctl edit proton-tf-agent` and change {by}" if by else "give its unit a view of it"
        remedy = f"watch another directory, or {change}"
        if is_seen is False:
            yield Finding("settings", Severity.PROBLEM, f"{watch.path}: the agent does not see it", remedy)
        elif is_seen is None and by:
            yield Finding("settings", Severity.WARNING, f"{watch.path}: a service with {by} does not see it", remedy)


def _pid_of_agent(settings: Settings) -> int | None:
    """That of the agent at work; None where there is none."""
    heard = health.last(settings.journal.path) if is_held(settings.journal.path) else None
    return heard.pid if heard else None


def _is_seen_by(pid: int, real: str) -> bool | None:
    """Whether a directory of ours is the same to another process (proc_pid_root(5)); None when we may not know."""
    view = f"/proc/{pid}/root"
    try:
        os.stat(f"{view}/.")
        return os.path.samestat(os.stat(f"{view}{real}"), os.stat(real))
    except FileNotFoundError:
        return False if os.path.exists(f"{view}/.") else None
    except OSError:
        return None


def _user(settings: Settings) -> Iterator[Finding]:
    directory = os.path.dirname(settings.journal.path)
    try:
        owner = os.stat(directory).st_uid
    except OSError:
        return
    if owner != os.geteuid():
        name = _name_of(owner)
        remedy = f"sudo -u {shlex.quote(name)} proton-tf-agent doctor --config {shlex.quote(settings.path)}"
        yield Finding("user", Severity.WARNING, f"the journal is {name}'s, and you see with other eyes", remedy)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def _inotify(settings: Settings) -> Iterator[Finding]:
    """One watch for each directory; one instance for the whole agent."""
    directories = sum(_directories_below(watch.path) for watch in settings.watch)
    most = _number_in(f"{_INOTIFY}/max_user_watches")
    if most is None:
        yield Finding(
            "inotify", Severity.UNKNOWN, "its limits cannot be read", f"sysctl fs.inotify; wanted: {directories}"
        )
        return
    named = f"{directories:,} director{'ies' if directories != 1 else 'y'}"
    what = f"{named} to watch, of {most:,} that a user may"
    if directories <= most // 2:
        yield Finding("inotify", Severity.OK, what)
        return
    wanted = max(2 * directories, most)
    line = f"fs.inotify.max_user_watches={wanted}"
    remedy = f"sysctl -w {line} && echo {line} > /etc/sysctl.d/60-proton-tf-agent.conf"
    yield Finding("inotify", Severity.WARNING if directories <= most else Severity.PROBLEM, what, remedy)


def _directories_below(root: str) -> int:
    """How many there are, as far as they can be seen and counted."""
    count, pending = 0, [root]
    while pending and count < _MOST_DIRECTORIES:
        try:
            with os.scandir(pending.pop()) as entries:
                count += 1
                pending += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue
    return count


def _number_in(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


# --- spool and journal --------------------------------------------------------------------------------------------


def _spool(settings: Settings) -> Iterator[Finding]:
    path = settings.spool.path
    try:
        os.stat(path)
    except OSError as error:
        make = f"install -d -m {MODE:o} -o proton-tf-agent -g proton-tf-agent {shlex.quote(path)}"
        remedy = make if path == SpoolSettings().path else "the agent makes it when it starts"
        yield Finding("spool", Severity.WARNING, f"{path}: {error.strerror}; `exec` leaves no records", remedy)
        return
    try:
        refuse_if_unsafe(path)
    except AgentError as error:
        yield Finding("spool", Severity.PROBLEM, f"{path}: {error.problems[0].what}", error.problems[0].hint)
    else:
        yield Finding("spool", Severity.OK, path)


def _journal(settings: Settings) -> Iterator[Finding]:
    path = settings.journal.path
    directory = os.path.dirname(path)
    if not os.path.exists(path):
        yield Finding(
            "journal", Severity.UNKNOWN, f"{path}: there is none yet, or it cannot be seen", "start the agent"
        )
    else:
        yield from _content(path)
    yield from _modes(path)
    try:
        room = os.statvfs(directory if os.path.isdir(directory) else os.path.dirname(directory))
    except OSError as error:
        yield Finding("disk", Severity.UNKNOWN, f"{directory}: {error.strerror}")
        return
    free = room.f_bavail * room.f_frsize
    what = f"{free >> 20:,} MiB are free on the journal's disk"
    if is_marked_full(path) and is_held(path):
        yield Finding("disk", Severity.PROBLEM, f"{what}, and the agent waits for more", f"make room below {directory}")
    elif free < settings.journal.reserve + _SPARE_BYTES:
        yield Finding("disk", Severity.WARNING, what, f"make room below {directory}, or lower [journal] keep_bytes")
    else:
        yield Finding("disk", Severity.OK, what)


def _content(path: str) -> Iterator[Finding]:
    try:
        broken = damage(path, Depth.THOROUGH)
    except AgentError as error:
        problem = error.problems[0]
        yield Finding("journal", Severity.PROBLEM, f"{problem.where}: {problem.what}", problem.hint)
        return
    if broken:
        remedy = "systemctl restart proton-tf-agent: it salvages what is whole; see `journal verify`"
        yield Finding("journal", Severity.PROBLEM, f"{path}: {broken}", remedy)
    else:
        yield Finding("journal", Severity.OK, f"{path}: sound")


def _modes(path: str) -> Iterator[Finding]:
    for each, widest in ((os.path.dirname(path), 0o700), (path, 0o600)):
        try:
            mode = stat.S_IMODE(os.stat(each).st_mode)
        except OSError:
            continue
        if mode & ~widest:
            what = f"{each} has mode {mode:04o}: others may read what is kept"
            yield Finding("journal", Severity.PROBLEM, what, f"chmod {widest:04o} {shlex.quote(each)}")


# --- agent and sinks ----------------------------------------------------------------------------------------------


def _agent(settings: Settings, now: float) -> Iterator[Finding]:
    if not is_held(settings.journal.path):
        yield Finding("agent", Severity.WARNING, "no agent is running", "systemctl start proton-tf-agent")
        return
    heard = health.last(settings.journal.path)
    if heard is None or not health.is_fresh(heard, now):
        remedy = "systemctl status proton-tf-agent; its last log lines say where it hangs"
        yield Finding("agent", Severity.PROBLEM, "an agent is running and says nothing of itself", remedy)
        return
    for problem in heard.problems:
        yield Finding("agent", Severity.PROBLEM, problem)
    if not heard.problems:
        yield Finding("agent", Severity.OK, f"process {heard.pid}, version {heard.version}")


def _sink(named: SinkSettings, settings: Settings) -> Iterator[Finding]:
    """One request that changes nothing: when it is answered, name, route, certificate, clock, credentials are right.
    Of a file and a program: whether they may be written and run."""
    check = f"sink {named.name}"
    with closing(make_sink(named, settings)) as sink:
        if not isinstance(sink, Reachable):
            yield Finding(check, Severity.OK, "not to be tried without telling it something")
            return
        outcome = sink.try_out()
    code = f" ({outcome.code})" if outcome.code else ""
    if outcome.kind is OutcomeKind.ACCEPTED:
        yield Finding(check, Severity.OK, f"{_well(named)}{code}")
    elif outcome.kind is OutcomeKind.DENIED and named.type in _ASKED:
        yield _denied(check, named, code)
    else:
        why = EXPLANATIONS[outcome.kind]
        yield Finding(check, Severity.PROBLEM, f"{why.means}{code}", why.remedy)


# The IAM action that trying out a sink of this type takes.
_ASKED: dict[SinkType, str] = {
    "proton": "proton:GetDeployment",
    "eventbridge": "events:DescribeEventBus",
    "sqs": "sqs:GetQueueAttributes",
    "sns": "sns:GetTopicAttributes",
    "service_catalog": "servicecatalog:DescribeRecord",
}


def _permissions(named: SinkSettings, settings: Settings, ask: Ask) -> Iterator[Finding]:
    """Whether its credentials may tell anything, as IAM says: no call can find that out without telling."""
    for word in words(named, settings, ask):
        yield Finding(f"sink {named.name}", _SEVERITIES[word.sureness], word.what, word.remedy)


_SEVERITIES = {
    Sureness.CERTAIN: Severity.OK,
    Sureness.UNKNOWN: Severity.UNKNOWN,
    Sureness.DOUBTFUL: Severity.WARNING,
    Sureness.DENIED: Severity.PROBLEM,
}


def _well(named: SinkSettings) -> str:
    return "it is reached and takes our signature" if named.type in _ASKED else "it is there, and open to us"


def _denied(check: str, settings: SinkSettings, code: str) -> Finding:
    """It knows us, and may do without this question."""
    asked = _ASKED[settings.type]
    what = f"{_well(settings)}; {asked} is not allowed{code}"
    if settings.read_back:
        return Finding(check, Severity.PROBLEM, what, f"allow {asked}, or set read_back = false")
    return Finding(check, Severity.OK, f"{what}, nor needed")


def worst(findings: Iterable[Finding]) -> Severity:
    """The worst of them."""
    order = list(Severity)
    return max((finding.severity for finding in findings), key=order.index, default=Severity.OK)
