"""Is this message genuine? A received notice, or its code, held against the chain and nothing else.

The code is looked up among the NoticeServed events; then the words, with the salt that the mail carries, must
have the hash that the event tells. Neither the database nor the service is asked. What is proved are the
words: that the gate let this very text through, not who handed it over.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from web3 import Web3

from duly.chain.deployments import Deployment
from duly.chain.errors import explained
from duly.chain.logs import LogReader, topic_of
from duly.channels.received import Received
from duly.domain.events import NoticeServed
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
class Served:
    """A notice on the chain: when it was served (UTC seconds), in which block, and whether that block is
    final: nothing can reorganise it away any more.
    """

    notice: NoticeServed
    at: int
    block: int
    final: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What the chain says of a message.

    why: the verdict in words. served: the notices that it names and the chain has; several where one message
    speaks of several loans. What is shown of them (`as_json`) is no more than the message itself tells.
    """

    verdict: Verdict
    words: Words
    why: str
    chain_id: int
    registry: str
    served: tuple[Served, ...] = ()

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "verdict": self.verdict.value,
            "words": self.words.value,
            "why": self.why,
            "chain": self.chain_id,
            "registry": self.registry,
            "served": [
                {
                    "code": "0x" + each.notice.id.hex(),
                    "loan": each.notice.loan.hex()[:SHORT],
                    "kind": each.notice.kind.name.lower(),
                    "instalment": each.notice.instalment or None,
                    "amount": each.notice.amount,
                    "channel": each.notice.channel.name.lower(),
                    "served_at": each.at,
                    "block": each.block,
                    "final": each.final,
                }
                for each in self.served
            ],
        }


SaltOf = Callable[[NoticeServed], bytes | None]
"""The salt of a notice's hash from elsewhere than the message: the vault."""


def check(
    message: Received | bytes,
    w3: Web3,
    deployment: Deployment,
    *,
    finality: str | int = "latest",
    salt_of: SaltOf = lambda notice: None,
) -> Answer:
    """What the chain says of a message, or of a notice's code alone.

    finality: which blocks are final. salt_of: asked where a message carries no salt.

    Raises: ChainError.
    """
    registry = deployment.address_of("NoticeRegistry")
    alone = isinstance(message, bytes)
    codes = (message,) if isinstance(message, bytes) else message.codes
    served = _served(w3, registry, deployment.block, codes, finality) if codes else ()

    def answer(verdict: Verdict, words: Words, why: str) -> Answer:
        return Answer(verdict, words, why, deployment.chain_id, registry, served)

    words = Words.NONE if alone else Words.UNCHECKED
    if not codes:
        return answer(Verdict.UNKNOWN, words, "It names no notice code. Every notice does.")
    if not served:
        why = "No notice with this code was ever let through on this chain, or none stands."
        return answer(Verdict.UNKNOWN, words, why)
    if isinstance(message, bytes):
        return answer(
            Verdict.GENUINE,
            words,
            "A notice with this code was let through. Whether a message has its words, only the whole "
            "message tells.",
        )
    if message.strange:
        why = f"This is not the message that was sent: {message.strange}."
        return answer(Verdict.ALTERED, Words.OTHER, why)
    same = _same_words(message, [each.notice for each in served], salt_of)
    if same is None:
        return answer(
            Verdict.UNKNOWN,
            Words.UNCHECKED,
            "The code is genuine. The words could not be checked, as their salt is not in the text: verify "
            "the whole mail, as the mail program saves it.",
        )
    if same:
        return answer(Verdict.GENUINE, Words.SAME, "Every word is as it was let through.")
    return answer(
        Verdict.ALTERED,
        Words.OTHER,
        "A notice with this code was let through, but with other words (or the salt was changed).",
    )


def _same_words(message: Received, notices: Sequence[NoticeServed], salt_of: SaltOf) -> bool | None:
    """Whether all notices of a message have its words; None where there is no salt to tell."""
    if message.proofs:
        hashes = {notice.id: notice.content_hash for notice in notices}
        return all(_fits(message, salt, hashes.get(code)) for code, salt in message.proofs)
    # The notices of one message to one address share the salt of one of them.
    salts = [salt for notice in notices if (salt := salt_of(notice)) is not None]
    if not salts:
        return None
    return all(any(_fits(message, salt, notice.content_hash) for salt in salts) for notice in notices)


def _fits(message: Received, salt: bytes, content_hash: bytes | None) -> bool:
    return any(Text(*text).content_hash(salt) == content_hash for text in message.texts)


def _served(
    w3: Web3, registry: str, first: int, codes: tuple[bytes, ...], finality: str | int
) -> tuple[Served, ...]:
    """The notices with one of these ids, in the order of the codes."""
    ids = ["0x" + code.hex() for code in codes]
    reader = LogReader(w3, [registry], topics=[[topic_of(NoticeServed)], ids])
    with explained():
        head = int(w3.eth.block_number)
    found = [
        (logged, logged.event)
        for logged in reader.decode(reader.fetch(first, head))
        if isinstance(logged.event, NoticeServed)
    ]
    last = reader.final(finality) if found else -1
    served = [
        Served(
            notice,
            logged.timestamp,
            logged.block_number,
            logged.block_number <= last,
        )
        for logged, notice in found
    ]
    return tuple(sorted(served, key=lambda each: codes.index(each.notice.id)))
