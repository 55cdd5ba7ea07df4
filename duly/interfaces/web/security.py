"""What every request passes before a page sees it, and every answer on its way back.

A page cannot forget any of it: where a request goes to, how large it is, how often it comes and who made it
are judged here, and the headers that bind the browser are put on here.
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY: Final = 64 * 1024
"""Bytes of a request, at most."""
MESSAGE_BODY: Final = 1_100_000
"""The same where whole mails are looked at."""
BODY_SECONDS: Final = 15.0
"""How long a request's body may take to arrive."""

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # With `no-referrer` browsers would not tell either where a form was sent from.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), geolocation=(), microphone=(), payment=(), usb=()",
}
_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_NO_PATH = re.compile(r"[\x00-\x1f\x7f\\]")

Refuse = Callable[[Scope, Receive, Send, int], Awaitable[None]]
"""Answers with a page that tells of an error, by its status code."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How often somebody may ask: so many at once, and so many a second in the long run."""

    burst: int
    per_second: float


RATES: Final[Mapping[str, Rate]] = {
    "page": Rate(120, 4),
    "static": Rate(200, 10),
    "act": Rate(40, 0.5),
    "sign-in": Rate(20, 0.2),
    # Codes have 256 bits; guessing is hopeless, and is to cost the chain's node nothing either.
    "verify": Rate(30, 0.5),
    "rpc": Rate(300, 30),
    "api": Rate(200, 10),
}
_CLASSES: Final = (
    ("/static/", "static", True),
    ("/sign-in", "sign-in", False),
    ("/verify", "verify", False),
    ("/rpc", "rpc", False),
    # Asked of the chain, as what the page is sent.
    ("/api/v1/notices/", "verify", True),
    ("/api/", "api", True),
    ("/transactions/", "page", True),
)
"""Beginnings of paths, the rate that holds for them, and whether it does for mere questions as well."""


def local_path(wanted: str | None, otherwise: str = "/") -> str:
    """Where to go next, if that is a page of ours: never another site."""
    if not wanted or len(wanted) > 500 or _NO_PATH.search(wanted) or not re.match(r"/(?!/)", wanted):
        return otherwise
    parts = urlsplit(wanted)
    return otherwise if parts.scheme or parts.netloc else wanted


class Guard:
    """Refuses what is too large, too slow, too often, at the wrong address or from another site."""

    def __init__(
        self, app: ASGIApp, *, origin: str, refuse: Refuse, rates: Mapping[str, Rate] = RATES
    ) -> None:
        self._app, self._origin, self._refuse = app, origin, refuse
        self._netloc = urlsplit(origin).netloc
        self._limiter = Limiter(rates)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        send = self._protected(scope, send)
        if path == "/healthz":
            await self._app(scope, receive, send)
            return
        if headers.get("host", "").lower() != self._netloc:
            await self._elsewhere(scope, receive, send)
            return
        wait = self._limiter.wait(scope["client"], class_of(path, method))
        if wait > 0:
            scope.setdefault("state", {})["retry_after"] = max(1, round(wait))
            await self._refuse(scope, receive, send, 429)
            return
        # The API takes no cookie: whoever asks shows what no browser adds by itself.
        if method not in _SAFE and not path.startswith("/api/") and not self._from_here(headers):
            await self._refuse(scope, receive, send, 403)
            return
        most = MESSAGE_BODY if path == "/verify" else BODY
        if _length(headers) > most:
            await self._refuse(scope, receive, send, 413)
            return
        await self._app(scope, Body(receive, most).receive, send)

    def _from_here(self, headers: Headers) -> bool:
        """Whether one of our own pages sent this: the browser itself says so, and no script can change it."""
        site = headers.get("sec-fetch-site")
        if site is not None and site != "same-origin":
            return False
        return headers.get("origin") == self._origin or (site is not None and "origin" not in headers)

    async def _elsewhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        """It was sent to another name of this machine: lead people to the right one."""
        if scope["method"] not in _SAFE:
            await self._refuse(scope, receive, send, 421)
            return
        query = scope["query_string"]
        target = self._origin.encode() + scope["raw_path"] + (b"?" + query if query else b"")
        headers = [(b"location", target), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 307, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _protected(self, scope: Scope, send: Send) -> Send:
        secure = self._origin.startswith("https://")

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if secure:
                    headers["strict-transport-security"] = "max-age=63072000; includeSubDomains"
                headers.setdefault("cache-control", "no-store")
            await send(message)

        return protected


class BodyRefused(HTTPException):
    """A request's body is too large, or too slow."""


class Body:
    """A request's body as it arrives, while it may."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._left = receive, most
        self._complete = False
        self._end = time.monotonic() + BODY_SECONDS

    async def receive(self) -> Message:
        """The next part. Raises: BodyRefused."""
        if self._complete:
            return await self._receive()  # that the client went away
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._end - time.monotonic()))
        except TimeoutError:
            raise BodyRefused(408) from None
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self._left < 0:
                raise BodyRefused(413)
        return message


class Limiter:
    """Counts who asks how often, in this process: a bucket for each address and class of pages, which fills
    up again.
    """

    MOST = 20_000
    """Buckets that are remembered; the one that was used longest ago is forgotten first."""

    def __init__(self, rates: Mapping[str, Rate], clock: Callable[[], float] = time.monotonic) -> None:
        self._rates, self._clock = rates, clock
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def wait(self, client: tuple[str, int] | None, kind: str) -> float:
        """Seconds to wait until one may ask again; 0 where this once more is fine, and counts."""
        rate, now = self._rates[kind], self._clock()
        key = (_network(client[0] if client else ""), kind)
        left, at = self._buckets.pop(key, (float(rate.burst), now))
        left = min(rate.burst, left + (now - at) * rate.per_second)
        allowed = left >= 1
        self._buckets[key] = (left - 1 if allowed else left, now)
        if len(self._buckets) > self.MOST:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) / rate.per_second


def class_of(path: str, method: str) -> str:
    """Which rate holds for a request."""
    for prefix, kind, questions in _CLASSES:
        if path.startswith(prefix) and (questions or method not in _SAFE):
            return kind
    return "page" if method in _SAFE else "act"


def _network(address: str) -> str:
    """Who has one IPv6 address has 2**64 of them."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((found, 64), strict=False)) if isinstance(found, IPv6Address) else address


def _length(headers: Headers) -> int:
    try:
        return int(headers.get("content-length", "0"))
    except ValueError:
        return 0
