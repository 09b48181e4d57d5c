"""What a path says: its reader, its run directory and its workspace."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proton_tf_agent.sources.place import Kind, Place, names, place_of

LOGS = ("*.log", "*.jsonl", "*.json")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/w/net/apply.log", Place(Kind.LOG, "/w/net", None)),
        ("/w/net/plan.jsonl", Place(Kind.LOG, "/w/net", None)),
        ("/w/net/out.json", Place(Kind.LOG, "/w/net", None)),
        ("/w/net/terraform.tfstate", Place(Kind.STATE, "/w/net", "default")),
        ("/w/net/.terraform.tfstate.lock.info", Place(Kind.LOCK, "/w/net", "default")),
        ("/w/net/st/.prod.tfstate.lock.info", Place(Kind.LOCK, "/w/net/st", "default")),
        ("/w/net/terraform.tfstate.d/blue/terraform.tfstate", Place(Kind.STATE, "/w/net", "blue")),
        ("/w/net/terraform.tfstate.d/blue/.terraform.tfstate.lock.info", Place(Kind.LOCK, "/w/net", "blue")),
        ("/w/net/.proton/deployment-metadata.json", Place(Kind.BINDING, "/w/net", None)),
        ("/w/net/proton.auto.tfvars.json", Place(Kind.BINDING, "/w/net", None)),
    ],
)
def test_a_path_names_its_reader_its_run_directory_and_its_workspace(path: str, place: Place) -> None:
    assert place_of(path, LOGS) == place


@pytest.mark.parametrize(
    "path",
    [
        "/w/net/.terraform/terraform.tfstate",  # backend settings, with access keys in them
        "/w/net/.terraform/.terraform.tfstate.lock.info",  # the lock of init
        "/w/net/.terraform/modules/modules.json",
        "/w/net/.terraform/providers/x/apply.log",
        "/w/net/terraform.tfstate.backup",
        "/w/net/terraform.tfstate.1795401224.backup",
        "/w/net/errored.tfstate",
        "/w/net/prod.tfstate",
        "/w/net/tfplan",
        "/w/net/terraform.tfvars",
        "/w/net/main.tf",
        "/w/net/.terraform.lock.hcl",
        "/w/net/APPLY.LOG",
    ],
)
def test_what_no_reader_wants_has_no_place(path: str) -> None:
    assert place_of(path, LOGS) is None


def test_the_names_of_logs_are_the_settings() -> None:
    assert place_of("/w/net/apply.log", ()) is None
    assert place_of("/w/net/stdout", ("stdout",)) == Place(Kind.LOG, "/w/net", None)


@pytest.mark.parametrize("name", ["terraform.tfstate", ".terraform.tfstate.lock.info", "proton.auto.tfvars.json"])
def test_no_pattern_of_logs_makes_a_log_of_what_has_its_own_reader(name: str) -> None:
    place = place_of(f"/w/net/{name}", ("*",))
    assert place is not None
    assert place.kind is not Kind.LOG


@pytest.mark.parametrize("path", [".proton/deployment-metadata.json", ".service-catalog/operation.json"])
def test_what_binds_a_run_is_never_read_as_a_log(path: str) -> None:
    assert place_of(f"/w/net/{path}", ("*", "*.json")) == Place(Kind.BINDING, "/w/net", None)
    assert names(())(path.rpartition("/")[2])


def test_a_directory_that_only_looks_like_a_workspace_is_a_run_directory() -> None:
    assert place_of("/w/terraform.tfstate.d/terraform.tfstate", LOGS) == Place(
        Kind.STATE, "/w/terraform.tfstate.d", "default"
    )
    assert place_of("/w/xterraform.tfstate.d/blue/terraform.tfstate", LOGS) == Place(
        Kind.STATE, "/w/xterraform.tfstate.d/blue", "default"
    )


@pytest.mark.parametrize("name", ["line\nbreak", "\x1b[2J", "-rf", "..log", "x" * 250, "\udcff", "*", "[a]"])
def test_no_name_a_job_may_give_breaks_the_reading_of_its_path(name: str) -> None:
    assert place_of(f"/w/{name}/apply.log", LOGS) == Place(Kind.LOG, f"/w/{name}", None)
    assert place_of(f"/w/{name}.log", LOGS) == Place(Kind.LOG, "/w", None)


_NAMES = st.sampled_from(
    [
        "terraform.tfstate",
        ".terraform.tfstate.lock.info",
        "proton.auto.tfvars.json",
        "deployment-metadata.json",
        "operation.json",
        "a.log",
    ]
)


@given(
    above=st.sampled_from(["/w", "/w/.proton", "/w/.service-catalog", "/w/.terraform", "/w/terraform.tfstate.d/blue"]),
    name=_NAMES | st.builds("".join, st.tuples(_NAMES, st.text(max_size=2))) | st.text(min_size=1, max_size=12),
    patterns=st.lists(st.sampled_from(["*.log", "*", "[a-c]*", "x?"]) | st.text(max_size=4), max_size=3).map(tuple),
)
@example("/w", "line\nbreak.log", ("*.log",))
def test_a_name_that_is_passed_over_has_no_place(above: str, name: str, patterns: tuple[str, ...]) -> None:
    if not names(patterns)(name):
        assert place_of(f"{above}/{name}", patterns) is None
