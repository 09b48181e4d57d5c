"""Deployments of a GitLab project, with a server behind them that takes what GitLab takes, and no more."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from proton_tf_agent.http_request import HttpPlace
from proton_tf_agent.sinks import sink_type

from ..hooks import hung_up
from ..http_servers import FAULTS as HTTP_FAULTS
from ..http_servers import Answered, Server, saying
from .rig import Rig

TOKEN = "glpat-example"
PROJECT = "acme/platform/infra"
HEAD = "89abcdef0123456789abcdef0123456789abcdef"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
BASE = "/api/v4/projects/acme%2Fplatform%2Finfra"
_STATUSES = ("running", "success", "failed", "canceled")
_ENVIRONMENT = re.compile(r"(?!/)[A-Za-z0-9_/\\${}. -]{1,255}(?<!/)")
FAULTS = (
    *HTTP_FAULTS, "TOKEN_EXCHANGED", "NO_BRANCH", "NO_COMMIT", "CREATION_FAILS", "CREATION_HANGS_UP", "NOT_ALLOWED",
    "THROTTLED",
)  # fmt: skip


class GitLab(Server):
    """deployments by number; told: (number, status), each time one took a status, in order."""

    def __init__(self) -> None:
        self.token = TOKEN
        self.commits = {HEAD, COMMIT}
        self.branches = {"main": HEAD}
        self.deployments: dict[int, dict[str, Any]] = {}
        self.told: list[tuple[int, str]] = []
        self.now: Callable[[], float] = time.time
        super().__init__()

    @property
    def api(self) -> str:
        return self.url + "/api/v4"

    def hear(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answered:
        if headers["PRIVATE-TOKEN"] != self.token:
            return _json(401, {"message": "401 Unauthorized"})
        split = urlsplit(path)
        if not split.path.startswith(BASE + "/"):
            return _json(404, {"message": "404 Project Not Found"})
        place, asked = split.path.removeprefix(BASE), json.loads(body or b"{}")
        if match := re.fullmatch(r"/repository/commits/([^/]+)", place):
            sha = self.branches.get(match[1], match[1])
            found = sha in self.commits
            return _json(200, {"id": sha}) if found else _json(404, {"message": "404 Commit Not Found"})
        if place == "/deployments":
            return self._listed(parse_qs(split.query)) if method == "GET" else self._created(asked)
        match = re.fullmatch(r"/deployments/(\d+)", place)
        if match is None or int(match[1]) not in self.deployments:
            return _json(404, {"message": "404 Not found"})
        number = int(match[1])
        return _json(200, self.deployments[number]) if method == "GET" else self._changed(number, asked)

    def add(self, **fields: Any) -> int:
        """A deployment that is there already."""
        number = 40 + len(self.deployments)
        moment = datetime.fromtimestamp(self.now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        made = {"id": number, "iid": number, "created_at": moment, "deployable": None, "ref": "main", "sha": HEAD}
        self.deployments[number] = made | {"status": "running", "environment": {"name": "network"}} | fields
        return number

    def _listed(self, query: dict[str, list[str]]) -> Answered:
        assert set(query) <= {"environment", "status", "order_by", "sort", "per_page"}
        assert len(query) == 1 or (query["order_by"], query["sort"]) == (["id"], ["desc"])
        found = [
            made
            for _, made in sorted(self.deployments.items(), reverse=True)
            if made["environment"]["name"] == query.get("environment", [made["environment"]["name"]])[0]
            and made["status"] == query.get("status", [made["status"]])[0]
        ]
        return _json(200, found[: int(query["per_page"][0])])

    def _created(self, asked: dict[str, Any]) -> Answered:
        if set(asked) != {"environment", "sha", "ref", "tag", "status"} or asked["status"] not in _STATUSES:
            return _json(400, {"error": "is missing or does not have a valid value"})
        if asked["sha"] not in self.commits:
            return _json(400, {"message": {"sha": ["The commit does not exist"]}})
        if asked["ref"] not in self.branches:
            return _json(400, {"message": {"ref": ["The branch or tag does not exist"]}})
        assert _ENVIRONMENT.fullmatch(asked["environment"])
        number = self.add(
            ref=asked["ref"], sha=asked["sha"], status=asked["status"], environment={"name": asked["environment"]}
        )
        self.told.append((number, asked["status"]))
        return _json(201, self.deployments[number])

    def _changed(self, number: int, asked: dict[str, Any]) -> Answered:
        assert set(asked) == {"status"}
        made, status = self.deployments[number], asked["status"]
        if made["deployable"] is not None:
            text = "403 Forbidden - Deployments created using GitLab CI can not be updated using the API"
            return _json(403, {"message": text})
        if status == made["status"] or (status == "running" and made["status"] != "created"):
            return _json(400, {"message": {"status": [f"cannot transition from {made['status']}"]}})
        made["status"] = status
        self.told.append((number, status))
        return _json(200, made)


def creating(method: str, path: str) -> bool:
    return method == "POST"


def _json(status: int, content: object) -> Answered:
    return status, {"Content-Type": "application/json"}, json.dumps(content).encode()


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    server = GitLab()
    sink = sink_type("gitlab")("gitlab", HttpPlace(server.api, read_timeout=2.0), lambda: TOKEN, PROJECT, "main")
    faults: dict[str, Callable[[], object]] = server.faults()
    faults |= {
        "TOKEN_EXCHANGED": lambda: setattr(server, "token", "glpat-other"),
        "NO_BRANCH": server.branches.clear,
        "NO_COMMIT": server.commits.clear,
        "CREATION_FAILS": lambda: server.fail(saying(500, b""), creating),
        "CREATION_HANGS_UP": lambda: server.fail(hung_up, creating),
        "NOT_ALLOWED": lambda: server.fail(saying(403, {"message": "403 Forbidden"}), creating),
        "THROTTLED": lambda: server.fail(saying(429, b"Retry later", {"Retry-After": "7"}), creating),
    }
    yield Rig(sink, lambda: [status for _, status in server.told], faults, takes_text=False)
    sink.close()
    server.close()
    assert server.errors == []
