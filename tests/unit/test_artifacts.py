"""The committed artifacts are what the contracts compile to. Nothing is compiled here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from duly.chain import compiler


def test_no_artifact_is_stale():
    assert compiler.stale_artifacts() == [], "run `make artifacts`"


def test_every_artifact_reads_back_as_it_was_written():
    for path in compiler.ARTIFACTS.glob("*.json"):
        assert compiler.read_artifact(path.stem).to_json() == path.read_text(encoding="utf-8")


def test_an_unknown_contract_is_named():
    with pytest.raises(FileNotFoundError, match="NoSuchContract"):
        compiler.read_artifact("NoSuchContract")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project: one contract, its interface, its library, and a second contract apart."""
    files = {
        "contracts/Ledger.sol": """
            import {ILedger, Loan} from "./interfaces/ILedger.sol";
            import {
                Sum
            } from "./libraries/Sum.sol";
            // import "./Gone.sol"; contract NotThis {}
            contract Ledger is ILedger {}
        """,
        "contracts/Desk.sol": 'import "@openzeppelin/contracts/access/AccessControl.sol";\ncontract Desk {}',
        "contracts/interfaces/ILedger.sol": "struct Loan { uint256 due; }\ninterface ILedger {}",
        "contracts/libraries/Sum.sol": "library Sum {}",
        "package.json": json.dumps(
            {"devDependencies": {"@openzeppelin/contracts": "5.7.0", "solady": "0.1.26"}}
        ),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def hashes(project: Path) -> dict[str, str]:
    return {name: digest for name, (_, digest) in compiler.source_hashes(project).items()}


def changed(project: Path, path: str, old: str, new: str) -> set[str]:
    """The contracts whose hash changes with an edit."""
    before = hashes(project)
    file = project / path
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    after = hashes(project)
    return {name for name in before if before[name] != after[name]}


def test_contracts_and_interfaces_get_artifacts_and_libraries_do_not(project):
    assert set(hashes(project)) == {"Ledger", "Desk", "ILedger"}


@pytest.mark.parametrize(
    ("path", "old", "new", "stale"),
    [
        ("contracts/libraries/Sum.sol", "Sum {}", "Sum { }", {"Ledger"}),
        ("contracts/interfaces/ILedger.sol", "due", "owed", {"Ledger", "ILedger"}),
        ("contracts/Desk.sol", "{}", "{ }", {"Desk"}),
        ("package.json", "5.7.0", "5.7.1", {"Desk"}),
        ("package.json", "0.1.26", "0.1.27", set()),
    ],
)
def test_an_edit_makes_stale_what_is_made_of_it(project, path, old, new, stale):
    assert changed(project, path, old, new) == stale


def test_another_setting_makes_all_stale(project, monkeypatch):
    before = hashes(project)
    monkeypatch.setattr(compiler, "OPTIMIZER", {"enabled": True, "runs": 1})
    after = hashes(project)
    assert all(before[name] != after[name] for name in before)


def test_line_endings_change_nothing(project):
    before = hashes(project)
    for path in project.rglob("*.sol"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert hashes(project) == before


def test_a_missing_import_is_told(project):
    (project / "contracts/libraries/Sum.sol").unlink()
    with pytest.raises(compiler.CompileError, match=r"Ledger\.sol imports \./libraries/Sum\.sol"):
        compiler.source_hashes(project)


def test_one_name_cannot_be_two_contracts(project):
    (project / "contracts/Other.sol").write_text("contract Desk {}", encoding="utf-8")
    with pytest.raises(compiler.CompileError, match="Desk is defined in"):
        compiler.source_hashes(project)


def test_only_what_changed_is_written(tmp_path):
    one = compiler.Artifact(name="One", source="contracts/One.sol", abi=[], source_hash="1")
    two = compiler.Artifact(name="Two", source="contracts/Two.sol", abi=[], source_hash="2")
    assert compiler.write_artifacts({"One": one, "Two": two}, tmp_path) == ["One", "Two"]
    assert compiler.write_artifacts({"One": one, "Two": two}, tmp_path) == []
    assert compiler.write_artifacts({"One": one}, tmp_path) == ["Two"]
    assert [path.name for path in tmp_path.iterdir()] == ["One.json"]


def test_stale_left_over_and_missing_artifacts_are_found(project, tmp_path):
    folder = tmp_path / "artifacts"
    made = {
        name: compiler.Artifact(name=name, source=source, abi=[], source_hash=digest)
        for name, (source, digest) in compiler.source_hashes(project).items()
    }
    made["Old"] = compiler.Artifact(name="Old", source="contracts/Old.sol", abi=[], source_hash="0")
    del made["Desk"]
    compiler.write_artifacts(made, folder)
    assert compiler.stale_artifacts(project, folder) == ["Desk", "Old"]
