"""Proving an address by a code: the one message that no notice stands behind."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import fields

import pytest

from duly.channels.memory import MemoryCarrier
from duly.channels.message import CarrierUnavailable, CodeMessage, Message, Result
from duly.domain.consent import Channel
from duly.domain.errors import InvalidInput
from duly.services import render, verifying
from duly.services.importing import LocalChainsOnly
from duly.services.verifying import CodeNotSent, send_code, verify_simulated, words
from duly.store import vault as module
from duly.store.vault import CodeRefused, MasterKey, NoSuchContact, TooManyCodes, Vault, VaultError

BORROWER = "0x" + "b1" * 20
ADDRESS = "wang.fang@example.org"
EMAIL = Channel.EMAIL
NOW = 1_790_078_400


class Clock:
    time = NOW

    def __call__(self) -> int:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def vault(tmp_path, clock):
    url = f"sqlite:///{tmp_path / 'vault.db'}"
    with Vault.open(url, MasterKey.from_text("5a" * 32), clock=clock) as vault:
        vault.add(BORROWER, EMAIL, ADDRESS)
        yield vault


@pytest.fixture
def carrier() -> MemoryCarrier:
    return MemoryCarrier()


def code_in(message: CodeMessage) -> str:
    return re.search(r"\d{6}", message.body)[0]


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


# ---------------------------------------------------------------------------------------------- the way


def test_gate_1_a_code_proves_an_address(vault, carrier):
    assert vault.commitment(BORROWER, EMAIL) is None
    send_code(vault, {EMAIL: carrier}, BORROWER, EMAIL, at=NOW)
    (message,) = carrier.codes
    assert (message.address, message.at, carrier.sent) == (ADDRESS, NOW, [])
    code = code_in(message)
    commitment = vault.check_code(BORROWER, EMAIL, f" {code[:3]} {code[3:]}")
    assert commitment.hash == vault.commitment(BORROWER, EMAIL)
    with pytest.raises(CodeRefused, match="no code waits"):
        vault.check_code(BORROWER, EMAIL, code)
    with pytest.raises(VaultError, match="verified already"):
        vault.new_code(BORROWER, EMAIL)


def test_consent_1_the_commitment_is_not_told_before_the_address_is_proved(vault):
    assert vault.add(BORROWER, EMAIL, ADDRESS) is None
    code = vault.new_code(BORROWER, EMAIL)
    with pytest.raises(CodeRefused):
        vault.check_code(BORROWER, EMAIL, wrong(code.code))
    assert vault.commitment(BORROWER, EMAIL) is None
    assert not vault.kept(BORROWER, EMAIL).verified


def test_another_address_has_to_be_proved_anew(vault):
    vault.check_code(BORROWER, EMAIL, vault.new_code(BORROWER, EMAIL).code)
    vault.add(BORROWER, EMAIL, ADDRESS, language="zh")
    assert vault.kept(BORROWER, EMAIL).verified
    vault.add(BORROWER, EMAIL, "new@example.org")
    assert not vault.kept(BORROWER, EMAIL).verified


def test_a_code_proves_only_the_address_that_it_was_sent_to(vault):
    code = vault.new_code(BORROWER, EMAIL)
    vault.add(BORROWER, EMAIL, "new@example.org")
    with pytest.raises(CodeRefused, match="no code waits"):
        vault.check_code(BORROWER, EMAIL, code.code)


def test_gate_1_a_code_can_be_tried_five_times(vault):
    code = vault.new_code(BORROWER, EMAIL).code
    for left in (4, 3, 2, 1, 0):
        with pytest.raises(CodeRefused) as caught:
            vault.check_code(BORROWER, EMAIL, wrong(code))
        assert str(left) in caught.value.remedy or not left
    with pytest.raises(CodeRefused, match="too often"):
        vault.check_code(BORROWER, EMAIL, code)


def test_gate_1_a_code_expires(vault, clock):
    code = vault.new_code(BORROWER, EMAIL).code
    for at in (NOW + module.CODE_SECONDS, NOW - 1):
        clock.time = at
        with pytest.raises(CodeRefused, match="too old"):
            vault.check_code(BORROWER, EMAIL, code)
    clock.time = NOW + module.CODE_SECONDS - 1
    vault.check_code(BORROWER, EMAIL, code)


def test_only_the_hash_of_a_code_is_kept(vault, tmp_path):
    code = vault.new_code(BORROWER, EMAIL).code
    assert code.encode() not in (tmp_path / "vault.db").read_bytes()
    with sqlite3.connect(tmp_path / "vault.db") as database:
        ((kept,),) = database.execute("SELECT hash FROM codes")
    assert len(kept) == 32


@pytest.mark.parametrize("code", ["", "12345", "1234567", "12a456", "１２３４５６", ADDRESS])
def test_what_is_no_code_is_not_repeated(vault, code):
    vault.new_code(BORROWER, EMAIL)
    with pytest.raises(InvalidInput) as caught:
        vault.check_code(BORROWER, EMAIL, code)
    assert not code or code not in str(caught.value)


def test_who_has_no_address_gets_no_code(vault):
    for borrower, channel in ((BORROWER, Channel.SMS), ("0x" + "b2" * 20, EMAIL)):
        with pytest.raises(NoSuchContact):
            vault.new_code(borrower, channel)
        with pytest.raises(NoSuchContact):
            vault.check_code(borrower, channel, "123456")


# ---------------------------------------------------------------------------------------------- the limits


def test_gate_1_few_codes_are_sent_to_an_address_whoever_asks(vault, clock):
    others = [f"0x{number:040x}" for number in range(1, 9)]
    spellings = [ADDRESS.upper().replace("EXAMPLE.ORG", "example.org"), "wang.fang+1@example.org", ADDRESS]
    vault.add_all((one, EMAIL, spellings[number % 3]) for number, one in enumerate(others))
    for borrower in others[:3]:
        vault.new_code(borrower, EMAIL)
    for borrower in (BORROWER, others[3]):
        with pytest.raises(TooManyCodes, match="too many") as caught:
            vault.new_code(borrower, EMAIL)
        assert caught.value.seconds == 3_600
        assert "example" not in str(caught.value)
    clock.time += 3_600
    for borrower in others[3:5]:
        vault.new_code(borrower, EMAIL)
    clock.time += 3_600
    with pytest.raises(TooManyCodes) as caught:
        vault.new_code(others[5], EMAIL)
    assert caught.value.seconds == 86_400 - 7_200
    clock.time = NOW + 86_400
    vault.new_code(others[5], EMAIL)


def test_gate_1_few_codes_are_sent_for_a_borrower_whatever_the_address(vault):
    for number in range(3):
        vault.add(BORROWER, EMAIL, f"a{number}@example.org")
        vault.new_code(BORROWER, EMAIL)
    vault.add(BORROWER, EMAIL, "a3@example.org")
    with pytest.raises(TooManyCodes):
        vault.new_code(BORROWER, EMAIL)
    # Being forgotten and coming back does not help.
    vault.erase(BORROWER)
    vault.add(BORROWER, EMAIL, "a4@example.org")
    with pytest.raises(TooManyCodes):
        vault.new_code(BORROWER, EMAIL)


def test_the_limit_outlives_a_rotation_of_the_master_key(vault):
    for _ in range(3):
        vault.new_code(BORROWER, EMAIL)
    vault.rotate(MasterKey.generate())
    vault.add("0x" + "b2" * 20, EMAIL, ADDRESS)
    with pytest.raises(TooManyCodes):
        vault.new_code("0x" + "b2" * 20, EMAIL)


def test_what_the_limit_keeps_is_no_address_and_lasts_a_day(vault, clock, tmp_path):
    vault.new_code(BORROWER, EMAIL)
    assert b"wang" not in (tmp_path / "vault.db").read_bytes()
    clock.time += 86_400
    vault.new_code(BORROWER, EMAIL)
    with sqlite3.connect(tmp_path / "vault.db") as database:
        assert database.execute("SELECT at FROM sent_codes").fetchall() == [(clock.time,)]


# ---------------------------------------------------------------------------------------------- the words


@pytest.mark.parametrize("language", ["en", "zh"])
def test_gate_1_a_code_comes_without_a_word_about_a_debt(language):
    text = words("012345", language)
    told = f"{text.subject}\n{text.body}".lower()
    assert "012345" in text.body
    assert "012345" not in text.subject
    for word in (
        *("duly", "loan", "lend", "borrow", "debt", "credit", "owe", "pay", "due", "instalment", "money"),
        *("account", "amount", "contract", "bank", "interest", "notice", "remind", "http", "@", "0x"),
        *("借", "贷", "债", "欠", "款", "还", "期", "催", "钱", "金", "账", "银行", "合约", "利息", "信用"),
    ):
        assert word not in told, word
    assert not re.search(r"\d", told.replace("012345", "").replace("15", ""))


def test_gate_1_the_texts_of_codes_are_no_notices():
    assert not [name for name in render.templates().files if "code" in name]
    assert {field.name for field in fields(CodeMessage)} & {field.name for field in fields(Message)} == {
        *("address", "subject", "body", "language", "at")
    }


@pytest.mark.parametrize(("language", "written"), [("zh", "zh"), ("en", "en"), ("el", "en")])
def test_a_code_comes_in_the_borrowers_language(vault, carrier, language, written):
    vault.add(BORROWER, EMAIL, ADDRESS, language=language)
    send_code(vault, {EMAIL: carrier}, BORROWER, EMAIL)
    (message,) = carrier.codes
    assert (message.language, message.subject) == (written, words("000000", written).subject)


def test_priv_1_a_code_and_its_address_are_not_printed(vault, carrier):
    send_code(vault, {EMAIL: carrier}, BORROWER, EMAIL)
    (message,) = carrier.codes
    assert ADDRESS not in repr(message)
    assert code_in(message) not in repr(message)


# ---------------------------------------------------------------------------------------------- going wrong


def test_without_a_way_no_code_is_made(vault, carrier):
    with pytest.raises(CarrierUnavailable):
        send_code(vault, {}, BORROWER, EMAIL)
    carrier.available = False
    with pytest.raises(CarrierUnavailable):
        send_code(vault, {EMAIL: carrier}, BORROWER, EMAIL)
    assert vault.log() == []


@pytest.mark.parametrize("result", [Result.DEFERRED, Result.REFUSED, Result.UNKNOWN])
def test_a_code_that_was_not_sent(vault, carrier, result):
    carrier.will(result, reason="SMTP 450")
    with pytest.raises(CodeNotSent, match="SMTP 450") as caught:
        send_code(vault, {EMAIL: carrier}, BORROWER, EMAIL)
    assert ("for certain" in str(caught.value)) == (result is Result.UNKNOWN)


def test_simulated_borrowers_are_for_local_chains_and_are_told_apart(vault):
    with pytest.raises(LocalChainsOnly):
        verify_simulated(vault, 1, [(BORROWER, EMAIL)])
    assert not vault.kept(BORROWER, EMAIL).verified
    (commitment,) = verify_simulated(vault, 31337, [(BORROWER, EMAIL)])
    assert commitment.hash == vault.commitment(BORROWER, EMAIL)
    assert vault.record(BORROWER).contacts[0].verified_by == "simulation"
    with pytest.raises(NoSuchContact):
        verify_simulated(vault, 31337, [("0x" + "b2" * 20, EMAIL)])
    assert verifying.LOCALES == render.LOCALES
