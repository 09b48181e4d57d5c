"""README.md and docs/*.md as tests read them: their blocks, and every shell command in them with where it is run.

HERE: run by tests/e2e/test_page_commands.py, beside a real agent and a real Terraform; what it must end with and show.
HOST: run as root on a host with systemd by tests/machine/test_page_commands.py.
A command is written in these tables as on its page, its comment left out; `test_documents.py` holds that each stands in
one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"(?:^|\s+)#(?:\s.*)?$")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its page below the house, its language (empty: none), its text."""

    page: str
    language: str
    text: str

    def commands(self) -> list[str]:
        """The commands of a shell block, one a line; comments left out, continued lines joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [command for line in lines if (command := " ".join(_COMMENT.sub("", line).split()))]


def blocks() -> Iterator[Block]:
    """Every fenced block of every page."""
    for page in PAGES:
        for indent, language, text in _FENCE.findall(page.read_text("utf-8")):
            yield Block(str(page.relative_to(ROOT)), language, re.sub(f"^{indent}", "", text, flags=re.MULTILINE))


def blocks_of(page: str, heading: str) -> list[Block]:
    """The fenced blocks below a heading of a page, down to the next."""
    text = (ROOT / page).read_text("utf-8")
    below = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [Block(page, language, block) for _, language, block in _FENCE.findall(below)]


def spans() -> Iterator[tuple[str, str]]:
    """Every page and what stands in its running text as code."""
    for page in PAGES:
        for span in re.findall(r"`([^`\n]+)`", _FENCE.sub("", page.read_text("utf-8"))):
            yield str(page.relative_to(ROOT)), span.replace("\\|", "|")


def shell_blocks() -> list[Block]:
    """Those that a person types; a script that is to become a file is none."""
    return [block for block in blocks() if block.language == "sh" and not block.text.startswith("#!")]


@dataclass(frozen=True, slots=True)
class Ends:
    """How a command ends that is run here, and what it must have shown (a regular expression).

    follows: it goes on until it is interrupted, which is done when it has shown that.
    alone: it is the agent, which works with no other one beside it.
    """

    shows: str = ""
    code: int = 0
    follows: bool = False
    alone: bool = False


_DENIED = r"environment/accessdenied"

HERE: dict[str, Ends] = {
    # README.md
    "make test": Ends(),
    "make demo": Ends(r"(?s)(?=.*replayed as).*heard +SUCCEEDED.*heard +FAILED.*heard +FAILED"),
    "terraform apply -json -auto-approve > apply.log": Ends(),
    "proton-tf-agent exec -- terraform apply -auto-approve": Ends(r"Apply complete!"),
    "proton-tf-agent exec --install-shim /opt/shims": Ends(r"shims"),
    "proton-tf-agent config validate": Ends(r": valid"),
    "proton-tf-agent config test-bind DIRECTORY": Ends(r"environment/first"),
    "proton-tf-agent run": Ends(r"agent\.ready", follows=True, alone=True),
    "proton-tf-agent status": Ends(r"parked +\d"),
    "proton-tf-agent doctor": Ends(r"ok +journal"),
    "proton-tf-agent explain DIRECTORY": Ends(r"(?s)apply complete.*SUCCEEDED"),
    "proton-tf-agent journal list --parked": Ends(_DENIED),
    "proton-tf-agent journal tail -f -g denied": Ends(_DENIED, code=130, follows=True),
    "proton-tf-agent replay --parked --dry-run": Ends(_DENIED),
    'proton-tf-agent runs settle RUN --as succeeded --reason "checked by hand"': Ends(r"settled as succeeded"),
    "proton-tf-agent replay --undelivered --from proton --sink audit --dry-run": Ends(_DENIED),
    "proton-tf-agent journal export --undelivered --sink proton --format cloudevents left.jsonl": Ends(),
    # docs/commands.md
    "proton-tf-agent status --fail-on-lag 5m --fail-on-parked > /dev/null": Ends(r"parked", code=1),
    "proton-tf-agent exec -- make deploy": Ends(r"Apply complete!"),
    'proton-tf-agent runs settle run-5eecf983c3f2e64b --as succeeded --reason "looked at the subnet in the console"':
        Ends(r"settled as succeeded"),
    "proton-tf-agent shell bash > /etc/bash_completion.d/proton-tf-agent": Ends(),
    "proton-tf-agent shell zsh > /usr/local/share/zsh/site-functions/_proton-tf-agent": Ends(),
    "proton-tf-agent shell fish > /etc/fish/completions/proton-tf-agent.fish": Ends(),
    "proton-tf-agent shell man > /usr/local/share/man/man1/proton-tf-agent.1": Ends(),
    "proton-tf-agent journal tail -f -g accessdenied": Ends(_DENIED, code=130, follows=True),
    "proton-tf-agent journal list -r -n 5 --status FAILED --since 2h": Ends(r"FAILED"),
    "proton-tf-agent journal list --resource ARN --since 2026-11-23 --until 2026-11-24 --json": Ends("run-old"),
    "proton-tf-agent sinks list": Ends(r"(?s)proton .*audit .*is told +everything"),
    "proton-tf-agent sinks test audit": Ends(r"audit: test-\w+ was sent by the agent and accepted"),
    'proton-tf-agent sinks pause audit --reason "their maintenance"': Ends(r"audit: paused, since .*their maintenance"),
    "proton-tf-agent sinks resume audit": Ends(r"audit: resumed"),
    "proton-tf-agent replay --resource ARN --since 2h": Ends(r"SUCCEEDED .* replayed as", code=3),
    "proton-tf-agent replay --all --since 2026-11-23 --until 2026-11-24T12:00": Ends(r"environment/old .* replayed as"),
    "proton-tf-agent replay --undelivered --from proton --sink audit": Ends(r"replayed as"),
}  # fmt: skip

_SINCE = "journalctl -u proton-tf-agent -o cat --since -1h"
HOST: frozenset[str] = frozenset({
    # README.md
    "python3 -m venv /opt/proton-tf-agent && /opt/proton-tf-agent/bin/pip install .",
    "/opt/proton-tf-agent/bin/proton-tf-agent service install --runner USER --watch DIR",
    "editor /etc/proton-tf-agent/agent.toml",
    "systemctl enable --now proton-tf-agent",
    # docs/install.md
    "proton-tf-agent service install --runner gitlab-runner --watch /home/gitlab-runner/builds",
    "setfacl -m u:proton-tf-agent:x /home/gitlab-runner",
    "systemctl status proton-tf-agent",
    "python3 -m venv /opt/proton-tf-agent",
    "/opt/proton-tf-agent/bin/pip install WHEEL",
    "pipx install --global WHEEL",
    "export UV_TOOL_DIR=/opt/uv/tools UV_TOOL_BIN_DIR=/usr/local/bin UV_PYTHON_INSTALL_DIR=/opt/uv/python",
    "uv tool install --compile-bytecode WHEEL",
    "dpkg --install dist/proton-tf-agent_*.deb",
    "proton-tf-agent service install --runner USER --watch DIR",
    # docs/commands.md
    "sudo -u proton-tf-agent proton-tf-agent doctor",
    _SINCE + """ | jq -R 'fromjson? | select(.event == "notification.deferred")'""",
    "journalctl -u proton-tf-agent -o cat -f -g '\"level\":\"(warning|error)\"'",
})  # fmt: skip
