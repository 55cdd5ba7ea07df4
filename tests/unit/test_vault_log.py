"""Who read what: the vault's log."""

from __future__ import annotations

import sqlite3

import pytest

from duly.domain.consent import Channel
from duly.store.vault import AlteredLog, MasterKey, Reading, Vault, VaultError

BORROWER, OTHER = "0x" + "b1" * 20, "0x" + "b2" * 20
ADDRESS = "wang.fang@example.org"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vault.db"


@pytest.fixture
def vault(path):
    with Vault.open(f"sqlite:///{path}", MasterKey.generate()) as vault:
        vault.add_all([(BORROWER, Channel.EMAIL, ADDRESS), (OTHER, Channel.EMAIL, "other@example.org")])
        yield vault


def purposes(vault: Vault, borrower: str | None = None) -> list[str]:
    return [entry.purpose for entry in vault.log(borrower)]


def test_every_reading_is_told(vault):
    assert vault.log() == []
    vault.contact(BORROWER, Channel.EMAIL, Reading("delivery", "0x12"))
    code = vault.new_code(BORROWER, Channel.EMAIL)
    vault.check_code(BORROWER, Channel.EMAIL, code.code)
    vault.contact(OTHER, Channel.EMAIL, Reading("show", "revealed"))
    vault.borrowers_at(Channel.EMAIL, ADDRESS)
    vault.record(BORROWER)
    told = ["delivery", "verification", "search", "export"]
    assert purposes(vault, BORROWER) == told
    assert purposes(vault) == [*told[:2], "show", *told[2:]]
    first = vault.log()[0]
    assert (first.number, first.borrower, first.channel, first.about) == (1, BORROWER, Channel.EMAIL, "0x12")
    assert first.by


def test_what_is_no_reading_is_not_told(vault):
    vault.kept(BORROWER, Channel.EMAIL)
    vault.persons()
    vault.salt_for(BORROWER, b"x")
    assert vault.contact(BORROWER, Channel.SMS, Reading("delivery")) is None
    assert vault.log() == []


def test_nobody_reads_what_cannot_be_told(vault, path):
    with sqlite3.connect(path) as database:
        database.execute("CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(VaultError):
        vault.contact(BORROWER, Channel.EMAIL, Reading("delivery"))


@pytest.mark.parametrize("statement", ["DELETE FROM log WHERE id = 1", "UPDATE log SET purpose = 'nothing'"])
def test_the_log_is_only_added_to(vault, path, statement):
    vault.contact(BORROWER, Channel.EMAIL, Reading("show"))
    with (
        sqlite3.connect(path) as database,
        pytest.raises(sqlite3.IntegrityError, match="only ever added to"),
    ):
        database.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM log WHERE id = 1",
        "DELETE FROM log WHERE id = 2",
        "DELETE FROM log WHERE id = 3",
        "DELETE FROM log",
        "UPDATE log SET purpose = 'nothing' WHERE id = 2",
        "UPDATE log SET borrower = NULL WHERE id = 3",
        "INSERT INTO log SELECT 4, at, borrower, channel, purpose, about, by, seal FROM log WHERE id = 3",
        "DELETE FROM log WHERE id = 3; UPDATE vault SET log_count = 2",
    ],
)
def test_who_gets_around_that_is_found_out(vault, path, statement):
    for number in range(3):
        vault.contact(BORROWER, Channel.EMAIL, Reading("show", str(number)))
    assert len(vault.log()) == 3
    with sqlite3.connect(path) as database:
        for act in ("update", "delete"):
            database.execute(f"DROP TRIGGER log_stays_on_{act}")
        database.executescript(statement)
    with pytest.raises(AlteredLog):
        vault.log()


def test_priv_1_the_log_outlives_erasing_and_tells_no_address(vault, path):
    vault.contact(BORROWER, Channel.EMAIL, Reading("delivery", "0x12"))
    vault.erase(BORROWER)
    assert purposes(vault, BORROWER) == ["delivery", "erasure"]
    rows = sqlite3.connect(path).execute("SELECT * FROM log").fetchall()
    assert "wang" not in str(rows)
    vault.rotate(MasterKey.generate())
    assert purposes(vault) == ["delivery", "erasure", "rotation", "rotation"]
