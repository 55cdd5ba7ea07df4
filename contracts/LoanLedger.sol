// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Multicall} from "@openzeppelin/contracts/utils/Multicall.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {ILoanLedger, Instalment, Loan, Position, Schedule, Status, Terms} from "./interfaces/ILoanLedger.sol";
import {IPolicyBook} from "./interfaces/IPolicyBook.sol";
import {Agreement} from "./libraries/Agreement.sol";
import {Amortization} from "./libraries/Amortization.sol";
import {Calendar} from "./libraries/Calendar.sol";
import {Loans} from "./libraries/Loans.sol";

/// @title LoanLedger
/// @notice See {ILoanLedger}.
contract LoanLedger is ILoanLedger, EIP712, Nonces, Multicall {
    using SafeERC20 for IERC20;
    using Agreement for *;
    using Amortization for Amortization.Curve;
    using Loans for Loan;

    uint256 private constant YEAR = 365;

    /// What a loan begins with that its terms do not tell; see {LoanAmended}.
    struct Start {
        uint32 openedAt;
        uint16 assessed;
        uint88 paid;
        uint80 fees;
    }

    /// The one currency of this ledger.
    IERC20 public immutable currency;
    IPolicyBook public immutable policyBook;

    mapping(bytes32 id => Loan) private _loans;
    /// @inheritdoc ILoanLedger
    mapping(bytes32 id => bytes32) public successorOf;
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
    function open(Terms calldata terms, bytes calldata offer) external returns (bytes32 id) {
        if (msg.sender != terms.borrower) revert NotBorrower(msg.sender, terms.borrower);
        (id, ) = _open(terms, offer);
    }

    /// @inheritdoc ILoanLedger
    function openBySignature(
        Terms calldata terms,
        bytes calldata offer,
        bytes calldata acceptance
    ) external returns (bytes32 id) {
        bytes32 hash;
        (id, hash) = _open(terms, offer);
        if (!_signed(terms.borrower, hash.acceptance(), acceptance)) revert InvalidAcceptance(id, terms.borrower);
    }

    function _open(Terms memory terms, bytes calldata offer) private returns (bytes32 id, bytes32 hash) {
        // Check: the lender offered these very terms, still does, and they were not used.
        if (terms.lender == address(0) || terms.borrower == address(0) || terms.lender == terms.borrower) {
            revert InvalidParties(terms.lender, terms.borrower);
        }
        if (terms.replaces != 0) revert NotANewLoan(terms.replaces);
        (id, hash) = _unused(terms);
        if (!_signed(terms.lender, hash.offer(), offer)) revert InvalidOffer(id, terms.lender);

        // Check: the schedule is one that can be kept, within the policy's limits.
        (uint256 instalment, uint256 total) = policyBook.admit(terms, 0);

        // Effect
        _record(id, terms, instalment, total, Start(uint32(block.timestamp), 0, 0, 0));
        emit LoanOpened(id, terms, uint88(instalment), uint88(total));

        // Interaction
        uint256 received = terms.principal - terms.originationFee;
        uint256 before = currency.balanceOf(terms.borrower);
        currency.safeTransferFrom(terms.lender, terms.borrower, received);
        uint256 arrived = currency.balanceOf(terms.borrower) - before;
        if (arrived != received) revert CurrencyTookAFee(received, arrived);
    }

    /// @inheritdoc ILoanLedger
    function cancelOffer(Terms calldata terms) external {
        if (msg.sender != terms.lender && msg.sender != terms.borrower) {
            revert NotParty(msg.sender, terms.lender, terms.borrower);
        }
        (bytes32 id, ) = _unused(terms);
        _loans[id].status = Status.Cancelled;
        emit OfferCancelled(id, msg.sender);
    }

    /// The id of terms that can still be accepted.
    function _unused(Terms memory terms) private view returns (bytes32 id, bytes32 hash) {
        if (block.timestamp > terms.expires) revert OfferExpired(terms.expires, block.timestamp);
        hash = terms.hash();
        id = _hashTypedDataV4(hash);
        Status status = _loans[id].status;
        if (status == Status.Cancelled) revert OfferWithdrawn(id);
        if (status != Status.None) revert LoanExists(id);
    }

    function _record(
        bytes32 id,
        Terms memory terms,
        uint256 instalment,
        uint256 total,
        Start memory start
    ) private {
        _loans[id] = Loan({
            borrower: terms.borrower,
            openedAt: start.openedAt,
            policy: terms.policy,
            assessed: start.assessed,
            status: Status.Active,
            amends: terms.replaces != 0,
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
            paid: start.paid,
            fees: start.fees
        });
    }

    // ------------------------------------------------------------------------------------------------- paying

    /// @inheritdoc ILoanLedger
    function repay(bytes32 id, uint256 amount) external returns (uint256 taken) {
        return _repay(msg.sender, id, amount);
    }

    /// @inheritdoc ILoanLedger
    function repayWithPermit(
        bytes32 id,
        uint256 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external returns (uint256 taken) {
        // Whoever saw the permit may have used it already: whether the allowance suffices is what counts.
        try IERC20Permit(address(currency)).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        return _repay(msg.sender, id, amount);
    }

    /// @inheritdoc ILoanLedger
    function repayBySignature(
        bytes32 id,
        uint256 amount,
        uint256 deadline,
        bytes calldata signature
    ) external returns (uint256 taken) {
        address borrower = _loans[id].borrower;
        uint256 nonce = _useNonce(borrower);
        _checkSigned(borrower, id.repayment(amount, nonce, deadline), nonce, deadline, signature);
        return _repay(borrower, id, amount);
    }

    function _repay(address payer, bytes32 id, uint256 amount) private returns (uint256 taken) {
        // Check
        Loan memory loan = _active(id);

        // Effect
        _assess(id, loan);
        taken = _credit(id, loan, amount);
        emit Repaid(id, payer, taken, loan.paid);
        _close(id, loan);

        // Interaction
        _collect(id, payer, loan.lender, taken);
    }

    /// @inheritdoc ILoanLedger
    function settle(bytes32 id, uint256 maximum) external returns (uint256 taken) {
        // Check
        Loan memory loan = _active(id);
        _assess(id, loan);
        taken = loan.payoff(loan.earned(loan.curveOf()));
        if (taken > maximum) revert PayoffAboveMaximum(taken, maximum);

        _settle(id, loan, taken);
    }

    function _settle(bytes32 id, Loan memory loan, uint256 taken) private {
        // Effect: the rest of the schedule will never fall due.
        uint256 saved = loan.owed() - taken;
        loan.total -= uint88(saved);
        loan.paid += uint88(taken);
        _storeCurves(id, loan);
        emit LoanSettled(id, msg.sender, taken, saved, loan.paid);

        // Interaction
        _collect(id, msg.sender, loan.lender, taken);
    }

    /// @inheritdoc ILoanLedger
    function prepay(bytes32 id, uint256 amount) external returns (uint256 taken, bytes32 amendment) {
        // Check
        Loan memory loan = _active(id);
        if (msg.sender != loan.borrower) revert NotBorrower(msg.sender, loan.borrower);
        _checkNoCoolingOff(loan);
        _assess(id, loan);
        Amortization.Curve memory curve = loan.curveOf();
        Loans.Earned memory earned = loan.earned(curve);
        taken = loan.payoff(earned);
        if (amount >= taken) {
            _settle(id, loan, taken);
            return (taken, 0);
        }
        taken = amount;
        uint256 due = earned.due + loan.fees;
        if (loan.paid + amount <= due) revert PrepaymentTooSmall(amount, due - loan.paid);

        // Effect: what is left after arrears and fees repays principal, with its share of the interest since the period began.
        uint256 owed = loan.owed();
        uint256 repaid = ((loan.paid + amount - due) * earned.balance) / (earned.balance + earned.interest);
        loan.paid += uint88(amount);
        emit Repaid(id, msg.sender, amount, loan.paid);
        // A bullet's interest is not paid before its end: it goes on from its beginning.
        uint256 k = curve.schedule == Schedule.Bullet ? 0 : earned.passed;
        Terms memory terms = _derived(id, loan, k, 0);
        terms.principal = uint88(earned.balance - repaid);
        uint256 total;
        (amendment, total) = _amendAlone(id, loan, terms, k, 0, 0);
        if (total + amount > owed) revert NothingSaved(amount);

        // Interaction
        _collect(id, msg.sender, loan.lender, amount);
    }

    /// @inheritdoc ILoanLedger
    function rescind(Terms calldata terms) external returns (uint256 taken) {
        // Check: the borrower, in time, a loan that is no amendment.
        bytes32 id = idOf(terms);
        Loan memory loan = _active(id);
        if (msg.sender != loan.borrower) revert NotBorrower(msg.sender, loan.borrower);
        uint256 lastDay = _lastDayToRescind(loan);
        uint256 today = loan.today();
        if (today > lastDay) revert CoolingOffOver(lastDay, today);

        // Effect: COOL-1
        uint256 received = terms.principal - terms.originationFee;
        uint256 elapsed = today - Calendar.localDay(loan.openedAt, loan.calendarOffset);
        uint256 owed = received + (received * loan.rate * elapsed) / (Amortization.PPM * YEAR);
        if (owed > loan.paid) taken = owed - loan.paid;
        loan.paid += uint88(taken);
        (loan.total, loan.fees, loan.status) = (loan.paid, 0, Status.Rescinded);
        _storeCurves(id, loan);
        _loans[id].status = Status.Rescinded;
        emit LoanRescinded(id, taken, loan.paid);

        // Interaction
        _collect(id, msg.sender, loan.lender, taken);
    }

    /// @inheritdoc ILoanLedger
    function flagMissed(bytes32 id) external {
        Loan memory loan = _active(id);
        if (!_assess(id, loan)) revert NothingMissed(id, loan.assessed);
    }

    /// @inheritdoc ILoanLedger
    function flagMissedMany(bytes32[] calldata ids) external returns (uint256 flagged) {
        for (uint256 i = 0; i < ids.length; ++i) {
            Loan memory loan = _loans[ids[i]];
            Status status = loan.statusOf();
            if (status != Status.Active && status != Status.Defaulted) continue;
            if (_assess(ids[i], loan)) ++flagged;
        }
    }

    /// @inheritdoc ILoanLedger
    function claim(address to) external returns (uint256 amount) {
        amount = claimable[msg.sender];
        if (amount == 0) revert NothingToClaim(msg.sender);
        claimable[msg.sender] = 0;
        emit Claimed(msg.sender, to, amount);
        currency.safeTransfer(to, amount);
    }

    /// Record what was missed up to now, before money moves.
    function _assess(bytes32 id, Loan memory loan) private returns (bool any) {
        (uint16 first, uint16 last) = loan.assess();
        if (last == 0) return false;
        _loans[id].assessed = loan.assessed;
        _loans[id].fees = loan.fees;
        emit InstalmentMissed(id, first, last, loan.fees);
        return true;
    }

    /// Count an amount as paid, up to what is owed.
    function _credit(bytes32 id, Loan memory loan, uint256 amount) private returns (uint256 credited) {
        if (amount == 0) revert ZeroAmount();
        uint256 owed = loan.owed();
        credited = amount < owed ? amount : owed;
        loan.paid += uint88(credited);
        _loans[id].paid = loan.paid;
    }

    /// Tell what a credit ended: the debt, or a default.
    function _close(bytes32 id, Loan memory loan) private {
        if (loan.owed() == 0) {
            emit LoanRepaid(id, loan.paid);
        } else if (loan.status == Status.Defaulted) {
            (uint256 overdue, ) = loan.arrears(loan.curveOf(), loan.passed(loan.today()));
            if (overdue != 0) return;
            _loans[id].status = Status.Active;
            emit DefaultCured(id);
        }
    }

    function _storeCurves(bytes32 id, Loan memory loan) private {
        Loan storage stored = _loans[id];
        (stored.total, stored.paid, stored.fees) = (loan.total, loan.paid, loan.fees);
    }

    /// Take a payment. Where the lender cannot receive it the ledger holds it, so that no lender makes a loan unpayable.
    function _collect(bytes32 id, address payer, address lender, uint256 amount) private {
        if (amount == 0 || currency.trySafeTransferFrom(payer, lender, amount)) return;
        // Where it is the payer who cannot pay, this reverts with the token's own reason.
        uint256 before = currency.balanceOf(address(this));
        currency.safeTransferFrom(payer, address(this), amount);
        // Only what arrived can be paid out, or one lender's claim would be paid with another's money.
        uint256 held = currency.balanceOf(address(this)) - before;
        claimable[lender] += held;
        emit PaymentHeld(id, lender, held);
    }

    // ------------------------------------------------------------------------------------------------- amending

    /// @inheritdoc ILoanLedger
    function amend(
        Terms calldata terms,
        bytes calldata byLender,
        bytes calldata byBorrower
    ) external returns (bytes32 id) {
        // Check: both parties agree, for the same loan.
        bytes32 hash;
        (id, hash) = _unused(terms);
        bytes32 replaced = terms.replaces;
        Loan memory loan = _active(replaced);
        if (
            terms.lender != loan.lender ||
            terms.borrower != loan.borrower ||
            terms.policy != loan.policy ||
            terms.originationFee != 0
        ) revert NotTheSameLoan(replaced);
        hash = hash.amendment();
        if (!_signed(terms.lender, hash, byLender)) revert InvalidAmendment(id, terms.lender);
        if (!_signed(terms.borrower, hash, byBorrower)) revert InvalidAmendment(id, terms.borrower);

        // Check: nothing is lent anew, no fee becomes principal, and the price is within the same limits.
        _assess(replaced, loan);
        Amortization.Curve memory old = loan.curveOf();
        Loans.Earned memory earned = loan.earned(old);
        (, uint256 fees) = loan.arrears(old, earned.passed);
        uint256 most = loan.payoff(earned) - fees;
        if (terms.principal > most) revert PrincipalAbovePayoff(terms.principal, most);
        (uint256 instalment, uint256 total) = policyBook.admit(terms, fees);

        // Effect
        _replace(id, loan, terms, instalment, total, Start(uint32(block.timestamp), 0, 0, uint80(fees)));
    }

    /// @inheritdoc ILoanLedger
    function defer(bytes32 id, uint8 intervals) external returns (bytes32 amendment) {
        // Check
        Loan memory loan = _active(id);
        _checkLender(loan);
        _checkNoCoolingOff(loan);
        _assess(id, loan);
        Amortization.Curve memory curve = loan.curveOf();
        uint256 passed = loan.passed(loan.today());
        (, uint256 fees) = loan.arrears(curve, passed);
        uint256 paid = loan.paid - (loan.fees - fees);
        uint256 k = curve.covered(paid);
        if (intervals == 0 || k == curve.instalments) revert NothingToDefer(id);

        // Effect: go on from the first unpaid instalment, or the next one where it is paid ahead.
        if (k > passed) k = passed;
        if (curve.schedule == Schedule.Bullet) k = 0;
        Terms memory terms = _derived(id, loan, k, intervals);
        terms.principal = uint88(curve.balance(k));
        (amendment, ) = _amendAlone(id, loan, terms, k, uint88(paid - curve.cumulative(k)), uint80(fees));
    }

    /// The terms that carry on a loan after its first k instalments; the principal is left to be filled in.
    function _derived(
        bytes32 id,
        Loan memory loan,
        uint256 k,
        uint256 intervals
    ) private view returns (Terms memory terms) {
        terms.lender = loan.lender;
        terms.borrower = loan.borrower;
        terms.lateFee = loan.lateFee;
        terms.rate = loan.rate;
        terms.instalments = uint16(loan.instalments - k);
        terms.firstDue = uint24(Calendar.dueDayToGoOnFrom(loan.firstDue, loan.frequency, k + 1 + intervals));
        terms.schedule = loan.schedule;
        terms.frequency = loan.frequency;
        terms.calendarOffset = loan.calendarOffset;
        terms.graceDays = loan.graceDays;
        terms.policy = loan.policy;
        terms.expires = uint40(block.timestamp);
        terms.replaces = id;
    }

    /// Replace a loan by terms that the ledger derived, which go on after its first k instalments.
    function _amendAlone(
        bytes32 id,
        Loan memory loan,
        Terms memory terms,
        uint256 k,
        uint88 paid,
        uint80 fees
    ) private returns (bytes32 amendment, uint256 total) {
        uint256 instalment;
        uint256 lateFee;
        (instalment, total, lateFee) = policyBook.admitDerived(terms, fees);
        terms.lateFee = uint80(lateFee);
        // Rounding may leave the rest smaller by a few units than what was paid ahead of it.
        if (paid > total) paid = uint88(total);
        uint32 openedAt = k == 0 ? loan.openedAt : uint32(loan.dueTime(k));
        uint16 assessed = loan.assessed > k ? uint16(loan.assessed - k) : 0;
        amendment = _hashTypedDataV4(terms.hash());
        _replace(amendment, loan, terms, instalment, total, Start(openedAt, assessed, paid, fees));
    }

    /// Close a loan into another: nothing is owed on the old one any more.
    function _replace(
        bytes32 id,
        Loan memory old,
        Terms memory terms,
        uint256 instalment,
        uint256 total,
        Start memory start
    ) private {
        // What was paid ahead, and the fees that are unpaid, go over to the new loan.
        old.paid -= start.paid;
        old.fees -= start.fees;
        old.total = old.paid - old.fees;
        _storeCurves(terms.replaces, old);
        _loans[terms.replaces].status = Status.Replaced;
        successorOf[terms.replaces] = id;
        _record(id, terms, instalment, total, start);
        emit LoanAmended(
            terms.replaces,
            id,
            terms,
            uint88(instalment),
            uint88(total),
            start.openedAt,
            start.assessed,
            start.paid,
            start.fees
        );
    }

    /// Nobody alone changes a loan that the borrower can still rescind: the right would be lost.
    function _checkNoCoolingOff(Loan memory loan) private view {
        uint256 lastDay = _lastDayToRescind(loan);
        uint256 today = loan.today();
        if (today <= lastDay) revert CoolingOffRuns(lastDay, today);
    }

    /// Zero where there is no cooling-off period.
    function _lastDayToRescind(Loan memory loan) private view returns (uint256) {
        if (loan.amends) return 0;
        uint256 length = policyBook.lendingOf(loan.policy).coolingOffDays;
        return length == 0 ? 0 : Calendar.localDay(loan.openedAt, loan.calendarOffset) + length;
    }

    // ------------------------------------------------------------------------------------------------- the lender's side

    /// @inheritdoc ILoanLedger
    function acknowledgeReceipt(
        bytes32 id,
        uint256 amount,
        bytes32 receipt
    ) external returns (uint256 credited) {
        Loan memory loan = _active(id);
        _checkLender(loan);
        _assess(id, loan);
        credited = _credit(id, loan, amount);
        emit ReceiptAcknowledged(id, loan.lender, credited, receipt, loan.paid);
        _close(id, loan);
    }

    /// @inheritdoc ILoanLedger
    function forgive(bytes32 id, uint256 amount) external returns (uint256 forgiven) {
        Loan memory loan = _active(id);
        _checkLender(loan);
        _assess(id, loan);
        forgiven = _credit(id, loan, amount);
        emit DebtForgiven(id, loan.lender, forgiven, loan.paid);
        _close(id, loan);
    }

    /// @inheritdoc ILoanLedger
    function waive(bytes32 id, uint256 amount) external returns (uint256 waived) {
        Loan memory loan = _active(id);
        _checkLender(loan);
        _assess(id, loan);
        (, uint256 fees) = loan.arrears(loan.curveOf(), loan.passed(loan.today()));
        waived = amount < fees ? amount : fees;
        if (waived == 0) revert NothingToWaive(id);
        loan.fees -= uint80(waived);
        _loans[id].fees = loan.fees;
        emit FeesWaived(id, loan.lender, waived, loan.fees);
        _close(id, loan);
    }

    /// @inheritdoc ILoanLedger
    function assign(bytes32 id, address to, uint256 deadline, bytes calldata signature) external {
        Loan memory loan = _active(id);
        _checkLender(loan);
        if (to == address(0) || to == loan.borrower) revert InvalidParties(to, loan.borrower);
        uint256 nonce = _useNonce(to);
        _checkSigned(to, id.assignment(loan.lender, to, nonce, deadline), nonce, deadline, signature);
        _loans[id].lender = to;
        emit LoanAssigned(id, loan.lender, to);
    }

    /// @inheritdoc ILoanLedger
    function markDefault(bytes32 id) external {
        Loan memory loan = _active(id);
        address servicer = servicerOf[loan.lender];
        if (msg.sender != loan.lender && msg.sender != servicer) {
            revert NotServicer(msg.sender, loan.lender, servicer);
        }
        if (loan.status == Status.Defaulted) revert LoanNotActive(id, Status.Defaulted);
        _assess(id, loan);
        Amortization.Curve memory curve = loan.curveOf();
        uint256 today = loan.today();
        (uint256 overdue, ) = loan.arrears(curve, loan.passed(today));
        if (overdue == 0) revert NotInDefault(0, today);
        uint256 instalment = loan.firstUnpaid(curve);
        uint256 firstDay = loan.dueDay(instalment) + policyBook.lendingOf(loan.policy).defaultDays;
        if (today < firstDay) revert NotInDefault(firstDay, today);
        _loans[id].status = Status.Defaulted;
        emit LoanDefaulted(id, uint16(instalment), overdue);
    }

    /// @inheritdoc ILoanLedger
    function appointServicer(address servicer) external {
        servicerOf[msg.sender] = servicer;
        emit ServicerAppointed(msg.sender, servicer);
    }

    function _checkLender(Loan memory loan) private view {
        if (msg.sender != loan.lender) revert NotLender(msg.sender, loan.lender);
    }

    // ------------------------------------------------------------------------------------------------- looking

    /// @inheritdoc ILoanLedger
    function idOf(Terms memory terms) public view returns (bytes32) {
        return _hashTypedDataV4(terms.hash());
    }

    /// @inheritdoc ILoanLedger
    function offerHash(Terms calldata terms) external view returns (bytes32) {
        return _hashTypedDataV4(terms.hash().offer());
    }

    /// @inheritdoc ILoanLedger
    function acceptanceHash(Terms calldata terms) external view returns (bytes32) {
        return _hashTypedDataV4(terms.hash().acceptance());
    }

    /// @inheritdoc ILoanLedger
    function amendmentHash(Terms calldata terms) external view returns (bytes32) {
        return _hashTypedDataV4(terms.hash().amendment());
    }

    /// @inheritdoc ILoanLedger
    function loanOf(bytes32 id) external view returns (Loan memory loan) {
        loan = _known(id);
        loan.status = loan.statusOf();
    }

    /// @inheritdoc ILoanLedger
    function instalmentOf(bytes32 id, uint256 k) external view returns (Instalment memory) {
        Loan memory loan = _known(id);
        if (k == 0 || k > loan.instalments) revert NoSuchInstalment(k, loan.instalments);
        return loan.row(k);
    }

    /// @inheritdoc ILoanLedger
    function payoff(bytes32 id) external view returns (uint256) {
        Loan memory loan = _known(id);
        loan.assess();
        return loan.payoff(loan.earned(loan.curveOf()));
    }

    /// @inheritdoc ILoanLedger
    function delinquency(
        bytes32 id
    ) external view returns (uint256 overdue, uint256 fees, uint256 firstUnpaid, uint256 dueAt) {
        Loan memory loan = _known(id);
        loan.assess();
        Amortization.Curve memory curve = loan.curveOf();
        (overdue, fees) = loan.arrears(curve, loan.passed(loan.today()));
        firstUnpaid = loan.firstUnpaid(curve);
        if (firstUnpaid != 0) dueAt = loan.dueTime(firstUnpaid);
    }

    /// @inheritdoc ILoanLedger
    function positionOf(bytes32 id) external view returns (Position memory position) {
        Loan memory loan = _loans[id];
        loan.assess();
        position.borrower = loan.borrower;
        position.lender = loan.lender;
        position.servicer = servicerOf[loan.lender];
        position.policy = loan.policy;
        position.status = loan.statusOf();
        position.today = loan.today();
        position.calendarOffset = loan.calendarOffset;
        position.principal = loan.principal;
        position.paid = loan.paid;

        Amortization.Curve memory curve = loan.curveOf();
        uint256 passed = loan.passed(position.today);
        (position.overdue, position.fees) = loan.arrears(curve, passed);
        position.firstUnpaid = loan.firstUnpaid(curve);
        if (position.firstUnpaid != 0) position.firstUnpaidDueDay = loan.dueDay(position.firstUnpaid);
        if (passed < curve.instalments && loan.owed() != 0) {
            position.next = curve.schedule == Schedule.Bullet ? curve.instalments : passed + 1;
            position.nextDueDay = loan.dueDay(position.next);
            uint256 due = curve.cumulative(position.next);
            if (due > loan.paid) position.nextAmount = due - loan.paid;
        }
    }

    /// @inheritdoc ILoanLedger
    function partiesOf(bytes32 id) external view returns (address borrower, address lender, address servicer) {
        Loan storage loan = _loans[id];
        (borrower, lender) = (loan.borrower, loan.lender);
        if (borrower == address(0)) revert UnknownLoan(id);
        servicer = servicerOf[lender];
    }

    function _known(bytes32 id) private view returns (Loan memory loan) {
        loan = _loans[id];
        if (loan.borrower == address(0)) revert UnknownLoan(id);
    }

    /// A loan on which something is owed.
    function _active(bytes32 id) private view returns (Loan memory loan) {
        loan = _known(id);
        Status status = loan.statusOf();
        if (status != Status.Active && status != Status.Defaulted) revert LoanNotActive(id, status);
    }

    // ------------------------------------------------------------------------------------------------- signatures

    function _signed(address signer, bytes32 hash, bytes calldata signature) private view returns (bool) {
        return SignatureChecker.isValidSignatureNowCalldata(signer, _hashTypedDataV4(hash), signature);
    }

    function _checkSigned(
        address signer,
        bytes32 hash,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) private view {
        if (block.timestamp > deadline) revert SignatureExpired(deadline, block.timestamp);
        if (!_signed(signer, hash, signature)) revert InvalidSignature(signer, nonce);
    }
}
