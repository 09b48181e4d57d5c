"""Reading the settings file: `load` refuses what is wrong, `advice` names what is merely suspicious.

Promises: every mistake is found in one reading, each with its place and what to do about it; nothing but
`SettingsInvalid` is ever raised, whatever the file holds; a file that others can write is refused.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator
from typing import Any

from ..domain.errors import Problem, SettingsInvalid
from ..domain.terms import Occasion
from .documents import Document, document, reason
from .keys import Table
from .kinds import REGION, nearest
from .mistakes import Mistakes
from .model import At, JournalSettings, Settings, SpoolSettings
from .sink_keys import SINK_KEYS
from .tables import TABLES, example

_REGION_OF = re.compile(rf"arn:[^:]*:proton:({REGION}):")
# By type of sink the key that may name its region, and how.
_NAMES_REGION = {
    "eventbridge": ("event_bus", re.compile(rf"arn:[^:]*:events:({REGION}):")),
    "sqs": ("queue_url", re.compile(rf"https?://(?:[^/]*\.)?sqs\.({REGION})\.")),
    "sns": ("topic_arn", re.compile(rf"arn:[^:]*:sns:({REGION}):")),
}

_Section = tuple[At, dict[str, Any]]
"""A table of the file: where it stands, and the values of it that are right."""


def load(path: str) -> Settings:
    """The settings in the file at `path` and in the conf.d beside it. Raises SettingsInvalid with every mistake there
    is."""
    mistakes = Mistakes(path)
    found = document(path, mistakes)
    sections = _sections(found, mistakes) if found.is_whole else {}
    if found.is_whole:
        _compare(sections, mistakes)
    if mistakes:
        raise SettingsInvalid(*mistakes.problems())
    built: dict[str, Any] = {}
    for table in TABLES:
        tables = [table.built(**values) for _, values in sections[table.name]]
        built[table.name] = tuple(tables) if table.repeated else tables[0] if tables else table.built()
    keys = ((*at, name) for sections_ in sections.values() for at, values in sections_ for name in values)
    origins = {key: found.origins[key] for key in keys if key in found.origins}
    return Settings(**built, path=os.path.abspath(path), origins=origins)


def check_part(path: str) -> None:
    """Raises SettingsInvalid with every mistake that a file of a conf.d holds by itself; what must hold between files
    is known with the whole."""
    mistakes = Mistakes(path)
    _sections(document(path, mistakes, alone=True), mistakes, is_part=True)
    if mistakes:
        raise SettingsInvalid(*mistakes.problems())


def advice(settings: Settings) -> tuple[Problem, ...]:
    """What is allowed but probably not meant. Looks at the watch roots; changes nothing."""
    mistakes = Mistakes(settings.path)
    mistakes.origins = {**settings.origins}
    if not settings.sink:
        hint = f"for example [[sink]] with {example('sink', 'type')}"
        mistakes.add(("sink",), "there is none: what is found stays in the journal", hint)
    bindable = settings.allow.resource_arns or settings.bind
    if not bindable and any(sink.type == "proton" for sink in settings.sink):
        mistakes.add(
            ("allow", "resource_arns"),
            "nothing will ever be bound to a Proton resource: no ARN is allowed and there is no [[bind]]",
            f"for example: {example('allow', 'resource_arns')}",
        )
    hears_failures = any(not s.only or {Occasion.FAILED, Occasion.TERMINAL} & {*s.only} for s in settings.sink)
    for place, sink in enumerate(settings.sink):
        if Occasion.RECOVERED in sink.only and not hears_failures:
            what = "nothing ever recovers: no sink is told what has failed"
            mistakes.add(("sink", place, "only"), what, "name failed, here or for another sink")
    for place, watch in enumerate(settings.watch):
        objection, hint = _objection(watch.path)
        if objection:
            mistakes.add(("watch", place, "path"), f"{watch.path} {objection}", hint)
    return mistakes.problems()


def _objection(root: str) -> tuple[str, str]:
    """Why nothing can be seen at a watch root now, and what to do; two empty strings when all is well."""
    try:
        mode = os.stat(root).st_mode
    except FileNotFoundError:
        globs = "globs are not expanded here" if set(root) & set("*?[") else ""
        return "does not exist yet", globs or "it is watched as soon as it appears"
    except (OSError, ValueError) as error:
        return f"cannot be looked at: {reason(error)}", "let the agent's user reach it"
    if not stat.S_ISDIR(mode):
        return "is not a directory", "name the directory it is in"
    if not os.access(root, os.R_OK | os.X_OK):
        return "cannot be read", "let the agent's user read it, through a group or an ACL"
    return "", ""


# --- from document to values ------------------------------------------------------------------------------


def _sections(document: Document, mistakes: Mistakes, *, is_part: bool = False) -> dict[str, list[_Section]]:
    """The values of every table, and a complaint about everything else. A part need not have what must be there."""
    for table in TABLES:
        if table.required and not is_part and not document.tables[table.name] and not mistakes.touch(table.name):
            hint = f"for example {table.header} with {example(table.name, table.keys[0].name)}"
            mistakes.add((table.name,), "at least one is required", hint)
    return {
        table.name: [(at, _values(table, found, at, mistakes)) for at, found in document.tables[table.name]]
        for table in TABLES
    }


def _values(table: Table, found: dict[str, Any], at: At, mistakes: Mistakes) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in found.items():
        key = table.key(name)
        if not key:
            near = nearest(name, tuple(key.name for key in table.keys))
            known = "known here: " + ", ".join(key.name for key in table.keys)
            mistakes.add((*at, name), "unknown key", f"did you mean {near}?" if near else known)
            continue
        before = len(mistakes)
        read = key.kind.read(value, mistakes.of(at, key))
        if len(mistakes) == before:
            values[name] = read
    for key in table.keys:
        if key.name not in found and table.requires(key):
            mistakes.add((*at, key.name), "is missing", f"for example: {key.name} = {key.example}")
        elif key.name in found and "type" in values and not key.applies(values["type"]):
            mistakes.add((*at, key.name), f"means nothing to a {values['type']} sink", "take it out")
    return values


# --- what must hold between keys --------------------------------------------------------------------------


def _compare(sections: dict[str, list[_Section]], mistakes: Mistakes) -> None:
    """Complain about what is right by itself but not beside the rest."""
    _compare_roots(sections, mistakes)
    directories = ((at, values.get("directory")) for at, values in sections["bind"])
    for at, directory, first in _repeated(directories):
        what = f"{directory} is bound twice{mistakes.beside(first, at)}"
        mistakes.add((*at, "directory"), what, "take one of them out")
    names = (
        (at, values.get("name") or values.get("type"))
        for at, values in sections["sink"]
        if not mistakes.concern((*at, "name"))
    )
    for at, name, first in _repeated(names):
        what = f"{name} is the name of another sink too{mistakes.beside(first, at)}"
        mistakes.add((*at, "name"), what, f"give it a name of its own, for example: {example('sink', 'name')}")
    for at, values in sections["bind"]:
        if not {"resource_arn", "name"} & values.keys() and not mistakes.concern((*at, "resource_arn"), (*at, "name")):
            what = "is missing, and there is no name instead of it"
            mistakes.add((*at, "resource_arn"), what, f"for example: {example('bind', 'resource_arn')}")
        elif "deployment_id" in values and "resource_arn" not in values:
            what = "means nothing without resource_arn"
            if not mistakes.concern((*at, "resource_arn")):
                mistakes.add((*at, "deployment_id"), what, "take it out: no Proton resource is deployed")
    files = ((at, values.get("path")) for at, values in sections["sink"])
    for at, path, first in _repeated(files):
        what = f"{path} is written by another sink too{mistakes.beside(first, at)}"
        mistakes.add((*at, "path"), what, "give each a file of its own")
    _find_regions(sections, mistakes)
    for at, values in sections["sink"]:
        for key in SINK_KEYS:
            if values.get("type") in key.needed and not values.get(key.name) and not mistakes.concern((*at, key.name)):
                mistakes.add((*at, key.name), "is missing", f"for example: {key.name} = {key.example}")


def _repeated(values: Iterable[tuple[At, str | None]]) -> Iterator[tuple[At, str, At]]:
    """What an earlier table gave already: where it is given again, the value, where it was given first."""
    first: dict[str, At] = {}
    for at, value in values:
        if value is not None and first.setdefault(value, at) != at:
            yield at, value, first[value]


def _compare_roots(sections: dict[str, list[_Section]], mistakes: Mistakes) -> None:
    """No watch root twice, none inside another, and neither journal nor spool inside one; links are followed."""
    written = {at: values["path"] for at, values in sections["watch"] if "path" in values}
    real = {at: os.path.realpath(path) for at, path in written.items()}
    roots = {root: written[at] for at, root in real.items()}
    for at, _, first in _repeated(real.items()):
        what = f"{written[at]} is watched twice{mistakes.beside(first, at)}"
        mistakes.add((*at, "path"), what, "take one of them out")
    for at, root in real.items():
        outer = next((roots[parent] for parent in _parents(root) if parent in roots), None)
        if outer:
            what = f"{written[at]} lies inside the watch root {outer}"
            mistakes.add((*at, "path"), what, "take it out: it is watched anyway")
    for table, default, why in (
        ("journal", JournalSettings().path, "the agent writes nothing below a watch root"),
        ("spool", SpoolSettings().path, "whoever may write a record there would be taken for a job"),
    ):
        if mistakes.concern((table,), (table, "path")):
            continue
        given = next((values for _, values in sections[table]), {})
        if table == "journal" or "path" in given:
            _demand_outside((table, "path"), given.get("path", default), why, roots, mistakes)
    for _, values in sections["metrics"]:
        socket = (values.get("listen") or "").removeprefix("unix:")
        for key, path in (("textfile", values.get("textfile")), ("listen", socket)):
            if path and path.startswith("/"):
                _demand_outside(("metrics", key), path, "the agent writes nothing below a watch root", roots, mistakes)

    _keep_sinks_out(sections["sink"], roots, mistakes)


def _keep_sinks_out(sinks: list[_Section], roots: dict[str, str], mistakes: Mistakes) -> None:
    """No sink writes below a watch root, or runs what lies there."""
    for at, values in sinks:
        if path := values.get("path"):
            _demand_outside((*at, "path"), path, "the agent writes nothing below a watch root", roots, mistakes)
        if program := values.get("program"):
            _demand_outside((*at, "program"), program, "whoever may write there would be the agent", roots, mistakes)
            _demand_closed((*at, "program"), program, mistakes)


def _demand_outside(at: At, path: str, why: str, roots: dict[str, str], mistakes: Mistakes) -> None:
    place = os.path.realpath(path)
    outer = next((roots[parent] for parent in (place, *_parents(place)) if parent in roots), None)
    if outer:
        mistakes.add(at, f"{path} lies inside the watch root {outer}", f"put it elsewhere: {why}")


def _demand_closed(at: At, path: str, mistakes: Mistakes) -> None:
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return  # it may come later, and is looked at again each time
    if mode & 0o022:
        what = f"{path} can be written by others than its owner (mode {stat.S_IMODE(mode):04o})"
        mistakes.add(at, what, f"chmod go-w {shlex.quote(path)}")


def _parents(path: str) -> Iterator[str]:
    while path != "/":
        path = os.path.dirname(path)
        yield path


def _find_regions(sections: dict[str, list[_Section]], mistakes: Mistakes) -> None:
    """Give each sink of AWS's without a region the one that its queue, topic or bus is named with; a Proton sink the
    one that every allowed and bound ARN names."""
    for at, values in sections["sink"]:
        here = (*at, "region")
        if values.get("type") in _NAMES_REGION:
            _find_region(at, values, mistakes)
        elif values.get("type") == "service_catalog" and "region" not in values and not mistakes.concern(here):
            mistakes.add(here, "is missing", f"for example: {example('sink', 'region')}")
    if mistakes.touch("allow", "bind"):
        return  # what they name is not known: a complaint would be a guess
    named = [pattern for _, values in sections["allow"] for pattern in values.get("resource_arns", ())]
    named += [values["resource_arn"] for _, values in sections["bind"] if "resource_arn" in values]
    regions = {match and match[1] for match in map(_REGION_OF.match, named)}
    region = regions.pop() if len(regions) == 1 else None
    for at, values in sections["sink"]:
        here = (*at, "region")
        if values.get("type") != "proton" or "region" in values or mistakes.concern(here):
            continue
        if region:
            values["region"] = region
        else:
            what = "is missing, and [allow] and [[bind]] name no single region"
            mistakes.add(here, what, f"for example: {example('sink', 'region')}")


def _find_region(at: At, values: dict[str, Any], mistakes: Mistakes) -> None:
    key, pattern = _NAMES_REGION[values["type"]]
    here = (*at, "region")
    if key not in values or mistakes.concern(here):
        return
    named = pattern.match(values[key])
    if named is None and "region" not in values:
        mistakes.add(here, f"is missing, and {key} names none", f"for example: {example('sink', 'region')}")
    elif named is not None and values.setdefault("region", named[1]) != named[1]:
        mistakes.add(here, f"is not that of {key}, {named[1]}", "take it out")
