"""Routing: which notifications a sink is told, by what happened, whom it is about and where it ran. Pure.

A route is taken when a notification is enqueued, in the transaction of its observation; what it leaves out is not
enqueued for that sink, and nothing that comes later changes that: no retry, no restart, no other settings.

`recovered` is said of the resource, not of the sink: failures may go to one sink and recoveries to another, and a sink
that came in between hears that what it never heard fail works again.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence

from .notification import Notification
from .run import RunStatus
from .terms import Occasion, Status
from .values import Struct

__all__ = ["EVERYTHING", "Occasion", "Route", "left_out"]


class Route(Struct, frozen=True):
    """What a sink is told; what is empty narrows nothing, and of what is not one must fit each.

    only: occasions. resources: globs over ARNs and names. directories: globs over run directories. `*` stands for any
    characters, `/` included. unbound: also runs that report for no Proton resource; workflows: of those, only runs that
    carry out a workflow of Service Catalog.
    """

    only: tuple[Occasion, ...] = ()
    resources: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    unbound: bool = False
    workflows: bool = False


EVERYTHING = Route()


def left_out(route: Route, notification: Notification, before: Callable[[], Status | None]) -> str:
    """Why a route leaves a notification out, in words for a person; empty where it does not.

    before: the terminal status that was last told of the resource before this one, None when none was; asked for only
    when it matters.
    """
    is_taken = route.unbound or (route.workflows and notification.workflow is not None)
    if notification.resource_arn is None and not is_taken:
        return "it is told only about Proton resources"
    if route.only and not _is_occasion(route.only, notification, before):
        return f"it is told only what is {_listed(route.only)}"
    called = [known for known in (notification.resource_arn, notification.name) if known]
    if route.resources and not any(_fits(known, route.resources) for known in called):
        return f"it is told only about {_listed(route.resources)}"
    if route.directories and not _fits(notification.directory, route.directories):
        return f"it is told only what runs in {_listed(route.directories)}"
    return ""


def _is_occasion(only: Sequence[Occasion], notification: Notification, before: Callable[[], Status | None]) -> bool:
    """Whether a notification is one of these occasions."""
    if any(occasion in only for occasion in _occasions(notification)):
        return True
    ends_well = notification.status is Status.SUCCEEDED
    return ends_well and Occasion.RECOVERED in only and before() is Status.FAILED


def _occasions(notification: Notification) -> tuple[Occasion, ...]:
    """What a notification is whatever was told before."""
    if not notification.status.is_terminal:
        return (Occasion.IN_PROGRESS,)
    if notification.status is Status.FAILED:
        return (Occasion.TERMINAL, Occasion.FAILED)
    destroyed = notification.run_status is RunStatus.DESTROYED
    return (Occasion.TERMINAL, Occasion.DESTROYED if destroyed else Occasion.SUCCEEDED)


def _fits(text: str, globs: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(text, glob) for glob in globs)


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
