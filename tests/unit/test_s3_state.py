"""States in S3: what may be read, what is believed, and what is said where nothing can be read."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.proton import Playback, http
from support.stores import REGION, TABLE, Store

from proton_tf_agent.domain.evidence import Output
from proton_tf_agent.domain.redaction import scrub
from proton_tf_agent.domain.values import replace
from proton_tf_agent.sources.backend import Backend
from proton_tf_agent.sources.s3_state import Allowed, OutOfReach, S3States, object_key, read_state_in_s3

KEY = "network/terraform.tfstate"
NOT_ALLOWED = "the state is kept in S3, where no [[s3_state]] allows it to be read"


def state(value: str, secret: str = "s3cr3t") -> str:
    outputs = {
        "o": {"value": value, "type": "string"},
        "pw": {"value": secret, "type": "string", "sensitive": True},
    }
    document = {"version": 4, "serial": 1, "lineage": "l", "outputs": outputs, "resources": [], "check_results": None}
    return json.dumps(document, indent=2) + "\n"


@dataclass
class Scene:
    """A store that may be read, and a backend whose record names an object of it."""

    store: Store
    allowed: Allowed
    backend: Backend
    told: list[tuple[str, str]] = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.states = self.states_of(self.allowed)

    def states_of(self, *allowed: Allowed) -> S3States:
        return S3States(allowed, lambda place, reason: self.told.append((place, reason)), lambda: self.now)

    def content(self, workspace: str | None = None) -> str:
        return self.states.read(self.backend, workspace).content.decode()

    def refusal(self, backend: Backend | None = None, states: S3States | None = None) -> str:
        with pytest.raises(OutOfReach) as refused:
            (states or self.states).read(backend or self.backend, None)
        return str(refused.value)


@pytest.fixture
def scene(aws_environment: None) -> Iterator[Scene]:
    with Store() as store:
        allowed = Allowed(store.bucket, ("network/*", "env:/*/network/*"), REGION, store.url, TABLE, timeout=5.0)
        yield Scene(store, allowed, Backend("s3", True, bucket=store.bucket, key=KEY))


# --- where it is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "workspace", "key"),
    [
        ("", None, KEY),
        ("", "default", KEY),
        ("", "blue", f"env:/blue/{KEY}"),
        ("teams", "blue", f"teams/blue/{KEY}"),
        ("teams", "default", KEY),
    ],
)
def test_a_workspace_has_an_object_of_its_own(prefix: str, workspace: str | None, key: str) -> None:
    assert object_key(Backend("s3", key=KEY, workspace_key_prefix=prefix), workspace) == key


def test_a_state_is_read_as_it_was_written_with_the_time_of_writing(scene: Scene) -> None:
    before = time.time()
    scene.store.put(KEY, state("one"))
    scene.store.put(f"env:/blue/{KEY}", state("blue"))
    assert scene.content() == state("one")
    assert scene.content("blue") == state("blue")
    assert abs(scene.states.read(scene.backend, None).modified_at - before) < 60


def test_a_state_that_was_written_again_is_read_again(scene: Scene) -> None:
    for value in ("one", "one", "two"):
        scene.store.put(KEY, state(value))
        assert scene.content() == state(value)
        assert scene.content() == state(value)


def test_outputs_are_those_of_the_state_and_its_secrets_are_known(scene: Scene) -> None:
    scene.store.put(KEY, state("one"))
    reading = read_state_in_s3(scene.states, scene.backend, None)
    assert reading.state is not None
    assert reading.state.outputs == (Output("o", '"one"'), Output("pw", None, sensitive=True))
    assert "s3cr3t" not in scrub("a word with s3cr3t in it", reading.taint)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "the state is empty"),
        (state("one")[:-20], "the state is torn or being written"),
        (
            json.dumps({"serial": 1, "lineage": "l", "encrypted_data": "AAAA", "encryption_version": "v0"}),
            "the state is encrypted",
        ),
    ],
)
def test_what_is_no_readable_state_has_no_outputs(scene: Scene, content: str, reason: str) -> None:
    scene.store.put(KEY, content)
    reading = read_state_in_s3(scene.states, scene.backend, None)
    assert (reading.state, reading.reason) == (None, reason)


# --- what may be read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [{"bucket": "anothers"}, {"key": "secrets/terraform.tfstate"}, {"workspace_key_prefix": "../x"}],
    ids=lambda other: next(iter(other)),
)
def test_a_record_names_no_object_that_the_settings_do_not(scene: Scene, other: dict[str, Any]) -> None:
    scene.store.put(KEY, state("one"))
    scene.store.put("secrets/terraform.tfstate", state("two"))
    backend = replace(scene.backend, **other)
    with pytest.raises(OutOfReach, match=r"no \[\[s3_state\]\] allows"):
        scene.states.read(backend, "blue")


def test_a_record_cannot_send_the_agent_to_another_endpoint(scene: Scene) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        elsewhere = f"http://127.0.0.1:{listener.getsockname()[1]}"
        backend = replace(scene.backend, endpoints=(("s3", elsewhere), ("dynamodb", elsewhere)))
        assert scene.refusal(backend) == "the state is kept at another endpoint than [[s3_state]] names"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_record_cannot_name_a_table_that_the_settings_do_not(scene: Scene) -> None:
    scene.store.put(KEY, state("one"))
    backend = replace(scene.backend, dynamodb_table="payroll")
    assert scene.refusal(backend) == "the state is locked in another table than [[s3_state]] names"


def test_with_no_settings_nothing_is_read(scene: Scene) -> None:
    states = scene.states_of()
    assert not states.reads_anything
    assert scene.refusal(states=states) == NOT_ALLOWED


def test_settings_that_are_expressions_name_no_object(scene: Scene) -> None:
    assert scene.refusal(replace(scene.backend, unknown=("key",))) == "the place of the state in S3 is not known"


# --- locks --------------------------------------------------------------------------------------------------------


def test_a_state_whose_lock_file_is_there_is_not_believed(scene: Scene) -> None:
    scene.store.put(KEY, state("one"))
    backend = replace(scene.backend, use_lockfile=True)
    scene.store.put(f"{KEY}.tflock", '{"ID":"1"}')
    assert scene.refusal(backend) == "the state in S3 is locked"
    scene.store.delete(f"{KEY}.tflock")
    assert scene.states.read(backend, None).content.decode() == state("one")


def test_a_state_whose_lock_is_in_the_table_is_not_believed(scene: Scene) -> None:
    scene.store.put(KEY, state("one"))
    backend = replace(scene.backend, dynamodb_table=TABLE)
    assert scene.states.read(backend, None).content.decode() == state("one")
    scene.store.lock(KEY)
    assert scene.refusal(backend) == "the state in S3 is locked"


# --- what goes wrong ----------------------------------------------------------------------------------------------


def test_a_state_that_was_never_written_is_said_to_be_missing(scene: Scene) -> None:
    assert scene.refusal() == "there is no state in S3"


def test_a_reason_is_told_once_until_it_changes(scene: Scene) -> None:
    place = f"s3://{scene.store.bucket}/{KEY}"
    scene.refusal()
    scene.refusal()
    scene.store.put(KEY, state("one"))
    scene.content()
    scene.store.delete(KEY)
    scene.refusal()
    assert scene.told == [(place, "there is no state in S3")] * 2


def test_what_the_store_refuses_is_named_by_its_code(scene: Scene) -> None:
    missing = replace(scene.allowed, bucket="no-such-bucket")
    backend = replace(scene.backend, bucket="no-such-bucket")
    assert scene.refusal(backend, scene.states_of(missing)) == "the state in S3 cannot be read: NoSuchBucket"


def test_a_store_that_does_not_answer_is_left_alone_for_a_minute(scene: Scene) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = replace(scene.allowed, endpoint_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.2)
        states = scene.states_of(gone)
        assert scene.refusal(states=states) == "the state in S3 cannot be read: ReadTimeoutError"
        assert scene.refusal(states=states) == "S3 did not answer lately"
        scene.now += 61
        assert scene.refusal(states=states) == "the state in S3 cannot be read: ReadTimeoutError"


def test_credentials_that_come_later_are_found(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.store.put(KEY, state("one"))
    with monkeypatch.context() as without:
        without.delenv("AWS_ACCESS_KEY_ID")
        without.delenv("AWS_SECRET_ACCESS_KEY")
        assert scene.refusal() == "the state in S3 cannot be read: NoCredentialsError"
    assert scene.content() == state("one")


def test_an_endpoint_of_the_environment_is_not_asked(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.store.put(KEY, state("one"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert scene.content() == state("one")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("301 Moved Permanently", b"<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>"),
        ("307 Temporary Redirect", b"<Error><Code>TemporaryRedirect</Code><Endpoint>evil.example</Endpoint></Error>"),
        ("400 Bad Request", b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-north-1</Region></Error>"),
    ],
)
def test_an_answer_sends_nobody_to_another_region_or_host(scene: Scene, status: str, body: bytes) -> None:
    """Bad input 88: botocore would ask again in the region that a redirect names."""
    store = Playback(http(status, body, "x-amz-bucket-region: eu-north-1", "Location: http://169.254.169.254/latest"))
    try:
        states = scene.states_of(replace(scene.allowed, endpoint_url=store.url))
        assert scene.refusal(states=states).startswith("the state in S3 cannot be read: ")
    finally:
        store.close()
    assert store.played == 1


def test_of_an_error_no_more_is_read_than_an_error_can_be(scene: Scene) -> None:
    """Bad input 88: a gigabyte behind a 500."""
    store = Playback(b"x" * (1 << 20), times=64)
    head = b"HTTP/1.1 500 Oops\r\nContent-Length: 1073741824\r\n\r\n"
    store.answer = head + store.answer  # whatever is sent of it
    try:
        states = scene.states_of(replace(scene.allowed, endpoint_url=store.url))
        assert scene.refusal(states=states).startswith("the state in S3 cannot be read: ")
    finally:
        store.close()
    assert store.played < 64
