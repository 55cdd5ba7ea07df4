"""The tool chain's files agree with one another."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from duly.chain import compiler

ROOT = Path(__file__).resolve().parents[2]


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_brownie_compiles_as_the_package_does():
    brownie = yaml.safe_load(text("brownie-config.yaml"))["compiler"]
    assert brownie["evm_version"] == compiler.EVM_VERSION
    assert brownie["solc"]["version"] == compiler.SOLC_VERSION
    assert brownie["solc"]["viaIR"] is compiler.VIA_IR
    assert brownie["solc"]["optimizer"] == compiler.OPTIMIZER
    assert brownie["solc"]["remappings"] == [
        f"{prefix}={target}" for prefix, target in compiler.REMAPPINGS.items()
    ]


@pytest.mark.parametrize("profile", ["default", "coverage"])
def test_forge_compiles_as_the_package_does(profile):
    profiles = tomllib.loads(text("foundry.toml"))["profile"]
    forge = profiles["default"] | profiles[profile]
    assert forge["evm_version"] == compiler.EVM_VERSION
    assert forge["solc"] == f"build/solc/solc-v{compiler.SOLC_VERSION}"
    assert forge["via_ir"] is compiler.VIA_IR
    assert {"enabled": forge["optimizer"], "runs": forge["optimizer_runs"]} == compiler.OPTIMIZER
    remappings = dict(remapping.split("=") for remapping in forge["remappings"])
    assert remappings.items() >= compiler.REMAPPINGS.items()


def test_brownies_chain_has_the_compilers_rules():
    networks = yaml.safe_load(text("brownie-config.yaml"))["networks"]
    assert networks["development"]["cmd_settings"]["evm_version"] == compiler.EVM_VERSION


def test_npms_compiler_is_the_pinned_one():
    assert json.loads(text("package.json"))["devDependencies"]["solc"] == compiler.SOLC_VERSION


def test_npm_packages_are_pinned_exactly():
    # The hash of an artifact takes a library's version for its files.
    versions = json.loads(text("package.json"))["devDependencies"].values()
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)


@pytest.mark.parametrize(
    ("lock", "hosts"),
    [
        ("uv.lock", {"https://pypi.org", "https://files.pythonhosted.org"}),
        ("package-lock.json", {"https://registry.npmjs.org"}),
    ],
)
def test_locks_lead_to_the_public_registries_alone(lock, hosts):
    # A lock made behind a private registry would lead everybody there.
    fetched = re.findall(r'(?:url|registry|"resolved")\s*[=:]\s*"(https?://[^/"]+)', text(lock))
    assert set(fetched) <= hosts


def test_the_package_does_not_need_brownie():
    project = tomllib.loads(text("pyproject.toml"))["project"]
    assert not [name for name in project["dependencies"] if "brownie" in name]
