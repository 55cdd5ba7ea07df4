"""The bundle for explorers: compiled from nothing else, it makes what is on the chain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import solcx
from conftest import strict
from typer.testing import CliRunner

from duly.bootstrap import Application
from duly.chain import compiler, deployments
from duly.config import Settings
from duly.interfaces.cli import app as cli
from duly.services import bundle, deploy
from duly.services.bundle import NoBundle

NAMES = ("TestDollar", *deployments.CONTRACTS)


@pytest.fixture(scope="module")
def application() -> Application:
    app = Application(Settings(), rpc="tester:")
    app.deployment = deploy.deploy(app.sender, strict(), None).deployment
    return app


@pytest.fixture(scope="module")
def folder(application: Application, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    bundle.write(application.w3, application.deployment, folder)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_an_explorer_makes_the_same_code_of_it(application: Application, folder: Path, name: str) -> None:
    [listed] = [each for each in json.loads((folder / bundle.INDEX).read_text()) if each["name"] == name]
    question = json.loads((folder / listed["sourceCode"]).read_text())
    assert listed["codeformat"] == "solidity-standard-json-input"
    compiler.install_compiler()
    # There is nothing there that it could import: all that it needs is in the file.
    answer = solcx.compile_standard(
        question, solc_version=compiler.SOLC_VERSION, base_path=folder, allow_paths=[folder]
    )
    path, contract = listed["contractname"].split(":")
    evm = answer["contracts"][path][contract]["evm"]

    w3 = application.w3
    made = compiler.read_artifact(name)
    assert "0x" + evm["deployedBytecode"]["object"] == made.deployed_bytecode
    assert deployments.same_code(made, bytes(w3.eth.get_code(listed["contractaddress"])))
    if name != "ConsentRegistry":  # whose creation is in that of the gate
        sent = w3.eth.get_transaction(listed["transaction"])["input"]
        assert bytes(sent).hex() == evm["bytecode"]["object"] + listed["constructorArguments"]


def test_it_names_the_very_compiler() -> None:
    solcx.set_solc_version(compiler.SOLC_VERSION)
    version = solcx.get_solc_version(with_commit_hash=True)
    assert str(version) == compiler.SOLC_BUILD


def test_other_sources_are_refused(application: Application, tmp_path: Path) -> None:
    found = application.deployment
    changed = found.contracts["LoanLedger"].model_copy(update={"source_hash": "other", "commit": "c0ffee"})
    other = found.model_copy(update={"contracts": found.contracts | {"LoanLedger": changed}})
    with pytest.raises(NoBundle, match=r"LoanLedger was deployed from other sources .*commit c0ffee"):
        bundle.write(application.w3, other, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_it_needs_the_sources(application: Application, tmp_path: Path, monkeypatch: Any) -> None:
    original = compiler.standard_input
    monkeypatch.setattr(compiler, "standard_input", lambda name: original(name, tmp_path))
    with pytest.raises(NoBundle, match="needs a checkout"):
        bundle.write(application.w3, application.deployment, tmp_path / "b")


def test_the_command_needs_a_deployment(tmp_path: Path) -> None:
    environment = {"DULY_DEPLOYMENTS": str(tmp_path)}
    result = CliRunner().invoke(cli, ["deploy", "bundle", "--network", "tester:"], env=environment)
    assert result.exit_code == 1
    assert "nothing is deployed" in result.stderr
