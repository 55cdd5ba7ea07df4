"""A short year with everybody in it: nothing gets past the gate, and what is wrong would be noticed."""

import json
from collections.abc import Callable
from typing import Any

from typer.testing import CliRunner

from duly.domain.notice import ALLOWED, Decision, Kind, Refusal
from duly.interfaces.cli import app as cli
from duly.services import adversary, run
from duly.services.policy import pack_names

Played = dict[str, Any]


def play(borrowers: int, days: int, calls: int, seed: int = 1) -> tuple[int, Played]:
    """`duly bench year`: its exit code, and what it told."""
    size = ("--borrowers", borrowers, "--days", days, "--adversary", calls, "--seed", seed)
    result = CliRunner().invoke(cli, ["bench", "year", "--json", *map(str, size)])
    return result.exit_code, json.loads(result.stdout)


def test_a_year_breaks_no_rule_and_an_adversary_gets_nothing_past_the_gate():
    # From January to April: summer time begins in the north and ends in the south.
    exit_code, played = play(borrowers=24, days=95, calls=800)
    assert (played["wrong"], played["adversary"]["differences"], played["violations"]) == ([], [], 0)
    assert played["sound"]
    assert exit_code == 0

    # Every pack has its loans, and enough was said, refused and done for that to mean something.
    assert set(played["loans_opened"]) == set(pack_names())
    assert played["addresses"] > played["persons"] == 24
    assert played["loans"] > played["addresses"]
    assert len(played["served"]) >= 12
    assert played["deliveries"]["sent"] == played["checked"]["notices sent"] >= 100
    assert played["checked"]["reminders not to who paused or ceased"] >= 40
    assert played["instalments"]["reminded"] >= 20
    assert {"repay", "flagMissed", "amend", "assign", "tighten"} <= set(played["acts"])
    assert sum(count for act, count in played["acts"].items() if "lodge" in act) >= 3
    assert sum(count for act, count in played["acts"].items() if "revoke" in act or "cease" in act) >= 1

    tally = played["adversary"]
    assert tally["calls"] == tally["serve"] + tally["serve_many"] + tally["malformed"] == 800
    assert tally["notices"] >= 4_000
    assert sum(tally["through"].values()) >= 50
    # No pack lets two reminders follow one another within a day, so that its cap is never what refuses.
    reasons = {reason.name.lower() for reason in set(Refusal) - {Refusal.NONE, Refusal.DAY_CAP}}
    rare = {"week_cap", "service_cap", "ceased", "resting", "not_told_of_assignment"}
    assert reasons - rare <= set(tally["refused"])


def test_the_same_seed_plays_the_same_year():
    (_, one), (_, other) = (play(borrowers=5, days=15, calls=40, seed=7) for _ in range(2))
    # The vault's salts are secret, and so are the hashes of what is said: nothing else differs.
    assert one | {"seconds": 0} == other | {"seconds": 0}


def test_a_gate_that_answers_otherwise_is_noticed(monkeypatch):
    def lax(*asked: Any, **more: Any) -> Decision:
        found = decide(*asked, **more)
        return ALLOWED if found.reason is Refusal.OUTSIDE_HOURS else found

    decide: Callable[..., Decision] = adversary.decide
    monkeypatch.setattr(adversary, "decide", lax)
    exit_code, played = play(borrowers=5, days=15, calls=150)
    assert exit_code == 1
    assert any("OUTSIDE_HOURS" in each for each in played["adversary"]["differences"])


def test_a_service_that_leaves_something_unsaid_is_noticed(monkeypatch):
    plan = run.plan
    monkeypatch.setattr(
        run, "plan", lambda *a, **k: [each for each in plan(*a, **k) if each.kind is not Kind.LOAN_OPENED]
    )
    exit_code, played = play(borrowers=5, days=15, calls=0)
    assert exit_code == 1
    assert all(each.startswith("left unsaid") and "LOAN_OPENED" in each for each in played["wrong"])
