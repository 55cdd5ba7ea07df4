// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Channel, IConsentRegistry, Profile} from "./interfaces/IConsentRegistry.sol";
import {ILoanLedger, Position, Status} from "./interfaces/ILoanLedger.sol";
import {INoticeRegistry, Kind, Notice, Refusal, Said} from "./interfaces/INoticeRegistry.sol";
import {ContactLimits, IPolicyBook} from "./interfaces/IPolicyBook.sol";
import {Calendar} from "./libraries/Calendar.sol";
import {Rolling} from "./libraries/Rolling.sol";

/// @title NoticeRegistry
/// @notice See {INoticeRegistry}.
/// @dev The decision is mirrored by `duly/domain/notice.py`.
contract NoticeRegistry is INoticeRegistry {
    using Rolling for uint256;

    uint256 private constant REMEMBERED_REMINDERS = 7;
    /// Most notices that serve the borrower, about one loan in 24 hours.
    uint256 private constant SERVICES_PER_DAY = 3;

    uint8 private constant OPENED = 1;
    uint8 private constant DUE_TODAY = 2;
    uint8 private constant REPAID = 4;

    ILoanLedger public immutable ledger;
    IPolicyBook public immutable policyBook;
    IConsentRegistry public immutable consents;

    mapping(address borrower => uint256) private _reminders;
    mapping(bytes32 loan => Said) private _said;

    /// Why a notice is refused, with what was and what was wanted.
    struct Decision {
        Refusal reason;
        uint256 actual;
        uint256 required;
    }

    /// Everything a decision is made from.
    struct Facts {
        Position position;
        ContactLimits limits;
        Profile profile;
        Said said;
        uint256 reminders;
    }

    /// What the ledger lets a notice of some kind say.
    struct Ground {
        uint256 instalment;
        uint256 amount;
        uint256 firstDay;
        uint256 lastDay;
        uint256 basis;
        uint256 serial;
    }

    constructor(ILoanLedger ledger_, IPolicyBook policyBook_, IConsentRegistry consents_) {
        ledger = ledger_;
        policyBook = policyBook_;
        consents = consents_;
    }

    // ------------------------------------------------------------------------------------------------- serving

    /// @inheritdoc INoticeRegistry
    function serve(Notice calldata notice) external returns (bytes32 id) {
        Decision memory decision;
        (decision, id) = _serve(notice);
        if (decision.reason != Refusal.None) {
            revert Refused(decision.reason, decision.actual, decision.required);
        }
    }

    /// @inheritdoc INoticeRegistry
    function serveMany(Notice[] calldata notices) external returns (bytes32[] memory ids) {
        ids = new bytes32[](notices.length);
        for (uint256 i = 0; i < notices.length; ++i) {
            Notice calldata notice = notices[i];
            Decision memory decision;
            (decision, ids[i]) = _serve(notice);
            if (decision.reason == Refusal.None) continue;
            emit NoticeRefused(
                notice.loan,
                msg.sender,
                notice.kind,
                notice.instalment,
                notice.channel,
                decision.reason,
                decision.actual,
                decision.required
            );
        }
    }

    function _serve(Notice calldata notice) private returns (Decision memory decision, bytes32 id) {
        // Check
        Facts memory facts = _facts(notice.loan);
        Ground memory ground;
        (decision, ground) = _decide(notice, facts, msg.sender);
        if (decision.reason != Refusal.None) return (decision, 0);

        // Effect
        address borrower = facts.position.borrower;
        if (_isReminder(notice.kind)) {
            _reminders[borrower] = facts.reminders.push(block.timestamp, REMEMBERED_REMINDERS);
        }
        _said[notice.loan] = _nowSaid(notice, facts);
        id = keccak256(abi.encode(notice.loan, notice.kind, ground.basis, ground.serial));
        emit NoticeServed(
            id,
            notice.loan,
            msg.sender,
            borrower,
            notice.kind,
            notice.instalment,
            notice.amount,
            notice.channel,
            ground.basis,
            ground.serial,
            notice.contentHash
        );
    }

    /// What has been said about the loan once this notice is.
    function _nowSaid(Notice calldata notice, Facts memory facts) private view returns (Said memory said) {
        said = facts.said;
        if (notice.kind == Kind.InstalmentUpcoming || notice.kind == Kind.DueToday) {
            if (said.next != notice.instalment) {
                said.next = notice.instalment;
                said.upcoming = 0;
                said.flags &= ~DUE_TODAY;
            }
            if (notice.kind == Kind.DueToday) said.flags |= DUE_TODAY;
            else ++said.upcoming;
        } else if (notice.kind == Kind.Overdue) {
            if (said.missed != notice.instalment) {
                said.missed = notice.instalment;
                said.overdue = 0;
            }
            ++said.overdue;
        } else {
            if (notice.kind == Kind.LoanOpened) said.flags |= OPENED;
            else if (notice.kind == Kind.LoanRepaid) said.flags |= REPAID;
            else said.received = uint88(facts.position.paid);
            said.services = uint96(uint256(said.services).push(block.timestamp, SERVICES_PER_DAY));
        }
    }

    // ------------------------------------------------------------------------------------------------- asking

    /// @inheritdoc INoticeRegistry
    function refusal(
        Notice calldata notice,
        address server
    ) external view returns (Refusal reason, uint256 actual, uint256 required) {
        (Decision memory decision, ) = _decide(notice, _facts(notice.loan), server);
        return (decision.reason, decision.actual, decision.required);
    }

    /// @inheritdoc INoticeRegistry
    function standing(
        Notice calldata notice,
        address server
    ) external view returns (Refusal reason, uint256 actual, uint256 required) {
        Facts memory facts = _facts(notice.loan);
        _unsay(notice, facts);
        Decision memory decision = _checkServer(facts.position, server);
        if (decision.reason == Refusal.None) (decision, ) = _checkGround(notice, facts);
        if (decision.reason == Refusal.None) decision = _checkConsent(notice.channel, facts.profile);
        if (decision.reason == Refusal.None) {
            facts.limits.lead = 0;
            decision = _checkHours(facts);
        }
        return (decision.reason, decision.actual, decision.required);
    }

    /// @inheritdoc INoticeRegistry
    function earliest(
        bytes32 loan,
        Kind kind,
        uint16 instalment,
        Channel channel
    ) external view returns (uint256 timestamp) {
        Facts memory facts = _facts(loan);
        if (facts.position.status == Status.None) return 0;
        (Decision memory decision, Ground memory ground) = _ground(kind, facts);
        if (decision.reason != Refusal.None || instalment != ground.instalment) return 0;
        if (_checkConsent(channel, facts.profile).reason != Refusal.None) return 0;

        int8 calendar = facts.position.calendarOffset;
        timestamp = block.timestamp;
        if (ground.firstDay > facts.position.today) timestamp = Calendar.startOf(ground.firstDay, calendar);
        if (_isReminder(kind)) {
            timestamp = _later(timestamp, facts.reminders.newest(1) + facts.limits.gap);
            timestamp = _later(timestamp, facts.reminders.newest(facts.limits.perDay) + 1 days);
            timestamp = _later(timestamp, facts.reminders.newest(facts.limits.perWeek) + 7 days);
        } else {
            timestamp = _later(timestamp, uint256(facts.said.services).newest(SERVICES_PER_DAY) + 1 days);
        }
        timestamp = _nextInHours(timestamp, facts);
        if (Calendar.localDay(timestamp, calendar) > ground.lastDay) return 0;
    }

    /// @inheritdoc INoticeRegistry
    function remindersOf(address borrower) external view returns (uint256[7] memory times) {
        uint256 reminders = _reminders[borrower];
        for (uint256 i = 0; i < REMEMBERED_REMINDERS; ++i) times[i] = reminders.newest(i + 1);
    }

    /// @inheritdoc INoticeRegistry
    function saidOf(bytes32 loan) external view returns (Said memory) {
        return _said[loan];
    }

    // ------------------------------------------------------------------------------------------------- deciding

    function _facts(bytes32 loan) private view returns (Facts memory facts) {
        facts.position = ledger.positionOf(loan);
        if (facts.position.status == Status.None) return facts;
        facts.limits = policyBook.contactOf(facts.position.policy);
        facts.profile = consents.profileOf(facts.position.borrower);
        facts.said = _said[loan];
        facts.reminders = _reminders[facts.position.borrower];
    }

    function _decide(
        Notice calldata notice,
        Facts memory facts,
        address server
    ) private view returns (Decision memory decision, Ground memory ground) {
        decision = _checkServer(facts.position, server);
        if (decision.reason != Refusal.None) return (decision, ground);
        (decision, ground) = _checkGround(notice, facts);
        if (decision.reason != Refusal.None) return (decision, ground);
        decision = _checkConsent(notice.channel, facts.profile);
        if (decision.reason != Refusal.None) return (decision, ground);
        decision = _checkHours(facts);
        if (decision.reason != Refusal.None) return (decision, ground);
        decision = _isReminder(notice.kind) ? _checkCaps(facts) : _checkServices(facts);
    }

    function _checkServer(Position memory position, address server) private pure returns (Decision memory none) {
        if (position.status == Status.None) return Decision(Refusal.UnknownLoan, 0, 0);
        if (server != position.lender && (server != position.servicer || server == address(0))) {
            return Decision(Refusal.NotServer, uint160(server), uint160(position.lender));
        }
    }

    /// BASIS-1: the notice says what the ledger says, on a day on which it may be said.
    function _checkGround(
        Notice calldata notice,
        Facts memory facts
    ) private pure returns (Decision memory decision, Ground memory ground) {
        (decision, ground) = _ground(notice.kind, facts);
        if (decision.reason == Refusal.NoBasis) return (decision, ground);
        if (notice.instalment != ground.instalment) {
            return (Decision(Refusal.WrongInstalment, notice.instalment, ground.instalment), ground);
        }
        if (decision.reason != Refusal.None) return (decision, ground);
        uint256 today = facts.position.today;
        if (today < ground.firstDay) return (Decision(Refusal.TooEarly, today, ground.firstDay), ground);
        if (today > ground.lastDay) return (Decision(Refusal.TooLate, today, ground.lastDay), ground);
        if (notice.amount != ground.amount) {
            return (Decision(Refusal.WrongAmount, notice.amount, ground.amount), ground);
        }
    }

    /// What the ledger lets a notice of this kind say; `NoBasis` or `AlreadySaid` where nothing.
    function _ground(
        Kind kind,
        Facts memory facts
    ) private pure returns (Decision memory decision, Ground memory ground) {
        Position memory position = facts.position;
        Said memory said = facts.said;
        ground.lastDay = type(uint256).max;
        if (kind == Kind.LoanOpened) {
            ground.amount = position.principal;
            if (said.flags & OPENED != 0) decision = Decision(Refusal.AlreadySaid, 1, 1);
        } else if (kind == Kind.LoanRepaid) {
            ground.amount = position.paid;
            if (position.status != Status.Repaid) {
                decision = Decision(Refusal.NoBasis, uint256(position.status), uint256(Status.Repaid));
            } else if (said.flags & REPAID != 0) decision = Decision(Refusal.AlreadySaid, 1, 1);
        } else if (kind == Kind.PaymentReceived) {
            ground.basis = position.paid;
            // An amendment takes what was paid ahead over to another loan.
            if (position.paid > said.received) ground.amount = position.paid - said.received;
            if (position.paid == 0) decision = Decision(Refusal.NoBasis, 0, 1);
            else if (ground.amount == 0) decision = Decision(Refusal.AlreadySaid, 1, 1);
        } else if (kind == Kind.Overdue) {
            if (position.firstUnpaid == 0) return (Decision(Refusal.NoBasis, 0, 1), ground);
            ground.instalment = ground.basis = position.firstUnpaid;
            ground.amount = position.overdue + position.fees;
            // At least a day after the due day, so that the instalment is overdue when the day has come.
            ground.firstDay = position.firstUnpaidDueDay + facts.limits.overdueDays;
            if (said.missed == ground.instalment) ground.serial = said.overdue;
        } else {
            if (position.overdue != 0) return (Decision(Refusal.NoBasis, position.overdue, 0), ground);
            if (position.nextAmount == 0) return (Decision(Refusal.NoBasis, 0, 1), ground);
            ground.instalment = ground.basis = position.next;
            ground.amount = position.nextAmount;
            bool spoken = said.next == position.next;
            if (kind == Kind.DueToday) {
                ground.firstDay = ground.lastDay = position.nextDueDay;
                if (spoken && said.flags & DUE_TODAY != 0) decision = Decision(Refusal.AlreadySaid, 1, 1);
            } else {
                ground.firstDay = position.nextDueDay - facts.limits.upcomingDays;
                ground.lastDay = position.nextDueDay - 1;
                if (spoken) ground.serial = said.upcoming;
            }
        }
    }

    /// For a notice that was served: leave out what the notice itself said.
    function _unsay(Notice calldata notice, Facts memory facts) private pure {
        facts.said.flags = 0;
        if (notice.kind == Kind.PaymentReceived && notice.amount <= facts.position.paid) {
            facts.said.received = uint88(facts.position.paid) - notice.amount;
        }
    }

    function _checkConsent(Channel channel, Profile memory profile) private pure returns (Decision memory none) {
        uint256 bit = 1 << uint8(channel);
        if (profile.registered & bit == 0) return Decision(Refusal.NoContact, uint256(channel), 0);
        if (profile.ceased) return Decision(Refusal.Ceased, 0, 0);
        if (profile.consented & bit == 0) return Decision(Refusal.NoConsent, uint256(channel), 0);
    }

    /// HOURS-1
    function _checkHours(Facts memory facts) private view returns (Decision memory none) {
        uint256 next = _nextInHours(block.timestamp, facts);
        if (next != block.timestamp) return Decision(Refusal.OutsideHours, block.timestamp, next);
    }

    /// CAP-1
    function _checkCaps(Facts memory facts) private view returns (Decision memory none) {
        uint256 allowed = facts.reminders.newest(1) + facts.limits.gap;
        if (block.timestamp < allowed) return Decision(Refusal.TooSoon, block.timestamp, allowed);
        allowed = facts.reminders.newest(facts.limits.perDay) + 1 days;
        if (block.timestamp < allowed) return Decision(Refusal.DayCap, block.timestamp, allowed);
        allowed = facts.reminders.newest(facts.limits.perWeek) + 7 days;
        if (block.timestamp < allowed) return Decision(Refusal.WeekCap, block.timestamp, allowed);
    }

    /// CAP-2
    function _checkServices(Facts memory facts) private view returns (Decision memory none) {
        uint256 allowed = uint256(facts.said.services).newest(SERVICES_PER_DAY) + 1 days;
        if (block.timestamp < allowed) return Decision(Refusal.ServiceCap, block.timestamp, allowed);
    }

    /// The first second, from `timestamp` on, that lies in the window under both of the borrower's offsets.
    /// @dev A window ends before midnight and the offsets are at most two hours apart, so both see the same local day. One of
    /// eight days is always open.
    function _nextInHours(uint256 timestamp, Facts memory facts) private pure returns (uint256 moment) {
        ContactLimits memory limits = facts.limits;
        (int8 west, int8 east) = (facts.profile.offset, facts.profile.otherOffset);
        if (west > east) (west, east) = (east, west);
        for (uint256 day = Calendar.localDay(timestamp, west); ; ++day) {
            // Day 0, 1 January 1970, was a Thursday; Monday is bit 0.
            if ((limits.weekdays >> ((day + 3) % 7)) & 1 == 0) continue;
            uint256 opens = Calendar.startOf(day, west) + uint256(limits.opens) * 1 minutes;
            uint256 closes = Calendar.startOf(day, east) + uint256(limits.closes) * 1 minutes - limits.lead;
            if (timestamp < closes) return _later(timestamp, opens);
        }
    }

    function _isReminder(Kind kind) private pure returns (bool) {
        return kind == Kind.InstalmentUpcoming || kind == Kind.DueToday || kind == Kind.Overdue;
    }

    function _later(uint256 a, uint256 b) private pure returns (uint256) {
        return a > b ? a : b;
    }
}
