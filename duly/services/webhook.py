"""Tells another program, such as a servicer's books, what happens to loans: in signed requests, in order.

    POST DULY_WEBHOOK_URL
    webhook-id, webhook-timestamp, webhook-signature        as https://www.standardwebhooks.com has them
    {"type": "events", "chain_id": …, "ledger": …, "after": {"block": …, "log_index": …}, "events": [ … ]}

The receiver forgets whatever it was told after `after`, if anything, and takes the events in: so nothing is
lost or counted twice when a request is repeated, or when a reorganisation replaced what was told; there may
be no event then. What does not come through is sent again, at ever longer intervals; nothing overtakes it.
"""

import base64
import hashlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from duly.chain.deployments import Deployment
from duly.config import Webhook
from duly.domain import replay
from duly.domain.errors import DulyError
from duly.domain.events import Logged
from duly.store.readmodel import ReadModel
from duly.store.webhooks import LAST_PLACE, Place, WebhookStore

MOST: Final = 100
"""Events of a request."""
CONNECT: Final = 10.0
ANSWER: Final = 30.0
"""Seconds in which a connection, and the answer, have to be there."""
PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32


class WebhookFailed(DulyError):
    """The receiver did not take what it was sent."""


@dataclass(frozen=True, slots=True)
class Standing:
    """told: up to where the receiver has everything. waiting: how many events it does not have."""

    told: Place
    waiting: int


def new_secret() -> str:
    """A secret for both sides to sign and check with."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signature(secret: str, name: str, at: int, body: bytes) -> str:
    """What proves that a request is ours: HMAC-SHA256. Source: the Standard Webhooks specification."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = b".".join((name.encode(), str(at).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


class Teller:
    """Sends what the receiver does not have yet. For one thread."""

    def __init__(
        self, settings: Webhook, store: WebhookStore, read_model: ReadModel, deployment: Deployment
    ) -> None:
        self._settings, self._store, self._model = settings, store, read_model
        self._chain = {
            "chain_id": deployment.chain_id,
            "ledger": deployment.address_of("LoanLedger").lower(),
        }
        # It logs addresses, in which there may be a secret.
        logging.getLogger("httpx").setLevel(logging.WARNING)

    def standing(self) -> Standing:
        """How far the receiver is."""
        after = self._store.told().after
        return Standing(after, self._model.count_about_loans(after))

    def send(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Send all that waits; how many events that was. stop: asked between two requests.

        Raises: WebhookFailed, where the receiver does not take a request; what it took before is noted.
        """
        sent = 0
        # Neither secret nor events go anywhere else: neither to where a redirect points, nor to a proxy.
        timeout = httpx.Timeout(ANSWER, connect=CONNECT)
        with httpx.Client(timeout=timeout, follow_redirects=False, trust_env=False) as client:
            while not stop():
                told = self._store.told()
                events = self._model.about_loans(told.after, MOST)
                if not events and not told.stale:
                    break
                last = Place(events[-1].block_number, events[-1].log_index) if events else told.after
                # Where it stands otherwise, something was taken back meanwhile, or another process told it.
                if self._store.try_(told, last):
                    self._post(client, self._body(told.after, events))
                    if self._store.move(told, last):
                        sent += len(events)
        return sent

    def _body(self, after: Place, events: list[Logged]) -> bytes:
        index = None if after.log_index == LAST_PLACE else after.log_index
        where = {"block": after.block, "log_index": index}
        told = {"type": "events", **self._chain, "after": where, "events": list(map(told_of, events))}
        return json.dumps(told, separators=(",", ":")).encode()

    def _post(self, client: httpx.Client, body: bytes) -> None:
        # The same request has the same name however often it is sent.
        name, now = f"msg_{hashlib.sha256(body).hexdigest()[:32]}", int(time.time())
        headers = {
            "content-type": "application/json",
            "user-agent": "duly",
            "webhook-id": name,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(self._settings.secret, name, now, body),
        }
        host = urlsplit(self._settings.url).hostname
        try:
            status = client.post(self._settings.url, content=body, headers=headers).status_code
        except httpx.HTTPError as error:
            raise WebhookFailed(
                f"the webhook's receiver {host} does not answer ({type(error).__name__})",
                remedy="Check that it runs, and DULY_WEBHOOK_URL. What it was not told waits.",
            ) from None
        if not 200 <= status < 300:
            raise WebhookFailed(
                f"the webhook's receiver {host} answered with {status}",
                wanted="2xx",
                remedy="Look at its own messages. What it was not told waits.",
            )


def told_of(logged: Logged) -> dict[str, object]:
    """An event for other programs. Whole numbers are text, since JSON's end at 2^53."""
    event = logged.event
    loan, _, _ = replay.subjects(event)
    return {
        "id": f"0x{logged.block_hash.hex()}-{logged.log_index}",
        "name": event.name,
        "contract": event.contract,
        "loan": None if loan is None else "0x" + loan.hex(),
        "at": datetime.fromtimestamp(logged.timestamp, UTC).isoformat().replace("+00:00", "Z"),
        "block": logged.block_number,
        "log_index": logged.log_index,
        "transaction": "0x" + logged.transaction_hash.hex(),
        "args": _plain(event),
    }


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {each.name.rstrip("_"): _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, IntEnum):
        return value.name.lower()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
