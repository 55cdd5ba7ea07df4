// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Terms} from "../interfaces/ILoanLedger.sol";

/// @title What lenders and borrowers sign, as EIP-712 struct hashes.
/// @notice Each consent is a type of its own, so that no signature can be used for anything but what it was given for.
/// @dev Mirrored by `duly/chain/offers.py`.
library Agreement {
    bytes32 private constant TERMS =
        keccak256(
            "Terms(address lender,address borrower,uint88 principal,uint88 originationFee,uint80 lateFee,uint24 rate,uint16 instalments,uint24 firstDue,uint8 schedule,uint8 frequency,int8 calendarOffset,uint8 graceDays,uint32 policy,uint40 expires,bytes32 agreementHash,bytes32 replaces,bytes32 salt)"
        );
    bytes32 private constant OFFER =
        keccak256(
            "Offer(Terms terms)Terms(address lender,address borrower,uint88 principal,uint88 originationFee,uint80 lateFee,uint24 rate,uint16 instalments,uint24 firstDue,uint8 schedule,uint8 frequency,int8 calendarOffset,uint8 graceDays,uint32 policy,uint40 expires,bytes32 agreementHash,bytes32 replaces,bytes32 salt)"
        );
    bytes32 private constant ACCEPTANCE =
        keccak256(
            "Acceptance(Terms terms)Terms(address lender,address borrower,uint88 principal,uint88 originationFee,uint80 lateFee,uint24 rate,uint16 instalments,uint24 firstDue,uint8 schedule,uint8 frequency,int8 calendarOffset,uint8 graceDays,uint32 policy,uint40 expires,bytes32 agreementHash,bytes32 replaces,bytes32 salt)"
        );
    bytes32 private constant AMENDMENT =
        keccak256(
            "Amendment(Terms terms)Terms(address lender,address borrower,uint88 principal,uint88 originationFee,uint80 lateFee,uint24 rate,uint16 instalments,uint24 firstDue,uint8 schedule,uint8 frequency,int8 calendarOffset,uint8 graceDays,uint32 policy,uint40 expires,bytes32 agreementHash,bytes32 replaces,bytes32 salt)"
        );
    bytes32 private constant REPAYMENT =
        keccak256("Repayment(bytes32 id,uint256 amount,uint256 nonce,uint256 deadline)");
    bytes32 private constant ASSIGNMENT =
        keccak256("Assignment(bytes32 id,address from,address to,uint256 nonce,uint256 deadline)");

    /// The terms themselves; every field is static, so that their ABI encoding is their EIP-712 encoding.
    function hash(Terms memory terms) internal pure returns (bytes32) {
        return keccak256(abi.encode(TERMS, terms));
    }

    function offer(bytes32 terms) internal pure returns (bytes32) {
        return keccak256(abi.encode(OFFER, terms));
    }

    function acceptance(bytes32 terms) internal pure returns (bytes32) {
        return keccak256(abi.encode(ACCEPTANCE, terms));
    }

    function amendment(bytes32 terms) internal pure returns (bytes32) {
        return keccak256(abi.encode(AMENDMENT, terms));
    }

    function repayment(
        bytes32 id,
        uint256 amount,
        uint256 nonce,
        uint256 deadline
    ) internal pure returns (bytes32) {
        return keccak256(abi.encode(REPAYMENT, id, amount, nonce, deadline));
    }

    function assignment(
        bytes32 id,
        address from,
        address to,
        uint256 nonce,
        uint256 deadline
    ) internal pure returns (bytes32) {
        return keccak256(abi.encode(ASSIGNMENT, id, from, to, nonce, deadline));
    }
}
