"""Flexible repayment: what a lender offers to a borrower who cannot pay as agreed, and how the two agree.

The lender signs other terms, which are kept and shown; the borrower signs the same, and with both signatures
the ledger puts them in the loan's place. Letting instalments fall due later, free of interest, the lender
does alone.
"""

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from duly.chain.contracts import Call
from duly.chain.offers import SigningDomain
from duly.domain import amending, calendar, schedule
from duly.domain.errors import DulyError
from duly.domain.loan import Loan
from duly.domain.terms import Terms
from duly.services import offer as offers
from duly.services.desk import Who
from duly.services.offer import Changes, Offer, Role, Standing, State
from duly.store.actions import Action, What
from duly.store.database import writing
from duly.store.offers import KeptOffer

if TYPE_CHECKING:
    from duly.bootstrap import Application

MOST: Final = 10
"""Offers about a loan that are shown, the newest."""
LONGEST_DAYS: Final = 60
MOST_INTERVALS: Final = 12


class NotTheLender(DulyError):
    """Only the loan's lender offers other terms for it."""


class NoSuchOffer(DulyError):
    """There is no such offer about this loan."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How something is paid: the number of instalments, the first of them with its due day and the day of the
    last, what they come to, and the nominal rate a year in parts per million.
    """

    instalments: int
    amount: int
    first_day: int
    last_day: int
    total: int
    rate: int

    @classmethod
    def of(cls, terms: Terms) -> "Plan":
        """By terms."""
        rows = list(schedule.schedule_of(terms))
        total = sum(row.amount for row in rows)
        return cls(len(rows), rows[0].amount, rows[0].due_day, rows[-1].due_day, total, terms.rate)

    @classmethod
    def left(cls, loan: Loan) -> "Plan | None":
        """Of a loan as it is, without what is paid; None where nothing is left."""
        rows, reached = [], 0
        for row in schedule.schedule_of(loan.terms):
            reached += row.amount
            if reached > loan.paid:
                rows.append(row)
        if not rows:
            return None
        total = reached - loan.paid
        return cls(len(rows), rows[0].amount, rows[0].due_day, rows[-1].due_day, total, loan.terms.rate)


@dataclass(frozen=True, slots=True)
class Proposal:
    """An offer about a loan, when it was made, what it changes, and how it stands on the ledger."""

    offer: Offer
    at: int
    before: Plan | None
    after: Plan
    standing: Standing

    @property
    def terms(self) -> Terms:
        """What is offered."""
        assert isinstance(self.offer.subject, Terms)
        return self.offer.subject

    @property
    def is_open(self) -> bool:
        """The borrower can still take it."""
        return self.standing.state in (State.UNSIGNED, State.READY)


class Relief:
    """Offers about loans. For several threads. Everything that asks the ledger raises ChainUnavailable."""

    def __init__(self, app: "Application") -> None:
        self._app = app

    # ------------------------------------------------------------------------------------- the lender

    def draft(
        self,
        loan: Loan,
        *,
        instalments: int | None = None,
        first_due: int | None = None,
        rate: int | None = None,
        days: int = 14,
    ) -> Offer:
        """Other terms for what settling the loan costs now; what is not named stays. days: how long it holds.

        Raises: DulyError, where the ledger would not take them.
        """
        app, now = self._app, self._app.portal.now()
        limits = app.contracts.policy_book.lending_of(loan.terms.policy)
        offset = loan.terms.calendar_offset
        changes = Changes(instalments=instalments, first_due=first_due, rate=rate)
        expires = calendar.start_of(calendar.local_day(now, offset) + days + 1, offset) - 1
        terms = offers.amendment(loan, changes, limits, now, expires, secrets.token_bytes(32))
        made = Offer(SigningDomain(app.chain_id, app.contracts.ledger.address), terms)
        # What the ledger would not take is not worth a signature.
        amending.amend(loan, terms, limits, now, lambda _: made.id)
        return made

    def preview(self, loan: Loan, made: Offer) -> Proposal:
        """A draft, as it would be shown."""
        return self._proposal(loan, KeptOffer(made.id, loan.id, self._app.portal.now(), offers.text_of(made)))

    def keep(self, loan: Loan, document: str, signature: bytes, who: Who) -> None:
        """Show the borrower an offer that the lender signed.

        Raises: NotTheLender, InvalidInput, SignatureDoesNotFit, or why the ledger would refuse it.
        """
        app, made = self._app, offers.parse(document, "the offer")
        offers.check_place(made, app.contracts)
        subject = made.subject
        if not isinstance(subject, Terms) or subject.replaces != loan.id or subject.lender != who.address:
            raise NotTheLender
        made, role = offers.signed_elsewhere(app.contracts, made, signature)
        if role is not Role.LENDER:
            raise NotTheLender
        standing = offers.standing(app.contracts, made, loan, app.portal.now())
        if standing.refusal is not None:
            raise standing.refusal
        action = Action(int(time.time()), who.address, who.role, What.OFFERED, loan.id)
        kept = KeptOffer(made.id, loan.id, app.portal.now(), offers.text_of(made))
        with writing(app.offers.engine) as connection:
            app.offers.add(connection, kept)
            app.actions.add(connection, action)

    def withdrawing(self, proposal: Proposal) -> Call:
        """What the lender's wallet sends so that nobody can use an offer any more."""
        return self._app.contracts.ledger.cancel_offer(proposal.terms)

    def deferring(self, loan: Loan, intervals: int) -> Call:
        """What the lender's wallet sends so that all unpaid instalments fall due some intervals later."""
        return self._app.contracts.ledger.defer(loan.id, intervals)

    # ----------------------------------------------------------------------------------- the borrower

    def proposals(self, loan: Loan) -> list[Proposal]:
        """What was offered, the newest first."""
        return [self._proposal(loan, kept) for kept in self._app.offers.of_loan(loan.id, MOST)]

    def proposal(self, loan: Loan, offer_id: bytes) -> Proposal:
        """One of them. Raises: NoSuchOffer."""
        for kept in self._app.offers.of_loan(loan.id, MOST):
            if kept.id == offer_id:
                return self._proposal(loan, kept)
        raise NoSuchOffer

    def accepting(self, loan: Loan, proposal: Proposal, signature: bytes | None) -> Call:
        """What puts the offered terms in the loan's place, once the borrower signed them; anyone may send it.

        signature: None where it was given before. Raises: NotSigned, SignatureDoesNotFit.
        """
        made = proposal.offer
        if signature is not None and Role.BORROWER not in made.signatures:
            made, role = offers.signed_elsewhere(self._app.contracts, made, signature)
            if role is not Role.BORROWER:
                raise offers.misfit(Role.BORROWER)
            self._app.offers.put(made.id, offers.text_of(made))
        return offers.call_of(self._app.contracts, made, loan.terms.borrower)

    def _proposal(self, loan: Loan, kept: KeptOffer) -> Proposal:
        app, made = self._app, offers.parse(kept.document, "the offer")
        assert isinstance(made.subject, Terms)
        return Proposal(
            offer=made,
            at=kept.at,
            before=Plan.left(loan),
            after=Plan.of(made.subject),
            standing=offers.standing(app.contracts, made, loan, app.portal.now()),
        )
