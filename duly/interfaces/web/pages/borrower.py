"""What a borrower sees of their loans, and pays."""

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.responses import Response

from duly.domain.amounts import amount_of
from duly.domain.errors import InvalidAmount
from duly.domain.grievance import FOREVER
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


def _pay_page(visit: Visit, standing: Standing, problem: str = "", amount: str = "") -> Response:
    return visit.show(
        "borrower/pay.html",
        422 if problem else 200,
        standing=standing,
        problem=visit.write.text(problem),
        amount=amount,
    )
