"""Where the state is, as Terraform's own record tells: recorded and real ones, and what is no record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.terraform import Terraform

from proton_tf_agent.sources import backend
from proton_tf_agent.sources.backend import Backend, read, read_workspace, state_path

RECORDED = Path(__file__).parents[1] / "golden" / "runs"
SECRET = "s3cr3t-v4lue-of-the-test"


def recorded(scenario: str) -> bytes:
    (path,) = (RECORDED / scenario / "files").glob("*_.terraform__terraform.tfstate")
    return path.read_bytes()


def record(type_: object = "s3", config: object = None, **other: object) -> bytes:
    document: dict[str, Any] = {"version": 3, "backend": {"type": type_, "config": config, "hash": 1}} | other
    return json.dumps(document).encode()


# --- recorded and real records -----------------------------------------------------------------------------------


def test_the_recorded_s3_backend_says_where_the_state_is() -> None:
    found = read(recorded("s3_lockfile"))
    assert (found.type, found.recorded, found.is_local) == ("s3", True, False)
    assert (found.bucket, found.key, found.region) == ("tfstate", "state/prod.tfstate", "us-east-1")
    assert (found.use_lockfile, found.dynamodb_table, found.use_path_style) == (True, "", True)
    assert found.endpoint("s3") == "http://127.0.0.1:5801"
    assert found.endpoint("iam") == found.endpoint("someday") == ""


def test_the_recorded_s3_backend_with_a_lock_table_names_it() -> None:
    found = read(recorded("s3_dynamodb"))
    assert (found.use_lockfile, found.dynamodb_table) == (False, "locks")


def test_a_directory_without_a_record_has_the_local_backend_and_it_is_not_recorded() -> None:
    """Terraform takes an empty record for none, too."""
    assert read(None) == read(b"") == read(b"\n") == Backend("local", recorded=False)


def test_real_init_writes_a_record_of_the_local_backend_with_its_paths(terraform: Terraform, tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text('terraform {\n  backend "local" { workspace_dir = "ws" }\n}\n')
    assert terraform.run("terraform init -backend-config=path=st/net.tfstate", str(tmp_path)) == 0
    found = read((tmp_path / backend.RECORD_PATH).read_bytes())
    assert (found.type, found.recorded, found.path, found.workspace_dir) == ("local", True, "st/net.tfstate", "ws")


def test_real_init_after_a_backend_block_was_removed_leaves_a_record_of_the_local_backend(
    terraform: Terraform, tmp_path: Path
) -> None:
    (tmp_path / "main.tf").write_text('terraform {\n  backend "local" { path = "st/net.tfstate" }\n}\n')
    assert terraform.run("terraform init", str(tmp_path)) == 0
    (tmp_path / "main.tf").write_text("")
    assert terraform.run("terraform init -migrate-state -force-copy", str(tmp_path)) == 0
    content = (tmp_path / backend.RECORD_PATH).read_bytes()
    assert b"backend" not in content
    assert read(content) == Backend("local", recorded=True)


def test_the_workspace_that_real_terraform_selects_is_read(terraform: Terraform, tmp_path: Path) -> None:
    assert terraform.run("terraform workspace new blue-1.x_y", str(tmp_path)) == 0
    assert read_workspace((tmp_path / backend.WORKSPACE_PATH).read_bytes()) == "blue-1.x_y"


# --- where the local state is ------------------------------------------------------------------------------------

NET = Backend("local", recorded=True, path="st/net.tfstate", workspace_dir="ws")
SHARED = Backend("local", recorded=True, path="/srv/state/net.tfstate", workspace_dir="/srv/state/ws")


@pytest.mark.parametrize(
    ("found", "workspace", "path"),
    [
        (Backend(), None, "/w/net/terraform.tfstate"),
        (Backend(), "", "/w/net/terraform.tfstate"),
        (Backend(), "default", "/w/net/terraform.tfstate"),
        (Backend(), "blue", "/w/net/terraform.tfstate.d/blue/terraform.tfstate"),
        (NET, "default", "/w/net/st/net.tfstate"),
        (NET, "blue", "/w/net/ws/blue/terraform.tfstate"),
        (SHARED, "default", "/srv/state/net.tfstate"),
        (SHARED, "blue", "/srv/state/ws/blue/terraform.tfstate"),
        (Backend(path="../shared/net.tfstate"), None, "/w/shared/net.tfstate"),
        (Backend(path="./a//b.tfstate"), None, "/w/net/a/b.tfstate"),
        (Backend("s3", bucket="b", key="k"), None, None),
        (Backend("cloud"), "blue", None),
        (Backend("unknown", recorded=True), None, None),
        (Backend(unknown=("path",)), "default", None),
        (Backend(unknown=("path",)), "blue", "/w/net/terraform.tfstate.d/blue/terraform.tfstate"),
        (Backend(unknown=("workspace_dir",)), "blue", None),
    ],
)
def test_the_state_lies_where_terraform_puts_it(found: Backend, workspace: str | None, path: str | None) -> None:
    assert state_path("/w/net", found, workspace) == path


@pytest.mark.parametrize("workspace", ["default", "blue"])
@pytest.mark.parametrize(
    "block", ["", 'path = "st/net.tfstate"', 'workspace_dir = "ws"', 'path = "../up.tfstate"\nworkspace_dir = "../ws"']
)
def test_real_terraform_writes_its_state_where_the_record_says(
    terraform: Terraform, tmp_path: Path, block: str, workspace: str
) -> None:
    """Started from above with -chdir, so that relative paths would show if they counted from elsewhere."""
    run = tmp_path / "envs" / "prod"
    run.mkdir(parents=True)
    (run / "main.tf").write_text(f'terraform {{\n  backend "local" {{\n{block}\n}}\n}}\noutput "o" {{ value = 1 }}\n')
    select = "" if workspace == "default" else f"terraform -chdir=envs/prod workspace new {workspace} && "
    line = f"terraform -chdir=envs/prod init && {select}terraform -chdir=envs/prod apply -auto-approve"
    assert terraform.run(line, str(tmp_path)) == 0
    path = state_path(str(run), read((run / backend.RECORD_PATH).read_bytes()), workspace)
    states = [str(p) for p in tmp_path.rglob("*.tfstate") if p.is_file() and ".terraform" not in p.parts]
    assert states == [path]


# --- what is no record -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 20, 40, 100, 500, 1500])
def test_a_record_torn_while_it_is_written_is_of_an_unknown_backend_and_never_of_the_local_one(length: int) -> None:
    assert read(recorded("s3_lockfile")[:length]) == Backend("unknown", recorded=True)


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b"[]",
        b"null",
        b"\0" * 100,
        b"\xff\xfe",
        record(version=2),
        record(version=4),
        record(version="3"),
        record(7),
        record(["s3"]),
        record("local", []),
        record("S3 \x1b[31m"),
        record("x" * 65),
        b'{"version": 3, "remote": {"type": "s3"}}',
        b'{"version": 3, "backend": ' + b"[" * 50_000,
        b'{"version": 3, "x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    ],
    ids=lambda content: repr(content[:40]),
)
def test_what_is_no_record_is_of_an_unknown_backend(content: bytes) -> None:
    assert read(content) == Backend("unknown", recorded=True)


def test_a_state_store_and_a_backend_we_know_nothing_of_are_named_by_type_alone() -> None:
    assert read(record("gcs", {"bucket": "b"})) == Backend("gcs", recorded=True)
    store = b'{"version": 3, "state_store": {"type": "local", "config": {"path": "x"}}}'
    assert read(store) == Backend("state_store", recorded=True)


def test_settings_of_another_kind_than_terraform_writes_count_as_not_set() -> None:
    odd = {
        "bucket": 7,
        "key": ["k"],
        "region": {},
        "use_lockfile": "yes",
        "endpoints": "x",
        "dynamodb_table": "t" * 5000,
    }
    assert read(record("s3", odd)) == Backend("s3", recorded=True)
    assert read(record("s3", None)) == Backend("s3", recorded=True)
    assert read(record("local", {"path": 7, "workspace_dir": None})) == Backend("local", recorded=True)


def test_endpoints_as_they_were_written_before_1_6_are_understood() -> None:
    found = read(record("s3", {"endpoint": "http://h:1", "dynamodb_endpoint": "http://h:2", "force_path_style": True}))
    assert (found.endpoint("s3"), found.endpoint("dynamodb"), found.use_path_style) == (
        "http://h:1",
        "http://h:2",
        True,
    )


@pytest.mark.parametrize(
    "content",
    [None, b"", b"\n", b"a/b", b"..\0", b"a b", b"\xff", "bläu".encode(), b"x" * 256, b"a\nb", b"a;b", b"a%2e"],
)
def test_what_cannot_be_a_workspace_is_none(content: bytes | None) -> None:
    assert read_workspace(content) is None


# --- secrets -----------------------------------------------------------------------------------------------------

FULL_OF_SECRETS = {
    "bucket": "b", "key": "k", "access_key": SECRET, "secret_key": SECRET, "token": SECRET, "sse_customer_key": SECRET,
    "http_proxy": f"http://u:{SECRET}@proxy", "assume_role": {"external_id": SECRET}, "password": SECRET,
    "endpoints": {"s3": f"https://u:{SECRET}@h:1/p?X-Amz-Signature={SECRET}", "dynamodb": f"u:{SECRET}@h"},
    "sts_endpoint": f"https://u:{SECRET}/@h#{SECRET}", "someday": [SECRET],
}  # fmt: skip


def test_no_credential_of_a_record_is_kept() -> None:
    found = read(record("s3", FULL_OF_SECRETS))
    values = [getattr(found, name) for name in Backend.__dataclass_fields__]
    assert SECRET not in str(values)
    assert found.endpoint("s3") == "https://h:1/p"
    assert found.endpoint("dynamodb") == "h"


@pytest.mark.parametrize("type_", ["local", "s3", "http", "pg", "consul"])
def test_no_setting_shows_in_what_is_printed_of_a_backend(type_: str) -> None:
    """A path or a bucket may be nobody's business either."""
    config = FULL_OF_SECRETS | dict.fromkeys(("path", "workspace_dir", "bucket", "key", "region", "conn_str"), SECRET)
    found = read(record(type_, config))
    assert found.type == type_
    for text in (repr(found), str(found), f"{found}", repr([found])):
        assert text.strip("[]") == f"Backend(type={type_!r}, recorded=True)"
