"""What is deployed where: one file for each chain, written after every step.

A record is made of what the chain cannot tell by itself (which addresses), and of what lets a change be seen:
the chain's first block, and the hash of what each contract was compiled from. Before a contract is created
its coming address is written down, so that a run that was killed in between finds it again.

    DulyError
    └── ChainError
        ├── NotDeployed             no record of this chain, or an unfinished one
        ├── DeploymentLost          the record's chain is gone: restarted empty, or another
        ├── DeploymentMismatch      what is on the chain is not what was recorded
        └── DeploymentBusy          another run is deploying
    InvalidInput
    └── InvalidRecord               the file cannot be understood, or written
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Self

from eth_utils.address import to_checksum_address
from hexbytes import HexBytes
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, ValidationError
from web3 import Web3

from duly.chain import compiler, networks
from duly.chain.errors import ChainError, explained
from duly.domain.errors import InvalidInput

CONTRACTS: Final = ("PolicyBook", "GrievanceDesk", "LoanLedger", "NoticeRegistry", "ConsentRegistry")
"""The contracts of a deployment, in the order in which they are made; the last by the one before it."""
TEST_CURRENCY: Final = "TestDollar"
"""The name under which a currency is recorded that the deployment made for itself, on a local chain."""


class NotDeployed(ChainError):
    """Nothing is deployed on this chain, as far as is recorded."""


class DeploymentLost(ChainError):
    """The chain that the record is about is gone."""


class DeploymentMismatch(ChainError):
    """What is on the chain is not what was recorded."""


class DeploymentBusy(ChainError):
    """Another run is deploying to this chain."""


class InvalidRecord(InvalidInput):
    """The deployment's record cannot be understood."""


def _hex(length: int) -> AfterValidator:
    def check(value: str) -> str:
        if len(value) != 2 + 2 * length or not value.startswith("0x"):
            raise ValueError(f"not 0x and {2 * length} hexadecimal digits")
        bytes.fromhex(value[2:])
        return value.lower()

    return AfterValidator(check)


Address = Annotated[str, _hex(20), PlainSerializer(to_checksum_address)]
"""Lower-case inside, checksummed in the file."""
Hash = Annotated[str, _hex(32)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Currency(_Model):
    """The token that a deployment's amounts are in."""

    address: Address
    decimals: int = Field(ge=0, le=255)
    symbol: str


class DeployedContract(_Model):
    """One contract: where it is, when it came there, and of what it was made.

    source_hash: of the sources and the settings. compiler: as explorers name it. commit: of the checkout that
    it was deployed from, if any.
    """

    address: Address
    block: int
    transaction: Hash
    constructor_arguments: tuple[str | int, ...] = ()
    source_hash: str
    compiler: str = compiler.SOLC_BUILD
    commit: str | None = None


class Intent(_Model):
    """A transaction that is about to be sent, or was.

    name: of the contract that it creates, or of the policy that it publishes. address: where the contract
    will be, known from sender and nonce.
    """

    name: str
    address: Address | None = None
    sender: Address
    nonce: int
    transaction: Hash
    constructor_arguments: tuple[str | int, ...] = ()


class Record(_Model):
    """A deployment as far as it has come. genesis: hash of the chain's first block. policies: numbers by
    name.
    """

    chain_id: int
    genesis: Hash
    deployer: Address | None = None
    currency: Currency | None = None
    contracts: dict[str, DeployedContract] = {}
    policies: dict[str, int] = {}
    pending: Intent | None = None


class Deployment(Record):
    """A deployment that is complete."""

    currency: Currency
    pending: None = None

    @property
    def block(self) -> int:
        """The first block that can hold an event of the deployment."""
        return min(self.contracts[name].block for name in CONTRACTS)

    def address_of(self, name: str) -> str:
        """A contract's address, lower-case."""
        return self.contracts[name].address

    @property
    def has_test_currency(self) -> bool:
        """Its currency can be minted by anyone: it was made on a local chain."""
        return TEST_CURRENCY in self.contracts

    def policy(self, name: str | None = None) -> int:
        """The number of a policy by its name, in any case; by default, of the first published.

        Raises: NotDeployed, naming those that are.
        """
        numbers = {known.upper(): number for known, number in self.policies.items()}
        wanted = min(numbers, key=lambda known: numbers[known]) if name is None else name.upper()
        if wanted not in numbers:
            raise NotDeployed(
                f"no policy {name!r} is published with this deployment",
                wanted=", ".join(sorted(numbers)),
                remedy=f"Publish it: `duly deploy --policy {wanted.lower()}`.",
            )
        return numbers[wanted]

    @classmethod
    def of(cls, record: Record) -> Self:
        """The finished deployment of a record.

        Raises: NotDeployed, when something is missing.
        """
        missing = [name for name in CONTRACTS if name not in record.contracts]
        if record.currency is None:
            missing.insert(0, "the currency")
        if not record.policies:
            missing.append("a policy")
        if missing:
            raise NotDeployed(
                f"the deployment on chain {networks.chain_name(record.chain_id)} is not finished: "
                f"{', '.join(missing)} missing",
                remedy="Run `duly deploy` again: it goes on where it stopped.",
            )
        return cls.model_validate(record.model_dump() | {"pending": None})


# -------------------------------------------------------------------------------------------- files


def path_of(folder: Path, chain_id: int) -> Path:
    """The file of a chain's record."""
    return folder / f"{chain_id}.json"


def read(folder: Path, chain_id: int) -> Record | None:
    """A chain's record as far as it has come, or None where there is none.

    Raises: InvalidRecord.
    """
    path = path_of(folder, chain_id)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRecord(f"{path} cannot be read: {error}") from None
    try:
        record = Record.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
        )
        raise InvalidRecord(
            f"{path} is no record of a deployment: {problems}",
            remedy="Restore it from version control; on a local chain deploy anew: `duly deploy --fresh`.",
        ) from None
    if record.chain_id != chain_id:
        raise InvalidRecord(f"{path} is about chain {record.chain_id}", wanted=f"chain {chain_id}")
    return record


def load(folder: Path, chain_id: int) -> Deployment:
    """The deployment that is recorded for a chain.

    Raises: NotDeployed, InvalidRecord.
    """
    record = read(folder, chain_id)
    if record is None:
        raise NotDeployed(
            f"nothing is deployed on chain {networks.chain_name(chain_id)}, as far as {folder} tells",
            remedy="Run `duly deploy` first, or set DULY_DEPLOYMENTS to the folder that holds the records.",
        )
    return Deployment.of(record)


def save(folder: Path, record: Record) -> Path:
    """Write a record: whole, or not at all.

    Raises: InvalidRecord, when the folder cannot be written to.
    """
    path = path_of(folder, record.chain_id)
    unfinished: str | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=folder, prefix=f".{path.name}.", delete=False
        ) as file:
            unfinished = file.name
            file.write(record.model_dump_json(indent=2, exclude_none=True) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except OSError as error:
        if unfinished is not None:
            Path(unfinished).unlink(missing_ok=True)
        raise InvalidRecord(
            f"{path} cannot be written: {error.strerror or error}",
            remedy="Nothing more is sent to the chain. Make the folder writable and run the same again.",
        ) from None
    return path


@contextmanager
def locked(folder: Path, chain_id: int) -> Iterator[None]:
    """Keep every other run out of a chain's record. The lock goes with the process that holds it.

    Raises: DeploymentBusy, when another run is at it.
    """
    try:
        import fcntl
    except ImportError:  # not on this system: nothing keeps two runs apart
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / f".{chain_id}.lock").open("w")
    except OSError as error:
        raise InvalidRecord(
            f"{folder} cannot be written to: {error.strerror or error}",
            remedy="Nothing was sent to the chain. Make the folder writable and run the same again.",
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DeploymentBusy(
                f"another run is deploying to chain {networks.chain_name(chain_id)}",
                remedy="Wait until it has ended.",
            ) from None
        yield


# ----------------------------------------------------------------------------------------- checking


def genesis_of(w3: Web3) -> str:
    """The hash of a chain's first block, which tells it from every other of the same id."""
    with explained():
        return "0x" + bytes(w3.eth.get_block(0)["hash"]).hex()


def check_chain(w3: Web3, record: Record) -> None:
    """Check that this chain is the one that the record is about, and still holds its contracts.

    Raises: DeploymentLost; WrongChain, where the ids differ.
    """
    with explained():
        chain_id = int(w3.eth.chain_id)
    networks.check_chain(chain_id, record.chain_id)
    remedy = (
        "Deploy anew with `duly deploy --fresh`; the old record is replaced."
        if networks.is_local(chain_id)
        else "Check that DULY_RPC or --rpc names the right node, and that it is synchronised."
    )
    if genesis_of(w3) != record.genesis:
        raise DeploymentLost(
            f"the chain at this address is another than the one that was deployed to: both are chain "
            f"{networks.chain_name(chain_id)}, but their first blocks differ"
            + (", so it was restarted since" if networks.is_local(chain_id) else ""),
            remedy=remedy,
        )
    for name, contract in record.contracts.items():
        if not has_code(w3, contract.address):
            raise DeploymentLost(
                f"there is no {name} at {to_checksum_address(contract.address)}, where it was deployed: the "
                "chain was restarted empty, or is not synchronised yet",
                remedy=remedy,
            )


def has_code(w3: Web3, address: str) -> bool:
    """There is a contract at this address."""
    return bool(_code_at(w3, address))


def check_code(w3: Web3, name: str, address: str) -> None:
    """Check that the code at an address is what the artifact of this name becomes, save its immutables.

    Raises: DeploymentMismatch.
    """
    code = _code_at(w3, address)
    if not same_code(compiler.read_artifact(name), code):
        what = "another contract is" if code else "there is no contract"
        raise DeploymentMismatch(
            f"{what} at {to_checksum_address(address)}, where {name} was expected",
            wanted="the code of the artifact that comes with this version",
            remedy="Use the version that it was deployed with; on a local chain deploy anew with "
            "`duly deploy --fresh`.",
        )


def same_code(artifact: compiler.Artifact, code: bytes) -> bool:
    """The code is the artifact's, whatever its immutables were set to."""
    wanted = bytearray(bytes.fromhex(artifact.deployed_bytecode[2:]))
    found = bytearray(code)
    if len(wanted) != len(found):
        return False
    for places in artifact.immutables.values():
        for place in places:
            span = slice(place["start"], place["start"] + place["length"])
            wanted[span] = found[span] = bytes(place["length"])
    return wanted == found


def _code_at(w3: Web3, address: str) -> bytes:
    with explained():
        return bytes(HexBytes(w3.eth.get_code(to_checksum_address(address))))
