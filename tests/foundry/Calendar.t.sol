// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Test} from "forge-std/Test.sol";

import {Frequency} from "contracts/interfaces/ILoanLedger.sol";
import {Calendar} from "contracts/libraries/Calendar.sol";

/// @title Due days, from 1970 to the 22nd century.
contract CalendarTest is Test {
    function test_as_many_due_days_are_passed_as_lie_before_today(
        uint16 firstDue,
        uint8 frequency,
        uint16 instalments,
        uint32 today
    ) public pure {
        Frequency every = Frequency(frequency % 5);
        uint256 n = bound(instalments, 1, 600);
        uint256 day = bound(today, 0, uint256(firstDue) + 600 * 92);
        uint256 passed = Calendar.passed(firstDue, every, n, day);
        assertLe(passed, n);
        if (passed != 0) assertLt(Calendar.dueDay(firstDue, every, passed), day);
        if (passed < n) assertGe(Calendar.dueDay(firstDue, every, passed + 1), day);
    }

    function test_a_due_day_never_comes_before_the_one_before_it(
        uint16 firstDue,
        uint8 frequency,
        uint256 k
    ) public pure {
        Frequency every = Frequency(frequency % 5);
        k = bound(k, 1, 600);
        uint256 day = Calendar.dueDay(firstDue, every, k);
        uint256 next = Calendar.dueDay(firstDue, every, k + 1);
        uint256 apart = 364 / Calendar.periodsPerYear(every);
        // A month has 28 to 31 days, a quarter 89 to 92; the others the same always.
        if (every == Frequency.Monthly || every == Frequency.Quarterly) {
            assertGe(next, day + (apart / 30) * 28);
            assertLe(next, day + (apart / 30) * 31);
        } else {
            assertEq(next, day + apart);
        }
    }

    function test_terms_that_go_on_fall_due_no_earlier(
        uint16 firstDue,
        uint8 frequency,
        uint256 k,
        uint256 later
    ) public pure {
        Frequency every = Frequency(frequency % 5);
        k = bound(k, 1, 300);
        later = bound(later, 1, 300);
        uint256 goesOn = Calendar.dueDayToGoOnFrom(firstDue, every, k);
        uint256 day = Calendar.dueDay(firstDue, every, k + later - 1);
        assertGe(Calendar.dueDay(goesOn, every, later), day);
        assertLe(Calendar.dueDay(goesOn, every, later), day + 3);
    }

    function test_an_instalment_is_due_at_the_last_second_of_its_day(
        uint16 firstDue,
        uint8 frequency,
        uint256 k,
        int8 offset
    ) public pure {
        Frequency every = Frequency(frequency % 5);
        k = bound(k, 1, 600);
        firstDue = uint16(bound(firstDue, 2, type(uint16).max));
        offset = int8(bound(offset, -48, 56));
        uint256 dueTime = Calendar.dueTime(firstDue, every, k, offset);
        uint256 dueDay = Calendar.dueDay(firstDue, every, k);
        assertEq(Calendar.localDay(dueTime, offset), dueDay);
        assertEq(Calendar.localDay(dueTime + 1, offset), dueDay + 1);
        assertEq(Calendar.startOf(dueDay + 1, offset), dueTime + 1);
    }
}
