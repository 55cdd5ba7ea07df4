// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Case, Grievance, IGrievanceDesk} from "./interfaces/IGrievanceDesk.sol";
import {IConsentRegistry} from "./interfaces/IConsentRegistry.sol";
import {ILoanLedger} from "./interfaces/ILoanLedger.sol";
import {INoticeRegistry} from "./interfaces/INoticeRegistry.sol";
import {ContactLimits, IPolicyBook} from "./interfaces/IPolicyBook.sol";

/// @title GrievanceDesk
/// @notice See {IGrievanceDesk}.
/// @dev Mirrored by `duly/domain/grievance.py`.
contract GrievanceDesk is IGrievanceDesk {
    /// What asking needs of a loan's grievances, or of those of a borrower that concern all loans: one storage slot.
    /// @param standing How many stand.
    /// @param until When the rest after an answer ends.
    /// @param feesStanding, feesUntil The same of those by which late fees rest.
    struct Rest {
        uint16 standing;
        uint40 until;
        uint16 feesStanding;
        uint40 feesUntil;
    }

    uint256 private constant FOREVER = type(uint256).max;

    IPolicyBook public immutable policyBook;
    address private immutable _deployer;
    ILoanLedger public ledger;
    INoticeRegistry public notices;
    IConsentRegistry private _consents;

    mapping(bytes32 loan => mapping(Grievance => Case)) private _cases;
    mapping(bytes32 loan => Rest) private _restOf;
    mapping(address borrower => Rest) private _restOfAll;

    constructor(IPolicyBook policyBook_) {
        policyBook = policyBook_;
        _deployer = msg.sender;
    }

    /// @inheritdoc IGrievanceDesk
    function bind(ILoanLedger ledger_, INoticeRegistry notices_) external {
        if (
            msg.sender != _deployer ||
            address(notices) != address(0) ||
            ledger_.desk() != this ||
            notices_.desk() != this
        ) revert CannotBind(msg.sender, address(ledger_), address(notices_));
        (ledger, notices, _consents) = (ledger_, notices_, notices_.consents());
        emit Bound(address(ledger_), address(notices_));
    }

    // ------------------------------------------------------------------------------------------------- the borrower

    /// @inheritdoc IGrievanceDesk
    function lodge(bytes32 loan, Grievance grievance) external {
        // Check
        (address borrower, address lender, address servicer, uint32 policy) = ledger.partiesOf(loan);
        if (msg.sender != borrower && msg.sender != lender && msg.sender != servicer) {
            revert NotConcerned(msg.sender, borrower, lender, servicer);
        }
        Case memory last = _cases[loan][grievance];
        if (_stands(last)) revert GrievanceStands(loan, grievance, last.since);

        // Effect
        ContactLimits memory limits = policyBook.contactOf(policy);
        bool allLoans = _has(limits.restAllLoans, grievance);
        bool feesRest = _has(limits.restFees, grievance);
        // Fees of what was missed before are charged first, by what rested then.
        ledger.noteGrievance(loan);
        _consents.noteGrievance(borrower);
        _cases[loan][grievance] = Case(uint40(block.timestamp), 0, false, allLoans, feesRest);
        _lodge(_restOf[loan], feesRest);
        if (allLoans) _lodge(_restOfAll[borrower], feesRest);
        emit GrievanceLodged(loan, borrower, grievance, msg.sender, allLoans, feesRest);
    }

    /// @inheritdoc IGrievanceDesk
    function withdraw(bytes32 loan, Grievance grievance) external {
        (address borrower, , , ) = ledger.partiesOf(loan);
        if (msg.sender != borrower) revert NotTheBorrower(msg.sender, borrower);
        _end(loan, grievance, borrower, block.timestamp);
        emit GrievanceWithdrawn(loan, borrower, grievance);
    }

    // ------------------------------------------------------------------------------------------------- gate and ledger

    /// @inheritdoc IGrievanceDesk
    function receiptServed(bytes32 loan, Grievance grievance) external {
        _checkFrom(address(notices));
        _cases[loan][grievance].received = true;
    }

    /// @inheritdoc IGrievanceDesk
    function answerServed(bytes32 loan, Grievance grievance) external {
        _checkFrom(address(notices));
        (address borrower, , , uint32 policy) = ledger.partiesOf(loan);
        uint256 until = block.timestamp + uint256(policyBook.contactOf(policy).pauseDays) * 1 days;
        _end(loan, grievance, borrower, until);
        emit GrievanceAnswered(loan, borrower, grievance, until);
    }

    /// @inheritdoc IGrievanceDesk
    function carryOver(bytes32 loan, bytes32 amendment) external {
        _checkFrom(address(ledger));
        for (uint256 i = 0; i <= uint256(type(Grievance).max); ++i) {
            _cases[amendment][Grievance(i)] = _cases[loan][Grievance(i)];
            delete _cases[loan][Grievance(i)];
        }
        _restOf[amendment] = _restOf[loan];
        delete _restOf[loan];
        emit GrievancesCarriedOver(loan, amendment);
    }

    // ------------------------------------------------------------------------------------------------- asking

    /// @inheritdoc IGrievanceDesk
    function restsUntil(bytes32 loan, address borrower) external view returns (uint256) {
        Rest memory one = _restOf[loan];
        Rest memory all = _restOfAll[borrower];
        if (one.standing != 0 || all.standing != 0) return FOREVER;
        return one.until > all.until ? one.until : all.until;
    }

    /// @inheritdoc IGrievanceDesk
    function feesRestUntil(bytes32 loan) external view returns (uint256) {
        Rest memory one = _restOf[loan];
        return one.feesStanding != 0 ? FOREVER : one.feesUntil;
    }

    /// @inheritdoc IGrievanceDesk
    function caseOf(bytes32 loan, Grievance grievance) external view returns (Case memory) {
        return _cases[loan][grievance];
    }

    // ------------------------------------------------------------------------------------------------- bookkeeping

    function _lodge(Rest storage rest, bool feesRest) private {
        ++rest.standing;
        if (feesRest) ++rest.feesStanding;
    }

    /// @param until Until when reminders rest on.
    function _end(bytes32 loan, Grievance grievance, address borrower, uint256 until) private {
        Case storage ended = _cases[loan][grievance];
        if (!_stands(ended)) revert NoGrievance(loan, grievance);
        ended.answeredAt = uint40(block.timestamp);
        _end(_restOf[loan], ended.feesRest, uint40(until));
        if (ended.allLoans) _end(_restOfAll[borrower], ended.feesRest, uint40(until));
    }

    function _end(Rest storage rest, bool feesRest, uint40 until) private {
        --rest.standing;
        if (until > rest.until) rest.until = until;
        if (!feesRest) return;
        --rest.feesStanding;
        if (until > rest.feesUntil) rest.feesUntil = until;
    }

    function _stands(Case memory it) private pure returns (bool) {
        return it.since != 0 && it.answeredAt == 0;
    }

    function _has(uint8 set, Grievance grievance) private pure returns (bool) {
        return (set >> uint8(grievance)) & 1 != 0;
    }

    function _checkFrom(address required) private view {
        if (msg.sender != required) revert NotFrom(msg.sender, required);
    }
}
