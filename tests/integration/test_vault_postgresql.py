"""The contact vault on PostgreSQL: the same tests as on SQLite, and what is PostgreSQL's own."""

from __future__ import annotations

import pytest
from databases import execute, stored
from sqlalchemy import create_engine
from test_vault import *  # noqa: F403
from test_vault import ADDRESS, BORROWER, sealed

from duly.domain.consent import Channel
from duly.store import vault as module
from duly.store.database import parse_url
from duly.store.vault import MasterKey, Vault, VaultError


def test_priv_1_what_could_not_be_rewritten_is_told_and_done_the_next_time(vault, url, key, monkeypatch):
    vault.add(BORROWER, Channel.EMAIL, ADDRESS)
    lost = sealed(url)
    monkeypatch.setattr(module, "_PATIENCE", 1)
    with (
        Vault.open(url, key) as hasty,
        create_engine(parse_url(url)).begin() as copying,
    ):
        # As `pg_dump` does.
        copying.exec_driver_sql("LOCK TABLE contacts IN ACCESS SHARE MODE")
        with pytest.raises(VaultError, match=r"it is done, but .* another program") as caught:
            hasty.erase(BORROWER)
    assert "Erasing anyone" in caught.value.remedy
    assert vault.borrowers() == []
    assert any(value in stored(url) for value in lost)
    assert vault.erase(BORROWER) == 0
    assert not any(value in stored(url) for value in lost)


def test_priv_1_a_user_who_cannot_rewrite_the_tables_is_told(vault, url, key):
    # PostgreSQL itself only warns.
    vault.add(BORROWER, Channel.EMAIL, ADDRESS)
    execute(
        url,
        "CREATE ROLE guest LOGIN",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO guest",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO guest",
    )
    try:
        guest = parse_url(url).set(username="guest").render_as_string(hide_password=False)
        with (
            Vault.open(guest, key) as theirs,
            pytest.raises(VaultError, match="were not rewritten") as caught,
        ):
            theirs.erase(BORROWER)
        assert caught.value.wanted == "this user as their owner"
    finally:
        execute(url, "DROP OWNED BY guest", "DROP ROLE guest")


def test_a_server_that_is_down(tmp_path):
    with pytest.raises(DatabaseError, match="cannot be reached") as caught:  # noqa: F405
        Vault.open(f"postgresql://me:sesame@/vault?host={tmp_path}", MasterKey.generate())
    assert "DULY_VAULT" in caught.value.remedy
    assert "sesame" not in str(caught.value)
