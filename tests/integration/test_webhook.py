"""The webhook, at a real HTTP server that answers as it likes: nothing is lost, repeated or overtaken, and
what a reorganisation replaced is replaced there too.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from portal import ANA, BO, Scene

from duly.config import Webhook
from duly.domain.events import Block, ConsentGranted, Repaid
from duly.services.webhook import MOST, Teller, WebhookFailed, new_secret, told_of
from duly.store.webhooks import WebhookStore
from scripts.books import Books, open_books

WHO = ANA.address.lower()


@pytest.fixture
def books() -> Iterator[Books]:
    with open_books(new_secret()) as found:
        yield found


@pytest.fixture
def scene() -> Scene:
    found = Scene()
    found.lend(ANA, 1)
    found.lend(BO, 2)
    return found


def teller_of(scene: Scene, books: Books, secret: str = "") -> Teller:
    settings = Webhook(books.url, secret or books.secret)
    return Teller(settings, WebhookStore(scene.model.engine), scene.model, scene.app.deployment)


def everything(scene: Scene) -> list[dict[str, Any]]:
    """What the receiver should have."""
    return [told for each in scene.model.events() if (told := told_of(each))["loan"]]


def test_everything_about_loans_is_told_once_in_the_chains_order(scene: Scene, books: Books) -> None:
    scene.tell(*(Repaid(scene.ana.id, WHO, 1, paid) for paid in range(1, MOST + 20)))
    scene.tell(ConsentGranted(WHO, 0))  # type: ignore[arg-type]
    teller = teller_of(scene, books)
    assert teller.standing().waiting == MOST + 21
    assert teller.send() == MOST + 21
    assert books.events == everything(scene)
    assert len(books.names) == len(set(books.names)) == 2
    assert teller.send() == 0 == teller.standing().waiting
    paid = books.events[-1]
    assert (paid["name"], paid["contract"]) == ("Repaid", "LoanLedger")
    assert paid["args"] == {
        "id": "0x" + scene.ana.id.hex(), "payer": WHO, "amount": "1", "paid": str(MOST + 19)
    }  # fmt: skip
    assert paid["loan"] == "0x" + scene.ana.id.hex()
    opened = books.events[0]["args"]["terms"]
    assert (opened["borrower"], opened["schedule"]) == (WHO, "level")


@pytest.mark.parametrize("status", [301, 302, 400, 401, 404, 410, 429, 500, 503])
def test_what_is_not_taken_waits_and_keeps_its_name(scene: Scene, books: Books, status: int) -> None:
    teller = teller_of(scene, books)
    books.answers = [status, status]
    for _ in range(2):
        with pytest.raises(WebhookFailed, match=str(status)):
            teller.send()
    assert books.events == []
    assert teller.send() == 2
    assert books.events == everything(scene)
    assert len(books.names) == 3
    assert len(set(books.names)) == 1


def test_who_is_not_there_is_told_when_they_are(scene: Scene, books: Books) -> None:
    settings = Webhook("http://127.0.0.1:9/hook?key=hidden", books.secret)
    store = WebhookStore(scene.model.engine)
    with pytest.raises(WebhookFailed) as failed:
        Teller(settings, store, scene.model, scene.app.deployment).send()
    assert "hidden" not in str(failed.value)
    assert teller_of(scene, books).send() == 2


def test_another_secret_does_not_do(scene: Scene, books: Books) -> None:
    with pytest.raises(WebhookFailed, match="401"):
        teller_of(scene, books, new_secret()).send()
    assert books.events == []


@pytest.mark.parametrize("seed", range(12))
def test_after_reorganisations_and_failures_the_books_are_the_chain(
    scene: Scene, books: Books, seed: int
) -> None:
    dice, teller = random.Random(seed), teller_of(scene, books)
    paid = 0
    for _ in range(40):
        act = dice.random()
        head = scene.model.cursor().block.number
        if act < 0.5:
            events = []
            for _ in range(dice.randint(1, 5)):
                paid += 1
                events.append(Repaid(scene.ana.id, WHO, 1, paid))
            scene.tell(*events)
        elif act < 0.7 and head > 6:
            back = head - dice.randint(1, min(3, head - 4))
            scene.model.roll_back(Block(back, dice.randbytes(32), scene.model.cursor().block.timestamp))
        else:
            books.answers = [dice.choice((204, 500, -500, 503)) for _ in range(3)]
            with suppress(WebhookFailed):
                teller.send()
    books.answers = []
    teller.send()
    assert books.events == everything(scene)
