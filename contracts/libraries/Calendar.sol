// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {DateTimeLib} from "solady/utils/DateTimeLib.sol";

/// @title Due days of a loan, counted in its own calendar.
/// @notice Days are numbered from 1970-01-01. An offset is the calendar's distance from UTC in quarter hours, east positive.
/// An instalment is due at the last second of its due day; a payment in that second is on time.
/// @dev Mirrored by `duly/domain/calendar.py`.
library Calendar {
    int256 internal constant QUARTER_HOUR = 15 minutes;

    /// The calendar day that a moment falls on.
    function localDay(uint256 timestamp, int256 offset) internal pure returns (uint256) {
        return uint256(int256(timestamp) + offset * QUARTER_HOUR) / 1 days;
    }

    /// The first second of a calendar day.
    function startOf(uint256 day, int256 offset) internal pure returns (uint256) {
        return uint256(int256(day * 1 days) - offset * QUARTER_HOUR);
    }

    /// The day that lies a number of months later, clamped to the month's end: 31 January + 1 month = 28 or 29 February.
    function addMonths(uint256 day, uint256 months) internal pure returns (uint256) {
        return DateTimeLib.addMonths(day * 1 days, months) / 1 days;
    }

    /// The day on which the k-th instalment (from 1) is due. Always counted from the first, so a clamped month does not
    /// shorten the later ones.
    function dueDay(uint256 firstDue, uint256 k) internal pure returns (uint256) {
        return addMonths(firstDue, k - 1);
    }

    /// The last second in which a payment of the k-th instalment is on time.
    function dueTime(uint256 firstDue, uint256 k, int256 offset) internal pure returns (uint256) {
        return startOf(dueDay(firstDue, k) + 1, offset) - 1;
    }

    /// How many of `n` due days lie before a calendar day. One division of dates, whatever `n`.
    function passed(uint256 firstDue, uint256 n, uint256 day) internal pure returns (uint256 k) {
        if (day <= firstDue) return 0;
        (uint256 year, uint256 month, uint256 dayOfMonth) = DateTimeLib.epochDayToDate(day);
        (uint256 firstYear, uint256 firstMonth, uint256 dueDayOfMonth) = DateTimeLib.epochDayToDate(firstDue);
        k = (year * 12 + month) - (firstYear * 12 + firstMonth);
        // In a month too short for it the due day is the last, and no day of that month lies after it either way.
        if (dueDayOfMonth < dayOfMonth) ++k;
        if (k > n) k = n;
    }
}
