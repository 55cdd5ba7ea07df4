"""What a borrower sees of their loans, and pays."""

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.responses import Response

from duly.domain.amounts import amount_of
from duly.domain.errors import InvalidAmount
from duly.domain.grievance import FOREVER
from duly.domain.loan import Loan
from duly.interfaces.web.acting import Act
from duly.interfaces.web.language import N_
from duly.interfaces.web.visit import MyLoan, SignedIn, Visit
from duly.services.lending import Payments
from duly.services.portal import Standing

router = APIRouter()


@router.get("/loans")
def loans(visit: SignedIn) -> Response:
    return visit.show("borrower/loans.html", loans=visit.portal.loans_of(visit.address))


@router.get("/loans/{loan}")
def loan(visit: SignedIn, loan: MyLoan) -> Response:
    return visit.show("borrower/loan.html", details=visit.portal.details(loan), forever=FOREVER)


@router.get("/loans/{loan}/pay")
def pay_page(visit: SignedIn, loan: MyLoan) -> Response:
    return _pay_page(visit, visit.portal.standing(loan))


@router.post("/loans/{loan}/pay")
def pay(visit: SignedIn, loan: MyLoan, amount: Annotated[str, Form(max_length=40)] = "") -> Response:
    """Prepares the payment; the borrower's own wallet makes it."""
    standing, contracts = visit.portal.standing(loan), visit.app.contracts
    try:
        units = amount_of(amount.replace(",", "").replace(" ", ""), visit.portal.place.decimals)
    except InvalidAmount:
        return _pay_page(visit, standing, N_("Please give an amount above zero, such as 250.00."), amount)
    units = min(units, standing.owed + loan.terms.late_fee)
    held = contracts.currency.balance_of(visit.address)
    if held < min(units, standing.owed):
        problem = visit.write.text(
            "Your wallet holds %(held)s. Please pay less, or put more into it first.",
            held=visit.write.money(held),
        )
        return _pay_page(visit, standing, problem, amount)
    calls = Payments(contracts, visit.address).repay(loan, units, standing.now)
    act = Act.of(visit, calls, back=f"/loans/{loan.id.hex()}")
    if act.refusal is not None:
        return _pay_page(visit, standing, act.refusal, amount)
    return visit.show("borrower/pay_confirm.html", standing=standing, amount=units, act=act)


@router.get("/loans/{loan}/settle")
def settle_page(visit: SignedIn, loan: MyLoan) -> Response:
    return _settle_page(visit, visit.portal.standing(loan))


@router.post("/loans/{loan}/settle")
def settle(visit: SignedIn, loan: MyLoan) -> Response:
    """Prepares what closes the loan within the hour; the borrower's own wallet sends it."""
    standing = visit.portal.standing(loan)
    if not standing.owed:
        return _settle_page(visit, standing)
    calls = Payments(visit.app.contracts, visit.address).settle(loan, standing.now)
    act = Act.of(visit, calls, back=f"/loans/{loan.id.hex()}")
    if act.refusal is not None:
        return _settle_page(visit, standing, problem=act.refusal)
    return _settle_page(visit, standing, act)


def _settle_page(visit: Visit, standing: Standing, act: Act | None = None, problem: str = "") -> Response:
    return visit.show(
        "borrower/settle.html",
        422 if problem else 200,
        standing=standing,
        act=act,
        problem=visit.write.text(problem),
    )


@router.get("/loans/{loan}/rescind")
def rescind_page(visit: SignedIn, loan: MyLoan) -> Response:
    return _rescind_page(visit, loan)


@router.post("/loans/{loan}/rescind")
def rescind(visit: SignedIn, loan: MyLoan) -> Response:
    """Prepares the withdrawal within cooling-off; the borrower's own wallet sends it."""
    rescission = visit.portal.rescission(loan)
    if rescission is None:
        return _rescind_page(visit, loan)
    payments = Payments(visit.app.contracts, visit.address)
    calls = payments.rescind(loan, rescission.limits, visit.portal.now())
    act = Act.of(visit, calls, back=f"/loans/{loan.id.hex()}")
    if act.refusal is not None:
        return _rescind_page(visit, loan, problem=act.refusal)
    return _rescind_page(visit, loan, act)


def _rescind_page(visit: Visit, loan: Loan, act: Act | None = None, problem: str = "") -> Response:
    return visit.show(
        "borrower/rescind.html",
        422 if problem else 200,
        standing=visit.portal.standing(loan),
        rescission=visit.portal.rescission(loan),
        act=act,
        problem=visit.write.text(problem),
    )


def _pay_page(visit: Visit, standing: Standing, problem: str = "", amount: str = "") -> Response:
    return visit.show(
        "borrower/pay.html",
        422 if problem else 200,
        standing=standing,
        problem=visit.write.text(problem),
        amount=amount,
    )
