// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

/// What an {Intruder} does when it is asked for its signature, or called in the middle of a transfer.
enum Manner {
    Agree,
    Refuse,
    Revert,
    BurnGas,
    IntrudeWhenPaid,
    IntrudeWhenAsked
}

/// @title A lender, borrower or payer by contract, who does anybody's bidding and means no good.
contract Intruder {
    Manner public manner;
    address private _target;
    bytes private _intrusion;
    /// How often the intrusion was tried, and how often it went through.
    uint256 public tried;
    uint256 public succeeded;
    bytes public answer;

    error Unwilling();

    /// From now on do this; where it intrudes, by calling `target` with `intrusion`, once.
    function behave(Manner manner_, address target, bytes calldata intrusion) external {
        (manner, _target, _intrusion) = (manner_, target, intrusion);
    }

    /// Do something in the usual way.
    function execute(address target, bytes calldata data) external returns (bytes memory result) {
        bool success;
        (success, result) = target.call(data);
        if (!success) {
            assembly {
                revert(add(result, 0x20), mload(result))
            }
        }
    }

    function onTransfer() external {
        if (manner == Manner.Revert) revert Unwilling();
        if (manner == Manner.BurnGas) _burnGas();
        if (manner != Manner.IntrudeWhenPaid) return;
        manner = Manner.Agree;
        ++tried;
        bool success;
        (success, answer) = _target.call(_intrusion);
        if (success) ++succeeded;
    }

    /// Not a view, as ERC-1271 has it, so that it may try what a view may not.
    function isValidSignature(bytes32, bytes calldata) external returns (bytes4) {
        if (manner == Manner.Revert) revert Unwilling();
        if (manner == Manner.BurnGas) _burnGas();
        bool agrees = manner == Manner.Agree || manner == Manner.IntrudeWhenPaid;
        // Whether the intrusion goes through is the answer.
        if (manner == Manner.IntrudeWhenAsked) (agrees, ) = _target.call(_intrusion);
        return agrees ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }

    function _burnGas() private pure {
        assembly {
            invalid()
        }
    }
}
