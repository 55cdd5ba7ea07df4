// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Test} from "forge-std/Test.sol";

import {LoanLedger} from "contracts/LoanLedger.sol";
import {PolicyBook} from "contracts/PolicyBook.sol";
import {Frequency, Schedule, Terms} from "contracts/interfaces/ILoanLedger.sol";
import {AprConvention, ContactLimits, LendingLimits} from "contracts/interfaces/IPolicyBook.sol";
import {Calendar} from "contracts/libraries/Calendar.sol";
import {BlockingDollar} from "contracts/mocks/BlockingDollar.sol";

/// @title What every test of the ledger starts from: contracts, a policy, parties with money, and their signatures.
abstract contract Base is Test {
    uint256 internal constant START = 1_767_225_600; // 2026-01-01
    uint256 internal constant PLENTY = 1e15;

    address internal publisher = makeAddr("publisher");
    address internal servicer = makeAddr("servicer");
    address internal keeper = makeAddr("keeper");
    address internal stranger = makeAddr("stranger");
    address internal lender;
    address internal borrower;
    mapping(address signer => uint256) internal keyOf;

    BlockingDollar internal dollar;
    PolicyBook internal policyBook;
    LoanLedger internal ledger;
    uint32 internal policy;

    function setUp() public virtual {
        vm.warp(START);
        lender = makeSigner("lender");
        borrower = makeSigner("borrower");
        dollar = new BlockingDollar(6);
        policyBook = new PolicyBook(publisher);
        ledger = new LoanLedger(dollar, policyBook);
        policy = publish(ordinaryLimits());
        fund(lender);
        fund(borrower);
        fund(stranger);
    }

    function makeSigner(string memory name) internal returns (address signer) {
        uint256 key;
        (signer, key) = makeAddrAndKey(name);
        keyOf[signer] = key;
    }

    function fund(address holder) internal {
        dollar.mint(holder, PLENTY);
        vm.prank(holder);
        dollar.approve(address(ledger), type(uint256).max);
    }

    function ordinaryLimits() internal pure returns (LendingLimits memory) {
        return LendingLimits(240_000, AprConvention.Nominal, 500, 3, 14, 90);
    }

    function publish(LendingLimits memory limits) internal returns (uint32) {
        ContactLimits memory contact = ContactLimits(540, 1140, 900, 127, 2, 3, 4 hours, 7, 2, 30);
        vm.prank(publisher);
        return policyBook.publish(limits, contact, "templates", "pack");
    }

    /// Ordinary terms: a year at 12 %, monthly, in Beijing's calendar.
    function ordinary() internal view returns (Terms memory terms) {
        terms.lender = lender;
        terms.borrower = borrower;
        terms.principal = 1_200e6;
        terms.lateFee = 5e6;
        terms.rate = 120_000;
        terms.instalments = 12;
        terms.calendarOffset = 32;
        terms.firstDue = uint24(Calendar.addPeriods(Calendar.localDay(block.timestamp, 32), Frequency.Monthly, 1));
        terms.graceDays = 5;
        terms.policy = policy;
        terms.expires = uint40(block.timestamp + 7 days);
        terms.agreementHash = "key facts";
    }

    function sign(address signer, bytes32 digest) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keyOf[signer], digest);
        return abi.encodePacked(r, s, v);
    }

    function open(Terms memory terms) internal returns (bytes32) {
        bytes memory offer = sign(terms.lender, ledger.offerHash(terms));
        vm.prank(terms.borrower);
        return ledger.open(terms, offer);
    }
}
// y
