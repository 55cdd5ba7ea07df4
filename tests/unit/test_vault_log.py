"""Who read what: the vault's log."""

from __future__ import annotations

import pytest
from databases import execute, rows
from sqlalchemy.exc import DBAPIError

from duly.domain.consent import Channel
from duly.store.vault import AlteredLog, MasterKey, Reading, Vault, VaultError

BORROWER, OTHER = "0x" + "b1" * 20, "0x" + "b2" * 20
ADDRESS = "wang.fang@example.org"


@pytest.fixture
def url(vault_url):
    return vault_url


@pytest.fixture
def vault(url):
    with Vault.open(url, MasterKey.generate()) as vault:
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


def test_nobody_reads_what_cannot_be_told(vault, url):
    if url.startswith("sqlite"):
        execute(url, "CREATE TRIGGER is_full BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'full'); END")
    else:
        execute(url, "ALTER TABLE log ADD CONSTRAINT is_full CHECK (id < 0)")
    with pytest.raises(VaultError) as caught:
        vault.contact(BORROWER, Channel.EMAIL, Reading("delivery"))
    # The database quotes the row that it refused.
    assert "delivery" not in str(caught.value)
    assert vault.log() == []


@pytest.mark.parametrize("statement", ["DELETE FROM log WHERE id = 1", "UPDATE log SET purpose = 'nothing'"])
def test_the_log_is_only_added_to(vault, url, statement):
    vault.contact(BORROWER, Channel.EMAIL, Reading("show"))
    with pytest.raises(DBAPIError, match="only ever added to"):
        execute(url, statement)


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
def test_who_gets_around_that_is_found_out(vault, url, statement):
    for number in range(3):
        vault.contact(BORROWER, Channel.EMAIL, Reading("show", str(number)))
    assert len(vault.log()) == 3
    on_sqlite = ["DROP TRIGGER log_stays_on_update", "DROP TRIGGER log_stays_on_delete"]
    triggers = on_sqlite if url.startswith("sqlite") else ["DROP TRIGGER log_stays ON log"]
    execute(url, *triggers, *statement.split("; "))
    with pytest.raises(AlteredLog):
        vault.log()


def test_priv_1_the_log_outlives_erasing_and_tells_no_address(vault, url):
    vault.contact(BORROWER, Channel.EMAIL, Reading("delivery", "0x12"))
    vault.erase(BORROWER)
    assert purposes(vault, BORROWER) == ["delivery", "erasure"]
    assert "wang" not in str(rows(url)["log"])
    vault.rotate(MasterKey.generate())
    assert purposes(vault) == ["delivery", "erasure", "rotation", "rotation"]
