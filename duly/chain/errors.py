"""What can go wrong with a chain, and what a contract's refusal means in words.

    DulyError
    └── ChainError
        ├── ChainUnavailable        no node answers
        ├── WrongChain              another chain than expected
        ├── ContractError           a contract refused, with its error's name and arguments
        ├── TransactionFailed       mined, but without effect, and without a reason
        ├── TransactionPending      not mined in the time that was given
        ├── InsufficientFunds       the sender cannot pay for the transaction
        ├── FeesTooHigh             gas costs more than it may
        ├── NodeError               the node refused for another reason
        │   └── NonceTaken          the transaction's place went to another one
        ├── KeyRefused              no key, or one that may not be used on this chain
        └── see also `duly.chain.deployments`

Contracts tell their refusals as custom errors: a selector and encoded arguments. They are decoded over the
ABIs of all artifacts merged, OpenZeppelin's errors among them, whichever contract on the way reverted.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, Final

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak
from requests.exceptions import RequestException
from web3.exceptions import ProviderConnectionError, TimeExhausted, Web3Exception, Web3RPCError

from duly.chain import compiler
from duly.domain.consent import Channel
from duly.domain.errors import DulyError
from duly.domain.grievance import Grievance
from duly.domain.loan import Status
from duly.domain.notice import Kind, Refusal
from duly.domain.policy import AprConvention
from duly.domain.terms import Frequency, Schedule

Argument = int | bool | str | bytes | IntEnum
"""An error's argument: numbers, addresses in lower case, hashes, and the domain's enumerations."""

_ENUMS: Final[Mapping[str, type[IntEnum]]] = {
    f"enum {kind.__name__}": kind
    for kind in (Refusal, Status, Kind, Channel, Schedule, Frequency, AprConvention, Grievance)
}

MEANINGS: Final[Mapping[str, str]] = {
    # LoanLedger
    "NotBorrower": "only the borrower can do this",
    "NotLender": "only the loan's lender can do this",
    "NotServicer": "only the loan's lender or its servicer can do this",
    "NotParty": "only the lender or the borrower of the terms can do this",
    "OfferExpired": "the last second of the offer, or of the amendment, is over",
    "OfferWithdrawn": "a party cancelled the offer, or the amendment",
    "InvalidOffer": "the signature is not the lender's, for exactly these terms on this ledger and chain",
    "InvalidAcceptance": "the signature is not the borrower's, for exactly these terms on this ledger",
    "InvalidAmendment": "the signature is not this party's, for exactly this amendment on this ledger",
    "InvalidSignature": "the signature is not the signer's, for exactly this and with the nonce that is next",
    "SignatureExpired": "the signature's last second is over",
    "InvalidAccountNonce": "the signature's nonce is not the one that is next",
    "LoanExists": "these terms were opened before",
    "UnknownLoan": "there is no such loan",
    "LoanNotActive": "the loan is not active",
    "InvalidParties": "lender or borrower is missing, or they are the same",
    "NotANewLoan": "terms that replace a loan cannot be opened as a new one",
    "NotTheSameLoan": "an amendment keeps lender, borrower and policy, and charges no origination fee",
    "RateRaised": "an amendment does not raise the rate",
    "PrincipalAbovePayoff": "an amendment's principal is more than what is owed, late fees apart",
    "CurrencyTookAFee": "the currency took something away in a transfer, which this ledger does not accept",
    "ZeroAmount": "an amount of nothing",
    "PayoffAboveMaximum": "settling costs more than the payer allowed",
    "PrepaymentTooSmall": "what is overdue and the late fees leave nothing of it for the principal",
    "NothingToDefer": "all instalments are paid, or none was to be moved",
    "NothingToWaive": "no late fee is unpaid, or none was to be waived",
    "CoolingOffRuns": "nobody alone can change the loan while its borrower may still rescind",
    "CoolingOffOver": "the cooling-off period is over, or there was none",
    "NotInDefault": "nothing has been overdue for as long as a default takes",
    "NothingMissed": "no instalment was missed since lateness was last assessed",
    "NoSuchInstalment": "the schedule has no such instalment",
    "NothingToClaim": "the ledger holds nothing for this lender",
    # PolicyBook
    "UnknownPolicy": "the policy was never published",
    "PolicyIsRetired": "the policy takes no new loans",
    "ZeroPrincipal": "nothing would be lent",
    "InvalidCalendarOffset": "the calendar offset is none on Earth, in quarter hours",
    "FirstDueTooEarly": "the first instalment must be due at least one whole interval after opening",
    "FirstDueTooLate": "the first instalment is due later than any first period can mean",
    "AprAboveCap": "the annual percentage rate, fees included, exceeds the policy's cap",
    "OriginationFeeTooLarge": "the origination fee leaves nothing of the principal",
    "LateFeeAboveCap": "the late fee exceeds the policy's share of the smallest regular instalment",
    "GraceTooShort": "the grace period is shorter than the policy's",
    "AmountTooLarge": "the loan's amounts are larger than the ledger can hold",
    "TermsOutOfRange": "rate and number of instalments are outside the range of the formulas",
    "InstalmentTooCoarse": "rounding would repay the loan before its last instalment, or leave one empty",
    "LimitOutOfBounds": "a contact limit lies outside what any policy may allow",
    "LimitLoosened": "a contact limit can only become stricter",
    "AccessControlUnauthorizedAccount": "the account lacks the role that this needs",
    "AccessControlInvalidDefaultAdmin": "the book is not offered to this account",
    "AccessControlEnforcedDefaultAdminDelay": "the book can be accepted from the next second on",
    "AccessControlEnforcedDefaultAdminRules": "the administration is offered, then accepted",
    # ConsentRegistry
    "EmptyCommitment": "a contact's commitment is missing",
    "InvalidOffset": "the offset is none on Earth, in quarter hours",
    "OffsetsTooFarApart": "standard and summer time lie too far apart, in quarter hours",
    "NoContact": "consent needs a registered contact",
    "InstructionExpired": "the signed instruction's last second is over",
    "InvalidInstruction": "the signature is not the borrower's, for exactly this instruction and nonce",
    "NotLenderOrServicer": "only the loan's lender or its servicer may record its borrower's word",
    # GrievanceDesk
    "NotConcerned": "only the loan's borrower, lender or servicer can do this",
    "NotTheBorrower": "only the borrower can do this",
    "GrievanceStands": "this grievance stands already",
    "NoGrievance": "no such grievance stands",
    "NotFrom": "only another contract can do this",
    "NotDesk": "only the desk for grievances can do this",
    "CannotBind": "the desk is bound already, or not by who deployed it, or these contracts do not know it",
    # NoticeRegistry
    "Refused": "the notice may not be served",
    # OpenZeppelin's ERC-20
    "ERC20InsufficientBalance": "the sender holds too little of the currency",
    "ERC20InsufficientAllowance": "the holder did not approve the ledger to take that much",
    "ERC20InvalidSender": "the currency does not move from this address",
    "ERC20InvalidReceiver": "the currency cannot be sent to this address",
    "ERC2612ExpiredSignature": "the permit's deadline is over",
    "ERC2612InvalidSigner": "the permit was not signed by the holder",
    "SafeERC20FailedOperation": "the currency refused the transfer without a reason",
}
"""What the errors mean, in words; the contracts' NatSpec says the same."""

_PANICS: Final[Mapping[int, str]] = {
    0x01: "an assertion failed",
    0x11: "an amount is out of range",
    0x12: "division by zero",
    0x21: "a number that is no value of its enumeration",
    0x32: "an index out of range",
}

_STRING_SELECTOR: Final = keccak(text="Error(string)")[:4]
_PANIC_SELECTOR: Final = keccak(text="Panic(uint256)")[:4]


# ------------------------------------------------------------------------------------------ errors


class ChainError(DulyError):
    """Something did not work on the chain."""


class ChainUnavailable(ChainError):
    """No node answers."""


class WrongChain(ChainError):
    """This is another chain than expected."""


class TransactionFailed(ChainError):
    """The transaction was mined, but reverted."""


class TransactionPending(ChainError):
    """The transaction was not mined in time."""


class InsufficientFunds(ChainError):
    """The sender cannot pay for the transaction."""


class NodeError(ChainError):
    """The node refused."""


class NonceTaken(NodeError):
    """Another transaction of the same account took this one's place: this one never counts."""


class FeesTooHigh(ChainError):
    """Gas costs more at the moment than may be paid."""


class KeyRefused(ChainError):
    """There is no key to sign with, or it may not be used here."""


class ContractError(ChainError):
    """A contract refused.

    name: the error's, as in its contract, such as AprAboveCap. `Error` is a refusal in words, `Panic` a
    failed check of the language, and empty where the contract gave no reason. arguments: by name, in order.
    data: as the node gave them. doing: what was tried, such as LoanLedger.open.
    """

    def __init__(
        self,
        name: str,
        arguments: Mapping[str, Argument] | None = None,
        *,
        data: bytes = b"",
        doing: str | None = None,
    ) -> None:
        self.name = name
        self.arguments: dict[str, Argument] = dict(arguments or {})
        self.data = data
        self.doing = doing
        super().__init__((f"{doing}: " if doing else "") + self.reason)

    @property
    def meaning(self) -> str:
        """What a refusal of this name means, in words; nothing where it is not known."""
        return MEANINGS.get(self.name, "")

    @property
    def reason(self) -> str:
        """The refusal in words, without what was tried."""
        listed = ", ".join(f"{name} {_shown(value)}" for name, value in self.arguments.items())
        if self.name == "Error":
            return _shown(self.arguments.get("message", ""))
        if self.name == "Panic":
            code = self.arguments.get("code")
            number = code if isinstance(code, int) else 0
            return f"{_PANICS.get(number, 'a check of the language failed')} (Panic {number:#04x})"
        if not self.name:
            return "the contract refused without a reason" + (f" ({listed})" if listed else "")
        meaning = MEANINGS.get(self.name)
        call = f"{self.name}({listed})"
        return f"{meaning}: {call}" if meaning else call


def _shown(value: Argument) -> str:
    if isinstance(value, IntEnum):
        return value.name
    if isinstance(value, bytes):
        # A field's name travels as text in a word.
        text = value.rstrip(b"\0")
        if len(value) == 32 and text and re.fullmatch(rb"[A-Za-z]{1,32}", text):
            return text.decode()
        return "0x" + value.hex()
    return str(value)


# -------------------------------------------------------------------------------- decoding refusals


@dataclass(frozen=True, slots=True)
class _Definition:
    name: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    internal_types: tuple[str, ...]


@cache
def _definitions() -> Mapping[bytes, _Definition]:
    """The errors of all artifacts, by selector."""
    found: dict[bytes, _Definition] = {}
    for path in sorted(compiler.ARTIFACTS.glob("*.json")):
        for entry in compiler.read_artifact(path.stem).abi:
            if entry["type"] != "error":
                continue
            inputs = entry["inputs"]
            types = tuple(item["type"] for item in inputs)
            selector = keccak(text=f"{entry['name']}({','.join(types)})")[:4]
            found[selector] = _Definition(
                entry["name"],
                tuple(item["name"] or str(position) for position, item in enumerate(inputs)),
                types,
                tuple(item.get("internalType", "") for item in inputs),
            )
    return found


def known_errors() -> dict[str, tuple[str, ...]]:
    """Every custom error that can be decoded, with the names of its arguments."""
    return {found.name: found.names for found in _definitions().values()}


def decode_refusal(data: bytes, doing: str | None = None) -> ContractError:
    """The refusal that these bytes tell, whoever's contract it came from.

    An error that no artifact knows is named by its selector.
    """
    selector, rest = data[:4], data[4:]
    try:
        if not data:
            return ContractError("", doing=doing)
        if selector == _STRING_SELECTOR:
            return ContractError("Error", {"message": decode(["string"], rest)[0]}, data=data, doing=doing)
        if selector == _PANIC_SELECTOR:
            return ContractError("Panic", {"code": decode(["uint256"], rest)[0]}, data=data, doing=doing)
        definition = _definitions().get(selector)
        if definition:
            values = decode(definition.types, rest)
            arguments = {
                name: _typed(value, internal_type)
                for name, value, internal_type in zip(
                    definition.names, values, definition.internal_types, strict=True
                )
            }
            return ContractError(definition.name, arguments, data=data, doing=doing)
    except (DecodingError, UnicodeDecodeError):
        pass
    return ContractError("", {"data": data}, data=data, doing=doing)


def _typed(value: Any, internal_type: str) -> Argument:
    kind = _ENUMS.get(internal_type)
    if kind is not None:
        try:
            return kind(value)
        except ValueError:
            return int(value)
    if isinstance(value, str) and value.startswith("0x"):
        return value.lower()
    return value if isinstance(value, (int, bytes)) else str(value)


def revert_data(error: BaseException) -> bytes | None:
    """What a contract reverted with, from whatever web3.py, a node or eth-tester made of it; None where the
    error is no revert.
    """
    if type(error).__name__ == "TransactionFailed" and type(error).__module__.startswith("eth_tester"):
        return _from_eth_tester(error)
    if not isinstance(error, Web3Exception):
        return None
    response = getattr(error, "rpc_response", None)
    for source in (getattr(error, "data", None), response):
        found = _hex_in(source)
        if found is not None:
            return found
    text = str(error)
    return b"" if "revert" in text and not isinstance(error, Web3RPCError) else None


def _from_eth_tester(error: BaseException) -> bytes:
    """eth-tester gives the bytes as Python prints them, or a string that it decoded by itself."""
    text = str(error.args[0]) if error.args else ""
    raw = text.removeprefix("execution reverted: ")
    try:
        found = ast.literal_eval(raw)
    except (ValueError, SyntaxError):
        found = None
    if isinstance(found, bytes):
        return found
    if raw in ("", "None", "execution reverted"):
        return b""
    words = raw.encode()
    length = len(words).to_bytes(32, "big")
    return _STRING_SELECTOR + (32).to_bytes(32, "big") + length + words + bytes(-len(words) % 32)


def _hex_in(value: object, depth: int = 0) -> bytes | None:
    """The revert data somewhere in what a node answered: clients nest them differently."""
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, str):
        match = re.fullmatch(r"(?:Reverted )?0x((?:[0-9a-fA-F]{2})*)", value)
        return bytes.fromhex(match[1]) if match else None
    if isinstance(value, Mapping) and depth < 4:
        for key in ("data", "originalError", "error"):
            found = _hex_in(value.get(key), depth + 1)
            if found is not None:
                return found
    return None


# ------------------------------------------------------------------------------- everything at once


@contextmanager
def explained(doing: str | None = None) -> Iterator[None]:
    """Turn what web3.py, a node or eth-tester raises into an error of this module.

    doing: what is tried, such as LoanLedger.open, for the message.

    Raises: ContractError, ChainUnavailable, InsufficientFunds, NodeError.
    """
    try:
        yield
    except DulyError:
        raise
    except Exception as error:
        known = explain(error, doing)
        if known is None:
            raise
        raise known from error


def explain(error: Exception, doing: str | None = None) -> ChainError | None:
    """The error of this module that says the same, if there is one."""
    data = revert_data(error)
    if data is not None:
        return decode_refusal(data, doing)
    prefix = f"{doing}: " if doing else ""
    if isinstance(error, (RequestException, ProviderConnectionError, ConnectionError, TimeoutError)):
        return ChainUnavailable(
            f"{prefix}the node does not answer ({cause_of(error)})",
            remedy="Check that the node runs, and that DULY_RPC or --rpc is its address.",
        )
    message = _node_message(error)
    if message is None:
        return None
    if re.search(
        r"insufficient (funds|balance)|does not have enough balance|cannot afford|upfront", message, re.I
    ):
        return InsufficientFunds(
            f"{prefix}the sender cannot pay for the transaction ({message})",
            remedy="Send it some of the chain's own coin, for gas.",
        )
    return NodeError(f"{prefix}the node refused: {message}")


def _node_message(error: Exception) -> str | None:
    if isinstance(error, Web3RPCError):
        answer = error.rpc_response
        if isinstance(answer, Mapping):
            problem = answer.get("error")
            if isinstance(problem, Mapping) and problem.get("message"):
                return str(problem["message"])
        return error.message if hasattr(error, "message") else str(error)
    if isinstance(error, (Web3Exception, TimeExhausted)) or type(error).__module__.startswith(
        ("eth_tester", "eth.", "eth_utils")
    ):
        return str(error)
    return None


def cause_of(error: Exception) -> str:
    """Why a node did not answer, without its address: a provider's carries its key."""
    text = str(error)
    for known in ("Connection refused", "Name or service not known", "timed out", "Connection reset"):
        if known.lower() in text.lower():
            return known.lower()
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    return f"HTTP {status}" if status else type(error).__name__


Progress = Callable[[str], None]
"""Is told what happens, in one line, while it happens."""
