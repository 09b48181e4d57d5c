"""Section B of docs/bad-input.md: JSON in general, wherever the agent reads it: metadata, states, lock infos, logs."""

from __future__ import annotations

import json

from .hostile import DEPLOYMENT_ID, Case
from .hostile_content import (
    between,
    encoded,
    good_state,
    in_document,
    in_lock,
    in_log,
    in_metadata,
    in_state,
    metadata,
    with_outputs,
)

_HEAD = b'{"version":4,"serial":1,"lineage":"l","outputs":'
_MIB = 1 << 20
_X, _ONLY_O = '"x"', (("o", "x"),)  # an output that is good, beside one that is not


def _good(arn: str) -> bytes:
    return json.dumps(metadata(arn)).encode()


def _more(arn: str, member: bytes) -> bytes:
    """Good metadata with one member more."""
    return _good(arn)[:-1] + b"," + member + b"}"


def _million_keys() -> bytes:
    return _HEAD + b"{" + b",".join(b'"k%d":{}' % number for number in range(1_000_000)) + b'},"resources":[]}\n'


def _zeros() -> bytes:
    return _HEAD + b'{"o":{"value":[' + b"0," * (32 * _MIB) + b"0]}}}\n"


def _containers(one: bytes) -> bytes:
    """A state that is small enough to be read whole, and holds nothing but containers, in an output that is secret."""
    many = (one * (15 * _MIB // len(one)))[:-1]
    return _HEAD + b'{"o":{"sensitive":true,"value":[' + many + b']}},"resources":[]}\n'


def _deep(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


CASES: tuple[Case, ...] = (
    in_metadata("27", "empty metadata", lambda _arn: b"", "E_EMPTY"),
    in_metadata("27", "metadata of nothing but space", lambda _arn: b" \n\t ", "E_EMPTY"),
    in_state("27", "a state of nothing but space", b"  \n", "E_EMPTY"),
    in_lock("27", "an empty lock info", b"", "E_EMPTY"),
    in_metadata("28", "torn metadata", lambda arn: _good(arn)[:-7], "E_JSON"),
    in_state("28", "a torn state", lambda: good_state()[:-3], "E_PARTIAL"),
    in_state("28", "a state torn in its head", lambda: good_state()[:100], "E_PARTIAL"),
    in_lock("28", "a torn lock info", b'{"ID":"1', "E_PARTIAL"),
    in_metadata("29", "metadata and more behind them", lambda arn: _good(arn) + b" {}", "E_JSON"),
    in_state("29", "a state and more behind it", b'{"version":4} {}\n', "E_JSON"),
    in_lock("29", "a lock info and more behind it", b'{"ID":"1"} {}', "E_JSON"),
    in_metadata("30", "a deployment twice", lambda arn: _more(arn, b'"deploymentId":"x"'), "E_JSON_DUPKEY"),
    in_metadata("30", "any key twice", lambda arn: _more(arn, b'"x":{"y":1,"y":1}'), "E_JSON_DUPKEY"),
    in_state("30", "a serial twice", lambda: good_state().replace(b'"serial"', b'"serial": 1, "serial"')),
    in_metadata("31", "NaN in metadata", lambda arn: _more(arn, b'"x":NaN'), "E_JSON_NUM"),
    in_metadata("31", "-Infinity in metadata", lambda arn: _more(arn, b'"x":-Infinity'), "E_JSON_NUM"),
    in_state("31", "NaN in a state", _HEAD + b'{"o":{"value":NaN}}}\n', "E_JSON"),
    in_log("31", "NaN in a log", between(b'{"@module":"terraform.ui","n":NaN,"type":"log"}\n')),
    in_metadata("32", "1e400 in metadata", lambda arn: _more(arn, b'"x":1e400')),
    in_state("32", "1e400 in a state", _HEAD + b'{"o":{"value":1e400}}}\n'),
    in_log("32", "1e400 as an output", with_outputs(n="1e400"), outputs=(("n", "1e400"),)),
    in_metadata("33", "5,000 digits in metadata", lambda arn: _more(arn, b'"x":' + b"9" * 5000)),
    in_state("33", "5,000 digits in a state", _HEAD + b'{"o":{"value":' + b"9" * 5000 + b"}}}\n"),
    in_state("33", "a serial of 5,000 digits", b'{"version":4,"serial":' + b"9" * 5000 + b"}\n", "E_SCHEMA"),
    in_log("33", "5,000 digits as an output", with_outputs(n="9" * 5000, o=_X), outputs=_ONLY_O, omitted=("n",)),
    in_log(
        "34",
        "numbers that no machine holds",
        with_outputs(a="12345678901234567890", b="0.1", c="1E-7", d="[1.10,-0]"),
        outputs=(("a", "12345678901234567890"), ("b", "0.1"), ("c", "1E-7"), ("d", "[1.10,-0]")),
    ),
    in_metadata("35", "60,000 brackets as metadata", lambda _arn: b"[" * 60_000, "E_JSON_DEPTH"),
    in_state("35", "100,000 brackets", _HEAD + b'{"o":{"value":' + _deep(100_000) + b"}}}\n", "E_JSON_DEPTH"),
    in_lock("35", "60,000 brackets in a lock info", b'{"x":' + _deep(30_000) + b"}", "E_JSON_DEPTH"),
    in_log("35", "100,000 brackets in a log", between(b'{"x":' + _deep(100_000) + b',"type":"outputs"}\n')),
    in_metadata("36", "metadata 900 deep", lambda arn: _more(arn, b'"x":' + _deep(900)), "E_JSON_DEPTH"),
    in_state("36", "an output 900 deep", _HEAD + b'{"o":{"value":' + _deep(900) + b"}}}\n"),
    in_log("36", "an output 900 deep", with_outputs(n=_deep(900).decode(), o=_X), outputs=_ONLY_O, omitted=("n",)),
    in_state("37", "a million keys", _million_keys, "E_TOO_LARGE"),
    in_state("38", "64 MiB of zeros in a state", _zeros, "E_TOO_LARGE"),
    in_log(
        "38", "32 MiB of zeros in a log", between(b'{"@module":"terraform.ui","x":[' + b"0," * (16 * _MIB) + b"0]}\n"),
        "E_TOO_LARGE",
    ),
    in_state("38b", "a state of empty objects", lambda: _containers(b'{"a":{}},'), "E_TOO_LARGE"),
    in_state("38b", "a state of empty arrays", lambda: _containers(b"[],"), "E_TOO_LARGE"),
    in_log(
        "38b", "an output of empty arrays",
        with_outputs(n="[" + "[]," * (5 * _MIB) + "[]]", o='"x"'), "E_TOO_LARGE", outputs=(),
    ),
    in_metadata("39", "metadata that are no UTF-8", lambda arn: _good(arn).replace(b"case", b"\xff\xfe"), "E_UTF8"),
    in_state("39", "a state that is no UTF-8", _HEAD + b'{"o\xff":{"value":1}}}\n', "E_UTF8"),
    in_lock("39", "a lock info that is no UTF-8", b'{"ID":"\xff"}', "E_UTF8"),
    in_log("39", "lines that are no UTF-8", between(b"\xff\n", b'{"@module":"terraform.ui","\xff":1,"type":"log"}\n')),
    in_metadata("40", "metadata with a byte order mark", lambda arn: b"\xef\xbb\xbf" + _good(arn)),
    in_metadata("40", "metadata in UTF-16", lambda arn: _good(arn).decode().encode("utf-16"), "E_UTF8"),
    in_metadata("40", "metadata in UTF-32", lambda arn: _good(arn).decode().encode("utf-32"), "E_UTF8"),
    in_state("40", "a state with a byte order mark", lambda: b"\xef\xbb\xbf" + good_state()),
    in_state("40", "a state in UTF-16", lambda: good_state().decode().encode("utf-16"), "E_UTF8"),
    in_log("40", "a log with a byte order mark", lambda lines: [b"\xef\xbb\xbf", *encoded(lines)]),
    in_document("41", "half a character in an ARN", lambda arn: metadata(arn + "\ud800"), "E_ARN"),
    in_state("41", "half a character in a state", _HEAD + b'{"o":{"value":"\\ud800"}}}\n', "E_UTF8"),
    in_log(
        "41", "half a character in a log", between(b'{"@module":"terraform.ui","@message":"\\udfff","type":"log"}\n')
    ),
    in_document("42", "a NUL in an ARN", lambda arn: metadata(arn + "\0"), "E_ARN"),
    in_document("42", "a NUL in a deployment", lambda arn: metadata(arn, DEPLOYMENT_ID + "\0"), "E_DEPLOYMENT_ID"),
    in_log("42", "a NUL in an output", with_outputs(n='"a\\u0000b"', o=_X), outputs=_ONLY_O, omitted=("n",)),
    in_document("43", "keys with a meaning elsewhere", lambda arn: metadata(arn, __proto__={"arn": 1}, __class__=1)),
    in_log("43", "an output named as a method", with_outputs(__proto__='"x"'), outputs=(("__proto__", "x"),)),
    in_state("43", "a key of ten megabytes", _HEAD + b'{"' + b"k" * (10 * _MIB) + b'":{"value":1}}}\n'),
    in_document("44", "an array as metadata", lambda arn: [metadata(arn)], "E_SCHEMA"),
    in_document("44", "a string as metadata", lambda arn: arn, "E_SCHEMA"),
    in_state("44", "an array as a state", b"[4]\n", "E_SCHEMA"),
    in_lock("44", "a number as a lock info", b"42", "E_SCHEMA"),
    in_log("44", "arrays and numbers in a log", between(b"[1]\n", b"42\n", b'"x"\n', b"null\n")),
    in_document("45", "members that nobody knows", lambda arn: metadata(arn, someday=[{"x": {}}])),
    in_log("45", "messages that nobody knows", between(b'{"@module":"terraform.ui","new":{},"type":"someday"}\n')),
    in_metadata("46", "comments in metadata", lambda arn: b"// Proton\n" + _good(arn), "E_JSON"),
    in_metadata("46", "single quotes in metadata", lambda arn: _good(arn).replace(b'"', b"'"), "E_JSON"),
    in_metadata("46", "YAML as metadata", lambda arn: b"resourceMetadata:\n  arn: " + arn.encode(), "E_JSON"),
    in_state("46", "YAML as a state", b"version: 4\n", "E_JSON"),
)  # fmt: skip
