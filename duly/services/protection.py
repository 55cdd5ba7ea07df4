"""What data protection asks for: telling borrowers what is kept of them, forgetting them, and not keeping
anything for longer than it is needed.
"""

import html
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from duly.chain import logs
from duly.chain.errors import explained
from duly.domain.calendar import DAY
from duly.domain.consent import Channel, Profile
from duly.domain.errors import DulyError
from duly.domain.events import LoanAmended, LoanOpened, NoticeServed
from duly.domain.loan import Status
from duly.domain.notice import Notice
from duly.domain.preferences import Preferences, hours_text
from duly.services.policy import pack_published
from duly.services.serve import salt_purpose
from duly.store.database import exists
from duly.store.notices import Content, Delivery
from duly.store.readmodel import NothingIndexed
from duly.store.vault import BorrowerRecord, Entry

if TYPE_CHECKING:
    from duly.bootstrap import Application

OVER: Final = (Status.REPAID, Status.RESCINDED, Status.REPLACED)
"""Where a loan stands that nothing is owed on."""


class FileExists(DulyError):
    """There is such a file already; an export is never written over another one."""


# ------------------------------------------------------------------------------------------------- exporting


def export(app: "Application", borrower: str) -> dict[str, Any]:
    """Everything that is kept of a borrower, as plain values: of the vault, and of the read model with the
    words of notices, where there is one.

    Raises: UnknownBorrower, VaultError, DatabaseError.
    """
    record = app.vault.record(borrower)
    return {
        "format": "duly/export/1",
        "exported_at": _moment(int(time.time())),
        "borrower": record.borrower,
        "language": record.language,
        "preferences": preferences_json(record.preferences),
        "added_at": _moment(record.added_at),
        "contacts": list(_contacts(record)),
        "inbox": [
            {"at": _moment(each.at), "subject": each.subject, "body": each.body, "language": each.language}
            for each in record.inbox
        ],
        "codes_sent_at": [_moment(at) for at in record.codes_sent_at],
        **(_told(app, record.borrower) if exists(app.settings.database) else {}),
        "log": [entry_json(entry) for entry in record.log],
    }


def preferences_json(preferences: Preferences) -> dict[str, Any]:
    """How a borrower wishes to be reminded, as plain values."""
    return {
        "hours": preferences.hours and hours_text(preferences.hours),
        "time_zone": preferences.zone or None,
        "days_before": list(preferences.days_before),
        "on_due_day": preferences.on_due_day,
        "channel": None if preferences.channel is None else preferences.channel.label,
    }


def registered(app: "Application", borrower: str) -> Profile | None:
    """What the borrower registered on chain, as far as it was read; None where nothing is known of that."""
    if exists(app.settings.database):
        with suppress(NothingIndexed):
            profile = app.read_model.profile(borrower.lower())
            return profile if profile.changes else None
    return None


def _contacts(record: BorrowerRecord) -> Iterator[dict[str, Any]]:
    for contact in record.contacts:
        yield {
            "channel": contact.channel.label,
            "address": contact.address,
            "commitment": _hex(contact.commitment),
            "salt": _hex(contact.salt),
            "added_at": _moment(contact.added_at),
            "changed_at": _moment(contact.changed_at),
            "verified_at": None if contact.verified_at is None else _moment(contact.verified_at),
            "verified_by": contact.verified_by,
            "code_sent_at": None if contact.code_sent_at is None else _moment(contact.code_sent_at),
        }


def _told(app: "Application", borrower: str) -> dict[str, Any]:
    """What the read model's database holds of a borrower."""
    store = app.notice_store
    model = app.read_model
    try:
        loans = model.loans(borrower=borrower)
        profile, notices = model.profile(borrower), model.notices(borrower=borrower)
    except NothingIndexed:
        return {}
    ids = [loan.id for loan in loans]
    contents = {content.content_hash: content for content in store.contents(ids)}
    deliveries = {each.notice.id: each for loan in ids for each in store.deliveries(loan=loan)}
    told: list[dict[str, Any]] = []
    # What was delivered stays so, though its event may have been reorganised away.
    everything = [
        *(
            (
                Notice(each.loan, each.kind, each.instalment, each.amount, each.channel, each.content_hash),
                each.id,
                each.timestamp,
            )
            for each in notices
        ),
        *((each.notice.notice, each.notice.id, each.notice.served_at) for each in deliveries.values()),
    ]
    seen: set[bytes] = set()
    # Notices in one message to an address have one salt, after the first of them.
    first: dict[bytes, bytes] = {}
    for notice, number, at in everything:
        if number in seen:
            continue
        seen.add(number)
        first.setdefault(notice.content_hash, number)
        content = contents.get(notice.content_hash)
        salted_for = salt_purpose(content.of.notice if content else first[notice.content_hash])
        told.append(
            {
                "id": _hex(number),
                "loan": _hex(notice.loan),
                "kind": notice.kind.name.lower(),
                "instalment": notice.instalment,
                "amount": notice.amount,
                "channel": notice.channel.label,
                "served_at": _moment(at),
                "content_hash": _hex(notice.content_hash),
                "salt": _hex(app.vault.salt_for(borrower, salted_for)),
                **_words(content),
                "delivery": _delivery(deliveries.get(number)),
            }
        )
    return {
        "consents": {
            "utc_offsets": [profile.offset / 4, profile.other_offset / 4],
            "registered": [channel.label for channel in Channel if profile.has_contact(channel)],
            "consented": [channel.label for channel in Channel if profile.consents_to(channel)],
            "ceased": profile.ceased,
        },
        "loans": [
            {
                "id": _hex(loan.id),
                "status": loan.status.name.lower(),
                "lender": loan.lender,
                "opened_at": _moment(loan.opened_at),
                "principal": loan.terms.principal,
                "total": loan.total,
                "paid": loan.paid,
                "late_fees": loan.fees,
            }
            for loan in loans
        ],
        "notices": told,
        "words_never_served": [
            _words(content) for content in contents.values() if content.content_hash not in first
        ],
    }


def _words(content: Content | None) -> dict[str, Any]:
    if content is None:
        return {"language": None, "subject": None, "body": None}
    return {"language": content.language, "subject": content.subject, "body": content.body}


def _delivery(delivery: Delivery | None) -> dict[str, Any] | None:
    if delivery is None:
        return None
    return {
        "state": str(delivery.state),
        "reason": delivery.reason,
        "attempts": delivery.attempts,
        "at": _moment(delivery.at),
    }


def entry_json(entry: Entry) -> dict[str, Any]:
    """A line of the log, as plain values."""
    return {
        "number": entry.number,
        "at": _moment(entry.at),
        "borrower": entry.borrower,
        "channel": None if entry.channel is None else entry.channel.label,
        "purpose": entry.purpose,
        "about": entry.about,
        "by": entry.by,
    }


def as_text(told: Mapping[str, Any]) -> str:
    """An export for programs: JSON."""
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def write(told: Mapping[str, Any], directory: Path) -> tuple[Path, Path]:
    """Write an export for programs (JSON) and for people (HTML), each to a file that only its owner can read.

    Raises: FileExists, VaultError.
    """
    stem = f"duly-export-{told['borrower'][:10]}"
    files = directory / f"{stem}.json", directory / f"{stem}.html"
    texts = as_text(told), page(told)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in files:
            if file.exists():
                raise FileExists(f"there is a file {file} already", remedy="Move it, or name a --directory.")
        for file, text in zip(files, texts, strict=True):
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                out.write(text)
    except OSError as error:
        raise DulyError(f"{directory} cannot be written: {error.strerror}") from None
    return files


_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, "Noto Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei",
  sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; } dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem;
  border-top: 1px solid #8884; padding-top: .8rem; } dt { color: #888; }
dd { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; }
"""
_HEADINGS: Final = {
    "en": {
        "title": "Everything that is kept about you",
        "contacts": "Your contacts",
        "codes_sent_at": "Codes sent to you in the last day",
        "consents": "What you registered and consented to, on chain",
        "loans": "Your loans",
        "notices": "Notices sent to you",
        "words_never_served": "Notices prepared and never sent",
        "log": "Who read your contacts, and what for",
        "none": "Nothing.",
    },
    "zh": {
        "title": "我们保存的关于您的全部信息",
        "contacts": "您的联系方式",
        "codes_sent_at": "最近一天发送给您的确认码",
        "consents": "您在链上登记和同意的内容",
        "loans": "您的借款",
        "notices": "发送给您的通知",
        "words_never_served": "已拟好但从未发送的通知",
        "log": "谁读取过您的联系方式，以及用途",
        "none": "无。",
    },
}


def page(told: Mapping[str, Any]) -> str:
    """An export as a page to read, in the borrower's language."""
    language = told["language"] if told["language"] in _HEADINGS else "en"
    headings = _HEADINGS[language]
    parts = [
        f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{headings['title']}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
        f"<h1>{headings['title']}</h1>",
        _list({name: value for name, value in told.items() if name not in headings}),
    ]
    for name, value in told.items():
        if name in headings:
            rows = [value] if isinstance(value, Mapping) else value
            parts.append(f"<h2>{headings[name]}</h2>")
            parts += [_list(row if isinstance(row, Mapping) else {"at": row}) for row in rows]
            if not rows:
                parts.append(f"<p>{headings['none']}</p>")
    return "\n".join([*parts, "</body>\n</html>\n"])


def _list(values: Mapping[str, Any]) -> str:
    rows = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key.replace('_', ' ')} {each}" for key, each in value.items() if each)
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        told = "–" if value in (None, "") else str(value)
        rows.append(f"<dt>{html.escape(name.replace('_', ' '))}</dt><dd>{html.escape(told)}</dd>")
    return f"<dl>\n{chr(10).join(rows)}\n</dl>"


# ------------------------------------------------------------------------------------------------- forgetting


def erase(app: "Application", borrowers: Iterable[str]) -> int:
    """Forget borrowers: key, contacts and the words of their notices. The chain, what was read from it, and
    whether notices were delivered stay, and can no longer be linked to anybody.

    Returns: how many of them the vault knew.
    Raises: VaultError, DatabaseError.
    """
    every = [borrower.lower() for borrower in borrowers]
    erased = app.vault.erase(*every)
    if exists(app.settings.database):
        with suppress(NothingIndexed):
            loans = [loan.id for borrower in every for loan in app.read_model.loans(borrower=borrower)]
            app.notice_store.forget_words(loans)
    return erased


@dataclass(frozen=True, slots=True)
class Ended:
    """A borrower all of whose loans ended, the last one at `ended_at` (UTC seconds).

    `keep_until` is the moment until which the packs of the loans' policies want kept what proves how the
    borrower was dealt with, so many years after the last reminder; None where none of them wants it.
    """

    borrower: str
    loans: int
    ended_at: int
    keep_until: int | None

    def is_over(self, days: int | None, now: int) -> bool:
        """Nothing has to be kept any more: for so many days after the end, and for as long as the packs say.

        Without days the packs alone say, and where they do not it never is.
        """
        if days is None:
            return self.keep_until is not None and max(self.ended_at, self.keep_until) < now
        return max(self.ended_at + days * DAY, self.keep_until or 0) < now


def ended(app: "Application", now: int) -> list[Ended]:
    """The borrowers of the vault all of whose loans ended, the longest ago first.

    Who has an open loan under any of their addresses is not among them, nor who has had none yet. Read the
    chain first. What it holds beyond the blocks that were read counts too: a loan that was just opened.

    Raises: NothingIndexed, VaultError, DatabaseError, ChainUnavailable.
    """
    model = app.read_model
    persons = app.vault.persons()
    found: list[Ended] = []
    busy = {persons[each] for each in _just_opened(app) if each in persons}
    for borrower, person in persons.items():
        loans = model.loans(borrower=borrower)
        if any(loan.status not in OVER for loan in loans):
            busy.add(person)
        elif loans:
            events = [item for loan in loans for item in model.history(loan.id)]
            reminded = [
                item.timestamp
                for item in events
                if isinstance(item.event, NoticeServed) and item.event.kind.is_reminder
            ]
            years = _years_to_keep(app, {loan.terms.policy for loan in loans})
            last = max(item.timestamp for item in events)
            keep = None if years is None else _years_after(max(reminded, default=last), years)
            found.append(Ended(borrower, len(loans), last, keep))
    quiet = (each for each in found if persons[each.borrower] not in busy)
    return sorted(quiet, key=lambda each: (each.ended_at, each.borrower))


def _years_to_keep(app: "Application", policies: Iterable[int]) -> int | None:
    """The most years that a pack of these policies wants; None where none says."""
    years = []
    for number in policies:
        policy = app.read_model.policy(number)
        pack = pack_published(policy.pack) if policy else None
        if pack and pack.retention:
            years.append(pack.retention.records_years.value)
    return max(years, default=None)


def _years_after(moment: int, years: int) -> int:
    day = datetime.fromtimestamp(moment, UTC)
    try:
        later = day.replace(year=day.year + years)
    except ValueError:
        # The 29th of February: a day longer.
        later = day.replace(year=day.year + years, month=3, day=1)
    return int(later.timestamp())


def _just_opened(app: "Application") -> set[str]:
    """The borrowers of loans that were opened in blocks which were not read yet, not being final."""
    ledger, read = app.contracts.ledger.address, app.read_model.cursor().block.number
    with explained():
        head = int(app.w3.eth.block_number)
    found = (logs.decode(log) for log in logs.fetch(app.w3, [ledger], read + 1, head))
    return {event.terms.borrower for event in found if isinstance(event, LoanOpened | LoanAmended)}


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _moment(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
