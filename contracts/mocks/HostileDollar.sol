// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Intruder} from "./Intruder.sol";
import {TestDollar} from "./TestDollar.sol";

/// @title A dollar with the bad manners of real currencies, each to be turned on: it blocks holders, answers false where
/// others revert, takes a fee, calls whoever sends or receives it.
contract HostileDollar is TestDollar {
    uint256 private constant BASIS_POINTS = 10_000;

    mapping(address holder => bool) public blocked;
    bool public answersFalse;
    bool public callsHolders;
    uint256 public fee;

    error Blocked(address holder);

    constructor(uint8 decimals_) TestDollar(decimals_) {}

    function setBlocked(address holder, bool isBlocked) external {
        blocked[holder] = isBlocked;
    }

    /// Answer false, instead of reverting, where a holder is blocked.
    function setAnswersFalse(bool answers) external {
        answersFalse = answers;
    }

    /// Call the sender before, and the receiver after a transfer, as ERC-777 does.
    function setCallsHolders(bool calls) external {
        callsHolders = calls;
    }

    /// Take a share of every transfer, in basis points.
    function setFee(uint256 share) external {
        fee = share;
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        if (answersFalse && blocked[to]) return false;
        return super.transferFrom(from, to, amount);
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (blocked[to]) revert Blocked(to);
        _call(from);
        uint256 taken = from == address(0) || to == address(0) ? 0 : (amount * fee) / BASIS_POINTS;
        super._update(from, to, amount - taken);
        if (taken != 0) super._update(from, address(0), taken);
        _call(to);
    }

    function _call(address holder) private {
        if (callsHolders && holder.code.length != 0) Intruder(holder).onTransfer();
    }
}
