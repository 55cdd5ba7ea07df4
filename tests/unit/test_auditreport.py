"""The report of an audit: written whole or not at all, and a page that can be read whatever it is about."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from story import HISTORY, INSTALMENT, LENDER, LOAN, MONDAY_BEFORE, OPENED, UPCOMING, logged_all

from duly.chain.deployments import Deployment
from duly.domain.audit import Audit
from duly.domain.consent import Channel
from duly.domain.errors import InvalidInput
from duly.domain.events import Block, Event, NoticeRefused
from duly.domain.grievance import FOREVER
from duly.domain.notice import Kind, Refusal
from duly.services import auditreport
from duly.services.audit import Audited
from duly.services.auditreport import Report, ReportWriter, in_words, local, policies_of
from duly.services.benchaudit import bench_audit, history
from duly.services.policy import load_pack

HERE = cast(
    Deployment,
    SimpleNamespace(
        chain_id=31_337,
        block=1,
        currency=SimpleNamespace(symbol="<T&D>", decimals=2),
        address_of=lambda name: "0x" + "c1" * 20,
    ),
)


def refused(reason: Refusal, required: int = 1_800_003_600) -> NoticeRefused:
    return NoticeRefused(LOAN, LENDER, Kind.OVERDUE, 1, Channel.EMAIL, reason, 1_800_000_000, required)


def written(folder: Path, *told: tuple[Event, int], **options: Any) -> Report:
    with ReportWriter(folder, HERE, **options) as writer:
        auditor = Audit(tell=writer.tell)
        for logged in logged_all([*HISTORY, *told]):
            auditor.see(logged)
        return finished(writer, auditor)


def finished(writer: ReportWriter, auditor: Audit) -> Report:
    audited = Audited(auditor, Block(9, b"\xab" * 32, MONDAY_BEFORE))
    report = Report(audited, policies_of(audited, [], bytes(32)), HERE, "All loans.")
    writer.finish(report)
    return report


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_what_broke_a_rule_stands_in_every_part(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    wrong = replace(UPCOMING, amount=INSTALMENT + 1)
    report = written(
        folder, (OPENED, MONDAY_BEFORE), (wrong, MONDAY_BEFORE - 1), (refused(Refusal.CEASED), MONDAY_BEFORE)
    )
    assert not report.clean
    opened, upcoming = rows(folder / "notices.csv")
    assert (opened["rules_broken"], opened["amount"], opened["currency"]) == ("", "10,000.00", "<T&D>")
    assert upcoming["rules_broken"] == "BASIS-1 HOURS-1"
    assert upcoming["local_time"] == "Mon 2027-01-11 08:59:59 -05:00"
    assert upcoming["local_time_other_offset"] == "Mon 2027-01-11 09:59:59 -04:00"
    assert [row["rule"] for row in rows(folder / "violations.csv")] == ["BASIS-1", "HOURS-1"]
    assert rows(folder / "refused.csv")[0]["reason_in_words"] == "the borrower stopped all contact"
    document = json.loads((folder / "report.json").read_text())
    assert (document["clean"], document["violations_in_all"]) == (False, 2)
    page = (folder / "report.html").read_text()
    assert "2 violations of 2 rules: BASIS-1, HOURS-1." in page
    assert "&lt;T&amp;D&gt;" in page
    assert "<T&D>" not in page


def test_the_page_shows_as_many_rows_as_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    with ReportWriter(folder, HERE) as writer:
        auditor = Audit(tell=writer.tell)
        for logged in history(20, 20):
            auditor.see(logged)
        assert finished(writer, auditor).clean
    assert len(rows(folder / "notices.csv")) == 1_200
    page = (folder / "report.html").read_text()
    assert "The first 500 of 1,200 notices; all are in <code>notices.csv</code>." in page
    assert page.count("<td>instalment upcoming<br>") < 500


def test_what_is_not_finished_leaves_nothing_and_what_is_there_stays(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    with pytest.raises(ZeroDivisionError), ReportWriter(folder, HERE):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []
    written(folder)
    before = (folder / "report.json").read_bytes()
    with pytest.raises(InvalidInput, match="exists"):
        ReportWriter(folder, HERE)
    with pytest.raises(ZeroDivisionError), ReportWriter(folder, HERE, replace=True):
        _ = 1 / 0
    assert (folder / "report.json").read_bytes() == before
    written(folder, (OPENED, MONDAY_BEFORE), replace=True)
    assert (folder / "report.json").read_bytes() != before
    assert [each.name for each in tmp_path.iterdir()] == ["report"]
    # Only a report is ever replaced.
    other = tmp_path / "precious"
    other.mkdir()
    with pytest.raises(InvalidInput, match="no report"):
        ReportWriter(other, HERE, replace=True)
    with pytest.raises(auditreport.ReportNotWritten):
        ReportWriter(tmp_path / "no" / "such", HERE)


@pytest.mark.parametrize("reason", [reason for reason in Refusal if reason])
def test_every_refusal_has_words_of_its_own(reason: Refusal) -> None:
    told = in_words(refused(reason))
    assert told != reason.name.lower().replace("_", " ")


def test_words_tell_moments_and_days() -> None:
    assert in_words(refused(Refusal.TOO_SOON)) == (
        "too soon after the one before: from 2027-01-15 09:00:00 UTC"
    )
    assert in_words(refused(Refusal.RESTING, FOREVER)) == "reminders rest while a grievance stands"
    early = replace(refused(Refusal.TOO_EARLY), actual=20_833, required=20_834)
    assert in_words(early) == "on 2027-01-15 it is too early: from 2027-01-16"
    assert local(1_800_000_000, -14) == "Fri 2027-01-15 04:30:00 -03:30"


def test_a_pack_that_a_policy_is_not_as_is_told() -> None:
    auditor = Audit()
    for logged in logged_all(HISTORY):
        auditor.see(logged)
    audited = Audited(auditor, Block(9, bytes(32), MONDAY_BEFORE))
    (unknown,) = policies_of(audited, [load_pack("US")], bytes(32))
    assert (unknown.pack, unknown.passed) == (None, True)
    (compared,) = policies_of(audited, [], bytes(32), load_pack("STRICT"))
    assert not compared.passed
    report = Report(audited, (compared,), HERE, "")
    assert not report.clean
    fields = {item.field for item in compared.deviations}
    assert {"pack hash", "templates hash"} < fields
    assert "looser than its pack" in auditreport.render(report, [], [])


def test_a_history_of_any_length_is_audited_in_the_same_memory() -> None:
    short, long = bench_audit(600, loans=10), bench_audit(6_000, loans=10)
    assert (short.loans, long.loans) == (10, 10)
    assert (short.notices, long.notices) == (600, 6_000)
    assert long.remembered == short.remembered
