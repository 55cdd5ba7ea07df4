from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duly.domain import amounts
from duly.domain.errors import InvalidAmount


@pytest.mark.parametrize(
    ("text", "decimals", "units"),
    [("10000", 2, 1_000_000), ("10000.10", 2, 1_000_010), ("0.10", 1, 1), ("1e-05", 6, 10), ("7", 0, 7)],
)
def test_amounts_are_exact(text: str, decimals: int, units: int) -> None:
    assert amounts.amount_of(text, decimals) == units


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NaN",
        "inf",
        "-inf",
        "1_000",
        "1,000",
        "$5",
        "१",
        "0x10",
        "1e999",
        "1.",
        ".5",
        "--1",
        "0",
        "-1",
        "1.001",
    ],
)
def test_refuses_what_is_no_amount(text: str) -> None:
    with pytest.raises(InvalidAmount):
        amounts.amount_of(text, 2)


@given(st.integers(1, 2**88 - 1), st.integers(0, 26))
def test_amounts_survive_being_shown(units: int, decimals: int) -> None:
    assert amounts.amount_of(amounts.in_currency(units, decimals).replace(",", ""), decimals) == units


def test_negative_amounts_are_shown_with_their_sign_once() -> None:
    assert amounts.in_currency(-105, 2) == "-1.05"
    assert amounts.in_currency(1_234_567, 2) == "12,345.67"


@pytest.mark.parametrize(
    ("text", "ppm"), [("11.22", 112_200), (" 11.22% ", 112_200), ("0", 0), ("0.0001", 1)]
)
def test_rates_are_exact(text: str, ppm: int) -> None:
    assert amounts.rate_of(text) == ppm


def test_refuses_a_rate_finer_than_a_millionth() -> None:
    with pytest.raises(InvalidAmount, match=r"more than 4 decimals"):
        amounts.rate_of("11.22001")


@pytest.mark.parametrize(
    ("ppm", "text"), [(112_200, "11.22 %"), (0, "0 %"), (10_000_000, "1000 %"), (1, "0.0001 %")]
)
def test_rates_are_shown(ppm: int, text: str) -> None:
    assert amounts.in_percent(ppm) == text


@pytest.mark.parametrize(
    ("figure", "cents"),
    [("22583.2667671403", 2_258_327), ("15.000000000016", 1_500), ("0.125", 12), ("0.135", 14), ("0.0", 0)],
)
def test_unrounded_figures_are_rounded_half_to_even(figure: str, cents: int) -> None:
    assert amounts.to_units_rounded(Decimal(figure), 2) == cents
