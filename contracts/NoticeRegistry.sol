// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Channel, IConsentRegistry, Profile} from "./interfaces/IConsentRegistry.sol";
import {Case, Grievance, IGrievanceDesk} from "./interfaces/IGrievanceDesk.sol";
import {ILoanLedger, Position, Status} from "./interfaces/ILoanLedger.sol";
import {INoticeRegistry, Kind, Notice, Refusal, Said, SeldomSaid} from "./interfaces/INoticeRegistry.sol";
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
    /// The cooling-off period is about to end in its last days.
    uint256 private constant COOLING_OFF_ENDS = 3;
    /// Arrears are told of when so many instalments are overdue, and not again before half a year is over.
    uint256 private constant ARREARS = 2;
    uint256 private constant BETWEEN_ARREARS = 180 days;

    uint8 private constant OPENED = 1;
    uint8 private constant DUE_TODAY = 2;
    uint8 private constant REPAID = 4;
    uint8 private constant AHEAD = 8;
    uint8 private constant AMENDED = 16;
    uint8 private constant COOLING_OFF = 32;

    ILoanLedger public immutable ledger;
    IPolicyBook public immutable policyBook;
    IConsentRegistry public immutable consents;
    /// @inheritdoc INoticeRegistry
    IGrievanceDesk public immutable desk;

    mapping(address borrower => uint256) private _reminders;
    mapping(bytes32 loan => Said) private _said;
    mapping(bytes32 loan => SeldomSaid) private _seldomSaid;

    /// Why a notice is refused, with what was and what was wanted.
    struct Decision {
        Refusal reason;
        uint256 actual;
        uint256 required;
    }

    /// Everything a decision is made from. What the notice's kind does not need is left empty.
    struct Facts {
        Position position;
        ContactLimits limits;
        Profile profile;
        Said said;
        SeldomSaid seldomSaid;
        uint256 reminders;
        uint256 restsUntil;
        uint256 coolingOffDays;
        Case grievance;
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

    constructor(ILoanLedger ledger_, IPolicyBook policyBook_, IConsentRegistry consents_, IGrievanceDesk desk_) {
        ledger = ledger_;
        policyBook = policyBook_;
        consents = consents_;
        desk = desk_;
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
        Facts memory facts = _facts(notice.loan, notice.kind);
        Ground memory ground;
        (decision, ground) = _decide(notice, facts, msg.sender);
        if (decision.reason != Refusal.None) return (decision, 0);

        // Effect
        address borrower = facts.position.borrower;
        if (_isReminder(notice.kind)) {
            _reminders[borrower] = facts.reminders.push(block.timestamp, REMEMBERED_REMINDERS);
        }
        _said[notice.loan] = _nowSaid(notice, facts);
        if (_isSeldom(notice.kind)) _seldomSaid[notice.loan] = _nowSeldomSaid(notice.kind, facts);
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

        // Interaction
        if (notice.kind == Kind.DisputeReceived || notice.kind == Kind.HardshipReceived) {
            desk.receiptServed(notice.loan, _grievanceOf(notice.kind));
        } else if (notice.kind == Kind.DisputeAnswered || notice.kind == Kind.HardshipAnswered) {
            desk.answerServed(notice.loan, _grievanceOf(notice.kind));
        }
    }

    /// What has been said about the loan once this notice is.
    function _nowSaid(Notice calldata notice, Facts memory facts) private view returns (Said memory said) {
        said = facts.said;
        Kind kind = notice.kind;
        if (kind == Kind.InstalmentUpcoming || kind == Kind.DueToday || kind == Kind.PaidAhead) {
            if (said.next != notice.instalment) {
                said.next = notice.instalment;
                said.upcoming = 0;
                said.flags &= ~(DUE_TODAY | AHEAD);
            }
            if (kind == Kind.InstalmentUpcoming) ++said.upcoming;
        } else if (kind == Kind.Overdue) {
            if (said.missed != notice.instalment) {
                said.missed = notice.instalment;
                said.overdue = 0;
            }
            ++said.overdue;
        } else if (kind == Kind.PaymentReceived) {
            said.received = uint88(facts.position.paid);
        }
        said.flags |= _flagOf(kind);
        if (!_isReminder(kind)) said.services = uint96(uint256(said.services).push(block.timestamp, SERVICES_PER_DAY));
    }

    function _nowSeldomSaid(Kind kind, Facts memory facts) private view returns (SeldomSaid memory said) {
        said = facts.seldomSaid;
        if (kind == Kind.LoanAssigned) {
            said.lender = facts.position.lender;
            ++said.assignments;
        } else if (kind == Kind.Arrears) {
            said.arrearsAt = uint32(block.timestamp);
            ++said.arrears;
        } else {
            said.consents = uint32(facts.profile.changes);
        }
    }

    // ------------------------------------------------------------------------------------------------- asking

    /// @inheritdoc INoticeRegistry
    function refusal(
        Notice calldata notice,
        address server
    ) external view returns (Refusal reason, uint256 actual, uint256 required) {
        (Decision memory decision, ) = _decide(notice, _facts(notice.loan, notice.kind), server);
        return (decision.reason, decision.actual, decision.required);
    }

    /// @inheritdoc INoticeRegistry
    function standing(
        Notice calldata notice,
        address server
    ) external view returns (Refusal reason, uint256 actual, uint256 required) {
        Facts memory facts = _facts(notice.loan, notice.kind);
        _unsay(notice, facts);
        Decision memory decision = _checkServer(facts.position, server);
        if (decision.reason == Refusal.None) (decision, ) = _checkGround(notice, facts);
        if (decision.reason == Refusal.None) decision = _checkConsent(notice.kind, notice.channel, facts.profile);
        if (decision.reason == Refusal.None) decision = _checkRest(notice.kind, facts);
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
        Facts memory facts = _facts(loan, kind);
        if (facts.position.status == Status.None) return 0;
        (Decision memory decision, Ground memory ground) = _ground(kind, facts);
        if (decision.reason != Refusal.None || instalment != ground.instalment) return 0;
        if (_checkConsent(kind, channel, facts.profile).reason != Refusal.None) return 0;
        decision = _checkRest(kind, facts);
        if (decision.reason == Refusal.NotToldOfAssignment || facts.restsUntil == type(uint256).max) return 0;

        int8 calendar = facts.position.calendarOffset;
        timestamp = block.timestamp;
        if (ground.firstDay > facts.position.today) timestamp = Calendar.startOf(ground.firstDay, calendar);
        if (_isReminder(kind)) {
            timestamp = _later(timestamp, facts.restsUntil);
            timestamp = _later(timestamp, facts.reminders.newest(1) + facts.limits.gap);
            timestamp = _later(timestamp, facts.reminders.newest(facts.limits.perDay) + 1 days);
            timestamp = _later(timestamp, facts.reminders.newest(facts.limits.perWeek) + 7 days);
        } else {
            if (kind == Kind.Arrears) timestamp = _later(timestamp, _nextArrears(facts));
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
    function saidOf(bytes32 loan) external view returns (Said memory, SeldomSaid memory) {
        return (_said[loan], _seldomSaid[loan]);
    }

    // ------------------------------------------------------------------------------------------------- deciding

    function _facts(bytes32 loan, Kind kind) private view returns (Facts memory facts) {
        facts.position = ledger.positionOf(loan);
        if (facts.position.status == Status.None) return facts;
        facts.limits = policyBook.contactOf(facts.position.policy);
        facts.profile = consents.profileOf(facts.position.borrower);
        facts.said = _said[loan];
        if (_isReminder(kind)) {
            facts.reminders = _reminders[facts.position.borrower];
            facts.restsUntil = desk.restsUntil(loan, facts.position.borrower);
            if (facts.position.assigned) facts.seldomSaid = _seldomSaid[loan];
        } else if (_isSeldom(kind)) {
            facts.seldomSaid = _seldomSaid[loan];
        } else if (kind == Kind.CoolingOffEnding) {
            (facts.coolingOffDays, ) = policyBook.daysOf(facts.position.policy);
        } else if (kind >= Kind.DisputeReceived) {
            facts.grievance = desk.caseOf(loan, _grievanceOf(kind));
        }
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
        decision = _checkConsent(notice.kind, notice.channel, facts.profile);
        if (decision.reason != Refusal.None) return (decision, ground);
        decision = _checkRest(notice.kind, facts);
        if (decision.reason != Refusal.None) return (decision, ground);
        decision = _checkHours(facts);
        if (decision.reason != Refusal.None) return (decision, ground);
        decision = _isReminder(notice.kind) ? _checkCaps(facts) : _checkServices(notice.kind, facts);
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
        } else if (kind > Kind.PaidAhead) {
            return _groundOfOthers(kind, facts);
        } else if (kind == Kind.Overdue) {
            if (position.firstUnpaid == 0) return (Decision(Refusal.NoBasis, 0, 1), ground);
            ground.instalment = ground.basis = position.firstUnpaid;
            ground.amount = position.overdue + position.fees;
            // At least a day after the due day, so that the instalment is overdue when the day has come.
            ground.firstDay = position.firstUnpaidDueDay + facts.limits.overdueDays;
            if (said.missed == ground.instalment) ground.serial = said.overdue;
        } else {
            if (position.overdue != 0) return (Decision(Refusal.NoBasis, position.overdue, 0), ground);
            bool ahead = kind == Kind.PaidAhead;
            if (position.next == 0 || ahead != (position.nextAmount == 0)) {
                return (Decision(Refusal.NoBasis, position.nextAmount, ahead ? 0 : 1), ground);
            }
            ground.instalment = ground.basis = position.next;
            ground.amount = position.nextAmount;
            bool spoken = said.next == position.next;
            if (ahead) {
                ground.lastDay = position.nextDueDay;
                if (spoken && said.flags & AHEAD != 0) decision = Decision(Refusal.AlreadySaid, 1, 1);
            } else if (kind == Kind.DueToday) {
                ground.firstDay = ground.lastDay = position.nextDueDay;
                if (spoken && said.flags & DUE_TODAY != 0) decision = Decision(Refusal.AlreadySaid, 1, 1);
            } else {
                ground.firstDay = position.nextDueDay - facts.limits.upcomingDays;
                ground.lastDay = position.nextDueDay - 1;
                if (spoken) ground.serial = said.upcoming;
            }
        }
    }

    /// The same of what is told of besides payments and instalments: each once.
    function _groundOfOthers(
        Kind kind,
        Facts memory facts
    ) private pure returns (Decision memory decision, Ground memory ground) {
        Position memory position = facts.position;
        ground.lastDay = type(uint256).max;
        bool known = facts.said.flags & _flagOf(kind) != 0;
        uint256 found;
        uint256 wanted = 1;
        if (kind == Kind.LoanAmended) {
            if (position.amends) found = 1;
            ground.amount = position.principal;
        } else if (kind == Kind.CoolingOffEnding) {
            if (!position.amends && position.status == Status.Active) found = facts.coolingOffDays;
            ground.lastDay = Calendar.localDay(position.openedAt, position.calendarOffset) + found;
            ground.firstDay = ground.lastDay - COOLING_OFF_ENDS;
        } else if (kind == Kind.ConsentChanged) {
            found = ground.basis = facts.profile.changes;
            known = facts.seldomSaid.consents == found;
        } else if (kind == Kind.LoanAssigned) {
            if (position.assigned) found = 1;
            ground.basis = uint160(position.lender);
            ground.serial = facts.seldomSaid.assignments;
            known = facts.seldomSaid.lender == position.lender;
        } else if (kind == Kind.Arrears) {
            (found, wanted) = (position.missed, ARREARS);
            ground.instalment = ground.basis = position.firstUnpaid;
            ground.amount = position.overdue + position.fees;
            ground.serial = facts.seldomSaid.arrears;
        } else {
            if (facts.grievance.answeredAt == 0) found = ground.basis = facts.grievance.since;
            known = facts.grievance.received && (kind == Kind.DisputeReceived || kind == Kind.HardshipReceived);
        }
        if (found < wanted) decision = Decision(Refusal.NoBasis, found, wanted);
        else if (known) decision = Decision(Refusal.AlreadySaid, 1, 1);
    }

    /// For a notice that was served: leave out what the notice itself said.
    function _unsay(Notice calldata notice, Facts memory facts) private pure {
        facts.said.flags = 0;
        (facts.grievance.received, facts.grievance.answeredAt) = (false, 0);
        // A reminder says nothing of these.
        if (!_isReminder(notice.kind)) (facts.seldomSaid.lender, facts.seldomSaid.consents) = (address(0), 0);
        if (notice.kind == Kind.PaymentReceived && notice.amount <= facts.position.paid) {
            facts.said.received = uint88(facts.position.paid) - notice.amount;
        }
    }

    /// CONSENT-1
    function _checkConsent(
        Kind kind,
        Channel channel,
        Profile memory profile
    ) private pure returns (Decision memory none) {
        uint256 bit = 1 << uint8(channel);
        bool owed = kind >= Kind.DisputeAnswered;
        if (owed && channel == Channel.InApp) return none;
        if (profile.registered & bit == 0) return Decision(Refusal.NoContact, uint256(channel), 0);
        if (owed) return none;
        if (profile.ceased) return Decision(Refusal.Ceased, 0, 0);
        if (profile.consented & bit == 0) return Decision(Refusal.NoConsent, uint256(channel), 0);
    }

    /// PAUSE-1; and whoever takes over a loan has to say so first.
    function _checkRest(Kind kind, Facts memory facts) private view returns (Decision memory none) {
        if (!_isReminder(kind)) return none;
        (address told, address lender) = (facts.seldomSaid.lender, facts.position.lender);
        if (facts.position.assigned && told != lender) {
            return Decision(Refusal.NotToldOfAssignment, uint160(told), uint160(lender));
        }
        if (block.timestamp < facts.restsUntil) return Decision(Refusal.Resting, block.timestamp, facts.restsUntil);
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
    function _checkServices(Kind kind, Facts memory facts) private view returns (Decision memory none) {
        uint256 allowed = kind == Kind.Arrears ? _nextArrears(facts) : 0;
        if (block.timestamp < allowed) return Decision(Refusal.TooSoon, block.timestamp, allowed);
        allowed = uint256(facts.said.services).newest(SERVICES_PER_DAY) + 1 days;
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

    function _nextArrears(Facts memory facts) private pure returns (uint256) {
        uint256 last = facts.seldomSaid.arrearsAt;
        return last == 0 ? 0 : last + BETWEEN_ARREARS;
    }

    function _isReminder(Kind kind) private pure returns (bool) {
        return kind == Kind.InstalmentUpcoming || kind == Kind.DueToday || kind == Kind.Overdue;
    }

    /// What was said of it is kept apart.
    function _isSeldom(Kind kind) private pure returns (bool) {
        return kind == Kind.ConsentChanged || kind == Kind.LoanAssigned || kind == Kind.Arrears;
    }

    /// The flag that it was said, of what is said once.
    function _flagOf(Kind kind) private pure returns (uint8) {
        if (kind == Kind.LoanOpened) return OPENED;
        if (kind == Kind.DueToday) return DUE_TODAY;
        if (kind == Kind.LoanRepaid) return REPAID;
        if (kind == Kind.PaidAhead) return AHEAD;
        if (kind == Kind.LoanAmended) return AMENDED;
        return kind == Kind.CoolingOffEnding ? COOLING_OFF : 0;
    }

    /// The grievance that a kind is about.
    function _grievanceOf(Kind kind) private pure returns (Grievance) {
        return
            kind == Kind.DisputeReceived || kind == Kind.DisputeAnswered ? Grievance.Dispute : Grievance.Hardship;
    }

    function _later(uint256 a, uint256 b) private pure returns (uint256) {
        return a > b ? a : b;
    }
}
