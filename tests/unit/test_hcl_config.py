"""What `.tf` files declare: outputs and backend; limits, broken files, and nothing secret."""

from __future__ import annotations

import json

import pytest

from proton_tf_agent.sources import hcl_config
from proton_tf_agent.sources.backend import Backend, state_path
from proton_tf_agent.sources.hcl_config import Declared, DeclaredOutput, files_of, read

SECRET = "s3cr3t-v4lue-of-the-test"


def declared(text: str, name: str = "main.tf") -> Declared:
    return read({name: text.encode()})


def outputs(found: Declared) -> dict[str, tuple[bool | None, str]]:
    return {output.name: (output.sensitive, output.description) for output in found.outputs}


def in_json(**document: object) -> Declared:
    return read({"main.tf.json": json.dumps(document).encode()})


# --- outputs -----------------------------------------------------------------------------------------------------

MODULE = r"""
# output "commented_out" {}
/* output "as_well" {} */ output "inline" { value = 1 }
resource "terraform_data" "x" {
  input = "output \"no\" { }"
  provisioner "local-exec" {
    command = <<-EOT
      output "in a heredoc" {
      }
    EOT
  }
}
output "vpc_id" {
  description = "The \"VPC\"\tid, $${not} a template: \u00e9"
  value       = terraform_data.x.output
}
output "password" {
  value     = provider::local::secret(var.x...)
  sensitive = true
}
output "maybe" {
  value       = [for k, v in var.m : "${k}=${v}" if v != null]
  sensitive   = var.hide
  description = "in ${terraform.workspace}"
  precondition {
    condition     = var.x > 0
    error_message = "x"
  }
}
output bare {
  sensitive   = "true"
  description = <<-EOT
    two
      lines
  EOT
  value = <<E
x
E
}
output "shown" {
  value     = 1
  sensitive = null
}
"""


@pytest.mark.parametrize("line_ending", ["\n", "\r\n"])
def test_outputs_are_declared_with_what_is_written_and_nothing_is_evaluated(line_ending: str) -> None:
    found = declared(MODULE.replace("\n", line_ending))
    assert found.not_read == ()
    assert {name: told[0] for name, told in outputs(found).items()} == {
        "inline": False, "vpc_id": False, "password": True, "maybe": None, "bare": True, "shown": False,
    }  # fmt: skip
    assert outputs(found)["vpc_id"][1] == 'The "VPC"\tid, ${not} a template: é'
    assert outputs(found)["maybe"][1] == ""
    assert outputs(found)["bare"][1].split() == ["two", "lines"]
    assert found.backend is None


def test_what_is_no_block_declares_nothing() -> None:
    found = declared('output = 3\nterraform = {}\noutput {}\nlocals {\n  output = "x"\n}\noutput "a" {}\n')
    assert outputs(found) == {"a": (False, "")}


def test_outputs_of_json_files_are_declared_in_every_shape_terraform_accepts() -> None:
    one = {"value": "${x}", "sensitive": True, "description": "d $${x}"}
    assert outputs(in_json(output={"a": one, "b": [{"value": 1}]})) == {"a": (True, "d ${x}"), "b": (False, "")}
    assert outputs(in_json(output=[{"a": one}, {"b": {"sensitive": "${var.x}"}}])) == {
        "a": (True, "d ${x}"),
        "b": (None, ""),
    }
    assert outputs(read({"a.tf.json": b'[{"output": {"a": {}}}, {"output": {"b": {}}}]'})).keys() == {"a", "b"}


def test_an_override_changes_what_it_mentions_whatever_its_name_is_sorted_after() -> None:
    found = read(
        {
            "z.tf": b'output "a" {\n  description = "d"\n  value = 1\n}\n',
            "a_override.tf": b'output "a" {\n  sensitive = true\n}\n',
            "override.tf.json": b'{"output": {"a": {"description": "last"}}, "terraform": {"backend": {"gcs": {}}}}',
            "y.tf": b'terraform {\n  backend "s3" {}\n}\n',
        }
    )
    assert outputs(found) == {"a": (True, "last")}
    assert found.backend == Backend("gcs")


def test_the_files_of_a_module_are_those_terraform_and_opentofu_read_overrides_last() -> None:
    names = [
        "b.tf", "a.tf.json", "override.tf", "x_override.tofu.json", "c.tf", "c.tofu", "d.tf.json", "d.tofu.json",
        ".hidden.tf", "b.tf~", "#b.tf#", "terraform.tfvars", "t.tftest.hcl", "README.md", ".tf", "", "e.tofu",
    ]  # fmt: skip
    assert files_of(names) == [
        "a.tf.json", "b.tf", "c.tofu", "d.tofu.json", "e.tofu", "override.tf", "x_override.tofu.json",
    ]  # fmt: skip


# --- the backend -------------------------------------------------------------------------------------------------


def test_a_backend_block_is_known_as_far_as_it_is_literal() -> None:
    found = declared(
        """
        terraform {
          backend "s3" {
            bucket       = "states"
            key          = "net/${var.stage}.tfstate"
            region       = var.region
            use_lockfile = true
            endpoints    = { s3 = "http://h:1" }
          }
        }
        """
    ).backend
    assert found is not None
    assert (found.type, found.recorded, found.bucket, found.key, found.region) == ("s3", False, "states", "", "")
    assert (found.use_lockfile, found.endpoint("s3")) == (True, "http://h:1")
    assert found.unknown == ("key", "region")


def test_what_a_partial_backend_block_leaves_out_is_unknown() -> None:
    assert declared('terraform {\n  backend "s3" {}\n}\n').backend == Backend("s3", unknown=("bucket", "key"))
    assert in_json(terraform={"backend": {"s3": {"bucket": "b"}}}).backend == Backend(
        "s3", bucket="b", unknown=("key",)
    )


def test_a_local_backend_whose_path_is_an_expression_leads_to_no_state() -> None:
    found = declared('terraform {\n  backend "local" {\n    path = "${var.x}/a.tfstate"\n  }\n}\n').backend
    assert found is not None
    assert state_path("/w/net", found, None) is None
    literal = declared('terraform {\n  backend "local" {\n    path = "st/a.tfstate"\n  }\n}\n').backend
    assert literal is not None
    assert state_path("/w/net", literal, None) == "/w/net/st/a.tfstate"


@pytest.mark.parametrize(
    ("block", "type_"),
    [
        ('cloud {\n organization = "o"\n}', "cloud"),
        ('backend "http" {\n address = "x"\n}', "http"),
        ('state_store "local" {\n provider "p" {}\n}', "state_store"),
    ],
)
def test_a_backend_of_another_type_is_known_by_type(block: str, type_: str) -> None:
    found = declared(f'terraform {{\n  required_version = ">= 1.0"\n  {block}\n}}\n')
    assert found == Declared((), Backend(type_), ())


def test_no_credential_of_a_backend_block_is_kept_or_shown() -> None:
    keys = ("access_key", "secret_key", "token", "password", "conn_str")
    body = "\n".join(f'{key} = "{SECRET}"' for key in keys) + f'\nendpoints = {{ s3 = "https://u:{SECRET}@h" }}'
    for type_ in ("s3", "pg"):
        found = declared(f'terraform {{\n  backend "{type_}" {{\n{body}\n}}\n}}\n')
        assert found.backend is not None
        assert SECRET not in str([getattr(found.backend, name) for name in Backend.__dataclass_fields__])
        assert SECRET not in repr(found)


# --- what cannot be read -----------------------------------------------------------------------------------------

GOOD = {"outputs.tf": b'output "a" {}\n'}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("b.tf", f'output "b" {{\n  value = "{SECRET}\n}}\n'.encode(), "not understood at line 2"),
        ("b.tf", b'output "b" {\n', "not understood at line 2"),
        ("b.tf", b"terraform {\n  backend = 3\n}\n", "not understood"),
        ("b.tf", b'output "b" { value = ' + b"[" * 20_000, "not understood at line 1"),
        ("b.tf", b'output "b" { value = ' + b"[" * 3_000 + b"]" * 3_000 + b"}\n", "nested too deeply"),
        ("b.tf", b'output "\xff" {}\n', "not UTF-8"),
        ("b.tf", "output".encode("utf-16") + b" output", "not UTF-8"),
        ("b.tf", b"# output\n" + b"#" * hcl_config.MAX_FILE, "larger than 128 KiB"),
        ("b.tf.json", f'{{"output": "{SECRET}}}'.encode(), "not understood at line 1"),
        ("b.tf.json", b'{"output":' + b"[" * 50_000, "nested too deeply"),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_a_file_that_cannot_be_read_is_named_with_a_reason_and_the_others_count(
    name: str, content: bytes, reason: str
) -> None:
    found = read(GOOD | {name: content})
    assert outputs(found) == {"a": (False, "")}
    assert found.not_read == ((name, reason),)
    assert SECRET not in repr(found)


def test_a_resource_no_parser_should_descend_into_hides_no_output() -> None:
    deep = "[" * 400 + "]" * 400
    found = declared(f'resource "x" "y" {{\n  z = {deep}\n}}\noutput "a" {{}}\n')
    assert outputs(found) == {"a": (False, "")}


def test_what_declares_nothing_is_not_parsed_however_much_it_is() -> None:
    """Most of a module is resources; only a file with one of the two words in it costs anything."""
    files = {f"r{n}.tf": b"resource {{{ not even HCL \xff" for n in range(hcl_config.MAX_FILES - 1)}
    assert read(files | {"z.tf": b'output "a" {}'}) == Declared((DeclaredOutput("a"),))


def test_no_more_files_and_bytes_than_there_is_time_for_are_parsed() -> None:
    half = b'output "o%d" {}\n#' + b"#" * (hcl_config.MAX_PARSED // 2 - 100)
    found = read({f"{n}.tf": half % n for n in range(3)})
    assert set(outputs(found)) == {"o0", "o1"}
    assert found.not_read == (("2.tf", "more than 256 KiB in all"),)
    many = {f"{n:03}.tf": b"locals {}" for n in range(hcl_config.MAX_FILES)} | {"z.tf": b'output "a" {}'}
    assert read(many).not_read == (("z.tf", "more than 200 files"),)


def test_a_name_or_a_description_beyond_all_measure_is_cut_or_left_out() -> None:
    found = declared(f'output "{"x" * 300}" {{}}\noutput "a" {{\n  description = "{"d" * 5000}"\n}}\n')
    assert [(output.name, len(output.description)) for output in found.outputs] == [("a", 1000)]
