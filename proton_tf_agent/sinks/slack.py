"""The slack sink: every notification as a short text to an incoming webhook.

Status, whose run, the first line of the status message, run id. Most of it is foreign text: it can neither mention
anybody nor hold a link, and Slack is asked to read no markup in it. The webhook's URL is the secret that lets one post.

Slack has no id by which a repeat would be known: a request whose answer was lost may show twice. Sources: Slack's
"Sending messages using incoming webhooks", "Changes to errors for incoming webhooks" (2016), "Formatting text".
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from ..domain.notification import Notification
from ..domain.outbox import Outcome, OutcomeKind
from ..domain.printable import printable
from ..domain.run import RunStatus
from ..domain.values import replace
from ..http_request import Answer, HttpPlace, is_trustworthy, outcome_of
from ..secret_source import SecretMissing

_LONGEST = 400  # characters of a message's first line, and of whose run it is
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})  # the three that Slack wants escaped
# Whose failure an answer is. Where the webhook or its channel is gone, everything is kept until somebody mends it.
_WORDS = {
    "invalid_payload": OutcomeKind.INVALID,
    "no_text": OutcomeKind.INVALID,
    "user_not_found": OutcomeKind.INVALID,
    "action_prohibited": OutcomeKind.DENIED,
    "invalid_token": OutcomeKind.UNAUTHENTICATED,
    "no_service": OutcomeKind.UNAUTHENTICATED,
    "no_team": OutcomeKind.UNAUTHENTICATED,
    "channel_not_found": OutcomeKind.GONE,
    "channel_is_archived": OutcomeKind.GONE,
}


class SlackSink:
    """Posts to the webhook that `url` gives, SecretMissing when there is none; place makes a server of a URL."""

    def __init__(
        self,
        name: str,
        url: Callable[[], str],
        place: Callable[[str], HttpPlace],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._url = url
        self._place = place
        self._clock = clock
        self._known: tuple[str, HttpPlace] | None = None
        self._closed = False

    def wants(self, notification: Notification) -> bool:
        """True: a channel can be told everything."""
        return True

    def send(self, notification: Notification) -> Outcome:
        """Make one request. What may have arrived and was not answered is ambiguous."""
        if self._closed:
            return Outcome(OutcomeKind.UNAVAILABLE, "SinkClosed")
        try:
            place = self._webhook()
        except SecretMissing as missing:
            return Outcome(OutcomeKind.UNAUTHENTICATED, missing.code)
        body = json.dumps(_payload(notification)).encode("ascii")
        headers = {"Content-Type": "application/json", "User-Agent": "proton-tf-agent"}
        answer = place.request("POST", place.path, headers, body)
        return answer if isinstance(answer, Outcome) else _outcome(answer, self._clock())

    def close(self) -> None:
        """Take no more notifications; a request under way ends by itself."""
        self._closed = True

    def _webhook(self) -> HttpPlace:
        url = self._url()
        known = self._known  # read once: another thread may exchange it
        if known is None or known[0] != url:
            if not is_trustworthy(url):
                raise SecretMissing("SecretNotUrl")
            known = self._known = (url, self._place(url))
        return known[1]


def text_of(told: Notification) -> str:
    """What a channel reads: two or three lines."""
    status = "DESTROYED" if told.run_status is RunStatus.DESTROYED else told.status.value
    said = told.status_message.split("\n", 1)[0]
    lines = (f"{status}: {_inert(told.whose)}", _inert(said), f"run {_inert(told.run_id)}")
    return "\n".join(filter(None, lines))


def _inert(text: str) -> str:
    """Foreign text in which Slack finds nothing to act on: no `<!channel>`, no `<@user>`, no URL."""
    shown = printable(text[: _LONGEST + 1])
    cut = shown if len(shown) <= _LONGEST else shown[: _LONGEST - 2] + " …"
    return cut.replace("://", ": //").translate(_ENTITIES)


def _payload(told: Notification) -> dict[str, object]:
    return {
        "text": text_of(told),
        "mrkdwn": False,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _outcome(answer: Answer, now: float) -> Outcome:
    """Slack answers with a status and one word, `ok` among them."""
    outcome, word = outcome_of(answer, now), answer.body[:64].decode("ascii", "replace").strip()
    if outcome.kind is OutcomeKind.ACCEPTED and word != "ok":
        return Outcome(OutcomeKind.UNAVAILABLE, "AnswerNotSlacks", answer.status, ambiguous=True)
    if word in _WORDS and 400 <= answer.status < 500:
        return replace(outcome, kind=_WORDS[word], code=word)
    return outcome
