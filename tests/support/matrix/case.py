"""What a case is: a way a run can go, and the truth about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from .stage import Step, run

SECRET = "s3cr3t-v4lue-of-the-matrix"
PLAN = "terraform plan -json"
APPLY = "terraform apply -json -auto-approve"
GATED = f"exec {APPLY} -var gate=$GATE"
HUMAN = "terraform apply -auto-approve"

CONFIGURATION = (
    """
variable "rev" { default = "1" }
variable "gate" { default = "" }
variable "bad" { default = "" }
resource "terraform_data" "first" { input = "first-${var.rev}" }
resource "terraform_data" "gated" {
  triggers_replace = [var.rev]
  depends_on       = [terraform_data.first]
  provisioner "local-exec" { command = var.gate == "" ? ":" : "cat '${var.gate}'" }
}
resource "terraform_data" "bad" {
  count      = var.bad == "" ? 0 : 1
  input      = "SECRET"
  depends_on = [terraform_data.gated]
  provisioner "local-exec" { command = "echo SECRET; exit 3" }
}
output "vpc_id" { value = "vpc-${var.rev}" }
output "first" { value = terraform_data.first.output }
output "numbers" { value = { third = 1 / 3, big = 123456789012345678901234567890, on = true } }
output "lines" { value = "one\\ntwo\\t\\"ümläut\\" <&>" }
output "pw" {
  value     = "SECRET"
  sensitive = true
}
"""
).replace("SECRET", SECRET)

FIRST_APPLIED = run(f"{APPLY} -lock=false > /dev/null")
"""The state exists before the case begins; nobody sees how, for there is neither a log nor a lock."""


@dataclass(frozen=True, slots=True)
class Case:
    """One way a run can go.

    told: what Proton hears, without the IN_PROGRESS before an end: that of a short run may be superseded unsent. A
    case that waits at its gate hears IN_PROGRESS as one of its steps.
    runs: the statuses of all runs of the directory, in the order in which they began; there must be no others.
    lagging: told and runs where the agent was given no time between two steps, if that leaves it less to say.
    message: a part of the last status message. outputs: what prints the outputs that the last SUCCEEDED must carry.
    """

    name: str
    steps: tuple[Step, ...]
    told: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    message: str = ""
    outputs: str = "terraform output -json"
    lagging: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    files: Mapping[str, str] = field(default_factory=lambda: {"main.tf": CONFIGURATION})

    @property
    def slug(self) -> str:
        """The name as a part of a path."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


def succeeds(name: str, *steps: Step, message: str = "2 added", outputs: str = "terraform output -json") -> Case:
    """One run, and it succeeds."""
    return Case(name, steps, ("SUCCEEDED",), ("applied",), message, outputs)


def fails(name: str, *steps: Step, message: str, status: str = "errored") -> Case:
    """One run, and it fails."""
    return Case(name, steps, ("FAILED",), (status,), message)


def tells_nothing(name: str, *steps: Step) -> Case:
    """Commands that are no runs: nothing is told, and no run is recorded."""
    return Case(name, (FIRST_APPLIED, *steps))
