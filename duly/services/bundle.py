"""Writes what an explorer needs to verify a deployment: for each contract the compiler's standard JSON input,
its version, and the encoded arguments of the constructor.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from eth_utils.address import to_checksum_address
from web3 import Web3

from duly.chain import compiler, deployments
from duly.chain.contracts import encoded_arguments
from duly.chain.deployments import Deployment
from duly.domain.errors import DulyError, InvalidInput

INDEX = "contracts.json"


class NoBundle(DulyError):
    """The sources of what is deployed are not at hand."""


@dataclass(frozen=True, slots=True)
class Verification:
    """One contract, as the forms of explorers ask for it.

    input: the file with the standard JSON input. contract: file and name. arguments: of the constructor,
    encoded, in hex without 0x.
    """

    name: str
    address: str
    contract: str
    compiler: str
    arguments: str
    input: str
    transaction: str
    commit: str | None

    def as_json(self) -> dict[str, object]:
        """For programs, with the names that Etherscan's interface has for them."""
        return {
            "name": self.name,
            "contractaddress": to_checksum_address(self.address),
            "contractname": self.contract,
            "codeformat": "solidity-standard-json-input",
            "compilerversion": f"v{self.compiler}",
            "constructorArguments": self.arguments,
            "sourceCode": self.input,
            "transaction": self.transaction,
            "commit": self.commit,
        }


def write(w3: Web3, deployment: Deployment, folder: Path) -> list[Verification]:
    """Write the bundle into a folder: a file for each contract, and one that lists them.

    Raises: NoBundle, where the sources are other than those that are deployed; DeploymentMismatch;
    InvalidInput, where the folder cannot be written to.
    """
    found: list[Verification] = []
    inputs: dict[str, str] = {}
    for name, contract in deployment.contracts.items():
        artifact = compiler.read_artifact(name)
        if artifact.source_hash != contract.source_hash:
            raise NoBundle(
                f"{name} was deployed from other sources than these",
                wanted=f"the sources of commit {contract.commit or 'that it was deployed from'}",
                remedy="Check them out, run `make setup`, and try again.",
            )
        deployments.check_code(w3, name, contract.address)
        try:
            inputs[name] = json.dumps(compiler.standard_input(name), indent=1, ensure_ascii=False)
        except compiler.CompileError as error:
            raise NoBundle(str(error)) from None
        found.append(
            Verification(
                name=name,
                address=contract.address,
                contract=f"{artifact.source}:{name}",
                compiler=contract.compiler,
                arguments=encoded_arguments(name, *contract.constructor_arguments).hex(),
                input=f"{name}.json",
                transaction=contract.transaction,
                commit=contract.commit,
            )
        )
    listed = json.dumps([each.as_json() for each in found], indent=2) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in inputs.items():
            (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        (folder / INDEX).write_text(listed, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{folder} cannot be written to: {error.strerror or error}") from None
    return found
