"""Section C of docs/bad-input.md: what a run directory may claim to be whose.

What takes more than one directory or one run (56, 57, 61, 62) is in tests/hostile/test_whose.py.
"""

from __future__ import annotations

import json

from .hostile import DEPLOYMENT_ID, Case, Ground
from .hostile_content import Content, begin, in_document, in_metadata, metadata, whole_log

_HERE = "arn:aws:proton:us-east-1:111122223333:"


def _nothing(ground: Ground) -> None:
    begin(ground, whole_log())


CASES: tuple[Case, ...] = (
    Content("47", "no metadata", _nothing, mend=None),
    Content("48", "metadata that come when the run is under way", _nothing, mend=Ground.bind),
    in_document("49", "another account", lambda arn: metadata(arn.replace("1111", "9999")), "E_ARN_DENIED"),
    in_document("50", "another region", lambda arn: metadata(arn.replace("us-east-1", "eu-west-1")), "E_ARN_DENIED"),
    in_document("51", "a role", lambda _: metadata("arn:aws:iam::111122223333:role/Admin"), "E_ARN_TYPE"),
    in_document("52", "a way up", lambda _: metadata(f"{_HERE}environment/../../x"), "E_ARN_TYPE"),
    in_document("52", "a template", lambda _: metadata(f"{_HERE}environment-template/x"), "E_ARN_TYPE"),
    in_document("53", "a newline behind it", lambda arn: metadata(arn + "\n"), "E_ARN"),
    in_document("53", "full-width digits", lambda arn: metadata(arn.replace("1", "\uff11")), "E_ARN"),
    in_document("53", "Arabic digits", lambda arn: metadata(arn.replace("1", "\u0661")), "E_ARN"),
    in_document("53", "a Cyrillic letter", lambda arn: metadata(arn.replace("e", "\u0435")), "E_ARN"),
    in_document("54", "201 characters", lambda _: metadata(_HERE + "environment/" + "x" * 151), "E_ARN"),
    in_document("54", "an empty ARN", lambda _: metadata(""), "E_ARN"),
    in_document("54", "null for an ARN", lambda _: metadata(None), "E_ARN"),
    in_document("54", "a number for an ARN", lambda _: metadata(42), "E_ARN"),
    in_document("54", "a list of ARNs", lambda arn: metadata([arn]), "E_ARN"),
    in_document(
        "55", "a deployment in upper case", lambda arn: metadata(arn, DEPLOYMENT_ID.upper()), "E_DEPLOYMENT_ID"
    ),
    in_document("55", "a deployment that is too short", lambda arn: metadata(arn, "0000"), "E_DEPLOYMENT_ID"),
    in_document("55", "no deployment", lambda arn: metadata(arn, ...), "E_DEPLOYMENT_ID"),
    in_document("59", "a string for false", lambda arn: metadata(arn, isResourceDeleted="false"), "E_SCHEMA"),
    in_document("60", "both kinds at once", lambda arn: metadata(arn, componentMetadata={"arn": arn}), "E_SCHEMA"),
    in_metadata(
        "63", "a merge conflict",
        lambda arn: b"<<<<<<< HEAD\n" + json.dumps(metadata(arn)).encode() + b"\n=======\n>>>>>>> theirs\n", "E_JSON",
    ),
)  # fmt: skip
