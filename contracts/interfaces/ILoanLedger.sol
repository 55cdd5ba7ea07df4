// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IGrievanceDesk} from "./IGrievanceDesk.sol";

/// The shape of a schedule; the formulas stand in {Amortization}.
/// Level: instalments of the same amount. EqualPrincipal: the same principal in each, with the interest on what is outstanding.
/// InterestOnly: interest alone, and the principal with the last. Bullet: all at once when the last period is over.
enum Schedule {
    Level,
    EqualPrincipal,
    InterestOnly,
    Bullet
}

/// How often an instalment falls due. Months and quarters follow the calendar, the others count days.
enum Frequency {
    Monthly,
    Quarterly,
    Weekly,
    Fortnightly,
    FourWeekly
}

/// Where a loan stands.
/// None: never opened, or its offer was cancelled. Active: money is owed. Repaid: nothing is owed any more.
/// Defaulted: money is owed, and the lender marked a default, on an instalment that is still unpaid. Rescinded: the borrower withdrew in the
/// cooling-off period. Replaced: an amendment carries on what was owed. Cancelled: recorded for an offer, told as `None`.
/// @dev `Repaid` and `Defaulted` are derived from the two curves and never stored.
enum Status {
    None,
    Active,
    Repaid,
    Defaulted,
    Rescinded,
    Replaced,
    Cancelled
}

/// What lender and borrower agree on. The EIP-712 hash of the terms is the loan's id, so the id proves them.
/// @param lender Who lends, and receives the repayments until the claim is assigned.
/// @param borrower Who borrows; no loan is opened without their key.
/// @param principal Amount lent.
/// @param originationFee Part of the principal that the lender keeps; the borrower receives the rest.
/// @param lateFee Fixed fee for each instalment that is not paid when its grace period ends.
/// @param rate Nominal annual interest rate, in parts per million (112_200 = 11.22 %).
/// @param instalments Number of instalments; of a bullet, the number of periods after which it falls due.
/// @param firstDue Calendar day on which the first instalment is due (a bullet's first period ends), in days since 1970-01-01.
/// @param schedule Shape of the schedule.
/// @param frequency Interval between instalments.
/// @param calendarOffset Offset from UTC, in quarter hours, of the calendar that due days are counted in.
/// @param graceDays Days after a due day before its late fee.
/// @param policy The policy whose limits bind the loan, for lending as they were published, for contact as they stand.
/// @param expires Last second in which the offer, or the amendment, can be accepted.
/// @param agreementHash Hash of the key-fact statement that the borrower was shown; zero where the ledger derived the terms.
/// @param replaces Loan that this one replaces, zero for a new loan.
/// @param salt Makes otherwise equal terms distinct.
struct Terms {
    address lender;
    address borrower;
    uint88 principal;
    uint88 originationFee;
    uint80 lateFee;
    uint24 rate;
    uint16 instalments;
    uint24 firstDue;
    Schedule schedule;
    Frequency frequency;
    int8 calendarOffset;
    uint8 graceDays;
    uint32 policy;
    uint40 expires;
    bytes32 agreementHash;
    bytes32 replaces;
    bytes32 salt;
}

/// A loan on the ledger.
/// @param openedAt Since when interest runs: when it was opened. Where the ledger derived the loan from another it goes on in
/// the middle of a period, and this is when that period began.
/// @param assessed Instalments up to this number were assessed for lateness.
/// @param amends It replaced another loan.
/// @param instalment What recurs: the level instalment, the equal principal part, the interest; of a bullet, all there is.
/// @param total Sum of all instalments; lowered when the loan ends before its last.
/// @param paid Everything that was credited: payments for instalments and fees together, receipts that the lender acknowledged,
/// amounts that the lender forgave. Never exceeds what is owed.
/// @param fees Late fees charged so far, those waived taken off.
struct Loan {
    address borrower;
    uint32 openedAt;
    uint32 policy;
    uint16 assessed;
    Status status;
    bool amends;
    address lender;
    uint24 firstDue;
    uint16 instalments;
    uint24 rate;
    Schedule schedule;
    Frequency frequency;
    int8 calendarOffset;
    uint8 graceDays;
    uint88 principal;
    uint88 instalment;
    uint80 lateFee;
    uint80 total;
    uint80 paid;
    uint80 fees;
}

/// One row of a loan's schedule.
/// @param dueAt Last second in which a payment is on time.
/// @param amount What falls due; nothing before a bullet's last period.
/// @param principal Part of the amount that repays principal.
/// @param interest The rest of it.
/// @param balance Principal outstanding afterwards, when paid as scheduled.
struct Instalment {
    uint256 dueAt;
    uint256 amount;
    uint256 principal;
    uint256 interest;
    uint256 balance;
}

/// What can be said about a loan at this moment, lateness assessed as of now.
/// @param borrower, lender, servicer The parties; the servicer is zero where the lender appointed none.
/// @param policy The loan's policy.
/// @param status Where the loan stands.
/// @param today The current day in the loan's calendar.
/// @param principal Amount lent.
/// @param paid Everything credited so far.
/// @param openedAt Since when interest runs: when it was opened, or replaced another.
/// @param amends It replaced another loan.
/// @param assigned The claim was assigned, to `lender` last.
/// @param overdue Instalments that are past due and unpaid.
/// @param missed How many those are.
/// @param fees Late fees that are unpaid.
/// @param firstUnpaid Number of the first instalment that is not fully paid; zero when none is left.
/// @param firstUnpaidDueDay Its due day.
/// @param next Number of the next instalment to fall due; zero after the last.
/// @param nextDueDay Its due day.
/// @param nextAmount What is missing so that it will be paid, instalments before it included.
struct Position {
    address borrower;
    address lender;
    address servicer;
    uint32 policy;
    Status status;
    uint256 today;
    int8 calendarOffset;
    uint256 principal;
    uint256 paid;
    uint256 openedAt;
    bool amends;
    bool assigned;
    uint256 overdue;
    uint256 missed;
    uint256 fees;
    uint256 firstUnpaid;
    uint256 firstUnpaidDueDay;
    uint256 next;
    uint256 nextDueDay;
    uint256 nextAmount;
}

/// @title The ledger of loan terms and repayments in one currency.
/// @notice There is no owner, no proxy and no way to change a loan's terms but by both parties' signatures, or by a change that
/// the ledger itself derives and that only helps the borrower. Money moves straight between lender and borrower; the ledger
/// holds it only where a lender cannot receive.
///
/// Everything follows from two curves: the cumulative amount due, in closed form from the terms, and the cumulative amount
/// paid. Payments go to instalments that are due, then to late fees, then ahead. A late fee is charged at most once for an
/// instalment, when its grace period ended while total receipts had not reached the cumulative amount due; a receipt counts
/// whatever it was applied to, so no fee ever causes another.
///
/// An amendment closes a loan and opens another in its place, which `replaces` names: by both signatures (`amend`), by the
/// borrower alone (`prepay`) or by the lender alone (`defer`).
interface ILoanLedger {
    /// @param terms The terms, whose hash is the id.
    /// @param instalment What recurs, see {Loan}.
    /// @param total Sum of all instalments.
    event LoanOpened(bytes32 indexed id, Terms terms, uint88 instalment, uint80 total);
    /// The offer, or the amendment, with this id can no longer be accepted.
    event OfferCancelled(bytes32 indexed id, address indexed party);
    /// @param amount What was taken from the payer.
    /// @param paid Everything credited so far, this included.
    event Repaid(bytes32 indexed id, address indexed payer, uint256 amount, uint80 paid);
    /// The lender received money outside the chain.
    /// @param receipt Hash of the document that proves it, such as a bank's statement.
    event ReceiptAcknowledged(
        bytes32 indexed id,
        address indexed lender,
        uint256 amount,
        bytes32 receipt,
        uint80 paid
    );
    /// The lender gave up part of what is owed; it is credited as if it had been paid.
    event DebtForgiven(bytes32 indexed id, address indexed lender, uint256 amount, uint80 paid);
    /// The lender gave up unpaid late fees. @param fees Late fees charged so far, without those.
    event FeesWaived(bytes32 indexed id, address indexed lender, uint256 amount, uint80 fees);
    /// Instalments `first` to `last` were not paid when their grace periods ended.
    /// @param fees Late fees charged so far, those for these instalments included.
    event InstalmentMissed(bytes32 indexed id, uint16 first, uint16 last, uint80 fees);
    /// The loan was settled before its last instalment; nothing is owed any more.
    /// @param amount What was taken from the payer. @param saved What the rest of the schedule would have cost more.
    event LoanSettled(bytes32 indexed id, address indexed payer, uint256 amount, uint256 saved, uint80 paid);
    /// By a payment or a credit, nothing is owed any more. @param paid Everything that was ever credited.
    event LoanRepaid(bytes32 indexed id, uint80 paid);
    /// The borrower withdrew in the cooling-off period; nothing is owed any more.
    /// @param amount What was taken from the borrower. @param paid Everything that was ever credited.
    event LoanRescinded(bytes32 indexed id, uint256 amount, uint80 paid);
    /// The loan was closed into another, which carries on what was owed.
    /// @param amendment The other loan's id: the hash of `terms`, which name this one as replaced.
    /// @param instalment, total Of the other loan.
    /// @param openedAt Since when the other loan's interest runs.
    /// @param assessed Up to which of its instalments lateness was assessed already.
    /// @param paid What counts as paid on the other loan: what was paid ahead on this one, and what rounding would have made the
    /// other dearer by.
    /// @param fees Late fees that were unpaid on this loan, and are owed on the other.
    event LoanAmended(
        bytes32 indexed id,
        bytes32 indexed amendment,
        Terms terms,
        uint88 instalment,
        uint80 total,
        uint32 openedAt,
        uint16 assessed,
        uint80 paid,
        uint80 fees
    );
    /// The claim belongs to another lender, who is bound by the same terms. The borrower is to be told.
    event LoanAssigned(bytes32 indexed id, address indexed from, address indexed to);
    /// The lender marked a default: an instalment has been overdue for as long as the policy wants.
    /// @param instalment The first that is unpaid. @param overdue All that is overdue.
    event LoanDefaulted(bytes32 indexed id, uint16 instalment, uint256 overdue);
    /// The servicer may serve notices about all loans of the lender; zero withdraws the appointment.
    event ServicerAppointed(address indexed lender, address indexed servicer);
    /// The lender could not receive a payment; the ledger holds it for them.
    event PaymentHeld(bytes32 indexed id, address indexed lender, uint256 amount);
    /// Held payments were paid out.
    event Claimed(address indexed lender, address indexed to, uint256 amount);

    /// Only the borrower can do this.
    error NotBorrower(address sender, address borrower);
    /// Only the lender can do this.
    error NotLender(address sender, address lender);
    /// Only the lender, or the servicer that they appointed, can do this.
    error NotServicer(address sender, address lender, address servicer);
    /// Only the desk for grievances can do this.
    error NotDesk(address sender, address desk);
    /// Only a party of the terms can do this.
    error NotParty(address sender, address lender, address borrower);
    /// The offer's, or the amendment's, last second is over.
    error OfferExpired(uint256 expired, uint256 timestamp);
    /// A party cancelled the offer, or the amendment.
    error OfferWithdrawn(bytes32 id);
    /// The signature is not the lender's, for exactly these terms on this ledger and chain.
    error InvalidOffer(bytes32 id, address lender);
    /// The signature is not the borrower's acceptance of exactly these terms on this ledger and chain.
    error InvalidAcceptance(bytes32 id, address borrower);
    /// The signature under the amendment is not this party's, for exactly these terms on this ledger and chain.
    error InvalidAmendment(bytes32 id, address party);
    /// The signature is not the signer's, for exactly this on this ledger and chain, with the nonce that is next.
    error InvalidSignature(address signer, uint256 nonce);
    /// The signature's last second is over.
    error SignatureExpired(uint256 deadline, uint256 timestamp);
    /// The terms were opened before.
    error LoanExists(bytes32 id);
    /// No such loan.
    error UnknownLoan(bytes32 id);
    /// Nothing is owed on the loan.
    error LoanNotActive(bytes32 id, Status status);
    /// Lender or borrower is missing, or they are the same.
    error InvalidParties(address lender, address borrower);
    /// Terms that replace a loan cannot be opened as a new one.
    error NotANewLoan(bytes32 replaces);
    /// An amendment keeps lender, borrower and policy, and charges no origination fee.
    error NotTheSameLoan(bytes32 replaces);
    /// An amendment does not raise the rate: the origination fee may already have brought the loan to the cap.
    error RateRaised(uint256 rate, uint256 most);
    /// An amendment's principal is more than what is owed, late fees apart.
    error PrincipalAbovePayoff(uint256 principal, uint256 most);
    /// The currency took something away in a transfer: this ledger is not for such currencies.
    error CurrencyTookAFee(uint256 sent, uint256 arrived);
    /// A payment of nothing.
    error ZeroAmount();
    /// Settling costs more than the payer allowed.
    error PayoffAboveMaximum(uint256 payoff, uint256 maximum);
    /// The prepayment leaves nothing for the principal once what is overdue, and the late fees, are paid.
    error PrepaymentTooSmall(uint256 amount, uint256 arrears);
    /// All instalments are paid, or none was to be moved.
    error NothingToDefer(bytes32 id);
    /// No late fee is unpaid, or none was to be waived.
    error NothingToWaive(bytes32 id);
    /// While the borrower may still rescind, the loan is not amended: the right would be lost. @param lastDay Last of the cooling-off period.
    error CoolingOffRuns(uint256 lastDay, uint256 today);
    /// The cooling-off period is over, or there was none. @param lastDay Its last day, zero where there was none.
    error CoolingOffOver(uint256 lastDay, uint256 today);
    /// A default can be marked from this day on; zero where nothing is overdue.
    error NotInDefault(uint256 firstDay, uint256 today);
    /// No instalment was missed since lateness was last assessed.
    error NothingMissed(bytes32 id, uint256 assessed);
    /// The schedule has no such instalment.
    error NoSuchInstalment(uint256 instalment, uint256 instalments);
    /// The ledger holds nothing for this lender.
    error NothingToClaim(address lender);

    /// @notice Accept a lender's signed offer: record the terms and move the principal, less the origination fee, from lender to
    /// borrower.
    /// @dev To be sent by the borrower. The lender's ERC-20 allowance pays. `offer` is the lender's signature over the EIP-712
    /// type `Offer(Terms terms)`. Every signature here is by key, in 65 or 64 bytes, or through ERC-1271.
    /// @return id The loan's id.
    function open(Terms calldata terms, bytes calldata offer) external returns (bytes32 id);

    /// @notice The same for a borrower who signed the acceptance and has anyone send it.
    /// @param acceptance The borrower's signature over the EIP-712 type `Acceptance(Terms terms)`.
    function openBySignature(
        Terms calldata terms,
        bytes calldata offer,
        bytes calldata acceptance
    ) external returns (bytes32 id);

    /// @notice Withdraw an offer, an acceptance or an amendment before it is used: nobody can open these terms any more.
    /// Only a party of the terms can, so no front-runner can cancel for them, or keep them from it but by opening.
    function cancelOffer(Terms calldata terms) external;

    /// @notice Pay towards a loan, any amount, at any time, by anyone. Only what is owed is taken.
    /// @return taken What was taken.
    function repay(bytes32 id, uint256 amount) external returns (uint256 taken);

    /// @notice The same, with the payer's ERC-2612 permit for `amount`. A permit that fails is ignored: somebody may have used it
    /// already, and where the allowance suffices the payment goes through.
    function repayWithPermit(
        bytes32 id,
        uint256 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external returns (uint256 taken);

    /// @notice A payment by the borrower, who signed it and has anyone send it. The borrower's ERC-20 allowance pays; the
    /// currency's own permit, which anyone can send too, gives it without gas.
    /// @param signature The borrower's over `Repayment(bytes32 id,uint256 amount,uint256 nonce,uint256 deadline)`.
    function repayBySignature(
        bytes32 id,
        uint256 amount,
        uint256 deadline,
        bytes calldata signature
    ) external returns (uint256 taken);

    /// @notice Close a loan early: arrears, fees and principal, with interest up to this second.
    /// @param maximum Most that the payer is ready to pay, as interest grows until the transaction is mined.
    /// @return taken What was taken.
    function settle(bytes32 id, uint256 maximum) external returns (uint256 taken);

    /// @notice Pay principal back ahead of the schedule, by the borrower's own decision, so that the instalments become smaller:
    /// arrears and late fees first, then principal with its interest up to this second. The loan closes into another one, whose
    /// terms the ledger derives: the same due days, less principal; never is it dearer than before. What would pay the whole loan
    /// settles it. Not before the cooling-off period is over.
    /// @return taken What was taken.
    /// @return amendment The other loan; zero where the loan was settled.
    function prepay(bytes32 id, uint256 amount) external returns (uint256 taken, bytes32 amendment);

    /// @notice Withdraw from the loan in the cooling-off period: give back what was received, less what was paid, plus interest
    /// for each day since. No fee, of whatever kind, is owed any more.
    /// @param terms The loan's, which prove what was received.
    /// @return taken What was taken.
    function rescind(Terms calldata terms) external returns (uint256 taken);

    /// @notice Replace a loan by other terms, as both parties signed: another schedule, rate, due day or number of instalments.
    /// No money moves. The new principal is at most what settling costs now, late fees apart, and the rate at most the loan's;
    /// unpaid late fees are owed beside it as before. Not before the cooling-off period is over, and there is no second.
    /// @param byLender, byBorrower Their signatures over the EIP-712 type `Amendment(Terms terms)`.
    /// @return id The other loan.
    function amend(
        Terms calldata terms,
        bytes calldata byLender,
        bytes calldata byBorrower
    ) external returns (bytes32 id);

    /// @notice Let all unpaid instalments fall due some intervals later, free of interest. To be sent by the lender. The loan
    /// closes into another one, whose terms the ledger derives; instalments that were missed already are not charged again, those
    /// that were missed while late fees rested not at all, and never is it dearer than before. Not before the cooling-off period
    /// is over.
    /// @return amendment The other loan.
    function defer(bytes32 id, uint8 intervals) external returns (bytes32 amendment);

    /// @notice Acknowledge money that the lender received outside the chain. It counts from now on, and only ever lowers what is
    /// owed; it cannot be taken back.
    /// @param receipt Hash of the document that proves it.
    /// @return credited What was credited: never more than is owed.
    function acknowledgeReceipt(
        bytes32 id,
        uint256 amount,
        bytes32 receipt
    ) external returns (uint256 credited);

    /// @notice Give up unpaid late fees, up to an amount. To be sent by the lender.
    /// @return waived What was given up.
    function waive(bytes32 id, uint256 amount) external returns (uint256 waived);

    /// @notice Give up part of what is owed, or all. To be sent by the lender.
    /// @return forgiven What was given up.
    function forgive(bytes32 id, uint256 amount) external returns (uint256 forgiven);

    /// @notice Hand the claim to another lender, who signs for it and is bound by the same terms. What the ledger holds for the
    /// old lender stays theirs.
    /// @param signature The new lender's over
    /// `Assignment(bytes32 id,address from,address to,uint256 nonce,uint256 deadline)`.
    function assign(bytes32 id, address to, uint256 deadline, bytes calldata signature) external;

    /// @notice Mark a default when an instalment has been overdue for the policy's days. To be sent by the lender or their
    /// servicer. It costs the borrower nothing and stops no payment; it is cured when that instalment is paid.
    function markDefault(bytes32 id) external;

    /// @notice Record instalments missed since the last assessment, with their late fees. Open to anyone.
    function flagMissed(bytes32 id) external;

    /// @notice The same for many loans; those with nothing to record are passed over.
    /// @return flagged How many were recorded.
    function flagMissedMany(bytes32[] calldata ids) external returns (uint256 flagged);

    /// @notice Let a servicer serve notices about all loans of the caller; zero withdraws.
    function appointServicer(address servicer) external;

    /// @notice For the {IGrievanceDesk}: a grievance about a loan is about to be lodged. Late fees of what was missed so far are charged.
    function noteGrievance(bytes32 id) external;

    /// @notice Pay out what the ledger holds for the caller, who could not receive it.
    function claim(address to) external returns (uint256 amount);

    /// @notice The EIP-712 hash of terms: the id of the loan that they make.
    function idOf(Terms calldata terms) external view returns (bytes32);

    /// @notice The hash that a lender signs to offer terms.
    function offerHash(Terms calldata terms) external view returns (bytes32);

    /// @notice What the ledger has recorded, the status derived. Lateness as last assessed.
    function loanOf(bytes32 id) external view returns (Loan memory);

    /// @notice The k-th row of the schedule, from 1.
    function instalmentOf(bytes32 id, uint256 k) external view returns (Instalment memory);

    /// @notice What settling costs at this second.
    function payoff(bytes32 id) external view returns (uint256);

    /// @notice What is overdue, which late fees are unpaid, and the first instalment that is not fully paid.
    function delinquency(
        bytes32 id
    ) external view returns (uint256 overdue, uint256 fees, uint256 firstUnpaid, uint256 dueAt);

    /// @notice All that a notice can be about, in one call. Does not revert: an unknown loan has the status `None`.
    function positionOf(bytes32 id) external view returns (Position memory);

    /// @notice The four words that a loan is stored in, from which the gate works out what a notice needs of its position. Does
    /// not revert: those of an unknown loan name no borrower.
    /// @dev For `Loans.unpack`. A call is compared with one function after the other in the order of their selectors, at 22 gas
    /// each: by its name this one comes second.
    function loanSlots(
        bytes32 id
    ) external view returns (uint256 opening, uint256 calendar, uint256 amounts, uint256 curves);

    /// @notice The parties of a loan, and its policy.
    function partiesOf(
        bytes32 id
    ) external view returns (address borrower, address lender, address servicer, uint32 policy);

    /// @notice The desk for grievances about this ledger's loans.
    function desk() external view returns (IGrievanceDesk);

    /// @notice The servicer that a lender appointed.
    function servicerOf(address lender) external view returns (address);

    /// @notice What the ledger holds for a lender.
    function claimable(address lender) external view returns (uint256);
}
