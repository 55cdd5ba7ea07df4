// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {ILoanLedger, Terms} from "../interfaces/ILoanLedger.sol";

/// @title Tells a ledger's events by the hundred, to measure how fast they are read. There is nothing behind them.
contract EventStorm {
    /// Tell that loans were opened, numbered from `first`.
    function open(Terms memory terms, uint256 first, uint256 count) external {
        for (uint256 i = first; i < first + count; ++i) {
            terms.salt = bytes32(i);
            emit ILoanLedger.LoanOpened(_id(i), terms, terms.principal, uint80(terms.principal * terms.instalments));
        }
    }

    /// Tell of payments of one unit each, numbered from `first`, to each of the loans in turn.
    function repay(uint256 loans, uint256 first, uint256 count) external {
        for (uint256 i = first; i < first + count; ++i) {
            emit ILoanLedger.Repaid(_id(i % loans), msg.sender, 1, uint80(i / loans + 1));
        }
    }

    /// As spread as real ids are.
    function _id(uint256 number) private pure returns (bytes32) {
        return keccak256(abi.encode(number));
    }
}
