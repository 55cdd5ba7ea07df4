// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {
    AccessControlDefaultAdminRules
} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";

import {Terms} from "./interfaces/ILoanLedger.sol";
import {ContactLimits, IPolicyBook, LendingLimits} from "./interfaces/IPolicyBook.sol";
import {Amortization} from "./libraries/Amortization.sol";
import {Calendar} from "./libraries/Calendar.sol";
import {Lending} from "./libraries/Lending.sol";
import {PackedLimits} from "./libraries/Packed.sol";

/// @title PolicyBook
/// @notice See {IPolicyBook}. The administrator says who publishes. It hands the book over in two steps, so that it cannot
/// go to an address that nobody holds: `beginDefaultAdminTransfer` offers it, `acceptDefaultAdminTransfer` takes it.
contract PolicyBook is IPolicyBook, AccessControlDefaultAdminRules {
    bytes32 public constant PUBLISHER_ROLE = keccak256("PUBLISHER_ROLE");

    // Bounds that no policy can loosen.
    uint256 private constant EARLIEST_OPENING = 7 * 60;
    uint256 private constant LATEST_CLOSING = 22 * 60;
    // The window must outlast the two hours that a borrower's offsets may lie apart, and the lead time after them.
    uint256 private constant SHORTEST_WINDOW = 3 * 60;
    uint256 private constant LONGEST_LEAD = 30 minutes;
    uint256 private constant MOST_PER_WEEK = 7;
    uint256 private constant EVERY_GRIEVANCE = 7;

    struct Policy {
        LendingLimits lending;
        bool published;
        bool retired;
        ContactLimits contact;
        bytes32 templates;
        bytes32 pack;
    }

    mapping(uint32 policy => Policy) private _policies;
    /// @inheritdoc IPolicyBook
    uint32 public count;

    constructor(address administrator) AccessControlDefaultAdminRules(0, administrator) {
        _grantRole(PUBLISHER_ROLE, administrator);
    }

    /// @inheritdoc IPolicyBook
    function publish(
        LendingLimits calldata lending,
        ContactLimits calldata contact,
        bytes32 templates,
        bytes32 pack
    ) external onlyRole(PUBLISHER_ROLE) returns (uint32 policy) {
        _checkBounds(contact);
        policy = ++count;
        _policies[policy] = Policy({
            lending: lending,
            published: true,
            retired: false,
            contact: contact,
            templates: templates,
            pack: pack
        });
        emit PolicyPublished(policy, msg.sender, lending, contact, templates, pack);
    }

    /// @inheritdoc IPolicyBook
    function tighten(uint32 policy, ContactLimits calldata contact) external onlyRole(PUBLISHER_ROLE) {
        _checkBounds(contact);
        ContactLimits storage current = _policy(policy).contact;
        _checkNoLess("opens", contact.opens, current.opens);
        _checkNoMore("closes", contact.closes, current.closes);
        _checkNoLess("lead", contact.lead, current.lead);
        _checkNoneAdded("weekdays", contact.weekdays, current.weekdays);
        _checkNoMore("perDay", contact.perDay, current.perDay);
        _checkNoMore("perWeek", contact.perWeek, current.perWeek);
        _checkNoLess("gap", contact.gap, current.gap);
        _checkNoMore("upcomingDays", contact.upcomingDays, current.upcomingDays);
        _checkNoLess("overdueDays", contact.overdueDays, current.overdueDays);
        _checkNoLess("pauseDays", contact.pauseDays, current.pauseDays);
        _checkNoneGone("restAllLoans", contact.restAllLoans, current.restAllLoans);
        _checkNoneGone("restFees", contact.restFees, current.restFees);
        _policies[policy].contact = contact;
        emit ContactTightened(policy, msg.sender, contact);
    }

    /// @inheritdoc IPolicyBook
    function retire(uint32 policy) external onlyRole(PUBLISHER_ROLE) {
        Policy storage p = _policy(policy);
        if (p.retired) revert PolicyIsRetired(policy);
        p.retired = true;
        emit PolicyRetired(policy, msg.sender);
    }

    /// @inheritdoc IPolicyBook
    function admit(
        Terms calldata terms,
        uint256 feesOwed
    ) external view returns (uint256 instalment, uint256 total) {
        Policy storage p = _policy(terms.policy);
        if (p.retired && terms.replaces == 0) revert PolicyIsRetired(terms.policy);
        Lending.checkCalendar(terms);
        Amortization.Curve memory curve = Lending.curveOf(terms);
        Lending.checkPrice(terms, curve, p.lending);
        Lending.checkAmounts(curve, terms.lateFee, feesOwed);
        return (curve.instalment, curve.total);
    }

    /// @inheritdoc IPolicyBook
    function admitDerived(
        Terms calldata terms,
        uint256 feesOwed
    ) external view returns (uint256 instalment, uint256 total, uint256 lateFee) {
        Lending.checkNotTooLate(terms, Calendar.localDay(block.timestamp, terms.calendarOffset));
        Amortization.Curve memory curve = Lending.curveOf(terms);
        uint256 most = Lending.highestLateFee(curve, _policy(terms.policy).lending);
        lateFee = terms.lateFee < most ? terms.lateFee : most;
        Lending.checkAmounts(curve, lateFee, feesOwed);
        return (curve.instalment, curve.total, lateFee);
    }

    /// @inheritdoc IPolicyBook
    function lendingOf(uint32 policy) external view returns (LendingLimits memory) {
        return _policy(policy).lending;
    }

    /// @inheritdoc IPolicyBook
    function daysOf(uint32 policy) external view returns (uint256 coolingOff, uint256 untilDefault) {
        LendingLimits storage lending = _policy(policy).lending;
        return (lending.coolingOffDays, lending.defaultDays);
    }

    /// @inheritdoc IPolicyBook
    function contactOf(uint32 policy) external view returns (ContactLimits memory) {
        return _policy(policy).contact;
    }

    /// @inheritdoc IPolicyBook
    function packedContactOf(uint32 policy) external view returns (PackedLimits packed) {
        ContactLimits storage contact = _policies[policy].contact;
        assembly ("memory-safe") {
            packed := sload(contact.slot)
        }
        // A policy that was published closes some time, so that no other slot need be read.
        if (packed.closes() == 0) revert UnknownPolicy(policy);
    }

    /// @inheritdoc IPolicyBook
    function hashesOf(uint32 policy) external view returns (bytes32 templates, bytes32 pack) {
        Policy storage p = _policy(policy);
        return (p.templates, p.pack);
    }

    /// @inheritdoc IPolicyBook
    function stateOf(uint32 policy) external view returns (bool published, bool retired) {
        Policy storage p = _policies[policy];
        return (p.published, p.retired);
    }

    /// @dev Who takes the book over takes over publishing, too: the one before keeps no power over it.
    function _acceptDefaultAdminTransfer() internal override {
        address before = defaultAdmin();
        super._acceptDefaultAdminTransfer();
        _revokeRole(PUBLISHER_ROLE, before);
        _grantRole(PUBLISHER_ROLE, defaultAdmin());
    }

    function _policy(uint32 policy) private view returns (Policy storage p) {
        p = _policies[policy];
        if (!p.published) revert UnknownPolicy(policy);
    }

    function _checkBounds(ContactLimits calldata contact) private pure {
        _checkBetween("opens", contact.opens, EARLIEST_OPENING, LATEST_CLOSING - SHORTEST_WINDOW);
        _checkBetween("closes", contact.closes, uint256(contact.opens) + SHORTEST_WINDOW, LATEST_CLOSING);
        _checkBetween("lead", contact.lead, 0, LONGEST_LEAD);
        _checkBetween("weekdays", contact.weekdays, 1, 127);
        _checkBetween("perWeek", contact.perWeek, 1, MOST_PER_WEEK);
        _checkBetween("perDay", contact.perDay, 1, contact.perWeek);
        _checkBetween("gap", contact.gap, 0, 31 days);
        _checkBetween("upcomingDays", contact.upcomingDays, 0, 31);
        // A day not yet over is not missed, so nothing can be overdue before the first day after it.
        _checkBetween("overdueDays", contact.overdueDays, 1, type(uint8).max);
        _checkBetween("restAllLoans", contact.restAllLoans, 0, EVERY_GRIEVANCE);
        _checkBetween("restFees", contact.restFees, 0, EVERY_GRIEVANCE);
    }

    function _checkBetween(bytes32 field, uint256 value, uint256 least, uint256 most) private pure {
        if (value < least || value > most) revert LimitOutOfBounds(field, value, least, most);
    }

    function _checkNoLess(bytes32 field, uint256 value, uint256 current) private pure {
        if (value < current) revert LimitLoosened(field, value, current);
    }

    function _checkNoneAdded(bytes32 field, uint8 set, uint8 current) private pure {
        if (set & ~current != 0) revert LimitLoosened(field, set, current);
    }

    function _checkNoneGone(bytes32 field, uint8 set, uint8 current) private pure {
        if (current & ~set != 0) revert LimitLoosened(field, set, current);
    }

    function _checkNoMore(bytes32 field, uint256 value, uint256 current) private pure {
        if (value > current) revert LimitLoosened(field, value, current);
    }
}
