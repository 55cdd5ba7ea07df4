// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Frequency, Instalment, Schedule, Status} from "../interfaces/ILoanLedger.sol";
import {Amortization} from "./Amortization.sol";
import {Calendar} from "./Calendar.sol";

/// What a loan is and where it comes from: one storage slot, written at opening and when the loan ends in another way than by
/// being repaid.
/// @param defaulted The instalment whose default the lender marked last; zero where none was.
struct Origin {
    address borrower;
    uint32 openedAt;
    uint32 policy;
    uint16 defaulted;
    Status status;
    bool amends;
}

/// What is owed, to whom and when: three storage slots, all that a payment needs. It writes the last one only.
struct Debt {
    // To whom, and the calendar.
    address lender;
    uint24 firstDue;
    uint16 instalments;
    uint24 rate;
    Schedule schedule;
    Frequency frequency;
    int8 calendarOffset;
    uint8 graceDays;
    // The amounts agreed, and what became of the loan.
    uint80 principal;
    uint80 instalment;
    uint80 lateFee;
    bool assigned;
    bool aggrieved;
    // The two curves.
    uint80 total;
    uint80 paid;
    uint80 fees;
    uint16 assessed;
}

/// @title Where a loan stands: the curve of what is due and the curve of what was paid, and their difference now.
/// The arithmetic is unchecked: `Lending.checkAmounts` has seen to it that no sum can leave 80 bits, and no more is ever paid
/// than is owed.
/// @dev Mirrored by `duly/domain/schedule.py`; what becomes of a loan in an amendment by `duly/domain/amending.py`.
library Loans {
    using Amortization for Amortization.Curve;

    // ------------------------------------------------------------------------------------------------- reading

    /// Fill in a debt from the three words that it is stored in. Solidity packs the fields of a struct from the lowest bit on, in
    /// the order in which they are declared.
    function unpack(
        Debt memory debt,
        uint256 calendar,
        uint256 amounts,
        uint256 curves
    ) internal pure {
        debt.lender = address(uint160(calendar));
        debt.firstDue = uint24(calendar >> 160);
        debt.instalments = uint16(calendar >> 184);
        debt.rate = uint24(calendar >> 200);
        debt.schedule = Schedule(uint8(calendar >> 224));
        debt.frequency = Frequency(uint8(calendar >> 232));
        debt.calendarOffset = int8(uint8(calendar >> 240));
        debt.graceDays = uint8(calendar >> 248);
        debt.principal = uint80(amounts);
        debt.instalment = uint80(amounts >> 80);
        debt.lateFee = uint80(amounts >> 160);
        debt.assigned = uint8(amounts >> 240) != 0;
        debt.aggrieved = uint8(amounts >> 248) != 0;
        debt.total = uint80(curves);
        debt.paid = uint80(curves >> 80);
        debt.fees = uint80(curves >> 160);
        debt.assessed = uint16(curves >> 240);
    }

    /// Fill in an origin from its word.
    function unpack(Origin memory origin, uint256 opening) internal pure {
        origin.borrower = address(uint160(opening));
        origin.openedAt = uint32(opening >> 160);
        origin.policy = uint32(opening >> 192);
        origin.defaulted = uint16(opening >> 224);
        origin.status = Status(uint8(opening >> 240));
        origin.amends = uint8(opening >> 248) != 0;
    }

    // ------------------------------------------------------------------------------------------------- status

    /// Everything that is still to be paid, late fees as last assessed.
    function owed(Debt memory debt) internal pure returns (uint256) {
        unchecked {
            return uint256(debt.total) + debt.fees - debt.paid;
        }
    }

    /// Where it stands, derived from the curves.
    function statusOf(Debt memory debt, Origin memory origin) internal pure returns (Status) {
        if (origin.status == Status.Cancelled) return Status.None;
        if (origin.status != Status.Active) return origin.status;
        if (owed(debt) == 0) return Status.Repaid;
        if (origin.defaulted == 0) return Status.Active;
        return curveOf(debt).covered(debt.paid) < origin.defaulted ? Status.Defaulted : Status.Active;
    }

    // ------------------------------------------------------------------------------------------------- what is due

    function curveOf(Debt memory debt) internal pure returns (Amortization.Curve memory curve) {
        draw(debt, curve);
    }

    /// The same, where there is a curve to fill in.
    function draw(Debt memory debt, Amortization.Curve memory curve) internal pure {
        curve.schedule = uint256(debt.schedule);
        curve.principal = debt.principal;
        curve.rate = Amortization.periodRate(debt.rate, Calendar.periodsPerYear(debt.frequency));
        curve.instalments = debt.instalments;
        curve.instalment = debt.instalment;
        curve.total = debt.total;
    }

    function today(Debt memory debt) internal view returns (uint256) {
        return Calendar.localDay(block.timestamp, debt.calendarOffset);
    }

    /// How many instalments fell due before a day.
    function passed(Debt memory debt, uint256 day) internal pure returns (uint256) {
        return Calendar.passed(debt.firstDue, debt.frequency, debt.instalments, day);
    }

    function dueDay(Debt memory debt, uint256 k) internal pure returns (uint256) {
        return Calendar.dueDay(debt.firstDue, debt.frequency, k);
    }

    function dueTime(Debt memory debt, uint256 k) internal pure returns (uint256) {
        return Calendar.dueTime(debt.firstDue, debt.frequency, k, debt.calendarOffset);
    }

    /// The k-th row of the schedule.
    function row(Debt memory debt, uint256 k) internal pure returns (Instalment memory found) {
        unchecked {
            Amortization.Curve memory curve = curveOf(debt);
            // Of a loan that ended early the total is smaller.
            curve.total = curve.totalOf();
            found.dueAt = dueTime(debt, k);
            found.amount = curve.cumulative(k) - curve.cumulative(k - 1);
            found.balance = curve.balance(k);
            found.principal = curve.balance(k - 1) - found.balance;
            found.interest = found.amount - found.principal;
        }
    }

    /// The next instalment to fall due, its due day, and what is missing so that it will be paid, instalments before it included.
    /// Zero after the last, and where nothing is owed.
    /// @param past How many instalments are past due.
    function next(
        Debt memory debt,
        Amortization.Curve memory curve,
        uint256 past
    ) internal pure returns (uint256 k, uint256 day, uint256 missing) {
        unchecked {
            if (past == curve.instalments || owed(debt) == 0) return (0, 0, 0);
            k = curve.schedule == Amortization.BULLET ? curve.instalments : past + 1;
            day = dueDay(debt, k);
            uint256 due = curve.cumulative(k);
            if (due > debt.paid) missing = due - debt.paid;
        }
    }

    // ------------------------------------------------------------------------------------------------- lateness

    /// Unpaid instalments that are past due, and unpaid fees. Money goes to the former, then to the latter, then ahead.
    /// @param due The sum of all instalments that are past due.
    function arrears(Debt memory debt, uint256 due) internal pure returns (uint256 overdue, uint256 fees) {
        unchecked {
            if (debt.paid <= due) return (due - debt.paid, debt.fees);
            uint256 beyond = debt.paid - due;
            return (0, beyond < debt.fees ? debt.fees - beyond : 0);
        }
    }

    /// Charge the late fees of instalments missed since the last assessment: `first` to `last`, none where `last` is zero.
    /// @dev To be done before money moves: until now the curve of payments was flat, so that judging all grace periods that
    /// ended meanwhile at once is the same as judging each at its end.
    /// @param restUntil Until when a grievance lets late fees rest: what was missed by then, and not charged before it was lodged, is
    /// never charged.
    /// @return first The first that was missed.
    /// @return last The last that was missed.
    /// @return past How many instalments are past due, missed or not.
    /// @return due Their sum.
    function assess(
        Debt memory debt,
        Amortization.Curve memory curve,
        uint256 restUntil
    ) internal view returns (uint256 first, uint256 last, uint256 past, uint256 due) {
        unchecked {
            uint256 day = today(debt);
            past = passed(debt, day);
            if (past != 0) due = curve.cumulative(past);
            // Most are not even past due unpaid, and the grace periods need no look.
            if (past <= debt.assessed || debt.paid >= due) return (0, 0, past, due);
            uint256 judged = passed(debt, day - debt.graceDays);
            if (judged <= debt.assessed) return (0, 0, past, due);
            if (judged != past && debt.paid >= curve.cumulative(judged)) return (0, 0, past, due);
            first = curve.coveredBelow(debt.paid, past);
            if (debt.assessed > first) first = debt.assessed;
            if (restUntil != 0) {
                uint256 free = rested(debt, restUntil);
                if (free > first) first = free;
                if (first >= judged) return (0, 0, past, due);
            }
            ++first;
            last = judged;
            debt.assessed = uint16(last);
            debt.fees += uint80((last - first + 1) * debt.lateFee);
        }
    }

    /// How many instalments' grace periods ended by now, or by the end of a rest of late fees that is over: what was not charged
    /// of these before the rest never is.
    function rested(Debt memory debt, uint256 restUntil) internal view returns (uint256) {
        unchecked {
            uint256 end = restUntil < block.timestamp ? restUntil : block.timestamp;
            return passed(debt, Calendar.localDay(end, debt.calendarOffset) - debt.graceDays);
        }
    }

    /// The number of the first instalment that is not fully paid; zero when none is left.
    /// @param past How many instalments are past due.
    /// @param due Their sum.
    function firstUnpaid(
        Debt memory debt,
        Amortization.Curve memory curve,
        uint256 past,
        uint256 due
    ) internal pure returns (uint256) {
        uint256 covered = curve.coveredBelow(debt.paid, debt.paid < due ? past : curve.instalments);
        return covered < curve.instalments ? covered + 1 : 0;
    }

    // ------------------------------------------------------------------------------------------------- ending early

    /// What has been earned by now.
    /// @param due The sum of all instalments that are past due.
    /// @param balance The principal that is not yet due.
    /// @param interest On it, up to this second.
    struct Earned {
        uint256 due;
        uint256 balance;
        uint256 interest;
    }

    /// @param past How many instalments are past due.
    /// @param due Their sum.
    function earned(
        Debt memory debt,
        Amortization.Curve memory curve,
        Origin storage origin,
        uint256 past,
        uint256 due
    ) internal view returns (Earned memory now_) {
        unchecked {
            now_.due = due;
            if (past == curve.instalments) return now_;
            uint256 start = past == 0 ? origin.openedAt : dueTime(debt, past);
            now_.balance = curve.balance(past);
            now_.interest = curve.accrued(past, block.timestamp - start, dueTime(debt, past + 1) - start);
        }
    }

    /// What settling costs now, lateness being assessed; never more than paying the rest as scheduled.
    function payoff(Debt memory debt, Earned memory now_) internal pure returns (uint256) {
        unchecked {
            uint256 sum = now_.due + now_.balance + now_.interest;
            if (sum > debt.total) sum = debt.total;
            sum += debt.fees;
            return sum > debt.paid ? sum - debt.paid : 0;
        }
    }
}
