"""Settings: every mistake at once and in its place, and no file that makes reading fail otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from proton_tf_agent.domain.errors import Problem, SettingsInvalid
from proton_tf_agent.domain.output_mapping import OutputMapping
from proton_tf_agent.domain.routing import Occasion
from proton_tf_agent.settings import (
    AllowSettings,
    AwsSettings,
    BindSettings,
    JournalSettings,
    LogSettings,
    RunSettings,
    S3StateSettings,
    ScanSettings,
    Settings,
    SinkSettings,
    SinkType,
    WatchSettings,
    advice,
    generate,
    lines,
    load,
    schema,
    show,
)
from proton_tf_agent.settings.tables import TABLES

CONFIG = Path(__file__).parents[2] / "config"
WATCH = '[[watch]]\npath = "/w"\n'
ARN = "arn:aws:proton:eu-west-1:123456789012:environment/network"
ID = "0f5c1b0a-6a53-4a3c-9f6e-2b8a5f0d7c11"

patient = hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class File:
    """A settings file that is written again and again."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def load(self, text: str | bytes, mode: int = 0o644) -> Settings:
        with open(self.path, "wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)
        os.chmod(self.path, mode)
        return load(self.path)

    def problems(self, text: str | bytes, mode: int = 0o644) -> list[Problem]:
        with pytest.raises(SettingsInvalid) as refused:
            self.load(text, mode)
        assert refused.value.problems
        assert refused.value.exit_code == 78
        return list(refused.value.problems)

    def problem(self, text: str | bytes, mode: int = 0o644) -> tuple[str, str, str]:
        """The only problem: where (without the file's path), what, hint."""
        problems = self.problems(text, mode)
        assert len(problems) == 1, problems
        return problems[0].where.removeprefix(self.path), problems[0].what, problems[0].hint


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "agent.toml")


# --- what is right ----------------------------------------------------------------------------------------


def test_only_a_watch_root_is_needed(file: File) -> None:
    assert file.load(WATCH) == Settings(watch=(WatchSettings("/w"),))


def test_defaults_are_those_of_the_design() -> None:
    assert Settings() == Settings(
        journal=JournalSettings(
            "/var/lib/proton-tf-agent/journal.db", keep_days=90, keep_rows=100_000, keep_bytes=512 << 20
        ),
        outputs=OutputMapping(("*",), (), {}),
        allow=AllowSettings(()),
        run=RunSettings(10.0, 3.0, "in_progress"),
        scan=ScanSettings(30.0),
        log=LogSettings("info", "json"),
    )
    assert WatchSettings("/w") == WatchSettings("/w", ("*.log", "*.jsonl", "*.json"), False)


def test_every_key_arrives(file: File) -> None:
    settings = file.load(EVERYTHING)
    assert settings == Settings(
        journal=JournalSettings("/j/journal.db", keep_days=30, keep_rows=0, keep_bytes=1 << 30),
        watch=(WatchSettings("/w/a", ("*.txt",), True), WatchSettings("/w/b")),
        bind=(BindSettings("/srv/infra/network", ARN, ID), BindSettings("/srv/infra/dns", name="dns")),
        outputs=OutputMapping(("vpc_*",), ("*_id",), {"vpc_id": "VpcId", "url": "Url"}),
        allow=AllowSettings(("arn:aws:proton:*:123456789012:*",)),
        aws=AwsSettings("p", "/a/config", "/a/credentials", "/a/ca.pem", "http://proxy.example.com:3128"),
        s3_state=(
            S3StateSettings("states", "eu-west-1", ("network/*",), "https://minio.example.com", "locks", 1.0, "states"),
        ),
        sink=(
            SinkSettings("proton", "eu", "eu-west-1", "http://127.0.0.1:8790", 0.5, 30.0, True, "deployments"),
            SinkSettings(
                "console",
                only=(Occasion.FAILED, Occasion.RECOVERED),
                resources=("arn:aws:proton:*:environment/prod-*",),
                directories=("/srv/infra/*",),
                unbound=True,
            ),
        ),
        run=RunSettings(120.0, 0.0, "succeed"),
        scan=ScanSettings(60.0),
        log=LogSettings("debug", "console"),
    )
    assert settings.path == file.path


EVERYTHING = f"""\
[journal]
path = "/j//./journal.db"
keep_days = 30
keep_rows = 0
keep_bytes = "1 GiB"
[[watch]]
path = "/w/a/"
logs = ["*.txt"]
backfill = true
[[watch]]
path = "/w/b"
[[bind]]
directory = "/srv/infra/network"
resource_arn = "{ARN}"
deployment_id = "{ID}"
[[bind]]
directory = "/srv/infra/dns"
name = "dns"
[outputs]
include = ["vpc_*"]
exclude = ["*_id"]
[outputs.rename]
vpc_id = "VpcId"
url = "Url"
[allow]
resource_arns = ["arn:aws:proton:*:123456789012:*"]
[aws]
profile = "p"
config_file = "/a/config"
credentials_file = "/a/credentials"
ca_bundle = "/a/ca.pem"
proxy_url = "http://proxy.example.com:3128"
[[s3_state]]
bucket = "states"
region = "eu-west-1"
keys = ["network/*"]
endpoint_url = "https://minio.example.com"
dynamodb_table = "locks"
timeout = "1s"
profile = "states"
[[sink]]
type = "proton"
name = "eu"
region = "eu-west-1"
endpoint_url = "http://127.0.0.1:8790"
connect_timeout = "500ms"
read_timeout = 30
read_back = true
profile = "deployments"
[[sink]]
type = "console"
only = ["failed", "recovered"]
resources = ["arn:aws:proton:*:environment/prod-*"]
directories = ["/srv/infra/*"]
unbound = true
[run]
settle = "2m"
grace = 0
no_changes = "succeed"
[scan]
rescan = "1 m"
[log]
level = "debug"
format = "console"
"""


def test_settings_cannot_be_changed() -> None:
    for name in ("watch", "path"):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(Settings(), name, ())


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("1", 1.0),
        ("0.25", 0.25),
        ('"10s"', 10.0),
        ('"500ms"', 0.5),
        ('"2m"', 120.0),
        ('"1h"', 3600.0),
        ('"1.5 s"', 1.5),
    ],
)
def test_durations_are_numbers_of_seconds_or_carry_a_unit(file: File, written: str, seconds: float) -> None:
    assert file.load(f"{WATCH}[run]\nsettle = {written}\n").run.settle == seconds


@pytest.mark.parametrize(
    ("written", "size"), [("0", 0), ("70000", 70_000), ('"512KiB"', 1 << 19), ('"8 MiB"', 8 << 20), ('"2GiB"', 2 << 30)]
)
def test_sizes_are_numbers_of_bytes_or_carry_a_unit(file: File, written: str, size: int) -> None:
    settings = file.load(f"{WATCH}[journal]\nkeep_bytes = {written}\n")
    assert settings.journal.keep_bytes == size
    assert file.load(show(settings)).journal == settings.journal


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("keep_days = -1", "must be from 0 to 36500"),
        ("keep_days = 1.5", "must be an integer, not a number"),
        ('keep_rows = "many"', "must be an integer, not a string"),
        ('keep_bytes = "8MB"', "is not a size"),
        ("keep_bytes = -1", "must be from 0 to "),
    ],
)
def test_what_is_kept_must_be_a_number_that_makes_sense(file: File, line: str, complaint: str) -> None:
    where, what, _ = file.problem(f"{WATCH}[journal]\n{line}\n")
    assert where == f":4: [journal] {line.split()[0]}"
    assert what.startswith(complaint)


@pytest.mark.parametrize("url", ["https://proton.eu-west-1.amazonaws.com", "http://[::1]:80/x", "http://127.9.9.9"])
def test_endpoints_that_are_safe(file: File, url: str) -> None:
    text = f'{WATCH}[[sink]]\ntype = "proton"\nregion = "eu-west-1"\nendpoint_url = "{url}"\n'
    assert file.load(text).sink[0].endpoint_url == url


@pytest.mark.parametrize(
    ("allowed", "bound", "region"),
    [
        (["arn:aws:proton:eu-west-1:*"], [], "eu-west-1"),
        ([], [ARN], "eu-west-1"),
        (["arn:aws*:proton:eu-west-1:1*:environment/*"], [ARN], "eu-west-1"),
        (["arn:aws:proton:us-east-1:*"], [ARN], None),
        (["arn:aws:proton:eu-west-1:*", "arn:aws:proton:*"], [], None),
        (["arn:aws:proton:eu-west-?:*"], [], None),
        (["arn:aws:proton:eu-west-1*"], [], None),
        (["*"], [], None),
        ([], [], None),
    ],
)
def test_region_is_taken_from_the_arns_if_all_name_one(
    file: File, allowed: list[str], bound: list[str], region: str | None
) -> None:
    binds = "".join(f'[[bind]]\ndirectory = "/b"\nresource_arn = "{arn}"\n' for arn in bound)
    text = f'{WATCH}{binds}[[sink]]\ntype = "proton"\n[allow]\nresource_arns = {json.dumps(allowed)}\n'
    if region:
        assert file.load(text).sink[0].region == region
        return
    where, what, hint = file.problem(text)
    assert where == f":{3 + 3 * len(bound)}: [[sink]] region"
    assert what == "is missing, and [allow] and [[bind]] name no single region"
    assert hint == 'for example: region = "eu-west-1"'


# --- mistakes ---------------------------------------------------------------------------------------------

ABSOLUTE = "must be an absolute path"
ENDPOINT = "must be an https URL, or http to a literal loopback address"
LIKE_ENDPOINT = 'for example "http://127.0.0.1:8790"'
AN_ARN = (
    "the ARN of an environment, component, service instance or pipeline, such as "
    "arn:aws:proton:REGION:ACCOUNT:environment/NAME"
)
A_JOURNAL = 'for example: path = "/var/lib/proton-tf-agent/journal.db"'
NO_ARN_GLOB = ("matches no ARN of a Proton resource", 'for example "arn:aws:proton:*:123456789012:*"')
NO_OUTPUT_GLOB = (
    "matches no output name",
    "this is a glob, not a regular expression: * stands for anything",
)
NO_DURATION = ("is not a duration", 'seconds, or a string such as "500ms", "10s" or "2m"')
OPEN_GLOB = ("has a [ that is never closed", "write [[] for the character itself")
RENAME_ONE = 'for example: rename = { vpc_id = "VpcId" }'
STATES = '[[s3_state]]\nregion = "eu-west-1"\n'
PROTON = '[[sink]]\ntype = "proton"\nregion = "eu-west-1"\n'
BIND = '[[bind]]\ndirectory = "/b"\n'

KNOWN_TABLES = (
    "[journal], [[watch]], [[bind]], [outputs], [allow], [aws], [[s3_state]], [[sink]], [run], [scan], [spool], "
    "[metrics], [log]"
)  # fmt: skip
# Text (a good [[watch]] follows it), and the where, what and hint of its only mistake.
SINK_TYPES = [f'"{name}"' for name in get_args(SinkType)]
MISTAKES = [
    # names
    ("[jurnal]\n", ":1: jurnal", "unknown table", "did you mean [journal]?"),
    (
        "\n[zzz]\n",
        ":2: zzz",
        "unknown table",
        f"known are {KNOWN_TABLES}",
    ),
    ('region = "eu-west-1"\n', ":1: region", "stands outside of a table", "it belongs below [[s3_state]] or [[sink]]"),
    (
        'path = "/x"\n',
        ":1: path",
        "stands outside of a table",
        "it belongs below [journal] or [[watch]] or [[sink]] or [spool]",
    ),
    ('[journal]\npaht = "/j"\n', ":2: [journal] paht", "unknown key", "did you mean path?"),
    ("[log]\n\nx = 1\n", ":3: [log] x", "unknown key", "known here: level, format"),
    ('[log]\n"a\\u001bb" = 1\n', ':2: [log] "a\\u001bb"', "unknown key", "known here: level, format"),
    # shapes
    (
        "journal = 3\n",
        ":1: [journal]",
        "must be a table",
        "write [journal] on a line of its own, then its keys below",
    ),
    ("[[log]]\n", ":1: [log]", "must be written [log]", "single brackets: there is only one"),
    (
        '[sink]\ntype = "console"\n',
        ":1: [[sink]]",
        "must be written [[sink]]",
        "double brackets: there may be more than one",
    ),
    ("bind = [1]\n", ":1: [[bind]]", "must be a table", "write [[bind]] on a line of its own, then its keys below"),
    # types
    ("[journal]\npath = 3\n", ":2: [journal] path", "must be a string, not an integer", A_JOURNAL),
    (
        "[log]\nlevel = true\n",
        ":2: [log] level",
        "must be a string, not true or false",
        'for example: level = "debug"',
    ),
    (
        "[log]\nlevel = 1979-05-27\n",
        ":2: [log] level",
        "must be a string, not a date or time",
        'for example: level = "debug"',
    ),
    (
        '[allow]\nresource_arns = "*"\n',
        ":2: [allow] resource_arns",
        "must be an array, not a string",
        'for example: resource_arns = ["arn:aws:proton:*:123456789012:*"]',
    ),
    (
        "[outputs]\ninclude = [\n  'a',\n  1,\n]\n",
        ":4: [outputs] include",
        "must be a string, not an integer",
        'for example: include = ["vpc_*", "url"]',
    ),
    ("[outputs]\nrename = []\n", ":2: [outputs] rename", "must be a table of names, not an array", RENAME_ONE),
    (
        "[run]\nsettle = true\n",
        ":2: [run] settle",
        "must be a duration, not true or false",
        'for example: settle = "30s"',
    ),
    # required keys
    (
        "[[bind]]\ndirectory = '/b'\n",
        ":1: [[bind]] resource_arn",
        "is missing, and there is no name instead of it",
        f'for example: resource_arn = "{ARN}"',
    ),
    (
        f'{BIND}name = "network"\ndeployment_id = "{ID}"\n',
        ":4: [[bind]] deployment_id",
        "means nothing without resource_arn",
        "take it out: no Proton resource is deployed",
    ),
    (
        f'{BIND}name = "arn:x/y"\n',
        ":3: [[bind]] name",
        "is no name for a run",
        "at most 100 letters, digits, dots, dashes and underscores",
    ),
    ("\n[[sink]]\n", ":2: [[sink]] type", "is missing", 'for example: type = "proton"'),
    # paths
    ('[journal]\npath = "j.db"\n', ":2: [journal] path", ABSOLUTE, A_JOURNAL),
    ('[journal]\npath = "~/j.db"\n', ":2: [journal] path", ABSOLUTE, "~ and $ are not expanded here"),
    ('[journal]\npath = "/j/../k"\n', ":2: [journal] path", 'must not hold ".."', "write the path it leads to"),
    ('[journal]\npath = ""\n', ":2: [journal] path", "is empty", A_JOURNAL),
    ('[journal]\npath = "/a\\u0000"\n', ":2: [journal] path", "holds a control character", A_JOURNAL),
    (
        '[[watch]]\npath = "//"\n',
        ":2: [[watch]] path",
        "must not be the whole file system",
        "name what is meant below /",
    ),
    (
        '[[watch]]\npath = "/w/"\n',
        ":4: [[watch]] path",
        "/w is watched twice, first on line 1",
        "take one of them out",
    ),
    (
        '[[watch]]\npath = "/w/x/y"\n',
        ":2: [[watch]] path",
        "/w/x/y lies inside the watch root /w",
        "take it out: it is watched anyway",
    ),
    (
        '[journal]\npath = "/w/j"\n',
        ":2: [journal] path",
        "/w/j lies inside the watch root /w",
        "put it elsewhere: the agent writes nothing below a watch root",
    ),
    (
        '[journal]\npath = "/w"\n',
        ":2: [journal] path",
        "/w lies inside the watch root /w",
        "put it elsewhere: the agent writes nothing below a watch root",
    ),
    (
        '[spool]\npath = "/w/spool"\n',
        ":2: [spool] path",
        "/w/spool lies inside the watch root /w",
        "put it elsewhere: whoever may write a record there would be taken for a job",
    ),
    (
        '[spool]\nusers = ["1000"]\n',
        ":2: [spool] users",
        "is not the name of a user",
        "the login name, not a number",
    ),
    # ARNs and ids
    (
        f'{BIND}resource_arn = "arn:aws:iam::1:role/x"\n',
        ":3: [[bind]] resource_arn",
        "is not the ARN of a Proton resource",
        AN_ARN,
    ),
    (
        f'{BIND}resource_arn = "{ARN}"\ndeployment_id = "{ID.upper()}"\n',
        ":4: [[bind]] deployment_id",
        "is not a deployment ID",
        "a UUID in lower case; leave the key out if it is not known",
    ),
    (
        f'{BIND}resource_arn = "{ARN}"\n{BIND}resource_arn = "{ARN}"\n',
        ":5: [[bind]] directory",
        "/b is bound twice, first on line 1",
        "take one of them out",
    ),
    # globs
    ('[allow]\nresource_arns = ["arn:aws:s3:*"]\n', ":2: [allow] resource_arns", *NO_ARN_GLOB),
    ('[allow]\nresource_arns = ["arn:aws:proton:.*"]\n', ":2: [allow] resource_arns", *NO_ARN_GLOB),
    (
        '[allow]\nresource_arns = ["arn:aws:proton:eu-west-1:1:environment/x"]\n',
        ":2: [allow] resource_arns",
        *NO_ARN_GLOB,
    ),
    ('[outputs]\ninclude = ["vpc.*"]\n', ":2: [outputs] include", *NO_OUTPUT_GLOB),
    ('[outputs]\nexclude = ["^a$"]\n', ":2: [outputs] exclude", *NO_OUTPUT_GLOB),
    ('[outputs]\nexclude = ["a[b"]\n', ":2: [outputs] exclude", *OPEN_GLOB),
    ('[outputs]\nexclude = ["a[!]"]\n', ":2: [outputs] exclude", *OPEN_GLOB),
    (
        '[[watch]]\npath = "/v"\nlogs = ["**/*.log"]\n',
        ":3: [[watch]] logs",
        "is matched against file names, which hold no /",
        "everything below path is looked at anyway",
    ),
    # outputs
    (
        '[outputs]\nrename = { a = "A", b = "A" }\n',
        ":2: [outputs] rename.b",
        "is a name that another output is given",
        "give each output a name of its own",
    ),
    (
        f'[outputs.rename]\na = "{"x" * 101}"\n',
        ":2: [outputs] rename.a",
        "is longer than 100 characters",
        "Proton takes no longer names",
    ),
    (
        '[outputs.rename]\n"a*" = "A"\n',
        ':2: [outputs] rename."a*"',
        "is no output name",
        "each output is renamed by its full name; globs have no meaning here",
    ),
    ('[outputs.rename]\na = ""\n', ":2: [outputs] rename.a", "is empty", RENAME_ONE),
    # states in S3
    ('[[s3_state]]\nbucket = "b-1"\n', ":1: [[s3_state]] region", "is missing", 'for example: region = "eu-west-1"'),
    (
        f'{STATES}bucket = "s3://states/network"\n',
        ":3: [[s3_state]] bucket",
        "is not the name of a bucket",
        "the name alone, without s3:// and without a key",
    ),
    (
        f'{STATES}bucket = "states"\ndynamodb_table = "arn:aws:dynamodb:eu-west-1:1:table/locks"\n',
        ":4: [[s3_state]] dynamodb_table",
        "is not the name of a DynamoDB table",
        "the name alone, not its ARN",
    ),
    (
        f'{STATES}bucket = "states"\ntimeout = "1m"\n',
        ":4: [[s3_state]] timeout",
        "must be from 100ms to 10s",
        'for example: timeout = "1s"',
    ),
    # sinks
    (
        '[[sink]]\ntype = "protn"\n',
        ":2: [[sink]] type",
        f"must be {', '.join(SINK_TYPES[:-1])} or {SINK_TYPES[-1]}",
        'did you mean "proton"?',
    ),
    (
        PROTON + PROTON,
        ":4: [[sink]] name",
        "proton is the name of another sink too, first on line 1",
        'give it a name of its own, for example: name = "audit"',
    ),
    (
        '[[sink]]\ntype = "console"\nname = "a/b"\n',
        ":3: [[sink]] name",
        "is no sink name",
        "at most 64 letters, digits, dots, dashes and underscores",
    ),
    (
        '[[sink]]\ntype = "console"\nregion = "eu-west-1"\n',
        ":3: [[sink]] region",
        "means nothing to a console sink",
        "take it out",
    ),
    (
        '[[sink]]\ntype = "proton"\nregion = "europe"\n',
        ":3: [[sink]] region",
        "is not the name of an AWS region",
        'for example "eu-west-1"',
    ),
    (
        f'{PROTON}endpoint_url = "http://localhost:80"\n',
        ":4: [[sink]] endpoint_url",
        ENDPOINT,
        "write 127.0.0.1 instead of localhost",
    ),
    (f'{PROTON}endpoint_url = "http://10.0.0.1"\n', ":4: [[sink]] endpoint_url", ENDPOINT, LIKE_ENDPOINT),
    (f'{PROTON}endpoint_url = "http://127.0.0.1.evil.org"\n', ":4: [[sink]] endpoint_url", ENDPOINT, LIKE_ENDPOINT),
    (f'{PROTON}endpoint_url = "http://169.254.169.254"\n', ":4: [[sink]] endpoint_url", ENDPOINT, LIKE_ENDPOINT),
    (f'{PROTON}endpoint_url = "file:///etc/passwd"\n', ":4: [[sink]] endpoint_url", ENDPOINT, LIKE_ENDPOINT),
    (f'{PROTON}endpoint_url = "https://"\n', ":4: [[sink]] endpoint_url", "names no host and port", LIKE_ENDPOINT),
    (f'{PROTON}endpoint_url = "https://[::1"\n', ":4: [[sink]] endpoint_url", "is not a URL", LIKE_ENDPOINT),
    (f'{PROTON}endpoint_url = "https://x:99999"\n', ":4: [[sink]] endpoint_url", "is not a URL", LIKE_ENDPOINT),
    (
        f'{PROTON}endpoint_url = "https://me:pw@x"\n',
        ":4: [[sink]] endpoint_url",
        "must not hold credentials",
        "they come from the AWS credential chain",
    ),
    (
        f'{PROTON}endpoint_url = "https://x/?a=b"\n',
        ":4: [[sink]] endpoint_url",
        "must not hold a query or a fragment",
        LIKE_ENDPOINT,
    ),
    (
        f"{PROTON}read_timeout = 0\n",
        ":4: [[sink]] read_timeout",
        "must be from 100ms to 5m",
        'for example: read_timeout = "30s"',
    ),
    # routes
    (
        f'{PROTON}only = ["fialed"]\n',
        ":4: [[sink]] only",
        'must be "terminal", "in_progress", "succeeded", "failed", "destroyed" or "recovered"',
        'did you mean "failed"?',
    ),
    (
        f'{PROTON}directories = ["*/prod/*"]\n',
        ":4: [[sink]] directories",
        "matches no directory",
        "write it from / on: jobs choose the names below their own",
    ),
    (f'{PROTON}directories = ["/w/[a"]\n', ":4: [[sink]] directories", *OPEN_GLOB),
    (f'{PROTON}resources = ["arn:aws:iam::*"]\n', ":4: [[sink]] resources", *NO_ARN_GLOB),
    (
        f'{PROTON}resources = ["environment/network"]\n',
        ":4: [[sink]] resources",
        "matches neither the ARN of a Proton resource nor a name of [[bind]]",
        "an ARN begins with arn:",
    ),
    (f"{PROTON}unbound = true\n", ":4: [[sink]] unbound", "means nothing to a proton sink", "take it out"),
    # durations and choices
    ('[run]\nsettle = "10 days"\n', ":2: [run] settle", *NO_DURATION),
    ('[run]\nsettle = "-1s"\n', ":2: [run] settle", *NO_DURATION),
    ("[run]\nsettle = -1\n", ":2: [run] settle", "must be from 100ms to 1h", 'for example: settle = "30s"'),
    ("[run]\nsettle = nan\n", ":2: [run] settle", "must be from 100ms to 1h", 'for example: settle = "30s"'),
    ("[run]\nsettle = -inf\n", ":2: [run] settle", "must be from 100ms to 1h", 'for example: settle = "30s"'),
    (
        f"[run]\nsettle = 0x{'f' * 5000}\n",
        ":2: [run] settle",
        "must be from 100ms to 1h",
        'for example: settle = "30s"',
    ),
    ('[scan]\nrescan = "999ms"\n', ":2: [scan] rescan", "must be from 1s to 1h", 'for example: rescan = "1m"'),
    (
        '[run]\nno_changes = "suceed"\n',
        ":2: [run] no_changes",
        'must be "in_progress" or "succeed"',
        'did you mean "succeed"?',
    ),
    (
        '[log]\nlevel = "INFO"\n',
        ":2: [log] level",
        'must be "debug", "info", "warning" or "error"',
        'did you mean "info"?',
    ),
]


@pytest.mark.parametrize(("text", "where", "what", "hint"), MISTAKES, ids=[f"{m[1]}: {m[2]}"[:60] for m in MISTAKES])
def test_a_mistake_is_told_with_its_place_and_what_to_do(
    file: File, text: str, where: str, what: str, hint: str
) -> None:
    assert file.problem(text + WATCH) == (where, what, hint)


def test_every_mistake_is_told_at_once_in_the_order_of_lines(file: File) -> None:
    text = """\
[journal]
path = "/w/j"
[[watch]]
path = "/w"
logs = ["a/b", "*.log", "[x"]
[[watch]]
path = "/w/x"
backfil = true
[[sink]]
type = "proton"
[[sink]]
type = "proton"
region = "nowhere"
[run]
settle = "soon"
[wach]
"""
    problems = file.problems(text, mode=0o666)
    assert [problem.where.removeprefix(file.path) for problem in problems] == [
        "",
        ":2: [journal] path",
        ":5: [[watch]] logs",
        ":5: [[watch]] logs",
        ":7: [[watch]] path",
        ":8: [[watch]] backfil",
        ":9: [[sink]] region",
        ":11: [[sink]] name",
        ":13: [[sink]] region",
        ":15: [run] settle",
        ":16: wach",
    ]


def test_a_bad_arn_leaves_the_region_open_instead_of_missing(file: File) -> None:
    text = f'{WATCH}{BIND}resource_arn = "x"\n[[sink]]\ntype = "proton"\n'
    assert file.problem(text)[0] == ":5: [[bind]] resource_arn"


@pytest.mark.parametrize("text", ["", "# nothing\n", "[journal]\n"])
def test_a_watch_root_is_required(file: File, text: str) -> None:
    where, what, hint = file.problem(text)
    assert (where, what) == (": [[watch]]", "at least one is required")
    assert hint == 'for example [[watch]] with path = "/home/runner/_work"'


def test_an_empty_array_of_watch_roots_is_none(file: File) -> None:
    assert file.problem("watch = []\n")[:2] == (":1: [[watch]]", "at least one is required")


def test_symbolic_links_do_not_hide_the_journal_or_a_root(file: File, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "link").symlink_to("work")
    watch = f'[[watch]]\npath = "{tmp_path}/work"\n'
    assert file.problem(f'{watch}[journal]\npath = "{tmp_path}/link/j"\n')[0] == ":4: [journal] path"
    assert file.problem(f'{watch}[[watch]]\npath = "{tmp_path}/link"\n')[0] == ":4: [[watch]] path"


def test_the_default_journal_counts_too(file: File) -> None:
    where, what, _ = file.problem('[[watch]]\npath = "/var/lib"\n')
    assert where == ": [journal] path"
    assert what == "/var/lib/proton-tf-agent/journal.db lies inside the watch root /var/lib"


# --- the file itself --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "where", "what", "hint"),
    [
        ("[log]\nlevel = debug\n", ":2:9", "is not TOML: Invalid value", "the line reads: level = debug"),
        ("[log\n", ":1:5", "is not TOML: Expected ']' at the end of a table declaration", "the line reads: [log"),
        ("[log]\nlevel =", ":2", "is not TOML: Invalid value", "the line reads: level ="),
        ("[log]\nlevel = [\n\n", ":2", "is not TOML: Invalid value", "the line reads: level = ["),
        ("[run]\n[run]\n", ":2:5", "is not TOML: Cannot declare ('run',) twice", "the line reads: [run]"),
        ("a = " + "[" * 5000, "", "is not TOML: nested too deeply", ""),
        (b"[log]\n\xff\n", ":2", "is not UTF-8", "save the file as UTF-8"),
        ("#" * (1024 * 1024 + 1), "", "is larger than 1024 KiB", ""),
    ],
)
def test_what_is_no_toml_is_told_by_line_and_column(
    file: File, text: str | bytes, where: str, what: str, hint: str
) -> None:
    assert file.problem(text) == (where, what, hint)


def test_more_digits_than_python_reads(file: File) -> None:
    assert file.problem(f"a = {'9' * 5000}\n")[1].startswith("is not TOML: ")


def test_a_byte_order_mark_is_no_mistake(file: File) -> None:
    assert file.load(b"\xef\xbb\xbf" + WATCH.encode()).watch


def test_lines_are_right_with_any_line_ends(file: File) -> None:
    assert file.problem(f"{WATCH}\n[log]\nx = 1\n".replace("\n", "\r\n"))[0] == ":5: [log] x"


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666, 0o620])
def test_a_file_others_can_write_is_refused(file: File, mode: int) -> None:
    where, what, hint = file.problem(WATCH, mode)
    assert where == ""
    assert what == f"can be written by others than its owner (mode {mode:04o})"
    assert hint == f"chmod go-w {file.path}"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o600, 0o444])
def test_a_file_only_its_owner_can_write_is_read(file: File, mode: int) -> None:
    assert file.load(WATCH, mode).watch


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = str(tmp_path / "none.toml")
    with pytest.raises(SettingsInvalid) as refused:
        load(path)
    assert refused.value.problems == (
        Problem("does not exist", path, "proton-tf-agent config generate prints one to start from"),
    )


@pytest.mark.parametrize("kind", ["directory", "fifo", "device", "null", "empty", "below a file"])
def test_what_is_no_file(tmp_path: Path, kind: str) -> None:
    path, what = str(tmp_path), "is a directory"
    if kind == "fifo":
        path, what = str(tmp_path / "fifo"), "is not a regular file"
        os.mkfifo(path)
    elif kind == "device":
        path, what = "/dev/zero", "is not a regular file"
    elif kind == "null":
        path, what = "a\0b", "cannot be read: embedded null byte"
    elif kind == "empty":
        path, what = "", "does not exist"
    elif kind == "below a file":
        path, what = f"{__file__}/x", "cannot be read: Not a directory"
    with pytest.raises(SettingsInvalid) as refused:
        load(path)
    assert [problem.what for problem in refused.value.problems] == [what]


def test_a_file_that_may_not_be_read(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    file.load(WATCH)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SettingsInvalid) as refused:
        load(file.path)
    assert refused.value.problems == (Problem("cannot be read: Permission denied", file.path),)


SCRAPS = [
    "[[",
    "]]",
    "[",
    "]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\n",
    '"""',
    "'''",
    '"',
    "'",
    "#",
    "\\",
    "1",
    "true",
    "inf",
]
SCRAPS += [table.name for table in TABLES] + [key.name for table in TABLES for key in table.keys]
SCRAPS += [table.header + "\n" for table in TABLES] + [f"{k.name} = {k.example}\n" for t in TABLES for k in t.keys]


@patient
@given(st.one_of(st.text(), st.binary(), st.lists(st.sampled_from(SCRAPS)).map("".join)))
@example("a." * 40 + "b = 1")
@example("watch = [[]]")
@example("watch = {path = 1}\nsink = [{}]\nbind.x = 1")
@example("[outputs.rename]\n'' = ''")
@example("[[sink]]\n[sink.type]\n[[sink]]\ntype = []")
def test_no_content_raises_anything_else(file: File, text: str | bytes) -> None:
    problems: tuple[Problem, ...] | None = None
    try:
        file.load(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    except SettingsInvalid as refused:
        problems = refused.problems
    assert problems != ()
    for problem in problems or ():
        assert problem.what
        assert problem.where.startswith(file.path)
        assert "\n" not in str(problem)


# --- lines ------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b-1", '"x.y"', "'[z]'", "3", '"q\\u0041="', "true"])


@st.composite
def documents(draw: st.DrawFn) -> str:
    """TOML whose every integer is the number of the line it stands on."""
    text = ""

    def here() -> int:
        return text.count("\n") + 1

    for _ in range(draw(st.integers(1, 12))):
        name = draw(NAMES)
        form = draw(st.integers(0, 9))
        if form == 0:
            text += f"[{name}.{draw(NAMES)}] # [c]\n"
        elif form == 1:
            text += f"[[{name}]]\n"
        elif form == 2:
            text += f" [[ {name} . {draw(NAMES)} ]]\n"
        elif form == 3:
            text += f'{name} = """\n[no]\nx = 1 \\""" "" """""\n'
        elif form == 4:
            text += f"{name} = '''\n[no]''\n\\'''''\n"
        elif form == 5:
            text += f"{name}.n = {{ p = {here()}, q.r = [ {here()}, 'a,]' ] }}\n"
        elif form == 6:
            text += f"{name} = [ # ]\n"
            text += f"  [ {here()} ], {{ k = {here()} }},\n\n"
            text += f"  {here()} ]\n"
        elif form == 7:
            text += "\t# a = 1 ]\r\n\n"
        else:
            text += f"{name} = {here()} # no\n"
    return text


def leaves(at: tuple[str | int, ...], value: Any) -> Iterator[tuple[tuple[str | int, ...], int]]:
    if isinstance(value, dict | list):
        for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves((*at, step), inner)
    elif isinstance(value, int):
        yield at, value


@patient
@given(documents())
def test_a_line_that_is_given_is_the_right_one(text: str) -> None:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # the pieces contradict each other
    found = lines.index(text, document)
    assert found or not document
    assert all(found[at] == line for at, line in leaves((), document))


def test_no_line_is_given_in_doubt() -> None:
    assert lines.index("a = 1\n", {"b": 1}) == {}
    deep = "a." * 100 + "a = 1"
    assert lines.index(deep, tomllib.loads(deep)) == {}
    assert lines.index('a = "', {}) == {}


# --- advice -----------------------------------------------------------------------------------------------


def test_nothing_to_say_about_good_settings(file: File, tmp_path: Path) -> None:
    text = f'[[watch]]\npath = "{tmp_path}"\n{PROTON}[allow]\nresource_arns = ["*"]\n'
    assert advice(file.load(text)) == ()


def test_advice_when_there_is_no_sink(file: File, tmp_path: Path) -> None:
    (problem,) = advice(file.load(f'[[watch]]\npath = "{tmp_path}"\n'))
    assert problem == Problem(
        "there is none: what is found stays in the journal",
        f"{file.path}: [[sink]]",
        'for example [[sink]] with type = "proton"',
    )


@pytest.mark.parametrize(("allow", "line"), [("", ""), ("[allow]\nresource_arns = []\n", ":7")])
def test_advice_when_nothing_can_be_bound(file: File, tmp_path: Path, allow: str, line: str) -> None:
    (problem,) = advice(file.load(f'[[watch]]\npath = "{tmp_path}"\n{PROTON}{allow}'))
    assert problem.where == f"{file.path}{line}: [allow] resource_arns"
    assert problem.what.startswith("nothing will ever be bound to a Proton resource")
    assert problem.hint == 'for example: resource_arns = ["arn:aws:proton:*:123456789012:*"]'


@pytest.mark.parametrize(
    ("others", "warned"), [("", 1), ('only = ["succeeded"]', 1), ('only = ["terminal"]', 0), ("read_timeout = 9", 0)]
)
def test_advice_when_nothing_can_ever_recover(file: File, tmp_path: Path, others: str, warned: int) -> None:
    """A recovery is one of a failure that some sink was told."""
    hook = f'[[sink]]\ntype = "webhook"\nurl = "https://h.example"\nsecrets = ["env:A"]\n{others}\n' if others else ""
    text = f'[[watch]]\npath = "{tmp_path}"\n[[sink]]\ntype = "console"\nonly = ["recovered"]\n{hook}'
    said = [problem.what for problem in advice(file.load(text))]
    assert said == ["nothing ever recovers: no sink is told what has failed"] * warned


def test_advice_about_watch_roots(file: File, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "plain").touch()
    paths = [f"{tmp_path}/{name}" for name in ("later", "glob*", "plain", "closed", "x" * 300)]
    watches = "".join(f'[[watch]]\npath = "{path}"\n' for path in paths)
    settings = file.load(f'{watches}[[sink]]\ntype = "console"\n')
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # these tests may run as root, whom nothing stops
    problems = advice(settings)
    assert [problem.where for problem in problems] == [f"{file.path}:{n}: [[watch]] path" for n in (2, 4, 6, 8, 10)]
    assert [problem.what for problem in problems] == [
        f"{paths[0]} does not exist yet",
        f"{paths[1]} does not exist yet",
        f"{paths[2]} is not a directory",
        f"{paths[3]} cannot be read",
        f"{paths[4]} cannot be looked at: File name too long",
    ]
    assert problems[1].hint == "globs are not expanded here"


def test_advice_about_settings_made_by_hand() -> None:
    problems = advice(Settings(watch=(WatchSettings("/does/not/exist"),)))
    assert [problem.where for problem in problems] == ["[[sink]]", "[[watch]] path"]


# --- texts ------------------------------------------------------------------------------------------------


def test_the_description_and_what_is_built_of_it_have_the_same_keys() -> None:
    built = set(Settings.__struct_fields__) - {"path", "origins"}
    assert {table.name for table in TABLES} == built
    for table in TABLES:
        assert [key.name for key in table.keys] == list(table.built.__struct_fields__)


def test_every_key_is_explained() -> None:
    for table in TABLES:
        for key in table.keys:
            assert key.meaning.endswith(".")
            assert bool(key.unset) == (not table.requires(key) and table.default(key) in (None, ""))


def test_every_example_is_taken(file: File) -> None:
    for table in TABLES:
        for key in table.keys:
            value = tomllib.loads(f"x = {key.example}")["x"]
            complaints: list[str] = []
            key.kind.read(value, lambda what, hint="", *within: complaints.append(what))  # noqa: B023
            assert complaints == [], key.name


def test_the_sample_file_is_the_one_in_the_repository() -> None:
    assert (CONFIG / "agent.toml").read_text(encoding="utf-8") == generate()


def test_the_schema_is_the_one_in_the_repository() -> None:
    assert (CONFIG / "agent.schema.json").read_text(encoding="utf-8") == json.dumps(schema(), indent=2) + "\n"


def test_the_sample_file_works_and_keeps_to_the_schema(file: File) -> None:
    assert file.load(generate()) == Settings(
        watch=(WatchSettings("/home/runner/_work"),), sink=(SinkSettings("console"),)
    )
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(tomllib.loads(generate()), schema())


def test_the_sample_file_names_every_key_and_works_with_all_of_them(file: File) -> None:
    text = "\n".join(
        line[1:] if line[:1] == "#" and line[1:2] not in (" ", ":", "") else line for line in generate().split("\n")
    )
    document = tomllib.loads(text)
    jsonschema.validate(document, schema())
    settings = file.load(text)
    assert settings.sink[1] == SinkSettings(
        "proton", "proton", "eu-west-1", "http://127.0.0.1:8790", 5.0, 20.0, profile="deployments"
    )
    for table in TABLES:
        tables = document[table.name] if table.repeated else [document[table.name]]
        assert {name for one in tables for name in one} == {key.name for key in table.keys}


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (EVERYTHING, True),
        ("watch = []\n", False),
        (WATCH + "[log]\nx = 1\n", False),
        (WATCH + "[wach]\n", False),
        (WATCH + '[[sink]]\ntype = "console"\nregion = "eu-west-1"\n', False),
        (WATCH + '[[sink]]\ntype = "console"\nunbound = true\n', True),
        (WATCH + '[[sink]]\ntype = "proton"\nregion = "eu-west-1"\nunbound = true\n', False),
        (WATCH + "[run]\nsettle = -1\n", False),
        (WATCH + '[run]\nsettle = "soon"\n', False),
        ('[[watch]]\npath = "w"\n', False),
    ],
)
def test_schema_and_load_agree(file: File, text: str, valid: bool) -> None:
    assert jsonschema.Draft202012Validator(schema()).is_valid(tomllib.loads(text)) == valid
    if valid:
        file.load(text)
    else:
        file.problems(text)


def test_show_tells_every_value_and_where_it_comes_from(file: File) -> None:
    text = f'{WATCH}[[sink]]\ntype = "proton"\n[allow]\nresource_arns = ["arn:aws:proton:eu-west-1:*"]\n'
    assert (
        show(file.load(text))
        == f"""\
[journal]
path = "/var/lib/proton-tf-agent/journal.db"  # default
reserve = "24MiB"  # default
keep_days = 90  # default
keep_rows = 100000  # default
keep_bytes = "512MiB"  # default

[[watch]]
path = "/w"  # {file.path}:2
logs = ["*.log", "*.jsonl", "*.json"]  # default
backfill = false  # default
owners = []  # default
mounts = false  # default

# no [[bind]]

[outputs]
include = ["*"]  # default
exclude = []  # default
rename = {{}}  # default

[allow]
resource_arns = ["arn:aws:proton:eu-west-1:*"]  # {file.path}:6

[aws]
# profile is not set  # default: the default one, after those of the environment
# config_file is not set  # default: ~/.aws/config of the agent's user
# credentials_file is not set  # default: ~/.aws/credentials of the agent's user
# ca_bundle is not set  # default: those that botocore brings along
# proxy_url is not set  # default: none

# no [[s3_state]]

[[sink]]
type = "proton"  # {file.path}:4
name = "proton"  # default: its type
region = "eu-west-1"  # default: that of the queue, topic or bus; for Proton the one that [allow] and [[bind]] name
# endpoint_url is not set  # default: the endpoint of AWS in the region
connect_timeout = "5s"  # default
read_timeout = "20s"  # default
read_back = false  # default
# profile is not set  # default: that of [aws]
only = []  # default
resources = []  # default
directories = []  # default
shadow = false  # default

[run]
settle = "10s"  # default
grace = "3s"  # default
no_changes = "in_progress"  # default

[scan]
rescan = "30s"  # default

[spool]
path = "/var/spool/proton-tf-agent"  # default
users = []  # default

[metrics]
# textfile is not set  # default: none is written
# listen is not set  # default: nobody is answered

[log]
level = "info"  # default
format = "json"  # default
"""
    )


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)
PATHS = WORDS.map(lambda word: "/w/_" + word.replace("/", "_"))
OUTPUT_NAMES = st.from_regex(r"[\w-]{1,12}", fullmatch=True)


@st.composite
def right_settings(draw: st.DrawFn) -> Settings:
    roots = draw(st.lists(PATHS, min_size=1, max_size=3, unique=True))
    seconds = st.floats(1.0, 300.0) | st.sampled_from([1.0, 60.0, 90.0, 1.5])
    targets = draw(st.lists(WORDS, max_size=4, unique=True))
    names = draw(st.lists(OUTPUT_NAMES, min_size=len(targets), max_size=len(targets), unique=True))
    proton = SinkSettings("proton", "p", "eu-west-1", None, draw(seconds), draw(seconds))
    return Settings(
        journal=JournalSettings("/j" + draw(PATHS)),
        watch=tuple(WatchSettings(root, ("*.log",), draw(st.booleans())) for root in roots),
        bind=draw(st.sampled_from([(), (BindSettings("/b", ARN, ID),), (BindSettings("/b", ARN),)])),
        outputs=OutputMapping(("*",), tuple(names), dict(zip(names, targets, strict=True))),
        allow=AllowSettings(draw(st.sampled_from([(), ("*",), (ARN,)]))),
        sink=draw(st.sampled_from([(), (SinkSettings("console"), proton)])),
        run=RunSettings(draw(seconds), draw(st.floats(0.0, 1e-3)), draw(st.sampled_from(["in_progress", "succeed"]))),
        scan=ScanSettings(draw(seconds)),
    )


@patient
@given(right_settings())
def test_what_is_shown_reads_back_as_the_same(file: File, settings: Settings) -> None:
    again = file.load(show(settings))
    assert again == settings
    assert file.load(show(again)) == settings


def test_an_odd_file_name_does_not_spoil_what_is_shown(tmp_path: Path, file: File) -> None:
    odd = File(tmp_path / "a\nb = 1 \u202e.toml")
    settings = odd.load(WATCH)
    assert file.load(show(settings)) == settings


# --- cost -------------------------------------------------------------------------------------------------


def test_importing_settings_imports_nothing_heavy() -> None:
    program = "import sys, proton_tf_agent.settings; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert not loaded & {"boto3", "botocore", "hcl2", "watchdog", "structlog", "rich", "sqlite3", "jsonschema"}
