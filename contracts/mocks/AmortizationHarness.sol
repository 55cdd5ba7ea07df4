// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Frequency, Schedule} from "../interfaces/ILoanLedger.sol";
import {Amortization} from "../libraries/Amortization.sol";
import {Calendar} from "../libraries/Calendar.sol";

/// @title Opens the libraries to calls, for comparing them with the Python mirror.
contract AmortizationHarness {
    using Amortization for Amortization.Curve;

    function curveOf(
        Schedule schedule,
        uint256 principal,
        uint256 rate,
        uint256 periodsPerYear,
        uint256 n
    ) public pure returns (Amortization.Curve memory) {
        return Amortization.curveOf(schedule, principal, rate, periodsPerYear, n);
    }

    /// Of many level monthly loans at once, what recurs and the sum of all instalments.
    function levelMonthly(
        uint256[] calldata principals,
        uint256[] calldata rates,
        uint256[] calldata ns
    ) external pure returns (uint256[] memory instalments, uint256[] memory totals) {
        instalments = new uint256[](principals.length);
        totals = new uint256[](principals.length);
        for (uint256 i = 0; i < principals.length; ++i) {
            Amortization.Curve memory curve = curveOf(Schedule.Level, principals[i], rates[i], 12, ns[i]);
            (instalments[i], totals[i]) = (curve.instalment, curve.total);
        }
    }

    function balance(Amortization.Curve calldata curve, uint256 k) external pure returns (uint256) {
        return curve.balance(k);
    }

    function cumulative(Amortization.Curve calldata curve, uint256 k) external pure returns (uint256) {
        return curve.cumulative(k);
    }

    function covered(Amortization.Curve calldata curve, uint256 amount) external pure returns (uint256) {
        return curve.covered(amount);
    }

    function smallestRegular(Amortization.Curve calldata curve) external pure returns (uint256) {
        return curve.smallestRegular();
    }

    function accrued(
        Amortization.Curve calldata curve,
        uint256 k,
        uint256 elapsed,
        uint256 length
    ) external pure returns (uint256) {
        return curve.accrued(k, elapsed, length);
    }

    function worth(Amortization.Curve calldata curve, uint256 r) external pure returns (uint256) {
        return curve.worth(r);
    }

    function periodRate(uint256 rate, uint256 periodsPerYear) external pure returns (uint256) {
        return Amortization.periodRate(rate, periodsPerYear);
    }

    function periodRateOfEffective(uint256 rate, uint256 periodsPerYear) external pure returns (uint256) {
        return Amortization.periodRateOfEffective(rate, periodsPerYear);
    }

    function periodsPerYear(Frequency frequency) external pure returns (uint256) {
        return Calendar.periodsPerYear(frequency);
    }

    function dueTime(
        uint256 firstDue,
        Frequency frequency,
        uint256 k,
        int256 offset
    ) external pure returns (uint256) {
        return Calendar.dueTime(firstDue, frequency, k, offset);
    }

    function dueDayToGoOnFrom(
        uint256 firstDue,
        Frequency frequency,
        uint256 k
    ) external pure returns (uint256) {
        return Calendar.dueDayToGoOnFrom(firstDue, frequency, k);
    }

    function passed(
        uint256 firstDue,
        Frequency frequency,
        uint256 n,
        uint256 day
    ) external pure returns (uint256) {
        return Calendar.passed(firstDue, frequency, n, day);
    }
}
