// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Test} from "forge-std/Test.sol";

import {GrievanceDesk} from "contracts/GrievanceDesk.sol";
import {LoanLedger} from "contracts/LoanLedger.sol";
import {NoticeRegistry} from "contracts/NoticeRegistry.sol";
import {PolicyBook} from "contracts/PolicyBook.sol";
import {Frequency, Schedule, Terms} from "contracts/interfaces/ILoanLedger.sol";
import {AprConvention, ContactLimits, LendingLimits} from "contracts/interfaces/IPolicyBook.sol";
import {Calendar} from "contracts/libraries/Calendar.sol";
import {BlockingDollar} from "contracts/mocks/BlockingDollar.sol";

/// @title What every test of the ledger starts from: contracts, a policy, parties with money, and their signatures.
abstract contract Base is Test {
    uint256 internal constant START = 1_767_225_600; // 2026-01-01
    uint256 internal constant PLENTY = 1e15;
    string private constant TERMS =
        "Terms(address lender,address borrower,uint88 principal,uint88 originationFee,uint80 lateFee,uint24 rate,uint16 instalments,uint24 firstDue,uint8 schedule,uint8 frequency,int8 calendarOffset,uint8 graceDays,uint32 policy,uint40 expires,bytes32 agreementHash,bytes32 replaces,bytes32 salt)";

    address internal publisher = makeAddr("publisher");
    address internal servicer = makeAddr("servicer");
    address internal keeper = makeAddr("keeper");
    address internal stranger = makeAddr("stranger");
    address internal lender;
    address internal borrower;
    mapping(address signer => uint256) internal keyOf;

    BlockingDollar internal dollar;
    PolicyBook internal policyBook;
    GrievanceDesk internal desk;
    LoanLedger internal ledger;
    NoticeRegistry internal notices;
    uint32 internal policy;

    function setUp() public virtual {
        vm.warp(START);
        lender = makeSigner("lender");
        borrower = makeSigner("borrower");
        dollar = new BlockingDollar(6);
        policyBook = new PolicyBook(publisher);
        desk = new GrievanceDesk(policyBook);
        ledger = new LoanLedger(dollar, policyBook, desk);
        notices = new NoticeRegistry(ledger, policyBook, desk);
        desk.bind(ledger, notices);
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
        return publish(limits, 0, 0);
    }

    /// @param restAllLoans, restFees What grievances rest, a bit for each.
    function publish(LendingLimits memory limits, uint8 restAllLoans, uint8 restFees) internal returns (uint32) {
        ContactLimits memory contact = ContactLimits(
            540,
            1140,
            900,
            127,
            2,
            3,
            4 hours,
            7,
            2,
            30,
            restAllLoans,
            restFees
        );
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

    /// What a party signs on this ledger, by EIP-712: the hash of a struct.
    function digestOf(bytes32 structHash) internal view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Duly"),
                keccak256("1"),
                block.chainid,
                address(ledger)
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    /// The same for a consent to terms: an "Offer", an "Acceptance" or an "Amendment".
    function digestOf(string memory consent, Terms memory terms) internal view returns (bytes32) {
        bytes32 hash = keccak256(abi.encode(keccak256(bytes(TERMS)), terms));
        return digestOf(keccak256(abi.encode(keccak256(abi.encodePacked(consent, "(Terms terms)", TERMS)), hash)));
    }

    function open(Terms memory terms) internal returns (bytes32) {
        bytes memory offer = sign(terms.lender, digestOf("Offer", terms));
        vm.prank(terms.borrower);
        return ledger.open(terms, offer);
    }
}
