"""Where an account's transactions are written down before they are sent: whose turn is which nonce, and the
signed bytes.

All processes that send with one account share one outbox, in the service's database
(`duly.store.outgoing`). A program that sends alone, without a database, keeps it in memory.

A nonce's way:

    taken ──► kept ──► settled
      │         └──► given back    the node refused it: the nonce is free again
      └──► given back, or its time ran out: whoever asks next gets it

A nonce is taken for a short while. Who did not keep signed bytes under it by then has lost it, and is told so
when trying. What is kept may be on its way, so it is only ever sent again, as it is or with higher fees.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Protocol


class Attempt(Protocol):
    """Signed bytes for a nonce. Later ones replace earlier ones by higher fees; any of them may be mined."""

    @property
    def nonce(self) -> int:
        """Whose turn it is."""

    @property
    def number(self) -> int:
        """Counted from 0."""

    @property
    def what(self) -> str:
        """What it does, for messages."""

    @property
    def raw(self) -> bytes:
        """As a node takes it."""

    @property
    def hash(self) -> bytes:
        """Its id on the chain."""


class Outbox(Protocol):
    """The transactions of one chain's accounts. Addresses are in lower case."""

    def take(self, sender: str, lowest: int, seconds: float) -> tuple[int, str]:
        """The lowest free nonce from this one on, and a token that tells who has it, for so many seconds."""

    def keep(self, sender: str, nonce: int, token: str, what: str, raw: bytes, hash: bytes) -> bool:
        """Keep the bytes that were signed for a nonce. False where it is no longer the token's."""

    def give_back(self, sender: str, nonce: int, token: str) -> None:
        """Free a nonce: nothing was, or can be, sent with it."""

    def replace(self, sender: str, after: Attempt, raw: bytes, hash: bytes) -> bool:
        """Keep bytes that replace others. False where somebody was quicker, or the nonce is settled."""

    def attempts(self, sender: str, nonce: int) -> Sequence[Attempt]:
        """What was signed for a nonce, in order."""

    def unsettled(self, sender: str, count: int) -> Sequence[int]:
        """The nonces with kept bytes that are not known to be mined, or no longer are, in order.

        count: of the account's transactions that are mined.
        """

    def settle(self, sender: str, nonce: int, block: int) -> None:
        """Remember that a nonce was used up in this block. What was settled long ago may be forgotten."""


@dataclass(frozen=True, slots=True)
class _Kept:
    nonce: int
    number: int
    what: str
    raw: bytes = field(repr=False)
    hash: bytes


@dataclass(frozen=True, slots=True)
class _Taken:
    token: str
    until: float
    attempts: tuple[_Kept, ...] = ()


class MemoryOutbox:
    """An outbox that ends with the process."""

    def __init__(self) -> None:
        self._taken: dict[str, dict[int, _Taken]] = {}
        self._lock = Lock()

    def take(self, sender: str, lowest: int, seconds: float) -> tuple[int, str]:
        now = time.monotonic()
        with self._lock:
            taken = self._taken.setdefault(sender, {})
            for nonce in [nonce for nonce, each in taken.items() if nonce < lowest and not each.attempts]:
                del taken[nonce]
            nonce = lowest
            while nonce in taken and (taken[nonce].attempts or taken[nonce].until > now):
                nonce += 1
            token = secrets.token_hex(8)
            taken[nonce] = _Taken(token, now + seconds)
            return nonce, token

    def keep(self, sender: str, nonce: int, token: str, what: str, raw: bytes, hash: bytes) -> bool:
        with self._lock:
            taken = self._taken[sender].get(nonce)
            if taken is None or taken.token != token:
                return False
            self._taken[sender][nonce] = replace(taken, attempts=(_Kept(nonce, 0, what, raw, hash),))
            return True

    def give_back(self, sender: str, nonce: int, token: str) -> None:
        with self._lock:
            taken = self._taken[sender].get(nonce)
            if taken is not None and taken.token == token:
                del self._taken[sender][nonce]

    def replace(self, sender: str, after: Attempt, raw: bytes, hash: bytes) -> bool:
        with self._lock:
            taken = self._taken[sender].get(after.nonce)
            if taken is None or len(taken.attempts) != after.number + 1:
                return False
            new = _Kept(after.nonce, after.number + 1, after.what, raw, hash)
            self._taken[sender][after.nonce] = replace(taken, attempts=(*taken.attempts, new))
            return True

    def attempts(self, sender: str, nonce: int) -> Sequence[Attempt]:
        with self._lock:
            taken = self._taken.get(sender, {}).get(nonce)
            return taken.attempts if taken else ()

    def unsettled(self, sender: str, count: int) -> Sequence[int]:
        with self._lock:
            return sorted(nonce for nonce, taken in self._taken.get(sender, {}).items() if taken.attempts)

    def settle(self, sender: str, nonce: int, block: int) -> None:
        # Forgotten: the next nonce is looked for from the chain's count on.
        with self._lock:
            self._taken.get(sender, {}).pop(nonce, None)
