"""The notice gate's decision, in Python; mirrors `contracts/NoticeRegistry.sol`."""

from dataclasses import dataclass
from enum import IntEnum

from duly.domain.consent import Channel, Profile
from duly.domain.loan import Position
from duly.domain.policy import ContactLimits


class Kind(IntEnum):
    """What a notice says. Upcoming, due today and overdue are reminders; the others serve the borrower."""

    LOAN_OPENED = 0
    INSTALMENT_UPCOMING = 1
    DUE_TODAY = 2
    OVERDUE = 3
    PAYMENT_RECEIVED = 4
    LOAN_REPAID = 5

    @property
    def is_reminder(self) -> bool:
        return self in (Kind.INSTALMENT_UPCOMING, Kind.DUE_TODAY, Kind.OVERDUE)


class Refusal(IntEnum):
    """Why a notice is refused, in the order in which the reasons are looked for."""

    NONE = 0
    UNKNOWN_LOAN = 1
    NOT_SERVER = 2
    NO_BASIS = 3
    WRONG_INSTALMENT = 4
    ALREADY_SAID = 5
    TOO_EARLY = 6
    TOO_LATE = 7
    WRONG_AMOUNT = 8
    NO_CONTACT = 9
    CEASED = 10
    NO_CONSENT = 11
    OUTSIDE_HOURS = 12
    TOO_SOON = 13
    DAY_CAP = 14
    WEEK_CAP = 15
    SERVICE_CAP = 16


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice to the borrower of a loan; there is no field for anybody else.

    `instalment` and `amount` (smallest unit) are checked against the ledger; `content_hash` is the salted hash of the
    words.
    """

    loan: bytes
    kind: Kind
    instalment: int
    amount: int
    channel: Channel
    content_hash: bytes


@dataclass(frozen=True, slots=True)
class Said:
    """What was already said about a loan; the fields of `INoticeRegistry.Said`.

    `services` holds the times (UTC seconds) of the last three service notices, newest first.
    """

    received: int = 0
    next: int = 0
    upcoming: int = 0
    missed: int = 0
    overdue: int = 0
    flags: int = 0
    services: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """Why a notice is refused, with what was and what was wanted; `Refusal.NONE` where it is not."""

    reason: Refusal
    actual: int = 0
    required: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a decision is made from. `reminders` are the times of the borrower's last seven, newest first."""

    position: Position
    limits: ContactLimits
    profile: Profile
    said: Said
    reminders: tuple[int, ...]
