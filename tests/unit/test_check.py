"""Whatever is down, every check ends, in words, and tells nobody's secrets."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from duly.bootstrap import Application
from duly.channels.message import CarrierUnavailable
from duly.config import MailSecurity, MailServer, Settings
from duly.domain.consent import Channel
from duly.domain.errors import DulyError
from duly.interfaces.cli import app as cli
from duly.services import check
from duly.services.check import Finding, Level, Unchecked

SECRET = "hunter2"


def run(what: Any, timeout: float = 30) -> Finding:
    (found,) = check._run({"part": what}, timeout, lambda _: None)
    return found


def fails(error: BaseException) -> Any:
    def part() -> Iterator[Finding]:
        raise error
        yield

    return part


def test_a_check_that_hangs_is_left_behind() -> None:
    ended = threading.Event()

    def hangs() -> Iterator[Finding]:
        ended.wait()
        yield Finding("part", Level.OK, "too late")

    found = run(hangs, 0.05)
    ended.set()
    assert (found.level, found.found) == (Level.FAILURE, "no answer within 0.05 seconds")
    assert found.remedy


def test_what_a_check_stumbles_over_is_told_without_its_words() -> None:
    found = run(fails(KeyError(SECRET)))
    assert (found.level, found.found) == (Level.FAILURE, "could not be checked (KeyError)")


def test_an_error_of_the_programs_own_tells_what_to_do() -> None:
    found = run(fails(DulyError("it is down", wanted="up", remedy="Start it.")))
    assert found == Finding("part", Level.FAILURE, "it is down (wanted: up)", "Start it.")


def test_what_rests_on_a_part_that_failed_is_no_failure_of_its_own() -> None:
    found = run(fails(Unchecked("the node")))
    assert found == Finding("part", Level.WARNING, "not checked: the node comes first")
    assert check.healthy([found])


def findings(tmp_path: Path, **settings: Any) -> dict[str, list[Finding]]:
    given = {
        "rpc": f"http://me:{SECRET}@127.0.0.1:1/{SECRET}",
        "deployments": tmp_path / "deployments",
        "database": f"sqlite:///{tmp_path}/duly.db",
        "vault": f"sqlite:///{tmp_path}/vault.db",
    }
    app = Application(Settings(**(given | settings)))
    found: dict[str, list[Finding]] = {}
    for each in check.everything(app):
        found.setdefault(each.check, []).append(each)
    assert SECRET not in repr(found)
    return found


def test_with_everything_down_every_check_ends(tmp_path: Path) -> None:
    mail = MailServer(
        host="127.0.0.1",
        port=1,
        security=MailSecurity.NONE,
        sender="a@b.example",
        user="me",
        password=SECRET,
    )
    database = f"postgresql+psycopg://me:{SECRET}@127.0.0.1:1/duly?connect_timeout=2"
    found = findings(tmp_path, mail=mail, database=database, master_key=SECRET)
    levels = {name: [str(each.level) for each in some] for name, some in found.items()}
    assert levels == {
        "node": ["failure"],
        "deployment": ["warning"],
        "key": ["warning"],
        "head": ["warning"],
        "finality": ["warning"],
        "clock": ["warning"],
        "contracts": ["warning"],
        "database": ["failure"],
        "schema": ["failure"],
        "vault": ["warning"],
        "channels": ["failure"],
        "templates": ["warning"],
        "loans": ["warning"],
        "gas": ["warning"],
        "disk": ["ok"],
    }
    assert all(each.remedy for some in found.values() for each in some if each.level is Level.FAILURE)
    # Looking makes nothing.
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_databases(tmp_path: Path) -> None:
    for name in ("duly.db", "vault.db"):
        (tmp_path / name).write_text("not a database, however long it may be " * 100)
    found = findings(tmp_path, master_key="5a" * 32)
    for name in ("database", "schema", "vault"):
        (one,) = found[name]
        assert one.level is Level.FAILURE, one
        assert one.remedy or "vault" in one.found


def test_databases_of_an_older_schema_are_left_as_they_are(tmp_path: Path) -> None:
    from sqlalchemy import create_engine

    from duly.store.migrations import SERVICE, VAULT

    for name, schema in (("duly.db", SERVICE), ("vault.db", VAULT)):
        with create_engine(f"sqlite:///{tmp_path}/{name}").begin() as connection:
            schema.upgrade(connection, schema.revisions()[0])
    before = (tmp_path / "vault.db").read_bytes()
    found = findings(tmp_path, master_key="5a" * 32)
    assert [each.level for each in found["schema"]] == [Level.WARNING] * 2
    for each, schema in zip(found["schema"], (SERVICE, VAULT), strict=True):
        assert f"at {schema.revisions()[0]}, this version at {schema.head}" in each.found
        assert each.remedy
    assert found["vault"][0].found == "not checked: its schema comes first"
    assert (tmp_path / "vault.db").read_bytes() == before
    again = findings(tmp_path, master_key="5a" * 32)
    assert again["schema"] == found["schema"]


def test_a_database_of_a_newer_version(tmp_path: Path) -> None:
    from sqlalchemy import create_engine

    with create_engine(f"sqlite:///{tmp_path}/duly.db").begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num TEXT)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('service_9999')")
    (one,) = findings(tmp_path)["schema"]
    assert (one.level, "service_9999" in one.found) == (Level.FAILURE, True)
    assert one.remedy


def test_each_channel_is_looked_at() -> None:
    class Carrier:
        closed = False

        def __init__(self, problem: CarrierUnavailable | None = None) -> None:
            self._problem = problem

        def ready(self) -> None:
            if self._problem:
                raise self._problem

        def close(self) -> None:
            self.closed = True

    carriers = {
        Channel.EMAIL: Carrier(CarrierUnavailable("no mail", remedy="Look.")),
        Channel.SMS: Carrier(),
    }
    mail = SimpleNamespace(security=MailSecurity.NONE, host="mail.example")
    app: Any = SimpleNamespace(carriers=carriers, settings=SimpleNamespace(mail=mail))
    found = [(each.level, each.found) for each in check._channels(app)]
    assert found == [
        (Level.FAILURE, "email: no mail"),
        (Level.OK, "sms: takes messages"),
        (Level.WARNING, "mail crosses the network unencrypted"),
    ]
    assert all(carrier.closed for carrier in carriers.values())


@pytest.mark.parametrize(
    ("free", "level"), [(2**30, Level.OK), (2**30 - 1, Level.WARNING), (100 * 2**20 - 1, Level.FAILURE)]
)
def test_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: Level) -> None:
    monkeypatch.setattr(check.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    app: Any = SimpleNamespace(
        settings=Settings(deployments=tmp_path / "not" / "yet", database="sqlite://", vault="sqlite://")
    )
    (found,) = check._disk(app)
    assert found.level is level
    assert str(tmp_path) in found.found


def test_wrong_settings_are_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DULY_RPC", f"nonsense/{SECRET}")
    monkeypatch.setenv("DULY_FINALITY", "soon")
    result = CliRunner().invoke(cli, ["check", "--json"])
    told = json.loads(result.stdout)
    assert (result.exit_code, told["healthy"]) == (1, False)
    (finding,) = told["findings"]
    assert (finding["check"], finding["level"]) == ("settings", "failure")
    assert "DULY_RPC" in finding["found"]
    assert "DULY_FINALITY" in finding["found"]
    assert SECRET not in result.stdout


def test_a_table_for_people(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setattr(
        check,
        "everything",
        lambda app, timeout: [
            Finding("node", Level.OK, "answers [really]"),
            Finding("disk", Level.WARNING, "full", "Make room."),
        ],
    )
    result = CliRunner().invoke(cli, ["check"])
    assert result.exit_code == 0
    assert "answers [really]" in result.stdout
    assert "Make room." in result.stdout
    assert "0 failed, 1 warned, 1 in order." in result.stdout
