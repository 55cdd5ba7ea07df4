"""Deploys the contracts and publishes a policy, step by step, never anything twice.

Every step is recorded before the next begins, and a contract's coming address before its transaction is sent.
So a run that was stopped anywhere is finished by running it again; what the chain shows counts, not what was
meant.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eth_utils.address import is_address, to_checksum_address
from web3 import Web3

from duly.chain import compiler, deployments, networks
from duly.chain.contracts import (
    Call,
    Contracts,
    GrievanceDesk,
    NotAContract,
    NoticeRegistry,
    PolicyBook,
    Token,
    creation,
)
from duly.chain.deployments import (
    CONTRACTS,
    TEST_CURRENCY,
    Currency,
    DeployedContract,
    Deployment,
    DeploymentMismatch,
    Intent,
    Record,
)
from duly.chain.errors import ChainError, ContractError, InsufficientFunds, TransactionFailed
from duly.chain.sender import (
    Receipt,
    Sender,
    Signed,
    estimate_gas,
    is_known_to_node,
    wait_for,
)
from duly.domain.errors import DulyError, InvalidInput
from duly.domain.pack import PolicyPack
from duly.domain.terms import ZERO_ADDRESS

DEFAULT_DECIMALS: Final = 2
_MOST_DECIMALS: Final = 26
_BINDING: Final = "desk's binding"
_MADE_BY_THE_GATE: Final = "ConsentRegistry"
_ANY_ADDRESS: Final = "0x" + 39 * "0" + "1"


class InvalidDeployment(InvalidInput):
    """What was asked for cannot be deployed."""


class AlreadyPublished(DulyError):
    """This very pack is published already."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be deployed.

    currency: an ERC-20 token; None on a local chain makes a TestDollar with these decimals (2 where not
    given). templates: hash of the notice templates, to be published with the pack.
    """

    pack: PolicyPack
    templates: bytes
    currency: str | None = None
    decimals: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a deployment: where it is, and whether this run made it or found it.

    gas: what it used, or is expected to use; 0 where it was found.
    """

    name: str
    made: bool
    address: str | None = None
    number: int | None = None
    block: int | None = None
    gas: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is about to do, for a person to look at before anything is spent.

    price: of a unit of gas at the moment. most: what is offered for one at most, should it rise. balance:
    what the deployer has. All in wei.
    """

    chain_id: int
    deployer: str
    currency: str
    policy: str
    steps: tuple[Step, ...]
    price: int
    most: int
    balance: int

    @property
    def gas(self) -> int:
        """What is missing needs no more than this."""
        return sum(step.gas for step in self.missing)

    @property
    def cost(self) -> int:
        """What it costs at most, in wei."""
        return self.gas * self.most

    @property
    def missing(self) -> tuple[Step, ...]:
        """The steps that are still to be done."""
        return tuple(step for step in self.steps if step.made)


@dataclass(frozen=True, slots=True)
class Result:
    """A finished deployment: its record, what was done for it, and the file that it stands in, if any."""

    deployment: Deployment
    steps: tuple[Step, ...]
    path: Path | None


Tell = Callable[[Step], None]


def _silent(_: Step) -> None:
    pass


# --------------------------------------------------------------------------------------- the public


def plan(sender: Sender, wish: Wish, folder: Path | None, *, fresh: bool = False) -> Plan:
    """What `deploy` would do. Sends nothing.

    Raises: the same as `deploy`.
    """
    return _Run(sender, wish, folder, fresh).plan()


def deploy(
    sender: Sender, wish: Wish, folder: Path | None, *, fresh: bool = False, tell: Tell = _silent
) -> Result:
    """Deploy what is missing, publish the policy where it is not, and check everything.

    folder: of the deployments' records; None keeps the record in memory, for a chain that ends with this
    process. fresh: forget what was recorded, on a local chain only. tell: is told of each step.

    Raises: InvalidDeployment, when the currency cannot be one; DeploymentLost or DeploymentMismatch, when the
    record and the chain do not fit together; InsufficientFunds; ContractError; ChainUnavailable.
    """
    if folder is None:
        return _Run(sender, wish, None, fresh).deploy(tell)
    with deployments.locked(folder, sender.chain_id):
        return _Run(sender, wish, folder, fresh).deploy(tell)


def plan_publication(sender: Sender, wish: Wish, folder: Path, *, again: bool = False) -> Plan:
    """What `publish` would do. Sends nothing.

    Raises: the same as `publish`.
    """
    _check_deployed(sender, folder)
    return _Run(sender, wish, folder, False).plan_publication(again)


def publish(sender: Sender, wish: Wish, folder: Path, *, again: bool = False, tell: Tell = _silent) -> Result:
    """Publish another policy with the contracts that are deployed, and record its number.

    folder: of the deployments' records. again: also where the same pack is published already. What an
    interrupted run published is recorded, and not published once more.

    Raises: AlreadyPublished; NotDeployed, DeploymentLost or DeploymentMismatch; InsufficientFunds;
    ContractError, where the sender is no publisher; ChainUnavailable.
    """
    _check_deployed(sender, folder)
    with deployments.locked(folder, sender.chain_id):
        return _Run(sender, wish, folder, False).publish(again, tell)


def numbers_of(book: PolicyBook, pack_hash: bytes) -> list[int]:
    """The numbers under which a pack was published, retired ones too."""
    return [number for number in range(1, book.count() + 1) if book.hashes_of(number)[1] == pack_hash]


def _check_deployed(sender: Sender, folder: Path) -> None:
    deployments.load(folder, sender.chain_id)


def check(w3: Web3, deployment: Deployment) -> None:
    """Check a deployment against the chain: the code at each address, and which contract knows which.

    Raises: DeploymentLost, DeploymentMismatch, ChainUnavailable.
    """
    deployments.check_chain(w3, deployment)
    for name, contract in deployment.contracts.items():
        deployments.check_code(w3, name, contract.address)
    known = Contracts.at(w3, deployment)
    _check_wiring(known)
    decimals = known.currency.decimals()
    if decimals != deployment.currency.decimals:
        raise DeploymentMismatch(
            f"the currency has {decimals} decimals", wanted=f"{deployment.currency.decimals}, as recorded"
        )
    for name, number in deployment.policies.items():
        published, _ = known.policy_book.state_of(number)
        if not published:
            raise DeploymentMismatch(f"policy {number} ({name}) is not published")


def _check_wiring(known: Contracts) -> None:
    wirings = (
        ("LoanLedger", "currency", known.ledger.currency(), known.currency.address),
        ("LoanLedger", "policyBook", known.ledger.policy_book(), known.policy_book.address),
        ("LoanLedger", "desk", known.ledger.desk(), known.desk.address),
        ("GrievanceDesk", "policyBook", known.desk.policy_book(), known.policy_book.address),
        ("GrievanceDesk", "ledger", known.desk.ledger(), known.ledger.address),
        ("GrievanceDesk", "notices", known.desk.notices(), known.notices.address),
        ("ConsentRegistry", "ledger", known.consents.ledger(), known.ledger.address),
        ("ConsentRegistry", "desk", known.consents.desk(), known.desk.address),
        ("ConsentRegistry", "notices", known.consents.notices(), known.notices.address),
        ("NoticeRegistry", "ledger", known.notices.ledger(), known.ledger.address),
        ("NoticeRegistry", "policyBook", known.notices.policy_book(), known.policy_book.address),
        ("NoticeRegistry", "consents", known.notices.consents(), known.consents.address),
        ("NoticeRegistry", "desk", known.notices.desk(), known.desk.address),
    )
    for name, field, found, wanted in wirings:
        if found != wanted:
            raise DeploymentMismatch(
                f"{name}.{field} is {to_checksum_address(found)}", wanted=to_checksum_address(wanted)
            )


# ------------------------------------------------------------------------------------------ one run


class _Run:
    """One run: the record as it grows, and the steps."""

    def __init__(self, sender: Sender, wish: Wish, folder: Path | None, fresh: bool) -> None:
        self.w3, self.sender, self.wish, self.folder = sender.w3, sender, wish, folder
        self.local = networks.is_local(sender.chain_id)
        self.commit = compiler.source_commit()
        self.path: Path | None = None
        self.record = self._begin(fresh)
        self._check_wish()

    def _begin(self, fresh: bool) -> Record:
        if fresh and not self.local:
            raise InvalidDeployment(
                f"--fresh is for local chains; this is chain {networks.chain_name(self.sender.chain_id)}",
                remedy="To deploy a second time on a live chain, name another folder with DULY_DEPLOYMENTS.",
            )
        if not fresh and self.folder is not None:
            found = deployments.read(self.folder, self.sender.chain_id)
            if found is not None:
                deployments.check_chain(self.w3, found)
                self.path = deployments.path_of(self.folder, self.sender.chain_id)
                return found
        return Record(
            chain_id=self.sender.chain_id,
            genesis=deployments.genesis_of(self.w3),
            deployer=self.sender.address,
        )

    def _check_wish(self) -> None:
        wish, recorded = self.wish, self.record.currency
        if wish.currency is not None:
            if not is_address(wish.currency):
                raise InvalidDeployment(f"{wish.currency!r} is not an address", wanted="--currency 0x…")
            if wish.decimals is not None:
                raise InvalidDeployment("the currency has its own decimals", wanted="no --decimals beside it")
        if wish.decimals is not None and not 0 <= wish.decimals <= _MOST_DECIMALS:
            raise InvalidDeployment(f"{wish.decimals} decimals", wanted=f"0 to {_MOST_DECIMALS}")
        if recorded is not None:
            another = wish.currency is not None and wish.currency.lower() != recorded.address
            other_decimals = wish.decimals is not None and wish.decimals != recorded.decimals
            if another or other_decimals:
                raise InvalidDeployment(
                    f"this chain's deployment has the currency {recorded.symbol} at "
                    f"{to_checksum_address(recorded.address)} with {recorded.decimals} decimals; a ledger "
                    "has one currency for ever",
                    remedy="Leave out --currency and --decimals"
                    + (", or deploy anew with --fresh." if self.local else "."),
                )
        elif wish.currency is None and not self.local:
            raise InvalidDeployment(
                f"chain {networks.chain_name(self.sender.chain_id)} needs a real currency",
                wanted="--currency 0x…, the address of an ERC-20 token",
            )

    # ---------------------------------------------------------------------------------- planning

    def plan(self) -> Plan:
        record, wish = self.record, self.wish
        if record.currency is not None:
            currency = f"{record.currency.symbol} at {to_checksum_address(record.currency.address)}"
        elif wish.currency is not None:
            found = self._read_currency(wish.currency)
            currency = f"{found.symbol} at {to_checksum_address(found.address)}, {found.decimals} decimals"
        else:
            currency = f"a new TestDollar with {self._decimals()} decimals"
        steps = (*map(self._planned, self._names()), self._planned_binding(), self._planned_policy())
        fees = self.sender.fees()
        return Plan(
            chain_id=record.chain_id,
            deployer=self.sender.address,
            currency=currency,
            policy=wish.pack.name,
            steps=steps,
            price=fees.now,
            most=fees.most,
            balance=self.sender.balance(),
        )

    def _names(self) -> tuple[str, ...]:
        makes_currency = self.wish.currency is None and (
            self.record.currency is None or TEST_CURRENCY in self.record.contracts
        )
        return ((TEST_CURRENCY,) if makes_currency else ()) + CONTRACTS

    def _planned(self, name: str) -> Step:
        found = self.record.contracts.get(name)
        if found is not None:
            return Step(name, False, found.address, block=found.block)
        if name == _MADE_BY_THE_GATE:
            return Step(name, True)
        # The constructors look at nothing, so that any address costs the same.
        arguments: dict[str, tuple[object, ...]] = {
            TEST_CURRENCY: (self._decimals(),),
            "PolicyBook": (self.sender.address,),
            "GrievanceDesk": (_ANY_ADDRESS,),
            "LoanLedger": (_ANY_ADDRESS, _ANY_ADDRESS, _ANY_ADDRESS),
            "NoticeRegistry": (_ANY_ADDRESS, _ANY_ADDRESS, _ANY_ADDRESS),
        }
        gas = estimate_gas(self.w3, creation(name, *arguments[name]), self.sender.address)
        return Step(name, True, gas=gas)

    def _planned_binding(self) -> Step:
        desk = self.record.contracts.get("GrievanceDesk")
        bound = desk is not None and GrievanceDesk(self.w3, desk.address).notices() != ZERO_ADDRESS
        return Step(_BINDING, not bound, gas=0 if bound else 120_000)

    def _planned_policy(self) -> Step:
        name = f"policy {self.wish.pack.name}"
        book = self.record.contracts.get("PolicyBook")
        number = self._published(PolicyBook(self.w3, book.address)) if book else None
        if number is not None:
            return Step(name, False, number=number)
        return Step(name, True, gas=250_000)

    # --------------------------------------------------------------------------------- deploying

    def deploy(self, tell: Tell) -> Result:
        expected = self.plan()
        if expected.missing and expected.balance < expected.cost:
            raise InsufficientFunds(
                f"the deployer {to_checksum_address(expected.deployer)} holds {expected.balance} wei",
                wanted=f"{expected.cost} wei at most for what is missing",
                remedy="Send it some of the chain's own coin, for gas.",
            )
        self.sender.resume()
        self._keep(self.record)

        steps: list[Step] = []

        def done(step: Step) -> Step:
            steps.append(step)
            tell(step)
            return step

        def made(name: str, *arguments: str | int) -> str:
            step = done(self._contract(name, arguments))
            assert step.address is not None
            return step.address

        if TEST_CURRENCY in self._names():
            currency = self._keep_currency(made(TEST_CURRENCY, self._decimals()))
        else:
            wanted = self.wish.currency or (self.record.currency.address if self.record.currency else "")
            currency = self._keep_currency(wanted)
        book = made("PolicyBook", self.record.deployer or self.sender.address)
        desk = made("GrievanceDesk", book)
        ledger = made("LoanLedger", currency, book, desk)
        notices = made("NoticeRegistry", ledger, book, desk)
        done(self._made_by_the_gate(NoticeRegistry(self.w3, notices), ledger, desk))
        done(self._bind(GrievanceDesk(self.w3, desk), ledger, notices))
        done(self._policy(PolicyBook(self.w3, book)))

        deployment = Deployment.of(self.record)
        check(self.w3, deployment)
        return Result(deployment, tuple(steps), self.path)

    def _keep(self, record: Record) -> None:
        self.record = record
        if self.folder is not None:
            self.path = deployments.save(self.folder, record)

    def _decimals(self) -> int:
        return DEFAULT_DECIMALS if self.wish.decimals is None else self.wish.decimals

    def _read_currency(self, address: str) -> Currency:
        token = Token(self.w3, address)
        if not token.has_code():
            raise InvalidDeployment(
                f"there is no contract at {to_checksum_address(address)} on chain "
                f"{networks.chain_name(self.sender.chain_id)}",
                wanted="the address of an ERC-20 token",
            )
        try:
            decimals, symbol = token.decimals(), token.symbol()
            token.total_supply()
        except (NotAContract, ContractError):
            raise InvalidDeployment(
                f"the contract at {to_checksum_address(address)} is no ERC-20 token with decimals and symbol"
            ) from None
        if decimals > _MOST_DECIMALS:
            raise InvalidDeployment(
                f"{symbol} has {decimals} decimals: the ledger's amounts could hold too little of it",
                wanted=f"at most {_MOST_DECIMALS}",
            )
        return Currency(address=address, decimals=decimals, symbol=symbol)

    def _keep_currency(self, address: str) -> str:
        if self.record.currency is None:
            self._keep(self.record.model_copy(update={"currency": self._read_currency(address)}))
        assert self.record.currency is not None
        return self.record.currency.address

    def _contract(self, name: str, arguments: tuple[str | int, ...]) -> Step:
        found = self.record.contracts.get(name)
        if found is not None:
            deployments.check_code(self.w3, name, found.address)
            return Step(name, False, found.address, block=found.block)

        intent = self.record.pending
        if intent is not None and intent.name == name:
            recovered = self._recover(intent, arguments)
            if recovered is not None:
                return self._keep_contract(name, recovered, made=False)

        signed = self._announce(name, creation(name, *arguments), arguments)
        receipt = self.sender.wait(self.sender.submit(signed))
        if receipt.contract != signed.creates:
            raise ChainError(f"{name} was created at {receipt.contract}", wanted=signed.creates)
        made = self._deployed(name, receipt, arguments)
        return self._keep_contract(name, made, made=True, gas=receipt.gas_used)

    def _made_by_the_gate(self, notices: NoticeRegistry, *arguments: str) -> Step:
        """The registry of consents: the gate's constructor made it."""
        found = self.record.contracts.get(_MADE_BY_THE_GATE)
        if found is not None:
            deployments.check_code(self.w3, _MADE_BY_THE_GATE, found.address)
            return Step(_MADE_BY_THE_GATE, False, found.address, block=found.block)
        maker = self.record.contracts["NoticeRegistry"]
        contract = maker.model_copy(
            update={
                "address": notices.consents(),
                "constructor_arguments": arguments,
                "source_hash": compiler.read_artifact(_MADE_BY_THE_GATE).source_hash,
                "commit": self.commit,
            }
        )
        return self._keep_contract(_MADE_BY_THE_GATE, contract, made=True)

    def _announce(self, name: str, call: Call, arguments: tuple[str | int, ...] = ()) -> Signed:
        """Sign, and write down what is about to be sent, before it is."""
        signed = self.sender.prepare(call)
        intent = Intent(
            name=name,
            address=signed.creates if call.to is None else None,
            sender=signed.sender,
            nonce=signed.nonce,
            transaction="0x" + signed.hash.hex(),
            constructor_arguments=arguments,
        )
        self._keep(self.record.model_copy(update={"pending": intent}))
        return signed

    def _keep_contract(self, name: str, contract: DeployedContract, *, made: bool, gas: int = 0) -> Step:
        deployments.check_code(self.w3, name, contract.address)
        contracts = self.record.contracts | {name: contract}
        self._keep(self.record.model_copy(update={"contracts": contracts, "pending": None}))
        return Step(name, made, contract.address, block=contract.block, gas=gas)

    def _recover(self, intent: Intent, arguments: tuple[str | int, ...]) -> DeployedContract | None:
        """The contract that an earlier run sent but did not record; None where there is none."""
        receipt = self._await(intent)
        if intent.address is None or intent.constructor_arguments != arguments:
            return None
        if receipt is not None and receipt.contract == intent.address:
            return self._deployed(intent.name, receipt, arguments)
        if not deployments.has_code(self.w3, intent.address):
            return None
        # A transaction with the same nonce, but other fees, made it. It is no newer than this: an indexer
        # that starts there misses nothing.
        earliest = min((known.block for known in self.record.contracts.values()), default=0)
        return DeployedContract(
            address=intent.address,
            block=earliest,
            transaction=intent.transaction,
            constructor_arguments=arguments,
            source_hash=compiler.read_artifact(intent.name).source_hash,
            commit=self.commit,
        )

    def _deployed(self, name: str, receipt: Receipt, arguments: tuple[str | int, ...]) -> DeployedContract:
        assert receipt.contract is not None
        return DeployedContract(
            address=receipt.contract,
            block=receipt.block,
            transaction="0x" + receipt.transaction.hex(),
            constructor_arguments=arguments,
            source_hash=compiler.read_artifact(name).source_hash,
            commit=self.commit,
        )

    def _await(self, intent: Intent) -> Receipt | None:
        """The receipt of a transaction that an earlier run sent, once it is mined; None where it never will
        be: it did not reach the node, or its nonce went to another.
        """
        transaction = bytes.fromhex(intent.transaction[2:])
        if not is_known_to_node(self.w3, transaction):
            return None
        return wait_for(self.w3, transaction, what=f"deploy {intent.name}")

    # ----------------------------------------------------------------------------------- binding

    def _bind(self, desk: GrievanceDesk, ledger: str, notices: str) -> Step:
        """Bind the desk to the ledger and the gate that it was made for."""
        intent = self.record.pending
        if intent is not None and intent.name == _BINDING:
            self._await(intent)
        gas, made = 0, desk.notices() == ZERO_ADDRESS
        if made:
            call = desk.bind(ledger, notices)
            gas = self.sender.wait(self.sender.submit(self._announce(_BINDING, call))).gas_used
        self._keep(self.record.model_copy(update={"pending": None}))
        return Step(_BINDING, made, gas=gas)

    # ------------------------------------------------------------------------------------ policy

    @property
    def _policy_name(self) -> str:
        return f"policy {self.wish.pack.name}"

    def _policy(self, book: PolicyBook, *, again: bool = False) -> Step:
        """Publish the policy where it is not. again: also where it is."""
        name = self._policy_name
        intent = self.record.pending
        if intent is not None and intent.name == name:
            self._await(intent)
        number = None if again else self._published(book)
        made = number is None
        gas = block = 0
        if number is None:
            self._check_publisher(book)
            receipt = self.sender.wait(self.sender.submit(self._announce(name, self._publication(book))))
            gas, block = receipt.gas_used, receipt.block
            number = self._published(book)
            if number is None:
                raise TransactionFailed(f"{name} was published, but the book does not show it")
        policies = self.record.policies | {self.wish.pack.name: number}
        self._keep(self.record.model_copy(update={"policies": policies, "pending": None}))
        return Step(name, made, number=number, block=block or None, gas=gas)

    def _publication(self, book: PolicyBook) -> Call:
        pack = self.wish.pack
        return book.publish(pack.lending_limits, pack.contact_limits, self.wish.templates, pack.pack_hash)

    def _check_publisher(self, book: PolicyBook) -> None:
        if not book.is_publisher(self.sender.address):
            raise ContractError(
                "AccessControlUnauthorizedAccount",
                {"account": self.sender.address, "neededRole": "PUBLISHER_ROLE"},
                doing=f"publish {self._policy_name}",
            )

    # ------------------------------------------------------------------------------ a policy alone

    def plan_publication(self, again: bool) -> Plan:
        book = self._book()
        known = self._recorded_anew(book)
        if known is None:
            self._check_new(book, again)
            self._check_publisher(book)
            gas = estimate_gas(self.w3, self._publication(book), self.sender.address)
            step = Step(self._policy_name, True, gas=gas)
        else:
            step = Step(self._policy_name, False, number=known)
        currency = Deployment.of(self.record).currency
        fees = self.sender.fees()
        return Plan(
            chain_id=self.record.chain_id,
            deployer=self.sender.address,
            currency=f"{currency.symbol} at {to_checksum_address(currency.address)}",
            policy=self.wish.pack.name,
            steps=(step,),
            price=fees.now,
            most=fees.most,
            balance=self.sender.balance(),
        )

    def publish(self, again: bool, tell: Tell) -> Result:
        self.sender.resume()
        book = self._book()
        expected = self.plan_publication(again)
        if expected.balance < expected.cost:
            raise InsufficientFunds(
                f"the publisher {to_checksum_address(expected.deployer)} holds {expected.balance} wei",
                wanted=f"{expected.cost} wei at most",
                remedy="Send it some of the chain's own coin, for gas.",
            )
        step = self._policy(book, again=bool(expected.missing))
        tell(step)
        return Result(Deployment.of(self.record), (step,), self.path)

    def _book(self) -> PolicyBook:
        """The deployment's. Raises: NotDeployed, where it is not finished; DeploymentMismatch."""
        address = Deployment.of(self.record).address_of("PolicyBook")
        deployments.check_code(self.w3, "PolicyBook", address)
        return PolicyBook(self.w3, address)

    def _recorded_anew(self, book: PolicyBook) -> int | None:
        """The number of what an interrupted run published but did not record; None where there is nothing."""
        intent = self.record.pending
        if intent is not None and intent.name == self._policy_name:
            self._await(intent)
        number = self._published(book)
        return None if number in self.record.policies.values() else number

    def _check_new(self, book: PolicyBook, again: bool) -> None:
        """Refuse what is published already, whatever the templates. again: do not."""
        known = [] if again else numbers_of(book, self.wish.pack.pack_hash)
        if known:
            number = known[-1]
            templates, _ = book.hashes_of(number)
            _, retired = book.state_of(number)
            facts = ["retired since"] * retired
            facts += ["with other templates"] * (templates != self.wish.templates)
            raise AlreadyPublished(
                f"{self.wish.pack.name} is published already, as policy {number}"
                + (f" ({', '.join(facts)})" if facts else ""),
                remedy="Loans can be made under that; to publish it once more all the same, give --force."
                if not facts
                else "To publish it once more, give --force.",
            )

    def _published(self, book: PolicyBook) -> int | None:
        """The newest policy in force that is this pack with these templates; the chain is the record."""
        wanted = (self.wish.templates, self.wish.pack.pack_hash)
        for number in range(book.count(), 0, -1):
            _, retired = book.state_of(number)
            if (
                not retired
                and book.hashes_of(number) == wanted
                and book.lending_of(number) == self.wish.pack.lending_limits
            ):
                return number
        return None
