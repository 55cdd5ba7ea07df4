"""The rules and the tests that hold them do not drift apart."""

import re
from collections import defaultdict
from pathlib import Path

from duly.domain.audit import RULES

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| ([A-Z]+)-(\d) \| .* \| ([a-z0-9, ]+) \|$", re.MULTILINE)
TEST = re.compile(r"def test_([a-z]+)_(\d)_\w+")
PREFIXES = {"borrower", "gate", "server", "hours", "cap", "consent", "pause", "basis", "terms", "ledger"}
PREFIXES |= {"fees", "usury", "cool", "priv", "words"}


def rules() -> dict[str, set[str]]:
    """The rules of the document, each with the suites it says that it is tested in."""
    text = (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8")
    return {f"{name}-{number}": set(suites.split(", ")) for name, number, suites in ROW.findall(text)}


def holding() -> dict[str, set[str]]:
    """The rules that names of tests begin with, each with the suites that hold them."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for file in (ROOT / "tests").rglob("test_*.py"):
        suite = file.relative_to(ROOT / "tests").parts[0]
        for name, number in TEST.findall(file.read_text(encoding="utf-8")):
            if name in PREFIXES:
                found[f"{name.upper()}-{number}"].add(suite)
    return found


def test_every_rule_is_held_where_the_document_says():
    held = holding()
    missing = {rule: suites - held[rule] for rule, suites in rules().items() if suites - held[rule]}
    assert not missing
    assert len(rules()) >= 21


def test_no_test_holds_a_rule_that_is_not_written_down():
    assert set(holding()) <= set(rules())


def test_an_audit_speaks_of_every_rule() -> None:
    assert [rule.id for rule in RULES] == list(rules())
