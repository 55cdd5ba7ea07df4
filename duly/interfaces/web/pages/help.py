"""What a borrower can ask for on a loan: hardship, a dispute, that somebody speaks for them."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from duly.chain.contracts import Call
from duly.domain.grievance import FOREVER, Grievance
from duly.domain.loan import Loan
from duly.interfaces.web.acting import Act
from duly.interfaces.web.visit import MyLoan, NotFound, SignedIn, Visit

router = APIRouter(prefix="/loans/{loan}/help")


def grievance_of(grievance: Annotated[str, Path()]) -> Grievance:
    """The grievance that a path names. Raises: NotFound."""
    found = Grievance.__members__.get(grievance.upper())
    if found is None or grievance != grievance.lower():
        raise NotFound
    return found


@router.get("")
def page(visit: SignedIn, loan: MyLoan) -> Response:
    return help_page(visit, loan)


@router.post("/{grievance}/lodge")
def lodge(visit: SignedIn, loan: MyLoan, grievance: str) -> Response:
    """Prepares a grievance; the borrower's own wallet lodges it."""
    which = grievance_of(grievance)
    return _act(visit, loan, which, visit.app.contracts.desk.lodge(loan.id, which), lodges=True)


@router.post("/{grievance}/withdraw")
def withdraw(visit: SignedIn, loan: MyLoan, grievance: str) -> Response:
    """Prepares to take a grievance back; the borrower's own wallet does."""
    which = grievance_of(grievance)
    return _act(visit, loan, which, visit.app.contracts.desk.withdraw(loan.id, which), lodges=False)


def _act(visit: Visit, loan: Loan, grievance: Grievance, call: Call, *, lodges: bool) -> Response:
    act = Act.of(visit, [call], back=f"/loans/{loan.id.hex()}/help")
    if act.refusal is not None:
        return help_page(visit, loan, act.refusal)
    [matter] = [each for each in visit.app.help.matters(loan) if each.grievance is grievance]
    return visit.show(
        "borrower/help_act.html", standing=visit.portal.standing(loan), matter=matter, lodges=lodges, act=act
    )


def help_page(visit: Visit, loan: Loan, problem: str = "") -> Response:
    """The page, with what was wrong."""
    return visit.show(
        "borrower/help.html",
        422 if problem else 200,
        standing=visit.portal.standing(loan),
        matters=visit.app.help.matters(loan),
        rests_until=visit.portal.rests_until(loan),
        forever=FOREVER,
        proposals=visit.app.relief.proposals(loan),
        problem=problem,
    )
