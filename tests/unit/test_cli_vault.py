"""`duly vault`, and the lines that `duly serve`, `duly deliver` and `duly run` print."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from typer.testing import CliRunner, Result

from duly.channels.message import CarrierUnavailable
from duly.domain.notice import Refusal
from duly.interfaces.cli import app, deliver, serve
from duly.interfaces.cli import run as run_command
from duly.services.deliver import DeliverReport
from duly.services.index import IndexReport
from duly.services.run import RoundReport
from duly.services.serve import ServeReport

BORROWER = "0x" + "b1" * 20
ADDRESS = "wang.fang@example.org"


@pytest.fixture(autouse=True)
def _settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DULY_VAULT", f"sqlite:///{tmp_path / 'vault.db'}")
    run("vault", "init", "one.key")
    monkeypatch.setenv("DULY_MASTER_KEY_FILE", str(tmp_path / "one.key"))


def run(*arguments: str, given: str | None = None, code: int = 0) -> Result:
    result = CliRunner().invoke(app, arguments, input=given)
    assert result.exit_code == code, result.output
    return result


def test_an_address_goes_in_and_shows_masked() -> None:
    added = run("vault", "add", BORROWER, "--language", "zh", "--json", given=ADDRESS + "\n")
    assert json.loads(added.stdout)["verified"] is False
    assert ADDRESS not in added.output
    (shown,) = json.loads(run("vault", "show", BORROWER, "--json").stdout)
    assert shown == {
        "channel": "email",
        "address": "w***@e***.org",
        "verified": False,
        "commitment": None,
        "language": "zh",
        "preferences": {"hours": None, "time_zone": None, "days_before": [3], "on_due_day": True},
    }
    assert ADDRESS not in run("vault", "show", BORROWER).output
    assert ADDRESS in run("vault", "show", BORROWER, "--reveal").output
    assert BORROWER in run("vault", "show").stdout
    assert json.loads(run("vault", "show", "--json").stdout) == [BORROWER]


def test_wishes_are_kept_shown_and_forgotten() -> None:
    run("vault", "add", BORROWER, "--address", ADDRESS)
    told = run("vault", "prefer", BORROWER, "--hours", "18:00-20:30", "--zone", "Europe/Athens")
    assert "18:00-20:30" in told.stdout
    # What is not named stays.
    kept = json.loads(
        run("vault", "prefer", BORROWER, "--days-before", "7,1", "--no-due-day", "--json").stdout
    )
    assert kept == {
        "borrower": BORROWER,
        "hours": "18:00-20:30",
        "time_zone": "Europe/Athens",
        "days_before": [7, 1],
        "on_due_day": False,
    }
    shown = run("vault", "show", BORROWER).stdout
    assert "Europe/Athens" in shown
    assert "7 and 1 days before" in shown
    run("vault", "add", BORROWER, "--address", "other@example.org", "--language", "zh")
    assert "18:00-20:30" in run("vault", "show", BORROWER).stdout
    reset = json.loads(run("vault", "prefer", BORROWER, "--reset", "--days-before", "none", "--json").stdout)
    assert (reset["hours"], reset["time_zone"], reset["days_before"]) == (None, None, [])
    run("vault", "erase", BORROWER, "--yes")
    run("vault", "prefer", BORROWER, "--hours", "any", code=1)


@pytest.mark.parametrize(
    ("option", "given", "wanted"),
    [
        ("--hours", "evening", "such as 18:00-20:30"),
        ("--hours", "20:30-18:00", "such as 18:00-20:30"),
        ("--zone", "Mars/Base", "such as Europe/Athens"),
        ("--days-before", "2", "any of 7, 3, 1"),
    ],
)
def test_a_wish_that_nobody_can_keep_is_told(option, given, wanted) -> None:
    run("vault", "add", BORROWER, "--address", ADDRESS)
    assert wanted in run("vault", "prefer", BORROWER, option, given, code=2).stderr
    # Whatever was typed in the wrong place is not repeated.
    assert ADDRESS not in run("vault", "prefer", BORROWER, option, ADDRESS, code=2).output
    assert json.loads(run("vault", "show", BORROWER, "--json").stdout)[0]["preferences"]["hours"] is None


def test_what_is_no_address_is_not_repeated() -> None:
    assert "nobody" not in run("vault", "add", BORROWER, given="nobody@home\n", code=2).output
    assert ADDRESS not in run("vault", "add", ADDRESS, "--address", ADDRESS, code=2).output
    assert ADDRESS not in run("vault", "add", BORROWER, ADDRESS, code=2).output
    assert ADDRESS not in run("vault", "add", BORROWER, "--channel", ADDRESS, code=2).output
    assert "no such channel" in run("vault", "add", BORROWER, "--channel", "letter", code=2).stderr


def test_who_wrote_is_found() -> None:
    run("vault", "add", BORROWER, "--address", ADDRESS)
    assert run("vault", "find", given=ADDRESS).stdout == BORROWER + "\n"
    assert json.loads(run("vault", "find", "--json", given=ADDRESS).stdout) == [BORROWER]
    assert "nobody" not in run("vault", "find", given="nobody@example.org", code=1).output


def test_erasing_asks_first() -> None:
    run("vault", "add", BORROWER, "--address", ADDRESS)
    run("vault", "erase", BORROWER, given="n\n", code=1)
    run("vault", "show", BORROWER)
    run("vault", "erase", BORROWER, given="y\n")
    run("vault", "show", BORROWER, code=1)
    run("vault", "erase", BORROWER, "--yes", code=1)


def test_rotating_makes_the_old_key_useless(tmp_path, monkeypatch) -> None:
    run("vault", "add", BORROWER, "--address", ADDRESS)
    run("vault", "rotate", "--new-key-file", "two.key", "--finish")
    assert "does not open this vault" in run("vault", "show", code=1).stderr
    monkeypatch.setenv("DULY_MASTER_KEY_FILE", str(tmp_path / "two.key"))
    assert ADDRESS in run("vault", "show", BORROWER, "--reveal").output


def test_a_key_is_never_overwritten_nor_printed(tmp_path) -> None:
    run("vault", "init", "one.key", code=1)
    made = run("vault", "init", "new/two.key")
    assert (tmp_path / "new/two.key").read_text().strip() not in made.output


def test_without_a_key(monkeypatch) -> None:
    monkeypatch.delenv("DULY_MASTER_KEY_FILE")
    assert "duly vault init" in run("vault", "show", code=1).stderr


@pytest.mark.parametrize("command", [["vault", "add"], ["serve"], ["deliver"], ["run"]])
def test_help_teaches(command) -> None:
    assert "Example" in run(*command, "--help").stdout


def test_reports_in_words() -> None:
    served = ServeReport((b"", b""), Counter({Refusal.TOO_SOON: 2, Refusal.CEASED: 1}), Counter(no_address=1))
    assert serve.in_words(served) == "2 served, 3 refused (1 ceased, 2 too soon), 1 skipped (1 no address)."
    assert served.as_json() == {
        "served": 2,
        "refused": {"ceased": 1, "too_soon": 2},
        "skipped": {"no_address": 1},
    }
    delivered = DeliverReport(1234, 1230, 1, 2, Counter(window_over=3), 4)
    assert deliver.in_words(delivered) == (
        "1,234 sent in 1,230 messages, 3 dropped (3 window over), 1 to be tried again, 2 uncertain, 4 left"
    )
    assert deliver.in_words(DeliverReport(3, 1)) == "3 sent in 1 message"
    assert deliver.in_words(DeliverReport(3, 3)) == "3 sent"
    problem = CarrierUnavailable("no mail")
    report = RoundReport(
        1_790_078_400, IndexReport(2, 30, 8, 9, 1), served, delivered, 5, problem, seconds=0.0301
    )
    line = run_command.in_words(report)
    assert line.startswith("2026-09-22 12:00:00 UTC  block 9, 30 read, 1 taken back, 2 served")
    assert "5 held back" in line
    assert line.endswith("(30 ms)")
    assert json.loads(json.dumps(report.as_json()))["problem"] == "no mail"
    assert report.as_json()["seconds"] == 0.03


def test_settling_needs_to_know_what_was_found_out() -> None:
    assert "--sent" in run("deliver", "settle", "0x12", code=2).stderr


def test_a_role_that_there_is_none_of() -> None:
    error = run("run", "--role", "index,post", code=2).stderr
    assert "there is no role 'post'" in error
    assert "index, plan, serve, deliver" in error


def test_without_a_mail_server_the_service_does_not_start() -> None:
    assert "no mail server is set" in run("run", "--once", code=1).stderr
