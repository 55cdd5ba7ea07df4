// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {EfficientHashLib} from "solady/utils/EfficientHashLib.sol";

import {ConsentRegistry} from "./ConsentRegistry.sol";
import {Channel, IConsentRegistry} from "./interfaces/IConsentRegistry.sol";
import {Case, Grievance, IGrievanceDesk} from "./interfaces/IGrievanceDesk.sol";
import {ILoanLedger, Status} from "./interfaces/ILoanLedger.sol";
import {INoticeRegistry, Kind, Notice, Refusal, Said, SeldomSaid} from "./interfaces/INoticeRegistry.sol";
import {IPolicyBook} from "./interfaces/IPolicyBook.sol";
import {Amortization} from "./libraries/Amortization.sol";
import {Calendar} from "./libraries/Calendar.sol";
import {Debt, Loans, Origin} from "./libraries/Loans.sol";
import {PackedLimits, PackedProfile, PackedSaid} from "./libraries/Packed.sol";
import {Rolling} from "./libraries/Rolling.sol";

/// @title NoticeRegistry
/// @notice See {INoticeRegistry}.
/// @dev The decision is mirrored by `duly/domain/notice.py`.
contract NoticeRegistry is INoticeRegistry {
    using Loans for Debt;
    using Loans for Origin;
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
    /// Those and the rest, see {Said}: a byte for each kind, the first last; zero for what may be said more than once.
    uint256 private constant FLAGS = 0x201008040000020001;

    ILoanLedger public immutable ledger;
    IPolicyBook public immutable policyBook;
    /// @inheritdoc INoticeRegistry
    IConsentRegistry public immutable consents;
    /// @inheritdoc INoticeRegistry
    IGrievanceDesk public immutable desk;

    mapping(bytes32 loan => Said) private _said;
    mapping(bytes32 loan => SeldomSaid) private _seldomSaid;

    /// What the ledger lets a notice of some kind say.
    /// @dev `served` is asked with: what such a notice said already does not speak against it.
    struct Ground {
        uint256 instalment;
        uint256 amount;
        uint256 firstDay;
        uint256 lastDay;
        uint256 basis;
        uint256 serial;
        bool served;
    }

    /// What every decision is made from; some kinds need more, and ask for it. A batch fills the same memory for each notice:
    /// making a struct anew costs more than filling it.
    /// @param reminder The notice is one.
    /// @param debt With lateness assessed.
    /// @param today In the loan's calendar.
    /// @param past How many instalments are past due.
    /// @param due Their sum.
    struct Facts {
        bool reminder;
        Origin origin;
        Debt debt;
        Amortization.Curve curve;
        address servicer;
        uint256 today;
        uint256 past;
        uint256 due;
        PackedLimits limits;
        PackedProfile profile;
        PackedSaid said;
        Ground ground;
    }

    /// The last reminder of a batch that was served.
    struct Message {
        address borrower;
        bytes32 loan;
        Channel channel;
        bytes32 contentHash;
    }

    constructor(ILoanLedger ledger_, IPolicyBook policyBook_, IGrievanceDesk desk_) {
        ledger = ledger_;
        policyBook = policyBook_;
        desk = desk_;
        consents = new ConsentRegistry(ledger_, desk_);
    }

    // ------------------------------------------------------------------------------------------------- serving

    /// @inheritdoc INoticeRegistry
    function serve(Notice calldata notice) external returns (bytes32 id) {
        Facts memory facts;
        Message memory none;
        (Refusal reason, uint256 actual, uint256 required, bytes32 served) = _serve(notice, facts, none);
        if (reason != Refusal.None) revert Refused(reason, actual, required);
        return served;
    }

    /// @inheritdoc INoticeRegistry
    function serveMany(Notice[] calldata notices) external returns (bytes32[] memory ids) {
        ids = new bytes32[](notices.length);
        Facts memory facts;
        Message memory last;
        uint256 free;
        assembly ("memory-safe") {
            free := mload(0x40)
        }
        for (uint256 i = 0; i < notices.length; ++i) {
            Notice calldata notice = notices[i];
            (Refusal reason, uint256 actual, uint256 required, bytes32 id) = _serve(notice, facts, last);
            ids[i] = id;
            if (reason != Refusal.None) {
                emit NoticeRefused(
                    notice.loan,
                    msg.sender,
                    notice.kind,
                    notice.instalment,
                    notice.channel,
                    reason,
                    actual,
                    required
                );
            }
            // Memory that only grows costs more with every notice. Nothing that was made for one is needed for the next: `facts` and
            // `last` were made before, and only their members are set, never to what was made since.
            assembly ("memory-safe") {
                mstore(0x40, free)
            }
        }
    }

    /// @param facts Of the notice before; become this one's.
    /// @param last The last reminder of the batch that was served; becomes this one where it is one.
    function _serve(
        Notice calldata notice,
        Facts memory facts,
        Message memory last
    ) private returns (Refusal reason, uint256 actual, uint256 required, bytes32 id) {
        // Check
        Kind kind = notice.kind;
        bytes32 loan = notice.loan;
        _learn(loan, kind, facts);
        (reason, actual, required) = _checkServer(facts, msg.sender);
        if (reason != Refusal.None) return (reason, actual, required, 0);
        address borrower = facts.origin.borrower;
        bool together = facts.reminder && _continues(notice, borrower, last);
        (reason, actual, required) = _decide(notice, kind, facts, together);
        if (reason != Refusal.None) return (reason, actual, required, 0);

        // Effect
        Ground memory ground = facts.ground;
        _say(loan, kind, facts, ground.instalment);
        id = EfficientHashLib.hash(uint256(loan), uint256(kind), ground.basis, ground.serial);
        emit NoticeServed(
            id,
            loan,
            msg.sender,
            borrower,
            kind,
            notice.instalment,
            notice.amount,
            notice.channel,
            ground.basis,
            ground.serial,
            notice.contentHash,
            together
        );

        // Interaction, with nobody but our own
        if (facts.reminder) {
            (last.borrower, last.loan, last.channel, last.contentHash) = (
                borrower,
                loan,
                notice.channel,
                notice.contentHash
            );
            if (!together) {
                uint256 reminders = facts.profile.reminders().push(block.timestamp, REMEMBERED_REMINDERS);
                consents.noteReminder(borrower, uint152(reminders));
            }
        } else if (kind == Kind.DisputeReceived || kind == Kind.HardshipReceived) {
            desk.receiptServed(loan, _grievanceOf(kind));
        } else if (kind == Kind.DisputeAnswered || kind == Kind.HardshipAnswered) {
            desk.answerServed(loan, _grievanceOf(kind));
        }
    }

    /// Whether a reminder is part of the message of the one before it. Ascending loans, so that none is in it twice.
    function _continues(
        Notice calldata notice,
        address borrower,
        Message memory last
    ) private pure returns (bool) {
        return
            last.contentHash == notice.contentHash &&
            last.borrower == borrower &&
            last.channel == notice.channel &&
            last.loan < notice.loan &&
            last.loan != 0;
    }

    /// Keep what has been said about the loan once this notice is.
    function _say(bytes32 loan, Kind kind, Facts memory facts, uint256 instalment) private {
        PackedSaid said = facts.said;
        if (kind == Kind.InstalmentUpcoming || kind == Kind.DueToday || kind == Kind.PaidAhead) {
            if (said.next() != instalment) {
                said = said.withNext(uint16(instalment)).withUpcoming(0);
                said = said.withFlags(said.flags() & ~(DUE_TODAY | AHEAD));
            }
            if (kind == Kind.InstalmentUpcoming) said = said.withUpcoming(said.upcoming() + 1);
        } else if (kind == Kind.Overdue) {
            // The serial tells how often it was said of this instalment before.
            said = said.withMissed(uint16(instalment)).withOverdue(uint16(facts.ground.serial + 1));
        } else if (kind == Kind.PaymentReceived) {
            said = said.withReceived(facts.debt.paid);
        } else if (kind == Kind.LoanAssigned) {
            SeldomSaid storage seldom = _seldomSaid[loan];
            seldom.lender = facts.debt.lender;
            ++seldom.assignments;
        } else if (kind == Kind.Arrears) {
            SeldomSaid storage seldom = _seldomSaid[loan];
            seldom.arrearsAt = uint32(block.timestamp);
            ++seldom.arrears;
        } else if (kind == Kind.ConsentChanged) {
            _seldomSaid[loan].consents = uint32(facts.profile.changes());
        }
        said = said.withFlags(said.flags() | _flagOf(kind));
        if (!facts.reminder) {
            said = said.withServices(uint72(said.services().push(block.timestamp, SERVICES_PER_DAY)));
        }
        Said storage stored = _said[loan];
        // {Said} is one slot, and `facts.said` was what stood in it.
        assembly ("memory-safe") {
            sstore(stored.slot, said)
        }
    }

    // ------------------------------------------------------------------------------------------------- asking

    /// @inheritdoc INoticeRegistry
    function refusal(
        Notice calldata notice,
        address server
    ) external view returns (Refusal reason, uint256 actual, uint256 required) {
        Facts memory facts;
        _learn(notice.loan, notice.kind, facts);
        (reason, actual, required) = _checkServer(facts, server);
        if (reason != Refusal.None) return (reason, actual, required);
        return _decide(notice, notice.kind, facts, false);
    }

    /// @inheritdoc INoticeRegistry
    function standing(
        Notice calldata notice,
        address server
    ) external view returns (Refusal reason, uint256 actual, uint256 required) {
        Facts memory facts;
        _learn(notice.loan, notice.kind, facts);
        (reason, actual, required) = _checkServer(facts, server);
        if (reason != Refusal.None) return (reason, actual, required);
        // What the notice itself said does not speak against it.
        if (notice.kind == Kind.PaymentReceived && notice.amount <= facts.debt.paid) {
            facts.said = facts.said.withReceived(facts.debt.paid - notice.amount);
        }
        facts.ground.served = true;
        return _decideButCaps(notice, notice.kind, facts, 0);
    }

    /// @inheritdoc INoticeRegistry
    function earliest(
        bytes32 loan,
        Kind kind,
        uint16 instalment,
        Channel channel
    ) external view returns (uint256 timestamp) {
        Facts memory facts;
        _learn(loan, kind, facts);
        if (facts.origin.borrower == address(0)) return 0;
        Ground memory ground = facts.ground;
        (Refusal reason, , ) = _ground(loan, kind, facts);
        if (reason != Refusal.None || instalment != ground.instalment) return 0;
        (reason, , ) = _checkConsent(kind, channel, facts.profile);
        if (reason != Refusal.None) return 0;
        uint256 restsUntil;
        if (facts.reminder) {
            (reason, , restsUntil) = _checkRest(loan, facts);
            if (reason == Refusal.NotToldOfAssignment || restsUntil == type(uint256).max) return 0;
        }

        int8 calendar = facts.debt.calendarOffset;
        timestamp = block.timestamp;
        if (ground.firstDay > facts.today) timestamp = Calendar.startOf(ground.firstDay, calendar);
        if (facts.reminder) {
            uint256 reminders = facts.profile.reminders();
            timestamp = _later(timestamp, restsUntil);
            timestamp = _later(timestamp, reminders.newest(1) + facts.limits.gap());
            timestamp = _later(timestamp, reminders.newest(facts.limits.perDay()) + 1 days);
            timestamp = _later(timestamp, reminders.newest(facts.limits.perWeek()) + 7 days);
        } else {
            if (kind == Kind.Arrears) timestamp = _later(timestamp, _nextArrears(loan));
            timestamp = _later(timestamp, facts.said.services().newest(SERVICES_PER_DAY) + 1 days);
        }
        timestamp = _nextInHours(timestamp, facts, facts.limits.lead());
        if (Calendar.localDay(timestamp, calendar) > ground.lastDay) return 0;
    }

    /// @inheritdoc INoticeRegistry
    function remindersOf(address borrower) external view returns (uint256[7] memory times) {
        uint256 reminders = consents.profileOf(borrower).reminders;
        for (uint256 i = 0; i < REMEMBERED_REMINDERS; ++i) times[i] = reminders.newest(i + 1);
    }

    /// @inheritdoc INoticeRegistry
    function saidOf(bytes32 loan) external view returns (Said memory, SeldomSaid memory) {
        return (_said[loan], _seldomSaid[loan]);
    }

    // ------------------------------------------------------------------------------------------------- deciding

    /// Fill in the facts about a loan, all but the ground; of one that was never opened, only that it has no borrower.
    /// @param facts Of the notice before, where there was one in the batch.
    function _learn(bytes32 loan, Kind kind, Facts memory facts) private view {
        (Origin memory origin, Debt memory debt) = (facts.origin, facts.debt);
        (uint256 policy, address lender) = (origin.policy, debt.lender);
        {
            (uint256 opening, uint256 calendar, uint256 amounts, uint256 curves) = ledger.loanSlots(loan);
            origin.unpack(opening);
            debt.unpack(calendar, amounts, curves);
        }
        if (origin.borrower == address(0)) return;
        // The loans of a batch are mostly one lender's, under one policy: both are asked about only where they change. In one
        // transaction their answers do not: a batch calls nobody but our own. No loan has the lender or the policy zero, which
        // stand here before the first notice and after an unknown loan.
        if (debt.lender != lender) facts.servicer = ledger.servicerOf(debt.lender);
        if (origin.policy != policy) facts.limits = policyBook.packedContactOf(origin.policy);
        debt.draw(facts.curve);
        facts.reminder = _isReminder(kind);
        facts.today = debt.today();
        (, , facts.past, facts.due) = debt.assess(facts.curve, debt.aggrieved ? desk.feesRestUntil(loan) : 0);
        facts.profile = consents.storedProfile(origin.borrower);
        PackedSaid said;
        Said storage stored = _said[loan];
        // {Said} is one slot.
        assembly ("memory-safe") {
            said := sload(stored.slot)
        }
        facts.said = said;
    }

    /// Why a notice is refused to its server, with what was and what was wanted; `None` where it is not.
    /// @param together It is part of a message that passed the caps.
    function _decide(
        Notice calldata notice,
        Kind kind,
        Facts memory facts,
        bool together
    ) private view returns (Refusal reason, uint256 actual, uint256 required) {
        (reason, actual, required) = _decideButCaps(notice, kind, facts, facts.limits.lead());
        if (reason != Refusal.None || together) return (reason, actual, required);
        return facts.reminder ? _checkCaps(facts) : _checkServices(notice.loan, kind, facts);
    }

    /// @param lead The seconds of the window that must be left.
    function _decideButCaps(
        Notice calldata notice,
        Kind kind,
        Facts memory facts,
        uint256 lead
    ) private view returns (Refusal reason, uint256 actual, uint256 required) {
        (reason, actual, required) = _checkGround(notice, kind, facts);
        if (reason != Refusal.None) return (reason, actual, required);
        (reason, actual, required) = _checkConsent(kind, notice.channel, facts.profile);
        if (reason != Refusal.None) return (reason, actual, required);
        if (facts.reminder) (reason, actual, required) = _checkRest(notice.loan, facts);
        if (reason != Refusal.None) return (reason, actual, required);
        return _notBefore(Refusal.OutsideHours, _nextInHours(block.timestamp, facts, lead));
    }

    /// SERVER-1
    function _checkServer(
        Facts memory facts,
        address server
    ) private pure returns (Refusal, uint256, uint256) {
        if (facts.origin.borrower == address(0)) return (Refusal.UnknownLoan, 0, 0);
        address lender = facts.debt.lender;
        if (server != lender && (server != facts.servicer || server == address(0))) {
            return (Refusal.NotServer, uint160(server), uint160(lender));
        }
        return (Refusal.None, 0, 0);
    }

    /// BASIS-1: the notice says what the ledger says, on a day on which it may be said.
    function _checkGround(
        Notice calldata notice,
        Kind kind,
        Facts memory facts
    ) private view returns (Refusal reason, uint256 actual, uint256 required) {
        (reason, actual, required) = _ground(notice.loan, kind, facts);
        Ground memory ground = facts.ground;
        if (reason == Refusal.NoBasis) return (reason, actual, required);
        if (notice.instalment != ground.instalment) {
            return (Refusal.WrongInstalment, notice.instalment, ground.instalment);
        }
        if (reason != Refusal.None) return (reason, actual, required);
        uint256 today = facts.today;
        if (today < ground.firstDay) return (Refusal.TooEarly, today, ground.firstDay);
        if (today > ground.lastDay) return (Refusal.TooLate, today, ground.lastDay);
        if (notice.amount != ground.amount) return (Refusal.WrongAmount, notice.amount, ground.amount);
    }

    /// Fill in what the ledger lets a notice of this kind say; `NoBasis` or `AlreadySaid` where nothing.
    function _ground(
        bytes32 loan,
        Kind kind,
        Facts memory facts
    ) private view returns (Refusal, uint256, uint256) {
        Debt memory debt = facts.debt;
        PackedSaid said = facts.said;
        Ground memory ground = facts.ground;
        if (kind == Kind.Overdue) {
            uint256 missed = debt.firstUnpaid(facts.curve, facts.past, facts.due);
            if (missed == 0) return (Refusal.NoBasis, 0, 1);
            (uint256 late, uint256 fees) = debt.arrears(facts.due);
            ground.instalment = ground.basis = missed;
            unchecked {
                // Sums of 80 bits, and of days.
                ground.amount = late + fees;
                // At least a day after the due day, so that the instalment is overdue when the day has come.
                ground.firstDay = debt.dueDay(missed) + facts.limits.overdueDays();
            }
            ground.lastDay = type(uint256).max;
            ground.serial = said.missed() == missed ? said.overdue() : 0;
            return (Refusal.None, 0, 0);
        }
        // The notice before may have left something.
        (ground.instalment, ground.amount, ground.basis, ground.serial) = (0, 0, 0, 0);
        (ground.firstDay, ground.lastDay) = (0, type(uint256).max);
        if (kind == Kind.LoanOpened) {
            ground.amount = debt.principal;
            return _once(ground, said.flags() & OPENED != 0);
        }
        if (kind == Kind.LoanRepaid) {
            ground.amount = debt.paid;
            Status status = debt.statusOf(facts.origin);
            if (status != Status.Repaid) return (Refusal.NoBasis, uint256(status), uint256(Status.Repaid));
            return _once(ground, said.flags() & REPAID != 0);
        }
        if (kind == Kind.PaymentReceived) {
            ground.basis = debt.paid;
            // An amendment takes what was paid ahead over to another loan.
            if (debt.paid > said.received()) ground.amount = debt.paid - said.received();
            if (debt.paid == 0) return (Refusal.NoBasis, 0, 1);
            return ground.amount == 0 ? (Refusal.AlreadySaid, 1, 1) : (Refusal.None, 0, 0);
        }
        if (kind > Kind.PaidAhead) return _groundOfOthers(loan, kind, facts);
        (uint256 overdue, ) = debt.arrears(facts.due);
        if (overdue != 0) return (Refusal.NoBasis, overdue, 0);
        (uint256 next, uint256 dueDay, uint256 missing) = debt.next(facts.curve, facts.past);
        bool ahead = kind == Kind.PaidAhead;
        if (next == 0 || ahead != (missing == 0)) return (Refusal.NoBasis, missing, ahead ? 0 : 1);
        ground.instalment = ground.basis = next;
        ground.amount = missing;
        bool spoken = said.next() == next;
        if (ahead) {
            ground.lastDay = dueDay;
            return _once(ground, spoken && said.flags() & AHEAD != 0);
        }
        if (kind == Kind.DueToday) {
            ground.firstDay = ground.lastDay = dueDay;
            return _once(ground, spoken && said.flags() & DUE_TODAY != 0);
        }
        unchecked {
            // Nothing is due within the first days of 1970.
            ground.firstDay = dueDay - facts.limits.upcomingDays();
            ground.lastDay = dueDay - 1;
        }
        if (spoken) ground.serial = said.upcoming();
        return (Refusal.None, 0, 0);
    }

    /// The same of what is told of besides payments and instalments: each once.
    function _groundOfOthers(
        bytes32 loan,
        Kind kind,
        Facts memory facts
    ) private view returns (Refusal, uint256, uint256) {
        Origin memory origin = facts.origin;
        Debt memory debt = facts.debt;
        Ground memory ground = facts.ground;
        bool known = facts.said.flags() & _flagOf(kind) != 0;
        uint256 found;
        uint256 wanted = 1;
        if (kind == Kind.LoanAmended) {
            if (origin.amends) found = 1;
            ground.amount = debt.principal;
        } else if (kind == Kind.CoolingOffEnding) {
            if (!origin.amends && debt.statusOf(origin) == Status.Active) (found, ) = policyBook.daysOf(origin.policy);
            ground.lastDay = Calendar.localDay(origin.openedAt, debt.calendarOffset) + found;
            ground.firstDay = ground.lastDay - COOLING_OFF_ENDS;
        } else if (kind == Kind.ConsentChanged) {
            found = ground.basis = facts.profile.changes();
            known = _seldomSaid[loan].consents == found;
        } else if (kind == Kind.LoanAssigned) {
            if (debt.assigned) found = 1;
            ground.basis = uint160(debt.lender);
            ground.serial = _seldomSaid[loan].assignments;
            known = _seldomSaid[loan].lender == debt.lender;
        } else if (kind == Kind.Arrears) {
            (uint256 overdue, uint256 fees) = debt.arrears(facts.due);
            ground.instalment = ground.basis = debt.firstUnpaid(facts.curve, facts.past, facts.due);
            ground.amount = overdue + fees;
            wanted = ARREARS;
            if (overdue != 0) found = facts.past + 1 - ground.instalment;
            ground.serial = _seldomSaid[loan].arrears;
        } else {
            Case memory grievance = desk.caseOf(loan, _grievanceOf(kind));
            if (grievance.answeredAt == 0 || ground.served) found = ground.basis = grievance.since;
            known = grievance.received && (kind == Kind.DisputeReceived || kind == Kind.HardshipReceived);
        }
        if (found < wanted) return (Refusal.NoBasis, found, wanted);
        return _once(ground, known);
    }

    function _once(Ground memory ground, bool known) private pure returns (Refusal, uint256, uint256) {
        return known && !ground.served ? (Refusal.AlreadySaid, 1, 1) : (Refusal.None, 0, 0);
    }

    /// CONSENT-1
    function _checkConsent(
        Kind kind,
        Channel channel,
        PackedProfile profile
    ) private pure returns (Refusal, uint256, uint256) {
        uint256 bit = 1 << uint8(channel);
        bool owed = kind >= Kind.DisputeAnswered;
        if (owed && channel == Channel.InApp) return (Refusal.None, 0, 0);
        if (profile.registered() & bit == 0) return (Refusal.NoContact, uint256(channel), 0);
        if (owed) return (Refusal.None, 0, 0);
        if (profile.ceased()) return (Refusal.Ceased, 0, 0);
        if (profile.consented() & bit == 0) return (Refusal.NoConsent, uint256(channel), 0);
        return (Refusal.None, 0, 0);
    }

    /// PAUSE-1; and whoever takes over a loan has to say so first.
    function _checkRest(bytes32 loan, Facts memory facts) private view returns (Refusal, uint256, uint256) {
        if (facts.debt.assigned) {
            (address told, address lender) = (_seldomSaid[loan].lender, facts.debt.lender);
            if (told != lender) return (Refusal.NotToldOfAssignment, uint160(told), uint160(lender));
        }
        // Whoever never lodged a grievance costs no call.
        if (!facts.profile.aggrieved()) return (Refusal.None, 0, 0);
        return _notBefore(Refusal.Resting, desk.restsUntil(loan, facts.origin.borrower));
    }

    /// CAP-1
    /// @dev The arithmetic is of moments and small numbers.
    function _checkCaps(
        Facts memory facts
    ) private view returns (Refusal reason, uint256 actual, uint256 required) {
        unchecked {
            uint256 reminders = facts.profile.reminders();
            PackedLimits limits = facts.limits;
            (reason, actual, required) = _notBefore(Refusal.TooSoon, reminders.newest(1) + limits.gap());
            if (reason != Refusal.None) return (reason, actual, required);
            (reason, actual, required) = _notBefore(Refusal.DayCap, reminders.newest(limits.perDay()) + 1 days);
            if (reason != Refusal.None) return (reason, actual, required);
            return _notBefore(Refusal.WeekCap, reminders.newest(limits.perWeek()) + 7 days);
        }
    }

    /// CAP-2
    function _checkServices(
        bytes32 loan,
        Kind kind,
        Facts memory facts
    ) private view returns (Refusal reason, uint256 actual, uint256 required) {
        if (kind == Kind.Arrears) {
            (reason, actual, required) = _notBefore(Refusal.TooSoon, _nextArrears(loan));
            if (reason != Refusal.None) return (reason, actual, required);
        }
        return _notBefore(Refusal.ServiceCap, facts.said.services().newest(SERVICES_PER_DAY) + 1 days);
    }

    /// The reason, until a moment.
    function _notBefore(Refusal reason, uint256 allowed) private view returns (Refusal, uint256, uint256) {
        return block.timestamp < allowed ? (reason, block.timestamp, allowed) : (Refusal.None, 0, 0);
    }

    /// The first second, from `timestamp` on, that lies in the window under both of the borrower's offsets.
    /// @dev A window ends before midnight and the offsets are at most two hours apart, so both see the same local day. One of
    /// eight days is always open. The arithmetic is of moments and small numbers.
    function _nextInHours(
        uint256 timestamp,
        Facts memory facts,
        uint256 lead
    ) private pure returns (uint256 moment) {
        unchecked {
            PackedLimits limits = facts.limits;
            (int256 west, int256 east) = (facts.profile.offset(), facts.profile.otherOffset());
            if (west > east) (west, east) = (east, west);
            for (uint256 day = Calendar.localDay(timestamp, west); ; ++day) {
                // Day 0, 1 January 1970, was a Thursday; Monday is bit 0.
                if ((limits.weekdays() >> ((day + 3) % 7)) & 1 == 0) continue;
                uint256 opens = Calendar.startOf(day, west) + limits.opens() * 1 minutes;
                uint256 closes = Calendar.startOf(day, east) + limits.closes() * 1 minutes - lead;
                if (timestamp < closes) return _later(timestamp, opens);
            }
        }
    }

    function _nextArrears(bytes32 loan) private view returns (uint256) {
        uint256 last = _seldomSaid[loan].arrearsAt;
        return last == 0 ? 0 : last + BETWEEN_ARREARS;
    }

    function _isReminder(Kind kind) private pure returns (bool) {
        return kind >= Kind.InstalmentUpcoming && kind <= Kind.Overdue;
    }

    /// The flag that it was said, of what is said once.
    /// @dev There are fewer kinds than a word has bytes.
    function _flagOf(Kind kind) private pure returns (uint8) {
        unchecked {
            return uint8(FLAGS >> (8 * uint256(kind)));
        }
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
