// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {LoanLedger} from "contracts/LoanLedger.sol";
import {ILoanLedger, Loan, Position, Schedule, Status, Terms} from "contracts/interfaces/ILoanLedger.sol";
import {BlockingDollar} from "contracts/mocks/BlockingDollar.sol";
import {HostileDollar} from "contracts/mocks/HostileDollar.sol";

import {Base} from "./Base.t.sol";

/// @title Opening a loan and paying it, each way it can go.
contract LoanLedgerPayingTest is Base {
    /// The last second of 1 February in Beijing; the next due days come 28 and 59 days later, the last 334.
    uint256 private constant DUE = START + 31 days + 16 hours - 1;
    uint256 private constant SECOND_DUE = DUE + 28 days;
    uint256 private constant THIRD_DUE = DUE + 59 days;
    uint256 private constant LAST_DUE = DUE + 334 days;
    uint256 private constant GRACE = 5 days;
    // Of the ordinary terms, by the formulas in {Amortization}, worked out in fractions.
    uint80 private constant LEVEL = 106_618_547;
    uint80 private constant TOTAL = 1_279_422_557;
    uint80 private constant LATE_FEE = 5e6;

    // ------------------------------------------------------------------------------------------------- opening

    function test_terms_1_opening_records_the_terms_and_moves_what_is_lent() public {
        Terms memory terms = ordinary();
        terms.originationFee = 12e6;
        bytes32 id = ledger.idOf(terms);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.LoanOpened(id, terms, LEVEL, TOTAL);
        assertEq(open(terms), id);

        assertEq(dollar.balanceOf(borrower), PLENTY + 1_188e6);
        assertEq(dollar.balanceOf(lender), PLENTY - 1_188e6);
        Loan memory loan = ledger.loanOf(id);
        assertEq(loan.borrower, borrower);
        assertEq(loan.lender, lender);
        assertEq(loan.openedAt, START);
        assertEq(loan.principal, 1_200e6);
        assertEq(loan.instalment, LEVEL);
        assertEq(loan.total, TOTAL);
        assertEq(loan.paid, 0);
        assertEq(loan.fees, 0);
        assertFalse(loan.amends);
        assertTrue(loan.status == Status.Active);
    }

    function test_only_the_borrower_opens() public {
        Terms memory terms = ordinary();
        bytes memory offer = sign(lender, digestOf("Offer", terms));
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.NotBorrower.selector, stranger, borrower));
        vm.prank(stranger);
        ledger.open(terms, offer);
    }

    function test_anyone_sends_what_both_have_signed() public {
        Terms memory terms = ordinary();
        bytes memory offer = sign(lender, digestOf("Offer", terms));
        bytes memory acceptance = sign(borrower, digestOf("Acceptance", terms));
        vm.prank(keeper);
        bytes32 id = ledger.openBySignature(terms, offer, acceptance);
        assertEq(id, ledger.idOf(terms));
        assertEq(ledger.loanOf(id).borrower, borrower);
        assertEq(dollar.balanceOf(borrower), PLENTY + 1_200e6);
        assertEq(dollar.balanceOf(keeper), 0);
    }

    function test_an_acceptance_is_the_borrowers_and_no_other_consent() public {
        Terms memory terms = ordinary();
        bytes memory offer = sign(lender, digestOf("Offer", terms));
        bytes[2] memory wrong = [
            sign(lender, digestOf("Acceptance", terms)),
            sign(borrower, digestOf("Amendment", terms))
        ];
        bytes memory refusal = abi.encodeWithSelector(
            ILoanLedger.InvalidAcceptance.selector,
            ledger.idOf(terms),
            borrower
        );
        for (uint256 i = 0; i < wrong.length; ++i) {
            vm.expectRevert(refusal);
            ledger.openBySignature(terms, offer, wrong[i]);
        }
    }

    function test_an_offer_is_the_lenders_for_these_very_terms() public {
        Terms memory terms = ordinary();
        bytes memory offer = sign(lender, digestOf("Offer", terms));
        terms.lateFee -= 1;
        bytes32 id = ledger.idOf(terms);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.InvalidOffer.selector, id, lender));
        vm.prank(borrower);
        ledger.open(terms, offer);
    }

    function test_a_loan_has_two_parties() public {
        for (uint256 i = 0; i < 3; ++i) {
            Terms memory terms = ordinary();
            if (i != 1) terms.lender = i == 0 ? address(0) : borrower;
            if (i == 1) terms.borrower = address(0);
            vm.expectRevert(
                abi.encodeWithSelector(ILoanLedger.InvalidParties.selector, terms.lender, terms.borrower)
            );
            vm.prank(terms.borrower);
            ledger.open(terms, "");
        }
    }

    function test_what_replaces_a_loan_is_no_new_one() public {
        Terms memory terms = ordinary();
        terms.replaces = "another loan";
        refuse(terms, abi.encodeWithSelector(ILoanLedger.NotANewLoan.selector, terms.replaces));
    }

    function test_an_offer_ends_with_its_last_second() public {
        Terms memory terms = ordinary();
        terms.expires = uint40(START + 1 hours);
        vm.warp(terms.expires + 1);
        refuse(terms, abi.encodeWithSelector(ILoanLedger.OfferExpired.selector, terms.expires, terms.expires + 1));
        vm.warp(terms.expires);
        assertTrue(ledger.loanOf(open(terms)).status == Status.Active);
    }

    function test_an_offer_is_accepted_once() public {
        Terms memory terms = ordinary();
        bytes32 id = open(terms);
        bytes memory refusal = abi.encodeWithSelector(ILoanLedger.LoanExists.selector, id);
        refuse(terms, refusal);
        pay(id, TOTAL);
        refuse(terms, refusal);
        vm.expectRevert(refusal);
        vm.prank(lender);
        ledger.cancelOffer(terms);
    }

    function test_either_party_cancels_an_offer_for_good() public {
        for (uint256 i = 0; i < 2; ++i) {
            address party = i == 0 ? lender : borrower;
            Terms memory terms = ordinary();
            terms.salt = bytes32(i);
            bytes32 id = ledger.idOf(terms);
            vm.expectEmit(address(ledger));
            emit ILoanLedger.OfferCancelled(id, party);
            vm.prank(party);
            ledger.cancelOffer(terms);

            refuse(terms, abi.encodeWithSelector(ILoanLedger.OfferWithdrawn.selector, id));
            assertTrue(ledger.positionOf(id).status == Status.None);
            vm.expectRevert(abi.encodeWithSelector(ILoanLedger.UnknownLoan.selector, id));
            ledger.loanOf(id);
        }
    }

    function test_nobody_else_cancels_an_offer() public {
        Terms memory terms = ordinary();
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.NotParty.selector, stranger, lender, borrower));
        vm.prank(stranger);
        ledger.cancelOffer(terms);
        open(terms);
    }

    function test_no_loan_is_made_in_a_currency_that_takes_a_fee() public {
        useHostileDollar().setFee(100);
        refuse(ordinary(), abi.encodeWithSelector(ILoanLedger.CurrencyTookAFee.selector, 1_200e6, 1_188e6));
    }

    // ------------------------------------------------------------------------------------------------- paying

    function test_ledger_3_anyone_pays_and_the_lender_has_it_at_once() public {
        bytes32 id = open(ordinary());
        uint256 before = dollar.balanceOf(lender);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.Repaid(id, stranger, 100e6, 100e6);
        vm.prank(stranger);
        assertEq(ledger.repay(id, 100e6), 100e6);
        assertEq(ledger.loanOf(id).paid, 100e6);
        assertEq(dollar.balanceOf(lender), before + 100e6);
        assertEq(dollar.balanceOf(stranger), PLENTY - 100e6);
    }

    function test_a_payment_of_nothing_is_refused() public {
        bytes32 id = open(ordinary());
        vm.expectRevert(ILoanLedger.ZeroAmount.selector);
        vm.prank(borrower);
        ledger.repay(id, 0);
    }

    function test_ledger_3_only_what_is_owed_is_taken() public {
        bytes32 id = open(ordinary());
        vm.expectEmit(address(ledger));
        emit ILoanLedger.Repaid(id, stranger, TOTAL, TOTAL);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.LoanRepaid(id, TOTAL);
        vm.prank(stranger);
        assertEq(ledger.repay(id, type(uint256).max), TOTAL);
        assertEq(dollar.balanceOf(stranger), PLENTY - TOTAL);
        assertTrue(ledger.loanOf(id).status == Status.Repaid);
    }

    function test_no_payment_is_taken_where_nothing_is_owed() public {
        Terms memory terms = ordinary();
        bytes32 id = open(terms);
        vm.prank(borrower);
        ledger.rescind(terms);
        bytes memory refusal = abi.encodeWithSelector(ILoanLedger.LoanNotActive.selector, id, Status.Rescinded);
        vm.startPrank(borrower);
        vm.expectRevert(refusal);
        ledger.repay(id, 1);
        vm.expectRevert(refusal);
        ledger.settle(id, PLENTY);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.UnknownLoan.selector, bytes32("none")));
        ledger.repay("none", 1);
    }

    function test_a_payer_without_money_is_told_by_the_currency() public {
        bytes32 id = open(ordinary());
        vm.startPrank(keeper);
        dollar.approve(address(ledger), 1);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, keeper, 0, 1));
        ledger.repay(id, 1);
    }

    function test_a_permit_pays_without_an_allowance() public {
        bytes32 id = open(ordinary());
        (address payer, uint8 v, bytes32 r, bytes32 s) = permit(10e6);
        vm.prank(payer);
        assertEq(ledger.repayWithPermit(id, 10e6, START, v, r, s), 10e6);
        assertEq(dollar.balanceOf(payer), 0);
        assertEq(dollar.nonces(payer), 1);
        assertEq(ledger.loanOf(id).paid, 10e6);
    }

    function test_a_permit_that_was_used_already_stops_nothing() public {
        bytes32 id = open(ordinary());
        (address payer, uint8 v, bytes32 r, bytes32 s) = permit(10e6);
        dollar.permit(payer, address(ledger), 10e6, START, v, r, s);
        vm.prank(payer);
        assertEq(ledger.repayWithPermit(id, 10e6, START, v, r, s), 10e6);
        assertEq(ledger.loanOf(id).paid, 10e6);
    }

    function test_a_permit_that_fails_pays_nothing_without_an_allowance() public {
        bytes32 id = open(ordinary());
        (address payer, uint8 v, bytes32 r, bytes32 s) = permit(10e6);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(ledger), 0, 10e6 - 1)
        );
        vm.prank(payer);
        ledger.repayWithPermit(id, 10e6 - 1, START, v, r, s);
    }

    function test_anyone_relays_a_payment_once() public {
        bytes32 id = open(ordinary());
        uint256 before = dollar.balanceOf(borrower);
        bytes memory signature = signRepayment(borrower, id, 10e6, 0);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.Repaid(id, borrower, 10e6, 10e6);
        vm.prank(keeper);
        assertEq(ledger.repayBySignature(id, 10e6, START, signature), 10e6);
        assertEq(dollar.balanceOf(borrower), before - 10e6);
        assertEq(ledger.nonces(borrower), 1);

        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.InvalidSignature.selector, borrower, 1));
        ledger.repayBySignature(id, 10e6, START, signature);
        ledger.repayBySignature(id, 10e6, START, signRepayment(borrower, id, 10e6, 1));
        assertEq(ledger.loanOf(id).paid, 20e6);
        assertEq(ledger.nonces(borrower), 2);
    }

    function test_a_relayed_payment_is_the_borrowers_own() public {
        bytes32 id = open(ordinary());
        bytes memory signature = signRepayment(lender, id, 10e6, 0);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.InvalidSignature.selector, borrower, 0));
        ledger.repayBySignature(id, 10e6, START, signature);
        assertEq(ledger.nonces(borrower), 0);
    }

    function test_a_signature_ends_with_its_last_second() public {
        bytes32 id = open(ordinary());
        bytes memory signature = signRepayment(borrower, id, 10e6, 0);
        vm.warp(START + 1);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.SignatureExpired.selector, START, START + 1));
        ledger.repayBySignature(id, 10e6, START, signature);
        assertEq(ledger.nonces(borrower), 0);
    }

    function test_no_payment_is_relayed_to_an_unknown_loan() public {
        bytes memory signature = signRepayment(borrower, "none", 10e6, 0);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.UnknownLoan.selector, bytes32("none")));
        ledger.repayBySignature("none", 10e6, START, signature);
    }

    function test_several_payments_go_in_one_call_all_or_none() public {
        bytes32 id = open(ordinary());
        bytes32 other = open(another());
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(ledger.repay, (id, 10e6));
        calls[1] = abi.encodeCall(ledger.repay, ("none", 20e6));
        vm.startPrank(stranger);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.UnknownLoan.selector, bytes32("none")));
        ledger.multicall(calls);
        assertEq(ledger.loanOf(id).paid, 0);

        calls[1] = abi.encodeCall(ledger.repay, (other, 20e6));
        bytes[] memory taken = ledger.multicall(calls);
        assertEq(abi.decode(taken[0], (uint256)), 10e6);
        assertEq(abi.decode(taken[1], (uint256)), 20e6);
        assertEq(ledger.loanOf(id).paid, 10e6);
        assertEq(ledger.loanOf(other).paid, 20e6);
        assertEq(dollar.balanceOf(stranger), PLENTY - 30e6);
    }

    // ------------------------------------------------------------------------------------------------- settling

    function test_settling_costs_the_balance_and_its_interest_to_the_second() public {
        bytes32 id = open(interestOnly());
        vm.warp(START + 1 days);
        // A day of the first period's 2,735,999 seconds, of 12 dollars of interest.
        assertEq(ledger.payoff(id), 1_200e6 + 378_948);
        pay(id, 12e6);

        // Half of February is over.
        vm.warp(DUE + 14 days);
        vm.startPrank(stranger);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.PayoffAboveMaximum.selector, 1_206e6, 1_206e6 - 1));
        ledger.settle(id, 1_206e6 - 1);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.LoanSettled(id, stranger, 1_206e6, 126e6, 1_218e6);
        assertEq(ledger.settle(id, 1_206e6), 1_206e6);
        assertEq(dollar.balanceOf(stranger), PLENTY - 1_206e6);
        assertEq(ledger.loanOf(id).total, 1_218e6);
        assertTrue(ledger.loanOf(id).status == Status.Repaid);
    }

    function test_fees_1_settling_late_costs_arrears_and_late_fees_too() public {
        bytes32 id = open(interestOnly());
        vm.warp(DUE + 14 days);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.InstalmentMissed(id, 1, 1, 600_000);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.LoanSettled(id, borrower, 1_218_600_000, 126e6, 1_218_600_000);
        vm.prank(borrower);
        assertEq(ledger.settle(id, 1_218_600_000), 1_218_600_000);
        assertEq(ledger.loanOf(id).fees, 600_000);
    }

    function test_who_paid_far_ahead_settles_for_nothing() public {
        bytes32 id = open(interestOnly());
        pay(id, 100e6);
        assertEq(ledger.payoff(id), 1_100e6);
        pay(id, 1_244e6 - 1);
        dollar.setBlocked(lender, true);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.LoanSettled(id, borrower, 0, 1, 1_344e6 - 1);
        vm.prank(borrower);
        assertEq(ledger.settle(id, 0), 0);
        assertEq(ledger.claimable(lender), 0);
        assertTrue(ledger.loanOf(id).status == Status.Repaid);
    }

    function test_from_the_last_due_second_on_settling_costs_all_that_is_owed() public {
        bytes32 id = open(interestOnly());
        pay(id, 11 * 12e6);
        vm.warp(LAST_DUE - 1);
        assertLe(ledger.payoff(id), 1_212e6);
        vm.warp(LAST_DUE);
        assertEq(ledger.payoff(id), 1_212e6);
        vm.warp(LAST_DUE + 1);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.LoanSettled(id, borrower, 1_212e6, 0, 1_344e6);
        vm.prank(borrower);
        assertEq(ledger.settle(id, 1_212e6), 1_212e6);
    }

    // ------------------------------------------------------------------------------------------------- being late

    function test_fees_1_an_instalment_is_missed_when_its_grace_is_over() public {
        bytes32 id = open(ordinary());
        pay(id, LEVEL - 1);
        vm.warp(DUE + GRACE);
        nothingMissed(id, 0);
        vm.warp(DUE + GRACE + 1);
        missed(id, 1, 1, LATE_FEE);
        assertEq(ledger.loanOf(id).fees, LATE_FEE);
        assertEq(ledger.loanOf(id).assessed, 1);
        nothingMissed(id, 1);
        // The second is past due, and not missed yet; then the third goes with it.
        vm.warp(SECOND_DUE + 1);
        nothingMissed(id, 1);
        vm.warp(THIRD_DUE + GRACE + 1);
        missed(id, 2, 3, 3 * LATE_FEE);
    }

    function test_fees_1_what_was_paid_in_time_is_not_missed() public {
        bytes32 id = open(ordinary());
        pay(id, LEVEL);
        vm.warp(SECOND_DUE);
        nothingMissed(id, 0);
        vm.warp(SECOND_DUE + 1);
        nothingMissed(id, 0);
        pay(id, LEVEL);
        vm.warp(THIRD_DUE + GRACE + 1);
        missed(id, 3, 3, LATE_FEE);
    }

    function test_fees_1_many_loans_are_flagged_at_once() public {
        bytes32 late = open(ordinary());
        bytes32 kept = open(another());
        bytes32 repaid = open(interestOnly());
        pay(kept, LEVEL);
        pay(repaid, 1_344e6);
        vm.warp(DUE + GRACE + 1);
        bytes32[] memory ids = new bytes32[](5);
        (ids[0], ids[1], ids[2], ids[3], ids[4]) = (repaid, kept, late, "none", late);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.InstalmentMissed(late, 1, 1, LATE_FEE);
        vm.prank(keeper);
        assertEq(ledger.flagMissedMany(ids), 1);
        assertEq(ledger.loanOf(late).fees, LATE_FEE);
        assertEq(ledger.loanOf(kept).fees, 0);
        assertEq(ledger.loanOf(kept).assessed, 0);
        assertEq(ledger.loanOf(repaid).fees, 0);
    }

    function test_fees_1_money_goes_to_what_is_due_then_to_fees_then_ahead() public {
        bytes32 id = open(ordinary());
        vm.warp(DUE + GRACE + 1);
        stands(id, LEVEL, LATE_FEE, 1, DUE);
        pay(id, LEVEL);
        stands(id, 0, LATE_FEE, 2, SECOND_DUE);
        pay(id, 2e6);
        stands(id, 0, LATE_FEE - 2e6, 2, SECOND_DUE);
        pay(id, LATE_FEE - 2e6);
        stands(id, 0, 0, 2, SECOND_DUE);
        pay(id, TOTAL - LEVEL);
        stands(id, 0, 0, 0, 0);
        assertTrue(ledger.loanOf(id).status == Status.Repaid);
    }

    function test_fees_1_where_only_a_late_fee_is_left_no_instalment_is_unpaid() public {
        bytes32 id = open(ordinary());
        vm.warp(DUE + GRACE + 1);
        vm.prank(borrower);
        ledger.repay(id, TOTAL);

        Position memory position = ledger.positionOf(id);
        assertTrue(position.status == Status.Active);
        assertEq(ledger.loanOf(id).fees, LATE_FEE);
        assertEq(position.firstUnpaid, 0);
        assertEq(position.firstUnpaidDueDay, 0);
        assertEq(position.next, 2);
        assertEq(position.nextAmount, 0);
    }

    function test_a_default_is_cured_when_its_instalment_is_paid() public {
        bytes32 id = open(ordinary());
        vm.warp(DUE + 90 days);
        vm.prank(lender);
        ledger.markDefault(id);
        pay(id, LEVEL - 1);
        assertTrue(ledger.loanOf(id).status == Status.Defaulted);
        pay(id, 1);
        assertTrue(ledger.loanOf(id).status == Status.Active);
    }

    // ------------------------------------------------------------------------------------------------- lenders

    function test_ledger_3_what_the_lender_cannot_receive_is_held_and_paid_out_once() public {
        bytes32 id = open(ordinary());
        dollar.setBlocked(lender, true);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.PaymentHeld(id, lender, 10e6);
        pay(id, 10e6);
        assertEq(ledger.loanOf(id).paid, 10e6);
        assertEq(ledger.claimable(lender), 10e6);
        assertEq(dollar.balanceOf(address(ledger)), 10e6);

        vm.startPrank(lender);
        vm.expectRevert(abi.encodeWithSelector(BlockingDollar.Blocked.selector, lender));
        ledger.claim(lender);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.Claimed(lender, keeper, 10e6);
        assertEq(ledger.claim(keeper), 10e6);
        assertEq(dollar.balanceOf(keeper), 10e6);
        assertEq(ledger.claimable(lender), 0);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.NothingToClaim.selector, lender));
        ledger.claim(keeper);
    }

    function test_ledger_2_no_more_is_held_than_has_arrived() public {
        HostileDollar hostile = useHostileDollar();
        bytes32 id = open(ordinary());
        hostile.setBlocked(lender, true);
        hostile.setAnswersFalse(true);
        pay(id, 50e6);
        hostile.setFee(100);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.PaymentHeld(id, lender, 99e6);
        pay(id, 100e6);
        assertEq(ledger.loanOf(id).paid, 150e6);
        assertEq(ledger.claimable(lender), 149e6);
        assertEq(hostile.balanceOf(address(ledger)), 149e6);
    }

    function test_a_lender_appoints_and_withdraws_a_servicer() public {
        bytes32 id = open(ordinary());
        address[2] memory appointed = [servicer, address(0)];
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectEmit(address(ledger));
            emit ILoanLedger.ServicerAppointed(lender, appointed[i]);
            vm.prank(lender);
            ledger.appointServicer(appointed[i]);
            (address itsBorrower, address itsLender, address itsServicer, uint32 itsPolicy) = ledger.partiesOf(id);
            assertEq(itsPolicy, policy);
            assertEq(itsBorrower, borrower);
            assertEq(itsLender, lender);
            assertEq(itsServicer, appointed[i]);
        }
    }

    function test_an_unknown_loan_has_no_parties() public {
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.UnknownLoan.selector, bytes32("none")));
        ledger.partiesOf("none");
    }

    // ------------------------------------------------------------------------------------------------- helpers

    /// Terms that are worth as much as the ordinary ones, and make another loan.
    function another() private view returns (Terms memory terms) {
        terms = ordinary();
        terms.salt = "another";
    }

    /// 1,200 dollars for twelve times 12 dollars of interest, and 60 cents for being late.
    function interestOnly() private view returns (Terms memory terms) {
        terms = ordinary();
        terms.schedule = Schedule.InterestOnly;
        terms.lateFee = 600_000;
    }

    /// From now on the ledger is one whose currency has bad manners.
    function useHostileDollar() private returns (HostileDollar hostile) {
        hostile = new HostileDollar(6);
        dollar = BlockingDollar(address(hostile));
        ledger = new LoanLedger(hostile, policyBook, desk);
        fund(lender);
        fund(borrower);
    }

    /// The lender offers terms that the ledger refuses.
    function refuse(Terms memory terms, bytes memory refusal) private {
        bytes memory offer = sign(lender, digestOf("Offer", terms));
        vm.expectRevert(refusal);
        vm.prank(borrower);
        ledger.open(terms, offer);
    }

    function pay(bytes32 id, uint256 amount) private {
        vm.prank(borrower);
        assertEq(ledger.repay(id, amount), amount);
    }

    function nothingMissed(bytes32 id, uint256 assessed) private {
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.NothingMissed.selector, id, assessed));
        vm.prank(keeper);
        ledger.flagMissed(id);
    }

    function missed(bytes32 id, uint16 first, uint16 last, uint80 fees) private {
        vm.expectEmit(address(ledger));
        emit ILoanLedger.InstalmentMissed(id, first, last, fees);
        vm.prank(keeper);
        ledger.flagMissed(id);
    }

    function stands(bytes32 id, uint256 overdue, uint256 fees, uint256 firstUnpaid, uint256 dueAt) private view {
        (uint256 overdueNow, uint256 feesNow, uint256 firstUnpaidNow, uint256 dueAtNow) = ledger.delinquency(id);
        assertEq(overdueNow, overdue, "overdue");
        assertEq(feesNow, fees, "fees");
        assertEq(firstUnpaidNow, firstUnpaid, "first unpaid");
        assertEq(dueAtNow, dueAt, "due at");
    }

    /// A payer with just that much money and no allowance, and their permit until the first second.
    function permit(uint256 amount) private returns (address payer, uint8 v, bytes32 r, bytes32 s) {
        payer = makeSigner("payer");
        dollar.mint(payer, amount);
        bytes32 allowance = keccak256(
            abi.encode(
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                payer,
                address(ledger),
                amount,
                0,
                START
            )
        );
        (v, r, s) = vm.sign(
            keyOf[payer],
            keccak256(abi.encodePacked(hex"1901", dollar.DOMAIN_SEPARATOR(), allowance))
        );
    }

    /// A payment signed to be sent in the first second.
    function signRepayment(
        address signer,
        bytes32 id,
        uint256 amount,
        uint256 nonce
    ) private view returns (bytes memory) {
        bytes32 kind = keccak256("Repayment(bytes32 id,uint256 amount,uint256 nonce,uint256 deadline)");
        return sign(signer, digestOf(keccak256(abi.encode(kind, id, amount, nonce, START))));
    }
}
