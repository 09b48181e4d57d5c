"""Runs behind the wrapper: with a log or without, whatever ends them."""

from __future__ import annotations

import signal

from .case import APPLY, FIRST_APPLIED, HUMAN, PLAN, Case, fails, succeeds, tells_nothing
from .stage import (
    answer,
    end,
    hear,
    pass_gate,
    reach_gate,
    run,
    see,
    send,
    send_all,
    send_behind,
    start,
    still_open,
    write,
)

_EXEC = "exec $EXEC"
_GATED = f"{_EXEC} {APPLY} -var gate=$GATE"
_UNDER_WAY = (reach_gate, hear("IN_PROGRESS"))
_GO_ON = (pass_gate, end(0))
_MAKEFILE = "all:\n\t@terraform apply -auto-approve > /dev/null\n"
_TWO_UNITS = """
set -e
for unit in a b; do
  (cd $unit && terraform apply -auto-approve -no-color > /dev/null)
done
"""
_ASKING = "$EXEC terraform apply < $GATE"
_TERMINAL = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:], stdin_read=lambda fd: b'') >> 8)"
_IN_A_TERMINAL = f"$PYTHON -c \"{_TERMINAL}\" bash -c '{_ASKING}' > $OUTSIDE/screen"
_ACTIONS = {
    "GITHUB_ACTIONS": "true", "GITHUB_SHA": "f00dfeed" * 5, "GITHUB_ACTOR": "alice", "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_SERVER_URL": "https://github.example", "GITHUB_REPOSITORY": "acme/net", "GITHUB_RUN_ID": "7",
}  # fmt: skip

_HEARD = (
    succeeds("wrapped: JSON through a pipe, no log", run(f"$EXEC {APPLY} | cat > /dev/null")),
    succeeds("wrapped: a human log through a pipe, no log", run(f"$EXEC {HUMAN} | cat > /dev/null")),
    succeeds("wrapped: JSON, written by >", run(f"$EXEC {APPLY} > apply.log")),
    succeeds("wrapped: JSON, written by > elsewhere", run(f"$EXEC {APPLY} > $OUTSIDE/apply.log")),
    Case("wrapped: JSON, appended twice",
         (run(f"$EXEC {APPLY} >> apply.log"), hear("SUCCEEDED"), run(f"$EXEC {APPLY} -var rev=2 >> apply.log")),
         ("SUCCEEDED", "SUCCEEDED"), ("applied", "applied"), "1 added, 1 changed, 1 destroyed"),
    succeeds("wrapped: JSON, through tee", run(f"$EXEC {APPLY} | tee apply.log > /dev/null")),
    succeeds("wrapped: human, written by >", run(f"$EXEC {HUMAN} > apply.log")),
    succeeds("wrapped: human, through tee", run(f"$EXEC {HUMAN} | tee apply.log > /dev/null")),
    succeeds("wrapped: human, moved in after the run", run(f"$EXEC {HUMAN} > $OUTSIDE/apply.log"), hear("SUCCEEDED"),
             run("mv $OUTSIDE/apply.log .")),
    succeeds("wrapped: JSON, moved in after the run", run(f"$EXEC {APPLY} > $OUTSIDE/apply.log"), hear("SUCCEEDED"),
             run("mv $OUTSIDE/apply.log .")),
    fails("wrapped: an apply fails, through a pipe", run(f"set -o pipefail; $EXEC {HUMAN} -var bad=1 2>&1 | cat > /dev/null", 1),
          message="2 of 3 applied"),
    fails("wrapped: an apply fails, errors apart", run(f"$EXEC {HUMAN} -var bad=1 2> $OUTSIDE/errors > $OUTSIDE/log", 1),
          message="local-exec provisioner error at terraform_data.bad[0]"),
    fails("wrapped: a plan fails at once", write("more.tf", 'output "x" { value = var.nowhere }\n'),
          run("$EXEC terraform plan > /dev/null 2> $OUTSIDE/errors", 1), message="Reference to undeclared input variable"),
    Case("wrapped: a plan", (run(f"$EXEC {PLAN} | cat > /dev/null"), hear("IN_PROGRESS", "Plan complete")),
         ("IN_PROGRESS",), ("planned_and_finished",), "2 to add, 0 to change, 0 to destroy"),
    Case("wrapped: a destroy", (FIRST_APPLIED, run("$EXEC terraform destroy -auto-approve | cat > /dev/null")),
         ("SUCCEEDED",), ("destroyed",), "Destroy complete: 2 destroyed"),
    succeeds("wrapped: one line of 2 MB", write("big.tf", 'output "big" { value = join("", [for n in range(1000) : join("", [for m in range(200) : "0123456789"])]) }\n'),
             run(f"$EXEC {APPLY} | cat > /dev/null")),
)  # fmt: skip

_UNHEARD = (
    succeeds("wrapped: nothing is heard", run(f"$EXEC {HUMAN} > /dev/null"), message="Terraform apply exited with status 0"),
    fails("wrapped: nothing is heard, and it fails", run(f"$EXEC {HUMAN} -var bad=1 > /dev/null 2>&1", 1),
          message="Terraform apply exited with status 1"),
    Case("wrapped: nothing is heard of a destroy", (FIRST_APPLIED, run("$EXEC terraform destroy -auto-approve > /dev/null")),
         ("SUCCEEDED",), ("destroyed",), "Terraform destroy exited with status 0"),
    Case("wrapped: nothing is heard of a plan that finds changes",
         (run("$EXEC terraform plan -detailed-exitcode > /dev/null", 2), hear("IN_PROGRESS", "Plan complete: changes")),
         ("IN_PROGRESS",), ("planned_and_finished",), "Plan complete: changes"),
    Case("wrapped: nothing is heard of a plan that finds none",
         (FIRST_APPLIED, run("$EXEC terraform plan -detailed-exitcode > /dev/null"), hear("IN_PROGRESS", "Plan complete")),
         ("IN_PROGRESS",), ("planned_and_finished",), "Plan complete: no changes"),
    succeeds("wrapped: without a lock", run(f"$EXEC {HUMAN} -lock=false > /dev/null"), message="exited with status 0"),
    succeeds("wrapped: in a terminal, answered yes", start(_IN_A_TERMINAL, TF_INPUT="1"), answer("yes\n"), end(0),
             message="exited with status 0"),
    fails("wrapped: in a terminal, answered no", start(_IN_A_TERMINAL, TF_INPUT="1"), answer("no\n"), end(1),
          message="exited with status 1"),
    Case("wrapped: in a workspace of its own",
         (run("terraform workspace new blue > /dev/null"), run(f"$EXEC {HUMAN} > /dev/null"), hear("SUCCEEDED"),
          run(f"$EXEC {HUMAN} > /dev/null", TF_WORKSPACE="default")),
         ("SUCCEEDED", "SUCCEEDED"), ("applied", "applied"), "exited with status 0"),
    succeeds("wrapped: with TF_DATA_DIR", run(f"TF_DATA_DIR=$OUTSIDE/data $EXEC {HUMAN} > /dev/null"), message="status 0"),
    Case("wrapped: with -chdir", (run("mkdir sub && mv main.tf sub/"), run("$EXEC terraform -chdir=sub apply -auto-approve > apply.log")),
         ("SUCCEEDED",), ("applied",), "2 added", "terraform -chdir=sub output -json"),
    Case("wrapped: a saved plan", (run("$EXEC terraform plan -out=tfplan > /dev/null"), run("$EXEC terraform apply tfplan > /dev/null")),
         ("SUCCEEDED",), ("planned_and_finished", "applied"), "exited with status 0"),
    Case("wrapped: told which job it was", (run(f"$EXEC {HUMAN} > /dev/null", 0, **_ACTIONS),),
         ("SUCCEEDED",), ("applied",), "GitHub Actions: commit f00dfeedf00d by alice attempt 2, https://github.example/acme/net/actions/runs/7"),
    Case("wrapped: the directory is gone with the run",
         (run(f"$EXEC {HUMAN} > /dev/null && terraform output -json > $OUTSIDE/said && rm -rf main.tf .proton *.tfstate*"),),
         ("SUCCEEDED",), ("applied",), "exited with status 0", "cat $OUTSIDE/said"),
)  # fmt: skip

_ENDED = (
    fails("wrapped: SIGINT to the front", start(f"{_GATED} > /dev/null"), *_UNDER_WAY, send(signal.SIGINT), end(1),
          message="exited with status 1", status="errored"),
    fails("wrapped: SIGINT to the front, heard", start(f"{_GATED} > $OUTSIDE/apply.log"), *_UNDER_WAY, send(signal.SIGINT), end(1),
          message="Canceled: Terraform was interrupted", status="canceled"),
    fails("wrapped: SIGTERM to all", start(f"{_GATED} > $OUTSIDE/apply.log"), *_UNDER_WAY, send_all(signal.SIGTERM),
          message="Canceled: Terraform was interrupted", status="canceled"),
    fails("wrapped: SIGHUP to the front", start(f"{_GATED} > /dev/null"), *_UNDER_WAY, send(signal.SIGHUP), end(-1),
          message="ended by SIGHUP"),
    fails("wrapped: Terraform is killed", start(f"{_GATED} > /dev/null"), *_UNDER_WAY, send_behind(signal.SIGKILL, 2), end(-9),
          message="ended by SIGKILL"),
    succeeds("wrapped: the front is killed", start(f"{_GATED} > /dev/null"), *_UNDER_WAY, send(signal.SIGKILL), end(-9), still_open,
             pass_gate, hear("SUCCEEDED"), message="exited with status 0"),
    succeeds("wrapped: the front is killed, through a pipe", start(f"{_GATED} > >(cat > $OUTSIDE/apply.log)"), *_UNDER_WAY,
             send(signal.SIGKILL), end(-9), pass_gate, hear("SUCCEEDED")),
    Case("wrapped: the keeper is killed",
         (start(f"{_GATED} > /dev/null"), *_UNDER_WAY, send_behind(signal.SIGKILL, 1), still_open, pass_gate, end(137),
          see("undetermined")), ("IN_PROGRESS",), ("undetermined",)),
    succeeds("wrapped: the keeper is killed, with a log", start(f"{_GATED} > apply.log"), *_UNDER_WAY,
             send_behind(signal.SIGKILL, 1), pass_gate, end(137), hear("SUCCEEDED")),
    succeeds("wrapped: the keeper is killed, through tee", start(f"{_GATED} > >(exec tee apply.log > /dev/null)"), *_UNDER_WAY,
             send_behind(signal.SIGKILL, 1), pass_gate, end(137), hear("SUCCEEDED")),
    fails("wrapped: all are killed", start(f"{_GATED} > /dev/null"), *_UNDER_WAY, send_behind(signal.SIGKILL, 0, 1, 2), end(-9),
          message="nobody holds the lock any more", status="lost"),
    succeeds("wrapped: SIGSTOP, then SIGCONT", start(f"{_GATED} > /dev/null"), *_UNDER_WAY, send_behind(signal.SIGSTOP, 2), still_open,
             send(signal.SIGCONT), *_GO_ON, message="exited with status 0"),
    Case("wrapped: a lock that is refused",
         (start(f"{_GATED} > /dev/null"), *_UNDER_WAY, run(f"$EXEC {APPLY} > $OUTSIDE/second.log", 1), see("errored"), *_GO_ON),
         ("SUCCEEDED",), ("applied", "errored"), "exited with status 0"),
    Case("wrapped: fails unheard while another workspace's run has a log",
         (run("terraform workspace new blue > /dev/null"),
          start(f"{_GATED} -var bad=1 > /dev/null 2>&1", TF_WORKSPACE="default"), *_UNDER_WAY,
          run(f"{APPLY} > apply.log"), hear("SUCCEEDED"), pass_gate, end(1)),
         ("SUCCEEDED", "FAILED"), ("errored", "applied"), "exited with status 1"),
    Case("wrapped: killed, then applied",
         (start(f"{_GATED} > /dev/null"), *_UNDER_WAY, send_behind(signal.SIGKILL, 2), end(-9), run(f"$EXEC {HUMAN} > /dev/null")),
         ("FAILED", "SUCCEEDED"), ("errored", "applied"), "exited with status 0"),
)  # fmt: skip

_BEHIND_OTHERS = (
    succeeds("wrapped: make", write("Makefile", _MAKEFILE), run("$EXEC make"), message="exited with status 0"),
    succeeds("wrapped: a script", write("deploy.sh", f"{HUMAN} | cat > /dev/null\n"), run("$EXEC bash deploy.sh")),
    Case("wrapped: a script with two units",
         (run("mkdir a b && cp main.tf a && mv main.tf b"), write("units.sh", _TWO_UNITS), run("cp -r .proton a; cp -r .proton b"),
          run("$EXEC bash units.sh")), ("SUCCEEDED", "SUCCEEDED"), ("applied", "applied"), "exited with status 0",
         "terraform -chdir=b output -json"),
    tells_nothing("wrapped: output, state and others", run("$EXEC terraform output -json > out.json"), run("$EXEC terraform state list"),
                  run("$EXEC terraform apply -help > apply.log"), run("$EXEC terraform version"), run("$EXEC true"),
                  run("$EXEC terraform nonsense", 1)),
)  # fmt: skip

WRAPPED = (*_HEARD, *_UNHEARD, *_ENDED, *_BEHIND_OTHERS)
