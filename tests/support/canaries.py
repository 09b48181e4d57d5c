"""Canaries: secrets that are planted wherever a run keeps or shows some, and looked for wherever none may be.

Each canary holds the marker three times, and each number of theirs the digits of another, so that what is looked for is
the same in every run: the markers in every encoding, also as a part of a copy that was torn. Nothing of the agent's own
redaction is used here.
"""

from __future__ import annotations

import base64
import html
import json
import os
import random
import string
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any

from .facts import LOGS
from .watching import bind_directory

MARKER = "cAn4ryZq7"
DIGITS = "404197973"
CONTROL = "allowed-c0ntr0l"  # in an output that nobody calls sensitive: it must be found
ARN = "arn:aws:proton:us-east-1:111122223333:environment/"

Encode = Callable[[str], str]
ENCODINGS: tuple[Encode, ...] = (
    lambda text: text,
    lambda text: base64.b64encode(text.encode()).decode(),
    lambda text: base64.b64encode(b"u" + text.encode()).decode(),
    lambda text: base64.urlsafe_b64encode(b"u:" + text.encode() + b"!").decode(),
    lambda text: urllib.parse.quote(text, safe=""),
    urllib.parse.quote_plus,
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: json.dumps(text)[1:-1],
    lambda text: "".join(f"\\u{ord(c):04x}" for c in text),
    lambda text: text.encode().hex(),
    lambda text: text.encode().hex().upper(),
    lambda text: html.escape(text),
)


def needles() -> tuple[bytes, ...]:
    """The markers as they look in every encoding, at every alignment."""
    found = set()
    for marker in (MARKER, DIGITS):
        raw = marker.encode()
        escaped = "".join(f"\\u{ord(c):04x}" for c in marker)
        found |= {raw, raw.hex().encode(), raw.hex().upper().encode(), escaped.encode()}
        for shift in range(3):
            encoded = base64.b64encode(bytes(shift) + raw)
            found.add(encoded[-(-shift * 8 // 6) : len(encoded.rstrip(b"=")) - (1 if (shift + len(raw)) % 3 else 0)])
    return tuple(found)


NEEDLES = needles()


def sightings(content: bytes) -> list[str]:
    """Every canary in some bytes, with what stands around it."""
    found = []
    for needle in NEEDLES:
        at = content.find(needle)
        if at >= 0:
            found.append(f"{needle!r} in {content[max(0, at - 160) : at + 160]!r}")
    return found


def files_below(*directories: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below some directories."""
    for directory in directories:
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                yield path, path.read_bytes()


class Aviary:
    """The run directory of one seed: state, backup, log and all else that a run leaves, full of canaries."""

    def __init__(self, seed: int, began_at: str = "2026-11-22T10:00:00.000000Z") -> None:
        self.seed = seed
        self.name = f"unit-{seed}"
        self._draw = random.Random(seed)
        self._began_at = began_at
        self.fails = self._draw.random() < 0.5
        self.now = [self.secret() for _ in range(self._draw.randrange(1, 7))]
        self.before = [self.secret() for _ in range(self._draw.randrange(1, 4))]
        self.numbers = [int(f"{DIGITS}{self._draw.randrange(10**6)}") for _ in range(2)]

    def secret(self) -> str:
        """A canary nobody has seen before, with all that encodings change."""
        special = "".join(self._draw.choices(string.ascii_letters + string.digits + '"\\/<>&+=%@:; é☃', k=12))
        return f"{MARKER}{special}{MARKER}{self._draw.randrange(10**9):x}{MARKER}"

    def copy(self) -> str:
        """A copy of something sensitive, in any encoding."""
        one = self._draw.choice([*self.now, *self.before, *map(str, self.numbers)])
        return self._draw.choice(ENCODINGS)(one)

    def plant(self, root: Path) -> Path:
        """Write everything below a root; the log last."""
        directory = root / self.name
        bind_directory(str(directory), ARN + self.name, f"{self.seed:08x}-0000-4000-8000-000000000000")
        for name in (".terraform", "modules"):
            (directory / name).mkdir(exist_ok=True)
        (directory / "terraform.tfstate.backup").write_text(self._state(self.before))
        (directory / "terraform.tfstate").write_text(self._state([*self.now, *map(str, self.numbers)]))
        (directory / "terraform.tfvars").write_text(f'password = "{self.secret()}"\n')
        tfvars = {"//": ARN + self.name, "environment": {"inputs": {"token": self.secret()}}}
        (directory / "proton.auto.tfvars.json").write_text(json.dumps(tfvars))
        os.utime(directory / "proton.auto.tfvars.json", (0, 0))  # older than the run, as the metadata are
        config = {"path": None, "workspace_dir": None, "access_key": self.secret(), "password": self.secret()}
        record = {"version": 3, "backend": {"type": "local", "config": config, "hash": 1}}
        (directory / ".terraform" / "terraform.tfstate").write_text(json.dumps(record))
        (directory / "tfplan").write_bytes(b"PK\x03\x04" + self.secret().encode())
        (directory / "main.tf").write_text(f'output "plain" {{ value = "{self.secret()}" }}\n')
        (directory / "writing").write_bytes(b"".join(line + b"\n" for line in self._log()))
        (directory / "writing").rename(directory / "apply.log")
        return directory

    # --- what Terraform writes ------------------------------------------------------------------------------------

    def _state(self, secrets: list[str]) -> str:
        """Sensitive outputs and attributes of every shape, and one whose mark makes no sense."""
        shapes: list[Callable[[str], Any]] = [
            lambda value: value,
            lambda value: [value, "plain"],
            lambda value: {"user": "admin", "deep": {"password": value}},
            lambda value: [{"list": [{"of": value}]}],
            lambda value: json.dumps({"password": value}),
            lambda value: f"-----BEGIN X-----\n{value}\n-----END X-----\n",
        ]
        outputs: dict[str, Any] = {"plain": {"value": "vpc-1", "type": "string"}}
        instances = []
        for number, secret in enumerate(secrets):
            value: Any = int(secret) if secret.isdecimal() else self._draw.choice(shapes)(secret)
            if self._draw.random() < 0.4:
                outputs[f"secret_{number}"] = {"value": value, "type": "dynamic", "sensitive": True}
                continue
            attributes = {"id": "i-1", "nested": [{"secret": value, "name": "x"}], "map": {"k": {"value": value}}}
            paths: list[Any] = [
                [{"type": "get_attr", "value": "nested"}],
                [{"type": "get_attr", "value": "map"}, {"type": "index", "value": {"value": "k", "type": "string"}}],
            ]
            if self._draw.random() < 0.2:
                paths = [[{"type": "splat", "value": "nested"}]]
            instances.append({"schema_version": 0, "attributes": attributes, "sensitive_attributes": paths})
        resource = {"mode": "managed", "type": "aws_x", "name": "y", "provider": "p", "instances": instances}
        document = {
            "version": 4, "terraform_version": "1.11.4", "serial": 7, "lineage": "l", "outputs": outputs,
            "resources": [resource], "check_results": None,
        }  # fmt: skip
        return json.dumps(document, indent=2, ensure_ascii=self._draw.random() < 0.5) + "\n"

    def _log(self) -> Iterator[bytes]:
        """A recorded apply, in which providers, provisioners, diagnostics and outputs let canaries out."""
        recorded = (LOGS / "apply_ok.log").read_bytes().splitlines()
        *lines, summary, outputs = (json.loads(line) | {"@timestamp": self._began_at} for line in recorded)
        for line in lines:
            if line["type"] == "apply_complete":
                progress = {
                    "hook": line["hook"] | {"output": f"password is {self.copy()}"},
                    "type": "provision_progress",
                }
                yield _line(line | progress | {"@message": f"(local-exec): {self.copy()}"})
                yield f"2026-11-22T10:00:00.000Z [DEBUG] provider: request body={self.copy()}".encode()
            yield _line(line)
        if self.fails:
            for _ in range(2):
                quoted = f"creating X ({self.copy()}): cannot log in with {self.copy()}, {self.copy()}"
                diagnostic = {
                    "severity": "error", "summary": quoted, "detail": f"{self.copy()}\n{self.now[0]}",
                    "address": f'aws_x.y["{self.now[-1]}"]', "range": {"filename": "main.tf"},
                    "snippet": {"code": f'password = "{self.now[0]}"', "values": [{"statement": self.copy()}]},
                }  # fmt: skip
                yield _line(lines[-1] | {"type": "diagnostic", "@level": "error", "diagnostic": diagnostic})
            return
        yield _line(summary)
        told = {"plain": {"sensitive": False, "type": "string", "value": f"{CONTROL}-{self.seed}"}}
        for number in range(4):
            value = self._draw.choice([self.copy(), [self.copy()], {"a": {"b": self.copy()}}, f"x {self.copy()} y"])
            told[f"copy_{number}"] = {"sensitive": False, "type": "dynamic", "value": value}
        yield _line(outputs | {"outputs": told, "@message": f"Outputs: {len(told)}"})


def _line(document: dict[str, Any]) -> bytes:
    """As hclog writes it: the type last."""
    kind = document["type"]
    rest = {key: value for key, value in document.items() if key != "type"}
    return json.dumps(rest | {"type": kind}, separators=(",", ":"), ensure_ascii=False).encode()


class Overheard:
    """An endpoint that accepts everything and keeps every byte that it is sent."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        heard = self.requests

        class _Exchange(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                heard.append(bytes(self.headers) + body)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", "2")
                self.send_header("x-amzn-RequestId", "00000000-0000-4000-8000-000000000000")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Exchange)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Overheard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def bodies(self) -> list[dict[str, Any]]:
        """What was told, as documents."""
        return [json.loads(request[request.index(b"{") :]) for request in self.requests]


def statuses(bodies: Iterable[dict[str, Any]]) -> dict[str, str]:
    """The last status that was told of each resource."""
    return {body["resourceArn"]: body["status"] for body in bodies}
