"""The document that parties send each other: what it holds, and that nothing in it can be changed unseen."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from scene import a_loan, moment, paid

from duly.chain.offers import Assignment, SigningDomain, loan_id, signer_of
from duly.domain import amending, lending, schedule
from duly.domain.errors import DulyError, InvalidInput, InvalidTerms, LoanNotActive
from duly.domain.terms import Frequency, Schedule, Terms
from duly.services import offer, termsfile
from duly.services.offer import Changes, Kind, NotAnOffer, NotAParty, Offer, Role
from duly.services.policy import load_pack

LENDER, BORROWER, HEIR = (Account.from_key(bytes([n]) * 32) for n in (1, 2, 3))
LEDGER = SigningDomain(31337, "0x" + "ab" * 20)
LIMITS = load_pack("STRICT").lending_limits
TERMS = Terms(
    lender=LENDER.address.lower(),
    borrower=BORROWER.address.lower(),
    principal=100_000,
    late_fee=150,
    rate=112_200,
    instalments=36,
    first_due=20_819,
    calendar_offset=-20,
    grace_days=15,
    policy=1,
    expires=2_000_000_000,
    agreement_hash=b"\x07" * 32,
    salt=b"\x08" * 32,
)
LOAN = Offer(LEDGER, TERMS).signed_with(LENDER).signed_with(BORROWER)
AMENDMENT = Offer(LEDGER, replace(TERMS, replaces=b"\x09" * 32)).signed_with(BORROWER).signed_with(LENDER)
ASSIGNMENT = Offer(
    LEDGER, Assignment(b"\x05" * 32, LENDER.address.lower(), HEIR.address.lower(), 3, 2_000_000_000)
).signed_with(HEIR)
ALL = (LOAN, AMENDMENT, ASSIGNMENT)


def fits(found: Offer) -> bool:
    """All signatures are those of keys."""
    return all(
        signer_of(found.digest(role), signature) == found.signers[role]
        for role, signature in found.signatures.items()
    )


@pytest.mark.parametrize("made", ALL, ids=lambda made: made.kind)
def test_a_document_is_read_as_it_was_written(made: Offer, tmp_path: Path) -> None:
    path = tmp_path / "offer.json"
    path.write_text(offer.text_of(made))
    found = offer.read(path)
    assert found == made
    assert found.kind is made.kind
    assert not found.missing
    assert fits(found)
    for role in made.signers:
        typed = encode_typed_data(full_message=json.loads(json.dumps(made.typed_data(role))))
        key = {LENDER.address.lower(): LENDER, BORROWER.address.lower(): BORROWER}.get(
            made.signers[role], HEIR
        )
        assert bytes(key.sign_message(typed).signature) == made.signatures[role]


def test_terms_stand_in_it_as_they_do_alone() -> None:
    text = offer.text_of(LOAN)
    assert json.loads(text)["terms"] == termsfile.as_json(TERMS)
    assert termsfile.parse(text) == TERMS
    assert LOAN.id == loan_id(TERMS, LEDGER)
    assert ASSIGNMENT.id == b"\x05" * 32


def _changed(value: object) -> Iterator[object]:
    """Other values of the same form."""
    if isinstance(value, int):
        yield value + 1
        return
    text = str(value)
    if text.startswith("0x"):
        yield text[:-1] + ("1" if text[-1] == "0" else "0")


def _tampered() -> Iterator[Any]:
    for made in ALL:
        document = json.loads(offer.text_of(made))
        for where in (None, "terms", "assignment", "signatures"):
            inner = document if where is None else document.get(where, {})
            for name, value in inner.items():
                for other in _changed(value):
                    changed = json.loads(json.dumps(document))
                    (changed if where is None else changed[where])[name] = other
                    yield pytest.param(changed, id=f"{made.kind}-{where or ''}-{name}")


@pytest.mark.parametrize("document", list(_tampered()))
def test_whatever_is_changed_is_noticed(document: dict[str, Any]) -> None:
    try:
        found = offer.parse(json.dumps(document))
    except InvalidInput:
        return
    assert not fits(found)


def test_every_field_is_tampered_with() -> None:
    tried = {param.id for param in _tampered()}
    assert {f"loan-terms-{name}" for name in termsfile.as_json(TERMS)} < tried
    assert {"loan--chainId", "loan--ledger", "assignment-assignment-nonce"} < tried
    assert {"loan-signatures-lender", "loan-signatures-borrower"} < tried


def test_a_signature_for_one_role_is_none_for_another() -> None:
    swapped = replace(
        LOAN,
        signatures={
            Role.LENDER: LOAN.signatures[Role.BORROWER],
            Role.BORROWER: LOAN.signatures[Role.LENDER],
        },
    )
    assert not fits(swapped)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "invoice"}, "is no offer"),
        ({"version": 2}, "version '2', which this program does not know"),
        ({"kind": "gift"}, "kind"),
        ({"kind": "amendment"}, "calls itself an amendment"),
        ({"kind": "assignment"}, "assignment"),
        ({"chainId": "31337"}, "chainId"),
        ({"chainId": 0}, "chainId"),
        ({"ledger": "0x12"}, "ledger"),
        ({"terms": {}}, "does not hold terms"),
        ({"terms": None}, "does not hold terms"),
        ({"terms": {**termsfile.as_json(TERMS), "phone": "+30 210 0000000"}}, "does not hold terms"),
        ({"name": "somebody"}, "name: Extra inputs are not permitted"),
        ({"\x1b[2J": 1}, "'\\x1b[2J': Extra inputs"),
        ({"signatures": {"friend": "0x12"}}, "friend"),
        ({"signatures": {"lender": "0x1"}}, "two for each byte"),
        ({"signatures": {"lender": "0x"}}, "should be 0x and hexadecimal digits"),
        ({"signatures": {"lender": 12}}, "two for each byte"),
        ({"signatures": None}, "signatures"),
    ],
)
def test_what_is_no_offer_is_refused(change: dict[str, object], words: str) -> None:
    document = json.loads(offer.text_of(LOAN)) | change
    with pytest.raises((NotAnOffer, InvalidTerms)) as error:
        offer.parse(json.dumps(document), "offer.json")
    assert words in error.value.wrong


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is not JSON"),
        (b"[]", "is no offer"),
        (b"[" * 99_999, "is not JSON"),
        (b"\xff", "is not text in UTF-8"),
        (b" " * 100_001, "too large"),
        (None, "cannot be read: No such file"),
    ],
    ids=["cut", "list", "nested", "binary", "large", "missing"],
)
def test_what_is_no_file_of_an_offer_is_refused(content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "offer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NotAnOffer, match=words):
        offer.read(path)


def test_only_parties_sign() -> None:
    bare = Offer(LEDGER, TERMS)
    assert bare.missing == (Role.LENDER,)
    assert replace(AMENDMENT, signatures={}).missing == (Role.LENDER, Role.BORROWER)
    assert replace(ASSIGNMENT, signatures={}).missing == (Role.NEW_LENDER,)
    for made in (bare, ASSIGNMENT):
        with pytest.raises(NotAParty, match="who does not sign this"):
            made.signed_with(Account.from_key(b"\x06" * 32))
    assert [made.kind for made in ALL] == list(Kind)


# ---------------------------------------------------------------------------------------- amendments

# Opened 2026-12-20, due on the 29th from 2027-01-29, 12 times; the cooling-off period is over.
NOW = moment("2027-03-10 12:00")
OLD = paid(a_loan(), 110_000, "2027-01-20 12:00")
EXPIRES = moment("2027-03-24 23:59:59")


def amended(changes: Changes, loan: Any = OLD, now: int = NOW) -> Terms:
    """Terms that the ledger would take."""
    terms = offer.amendment(loan, changes, LIMITS, now, EXPIRES)
    amending.amend(loan, terms, LIMITS, now, lambda _: bytes(32))
    return terms


def test_an_amendment_leaves_what_is_not_named() -> None:
    terms = amended(Changes())
    fees = schedule.position(OLD, NOW).fees
    assert terms == replace(
        OLD.terms,
        principal=schedule.payoff(OLD, NOW) - fees,
        # The next due day, 2027-03-29, is less than a month away.
        first_due=schedule.due_day(OLD.terms, 4),
        instalments=10,
        late_fee=terms.late_fee,
        expires=EXPIRES,
        replaces=OLD.id,
    )
    assert terms.late_fee == min(
        OLD.terms.late_fee, lending.highest_late_fee(lending.curve_of(terms), LIMITS)
    )


def test_an_amendment_changes_what_is_named() -> None:
    changes = Changes(
        principal=500_000,
        rate=90_000,
        instalments=8,
        first_due=OLD.terms.first_due + 140,
        schedule=Schedule.INTEREST_ONLY,
        frequency=Frequency.QUARTERLY,
        late_fee=0,
        grace_days=20,
    )
    terms = amended(changes)
    assert (terms.principal, terms.rate, terms.instalments, terms.late_fee) == (500_000, 90_000, 8, 0)
    assert (terms.schedule, terms.frequency) == (Schedule.INTEREST_ONLY, Frequency.QUARTERLY)
    assert (terms.first_due, terms.grace_days) == (OLD.terms.first_due + 140, 20)


def test_a_late_fee_is_lowered_where_smaller_instalments_do_not_allow_it() -> None:
    longer = amended(Changes(instalments=120))
    assert longer.late_fee == lending.highest_late_fee(lending.curve_of(longer), LIMITS) < 4_000
    with pytest.raises(DulyError, match="late fee"):
        amended(Changes(instalments=120, late_fee=4_000))


def test_what_was_paid_ahead_stays_paid() -> None:
    ahead = paid(OLD, 6 * OLD.instalment, "2027-03-09 12:00")
    way = offer.going(ahead, NOW)
    assert way.left < 12 - 4
    terms = amended(Changes(), ahead)
    assert terms.instalments == way.left
    assert terms.first_due == schedule.due_day(ahead.terms, way.k + 1)


def test_a_bullet_goes_on_to_its_end() -> None:
    bullet = a_loan(schedule=Schedule.BULLET, late_fee=0)
    terms = amended(Changes(), bullet)
    assert (terms.schedule, terms.instalments) == (Schedule.BULLET, 10)


def test_how_many_instalments_has_to_be_told_where_it_cannot_be_known() -> None:
    with pytest.raises(InvalidInput, match="another frequency"):
        amended(Changes(frequency=Frequency.WEEKLY))
    late = moment("2028-06-01 12:00")
    with pytest.raises(InvalidInput, match="every due day is over"):
        amended(Changes(), now=late)
    terms = offer.amendment(OLD, Changes(instalments=12), LIMITS, late, late + 86_400)
    amending.amend(OLD, terms, LIMITS, late, lambda _: bytes(32))
    assert terms.instalments == 12


def test_nothing_owed_is_nothing_to_amend() -> None:
    settled, _, _ = schedule.settle(OLD, NOW)
    with pytest.raises(LoanNotActive):
        amended(Changes(), settled)
