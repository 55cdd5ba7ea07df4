"""The servicer's desk: the loans that somebody lends or serves, together. Officers and auditors see all."""

import re
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Form, Path, Query
from starlette.responses import Response

from duly.domain.grievance import FOREVER
from duly.domain.loan import Loan
from duly.interfaces.web.language import N_
from duly.interfaces.web.visit import AtDesk, Forbidden, NotFound, Role, ServedLoan, SignedIn, Visit, role
from duly.services.desk import COUNTED_DAYS, LATEST, Who, grievance_place, may_requeue, place_text
from duly.services.portfolio import Bucket
from duly.services.relief import MOST_INTERVALS
from duly.store.notices import NoSuchDelivery

router = APIRouter(prefix="/desk")
_AFTER = re.compile(r"(\d{1,7})-(\d{1,18})")
GRIEVANCES: Final = 25
"""On a page."""


@router.get("")
def portfolio(visit: AtDesk) -> Response:
    return visit.show(
        "desk/portfolio.html", overview=visit.app.portfolio.overview(visit.lenders), buckets=list(Bucket)
    )


@router.get("/loans")
def loans(
    visit: AtDesk,
    bucket: Annotated[int, Query(ge=0, lt=len(Bucket))] = Bucket.DAYS_30,
    after: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """The loans of a bucket, a page of them."""
    match = _AFTER.fullmatch(after)
    if after and match is None:
        raise NotFound
    start = (int(match[1]), int(match[2])) if match else None
    found = visit.app.portfolio.listed(visit.lenders, Bucket(bucket), start)
    return visit.show("desk/loans.html", found=found, bucket=Bucket(bucket), buckets=list(Bucket))


@router.get("/loans/{loan}")
def loan(visit: SignedIn, loan: ServedLoan) -> Response:
    """A loan as its servicer sees it: no contact, as none is needed."""
    return loan_page(visit, loan)


def loan_page(visit: Visit, loan: Loan, problem: str = "") -> Response:
    """The loan's page, with what was wrong."""
    details = visit.portal.details(loan)
    return visit.show(
        "desk/loan.html",
        422 if problem else 200,
        details=details,
        forever=FOREVER,
        proposals=visit.app.relief.proposals(loan),
        lends=loan.lender == visit.address and bool(details.standing.owed),
        most_intervals=MOST_INTERVALS,
        problem=problem,
    )


# ------------------------------------------------------------------------------------ notices


@router.get("/notices")
def notices(visit: AtDesk) -> Response:
    """What was served, refused and delivered, and what needs a person. No contact is read."""
    return _notices(visit)


@router.post("/notices/{notice}/settle")
def settle(
    visit: AtDesk, notice: Annotated[str, Path()], sent: Annotated[Literal["yes", "no"], Form()]
) -> Response:
    """Records what somebody found out about an uncertain notice."""
    found = _notice(visit, notice)
    who = _acting(visit, found, Role.SERVICER, Role.OFFICER)
    try:
        visit.app.desk.settle(found, who, sent=sent == "yes")
    except NoSuchDelivery:
        return _notices(visit, N_("This notice is not uncertain any more. Nothing was changed."))
    return visit.go("/desk/notices")


@router.post("/notices/{notice}/requeue")
def requeue(visit: AtDesk, notice: Annotated[str, Path()]) -> Response:
    """Lets a notice that was certainly not sent be tried again."""
    found = _notice(visit, notice)
    who = _acting(visit, found, Role.SERVICER)
    try:
        visit.app.desk.requeue(found, who)
    except NoSuchDelivery:
        return _notices(visit, N_("This notice cannot be tried again. Nothing was changed."))
    return visit.go("/desk/notices")


@router.get("/grievances")
def grievances(visit: AtDesk, after: Annotated[str, Query(max_length=100)] = "") -> Response:
    """What borrowers set against being reminded, and who waits for an answer or an offer."""
    start = grievance_place(after) if after else None
    if after and start is None:
        raise NotFound
    found = visit.app.desk.grievances(visit.lenders, GRIEVANCES + 1, start)
    more = place_text(found[GRIEVANCES - 1].place) if len(found) > GRIEVANCES else ""
    return visit.show("desk/grievances.html", found=found[:GRIEVANCES], after=more)


@router.get("/actions")
def actions(
    visit: Annotated[Visit, Depends(role(Role.OFFICER, Role.AUDITOR))],
    before: Annotated[int | None, Query(ge=1, lt=2**62)] = None,
) -> Response:
    """What was done at the desk."""
    return visit.show("desk/actions.html", found=visit.app.actions.latest(LATEST, before), most=LATEST)


def _notices(visit: Visit, problem: str = "") -> Response:
    return visit.show(
        "desk/notices.html",
        409 if problem else 200,
        found=visit.app.desk.notices(visit.lenders),
        days=COUNTED_DAYS,
        problem=visit.write.text(problem),
        may_requeue=may_requeue,
        settles=visit.roles & {Role.SERVICER, Role.OFFICER},
        serves=Role.SERVICER in visit.roles,
    )


def _notice(visit: Visit, notice: str) -> bytes:
    """The id of a notice that the desk shows them. Raises: NotFound."""
    if not re.fullmatch(r"[0-9a-f]{64}", notice):
        raise NotFound
    found = bytes.fromhex(notice)
    if visit.app.desk.delivery(found, visit.lenders) is None:
        raise NotFound
    return found


def _acting(visit: Visit, notice: bytes, *roles: Role) -> Who:
    """As what they may act on a notice: as a servicer on their own loans alone. Raises: Forbidden."""
    own = visit.app.portfolio.book.lenders_of(visit.address)
    if Role.SERVICER in visit.roles & set(roles) and visit.app.desk.delivery(notice, own) is not None:
        return Who(visit.address, Role.SERVICER)
    if Role.OFFICER in visit.roles & set(roles):
        return Who(visit.address, Role.OFFICER)
    raise Forbidden
