"""What holds of the ledger whatever anybody does, in whatever order. Told in words in ../README.md."""

import brownie
import pytest
from brownie.test import strategy
from hypothesis import strategies as st
from support.clock import DAY
from support.offers import Lending, Status
from support.oracle import EagerLoan, ExactSchedule

# What opening fixes, for ever.
FIXED = (
    "borrower", "lender", "openedAt", "policy", "firstDue", "instalments", "rate", "schedule", "frequency",
    "calendarOffset", "graceDays", "principal", "instalment", "lateFee",
)  # fmt: skip
EACH_ACTOR = 10**12


class Ledger:
    """Anybody opens, pays, settles, flags, claims, blocks and lets time pass. Beside the ledger runs a model
    that keeps every token and every instalment by itself.
    """

    st_any = st.integers(min_value=0, max_value=10**6)
    st_principal = st.integers(min_value=1_000, max_value=10**9)
    st_rate = st.sampled_from([0, 1, 120_000, 239_999])
    st_instalments = st.integers(min_value=1, max_value=6)
    st_fee = st.integers(min_value=0, max_value=500)
    st_grace = st.sampled_from([0, 3, 35])
    st_offset = st.sampled_from([-48, 0, 23, 56])
    st_share = st.sampled_from([0, 1, 50, 99, 100, 101, 200, 1_000])
    st_second = st.sampled_from([-1, 0, 1])
    st_days = st.integers(min_value=1, max_value=70)
    st_flag = strategy("bool")

    def __init__(cls, terms, sign, **surroundings):
        # Called once, on the class; Hypothesis makes its own instances.
        cls.terms, cls.sign = staticmethod(terms), staticmethod(sign)
        for name, value in surroundings.items():
            setattr(cls, name, value)

    def setup(self):
        self.loans = {}
        self.balances = {str(actor): EACH_ACTOR for actor in {*self.lenders, *self.borrowers, *self.payers}}
        self.held = {str(lender): 0 for lender in self.lenders}
        self.blocked = set()
        self.limits = self.policy_book.contactOf(self.policy)

    # --- what may happen ------------------------------------------------------------------------

    def initialize_with_a_loan(self, st_principal, st_rate, st_fee):
        self.rule_open(0, st_principal, st_rate, 4, st_fee, 3, 0)

    def rule_open(self, st_any, st_principal, st_rate, st_instalments, st_fee, st_grace, st_offset):
        lender = self.lenders[st_any % 2]
        borrower = self.borrowers[st_any // 2 % 2]
        exact = ExactSchedule(st_principal, st_rate, st_instalments)
        offered = self.terms(
            lender=lender, borrower=borrower, principal=st_principal, rate=st_rate,
            instalments=st_instalments, late_fee=exact.instalment * st_fee // 10_000,
            grace_days=st_grace, calendar_offset=st_offset, policy=self.policy,
        )  # fmt: skip
        opened = self.ledger.open(offered, self.sign(offered, lender), {"from": borrower})
        loan = bytes(opened.return_value)
        self.balances[str(lender)] -= st_principal
        self.balances[str(borrower)] += st_principal

        record = self.ledger.loanOf(loan).dict()
        rows = [self.ledger.instalmentOf(loan, k) for k in range(1, st_instalments + 1)]
        assert sum(row["principal"] for row in rows) == st_principal
        assert sum(row["amount"] for row in rows) == record["total"]
        eager = EagerLoan(
            [(int(row["dueAt"]), int(row["amount"])) for row in rows], st_grace, int(record["lateFee"])
        )
        self.loans[loan] = {"fixed": record, "eager": eager, "exact": exact, "closed": None}

    def rule_repay(self, st_any, st_share):
        """Any share of an instalment, by anyone."""
        if not (found := self._pick(st_any)):
            return
        loan, model = found
        amount = max(1, int(model["fixed"]["instalment"]) * st_share // 100)
        self._pay(loan, model, self._payer(st_any), amount)

    def rule_repay_what_is_due(self, st_any):
        if not (found := self._pick(st_any)):
            return
        loan, model = found
        if amount := sum(model["eager"].arrears(self.clock.now())):
            self._pay(loan, model, self._payer(st_any), amount)

    def rule_settle(self, st_any):
        if not (found := self._pick(st_any)):
            return
        loan, model = found
        payer = self._payer(st_any)
        before = model["eager"]
        settled = self.ledger.settle(loan, 2**256 - 1, {"from": payer})
        taken, now = int(settled.return_value), settled.timestamp
        assert abs(taken - self._payoff(model, now)) < 3
        assert 0 <= taken <= before.owed(now)
        self._moved(model, payer, taken)
        model["eager"].pay(now, taken)
        self._close(loan, model, now)

    def rule_flag(self, st_any):
        if not (found := self._pick(st_any)):
            return
        loan, model = found
        now = self.clock.to(self.clock.now())
        record = self.ledger.loanOf(loan)
        missed = model["eager"].missed(now)
        if missed and max(missed) > record["assessed"]:
            flagged = self.ledger.flagMissed(loan, {"from": self._payer(st_any)})
            assert flagged.events["InstalmentMissed"]["fees"] == model["eager"].fees(now)
        else:
            with brownie.reverts():
                self.ledger.flagMissed.call(loan, {"from": self._payer(st_any)})

    def rule_block(self, st_any, st_flag):
        lender = self.lenders[st_any % 2]
        self.dollar.setBlocked(lender, st_flag, {"from": self.publisher})
        (self.blocked.add if st_flag else self.blocked.discard)(str(lender))

    def rule_claim(self, st_any):
        lender, to = self.lenders[st_any % 2], self.payers[0]
        if held := self.held[str(lender)]:
            self.ledger.claim(to, {"from": lender})
            self.balances[str(to)] += held
            self.held[str(lender)] = 0

    def rule_tighten(self):
        limits = list(self.limits)
        if limits[6] < 20 * DAY:
            limits[6] += DAY
            self.policy_book.tighten(self.policy, limits, {"from": self.publisher})
            self.limits = limits

    def rule_time_passes(self, st_days):
        self.clock.forward(st_days * DAY)

    def rule_a_boundary_comes(self, st_any, st_second, st_flag):
        """A second around the end of a due day or of a grace period."""
        if not (found := self._pick(st_any)):
            return
        _, model = found
        grace = model["eager"].grace_days * DAY if st_flag else 0
        now = self.clock.now()
        coming = [due_at + grace + st_second for due_at, _ in model["eager"].rows]
        later = [moment for moment in coming if moment > now]
        if later:
            self.clock.to(later[0])

    # --- what always holds ----------------------------------------------------------------------

    def invariant_ledger_1_and_fees_1(self):
        """The two curves are those of a loan that is kept instalment by instalment."""
        now = self.clock.now()
        for loan, model in self.loans.items():
            record = self.ledger.loanOf(loan)
            overdue, fees, first_unpaid, _ = self.ledger.delinquency(loan)
            if model["closed"]:
                # Closed for ever, at exactly zero.
                assert record.dict() == model["closed"]
                assert (overdue, fees, first_unpaid, self.ledger.payoff(loan)) == (0, 0, 0, 0)
                continue
            eager = model["eager"]
            assert record["status"] == Status.ACTIVE
            assert record["total"] == eager.total()
            assert record["paid"] == eager.paid(now)
            assert (overdue, fees) == eager.arrears(now)
            # What was recorded so far is part of what is owed by now, and each instalment is charged once.
            assert record["fees"] <= eager.fees(now) <= len(eager.rows) * eager.late_fee
            assert eager.owed(now) > 0
            payoff = int(self.ledger.payoff(loan))
            assert abs(payoff - self._payoff(model, now)) < 3
            assert payoff <= eager.owed(now)

    def invariant_ledger_2(self):
        """Every token is where the model says."""
        for actor, balance in self.balances.items():
            assert self.dollar.balanceOf(actor) == balance
        for lender, held in self.held.items():
            assert self.ledger.claimable(lender) == held
        assert self.dollar.balanceOf(self.ledger) == sum(self.held.values())

    def invariant_terms_1(self):
        """No term of any loan, and no lending limit, is ever another than at the beginning."""
        for loan, model in self.loans.items():
            record = self.ledger.loanOf(loan)
            assert all(record[name] == model["fixed"][name] for name in FIXED)
        assert self.policy_book.lendingOf(self.policy) == Lending(min_grace_days=0)
        assert self.policy_book.contactOf(self.policy) == tuple(self.limits)

    # --- helpers --------------------------------------------------------------------------------

    def _pick(self, number):
        active = [item for item in self.loans.items() if not item[1]["closed"]]
        return active[number % len(active)] if active else None

    def _payer(self, number):
        return self.payers[number % len(self.payers)]

    def _pay(self, loan, model, payer, amount):
        """LEDGER-3: it is taken, up to what is owed, whatever the moment and whatever the lender does."""
        paid = self.ledger.repay(loan, amount, {"from": payer})
        now, taken = paid.timestamp, int(paid.return_value)
        assert taken == min(amount, model["eager"].owed(now))
        self._moved(model, payer, taken)
        model["eager"].pay(now, taken)
        if model["eager"].owed(now) == 0:
            self._close(loan, model, now)

    def _moved(self, model, payer, taken):
        lender = str(model["fixed"]["lender"])
        self.balances[str(payer)] -= taken
        if lender in self.blocked:
            self.held[lender] += taken
        else:
            self.balances[lender] += taken

    def _close(self, loan, model, now):
        model["closed"] = self.ledger.loanOf(loan).dict()
        assert model["closed"]["status"] == Status.REPAID
        assert model["closed"]["paid"] == model["eager"].paid(now)
        assert model["closed"]["fees"] == model["eager"].fees(now)

    def _payoff(self, model, now):
        """Arrears, fees, and the balance with its interest to the second, in exact fractions."""
        eager, exact = model["eager"], model["exact"]
        passed = [due_at for due_at, _ in eager.rows if due_at < now]
        k, owed = len(passed), eager.owed(now)
        if k == len(eager.rows):
            return owed
        start = passed[-1] if passed else int(model["fixed"]["openedAt"])
        debt = sum(amount for _, amount in eager.rows[:k]) + exact.balances[k]
        debt += exact.accrued(k, now - start, eager.rows[k][0] - start)
        return max(0, min(owed, debt + eager.fees(now) - eager.paid(now)))


@pytest.fixture(scope="module")
def dollar(publisher):
    return brownie.BlockingDollar.deploy(6, {"from": publisher})


def test_whatever_anybody_does(
    state_machine, dollar, policy_book, ledger, publish, terms, sign, clock,
    publisher, lender, borrower, servicer, keeper, stranger,
):  # fmt: skip
    actors = (lender, borrower, servicer, keeper, stranger)
    for actor in actors:
        dollar.transfer(publisher, dollar.balanceOf(actor), {"from": actor})
        dollar.mint(actor, EACH_ACTOR, {"from": publisher})
        dollar.approve(ledger, 2**256 - 1, {"from": actor})
    state_machine(
        Ledger,
        terms,
        sign,
        ledger=ledger,
        dollar=dollar,
        policy_book=policy_book,
        policy=publish(Lending(min_grace_days=0)),
        lenders=(lender, stranger),
        borrowers=(borrower, keeper),
        payers=(servicer, borrower, lender, keeper),
        clock=clock,
        publisher=publisher,
        settings={"max_examples": 16, "stateful_step_count": 12},
    )
