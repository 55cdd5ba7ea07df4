"""One typed wrapper for each contract: reads return the domain's own types, writes make a `Call` to be sent.

    contracts = Contracts.at(w3, deployment)
    limits = contracts.policy_book.lending_of(1)
    receipt = sender.send(contracts.ledger.repay(loan, 5_000))

Reads are of the latest block, or of the block that `at` names. A refusal comes as a `ContractError`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from requests.exceptions import HTTPError
from web3 import HTTPProvider, Web3
from web3.types import BlockIdentifier, RPCEndpoint, TxParams

from duly.chain import compiler, networks
from duly.chain.errors import ChainError, explained
from duly.domain import schedule
from duly.domain.amortisation import Curve
from duly.domain.consent import Channel, Profile
from duly.domain.events import LoanOpened
from duly.domain.grievance import Case, Grievance
from duly.domain.loan import Loan, Position, Status
from duly.domain.notice import (
    LONG_AGO,
    SERVICES_PER_DAY,
    Decision,
    Kind,
    Notice,
    Refusal,
    Said,
    SeldomSaid,
)
from duly.domain.policy import AprConvention, ContactLimits, LendingLimits
from duly.domain.terms import Frequency, Schedule, Terms

if TYPE_CHECKING:
    from duly.chain.deployments import Deployment

_NEWEST_BITS: Final = 32
_AGE_BITS: Final = 20


class NotAContract(ChainError):
    """What answers at this address is not the contract that was expected."""


# ------------------------------------------------------------------------------------ calls and logs


@dataclass(frozen=True, slots=True)
class Call:
    """Something to be done on the chain, by whoever sends it.

    what: its name for messages and logs, such as LoanLedger.open. to: the contract; None creates one.
    value: of the chain's own coin, in wei.
    """

    what: str
    to: str | None
    data: bytes = field(default=b"", repr=False)
    value: int = 0


@dataclass(frozen=True, slots=True)
class Log:
    """An event as a receipt holds it, not decoded."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes
    index: int


@dataclass(frozen=True, slots=True)
class _Method:
    name: str
    selector: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def _type_of(item: Mapping[str, Any]) -> str:
    """An ABI type with its tuples written out: (address,uint256)[]."""
    kind: str = item["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(map(_type_of, item['components']))})" + kind.removeprefix("tuple")


@cache
def _methods(contract: str) -> Mapping[str, _Method]:
    """A contract's functions by name; none of ours are overloaded."""
    found = {}
    for entry in compiler.read_artifact(contract).abi:
        if entry["type"] != "function":
            continue
        inputs = tuple(map(_type_of, entry["inputs"]))
        selector = keccak(text=f"{entry['name']}({','.join(inputs)})")[:4]
        found[entry["name"]] = _Method(
            entry["name"], selector, inputs, tuple(map(_type_of, entry["outputs"]))
        )
    return found


@cache
def _event(contract: str, name: str) -> tuple[bytes, tuple[str, ...]]:
    """An event's topic, and the types of its arguments that are not indexed."""
    for entry in compiler.read_artifact(contract).abi:
        if entry["type"] == "event" and entry["name"] == name:
            signature = f"{name}({','.join(map(_type_of, entry['inputs']))})"
            plain = tuple(_type_of(item) for item in entry["inputs"] if not item["indexed"])
            return keccak(text=signature), plain
    raise KeyError(f"{contract} has no event {name}")


@cache
def _constructor(contract: str) -> tuple[bytes, tuple[str, ...]]:
    artifact = compiler.read_artifact(contract)
    inputs: Iterable[Mapping[str, Any]] = next(
        (entry["inputs"] for entry in artifact.abi if entry["type"] == "constructor"), ()
    )
    return bytes(HexBytes(artifact.bytecode)), tuple(map(_type_of, inputs))


def creation(contract: str, *arguments: object) -> Call:
    """The call that deploys a contract of ours."""
    code, _ = _constructor(contract)
    return Call(f"deploy {contract}", None, code + encoded_arguments(contract, *arguments))


def encoded_arguments(contract: str, *arguments: object) -> bytes:
    """The arguments of a constructor of ours, as they follow the code."""
    return encode(_constructor(contract)[1], arguments)


class Contract:
    """What all wrappers share. `artifact` names the compiled contract."""

    artifact: ClassVar[str]

    def __init__(self, w3: Web3, address: str) -> None:
        self.w3 = w3
        self.address = address.lower()
        """Lower-case."""
        self._to = to_checksum_address(address)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._to})"

    def has_code(self, at: BlockIdentifier = "latest") -> bool:
        """There is a contract at this address."""
        with explained():
            return len(self.w3.eth.get_code(self._to, at)) > 0

    def call(self, name: str, *arguments: object, value: int = 0) -> Call:
        """The call of one of its functions, to be sent.

        Raises: TypeError, for arguments that do not fit the function's types.
        """
        method = _methods(self.artifact)[name]
        try:
            data = method.selector + encode(method.inputs, arguments)
        except EncodingError as error:
            raise TypeError(f"{self.artifact}.{name}: {error}") from error
        return Call(f"{self.artifact}.{name}", self.address, data, value)

    def read(
        self, name: str, *arguments: object, at: BlockIdentifier = "latest", sender: str | None = None
    ) -> Any:
        """What one of its functions returns: the value, or a tuple where there are several.

        Raises: ContractError, NotAContract, ChainUnavailable.
        """
        call = self.call(name, *arguments)
        question: TxParams = {"to": self._to, "data": HexBytes(call.data)}
        if sender is None and networks.is_in_process(self.w3):
            # eth-tester would look through all its accounts each time.
            sender = networks.IN_PROCESS_ACCOUNT
        if sender is not None:
            question["from"] = to_checksum_address(sender)
        with explained(call.what):
            answer = self._ask(question, at)
        return self.decode(name, answer)

    def decode(self, name: str, answer: bytes) -> Any:
        """What one of its functions returned, from the bytes that a node answered.

        Raises: NotAContract.
        """
        method = _methods(self.artifact)[name]
        try:
            values = decode(method.outputs, answer)
        except DecodingError:
            raise NotAContract(
                f"what is at {self._to} on this chain does not answer as {self.artifact} ({name})",
                remedy="Check that the chain and the deployment's record belong together.",
            ) from None
        return values[0] if len(values) == 1 else values

    def _ask(self, question: TxParams, at: BlockIdentifier) -> bytes:
        return bytes(self.w3.eth.call(question, at))


# ------------------------------------------------------------------------------------ the contracts


class PolicyBook(Contract):
    """Published policies."""

    artifact = "PolicyBook"

    def publish(self, lending: LendingLimits, contact: ContactLimits, templates: bytes, pack: bytes) -> Call:
        """Publish a policy; the sender must be a publisher. Its number is the count afterwards."""
        return self.call("publish", _lending_tuple(lending), _contact_tuple(contact), templates, pack)

    def tighten(self, policy: int, contact: ContactLimits) -> Call:
        """Make a policy's contact limits stricter."""
        return self.call("tighten", policy, _contact_tuple(contact))

    def retire(self, policy: int) -> Call:
        """Take no more loans under a policy."""
        return self.call("retire", policy)

    def count(self, at: BlockIdentifier = "latest") -> int:
        """How many policies were published; their numbers run from 1 to this."""
        return int(self.read("count", at=at))

    def lending_of(self, policy: int, at: BlockIdentifier = "latest") -> LendingLimits:
        """What loans under the policy may cost. Raises: ContractError UnknownPolicy."""
        return _lending(self.read("lendingOf", policy, at=at))

    def admit(self, terms: Terms, fees_owed: int = 0, at: BlockIdentifier = "latest") -> tuple[int, int]:
        """Instalment and total of terms that may become a loan at that block's second.

        fees_owed: late fees that the loan begins with. Raises: ContractError, with what is wrong.
        """
        instalment, total = self.read("admit", terms.as_tuple(), fees_owed, at=at)
        return instalment, total

    def admit_derived(
        self, terms: Terms, fees_owed: int = 0, at: BlockIdentifier = "latest"
    ) -> tuple[int, int, int]:
        """Instalment, total and late fee of terms that the ledger derived. Raises: as `admit`."""
        instalment, total, late_fee = self.read("admitDerived", terms.as_tuple(), fees_owed, at=at)
        return instalment, total, late_fee

    def days_of(self, policy: int, at: BlockIdentifier = "latest") -> tuple[int, int]:
        """For how many days a borrower may rescind, and after how many days overdue a default may be marked.
        Raises: ContractError UnknownPolicy.
        """
        cooling_off, until_default = self.read("daysOf", policy, at=at)
        return cooling_off, until_default

    def contact_of(self, policy: int, at: BlockIdentifier = "latest") -> ContactLimits:
        """The contact limits in force. Raises: ContractError UnknownPolicy."""
        return ContactLimits(*self.read("contactOf", policy, at=at))

    def hashes_of(self, policy: int, at: BlockIdentifier = "latest") -> tuple[bytes, bytes]:
        """Hash of the notice templates, and of the whole pack. Raises: ContractError UnknownPolicy."""
        templates, pack = self.read("hashesOf", policy, at=at)
        return templates, pack

    def state_of(self, policy: int, at: BlockIdentifier = "latest") -> tuple[bool, bool]:
        """Whether the policy was published, and whether it was retired since."""
        published, retired = self.read("stateOf", policy, at=at)
        return published, retired

    def is_publisher(self, account: str, at: BlockIdentifier = "latest") -> bool:
        """The account may publish policies."""
        return bool(self.read("hasRole", keccak(text="PUBLISHER_ROLE"), account, at=at))

    def administrator(self, at: BlockIdentifier = "latest") -> str:
        """Who says who publishes, lower-case; the zero address where nobody does any more."""
        return str(self.read("defaultAdmin", at=at)).lower()

    def offered_to(self, at: BlockIdentifier = "latest") -> str | None:
        """Whom the book is offered to, lower-case."""
        address, _ = self.read("pendingDefaultAdmin", at=at)
        return None if int(address, 16) == 0 else str(address).lower()

    def offer(self, to: str) -> Call:
        """Offer the book to another administrator, as the administrator."""
        return self.call("beginDefaultAdminTransfer", to)

    def take_back(self) -> Call:
        """Take an offer back, as the administrator."""
        return self.call("cancelDefaultAdminTransfer")

    def accept(self) -> Call:
        """Accept the book, as whom it is offered to: every role goes over."""
        return self.call("acceptDefaultAdminTransfer")


@dataclass(frozen=True, slots=True)
class LoanRecord:
    """What the ledger has recorded of a loan: all but those of its terms that only the opening event tells.

    Lateness as last assessed. The fields are those of `Loan` in `ILoanLedger.sol`.
    """

    borrower: str
    opened_at: int
    policy: int
    assessed: int
    status: Status
    amends: bool
    lender: str
    first_due: int
    instalments: int
    rate: int
    schedule: Schedule
    frequency: Frequency
    calendar_offset: int
    grace_days: int
    principal: int
    instalment: int
    late_fee: int
    total: int
    paid: int
    fees: int


@dataclass(frozen=True, slots=True)
class InstalmentRow:
    """One row of a loan's schedule, as the ledger computes it."""

    due_at: int
    amount: int
    principal: int
    interest: int
    balance: int


@dataclass(frozen=True, slots=True)
class Delinquency:
    """What is overdue, which late fees are unpaid, and the first instalment that is not fully paid with the
    last second for it; both zero when none is left.
    """

    overdue: int
    fees: int
    first_unpaid: int
    due_at: int


@dataclass(frozen=True, slots=True)
class Parties:
    """Who a loan is between, and its policy's number; the servicer is the zero address where the lender
    appointed none.
    """

    borrower: str
    lender: str
    servicer: str
    policy: int


class LoanLedger(Contract):
    """The ledger of loan terms and repayments."""

    artifact = "LoanLedger"

    def open(self, terms: Terms, offer: bytes) -> Call:
        """Accept a lender's signed offer; to be sent by the borrower."""
        return self.call("open", terms.as_tuple(), offer)

    def open_by_signature(self, terms: Terms, offer: bytes, acceptance: bytes) -> Call:
        """The same on both parties' signatures; to be sent by anyone."""
        return self.call("openBySignature", terms.as_tuple(), offer, acceptance)

    def cancel_offer(self, terms: Terms) -> Call:
        """Withdraw an offer, an acceptance or an amendment; to be sent by a party."""
        return self.call("cancelOffer", terms.as_tuple())

    def repay(self, loan: bytes, amount: int) -> Call:
        """Pay towards a loan. The payer's approval of the currency pays."""
        return self.call("repay", loan, amount)

    def repay_with_permit(self, loan: bytes, amount: int, deadline: int, permit: bytes) -> Call:
        """The same with the payer's permit for the amount (`offers.sign_permit`)."""
        r, s, v = permit[:32], permit[32:64], permit[64]
        return self.call("repayWithPermit", loan, amount, deadline, v, r, s)

    def repay_by_signature(self, loan: bytes, amount: int, deadline: int, signature: bytes) -> Call:
        """A payment that the borrower signed; to be sent by anyone. The borrower's approval pays."""
        return self.call("repayBySignature", loan, amount, deadline, signature)

    def settle(self, loan: bytes, maximum: int) -> Call:
        """Close a loan early, for at most this much."""
        return self.call("settle", loan, maximum)

    def prepay(self, loan: bytes, amount: int) -> Call:
        """Pay principal back ahead, so that the instalments become smaller; to be sent by the borrower."""
        return self.call("prepay", loan, amount)

    def rescind(self, terms: Terms) -> Call:
        """Withdraw from a loan in the cooling-off period; to be sent by the borrower."""
        return self.call("rescind", terms.as_tuple())

    def amend(self, terms: Terms, by_lender: bytes, by_borrower: bytes) -> Call:
        """Replace a loan by other terms, on both parties' signatures; to be sent by anyone."""
        return self.call("amend", terms.as_tuple(), by_lender, by_borrower)

    def defer(self, loan: bytes, intervals: int) -> Call:
        """Let all unpaid instalments fall due some intervals later; to be sent by the lender."""
        return self.call("defer", loan, intervals)

    def acknowledge_receipt(self, loan: bytes, amount: int, receipt: bytes) -> Call:
        """Credit money received outside the chain, with the hash of its proof; to be sent by the lender."""
        return self.call("acknowledgeReceipt", loan, amount, receipt)

    def waive(self, loan: bytes, amount: int) -> Call:
        """Give up unpaid late fees, up to an amount; to be sent by the lender."""
        return self.call("waive", loan, amount)

    def forgive(self, loan: bytes, amount: int) -> Call:
        """Give up part of what is owed, or all; to be sent by the lender."""
        return self.call("forgive", loan, amount)

    def assign(self, loan: bytes, to: str, deadline: int, signature: bytes) -> Call:
        """Hand the claim to another lender, who signed for it; to be sent by the lender."""
        return self.call("assign", loan, to, deadline, signature)

    def mark_default(self, loan: bytes) -> Call:
        """Mark a default; to be sent by the lender or the servicer."""
        return self.call("markDefault", loan)

    def flag_missed(self, loan: bytes) -> Call:
        """Record instalments that were missed."""
        return self.call("flagMissed", loan)

    def flag_missed_many(self, loans: Sequence[bytes]) -> Call:
        """The same for many loans; those with nothing to record are passed over."""
        return self.call("flagMissedMany", list(loans))

    def appoint_servicer(self, servicer: str) -> Call:
        """Let a servicer serve notices about all loans of the sender; the zero address withdraws."""
        return self.call("appointServicer", servicer)

    def claim(self, to: str) -> Call:
        """Pay out what the ledger holds for the sender."""
        return self.call("claim", to)

    def multicall(self, calls: Sequence[Call]) -> Call:
        """Several of the calls above in one transaction, of one sender: all of them or none."""
        return self.call("multicall", [call.data for call in calls])

    def id_of(self, terms: Terms, at: BlockIdentifier = "latest") -> bytes:
        """The id of the loan that these terms make."""
        return bytes(self.read("idOf", terms.as_tuple(), at=at))

    def offer_hash(self, terms: Terms, at: BlockIdentifier = "latest") -> bytes:
        """The hash that a lender signs to offer terms."""
        return bytes(self.read("offerHash", terms.as_tuple(), at=at))

    def nonce_of(self, signer: str, at: BlockIdentifier = "latest") -> int:
        """The nonce that the signer's next payment or assignment is signed with."""
        return int(self.read("nonces", signer, at=at))

    def record_of(self, loan: bytes, at: BlockIdentifier = "latest") -> LoanRecord:
        """What the ledger has recorded. Raises: ContractError UnknownLoan."""
        (borrower, opened_at, policy, assessed, status, amends, lender, first_due, instalments, rate,
         schedule, frequency, *rest) = self.read("loanOf", loan, at=at)  # fmt: skip
        return LoanRecord(
            borrower.lower(), opened_at, policy, assessed, Status(status), amends, lender.lower(), first_due,
            instalments, rate, Schedule(schedule), Frequency(frequency), *rest,
        )  # fmt: skip

    def loan_of(self, loan: bytes, terms: Terms, at: BlockIdentifier = "latest") -> Loan:
        """The loan as the domain knows it; its terms come from its opening, or from its amendment.

        Of defaults only one that is not cured is known, of grievances nothing: the desk knows them.
        Raises: ContractError UnknownLoan.
        """
        found = self.record_of(loan, at)
        ended = found.status in (Status.RESCINDED, Status.REPLACED)
        made = Loan(
            id=loan,
            terms=terms,
            opened_at=found.opened_at,
            instalment=found.instalment,
            total=found.total,
            paid=found.paid,
            fees=found.fees,
            assessed=found.assessed,
            lender=found.lender,
            recorded_status=found.status if ended else Status.ACTIVE,
            assigned=self.position_of(loan, at).assigned,
        )
        if found.status is not Status.DEFAULTED:
            return made
        # It is cured once that instalment is paid, so it is the first that is not.
        return replace(made, defaulted=schedule.first_unpaid(made))

    def instalment_of(self, loan: bytes, k: int, at: BlockIdentifier = "latest") -> InstalmentRow:
        """The k-th row of the schedule, from 1. Raises: ContractError UnknownLoan, NoSuchInstalment."""
        return InstalmentRow(*self.read("instalmentOf", loan, k, at=at))

    def payoff(self, loan: bytes, at: BlockIdentifier = "latest") -> int:
        """What settling costs at that block's second. Raises: ContractError UnknownLoan."""
        return int(self.read("payoff", loan, at=at))

    def delinquency(self, loan: bytes, at: BlockIdentifier = "latest") -> Delinquency:
        """What is late. Raises: ContractError UnknownLoan."""
        return Delinquency(*self.read("delinquency", loan, at=at))

    def position_of(self, loan: bytes, at: BlockIdentifier = "latest") -> Position:
        """All that a notice can be about; an unknown loan has the status NONE."""
        borrower, lender, servicer, policy, status, *rest = self.read("positionOf", loan, at=at)
        return Position(borrower.lower(), lender.lower(), servicer.lower(), policy, Status(status), *rest)

    def parties_of(self, loan: bytes, at: BlockIdentifier = "latest") -> Parties:
        """The parties of a loan. Raises: ContractError UnknownLoan."""
        borrower, lender, servicer, policy = self.read("partiesOf", loan, at=at)
        return Parties(borrower.lower(), lender.lower(), servicer.lower(), policy)

    def servicer_of(self, lender: str, at: BlockIdentifier = "latest") -> str:
        """Whom a lender appointed; the zero address where nobody."""
        return str(self.read("servicerOf", lender, at=at)).lower()

    def claimable(self, lender: str, at: BlockIdentifier = "latest") -> int:
        """What the ledger holds for a lender."""
        return int(self.read("claimable", lender, at=at))

    def currency(self) -> str:
        """The address of its one currency."""
        return str(self.read("currency")).lower()

    def desk(self) -> str:
        """The address of its desk for grievances."""
        return str(self.read("desk")).lower()

    def policy_book(self) -> str:
        """The address of its policy book."""
        return str(self.read("policyBook")).lower()

    @staticmethod
    def opened(log: Log) -> LoanOpened | None:
        """The opening that an event tells of, or None where it tells of something else."""
        topic, types = _event("LoanLedger", "LoanOpened")
        if not log.topics or log.topics[0] != topic:
            return None
        terms, instalment, total = decode(types, log.data)
        return LoanOpened(log.topics[1], Terms.from_tuple(terms), instalment, total)


class ConsentRegistry(Contract):
    """Which contacts a borrower has, and consent to use them."""

    artifact = "ConsentRegistry"

    def register(self, channel: Channel, commitment: bytes, offset: int, other_offset: int) -> Call:
        """Register the sender's contact. Offsets in quarter hours east of UTC."""
        return self.call("register", channel, commitment, offset, other_offset)

    def register_by_signature(
        self,
        borrower: str,
        channel: Channel,
        commitment: bytes,
        offset: int,
        other_offset: int,
        deadline: int,
        signature: bytes,
    ) -> Call:
        """The same on the borrower's signature."""
        return self.call(
            "registerBySignature", borrower, channel, commitment, offset, other_offset, deadline, signature
        )

    def grant(self, channel: Channel) -> Call:
        """Allow contact with the sender on a channel."""
        return self.call("grant", channel)

    def grant_by_signature(self, borrower: str, channel: Channel, deadline: int, signature: bytes) -> Call:
        """The same on the borrower's signature."""
        return self.call("grantBySignature", borrower, channel, deadline, signature)

    def revoke(self, channel: Channel) -> Call:
        """Withdraw the sender's consent for a channel."""
        return self.call("revoke", channel)

    def revoke_on_word(self, loan: bytes, channel: Channel) -> Call:
        """Record that the borrower of a loan withdrew consent."""
        return self.call("revokeOnWord", loan, channel)

    def cease(self) -> Call:
        """Stop all contact with the sender."""
        return self.call("cease")

    def cease_on_word(self, loan: bytes) -> Call:
        """Record that the borrower of a loan stopped all contact."""
        return self.call("ceaseOnWord", loan)

    def profile_of(self, borrower: str, at: BlockIdentifier = "latest") -> Profile:
        """What the borrower has registered and allowed."""
        return _profile(self.read("profileOf", borrower, at=at))

    def commitment_of(self, borrower: str, channel: Channel, at: BlockIdentifier = "latest") -> bytes:
        """The salted hash of the borrower's contact; zeros where there is none."""
        return bytes(self.read("commitmentOf", borrower, channel, at=at))

    def ledger(self) -> str:
        """The address of its ledger."""
        return str(self.read("ledger")).lower()

    def desk(self) -> str:
        """The address of the desk that tells it of grievances."""
        return str(self.read("desk")).lower()

    def notices(self) -> str:
        """The address of its gate."""
        return str(self.read("notices")).lower()


class NoticeRegistry(Contract):
    """The gate: a notice exists only if this contract let it."""

    artifact = "NoticeRegistry"

    def serve(self, notice: Notice) -> Call:
        """Serve a notice, or revert with the reason."""
        return self.call("serve", _notice_tuple(notice))

    def serve_many(self, notices: Sequence[Notice]) -> Call:
        """Serve those that may be; the others are skipped and told in events."""
        return self.call("serveMany", [_notice_tuple(notice) for notice in notices])

    def refusal(self, notice: Notice, server: str, at: BlockIdentifier = "latest") -> Decision:
        """Why a notice would be refused if served now by `server`."""
        return _decision(self.read("refusal", _notice_tuple(notice), server, at=at))

    def standing(self, notice: Notice, server: str, at: BlockIdentifier = "latest") -> Decision:
        """Why a notice that was served may not be delivered any more."""
        return _decision(self.read("standing", _notice_tuple(notice), server, at=at))

    def earliest(
        self, loan: bytes, kind: Kind, instalment: int, channel: Channel, at: BlockIdentifier = "latest"
    ) -> int | None:
        """The earliest moment at which a notice could be served; None where waiting does not help."""
        return int(self.read("earliest", loan, kind, instalment, channel, at=at)) or None

    def reminders_of(self, borrower: str, at: BlockIdentifier = "latest") -> tuple[int, ...]:
        """The times of a borrower's last reminders, at most seven, newest first."""
        return tuple(moment for moment in self.read("remindersOf", borrower, at=at) if moment)

    def said_of(self, loan: bytes, at: BlockIdentifier = "latest") -> tuple[Said, SeldomSaid]:
        """What was already said about a loan, often and seldom."""
        often, (lender, *seldom) = self.read("saidOf", loan, at=at)
        received, following, upcoming, missed, overdue, flags, services = often
        said = Said(
            received, following, upcoming, missed, overdue, flags, moments_of(services, SERVICES_PER_DAY)
        )
        return said, SeldomSaid(lender.lower(), *seldom)

    def ledger(self) -> str:
        """The address of its ledger."""
        return str(self.read("ledger")).lower()

    def policy_book(self) -> str:
        """The address of its policy book."""
        return str(self.read("policyBook")).lower()

    def consents(self) -> str:
        """The address of its consent registry."""
        return str(self.read("consents")).lower()

    def desk(self) -> str:
        """The address of its desk for grievances."""
        return str(self.read("desk")).lower()


class GrievanceDesk(Contract):
    """Where a borrower says that something is wrong, and reminders rest."""

    artifact = "GrievanceDesk"

    def bind(self, ledger: str, notices: str) -> Call:
        """Bind the desk to its ledger and its gate, once; to be sent by who deployed it."""
        return self.call("bind", ledger, notices)

    def lodge(self, loan: bytes, grievance: Grievance) -> Call:
        """Say that something is wrong with a loan; to be sent by the borrower, or by lender or servicer on
        the borrower's word.
        """
        return self.call("lodge", loan, grievance)

    def withdraw(self, loan: bytes, grievance: Grievance) -> Call:
        """Take a grievance back; to be sent by the borrower."""
        return self.call("withdraw", loan, grievance)

    def rests_until(self, loan: bytes, borrower: str, at: BlockIdentifier = "latest") -> int:
        """Until when reminders about a loan of a borrower rest."""
        return int(self.read("restsUntil", loan, borrower, at=at))

    def fees_rest_until(self, loan: bytes, at: BlockIdentifier = "latest") -> int:
        """Until when late fees of a loan rest."""
        return int(self.read("feesRestUntil", loan, at=at))

    def case_of(self, loan: bytes, grievance: Grievance, at: BlockIdentifier = "latest") -> Case:
        """A grievance about a loan."""
        return Case(*self.read("caseOf", loan, grievance, at=at))

    def policy_book(self) -> str:
        """The address of its policy book."""
        return str(self.read("policyBook")).lower()

    def ledger(self) -> str:
        """The address of its ledger; the zero address before it is bound."""
        return str(self.read("ledger")).lower()

    def notices(self) -> str:
        """The address of its gate; the zero address before it is bound."""
        return str(self.read("notices")).lower()


@dataclass(frozen=True, slots=True)
class Standing:
    """What the chain says about a notice that is about to be delivered: whether it still stands, the
    borrower's commitment for its channel, and the borrower's profile.
    """

    decision: Decision
    commitment: bytes
    profile: Profile


class Token(Contract):
    """The currency: an ERC-20 token. Amounts in its smallest unit."""

    artifact = "TestDollar"

    def name(self) -> str:
        """What it calls itself. Raises: NotAContract."""
        return str(self.read("name"))

    def symbol(self) -> str:
        """Its short name. Raises: NotAContract."""
        return str(self.read("symbol"))

    def decimals(self) -> int:
        """Digits after the point that its smallest unit lies. Raises: NotAContract."""
        return int(self.read("decimals"))

    def total_supply(self, at: BlockIdentifier = "latest") -> int:
        """How much of it there is."""
        return int(self.read("totalSupply", at=at))

    def balance_of(self, holder: str, at: BlockIdentifier = "latest") -> int:
        """How much of it somebody holds."""
        return int(self.read("balanceOf", holder, at=at))

    def allowance(self, holder: str, spender: str, at: BlockIdentifier = "latest") -> int:
        """How much of a holder's a spender may take."""
        return int(self.read("allowance", holder, spender, at=at))

    def transfer(self, to: str, amount: int) -> Call:
        """Move some of the sender's."""
        return self.call("transfer", to, amount)

    def approve(self, spender: str, amount: int) -> Call:
        """Let a spender take up to this much of the sender's."""
        return self.call("approve", spender, amount)

    def mint(self, to: str, amount: int) -> Call:
        """Make some out of nothing; only a TestDollar lets anyone do that."""
        return self.call("mint", to, amount)


class AmortizationHarness(Contract):
    """The ledger's arithmetic, open to calls; deployed for comparing only. Rates in parts per million."""

    artifact = "AmortizationHarness"

    def curve_of(self, schedule: Schedule, principal: int, rate: int, periods_per_year: int, n: int) -> Curve:
        """The schedule that these make. Raises: ContractError TermsOutOfRange, InstalmentTooCoarse."""
        _, *rest = self.read("curveOf", schedule, principal, rate, periods_per_year, n)
        return Curve(schedule, *rest)

    def level_monthly(self, loans: Sequence[tuple[int, int, int]]) -> list[tuple[int, int]]:
        """Of level monthly loans, each told by its principal, rate and number of instalments, what recurs and
        the sum of all. Raises: ContractError, as `curve_of`, where it refuses any of them.
        """
        return list(zip(*self.read("levelMonthly", *zip(*loans, strict=True)), strict=True))

    def balance(self, curve: Curve, k: int) -> int:
        """The principal outstanding after k instalments."""
        return int(self.read("balance", astuple(curve), k))

    def cumulative(self, curve: Curve, k: int) -> int:
        """The sum of the first k instalments."""
        return int(self.read("cumulative", astuple(curve), k))

    def due_time(self, first_due: int, frequency: Frequency, k: int, offset: int) -> int:
        """The last second in which a payment of the k-th instalment is on time."""
        return int(self.read("dueTime", first_due, frequency, k, offset))


@dataclass(frozen=True, slots=True)
class Contracts:
    """All contracts of one deployment."""

    w3: Web3
    chain_id: int
    currency: Token
    policy_book: PolicyBook
    ledger: LoanLedger
    desk: GrievanceDesk
    consents: ConsentRegistry
    notices: NoticeRegistry

    @classmethod
    def at(cls, w3: Web3, deployment: "Deployment") -> "Contracts":
        """The contracts that a deployment recorded."""
        return cls(
            w3=w3,
            chain_id=deployment.chain_id,
            currency=Token(w3, deployment.currency.address),
            policy_book=PolicyBook(w3, deployment.address_of("PolicyBook")),
            ledger=LoanLedger(w3, deployment.address_of("LoanLedger")),
            desk=GrievanceDesk(w3, deployment.address_of("GrievanceDesk")),
            consents=ConsentRegistry(w3, deployment.address_of("ConsentRegistry")),
            notices=NoticeRegistry(w3, deployment.address_of("NoticeRegistry")),
        )

    def refusals(self, notices: Sequence[Notice], server: str) -> list[Decision]:
        """Why the latest block would refuse notices if `server` served each of them alone, in as few requests
        as the node allows.

        Raises: ChainUnavailable, NotAContract.
        """
        answers = self._read_many(
            [(self.notices, "refusal", (_notice_tuple(notice), server)) for notice in notices]
        )
        return [_decision(answer) for answer in answers]

    def standings(self, questions: Sequence[tuple[Notice, str]], server: str) -> list[Standing]:
        """What the latest block says about notices that `server` served to borrowers, in as few requests as
        the node allows.

        Raises: ChainUnavailable, NotAContract.
        """
        reads: list[tuple[Contract, str, tuple[object, ...]]] = []
        for notice, borrower in questions:
            reads += [
                (self.notices, "standing", (_notice_tuple(notice), server)),
                (self.consents, "commitmentOf", (borrower, notice.channel)),
                (self.consents, "profileOf", (borrower,)),
            ]
        answers = iter(self._read_many(reads))
        return [
            Standing(_decision(decision), bytes(commitment), _profile(profile))
            for decision, commitment, profile in zip(answers, answers, answers, strict=True)
        ]

    def _read_many(self, reads: Sequence[tuple[Contract, str, tuple[object, ...]]]) -> list[Any]:
        provider = self.w3.provider
        if isinstance(provider, HTTPProvider) and len(reads) > 1:
            requests: list[tuple[RPCEndpoint, Any]] = []
            for contract, name, arguments in reads:
                question = {"to": contract.address, "data": "0x" + contract.call(name, *arguments).data.hex()}
                requests.append((RPCEndpoint("eth_call"), [question, "latest"]))
            with explained("asking for several things at once"):
                try:
                    answers = provider.make_batch_request(requests)
                except HTTPError:
                    answers = []
            # A node that takes no batches answers with one error; then they are asked one by one.
            if isinstance(answers, list) and len(answers) == len(reads):
                results = [answer.get("result") for answer in answers]
                if all(isinstance(result, str) for result in results):
                    return [
                        contract.decode(name, bytes(HexBytes(str(result))))
                        for (contract, name, _), result in zip(reads, results, strict=True)
                    ]
        return [contract.read(name, *arguments) for contract, name, arguments in reads]


# ------------------------------------------------------------------------------------------ structs


def _lending(values: Sequence[int]) -> LendingLimits:
    apr_cap, convention, *rest = values
    return LendingLimits(apr_cap, AprConvention(convention), *rest)


def _lending_tuple(limits: LendingLimits) -> tuple[int, ...]:
    return (
        limits.apr_cap,
        int(limits.apr_convention),
        limits.late_fee_cap,
        limits.min_grace_days,
        limits.cooling_off_days,
        limits.default_days,
    )


def _contact_tuple(limits: ContactLimits) -> tuple[int, ...]:
    return (
        limits.opens,
        limits.closes,
        limits.lead,
        limits.weekdays,
        limits.per_day,
        limits.per_week,
        limits.gap,
        limits.upcoming_days,
        limits.overdue_days,
        limits.pause_days,
        limits.rest_all_loans,
        limits.rest_fees,
    )


def _notice_tuple(notice: Notice) -> tuple[bytes, int, int, int, int, bytes]:
    return (
        notice.loan,
        int(notice.kind),
        notice.instalment,
        notice.amount,
        int(notice.channel),
        notice.content_hash,
    )


def _profile(values: Sequence[Any]) -> Profile:
    offset, other_offset, registered, consented, ceased, _, changes, _ = values
    return Profile(offset, other_offset, registered, consented, ceased, changes)


def moments_of(word: int, size: int) -> tuple[int, ...]:
    """The last moments of something, at most `size`, newest first, out of the word that `Rolling` keeps them
    in.
    """
    newest, ages = word & (1 << _NEWEST_BITS) - 1, word >> _NEWEST_BITS
    if not newest:
        return ()
    found = (ages >> _AGE_BITS * n & LONG_AGO for n in range(size - 1))
    return (newest, *(newest - age for age in found if age != LONG_AGO))


def word_of(moments: Sequence[int], size: int) -> int:
    """The word that `Rolling` keeps moments in, newest first."""
    if not moments:
        return 0
    newest, *earlier = moments
    ages = [min(newest - moment, LONG_AGO) for moment in earlier]
    ages += [LONG_AGO] * (size - 1 - len(ages))
    return newest | sum(age << _NEWEST_BITS + _AGE_BITS * n for n, age in enumerate(ages))


def _decision(values: tuple[int, int, int]) -> Decision:
    reason, actual, required = values
    return Decision(Refusal(reason), actual, required)


__all__ = [
    "AmortizationHarness",
    "Call",
    "ConsentRegistry",
    "Contract",
    "Contracts",
    "Delinquency",
    "GrievanceDesk",
    "InstalmentRow",
    "LoanLedger",
    "LoanRecord",
    "Log",
    "NotAContract",
    "NoticeRegistry",
    "Parties",
    "PolicyBook",
    "Standing",
    "Token",
    "creation",
]
