"""What a servicer's desk shows of many loans together.

The numbers by bucket, over time and from month to month come from one pass over the loans and what was told
of each, by the domain's own schedule. That takes as long as there are loans: it is done once for each block,
and for more than a few loans beside the requests, which show what was counted last.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from duly.domain import calendar, schedule
from duly.domain.loan import Loan
from duly.services.beside import Beside
from duly.services.portal import Portal, Standing
from duly.store.book import Book, Told

if TYPE_CHECKING:
    from duly.bootstrap import Application

MONTHS: Final = 12
"""Ends of months that are looked back upon."""
PAGE: Final = 50
"""Loans on a page."""

AT_ONCE: Final = 300
"""Loans that are counted while somebody waits."""


class Bucket(IntEnum):
    """How long the first unpaid instalment of a loan is past due."""

    CURRENT = 0
    DAYS_30 = 1
    DAYS_60 = 2
    DAYS_90 = 3
    OVER_90 = 4

    @property
    def days(self) -> tuple[int | None, int | None]:
        """The least and the most days past due; None where there is no such bound."""
        return ((None, 0), (1, 30), (31, 60), (61, 90), (91, None))[self]


def bucket_of(days: int) -> Bucket:
    """The bucket of a loan that is so many days past due; none or less where it is not."""
    return Bucket(min(4, (days + 29) // 30)) if days > 0 else Bucket.CURRENT


@dataclass(frozen=True, slots=True)
class Sum:
    """How many loans, and what is still to be paid on them as scheduled, with late fees."""

    loans: int = 0
    owed: int = 0

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(self.loans + other.loans, self.owed + other.owed)


@dataclass(frozen=True, slots=True)
class Moment:
    """The loans at a moment (UTC seconds), by bucket."""

    at: int
    buckets: tuple[Sum, ...]

    @property
    def total(self) -> Sum:
        """Of all buckets."""
        return sum(self.buckets, Sum())

    @property
    def overdue(self) -> Sum:
        """Of all buckets but the first."""
        return sum(self.buckets[1:], Sum())

    @property
    def day(self) -> int:
        """In UTC."""
        return calendar.local_day(self.at, 0)

    def share(self, bucket: int) -> int:
        """What part of everything owed is in a bucket, in parts per million."""
        return _share(self.buckets[bucket].owed, self.total.owed)


@dataclass(frozen=True, slots=True)
class Roll:
    """What became of the loans of a bucket from one end of a month to the next.

    start: all that were in it. worse: those of them that were in a worse bucket at the end. cured: those that
    were not past due any more, or paid off. Amounts are as at the start.
    """

    start: Sum
    worse: Sum
    cured: Sum

    @property
    def rate(self) -> int:
        """The roll rate, by amount: in parts per million."""
        return _share(self.worse.owed, self.start.owed)

    @property
    def cure_rate(self) -> int:
        """The same of those that were cured."""
        return _share(self.cured.owed, self.start.owed)


@dataclass(frozen=True, slots=True)
class Rolls:
    """The rolls of a month, which ends on a day, by the bucket that they began in."""

    day: int
    buckets: tuple[Roll, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """A portfolio. months: as it was at the ends of the last months, oldest first, and as it is now."""

    months: tuple[Moment, ...]
    rolls: tuple[Rolls, ...]

    @property
    def now(self) -> Moment:
        """As it is."""
        return self.months[-1]


def _share(part: int, whole: int) -> int:
    return round(1_000_000 * part / whole) if whole else 0


@dataclass(frozen=True, slots=True)
class _Place:
    bucket: Bucket
    owed: int


def month_ends(now: int) -> list[int]:
    """The last seconds of the last months, in UTC, oldest first."""
    year, month, _ = calendar.civil(calendar.local_day(now, 0))
    first = calendar.day_of(year, month, 1)
    return [calendar.start_of(calendar.add_months(first, -back), 0) - 1 for back in reversed(range(MONTHS))]


def overview(histories: Iterator[tuple[Loan, list[Told]]], now: int) -> Overview:
    """What loans come to, now and at the ends of the last months. Loans in the order of their beginning."""
    moments = [*month_ends(now), now]
    sums = [[[0, 0] for _ in Bucket] for _ in moments]
    rolls = [[[[0, 0] for _ in range(3)] for _ in Bucket] for _ in moments]
    carried: dict[bytes, Told] = {}
    for loan, told in histories:
        places = list(_places(loan, told, carried, moments))
        for n, place in enumerate(places):
            if place is not None:
                sums[n][place.bucket][0] += 1
                sums[n][place.bucket][1] += place.owed
            before = places[n - 1] if n else None
            if before is None:
                continue
            of = rolls[n][before.bucket]
            ended = [0]
            if place is not None and place.bucket > before.bucket:
                ended.append(1)
            if place is None or (before.bucket and not place.bucket):
                ended.append(2)
            for which in ended:
                of[which][0] += 1
                of[which][1] += before.owed
    found = [
        Moment(at, tuple(Sum(*each) for each in buckets)) for at, buckets in zip(moments, sums, strict=True)
    ]
    # From before there was any loan there is nothing to show.
    first = next((n for n, each in enumerate(found[:-1]) if each.total.loans), len(found) - 1)
    return Overview(
        tuple(found[first:]),
        tuple(
            Rolls(found[n].day, tuple(Roll(*(Sum(*each) for each in parts)) for parts in rolls[n]))
            for n in range(first + 1, len(found) - 1)
        ),
    )


def _places(
    loan: Loan, told: Sequence[Told], carried: dict[bytes, Told], moments: Sequence[int]
) -> Iterator[_Place | None]:
    """Where a loan was at moments; None where it had not begun or was over.

    carried: what tells of the beginning of those that carry on another; this loan's is added, where one does.
    """
    began, paid, fees = loan.opened_at, 0, 0
    if loan.amends and (start := carried.pop(loan.id, None)):
        began, paid, fees = start.at, start.args["paid"], start.args["fees"]
    # Closing early lowers the total.
    total = loan.total + sum(each.args["saved"] for each in told if each.name == "LoanSettled")
    over, n = False, 0
    for moment in moments:
        while n < len(told) and told[n].at <= moment:
            each = told[n]
            n += 1
            if each.name == "LoanAmended":
                carried[bytes.fromhex(each.args["amendment"][2:])] = each
            paid, fees = each.args.get("paid", paid), each.args.get("fees", fees)
            over = over or each.name in _ENDS
        owed = total + fees - paid
        if moment < began or over or owed <= 0:
            yield None
            continue
        as_it_was = replace(loan, total=total, paid=paid)
        k = min(schedule.covered_by(as_it_was) + 1, loan.terms.instalments)
        late = schedule.today(loan.terms, moment) - schedule.due_day(loan.terms, k)
        yield _Place(bucket_of(late), owed)


_ENDS: Final = frozenset({"LoanSettled", "LoanRepaid", "LoanRescinded", "LoanAmended"})


# -------------------------------------------------------------------------------------------- asking


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of loans. after: where the next one begins; None where there is none."""

    loans: tuple[Standing, ...]
    after: tuple[int, int] | None


class Portfolio:
    """The loans of lenders (None: of all). For several threads."""

    def __init__(self, app: "Application", portal: Portal) -> None:
        self._portal = portal
        self._model = app.read_model
        self.book = Book(app.read_model.engine)
        self._beside: Beside[Overview] = Beside("portfolio")

    def overview(self, lenders: frozenset[str] | None) -> Overview | None:
        """What there is; None while many loans are counted for the first time."""
        now = self._portal.now()
        wait = not self.book.has_more(lenders, AT_ONCE)
        return self._beside.find(lenders, self._state(now), lambda: self._counted(lenders, now), wait=wait)

    def count(self, lenders: frozenset[str] | None) -> Overview:
        """Count them now, however many they are."""
        now = self._portal.now()
        return self._beside.count(lenders, self._state(now), lambda: self._counted(lenders, now))

    def _state(self, now: int) -> object:
        return self._model.cursor().block.hash, calendar.local_day(now, 0)

    def _counted(self, lenders: frozenset[str] | None, now: int) -> Overview:
        return overview(self.book.histories(lenders), now)

    def listed(
        self, lenders: frozenset[str] | None, bucket: Bucket, after: tuple[int, int] | None = None
    ) -> Listed:
        """The loans of a bucket, those that are due longest first."""
        least, most = bucket.days
        found = self.book.late(lenders, self._portal.now(), least, most, after, PAGE + 1)
        more = None
        if len(found) > PAGE:
            number, last = found[PAGE - 1]
            k = min(schedule.covered_by(last) + 1, last.terms.instalments)
            more = schedule.due_day(last.terms, k), number
        return Listed(tuple(self._portal.standings([loan for _, loan in found[:PAGE]])), more)
