// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice Makes one prepared call whenever value or a callback token reaches it, and keeps what came of it.
contract ReentrantParty {
    address private _victim;
    bytes private _attack;

    bool public attempted;
    bool public succeeded;
    bytes public result;

    /// @notice Prepares the call to make from inside the next transfer.
    function arm(address victim, bytes calldata attack) external {
        (_victim, _attack) = (victim, attack);
        (attempted, succeeded, result) = (false, false, "");
    }

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
        _attackOnce();
    }

    function onTokenMoved() external {
        _attackOnce();
    }

    function _attackOnce() private {
        if (_victim == address(0) || attempted) return;
        attempted = true;
        (succeeded, result) = _victim.call(_attack);
    }
}
