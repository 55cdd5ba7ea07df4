"""The in-app inbox: encrypted, once, gone with its borrower; and how notices come into it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from databases import execute, stored
from scene import borrower
from test_deliver import KEY, NOW, PLACE, Scene
from typer.testing import CliRunner

from duly.channels.inapp import InAppCarrier
from duly.channels.message import CodeMessage, Message, Proof, Receipt, Result
from duly.domain.consent import Channel, Profile
from duly.domain.notice import Kind
from duly.domain.preferences import NO_PREFERENCES
from duly.interfaces.cli import app
from duly.services.plan import Reach, channel_for
from duly.services.render import render
from duly.services.verifying import send_code
from duly.store.addresses import InvalidContact
from duly.store.vault import UnknownBorrower, Vault

WHO, OTHER = borrower(1), borrower(2)
PROOF = Proof(b"\1" * 32, b"\5" * 32)


def message(who: str = WHO, notice: int = 1, body: str = "Something private 还款\n") -> Message:
    return Message("t" * 48, (Proof(bytes([notice]) * 32, b"\5" * 32),), who, "For you", body, "en", NOW)


@pytest.fixture
def vault(vault_url: str) -> Any:
    with Vault.open(vault_url, KEY, clock=lambda: NOW) as vault:
        vault.add(WHO, Channel.EMAIL, "wang.fang@example.org", language="zh")
        yield vault


@pytest.fixture
def carrier(vault: Vault) -> InAppCarrier:
    return InAppCarrier(lambda: vault)


def test_a_notice_waits_in_the_inbox_of_its_borrower(vault, carrier):
    vault.add(OTHER, Channel.EMAIL, "b@example.org")
    assert carrier.send(message()) == Receipt(Result.SENT)
    [letter] = vault.inbox(WHO)
    assert (letter.subject, letter.body, letter.language, letter.at) == ("For you", message().body, "en", NOW)
    assert letter.proofs == (PROOF,)
    assert vault.inbox(OTHER) == []
    assert "private" not in repr(letter)
    assert [each.purpose for each in vault.log(WHO)] == ["inbox"]


def test_gate_2_what_is_put_there_twice_is_there_once(vault, carrier):
    carrier.send(message())
    assert carrier.send(message(body="again\n")) == Receipt(Result.SENT)
    assert [each.body for each in vault.inbox(WHO)] == [message().body]


def test_priv_1_an_inbox_is_sealed_and_goes_with_its_borrower(vault, carrier, vault_url):
    carrier.send(message())
    ((letter,),) = execute(vault_url, "SELECT sealed_letter FROM inbox")
    data = stored(vault_url)
    assert letter in data
    assert "还款".encode() not in data
    assert vault.erase(WHO) == 1
    with pytest.raises(UnknownBorrower):
        vault.inbox(WHO)
    assert letter not in stored(vault_url)
    assert carrier.send(message()) == Receipt(Result.REFUSED, "unknown borrower")


def test_an_inbox_outlives_the_master_key(vault, carrier):
    from duly.store.vault import MasterKey

    carrier.send(message())
    vault.rotate(MasterKey.from_text("77" * 32))
    assert len(vault.inbox(WHO)) == 1


def test_a_vault_that_does_not_answer_is_tried_again(vault, carrier, vault_url):
    execute(vault_url, "DROP TABLE inbox")
    assert carrier.send(message()) == Receipt(Result.DEFERRED, "inbox unavailable")


def test_the_code_goes_there_too_and_is_forgotten(vault, carrier):
    vault.add(WHO, Channel.IN_APP, WHO)
    send_code(vault, {Channel.IN_APP: carrier}, WHO, Channel.IN_APP, at=NOW)
    [letter] = vault.inbox(WHO)
    code = next(word for word in letter.body.replace("。", " ").split() if word[:6].isdecimal())[:6]
    assert vault.check_code(WHO, Channel.IN_APP, code).hash == vault.commitment(WHO, Channel.IN_APP)
    assert vault.inbox(WHO, NOW + 900) == []
    assert carrier.send(CodeMessage(OTHER, "s", "b", "en", NOW)).result is Result.REFUSED


def test_borrower_1_an_inbox_is_its_borrowers_own(vault):
    with pytest.raises(InvalidContact, match="its borrower's own"):
        vault.add(WHO, Channel.IN_APP, OTHER)
    with pytest.raises(InvalidContact, match="found by its borrower alone"):
        vault.add(WHO, Channel.IN_APP, "somebody@example.org")


def test_without_a_contact_there_is_an_inbox_whose_commitment_is_zeros(vault):
    kept = vault.kept(WHO, Channel.IN_APP, b"purpose")
    assert (kept.commitment, kept.verified, kept.language) == (bytes(32), True, "zh")
    assert kept.salt == vault.salt_for(WHO, b"purpose")
    assert vault.commitment(WHO, Channel.IN_APP) is None
    assert vault.kept(OTHER, Channel.IN_APP) is None


# ---------------------------------------------------------------------------------------------- which channel


EMAIL, SMS, PUSH, IN_APP = Channel
ALL = (EMAIL, PUSH, SMS, IN_APP)


def profile(registered: tuple[Channel, ...], consented: tuple[Channel, ...]) -> Profile:
    return Profile(
        registered=sum(1 << each for each in registered), consented=sum(1 << each for each in consented)
    )


@pytest.mark.parametrize(
    ("kind", "registered", "consented", "channels", "chosen"),
    [
        (Kind.OVERDUE, (EMAIL, SMS), (EMAIL, SMS), ALL, EMAIL),
        (Kind.OVERDUE, (EMAIL, SMS), (EMAIL, SMS), (SMS, EMAIL), SMS),
        (Kind.OVERDUE, (EMAIL, SMS), (SMS,), ALL, SMS),
        (Kind.OVERDUE, (IN_APP,), (IN_APP,), ALL, IN_APP),
        # Where none will do, the gate tells why on the first.
        (Kind.OVERDUE, (EMAIL,), (), ALL, EMAIL),
        # What is owed needs no consent, and in the inbox no contact.
        (Kind.ARREARS, (EMAIL, SMS), (SMS,), ALL, SMS),
        (Kind.ARREARS, (EMAIL,), (), ALL, EMAIL),
        (Kind.ARREARS, (EMAIL,), (), (SMS, IN_APP), IN_APP),
        (Kind.ARREARS, (), (), ALL, IN_APP),
        (Kind.ARREARS, (), (), (EMAIL,), EMAIL),
    ],
)
def test_consent_1_a_channel_is_chosen_among_those_that_were_consented_to(
    kind, registered, consented, channels, chosen
):
    assert channel_for(kind, profile(registered, consented), channels) is chosen


def test_the_preferred_channel_comes_first_and_a_closed_one_not_at_all():
    from dataclasses import replace

    reach = Reach(ALL, {WHO: frozenset({EMAIL})})
    assert reach.of(OTHER, NO_PREFERENCES) == ALL
    assert reach.of(OTHER, replace(NO_PREFERENCES, channel=SMS)) == (SMS, EMAIL, PUSH, IN_APP)
    assert reach.of(WHO, NO_PREFERENCES) == (PUSH, SMS, IN_APP)
    assert reach.of(WHO, replace(NO_PREFERENCES, channel=EMAIL)) == (PUSH, SMS, IN_APP)


# ------------------------------------------------------------------------------------------------- delivered


def test_what_is_owed_is_delivered_in_the_app_without_a_contact(tmp_path):
    from dataclasses import replace

    from scene import Case, a_loan
    from test_deliver import Told

    from duly.domain.notice import ground
    from duly.services.serve import salt_purpose
    from duly.store.notices import Content, Served, State

    scene = Scene(f"sqlite:///{tmp_path}/duly.db")
    who = borrower(1)
    scene.vault.add(who, Channel.EMAIL, "b@example.org")
    case = Case(loan=a_loan())
    scene.model.loans[case.loan.id] = case.loan
    facts = case.facts(NOW)
    _, base = ground(Kind.DUE_TODAY, facts)
    words = render(Kind.DUE_TODAY, case.loan, facts.position, base, PLACE)
    identity = b"\1" * 32
    content_hash = words.content_hash(scene.vault.salt_for(who, salt_purpose(identity)))
    told = Told(identity, case.loan.id)
    scene.store.keep([Content(content_hash, told, (told,), "en", words.subject, words.body, NOW)])
    served = Served(
        identity, case.loan.id, who, Kind.ARREARS, 1, base.amount, Channel.IN_APP, content_hash, NOW
    )
    scene.put(served, 1)
    carrier = InAppCarrier(lambda: scene.vault)
    deliverer = replace(scene.deliverer, carriers={Channel.IN_APP: carrier})
    assert deliverer.deliver().sent == 1
    assert scene.store.delivery(identity).state is State.SENT
    [letter] = scene.vault.inbox(who)
    assert words.body == letter.body
    assert words.content_hash(letter.proofs[0][1]) == content_hash


def test_the_inbox_is_shown(tmp_path, vault_url, monkeypatch):
    for name, value in {
        "DULY_VAULT": vault_url,
        "DULY_MASTER_KEY": "5a" * 32,
        "DULY_DATABASE": f"sqlite:///{tmp_path}/d.db",
    }.items():
        monkeypatch.setenv(name, value)
    with Vault.open(vault_url, KEY) as vault:
        vault.add(WHO, Channel.EMAIL, "b@example.org")
        InAppCarrier(lambda: vault).send(message())
    shown = CliRunner().invoke(app, ["inbox", WHO])
    assert "Something private" in shown.stdout
    [letter] = json.loads(CliRunner().invoke(app, ["inbox", WHO, "--json"]).stdout)
    assert letter["notices"] == [{"notice": "0x" + "01" * 32, "salt": "0x" + "05" * 32}]
    empty = CliRunner().invoke(app, ["inbox", OTHER])
    assert empty.exit_code == 1
    assert "knows nothing of" in empty.stderr
