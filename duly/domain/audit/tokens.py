"""LEDGER-2: the tokens moved as the ledger says, transaction by transaction.

What the ledger's events tell is held against the currency's own transfers in the same transaction: each
payment went from its payer to the lender, or to the ledger where it is held; each loan from lender to
borrower; each claim out of the ledger. Whatever else moves in a transaction is nobody's business here.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from duly.domain.audit.notices import Broken
from duly.domain.events import (
    Claimed,
    Event,
    LoanOpened,
    LoanRescinded,
    LoanSettled,
    Logged,
    PaymentHeld,
    Repaid,
)
from duly.domain.replay import State


class Transfer(NamedTuple):
    """Tokens that moved."""

    from_: str
    to: str
    amount: int


TransfersOf = Callable[[bytes], Sequence[Transfer]]
"""The currency's transfers in a transaction."""

MONEY: Final[tuple[type[Event], ...]] = (LoanOpened, Repaid, LoanSettled, LoanRescinded, Claimed)
"""The events with which tokens move."""


class TokenAudit:
    """Gathers what should have moved in a transaction, and compares when the transaction is over.

    ledger: its address.
    """

    def __init__(self, state: State, ledger: str, transfers_of: TransfersOf) -> None:
        self._state = state
        self._ledger = ledger.lower()
        self._transfers_of = transfers_of
        self._last: Logged | None = None
        self._wanted: list[tuple[bytes, Transfer]] = []

    def see(self, logged: Logged) -> tuple[list[Broken], Logged | None]:
        """Look at an event, before it is applied to the state.

        Returns: what was broken in the transaction before, and an event of it.
        """
        found: tuple[list[Broken], Logged | None] = ([], None)
        if self._last is not None and self._last.transaction_hash != logged.transaction_hash:
            found = self.finish()
        event = logged.event
        if type(event) is LoanOpened:
            terms = event.terms
            self._wanted.append((event.id, Transfer(terms.lender, terms.borrower, terms.received)))
        elif isinstance(event, (Repaid, LoanSettled, LoanRescinded)) and event.amount:
            loan = self._state.loans[event.id]
            payer = loan.terms.borrower if type(event) is LoanRescinded else event.payer  # type: ignore[union-attr]
            self._wanted.append((event.id, Transfer(payer, loan.lender, event.amount)))
        elif type(event) is PaymentHeld:
            # It told of the payment before it tells that the ledger keeps it.
            for place in reversed(range(len(self._wanted))):
                loan_id, transfer = self._wanted[place]
                if loan_id == event.id:
                    self._wanted[place] = (loan_id, transfer._replace(to=self._ledger))
                    break
        elif type(event) is Claimed:
            self._wanted.append((b"", Transfer(self._ledger, event.to, event.amount)))
        if self._wanted:
            self._last = logged
        return found

    def finish(self) -> tuple[list[Broken], Logged | None]:
        """Compare what is left."""
        last, wanted = self._last, self._wanted
        self._last, self._wanted = None, []
        if last is None:
            return [], None
        moved = Counter(self._transfers_of(last.transaction_hash))
        broken = []
        for _, transfer in wanted:
            if moved[transfer] <= 0:
                was = f"no transfer of {transfer.amount} from {transfer.from_} to {transfer.to}"
                broken.append(("LEDGER-2", was, "the tokens that the ledger says were paid"))
            moved[transfer] -= 1
        return broken, last
