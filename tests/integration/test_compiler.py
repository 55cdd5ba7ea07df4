"""The compiler itself: the artifacts anew, its errors, and the stand-in's manners."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from duly.chain import compiler

SOURCE = "// SPDX-License-Identifier: MIT\npragma solidity 0.8.37;\n"


@pytest.fixture(scope="module")
def solc() -> Path:
    """The executable that everyone uses."""
    compiler.install_compiler()
    return Path(os.environ["SOLCX_BINARY_PATH"]) / f"solc-v{compiler.SOLC_VERSION}"


def ask(
    solc: Path, sources: dict[str, str], *options: str, outputs: tuple[str, ...] = ("abi",), cwd: Path
) -> dict:
    question = {
        "language": "Solidity",
        "sources": {name: {"content": content} for name, content in sources.items()},
        "settings": {"outputSelection": {"*": {"*": list(outputs), "": ["ast"]}}},
    }
    command = [str(solc), "--standard-json", *options]
    answer = subprocess.run(
        command, input=json.dumps(question), cwd=cwd, capture_output=True, text=True, check=True
    ).stdout
    return json.loads(answer)


def test_the_artifacts_are_what_the_contracts_compile_to():
    for name, artifact in compiler.compile_contracts().items():
        committed = (compiler.ARTIFACTS / f"{name}.json").read_text(encoding="utf-8")
        assert artifact.to_json() == committed, f"{name}: run `make artifacts`"


def test_the_contracts_fit_on_a_chain():
    for path in compiler.ARTIFACTS.glob("*.json"):
        artifact = compiler.read_artifact(path.stem)
        assert len(artifact.deployed_bytecode) // 2 - 1 <= 24_576, f"{artifact.name} exceeds EIP-170"
        assert len(artifact.bytecode) // 2 - 1 <= 49_152, f"{artifact.name} exceeds EIP-3860"


def test_the_version_is_told_as_py_solc_x_reads_it(solc):
    answer = subprocess.run([solc, "--version"], capture_output=True, text=True, check=True).stdout
    assert f"Version: {compiler.SOLC_VERSION}+commit." in answer


def test_errors_come_with_their_place(solc, tmp_path):
    answer = ask(solc, {"A.sol": SOURCE + "contract A { uint8 x = 300; }"}, cwd=tmp_path)
    assert answer["errors"][0]["severity"] == "error"
    assert "A.sol:3" in answer["errors"][0]["formattedMessage"]


def test_a_contract_that_does_not_compile_is_told_in_the_compilers_words(tmp_path, monkeypatch):
    # The executable that everyone uses must not come to depend on a folder that goes.
    chosen = compiler.install_compiler()
    monkeypatch.setattr(compiler, "install_compiler", lambda root: chosen)
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts/A.sol").write_text(SOURCE + "contract A { uint8 x = 300; }", encoding="utf-8")
    for needed in ("package.json", "tools", "node_modules"):
        (tmp_path / needed).symlink_to(compiler.ROOT / needed)
    with pytest.raises(compiler.CompileError, match=r"contracts/A\.sol:3"):
        compiler.compile_contracts(tmp_path)


def test_imports_are_read_from_files_and_their_changes_noticed(solc, tmp_path):
    (tmp_path / "lib").mkdir()
    source = {"A.sol": SOURCE + 'import {B} from "lib/B.sol";\ncontract A is B {}'}

    def functions() -> list[str]:
        answer = ask(solc, source, outputs=("abi", "evm.bytecode"), cwd=tmp_path)
        assert "0x" not in answer["contracts"]["A.sol"]["A"]["evm"]["bytecode"]["object"]
        return [item["name"] for item in answer["contracts"]["A.sol"]["A"]["abi"]]

    for name in ("first", "second"):
        body = f"contract B {{ function {name}() external {{}} }}"
        (tmp_path / "lib/B.sol").write_text(SOURCE + body, encoding="utf-8")
        assert functions() == [name]
        assert functions() == [name]


def test_only_what_was_asked_for_is_answered(solc, tmp_path):
    source = {"A.sol": SOURCE + "contract A {}"}
    outputs = ("abi", "evm.deployedBytecode.object")
    answer = ask(solc, source, outputs=outputs, cwd=tmp_path)["contracts"]["A.sol"]["A"]
    assert set(answer) == {"abi", "evm"}
    assert set(answer["evm"]) == {"deployedBytecode"}
    assert set(answer["evm"]["deployedBytecode"]) == {"object"}


def test_files_outside_the_allowed_folders_stay_unread(solc, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/S.sol").write_text(SOURCE + "contract S {}", encoding="utf-8")
    (tmp_path / "project").mkdir()
    source = {"A.sol": SOURCE + f'import "{tmp_path}/secret/S.sol";\ncontract A {{}}'}
    refused = ask(solc, source, cwd=tmp_path / "project")
    assert "not allowed" in json.dumps(refused["errors"]) or "outside of allowed" in json.dumps(
        refused["errors"]
    )
    allowed = ask(solc, source, "--allow-paths", str(tmp_path / "secret"), cwd=tmp_path / "project")
    assert "errors" not in allowed


def test_an_unknown_option_is_refused(solc):
    answer = subprocess.run([solc, "--optimise"], capture_output=True, text=True, check=False)
    assert answer.returncode != 0
    assert "--optimise" in answer.stderr
