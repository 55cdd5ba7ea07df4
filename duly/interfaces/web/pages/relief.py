"""Flexible repayment, from both sides: a lender offers other terms, and the borrower takes them or not.

Both sign with their own wallets; the portal keeps the document and passes it on.
"""

import re
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.responses import Response

from duly.chain.contracts import Call
from duly.chain.errors import ContractError
from duly.domain import calendar
from duly.domain.amounts import rate_of
from duly.domain.errors import DulyError, InvalidInput
from duly.domain.loan import Loan
from duly.interfaces.web.acting import Act, Signing, in_words
from duly.interfaces.web.pages.desk import loan_page
from duly.interfaces.web.pages.help import help_page
from duly.interfaces.web.visit import Forbidden, MyLoan, NotFound, Role, ServedLoan, SignedIn, Visit
from duly.services import offer as offers
from duly.services.desk import Who
from duly.services.relief import LONGEST_DAYS, MOST_INTERVALS, NoSuchOffer, Plan, Proposal

router = APIRouter()


class NoSignature(InvalidInput):
    """No signature came with the form."""


# ------------------------------------------------------------------------------------------- the lender


@router.get("/desk/loans/{loan}/offer")
def offer_page(visit: SignedIn, loan: ServedLoan) -> Response:
    """The form in which the lender makes an offer."""
    _check_lender(visit, loan)
    return _offer(visit, loan)


@router.post("/desk/loans/{loan}/offer")
def draft(
    visit: SignedIn,
    loan: ServedLoan,
    instalments: Annotated[int, Form(ge=1, le=1_000)],
    rate: Annotated[str, Form(max_length=20)],
    days: Annotated[int, Form(ge=1, le=LONGEST_DAYS)],
    first_due: Annotated[str, Form(max_length=10)] = "",
) -> Response:
    """Shows what the offer comes to, for the lender's wallet to sign."""
    _check_lender(visit, loan)
    try:
        made = visit.app.relief.draft(
            loan,
            instalments=instalments,
            first_due=_day(first_due) if first_due else None,
            rate=rate_of(rate.removesuffix("%").strip()),
            days=days,
        )
    except DulyError as refused:
        return _offer(visit, loan, _why(visit, refused))
    signing = Signing.of(
        visit,
        f"/desk/loans/{loan.id.hex()}/offers",
        made.typed_data(offers.Role.LENDER),
        document=offers.text_of(made),
    )
    return _offer(visit, loan, preview=visit.app.relief.preview(loan, made), signing=signing)


@router.post("/desk/loans/{loan}/offers")
def keep(
    visit: SignedIn,
    loan: ServedLoan,
    document: Annotated[str, Form(max_length=10_000)],
    signature: Annotated[str, Form(max_length=40_000)] = "",
) -> Response:
    """Keeps what the lender signed; from now on the borrower is shown it."""
    _check_lender(visit, loan)
    try:
        visit.app.relief.keep(loan, document, _signature(signature), Who(visit.address, Role.SERVICER))
    except DulyError as refused:
        return _offer(visit, loan, _why(visit, refused))
    return visit.go(f"/desk/loans/{loan.id.hex()}")


@router.post("/desk/loans/{loan}/offers/{offer}/withdraw")
def withdraw(visit: SignedIn, loan: ServedLoan, offer: str) -> Response:
    """Prepares the end of an offer; the lender's wallet sends it."""
    _check_lender(visit, loan)
    proposal = _proposal(visit, loan, offer)
    return _by_lender(visit, loan, visit.app.relief.withdrawing(proposal), "withdraw")


@router.post("/desk/loans/{loan}/defer")
def defer(
    visit: SignedIn, loan: ServedLoan, intervals: Annotated[int, Form(ge=1, le=MOST_INTERVALS)]
) -> Response:
    """Prepares that all unpaid instalments fall due later; the lender's wallet sends it."""
    _check_lender(visit, loan)
    return _by_lender(visit, loan, visit.app.relief.deferring(loan, intervals), "defer")


def _check_lender(visit: Visit, loan: Loan) -> None:
    """Only who the claim belongs to offers other terms for it. Raises: Forbidden."""
    if loan.lender != visit.address:
        raise Forbidden


def _by_lender(visit: Visit, loan: Loan, call: Call, which: str) -> Response:
    act = Act.of(visit, [call], back=f"/desk/loans/{loan.id.hex()}")
    if act.refusal is not None:
        return loan_page(visit, loan, act.refusal)
    return visit.show("desk/loan_act.html", standing=visit.portal.standing(loan), which=which, act=act)


def _offer(
    visit: Visit,
    loan: Loan,
    problem: str = "",
    preview: Proposal | None = None,
    signing: Signing | None = None,
) -> Response:
    return visit.show(
        "desk/offer.html",
        422 if problem else 200,
        standing=visit.portal.standing(loan),
        left=Plan.left(loan),
        preview=preview,
        signing=signing,
        longest=LONGEST_DAYS,
        problem=problem,
    )


def _day(text: str) -> int:
    """A day that a form names. Raises: InvalidInput."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise InvalidInput("this is no day", wanted="such as 2027-03-01") from None
    return calendar.day_of(found.year, found.month, found.day)


# ----------------------------------------------------------------------------------------- the borrower


@router.get("/loans/{loan}/offers/{offer}")
def offered(visit: SignedIn, loan: MyLoan, offer: str) -> Response:
    """What was offered, beside what is; to be signed by the borrower's wallet."""
    return _offered(visit, loan, _proposal(visit, loan, offer))


@router.post("/loans/{loan}/offers/{offer}")
def accept(
    visit: SignedIn,
    loan: MyLoan,
    offer: str,
    signature: Annotated[str, Form(max_length=40_000)] = "",
) -> Response:
    """Keeps the borrower's signature, and prepares what puts the new terms in the loan's place."""
    proposal = _proposal(visit, loan, offer)
    signed = offers.Role.BORROWER in proposal.offer.signatures
    try:
        call = visit.app.relief.accepting(loan, proposal, None if signed else _signature(signature))
    except DulyError as refused:
        return _offered(visit, loan, proposal, _why(visit, refused))
    act = Act.of(visit, [call], back=f"/loans/{offer}")
    if act.refusal is not None:
        return help_page(visit, loan, act.refusal)
    return _offered(visit, loan, proposal, act=act)


def _offered(
    visit: Visit, loan: Loan, proposal: Proposal, problem: str = "", act: Act | None = None
) -> Response:
    made = proposal.offer
    path = f"/loans/{loan.id.hex()}/offers/{made.id.hex()}"
    return visit.show(
        "borrower/offer.html",
        422 if problem else 200,
        standing=visit.portal.standing(loan),
        proposal=proposal,
        signed=offers.Role.BORROWER in made.signatures,
        signing=Signing.of(visit, path, made.typed_data(offers.Role.BORROWER)),
        act=act,
        problem=problem,
    )


# --------------------------------------------------------------------------------------------- of both


def _proposal(visit: Visit, loan: Loan, offer: str) -> Proposal:
    """The offer about a loan that a path names. Raises: NotFound, ChainUnavailable."""
    if not re.fullmatch("[0-9a-f]{64}", offer):
        raise NotFound
    try:
        found: Proposal = visit.app.relief.proposal(loan, bytes.fromhex(offer))
    except NoSuchOffer:
        raise NotFound from None
    return found


def _signature(text: str) -> bytes:
    """A signature as a wallet gives it. Raises: NoSignature."""
    if not re.fullmatch(r"0x(?:[0-9a-fA-F]{2})+", text):
        raise NoSignature
    return bytes.fromhex(text[2:])


def _why(visit: Visit, error: DulyError) -> str:
    why = in_words(error, visit.write) if isinstance(error, ContractError) else error.wrong
    return visit.write.text("The ledger would not take this: %(why)s.", why=why)
