"""What carriers report is understood, and changes something only where it is about a message from here."""

from __future__ import annotations

import json
from dataclasses import replace
from email.message import EmailMessage
from types import SimpleNamespace
from typing import Any

import pytest
from scene import CONSENTING, borrower
from sqlalchemy import insert
from test_deliver import NOW, SERVICER, Scene

from duly.channels.message import Result
from duly.channels.reports import NoReport, read_mail, read_receipt, read_receipts
from duly.domain.consent import Channel, Profile
from duly.domain.report import Report, Verdict
from duly.domain.tag import TAG, read_tag, tag_of
from duly.services.plan import Reach
from duly.services.reports import Intake, Taken, revoke
from duly.store import schema
from duly.store.database import writing
from duly.store.reports import ReportStore

TAGGED = "abcdefgh" * 6
ADDRESS = "wang.fang@example.org"


def dsn(
    tag: str = TAGGED,
    *,
    action: str = "failed",
    status: str = "5.1.1",
    more: str = "",
    to: str = "notices@lender.example",
    envelope: str = "",
    original: str | None = None,
) -> bytes:
    """A delivery status notification, as Postfix writes it."""
    if original is None:
        original = f"Message-ID: <{tag}@lender.example>\nTo: {ADDRESS}\nSubject: A message for you"
    return f"""\
From: MAILER-DAEMON@mx.example.org (Mail Delivery System)
To: {to}
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b1/mx.example.org"

This is a MIME-encapsulated message.

--b1/mx.example.org
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.
<{ADDRESS}>: host mx.example.org said: 550 5.1.1 User unknown

--b1/mx.example.org
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org
{envelope}X-Postfix-Queue-ID: 4XyZ
Arrival-Date: Thu, 26 Nov 2026 02:29:10 +0000 (UTC)

Final-Recipient: rfc822; {ADDRESS}
Original-Recipient: rfc822;{ADDRESS}
Action: {action}
Status: {status}
Remote-MTA: dns; mx.example.org
{more}
--b1/mx.example.org
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

{original}

--b1/mx.example.org--
""".encode()


def arf(kind: str = "abuse", tag: str = TAGGED) -> bytes:
    """A feedback report, as in RFC 5965, with the recipient blackened."""
    return f"""\
From: <abusedesk@example.com>
Date: Thu, 8 Mar 2027 17:40:36 EDT
Subject: FW: A message for you
To: <abuse@lender.example>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report;
     boundary="part1_13d.2e68ed54_boundary"

--part1_13d.2e68ed54_boundary
Content-Type: text/plain; charset="US-ASCII"
Content-Transfer-Encoding: 7bit

This is an email abuse report for an email message received.

--part1_13d.2e68ed54_boundary
Content-Type: message/feedback-report

Feedback-Type: {kind}
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: <bounces@lender.example>
Original-Rcpt-To: <redacted@example.com>

--part1_13d.2e68ed54_boundary
Content-Type: message/rfc822
Content-Disposition: inline

From: <notices@lender.example>
Received: from mail.lender.example by mx.example.com; Thu, 8 Mar 2027 14:00:00 EDT
To: <redacted@example.com>
Subject: A message for you
MIME-Version: 1.0
Content-type: text/plain
Message-ID: <{tag}@lender.example>

Something private.
--part1_13d.2e68ed54_boundary--
""".encode()


# -------------------------------------------------------------------------------------------- what they say


@pytest.mark.parametrize(
    ("action", "status", "more", "verdict", "code"),
    [
        ("failed", "5.1.1", "", Verdict.FAILED, "5.1.1"),
        ("failed", "5.1.10", "", Verdict.FAILED, "5.1.10"),
        ("failed", "5.2.1", "", Verdict.FAILED, "5.2.1"),
        ("Failed", "5.1.2 (no such domain)", "", Verdict.FAILED, "5.1.2"),
        # A full box, a server that is down, or that does not like the sender: not the address's fault.
        ("failed", "5.2.2", "", Verdict.DELAYED, "5.2.2"),
        ("failed", "5.7.1", "", Verdict.DELAYED, "5.7.1"),
        ("failed", "5.4.4", "", Verdict.DELAYED, "5.4.4"),
        ("failed", "5.1.8", "", Verdict.DELAYED, "5.1.8"),
        ("failed", "4.4.1", "", Verdict.DELAYED, "4.4.1"),
        ("failed", "4.1.1", "", Verdict.DELAYED, "4.1.1"),
        ("delayed", "4.4.1", "", Verdict.DELAYED, "4.4.1"),
        ("delivered", "2.0.0", "", Verdict.DELIVERED, "2.0.0"),
        ("relayed", "2.1.9", "", Verdict.DELIVERED, "2.1.9"),
        # Exim's.
        ("failed", "5.0.0", "Diagnostic-Code: smtp; 550 5.1.1 unknown\n", Verdict.FAILED, "5.1.1"),
        ("failed", "5.0.0", "Diagnostic-Code: smtp; 550-5.7.1 spam\n", Verdict.DELAYED, "5.7.1"),
        ("failed", "5.0.0", "", Verdict.DELAYED, "5.0.0"),
        ("failed", "", "", Verdict.DELAYED, ""),
    ],
)
def test_what_a_delivery_status_says(action, status, more, verdict, code):
    assert read_mail(dsn(action=action, status=status, more=more)) == Report((TAGGED,), verdict, code)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize(
    "mail",
    [
        dsn(original="To: x"  # no Message-ID: the address that it came back to
            , to=f"bounces+{TAGGED}@lender.example"),
        dsn(original="To: x", envelope=f"Original-Envelope-Id: {TAGGED}\n"),
        dsn(original="Message-Id: <" + TAGGED.upper() + "@LENDER.EXAMPLE>"),
        dsn().replace(b"text/rfc822-headers", b"message/rfc822"),
        b"From mailer Thu Nov 26 2026\n" + dsn(),
    ],
)  # fmt: skip
def test_a_report_is_known_by_its_tag_wherever_it_stands(mail, end):
    assert read_mail(mail.replace(b"\n", end)).tags == (TAGGED,)


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [("abuse", Verdict.COMPLAINT), ("fraud", Verdict.COMPLAINT), ("opt-out", Verdict.STOP)],
)
def test_what_a_feedback_report_says(kind, verdict):
    assert read_mail(arf(kind)) == Report((TAGGED,), verdict, kind)


def test_feedback_in_favour_is_no_complaint():
    with pytest.raises(NoReport, match="nothing against"):
        read_mail(arf("not-spam"))


def reply(subject: str, body: str = "", **headers: str) -> bytes:
    mail = EmailMessage()
    mail["From"], mail["Subject"] = ADDRESS, subject
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(body)
    return mail.as_bytes()


def test_the_answer_stop_is_the_borrowers_word():
    answered = {"In_Reply_To": f"<{TAGGED}@lender.example>"}
    stop = Report((TAGGED,), Verdict.STOP, "reply")
    assert read_mail(reply("STOP", **answered)) == stop
    assert read_mail(reply("Re: A message for you", "\n Stop.\n\n> the mail", **answered)) == stop
    # What the mail's own header List-Unsubscribe makes.
    assert read_mail(reply(f"STOP {TAGGED}")) == stop
    for subject, body in (("Re: A message", "Please do not stop"), ("Stop it?", "When do I pay?")):
        with pytest.raises(NoReport):
            read_mail(reply(subject, body, **answered))


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\xff\x00", b"Content-Type: multipart/report\n\n", b"a" * 6_000_000]
)
def test_what_is_no_report_is_told(data):
    with pytest.raises(NoReport):
        read_mail(data)


def test_a_report_inside_a_reply_is_somebody_elses():
    outer = EmailMessage()
    outer["Subject"] = "Fwd"
    outer.set_content("look")
    outer.add_attachment(dsn(), maintype="application", subtype="octet-stream")
    with pytest.raises(NoReport):
        read_mail(outer.as_bytes())


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("delivered", Verdict.DELIVERED),
        ("failed", Verdict.DELAYED),
        ("undeliverable", Verdict.FAILED),
        ("complaint", Verdict.COMPLAINT),
        ("stop", Verdict.STOP),
    ],
)
def test_what_a_receipt_says(status, verdict):
    assert read_receipt({"id": TAGGED, "status": status, "code": "30005"}) == Report(
        (TAGGED,), verdict, "30005"
    )


def test_priv_1_a_receipts_code_is_no_telephone_number():
    for code in ("+306900000001", "306900000001", "no such user wang.fang@example.org", ["x"]):
        assert read_receipt({"id": TAGGED, "status": "failed", "code": code}).code == ""


@pytest.mark.parametrize(
    "value",
    [[], "x", {}, {"id": TAGGED}, {"id": "short", "status": "delivered"}, {"id": TAGGED, "status": "?"}],
)
def test_what_is_no_receipt_is_told(value):
    with pytest.raises(NoReport):
        read_receipt(value)


def test_receipts_come_as_one_as_a_list_or_by_line():
    one = {"id": TAGGED, "status": "delivered"}
    assert read_receipts(json.dumps(one, indent=1).encode()) == [one]
    assert read_receipts(json.dumps([one, one]).encode()) == [one, one]
    assert read_receipts(f"{json.dumps(one)}\n\n{json.dumps(one)}\n".encode()) == [one, one]
    with pytest.raises(NoReport):
        read_receipts(b"{")


# --------------------------------------------------------------------------------------------- what they do


def test_a_tag_is_read_with_its_own_key_alone():
    notice = bytes(range(32))
    tag = tag_of(b"key", notice)
    assert TAG.fullmatch(tag)
    assert read_tag(b"key", tag) == notice[:15]
    assert read_tag(b"other", tag) is None
    assert read_tag(b"key", tag[:-1] + ("a" if tag[-1] != "a" else "b")) is None
    assert read_tag(b"key", "x" * 47) is None


class Reporting(Scene):
    """Somebody who takes reports, beside what was sent; registered on chain as in the vault."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.reports = ReportStore(self.engine)
        self.intake = Intake(self.store, self.reports, self.vault)

    def send(self, number: int = 1) -> str:
        """Send a notice. Returns its message's tag."""
        served = self.serve(number)
        self.register(served.borrower)
        assert self.deliverer.deliver().sent == 1
        return self.carrier.sent[-1].tag

    def register(self, who: str) -> None:
        with writing(self.engine) as connection:
            connection.execute(
                insert(schema.commitments).values(
                    borrower=who, channel=0, commitment=self.vault.commitment(who, Channel.EMAIL)
                )
            )
            connection.execute(
                insert(schema.profiles).values(
                    borrower=who, offset=0, other_offset=0, registered=1, consented=1, ceased=0, changes=2
                )
            )

    def take(self, report: Report, raw: bytes = b"raw") -> Taken:
        return self.intake.take(report, raw, NOW)


@pytest.fixture
def scene(tmp_path: Any) -> Reporting:
    return Reporting(f"sqlite:///{tmp_path}/duly.db")


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.COMPLAINT, Verdict.STOP])
def test_consent_1_what_speaks_against_a_channel_closes_it(scene, verdict):
    tag = scene.send()
    assert scene.reports.closed() == {}
    assert scene.take(Report((tag,), verdict, "5.1.1")) is Taken.RECORDED
    assert scene.reports.closed() == {borrower(1): frozenset({Channel.EMAIL})}
    [reported] = scene.reports.reports()
    assert (reported.channel, reported.verdict, reported.code) == (Channel.EMAIL, verdict, "5.1.1")
    reach = Reach((Channel.EMAIL, Channel.SMS), scene.reports.closed())
    assert reach.of(borrower(1), scene.vault.preferences_of(borrower(1))) == (Channel.SMS,)


@pytest.mark.parametrize("verdict", [Verdict.DELIVERED, Verdict.DELAYED])
def test_what_does_not_is_only_counted(scene, verdict):
    tag = scene.send()
    assert scene.take(Report((tag,), verdict, "4.2.2")) is Taken.RECORDED
    assert scene.reports.closed() == {}
    assert scene.reports.counts() == {(Channel.EMAIL, verdict): 1}


def test_a_report_counts_once(scene):
    report = Report((scene.send(),), Verdict.DELAYED)
    assert [scene.take(report, raw) for raw in (b"1", b"1", b"2")] == [
        Taken.RECORDED,
        Taken.KNOWN,
        Taken.RECORDED,
    ]
    assert scene.intake.report().as_json()["known"] == 1


def test_a_forged_report_changes_nothing(scene):
    tag = scene.send()
    never_sent = scene.serve(2, verified=False)
    key = scene.vault.tag_key()
    other = scene.send(3)
    forged = "a" if tag[-1] != "a" else "b"
    for tags in (
        (),
        (TAGGED,),
        (tag[:-1] + forged,),
        # Genuine, but of a notice that never went out, or of none.
        (tag_of(key, never_sent.id),),
        (tag_of(key, b"\x77" * 32),),
        # About two messages at once nobody reports.
        (tag, other),
    ):
        assert scene.take(Report(tags, Verdict.FAILED), repr(tags).encode()) is Taken.NOT_OURS
    assert scene.reports.reports() == []
    assert scene.reports.closed() == {}


def test_a_dropped_notice_cannot_have_bounced(scene):
    served = scene.serve()
    scene.carrier.will(Result.REFUSED, reason="recipient 550")
    scene.deliverer.deliver()
    tag = tag_of(scene.vault.tag_key(), served.id)
    assert scene.take(Report((tag,), Verdict.FAILED)) is Taken.NOT_OURS


def test_everybody_who_is_reached_there_is_meant(scene):
    for who in (borrower(8), borrower(9)):
        scene.vault.add(who, Channel.EMAIL, "b1@example.org" if who == borrower(8) else "else@example.org")
        scene.vault.verify_simulated([(who, Channel.EMAIL)])
        scene.register(who)
    scene.take(Report((scene.send(),), Verdict.FAILED))
    assert set(scene.reports.closed()) == {borrower(1), borrower(8)}


def test_an_address_that_was_changed_since_is_another_one(scene):
    tag = scene.send()
    scene.vault._clock = lambda: 2**40
    scene.vault.add(borrower(1), Channel.EMAIL, "new@example.org")
    assert scene.take(Report((tag,), Verdict.FAILED)) is Taken.RECORDED
    assert scene.reports.closed() == {}


def test_a_new_contact_on_chain_opens_the_channel_again(scene):
    scene.take(Report((scene.send(),), Verdict.FAILED))
    with writing(scene.engine) as connection:
        connection.execute(schema.commitments.update().values(commitment=b"new"))
    assert scene.reports.closed() == {}


# ------------------------------------------------------------------------------------------------- on chain


class Consents:
    """The registry of consents, as the latest block has it."""

    def __init__(self, scene: Reporting, profile: Profile = CONSENTING) -> None:
        self.scene, self.profile = scene, profile
        self.consents = self
        self.address = SERVICER
        self.sent: list[Any] = []
        self.fails = False

    def profile_of(self, who: str) -> Profile:
        return self.profile

    def commitment_of(self, who: str, channel: Channel) -> bytes:
        return self.scene.vault.commitment(who, channel) or bytes(32)

    def revoke_on_word(self, loan: bytes, channel: Channel) -> Any:
        return loan, channel

    def send(self, call: Any) -> None:
        if self.fails:
            raise NoReport("the node is down")
        self.sent.append(call)
        self.profile = replace(self.profile, consented=0)


def model(scene: Reporting, servicer: str = SERVICER) -> Any:
    loans = list(scene.model.loans.values())
    return SimpleNamespace(
        loans=lambda borrower: [each for each in loans if each.terms.borrower == borrower],
        servicer=lambda lender: servicer,
    )


def test_consent_1_the_servicer_revokes_on_chain_once(scene):
    scene.take(Report((scene.send(),), Verdict.FAILED))
    chain = Consents(scene)
    loan = next(iter(scene.model.loans))
    # The borrower of the loan is the one that the scene serves.
    scene.model.loans[loan] = replace(
        scene.model.loans[loan], terms=replace(scene.model.loans[loan].terms, borrower=borrower(1))
    )
    chain.fails = True
    with pytest.raises(NoReport):
        revoke(scene.reports, model(scene), chain, chain)
    chain.fails = False
    assert revoke(scene.reports, model(scene, "0x" + "99" * 20), chain, chain) == (0, 1)
    assert revoke(scene.reports, model(scene), chain, chain) == (1, 0)
    assert chain.sent == [(loan, Channel.EMAIL)]
    assert revoke(scene.reports, model(scene), chain, chain) == (0, 0)
    # Read from the chain that consent is gone, it stays closed for what needs none; given anew, it is open.
    with writing(scene.engine) as connection:
        connection.execute(schema.profiles.update().values(consented=0))
    assert scene.reports.closed() == {borrower(1): frozenset({Channel.EMAIL})}
    with writing(scene.engine) as connection:
        connection.execute(schema.profiles.update().values(consented=1))
    assert scene.reports.closed() == {}


def test_what_was_revoked_already_costs_nothing(scene):
    scene.take(Report((scene.send(),), Verdict.COMPLAINT))
    chain = Consents(scene, replace(CONSENTING, consented=0))
    assert revoke(scene.reports, model(scene), chain, chain) == (0, 0)
    assert chain.sent == []
    assert scene.reports.unrevoked() == []
