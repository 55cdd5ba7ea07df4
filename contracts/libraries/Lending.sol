// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Terms} from "../interfaces/IPolicyBook.sol";
import {AprConvention, IPolicyBook, LendingLimits} from "../interfaces/IPolicyBook.sol";
import {Amortization} from "./Amortization.sol";
import {Calendar} from "./Calendar.sol";

/// @title What terms must keep to, before they become a loan.
/// @dev Mirrored by `duly/domain/lending.py`.
library Lending {
    using Amortization for Amortization.Curve;

    int8 internal constant WESTERNMOST = -48;
    int8 internal constant EASTERNMOST = 56;
    /// A longer first period is a matter of months; a date further away than this is a mistake.
    uint256 internal constant LONGEST_FIRST_PERIOD = 366;
    uint256 internal constant BASIS_POINTS = 10_000;

    /// The schedule that the terms make.
    function curveOf(Terms calldata terms) internal pure returns (Amortization.Curve memory) {
        if (terms.principal == 0) revert IPolicyBook.ZeroPrincipal();
        return
            Amortization.curveOf(
                terms.schedule,
                terms.principal,
                terms.rate,
                Calendar.periodsPerYear(terms.frequency),
                terms.instalments
            );
    }

    /// The first instalment is due at least one whole interval after today, in a calendar that exists.
    function checkCalendar(Terms calldata terms) internal view {
        if (terms.calendarOffset < WESTERNMOST || terms.calendarOffset > EASTERNMOST) {
            revert IPolicyBook.InvalidCalendarOffset(terms.calendarOffset, WESTERNMOST, EASTERNMOST);
        }
        uint256 today = Calendar.localDay(block.timestamp, terms.calendarOffset);
        uint256 earliest = Calendar.addPeriods(today, terms.frequency, 1);
        if (terms.firstDue < earliest) revert IPolicyBook.FirstDueTooEarly(terms.firstDue, earliest);
        checkNotTooLate(terms, today);
    }

    function checkNotTooLate(Terms calldata terms, uint256 today) internal pure {
        uint256 latest = today + LONGEST_FIRST_PERIOD;
        if (terms.firstDue > latest) revert IPolicyBook.FirstDueTooLate(terms.firstDue, latest);
    }

    /// USURY-1, FEES-1: the price is within the policy's limits.
    function checkPrice(
        Terms calldata terms,
        Amortization.Curve memory curve,
        LendingLimits memory limits
    ) internal pure {
        if (terms.originationFee >= terms.principal) {
            revert IPolicyBook.OriginationFeeTooLarge(terms.originationFee, terms.principal);
        }
        uint256 received = terms.principal - terms.originationFee;
        uint256 periods = Calendar.periodsPerYear(terms.frequency);
        uint256 cap = limits.aprConvention == AprConvention.Effective
            ? Amortization.periodRateOfEffective(limits.aprCap, periods)
            : Amortization.periodRate(limits.aprCap, periods);
        // The annual percentage rate is at most the cap exactly when this holds: no rate has to be searched for.
        uint256 worth = curve.worth(cap);
        if (worth > received) revert IPolicyBook.AprAboveCap(worth, received, limits.aprCap);
        if (terms.graceDays < limits.minGraceDays) {
            revert IPolicyBook.GraceTooShort(terms.graceDays, limits.minGraceDays);
        }
        uint256 most = highestLateFee(curve, limits);
        if (terms.lateFee > most) revert IPolicyBook.LateFeeAboveCap(terms.lateFee, most);
    }

    /// The policy's share of the smallest regular instalment.
    function highestLateFee(
        Amortization.Curve memory curve,
        LendingLimits memory limits
    ) internal pure returns (uint256) {
        return (curve.smallestRegular() * limits.lateFeeCap) / BASIS_POINTS;
    }

    /// However late the borrower, the ledger's amounts can hold the debt and every fee: nothing overflows later.
    function checkAmounts(
        Amortization.Curve memory curve,
        uint256 lateFee,
        uint256 feesOwed
    ) internal pure {
        uint256 most = curve.total + feesOwed + lateFee * curve.instalments;
        if (most > type(uint80).max) revert IPolicyBook.AmountTooLarge(most, type(uint80).max);
    }
}
