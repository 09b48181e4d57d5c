"""Kinds of values: how each is checked, written as TOML and said in JSON Schema.

Knows values, not keys: `tables` says which key takes which kind. A check complains instead of raising, so
that one reading finds every mistake; what it returns after complaining is not used. Touches no file.

Over 400 lines because there are so many kinds, each of a few lines.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..domain.binding import is_deployment_id, is_resource_arn
from ..domain.output_mapping import MAX_KEY
from ..domain.terms import Occasion
from ..domain.values import Struct

REGION = r"[a-z]{2}(?:-[a-z]+)+-\d"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_NAMES = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "an array",
    dict: "a table",
}


class Complain(Protocol):
    """Takes one mistake. within leads from the value to the part of it that is wrong."""

    def __call__(self, what: str, hint: str = "", *within: str | int) -> None: ...


def toml(value: object) -> str:
    """A value as TOML, on one line."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{toml_key(key)} = {toml(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def toml_key(name: str) -> str:
    """A key as TOML: bare where that is possible, else quoted."""
    return name if _BARE_KEY.fullmatch(name) else toml(name)


class Kind(Struct, frozen=True):
    """What a value may be. takes completes "must be ..."; check gets a value of one of `types`."""

    takes: str
    types: tuple[type, ...]
    check: Callable[[Any, Complain], Any]
    schema: Mapping[str, Any]
    write: Callable[[Any], str] = toml

    def read(self, value: object, complain: Complain) -> Any:
        """The value as the settings hold it. Types must match exactly: to TOML, true is no number."""
        if type(value) not in self.types:
            complain(f"must be {self.takes}, not {_NAMES.get(type(value), 'a date or time')}")
            return None
        return self.check(value, complain)


# --- strings ----------------------------------------------------------------------------------------------


def _text(check: Callable[[str, Complain], object], **schema: object) -> Kind:
    """A string without control characters; check may return a better spelling of it."""

    def checked(value: str, complain: Complain) -> object:
        if value and not _CONTROL.search(value):
            return check(value, complain)
        complain("holds a control character" if value else "is empty")
        return None

    return Kind("a string", (str,), checked, {"type": "string", "minLength": 1, **schema})


def _path(value: str, complain: Complain) -> str:
    parts = [part for part in value.split("/") if part not in ("", ".")]
    if not value.startswith("/"):
        complain("must be an absolute path", "~ and $ are not expanded here" if value[0] in "~$" else "")
    elif ".." in parts:
        # Taken away letter by letter it can mean another directory than the kernel finds (symbolic links).
        complain('must not hold ".."', "write the path it leads to")
    elif not parts:
        complain("must not be the whole file system", "name what is meant below /")
    return "/" + "/".join(parts)


def _arn(value: str, complain: Complain) -> str:
    if not is_resource_arn(value):
        complain(
            "is not the ARN of a Proton resource",
            "the ARN of an environment, component, service instance or pipeline, such as "
            "arn:aws:proton:REGION:ACCOUNT:environment/NAME",
        )
    return value


def _deployment_id(value: str, complain: Complain) -> str:
    if not is_deployment_id(value):
        complain("is not a deployment ID", "a UUID in lower case; leave the key out if it is not known")
    return value


def _region(value: str, complain: Complain) -> str:
    if not re.fullmatch(REGION, value):
        complain("is not the name of an AWS region", 'for example "eu-west-1"')
    return value


_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_TABLE_NAME = r"[A-Za-z0-9_.-]{3,255}"


def _bucket(value: str, complain: Complain) -> str:
    if not re.fullmatch(_BUCKET, value):
        complain("is not the name of a bucket", "the name alone, without s3:// and without a key")
    return value


def _table_name(value: str, complain: Complain) -> str:
    if not re.fullmatch(_TABLE_NAME, value):
        complain("is not the name of a DynamoDB table", "the name alone, not its ARN")
    return value


_PLACE = rf"(?:{REGION}):\d{{12}}"
_EVENT_BUS = rf"(?:arn:aws(?:-[a-z]+)*:events:{_PLACE}:event-bus/)?[A-Za-z0-9._-]{{1,256}}"
_TOPIC = rf"arn:aws(?:-[a-z]+)*:sns:{_PLACE}:[A-Za-z0-9_-]{{1,251}}(?:\.fifo)?"
_QUEUE = r"https?://[^/]+/\d{12}/[A-Za-z0-9_-]{1,75}(?:\.fifo)?"


_TAG_KEY = r"[A-Za-z0-9 _.:/=+@-]{1,128}"


def _tag_key(value: str, complain: Complain) -> str:
    if not re.fullmatch(_TAG_KEY, value):
        complain("is no key of a tag", "at most 128 letters, digits, spaces and _ . : / = + @ -")
    return value


def _event_bus(value: str, complain: Complain) -> str:
    if not re.fullmatch(_EVENT_BUS, value, re.ASCII):
        complain("is not an event bus", 'its name or its ARN, for example "default"')
    return value


def _topic(value: str, complain: Complain) -> str:
    if not re.fullmatch(_TOPIC, value, re.ASCII):
        complain("is not the ARN of a topic", 'for example "arn:aws:sns:eu-west-1:123456789012:deployments"')
    return value


def _queue(value: str, complain: Complain) -> str:
    hint = 'as `aws sqs get-queue-url` prints it: "https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"'
    if not re.fullmatch(_QUEUE, value, re.ASCII):
        complain("is not the URL of a queue", hint)
    else:
        _url(value, complain, hint, only_https=True)
    return value


_SINK_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


def _sink_name(value: str, complain: Complain) -> str:
    if not re.fullmatch(_SINK_NAME, value):
        complain("is no sink name", "at most 64 letters, digits, dots, dashes and underscores")
    return value


_REPOSITORY = r"[A-Za-z0-9._-]{1,100}/[A-Za-z0-9._-]{1,100}"


def _repository(value: str, complain: Complain) -> str:
    if not re.fullmatch(_REPOSITORY, value) or set(value.split("/")) & {".", ".."}:
        complain("is not the name of a repository", "its owner and its name alone: acme/infra")
    return value


_PROJECT = r"[0-9]{1,18}|[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+"


def _project(value: str, complain: Complain) -> str:
    if not re.fullmatch(_PROJECT, value) or len(value) > 500:
        complain("is not the name of a project", "its groups and its name, acme/platform/infra, or its number")
    return value


def _name(value: str, complain: Complain) -> str:
    if len(value) > 255:
        complain("is longer than 255 characters")
    return value


_PROFILE = r"[A-Za-z0-9_.@/+-]{1,64}"


def _profile(value: str, complain: Complain) -> str:
    if not re.fullmatch(_PROFILE, value):
        complain("is not the name of a profile", "the name between [profile and ] in AWS's configuration file")
    return value


_USER_NAME = r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\$?"


def _user_name(value: str, complain: Complain) -> str:
    if not re.fullmatch(_USER_NAME, value):
        complain("is not the name of a user", "the login name, not a number")
    return value


_OWNER = rf"{_USER_NAME}|\d{{1,10}}"


def _owner(value: str, complain: Complain) -> str:
    if not re.fullmatch(_OWNER, value, re.ASCII):
        complain("is not a user", "a login name, or the number of a user that only containers know")
    return value


def _endpoint(value: str, complain: Complain) -> str:
    return _url(value, complain, 'for example "http://127.0.0.1:8790"', only_https=True)


def _hook(value: str, complain: Complain) -> str:
    return _url(
        value, complain, 'for example "https://hooks.example.com/terraform"', only_https=True, instead="`secrets`"
    )


_REFERENCE = r"file:/.+|env:[A-Za-z_][A-Za-z0-9_]*|credential:[A-Za-z0-9._-]+"


def _secret(value: str, complain: Complain) -> str:
    if not re.fullmatch(_REFERENCE, value):
        complain("must say where the secret is, never the secret itself", 'for example "file:/etc/hook.key"')
    return value


def _proxy(value: str, complain: Complain) -> str:
    """TLS goes through a proxy as it is, so it may be asked without."""
    return _url(value, complain, 'for example "http://proxy.example.com:3128"', only_https=False)


def _url(
    value: str, complain: Complain, hint: str, *, only_https: bool, instead: str = "the AWS credential chain"
) -> str:
    """instead: where credentials come from."""
    from urllib.parse import urlsplit

    try:
        url = urlsplit(value)
        host, port = url.hostname or "", url.port
    except ValueError:
        complain("is not a URL", hint)
        return value
    if url.scheme not in ("http", "https"):
        complain("must be an https URL, or http to a literal loopback address" if only_https else "is no URL", hint)
    elif only_https and url.scheme == "http" and not _is_loopback(host):
        complain(
            "must be an https URL, or http to a literal loopback address",
            "write 127.0.0.1 instead of localhost" if host == "localhost" else hint,
        )
    elif not re.fullmatch(r"[0-9A-Za-z.:-]+", host) or port == 0:
        complain("names no host and port", hint)
    elif "@" in url.netloc:
        complain("must not hold credentials", f"they come from {instead}")
    elif "?" in value or "#" in value:
        complain("must not hold a query or a fragment", hint)
    return value


def _is_loopback(host: str) -> bool:
    """A name may lead anywhere by the time it is looked up; only a literal address is known to stay here."""
    import ipaddress

    try:
        return "%" not in host and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(value: str, complain: Complain) -> str:
    host, _, port = value.rpartition(":")
    if value.startswith("unix:"):
        _path(value.removeprefix("unix:"), complain)
    elif not _is_loopback(host.strip("[]")) or not re.fullmatch(r"\d{1,5}", port) or int(port) > 65_535:
        complain("must be a literal loopback address with a port, or a unix socket", 'for example "127.0.0.1:9187"')
    return value


def choice(*options: str) -> Kind:
    """One of a few words."""
    quoted = [f'"{option}"' for option in options]

    def check(value: str, complain: Complain) -> str:
        if value not in options:
            near = nearest(value, options)
            what = f"must be {', '.join(quoted[:-1])} or {quoted[-1]}"
            complain(what, f'did you mean "{near}"?' if near else "")
        return value

    return Kind("a string", (str,), check, {"type": "string", "enum": list(options)})


def nearest(word: str, words: tuple[str, ...]) -> str:
    """The word a person may have meant; empty when none is near."""
    import difflib

    return next(iter(difflib.get_close_matches(word[:100].lower(), words, 1, 0.6)), "")


# --- globs ------------------------------------------------------------------------------------------------

# As `fnmatch` reads it: a ] straight behind [ or [! belongs to the set.
_CLOSED_GLOB = re.compile(r"(?:[^\[]|\[!?+\]?+[^\]]*\])*+")
_PARTITIONS = ("arn:aws:proton:", "arn:aws-cn:proton:", "arn:aws-us-gov:proton:")


def _glob(value: str, complain: Complain) -> str:
    if not _CLOSED_GLOB.fullmatch(value):
        complain("has a [ that is never closed", "write [[] for the character itself")
    return value


def _log_glob(value: str, complain: Complain) -> str:
    if "/" in value:
        complain("is matched against file names, which hold no /", "everything below path is looked at anyway")
    return _glob(value, complain)


def _output_glob(value: str, complain: Complain) -> str:
    if re.search(r"[^\w*?\[\]!-]", value):
        complain("matches no output name", "this is a glob, not a regular expression: * stands for anything")
    return _glob(value, complain)


def _arn_glob(value: str, complain: Complain) -> str:
    literal = re.split(r"[*?\[]", value, maxsplit=1)[0]
    fits = any(start.startswith(literal) or literal.startswith(start) for start in _PARTITIONS)
    if re.search(r"[^\w:/*?\[\]!-]", value) or not fits or (literal == value and not is_resource_arn(value)):
        complain("matches no ARN of a Proton resource", 'for example "arn:aws:proton:*:123456789012:*"')
    return _glob(value, complain)


_BIND_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


def _bind_name(value: str, complain: Complain) -> str:
    if not re.fullmatch(_BIND_NAME, value):
        complain("is no name for a run", "at most 100 letters, digits, dots, dashes and underscores")
    return value


def _resource_glob(value: str, complain: Complain) -> str:
    if ":" in value:
        return _arn_glob(value, complain)
    if re.search(r"[^\w.*?\[\]!-]", value):
        complain("matches neither the ARN of a Proton resource nor a name of [[bind]]", "an ARN begins with arn:")
    return _glob(value, complain)


def _directory_glob(value: str, complain: Complain) -> str:
    if not value.startswith("/"):
        complain("matches no directory", "write it from / on: jobs choose the names below their own")
    return _glob(value, complain)


# --- what is made of other kinds --------------------------------------------------------------------------


def _inside(complain: Complain, step: str | int) -> Complain:
    def deeper(what: str, hint: str = "", *within: str | int) -> None:
        complain(what, hint, step, *within)

    return deeper


def _array(kind: Kind) -> Kind:
    def check(values: list[object], complain: Complain) -> tuple[Any, ...]:
        return tuple(kind.read(value, _inside(complain, place)) for place, value in enumerate(values))

    return Kind("an array", (list,), check, {"type": "array", "items": dict(kind.schema)})


def _occasion() -> Kind:
    word = choice(*Occasion)

    def check(value: str, complain: Complain) -> Occasion | None:
        word.check(value, complain)
        return Occasion(value) if value in list(Occasion) else None

    return Kind(word.takes, word.types, check, word.schema)


def _rename(values: dict[str, object], complain: Complain) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for name, value in values.items():
        within = _inside(complain, name)
        if not re.fullmatch(r"[\w-]+", name):
            within("is no output name", "each output is renamed by its full name; globs have no meaning here")
        key = _OUTPUT_KEY.read(value, within)
        if key is not None and key in renamed.values():
            within("is a name that another output is given", "give each output a name of its own")
        renamed[name] = key
    return renamed


def _output_key(value: str, complain: Complain) -> str:
    if len(value) > MAX_KEY:
        complain(f"is longer than {MAX_KEY} characters", "Proton takes no longer names")
    return value


# --- counts ------------------------------------------------------------------------------------------------


def count(least: int, most: int) -> Kind:
    """A whole number of things."""

    def check(value: int, complain: Complain) -> int:
        if not least <= value <= most:
            complain(f"must be from {least} to {most}")
        return value

    return Kind("an integer", (int,), check, {"type": "integer", "minimum": least, "maximum": most})


# --- durations --------------------------------------------------------------------------------------------

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?(ms|s|m|h)", re.ASCII)


def duration(least: float, most: float) -> Kind:
    """Seconds, as a number or as a string with a unit: "500ms", "10s", "2m", "1h"."""

    def check(value: float | str, complain: Complain) -> float:
        seconds = _seconds(value)
        if seconds is None:
            complain("is not a duration", 'seconds, or a string such as "500ms", "10s" or "2m"')
        elif not least <= seconds <= most:
            complain(f"must be from {_spelled(least)} to {_spelled(most)}")
        return seconds or 0.0

    schema = {
        "type": ["number", "string"],
        "minimum": least,
        "maximum": most,
        "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})? ?(ms|s|m|h)$",
    }
    return Kind("a duration", (int, float, str), check, schema, _duration_toml)


def _seconds(value: float | str) -> float | None:
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        return float(match[1]) * _SECONDS[match[2]] if match else None
    # Compared, not converted: an integer of a thousand digits fits no float.
    return float(value) if -1e9 < value < 1e9 and math.isfinite(value) else math.inf


def _spelled(seconds: float) -> str:
    """As a person would write it; the bare number where no such spelling reads back as exactly that number."""
    if not seconds:
        return "0s"
    spellings = (f"{seconds / size:.0f}{unit}" for unit, size in reversed(_SECONDS.items()) if seconds >= size)
    return next((text for text in spellings if _seconds(text) == seconds), repr(seconds))


def _duration_toml(seconds: float) -> str:
    text = _spelled(seconds)
    return toml(text) if text[-1].isalpha() else text


# --- sizes --------------------------------------------------------------------------------------------------

_BYTES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(r"(\d{1,9}) ?(KiB|MiB|GiB)", re.ASCII)


def size(least: int, most: int) -> Kind:
    """Bytes, as an integer or as a string with a unit: "512KiB", "8MiB"."""

    def check(value: int | str, complain: Complain) -> int:
        match = _SIZE.fullmatch(value) if isinstance(value, str) else None
        count = int(match[1]) * _BYTES[match[2]] if match else value
        if isinstance(count, str):
            complain("is not a size", 'bytes, or a string such as "512KiB" or "8MiB"')
            return 0
        if not least <= count <= most:
            complain(f"must be from {_sized(least)} to {_sized(most)}")
        return count

    schema = {
        "type": ["integer", "string"],
        "minimum": least,
        "maximum": most,
        "pattern": r"^[0-9]{1,9} ?(KiB|MiB|GiB)$",
    }
    return Kind("a size", (int, str), check, schema, lambda count: toml(_sized(count)))


def _sized(count: int) -> str | int:
    """As a person would write it; the bare number where that is no multiple of a unit."""
    units = (f"{count // unit}{name}" for name, unit in reversed(_BYTES.items()) if count and not count % unit)
    return next(units, count)


# --- the kinds --------------------------------------------------------------------------------------------

_OUTPUT_KEY = _text(_output_key, maxLength=MAX_KEY)

BOOLEAN = Kind("true or false", (bool,), lambda value, complain: value, {"type": "boolean"})
PATH = _text(_path, pattern="^/.*[^/.]")
ARN = _text(_arn, pattern="^arn:aws(-cn|-us-gov)?:proton:")
DEPLOYMENT_ID = _text(_deployment_id, pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
REGION_NAME = _text(_region, pattern=f"^{REGION}$")
BUCKET = _text(_bucket, pattern=f"^{_BUCKET}$")
TABLE_NAME = _text(_table_name, pattern=f"^{_TABLE_NAME}$")
KEY_GLOBS = _array(_text(_glob))
TAG_KEY = _text(_tag_key, pattern=f"^{_TAG_KEY}$")
EVENT_BUS = _text(_event_bus, pattern=f"^{_EVENT_BUS}$")
TOPIC_ARN = _text(_topic, pattern=f"^{_TOPIC}$")
QUEUE_URL = _text(_queue, pattern=f"^{_QUEUE}$")
SINK_NAME = _text(_sink_name, pattern=f"^{_SINK_NAME}$")
PROFILE = _text(_profile, pattern=f"^{_PROFILE}$")
HOOK = _text(_hook, pattern="^https?://")
SECRET = _text(_secret, pattern=f"^({_REFERENCE})$")
SECRETS = _array(SECRET)
ARGUMENTS = _array(_text(lambda value, _complain: value))
REPOSITORY = _text(_repository, pattern=f"^{_REPOSITORY}$")
PROJECT = _text(_project, pattern=f"^({_PROJECT})$")
NAME = _text(_name)
LISTEN = _text(_listen, pattern="^(unix:/|.*:[0-9]+$)")
PROXY = _text(_proxy, pattern="^https?://")
ENDPOINT = _text(_endpoint, pattern="^https?://")
LOG_GLOBS = _array(_text(_log_glob, pattern="^[^/]+$"))
OUTPUT_GLOBS = _array(_text(_output_glob))
USER_NAMES = _array(_text(_user_name, pattern=f"^{_USER_NAME}$"))
OWNERS = _array(_text(_owner, pattern=f"^({_OWNER})$"))
ARN_GLOBS = _array(_text(_arn_glob))
RESOURCE_GLOBS = _array(_text(_resource_glob))
BIND_NAME = _text(_bind_name, pattern=f"^{_BIND_NAME}$")
DIRECTORY_GLOBS = _array(_text(_directory_glob, pattern="^/"))
OCCASIONS = _array(_occasion())
RENAMES = Kind(
    "a table of names",
    (dict,),
    _rename,
    {"type": "object", "additionalProperties": dict(_OUTPUT_KEY.schema)},
)
