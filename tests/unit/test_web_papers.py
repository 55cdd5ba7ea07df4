"""What a borrower has in writing on the portal: notices with proof, key facts, their data."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape

import pytest
from portal import ANA, BO, Scene
from scene import LENDER, SERVICER, a_loan

from duly.domain import calendar
from duly.domain.consent import Channel
from duly.domain.disclosure import last_day_to_open
from duly.domain.events import LoanOpened, NoticeServed
from duly.domain.notice import Kind
from duly.services import disclose, protection
from duly.services.render import Text
from duly.services.serve import salt_purpose
from duly.store.notices import Content, Told
from duly.store.vault import MasterKey, Vault

WHO = ANA.address.lower()
ADDRESS = "ana@example.org"
TEXT = Text("About your account", "An <b>instalment</b> is coming up.\n")


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    # A database in memory is no file that could be missing.
    monkeypatch.setattr(protection, "exists", lambda url: True)
    found = Scene()
    found.lend(ANA, 1)
    found.lend(BO, 2)
    found.app.vault = Vault.open("sqlite://", MasterKey.from_text("5a" * 32))
    found.app.vault.add(WHO, Channel.EMAIL, ADDRESS)
    return found


def serve(scene: Scene, number: int = 1, text: Text = TEXT, said: Text = TEXT) -> bytes:
    """A notice to Ana of one text, of which another one may be kept."""
    notice, loan = bytes([number]) * 32, scene.ana.id
    content_hash = text.content_hash(scene.app.vault.salt_for(WHO, salt_purpose(notice)))
    told = Told(notice, loan)
    scene.app.notice_store.keep([Content(content_hash, told, (told,), "en", said.subject, said.body, 1)])
    kind = Kind.INSTALMENT_UPCOMING
    scene.tell(NoticeServed(notice, loan, SERVICER, WHO, kind, 1, 5, Channel.EMAIL, 0, number, content_hash))
    return notice


# ----------------------------------------------------------------------------------------------- notices


def test_gate_1_each_notice_stands_with_its_words_and_its_proof(scene: Scene) -> None:
    notice = serve(scene)
    text = scene.signed_in(ANA).get(f"/loans/{scene.ana.id.hex()}/notices").text
    assert "An &lt;b&gt;instalment&lt;/b&gt; is coming up." in text
    assert f'href="/verify?code=0x{notice.hex()}"' in text
    assert scene.app.vault.salt_for(WHO, salt_purpose(notice)).hex() in text
    assert ">genuine<" in text
    assert ADDRESS not in text


def test_words_that_were_altered_are_said_to_be_so(scene: Scene) -> None:
    serve(scene, said=replace(TEXT, body="Pay at once.\n"))
    text = scene.signed_in(ANA).get(f"/loans/{scene.ana.id.hex()}/notices").text
    assert ">altered<" in text
    assert ">genuine<" not in text


def test_there_are_pages_of_them(scene: Scene) -> None:
    for number in range(1, 46):
        serve(scene, number)
    ana, seen = scene.signed_in(ANA), []
    path = f"/loans/{scene.ana.id.hex()}/notices"
    while path:
        text = ana.get(path).text
        seen += re.findall(r"code=0x(\w{64})", text)
        more = re.search(r'href="([^"]+\?before=[^"]+)"', text)
        path = more[1] if more else ""
    assert seen == [f"{number:02x}" * 32 for number in range(45, 0, -1)]
    assert ana.get(f"/loans/{scene.ana.id.hex()}/notices?before=x").status_code == 404


# ------------------------------------------------------------------------------------------ the statement


def agree(scene: Scene, days: int = 0, locale: str = "zh") -> None:
    """A loan to Ana that was agreed on with a statement, for a day of opening before the likely one."""
    terms = a_loan(number=7, borrower=WHO).terms
    policy = scene.model.policy(1)
    day = last_day_to_open(terms) - days
    currency = scene.app.deployment.currency
    basis = disclose.Basis(
        lending=policy.lending,
        contact=policy.contact,
        opened=day,
        symbol=currency.symbol,
        decimals=currency.decimals,
    )
    statement = disclose.disclose(terms, basis, locale)
    loan = a_loan(number=7, borrower=WHO, agreement_hash=statement.agreement_hash)
    scene.tell(LoanOpened(loan.id, loan.terms, loan.instalment, loan.total), at=loan.opened_at)


@pytest.mark.parametrize(("days", "locale"), [(0, "en"), (0, "zh"), (3, "en")])
def test_the_statement_that_was_agreed_on_is_found_again(scene: Scene, days: int, locale: str) -> None:
    agree(scene, days, locale)
    loan = scene.model.loan(b"\7".rjust(32, b"\0"))
    ana, path = scene.signed_in(ANA), f"/loans/{loan.id.hex()}/key-facts"
    assert "This is the statement that you agreed on" in ana.get(path).text
    document = ana.get(f"{path}.html")
    assert disclose.verify(document.content, loan.terms).agreed
    assert document.headers["content-disposition"].startswith("attachment")
    assert ana.get(f"{path}.pdf").content.startswith(b"%PDF")


def test_of_an_unknown_statement_only_the_seal_is_told(scene: Scene) -> None:
    loan = a_loan(number=8, borrower=WHO, agreement_hash=b"\xab" * 32)
    scene.tell(LoanOpened(loan.id, loan.terms, loan.instalment, loan.total), at=loan.opened_at)
    ana, path = scene.signed_in(ANA), f"/loans/{loan.id.hex()}/key-facts"
    text = ana.get(path).text
    assert "is not kept here" in text
    assert "0x" + "ab" * 32 in text
    assert ana.get(f"{path}.html").status_code == ana.get(f"{path}.pdf").status_code == 404


def test_without_a_statement_it_is_told_what_the_terms_come_to(scene: Scene) -> None:
    ana, path = scene.signed_in(ANA), f"/loans/{scene.ana.id.hex()}/key-facts"
    assert "agreed on without a statement" in ana.get(path).text
    assert b"11.22" in ana.get(f"{path}.html").content
    assert calendar.iso(scene.ana.terms.first_due)[:4] in ana.get(f"{path}.html").text


# ---------------------------------------------------------------------------------------------- their data


def test_priv_1_a_borrower_downloads_everything_and_nobody_elses(scene: Scene) -> None:
    serve(scene)
    scene.app.vault.add(BO.address.lower(), Channel.EMAIL, "bo@example.org")
    ana = scene.signed_in(ANA)
    assert ana.get("/my-data/json").status_code == 405
    told = json.loads(ana.post("/my-data/json").content)
    assert told["borrower"] == WHO
    assert [contact["address"] for contact in told["contacts"]] == [ADDRESS]
    assert [notice["body"] for notice in told["notices"]] == [TEXT.body]
    page = ana.post("/my-data/html")
    assert ADDRESS in unescape(page.text)
    assert page.headers["content-disposition"].startswith("attachment")
    assert "bo@example.org" not in page.text
    assert ana.post("/my-data/xml").status_code == 404


def test_priv_1_erased_is_erased_and_only_for_who_is_sure(scene: Scene) -> None:
    serve(scene)
    ana = scene.signed_in(ANA)
    assert ana.post("/my-data").status_code == 422
    assert scene.app.vault.kept(WHO, Channel.EMAIL) is not None
    answer = ana.post("/my-data", data={"sure": "yes"})
    assert answer.status_code == 200
    assert "Erased" in answer.text
    assert scene.app.vault.kept(WHO, Channel.EMAIL) is None
    assert "Nothing is kept of this address" in ana.post("/my-data/json").text
    text = ana.get(f"/loans/{scene.ana.id.hex()}/notices").text
    assert "instalment&lt;/b&gt;" not in text
    assert "not kept here" in text


# ------------------------------------------------------------------------------------------ whose it is


def test_anothers_papers_are_as_good_as_none(scene: Scene) -> None:
    serve(scene)
    bo, path = scene.signed_in(BO), f"/loans/{scene.ana.id.hex()}"
    for what in ("notices", "key-facts", "key-facts.html", "key-facts.pdf"):
        assert bo.get(f"{path}/{what}").status_code == 404
    assert ADDRESS not in bo.post("/my-data/json").text
    del bo.headers["x-csrf-token"]
    assert (
        bo.post("/my-data/json").status_code == bo.post("/my-data", data={"sure": "yes"}).status_code == 403
    )
    assert LENDER not in bo.get("/my-data").text


def test_without_a_vault_the_ledgers_part_is_still_there() -> None:
    scene = Scene()
    scene.lend(ANA, 1)
    ana = scene.signed_in(ANA)
    assert "cannot be looked at" in ana.get("/my-data").text
    assert (
        ana.post("/my-data/json").status_code == ana.post("/my-data", data={"sure": "yes"}).status_code == 503
    )
    assert ana.get(f"/loans/{scene.ana.id.hex()}/notices").status_code == 200
