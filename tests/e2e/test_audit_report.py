"""The report of an audit, as a supervisor gets it, and what the service's own records add to it."""

from __future__ import annotations

import csv
import json
import re

from sqlalchemy import update

from duly.chain.clock import travel
from duly.domain.consent import Channel
from duly.domain.notice import Kind, Notice
from duly.services import run
from duly.services.audit import Records, audit
from duly.services.index import Source
from duly.store.notices import deliveries_table


def lived(stage):
    """Three are told of their loans, two reminded; the third stops contact, and one notice is refused."""
    borrowers = stage.lend(3)
    assert run.round(stage.app).delivered.sent == 3
    (loan, *_) = stage.app.read_model.loans()
    travel(stage.w3, loan.terms.first_due * 86_400 - 36 * 3600)
    borrowers[2].sender.send(stage.contracts.consents.cease())
    assert run.round(stage.app).delivered.sent == 2
    wrong = Notice(loan.id, Kind.LOAN_REPAID, 0, 1, Channel.EMAIL, b"\x01" * 32)
    stage.app.sender.send(stage.contracts.notices.serve_many([wrong]))
    stage.app.indexer.run()
    return borrowers


def kinds(stage, served):
    stage.app.indexer.run()
    return [stage.app.read_model.notice(each).kind for each in served]


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_report_in_one_folder(stage, tmp_path):
    borrowers = lived(stage)
    folder = tmp_path / "report"
    told = stage.duly("audit", "--service", "--pack", "strict", "--report", str(folder))
    assert told["clean"]
    assert (told["notices"], told["loans"], told["violations"]) == (5, 3, [])
    assert json.loads((folder / "report.json").read_text()) == told
    assert told["service"]["deliveries"] == {"sent": 5}
    assert told["service"]["contacts_as_on_chain"] == 3
    (policy,) = told["policies"]
    assert (policy["pack"], policy["as_the_pack_says"], policy["deviations"]) == ("STRICT", True, [])
    verdicts = {rule["rule"]: rule for rule in told["rules"]}
    assert verdicts["CAP-1"]["from"] == "the chain, the service's database and the vault's index"
    assert verdicts["USURY-1"]["from"] == "the chain alone"
    assert verdicts["WORDS-1"]["from"] == "not checked"
    assert (verdicts["CAP-1"]["held_against"], verdicts["GATE-2"]["held_against"]) == (2, 5)

    notices = rows(folder / "notices.csv")
    assert [row["kind"] for row in notices] == ["loan_opened"] * 3 + ["instalment_upcoming"] * 2
    assert notices[0]["local_time"].endswith("+00:00")
    assert notices[3]["basis"].startswith("instalment 1 of 12, due on ")
    assert {row["rules_broken"] for row in notices} == {""}
    (refused,) = rows(folder / "refused.csv")
    assert refused["reason_in_words"] == "the ledger gives no ground to say this"
    assert rows(folder / "violations.csv") == []

    page = (folder / "report.html").read_text()
    assert "No rule was broken" in page
    assert "All 5 notices." in page
    assert not re.search(r"<script|https?://(?!www\.w3\.org)|url\(|@import|\bsrc=", page)
    everything = "".join(file.read_text() for file in folder.iterdir())
    for one in borrowers:
        assert one.address not in everything
    assert "example.org" not in everything

    # A folder is replaced only where that is said, and a failed one leaves nothing.
    assert "exists" in stage.duly("audit", "--report", str(folder), code=2)
    assert not stage.duly("audit", "--report", str(folder), "--force")["service"]
    assert "no policy 7" in stage.duly("audit", "--policy", "7", "--report", str(tmp_path / "none"), code=2)
    assert sorted(
        each.name for each in tmp_path.iterdir() if "report" in each.name or "none" in each.name
    ) == ["report"]


def test_what_the_records_say_otherwise_is_found(stage):
    lived(stage)
    store, vault = stage.app.notice_store, stage.app.vault
    first, second, third, *_ = stage.app.read_model.notices()

    def broken(**changes):
        with stage.app.read_model.engine.begin() as connection:
            for notice, values in changes.items():
                which = {"first": first, "second": second, "third": third}[notice]
                connection.execute(
                    update(deliveries_table).where(deliveries_table.c.notice == which.id).values(**values)
                )
        found = audit(stage.w3, Source.of(stage.app.deployment), records=Records(store, vault))
        return sorted(violation.rule for violation in found.audit.findings.violations)

    assert broken() == []
    assert broken(first={"at": first.timestamp + 10 * 3600}) == ["HOURS-1"]
    assert broken(first={"at": first.timestamp + 86_400}) == ["HOURS-1"]
    assert broken(first={"at": first.timestamp}, second={"content_hash": b"\x01" * 32}) == ["GATE-1"]
    # Sent, but there is no such notice: it was reorganised away.
    assert broken(second={"content_hash": second.content_hash, "notice": b"\x02" * 32}) == ["GATE-1"]


def test_cap_1_a_person_at_two_addresses_is_found_with_the_vaults_index(stage):
    one, other = stage.lend(2)
    consents, vault = stage.contracts.consents, stage.app.vault
    stage.app.indexer.run()
    (loan, *_) = stage.app.read_model.loans()
    travel(stage.w3, loan.terms.first_due * 86_400 - 36 * 3600)
    # One after the other: for all that is known they are two persons.
    other.sender.send(consents.revoke(Channel.EMAIL))
    assert Kind.INSTALMENT_UPCOMING in kinds(stage, run.round(stage.app).served.served)
    travel(stage.w3, stage.app.clock.now() + 60)
    other.sender.send(consents.grant(Channel.EMAIL))
    assert Kind.INSTALMENT_UPCOMING in kinds(stage, run.round(stage.app).served.served)
    without = audit(stage.w3, Source.of(stage.app.deployment)).audit.findings
    assert not without.broken
    vault.add(other.sender.address, Channel.SMS, "+4915112345678")
    vault.add(one.sender.address, Channel.SMS, "+4915112345678")
    found = audit(stage.w3, Source.of(stage.app.deployment), records=Records(stage.app.notice_store, vault))
    assert set(found.audit.findings.broken) == {"CAP-1"}
