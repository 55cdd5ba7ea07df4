"""The API: what programs read, whose it is, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from portal import ANA, AUDITOR, BO, Scene, wallet
from scene import LENDER, SERVICER

from duly.domain import calendar
from duly.domain.consent import Channel
from duly.domain.events import GrievanceLodged, NoticeServed, Repaid
from duly.domain.grievance import Grievance
from duly.domain.notice import Kind
from duly.interfaces.web.security import RATES, Rate
from duly.store.tokens import Purpose

WHO = ANA.address.lower()
LENDS = wallet(11)


@pytest.fixture
def scene() -> Scene:
    found = Scene()
    for number in range(1, 8):
        found.lend(ANA if number % 2 else BO, number)
    found.lend(ANA, 8, lender=LENDS.address.lower())
    for number in range(1, 6):
        loan, notice = found.ana.id, bytes([number]) * 32
        found.tell(
            NoticeServed(
                notice, loan, SERVICER, WHO, Kind.DUE_TODAY, 1, 5, Channel.EMAIL, 0, number, b"c" * 32
            )
        )
    return found


class Program:
    """Somebody's."""

    def __init__(self, scene: Scene, address: str, purpose: Purpose = Purpose.API) -> None:
        self.browser = scene.browser()
        secret = scene.app.tokens.make(address.lower(), purpose, "books", 5)
        self.browser.headers["authorization"] = f"Bearer {secret}"

    def ask(self, path: str, code: int = 200) -> Any:
        answer = self.browser.get(f"/api/v1{path}")
        assert answer.status_code == code, answer.text
        kind = "application/json" if code == 200 else "application/problem+json"
        assert answer.headers["content-type"] == kind
        return answer.json()

    def everything(self, path: str, limit: int) -> list[Any]:
        """All pages."""
        found, cursor = [], ""
        while True:
            page = self.ask(f"{path}?limit={limit}{cursor}")
            assert len(page["items"]) <= limit
            found += page["items"]
            if page["next"] is None:
                return found
            cursor = f"&cursor={page['next']}"


def test_a_borrowers_program_reads_what_they_read(scene: Scene) -> None:
    scene.tell(Repaid(scene.ana.id, WHO, 7, 7))
    program, loan = Program(scene, WHO), scene.ana
    told = program.ask(f"/loans/0x{loan.id.hex()}")
    assert (told["status"], told["paid"], told["borrower"]) == ("active", "7", WHO)
    assert told["principal"] == str(loan.terms.principal)
    assert told["next"]["amount"] == str(loan.instalment - 7)
    assert told["opened_at"].endswith("Z")
    schedule = program.ask(f"/loans/0x{loan.id.hex()}/schedule")
    assert sum(int(row["principal"]) for row in schedule) == loan.terms.principal
    assert schedule[0]["day"] == calendar.iso(loan.terms.first_due)
    assert [row["paid"] for row in schedule[:2]] == ["7", "0"]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_tell_everything_once(scene: Scene, limit: int) -> None:
    program = Program(scene, WHO)
    wanted = ["0x" + loan.id.hex() for loan in scene.model.loans(borrower=WHO)]
    assert [loan["id"] for loan in program.everything("/loans", limit)] == wanted
    path = f"/loans/0x{scene.ana.id.hex()}/notices"
    notices = program.everything(path, limit)
    assert [each["id"] for each in notices] == [
        f"0x{number:02x}" + f"{number:02x}" * 31 for number in range(5, 0, -1)
    ]


def test_what_is_added_meanwhile_shifts_nothing(scene: Scene) -> None:
    program = Program(scene, WHO)
    first = program.ask("/loans?limit=2")
    scene.lend(ANA, 20)
    rest = program.ask(f"/loans?limit=100&cursor={first['next']}")
    ids = [loan["id"] for loan in first["items"] + rest["items"]]
    assert len(ids) == len(set(ids)) == 5
    assert "0x" + (20).to_bytes(32, "big").hex() not in ids


def test_a_desks_program_reads_its_own_lenders_loans(scene: Scene) -> None:
    lodged = GrievanceLodged(scene.model.loans()[-1].id, WHO, Grievance.HARDSHIP, WHO, False, False)
    scene.tell(lodged, at=scene.ana.opened_at + 1)
    servicer, lender = Program(scene, SERVICER), Program(scene, LENDS.address)
    assert {loan["lender"] for loan in servicer.everything("/desk/loans", 3)} == {LENDER}
    assert len(servicer.everything("/desk/loans", 3)) == 7
    assert [loan["lender"] for loan in lender.everything("/desk/loans", 3)] == [LENDS.address.lower()]
    assert len(Program(scene, AUDITOR.address).everything("/desk/loans", 3)) == 8
    assert [each["grievance"] for each in servicer.everything("/desk/grievances", 1)] == ["hardship"]
    assert lender.everything("/desk/grievances", 1) == []
    # Ana's newest loan, which the notices are about, is the other lender's.
    assert servicer.everything("/desk/notices", 2) == []
    assert len(lender.everything("/desk/notices", 2)) == 5
    portfolio = servicer.ask("/desk/portfolio")
    assert sum(bucket["loans"] for bucket in portfolio["buckets"]) == 7


def test_anothers_loan_is_as_good_as_none(scene: Scene) -> None:
    bo, lender = Program(scene, BO.address), Program(scene, LENDS.address)
    for path in ("", "/schedule", "/notices"):
        bo.ask(f"/loans/0x{scene.ana.id.hex()}{path}", 404)
        bo.ask(f"/loans/0x{'ab' * 32}{path}", 404)
        lender.ask(f"/loans/0x{scene.bo.id.hex()}{path}", 404)
        lender.ask(f"/loans/0x{scene.ana.id.hex()}{path}")
    for path in ("/desk/loans", "/desk/portfolio", "/desk/notices", "/desk/grievances"):
        bo.ask(path, 403)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Basic eDp4", "Bearer " + "x" * 43])
def test_without_a_token_nobody_is_let_in(scene: Scene, header: str) -> None:
    browser = scene.signed_in(ANA)
    if header:
        browser.headers["authorization"] = header
    # A session's cookie does not do: no other site can have a browser ask.
    answer = browser.get("/api/v1/loans")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_a_calendars_secret_and_a_revoked_one_do_not_do(scene: Scene) -> None:
    Program(scene, WHO, Purpose.CALENDAR).ask("/loans", 401)
    program = Program(scene, WHO)
    program.ask("/loans")
    for token in scene.app.tokens.of(WHO):
        scene.app.tokens.revoke(WHO, token.number)
    program.ask("/loans", 401)


@pytest.mark.parametrize(
    "path",
    [
        "/loans?limit=0",
        "/loans?limit=101",
        "/loans?limit=x",
        "/loans?cursor=x",
        "/loans?cursor=LTE",
        "/loans?cursor=%F0%9F%98%80",
        "/loans/0x12",
        "/policies/0",
        "/policies/x",
        "/notices/x",
    ],
)
def test_what_is_not_understood_is_said_to_be_so(scene: Scene, path: str) -> None:
    told = Program(scene, WHO).ask(path, 422)
    assert told["status"] == 422
    assert told["detail"]


def test_anybody_reads_where_it_is_and_by_which_policy(scene: Scene) -> None:
    browser = scene.browser()
    about = browser.get("/api/v1/about").json()
    assert about["currency"] == {"address": "0x" + "cc" * 20, "symbol": "TUSD", "decimals": 2}
    policy = browser.get("/api/v1/policies/1").json()
    assert policy["pack_hash"] == "0x" + scene.model.policy(1).pack.hex()
    assert browser.get("/api/v1/policies/2").status_code == 404
    # There is no node to ask about a notice.
    assert browser.get(f"/api/v1/notices/0x{'ab' * 32}").status_code == 503
    document = browser.get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.")
    assert "/loans/{loan}" in document["paths"]


def test_programs_are_slowed_down_too() -> None:
    rates = RATES | {"api": Rate(5, 0.1), "verify": Rate(2, 0.1), "page": Rate(1, 0.1)}
    browser = Scene(rates=rates).browser()
    assert [browser.get("/api/v1/about").status_code for _ in range(6)] == [200] * 5 + [429]
    code = f"/api/v1/notices/0x{'ab' * 32}"
    assert [browser.get(code).status_code for _ in range(3)] == [503, 503, 429]
