"""Every way a run may end, and commands that are no runs; with JSON logs."""

from __future__ import annotations

import signal

from .case import APPLY, CONFIGURATION, FIRST_APPLIED, GATED, PLAN, Case, fails, succeeds, tells_nothing
from .stage import Step, end, hear, pass_gate, reach_gate, read, run, see, send, send_all, start, still_open, write

_UNDER_WAY = (reach_gate, hear("IN_PROGRESS", "Applying"))
_GO_ON = (pass_gate, end(0))
_CHANGED_OUTPUT = 'output "more" { value = "more" }\n'
_MOVED = (
    CONFIGURATION.replace('"terraform_data" "first"', '"terraform_data" "renamed"').replace(
        "_data.first", "_data.renamed"
    )
    + "moved {\n  from = terraform_data.first\n  to   = terraform_data.renamed\n}\n"
)
_IMPORT = 'import {\n  to = terraform_data.found\n  id = "abc"\n}\nresource "terraform_data" "found" {}\n'
_FORGET = (
    CONFIGURATION.replace('output "first" { value = terraform_data.first.output }', "")
    .replace(
        'resource "terraform_data" "first" { input = "first-${var.rev}" }',
        "removed {\n  from = terraform_data.first\n  lifecycle { destroy = false }\n}",
    )
    .replace("depends_on       = [terraform_data.first]", "")
)
_POSTCONDITION = """
resource "terraform_data" "checked" {
  input = terraform_data.gated.id
  lifecycle {
    postcondition {
      condition     = self.output == "never"
      error_message = "It is not."
    }
  }
}
"""
_PRECONDITION = _POSTCONDITION.replace("postcondition", "precondition").replace("self.output", "var.rev")
_REMOTE = """
data "terraform_remote_state" "slow" {
  backend    = "local"
  config     = { path = "PATH" }
  depends_on = [DEPENDS]
}
output "seen" { value = data.terraform_remote_state.slow.outputs }
"""
_READ_IN_PLAN = _REMOTE.replace("DEPENDS", "")
_READ_IN_APPLY = _REMOTE.replace("DEPENDS", "terraform_data.first")
_PROVIDER = 'terraform {\n  required_providers { nowhere = { source = "example.invalid/no/where" } }\n}\n'
_SLOW = 'resource "terraform_data" "big" { input = join("", [for n in range(300) : "0123456789"]) }\n'
_FAILS = 'resource "terraform_data" "bad" {\n  provisioner "local-exec" { command = "exit 1" }\n}\n'
_STATE_SPOILT = """
resource "terraform_data" "spoiler" {
  provisioner "local-exec" { command = "rm -f terraform.tfstate && mkdir terraform.tfstate" }
}
"""


def _gated_read(configuration: str) -> tuple[Step, ...]:
    return (run("ln -s $GATE slow.tfstate"), write("slow.tf", configuration.replace("PATH", "slow.tfstate")))


SUCCESSES = (
    succeeds("no changes", FIRST_APPLIED, run(f"{APPLY} > apply.log"), message="0 added, 0 changed, 0 destroyed"),
    succeeds(
        "only outputs change", FIRST_APPLIED, write("more.tf", _CHANGED_OUTPUT), run(f"{APPLY} > apply.log"),
        message="0 added, 0 changed, 0 destroyed",
    ),
    succeeds("a move", FIRST_APPLIED, write("main.tf", _MOVED), run(f"{APPLY} > apply.log"), message="0 added, 0 changed"),
    succeeds("an import", write("import.tf", _IMPORT), run(f"{APPLY} > apply.log"), message="1 imported, 2 added"),
    succeeds(
        "a resource is forgotten", FIRST_APPLIED, write("main.tf", _FORGET), run(f"{APPLY} > apply.log"),
        message="0 added, 0 changed, 0 destroyed",
    ),
    succeeds("an update", FIRST_APPLIED, run(f"{APPLY} -var rev=2 > apply.log"), message="1 added, 1 changed, 1 destroyed"),
    succeeds("a replacement", FIRST_APPLIED, run(f"{APPLY} -replace=terraform_data.gated > a.log"), message="1 added"),
    succeeds("refresh only", FIRST_APPLIED, run(f"{APPLY} -refresh-only > apply.log"), message="0 added"),
    succeeds("targeted", run(f"{APPLY} -target=terraform_data.first > apply.log"), message="1 added"),
    Case("a destroy", (FIRST_APPLIED, run("terraform destroy -json -auto-approve > destroy.log")),
         ("SUCCEEDED",), ("destroyed",), "Destroy complete: 2 destroyed"),
    Case("apply -destroy", (FIRST_APPLIED, run(f"{APPLY} -destroy > destroy.log")),
         ("SUCCEEDED",), ("destroyed",), "Destroy complete: 2 destroyed"),
    Case("a saved plan", (run(f"{PLAN} -out=tfplan > plan.log"), run("terraform apply -json tfplan > apply.log")),
         ("SUCCEEDED",), ("planned_and_finished", "applied"), "2 added"),
    Case("a saved plan with nothing to do",
         (FIRST_APPLIED, run(f"{PLAN} -out=tfplan > plan.log"), run("terraform apply -json tfplan > apply.log")),
         ("SUCCEEDED",), ("planned_and_finished", "applied"), "0 added, 0 changed, 0 destroyed"),
    Case("a saved plan to destroy",
         (FIRST_APPLIED, run(f"{PLAN} -destroy -out=tfplan > plan.log"), run("terraform apply -json tfplan > apply.log")),
         ("SUCCEEDED",), ("planned_and_finished", "destroyed"), "2 destroyed"),
    Case("a plan", (run(f"{PLAN} > plan.log"), hear("IN_PROGRESS", "Plan complete")),
         ("IN_PROGRESS",), ("planned_and_finished",), "2 to add, 0 to change, 0 to destroy"),
    Case("a plan without changes", (FIRST_APPLIED, run(f"{PLAN} > plan.log"), hear("IN_PROGRESS", "Plan complete")),
         ("IN_PROGRESS",), ("planned_and_finished",), "no changes"),
)  # fmt: skip

FAILED_PLANS = (
    fails("a syntax error", write("more.tf", 'output "x" {'), run(f"{APPLY} > apply.log", 1), message="Plan failed"),
    fails("an unknown reference", write("more.tf", 'output "x" { value = terraform_data.nowhere.id }\n'),
          run(f"{APPLY} > apply.log", 1), message="Plan failed: Reference to undeclared resource"),
    fails("a variable without a value", write("more.tf", 'variable "needed" {}\n'),
          run(f"{APPLY} -input=false > apply.log", 1), message="No value for required variable"),
    fails("a provider that was not installed", write("more.tf", _PROVIDER), run(f"{APPLY} > apply.log", 1),
          message="Plan failed"),
    fails("data that cannot be read", write("slow.tf", _READ_IN_PLAN.replace("PATH", "nowhere.tfstate")),
          run(f"{APPLY} > apply.log", 1), message="Unable to find remote state"),
    fails("a precondition", FIRST_APPLIED, write("more.tf", _PRECONDITION), run(f"{APPLY} > apply.log", 1),
          message="Resource precondition failed"),
    fails("a wrong option", run(f"{APPLY} -nope > apply.log", 1), message="Failed to parse command-line flags"),
    fails("no approval asked for", run("terraform apply -json > apply.log", 1), message="auto-approve required"),
    Case("a plan that fails alone", (write("more.tf", 'output "x" { value = var.nowhere }\n'), run(f"{PLAN} > p.log", 1)),
         ("FAILED",), ("errored",), "Plan failed: Reference to undeclared input variable"),
)  # fmt: skip

FAILED_APPLIES = (
    fails("all of the apply fails", write("main.tf", _FAILS), run(f"{APPLY} > apply.log", 1), message="0 of 1 applied"),
    fails("a part of the apply fails", run(f"{APPLY} -var bad=1 > apply.log", 1), message="2 of 3 applied"),
    fails("a postcondition", write("more.tf", _POSTCONDITION), run(f"{APPLY} > apply.log", 1),
          message="Resource postcondition failed"),
    fails("a state that cannot be written", write("main.tf", _STATE_SPOILT),
          run(f"{APPLY} -lock=false > apply.log", 1), message="The state could not be saved"),
    fails("a state and its rescue that cannot be written", write("more.tf", _SLOW),
          run(f"set -o pipefail; (ulimit -f 1; exec {APPLY}) | cat > apply.log", 1), message="The state could not be saved"),
    fails("a stale plan", run(f"{PLAN} -out=tfplan -lock=false > $OUTSIDE/plan.log"), FIRST_APPLIED,
          run("terraform apply -json tfplan > apply.log", 1), message="Saved plan is stale"),
    Case("a failure, then a success",
         (run(f"{APPLY} -var bad=1 > apply.log", 1), hear("FAILED"), run(f"{APPLY} > apply.log")),
         ("FAILED", "SUCCEEDED"), ("errored", "applied"), "0 added, 0 changed, 1 destroyed"),
)  # fmt: skip

INTERRUPTED = (
    fails("SIGINT", start(f"{GATED} > apply.log"), *_UNDER_WAY, send(signal.SIGINT), end(1),
          message="Canceled", status="canceled"),
    fails("SIGINT to all of a pipeline", start(f"{APPLY} -var gate=$GATE | (trap '' INT; exec tee apply.log)"), *_UNDER_WAY,
          send_all(signal.SIGINT), message="Canceled", status="canceled"),
    fails("SIGINT twice", *_gated_read(_READ_IN_APPLY), start(f"exec {APPLY} > apply.log"), reach_gate,
          send(signal.SIGINT), read("Interrupt received"), send(signal.SIGINT), end(1),
          message="Canceled", status="canceled"),
    fails("SIGTERM", start(f"{GATED} > apply.log"), *_UNDER_WAY, send(signal.SIGTERM), end(1),
          message="Canceled", status="canceled"),
    fails("SIGTERM, then SIGKILL", *_gated_read(_READ_IN_APPLY), start(f"exec {APPLY} > apply.log"), reach_gate,
          send(signal.SIGTERM), read("Interrupt received"), send(signal.SIGKILL), end(-9),
          message="It had been asked to stop", status="lost"),
    fails("SIGINT in the plan", *_gated_read(_READ_IN_PLAN), start(f"exec {APPLY} > apply.log"), reach_gate,
          hear("IN_PROGRESS"), send(signal.SIGINT), read("Interrupt received"), pass_gate, end(1),
          message="Canceled", status="canceled"),
    fails("SIGKILL", start(f"{GATED} > apply.log"), *_UNDER_WAY, send(signal.SIGKILL), end(-9),
          message="1 of 2 applied", status="lost"),
    fails("SIGKILL in the plan", *_gated_read(_READ_IN_PLAN), start(f"exec {APPLY} > apply.log"), reach_gate,
          hear("IN_PROGRESS"), send(signal.SIGKILL), end(-9), message="inferred", status="lost"),
    fails("SIGHUP", start(f"{GATED} > apply.log"), *_UNDER_WAY, send(signal.SIGHUP), end(-1),
          message="1 of 2 applied", status="lost"),
    fails("SIGQUIT, its report elsewhere", start(f"{GATED} > apply.log"), *_UNDER_WAY, send(signal.SIGQUIT), end(2),
          message="1 of 2 applied", status="lost"),
    succeeds("SIGSTOP, then SIGCONT", start(f"{GATED} > apply.log"), *_UNDER_WAY, send(signal.SIGSTOP), still_open,
             send(signal.SIGCONT), *_GO_ON),
    succeeds("SIGSTOP in the plan, then SIGCONT", *_gated_read(_READ_IN_PLAN), write("slow.tf", ""),
             start(f"{GATED} > apply.log"), *_UNDER_WAY, send(signal.SIGSTOP), still_open, send(signal.SIGCONT), *_GO_ON),
    succeeds("a long silence", start(f"{GATED} > apply.log"), *_UNDER_WAY, still_open, *_GO_ON),
    Case("SIGKILL, then an apply into the same log",
         (start(f"{GATED} > apply.log"), *_UNDER_WAY, send(signal.SIGKILL), end(-9), hear("FAILED"),
          run(f"{APPLY} > apply.log")),
         ("FAILED", "SUCCEEDED"), ("lost", "applied"), "1 added"),
    Case("SIGKILL, then an apply appended at once",
         (start(f"{GATED} >> apply.log"), *_UNDER_WAY, send(signal.SIGKILL), end(-9), run(f"{APPLY} >> apply.log"),
          hear("SUCCEEDED")),
         ("FAILED", "SUCCEEDED"), ("lost", "applied"), "1 added",
         # The next run has taken over the killed one's lock and given it back: as if that had ended in order.
         lagging=(("SUCCEEDED",), ("undetermined", "applied"))),
)  # fmt: skip

LOCKS = (
    Case("a lock that is refused",
         (start(f"{GATED} > apply.log"), *_UNDER_WAY, run(f"{APPLY} > second.log", 1), see("errored"), *_GO_ON),
         ("SUCCEEDED",), ("applied", "errored"), "2 added"),
    Case("a lock that is refused, and its holder fails",
         (start(f"{GATED} -var bad=1 > apply.log"), *_UNDER_WAY, run(f"{APPLY} > second.log", 1), see("errored"),
          pass_gate, end(1)),
         ("FAILED",), ("errored", "errored"), "2 of 3 applied"),
    Case("a lock that is waited for",
         (start(f"{GATED} > apply.log"), *_UNDER_WAY, start(f"exec {APPLY} -var rev=2 -lock-timeout=30s > second.log"),
          read("state_lock_acquire", "second.log"), pass_gate, end(0)),
         ("SUCCEEDED", "SUCCEEDED"), ("applied", "applied"), "1 added, 1 changed, 1 destroyed"),
    Case("a plan while an apply goes on",
         (start(f"{GATED} > apply.log"), *_UNDER_WAY, run(f"{PLAN} -lock=false > plan.log"), *_GO_ON),
         ("SUCCEEDED",), ("applied", "planned_and_finished"), "2 added"),
)  # fmt: skip

_TEST = 'run "it" {\n  command = apply\n}\n'
NO_RUNS = (
    tells_nothing("init", run("terraform init -json > init.log"), run("terraform init > init-h.log")),
    tells_nothing("init that fails", write("more.tf", _PROVIDER), run("terraform init -json > init.log", 1)),
    tells_nothing("validate", run("terraform validate -json > v.log"), run("terraform validate > v-h.log")),
    tells_nothing("validate that fails", write("more.tf", 'output "x" { value = terraform_data.nowhere.id }\n'),
                  run("terraform validate -json > v.log", 1), run("terraform validate > v-h.log 2>&1", 1)),
    tells_nothing("output and show", run("terraform output -json > output.json"), run("terraform output > output.log"),
                  run("terraform show -json > show.json"), run("terraform show > show.log")),
    tells_nothing("state list, show, pull", run("terraform state list > list.log"),
                  run("terraform state show terraform_data.first > show.log"), run("terraform state pull > pull.json")),
    tells_nothing("state mv and rm", run("terraform state mv terraform_data.first terraform_data.other > mv.log"),
                  run("terraform state rm terraform_data.other > rm.log")),
    tells_nothing("taint and untaint", run("terraform taint terraform_data.gated > taint.log"),
                  run("terraform untaint terraform_data.gated > untaint.log")),
    tells_nothing("import", write("more.tf", 'resource "terraform_data" "found" {}\n'),
                  run("terraform import terraform_data.found abc > import.log")),
    tells_nothing("console", run("echo 'terraform_data.first.output' | terraform console > console.log")),
    tells_nothing("workspace new, select, delete", run("terraform workspace new blue > ws.log"),
                  run("terraform workspace select default >> ws.log; terraform workspace delete blue >> ws.log")),
    tells_nothing("fmt, get, graph, providers, version", run("terraform fmt -check -diff > fmt.log; true"),
                  run("terraform get > get.log; terraform graph > graph.log; terraform providers > providers.log"),
                  run("terraform version > version.log; terraform version -json > version.json")),
    tells_nothing("test", write("tests/it.tftest.hcl", _TEST), run("terraform test -json > test.log"),
                  run("terraform test > test-h.log")),
    tells_nothing("files that are no logs of Terraform's",
                  run("""echo '{"type":"version"}' > a.json; echo '{"@module":"other","type":"change_summary"}' > b.log"""),
                  run("echo 'Apply complete! Resources: 1 added, 0 changed, 0 destroyed.' > c.log"),
                  run("head -c 100000 /dev/urandom > d.log; : > e.log; printf '\\0' > f.log")),
    Case("commands between two runs",
         (run(f"{APPLY} > apply.log"), hear("SUCCEEDED"), run("terraform state list > list.log; terraform output > o.log"),
          run("terraform taint terraform_data.gated > taint.log; terraform validate > v.log"),
          run(f"{APPLY} > apply.log")),
         ("SUCCEEDED", "SUCCEEDED"), ("applied", "applied"), "1 added, 0 changed, 1 destroyed"),
)  # fmt: skip
