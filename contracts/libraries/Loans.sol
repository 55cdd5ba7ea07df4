// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Instalment, Loan, Schedule, Status} from "../interfaces/ILoanLedger.sol";
import {Amortization} from "./Amortization.sol";
import {Calendar} from "./Calendar.sol";

/// @title Where a loan stands: the curve of what is due and the curve of what was paid, and their difference now.
/// @dev Mirrored by `duly/domain/schedule.py`.
library Loans {
    using Amortization for Amortization.Curve;

    // ------------------------------------------------------------------------------------------------- status

    /// Everything that is still to be paid, late fees as last assessed.
    function owed(Loan memory loan) internal pure returns (uint256) {
        return uint256(loan.total) + loan.fees - loan.paid;
    }

    /// Where it stands, derived from the curves.
    function statusOf(Loan memory loan) internal pure returns (Status) {
        if (loan.status == Status.Cancelled) return Status.None;
        if ((loan.status == Status.Active || loan.status == Status.Defaulted) && owed(loan) == 0) {
            return Status.Repaid;
        }
        return loan.status;
    }

    // ------------------------------------------------------------------------------------------------- what is due

    function curveOf(Loan memory loan) internal pure returns (Amortization.Curve memory) {
        return
            Amortization.Curve(
                loan.schedule,
                loan.principal,
                Amortization.periodRate(loan.rate, Calendar.periodsPerYear(loan.frequency)),
                loan.instalments,
                loan.instalment,
                loan.total
            );
    }

    function today(Loan memory loan) internal view returns (uint256) {
        return Calendar.localDay(block.timestamp, loan.calendarOffset);
    }

    /// How many instalments fell due before a day.
    function passed(Loan memory loan, uint256 day) internal pure returns (uint256) {
        return Calendar.passed(loan.firstDue, loan.frequency, loan.instalments, day);
    }

    function dueDay(Loan memory loan, uint256 k) internal pure returns (uint256) {
        return Calendar.dueDay(loan.firstDue, loan.frequency, k);
    }

    function dueTime(Loan memory loan, uint256 k) internal pure returns (uint256) {
        return Calendar.dueTime(loan.firstDue, loan.frequency, k, loan.calendarOffset);
    }

    /// The k-th row of the schedule.
    function row(Loan memory loan, uint256 k) internal pure returns (Instalment memory found) {
        Amortization.Curve memory curve = curveOf(loan);
        // Of a loan that ended early the total is smaller.
        curve.total = curve.totalOf();
        found.dueAt = dueTime(loan, k);
        found.amount = curve.cumulative(k) - curve.cumulative(k - 1);
        found.balance = curve.balance(k);
        found.principal = curve.balance(k - 1) - found.balance;
        found.interest = found.amount - found.principal;
    }

    // ------------------------------------------------------------------------------------------------- lateness

    /// Unpaid instalments that are past due, and unpaid fees. Money goes to the former, then to the latter, then ahead.
    function arrears(
        Loan memory loan,
        Amortization.Curve memory curve,
        uint256 passed_
    ) internal pure returns (uint256 overdue, uint256 fees) {
        uint256 due = curve.cumulative(passed_);
        if (loan.paid <= due) return (due - loan.paid, loan.fees);
        uint256 beyond = loan.paid - due;
        return (0, beyond < loan.fees ? loan.fees - beyond : 0);
    }

    /// Charge the late fees of instalments missed since the last assessment: `first` to `last`, none where `last` is zero.
    /// @dev To be done before money moves: until now the curve of payments was flat, so that judging all grace periods that
    /// ended meanwhile at once is the same as judging each at its end.
    function assess(Loan memory loan) internal view returns (uint16 first, uint16 last) {
        uint256 judged = passed(loan, today(loan) - loan.graceDays);
        if (judged <= loan.assessed) return (0, 0);
        Amortization.Curve memory curve = curveOf(loan);
        if (loan.paid >= curve.cumulative(judged)) return (0, 0);
        uint256 covered = curve.covered(loan.paid);
        first = uint16(covered > loan.assessed ? covered : loan.assessed) + 1;
        last = uint16(judged);
        loan.assessed = last;
        loan.fees += (last - first + 1) * loan.lateFee;
    }

    /// The number of the first instalment that is not fully paid; zero when none is left.
    function firstUnpaid(
        Loan memory loan,
        Amortization.Curve memory curve
    ) internal pure returns (uint256) {
        uint256 covered = curve.covered(loan.paid);
        return covered < curve.instalments ? covered + 1 : 0;
    }

    // ------------------------------------------------------------------------------------------------- ending early

    /// What has been earned by now, lateness being assessed.
    /// @param passed How many instalments are past due.
    /// @param due Their sum.
    /// @param balance The principal that is not yet due.
    /// @param interest On it, up to this second.
    struct Earned {
        uint256 passed;
        uint256 due;
        uint256 balance;
        uint256 interest;
    }

    function earned(
        Loan memory loan,
        Amortization.Curve memory curve
    ) internal view returns (Earned memory now_) {
        uint256 k = now_.passed = passed(loan, today(loan));
        now_.due = curve.cumulative(k);
        if (k == curve.instalments) return now_;
        uint256 start = k == 0 ? loan.openedAt : dueTime(loan, k);
        now_.balance = curve.balance(k);
        now_.interest = curve.accrued(k, block.timestamp - start, dueTime(loan, k + 1) - start);
    }

    /// What settling costs now, lateness being assessed; never more than paying the rest as scheduled.
    function payoff(Loan memory loan, Earned memory now_) internal pure returns (uint256) {
        uint256 debt = now_.due + now_.balance + now_.interest + loan.fees;
        if (debt <= loan.paid) return 0;
        debt -= loan.paid;
        uint256 rest = owed(loan);
        return debt < rest ? debt : rest;
    }
}
