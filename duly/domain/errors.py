"""What can go wrong, in words for the person who has to do something about it.

    DulyError
    ├── InvalidInput            what was given cannot be right
    │   ├── InvalidAmount       a number that is no amount or rate
    │   ├── InvalidTerms        terms that no ledger accepts
    │   │   ├── InstalmentTooCoarse
    │   │   ├── AmountTooLarge
    │   │   ├── FirstDueTooEarly
    │   │   ├── FirstDueTooLate
    │   │   ├── OriginationFeeTooLarge
    │   │   ├── AprAboveCap         beyond the policy's lending limits
    │   │   ├── LateFeeAboveCap
    │   │   ├── GraceTooShort
    │   │   ├── NotTheSameLoan      terms that cannot replace this loan
    │   │   ├── RateRaised
    │   │   └── PrincipalAbovePayoff
    │   ├── InvalidLoanBook     a file that is no loan book
    │   └── InvalidFlows        payments that no annual percentage rate explains
    ├── InvalidPayment          a payment of nothing
    ├── LoanNotActive           nothing is owed any more
    ├── AmendmentExpired        the amendment's last second is over
    ├── PrepaymentTooSmall      what is overdue comes first
    ├── NothingToDefer          everything is paid, or no interval was named
    ├── NothingToWaive          no late fee is unpaid
    ├── CoolingOffRuns          the borrower may still rescind
    ├── CoolingOffOver          the borrower may not rescind any more
    └── NotInDefault            not overdue, or not for long enough

Every other floor derives its own errors from `DulyError`. The command line prints them without a traceback
and exits with 2 for an `InvalidInput`, with 1 for any other.
"""

from inspect import cleandoc


class DulyError(Exception):
    """Something did not work.

    An exception's docstring, to its first empty line, is its default message.

    wrong: what was wrong. wanted: what would have been right, if that can be said. remedy: what to do about
    it.
    """

    def __init__(
        self, wrong: str | None = None, *, wanted: str | None = None, remedy: str | None = None
    ) -> None:
        first_paragraph = cleandoc(self.__doc__ or "").split("\n\n")[0]
        self.wrong = wrong or " ".join(first_paragraph.split()).removesuffix(".")
        self.wanted = wanted
        self.remedy = remedy
        super().__init__(self.wrong)

    def __str__(self) -> str:
        text = self.wrong
        if self.wanted:
            text += f" (wanted: {self.wanted})"
        if self.remedy:
            text += f". {self.remedy}"
        return text


class InvalidInput(DulyError):
    """What was given cannot be right."""


class InvalidAmount(InvalidInput):
    """This is not an amount."""


class InvalidTerms(InvalidInput):
    """No ledger accepts these terms."""


class InstalmentTooCoarse(InvalidTerms):
    """Rounding the instalments up would repay the loan before its last instalment."""


class AmountTooLarge(InvalidTerms):
    """The loan's amounts are larger than the ledger can hold."""


class FirstDueTooEarly(InvalidTerms):
    """The first instalment is due less than one whole interval after opening."""


class FirstDueTooLate(InvalidTerms):
    """The first instalment is due later than any first period can mean."""


class OriginationFeeTooLarge(InvalidTerms):
    """The origination fee leaves nothing of the principal."""


class AprAboveCap(InvalidTerms):
    """The annual percentage rate exceeds the policy's cap."""


class LateFeeAboveCap(InvalidTerms):
    """The late fee exceeds the policy's share of the smallest regular instalment."""


class GraceTooShort(InvalidTerms):
    """The grace period is shorter than the policy's."""


class NotTheSameLoan(InvalidTerms):
    """An amendment names the loan that it replaces, keeps lender, borrower and policy, and charges no
    origination fee.
    """


class RateRaised(InvalidTerms):
    """An amendment does not raise the rate."""


class PrincipalAbovePayoff(InvalidTerms):
    """An amendment's principal is more than what is owed, late fees apart."""


class InvalidLoanBook(InvalidInput):
    """This file is not a loan book."""


class InvalidFlows(InvalidInput):
    """No annual percentage rate explains these payments."""


class InvalidPayment(DulyError):
    """A payment must be more than nothing."""


class LoanNotActive(DulyError):
    """Nothing is owed on this loan any more."""


class AmendmentExpired(DulyError):
    """The amendment's last second is over."""


class PrepaymentTooSmall(DulyError):
    """The prepayment leaves nothing for the principal once what is overdue, and the late fees, are paid."""


class NothingToDefer(DulyError):
    """All instalments are paid, or none was to be moved."""


class NothingToWaive(DulyError):
    """No late fee is unpaid, or none was to be waived."""


class CoolingOffRuns(DulyError):
    """While the borrower may still rescind, the loan is not amended: the right would be lost."""


class CoolingOffOver(DulyError):
    """The cooling-off period is over, or there was none."""


class NotInDefault(DulyError):
    """No instalment has been overdue for as long as the policy wants."""
