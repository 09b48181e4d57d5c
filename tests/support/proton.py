"""What tests of the Proton sink share: a notification, an environment without AWS, and answers nobody would give."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.run import RunStatus
from proton_tf_agent.domain.values import replace

REGION = "eu-west-1"
ARN = f"arn:aws:proton:{REGION}:123456789012:environment/network"
DEPLOYMENT = "0a1b2c3d-0000-4000-8000-0123456789ab"
WHOLE = Notification(
    notification_id="ntf-0123456789abcdef0123",
    run_id="run-1",
    resource_arn=ARN,
    deployment_id=DEPLOYMENT,
    status=Status.SUCCEEDED,
    status_message="Apply complete: 3 added, 0 changed, 0 destroyed.",
    outputs=(("VpcId", "vpc-1"), ("naïve", '["a"]')),
    run_status=RunStatus.APPLIED,
    resource_deleted=False,
    directory="/srv/infra/network",
    workspace="default",
    created_at=1_700_000_000.0,
)
NEWER = "0a1b2c3d-0000-4000-8000-0123456789ac"
BARE = replace(WHOLE, deployment_id=None, status_message="", outputs=())


@contextlib.contextmanager
def clean_environment(home: Path) -> Iterator[None]:
    """Example credentials, and nothing else of AWS, of proxies or of certificates."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("AWS_") or name.lower().endswith("_proxy") or name == "REQUESTS_CA_BUNDLE":
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


class Playback:
    """A server that answers every request with the same bytes, `times` over, and then closes the connection.

    reply, if set, makes the bytes of the request's body instead.
    """

    def __init__(self, answer: bytes = b"", times: int = 1) -> None:
        self.answer = answer
        self.reply: Callable[[bytes], bytes] | None = None
        self.played = 0
        self._times = times
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream, contextlib.suppress(ConnectionError):
                length = 0
                while (line := stream.readline()) not in (b"\r\n", b""):
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                body = stream.read(length)
                answer = self.answer if self.reply is None else self.reply(body)
                for _ in range(self._times):
                    connection.sendall(answer)
                    self.played += 1

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()


def http(status: str, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    announced = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", "Connection: close", f"Content-Length: {announced}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def refusal(code: str, text: str = "no", status: str = "400 Bad Request", *headers: str) -> bytes:
    return http(status, json.dumps({"__type": code, "message": text}).encode(), *headers)
