#!/bin/bash
# Records the logs beside this script with the `terraform` on PATH: bash record.sh (half a minute; no network, no init).
set -u
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT && cd "$work" || exit 1
unset "${!TF_@}"
export CHECKPOINT_DISABLE=1 TF_CLI_CONFIG_FILE=/dev/null

log() { "${@:2}" >"$here/$1.log" 2>&1 </dev/null; }            # NAME COMMAND...: a log as a pipeline writes it
terminal() { printf '%s\n' "$2" | script -qec "$3" /dev/null >"$here/$1.log"; }  # NAME ANSWER COMMAND: on a terminal
resource() { printf 'resource "terraform_data" "%s" { %s }\n' "$1" "${2:-}"; }
fresh() { rm -rf ./*.tf ./*tfstate* tfplan; cat >main.tf; }
failing='provisioner "local-exec" { command = "echo no luck; exit 3" }'
replace='triggers_replace = timestamp()'

fresh < <(resource a 'count = 2'; echo 'output "o" { value = "v" }')
log plan_colour terraform plan
log plan_saved terraform plan -no-color -out=tfplan
log apply_saved terraform apply -no-color tfplan
log apply_saved_stale terraform apply -no-color tfplan
log apply_no_changes terraform apply -auto-approve
log plan_no_changes terraform plan -no-color
fresh < <(resource a 'count = 2'; echo 'output "o" { value = "w" }')
log apply_creates terraform apply -auto-approve
echo 'output "o" { value = "x" }' >>main.tf && sed -i 1,2!d main.tf && sed -i 's/"w"/"x"/' main.tf
log plan_outputs_only terraform plan -no-color
log apply_outputs_only terraform apply -no-color -auto-approve
resource b | sed 's/^/moved {\n  from = terraform_data.a[0]\n  to = terraform_data.b\n}\n/' >>main.tf
sed -i 's/count = 2//' main.tf && resource c "$replace" >>main.tf
printf 'import {\n  to = terraform_data.i\n  id = "known"\n}\n' >>main.tf && resource i >>main.tf
log plan_moves_imports_deletes terraform plan -no-color
log apply_moves_imports_deletes terraform apply -auto-approve
log apply_replaces terraform apply -no-color -auto-approve
printf 'removed {\n  from = terraform_data.i\n  lifecycle { destroy = false }\n}\n' >>main.tf
sed -i '/^import {/,/^}/d; /"terraform_data" "i"/d' main.tf
log apply_forgets terraform apply -auto-approve
log destroy terraform destroy -auto-approve
log destroy_nothing terraform destroy -no-color -auto-approve

fresh < <(resource a "$failing"; resource b)
log apply_fails_colour terraform apply -auto-approve
log apply_fails_plain terraform apply -no-color -auto-approve
fresh < <(resource a 'provisioner "local-exec" {
  command = "echo \"Apply complete! Resources: 1 added, 0 changed, 0 destroyed.\"; exit 3"
}')
log apply_fails_after_nested_success terraform apply -no-color -auto-approve
fresh < <(resource a 'input = terraform_data.nope.id')
log fails_reference_colour terraform plan
log fails_reference_plain terraform plan -no-color
log validate_fails terraform validate -no-color
echo 'resource "terraform_data" "a" {' >main.tf
log init_fails terraform init -no-color
fresh < <(printf 'data "terraform_remote_state" "s" {\n  backend = "local"\n  config = { path = "nowhere" }\n}\n'; resource b)
log plan_fails_partly terraform plan
fresh < <(resource a; printf 'check "c" {\n  assert {\n    condition = terraform_data.a.id == ""\n    error_message = "Error: not empty"\n  }\n}\n')
log apply_warns terraform apply -no-color -auto-approve

fresh < <(resource a; printf 'output "h" {\n  value = <<EOT\nfirst\nApply complete! Resources: 0 added, 0 changed, 0 destroyed.\nterraform_data.z: Creating...\nEOT\n}\noutput "m" { value = { k = "a\\nError: b\\n" } }\n')
log apply_heredoc terraform apply -no-color -auto-approve
log output_heredoc terraform output -no-color

fresh < <(resource a)
terminal approve_yes yes 'terraform apply'
terminal approve_no no 'terraform destroy'
terminal approve_destroy yes 'terraform destroy'

fresh < <(resource a 'provisioner "local-exec" { command = "touch ready; sleep 2" }'; resource b 'depends_on = [terraform_data.a]')
rm -f ready; terraform apply -auto-approve >"$here/interrupted.log" 2>&1 & holder=$!
until [ -e ready ]; do sleep 0.05; done
log lock_refused_colour terraform apply -auto-approve
log lock_refused_plain terraform plan -no-color
log state_rm_lock_refused terraform state rm terraform_data.z
kill -INT $holder; wait $holder
resource x >main.tf && resource y >>main.tf
{ for _ in 1 2; do terraform apply -no-color -auto-approve; done; terraform plan -no-color; terraform destroy -no-color -auto-approve; } >"$here/four_runs.log" 2>&1
for name in "$here"/*.log; do sed -i "s#$work#/w#g; s#$(id -un)@$(uname -n)#ci@runner#g" "$name"; done
