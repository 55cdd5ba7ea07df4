// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Base} from "./Base.t.sol";
import {Loan, Status, Terms} from "contracts/interfaces/ILoanLedger.sol";

contract LoanLedgerTest is Base {
    function test_open() public {
        Terms memory terms = ordinary();
        bytes32 id = open(terms);
        assertEq(id, ledger.idOf(terms));
        assertEq(dollar.balanceOf(borrower), PLENTY + terms.principal);
    }

    function test_repay() public {
        bytes32 id = open(ordinary());
        vm.prank(stranger);
        ledger.repay(id, 100);
        assertEq(ledger.loanOf(id).paid, 100);
    }
}
// x
