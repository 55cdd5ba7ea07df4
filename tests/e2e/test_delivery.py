"""From the gate to the inbox, with real processes, a real mail server and Anvil."""

from __future__ import annotations

import random
import signal
import time
from email.message import EmailMessage

import pytest
from eth_utils import keccak
from stage import START, Borrower, DeadlyInbox, Stage

from duly.chain.clock import travel
from duly.domain.consent import Channel
from duly.domain.notice import Kind
from duly.services import protection, run
from duly.store.notices import State
from scripts.inbox import text_of


def serve(stage: Stage, count: int) -> set[bytes]:
    """Let the gate through notices to new borrowers; their ids."""
    stage.lend(count)
    stage.app.indexer.run()
    served = run.serve(stage.app, stage.app.clock.now()).served
    assert len(served) == count
    stage.app.indexer.run()
    return set(served)


def states(stage: Stage) -> dict[bytes, State]:
    return {found.notice.id: found.state for found in stage.app.notice_store.deliveries()}


def test_the_whole_way(stage):
    stage.lend(2)
    stage.lend(1, language="zh")
    stage.lend(1, reachable=False)
    report = stage.duly("run", "--once")
    assert (report["served"]["served"], report["delivered"]["sent"]) == (3, 3)
    again = stage.duly("run", "--once")
    assert (again["served"]["served"], again["delivered"]["sent"]) == (0, 0)
    mails = stage.mailbox.mails()
    assert {mail["To"] for mail in mails} == {f"borrower-{number}@example.org" for number in (1, 2, 3)}
    assert sorted(mail["Content-Language"] for mail in mails) == ["en", "en", "zh-Hans"]
    stage.app.indexer.run()
    for mail in mails:
        # Whoever has the mail can check on chain that it is the one that was let through.
        notice = stage.app.read_model.notice(bytes.fromhex(mail["Duly-Notice"]))
        words = f"{mail['Subject']}\n\n{text_of(mail)}".encode()
        assert keccak(bytes.fromhex(mail["Duly-Salt"]) + words) == notice.content_hash
        assert notice.kind is Kind.LOAN_OPENED
        assert f"0x{notice.id.hex()}" in text_of(mail)


@pytest.mark.parametrize("when", ["before", "after"])
def test_gate_2_killed_in_the_midst_of_a_delivery(stage, when):
    served = serve(stage, 4)
    worker = stage.start_worker(when, "3")
    _, error = worker.communicate(timeout=60)
    assert worker.returncode == -signal.SIGKILL, error
    assert len(stage.mailbox.notices()) == (3 if when == "after" else 2)

    assert stage.duly("deliver")["sent"] == 1
    listed = stage.duly("deliver", "list", code=1)
    (uncertain,) = listed["uncertain"]
    mails = stage.mailbox.notices()
    assert set(mails.values()) == {1}
    assert len(mails) == (4 if when == "after" else 3)
    assert (bytes.fromhex(uncertain["notice"][2:]) in mails) == (when == "after")
    # Every notice is accounted for: sent, or shown to a person.
    assert states(stage).keys() == served
    assert sorted(states(stage).values()) == [State.CLAIMED, State.SENT, State.SENT, State.SENT]

    assert stage.duly("deliver")["sent"] == 0
    process = stage.start("deliver", "settle", uncertain["notice"], "--not-sent")
    assert process.communicate(timeout=60)[0].count("recorded as not sent") == 1
    assert stage.duly("deliver", "list")["uncertain"] == []
    assert stage.mailbox.notices() == mails


def test_gate_2_killed_at_any_moment(stage):
    rounds = 5
    served = serve(stage, rounds * DeadlyInbox.MOST + 3)
    stage.mailbox.close()
    with DeadlyInbox(stage.mailbox, random.Random(7)) as inbox:
        for _ in range(rounds):
            inbox.kill(stage.start("deliver"))
        assert len(states(stage)) < len(served)
        assert stage.duly("deliver")["left"] == 0
    mails, known = stage.mailbox.notices(), states(stage)
    assert set(mails.values()) == {1}
    assert known.keys() == served
    assert {notice for notice, state in known.items() if state is State.SENT} <= mails.keys()
    unsure = {found.notice.id for found in stage.app.notice_store.uncertain()}
    assert {notice for notice, state in known.items() if state is not State.SENT} == unsure
    # From its first claim on, a worker is always at one notice: each was killed in the midst of its work.
    assert len(unsure) == rounds
    assert mails.keys() <= served


def test_gate_2_two_workers_at_once(stage):
    served = serve(stage, 30)
    workers = [stage.start("deliver", "--json") for _ in range(2)]
    for worker in workers:
        out, error = worker.communicate(timeout=120)
        assert worker.returncode == 0, (out, error)
    mails = stage.mailbox.notices()
    assert mails.keys() == served
    assert set(mails.values()) == {1}
    assert set(states(stage).values()) == {State.SENT}


def test_gate_2_a_reorganisation_sends_nothing_twice(stage):
    borrowers = stage.lend(2)
    before = stage.rpc("evm_snapshot")
    assert run.round(stage.app).delivered.sent == 2
    first = stage.mailbox.notices()
    stage.rpc("evm_revert", before)
    # The other branch is longer, so that a reader by height would not notice.
    for borrower in borrowers:
        borrower.sender._nonce = None
    for _ in range(3):
        stage.rpc("evm_mine")
    stage.app.indexer.run()
    listed = stage.duly("deliver", "list")
    assert {bytes.fromhex(each["notice"][2:]) for each in listed["vanished"]} == first.keys()
    # They are served again under the same ids, and are known to have been sent.
    stage.app.sender._nonce = None
    report = run.round(stage.app)
    assert set(report.served.served) == first.keys()
    assert report.delivered.sent == 0
    assert stage.mailbox.notices() == first
    assert stage.duly("deliver", "list")["vanished"] == []


def test_cap_1_a_reminder_that_was_reorganised_away_still_counts(stage):
    stage.lend(1)
    assert run.round(stage.app).delivered.sent == 1
    (loan,) = stage.app.read_model.loans()
    # Due on Thursday 22 October: two days before, a reminder may be served.
    assert loan.terms.first_due % 7 == 0
    travel(stage.w3, loan.terms.first_due * 86_400 - 36 * 3600)
    before = stage.rpc("evm_snapshot")
    reminded = run.round(stage.app)
    assert len(reminded.served.served) == reminded.delivered.sent == 1
    stage.rpc("evm_revert", before)
    # On the other branch it is the due day, and the gate knows of no reminder.
    travel(stage.w3, loan.terms.first_due * 86_400 + 10 * 3600)
    stage.app.sender._nonce = None
    again = run.round(stage.app)
    assert again.indexed.rolled_back == 1
    assert again.served.served == ()
    assert len(stage.app.notice_store.vanished()) == 1
    assert len(stage.mailbox.mails()) == 2
    # Without it the reminder would be due.
    stage.app.notice_store.vanished = lambda since=0: []
    assert len(run.planned(stage.app, stage.app.clock.now())) == 1


def test_gate_3_what_changed_since_it_was_served(stage):
    borrowers = stage.lend(4)
    stage.app.indexer.run()
    assert len(run.serve(stage.app, stage.app.clock.now()).served) == 4
    consents = stage.contracts.consents
    borrowers[0].sender.send(consents.revoke(Channel.EMAIL))
    borrowers[1].sender.send(consents.cease())
    borrowers[2].sender.send(consents.register(Channel.EMAIL, b"\x01" * 32, 0, 0))
    borrowers[2].sender.send(consents.grant(Channel.EMAIL))
    report = stage.duly("deliver")
    assert report["dropped"] == {"ceased": 1, "no_consent": 1, "other_address": 1}
    assert report["sent"] == 1
    assert [mail["To"] for mail in stage.mailbox.mails()] == [borrowers[3].address]


def test_hours_1_what_was_not_delivered_in_its_window_is_dropped(stage):
    serve(stage, 1)
    travel(stage.w3, START + 86_400)
    assert stage.duly("deliver")["dropped"] == {"window_over": 1}
    serve(stage, 1)
    travel(stage.w3, START + 86_400 + 7 * 3600)
    assert stage.duly("deliver")["dropped"] == {"outside_hours": 1}
    assert stage.mailbox.mails() == []


def test_a_mail_server_that_is_away(stage):
    serve(stage, 2)
    stage.lend(1)
    stage.mailbox.close()
    report = stage.duly("run", "--once", code=1)
    assert (report["held"], report["served"]["served"], report["delivered"]["left"]) == (1, 0, 2)
    assert "connection refused" in report["problem"]
    process = stage.start("deliver")
    out, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "0 sent, 2 left" in out
    assert "Traceback" not in error
    stage.mailbox.open()
    report = stage.duly("run", "--once")
    assert (report["served"]["served"], report["delivered"]["sent"]) == (1, 3)


def test_the_service_runs_until_it_is_told_to_stop(stage):
    stage.lend(2)
    process = stage.start("run", "--interval", "0.2", "--json")
    end = time.monotonic() + 60
    while len(stage.mailbox.mails()) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    stage.lend(1)
    while len(stage.mailbox.mails()) < 3:
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=30)
    assert process.returncode == 0, error
    assert "Stopping" in error
    assert out.count("\n") >= 2
    assert "example.org" not in out + error
    assert "Traceback" not in error


def test_a_batch_that_is_refused_in_part(stage):
    first, second = stage.lend(2)
    stage.app.indexer.run()
    now = stage.app.clock.now()
    found = run.planned(stage.app, now)
    assert len(found) == 2
    first.sender.send(stage.contracts.consents.cease())
    report = stage.app.server.serve(found, now)
    assert len(report.served) == 1
    assert {reason.name: count for reason, count in report.refused.items()} == {"CEASED": 1}
    # What was let through and is not indexed yet is not asked for again.
    assert [each.borrower for each in run.planned(stage.app, now)] == [first.sender.address]
    assert second.loan != first.loan


# ------------------------------------------------------------------------------------- several in one message


def reminded(stage: Stage) -> tuple[Borrower, Borrower, list[bytes]]:
    """Somebody with two loans at one address and one at another, who was told that they are open, on the day
    on which they are to be told that instalments fall due.
    """
    anna = {"language": "zh", "mail": "anna@example.org"}
    (first,), (other,) = stage.lend(1, **anna), stage.lend(1, **anna)
    loans = [first.loan, stage.lend_again(first), other.loan]
    assert run.round(stage.app).delivered.messages == 3
    loan = stage.app.read_model.loan(first.loan)
    # Two days before the due day, a Thursday.
    travel(stage.w3, loan.terms.first_due * 86_400 - 36 * 3600)
    return first, other, loans


def last_mail(stage: Stage) -> EmailMessage:
    return max(stage.mailbox.mails(), key=lambda mail: mail["Date"].datetime)


def test_cap_1_one_reminder_rather_than_several(stage):
    first, other, loans = reminded(stage)
    report = stage.duly("run", "--once")
    assert (report["served"]["served"], report["delivered"]["sent"]) == (3, 3)
    assert (report["delivered"]["messages"], len(stage.mailbox.mails())) == (1, 4)
    mail = last_mail(stage)
    assert mail["To"] == "anna@example.org"
    text = text_of(mail)
    assert "您的 3 笔贷款" in text
    words = f"{mail['Subject']}\n\n{text}".encode()
    told = [
        (bytes.fromhex(notice), bytes.fromhex(salt))
        for notice, salt in zip(mail.get_all("Duly-Notice"), mail.get_all("Duly-Salt"), strict=True)
    ]
    stage.app.indexer.run()
    notices = [stage.app.read_model.notice(notice) for notice, _ in told]
    assert {notice.loan for notice in notices} == set(loans)
    # Each proves itself, and nothing on chain shows that the two addresses are one person's.
    for notice, (_, salt) in zip(notices, told, strict=True):
        assert f"0x{notice.id.hex()}" in text
        assert f"【贷款 {notice.loan.hex()[:8]}】" in text
        assert keccak(salt + words) == notice.content_hash
    assert len({(notice.borrower, notice.content_hash) for notice in notices}) == 2
    assert len({notice.content_hash for notice in notices}) == 2
    # It counts once for each address, and once for the person.
    for who in (first, other):
        assert len(stage.contracts.notices.reminders_of(who.sender.address)) == 1
    again = stage.duly("run", "--once")
    assert (again["served"]["served"], again["delivered"]["sent"]) == (0, 0)


def test_gate_3_a_payment_on_one_loan_stops_the_whole_message(stage):
    _, _, loans = reminded(stage)
    stage.app.indexer.run()
    assert len(run.serve(stage.app, stage.app.clock.now()).served) == 3
    stage.lender.send(stage.contracts.ledger.repay(loans[1], 100))
    assert stage.duly("deliver")["dropped"] == {"wrong_amount": 3}
    assert len(stage.mailbox.mails()) == 3


@pytest.mark.parametrize("when", ["before", "after"])
def test_gate_2_a_message_in_the_midst_of_which_the_worker_was_killed_is_uncertain_as_a_whole(stage, when):
    reminded(stage)
    stage.app.indexer.run()
    served = run.serve(stage.app, stage.app.clock.now()).served
    worker = stage.start_worker(when, "1")
    _, error = worker.communicate(timeout=60)
    assert worker.returncode == -signal.SIGKILL, error
    mails = len(stage.mailbox.mails())
    assert mails == (4 if when == "after" else 3)
    assert stage.duly("deliver")["sent"] == 0
    listed = stage.duly("deliver", "list", code=1)
    assert {bytes.fromhex(each["notice"][2:]) for each in listed["uncertain"]} == set(served)
    process = stage.start("deliver", "settle", listed["uncertain"][0]["notice"], "--sent")
    assert "with 2 more in the same message" in process.communicate(timeout=60)[0]
    assert stage.duly("deliver", "list")["uncertain"] == []
    assert len(stage.mailbox.mails()) == mails


def test_gate_1_what_one_of_a_message_is_refused_for_is_asked_beforehand(stage):
    _, _, loans = reminded(stage)
    stage.app.indexer.run()
    now = stage.app.clock.now()
    found = run.planned(stage.app, now)
    assert len({each.message for each in found}) == 1
    stage.lender.send(stage.contracts.ledger.repay(loans[1], 100))
    report = stage.app.server.serve(found, now)
    assert len(report.served) == 2
    assert {reason.name: count for reason, count in report.refused.items()} == {"WRONG_AMOUNT": 1}
    assert stage.duly("deliver")["sent"] == 2
    assert "您的 2 笔贷款" in text_of(last_mail(stage))


def test_priv_1_what_is_exported_and_forgotten_of_a_message(stage):
    first, other, loans = reminded(stage)
    stage.duly("run", "--once")
    words = f"{last_mail(stage)['Subject']}\n\n{text_of(last_mail(stage))}"
    for who, count in ((first, 2), (other, 1)):
        told = protection.export(stage.app, who.sender.address)
        assert told["words_never_served"] == []
        reminders = [each for each in told["notices"] if each["kind"] == "instalment_upcoming"]
        assert len(reminders) == count
        for each in reminders:
            assert f"{each['subject']}\n\n{each['body']}" == words
            salted = bytes.fromhex(each["salt"][2:]) + words.encode()
            assert "0x" + keccak(salted).hex() == each["content_hash"]
    protection.erase(stage.app, [other.sender.address])
    for notice in stage.app.read_model.notices(loan=loans[0]):
        kept = stage.app.notice_store.content(notice.content_hash)
        assert (kept is None) == (notice.kind is Kind.INSTALMENT_UPCOMING)
