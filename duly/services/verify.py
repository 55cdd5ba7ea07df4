"""Has the contract compute too, and compares with Python: a schedule row by row, a loan book loan by loan.

The contract's libraries are deployed on a chain inside this process. On a node they are only imagined to be
there, for the call: nothing is sent, and nothing is spent.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from eth_utils.address import to_checksum_address
from hexbytes import HexBytes
from web3 import Web3
from web3.types import BlockIdentifier, StateOverride, TxParams

from duly.chain import compiler, networks
from duly.chain.contracts import AmortizationHarness, creation
from duly.chain.errors import ContractError
from duly.chain.sender import Sender
from duly.domain.loanbook import BookLoan, RefusedRow
from duly.domain.schedule import Instalment
from duly.domain.terms import Frequency, Schedule

# Where nothing is, on any chain: the code is put there for a call.
_NOWHERE: Final = "0x00000000000000000000000000000000d0d0d0d0"
# Loans in one call: some three million gas, less than any node allows.
_BATCH: Final = 500


def verify_schedule(
    rows: Sequence[Instalment],
    principal: int,
    rate: int,
    instalments: int,
    first_due: int,
    calendar_offset: int = 0,
    schedule: Schedule = Schedule.LEVEL,
    frequency: Frequency = Frequency.MONTHLY,
    *,
    w3: Web3 | None = None,
) -> list[str]:
    """What the contract computes differently; empty where it computes exactly the same.

    Compared are the instalments, their parts of principal and interest, the balances and the last seconds for
    paying. The arguments are those of `duly.domain.schedule.rows`, rows what it yields. w3: the node whose
    virtual machine computes; by default one inside this process.

    Raises: ChainUnavailable.
    """
    harness = _harness(w3)
    try:
        curve = harness.curve_of(schedule, principal, rate, frequency.periods_per_year, instalments)
    except ContractError as error:
        return [f"the contract refuses: {error.reason}"]

    differences: list[str] = []

    def compare(what: str, ours: int, theirs: int) -> None:
        if ours != theirs:
            differences.append(f"{what} is {ours} here, {theirs} in the contract")

    compare("the total", sum(row.amount for row in rows), curve.total)
    due, outstanding = 0, principal
    for row in rows:
        k = row.k
        due_so_far, balance = harness.cumulative(curve, k), harness.balance(curve, k)
        amount, repaid = due_so_far - due, outstanding - balance
        compare(f"instalment {k}", row.amount, amount)
        compare(f"principal {k}", row.principal, repaid)
        compare(f"interest {k}", row.interest, amount - repaid)
        compare(f"balance {k}", row.balance, balance)
        compare(f"due time {k}", row.due_at, harness.due_time(first_due, frequency, k, calendar_offset))
        due, outstanding = due_so_far, balance
    return differences


class VerifiedRow(NamedTuple):
    """A row of a loan book, and what of it the contract computes differently."""

    row: BookLoan | RefusedRow
    differences: list[str]


def verify_book(rows: Iterable[BookLoan | RefusedRow], *, w3: Web3 | None = None) -> Iterator[VerifiedRow]:
    """Each row of a loan book, once the contract has computed its loan's instalment and total too. A refused
    row has none to compare.

    w3: the node whose virtual machine computes; by default one inside this process.

    Raises: ChainUnavailable.
    """
    harness = _harness(w3)
    waiting = iter(rows)
    while batch := list(islice(waiting, _BATCH)):
        loans = [row for row in batch if isinstance(row, BookLoan)]
        computed = iter(_levels(harness, loans))
        for row in batch:
            differences = _differences(row, next(computed)) if isinstance(row, BookLoan) else []
            yield VerifiedRow(row, differences)


def _levels(harness: AmortizationHarness, loans: Sequence[BookLoan]) -> list[tuple[int, int] | ContractError]:
    """Instalment and total of each loan, or why the contract refuses it."""
    if not loans:
        return []
    try:
        return list(harness.level_monthly([(loan.principal, loan.rate, loan.instalments) for loan in loans]))
    except ContractError as error:
        if len(loans) == 1:
            return [error]
        half = len(loans) // 2
        return _levels(harness, loans[:half]) + _levels(harness, loans[half:])


def _differences(loan: BookLoan, computed: tuple[int, int] | ContractError) -> list[str]:
    if isinstance(computed, ContractError):
        return [f"line {loan.line}: the contract refuses: {computed.reason}"]
    return [
        f"line {loan.line}: the {what} is {ours} here, {theirs} in the contract"
        for what, ours, theirs in zip(
            ("instalment", "total"), (loan.instalment, loan.total), computed, strict=True
        )
        if ours != theirs
    ]


def _harness(w3: Web3 | None) -> AmortizationHarness:
    if w3 is not None:
        return _Imagined(w3)
    w3 = networks.connect(networks.IN_PROCESS)
    sender = Sender(w3, networks.development_account(w3))
    created = sender.send(creation("AmortizationHarness")).contract
    assert created is not None
    return AmortizationHarness(w3, created)


class _Imagined(AmortizationHarness):
    """The libraries on a chain that they are not deployed on."""

    def __init__(self, w3: Web3) -> None:
        super().__init__(w3, _NOWHERE)
        code = compiler.read_artifact("AmortizationHarness").deployed_bytecode
        self._override: StateOverride = {to_checksum_address(_NOWHERE): {"code": code}}  # type: ignore[typeddict-item]

    def _ask(self, question: TxParams, at: BlockIdentifier) -> bytes:
        return bytes(HexBytes(self.w3.eth.call(question, at, state_override=self._override)))
