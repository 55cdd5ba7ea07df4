"""`duly check` on a service that is set up, and on one that is not any more."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from stage import Stage

from duly.services import check
from duly.services.check import Finding, Level


def found(stage: Stage) -> dict[str, Finding]:
    """What is not in order, by the part."""
    findings = check.everything(fresh(stage))
    return {each.check: each for each in findings if each.level is not Level.OK}


def fresh(stage: Stage) -> Any:
    from duly.bootstrap import Application

    return Application(stage.settings, account=stage.servicer.account)


@pytest.fixture
def ready(stage: Stage) -> Stage:
    stage.lend(1)
    stage.app.indexer.run()
    return stage


def test_everything_is_in_place(ready: Stage) -> None:
    told = ready.duly("check")
    assert told["healthy"], told
    levels = {(each["check"], each["level"]) for each in told["findings"]}
    assert {level for _, level in levels} == {"ok"}
    assert {name for name, _ in levels} == {
        "node", "deployment", "key", "head", "finality", "clock", "contracts", "database", "schema", "vault",
        "channels", "templates", "loans", "gas", "disk",
    }  # fmt: skip
    # Neither the borrower nor a secret is told.
    assert "borrower" not in str(told)
    assert ready.servicer.account.key.hex() not in str(told)


def test_what_broke_is_found(ready: Stage) -> None:
    assert found(ready) == {}
    before = ready.mailbox.count()

    book = ready.contracts.policy_book.address
    code = ready.rpc("eth_getCode", book, "latest")
    ready.rpc("anvil_setCode", book, code[:-2] + "00")
    assert found(ready)["contracts"].level is Level.FAILURE
    ready.rpc("anvil_setCode", book, code)

    ready.rpc("anvil_setBalance", ready.servicer.address, "0x0")
    assert found(ready)["gas"].level is Level.FAILURE

    ready.mailbox.close()
    problems = found(ready)
    assert problems["channels"].level is Level.FAILURE
    assert "connection refused" in problems["channels"].found
    assert problems.keys() == {"gas", "channels"}
    assert ready.mailbox.count() == before

    ready.rpc("anvil_reset")
    problems = found(ready)
    assert problems["deployment"].level is Level.FAILURE
    assert "first blocks differ" in problems["deployment"].found
    assert problems["contracts"].found == "not checked: the deployment comes first"


def test_another_key_serves_nobody(ready: Stage) -> None:
    from duly.bootstrap import Application

    stranger = Application(ready.settings, account=ready.deployer.account)
    (finding,) = (each for each in check.everything(stranger) if each.level is not Level.OK)
    assert (finding.check, finding.level) == ("loans", Level.WARNING)


def test_a_node_that_hangs_is_given_up(ready: Stage) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = ready.start(
            "check", "--timeout", "0.5", "--rpc", f"http://127.0.0.1:{listener.getsockname()[1]}"
        )
        try:
            out, error = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode == 1
    assert "Traceback" not in out + error
    assert "no answer" in out
