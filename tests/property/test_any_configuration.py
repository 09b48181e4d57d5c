"""Any bytes in the place of a record, a workspace or a configuration: an answer, never an exception, never a secret."""

from __future__ import annotations

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from proton_tf_agent.sources import backend, hcl_config
from proton_tf_agent.sources.backend import Backend

SECRET = "hunter2-SECRET"
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.just(SECRET),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from([*Backend.__dataclass_fields__, "access_key", "secret_key", "token", "endpoint", "password"])


@settings(max_examples=300)
@given(st.binary(max_size=400))
@example(b'{"version":3,"backend":{"type":"local","config":{"path":"\\ud800"}}}')
@example(b'{"version":3,"backend":{"type":"local","config":{"path":"\\u0000"}}}')
def test_any_bytes_give_a_backend_and_a_path_or_none(content: bytes) -> None:
    found = backend.read(content)
    workspace = backend.read_workspace(content)
    path = backend.state_path("/w/net", found, workspace)
    assert (path is None) == (not found.is_local)
    assert path is None or path.startswith("/")


@settings(max_examples=300)
@given(
    st.sampled_from(["local", "s3", "gcs", "http"]),
    st.dictionaries(names, values, max_size=6),
    st.sampled_from(["access_key", "secret_key", "token"]),
)
def test_any_settings_give_a_backend_without_its_credentials(
    type_: str, config: dict[str, object], credential: str
) -> None:
    secret = f"{SECRET}-of-{credential}"
    document = {"version": 3, "backend": {"type": type_, "config": config | {credential: secret}}}
    found = backend.read(json.dumps(document).encode())
    assert found.type == type_
    assert secret not in str([getattr(found, name) for name in Backend.__dataclass_fields__])
    assert SECRET not in repr(found)


@settings(max_examples=100)
@given(st.text(alphabet='{}[]()"\\$%<>=\n\t ,.:?#/*-+abE1é', max_size=80), st.sampled_from(["a.tf", "a.tf.json"]))
def test_any_text_in_the_place_of_a_configuration_is_read_or_named_with_a_reason(text: str, name: str) -> None:
    declared = hcl_config.read({name: f'output "first" {{}}\n{text}'.encode()})
    assert declared.not_read or name == "a.tf"
    assert [said for said, _ in declared.not_read] in ([], [name])


@settings(max_examples=200)
@given(values)
def test_any_json_in_the_place_of_a_configuration_is_read_or_named_with_a_reason(value: object) -> None:
    for document in (
        {"output": value},
        {"terraform": value},
        {"terraform": {"backend": value}},
        {"output": {"o": value}},
    ):
        declared = hcl_config.read({"a.tf.json": json.dumps(document).encode()})
        assert [said for said, _ in declared.not_read] in ([], ["a.tf.json"])
        assert declared.backend is None or SECRET not in repr(declared.backend)


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_in_the_place_of_a_configuration_are_no_exception(content: bytes) -> None:
    for name in ("a.tf", "a.tf.json"):
        hcl_config.read({name: content + b" output"})
