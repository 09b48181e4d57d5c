"""Deployments of a GitHub repository, with a server behind them that takes what GitHub's documents say it takes."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from proton_tf_agent.http_request import HttpPlace
from proton_tf_agent.sinks import sink_type

from ..hooks import hung_up
from ..http_servers import FAULTS as HTTP_FAULTS
from ..http_servers import Answered, Server, saying
from .rig import Rig

TOKEN = "ghp_example"
REPOSITORY = "acme/infra"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
DEPLOYMENTS = f"/api/v3/repos/{REPOSITORY}/deployments"
_STATES = {"error", "failure", "inactive", "in_progress", "queued", "pending", "success"}
FAULTS = (
    *HTTP_FAULTS, "SECONDARY_LIMIT", "PRIMARY_LIMIT", "TOKEN_EXCHANGED", "NO_REF", "CREATION_FAILS", "STATUS_FAILS",
    "CREATION_HANGS_UP", "STATUS_HANGS_UP",
)  # fmt: skip


class GitHub(Server):
    """deployments by number; statuses: (number, state, description), in the order in which they came."""

    def __init__(self) -> None:
        self.token = TOKEN
        self.refs = {"main", COMMIT}
        self.deployments: dict[int, dict[str, Any]] = {}
        self.statuses: list[tuple[int, str, str]] = []
        super().__init__()

    @property
    def api(self) -> str:
        return self.url + "/api/v3"

    def hear(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answered:
        assert headers["Accept"] == "application/vnd.github+json"
        assert headers["X-GitHub-Api-Version"] == "2022-11-28"
        assert headers["User-Agent"]
        if headers["Authorization"] != f"Bearer {self.token}":
            return _json(401, {"message": "Bad credentials"})
        split = urlsplit(path)
        if split.path == DEPLOYMENTS:
            return self._listed(parse_qs(split.query)) if method == "GET" else self._created(json.loads(body))
        match = re.fullmatch(re.escape(DEPLOYMENTS) + r"/(\d+)/statuses", split.path)
        if match is None or int(match[1]) not in self.deployments:
            return _json(404, {"message": "Not Found"})
        assert method == "POST"
        return self._status_added(int(match[1]), json.loads(body))

    def _listed(self, query: dict[str, list[str]]) -> Answered:
        assert set(query) <= {"sha", "ref", "task", "environment", "per_page", "page"}
        found = [
            {"id": number, **made}
            for number, made in reversed(self.deployments.items())
            if all(made[name] == query[name][0] for name in ("task", "environment") if name in query)
        ]
        return _json(200, found[: int(query["per_page"][0])])

    def _created(self, asked: dict[str, Any]) -> Answered:
        known = {"ref", "task", "auto_merge", "required_contexts", "payload", "environment", "description"}
        assert set(asked) <= known
        if asked["ref"] not in self.refs:
            return _json(422, {"message": f"No ref found for: {asked['ref']}"})
        if asked["auto_merge"] or asked["required_contexts"]:
            return _json(409, {"message": "Conflict: Commit status checks failed"})
        assert len(asked["description"]) <= 140
        assert 0 < len(asked["environment"]) <= 255
        number = 1000 + len(self.deployments)
        self.deployments[number] = asked
        return _json(201, {"id": number, **asked})

    def _status_added(self, number: int, asked: dict[str, Any]) -> Answered:
        assert set(asked) <= {"state", "description", "log_url", "environment", "environment_url", "auto_inactive"}
        if asked["state"] not in _STATES or len(asked["description"]) > 140:
            return _json(422, {"message": "Validation Failed"})
        self.statuses.append((number, asked["state"], asked["description"]))
        return _json(201, {"id": 5000 + len(self.statuses), "state": asked["state"]})


def creating(method: str, path: str) -> bool:
    return method == "POST" and path == DEPLOYMENTS


def adding(method: str, path: str) -> bool:
    return path.endswith("/statuses")


def _json(status: int, content: object) -> Answered:
    return status, {"Content-Type": "application/json; charset=utf-8"}, json.dumps(content).encode()


SECONDARY_LIMIT = saying(403, {"message": "You have exceeded a secondary rate limit. Please wait a few minutes."})
PRIMARY_LIMIT = saying(
    403, {"message": "API rate limit exceeded"}, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000090"}
)


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    server = GitHub()
    place = HttpPlace(server.api, read_timeout=2.0)
    sink = sink_type("github")("github", place, lambda: TOKEN, REPOSITORY, "main")
    faults: dict[str, Callable[[], object]] = server.faults()
    faults |= {
        "SECONDARY_LIMIT": lambda: server.fail(SECONDARY_LIMIT),
        "PRIMARY_LIMIT": lambda: server.fail(PRIMARY_LIMIT),
        "TOKEN_EXCHANGED": lambda: setattr(server, "token", "ghp_other"),
        "NO_REF": server.refs.clear,
        "CREATION_FAILS": lambda: server.fail(saying(500, b""), creating),
        "STATUS_FAILS": lambda: server.fail(saying(503, b""), adding),
        "CREATION_HANGS_UP": lambda: server.fail(hung_up, creating),
        "STATUS_HANGS_UP": lambda: server.fail(hung_up, adding),
    }
    yield Rig(sink, lambda: [description for _, _, description in server.statuses], faults)
    sink.close()
    server.close()
    assert server.errors == []
