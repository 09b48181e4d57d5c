"""Canaries are planted wherever a run keeps or shows secrets, and looked for wherever none may be: none is found, and
what is allowed is."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest
from support.agents import settings_for
from support.canaries import ARN, CONTROL, ENCODINGS, MARKER, NEEDLES, Aviary, Overheard, files_below, sightings
from support.daemons import AgentCommand, Row, write_settings
from support.soak import rounds
from support.terraform import Terraform
from support.watching import bind_directory

from proton_tf_agent import cli
from proton_tf_agent.agent import Agent
from proton_tf_agent.domain.values import replace
from proton_tf_agent.journal import Journal
from proton_tf_agent.pipeline import Addressee, Pipeline, Rules, Told
from proton_tf_agent.run_directories import RunDirectories
from proton_tf_agent.settings import AllowSettings, Settings, WatchSettings
from proton_tf_agent.sources.observe import observe
from proton_tf_agent.sources.place import place_of
from proton_tf_agent.sources.safe_open import SafeOpener
from proton_tf_agent.sources.watch import Touched
from proton_tf_agent.telemetry import configure

STATES = rounds(500, 20_000)
THROUGH_DAEMON = rounds(50, 2_000)
COMMANDS = (
    ["status"], ["runs", "list", "--limit", "5000"], ["journal", "list", "--limit", "5000"], ["journal", "tail"],
    ["journal", "list", "--parked"], ["replay", "--all", "--dry-run"], ["journal", "verify"],
)  # fmt: skip


def test_the_search_finds_a_canary_in_every_encoding_and_alignment() -> None:
    """Otherwise nothing that follows says anything."""
    aviary = Aviary(1)
    for secret in (*aviary.now, *aviary.before, *map(str, aviary.numbers)):
        for encode in ENCODINGS:
            for ahead in ("", "a", "ab", "abc"):
                assert sightings(encode(ahead + secret).encode()), encode(secret)
    assert len(NEEDLES) == 13  # digits have no upper case
    assert not sightings(CONTROL.encode())


def absorb(journal: Journal, root: Path, directories: list[Path]) -> list[Told]:
    """Let the agent's own readers and pipeline have the logs of some run directories, a batch at a time."""
    opener = SafeOpener([str(root)])
    settings = Settings(allow=AllowSettings(("arn:aws:proton:*",)))
    told: list[Told] = []
    addressee = Addressee("proton", lambda _notification: True, lambda _notification: "")
    pipeline = Pipeline(journal, RunDirectories(opener, settings), [addressee], Rules(), told.append)
    observations = []
    for directory in directories:
        path = str(directory / "apply.log")
        place = place_of(path, ("*.log",))
        assert place is not None
        observation = observe(opener, Touched(path, place, closed=True), None)
        assert observation is not None
        observations.append(observation)
        if len(observations) == 50 or directory == directories[-1]:
            now = os.stat(path).st_mtime + 1
            pipeline.absorb(observations, now, lambda _path: 0.0)
            pipeline.elapse(now + 3600)
            observations = []
    return told


def said(*arguments: str) -> bytes:
    """What a command prints, on both streams."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        cli.main(arguments)
    return (out.getvalue() + err.getvalue()).encode("utf-8", "surrogatepass")


@pytest.mark.timeout(240)
def test_of_five_hundred_states_no_secret_comes_near_the_journal_or_any_command(tmp_path: Path) -> None:
    root, kept = tmp_path / "watched", tmp_path / "kept"
    kept.mkdir(mode=0o700)
    aviaries = [Aviary(seed) for seed in range(STATES)]
    directories = [aviary.plant(root) for aviary in aviaries]
    write_settings(tmp_path / "agent.toml", kept / "journal.db", [root], "http://127.0.0.1:1")
    with Journal.open_as_daemon(str(kept / "journal.db")) as journal:
        told = absorb(journal, root, directories)
        journal.back_up(str(kept / "backup.db"))
    assert not sightings(repr(told).encode())
    contents = dict(files_below(kept))
    assert {name: found for name, content in contents.items() if (found := sightings(content))} == {}
    assert contents[kept / "journal.db"].count(CONTROL.encode()) >= sum(not aviary.fails for aviary in aviaries)
    printed = [said(*command, *how, "--config", str(tmp_path / "agent.toml")) for command in COMMANDS for how in HOW]
    assert [found for text in printed if (found := sightings(text))] == []
    assert sum(b"cannot log in with [REDACTED]" in text for text in printed) >= 4
    assert sum(CONTROL.encode() in text for text in printed) >= 2


HOW: tuple[list[str], ...] = ([], ["--json"])


@pytest.mark.timeout(240)
def test_a_daemon_with_fifty_runs_lets_no_secret_out_anywhere(tmp_path: Path) -> None:
    root, kept = tmp_path / "watched", tmp_path / "kept"
    root.mkdir()
    kept.mkdir(mode=0o700)
    settings = tmp_path / "agent.toml"
    aviaries = [Aviary(10**6 + seed) for seed in range(THROUGH_DAEMON)]
    with Overheard() as overheard:
        write_settings(settings, kept / "journal.db", [root], overheard.url, spool=str(kept / "spool"))
        settings.write_text(settings.read_text() + '[log]\nlevel = "debug"\n')
        agent = AgentCommand(settings)
        try:
            agent.wait_until_ready()
            directories = [aviary.plant(root) for aviary in aviaries]
            agent.wait_for(
                lambda rows: len(ends_delivered(rows)) == len(aviaries),
                "has not told all runs",
                deadline_s=60 + THROUGH_DAEMON,
            )
            process = f"/proc/{agent.process.pid}"
            looked_into = [Path(process, name).read_bytes() for name in ("environ", "cmdline")]
            looked_into += [asked(settings, *command) for command in COMMANDS[:3]]
            looked_into.append(asked(settings, "explain", str(directories[0])))
            looked_into += [asked(settings, "doctor"), asked(settings, "journal", "backup", str(kept / "copy.db"))]
            looked_into.append(asked(settings, "journal", "export", str(kept / "export.jsonl")))
            looked_into += [asked(settings, "metrics"), asked(settings, "doctor", "--bundle", str(tmp_path / "bundle"))]
            bundle = unpacked(tmp_path / "bundle")
            assert any(b'"run_id"' in file for file in bundle)
            looked_into += bundle
        finally:
            agent.stop()
        looked_into += [json.dumps(row).encode() for row in agent.rows()]
        bodies = overheard.bodies()
    everywhere = [*looked_into, *overheard.requests, *(content for _, content in files_below(kept))]
    assert [found for content in everywhere if (found := sightings(content))] == []
    ends = [body for body in bodies if body["status"] != "IN_PROGRESS"]
    assert len({body["resourceArn"] for body in ends}) == len(aviaries)
    outputs = {o["valueString"] for body in ends for o in body.get("outputs", ())}
    assert {f"{CONTROL}-{aviary.seed}" for aviary in aviaries if not aviary.fails} <= outputs
    assert any("[REDACTED]" in body["statusMessage"] for body in ends)


def unpacked(bundle: Path) -> list[bytes]:
    """The files in a support bundle."""
    with tarfile.open(bundle) as archive:
        files = [archive.extractfile(member) for member in archive.getmembers()]
        return [file.read() for file in files if file is not None]


def ends_delivered(rows: list[Row]) -> set[str]:
    """The runs whose end has been accepted."""
    delivered = (row for row in rows if row["event"] == "notification.delivered")
    return {row["run_id"] for row in delivered if row["status"] != "IN_PROGRESS"}


def asked(settings: Path, *arguments: str) -> bytes:
    """What a command prints, on both streams, in a process of its own."""
    command = [sys.executable, "-m", "proton_tf_agent", *arguments, "--config", str(settings)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).stdout


# --- a real Terraform ---------------------------------------------------------------------------------------------

CONFIGURATION = """
variable "password" { sensitive = true }
variable "before" { default = "" }
variable "connection" {
  sensitive = true
  type      = object({ user = string, tokens = list(string), deep = map(object({ key = string, pin = number })) })
}
variable "session" {
  ephemeral = true
  sensitive = true
}
variable "revision" {}
variable "fails" { default = false }
resource "terraform_data" "holds" {
  triggers_replace = var.revision
  input            = { plain = "x", nested = [{ password = var.password }], connection = var.connection }
}
resource "terraform_data" "fails" {
  count            = var.fails ? 1 : 0
  triggers_replace = terraform_data.holds.id
  lifecycle {
    precondition {
      condition     = terraform_data.holds.id == "never"
      error_message = "As ${nonsensitive(var.password)} no login, nor as ${var.before}."
    }
  }
}
resource "terraform_data" "speaks" {
  for_each         = toset([nonsensitive(var.connection.tokens[1])])
  triggers_replace = var.revision
  provisioner "local-exec" {
    command     = "echo $SESSION ${base64encode(nonsensitive("${var.password} ${var.connection.tokens[0]}"))}"
    environment = { SESSION = var.session }
  }
}
output "plain" { value = "CONTROL-${var.revision}" }
output "secret" {
  value     = var.connection
  sensitive = true
}
output "copy" { value = nonsensitive("it is ${var.password}") }
output "encoded" { value = base64encode(nonsensitive("user:${var.password}")) }
output "in_json" { value = jsonencode({ list = [nonsensitive(jsonencode({ t = var.connection.tokens[0] }))] }) }
output "pin" { value = nonsensitive(var.connection.deep["a"].pin) }
""".replace("CONTROL", CONTROL)
RUNS = (  # how it is run, how it ends
    ("apply -json -auto-approve", "> apply.log", False),
    ("apply -json -auto-approve", "> second.log", True),
    ("apply -no-color -auto-approve", "> third.log 2>&1", False),
    ("apply -no-color -auto-approve", "> fourth.log 2>&1", True),
)  # fmt: skip


@pytest.mark.timeout(240)
def test_a_real_terraform_with_values_that_rotate_lets_no_secret_out(tmp_path: Path, terraform: Terraform) -> None:
    """Sensitive variables, nested in objects, lists and maps, unmarked by `nonsensitive`, ephemeral; other values in
    every run. An error quotes the present value and the one before."""
    root, kept = tmp_path / "watched", tmp_path / "kept"
    kept.mkdir(mode=0o700)
    directory = root / "net"
    bind_directory(str(directory), ARN + "net", "00000000-0000-4000-8000-000000000000")
    (directory / "main.tf").write_text(CONFIGURATION)
    aviary = Aviary(7)
    before = ""
    with Overheard() as overheard:
        write_settings(tmp_path / "agent.toml", kept / "journal.db", [root], overheard.url, spool=str(kept / "spool"))
        agent = AgentCommand(tmp_path / "agent.toml")
        try:
            agent.wait_until_ready()
            for number, (line, into, fails) in enumerate(RUNS):
                values = {
                    "password": aviary.secret(), "before": before, "session": aviary.secret(), "revision": str(number),
                    "connection": json.dumps({
                        "user": "admin", "tokens": [aviary.secret(), aviary.secret()],
                        "deep": {"a": {"key": aviary.secret(), "pin": aviary.numbers[number % 2] + number}},
                    }),
                    "fails": json.dumps(fails),
                }  # fmt: skip
                environment = {f"TF_VAR_{name}": value for name, value in values.items()}
                assert terraform.run(f"terraform {line} {into}", str(directory), **environment) == int(fails)
                agent.wait_for(lambda rows, ends=number + 1: len(ends_delivered(rows)) == ends, "has not told a run")  # type: ignore[misc]
                before = values["password"]
            said = [asked(tmp_path / "agent.toml", "explain", str(directory), *how) for how in HOW]
        finally:
            agent.stop()
        rows = [json.dumps(row).encode() for row in agent.rows()]
    planted = sightings(b"".join(content for _, content in files_below(directory)))
    assert planted
    everywhere = [*said, *rows, *overheard.requests, *(content for _, content in files_below(kept))]
    assert [found for content in everywhere if (found := sightings(content))] == []
    ends = [body for body in overheard.bodies() if body["status"] != "IN_PROGRESS"]
    assert [body["status"] for body in ends] == ["SUCCEEDED", "FAILED", "SUCCEEDED", "FAILED"]
    outputs = [body.get("outputs") for body in ends]
    assert outputs[0] == [{"key": "plain", "valueString": f"{CONTROL}-0"}]
    assert outputs[2] == [{"key": "plain", "valueString": f"{CONTROL}-2"}]
    assert all("Resource precondition failed" in body["statusMessage"] for body in ends[1::2])


# --- tracebacks ---------------------------------------------------------------------------------------------------

CALL_SITES = (
    "proton_tf_agent.observer.observe",
    "proton_tf_agent.pipeline.correlate",
    "proton_tf_agent.pipeline.advance",
    "proton_tf_agent.pipeline.compose",
    "proton_tf_agent.pipeline.map_outputs",
    "proton_tf_agent.domain.redacted_facts.scrub",
    "proton_tf_agent.domain.redaction.scrub",
    "proton_tf_agent.run_directories.read_state",
    "proton_tf_agent.run_directories.from_metadata",
    "proton_tf_agent.sources.states.state_file.read",
    "proton_tf_agent.journal.Journal.enqueue",
    "proton_tf_agent.relay.settle",
)


@pytest.mark.parametrize("site", CALL_SITES)
def test_an_exception_that_quotes_a_secret_ends_the_agent_without_saying_it(
    site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    aviary = Aviary(10**7)
    while aviary.fails == (not site.endswith("scrub")):
        aviary = Aviary(aviary.seed + 1)
    aviary.plant(tmp_path / "watched")

    def fail(*_arguments: Any, **_options: Any) -> Any:
        raise ValueError(aviary.now[0])

    monkeypatch.setattr(site, fail)
    stream = io.StringIO()
    with Overheard() as overheard:
        root = str(tmp_path / "watched")
        settings = settings_for(root, str(tmp_path / "kept" / "journal.db"), overheard.url)
        settings = replace(settings, watch=(WatchSettings(root, backfill=True),))
        agent = Agent(settings, configure("debug", "json", stream))
        watchdog = threading.Timer(20, agent.stop)
        watchdog.start()
        code = agent.run()
        watchdog.cancel()
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    failed = [row for row in rows if row["event"] == "agent.failed"]
    assert code == 1
    assert failed
    assert failed[0]["reason"].startswith("ValueError at ")
    said_on = "".join(capfd.readouterr())
    assert sightings((stream.getvalue() + said_on).encode()) == []


def test_a_command_that_meets_a_defect_says_where_and_not_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal.open_as_daemon(str(tmp_path / "kept" / "journal.db")):
        pass
    write_settings(tmp_path / "agent.toml", tmp_path / "kept" / "journal.db", [tmp_path / "w"], "http://127.0.0.1:1")

    def fail(*_arguments: Any, **_options: Any) -> Any:
        raise KeyError(MARKER)

    monkeypatch.setattr("proton_tf_agent.status.run_rows", fail)
    text = said("runs", "list", "--config", str(tmp_path / "agent.toml"))
    assert b"this is a defect, please report it: KeyError at " in text
    assert not sightings(text)
