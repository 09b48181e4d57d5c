"""What must be gone from foreign text, in every form it may come in."""

from __future__ import annotations

import base64
import html
import json
import random
import re
import string
import sys
import urllib.parse
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from support.work import ratio

from proton_tf_agent.domain.redaction import MASK, NOTHING_TAINTED, Taint, exposes, scrub, scrub_error, without_keys

SECRET = 'p4ss "wörd" <&>/+\\geheim'
TAINT = Taint([SECRET])
PEM = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUabcdef\nQ0Zm9vYmFyYmF6cXV4Z2FyYmFn\n-----END CERTIFICATE-----\n"


def go_json(text: str) -> str:
    """As Go's encoding/json and Terraform's jsonencode() write a string."""
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]
    return escaped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


ENCODINGS: dict[str, Callable[[str], str]] = {
    "raw": lambda text: text,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON, not only ASCII": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "JSON of Go": go_json,
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1],
    "JSON, every character": lambda text: "".join(f"\\u{ord(c):04x}" for c in text),
    "JSON, every character, upper": lambda text: "".join(f"\\u{ord(c):04X}" for c in text),
    "URL of Go": lambda text: urllib.parse.quote(text, safe="$&+=:@"),
    "URL of JavaScript": lambda text: urllib.parse.quote(text, safe="!*'()"),
    "URL, lower": lambda text: re.sub("%..", lambda match: match[0].lower(), urllib.parse.quote(text, safe="")),
    "XML": lambda text: html.escape(text, quote=False).replace('"', "&#34;"),
    "HTML": lambda text: html.escape(text, quote=True),
    "URL": lambda text: urllib.parse.quote(text, safe=""),
    "form": urllib.parse.quote_plus,
    "hex": lambda text: text.encode().hex(),
    "upper hex": lambda text: text.encode().hex().upper(),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_copy_of_a_sensitive_value_is_masked_in_every_encoding(encoding: str) -> None:
    copy = ENCODINGS[encoding](SECRET)
    assert TAINT.mask(f"before {copy} after") == f"before {MASK} after"
    assert TAINT.touches(copy)


@pytest.mark.parametrize("ahead", ["", "u", "us", "use", "user:", "admin:"])
@pytest.mark.parametrize("behind", ["", "\n", "!!", ":end"])
@pytest.mark.parametrize("alphabet", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_copy_inside_longer_base64_is_masked_at_every_alignment(
    ahead: str, behind: str, alphabet: Callable[[bytes], bytes]
) -> None:
    encoded = alphabet((ahead + SECRET + behind).encode()).decode()
    left = TAINT.mask(encoded)
    assert MASK in left
    assert len(left.replace(MASK, "")) <= len(encoded) - len(base64.b64encode(SECRET.encode())) + 8


def test_every_line_of_a_value_with_several_lines_is_masked() -> None:
    first, second = PEM.splitlines()[1:3]
    assert Taint([PEM]).mask(f"a {second} b {first} c") == f"a {MASK} b {MASK} c"
    assert first not in Taint([PEM.replace("\n", "\r\n")]).mask(f"x{first}y")


def test_what_is_secret_in_a_document_is_masked_by_itself_and_what_is_harmless_is_not() -> None:
    """As a secret lies in AWS Secrets Manager: jsonencode() of where and how to log in."""
    taint = Taint([json.dumps({
        "engine": "postgres", "host": "db.example.internal", "port": 54321, "username": "administrator",
        "password": "hunter2-pass", "options": {"keys": ["first-key", 8675309]},
    })])  # fmt: skip
    for secret in ("hunter2-pass", "first-key", "8675309"):
        assert taint.mask(f"<{secret}>") == f"<{MASK}>"
        assert taint.touches(secret.encode().hex())
    harmless = "postgres at db.example.internal:54321 as administrator"
    assert taint.mask(harmless) == harmless
    assert Taint(["[" * 5000]).mask("[[") == "[["


def test_the_password_in_a_sensitive_url_is_masked_by_itself() -> None:
    taint = Taint(["postgres://admin:hunter2-pass@db.example.internal/x?sslmode=require"])
    assert taint.mask("login with hunter2-pass at db.example.internal") == f"login with {MASK} at db.example.internal"
    assert taint.touches(base64.b64encode(b"u:hunter2-pass").decode())


def test_lines_that_every_such_value_has_shred_no_text() -> None:
    text = "no -----BEGIN CERTIFICATE----- and no fi here"
    assert Taint([PEM, "if true\nfi\n-----END CERTIFICATE-----"]).mask(text) == text


def test_a_value_at_the_very_beginning_or_end_of_a_text_is_masked() -> None:
    assert Taint(["x7Qp"]).mask("x7Qp and x7Qp") == f"{MASK} and {MASK}"
    assert Taint(["x7Qp"]).mask("x7Qp") == MASK
    assert Taint(["x7Qp"]).mask("x7Q") == "x7Q"


def test_a_value_read_from_a_file_is_known_without_its_last_newline_in_every_encoding() -> None:
    taint = Taint(["t0ps3cr3t-token\n"])
    assert taint.mask("t0ps3cr3t-token") == MASK
    assert taint.touches(base64.b64encode(b"user:t0ps3cr3t-token").decode())
    assert taint.touches(b"t0ps3cr3t-token".hex())


def test_of_two_values_that_begin_alike_the_longer_is_masked_whole() -> None:
    assert Taint(["abcdef", "abcdefghij"]).mask("xabcdefghijx") == f"x{MASK}x"


def test_copies_that_overlap_are_masked_together() -> None:
    """Masking the first and going on behind it would leave the rest of the second."""
    assert Taint(["abcdef", "defghijkl"]).mask("--abcdefghijkl--") == f"--{MASK}--"
    assert Taint(["abcdef"]).mask("abcdefabcdef abcdef") == f"{MASK} {MASK}"


def test_values_with_the_same_first_hundred_characters_are_told_apart() -> None:
    long = "arn:aws:secretsmanager:" + "x" * 100
    taint = Taint([long + "-one", long + "-two"])
    assert taint.mask(f"{long}-one {long}-two {long}-six") == f"{MASK} {MASK} {long}-six"


COMMON = "true TRUE false null default string abc aaaa 1111 eu-west-1 us-gov-east-1 password"


@pytest.mark.parametrize("common", ["", *COMMON.split()])
def test_values_that_say_nothing_shred_no_text(common: str) -> None:
    taint = Taint([common])
    assert not taint
    assert taint.mask(f"the {common} text") == f"the {common} text"


def test_a_number_is_a_value_like_any_other() -> None:
    assert Taint(["8675309"]).mask("port 8675309, and 18675309x") == f"port {MASK}, and 1{MASK}x"


def test_a_value_of_any_length_is_masked_whole_and_a_part_of_it_is_not() -> None:
    draw = random.Random(3)
    for length in (511, 512, 513, 767, 768, 769, 5000, 70_001):
        value = "".join(draw.choices(string.ascii_letters, k=length))
        assert Taint([value]).mask(f"<{value}>") == f"<{MASK}>"
        assert Taint([value]).mask(f"<{value[1:200]}>") == f"<{value[1:200]}>"


def test_more_values_than_can_be_looked_for_are_said_to_be_unknown() -> None:
    values = [f"{n:08}" + "x" * 1016 for n in range(1500)]
    assert Taint(values[:1024]).known
    assert not Taint(values).known


@pytest.mark.parametrize("broken_by", ["\n", "\n  ", " \n\t", "\n│ ", "\r\n", "\n  | "])
def test_a_copy_that_runs_over_the_end_of_a_line_is_masked(broken_by: str) -> None:
    text = f"it is hunter2-{broken_by}secret-value, and {broken_by}no more"
    scrubbed = scrub(text, Taint(["hunter2-secret-value"]))
    assert scrubbed.startswith(f"it is {MASK}, and ")
    assert "hunter2" not in scrubbed
    assert scrubbed.endswith("no more")


@pytest.mark.parametrize("cut", range(20))
def test_a_copy_that_is_cut_in_two_where_a_text_ends_is_not_kept(cut: int) -> None:
    secret = "hunter2-secret-value"
    scrubbed = scrub(f"{secret} " * 4 + secret, Taint([secret]), most=4 * 21 + cut)
    assert not any(secret[: n + 4] in scrubbed for n in range(len(secret)))


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("aws_vpc.main", "aws_vpc.main"),
        ("module.net-1[0].data.aws_x.größe[12]", "module.net-1[…].data.aws_x.größe[…]"),
        ('module.a["s3cret"].aws_x.y["an\\"other ]"]', "module.a[…].aws_x.y[…]"),
        ("", ""),
        ("it is hunter2", ""),
        ('aws_x.y["unfinished', ""),
        ("aws_x.y\x1b[31m", ""),
        ("a" * 5000, "a" * 4096),
    ],
)
def test_an_address_is_kept_without_the_keys_of_instances_and_what_is_none_is_not(address: str, kept: str) -> None:
    assert without_keys(address) == kept


def test_the_last_scan_finds_what_should_not_be_there() -> None:
    assert exposes(["harmless", "it is hunter2-secret"], Taint(["hunter2-secret"]))
    assert exposes(["AKIAIOSFODNN7EXAMPLE"], NOTHING_TAINTED)
    assert not exposes(["harmless", ""], Taint(["hunter2-secret"]))


@pytest.mark.parametrize("short", ["x7Qp", "k9!z", "s3cr3", "aaaaaa"])
def test_short_values_that_look_like_secrets_are_masked(short: str) -> None:
    assert Taint([short]).mask(f"the {short} text") == f"the {MASK} text"


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("\x1b[1m\x1b[31mError:\x1b[0m bad", "Error: bad"),
        ("\x1b]8;;http://evil\x1b\\click\x1b]8;;\x07 me", "click me"),
        ("a\x1b[2J\x1b[Hb\x1bMc", "abc"),
        ("bell\x07 back\x08 nul\0 del\x7f c1\x9b31m", "bell back nul del c131m"),
        ("over\rwritten", "overwritten"),
        ("abc\u202edcba\u202c\u2066x\u2069\u061c\u200e\u200f", "abcdcbax"),
        ("zero\u200bwidth\u2060\ufeff\u00ad\u180e", "zerowidth"),
        ("tags\U000e0041\U000e007f", "tags"),
        ("lone\ud800surrogate\udfff", "lonesurrogate"),
        ("line one\nline\ttwo", "line one\nline\ttwo"),
        ("Grüße 🌍 日本語", "Grüße 🌍 日本語"),
    ],
)
def test_characters_that_act_instead_of_being_read_are_gone(text: str, scrubbed: str) -> None:
    assert scrub(text, NOTHING_TAINTED) == scrubbed


@pytest.mark.parametrize("hidden", ["\u200b", "\x1b[0m", "\0", "\u202e", "\r", "\u00ad"])
def test_control_characters_inside_a_copy_do_not_hide_it(hidden: str) -> None:
    assert scrub(f"x hun{hidden}ter2-secret y", Taint(["hunter2-secret"])) == f"x {MASK} y"


def test_a_value_that_holds_control_characters_is_masked_like_any_other() -> None:
    assert scrub("x begin\x01\x1b[1mend-of-it y", Taint(["begin\x01\x1b[1mend-of-it"])) == f"x {MASK} y"


def test_when_nobody_can_tell_what_is_sensitive_no_free_text_is_kept() -> None:
    assert scrub("anything at all", Taint(known=False)) == ""


def test_scrubbing_twice_changes_nothing_more() -> None:
    text = f"password={SECRET} postgres://u:{SECRET}@h AKIAIOSFODNN7EXAMPLE \x1b[1mx"
    once = scrub(text, TAINT)
    assert scrub(once, TAINT) == once


class Steps:
    """How many lines of the redaction module run: a measure of work that no busy machine disturbs."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.count = 0
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            work()
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, _what: str, _argument: object) -> Any:
        return self._line if frame.f_code.co_filename.endswith("redaction.py") else None

    def _line(self, _frame: FrameType, what: str, _argument: object) -> Any:
        self.count += what == "line"
        return self._line


def test_work_grows_with_the_text_and_not_with_its_square() -> None:
    values = [f"secret-value-{n}" for n in range(200)]
    taint = Taint(values)
    short, long = "secret-value-" * 200, "secret-value-" * 800
    assert Steps(lambda: taint.mask(long)).count < 4.4 * Steps(lambda: taint.mask(short)).count


def test_work_does_not_grow_with_the_number_of_values_that_begin_alike() -> None:
    """Ten thousand tokens with one prefix, and a text that repeats the prefix: a table look-up, no search."""
    text = "prod-token-" * 300 + "prod-token-00000007"
    few, many = (Taint(f"prod-token-{n:08}" for n in range(count)) for count in (10, 2000))
    assert many.touches(text)
    assert Steps(lambda: many.mask(text)).count < 1.5 * Steps(lambda: few.mask(text)).count


# Values, and texts that meet them at every character.
WORST = {
    "one head": ([f"{'a' * 64}{n:06}" for n in range(10_000)], "a"),
    "one head, whole": ([f"{'a' * 64}{n:06}" for n in range(10_000)], "a" * 64 + "005000"),
    "each begins the next": (["a" * n for n in range(6, 512)], "a" * 255 + "b"),
    "one long value": (["a" * 100_000 + "b"], "a"),
    "random": ([f"{random.Random(n).getrandbits(96):024x}" for n in range(10_000)], "0123456789abcdef"),
}


@pytest.mark.parametrize("name", WORST)
def test_of_the_worst_text_twice_as_much_is_about_twice_the_work(name: str) -> None:
    values, piece = WORST[name]
    taint, text = Taint(values), piece * (30_000 // len(piece))
    assert ratio(lambda: taint.mask(text * 2), lambda: taint.mask(text), goal=3) < 3


def test_ten_times_as_many_values_are_a_little_more_work() -> None:
    draw = random.Random(5)
    values = ["".join(draw.choices(string.ascii_letters + string.digits, k=24)) for _ in range(10_000)]
    text = " ".join(draw.choices(["the", "resource", "aws_instance.web[0]", "could", "not", "be", "created"], k=20_000))
    few, many = Taint(values[:1000]), Taint(values)
    assert ratio(lambda: many.mask(text), lambda: few.mask(text), goal=3) < 3


@pytest.mark.parametrize(
    ("address", "is_told"),
    [
        ("aws_db_instance.db", False),
        ('module.a["x"].module.b.aws_db_instance.db[0]', False),
        ("aws_db_instance[…]", False),  # no address: nobody can tell
        ("module.aws_db_instance.aws_x.y", True),
        ("aws_x.aws_db_instance", True),
        ("", True),
    ],
)
def test_an_error_about_a_resource_with_a_secret_that_no_state_holds_is_not_told(address: str, is_told: bool) -> None:
    taint = Taint(["s3cret-value"], unseen={"aws_db_instance"})
    summary, told = scrub_error("cannot take s3cret-value", address, taint, 1000)
    assert (summary, told) == ("cannot take [REDACTED]" if is_told else "", address)
    assert scrub_error("cannot", address, Taint(), 1000) == ("cannot", address)
