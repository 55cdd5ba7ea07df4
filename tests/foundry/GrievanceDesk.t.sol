// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {GrievanceDesk} from "contracts/GrievanceDesk.sol";
import {LoanLedger} from "contracts/LoanLedger.sol";
import {NoticeRegistry} from "contracts/NoticeRegistry.sol";
import {Channel} from "contracts/interfaces/IConsentRegistry.sol";
import {Case, Grievance, IGrievanceDesk} from "contracts/interfaces/IGrievanceDesk.sol";
import {ILoanLedger, Loan, Status, Terms} from "contracts/interfaces/ILoanLedger.sol";
import {Kind, Notice} from "contracts/interfaces/INoticeRegistry.sol";
import {AprConvention, LendingLimits} from "contracts/interfaces/IPolicyBook.sol";

import {Base} from "./Base.t.sol";

/// @title Grievances, and the reminders and late fees that rest for them, each way it can go.
contract GrievanceDeskTest is Base {
    /// The last second of 1 February in UTC; the next due days come 28 and 59 days later.
    uint256 private constant DUE = START + 32 days - 1;
    uint256 private constant GRACE = 5 days;
    uint256 private constant FOREVER = type(uint256).max;
    uint80 private constant LATE_FEE = 5e6;

    bytes32 private loan;

    function setUp() public override {
        super.setUp();
        policy = publish(LendingLimits(240_000, AprConvention.Nominal, 500, 3, 0, 90), 1, 3);
        loan = open(inUtc());
    }

    // ------------------------------------------------------------------------------------------------- binding

    function test_the_desk_is_bound_once_by_who_deployed_it_to_what_knows_it() public {
        GrievanceDesk loose = new GrievanceDesk(policyBook);
        LoanLedger itsLedger = new LoanLedger(dollar, policyBook, loose);
        NoticeRegistry itsGate = new NoticeRegistry(itsLedger, policyBook, loose);
        cannotBind(loose, stranger, itsLedger, itsGate);
        cannotBind(loose, address(this), ledger, itsGate);
        cannotBind(loose, address(this), itsLedger, notices);
        vm.expectEmit(address(loose));
        emit IGrievanceDesk.Bound(address(itsLedger), address(itsGate));
        loose.bind(itsLedger, itsGate);
        cannotBind(loose, address(this), itsLedger, itsGate);
    }

    // ------------------------------------------------------------------------------------------------- lodging

    function test_consent_1_borrower_lender_and_servicer_lodge_and_nobody_else() public {
        vm.expectRevert(
            abi.encodeWithSelector(IGrievanceDesk.NotConcerned.selector, servicer, borrower, lender, address(0))
        );
        vm.prank(servicer);
        desk.lodge(loan, Grievance.Dispute);
        vm.prank(lender);
        ledger.appointServicer(servicer);
        address[3] memory concerned = [borrower, lender, servicer];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectEmit(address(desk));
            emit IGrievanceDesk.GrievanceLodged(loan, borrower, Grievance.Dispute, concerned[i], true, true);
            vm.prank(concerned[i]);
            desk.lodge(loan, Grievance.Dispute);
            withdraw(loan, Grievance.Dispute);
        }
    }

    function test_a_grievance_stands_once() public {
        lodge(loan, Grievance.Dispute);
        vm.warp(START + 1);
        vm.expectRevert(
            abi.encodeWithSelector(IGrievanceDesk.GrievanceStands.selector, loan, Grievance.Dispute, START)
        );
        vm.prank(borrower);
        desk.lodge(loan, Grievance.Dispute);
        withdraw(loan, Grievance.Dispute);
        lodge(loan, Grievance.Dispute);
        Case memory found = desk.caseOf(loan, Grievance.Dispute);
        assertEq(found.since, START + 1);
        assertEq(found.answeredAt, 0);
    }

    function test_the_ledger_notes_grievances_of_the_desk_about_what_is_owed() public {
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.NotDesk.selector, borrower, address(desk)));
        vm.prank(borrower);
        ledger.noteGrievance(loan);
        vm.prank(borrower);
        ledger.repay(loan, PLENTY);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.LoanNotActive.selector, loan, Status.Repaid));
        vm.prank(borrower);
        desk.lodge(loan, Grievance.Dispute);
    }

    function test_the_borrower_alone_withdraws_what_stands() public {
        lodge(loan, Grievance.Hardship);
        vm.expectRevert(abi.encodeWithSelector(IGrievanceDesk.NotTheBorrower.selector, lender, borrower));
        vm.prank(lender);
        desk.withdraw(loan, Grievance.Hardship);
        vm.expectRevert(abi.encodeWithSelector(IGrievanceDesk.NoGrievance.selector, loan, Grievance.Dispute));
        vm.prank(borrower);
        desk.withdraw(loan, Grievance.Dispute);
        vm.expectEmit(address(desk));
        emit IGrievanceDesk.GrievanceWithdrawn(loan, borrower, Grievance.Hardship);
        withdraw(loan, Grievance.Hardship);
    }

    // ------------------------------------------------------------------------------------------------- resting

    function test_pause_1_reminders_rest_to_the_end_of_the_days_after_the_last_answer() public {
        Terms memory terms = inUtc();
        terms.salt = "other";
        bytes32 other = open(terms);
        rests(loan, 0, 0);
        lodge(loan, Grievance.Dispute);
        lodge(loan, Grievance.Hardship);
        // For a dispute all loans rest; fees, those of the loan alone.
        rests(loan, FOREVER, FOREVER);
        rests(other, FOREVER, 0);
        uint256 first = answer(Kind.DisputeAnswered, 1);
        rests(other, first, 0);
        rests(loan, FOREVER, FOREVER);
        uint256 second = answer(Kind.HardshipAnswered, 2);
        rests(loan, second, second);
        rests(other, first, 0);
        // For all loans, of another loan, it ends later.
        lodge(other, Grievance.Dispute);
        vm.warp(START + 9 days);
        withdraw(other, Grievance.Dispute);
        rests(other, first, START + 9 days);
        lodge(loan, Grievance.Representation);
        rests(loan, FOREVER, second);
        vm.warp(second + 1);
        withdraw(loan, Grievance.Representation);
        rests(loan, second + 1, second);
        lodge(other, Grievance.Dispute);
        vm.warp(second + 2);
        withdraw(other, Grievance.Dispute);
        rests(loan, second + 2, second);
    }

    function test_only_gate_and_ledger_tell_the_desk() public {
        lodge(loan, Grievance.Dispute);
        bytes memory notGate = abi.encodeWithSelector(
            IGrievanceDesk.NotFrom.selector,
            address(this),
            address(notices)
        );
        vm.expectRevert(notGate);
        desk.receiptServed(loan, Grievance.Dispute);
        vm.expectRevert(notGate);
        desk.answerServed(loan, Grievance.Dispute);
        vm.expectRevert(
            abi.encodeWithSelector(IGrievanceDesk.NotFrom.selector, address(this), address(ledger))
        );
        desk.carryOver(loan, "other");
        vm.prank(address(notices));
        desk.receiptServed(loan, Grievance.Dispute);
        assertTrue(desk.caseOf(loan, Grievance.Dispute).received);
    }

    // ------------------------------------------------------------------------------------------------- late fees

    function test_fees_1_what_was_missed_before_is_charged_when_it_is_lodged() public {
        vm.warp(DUE + GRACE + 1);
        vm.expectEmit(address(ledger));
        emit ILoanLedger.InstalmentMissed(loan, 1, 1, LATE_FEE);
        lodge(loan, Grievance.Hardship);
        vm.warp(DUE + 59 days + GRACE + 1);
        assertEq(fees(loan), LATE_FEE);
        withdraw(loan, Grievance.Hardship);
        assertEq(fees(loan), LATE_FEE);
    }

    function test_fees_1_what_is_missed_while_fees_rest_is_never_charged() public {
        vm.warp(DUE + GRACE);
        lodge(loan, Grievance.Hardship);
        vm.warp(DUE + GRACE + 1);
        assertEq(fees(loan), 0);
        vm.expectRevert(abi.encodeWithSelector(ILoanLedger.NothingMissed.selector, loan, 0));
        ledger.flagMissed(loan);
        withdraw(loan, Grievance.Hardship);
        vm.warp(DUE + 28 days + GRACE);
        assertEq(fees(loan), 0);
        vm.warp(DUE + 28 days + GRACE + 1);
        assertEq(fees(loan), LATE_FEE);
        // What was charged before is not what a second rest begins with.
        lodge(loan, Grievance.Hardship);
        assertEq(ledger.loanOf(loan).assessed, 2);
        vm.warp(DUE + 59 days + GRACE + 1);
        assertEq(fees(loan), LATE_FEE);
    }

    function test_fees_1_deferring_charges_nothing_that_rested() public {
        lodge(loan, Grievance.Hardship);
        vm.warp(DUE + GRACE + 1);
        vm.expectEmit(true, false, false, false, address(desk));
        emit IGrievanceDesk.GrievancesCarriedOver(loan, "");
        vm.prank(lender);
        bytes32 deferred = ledger.defer(loan, 2);
        Loan memory found = ledger.loanOf(deferred);
        assertEq(found.assessed, 1);
        assertEq(found.fees, 0);
        rests(loan, 0, 0);
        rests(deferred, FOREVER, FOREVER);
        withdraw(deferred, Grievance.Hardship);
        vm.warp(ledger.instalmentOf(deferred, 1).dueAt + GRACE + 1);
        assertEq(fees(deferred), 0);
        vm.warp(ledger.instalmentOf(deferred, 2).dueAt + GRACE + 1);
        assertEq(fees(deferred), LATE_FEE);
    }

    /// However long, and however it is looked at meanwhile: of each instalment exactly those cost a fee whose grace ended outside.
    function testFuzz_fees_1_each_grace_period_that_ends_in_the_rest_is_free(
        uint256 since,
        uint256 length,
        uint256 poke
    ) public {
        since = bound(since, START, START + 400 days);
        uint256 until = since + bound(length, 0, 200 days);
        vm.warp(since);
        lodge(loan, Grievance.Hardship);
        poke = bound(poke, since, until);
        vm.warp(poke);
        bytes32[] memory ids = new bytes32[](1);
        ids[0] = loan;
        ledger.flagMissedMany(ids);
        vm.warp(until);
        withdraw(loan, Grievance.Hardship);
        vm.warp(START + 900 days);
        uint256 charged;
        for (uint256 k = 1; k <= 12; ++k) {
            uint256 ends = ledger.instalmentOf(loan, k).dueAt + GRACE;
            if (ends < since || ends >= until) ++charged;
        }
        assertEq(fees(loan), charged * LATE_FEE);
    }

    // ------------------------------------------------------------------------------------------------- helpers

    function inUtc() private view returns (Terms memory terms) {
        terms = ordinary();
        terms.calendarOffset = 0;
    }

    function lodge(bytes32 id, Grievance grievance) private {
        vm.prank(borrower);
        desk.lodge(id, grievance);
    }

    function withdraw(bytes32 id, Grievance grievance) private {
        vm.prank(borrower);
        desk.withdraw(id, grievance);
    }

    /// Serve an answer in the app, at noon some days after the first second. @return until When its rest ends.
    function answer(Kind kind, uint256 day) private returns (uint256 until) {
        uint256 noon = START + day * 1 days + 12 hours;
        until = noon + 30 days;
        vm.warp(noon);
        vm.prank(lender);
        notices.serve(Notice(loan, kind, 0, 0, Channel.InApp, "words"));
    }

    function rests(bytes32 id, uint256 reminders, uint256 lateFees) private view {
        assertEq(desk.restsUntil(id, borrower), reminders, "reminders");
        assertEq(desk.feesRestUntil(id), lateFees, "late fees");
    }

    function fees(bytes32 id) private view returns (uint256 unpaid) {
        (, unpaid, , ) = ledger.delinquency(id);
    }

    function cannotBind(GrievanceDesk which, address sender, LoanLedger to, NoticeRegistry gate) private {
        vm.expectRevert(
            abi.encodeWithSelector(IGrievanceDesk.CannotBind.selector, sender, address(to), address(gate))
        );
        vm.prank(sender);
        which.bind(to, gate);
    }
}
