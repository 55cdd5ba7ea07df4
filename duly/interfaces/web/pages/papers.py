"""What a borrower has in writing, and everything that is kept of them."""

import re
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query
from starlette.responses import Response

from duly.domain.consent import Channel
from duly.domain.loan import Loan
from duly.domain.terms import ZERO_HASH
from duly.interfaces.web.language import N_
from duly.interfaces.web.visit import MyLoan, NotFound, SignedIn, Visit
from duly.services import protection
from duly.services.papers import PAGE, KeyFactStatement
from duly.store.masterkey import VaultError
from duly.store.vault import UnknownBorrower

router = APIRouter()
_BEFORE = re.compile(r"(\d{1,18})-(\d{1,9})")


@router.get("/loans/{loan}/notices")
def notices(visit: SignedIn, loan: MyLoan, before: Annotated[str, Query(max_length=30)] = "") -> Response:
    """What was sent about the loan, each with its proof."""
    match = _BEFORE.fullmatch(before)
    if before and match is None:
        raise NotFound
    letters = visit.app.papers.letters(loan, (int(match[1]), int(match[2])) if match else None)
    return visit.show(
        "borrower/notices.html", standing=visit.portal.standing(loan), letters=letters, full=PAGE
    )


# ----------------------------------------------------------------------------- the key-fact statement


@router.get("/loans/{loan}/key-facts")
def key_facts(visit: SignedIn, loan: MyLoan) -> Response:
    found = visit.app.papers.key_facts(loan, visit.language)
    return visit.show(
        "borrower/key_facts.html",
        standing=visit.portal.standing(loan),
        found=found,
        replaces=loan.terms.replaces != ZERO_HASH,
    )


@router.get("/loans/{loan}/key-facts.html")
def key_facts_document(visit: SignedIn, loan: MyLoan) -> Response:
    """The document, byte for byte what is hashed."""
    return _file(_statement(visit, loan).statement.html, "text/html", f"key-facts-{_name(loan)}.html")


@router.get("/loans/{loan}/key-facts.pdf")
def key_facts_pdf(visit: SignedIn, loan: MyLoan) -> Response:
    """The same on pages."""
    found = _statement(visit, loan).statement.pdf()
    return _file(found, "application/pdf", f"key-facts-{_name(loan)}.pdf")


def _statement(visit: Visit, loan: Loan) -> KeyFactStatement:
    found: KeyFactStatement | None = visit.app.papers.key_facts(loan, visit.language)
    if found is None:
        raise NotFound
    return found


# ------------------------------------------------------------------------------- what is kept of them


@router.get("/my-data")
def my_data(visit: SignedIn) -> Response:
    return _my_data(visit)


@router.post("/my-data/{form}")
def download(visit: SignedIn, form: str) -> Response:
    """Everything that is kept: for programs, or to read. A form, since each reading is told in the log."""
    if form not in ("json", "html"):
        raise NotFound
    told = _export(visit)
    if told is None:
        return _my_data(visit, N_("Nothing is kept of this address but what stands on the ledger."))
    data = protection.as_text(told) if form == "json" else protection.page(told)
    kind = "application/json" if form == "json" else "text/html"
    return _file(data.encode(), kind, f"duly-my-data.{form}")


@router.post("/my-data")
def erase(visit: SignedIn, sure: Annotated[bool, Form()] = False) -> Response:
    """Forgets who signed in, where they say that they are sure."""
    if not sure:
        return _my_data(visit, N_("Please tick that you are sure. Nothing was erased."))
    protection.erase(visit.app, [visit.address])
    return _my_data(visit, erased=True)


def _export(visit: Visit) -> dict[str, Any] | None:
    try:
        return protection.export(visit.app, visit.address)
    except UnknownBorrower:
        return None


def _my_data(visit: Visit, problem: str = "", *, erased: bool = False) -> Response:
    known: bool | None = None
    with suppress(VaultError):
        known = visit.app.vault.kept(visit.address, Channel.IN_APP) is not None
    return visit.show(
        "borrower/my_data.html",
        422 if problem else 200,
        known=known,
        erased=erased,
        problem=visit.write.text(problem),
    )


# ---------------------------------------------------------------------------------------------- files


def _name(loan: Loan) -> str:
    return loan.id.hex()[:8]


def _file(data: bytes, kind: str, name: str) -> Response:
    """A file to keep: pages of others' making are never shown here."""
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(data, media_type=kind, headers=headers)
