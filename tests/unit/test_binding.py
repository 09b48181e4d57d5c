"""Whose run it is: every shape AWS Proton wrote, and everything else a job may put in its place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proton_tf_agent.domain.binding import (
    MAX_ARN,
    MAX_METADATA,
    METADATA_PATH,
    TFVARS_PATH,
    Binding,
    Unbound,
    allows,
    from_metadata,
    from_tfvars,
    is_deployment_id,
    is_resource_arn,
    region_of,
)

ANY = ("arn:aws:proton:*:111122223333:*",)
UUID = "fcda9f18-f569-4079-8474-0832f45b97ea"
PREFIX = "arn:aws:proton:us-east-1:111122223333:"
ENVIRONMENT = PREFIX + "environment/my_first_tf_env_2"
INSTANCE = PREFIX + "service/Fourth-attempt-tf/service-instance/fourth-tf-instance"
PIPELINE = PREFIX + "service/apigw-lambda-dev-svc/pipeline"
COMPONENT = PREFIX + "component/s3-bucket"


def metadata(arn: Any = ENVIRONMENT, block: str = "resourceMetadata", **other: Any) -> bytes:
    document = {"deploymentId": UUID, "isResourceDeleted": False, block: {"arn": arn}} | other
    return json.dumps({key: value for key, value in document.items() if value is not ...}).encode()


def reason(content: bytes, allowed: tuple[str, ...] = ANY) -> str:
    found = from_metadata(content, allowed)
    assert isinstance(found, Unbound), found
    return found.reason


VERBATIM = b"""{ "deploymentId" : "fcda9f18-f569-4079-8474-0832f45b97ea",
  "isResourceDeleted" : false,
  "resourceMetadata" : {
    "arn" : "arn:aws:proton:us-east-1:111122223333:environment/my_first_tf_env_2",
    "templateArn" : "arn:aws:proton:us-east-1:111122223333:environment-template/sample-vpc-environment-template",
    "templateMajorVersion" : "1", "templateMinorVersion" : "0" } }"""


def test_what_proton_committed_is_read_as_it_stands() -> None:
    assert from_metadata(VERBATIM, ANY) == Binding(ENVIRONMENT, UUID, False, METADATA_PATH)


@pytest.mark.parametrize("arn", [ENVIRONMENT, INSTANCE, PIPELINE, PREFIX + "service/pipeline/pipeline"])
def test_environments_service_instances_and_pipelines_are_bound(arn: str) -> None:
    assert from_metadata(metadata(arn), ANY) == Binding(arn, UUID, False, METADATA_PATH)


@pytest.mark.parametrize("attached", [{}, {"serviceArn": PREFIX + "service/svc-comps", "componentType": "default"}])
def test_components_attached_or_not_are_bound_by_their_own_arn(attached: dict[str, str]) -> None:
    block = {"arn": COMPONENT, "environmentArn": ENVIRONMENT, **attached}
    content = metadata(block="componentMetadata", componentMetadata=block)
    assert from_metadata(content, ANY) == Binding(COMPONENT, UUID, False, METADATA_PATH)


def test_a_missing_deleted_flag_means_not_deleted() -> None:
    assert from_metadata(metadata(isResourceDeleted=...), ANY) == Binding(ENVIRONMENT, UUID, False, METADATA_PATH)


def test_a_deleted_resource_has_no_deployment_to_speak_for() -> None:
    content = metadata(isResourceDeleted=True, deploymentId="<proton-resource-deleted>")
    assert from_metadata(content, ANY) == Binding(ENVIRONMENT, None, True, METADATA_PATH)


def test_an_early_deletion_with_a_real_deployment_keeps_it() -> None:
    assert from_metadata(metadata(isResourceDeleted=True), ANY) == Binding(ENVIRONMENT, UUID, True, METADATA_PATH)


def test_the_deleted_literal_is_no_deployment_id_of_a_resource_that_lives() -> None:
    assert "deploymentId" in reason(metadata(deploymentId="<proton-resource-deleted>"))


def test_a_byte_order_mark_and_unknown_fields_are_no_obstacle() -> None:
    assert isinstance(from_metadata(b'\xef\xbb\xbf{"someday": [{"x": 1e400}],' + metadata()[1:], ANY), Binding)


def test_an_arn_of_another_account_is_refused_and_shown() -> None:
    """Bad input 49."""
    other = "arn:aws:proton:us-east-1:999999999999:environment/x"
    for refused in (from_metadata(metadata(other), ANY), from_tfvars(json.dumps({"//": other}).encode(), ANY)):
        assert refused == Unbound(f"E_ARN_DENIED: {other} is not covered by [allow] resource_arns", other)


def test_an_arn_of_another_region_is_refused_where_one_is_demanded() -> None:
    """Bad input 50."""
    assert "allow" in reason(metadata(), ("arn:aws:proton:eu-west-1:111122223333:*",))


def test_with_nothing_allowed_nothing_is_bound() -> None:
    assert "allow" in reason(metadata(), ())


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::111122223333:role/Admin",  # 51: matches the pattern AWS publishes
        PREFIX + "environment/../../x",  # 52: so does this
        PREFIX + "environment/x/..",
        PREFIX + "environment/-x",
        PREFIX + "environment/",
        PREFIX + "environment/" + "x" * 101,
        PREFIX + "environment-template/x",
        PREFIX + "service/x",
        PREFIX + "service/x/service-instance/",
        PREFIX + "service/x/pipeline/y",
        ENVIRONMENT + "\n",  # 53: these pass re.match
        " " + ENVIRONMENT,
        ENVIRONMENT.replace("1", "\uff11"),  # full-width digits
        ENVIRONMENT.replace("1", "\u0661"),  # Arabic digits
        ENVIRONMENT.replace("e", "\u0435"),  # Cyrillic letters
        ENVIRONMENT + "\0",
        ENVIRONMENT + "\u202e",
        "arn:aws:proton:us-east-1:11112222333:environment/x",
        "arn:aws:proton::111122223333:environment/x",
        "arn:evil:proton:us-east-1:111122223333:environment/x",
        (PREFIX + f"service/{'a' * 100}/service-instance/{'b' * 100}"),  # 54: longer than 200
        "",
        None,
        7,
        [ENVIRONMENT],
        {"arn": ENVIRONMENT},
    ],
)
def test_what_only_looks_like_a_resource_arn_is_refused(arn: object) -> None:
    assert not is_resource_arn(arn)
    assert "ARN" in reason(metadata(arn), ("*",))


def test_the_longest_arn_is_200_characters() -> None:
    rest = MAX_ARN - len(PREFIX + "service//service-instance/")
    longest = PREFIX + f"service/{'a' * 100}/service-instance/{'b' * (rest - 100)}"
    assert len(longest) == MAX_ARN
    assert is_resource_arn(longest)
    assert not is_resource_arn(longest + "b")


@pytest.mark.parametrize(
    "deployment_id",
    [UUID.upper(), UUID[:-1], UUID + "0", UUID + "\n", "sample-deployment-id", "", None, 7, [UUID], ...],
)
def test_without_a_lower_case_uuid_nothing_is_bound(deployment_id: object) -> None:
    """Bad input 55, and the hand-made files found in the wild."""
    assert not is_deployment_id(deployment_id)
    assert "deploymentId" in reason(metadata(deploymentId=deployment_id))


@pytest.mark.parametrize("flag", ["false", "true", 0, 1, None, []])
def test_a_deleted_flag_that_is_no_boolean_is_refused(flag: object) -> None:
    """Bad input 59: `"false"` is true in most languages."""
    assert "isResourceDeleted" in reason(metadata(isResourceDeleted=flag))


def test_both_kinds_of_metadata_at_once_are_refused() -> None:
    """Bad input 60."""
    assert "exactly one" in reason(metadata(componentMetadata={"arn": COMPONENT}))


@pytest.mark.parametrize("block", [..., None, [], "x", 1])
def test_metadata_without_a_block_is_refused(block: object) -> None:
    assert "exactly one" in reason(metadata(resourceMetadata=block))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"   \n",
        b"null",
        b"[]",
        b'"x"',
        b"7",
        metadata() + b"{}",
        metadata()[:-1],
        b"<<<<<<< HEAD\n" + metadata(),  # 63: a merge conflict
        b"{'deploymentId': 1}",
        b"[" * 60_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"x": NaN, ' + metadata()[1:],
        b'{"x": -Infinity, ' + metadata()[1:],
        b'{"x": ' + b"1" * 5000 + b"}",
        metadata().decode().encode("utf-16"),
        metadata().decode().encode("utf-32"),
        metadata().replace(b"my_first", b"my\xff\xfefirst"),
        metadata()[:-1] + b', "deploymentId": "' + UUID.encode() + b'"}',  # the same key twice
        b'{"resourceMetadata": {"arn": "x", "arn": "' + ENVIRONMENT.encode() + b'"}}',
        metadata() + b" " * MAX_METADATA,
    ],
    ids=lambda content: repr(content[:20]),
)
def test_what_is_not_one_strict_json_object_binds_nothing_and_breaks_nothing(content: bytes) -> None:
    assert reason(content)
    assert isinstance(from_tfvars(content, ANY), Unbound)


@pytest.mark.parametrize("length", range(0, len(VERBATIM), 7))
def test_metadata_that_is_torn_anywhere_binds_nothing(length: int) -> None:
    assert reason(VERBATIM[:length])


def test_a_reason_names_the_file_and_not_what_is_in_it() -> None:
    assert METADATA_PATH in reason(metadata(deploymentId="hunter2-secret"))
    assert "hunter2" not in reason(metadata(deploymentId="hunter2-secret"))


def test_protons_variables_name_the_resource_but_no_deployment() -> None:
    content = json.dumps({"//": INSTANCE, "service_instance": {"name": "x"}}).encode()
    assert from_tfvars(content, ANY) == Binding(INSTANCE, None, False, TFVARS_PATH)


@pytest.mark.parametrize("content", [b"{}", b'{"//": "a comment"}', b'{"//": null}'])
def test_variables_without_an_arn_bind_nothing(content: bytes) -> None:
    assert isinstance(from_tfvars(content, ANY), Unbound)


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        (ENVIRONMENT, True),
        ("*", True),
        (PREFIX + "environment/*", True),
        (PREFIX + "service/*", False),
        (ENVIRONMENT.upper(), False),
        (ENVIRONMENT[:-1], False),
        ("", False),
    ],
)
def test_an_arn_is_allowed_by_a_pattern_that_covers_all_of_it(pattern: str, allowed: bool) -> None:
    assert allows((pattern,), ENVIRONMENT) is allowed


def test_the_region_comes_from_the_arn() -> None:
    assert region_of(ENVIRONMENT) == "us-east-1"
    assert region_of("arn:aws-us-gov:proton:us-gov-west-1:111122223333:environment/x") == "us-gov-west-1"
