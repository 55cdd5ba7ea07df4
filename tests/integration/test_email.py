"""E-mail against real sockets: what is sent, and what is known of it when something goes wrong."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace
from email import message_from_bytes
from email.policy import default

import pytest
from eth_utils import keccak
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duly.channels.email import EmailCarrier
from duly.channels.message import CarrierUnavailable, CodeMessage, Message, Proof, Receipt, Result
from duly.config import MailSecurity, MailServer
from duly.domain.errors import InvalidInput
from duly.services.verifying import words
from scripts.inbox import Inbox, code_in, text_of

ADDRESS = "wang.fang@example.org"
SENDER = "Duly <notices@lender.example>"


def server(port: int, sender: str = SENDER) -> MailServer:
    return MailServer(host="127.0.0.1", port=port, security=MailSecurity.NONE, sender=sender)


def message(number: int = 1, **changes) -> Message:
    values = {
        "tag": "abcd" * 12,
        "proofs": (Proof(number.to_bytes(32, "big"), b"\x5a" * 32),),
        "address": ADDRESS,
        "subject": "Instalment 3 is due today",
        "body": "Dear borrower,\n\nfor you.\n\nNo link.\n\nYou owe 1,234.50 USD.\n.\n..\n",
        "language": "en",
        "at": 1_800_000_000,
    }
    return Message(**(values | changes))


@pytest.fixture
def inbox(tmp_path):
    with Inbox(tmp_path / "inbox") as inbox:
        yield inbox


@pytest.fixture
def carrier(inbox):
    carrier = EmailCarrier(server(inbox.port))
    yield carrier
    carrier.close()


# --------------------------------------------------------------------------------------------------- the mail


def test_a_mail_says_what_it_is(carrier, inbox):
    assert carrier.send(message()) == Receipt(Result.SENT)
    (mail,) = inbox.mails()
    assert mail["To"] == ADDRESS
    assert mail["From"] == SENDER
    assert mail["Subject"] == "Instalment 3 is due today"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Unsubscribe"] == f"<mailto:notices@lender.example?subject=STOP%20{'abcd' * 12}>"
    assert mail["Message-ID"] == f"<{'abcd' * 12}@lender.example>"
    assert mail["Date"].datetime.timestamp() == 1_800_000_000
    assert mail["Content-Language"] == "en"
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content_charset() == "utf-8"
    assert text_of(mail) == message().body
    assert "X-Mailer" not in mail
    lines = inbox.files()[0].read_bytes().split(b"\r\n")
    assert all(len(line) <= 78 for line in lines if b"mailto:" not in line)


def test_a_mail_proves_itself(carrier, inbox):
    text = message(subject="第 3 期今天到期", body="尊敬的借款人：\n\n应还 1,234.50 美元。\n", language="zh")
    carrier.send(text)
    (mail,) = inbox.mails()
    words = f"{mail['Subject']}\n\n{text_of(mail)}".encode()
    (proof,) = text.proofs
    salted = bytes.fromhex(mail["Duly-Salt"]) + words
    assert keccak(salted) == keccak(proof.salt + f"{text.subject}\n\n{text.body}".encode())
    assert mail["Content-Language"] == "zh-Hans"
    assert bytes.fromhex(mail["Duly-Notice"]) == proof.notice


def test_a_mail_with_several_notices_proves_each(carrier, inbox):
    proofs = tuple(Proof(bytes([number]) * 32, bytes([number // 2]) * 32) for number in (1, 2, 3))
    carrier.send(message(proofs=proofs))
    (mail,) = inbox.mails()
    told = zip(mail.get_all("Duly-Notice"), mail.get_all("Duly-Salt"), strict=True)
    assert [Proof(*map(bytes.fromhex, pair)) for pair in told] == list(proofs)
    assert mail["Message-ID"] == f"<{'abcd' * 12}@lender.example>"


_WORDS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=120).filter(
    lambda text: not set(text) & {"\u2028", "\u2029"}
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_WORDS.map(lambda s: " ".join(s.split())), st.lists(_WORDS, max_size=6))
def test_whatever_is_written_arrives_as_it_was_written(carrier, subject, lines):
    body = "\n".join(lines) + "\n"
    mail = message_from_bytes(carrier._compose(message(subject=subject, body=body)).data, policy=default)
    assert mail["Subject"] == subject
    assert text_of(mail) == body
    assert mail.get_all("To") == [ADDRESS]
    assert "Bcc" not in mail


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "Due\r\nBcc: other@example.org"},
        {"subject": "Due\nBcc: other@example.org"},
        {"subject": "Due\x00"},
        {"subject": "Due\u2028Bcc: other@example.org"},
        {"address": "a@example.org\r\nBcc: other@example.org"},
        {"address": "a@example.org, other@example.org"},
        {"address": "a@example.org>\r\nRCPT TO:<other@example.org"},
        {"address": "Other <other@example.org>"},
        {"address": "nobody"},
        {"address": ""},
        {"body": "a\rb"},
        {"body": "a\x00b"},
    ],
)
def test_nothing_can_be_smuggled_into_a_mail(carrier, inbox, changes):
    assert carrier.send(message(**changes)) == Receipt(Result.REFUSED, "malformed")
    assert inbox.mails() == []
    assert carrier.send(message()).result is Result.SENT


def test_what_looks_like_the_end_of_a_mail_is_not(carrier, inbox):
    body = "one\n.\nMAIL FROM:<x@example.org>\n..\n.two\n"
    assert carrier.send(message(body=body)).result is Result.SENT
    assert [text_of(mail) for mail in inbox.mails()] == [body]


@pytest.mark.parametrize(
    "sender", ["", "nobody", "a@b.example\r\nBcc: c@d.example", "é@b.example", "a@b.example, c@d.example"]
)
def test_senders_that_are_none(sender):
    with pytest.raises(InvalidInput):
        EmailCarrier(server(25, sender))


def test_a_message_is_not_printed():
    assert ADDRESS not in repr(message())
    assert "borrower" not in repr(message())


# ----------------------------------------------------------------------------------------------- the envelope


def test_what_cannot_be_delivered_goes_back_to_an_address_that_bears_the_tag(inbox):
    bounced = replace(server(inbox.port), bounces="bounces@lender.example")
    carrier = EmailCarrier(bounced)
    carrier.send(message())
    carrier.send(CodeMessage(ADDRESS, "Code", "123456\n", "en", 1))
    carrier.close()
    assert inbox.senders() == [f"bounces+{'abcd' * 12}@lender.example", "bounces@lender.example"]


def test_a_server_that_can_is_asked_for_reports_without_the_text():
    stubborn = Stubborn(ehlo="250-me\r\n250 DSN")
    carrier = EmailCarrier(server(stubborn.port))
    assert carrier.send(message()).result is Result.SENT
    carrier.close()
    stubborn.close()
    assert f"MAIL FROM:<notices@lender.example> RET=HDRS ENVID={'abcd' * 12}" in stubborn.commands
    assert f"RCPT TO:<{ADDRESS}> NOTIFY=FAILURE,DELAY" in stubborn.commands


def test_a_server_that_knows_no_ehlo_takes_mail_too():
    stubborn = Stubborn(ehlo="502 what?")
    carrier = EmailCarrier(server(stubborn.port))
    assert carrier.send(message()).result is Result.SENT
    carrier.close()
    stubborn.close()


# ------------------------------------------------------------------------------------------------- the server


class Stubborn:
    """An SMTP server that answers as it is told: by command, and `text` for a whole message. An answer may be
    a line, "close" or "silence".
    """

    def __init__(self, **answers: str | list[str]) -> None:
        self.answers = answers
        self.texts: list[bytes] = []
        self.commands: list[str] = []
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._socket.close()
        for connection in self._open:
            connection.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket, what: str, usual: str) -> bool:
        told = self.answers.get(what, usual)
        if isinstance(told, list):
            told = told.pop(0) if told else usual
        if told == "close":
            connection.shutdown(socket.SHUT_RDWR)
            return False
        if told != "silence":
            connection.sendall(told.encode() + b"\r\n")
        return not told.startswith("421")

    def _talk(self, connection: socket.socket) -> None:
        usual = {"data": "354 go on", "quit": "221 bye"}
        with connection, connection.makefile("rb") as lines:
            if not self._answer(connection, "banner", "220 ready"):
                return
            for line in lines:
                self.commands.append(line.decode().strip())
                command = line[:4].decode().strip().lower()
                if not self._answer(connection, command, usual.get(command, "250 ok")):
                    return
                if command == "data" and "data" not in self.answers:
                    text = b""
                    for part in lines:
                        if part == b".\r\n":
                            break
                        text += part
                    self.texts.append(text)
                    if not self._answer(connection, "text", "250 taken"):
                        return


@pytest.fixture
def stubborn():
    made = []

    def make(**answers) -> tuple[Stubborn, EmailCarrier]:
        mail_server = Stubborn(**answers)
        # Only who waits in vain waits for so long; even then there is time for what is answered before.
        timeout = 1 if "silence" in answers.values() else 20
        carrier = EmailCarrier(server(mail_server.port), timeout=timeout)
        made.extend([mail_server, carrier])
        return mail_server, carrier

    yield make
    for each in reversed(made):
        each.close()


@pytest.mark.parametrize(
    ("answers", "receipt"),
    [
        ({"rcpt": "450 busy"}, Receipt(Result.DEFERRED, "recipient 450")),
        ({"rcpt": "550 wang.fang@example.org unknown"}, Receipt(Result.REFUSED, "recipient 550")),
        ({"mail": "451 later"}, Receipt(Result.DEFERRED, "SMTP 451")),
        # The server does not want us: nothing that is wrong with this notice.
        ({"mail": "550 not you"}, Receipt(Result.DEFERRED, "SMTP 550")),
        ({"data": "452 full"}, Receipt(Result.DEFERRED, "SMTP 452")),
        ({"data": "554 no"}, Receipt(Result.DEFERRED, "SMTP 554")),
        ({"mail": "close"}, Receipt(Result.DEFERRED, "connection lost")),
        ({"rcpt": "silence"}, Receipt(Result.DEFERRED, "no answer in time")),
        ({"data": "silence"}, Receipt(Result.DEFERRED, "no answer in time")),
        ({"data": "close"}, Receipt(Result.DEFERRED, "connection lost")),
        ({"mail": "what?"}, Receipt(Result.DEFERRED, "SMTP -1")),
    ],
)
def test_what_goes_wrong_before_the_text_is_certain(stubborn, answers, receipt):
    mail_server, carrier = stubborn(**answers)
    assert carrier.send(message()) == receipt
    assert mail_server.texts == []


@pytest.mark.parametrize(
    ("answer", "receipt"),
    [
        ("250 taken", Receipt(Result.SENT)),
        ("451 try again", Receipt(Result.DEFERRED, "SMTP 451")),
        ("421 shutting down", Receipt(Result.DEFERRED, "SMTP 421")),
        ("554 not wanted", Receipt(Result.REFUSED, "SMTP 554")),
        ("close", Receipt(Result.UNKNOWN, "connection lost")),
        ("silence", Receipt(Result.UNKNOWN, "no answer in time")),
        ("what?", Receipt(Result.UNKNOWN, "SMTP -1")),
        ("354 go on", Receipt(Result.UNKNOWN, "SMTP 354")),
    ],
)
def test_gate_2_after_the_text_only_an_answer_is_certain(stubborn, answer, receipt):
    mail_server, carrier = stubborn(text=answer)
    assert carrier.send(message()) == receipt
    assert len(mail_server.texts) == 1


def test_one_connection_carries_many_mails(stubborn):
    mail_server, carrier = stubborn(rcpt=["250 ok", "550 no", "250 ok"])
    carrier.ready()
    results = [carrier.send(message(number)).result for number in range(3)]
    assert results == [Result.SENT, Result.REFUSED, Result.SENT]
    assert mail_server.connections == 1


@pytest.mark.parametrize("answer", ["close", "421 idle for too long"])
def test_a_connection_that_the_server_gave_up_is_made_anew(stubborn, answer):
    mail_server, carrier = stubborn(mail=["250 ok", answer, "250 ok"])
    assert [carrier.send(message(number)).result for number in range(2)] == [Result.SENT] * 2
    assert mail_server.connections == 2
    assert len(mail_server.texts) == 2


def test_a_server_that_closes_after_each_mail(stubborn):
    mail_server, carrier = stubborn(text=["close"])
    assert carrier.send(message()).result is Result.UNKNOWN
    assert carrier.send(message()).result is Result.SENT
    assert mail_server.connections == 2


def test_no_server_is_told_before_anything_is_claimed():
    # Who has a port and does not listen keeps others from listening there.
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        carrier = EmailCarrier(server(silent.getsockname()[1]))
        with pytest.raises(CarrierUnavailable, match="connection refused"):
            carrier.ready()
        assert carrier.send(message()) == Receipt(Result.DEFERRED, "connection refused")
        carrier.close()


@pytest.mark.parametrize("banner", ["554 no service", "silence", "close"])
def test_a_server_that_does_not_take_mail(stubborn, banner):
    _, carrier = stubborn(banner=banner)
    with pytest.raises(CarrierUnavailable, match="does not take mail"):
        carrier.ready()


def test_starttls_is_insisted_on(inbox):
    open_server = MailServer(host="127.0.0.1", port=inbox.port, security=MailSecurity.STARTTLS, sender=SENDER)
    carrier = EmailCarrier(open_server)
    with pytest.raises(CarrierUnavailable):
        carrier.ready()
    assert carrier.send(message()).result is Result.DEFERRED
    assert inbox.mails() == []
    carrier.close()


def test_it_is_quick(carrier, inbox):
    carrier.ready()
    took = []
    for number in range(200):
        start = time.perf_counter()
        assert carrier.send(message(number)).result is Result.SENT
        took.append(time.perf_counter() - start)
    assert len(inbox.files()) == 200
    # A packet that waits for another's acknowledgement would hold up every mail, whatever the machine is busy
    # with; what it is busy with does not hold up every one.
    assert sorted(took)[20] < 1 / 30


# -------------------------------------------------------------------------------------------------- the inbox


def test_the_inbox_lists_its_mail(inbox, carrier, tmp_path):
    carrier.send(message(subject="Due <today> & tomorrow"))
    inbox.write_index()
    carrier.send(message(2, subject="第 3 期今天到期", body="应还 <b>1,234.50</b> 美元。\n", language="zh"))
    page = inbox.write_index().read_text(encoding="utf-8")
    assert "Due &lt;today&gt; &amp; tomorrow" in page
    assert page.index("第 3 期今天到期") < page.index("Due &lt;today&gt;")
    assert "2027-01-15 08:00 UTC" in page
    assert "You owe 1,234.50 USD." in page
    first = (tmp_path / "inbox/mail/00001.html").read_text(encoding="utf-8")
    second = (tmp_path / "inbox/mail/00002.html").read_text(encoding="utf-8")
    assert 'href="00002.html"' in first
    assert "You owe 1,234.50 USD." in first
    assert "应还 &lt;b&gt;1,234.50&lt;/b&gt; 美元。" in second
    assert '<html lang="zh-Hans">' in second
    again = Inbox(tmp_path / "inbox")
    assert again.count == 2
    assert again.write_index().read_text(encoding="utf-8").count("<tr><td>") == 2


def test_the_inbox_shows_whatever_comes(inbox, tmp_path):
    for number, data in enumerate(
        [b"", b"\xff\xfe", b"Subject: =?utf-8?b?broken", b"Date: soon\n\nx", b"Content-Type: a/b\n\nx",
         b"Content-Type: text/plain; charset=nonsense\n\n\xff", b"Subject: =?nonsense?q?x?=\n\n<script>"]
    ):  # fmt: skip
        (tmp_path / f"inbox/{number + 1:05}.eml").write_bytes(data)
    page = inbox.write_index().read_text(encoding="utf-8")
    assert page.count("<tr><td>") == 7
    assert "<script>\n" in page
    assert "&lt;script&gt;" in (tmp_path / "inbox/mail/00007.html").read_text(encoding="utf-8")


def test_gate_1_a_mail_with_a_code_names_no_notice_and_nobody(carrier, inbox):
    text = words("012345", "zh")
    sent = carrier.send(CodeMessage("b@example.org", text.subject, text.body, "zh", 1_790_078_400))
    assert sent == Receipt(Result.SENT)
    (mail,) = inbox.mails()
    assert (mail["To"], mail["Content-Language"]) == ("b@example.org", "zh-Hans")
    assert code_in([mail], "b@example.org") == "012345"
    assert text_of(mail) == text.body
    # Not the sender's name either, nor a word to stop what has not begun.
    assert mail["From"] == "notices@lender.example"
    assert not {"Duly-Notice", "Duly-Salt", "List-Unsubscribe"} & set(mail.keys())
    assert "duly" not in str(mail).lower()
