// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {PackedProfile} from "../libraries/Packed.sol";
import {IGrievanceDesk} from "./IGrievanceDesk.sol";
import {ILoanLedger} from "./ILoanLedger.sol";
import {INoticeRegistry} from "./INoticeRegistry.sol";

/// The ways in which a notice can reach a borrower.
enum Channel {
    Email,
    Sms,
    Push,
    InApp
}

/// What a borrower has registered and allowed, and when they were reminded: one storage slot, all that a notice needs of them.
/// @param offset, otherOffset Offsets from UTC, in quarter hours, of the borrower's standard and summer time; the same twice
/// where there is no summer time.
/// @param registered Bit per channel: a contact is registered.
/// @param consented Bit per channel: consent is in force.
/// @param ceased All contact was stopped.
/// @param aggrieved A grievance was lodged about one of the borrower's loans, once; without it no desk need be asked.
/// @param changes How often contact or consent was changed: the nonce of the borrower's next signed instruction, so that nothing
/// signed before a change holds after it.
/// @param reminders Times of the last seven reminders, as {Rolling} keeps them.
struct Profile {
    int8 offset;
    int8 otherOffset;
    uint8 registered;
    uint8 consented;
    bool ceased;
    bool aggrieved;
    uint48 changes;
    uint152 reminders;
}

/// @title Which contacts a borrower has, and consent to use them.
/// @notice Contact can only be started by the borrower's key. It can be stopped by the borrower, and by lender or servicer
/// of one of the borrower's loans on the borrower's word, from whatever channel that came; they can never start it again.
/// Only hashes of contacts are kept here, salted from a key that the borrower can have erased.
interface IConsentRegistry {
    /// A contact was registered; consent for the channel starts anew with `grant`.
    /// @param commitment Salted hash of the contact.
    event ContactRegistered(
        address indexed borrower,
        Channel indexed channel,
        bytes32 commitment,
        int8 offset,
        int8 otherOffset
    );
    /// The borrower allows contact on the channel; a cease is over.
    event ConsentGranted(address indexed borrower, Channel indexed channel);
    /// @param recordedBy The borrower, or who recorded the borrower's word.
    event ConsentRevoked(address indexed borrower, Channel indexed channel, address indexed recordedBy);
    /// Contact on every channel has ended. @param recordedBy The borrower, or who recorded the borrower's word.
    event ContactCeased(address indexed borrower, address indexed recordedBy);

    /// A contact's commitment is missing.
    error EmptyCommitment(Channel channel);
    /// The offset is none on Earth, in quarter hours.
    error InvalidOffset(int8 offset, int8 least, int8 most);
    /// Standard and summer time lie too far apart, in quarter hours.
    error OffsetsTooFarApart(int8 offset, int8 otherOffset, uint8 most);
    /// Consent needs a registered contact.
    error NoContact(address borrower, Channel channel);
    /// The signed instruction's last second is over.
    error InstructionExpired(uint256 deadline, uint256 timestamp);
    /// The signature is not the borrower's, for exactly this instruction and nonce.
    error InvalidInstruction(address borrower, uint256 nonce);
    /// Only this contract can do that.
    error NotFrom(address sender, address required);
    /// Only the lender of the loan, or its servicer, may record its borrower's word.
    error NotLenderOrServicer(address sender, address lender, address servicer);

    /// @notice Register the caller's own contact on a channel. Withdraws the channel's earlier consent.
    function register(Channel channel, bytes32 commitment, int8 offset, int8 otherOffset) external;

    /// @notice The same by the borrower's signature over the EIP-712 type `Register`.
    function registerBySignature(
        address borrower,
        Channel channel,
        bytes32 commitment,
        int8 offset,
        int8 otherOffset,
        uint256 deadline,
        bytes calldata signature
    ) external;

    /// @notice Allow contact on a channel. Ends a cease.
    function grant(Channel channel) external;

    /// @notice The same by the borrower's signature over the EIP-712 type `Grant`.
    function grantBySignature(
        address borrower,
        Channel channel,
        uint256 deadline,
        bytes calldata signature
    ) external;

    /// @notice Withdraw the caller's consent for a channel. Never fails.
    function revoke(Channel channel) external;

    /// @notice Record that the borrower of a loan withdrew consent for a channel.
    function revokeOnWord(bytes32 loan, Channel channel) external;

    /// @notice Stop all contact with the caller. Never fails.
    function cease() external;

    /// @notice Record that the borrower of a loan stopped all contact.
    function ceaseOnWord(bytes32 loan) external;

    /// @notice For the gate: the borrower is reminded now. @param reminders Times of the last seven reminders, this one included.
    function noteReminder(address borrower, uint152 reminders) external;

    /// @notice For the desk: a grievance is lodged about one of the borrower's loans.
    function noteGrievance(address borrower) external;

    /// @notice What the borrower has registered and allowed.
    function profileOf(address borrower) external view returns (Profile memory);

    /// @notice The same in the word that it is stored in, for the gate.
    /// @dev By its name it comes first, as `ILoanLedger.loanSlots` comes second.
    function storedProfile(address borrower) external view returns (PackedProfile);

    /// @notice The salted hash of the borrower's contact; zero where there is none.
    function commitmentOf(address borrower, Channel channel) external view returns (bytes32);

    /// @notice The gate that asks this registry, and tells it of reminders.
    function notices() external view returns (INoticeRegistry);

    /// @notice The ledger whose borrowers these are.
    function ledger() external view returns (ILoanLedger);

    /// @notice The desk that tells it of grievances.
    function desk() external view returns (IGrievanceDesk);
}
