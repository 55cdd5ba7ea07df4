"""What lets programs in without a wallet: a calendar's address, a token; each its owner's to end."""

from __future__ import annotations

import re
from datetime import date

import pytest
from icalendar import Calendar
from portal import ANA, BO, ORIGIN, Scene

from duly.domain import schedule
from duly.domain.events import Repaid
from duly.store.tokens import MOST, Purpose

WHO = ANA.address.lower()


@pytest.fixture
def scene() -> Scene:
    found = Scene()
    found.lend(ANA, 1)
    found.lend(BO, 2)
    return found


def made(text: str) -> str:
    return re.search(r'id="secret">([^<]+)<', text)[1]


def feed(scene: Scene, address: str) -> Calendar:
    answer = scene.browser().get(address.removeprefix(ORIGIN))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/calendar")
    return Calendar.from_ical(answer.content)


def test_a_calendar_is_told_the_due_days_and_nothing_of_a_loan(scene: Scene) -> None:
    loan = scene.ana
    scene.tell(Repaid(loan.id, WHO, loan.instalment + 1, loan.instalment + 1))
    address = made(scene.signed_in(ANA).post("/programs", data={"purpose": "calendar"}).text)
    assert address.startswith(f"{ORIGIN}/calendar/en/")
    events = feed(scene, address).walk("VEVENT")
    due = [row.due_day for row in schedule.schedule_of(loan.terms)][1:]
    assert [(event["dtstart"].dt - date(1970, 1, 1)).days for event in events] == due
    assert len({str(event["uid"]) for event in events}) == len(due)
    # What a lock screen, or a calendar that others see, would show.
    for event in events:
        title = f"{event['summary']} {event.get('description', '')} {event.get('location', '')}"
        assert not re.search(r"loan|debt|pay|due|instal|lend|amount|\d[.,]\d", title, re.IGNORECASE)
    assert {str(event["summary"]).split(" (")[0] for event in events} == {"Date to remember"}
    chinese = feed(scene, address.replace("/en/", "/zh/")).walk("VEVENT")
    assert str(chinese[0]["summary"]).startswith("待办日期")


def test_what_is_revoked_is_over(scene: Scene) -> None:
    ana, bo = scene.signed_in(ANA), scene.signed_in(BO)
    address = made(ana.post("/programs", data={"purpose": "calendar"}).text)
    path = address.removeprefix(ORIGIN)
    [number] = re.findall(r"/programs/(\w+)/revoke", ana.get("/programs").text)
    # Nobody else ends it, and the list does not show it again.
    assert bo.post(f"/programs/{number}/revoke").status_code == 404
    assert path.rsplit("/", 1)[1][:-4] not in ana.get("/programs").text
    assert scene.browser().get(path).status_code == 200
    assert ana.post(f"/programs/{number}/revoke").status_code == 303
    assert scene.browser().get(path).status_code == 404
    assert ana.post(f"/programs/{number}/revoke").status_code == 404


def test_of_a_secret_only_the_hash_is_kept(scene: Scene) -> None:
    secret = scene.app.tokens.make(WHO, Purpose.API, "books", 5)
    with scene.model.engine.connect() as connection:
        kept = connection.exec_driver_sql("SELECT * FROM web_tokens").all()
    assert secret not in repr(kept)
    assert scene.app.tokens.find(secret, Purpose.CALENDAR, 6) is None
    assert scene.app.tokens.find(secret + "x", Purpose.API, 6) is None
    found = scene.app.tokens.find(secret, Purpose.API, 6)
    assert (found.address, found.name, found.used) == (WHO, "books", None)
    assert scene.app.tokens.of(WHO)[0].used == 6
    # Noted to the hour: what is used often is not written often.
    scene.app.tokens.find(secret, Purpose.API, 3_605)
    assert scene.app.tokens.of(WHO)[0].used == 6
    scene.app.tokens.find(secret, Purpose.API, 3_606)
    assert scene.app.tokens.of(WHO)[0].used == 3_606


def test_there_are_so_many_at_most(scene: Scene) -> None:
    ana = scene.signed_in(ANA)
    for _ in range(MOST):
        assert ana.post("/programs", data={"purpose": "api", "name": "<script>"}).status_code == 200
    answer = ana.post("/programs", data={"purpose": "api", "name": "one more"})
    assert answer.status_code == 422
    assert "very many" in answer.text
    assert "<script>" not in re.sub(r"<script src=[^>]+>", "", answer.text)
    assert ana.post("/programs", data={"purpose": "cake"}).status_code == 422
    assert ana.post("/programs", data={"purpose": "api", "name": "x" * 61}).status_code == 422
    assert scene.signed_in(BO).get("/programs").text.count("/revoke") == 0


@pytest.mark.parametrize("path", ["en/x.ics", "en/" + "x" * 43 + ".ics", "fr/x.ics", "en/../loans.ics"])
def test_who_guesses_an_address_finds_nothing(scene: Scene, path: str) -> None:
    assert scene.browser().get(f"/calendar/{path}").status_code == 404
