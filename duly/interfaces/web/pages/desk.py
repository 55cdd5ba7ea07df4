"""The servicer's desk: the loans that somebody lends or serves, together. Officers and auditors see all."""

import re
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from duly.domain.grievance import FOREVER
from duly.interfaces.web.visit import AtDesk, NotFound, ServedLoan, SignedIn
from duly.services.portfolio import Bucket

router = APIRouter(prefix="/desk")
_AFTER = re.compile(r"(\d{1,7})-(\d{1,18})")


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
    return visit.show("desk/loan.html", details=visit.portal.details(loan), forever=FOREVER)
