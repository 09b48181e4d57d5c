"""The one description of every table and key: parsing, the JSON Schema, the sample file and `config show` follow it.

Types and defaults are those of the dataclasses in `model` and `domain.outputs`; this adds the kind of value,
the meaning in one sentence, the unit and an example. A test holds both sides to the same keys. The keys of sinks are
in `sink_keys`.
"""

from __future__ import annotations

from typing import get_args

from ..domain.output_mapping import OutputMapping
from . import kinds, model
from .keys import BYTES, SECONDS, Key, Table
from .kinds import choice, count, duration, size
from .sink_keys import SINK_KEYS

TABLES = (
    Table(
        "journal",
        model.JournalSettings,
        "The agent's memory: what it decided, what it sent, what was answered.",
        (
            Key(
                "path",
                kinds.PATH,
                "The journal's file; its directory is the agent's alone (mode 0700), outside of every watch root.",
                '"/var/lib/proton-tf-agent/journal.db"',
            ),
            Key(
                "reserve",
                size(256 << 10, 1 << 30),
                "Room that the journal keeps for when its disk is full; 24 MiB are enough for 1,000 runs.",
                '"64MiB"',
                BYTES,
            ),
            Key(
                "keep_days",
                count(0, 36_500),
                "How long runs are kept that are over and of which all was told. The last word about a resource, and "
                "what is parked or still waits, is kept whatever these three say.",
                "30",
                "days; 0 for no limit",
            ),
            Key(
                "keep_rows",
                count(0, 1_000_000_000),
                "How many entries of the outbox are kept before the oldest such runs go.",
                "10000",
                "entries; 0 for no limit",
            ),
            Key(
                "keep_bytes",
                size(0, 1 << 50),
                "How much of the file may be in use before they go. Room that is let go is written over.",
                '"64MiB"',
                f"{BYTES}; 0 for no limit",
            ),
        ),
    ),
    Table(
        "watch",
        model.WatchSettings,
        "A watch root. Write one [[watch]] for each; at least one is required.",
        (
            Key(
                "path",
                kinds.PATH,
                "A directory that is watched with everything below it; it may appear later.",
                '"/home/runner/_work"',
            ),
            Key(
                "logs",
                kinds.LOG_GLOBS,
                "Names (globs) of files that may be Terraform logs; whether one is, its content decides.",
                '["*.log", "*.jsonl"]',
            ),
            Key(
                "backfill",
                kinds.BOOLEAN,
                "Whether runs that had ended before the agent first saw them are told too.",
                "true",
            ),
            Key(
                "owners",
                kinds.OWNERS,
                "Users, by name or number, whose files alone are read, beside root's, and only if not everybody may "
                "write them. Without any, what not everybody may read must belong to root, to the agent's user, or to "
                "the owner of the directory that holds it or of this root.",
                '["runner", "1001"]',
            ),
            Key(
                "mounts",
                kinds.BOOLEAN,
                "Whether file systems mounted below it are part of it. One that does not answer then holds up the "
                "agent.",
                "true",
            ),
        ),
        repeated=True,
        required=True,
    ),
    Table(
        "bind",
        model.BindSettings,
        "What the runs of a directory report for, where Proton's own metadata file does not say it: a resource, or, to "
        "sinks that take unbound runs, a name.",
        (
            Key("directory", kinds.PATH, "The run directory.", '"/srv/infra/network"'),
            Key(
                "resource_arn",
                kinds.ARN,
                "The ARN of a Proton environment, component, service instance or service pipeline.",
                '"arn:aws:proton:eu-west-1:123456789012:environment/network"',
                unset="none: they are told by their name",
            ),
            Key(
                "deployment_id",
                kinds.DEPLOYMENT_ID,
                "The deployment that every run of the directory reports for.",
                '"0f5c1b0a-6a53-4a3c-9f6e-2b8a5f0d7c11"',
                unset="none is sent",
            ),
            Key(
                "name",
                kinds.BIND_NAME,
                "What its runs are told by where no resource_arn is given, and a word for them in `resources` of a "
                "sink; several directories may have one.",
                '"network"',
                unset="none",
            ),
        ),
        repeated=True,
    ),
    Table(
        "outputs",
        OutputMapping,
        "Which outputs are told. Sensitive, null and empty ones never are.",
        (
            Key("include", kinds.OUTPUT_GLOBS, "Names (globs) of outputs that are told.", '["vpc_*", "url"]'),
            Key("exclude", kinds.OUTPUT_GLOBS, "Names (globs) of outputs that are not.", '["*_internal"]'),
            Key("rename", kinds.RENAMES, "Outputs that are told by another name.", '{ vpc_id = "VpcId" }'),
        ),
    ),
    Table(
        "allow",
        model.AllowSettings,
        "What files that jobs can write may claim.",
        (
            Key(
                "resource_arns",
                kinds.ARN_GLOBS,
                "Globs over the ARNs that metadata found below a watch root may speak for; any other is refused.",
                '["arn:aws:proton:*:123456789012:*"]',
            ),
        ),
    ),
    Table(
        "aws",
        model.AwsSettings,
        "As whom AWS is asked, and by which way. Credentials may come from the environment; none of these do.",
        (
            Key(
                "profile",
                kinds.PROFILE,
                "The profile whose credentials are taken, before those of the environment.",
                '"proton"',
                unset="the default one, after those of the environment",
            ),
            Key(
                "config_file",
                kinds.PATH,
                "AWS's configuration file. A profile in it may start a program (`credential_process`).",
                '"/etc/proton-tf-agent/aws-config"',
                unset="~/.aws/config of the agent's user",
            ),
            Key(
                "credentials_file",
                kinds.PATH,
                "The file with credentials; systemd's LoadCredential= may put it there.",
                '"/run/credentials/proton-tf-agent.service/aws"',
                unset="~/.aws/credentials of the agent's user",
            ),
            Key(
                "ca_bundle",
                kinds.PATH,
                "The certificates that are trusted instead of botocore's, PEM.",
                '"/etc/ssl/certs/ca-certificates.crt"',
                unset="those that botocore brings along",
            ),
            Key(
                "proxy_url",
                kinds.PROXY,
                "The proxy that every request to AWS goes through.",
                '"http://proxy.example.com:3128"',
                unset="none",
            ),
        ),
    ),
    Table(
        "s3_state",
        model.S3StateSettings,
        "States in S3 that may be read, for the outputs of runs with a human log. A job's files name no other.",
        (
            Key("bucket", kinds.BUCKET, "The bucket.", '"terraform-states"'),
            Key("region", kinds.REGION_NAME, "The AWS region it is in.", '"eu-west-1"'),
            Key(
                "keys",
                kinds.KEY_GLOBS,
                "Globs over the keys of states, whole ones: those of workspaces begin with env:/ and their name.",
                '["network/*", "env:/*/network/*"]',
            ),
            Key(
                "endpoint_url",
                kinds.ENDPOINT,
                "Another endpoint than that of AWS: https, or http to a literal loopback address.",
                '"https://minio.example.com"',
                unset="the endpoint of AWS in the region",
            ),
            Key(
                "dynamodb_table",
                kinds.TABLE_NAME,
                "The table that holds the locks, where the backend has `dynamodb_table`.",
                '"terraform-locks"',
                unset="locks are files beside the states (`use_lockfile`), or there are none",
            ),
            Key(
                "timeout",
                duration(0.1, 10.0),
                "How long connecting, and how long an answer, may take; nothing else is seen meanwhile.",
                '"1s"',
                unit=SECONDS,
            ),
            Key(
                "profile",
                kinds.PROFILE,
                "The profile its credentials are of.",
                '"deployments"',
                unset="that of [aws]",
            ),
        ),
        repeated=True,
    ),
    Table(
        "sink",
        model.SinkSettings,
        "Who is told. Write one [[sink]] for each.",
        SINK_KEYS,
        repeated=True,
    ),
    Table(
        "run",
        model.RunSettings,
        "How runs are judged.",
        (
            Key(
                "settle",
                duration(0.1, 3600.0),
                "How long a weak verdict waits for stronger evidence while a log or a wrapper is there.",
                '"30s"',
                unit=SECONDS,
            ),
            Key(
                "grace",
                duration(0.0, 3600.0),
                "How long a verdict waits for the last lines of its log.",
                '"5s"',
                unit=SECONDS,
            ),
            Key(
                "no_changes",
                choice(*get_args(model.NoChanges)),
                'What a plan without changes is told as: "succeed" suits pipelines that then skip the apply.',
                '"succeed"',
            ),
        ),
    ),
    Table(
        "scan",
        model.ScanSettings,
        "How directories are looked through.",
        (
            Key(
                "rescan",
                duration(1.0, 3600.0),
                "How often everything is looked at again, should the kernel lose a hint; a very large tree less often.",
                '"1m"',
                unit=SECONDS,
            ),
        ),
    ),
    Table(
        "spool",
        model.SpoolSettings,
        "Where the wrapper (`proton-tf-agent exec`) leaves its records; `PROTON_TF_AGENT_SPOOL` names it to jobs, too.",
        (
            Key(
                "path",
                kinds.PATH,
                "A directory that every job may write to and nobody may list (mode 3733), outside of every watch root.",
                '"/var/spool/proton-tf-agent"',
            ),
            Key(
                "users",
                kinds.USER_NAMES,
                "Whose records are believed for every directory, beside root's and the agent's own; those of others "
                "are believed for directories below a watch root that they own, or whose root they own.",
                '["gitlab-runner"]',
            ),
        ),
    ),
    Table(
        "metrics",
        model.MetricsSettings,
        "Numbers for Prometheus (docs/metrics.md). Needs the extra: pip install 'proton-tf-agent[metrics]'.",
        (
            Key(
                "textfile",
                kinds.PATH,
                "A file, written every 15 seconds, for the node exporter's textfile collector; it ends in .prom.",
                '"/var/lib/node_exporter/proton-tf-agent.prom"',
                unset="none is written",
            ),
            Key(
                "listen",
                kinds.LISTEN,
                "A literal loopback address with a port, or a unix socket, where /metrics and /healthz are answered.",
                '"127.0.0.1:9187"',
                unset="nobody is answered",
            ),
        ),
    ),
    Table(
        "log",
        model.LogSettings,
        "The agent's own log, written to standard error.",
        (
            Key("level", choice(*get_args(model.Level)), "The least severe level that is logged.", '"debug"'),
            Key("format", choice(*get_args(model.Format)), "How a line looks.", '"console"'),
        ),
    ),
)


def table_of(name: str) -> Table | None:
    """The table of that name, if there is one."""
    return next((table for table in TABLES if table.name == name), None)


def example(table: str, key: str) -> str:
    """A line that sets one key."""
    return next(f"{k.name} = {k.example}" for t in TABLES if t.name == table for k in t.keys if k.name == key)
