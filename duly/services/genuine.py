"""Is this message genuine? A received notice, or its code, held against the chain and nothing else.

The code is looked up among the NoticeServed events; then the words, with the salt that the mail carries, must
have the hash that the event tells. Neither the database nor the service is asked. What is proved are the
words: that the gate let this very text through, not who handed it over.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from web3 import Web3

from duly.chain.deployments import Deployment
from duly.chain.errors import explained
from duly.chain.logs import LogReader, topic_of
from duly.channels.received import Received
from duly.domain.events import Logged, NoticeServed
from duly.services.render import Text

SHORT: Final = 8
"""Digits of a loan's id that a notice shows as its reference."""


class Verdict(StrEnum):
    """What is to be thought of a message."""

    GENUINE = "genuine"
    ALTERED = "altered"
    """Its code is on chain, its words are not those that were let through."""
    UNKNOWN = "unknown"
    """Nothing on chain speaks for it, or its words could not be checked."""


class Words(StrEnum):
    """How the words compare with those that were let through."""

    SAME = "same"
    OTHER = "other"
    UNCHECKED = "unchecked"
    """There is no salt to check them with."""
    NONE = "none"
    """There were none: only a code was asked about."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the chain says of a message.

    why: the verdict in words. logged: the notice's event; None where the chain has none. final: its block
    cannot be reorganised away any more. Nothing here tells more than the notice itself does.
    """

    verdict: Verdict
    words: Words
    why: str
    chain_id: int
    registry: str
    logged: Logged | None = None
    final: bool = False

    @property
    def notice(self) -> NoticeServed | None:
        event = self.logged.event if self.logged else None
        return event if isinstance(event, NoticeServed) else None

    def as_json(self) -> dict[str, object]:
        """For programs."""
        notice, logged = self.notice, self.logged
        served = notice and {
            "code": "0x" + notice.id.hex(),
            "loan": notice.loan.hex()[:SHORT],
            "kind": notice.kind.name.lower(),
            "instalment": notice.instalment or None,
            "amount": notice.amount,
            "channel": notice.channel.name.lower(),
            "served_at": logged and logged.timestamp,
            "block": logged and logged.block_number,
            "final": self.final,
        }
        return {
            "verdict": self.verdict.value,
            "words": self.words.value,
            "why": self.why,
            "chain": self.chain_id,
            "registry": self.registry,
            "served": served,
        }


SaltOf = Callable[[NoticeServed], bytes | None]
"""The salt of a notice's hash from elsewhere than the message: the vault."""


def check(
    message: Received | bytes,
    w3: Web3,
    deployment: Deployment,
    *,
    finality: str = "latest",
    salt_of: SaltOf = lambda notice: None,
) -> Answer:
    """What the chain says of a message, or of a notice's code alone.

    finality: which blocks are final. salt_of: asked where a message carries no salt.

    Raises: ChainError.
    """
    registry = deployment.address_of("NoticeRegistry")

    def answer(verdict: Verdict, words: Words, why: str, logged: Logged | None = None) -> Answer:
        final = logged is not None and _is_final(w3, logged, finality)
        return Answer(verdict, words, why, deployment.chain_id, registry, logged, final)

    words = Words.NONE if isinstance(message, bytes) else Words.UNCHECKED
    codes = (message,) if isinstance(message, bytes) else message.codes
    if not codes:
        return answer(Verdict.UNKNOWN, words, "It names no notice code. Every notice does.")
    served = _served(w3, registry, deployment.block, codes)
    if not served:
        return answer(
            Verdict.UNKNOWN,
            words,
            "No notice with this code was ever let through on this chain, or none stands.",
        )
    if isinstance(message, bytes):
        return answer(
            Verdict.GENUINE,
            words,
            "A notice with this code was let through. Whether a message has its words, only the whole "
            "message tells.",
            served[0][0],
        )
    if message.strange:
        return answer(
            Verdict.ALTERED,
            Words.OTHER,
            f"This is not the message that was sent: {message.strange}.",
            served[0][0],
        )
    unchecked = True
    for logged, notice in served:
        salt = message.salt if message.salt is not None else salt_of(notice)
        if salt is None:
            continue
        unchecked = False
        if any(Text(*text).content_hash(salt) == notice.content_hash for text in message.texts):
            why = "Every word is as it was let through."
            return answer(Verdict.GENUINE, Words.SAME, why, logged)
    if unchecked:
        return answer(
            Verdict.UNKNOWN,
            Words.UNCHECKED,
            "The code is genuine. The words could not be checked, as their salt is not in the text: verify "
            "the whole mail, as the mail program saves it.",
            served[0][0],
        )
    return answer(
        Verdict.ALTERED,
        Words.OTHER,
        "A notice with this code was let through, but with other words (or the salt was changed).",
        served[0][0],
    )


def _served(
    w3: Web3, registry: str, first: int, codes: tuple[bytes, ...]
) -> list[tuple[Logged, NoticeServed]]:
    """The notices with one of these ids, in the order of the codes."""
    ids = ["0x" + code.hex() for code in codes]
    reader = LogReader(w3, [registry], topics=[[topic_of(NoticeServed)], ids])
    with explained():
        head = int(w3.eth.block_number)
    logs = reader.fetch(first, head)
    found = [
        (logged, logged.event) for logged in reader.decode(logs) if isinstance(logged.event, NoticeServed)
    ]
    return sorted(found, key=lambda each: codes.index(each[1].id))


def _is_final(w3: Web3, logged: Logged, finality: str) -> bool:
    block = LogReader(w3, []).block(finality)
    return block is not None and logged.block_number <= block.number
