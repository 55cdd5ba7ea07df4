"""The API: what the pages show, as JSON for programs.

A program shows a token that somebody made at `/programs`, and reads what they can read; it changes nothing.
Amounts are whole numbers of the currency's smallest unit, as text, since JSON's numbers end at 2^53; moments
are ISO 8601 in UTC; days are those of the loan's own calendar; rates are parts per million. Lists come in
pages: `next` of one is the `cursor` of the following, and what is added meanwhile shifts nothing.
"""

import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, Generic, TypeVar

from fastapi import Depends, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from duly.chain.errors import ChainError
from duly.domain.errors import DulyError
from duly.domain.loan import Loan
from duly.interfaces.web.visit import DESK, Forbidden, NotFound, Site, Visit
from duly.services import genuine, telemetry
from duly.services.desk import PLACE, Open, grievance_place, place_text
from duly.services.portal import Due, Paid, Row, Standing
from duly.services.portfolio import Bucket
from duly.store.book import belongs, borrowed
from duly.store.database import DatabaseError
from duly.store.readmodel import ServedNotice
from duly.store.sessions import Session
from duly.store.tokens import Purpose

if TYPE_CHECKING:
    from duly.store.notices import Delivery

PREFIX: Final = "/api/v1"
MOST: Final = 100
"""Entries of a page, at most."""
_EPOCH: Final = date(1970, 1, 1)


# ------------------------------------------------------------------------------------------ what it tells


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True)


Amount = Annotated[str, Field(pattern=r"^\d+$", description="In the currency's smallest unit.")]
Hash = Annotated[str, Field(pattern="^0x[0-9a-f]{64}$")]
Address = Annotated[str, Field(pattern="^0x[0-9a-f]{40}$")]
Ppm = Annotated[int, Field(description="Parts per million.")]
Item = TypeVar("Item")


class Problem(_Told):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


class PageOf(_Told, Generic[Item]):
    """A page of a list."""

    items: list[Item]
    next: str | None = Field(description="The cursor of the following page; null on the last.")


class CurrencyTold(_Told):
    address: Address
    symbol: str
    decimals: int


class About(_Told):
    """Where loans stand, and how far the chain was read."""

    chain_id: int
    contracts: dict[str, Address]
    currency: CurrencyTold
    block: int
    block_time: datetime


class DueTold(_Told):
    """What is to be paid by a day, and its parts."""

    instalment: int
    day: date
    amount: Amount
    principal: Amount
    interest: Amount
    fee: Amount


class LoanTold(_Told):
    """A loan as it stands now. owed: all that is still to be paid; payoff: what closes it now."""

    id: Hash
    status: str
    borrower: Address
    lender: Address
    principal: Amount
    rate: Ppm
    instalments: int
    schedule: str
    frequency: str
    policy: int
    agreement_hash: Hash
    replaces: Hash
    opened_at: datetime
    paid: Amount
    owed: Amount
    payoff: Amount
    late_fees: Amount
    overdue: DueTold | None
    next: DueTold | None


class InstalmentTold(_Told):
    """A row of a schedule. state: paid, overdue, today, ahead, or over (will not fall due any more)."""

    number: int
    day: date
    amount: Amount
    principal: Amount
    interest: Amount
    paid: Amount
    state: Paid
    days_late: int


class NoticeTold(_Told):
    """A notice that the gate let through, and what became of it; null while it waits."""

    id: Hash
    loan: Hash
    kind: str
    instalment: int
    amount: Amount
    channel: str
    served_at: datetime
    block: int
    transaction: Hash
    content_hash: Hash
    delivery: str | None
    reason: str | None


class BucketTold(_Told):
    """The loans that are so many days past due. to: null where there is no end."""

    from_days: int | None
    to_days: int | None
    loans: int
    owed: Amount


class PortfolioTold(_Told):
    """The portfolio by days past due; null while it is counted for the first time."""

    at: datetime
    buckets: list[BucketTold]


class GrievanceTold(_Told):
    """A grievance that waits for an answer. answer_by: null where the policy's pack sets no day."""

    loan: Hash
    grievance: str
    lodged_at: datetime
    receipt_served: bool
    answer_by: date | None
    late: bool


class VerdictTold(_Told):
    """What the chain says of a notice's code; nothing that the notice itself does not."""

    code: Hash
    verdict: str
    registry: Address
    chain_id: int
    kind: str | None
    served_at: datetime | None
    block: int | None
    final: bool | None


class PolicyTold(_Told):
    """A policy as it stands on the chain, and the hash of its whole pack."""

    number: int
    publisher: Address
    pack_hash: Hash
    opens: Annotated[int, Field(description="Minutes of the local day.")]
    closes: int
    reminders_a_day: int
    reminders_a_week: int
    gap: Annotated[int, Field(description="Seconds between two reminders, at least.")]
    pause_days: int
    cooling_off_days: int


# ------------------------------------------------------------------------------------------ who asks

_bearer: Final = HTTPBearer(auto_error=False, description="A token made at /programs.")


class _NotLetIn(Exception):
    """There is no such token."""


def caller(request: Request, _: Annotated[object, Depends(_bearer)]) -> Visit:
    """Whose program asks. Raises: _NotLetIn."""
    site: Site = request.app.state.site
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    now = int(time.time())
    token = site.app.tokens.find(secret.strip(), Purpose.API, now) if scheme.lower() == "bearer" else None
    if token is None:
        raise _NotLetIn
    visit = Visit(request)
    visit.session = Session(token.address, token.created, now)
    return visit


def at_desk(visit: Annotated[Visit, Depends(caller)]) -> Visit:
    """The program of somebody whom the desk is for. Raises: Forbidden."""
    if not visit.roles & DESK:
        raise Forbidden
    return visit


def any_loan(
    visit: Annotated[Visit, Depends(caller)],
    loan: Annotated[str, Path(pattern="^0x[0-9a-f]{64}$", description="The loan's id.")],
) -> Loan:
    """The loan that the path names, of who borrowed or serves it; another is as good as none.

    Raises: NotFound.
    """
    found = visit.portal.loan(bytes.fromhex(loan[2:]))
    if found is None:
        raise NotFound
    serves = visit.roles & DESK and (visit.lenders is None or found.lender in visit.lenders)
    if found.terms.borrower != visit.address and not serves:
        raise NotFound
    return found


Caller = Annotated[Visit, Depends(caller)]
AtDesk = Annotated[Visit, Depends(at_desk)]
AnyLoan = Annotated[Loan, Depends(any_loan)]
Limit = Annotated[int, Query(ge=1, le=MOST, description="Entries of the page, at most.")]
Cursor = Annotated[
    str | None, Query(pattern=r"^[0-9]{1,18}(-[0-9]{1,9})?$", description="`next` of the page before.")
]
GrievanceCursor = Annotated[str | None, Query(pattern=f"^{PLACE}$", description="`next` of the page before.")]


# ------------------------------------------------------------------------------------------ the questions


def create_api(site: Site) -> FastAPI:
    """The application that answers under `PREFIX`."""
    problems: dict[int | str, dict[str, object]] = {
        code: {"model": Problem, "description": text, "content": {"application/problem+json": {}}}
        for code, text in (
            (401, "No such token."),
            (403, "Not for this address."),
            (404, "There is no such thing, or it is somebody else's."),
            (422, "The question was not understood."),
            (429, "Too many questions."),
            (503, "The chain or the database does not answer."),
        )
    }
    api = FastAPI(
        title="Duly",
        version="1",
        description=__doc__,
        docs_url=None,
        redoc_url=None,
        responses=problems,
    )
    api.state.site = site
    _install_errors(api)

    @api.get("/about")
    def about(request: Request) -> About:
        """Where loans stand, and how far the chain was read. Anybody may ask."""
        app = site.app
        block, currency = app.read_model.cursor().block, app.deployment.currency
        return About(
            chain_id=app.deployment.chain_id,
            contracts={name: it.address.lower() for name, it in app.deployment.contracts.items()},
            currency=CurrencyTold(
                address=currency.address.lower(), symbol=currency.symbol, decimals=currency.decimals
            ),
            block=block.number,
            block_time=_moment(block.timestamp),
        )

    @api.get("/loans")
    def loans(visit: Caller, limit: Limit = 50, cursor: Cursor = None) -> PageOf[LoanTold]:
        """The loans that the token's owner borrowed, the newest first."""
        return _loans(visit, borrowed(visit.address), limit, cursor)

    @api.get("/loans/{loan}")
    def loan(visit: Caller, loan: AnyLoan) -> LoanTold:
        """A loan that they borrowed, lend or serve."""
        return _loan(visit.portal.standing(loan))

    @api.get("/loans/{loan}/schedule")
    def schedule(visit: Caller, loan: AnyLoan) -> list[InstalmentTold]:
        """Its instalments, and what of each is paid."""
        return [_instalment(row) for row in visit.portal.details(loan).rows]

    @api.get("/loans/{loan}/notices")
    def loan_notices(
        visit: Caller, loan: AnyLoan, limit: Limit = 50, cursor: Cursor = None
    ) -> PageOf[NoticeTold]:
        """The notices about it, the latest first."""
        return _notices(visit, None, limit, cursor, loan.id)

    @api.get("/desk/loans")
    def desk_loans(visit: AtDesk, limit: Limit = 50, cursor: Cursor = None) -> PageOf[LoanTold]:
        """The loans that they lend or serve, the newest first; officers and auditors read all."""
        return _loans(visit, belongs(visit.lenders), limit, cursor)

    @api.get("/desk/portfolio")
    def portfolio(visit: AtDesk) -> PortfolioTold | None:
        """Those by days past due."""
        found = visit.app.portfolio.overview(visit.lenders)
        if found is None:
            return None
        now = found.now
        return PortfolioTold(
            at=_moment(now.at),
            buckets=[
                BucketTold(
                    from_days=bucket.days[0],
                    to_days=bucket.days[1],
                    loans=now.buckets[bucket].loans,
                    owed=str(now.buckets[bucket].owed),
                )
                for bucket in Bucket
            ],
        )

    @api.get("/desk/notices")
    def desk_notices(visit: AtDesk, limit: Limit = 50, cursor: Cursor = None) -> PageOf[NoticeTold]:
        """The notices about them, the latest first."""
        return _notices(visit, visit.lenders, limit, cursor)

    @api.get("/desk/grievances")
    def grievances(visit: AtDesk, limit: Limit = 50, cursor: GrievanceCursor = None) -> PageOf[GrievanceTold]:
        """The grievances about them that wait for an answer, the oldest first."""
        found = visit.app.desk.grievances(visit.lenders, limit, grievance_place(cursor or ""))
        items = [_grievance(each) for each in found]
        return PageOf[GrievanceTold](
            items=items, next=place_text(found[-1].place) if len(found) == limit else None
        )

    @api.get("/notices/{code}")
    def verify(
        code: Annotated[str, Path(pattern="^0x[0-9a-f]{64}$", description="The notice's code.")],
    ) -> VerdictTold:
        """Whether a notice with this code was let through. Anybody may ask."""
        app = site.app
        answer = genuine.check(bytes.fromhex(code[2:]), app.w3, app.deployment, finality=app.finality)
        served = answer.served[0] if answer.served else None
        return VerdictTold(
            code=code,
            verdict=answer.verdict.value,
            registry=answer.registry.lower(),
            chain_id=answer.chain_id,
            kind=served.notice.kind.name.lower() if served else None,
            served_at=_moment(served.at) if served else None,
            block=served.block if served else None,
            final=served.final if served else None,
        )

    @api.get("/policies/{number}")
    def policy(number: Annotated[int, Path(ge=1, lt=2**32)]) -> PolicyTold:
        """A policy in force. Anybody may ask."""
        found = site.app.read_model.policy(number)
        if found is None:
            raise NotFound
        contact = found.contact
        return PolicyTold(
            number=number,
            publisher=found.publisher.lower(),
            pack_hash=_hex(found.pack),
            opens=contact.opens,
            closes=contact.closes,
            reminders_a_day=contact.per_day,
            reminders_a_week=contact.per_week,
            gap=contact.gap,
            pause_days=contact.pause_days,
            cooling_off_days=found.lending.cooling_off_days,
        )

    return api


def _loans(visit: Visit, whose: object, limit: int, cursor: str | None) -> PageOf[LoanTold]:
    found = visit.app.portfolio.book.loans(whose, limit, _parsed(cursor)[0] if cursor else None)
    items = list(map(_loan, visit.portal.standings([loan for _, loan in found])))
    return PageOf[LoanTold](items=items, next=_cursor(found[-1][0]) if len(found) == limit else None)


def _notices(
    visit: Visit,
    lenders: frozenset[str] | None,
    limit: int,
    cursor: str | None,
    loan: bytes | None = None,
) -> PageOf[NoticeTold]:
    before = _parsed(cursor) if cursor else None
    found = visit.app.portfolio.book.notices(lenders, limit, before, loan)
    store = visit.app.notice_store
    became = {each.notice.id: each for each in store.deliveries_of([each.id for each in found])}
    last = found[-1] if len(found) == limit else None
    return PageOf[NoticeTold](
        items=[_notice(each, became.get(each.id)) for each in found],
        next=_cursor(last.block_number, last.log_index) if last else None,
    )


def _grievance(each: Open) -> GrievanceTold:
    return GrievanceTold(
        loan=_hex(each.standing.loan.id),
        grievance=each.grievance.name.lower(),
        lodged_at=_moment(each.case.since),
        receipt_served=each.case.received,
        answer_by=None if each.answer_by is None else _day(each.answer_by),
        late=each.late,
    )


def _loan(standing: Standing) -> LoanTold:
    loan, terms = standing.loan, standing.loan.terms
    return LoanTold(
        id=_hex(loan.id),
        status=standing.position.status.name.lower(),
        borrower=terms.borrower,
        lender=loan.lender,
        principal=str(terms.principal),
        rate=terms.rate,
        instalments=terms.instalments,
        schedule=terms.schedule.name.lower(),
        frequency=terms.frequency.name.lower(),
        policy=terms.policy,
        agreement_hash=_hex(terms.agreement_hash),
        replaces=_hex(terms.replaces),
        opened_at=_moment(loan.opened_at),
        paid=str(loan.paid),
        owed=str(standing.owed),
        payoff=str(standing.payoff),
        late_fees=str(loan.fees),
        overdue=_due(standing.overdue),
        next=_due(standing.next),
    )


def _due(due: Due | None) -> DueTold | None:
    if due is None:
        return None
    split = due.split
    return DueTold(
        instalment=due.instalment,
        day=_day(due.day),
        amount=str(due.amount),
        principal=str(split.principal),
        interest=str(split.interest),
        fee=str(split.fee),
    )


def _instalment(row: Row) -> InstalmentTold:
    one = row.instalment
    return InstalmentTold(
        number=one.k,
        day=_day(one.due_day),
        amount=str(one.amount),
        principal=str(one.principal),
        interest=str(one.interest),
        paid=str(row.paid),
        state=row.state,
        days_late=row.days_late,
    )


def _notice(notice: ServedNotice, delivery: "Delivery | None") -> NoticeTold:
    return NoticeTold(
        id=_hex(notice.id),
        loan=_hex(notice.loan),
        kind=notice.kind.name.lower(),
        instalment=notice.instalment,
        amount=str(notice.amount),
        channel=notice.channel.label,
        served_at=_moment(notice.timestamp),
        block=notice.block_number,
        transaction=_hex(notice.transaction_hash),
        content_hash=_hex(notice.content_hash),
        delivery=None if delivery is None else delivery.state.value,
        reason=None if delivery is None else delivery.reason,
    )


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _day(number: int) -> date:
    return _EPOCH + timedelta(days=number)


def _cursor(*numbers: int) -> str:
    return "-".join(map(str, numbers))


def _parsed(cursor: str) -> tuple[int, int]:
    first, _, second = cursor.partition("-")
    return int(first), int(second or 0)


# ------------------------------------------------------------------------------------------- errors


def _problem(status: int, title: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    body = Problem(type="about:blank", title=title, status=status, detail=detail)
    return JSONResponse(body.model_dump(), status, headers, media_type="application/problem+json")


def _install_errors(api: FastAPI) -> None:
    async def not_let_in(request: Request, error: Exception) -> Response:
        headers = {"www-authenticate": "Bearer"}
        return _problem(401, "Not let in", "Show a token: Authorization: Bearer …", headers)

    async def forbidden(request: Request, error: Exception) -> Response:
        return _problem(403, "Not allowed", "This is for who lends, serves or supervises.")

    async def not_found(request: Request, error: Exception) -> Response:
        return _problem(404, "Not found", "There is no such thing, or it is somebody else's.")

    async def not_understood(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        # Where it was wrong, and not what was sent.
        where = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
        return _problem(422, "Not understood", f"Not as the API's document says: {where}")

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _problem(error.status_code, "Refused", str(error.detail), dict(error.headers or {}))

    async def known(request: Request, error: Exception) -> Response:
        telemetry.failed(error, "api")
        if isinstance(error, DatabaseError | ChainError):
            return _problem(503, "Not available", "The chain or the database does not answer.")
        return _problem(500, "Failed", "It was noted.")

    api.add_exception_handler(_NotLetIn, not_let_in)
    api.add_exception_handler(Forbidden, forbidden)
    api.add_exception_handler(NotFound, not_found)
    api.add_exception_handler(RequestValidationError, not_understood)
    api.add_exception_handler(HTTPException, http)
    api.add_exception_handler(DulyError, known)
