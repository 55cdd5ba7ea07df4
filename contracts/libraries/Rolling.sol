// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title The last few moments of something, newest first, in one word.
/// @notice The newest is 32 bits of UTC seconds, good until February 2106; of each earlier one 20 bits tell how long before the
/// newest it was. Twelve days before it is long ago: forgotten, and told as zero, as is what never was.
/// @dev Mirrored by `duly/domain/notice.py`. No cap looks back further than a week.
library Rolling {
    uint256 private constant NEWEST_BITS = 32;
    uint256 private constant AGE_BITS = 20;
    uint256 private constant LONG_AGO = 2 ** AGE_BITS - 1;
    /// One in each of the first, third and fifth age.
    uint256 private constant EVERY_OTHER = 1 | (1 << (2 * AGE_BITS)) | (1 << (4 * AGE_BITS));

    /// Add a moment, no earlier than the newest, and forget the oldest so that `size` remain.
    function push(uint256 moments, uint256 timestamp, uint256 size) internal pure returns (uint256) {
        unchecked {
            uint256 since = timestamp - uint32(moments);
            // All before is long ago, or never was.
            if (since >= LONG_AGO) return timestamp | ((1 << (NEWEST_BITS + AGE_BITS * (size - 1))) - (1 << NEWEST_BITS));
            uint256 ages = moments >> NEWEST_BITS;
            ages = _older(ages, since) | (_older(ages >> AGE_BITS, since) << AGE_BITS);
            ages = ((ages << AGE_BITS) | since) & ((1 << (AGE_BITS * (size - 1))) - 1);
            return timestamp | (ages << NEWEST_BITS);
        }
    }

    /// The n-th newest moment, from 1.
    function newest(uint256 moments, uint256 n) internal pure returns (uint256) {
        unchecked {
            uint256 last = uint32(moments);
            if (n == 1) return last;
            uint256 age = (moments >> (NEWEST_BITS + AGE_BITS * (n - 2))) & LONG_AGO;
            return age == LONG_AGO ? 0 : last - age;
        }
    }

    /// The first, third and fifth age, all at once, older by `since`. The bit above each tells that it is long ago now.
    /// @dev `since` has no more bits than an age, so a sum ends within the age above it, which was masked out.
    function _older(uint256 ages, uint256 since) private pure returns (uint256) {
        unchecked {
            ages = (ages & EVERY_OTHER * LONG_AGO) + since * EVERY_OTHER;
            uint256 exceed = (ages >> AGE_BITS) & EVERY_OTHER;
            return (ages | exceed * LONG_AGO) & EVERY_OTHER * LONG_AGO;
        }
    }
}
