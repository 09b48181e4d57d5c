"""The Proton sink tells a notification whole, lets nothing in its environment lead it astray, and outlives
botocore's Proton.

Everything runs through the real botocore client against a real receiver.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.proton import ARN, BARE, NEWER, REGION, WHOLE, clean_environment

from proton_tf_agent import aws_service
from proton_tf_agent.aws_client import DIRECT, Access
from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.domain.values import replace
from proton_tf_agent.receiver import FaultKind, Receiver
from proton_tf_agent.sinks.proton import MODELS, ProtonSink
from proton_tf_agent.sinks.proton_outcomes import GET_DEPLOYMENT, NOTIFY

PROTON = f"https://proton.{REGION}.amazonaws.com"
K = OutcomeKind


@pytest.fixture(scope="module", autouse=True)
def no_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with clean_environment(tmp_path_factory.mktemp("home")):
        yield


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Receiver, ProtonSink]]:
    """One receiver and one sink for all tests that leave both as they were; building a client takes a while."""
    with Receiver() as receiver:
        sink = ProtonSink("proton", REGION, receiver.url, read_timeout=0.3)
        yield receiver, sink
        sink.close()


@pytest.fixture
def receiver(shared: tuple[Receiver, ProtonSink]) -> Iterator[Receiver]:
    yield shared[0]
    shared[0].clear()


@pytest.fixture
def sink(shared: tuple[Receiver, ProtonSink]) -> ProtonSink:
    return shared[1]


@pytest.fixture
def fresh(receiver: Receiver) -> Iterator[ProtonSink]:
    """A sink whose client is built within the test, in the environment the test has made."""
    made = ProtonSink("proton", REGION, receiver.url)
    yield made
    made.close()


# --- what is sent -----------------------------------------------------------------------------------------------


def test_a_notification_arrives_whole(receiver: Receiver, sink: ProtonSink) -> None:
    outcome = sink.send(WHOLE)
    record = receiver.records()[-1]
    assert (record.resource_arn, record.deployment_id) == (WHOLE.resource_arn, WHOLE.deployment_id)
    assert (record.status, record.status_message) == ("SUCCEEDED", WHOLE.status_message)
    assert record.outputs == dict(WHOLE.outputs)
    assert outcome == Outcome(K.ACCEPTED, "", 200, outcome.request_id)
    assert len(outcome.request_id) == 36


def test_what_is_empty_is_left_out(receiver: Receiver, sink: ProtonSink) -> None:
    assert sink.send(BARE).kind is K.ACCEPTED
    record = receiver.records()[-1]
    assert (record.deployment_id, record.status_message, record.outputs) == (None, None, {})


def test_a_deleted_resource_is_not_told_about(sink: ProtonSink) -> None:
    assert not sink.wants(replace(WHOLE, resource_deleted=True))
    assert sink.wants(WHOLE)


def test_what_botocore_itself_refuses_is_invalid_and_never_leaves(receiver: Receiver, sink: ProtonSink) -> None:
    before = receiver.requests
    outcome = sink.send(replace(WHOLE, outputs=(("", "value"),)))
    assert outcome == Outcome(K.INVALID, "ParamValidationError")
    assert receiver.requests == before


# --- credentials and region -------------------------------------------------------------------------------------


def without_credentials(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(home))
    (home / ".aws").mkdir()


def test_missing_credentials_are_an_outcome_and_are_found_when_they_come(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, receiver: Receiver, fresh: ProtonSink
) -> None:
    without_credentials(monkeypatch, tmp_path)
    before = receiver.requests
    assert fresh.send(WHOLE) == Outcome(K.UNAUTHENTICATED, "NoCredentialsError")
    assert receiver.requests == before
    (tmp_path / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id=AKIDEXAMPLE\naws_secret_access_key=secret\n"
    )
    assert fresh.send(WHOLE).kind is K.UNAUTHENTICATED, "the chain is not walked at every attempt"
    monkeypatch.setattr(aws_service, "RECONNECT_AFTER", 0.0)
    fresh.send(WHOLE)
    assert fresh.send(WHOLE).kind is K.ACCEPTED


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ("[default]\naws_access_key_id=AKIDEXAMPLE\n", "PartialCredentialsError"),
        ("[default]\ncredential_process=/bin/false\n", "CredentialRetrievalError"),
        ("[default]\nrole_arn=arn:aws:iam::123456789012:role/r\nsource_profile=gone\n", "InvalidConfigError"),
        ("[default\n", "ConfigParseError"),
    ],
    ids=lambda value: value if value.isalnum() else "config",
)
def test_credentials_that_cannot_be_had_are_an_outcome(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh: ProtonSink, config: str, code: str
) -> None:
    without_credentials(monkeypatch, tmp_path)
    (tmp_path / ".aws" / "config").write_text(config)
    for _ in range(2):
        assert fresh.send(WHOLE) == Outcome(K.UNAUTHENTICATED, code)


def test_a_profile_that_does_not_exist_is_an_outcome(receiver: Receiver) -> None:
    sink = ProtonSink("proton", REGION, receiver.url, access=Access(profile="ghost"))
    assert sink.send(WHOLE) == Outcome(K.UNAUTHENTICATED, "ProfileNotFound")
    sink.close()


@pytest.mark.parametrize(("region", "code"), [("", "NoRegionError"), ("no such region", "InvalidRegionError")])
def test_a_region_that_is_none_is_an_outcome(receiver: Receiver, region: str, code: str) -> None:
    sink = ProtonSink("proton", region, receiver.url)
    assert sink.send(WHOLE) == Outcome(K.UNAUTHENTICATED, code)
    sink.close()


# --- traps in the environment -----------------------------------------------------------------------------------

TRAPS: dict[str, dict[str, str]] = {
    "endpoint": {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_PROTON": "http://127.0.0.1:1"},
    "proxy": dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:1"),
    "retries": {"AWS_MAX_ATTEMPTS": "5", "AWS_RETRY_MODE": "legacy"},
    "variants": {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
    "region": {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"},
    "timeouts": {"AWS_DEFAULTS_MODE": "mobile"},
}


@pytest.mark.parametrize("trap", sorted(TRAPS))
def test_the_environment_changes_neither_the_way_nor_the_number_of_requests(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, fresh: ProtonSink, trap: str
) -> None:
    for name, value in TRAPS[trap].items():
        monkeypatch.setenv(name, value)
    before = receiver.requests
    assert fresh.send(WHOLE).kind is K.ACCEPTED
    receiver.fail(FaultKind.INTERNAL_SERVER)
    assert fresh.send(WHOLE).kind is K.UNAVAILABLE
    assert receiver.requests == before + 2


@pytest.mark.parametrize("trap", ["endpoint", "region"])
def test_without_an_endpoint_of_ours_it_is_awss_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trap: str) -> None:
    for name, value in TRAPS[trap].items():
        monkeypatch.setenv(name, value)
    (tmp_path / "config").write_text("[default]\nendpoint_url=http://127.0.0.1:1\nregion=us-west-2\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for access in (DIRECT, Access(config_file=str(tmp_path / "config"))):
        assert endpoint_of(ProtonSink("proton", REGION, access=access)) == PROTON


def test_a_planted_service_model_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh: ProtonSink
) -> None:
    planted = tmp_path / "proton" / "2099-01-01"
    planted.mkdir(parents=True)
    model = Path(MODELS, "proton/2020-07-20/service-2.json").read_text()
    (planted / "service-2.json").write_text(model.replace("AwsProton20200720", "Planted"))
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    assert fresh.send(WHOLE).kind is K.ACCEPTED


# --- life after botocore's Proton -------------------------------------------------------------------------------


def endpoint_of(sink: ProtonSink) -> str:
    client = sink._service.connected()
    assert client is not None
    url = str(client.meta.endpoint_url)
    sink.close()
    return url


@pytest.fixture
def botocore_without_proton(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """botocore as it will be: the same files, but for the one directory."""
    from botocore.loaders import Loader

    for entry in os.scandir(Loader.BUILTIN_DATA_PATH):
        if entry.name != "proton":
            (tmp_path / entry.name).symlink_to(entry.path)
    monkeypatch.setattr(Loader, "BUILTIN_DATA_PATH", str(tmp_path))


@pytest.mark.usefixtures("botocore_without_proton")
def test_when_botocore_has_dropped_proton_our_model_stands_in(receiver: Receiver, fresh: ProtonSink) -> None:
    from botocore.exceptions import UnknownServiceError
    from botocore.session import get_session

    with pytest.raises(UnknownServiceError):
        get_session().create_client("proton", region_name=REGION)
    assert fresh.send(WHOLE).kind is K.ACCEPTED
    assert receiver.records()[-1].outputs == dict(WHOLE.outputs)
    for fault, kind in (
        (FaultKind.THROTTLING, K.THROTTLED),
        (FaultKind.CONFLICT, K.CONFLICT),
        (FaultKind.HALF_RESPONSE, K.UNAVAILABLE),
    ):
        receiver.fail(fault, times=1)
        assert fresh.send(WHOLE).kind is kind
    sink = ProtonSink("proton", REGION, receiver.url, read_back=True)
    receiver.set_deployment(ARN, NEWER, "IN_PROGRESS")
    assert sink.read_back(WHOLE).kind is K.CONFIRMED
    assert sink.read_back(replace(WHOLE, status=Status.FAILED)).code == f"GetDeployment: {NEWER} is newer"
    sink.close()
    assert fresh.send(replace(WHOLE, outputs=(("", "v"),))).code == "ParamValidationError"


@pytest.mark.parametrize(
    ("region", "environment", "url"),
    [
        (REGION, {}, PROTON),
        ("us-gov-west-1", {}, "https://proton.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", {}, "https://proton.cn-north-1.amazonaws.com.cn"),
        ("us-east-1", {"AWS_USE_FIPS_ENDPOINT": "true"}, "https://proton-fips.us-east-1.amazonaws.com"),
        ("us-east-1", {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "https://proton.us-east-1.api.aws"),
        ("us-east-1", TRAPS["variants"], "https://proton-fips.us-east-1.api.aws"),
    ],
)
def test_our_rules_lead_to_the_same_endpoints_as_botocores(
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    region: str,
    environment: dict[str, str],
    url: str,
) -> None:
    """FIPS and dual stack choose among AWS's own endpoints, so there the environment may speak."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert endpoint_of_first_request(region) == url
    request.getfixturevalue("botocore_without_proton")
    assert endpoint_of_first_request(region) == url


def endpoint_of_first_request(region: str) -> str:
    """Where a request would go; it is stopped before it leaves."""
    sink = ProtonSink("proton", region)
    client: Any = sink._service.connected()
    went: list[str] = []

    def stop(request: Any, **_: Any) -> None:
        went.append(request.url)
        raise ConnectionAbortedError

    client.meta.events.register_first(f"before-send.proton.{NOTIFY}", stop)
    sink.send(WHOLE)
    sink.close()
    return went[0].rstrip("/")


def test_our_model_says_what_botocores_says_while_both_are_there() -> None:
    from botocore.loaders import Loader

    own = Loader(extra_search_paths=[MODELS], include_default_search_paths=False)
    theirs = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
    # Once botocore has dropped Proton this fails: then ours is the only one, and this test has done its work.
    ours, reference = (loader.load_service_model("proton", "service-2") for loader in (own, theirs))
    for key in ("apiVersion", "endpointPrefix", "jsonVersion", "protocol", "signingName", "targetPrefix", "serviceId"):
        assert ours["metadata"][key] == reference["metadata"][key]
    for operation in (NOTIFY, GET_DEPLOYMENT):
        assert shape_of(ours, operation, "input") == shape_of(reference, operation, "input")
        named = [{error["shape"] for error in model["operations"][operation]["errors"]} for model in (ours, reference)]
        assert named[0] == named[1]
        assert named[0] <= {kind.value for kind in FaultKind}
    answer, whole = (shape_of(model, GET_DEPLOYMENT, "output")["members"]["deployment"] for model in (ours, reference))
    assert answer["members"].items() <= whole["members"].items(), "ours has what is needed of it"
    assert set(answer["required"]) == set(whole["required"]) & set(answer["members"])


def shape_of(model: dict[str, Any], operation: str, side: str) -> Any:
    """A shape with everything in it and without its names; patterns aside, which nobody checks on our side."""

    def unfold(name: str) -> Any:
        shape = {k: v for k, v in model["shapes"][name].items() if k not in ("documentation", "pattern", "union")}
        if "members" in shape:
            shape["members"] = {member: unfold(ref["shape"]) for member, ref in shape["members"].items()}
        if "member" in shape:
            shape["member"] = unfold(shape["member"]["shape"])
        return shape

    return unfold(model["operations"][operation][side]["shape"])
