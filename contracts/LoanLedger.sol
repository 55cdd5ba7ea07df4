// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {EIP712} from "solady/utils/EIP712.sol";
import {FixedPointMathLib} from "solady/utils/FixedPointMathLib.sol";
import {Multicallable} from "solady/utils/Multicallable.sol";
import {SignatureCheckerLib} from "solady/utils/SignatureCheckerLib.sol";

import {ILoanLedger, Instalment, Loan, Position, Status, Terms} from "./interfaces/ILoanLedger.sol";
import {IGrievanceDesk} from "./interfaces/IGrievanceDesk.sol";
import {IPolicyBook} from "./interfaces/IPolicyBook.sol";
import {Agreement} from "./libraries/Agreement.sol";
import {Amortization} from "./libraries/Amortization.sol";
import {Calendar} from "./libraries/Calendar.sol";
import {Debt, Loans, Origin} from "./libraries/Loans.sol";

/// @title LoanLedger
/// @notice See {ILoanLedger}.
contract LoanLedger is ILoanLedger, EIP712, Multicallable, Nonces {
    using SafeERC20 for IERC20;
    using Agreement for *;
    using Amortization for Amortization.Curve;
    using FixedPointMathLib for uint256;
    using Loans for Debt;

    uint256 private constant YEAR = 365;

    /// What a loan begins with that its terms do not tell; see {LoanAmended}.
    struct Start {
        uint32 openedAt;
        uint16 assessed;
        uint80 paid;
        uint80 fees;
        bool assigned;
        bool aggrieved;
    }

    /// The one currency of this ledger.
    IERC20 public immutable currency;
    IPolicyBook public immutable policyBook;
    /// @inheritdoc ILoanLedger
    IGrievanceDesk public immutable desk;

    mapping(bytes32 id => Origin) private _origins;
    mapping(bytes32 id => Debt) private _debts;
    /// @inheritdoc ILoanLedger
    mapping(address lender => address) public servicerOf;
    /// @inheritdoc ILoanLedger
    mapping(address lender => uint256) public claimable;
    /// All that is claimable.
    uint256 private _held;

    /// What of a loan goes on in another.
    /// @param instalments How many are done with.
    /// @param intervals By how many the others' due days move.
    /// @param principal What the others repay.
    /// @param paid, fees What was paid ahead on them, and which late fees are unpaid.
    struct Rest {
        uint256 instalments;
        uint256 intervals;
        uint256 principal;
        uint256 paid;
        uint256 fees;
    }

    constructor(IERC20 currency_, IPolicyBook policyBook_, IGrievanceDesk desk_) {
        currency = currency_;
        policyBook = policyBook_;
        desk = desk_;
    }

    // ------------------------------------------------------------------------------------------------- opening

    /// @inheritdoc ILoanLedger
    function open(Terms memory terms, bytes calldata offer) external returns (bytes32 id) {
        if (msg.sender != terms.borrower) revert NotBorrower(msg.sender, terms.borrower);
        bytes32 hash;
        (id, hash) = _unused(terms);
        _open(id, hash, terms, offer);
    }

    /// @inheritdoc ILoanLedger
    function openBySignature(
        Terms memory terms,
        bytes calldata offer,
        bytes calldata acceptance
    ) external returns (bytes32 id) {
        bytes32 hash;
        (id, hash) = _unused(terms);
        if (!_signed(terms.borrower, hash.acceptance(), acceptance)) revert InvalidAcceptance(id, terms.borrower);
        _open(id, hash, terms, offer);
    }

    function _open(bytes32 id, bytes32 hash, Terms memory terms, bytes calldata offer) private {
        // Check: the lender offers these very terms to this borrower, as a new loan.
        if (terms.lender == address(0) || terms.borrower == address(0) || terms.lender == terms.borrower) {
            revert InvalidParties(terms.lender, terms.borrower);
        }
        if (terms.replaces != 0) revert NotANewLoan(terms.replaces);
        if (!_signed(terms.lender, hash.offer(), offer)) revert InvalidOffer(id, terms.lender);

        // Check: the schedule is one that can be kept, within the policy's limits.
        (uint256 instalment, uint256 total) = policyBook.admit(terms, 0);

        // Effect
        _record(id, terms, instalment, total, Start(uint32(block.timestamp), 0, 0, 0, false, false));
        emit LoanOpened(id, terms, uint88(instalment), uint80(total));

        // Interaction
        uint256 received = terms.principal - terms.originationFee;
        uint256 before = currency.balanceOf(terms.borrower);
        currency.safeTransferFrom(terms.lender, terms.borrower, received);
        uint256 arrived = currency.balanceOf(terms.borrower) - before;
        if (arrived != received) revert CurrencyTookAFee(received, arrived);
    }

    /// @inheritdoc ILoanLedger
    function cancelOffer(Terms memory terms) external {
        if (msg.sender != terms.lender && msg.sender != terms.borrower) {
            revert NotParty(msg.sender, terms.lender, terms.borrower);
        }
        (bytes32 id, ) = _unused(terms);
        _origins[id].status = Status.Cancelled;
        emit OfferCancelled(id, msg.sender);
    }

    /// The id of terms that can still be accepted.
    function _unused(Terms memory terms) private view returns (bytes32 id, bytes32 hash) {
        if (block.timestamp > terms.expires) revert OfferExpired(terms.expires, block.timestamp);
        hash = terms.hash();
        id = _hashTypedData(hash);
        Status status = _origins[id].status;
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
        _origins[id] = Origin({
            borrower: terms.borrower,
            openedAt: start.openedAt,
            policy: terms.policy,
            defaulted: 0,
            status: Status.Active,
            amends: terms.replaces != 0
        });
        _debts[id] = Debt({
            lender: terms.lender,
            firstDue: terms.firstDue,
            instalments: terms.instalments,
            rate: terms.rate,
            schedule: terms.schedule,
            frequency: terms.frequency,
            calendarOffset: terms.calendarOffset,
            graceDays: terms.graceDays,
            principal: uint80(terms.principal),
            instalment: uint80(instalment),
            lateFee: terms.lateFee,
            assigned: start.assigned,
            aggrieved: start.aggrieved,
            total: uint80(total),
            paid: start.paid,
            fees: start.fees,
            assessed: start.assessed
        });
    }

    // ------------------------------------------------------------------------------------------------- paying

    /// @inheritdoc ILoanLedger
    function repay(bytes32 id, uint256 amount) external returns (uint256 taken) {
        return _repay(id, msg.sender, amount);
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
        return _repay(id, msg.sender, amount);
    }

    /// @inheritdoc ILoanLedger
    function repayBySignature(
        bytes32 id,
        uint256 amount,
        uint256 deadline,
        bytes calldata signature
    ) external returns (uint256 taken) {
        address borrower = _origin(id).borrower;
        uint256 nonce = _useNonce(borrower);
        _checkSigned(borrower, id.repayment(amount, nonce, deadline), nonce, deadline, signature);
        return _repay(id, borrower, amount);
    }

    function _repay(bytes32 id, address payer, uint256 amount) private returns (uint256 taken) {
        // Check
        if (amount == 0) revert ZeroAmount();
        Debt memory debt = _owing(id);

        // Effect
        _assess(id, debt, debt.curveOf());
        taken = _credit(debt, amount);
        emit Repaid(id, payer, taken, debt.paid);
        _storeCredit(id, debt);

        // Interaction
        _collect(id, payer, debt.lender, taken);
    }

    /// @inheritdoc ILoanLedger
    function settle(bytes32 id, uint256 maximum) external returns (uint256 taken) {
        // Check
        Debt memory debt = _owing(id);
        Amortization.Curve memory curve = debt.curveOf();
        (uint256 past, uint256 due) = _assess(id, debt, curve);
        taken = debt.payoff(debt.earned(curve, _origins[id], past, due));
        if (taken > maximum) revert PayoffAboveMaximum(taken, maximum);

        _settle(id, debt, taken);
    }

    function _settle(bytes32 id, Debt memory debt, uint256 taken) private {
        // Effect: the rest of the schedule will never fall due.
        uint256 saved = debt.owed() - taken;
        debt.total -= uint80(saved);
        debt.paid += uint80(taken);
        emit LoanSettled(id, msg.sender, taken, saved, debt.paid);
        _store(id, debt);

        // Interaction
        _collect(id, msg.sender, debt.lender, taken);
    }

    /// @inheritdoc ILoanLedger
    function prepay(bytes32 id, uint256 amount) external returns (uint256 taken, bytes32 amendment) {
        // Check
        Debt memory debt = _owing(id);
        _checkBorrower(id);
        _checkNoCoolingOff(id, debt);
        Amortization.Curve memory curve = debt.curveOf();
        (uint256 past, uint256 due) = _assess(id, debt, curve);
        Loans.Earned memory earned = debt.earned(curve, _origins[id], past, due);
        taken = debt.payoff(earned);
        if (amount >= taken) {
            _settle(id, debt, taken);
            return (taken, 0);
        }
        taken = amount;
        due += debt.fees;
        if (debt.paid + amount <= due) revert PrepaymentTooSmall(amount, due - debt.paid);

        // Effect: what is left after arrears and fees repays principal, with its share of the interest since the period began.
        uint256 repaid = ((debt.paid + amount - due) * earned.balance) / (earned.balance + earned.interest);
        debt.paid += uint80(amount);
        emit Repaid(id, msg.sender, amount, debt.paid);
        // A bullet's interest is not paid before its end: it goes on from its beginning.
        uint256 k = curve.schedule == Amortization.BULLET ? 0 : past;
        amendment = _goOn(id, debt, Rest(k, 0, earned.balance - repaid, 0, 0));

        // Interaction
        _collect(id, msg.sender, debt.lender, amount);
    }

    /// @inheritdoc ILoanLedger
    function rescind(Terms memory terms) external returns (uint256 taken) {
        // Check: the borrower, in time, a loan that is no amendment.
        bytes32 id = idOf(terms);
        Debt memory debt = _owing(id);
        _checkBorrower(id);
        uint256 lastDay = _lastDayToRescind(id, debt);
        uint256 today = debt.today();
        if (today > lastDay) revert CoolingOffOver(lastDay, today);

        // Effect: COOL-1
        uint256 received = terms.principal - terms.originationFee;
        uint256 elapsed = today - Calendar.localDay(_origins[id].openedAt, debt.calendarOffset);
        uint256 owed = received + (received * debt.rate * elapsed) / (Amortization.PPM * YEAR);
        if (owed > debt.paid) taken = owed - debt.paid;
        // Not more than settling costs; no late fee, recorded or not, is part of that.
        debt.fees = 0;
        Amortization.Curve memory curve = debt.curveOf();
        uint256 past = debt.passed(today);
        uint256 most = debt.payoff(debt.earned(curve, _origins[id], past, curve.cumulative(past)));
        if (taken > most) taken = most;
        debt.paid += uint80(taken);
        debt.total = debt.paid;
        _origins[id].status = Status.Rescinded;
        emit LoanRescinded(id, taken, debt.paid);
        _store(id, debt);

        // Interaction
        _collect(id, msg.sender, debt.lender, taken);
    }

    /// @inheritdoc ILoanLedger
    function flagMissed(bytes32 id) external {
        Debt memory debt = _owing(id);
        uint256 assessed = debt.assessed;
        _assess(id, debt, debt.curveOf());
        if (debt.assessed == assessed) revert NothingMissed(id, assessed);
        _store(id, debt);
    }

    /// @inheritdoc ILoanLedger
    function flagMissedMany(bytes32[] calldata ids) external returns (uint256 flagged) {
        for (uint256 i = 0; i < ids.length; ++i) {
            Debt memory debt = _debts[ids[i]];
            uint256 assessed = debt.assessed;
            if (debt.owed() != 0) _assess(ids[i], debt, debt.curveOf());
            if (debt.assessed == assessed) continue;
            _store(ids[i], debt);
            ++flagged;
        }
    }

    /// @inheritdoc ILoanLedger
    function noteGrievance(bytes32 id) external {
        if (msg.sender != address(desk)) revert NotDesk(msg.sender, address(desk));
        Debt memory debt = _owing(id);
        _assess(id, debt, debt.curveOf());
        _store(id, debt);
        _debts[id].aggrieved = true;
    }

    /// @inheritdoc ILoanLedger
    function claim(address to) external returns (uint256 amount) {
        amount = claimable[msg.sender];
        if (amount == 0) revert NothingToClaim(msg.sender);
        claimable[msg.sender] = 0;
        _held -= amount;
        emit Claimed(msg.sender, to, amount);
        currency.safeTransfer(to, amount);
    }

    /// Charge what was missed up to now, before money moves.
    /// @return past How many instalments are past due.
    /// @return due Their sum.
    function _assess(
        bytes32 id,
        Debt memory debt,
        Amortization.Curve memory curve
    ) private returns (uint256 past, uint256 due) {
        uint256 first;
        uint256 last;
        (first, last, past, due) = debt.assess(curve, _feesRestUntil(id, debt));
        if (last != 0) emit InstalmentMissed(id, uint16(first), uint16(last), debt.fees);
    }

    /// Until when a grievance lets late fees rest; zero where none was ever lodged.
    function _feesRestUntil(bytes32 id, Debt memory debt) private view returns (uint256) {
        return debt.aggrieved ? desk.feesRestUntil(id) : 0;
    }

    /// Count an amount as paid, up to what is owed.
    function _credit(Debt memory debt, uint256 amount) private pure returns (uint256 credited) {
        uint256 owed = debt.owed();
        credited = amount < owed ? amount : owed;
        debt.paid += uint80(credited);
    }

    function _storeCredit(bytes32 id, Debt memory debt) private {
        _store(id, debt);
        if (debt.owed() == 0) emit LoanRepaid(id, debt.paid);
    }

    /// Record the two curves; the rest of a debt never changes.
    function _store(bytes32 id, Debt memory debt) private {
        Debt storage stored = _debts[id];
        (stored.total, stored.paid, stored.fees, stored.assessed) = (
            debt.total,
            debt.paid,
            debt.fees,
            debt.assessed
        );
    }

    /// Take a payment. Where the lender cannot receive it the ledger holds it, so that no lender makes a loan unpayable.
    function _collect(bytes32 id, address payer, address lender, uint256 amount) private {
        if (amount == 0 || currency.trySafeTransferFrom(payer, lender, amount)) return;
        // Where it is the payer who cannot pay, this reverts with the token's own reason.
        currency.safeTransferFrom(payer, address(this), amount);
        // Only what has arrived, and is nobody's yet, can be paid out: or one lender's claim would be paid with another's money.
        uint256 held = amount.min(currency.balanceOf(address(this)) - _held);
        _held += held;
        claimable[lender] += held;
        emit PaymentHeld(id, lender, held);
    }

    // ------------------------------------------------------------------------------------------------- amending

    /// @inheritdoc ILoanLedger
    function amend(
        Terms memory terms,
        bytes calldata byLender,
        bytes calldata byBorrower
    ) external returns (bytes32 id) {
        // Check: both parties agree, for the same loan.
        bytes32 hash;
        (id, hash) = _unused(terms);
        bytes32 replaced = terms.replaces;
        Debt memory debt = _owing(replaced);
        Origin storage origin = _origins[replaced];
        if (
            terms.lender != debt.lender ||
            terms.borrower != origin.borrower ||
            terms.policy != origin.policy ||
            terms.originationFee != 0
        ) revert NotTheSameLoan(replaced);
        if (terms.rate > debt.rate) revert RateRaised(terms.rate, debt.rate);
        _checkNoCoolingOff(replaced, debt);
        hash = hash.amendment();
        if (!_signed(terms.lender, hash, byLender)) revert InvalidAmendment(id, terms.lender);
        if (!_signed(terms.borrower, hash, byBorrower)) revert InvalidAmendment(id, terms.borrower);

        // Check: nothing is lent anew, no fee becomes principal, and the price is within the same limits.
        Amortization.Curve memory curve = debt.curveOf();
        (uint256 past, uint256 due) = _assess(replaced, debt, curve);
        (, uint256 fees) = debt.arrears(due);
        uint256 most = debt.payoff(debt.earned(curve, origin, past, due)) - fees;
        if (terms.principal > most) revert PrincipalAbovePayoff(terms.principal, most);
        (uint256 instalment, uint256 total) = policyBook.admit(terms, fees);

        // Effect
        debt.fees -= uint80(fees);
        _replace(id, debt, terms, instalment, total, Start(uint32(block.timestamp), 0, 0, uint80(fees), debt.assigned, debt.aggrieved));
    }

    /// @inheritdoc ILoanLedger
    function defer(bytes32 id, uint8 intervals) external returns (bytes32 amendment) {
        // Check
        Debt memory debt = _owingTo(id, msg.sender);
        _checkNoCoolingOff(id, debt);
        Amortization.Curve memory curve = debt.curveOf();
        (uint256 past, uint256 due) = _assess(id, debt, curve);
        (, uint256 fees) = debt.arrears(due);
        uint256 paid = debt.paid - (debt.fees - fees);
        uint256 k = curve.covered(paid);
        if (intervals == 0 || k == curve.instalments) revert NothingToDefer(id);

        // Effect: go on from the first unpaid instalment, or the next one where it is paid ahead.
        if (k > past) k = past;
        if (curve.schedule == Amortization.BULLET) k = 0;
        amendment = _goOn(id, debt, Rest(k, intervals, curve.balance(k), paid - curve.cumulative(k), fees));
    }

    /// Replace a loan by one that carries on with the rest of it, on terms that the ledger derives.
    function _goOn(
        bytes32 id,
        Debt memory debt,
        Rest memory rest
    ) private returns (bytes32 amendment) {
        uint256 owed = debt.owed();
        Terms memory terms = Terms({
            lender: debt.lender,
            borrower: _origins[id].borrower,
            principal: uint88(rest.principal),
            originationFee: 0,
            lateFee: debt.lateFee,
            rate: debt.rate,
            instalments: uint16(debt.instalments - rest.instalments),
            firstDue: uint24(
                Calendar.dueDayToGoOnFrom(
                    debt.firstDue,
                    debt.frequency,
                    rest.instalments + 1 + rest.intervals
                )
            ),
            schedule: debt.schedule,
            frequency: debt.frequency,
            calendarOffset: debt.calendarOffset,
            graceDays: debt.graceDays,
            policy: _origins[id].policy,
            expires: uint40(block.timestamp),
            agreementHash: 0,
            replaces: id,
            salt: 0
        });
        (uint256 instalment, uint256 total, uint256 lateFee) = policyBook.admitDerived(terms, rest.fees);
        terms.lateFee = uint80(lateFee);
        debt.paid -= uint80(rest.paid);
        debt.fees -= uint80(rest.fees);
        // Instalments are rounded anew. The loan must not become dearer by it, nor can it be repaid by more than its total.
        uint256 paid = (rest.paid + owed).max(total + rest.fees) - owed;
        if (paid > total) paid = total;
        uint256 openedAt = rest.instalments == 0 ? _origins[id].openedAt : debt.dueTime(rest.instalments);
        // What was missed already is not charged again, and what was missed while late fees rested not at all.
        uint256 assessed = debt.assessed;
        uint256 restUntil = _feesRestUntil(id, debt);
        if (restUntil != 0) assessed = assessed.max(debt.rested(restUntil));
        assessed = assessed.zeroFloorSub(rest.instalments);
        amendment = _hashTypedData(terms.hash());
        Start memory start = Start({
            openedAt: uint32(openedAt),
            assessed: uint16(assessed),
            paid: uint80(paid),
            fees: uint80(rest.fees),
            assigned: debt.assigned,
            aggrieved: debt.aggrieved
        });
        _replace(amendment, debt, terms, instalment, total, start);
    }

    /// Close a loan into another, once what goes over to it was taken off: nothing is owed on the old one any more.
    function _replace(
        bytes32 id,
        Debt memory old,
        Terms memory terms,
        uint256 instalment,
        uint256 total,
        Start memory start
    ) private {
        old.total = old.paid - old.fees;
        _store(terms.replaces, old);
        _origins[terms.replaces].status = Status.Replaced;
        _record(id, terms, instalment, total, start);
        emit LoanAmended(
            terms.replaces,
            id,
            terms,
            uint88(instalment),
            uint80(total),
            start.openedAt,
            start.assessed,
            start.paid,
            start.fees
        );
        if (old.aggrieved) desk.carryOver(terms.replaces, id);
    }

    /// No loan is amended that the borrower can still rescind: the right would be lost.
    function _checkNoCoolingOff(bytes32 id, Debt memory debt) private view {
        uint256 lastDay = _lastDayToRescind(id, debt);
        uint256 today = debt.today();
        if (today <= lastDay) revert CoolingOffRuns(lastDay, today);
    }

    /// Zero where there is no cooling-off period.
    function _lastDayToRescind(bytes32 id, Debt memory debt) private view returns (uint256) {
        Origin memory origin = _origins[id];
        if (origin.amends) return 0;
        (uint256 length, ) = policyBook.daysOf(origin.policy);
        return length == 0 ? 0 : Calendar.localDay(origin.openedAt, debt.calendarOffset) + length;
    }

    function _checkBorrower(bytes32 id) private view {
        address borrower = _origins[id].borrower;
        if (msg.sender != borrower) revert NotBorrower(msg.sender, borrower);
    }

    // ------------------------------------------------------------------------------------------------- the lender's side

    /// @inheritdoc ILoanLedger
    function acknowledgeReceipt(
        bytes32 id,
        uint256 amount,
        bytes32 receipt
    ) external returns (uint256 credited) {
        if (amount == 0) revert ZeroAmount();
        Debt memory debt = _owingTo(id, msg.sender);
        _assess(id, debt, debt.curveOf());
        credited = _credit(debt, amount);
        emit ReceiptAcknowledged(id, msg.sender, credited, receipt, debt.paid);
        _storeCredit(id, debt);
    }

    /// @inheritdoc ILoanLedger
    function forgive(bytes32 id, uint256 amount) external returns (uint256 forgiven) {
        if (amount == 0) revert ZeroAmount();
        Debt memory debt = _owingTo(id, msg.sender);
        _assess(id, debt, debt.curveOf());
        forgiven = _credit(debt, amount);
        emit DebtForgiven(id, msg.sender, forgiven, debt.paid);
        _storeCredit(id, debt);
    }

    /// @inheritdoc ILoanLedger
    function waive(bytes32 id, uint256 amount) external returns (uint256 waived) {
        Debt memory debt = _owingTo(id, msg.sender);
        Amortization.Curve memory curve = debt.curveOf();
        (, uint256 due) = _assess(id, debt, curve);
        (, uint256 fees) = debt.arrears(due);
        waived = amount < fees ? amount : fees;
        if (waived == 0) revert NothingToWaive(id);
        debt.fees -= uint80(waived);
        emit FeesWaived(id, msg.sender, waived, debt.fees);
        _storeCredit(id, debt);
    }

    /// @inheritdoc ILoanLedger
    function assign(bytes32 id, address to, uint256 deadline, bytes calldata signature) external {
        _owingTo(id, msg.sender);
        address borrower = _origins[id].borrower;
        if (to == address(0) || to == borrower) revert InvalidParties(to, borrower);
        uint256 nonce = _useNonce(to);
        _checkSigned(to, id.assignment(msg.sender, to, nonce, deadline), nonce, deadline, signature);
        _debts[id].lender = to;
        _debts[id].assigned = true;
        emit LoanAssigned(id, msg.sender, to);
    }

    /// @inheritdoc ILoanLedger
    function markDefault(bytes32 id) external {
        Debt memory debt = _owing(id);
        address servicer = servicerOf[debt.lender];
        if (msg.sender != debt.lender && msg.sender != servicer) {
            revert NotServicer(msg.sender, debt.lender, servicer);
        }
        Origin memory origin = _origins[id];
        if (debt.statusOf(origin) == Status.Defaulted) revert LoanNotActive(id, Status.Defaulted);
        Amortization.Curve memory curve = debt.curveOf();
        (uint256 past, uint256 due) = _assess(id, debt, curve);
        (uint256 overdue, ) = debt.arrears(due);
        _store(id, debt);
        uint256 today = debt.today();
        if (overdue == 0) revert NotInDefault(0, today);
        uint256 instalment = debt.firstUnpaid(curve, past, due);
        (, uint256 defaultDays) = policyBook.daysOf(origin.policy);
        uint256 firstDay = debt.dueDay(instalment) + defaultDays;
        if (today < firstDay) revert NotInDefault(firstDay, today);
        _origins[id].defaulted = uint16(instalment);
        emit LoanDefaulted(id, uint16(instalment), overdue);
    }

    /// @inheritdoc ILoanLedger
    function appointServicer(address servicer) external {
        servicerOf[msg.sender] = servicer;
        emit ServicerAppointed(msg.sender, servicer);
    }

    // ------------------------------------------------------------------------------------------------- looking

    /// @inheritdoc ILoanLedger
    function idOf(Terms memory terms) public view returns (bytes32) {
        return _hashTypedData(terms.hash());
    }

    /// @inheritdoc ILoanLedger
    function offerHash(Terms memory terms) external view returns (bytes32) {
        return _hashTypedData(terms.hash().offer());
    }

    /// @inheritdoc ILoanLedger
    function loanOf(bytes32 id) external view returns (Loan memory) {
        Origin memory origin = _origin(id);
        Debt memory debt = _debts[id];
        return
            Loan({
                borrower: origin.borrower,
                openedAt: origin.openedAt,
                policy: origin.policy,
                assessed: debt.assessed,
                status: debt.statusOf(origin),
                amends: origin.amends,
                lender: debt.lender,
                firstDue: debt.firstDue,
                instalments: debt.instalments,
                rate: debt.rate,
                schedule: debt.schedule,
                frequency: debt.frequency,
                calendarOffset: debt.calendarOffset,
                graceDays: debt.graceDays,
                principal: debt.principal,
                instalment: debt.instalment,
                lateFee: debt.lateFee,
                total: debt.total,
                paid: debt.paid,
                fees: debt.fees
            });
    }

    /// @inheritdoc ILoanLedger
    function instalmentOf(bytes32 id, uint256 k) external view returns (Instalment memory) {
        _origin(id);
        Debt memory debt = _debts[id];
        if (k == 0 || k > debt.instalments) revert NoSuchInstalment(k, debt.instalments);
        return debt.row(k);
    }

    /// @inheritdoc ILoanLedger
    function payoff(bytes32 id) external view returns (uint256) {
        _origin(id);
        Debt memory debt = _debts[id];
        Amortization.Curve memory curve = debt.curveOf();
        (, , uint256 past, uint256 due) = debt.assess(curve, _feesRestUntil(id, debt));
        return debt.payoff(debt.earned(curve, _origins[id], past, due));
    }

    /// @inheritdoc ILoanLedger
    function delinquency(
        bytes32 id
    ) external view returns (uint256 overdue, uint256 fees, uint256 firstUnpaid, uint256 dueAt) {
        _origin(id);
        Debt memory debt = _debts[id];
        Amortization.Curve memory curve = debt.curveOf();
        (, , uint256 past, uint256 due) = debt.assess(curve, _feesRestUntil(id, debt));
        (overdue, fees) = debt.arrears(due);
        firstUnpaid = debt.firstUnpaid(curve, past, due);
        if (firstUnpaid != 0) dueAt = debt.dueTime(firstUnpaid);
    }

    /// @inheritdoc ILoanLedger
    function positionOf(bytes32 id) external view returns (Position memory position) {
        Origin memory origin = _origins[id];
        Debt memory debt = _debts[id];
        Amortization.Curve memory curve = debt.curveOf();
        (, , uint256 past, uint256 due) = debt.assess(curve, _feesRestUntil(id, debt));
        position.borrower = origin.borrower;
        position.lender = debt.lender;
        position.servicer = servicerOf[debt.lender];
        position.policy = origin.policy;
        position.status = debt.statusOf(origin);
        position.today = debt.today();
        position.calendarOffset = debt.calendarOffset;
        position.principal = debt.principal;
        position.paid = debt.paid;
        position.openedAt = origin.openedAt;
        position.amends = origin.amends;
        position.assigned = debt.assigned;

        (position.overdue, position.fees) = debt.arrears(due);
        position.firstUnpaid = debt.firstUnpaid(curve, past, due);
        if (position.overdue != 0) position.missed = past + 1 - position.firstUnpaid;
        if (position.firstUnpaid != 0) position.firstUnpaidDueDay = debt.dueDay(position.firstUnpaid);
        (position.next, position.nextDueDay, position.nextAmount) = debt.next(curve, past);
    }

    /// @inheritdoc ILoanLedger
    function loanSlots(
        bytes32 id
    ) external view returns (uint256 opening, uint256 calendar, uint256 amounts, uint256 curves) {
        Origin storage origin = _origins[id];
        Debt storage debt = _debts[id];
        // The first is all of {Origin}, the others are all of {Debt}.
        assembly ("memory-safe") {
            opening := sload(origin.slot)
            calendar := sload(debt.slot)
            amounts := sload(add(debt.slot, 1))
            curves := sload(add(debt.slot, 2))
        }
    }

    /// @inheritdoc ILoanLedger
    function partiesOf(
        bytes32 id
    ) external view returns (address borrower, address lender, address servicer, uint32 policy) {
        Origin storage origin = _origin(id);
        (borrower, policy) = (origin.borrower, origin.policy);
        lender = _debts[id].lender;
        servicer = servicerOf[lender];
    }

    /// A loan that was opened once.
    function _origin(bytes32 id) private view returns (Origin storage origin) {
        origin = _origins[id];
        if (origin.borrower == address(0)) revert UnknownLoan(id);
    }

    /// A loan on which something is owed.
    function _owing(bytes32 id) private view returns (Debt memory debt) {
        debt = _debts[id];
        if (debt.owed() == 0) revert LoanNotActive(id, debt.statusOf(_origin(id)));
    }

    /// A loan on which something is owed to this lender.
    function _owingTo(bytes32 id, address lender) private view returns (Debt memory debt) {
        debt = _owing(id);
        if (lender != debt.lender) revert NotLender(lender, debt.lender);
    }

    // ------------------------------------------------------------------------------------------------- signatures

    function _domainNameAndVersion() internal pure override returns (string memory, string memory) {
        return ("Duly", "1");
    }

    function _signed(address signer, bytes32 hash, bytes calldata signature) private view returns (bool) {
        return SignatureCheckerLib.isValidSignatureNowCalldata(signer, _hashTypedData(hash), signature);
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
