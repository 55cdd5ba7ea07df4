"""What a received message may have been before it was carried, and what it never was."""

import textwrap
from email.message import EmailMessage
from email.policy import SMTP

import pytest

from duly.channels import received
from duly.channels.received import NotAMessage, parse_code, read
from duly.services.render import situations, templates

CODE, SALT = "5e" * 32, "a5" * 32
SUBJECT = "A message for you (reference 0a0b0c0d)"
BODY = f"""Hello,

instalment 3 of 100.00 USD is due on Friday, 15 January 2027. Pay it to the ledger, as you have agreed.

IF SOMETHING IS NOT RIGHT
Reply to this message.

From your lender. Its notice code is 0x{CODE}. What is not there is not from the lender.
"""


def mail(body: str = BODY, **headers: str) -> EmailMessage:
    found = EmailMessage(policy=SMTP)
    found["From"] = "Duly <notices@lender.example>"
    found["Subject"] = SUBJECT
    found["Duly-Notice"], found["Duly-Salt"] = CODE, SALT
    for name, value in headers.items():
        found[name] = value
    found.set_content(body, charset="utf-8")
    return found


def is_it(data: bytes) -> bool:
    message = read(data)
    return not message.strange and (SUBJECT, BODY) in message.texts


def test_a_mail_names_its_notice_and_its_salt_first() -> None:
    message = read(mail(f"0x{'77' * 32}\n").as_bytes())
    assert message.codes == (bytes.fromhex(CODE), b"\x77" * 32)
    assert message.proofs == ((bytes.fromhex(CODE), bytes.fromhex(SALT)),)


def test_a_mail_of_several_notices_names_each_with_its_salt() -> None:
    found = mail()
    found["Duly-Notice"], found["Duly-Salt"] = "77" * 32, "88" * 32
    message = read(found.as_bytes())
    assert not message.strange
    assert message.proofs == (
        (bytes.fromhex(CODE), bytes.fromhex(SALT)),
        (b"\x77" * 32, b"\x88" * 32),
    )
    # A salt too few fits nothing.
    found["Duly-Notice"] = "99" * 32
    assert read(found.as_bytes()).proofs[-1] == (b"\x99" * 32, b"")


@pytest.mark.parametrize("encoding", ["7bit", "quoted-printable", "base64"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_encodings_and_line_ends_are_the_carriers(encoding: str, line_end: bytes) -> None:
    found = mail()
    del found["Content-Transfer-Encoding"], found["Content-Type"]
    found.set_content(BODY, charset="utf-8", cte=encoding)
    data = found.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", line_end)
    assert is_it(data)
    assert is_it(b"From notices@lender.example Fri Jan 15 12:00:00 2027\n" + data)
    assert is_it(b"Received: from a by b;\r\n\tFri, 15 Jan 2027 12:00:00 +0000\r\n" + data)


def test_blanks_at_the_ends_are_the_carriers() -> None:
    for body in (
        BODY + "\n\n",
        BODY.rstrip("\n"),
        BODY.replace("\n", "  \n"),
        BODY.replace("\nFrom", "\n>From"),
    ):
        assert is_it(mail(body).as_bytes())


def test_wrapped_lines_are_put_together_again() -> None:
    for width in (60, 72, 76, 80):
        wrapped = "\n".join(
            textwrap.fill(line, width, break_on_hyphens=False, break_long_words=False)
            for line in BODY.split("\n")
        )
        assert wrapped != BODY
        assert (SUBJECT, BODY) in read(f"{SUBJECT}\n\n{wrapped}".encode()).texts
    flowed = "\n".join(
        " \n".join(textwrap.wrap(line, 70, break_on_hyphens=False, break_long_words=False) or [""])
        for line in BODY.split("\n")
    )
    found = mail(flowed)
    found.set_param("format", "flowed")
    assert is_it(found.as_bytes())


@pytest.mark.parametrize(
    ("was", "is_now"),
    [
        ("100.00", "100.01"), ("15 January", "16 January"), ("ledger,", "ledgers,"), ("Reply", "reply"),
        ("\n\nIF", "\nIF"), ("Hello,", "Hello"), ("3 of", "3  of"), (CODE, CODE[:-1] + "f"),
        ("is due", "is\u00a0due"),
    ],
)  # fmt: skip
def test_nothing_else_is_the_carriers(was: str, is_now: str) -> None:
    altered = BODY.replace(was, is_now)
    assert altered != BODY
    assert not is_it(mail(altered).as_bytes())
    assert not is_it(f"{SUBJECT}\n\n{altered}".encode())
    assert is_it(mail().as_bytes())


def test_what_a_reader_may_see_besides_the_text_is_strange() -> None:
    both = mail()
    both.add_alternative("<p>Pay 999.00 USD to me.</p>", subtype="html")
    attached = mail()
    attached.add_attachment(b"Pay me", maintype="application", subtype="pdf")
    html = mail()
    html.replace_header("Content-Type", "text/html; charset=utf-8")
    for found in (both, attached, html):
        assert read(found.as_bytes()).strange
    second = mail().as_bytes().replace(b"Duly-Notice", b"Subject: Pay me\r\nDuly-Notice", 1)
    assert "Subject" in read(second).strange
    assert not read(mail().as_bytes()).strange


def test_a_copied_text_with_or_without_what_was_copied_along() -> None:
    for text in (
        f"{SUBJECT}\n\n{BODY}",
        f"\n\nSubject: {SUBJECT}\n\n\n{BODY}",
        f"\ufeff{SUBJECT}\r\n\r\n{BODY}",
    ):
        message = read(text.encode())
        assert message.proofs == ()
        assert message.codes == (bytes.fromhex(CODE),)
        assert (SUBJECT, BODY) in message.texts
    salted = read(f"Duly-Notice: {CODE}\nDuly-Salt: {SALT}\n{SUBJECT}\n\n{BODY}".encode())
    assert salted.proofs == ((bytes.fromhex(CODE), bytes.fromhex(SALT)),)
    assert (SUBJECT, BODY) in salted.texts


def test_a_salt_that_is_none_fits_nothing() -> None:
    data = mail().as_bytes().replace(SALT.encode(), b"none")
    assert read(data).proofs == ((bytes.fromhex(CODE), b""),)


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"x" * (received.MOST_BYTES + 1)])
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(NotAMessage):
        read(data)


def test_an_empty_message_names_nothing() -> None:
    assert read(b"").codes == ()
    many = " ".join(f"0x{number:064x}" for number in range(200))
    assert len(read(many.encode()).codes) == received.MOST_CODES


@pytest.mark.parametrize("text", ["", "0x12", "5e" * 31, "0x" + "5e" * 33, "0x" + "zz" * 32])
def test_what_is_no_code(text: str) -> None:
    assert parse_code(text) is None


@pytest.mark.parametrize("text", ["0x" + "5e" * 32, "5e" * 32, f"  {'5E' * 32}\n"])
def test_a_code_is_known_as_the_text_and_as_the_header_names_it(text: str) -> None:
    assert parse_code(text) == b"\x5e" * 32


def test_every_text_that_is_sent_is_found_again() -> None:
    """Blanks at line ends, or another number of line ends at the end, would be lost on the way."""
    for situation in situations():
        subject, body = templates().render(situation)
        told = situation.file
        assert body == "\n".join(line.rstrip() for line in body.split("\n")).rstrip("\n") + "\n", told
        carried = body.replace("\n", " \r\n") + "\r\n"
        assert (subject, body) in read(f"{subject}\r\n\r\n{carried}".encode()).texts
