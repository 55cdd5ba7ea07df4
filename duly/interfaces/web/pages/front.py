"""What anybody sees first; languages; signing in and out."""

from typing import Annotated

from fastapi import APIRouter, Form
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, PlainTextResponse, Response

from duly.interfaces.web import signin
from duly.interfaces.web.language import Language
from duly.interfaces.web.security import local_path
from duly.interfaces.web.visit import AnyVisit, Role
from duly.store.sessions import NONCE_SECONDS

router = APIRouter()


@router.get("/healthz")
def healthz() -> Response:
    return PlainTextResponse("alive\n")


@router.get("/")
def landing(visit: AnyVisit) -> Response:
    return visit.go(home_of(visit)) if visit.session else visit.show("front/landing.html")


@router.post("/language")
def language(
    visit: AnyVisit, language: Annotated[Language, Form()], next: Annotated[str, Form()] = "/"
) -> Response:
    response = visit.go(next)
    visit.set_language(response, language)
    return response


# ------------------------------------------------------------------------------------ signing in


class Wallet(BaseModel):
    """Who wants to sign in."""

    address: Annotated[str, Field(max_length=64)]


class Signed(BaseModel):
    """What they signed."""

    message: Annotated[str, Field(max_length=4_000)]
    signature: Annotated[str, Field(max_length=8_200)]
    next: Annotated[str, Field(max_length=500)] = ""


@router.get("/sign-in")
def sign_in_page(visit: AnyVisit, next: str = "") -> Response:
    return visit.show("front/sign_in.html", next=local_path(next, ""), people=_people(visit))


def _people(visit: AnyVisit) -> object:
    from duly.interfaces.web.pages.demo import people

    return people(visit) if visit.site.demo else []


@router.post("/sign-in/message")
def message(visit: AnyVisit, wallet: Wallet) -> Response:
    try:
        text, nonce = signin.message_for(visit.app, visit.site.origin, wallet.address)
    except signin.SignInRefused as refused:
        return JSONResponse({"error": visit.write.text(refused.wrong)}, 422)
    response = JSONResponse({"message": text})
    visit.set_nonce(response, nonce, NONCE_SECONDS)
    return response


@router.post("/sign-in")
def sign_in(visit: AnyVisit, signed: Signed) -> Response:
    try:
        token = signin.sign_in(visit.app, visit.site.origin, signed.message, signed.signature, visit.nonce)
    except signin.SignInRefused as refused:
        response = JSONResponse({"error": visit.write.text(refused.wrong)}, 403)
        visit.set_nonce(response, "", 0)
        return response
    visit.token = token
    visit.__dict__.pop("session", None)
    visit.__dict__.pop("roles", None)
    response = JSONResponse({"next": local_path(signed.next, home_of(visit))})
    visit.sign_in(response, token)
    visit.set_nonce(response, "", 0)
    return response


@router.post("/sign-out")
def sign_out(visit: AnyVisit) -> Response:
    response = visit.go("/")
    visit.sign_out(response)
    return response


def home_of(visit: AnyVisit) -> str:
    """The page that somebody who signed in most likely wants."""
    for role, path in HOMES.items():
        if role in visit.roles:
            return path
    return "/loans"


HOMES: dict[Role, str] = {Role.OFFICER: "/desk", Role.AUDITOR: "/supervisor", Role.SERVICER: "/desk"}
"""Where each role begins, the most special first. Whoever adds its pages adds it here."""
