"""What went wrong, as a page in words, or as JSON for programs (RFC 9457). Never a traceback."""

from collections.abc import Mapping
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from duly.chain.errors import ChainError
from duly.domain.errors import DulyError, InvalidInput
from duly.interfaces.web.language import N_
from duly.interfaces.web.visit import Forbidden, ForgedForm, NotFound, SignInNeeded, Visit, sign_in_path
from duly.services import telemetry
from duly.store.database import DatabaseError
from duly.store.masterkey import VaultError

_WORDS: Final[Mapping[int, tuple[str, str]]] = {
    400: (N_("That was not understood"), N_("Something in the address or the form cannot be right.")),
    403: (N_("You may not do this"), N_("It is not yours, or your part in the loan does not include it.")),
    404: (N_("There is no such page"), N_("It may have moved, or it belongs to somebody else.")),
    405: (N_("That was not understood"), N_("This page cannot be used in this way.")),
    408: (N_("That took too long"), N_("What you sent did not arrive in time. Please try again.")),
    413: (N_("That is too large"), N_("No form of this site takes so much.")),
    421: (N_("This is another address"), N_("Please open the site under its own name.")),
    422: (N_("That was not understood"), N_("Something in the address or the form cannot be right.")),
    429: (N_("Please wait a moment"), N_("There were very many requests from your network.")),
    500: (
        N_("Something went wrong here"),
        N_("It is not your doing, and it was noted."),
    ),
    503: (
        N_("This is not available at the moment"),
        N_("The chain or the database does not answer. Nothing is lost; please try again soon."),
    ),
}
_FORGED: Final = (
    N_("This form is no longer good"),
    N_("It was made before you signed in or out, or by another site. Please open the page again."),
)


def problem(
    visit: Visit, code: int, words: tuple[str, str] | None = None, headers: dict[str, str] | None = None
) -> Response:
    """An error, to whoever asks."""
    title, detail = words or _WORDS.get(code) or _WORDS[500 if code >= 500 else 400]
    if _wants_json(visit.request):
        body = {"type": "about:blank", "title": title, "status": code, "detail": detail}
        return JSONResponse(body, code, headers, media_type="application/problem+json")
    template = "error_part.html" if visit.in_part else "error.html"
    response = visit.show(template, code, title=visit.write.text(title), detail=visit.write.text(detail))
    response.headers.update(headers or {})
    return response


def _wants_json(request: Request) -> bool:
    path = request.url.path
    return path.startswith(("/api/", "/rpc")) or request.headers.get("accept", "").startswith(
        "application/json"
    )


async def refuse(scope: Scope, receive: Receive, send: Send, code: int) -> None:
    """The same for what is refused before any page is asked."""
    headers = {}
    if code == 429:
        headers["retry-after"] = str(scope["state"]["retry_after"])
    response = problem(Visit(Request(scope, receive)), code, headers=headers)
    await response(scope, receive, send)


class Caught:
    """Tells the log of what nobody expected, without its words, and the visitor that it happened."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: object) -> None:
            nonlocal begun
            begun = True
            await send(message)  # type: ignore[arg-type]

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            telemetry.failed(error, "page")
            if begun:
                return
            await refuse(scope, receive, send, 500)


def install(app: FastAPI) -> None:
    """Let an app answer errors in this way."""

    async def needs_sign_in(request: Request, error: Exception) -> Response:
        visit = Visit(request)
        if _wants_json(request):
            return problem(visit, 401, (N_("Please sign in"), N_("Only who has signed in can see this.")))
        target = sign_in_path(visit) if request.method == "GET" and not visit.in_part else "/sign-in"
        if visit.in_part:
            return Response(status_code=204, headers={"hx-redirect": target})
        return RedirectResponse(target, 303)

    async def plain(request: Request, error: Exception) -> Response:
        code = {Forbidden: 403, NotFound: 404, RequestValidationError: 422}[type(error)]
        return problem(Visit(request), code)

    async def forged(request: Request, error: Exception) -> Response:
        return problem(Visit(request), 403, _FORGED)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem(Visit(request), error.status_code, headers=dict(error.headers or {}))

    async def known(request: Request, error: Exception) -> Response:
        visit = Visit(request)
        if isinstance(error, InvalidInput):
            return problem(visit, 422, (_WORDS[422][0], error.wrong))
        if isinstance(error, DatabaseError | ChainError | VaultError):
            telemetry.failed(error, "page")
            return problem(visit, 503)
        telemetry.failed(error, "page")
        return problem(visit, 500)

    app.add_exception_handler(SignInNeeded, needs_sign_in)
    app.add_exception_handler(ForgedForm, forged)
    for kind in (Forbidden, NotFound, RequestValidationError):
        app.add_exception_handler(kind, plain)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(DulyError, known)
