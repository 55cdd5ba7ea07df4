"""Secrets that let programs in: a calendar's address, and tokens for the API."""

import time
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.responses import Response

from duly.interfaces.web.language import N_
from duly.interfaces.web.visit import AnyVisit, NotFound, SignedIn, Visit
from duly.services.duedays import calendar_of
from duly.store.tokens import LONGEST_NAME, Purpose, TooManyTokens

router = APIRouter()


@router.get("/programs")
def programs(visit: SignedIn) -> Response:
    return _page(visit)


@router.post("/programs")
def make(
    visit: SignedIn,
    purpose: Annotated[Purpose, Form()],
    name: Annotated[str, Form(max_length=LONGEST_NAME)] = "",
) -> Response:
    """Makes one, and shows its secret this once."""
    try:
        secret = visit.app.tokens.make(visit.address, purpose, name.strip(), int(time.time()))
    except TooManyTokens:
        return _page(visit, N_("There are very many already. Please revoke some that are not used."))
    return _page(visit, made=purpose, secret=secret)


@router.post("/programs/{number}/revoke")
def revoke(visit: SignedIn, number: str) -> Response:
    if not visit.app.tokens.revoke(visit.address, number):
        raise NotFound
    return visit.go("/programs")


@router.get("/calendar/{language}/{secret}.ics")
def feed(visit: AnyVisit, language: str, secret: str) -> Response:
    """The due days, for a calendar that asks by itself; it cannot sign in."""
    token = visit.app.tokens.find(secret, Purpose.CALENDAR, int(time.time()))
    if token is None or language not in ("en", "zh"):
        raise NotFound
    content = calendar_of(visit.app, token.address, language, visit.site.origin)
    return Response(content, media_type="text/calendar")


def _page(visit: Visit, problem: str = "", *, made: Purpose | None = None, secret: str = "") -> Response:
    address = f"{visit.site.origin}/calendar/{visit.language}/{secret}.ics"
    return visit.show(
        "borrower/programs.html",
        422 if problem else 200,
        tokens=visit.app.tokens.of(visit.address),
        made=made,
        secret=address if made is Purpose.CALENDAR else secret,
        longest=LONGEST_NAME,
        problem=visit.write.text(problem),
    )
