"""Why something is said about a loan now, or not, and when next: each rule with what was and what was wanted.

Made from the plan itself, so that it says what the plan does. The rules are looked at one by one beside it,
also those that the gate would not have come to.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from duly.domain import calendar
from duly.domain.calendar import DAY
from duly.domain.consent import Channel
from duly.domain.grievance import FOREVER, rests_until
from duly.domain.loan import Loan, Position, Status, position_of
from duly.domain.notice import (
    ARREARS,
    BETWEEN_ARREARS,
    SERVICES_PER_DAY,
    Facts,
    Ground,
    Kind,
    newest,
    next_in_hours,
)
from duly.domain.policy import ContactLimits
from duly.domain.preferences import NO_PREFERENCES, Preferences, days_text, hours_text
from duly.domain.terms import ZERO_ADDRESS
from duly.services.plan import (
    BY_MAIL,
    OVERDUE_TIMES,
    Candidate,
    Planned,
    Reach,
    Silence,
    Together,
    first_day_of,
    last_day_of,
    may_serve,
    plan,
    silence,
    timing_for,
)
from duly.services.when import Timing, Wait, offset_text, wished_hours

_FAR: Final = 2**40
_DAYS: Final = "days"
_CHOSEN_DAY: Final = "chosen day"
_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Verdict(StrEnum):
    """What becomes of a kind of notice."""

    NOW = "now"
    LATER = "later"
    NEVER = "never"
    """There is something to say, and as things stand it will not be: somebody should know."""
    NOTHING = "nothing"
    """There is nothing of the kind to say."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, whether it lets the notice be said now, what was, and what was wanted."""

    name: str
    holds: bool
    was: str
    wanted: str


@dataclass(frozen=True, slots=True)
class Explained:
    """What becomes of a kind of notice about the loan, and why.

    moment: when it is to be said, in UTC seconds and (`local`) for the borrower; None for never. rules: all
    that were looked at, none where there is nothing to say.
    """

    kind: Kind
    verdict: Verdict
    why: str
    moment: int | None = None
    local: str = ""
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that may be said about a loan.

    circumstances: of borrower and policy, by name, in words.
    """

    loan: Loan
    now: int
    server: str
    circumstances: Mapping[str, str]
    kinds: tuple[Explained, ...]


def explain(
    candidate: Candidate,
    others: Iterable[Candidate],
    server: str,
    now: int,
    persons: Mapping[str, bytes] | None = None,
    reminders: Mapping[str, tuple[int, ...]] | None = None,
    preferences: Mapping[str, Preferences] | None = None,
    together: Together | None = None,
    reach: Reach = BY_MAIL,
) -> Explanation:
    """What `server` says about one loan, what not, why, and when.

    others: the rest of what the plan is made of; those of the same person count. The others as for `plan`.
    """
    persons, loan = persons or {}, candidate.loan
    borrower = loan.terms.borrower
    who = persons.get(borrower, borrower)
    mine: dict[bytes, Candidate] = {}
    for other in others:
        if persons.get(other.loan.terms.borrower, other.loan.terms.borrower) == who:
            mine[other.loan.id] = other
    # In the place that it has in the plan: what is told once is told about the first.
    mine.setdefault(loan.id, candidate)
    wishes = (preferences or {}).get(borrower, NO_PREFERENCES)
    found = plan(
        mine.values(),
        server,
        now,
        persons,
        reminders,
        preferences=preferences,
        together=together,
        reach=reach,
    )
    planned = {each.kind: each for each in found if each.loan.id == loan.id}
    position = position_of(loan, candidate.servicer, now)
    timing = timing_for(candidate, wishes, now, reach)
    case = _Case(candidate, position, timing, server, now)
    return Explanation(
        loan,
        now,
        server,
        dict(_circumstances(case, list(mine.values()))),
        tuple(case.explained(kind, planned.get(kind)) for kind in Kind),
    )


def _circumstances(case: "_Case", loans: list[Candidate]) -> Iterator[tuple[str, str]]:
    """What holds for everything that is said about the loan."""
    candidate, timing = case.candidate, case.timing
    profile, rules = candidate.profile, timing.rules
    offsets = sorted({profile.offset, profile.other_offset})
    zone = timing.local.zone or " and ".join(map(offset_text, offsets)) + ", as registered on chain"
    if timing.mismatch:
        zone += f"; {timing.mismatch} has other offsets and is left aside"
    yield "borrower's time", f"{timing.local.text(case.now)}; {zone}"
    wishes = timing.preferences
    hours = hours_text(wishes.hours) if wishes.hours else "any hours that the policy allows"
    yield "borrower's wishes", f"{hours}; reminders {days_text(wishes)}"
    limits = candidate.limits
    yield "policy", f"{candidate.loan.terms.policy}, pack {rules.name or 'unknown'}; {_window(limits)}"
    if not rules.name:
        rest = "none known: the policy's pack is none that comes with the program"
    elif rules.rest is None:
        rest = f"none: the pack {rules.name} has no holidays"
    else:
        parts = ["public holidays"] * rules.rest.public_holidays + ["weekends"] * rules.rest.weekends
        rest = f"{' and '.join(parts)} of {rules.rest.country}"
        if name := timing.rests(case.local_day):
            rest += f"; today is {name}"
    yield "days of rest", rest
    addresses = len({each.loan.terms.borrower for each in loans})
    yield (
        "person",
        f"{len(loans)} loan{'s' * (len(loans) != 1)} to speak of, "
        f"{addresses} address{'es' * (addresses != 1)}",
    )


def _window(limits: ContactLimits) -> str:
    days = " ".join(name for place, name in enumerate(_WEEKDAYS) if limits.weekdays >> place & 1)
    return f"{hours_text((limits.opens, limits.closes))} {days}"


class _Case:
    """A loan at a moment, and who would speak of it."""

    def __init__(
        self, candidate: Candidate, position: Position, timing: Timing, server: str, now: int
    ) -> None:
        self.candidate, self.position, self.timing = candidate, position, timing
        self.server, self.now = server, now
        profile = candidate.profile
        self.west, self.east = sorted((profile.offset, profile.other_offset))
        self.local_day = calendar.local_day(now, self.west)

    def explained(self, kind: Kind, planned: Planned | None) -> Explained:
        if not may_serve(self.candidate, self.server):
            lender = self.candidate.loan.lender
            rule = Rule("server", False, self.server, f"the lender {lender}, or whom they appointed")
            why = "whoever would serve it is neither the lender nor whom they appointed"
            return Explained(kind, Verdict.NEVER, why, rules=(rule,))
        silent = silence(kind, self.candidate, self.position, self.timing)
        if silent is not None:
            return Explained(kind, Verdict.NOTHING, self.unsaid(kind, silent))
        if planned is None or planned.facts is None:
            if kind is Kind.CONSENT_CHANGED:
                why = "it is told once, about another loan of the borrower"
            else:
                why = self.hindered(kind) or "its days are over"
            return Explained(kind, Verdict.NOTHING, why)
        rules = tuple(self.rules(planned, planned.facts))
        failing = [rule for rule in rules if not rule.holds]
        moment = planned.not_before
        if planned.ready:
            return Explained(kind, Verdict.NOW, "every rule lets it through", moment, self.at(moment), rules)
        # In the gate's own order of reasons; but for a day to come the one that it will be is told.
        first = next((rule for rule in failing if rule.name == _CHOSEN_DAY), None)
        if first is None or failing[0].name != _DAYS:
            first = failing[0]
        why = f"{first.name}: {first.was}; wanted: {first.wanted}"
        if moment is None:
            if planned.wait is Wait.DAY_OF_REST:
                why = "every day on which it could be said rests"
            return Explained(kind, Verdict.NEVER, why, rules=rules)
        return Explained(kind, Verdict.LATER, why, moment, self.at(moment), rules)

    def at(self, moment: int | None) -> str:
        return "" if moment is None else self.timing.local.text(moment)

    def unsaid(self, kind: Kind, silent: Silence) -> str:
        """Why there is nothing of a kind to say, in words."""
        if silent is Silence.NO_GROUND:
            return self.no_ground(kind)
        wishes, rests = self.timing.preferences, ""
        if silent is Silence.RESTS:
            day = self.position.next_due_day
            rests = f"{calendar.iso(day)} is {self.timing.rests(day) or 'no day of the policy'}"
        pack = self.timing.rules.name
        words = {
            Silence.ENDED: f"the loan is {self.position.status.name.lower()}",
            Silence.SAID: "it was said already",
            Silence.NO_NEWS: "it is no news",
            Silence.OFTEN_ENOUGH: f"it was said {OVERDUE_TIMES} times, which is enough",
            Silence.NOT_WISHED: f"the borrower wishes reminders {days_text(wishes)}",
            Silence.RESTS: f"{rests}: it is said before, as an upcoming instalment",
            Silence.NO_DAY: "no day is left on which it may be said",
            Silence.RECEIPT_TELLS: "the receipt of the payment tells the same",
            Silence.NOT_DEMANDED: f"the pack {pack} does not demand it" if pack else "no pack is known",
            Silence.NO_CHANNEL: "the borrower consents to no channel that something can be delivered on",
            Silence.BY_PEOPLE: "a person answers, by duly loan notify",
        }
        return words[silent]

    def no_ground(self, kind: Kind) -> str:
        position = self.position
        words = {
            Kind.LOAN_REPAID: f"the loan is {position.status.name.lower()}, not repaid",
            Kind.LOAN_OPENED: "the loan replaced another one, which was told as an amendment",
            Kind.LOAN_AMENDED: "the loan replaced no other",
            Kind.LOAN_ASSIGNED: "the loan was never assigned",
            Kind.DISPUTE_RECEIVED: "no dispute stands",
            Kind.HARDSHIP_RECEIVED: "no hardship stands",
            Kind.PAYMENT_RECEIVED: "nothing was paid yet",
            Kind.CONSENT_CHANGED: "nothing was registered or consented to",
            Kind.COOLING_OFF_ENDING: "there is no cooling-off period any more"
            if position.status is not Status.ACTIVE or position.amends
            else "the policy has no cooling-off period",
            Kind.ARREARS: f"{position.missed} missed; wanted: at least "
            f"{max(ARREARS, self.timing.rules.arrears)}",
            Kind.OVERDUE: "nothing is overdue",
        }
        if kind in words:
            return words[kind]
        if position.overdue:
            return "something is overdue, which comes first"
        if not position.next:
            return "no instalment is to come"
        paid = "is" if position.next_amount == 0 else "is not"
        return f"instalment {position.next} {paid} paid already"

    # ------------------------------------------------------------------------------------ the rules

    def hindered(self, kind: Kind) -> str:
        """What keeps from being said, whenever its day comes, something that is not to be said today; empty
        where nothing does.
        """
        profile, candidate = self.candidate.profile, self.candidate
        channels = self.timing.channels
        if kind.is_owed and Channel.IN_APP in channels:
            return ""
        if not any(map(profile.has_contact, channels)):
            return "not today, and later only to a registered contact"
        if kind.is_owed:
            return ""
        if profile.ceased:
            return "not today, and later only if the borrower takes back that all contact stops"
        if not any(map(profile.consents_to, channels)):
            return "not today, and later only with consent"
        if kind.is_reminder and rests_until(candidate.loan.rest, candidate.rest) == FOREVER:
            return "not today, and later only when no grievance stands"
        if kind.is_reminder and self.position.assigned:
            return "not today, and later only when the borrower was told of the new lender"
        return ""

    def rules(self, planned: Planned, facts: Facts) -> Iterator[Rule]:
        """Every rule that a notice has to keep, in the order in which the gate looks, then the planner's."""
        kind, base, now = planned.kind, planned.ground, self.now
        yield self._days(base)
        yield from self._consent(planned, facts)
        if kind.is_reminder:
            yield from self._rest(facts)
        yield self._hours(facts)
        if kind.is_reminder:
            yield from self._caps(facts)
        else:
            yield from self._service_caps(kind, facts)
        first, today = first_day_of(kind, facts, self.timing), self.position.today
        if first:
            was = f"today is {calendar.iso(today)}"
            yield Rule(_CHOSEN_DAY, today >= first, was, f"{calendar.iso(first)} or later")
        if kind.is_reminder and self.timing.rules.rest:
            name = self.timing.rests(self.local_day)
            yield Rule("day of rest", not name, name or "none", "no day on which reminders rest")
        if self.timing.preferences.hours and not self._too_early(base, first):
            yield self._wished_hours(planned, facts, base, now)

    def _too_early(self, base: Ground, first: int) -> bool:
        return self.position.today < max(base.first_day, first)

    def _days(self, base: Ground) -> Rule:
        today = self.position.today
        holds = base.first_day <= today <= base.last_day
        days = [f"from {calendar.iso(base.first_day)}"] * (base.first_day > 0)
        days += [f"until {calendar.iso(base.last_day)}"] * (base.last_day < _FAR)
        return Rule(_DAYS, holds, f"today is {calendar.iso(today)}", " ".join(days) or "any day")

    def _consent(self, planned: Planned, facts: Facts) -> Iterator[Rule]:
        profile, channel = facts.profile, planned.channel
        name = channel.name.lower()
        has = profile.has_contact(channel)
        yield Rule("contact", has, f"{name} {'is' if has else 'is not'} registered", "a registered contact")
        if planned.kind.is_owed:
            return
        yield Rule("cease", not profile.ceased, "stopped" if profile.ceased else "not stopped", "no cease")
        consents = profile.consents_to(channel)
        yield Rule("consent", consents, f"{'consent' if consents else 'no consent'} to {name}", "consent")

    def _rest(self, facts: Facts) -> Iterator[Rule]:
        position = facts.position
        if position.assigned:
            told = facts.seldom_said.lender
            was = "told of nobody" if told == ZERO_ADDRESS else f"told of {told}"
            yield Rule("new lender", told == position.lender, was, f"told of {position.lender}")
        until = facts.rests_until
        if not until:
            was = "none"
        elif until == FOREVER:
            was = "one stands, and rests reminders until it was answered"
        else:
            was = f"rests until {self.at(until)}"
        yield Rule("grievances", self.now >= until, was, "none that rests reminders now")

    def _hours(self, facts: Facts) -> Rule:
        holds = next_in_hours(self.now, facts.limits, facts.profile) == self.now
        minutes = facts.limits.lead // 60
        return Rule(
            "contact hours",
            holds,
            self.at(self.now),
            f"{_window(facts.limits)}, {minutes} minutes before the end at the latest",
        )

    def _caps(self, facts: Facts) -> Iterator[Rule]:
        limits, times = facts.limits, facts.reminders
        for name, n, seconds, wanted in (
            ("gap", 1, limits.gap, f"{_duration(limits.gap)} between two reminders"),
            ("day", limits.per_day, DAY, f"at most {limits.per_day} in 24 hours"),
            ("week", limits.per_week, 7 * DAY, f"at most {limits.per_week} in 7 days"),
        ):
            last = newest(times, n)
            if n == 1 and name == "gap":
                was = f"last reminded {self.at(last)}" if last else "never reminded"
            else:
                recent = sum(moment > self.now - seconds for moment in times)
                was = f"{recent} reminder{'s' * (recent != 1)} to this person"
            yield Rule(f"cap: {name}", self.now >= last + seconds, was, wanted)

    def _service_caps(self, kind: Kind, facts: Facts) -> Iterator[Rule]:
        times = facts.said.services
        recent = sum(moment > self.now - DAY for moment in times)
        holds = self.now >= newest(times, SERVICES_PER_DAY) + DAY
        yield Rule(
            "cap: service notices", holds, f"{recent} in 24 hours", f"at most {SERVICES_PER_DAY} in 24 hours"
        )
        if kind is Kind.ARREARS:
            last = facts.seldom_said.arrears_at
            was = f"told {self.at(last)}" if last else "never told"
            free = not last or self.now >= last + BETWEEN_ARREARS
            yield Rule("between arrears", free, was, f"{BETWEEN_ARREARS // DAY} days in between")

    def _wished_hours(self, planned: Planned, facts: Facts, base: Ground, now: int) -> Rule:
        opens, closes = wished_hours(self.local_day, self.timing, facts.limits, self.west, self.east)
        inside = opens <= now < closes
        assert self.timing.preferences.hours is not None  # asked before
        wanted = f"{hours_text(self.timing.preferences.hours)}, as far as the policy allows"
        was = self.at(now)
        if not inside and planned.ready:
            last = calendar.iso(last_day_of(planned.kind, base))
            was += f"; they are over, and there is no other day until {last}"
        return Rule("wished hours", inside or planned.ready, was, wanted)


def _duration(seconds: int) -> str:
    return f"{seconds // 3600} hours" if seconds % 3600 == 0 else f"{seconds} seconds"
