"""What the daemon takes from its environment: where AWS credentials come from, and nothing else of AWS's or of proxies.

Libraries below us read more: endpoints, profiles, proxies, certificates, service models, a file for the keys of TLS
connections. Who can set a variable (a wrong line in a drop-in, a shell in which the agent is tried out) would send
requests and credentials elsewhere. So such variables are dropped before anything is imported that reads them, and the
start of the daemon names them. What they were for stands in the settings.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping

# https://docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html: those that are credentials, or say who
# gives them (web identity of Kubernetes, containers, instances).
_CREDENTIALS = frozenset({
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED", "AWS_EC2_METADATA_V1_DISABLED", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
})  # fmt: skip
_CERTIFICATES = frozenset({"CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE", "SSLKEYLOGFILE"})
# What has had its effect before a line of ours was run.
_OF_PYTHON = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE")
_OF_THE_LOADER = ("LD_AUDIT", "LD_LIBRARY_PATH", "LD_PRELOAD")


def drop_what_is_not_taken(environ: MutableMapping[str, str]) -> tuple[str, ...]:
    """Drop what would lead requests astray; returns the names."""
    dropped = sorted(name for name in environ if _leads_astray(name))
    for name in dropped:
        del environ[name]
    return tuple(dropped)


def already_in_force(environ: MutableMapping[str, str], *, isolated: bool | None = None) -> tuple[str, ...]:
    """The names of variables that may have put foreign code into this process. isolated: Python took none of its own
    (`python -I`); as this one was started unless it is said."""
    ignored = sys.flags.ignore_environment if isolated is None else isolated
    return tuple(name for name in (*_OF_THE_LOADER, *(() if ignored else _OF_PYTHON)) if environ.get(name))


def _leads_astray(name: str) -> bool:
    of_aws = name.startswith(("AWS_", "BOTO_")) and name not in _CREDENTIALS
    return of_aws or name.lower().endswith("_proxy") or name in _CERTIFICATES
