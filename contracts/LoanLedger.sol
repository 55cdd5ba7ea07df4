// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {
    Frequency,
    ILoanLedger,
    Instalment,
    Loan,
    Position,
    Schedule,
    Status,
    Terms
} from "./interfaces/ILoanLedger.sol";
import {AprConvention, IPolicyBook, LendingLimits} from "./interfaces/IPolicyBook.sol";
import {Amortization} from "./libraries/Amortization.sol";
import {Calendar} from "./libraries/Calendar.sol";

/// @title LoanLedger
/// @notice See {ILoanLedger}.
contract LoanLedger is ILoanLedger, EIP712 {
    using SafeERC20 for IERC20;

    bytes32 private constant TERMS_TYPEHASH =
        keccak256(
            "Terms(address lender,address borrower,uint88 principal,uint88 originationFee,uint80 lateFee,uint24 rate,uint16 instalments,uint24 firstDue,uint8 schedule,uint8 frequency,int8 calendarOffset,uint8 graceDays,uint32 policy,uint40 expires,bytes32 agreementHash,bytes32 replaces,bytes32 salt)"
        );
    bytes32 private constant OFFER_TYPEHASH =
        keccak256(
            "Offer(Terms terms)Terms(address lender,address borrower,uint88 principal,uint88 originationFee,uint80 lateFee,uint24 rate,uint16 instalments,uint24 firstDue,uint8 schedule,uint8 frequency,int8 calendarOffset,uint8 graceDays,uint32 policy,uint40 expires,bytes32 agreementHash,bytes32 replaces,bytes32 salt)"
        );

    uint256 private constant PERIODS_PER_YEAR = 12;
    uint256 private constant BASIS_POINTS = 10_000;
    int8 private constant WESTERNMOST = -48;
    int8 private constant EASTERNMOST = 56;
    /// A longer first period is a matter of months; a date further away than this is a mistake.
    uint256 private constant LONGEST_FIRST_PERIOD = 366;

    /// The one currency of this ledger.
    IERC20 public immutable currency;
    IPolicyBook public immutable policyBook;

    mapping(bytes32 id => Loan) private _loans;
    /// @inheritdoc ILoanLedger
    mapping(address lender => address) public servicerOf;
    /// @inheritdoc ILoanLedger
    mapping(address lender => uint256) public claimable;

    constructor(IERC20 currency_, IPolicyBook policyBook_) EIP712("Duly", "1") {
        currency = currency_;
        policyBook = policyBook_;
    }

    // ------------------------------------------------------------------------------------------------- opening

    /// @inheritdoc ILoanLedger
    function open(Terms calldata terms, bytes calldata signature) external returns (bytes32 id) {
        // Check: the borrower accepts, in time, what the lender signed, once.
        if (msg.sender != terms.borrower) revert NotBorrower(msg.sender, terms.borrower);
        if (terms.lender == address(0) || terms.lender == terms.borrower) {
            revert InvalidParties(terms.lender, terms.borrower);
        }
        if (block.timestamp > terms.expires) revert OfferExpired(terms.expires, block.timestamp);
        if (terms.replaces != 0) revert NotANewLoan(terms.replaces);
        bytes32 termsHash = _hash(terms);
        id = _hashTypedDataV4(termsHash);
        if (_loans[id].status != Status.None) revert LoanExists(id);
        if (!SignatureChecker.isValidSignatureNowCalldata(terms.lender, _offerHash(termsHash), signature)) {
            revert InvalidOffer(id, terms.lender);
        }

        // Check: the schedule is one that can be kept, within the policy's limits.
        _checkCalendar(terms);
        (uint256 instalment, uint256 total) = _quote(terms);
        _checkLimits(terms, instalment, total);

        // Effect
        _loans[id] = Loan({
            borrower: terms.borrower,
            openedAt: uint40(block.timestamp),
            policy: terms.policy,
            assessed: 0,
            status: Status.Active,
            lender: terms.lender,
            firstDue: terms.firstDue,
            instalments: terms.instalments,
            rate: terms.rate,
            schedule: terms.schedule,
            frequency: terms.frequency,
            calendarOffset: terms.calendarOffset,
            graceDays: terms.graceDays,
            principal: terms.principal,
            instalment: uint88(instalment),
            lateFee: terms.lateFee,
            total: uint88(total),
            paid: 0,
            fees: 0
        });
        emit LoanOpened(id, terms, uint88(instalment), uint88(total));

        // Interaction
        currency.safeTransferFrom(terms.lender, terms.borrower, terms.principal);
    }

    function _checkCalendar(Terms calldata terms) private view {
        if (terms.calendarOffset < WESTERNMOST || terms.calendarOffset > EASTERNMOST) {
            revert InvalidCalendarOffset(terms.calendarOffset, WESTERNMOST, EASTERNMOST);
        }
        uint256 today = Calendar.localDay(block.timestamp, terms.calendarOffset);
        uint256 earliest = Calendar.addMonths(today, 1);
        if (terms.firstDue < earliest) revert FirstDueTooEarly(terms.firstDue, earliest);
        uint256 latest = today + LONGEST_FIRST_PERIOD;
        if (terms.firstDue > latest) revert FirstDueTooLate(terms.firstDue, latest);
    }

    function _quote(Terms calldata terms) private pure returns (uint256 instalment, uint256 total) {
        if (terms.schedule != Schedule.Level || terms.frequency != Frequency.Monthly) {
            revert ScheduleUnavailable(terms.schedule, terms.frequency);
        }
        if (terms.originationFee != 0) revert OriginationFeeUnavailable(terms.originationFee);
        if (terms.principal == 0) revert ZeroAmount();
        (instalment, total) = Amortization.level(terms.principal, terms.rate, PERIODS_PER_YEAR, terms.instalments);
    }

    function _checkLimits(Terms calldata terms, uint256 instalment, uint256 total) private view {
        LendingLimits memory limits = policyBook.lendingForNewLoan(terms.policy);
        uint256 rate = limits.aprConvention == AprConvention.Effective
            ? Amortization.effectiveRate(terms.rate, PERIODS_PER_YEAR)
            : terms.rate;
        if (rate > limits.aprCap) revert RateAboveCap(rate, limits.aprCap);
        if (terms.graceDays < limits.minGraceDays) revert GraceTooShort(terms.graceDays, limits.minGraceDays);
        uint256 cap = (instalment * limits.lateFeeCap) / BASIS_POINTS;
        if (terms.lateFee > cap) revert LateFeeAboveCap(terms.lateFee, cap);
        // However late the borrower, the ledger's amounts can hold the debt and every fee: nothing overflows later.
        uint256 fees = uint256(terms.lateFee) * terms.instalments;
        if (fees > type(uint80).max) revert AmountTooLarge(fees, type(uint80).max);
        if (total + fees > type(uint88).max) revert AmountTooLarge(total + fees, type(uint88).max);
    }

    // ------------------------------------------------------------------------------------------------- paying

    /// @inheritdoc ILoanLedger
    function repay(bytes32 id, uint256 amount) external returns (uint256 taken) {
        // Check
        if (amount == 0) revert ZeroAmount();
        Loan memory loan = _active(id);

        // Effect
        _assess(id, loan);
        uint256 owed = _owed(loan);
        taken = amount < owed ? amount : owed;
        uint88 paid = loan.paid + uint88(taken);
        _loans[id].paid = paid;
        emit Repaid(id, msg.sender, taken, paid);
        if (taken == owed) emit LoanRepaid(id, paid);

        // Interaction
        _collect(id, loan.lender, taken);
    }

    /// @inheritdoc ILoanLedger
    function settle(bytes32 id, uint256 maximum) external returns (uint256 taken) {
        // Check
        Loan memory loan = _active(id);
        _assess(id, loan);
        taken = _payoff(loan);
        if (taken > maximum) revert PayoffAboveMaximum(taken, maximum);

        // Effect: the rest of the schedule will never fall due.
        uint256 saved = _owed(loan) - taken;
        uint88 paid = loan.paid + uint88(taken);
        _loans[id].total = loan.total - uint88(saved);
        _loans[id].paid = paid;
        emit LoanSettled(id, msg.sender, taken, saved, paid);
        emit LoanRepaid(id, paid);

        // Interaction
        if (taken != 0) _collect(id, loan.lender, taken);
    }

    /// @inheritdoc ILoanLedger
    function flagMissed(bytes32 id) external {
        Loan memory loan = _active(id);
        if (!_assess(id, loan)) revert NothingMissed(id, loan.assessed);
    }

    /// @inheritdoc ILoanLedger
    function claim(address to) external returns (uint256 amount) {
        amount = claimable[msg.sender];
        if (amount == 0) revert NothingToClaim(msg.sender);
        claimable[msg.sender] = 0;
        emit Claimed(msg.sender, to, amount);
        currency.safeTransfer(to, amount);
    }

    /// Record what was missed up to now, before money moves: until now the curve of payments was flat, so that judging all
    /// grace periods that ended meanwhile at once is the same as judging each at its end.
    function _assess(bytes32 id, Loan memory loan) private returns (bool any) {
        (uint16 first, uint16 last) = _missed(loan);
        if (first > last) return false;
        _charge(loan, first, last);
        _loans[id].assessed = loan.assessed;
        _loans[id].fees = loan.fees;
        emit InstalmentMissed(id, first, last, loan.fees);
        return true;
    }

    /// Take a payment. Where the lender cannot receive it the ledger holds it, so that no lender makes a loan unpayable.
    function _collect(bytes32 id, address lender, uint256 amount) private {
        if (currency.trySafeTransferFrom(msg.sender, lender, amount)) return;
        claimable[lender] += amount;
        emit PaymentHeld(id, lender, amount);
        // Where it is the payer who cannot pay, this reverts with the token's own reason.
        currency.safeTransferFrom(msg.sender, address(this), amount);
    }

    // ------------------------------------------------------------------------------------------------- servicing

    /// @inheritdoc ILoanLedger
    function appointServicer(address servicer) external {
        servicerOf[msg.sender] = servicer;
        emit ServicerAppointed(msg.sender, servicer);
    }

    // ------------------------------------------------------------------------------------------------- looking

    /// @inheritdoc ILoanLedger
    function idOf(Terms calldata terms) external view returns (bytes32) {
        return _hashTypedDataV4(_hash(terms));
    }

    /// @inheritdoc ILoanLedger
    function offerHash(Terms calldata terms) external view returns (bytes32) {
        return _offerHash(_hash(terms));
    }

    /// @inheritdoc ILoanLedger
    function loanOf(bytes32 id) external view returns (Loan memory loan) {
        loan = _known(id);
        loan.status = _status(loan);
    }

    /// @inheritdoc ILoanLedger
    function instalmentOf(bytes32 id, uint256 k) external view returns (Instalment memory row) {
        Loan memory loan = _known(id);
        if (k == 0 || k > loan.instalments) revert NoSuchInstalment(k, loan.instalments);
        uint256 outstanding = _balance(loan, k - 1);
        row.dueAt = Calendar.dueTime(loan.firstDue, k, loan.calendarOffset);
        row.amount = k < loan.instalments
            ? loan.instalment
            : outstanding + Amortization.interest(outstanding, _periodRate(loan));
        row.balance = _balance(loan, k);
        row.principal = outstanding - row.balance;
        row.interest = row.amount - row.principal;
    }

    /// @inheritdoc ILoanLedger
    function payoff(bytes32 id) external view returns (uint256) {
        Loan memory loan = _known(id);
        _assessView(loan);
        return _payoff(loan);
    }

    /// @inheritdoc ILoanLedger
    function delinquency(
        bytes32 id
    ) external view returns (uint256 overdue, uint256 fees, uint256 firstUnpaid, uint256 dueAt) {
        Loan memory loan = _known(id);
        _assessView(loan);
        (overdue, fees) = _arrears(loan, _passed(loan, _today(loan)));
        firstUnpaid = _firstUnpaid(loan);
        if (firstUnpaid != 0) dueAt = Calendar.dueTime(loan.firstDue, firstUnpaid, loan.calendarOffset);
    }

    /// @inheritdoc ILoanLedger
    function positionOf(bytes32 id) external view returns (Position memory position) {
        Loan memory loan = _loans[id];
        _assessView(loan);
        position.borrower = loan.borrower;
        position.lender = loan.lender;
        position.servicer = servicerOf[loan.lender];
        position.policy = loan.policy;
        position.status = _status(loan);
        position.today = _today(loan);
        position.calendarOffset = loan.calendarOffset;
        position.principal = loan.principal;
        position.paid = loan.paid;

        uint256 passed = _passed(loan, position.today);
        (position.overdue, position.fees) = _arrears(loan, passed);
        position.firstUnpaid = _firstUnpaid(loan);
        if (position.firstUnpaid != 0) {
            position.firstUnpaidDueDay = Calendar.dueDay(loan.firstDue, position.firstUnpaid);
        }
        if (passed < loan.instalments && position.status == Status.Active) {
            position.next = passed + 1;
            position.nextDueDay = Calendar.dueDay(loan.firstDue, position.next);
            uint256 due = _cumulative(loan, position.next);
            if (due > loan.paid) position.nextAmount = due - loan.paid;
        }
    }

    /// @inheritdoc ILoanLedger
    function partiesOf(bytes32 id) external view returns (address borrower, address lender, address servicer) {
        Loan storage loan = _loans[id];
        if (loan.status == Status.None) revert UnknownLoan(id);
        (borrower, lender) = (loan.borrower, loan.lender);
        servicer = servicerOf[lender];
    }

    function _known(bytes32 id) private view returns (Loan memory loan) {
        loan = _loans[id];
        if (loan.status == Status.None) revert UnknownLoan(id);
    }

    function _active(bytes32 id) private view returns (Loan memory loan) {
        loan = _known(id);
        Status status = _status(loan);
        if (status != Status.Active) revert LoanNotActive(id, status);
    }

    // ------------------------------------------------------------------------------------------------- the two curves

    function _owed(Loan memory loan) private pure returns (uint256) {
        return uint256(loan.total) + loan.fees - loan.paid;
    }

    function _status(Loan memory loan) private pure returns (Status) {
        return loan.status == Status.Active && _owed(loan) == 0 ? Status.Repaid : loan.status;
    }

    /// The sum of the first k instalments.
    function _cumulative(Loan memory loan, uint256 k) private pure returns (uint256) {
        uint256 sum = k * loan.instalment;
        return k >= loan.instalments || sum > loan.total ? loan.total : sum;
    }

    /// How many instalments everything received so far amounts to.
    function _covered(Loan memory loan) private pure returns (uint256) {
        if (loan.paid >= loan.total) return loan.instalments;
        // Rounding can make the last instalment the largest by a few units: it is not paid before the total is.
        uint256 covered = loan.paid / loan.instalment;
        return covered < loan.instalments ? covered : loan.instalments - 1;
    }

    function _firstUnpaid(Loan memory loan) private pure returns (uint256) {
        uint256 covered = _covered(loan);
        return covered < loan.instalments ? covered + 1 : 0;
    }

    /// Principal outstanding after k instalments, when paid as scheduled.
    function _balance(Loan memory loan, uint256 k) private pure returns (uint256) {
        if (k == 0) return loan.principal;
        if (k >= loan.instalments) return 0;
        return Amortization.balance(loan.principal, loan.instalment, _periodRate(loan), k);
    }

    function _periodRate(Loan memory loan) private pure returns (uint256) {
        return Amortization.periodRate(loan.rate, PERIODS_PER_YEAR);
    }

    function _today(Loan memory loan) private view returns (uint256) {
        return Calendar.localDay(block.timestamp, loan.calendarOffset);
    }

    function _passed(Loan memory loan, uint256 day) private pure returns (uint256) {
        return Calendar.passed(loan.firstDue, loan.instalments, day);
    }

    /// Unpaid instalments that are past due, and unpaid fees. Money goes to the former, then to the latter, then ahead.
    function _arrears(Loan memory loan, uint256 passed) private pure returns (uint256 overdue, uint256 fees) {
        uint256 due = _cumulative(loan, passed);
        if (loan.paid <= due) return (due - loan.paid, loan.fees);
        uint256 beyond = loan.paid - due;
        return (0, beyond < loan.fees ? loan.fees - beyond : 0);
    }

    /// Instalments missed since the last assessment; none where `first` exceeds `last`.
    function _missed(Loan memory loan) private view returns (uint16 first, uint16 last) {
        last = uint16(_passed(loan, _today(loan) - loan.graceDays));
        uint256 covered = _covered(loan);
        first = uint16(covered > loan.assessed ? covered : loan.assessed) + 1;
    }

    function _charge(Loan memory loan, uint16 first, uint16 last) private pure {
        loan.assessed = last;
        loan.fees += (last - first + 1) * loan.lateFee;
    }

    function _assessView(Loan memory loan) private view {
        (uint16 first, uint16 last) = _missed(loan);
        if (first <= last) _charge(loan, first, last);
    }

    /// What settling costs now, lateness being assessed: everything due, the principal that is not yet due, and its interest
    /// for the seconds of the current period that have elapsed; never more than paying the rest as scheduled.
    function _payoff(Loan memory loan) private view returns (uint256) {
        uint256 owed = _owed(loan);
        uint256 passed = _passed(loan, _today(loan));
        if (owed == 0 || passed == loan.instalments) return owed;
        uint256 start = passed == 0
            ? loan.openedAt
            : Calendar.dueTime(loan.firstDue, passed, loan.calendarOffset);
        uint256 end = Calendar.dueTime(loan.firstDue, passed + 1, loan.calendarOffset);
        uint256 outstanding = _balance(loan, passed);
        uint256 debt = _cumulative(loan, passed) +
            outstanding +
            Amortization.accrued(outstanding, _periodRate(loan), block.timestamp - start, end - start) +
            loan.fees;
        if (debt <= loan.paid) return 0;
        debt -= loan.paid;
        return debt < owed ? debt : owed;
    }

    // ------------------------------------------------------------------------------------------------- hashing

    function _offerHash(bytes32 termsHash) private view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(OFFER_TYPEHASH, termsHash)));
    }

    /// Every field of the terms is static, so their ABI encoding is their EIP-712 encoding.
    function _hash(Terms calldata terms) private pure returns (bytes32) {
        return keccak256(abi.encode(TERMS_TYPEHASH, terms));
    }
}
