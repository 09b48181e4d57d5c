"""All cases of the live matrix."""

from __future__ import annotations

from .beside import AT_ONCE, BESIDE_A_RUN_WITHOUT_LOG, NEXT_DEPLOYMENTS, ONE_LOG, SECOND_COMMANDS
from .case import Case
from .ends import FAILED_APPLIES, FAILED_PLANS, INTERRUPTED, LOCKS, NO_RUNS, SUCCESSES
from .human import HUMAN_LOGS
from .logs import ROTATED, WRITTEN
from .states import STATES, WITHOUT_LOG
from .wrapped import WRAPPED

CASES: tuple[Case, ...] = (
    *WRITTEN,
    *ROTATED,
    *STATES,
    *WITHOUT_LOG,
    *SUCCESSES,
    *FAILED_PLANS,
    *FAILED_APPLIES,
    *INTERRUPTED,
    *LOCKS,
    *NO_RUNS,
    *HUMAN_LOGS,
    *WRAPPED,
    *SECOND_COMMANDS,
    *ONE_LOG,
    *AT_ONCE,
    *NEXT_DEPLOYMENTS,
    *BESIDE_A_RUN_WITHOUT_LOG,
)
