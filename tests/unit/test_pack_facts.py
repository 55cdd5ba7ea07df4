"""Every rule with a number that was found stands in a pack, as it was found.

The table is this repository's own record. Where the notes that it was made from lie beside the repository,
they are read as well, so that neither can change without the other.
"""

import re
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path

import pytest

from duly.domain.pack import Money
from duly.services.policy import load_pack, pack_names

V, S, U = "verified", "secondary", "unverified"
NOTES = Path(__file__).resolve().parents[3] / "shared/research/regulation.md"
WORKING_WEEK = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")


@dataclass(frozen=True)
class Rule:
    """A rule that was found, under the heading it is noted under, and where its numbers stand.

    says: the numbers, in the order in which the rule says them. facts: by pack and path, with value and
    status.
    """

    area: str
    key: str
    says: str
    facts: tuple[tuple[str, str, object, str], ...]


def rule(area: str, key: str, says: str, *facts: tuple[str, str, object, str]) -> Rule:
    return Rule(area, key, says, facts)


RULES = [
    rule(
        "CN",
        "standard",
        "45251-2025 2025-02-28",
        ("CN", "duties.collection_standard.since", date(2025, 2, 28), V),
    ),
    rule(
        "CN",
        "quiet hours",
        "22:00-08:00",
        ("CN", "contact.opens", time(8), S),
        ("CN", "contact.closes", time(22), S),
    ),
    rule("CN", "voice cap", "3", ("CN", "channels.voice.effective_per_day", 3, S)),
    rule("CN", "unanswered attempts", "6", ("CN", "channels.voice.unanswered_per_day", 6, S)),
    rule(
        "CN",
        "NIFA convention 2018",
        "2018-03-28",
        ("CN", "duties.industry_convention.since", date(2018, 3, 28), S),
    ),
    rule(
        "CN",
        "rate cap, private lending",
        "4 2020-08-20 3.85 15.4",
        ("CN", "price.private_lending.multiple", 4, S),
        ("CN", "price.private_lending.since", date(2020, 8, 20), S),
        ("CN", "price.private_lending.reference_rate_then", 38_500, S),
        ("CN", "price.private_lending.cap_then", 154_000, S),
    ),
    rule("CN", "rate line, micro-lenders and assisted lending", "24", ("CN", "lending.apr_cap", 240_000, S)),
    rule(
        "CN",
        "LPR now",
        "3.0 12.0",
        ("CN", "price.private_lending.reference_rate", 30_000, U),
        ("CN", "price.private_lending.cap", 120_000, U),
    ),
    rule("CN", "disclosure", "2026-08-01", ("CN", "duties.cost_table.since", date(2026, 8, 1), S)),
    rule(
        "US",
        "quiet hours",
        "08:00 21:00",
        ("US", "contact.opens", time(8), V),
        ("US", "contact.closes", time(21), V),
    ),
    rule(
        "US",
        "call cap",
        "7 7 7",
        ("US", "channels.voice.per_week_per_loan", 7, V),
        ("US", "channels.voice.rest_days_after_conversation", 7, V),
    ),
    rule(
        "US",
        "validation",
        "30 5",
        ("US", "duties.validation_notice.right_days", 30, V),
        ("US", "duties.validation_notice.within_days", 5, V),
    ),
    rule("US", "record retention", "3", ("US", "retention.records_years", 3, V)),
    rule("US", "military borrowers", "36", ("US", "price.military.apr_cap", 360_000, V)),
    rule(
        "US",
        "APR tolerance",
        "1/8 1/4",
        ("US", "price.tolerance.regular", 1_250, V),
        ("US", "price.tolerance.irregular", 2_500, V),
    ),
    rule(
        "US",
        "Massachusetts",
        "2 7",
        ("US-MA", "contact.per_week", 2, V),
        ("US-MA", "channels.voice.per_week", 2, V),
        ("US-MA", "channels.sms.per_week", 2, V),
    ),
    rule("EU", "withdrawal", "14", ("EU", "lending.cooling_off_days", 14, U)),
    rule(
        "EU",
        "GR hours",
        "09:00-20:00",
        ("GR", "contact.opens", time(9), S),
        ("GR", "contact.weekdays", WORKING_WEEK, S),
        ("GR", "hours.opens", time(9), S),
        ("GR", "hours.closes", time(20), S),
        ("GR", "hours.weekdays", WORKING_WEEK, S),
        ("GR", "holidays.weekends", True, S),
    ),
    rule(
        "EU",
        "GR cap",
        "1 2 10",
        ("GR", "contact.gap", 2 * 86_400, S),
        ("GR", "contact.overdue_days", 11, S),
    ),
    rule(
        "GB",
        "high-cost short-term credit",
        "0.8 15 100",
        ("GB", "price.high_cost.daily_cost_cap", 8_000, V),
        ("GB", "price.high_cost.default_fee_cap", Money(amount=1_500, currency="GBP"), V),
        ("GB", "price.high_cost.total_cost_cap", 1_000_000, V),
    ),
    rule(
        "GB",
        "withdrawal",
        "14 30",
        ("GB", "lending.cooling_off_days", 14, V),
        ("GB", "duties.repayment_after_withdrawal.right_days", 30, S),
    ),
    rule(
        "GB",
        "arrears notice",
        "14 6",
        ("GB", "duties.arrears_notice.missed_payments", 2, V),
        ("GB", "duties.arrears_notice.within_days", 14, V),
        ("GB", "duties.arrears_notice.every_months", 6, V),
    ),
    rule(
        "GB",
        "Breathing Space",
        "60",
        ("GB", "grievances.hardship.lasts_days", 60, S),
        ("GB", "grievances.hardship.fees_rest", True, V),
        ("GB", "grievances.hardship.interest_rests", True, V),
    ),
    rule(
        "IN",
        "hours",
        "08:00-19:00",
        ("IN", "contact.opens", time(8), S),
        ("IN", "contact.closes", time(19), S),
    ),
    rule(
        "IN",
        "microfinance hours",
        "09:00-18:00",
        ("IN-MFI", "contact.opens", time(9), S),
        ("IN-MFI", "contact.closes", time(18), S),
    ),
    rule("IN", "cooling-off", "1", ("IN", "lending.cooling_off_days", 1, S)),
    rule("IN", "grievance", "30", ("IN", "duties.answer_to_complaint.within_days", 30, S)),
    rule(
        "IN",
        "key fact statement",
        "3 7",
        ("IN", "duties.key_fact_statement.valid_working_days", 3, S),
        ("IN", "duties.key_fact_statement.from_tenor_days", 7, S),
    ),
    # Without numbers, but somebody has to act on them.
    rule("US", "dispute", "", ("US", "grievances.dispute.scope", "loan", V)),
    rule("US", "attorney", "", ("US", "grievances.representation.scope", "borrower", V)),
    rule("GB", "dispute", "", ("GB", "grievances.dispute.scope", "loan", V)),
]
FACTS = [fact for found in RULES for fact in found.facts]


@pytest.mark.parametrize(("pack", "path", "value", "status"), FACTS, ids=lambda item: str(item)[:40])
def test_the_pack_says_what_the_rule_says(pack, path, value, status):
    entry = load_pack(pack).entries()[path]
    assert (entry.found.value, entry.found.status) == (value, status)


def test_a_pack_says_nothing_that_no_rule_says():
    """Save what is chosen, what an overlay has from its base, and words, which are no numbers."""
    known = {(pack, path) for pack, path, _, _ in FACTS}
    for name in pack_names():
        pack = load_pack(name)
        below = load_pack(pack.extends).entries() if pack.extends else {}
        for path, entry in pack.entries().items():
            inherited = path in below and below[path].found == entry.found
            said = inherited or path.startswith("words.") or (name, path) in known
            assert entry.found.status == "chosen" or said, (name, path)


# ---------------------------------------------------------------------------------- the notes, where they are

AREAS = {"China": "CN", "United States": "US", "European Union": "EU", "United Kingdom": "GB", "India": "IN"}
NUMBER = re.compile(r"\d[\d:/.-]*(?<=\d)")


def noted() -> list[tuple[str, str, str, str]]:
    """The rows of the notes' tables: area, key, value, status; the last column holds the status."""
    area, rows = "", []
    for line in NOTES.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            area = next((code for name, code in AREAS.items() if line[3:].startswith(name)), "")
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if area and line.startswith("|") and len(cells) == 4 and not set(cells[0]) <= set("-"):
            rows.append((area, cells[0], cells[1], cells[3]))
    return [row for row in rows if row[1] != "key"]


notes = pytest.mark.skipif(not NOTES.exists(), reason="the notes are no part of the repository")


@notes
def test_every_noted_rule_with_a_number_stands_in_the_table():
    table = {(found.area, found.key): found.says for found in RULES}
    rows = noted()
    assert len(rows) > 50
    for area, key, value, status in rows:
        numbers = NUMBER.findall(value)
        if numbers and status != "R":
            assert table.get((area, key)) == " ".join(numbers), (area, key, value)


@notes
def test_every_rule_of_the_table_is_noted_and_known_as_well_as_it_says():
    rows = {(area, key): (value, status) for area, key, value, status in noted()}
    marks = {V: "VP", S: "VS", U: "R"}
    for found in RULES:
        value, status = rows[found.area, found.key]
        assert " ".join(NUMBER.findall(value)) == found.says, found.key
        for _, path, _, known in found.facts:
            # A mark beside a number is about that number; "date VS" about a date.
            assert marks[known] in re.split(r"[^A-Z]+", status), path
