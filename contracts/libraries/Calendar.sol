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

    // Tables of one byte for each frequency, the first last: four-weekly, fortnightly, weekly, quarterly, monthly.
    uint256 private constant PERIODS_PER_YEAR = 0x0d1a34040c; // 13, 26, 52, 4, 12
    /// An interval is so many months, or else so many days.
    uint256 private constant MONTHS = 0x0000000301; // -, -, -, 3, 1
    uint256 private constant DAYS = 0x1c0e070000; // 28, 14, 7, -, -

    /// The calendar day that a moment falls on.
    function localDay(uint256 timestamp, int256 offset) internal pure returns (uint256) {
        unchecked {
            return uint256(int256(timestamp) + offset * QUARTER_HOUR) / 1 days;
        }
    }

    /// The first second of a calendar day.
    function startOf(uint256 day, int256 offset) internal pure returns (uint256) {
        unchecked {
            return uint256(int256(day * 1 days) - offset * QUARTER_HOUR);
        }
    }

    /// How many periods a year has.
    function periodsPerYear(Frequency frequency) internal pure returns (uint256) {
        return _pick(PERIODS_PER_YEAR, frequency);
    }

    /// The day that lies a number of periods later. Months and quarters are clamped to the month's end: 31 January + 1 month
    /// = 28 or 29 February.
    function addPeriods(uint256 day, Frequency frequency, uint256 periods) internal pure returns (uint256) {
        unchecked {
            uint256 months = _pick(MONTHS, frequency);
            if (months == 0) return day + _pick(DAYS, frequency) * periods;
            return DateTimeLib.addMonths(day * 1 days, months * periods) / 1 days;
        }
    }

    /// The day on which the k-th instalment (from 1) is due. Always counted from the first, so a clamped month does not
    /// shorten the later ones.
    function dueDay(uint256 firstDue, Frequency frequency, uint256 k) internal pure returns (uint256) {
        unchecked {
            return addPeriods(firstDue, frequency, k - 1);
        }
    }

    /// The last second in which a payment of the k-th instalment is on time.
    function dueTime(
        uint256 firstDue,
        Frequency frequency,
        uint256 k,
        int256 offset
    ) internal pure returns (uint256) {
        unchecked {
            return startOf(dueDay(firstDue, frequency, k) + 1, offset) - 1;
        }
    }

    /// The first due day of a schedule that goes on with the k-th instalment of this one. Where that was clamped to the end of
    /// a short month it is the day after, so that no later due day comes earlier than it would have.
    function dueDayToGoOnFrom(
        uint256 firstDue,
        Frequency frequency,
        uint256 k
    ) internal pure returns (uint256 day) {
        unchecked {
            day = dueDay(firstDue, frequency, k);
            if (_pick(MONTHS, frequency) == 0) return day;
            (, , uint256 wanted) = DateTimeLib.epochDayToDate(firstDue);
            (, , uint256 dayOfMonth) = DateTimeLib.epochDayToDate(day);
            if (dayOfMonth < wanted) ++day;
        }
    }

    /// How many of `n` due days lie before a calendar day. One division of dates, whatever `n`.
    function passed(
        uint256 firstDue,
        Frequency frequency,
        uint256 n,
        uint256 day
    ) internal pure returns (uint256 k) {
        unchecked {
            if (day <= firstDue) return 0;
            uint256 months = _pick(MONTHS, frequency);
            if (months == 0) {
                k = (day - firstDue - 1) / _pick(DAYS, frequency) + 1;
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
    }

    /// The byte of a table that belongs to a frequency; there are fewer of these than a word has bytes.
    function _pick(uint256 table, Frequency frequency) private pure returns (uint256) {
        unchecked {
            return (table >> (8 * uint256(frequency))) & 0xff;
        }
    }
}
