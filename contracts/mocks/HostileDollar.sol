// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Intruder} from "./Intruder.sol";
import {TestDollar} from "./TestDollar.sol";

/// @title A dollar with the bad manners of real currencies, each to be turned on: it blocks holders, calls them, answers
/// false where others revert, takes a fee.
contract HostileDollar is TestDollar {
    uint256 private constant BASIS_POINTS = 10_000;

    mapping(address holder => bool) public blocked;
    mapping(address holder => bool) public called;
    bool public answersFalse;
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

    /// Call a holder before they send, and after they received, as ERC-777 does.
    function setCalled(Intruder holder, bool isCalled) external {
        called[address(holder)] = isCalled;
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
        if (called[from]) Intruder(from).onTransfer();
        uint256 taken = from == address(0) || to == address(0) ? 0 : (amount * fee) / BASIS_POINTS;
        super._update(from, to, amount - taken);
        if (taken != 0) super._update(from, address(0), taken);
        if (called[to]) Intruder(to).onTransfer();
    }
}
