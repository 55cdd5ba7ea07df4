"""What can go wrong, in words for the person who has to do something about it.

    DulyError
    ├── InvalidInput            what was given cannot be right
    │   ├── InvalidAmount       a number that is no amount or rate
    │   ├── InvalidTerms        terms that no ledger accepts
    │   │   ├── InstalmentTooCoarse
    │   │   ├── AmountTooLarge
    │   │   ├── FirstDueTooEarly
    │   │   └── FirstDueTooLate
    │   └── InvalidLoanBook     a file that is no loan book
    ├── InvalidPayment          a payment of nothing
    └── LoanNotActive           nothing is owed any more

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


class InvalidLoanBook(InvalidInput):
    """This file is not a loan book."""


class InvalidPayment(DulyError):
    """A payment must be more than nothing."""


class LoanNotActive(DulyError):
    """Nothing is owed on this loan any more."""
