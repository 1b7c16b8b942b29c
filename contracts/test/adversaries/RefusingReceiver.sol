// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice A contract wallet that cannot be paid in the native asset.
contract RefusingReceiver {
    error PaymentRefused();

    /// @notice Acts as this party from outside.
    function act(address callee, bytes calldata data, uint256 value) external {
        (bool done, bytes memory returned) = callee.call{value: value}(data);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(returned, 0x20), mload(returned))
            }
        }
    }

    receive() external payable {
        revert PaymentRefused();
    }
}
