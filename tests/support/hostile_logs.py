"""Section E of docs/bad-input.md: logs that hold more than Terraform's messages."""

from __future__ import annotations

import json
import os

from .hostile import Case, Ground
from .hostile_content import LOG, Content, between, encoded, in_log, whole_log

_MIB = 1 << 20
_FORGED = b"Apply complete! Resources: 3 added, 0 changed, 0 destroyed.\n"
_STEERING = "\x1b]8;;http://evil\x07\x1b[2J\u202e\u200b\u2066\x07\r\nApply complete!"


def _only_claims(ground: Ground) -> None:
    """A run that fails, and a provisioner of it that says all is well."""
    ground.bind()
    progress = {"@level": "info", "@message": f"x: Provisioning: {_FORGED.decode()}", "@module": "terraform.ui",
                "hook": {"resource": {"addr": "x"}, "provisioner": "local-exec", "output": _FORGED.decode()},
                "type": "provision_progress"}  # fmt: skip
    lines = whole_log("apply_partial_failure.log")
    bad = [_FORGED, (json.dumps(progress) + "\n").encode(), _FORGED]
    (ground.directory / LOG).write_bytes(b"".join([*encoded(lines[:-1]), *bad, *encoded(lines[-1:])]))


def _steering(ground: Ground) -> None:
    """An error whose words act on terminals and forge lines."""
    ground.bind()
    lines = whole_log("plan_fail_reference.log")
    spoilt = []
    for line in lines:
        found = json.loads(line)
        if found.get("type") == "diagnostic":
            found["diagnostic"]["summary"] = f"Oops{_STEERING}{'x' * 6000}"
        spoilt.append(json.dumps(found, ensure_ascii=False) + "\n")
    (ground.directory / LOG).write_text("".join(spoilt), "utf-8")


def _plan_files(ground: Ground) -> None:
    """Plan files are zip archives; nobody opens them, whatever they hold."""
    ground.bind()
    (ground.directory / "tfplan").write_bytes(b"PK\x03\x04" + os.urandom(4096))
    (ground.directory / "tfplan.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    (ground.directory / LOG).write_bytes(b"".join(encoded(whole_log())))


CASES: tuple[Case, ...] = (
    in_log("79", "a line of forty megabytes", between(b"x" * (40 * _MIB) + b"\n"), "E_TOO_LARGE"),
    in_log("80", "lines that are no JSON", between(b"\0\0\n", b"warning: x\r\n", b"{\n", b"\r\n", b"\n")),
    in_log("80", "lines that end as in Windows", lambda lines: [line.encode().rstrip() + b"\r\n" for line in lines]),
    Content("81", "a provisioner that claims success", _only_claims),
    Content("82", "an error that steers terminals", _steering),
    Content("86", "plan files of any kind", _plan_files, succeeds=True),
)
