"""What must be gone from foreign text, in every form it may come in."""

from __future__ import annotations

import base64
import json
import sys
import urllib.parse
from collections.abc import Callable

import pytest

from proton_tf_agent.domain.redaction import MASK, NOTHING_TAINTED, Taint, is_credential, scrub

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


@pytest.mark.parametrize("common", ["true", "TRUE", "false", "null", "default", "string", "abc", "", "aaaa", "1111"])
def test_values_that_say_nothing_shred_no_text(common: str) -> None:
    taint = Taint([common])
    assert not taint
    assert taint.mask(f"the {common} text") == f"the {common} text"


@pytest.mark.parametrize("short", ["x7Qp", "k9!z", "s3cr3", "aaaaaa"])
def test_short_values_that_look_like_secrets_are_masked(short: str) -> None:
    assert Taint([short]).mask(f"the {short} text") == f"the {MASK} text"


@pytest.mark.parametrize(
    "credential",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "ASIAIOSFODNN7EXAMPLE",
        "ghp_" + "a1B2" * 9,
        "ghs_" + "a1B2" * 9,
        "github_pat_" + "a1B2_" * 10,
        "glpat-" + "a1B2-c3D4_e5F6g7H8i9",
        "hvs." + "CAESIJ" * 10,
        "xoxb-" + "123456789012-abcdefABCDEF",
        "sk_live_" + "a1B2c3D4e5F6g7H8",
        "Bearer " + "a1B2c3D4.e5F6-g7H8==",
        "AIza" + "SyA-1234567890abcdefghijklmnopqrstu",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabc/def+\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIEpAIBAAKCAQEA torn off here",
    ],
)
def test_well_known_credentials_are_masked_though_nobody_marked_them(credential: str) -> None:
    assert scrub(f"Error: got {credential}", NOTHING_TAINTED) == f"Error: got {MASK}"
    assert is_credential(credential)


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("dial postgres://user:pa55word@db:5432/x failed", f"dial postgres://user:{MASK}@db:5432/x failed"),
        ("invalid password=hunter2, retry", f"invalid password={MASK}, retry"),
        ("DB_PASSWORD: hunter2", f"DB_PASSWORD: {MASK}"),
        ('aws_secret_access_key = "wJalrXUtnFEMI"', f'aws_secret_access_key = "{MASK}"'),
        ("api-key=abcd1234;x", f"api-key={MASK};x"),
        ("the password is wrong", "the password is wrong"),
        ("https://registry.terraform.io/x", "https://registry.terraform.io/x"),
        ("at module.a[0].b.c: 3 to add", "at module.a[0].b.c: 3 to add"),
    ],
)
def test_assignments_and_urls_keep_everything_but_the_secret(text: str, scrubbed: str) -> None:
    assert scrub(text, NOTHING_TAINTED) == scrubbed


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

    def _enter(self, frame: object, _what: str, _argument: object) -> object:
        name: str = frame.f_code.co_filename  # type: ignore[attr-defined]
        return self._line if name.endswith("redaction.py") else None

    def _line(self, _frame: object, what: str, _argument: object) -> object:
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
