// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {ILoanLedger, Instalment, Loan, Position, Schedule, Status, Terms} from "contracts/interfaces/ILoanLedger.sol";
import {IPolicyBook, LendingLimits} from "contracts/interfaces/IPolicyBook.sol";
import {Amortization} from "contracts/libraries/Amortization.sol";

import {Base} from "./Base.t.sol";

/// @title Changing a loan, each way it can go, and what can be seen of it.
contract LoanLedgerAmendingTest is Base {
    uint256 private constant DUE = START + 31 days + 16 hours - 1;
    uint256 private constant SECOND_DUE = DUE + 28 days;
    uint256 private constant THIRD_DUE = DUE + 59 days;
    uint256 private constant LAST_DUE = DUE + 334 days;
    /// The first day without cooling-off, 16 January in Beijing.
    uint256 private constant FREE = START + 15 days;
    uint256 private constant JANUARY_1 = 20_454;
    // Of the ordinary terms, worked out in fractions.
    uint80 private constant LEVEL = 106_618_547;
    uint80 private constant TOTAL = 1_279_422_557;
    uint256 private constant AFTER_ONE = 1_105_381_453;
    uint80 private constant LATE_FEE = 5e6;
    // Of the extension.
    uint88 private constant EXTENDED_LEVEL = 46_144_927;
    uint80 private constant EXTENDED_TOTAL = 1_107_478_230;

    bytes32 private id;

    function setUp() public override {
        super.setUp();
        id = open(ordinary());
    }

    function _repay(bytes32 loan, uint256 amount) private {
        vm.prank(stranger);
        ledger.repay(loan, amount);
    }

    // ------------------------------------------------------------------------------------------------- amending

    /// Two years at 10 %, of less than what is owed.
    function _extension() private view returns (Terms memory terms) {
        terms = ordinary();
        terms.principal = 1_000e6;
        terms.rate = 100_000;
        terms.instalments = 24;
        terms.lateFee = 1e6;
        terms.replaces = id;
    }

    function _amend(Terms memory terms) private returns (bytes32) {
        bytes32 digest = digestOf("Amendment", terms);
        return ledger.amend(terms, sign(terms.lender, digest), sign(terms.borrower, digest));
    }

    function _refuseAmendment(Terms memory terms, bytes memory refusal) private {
        bytes32 digest = digestOf("Amendment", terms);
        (bytes memory byLender, bytes memory byBorrower) = (
            keyOf[terms.lender] == 0 ? bytes("") : sign(terms.lender, digest),
            keyOf[terms.borrower] == 0 ? bytes("") : sign(terms.borrower, digest)
        );
        vm.expectRevert(refusal);
        ledger.amend(terms, byLender, byBorrower);
    }

    function test_terms_1_both_signatures_replace_a_loan_and_fees_stay_beside_it() public {
        vm.warp(DUE + 6 days);
        Terms memory terms = _extension();
        bytes32 amendment = ledger.idOf(terms);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.LoanAmended(
            id,
            amendment,
            terms,
            EXTENDED_LEVEL,
            EXTENDED_TOTAL,
            uint32(block.timestamp),
            0,
            0,
            LATE_FEE
        );
        assertEq(_amend(terms), amendment);
        Loan memory old = ledger.loanOf(id);
        assertTrue(old.status == Status.Replaced);
        assertEq(uint256(old.total) + old.fees, old.paid);
        Loan memory loan = ledger.loanOf(amendment);
        assertTrue(loan.amends);
        assertEq(loan.principal, 1_000e6);
        assertEq(loan.fees, LATE_FEE);
        assertEq(loan.paid, 0);
        assertEq(loan.openedAt, block.timestamp);
        assertEq(ledger.payoff(amendment), 1_000e6 + LATE_FEE);
    }

    function test_an_amendment_keeps_parties_and_policy_and_charges_no_origination_fee() public {
        vm.warp(FREE);
        for (uint256 i = 0; i < 4; ++i) {
            Terms memory terms = _extension();
            if (i == 0) terms.lender = stranger;
            if (i == 1) terms.borrower = stranger;
            if (i == 2) terms.policy += 1;
            if (i == 3) terms.originationFee = 1;
            _refuseAmendment(terms, abi.encodeWithSelector(ILoanLedger.NotTheSameLoan.selector, id));
        }
    }

    function test_usury_1_an_amendment_raises_no_rate() public {
        vm.warp(FREE);
        Terms memory terms = _extension();
        terms.rate = 120_001;
        _refuseAmendment(terms, abi.encodeWithSelector(ILoanLedger.RateRaised.selector, 120_001, 120_000));
    }

    function test_cool_1_nothing_is_amended_while_the_borrower_may_rescind() public {
        vm.warp(FREE - 9 hours);
        bytes memory refusal = abi.encodeWithSelector(
            ILoanLedger.CoolingOffRuns.selector,
            JANUARY_1 + 14,
            JANUARY_1 + 14
        );
        _refuseAmendment(_extension(), refusal);
        vm.expectRevert(refusal);
        vm.prank(borrower);
        ledger.prepay(id, 1e6);
        vm.expectRevert(refusal);
        vm.prank(lender);
        ledger.defer(id, 1);
    }

    function test_terms_1_one_signature_amends_nothing() public {
        vm.warp(FREE);
        Terms memory terms = _extension();
        bytes32 digest = digestOf("Amendment", terms);
        bytes memory byLender = sign(lender, digest);
        bytes memory byBorrower = sign(borrower, digest);
        bytes32 amendment = ledger.idOf(terms);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.InvalidAmendment.selector, amendment, lender));
        ledger.amend(terms, byBorrower, byBorrower);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.InvalidAmendment.selector, amendment, borrower));
        ledger.amend(terms, byLender, byLender);
    }

    function test_an_amendment_lends_nothing_anew_and_capitalises_no_fee() public {
        vm.warp(DUE + 6 days);
        Terms memory terms = _extension();
        uint256 most = ledger.payoff(id) - LATE_FEE;
        terms.principal = uint88(most + 1);
        _refuseAmendment(
            terms,
            abi.encodeWithSelector(ILoanLedger.PrincipalAbovePayoff.selector, most + 1, most)
        );
        terms.principal = uint88(most);
        assertTrue(ledger.loanOf(_amend(terms)).status == Status.Active);
    }

    // ------------------------------------------------------------------------------------------------- prepaying

    function _prepay(bytes32 loan, uint256 amount) private returns (uint256 taken, bytes32 amendment) {
        vm.prank(borrower);
        return ledger.prepay(loan, amount);
    }

    function test_prepaying_lowers_principal_and_instalment_and_keeps_the_due_days() public {
        _repay(id, LEVEL);
        vm.warp(DUE + 14 days);
        uint256 owed = TOTAL - LEVEL;
        (uint256 taken, bytes32 amendment) = _prepay(id, 200e6);
        assertEq(taken, 200e6);
        Loan memory loan = ledger.loanOf(amendment);
        // Half of February: 200 repays 200 / 1.005.
        assertApproxEqAbs(loan.principal, AFTER_ONE - 199_004_975, 2);
        assertEq(loan.instalments, 11);
        assertEq(loan.openedAt, DUE);
        assertLt(loan.instalment, LEVEL);
        assertEq(ledger.instalmentOf(amendment, 1).dueAt, SECOND_DUE);
        assertLt(uint256(loan.total) + loan.fees - loan.paid, owed - 200e6);
        assertTrue(ledger.loanOf(id).status == Status.Replaced);
    }

    function test_only_the_borrower_prepays() public {
        vm.warp(FREE);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.NotBorrower.selector, lender, borrower));
        vm.prank(lender);
        ledger.prepay(id, 1e6);
    }

    function test_a_prepayment_pays_arrears_and_fees_first() public {
        vm.warp(DUE + 6 days);
        uint256 arrears = LEVEL + LATE_FEE;
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.PrepaymentTooSmall.selector, arrears, arrears));
        vm.prank(borrower);
        ledger.prepay(id, arrears);
        (, bytes32 amendment) = _prepay(id, arrears + 100e6);
        Loan memory old = ledger.loanOf(id);
        assertEq(old.paid, arrears + 100e6);
        assertEq(old.fees, LATE_FEE);
        assertEq(ledger.loanOf(amendment).fees, 0);
    }

    function test_what_would_pay_the_whole_loan_settles_it() public {
        vm.warp(FREE);
        uint256 payoff = ledger.payoff(id);
        (uint256 taken, bytes32 amendment) = _prepay(id, payoff + 1);
        assertEq(taken, payoff);
        assertEq(amendment, 0);
        assertTrue(ledger.loanOf(id).status == Status.Repaid);
    }

    function test_a_bullet_goes_on_from_its_beginning() public {
        Terms memory terms = ordinary();
        terms.schedule = Schedule.Bullet;
        terms.salt = "bullet";
        bytes32 bullet = open(terms);
        vm.warp(SECOND_DUE + 1);
        (, bytes32 amendment) = _prepay(bullet, 400e6);
        Loan memory loan = ledger.loanOf(amendment);
        assertEq(loan.instalments, 12);
        assertEq(loan.openedAt, START);
        // Two months of twelve at 1 % each: 400 repays 400 / 1.02.
        assertApproxEqAbs(loan.principal, 1_200e6 - 392_156_862, 200);
        vm.prank(lender);
        Loan memory later = ledger.loanOf(ledger.defer(amendment, 1));
        assertEq(later.principal, loan.principal);
        assertEq(later.instalments, 12);
    }

    function test_ledger_1_rounding_makes_no_prepaid_loan_dearer() public {
        _repay(id, LEVEL);
        vm.warp(DUE + 1);
        uint256 owed = TOTAL - LEVEL;
        (, bytes32 amendment) = _prepay(id, 1);
        Loan memory loan = ledger.loanOf(amendment);
        assertLe(uint256(loan.total) - loan.paid, owed - 1);
    }

    // ------------------------------------------------------------------------------------------------- deferring

    function _defer(bytes32 loan, uint8 intervals) private returns (bytes32) {
        vm.prank(lender);
        return ledger.defer(loan, intervals);
    }

    function test_fees_1_deferring_moves_unpaid_instalments_and_charges_none_twice() public {
        _repay(id, LEVEL + 1e6);
        vm.warp(SECOND_DUE + 6 days);
        Loan memory loan = ledger.loanOf(_defer(id, 2));
        assertEq(loan.instalments, 11);
        assertEq(loan.principal, AFTER_ONE);
        assertEq(loan.fees, LATE_FEE);
        assertEq(loan.assessed, 1);
        assertGe(loan.paid, 1e6);
        assertLe(uint256(loan.total) - loan.paid, TOTAL - LEVEL - 1e6);
        assertEq(loan.firstDue, JANUARY_1 + 31 + 89);
    }

    function test_only_the_lender_defers() public {
        vm.warp(FREE);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.NotLender.selector, borrower, lender));
        vm.prank(borrower);
        ledger.defer(id, 1);
    }

    function test_there_is_something_to_defer() public {
        vm.warp(FREE);
        bytes memory refusal = abi.encodeWithSelector(ILoanLedger.NothingToDefer.selector, id);
        vm.startPrank(lender);
        vm.expectRevert(refusal);
        ledger.defer(id, 0);
        // All instalments are paid, and a late fee is left.
        vm.warp(LAST_DUE + 6 days);
        ledger.flagMissed(id);
        ledger.acknowledgeReceipt(id, TOTAL, "statement");
        vm.expectRevert(refusal);
        ledger.defer(id, 1);
    }

    function test_what_was_paid_ahead_stays_paid() public {
        _repay(id, 3 * LEVEL);
        vm.warp(DUE + 1);
        Loan memory loan = ledger.loanOf(_defer(id, 1));
        assertEq(loan.instalments, 11);
        assertGe(loan.paid, 2 * LEVEL);
        assertEq(ledger.loanOf(id).paid, LEVEL);
    }

    function test_a_loan_paid_to_its_last_unit_is_repaid_by_rounding() public {
        Terms memory terms = ordinary();
        (terms.rate, terms.instalments, terms.lateFee, terms.salt) = (200_000, 24, 1e6, "rounding");
        bytes32 loan = open(terms);
        _repay(loan, ledger.loanOf(loan).total - 1);
        vm.warp(DUE + 1);
        Loan memory deferred = ledger.loanOf(_defer(loan, 1));
        assertEq(deferred.paid, deferred.total);
        assertTrue(deferred.status == Status.Repaid);
    }

    function test_nothing_is_deferred_by_more_than_a_year() public {
        vm.warp(FREE);
        uint256 newYear = JANUARY_1 + 365;
        vm.expectRevert(
            abi.encodeWithSelector(IPolicyBook.FirstDueTooLate.selector, newYear + 31, JANUARY_1 + 15 + 366)
        );
        vm.prank(lender);
        ledger.defer(id, 12);
        assertEq(ledger.loanOf(_defer(id, 11)).firstDue, newYear);
    }

    // ------------------------------------------------------------------------------------------------- rescinding

    function _rescind(Terms memory terms) private returns (uint256) {
        vm.prank(terms.borrower);
        return ledger.rescind(terms);
    }

    function test_cool_1_rescinding_costs_what_was_received_less_what_was_paid_and_interest() public {
        Terms memory terms = ordinary();
        terms.originationFee = 12e6;
        terms.salt = "fee";
        bytes32 loan = open(terms);
        _repay(loan, 100e6);
        vm.warp(START + 10 days);
        // 1,188 at 12 % for ten days.
        uint80 back = 1_188e6 + 3_905_753;
        vm.expectEmit(address(ledger));
        emit ILoanLedger.LoanRescinded(loan, back - 100e6, back);
        assertEq(_rescind(terms), back - 100e6);
        assertTrue(ledger.loanOf(loan).status == Status.Rescinded);
        assertEq(ledger.payoff(loan), 0);
    }

    function test_cool_1_whoever_paid_more_gives_nothing_back() public {
        _repay(id, 1_250e6);
        assertEq(_rescind(ordinary()), 0);
    }

    function test_cool_1_rescinding_never_costs_more_than_settling() public {
        Terms memory terms = ordinary();
        terms.firstDue += 300;
        terms.salt = "long first period";
        bytes32 loan = open(terms);
        vm.warp(START + 14 days);
        uint256 payoff = ledger.payoff(loan);
        assertLt(payoff, 1_200e6 + 5_523_287);
        assertEq(_rescind(terms), payoff);
    }

    function test_cool_1_the_borrower_in_time_an_original_loan() public {
        Terms memory terms = ordinary();
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.NotBorrower.selector, lender, borrower));
        vm.prank(lender);
        ledger.rescind(terms);

        vm.warp(FREE);
        vm.expectRevert(
            abi.encodeWithSelector(ILoanLedger.CoolingOffOver.selector, JANUARY_1 + 14, JANUARY_1 + 15)
        );
        vm.prank(borrower);
        ledger.rescind(terms);

        Terms memory extension = _extension();
        _amend(extension);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.CoolingOffOver.selector, 0, JANUARY_1 + 15));
        vm.prank(borrower);
        ledger.rescind(extension);
    }

    function test_cool_1_a_policy_may_give_no_time() public {
        LendingLimits memory limits = ordinaryLimits();
        limits.coolingOffDays = 0;
        Terms memory terms = ordinary();
        terms.policy = publish(limits);
        open(terms);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.CoolingOffOver.selector, 0, JANUARY_1));
        vm.prank(borrower);
        ledger.rescind(terms);
    }

    // ------------------------------------------------------------------------------------------------- the lender's side

    function test_receipts_and_forgiveness_count_like_payments() public {
        vm.startPrank(lender);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.ReceiptAcknowledged(id, lender, 50e6, "statement", 50e6);
        assertEq(ledger.acknowledgeReceipt(id, 50e6, "statement"), 50e6);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.DebtForgiven(id, lender, TOTAL - 50e6, TOTAL);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.LoanRepaid(id, TOTAL);
        assertEq(ledger.forgive(id, type(uint256).max), TOTAL - 50e6);
        vm.stopPrank();
        assertEq(dollar.balanceOf(lender), PLENTY - 1_200e6);
    }

    function test_crediting_nothing_is_refused() public {
        vm.startPrank(lender);
        vm.expectRevert(ILoanLedger.ZeroAmount.selector);
        ledger.acknowledgeReceipt(id, 0, "statement");
        vm.expectRevert(ILoanLedger.ZeroAmount.selector);
        ledger.forgive(id, 0);
    }

    function test_unpaid_late_fees_are_waived_in_part_or_whole() public {
        vm.warp(DUE + 6 days);
        vm.startPrank(lender);
        assertEq(ledger.waive(id, 2e6), 2e6);
        assertEq(ledger.loanOf(id).fees, LATE_FEE - 2e6);
        assertEq(ledger.waive(id, type(uint256).max), LATE_FEE - 2e6);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.NothingToWaive.selector, id));
        ledger.waive(id, 1);
    }

    function test_a_loan_is_repaid_when_the_fees_that_are_left_are_waived() public {
        vm.warp(LAST_DUE + 6 days);
        _repay(id, TOTAL);
        vm.startPrank(lender);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.NothingToWaive.selector, id));
        ledger.waive(id, 0);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.FeesWaived(id, lender, 12 * LATE_FEE, 0);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.LoanRepaid(id, TOTAL);
        assertEq(ledger.waive(id, 12 * LATE_FEE), 12 * LATE_FEE);
        assertTrue(ledger.loanOf(id).status == Status.Repaid);
    }

    function _sign(address to, uint256 nonce, uint256 deadline) private view returns (bytes memory) {
        bytes32 kind = keccak256(
            "Assignment(bytes32 id,address from,address to,uint256 nonce,uint256 deadline)"
        );
        return sign(to, digestOf(keccak256(abi.encode(kind, id, lender, to, nonce, deadline))));
    }

    function test_the_claim_goes_to_who_signs_for_it() public {
        address assignee = makeSigner("assignee");
        bytes memory signature = _sign(assignee, 0, START + 1);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.LoanAssigned(id, lender, assignee);
        vm.prank(lender);
        ledger.assign(id, assignee, START + 1, signature);
        _repay(id, 10e6);
        assertEq(dollar.balanceOf(assignee), 10e6);
    }

    function test_no_claim_goes_to_who_did_not_sign_for_it_in_time() public {
        address assignee = makeSigner("assignee");
        bytes memory signature = _sign(assignee, 0, START);
        bytes memory other = _sign(lender, 0, START);
        vm.startPrank(lender);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.InvalidSignature.selector, assignee, 0));
        ledger.assign(id, assignee, START, other);
        vm.warp(START + 1);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.SignatureExpired.selector, START, START + 1));
        ledger.assign(id, assignee, START, signature);
        assertEq(ledger.loanOf(id).lender, lender);
        assertEq(ledger.nonces(assignee), 0);
    }

    function test_the_claim_goes_to_nobody_and_not_to_the_borrower() public {
        address[2] memory wrong = [address(0), borrower];
        for (uint256 i = 0; i < wrong.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ILoanLedger.InvalidParties.selector, wrong[i], borrower));
            vm.prank(lender);
            ledger.assign(id, wrong[i], START + 1, "");
        }
    }

    function test_a_default_is_marked_in_time_by_lender_or_servicer_and_cured_by_paying() public {
        vm.prank(lender);
        ledger.appointServicer(servicer);
        vm.expectRevert(
            abi.encodeWithSelector(ILoanLedger.NotServicer.selector, stranger, lender, servicer)
        );
        vm.prank(stranger);
        ledger.markDefault(id);

        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.NotInDefault.selector, 0, JANUARY_1));
        vm.prank(lender);
        ledger.markDefault(id);

        vm.warp(DUE + 89 days);
        vm.expectRevert(
            abi.encodeWithSelector(ILoanLedger.NotInDefault.selector, JANUARY_1 + 121, JANUARY_1 + 120)
        );
        vm.prank(servicer);
        ledger.markDefault(id);

        vm.warp(DUE + 90 days);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.LoanDefaulted(id, 1, 4 * uint256(LEVEL));
        vm.prank(servicer);
        ledger.markDefault(id);
        assertTrue(ledger.loanOf(id).status == Status.Defaulted);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.LoanNotActive.selector, id, Status.Defaulted));
        vm.prank(lender);
        ledger.markDefault(id);

        _repay(id, LEVEL);
        assertTrue(ledger.loanOf(id).status == Status.Active);

        vm.warp(SECOND_DUE + 90 days);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.LoanDefaulted(id, 2, 3 * uint256(LEVEL));
        vm.prank(servicer);
        ledger.markDefault(id);
        assertTrue(ledger.loanOf(id).status == Status.Defaulted);
    }

    // ------------------------------------------------------------------------------------------------- looking

    function test_a_row_is_one_of_the_schedule() public {
        for (uint256 k = 0; k <= 13; k += 13) {
            vm.expectRevert(abi.encodeWithSelector(ILoanLedger.NoSuchInstalment.selector, k, 12));
            ledger.instalmentOf(id, k);
        }
        vm.prank(stranger);
        ledger.settle(id, type(uint256).max);
        // Whatever became of the loan.
        Instalment memory row = ledger.instalmentOf(id, 1);
        assertEq(row.amount, LEVEL);
        assertEq(row.interest, 12e6);
        assertEq(row.balance, AFTER_ONE);
        assertEq(ledger.instalmentOf(id, 12).balance, 0);
    }

    function test_every_shape_has_rows_of_its_own() public {
        bytes32 equal = _openShaped(Schedule.EqualPrincipal);
        _assertRow(equal, 1, DUE, 100e6, 12e6, 1_100e6);
        _assertRow(equal, 12, LAST_DUE, 100e6, 1e6, 0);
        bytes32 interestOnly = _openShaped(Schedule.InterestOnly);
        _assertRow(interestOnly, 1, DUE, 0, 12e6, 1_200e6);
        _assertRow(interestOnly, 12, LAST_DUE, 1_200e6, 12e6, 0);
        bytes32 bullet = _openShaped(Schedule.Bullet);
        _assertRow(bullet, 1, DUE, 0, 0, 1_200e6);
        _assertRow(bullet, 12, LAST_DUE, 1_200e6, 144e6, 0);
    }

    function _openShaped(Schedule schedule) private returns (bytes32) {
        Terms memory terms = ordinary();
        terms.schedule = schedule;
        terms.lateFee = 600_000;
        return open(terms);
    }

    function _assertRow(
        bytes32 loan,
        uint256 k,
        uint256 dueAt,
        uint256 principal,
        uint256 interest,
        uint256 balance
    ) private view {
        Instalment memory row = ledger.instalmentOf(loan, k);
        assertEq(row.dueAt, dueAt);
        assertEq(row.amount, principal + interest);
        assertEq(row.principal, principal);
        assertEq(row.interest, interest);
        assertEq(row.balance, balance);
    }

    function test_an_offer_that_was_cancelled_is_no_loan() public {
        Terms memory terms = ordinary();
        terms.salt = "cancelled";
        bytes32 cancelled = ledger.idOf(terms);
        vm.prank(lender);
        ledger.cancelOffer(terms);
        assertTrue(ledger.positionOf(cancelled).status == Status.None);
        bytes memory refusal = abi.encodeWithSelector(ILoanLedger.UnknownLoan.selector, cancelled);
        vm.expectRevert(refusal);
        ledger.loanOf(cancelled);
        vm.expectRevert(refusal);
        ledger.instalmentOf(cancelled, 1);
        vm.expectRevert(refusal);
        ledger.payoff(cancelled);
        vm.expectRevert(refusal);
        ledger.delinquency(cancelled);
    }

    function test_the_ledger_tells_what_a_lender_signs() public view {
        assertEq(ledger.offerHash(ordinary()), digestOf("Offer", ordinary()));
    }

    function test_a_position_tells_what_comes_next() public {
        Position memory position = ledger.positionOf(id);
        assertEq(position.next, 1);
        assertEq(position.nextAmount, LEVEL);
        assertEq(position.nextDueDay, JANUARY_1 + 31);
        _repay(id, LEVEL);
        position = ledger.positionOf(id);
        assertEq(position.nextAmount, 0);
        assertEq(position.firstUnpaid, 2);

        // Past the last due day nothing comes, though money is owed.
        vm.warp(LAST_DUE + 1);
        position = ledger.positionOf(id);
        assertEq(position.next, 0);
        assertEq(position.overdue, TOTAL - LEVEL);
    }

    function test_a_position_of_a_closed_loan_or_none_has_nothing_to_come() public {
        vm.prank(stranger);
        ledger.settle(id, type(uint256).max);
        Position memory position = ledger.positionOf(id);
        assertTrue(position.status == Status.Repaid);
        assertEq(position.next + position.firstUnpaid, 0);
        assertTrue(ledger.positionOf("none").status == Status.None);
    }

    function test_a_bullets_next_instalment_is_its_last() public {
        Terms memory terms = ordinary();
        terms.schedule = Schedule.Bullet;
        terms.salt = "bullet";
        bytes32 bullet = open(terms);
        Position memory position = ledger.positionOf(bullet);
        assertEq(position.next, 12);
        assertEq(position.firstUnpaid, 12);
        assertEq(position.nextAmount, 1_344e6);
        assertEq(ledger.instalmentOf(bullet, 11).amount, 0);
    }

    // ------------------------------------------------------------------------------------------------- shapes that are rare

    function test_usury_1_equal_principal_above_the_cap_is_worth_more_than_is_received() public {
        Terms memory terms = ordinary();
        (terms.schedule, terms.salt) = (Schedule.EqualPrincipal, "dear");
        for (uint24 rate = 240_000; rate <= 250_000; rate += 10_000) {
            terms.rate = rate;
            bytes memory offer = sign(lender, digestOf("Offer", terms));
            vm.expectPartialRevert(IPolicyBook.AprAboveCap.selector);
            vm.prank(borrower);
            ledger.open(terms, offer);
        }
        terms.rate = 239_990;
        assertTrue(ledger.loanOf(open(terms)).status == Status.Active);
    }

    function test_a_single_instalment_pays_all_in_every_shape() public {
        for (uint256 shape = 0; shape < 4; ++shape) {
            Terms memory terms = ordinary();
            (terms.instalments, terms.schedule, terms.salt) = (1, Schedule(shape), bytes32(shape));
            bytes32 loan = open(terms);
            assertEq(ledger.instalmentOf(loan, 1).amount, 1_212e6);
            _repay(loan, 1_211e6);
            assertEq(ledger.positionOf(loan).firstUnpaid, 1);
            _repay(loan, 1e6);
            assertTrue(ledger.loanOf(loan).status == Status.Repaid);
        }
    }

    function test_equal_principal_is_paid_row_by_row() public {
        bytes32 loan = _openShaped(Schedule.EqualPrincipal);
        _repay(loan, 112e6 + 111e6 - 1);
        assertEq(ledger.positionOf(loan).firstUnpaid, 2);
        _repay(loan, 1);
        assertEq(ledger.positionOf(loan).firstUnpaid, 3);
    }

    function test_usury_1_where_no_interest_is_allowed_none_is_taken() public {
        LendingLimits memory limits = ordinaryLimits();
        limits.aprCap = 0;
        Terms memory terms = ordinary();
        terms.policy = publish(limits);
        _refuseOffer(terms, abi.encodeWithSelector(IPolicyBook.AprAboveCap.selector, TOTAL, 1_200e6, 0));
        terms.rate = 0;
        assertEq(ledger.loanOf(open(terms)).total, 1_200e6);
    }

    function test_ledger_1_no_instalment_is_left_empty_by_rounding() public {
        Terms memory terms = ordinary();
        (terms.principal, terms.rate) = (3, 0);
        for (uint256 shape = 0; shape < 3; ++shape) {
            terms.schedule = Schedule(shape);
            _refuseOffer(terms, abi.encodeWithSelector(Amortization.InstalmentTooCoarse.selector, 3, 0, 12));
        }
    }

    function _refuseOffer(Terms memory terms, bytes memory refusal) private {
        bytes memory offer = sign(lender, digestOf("Offer", terms));
        vm.expectRevert(refusal);
        vm.prank(borrower);
        ledger.open(terms, offer);
    }
}
