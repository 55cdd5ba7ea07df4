"""The key-fact statement: that it tells what the ledger will do, and that nothing else can pass for it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from itertools import product
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
from eth_abi.abi import decode, encode
from eth_hash.auto import keccak
from pypdf import PdfReader
from scene import LENDER, borrower, day, moment

from duly.chain import offers
from duly.domain import apr, calendar, schedule
from duly.domain.amounts import in_currency
from duly.domain.disclosure import key_facts, last_day_to_open
from duly.domain.errors import (
    AprAboveCap,
    DulyError,
    FirstDueTooEarly,
    GraceTooShort,
    InvalidInput,
    InvalidTerms,
    NotInDefault,
)
from duly.domain.policy import AprConvention
from duly.domain.terms import Frequency, Schedule, Terms
from duly.services import termsfile
from duly.services.disclose import Basis, Statement, disclose, verify
from duly.services.pdf import MissingGlyphs
from duly.services.policy import load_pack
from duly.services.render import UnknownLocale
from duly.services.templates import LOCALES

PACK = load_pack("STRICT")
LIMITS, CONTACT = PACK.lending_limits, PACK.contact_limits
XHTML = "{http://www.w3.org/1999/xhtml}"
SHAPES = list(product(Schedule, Frequency))


def some_terms(**changes: object) -> Terms:
    """36 monthly instalments of 10,000.00 at 11.22 %, with fees, in Shanghai."""
    terms = {
        "lender": LENDER,
        "borrower": borrower(1),
        "principal": 1_000_000,
        "origination_fee": 15_000,
        "late_fee": 1_000,
        "rate": 112_200,
        "instalments": 36,
        "first_due": day("2027-01-31"),
        "calendar_offset": 32,
        "grace_days": 10,
        "policy": 7,
        "expires": moment("2026-12-30 23:59:59"),
        "salt": bytes(range(32)),
    }
    return Terms(**(terms | changes))  # type: ignore[arg-type]


def of_shape(kind: Schedule, frequency: Frequency) -> Terms:
    """Terms that every schedule and frequency makes a loan of."""
    return some_terms(
        schedule=kind, frequency=frequency, instalments=6, late_fee=100, expires=moment("2026-10-31 23:59:59")
    )


TERMS = some_terms()


def basis_for(terms: Terms, **changes: object) -> Basis:
    basis = Basis(lending=LIMITS, contact=CONTACT, opened=last_day_to_open(terms), symbol="USDC", decimals=2)
    return replace(basis, **changes)  # type: ignore[arg-type]


def stated(terms: Terms = TERMS, locale: str = "en", **changes: object) -> Statement:
    return disclose(terms, basis_for(terms, **changes), locale)


def tree(statement: Statement) -> Element:
    return ElementTree.fromstring(statement.html)


def words(statement: Statement) -> str:
    """What a reader sees, in one line."""
    body = tree(statement).find(f"{XHTML}body")
    assert body is not None
    return " ".join(" ".join(body.itertext()).split())


def facts_told(statement: Statement) -> dict[str, str]:
    """The tables of names and values; names in two tables are told by the first."""
    told: dict[str, str] = {}
    for row in tree(statement).iter(f"{XHTML}tr"):
        cells = ["".join(cell.itertext()) for cell in row]
        if len(cells) == 2:
            told.setdefault(*cells)
    return told


def schedule_told(statement: Statement) -> list[list[str]]:
    """The cells of the schedule's rows."""
    rows = [["".join(cell.itertext()) for cell in row] for row in tree(statement).iter(f"{XHTML}tr")]
    return [row for row in rows if len(row) == 6][1:]


# ---------------------------------------------------------------------------------------- what it tells


def test_the_facts_of_a_loan() -> None:
    told = facts_told(stated())
    assert told == told | {
        "The offer can be accepted until": "30 December 2026 23:59:59 (UTC+8)",
        "Policy whose limits bind the loan": "number 7",
        "Amount of the loan (principal)": "10,000.00 USDC",
        "Origination fee, which the lender keeps of it": "150.00 USDC",
        "You receive (amount financed)": "9,850.00 USDC",
        "Interest rate, nominal, fixed for the whole term": "11.22 % a year",
        "Interest in all": "1,823.48 USDC",
        "Cost of the loan: interest and fee (finance charge)": "1,973.48 USDC",
        "You pay back in all (total of payments)": "11,823.48 USDC",
        "Each instalment": "328.43 USDC",
        "The first is due on": "31 January 2027",
        "The last is due on": "31 December 2029",
    }
    assert told["Lender"].lower() == LENDER
    assert told["Borrower"].lower() == borrower(1)
    text = words(stated())
    for line in (
        "within 10 days after its due day costs one late fee of 10.00 USDC, for the first instalment from "
        "11 February 2027 on",
        "the late fees would come to 360.00 USDC",
        "overdue for 90 days, the lender may mark the loan as in default; for the first instalment that is "
        "on 1 May 2027",
        "For 14 days after the day of opening, so until 13 January 2027",
        "at most 3.03 USDC for each day; on the last day that is at most 42.39 USDC, together 9,892.39 USDC",
        "from Monday to Friday, between 09:00 and 19:00 where you live, at most 1 in 24 hours and 2 in 7 d",
        "annual percentage rate (nominal, fees included) is above 36 %",
    ):
        assert line in text


def test_the_facts_in_chinese() -> None:
    told = facts_told(stated(locale="zh"))
    assert told == told | {
        "接受本要约的截止时间": "2026年12月30日 23:59:59（UTC+8）",
        "贷款本金": "10,000.00 USDC",
        "您实际收到（融资金额）": "9,850.00 USDC",
        "您总共偿还（还款总额）": "11,823.48 USDC",
        "还款方式": "分 36 期，每月一期",
    }
    text = words(stated(locale="zh"))
    assert "到期日后 10 天仍未付清的，收取一次逾期费 10.00 USDC，第一期即自2027年2月11日起" in text
    assert "周一至周五、您所在地的 09:00 至 19:00" in text


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize(("kind", "frequency"), SHAPES)
def test_every_figure_is_the_schedules(kind: Schedule, frequency: Frequency, locale: str) -> None:
    terms = of_shape(kind, frequency)
    statement = stated(terms, locale)
    rows = list(schedule.schedule_of(terms))
    total = sum(row.amount for row in rows)

    def money(units: int) -> str:
        return in_currency(units, 2)

    assert schedule_told(statement) == [
        [
            str(number),
            calendar.iso(row.due_day),
            *map(money, (row.amount, row.interest, row.principal, row.balance)),
        ]
        for number, row in enumerate(rows, 1)
    ] + [
        [
            "",
            {"en": "In all", "zh": "合计"}[locale],
            *map(money, (total, total - terms.principal, terms.principal)),
            "",
        ]
    ]
    cost = apr.of_schedule(
        last_day_to_open(terms), terms.received, [(row.due_day, row.amount) for row in rows]
    )
    figures = set(re.findall(r"[\d,.]+(?= USDC| %)", words(statement)))
    assert figures >= {
        *map(money, (terms.principal, terms.origination_fee, terms.received, total, cost.finance_charge)),
        *map(money, (total - terms.principal, rows[0].amount, terms.late_fee)),
        str(apr.rounded(cost.apr)),
        str(apr.rounded(cost.aprc)),
        "11.22",
    }


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (Schedule.LEVEL, "in 6 instalments, one every three months"),
        (Schedule.EQUAL_PRINCIPAL, "the same part of the principal, with the interest on what is left of it"),
        (Schedule.INTEREST_ONLY, "The last, with the whole principal 10,280.50 USDC"),
        (Schedule.BULLET, "in one payment, after 6 quarters"),
    ],
)
def test_each_shape_is_told_in_words(kind: Schedule, line: str) -> None:
    assert line in words(stated(of_shape(kind, Frequency.QUARTERLY)))


def test_amounts_are_exact_whatever_the_currency() -> None:
    fine = stated(some_terms(principal=10**22 + 7, origination_fee=0, late_fee=0), decimals=18)
    assert "Amount of the loan (principal) 10,000.000000000000000007 USDC" in words(fine)
    usual = stated(some_terms(principal=10**10, origination_fee=0, late_fee=0), decimals=6)
    assert "Amount of the loan (principal) 10,000.00 USDC" in words(usual)
    assert schedule_told(usual)[0][2:4] == ["328.429994", "93.500000"]
    coarse = stated(decimals=0)
    assert "Amount of the loan (principal) 1,000,000 USDC" in words(coarse)


def test_what_there_is_not_is_told_as_well() -> None:
    terms = some_terms(origination_fee=0, late_fee=0)
    text = words(stated(terms, lending=replace(LIMITS, cooling_off_days=0)))
    assert "Origination fee, which the lender keeps of it none" in text
    assert "Being late costs no fee, and no further interest." in text
    assert "The policy of this loan grants no time to rescind it." in text


def test_reminders_on_days_that_do_not_follow_each_other_are_listed() -> None:
    some_days = stated(contact=replace(CONTACT, weekdays=0b0010101))
    assert "on Monday, Wednesday, Friday, between" in words(some_days)
    assert "Reminders come on any day, between" in words(stated(contact=replace(CONTACT, weekdays=127)))


def test_late_fee_and_default_come_on_the_days_told_and_not_before() -> None:
    for kind, frequency in SHAPES:
        terms = of_shape(kind, frequency)
        facts = key_facts(terms, LIMITS, CONTACT, last_day_to_open(terms))
        loan = schedule.opened(bytes(32), terms, calendar.start_of(facts.opened, terms.calendar_offset))
        charged = calendar.start_of(facts.first_late_fee_day, terms.calendar_offset)
        assert schedule.assess(loan, charged - 1).fees == 0
        assert schedule.assess(loan, charged).fees > 0
        defaulted = calendar.start_of(facts.first_default_day, terms.calendar_offset)
        with pytest.raises(NotInDefault):
            schedule.mark_default(loan, LIMITS, defaulted - 1)
        assert schedule.mark_default(loan, LIMITS, defaulted).defaulted
        assert schedule.assess(loan, moment("2040-01-01 00:00")).fees == facts.late_fees


def test_rescinding_costs_the_interest_of_each_day() -> None:
    facts = key_facts(TERMS, LIMITS, CONTACT, day("2026-12-30"))
    assert facts.last_day_to_rescind == day("2027-01-13")
    assert facts.rescission_interest == 985_000 * 112_200 * 14 // (10**6 * 365)
    assert facts.interest_a_day == -(-985_000 * 112_200 // (10**6 * 365))


@pytest.mark.parametrize("frequency", list(Frequency))
def test_the_last_day_to_open_is_the_last_that_the_ledger_allows(frequency: Frequency) -> None:
    for first_due in range(day("2027-01-01"), day("2027-06-02")):
        for expires in (first_due - 200, first_due - 3, first_due + 3):
            terms = some_terms(
                first_due=first_due, frequency=frequency, expires=calendar.start_of(expires + 1, 32) - 1
            )
            last = last_day_to_open(terms)
            calendar.check_first_due(first_due, last, frequency)
            if last < expires:
                with pytest.raises(FirstDueTooEarly):
                    calendar.check_first_due(first_due, last + 1, frequency)
            else:
                assert last == expires


# ---------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"replaces": bytes(31) + b"\1"}, InvalidTerms),
        ({"expires": moment("2026-11-30 23:59:59")}, InvalidTerms),
        ({"rate": 400_000}, AprAboveCap),
        ({"origination_fee": 600_000}, AprAboveCap),
        ({"grace_days": 4}, GraceTooShort),
        ({"first_due": day("2027-01-29")}, FirstDueTooEarly),
    ],
)
def test_terms_that_could_not_be_opened_have_no_statement(
    changes: dict[str, object], error: type[DulyError]
) -> None:
    with pytest.raises(error):
        disclose(some_terms(**changes), basis_for(TERMS))


@pytest.mark.parametrize(
    "changes",
    [{"symbol": ""}, {"symbol": " USD"}, {"symbol": "US\nD"}, {"symbol": 17 * "X"}, {"decimals": 27}],
)
def test_a_currency_that_cannot_be_one_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        basis_for(TERMS, **changes)


def test_another_language_is_refused() -> None:
    with pytest.raises(UnknownLocale, match="'fr'"):
        stated(locale="fr")


# ---------------------------------------------------------------------------------------- the document


@pytest.mark.parametrize("locale", LOCALES)
def test_the_document_needs_nothing_from_elsewhere(locale: str) -> None:
    statement = stated(locale=locale)
    text = statement.html.decode()
    elements = list(tree(statement).iter())
    assert not {element.tag.removeprefix(XHTML) for element in elements} & {
        "script", "link", "img", "iframe", "object", "embed", "base", "form", "a",
    }  # fmt: skip
    assert not {name for element in elements for name in element.attrib} & {"src", "href", "srcset", "style"}
    assert "http" not in text.replace("http-equiv", "").replace('xmlns="http://www.w3.org/1999/xhtml"', "")
    assert not re.search(r"url\(|@import|expression|javascript:", text)
    assert "\r" not in text
    assert text.endswith("</html>\n")


def test_both_languages_tell_the_same_in_the_same_order() -> None:
    for kind, frequency in SHAPES:
        terms = of_shape(kind, frequency)
        english, chinese = (
            [element.tag for element in tree(stated(terms, locale)).iter()] for locale in LOCALES
        )
        assert english == chinese


def test_a_symbol_is_text_and_nothing_else() -> None:
    symbol = "<b>&\"'{{ 1 }}"
    assert f"10,000.00 {symbol}" in facts_told(stated(symbol=symbol)).values()
    statement = stated(symbol=symbol)
    assert verify(statement.html, statement.agreed_by(TERMS)).rendered


def test_the_document_is_the_same_on_every_machine() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests/unit'); import test_disclosure as t\n"
        "print([t.stated(locale=each).agreement_hash.hex() for each in t.LOCALES])\n"
        "print(t.keccak(t.stated().pdf()).hex())"
    )
    environment = {"TZ": "Asia/Shanghai", "LC_ALL": "C", "PYTHONHASHSEED": "7", "PATH": os.environ["PATH"]}
    told = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    here = [stated(locale=locale).agreement_hash.hex() for locale in LOCALES]
    assert told.stdout == f"{here}\n{keccak(stated().pdf()).hex()}\n"


# ---------------------------------------------------------------------------------------- what is agreed


def test_the_hash_is_what_the_ledger_sees() -> None:
    statement = stated()
    agreed = statement.agreed_by(TERMS)
    assert agreed.agreement_hash == keccak(statement.html)
    ledger = offers.SigningDomain(31337, "0x" + "c1" * 20)
    kinds = [kind for kind, _ in offers._FIELDS]
    (*_, seen, _, _) = decode(kinds, encode(kinds, agreed.as_tuple()))
    assert seen == keccak(statement.html)
    read_back = termsfile.parse(termsfile.text_of(agreed))
    assert read_back == agreed
    assert offers.loan_id(read_back, ledger) == offers.loan_id(agreed, ledger)
    assert offers.loan_id(TERMS, ledger) != offers.loan_id(agreed, ledger)


def test_a_file_of_terms_is_the_message_that_is_signed() -> None:
    message = offers.typed_offer(TERMS, offers.SigningDomain(1, LENDER))["message"]["terms"]
    assert list(termsfile.as_json(TERMS).items()) == list(message.items())
    assert message["calendarOffset"] == 32
    assert termsfile.parse(json.dumps({"terms": message, "more": 1})) == TERMS


def test_the_hash_in_the_terms_is_left_out_of_account() -> None:
    statement = stated()
    assert stated(statement.agreed_by(TERMS)) == statement


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize(("kind", "frequency"), SHAPES)
def test_a_statement_is_found_to_be_the_one_agreed_on(
    kind: Schedule, frequency: Frequency, locale: str
) -> None:
    terms = of_shape(kind, frequency)
    statement = stated(terms, locale)
    verdict = verify(statement.html, statement.agreed_by(terms))
    assert (verdict.agreed, verdict.rendered, verdict.difference) == (True, True, "")
    assert verdict.basis == basis_for(terms)
    assert not verify(statement.html, terms).agreed


def other_terms() -> Iterator[tuple[str, object]]:
    """Each term, changed."""
    yield from {
        "lender": "0x" + "a2" * 20,
        "borrower": borrower(2),
        "principal": 1_000_001,
        "origination_fee": 14_999,
        "late_fee": 999,
        "rate": 112_201,
        "instalments": 35,
        "first_due": day("2027-02-01"),
        "schedule": Schedule.EQUAL_PRINCIPAL,
        "frequency": Frequency.FOUR_WEEKLY,
        "calendar_offset": 31,
        "grace_days": 11,
        "policy": 8,
        "expires": TERMS.expires - 1,
        "replaces": bytes(31) + b"\1",
        "salt": bytes(32),
    }.items()


def test_every_term_is_changed_below() -> None:
    assert {name for name, _ in other_terms()} == set(Terms.__slots__) - {"agreement_hash"}


@pytest.mark.parametrize(("name", "value"), list(other_terms()))
def test_other_terms_are_found_out(name: str, value: object) -> None:
    statement = stated()
    other = replace(statement.agreed_by(TERMS), **{name: value})  # type: ignore[arg-type]
    verdict = verify(statement.html, other)
    assert not verdict.rendered
    assert verdict.difference


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("328.43", "328.42", "says '"),
        ("12.25 %", "2.25 %", "says '"),
        ("1 May 2027", "2 May 2027", "not '"),
        ("</main>", "<p>Pay to another address.</p></main>", "says '"),
        ("&#34;opened&#34;:20817", "&#34;opened&#34;:20816", "says '"),
        ("</html>\n", "</html>", "says '</html>', not '</html>\\n'"),
        ("20817", "2081799", "no such statement of these terms: the offer ends on 2026-12-30"),
        ("36", "x", "it does not tell its language and what it rests on"),
        ("&#34;decimals&#34;:2", "&#34;decimals&#34;:99999999", "what it rests on"),
        (":360000,&#34;apr_convention&#34;:0", f":{10**40},&#34;apr_convention&#34;:1", "what it rests on"),
        ("<html lang", "<html", "it does not tell its language"),
    ],
)
def test_a_changed_document_is_found_out(old: str, new: str, told: str) -> None:
    statement = stated()
    document = statement.html.decode()
    if old == "36":
        document = document.replace("360000", "x")
    changed = document.replace(old, new)
    assert changed != statement.html.decode()
    verdict = verify(changed.encode(), statement.agreed_by(TERMS))
    assert (verdict.agreed, verdict.rendered) == (False, False)
    assert told in verdict.difference


def test_a_statement_agreed_on_that_does_not_say_what_the_terms_come_to_is_found_out() -> None:
    forged = Statement(stated().html.replace(b"11,823.48", b"11,023.48"))
    verdict = verify(forged.html, forged.agreed_by(TERMS))
    assert (verdict.agreed, verdict.rendered) == (True, False)


def test_a_statement_names_the_limits_that_it_rests_on() -> None:
    looser = replace(LIMITS, apr_cap=900_000, apr_convention=AprConvention.EFFECTIVE)
    statement = stated(lending=looser)
    verdict = verify(statement.html, statement.agreed_by(TERMS))
    assert verdict.rendered
    assert verdict.basis is not None
    assert verdict.basis.lending == looser
    assert "annual percentage rate (effective, fees included) is above 90 %" in words(statement)


def test_a_file_of_any_kind_is_judged() -> None:
    for document in (b"", b"\xff\xfe", stated().pdf()):
        verdict = verify(document, stated().agreed_by(TERMS))
        assert (verdict.agreed, verdict.rendered, verdict.basis) == (False, False, None)


# ---------------------------------------------------------------------------------------- files of terms


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("{", "", "is not JSON"),
        ('"salt"', '"sugar"', "does not hold terms"),
        ('"principal": 1000000', '"principal": "1000000"', "principal is '1000000'"),
        ('"principal": 1000000', '"principal": true', "principal is 'True'"),
        ('"lateFee": 1000', '"lateFee": 1000.5', "lateFee is '1000.5'"),
        ('"schedule": 0', '"schedule": 9', "9 is not a valid Schedule"),
        ('"0xa1', '"0xA1 ', "is not an address"),
        ('"salt": "0x00', '"salt": "00', "salt is '"),
    ],
)
def test_a_file_that_holds_no_terms_is_refused(old: str, new: str, wrong: str) -> None:
    with pytest.raises(InvalidTerms, match=re.escape(wrong)):
        termsfile.parse(termsfile.text_of(TERMS).replace(old, new, 1))


def test_a_file_of_terms_takes_checksummed_addresses() -> None:
    text = termsfile.text_of(TERMS).replace(LENDER, "0x" + LENDER[2:].upper())
    assert termsfile.parse(text) == TERMS


# ---------------------------------------------------------------------------------------- the PDF


@pytest.mark.parametrize(
    ("locale", "some_words"), [("en", "Key facts of this loan"), ("zh", "贷款关键信息说明书")]
)
def test_the_pdf_says_what_the_html_says(locale: str, some_words: str) -> None:
    statement = stated(locale=locale)
    pages = [page.extract_text() for page in PdfReader(BytesIO(statement.pdf())).pages]
    text = "\n".join(pages)
    assert some_words in text

    def squeezed(text: str) -> str:
        return "".join(text.split())

    for cell in (cell for row in schedule_told(statement) for cell in row):
        assert cell in text
    for value in facts_told(statement).values():
        assert squeezed(value) in squeezed(text)
    for number, page in enumerate(pages, 1):
        assert "Keccak-256 0x" + statement.agreement_hash.hex() in page
        assert f"{number} / {len(pages)}" in page


def test_the_pdf_carries_its_font() -> None:
    reader = PdfReader(BytesIO(stated(locale="zh").pdf()))
    fonts = [font.get_object() for page in reader.pages for font in page["/Resources"]["/Font"].values()]
    used = [font for font in fonts if "NotoSansSC" in font["/BaseFont"]]
    assert used
    assert all("/FontFile2" in font["/FontDescriptor"] for font in used)
    assert reader.metadata is not None
    assert reader.metadata.title == "贷款关键信息说明书"
    assert reader.root_object["/Lang"] == "zh-Hans"


def test_the_pdf_is_the_same_every_time() -> None:
    assert stated().pdf() == stated().pdf()


def test_the_pdf_of_a_long_schedule_repeats_its_head() -> None:
    terms = some_terms(
        schedule=Schedule.INTEREST_ONLY, frequency=Frequency.WEEKLY, instalments=200, late_fee=0, rate=50_000
    )
    pages = [page.extract_text() for page in PdfReader(BytesIO(stated(terms).pdf())).pages]
    assert sum("Interest\nPrincipal" in page or "Interest Principal" in page for page in pages) >= 3


def test_a_pdf_never_shows_an_empty_box_for_a_character() -> None:
    with pytest.raises(MissingGlyphs, match="lacks ₮"):
        stated(symbol="USD₮0").pdf()
