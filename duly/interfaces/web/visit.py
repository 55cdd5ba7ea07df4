"""Who asks for a page, and how it is answered.

A page is a function that takes one of these as a parameter:

    AnyVisit        anybody, signed in or not
    SignedIn        who has signed in; others are led to the sign-in and back
    MyLoan          the same, and the path's `loan` is one of their own: another's is as good as none
    AtDesk          who lends, serves or supervises; `visit.lenders` tells whose loans are shown
    ServedLoan      a loan that the desk shows them
    role(Role.X)    who has a role

and returns `visit.show("template.html", name=value, …)` or `visit.go("/path")`.
"""

import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import Depends, Path, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from duly.bootstrap import Application
from duly.domain.loan import Loan
from duly.interfaces.web.language import N_, Language, Writer, preferred
from duly.interfaces.web.security import local_path
from duly.interfaces.web.signin import csrf_of
from duly.interfaces.web.templating import CSRF_FIELD, Pages
from duly.services.portal import Portal
from duly.store.sessions import SESSION_SECONDS, Session

LANGUAGE_COOKIE: Final = "duly-language"
CSRF_HEADER: Final = "x-csrf-token"
_A_YEAR: Final = 365 * 86_400


class Role(StrEnum):
    """What somebody who signed in is to the portal; several at once."""

    BORROWER = "borrower"
    SERVICER = "servicer"
    OFFICER = "officer"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class Site:
    """What all visits have in common. demo_keys: those of the demo wallet, by their owners' names."""

    app: Application
    origin: str
    pages: Pages
    demo_keys: Mapping[str, str] | None = None

    @property
    def demo(self) -> bool:
        """Visitors may act with keys that everyone knows."""
        return self.demo_keys is not None

    @property
    def secure(self) -> bool:
        """Browsers come over https."""
        return self.origin.startswith("https://")

    def cookie(self, name: str) -> str:
        """What a cookie is called: over https in the way that binds it to this very host."""
        return f"__Host-{name}" if self.secure else name


DESK: Final = frozenset({Role.SERVICER, Role.OFFICER, Role.AUDITOR})
"""Who sees the desk: a servicer their own loans, the others all of them."""

MENU: Final[list[tuple[frozenset[Role] | None, str, str]]] = [
    (frozenset({Role.BORROWER}), "/loans", N_("My loans")),
    (frozenset({Role.BORROWER}), "/contact", N_("Contact")),
    (DESK, "/desk", N_("Portfolio")),
    (frozenset({Role.OFFICER, Role.AUDITOR}), "/supervisor", N_("Supervision")),
    (None, "/verify", N_("Check a notice")),
]
"""What stands at the top of every page, for whom; None: for everybody. Whoever adds pages adds them here."""

DESK_MENU: Final[list[tuple[frozenset[Role], str, str]]] = [
    (DESK, "/desk", N_("Loans")),
    (DESK, "/desk/notices", N_("Notices")),
    (DESK, "/desk/grievances", N_("Grievances")),
    (frozenset({Role.OFFICER, Role.AUDITOR}), "/desk/actions", N_("Actions")),
]
"""The same for the desk's own pages."""


class SignInNeeded(Exception):
    """Only who has signed in can see this."""


class Forbidden(Exception):
    """Who has signed in may not do this."""


class NotFound(Exception):
    """There is no such page, or nothing that this visitor may know of."""


class ForgedForm(Exception):
    """The form does not come from a page of this session."""


class Visit:
    """A request, by whom, and in which language."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.site: Site = request.app.state.site
        self.app = self.site.app
        self.token = request.cookies.get(self.site.cookie("duly-session"), "")

    @property
    def portal(self) -> Portal:
        """What there is to show."""
        found: Portal = self.app.portal
        return found

    @cached_property
    def session(self) -> Session | None:
        """Who signed in, if anybody."""
        return self.app.sessions.find(self.token, int(time.time())) if self.token else None

    @property
    def address(self) -> str:
        """Of who signed in, in lower case. Raises: SignInNeeded."""
        if self.session is None:
            raise SignInNeeded
        return self.session.address

    @cached_property
    def roles(self) -> frozenset[Role]:
        """What they are."""
        if self.session is None:
            return frozenset()
        address, web = self.session.address, self.app.settings.web
        found = {Role.BORROWER}
        if self.portal.serves(address):
            found.add(Role.SERVICER)
        if address in web.officers:
            found.add(Role.OFFICER)
        if address in web.auditors:
            found.add(Role.AUDITOR)
        return frozenset(found)

    @cached_property
    def lenders(self) -> frozenset[str] | None:
        """Whose loans the desk shows: their own, and of who appointed them; None where all."""
        if self.roles & {Role.OFFICER, Role.AUDITOR}:
            return None
        found: frozenset[str] = self.app.portfolio.book.lenders_of(self.address)
        return found

    @property
    def menu(self) -> list[tuple[str, str]]:
        """The pages that lead everywhere else, and what they are called."""
        return [(path, name) for needed, path, name in MENU if needed is None or needed & self.roles]

    @property
    def desk_menu(self) -> list[tuple[str, str]]:
        """The same of the desk's own pages."""
        return [(path, name) for needed, path, name in DESK_MENU if needed & self.roles]

    @property
    def csrf(self) -> str:
        """What their forms carry."""
        return csrf_of(self.token) if self.token else ""

    @cached_property
    def language(self) -> Language:
        """Theirs: as chosen, else as their browser says."""
        chosen = self.request.cookies.get(LANGUAGE_COOKIE)
        if chosen in list(Language):
            return Language(chosen)
        return preferred(self.request.headers.get("accept-language", ""))

    @cached_property
    def write(self) -> Writer:
        """Writes in their language."""
        return self.site.pages.writer(self.language)

    @property
    def in_part(self) -> bool:
        """A part of a page is asked for, to be put into it by HTMX."""
        return self.request.headers.get("hx-request") == "true"

    # ------------------------------------------------------------------------------------ answers

    def show(self, template: str, status: int = 200, **values: object) -> HTMLResponse:
        """A page."""
        return HTMLResponse(self.site.pages.render(template, self, values), status)

    def go(self, path: str) -> RedirectResponse:
        """To another page, by GET: after a form was sent."""
        return RedirectResponse(local_path(path), 303)

    def sign_in(self, response: Response, token: str) -> None:
        """Let the browser keep a session."""
        self._set_cookie(response, self.site.cookie("duly-session"), token, SESSION_SECONDS)

    def sign_out(self, response: Response) -> None:
        """End the session, here and in the browser."""
        if self.token:
            self.app.sessions.end(self.token)
        self._set_cookie(response, self.site.cookie("duly-session"), "", 0)

    def set_nonce(self, response: Response, nonce: str, seconds: int) -> None:
        """Let the browser keep what it is about to sign."""
        self._set_cookie(response, self.site.cookie("duly-nonce"), nonce, seconds)

    @property
    def nonce(self) -> str:
        """What the browser is about to sign."""
        return self.request.cookies.get(self.site.cookie("duly-nonce"), "")

    def set_language(self, response: Response, language: Language) -> None:
        """Remember a choice."""
        self._set_cookie(response, LANGUAGE_COOKIE, language, _A_YEAR)

    def _set_cookie(self, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(
            name, value, max_age=seconds, path="/", secure=self.site.secure, httponly=True, samesite="lax"
        )


async def visit(request: Request) -> Visit:
    """Anybody's visit. What changes something must come from a page of the same session.

    Raises: ForgedForm.
    """
    found = Visit(request)
    if request.method in ("GET", "HEAD", "OPTIONS") or not found.token:
        return found
    shown = request.headers.get(CSRF_HEADER, "")
    if not shown and request.headers.get("content-type", "").startswith(
        ("application/x-www-form-urlencoded", "multipart/form-data")
    ):
        shown = str((await request.form()).get(CSRF_FIELD, ""))
    if not hmac.compare_digest(shown.encode(), csrf_of(found.token).encode()):
        raise ForgedForm
    return found


def signed_in(visit: Annotated[Visit, Depends(visit)]) -> Visit:
    """The visit of somebody who signed in. Raises: SignInNeeded."""
    if visit.session is None:
        raise SignInNeeded
    return visit


def role(*wanted: Role) -> Callable[[Visit], Visit]:
    """The visit of somebody who has one of these roles; to be used with `Depends`."""

    def check(visit: Annotated[Visit, Depends(signed_in)]) -> Visit:
        if not visit.roles & set(wanted):
            raise Forbidden
        return visit

    return check


def my_loan(visit: Annotated[Visit, Depends(signed_in)], loan: Annotated[str, Path()]) -> Loan:
    """The loan that the path names, of the borrower who asks. Of others nobody learns whether they exist.

    Raises: NotFound.
    """
    found = visit.portal.loan(_id(loan))
    if found is None or found.terms.borrower != visit.address:
        raise NotFound
    return found


def served_loan(visit: Annotated[Visit, Depends(signed_in)], loan: Annotated[str, Path()]) -> Loan:
    """The loan that the path names, for whom the desk shows it.

    Raises: NotFound.
    """
    found = visit.portal.loan(_id(loan))
    if (
        found is None
        or not visit.roles & DESK
        or not (visit.lenders is None or found.lender in visit.lenders)
    ):
        raise NotFound
    return found


def _id(text: str) -> bytes:
    try:
        found = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise NotFound from None
    if len(found) != 32:
        raise NotFound
    return found


def sign_in_path(visit: Visit) -> str:
    """Where to sign in, and come back from."""
    url = visit.request.url
    here = url.path + (f"?{url.query}" if url.query else "")
    return "/sign-in" if here == "/" else f"/sign-in?next={quote(here, safe='/')}"


AnyVisit = Annotated[Visit, Depends(visit)]
SignedIn = Annotated[Visit, Depends(signed_in)]
MyLoan = Annotated[Loan, Depends(my_loan)]
ServedLoan = Annotated[Loan, Depends(served_loan)]
AtDesk = Annotated[Visit, Depends(role(*DESK))]
