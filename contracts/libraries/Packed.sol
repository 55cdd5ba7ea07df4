// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// A policy's `ContactLimits` as the policy book stores them, in one word.
type PackedLimits is uint256;
/// A borrower's `Profile` as the registry of consents stores it, in one word.
type PackedProfile is uint256;
/// What was already `Said` about a loan, as the gate stores it, in one word.
type PackedSaid is uint256;

using Packed for PackedLimits global;
using Packed for PackedProfile global;
using Packed for PackedSaid global;

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

    // Said

    function received(PackedSaid said) internal pure returns (uint256) {
        return uint88(PackedSaid.unwrap(said));
    }

    function next(PackedSaid said) internal pure returns (uint256) {
        return uint16(PackedSaid.unwrap(said) >> 88);
    }

    function upcoming(PackedSaid said) internal pure returns (uint8) {
        return uint8(PackedSaid.unwrap(said) >> 104);
    }

    function missed(PackedSaid said) internal pure returns (uint256) {
        return uint16(PackedSaid.unwrap(said) >> 112);
    }

    function overdue(PackedSaid said) internal pure returns (uint16) {
        return uint16(PackedSaid.unwrap(said) >> 128);
    }

    function flags(PackedSaid said) internal pure returns (uint8) {
        return uint8(PackedSaid.unwrap(said) >> 144);
    }

    function services(PackedSaid said) internal pure returns (uint256) {
        return uint72(PackedSaid.unwrap(said) >> 152);
    }

    function withReceived(PackedSaid said, uint88 value) internal pure returns (PackedSaid) {
        return _with(said, value, 0, type(uint88).max);
    }

    function withNext(PackedSaid said, uint16 value) internal pure returns (PackedSaid) {
        return _with(said, value, 88, type(uint16).max);
    }

    function withUpcoming(PackedSaid said, uint8 value) internal pure returns (PackedSaid) {
        return _with(said, value, 104, type(uint8).max);
    }

    function withMissed(PackedSaid said, uint16 value) internal pure returns (PackedSaid) {
        return _with(said, value, 112, type(uint16).max);
    }

    function withOverdue(PackedSaid said, uint16 value) internal pure returns (PackedSaid) {
        return _with(said, value, 128, type(uint16).max);
    }

    function withFlags(PackedSaid said, uint8 value) internal pure returns (PackedSaid) {
        return _with(said, value, 144, type(uint8).max);
    }

    function withServices(PackedSaid said, uint72 value) internal pure returns (PackedSaid) {
        return _with(said, value, 152, type(uint72).max);
    }

    function _with(
        PackedSaid said,
        uint256 value,
        uint256 shift,
        uint256 most
    ) private pure returns (PackedSaid) {
        return PackedSaid.wrap((PackedSaid.unwrap(said) & ~(most << shift)) | (value << shift));
    }
}
