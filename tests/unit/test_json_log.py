"""Terraform's machine-readable UI as evidence: what is believed, and all the lines that are not."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from support.facts import LOGS, facts_of, recorded

from proton_tf_agent.domain import evidence as ev
from proton_tf_agent.domain.evidence import Evidence, Mark, Operation, Output
from proton_tf_agent.sources import json_log

VERSION = {
    "@level": "info",
    "@message": "Terraform 1.11.4",
    "@module": "terraform.ui",
    "@timestamp": "2026-11-23T02:33:44.862242Z",
    "terraform": "1.11.4",
    "type": "version",
    "ui": "1.2",
}


def line(kind: str = "", **members: Any) -> bytes:
    document = {"@level": "info", "@message": "", "@module": "terraform.ui", "@timestamp": "2026-11-23T02:33:45Z"}
    return json.dumps(document | {"type": kind} | members, ensure_ascii=False).encode() + b"\n"


def version(**changes: Any) -> bytes:
    document = {key: value for key, value in (VERSION | changes).items() if value is not None}
    return json.dumps(document).encode() + b"\n"


def seen(*lines: bytes) -> list[Evidence]:
    """The evidence behind a version line."""
    facts = facts_of(version() + b"".join(lines))
    assert isinstance(facts[0].evidence, ev.OperationStarted)
    return [fact.evidence for fact in facts[1:]]


SUMMARY = line("change_summary", changes={"add": 3, "change": 0, "import": 0, "remove": 1, "operation": "apply"})
APPLIED = ev.ApplySummarised(3, 0, 1)


@pytest.mark.parametrize(
    ("members", "evidence"),
    [
        ({"kind": "refresh_start", "hook": {"resource": {"addr": "a.b"}}}, ev.ResourceRefreshed("a.b")),
        (
            {"kind": "apply_start", "hook": {"resource": {"addr": "data.a.b"}, "action": "read"}},
            ev.ResourceRefreshed("data.a.b"),
        ),
        (
            {"kind": "apply_start", "hook": {"resource": {"addr": "a.b"}, "action": "create"}},
            ev.ApplyStarted("a.b"),
        ),
        (
            {"kind": "apply_complete", "hook": {"resource": {"addr": "a.b"}, "action": "create"}},
            ev.ResourceApplied("a.b"),
        ),
        (
            {"kind": "apply_errored", "hook": {"resource": {"addr": "a.b"}, "action": "create"}},
            ev.ResourceErrored("a.b"),
        ),
        (
            {"kind": "planned_change", "change": {"resource": {"addr": "a.b"}, "action": "delete", "reason": "r"}},
            ev.ChangePlanned("a.b", "delete", "r"),
        ),
        (
            {"kind": "planned_change", "change": {"resource": {"addr": "a.b"}, "action": "noop"}},
            ev.ResourceRefreshed("a.b"),
        ),
        (
            {"kind": "change_summary", "changes": {"add": 1, "import": 2, "operation": "plan", "forget": 3}},
            ev.PlanSummarised(1, 0, 0, 2, 3),
        ),
        ({"kind": "change_summary", "changes": {"remove": 3, "operation": "apply"}}, ev.ApplySummarised(0, 0, 3)),
        (
            {"kind": "change_summary", "changes": {"remove": 3, "operation": "destroy"}},
            ev.ApplySummarised(0, 0, 3, 0, Operation.DESTROY),
        ),
        ({"kind": "outputs", "outputs": {"a": {"action": "noop"}}}, ev.OutputsPlanned(False)),
        ({"kind": "outputs", "outputs": {"a": {"action": "noop"}, "b": {"action": "update"}}}, ev.OutputsPlanned(True)),
        ({"kind": "outputs", "outputs": {}}, ev.OutputsReported(())),
        (
            {"kind": "log", "@message": "\nInterrupt received.\nPlease wait for Terraform to exit"},
            ev.InterruptRequested(),
        ),
        (
            {"kind": "log", "@message": "Two interrupts received. Exiting immediately."},
            ev.InterruptRequested(forced=True),
        ),
        ({"kind": "init_output", "message_code": "x"}, ev.OtherCommandStarted("init")),
        ({"kind": "test_abstract"}, ev.OtherCommandStarted("test")),
        ({"kind": "list_start"}, ev.OtherCommandStarted("query")),
    ],
)
def test_each_message_says_one_thing(members: dict[str, Any], evidence: Evidence) -> None:
    assert seen(line(**members)) == [evidence]


@pytest.mark.parametrize("operation", ["", "refresh", "Apply", "apply ", None, 3])
def test_a_summary_of_any_other_operation_proves_nothing(operation: object) -> None:
    assert seen(line("change_summary", changes={"add": 3, "operation": operation})) == []


def test_an_error_keeps_its_summary_and_address_and_never_its_detail() -> None:
    diagnostic = {
        "severity": "error", "summary": "Bad thing", "address": "a.b", "detail": "password hunter2",
        "snippet": {"code": "hunter2", "values": [{"traversal": "x", "statement": "is hunter2"}]},
    }  # fmt: skip
    assert seen(line("diagnostic", diagnostic=diagnostic)) == [ev.ErrorReported("Bad thing", "a.b")]
    assert "hunter2" not in repr(recorded("sensitive_diag.log"))


def test_a_warning_is_no_evidence() -> None:
    assert seen(line("diagnostic", diagnostic={"severity": "warning", "summary": "Check block failed"})) == []


def test_a_refused_lock_names_its_holder() -> None:
    assert [fact.evidence for fact in recorded("lock_refused.log")][1:] == [
        ev.LockRefused("a3d8f6c5-b9ab-3d0f-2686-aa74e69a331a"),
        ev.ErrorReported("Error acquiring the state lock"),
    ]


def test_a_lock_file_that_could_not_be_made_is_no_contention() -> None:
    diagnostic = {
        "severity": "error", "summary": "Error acquiring the state lock",
        "detail": "Error message: open .terraform.tfstate.lock.info: permission denied",
    }  # fmt: skip
    assert seen(line("diagnostic", diagnostic=diagnostic)) == [ev.ErrorReported("Error acquiring the state lock")]


def test_a_state_that_could_not_be_saved_is_told_beside_the_error() -> None:
    kinds = Counter(type(fact.evidence) for fact in recorded("state_disk_full.log"))
    assert kinds[ev.StateSaveFailed] == 2
    assert kinds[ev.ErrorReported] == 3


def test_final_outputs_carry_their_json_text_and_sensitive_ones_carry_nothing() -> None:
    content = (
        b'{"@module":"terraform.ui","type":"outputs","outputs":{"n":{"sensitive":false,"type":"number",'
        b'"value":12345678901234567890.10},"s":{"sensitive":true,"type":"string"},'
        b'"leak":{"sensitive":true,"type":"string","value":"hunter2"},'
        b'"o":{"sensitive":false,"value":{"b": [1e400]}}}}\n'
    )
    assert seen(content) == [
        ev.OutputsReported(
            (
                Output("n", "12345678901234567890.10"),
                Output("s", None, sensitive=True),
                Output("leak", None, sensitive=True),
                Output("o", '{"b": [1e400]}'),
            )
        )
    ]


def test_a_recorded_apply_is_told_from_its_first_line_to_its_outputs() -> None:
    facts = recorded("apply_ok.log")
    kinds = Counter(type(fact.evidence).__name__ for fact in facts)
    assert kinds == {
        "OperationStarted": 1, "ChangePlanned": 3, "PlanSummarised": 1, "OutputsPlanned": 1, "ApplyStarted": 3,
        "ResourceApplied": 3, "ApplySummarised": 1, "OutputsReported": 1,
    }  # fmt: skip
    assert len({fact.anchor for fact in facts}) == 1
    positions = [fact.position for fact in facts]
    assert positions[0] == 0
    assert positions == sorted(set(positions), key=lambda position: position or 0)


# --- what is no message ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "noise",
    [
        b"\n",
        b"\r\n",
        b"\0\0\0\n",
        b"\xff\xfe{ broken utf-8\n",
        b'{"@module":"terraform.ui","type":"change_summary","x":"\xff\xfe","changes":{"add":"\n',
        b"Apply complete! Resources: 3 added, 0 changed, 0 destroyed.\n",
        b"\x1b[1m\x1b[32mApply complete! Resources: 3 added.\x1b[0m\n",
        b"[]\n",
        b"{}\n",
        b'{"type":"change_summary","changes":{"add":3,"operation":"apply"}}\n',  # no @module
        b'{"@level":"trace","@message":"x","@module":"terraform.ui","@timestamp":"x"}\n',  # TF_LOG=json: no type
        b'{"@level":"debug","@message":"x","@module":"provider.terraform","type":"version"}\n',
        SUMMARY.replace(b"terraform.ui", b"terraform"),
        SUMMARY.replace(b'"change_summary"', b"7"),
        SUMMARY.replace(b'"terraform.ui"', b'["terraform.ui"]'),
        SUMMARY.rstrip()[:-1] + b"\n",
        b" " + SUMMARY,
        b"terraform_data.x (local-exec): " + SUMMARY,
        SUMMARY.rstrip() + SUMMARY,
        line("something_new", changes={"add": 3, "operation": "apply"}),
        line("change_summary", changes=[]),
        line("change_summary", changes={"add": "3", "operation": "apply"}),
        line("diagnostic", diagnostic={"severity": "error", "summary": 7}),
        line("outputs", outputs=[]),
        b'{"@module":"terraform.ui","type":"outputs","outputs":' + b'{"a":' * 5000 + b"1" + b"}" * 5001 + b"\n",
        b'{"@module":"terraform.ui","type":"outputs","outputs":{"a":{"value":' + b"[" * 50_000 + b"\n",
        b'{"@module":"terraform.ui","outputs":{"a":{"value":"\xff\xfe"}},"type":"outputs"}\n',
        b'{"@module":"terraform.ui","outputs":{"a":{"value":"\\ud800"}},"type":"outputs"}\n',
        b'{"@module":"terraform","changes":{"add":3,"operation":"apply"},"type":"change_summary"}\n',
        b'{"changes":{"add":3,"operation":"apply"},"type":"change_summary"}\n',
        b'{"@module":"terraform.ui","x":{"changes":{"add":3,"operation":"apply"},"type":"change_summary"}}\n',
        b'{"@module":"terraform.ui","x":"\\",\\"type\\":\\"change_summary\\"}"}\n',
        b'{"@module":"terraform.ui","changes":{"add":3,"operation":"apply"},"type":"change_summary"}}\n',
        b'{"@module":"terraform.ui","changes":{"add":3,"operation":"apply"},,"type":"change_summary"}\n',
        b'{"@module":"terraform.ui","changes":{"add":3,"operation":"apply"},"type":"change_summary","type":"log"}\n',
        line("log", **{"@message": "The provisioner said: Interrupt received."}),
    ],
    ids=lambda noise: repr(noise[:40]),
)
def test_a_line_that_is_no_message_says_nothing_and_hides_nothing(noise: bytes) -> None:
    assert seen(noise) == []
    assert seen(noise, SUMMARY, noise) == [APPLIED]


@pytest.mark.parametrize(
    "report", [b"panic: oh\n", b"fatal error: oh\n", b"SIGQUIT: quit\n", b"goroutine 1 [running]:\n"]
)
def test_a_crash_report_comes_in_no_other_form_and_counts_once(report: bytes) -> None:
    assert seen(report, b"goroutine 7 [select]:\n", report) == [ev.CrashReported()]


def test_the_crash_of_a_provider_is_not_terraforms() -> None:
    assert seen(b"Stack trace from the terraform-provider-x plugin:\n", b"panic: oh\n", SUMMARY) == [APPLIED]


def test_what_a_provisioner_prints_is_no_message_however_it_looks() -> None:
    forged = SUMMARY.decode().strip()
    hook = {"resource": {"addr": "a.b"}, "provisioner": "local-exec", "output": forged, "type": "change_summary"}
    assert seen(line("provision_progress", hook=hook, **{"@message": f"a.b: (local-exec): {forged}"})) == []


def test_lines_that_end_like_windows_are_read_the_same() -> None:
    content = (LOGS / "apply_ok.log").read_bytes()
    evidence = [fact.evidence for fact in facts_of(content)]
    dos = facts_of(content.replace(b"\n", b"\r\n"))
    assert [fact.evidence for fact in dos] == evidence
    assert dos[0].anchor == facts_of(content)[0].anchor


def test_lines_of_the_debug_log_between_the_messages_change_nothing() -> None:
    trace = b'{"@level":"trace","@message":"{\\"type\\":\\"version\\"}","@timestamp":"2026-11-23T02:33:44Z"}\n'
    content = (LOGS / "apply_ok.log").read_bytes()
    mixed = trace + content.replace(b"\n", b"\n" + trace + b"2026-11-23 [WARN] unverified\n")
    assert [fact.evidence for fact in facts_of(mixed)] == [fact.evidence for fact in facts_of(content)]


def test_a_line_of_two_megabytes_is_read_like_any_other() -> None:
    big = "x" * (2 << 20)
    evidence = seen(line("outputs", outputs={"big": {"sensitive": False, "value": big}}), SUMMARY)
    assert evidence == [ev.OutputsReported((Output("big", json.dumps(big)),)), APPLIED]


# --- where a run begins and ends -------------------------------------------------------------------------------


def test_nothing_is_believed_before_a_version_line() -> None:
    assert facts_of(SUMMARY * 3) == ()


@pytest.mark.parametrize("ui", ["2.0", "0.1", "", "x", "11.0", None, 1.2])
def test_an_unknown_major_version_of_the_ui_is_refused_with_all_that_follows(ui: object) -> None:
    assert facts_of(version(ui=ui) + SUMMARY) == ()


@pytest.mark.parametrize("ui", ["1.0", "1.2", "1.99", "1"])
def test_every_minor_version_of_the_ui_is_understood(ui: str) -> None:
    assert len(facts_of(version(ui=ui) + SUMMARY)) == 2


def test_a_run_of_an_unknown_ui_ends_the_one_before_it() -> None:
    facts = facts_of(version() + version(ui="2.0", **{"@timestamp": "2027-01-01T00:00:00Z"}) + SUMMARY)
    assert [type(fact.evidence) for fact in facts] == [ev.OperationStarted, ev.LogClosed]


def test_opentofu_speaks_the_same_language() -> None:
    tofu = {"terraform": None, "tofu": "1.12.6", "@module": "tofu.ui", "@message": "OpenTofu 1.12.6"}
    facts = facts_of(version(**tofu) + SUMMARY.replace(b"terraform.ui", b"tofu.ui"))
    started = facts[0].evidence
    assert isinstance(started, ev.OperationStarted)
    assert (started.tool, started.version) == ("tofu", "1.12.6")
    assert facts[1].evidence == APPLIED


@pytest.mark.parametrize(
    "timestamp",
    ["yesterday", "", "0001-01-01T00:00:00", "9999-12-31T23:59:59-23:59", "2026-11-23T99:00:00Z", None],
)
def test_a_run_that_cannot_be_dated_is_a_run_all_the_same(timestamp: str | None) -> None:
    facts = facts_of(version(**{"@timestamp": timestamp}) + SUMMARY)
    assert [type(fact.evidence) for fact in facts] == [ev.OperationStarted, ev.ApplySummarised]


@pytest.mark.parametrize(
    "timestamp", ["2026-11-23T02:33:44Z", "2026-11-23T03:33:44.000000+01:00", "2026-11-23T02:33:44.000000000Z"]
)
def test_a_run_is_dated_by_its_own_clock_in_any_zone(timestamp: str) -> None:
    started = facts_of(version(**{"@timestamp": timestamp}))[0].evidence
    assert isinstance(started, ev.OperationStarted)
    assert started.at == 1795401224.0


def test_several_runs_in_one_file_are_told_apart_at_their_version_lines() -> None:
    one, two = (LOGS / "apply_ok.log").read_bytes(), (LOGS / "destroy.log").read_bytes()
    facts = facts_of(one + two)
    first, second = facts_of(one), facts_of(two)
    assert facts[: len(first)] == first
    assert facts[len(first)] == ev_fact(ev.LogClosed(), first[0].anchor)
    assert facts[len(first) + 1 :] == second


def ev_fact(evidence: Evidence, anchor: str) -> ev.Fact:
    return ev.Fact(evidence, anchor)


def test_the_same_version_line_read_again_closes_nothing() -> None:
    """A log that is rewritten from its start is the same run, not a second one behind the first."""
    content = version() + SUMMARY
    facts, mark = json_log.read([(0, version()), (200, SUMMARY)], Mark(), "/w")
    assert json_log.read([(0, version()), (200, SUMMARY)], mark, "/w") == (facts, mark)
    assert not any(isinstance(fact.evidence, ev.LogClosed) for fact in facts_of(content + content))


def test_equal_logs_in_two_directories_are_two_runs() -> None:
    content = version()
    assert facts_of(content, "/a")[0].anchor != facts_of(content, "/b")[0].anchor
    assert facts_of(content, "/\udcff")[0].anchor


def test_a_log_read_on_from_its_cursor_goes_on_with_the_same_run() -> None:
    facts, mark = json_log.read([(50, version())], Mark(), "/w")
    later, same = json_log.read([(1050, SUMMARY)], mark, "/w")
    assert (same.anchor, same.offset) == (mark.anchor, mark.offset)
    assert (later[0].anchor, later[0].position) == (facts[0].anchor, 1000)


def test_a_crash_report_behind_a_plan_that_is_done_is_another_programs() -> None:
    lines = [version(), line("change_summary", changes={"add": 1, "operation": "plan"}), b"panic: no\n"]
    facts, _ = json_log.read([(n, line) for n, line in enumerate(lines)], Mark(), "/w")
    assert not any(isinstance(fact.evidence, ev.CrashReported) for fact in facts)
