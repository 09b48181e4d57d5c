"""What lies or happens beside a run: second commands, logs of other runs, the next deployment."""

from __future__ import annotations

import signal

from .case import APPLY, CONFIGURATION, GATED, HUMAN, PLAN, Case
from .stage import (
    Step,
    deploy_again,
    end,
    hear,
    pass_gate,
    reach_gate,
    read,
    run,
    see,
    send,
    send_first,
    start,
    still_open,
    write,
)

_GATED = f"exec {HUMAN} -no-color -var gate=$GATE"
_UNDER_WAY = (reach_gate, hear("IN_PROGRESS", "Applying"))
_GO_ON = (pass_gate, end(0))
_WORKSPACES = run("terraform workspace new a > /dev/null; terraform workspace new b > /dev/null")

SECOND_COMMANDS = (
    Case("human apply, and a json apply that is refused its lock",
         (start(f"{_GATED} > apply.log"), *_UNDER_WAY, run(f"{APPLY} > second.log", 1), see("errored"), *_GO_ON,
          hear("SUCCEEDED")),
         ("SUCCEEDED",), ("applied", "errored"), "2 added"),
    Case("human apply that fails, and a json plan that is refused its lock",
         (start(f"{_GATED} -var bad=1 > apply.log 2>&1"), *_UNDER_WAY, run(f"{PLAN} > plan.log", 1), see("errored"),
          still_open, pass_gate, end(1), hear("FAILED")),
         ("FAILED",), ("errored", "errored"), "local-exec provisioner error"),
    Case("human apply, and a json plan without a lock",
         (start(f"{_GATED} > apply.log"), *_UNDER_WAY, run(f"{PLAN} -lock=false > plan.log"),
          see("planned_and_finished"), *_GO_ON, hear("SUCCEEDED")),
         ("SUCCEEDED",), ("applied", "planned_and_finished"), "2 added"),
    Case("human apply, and a json apply that waits for its lock and fails",
         (start(f"{_GATED} > apply.log"), *_UNDER_WAY,
          start(f"exec {APPLY} -var rev=2 -var bad=1 -lock-timeout=30s > second.log 2>&1"),
          read("state_lock_acquire", "second.log"), pass_gate, end(1)),
         ("SUCCEEDED", "FAILED"), ("applied", "errored"), "local-exec provisioner error"),
)  # fmt: skip

_ELSEWHERE = "mkdir $OUTSIDE/x; cp main.tf $OUTSIDE/x; cd $OUTSIDE/x;"

NEXT_DEPLOYMENTS = (
    Case("a log of old that is restored under new metadata",
         (run(f"{_ELSEWHERE} {APPLY} > apply.log"), deploy_again(), run("cp $OUTSIDE/x/apply.log apply.log"),
          see("applied"), still_open),
         (), ("applied",)),
    Case("a log that is archived under new metadata, and the run under it fails",
         (run(f"{_ELSEWHERE} {APPLY} > apply.log"), deploy_again(), run("cp $OUTSIDE/x/apply.log apply-1.log"),
          see("applied"), run(f"{APPLY} -var bad=1 > apply.log", 1), hear("FAILED")),
         ("FAILED",), ("applied", "errored"), "local-exec provisioner error"),
    Case("a human log that is copied away before the next deployment's run writes over it",
         (run(f"{HUMAN} > apply.log"), hear("SUCCEEDED"), deploy_again(),
          run(f"cp apply.log apply-1.log; {HUMAN} -var rev=2 -var bad=1 > apply.log 2>&1", 1), hear("FAILED")),
         ("SUCCEEDED", "FAILED"), ("applied", "errored"), "local-exec provisioner error"),
    Case("a human log that is copied under the next deployment",
         (run(f"{HUMAN} > apply.log"), hear("SUCCEEDED"), deploy_again(), run("mv apply.log old.log; cp old.log older.log"),
          lambda stage: stage.let_time_pass(), run(f"{HUMAN} -var bad=1 > apply.log 2>&1", 1), hear("FAILED")),
         ("SUCCEEDED", "FAILED"), ("applied", "errored"), "local-exec provisioner error"),
    Case("a human run directory that is copied as a template",
         (run("mkdir one; cp main.tf one; cp -r .proton one"), run(f"cd one; {HUMAN} > apply.log"), hear("SUCCEEDED"),
          deploy_again("two"), run("cp one/main.tf one/apply.log two/"), still_open,
          run(f"cd two; {HUMAN} -var bad=1 > apply.log 2>&1", 1), hear("FAILED")),
         ("SUCCEEDED", "FAILED"), ("applied", "errored"), "local-exec provisioner error"),
    Case("a run directory that is archived",
         (run("mkdir one; mv main.tf .proton one"), run(f"cd one; {APPLY} > apply.log"), hear("SUCCEEDED"),
          run("cp -a one two; mkdir -p artifacts/1; cp -a one/apply.log one/.proton artifacts/1"), still_open),
         ("SUCCEEDED",), ("applied",), "", "terraform -chdir=one output -json"),
    Case("a run directory that is renamed after the run",
         (run("mkdir one; mv main.tf .proton one"), run(f"cd one; {APPLY} > apply.log"), hear("SUCCEEDED"), run("mv one two"),
          still_open),
         ("SUCCEEDED",), ("applied",), "", "terraform -chdir=two output -json"),
)  # fmt: skip

_AT_WORK = (start(f"{GATED} -var bad=1 > /dev/null"), reach_gate, hear("IN_PROGRESS"))
_FAILS = (pass_gate, end(1), see("undetermined"))

BESIDE_A_RUN_WITHOUT_LOG = (
    Case("no log, and a human log of old is copied in",
         (run(f"{_ELSEWHERE} {HUMAN} > apply.log"), *_AT_WORK, run("cp $OUTSIDE/x/apply.log last.log"), still_open, *_FAILS),
         ("IN_PROGRESS",), ("undetermined",)),
    Case("no log, and a human apply of another directory without a lock, its log above",
         (write("a/main.tf", CONFIGURATION), write("b/main.tf", CONFIGURATION), run("mv .proton a/"),
          start("exec terraform -chdir=a apply -json -auto-approve -var gate=$GATE -var bad=1 > /dev/null"), reach_gate,
          hear("IN_PROGRESS"), run(f"{HUMAN} -no-color -lock=false > b.log".replace("apply", "-chdir=b apply", 1)),
          lambda stage: stage.let_time_pass(), *_FAILS),
         ("IN_PROGRESS",), ("undetermined",),
         # Read when it was over, it is a run of its own that nothing binds.
         lagging=(("IN_PROGRESS",), ("undetermined", "applied"))),
    Case("no log, and a human plan with a syntax error",
         (*_AT_WORK, write("more.tf", 'output "x" {'), run("terraform plan -no-color > plan.log 2>&1", 1), hear("FAILED"),
          *_FAILS),
         ("FAILED",), ("undetermined", "errored"), "Plan failed"),
    Case("no log, and a human apply that is refused the lock before it is killed",
         (start(f"{GATED} > /dev/null"), reach_gate, hear("IN_PROGRESS"), run(f"{HUMAN} > apply-2.log 2>&1", 1),
          see("errored"), still_open, send(signal.SIGKILL), end(-9), hear("FAILED")),
         ("FAILED",), ("lost", "errored"), "inferred"),
)  # fmt: skip

_IN_A = f"exec env TF_WORKSPACE=a {HUMAN} -no-color"
_CHILD = 'resource "terraform_data" "child" {}\n'
_NESTED = """
resource "terraform_data" "outer" {
  provisioner "local-exec" { command = "terraform -chdir=child apply -json -auto-approve > child.log" }
}
resource "terraform_data" "after" {
  depends_on = [terraform_data.outer]
  provisioner "local-exec" { command = "cat $SECOND; exit 1" }
}
"""


def _in_b(apply: str) -> tuple[Step, ...]:
    """A whole run in workspace b, so long that its lock is seen: without that nobody knows whose state it was."""
    gated = f"exec env TF_WORKSPACE=b {apply} -var gate=$OUTSIDE/second > b.log"
    return (run("mkfifo $OUTSIDE/second"), start(gated), see("applying", 2), run(": > $OUTSIDE/second"), end(0),
            hear("SUCCEEDED"))  # fmt: skip


AT_ONCE = (
    Case("two workspaces at once, the first is killed after the second",
         (_WORKSPACES, start(f"exec env TF_WORKSPACE=a {APPLY} -var gate=$GATE > a.log"), *_UNDER_WAY,
          *_in_b(APPLY), send_first(signal.SIGKILL), hear("FAILED")),
         ("SUCCEEDED", "FAILED"), ("lost", "applied"), "inferred"),
    Case("two workspaces at once in human logs, the first is killed after the second",
         (_WORKSPACES, start(f"{_IN_A} -var gate=$GATE > a.log"), *_UNDER_WAY,
          *_in_b(f"{HUMAN} -no-color"), send_first(signal.SIGKILL), hear("FAILED")),
         ("SUCCEEDED", "FAILED"), ("lost", "applied"), "inferred"),
    Case("human apply of a workspace that fails behind a json apply of another",
         (_WORKSPACES, start(f"{_IN_A} -var gate=$GATE -var bad=1 > a.log 2>&1"), *_UNDER_WAY,
          run(f"{APPLY} > b.log", TF_WORKSPACE="b"), hear("SUCCEEDED"), pass_gate, end(1), hear("FAILED")),
         ("SUCCEEDED", "FAILED"), ("errored", "applied"), "local-exec provisioner error"),
    Case("two deployments of two directories at once, their logs above, the first fails behind the second",
         (write("a/main.tf", CONFIGURATION), write("b/main.tf", CONFIGURATION), deploy_again("a"), deploy_again("b"),
          run("rm -r .proton"),
          start("exec terraform -chdir=a apply -json -auto-approve -var gate=$GATE -var bad=1 > a.log"), reach_gate,
          hear("IN_PROGRESS", "Applying"), run("mkfifo $OUTSIDE/second"),
          start("exec terraform -chdir=b apply -json -auto-approve -var gate=$OUTSIDE/second > b.log"), see("applying", 2),
          run(": > $OUTSIDE/second"), end(0), hear("SUCCEEDED"), lambda stage: stage.gate.let_pass(), hear("FAILED")),
         ("SUCCEEDED", "FAILED"), ("errored", "applied"), "local-exec provisioner error"),
    Case("a run inside of a run, and only the inner one goes well",
         (write("child/main.tf", _CHILD), write("more.tf", _NESTED), run("mkfifo $OUTSIDE/second"),
          start(f"exec env SECOND=$OUTSIDE/second {APPLY} > apply.log"), hear("SUCCEEDED"), run(": > $OUTSIDE/second"),
          end(1), hear("FAILED")),
         ("SUCCEEDED", "FAILED"), ("errored", "applied"), "local-exec provisioner error"),
)  # fmt: skip

_BOTH_UNDETERMINED = (("IN_PROGRESS",), ("undetermined", "undetermined"))
_SECOND_FAILS = """
resource "terraform_data" "second" {
  provisioner "local-exec" { command = terraform.workspace == "b" ? "cat $SECOND; exit 1" : "true" }
}
"""


def _two_workspaces(command: str) -> tuple[Step, ...]:
    """The first waits at the gate and succeeds while the second waits at another, which then fails."""
    return (
        *(write("second.tf", _SECOND_FAILS), _WORKSPACES, run("mkfifo $OUTSIDE/second")),
        start(f"TF_WORKSPACE=a {command} -var gate=$GATE >> apply.log 2>&1"), *_UNDER_WAY,
        start(f"SECOND=$OUTSIDE/second TF_WORKSPACE=b {command} >> apply.log 2>&1"), see("applying", 2), pass_gate,
        see("undetermined"), run(": > $OUTSIDE/second"), end(1), see("undetermined", 2),
    )  # fmt: skip


ONE_LOG = (
    Case("two workspaces at once into one log", _two_workspaces(APPLY), *_BOTH_UNDETERMINED),
    # Lines of the first behind those of the second may look like a third run.
    Case("two workspaces at once into one human log", _two_workspaces(f"{HUMAN} -no-color"), *_BOTH_UNDETERMINED,
         lagging=(("IN_PROGRESS",), ("undetermined",) * 3)),
    Case("two applies into one log, the second waits for the lock and fails",
         (start(f"{GATED} >> apply.log"), *_UNDER_WAY,
          start(f"exec {APPLY} -var rev=2 -var bad=1 -lock-timeout=30s >> apply.log"), read("state_lock_acquire"),
          see("planning", 1), pass_gate, end(1), see("undetermined", 2)),
         *_BOTH_UNDETERMINED),
    Case("a second apply into the log is refused the lock",
         (start(f"{GATED} >> apply.log"), *_UNDER_WAY, run(f"{APPLY} >> apply.log", 1), see("errored"), *_GO_ON),
         ("SUCCEEDED",), ("applied", "errored"), "0 changed"),
    Case("a plan into the log of an apply that fails is refused the lock",
         (start(f"{GATED} -var bad=1 >> apply.log"), *_UNDER_WAY, run(f"{PLAN} >> apply.log", 1), see("errored"),
          pass_gate, end(1)),
         ("FAILED",), ("errored", "errored"), "local-exec provisioner error"),
)  # fmt: skip
