"""boto3 clients that take nothing but credentials from the environment.

No endpoint, no proxy and no model comes from environment variables, profiles or `~/.aws/models`; one call is one
request (botocore's own retries are off). boto3 is imported with the first client, never with this module: it costs
0.3 s and 30 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def build_client(
    service: str,
    region: str | None,
    endpoint_url: str | None,
    timeouts: tuple[float, float],
    models: Sequence[str] = (),
    **options: Any,
) -> Any:
    """A client of an AWS service.

    timeouts are those of connecting and of an answer, in seconds. models are directories with service models for when
    botocore's own are gone; options are further ones of botocore's Config. Raises what botocore raises.
    """
    import boto3
    from botocore.config import Config
    from botocore.loaders import Loader
    from botocore.session import get_session

    config = Config(
        connect_timeout=timeouts[0],
        read_timeout=timeouts[1],
        retries={"mode": "standard", "total_max_attempts": 1},
        tcp_keepalive=True,
        ignore_configured_endpoint_urls=True,  # type: ignore[call-arg]  # not in the stubs yet
        proxies={},  # not None: None means "ask the environment"
        **options,
    )
    core = get_session()
    core.set_default_client_config(config)  # also for the STS client that a role in the chain needs
    session = boto3.Session(botocore_session=core)
    core.get_component("data_loader").search_paths[:] = [Loader.BUILTIN_DATA_PATH, *models]
    make: Any = session.client
    return make(service, region_name=region, endpoint_url=endpoint_url, config=config)
