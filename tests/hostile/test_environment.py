"""Bad input 91: the environment, and the home directory, lead no request astray; what was not taken is said.

A real daemon is started in an environment full of traps, and tells a real receiver.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemons import AgentCommand, write_settings
from support.enactors import moved
from support.facts import LOGS
from support.watching import bind_directory

from proton_tf_agent.environment import already_in_force, drop_what_is_not_taken
from proton_tf_agent.receiver import Receiver

ARN = "arn:aws:proton:us-east-1:111122223333:environment/net"
TAKEN = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/t", "AWS_ROLE_ARN": "arn", "AWS_ROLE_SESSION_NAME": "n",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1", "AWS_EC2_METADATA_DISABLED": "true",
    "HOME": "/root", "PATH": "/bin", "LANG": "C", "NOTIFY_SOCKET": "@x", "JOURNAL_STREAM": "1:2",
}  # fmt: skip
DROPPED = (
    "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_PROTON", "AWS_ENDPOINT_URL_STS", "AWS_PROFILE", "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE", "AWS_DATA_PATH", "AWS_REGION",
    "AWS_DEFAULT_REGION", "AWS_USE_FIPS_ENDPOINT", "AWS_MAX_ATTEMPTS", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy",
    "FTP_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE",
    "BOTO_CONFIG",
)  # fmt: skip


def test_credentials_are_taken_and_nothing_else_of_its_kind() -> None:
    environ = TAKEN | dict.fromkeys(DROPPED, "http://127.0.0.1:1")
    assert drop_what_is_not_taken(environ) == tuple(sorted(DROPPED))
    assert environ == TAKEN
    assert drop_what_is_not_taken(environ) == ()


@pytest.mark.parametrize(
    ("environ", "isolated", "named"),
    [
        ({"LD_PRELOAD": "/x.so", "PYTHONPATH": "/x"}, False, ("LD_PRELOAD", "PYTHONPATH")),
        ({"LD_PRELOAD": "/x.so", "PYTHONPATH": "/x"}, True, ("LD_PRELOAD",)),
        ({"LD_LIBRARY_PATH": "", "PYTHONHOME": ""}, False, ()),
    ],
)
def test_what_may_have_put_code_into_the_process_is_named(
    environ: dict[str, str], isolated: bool, named: tuple[str, ...]
) -> None:
    assert already_in_force(environ, isolated=isolated) == named


class Trap:
    """Listens, and answers nobody."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def has_caught(self) -> bool:
        try:
            self._listening.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    trap = Trap()
    yield trap
    trap.close()


def test_a_daemon_in_an_environment_full_of_traps_tells_whom_its_settings_name(
    tmp_path: Path, receiver: Receiver, trap: Trap
) -> None:
    """Not by a proxy, another endpoint, a profile whose credentials come of a program, a planted model or certificates;
    and it writes the keys of its connections nowhere."""
    marker, home = tmp_path / "was started", tmp_path / "home"
    planted = home / ".aws" / "models" / "proton" / "2099-01-01"
    planted.mkdir(parents=True)
    (planted / "service-2.json").write_text("{}")
    (tmp_path / "config").write_text(f"[profile evil]\ncredential_process = touch {marker}\n")
    traps = {
        "AWS_ENDPOINT_URL": trap.url, "AWS_ENDPOINT_URL_PROTON": trap.url, "AWS_PROFILE": "evil",
        "AWS_CONFIG_FILE": tmp_path / "config", "AWS_DATA_PATH": home / ".aws" / "models", "HOME": home,
        "AWS_CA_BUNDLE": tmp_path / "none.pem", "SSLKEYLOGFILE": tmp_path / "keys", "PYTHONPATH": tmp_path,
        **dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"), trap.url),
    }  # fmt: skip
    directory = tmp_path / "watched" / "net"
    directory.mkdir(parents=True)
    write_settings(tmp_path / "agent.toml", tmp_path / "journal" / "journal.db", [directory.parent], receiver.url)
    bind_directory(str(directory), ARN, "0" * 8 + "-0000-4000-8000-" + "0" * 12)
    agent = AgentCommand(tmp_path / "agent.toml", ["env", *(f"{name}={value}" for name, value in traps.items())])
    try:
        agent.wait_until_ready()
        (directory / "apply.log").write_text(moved((LOGS / "apply_ok.log").read_text(), time.time()))
        receiver.wait_for(lambda records: any(record.status == "SUCCEEDED" for record in records), 30.0)
        assert agent.stop() == 0
    finally:
        agent.close()
    assert not trap.has_caught()
    assert not marker.exists()
    assert not (tmp_path / "keys").exists()
    (said,) = (row for row in agent.rows() if row["event"] == "environment.dropped")
    assert set(said["names"]) >= traps.keys() - {"HOME", "PYTHONPATH"}
    assert said["in_force"] == ["PYTHONPATH"]
    assert trap.url not in repr(agent.rows()), "names, never values"


def test_a_daemon_in_a_plain_environment_has_nothing_to_say_of_it(tmp_path: Path) -> None:
    (tmp_path / "watched").mkdir()
    write_settings(
        tmp_path / "agent.toml", tmp_path / "journal" / "journal.db", [tmp_path / "watched"], "http://127.0.0.1:9"
    )
    clean = [
        name for name in os.environ if name.lower().endswith("_proxy") or name.startswith(("PYTHON", "SSL", "LD_"))
    ]
    names = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", *clean]
    agent = AgentCommand(tmp_path / "agent.toml", ["env", *(f"--unset={name}" for name in names)])
    try:
        agent.wait_until_ready()
        assert agent.stop() == 0
    finally:
        agent.close()
    assert not [row for row in agent.rows() if row["event"] == "environment.dropped"]
