"""An audit as a report: a page for people, tables for spreadsheets, JSON for programs, in one folder.

    report.html     the verdict on every rule, violations, notices and refusals; as many rows as can be read
    report.json     the same without the rows
    notices.csv     every notice, as it comes: a row each
    refused.csv     every notice that the gate skipped, with the reason in words
    violations.csv  everything that broke a rule

Rows are written as the audit comes to them, so that it takes no memory how many there are. The folder appears
when all of it is written, or not at all.
"""

import csv
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Self, TextIO

import orjson
from jinja2 import DictLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from duly.chain import networks
from duly.chain.deployments import Deployment
from duly.domain import calendar
from duly.domain.amounts import in_currency
from duly.domain.audit import MOST_KEPT, RULES, Basis, Findings, Found, Refused, Row, Rule, Violation
from duly.domain.errors import DulyError, InvalidInput
from duly.domain.events import NoticeRefused
from duly.domain.grievance import FOREVER
from duly.domain.notice import Refusal
from duly.domain.pack import PolicyPack
from duly.domain.replay import Policy
from duly.services.audit import Audited
from duly.services.policycheck import Deviation, deviations

SHOWN: Final = 500
"""Rows of notices, and of refusals, that the page shows; the tables have all."""

_NOTICES: Final = (
    "time_utc", "local_time", "local_time_other_offset", "block", "transaction", "notice", "loan", "policy",
    "borrower", "server", "kind", "instalment", "amount", "currency", "channel", "content_hash",
    "reminders_24h_before", "reminders_7d_before", "seconds_since_last_reminder", "other_notices_24h_before",
    "consent", "basis", "in_one_message_with_the_one_before", "rules_broken",
)  # fmt: skip
_REFUSED: Final = (
    "time_utc", "local_time", "block", "transaction", "loan", "server", "kind", "instalment", "channel",
    "reason", "reason_in_words", "actual", "required",
)  # fmt: skip
_VIOLATIONS: Final = ("rule", "time_utc", "block", "about", "notice", "loan", "was", "wanted")


class ReportNotWritten(DulyError):
    """The report could not be written."""


@dataclass(frozen=True, slots=True)
class PolicyFound:
    """A policy that was reported on, the pack that it is from, where that is known, and how they differ."""

    policy: Policy
    pack: PolicyPack | None
    deviations: tuple[Deviation, ...]

    @property
    def passed(self) -> bool:
        """It is what its pack says, or tighter; or nobody knows its pack."""
        return all(item.allowed for item in self.deviations)

    @property
    def name(self) -> str:
        """The pack's, or that it is not known."""
        return self.pack.name if self.pack else "unknown pack"

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "policy": self.policy.number,
            "pack": self.pack.name if self.pack else None,
            "pack_hash": "0x" + self.policy.pack.hex(),
            "templates_hash": "0x" + self.policy.templates.hex(),
            "as_the_pack_says": self.passed if self.pack else None,
            "deviations": [
                {"field": item.field, "chain": item.chain, "pack": item.pack, "tightened": item.allowed}
                for item in self.deviations
            ],
        }


def policies_of(
    audited: Audited, packs: Sequence[PolicyPack], templates: bytes, pack: PolicyPack | None = None
) -> tuple[PolicyFound, ...]:
    """The policies that were reported on, each beside its pack: the one that was asked for, else that of its
    hash. templates: the hash of those that are here.
    """
    by_hash = {each.pack_hash: each for each in packs}
    found = []
    for policy in audited.audit.policies:
        its = pack or by_hash.get(policy.pack)
        differences = tuple(deviations(policy, its, templates)) if its else ()
        found.append(PolicyFound(policy, its, differences))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found, of what, and in which words.

    scope: which loans were looked at, in words.
    """

    audited: Audited
    policies: tuple[PolicyFound, ...]
    deployment: Deployment
    scope: str

    @property
    def findings(self) -> Findings:
        return self.audited.audit.findings

    @property
    def clean(self) -> bool:
        """No rule was broken, and no policy is looser than its pack."""
        return not self.findings.broken and all(policy.passed for policy in self.policies)

    @property
    def given(self) -> set[Basis]:
        """What there was beside the contracts' events."""
        audited = self.audited
        service = {Basis.SERVICE} if audited.records else set()
        return service | ({Basis.TOKENS} if audited.tokens else set())

    def checked(self, rule: Rule) -> int:
        """How many notices, events or mails a rule was held against."""
        if rule.per == "mails" and self.audited.records:
            return self.audited.records.mails
        return self.findings.checked(rule.id)

    def as_json(self) -> dict[str, Any]:
        """For programs: all but the rows of notices and refusals."""
        findings, records = self.findings, self.audited.records
        upto = self.audited.upto
        service = records and {
            "deliveries": {str(state): count for state, count in sorted(records.states.items())},
            "dropped": dict(sorted(records.drops.items())),
            "contacts_as_on_chain": records.contacts[True],
            "contacts_not_as_on_chain": records.contacts[False],
        }
        return {
            "clean": self.clean,
            "scope": self.scope,
            "chain": self.deployment.chain_id,
            "ledger": self.deployment.address_of("LoanLedger"),
            "from_block": self.deployment.block,
            "to_block": upto.number,
            "to_block_hash": "0x" + upto.hash.hex(),
            "to_time": upto.timestamp,
            "events": findings.events,
            "loans": findings.loans,
            "notices": findings.notices,
            "served": {kind.name.lower(): count for kind, count in sorted(findings.served.items())},
            "refused": {reason.name.lower(): count for reason, count in sorted(findings.refused.items())},
            "rules": [
                {
                    "rule": rule.id,
                    "from": rule.basis(self.given).value,
                    "held_against": self.checked(rule),
                    "violations": findings.broken[rule.id],
                    "checked": rule.what(self.given) or None,
                    "not_checked": rule.left(self.given) or None,
                }
                for rule in RULES
            ],
            "policies": [policy.as_json() for policy in self.policies],
            "service": service,
            "violations_in_all": findings.broken.total(),
            "violations": [violation_as_json(violation) for violation in findings.violations],
        }


def violation_as_json(violation: Violation) -> dict[str, object]:
    """For programs."""
    return {
        "rule": violation.rule,
        "about": violation.what,
        "notice": _hash(violation.notice) or None,
        "loan": _hash(violation.loan) or None,
        "block": violation.block,
        "timestamp": violation.timestamp,
        "was": violation.was,
        "wanted": violation.wanted,
    }


# ---------------------------------------------------------------------------------------- writing


class ReportWriter:
    """Writes a report into a folder that is not there yet, or is to be replaced.

    As a context manager: what is not finished leaves nothing.

    Raises: InvalidInput, where the folder is there; ReportNotWritten.
    """

    def __init__(self, folder: Path, deployment: Deployment, *, replace: bool = False) -> None:
        if folder.exists() and not replace:
            raise InvalidInput(f"{folder} exists", wanted="another folder, or --force")
        if folder.exists() and not (folder / "report.json").is_file():
            raise InvalidInput(f"{folder} is there and holds no report", wanted="another folder")
        self.folder = folder
        self._currency = deployment.currency
        self.rows: list[Row] = []
        self.refused: list[Refused] = []
        self._files: list[TextIO] = []
        try:
            self._draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
            self._notices = self._table("notices.csv", _NOTICES)
            self._refusals = self._table("refused.csv", _REFUSED)
            self._violations = self._table("violations.csv", _VIOLATIONS)
        except OSError as error:
            raise _not_written(folder, error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()
        shutil.rmtree(self._draft, ignore_errors=True)

    def _table(self, name: str, columns: Sequence[str]) -> Callable[[Sequence[object]], Any]:
        file = (self._draft / name).open("w", encoding="utf-8", newline="")
        self._files.append(file)
        write = csv.writer(file, lineterminator="\n").writerow
        write(columns)
        return write

    def tell(self, found: Found) -> None:
        """Write a row for what the audit came to.

        Raises: ReportNotWritten.
        """
        try:
            if isinstance(found, Row):
                self._notices(_notice_cells(found, self._currency.symbol, self._currency.decimals))
                if len(self.rows) < SHOWN:
                    self.rows.append(found)
            elif isinstance(found, Refused):
                self._refusals(_refused_cells(found))
                if len(self.refused) < SHOWN:
                    self.refused.append(found)
            else:
                self._violations(_violation_cells(found))
        except OSError as error:
            raise _not_written(self.folder, error) from None

    def finish(self, report: Report) -> None:
        """Write the page and the JSON, and put the folder in its place.

        Raises: ReportNotWritten.
        """
        try:
            for file in self._files:
                file.close()
            document = orjson.dumps(_small(report.as_json()), option=orjson.OPT_INDENT_2)
            (self._draft / "report.json").write_bytes(document + b"\n")
            page = render(report, self.rows, self.refused)
            (self._draft / "report.html").write_text(page, encoding="utf-8")
            os.chmod(self._draft, 0o755)
            if self.folder.exists():
                old = Path(tempfile.mkdtemp(dir=self.folder.parent, prefix=f".{self.folder.name}."))
                os.replace(self.folder, old / "old")
                os.replace(self._draft, self.folder)
                shutil.rmtree(old)
            else:
                os.replace(self._draft, self.folder)
        except OSError as error:
            raise _not_written(self.folder, error) from None


def _not_written(folder: Path, error: OSError) -> ReportNotWritten:
    return ReportNotWritten(f"{folder} cannot be written: {error.strerror or error}")


def _small(value: Any) -> Any:
    """The same with whole numbers of more than 64 bits as text, which JSON's readers would round."""
    if isinstance(value, dict):
        return {key: _small(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_small(each) for each in value]
    return str(value) if isinstance(value, int) and abs(value) >= 2**63 else value


# ---------------------------------------------------------------------------------------- cells


def _hash(value: bytes | None) -> str:
    return "0x" + value.hex() if value else ""


def utc(moment: int) -> str:
    """A moment as 2027-01-15 12:00:00."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}"


def local(moment: int, offset: int) -> str:
    """The same on a borrower's clock, with the weekday and the offset (in quarter hours)."""
    there = datetime.fromtimestamp(moment, UTC).astimezone(timezone(timedelta(minutes=15 * offset)))
    zone = f"{there:%z}"
    return f"{there:%a %Y-%m-%d %H:%M:%S} {zone[:3]}:{zone[3:]}"


def _notice_cells(row: Row, symbol: str, decimals: int) -> tuple[object, ...]:
    logged, notice = row.logged, row.notice
    standard, other = row.offsets
    return (
        utc(logged.timestamp),
        local(logged.timestamp, standard),
        local(logged.timestamp, other) if other != standard else "",
        logged.block_number,
        "0x" + logged.transaction_hash.hex(),
        "0x" + notice.id.hex(),
        "0x" + notice.loan.hex(),
        row.policy or "",
        notice.borrower,
        notice.server,
        notice.kind.name.lower(),
        notice.instalment or "",
        in_currency(notice.amount, decimals) if notice.amount else "",
        symbol if notice.amount else "",
        notice.channel.name.lower(),
        "0x" + notice.content_hash.hex(),
        row.reminders_day,
        row.reminders_week,
        "" if row.since_last is None else row.since_last,
        row.services_day,
        row.consent,
        row.basis,
        "yes" if row.joined else "",
        " ".join(dict.fromkeys(row.broken)),
    )


def _refused_cells(refused: Refused) -> tuple[object, ...]:
    logged, event = refused.logged, refused.event
    return (
        utc(logged.timestamp),
        local(logged.timestamp, refused.offsets[0]),
        logged.block_number,
        "0x" + logged.transaction_hash.hex(),
        "0x" + event.loan.hex(),
        event.server,
        event.kind.name.lower(),
        event.instalment or "",
        event.channel.name.lower(),
        event.reason.name.lower(),
        in_words(event),
        event.actual,
        event.required,
    )


def _violation_cells(violation: Violation) -> tuple[object, ...]:
    return (
        violation.rule,
        utc(violation.timestamp),
        violation.block,
        violation.what,
        _hash(violation.notice),
        _hash(violation.loan),
        violation.was,
        violation.wanted,
    )


def in_words(event: NoticeRefused) -> str:
    """Why the gate skipped a notice."""
    actual, required = event.actual, event.required
    channel = event.channel.label

    def moment(seconds: int) -> str:
        return "nothing else ends it" if seconds >= FOREVER else utc(seconds) + " UTC"

    def day(number: int) -> str:
        return calendar.iso(number) if number < 2**24 else str(number)

    match event.reason:
        case Refusal.UNKNOWN_LOAN:
            return "there is no such loan"
        case Refusal.NOT_SERVER:
            return f"who served is neither the loan's lender, 0x{required:040x}, nor its servicer"
        case Refusal.NO_BASIS:
            return "the ledger gives no ground to say this"
        case Refusal.WRONG_INSTALMENT:
            return f"it names instalment {actual}, the ledger {required}"
        case Refusal.ALREADY_SAID:
            return "it was said before"
        case Refusal.TOO_EARLY:
            return f"on {day(actual)} it is too early: from {day(required)}"
        case Refusal.TOO_LATE:
            return f"on {day(actual)} it is too late: until {day(required)}"
        case Refusal.WRONG_AMOUNT:
            return f"it names {actual} smallest units, the ledger {required}"
        case Refusal.NO_CONTACT:
            return f"no contact is registered for {channel}"
        case Refusal.CEASED:
            return "the borrower stopped all contact"
        case Refusal.NO_CONSENT:
            return f"no consent to {channel} is in force"
        case Refusal.NOT_TOLD_OF_ASSIGNMENT:
            return "the borrower was not told of the new lender yet"
        case Refusal.RESTING:
            rest = "while a grievance stands" if required >= FOREVER else f"until {moment(required)}"
            return f"reminders rest {rest}"
        case Refusal.OUTSIDE_HOURS:
            return f"outside the borrower's hours: from {moment(required)}"
        case Refusal.TOO_SOON:
            return f"too soon after the one before: from {moment(required)}"
        case Refusal.DAY_CAP:
            return f"enough reminders in 24 hours: from {moment(required)}"
        case Refusal.WEEK_CAP:
            return f"enough reminders in 7 days: from {moment(required)}"
        case Refusal.SERVICE_CAP:
            return f"enough notices about the loan in 24 hours: from {moment(required)}"
    return event.reason.name.lower().replace("_", " ")


# ---------------------------------------------------------------------------------------- the page


def render(report: Report, rows: Sequence[Row], refused: Sequence[Refused]) -> str:
    """The page: one file that asks nothing of any other, and runs nothing."""
    currency = report.deployment.currency

    def money(units: int) -> str:
        return f"{in_currency(units, currency.decimals)} {currency.symbol}" if units else ""

    return _environment().get_template("report.html").render(
        report=report,
        findings=report.findings,
        records=report.audited.records,
        upto=report.audited.upto,
        rules=RULES,
        rows=rows,
        refused=refused,
        most_kept=MOST_KEPT,
        chain=networks.chain_name(report.deployment.chain_id),
        version=version("duly"),
        utc=utc,
        local=local,
        words=lambda name: name.lower().replace("_", " "),
        in_words=in_words,
        money=money,
        span=_span,
        not_checked=Basis.NOTHING,
    )  # fmt: skip


def _span(seconds: int | None) -> str:
    """Seconds as people say them: 3 d 4 h."""
    if seconds is None:
        return "none"
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    folder = files("duly") / "templates/audit"
    return ImmutableSandboxedEnvironment(
        loader=DictLoader({file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
