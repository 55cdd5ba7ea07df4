"""What a party does about a loan: the calls that it takes, the allowance that pays among them, and what came
of them.

Who may do what is the ledger's to say: what it refuses comes as a `ContractError`.
"""

from dataclasses import dataclass
from typing import Final

from duly.chain.contracts import Call, Contracts
from duly.chain.logs import events_of
from duly.chain.sender import Receipt, Sender
from duly.domain import amending, schedule
from duly.domain.events import Event
from duly.domain.loan import Loan
from duly.domain.policy import LendingLimits

SOON: Final = 3_600
"""Seconds in which a transaction is taken to be mined: what costs more by then is allowed for."""


@dataclass(frozen=True, slots=True)
class Payments:
    """The calls that pay something on a loan, for whoever sends them: the last one pays, and one before it
    approves that, where the ledger may not take so much of the payer's money yet. Amounts are in the
    currency's smallest unit.

    All methods raise ChainUnavailable.
    """

    contracts: Contracts
    payer: str

    def of(self, call: Call, most: int) -> tuple[Call, ...]:
        """A call that takes at most this much."""
        token, ledger = self.contracts.currency, self.contracts.ledger.address
        if token.allowance(self.payer, ledger) < most:
            return token.approve(ledger, most), call
        return (call,)

    def repay(self, loan: Loan, amount: int, now: int) -> tuple[Call, ...]:
        """Pay towards a loan; no more is taken than what is owed."""
        # A late fee may be charged until it is mined.
        owed = schedule.assess(loan, now).owed + loan.terms.late_fee
        return self.of(self.contracts.ledger.repay(loan.id, amount), min(amount, owed))

    def settle(self, loan: Loan, now: int, maximum: int | None = None) -> tuple[Call, ...]:
        """Close a loan early. maximum: by default what it costs within the hour."""
        most = max(schedule.payoff(loan, now), schedule.payoff(loan, now + SOON))
        most = most if maximum is None else maximum
        return self.of(self.contracts.ledger.settle(loan.id, most), most)

    def prepay(self, loan: Loan, amount: int, now: int) -> tuple[Call, ...]:
        """Pay principal back ahead, as the borrower. What would pay the whole loan settles it."""
        most = min(amount, max(schedule.payoff(loan, now), schedule.payoff(loan, now + SOON)))
        return self.of(self.contracts.ledger.prepay(loan.id, amount), most)

    def rescind(self, loan: Loan, limits: LendingLimits, now: int) -> tuple[Call, ...]:
        """Withdraw from a loan, as the borrower, under its policy's limits.

        Raises also: LoanNotActive, CoolingOffOver.
        """
        _, taken = amending.rescind(loan, limits, now)
        # A day's interest more, where midnight passes until it is mined.
        most = taken + loan.terms.received * loan.terms.rate // (365 * 10**6) + 1
        return self.of(self.contracts.ledger.rescind(loan.terms), most)


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it: the transaction, and what the ledger told in it."""

    receipt: Receipt
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody who acts about loans, with the key of `sender`. Amounts are in the currency's smallest unit.

    All methods raise ContractError, InsufficientFunds, TransactionFailed, TransactionPending or
    ChainUnavailable.
    """

    contracts: Contracts
    sender: Sender

    @property
    def payments(self) -> Payments:
        """The calls that pay with its money."""
        return Payments(self.contracts, self.sender.address)

    def do(self, *calls: Call) -> Done:
        """Send calls of the ledger's, or of the desk's, one after the other; what came of the last."""
        *before, last = calls
        for call in before:
            self.sender.send(call)
        receipt = self.sender.send(last)
        told = {self.contracts.ledger.address, self.contracts.desk.address}
        return Done(receipt, tuple(events_of(log for log in receipt.logs if log.address in told)))

    def repay(self, loan: Loan, amount: int, now: int) -> Done:
        """Pay towards a loan; no more is taken than what is owed."""
        return self.do(*self.payments.repay(loan, amount, now))

    def settle(self, loan: Loan, now: int, maximum: int | None = None) -> Done:
        """Close a loan early. maximum: by default what it costs within the hour."""
        return self.do(*self.payments.settle(loan, now, maximum))

    def prepay(self, loan: Loan, amount: int, now: int) -> Done:
        """Pay principal back ahead, as the borrower. What would pay the whole loan settles it."""
        return self.do(*self.payments.prepay(loan, amount, now))

    def rescind(self, loan: Loan, limits: LendingLimits, now: int) -> Done:
        """Withdraw from a loan, as the borrower, under its policy's limits.

        Raises also: LoanNotActive, CoolingOffOver.
        """
        return self.do(*self.payments.rescind(loan, limits, now))
