"""boto3 clients that take nothing but credentials from the environment.

No endpoint, proxy, profile, certificate authority or model comes from environment variables, and none but a profile's
credentials from `~/.aws`; what of these is wanted, `Access` says. One call is one request (botocore's own retries are
off, and S3's redirects to other regions). boto3 is imported with the first client, never with this module: it costs
0.3 s and 30 MB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Access:
    """As whom AWS is asked, and by which way: what others take from the environment. `~` is the home of our user.

    profile: None is the default one, of which variables and roles come first. ca_bundle: a file of certificates to
    trust instead of the usual ones. proxy_url: for every request, those for credentials too.
    """

    profile: str | None = None
    config_file: str = "~/.aws/config"
    credentials_file: str = "~/.aws/credentials"
    ca_bundle: str | None = None
    proxy_url: str | None = None


DIRECT = Access()


def build_client(
    service: str,
    region: str | None,
    endpoint_url: str | None,
    timeouts: tuple[float, float],
    models: Sequence[str] = (),
    access: Access = DIRECT,
    **options: Any,
) -> Any:
    """A client of an AWS service.

    timeouts are those of connecting and of an answer, in seconds. models are directories with service models for when
    botocore's own are gone; options are further ones of botocore's Config. Raises what botocore raises.
    """
    import boto3
    from botocore.config import Config
    from botocore.loaders import Loader
    from botocore.session import Session

    config = Config(
        connect_timeout=timeouts[0],
        read_timeout=timeouts[1],
        retries={"mode": "standard", "total_max_attempts": 1},
        tcp_keepalive=True,
        ignore_configured_endpoint_urls=True,  # type: ignore[call-arg]  # not in the stubs yet
        proxies=dict.fromkeys(("http", "https"), access.proxy_url)
        if access.proxy_url
        else {},  # None: the environment's
        **options,
    )
    # (name in the config file, in the environment, value, conversion): None where neither may say anything.
    core = Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, access.config_file, None),
            "credentials_file": (None, None, access.credentials_file, None),
            "ca_bundle": (None, None, access.ca_bundle or True, None),  # None: REQUESTS_CA_BUNDLE's
        },
        profile=access.profile,
    )
    core.set_default_client_config(config)  # also for the STS client that a role in the chain needs
    session = boto3.Session(botocore_session=core)
    core.get_component("data_loader").search_paths[:] = [Loader.BUILTIN_DATA_PATH, *models]
    make: Any = session.client
    client = make(service, region_name=region, endpoint_url=endpoint_url, config=config)
    if service == "s3":
        client.meta.events.register("before-call.s3", _stay)
    return client


def cap_answer(response: Any, limit: int) -> int:
    """Read the body of an answer that `before-send` has fetched, but limit and one byte at most: botocore alone reads
    whatever is sent. Returns how many bytes there are now."""
    body = response.raw.read(limit + 1)
    if len(body) > limit:
        response.raw.close()  # the rest is never read, so this connection is of no more use
    response.raw = _Body(body)
    return len(body)


class _Body:
    """The bytes of an answer in the shape in which botocore asks for them."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        yield self._content


def _stay(context: dict[str, Any], **_: Any) -> None:
    """Let S3's redirector take a request for one that it has redirected already, which it leaves alone: an answer does
    not choose the region that is asked (botocore utils.S3RegionRedirectorv2)."""
    context.setdefault("s3_redirect", {})["redirected"] = True
