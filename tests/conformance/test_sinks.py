"""What every sink promises, proven for every row of SINKS in the same words.

A new sink joins with one module in `support/rigs`: how to build it, what it has told, and how to break what stands
behind it.
"""

from __future__ import annotations

import gc
import importlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import pytest
from support.rigs import TYPES, faults_of, rig_of

from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.domain.run import RunStatus
from proton_tf_agent.domain.values import replace
from proton_tf_agent.settings.sink_keys import SINK_KEYS
from proton_tf_agent.sinks import SINKS, Continues, Reachable, ReadsBack, sink_type

pytestmark = pytest.mark.usefixtures("aws_environment")

WHOLE = Notification(
    notification_id="ntf-0123456789abcdef0123",
    run_id="run-1",
    resource_arn="arn:aws:proton:eu-west-1:123456789012:environment/network",
    deployment_id="0a1b2c3d-0000-4000-8000-0123456789ab",
    status=Status.SUCCEEDED,
    status_message="Apply complete: 3 added, 0 changed, 0 destroyed.",
    outputs=(("VpcId", "vpc-1"), ("Naïve", '["\N{GRINNING FACE}"]')),
    run_status=RunStatus.APPLIED,
    resource_deleted=False,
    directory="/srv/infra/network",
    workspace="default",
    created_at=1_700_000_000.0,
)
BARE = replace(WHOLE, deployment_id=None, status_message="", outputs=(), workspace=None)


FAULTS = [(type_name, fault) for type_name in TYPES for fault in faults_of(type_name)]
every_sink = pytest.mark.parametrize("type_name", TYPES)


def test_every_sink_there_is_takes_part() -> None:
    assert set(TYPES) == set(SINKS)


@every_sink
def test_a_sink_has_the_name_it_was_given(type_name: str) -> None:
    with rig_of(type_name) as rig:
        assert rig.sink.name == type_name


@every_sink
def test_a_sink_wants_ordinary_notifications_and_asks_nobody(type_name: str) -> None:
    with rig_of(type_name) as rig:
        assert rig.sink.wants(rig.fits(WHOLE)) is True
        assert rig.sink.wants(rig.fits(BARE)) is True
        assert isinstance(rig.sink.wants(replace(WHOLE, resource_deleted=True)), bool)


@every_sink
@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("notification", [WHOLE, BARE], ids=["whole", "bare"])
def test_what_is_sent_arrives_and_is_accepted(type_name: str, notification: Notification, status: Status) -> None:
    with rig_of(type_name) as rig:
        outcome = rig.sink.send(rig.fits(replace(notification, status=status)))
        assert (outcome.kind, outcome.code, outcome.ambiguous) == (OutcomeKind.ACCEPTED, "", False)
        assert rig.told() == [notification.status_message] if rig.takes_text else len(rig.told()) == 1


@every_sink
def test_a_run_of_no_resource_is_told_where_the_settings_may_ask_for_it(type_name: str) -> None:
    """By its name or its directory; a sink that has no word for such a run wants none, and has no key `unbound`."""
    (key,) = (key for key in SINK_KEYS if key.name == "unbound")
    unbound = replace(BARE, resource_arn=None, status_message="of nobody")
    with rig_of(type_name) as rig:
        assert rig.sink.wants(unbound) == key.applies(type_name)
        for told in (unbound, replace(unbound, name="network")) if key.applies(type_name) else ():
            assert rig.sink.send(told).kind is OutcomeKind.ACCEPTED
            assert not rig.takes_text or rig.told()[-1] == "of nobody"


@every_sink
def test_order_is_kept(type_name: str) -> None:
    with rig_of(type_name) as rig:
        texts, reference = [f"text {number}" for number in range(20)], ""
        for text, status in zip(texts, cycle((Status.FAILED, Status.SUCCEEDED)), strict=False):
            told = rig.fits(replace(WHOLE, status_message=text, status=status))
            sink = rig.sink
            outcome = sink.send_on(told, reference) if isinstance(sink, Continues) else sink.send(told)
            assert outcome.kind is OutcomeKind.ACCEPTED
            reference = outcome.request_id
        assert rig.told() == texts if rig.takes_text else len(rig.told()) == len(texts)


@pytest.mark.parametrize(("type_name", "fault"), FAULTS)
def test_every_failure_is_an_outcome_and_what_may_have_arrived_is_called_ambiguous(type_name: str, fault: str) -> None:
    """Never an exception. Twice, because the second attempt starts from what the first one left behind."""
    with rig_of(type_name) as rig:
        rig.faults[fault]()
        for _ in range(2):
            outcome = rig.sink.send(rig.fits(WHOLE))
            assert isinstance(outcome, Outcome)
            assert outcome.kind is not OutcomeKind.ACCEPTED
            assert outcome.code
            assert outcome.ambiguous or rig.told() == []


@pytest.mark.parametrize(
    ("type_name", "fault"), [(name, fault) for name, fault in FAULTS if hasattr(sink_type(name), "read_back")]
)
def test_a_sink_that_can_be_asked_answers_whatever_has_failed(type_name: str, fault: str) -> None:
    """An outcome of asking, never an exception; asking tells nothing."""
    with rig_of(type_name) as rig:
        assert isinstance(rig.sink, ReadsBack)
        rig.faults[fault]()
        sent = rig.sink.send(rig.fits(WHOLE))
        told = rig.told()
        outcome = rig.sink.read_back(WHOLE)
        assert outcome.code
        assert not outcome.ambiguous
        assert outcome.kind is not OutcomeKind.ACCEPTED
        assert outcome.kind is not OutcomeKind.CONFIRMED or (sent.ambiguous and told)
        assert rig.sink.read_back(BARE).kind is OutcomeKind.CONFLICT
        assert rig.told() == told


@pytest.mark.parametrize(
    ("type_name", "fault"), [(name, fault) for name, fault in FAULTS if hasattr(sink_type(name), "try_out")]
)
def test_trying_a_sink_out_tells_nothing_and_never_raises_whatever_fails(type_name: str, fault: str) -> None:
    with rig_of(type_name) as rig:
        assert isinstance(rig.sink, Reachable)
        assert rig.sink.try_out().kind is OutcomeKind.ACCEPTED
        rig.faults[fault]()
        assert isinstance(rig.sink.try_out(), Outcome)
        assert rig.told() == []


def test_every_fault_of_every_rig_is_tried() -> None:
    for type_name in TYPES:
        with rig_of(type_name) as rig:
            assert set(faults_of(type_name)) == set(rig.faults)


@every_sink
def test_a_sink_can_be_used_by_many_threads_from_its_first_moment(type_name: str) -> None:
    texts = [f"text {number}" for number in range(80)]
    start = threading.Barrier(8)

    def send(share: list[str]) -> list[OutcomeKind]:
        start.wait(5)
        return [rig.sink.send(rig.fits(replace(WHOLE, status_message=text))).kind for text in share]

    with rig_of(type_name) as rig, ThreadPoolExecutor(8) as pool:
        kinds = list(pool.map(send, [texts[n::8] for n in range(8)]))
        assert {kind for share in kinds for kind in share} == {OutcomeKind.ACCEPTED}
        assert not rig.takes_text or sorted(rig.told()) == sorted(texts)


@every_sink
def test_closing_leaves_nothing_open_and_refuses_what_comes_later(type_name: str) -> None:
    with rig_of(type_name) as rig:  # what is imported or cached once does not count
        rig.sink.send(rig.fits(WHOLE))
    gc.collect()
    before = (set(os.listdir("/proc/self/fd")), set(threading.enumerate()))
    with rig_of(type_name) as rig:
        rig.sink.send(rig.fits(WHOLE))
        rig.sink.close()
        rig.sink.close()
        late = rig.sink.send(rig.fits(WHOLE))
        assert (late.kind, late.code, late.ambiguous) == (OutcomeKind.UNAVAILABLE, "SinkClosed", False)
        assert len(rig.told()) == 1
    assert (set(os.listdir("/proc/self/fd")), set(threading.enumerate())) == before


@every_sink
def test_a_sink_that_never_sent_can_be_closed(type_name: str) -> None:
    with rig_of(type_name) as rig:
        rig.sink.close()


@every_sink
def test_every_row_of_the_table_names_a_class(type_name: str) -> None:
    module, _, name = SINKS[type_name].partition(":")
    assert isinstance(getattr(importlib.import_module(module), name), type)


def test_importing_and_building_sinks_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from proton_tf_agent.sinks import SINKS, sink_type\n"
        "sink_type('console')('c')\n"
        "sink_type('proton')('p', 'eu-west-1').close()\n"
        "from proton_tf_agent.aws_service import Place\n"
        "sink_type('eventbridge')('e', Place('eu-west-1'), 'bus', 'proton-tf-agent://here').close()\n"
        "sink_type('sns')('n', Place('eu-west-1'), 'arn:aws:sns:eu-west-1:1:t', 'proton-tf-agent://here').close()\n"
        "sink_type('sqs')('q', Place('eu-west-1'), 'https://x/1/q', 'proton-tf-agent://here').close()\n"
        "sink_type('service_catalog')('c', Place('eu-west-1')).close()\n"
        "heavy = {'boto3', 'botocore', 'urllib3', 'hcl2', 'watchdog', 'structlog', 'sqlite3'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
