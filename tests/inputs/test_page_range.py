"""Page ranges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vary.errors import InputError
from vary.inputs.page_range import parse_page_range


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        (None, 3, [0, 1, 2]),
        ("1-3,5,8-", 10, [0, 1, 2, 4, 7, 8, 9]),
        ("2", 3, [1]),
        (" 3 , 1 ", 3, [0, 2]),
        ("2-2,2,1-2", 3, [0, 1]),
        ("2 - 3", 5, [1, 2]),
        ("3-9", 4, [2, 3]),
        ("4-", 4, [3]),
    ],
)
def test_selects(text: str | None, count: int, expected: list[int]) -> None:
    assert parse_page_range(text).indices(count) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a page or a range"),
        ("1,,2", "not a page or a range"),
        ("-3", "'-3' is not a page or a range"),
        ("a", "'a' is not a page or a range"),
        ("1-2-3", "not a page or a range"),
        ("٣", "not a page or a range"),
        ("99999999999999999999", "not a page or a range"),
        ("0", "the first page is 1"),
        ("0-2", "the first page is 1"),
        ("5-2", "write 2-5"),
    ],
)
def test_refuses_what_is_no_range(text: str, words: str) -> None:
    with pytest.raises(InputError, match="page range") as error:
        parse_page_range(text)
    assert words in str(error.value)


def test_a_page_behind_the_end_is_an_error_that_names_the_file() -> None:
    with pytest.raises(
        InputError, match=r"scan\.pdf: page 5 was asked for, the file has 4 pages; choose among 1-4"
    ):
        parse_page_range("1-2,5-").indices(4, "scan.pdf")


@given(st.sets(st.integers(1, 200), min_size=1))
def test_single_pages_select_themselves(pages: set[int]) -> None:
    text = ",".join(map(str, pages))
    assert parse_page_range(text).indices(200) == sorted(page - 1 for page in pages)
