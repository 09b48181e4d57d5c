"""Every way a JSON log may come to be."""

from __future__ import annotations

import signal

from .case import APPLY, CONFIGURATION, GATED, PLAN, Case, fails, succeeds
from .stage import end, hear, pass_gate, reach_gate, run, see, send, start, write

_LOOKS_LIKE_SUCCESS = (
    '{"@level":"info","@message":"Apply complete! Resources: 9 added, 0 changed, 0 destroyed.","@module":"terraform.ui",'
    '"@timestamp":"2026-01-01T00:00:00.000000Z","changes":{"add":9,"change":0,"import":0,"remove":0,'
    '"operation":"apply"},"type":"change_summary"}'
)
_LIAR = f"""
resource "terraform_data" "liar" {{
  provisioner "local-exec" {{
    command = <<-EOT
      printf '%s\\n' '{_LOOKS_LIKE_SUCCESS}' 'Apply complete! Resources: 9 added, 0 changed, 0 destroyed.'
      exit 1
    EOT
  }}
}}
"""
_CHECK = 'check "c" {\n  assert {\n    condition     = terraform_data.first.id == null\n    error_message = "only a warning"\n  }\n}\n'
_LONG = 'output "long" { value = join("", [for n in range(1000) : join("", [for m in range(200) : "0123456789"])]) }\n'
_PLAIN_NUMBERS = CONFIGURATION.replace("third = 1 / 3, ", "")  # a filter may shorten numbers; these it cannot
_JSON = "$PYTHON -m json.tool --json-lines --no-ensure-ascii"
_GO_ON = (pass_gate, end(0))
_UNDER_WAY = (reach_gate, hear("IN_PROGRESS", "Applying"))

WRITTEN = (
    succeeds("written by >", start(f"{GATED} > apply.log"), *_UNDER_WAY, *_GO_ON),
    Case(
        "written by >> three times",
        (
            *(run(f"{APPLY} >> runs.log"), run(f"{APPLY} -var rev=2 -var bad=1 >> runs.log", 1), hear("FAILED")),
            *(run(f"{APPLY} -var rev=3 >> runs.log"), hear("SUCCEEDED")),
        ),
        ("SUCCEEDED", "FAILED", "SUCCEEDED"),
        ("applied", "errored", "applied"),
    ),
    Case(
        "overwritten by > twice",
        (run(f"{APPLY} > apply.log"), hear("SUCCEEDED"), run(f"{APPLY} -var rev=2 > apply.log")),
        ("SUCCEEDED", "SUCCEEDED"),
        ("applied", "applied"),
        "1 added, 1 changed, 1 destroyed",
    ),
    succeeds("through tee", start(f"{APPLY} -var gate=$GATE | tee apply.log"), *_UNDER_WAY, *_GO_ON),
    succeeds("through tee, appending", run(f"{APPLY} 2>&1 | tee -a apply.log")),
    succeeds("through sed", run(f"{APPLY} | sed 's/x/x/' > apply.log")),
    succeeds("through grep", run(f"{APPLY} | grep '' > apply.log")),
    succeeds("through awk, line by line", run(f"{APPLY} | awk '{{ print; fflush() }}' > apply.log")),
    succeeds("through a reformatter", write("main.tf", _PLAIN_NUMBERS), run(f"{APPLY} | {_JSON} --compact > apply.log")),
    succeeds("through a sorter of keys", write("main.tf", _PLAIN_NUMBERS),
             run(f"{APPLY} | {_JSON} --sort-keys --no-indent > apply.log")),
    succeeds("moved in after the run", run(f"{APPLY} > $OUTSIDE/apply.log; mv $OUTSIDE/apply.log .")),
    succeeds("copied in after the run", run(f"{APPLY} > $OUTSIDE/apply.log; cp $OUTSIDE/apply.log .")),
    succeeds("in a directory that is moved in", run(f"mkdir $OUTSIDE/new; {APPLY} > $OUTSIDE/new/a.log; mv $OUTSIDE/new/a.log .")),
    succeeds("touched and added to after the run", run(f"{APPLY} > apply.log; touch apply.log; echo over >> apply.log")),
    Case(
        "one log for a whole script",
        (run("exec > job.log 2>&1; terraform init -json; terraform validate; "
             f"{PLAN} -out=tfplan && terraform apply -json tfplan; terraform output; echo 'the job is done'"),),
        ("SUCCEEDED",), ("planned_and_finished", "applied"),
    ),
    Case(
        "one log for a script that stops at the plan",
        (write("more.tf", 'output "x" { value = terraform_data.nowhere.id }\n'),
         run(f"exec > job.log 2>&1; terraform init -json; {PLAN} -out=tfplan && terraform apply -json tfplan", 1)),
        ("FAILED",), ("errored",), "Plan failed: Reference to undeclared resource",
    ),
    succeeds("a script's log that stays open", start(f"exec > job.log; {APPLY}; cat $GATE"), hear("SUCCEEDED"), reach_gate, *_GO_ON),
    succeeds("mixed with TF_LOG=trace", run(f"TF_LOG=trace {APPLY} > apply.log 2>&1")),
    succeeds("mixed with TF_LOG=json", run(f"TF_LOG=json {APPLY} > apply.log 2>&1")),
    succeeds("beside TF_LOG_PATH", run(f"TF_LOG=json TF_LOG_PATH=trace.log {APPLY} > apply.log 2>&1")),
    succeeds("with warnings", write("check.tf", _CHECK), run(f"{APPLY} > apply.log")),
    succeeds("with warnings about the settings", run(f"TF_CLI_CONFIG_FILE=$OUTSIDE/nowhere {APPLY} > apply.log 2>&1")),
    succeeds("with a line of 2 MB", write("long.tf", _LONG), run(f"{APPLY} > apply.log"), message="long (longer than"),
    succeeds("with Windows line ends", run(f"{APPLY} | sed -u 's/$/\\r/' > apply.log")),
    succeeds("with a last line that was cut", run(f"{APPLY} | head -c -30 > apply.log")),
    succeeds("without a last line end", run(f"{APPLY} | head -c -1 > apply.log")),
    Case(
        "a success whose log lacks the summary",
        (start(f"{APPLY} -var gate=$GATE | grep --line-buffered -v change_summary > apply.log"), reach_gate,
         hear("IN_PROGRESS"), *_GO_ON, see("undetermined")),
        ("IN_PROGRESS",), ("undetermined",),
    ),
    fails(
        "a provisioner that prints a summary and fails", write("liar.tf", _LIAR), run(f"{APPLY} > apply.log 2>&1", 1),
        message="local-exec provisioner error at terraform_data.liar",
    ),
    Case(
        "a crash report in the log",
        (start(f"{GATED} > apply.log 2>&1"), *_UNDER_WAY, send(signal.SIGQUIT), end(2)),
        ("FAILED",), ("errored",), "crashed",
    ),
)  # fmt: skip

ROTATED = (
    succeeds(
        "renamed to a name that is watched", start(f"{GATED} > apply.log"), *_UNDER_WAY,
        run("mv apply.log apply-1.log"), *_GO_ON,
    ),
    succeeds(
        "renamed, and a new log begun", start(f"{GATED} > apply.log"), *_UNDER_WAY,
        run("mv apply.log apply-1.log; echo '# rotated' > apply.log"), *_GO_ON,
    ),
    Case(
        "renamed to a name that is not watched",
        (start(f"{GATED} > apply.log"), *_UNDER_WAY, run("mv apply.log apply.log.1"), *_GO_ON, see("undetermined")),
        ("IN_PROGRESS",), ("undetermined",),
    ),
    Case(
        "deleted in mid-run",
        (start(f"{GATED} > apply.log"), *_UNDER_WAY, run("rm apply.log"), *_GO_ON, see("undetermined")),
        ("IN_PROGRESS",), ("undetermined",),
    ),
    Case(
        "deleted and made again by the next run",
        (start(f"{GATED} > apply.log"), *_UNDER_WAY, run("rm apply.log"), *_GO_ON, see("undetermined"),
         run(f"{APPLY} > apply.log")),
        ("SUCCEEDED",), ("undetermined", "applied"), "0 added, 0 changed, 0 destroyed",
    ),
    succeeds(
        "copied and truncated, then appended to", start(f"{GATED} >> apply.log"), *_UNDER_WAY,
        run("cp apply.log apply-1.log; truncate -s 0 apply.log"), *_GO_ON,
    ),
    succeeds(
        "copied and truncated, then written with a hole", start(f"{GATED} > apply.log"), *_UNDER_WAY,
        run("cp apply.log apply-1.log; truncate -s 0 apply.log"), *_GO_ON,
    ),
    Case(
        "rotated between two runs",
        (run(f"{APPLY} > apply.log"), hear("SUCCEEDED"),
         run(f"mv apply.log apply-1.log; {APPLY} -var rev=2 -var bad=1 > apply.log", 1)),
        ("SUCCEEDED", "FAILED"), ("applied", "errored"), "3 of 4 applied",
    ),
    Case(
        "a log that is copied is the same run",
        (run(f"{APPLY} > apply.log"), hear("SUCCEEDED"), run("cp apply.log again.log; cp apply.log once-more.log")),
        ("SUCCEEDED",), ("applied",),
    ),
    Case(
        "a copy among the artifacts is the same run",
        (run(f"{APPLY} > apply.log"), hear("SUCCEEDED"), run("mkdir artifacts; cp apply.log artifacts/")),
        ("SUCCEEDED",), ("applied",),
    ),
)  # fmt: skip
