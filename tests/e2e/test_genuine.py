"""Messages that were really delivered, held against the chain: as they came, and altered in one thing."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from duly.chain.logs import events_of
from duly.chain.sender import Sender
from duly.channels.received import parse_code, read
from duly.domain.consent import Channel
from duly.domain.events import NoticeRefused
from duly.domain.notice import Kind, Notice
from duly.services import deploy, genuine, run
from duly.services.genuine import Verdict, Words
from duly.services.policy import load_pack
from duly.services.render import Text, templates_hash
from scripts.inbox import text_of


@pytest.fixture
def mails(stage):
    """The raw mails of two notices, one English, one Chinese."""
    stage.lend(1)
    stage.lend(1, language="zh")
    assert run.round(stage.app).delivered.sent == 2
    return [
        file.read_bytes()
        for file in stage.mailbox.directory.glob("*.eml")
        if b"Duly-Notice" in file.read_bytes()
    ]


def check(stage, message, **options):
    return genuine.check(read(message), stage.w3, stage.app.deployment, **options)


def check_code(stage, code):
    return genuine.check(code, stage.w3, stage.app.deployment)


def code_of(mail: bytes) -> bytes:
    return bytes.fromhex(re.search(rb"Duly-Notice: ([0-9a-f]{64})", mail)[1].decode())


def with_text(mail: bytes, altered: Callable[[bytes], bytes]) -> bytes:
    """The same mail with its text altered, which is in base64 where its lines are long."""
    head, body = mail.split(b"\r\n\r\n", 1)
    text = altered(base64.b64decode(body))
    return head + b"\r\n\r\n" + base64.encodebytes(text).replace(b"\n", b"\r\n")


def test_gate_1_a_message_is_genuine_altered_or_unknown(stage, mails, tmp_path):
    for mail in mails:
        answer = check(stage, mail)
        assert (answer.verdict, answer.words) == (Verdict.GENUINE, Words.SAME)
        (served,) = answer.served
        assert (served.notice.kind, served.final) == (Kind.LOAN_OPENED, True)
        assert check(stage, mail.replace(b"\r\n", b"\n")).verdict is Verdict.GENUINE

    # One character, one digit of the code, of the salt.
    english = next(mail for mail in mails if b"Content-Language: en" in mail)
    altered = with_text(english, lambda text: text.replace(b"1,000.00", b"1,000.01", 1))
    assert altered != english
    assert check(stage, altered).verdict is Verdict.ALTERED
    code = code_of(english)
    other = bytes([code[0] ^ 1]) + code[1:]
    # In the text alone: the header still names the notice. In both: the chain knows none.
    in_text = with_text(
        english, lambda text: text.replace(b"0x" + code[:4].hex().encode(), b"0x" + other[:4].hex().encode())
    )
    assert in_text != english
    assert check(stage, in_text).verdict is Verdict.ALTERED
    everywhere = in_text.replace(code.hex().encode(), other.hex().encode())
    assert check(stage, everywhere).verdict is Verdict.UNKNOWN
    salted = re.sub(rb"(Duly-Salt: )(.)", lambda m: m[1] + (b"0" if m[2] != b"0" else b"1"), english)
    assert check(stage, salted).verdict is Verdict.ALTERED
    assert check(stage, re.sub(rb"(Duly-Salt: ).*", rb"\1none\r", english)).verdict is Verdict.ALTERED

    # It says that it is another notice as well.
    two = english.replace(b"Duly-Notice", b"Duly-Notice: " + b"77" * 32 + b"\r\nDuly-Notice", 1)
    assert check(stage, two).verdict is Verdict.ALTERED

    # The code alone.
    answer = check_code(stage, parse_code("0x" + code.hex()))
    assert (answer.verdict, answer.words) == (Verdict.GENUINE, Words.NONE)
    assert check_code(stage, parse_code("0x" + "5" * 64)).verdict is Verdict.UNKNOWN

    # As the command tells it: neither contact nor borrower nor the whole id of the loan.
    file = tmp_path / "message.eml"
    file.write_bytes(english)
    told = stage.duly("verify", str(file))
    assert told["verdict"] == "genuine"
    notice = stage.app.read_model.notice(code)
    (served,) = told["served"]
    assert served | {"code": 0, "block": 0} == {
        "code": 0, "loan": notice.loan.hex()[:8], "kind": "loan_opened", "instalment": None,
        "amount": 100_000,
        "channel": "email", "served_at": notice.timestamp, "block": 0, "final": True,
    }  # fmt: skip
    for secret in ("example.org", notice.borrower, notice.loan.hex()):
        assert secret not in str(told)
    process = stage.start("verify", "-", given=True)
    out, _ = process.communicate(altered.decode(), timeout=60)
    assert process.returncode == 1
    assert out.startswith("ALTERED")


def test_a_text_without_its_salt_is_checked_with_the_vaults(stage, mails, tmp_path):
    mail = next(
        mail for mail in stage.mailbox.mails() if mail["Duly-Notice"] and mail["Content-Language"] == "en"
    )
    text = f"{mail['Subject']}\n\n{text_of(mail)}"
    answer = check(stage, text.encode())
    assert (answer.verdict, answer.words) == (Verdict.UNKNOWN, Words.UNCHECKED)
    assert len(answer.served) == 1
    file = tmp_path / "copied.txt"
    file.write_text(text)
    assert stage.duly("verify", str(file))["verdict"] == "genuine"
    file.write_text(text.replace("1,000.00", "1,000.01"))
    assert stage.duly("verify", str(file), code=1)["verdict"] == "altered"


def test_one_message_of_several_notices_proves_each(stage):
    """As it is served for several loans of one borrower: one text, one salt, an id for each."""
    stage.lend(2)
    stage.app.indexer.run()
    text, salt = Text("A message", "You are told of two loans.\n"), b"\x0a" * 32
    loans = sorted(stage.app.read_model.loans(), key=lambda loan: loan.id)
    notices = [
        Notice(loan.id, Kind.LOAN_OPENED, 0, loan.terms.principal, Channel.EMAIL, text.content_hash(salt))
        for loan in loans
    ]
    receipt = stage.app.sender.send(stage.contracts.notices.serve_many(notices))
    ids = [event.id for event in events_of(receipt.logs)]
    head = "".join(f"Duly-Notice: {each.hex()}\nDuly-Salt: {salt.hex()}\n" for each in ids)
    mail = f"Subject: {text.subject}\n{head}Content-Type: text/plain\n\n{text.body}"
    answer = check(stage, mail.encode())
    assert answer.verdict is Verdict.GENUINE
    assert [each.notice.loan for each in answer.served] == [loan.id for loan in loans]
    assert check(stage, mail.replace("two", "2").encode()).verdict is Verdict.ALTERED
    assert check(stage, mail.replace(salt.hex(), "0b" * 32, 1).encode()).verdict is Verdict.ALTERED
    # The codes in the text, the salt from the vault, which knows that of one of them.
    copied = read(f"{text.subject}\n\n{text.body}".encode())
    copied = replace(copied, codes=tuple(ids))
    for salt_of, verdict in (
        (lambda notice: salt if notice.id == ids[0] else None, Verdict.GENUINE),
        (lambda notice: None, Verdict.UNKNOWN),
        (lambda notice: b"\x0b" * 32, Verdict.ALTERED),
    ):
        assert genuine.check(copied, stage.w3, stage.app.deployment, salt_of=salt_of).verdict is verdict


def test_a_notice_that_was_refused_or_reorganised_away_is_unknown(stage, tmp_path):
    stage.lend(1)
    before = stage.rpc("evm_snapshot")
    assert run.round(stage.app).delivered.sent == 1
    (mail,) = [
        f.read_bytes() for f in stage.mailbox.directory.glob("*.eml") if b"Duly-Notice" in f.read_bytes()
    ]
    assert check(stage, mail).verdict is Verdict.GENUINE
    stage.rpc("evm_revert", before)
    answer = check(stage, mail)
    assert (answer.verdict, answer.served) == (Verdict.UNKNOWN, ())

    # Refused in a batch: there is an event, but none that let it through.
    # A sender that knows nothing of what was undone: the service's own would send it again first.
    other = Sender(stage.w3, stage.app.account)
    (loan,) = stage.app.read_model.loans()
    wrong = Notice(loan.id, Kind.LOAN_OPENED, 0, 1, Channel.EMAIL, b"\x01" * 32)
    receipt = other.send(stage.contracts.notices.serve_many([wrong]))
    assert [type(event) for event in events_of(receipt.logs)] == [NoticeRefused]
    assert check(stage, mail).verdict is Verdict.UNKNOWN

    # Other contracts, as on another chain, know nothing of it.
    stage.rpc("evm_mine")
    assert run.round(stage.app).served.served
    assert check_code(stage, code_of(mail)).verdict is Verdict.GENUINE
    wish = deploy.Wish(load_pack("STRICT"), templates_hash())
    elsewhere = deploy.deploy(stage.deployer, wish, tmp_path / "elsewhere").deployment
    assert genuine.check(read(mail), stage.w3, elsewhere).verdict is Verdict.UNKNOWN
