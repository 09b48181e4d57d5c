"""What came of a call to Proton: what `aws_outcomes` says of any service, and the words of one that has ended. Pure."""

from __future__ import annotations

import re

from .. import aws_outcomes
from ..domain.outbox import Outcome, OutcomeKind
from ..domain.values import replace

NOTIFY = "NotifyResourceDeploymentStatusChange"
GET_DEPLOYMENT = "GetDeployment"
OPERATIONS = (NOTIFY, GET_DEPLOYMENT)

# Ended services keep answering, with an ordinary error and words such as these in its text: OpsWorks with AccessDenied,
# RoboMaker with Forbidden, Elastic Transcoder with Validation. The words must be about the service: a template, too,
# may be "no longer supported". With them, a resource that is not found is one whose service has ended.
_RETIRED = re.compile(
    r"(?:no longer|not) accepting new customers|existing customers|discontinu|end of support"
    r"|(?:AWS Proton|this service) (?:is|was|has been|will be) (?:no longer (?:available|supported)|retired|shut down)",
    re.I,
)
_SAID_BY_RETIRED = (OutcomeKind.DENIED, OutcomeKind.INVALID, OutcomeKind.NOT_FOUND, OutcomeKind.UNKNOWN)


def outcome_of(error: Exception, now: float, *, built: bool) -> Outcome:
    """What an exception means. now: wall-clock seconds. built: there was a client, so something may have left."""
    outcome = aws_outcomes.outcome_of(error, now, OPERATIONS, built=built)
    if outcome.kind in _SAID_BY_RETIRED and _RETIRED.search(aws_outcomes.text_of(error)):
        return replace(outcome, kind=OutcomeKind.GONE, code="ServiceRetired")
    return outcome
