"""After everything the program does, nobody's contact or name is anywhere but in the vault and the mail."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
from urllib.parse import quote

import pytest
from scan import chain, files, find
from stage import Stage

from duly.chain.clock import travel
from duly.domain.consent import Channel
from duly.store.vault import Reading, Vault
from scripts.inbox import read

# Nobody has such a name or address.
PLANTED = {
    "Fernweh.Quixbury@example.org": ("Fernweh", "Quixbury", "en"),
    "zhuoyan.wumingshi+x7@example.org": ("zhuoyan", "wumingshi", "zh"),
    "Okoro_Vantablack@example.org": ("Okoro", "Vantablack", "en"),
}
NAMES = [name for *names, _ in PLANTED.values() for name in names]
WORDS = [*PLANTED, *NAMES]


class Terminal:
    """Runs commands, and keeps everything that they print."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.printed: dict[str, bytes] = {}

    def __call__(self, *arguments: str, given: str | None = None, code: int = 0) -> str:
        process = self.stage.start(*arguments, given=given is not None)
        out, error = process.communicate(given, timeout=120)
        assert process.returncode == code, (arguments, out, error)
        self.printed[f"{len(self.printed)}: duly {arguments[:2]}"] = f"{out}{error}".encode()
        return out + error


@pytest.fixture
def run(stage) -> Terminal:
    """Everything that can be done with contacts was done, on a real chain with real mail."""
    run = Terminal(stage)
    consents = stage.contracts.consents
    borrowers = stage.lend(len(PLANTED), reachable=False)
    for borrower, (address, (_, _, language)) in zip(borrowers, PLANTED.items(), strict=True):
        who = borrower.sender.address
        run("vault", "add", who, "--language", language, given=address + "\n")
        run("vault", "verify", who)
        code = stage.mailbox.code(address)
        run("vault", "verify", who, "--code", f"{(int(code) + 1) % 10**6:06}", code=1)
        verified = run("vault", "verify", who, "--code", code)
        commitment = bytes.fromhex(verified.split("0x")[-1].strip())
        borrower.sender.send(consents.register(Channel.EMAIL, commitment, 0, 0))
        borrower.sender.send(consents.grant(Channel.EMAIL))
    run("run", "--once")
    (loan, *_) = stage.app.read_model.loans()
    travel(stage.w3, loan.terms.first_due * 86_400 - 36 * 3600)
    run("run", "--once", "--json")
    first = borrowers[0].sender.address
    # Mistakes: contacts where none belong.
    address = next(iter(PLANTED))
    run("vault", "add", first, address, code=2)
    run("vault", "add", address, given=address, code=2)
    run("vault", "add", first, "--channel", address, code=2)
    run("vault", "add", first, "--language", address, given=address, code=2)
    run("vault", "add", first, given=f"{address}, {list(PLANTED)[1]}\n", code=2)
    run("vault", "verify", first, "--code", address, code=2)
    run("vault", "show", address, code=2)
    # Looking at everything.
    run("vault", "find", given=address)
    run("vault", "show", first)
    run("vault", "log")
    run("vault", "export", first, "--directory", "export")
    run("vault", "purge", "--after", "1", "--dry-run")
    for command in (["loans"], ["notices"], ["deliver", "list"], ["audit"], ["vault", "show"]):
        run(*command)
    run("notices", "--json")
    run("loan", loan.id.hex()[:12])
    # And when the mail server is away, or the database is none.
    stage.mailbox.close()
    run("deliver")
    run("vault", "rotate", "--new-key-file", "two.key")
    return run


def everywhere(stage: Stage, run: Terminal) -> dict[str, bytes]:
    """The databases' and all other files' bytes, what was printed, and the chain's data."""
    # The mail that was sent, and what was written for the borrower, are where they belong.
    kept = files(stage.directory, without=("inbox", "export"))
    with sqlite3.connect(stage.directory / "duly.db") as database:
        # As rows too, since a value may be spread over pages.
        rows = "\n".join(database.iterdump()).encode()
    return kept | run.printed | chain(stage.w3) | {"rows of duly.db": rows}


def test_priv_1_contacts_and_names_are_nowhere_but_in_the_vault_and_the_mail(stage, run):
    places = everywhere(stage, run)
    assert {"duly.db", "vault.db", "two.key"} <= places.keys()
    assert len(places["vault.db"]) > 10_000
    assert b"NoticeServed" in places["duly.db"]
    assert b"delivery 0x" in b"".join(run.printed.values())
    assert sum(len(data) for place, data in places.items() if place.startswith("block")) > 50_000
    assert find(places, WORDS) == []
    # They are where they belong.
    mails = {str(path): path.read_bytes() for path in (stage.directory / "inbox").glob("*.eml")}
    notices = [read(path) for path in (stage.directory / "inbox").glob("*.eml")]
    assert sum("Duly-Notice" in mail for mail in notices) >= 2 * len(PLANTED)
    assert {found.split(" in ")[0] for found in find(mails, WORDS)} == set(WORDS)
    for borrower in stage.app.vault.borrowers():
        contact = stage.app.vault.contact(borrower, Channel.EMAIL, Reading("test"))
        assert contact is not None
        assert contact.address in PLANTED


@pytest.mark.parametrize("word", [next(iter(PLANTED)), "Vantablack"])
@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc"])
@pytest.mark.parametrize("coding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_what_is_hidden_in_any_form_is_found(word, before, coding):
    for text in (word, word.upper(), word.lower()):
        plain = before + text.encode(coding) + b"and more"
        for hidden in (
            plain,
            plain.hex().encode(),
            plain.hex().upper().encode(),
            base64.b64encode(plain),
            base64.urlsafe_b64encode(plain),
            quote(text, safe="").encode(),
            json.dumps({"to": text}).encode(),
        ):
            assert find({"somewhere": b"\x00" + hidden + b"\xff"}, [word]), (text, hidden)


def test_what_is_planted_anywhere_is_found(stage):
    """The scan could fail: in a database, in a log, in a transaction, and in what is printed."""
    stage.lend(1)
    stage.duly("run", "--once")
    address = next(iter(PLANTED))
    terminal = Terminal(stage)
    assert find(everywhere(stage, terminal), WORDS) == []
    stage.app.close()
    with sqlite3.connect(stage.directory / "duly.db") as database:
        database.execute("UPDATE contents SET body = body || ?", (f"Dear Ms {NAMES[1]}",))
        database.execute("UPDATE deliveries SET reason = ?", (address.encode("utf-16-le").hex(),))
    with sqlite3.connect(stage.directory / "vault.db") as database:
        database.execute("UPDATE borrowers SET language = ?", (address.lower(),))
    shutil.copy(__file__, stage.directory / "service.log")
    sender = stage.deployer.address
    data = "0x" + address.encode().hex()
    sent = stage.rpc("eth_sendTransaction", {"from": sender, "to": sender, "data": data})
    # The node answers before the block is there.
    stage.w3.eth.wait_for_transaction_receipt(sent)
    terminal.printed["a command"] = f"Error: no mail for {address}".encode()
    found = find(everywhere(stage, terminal), WORDS)
    for place in ("rows of duly.db", "vault.db", "service.log", "block", "a command"):
        assert any(f" in {place}" in each for each in found), place
    assert any(each.startswith(f"{NAMES[1]} in ") and "duly.db" in each for each in found)


def test_priv_1_who_was_erased_is_not_written_to_and_the_ledger_stays(stage):
    gone, stays = stage.lend(2)
    assert stage.duly("run", "--once")["delivered"]["sent"] == 2
    before = stage.duly("audit")
    held = [loan.id for loan in stage.app.read_model.loans()]
    (notice,) = stage.app.read_model.notices(borrower=gone.sender.address.lower())
    words = stage.app.notice_store.content(notice.content_hash)
    process = stage.start("vault", "erase", gone.sender.address, "--yes")
    assert "Forgotten" in process.communicate(timeout=60)[0]
    # The words are gone from the files, and what the chain knows stays.
    data = b"".join(files(stage.directory, without=("inbox",)).values())
    assert words.body[-300:].encode() not in data
    assert stage.app.notice_store.content(notice.content_hash) is None
    assert stage.duly("audit") == before
    assert [loan.id for loan in stage.app.read_model.loans()] == held
    travel(stage.w3, stage.app.read_model.loans()[0].terms.first_due * 86_400 - 36 * 3600)
    report = stage.duly("run", "--once")
    assert report["served"] == {"served": 1, "refused": {}, "skipped": {"no_address": 1}}
    assert report["delivered"]["sent"] == 1
    assert stage.mailbox.mails()[-1]["To"] == stays.address


def test_gate_1_nothing_is_served_before_the_address_is_proved(stage):
    (borrower,) = stage.lend(1)
    vault: Vault = stage.app.vault
    who = borrower.sender.address
    # The borrower's new address, registered and consented to by somebody who got hold of the commitment.
    vault.add(who, Channel.EMAIL, "other@example.org")
    kept = vault.kept(who, Channel.EMAIL)
    consents = stage.contracts.consents
    borrower.sender.send(consents.register(Channel.EMAIL, kept.commitment, 0, 0))
    borrower.sender.send(consents.grant(Channel.EMAIL))
    report = stage.duly("run", "--once")
    assert report["served"]["skipped"] == {"not_verified": 1}
    assert stage.mailbox.mails() == []
    assert "1 not verified" in stage.start("run", "--once").communicate(timeout=60)[0]
