// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {FixedPointMathLib} from "solady/utils/FixedPointMathLib.sol";

import {Schedule} from "../interfaces/ILoanLedger.sol";

/// @title Repayment schedules in closed form: no loop over instalments.
/// @notice Amounts are in the currency's smallest unit, rates in parts per million a year, a period's rate in ray (1e27).
///
/// With `P` the principal, `n` the number of instalments, `r` the rate of one period, and `B_k` the principal outstanding
/// after k instalments that were paid as scheduled (`B_0 = P`, `B_n = 0`):
///
///   level            instalment A = P * r * q / (q - 1), rounded up, with q = (1 + r)^n; P / n where r is zero
///                    B_k = P * (1 + r)^k - A * ((1 + r)^k - 1) / r, rounded down
///                    the last instalment pays B_{n-1} and its interest, rounded up
///   equal principal  principal part p = P / n, rounded up; B_k = P - k * p; the last part is the rest
///                    the interest of the first k instalments is r * (B_0 + ... + B_{k-1}), their sum rounded up once
///   interest only    instalment A = P * r, rounded up; B_k = P; the last instalment pays the principal as well
///   bullet           one instalment when n periods are over, of P and its interest P * r * n, rounded up; no interest on interest
///
/// Range: principals of 88 bits, rates up to 1,000 % a year, up to 600 instalments, and rate times years at most 16, within
/// which every intermediate value fits. So the arithmetic is unchecked; `tests/foundry` proves it over the range.
/// @dev Mirrored bit for bit by `duly/domain/amortisation.py`.
library Amortization {
    using FixedPointMathLib for uint256;

    /// A schedule, and what its formulas need.
    /// @param schedule A `Schedule` as a number: the compiler checks an enumeration's range each time that it is compared.
    /// @param rate Of one period, in ray.
    /// @param instalments Their number; of a bullet, the number of periods.
    /// @param instalment What recurs: the level instalment, the equal principal part, the interest; of a bullet, all there is.
    /// @param total Sum of all instalments.
    struct Curve {
        uint256 schedule;
        uint256 principal;
        uint256 rate;
        uint256 instalments;
        uint256 instalment;
        uint256 total;
    }

    uint256 internal constant LEVEL = uint256(Schedule.Level);
    uint256 internal constant EQUAL_PRINCIPAL = uint256(Schedule.EqualPrincipal);
    uint256 internal constant INTEREST_ONLY = uint256(Schedule.InterestOnly);
    uint256 internal constant BULLET = uint256(Schedule.Bullet);

    uint256 internal constant RAY = 1e27;
    /// Digits carried below the smallest unit, so that a balance is rounded once and not twice.
    uint256 internal constant GUARD = 1e9;
    uint256 internal constant PPM = 1e6;
    uint256 internal constant MAX_RATE = 10_000_000;
    uint256 internal constant MAX_INSTALMENTS = 600;
    uint256 internal constant MAX_RATE_YEARS = 16;

    /// The amounts are so small that rounding alone repays the loan before its last instalment, or leaves an instalment empty.
    error InstalmentTooCoarse(uint256 principal, uint256 rate, uint256 instalments);
    /// Rate and number of instalments lie outside the range that the formulas are proven for.
    error TermsOutOfRange(uint256 rate, uint256 instalments);

    // ------------------------------------------------------------------------------------------------- schedules

    /// The schedule that principal, rate and number of instalments make.
    function curveOf(
        Schedule schedule,
        uint256 principal,
        uint256 rate,
        uint256 periodsPerYear,
        uint256 n
    ) internal pure returns (Curve memory curve) {
        unchecked {
            if (
                n == 0 || n > MAX_INSTALMENTS || rate > MAX_RATE || rate * n > MAX_RATE_YEARS * periodsPerYear * PPM
            ) revert TermsOutOfRange(rate, n);
            uint256 r = periodRate(rate, periodsPerYear);
            curve = Curve(uint256(schedule), principal, r, n, 0, 0);
            if (schedule == Schedule.Level && r != 0) {
                uint256 q = (RAY + r).rpow(n, RAY);
                curve.instalment = (principal * r).fullMulDivUp(q, (q - RAY) * RAY);
            } else if (schedule == Schedule.Level || schedule == Schedule.EqualPrincipal) {
                curve.instalment = principal.divUp(n);
            } else if (schedule == Schedule.InterestOnly) {
                curve.instalment = interest(principal, r);
            } else {
                curve.instalment = principal + interest(principal * n, r);
            }
            uint256 others = (n - 1) * curve.instalment;
            if (schedule == Schedule.EqualPrincipal && others >= principal) {
                revert InstalmentTooCoarse(principal, rate, n);
            }
            curve.total = totalOf(curve);
            // A last instalment of nothing: level ones were rounded up too far, or there is no interest to pay before the end.
            if (schedule == Schedule.Level && others == curve.total) revert InstalmentTooCoarse(principal, rate, n);
            if (schedule == Schedule.InterestOnly && others == 0 && n != 1) {
                revert InstalmentTooCoarse(principal, rate, n);
            }
        }
    }

    /// The sum of all instalments, from the others of a curve's fields.
    function totalOf(Curve memory curve) internal pure returns (uint256) {
        unchecked {
            uint256 n = curve.instalments;
            if (curve.schedule == LEVEL) {
                uint256 rest = balance(curve, n - 1);
                return (n - 1) * curve.instalment + rest + interest(rest, curve.rate);
            }
            if (curve.schedule == EQUAL_PRINCIPAL) return curve.principal + _interestOfFirst(curve, n);
            if (curve.schedule == INTEREST_ONLY) return curve.principal + n * curve.instalment;
            return curve.instalment;
        }
    }

    /// The principal outstanding after k instalments, when paid as scheduled.
    function balance(Curve memory curve, uint256 k) internal pure returns (uint256) {
        unchecked {
            if (k == 0) return curve.principal;
            if (k >= curve.instalments) return 0;
            if (curve.schedule == EQUAL_PRINCIPAL) return curve.principal - k * curve.instalment;
            if (curve.schedule != LEVEL) return curve.principal;
            if (curve.rate == 0) return curve.principal.zeroFloorSub(k * curve.instalment);
            uint256 q = (RAY + curve.rate).rpow(k, RAY);
            uint256 grown = (curve.principal * GUARD * q) / RAY;
            uint256 repaid = (curve.instalment * GUARD * (q - RAY)) / curve.rate;
            return grown.zeroFloorSub(repaid) / GUARD;
        }
    }

    /// The sum of the first k instalments.
    function cumulative(Curve memory curve, uint256 k) internal pure returns (uint256 sum) {
        unchecked {
            if (k >= curve.instalments) return curve.total;
            if (curve.schedule == BULLET) return 0;
            sum = k * curve.instalment;
            if (curve.schedule == EQUAL_PRINCIPAL) sum += _interestOfFirst(curve, k);
            // A loan that was settled early has a smaller total than its schedule.
            if (sum > curve.total) sum = curve.total;
        }
    }

    /// How many instalments an amount pays in full.
    function covered(Curve memory curve, uint256 amount) internal pure returns (uint256) {
        return coveredBelow(curve, amount, curve.instalments);
    }

    /// The same, where it is known not to pay the first `above`, or that is all of them.
    function coveredBelow(
        Curve memory curve,
        uint256 amount,
        uint256 above
    ) internal pure returns (uint256 k) {
        unchecked {
            uint256 n = curve.instalments;
            if (amount >= curve.total) return n;
            // Rounding can make the last instalment the largest by a few units: it is not paid before the total is.
            if (curve.schedule == BULLET) return n - 1;
            if (curve.schedule != EQUAL_PRINCIPAL) {
                return n == 1 ? 0 : (amount / curve.instalment).min(n - 1);
            }
            // The sum of the first k grows with k: bisection, ten steps at most.
            while (above - k > 1) {
                uint256 middle = (k + above) / 2;
                if (cumulative(curve, middle) <= amount) k = middle;
                else above = middle;
            }
        }
    }

    /// A lower bound, exact to one unit, of the smallest instalment but the last, which takes up what rounding leaves;
    /// where there is only one, that one.
    function smallestRegular(Curve memory curve) internal pure returns (uint256) {
        unchecked {
            uint256 n = curve.instalments;
            if (n == 1) return curve.total;
            if (curve.schedule != EQUAL_PRINCIPAL) return curve.instalment;
            return curve.instalment + (balance(curve, n - 2) * curve.rate) / RAY;
        }
    }

    // ------------------------------------------------------------------------------------------------- interest

    /// Interest on a balance over one whole period, rounded up.
    function interest(uint256 outstanding, uint256 r) internal pure returns (uint256) {
        return (outstanding * r).divUp(RAY);
    }

    /// Interest that a loan has earned beyond its first k instalments, `elapsed` of the next period's `length` seconds being
    /// over; rounded up. A bullet pays none before its end, so that of all earlier periods is in it.
    function accrued(
        Curve memory curve,
        uint256 k,
        uint256 elapsed,
        uint256 length
    ) internal pure returns (uint256) {
        unchecked {
            if (curve.schedule == BULLET) elapsed += k * length;
            return (balance(curve, k) * curve.rate * elapsed).divUp(RAY * length);
        }
    }

    /// A year's rate in parts per million as the rate of one period, in ray.
    function periodRate(uint256 rate, uint256 periodsPerYear) internal pure returns (uint256) {
        unchecked {
            return (RAY * rate) / (PPM * periodsPerYear);
        }
    }

    /// The rate of one period that compounds to a year's effective rate in parts per million: in ray, to twelve digits.
    function periodRateOfEffective(uint256 rate, uint256 periodsPerYear) internal pure returns (uint256) {
        unchecked {
            int256 logarithm = FixedPointMathLib.lnWad(int256((PPM + rate) * 1e12));
            uint256 growth = uint256(FixedPointMathLib.expWad(logarithm / int256(periodsPerYear)));
            // Logarithm and exponential err by a few units of the eighteenth digit: twelve are certain, exact roots included.
            return ((growth + 100) / 1e6) * 1e15 - RAY;
        }
    }

    // ------------------------------------------------------------------------------------------------- present value

    /// What all instalments are worth at opening, discounted at `r` a period, rounded up.
    /// @dev A longer first period is counted as one period, so that the worth is never less than it really is.
    function worth(Curve memory curve, uint256 r) internal pure returns (uint256) {
        unchecked {
            if (r == 0) return curve.total;
            uint256 n = curve.instalments;
            uint256 v = (RAY * RAY).divUp(RAY + r);
            uint256 slack = 2 * n; // more than what `v` and its powers can have been rounded by
            if (curve.schedule == EQUAL_PRINCIPAL) {
                // Each instalment repays principal and the interest on what is outstanding. So discounted at the loan's own rate
                // they are worth the principal, and at a higher one less, by the difference on each balance:
                //   worth = P - (r - rate) * sum of B_{k-1} * v^k
                uint256 vn = v.rpow(n, RAY);
                uint256 low = vn.zeroFloorSub(slack);
                uint256 high = vn + slack;
                // Rounded so that the balances come to no more than they are.
                uint256 annuity = (RAY.zeroFloorSub(high) * RAY) / r;
                uint256 rising = ((((RAY - low) * RAY).divUp(r)).zeroFloorSub(n * low) * RAY).divUp(r);
                uint256 balances = (curve.principal * annuity).zeroFloorSub(curve.instalment * rising) / RAY;
                if (r <= curve.rate) return curve.principal + 1 + (balances * (curve.rate - r)) / RAY;
                return curve.principal + 1 - (balances * (r - curve.rate)) / RAY;
            }
            // All others pay n - 1 times the same, a bullet nothing, and then a last instalment.
            // There are none before a single one; nothing must be rounded up to a unit then.
            uint256 regular = curve.schedule == BULLET || n == 1 ? 0 : curve.instalment;
            uint256 last = curve.total - (n - 1) * regular;
            uint256 power = v.rpow(n - 1, RAY);
            uint256 discount = ((power + slack) * v).divUp(RAY);
            return (regular * (RAY - power.zeroFloorSub(slack))).divUp(r) + (last * discount).divUp(RAY);
        }
    }

    /// Interest in the first k instalments of an equal-principal schedule.
    function _interestOfFirst(Curve memory curve, uint256 k) private pure returns (uint256) {
        unchecked {
            if (k == 0) return 0;
            uint256 balances = k * curve.principal - (curve.instalment * k * (k - 1)) / 2;
            return (balances * curve.rate).divUp(RAY);
        }
    }
}
