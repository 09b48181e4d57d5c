"""An incoming webhook of Slack, with a server behind it that takes what Slack's documents say it takes."""

from __future__ import annotations

import contextlib
import html
import json
import re
from collections.abc import Callable, Iterator, Mapping

from proton_tf_agent.http_request import HttpPlace
from proton_tf_agent.sinks import sink_type

from ..http_servers import FAULTS as HTTP_FAULTS
from ..http_servers import Answered, Server, saying
from .rig import Rig

PATH = "/services/T0123/B0123/abcdef"
WORDS = {
    "invalid_payload": 400,
    "user_not_found": 400,
    "action_prohibited": 403,
    "invalid_token": 403,
    "channel_not_found": 404,
    "no_service": 404,
    "channel_is_archived": 410,
    "rollup_error": 500,
}
FAULTS = (*HTTP_FAULTS, *WORDS)
_BARE_AMPERSAND = re.compile(r"&(?!(amp|lt|gt);)")


class Slack(Server):
    """texts are what a channel shows, with entities resolved; raw as they came."""

    def __init__(self) -> None:
        self.raw: list[str] = []
        super().__init__()

    @property
    def texts(self) -> list[str]:
        return [html.unescape(text) for text in self.raw]

    def hear(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answered:
        if (method, path) != ("POST", PATH):
            return 404, {}, b"no_service"
        assert headers["Content-Type"] == "application/json"
        payload = json.loads(body)
        assert payload.pop("mrkdwn") is False
        assert payload.pop("parse") == "none"
        assert not any(payload.pop(name) for name in ("link_names", "unfurl_links", "unfurl_media"))
        text = payload.pop("text")
        assert not payload
        assert 0 < len(text) < 4000
        assert not re.search(r"[<>]|://", text)
        assert not _BARE_AMPERSAND.search(text)
        self.raw.append(text)
        return 200, {"Content-Type": "text/html"}, b"ok"


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    server = Slack()
    sink = sink_type("slack")("slack", lambda: server.url + PATH, lambda url: HttpPlace(url, read_timeout=2.0))
    faults: dict[str, Callable[[], object]] = server.faults()
    for word, status in WORDS.items():
        faults[word] = lambda word=word, status=status: server.fail(saying(status, word.encode()))  # type: ignore[misc]

    def told() -> list[str]:
        lines = [text.split("\n") for text in server.texts]
        return [shown[1] if len(shown) == 3 else "" for shown in lines]

    yield Rig(sink, told, faults)
    sink.close()
    server.close()
    assert server.errors == []
