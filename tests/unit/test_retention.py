"""For how long what is known of a borrower is kept."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import pytest

from duly.bootstrap import Application
from duly.domain.calendar import DAY
from duly.services import protection
from duly.services.policy import load_pack
from duly.services.protection import Ended

END = int(datetime(2027, 6, 1, 12, tzinfo=UTC).timestamp())
BORROWER = "0x" + "b0" * 20


def at(*day: int) -> int:
    return int(datetime(*day, tzinfo=UTC).timestamp())  # type: ignore[misc]


@pytest.mark.parametrize(
    ("keep_until", "days", "over_after"),
    [
        (None, 30, END + 30 * DAY),
        # Both have to be over.
        (END + 10 * DAY, 30, END + 30 * DAY),
        (END + 90 * DAY, 30, END + 90 * DAY),
        (END + 90 * DAY, None, END + 90 * DAY),
        # Nothing is forgotten before the last loan ended, however long ago the last reminder was.
        (END - 90 * DAY, None, END),
    ],
)
def test_what_must_be_kept_is(keep_until: int | None, days: int | None, over_after: int) -> None:
    ended = Ended(BORROWER, 1, END, keep_until)
    assert not ended.is_over(days, over_after)
    assert ended.is_over(days, over_after + 1)


def test_nobody_is_forgotten_where_nobody_says_when() -> None:
    assert not Ended(BORROWER, 1, END, None).is_over(None, END + 10_000 * DAY)


def an_application(*packs: str) -> Application:
    """The policies 1, 2, … are these packs."""

    def policy(number: int) -> object:
        return SimpleNamespace(pack=load_pack(packs[number - 1]).pack_hash) if number <= len(packs) else None

    return cast(Application, SimpleNamespace(read_model=SimpleNamespace(policy=policy)))


def test_the_packs_say_for_how_many_years() -> None:
    app = an_application("STRICT", "US", "EU")
    assert protection._years_to_keep(app, {1, 3, 4}) is None
    assert protection._years_to_keep(app, {1, 2, 3}) == 3


@pytest.mark.parametrize(
    ("moment", "later"),
    [(at(2027, 6, 1), at(2030, 6, 1)), (at(2028, 2, 29), at(2031, 3, 1)), (at(2024, 2, 29), at(2027, 3, 1))],
)
def test_years_are_calendar_years(moment: int, later: int) -> None:
    assert protection._years_after(moment, 3) == later
