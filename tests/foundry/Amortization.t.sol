// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Test} from "forge-std/Test.sol";

import {Frequency, Schedule} from "contracts/interfaces/ILoanLedger.sol";
import {Amortization} from "contracts/libraries/Amortization.sol";
import {Calendar} from "contracts/libraries/Calendar.sol";

/// @title The sums of schedules, over all terms in range.
/// @notice What is compared with is worked out here instalment by instalment, in checked arithmetic, rounded once down and once
/// up: the exact value lies between the two.
contract AmortizationTest is Test {
    using Amortization for Amortization.Curve;

    uint256 private constant RAY = 1e27;
    uint256 private constant PPM = 1e6;
    /// Digits that the sums here carry below the smallest unit.
    uint256 private constant DIGITS = 1e12;

    /// What terms come down to.
    struct Given {
        uint8 schedule;
        uint88 principal;
        uint24 rate;
        uint8 frequency;
        uint16 instalments;
    }

    // ------------------------------------------------------------------------------------------------- one row

    function test_ledger_1_no_row_of_a_schedule_is_less_than_nothing(Given memory given, uint256 k) public view {
        Amortization.Curve memory curve = drawn(given);
        k = bound(k, 1, curve.instalments);
        assertEq(curve.balance(0), curve.principal);
        assertEq(curve.balance(curve.instalments), 0);
        assertEq(curve.cumulative(0), 0);
        assertEq(curve.cumulative(curve.instalments), curve.total);
        uint256 repaid = curve.balance(k - 1) - curve.balance(k);
        uint256 amount = curve.cumulative(k) - curve.cumulative(k - 1);
        assertGe(amount, repaid, "interest");
        assertEq(amount == 0, curve.schedule == Amortization.BULLET && k < curve.instalments, "empty");
    }

    function test_a_row_bears_the_interest_of_the_balance_before_it(Given memory given, uint256 k) public view {
        Amortization.Curve memory curve = drawn(given);
        k = bound(k, 1, curve.instalments);
        uint256 before = curve.balance(k - 1);
        uint256 interest = curve.cumulative(k) - curve.cumulative(k - 1) - (before - curve.balance(k));
        uint256 exact = (before * curve.rate) / RAY;
        if (curve.schedule == Amortization.BULLET) {
            exact = k < curve.instalments ? 0 : (curve.principal * curve.rate * curve.instalments) / RAY;
        }
        assertApproxEqAbs(interest, exact, unit(curve));
    }

    function test_what_recurs_is_the_same_in_every_row_but_the_last(Given memory given, uint256 k) public view {
        Amortization.Curve memory curve = drawn(given);
        if (curve.instalments == 1) return;
        k = bound(k, 1, curve.instalments - 1);
        uint256 amount = curve.cumulative(k) - curve.cumulative(k - 1);
        if (curve.schedule == Amortization.EQUAL_PRINCIPAL) {
            assertEq(curve.balance(k - 1) - curve.balance(k), curve.instalment);
        } else if (curve.schedule != Amortization.BULLET) {
            assertEq(amount, curve.instalment);
        }
    }

    function test_instalments_are_counted_as_covered_when_their_sum_is_paid(
        Given memory given,
        uint256 amount,
        uint256 total,
        uint256 above
    ) public view {
        Amortization.Curve memory curve = drawn(given);
        // A loan that ended early has a smaller total than its schedule.
        curve.total = bound(total, 1, curve.total);
        amount = bound(amount, 0, curve.total + 1);
        uint256 k = curve.covered(amount);
        assertLe(curve.cumulative(k), amount);
        if (k < curve.instalments) assertGt(curve.cumulative(k + 1), amount);
        else assertEq(k, curve.instalments);
        // Whoever knows some that it does not pay finds the same.
        if (k < curve.instalments) above = bound(above, k + 1, curve.instalments);
        else above = k;
        assertEq(curve.coveredBelow(amount, above), k);
    }

    function test_no_row_but_the_last_is_smaller_than_the_smallest(Given memory given, uint256 k) public view {
        Amortization.Curve memory curve = drawn(given);
        uint256 smallest = curve.smallestRegular();
        if (curve.instalments == 1 || curve.schedule == Amortization.BULLET) {
            assertEq(smallest, curve.total);
            return;
        }
        k = bound(k, 1, curve.instalments - 1);
        assertLe(smallest, curve.cumulative(k) - curve.cumulative(k - 1));
        k = curve.instalments - 1;
        assertApproxEqAbs(smallest, curve.cumulative(k) - curve.cumulative(k - 1), 1);
    }

    function test_interest_to_the_second_grows_to_that_of_the_period(
        Given memory given,
        uint256 k,
        uint256 elapsed,
        uint256 length
    ) public view {
        Amortization.Curve memory curve = drawn(given);
        k = bound(k, 0, curve.instalments - 1);
        length = bound(length, 1 days, 366 days);
        elapsed = bound(elapsed, 1, length);
        uint256 periods = curve.schedule == Amortization.BULLET ? k : 0;
        uint256 perPeriod = curve.balance(k) * curve.rate;
        assertEq(curve.accrued(k, 0, length), divUp(perPeriod * periods, RAY));
        assertEq(curve.accrued(k, length, length), divUp(perPeriod * (periods + 1), RAY));
        uint256 accrued = curve.accrued(k, elapsed, length);
        assertEq(accrued, divUp(perPeriod * (periods * length + elapsed), RAY * length));
        assertGe(accrued, curve.accrued(k, elapsed - 1, length));
    }

    // ------------------------------------------------------------------------------------------------- all rows

    function test_ledger_1_a_schedule_repays_the_principal_exactly(Given memory given) public view {
        Amortization.Curve memory curve = drawn(given);
        uint256 repaid;
        uint256 paid;
        // The exact balance, between two bounds.
        uint256 least = curve.principal * DIGITS;
        uint256 most = least;
        uint256 near; // what the rounding of an instalment changes, and grows to
        for (uint256 k = 1; k <= curve.instalments; ++k) {
            uint256 amount = curve.cumulative(k) - curve.cumulative(k - 1);
            repaid += curve.balance(k - 1) - curve.balance(k);
            paid += amount;
            if (curve.schedule == Amortization.BULLET) continue;
            least = lessOrNothing(least + (least * curve.rate) / RAY, amount * DIGITS);
            most = lessOrNothing(most + divUp(most * curve.rate, RAY), amount * DIGITS);
            if (k == curve.instalments) break;
            near += divUp(near * curve.rate, RAY) + unit(curve);
            assertGe((curve.balance(k) + near) * DIGITS, least);
            assertLe(curve.balance(k) * DIGITS, most + near * DIGITS);
        }
        assertEq(repaid, curve.principal);
        assertEq(paid, curve.total);
    }

    function test_usury_1_a_schedule_is_worth_its_payments_discounted(Given memory given, uint32 cap) public view {
        Amortization.Curve memory curve = drawn(given);
        uint256 periods = Calendar.periodsPerYear(Frequency(given.frequency));
        uint256 r = Amortization.periodRate(cap >> (cap % 24), periods);
        uint256 worth = curve.worth(r);
        uint256 least;
        uint256 most;
        for (uint256 k = curve.instalments; k > 0; --k) {
            uint256 amount = (curve.cumulative(k) - curve.cumulative(k - 1)) * DIGITS;
            least = ((least + amount) * RAY) / (RAY + r);
            most = divUp((most + amount) * RAY, RAY + r);
        }
        uint256 near = 2 * unit(curve) + r / RAY;
        assertLe(worth, most / DIGITS + near, "too far");
        // No loan hands out more than its principal: above that it does not matter by how much.
        if (worth <= curve.principal) assertGe(worth * DIGITS, least, "rounded against the borrower");
    }

    // ------------------------------------------------------------------------------------------------- the range

    /// Nothing overflows and nothing divides by zero: inside the range only amounts that are too small are refused.
    function test_every_principal_worth_mentioning_has_a_schedule(Given memory given) public {
        inRange(given);
        try this.curveOf(given) returns (Amortization.Curve memory curve) {
            assertGe(curve.total, curve.principal);
        } catch (bytes memory reason) {
            assertEq(bytes4(reason), Amortization.InstalmentTooCoarse.selector);
            bool withoutInterest = given.rate == 0 && Schedule(given.schedule) == Schedule.InterestOnly;
            if (!withoutInterest) assertLt(given.principal, 10_000e6);
        }
    }

    function test_outside_the_range_there_is_no_schedule(Given memory given, uint8 way) public {
        inRange(given);
        if (way % 4 == 0) given.instalments = 0;
        if (way % 4 == 1) given.instalments = uint16(bound(given.instalments, 601, type(uint16).max));
        if (way % 4 == 2) given.rate = uint24(bound(given.rate, 10 * PPM + 1, type(uint24).max));
        if (way % 4 == 3) {
            // More than sixteen years' rates.
            uint256 product = 16 * PPM * Calendar.periodsPerYear(Frequency(given.frequency));
            given.rate = uint24(bound(given.rate, product / 600 + 1, 10 * PPM));
            given.instalments = uint16(bound(given.instalments, product / given.rate + 1, 601));
        }
        vm.expectRevert(
            abi.encodeWithSelector(Amortization.TermsOutOfRange.selector, given.rate, given.instalments)
        );
        this.curveOf(given);
    }

    // ------------------------------------------------------------------------------------------------- effective rates

    function test_usury_1_an_effective_rate_compounds_from_its_periods(uint32 rate, uint8 frequency) public pure {
        uint256 periods = Calendar.periodsPerYear(Frequency(frequency % 5));
        uint256 r = Amortization.periodRateOfEffective(rate, periods);
        uint256 compounded = RAY;
        for (uint256 i = 0; i < periods; ++i) compounded = (compounded * (RAY + r)) / RAY;
        assertApproxEqRel(compounded, RAY + (rate * RAY) / PPM, 1e18 / 1e10);
    }

    function test_an_exact_root_is_found_exactly() public pure {
        assertEq(Amortization.periodRateOfEffective(464_100, 4), RAY / 10);
        assertEq(Amortization.periodRateOfEffective(0, 12), 0);
    }

    // ------------------------------------------------------------------------------------------------- helpers

    function curveOf(Given memory given) external pure returns (Amortization.Curve memory) {
        return
            Amortization.curveOf(
                Schedule(given.schedule),
                given.principal,
                given.rate,
                Calendar.periodsPerYear(Frequency(given.frequency)),
                given.instalments
            );
    }

    /// Terms in range, of any size: as many with a principal of three digits as of twenty.
    function inRange(Given memory given) private pure {
        given.schedule %= 4;
        given.frequency %= 5;
        given.principal = uint88(bound(given.principal >> (given.principal % 88), 1, type(uint88).max - 10_000e6));
        given.rate = uint24(bound(given.rate >> (given.rate % 24), 0, 10 * PPM));
        uint256 most = 600;
        if (given.rate != 0) {
            most = (16 * PPM * Calendar.periodsPerYear(Frequency(given.frequency))) / given.rate;
            if (most > 600) most = 600;
        }
        given.instalments = uint16(bound(given.instalments, 1, most));
    }

    /// The curve of terms in range.
    function drawn(Given memory given) private view returns (Amortization.Curve memory) {
        inRange(given);
        try this.curveOf(given) returns (Amortization.Curve memory curve) {
            return curve;
        } catch {
            // Too small an amount.
            given.principal += 10_000e6;
            if (given.rate == 0) given.rate = 1;
            return this.curveOf(given);
        }
    }

    /// By how much rounding may change a row: a unit or two, and their interest; more where amounts have more than eighteen
    /// digits.
    function unit(Amortization.Curve memory curve) private pure returns (uint256) {
        return 2 + curve.rate / RAY + curve.principal / 1e18;
    }

    function lessOrNothing(uint256 amount, uint256 less) private pure returns (uint256) {
        return amount > less ? amount - less : 0;
    }

    function divUp(uint256 dividend, uint256 divisor) private pure returns (uint256) {
        return (dividend + divisor - 1) / divisor;
    }
}
