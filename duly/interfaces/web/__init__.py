"""The portal: where a borrower sees, pays and decides, and anyone checks a notice.

    app = create_app(application)                   for any ASGI server; `duly web` runs it

A request passes `security.Guard`; a page (`pages`, a router for each audience) is told by `visit` who asks,
asks `duly.services.portal` what to show, and a template shows it. Everything but what needs a wallet works
without a script.
"""

from collections.abc import Mapping

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from duly.bootstrap import Application
from duly.interfaces.web import errors
from duly.interfaces.web.api import PREFIX, create_api
from duly.interfaces.web.pages import (
    acting,
    borrower,
    contact,
    demo,
    desk,
    front,
    help,
    papers,
    relief,
    supervisor,
    tokens,
    verify,
)
from duly.interfaces.web.security import RATES, Guard, Rate
from duly.interfaces.web.templating import STATIC, Pages
from duly.interfaces.web.visit import Site

_PAGES = (front, borrower, contact, help, relief, papers, tokens, acting, desk, supervisor, verify)
ROUTERS = tuple(pages.router for pages in _PAGES)


def create_app(
    application: Application,
    *,
    origin: str | None = None,
    demo_keys: Mapping[str, str] | None = None,
    rates: Mapping[str, Rate] = RATES,
) -> FastAPI:
    """The portal of an application.

    origin: how browsers reach it, where the settings do not say. demo_keys: private keys by their owners'
    names, that visitors may act with; given on a local chain only.

    Raises: KeyRefused, where they are given on another chain; and as `Application.portal`.
    """
    web = application.settings.web
    origin = web.origin or origin or f"http://{web.listen}"
    if demo_keys is not None:
        demo.check_local(application.portal.chain_id)
    app = FastAPI(
        title="Duly",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        middleware=[
            Middleware(Guard, origin=origin, refuse=errors.refuse, rates=rates),
            Middleware(errors.Caught),
        ],
    )
    app.state.site = Site(application, origin, Pages(application.portal.place), demo_keys)
    errors.install(app)
    for router in ROUTERS:
        app.include_router(router)
    if demo_keys is not None:
        app.include_router(demo.router)
    app.mount(PREFIX, create_api(app.state.site))
    app.mount("/static", GZipMiddleware(_Static(directory=STATIC)))
    return app


class _Static(StaticFiles):
    """Files that browsers keep: their addresses change with them (`templating.static_url`)."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code == 200 and scope["query_string"]:
            response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response
