import brownie
import pytest
from support.clock import DAY, START, utc
from support.offers import (
    TERMS_TYPE,
    ZERO_ADDRESS,
    Frequency,
    Lending,
    Schedule,
    Status,
    Terms,
    consent_hash,
    loan_id,
    sign_consent,
    sign_hash,
)
from support.oracle import EPOCH, ExactSchedule, day_number, local_day
from support.reverts import reverts_with

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.fixture
def refuses(ledger, sign, borrower):
    """Opening these terms, signed by the lender, reverts with exactly this error."""

    def refuses(terms, name, *args):
        with reverts_with(name, *args):
            ledger.open.call(terms, sign(terms), {"from": borrower})

    return refuses


@pytest.fixture
def opens(ledger, sign, borrower):
    """Opening these terms, signed by the lender, succeeds."""

    def opens(terms):
        assert bytes(ledger.open.call(terms, sign(terms), {"from": borrower})) == loan_id(terms, ledger)

    return opens


# --- parties ------------------------------------------------------------------------------------


def test_only_the_borrower_opens(ledger, terms, sign, lender, borrower, stranger):
    offered = terms()
    for sender in (lender, stranger):
        with reverts_with("NotBorrower", sender, borrower):
            ledger.open(offered, sign(offered), {"from": sender})


def test_a_lender_is_needed(terms, refuses, borrower):
    refuses(terms(lender=ZERO_ADDRESS), "InvalidParties", ZERO_ADDRESS, borrower)


def test_nobody_lends_to_themselves(terms, refuses, borrower):
    refuses(terms(lender=borrower), "InvalidParties", borrower, borrower)


# --- the offer ----------------------------------------------------------------------------------


def test_an_offer_ends_with_its_last_second(terms, opens, refuses, clock):
    offered = terms(expires=START + DAY, first_due=local_day(START, 32) + 40)
    clock.to(START + DAY)
    opens(offered)
    clock.to(START + DAY + 1)
    refuses(offered, "OfferExpired", START + DAY, START + DAY + 1)


def test_terms_that_replace_a_loan_make_no_new_one(terms, refuses):
    refuses(terms(replaces=b"\7" * 32), "NotANewLoan", b"\7" * 32)


def test_an_offer_is_accepted_once(ledger, terms, sign, refuses, borrower):
    offered = terms()
    opened = ledger.open(offered, sign(offered), {"from": borrower}).return_value
    refuses(offered, "LoanExists", opened)
    ledger.settle(opened, 2**256 - 1, {"from": borrower})
    assert ledger.loanOf(opened)["status"] == Status.REPAID
    refuses(offered, "LoanExists", opened)


def test_only_the_lender_signs(ledger, terms, sign, lender, borrower, stranger):
    offered = terms()
    for signer in (borrower, stranger):
        with reverts_with("InvalidOffer", loan_id(offered, ledger), lender):
            ledger.open(offered, sign(offered, signer), {"from": borrower})


@pytest.mark.parametrize("field", [name for name in Terms._fields if name != "replaces"])
def test_terms_1_a_signature_holds_for_no_other_terms(ledger, terms, sign, stranger, field):
    offered = terms()
    value = getattr(offered, field)
    if field in ("lender", "borrower"):
        changed = str(stranger)
    elif isinstance(value, bytes):
        changed = b"\x55" * 32
    else:
        changed = value + 1
    altered = offered._replace(**{field: changed})
    with reverts_with("InvalidOffer", loan_id(altered, ledger), altered.lender):
        ledger.open.call(altered, sign(offered), {"from": altered.borrower})


def test_a_signature_holds_for_nothing_else(ledger, terms, key_of, lender, borrower, dollar):
    offered = terms()
    key = key_of(lender)
    for signature in (
        sign_consent("Offer", offered, key, dollar),
        sign_consent("Offer", offered, key, ledger, chain_id=1),
        sign_consent("Acceptance", offered, key, ledger),
        sign_consent("Amendment", offered, key, ledger),
        sign_hash(loan_id(offered, ledger), key),
    ):
        with reverts_with("InvalidOffer", loan_id(offered, ledger), lender):
            ledger.open.call(offered, signature, {"from": borrower})


def test_a_mangled_signature_is_refused(ledger, terms, sign, lender, borrower):
    offered = terms()
    whole = sign(offered)
    for mangled in (b"", whole[:63], whole + b"\0", bytes(65), whole[:64] + b"\0", whole[:64] + b"\x1d"):
        with reverts_with("InvalidOffer", loan_id(offered, ledger), lender):
            ledger.open.call(offered, mangled, {"from": borrower})


def test_an_offer_in_another_form_is_the_same_offer(ledger, terms, sign, borrower):
    """A signature has a twin, and a short form: they open the same loan, and it is opened once."""
    offered = terms()
    whole = sign(offered)
    r, s, v = whole[:32], int.from_bytes(whole[32:64], "big"), whole[64]
    twin = r + (CURVE_ORDER - s).to_bytes(32, "big") + bytes([55 - v])
    short = r + (s | (v - 27) << 255).to_bytes(32, "big")
    for form in (twin, short):
        assert bytes(ledger.open.call(offered, form, {"from": borrower})) == loan_id(offered, ledger)
    loan = ledger.open(offered, short, {"from": borrower}).return_value
    for form in (whole, twin):
        with reverts_with("LoanExists", loan):
            ledger.open(offered, form, {"from": borrower})


def test_a_contract_lends_by_its_owners_signature(ledger, terms, sign, lender, borrower, stranger, dollar):
    wallet = brownie.SignerWallet.deploy(lender, {"from": lender})
    dollar.transfer(wallet, 10**10, {"from": lender})
    wallet.approve(dollar, ledger, 10**10, {"from": lender})
    offered = terms(lender=wallet)
    with reverts_with("InvalidOffer", loan_id(offered, ledger), wallet):
        ledger.open.call(offered, sign(offered, stranger), {"from": borrower})
    opened = ledger.open(offered, sign(offered, lender), {"from": borrower}).return_value
    assert ledger.partiesOf(opened)["lender"] == wallet
    assert dollar.balanceOf(wallet) == 10**10 - offered.principal


# --- the calendar -------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [-49, 57, -128, 127])
def test_a_calendar_is_one_on_earth(terms, refuses, offset):
    refuses(terms(calendar_offset=offset), "InvalidCalendarOffset", offset, -48, 56)


@pytest.mark.parametrize("offset", [-48, -1, 0, 56])
def test_the_first_instalment_is_due_a_month_after_the_local_day(terms, opens, refuses, offset):
    offered = terms(calendar_offset=offset)
    opens(offered)
    early = offered._replace(first_due=offered.first_due - 1)
    refuses(early, "FirstDueTooEarly", early.first_due, offered.first_due)


@pytest.mark.parametrize(
    ("frequency", "day"),
    [
        (Frequency.MONTHLY, (2, 16)),
        (Frequency.QUARTERLY, (4, 16)),
        (Frequency.WEEKLY, (1, 23)),
        (Frequency.FORTNIGHTLY, (1, 30)),
        (Frequency.FOUR_WEEKLY, (2, 13)),
    ],
)
def test_the_first_instalment_is_due_after_a_whole_interval(terms, opens, refuses, frequency, day):
    # Loans are opened on 16 January 2040.
    due = day_number(EPOCH.replace(2040, *day))
    opens(terms(frequency=frequency, first_due=due))
    refuses(terms(frequency=frequency, first_due=due - 1), "FirstDueTooEarly", due - 1, due)


def test_the_local_day_turns_at_local_midnight(terms, opens, refuses, clock):
    # In UTC+8 the day turns at 16:00 UTC.
    due = day_number(EPOCH.replace(year=2040, month=2, day=16))
    clock.to(utc(2040, 1, 16, 15, 59, 59))
    opens(terms(first_due=due))
    clock.to(utc(2040, 1, 16, 16))
    refuses(terms(first_due=due), "FirstDueTooEarly", due, due + 1)


def test_a_month_after_the_31st_is_the_next_months_last_day(terms, opens, refuses, clock):
    clock.to(utc(2041, 1, 31, 4))
    last = day_number(EPOCH.replace(year=2041, month=2, day=28))
    opens(terms(first_due=last))
    refuses(terms(first_due=last - 1), "FirstDueTooEarly", last - 1, last)


def test_the_first_period_ends_within_a_year_and_a_day(terms, opens, refuses):
    today = local_day(START, 32)
    opens(terms(first_due=today + 366))
    refuses(terms(first_due=today + 367), "FirstDueTooLate", today + 367, today + 366)


# --- the schedule -------------------------------------------------------------------------------


def test_nothing_is_lent_to_nobody(terms, refuses):
    refuses(terms(principal=0), "ZeroPrincipal")


@pytest.mark.parametrize(
    ("rate", "instalments"),
    [(120_000, 0), (0, 601), (10_000_001, 1), (10_000_000, 20), (1_000_000, 193)],
)
def test_rate_and_length_stay_where_the_formulas_are_proven(terms, refuses, rate, instalments):
    refuses(terms(rate=rate, instalments=instalments), "TermsOutOfRange", rate, instalments)


@pytest.mark.parametrize(
    ("rate", "instalments"), [(10_000_000, 19), (1_000_000, 192), (320_000, 600), (0, 600)]
)
def test_the_ends_of_the_range_open(terms, opens, publish, rate, instalments):
    policy = publish(Lending(apr_cap=20_000_000))
    opens(terms(rate=rate, instalments=instalments, policy=policy, late_fee=0, principal=10**14))


def test_instalments_too_small_to_be_told_apart_are_refused(terms, refuses, opens):
    # 10 / 4 = 2.5, so three instalments of 3 leave 1; 9 / 4 = 2.25, so three of 3 leave nothing.
    opens(terms(principal=10, rate=0, instalments=4, late_fee=0))
    refuses(terms(principal=9, rate=0, instalments=4, late_fee=0), "InstalmentTooCoarse", 9, 0, 4)


def test_rates_are_those_of_a_year_at_every_frequency(terms, refuses, opens, publish):
    # Rate times years is at most 16: weekly, 600 instalments are 11.5 years.
    generous = publish(Lending(apr_cap=20_000_000))
    weekly = {"frequency": Frequency.WEEKLY, "instalments": 600, "policy": generous, "late_fee": 0}
    opens(terms(rate=1_386_666, principal=10**14, **weekly))
    refuses(terms(rate=1_386_667, principal=10**14, **weekly), "TermsOutOfRange", 1_386_667, 600)


def test_instalments_are_never_empty(terms, refuses, opens):
    free = {"rate": 0, "late_fee": 0, "principal": 1_000}
    # A thousand in parts of 17 are 58 and a rest; a sixtieth would be empty.
    opens(terms(schedule=Schedule.EQUAL_PRINCIPAL, instalments=59, **free))
    refuses(
        terms(schedule=Schedule.EQUAL_PRINCIPAL, instalments=60, **free), "InstalmentTooCoarse", 1_000, 0, 60
    )
    # Without interest, there is nothing to pay before the end.
    opens(terms(schedule=Schedule.INTEREST_ONLY, instalments=1, **free))
    refuses(terms(schedule=Schedule.INTEREST_ONLY, instalments=2, **free), "InstalmentTooCoarse", 1_000, 0, 2)
    opens(terms(schedule=Schedule.BULLET, instalments=6, **free))


# --- the policy ---------------------------------------------------------------------------------


def test_a_policy_is_published(terms, refuses, policy):
    refuses(terms(policy=0), "UnknownPolicy", 0)
    refuses(terms(policy=policy + 1), "UnknownPolicy", policy + 1)


def test_a_retired_policy_takes_no_new_loans(terms, refuses, policy, policy_book, publisher):
    policy_book.retire(policy, {"from": publisher})
    refuses(terms(), "PolicyIsRetired", policy)


def test_fees_1_grace_is_at_least_the_policys(terms, opens, refuses):
    opens(terms(grace_days=3))
    refuses(terms(grace_days=2), "GraceTooShort", 2, 3)


def test_fees_1_the_late_fee_is_at_most_its_share_of_an_instalment(terms, opens, refuses):
    cap = ExactSchedule(1_200_000_000, 120_000, 12).instalment * 500 // 10_000
    opens(terms(late_fee=cap))
    refuses(terms(late_fee=cap + 1), "LateFeeAboveCap", cap + 1, cap)


def test_amounts_fit_the_ledger(terms, refuses, opens, publish):
    generous = publish(Lending(late_fee_cap=65_535))
    free = {"rate": 0, "policy": generous, "grace_days": 3}
    most = 2**80 - 1
    # Late fees for every instalment, and the total with them.
    both = 2**79 + 16 * 2**76
    refuses(terms(principal=2**79, instalments=16, late_fee=2**76, **free), "AmountTooLarge", both, most)
    refuses(terms(principal=most, instalments=1, late_fee=1, **free), "AmountTooLarge", most + 1, most)
    dear = ExactSchedule(most, 120_000, 1).total
    refuses(
        terms(principal=most, instalments=1, late_fee=0, rate=120_000, policy=generous),
        "AmountTooLarge",
        dear,
        most,
    )


@pytest.mark.parametrize("schedule", Schedule)
def test_fees_1_the_late_fee_is_a_share_of_the_smallest_regular_instalment(terms, opens, refuses, schedule):
    exact = ExactSchedule(1_200_000_000, 120_000, 12, schedule)
    # All but the last, which takes up what rounding leaves; of a bullet, that alone.
    smallest = exact.total if schedule == Schedule.BULLET else min(exact.amounts[:-1])
    cap = smallest * 500 // 10_000
    opens(terms(schedule=schedule, late_fee=cap))
    refuses(terms(schedule=schedule, late_fee=cap + 1), "LateFeeAboveCap", cap + 1, cap)


# --- the money ----------------------------------------------------------------------------------


def test_a_lender_without_money_gets_the_tokens_own_error(ledger, terms, refuses, dollar, lender, stranger):
    dollar.transfer(stranger, dollar.balanceOf(lender) - 5, {"from": lender})
    refuses(terms(), "ERC20InsufficientBalance", lender, 5, terms().principal)


def test_a_lender_who_allows_too_little_gets_the_tokens_own_error(ledger, terms, refuses, dollar, lender):
    dollar.approve(ledger, 7, {"from": lender})
    refuses(terms(), "ERC20InsufficientAllowance", ledger, 7, terms().principal)


def test_opening_records_terms_and_moves_principal(ledger, terms, sign, dollar, lender, borrower, clock):
    offered = terms(calendar_offset=-14, grace_days=200)
    before = (dollar.balanceOf(lender), dollar.balanceOf(borrower))
    clock.to(START + 11)
    transaction = ledger.open(offered, sign(offered), {"from": borrower})

    exact = ExactSchedule(offered.principal, offered.rate, offered.instalments)
    loan = ledger.loanOf(transaction.return_value).dict()
    total = loan.pop("total")
    assert loan == {
        "borrower": borrower,
        "openedAt": START + 11,
        "policy": offered.policy,
        "assessed": 0,
        "status": Status.ACTIVE,
        "amends": False,
        "lender": lender,
        "firstDue": offered.first_due,
        "instalments": 12,
        "rate": 120_000,
        "schedule": Schedule.LEVEL,
        "frequency": Frequency.MONTHLY,
        "calendarOffset": -14,
        "graceDays": 200,
        "principal": offered.principal,
        "instalment": exact.instalment,
        "lateFee": offered.late_fee,
        "paid": 0,
        "fees": 0,
    }
    assert 0 <= exact.instalment * 12 - total < 12
    assert (dollar.balanceOf(lender), dollar.balanceOf(borrower)) == (
        before[0] - offered.principal,
        before[1] + offered.principal,
    )
    event = transaction.events["LoanOpened"]
    assert (event["id"], event["instalment"], event["total"]) == (
        transaction.return_value,
        exact.instalment,
        total,
    )
    assert tuple(event["terms"]) == tuple(
        value if kind != "bytes32" else "0x" + value.hex()
        for value, (_, kind) in zip(offered, TERMS_TYPE, strict=True)
    )


def test_an_origination_fee_stays_with_the_lender(ledger, terms, sign, dollar, record, lender, borrower):
    offered = terms(origination_fee=30_000_000)
    before = dollar.balanceOf(lender), dollar.balanceOf(borrower)
    loan = ledger.open(offered, sign(offered), {"from": borrower}).return_value
    received = offered.principal - 30_000_000
    assert (dollar.balanceOf(lender), dollar.balanceOf(borrower)) == (
        before[0] - received,
        before[1] + received,
    )
    # What is owed is the principal, with interest on all of it.
    exact = ExactSchedule(offered.principal, offered.rate, offered.instalments)
    assert (record(loan)["principal"], record(loan)["total"]) == (offered.principal, exact.total)


def test_terms_1_the_id_is_the_eip_712_hash_of_the_terms(ledger, terms):
    offered = terms(calendar_offset=-1)
    assert bytes(ledger.idOf(offered)) == loan_id(offered, ledger)
    assert bytes(ledger.offerHash(offered)) == consent_hash("Offer", offered, ledger)
    domain = ledger.eip712Domain()
    assert (domain[1], domain[2], domain[4]) == ("Duly", "1", ledger)
