// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Channel, IConsentRegistry} from "./IConsentRegistry.sol";
import {IGrievanceDesk} from "./IGrievanceDesk.sol";

/// What a notice says. Upcoming, due today and overdue are reminders; the others serve the borrower. The last four are owed to the
/// borrower by law: they need no consent and are served in spite of a cease, to a registered contact; the in-app inbox does
/// not even need that.
enum Kind {
    LoanOpened,
    InstalmentUpcoming,
    DueToday,
    Overdue,
    PaymentReceived,
    LoanRepaid,
    PaidAhead,
    LoanAmended,
    CoolingOffEnding,
    ConsentChanged,
    DisputeReceived,
    HardshipReceived,
    DisputeAnswered,
    HardshipAnswered,
    LoanAssigned,
    Arrears
}

/// Why a notice is refused; `None` where it is not. In the order in which the reasons are looked for.
/// @dev Every refusal comes with `actual` and `required`:
/// UnknownLoan: nothing.
/// NotServer: the server, the lender (addresses as numbers).
/// NoBasis: what the ledger, the registry of consents or the desk says, what the kind needs: the status for a repaid notice, the
/// overdue amount (none) or the amount still to be paid (some, or none where it is paid ahead) before and on a due day, the
/// amount received (some) for a payment, how many instalments are overdue (two) for arrears, otherwise whether there is what
/// the notice tells of (one).
/// WrongInstalment: the notice's, the ledger's.
/// AlreadySaid: how often, how often it may be.
/// TooEarly: today in the loan's calendar, the first day on which it may be said.
/// TooLate: today in the loan's calendar, the last day on which it may be said.
/// WrongAmount: the notice's, the ledger's.
/// NoContact, NoConsent: the channel, nothing.
/// Ceased: nothing.
/// NotToldOfAssignment: the lender of whom the borrower was told, the lender.
/// Resting: now, until when reminders rest for a grievance; the largest number while it stands.
/// OutsideHours: now, the next second inside the window under both of the borrower's offsets.
/// TooSoon, DayCap, WeekCap, ServiceCap: now, the first second at which the gap, the cap for reminders in 24 hours or in 7
/// days, or the cap for service notices in 24 hours allows one more.
enum Refusal {
    None,
    UnknownLoan,
    NotServer,
    NoBasis,
    WrongInstalment,
    AlreadySaid,
    TooEarly,
    TooLate,
    WrongAmount,
    NoContact,
    Ceased,
    NoConsent,
    NotToldOfAssignment,
    Resting,
    OutsideHours,
    TooSoon,
    DayCap,
    WeekCap,
    ServiceCap
}

/// A notice to the borrower of a loan. There is no field for anybody else.
/// @param loan The loan it is about; its borrower is the only possible addressee.
/// @param kind What it says.
/// @param instalment The instalment it is about, checked against the ledger; zero where it is about none.
/// @param amount The amount it names, checked against the ledger.
/// @param channel How it is to reach the borrower.
/// @param contentHash Salted hash of the words.
struct Notice {
    bytes32 loan;
    Kind kind;
    uint16 instalment;
    uint88 amount;
    Channel channel;
    bytes32 contentHash;
}

/// What was already said about a loan, in one storage slot.
/// @param received Everything paid as of the last notice of a payment received.
/// @param next Instalment of the last notice before or on a due day.
/// @param upcoming How many upcoming notices were served about it.
/// @param missed Instalment of the last overdue notice.
/// @param overdue How many overdue notices were served about it.
/// @param flags What was said once: bit 0: opened; bit 1: due today, of `next`; bit 2: repaid; bit 3: paid ahead, of `next`; bit 4:
/// amended; bit 5: that the cooling-off period ends.
/// @param services Times of the last three notices that serve the borrower, as {Rolling} keeps them.
struct Said {
    uint88 received;
    uint16 next;
    uint8 upcoming;
    uint16 missed;
    uint16 overdue;
    uint8 flags;
    uint72 services;
}

/// What is seldom said about a loan.
/// @param lender The new lender of whom the borrower was told last. @param assignments How often they were told of one.
/// @param arrearsAt When the borrower was told of arrears, last. @param arrears How often.
/// @param consents After how many changes of contact and consent the borrower was told of them, last.
struct SeldomSaid {
    address lender;
    uint16 assignments;
    uint32 arrearsAt;
    uint16 arrears;
    uint32 consents;
}

/// @title The gate: a notice exists only if this contract let it.
/// @notice To the borrower of the loan, on a channel consented to, in the borrower's waking hours, within the caps of the
/// loan's policy, saying what the ledger says. No NoticeServed event, no message.
interface INoticeRegistry {
    /// @param id Hash of loan, kind, basis and serial; the same after a reorganisation.
    /// @param server Who served it; only the service that acts for this address delivers it.
    /// @param serial How many notices of the same kind and basis were served before.
    /// @param together It is part of the message of the reminder before it, and counts as no reminder of its own.
    event NoticeServed(
        bytes32 indexed id,
        bytes32 indexed loan,
        address indexed server,
        address borrower,
        Kind kind,
        uint16 instalment,
        uint88 amount,
        Channel channel,
        uint256 basis,
        uint256 serial,
        bytes32 contentHash,
        bool together
    );
    /// A notice of a batch was skipped.
    event NoticeRefused(
        bytes32 indexed loan,
        address indexed server,
        Kind kind,
        uint16 instalment,
        Channel channel,
        Refusal reason,
        uint256 actual,
        uint256 required
    );

    /// The notice may not be served. What `actual` and `required` mean stands with {Refusal}.
    error Refused(Refusal reason, uint256 actual, uint256 required);

    /// @notice Serve a notice, as the loan's lender or its servicer. Reverts with the reason where it may not be served.
    /// @return id The notice's id.
    function serve(Notice calldata notice) external returns (bytes32 id);

    /// @notice Serve those of several notices that may be; the others are skipped and told in events.
    /// @dev Reminders that follow one another to the same borrower, on the same channel and with the same words, about loans in
    /// ascending order of their ids, are one message: the caps are asked about the first that is served, and it alone
    /// counts as a reminder.
    /// @return ids The ids in the order given, zero where skipped.
    function serveMany(Notice[] calldata notices) external returns (bytes32[] memory ids);

    /// @notice Why a notice would be refused if served now by `server`.
    function refusal(
        Notice calldata notice,
        address server
    ) external view returns (Refusal reason, uint256 actual, uint256 required);

    /// @notice The earliest moment at which a notice could be served, as things stand now; zero where waiting does not help.
    /// @dev Only time is imagined to pass: no payment, no other notice, no change of consent.
    function earliest(
        bytes32 loan,
        Kind kind,
        uint16 instalment,
        Channel channel
    ) external view returns (uint256 timestamp);

    /// @notice Whether a notice that was served may still be delivered: `None`, or why not any more.
    /// @dev Asked just before sending. Looks at server, basis, consent and hours; not at caps, which the notice itself has
    /// used up, and not at the lead time, which is there to be used.
    function standing(
        Notice calldata notice,
        address server
    ) external view returns (Refusal reason, uint256 actual, uint256 required);

    /// @notice The times of a borrower's last seven reminders, newest first; zero where there were fewer, or where one was twelve
    /// days before the newest.
    function remindersOf(address borrower) external view returns (uint256[7] memory);

    /// @notice What was already said about a loan.
    function saidOf(bytes32 loan) external view returns (Said memory, SeldomSaid memory);

    /// @notice The registry of contacts and consents that this gate made, asks, and tells of reminders.
    function consents() external view returns (IConsentRegistry);

    /// @notice The desk for grievances that this gate asks, and tells of answers.
    function desk() external view returns (IGrievanceDesk);
}
