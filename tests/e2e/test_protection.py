"""What a borrower is told of what is kept, and for how long it is kept."""

from __future__ import annotations

import json
import stat

import pytest
from eth_abi import encode
from eth_utils import keccak
from stage import Borrower, Stage

from duly.chain.clock import travel
from duly.domain.calendar import DAY
from duly.domain.consent import Channel
from duly.services import protection


def test_a_borrower_is_told_everything(stage, tmp_path):
    borrower, other = stage.lend(1, language="zh") + stage.lend(1)
    assert stage.duly("run", "--once")["delivered"]["sent"] == 2
    who = borrower.sender.address
    stage.duly("vault", "show", who)
    written = stage.duly("vault", "export", who, "--directory", str(tmp_path / "out"))
    files = [tmp_path / "out" / f"duly-export-{who.lower()[:10]}.{kind}" for kind in ("json", "html")]
    assert written == [str(file) for file in files]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    told = json.loads(files[0].read_text())
    (contact,) = told["contacts"]
    assert (contact["address"], contact["verified_by"], told["language"]) == (borrower.address, "code", "zh")
    assert contact["added_at"] <= contact["verified_at"]
    # The salt and the address make the commitment that is on chain.
    salt = bytes.fromhex(contact["salt"][2:])
    commitment = keccak(encode(["bytes32", "uint8", "string"], [salt, 0, borrower.address]))
    assert contact["commitment"] == "0x" + commitment.hex()
    assert stage.app.read_model.commitment(who.lower(), Channel.EMAIL) == commitment
    (notice,) = told["notices"]
    words = f"{notice['subject']}\n\n{notice['body']}".encode()
    assert notice["content_hash"] == "0x" + keccak(bytes.fromhex(notice["salt"][2:]) + words).hex()
    assert (notice["kind"], notice["delivery"]["state"]) == ("loan_opened", "sent")
    assert [loan["id"] for loan in told["loans"]] == ["0x" + borrower.loan.hex()]
    assert told["consents"]["consented"] == ["email"]
    assert len(told["codes_sent_at"]) == 1
    assert [(entry["purpose"], entry["about"]) for entry in told["log"]] == [
        ("verification", None),
        ("delivery", notice["id"]),
        ("show", "masked"),
        ("export", None),
    ]
    # Nothing of anybody else.
    page = files[1].read_text()
    assert other.address not in files[0].read_text() + page
    assert other.loan.hex() not in files[0].read_text() + page
    for part in (borrower.address, notice["id"], commitment.hex(), borrower.loan.hex(), '<html lang="zh">'):
        assert part in page
    error = stage.duly("vault", "export", who, "--directory", str(tmp_path / "out"), code=1)
    assert "already" in error


def test_without_a_database_the_vault_is_told(stage):
    stage.app.vault.add("0x" + "b1" * 20, Channel.EMAIL, "<b>&x@example.org".replace("<b>&", "b'"))
    told = protection.export(stage.app, "0x" + "b1" * 20)
    assert "loans" not in told
    assert "b&#x27;x@example.org" in protection.page(told)
    assert not (stage.directory / "duly.db").exists()
    assert "knows nothing" in stage.duly("vault", "export", "0x" + "b2" * 20, code=1)


def settle(stage: Stage, borrower: Borrower) -> None:
    contracts = stage.contracts
    for call in (
        contracts.currency.mint(borrower.sender.address, 10**9),
        contracts.currency.approve(contracts.ledger.address, 2**255),
        contracts.ledger.settle(borrower.loan, 2**87),
    ):
        borrower.sender.send(call)


@pytest.fixture
def people(stage) -> dict[str, Borrower]:
    """Borrowers whose loans ended, and some whose did not."""
    stage.app.vault.add("0x" + "b1" * 20, Channel.EMAIL, "waits.for.a.loan@example.org")
    found = dict(zip(("over", "open", "late", "again"), stage.lend(4), strict=True))
    for name in ("over", "again"):
        settle(stage, found[name])
    return found


def test_who_has_had_no_loan_for_long_is_forgotten(stage, people):
    (busy,) = stage.lend(1)
    vault = stage.app.vault
    # The same person has an open loan under another address.
    vault.add(busy.sender.address, Channel.SMS, "+442079460000")
    vault.add(people["again"].sender.address, Channel.SMS, "+442079460000")
    travel(stage.w3, stage.app.clock.now() + 20 * DAY)
    settle(stage, people["late"])
    travel(stage.w3, stage.app.clock.now() + 15 * DAY)
    over = people["over"].sender.address.lower()
    planned = stage.duly("vault", "purge", "--after", "30", "--dry-run")
    assert [each["borrower"] for each in planned["borrowers"]] == [over]
    assert len(vault.borrowers()) == 6
    stage.duly("vault", "purge", "--after", "30", "--yes")
    assert len(vault.borrowers()) == 5
    assert over not in vault.borrowers()
    assert stage.duly("vault", "purge", "--after", "30", "--yes")["borrowers"] == []
    late = people["late"].sender.address.lower()
    planned = stage.duly("vault", "purge", "--after", "14", "--dry-run")
    assert [each["borrower"] for each in planned["borrowers"]] == [late]
    assert "--after" in stage.duly("vault", "purge", "--after", "0", code=2)
    # STRICT does not say for how long.
    assert stage.duly("vault", "purge", "--yes")["borrowers"] == []


def test_a_loan_that_was_just_opened_counts_before_it_is_read(stage, people):
    app, over = stage.app, people["over"]
    travel(stage.w3, app.clock.now() + 31 * DAY)
    app.indexer.run()
    now = app.clock.now()
    borrowers = {over.sender.address.lower(), people["again"].sender.address.lower()}
    assert {each.borrower for each in protection.ended(app, now)} == borrowers
    over.number += 1000
    over.open("en", False)
    borrowers.remove(over.sender.address.lower())
    assert {each.borrower for each in protection.ended(app, now)} == borrowers
