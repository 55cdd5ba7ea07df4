"""What carriers report about messages that they took."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Verdict(StrEnum):
    """What a report says of a message."""

    DELIVERED = "delivered"
    DELAYED = "delayed"
    """Not delivered so far, or not at the moment; says nothing about the address."""
    FAILED = "failed"
    """There is no such address, or it takes no messages any more."""
    COMPLAINT = "complaint"
    """Whoever got it does not want it."""
    STOP = "stop"
    """The borrower asked for no more, by answering there."""


CLOSING: Final = frozenset({Verdict.FAILED, Verdict.COMPLAINT, Verdict.STOP})
"""What closes a channel."""


@dataclass(frozen=True, slots=True)
class Report:
    """A report as it came. `tags` may be tags of messages, or anything else that looks like one; `code` is
    the carrier's, such as 5.1.1, and never its words: these may repeat an address.
    """

    tags: tuple[str, ...]
    verdict: Verdict
    code: str = ""
