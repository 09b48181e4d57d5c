"""The pulse: systemd is pinged as long as every part gets on, and never when one does not."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest

from proton_tf_agent.pulse import Pulse, patience

PATIENCE_S = 60.0


class Time:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A pulse whose words are kept, and its clock."""

    def __init__(self) -> None:
        self.time = Time()
        self.notified: list[str] = []
        self.told: list[tuple[str, Mapping[str, object]]] = []
        self.pulse = Pulse(PATIENCE_S, self.notified.append, lambda *told: self.told.append(told), self.time)

    def pass_by(self, seconds: float, *beating: str) -> list[str]:
        """Let time pass, in which these parts beat every second; returns what systemd was told meanwhile."""
        self.notified.clear()
        turn_at = self.time.now + self.pulse.every
        for _ in range(int(seconds)):
            self.time.now += 1
            for part in beating:
                self.pulse.beat(part)
            if self.time.now >= turn_at:
                self.pulse.turn()
                turn_at += self.pulse.every
        return list(self.notified)


@pytest.fixture
def watched() -> Watched:
    watched = Watched()
    watched.pulse.beat("observer")
    watched.pulse.beat("relay")
    watched.pulse.ready()
    return watched


def test_systemd_is_pinged_well_within_its_patience_as_long_as_all_parts_get_on(watched: Watched) -> None:
    assert watched.pass_by(600, "observer", "relay") == ["WATCHDOG=1"] * 40
    assert watched.told == []


@pytest.mark.parametrize("alive", ["observer", "relay"])
def test_a_part_that_hangs_stops_the_pings_whatever_the_other_one_does(watched: Watched, alive: str) -> None:
    watched.pass_by(PATIENCE_S / 2, alive)
    assert watched.pass_by(600, alive) == []
    (hanging,) = {"observer", "relay"} - {alive}
    ((name, keys),) = watched.told
    assert (name, keys["part"], keys["silent_s"]) == ("agent.stalled", hanging, 45.0)


def test_a_part_that_goes_on_is_pinged_for_again(watched: Watched) -> None:
    watched.pass_by(100, "relay")
    assert watched.pass_by(15, "observer", "relay") == ["WATCHDOG=1"]
    watched.pass_by(100, "relay")
    assert [name for name, _ in watched.told] == ["agent.stalled"] * 2, "once for each time"


def test_a_part_that_has_left_is_not_waited_for(watched: Watched) -> None:
    watched.pulse.leave("relay")
    assert watched.pass_by(60, "observer") == ["WATCHDOG=1"] * 4


def test_before_it_is_ready_it_asks_for_time_as_long_as_it_gets_on() -> None:
    watched = Watched()
    assert watched.pass_by(60) == [], "nothing has begun"
    assert watched.pass_by(60, "observer") == ["EXTEND_TIMEOUT_USEC=60000000"] * 4
    watched.pass_by(PATIENCE_S / 2)
    assert watched.pass_by(60) == []


def test_it_is_said_at_which_function_a_part_hangs_and_no_value(watched: Watched) -> None:
    begun, released = threading.Event(), threading.Event()

    def wait_for_a_secret(secret: str) -> None:
        watched.pulse.beat("relay")
        begun.set()
        released.wait()
        assert secret

    thread = threading.Thread(target=wait_for_a_secret, args=("hunter2-hunter2",))
    thread.start()
    begun.wait()
    try:
        watched.pass_by(60, "observer")
    finally:
        released.set()
        thread.join()
    ((_, keys),) = watched.told
    assert "test_pulse.py" in str(keys["at"])
    assert "wait_for_a_secret" in str(keys["at"])
    assert "hunter2" not in str(keys)


def test_its_thread_pings_by_itself_and_ends_when_it_is_stopped() -> None:
    pinged = threading.Event()
    pulse = Pulse(0.04, lambda _word: pinged.set(), lambda *_told: None, lambda: 0.0)
    pulse.beat("observer")
    pulse.start()
    assert pinged.wait(10)
    pulse.stop()
    assert "pulse" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 60),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "42"}, 3),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "43"}, 60),  # a parent's, not ours
        ({}, 60),
        ({"WATCHDOG_USEC": "0"}, 60),
        ({"WATCHDOG_USEC": "soon"}, 60),
    ],
)
def test_its_patience_is_that_of_the_unit(environment: dict[str, str], seconds: float) -> None:
    assert patience(environment, 42) == seconds
