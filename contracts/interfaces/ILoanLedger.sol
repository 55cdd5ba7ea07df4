// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// The shape of a repayment schedule. Only `Level` can be opened so far.
enum Schedule {
    Level,
    EqualPrincipal,
    InterestOnly,
    Bullet
}

/// How often an instalment falls due. Only `Monthly` can be opened so far.
enum Frequency {
    Monthly,
    Quarterly,
    Weekly,
    Fortnightly,
    FourWeekly
}

/// Where a loan stands.
/// None: never opened. Active: money is owed. Repaid: nothing is owed any more.
/// @dev `Repaid` is derived from the two curves and never stored.
enum Status {
    None,
    Active,
    Repaid
}

/// What lender and borrower agree on. The EIP-712 hash of the terms is the loan's id, so the id proves them.
/// @param lender Who lends, and receives the repayments.
/// @param borrower Who borrows; the only one who can open the loan.
/// @param principal Amount lent.
/// @param originationFee Part of the principal that the lender keeps; none so far.
/// @param lateFee Fixed fee for each instalment that is not paid when its grace period ends.
/// @param rate Nominal annual interest rate, in parts per million (112_200 = 11.22 %).
/// @param instalments Number of instalments.
/// @param firstDue Calendar day on which the first instalment is due, in days since 1970-01-01.
/// @param schedule Shape of the schedule.
/// @param frequency Interval between instalments.
/// @param calendarOffset Offset from UTC, in quarter hours, of the calendar that due days are counted in.
/// @param graceDays Days after a due day before its late fee.
/// @param policy The policy whose limits bind the loan, for lending as they were published, for contact as they stand.
/// @param expires Last second in which the offer can be accepted.
/// @param agreementHash Hash of the key-fact statement that the borrower was shown.
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

/// A loan on the ledger, in four storage slots.
/// @param openedAt When it was opened.
/// @param assessed Instalments up to this number were assessed for lateness.
/// @param instalment The level instalment.
/// @param total Sum of all instalments; lowered to what was paid when the loan is settled early.
/// @param paid Everything ever received, for instalments and fees together.
/// @param fees Late fees charged so far.
struct Loan {
    // Slot 0: whose, since when, under which policy.
    address borrower;
    uint40 openedAt;
    uint32 policy;
    uint16 assessed;
    Status status;
    // Slot 1: to whom, and the calendar.
    address lender;
    uint24 firstDue;
    uint16 instalments;
    uint24 rate;
    Schedule schedule;
    Frequency frequency;
    int8 calendarOffset;
    uint8 graceDays;
    // Slot 2: the amounts agreed.
    uint88 principal;
    uint88 instalment;
    uint80 lateFee;
    // Slot 3: the two curves.
    uint88 total;
    uint88 paid;
    uint80 fees;
}

/// One row of a loan's schedule.
/// @param dueAt Last second in which a payment is on time.
/// @param amount What falls due.
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
/// @param paid Everything received so far.
/// @param overdue Instalments that are past due and unpaid.
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
    uint256 overdue;
    uint256 fees;
    uint256 firstUnpaid;
    uint256 firstUnpaidDueDay;
    uint256 next;
    uint256 nextDueDay;
    uint256 nextAmount;
}

/// @title The ledger of loan terms and repayments in one currency.
/// @notice There is no owner, no proxy and no way to change a loan's terms. Money moves straight between lender and
/// borrower; the ledger holds it only where a lender cannot receive.
///
/// Everything follows from two curves: the cumulative amount due, in closed form from the terms, and the cumulative amount
/// paid. Payments go to instalments that are due, then to late fees, then ahead. A late fee is charged at most once for an
/// instalment, when its grace period ended while total receipts had not reached the cumulative amount due; a receipt counts
/// whatever it was applied to, so no fee ever causes another.
interface ILoanLedger {
    /// @param terms The terms, whose hash is the id.
    /// @param instalment The level instalment.
    /// @param total Sum of all instalments.
    event LoanOpened(bytes32 indexed id, Terms terms, uint88 instalment, uint88 total);
    /// @param amount What was taken from the payer.
    /// @param paid Everything received so far, this included.
    event Repaid(bytes32 indexed id, address indexed payer, uint256 amount, uint88 paid);
    /// Instalments `first` to `last` were not paid when their grace periods ended.
    /// @param fees Late fees charged so far, those for these instalments included.
    event InstalmentMissed(bytes32 indexed id, uint16 first, uint16 last, uint80 fees);
    /// The loan was settled before its last instalment.
    /// @param amount What was taken from the payer. @param saved What the rest of the schedule would have cost more.
    event LoanSettled(bytes32 indexed id, address indexed payer, uint256 amount, uint256 saved, uint88 paid);
    /// Nothing is owed any more. @param paid Everything that was ever paid.
    event LoanRepaid(bytes32 indexed id, uint88 paid);
    /// The servicer may serve notices about all loans of the lender; zero withdraws the appointment.
    event ServicerAppointed(address indexed lender, address indexed servicer);
    /// The lender could not receive a payment; the ledger holds it for them.
    event PaymentHeld(bytes32 indexed id, address indexed lender, uint256 amount);
    /// Held payments were paid out.
    event Claimed(address indexed lender, address indexed to, uint256 amount);

    /// Only the borrower named in the terms can open the loan.
    error NotBorrower(address sender, address borrower);
    /// The offer's last second is over.
    error OfferExpired(uint256 expired, uint256 timestamp);
    /// The signature is not the lender's, for exactly these terms on this ledger and chain.
    error InvalidOffer(bytes32 id, address lender);
    /// The terms were opened before.
    error LoanExists(bytes32 id);
    /// No such loan.
    error UnknownLoan(bytes32 id);
    /// The loan is not active.
    error LoanNotActive(bytes32 id, Status status);
    /// Lender or borrower is missing, or they are the same.
    error InvalidParties(address lender, address borrower);
    /// Only level monthly instalments can be opened so far.
    error ScheduleUnavailable(Schedule schedule, Frequency frequency);
    /// An origination fee cannot be charged so far.
    error OriginationFeeUnavailable(uint256 fee);
    /// Terms that replace a loan cannot be opened as a new one.
    error NotANewLoan(bytes32 replaces);
    /// The calendar offset is none on Earth, in quarter hours.
    error InvalidCalendarOffset(int8 offset, int8 least, int8 most);
    /// The first instalment must be due at least one whole interval after opening.
    error FirstDueTooEarly(uint256 firstDue, uint256 earliest);
    /// The first instalment is due later than any longer first period can mean.
    error FirstDueTooLate(uint256 firstDue, uint256 latest);
    /// The rate, nominal or compounded as the policy reads its cap, exceeds the cap.
    error RateAboveCap(uint256 rate, uint256 cap);
    /// The late fee exceeds the policy's share of the smallest regular instalment.
    error LateFeeAboveCap(uint256 lateFee, uint256 cap);
    /// The grace period is shorter than the policy's.
    error GraceTooShort(uint256 graceDays, uint256 least);
    /// The schedule's total does not fit the ledger's amounts.
    error AmountTooLarge(uint256 amount, uint256 most);
    /// A payment of nothing.
    error ZeroAmount();
    /// Settling costs more than the payer allowed.
    error PayoffAboveMaximum(uint256 payoff, uint256 maximum);
    /// No instalment was missed since lateness was last assessed.
    error NothingMissed(bytes32 id, uint256 assessed);
    /// The schedule has no such instalment.
    error NoSuchInstalment(uint256 instalment, uint256 instalments);
    /// The ledger holds nothing for this lender.
    error NothingToClaim(address lender);

    /// @notice Accept a lender's signed offer: record the terms and move the principal from lender to borrower.
    /// @dev The lender's ERC-20 allowance pays. `signature` is the lender's over the EIP-712 type `Offer(Terms terms)`,
    /// by key or through ERC-1271.
    /// @return id The loan's id.
    function open(Terms calldata terms, bytes calldata signature) external returns (bytes32 id);

    /// @notice Pay towards a loan, any amount, at any time, by anyone. Only what is owed is taken.
    /// @return taken What was taken.
    function repay(bytes32 id, uint256 amount) external returns (uint256 taken);

    /// @notice Close a loan early: arrears, fees and principal, with interest up to this second.
    /// @param maximum Most that the payer is ready to pay, as interest grows until the transaction is mined.
    /// @return taken What was taken.
    function settle(bytes32 id, uint256 maximum) external returns (uint256 taken);

    /// @notice Record instalments missed since the last assessment, with their late fees. Open to anyone.
    function flagMissed(bytes32 id) external;

    /// @notice Let a servicer serve notices about all loans of the caller; zero withdraws.
    function appointServicer(address servicer) external;

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

    /// @notice The parties of a loan.
    function partiesOf(bytes32 id) external view returns (address borrower, address lender, address servicer);

    /// @notice The servicer that a lender appointed.
    function servicerOf(address lender) external view returns (address);

    /// @notice What the ledger holds for a lender.
    function claimable(address lender) external view returns (uint256);
}
