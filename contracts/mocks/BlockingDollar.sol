// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {TestDollar} from "./TestDollar.sol";

/// @title A dollar whose issuer can block a holder from receiving, as issuers of real ones can.
contract BlockingDollar is TestDollar {
    mapping(address holder => bool) public blocked;

    error Blocked(address holder);

    constructor(uint8 decimals_) TestDollar(decimals_) {}

    function setBlocked(address holder, bool isBlocked) external {
        blocked[holder] = isBlocked;
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (blocked[to]) revert Blocked(to);
        super._update(from, to, amount);
    }
}
