"""`duly database`."""

import json

import pytest
from typer.testing import CliRunner

from duly.interfaces.cli import app
from duly.store.database import open_engine, writing
from duly.store.migrations import SERVICE


def run(*arguments: str) -> tuple[int, dict[str, object]]:
    result = CliRunner().invoke(app, ["database", *arguments, "--json"])
    return result.exit_code, json.loads(result.output)


def test_an_older_database_is_told_and_brought_forward(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DULY_DATABASE", empty)
    assert run("status")[1]["revision"] is None
    engine = open_engine(empty)
    with writing(engine) as connection:
        SERVICE.upgrade(connection, to="service_0001")
    engine.dispose()
    code, told = run("status")
    assert (code, told["revision"], told["wanted"], told["current"]) == (
        1, "service_0001", SERVICE.head, False,
    )  # fmt: skip
    assert run("upgrade") == (0, {"from": "service_0001", "to": SERVICE.head})
    assert run("upgrade") == (0, {"from": SERVICE.head, "to": SERVICE.head})
    assert run("status")[0] == 0


def test_no_password_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DULY_DATABASE", "postgresql://me:hush@/duly?host=/nowhere")
    result = CliRunner().invoke(app, ["database", "status"])
    assert result.exit_code == 1
    assert "cannot be reached" in result.stderr
    assert "hush" not in result.output + result.stderr
