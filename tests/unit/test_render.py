"""The words: what every text tells, what none says, and that they are a function of the ledger alone."""

import re
from dataclasses import replace
from decimal import Decimal

import pytest
from jinja2 import Environment, meta
from scene import CONSENTING, LENDER, Case, a_loan, moment, paid

from duly.domain import calendar, grievance, schedule
from duly.domain.loan import Status
from duly.domain.notice import OPENED, Kind, Said, ground, notice_id
from duly.domain.terms import Frequency, Schedule
from duly.services import render as render_module
from duly.services.plan import OUTCOMES
from duly.services.policy import strict_rules
from duly.services.render import (
    Place,
    Text,
    UnknownLocale,
    locale_for,
    render,
    templates,
    templates_hash,
)
from duly.services.templates import LOCALES, InvalidTemplates, TemplateSet

PLACE = Place("TUSD", 2, 31337, ledger="0x" + "c1" * 20, notices="0x" + "c2" * 20, consents="0x" + "c3" * 20)

MOMENTS = {
    Kind.LOAN_OPENED: "2026-12-20 12:00",
    Kind.INSTALMENT_UPCOMING: "2027-01-26 12:00",
    Kind.DUE_TODAY: "2027-01-29 12:00",
    Kind.OVERDUE: "2027-02-09 12:00",
    Kind.PAYMENT_RECEIVED: "2027-01-12 12:00",
    Kind.LOAN_REPAID: "2027-01-12 12:00",
    Kind.PAID_AHEAD: "2027-01-12 12:00",
    Kind.LOAN_AMENDED: "2026-12-21 12:00",
    Kind.COOLING_OFF_ENDING: "2027-01-02 12:00",
    Kind.ARREARS: "2027-03-09 12:00",
}
"""The others may be said at any time."""
AT_ANY_TIME = "2027-01-12 12:00"


def case_of(kind: Kind) -> Case:
    """A loan about which a notice of the kind may be served."""
    loan = replace(a_loan(), id=bytes.fromhex("3f2a91bc") + bytes(28))
    if kind is Kind.PAYMENT_RECEIVED:
        loan = paid(loan, 50_000, "2027-01-12 11:00")
    elif kind is Kind.LOAN_REPAID:
        loan, _, _ = schedule.settle(loan, moment("2027-01-12 11:00"))
    elif kind is Kind.PAID_AHEAD:
        loan = paid(loan, loan.instalment, "2027-01-12 11:00")
    elif kind is Kind.LOAN_AMENDED:
        loan = replace(loan, terms=replace(loan.terms, replaces=b"\7" * 32))
    elif kind is Kind.LOAN_ASSIGNED:
        loan = replace(loan, assigned=True)
    lodged = grievance.Case(moment("2027-01-11 11:00"))
    return Case(
        loan=loan, profile=replace(CONSENTING, changes=2), dispute=lodged, hardship=lodged, said=Said()
    )


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_has_a_case_in_which_it_may_be_said(kind):
    decision, base = ground(kind, (facts := case_of(kind).facts(moment(MOMENTS.get(kind, AT_ANY_TIME)))))
    assert not decision.reason
    assert base.first_day <= facts.position.today <= base.last_day


def outcome_of(kind: Kind) -> str:
    return OUTCOMES.get(kind, ("",))[0]


def text_of(
    kind: Kind, locale: str = "en", case: Case | None = None, at: str | None = None, place: Place = PLACE
) -> Text:
    case = case or case_of(kind)
    facts = case.facts(moment(at or MOMENTS.get(kind, AT_ANY_TIME)))
    _, base = ground(kind, facts)
    return render(kind, case.loan, facts.position, base, place, locale, outcome=outcome_of(kind))


every_text = pytest.mark.parametrize(
    ("kind", "locale"), [(kind, locale) for kind in Kind for locale in LOCALES]
)


# ------------------------------------------------------------------------------------ what every text tells


@every_text
def test_every_text_tells_from_whom_about_what_and_how_to_check_stop_and_object(kind, locale):
    case = case_of(kind)
    facts = case.facts(moment(MOMENTS.get(kind, AT_ANY_TIME)))
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
    assert {"en": "hard to pay", "zh": "困难"}[locale] in body
    if kind not in (Kind.LOAN_REPAID, Kind.PAID_AHEAD, Kind.CONSENT_CHANGED):
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
        (Kind.OVERDUE, ["late fees: 40.00 TUSD", "1,101.82 TUSD is still to be paid"]),
        (Kind.OVERDUE, ["Friday, 29 January 2027", "Tuesday, 9 February 2027", "not been paid in full"]),
        (Kind.PAYMENT_RECEIVED, ["500.00 TUSD", "561.82 TUSD", "Friday, 29 January 2027"]),
        (Kind.LOAN_REPAID, ["is repaid", "TUSD", "Nothing is owed"]),
        (Kind.PAID_AHEAD, ["Instalment 1 of 12", "Friday, 29 January 2027", "paid already"]),
        (Kind.LOAN_AMENDED, ["new terms", "principal is now 12,000.00 TUSD", "11.22 %"]),
        (Kind.COOLING_OFF_ENDING, ["Sunday, 3 January 2027", "call rescind"]),
        (Kind.DISPUTE_RECEIVED, ["On Monday, 11 January 2027", "no reminders until you have our answer"]),
        (Kind.DISPUTE_ANSWERED, ["On Monday, 11 January 2027", "You are right"]),
        (Kind.HARDSHIP_ANSWERED, ["On Monday, 11 January 2027", "We can offer you other terms"]),
        (Kind.LOAN_ASSIGNED, ["another lender: 0xA1", "stay the same"]),
        (Kind.ARREARS, ["2 instalments", "Friday, 29 January 2027", "2,163.64 TUSD", "late fees: 40.00"]),
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
        (Kind.OVERDUE, ["逾期费：40.00 TUSD", "尚需支付 1,101.82 TUSD"]),
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


@pytest.mark.parametrize(
    ("schedule", "english", "chinese"),
    [
        (
            Schedule.EQUAL_PRINCIPAL,
            "12,729.30 TUSD in all. | The first is 1,112.20 TUSD, the last 1,009.35 TUSD. | 29 January",
            "共计 12,729.30 TUSD | 第一期应还 1,112.20 TUSD，最后一期应还 1,009.35 TUSD | 2027年1月29日",
        ),
        (
            Schedule.INTEREST_ONLY,
            "13,346.40 TUSD in all. | Each is 112.20 TUSD, the interest alone | is 12,112.20 TUSD",
            "共计 13,346.40 TUSD | 每期只付利息，应还 112.20 TUSD | 应还 12,112.20 TUSD | 2027年1月29日",
        ),
        (
            Schedule.BULLET,
            "You repay it at once, with its interest at 11.22 % a year: 13,346.40 TUSD, | 29 December 2027",
            "一次性偿还本金和利息，共计 13,346.40 TUSD，到期日为2027年12月29日",
        ),
    ],
)
def test_basis_1_each_schedule_is_told_in_its_own_words(schedule, english, chinese):
    case = Case(loan=a_loan(schedule=schedule))
    for locale, words in (("en", english), ("zh", chinese)):
        body = text_of(Kind.LOAN_OPENED, locale, case).body
        assert [word for word in words.split(" | ") if word not in body] == []


@pytest.mark.parametrize("frequency", Frequency)
def test_how_often_an_instalment_falls_due_is_told(frequency):
    case = Case(loan=a_loan("2027-04-30", frequency=frequency))
    every = ("every month", "every three months", "every week", "every two weeks", "every four weeks")
    assert f"one {every[frequency]}, at" in text_of(Kind.LOAN_OPENED, case=case).body
    chinese = ("每月一期", "每三个月一期", "每周一期", "每两周一期", "每四周一期")
    assert chinese[frequency] in text_of(Kind.LOAN_OPENED, "zh", case).body


def test_what_the_lender_kept_did_not_go_to_the_wallet():
    case = Case(loan=a_loan(origination_fee=36_000))
    body = text_of(Kind.LOAN_OPENED, case=case).body
    assert "Your loan of 12,000.00 TUSD is open. 11,640.00 TUSD went to your wallet" in body
    assert "an origination fee of 360.00 TUSD" in body
    body = text_of(Kind.LOAN_OPENED, "zh", case).body
    assert "11,640.00 TUSD 已于2026年12月20日星期日转入您的钱包" in body
    assert "手续费 360.00 TUSD" in body


@pytest.mark.parametrize("changes", [{"instalments": 1}, {"schedule": Schedule.BULLET}])
@pytest.mark.parametrize("locale", LOCALES)
def test_a_loan_that_falls_due_at_once_has_no_numbered_instalments(changes, locale):
    case = Case(loan=a_loan(**changes))
    last = schedule.due_day(case.loan.terms, case.loan.terms.instalments)
    noon = 86_400 * last + 4 * 3_600
    for kind, days in (
        (Kind.LOAN_OPENED, -3),
        (Kind.INSTALMENT_UPCOMING, -3),
        (Kind.DUE_TODAY, 0),
        (Kind.OVERDUE, 11),
    ):
        facts = case.facts(noon + 86_400 * days)
        body = render(kind, case.loan, facts.position, ground(kind, facts)[1], PLACE, locale).body
        assert not re.search({"en": r"[Ii]nstalments? \d", "zh": r"第 \d+ 期"}[locale], body)
        assert {"en": f"{calendar.civil(last)[2]} ", "zh": f"{calendar.civil(last)[1]}月"}[locale] in body


# ------------------------------------------------------------------------------- loans that were changed


def closed(loan, status):
    """The loan as it stands once an amendment or the borrower ended it, everything paid so far kept."""
    return replace(loan, total=loan.paid, fees=0, recorded_status=status)


@pytest.mark.parametrize(
    ("status", "english", "chinese"),
    [
        (Status.REPLACED, "What is still owed is owed on that one", "以变更后的贷款为准"),
        (Status.RESCINDED, "Nothing is owed any more", "您已不欠任何款项"),
    ],
)
def test_a_payment_on_a_loan_that_ended_asks_for_nothing(status, english, chinese):
    case = Case(loan=closed(paid(a_loan(), 50_000, "2027-01-12 11:00"), status))
    for locale, words in (("en", english), ("zh", chinese)):
        body = text_of(Kind.PAYMENT_RECEIVED, locale, case).body
        assert words in body
        assert "500.00 TUSD" in body
        assert {"en": "HOW TO PAY", "zh": "如何付款"}[locale] not in body
    assert ("Nothing is owed" in text_of(Kind.PAYMENT_RECEIVED, case=case).body) == (
        status is Status.RESCINDED
    )


def test_what_an_amendment_carried_over_is_told_as_such():
    loan = paid(a_loan(replaces=b"\7" * 32), 50_000, "2027-01-12 11:00")
    told = "Anything that was paid ahead on the loan that it replaces is included."
    assert told in text_of(Kind.PAYMENT_RECEIVED, case=Case(loan=loan, carried=20_000)).body
    later = Case(loan=loan, carried=20_000, said=Said(received=40_000, flags=OPENED))
    assert told not in text_of(Kind.PAYMENT_RECEIVED, case=later).body
    assert told not in text_of(Kind.PAYMENT_RECEIVED).body


def test_no_text_says_that_money_was_received_or_paid_where_it_may_have_been_forgiven():
    for kind in (Kind.PAYMENT_RECEIVED, Kind.LOAN_REPAID):
        assert "credited" in text_of(kind).body
        assert "received" not in text_of(kind).body
        assert "you have paid" not in text_of(kind).body.lower()
        body = text_of(kind, "zh").body
        assert "入账" in body
        assert not re.search("收到|已付|支付了", body)


def test_the_lender_is_whom_the_claim_belongs_to():
    loan = replace(a_loan(), lender="0x" + "c4" * 20)
    body = text_of(Kind.LOAN_OPENED, case=Case(loan=loan)).body
    assert "0xC4c4…c4C4" in body
    assert "0xA1A1" not in body


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
        "en": r"\b(court|legal|lawyer|police|seize|warn|consequence|blacklist|credit(?!ed)|bureau|family|"
        r"friend|employer|contacts|final|immediately|urgent|must|failure|default)",
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
    for name, source in templates().files.items():
        locale, _, file = name.partition("/")
        names[locale][file] = meta.find_undeclared_variables(environment.parse(source))
    assert names["en"] == names["zh"]
    assert {f"{kind.name.lower()}.txt" for kind in Kind} <= set(names["en"])


def test_a_template_cannot_name_what_is_not_there():
    files = templates().files
    named = TemplateSet(files | {"en/overdue.txt": files["en/overdue.txt"] + "{{ borrower_name }}"})
    with pytest.raises(InvalidTemplates, match="'borrower_name' is undefined"):
        render_module.check_templates(named, strict_rules())


def test_the_hash_covers_every_name_and_every_letter():
    whole, files = templates_hash(), templates().files
    assert len(whole) == 32
    for changed in (
        files | {"en/overdue.txt": files["en/overdue.txt"] + " "},
        {name: text for name, text in files.items() if name != "zh/_pay.txt"},
        {name.replace("due_today", "due_now"): text for name, text in files.items()},
    ):
        assert TemplateSet(changed).hash != whole


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
    money = render_module.money_in(replace(PLACE, symbol=symbol, decimals=decimals), locale)
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
