"""How a borrower is reached: their own address, hours and language, consent, and the end of all contact."""

from collections.abc import Callable, Mapping
from typing import Annotated

from fastapi import APIRouter, Form, Path
from starlette.responses import Response

from duly.chain.contracts import Call
from duly.channels.message import CarrierUnavailable
from duly.domain.consent import Channel
from duly.domain.errors import DulyError
from duly.domain.preferences import DAYS_BEFORE, InvalidPreferences, Preferences, parse_hours
from duly.interfaces.web.acting import Act
from duly.interfaces.web.language import N_, Language
from duly.interfaces.web.visit import NotFound, SignedIn, Visit
from duly.services.contact import CHANNELS, NotABorrower, Reach, zones
from duly.services.verifying import CodeNotSent
from duly.services.when import OtherOffsets, UnknownZone
from duly.store.vault import (
    CodeRefused,
    InvalidCode,
    InvalidContact,
    NoSuchContact,
    TooManyCodes,
    UnknownBorrower,
    VaultError,
)

router = APIRouter()

_REFUSED: Mapping[type[DulyError], str] = {
    NotABorrower: N_("There is no loan to this address."),
    InvalidCode: N_("Please give the six digits that came there."),
    CodeRefused: N_("This is not the code, or it is too old. After five tries please ask for another one."),
    TooManyCodes: N_("Codes were sent there again and again. Please wait an hour."),
    CarrierUnavailable: N_("No code can be sent at the moment. Please try again later."),
    CodeNotSent: N_("The code could not be sent there. Please look at the address."),
    NoSuchContact: N_("There is no address yet."),
    UnknownBorrower: N_("Please give an address first."),
    UnknownZone: N_("Please choose where you live."),
    OtherOffsets: N_("Your clock is registered on the ledger otherwise. Please consent anew first."),
    InvalidPreferences: N_("Please give hours of one day, at least half an hour, such as 18:00 to 20:30."),
}
_REFUSALS: tuple[type[DulyError], ...] = (InvalidContact, *_REFUSED)
_WRONG_ADDRESS = {
    Channel.EMAIL: N_("This is no e-mail address. It should look like name@example.org."),
    Channel.SMS: N_("This is no telephone number. It should begin with + and the country, such as +44 20 …"),
    Channel.PUSH: N_("This is not what the app calls this device."),
}


def way(channel: Annotated[str, Path()]) -> Channel:
    """The channel that a path names. Raises: NotFound."""
    found = next((each for each in CHANNELS if each.label == channel), None)
    if found is None:
        raise NotFound
    return found


@router.get("/contact")
def contact(visit: SignedIn) -> Response:
    return _page(visit)


@router.post("/contact/wishes")
def wishes(
    visit: SignedIn,
    language: Annotated[Language, Form()],
    since: Annotated[str, Form(max_length=5)] = "",
    until: Annotated[str, Form(max_length=5)] = "",
    zone: Annotated[str, Form(max_length=64)] = "",
    days: Annotated[list[int] | None, Form(max_length=len(DAYS_BEFORE))] = None,
    due_day: Annotated[bool, Form()] = False,
) -> Response:
    """Keeps when, how often and in which language to remind."""

    def keep() -> None:
        hours = parse_hours(f"{since}-{until}") if since or until else None
        wished = Preferences(hours, zone, tuple(days or ()), due_day)
        visit.app.contact.wish(visit.address, wished, language)

    return _after(visit, keep, "/contact", "wishes")


@router.post("/contact/stop")
def stop(visit: SignedIn) -> Response:
    """Prepares the end of all contact; the borrower's own wallet sends it."""
    return _prepared(visit, [visit.app.contracts.consents.cease()], "stop")


@router.get("/contact/{channel}")
def channel_page(visit: SignedIn, channel: str) -> Response:
    return _way_page(visit, way(channel))


@router.post("/contact/{channel}/address")
def address(visit: SignedIn, channel: str, address: Annotated[str, Form(max_length=320)] = "") -> Response:
    """Keeps an address, and sends a code there."""
    chosen = way(channel)
    return _after(
        visit,
        lambda: visit.app.contact.keep(visit.address, chosen, address, visit.language),
        f"/contact/{channel}",
        "address",
        chosen,
    )


@router.post("/contact/{channel}/code")
def another_code(visit: SignedIn, channel: str) -> Response:
    chosen = way(channel)
    send = visit.app.contact.send_code
    return _after(visit, lambda: send(visit.address, chosen), f"/contact/{channel}", "code", chosen)


@router.post("/contact/{channel}/prove")
def prove(visit: SignedIn, channel: str, code: Annotated[str, Form(max_length=20)] = "") -> Response:
    """Checks the code that came to the address."""
    chosen = way(channel)
    text = "".join(code.split())
    check = visit.app.contact.prove
    return _after(visit, lambda: check(visit.address, chosen, text), f"/contact/{channel}", "code", chosen)


@router.post("/contact/{channel}/consent")
def consent(visit: SignedIn, channel: str, zone: Annotated[str, Form(max_length=64)] = "") -> Response:
    """Prepares the registration and the consent; the borrower's own wallet sends them."""
    chosen = way(channel)
    try:
        calls = visit.app.contact.consent(visit.address, chosen, zone)
    except _REFUSALS as refused:
        return _way_page(visit, chosen, problem=_why(refused, chosen), where="consent", status=422)
    return _prepared(visit, calls, "consent", chosen) if calls else visit.go(f"/contact/{channel}")


@router.post("/contact/{channel}/revoke")
def revoke(visit: SignedIn, channel: str) -> Response:
    """Prepares the end of contact on one channel; the borrower's own wallet sends it."""
    chosen = way(channel)
    return _prepared(visit, [visit.app.contracts.consents.revoke(chosen)], "revoke", chosen)


# --------------------------------------------------------------------------------------------- answering


def _why(error: DulyError, channel: Channel | None) -> str:
    if isinstance(error, InvalidContact) and channel is not None:
        return _WRONG_ADDRESS[channel]
    return _REFUSED[type(error)]


def _after(
    visit: Visit, do: Callable[[], object], path: str, where: str, channel: Channel | None = None
) -> Response:
    """What a form leads to, once it was done; the page again where it was refused."""
    try:
        do()
    except _REFUSALS as refused:
        problem = _why(refused, channel)
        if channel is None:
            return _page(visit, problem=problem, status=422)
        return _way_page(visit, channel, problem=problem, where=where, status=422)
    return visit.go(path)


def _prepared(visit: Visit, calls: list[Call], which: str, channel: Channel | None = None) -> Response:
    act = Act.of(visit, calls, back="/contact")
    if act.refusal is not None:
        if channel is None:
            return _page(visit, problem=act.refusal, status=422)
        return _way_page(visit, channel, problem=act.refusal, where=which, status=422)
    return visit.show("borrower/contact_act.html", act=act, which=which, channel=channel)


def _reach(visit: Visit) -> Reach | None:
    """None where there is no vault to ask."""
    try:
        found: Reach = visit.app.contact.reach(visit.address)
    except VaultError:
        return None
    return found


def _page(visit: Visit, problem: str = "", status: int = 200) -> Response:
    return visit.show(
        "borrower/contact.html",
        status,
        reach=_reach(visit),
        profile=visit.app.read_model.profile(visit.address),
        problem=visit.write.text(problem),
        zones=zones(),
        days_before=DAYS_BEFORE,
    )


def _way_page(
    visit: Visit, channel: Channel, *, problem: str = "", where: str = "", status: int = 200
) -> Response:
    reach = _reach(visit)
    found = next((each for each in reach.ways if each.channel is channel), None) if reach else None
    if reach is not None and found is None:
        raise NotFound
    return visit.show(
        "borrower/contact_way.html",
        status,
        reach=reach,
        channel=channel,
        way=found,
        profile=visit.app.read_model.profile(visit.address),
        problem=visit.write.text(problem),
        where=where,
        zones=zones(),
    )
