from dataclasses import FrozenInstanceError, replace

import pytest

from duly.domain.errors import InvalidTerms
from duly.domain.terms import Frequency, Schedule, Terms

LENDER = "0x" + "a1" * 20
BORROWER = "0x" + "b2" * 20

TERMS = Terms(
    lender=LENDER,
    borrower=BORROWER,
    principal=1_000_000,
    late_fee=500,
    rate=112_200,
    instalments=36,
    first_due=20_850,
    calendar_offset=32,
    grace_days=10,
    policy=1,
    expires=1_800_000_000,
    agreement_hash=b"\x01" * 32,
    salt=b"\x02" * 32,
)


def test_tuple_is_in_the_order_of_the_struct() -> None:
    assert TERMS.as_tuple() == (
        LENDER, BORROWER, 1_000_000, 0, 500, 112_200, 36, 20_850, 0, 0, 32, 10, 1, 1_800_000_000,
        b"\x01" * 32, bytes(32), b"\x02" * 32,
    )  # fmt: skip
    assert not any(isinstance(value, Schedule | Frequency) for value in TERMS.as_tuple())


def test_terms_survive_the_tuple() -> None:
    checksummed = ("0x" + "A1" * 20, *TERMS.as_tuple()[1:])
    assert Terms.from_tuple(checksummed) == TERMS  # type: ignore[arg-type]


def test_terms_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        TERMS.principal = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("lender", "0x" + "A1" * 20, "lender"),
        ("borrower", "borrower.eth", "borrower"),
        ("borrower", LENDER, "two addresses"),
        ("lender", "0x" + "00" * 20, "two addresses"),
        ("principal", 0, "principal is 0"),
        ("principal", 2**88, "principal"),
        ("principal", 1.5, "principal is 1.5"),
        ("origination_fee", -1, "origination_fee is -1"),
        ("origination_fee", 1_000_000, "leaves nothing of a principal of 1000000"),
        ("origination_fee", 2**88, "origination_fee"),
        ("late_fee", -1, "late_fee is -1"),
        ("late_fee", 2**80, "late_fee"),
        ("rate", -1, "rate is -1"),
        ("rate", 10_000_001, "rate"),
        ("rate", 10_000_000, "out of range"),
        ("instalments", 0, "instalments is 0"),
        ("instalments", 601, "instalments"),
        ("first_due", 2**24, "first_due"),
        ("calendar_offset", -49, "calendar_offset"),
        ("calendar_offset", 57, "calendar_offset"),
        ("grace_days", 256, "grace_days"),
        ("policy", 2**32, "policy"),
        ("expires", 2**40, "expires"),
        ("salt", b"", "salt"),
        ("agreement_hash", "00" * 32, "agreement_hash"),
    ],
)
def test_refuses_what_no_ledger_could_open(field: str, value: object, message: str) -> None:
    with pytest.raises(InvalidTerms, match=message):
        replace(TERMS, **{field: value})


@pytest.mark.parametrize(("place", "unknown", "message"), [(8, 4, "Schedule"), (9, 5, "Frequency")])
def test_an_unknown_schedule_or_frequency_is_refused(place: int, unknown: int, message: str) -> None:
    values = list(TERMS.as_tuple())
    values[place] = unknown
    with pytest.raises(InvalidTerms, match=message):
        Terms.from_tuple(tuple(values))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", Schedule)
@pytest.mark.parametrize("frequency", Frequency)
def test_every_schedule_can_be_agreed_on(shape: Schedule, frequency: Frequency) -> None:
    terms = replace(TERMS, schedule=shape, frequency=frequency, origination_fee=20_000)
    assert Terms.from_tuple(terms.as_tuple()) == terms
    assert terms.received == 980_000


def test_the_range_of_the_formulas_is_one_of_years() -> None:
    """320 % for five years is as far as 16 goes: 60 months, 260 weeks."""
    replace(TERMS, rate=3_200_000, instalments=60)
    replace(TERMS, rate=3_200_000, instalments=260, frequency=Frequency.WEEKLY)
    with pytest.raises(InvalidTerms, match="320 % over 61 instalments"):
        replace(TERMS, rate=3_200_000, instalments=61)
    with pytest.raises(InvalidTerms, match="at most 20 instalments"):
        replace(TERMS, rate=3_200_000, instalments=21, frequency=Frequency.QUARTERLY)
