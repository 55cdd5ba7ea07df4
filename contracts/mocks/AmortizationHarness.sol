// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Amortization} from "../libraries/Amortization.sol";
import {Calendar} from "../libraries/Calendar.sol";

/// @title Opens the libraries to calls, for comparing them with the Python mirror.
contract AmortizationHarness {
    function level(
        uint256 principal,
        uint256 rate,
        uint256 periodsPerYear,
        uint256 n
    ) external pure returns (uint256 instalment, uint256 total) {
        return Amortization.level(principal, rate, periodsPerYear, n);
    }

    function balance(
        uint256 principal,
        uint256 instalment,
        uint256 rate,
        uint256 periodsPerYear,
        uint256 k
    ) external pure returns (uint256) {
        return
            Amortization.balance(principal, instalment, Amortization.periodRate(rate, periodsPerYear), k);
    }

    function accrued(
        uint256 outstanding,
        uint256 rate,
        uint256 periodsPerYear,
        uint256 elapsed,
        uint256 length
    ) external pure returns (uint256) {
        return
            Amortization.accrued(outstanding, Amortization.periodRate(rate, periodsPerYear), elapsed, length);
    }

    function dueTime(uint256 firstDue, uint256 k, int256 offset) external pure returns (uint256) {
        return Calendar.dueTime(firstDue, k, offset);
    }

    function passed(uint256 firstDue, uint256 n, uint256 day) external pure returns (uint256) {
        return Calendar.passed(firstDue, n, day);
    }
}
