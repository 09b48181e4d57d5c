"""The receiver refuses what Proton's contract refuses, keeps what it accepts, and fails exactly as it was told."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from proton_tf_agent.domain.errors import AgentError, UsageInvalid
from proton_tf_agent.receiver import (
    MAX_BODY,
    REFUSALS,
    Fault,
    FaultKind,
    Receiver,
    Record,
    human_line,
    json_line,
    serve,
)
from proton_tf_agent.wire_contract import GET_DEPLOYMENT

ARN = "arn:aws:proton:eu-west-1:123456789012:environment/network"
OTHER_ARN = "arn:aws:proton:eu-west-1:123456789012:service/shop/service-instance/prod"
DEPLOYMENT = "0a1b2c3d-0000-4000-8000-0123456789ab"
NEXT_DEPLOYMENT = "0a1b2c3d-0000-4000-8000-0123456789ac"
SIGNATURE = (
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/eu-west-1/proton/aws4_request, "
    "SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=" + "0" * 64
)
HEADERS = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "AwsProton20200720.NotifyResourceDeploymentStatusChange",
    "X-Amz-Date": "20260102T030405Z",
    "Authorization": SIGNATURE,
}
WHOLE = {
    "resourceArn": ARN,
    "deploymentId": DEPLOYMENT,
    "status": "SUCCEEDED",
    "statusMessage": "Apply complete.",
    "outputs": [{"key": "VpcId", "valueString": "vpc-1"}, {"key": "naïve", "valueString": '["a"]'}],
}


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Every test here also proves that nothing is left running."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def call(
    receiver: Receiver,
    body: Any,
    method: str = "POST",
    path: str = "/",
    headers: Mapping[str, str | None] = types.MappingProxyType({}),
) -> tuple[int, str, str]:
    """One request on a connection of its own: status, error code without its namespace, whole body.

    headers: what differs from HEADERS; None leaves one out.
    """
    given = {**HEADERS, **headers}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection(receiver.url.removeprefix("http://"), timeout=5)
    try:
        connection.request(method, path, content, {k: v for k, v in given.items() if v is not None})
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.headers["x-amzn-RequestId"]
        return answer.status, json.loads(text).get("__type", "").rpartition("#")[2], text
    finally:
        connection.close()


def exchange(receiver: Receiver, body: Any, headers: Mapping[str, str] = HEADERS) -> tuple[int, Message, bytes]:
    """One request on a connection of its own: status, headers, body."""
    connection = http.client.HTTPConnection(receiver.url.removeprefix("http://"), timeout=5)
    try:
        connection.request("POST", "/", json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def ask(receiver: Receiver, deployment_id: Any = DEPLOYMENT, **names: Any) -> tuple[int, str, dict[str, Any]]:
    """What GetDeployment says: status, error code, the deployment."""
    asking = {"X-Amz-Target": f"AwsProton20200720.{GET_DEPLOYMENT}"}
    status, code, text = call(receiver, {"id": deployment_id, **names}, headers=asking)
    return status, code, json.loads(text).get("deployment", {})


def test_a_valid_request_is_answered_with_an_empty_object_and_kept_whole(receiver: Receiver) -> None:
    assert call(receiver, WHOLE) == (200, "", "{}")
    [record] = receiver.records()
    assert record.received_at > 1_700_000_000
    assert record == Record(
        1,
        record.received_at,
        ARN,
        DEPLOYMENT,
        "SUCCEEDED",
        "Apply complete.",
        {"VpcId": "vpc-1", "naïve": '["a"]'},
        "accepted",
    )


@pytest.mark.parametrize(
    "change",
    [
        {"deploymentId": None, "status": None, "statusMessage": None, "outputs": None},
        {"statusMessage": ""},
        {"statusMessage": "x" * 5000},
        {"outputs": []},
        {"outputs": [{"key": f"k{n}", "valueString": "v"} for n in range(50)]},
        {"outputs": [{"key": "k" * 1024, "valueString": "\N{GRINNING FACE}" * 1024}]},
        {"resourceArn": (ARN + "x" * 200)[:200]},
        {"resourceArn": "arn:aws-us-gov:proton:us-gov-west-1:123456789012:component/c"},
        {"status": "FAILED"},
        {"status": "IN_PROGRESS"},
        {"somethingNew": {"nested": [1]}},
    ],
    ids=lambda change: ",".join(change),
)
def test_everything_up_to_the_limits_is_accepted(receiver: Receiver, change: dict[str, Any]) -> None:
    assert call(receiver, WHOLE | change)[0] == 200
    assert len(receiver.records()) == 1


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"resourceArn": None}, "resourceArn"),
        ({"resourceArn": ""}, "resourceArn"),
        ({"resourceArn": (ARN + "x" * 200)[:201]}, "resourceArn"),
        ({"resourceArn": "arn:aws:proton:eu-west-1:12345:environment/network"}, "resourceArn"),
        ({"resourceArn": ARN + "\n"}, "resourceArn"),
        ({"resourceArn": ARN.replace("1234", "١٢٣٤")}, "resourceArn"),
        ({"resourceArn": "arn:other:proton:eu-west-1:123456789012:environment/network"}, "resourceArn"),
        ({"deploymentId": DEPLOYMENT.upper()}, "deploymentId"),
        ({"deploymentId": ""}, "deploymentId"),
        ({"deploymentId": DEPLOYMENT + "0"}, "deploymentId"),
        ({"status": "DELETE_COMPLETE"}, "status"),
        ({"status": "succeeded"}, "status"),
        ({"statusMessage": "x" * 5001}, "statusMessage"),
        ({"outputs": [{"key": f"k{n}", "valueString": "v"} for n in range(51)]}, "outputs"),
        ({"outputs": [{"key": "", "valueString": "v"}]}, "outputs.1.member.key"),
        ({"outputs": [{"key": "k" * 1025, "valueString": "v"}]}, "outputs.1.member.key"),
        ({"outputs": [{"valueString": "v"}]}, "outputs.1.member.key"),
        (
            {"outputs": [{"key": "a", "valueString": "v"}, {"key": "k", "valueString": ""}]},
            "outputs.2.member.valueString",
        ),
        ({"outputs": [{"key": "k", "valueString": "v" * 1025}]}, "outputs.1.member.valueString"),
        ({"outputs": [{"key": "k", "valueString": None}]}, "outputs.1.member.valueString"),
    ],
)
def test_what_breaks_a_constraint_is_a_validation_error_that_names_the_member(
    receiver: Receiver, change: dict[str, Any], place: str
) -> None:
    status, code, text = call(receiver, WHOLE | change)
    assert (status, code) == (400, "ValidationException")
    assert f"'{place}'" in text
    assert receiver.records() == ()


def test_all_violations_are_listed_and_no_value_is_repeated(receiver: Receiver) -> None:
    _, _, text = call(receiver, {"resourceArn": "swordfish", "status": "tunafish", "statusMessage": "m" * 5001})
    assert "3 validation error" in text
    assert "fish" not in text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"resourceArn": NaN}',
        b"\xff\xfe{}",
        b"[" * 100_000,
        json.dumps(WHOLE | {"resourceArn": 7}).encode(),
        json.dumps(WHOLE | {"status": ["FAILED"]}).encode(),
        json.dumps(WHOLE | {"outputs": {"key": "value"}}).encode(),
        json.dumps(WHOLE | {"outputs": ["key"]}).encode(),
        json.dumps(WHOLE | {"outputs": [{"key": "k", "valueString": False}]}).encode(),
    ],
    ids=lambda body: repr(body[:30]),
)
def test_a_body_of_another_shape_is_a_serialization_error(receiver: Receiver, body: bytes) -> None:
    assert call(receiver, body)[:2] == (400, "SerializationException")
    assert receiver.records() == ()


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"X-Amz-Target": None}, 400, "UnknownOperationException"),
        ({"X-Amz-Target": "AwsProton20200720.DeleteEnvironment"}, 400, "UnknownOperationException"),
        ({"Content-Type": "application/json"}, 400, "UnknownOperationException"),
        ({"Authorization": None}, 403, "MissingAuthenticationTokenException"),
        ({"Authorization": "Basic QUtJRDpzZWNyZXQ="}, 400, "IncompleteSignatureException"),
        ({"Authorization": SIGNATURE[:-1]}, 400, "IncompleteSignatureException"),
        ({"Authorization": SIGNATURE.replace("aws4_request", "aws3")}, 400, "IncompleteSignatureException"),
        ({"Authorization": SIGNATURE.replace("/proton/", "/s3/")}, 403, "InvalidSignatureException"),
        ({"X-Amz-Date": None}, 400, "IncompleteSignatureException"),
    ],
)
def test_a_call_of_another_kind_or_without_a_signature_for_proton_is_refused(
    receiver: Receiver, headers: dict[str, str | None], status: int, code: str
) -> None:
    assert call(receiver, WHOLE, headers=headers)[:2] == (status, code)
    assert receiver.records() == ()


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("PUT", "/"), ("OPTIONS", "/"), ("POST", "/other")])
def test_only_a_post_to_the_root_is_an_operation(receiver: Receiver, method: str, path: str) -> None:
    assert call(receiver, WHOLE, method, path)[:2] == (400, "UnknownOperationException")


def test_the_largest_valid_request_fits_however_it_is_escaped(receiver: Receiver) -> None:
    wide = "\N{GRINNING FACE}"  # twelve bytes as JSON in ASCII
    outputs = [{"key": f"{n:02}" + wide * 1022, "valueString": wide * 1024} for n in range(50)]
    assert call(receiver, WHOLE | {"statusMessage": wide * 5000, "outputs": outputs})[0] == 200


def raw_answer(receiver: Receiver, request: bytes) -> bytes:
    host, _, port = receiver.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_huge_body_is_refused_before_it_is_read(receiver: Receiver) -> None:
    answer = raw_answer(receiver, f"POST / HTTP/1.1\r\nContent-Length: {MAX_BODY + 1}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"RequestEntityTooLargeException" in answer


@pytest.mark.parametrize("length", ["", "Content-Length: -1\r\n", "Content-Length: ٣\r\n", "Content-Length: x\r\n"])
def test_a_request_without_a_usable_length_is_refused(receiver: Receiver, length: str) -> None:
    answer = raw_answer(receiver, f"POST / HTTP/1.1\r\n{length}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 411 ")


def test_one_connection_carries_many_requests(receiver: Receiver) -> None:
    connection = http.client.HTTPConnection(receiver.url.removeprefix("http://"), timeout=5)
    for _ in range(3):
        connection.request("POST", "/", json.dumps(WHOLE), HEADERS)
        assert connection.getresponse().read() == b"{}"
        first = connection.sock
    assert connection.sock is first
    connection.close()
    assert [record.number for record in receiver.records()] == [1, 2, 3]


@pytest.mark.parametrize("kind", sorted(REFUSALS))
def test_each_refusal_comes_with_its_status_and_nothing_is_kept(receiver: Receiver, kind: FaultKind) -> None:
    receiver.fail(Fault(kind, retry_after=3), times=1)
    status, headers, body = exchange(receiver, WHOLE)
    refusal = REFUSALS[kind]
    assert (status, headers["Retry-After"]) == (refusal.http_status, "3")
    assert json.loads(body)["__type"].endswith(f"#{refusal.code}") if refusal.code else body == b""
    assert receiver.records() == ()
    assert call(receiver, WHOLE)[0] == 200
    assert receiver.requests == 2


def test_the_seven_errors_of_the_operation_are_among_them() -> None:
    seven = "AccessDenied Conflict InternalServer ResourceNotFound ServiceQuotaExceeded Throttling Validation"
    assert {f"{name}Exception" for name in seven.split()} <= {refusal.code for refusal in REFUSALS.values()}


def test_a_clock_that_is_off_is_off_in_one_answer_only(receiver: Receiver) -> None:
    receiver.fail(FaultKind.CLOCK_SKEW, times=1)
    connection = http.client.HTTPConnection(receiver.url.removeprefix("http://"), timeout=5)
    dates = []
    for _ in range(2):
        connection.request("POST", "/", json.dumps(WHOLE), HEADERS)
        answer = connection.getresponse()
        answer.read()
        dates.append(parsedate_to_datetime(answer.headers["Date"]))
    connection.close()
    assert timedelta(minutes=59) < dates[0] - dates[1] <= timedelta(hours=1)


def test_a_fault_lasts_as_long_as_it_was_told_to(receiver: Receiver) -> None:
    receiver.fail(FaultKind.THROTTLING, times=2)
    assert [call(receiver, WHOLE)[0] for _ in range(3)] == [400, 400, 200]
    receiver.fail(FaultKind.THROTTLING)
    assert [call(receiver, WHOLE)[0] for _ in range(3)] == [400, 400, 400]
    receiver.clear()
    assert call(receiver, WHOLE)[0] == 200


def test_a_fault_can_be_meant_for_one_resource_alone(receiver: Receiver) -> None:
    receiver.fail(FaultKind.CONFLICT, resource_arn=OTHER_ARN)
    assert call(receiver, WHOLE)[0] == 200
    assert call(receiver, WHOLE | {"resourceArn": OTHER_ARN})[1] == "ConflictException"


def test_an_invalid_request_uses_up_no_fault(receiver: Receiver) -> None:
    receiver.fail(FaultKind.THROTTLING, times=1)
    assert call(receiver, {})[1] == "ValidationException"
    assert call(receiver, WHOLE)[1] == "ThrottlingException"


def test_a_reset_comes_after_the_record_is_kept(receiver: Receiver) -> None:
    receiver.fail(FaultKind.RESET_AFTER_APPLY, times=1)
    with pytest.raises(ConnectionResetError) as reset:
        call(receiver, WHOLE)
    assert not isinstance(reset.value, http.client.RemoteDisconnected), "an orderly end is no reset"
    assert [record.outcome for record in receiver.records()] == ["reset_after_apply"]


def test_half_a_response_is_shorter_than_announced_and_the_record_is_kept(receiver: Receiver) -> None:
    receiver.fail(FaultKind.HALF_RESPONSE, times=1)
    with pytest.raises(http.client.IncompleteRead):
        call(receiver, WHOLE)
    assert [record.outcome for record in receiver.records()] == ["half_response"]


@pytest.mark.parametrize("kind", [FaultKind.HTML, FaultKind.REDIRECT])
def test_an_answer_that_is_not_protons_accepts_nothing(receiver: Receiver, kind: FaultKind) -> None:
    receiver.fail(Fault(kind, location="http://127.0.0.1/elsewhere"), times=1)
    connection = http.client.HTTPConnection(receiver.url.removeprefix("http://"), timeout=5)
    connection.request("POST", "/", json.dumps(WHOLE), HEADERS)
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) in {(200, None), (302, "http://127.0.0.1/elsewhere")}
    assert answer.headers["Content-Type"] == "text/html"
    connection.close()
    assert receiver.records() == ()


# --- GetDeployment ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arn", "names", "kind"),
    [
        (ARN, {"environmentName": "network"}, "ENVIRONMENT"),
        (ARN.replace("environment/network", "component/bucket"), {"componentName": "bucket"}, "COMPONENT"),
        (OTHER_ARN, {"serviceName": "shop", "serviceInstanceName": "prod"}, "SERVICE_INSTANCE"),
        (ARN.replace("environment/network", "service/shop/pipeline"), {"serviceName": "shop"}, "SERVICE_PIPELINE"),
    ],
)
def test_a_deployment_is_told_by_id_and_by_its_resources_names(
    receiver: Receiver, arn: str, names: dict[str, str], kind: str
) -> None:
    for said in ("IN_PROGRESS", "FAILED"):
        call(receiver, WHOLE | {"resourceArn": arn, "status": said})
    status, _, told = ask(receiver, **names)
    first, last = (record.received_at for record in receiver.records())
    assert status == 200
    assert told == names | {
        "arn": f"arn:aws:proton:eu-west-1:123456789012:deployment/{DEPLOYMENT}",
        "id": DEPLOYMENT,
        "targetArn": arn,
        "targetResourceType": kind,
        "targetResourceCreatedAt": first,
        "deploymentStatus": "FAILED",
        "createdAt": first,
        "lastModifiedAt": last,
        "lastAttemptedDeploymentId": DEPLOYMENT,
    }
    assert ask(receiver) == (200, "", told)
    assert ask(receiver, environmentName="elsewhere")[:2] == (400, "ResourceNotFoundException")
    assert len(receiver.records()) == 2, "a question is no record"


def test_a_deployment_nobody_has_heard_of_is_not_found(receiver: Receiver) -> None:
    call(receiver, WHOLE | {"deploymentId": None})
    assert ask(receiver)[:2] == (400, "ResourceNotFoundException")


def test_a_status_that_was_not_told_is_in_progress_and_stays_what_it_was(receiver: Receiver) -> None:
    call(receiver, WHOLE | {"status": None})
    assert ask(receiver)[2]["deploymentStatus"] == "IN_PROGRESS"
    call(receiver, WHOLE)
    call(receiver, WHOLE | {"status": None})
    assert ask(receiver)[2]["deploymentStatus"] == "SUCCEEDED"


def test_a_deployment_can_be_canceled_and_followed_by_another_in_protons_place(receiver: Receiver) -> None:
    call(receiver, WHOLE | {"status": "IN_PROGRESS"})
    receiver.set_deployment(ARN, DEPLOYMENT, "CANCELLED")
    receiver.set_deployment(ARN, NEXT_DEPLOYMENT, "IN_PROGRESS")
    receiver.set_deployment(OTHER_ARN, DEPLOYMENT, "SUCCEEDED")
    told = ask(receiver)[2]
    assert (told["deploymentStatus"], told["lastAttemptedDeploymentId"]) == ("CANCELLED", NEXT_DEPLOYMENT)
    assert ask(receiver, serviceName="shop")[2]["deploymentStatus"] == "SUCCEEDED"
    assert len(receiver.records()) == 1


@pytest.mark.parametrize(
    ("question", "place"),
    [
        ({"deployment_id": None}, "id"),
        ({"deployment_id": DEPLOYMENT.upper()}, "id"),
        ({"environmentName": ""}, "environmentName"),
        ({"componentName": "-c"}, "componentName"),
        ({"serviceName": "s" * 101}, "serviceName"),
        ({"serviceInstanceName": "prod"}, "serviceName"),
    ],
)
def test_a_question_is_judged_as_a_notification_is(receiver: Receiver, question: dict[str, Any], place: str) -> None:
    asking = {"X-Amz-Target": f"AwsProton20200720.{GET_DEPLOYMENT}"}
    body = {"id": question.pop("deployment_id", DEPLOYMENT), **question}
    status, code, text = call(receiver, body, headers=asking)
    assert (status, code) == (400, "ValidationException")
    assert f"'{place}'" in text
    assert call(receiver, {"id": 5}, headers=asking)[:2] == (400, "SerializationException")


def test_faults_are_for_notifications_unless_they_are_for_questions(receiver: Receiver) -> None:
    call(receiver, WHOLE)
    receiver.fail(FaultKind.CONFLICT)
    assert ask(receiver)[0] == 200
    receiver.fail(FaultKind.ACCESS_DENIED, resource_arn=ARN, operation=GET_DEPLOYMENT)
    assert ask(receiver)[1] == "AccessDeniedException"
    assert call(receiver, WHOLE)[1] == "ConflictException"
    receiver.clear()
    receiver.fail(FaultKind.HALF_RESPONSE, operation=GET_DEPLOYMENT)
    with pytest.raises(http.client.IncompleteRead):
        ask(receiver)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("fault", [Fault(FaultKind.LATENCY, delay=3600), Fault(FaultKind.HOLD)], ids=["late", "held"])
def test_closing_ends_idle_connections_and_answers_that_are_held_back(fault: Fault) -> None:
    with Receiver() as receiver, ThreadPoolExecutor() as pool:
        idle = socket.create_connection(("127.0.0.1", int(receiver.url.rpartition(":")[2])), timeout=5)
        receiver.fail(fault)
        held = pool.submit(call, receiver, WHOLE)
        with receiver._ledger.changed:
            assert receiver._ledger.changed.wait_for(lambda: receiver.requests == 1, 5)
        receiver.close()
        with pytest.raises(http.client.RemoteDisconnected):
            held.result(timeout=5)
        assert idle.recv(1) == b""
        idle.close()
        assert receiver.records() == ()
        receiver.close()


def test_a_held_request_is_applied_when_it_is_released_and_not_before(receiver: Receiver) -> None:
    held = receiver.hold(times=1)
    with ThreadPoolExecutor() as pool:
        early = pool.submit(call, receiver, WHOLE | {"status": "IN_PROGRESS"})
        held.wait(5)
        assert call(receiver, WHOLE)[0] == 200
        assert [record.status for record in receiver.records()] == ["SUCCEEDED"]
        held.release(applied=True)
        assert early.result(timeout=5)[0] == 200
    assert [(record.status, record.outcome) for record in receiver.records()][1:] == [("IN_PROGRESS", "hold")]


def test_a_held_request_is_applied_although_its_sender_has_gone(receiver: Receiver) -> None:
    held = receiver.hold(times=1)
    gone = http.client.HTTPConnection(receiver.url.removeprefix("http://"), timeout=5)
    gone.request("POST", "/", json.dumps(WHOLE), HEADERS)
    held.wait(5)
    gone.close()
    held.release(applied=True)
    [record] = receiver.wait_for(lambda records: len(records) == 1, 5)
    assert record.status_message == "Apply complete."


def test_a_held_request_can_come_to_nothing(receiver: Receiver) -> None:
    held = receiver.hold(resource_arn=ARN)
    with ThreadPoolExecutor() as pool:
        lost = [pool.submit(call, receiver, WHOLE) for _ in range(2)]
        held.wait(5, requests=2)
        assert call(receiver, WHOLE | {"resourceArn": OTHER_ARN})[0] == 200
        held.release(applied=False)
        for future in lost:
            with pytest.raises(http.client.RemoteDisconnected):
                future.result(timeout=5)
    assert [record.resource_arn for record in receiver.records()] == [OTHER_ARN]
    with pytest.raises(TimeoutError, match="2 requests are held"):
        held.wait(0.01, requests=3)


def test_latency_accepts_late(receiver: Receiver) -> None:
    receiver.fail(Fault(FaultKind.LATENCY, delay=0.01), times=1)
    assert call(receiver, WHOLE)[0] == 200
    assert [record.outcome for record in receiver.records()] == ["accepted"]


def test_waiting_ends_when_the_records_are_there_and_says_when_they_are_not(receiver: Receiver) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(receiver.wait_for, lambda records: len(records) == 2, 5)
        call(receiver, WHOLE)
        call(receiver, WHOLE)
        assert len(waiting.result(timeout=5)) == 2
    with pytest.raises(TimeoutError, match="2 records came"):
        receiver.wait_for(lambda records: len(records) == 3, 0.01)


def test_numbers_ascend_in_memory_in_the_file_and_for_the_listener(tmp_path: Any) -> None:
    path = tmp_path / "records.jsonl"
    heard: list[Record] = []
    with Receiver(journal_path=str(path), on_accepted=heard.append) as receiver:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: call(receiver, WHOLE), range(80)))
        records = receiver.records()
    assert [record.number for record in records] == list(range(1, 81))
    assert heard == list(records)
    assert path.read_text().splitlines() == [json_line(record) for record in records]
    assert path.stat().st_mode & 0o777 == 0o600
    with Receiver(journal_path=str(path)) as receiver:
        call(receiver, WHOLE)
    assert len(path.read_text().splitlines()) == 81


def test_what_cannot_be_written_is_not_accepted() -> None:
    with Receiver(journal_path="/dev/full") as receiver:
        assert call(receiver, WHOLE)[:2] == (500, "InternalServerException")
        assert receiver.records() == ()


def test_a_file_that_cannot_be_opened_is_said_at_once(tmp_path: Any) -> None:
    with pytest.raises(AgentError, match="cannot be written"):
        Receiver(journal_path=str(tmp_path / "missing" / "records.jsonl"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "localhost", "192.0.2.1", "", "127.0.0.1.example.org"])
def test_it_listens_on_a_literal_loopback_address_only(host: str) -> None:
    with pytest.raises(UsageInvalid, match=r"127\.0\.0\.1") as refused:
        Receiver(host)
    assert refused.value.problems[0].where == host


def test_told_so_it_listens_elsewhere() -> None:
    with Receiver("0.0.0.0", allow_remote=True) as receiver:
        assert receiver.url.startswith("http://0.0.0.0:")


def test_a_port_that_is_taken_is_a_problem_with_a_place(receiver: Receiver) -> None:
    port = int(receiver.url.rpartition(":")[2])
    with pytest.raises(AgentError) as refused:
        Receiver(port=port)
    assert refused.value.problems[0].where == f"127.0.0.1:{port}"
    with pytest.raises(AgentError):
        Receiver(port=70_000)


def test_faults_have_names() -> None:
    assert Fault.named("throttlingexception").kind is FaultKind.THROTTLING
    assert Fault.named("Half_Response").kind is FaultKind.HALF_RESPONSE
    for kind in FaultKind:
        assert Fault.named(kind.value) == Fault.named(kind.name) == Fault(kind)
    with pytest.raises(UsageInvalid, match="known are"):
        Fault.named("earthquake")
    with pytest.raises(UsageInvalid):
        serve("127.0.0.1", 0, "earthquake", emit=print)


def test_the_human_line_cannot_steer_a_terminal() -> None:
    record = Record(1, 0.0, ARN, None, "FAILED", "\x1b[2J\u202egone", {}, "half_response")
    line = human_line(record)
    assert line.isascii()
    assert line.isprintable()
    assert line.endswith("[half_response]")


SERVE = """
import sys
from proton_tf_agent.receiver import serve
listening = lambda url: print(url, file=sys.stderr, flush=True)
print(serve("127.0.0.1", 0, emit=lambda line: {emit}, on_listening=listening, as_json={as_json}), flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("as_json", [True, False])
def test_in_the_foreground_it_tells_each_notification_and_ends_on_a_signal(
    as_json: bool, number: signal.Signals
) -> None:
    code = SERVE.format(emit="print(line, flush=True)", as_json=as_json)
    with foreground(code) as (running, port):
        send_to(port)
        line = running.stdout.readline() if running.stdout else ""
        running.send_signal(number)
        rest, _ = running.communicate(timeout=10)
    assert json.loads(line)["resource_arn"] == ARN if as_json else f"#1 {ARN} {DEPLOYMENT}: SUCCEEDED" in line
    assert (running.returncode, rest.strip()) == (0, str(number))


def test_in_the_foreground_it_ends_when_nobody_reads() -> None:
    full = '__import__("os").write(__import__("os").open("/dev/full", 1), b"x")'
    with foreground(SERVE.format(emit=full, as_json=True)) as (running, port):
        assert send_to(port) == b"{}"
        rest, _ = running.communicate(timeout=10)
    assert (running.returncode, rest.strip()) == (0, "None")


class foreground:  # noqa: N801 - reads as a word where it is used
    """A receiver in a program of its own; ends with it whatever happens."""

    def __init__(self, code: str) -> None:
        self._program = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self) -> tuple[subprocess.Popen[str], int]:
        assert self._program.stderr is not None
        return self._program, int(self._program.stderr.readline().rpartition(":")[2])

    def __exit__(self, *_: object) -> None:
        self._program.kill()
        self._program.communicate(timeout=10)


def send_to(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST", "/", json.dumps(WHOLE), HEADERS)
        return connection.getresponse().read()
    finally:
        connection.close()
