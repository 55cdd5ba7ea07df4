"""SMS and push messages through an HTTP gateway: one request a message, as docs/channels.md describes it.

    POST DULY_SMS_URL               {"id": …, "channel": "sms", "address": …, "language": "en", "text": …}

What matters is to know whether a message went out. Where the connection was never made nothing was sent, and
a gateway that answers 4xx, 429 or 503 says so itself; whatever else goes wrong leaves it open. A message
bears its tag as the idempotency key, so that a request that was deferred may be made again.
"""

import asyncio
import json
import logging
import re
import secrets
import socket
import time
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar
from urllib.parse import urlsplit

import httpx

from duly.channels.message import CarrierUnavailable, CodeMessage, Message, Receipt, Result
from duly.config import Gateway
from duly.domain.consent import Channel

CONNECT: Final = 10.0
"""Seconds in which a connection has to be made."""
ANSWER: Final = 30.0
"""Seconds in which the answer has to be there, from the beginning to its end."""
AT_ONCE: Final = 8
"""Requests at the same time."""
LONGEST_REST: Final = 86_400
"""Seconds for which a gateway can ask to be left alone, at most."""
NOT_LET_IN: Final = 60
"""Seconds for which a gateway that does not let this service in is left alone."""

_T = TypeVar("_T")

_MOST_BYTES: Final = 65_536
_REFERENCE: Final = re.compile(r"[A-Za-z0-9._:-]{1,100}")
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_LATER: Final = (408, 425, 429, 503)
_SETTINGS: Final = (401, 403, 404, 405, 407)
"""What says that the service, not the message, is wrong."""


class GatewayCarrier:
    """Sends notices through an HTTP gateway. Not for several threads at once, nor inside a running event
    loop.
    """

    at_once: Final = AT_ONCE

    def __init__(
        self, channel: Channel, gateway: Gateway, *, connect: float = CONNECT, answer: float = ANSWER
    ) -> None:
        self.channel = channel
        self._gateway = gateway
        self._connect, self._answer = connect, answer
        self._runner: asyncio.Runner | None = None
        self._client: httpx.AsyncClient | None = None
        self._rests_until, self._why = 0.0, ""

    def __repr__(self) -> str:
        return f"GatewayCarrier({self.channel.name}, {urlsplit(self._gateway.url).hostname})"

    # ------------------------------------------------------------------------------------------ the port

    def ready(self) -> None:
        """See that the gateway can be reached, and did not ask to be left alone.

        Raises: CarrierUnavailable.
        """
        name, parts = self.channel.name, urlsplit(self._gateway.url)
        if time.monotonic() < self._rests_until:
            raise CarrierUnavailable(
                f"the {name} gateway {parts.hostname} does not take messages ({self._why})",
                remedy=f"Look at DULY_{name}_URL and DULY_{name}_TOKEN, and at the gateway's own messages.",
            )
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), self._connect).close()
        except OSError:
            raise CarrierUnavailable(
                f"the {name} gateway {parts.hostname}:{port} cannot be reached",
                remedy=f"Check that it runs, and DULY_{name}_URL.",
            ) from None

    def send(self, message: Message | CodeMessage) -> Receipt:
        """Send one message, at most once."""
        return self.send_all([message])[0]

    def send_all(self, messages: Sequence[Message | CodeMessage]) -> list[Receipt]:
        """Send messages, each at most once."""
        return self._run(self._send_all(messages))

    def close(self) -> None:
        """Let go of connections."""
        if self._runner is not None:
            if self._client is not None:
                self._run(self._client.aclose())
                self._client = None
            self._runner.close()
            self._runner = None

    def _run(self, work: Coroutine[object, object, _T]) -> _T:
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(work)

    # --------------------------------------------------------------------------------------- the request

    async def _send_all(self, messages: Sequence[Message | CodeMessage]) -> list[Receipt]:
        return list(await asyncio.gather(*map(self._send, messages)))

    async def _send(self, message: Message | CodeMessage) -> Receipt:
        if _CONTROL.search(message.subject + message.body):
            return Receipt(Result.REFUSED, "malformed")
        name = message.tag if isinstance(message, Message) else secrets.token_hex(16)
        status = None
        try:
            # From the beginning to the end: a gateway that trickles would not run into httpx's own limits.
            async with (
                asyncio.timeout(self._connect + self._answer),
                self._opened().stream(
                    "POST",
                    self._gateway.url,
                    content=json.dumps(self._body(name, message), ensure_ascii=False).encode(),
                    headers={"Idempotency-Key": name},
                ) as response,
            ):
                status = response.status_code
                body = b""
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > _MOST_BYTES:
                        break
                return self._receipt(response, body, message)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return Receipt(Result.DEFERRED, "no connection")
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            if status is not None:
                # What a status says is said, whatever became of the rest.
                return self._receipt(httpx.Response(status), b"", message)
            late = isinstance(error, (httpx.TimeoutException, TimeoutError))
            return Receipt(Result.UNKNOWN, "no answer in time" if late else "connection lost")

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            # It logs addresses of gateways, in which there may be a secret.
            logging.getLogger("httpx").setLevel(logging.WARNING)
            headers = {"Content-Type": "application/json", "User-Agent": "duly"}
            if self._gateway.token is not None:
                headers["Authorization"] = f"Bearer {self._gateway.token}"
            self._client = httpx.AsyncClient(
                headers=headers,
                timeout=httpx.Timeout(self._answer, connect=self._connect),
                # Nor does the token go anywhere else: neither to where a redirect points, nor to a proxy.
                follow_redirects=False,
                trust_env=False,
                limits=httpx.Limits(max_connections=AT_ONCE),
            )
        return self._client

    def _body(self, name: str, message: Message | CodeMessage) -> dict[str, str]:
        """What is sent. Subject, an empty line and text are the words whose hash is on chain."""
        told = {
            "id": name,
            "channel": self.channel.name.lower(),
            "address": message.address,
            "language": message.language,
        }
        if self.channel is Channel.SMS:
            return told | {"text": f"{message.subject}\n\n{message.body}"}
        return told | {"subject": message.subject, "text": message.body}

    def _receipt(self, response: httpx.Response, body: bytes, message: Message | CodeMessage) -> Receipt:
        status = response.status_code
        if 200 <= status < 300:
            return Receipt(Result.SENT, reference=_reference(body, message.address))
        reason = f"HTTP {status}"
        if status in _SETTINGS or 300 <= status < 400:
            # Everything else would fail alike; nothing may be dropped for it.
            self._rest(NOT_LET_IN, reason)
            return Receipt(Result.DEFERRED, reason)
        if status in _LATER:
            wait = _seconds(response.headers.get("Retry-After"))
            if wait:
                self._rest(wait, reason)
            return Receipt(Result.DEFERRED, reason, retry_after=wait)
        if 400 <= status < 500 and status != 409:
            return Receipt(Result.REFUSED, reason)
        return Receipt(Result.UNKNOWN, reason)

    def _rest(self, seconds: int, why: str) -> None:
        self._rests_until, self._why = time.monotonic() + seconds, why


def _reference(body: bytes, address: str) -> str | None:
    """The gateway's own name for a message, where it tells one that does not name the borrower."""
    try:
        found = json.loads(body)
    except ValueError:
        return None
    name = found.get("id") if isinstance(found, dict) else None
    if isinstance(name, int):
        name = str(name)
    if not isinstance(name, str) or not _REFERENCE.fullmatch(name) or address.lstrip("+") in name:
        return None
    return name


def _seconds(header: str | None) -> int | None:
    """How long a gateway asks to wait: seconds or a date. Source: RFC 9110, section 10.2.3."""
    text = (header or "").strip()
    if re.fullmatch("[0-9]{1,9}", text, re.ASCII):
        seconds = int(text)
    else:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        # A date without a zone is in UTC.
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = int((moment - datetime.now(UTC)).total_seconds()) + 1
    return min(max(seconds, 0), LONGEST_REST) or None
