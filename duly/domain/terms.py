"""What lender and borrower agree on. Mirrors `Terms` in `contracts/interfaces/ILoanLedger.sol`."""

import re
from dataclasses import astuple, dataclass
from enum import IntEnum
from typing import Self

from duly.domain.amounts import PPM, in_percent
from duly.domain.calendar import EASTERNMOST, WESTERNMOST
from duly.domain.calendar import Frequency as Frequency
from duly.domain.errors import InvalidTerms, OriginationFeeTooLarge

MAX_RATE = 10_000_000
MAX_INSTALMENTS = 600
MAX_RATE_YEARS = 16
"""Rate times years at most, beyond which the formulas are not proven. 16 is 40 years at 40 %, 1.6 years at
1,000 %.
"""

ZERO_ADDRESS = "0x" + 40 * "0"
ZERO_HASH = bytes(32)

_ADDRESS = re.compile("0x[0-9a-f]{40}")


class Schedule(IntEnum):
    """The shape of a repayment schedule; the formulas stand in `amortisation`."""

    LEVEL = 0
    """Instalments of the same amount."""
    EQUAL_PRINCIPAL = 1
    """The same principal in each, with the interest on what is outstanding."""
    INTEREST_ONLY = 2
    """Interest alone, and the principal with the last."""
    BULLET = 3
    """All at once when the last period is over."""


# A plain tuple in Solidity's order, as an ABI encoder takes it.
TermsTuple = tuple[
    str, str, int, int, int, int, int, int, int, int, int, int, int, int, bytes, bytes, bytes
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms of one loan, in Solidity's and EIP-712's order. Their EIP-712 hash is the loan's id.

    lender, borrower: lower-case addresses. principal, origination_fee, late_fee: in the currency's smallest
    unit; the lender keeps the origination fee of the principal. rate: nominal annual, parts per million.
    instalments: their number; of a bullet, the number of periods after which it falls due. first_due: day of
    the first instalment (on which a bullet's first period ends), in days since 1970-01-01. calendar_offset:
    quarter hours east of UTC, for the calendar that due days are counted in. grace_days: after a due day,
    before its late fee. policy: the published policy whose limits bind the loan. expires: last second in
    which the offer, or the amendment, can be accepted. agreement_hash: of the key-fact statement that the
    borrower was shown, zero where the ledger derived the terms. replaces: the loan that this one replaces,
    zero for a new one. salt: makes otherwise equal terms distinct.

    Raises: InvalidTerms, for what no ledger could open whatever its policies; OriginationFeeTooLarge.
    """

    lender: str
    borrower: str
    principal: int
    origination_fee: int = 0
    late_fee: int = 0
    rate: int
    instalments: int
    first_due: int
    schedule: Schedule = Schedule.LEVEL
    frequency: Frequency = Frequency.MONTHLY
    calendar_offset: int = 0
    grace_days: int = 0
    policy: int
    expires: int
    agreement_hash: bytes = ZERO_HASH
    replaces: bytes = ZERO_HASH
    salt: bytes = ZERO_HASH

    def __post_init__(self) -> None:
        for name in ("lender", "borrower"):
            address = getattr(self, name)
            if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
                raise InvalidTerms(
                    f"{name} {address!r} is not an address", wanted="0x and 40 lower-case hexadecimal digits"
                )
        if ZERO_ADDRESS in (self.lender, self.borrower) or self.lender == self.borrower:
            raise InvalidTerms("lender and borrower must be two addresses, neither of them zero")
        _check_range("principal", self.principal, 1, 2**88 - 1)
        _check_range("origination_fee", self.origination_fee, 0, 2**88 - 1)
        if self.origination_fee >= self.principal:
            raise OriginationFeeTooLarge(
                f"an origination fee of {self.origination_fee} leaves nothing of a principal of "
                f"{self.principal} smallest units",
                wanted=f"at most {self.principal - 1}",
            )
        _check_range("late_fee", self.late_fee, 0, 2**80 - 1)
        _check_range("first_due", self.first_due, 0, 2**24 - 1)
        _check_range("calendar_offset", self.calendar_offset, WESTERNMOST, EASTERNMOST)
        _check_range("grace_days", self.grace_days, 0, 2**8 - 1)
        _check_range("policy", self.policy, 0, 2**32 - 1)
        _check_range("expires", self.expires, 0, 2**40 - 1)
        for name in ("agreement_hash", "replaces", "salt"):
            value = getattr(self, name)
            if not isinstance(value, bytes) or len(value) != 32:
                raise InvalidTerms(f"{name} is not a hash", wanted="32 bytes")
        check_range_of_formulas(self.rate, self.instalments, self.frequency.periods_per_year)

    @property
    def received(self) -> int:
        """What the borrower receives: the principal less the origination fee."""
        return self.principal - self.origination_fee

    def as_tuple(self) -> TermsTuple:
        """The fields in Solidity's order, as plain values."""
        return tuple(int(v) if isinstance(v, IntEnum) else v for v in astuple(self))  # type: ignore[return-value]

    @classmethod
    def from_tuple(cls, values: TermsTuple) -> Self:
        """The terms from Solidity's order, as a decoder gives them: addresses in any case, enumerations as
        integers.

        Raises: InvalidTerms.
        """
        fields = dict(zip(cls.__slots__, values, strict=True))
        try:
            fields["schedule"], fields["frequency"] = Schedule(values[8]), Frequency(values[9])
        except ValueError as error:
            raise InvalidTerms(str(error)) from None
        fields["lender"], fields["borrower"] = values[0].lower(), values[1].lower()
        return cls(**fields)  # type: ignore[arg-type]


def check_range_of_formulas(rate: int, instalments: int, periods_per_year: int) -> None:
    """Refuse a rate and a number of instalments that the schedule's formulas are not proven for.

    Raises: InvalidTerms.
    """
    _check_range("instalments", instalments, 1, MAX_INSTALMENTS)
    _check_range("rate", rate, 0, MAX_RATE)
    most = MAX_RATE_YEARS * periods_per_year * PPM
    if rate * instalments > most:
        raise InvalidTerms(
            f"{in_percent(rate)} over {instalments} instalments is out of range",
            wanted=f"at most {most // rate} instalments at this rate",
        )


def _check_range(name: str, value: int, least: int, most: int) -> None:
    if not isinstance(value, int) or not least <= value <= most:
        raise InvalidTerms(f"{name} is {value!r}", wanted=f"a whole number from {least} to {most}")
