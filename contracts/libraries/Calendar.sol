// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {DateTimeLib} from "solady/utils/DateTimeLib.sol";

import {Frequency} from "../interfaces/ILoanLedger.sol";

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

    /// How many periods a year has.
    function periodsPerYear(Frequency frequency) internal pure returns (uint256) {
        if (frequency == Frequency.Monthly) return 12;
        if (frequency == Frequency.Quarterly) return 4;
        if (frequency == Frequency.Weekly) return 52;
        return frequency == Frequency.Fortnightly ? 26 : 13;
    }

    /// The day that lies a number of periods later. Months and quarters are clamped to the month's end: 31 January + 1 month
    /// = 28 or 29 February.
    function addPeriods(uint256 day, Frequency frequency, uint256 periods) internal pure returns (uint256) {
        (uint256 months, uint256 days_) = _interval(frequency);
        if (months == 0) return day + days_ * periods;
        return DateTimeLib.addMonths(day * 1 days, months * periods) / 1 days;
    }

    /// The day on which the k-th instalment (from 1) is due. Always counted from the first, so a clamped month does not
    /// shorten the later ones.
    function dueDay(uint256 firstDue, Frequency frequency, uint256 k) internal pure returns (uint256) {
        return addPeriods(firstDue, frequency, k - 1);
    }

    /// The last second in which a payment of the k-th instalment is on time.
    function dueTime(
        uint256 firstDue,
        Frequency frequency,
        uint256 k,
        int256 offset
    ) internal pure returns (uint256) {
        return startOf(dueDay(firstDue, frequency, k) + 1, offset) - 1;
    }

    /// The first due day of a schedule that goes on with the k-th instalment of this one. Where that was clamped to the end of
    /// a short month it is the day after, so that no later due day comes earlier than it would have.
    function dueDayToGoOnFrom(
        uint256 firstDue,
        Frequency frequency,
        uint256 k
    ) internal pure returns (uint256 day) {
        day = dueDay(firstDue, frequency, k);
        (uint256 months, ) = _interval(frequency);
        if (months == 0) return day;
        (, , uint256 wanted) = DateTimeLib.epochDayToDate(firstDue);
        (, , uint256 dayOfMonth) = DateTimeLib.epochDayToDate(day);
        if (dayOfMonth < wanted) ++day;
    }

    /// How many of `n` due days lie before a calendar day. One division of dates, whatever `n`.
    function passed(
        uint256 firstDue,
        Frequency frequency,
        uint256 n,
        uint256 day
    ) internal pure returns (uint256 k) {
        if (day <= firstDue) return 0;
        (uint256 months, uint256 days_) = _interval(frequency);
        if (months == 0) {
            k = (day - firstDue - 1) / days_ + 1;
        } else {
            (uint256 year, uint256 month, uint256 dayOfMonth) = DateTimeLib.epochDayToDate(day);
            (uint256 firstYear, uint256 firstMonth, uint256 dueDayOfMonth) = DateTimeLib.epochDayToDate(firstDue);
            k = (year * 12 + month) - (firstYear * 12 + firstMonth);
            // In a month too short for it the due day is the last, and no day of that month lies after it either way.
            if (dueDayOfMonth < dayOfMonth) ++k;
            k = (k + months - 1) / months;
        }
        if (k > n) k = n;
    }

    /// The interval between two instalments: so many months, or so many days.
    function _interval(Frequency frequency) private pure returns (uint256 months, uint256 days_) {
        if (frequency == Frequency.Monthly) return (1, 0);
        if (frequency == Frequency.Quarterly) return (3, 0);
        if (frequency == Frequency.Weekly) return (0, 7);
        return (0, frequency == Frequency.Fortnightly ? 14 : 28);
    }
}
