"""The desk: what many loans come to, who sees which, and what is done there."""

import re

import pytest
from portal import ANA, AUDITOR, BO, OFFICER, Scene, wallet
from scene import a_loan, day, moment

from duly.domain import schedule
from duly.domain.consent import Channel
from duly.domain.events import (
    GrievanceLodged,
    GrievanceWithdrawn,
    InstalmentMissed,
    LoanOpened,
    LoanRepaid,
    LoanSettled,
    NoticeRefused,
    NoticeServed,
    Repaid,
    ServicerAppointed,
)
from duly.domain.grievance import Grievance
from duly.domain.loan import Loan
from duly.domain.notice import Kind, Refusal
from duly.services.portfolio import PAGE, Bucket, bucket_of
from duly.store.actions import What
from duly.store.book import Book
from duly.store.notices import TOLD, Outcome, Served, State

CLERK, LENDING, RIVAL = wallet(11), wallet(12), wallet(13)
LENDER, OTHER = LENDING.address.lower(), RIVAL.address.lower()


def tell_opened(scene: Scene, loan: Loan) -> None:
    scene.tell(LoanOpened(loan.id, loan.terms, loan.instalment, loan.total), at=loan.opened_at)


def pay(scene: Scene, loan: Loan, instalments: int, at: str) -> None:
    assess(scene, loan, at)
    paid = scene.model.loan(loan.id).paid + instalments * loan.instalment  # type: ignore[union-attr]
    scene.tell(Repaid(loan.id, loan.terms.borrower, instalments * loan.instalment, paid), at=moment(at))


def assess(scene: Scene, loan: Loan, at: str) -> None:
    """As the ledger does before money moves."""
    before = scene.model.loan(loan.id)
    assert before
    first, last = schedule.missed(before, moment(at))
    if first <= last:
        fees = schedule.assess(before, moment(at)).fees
        scene.tell(InstalmentMissed(loan.id, first, last, fees), at=moment(at))


@pytest.fixture
def scene() -> Scene:
    """Three loans of one lender, first due on 29 January 2027, and one of another; it is 10 April.

    Number 1 is paid on time. Number 2 never pays. Number 3 pays January's instalment in March, and settles.
    """
    found = Scene()
    loans = [a_loan(number=n, lender=LENDER, borrower=f"0x{n:040x}") for n in (1, 2, 3)]
    other = a_loan(number=4, lender=OTHER, borrower=ANA.address.lower())
    for loan in (*loans, other):
        tell_opened(found, loan)
    found.tell(ServicerAppointed(LENDER, CLERK.address.lower()), at=moment("2026-12-20 12:00"))
    one, _, three = loans
    pay(found, one, 1, "2027-01-28 12:00")
    pay(found, one, 1, "2027-02-28 12:00")
    pay(found, three, 1, "2027-03-02 12:00")
    pay(found, one, 1, "2027-03-29 12:00")
    assess(found, three, "2027-04-05 12:00")
    left = found.model.loan(three.id)
    assert left
    settled, amount, saved = schedule.settle(left, moment("2027-04-05 12:00"))
    found.tell(
        LoanSettled(three.id, three.terms.borrower, amount, saved, settled.paid),
        LoanRepaid(three.id, settled.paid),
        at=moment("2027-04-05 12:00"),
    )
    found.tell(at=moment("2027-04-10 12:00"))
    return found


@pytest.mark.parametrize(
    ("days", "bucket"),
    [(-5, 0), (0, 0), (1, 1), (30, 1), (31, 2), (60, 2), (61, 3), (90, 3), (91, 4), (900, 4)],
)
def test_a_bucket_is_told_by_the_days_past_due(days: int, bucket: int) -> None:
    found = bucket_of(days)
    assert found == bucket
    least, most = found.days
    assert least is None or least <= days
    assert most is None or days <= most


def test_buckets_and_roll_rates_are_those_of_a_history_by_hand(scene: Scene) -> None:
    found = scene.app.portfolio.overview(frozenset({LENDER}))
    assert found
    per_month = {each.day: [one.loans for one in each.buckets] for each in found.months}
    # The last day of a month in UTC; loans are in Shanghai, where it is the first of the next at its end.
    assert per_month == {
        day("2026-12-31"): [3, 0, 0, 0, 0],
        day("2027-01-31"): [1, 2, 0, 0, 0],
        # Paid late: number 3 owes February's since the 28th.
        day("2027-02-28"): [1, 0, 2, 0, 0],
        day("2027-03-31"): [1, 0, 1, 1, 0],
        day("2027-04-10"): [1, 0, 0, 1, 0],
    }
    two = scene.model.loan((2).to_bytes(32, "big"))
    assert two
    assert found.now.buckets[Bucket.DAYS_90].owed == two.owed
    assert found.now.total.owed == sum(loan.owed for loan in scene.model.loans(lender=LENDER))
    january, february, march = found.rolls
    assert [each.start.loans for each in january.buckets] == [3, 0, 0, 0, 0]
    assert (january.buckets[0].worse.loans, january.buckets[0].rate) == (2, 666_667)
    assert (february.buckets[1].start.loans, february.buckets[1].rate) == (2, 1_000_000)
    # One of two went on to 61-90 days; the other's January was paid, but it is 31-60 late with February's.
    rolled = march.buckets[2]
    assert (rolled.start.loans, rolled.worse.loans, rolled.cured.loans) == (2, 1, 0)
    assert rolled.rate == 500_000


def test_the_list_of_a_bucket_is_what_was_counted(scene: Scene) -> None:
    portfolio, lenders = scene.app.portfolio, frozenset({LENDER})
    counted = portfolio.overview(lenders)
    assert counted
    for bucket in Bucket:
        listed = portfolio.listed(lenders, bucket).loans
        assert len(listed) == counted.now.buckets[bucket].loans, bucket


def test_pages_of_a_bucket_show_every_loan_once() -> None:
    scene = Scene()
    for number in range(1, PAGE + 8):
        tell_opened(scene, a_loan(number=number, lender=LENDER))
    scene.tell(at=moment("2027-02-10 12:00"))
    first = scene.app.portfolio.listed(frozenset({LENDER}), Bucket.DAYS_30)
    assert len(first.loans) == PAGE
    second = scene.app.portfolio.listed(frozenset({LENDER}), Bucket.DAYS_30, first.after)
    assert second.after is None
    ids = {each.loan.id for each in (*first.loans, *second.loans)}
    assert len(ids) == len(first.loans) + len(second.loans) == PAGE + 7
    browser = scene.signed_in(LENDING)
    page = browser.get("/desk/loans?bucket=1").text
    following = re.search(r'href="(/desk/loans\?bucket=1&amp;after=[\d-]+)"', page)
    assert following
    assert browser.get(following[1].replace("&amp;", "&")).text.count('scope="row"') == 7


@pytest.mark.parametrize("who", [LENDING, CLERK])
def test_lender_and_servicer_see_their_own_loans_alone(scene: Scene, who: object) -> None:
    browser = scene.signed_in(who)  # type: ignore[arg-type]
    assert "Portfolio" in browser.get("/desk").text
    own, other = ((n).to_bytes(32, "big").hex() for n in (2, 4))
    pages = "".join(browser.get(f"/desk/loans?bucket={each:d}").text for each in Bucket)
    assert own in pages
    assert other not in pages
    assert browser.get(f"/desk/loans/{own}").status_code == 200
    assert browser.get(f"/desk/loans/{other}").status_code == 404


def test_officer_and_auditor_see_all_and_a_borrower_nothing(scene: Scene) -> None:
    for who in (OFFICER, AUDITOR):
        browser = scene.signed_in(who)
        for number in (2, 4):
            assert browser.get(f"/desk/loans/{number.to_bytes(32, 'big').hex()}").status_code == 200
    for who in (ANA, BO):
        browser = scene.signed_in(who)
        assert browser.get("/desk").status_code == 403
        assert browser.get("/desk/loans").status_code == 403
        assert "/desk" not in browser.get("/loans").text


def test_whose_loans_an_address_looks_after(scene: Scene) -> None:
    book = Book(scene.model.engine)
    assert book.lenders_of(CLERK.address.lower()) == {CLERK.address.lower(), LENDER}
    for lenders, count in ((frozenset({LENDER}), 3), (None, 4), (frozenset({"0x" + "00" * 20}), 0)):
        assert book.has_more(lenders, count - 1)
        assert not book.has_more(lenders, count)


@pytest.mark.parametrize("window", [1, 2, 3, 2_000])
def test_who_has_little_among_much_sees_all_of_it(
    scene: Scene, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("duly.store.book._WINDOW", window)
    for number in range(1, 5):
        loan = number.to_bytes(32, "big")
        for place in range(3):
            refused = NoticeRefused(loan, LENDER, Kind.OVERDUE, place, Channel.EMAIL, Refusal.TOO_SOON, 1, 2)
            notice = NoticeServed(
                bytes([number, place]) * 16, loan, LENDER, ANA.address.lower(), Kind.OVERDUE, 1, 5,
                Channel.EMAIL, 0, place, b"c" * 32,
            )  # fmt: skip
            scene.tell(refused, notice, at=moment("2027-04-10 12:00"))
        lose(scene, number, 0xC0 + number)
    book, now = Book(scene.model.engine), moment("2027-04-10 12:00")
    lender_of = book.lender_of([number.to_bytes(32, "big") for number in range(1, 5)])
    questions = (
        lambda whose, limit: book.notices(whose, limit),
        lambda whose, limit: book.refusals(whose, limit),
        lambda whose, limit: [each.notice for each in book.deliveries(whose, State.UNCERTAIN, limit)],
    )
    for whose in ({LENDER}, {OTHER}, {LENDER, OTHER}, {"0x" + "00" * 20}):
        for ask in questions:
            assert len(ask(None, 100)) >= 4
            everything = [each for each in ask(None, 100) if lender_of[each.loan] in whose]
            for limit in (1, 2, 5, 100):
                assert ask(whose, limit) == everything[:limit]
        late = [each for each in book.late(None, now, 1, None, None, 100) if each[1].lender in whose]
        for limit in (1, 2, 100):
            assert book.late(whose, now, 1, None, None, limit) == late[:limit]


# ---------------------------------------------------------------------------------------- notices


def lose(scene: Scene, loan: int, number: int) -> bytes:
    """A notice about a loan in the midst of sending which somebody died."""
    told = scene.model.loan(loan.to_bytes(32, "big"))
    assert told
    notice = Served(
        bytes([number]) * 32, told.id, told.terms.borrower, Kind.OVERDUE, 1, 5, Channel.EMAIL, b"c" * 32, 7
    )
    assert scene.app.notice_store.claim([notice], 8)
    scene.app.notice_store.settle(Outcome((notice,), State.UNCERTAIN, "reset"), 9)
    return notice.id


def drop(scene: Scene, loan: int, number: int) -> bytes:
    """One that was certainly not sent."""
    told = scene.model.loan(loan.to_bytes(32, "big"))
    assert told
    notice = Served(
        bytes([number]) * 32, told.id, told.terms.borrower, Kind.OVERDUE, 1, 5, Channel.EMAIL, b"d" * 32, 7
    )
    assert scene.app.notice_store.drop([notice], "window_over", 9)
    return notice.id


def state_of(scene: Scene, notice: bytes) -> tuple[State, str | None]:
    found = scene.app.notice_store.delivery(notice)
    assert found
    return found.state, found.reason


def test_gate_2_a_servicer_settles_and_requeues_their_own_and_it_is_logged(scene: Scene) -> None:
    own, other, dropped = lose(scene, 2, 0xA1), lose(scene, 4, 0xA2), drop(scene, 2, 0xA3)
    clerk = scene.signed_in(CLERK)
    page = clerk.get("/desk/notices").text
    assert own.hex() in page
    assert other.hex() not in page
    assert "hours were over" in page
    assert clerk.post(f"/desk/notices/{other.hex()}/settle", data={"sent": "no"}).status_code == 404
    assert clerk.post(f"/desk/notices/{own.hex()}/settle", data={"sent": "maybe"}).status_code == 422
    assert scene.app.actions.latest(9) == []
    assert clerk.post(f"/desk/notices/{own.hex()}/settle", data={"sent": "yes"}).status_code == 303
    assert state_of(scene, own) == (State.SENT, TOLD)
    assert clerk.post(f"/desk/notices/{own.hex()}/settle", data={"sent": "no"}).status_code == 409
    assert clerk.post(f"/desk/notices/{own.hex()}/requeue").status_code == 409
    assert clerk.post(f"/desk/notices/{dropped.hex()}/requeue").status_code == 303
    assert state_of(scene, dropped)[0] is State.DEFERRED
    told = [action for _, action in scene.app.actions.latest(9)]
    address = CLERK.address.lower()
    assert [(each.address, each.role, each.what, each.about) for each in told] == [
        (address, "servicer", What.REQUEUED, dropped),
        (address, "servicer", What.SETTLED_SENT, own),
    ]
    # The log is for those who supervise.
    assert clerk.get("/desk/actions").status_code == 403
    for who in (OFFICER, AUDITOR):
        assert "settled as sent" in scene.signed_in(who).get("/desk/actions").text


def test_an_officer_settles_for_all_and_an_auditor_for_none(scene: Scene) -> None:
    lost, dropped = lose(scene, 4, 0xA1), drop(scene, 4, 0xA2)
    auditor, officer = scene.signed_in(AUDITOR), scene.signed_in(OFFICER)
    assert lost.hex() in auditor.get("/desk/notices").text
    assert "<button" not in auditor.get("/desk/notices").text.partition("<main")[2]
    assert auditor.post(f"/desk/notices/{lost.hex()}/settle", data={"sent": "yes"}).status_code == 403
    assert officer.post(f"/desk/notices/{dropped.hex()}/requeue").status_code == 403
    assert (
        scene.signed_in(ANA).post(f"/desk/notices/{lost.hex()}/settle", data={"sent": "yes"}).status_code
        == 403
    )
    assert state_of(scene, lost)[0] is State.UNCERTAIN
    assert scene.app.actions.latest(9) == []
    assert officer.post(f"/desk/notices/{lost.hex()}/settle", data={"sent": "no"}).status_code == 303
    assert state_of(scene, lost) == (State.DROPPED, TOLD)
    assert [action.role for _, action in scene.app.actions.latest(9)] == ["officer"]


def test_an_action_needs_the_token_of_its_session(scene: Scene) -> None:
    lost = lose(scene, 2, 0xA1)
    clerk = scene.signed_in(CLERK)
    del clerk.headers["x-csrf-token"]
    assert clerk.post(f"/desk/notices/{lost.hex()}/settle", data={"sent": "yes"}).status_code == 403
    assert state_of(scene, lost)[0] is State.UNCERTAIN


def test_a_refusal_of_the_gate_is_told_in_words(scene: Scene) -> None:
    about = (2).to_bytes(32, "big")
    scene.tell(
        *(NoticeRefused(about, LENDER, Kind.OVERDUE, 1, Channel.EMAIL, reason, 1, 2) for reason in Refusal),
        at=moment("2027-04-10 13:00"),
    )
    for language, words in {"en": "The borrower stopped all contact.", "zh": "借款人已停止一切联系"}.items():
        browser = scene.signed_in(CLERK, **{"accept-language": language})
        assert words in browser.get("/desk/notices").text
    rival = scene.signed_in(RIVAL)
    assert "stopped all contact" not in rival.get("/desk/notices").text


# ---------------------------------------------------------------------------------------- grievances


def test_grievances_that_stand_are_shown_to_whom_they_concern(scene: Scene) -> None:
    two, four = (number.to_bytes(32, "big") for number in (2, 4))
    borrower = scene.model.loan(two).terms.borrower  # type: ignore[union-attr]
    at = moment("2027-04-10 13:00")
    scene.tell(
        GrievanceLodged(two, borrower, Grievance.HARDSHIP, borrower, False, False),
        GrievanceLodged(two, borrower, Grievance.DISPUTE, borrower, False, False),
        GrievanceLodged(four, ANA.address.lower(), Grievance.DISPUTE, ANA.address.lower(), False, False),
        GrievanceWithdrawn(two, borrower, Grievance.DISPUTE),
        at=at,
    )
    [found] = scene.app.desk.grievances(frozenset({LENDER}))
    assert (found.grievance, found.case.since) == (Grievance.HARDSHIP, at)
    page = scene.signed_in(CLERK).get("/desk/grievances").text
    assert f"duly offer amendment 0x{two.hex()}" in page
    assert four.hex() not in page
    assert "dispute-answered" not in page
    officers = scene.signed_in(OFFICER).get("/desk/grievances").text
    assert two.hex() in officers
    assert four.hex() in officers


def test_pages_of_grievances_show_every_one_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duly.interfaces.web.pages.desk.GRIEVANCES", 3)
    scene = Scene()
    for number in range(1, 9):
        loan = scene.lend(ANA, number, lender=LENDER)
        for kind in (Grievance.DISPUTE, Grievance.HARDSHIP)[: 1 + number % 2]:
            # Several at the same moment.
            at = loan.opened_at + 1 + number // 4
            scene.tell(GrievanceLodged(loan.id, ANA.address.lower(), kind, LENDER, False, False), at=at)
    officer, path, seen = scene.signed_in(OFFICER), "/desk/grievances", []
    while path:
        text = officer.get(path).text
        found = re.findall(r'aria-label="(\w+) \w+">.*?/desk/loans/(\w+)"', text, re.S)
        assert 1 <= len(found) <= 3
        seen += found
        further = re.search(r'href="(/desk/grievances\?after=[^"]+)"', text)
        path = further[1] if further else ""
    assert len(seen) == 12
    assert len(set(seen)) == 12
    for wrong in ("x", "1-2-3", "1-" + "g" * 64 + "-1"):
        assert officer.get(f"/desk/grievances?after={wrong}").status_code == 404


def test_no_page_of_the_desk_has_a_script_or_style_in_it(scene: Scene) -> None:
    lose(scene, 2, 0xA1)
    officer = scene.signed_in(OFFICER)
    own = (2).to_bytes(32, "big").hex()
    for path in ("", "/loans?bucket=3", f"/loans/{own}", "/notices", "/grievances", "/actions"):
        answer = officer.get(f"/desk{path}")
        assert answer.status_code == 200, path
        assert not re.search(r"<style|\sstyle=|\son\w+=", answer.text), path
        assert len(answer.text) < 150_000
