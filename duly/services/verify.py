"""Has the contract compute a schedule too, and compares it row by row with Python's.

The contract's libraries are deployed on a chain inside this process. On a node they are only imagined to be
there, for the call: nothing is sent, and nothing is spent.
"""

from collections.abc import Sequence
from typing import Final

from eth_utils.address import to_checksum_address
from hexbytes import HexBytes
from web3 import Web3
from web3.types import BlockIdentifier, StateOverride, TxParams

from duly.chain import compiler, networks
from duly.chain.contracts import AmortizationHarness, creation
from duly.chain.errors import ContractError
from duly.chain.sender import Sender
from duly.domain.schedule import Instalment
from duly.domain.terms import Frequency, Schedule

# Where nothing is, on any chain: the code is put there for a call.
_NOWHERE: Final = "0x00000000000000000000000000000000d0d0d0d0"


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
    harness = _harness_in_process() if w3 is None else _Imagined(w3)
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


def _harness_in_process() -> AmortizationHarness:
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
