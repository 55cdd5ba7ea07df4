"""The in-app inbox: notices that wait where the borrower signs in with their own key.

Nothing leaves the machine. A message is kept under the borrower's key in the vault, so that erasing the
borrower erases it; the borrower's address on chain is the only address that there is. What is kept twice is
there once.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from duly.channels.message import CodeMessage, Message, Receipt, Result
from duly.domain.consent import Channel
from duly.domain.errors import DulyError

CODE_SECONDS: Final = 900
"""How long a code stays in the inbox: no longer than it is good for."""


class Inbox(Protocol):
    """Keeps letters to borrowers."""

    def keep_letter(
        self,
        borrower: str,
        name: bytes,
        subject: str,
        body: str,
        language: str,
        proofs: Sequence[tuple[bytes, bytes]],
        at: int,
        expires_at: int | None = None,
    ) -> bool:
        """Keep a letter, once. False where nothing is known of the borrower (any more)."""
        ...


class InAppCarrier:
    """Puts notices into the inbox of the borrower. `inbox` is asked for when it is needed."""

    channel: Final = Channel.IN_APP
    at_once: Final = 1

    def __init__(self, inbox: Callable[[], Inbox]) -> None:
        self._inbox = inbox

    def ready(self) -> None:
        """There is nothing to be waited for."""

    def send(self, message: Message | CodeMessage) -> Receipt:
        """Keep one message, at most once."""
        if isinstance(message, Message):
            name, expires_at = message.proofs[0].notice, None
            proofs: Sequence[tuple[bytes, bytes]] = message.proofs
        else:
            name, expires_at = secrets.token_bytes(32), message.at + CODE_SECONDS
            proofs = ()
        try:
            kept = self._inbox().keep_letter(
                message.address,
                name,
                message.subject,
                message.body,
                message.language,
                proofs,
                message.at,
                expires_at,
            )
        except DulyError:
            # Whether or not it was kept: to try again keeps it once.
            return Receipt(Result.DEFERRED, "inbox unavailable")
        return Receipt(Result.SENT) if kept else Receipt(Result.REFUSED, "unknown borrower")

    def send_all(self, messages: Sequence[Message]) -> list[Receipt]:
        """Send messages one after the other, each at most once."""
        return [self.send(message) for message in messages]

    def close(self) -> None:
        """The inbox is closed by whoever opened it."""
