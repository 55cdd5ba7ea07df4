"""Brownie deploys the very bytecode that the package carries."""

import json
from pathlib import Path

import brownie
import pytest

ARTIFACTS = Path(__file__).resolve().parents[2] / "duly/chain/artifacts"


@pytest.mark.parametrize("name", sorted(path.stem for path in ARTIFACTS.glob("*.json")))
def test_brownie_compiles_to_the_committed_bytecode(name):
    artifact = json.loads((ARTIFACTS / f"{name}.json").read_text(encoding="utf-8"))
    project = brownie.project.get_loaded_projects()[0]
    build = project._build.get(name)
    assert "0x" + build["bytecode"].removeprefix("0x") == artifact["bytecode"]
