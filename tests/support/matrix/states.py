"""Every place a state may lie in, and runs that leave no log."""

from __future__ import annotations

import signal

from .case import APPLY, CONFIGURATION, GATED, PLAN, Case, fails, succeeds
from .stage import end, hear, pass_gate, reach_gate, run, see, send, start, still_open, write

_LOCAL = 'terraform {\n  backend "local" {}\n}\n'
_UNDER_WAY = (reach_gate, hear("IN_PROGRESS", "Applying"))
_GO_ON = (pass_gate, end(0))


def _kept_at(path: str) -> str:
    return f'terraform {{\n  backend "local" {{\n    path = "{path}"\n  }}\n}}\n'


STATES = (
    succeeds(
        "state of a local backend below the directory",
        write("backend.tf", _kept_at("states/net.tfstate")), run("terraform init > /dev/null"),
        start(f"{GATED} > apply.log"), *_UNDER_WAY, *_GO_ON,
    ),
    succeeds(
        "state of a local backend beside the log",
        write("backend.tf", _kept_at("net.tfstate")), run("terraform init > /dev/null"),
        start(f"{GATED} > apply.log"), *_UNDER_WAY, *_GO_ON,
    ),
    succeeds(
        "state of a local backend that nobody watches",
        write("backend.tf", _LOCAL), run("terraform init -backend-config=path=$OUTSIDE/net.tfstate > /dev/null"),
        start(f"{GATED} > apply.log"), *_UNDER_WAY, *_GO_ON,
    ),
    succeeds(
        "state of a local backend below another root",
        write("backend.tf", _LOCAL), run("terraform init -backend-config=path=$ELSEWHERE/net.tfstate > /dev/null"),
        start(f"{GATED} > apply.log"), *_UNDER_WAY, *_GO_ON,
    ),
    fails(
        "killed with its state below another root",
        write("backend.tf", _LOCAL), run("terraform init -backend-config=path=$ELSEWHERE/net.tfstate > /dev/null"),
        start(f"{GATED} > apply.log"), *_UNDER_WAY, send(signal.SIGKILL), end(-9), hear("FAILED"),
        message="inferred", status="lost",
    ),
    succeeds(
        "state named by -state", start(f"{GATED} -state=net.tfstate > apply.log"), *_UNDER_WAY, *_GO_ON,
        outputs="terraform output -json -state=net.tfstate",
    ),
    succeeds(
        "state named by -state-out", start(f"{GATED} -state-out=new.tfstate > apply.log"), *_UNDER_WAY, *_GO_ON,
        outputs="terraform output -json -state=new.tfstate",
    ),
    succeeds(
        "state of a workspace", run("terraform workspace new blue > /dev/null"),
        start(f"{GATED} > apply.log"), *_UNDER_WAY, *_GO_ON,
    ),
    succeeds(
        "state of a workspace named by TF_WORKSPACE",
        run("terraform workspace new blue > /dev/null; terraform workspace select default > /dev/null"),
        start(f"TF_WORKSPACE=blue {GATED} > apply.log".replace("exec ", "")), *_UNDER_WAY, *_GO_ON,
        outputs="TF_WORKSPACE=blue terraform output -json",
    ),
    Case(
        "two workspaces after another",
        (
            run("terraform workspace new blue > /dev/null"), run(f"{APPLY} -var rev=blue > apply.log"),
            hear("SUCCEEDED"), run("terraform workspace select default > /dev/null"),
            run(f"{APPLY} -var bad=1 > apply.log", 1),
        ),
        ("SUCCEEDED", "FAILED"), ("applied", "errored"), "2 of 3 applied",
    ),
    succeeds(
        "with TF_DATA_DIR", write("backend.tf", _kept_at("net.tfstate")),
        run("terraform init > init.log", TF_DATA_DIR="data"),
        start(f"{GATED} > apply.log", TF_DATA_DIR="data"), *_UNDER_WAY, *_GO_ON,
        outputs="TF_DATA_DIR=data terraform output -json",
    ),
    succeeds(
        "with -chdir", write("envs/prod/main.tf", CONFIGURATION),
        start("exec terraform -chdir=envs/prod apply -json -auto-approve -var gate=$GATE > apply.log"),
        *_UNDER_WAY, *_GO_ON, outputs="terraform -chdir=envs/prod output -json",
    ),
    fails(
        "killed with -chdir", write("envs/prod/main.tf", CONFIGURATION),
        start("exec terraform -chdir=envs/prod apply -json -auto-approve -var gate=$GATE > apply.log"),
        *_UNDER_WAY, send(signal.SIGKILL), end(-9), hear("FAILED"), message="1 of 2 applied", status="lost",
    ),
    Case(
        "with -chdir, no configuration above it, and a log in another directory",
        (write("infra/main.tf", CONFIGURATION), run("mkdir logs"),
         start("exec terraform -chdir=infra apply -json -auto-approve -var gate=$GATE > logs/apply.log"),
         *_UNDER_WAY, *_GO_ON),
        ("SUCCEEDED",), ("applied",), "2 added", "terraform -chdir=infra output -json", files={},
    ),
    succeeds("without a lock", start(f"{GATED} -lock=false > apply.log"), *_UNDER_WAY, *_GO_ON),
    fails(
        "killed without a lock", start(f"{GATED} -lock=false > apply.log"), *_UNDER_WAY, send(signal.SIGKILL), end(-9),
        hear("FAILED"), message="1 of 2 applied", status="lost",
    ),
    succeeds("a state that is gone after the run", run(f"{APPLY} > apply.log"), hear("SUCCEEDED"),
             run("cp terraform.tfstate $OUTSIDE/; rm terraform.tfstate"),
             outputs="terraform output -json -state=$OUTSIDE/terraform.tfstate"),
    succeeds("no state before, nothing to do", write("main.tf", ""), run(f"{APPLY} > apply.log"), message="0 added"),
    Case(
        "a plan where there is no state", (run(f"{PLAN} > plan.log"), hear("IN_PROGRESS", "Plan complete")),
        ("IN_PROGRESS",), ("planned_and_finished",), "2 to add, 0 to change, 0 to destroy",
    ),
)  # fmt: skip

WITHOUT_LOG = (
    Case(
        "no log: succeeds",
        (start(f"{GATED} > /dev/null"), reach_gate, hear("IN_PROGRESS"), *_GO_ON, see("undetermined")),
        ("IN_PROGRESS",), ("undetermined",),
    ),
    Case(
        "no log: fails",
        (start(f"{GATED} -var bad=1 > /dev/null"), reach_gate, hear("IN_PROGRESS"), pass_gate, end(1),
         see("undetermined")),
        ("IN_PROGRESS",), ("undetermined",),
    ),
    fails(
        "no log: killed", start(f"{GATED} > /dev/null"), reach_gate, hear("IN_PROGRESS"), send(signal.SIGKILL), end(-9),
        message="inferred", status="lost",
    ),
    Case(
        "no log: stopped and continued",
        (start(f"{GATED} > /dev/null"), reach_gate, hear("IN_PROGRESS"), send(signal.SIGSTOP), still_open,
         send(signal.SIGCONT), *_GO_ON, see("undetermined")),
        ("IN_PROGRESS",), ("undetermined",),
    ),
)  # fmt: skip
