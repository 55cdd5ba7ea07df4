"""The contracts on a chain, and people who use them at random."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from eth_utils.address import to_checksum_address
from sqlalchemy import select
from web3 import Web3
from web3.types import RPCEndpoint

from duly.chain import networks
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
from duly.chain.offers import (
    SigningDomain,
    loan_id,
    sign_acceptance,
    sign_amendment,
    sign_assignment,
    sign_offer,
    sign_permit,
    sign_repayment,
)
from duly.domain import calendar
from duly.domain.consent import Channel
from duly.domain.grievance import NO_REST, Grievance, rests_until
from duly.domain.loan import Loan, Status
from duly.domain.notice import Facts, Kind, Notice, ground
from duly.domain.terms import ZERO_ADDRESS, Frequency, Schedule, Terms
from duly.services.index import Indexer, Source
from duly.services.policy import load_pack
from duly.store import schema
from duly.store.database import reading
from duly.store.readmodel import Identity, ReadModel
from scripts.anvil import anvil as anvil_at

START = 1_790_000_000  # a Monday
PACK = load_pack("STRICT")
PUBLISHER, LENDER, OTHER_LENDER, SERVICER = 0, 1, 2, 3
BORROWERS = (4, 5, 6, 7)


@contextmanager
def anvil(start: int = START) -> Iterator[str]:
    """The address of a fresh Anvil."""
    with anvil_at(timestamp=start) as url:
        yield url


class World:
    """The contracts, freshly deployed, and the accounts that the chain started with."""

    def __init__(self, w3: Web3) -> None:
        self.w3 = w3
        self.accounts = [account.lower() for account in w3.eth.accounts[:8]]
        publisher = self.accounts[PUBLISHER]
        self.first_block = w3.eth.block_number + 1
        # Its issuer can block a holder, so that payments to lenders fail.
        self.token = Token(w3, self.deploy("BlockingDollar", 2))
        self.policy_book = PolicyBook(w3, self.deploy("PolicyBook", publisher))
        book = self.policy_book.address
        self.desk = GrievanceDesk(w3, self.deploy("GrievanceDesk", book))
        self.ledger = LoanLedger(w3, self.deploy("LoanLedger", self.token.address, book, self.desk.address))
        self.notices = NoticeRegistry(
            w3, self.deploy("NoticeRegistry", self.ledger.address, book, self.desk.address)
        )
        self.consents = ConsentRegistry(w3, self.notices.consents())
        bound = self.send(self.desk.bind(self.ledger.address, self.notices.address), PUBLISHER)
        assert bound["status"] == 1
        self.publish()
        for account in range(8):
            self.send(self.token.mint(self.accounts[account], 10**12), account)
            self.send(self.token.approve(self.ledger.address, 2**255), account)

    # ------------------------------------------------------------------------------------ transactions

    def send(self, call: Call, account: int) -> Any:
        """Send from one of the chain's own accounts; the receipt, of a refused one too."""
        transaction: Any = {
            "from": to_checksum_address(self.accounts[account]),
            "data": call.data,
            "gas": 9_000_000 if call.to is None else 3_000_000,
        }
        if call.to is not None:
            transaction["to"] = to_checksum_address(call.to)
        sent = self.w3.eth.send_transaction(transaction)
        return self.w3.eth.wait_for_transaction_receipt(sent, timeout=30, poll_latency=0.001)

    def deploy(self, name: str, *arguments: object) -> str:
        receipt = self.send(creation(name, *arguments), PUBLISHER)
        assert receipt["status"] == 1
        return str(receipt["contractAddress"]).lower()

    def publish(self) -> None:
        call = self.policy_book.publish(PACK.lending_limits, PACK.contact_limits, b"\1" * 32, PACK.pack_hash)
        assert self.send(call, PUBLISHER)["status"] == 1

    @property
    def now(self) -> int:
        return int(self.w3.eth.get_block("latest")["timestamp"])

    @property
    def domain(self) -> SigningDomain:
        """Where signatures for the ledger hold."""
        return SigningDomain(self.w3.eth.chain_id, self.ledger.address)

    def key(self, account: int) -> Any:
        """The key of one of the chain's own accounts."""
        return networks.development_account(self.w3, account)

    def terms(self, borrower: int, number: int, lender: int = LENDER, **changes: object) -> Terms:
        """Terms that can be opened now."""
        today = calendar.local_day(self.now + 3_600, 0)
        first_due = calendar.add_periods(today, changes.get("frequency", Frequency.MONTHLY), 1)
        values: dict[str, Any] = {
            "lender": self.accounts[lender],
            "borrower": self.accounts[borrower],
            "principal": 120_000,
            "late_fee": 100,
            "rate": 112_200,
            "instalments": 3,
            "first_due": first_due,
            "grace_days": PACK.lending_limits.min_grace_days,
            "policy": 1,
            "expires": 2**40 - 1,
            "salt": number.to_bytes(32, "big"),
        }
        return Terms(**(values | changes))

    def open(self, borrower: int, number: int, lender: int = LENDER, **changes: object) -> bytes:
        """Open a loan; its id."""
        terms = self.terms(borrower, number, lender, **changes)
        signature = sign_offer(self.key(lender), terms, self.domain)
        assert self.send(self.ledger.open(terms, signature), borrower)["status"] == 1
        return loan_id(terms, self.domain)

    def rpc(self, method: str, *params: object) -> Any:
        answer = self.w3.provider.make_request(RPCEndpoint(method), list(params))
        assert "error" not in answer, answer
        return answer["result"]

    # ------------------------------------------------------------------------------------ indexing

    @property
    def source(self) -> Source:
        genesis = bytes(self.w3.eth.get_block(0)["hash"])
        identity = Identity(self.w3.eth.chain_id, genesis, self.ledger.address, self.first_block)
        wrappers = (self.policy_book, self.desk, self.ledger, self.consents, self.notices)
        return Source(identity, tuple(wrapper.address for wrapper in wrappers))

    def indexer(self, model: ReadModel, **options: Any) -> Indexer:
        return Indexer(self.w3, self.source, model, "latest", **options)


def dump(model: ReadModel) -> dict[str, list[tuple[Any, ...]]]:
    """The content of every table."""
    with reading(model.engine) as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in schema.READ_MODEL
        }


class Crowd:
    """Does something at random with the contracts, most of it sensible."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)
        for borrower in BORROWERS[:3]:
            for channel in (Channel.EMAIL, Channel.SMS):
                world.send(world.consents.register(channel, bytes([borrower]) * 32, 0, 4), borrower)
                world.send(world.consents.grant(channel), borrower)

    def act(self, model: ReadModel) -> None:
        """One transaction; the model tells which loans there are."""
        weights = {
            self.open: 2,
            self.pay: 3,
            self.settle: 1,
            self.prepay: 2,
            self.rescind: 1,
            self.amend: 2,
            self.defer: 2,
            self.credit: 1,
            self.waive: 1,
            self.assign: 1,
            self.default: 2,
            self.cancel: 1,
            self.flag: 1,
            self.appoint: 1,
            self.consent: 3,
            self.complain: 3,
            self.serve: 4,
            self.block: 1,
            self.policy: 1,
            self.wait: 2,
        }
        [action] = self.random.choices(list(weights), list(weights.values()))
        action(model)

    def number(self) -> int:
        return self.random.getrandbits(64)

    def loan(self, model: ReadModel) -> Any:
        loans = sorted(model.loans(), key=lambda loan: loan.id)
        return self.random.choice(loans) if loans else None

    def account(self, address: str) -> int:
        """Which of the chain's accounts an address is."""
        return self.world.accounts.index(address)

    def open(self, model: ReadModel) -> None:
        """A loan of some shape, opened by its borrower or on the borrower's signature."""
        world, dice = self.world, self.random
        lender, borrower = dice.choice((LENDER, LENDER, OTHER_LENDER)), dice.choice(BORROWERS)
        shape = dice.choice(tuple(Schedule))
        terms = world.terms(
            borrower,
            self.number(),
            lender,
            schedule=shape,
            frequency=dice.choice(tuple(Frequency)),
            origination_fee=dice.choice((0, 50)),
            # Its share of a week's interest is too small for one.
            late_fee=0 if shape is Schedule.INTEREST_ONLY else 100,
        )
        offer = sign_offer(world.key(lender), terms, world.domain)
        if dice.random() < 0.5:
            call = world.ledger.open(terms, offer)
        else:
            acceptance = sign_acceptance(world.key(borrower), terms, world.domain)
            call, borrower = world.ledger.open_by_signature(terms, offer, acceptance), SERVICER
        assert world.send(call, borrower)["status"] == 1

    def pay(self, model: ReadModel) -> None:
        """By anyone, with an allowance or a permit; or on the borrower's signature."""
        loan, world = self.loan(model), self.world
        if not loan:
            return
        amount = self.random.choice((1, loan.instalment, loan.instalment, loan.instalment + 7, loan.owed))
        borrower, payer = self.account(loan.terms.borrower), self.random.choice(BORROWERS)
        call, deadline = world.ledger.repay(loan.id, amount), world.now + 999
        match self.random.randrange(4):
            case 0:
                nonce = world.ledger.nonce_of(loan.terms.borrower)
                signature = sign_repayment(
                    world.key(borrower), world.domain, loan.id, amount, nonce, deadline
                )
                call, payer = (
                    world.ledger.repay_by_signature(loan.id, amount, deadline, signature),
                    SERVICER,
                )
            case 1:
                currency = SigningDomain(world.domain.chain_id, world.token.address, "Test Dollar")
                nonce = int(world.token.read("nonces", world.accounts[payer]))
                permit = sign_permit(
                    world.key(payer), currency, world.ledger.address, amount, nonce, deadline
                )
                call = world.ledger.repay_with_permit(loan.id, amount, deadline, permit)
            case 2:
                call = world.ledger.multicall([call, world.ledger.repay(loan.id, 1)])
        world.send(call, payer)

    def prepay(self, model: ReadModel) -> None:
        if loan := self.loan(model):
            amount = self.random.choice((loan.instalment, loan.owed // 3, loan.owed // 2, 2 * loan.owed))
            borrower = self.account(loan.terms.borrower)
            self.world.send(self.world.ledger.prepay(loan.id, amount), borrower)

    def rescind(self, model: ReadModel) -> None:
        if loan := self.loan(model):
            borrower = self.account(loan.terms.borrower)
            self.world.send(self.world.ledger.rescind(loan.terms), borrower)

    def amend(self, model: ReadModel) -> None:
        """To other terms that both parties sign: less principal or as much, and more or fewer instalments."""
        loan, world, dice = self.loan(model), self.world, self.random
        if not loan or loan.owed < 1_000:
            return
        frequency = dice.choice(tuple(Frequency))
        today = calendar.local_day(world.now + 3_600, 0)
        terms = Terms(
            lender=loan.lender,
            borrower=loan.terms.borrower,
            principal=loan.owed * dice.choice((7, 9)) // 10,
            rate=loan.terms.rate // dice.choice((1, 2)),
            instalments=dice.randrange(2, 6),
            first_due=calendar.add_periods(today, frequency, 2),
            schedule=dice.choice(tuple(Schedule)),
            frequency=frequency,
            grace_days=PACK.lending_limits.min_grace_days,
            policy=loan.terms.policy,
            expires=2**40 - 1,
            replaces=loan.id,
            salt=self.number().to_bytes(32, "big"),
        )
        keys = world.key(self.account(loan.lender)), world.key(self.account(loan.terms.borrower))
        signatures = [sign_amendment(key, terms, world.domain) for key in keys]
        world.send(world.ledger.amend(terms, *signatures), SERVICER)

    def defer(self, model: ReadModel) -> None:
        if loan := self.loan(model):
            self.by_lender(loan, self.world.ledger.defer(loan.id, self.random.choice((1, 1, 3))))

    def credit(self, model: ReadModel) -> None:
        """Money that the lender received elsewhere, or forgives."""
        if loan := self.loan(model):
            amount = self.random.choice((1, loan.instalment, loan.owed, 10**9))
            receipt = self.number().to_bytes(32, "big")
            ledger = self.world.ledger
            calls = ledger.acknowledge_receipt(loan.id, amount, receipt), ledger.forgive(loan.id, amount)
            self.by_lender(loan, self.random.choice(calls))

    def waive(self, model: ReadModel) -> None:
        loans = [loan for loan in self.owed(model) if loan.fees]
        if loans:
            loan = self.random.choice(loans)
            self.by_lender(loan, self.world.ledger.waive(loan.id, self.random.choice((1, 10**9))))

    def assign(self, model: ReadModel) -> None:
        loan, world = self.loan(model), self.world
        if not loan:
            return
        to = self.random.choice((LENDER, OTHER_LENDER))
        nonce, deadline = world.ledger.nonce_of(world.accounts[to]), world.now + 999
        signature = sign_assignment(world.key(to), world.domain, loan.id, loan.lender, nonce, deadline)
        self.by_lender(loan, world.ledger.assign(loan.id, world.accounts[to], deadline, signature))

    def default(self, model: ReadModel) -> None:
        for loan in sorted(self.owed(model), key=lambda loan: loan.terms.first_due)[:2]:
            self.by_lender(loan, self.world.ledger.mark_default(loan.id))

    def cancel(self, model: ReadModel) -> None:
        """An offer that nobody accepted yet."""
        terms = self.world.terms(self.random.choice(BORROWERS), self.number())
        self.world.send(self.world.ledger.cancel_offer(terms), LENDER)

    def by_lender(self, loan: Loan, call: Call) -> None:
        self.world.send(call, self.account(loan.lender))

    def owed(self, model: ReadModel) -> list[Loan]:
        """The loans on which something is owed, in an order that is the same each time."""
        return sorted((loan for loan in model.loans() if loan.owed), key=lambda loan: loan.id)

    def settle(self, model: ReadModel) -> None:
        if (loan := self.loan(model)) and self.random.random() < 0.5:
            self.world.send(self.world.ledger.settle(loan.id, 2**88), BORROWERS[0])

    def flag(self, model: ReadModel) -> None:
        if loan := self.loan(model):
            self.world.send(self.world.ledger.flag_missed(loan.id), SERVICER)

    def appoint(self, model: ReadModel) -> None:
        servicer = self.random.choice((self.world.accounts[SERVICER], ZERO_ADDRESS))
        lender = self.random.choice((LENDER, OTHER_LENDER))
        self.world.send(self.world.ledger.appoint_servicer(servicer), lender)

    def consent(self, model: ReadModel) -> None:
        consents, borrower = self.world.consents, self.random.choice(BORROWERS)
        channel = self.random.choice((Channel.EMAIL, Channel.EMAIL, Channel.SMS))
        match self.random.randrange(10):
            case 0:
                self.world.send(consents.cease(), borrower)
            case 1:
                self.world.send(consents.revoke(channel), borrower)
            case 2 if loan := self.loan(model):
                self.world.send(consents.revoke_on_word(loan.id, channel), LENDER)
            case 3 | 4 | 5:
                commitment = self.number().to_bytes(32, "big")
                offset = self.random.randrange(-4, 4)
                self.world.send(consents.register(channel, commitment, offset, offset + 4), borrower)
            case _:
                self.world.send(consents.grant(channel), borrower)

    def complain(self, model: ReadModel) -> None:
        """Say that something is wrong, or take it back: the borrower, or who has their word."""
        loans = self.owed(model)
        if not loans:
            return
        loan, grievance, desk = (
            self.random.choice(loans),
            self.random.choice(tuple(Grievance)),
            self.world.desk,
        )
        borrower = self.account(loan.terms.borrower)
        sender = self.random.choice((borrower, borrower, self.account(loan.lender), SERVICER))
        if desk.case_of(loan.id, grievance).stands:
            self.world.send(desk.withdraw(loan.id, grievance), borrower)
        else:
            self.world.send(desk.lodge(loan.id, grievance), sender)

    def serve(self, model: ReadModel) -> None:
        """A batch: mostly what the gate will let through, and some of the rest."""
        if not 9 <= self.world.now % 86_400 // 3_600 <= 16 and self.random.random() < 0.7:
            self.wait_for_morning(1)
        found = [self.notice(model) for _ in range(self.random.randrange(1, 4))]
        notices = [notice for notice in found if notice]
        if notices:
            loan = model.loan(notices[0].loan)
            assert loan
            lender = self.account(loan.lender)
            server = self.random.choice((lender, lender, lender, SERVICER))
            self.world.send(self.world.notices.serve_many(notices), server)

    def notice(self, model: ReadModel) -> Notice | None:
        loan = self.loan(model)
        candidate = model.candidate(loan.id) if loan else None
        if not candidate:
            return None
        position = self.world.ledger.position_of(loan.id)
        facts = Facts(
            position,
            candidate.limits,
            candidate.profile,
            candidate.said,
            seldom_said=candidate.seldom_said,
            cooling_off_days=candidate.cooling_off_days,
            dispute=candidate.dispute,
            hardship=candidate.hardship,
        )
        kinds = self.random.sample(tuple(Kind), len(Kind))
        channel = self.random.choice((Channel.EMAIL, Channel.EMAIL, Channel.EMAIL, Channel.SMS))
        content = self.number().to_bytes(32, "big")
        for kind in kinds:
            _, base = ground(kind, facts)
            notice = Notice(loan.id, kind, base.instalment, base.amount, channel, content)
            decision = self.world.notices.refusal(notice, loan.lender)
            if not decision.reason or self.random.random() < 0.1:
                return notice
        return notice

    def block(self, model: ReadModel) -> None:
        world, lender = self.world, self.random.choice((LENDER, OTHER_LENDER))
        match self.random.randrange(3):
            case 0:
                data = Web3.keccak(text="setBlocked(address,bool)")[:4] + bytes(12)
                data += bytes.fromhex(world.accounts[lender][2:])
                data += int(self.random.random() < 0.5).to_bytes(32, "big")
                world.send(Call("block", world.token.address, data), PUBLISHER)
            case _:
                world.send(world.ledger.claim(world.accounts[SERVICER]), lender)

    def policy(self, model: ReadModel) -> None:
        book = self.world.policy_book
        match self.random.randrange(4):
            case 0:
                self.world.publish()
            case 1:
                self.world.send(book.retire(2), PUBLISHER)
            case _:
                limits = PACK.contact_limits
                self.world.send(book.tighten(1, limits), PUBLISHER)

    def wait(self, model: ReadModel) -> None:
        """Some hours, or some days until ten in the morning."""
        days = self.random.choice((0, 1, 1, 3, 7, 20, 33))
        if days:
            self.wait_for_morning(days)
        else:
            self.wait_until(self.world.now + 3_600)

    def wait_for_morning(self, days: int) -> None:
        midnight = self.world.now // 86_400 * 86_400
        self.wait_until(midnight + days * 86_400 + 36_000)

    def wait_until(self, moment: int) -> None:
        self.world.rpc("evm_setNextBlockTimestamp", moment)
        self.world.rpc("evm_mine")


def assert_mirrors(model: ReadModel, world: World) -> None:
    """The read model says what the contracts say."""
    for loan in model.loans():
        on_chain = world.ledger.loan_of(loan.id, loan.terms)
        # Defaults that were cured are history.
        in_default = loan.status is Status.DEFAULTED
        told = loan if in_default else replace(loan, defaulted=0)
        # The ledger leaves grievances to the desk.
        assert replace(told, rest=NO_REST) == on_chain
        record = world.ledger.record_of(loan.id)
        assert (loan.status, loan.amends) == (record.status, record.amends)
        candidate = model.candidate(loan.id)
        assert candidate
        assert (model.said(loan.id), candidate.seldom_said) == world.notices.said_of(loan.id)
        assert candidate.dispute == world.desk.case_of(loan.id, Grievance.DISPUTE)
        assert candidate.hardship == world.desk.case_of(loan.id, Grievance.HARDSHIP)
        borrower = loan.terms.borrower
        assert rests_until(loan.rest, candidate.rest) == world.desk.rests_until(loan.id, borrower)
        assert loan.rest.fees_end == world.desk.fees_rest_until(loan.id)
        assert loan.id == loan_id(loan.terms, world.domain)
    for account in world.accounts:
        assert model.profile(account) == world.consents.profile_of(account)
        for channel in Channel:
            assert (model.commitment(account, channel) or bytes(32)) == world.consents.commitment_of(
                account, channel
            )
        assert model.reminders(account) == world.notices.reminders_of(account)
        assert model.servicer(account) == world.ledger.servicer_of(account)
        assert model.held(account) == world.ledger.claimable(account)
    count = world.policy_book.count()
    assert [policy.number for policy in model.policies()] == list(range(1, count + 1))
    for policy in model.policies():
        assert policy.lending == world.policy_book.lending_of(policy.number)
        assert policy.contact == world.policy_book.contact_of(policy.number)
        assert (policy.templates, policy.pack) == world.policy_book.hashes_of(policy.number)
        assert policy.retired == world.policy_book.state_of(policy.number)[1]
