"""No sensitive value reaches a record: not from outputs, errors, variables, the environment or the state."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from support.exec_side import WRAPPED, Side

SECRETS = {name: f"c4n4ry-{name}-" + "0123456789abcdef" for name in ("state", "variable", "environment", "token")}
CONFIGURATION = """
variable "db_password" { sensitive = true }
variable "plain" { default = "" }
resource "terraform_data" "holds" { input = sensitive("STATE") }
resource "terraform_data" "fails" {
  count      = var.plain == "" ? 0 : 1
  depends_on = [terraform_data.holds]
  lifecycle {
    precondition {
      condition     = var.plain == "never"
      error_message = "It holds STATE and ${nonsensitive(var.db_password)}."
    }
  }
  provisioner "local-exec" { command = "echo STATE ${nonsensitive(var.db_password)}; exit 1" }
}
output "secret" {
  value     = "STATE"
  sensitive = true
}
output "copy" { value = nonsensitive("it is STATE") }
output "encoded" { value = base64encode("STATE") }
output "harmless" { value = "harmless" }
""".replace("STATE", SECRETS["state"])


LINES = (
    "apply -auto-approve",
    "apply -json -auto-approve",
    "apply -auto-approve -var plain=x",
    "apply -json -auto-approve -var plain=x",
    "apply -auto-approve -var plain=never",
    "plan",
)


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("into", ["| cat > /dev/null", "> log", "> /dev/null"])
def test_no_secret_is_in_a_record(line: str, into: str, tmp_path: Path, terraform_path: str) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    side = Side("wrapped", WRAPPED, tmp_path, spool)
    side.environment = {
        "TF_VAR_db_password": SECRETS["environment"], "AWS_SECRET_ACCESS_KEY": SECRETS["token"],
        "GITHUB_ACTIONS": "true", "GITHUB_TOKEN": SECRETS["token"], "GITHUB_SHA": "f00d",
    }  # fmt: skip
    (tmp_path / "main.tf").write_text(CONFIGURATION)
    (tmp_path / ".proton").mkdir()
    (tmp_path / "proton.auto.tfvars.json").write_text(json.dumps({"//": "arn", "plainest": SECRETS["variable"]}))
    (tmp_path / "bin").mkdir()
    os.symlink(terraform_path, tmp_path / "bin" / "terraform")

    side.shell(f"$RUN terraform {line} -var db_password={SECRETS['variable']} {into} 2>&1")

    (path,) = spool.glob("*.json")
    content = path.read_bytes()
    record = json.loads(content)
    assert record["ended"] is not None
    for secret in SECRETS.values():
        for form in (secret, base64.b64encode(secret.encode()).decode().rstrip("="), secret.encode().hex()):
            assert form.encode() not in content, form
    if "plain" not in line and line != "plan":
        (outputs,) = (fields["outputs"] for kind, fields, _ in record["facts"] if kind == "OutputsReported")
        told = {output["name"]: (output["value"], output["withheld"]) for output in outputs}
        assert told == {
            "secret": (None, "sensitive"),
            "copy": (None, "holds a sensitive value"),
            "encoded": (None, "holds a sensitive value"),
            "harmless": ('"harmless"', ""),
        }
