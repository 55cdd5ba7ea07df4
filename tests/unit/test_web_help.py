"""The portal's page for who cannot pay, or is asked for what they do not owe."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from history import CONTACT
from portal import ANA, BO, OFFICER, Scene
from scene import LENDER

from duly.domain.calendar import DAY
from duly.domain.events import GrievanceAnswered, GrievanceLodged, GrievanceWithdrawn, LoanRepaid, Repaid
from duly.domain.grievance import Grievance
from duly.services import transactions

WHO = ANA.address.lower()
DISPUTE, HARDSHIP = Grievance.DISPUTE, Grievance.HARDSHIP


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    # What the ledger would say is tried where there is one.
    monkeypatch.setattr(transactions, "why_refused", lambda app, call, sender: None)
    found = Scene()
    found.lend(ANA, 1)
    found.lend(BO, 2)
    return found


def path(scene: Scene) -> str:
    return f"/loans/{scene.ana.id.hex()}/help"


def lodge(scene: Scene, grievance: Grievance, **more: bool) -> None:
    bits = {"all_loans": False, "fees_rest": False} | more
    scene.tell(GrievanceLodged(scene.ana.id, WHO, grievance, WHO, bits["all_loans"], bits["fees_rest"]))


def steps(text: str) -> list[str]:
    return [step["data"] for step in json.loads(unescape(re.search(r'data-steps="([^"]+)"', text)[1]))]


def card(text: str, name: str) -> str:
    return unescape(text.partition(f'<h2 id="{name}">')[2].partition("</section>")[0])


def test_pause_1_the_borrowers_own_wallet_lodges_and_withdraws(scene: Scene) -> None:
    ana, desk = scene.signed_in(ANA), scene.app.contracts.desk
    for name, grievance in (("hardship", HARDSHIP), ("dispute", DISPUTE)):
        page = ana.post(f"{path(scene)}/{name}/lodge")
        assert steps(page.text) == ["0x" + desk.lodge(scene.ana.id, grievance).data.hex()]
        page = ana.post(f"{path(scene)}/{name}/withdraw")
        assert steps(page.text) == ["0x" + desk.withdraw(scene.ana.id, grievance).data.hex()]


def test_what_it_does_is_said_before(scene: Scene) -> None:
    text = scene.signed_in(ANA).get(path(scene)).text
    # By the policy a dispute rests reminders about all loans, and dispute and hardship rest late fees.
    assert CONTACT.rest_all_loans == 1 << DISPUTE
    assert CONTACT.rest_fees == 1 << DISPUTE | 1 << HARDSHIP
    assert "about any of your loans" in card(text, "dispute")
    assert "about this loan" in card(text, "hardship")
    for name, rests in (("dispute", True), ("hardship", True), ("representation", False)):
        assert ("No late fee" in card(text, name)) == rests
    assert f"none for {CONTACT.pause_days} days more" in card(text, "hardship")
    assert "After the answer" not in card(text, "representation")


def test_pause_1_while_it_stands_it_can_be_taken_back(scene: Scene) -> None:
    ana = scene.signed_in(ANA)
    lodge(scene, HARDSHIP)
    text = ana.get(path(scene)).text
    assert "rest while your grievance stands" in text
    assert "/hardship/withdraw" in card(text, "hardship")
    assert "/hardship/lodge" not in text
    assert "/dispute/lodge" in text
    scene.tell(GrievanceWithdrawn(scene.ana.id, WHO, HARDSHIP))
    text = ana.get(path(scene)).text
    assert "/hardship/lodge" in card(text, "hardship")
    assert "You can record it again" in card(text, "hardship")
    assert "Reminders about this loan rest" not in text


def test_pause_1_after_the_answer_reminders_rest_for_the_policys_days(scene: Scene) -> None:
    lodge(scene, HARDSHIP)
    now = scene.app.portal.now()
    scene.tell(GrievanceAnswered(scene.ana.id, WHO, HARDSHIP, now + CONTACT.pause_days * DAY))
    assert "Reminders about this loan rest until" in scene.signed_in(ANA).get(path(scene)).text


def test_of_a_loan_that_is_paid_nothing_is_lodged(scene: Scene) -> None:
    loan = scene.ana
    scene.tell(Repaid(loan.id, WHO, loan.total, loan.total), LoanRepaid(loan.id, loan.total))
    text = scene.signed_in(ANA).get(path(scene)).text
    assert "Nothing is owed" in text
    assert "/lodge" not in text


def test_anothers_loan_is_as_good_as_none(scene: Scene) -> None:
    bo = scene.signed_in(BO)
    assert bo.get(path(scene)).status_code == 404
    for what in ("hardship/lodge", "dispute/withdraw"):
        assert bo.post(f"{path(scene)}/{what}").status_code == 404
    ana = scene.signed_in(ANA)
    for what in ("hunger/lodge", "HARDSHIP/lodge", "hardship/forget"):
        assert ana.post(f"{path(scene)}/{what}").status_code == 404
    del ana.headers["x-csrf-token"]
    assert ana.post(f"{path(scene)}/hardship/lodge").status_code == 403
    assert LENDER not in ana.get(path(scene)).text


# -------------------------------------------------------------------------------------- flexible repayment


def test_only_the_lender_offers_other_terms_and_only_to_their_own_borrower(scene: Scene) -> None:
    loan = scene.lend(BO, 3, lender=ANA.address.lower())
    path, offer = f"/desk/loans/{loan.id.hex()}", "ab" * 32
    lender, officer, borrower = map(scene.signed_in, (ANA, OFFICER, BO))
    assert lender.get(f"{path}/offer").status_code == 200
    assert "Offer other terms" in lender.get(path).text
    # An officer sees every loan, and lends none.
    assert officer.get(path).status_code == 200
    assert "Offer other terms" not in officer.get(path).text
    draft = {"instalments": "6", "rate": "1", "days": "7"}
    for who, code in ((officer, 403), (borrower, 404)):
        assert who.get(f"{path}/offer").status_code == code
        assert who.post(f"{path}/offer", data=draft).status_code == code
        assert who.post(f"{path}/offers", data={"document": "{}", "signature": "0x00"}).status_code == code
        assert who.post(f"{path}/offers/{offer}/withdraw").status_code == code
        assert who.post(f"{path}/defer", data={"intervals": "1"}).status_code == code
    answer = lender.post(f"{path}/defer", data={"intervals": "2"})
    assert steps(answer.text) == ["0x" + scene.app.contracts.ledger.defer(loan.id, 2).data.hex()]
    for intervals in ("0", "13", "x"):
        assert lender.post(f"{path}/defer", data={"intervals": intervals}).status_code == 422


def test_what_the_lender_did_not_sign_is_not_kept(scene: Scene) -> None:
    loan = scene.lend(BO, 3, lender=ANA.address.lower())
    lender = scene.signed_in(ANA)
    for document, signature in (("{}", "0x00"), ("{}", ""), ("x" * 10_001, "0x00"), ("{}", "<script>")):
        answer = lender.post(
            f"/desk/loans/{loan.id.hex()}/offers", data={"document": document, "signature": signature}
        )
        assert answer.status_code == 422
    assert scene.app.relief.proposals(loan) == []


def test_an_offer_that_nobody_made_is_not_there(scene: Scene) -> None:
    ana = scene.signed_in(ANA)
    for offer in ("ab" * 32, "AB" * 32, "x"):
        assert ana.get(f"/loans/{scene.ana.id.hex()}/offers/{offer}").status_code == 404
        assert ana.post(f"/loans/{scene.ana.id.hex()}/offers/{offer}").status_code == 404
