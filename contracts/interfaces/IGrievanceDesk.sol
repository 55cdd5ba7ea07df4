// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {ILoanLedger} from "./ILoanLedger.sol";
import {INoticeRegistry} from "./INoticeRegistry.sol";

/// What a borrower can set against being reminded.
/// Dispute: what is asked for is not, or not all, owed. Hardship: paying is not possible at the moment. Representation: somebody
/// speaks for the borrower; that it is so is recorded, never who.
enum Grievance {
    Dispute,
    Hardship,
    Representation
}

/// A grievance about a loan.
/// @param since When it was lodged, last; zero where it never was.
/// @param answeredAt When the answer was served, or it was withdrawn; zero while it stands.
/// @param received The notice that it was received was served.
/// @param allLoans It rests reminders about all loans of the borrower.
/// @param feesRest No late fee is charged for what is missed while it rests reminders.
struct Case {
    uint40 since;
    uint40 answeredAt;
    bool received;
    bool allLoans;
    bool feesRest;
}

/// @title Where a borrower says that something is wrong, and reminders rest.
/// @notice A grievance rests reminders from the second in which it is lodged (PAUSE-1), by loan or for all loans of the borrower as
/// the loan's policy says. Borrower, lender or servicer may lodge it, the latter two on the borrower's word. It stands
/// until its answer was served by notice, and reminders rest for the policy's days after that; being represented has no
/// answer. The borrower alone withdraws it, and may lodge it again at any time.
interface IGrievanceDesk {
    /// @param recordedBy The borrower, or who recorded the borrower's word.
    event GrievanceLodged(
        bytes32 indexed loan,
        address indexed borrower,
        Grievance indexed grievance,
        address recordedBy,
        bool allLoans,
        bool feesRest
    );
    /// The answer was served. @param restsUntil Until when reminders rest for this grievance.
    event GrievanceAnswered(
        bytes32 indexed loan,
        address indexed borrower,
        Grievance indexed grievance,
        uint256 restsUntil
    );
    /// The borrower takes it back: reminders may go on.
    event GrievanceWithdrawn(bytes32 indexed loan, address indexed borrower, Grievance indexed grievance);
    /// The loan goes on in another, and its grievances with it.
    event GrievancesCarriedOver(bytes32 indexed loan, bytes32 indexed amendment);
    /// The desk knows its ledger and its gate, for ever.
    event Bound(address ledger, address notices);

    /// Only borrower, lender or servicer of the loan can do this.
    error NotConcerned(address sender, address borrower, address lender, address servicer);
    /// Only the borrower can do this.
    error NotTheBorrower(address sender, address borrower);
    /// The grievance stands already.
    error GrievanceStands(bytes32 loan, Grievance grievance, uint256 since);
    /// No such grievance stands.
    error NoGrievance(bytes32 loan, Grievance grievance);
    /// Only this contract can do that.
    error NotFrom(address sender, address required);
    /// The desk is bound to a ledger and a gate already, by another than who deployed it, or to contracts that do not know it.
    error CannotBind(address sender, address ledger, address notices);

    /// @notice Bind the desk to its ledger and its gate. Once, by who deployed it.
    function bind(ILoanLedger ledger, INoticeRegistry notices) external;

    /// @notice Say that something is wrong with a loan on which something is owed: as the borrower, or as lender or servicer on the
    /// borrower's word.
    function lodge(bytes32 loan, Grievance grievance) external;

    /// @notice Take a grievance back, as the borrower.
    function withdraw(bytes32 loan, Grievance grievance) external;

    /// @notice For the gate: the notice that a grievance was received was served.
    function receiptServed(bytes32 loan, Grievance grievance) external;

    /// @notice For the gate: the answer to a grievance was served.
    function answerServed(bytes32 loan, Grievance grievance) external;

    /// @notice For the ledger: a loan goes on in another.
    function carryOver(bytes32 loan, bytes32 amendment) external;

    /// @notice Until when reminders about a loan of this borrower rest: zero where they do not, the largest number while a
    /// grievance stands.
    function restsUntil(bytes32 loan, address borrower) external view returns (uint256);

    /// @notice Until when late fees of a loan rest; read like {restsUntil}.
    function feesRestUntil(bytes32 loan) external view returns (uint256);

    /// @notice A grievance about a loan.
    function caseOf(bytes32 loan, Grievance grievance) external view returns (Case memory);
}
