"""`duly database`."""

import json

import pytest
from databases import execute, rows
from typer.testing import CliRunner

from duly.interfaces.cli import app
from duly.store import vault
from duly.store.database import open_engine, writing
from duly.store.migrations import SERVICE, VAULT
from duly.store.vault import MasterKey, Vault


def run(*arguments: str) -> tuple[int, dict[str, dict[str, object]]]:
    result = CliRunner().invoke(app, ["database", *arguments, "--json"])
    return result.exit_code, json.loads(result.output)


def test_older_databases_are_told_and_brought_forward(
    empty: str, empty_too: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DULY_DATABASE", empty)
    monkeypatch.setenv("DULY_VAULT", empty_too)
    assert run("status")[1]["service"]["revision"] is None
    for url, schema in ((empty, SERVICE), (empty_too, VAULT)):
        engine = open_engine(url)
        with writing(engine) as connection:
            schema.upgrade(connection, to=schema.revisions()[0])
        engine.dispose()
    if empty_too.startswith("sqlite"):
        execute(empty_too, f"PRAGMA application_id = {vault._APPLICATION}")
    before = rows(empty_too)
    code, told = run("status")
    assert rows(empty_too) == before
    assert (code, told.keys()) == (1, {"service", "vault"})
    for schema in (SERVICE, VAULT):
        one = told[schema.name]
        assert (one["revision"], one["wanted"], one["current"]) == (
            schema.revisions()[0], schema.head, False,
        )  # fmt: skip
    assert run("upgrade") == (
        0, {each.name: {"from": each.revisions()[0], "to": each.head} for each in (SERVICE, VAULT)},
    )  # fmt: skip
    assert run("upgrade")[1]["vault"] == {"from": VAULT.head, "to": VAULT.head}
    assert run("status")[0] == 0
    Vault.open(empty_too, MasterKey.generate()).close()


def test_without_a_vault_nothing_is_said_of_it_and_none_is_made(
    url: str, empty_too: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DULY_DATABASE", url)
    monkeypatch.setenv("DULY_VAULT", empty_too)
    assert run("upgrade")[1].keys() == {"service"}
    assert run("status")[1].keys() == {"service"}
    assert rows(empty_too) == {}


def test_the_two_are_not_kept_in_one_database(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Vault.open(empty, MasterKey.generate()).close()
    monkeypatch.setenv("DULY_DATABASE", empty)
    result = CliRunner().invoke(app, ["database", "upgrade"])
    assert result.exit_code == 1
    assert "this database is the contact vault" in result.stderr
    assert "DULY_DATABASE" in result.stderr


def test_no_password_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DULY_DATABASE", "postgresql://me:hush@/duly?host=/nowhere")
    result = CliRunner().invoke(app, ["database", "status"])
    assert result.exit_code == 1
    assert "cannot be reached" in result.stderr
    assert "hush" not in result.output + result.stderr
