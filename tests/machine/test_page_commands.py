"""The commands of README.md and docs/ that need root, systemd or an installed program, typed on a host as they stand
there; words in capitals stand for what there is. The others: tests/e2e/test_page_commands.py; which are where:
support.pages.

What comes from a registry elsewhere comes from a directory of wheels here. The editor is the tests', as is the person.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hosts import AGENT, SETTINGS, UNIT, WORK, Host, make_deb
from support.pages import HOST, Block, shell_blocks

pytestmark = pytest.mark.timeout(900)

# For pip, pipx and uv: the directory of wheels, and no way elsewhere.
OFFLINE = (
    "export PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels UV_OFFLINE=1 UV_NO_INDEX=1 UV_FIND_LINKS=/wheels "
    "PATH=/opt/tools/bin:$PATH"
)
EDITOR = "#!/bin/sh\ncp /etc/wanted.toml $1\n"
TYPED: set[str] = set()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    base = tmp_path_factory.mktemp("host")
    host = Host(base, "/opt/elsewhere", ("hatchling", "pip", "pipx>=1.5", "uv"))
    run = host.container.run
    run("python3", "-m", "venv", "/opt/tools")
    run("/opt/tools/bin/pip", "install", "--quiet", "--no-index", "--find-links", "/wheels", "pipx", "uv")
    host.container.write("/usr/local/bin/editor", EDITOR, 0o755)
    host.container.write("/etc/wanted.toml", SETTINGS)
    yield host
    host.close()
    shutil.rmtree(base)


@pytest.fixture
def clean(host: Host) -> Iterator[Host]:
    """A host without the program, and without what a test has installed when that is over."""
    yield host
    run = host.container.run
    found = host.container.out("sh", "-c", f"command -v proton-tf-agent || echo {AGENT}")
    run(found, "service", "uninstall", "--purge")
    run("dpkg", "--purge", UNIT)
    run("sh", "-c", f"{OFFLINE}; pipx uninstall --global proton-tf-agent || true")
    run("rm", "-rf", "/opt/proton-tf-agent", "/opt/uv", "/usr/local/bin/proton-tf-agent")


def blocks(page: str, *words: str) -> Iterator[Block]:
    """The shell blocks of a page in which a command begins with one of these words."""
    for block in shell_blocks():
        if block.page == page and any(command.startswith(words) for command in block.commands()):
            yield block


def typed(host: Host, block: Block, directory: str = "/") -> str:
    """Type a block in a directory; what it has shown."""
    assert set(block.commands()) <= HOST, set(block.commands()) - HOST
    TYPED.update(block.commands())
    script = "\n".join(block.commands())
    for word, meant in (
        ("/home/gitlab-runner/builds", WORK), ("gitlab-runner", "runner"), ("USER", "runner"), ("DIR", WORK),
        ("WHEEL", "/wheels/proton_tf_agent-*.whl"),
    ):  # fmt: skip
        script = re.sub(rf"(?<!\w){word}(?!\w)", meant, script)
    return host.container.out("sh", "-exc", f"{OFFLINE}\ncd {directory}\n{script}")


def judge(host: Host) -> None:
    """Everything behind `service install`, and a run that is told."""
    (rest,) = blocks("docs/install.md", "setfacl")
    host.give_credentials()
    assert "watching 1 root" in typed(host, rest)
    directory, arn = host.make_run()
    host.apply(directory)
    host.hears(arn, "IN_PROGRESS", "SUCCEEDED")


def test_the_readme_installs_it_from_a_checkout(clean: Host) -> None:
    for block in blocks("README.md", "python3 -m venv"):
        clean.give_credentials()
        typed(clean, block, "/checkout")
    judge(clean)


@pytest.mark.parametrize(
    "way", ["/opt/proton-tf-agent/bin/pip install WHEEL", "pipx install", "uv tool install", "dpkg --install"]
)
def test_each_way_of_the_page_installs_a_service_that_tells_a_run(clean: Host, way: str) -> None:
    (program,) = blocks("docs/install.md", way)
    typed(clean, program)
    judge(clean)


def test_a_service_that_is_there_is_made_again_and_looked_at(clean: Host) -> None:
    """What is shown of `service install` before the ways, `doctor` as the service's user, and journalctl."""
    (program,) = blocks("docs/install.md", "dpkg --install")
    typed(clean, program)
    (first,) = blocks("docs/install.md", "proton-tf-agent service install --runner gitlab-runner")
    typed(clean, first)
    judge(clean)
    (doctor,) = blocks("docs/commands.md", "sudo -u")
    assert "ok       journal" in typed(clean, doctor)

    clean.settle(SETTINGS.replace(":8790", ":9"))
    clean.container.run("systemctl", "reload", UNIT)
    mark = len(clean.log)
    directory, arn = clean.make_run()
    clean.apply(directory)
    clean.says("notification.deferred", mark, resource_arn=arn)
    (found,) = blocks("docs/commands.md", "journalctl")
    past, new = found.commands()
    TYPED.update(found.commands())
    assert arn in clean.container.out("sh", "-c", past)
    shown = clean.container.follow("sh", "-c", new)
    clean.settle("[[watch]]\n")
    clean.container.run("kill", "-HUP", clean.show("MainPID"))
    shown.wait_for(lambda rows: any(row.get("event") == "settings.refused" for row in rows), "is not shown")


def test_two_builds_of_the_debian_package_are_the_same_to_the_byte(host: Host, tmp_path: Path) -> None:
    """Whenever and wherever it is built, whatever the umask."""
    (one,) = host.debs.iterdir()
    (other,) = make_deb(tmp_path, host.python, host.wheels, umask=0o077).iterdir()
    assert one.name == other.name
    assert one.read_bytes() == other.read_bytes()


def test_every_command_that_is_run_on_a_host_was_run_by_these_tests() -> None:
    """Of this file, which runs as a whole."""
    assert TYPED == HOST
