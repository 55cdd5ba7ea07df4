"""Opens the loans of a published loan book on the ledger, with simulated borrowers.

Every loan is opened by real transactions: its lender signs the offer, its borrower, a fresh key derived from
a seed and the row's key, accepts it. Such keys are anyone's, so this is for local chains only.

The row's key is the salt of the terms, and the chain is the only record of what was opened: a file that is
imported again, or whose import was stopped anywhere, opens nothing twice.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from eth_account import Account
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from duly.chain import logs, networks
from duly.chain.clock import next_block_time
from duly.chain.contracts import Call, Contracts
from duly.chain.deployments import Deployment
from duly.chain.errors import ChainError, ContractError, InsufficientFunds, TransactionFailed, explained
from duly.chain.offers import SigningDomain, sign_offer
from duly.chain.sender import Receipt, Sender, Signed
from duly.domain import calendar
from duly.domain.amortisation import curve_of
from duly.domain.errors import InvalidAmount, InvalidInput
from duly.domain.events import LoanOpened
from duly.domain.lending import highest_late_fee
from duly.domain.loanbook import CENTS, BookLoan, RefusedRow
from duly.domain.policy import LendingLimits
from duly.domain.terms import Frequency, Schedule, Terms
from duly.services import loanbook

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

SEED: Final = b"duly"
"""What the simulated borrowers' keys are derived from, unless another is given."""
GAS_MONEY: Final = 5 * 10**16
"""Wei that a borrower is given: enough to open a loan and to repay it month by month."""

_LATE_FEE: Final = 15_00
_GRACE_DAYS: Final = 15
_OFFER_STANDS: Final = 7 * calendar.DAY
_BATCH: Final = 32
_TRANSFER_GAS: Final = 21_000


class LocalChainsOnly(ChainError):
    """Simulated borrowers are for local chains only."""


@dataclass(frozen=True, slots=True)
class OpenedRow:
    """A row whose loan is on the ledger.

    row: with the instalment and total that the ledger recorded, in cents, where it said anything else than
    expected. loan: its id. new: it was opened by this import.
    """

    row: BookLoan
    loan: bytes
    new: bool


@dataclass(slots=True)
class Report:
    """What an import came to: how many loans it opened, how many were open already, and what stands in
    `book`, whose instalments are the ledger's own.
    """

    book: loanbook.Report
    opened: int = 0
    already_open: int = 0
    loans: list[bytes] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """The report as plain values."""
        return {"opened": self.opened, "already_open": self.already_open, **self.book.as_json()}


def report(outcomes: Iterable[OpenedRow | RefusedRow]) -> Report:
    """What these outcomes come to."""
    found = Report(loanbook.Report())

    def rows() -> Iterator[BookLoan | RefusedRow]:
        for outcome in outcomes:
            if isinstance(outcome, RefusedRow):
                yield outcome
                continue
            found.loans.append(outcome.loan)
            found.opened += outcome.new
            found.already_open += not outcome.new
            yield outcome.row

    found.book = loanbook.report(rows())
    return found


# ----------------------------------------------------------------------------------------- importing


def import_rows(
    contracts: Contracts,
    deployment: Deployment,
    lender: Sender,
    rows: Iterable[BookLoan | RefusedRow],
    *,
    policy: str | None = None,
    seed: bytes = SEED,
) -> Iterator[OpenedRow | RefusedRow]:
    """Open the loans of a book, in its order; what becomes of each row, as soon as it is known.

    A row that the ledger refuses is told with the reason, and the others go on. The lender gives the money
    and pays the borrowers' gas; where the currency is a TestDollar it mints what it lacks.

    policy: its name; by default the deployment's first.

    Raises: LocalChainsOnly, NotDeployed, InsufficientFunds, ChainUnavailable: what was opened until then
    stays, and importing again goes on from there.
    """
    if not networks.is_local(contracts.chain_id):
        raise LocalChainsOnly(
            f"a loan book is opened with simulated borrowers, whose keys anyone can derive: not on chain "
            f"{networks.chain_name(contracts.chain_id)}",
            wanted="a local chain, such as Anvil",
            remedy="Use --dry-run to see how the book fits the ledger.",
        )
    number = deployment.policy(policy)
    _, retired = contracts.policy_book.state_of(number)
    if retired:
        raise ContractError("PolicyIsRetired", {"policy": number})
    limits = contracts.policy_book.lending_of(number)
    importer = _Importer(contracts, deployment, lender, number, limits, seed)
    waiting = iter(rows)
    while batch := list(islice(waiting, _BATCH)):
        yield from importer.run(batch)


@dataclass(frozen=True, slots=True)
class _Opening:
    """A row on its way: signed by both, and not sent yet."""

    row: BookLoan
    terms: Terms
    borrower: Sender
    call: Call
    gas: int


class _Importer:
    def __init__(
        self,
        contracts: Contracts,
        deployment: Deployment,
        lender: Sender,
        policy: int,
        limits: LendingLimits,
        seed: bytes,
    ) -> None:
        self.contracts = contracts
        self.lender = lender
        self.policy = policy
        self.limits = limits
        self.seed = seed
        self.decimals = deployment.currency.decimals
        self.can_mint = deployment.has_test_currency
        self.known = opened_loans(contracts, deployment.block)

    def run(self, batch: Sequence[BookLoan | RefusedRow]) -> list[OpenedRow | RefusedRow]:
        outcomes: dict[int, OpenedRow | RefusedRow] = {}
        candidates: list[tuple[int, BookLoan, Terms, LocalAccount]] = []
        now = next_block_time(self.contracts.w3)
        for position, row in enumerate(batch):
            if isinstance(row, RefusedRow):
                outcomes[position] = row
                continue
            known = self.known.get(row.key)
            if known is not None:
                outcomes[position] = self._opened(row, known, new=False)
                continue
            borrower = borrower_account(self.seed, row.key)
            try:
                terms = terms_for(
                    row, self.lender.address, borrower.address, self.policy, self.limits, self.decimals, now
                )
            except InvalidInput as error:
                outcomes[position] = RefusedRow(row.line, str(error))
                continue
            candidates.append((position, row, terms, borrower))

        # The money must be there before the ledger can be asked whether it takes the loans.
        give_gas(self.lender, [borrower.address for _, _, _, borrower in candidates])
        lend_from(
            self.contracts,
            self.lender,
            sum(terms.principal for _, _, terms, _ in candidates),
            can_mint=self.can_mint,
        )
        openings: dict[int, _Opening] = {}
        for position, row, terms, borrower in candidates:
            try:
                openings[position] = self._prepare(row, terms, borrower)
            except ContractError as error:
                outcomes[position] = RefusedRow(row.line, f"the ledger refuses: {error.reason}")
        outcomes |= self._open(openings)
        return [outcomes[position] for position in range(len(batch))]

    def _prepare(self, row: BookLoan, terms: Terms, account: "LocalAccount") -> _Opening:
        borrower = self.lender.sibling(account)
        try:
            return self._signed(row, terms, borrower)
        except ContractError as error:
            return self._signed(row, _next_day(terms, error), borrower)

    def _signed(self, row: BookLoan, terms: Terms, borrower: Sender) -> _Opening:
        domain = SigningDomain(self.contracts.chain_id, self.contracts.ledger.address)
        call = self.contracts.ledger.open(terms, sign_offer(self.lender.account, terms, domain))
        return _Opening(row, terms, borrower, call, borrower.estimate(call))

    def _open(self, openings: dict[int, _Opening]) -> dict[int, OpenedRow | RefusedRow]:
        sent: dict[int, Signed] = {}
        outcomes: dict[int, OpenedRow | RefusedRow] = {}
        for position, opening in openings.items():
            borrower = opening.borrower
            sent[position] = borrower.submit(borrower.prepare(opening.call, gas=opening.gas))
        for position, signed in sent.items():
            opening = openings[position]
            try:
                receipt = self._receipt(opening, signed)
            except (ContractError, TransactionFailed) as error:
                reason = error.reason if isinstance(error, ContractError) else str(error)
                outcomes[position] = RefusedRow(opening.row.line, f"the ledger refuses: {reason}")
                continue
            found = _opening_in(self.contracts, receipt)
            self.known[opening.row.key] = found
            outcomes[position] = self._opened(opening.row, found, new=True)
        return outcomes

    def _receipt(self, opening: _Opening, signed: Signed) -> Receipt:
        try:
            return opening.borrower.wait(signed)
        except ContractError as error:
            terms = _next_day(opening.terms, error)
            return opening.borrower.send(self._signed(opening.row, terms, opening.borrower).call)

    def _opened(self, row: BookLoan, found: LoanOpened, *, new: bool) -> OpenedRow:
        instalment = _in_cents(found.instalment, self.decimals)
        total = _in_cents(found.total, self.decimals)
        return OpenedRow(replace(row, instalment=instalment, total=total), found.id, new)


def _next_day(terms: Terms, error: ContractError) -> Terms:
    """The terms for the day that began since they were made; raises the error where it is another one."""
    if error.name != "FirstDueTooEarly":
        raise error
    return replace(terms, first_due=int(str(error.arguments["earliest"])))


def opened_loans(contracts: Contracts, first_block: int) -> dict[bytes, LoanOpened]:
    """All loans that were ever opened on the ledger, by the salt of their terms."""
    with explained():
        head = int(contracts.w3.eth.block_number)
    found = {}
    for log in logs.fetch(contracts.w3, [contracts.ledger.address], first_block, head):
        event = logs.decode(log)
        if isinstance(event, LoanOpened):
            found[event.terms.salt] = event
    return found


def _opening_in(contracts: Contracts, receipt: Receipt) -> LoanOpened:
    for log in receipt.logs:
        opened = contracts.ledger.opened(log)
        if opened is not None and log.address == contracts.ledger.address:
            return opened
    raise TransactionFailed(f"{receipt.what}: mined in block {receipt.block}, but no loan was opened")


# ------------------------------------------------------------------- parts, for others to play with


def borrower_account(seed: bytes, key: bytes) -> "LocalAccount":
    """The simulated borrower of a loan: the same for the same seed and key. Local chains only."""
    account: LocalAccount = Account.from_key(keccak(b"duly simulated borrower\0" + keccak(seed) + key))
    return account


def terms_for(
    row: BookLoan,
    lender: str,
    borrower: str,
    policy: int,
    limits: LendingLimits,
    decimals: int,
    now: int,
) -> Terms:
    """The terms of a book's row, as if it were lent today.

    The first instalment is due on the same day of the next month, in UTC. The late fee is 15.00, or the
    policy's cap where that is less; the grace period 15 days, or the policy's where that is more.

    Raises: InvalidAmount, when the currency cannot hold the amount; InvalidTerms.
    """
    principal = _from_cents(row.principal, decimals)
    periods_per_year = Frequency.MONTHLY.periods_per_year
    curve = curve_of(Schedule.LEVEL, principal, row.rate, periods_per_year, row.instalments)
    cap = highest_late_fee(curve, limits)
    today = calendar.local_day(now, 0)
    return Terms(
        lender=lender.lower(),
        borrower=borrower.lower(),
        principal=principal,
        late_fee=min(_LATE_FEE * 10**decimals // 10**CENTS, cap),
        rate=row.rate,
        instalments=row.instalments,
        first_due=calendar.add_months(today, 1),
        grace_days=max(_GRACE_DAYS, limits.min_grace_days),
        policy=policy,
        expires=now + _OFFER_STANDS,
        salt=row.key,
    )


def lend_from(contracts: Contracts, lender: Sender, amount: int, *, can_mint: bool) -> None:
    """Make sure that the lender holds an amount, and that the ledger may take it.

    can_mint: the currency is a TestDollar, which anyone can make more of.

    Raises: InsufficientFunds.
    """
    token, ledger = contracts.currency, contracts.ledger
    held = token.balance_of(lender.address)
    if held < amount:
        if not can_mint:
            raise InsufficientFunds(
                f"the lender {to_checksum_address(lender.address)} holds {held} of the currency, in its "
                "smallest units",
                wanted=f"{amount} for the next loans",
                remedy="Give it more, name another --lender, or import fewer loans with --limit.",
            )
        lender.send(token.mint(lender.address, amount - held))
    if token.allowance(lender.address, ledger.address) < amount:
        lender.send(token.approve(ledger.address, amount))


def give_gas(giver: Sender, addresses: Sequence[str], least: int = GAS_MONEY) -> None:
    """Make sure that these addresses hold that much of the chain's own coin, in wei.

    Raises: InsufficientFunds.
    """
    calls = []
    for address in addresses:
        with explained():
            held = int(giver.w3.eth.get_balance(to_checksum_address(address)))
        # What was given once lasts: a top-up for the gas of one transaction would double their number.
        if held < least // 2:
            calls.append(Call("give gas money", address, value=least - held))
    for outcome in giver.send_many(calls, gas=_TRANSFER_GAS):
        if not isinstance(outcome, Receipt):
            raise outcome


def open_loan(contracts: Contracts, lender: "LocalAccount", borrower: Sender, terms: Terms) -> bytes:
    """Open one loan, both keys at hand: the lender signs, the borrower sends. Its id.

    The lender must hold the principal, approved for the ledger (`lend_from`), the borrower gas (`give_gas`).

    Raises: ContractError.
    """
    domain = SigningDomain(contracts.chain_id, contracts.ledger.address)
    receipt = borrower.send(contracts.ledger.open(terms, sign_offer(lender, terms, domain)))
    return _opening_in(contracts, receipt).id


def _from_cents(cents: int, decimals: int) -> int:
    units, rest = divmod(cents * 10**decimals, 10**CENTS)
    if rest:
        raise InvalidAmount(f"{cents} cents are no whole number of a currency with {decimals} decimals")
    return int(units)


def _in_cents(units: int, decimals: int) -> int:
    """Rounded up, as the ledger rounds instalments."""
    return int(-(-units * 10**CENTS // 10**decimals))
