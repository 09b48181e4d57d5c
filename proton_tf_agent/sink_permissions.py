"""What each sink of AWS must be allowed to do to tell anything, and what IAM says of that.

The actions are those of docs/sinks/*.md without which nothing is told; what only `doctor` asks is tried by asking it.
IAM is asked where AWS has it, for sinks that talk to AWS's own endpoints: whoever answers at another one may ask
somebody else. Nothing of that comes from foreign text.
"""

from __future__ import annotations

import fnmatch
import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from .aws_permissions import Answers, Caller, Decision, Permissions, Verdict
from .settings import Settings, SinkSettings, SinkType
from .sink_assembly import access_of

_MOST_RESOURCES = 20  # that IAM is asked about for one sink
_AWS_HOST = (".amazonaws.com", ".amazonaws.com.cn")


@dataclass(frozen=True, slots=True)
class Need:
    """Actions that a sink needs on one resource: an ARN, perhaps a pattern of many, or `*`. is_lent: whether a policy
    of the resource may allow them, too."""

    actions: tuple[str, ...]
    resource: str
    is_lent: bool = False


class Sureness(StrEnum):
    """Whether we may do what a sink needs. DOUBTFUL: not by our own policies alone, or not on all of its resources."""

    CERTAIN = "certain"
    DOUBTFUL = "doubtful"
    DENIED = "denied"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Word:
    """IAM's word on a sink, for a person. remedy: the command that mends it, or that asks elsewhere."""

    sureness: Sureness
    what: str
    remedy: str = ""


Ask = Callable[[SinkSettings, Settings], Permissions]


def ask_aws(sink: SinkSettings, settings: Settings) -> Permissions:
    """IAM as a sink's own credentials see it."""
    return Permissions(sink.region or "", access_of(settings.aws, sink.profile))


def is_for_iam(sink: SinkSettings) -> bool:
    """Whether a sink talks to a service of AWS, of which IAM decides who may do what."""
    return sink.type in _NEEDS


def words(sink: SinkSettings, settings: Settings, ask: Ask = ask_aws) -> Iterator[Word]:
    """Whether we may do what a sink needs: one word when all is well, else one for each thing that is not."""
    if not _is_at_aws(sink):
        yield Word(Sureness.UNKNOWN, "IAM is not asked: its endpoint is not the one that AWS has in the region")
        return
    permissions = ask(sink, settings)
    try:
        yield from _asked(sink, settings, permissions)
    finally:
        permissions.close()


def _is_at_aws(sink: SinkSettings) -> bool:
    queue = urlsplit(sink.queue_url or "").hostname  # it is its own endpoint
    return sink.endpoint_url is None and (queue is None or queue.endswith(_AWS_HOST))


def _asked(sink: SinkSettings, settings: Settings, permissions: Permissions) -> Iterator[Word]:
    caller = permissions.caller()
    if not isinstance(caller, Caller):
        what = f"whether it may tell is not known: who we are AWS does not say ({caller.code})"
        yield Word(Sureness.UNKNOWN, what, _WHO)
        return
    needs = _NEEDS[sink.type](sink, settings, caller)
    if not needs:
        yield Word(Sureness.UNKNOWN, "whether it may tell is not known: the settings name no resource of its region")
        return
    if not caller.principal:
        what = f"whether it may tell is not known: IAM cannot say what {caller.arn} may"
        yield Word(Sureness.UNKNOWN, what, "use the credentials of a role or a user")
        return
    found = [(need, permissions.may(caller, need.actions, need.resource)) for need in needs[:_MOST_RESOURCES]]
    bad = [word for need, answers in found for word in _judged(need, answers)]
    yield from bad
    if len(needs) > _MOST_RESOURCES:
        yield Word(Sureness.UNKNOWN, f"IAM was asked about {_MOST_RESOURCES} of {len(needs)} resources")
    elif not bad:
        actions = ", ".join(dict.fromkeys(action for need in needs for action in need.actions))
        yield Word(Sureness.CERTAIN, f"{found[0][1].principal} may {actions}, as IAM says")


def _judged(need: Need, answers: Answers) -> Iterator[Word]:
    """What is not well about one need."""
    again = _simulate(answers.principal, need)
    if answers.failed is not None:
        what = f"whether {_may(need.actions, need.resource)} is not known: IAM does not say ({answers.failed.code})"
        yield Word(Sureness.UNKNOWN, what, f"as somebody who may ask: {again}")
        return
    for verdict in (Verdict.REFUSED, Verdict.NOT_GRANTED, Verdict.UNSURE):
        told = [one for one in answers.decisions if one.verdict is verdict]
        if told:
            yield _word(need, answers.principal, verdict, told, again)


def _word(need: Need, principal: str, verdict: Verdict, told: Sequence[Decision], again: str) -> Word:
    what = _may([one.action for one in told], need.resource)
    why = "; ".join(dict.fromkeys(one.why for one in told if one.why))
    if verdict is Verdict.UNSURE:
        return Word(Sureness.UNKNOWN, f"whether {what} is not known" + (f": {why}" if why else ""), again)
    if verdict is Verdict.REFUSED:
        return Word(Sureness.DENIED, f"not so that {what}: {why}", f"find the policy: {again}")
    grant = _grant(principal, need, [one.action for one in told])
    if need.is_lent:
        return Word(Sureness.DOUBTFUL, f"not by our own policies that {what}; the resource's may allow it", grant)
    if _stands_for_many(need.resource):
        return Word(Sureness.DOUBTFUL, f"not on everything of it that {what}", grant)
    return Word(Sureness.DENIED, f"not so that {what}: no policy allows it", grant)


def _may(actions: Sequence[str], resource: str) -> str:
    where = "" if resource == "*" else f" on {resource}"
    return f"we may {', '.join(actions)}{where}"


def _stands_for_many(resource: str) -> bool:
    return resource != "*" and any(sign in resource for sign in "*?[")


_WHO = "aws sts get-caller-identity"


def _simulate(principal: str, need: Need) -> str:
    """The command that asks the same elsewhere."""
    asked = ["--policy-source-arn", principal, "--action-names", *need.actions, "--resource-arns", need.resource]
    return shlex.join(["aws", "iam", "simulate-principal-policy", *asked])


def _grant(principal: str, need: Need, actions: Sequence[str]) -> str:
    """The command that allows it."""
    kind, _, path = principal.rpartition(":")[2].partition("/")
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": need.resource}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]}, separators=(",", ":"))
    named = [f"--{kind}-name", path.rpartition("/")[2], "--policy-name", "proton-tf-agent"]
    return shlex.join(["aws", "iam", f"put-{kind}-policy", *named, "--policy-document", document])


# --- what each type needs ---------------------------------------------------------------------------------------------


def _proton(sink: SinkSettings, settings: Settings, caller: Caller) -> list[Need]:
    """On everything in its region that a run may speak for. Patterns are held to the region and our account."""
    region = sink.region or ""
    named = [*settings.allow.resource_arns, *(bind.resource_arn for bind in settings.bind if bind.resource_arn)]
    resources = dict.fromkeys(_here(pattern, region, caller.account) for pattern in named)
    needs = [Need(("proton:NotifyResourceDeploymentStatusChange",), one) for one in resources if one]
    if sink.read_back and needs:
        partition = caller.arn.split(":")[1]
        asked = f"arn:{partition}:proton:{region}:{caller.account}:deployment/*"
        needs.append(Need(("proton:GetDeployment",), asked))
    return needs


def _here(pattern: str, region: str, account: str) -> str:
    """A pattern of ARNs in one region and, where it is open, in one account; empty where it means none there."""
    parts = pattern.split(":", 5)
    if len(parts) < 6:
        return pattern  # `*`, say
    if not fnmatch.fnmatchcase(region, parts[3]):
        return ""
    return ":".join([*parts[:3], region, account if parts[4] == "*" else parts[4], parts[5]])


def _eventbridge(sink: SinkSettings, _settings: Settings, caller: Caller) -> list[Need]:
    bus = sink.event_bus or ""
    if not bus.startswith("arn:"):
        bus = f"arn:{caller.arn.split(':')[1]}:events:{sink.region}:{caller.account}:event-bus/{bus}"
    return [Need(("events:PutEvents",), bus, is_lent=True)]


def _sqs(sink: SinkSettings, _settings: Settings, caller: Caller) -> list[Need]:
    account, name = urlsplit(sink.queue_url or "").path.strip("/").split("/")
    queue = f"arn:{caller.arn.split(':')[1]}:sqs:{sink.region}:{account}:{name}"
    return [Need(("sqs:SendMessage",), queue, is_lent=True)]


def _sns(sink: SinkSettings, _settings: Settings, _caller: Caller) -> list[Need]:
    return [Need(("sns:Publish",), sink.topic_arn or "", is_lent=True)]


def _service_catalog(_sink: SinkSettings, _settings: Settings, _caller: Caller) -> list[Need]:
    results = ("ProvisionProduct", "UpdateProvisionedProduct", "TerminateProvisionedProduct")
    return [Need(tuple(f"servicecatalog:Notify{result}EngineWorkflowResult" for result in results), "*")]


_NEEDS: dict[SinkType, Callable[[SinkSettings, Settings, Caller], list[Need]]] = {
    "proton": _proton,
    "eventbridge": _eventbridge,
    "sqs": _sqs,
    "sns": _sns,
    "service_catalog": _service_catalog,
}
