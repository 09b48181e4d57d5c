"""`doctor` asks IAM whether a sink may tell, and tells nothing; what IAM does not say is unknown, never well."""

from __future__ import annotations

import json
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.iam import ACCOUNT, ROLE, SESSION, Iam, Statement, allow
from support.proton import clean_environment

from proton_tf_agent.aws_permissions import principal_of
from proton_tf_agent.doctor import Finding, Severity, examine
from proton_tf_agent.settings import Settings, SinkSettings, load

V = Severity
USER = f"arn:aws:iam::{ACCOUNT}:user/ops/runner"
PLACE = f"eu-west-1:{ACCOUNT}"
NOTIFY = "proton:NotifyResourceDeploymentStatusChange"
RESULTS = [
    f"servicecatalog:Notify{of}EngineWorkflowResult"
    for of in ("ProvisionProduct", "UpdateProvisionedProduct", "TerminateProvisionedProduct")
]
# By type: the keys of its sink, the actions of docs/sinks/TYPE.md without which nothing is told, and on what.
SINKS: dict[str, tuple[str, list[str], str]] = {
    "proton": ('region = "eu-west-1"', [NOTIFY], f"arn:aws:proton:{PLACE}:environment/net"),
    "eventbridge": (
        'event_bus = "told"\nregion = "eu-west-1"',
        ["events:PutEvents"],
        f"arn:aws:events:{PLACE}:event-bus/told",
    ),
    "sqs": (
        f'queue_url = "https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/told"',
        ["sqs:SendMessage"],
        f"arn:aws:sqs:{PLACE}:told",
    ),
    "sns": (f'topic_arn = "arn:aws:sns:{PLACE}:told"', ["sns:Publish"], f"arn:aws:sns:{PLACE}:told"),
    "service_catalog": ('region = "eu-west-1"', RESULTS, "*"),
}  # fmt: skip
LENT = {"eventbridge", "sqs", "sns"}


@pytest.fixture
def iam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Iam]:
    with clean_environment(tmp_path):
        iam = Iam()
        yield iam
        iam.close()


def settings_of(tmp_path: Path, sink_type: str, *allowed: str, more: str = "") -> Settings:
    path = tmp_path / "agent.toml"
    keys = SINKS[sink_type][0]
    journal = tmp_path / "kept" / "journal.db"
    path.write_text(
        f'[journal]\npath = "{journal}"\n[[watch]]\npath = "{tmp_path}/watched"\n'
        f"[allow]\nresource_arns = {json.dumps(allowed or [SINKS['proton'][2]])}\n"
        f'[[sink]]\ntype = "{sink_type}"\nname = "told"\n{keys}\n{more}\n'
    )
    return load(str(path))


def found(settings: Settings, iam: Iam, patience: float = 30.0) -> list[Finding]:
    """What is said of the sink's permissions. The sink itself is not reached from here: that comes before."""

    def ask(_sink: SinkSettings, _settings: Settings) -> Any:
        return iam.permissions()

    findings = [one for one in examine(settings, ask=ask, patience=patience) if one.check == "sink told"]
    return findings[1:]


@pytest.fixture(autouse=True)
def nobody_is_asked_but_iam(monkeypatch: pytest.MonkeyPatch) -> None:
    """What AWS's own names would lead to, no test may find out."""
    ask = socket.getaddrinfo

    def resolve(host: str, *rest: Any, **more: Any) -> Any:
        if host != "127.0.0.1":
            raise socket.gaierror(socket.EAI_NONAME, "no such host")
        return ask(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.parametrize("sink_type", SINKS)
def test_who_may_do_all_that_a_sink_needs_is_well_and_nothing_is_told(sink_type: str, iam: Iam, tmp_path: Path) -> None:
    _, actions, resource = SINKS[sink_type]
    iam.statements = [allow(actions, resource)]
    (finding,) = found(settings_of(tmp_path, sink_type), iam)
    assert finding == Finding("sink told", V.OK, f"{ROLE} may {', '.join(actions)}, as IAM says")
    assert set(iam.asked) == {"GetCallerIdentity", "SimulatePrincipalPolicy", "GetRole"}


@pytest.mark.parametrize("sink_type", SINKS)
def test_who_may_not_is_given_the_command_that_allows_it(sink_type: str, iam: Iam, tmp_path: Path) -> None:
    """Where a policy of the queue, topic or bus may allow it instead, that is doubtful only."""
    _, actions, resource = SINKS[sink_type]
    iam.statements = [allow("s3:GetObject", "*")]
    (finding,) = found(settings_of(tmp_path, sink_type), iam)
    assert finding.severity is (V.WARNING if sink_type in LENT else V.PROBLEM)
    assert all(action in finding.what for action in actions)
    *command, document = shlex.split(finding.remedy)
    granting = "aws iam put-role-policy --role-name runner --policy-name proton-tf-agent --policy-document"
    assert shlex.join(command) == granting
    assert json.loads(document)["Statement"] == [{"Effect": "Allow", "Action": actions, "Resource": resource}]
    iam.statements = json.loads(document)["Statement"]
    assert [one.severity for one in found(settings_of(tmp_path, sink_type), iam)] == [V.OK], "and it does"


@pytest.mark.parametrize("sink_type", SINKS)
def test_a_simulation_that_is_denied_is_unknown_and_comes_with_the_command_to_run_elsewhere(
    sink_type: str, iam: Iam, tmp_path: Path
) -> None:
    iam.hides = {"SimulatePrincipalPolicy"}
    (finding,) = found(settings_of(tmp_path, sink_type), iam)
    assert (finding.severity, "IAM does not say (AccessDenied)" in finding.what) == (V.UNKNOWN, True)
    _, _, command = finding.remedy.partition(": ")
    _, actions, resource = SINKS[sink_type]
    principal = f"arn:aws:iam::{ACCOUNT}:role/runner"
    asked = ["--policy-source-arn", principal, "--action-names", *actions, "--resource-arns", resource]
    assert shlex.split(command) == ["aws", "iam", "simulate-principal-policy", *asked]


DENY: Statement = {"Effect": "Deny", "Action": "*", "Resource": "*"}


@pytest.mark.parametrize(
    ("statement", "details", "severity", "said"),
    [
        (DENY, {}, V.PROBLEM, "a policy denies it"),
        (None, {"OrganizationsDecisionDetail": {"AllowedByOrganizations": False}}, V.PROBLEM, "the organisation"),
        (
            None,
            {"PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False}},
            V.PROBLEM,
            "permissions boundary",
        ),
        (None, {"MissingContextValues": ["aws:SourceVpce"]}, V.UNKNOWN, "it depends on aws:SourceVpce"),
        (None, {"OrganizationsDecisionDetail": {"AllowedByOrganizations": True}}, V.OK, ""),
    ],
)
def test_what_stands_above_a_permission_counts(
    statement: Statement | None, details: dict[str, Any], severity: Severity, said: str, iam: Iam, tmp_path: Path
) -> None:
    """Whatever the sink's resource may allow."""
    iam.statements = [allow("sqs:*", "*"), *([statement] if statement else [])]
    iam.details = details
    (finding,) = found(settings_of(tmp_path, "sqs"), iam)
    assert (finding.severity, said in finding.what) == (severity, True), finding
    assert bool(finding.remedy) == (severity is not V.OK)


def test_a_role_is_asked_of_by_its_whole_arn_which_a_session_does_not_know(iam: Iam, tmp_path: Path) -> None:
    iam.statements = [allow("sns:*", "*")]
    assert [one.severity for one in found(settings_of(tmp_path, "sns"), iam)] == [V.OK]
    asked = [parameters["PolicySourceArn"] for name, parameters in iam.iam.requests if name.startswith("Simulate")]
    assert asked == [f"arn:aws:iam::{ACCOUNT}:role/runner", ROLE]
    iam.hides = {"GetRole"}
    (finding,) = found(settings_of(tmp_path, "sns"), iam)
    assert (finding.severity, "(NoSuchEntity)" in finding.what) == (V.UNKNOWN, True)


@pytest.mark.parametrize(
    ("caller", "principal"),
    [
        (SESSION, f"arn:aws:iam::{ACCOUNT}:role/runner"),
        (f"arn:aws-cn:sts::{ACCOUNT}:assumed-role/a/b", f"arn:aws-cn:iam::{ACCOUNT}:role/a"),
        (USER, USER),
        (f"arn:aws:iam::{ACCOUNT}:root", ""),
        (f"arn:aws:sts::{ACCOUNT}:federated-user/x", ""),
        (f"arn:aws:iam::{ACCOUNT}:user/a b", ""),
        ("", ""),
    ],
)
def test_whose_policies_count(caller: str, principal: str) -> None:
    assert principal_of(caller) == principal


def test_a_user_is_asked_of_as_he_is_and_the_root_user_not_at_all(iam: Iam, tmp_path: Path) -> None:
    user = Iam(USER, USER)
    (finding,) = found(settings_of(tmp_path, "sns"), user)
    assert finding.remedy.startswith("aws iam put-user-policy --user-name runner ")
    user.close()
    root = Iam(f"arn:aws:iam::{ACCOUNT}:root")
    (finding,) = found(settings_of(tmp_path, "sns"), root)
    assert (finding.severity, "GetCallerIdentity" in root.asked, len(root.asked)) == (V.UNKNOWN, True, 1)
    root.close()


def test_proton_is_asked_about_everything_that_runs_may_speak_for_in_its_region(iam: Iam, tmp_path: Path) -> None:
    allowed = [
        f"arn:aws:proton:*:{ACCOUNT}:environment/*",
        f"arn:aws:proton:us-east-1:{ACCOUNT}:*",
        "arn:aws:proton:eu-west-1:*:component/c",
    ]
    bound = f"arn:aws:proton:{PLACE}:environment/bound"
    more = f'read_back = true\n[[bind]]\ndirectory = "/srv/x"\nresource_arn = "{bound}"'
    iam.statements = [allow([NOTIFY, "proton:GetDeployment"], f"arn:aws:proton:{PLACE}:*")]
    assert [one.severity for one in found(settings_of(tmp_path, "proton", *allowed, more=more), iam)] == [V.OK]
    asked = {
        (parameters["ActionNames"][0], *parameters["ResourceArns"])
        for name, parameters in iam.iam.requests
        if name.startswith("Simulate")
    }
    assert asked == {
        (NOTIFY, f"arn:aws:proton:{PLACE}:environment/*"),
        (NOTIFY, f"arn:aws:proton:{PLACE}:component/c"),
        (NOTIFY, bound),
        ("proton:GetDeployment", f"arn:aws:proton:{PLACE}:deployment/*"),
    }


def test_who_may_speak_for_some_of_what_is_allowed_is_warned(iam: Iam, tmp_path: Path) -> None:
    iam.statements = [allow(NOTIFY, f"arn:aws:proton:{PLACE}:environment/net")]
    (finding,) = found(settings_of(tmp_path, "proton", f"arn:aws:proton:*:{ACCOUNT}:*"), iam)
    assert (finding.severity, "not on everything of it" in finding.what) == (V.WARNING, True)


@pytest.mark.parametrize(
    "key",
    ['endpoint_url = "http://127.0.0.1:1"', 'endpoint_url = "https://vpce-1.proton.eu-west-1.vpce.amazonaws.com"'],
)
def test_of_another_endpoint_iam_is_not_asked_and_that_is_said(key: str, iam: Iam, tmp_path: Path) -> None:
    (finding,) = found(settings_of(tmp_path, "proton", more=key), iam)
    assert (finding.severity, "IAM is not asked" in finding.what, iam.asked) == (V.UNKNOWN, True, [])


@pytest.mark.parametrize("which", ["sts", "iam"])
@pytest.mark.parametrize("code", ["ExpiredToken", "Throttling", "InternalFailure"])
def test_whatever_the_asking_fails_of_is_unknown(which: str, code: str, iam: Iam, tmp_path: Path) -> None:
    getattr(iam, which).refuse(code, 500 if code == "InternalFailure" else 400)
    (finding,) = found(settings_of(tmp_path, "sns"), iam)
    assert (finding.severity, f"({code})" in finding.what, bool(finding.remedy)) == (V.UNKNOWN, True, True)


def test_an_iam_that_does_not_answer_holds_up_nothing(iam: Iam, tmp_path: Path) -> None:
    iam.iam.fail(lambda _request: iam.iam.closing.wait(60))
    (finding,) = found(settings_of(tmp_path, "sns"), iam, patience=3.0)
    assert (finding.severity, "nothing has answered within 3 s" in finding.what) == (V.UNKNOWN, True)
