"""Reports of what became of messages: mails about mails, and the receipts of gateways.

- delivery status notifications (RFC 3464), which a mail server sends back to the envelope's sender
- feedback reports (RFC 5965), which a mailbox provider sends when somebody marks a mail as unwanted
- a borrower's answer STOP
- receipts of gateways, as JSON (docs/channels.md)

Of each only what it says, a code, and what may be tags of messages. Addresses in it are not even looked at.
"""

import json
import re
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message as Mail
from email.policy import compat32
from typing import Any, Final

from duly.domain.errors import InvalidInput
from duly.domain.report import Report, Verdict
from duly.domain.tag import TAG

MOST_BYTES: Final = 5_000_000

_CODE: Final = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_ENVELOPE: Final = ("To", "Delivered-To", "X-Original-To", "Envelope-To")
_ORIGINAL: Final = ("Message-ID", "Return-Path", "X-Envelope-From")
_STOP: Final = re.compile(r"(?i)(?:re:|aw:|回复[:：])*\s*(?:stop|unsubscribe)\s*([a-z2-7]{48})?\s*[.!]?")
_SPOKEN_OF: Final = {
    "abuse": Verdict.COMPLAINT,
    "fraud": Verdict.COMPLAINT,
    "virus": Verdict.COMPLAINT,
    "other": Verdict.COMPLAINT,
    "opt-out": Verdict.STOP,
    "opt-out-list": Verdict.STOP,
}
_RECEIPTS: Final = {
    "delivered": Verdict.DELIVERED,
    "failed": Verdict.DELAYED,
    "undeliverable": Verdict.FAILED,
    "complaint": Verdict.COMPLAINT,
    "stop": Verdict.STOP,
}


class NoReport(InvalidInput):
    """This reports nothing about a message."""


# ---------------------------------------------------------------------------------------------------- mails


def read_mail(data: bytes) -> Report:
    """What a mail reports.

    Raises: NoReport.
    """
    if len(data) > MOST_BYTES:
        raise NoReport(f"{len(data):,} bytes are too many for a report", wanted=f"at most {MOST_BYTES:,}")
    mail = message_from_bytes(
        data.partition(b"\n")[2] if data.startswith(b"From ") else data, policy=compat32
    )
    parts = {part.get_content_type(): part for part in reversed(list(_parts(mail)))}
    status = parts.get("message/delivery-status") or parts.get("message/global-delivery-status")
    if status is not None:
        fields = _fields(status)
        verdict, code = _status(fields)
        return Report(_tags(mail, parts, fields), verdict, code)
    if feedback := parts.get("message/feedback-report"):
        fields = _fields(feedback)
        kind = fields.get("feedback-type", "").strip().lower()
        if kind not in _SPOKEN_OF:
            raise NoReport("this feedback says nothing against the message", wanted=", ".join(_SPOKEN_OF))
        return Report(_tags(mail, parts, fields), _SPOKEN_OF[kind], kind)
    if (tags := _stops(mail)) is not None:
        return Report(tags, Verdict.STOP, "reply")
    raise NoReport(
        "this mail is no report",
        wanted="a delivery status notification, a feedback report, or the answer STOP",
    )


def _parts(mail: Mail) -> Iterator[Mail]:
    """The parts of a report; not those of a mail that it holds, which somebody else wrote."""
    if mail.get_content_type() == "multipart/report" and mail.is_multipart():
        yield from (part for part in mail.get_payload() if isinstance(part, Mail))


def _fields(part: Mail) -> dict[str, str]:
    """The fields of a report: of the message, then of the first recipient, for there is no other."""
    payload = part.get_payload()
    blocks = [each for each in payload if isinstance(each, Mail)] if isinstance(payload, list) else []
    if not blocks:
        text = part.get_payload(decode=True)
        blocks = [message_from_bytes(text if isinstance(text, bytes) else b"", policy=compat32)]
    found: dict[str, str] = {}
    for block in blocks:
        for name, value in block.items():
            found.setdefault(name.lower(), str(value))
    return found


def _status(fields: dict[str, str]) -> tuple[Verdict, str]:
    """What a delivery status says. Sources: RFC 3464, section 2.3; RFC 3463 for the codes."""
    action = fields.get("action", "").partition(";")[0].strip().lower()
    found = _CODE.search(fields.get("status", ""))
    code = found[0] if found else ""
    if action in ("delivered", "relayed", "expanded"):
        return Verdict.DELIVERED, code
    if action == "delayed" or (action == "failed" and code.startswith("4")):
        return Verdict.DELAYED, code
    if action != "failed":
        raise NoReport("this report does not tell what became of the message", wanted="failed, delayed, …")
    if code in ("", "5.0.0") and (told := _CODE.search(fields.get("diagnostic-code", ""))):
        # Exim says no more in the field that is meant for it.
        code = told[0]
    return (Verdict.FAILED if _is_of_the_address(code) else Verdict.DELAYED), code


def _is_of_the_address(code: str) -> bool:
    """A failure says that the address is wrong, not that its box is full, a server is down, or this sender is
    not liked.
    """
    _, _, detail = code.partition(".")
    subject, _, number = detail.partition(".")
    # 5.1.7 and 5.1.8 are of the sender's address.
    return code.startswith("5") and (
        (subject == "1" and number not in ("0", "7", "8")) or (subject, number) == ("2", "1")
    )


def _tags(mail: Mail, parts: dict[str, Mail], fields: dict[str, str]) -> tuple[str, ...]:
    """What may be the tag of the message: where it went back to, what its envelope was called, and its own
    headers.
    """
    texts = [str(value) for name in _ENVELOPE for value in mail.get_all(name, [])]
    texts += [fields.get(name, "") for name in ("original-envelope-id", "original-mail-from")]
    original: Mail | None = None
    whole = parts.get("message/rfc822") or parts.get("message/global")
    held = whole.get_payload() if whole is not None else None
    if isinstance(held, list) and held and isinstance(held[0], Mail):
        original = held[0]
    elif part := parts.get("text/rfc822-headers") or parts.get("message/rfc822-headers"):
        text = part.get_payload(decode=True)
        original = message_from_bytes(text if isinstance(text, bytes) else b"", policy=compat32)
    if original is not None:
        texts += [str(value) for name in _ORIGINAL for value in original.get_all(name, [])]
    return _found(texts)


def _stops(mail: Mail) -> tuple[str, ...] | None:
    """The tags of what a mail answers, where all that it says is STOP; None where it says anything else."""
    subject = str(mail.get("Subject", ""))
    told = _STOP.fullmatch(subject.strip())
    if not told:
        part = next((each for each in mail.walk() if each.get_content_type() == "text/plain"), mail)
        text = part.get_payload(decode=True)
        lines = (text if isinstance(text, bytes) else b"").decode("utf-8", "replace").splitlines()
        first = next((line.strip() for line in lines if line.strip()), "")
        if not _STOP.fullmatch(first):
            return None
    texts = [str(mail.get(name, "")) for name in ("In-Reply-To", "References")]
    return _found([told[1] or "" if told else "", *texts])


def _found(texts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found[0] for text in texts for found in TAG.finditer(text.lower())))


# ------------------------------------------------------------------------------------------------- receipts


def read_receipt(value: Any) -> Report:
    """What a gateway reports, as a JSON object was read: `id`, `status`, and perhaps a `code`.

    Raises: NoReport.
    """
    if not isinstance(value, dict):
        raise NoReport("a receipt is a JSON object", wanted='{"id": …, "status": "delivered"}')
    name, status, code = value.get("id"), value.get("status"), value.get("code", "")
    if not isinstance(name, str) or not TAG.fullmatch(name):
        raise NoReport("this receipt names no message", wanted="in `id`, the idempotency key of the request")
    if not isinstance(status, str) or status not in _RECEIPTS:
        raise NoReport("this receipt has no status", wanted=" or ".join(_RECEIPTS))
    # Not an address, nor words: a code.
    right = isinstance(code, (str, int)) and re.fullmatch(r"[A-Za-z0-9._-]{0,20}", str(code))
    code = str(code) if right and len(re.sub(r"\D", "", str(code))) < 7 else ""
    return Report((name,), _RECEIPTS[status], code)


def read_receipts(data: bytes) -> list[Any]:
    """The JSON values of a file: one document, a list of receipts or one, or one in each line.

    Raises: NoReport.
    """
    if len(data) > MOST_BYTES:
        raise NoReport(f"{len(data):,} bytes are too many", wanted=f"at most {MOST_BYTES:,}")
    try:
        text = data.decode()
        try:
            found = json.loads(text)
        except ValueError:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        raise NoReport("these are no receipts", wanted="JSON, as docs/channels.md describes it") from None
    return found if isinstance(found, list) else [found]
