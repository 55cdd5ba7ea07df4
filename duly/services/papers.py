"""What a borrower has in writing: the notices that were sent, each with its proof, and the key-fact statement
that the loan was agreed on with.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from duly.domain import calendar
from duly.domain.disclosure import last_day_to_open
from duly.domain.errors import DulyError, InvalidInput
from duly.domain.loan import Loan
from duly.domain.terms import ZERO_HASH
from duly.services import disclose
from duly.services.disclose import Basis, Statement
from duly.services.serve import proves, salt_purpose
from duly.services.templates import LOCALES
from duly.store.notices import Content, Delivery
from duly.store.readmodel import ServedNotice
from duly.store.vault import VaultError

if TYPE_CHECKING:
    from duly.bootstrap import Application

PAGE: Final = 20
"""Notices on a page."""
_MOST_DAYS: Final = 31
"""Days of opening for which a statement is tried."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A notice that the gate let through. words: None where they were forgotten, or another service keeps
    them. salt: None where nobody here has it. genuine: these words, with this salt, have the hash that stands
    on the chain; None where that cannot be tried.
    """

    notice: ServedNotice
    delivery: Delivery | None
    words: Content | None
    salt: bytes | None
    genuine: bool | None


@dataclass(frozen=True, slots=True)
class KeyFactStatement:
    """A key-fact statement. agreed: its hash is the one in the loan's terms, so it is what was agreed on;
    where they have none, it is only what the terms come to.
    """

    statement: Statement
    agreed: bool


class Papers:
    """For several threads."""

    def __init__(self, app: "Application") -> None:
        self._app = app

    # -------------------------------------------------------------------------------------- notices

    def letters(self, loan: Loan, before: tuple[int, int] | None = None) -> list[Letter]:
        """A page of the notices about a loan, the newest first. before: leave out those from this block
        number and log index on.
        """
        found = self._app.portfolio.book.notices(None, PAGE, before, loan.id)
        store = self._app.notice_store
        words = store.words({each.content_hash for each in found})
        became = {each.notice.id: each for each in store.deliveries_of([each.id for each in found])}
        return [
            self._letter(each, became.get(each.id), words.get(each.content_hash), found) for each in found
        ]

    def _letter(
        self,
        notice: ServedNotice,
        delivery: Delivery | None,
        words: Content | None,
        among: Sequence[ServedNotice],
    ) -> Letter:
        salt = None
        # What was said in one message has one salt, derived for the first of its notices.
        first = words.of.notice if words else notice.id
        with suppress(VaultError, InvalidInput):
            salt = self._app.vault.salt_for(notice.borrower, salt_purpose(first))
        genuine = proves(words, salt, notice.content_hash) if words and salt else None
        return Letter(notice, delivery, words, salt if words else None, genuine)

    # ----------------------------------------------------------------------- the key-fact statement

    def key_facts(self, loan: Loan, locale: str) -> KeyFactStatement | None:
        """The statement that a loan was agreed on with, found again from its terms; of a loan that was agreed
        on without one, one in this language. None where it rests on what is not known here: other limits than
        the policy has now, another wording, an unusual day; and of a loan that replaces another.
        """
        terms = loan.terms
        if terms.replaces != ZERO_HASH:
            return None
        if terms.agreement_hash == ZERO_HASH:
            for basis in self._bases(loan):
                with suppress(DulyError):
                    return KeyFactStatement(disclose.disclose(terms, basis, locale), agreed=False)
            return None
        for basis in self._bases(loan):
            for language in LOCALES:
                with suppress(DulyError):
                    found = disclose.disclose(terms, basis, language)
                    if found.agreement_hash == terms.agreement_hash:
                        return KeyFactStatement(found, agreed=True)
        return None

    def _bases(self, loan: Loan) -> Iterator[Basis]:
        """What a statement may rest on: each day of opening, the likely ones first."""
        policy = self._app.read_model.policy(loan.terms.policy)
        if policy is None:
            return
        currency = self._app.deployment.currency
        last = last_day_to_open(loan.terms)
        opened = calendar.local_day(loan.opened_at, loan.terms.calendar_offset)
        for day in dict.fromkeys((last, opened, *range(last, max(opened, last - _MOST_DAYS), -1))):
            yield Basis(
                lending=policy.lending,
                contact=policy.contact,
                opened=day,
                symbol=currency.symbol,
                decimals=currency.decimals,
            )
