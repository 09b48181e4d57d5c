"""Service Catalog is told the result of the operation it has asked for: by the call it waits for, within its model, and
no success but of what was asked. The token by which it is told is in nothing that is shown.

Everything is sent through the real botocore client to a real server that keeps botocore's model of the service.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.aws_endpoint import REQUEST_ID
from support.command_lines import Output, run
from support.enactors import moved
from support.observing import ObservedRoot
from support.proton import WHOLE, clean_environment
from support.rigs.service_catalog import TOKEN, WORKFLOW, Catalog
from support.routed import LOG_OF, happen, proton, sink, subjects, takes_all

from proton_tf_agent.aws_service import Place
from proton_tf_agent.cloud_event import event
from proton_tf_agent.domain.binding import MAX_OPERATION, OPERATION_PATH, Binding, Unbound, from_operation
from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind, reduced
from proton_tf_agent.domain.routing import Route
from proton_tf_agent.domain.run import RunStatus
from proton_tf_agent.domain.values import replace
from proton_tf_agent.domain.workflow import MAX_TOKEN, WorkflowOperation
from proton_tf_agent.journal import Journal
from proton_tf_agent.settings import AllowSettings, BindSettings, Settings, SinkSettings
from proton_tf_agent.sinks import sink_type
from proton_tf_agent.sinks.service_catalog import MAX_REASON, TAG_KEY, ServiceCatalogSink, reason_of, request_of
from proton_tf_agent.status import entry_rows, run_rows
from proton_tf_agent.survey import survey

K = OutcomeKind
W = WorkflowOperation
TOLD = replace(WHOLE, resource_arn=None, deployment_id=None, name=WORKFLOW.product_id, workflow=WORKFLOW)
FAILED = replace(
    TOLD, status=Status.FAILED, run_status=RunStatus.ERRORED, status_message="Apply failed: no.", outputs=()
)
# As the queue gives it; what is not looked at may be anything.
MESSAGE: dict[str, Any] = {
    "token": TOKEN,
    "operation": "PROVISION_PRODUCT",
    "provisionedProductId": WORKFLOW.product_id,
    "provisionedProductName": "shop",
    "recordId": WORKFLOW.record_id,
    "launchRoleArn": "arn:aws:iam::123456789012:role/launch",
    "artifact": {"path": "s3://artifacts/shop.tar.gz", "type": "EXTERNAL"},
    "identity": {"principal": "AROAEXAMPLE:somebody", "awsAccountId": "123456789012"},
    "parameters": [{"key": "password", "value": "hunter2-hunter2"}],
    "tags": [{"key": "team", "value": "shop"}],
}


@pytest.fixture(scope="module", autouse=True)
def no_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with clean_environment(tmp_path_factory.mktemp("home")):
        yield


@pytest.fixture
def catalog() -> Iterator[Catalog]:
    catalog = Catalog()
    yield catalog
    catalog.close()


@pytest.fixture
def catalog_sink(catalog: Catalog) -> Iterator[ServiceCatalogSink]:
    made = ServiceCatalogSink("catalog", Place("eu-west-1", catalog.url, (5.0, 5.0)))
    yield made
    made.close()


def asking(operation: WorkflowOperation, told: Notification = TOLD) -> Notification:
    return replace(told, workflow=replace(WORKFLOW, operation=operation))


# --- what the queue's message says --------------------------------------------------------------------------------


def message(**changed: Any) -> bytes:
    return json.dumps({key: value for key, value in (MESSAGE | changed).items() if value is not ...}).encode()


@pytest.mark.parametrize("operation", list(W))
def test_the_message_of_the_queue_binds_a_run_to_its_workflow(operation: WorkflowOperation) -> None:
    found = from_operation(message(operation=operation.value))
    expected = replace(WORKFLOW, operation=operation)
    assert found == Binding(None, None, False, OPERATION_PATH, WORKFLOW.product_id, expected)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "E_EMPTY"),
        (b"[]", "E_SCHEMA"),
        (b"{", "E_JSON"),
        (b'{"token": "a", "token": "b"}', "E_JSON_DUPKEY"),
        (b"\xff", "E_UTF8"),
        (b"[" * 1000, "E_JSON_DEPTH"),
        (b" " * (MAX_OPERATION + 1), "E_TOO_LARGE"),
        *(
            (message(**changed), "E_SCHEMA")
            for changed in (
                {"token": ...}, {"token": ""}, {"token": "a b"}, {"token": "A" * (MAX_TOKEN + 1)}, {"token": ["a"]},
                {"token": "hunter2\n"},
                {"operation": ...}, {"operation": "IMPORT_PRODUCT"}, {"operation": ["PROVISION_PRODUCT"]},
                {"recordId": ...}, {"recordId": "../rec"}, {"recordId": "r" * 101}, {"recordId": "rec-\u0661"},
                {"provisionedProductId": ...}, {"provisionedProductId": "pp-a/b"}, {"provisionedProductId": "shop"},
            )
        ),
    ],
)  # fmt: skip
def test_what_is_no_such_message_binds_nothing_and_is_not_quoted(content: bytes, code: str) -> None:
    found = from_operation(content)
    assert isinstance(found, Unbound)
    assert found.code == code
    for secret in (TOKEN, "hunter2", "AAAA", "shop"):
        assert secret not in repr(found)


# --- what is sent -------------------------------------------------------------------------------------------------


def test_a_provisioned_product_has_its_outputs_and_the_tag_it_is_found_by(
    catalog: Catalog, catalog_sink: ServiceCatalogSink
) -> None:
    assert catalog_sink.send(TOLD) == Outcome(K.ACCEPTED, "", 200, REQUEST_ID)
    ((operation, sent),) = catalog.requests
    assert operation == "NotifyProvisionProductEngineWorkflowResult"
    assert sent == {
        "WorkflowToken": TOKEN,
        "RecordId": WORKFLOW.record_id,
        "Status": "SUCCEEDED",
        "IdempotencyToken": TOLD.notification_id,
        "ResourceIdentifier": {"UniqueTag": {"Key": TAG_KEY, "Value": WORKFLOW.product_id}},
        "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in TOLD.outputs],
    }


def test_an_update_has_its_outputs_a_termination_neither_outputs_nor_tag(
    catalog: Catalog, catalog_sink: ServiceCatalogSink
) -> None:
    ended = {"WorkflowToken", "RecordId", "Status", "IdempotencyToken"}
    assert catalog_sink.send(asking(W.UPDATE)).kind is K.ACCEPTED
    assert catalog_sink.send(asking(W.TERMINATE)).kind is K.ACCEPTED
    (update, updated), (termination, terminated) = catalog.requests
    assert (update, set(updated)) == (
        "NotifyUpdateProvisionedProductEngineWorkflowResult",
        ended | {"Outputs"},
    )
    assert (termination, set(terminated)) == ("NotifyTerminateProvisionedProductEngineWorkflowResult", ended)


@pytest.mark.parametrize("operation", list(W))
def test_a_failure_has_its_reason(
    catalog: Catalog, catalog_sink: ServiceCatalogSink, operation: WorkflowOperation
) -> None:
    assert catalog_sink.send(asking(operation, FAILED)).kind is K.ACCEPTED
    (result,) = catalog.results
    assert (result["Status"], result["FailureReason"]) == ("FAILED", "Apply failed: no.")
    assert "Outputs" not in result


def test_a_reason_has_the_characters_and_the_length_that_are_taken(
    catalog: Catalog, catalog_sink: ServiceCatalogSink
) -> None:
    """The endpoint keeps the model's pattern and maximum."""
    text = "é\N{GRINNING FACE}\x00\ud800\uffff" + "x" * 5000
    assert catalog_sink.send(replace(FAILED, status_message=text)).kind is K.ACCEPTED
    (reason,) = (result["FailureReason"] for result in catalog.results)
    assert (reason[:6], reason[-3:], len(reason)) == ("é????x", "x …", MAX_REASON)
    assert reason_of("x" * MAX_REASON) == "x" * MAX_REASON


def test_what_is_reduced_is_still_a_result(catalog: Catalog, catalog_sink: ServiceCatalogSink) -> None:
    for told in (TOLD, FAILED):
        assert catalog_sink.send(reduced(told)).kind is K.ACCEPTED
    assert all(not {"Outputs", "FailureReason"} & result.keys() for result in catalog.results)


def test_a_repeat_has_the_same_idempotency_token(catalog: Catalog, catalog_sink: ServiceCatalogSink) -> None:
    catalog_sink.send(TOLD)
    catalog_sink.send(TOLD)
    assert catalog.results[0] == catalog.results[1]


@pytest.mark.parametrize(
    ("operation", "status", "run_status", "wanted"),
    [
        (W.PROVISION, Status.SUCCEEDED, RunStatus.APPLIED, True),
        (W.UPDATE, Status.SUCCEEDED, RunStatus.APPLIED, True),
        (W.TERMINATE, Status.SUCCEEDED, RunStatus.DESTROYED, True),
        (W.PROVISION, Status.SUCCEEDED, RunStatus.DESTROYED, False),
        (W.UPDATE, Status.SUCCEEDED, RunStatus.DESTROYED, False),
        (W.TERMINATE, Status.SUCCEEDED, RunStatus.APPLIED, False),
        (W.TERMINATE, Status.FAILED, RunStatus.ERRORED, True),
        (W.PROVISION, Status.FAILED, RunStatus.LOST, True),
        (W.PROVISION, Status.IN_PROGRESS, RunStatus.APPLYING, False),
    ],
)
def test_only_ends_are_told_and_no_success_of_what_was_not_asked_for(
    catalog_sink: ServiceCatalogSink,
    operation: WorkflowOperation,
    status: Status,
    run_status: RunStatus,
    wanted: bool,
) -> None:
    assert catalog_sink.wants(replace(asking(operation), status=status, run_status=run_status)) is wanted
    assert catalog_sink.wants(replace(WHOLE, status=status, run_status=run_status)) is False


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("InvalidParametersException", K.INVALID),
        ("ResourceNotFoundException", K.NOT_FOUND),
        ("AccessDeniedException", K.DENIED),
        ("ThrottlingException", K.THROTTLED),
    ],
)
def test_every_error_means_one_thing(
    catalog: Catalog, catalog_sink: ServiceCatalogSink, code: str, kind: OutcomeKind
) -> None:
    catalog.refuse(code)
    assert catalog_sink.send(TOLD) == Outcome(kind, code, 400, REQUEST_ID)


# --- which runs carry out a workflow ------------------------------------------------------------------------------


def observed(tmp_path: Path, journal: Journal, *sinks: SinkSettings) -> ObservedRoot:
    """A watched root before Proton, Service Catalog and one that takes unbound runs."""
    settings = Settings(allow=AllowSettings(("arn:aws:proton:*",)), sink=sinks)
    root = ObservedRoot(tmp_path, journal, settings)
    catalog = replace(sink("catalog", Route(workflows=True)), wants=ServiceCatalogSink("catalog", Place("x")).wants)
    root.pipeline.addressees = (proton(), catalog, takes_all("hook"), sink("other"))
    return root


CATALOG = SinkSettings("service_catalog", region="eu-west-1")


def ask(root: ObservedRoot, **changed: Any) -> None:
    """Put an operation into the run directory, as an engine does before it starts Terraform."""
    os.utime(root.write(OPERATION_PATH, message(**changed)), (0, 0))  # older than any recording


def test_the_end_of_a_workflow_is_told_to_service_catalog_and_to_who_takes_runs_of_no_resource(
    tmp_path: Path, journal: Journal
) -> None:
    root = observed(tmp_path, journal, CATALOG)
    ask(root)
    happen(root, "ok")
    assert subjects(root, "catalog") == [(WORKFLOW.product_id, "SUCCEEDED")]
    assert subjects(root, "hook")[-1] == (WORKFLOW.product_id, "SUCCEEDED")
    assert subjects(root, "proton") == subjects(root, "other") == []


def test_a_workflow_is_frozen_when_the_run_begins(tmp_path: Path, journal: Journal) -> None:
    root = observed(tmp_path, journal, CATALOG)
    ask(root)
    lines = moved(LOG_OF["ok"], root.now).splitlines(keepends=True)
    root.write("0.log", "".join(lines[:2]).encode())
    root.look("0.log")
    ask(root, provisionedProductId="pp-another")
    root.write("0.log", "".join(lines[2:]).encode(), "ab")
    root.look("0.log")
    root.wait(60.0)
    assert subjects(root, "catalog") == [(WORKFLOW.product_id, "SUCCEEDED")]


def test_an_operation_that_comes_while_the_run_is_on_binds_it(tmp_path: Path, journal: Journal) -> None:
    root = observed(tmp_path, journal, CATALOG)
    lines = moved(LOG_OF["ok"], root.now).splitlines(keepends=True)
    root.write("0.log", "".join(lines[:2]).encode())
    root.look("0.log")
    ask(root)
    root.look(OPERATION_PATH)
    root.write("0.log", "".join(lines[2:]).encode(), "ab")
    root.look("0.log")
    root.wait(60.0)
    assert subjects(root, "catalog") == [(WORKFLOW.product_id, "SUCCEEDED")]


def test_a_destroy_is_no_success_of_what_was_to_be_provisioned(tmp_path: Path, journal: Journal) -> None:
    root = observed(tmp_path, journal, CATALOG)
    ask(root)
    happen(root, "destroyed")
    assert subjects(root, "catalog") == []
    ask(root, operation="TERMINATE_PROVISIONED_PRODUCT")
    happen(root, "destroyed", "ok")
    assert subjects(root, "catalog") == [(WORKFLOW.product_id, "SUCCEEDED")]


def test_an_operation_that_came_after_the_end_is_another_runs(tmp_path: Path, journal: Journal) -> None:
    root = observed(tmp_path, journal, CATALOG)
    os.utime(root.write(OPERATION_PATH, message()), (root.now + 7200, root.now + 7200))
    happen(root, "ok")
    assert subjects(root, "catalog") == []


def test_without_a_sink_for_it_an_operation_is_not_looked_for(tmp_path: Path, journal: Journal) -> None:
    root = observed(tmp_path, journal)
    ask(root)
    happen(root, "ok")
    assert subjects(root, "catalog") == []
    assert {subject for subject, _ in subjects(root, "hook")} == {root.directory}


def test_protons_metadata_come_before_it_and_it_before_the_settings(tmp_path: Path, journal: Journal) -> None:
    root = observed(tmp_path, journal, CATALOG)
    root.pipeline.surroundings._bound = {root.directory: BindSettings(root.directory, name="network")}  # type: ignore[attr-defined]
    ask(root)
    happen(root, "ok")
    arn = "arn:aws:proton:us-east-1:111122223333:environment/net"
    metadata = {"deploymentId": WHOLE.deployment_id, "resourceMetadata": {"arn": arn}}
    os.utime(root.write(".proton/deployment-metadata.json", json.dumps(metadata).encode()), (0, 0))
    happen(root, "failed")
    assert list(dict(subjects(root, "hook"))) == [WORKFLOW.product_id, arn]


def test_what_binds_nothing_is_said_with_its_code_and_not_quoted(tmp_path: Path, journal: Journal) -> None:
    root = observed(tmp_path, journal, CATALOG)
    ask(root, recordId="no record")
    happen(root, "ok")
    (refused,) = (one.keys for one in root.told if one.name == "binding.refused")
    assert refused["reason"] == f"E_SCHEMA: {OPERATION_PATH}: recordId is missing or is none"
    assert subjects(root, "catalog") == []


# --- the token is nobody's ----------------------------------------------------------------------------------------


def test_the_token_is_in_no_row_no_event_and_no_text_of_an_object(tmp_path: Path, journal: Journal) -> None:
    root = observed(tmp_path, journal, CATALOG)
    ask(root)
    happen(root, "ok", "failed")
    (told, *_), recorded = root.notifications(), journal.runs(10)
    stream = io.StringIO()
    sink_type("console")("console", stream).send(TOLD)
    entries = journal.query("entries", after=0, limit=100)
    settings = Settings(watch=(), sink=(CATALOG,))
    shown = [
        repr(told), repr(recorded), repr(TOLD), str(event(TOLD, "proton-tf-agent://here")), stream.getvalue(),
        str(run_rows(journal, 10)), str(entry_rows(journal, entries)), str(root.told),
        str(survey(settings, root.directory)),
    ]  # fmt: skip
    assert [text for text in shown if TOKEN in text] == []
    assert told.workflow == WORKFLOW, "and yet it is kept, to be sent"


# --- settings and pages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("", "[[sink]] region: is missing"),
        ('region = "eu-west-1"\ntag_key = "a*"', "is no key of a tag"),
        ('region = "eu-west-1"\nunbound = true', "means nothing to a service_catalog sink"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings_file: str, capsys: Output, keys: str, said: str) -> None:
    with open(settings_file, "a") as file:
        file.write(f'[[sink]]\ntype = "service_catalog"\n{keys}\n')
    code, _, err = run(capsys, "config", "validate", "--config", settings_file)
    assert (code, said in err) == (78, True), err


def test_doctor_reaches_service_catalog_by_asking_for_a_record_that_cannot_be(
    settings_file: str, catalog: Catalog, capsys: Output
) -> None:
    with open(settings_file, "a") as file:
        file.write(f'[[sink]]\ntype = "service_catalog"\nregion = "eu-west-1"\nendpoint_url = "{catalog.url}"\n')
    _, out, _ = run(capsys, "doctor", "--json", "--config", settings_file)
    rows = [json.loads(line) for line in out.splitlines()]
    found, permitted = [row for row in rows if row["check"] == "sink service_catalog"]
    assert permitted["what"].startswith("IAM is not asked")
    assert "takes our signature (ResourceNotFoundException)" in found["what"]
    assert [operation for operation, _ in catalog.requests] == ["DescribeRecord"]


def test_the_page_shows_what_is_read_and_what_is_sent() -> None:
    text = (Path(__file__).parents[2] / "docs" / "sinks" / "service_catalog.md").read_text("utf-8")
    read, sent = re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[:2]
    assert from_operation(read.encode()) == Binding(None, None, False, OPERATION_PATH, WORKFLOW.product_id, WORKFLOW)
    example = replace(TOLD, outputs=(("VpcId", "vpc-1"),))
    assert json.loads(sent) == request_of(example, WORKFLOW, TAG_KEY)
    assert f"{MAX_REASON:,} characters" in text
