"""What `terraform output -json` prints, as the wrapper reads it: values to the letter, and what is sensitive."""

from __future__ import annotations

import pytest

from proton_tf_agent.domain.evidence import Output
from proton_tf_agent.sources import output_json


def document(value: str, sensitive: bool = True) -> bytes:
    return f'{{"o":{{"sensitive":{str(sensitive).lower()},"type":"dynamic","value":{value}}}}}'.encode()


@pytest.mark.parametrize("number", ["12345678901234567890", "0.10", "1E-7", "1e400", "9" * 5000])
def test_a_sensitive_number_is_known_in_the_digits_it_was_written_in(number: str) -> None:
    assert output_json.read(document(number)) == ((Output("o", None, True),), (number,))
    assert output_json.read(document(number, sensitive=False)) == ((Output("o", number, False),), ())


def test_every_text_in_a_sensitive_value_is_sensitive() -> None:
    found = output_json.read(document('{"a":["x",{"b":"y"}],"c":null,"d":true}'))
    assert found is not None
    assert set(found[1]) == {"x", "y"}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b'{"o":1}', b'{"o":{"value":NaN}}', b'{"o":{"value":"\xff"}}', b'{"\xff":{"value":1}}',
        b'{"o":{"value":"\\ud800"}}', b'{"o":{"value":' + b"[" * 100_000,
        b'{"o":{"value":[' + b"[]," * 600_000 + b"1]}}",
        b'{"o":{"sensitive":true,"value":' + b"[" * 990 + b"]" * 990 + b"}}",
    ],
    ids=lambda content: repr(content[:24]),
)  # fmt: skip
def test_what_is_not_plainly_that_gives_nothing_and_breaks_nothing(content: bytes) -> None:
    """An invalid byte used to end the wrapper's reading with an exception."""
    found = output_json.read(content)
    assert found is None or found == ((Output("o", None, True),), ())
