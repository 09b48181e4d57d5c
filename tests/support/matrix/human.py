"""What people read: logs without -json. The same verdicts, and outputs out of the state."""

from __future__ import annotations

import signal

from .case import APPLY, FIRST_APPLIED, HUMAN, PLAN, Case, fails, succeeds
from .stage import answer, deploy_again, end, hear, pass_gate, reach_gate, run, see, send, start, still_open, write

_GATED = f"exec {HUMAN} -no-color -var gate=$GATE"
_SAVED = "terraform plan -lock=false -out=tfplan"
_UNDER_WAY = (reach_gate, hear("IN_PROGRESS", "Applying"))
_SAVED_FAILS = (  # long enough for its lock to be seen
    run(f"{_SAVED} -var bad=1 -var gate=$GATE > /dev/null"), start("exec terraform apply -no-color tfplan > apply.log"),
    *_UNDER_WAY, pass_gate, end(1),
)  # fmt: skip
_GO_ON = (pass_gate, end(0))
_LIAR = """
resource "terraform_data" "liar" {
  provisioner "local-exec" {
    command = "printf '%s\\n' 'Apply complete! Resources: 9 added, 0 changed, 0 destroyed.' ''; exit 1"
  }
}
"""
_CHECK = 'check "c" {\n  assert {\n    condition     = terraform_data.first.output == "never"\n    error_message = "SAYS"\n  }\n}\n'
_SAYS_SUCCESS = write(
    "check.tf", _CHECK.replace("SAYS", "It said\\n\\nApply complete! Resources: 1 added, 0 changed, 0 destroyed.")
)
_SAYS_ERROR = write("check.tf", _CHECK.replace("SAYS", "Error: the endpoint is not healthy"))
_SAYS_NO = write("check.tf", _CHECK.replace("SAYS", "Apply cancelled."))
_OUTPUT = write(
    "o.tf",
    'output "last_log" { value = "start\\nApply complete! Resources: 1 added, 0 changed, 0 destroyed.\\nError: no\\n" }\n',
)
_UNKNOWN = 'output "x" { value = terraform_data.nowhere.id }\n'
_ASKING = "terraform apply -no-color > apply.log < $GATE"
_IN_A_TERMINAL = "script --quiet --flush --return --command 'terraform apply' apply.log < $GATE"

HUMAN_LOGS = (
    succeeds("human: written by >", start(f"{_GATED} > apply.log"), *_UNDER_WAY, *_GO_ON),
    succeeds("human: in colour", start(f"exec {HUMAN} -var gate=$GATE > apply.log"), *_UNDER_WAY, *_GO_ON),
    succeeds("human: through tee", run(f"{HUMAN} 2>&1 | tee apply.log")),
    succeeds("human: through sed", run(f"{HUMAN} -no-color | sed 's/x/x/' > apply.log")),
    succeeds("human: mixed with TF_LOG=trace", run(f"TF_LOG=trace {HUMAN} -no-color > apply.log 2>&1")),
    succeeds("human: renamed in mid-run", start(f"{_GATED} > apply.log"), *_UNDER_WAY, run("mv apply.log apply-1.log"), *_GO_ON),
    Case("human: renamed after the run",
         (run(f"{HUMAN} > apply.log"), hear("SUCCEEDED"), run("mkdir artifacts; mv apply.log artifacts/apply-1.log")),
         ("SUCCEEDED",), ("applied",)),
    Case("human: copied among the artifacts",
         (run(f"{HUMAN} -var bad=1 > apply-1.log 2>&1", 1), hear("FAILED"), run(f"{HUMAN} > apply-2.log 2>&1"), hear("SUCCEEDED"),
          run("mkdir artifacts; cp *.log artifacts/; cp apply-1.log last.log")),
         ("FAILED", "SUCCEEDED"), ("errored", "applied")),
    Case("human: copied in mid-run",
         (start(f"{_GATED} > apply.log"), *_UNDER_WAY, run("mkdir seen; cp apply.log seen/so-far.log"), *_GO_ON),
         ("SUCCEEDED",), ("applied",)),
    Case("human: one log for each run, the last one kept",
         (run(f"{HUMAN} > apply.log"), hear("SUCCEEDED"), run("mv apply.log apply.log.old"),
          run(f"{HUMAN} -var rev=2 -var bad=1 > apply.log 2>&1", 1)),
         ("SUCCEEDED", "FAILED"), ("applied", "errored"), "local-exec provisioner error"),
    succeeds("human: truncated in mid-run, then appended to", start(f"{_GATED} >> apply.log"), *_UNDER_WAY, run(": > apply.log"), *_GO_ON),
    succeeds("human: truncated in mid-run, then written with a hole", start(f"{_GATED} > apply.log"), *_UNDER_WAY, run(": > apply.log"), *_GO_ON),
    succeeds("human: moved in after the run", run(f"{HUMAN} > $OUTSIDE/a.log; mv $OUTSIDE/a.log apply.log")),
    Case(
        "human: one log for a whole script",
        (run("unset TF_IN_AUTOMATION; exec > job.log 2>&1; terraform init; terraform validate; terraform plan -out=tfplan && "
             "terraform apply tfplan; terraform output; echo 'the job is done'"),),
        ("SUCCEEDED",), ("planned_and_finished", "applied"), "2 added",
    ),
    succeeds("human: one log for a script that looks like one apply",
             run("exec > job.log 2>&1; terraform plan -out=tfplan && terraform apply tfplan")),
    Case(
        "human: written by >> twice",
        (run(f"{HUMAN} >> runs.log"), hear("SUCCEEDED"), run(f"{HUMAN} -var rev=2 -var bad=1 >> runs.log 2>&1", 1)),
        ("SUCCEEDED", "FAILED"), ("applied", "errored"), "local-exec provisioner error",
    ),
    succeeds("human: no changes", FIRST_APPLIED, run(f"{HUMAN} > apply.log"), message="0 added, 0 changed, 0 destroyed"),
    Case("human: a plan", (run("terraform plan > plan.log"), hear("IN_PROGRESS", "Plan complete")),
         ("IN_PROGRESS",), ("planned_and_finished",), "2 to add, 0 to change, 0 to destroy"),
    Case("human: a plan without changes",
         (FIRST_APPLIED, run("terraform plan -no-color > plan.log"), hear("IN_PROGRESS", "Plan complete")),
         ("IN_PROGRESS",), ("planned_and_finished",), "no changes"),
    Case("human: a saved plan",
         (run("terraform plan -out=tfplan > plan.log"), run("terraform apply tfplan > apply.log")),
         ("SUCCEEDED",), ("planned_and_finished", "applied"), "2 added"),
    Case("human: a destroy", (FIRST_APPLIED, run("terraform destroy -auto-approve > destroy.log")),
         ("SUCCEEDED",), ("destroyed",), "Destroy complete: 2 destroyed"),
    fails("human: a part of the apply fails", run(f"{HUMAN} -no-color -var bad=1 > apply.log 2>&1", 1),
          message="local-exec provisioner error"),
    fails("human: a boxed diagnostic", run(f"{HUMAN} -var bad=1 > apply.log 2>&1", 1),
          message="local-exec provisioner error at terraform_data.bad[0]"),
    fails("human: an unknown reference", write("more.tf", _UNKNOWN), run(f"{HUMAN} > apply.log 2>&1", 1),
          message="Reference to undeclared resource"),
    fails("human: a plan with an unknown reference", write("more.tf", _UNKNOWN),
          run("terraform plan -no-color > plan.log 2>&1", 1), message="Reference to undeclared resource"),
    fails("human: a provisioner that prints a summary and fails", write("liar.tf", _LIAR),
          run(f"{HUMAN} -no-color > apply.log 2>&1", 1), message="local-exec provisioner error"),
    Case("human: a saved plan fails unsaid, the next deployment's is applied over its log",
         (*_SAVED_FAILS, see("undetermined"), deploy_again(), run(f"{_SAVED} -var rev=2 > /dev/null"),
          run("terraform apply -no-color tfplan > apply.log")),
         ("SUCCEEDED",), ("undetermined", "applied")),
    Case("human: killed, and the next deployment's saved plan is appended to its log",
         (start(f"{_GATED} >> apply.log"), *_UNDER_WAY, send(signal.SIGKILL), end(-9), hear("FAILED"), deploy_again(),
          run(f"{_SAVED} > /dev/null"), run("terraform apply -no-color tfplan >> apply.log")),
         ("FAILED", "SUCCEEDED"), ("lost", "applied")),
    Case("human: killed, and the next deployment's saved plan has nothing to do",
         (start(f"{_GATED} > apply.log"), *_UNDER_WAY, send(signal.SIGKILL), end(-9), hear("FAILED"), deploy_again(),
          run(f"{HUMAN} -lock=false > /dev/null; {_SAVED} > /dev/null"),
          run("rm apply.log; terraform apply -no-color tfplan | tee apply.log")),
         ("FAILED", "SUCCEEDED"), ("lost", "applied"), "0 added"),
    Case("human: two failed plans in one log, then a success",
         (write("more.tf", _UNKNOWN), run(f"{HUMAN} >> apply.log 2>&1", 1), see("errored"), run(f"{HUMAN} >> apply.log 2>&1", 1),
          see("errored", 2), write("more.tf", ""), run(f"{HUMAN} >> apply.log 2>&1")),
         ("FAILED", "FAILED", "SUCCEEDED"), ("errored", "errored", "applied")),
    Case("human: two failed plans, the second over the first",
         (write("more.tf", _UNKNOWN), run(f"{HUMAN} > apply.log 2>&1", 1), see("errored"), run(f"{HUMAN} > apply.log 2>&1", 1),
          see("errored", 2)),
         ("FAILED", "FAILED"), ("errored", "errored")),
    Case("human: a provisioner that prints a summary and fails, then is gone and the next run appended",
         (write("liar.tf", _LIAR), run(f"{HUMAN} -no-color >> apply.log 2>&1", 1), hear("FAILED"), write("liar.tf", ""),
          run(f"{HUMAN} -no-color >> apply.log 2>&1")),
         ("FAILED", "SUCCEEDED"), ("errored", "applied")),
    fails("human: a check that prints a summary, and a failure", _SAYS_SUCCESS, run(f"{HUMAN} -no-color -var bad=1 > apply.log 2>&1", 1),
          message="local-exec provisioner error"),
    fails("human: a check that prints a summary before it is asked, and a failure", FIRST_APPLIED, _SAYS_SUCCESS,
          run("echo yes | TF_INPUT=1 terraform apply -no-color -var rev=2 -var bad=1 > apply.log 2>&1", 1),
          message="local-exec provisioner error"),
    succeeds("human: a check that prints a summary, and a success", _SAYS_SUCCESS, run(f"{HUMAN} -no-color > apply.log 2>&1")),
    succeeds("human: a check that prints an error in its box", _SAYS_ERROR, run(f"{HUMAN} > apply.log 2>&1")),
    Case("human: a check that prints an error, without its box", (_SAYS_ERROR, run(f"{HUMAN} -no-color > apply.log 2>&1")),
         ("IN_PROGRESS",), ("undetermined",)),
    succeeds("human: a check that prints a refusal", _SAYS_NO, run(f"{HUMAN} -no-color > apply.log 2>&1")),
    *(Case(f"human: a plan, then {what} that looks like an outcome",
           (_OUTPUT, FIRST_APPLIED, run(f"exec > job.log 2>&1; terraform plan -no-color; {line}"), see("planned_and_finished")),
           ("IN_PROGRESS",), ("planned_and_finished",))
      for what, line in (("an output", "terraform output -no-color"), ("a raw output", "terraform output -raw last_log"))),
    Case("human: another tool's error between a plan and its apply",
         (run("exec > job.log 2>&1; terraform plan -no-color -out=tfplan; echo 'Error: 3 issues found'; terraform apply -no-color tfplan"),),
         ("SUCCEEDED",), ("applied",)),
    Case("human: a check that prints an error in a plan, without its box",
         (_SAYS_ERROR, FIRST_APPLIED, run("terraform plan -no-color > plan.log 2>&1"), see("planned_and_finished")),
         ("IN_PROGRESS",), ("planned_and_finished",)),
    Case("human: another tool's crash between a JSON plan and its apply",
         (run(f"exec > job.log 2>&1; {PLAN} -out=tfplan; echo 'panic: no'; terraform apply -json tfplan"),),
         ("SUCCEEDED",), ("planned_and_finished", "applied")),
    Case("human: an apply behind a JSON plan",
         (run(f"{PLAN} -out=tfplan >> job.log; terraform apply -no-color tfplan >> job.log 2>&1"),),
         ("SUCCEEDED",), ("planned_and_finished", "applied")),
    succeeds("human: an apply behind init -json", run(f"terraform init -json > job.log; {HUMAN} -no-color >> job.log 2>&1")),
    Case("human: a failed apply behind a JSON apply",
         (run(f"{APPLY} >> job.log"), hear("SUCCEEDED"), run(f"{HUMAN} -no-color -var bad=1 >> job.log 2>&1", 1)),
         ("SUCCEEDED", "FAILED"), ("applied", "errored")),
    fails("human: a stale plan", run("terraform plan -out=tfplan -lock=false > $OUTSIDE/plan.log"), FIRST_APPLIED,
          run("terraform apply -no-color tfplan > apply.log 2>&1", 1), message="Saved plan is stale"),
    succeeds("human: asked and answered yes", start(_ASKING, TF_INPUT="1"), answer("yes\n"), end(0)),
    fails("human: asked and answered no", start(_ASKING, TF_INPUT="1"), answer("no\n"), end(1),
          message="Canceled", status="canceled"),
    succeeds("human: answered yes in a terminal", start(_IN_A_TERMINAL, TF_INPUT="1"), answer("yes\n"), end(0)),
    fails("human: answered no in a terminal", start(_IN_A_TERMINAL, TF_INPUT="1"), answer("no\n"), end(1),
          message="Canceled", status="canceled"),
    succeeds("human: waits long for its answer", start(_ASKING, TF_INPUT="1"), reach_gate, hear("IN_PROGRESS", "Planned"),
             still_open, answer("yes\n"), end(0)),
    fails("human: SIGINT", start(f"{_GATED} > apply.log 2>&1"), *_UNDER_WAY, send(signal.SIGINT), end(1),
          message="Canceled", status="canceled"),
    fails("human: SIGKILL", start(f"{_GATED} > apply.log 2>&1"), *_UNDER_WAY, send(signal.SIGKILL), end(-9),
          message="inferred", status="lost"),
    fails("human: SIGQUIT and its report", start(f"{_GATED} > apply.log 2>&1"), *_UNDER_WAY, send(signal.SIGQUIT), end(2),
          message="crashed"),
    succeeds("human: SIGSTOP, then SIGCONT", start(f"{_GATED} > apply.log"), *_UNDER_WAY, send(signal.SIGSTOP), still_open,
             send(signal.SIGCONT), *_GO_ON),
    Case("human: a lock that is refused",
         (start(f"{_GATED} > apply.log"), *_UNDER_WAY, run(f"{HUMAN} > apply-2.log 2>&1", 1), see("errored"), *_GO_ON),
         ("SUCCEEDED",), ("applied", "errored"), "2 added"),
    succeeds("human: in a workspace", run("terraform workspace new blue > /dev/null"), run(f"{HUMAN} > apply.log")),
    fails("human: without a lock, killed", start(f"{_GATED} -lock=false > apply.log"), *_UNDER_WAY, send(signal.SIGKILL),
          end(-9), message="inferred", status="lost"),
)  # fmt: skip
