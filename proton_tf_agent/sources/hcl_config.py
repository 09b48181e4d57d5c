"""What the `.tf` files of a root module declare: its outputs and its backend.

The only room that knows python-hcl2, and it imports it with the first file that has to be parsed: without its grammar
cache that costs seconds (docs/decisions/0006-hcl.md), so nothing on the watch path may come here.

Which files count, and that overrides come last: terraform internal/configs/parser_file_matcher.go, module_merge.go;
that `x.tofu` stands in for `x.tf`: opentofu internal/configs/parser_config_dir.go.

Promise: any bytes give a `Declared`; a file that cannot be understood is named with its reason, which quotes nothing of
it, and the others still count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import backend
from .backend import Backend

MAX_FILES = 200
MAX_FILE = 128 * 1024
MAX_PARSED = 256 * 1024  # python-hcl2 takes 25 to 40 seconds of CPU for a megabyte

_ENDINGS = (".tf.json", ".tofu.json", ".tf", ".tofu")
_MAX_NAME, _MAX_DESCRIPTION = 256, 1000
# A file without one of these words declares neither outputs nor a backend: most of a module is never parsed.
_WORTH_PARSING = re.compile(rb"\b(?:output|terraform)\b")
_TEMPLATE = re.compile(r"\$\{|%\{")
_NEEDED = {backend.S3: ("bucket", "key")}


@dataclass(frozen=True, slots=True)
class DeclaredOutput:
    """An `output` block. sensitive is None, description empty, where they are expressions."""

    name: str
    sensitive: bool | None = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Declared:
    """What a root module declares. backend is None when it has no backend block; not_read: (file, reason)."""

    outputs: tuple[DeclaredOutput, ...] = ()
    backend: Backend | None = None
    not_read: tuple[tuple[str, str], ...] = ()


class _Unknown:
    """An expression: nothing here evaluates one."""


_UNKNOWN = _Unknown()
_Block = Mapping[str, Any]


def files_of(names: Sequence[str]) -> list[str]:
    """Of the names in a directory those that make up the module, primary files first, then overrides, each by name."""
    present = {name for name in names if _stem(name)}
    kept = (name for name in present if _alternative(name) not in present)
    return sorted(kept, key=lambda name: (_is_override(name), name))


def read(files: Mapping[str, bytes]) -> Declared:
    """What these files (name -> content) declare together."""
    outputs: dict[str, DeclaredOutput] = {}
    found: Backend | None = None
    not_read: list[tuple[str, str]] = []
    budget = MAX_PARSED
    for count, name in enumerate(files_of(list(files))):
        content = files[name]
        if not _WORTH_PARSING.search(content):
            continue
        reason = _too_much(count, len(content), budget)
        blocks, reason = ([], reason) if reason else _blocks(name, content)
        if reason:
            not_read.append((name, reason))
            continue
        budget -= len(content)
        for kind, label, body in blocks:
            if kind == "output" and 0 < len(label) <= _MAX_NAME:
                outputs[label] = _output(label, body, outputs.get(label))
            elif kind != "output":
                found = _backend(kind, label, body)
    return Declared(tuple(outputs[name] for name in sorted(outputs)), found, tuple(not_read))


def _too_much(count: int, size: int, budget: int) -> str:
    if count >= MAX_FILES:
        return f"more than {MAX_FILES} files"
    if size > MAX_FILE:
        return f"larger than {MAX_FILE // 1024} KiB"
    return f"more than {MAX_PARSED // 1024} KiB in all" if size > budget else ""


# --- names -------------------------------------------------------------------------------------------------------


def _stem(name: str) -> str:
    if name.startswith(".") or name.endswith("~") or (name.startswith("#") and name.endswith("#")):
        return ""
    return next((name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)), "")


def _alternative(name: str) -> str:
    """The file that OpenTofu reads in place of this one."""
    for ending in (".tf.json", ".tf"):
        if name.endswith(ending):
            return name.removesuffix(ending) + ending.replace(".tf", ".tofu")
    return ""


def _is_override(name: str) -> bool:
    stem = _stem(name)
    return stem == "override" or stem.endswith("_override")


# --- bytes to blocks: (kind, label, body), kind one of output, backend, cloud, state_store -----------------------


def _blocks(name: str, content: bytes) -> tuple[list[tuple[str, str, _Block]], str]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return [], "not UTF-8"
    try:
        return list(_of_json(text) if name.endswith(".json") else _of_hcl(text)), ""
    except RecursionError:
        return [], "nested too deeply"
    except Exception as error:  # noqa: BLE001, RUF100 - foreign text in a foreign parser; its words may quote secrets
        line = getattr(error, "line", getattr(error, "lineno", None))
        return [], f"not understood at line {line}" if isinstance(line, int) and line > 0 else "not understood"


def _of_hcl(text: str) -> Iterator[tuple[str, str, _Block]]:
    import hcl2
    from hcl2.utils import SerializationOptions

    tree = hcl2.parses_to_tree(text)
    body = tree.children[0]
    # Only these are transformed: that is half of the work, and nothing in a resource can spoil it.
    body.children = [part for part in body.children if _opens(part) in ("output", "terraform")]
    options = SerializationOptions(with_comments=False, preserve_heredocs=False)
    document = hcl2.serialize(hcl2.transform(tree), serialization_options=options)
    for block in document.get("output", ()):
        for label, inner in _labelled(block):
            yield "output", label, {key: _value(value) for key, value in inner.items()}
    for settings in document.get("terraform", ()):
        for kind in ("backend", "state_store", "cloud"):
            for block in settings.get(kind, ()):
                for label, inner in _labelled(block) if kind != "cloud" else (("", block),):
                    yield kind, label, {key: _value(value) for key, value in inner.items()}


def _opens(part: Any) -> str:
    """The keyword of a top-level block in python-hcl2's tree; empty for everything else."""
    if getattr(part, "data", "") != "block":
        return ""
    return str(part.children[0].children[0])


def _labelled(block: _Block) -> Iterator[tuple[str, _Block]]:
    for label, inner in block.items():
        if isinstance(inner, Mapping):
            yield str(label).strip('"'), inner


def _value(value: Any) -> Any:
    """A literal as what it means, anything else as unknown. python-hcl2 keeps the quotes of what is a string."""
    if isinstance(value, Mapping):
        return {str(key).strip('"'): _value(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float):
        return value
    if not (isinstance(value, str) and len(value) >= 2 and value[0] == value[-1] == '"'):
        return _UNKNOWN
    from hcl2.utils import process_escape_sequences

    return _literal(process_escape_sequences(value[1:-1]))


def _of_json(text: str) -> Iterator[tuple[str, str, _Block]]:
    """Terraform's JSON syntax: blocks by label, one or a list of them at every level (internal/configs, hcl/json)."""
    document = json.loads(text)
    for top in _each(document):
        for labels in _each(top.get("output")):
            for label, bodies in labels.items():
                for body in _each(bodies):
                    yield "output", label, _literals(body)
        for settings in _each(top.get("terraform")):
            for kind in ("backend", "state_store"):
                for labels in _each(settings.get(kind)):
                    for label, bodies in labels.items():
                        for body in _each(bodies):
                            yield kind, label, _literals(body)
            for body in _each(settings.get("cloud")):
                yield "cloud", "", _literals(body)


def _each(value: Any) -> Iterator[_Block]:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, Mapping):
            yield item


def _literals(body: _Block) -> _Block:
    return {key: _literals(v) if isinstance(v, Mapping) else _literal(v) for key, v in body.items()}


def _literal(value: Any) -> Any:
    """A string without its escapes of templates; unknown when it is a template."""
    if not isinstance(value, str):
        return value
    if _TEMPLATE.search(value.replace("$${", "").replace("%%{", "")):
        return _UNKNOWN
    return value.replace("$${", "${").replace("%%{", "%{")


# --- blocks to facts ---------------------------------------------------------------------------------------------


def _output(name: str, body: _Block, before: DeclaredOutput | None) -> DeclaredOutput:
    """An output block; one in an override file changes what it mentions."""
    known = before or DeclaredOutput(name)
    sensitive = body.get("sensitive", known.sensitive)
    if isinstance(sensitive, str) and sensitive in ("true", "false"):
        sensitive = sensitive == "true"  # Terraform converts it
    description = body.get("description", known.description)
    return DeclaredOutput(
        name,
        sensitive if isinstance(sensitive, bool) else (False if sensitive is None else None),
        description[:_MAX_DESCRIPTION] if isinstance(description, str) else "",
    )


def _backend(kind: str, label: str, body: _Block) -> Backend:
    if kind != "backend":
        return Backend(kind)
    unknown = [name for name, value in body.items() if _holds_unknown(value)]
    # A partial block: the rest comes from -backend-config, and only the record has it.
    unknown += [name for name in _NEEDED.get(label, ()) if name not in body]
    return backend.of_settings(label, body, recorded=False, unknown=unknown)


def _holds_unknown(value: Any) -> bool:
    return value is _UNKNOWN or (isinstance(value, Mapping) and any(map(_holds_unknown, value.values())))
