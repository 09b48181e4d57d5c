"""Terragrunt's prefixes on the lines of Terraform and OpenTofu: which unit a line is from, and the line itself.

`terragrunt run --all` writes the output of many units into one log. Understood (sources in
github.com/gruntwork-io/terragrunt):
- `14:27:45.423 STDOUT [unit] tofu: rest` (v0.67.0 and later; pkg/log/format/format.go at v1.1.3,
  NewPrettyFormatPlaceholders). `[unit] ` is absent where one unit is run in its own directory. Output of commands that
  nobody asked for (automatic init) and of headless ones comes as INFO and ERROR.
- `time=... level=stdout prefix=unit tf-path=tofu msg=rest` (v0.67.0 and later; the same file,
  NewKeyValueFormatPlaceholders; `binary=` for `tf-path=` at v0.67: internal/log/formatter/formatter.go, printKeyValue)
- `[/path/of/unit] rest` (v0.32 to v0.66 with --terragrunt-include-module-prefix; configstack/stack.go and
  util/prefix-writer.go at v0.62.0)

Terragrunt's own lines name no tool and are nobody's. The newer forms leave out empty lines (pkg/log/writer/writer.go).
Not understood: `--log-format bare` (no prefixes at all), `json` (whole blocks of output as one message) and formats
people make themselves. Output of `-json` commands is forwarded without a prefix (internal/tf/run_cmd.go,
shouldForceForwardTFStdout).
"""

from __future__ import annotations

import posixpath
import re

_ANSI = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")
_FIRST = frozenset(b"0123456789[t\x1b")
_FORMS = (
    re.compile(
        rb"\d\d:\d\d:\d\d\.\d{3} (?:(?:STDOUT|STDERR) +(?:\[(?P<unit>[^\[\]]*)\] )?[\w.-]+"
        rb"|(?:INFO|ERROR) +(?:\[(?P<headless>[^\[\]]*)\] )?(?:terraform|tofu)): ?(?P<rest>.*)",
        re.DOTALL,
    ),
    re.compile(
        rb"time=\S+ level=(?:stdout|stderr|info|error)(?: prefix=\[?(?P<unit>[^\s\[\]]+)\]?)?"
        rb" (?:tf-path|binary)=\S+ msg=(?P<rest>.*)",
        re.DOTALL,
    ),
    re.compile(rb"\[(?P<unit>[^\s\[\]]*/[^\s\[\]]*)\] (?P<rest>.*)", re.DOTALL),
)
# util/file.go, TerragruntCacheDir: where a unit's configuration is copied to and run
CACHE = ".terragrunt-cache"


def may_be_prefixed(line: bytes) -> bool:
    """Whether a line begins like one with a prefix; cheap, for lines by the million."""
    return line[0] in _FIRST


def part(line: bytes) -> tuple[str, bytes] | None:
    """(unit, rest) of a line that Terragrunt has passed on; None for every other. The unit is as it is written."""
    if b"\x1b" in line:
        line = _ANSI.sub(b"", line)
    for form in _FORMS:
        found = form.match(line)
        if found:
            named = found.groupdict()
            unit = named["unit"] or named.get("headless") or b""
            return unit.decode("utf-8", "replace"), named["rest"]
    return None


def below(directory: str, unit: str) -> str | None:
    """A unit as a path below directory; empty for directory itself, None for a place that is not below it."""
    path = posixpath.normpath(posixpath.join(directory, unit_directory(unit)))
    if path == directory:
        return ""
    above = directory.rstrip("/") + "/"
    return path.removeprefix(above) if path.startswith(above) else None


def unit_directory(path: str) -> str:
    """The unit whose copy in Terragrunt's cache a path lies in; any other path as it is."""
    before, cache, _ = f"{path}/".partition(f"/{CACHE}/")
    return before if cache else path
