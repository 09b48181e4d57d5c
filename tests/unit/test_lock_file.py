"""The lock info file as evidence."""

from __future__ import annotations

import json

import pytest

from proton_tf_agent.domain.evidence import Fact, LockPassed, LockReleased, LockReplaced, LockTaken
from proton_tf_agent.sources.lock_file import lock_info_path_of, read, state_path_of

STATE = "/w/terraform.tfstate"
RECORDED = (
    b'{"ID":"f8279044-129b-ffb4-652e-75d8d27abb9c","Operation":"OperationTypeApply","Info":"","Who":"root@vm",'
    b'"Version":"1.11.4","Created":"2026-11-23T02:33:44.863303155Z","Path":"terraform.tfstate"}'
)
LOCK_ID = "f8279044-129b-ffb4-652e-75d8d27abb9c"


def lock(lock_id: object = "L", **other: object) -> bytes:
    return json.dumps({"ID": lock_id, "Operation": "OperationTypePlan"} | other).encode()


def test_the_recorded_lock_is_taken_with_all_that_it_says() -> None:
    facts, lock_id = read(RECORDED, "", STATE)
    assert lock_id == LOCK_ID
    assert facts == (
        Fact(LockTaken(LOCK_ID, "OperationTypeApply", "root@vm", "1.11.4", 1795401224.863303, STATE)),
    )  # fmt: skip


def test_the_same_lock_seen_again_says_nothing_new() -> None:
    assert read(RECORDED, LOCK_ID, STATE) == ((), LOCK_ID)


@pytest.mark.parametrize("length", range(len(RECORDED)))
def test_a_lock_that_is_being_written_says_nothing_and_is_not_released(length: int) -> None:
    """A 0-byte moment lies between creation and content, and a rewrite in place truncates first."""
    assert read(RECORDED[:length], "", STATE) == ((), "")
    assert read(RECORDED[:length], "before", STATE) == ((), "before")


def test_a_lock_file_that_is_gone_is_released_once() -> None:
    assert read(None, LOCK_ID, STATE) == ((Fact(LockReleased(LOCK_ID)),), "")


def test_a_lock_file_that_came_and_went_unread_still_tells_which_state_was_locked() -> None:
    assert read(None, "", STATE) == ((Fact(LockPassed(STATE)),), "")


def test_another_lock_in_the_same_file_replaces_the_one_before() -> None:
    facts, lock_id = read(RECORDED, "before", STATE)
    assert [type(fact.evidence) for fact in facts] == [LockReplaced, LockTaken]
    assert facts[0].evidence == LockReplaced("before")
    assert lock_id == LOCK_ID


@pytest.mark.parametrize(
    "content",
    [
        b"null",
        b"[]",
        b'"x"',
        b"{}",
        lock(""),
        lock(None),
        lock(7),
        lock(["L"]),
        lock() + b"{}",
        lock() + b"\0",
        b"\xff\xfe",
        lock().replace(b'"L"', b'"\xff"'),
        lock().replace(b'"L"', b'"\\ud800"'),
        b'{"ID":' + b"[" * 60_000,
        b'{"x":' + b"[" * 30_000 + b"]" * 30_000 + b',"ID":"L"}',
        b'{"x":' + b"9" * 60_000 + b"}",
        b" " * 65_536,
    ],
    ids=lambda content: repr(content[:24]),
)
def test_what_is_no_lock_info_is_treated_as_being_written(content: bytes) -> None:
    assert read(content, "before", STATE) == ((), "before")


@pytest.mark.parametrize("created", ["yesterday", "", "0001-01-01T00:00:00", "9999-12-31T23:59:59-23:59"])
def test_a_lock_that_cannot_be_dated_is_taken_all_the_same(created: str) -> None:
    facts, _ = read(lock(Created=created), "", STATE)
    assert isinstance(facts[0].evidence, LockTaken)


def test_a_lock_with_a_name_beyond_all_measure_is_taken_once_and_not_at_every_look() -> None:
    content = lock("L" * 1000, Who="w" * 10_000, Version="v" * 10_000, Operation="o" * 10_000)
    facts, lock_id = read(content, "", STATE)
    assert len(repr(facts)) < 1000
    assert read(content, lock_id, STATE) == ((), lock_id)


@pytest.mark.parametrize(
    ("state", "info"),
    [
        ("/w/terraform.tfstate", "/w/.terraform.tfstate.lock.info"),
        ("/w/st/prod.tfstate", "/w/st/.prod.tfstate.lock.info"),
        ("/w/terraform.tfstate.d/blue/terraform.tfstate", "/w/terraform.tfstate.d/blue/.terraform.tfstate.lock.info"),
    ],
)
def test_state_and_lock_info_lie_side_by_side_under_names_that_follow_from_each_other(state: str, info: str) -> None:
    assert lock_info_path_of(state) == info
    assert state_path_of(info) == state
