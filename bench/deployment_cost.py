"""One whole deployment, observed and notified: CPU time of the daemon, against the last step of the AWS sample.

Ours is everything from the first log line to the last answer, three or four requests in all, with the applies
re-enacted at their recorded pace. The peer is what the sample's pipeline spends on one request after the apply is over:
`terraform output -json`, jq, `aws proton notify-resource-deployment-status-change`
(github.com/aws-samples/aws-proton-terraform-github-actions-sample, proton_run.yml), here with `tostring`, because as
published it fails on outputs that are no strings.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

from .endpoint import Endpoint
from .measure import environment, median_of, run_whole
from .result import Line, median, ms, times
from .scene import ReEnactment, Scene, arn_of, sample

WARM_UP, DEPLOYMENTS, PIPELINES = 3, 50, 5
TARGET = 50.0
_DEPLOYMENT_ID = "fcda9f18-f569-4079-8474-0832f45b97ea"
_PIPELINE = """set -e
outputs_json=$(terraform output -json)
formatted_outputs=( $(echo $outputs_json | jq "to_entries|map({key: .key, valueString: (.value.value|tostring)})") )
"$AWS" proton notify-resource-deployment-status-change --region eu-west-1 --resource-arn "$ARN" --status SUCCEEDED \
  --deployment-id "$DEPLOYMENT_ID" --outputs "${formatted_outputs[*]}" --endpoint-url "$ENDPOINT_URL"
"""
_CALL = """
import os, boto3
client = boto3.client("proton", region_name="eu-west-1", endpoint_url=os.environ["ENDPOINT_URL"])
client.notify_resource_deployment_status_change(resourceArn=os.environ["ARN"], status="SUCCEEDED",
    deploymentId=os.environ["DEPLOYMENT_ID"], outputs=[{"key": "last", "valueString": "v2-1"}])
"""


def measure() -> list[Line]:
    """The mean of many deployments, the median of some pipelines."""
    with Endpoint() as endpoint, Scene(endpoint.url) as scene:
        ours_s, requests, elapsed_s = _deployments(endpoint, scene)
        name, theirs_s = _peer(endpoint, scene)
    ratio = theirs_s / ours_s
    missed = (
        f"{ms(ours_s)} of CPU time went into each of {DEPLOYMENTS} deployments of {elapsed_s:.1f} s, with "
        f"{requests:.1f} requests each; {name} spends {ms(theirs_s)} on one, {times(ratio * requests)} the CPU time "
        "for each request. Every burst of lines wakes the daemon and is a transaction; every request is signed and "
        "sent by botocore and its outcome is a transaction of its own."
    )
    return [
        Line(
            f"CPU time of a whole deployment (mean of {DEPLOYMENTS})", f"{ms(ours_s)}, {requests:.1f} requests",
            f"{name}: {ms(theirs_s)}, 1 request", times(ratio), "≥ 50×", ratio >= TARGET, missed,
        )
    ]  # fmt: skip


def _deployments(endpoint: Endpoint, scene: Scene) -> tuple[float, float, float]:
    """CPU seconds, requests and elapsed seconds of one deployment, on average."""
    directories = [scene.run_directory(f"r{number:04d}") for number in range(WARM_UP + DEPLOYMENTS)]
    elapsed = []
    with scene.daemon() as daemon:
        cpu_s, since = 0.0, 0
        for number, directory in enumerate(directories):
            if number == WARM_UP:
                time.sleep(0.2)
                cpu_s, since = daemon.cpu_s(), len(endpoint.arrivals())
            began = time.perf_counter()
            with ReEnactment(directory.path) as run:
                run.apply(pace=1)
                run.unlock_and_summarise()
                run.tell_outputs()
            arn = directory.resource_arn
            endpoint.wait_for(lambda a, arn=arn: a.resource_arn == arn and a.status == "SUCCEEDED", since)  # type: ignore[misc]
            elapsed.append(time.perf_counter() - began)
        time.sleep(0.2)
        cpu_s = daemon.cpu_s() - cpu_s
    return cpu_s / DEPLOYMENTS, (len(endpoint.arrivals()) - since) / DEPLOYMENTS, median(elapsed)


def _peer(endpoint: Endpoint, scene: Scene) -> tuple[str, float]:
    """What is compared with, and its CPU seconds."""
    directory = os.path.join(scene.base, "peer")
    os.makedirs(directory)
    with open(os.path.join(directory, "terraform.tfstate"), "wb") as state:
        state.write(sample("apply.tfstate"))
    env = environment(ENDPOINT_URL=endpoint.url, ARN=arn_of("peer"), DEPLOYMENT_ID=_DEPLOYMENT_ID)
    missing = [program for program in ("terraform", "jq", "aws", "bash") if not shutil.which(program)]
    if missing:
        name = f"a boto3 call in a new process (no {', '.join(missing)} on PATH)"
        command = [sys.executable, "-c", _CALL]
    else:
        name = "terraform output | jq | aws"
        command = ["bash", "-c", _PIPELINE]
        env["AWS"] = _aws()
    return name, median_of([run_whole(command, cwd=directory, env=env) for _ in range(PIPELINES)]).cpu_s


def _aws() -> str:
    """The aws program itself; pyenv's shim in front of it would be counted against the peer."""
    found = shutil.which("aws") or "aws"
    if "/shims/" in found and shutil.which("pyenv"):
        told = subprocess.run(["pyenv", "which", "aws"], capture_output=True, check=False, text=True)
        found = told.stdout.strip() or found
    return found
