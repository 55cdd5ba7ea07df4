"""The record of a deployment."""

import json
from pathlib import Path

import pytest

from duly.chain import compiler, deployments
from duly.chain.deployments import (
    CONTRACTS,
    Currency,
    DeployedContract,
    Deployment,
    Intent,
    InvalidRecord,
    NotDeployed,
    Record,
    locked,
    same_code,
)

HASH = "0x" + "12" * 32


def address(number: int) -> str:
    return "0x" + f"{number:02x}" * 20


def record(**changes: object) -> Record:
    contracts = {
        name: DeployedContract(
            address=address(0xA0 + n),
            block=7 + n,
            transaction=HASH,
            constructor_arguments=(2,),
            source_hash="s",
        )
        for n, name in enumerate(CONTRACTS)
    }
    values: dict[str, object] = {
        "chain_id": 31337,
        "genesis": HASH,
        "deployer": address(1),
        "currency": Currency(address=address(2), decimals=2, symbol="TUSD"),
        "contracts": contracts,
        "policies": {"STRICT": 2, "CN": 1},
    }
    return Record.model_validate(values | changes)


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = deployments.save(tmp_path / "new" / "folder", record())
    assert path.name == "31337.json"
    assert deployments.read(path.parent, 31337) == record()
    found = deployments.load(path.parent, 31337)
    assert (found.block, found.address_of("PolicyBook"), found.has_test_currency) == (7, address(0xA0), False)
    assert sorted(item.name for item in path.parent.iterdir()) == ["31337.json"]


def test_addresses_are_checksummed_in_the_file_and_lower_case_inside(tmp_path: Path) -> None:
    mixed = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    path = deployments.save(tmp_path, record(deployer=mixed))
    assert json.loads(path.read_text())["deployer"] == mixed
    found = deployments.read(tmp_path, 31337)
    assert found is not None
    assert found.deployer == mixed.lower()


def test_a_record_that_cannot_be_replaced_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = deployments.save(tmp_path, record())
    before = path.read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(deployments.os, "fsync", full)
    with pytest.raises(InvalidRecord, match="No space left"):
        deployments.save(tmp_path, record(policies={}))
    assert path.read_text() == before
    assert [item.name for item in tmp_path.iterdir()] == ["31337.json"]


def test_nothing_and_half_of_it(tmp_path: Path) -> None:
    assert deployments.read(tmp_path, 1) is None
    with pytest.raises(NotDeployed, match="nothing is deployed on chain 1"):
        deployments.load(tmp_path, 1)
    intent = Intent(name="LoanLedger", address=address(3), sender=address(1), nonce=2, transaction=HASH)
    half = record(currency=None, policies={}, contracts={}, pending=intent)
    deployments.save(tmp_path, half)
    assert deployments.read(tmp_path, 31337) == half
    with pytest.raises(NotDeployed, match=r"the currency, PolicyBook, .*, a policy missing"):
        deployments.load(tmp_path, 31337)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"chain_id": 31337}', '{"chain_id": 31337, "genesis": "0x12"}', b"\xff"],
)
def test_what_is_no_record(text: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / "31337.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidRecord, match=r"31337\.json"):
        deployments.read(tmp_path, 31337)


def test_a_typo_and_another_chains_record(tmp_path: Path) -> None:
    path = deployments.save(tmp_path, record())
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"curency": 1}))
    with pytest.raises(InvalidRecord, match="curency"):
        deployments.read(tmp_path, 31337)
    path.write_text(json.dumps(content | {"chain_id": 5}))
    with pytest.raises(InvalidRecord, match="about chain 5"):
        deployments.read(tmp_path, 31337)


def test_policies_by_name() -> None:
    found = Deployment.of(record())
    assert (found.policy("strict"), found.policy("CN"), found.policy()) == (2, 1, 1)
    with pytest.raises(NotDeployed, match="CN, STRICT"):
        found.policy("EU")


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path, 1):
        with pytest.raises(deployments.DeploymentBusy), locked(tmp_path, 1):
            pass
        with locked(tmp_path, 2):
            pass
    with locked(tmp_path, 1):
        pass


def test_code_is_the_same_whatever_its_immutables() -> None:
    artifact = compiler.read_artifact("LoanLedger")
    code = bytearray(bytes.fromhex(artifact.deployed_bytecode[2:]))
    assert same_code(artifact, bytes(code))
    place = next(iter(artifact.immutables.values()))[0]
    code[place["start"] + 5] ^= 0xFF
    assert same_code(artifact, bytes(code))
    code[0] ^= 0xFF
    assert not same_code(artifact, bytes(code))
    assert not same_code(artifact, b"")
    assert not same_code(artifact, bytes(code) + b"\0")
