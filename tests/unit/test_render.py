"""The words: what every text tells, what none says, and that they are a function of the ledger alone."""

import re
from dataclasses import replace
from decimal import Decimal

import pytest
from jinja2 import Environment, UndefinedError, meta
from scene import LENDER, Case, a_loan, moment, paid

from duly.domain import schedule
from duly.domain.notice import Kind, ground, notice_id
from duly.services import render as render_module
from duly.services.render import (
    LOCALES,
    Place,
    Text,
    UnknownLocale,
    locale_for,
    render,
    templates,
    templates_hash,
)

PLACE = Place("TUSD", 2, 31337, ledger="0x" + "c1" * 20, notices="0x" + "c2" * 20, consents="0x" + "c3" * 20)

MOMENTS = {
    Kind.LOAN_OPENED: "2026-12-20 12:00",
    Kind.INSTALMENT_UPCOMING: "2027-01-26 12:00",
    Kind.DUE_TODAY: "2027-01-29 12:00",
    Kind.OVERDUE: "2027-02-09 12:00",
    Kind.PAYMENT_RECEIVED: "2027-01-12 12:00",
    Kind.LOAN_REPAID: "2027-01-12 12:00",
}


def case_of(kind: Kind) -> Case:
    """A loan about which a notice of the kind may be served."""
    loan = replace(a_loan(), id=bytes.fromhex("3f2a91bc") + bytes(28))
    if kind is Kind.PAYMENT_RECEIVED:
        loan = paid(loan, 50_000, "2027-01-12 11:00")
    elif kind is Kind.LOAN_REPAID:
        loan, _, _ = schedule.settle(loan, moment("2027-01-12 11:00"))
    return Case(loan=loan)


def text_of(
    kind: Kind, locale: str = "en", case: Case | None = None, at: str | None = None, place: Place = PLACE
) -> Text:
    case = case or case_of(kind)
    facts = case.facts(moment(at or MOMENTS[kind]))
    return render(kind, case.loan, facts.position, ground(kind, facts)[1], place, locale)


every_text = pytest.mark.parametrize(
    ("kind", "locale"), [(kind, locale) for kind in Kind for locale in LOCALES]
)


# ------------------------------------------------------------------------------------ what every text tells


@every_text
def test_every_text_tells_from_whom_about_what_and_how_to_check_stop_and_object(kind, locale):
    case = case_of(kind)
    facts = case.facts(moment(MOMENTS[kind]))
    _, base = ground(kind, facts)
    body = text_of(kind, locale).body
    assert "0xA1A1…a1a1" in body
    assert case.loan.id.hex()[:8] in body
    assert "0x" + notice_id(case.loan.id, kind, base.basis, base.serial).hex() in body
    assert "0xC2c2C2C2C2c2C2c2c2C2c2c2C2C2C2C2C2c2c2c2".lower() in body.lower()
    assert "31337" in body
    assert "STOP" in body
    assert "revoke" in body
    assert {"en": "dispute", "zh": "异议"}[locale] in body
    assert {"en": "difficult", "zh": "困难"}[locale] in body
    if kind is not Kind.LOAN_REPAID:
        assert {"en": "HOW TO PAY", "zh": "如何付款"}[locale] in body
        assert "0x" + case.loan.id.hex() in body


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            Kind.LOAN_OPENED,
            ["12,000.00 TUSD", "Sunday, 20 December 2026", "Friday, 29 January 2027", "11.22 %"],
        ),
        (Kind.INSTALMENT_UPCOMING, ["1,061.82 TUSD", "Friday, 29 January 2027", "Monday, 8 February 2027"]),
        (Kind.DUE_TODAY, ["due today", "1,061.82 TUSD", "Friday, 29 January 2027"]),
        (Kind.OVERDUE, ["overdue: 1,061.82 TUSD", "late fees: 40.00 TUSD", "together: 1,101.82 TUSD"]),
        (Kind.OVERDUE, ["Friday, 29 January 2027", "Tuesday, 9 February 2027", "not been paid in full"]),
        (Kind.PAYMENT_RECEIVED, ["500.00 TUSD", "561.82 TUSD", "Friday, 29 January 2027"]),
        (Kind.LOAN_REPAID, ["is repaid", "TUSD", "Nothing is owed"]),
    ],
)
def test_basis_1_the_english_says_what_the_ledger_says(kind, words):
    body = text_of(kind).body
    assert [word for word in words if word not in body] == []


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Kind.LOAN_OPENED, ["12,000.00 TUSD", "2026年12月20日星期日", "2027年1月29日星期五"]),
        (Kind.INSTALMENT_UPCOMING, ["1,061.82 TUSD", "2027年1月29日星期五", "2027年2月8日星期一"]),
        (Kind.DUE_TODAY, ["今天", "1,061.82 TUSD", "2027年1月29日星期五"]),
        (Kind.OVERDUE, ["逾期金额：1,061.82 TUSD", "逾期费：40.00 TUSD", "合计：1,101.82 TUSD"]),
        (Kind.PAYMENT_RECEIVED, ["500.00 TUSD", "561.82 TUSD", "2027年1月29日星期五"]),
        (Kind.LOAN_REPAID, ["已全部还清", "TUSD"]),
    ],
)
def test_basis_1_the_chinese_says_what_the_ledger_says(kind, words):
    body = text_of(kind, "zh").body
    assert [word for word in words if word not in body] == []


def test_basis_1_the_day_is_the_ledgers_whatever_the_day_of_writing():
    texts = {text_of(Kind.INSTALMENT_UPCOMING, at=f"2027-01-{day} 12:00").body for day in (26, 27, 28)}
    assert len(texts) == 3  # each tells its own day
    for body in texts:
        assert "Friday, 29 January 2027" in body
        assert not re.search(r"in \d+ days", body)


def test_several_overdue_instalments_are_told_as_such():
    body = text_of(Kind.OVERDUE, at="2027-04-12 12:00").body
    assert "Instalments 1 to 3 of 12" in body
    assert "Friday, 29 January 2027" in body
    assert "late fees: 120.00 TUSD" in body
    # After the last instalment nothing is next.
    assert "Instalments 1 to 12 of 12" in text_of(Kind.OVERDUE, at="2029-01-10 12:00").body


def test_a_loan_without_late_fees_says_so():
    loan = a_loan(late_fee=0)
    for kind, words in (
        (Kind.OVERDUE, "Being late costs no fee"),
        (Kind.LOAN_OPENED, "Being late costs no fee"),
    ):
        assert words in text_of(kind, case=Case(loan=loan)).body
    for kind in (Kind.INSTALMENT_UPCOMING, Kind.DUE_TODAY):
        assert "late fee" not in text_of(kind, case=Case(loan=loan)).body


def test_a_payment_is_told_with_what_remains():
    loan = a_loan()
    late = paid(loan, 50_000, "2027-02-10 12:00")
    body = text_of(Kind.PAYMENT_RECEIVED, case=Case(loan=late), at="2027-02-10 13:00").body
    assert "561.82 TUSD of the loan is overdue, and 40.00 TUSD in late fees is unpaid" in body
    covered = paid(loan, loan.instalment, "2027-01-05 12:00")
    body = text_of(Kind.PAYMENT_RECEIVED, case=Case(loan=covered), at="2027-01-05 13:00").body
    assert "number 1 of 12, due on Friday, 29 January 2027, is paid already" in body
    last = replace(loan, paid=loan.total - 1)
    body = text_of(Kind.PAYMENT_RECEIVED, case=Case(loan=last), at="2027-12-30 13:00").body
    assert "0.01 TUSD of the loan is overdue" in body
    only_fees = replace(loan, paid=loan.total, fees=8_000, assessed=2)
    body = text_of(Kind.PAYMENT_RECEIVED, case=Case(loan=only_fees), at="2028-01-30 13:00").body
    assert "80.00 TUSD in late fees is unpaid" in body
    assert "No further instalment" in body


def test_a_loan_of_one_instalment_reads_as_one():
    body = text_of(Kind.LOAN_OPENED, case=Case(loan=a_loan(instalments=1))).body
    assert "1 monthly instalment," in body
    assert "The instalment is" in body


@every_text
def test_borrower_1_the_subject_tells_nothing_of_a_debt(kind, locale):
    texts = {text_of(each, locale).subject for each in Kind}
    assert len(texts) == 1, "the subject would tell what it is about"
    subject = text_of(kind, locale).subject
    telling = {
        "en": r"\b(loan|debt|due|pay|paid|overdue|late|owed?|lender|borrow|amount|tusd)",
        "zh": "贷|款|债|欠|逾期|还|付|催|金额|TUSD",
    }[locale]
    assert not re.search(telling, subject, re.IGNORECASE)
    # Nor do the first words of the body, which a lock screen shows too.
    assert not re.search(telling, text_of(kind, locale).body[:80], re.IGNORECASE)


@every_text
def test_borrower_1_no_text_threatens_shames_or_names_another_person(kind, locale):
    body = text_of(kind, locale).body.lower()
    forbidden = {
        "en": r"\b(court|legal|lawyer|police|seize|warn|consequence|blacklist|credit|bureau|family|friend|"
        r"employer|contacts|final|immediately|urgent|must|failure|default)",
        "zh": "法院|起诉|律师|警|查封|后果|黑名单|征信|家人|亲友|单位|通讯录|立即|马上|务必|通牒|严重|催收",
    }[locale]
    assert not re.search(forbidden, body)
    assert case_of(kind).loan.terms.borrower not in body, "the borrower's whole address is nobody's business"


# ------------------------------------------------------------------------------------ a pure function


@every_text
def test_the_same_state_gives_the_same_text(kind, locale):
    text = text_of(kind, locale)
    assert text == text_of(kind, locale)
    assert text.content_hash(b"salt") == text_of(kind, locale).content_hash(b"salt")
    assert text.content_hash(b"salt") != text.content_hash(b"other")
    assert text.body.endswith("\n")
    assert "\n\n\n" not in text.body
    assert "{" not in text.body + text.subject
    assert "None" not in text.body
    assert "\n" not in text.subject


def test_an_unknown_language_is_told():
    with pytest.raises(UnknownLocale, match=r"'fr'.*en or zh"):
        text_of(Kind.OVERDUE, "fr")


def test_who_prefers_another_language_is_written_to_in_english():
    assert [locale_for(language) for language in ("zh", "en", "el")] == ["zh", "en", "en"]


def test_each_language_has_a_template_for_each_kind_with_the_same_facts():
    environment = Environment()
    names = {locale: {} for locale in LOCALES}
    for name, source in templates().items():
        locale, _, file = name.partition("/")
        names[locale][file] = meta.find_undeclared_variables(environment.parse(source))
    assert names["en"] == names["zh"]
    assert {f"{kind.name.lower()}.txt" for kind in Kind} <= set(names["en"])


def test_a_template_cannot_name_what_is_not_there():
    environment = render_module._environment()
    with pytest.raises(UndefinedError):
        environment.from_string("{{ borrower_name }}").render(amount=1)


def test_the_hash_covers_every_name_and_every_letter(monkeypatch):
    whole = templates_hash()
    assert len(whole) == 32
    for changed in (
        templates() | {"en/overdue.txt": templates()["en/overdue.txt"] + " "},
        {name: text for name, text in templates().items() if name != "zh/_pay.txt"},
        {name.replace("due_today", "due_now"): text for name, text in templates().items()},
    ):
        templates_hash.cache_clear()
        monkeypatch.setattr(render_module, "templates", lambda changed=changed: changed)
        assert templates_hash() != whole
    templates_hash.cache_clear()


# ------------------------------------------------------------------------------------ amounts and zones


@pytest.mark.parametrize(
    ("symbol", "decimals", "units", "expected"),
    [
        ("TUSD", 2, 123456789, "1,234,567.89 TUSD"),
        ("TUSD", 6, 123456789, "123.456789 TUSD"),
        ("TUSD", 6, 100_000_000, "100.00 TUSD"),
        ("TUSD", 6, 1, "0.000001 TUSD"),
        ("ETH", 18, 2**88 - 1, "309,485,009.821345068724781055 ETH"),
        ("JPY", 0, 1234567, "1,234,567 JPY"),
        # What Babel believes about the yen does not matter: the token has two decimals.
        ("JPY", 2, 105, "1.05 JPY"),
        ("CNY", 2, 5, "0.05 CNY"),
        ("USDe", 1, 15, "1.5 USDe"),
    ],
)
@pytest.mark.parametrize("locale", LOCALES)
def test_amounts_are_exact_in_any_currency(symbol, decimals, units, expected, locale):
    money = render_module._money(replace(PLACE, symbol=symbol, decimals=decimals), locale)
    assert money(units) == expected
    assert Decimal(expected.split()[0].replace(",", "")).scaleb(decimals) == units


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(0, "UTC"), (32, "UTC+8"), (22, "UTC+5:30"), (23, "UTC+5:45"), (-14, "UTC-3:30"), (-48, "UTC-12")],
)
def test_the_zone_of_the_due_day_is_told(offset, expected):
    loan = a_loan(calendar_offset=offset)
    assert f"({expected})" in text_of(Kind.LOAN_OPENED, case=Case(loan=loan)).body


def test_the_lender_is_told_by_the_ends_of_the_address():
    assert render_module._short(LENDER) == "0xA1A1…a1a1"
