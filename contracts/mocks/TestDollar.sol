// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title A dollar for local chains and tests: anyone can mint it, so it is worth nothing.
contract TestDollar is ERC20Permit {
    uint8 private immutable _decimals;

    constructor(uint8 decimals_) ERC20("Test Dollar", "TUSD") ERC20Permit("Test Dollar") {
        _decimals = decimals_;
    }

    function decimals() public view override returns (uint8) {
        return _decimals;
    }

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}
