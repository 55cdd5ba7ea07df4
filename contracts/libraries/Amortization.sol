// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {FixedPointMathLib} from "solady/utils/FixedPointMathLib.sol";

/// @title Level-instalment schedules in closed form: no loop over instalments.
/// @notice Amounts are in the currency's smallest unit, rates in parts per million a year.
///
/// With `r` the rate of one period, `q = (1 + r)^n`:
///   instalment        A   = P * r * q / (q - 1), rounded up
///   balance after k   B_k = P * (1 + r)^k - A * ((1 + r)^k - 1) / r, rounded down; B_0 = P, B_n = 0
///   principal part        = B_{k-1} - B_k, so that the parts sum to P whatever the rounding
///   last instalment       = B_{n-1} and its interest, rounded up
///
/// Range: rates up to 1,000 % a year, up to 600 instalments, and rate times years at most 16, within which every
/// intermediate value fits.
/// @dev Mirrored bit for bit by `duly/domain/schedule.py`.
library Amortization {
    using FixedPointMathLib for uint256;

    uint256 internal constant RAY = 1e27;
    /// Digits carried below the smallest unit, so that a balance is rounded once and not twice.
    uint256 internal constant GUARD = 1e9;
    uint256 internal constant PPM = 1e6;
    uint256 internal constant MAX_RATE = 10_000_000;
    uint256 internal constant MAX_INSTALMENTS = 600;
    uint256 internal constant MAX_RATE_YEARS = 16;

    /// The instalments are so small that rounding them up alone repays the loan before the last one.
    error InstalmentTooCoarse(uint256 principal, uint256 rate, uint256 instalments);
    /// Rate and number of instalments lie outside the range that the formulas are proven for.
    error TermsOutOfRange(uint256 rate, uint256 instalments);

    /// The level instalment and the sum of all instalments.
    function level(
        uint256 principal,
        uint256 rate,
        uint256 periodsPerYear,
        uint256 n
    ) internal pure returns (uint256 instalment, uint256 total) {
        if (
            n == 0 || n > MAX_INSTALMENTS || rate > MAX_RATE || rate * n > MAX_RATE_YEARS * periodsPerYear * PPM
        ) revert TermsOutOfRange(rate, n);
        uint256 r = periodRate(rate, periodsPerYear);
        if (r == 0) {
            instalment = principal.divUp(n);
        } else {
            uint256 q = (RAY + r).rpow(n, RAY);
            instalment = (principal * r).fullMulDivUp(q, (q - RAY) * RAY);
        }
        uint256 rest = balance(principal, instalment, r, n - 1);
        if (rest == 0) revert InstalmentTooCoarse(principal, rate, n);
        total = (n - 1) * instalment + rest + interest(rest, r);
    }

    /// The principal outstanding after the k-th of the instalments, all but the last of which are `instalment`.
    /// @dev `k` is less than the number of instalments: after the last the balance is zero by definition.
    function balance(uint256 principal, uint256 instalment, uint256 r, uint256 k) internal pure returns (uint256) {
        if (r == 0) return principal.zeroFloorSub(k * instalment);
        uint256 q = (RAY + r).rpow(k, RAY);
        uint256 grown = (principal * GUARD).fullMulDiv(q, RAY);
        uint256 repaid = (instalment * GUARD).fullMulDiv(q - RAY, r);
        return grown.zeroFloorSub(repaid) / GUARD;
    }

    /// Interest on a balance over one whole period, rounded up.
    function interest(uint256 outstanding, uint256 r) internal pure returns (uint256) {
        return outstanding.fullMulDivUp(r, RAY);
    }

    /// Interest on a balance over `elapsed` of a period's `length` seconds, rounded up.
    function accrued(
        uint256 outstanding,
        uint256 r,
        uint256 elapsed,
        uint256 length
    ) internal pure returns (uint256) {
        return (outstanding * r).fullMulDivUp(elapsed, RAY * length);
    }

    /// A year's rate in parts per million as the rate of one period, in ray.
    function periodRate(uint256 rate, uint256 periodsPerYear) internal pure returns (uint256) {
        return (RAY * rate) / (PPM * periodsPerYear);
    }

    /// What a nominal rate comes to when it is compounded over a year, in parts per million, rounded up.
    function effectiveRate(uint256 rate, uint256 periodsPerYear) internal pure returns (uint256) {
        uint256 growth = (RAY + periodRate(rate, periodsPerYear)).rpow(periodsPerYear, RAY) - RAY;
        return (growth * PPM).divUp(RAY);
    }
}
