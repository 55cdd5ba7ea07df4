"""Amounts and rates between people's notation and the ledger's integers, exactly.

An amount is an integer in the currency's smallest unit, a rate an integer in parts per million a year
(112200 = 11.22 %). Nothing here passes through a float.
"""

import re
from decimal import Context, Decimal

from duly.domain.errors import InvalidAmount

PPM = 1_000_000

# Stricter than `Decimal`, which also reads NaN, Infinity, underscores and the digits of other scripts.
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
# Wide enough that no number of that form is ever rounded unseen.
_EXACT = Context(prec=300)


def decimal(text: str) -> Decimal:
    """A plain decimal number, such as 1000.00 or -0.5 or 1e-05.

    Raises: InvalidAmount.
    """
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        raise InvalidAmount(f"{shown(text)} is not a number", wanted="digits such as 1000.00")
    return Decimal(text)


def amount_of(text: str, decimals: int) -> int:
    """An amount that is agreed on, such as 1000.00, in the smallest unit: exact, and more than nothing.

    Raises: InvalidAmount.
    """
    number = decimal(text)
    if number <= 0:
        raise InvalidAmount(f"{text} is not more than zero", wanted="an amount above zero")
    return to_units(number, decimals)


def to_units(number: Decimal, decimals: int) -> int:
    """An amount in a currency's units as an integer in its smallest unit.

    Raises: InvalidAmount, when the amount has more decimals than the currency.
    """
    scaled = number.scaleb(decimals, _EXACT)
    units = int(scaled)
    if units != scaled:
        raise InvalidAmount(
            f"{number} has more than {decimals} decimals", wanted=f"at most {decimals} decimals"
        )
    return units


def to_units_rounded(number: Decimal, decimals: int) -> int:
    """The same for a figure that was published unrounded: the nearest integer, half to even."""
    return int(number.scaleb(decimals, _EXACT).to_integral_value(context=_EXACT))


def rate_of(text: str) -> int:
    """A rate in per cent a year, "11.22" or "11.22%", in parts per million.

    Raises: InvalidAmount, when it is not a whole number of parts per million.
    """
    scaled = decimal(text.strip().removesuffix("%")).scaleb(4, _EXACT)
    ppm = int(scaled)
    if ppm != scaled:
        raise InvalidAmount(
            f"{shown(text)} has more than 4 decimals", wanted="a percentage in steps of 0.0001, such as 11.22"
        )
    return ppm


def in_currency(units: int, decimals: int) -> str:
    """An integer in the smallest unit as people write it: 1234567 with 2 decimals is 12,345.67."""
    sign = "-" if units < 0 else ""
    whole, rest = divmod(abs(units), 10**decimals)
    return f"{sign}{whole:,}" + (f".{rest:0{decimals}}" if decimals else "")


def in_percent(ppm: int) -> str:
    """A rate as people write it: 112200 is 11.22 %."""
    whole, rest = divmod(ppm, 10_000)
    fraction = f"{rest:04}".rstrip("0")
    return f"{whole}{'.' + fraction if fraction else ''} %"


def shown(text: str) -> str:
    """A piece of input for an error message: quoted, its control characters escaped, cut where it is long."""
    return repr(text if len(text) <= 40 else text[:39] + "…")
