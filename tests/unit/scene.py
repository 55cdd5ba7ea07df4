"""Loans, borrowers and moments for tests, as plain data."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from duly.domain import grievance, schedule
from duly.domain.consent import Channel, Profile
from duly.domain.grievance import NO_CASE, NO_REST, Rest, rests_until
from duly.domain.loan import Loan, position_of
from duly.domain.notice import (
    NOTHING_SELDOM,
    OPENED,
    Facts,
    Kind,
    Notice,
    Said,
    SeldomSaid,
    Spoken,
    after_serving,
    ground,
)
from duly.domain.policy import ContactLimits
from duly.domain.terms import ZERO_ADDRESS, Terms
from duly.services.policy import load_pack

LENDER = "0x" + "a1" * 20
SERVICER = "0x" + "5e" * 20
STRANGER = "0x" + "57" * 20
STRICT = load_pack("STRICT").contact_limits
EVERY_DAY = replace(STRICT, weekdays=127)
EMAIL = 1 << Channel.EMAIL

# The scene is Shanghai, eight hours east of UTC, unless told otherwise.
EAST = 32


def moment(text: str, offset: int = EAST) -> int:
    """The UTC second of a local time such as "2027-01-31 09:00" or "2027-01-31 09:00:59"."""
    local = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int((local - timedelta(minutes=15 * offset)).timestamp())


def day(text: str) -> int:
    """The number of a day such as "2027-01-31"."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) // 86_400


def borrower(number: int) -> str:
    """Some borrower's address."""
    return f"0x{0xB0 << 152 | number:040x}"


def a_loan(
    first_due: str = "2027-01-29", *, opened: str = "2026-12-20 12:00", number: int = 1, **changes: object
) -> Loan:
    """12 instalments at 11.22 %, the first due on a Friday unless told otherwise; 10 days of grace."""
    terms = {
        "lender": LENDER,
        "borrower": borrower(number),
        "principal": 1_200_000,
        "late_fee": 4_000,
        "rate": 112_200,
        "instalments": 12,
        "first_due": day(first_due),
        "calendar_offset": EAST,
        "grace_days": 10,
        "policy": 1,
        "expires": moment("2027-12-31 12:00"),
    }
    return schedule.opened(number.to_bytes(32, "big"), Terms(**(terms | changes)), moment(opened))


def paid(loan: Loan, amount: int, at: str) -> Loan:
    """The loan after a payment."""
    return schedule.apply_payment(loan, amount, moment(at))[0]


CONSENTING = Profile(EAST, EAST, EMAIL, EMAIL)
TOLD = Said(flags=OPENED)
"""That the loan was opened was said."""


@dataclass(frozen=True)
class Case:
    """A loan and everything that a decision about it needs: a candidate of the planner's."""

    loan: Loan = field(default_factory=a_loan)
    carried: int = 0
    servicer: str = ZERO_ADDRESS
    profile: Profile = CONSENTING
    said: Said = TOLD
    reminders: tuple[int, ...] = ()
    limits: ContactLimits = EVERY_DAY
    seldom_said: SeldomSaid = NOTHING_SELDOM
    cooling_off_days: int = 14
    rest: Rest = NO_REST
    dispute: grievance.Case = NO_CASE
    hardship: grievance.Case = NO_CASE
    pack: bytes = bytes(32)
    reminded_at: int = 0
    changes_told: int | None = None

    def facts(self, now: int) -> Facts:
        return Facts(
            position_of(self.loan, self.servicer, now),
            self.limits,
            self.profile,
            self.said,
            self.reminders,
            self.seldom_said,
            rests_until(self.loan.rest, self.rest),
            self.cooling_off_days,
            self.dispute,
            self.hardship,
        )

    def notice(self, kind: Kind, now: int, channel: Channel = Channel.EMAIL) -> Notice:
        """What the ledger lets a notice of the kind say."""
        _, base = ground(kind, self.facts(now))
        return Notice(self.loan.id, kind, base.instalment, base.amount, channel, bytes(32))

    def served(self, kind: Kind, now: int) -> "Case":
        """Once the ledger's words of the kind were served; what grievances come to is another matter."""
        _, base = ground(kind, self.facts(now))
        spoken = Spoken(self.said, self.seldom_said, self.reminders)
        spoken = after_serving(kind, base.instalment, base.basis, spoken, now)
        return replace(
            self,
            said=spoken.said,
            seldom_said=spoken.seldom,
            reminders=spoken.reminders,
            reminded_at=now if kind.is_reminder else self.reminded_at,
            changes_told=base.basis if kind is Kind.CONSENT_CHANGED else self.changes_told,
        )
