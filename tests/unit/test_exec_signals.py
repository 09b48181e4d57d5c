"""Which signals are passed on: those that came to the front alone, once each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proton_tf_agent.wrapper.signals import CREDIT_S, WINDOW_S, Forwarding

INT, TERM = 2, 15


def test_a_signal_to_the_front_alone_is_passed_on_once_when_it_is_sure() -> None:
    forwarding = Forwarding()
    forwarding.came_to_front(INT, 10.0)
    assert forwarding.due(10.0) == []
    assert forwarding.due_at() == 10.0 + WINDOW_S
    assert forwarding.due(10.0 + WINDOW_S) == [INT]
    assert (forwarding.due(20.0), forwarding.due_at()) == ([], None)


def test_a_signal_to_all_is_not_passed_on_whoever_hears_of_it_first() -> None:
    for keeper, front in ((10.0, 10.05), (10.05, 10.0)):
        forwarding = Forwarding()
        for at in sorted((keeper, front)):
            (forwarding.came_to_all if at == keeper else forwarding.came_to_front)(INT, at)
        assert forwarding.due(11.0) == []


def test_another_signal_to_all_says_nothing_of_this_one() -> None:
    forwarding = Forwarding()
    forwarding.came_to_all(TERM, 10.0)
    forwarding.came_to_front(INT, 10.0)
    assert forwarding.due(11.0) == [INT]


def test_a_front_that_tells_late_makes_no_second_interrupt_of_one() -> None:
    """It may have been stopped or starved while the keeper was not."""
    forwarding = Forwarding()
    forwarding.came_to_all(INT, 10.0)
    assert forwarding.due(11.0) == []
    forwarding.came_to_front(INT, 10.0 + CREDIT_S - 1)
    assert forwarding.due(20.0) == []


def test_a_signal_to_all_stands_for_one_to_the_front_and_no_more() -> None:
    """The second is a person's second Ctrl-C, or a supervisor's own; losing it would leave Terraform running."""
    forwarding = Forwarding()
    forwarding.came_to_all(INT, 10.0)
    forwarding.came_to_front(INT, 10.0)
    forwarding.came_to_front(INT, 10.5)
    assert forwarding.due(11.0) == [INT]


def test_a_signal_to_all_that_nobody_told_of_is_forgotten_in_time() -> None:
    forwarding = Forwarding()
    forwarding.came_to_all(INT, 10.0)
    assert forwarding.due(10.0 + CREDIT_S) == []
    forwarding.came_to_front(INT, 10.0 + CREDIT_S)
    assert forwarding.due(20.0) == [INT]


@given(st.lists(st.tuples(st.sampled_from(["all", "front"]), st.sampled_from([INT, TERM])), max_size=12))
def test_whatever_comes_each_signal_reaches_terraform_once(sent: list[tuple[str, int]]) -> None:
    """A second apart, so that nothing is one to the kernel."""
    forwarding, got = Forwarding(), []
    for at, (to, number) in enumerate(sent, 10):
        if to == "all":
            got.append(number)  # Terraform is one of all
            forwarding.came_to_all(number, at + 0.001)
        forwarding.came_to_front(number, float(at))
        got += forwarding.due(at + WINDOW_S)
    assert got == [number for _, number in sent]
