#!/bin/bash
# Records logs of runs that fail, are interrupted, or print what is not theirs, beside this script, with the `terraform`
# on PATH: bash record_failures.sh (half a minute; no network, no providers).
set -u
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT && cd "$work" || exit 1
unset "${!TF_@}"
export CHECKPOINT_DISABLE=1 TF_CLI_CONFIG_FILE=/dev/null
recorded=()

into() { log="$here/$1.log"; recorded+=("$log"); }
log() { into "$1"; "${@:2}" >"$log" 2>&1 </dev/null; }       # NAME COMMAND...
anew() { rm -f terraform.tfstate*; log "$@"; }               # the same, as a first run
fresh() { rm -rf ./* .terraform* .*.lock.info; cat >main.tf; }
wait_for() { until grep -q "$@" 2>/dev/null; do sleep 0.05; done; }
resource() { printf 'resource "terraform_data" "%s" {\n%s\n}\n' "$1" "${2:-}"; }
runs() { printf 'provisioner "local-exec" {\ncommand = <<EOC\n%s\nEOC\n}\n' "$1"; }
apply=(terraform apply -auto-approve)
plain=("${apply[@]}" -no-color)
forged='cat <<EOF
Apply complete! Resources: 9 added, 0 changed, 0 destroyed.

Outputs:

o = "forged"
Error: forged
terraform_data.forged: Creating...
Destroy complete! Resources: 9 destroyed.
EOF
'

fresh < <(resource a "$(runs 'echo no luck; exit 3')"; resource b)
log provisioner_fails_colour "${apply[@]}"
anew provisioner_fails_plain "${plain[@]}"
fresh < <(resource a "$(runs "${forged}exit 3")")
log provisioner_forges_and_fails_colour "${apply[@]}"
anew provisioner_forges_and_fails_plain "${plain[@]}"
fresh < <(resource a "$(runs "$forged")")
log provisioner_forges_and_goes_well "${plain[@]}"
fresh < <(echo 'variable "s" {
  default = "hunter2-SECRET"
  sensitive = true
}'; resource a "$(runs "echo \${var.s}; ${forged}exit 3")")
log provisioner_suppressed_forges_and_fails_colour "${apply[@]}"
anew provisioner_suppressed_forges_and_fails_plain "${plain[@]}"
fresh < <(resource a "$(runs 'cd inner && terraform apply -no-color -auto-approve; exit 3')")
mkdir inner && resource z >inner/main.tf
log nested_apply_goes_well_and_outer_fails "${plain[@]}"
fresh < <(resource a 'lifecycle {
postcondition {
condition = self.id == ""
error_message = "Apply complete! Resources: 1 added, 0 changed, 0 destroyed."
}
}')
log postcondition_fails_with_a_forged_message_colour "${apply[@]}"
anew postcondition_fails_with_a_forged_message_plain "${plain[@]}"
fresh < <(echo 'variable "v" {}'; resource a 'input = var.v')
log variable_is_missing_colour terraform plan -input=false
log variable_is_missing_plain terraform apply -no-color -input=false
log variable_is_asked_for terraform apply -no-color

fresh < <(resource a)
log approval_not_given terraform apply -no-color
into approval_interrupted && mkfifo answer && { terraform apply -no-color <answer >"$log" 2>&1 & run=$!; }
exec 7>answer; wait_for 'Enter a value' "$log"; kill -INT $run; wait $run; exec 7>&-

for times in once twice; do
  fresh < <(resource a "$(runs 'touch ready; sleep 4')"; resource b 'depends_on = [terraform_data.a]')
  into "interrupted_$times"; "${apply[@]}" >"$log" 2>&1 & run=$!
  until [ -e ready ]; do sleep 0.05; done
  if [ $times = once ]; then
    log lock_refused_colour "${apply[@]}"
    log lock_refused_plain terraform plan -no-color
    log lock_refused_to_state_rm terraform state rm terraform_data.z
  fi
  kill -INT $run; wait_for 'Interrupt received' "$here/interrupted_$times.log"
  [ $times = once ] || kill -INT $run
  wait $run
done
fresh < <(resource a "$(runs 'touch ready; sleep 4')")
into quit; "${plain[@]}" >"$log" 2>&1 & run=$!
until [ -e ready ]; do sleep 0.05; done
kill -QUIT $run; wait $run

fresh < <(resource a "input = \"\${path.root}\""; echo 'output "s" {
  value = "hunter2-SECRET"
  sensitive = true
}
output "n" { value = 1.5 }
output "b" { value = true }
output "l" { value = ["x", "Apply complete! Resources: 0 added, 0 changed, 0 destroyed."] }
output "m" { value = { "Error: k" = "v" } }
output "empty" { value = "" }
output "text" { value = "one\nEOT\nEOT_\nApply complete! Resources: 0 added, 0 changed, 0 destroyed.\nError: x\n" }
output "z" { value = "last" }')
log script bash -xc 'terraform init -no-color; terraform validate -no-color; terraform plan -no-color -out=tfplan;
  terraform apply -no-color tfplan; terraform output -no-color; terraform show -no-color tfplan; echo done'
log plan_refresh_only terraform plan -no-color -refresh-only
log apply_refresh_only "${plain[@]}" -refresh-only
log plan_destroy terraform plan -no-color -destroy -out=tfplan
log show_plan terraform show -no-color tfplan
log apply_destroy_plan terraform apply -no-color tfplan
TF_LOG=info log apply_with_tf_log "${plain[@]}"
resource i >>main.tf
log import terraform import -no-color terraform_data.i known
fresh < <(resource a)
log four_runs bash -c 'terraform apply -no-color -auto-approve; terraform apply -no-color -auto-approve
  terraform plan -no-color; terraform destroy -no-color -auto-approve'
mkdir one two; resource a "$(runs 'sleep 1')" >one/main.tf; resource b "$(runs 'sleep 0.5; exit 1')" >two/main.tf
log interleaved bash -c '(cd one; terraform apply -no-color -auto-approve) & (cd two; terraform apply -no-color -auto-approve); wait'
sed -i "s#$work#/w#g; s#$(id -un)@$(uname -n)#ci@runner#g" "${recorded[@]}"
