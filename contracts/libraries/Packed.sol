// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// A policy's `ContactLimits` as the policy book stores them, in one word.
type PackedLimits is uint256;
/// A borrower's `Profile` as the registry of consents stores it, in one word.
type PackedProfile is uint256;

using Packed for PackedLimits global;
using Packed for PackedProfile global;

/// @title What the gate asks about every notice, read field by field out of the word that it is stored in.
/// @notice Passing a struct from contract to contract costs more than storing it. Solidity packs the fields of a struct from the
/// lowest bit on, in the order in which they are declared.
library Packed {
    // ContactLimits

    function opens(PackedLimits limits) internal pure returns (uint256) {
        return uint16(PackedLimits.unwrap(limits));
    }

    function closes(PackedLimits limits) internal pure returns (uint256) {
        return uint16(PackedLimits.unwrap(limits) >> 16);
    }

    function lead(PackedLimits limits) internal pure returns (uint256) {
        return uint16(PackedLimits.unwrap(limits) >> 32);
    }

    function weekdays(PackedLimits limits) internal pure returns (uint256) {
        return uint8(PackedLimits.unwrap(limits) >> 48);
    }

    function perDay(PackedLimits limits) internal pure returns (uint256) {
        return uint8(PackedLimits.unwrap(limits) >> 56);
    }

    function perWeek(PackedLimits limits) internal pure returns (uint256) {
        return uint8(PackedLimits.unwrap(limits) >> 64);
    }

    function gap(PackedLimits limits) internal pure returns (uint256) {
        return uint32(PackedLimits.unwrap(limits) >> 72);
    }

    function upcomingDays(PackedLimits limits) internal pure returns (uint256) {
        return uint8(PackedLimits.unwrap(limits) >> 104);
    }

    function overdueDays(PackedLimits limits) internal pure returns (uint256) {
        return uint8(PackedLimits.unwrap(limits) >> 112);
    }

    // Profile

    function offset(PackedProfile profile) internal pure returns (int256) {
        return int8(uint8(PackedProfile.unwrap(profile)));
    }

    function otherOffset(PackedProfile profile) internal pure returns (int256) {
        return int8(uint8(PackedProfile.unwrap(profile) >> 8));
    }

    function registered(PackedProfile profile) internal pure returns (uint256) {
        return uint8(PackedProfile.unwrap(profile) >> 16);
    }

    function consented(PackedProfile profile) internal pure returns (uint256) {
        return uint8(PackedProfile.unwrap(profile) >> 24);
    }

    function ceased(PackedProfile profile) internal pure returns (bool) {
        return uint8(PackedProfile.unwrap(profile) >> 32) != 0;
    }

    function aggrieved(PackedProfile profile) internal pure returns (bool) {
        return uint8(PackedProfile.unwrap(profile) >> 40) != 0;
    }

    function changes(PackedProfile profile) internal pure returns (uint256) {
        return uint48(PackedProfile.unwrap(profile) >> 48);
    }

    function reminders(PackedProfile profile) internal pure returns (uint256) {
        return uint152(PackedProfile.unwrap(profile) >> 96);
    }
}
