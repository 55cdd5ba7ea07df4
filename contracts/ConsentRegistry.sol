// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {Channel, IConsentRegistry, Profile} from "./interfaces/IConsentRegistry.sol";
import {IGrievanceDesk} from "./interfaces/IGrievanceDesk.sol";
import {ILoanLedger} from "./interfaces/ILoanLedger.sol";
import {INoticeRegistry} from "./interfaces/INoticeRegistry.sol";
import {PackedProfile} from "./libraries/Packed.sol";

/// @title ConsentRegistry
/// @notice See {IConsentRegistry}.
/// @dev The gate deploys it, so that each knows the other for ever.
contract ConsentRegistry is IConsentRegistry, EIP712 {
    bytes32 private constant REGISTER_TYPEHASH =
        keccak256(
            "Register(address borrower,uint8 channel,bytes32 commitment,int8 offset,int8 otherOffset,uint256 nonce,uint256 deadline)"
        );
    bytes32 private constant GRANT_TYPEHASH =
        keccak256("Grant(address borrower,uint8 channel,uint256 nonce,uint256 deadline)");

    int8 private constant WESTERNMOST = -48;
    int8 private constant EASTERNMOST = 56;
    /// Two hours, in quarter hours: no clock on Earth is moved further, and every contact window outlasts it.
    uint8 private constant FARTHEST_APART = 8;

    /// @inheritdoc IConsentRegistry
    ILoanLedger public immutable ledger;
    /// @inheritdoc IConsentRegistry
    IGrievanceDesk public immutable desk;
    /// @inheritdoc IConsentRegistry
    INoticeRegistry public immutable notices;

    mapping(address borrower => Profile) private _profiles;
    /// @inheritdoc IConsentRegistry
    mapping(address borrower => mapping(Channel => bytes32)) public commitmentOf;

    constructor(ILoanLedger ledger_, IGrievanceDesk desk_) EIP712("Duly", "1") {
        ledger = ledger_;
        desk = desk_;
        notices = INoticeRegistry(msg.sender);
    }

    // ------------------------------------------------------------------------------------------------- starting

    /// @inheritdoc IConsentRegistry
    function register(Channel channel, bytes32 commitment, int8 offset, int8 otherOffset) external {
        _register(msg.sender, channel, commitment, offset, otherOffset);
    }

    /// @inheritdoc IConsentRegistry
    function registerBySignature(
        address borrower,
        Channel channel,
        bytes32 commitment,
        int8 offset,
        int8 otherOffset,
        uint256 deadline,
        bytes calldata signature
    ) external {
        uint256 nonce = _profiles[borrower].changes;
        bytes32 instruction = keccak256(
            abi.encode(REGISTER_TYPEHASH, borrower, channel, commitment, offset, otherOffset, nonce, deadline)
        );
        _checkInstruction(borrower, instruction, nonce, deadline, signature);
        _register(borrower, channel, commitment, offset, otherOffset);
    }

    /// @inheritdoc IConsentRegistry
    function grant(Channel channel) external {
        _grant(msg.sender, channel);
    }

    /// @inheritdoc IConsentRegistry
    function grantBySignature(
        address borrower,
        Channel channel,
        uint256 deadline,
        bytes calldata signature
    ) external {
        uint256 nonce = _profiles[borrower].changes;
        bytes32 instruction = keccak256(abi.encode(GRANT_TYPEHASH, borrower, channel, nonce, deadline));
        _checkInstruction(borrower, instruction, nonce, deadline, signature);
        _grant(borrower, channel);
    }

    function _register(
        address borrower,
        Channel channel,
        bytes32 commitment,
        int8 offset,
        int8 otherOffset
    ) private {
        if (commitment == 0) revert EmptyCommitment(channel);
        _checkOffset(offset);
        _checkOffset(otherOffset);
        int16 apart = int16(offset) - otherOffset;
        if (apart > int8(FARTHEST_APART) || -apart > int8(FARTHEST_APART)) {
            revert OffsetsTooFarApart(offset, otherOffset, FARTHEST_APART);
        }
        Profile storage profile = _profiles[borrower];
        profile.offset = offset;
        profile.otherOffset = otherOffset;
        profile.registered |= _bit(channel);
        // Consent was given to another address, perhaps of someone else by now.
        profile.consented &= ~_bit(channel);
        ++profile.changes;
        commitmentOf[borrower][channel] = commitment;
        emit ContactRegistered(borrower, channel, commitment, offset, otherOffset);
    }

    function _grant(address borrower, Channel channel) private {
        Profile storage profile = _profiles[borrower];
        if (profile.registered & _bit(channel) == 0) revert NoContact(borrower, channel);
        profile.consented |= _bit(channel);
        profile.ceased = false;
        ++profile.changes;
        emit ConsentGranted(borrower, channel);
    }

    function _checkOffset(int8 offset) private pure {
        if (offset < WESTERNMOST || offset > EASTERNMOST) revert InvalidOffset(offset, WESTERNMOST, EASTERNMOST);
    }

    function _checkInstruction(
        address borrower,
        bytes32 instruction,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) private view {
        if (block.timestamp > deadline) revert InstructionExpired(deadline, block.timestamp);
        if (!SignatureChecker.isValidSignatureNowCalldata(borrower, _hashTypedDataV4(instruction), signature)) {
            revert InvalidInstruction(borrower, nonce);
        }
    }

    // ------------------------------------------------------------------------------------------------- stopping

    /// @inheritdoc IConsentRegistry
    function revoke(Channel channel) external {
        _revoke(msg.sender, channel);
    }

    /// @inheritdoc IConsentRegistry
    function revokeOnWord(bytes32 loan, Channel channel) external {
        _revoke(_borrowerOnWord(loan), channel);
    }

    /// @inheritdoc IConsentRegistry
    function cease() external {
        _cease(msg.sender);
    }

    /// @inheritdoc IConsentRegistry
    function ceaseOnWord(bytes32 loan) external {
        _cease(_borrowerOnWord(loan));
    }

    function _revoke(address borrower, Channel channel) private {
        Profile storage profile = _profiles[borrower];
        profile.consented &= ~_bit(channel);
        // What the borrower signed before must not undo what they want now.
        ++profile.changes;
        emit ConsentRevoked(borrower, channel, msg.sender);
    }

    function _cease(address borrower) private {
        Profile storage profile = _profiles[borrower];
        profile.consented = 0;
        profile.ceased = true;
        ++profile.changes;
        emit ContactCeased(borrower, msg.sender);
    }

    /// The borrower of a loan, where the caller may record their word.
    function _borrowerOnWord(bytes32 loan) private view returns (address) {
        (address borrower, address lender, address servicer, ) = ledger.partiesOf(loan);
        if (msg.sender != lender && msg.sender != servicer) {
            revert NotLenderOrServicer(msg.sender, lender, servicer);
        }
        return borrower;
    }

    // ------------------------------------------------------------------------------------------------- gate and desk

    /// @inheritdoc IConsentRegistry
    function noteReminder(address borrower, uint152 reminders) external {
        _checkFrom(address(notices));
        _profiles[borrower].reminders = reminders;
    }

    /// @inheritdoc IConsentRegistry
    function noteGrievance(address borrower) external {
        _checkFrom(address(desk));
        _profiles[borrower].aggrieved = true;
    }

    function _checkFrom(address required) private view {
        if (msg.sender != required) revert NotFrom(msg.sender, required);
    }

    // ------------------------------------------------------------------------------------------------- looking

    /// @inheritdoc IConsentRegistry
    function profileOf(address borrower) external view returns (Profile memory) {
        return _profiles[borrower];
    }

    /// @inheritdoc IConsentRegistry
    function storedProfile(address borrower) external view returns (PackedProfile packed) {
        Profile storage profile = _profiles[borrower];
        assembly ("memory-safe") {
            packed := sload(profile.slot)
        }
    }

    function _bit(Channel channel) private pure returns (uint8) {
        return uint8(1 << uint8(channel));
    }
}
