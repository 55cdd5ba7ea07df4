// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title The last few moments of something, newest first, in one word.
/// @notice A moment is 32 bits of UTC seconds, good until February 2106; zero means never.
/// @dev Mirrored by `duly/domain/notice.py`.
library Rolling {
    uint256 private constant BITS = 32;
    uint256 private constant MASK = type(uint32).max;

    /// Add a moment, and forget the oldest so that `size` remain.
    function push(uint256 moments, uint256 timestamp, uint256 size) internal pure returns (uint256) {
        return ((moments << BITS) | timestamp) & ((1 << (BITS * size)) - 1);
    }

    /// The n-th newest moment, from 1.
    function newest(uint256 moments, uint256 n) internal pure returns (uint256) {
        return (moments >> (BITS * (n - 1))) & MASK;
    }
}
