"""The keys of a [[sink]]: one key, one entry, whichever types of sink it means something to."""

from __future__ import annotations

from typing import get_args

from . import kinds, model
from .keys import BYTES, SECONDS, Key
from .kinds import choice, count, duration, size

FORGES = ("github", "gitlab")
HTTP = ("webhook", "slack", *FORGES)

_AWS = ("proton", "eventbridge", "sqs", "sns", "service_catalog")

# Who is told, and how.
_PLACE = (
    Key("type", choice(*get_args(model.SinkType)), "What kind of sink it is.", '"proton"'),
    Key("name", kinds.SINK_NAME, "Its name, unique among the sinks.", '"audit"', unset="its type"),
    Key(
        "region",
        kinds.REGION_NAME,
        "The AWS region it talks to.",
        '"eu-west-1"',
        unset="that of the queue, topic or bus; for Proton the one that [allow] and [[bind]] name",
        only=_AWS,
        says_where=True,
    ),
    Key(
        "endpoint_url",
        kinds.ENDPOINT,
        "Another endpoint than that of AWS: https, or http to a literal loopback address.",
        '"http://127.0.0.1:8790"',
        unset="the endpoint of AWS in the region",
        only=_AWS,
        says_where=True,
    ),
    Key(
        "connect_timeout",
        duration(0.1, 300.0),
        "How long connecting may take.",
        '"2s"',
        unit=SECONDS,
        only=(*_AWS, *HTTP),
    ),
    Key(
        "read_timeout",
        duration(0.1, 300.0),
        "How long an answer may take.",
        '"30s"',
        unit=SECONDS,
        only=(*_AWS, *HTTP),
    ),
    Key(
        "read_back",
        kinds.BOOLEAN,
        "Whether Proton is asked what became of a deployment when a conflict has lasted. Needs the IAM action "
        "proton:GetDeployment on arn:aws:proton:REGION:ACCOUNT:deployment/*.",
        "true",
        only=("proton",),
    ),
    Key(
        "profile",
        kinds.PROFILE,
        "The profile its credentials are of.",
        '"deployments"',
        unset="that of [aws]",
        only=_AWS,
    ),
    Key(
        "url",
        kinds.HOOK,
        "Where it is told: https, or http to a literal loopback address; no other is followed to. Of github and gitlab "
        "their API: https://HOST/api/v3 of an Enterprise Server, https://HOST/api/v4 of a GitLab.",
        '"https://hooks.example.com/terraform"',
        unset="a webhook needs one; https://api.github.com, https://gitlab.com/api/v4",
        only=("webhook", *FORGES),
        needed=("webhook",),
        says_where=True,
    ),
    Key(
        "secrets",
        kinds.SECRETS,
        "Where the secrets are that sign what is told (base64, `whsec_` before it or not): file:PATH, env:NAME "
        "or credential:NAME, of systemd. Two while one is exchanged for the other, the new one first.",
        '["credential:hook"]',
        only=("webhook",),
        needed=("webhook",),
    ),
    Key(
        "ca_bundle",
        kinds.PATH,
        "The certificates that are trusted instead of the system's, PEM.",
        '"/etc/ssl/certs/internal.pem"',
        unset="the system's",
        only=HTTP,
    ),
    Key(
        "path",
        kinds.PATH,
        "The file that is written, outside of every watch root; what is rotated lies beside it as path.1 and so on.",
        '"/var/lib/proton-tf-agent/told.jsonl"',
        unset="a file needs one",
        only=("file",),
        needed=("file",),
        says_where=True,
    ),
    Key(
        "rotate_at",
        size(4 << 10, 1 << 40),
        "How large the file may become before the next one is begun.",
        '"64MiB"',
        unit=BYTES,
        only=("file",),
    ),
    Key("keep", count(1, 1000), "How many older files are kept.", "30", only=("file",)),
    Key(
        "secret",
        kinds.SECRET,
        "Where the secret is by which it is let in (a token, the URL of a Slack webhook): file:PATH, env:NAME or "
        "credential:NAME, of systemd.",
        '"credential:slack"',
        unset="it needs one",
        only=("slack", *FORGES),
        needed=("slack", *FORGES),
        says_where=True,
    ),
    Key(
        "program",
        kinds.PATH,
        "The program that is run for each notification, which it finds on its standard input. It and everything on the "
        "way to it must be root's or the agent's, open to nobody else to write, and outside of every watch root.",
        '"/usr/local/bin/tell"',
        unset="an exec sink needs one",
        only=("exec",),
        needed=("exec",),
        says_where=True,
    ),
    Key("arguments", kinds.ARGUMENTS, "What it is given as arguments, as they are.", '["--quiet"]', only=("exec",)),
    Key(
        "timeout",
        duration(0.1, 300.0),
        "How long it may run; then its process group is ended.",
        '"1m"',
        unit=SECONDS,
        only=("exec",),
    ),
    Key(
        "repository",
        kinds.REPOSITORY,
        "The repository whose deployments the runs are.",
        '"acme/infra"',
        unset="a github sink needs one",
        only=("github",),
        needed=("github",),
        says_where=True,
    ),
    Key(
        "project",
        kinds.PROJECT,
        "The project whose deployments the runs are: its groups and its name, or its number.",
        '"acme/platform/infra"',
        unset="a gitlab sink needs one",
        only=("gitlab",),
        needed=("gitlab",),
        says_where=True,
    ),
    Key(
        "ref",
        kinds.NAME,
        "The branch or tag that is deployed, where the CI job of a run names no commit that the repository has.",
        '"main"',
        unset="it needs one",
        only=FORGES,
        needed=FORGES,
    ),
    Key(
        "environment",
        kinds.NAME,
        "The environment that is deployed to.",
        '"production"',
        unset="one for each resource: the last part of its ARN; of a run that has none its name or directory",
        only=FORGES,
    ),
    Key(
        "event_bus",
        kinds.EVENT_BUS,
        "The event bus that is told, by name or ARN.",
        '"arn:aws:events:eu-west-1:123456789012:event-bus/deployments"',
        unset="an eventbridge sink needs one; `default` is the account's own",
        only=("eventbridge",),
        needed=("eventbridge",),
        says_where=True,
    ),
    Key(
        "queue_url",
        kinds.QUEUE_URL,
        "The queue that is told. Its host is asked, unless there is an endpoint_url.",
        '"https://sqs.eu-west-1.amazonaws.com/123456789012/deployments.fifo"',
        unset="an sqs sink needs one",
        only=("sqs",),
        needed=("sqs",),
        says_where=True,
    ),
    Key(
        "topic_arn",
        kinds.TOPIC_ARN,
        "The topic that is told.",
        '"arn:aws:sns:eu-west-1:123456789012:deployments"',
        unset="an sns sink needs one",
        only=("sns",),
        needed=("sns",),
        says_where=True,
    ),
    Key(
        "tag_key",
        kinds.TAG_KEY,
        "The key of the tag by which Service Catalog finds what was provisioned; its value is the id of that product.",
        '"ServiceCatalogProvisionedProductId"',
        unset="that of AWS's reference engine, SERVICE_CATALOG_TERRAFORM_INTEGRATION-DO_NOT_DELETE",
        only=("service_catalog",),
    ),
)

# Which of all notifications: of every type.
_ROUTE = (
    Key(
        "only",
        kinds.OCCASIONS,
        "What it is told: terminal (any end), in_progress, succeeded, failed, destroyed, recovered (an end that is no "
        "failure, of a resource whose last one was); none named: everything.",
        '["failed", "recovered"]',
    ),
    Key(
        "resources",
        kinds.RESOURCE_GLOBS,
        "Globs over the ARNs, or over the names that [[bind]] gives, of those it is told about; none: all.",
        '["arn:aws:proton:*:123456789012:environment/prod-*"]',
    ),
    Key(
        "directories",
        kinds.DIRECTORY_GLOBS,
        "Globs over the directories whose runs it is told about, / included in what * stands for; none: all.",
        '["/srv/infra/*"]',
    ),
    Key(
        "unbound",
        kinds.BOOLEAN,
        "Whether it is told of runs that report for no Proton resource, too: by the name that [[bind]] gives, else by "
        "the run directory.",
        "true",
        never=("proton", "service_catalog"),
    ),
    Key(
        "shadow",
        kinds.BOOLEAN,
        "Whether it is only tried: what it would be told is kept in the journal (state shadowed) and never sent.",
        "true",
    ),
)

SINK_KEYS = (*_PLACE, *_ROUTE)


def where(sink: model.SinkSettings) -> str:
    """Where a sink's notifications go, as the settings name it; a secret by its place."""
    named = (getattr(sink, key.name) for key in SINK_KEYS if key.says_where and key.applies(sink.type))
    return ", ".join(str(value) for value in named if value) or "standard output"
