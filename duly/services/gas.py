"""What every operation costs in gas, as receipts show it: beside what the field's other ledgers were measured
to cost, and held to ceilings of our own.

The whole transaction counts, its 21,000 included; the token's holders have balances, and allowances that are
finite, so that each transfer writes them too. Gas is the same on every machine, but for the dozen that a zero
byte in a call's data saves.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from web3 import Web3

from duly.chain import networks
from duly.chain.clock import ChainClock, travel
from duly.chain.contracts import (
    Call,
    ConsentRegistry,
    GrievanceDesk,
    LoanLedger,
    NoticeRegistry,
    PolicyBook,
    Token,
    creation,
)
from duly.chain.errors import TransactionFailed, explained
from duly.chain.offers import (
    SigningDomain,
    loan_id,
    sign_acceptance,
    sign_amendment,
    sign_assignment,
    sign_grant,
    sign_offer,
    sign_register,
)
from duly.domain import calendar
from duly.domain.calendar import DAY
from duly.domain.consent import Channel
from duly.domain.errors import InvalidInput
from duly.domain.grievance import Grievance
from duly.domain.notice import Kind, Notice
from duly.domain.policy import AprConvention, ContactLimits, LendingLimits
from duly.domain.terms import Frequency, Schedule, Terms
from duly.services.bench import anvil

BATCH: Final = 50
_GAS: Final = 15_000_000
_ALLOWANCE: Final = 10**14
_LENDING: Final = LendingLimits(240_000, AprConvention.NOMINAL, 500, 3, 14, 30)
# Open all day and without gaps: what a check costs does not depend on what it allows.
_CONTACT: Final = ContactLimits(7 * 60, 22 * 60, 0, 127, 7, 7, 0, 7, 1, 30, 0b111, 0b111)
_HASH: Final = b"\x0d" * 32
# The length of the months to come has its part in what calendar arithmetic costs.
_START: Final = 2_210_000_000


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that a ledger does.

    key: its name for programs. most: the gas that it may cost here. peer: what the best of the measured
    ledgers with a repayment schedule costs (Teller v2 with 30-day cycles), and lower_bound what Morpho Blue
    does, which has no schedule at all; None where they have nothing like it.
    """

    key: str
    name: str
    most: int
    peer: int | None = None
    lower_bound: int | None = None


# The others' figures: their own contracts, built with their own compiler settings, with a mock ERC-20; net
# gas of the transactions. `originate` is the sum from request to funds disbursed, approvals included.
OPERATIONS: Final = (
    Operation("open", "open", 180_000),
    Operation("originate", "originate: approve and open", 226_500, 652_646, 325_896),
    Operation("instalment", "repay: on time", 63_000, 131_948, 69_043),
    Operation("late_instalment", "repay: late, its fee charged", 70_000, 281_145),
    Operation("last_instalment", "repay: the last instalment", 61_500, 173_463, 69_214),
    Operation("settle", "settle, half way", 66_000, 173_463, 69_214),
    Operation("prepay", "prepay", 195_600),
    Operation("flag_missed", "flagMissed", 46_000, 198_085),
    Operation("flag_missed_each_of_50", "flagMissedMany: each of 50", 21_000, 198_085),
    Operation("amend", "amend, by both signatures", 210_000, 457_568),
    Operation("defer", "defer", 161_500),
    Operation("rescind", "rescind", 81_000),
    Operation("assign", "assign", 72_400),
    Operation("waive", "waive", 40_000),
    Operation("forgive", "forgive", 39_700),
    Operation("mark_default", "markDefault", 60_300),
    Operation("register", "register a contact", 70_800),
    Operation("grant", "grant consent", 29_400),
    Operation("serve", "serve: the first about a loan", 95_000),
    Operation("serve_again", "serve: a later reminder", 80_000),
    Operation("serve_each_of_50", "serveMany: the first about each of 50 loans", 55_000),
    Operation("serve_again_each_of_50", "serveMany: a later one about each of them", 40_000),
    Operation("remind_each_of_50", "serveMany: the first reminder of each of 50 borrowers", 55_000),
    Operation("remind_again_each_of_50", "serveMany: the next reminder of each of them", 40_000),
    Operation("remind_second_each_of_50", "serveMany: the second instalment's of each of them", 40_000),
    Operation("remind_overdue_each_of_50", "serveMany: an overdue one of each of them", 40_000),
    Operation("remind_together_each_of_50", "serveMany: each of 50 loans in one message", 40_000),
    Operation("lodge", "lodge a grievance", 142_000),
    Operation("answer", "serve: the answer to it", 125_500),
    Operation("withdraw", "withdraw a grievance", 55_600),
    Operation("late_instalment_after_a_grievance", "repay: late, once a grievance was lodged", 70_300),
)


@dataclass(slots=True)
class GasReport:
    """The gas of each operation by its key, in the order of `OPERATIONS`."""

    gas: dict[str, int] = field(default_factory=dict)

    @property
    def above(self) -> list[Operation]:
        """The operations that cost more than they may."""
        return [operation for operation in OPERATIONS if self.gas[operation.key] > operation.most]

    def as_json(self) -> dict[str, int]:
        """For programs."""
        return {operation.key: self.gas[operation.key] for operation in OPERATIONS}


Progress = Callable[[str], None]


def bench_gas(rpc: str | None = None, progress: Progress = lambda text: None) -> GasReport:
    """Do everything once on a local chain, and read the receipts.

    rpc: a local chain whose time can be moved; by default an Anvil is started for it.

    Raises: ChainUnavailable, InvalidInput; TransactionFailed, where the ledger refuses.
    """
    if rpc is None:
        with anvil() as url:
            return _Scene(networks.connect(url), progress).play()
    w3 = networks.connect(rpc)
    with explained():
        if not networks.is_local(w3.eth.chain_id):
            raise InvalidInput("gas is measured on a local chain", wanted="such as http://127.0.0.1:8545")
    return _Scene(w3, progress).play()


class _Scene:
    """A lender, a borrower and their loans on freshly deployed contracts."""

    def __init__(self, w3: Web3, progress: Progress) -> None:
        self._w3, self._progress = w3, progress
        self._report = GasReport()
        with explained():
            accounts = [account.lower() for account in w3.eth.accounts]
        self._publisher, self._lender, self._borrower, self._assignee, self._keeper = accounts[:5]
        self._number = {account: number for number, account in enumerate(accounts)}
        self._salt = 0
        self._token = Token(w3, self._deploy("TestDollar", 6))
        self._policies = PolicyBook(w3, self._deploy("PolicyBook", self._publisher))
        book = self._policies.address
        self._desk = GrievanceDesk(w3, self._deploy("GrievanceDesk", book))
        self._ledger = LoanLedger(
            w3, self._deploy("LoanLedger", self._token.address, book, self._desk.address)
        )
        self._notices = NoticeRegistry(
            w3, self._deploy("NoticeRegistry", self._ledger.address, book, self._desk.address)
        )
        self._consents = ConsentRegistry(w3, self._notices.consents())
        self._send(self._publisher, self._desk.bind(self._ledger.address, self._notices.address))
        self._domain = SigningDomain(w3.eth.chain_id, self._ledger.address)

    def play(self) -> GasReport:
        """Do everything once."""
        if ChainClock(self._w3).now() < _START:
            travel(self._w3, _START)
        self._send(self._publisher, self._policies.publish(_LENDING, _CONTACT, _HASH, _HASH))
        for holder in (self._lender, self._borrower, self._assignee):
            self._send(self._publisher, self._token.mint(holder, _ALLOWANCE))
        approval = self._send(self._lender, self._token.approve(self._ledger.address, _ALLOWANCE))
        self._send(self._borrower, self._token.approve(self._ledger.address, _ALLOWANCE))
        # The ledger is no stranger to the token's holders: somebody opened a loan before.
        self._open()
        self._progress("Opening and paying")
        self._open("open")
        self._report.gas["originate"] = self._report.gas["open"] + approval
        self._paying()
        self._progress("Amending")
        self._amending()
        self._progress("The lender's side")
        self._lenders_side()
        self._progress("Serving notices")
        self._serving()
        self._progress("Grievances")
        self._complaining()
        return self._report

    def _paying(self) -> None:
        loan = self._open()
        for k in (1, 2):
            self._to_due(loan, k)
            self._repay(loan, k, "instalment")
        self._to_due(loan, 3, days_after=9)
        self._repay(loan, 3, "late_instalment")
        self._repay(loan, 4)
        self._to_due(loan, 5, days_after=-1)
        self._send(self._borrower, self._ledger.settle(loan, 2**128), "settle")

        loan = self._open()
        for k in range(1, 12):
            self._repay(loan, k)
        self._to_due(loan, 12)
        self._repay(loan, 12, "last_instalment")

    def _amending(self) -> None:
        terms = self._terms()
        self._send(self._borrower, self._ledger.open(terms, self._signed(terms)))
        self._send(self._borrower, self._ledger.rescind(terms), "rescind")

        loan = self._open()
        self._to_due(loan, 1)
        self._repay(loan, 1)
        self._to_due(loan, 2, days_after=-9)
        self._send(self._borrower, self._ledger.prepay(loan, 200_000_000), "prepay")

        loan = self._open()
        self._to_due(loan, 1)
        self._repay(loan, 1)
        self._send(self._lender, self._ledger.defer(loan, 2), "defer")

        loan = self._open()
        self._to_due(loan, 1, days_after=9)
        most = self._ledger.payoff(loan) - self._ledger.delinquency(loan).fees
        terms = replace(
            self._terms(), principal=most, instalments=24, late_fee=1_000_000, rate=100_000, replaces=loan
        )
        signatures = [
            sign_amendment(networks.development_account(self._w3, self._number[party]), terms, self._domain)
            for party in (self._lender, self._borrower)
        ]
        self._send(self._keeper, self._ledger.amend(terms, *signatures), "amend")

    def _lenders_side(self) -> None:
        loan = self._open()
        many = [self._open() for _ in range(BATCH)]
        self._to_due(many[-1], 1, days_after=9)
        self._send(self._keeper, self._ledger.flag_missed(loan), "flag_missed")
        self._send(self._keeper, self._ledger.flag_missed_many(many), "flag_missed_each_of_50", BATCH)
        self._send(self._lender, self._ledger.waive(loan, 1_000_000), "waive")
        self._send(self._lender, self._ledger.forgive(loan, 1_000_000), "forgive")
        self._to_due(loan, 2, days_after=9)
        self._send(self._lender, self._ledger.mark_default(loan), "mark_default")
        deadline = ChainClock(self._w3).now() + DAY
        signature = sign_assignment(
            networks.development_account(self._w3, self._number[self._assignee]),
            self._domain,
            loan,
            self._lender,
            self._ledger.nonce_of(self._assignee),
            deadline,
        )
        self._send(self._lender, self._ledger.assign(loan, self._assignee, deadline, signature), "assign")

    def _serving(self) -> None:
        self._send(self._borrower, self._consents.register(Channel.EMAIL, _HASH, 0, 0), "register")
        self._send(self._borrower, self._consents.grant(Channel.EMAIL), "grant")
        loans = [self._open() for _ in range(BATCH + 3)]
        crowd = [
            self._open_for(Account.from_key(number.to_bytes(32, "big"))) for number in range(1, BATCH + 1)
        ]
        self._to_noon()
        principal = self._terms().principal
        opened = [Notice(loan, Kind.LOAN_OPENED, 0, principal, Channel.EMAIL, _HASH) for loan in loans[2:]]
        self._send(self._lender, self._notices.serve(opened[0]), "serve")
        self._send(self._lender, self._notices.serve_many(opened[1:]), "serve_each_of_50", BATCH)
        for loan in loans[3:]:
            self._send(self._borrower, self._ledger.repay(loan, 1))
        self._to_noon()
        received = [Notice(loan, Kind.PAYMENT_RECEIVED, 0, 1, Channel.EMAIL, _HASH) for loan in loans[3:]]
        self._send(self._lender, self._notices.serve_many(received), "serve_again_each_of_50", BATCH)
        # A first reminder, where nothing was said of loan or borrower before, and the next.
        self._to_due(crowd[0], 1, days_after=-5)
        for single, each in (("serve", "remind_each_of_50"), ("serve_again", "remind_again_each_of_50")):
            self._to_noon()
            reminders = [self._reminder(loan) for loan in (loans[0], *crowd)]
            self._send(self._lender, self._notices.serve(reminders[0]), single)
            self._send(self._lender, self._notices.serve_many(reminders[1:]), each, BATCH)
        # One message about many loans of one borrower.
        self._to_noon()
        message = [self._reminder(loan) for loan in sorted(loans[3:])]
        self._send(self._lender, self._notices.serve_many(message), "remind_together_each_of_50", BATCH)
        # Of the second instalment: what fell due before is looked at too.
        for loan in crowd:
            self._repay(loan, 1)
        self._to_due(crowd[0], 2, days_after=-5)
        self._to_noon()
        reminders = [self._reminder(loan) for loan in crowd]
        self._send(self._lender, self._notices.serve_many(reminders), "remind_second_each_of_50", BATCH)
        # It falls overdue, and its days of grace are over: the late fee is part of what is due.
        self._to_due(crowd[0], 2, days_after=8)
        self._to_noon()
        overdue = [self._overdue(loan) for loan in crowd]
        self._send(self._lender, self._notices.serve_many(overdue), "remind_overdue_each_of_50", BATCH)

    def _complaining(self) -> None:
        loan = self._open()
        self._send(self._borrower, self._desk.lodge(loan, Grievance.DISPUTE), "lodge")
        answer = Notice(loan, Kind.DISPUTE_ANSWERED, 0, 0, Channel.EMAIL, _HASH)
        self._to_noon()
        self._send(self._lender, self._notices.serve(answer), "answer")
        self._send(self._borrower, self._desk.lodge(loan, Grievance.HARDSHIP), "lodge")
        self._send(self._borrower, self._desk.withdraw(loan, Grievance.HARDSHIP), "withdraw")
        # Late fees rested once: the ledger asks the desk from now on.
        self._to_due(loan, 1, days_after=9)
        self._repay(loan, 1, "late_instalment_after_a_grievance")

    # ------------------------------------------------------------------------------------ doing

    def _terms(self) -> Terms:
        self._salt += 1
        today = calendar.local_day(ChainClock(self._w3).now() + 3_600, 0)
        return Terms(
            lender=self._lender,
            borrower=self._borrower,
            principal=1_200_000_000,
            late_fee=5_000_000,
            rate=120_000,
            instalments=12,
            first_due=calendar.add_periods(today, Frequency.MONTHLY, 1),
            schedule=Schedule.LEVEL,
            frequency=Frequency.MONTHLY,
            grace_days=5,
            policy=1,
            expires=2**40 - 1,
            agreement_hash=_HASH,
            salt=self._salt.to_bytes(32, "big"),
        )

    def _signed(self, terms: Terms) -> bytes:
        lender = networks.development_account(self._w3, self._number[self._lender])
        return sign_offer(lender, terms, self._domain)

    def _reminder(self, loan: bytes) -> Notice:
        position = self._ledger.position_of(loan)
        return Notice(
            loan, Kind.INSTALMENT_UPCOMING, position.next, position.next_amount, Channel.EMAIL, _HASH
        )

    def _overdue(self, loan: bytes) -> Notice:
        position = self._ledger.position_of(loan)
        amount = position.overdue + position.fees
        return Notice(loan, Kind.OVERDUE, position.first_unpaid, amount, Channel.EMAIL, _HASH)

    def _to_noon(self) -> None:
        today = calendar.local_day(ChainClock(self._w3).now(), 0)
        travel(self._w3, calendar.start_of(today + 1, 0) + 12 * 3_600)

    def _open_for(self, borrower: LocalAccount) -> bytes:
        """A loan to somebody who signs and lets others send, and who can be reminded."""
        registry = SigningDomain(self._domain.chain_id, self._consents.address)
        deadline, address = ChainClock(self._w3).now() + DAY, borrower.address.lower()
        signature = sign_register(borrower, registry, Channel.EMAIL, _HASH, 0, 0, 0, deadline)
        call = self._consents.register_by_signature(address, Channel.EMAIL, _HASH, 0, 0, deadline, signature)
        self._send(self._keeper, call)
        signature = sign_grant(borrower, registry, Channel.EMAIL, 1, deadline)
        call = self._consents.grant_by_signature(address, Channel.EMAIL, deadline, signature)
        self._send(self._keeper, call)
        terms = replace(self._terms(), borrower=address)
        acceptance = sign_acceptance(borrower, terms, self._domain)
        self._send(self._keeper, self._ledger.open_by_signature(terms, self._signed(terms), acceptance))
        return loan_id(terms, self._domain)

    def _open(self, key: str | None = None) -> bytes:
        terms = self._terms()
        self._send(self._borrower, self._ledger.open(terms, self._signed(terms)), key)
        return loan_id(terms, self._domain)

    def _repay(self, loan: bytes, k: int, key: str | None = None) -> None:
        amount = self._ledger.instalment_of(loan, k).amount
        self._send(self._borrower, self._ledger.repay(loan, amount), key)

    def _to_due(self, loan: bytes, k: int, days_after: int = 0) -> None:
        """An hour before the end of the k-th due day, or so many days after that."""
        due_at = self._ledger.instalment_of(loan, k).due_at
        travel(self._w3, due_at - 3_600 + days_after * DAY)

    def _deploy(self, name: str, *arguments: object) -> str:
        receipt = self._receipt(self._publisher, creation(name, *arguments))
        return str(receipt["contractAddress"]).lower()

    def _send(self, sender: str, call: Call, key: str | None = None, share: int = 1) -> int:
        """The gas that it took; each share's is kept under the key, of several of one kind the dearest."""
        gas = int(self._receipt(sender, call)["gasUsed"])
        if key is not None:
            each = -(-gas // share)
            self._report.gas[key] = max(each, self._report.gas.get(key, 0))
        return gas

    def _receipt(self, sender: str, call: Call) -> Any:
        transaction: Any = {"from": to_checksum_address(sender), "data": call.data, "gas": _GAS}
        if call.to is not None:
            transaction["to"] = to_checksum_address(call.to)
        with explained(call.what):
            sent = self._w3.eth.send_transaction(transaction)
            receipt = self._w3.eth.wait_for_transaction_receipt(
                sent, timeout=60, poll_latency=networks.poll_latency(self._w3)
            )
            if receipt["status"] != 1:
                # A call tells the reason that a receipt does not.
                self._w3.eth.call(transaction)
                raise TransactionFailed(f"{call.what} was refused")
        return receipt
