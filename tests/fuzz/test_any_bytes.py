"""Any bytes into every reader of foreign input: it refuses as documented, and its invariants hold.

What was found once lies in `seeds/TARGET/` and is tried in every run; `make fuzz` searches on, led by coverage.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.facts import LOGS
from support.fuzz_targets import TARGETS_BY_NAME
from support.soak import rounds

SEEDS = Path(__file__).parent / "seeds"
ROOT = Path(__file__).parents[2]
_STATES = [path.read_bytes()[:20_000] for path in sorted(LOGS.glob("*.tfstate"))][:3]
_LOGS = [path.read_bytes()[:8_000] for path in sorted(LOGS.glob("*.log"))]
_HUMAN = [path.read_bytes()[:4_000] for path in sorted((LOGS.parent / "human").rglob("*")) if path.is_file()][:12]
_METADATA = json.dumps({
    "deploymentId": "fcda9f18-f569-4079-8474-0832f45b97ea", "isResourceDeleted": False,
    "resourceMetadata": {"arn": "arn:aws:proton:us-east-1:111122223333:environment/net"},
    "//": "arn:aws:proton:us-east-1:111122223333:environment/net",
}).encode()  # fmt: skip
_RECORD = json.dumps({
    "version": 1, "record_id": "0" * 32, "began_at": 1.0, "directory": "/w", "operation": "apply",
    "command": ["terraform"], "facts": [["ErrorReported", {"summary": "x", "address": ""}, 1]],
    "ended": {"at": 2.0, "status": 1},
}).encode()  # fmt: skip
_OPERATION = (
    b'{"token":"AGT+/0=","operation":"PROVISION_PRODUCT","recordId":"rec-0123456789abc",'
    b'"provisionedProductId":"pp-0123456789abc","parameters":[{"key":"a","value":"b"}]}'
)
# What real input looks like, for the search to begin at.
_REQUEST = (
    b"X-Amz-Target: AwsProton20200720.NotifyResourceDeploymentStatusChange\n\n"
    b'{"resourceArn":"arn:aws:proton:us-east-1:111122223333:environment/net","status":"FAILED",'
    b'"outputs":[{"key":"a","valueString":"b"}]}'
)
EXAMPLES: dict[str, list[bytes]] = {
    "json_log": _LOGS,
    "log": [*_LOGS[:6], *_HUMAN],
    "tail": [*_LOGS[:3], b"\n\n\r\n\0x"],
    "state": _STATES,
    "metadata": [_METADATA],
    "operation": [_OPERATION],
    "lock": [b'{"ID":"1","Operation":"OperationTypeApply","Who":"a@b","Version":"1","Created":"2026-11-22T10:00:00Z"}'],
    "exit_record": [_RECORD],
    "output_json": [b'{"a":{"sensitive":true,"type":"string","value":["x",1e400]}}'],
    "backend": [b'{"version":3,"backend":{"type":"s3","config":{"bucket":"b","key":"k"},"hash":1}}', b"blue"],
    "settings": [(ROOT / "config" / "agent.toml").read_bytes()],
    "request": [_REQUEST],
    "redaction": [
        b'hunter2-secret\nError: \x1b[31mlogin hunter2-\n | secret, password="x" AKIAIOSFODNN7EXAMPLE ://u:p@h'
    ],
}


@pytest.mark.parametrize("target", TARGETS_BY_NAME)
def test_what_has_once_been_found_is_mended(target: str) -> None:
    for path in sorted(SEEDS.glob(f"{target}/*")):
        TARGETS_BY_NAME[target](path.read_bytes())


@pytest.mark.parametrize("target", EXAMPLES)
def test_real_input_passes(target: str) -> None:
    for content in EXAMPLES[target]:
        TARGETS_BY_NAME[target](content)


@pytest.mark.parametrize("target", TARGETS_BY_NAME)
@settings(max_examples=rounds(120, 20_000), suppress_health_check=list(HealthCheck), deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes_are_refused_as_documented(target: str, content: bytes) -> None:
    TARGETS_BY_NAME[target](content)


@pytest.mark.parametrize("target", TARGETS_BY_NAME)
@settings(max_examples=rounds(120, 20_000), suppress_health_check=list(HealthCheck), deadline=None)
@given(st.data())
def test_real_input_with_any_damage_is_refused_as_documented(target: str, data: st.DataObject) -> None:
    """Pieces of it are cut out, doubled, or written over."""
    content = data.draw(st.sampled_from(EXAMPLES[target]))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        until = min(len(content), at + data.draw(st.integers(0, 300)))
        instead = data.draw(st.one_of(st.binary(max_size=20), st.just(content[at:until] * 2), st.sampled_from(_PIECES)))
        content = content[:at] + instead + content[until:]
    TARGETS_BY_NAME[target](content)


_PIECES = (
    b"", b"\0", b"\n", b'"', b"\\", b"\\ud800", b"[" * 2000, b'{"a":' * 2000, b"1" * 5000, b"1e400", b"NaN", b"null",
    b"true", b"-0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x1b[31m", b"{}", b"[]", b",", b"\r",
)  # fmt: skip
