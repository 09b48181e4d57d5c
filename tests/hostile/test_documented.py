"""docs/bad-input.md, the tables of bad inputs, the codes in the code and their explanations say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.hostile import Case, all_cases
from support.hostile_content import Content

import proton_tf_agent
from proton_tf_agent.domain.refusals import REFUSALS, refusal_row

HOUSE = Path(proton_tf_agent.__file__).parent
PAGE = (HOUSE.parent / "docs" / "bad-input.md").read_text("utf-8")
ROWS = [(number, row) for number, row in re.findall(r"^\| (\d+b?) \|(.*)$", PAGE, re.MULTILINE)]


def documented(number: str) -> str:
    """What the page says of an input."""
    return "\n".join(row for at, row in ROWS if at == number)


def test_every_input_of_the_catalogue_has_its_row_in_its_place() -> None:
    numbers = [number for number, _ in ROWS]
    assert set(numbers) == {str(number) for number in range(1, 93)} | {"38b"}
    assert numbers == sorted(numbers, key=lambda number: (int(number.rstrip("b")), number))


@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_the_page_names_the_code_that_a_case_meets(case: Case) -> None:
    codes = {case.expects}
    if isinstance(case, Content):
        codes |= {case.refuses, case.late}
    for code in codes - {""}:
        assert f"`{code}`" in documented(case.number)


def test_every_code_is_explained_and_every_explained_one_is_met_somewhere() -> None:
    in_code = {
        code for path in HOUSE.rglob("*.py") for code in re.findall(r"\"(E_[A-Z0-9_]+)[\":]", path.read_text("utf-8"))
    }
    in_code |= {
        code for path in HOUSE.rglob("*.py") for code in re.findall(r"f?\"(E_[A-Z0-9_]+): ", path.read_text("utf-8"))
    }
    assert in_code == set(REFUSALS)
    assert {code for code in REFUSALS if f"`{code}`" not in PAGE} == set()


@pytest.mark.parametrize("code", REFUSALS)
def test_a_reason_that_begins_with_a_code_is_explained_by_it(code: str) -> None:
    row = refusal_row(f"{code}: what and where")
    assert row is not None
    assert row["code"] == code


@pytest.mark.parametrize("code", REFUSALS)
def test_an_explanation_says_what_is_the_matter_and_what_to_do(code: str) -> None:
    row = REFUSALS[code]
    assert row.means
    assert row.remedy
    assert not row.means.endswith(".")
