"""What an audit holds a chain against: each rule, what of it the chain can show, and what it cannot."""

from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum


class Basis(StrEnum):
    """From what a rule was checked."""

    CHAIN = "the chain alone"
    SERVICE = "the chain, the service's database and the vault's index"
    TOKENS = "the chain, with the currency's transfers"
    NOTHING = "not checked"


@dataclass(frozen=True, slots=True)
class Rule:
    """One of the rules that must always hold (docs/requirements.md).

    checked: what of it is checked from the chain's events. beyond: what nobody can check here, and where that
    is held. more: what is checked as well where there is more than the contracts' events, `more_from`, and
    otherwise what is left open. Each is empty where there is nothing. per: what it is counted in.
    """

    id: str
    title: str
    checked: str
    beyond: str = ""
    more: str = ""
    otherwise: str = ""
    per: str = "notices"
    more_from: Basis = Basis.SERVICE

    def has_more(self, given: Container[Basis]) -> bool:
        """Whether what is given beside the events lets more be checked."""
        return bool(self.more) and self.more_from in given

    def basis(self, given: Container[Basis]) -> Basis:
        """From what it is checked, where this is given beside the contracts' events."""
        if self.has_more(given):
            return self.more_from
        return Basis.CHAIN if self.checked else Basis.NOTHING

    def what(self, given: Container[Basis]) -> str:
        """What is checked, in words."""
        return "; ".join(filter(None, (self.checked, self.more if self.has_more(given) else "")))

    def left(self, given: Container[Basis]) -> str:
        """What is not checked, in words."""
        return "; ".join(filter(None, ("" if self.has_more(given) else self.otherwise, self.beyond)))


_SENT = "what was sent: that is in the service's database (--service)"

RULES: tuple[Rule, ...] = (
    Rule(
        "BORROWER-1",
        "To the borrower alone",
        "every notice is addressed to the borrower of its loan",
        "that no form takes another person's contact: the contracts and the service, by their tests",
    ),
    Rule(
        "BORROWER-2",
        "To the address that the borrower committed to",
        "",
        "to which address a mail went is kept nowhere",
        "no mail went to a borrower without a registered contact; how many of the vault's addresses are "
        "proved, with the hash on chain, is told below",
        _SENT,
        per="mails",
    ),
    Rule(
        "GATE-1",
        "Nothing without the gate",
        "every notice has an id that is the hash of what it is about, and that no other has",
        "",
        "every mail belongs to a notice on chain, with the same words",
        _SENT,
    ),
    Rule(
        "GATE-2",
        "Delivered at most once",
        "",
        "",
        "no notice has more than one delivery; uncertain ones are listed below",
        _SENT,
        per="mails",
    ),
    Rule(
        "GATE-3",
        "Asked again just before the send",
        "",
        "the question is a call, which leaves no trace; what was dropped after it, the service's database "
        "knows (--service lists it)",
        per="mails",
    ),
    Rule(
        "SERVER-1",
        "Served by the lender or the servicer",
        "every notice was served by the loan's lender of the moment or the servicer that lender appointed, "
        "and no lender reminded before the borrower was told of them",
    ),
    Rule(
        "HOURS-1",
        "In the borrower's waking hours",
        "every notice was served in the policy's window under both of the borrower's offsets, with time "
        "left to deliver it",
        "",
        "every mail was sent in the window, on the borrower's day on which it was served",
        "when it was delivered: that is in the service's database (--service)",
    ),
    Rule(
        "CAP-1",
        "Not too many reminders",
        "reminders in any 24 hours and 7 days, and the gap between two, for each borrower address; reminders "
        "about several loans in one message count once",
        "",
        "the same for each person over all their addresses, where what goes to several of them in one second "
        "is one message",
        "the same for each person with several addresses: that needs the vault's index (--service)",
        per="reminders",
    ),
    Rule(
        "CAP-2",
        "Other notices once, and not too many",
        "each is served once for its loan, kind and basis, and at most three about a loan in 24 hours",
        per="other notices",
    ),
    Rule(
        "CONSENT-1",
        "Only with consent",
        "consent to the channel was in force for every notice, a registered contact for what the law owes; "
        "no consent without a registered contact",
        "whose key gave it: the transactions' signatures, which the contract checked",
    ),
    Rule(
        "PAUSE-1",
        "No reminders during a grievance",
        "no reminder while a grievance stands or its rest goes on; each rests what the policy says, and for "
        "as long",
        per="reminders and grievances",
    ),
    Rule(
        "BASIS-1",
        "Says what the ledger says",
        "instalment, amount and day of every notice are the ledger's of that moment; its policy was "
        "published with a hash of templates",
        "that the words were rendered from these: whoever has the words, their salt and the templates can "
        "repeat it (duly verify tells whether words are those that were served)",
    ),
    Rule(
        "WORDS-1",
        "No threats, no shame",
        "",
        "the chain has a hash of the words only; templates that break the rule cannot be loaded, by tests",
    ),
    Rule(
        "TERMS-1",
        "Terms do not change by one side's will",
        "each loan's id is the hash of its terms; it is opened once; amendments keep parties and policy and "
        "never raise the rate; those by one side keep everything else and make nothing dearer or earlier; "
        "contact limits were only tightened",
        "the signatures of both parties: in the transactions' data, checked by the contract",
        per="loans, amendments, policies",
    ),
    Rule(
        "LEDGER-1",
        "Schedules come out even",
        "each schedule repays its principal with the interest of its rate, computed anew with decimals; what "
        "is told to be repaid owes exactly nothing",
        per="loans",
    ),
    Rule(
        "LEDGER-2",
        "Money goes where the ledger says",
        "what was taken is what was credited; what is held for a lender was taken in that transaction, and "
        "claims take what is held",
        "",
        "the tokens moved with each loan, payment and claim, between those whom the ledger names",
        "that the tokens moved: the currency's own Transfer events tell (--tokens)",
        per="movements of money",
        more_from=Basis.TOKENS,
    ),
    Rule(
        "LEDGER-3",
        "Only what is owed is taken",
        "no payment took more than was owed, nor anything from a loan that had ended; settling took no more "
        "than it costs",
        "payments that were refused leave no event",
        per="payments",
    ),
    Rule(
        "FEES-1",
        "Late fees",
        "each is the terms' fixed amount within the policy's cap, charged once for an instalment, after the "
        "grace period, with receipts short of what was due, and not during a rest",
        per="loans and late fees",
    ),
    Rule(
        "USURY-1",
        "The rate is within the cap",
        "the annual percentage rate of each loan, fees included, searched anew with decimals, is at most the "
        "policy's cap",
        "offers that were refused leave no event",
        per="loans",
    ),
    Rule(
        "COOL-1",
        "The right to rescind",
        "rescissions came in time and took no more than what was received, less what was paid, plus interest "
        "to the day; no loan was amended while it could be rescinded",
        per="rescissions and amendments",
    ),
    Rule(
        "PRIV-1",
        "Nobody can be recognised",
        "",
        "that nothing on chain identifies a person cannot be told from hashes; the service's tests scan "
        "for it",
    ),
)  # fmt: skip
"""All rules, in the order of the document."""
