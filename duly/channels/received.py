"""A message as somebody has it who received a notice: a mail as a file, or nothing but its text.

What it says has to be found again exactly as it was hashed, after everything that carried it changed it in
ways that are theirs to change: line ends, blanks at the end of a line or of the text, the encoding, lines
that were wrapped. `Received.texts` are the texts that it may have been; the hash on chain tells which it was,
so trying several lets nothing pass that was not served.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default
from itertools import zip_longest
from typing import Final

from duly.domain.errors import InvalidInput

MOST_BYTES: Final = 1_000_000
MOST_CODES: Final = 120
"""A message may speak of fifty loans, and names each loan too."""

_CODE: Final = re.compile(r"(?<![0-9A-Za-z])0x([0-9a-fA-F]{64})(?![0-9A-Za-z])")
_HEADERS: Final = re.compile(
    rb"(?:From [^\n]*\n)?(?:[\x21-\x39\x3b-\x7e]+:[^\n]*\n(?:[ \t][^\n]*\n)*)+\r?(?:\n|$)"
)
_KNOWN: Final = re.compile(rb"(?im)^(?:Duly-Notice|MIME-Version|Received|Content-Type|From):")
_SUBJECT: Final = re.compile(r"(?i)^(?:subject|主题|主題)\s*[:：]\s*")
_WIDTHS: Final = range(60, 101)
"""Columns at which mail programs wrap lines."""


class NotAMessage(InvalidInput):
    """This cannot be a message that somebody received."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message that was received.

    proofs: the notices that it says it is, each with the salt of its hash: a mail's own headers tell them, a
    text that was copied out of one seldom. codes: what may be the ids of notices, of those and in the text.
    texts: subject and body, each as it may have been sent. strange: what of it the reader sees and no notice
    has; empty where nothing.
    """

    proofs: tuple[tuple[bytes, bytes], ...]
    codes: tuple[bytes, ...]
    texts: tuple[tuple[str, str], ...]
    strange: str = ""


def read(data: bytes) -> Received:
    """A mail as a mail program saves it, or the text of one: its subject, an empty line, its body.

    Raises: NotAMessage.
    """
    if len(data) > MOST_BYTES:
        raise NotAMessage(f"{len(data):,} bytes are too many for a notice", wanted=f"at most {MOST_BYTES:,}")
    data = data.removeprefix(b"\xef\xbb\xbf")
    head = _HEADERS.match(data.replace(b"\r\n", b"\n"))
    if head and _KNOWN.search(head[0]):
        return _mail(data)
    try:
        return _plain(data.decode())
    except UnicodeDecodeError:
        raise NotAMessage("this is neither a mail nor text in UTF-8") from None


def parse_code(text: str) -> bytes | None:
    """A notice's code as its text names it, or without 0x, as its mail's header does; None for none."""
    found = re.fullmatch("(?:0x)?([0-9a-fA-F]{64})", text.strip())
    return bytes.fromhex(found[1]) if found else None


def _mail(data: bytes) -> Received:
    if data.startswith(b"From "):  # a mailbox of one mail
        data = data.partition(b"\n")[2]
    mail = message_from_bytes(data, policy=default)
    strange = ""
    # A reader sees one of several, and nobody knows which.
    for name in ("Subject", "Content-Type", "Content-Transfer-Encoding"):
        if len(mail.get_all(name, [])) > 1:
            strange = f"it has several headers {name}"
    body = ""
    if mail.is_multipart() or mail.get_content_type() != "text/plain":
        strange = f"it is {mail.get_content_type()}, and a notice is plain text and nothing else"
    else:
        try:
            body = str(mail.get_content())
        except (LookupError, UnicodeError):
            strange = "its text cannot be decoded"
        if mail.get_param("format", "fixed") == "flowed":
            body = _unflowed(body, delsp=mail.get_param("delsp", "no") == "yes")
    subject = str(mail.get("Subject", ""))
    proofs = _proofs(mail.get_all("Duly-Notice", []), mail.get_all("Duly-Salt", []))
    texts = tuple(dict.fromkeys((subject, text) for text in _as_it_was(body)))
    return Received(proofs, _codes(proofs, f"{subject}\n{body}"), texts, strange)


def _plain(text: str) -> Received:
    """The text of a message, with or without the word Subject, and with the proofs where they were copied."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\n")
    headers: dict[str, list[str]] = {"notice": [], "salt": []}
    lines = text.split("\n")
    while lines and (found := re.match(r"(?i)duly-(salt|notice):\s*(\S*)\s*$", lines[0])):
        headers[found[1].lower()].append(found[2])
        lines.pop(0)
    subject = _SUBJECT.sub("", lines[0]).rstrip() if lines else ""
    body = "\n".join(lines[1:]).lstrip("\n")
    texts = tuple(dict.fromkeys((subject, found) for found in _as_it_was(body)))
    proofs = _proofs(headers["notice"], headers["salt"])
    return Received(proofs, _codes(proofs, text), texts)


def _proofs(notices: Sequence[object], salts: Sequence[object]) -> tuple[tuple[bytes, bytes], ...]:
    """Notices with their salts; what is no id is no notice's, and what is no salt fits nothing."""
    given = zip_longest(map(_bytes, notices), map(_bytes, salts), fillvalue=b"")
    return tuple(dict.fromkeys(given))[:MOST_CODES]


def _bytes(header: object) -> bytes:
    try:
        return bytes.fromhex(str(header).strip().removeprefix("0x"))
    except ValueError:
        return b""


def _codes(proofs: Sequence[tuple[bytes, bytes]], text: str) -> tuple[bytes, ...]:
    found = [code for code, _ in proofs if len(code) == 32]
    found += [bytes.fromhex(digits) for digits in _CODE.findall(text)]
    return tuple(dict.fromkeys(found))[:MOST_CODES]


def _as_it_was(body: str) -> Iterator[str]:
    """What a body may have been before it was carried."""
    body = body.replace("\r\n", "\n")
    yield body
    # Templates leave no blank at the end of a line, and end the text with one line end.
    trimmed = "\n".join(line.rstrip(" \t") for line in body.split("\n")).rstrip("\n") + "\n"
    yield trimmed
    yield re.sub(r"(?m)^>(>*From )", r"\1", trimmed)  # as mailboxes write it
    for width in _WIDTHS:
        yield _unwrapped(trimmed, width)


def _unwrapped(text: str, width: int) -> str:
    """A text whose lines were wrapped at a width, before: a line goes on where the next word did not fit."""
    found = ""
    last = ""
    for line in text.split("\n"):
        word = line.partition(" ")[0]
        if last and word and len(last) + 1 + len(word) > width:
            found += " " + line
        else:
            found += "\n" + line
        last = line
    return found[1:]


def _unflowed(text: str, *, delsp: bool) -> str:
    """The text that was sent as format=flowed. Source: RFC 3676, section 4."""
    found: list[str] = []
    flowing = False
    for line in text.replace("\r\n", "\n").split("\n"):
        line = line.removeprefix(" ")  # stuffing
        if flowing:
            found[-1] += line
        else:
            found.append(line)
        flowing = line.endswith(" ") and line != "-- "
        if flowing and delsp:
            found[-1] = found[-1][:-1]
    return "\n".join(found)
