// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {PackedLimits} from "../libraries/Packed.sol";
import {Terms} from "./ILoanLedger.sol";

/// How an annual percentage rate is annualised: nominal (rate per period times periods) or effective (compounded).
enum AprConvention {
    Nominal,
    Effective
}

/// What a loan made under a policy may cost. Frozen at publication.
/// @param aprCap Highest annual percentage rate, in parts per million (240_000 = 24 %).
/// @param aprConvention How the cap is to be read.
/// @param lateFeeCap Highest late fee, in basis points of the smallest regular instalment.
/// @param minGraceDays Least days of grace after a due day before a late fee may be charged.
/// @param coolingOffDays Days after opening in which the borrower may rescind.
/// @param defaultDays Days overdue after which a loan may be marked as defaulted.
struct LendingLimits {
    uint32 aprCap;
    AprConvention aprConvention;
    uint16 lateFeeCap;
    uint8 minGraceDays;
    uint8 coolingOffDays;
    uint16 defaultDays;
}

/// When and how often a borrower may be contacted. May be tightened, never loosened.
/// @param opens Minute of the local day at which contact may begin (540 = 09:00).
/// @param closes Minute of the local day by which contact must be over (1140 = 19:00).
/// @param lead Seconds of the window that must be left when a notice is served, so that it can still be delivered in it.
/// @param weekdays Bit 0 is Monday, bit 6 Sunday; a set bit allows contact on that day.
/// @param perDay Most reminders in any 24 hours.
/// @param perWeek Most reminders in any 7 days.
/// @param gap Least seconds between two reminders.
/// @param upcomingDays Earliest reminder of an instalment to come, in days before its due day.
/// @param overdueDays Earliest reminder of an overdue instalment, in days after its due day.
/// @param pauseDays Days for which reminders rest after the answer to a dispute or hardship was served.
/// @param restAllLoans Bit per {Grievance}: it rests reminders about all loans of the borrower, not only about the one.
/// @param restFees Bit per {Grievance}: no late fee is charged for what is missed while it rests reminders.
struct ContactLimits {
    uint16 opens;
    uint16 closes;
    uint16 lead;
    uint8 weekdays;
    uint8 perDay;
    uint8 perWeek;
    uint32 gap;
    uint8 upcomingDays;
    uint8 overdueDays;
    uint8 pauseDays;
    uint8 restAllLoans;
    uint8 restFees;
}

/// @title Published policies: what loans may cost, and when their borrowers may be reminded.
/// @notice A policy's lending limits never change. Its contact limits can only become stricter. Bounds in the code hold for
/// every policy: contact between 07:00 and 22:00 local time in a window of at least three hours, and at most seven
/// reminders in seven days.
interface IPolicyBook {
    /// @param policy The new policy's number, counted from 1.
    /// @param templates Hash of the notice templates that texts are rendered from.
    /// @param pack Hash of the whole policy pack, off-chain part included.
    event PolicyPublished(
        uint32 indexed policy,
        address indexed publisher,
        LendingLimits lending,
        ContactLimits contact,
        bytes32 templates,
        bytes32 pack
    );
    /// @param contact The stricter contact limits, in force from now on for every loan under the policy.
    event ContactTightened(uint32 indexed policy, address indexed publisher, ContactLimits contact);
    /// No new loan can be opened under the policy; loans that were keep it.
    event PolicyRetired(uint32 indexed policy, address indexed publisher);

    /// The policy was never published.
    error UnknownPolicy(uint32 policy);
    /// The policy takes no new loans.
    error PolicyIsRetired(uint32 policy);
    /// A contact limit lies outside what the code allows any policy.
    /// @param field Name of the limit. @param value What was given. @param least Lowest allowed. @param most Highest allowed.
    error LimitOutOfBounds(bytes32 field, uint256 value, uint256 least, uint256 most);
    /// A change would loosen a contact limit.
    /// @param field Name of the limit. @param value What was given. @param current What is in force.
    error LimitLoosened(bytes32 field, uint256 value, uint256 current);

    /// Nothing would be lent.
    error ZeroPrincipal();
    /// The calendar offset is none on Earth, in quarter hours.
    error InvalidCalendarOffset(int8 offset, int8 least, int8 most);
    /// The first instalment must be due at least one whole interval after opening.
    error FirstDueTooEarly(uint256 firstDue, uint256 earliest);
    /// The first instalment is due later than any longer first period can mean.
    error FirstDueTooLate(uint256 firstDue, uint256 latest);
    /// The annual percentage rate exceeds the policy's cap: discounted at the cap, the payments are worth more at opening than
    /// what the borrower receives. @param cap In parts per million, read as the policy says.
    error AprAboveCap(uint256 worth, uint256 received, uint256 cap);
    /// The origination fee leaves nothing of the principal.
    error OriginationFeeTooLarge(uint256 fee, uint256 principal);
    /// The late fee exceeds the policy's share of the smallest regular instalment.
    error LateFeeAboveCap(uint256 lateFee, uint256 cap);
    /// The grace period is shorter than the policy's.
    error GraceTooShort(uint256 graceDays, uint256 least);
    /// The total with all late fees that could be charged does not fit the ledger's 80 bits: 1.2 million of a currency with 18
    /// decimals, 1.2 quintillion of one with 6.
    error AmountTooLarge(uint256 amount, uint256 most);

    /// @notice Publish a policy.
    /// @return policy Its number.
    function publish(
        LendingLimits calldata lending,
        ContactLimits calldata contact,
        bytes32 templates,
        bytes32 pack
    ) external returns (uint32 policy);

    /// @notice Make a policy's contact limits stricter, for loans already open as well.
    function tighten(uint32 policy, ContactLimits calldata contact) external;

    /// @notice Take no more loans under a policy.
    function retire(uint32 policy) external;

    /// @notice What terms come to that may become a loan now: within the policy's lending limits, on due days that lie ahead,
    /// of amounts that the ledger can hold however late the borrower. Reverts with what is wrong; for a new loan also where the
    /// policy is retired.
    /// @param feesOwed Late fees that the loan begins with, carried over from one that it replaces.
    /// @return instalment What recurs, see `Loan` in {ILoanLedger}.
    /// @return total Sum of all instalments.
    function admit(
        Terms calldata terms,
        uint256 feesOwed
    ) external view returns (uint256 instalment, uint256 total);

    /// @notice The same for terms that the ledger derived from a loan's: they keep its price, and due days that are no earlier, so
    /// that only the late fee can have to be less.
    /// @return instalment What recurs.
    /// @return total Sum of all instalments.
    /// @return lateFee That of the terms, or the highest that the policy allows for them where this is less.
    function admitDerived(
        Terms calldata terms,
        uint256 feesOwed
    ) external view returns (uint256 instalment, uint256 total, uint256 lateFee);

    /// @notice The lending limits of a policy, retired or not.
    function lendingOf(uint32 policy) external view returns (LendingLimits memory);

    /// @notice Two of them: for how many days a borrower may rescind, and after how many days overdue a default may be marked.
    function daysOf(uint32 policy) external view returns (uint256 coolingOff, uint256 untilDefault);

    /// @notice The contact limits in force.
    function contactOf(uint32 policy) external view returns (ContactLimits memory);

    /// @notice The same in one word, for the gate.
    function packedContactOf(uint32 policy) external view returns (PackedLimits);

    /// @notice Hash of the notice templates and of the whole pack.
    function hashesOf(uint32 policy) external view returns (bytes32 templates, bytes32 pack);

    /// @notice Whether the policy was published, and whether it was retired since.
    function stateOf(uint32 policy) external view returns (bool published, bool retired);

    /// @notice How many policies were published; their numbers run from 1 to this.
    function count() external view returns (uint32);
}
