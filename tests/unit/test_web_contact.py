"""The portal's pages about contact: an address of one's own, proved by a code, and consent to it."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from portal import ANA, BO, Scene, wallet

from duly.channels.memory import MemoryCarrier
from duly.channels.message import Result
from duly.domain.consent import Channel
from duly.domain.events import ConsentGranted, ContactCeased, ContactRegistered
from duly.domain.preferences import NO_PREFERENCES, Preferences
from duly.store.vault import MasterKey, Vault

EMAIL = Channel.EMAIL
ADDRESS = "ana@example.org"
WHO = ANA.address.lower()


@pytest.fixture
def carrier() -> MemoryCarrier:
    return MemoryCarrier()


@pytest.fixture
def scene(carrier: MemoryCarrier, monkeypatch: pytest.MonkeyPatch) -> Scene:
    found = Scene()
    found.lend(ANA, 1)
    found.lend(BO, 2)
    found.app.vault = Vault.open("sqlite://", MasterKey.from_text("5a" * 32))
    monkeypatch.setattr(found.app, "new_carriers", lambda: {EMAIL: carrier})
    return found


def code_in(carrier: MemoryCarrier) -> str:
    return re.search(r"\d{6}", carrier.codes[-1].body)[0]


def alert(text: str) -> str:
    return unescape(re.search(r'role="alert"[^>]*>([^<]+)<', text)[1])


def prove(browser, carrier: MemoryCarrier) -> None:
    assert browser.post("/contact/email/address", data={"address": ADDRESS}).status_code == 303
    code = code_in(carrier)
    answer = browser.post("/contact/email/prove", data={"code": f"{code[:3]} {code[3:]}"})
    assert answer.headers["location"] == "/contact/email"


def register(scene: Scene, offset: int = 0) -> None:
    """What Ana's wallet puts on the chain."""
    commitment = scene.app.vault.commitment(WHO, EMAIL)
    scene.tell(ContactRegistered(WHO, EMAIL, commitment, offset, offset), ConsentGranted(WHO, EMAIL))


# ----------------------------------------------------------------------------------- an address, and its code


def test_an_address_is_proved_by_the_code_that_came_there(scene: Scene, carrier: MemoryCarrier) -> None:
    ana = scene.signed_in(ANA)
    assert "no address yet" in ana.get("/contact").text
    prove(ana, carrier)
    [code] = carrier.codes
    assert code.address == ADDRESS
    assert scene.app.vault.kept(WHO, EMAIL).verified
    page = ana.get("/contact/email").text
    # Never in full, not even to its owner: who looks over a shoulder learns nothing.
    assert ADDRESS not in page
    assert "You are reminded" not in page


def test_consent_1_nothing_is_put_on_the_chain_before_the_address_is_proved(
    scene: Scene, carrier: MemoryCarrier
) -> None:
    ana = scene.signed_in(ANA)
    answer = ana.post("/contact/email/consent", data={"zone": "Europe/Athens"})
    assert (answer.status_code, alert(answer.text)) == (422, "There is no address yet.")
    ana.post("/contact/email/address", data={"address": ADDRESS})
    answer = ana.post("/contact/email/consent", data={"zone": "Europe/Athens"})
    assert answer.status_code == 422
    assert "data-steps" not in answer.text


def test_a_wrong_code_proves_nothing(scene: Scene, carrier: MemoryCarrier) -> None:
    ana = scene.signed_in(ANA)
    ana.post("/contact/email/address", data={"address": ADDRESS})
    code = code_in(carrier)
    wrong = f"{(int(code) + 1) % 10**6:06}"
    for given in (wrong, "", "abc", wrong, wrong, wrong, wrong):
        answer = ana.post("/contact/email/prove", data={"code": given})
        assert answer.status_code == 422
        wanted = "This is not the code" if given == wrong else "Please give the six digits"
        assert alert(answer.text).startswith(wanted)
    # Guessing is over: not even the right one helps now.
    assert ana.post("/contact/email/prove", data={"code": code}).status_code == 422
    assert not scene.app.vault.kept(WHO, EMAIL).verified


def test_codes_are_not_sent_again_and_again(scene: Scene, carrier: MemoryCarrier) -> None:
    ana = scene.signed_in(ANA)
    ana.post("/contact/email/address", data={"address": ADDRESS})
    for _ in range(9):
        answer = ana.post("/contact/email/code")
        if answer.status_code != 303:
            break
    assert "wait an hour" in alert(answer.text)
    assert 1 < len(carrier.codes) < 9


@pytest.mark.parametrize(
    "address", ["", "ana", "ana@", "a b@example.org", "ana@example.org\r\nBcc: x@example.org"]
)
def test_what_is_no_address_is_refused(scene: Scene, carrier: MemoryCarrier, address: str) -> None:
    ana = scene.signed_in(ANA)
    answer = ana.post("/contact/email/address", data={"address": address})
    assert (answer.status_code, carrier.codes) == (422, [])
    assert scene.app.vault.kept(WHO, EMAIL) is None


def test_who_has_no_loan_keeps_no_address(scene: Scene, carrier: MemoryCarrier) -> None:
    stranger = scene.signed_in(wallet(9))
    answer = stranger.post("/contact/email/address", data={"address": ADDRESS})
    assert (answer.status_code, alert(answer.text)) == (422, "There is no loan to this address.")
    assert carrier.codes == []


def test_a_code_that_cannot_be_sent_is_said_to_be_so(scene: Scene, carrier: MemoryCarrier) -> None:
    ana = scene.signed_in(ANA)
    carrier.will(Result.REFUSED, reason="550 no such user")
    answer = ana.post("/contact/email/address", data={"address": ADDRESS})
    assert answer.status_code == 422
    assert "no such user" not in answer.text
    assert "could not be sent" in alert(answer.text)


# -------------------------------------------------------------------------------------------------- consent


def test_consent_1_the_borrowers_own_wallet_registers_and_consents(
    scene: Scene, carrier: MemoryCarrier
) -> None:
    ana = scene.signed_in(ANA)
    prove(ana, carrier)
    answer = ana.post("/contact/email/consent", data={"zone": "Europe/Athens"})
    steps = json.loads(unescape(re.search(r'data-steps="([^"]+)"', answer.text)[1]))
    consents = scene.app.contracts.consents
    commitment = scene.app.vault.commitment(WHO, EMAIL)
    # Athens is two hours east of UTC, three in summer.
    wanted = [consents.register(EMAIL, commitment, 8, 12), consents.grant(EMAIL)]
    assert [step["data"] for step in steps] == ["0x" + call.data.hex() for call in wanted]
    assert {step["from"] for step in steps} == {ANA.address}
    assert ADDRESS.encode().hex() not in answer.text
    assert scene.app.vault.preferences_of(WHO).zone == "Europe/Athens"


@pytest.mark.parametrize("zone", ["", "Nowhere/Land", "../../etc/passwd"])
def test_without_a_clock_nobody_consents(scene: Scene, carrier: MemoryCarrier, zone: str) -> None:
    ana = scene.signed_in(ANA)
    prove(ana, carrier)
    answer = ana.post("/contact/email/consent", data={"zone": zone})
    assert (answer.status_code, alert(answer.text)) == (422, "Please choose where you live.")


def test_the_page_tells_what_reaches_the_borrower(scene: Scene, carrier: MemoryCarrier) -> None:
    ana = scene.signed_in(ANA)
    prove(ana, carrier)
    assert "You do not consent to it." in ana.get("/contact").text
    register(scene)
    assert "in use" in ana.get("/contact").text
    assert "You are reminded at" in ana.get("/contact/email").text
    # Another address is another commitment.
    ana.post("/contact/email/address", data={"address": "new@example.org"})
    ana.post("/contact/email/prove", data={"code": code_in(carrier)})
    assert "You consented to another address" in ana.get("/contact").text
    scene.tell(ContactCeased(WHO, WHO))
    page = ana.get("/contact").text
    assert "You stopped all contact" in page
    assert 'action="/contact/stop"' not in page
    assert "Revoke" not in ana.get("/contact/email").text


def test_what_is_registered_is_not_registered_again(scene: Scene, carrier: MemoryCarrier) -> None:
    ana = scene.signed_in(ANA)
    prove(ana, carrier)
    register(scene, offset=32)
    answer = ana.post("/contact/email/consent", data={"zone": "Asia/Shanghai"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/contact/email")
    answer = ana.post("/contact/email/consent", data={"zone": "Asia/Tokyo"})
    assert "Register the contact" in answer.text


# --------------------------------------------------------------------------------------------------- wishes


def test_wishes_are_kept_in_the_vault(scene: Scene, carrier: MemoryCarrier) -> None:
    ana = scene.signed_in(ANA)
    prove(ana, carrier)
    scene.app.vault.prefer(WHO, Preferences(channel=EMAIL))
    wishes = {"since": "18:00", "until": "20:30", "days": ["7", "1"], "language": "zh"}
    assert ana.post("/contact/wishes", data=wishes).status_code == 303
    kept = scene.app.vault.preferences_of(WHO)
    assert kept == Preferences((18 * 60, 20 * 60 + 30), "", (7, 1), False, EMAIL)
    assert scene.app.vault.language_of(WHO) == "zh"
    page = ana.get("/contact").text
    assert 'value="18:00"' in page
    assert re.search(r'value="7" checked', page)
    assert not re.search(r'value="3" checked', page)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"since": "20:00", "until": "18:00"}, "hours of one day"),
        ({"since": "20:00"}, "hours of one day"),
        ({"since": "<b>", "until": "x"}, "hours of one day"),
        ({"days": ["2"]}, "hours of one day"),
        ({"zone": "Nowhere"}, "where you live"),
    ],
)
def test_wishes_that_cannot_be_kept_are_refused(
    scene: Scene, carrier: MemoryCarrier, changes: dict[str, object], problem: str
) -> None:
    ana = scene.signed_in(ANA)
    prove(ana, carrier)
    answer = ana.post("/contact/wishes", data={"language": "en"} | changes)
    assert answer.status_code == 422
    assert problem in alert(answer.text)
    assert scene.app.vault.preferences_of(WHO) == NO_PREFERENCES


def test_a_clock_that_the_chain_has_otherwise_is_refused(scene: Scene, carrier: MemoryCarrier) -> None:
    ana = scene.signed_in(ANA)
    prove(ana, carrier)
    register(scene, offset=32)
    answer = ana.post("/contact/wishes", data={"language": "en", "zone": "Europe/Athens"})
    assert "registered on the ledger otherwise" in alert(answer.text)


# -------------------------------------------------------------------------------------------- whose it is


def test_nobody_sees_or_changes_anothers_contact(scene: Scene, carrier: MemoryCarrier) -> None:
    prove(scene.signed_in(ANA), carrier)
    bo = scene.signed_in(BO)
    for path in ("/contact", "/contact/email"):
        assert "a…" not in bo.get(path).text
    assert bo.post("/contact/email/prove", data={"code": code_in(carrier)}).status_code == 422
    for path in ("/contact/letter", "/contact/in-app", "/contact/sms"):
        assert bo.get(path).status_code == 404
    nobody = scene.browser()
    assert nobody.get("/contact").status_code == 303
    assert nobody.post("/contact/email/address", data={"address": ADDRESS}).headers["location"] == "/sign-in"


def test_forms_of_other_sites_change_nothing(scene: Scene, carrier: MemoryCarrier) -> None:
    ana = scene.signed_in(ANA)
    del ana.headers["x-csrf-token"]
    for path in ("address", "code", "prove", "consent", "revoke"):
        assert ana.post(f"/contact/email/{path}", data={"address": ADDRESS}).status_code == 403
    for path in ("wishes", "stop"):
        assert ana.post(f"/contact/{path}", data={"language": "en"}).status_code == 403
    assert carrier.codes == []


def test_without_a_vault_the_end_of_contact_stays_within_reach() -> None:
    scene = Scene()
    scene.lend(ANA, 1)
    scene.tell(ContactRegistered(WHO, EMAIL, b"c" * 32, 0, 0), ConsentGranted(WHO, EMAIL))
    ana = scene.signed_in(ANA)
    page = ana.get("/contact")
    assert page.status_code == 200
    assert "cannot be looked at" in page.text
    assert 'action="/contact/stop"' in page.text
    assert 'action="/contact/email/revoke"' in ana.get("/contact/email").text
    assert ana.post("/contact/email/address", data={"address": ADDRESS}).status_code == 503
