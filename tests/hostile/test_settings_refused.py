"""Bad input 92 and the URLs of endpoints and proxies: refused with file, line, key and what to do; exit code 78."""

from __future__ import annotations

from pathlib import Path

import pytest

from proton_tf_agent import cli
from proton_tf_agent.domain.errors import SettingsInvalid
from proton_tf_agent.settings import load

# What is http must stay on this machine, told by the very digits; names, other spellings and tunnels may not.
REFUSED = (
    "http://localhost", "http://localhost.", "http://localhost.evil", "http://127.0.0.1.", "http://127.0.0.1.evil.org",
    "http://127.1", "http://0x7f.0.0.1", "http://0x7f000001", "http://2130706433", "http://017700000001", "http://0177.0.0.1",
    "http://0.0.0.0", "http://[::]", "http://[::1%25lo]", "http://[64:ff9b::7f00:1]", "http://[2002:7f00:1::]",
    "http://169.254.169.254", "http://[fd00:ec2::254]", "http://10.0.0.1", "http://proton.eu-west-1.amazonaws.com",
    "http://127.0.0.1@evil.org", "https://proton.eu-west-1.amazonaws.com@evil.org", "https://me:pw@evil.org",
    "https://evil.org#@proton.eu-west-1.amazonaws.com", "https://evil.org?x=y", "https://evil.org\\\\@127.0.0.1",
    "file:///etc/passwd", "ftp://127.0.0.1", "gopher://127.0.0.1", "//127.0.0.1", "https://", "https:///x",
    "https://x:99999", "https://x:0", "https://[::1", "https://e vil", "https://evil\\u2024org", "https://\\uff45vil.org",
)  # fmt: skip
TAKEN = (
    "https://proton.eu-west-1.amazonaws.com", "https://proton-fips.us-east-1.amazonaws.com:443",
    "https://vpce-0.proton.eu-west-1.vpce.amazonaws.com", "http://127.0.0.1:8790", "http://127.9.9.9", "http://[::1]:1",
    "HTTP://127.0.0.1:80/path",
)  # fmt: skip


def settings(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    file.chmod(0o644)
    return file


def sink(tmp_path: Path, url: str) -> Path:
    (tmp_path / "w").mkdir(exist_ok=True)
    lines = (
        f'[[watch]]\npath = "{tmp_path}/w"\n[[sink]]\ntype = "proton"\nregion = "eu-west-1"\nendpoint_url = "{url}"\n'
    )
    return settings(tmp_path, lines)


@pytest.mark.parametrize("url", REFUSED)
def test_an_endpoint_that_may_lead_elsewhere_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        load(str(sink(tmp_path, url)))
    (problem,) = refused.value.problems
    assert problem.where.endswith(":6: [[sink]] endpoint_url")
    assert problem.hint


@pytest.mark.parametrize("url", TAKEN)
def test_an_endpoint_that_leads_where_it_says_is_taken(tmp_path: Path, url: str) -> None:
    assert load(str(sink(tmp_path, url))).sink[0].endpoint_url == url


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("http://proxy.example.com:3128", True), ("https://proxy.example.com", True), ("http://127.0.0.1:3128", True),
        ("socks5://127.0.0.1", False), ("http://me:pw@proxy.example.com", False), ("proxy.example.com:3128", False),
        ("http://", False), ("http://proxy?x", False),
    ],
)  # fmt: skip
def test_a_proxy_is_named_by_a_plain_url_without_credentials(tmp_path: Path, url: str, taken: bool) -> None:
    file = settings(tmp_path, f'[[watch]]\npath = "/w"\n[aws]\nproxy_url = "{url}"\n')
    if taken:
        assert load(str(file)).aws.proxy_url == url
        return
    with pytest.raises(SettingsInvalid, match=r":4: \[aws\] proxy_url: "):
        load(str(file))


WRONG = {
    "an unknown key": ('[[watch]]\npath = "{w}"\nlgos = []\n', ":3: [[watch]] lgos: unknown key (did you mean logs?)"),
    "an unknown table": ('[[watch]]\npath = "{w}"\n[sinks]\n', ":3: sinks: unknown table (did you mean [[sink]]?)"),
    "a root inside a root": (
        '[[watch]]\npath = "{w}"\n[[watch]]\npath = "{w}/x"\n', ":4: [[watch]] path: {w}/x lies inside the watch root"
    ),
    "a root twice": ('[[watch]]\npath = "{w}"\n[[watch]]\npath = "{w}/"\n', ":4: [[watch]] path: {w} is watched twice"),
    "the whole file system": ('[[watch]]\npath = "/"\n', ":2: [[watch]] path: must not be the whole file system"),
    "the whole file system once more": ('[[watch]]\npath = "//./"\n', ":2: [[watch]] path: must not be the whole"),
    "a journal inside a root": (
        '[[watch]]\npath = "{w}"\n[journal]\npath = "{w}/j"\n', ":4: [journal] path: {w}/j lies inside the watch root"
    ),
    "a spool inside a root": (
        '[[watch]]\npath = "{w}"\n[spool]\npath = "{w}/s"\n', ":4: [spool] path: {w}/s lies inside the watch root"
    ),
    "a root that is relative": ('[[watch]]\npath = "w"\n', ":2: [[watch]] path: must be an absolute path"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("command", [("run",), ("config", "validate")], ids=" ".join)
def test_settings_that_cannot_be_meant_are_refused_with_line_and_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str, command: tuple[str, ...]
) -> None:
    text, complaint = WRONG[wrong]
    (tmp_path / "w").mkdir()
    file = settings(tmp_path, text.replace("{w}", f"{tmp_path}/w"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.environ", {})
        assert cli.main([*command, "--config", str(file)]) == 78
    assert f"{file}{complaint.replace('{w}', f'{tmp_path}/w')}" in capsys.readouterr().err


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646, 0o622])
def test_settings_that_others_can_write_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: int
) -> None:
    file = settings(tmp_path, '[[watch]]\npath = "/w"\n')
    file.chmod(mode)
    assert cli.main(["config", "validate", "--config", str(file)]) == 78
    assert f"(chmod go-w {file})" in capsys.readouterr().err
